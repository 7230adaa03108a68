"""Mixed tables: the copula, groups, associations, gaps; against truths and independent implementations."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from collapse import loop
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.frame import Frame
from collapse.lineage.plan import FILLER, build
from collapse.metrics import facts, measure_all
from collapse.metrics._neighbours import _mean_gap
from collapse.metrics._partition import LEAST_ROWS, Partition
from collapse.metrics.association import Association, centred_ranks, cramer
from collapse.metrics.association import pairs as associations
from collapse.metrics.c2st import C2ST
from collapse.metrics.drift import Drift, wasserstein
from collapse.metrics.groups import Groups
from collapse.metrics.labels import Labels
from collapse.metrics.spread import Spread
from collapse.metrics.validity import Validity
from collapse.models.copula import LEAST, Copula, repaired
from collapse.registry import find
from collapse.rng import Rng
from collapse.study.parse import parse_study

SCHEMA = Schema((
    Column("a", "number"), Column("b", "number"), Column("age", "number", type="integer"),
    Column("gain", "number", type="integer"), Column("pay", "number", missing=True),
    Column("born", "number", type="date", missing=True),
    Column("grade", "category", ("A", "B", "C", "D")),
    Column("town", "category", ("x", "y", "z", "(missing)"), missing=True),
    Column("ok", "category", ("False", "True"), type="boolean"),
    Column("label", "category", ("no", "yes"), role="label"),
))
#: One factor behind the latents of most columns: two of them correlate by the product of their loadings.
LOADINGS = {"a": 0.9, "b": 0.85, "age": -0.55, "gain": 0.2, "pay": 0.65, "born": 0.3, "grade": 0.75, "label": 0.6,
            "silent": 0.5, "town": 0.0, "ok": 0.0}
PAIRS = [("a", "b"), ("a", "age"), ("b", "age"), ("a", "pay"), ("a", "grade")]


def mixed(address: str, replicates: int, n: int) -> Rows:
    """Rows with known dependence: a latent normal number behind every column."""
    names, loading = tuple(LOADINGS), np.array(list(LOADINGS.values()))
    rng = Rng("mixed", address)
    z = rng.at("own").normal((replicates, n, len(names))) * np.sqrt(1 - loading**2)
    z += rng.at("factor").normal((replicates, n, 1)) * loading
    z[..., names.index("ok")] = 0.8 * z[..., names.index("ok")] - 0.6 * z[..., names.index("town")]
    column = dict(zip(names, np.moveaxis(z, 2, 0), strict=True))
    u = {name: stats.norm.cdf(x) for name, x in column.items()}
    town = np.searchsorted([0.5, 0.8, 0.95], u["town"])
    values = {
        "a": column["a"], "b": np.exp(column["b"]), "age": np.rint(40 + 12 * column["age"]),
        "gain": np.where(u["gain"] < 0.9, 0.0, np.rint(1000 * (u["gain"] - 0.9))),
        "pay": np.where(u["silent"] < 0.8, column["pay"], np.nan),  # the silent have a high a
        "born": np.where(u["ok"] < 0.9, np.rint(3000 * column["born"]), np.nan),
        "grade": np.searchsorted([0.1, 0.4, 0.8], u["grade"]), "town": town,
        "ok": u["ok"] > 0.3, "label": u["label"] > 0.75,
    }
    return Rows(SCHEMA, {c.name: values[c.name].astype(np.int32 if c.kind == "category" else float)
                         for c in SCHEMA.columns})


@pytest.fixture(scope="module")
def fitted() -> tuple[Rows, Rows]:
    rows = mixed("train", 2, 8000)
    model = Copula()
    model.check(SCHEMA, rows.n)
    return rows, model.sample(model.fit(rows, Rng(1)), SCHEMA, 8000, Rng(2))


# --------------------------------------------------------------------------------------------- copula


def test_the_copula_keeps_marginals_types_and_gaps(fitted):
    rows, sample = fitted
    assert sample.schema == SCHEMA
    for column in SCHEMA.columns:
        for r in range(2):
            x, y = rows[column.name][r], sample[column.name][r]
            if column.kind == "category":
                assert y.dtype == np.int32
                table = [np.bincount(codes, minlength=len(column.categories)) for codes in (x, y)]
                assert stats.chi2_contingency(table).pvalue > 1e-4, column.name
                continue
            gaps = [int(np.isnan(values).sum()) for values in (x, y)]
            assert stats.chi2_contingency([gaps, [8000 - g for g in gaps]]).pvalue > 1e-4 if max(gaps) else True
            assert bool(max(gaps)) == column.missing
            x, y = x[~np.isnan(x)], y[~np.isnan(y)]
            assert stats.ks_2samp(x, y).pvalue > 1e-4, column.name
            if column.type:
                assert (y == np.rint(y)).all() and np.isin(y, x).all()
            assert x.min() <= y.min() and y.max() <= x.max()
    assert len(np.unique(sample["a"][0])) == 8000  # numbers are interpolated, not repeated


def test_the_copula_keeps_dependence(fitted):
    """Rank correlations of sample and truth, 6/π·asin(ρ/2) for a normal pair, gaps and atoms apart."""
    rows, sample = fitted
    for one, two in PAIRS:
        rho = LOADINGS[one] * LOADINGS[two]
        for r in range(2):
            found = stats.spearmanr(sample[one][r], sample[two][r], nan_policy="omit").statistic
            assert found == pytest.approx(stats.spearmanr(rows[one][r], rows[two][r], nan_policy="omit").statistic,
                                          abs=0.035), (one, two)
            if two not in ("grade", "pay"):  # pay is seen of a selection of rows
                assert abs(found) == pytest.approx(6 / np.pi * np.arcsin(abs(rho) / 2), abs=0.035)
    for r in range(2):  # who is silent, and what the label follows
        for name in ("pay", "label"):
            there = [np.isnan(values["pay"][r]) if name == "pay" else values["label"][r] == 1
                     for values in (rows, sample)]
            gap = [values["a"][r][mask].mean() - values["a"][r][~mask].mean()
                   for values, mask in zip((rows, sample), there, strict=True)]
            assert gap[0] > 0.5 and gap[1] == pytest.approx(gap[0], abs=0.12), name


@pytest.mark.parametrize(("k", "m"), [(2, 2), (2, 5), (4, 3)])
def test_binned_latents_get_their_correlation_back(k, m):
    """The polychoric correlation of ordered bins, and of a bin with a number, at once strong and weak."""
    schema = Schema((Column("i", "category", tuple("abcde"[:k])), Column("j", "category", tuple("abcde"[:m])),
                     Column("x", "number")))
    rho = np.array([[1, 0.85, -0.3], [0.85, 1, 0.1], [-0.3, 0.1, 1]])
    z = Rng("binned").normal((1, 40_000, 3)) @ np.linalg.cholesky(rho).T
    cuts = [stats.norm.ppf(np.arange(1, size) / size + 0.05) for size in (k, m)]
    rows = Rows(schema, {"i": np.searchsorted(cuts[0], z[..., 0]).astype(np.int32),
                         "j": np.searchsorted(cuts[1], z[..., 1]).astype(np.int32), "x": z[..., 2]})
    root = Copula().fit(rows, Rng(1))["root"][0]
    assert np.abs(root @ root.T) == pytest.approx(np.abs(rho), abs=0.03)


def test_nominal_categories_are_put_in_the_order_that_matters():
    """Codes say nothing: town b is high, a low, c in between; so is the latent order, or its reverse."""
    level = np.array([-2.0, 2.0, 0.0])
    codes = Rng("nominal").integers(3, (1, 5000)).astype(np.int32)
    x = level[codes] + Rng("nominal", "x").normal((1, 5000))
    rows = Rows(Schema((Column("town", "category", ("a", "b", "c")), Column("x", "number"))), {"town": codes, "x": x})
    parameters = Copula().fit(rows, Rng(1))
    assert parameters["order.town"][0].tolist() in ([0, 2, 1], [1, 2, 0])
    sample = Copula().sample(parameters, rows.schema, 5000, Rng(2))
    means = [sample["x"][0][sample["town"][0] == code].mean() for code in range(3)]
    assert np.argsort(means).tolist() == [0, 2, 1]
    assert means == pytest.approx(list(level), abs=0.35)


def test_the_correlation_is_repaired_to_the_least_eigenvalue():
    broken = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    assert np.linalg.eigvalsh(broken)[0] < 0
    mended = repaired(broken)
    assert np.diagonal(mended) == pytest.approx(1)
    assert (mended == mended.T).all()
    assert np.linalg.eigvalsh(mended)[0] > LEAST / 2
    assert np.sign(mended).tolist() == np.sign(broken).tolist()
    sound = np.array([[1, 0.5], [0.5, 1]])
    assert repaired(sound) is sound
    # two equal columns, a mirrored one and a constant category of the vocabulary
    x = Rng("equal").normal((1, 500))
    schema = Schema((Column("x", "number"), Column("y", "number"), Column("z", "number"),
                     Column("c", "category", ("p", "q"))))
    rows = Rows(schema, {"x": x, "y": x.copy(), "z": -x, "c": np.zeros((1, 500), np.int32)})
    sample = Copula().sample(Copula().fit(rows, Rng(1)), schema, 500, Rng(2))
    assert stats.spearmanr(sample["x"][0], sample["z"][0]).statistic < -0.99
    assert (sample["c"] == 0).all()


def test_a_copula_is_deterministic_and_its_replicates_are_their_own():
    rows = mixed("own", 5, 300)
    whole = Copula().fit(rows, Rng(1))
    drawn = Copula().sample(whole, SCHEMA, 50, Rng(2))
    alone = Copula().fit(rows.first(2), Rng(1))
    few = Copula().sample(alone, SCHEMA, 50, Rng(2))
    assert all(len(array) == 5 and array.dtype.hasobject is False for array in whole.values())
    for name, array in alone.items():
        np.testing.assert_array_equal(array, whole[name][:2], err_msg=name)
    for name in SCHEMA.names:
        np.testing.assert_array_equal(few[name], drawn[name][:2], err_msg=name)


def test_a_copula_survives_its_own_collapse():
    rows = mixed("small", 3, 25)
    for t in range(30):
        rows = Copula().sample(Copula().fit(rows, Rng(t, "fit")), SCHEMA, 25, Rng(t, "sample"))
    assert all(rows[c.name].max() < len(c.categories) for c in SCHEMA.columns if c.kind == "category")
    gone = Rows(SCHEMA, {**rows.values, "pay": np.full((3, 25), np.nan)})
    assert np.isnan(Copula().sample(Copula().fit(gone, Rng(1)), SCHEMA, 25, Rng(2))["pay"]).all()


@pytest.mark.parametrize("kind", ["kde", "gaussian", "gmm", "regression"])
def test_models_that_cannot_take_gaps_say_which_and_what_to_do(kind):
    schema = Schema((Column("x", "number"), Column("y", "number", missing=True)))
    with pytest.raises(InputError, match=f"^{kind} cannot take missing numbers, and y may be missing; write "
                                         "source.missing: drop, drop the column, or take model kind copula$"):
        find("models", kind)().check(schema, 100)
    Copula().check(schema, 100)
    with pytest.raises(InputError, match="copula models numbers and categories, and image holds images"):
        Copula().check(Schema((Column("image", "image", shape=(2, 2)),)), 100)


def test_models_that_know_no_whole_numbers_sample_them_all_the_same():
    schema = Schema((Column("n", "number", type="integer"), Column("x", "number")))
    rows = Rows(schema, {"n": np.rint(Rng(1).normal((1, 100)) * 5), "x": Rng(2).normal((1, 100))})
    sample = find("models", "kde")().sample(find("models", "kde")().fit(rows, Rng(1)), schema, 80, Rng(2))
    assert (sample["n"] == np.rint(sample["n"])).all()
    assert (sample["x"] != np.rint(sample["x"])).all()


# ---------------------------------------------------------------------------------------------- gaps


def gappy(address: str, n: int, share: float, replicates: int = 1) -> Rows:
    """Two numbers, the second missing with probability ``share``."""
    rng = Rng("gappy", address)
    x = rng.at("x").normal((replicates, n))
    y = np.where(rng.at("gap").uniform((replicates, n)) < share, np.nan, 3 + 2 * rng.at("y").normal((replicates, n)))
    return Rows(Schema((Column("x", "number"), Column("y", "number", missing=True))), {"x": x, "y": y})


def test_marginals_are_those_of_the_values_that_are_there():
    reference, sample = gappy("reference", 500, 0.2), gappy("sample", 333, 0.5, 2)
    frame = Frame.freeze(reference, gappy("real", 500, 0.2))
    drift = {(m.metric, m.feature): m.values for m in Drift().measure(sample, frame)}
    spread = {(m.metric, m.feature): m.values for m in Spread().measure(sample, frame)}
    y = reference["y"][0][~np.isnan(reference["y"][0])]
    for r in range(2):
        x = sample["y"][r][~np.isnan(sample["y"][r])]
        assert drift["w1", "y"][r] == pytest.approx(stats.wasserstein_distance(x, y) / y.std())
        gap = abs(np.isnan(sample["y"][r]).mean() - np.isnan(reference["y"][0]).mean())
        assert drift["missing_shift", ""][r] == pytest.approx(gap) and gap > 0.2
        # the gaps are no values: the spread is that of what is there
        whole = stats.differential_entropy(x, method="vasicek") - stats.differential_entropy(y, method="vasicek")
        assert spread["entropy_power", "y"][r] == pytest.approx(np.exp(2 * whole), rel=0.2)


def test_a_gap_sits_at_the_mean_beside_its_indicator():
    reference = gappy("reference", 4000, 0.3)
    frame = Frame.freeze(reference, reference)
    assert frame.space.axes.shape[1] == 3  # x, y and whether y is there
    z = frame.space.project(reference)[0]
    assert np.isfinite(z).all()
    assert np.trace(np.cov(z.T)) == pytest.approx(2 + 0.7, rel=0.03)  # a unit each; y varies where it is there
    gone = np.isnan(reference["y"][0])
    apart = np.linalg.norm(z[gone].mean(axis=0) - z[~gone].mean(axis=0))
    assert apart == pytest.approx(1 / np.sqrt(1 - 0.3**2 - 0.7**2) * np.sqrt(2), rel=0.08)


def test_a_sample_without_any_value_is_measured():
    frame = Frame.freeze(gappy("reference", 400, 0.2), gappy("real", 400, 0.2), (), 100)
    sample = gappy("sample", 100, 1.0, 2)
    values = {(m.metric, m.feature): m.values for m in measure_all(sample, sample, frame)}
    assert all(np.isfinite(v).all() for v in values.values()), values
    assert values["missing_shift", ""] == pytest.approx([0.8, 0.8], abs=0.06)
    assert values["tail_ratio", "y:low"] == pytest.approx([0, 0])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_w1_and_energy_equal_scipy_on_any_input(n, m, seed):
    rng = Rng("any", seed)
    x, y = np.round(rng.at("x").normal((n,)) * 3, 1), np.round(rng.at("y").normal((m,)) * 2 + 1, 1)  # with ties
    a, b = np.sort(x)[None, :, None], np.sort(y)[None, :, None]
    assert wasserstein(a, b, 1)[0, 0] == pytest.approx(stats.wasserstein_distance(x, y), abs=1e-12)
    energy = 2 * _mean_gap(x, y) - _mean_gap(x, x) - _mean_gap(y, y)
    assert energy == pytest.approx(stats.energy_distance(x, y) ** 2, abs=1e-9)
    with_gaps = np.concatenate([a, np.full((1, 3, 1), np.nan)], axis=1)
    assert wasserstein(with_gaps, b, 1)[0, 0] == pytest.approx(stats.wasserstein_distance(x, y), abs=1e-12)


# ------------------------------------------------------------------------------------------ association


def test_associations_equal_scipy_and_their_published_definitions():
    rows = mixed("pairs", 2, 700)
    found = associations(rows)
    numbers = ["a", "b", "age", "gain", "pay", "born"]
    categories = ["grade", "town", "ok", "label"]
    for r in range(2):
        for place, (one, two) in enumerate(itertools.combinations(numbers[:4], 2)):
            x, y = rows[one][r], rows[two][r]
            index = list(itertools.combinations(numbers, 2)).index((one, two))
            assert found.correlation[r, index] == pytest.approx(stats.spearmanr(x, y).statistic), place
        for place, (one, two) in enumerate(itertools.combinations(categories, 2)):
            both = np.logical_and(*((not SCHEMA[name].missing) | (rows[name][r] < len(SCHEMA[name].categories) - 1)
                                    for name in (one, two)))
            table = stats.contingency.crosstab(rows[one][r][both], rows[two][r][both]).count
            n, (k, m) = table.sum(), table.shape
            phi2 = stats.chi2_contingency(table, correction=False).statistic / n
            phi2 = max(0, phi2 - (k - 1) * (m - 1) / (n - 1))  # Bergsma 2013
            k_, m_ = k - (k - 1) ** 2 / (n - 1), m - (m - 1) ** 2 / (n - 1)
            assert found.cramer[r, place] == pytest.approx(np.sqrt(phi2 / min(k_ - 1, m_ - 1)))
        # the correlation ratio of ranks is the Kruskal–Wallis H: η² = H/(n − 1)
        h = stats.kruskal(*(rows["a"][r][rows["grade"][r] == code] for code in range(4))).statistic
        eta2 = h / 699
        assert found.ratio[r, 0] == pytest.approx(np.sqrt(max(0, 1 - (1 - eta2) * 699 / (700 - 4))))


def test_rank_correlation_uses_the_rows_that_have_both():
    x = Rng("both").normal((2, 20_000))
    y = np.where(Rng("gap").uniform((20_000,)) < 0.4, np.nan, x[0] + x[1])
    rows = Rows(Schema((Column("x", "number"), Column("y", "number", missing=True))), {"x": x[:1], "y": y[None]})
    assert associations(rows).correlation[0, 0] == pytest.approx(
        stats.spearmanr(x[0], y, nan_policy="omit").statistic, abs=0.01)
    assert (centred_ranks(np.array([5.0, np.nan, 1.0, 5.0])) == [0.5, 0, -1, 0.5]).all()


def test_independent_columns_have_no_association_and_equal_columns_all():
    codes = Rng("c").integers(30, (2, 3000)).astype(np.int32)
    assert cramer(codes[0], codes[1], 30, 30) < 0.05  # without the correction: 0.1
    assert cramer(codes[0], codes[0], 30, 30) == pytest.approx(1)
    assert cramer(codes[0], np.zeros(3000, np.int32), 30, 30) == 0


def test_shuffled_columns_lose_their_association():
    frame = Frame.freeze(mixed("reference", 1, 3000), mixed("real", 1, 3000))
    sample = mixed("sample", 2, 2000)
    order = {c.name: Rng("shuffle", c.name).generator().permutation(2000) for c in SCHEMA.columns}
    shuffled = Rows(SCHEMA, {name: array[:, order[name]] for name, array in sample.values.items()})
    kept, lost = ({m.metric: m.values for m in Association().measure(rows, frame)} for rows in (sample, shuffled))
    assert kept["association_ratio"] == pytest.approx([1, 1], abs=0.1)
    assert (np.abs(lost["association_ratio"]) < 0.1).all()
    for name in ("correlation_shift", "cramer_shift", "ratio_shift"):
        assert (kept[name] < 0.04).all() and (lost[name] > kept[name]).all()


# --------------------------------------------------------------------------------- validity and two samples


def test_range_and_impossible_pairs_are_held_against_all_real_rows():
    n = 20_000
    role = Rng("role").integers(2, (1, n)).astype(np.int32)
    sex = role.copy()
    sex[0, : n // 2] = 1  # a wife (role 0) may be either; a husband (role 1) is a man (1) always
    x = Rng("x").uniform((1, n))
    schema = Schema((Column("x", "number"), Column("role", "category", ("wife", "husband")),
                     Column("sex", "category", ("f", "m"))))
    rows = Rows(schema, {"x": x, "role": role, "sex": sex})
    frame = Frame.freeze(rows.map(lambda v: v[:, ::2]), rows.map(lambda v: v[:, 1::2]), (), 4)
    low, high = x.min(), x.max()
    sample = Rows(schema, {"x": np.array([[low, high, high + 1e-9, 0.5]]), "role": np.array([[0, 1, 1, 1]], np.int32),
                           "sex": np.array([[0, 1, 0, 1]], np.int32)})
    found = {(m.metric, m.feature): m.values[0] for m in Validity().measure(sample, frame)}
    assert found["range_violations", ""] == 0.25
    assert found["impossible_pairs", ""] == 0.25
    assert all(m.values[0] == 0 for m in Validity().measure(frame.reference, frame))


def test_a_classifier_tells_what_differs_and_nothing_else():
    reference, same = mixed("reference", 1, 1500), mixed("same", 2, 1200)
    frame = Frame.freeze(reference, mixed("real", 1, 1500))
    far = Rows(SCHEMA, {**same.values, "a": same["a"] + 6})
    turned = Rows(SCHEMA, {**same.values, "b": same["b"][:, ::-1]})  # marginals kept, dependence lost
    value = {name: next(C2ST().measure(rows, frame)).values for name, rows in
             {"same": same, "far": far, "turned": turned}.items()}
    error = 0.5 / np.sqrt(2000)
    assert (np.abs(value["same"] - 0.5) < 4 * error).all()
    assert (value["far"] > 0.99).all()
    assert (value["turned"] > 0.5 + 4 * error).all()
    again = next(C2ST().measure(same.replicate(1), frame)).values
    assert again[0] == value["same"][1]  # deterministic, whatever runs beside it
    image = Column("image", "image", shape=(2, 2))
    assert not C2ST().applies(Schema((image, Column("a", "number"), Column("b", "number"))))


# ---------------------------------------------------------------------------------------------- groups


def people(address: str, n: int, shares: tuple[float, ...] = (0.55, 0.3, 0.148, 0.002), replicates: int = 1) -> Rows:
    """A race with shares, a sex, two numbers that shift with race, and a label that race decides with them."""
    rng = Rng("people", address)
    race = np.searchsorted(np.cumsum(shares)[:-1], rng.at("race").uniform((replicates, n)), side="right")
    race = race.astype(np.int32)
    sex = (rng.at("sex").uniform((replicates, n)) < 0.5).astype(np.int32)
    x = rng.at("x").normal((replicates, n)) + 2 * race
    schema = Schema((Column("x", "number"), Column("y", "number"), Column("race", "category", ("p", "q", "r", "s")),
                     Column("sex", "category", ("f", "m")), Column("label", "category", ("no", "yes"), role="label")))
    return Rows(schema, {"x": x, "y": rng.at("y").normal((replicates, n)), "race": race, "sex": sex,
                         "label": (x > 2 * race).astype(np.int32)})


def group_frame(rows: int = 2000, groups=(("race",), ("race", "sex"))) -> Frame:
    return Frame.freeze(people("reference", 3000), people("real", 4000), (), rows, None, groups)


def measured(metric, sample: Rows, frame: Frame) -> dict[tuple[str, str], np.ndarray]:
    return {(m.metric, m.feature): m.values for m in metric.measure(sample, frame)}


def test_groups_cross_and_the_small_ones_are_named_as_such():
    frame = group_frame()
    found = measured(Groups(), people("sample", 2000, replicates=2), frame)
    names = {feature for metric, feature in found if metric == "group_support"}
    assert {"race=p", "race=s", "race=p, sex=f", "race=r, sex=m"} <= names
    reference = frame.reference
    small = {name for name in names - {""} if found["group_support", name][0] < 1}
    assert "race=s" in small and "race=p" not in small
    assert found["group_support", "race=s"][0] * LEAST_ROWS == (reference["race"] == 3).sum()
    large = ("group_share", "group_recall", "group_tails")
    assert not any(feature in small for metric, feature in found if metric in large)
    assert small == {feature for metric, feature in found if metric == "group_alive" and feature}


def test_group_shares_and_the_worst_of_them():
    frame, sample = group_frame(), people("half", 2000, (0.7, 0.225, 0.074, 0.001), 2)
    found = measured(Groups(), sample, frame)
    real = np.concatenate([frame.reference["race"][0], frame.real["race"][0]])
    for code, name in enumerate("pqr"):
        share = (sample["race"] == code).mean(axis=1) / (real == code).mean()
        assert found["group_share", f"race={name}"] == pytest.approx(share)
    least = np.min([v for (m, f), v in found.items() if m == "group_share" and f], axis=0)
    assert found["group_share", ""] == pytest.approx(least)
    assert (least < 0.65).all()
    gone = Rows(sample.schema, {**sample.values, "race": np.zeros_like(sample["race"])})
    lost = measured(Groups(), gone, frame)
    assert (lost["group_share", ""] == 0).all() and (lost["group_tails", ""] == 0).all()
    assert (lost["group_alive", ""] < 0.4).all()


def test_group_recall_and_accuracy_equal_brute_force():
    frame, sample = group_frame(400, (("race",),)), people("sample", 400, replicates=2)
    found, labels = measured(Groups(), sample, frame), measured(Labels(), sample, frame)
    partition = frame.partitions[0]
    y = frame.space.project(frame.reference)[0]
    for r in range(2):
        x = frame.space.project(sample)[r]
        radius = np.sort(cdist(x, x), axis=1)[:, 5]
        for g in partition.measured:
            rows = partition.members[g]
            assert (frame.reference["race"][0][rows] == g).all() and len(rows) == min(100, partition.rows[g])
            apart = cdist(y[rows], x)
            name = partition.names[g]
            assert found["group_recall", name][r] == pytest.approx((apart <= radius).any(axis=1).mean())
            right = sample["label"][r][apart.argmin(axis=1)] == frame.reference["label"][0][rows]
            assert labels["tstr_accuracy", name][r] == pytest.approx(right.mean())


def test_group_tails_see_a_group_shrink_that_the_whole_hides():
    frame, sample = group_frame(4000, (("race",),)), people("sample", 4000, replicates=2)
    own = sample["race"] == 2
    shrunk = Rows(sample.schema, {**sample.values, "x": np.where(own, 4 + 0.3 * (sample["x"] - 4), sample["x"]),
                                  "y": np.where(own, 0.3 * sample["y"], sample["y"])})
    before, after = (measured(Groups(), rows, frame) for rows in (sample, shrunk))
    assert before["group_tails", "race=r"] == pytest.approx([1, 1], abs=0.25)
    assert (after["group_tails", "race=r"] < 0.1).all()
    assert after["group_tails", "race=p"] == pytest.approx(before["group_tails", "race=p"])


def test_a_group_that_real_rows_do_not_show_is_nobodys():
    frame = group_frame(groups=(("race", "sex"),))
    women = people("reference", 3000)
    women.values["sex"][women["race"] == 2] = 0
    partition = Partition.freeze(("race", "sex"), women, women)
    assert "race=r, sex=m" not in partition.names
    assert (partition.codes(people("sample", 500)) == len(partition.names)).any()
    assert frame.partitions[0].codes(people("sample", 500)).max() <= len(frame.partitions[0].names)


def test_every_metric_of_a_mixed_table_is_known_finite_and_its_replicates_own():
    frame = Frame.freeze(mixed("reference", 1, 900), mixed("real", 1, 900), (), 300, None, (("grade", "ok"), ("town",)))
    sample = mixed("sample", 3, 300)
    together = {(m.metric, m.feature): m.values for m in measure_all(sample, sample, frame)}
    known = facts()
    assert all(metric in known for metric, _ in together)
    assert all(np.isfinite(values).all() for values in together.values())
    assert {"group_share", "missing_shift", "c2st", "association_ratio", "impossible_pairs"} <= {m for m, _ in together}
    alone = {(m.metric, m.feature): m.values for m in measure_all(sample.replicate(1), None, frame)}
    assert all(together[key][1] == alone[key][0] for key in alone)


# ----------------------------------------------------------------------------------------------- study


def study(**changes):
    base = {"title": "t", "seed": 1, "source": {"kind": "mixture"}, "model": {"kind": "gmm"}, "rows": 200,
            "generations": 2, "replicates": 2, "gates": {}, "branches": {"replace": {"regime": "replace"}}}
    return parse_study({**base, **changes}, "s", Path("studies/s.yaml"))


def test_groups_are_one_grouping_or_several():
    assert study().groups == ()
    assert study(groups=["sex", "race"]).groups == (("sex", "race"),)
    assert study(groups=[["sex", "race"], "job"]).groups == (("sex", "race"), ("job",))
    built = build({"s": study(groups=["label"])})
    slots = [built[kind][name]["groups"] for kind, name in
             (("reals", "s-real"), ("calibrations", "s"), ("generations", "s-replace-01"))]
    assert slots == ["groups"] * 3
    assert build({"s": study()})["reals"]["s-real"]["groups"] == FILLER


@pytest.mark.parametrize(("groups", "line"), [
    ([], "groups must be a list of category columns, such as [sex, race]"),
    ("sex", "groups must be a list of category columns"),
    ([1], "groups must name columns, such as [sex, race] (it is [1])"),
    ([[], "a"], "groups[0] must name columns"),
    (["a", "a"], "groups names a column twice; name each once"),
    ([["a", "b"], ["b", "a"]], "groups[1] is the same grouping as an earlier one; drop it"),
])
def test_groups_are_parsed_strictly(groups, line):
    with pytest.raises(InputError) as caught:
        study(groups=groups)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="groups cannot differ between branches"):
        study(branches={"replace": {"regime": "replace", "groups": ["a"]}})


@pytest.mark.parametrize(("groups", "line"), [
    (["labl"], "studies/s.yaml: groups: 'labl' is not a column; did you mean 'label'?"),
    (["x1"], "studies/s.yaml: groups: 'x1' is number, not a category; group by label"),
    ([["label"], ["x2"]], "studies/s.yaml: groups[1]: 'x2' is number, not a category"),
])
def test_groups_must_be_categories_of_the_data(groups, line):
    with pytest.raises(InputError) as caught:
        loop.check_study(study(groups=groups))
    assert line in str(caught.value) and "\n" not in str(caught.value)
    loop.check_study(study(groups=["label"]))


def test_a_column_that_the_reference_never_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{i},{i % 7},{'' if i else 3}" for i in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,rare", *lines]))
    changes = {"source": {"kind": "table", "path": "t.csv"}, "model": {"kind": "copula"}, "rows": 100}
    with pytest.raises(InputError, match=r"^studies/s\.yaml: source: column 'rare' is missing in all 120 reference"):
        loop.check_study(study(**changes, seed=2))
    lines = [f"{i},{i % 7},{'' if i % 3 else i}" for i in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,rare", *lines]))
    loop.check_study(study(**changes))
    with pytest.raises(InputError, match=r"^studies/s\.yaml: model: kde cannot take missing numbers, and rare may be"):
        loop.check_study(study(**{**changes, "model": {"kind": "kde"}}))


def test_a_group_column_of_one_value_is_refused():
    from collapse.metrics._partition import check_grouping

    one = people("one", 400, (1.0, 0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="'race' has a single value in the reference, so that there is one group"):
        check_grouping(("race",), one)
    with pytest.raises(InputError, match="no group of race × sex has 20 reference rows"):
        check_grouping(("race", "sex"), people("few", 35))
