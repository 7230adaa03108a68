"""Metrics against independent implementations, brute force and closed forms."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from collapse import registry
from collapse.data import Column, Rows, Schema
from collapse.frame import BINS, Frame, presence
from collapse.metrics import facts, measure_all
from collapse.metrics._neighbours import Balls, _kth
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.drift import Drift
from collapse.metrics.fidelity import Fidelity
from collapse.metrics.labels import Labels
from collapse.metrics.spread import Spread, single
from collapse.rng import Rng
from collapse.sources.digits import Digits


def numbers(x: np.ndarray) -> Rows:
    """Rows (R, n, d) of numbers x1 … xd."""
    return Rows.assemble(Schema(tuple(Column(f"x{i + 1}", "number") for i in range(x.shape[2]))), x, {})


def normal(address: str, replicates: int, n: int, d: int = 1) -> Rows:
    return numbers(Rng("test", address).normal((replicates, n, d)))


def found(metric: Metric, sample: Rows, frame: Frame) -> dict[tuple[str, str], np.ndarray]:
    return {(m.metric, m.feature): m.values for m in metric.measure(sample, frame)}


def table(address: str, replicates: int, n: int, shift: float = 0.0) -> Rows:
    """A mixed table: two correlated numbers, one zero-inflated, a category, a constant and a label."""
    rng = Rng("table", address)
    z = rng.at("z").normal((replicates, n, 2))
    zero, size = rng.at("zero").uniform((replicates, n)) < 0.5, np.abs(rng.at("spike").normal((replicates, n)))
    spikes = np.where(zero, 0.0, size)
    kind = np.searchsorted([0.6, 0.97, 0.99], rng.at("kind").uniform((replicates, n)))
    schema = Schema((
        Column("a", "number"), Column("b", "number"), Column("spend", "number"), Column("one", "number"),
        Column("kind", "category", ("p", "q", "r", "s")), Column("label", "category", ("no", "yes"), role="label"),
    ))
    values = np.stack([z[..., 0] + shift, 100 * (z.sum(axis=2)), spikes, np.ones((replicates, n))], axis=2)
    return Rows.assemble(schema, values, {"kind": kind, "label": (z[..., 0] > 0).astype(int)})


@pytest.fixture(scope="module")
def digits() -> tuple[Frame, Rows]:
    rows = Digits().load()
    order = Rng("test", "digits").choice(rows.n, rows.n, 1)
    reference, bank = rows.take(order[:, :540]), rows.take(order[:, 540:])
    return Frame.freeze(reference, bank, (), 300), bank.take(Rng("test", "draws").choice(bank.n, 300, 2))


# ---------------------------------------------------------------------------------------------- drift


@pytest.mark.parametrize("n", [200, 333])
def test_distances_on_a_line_equal_scipy(n: int) -> None:
    reference = normal("reference", 1, 500)
    frame = Frame.freeze(reference, normal("real", 1, 500))
    sample = numbers(1.3 * normal("sample", 3, n)["x1"][..., None] + 0.2)
    values = found(Drift(), sample, frame)
    scale = reference["x1"].std()
    for r in range(3):
        x, y = sample["x1"][r] / scale, reference["x1"][0] / scale
        assert values["w1", ""][r] == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-9)
        assert values["energy_distance", ""][r] == pytest.approx(stats.energy_distance(x, y), rel=1e-9)
        assert values["mean_shift", ""][r] == pytest.approx(abs(x.mean() - y.mean()), rel=1e-9)


def test_distances_in_space_equal_their_definitions() -> None:
    reference, sample = normal("reference", 1, 300, 3), numbers(0.7 * normal("s", 2, 200, 3).matrix() + 0.1)
    frame = Frame.freeze(reference, normal("real", 1, 300, 3))
    values = found(Drift(), sample, frame)
    y, bandwidth = frame.space.project(reference)[0], frame.balls.bandwidth
    apart = cdist(y, y)
    assert bandwidth == pytest.approx(np.median(apart[np.triu_indices(300, 1)]))
    for r in range(2):
        x = frame.space.project(sample)[r]
        energy = 2 * cdist(x, y).mean() - cdist(x, x).mean() - apart.mean()
        kernel = [np.exp(-(cdist(*pair) ** 2) / (2 * bandwidth**2)).mean() for pair in ((x, y), (x, x), (y, y))]
        assert values["energy_distance", ""][r] == pytest.approx(np.sqrt(energy))
        assert values["mmd", ""][r] == pytest.approx(np.sqrt(kernel[1] + kernel[2] - 2 * kernel[0]), rel=1e-4)
        slices = [stats.wasserstein_distance(x[:, i], y[:, i]) for i in range(3)]
        assert 0.3 * np.mean(slices) < values["sliced_w2", ""][r] < 3 * np.mean(slices)


def test_sliced_w2_on_a_line_is_w2_between_normals() -> None:
    """W₂² = (difference of means)² + (difference of standard deviations)²."""
    frame = Frame.freeze(normal("reference", 1, 20_000), normal("real", 1, 5000))
    sample = numbers(2.0 * normal("sample", 1, 20_000)["x1"][..., None] + 1.5)
    assert found(Drift(), sample, frame)["sliced_w2", ""][0] == pytest.approx(np.hypot(1.5, 1.0), rel=0.03)


def test_kl_is_that_of_the_smoothed_histograms() -> None:
    reference, sample = normal("reference", 1, 1000), normal("sample", 1, 150)
    frame = Frame.freeze(reference, normal("real", 1, 1000))
    edges = np.quantile(reference["x1"][0], np.arange(1, BINS) / BINS, method="inverted_cdf")
    bins = [np.searchsorted(edges, rows["x1"][0], side="right") for rows in (reference, sample)]
    p, q = (np.bincount(b, minlength=BINS) + 0.5 for b in bins)
    assert found(Drift(), sample, frame)["kl_bins", ""][0] == pytest.approx(stats.entropy(p, q))


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_total_variation_is_a_metric_on_shares(weights: list[float], seed: int) -> None:
    shares = np.array(weights) / sum(weights)
    column = Column("c", "category", tuple(map(str, range(len(shares)))))
    codes = np.searchsorted(np.cumsum(shares)[:-1], Rng(seed).uniform((2, 400)))
    rows = Rows(Schema((column,)), {"c": codes.astype(np.int32)})
    one, two = rows.replicate(0), rows.replicate(1)
    there = found(Drift(), two, Frame.freeze(one, one))["category_tv", ""][0]
    back = found(Drift(), one, Frame.freeze(two, two))["category_tv", ""][0]
    brute = 0.5 * sum(abs(np.mean(codes[0] == c) - np.mean(codes[1] == c)) for c in range(len(shares)))
    assert there == pytest.approx(back) == pytest.approx(brute)
    assert found(Drift(), one, Frame.freeze(one, one))["category_tv", ""][0] == 0.0


def test_steps_are_zero_when_nothing_moves_and_distances_else(digits: tuple[Frame, Rows]) -> None:
    frame, sample = digits
    same = {m.metric: m.values for m in Drift().step(sample, sample, frame)}
    steps = {f"{name}_step" for name, fact in Drift.facts.items() if fact.step}
    assert set(same) == steps - {"category_tv_step", "missing_shift_step"}
    assert all(np.allclose(values, 0, atol=1e-3) for values in same.values()), same
    other = sample.map(lambda array: array[::-1])
    moved = {m.metric: m.values for m in Drift().step(sample, other, frame)}
    for name in ("w1_step", "sliced_w2_step", "energy_distance_step", "mmd_step", "mean_shift_step"):
        assert (moved[name] > 0.01).all()
        assert moved[name][0] == pytest.approx(moved[name][1], rel=1e-3)  # both are the distance of the same pair


# --------------------------------------------------------------------------------------------- spread


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1])
def test_variance_ratio_is_the_square_of_the_scale(scale: float) -> None:
    reference = normal("reference", 1, 400, 3)
    frame = Frame.freeze(reference, reference)
    values = found(Spread(), numbers(scale * reference.matrix() + 7), frame)
    assert values["variance_ratio", ""][0] == pytest.approx(scale**2)
    assert values["total_variance_ratio", ""][0] == pytest.approx(scale**2)


def test_variance_ratio_is_the_generalised_variance_and_sees_one_lost_direction() -> None:
    reference, x = normal("reference", 1, 400, 3), normal("sample", 2, 300, 3).matrix()
    frame = Frame.freeze(reference, reference)
    values = found(Spread(), numbers(x), frame)
    for r in range(2):
        dets = [np.linalg.det(np.cov(rows.T)) for rows in (x[r], reference.matrix()[0])]
        assert values["variance_ratio", ""][r] == pytest.approx((dets[0] / dets[1]) ** (1 / 3))
    flat = x.copy()
    flat[..., 2] = 0.0
    lost = found(Spread(), numbers(flat), frame)
    assert lost["variance_ratio", ""].max() < 1e-4
    assert lost["total_variance_ratio", ""].min() > 0.5


def test_entropy_and_simpson_equal_scipy_and_their_definition() -> None:
    reference, sample = table("reference", 1, 2000), table("sample", 2, 500)
    frame = Frame.freeze(reference, reference)
    values = found(Spread(), sample, frame)
    for r in range(2):
        p, q = (np.bincount(codes, minlength=4) / len(codes) for codes in (reference["kind"][0], sample["kind"][r]))
        assert values["effective_categories", ""][r] == pytest.approx(np.exp(stats.entropy(q) - stats.entropy(p)))
        assert values["simpson_ratio", ""][r] == pytest.approx((1 - (q**2).sum()) / (1 - (p**2).sum()))
    point = sample.map(lambda array: np.repeat(array[:, :1], array.shape[1], axis=1))
    gone = found(Spread(), point, frame)
    assert all(np.allclose(gone[name, ""], 0, atol=1e-3) for name in Spread.facts
               if name not in ("effective_categories", "entropy_power"))
    assert gone["entropy_power", ""].max() < 0.3  # of a column with atoms the least gap is a tenth of a deviation
    assert gone["effective_categories", ""][0] == pytest.approx(np.exp(-stats.entropy(np.bincount(
        reference["kind"][0]))))  # one of four


def test_entropy_power_is_the_power_of_normals_and_rises_with_any_spread() -> None:
    """A scale a multiplies it by a², whatever the dimension; a mixture with half of its modes has 4^(−1/k)."""
    rng = np.random.default_rng(4)
    for width in (1, 2, 5):
        reference, real = (numbers(rng.normal(size=(1, 4000, width))) for _ in range(2))
        frame = Frame.freeze(reference, real)
        for scale in (0.3, 1.0, 2.5):
            x = scale * rng.normal(size=(3, 1500, width)) + 7.0
            power = found(Spread(), numbers(x), frame)["entropy_power", ""]
            assert power.mean() == pytest.approx(scale**2, rel=0.07)
    # m-spacings agree with SciPy's estimator of the same name, up to what both leave out
    x, y = rng.normal(size=2000), 1.7 * rng.standard_t(5, 2000)
    ours = single(np.sort(np.stack([x, y], axis=1), axis=0)[None])[0]
    theirs = [stats.differential_entropy(z, method="vasicek", window_length=round(np.sqrt(2000))) for z in (x, y)]
    assert ours[1] - ours[0] == pytest.approx(theirs[1] - theirs[0], abs=0.02)
    centers = np.array([[-9.0, -9], [-9, 9], [9, -9], [9, 9]])
    whole, half = (centers[rng.integers(0, k, (2, 3000))] + rng.normal(size=(2, 3000, 2)) for k in (4, 2))
    frame = Frame.freeze(numbers(whole[:1]), numbers(whole[1:]))
    assert found(Spread(), numbers(half), frame)["entropy_power", ""].mean() == pytest.approx(0.5, rel=0.06)


def test_values_that_repeat_have_an_entropy_power_too() -> None:
    """Half zeros, and whole numbers: real rows have 1, twice the width 4, and one value hardly any."""
    rng = np.random.default_rng(5)

    def draw(n: int, width: float = 1.0) -> Rows:
        zero = np.where(rng.random((1, n, 1)) < 0.5, 0.0, np.rint(20 * width * rng.normal(size=(1, n, 1))))
        return numbers(np.concatenate([zero, np.rint(30 * width * rng.normal(size=(1, n, 1)))], axis=2))

    frame = Frame.freeze(draw(3000), draw(5000))
    assert found(Spread(), draw(1000), frame)["entropy_power", ""][0] == pytest.approx(1.0, abs=0.45)
    assert found(Spread(), draw(1000, 2.0), frame)["entropy_power", ""][0] > 1.7
    assert found(Spread(), draw(1000).map(np.zeros_like), frame)["entropy_power", ""][0] < 0.5


# -------------------------------------------------------------------------------------------- fidelity


@pytest.mark.parametrize("d", [1, 2, 6])
def test_fidelity_equals_brute_force(d: int) -> None:
    reference, sample = normal("reference", 1, 120, d), numbers(0.8 * normal("sample", 2, 90, d).matrix() + 0.1)
    frame = Frame.freeze(reference, normal("real", 1, 120, d))
    values = found(Fidelity(), sample, frame)
    y = frame.space.project(reference)[0]
    for r in range(2):
        x = frame.space.project(sample)[r]
        radius_y = [np.sort(row)[5] for row in cdist(y, y)]
        radius_x = [np.sort(row)[5] for row in cdist(x, x)]
        across = cdist(x, y)
        inside = [[across[i, j] < radius_y[j] for j in range(120)] for i in range(90)]
        assert values["precision", ""][r] == pytest.approx(np.mean([any(row) for row in inside]))
        assert values["density", ""][r] == pytest.approx(np.sum(inside) / (5 * 90))
        reached = [across[:, j].min() < radius_y[j] for j in range(120)]
        assert values["coverage", ""][r] == pytest.approx(np.mean(reached))
        assert values["recall", ""][r] == pytest.approx(
            np.mean([any(across[i, j] < radius_x[i] for i in range(90)) for j in range(120)]))


@given(st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_the_kth_nearest_is_that_of_a_sort_whatever_ties_and_gaps(k: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    distance = draw.choice([0.0, 1.0, 2.5, 7.0, np.inf, np.nan][: draw.integers(2, 7)], (6, 5))
    np.testing.assert_array_equal(_kth(distance, k), np.sort(distance, axis=1)[:, min(k, 5) - 1])


def test_line_and_space_agree() -> None:
    """The same points, once on a line by sorting and once in a plane (second column a copy), pair by pair."""
    one, two = normal("one", 1, 300).matrix(), normal("two", 3, 200).matrix() * 1.2
    line = Frame.freeze(numbers(one), numbers(one))
    plane = Frame.freeze(*2 * (numbers(np.concatenate([one, 1e-5 * Rng("jitter").normal(one.shape) + one], axis=2)),))
    pair = numbers(np.concatenate([two, two], axis=2))
    for name, values in found(Fidelity(), numbers(two), line).items():
        assert np.allclose(values, found(Fidelity(), pair, plane)[name], atol=0.02)
    near, other = line.view(numbers(two)).near, plane.view(pair).near
    assert (near.to_reference == other.to_reference).mean() > 0.99
    assert (near.to_sample == other.to_sample).mean() > 0.99
    assert (near.rare == other.rare).mean() > 0.99


def broken(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return rows (n, k) with ties broken at random, by far less than what is not tied."""
    return x + 1e-5 * rng.normal(size=x.shape)


def by_the_paper(real: np.ndarray, fake: np.ndarray) -> list[float]:
    """Precision, recall, density and coverage as Kynkäänniemi 2019 and Naeem 2020 define them, on rows without ties."""
    reach_real, reach_fake = (np.sort(cdist(x, x), axis=1)[:, 5] for x in (real, fake))
    inside = cdist(real, fake) < reach_real[:, None]
    return [inside.any(axis=0).mean(), (cdist(real, fake) < reach_fake).any(axis=1).mean(),
            inside.sum() / 5 / len(fake), inside.any(axis=1).mean()]


def tied(kind: str, share: float, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(n, d))
    if kind == "atom":
        return np.where(rng.random((n, 1)) < share, 0.0, x)
    if kind == "columns":
        return np.where(rng.random((n, d)) < share, 0.0, x)
    if kind == "lattice":
        return np.rint(share * 6 * x)
    return np.eye(3)[rng.choice(3, (n, d), p=[0.6, 0.3, 0.1])].reshape(n, -1)


@pytest.mark.parametrize(("kind", "share", "d"), [
    *[("atom", share, d) for share in (0.05, 0.5, 1.0) for d in (1, 2, 5, 15)],
    *[("columns", 0.5, d) for d in (1, 2, 3, 15)], *[("lattice", share, d) for share in (0.2, 0.5) for d in (1, 2, 6)],
    *[("categories", 0.0, d) for d in (1, 2, 5)]])
def test_ties_read_as_if_broken_at_random(kind: str, share: float, d: int) -> None:
    rng = np.random.default_rng(d)
    real, fake = (tied(kind, share, 400, d, rng) for _ in range(2))
    near = Balls(real, 0.1).near(fake[None])
    own = np.array([near.inside.mean(), near.recalled.mean(), near.hits.mean() / 5, near.covered.mean()])
    many = np.array([by_the_paper(broken(real, rng), broken(fake, rng)) for _ in range(12)])
    told = many.mean(axis=0)
    assert np.allclose(own[2:], told[2:], atol=0.04), (own, told)
    # Noise in d dimensions leaves gaps between the broken ties that grow with d; a place has none.
    assert (own[:2] > told[:2] - 0.02).all() and (real.shape[1] > 1 or np.allclose(own, told, atol=0.03)), (own, told)
    assert 0.85 < own[2] < 1.15 and own[3] > 0.9  # one pair of samples of few rows: nothing is saturated


def test_atoms_that_swell_or_vanish_are_still_seen() -> None:
    rng = np.random.default_rng(3)
    real = tied("atom", 0.5, 800, 3, rng)
    for share, low, high in ((0.0, 0.4, 0.6), (1.0, 0.4, 0.6), (0.5, 0.93, 1.0)):
        near = Balls(real, 0.1).near(tied("atom", share, 800, 3, rng)[None])
        assert low < near.covered.mean() < high, share


def test_two_real_samples_half_zeros_read_as_real_rows() -> None:
    rows = [numbers(np.where(Rng("zeros", name).uniform((1, 800, 2)) < 0.5, 0.0, Rng("x", name).normal((1, 800, 2))))
            for name in ("reference", "real", "sample")]
    frame = Frame.freeze(*rows[:2])
    values = found(Fidelity(), rows[2], frame)
    assert values["density", ""][0] == pytest.approx(1.0, abs=0.1)
    assert min(values["precision", ""][0], values["recall", ""][0]) > 0.95 and values["coverage", ""][0] > 0.93


def test_fidelity_tells_collapse_from_noise() -> None:
    frame = Frame.freeze(normal("reference", 1, 400, 4), normal("real", 1, 400, 4))
    x = normal("sample", 1, 400, 4).matrix()
    crowd, noise = (found(Fidelity(), numbers(scale * x), frame) for scale in (0.2, 4.0))
    assert crowd["precision", ""] > 0.99 and crowd["density", ""] > 1.3 and crowd["recall", ""] < 0.2
    assert noise["precision", ""] < 0.2 and noise["recall", ""] > 0.9


# ---------------------------------------------------------------------------------------------- labels


def test_label_metrics_equal_a_nearest_neighbour_classifier(digits: tuple[Frame, Rows]) -> None:
    from sklearn.metrics import recall_score
    from sklearn.neighbors import KNeighborsClassifier

    frame, sample = digits
    values = found(Labels(), sample, frame)
    y, truth = frame.space.project(frame.reference)[0], frame.reference["label"][0]
    for r in range(2):
        x, said = frame.space.project(sample)[r], sample["label"][r]
        guess = KNeighborsClassifier(1).fit(x, said).predict(y)
        assert values["tstr_accuracy", ""][r] == pytest.approx(np.mean(guess == truth))
        recall = recall_score(truth, guess, average=None)
        assert [values["class_recall", str(c)][r] for c in range(10)] == pytest.approx(list(recall))
        assert values["class_recall", ""][r] == pytest.approx(recall.min())
        back = KNeighborsClassifier(1).fit(y, truth).predict(x)
        assert values["label_agreement", ""][r] == pytest.approx(np.mean(back == said))
        share = np.bincount(said) / len(said)
        assert values["effective_classes", ""][r] == pytest.approx(
            np.exp(stats.entropy(share) - stats.entropy(np.bincount(truth))))
        assert values["class_share", "8"][r] == pytest.approx(share[8] / np.mean(truth == 8))


def test_labels_that_are_handed_over_hide_no_lost_mode(digits: tuple[Frame, Rows]) -> None:
    """Every row looks like a 3, and the labels still say ten digits."""
    frame, sample = digits
    three = frame.reference["image"][0][frame.reference["label"][0] == 3]
    blind = Rows(sample.schema, {"image": three[np.arange(sample.n) % len(three)][None], "label": sample["label"][:1]})
    values = found(Labels(), blind, frame)
    assert values["effective_classes", ""][0] > 0.95
    assert values["modes_alive", ""][0] == pytest.approx(0.1)
    assert values["tstr_accuracy", ""][0] < 0.4


# ------------------------------------------------------------------------------------- frame and registry


def test_presence_is_the_mean_over_draws_without_replacement() -> None:
    found_, population, n = np.array([0, 1, 3, 20]), 20, 6
    draws = np.stack([g.permutation(population)[:n] for g in Rng("draws").each(20_000)])
    chance = [(draws < f).any(axis=1).mean() for f in found_]
    assert presence(found_, population, n) == pytest.approx(chance, abs=0.015)


def test_discrete_and_constant_columns_make_no_false_region() -> None:
    frame = Frame.freeze(table("reference", 1, 4000), table("real", 1, 4000))
    names = [region.name for region in frame.regions]
    assert "spend:low" not in names and "spend:high" in names  # half of the rows are zero
    assert not any(name.startswith("one") for name in names)
    assert names.count("stratum") == 1 and "rare:kind" in names and "rare:label" not in names
    assert [frame.schema["kind"].categories[c] for c in np.flatnonzero(frame.rare["kind"])] == ["r", "s"]
    assert frame.space.axes.shape[1] == 6  # a, b, spend and three of four categories


@pytest.mark.parametrize(("reference", "real", "sample"), [
    (normal("reference", 1, 300), normal("real", 1, 300), normal("sample", 12, 100)),
    (normal("reference", 1, 300, 5), normal("real", 1, 300, 5), normal("sample", 12, 100, 5)),
    (table("reference", 1, 600), table("real", 1, 600), table("sample", 2, 200)),
    tuple(Rows(Schema((Column("c", "category", tuple(map(str, range(100)))),)), {
        "c": np.minimum(Rng(i).uniform((1 + i // 2, 400)) ** -0.8, 100).astype(np.int32) - 1}) for i in range(3)),
])
def test_every_metric_is_known_finite_and_near_ideal_on_real_rows(reference: Rows, real: Rows, sample: Rows) -> None:
    frame, known = Frame.freeze(reference, real, (), sample.n), facts()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = measure_all(sample, sample, frame)
    keys = [(m.metric, m.feature) for m in measured]
    assert len(set(keys)) == len(keys)
    for m in measured:
        assert m.values.shape == (sample.replicates,) and np.isfinite(m.values).all(), m
        fact = known[m.metric]
        if m.feature == "" and m.metric not in ("class_recall", "class_share"):
            assert abs(m.values.mean() - fact.ideal) < 0.6, (m, fact)


def test_no_metric_leaves_what_its_fact_says_it_can_be():
    """A claim on it would be called blind without being so: rows real, alike, far off, spread, turned and exchanged."""
    frame = Frame.freeze(table("reference", 1, 400), table("bank", 1, 800), (), 300)
    real = table("sample", 2, 300)
    numbers = [name for name in real.values if np.issubdtype(real[name].dtype, np.floating)]
    other = {"far": lambda x: x + 50, "wide": lambda x: 1000 * x, "turned": lambda x: -x, "point": lambda x: 0 * x}
    samples = {"real": real, "one row": real.take(np.zeros((2, 300), dtype=int)),
               **{name: Rows(real.schema, {**real.values, **{c: bend(real[c]) for c in numbers}})
                  for name, bend in other.items()}}
    known, seen = facts(), set()
    for name, sample in samples.items():
        for m in measure_all(sample, samples["turned"], frame):
            fact, values = known[m.metric], m.values[np.isfinite(m.values)]
            assert (values >= fact.low - 1e-9).all() and (values <= fact.high + 1e-9).all(), (name, m.metric, m.feature)
            seen.add(m.metric)
    assert len(seen) > 25
    for name, fact in known.items():
        assert fact.low <= fact.ideal <= fact.high or np.isnan(fact.ideal), name



def test_a_degenerate_sample_is_measured_too() -> None:
    """One point, many times: everything that means spread or tails says 0.0, and nothing is NaN."""
    frame = Frame.freeze(table("reference", 1, 600), table("real", 1, 600))
    point = table("sample", 2, 50).map(lambda array: np.repeat(array[:, :1], array.shape[1], axis=1))
    values = {(m.metric, m.feature): m.values for m in measure_all(point, point, frame)}
    assert all(np.isfinite(v).all() for v in values.values())
    assert np.allclose(values["variance_ratio", ""], 0, atol=1e-12)


@pytest.mark.parametrize("kind", ["digits", "line", "table"])
def test_replicates_do_not_touch_each_other(digits: tuple[Frame, Rows], kind: str) -> None:
    """To the last bit: a replicate's values do not depend on how many others there are."""
    frame, sample = digits
    if kind != "digits":
        draw = normal if kind == "line" else table
        frame, sample = Frame.freeze(draw("reference", 1, 600), draw("real", 1, 600)), draw("sample", 3, 200)
    together = {(m.metric, m.feature): m.values for m in measure_all(sample, None, frame)}
    alone = {(m.metric, m.feature): m.values for m in measure_all(sample.replicate(1), None, frame)}
    assert together.keys() == alone.keys()
    assert all(together[key][1] == alone[key][0] for key in alone)


def test_the_order_of_rows_does_not_matter(digits: tuple[Frame, Rows]) -> None:
    frame, sample = digits
    turned = sample.map(lambda array: array[:, ::-1])
    for one, two in zip(measure_all(sample, None, frame), measure_all(turned, None, frame), strict=True):
        assert np.allclose(one.values, two.values, atol=1e-5), one.metric


def test_pairwise_work_is_capped_by_a_fixed_draw() -> None:
    frame = Frame.freeze(normal("reference", 1, 1500, 2), normal("real", 1, 1500, 2))
    near = frame.view(normal("sample", 1, 3000, 2)).near
    assert near.depth.shape == (1, 1000) and near.covered.shape == (1, 1000)


def test_a_metric_of_another_package_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Median(Metric):
        kind = "median"
        facts = {"median": Fact("drift", 0.0, "either", "the median", "none")}  # noqa: RUF012

        def measure(self, sample: Rows, frame: Frame):
            yield Measurement("median", "", np.median(sample["x1"], axis=1))

    class Point:
        name = "median"

        def load(self) -> type[Metric]:
            return Median

    registry.names.cache_clear(), registry.find.cache_clear()
    monkeypatch.setattr(registry, "_entry_points", lambda group: {"median": Point()} if group == "metrics" else {})
    try:
        sample = normal("sample", 2, 50)
        frame = Frame.freeze(normal("reference", 1, 300), normal("real", 1, 300))
        values = {m.metric: m.values for m in measure_all(sample, None, frame)}
        assert (values["median"] == np.median(sample["x1"], axis=1)).all()
        assert facts()["median"] is Median.facts["median"]
    finally:
        monkeypatch.undo()
        registry.names.cache_clear(), registry.find.cache_clear()


def test_facts_name_all_metrics_and_their_steps() -> None:
    known = facts()
    assert {"variance_ratio", "tail_ratio", "precision", "w1", "w1_step", "class_recall", "rare_alive"} <= set(known)
    assert not any(fact.step for name, fact in known.items() if name.endswith("_step"))
    assert all("1.0" in f.meaning or "0.0" in f.meaning for f in known.values())


def test_an_image_as_a_whole_has_one_unit_of_variance_like_a_number():
    rng = np.random.default_rng(2)
    schema = Schema((Column("picture", "image", shape=(4, 4)), Column("x", "number")))
    values = {"picture": rng.normal(size=(1, 300, 4, 4)) * 7, "x": rng.normal(size=(1, 300)) * 3}
    frame = Frame.freeze(Rows(schema, values), Rows(schema, values), (), 300, ("spread",))
    own = frame.numeric.standard(frame.reference)[0]  # (n, D)
    assert own[:, :16].var(axis=0).sum() == pytest.approx(1)
    assert own[:, 16].var() == pytest.approx(1)


@pytest.mark.parametrize("width", [1, 3, 7, 64])
def test_copies_are_told_wherever_they_stand(width):
    from collapse.metrics.spread import marks

    rows = np.random.default_rng(width).normal(size=(1, 37, width))
    many = np.concatenate([rows, rows[:, ::-1], rows[:, 5:6].repeat(29, axis=1)], axis=1)
    assert (1 + (np.diff(marks(many)) > 0).sum()) == 37
