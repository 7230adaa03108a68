"""Tail metrics: masses by closed form, the acceptance by shrinking real digits, and what must not fool them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from collapse.calibration import interval
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.frame import Frame
from collapse.metrics.tails import Tails
from collapse.rng import Rng
from collapse.sources.digits import Digits
from collapse.study.predicate import Predicate

LINE = Schema((Column("x", "number"),))
SHRINK = (1.0, 0.9, 0.7, 0.5, 0.3)


def line(address: str, replicates: int, n: int, scale: float = 1.0) -> Rows:
    return Rows.assemble(LINE, scale * Rng("tails", address).normal((replicates, n, 1)), {})


def found(sample: Rows, frame: Frame) -> dict[tuple[str, str], np.ndarray]:
    return {(m.metric, m.feature): m.values for m in Tails().measure(sample, frame)}


# ------------------------------------------------------------------------------------------- acceptance


@pytest.fixture(scope="module")
def shrunk() -> tuple[dict[float, dict], dict]:
    """Tail metrics of held-out digits, shrunk towards their class mean, and of 200 plain draws."""
    rows = Digits().load()
    order = Rng("tails", "split").choice(rows.n, rows.n, 1)
    reference, bank = rows.take(order[:, :540]), rows.take(order[:, 540:])
    frame = Frame.freeze(reference, bank, (), 400)
    draw = bank.take(Rng("tails", "sample").choice(bank.n, 400, 5))
    means = np.stack([rows["image"][rows["label"] == c].mean(axis=0) for c in range(10)])[draw["label"]]
    towards = {s: Rows(rows.schema, {**draw.values, "image": means + s * (draw["image"] - means)}) for s in SHRINK}
    control = found(bank.take(Rng("tails", "control").choice(bank.n, 400, 200)), frame)
    return {s: found(sample, frame) for s, sample in towards.items()}, control


@pytest.mark.parametrize("metric", ["tail_ratio", "tail_sides", "tail_stratum", "rare_coverage"])
def test_shrinking_digits_moves_every_tail_metric_out_of_the_control_band(shrunk: tuple, metric: str) -> None:
    by_scale, control = shrunk
    curve = [by_scale[s][metric, ""].mean() for s in SHRINK]
    assert all(a > b or a == b == 0 for a, b in pairwise(curve)), curve
    one, five = (interval(control[metric, ""], replicates, 0.01 / 30) for replicates in (1, 5))
    assert five.low < curve[0] < five.high
    assert curve[2] < five.low
    assert (by_scale[0.7][metric, ""] < one.low).sum() >= 4  # replicates alone, too, of five
    assert one.center == pytest.approx(1.0, abs=0.1)


# ------------------------------------------------------------------------------------------ closed forms


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.5])
def test_side_ratios_follow_the_normal_distribution_unclipped(scale: float) -> None:
    frame = Frame.freeze(line("reference", 1, 20_000), line("real", 1, 10_000), (), 1000)
    values = found(line("sample", 30, 1000, scale), frame)
    mean, sd = frame.reference["x"].mean(), frame.reference["x"].std()
    low, high = frame.thresholds[:, 0] * sd + mean
    assert (low, high) == pytest.approx((-1.645, 1.645), abs=0.06)
    masses = {region.name: region.mass for region in frame.regions}
    for side, chance in (("x:low", stats.norm.cdf(low / scale)), ("x:high", stats.norm.sf(high / scale))):
        error = np.sqrt(chance / 30_000)
        assert abs(values["tail_ratio", side].mean() * masses[side] - chance) < 4 * error
    assert (values["tail_sides", ""] == (values["tail_ratio", "x:low"] + values["tail_ratio", "x:high"]) / 2).all()
    if scale > 1:
        assert values["tail_ratio", ""].mean() > 1.5


def test_regions_weigh_as_families_and_as_the_study_says() -> None:
    tails = ((Predicate.parse("x > 2.5"), 2.0), (Predicate.parse("x < 0"), 0.5))
    frame = Frame.freeze(line("reference", 1, 5000), line("real", 1, 5000), tails, 500)
    values = found(line("sample", 3, 500, 0.8), frame)
    sides, stratum = values["tail_sides", ""], values["tail_stratum", ""]
    named = 2 * values["tail_ratio", "x > 2.5"] + 0.5 * values["tail_ratio", "x < 0"]
    assert np.allclose(values["tail_ratio", ""], (sides + stratum + named) / 4.5)


def test_a_named_region_is_its_share_over_that_of_all_real_rows() -> None:
    condition = Predicate.parse("x > 1 and x < 2")
    reference, real, sample = line("reference", 1, 2000), line("real", 1, 3000), line("sample", 4, 300)
    values = found(sample, Frame.freeze(reference, real, ((condition, 1.0),), 300))
    both = np.concatenate([reference["x"][0], real["x"][0]])
    inside = (sample["x"] > 1) & (sample["x"] < 2)
    assert np.allclose(values["tail_ratio", condition.text], inside.mean(axis=1) / ((both > 1) & (both < 2)).mean())


def test_a_region_without_reference_rows_is_refused() -> None:
    with pytest.raises(InputError, match="no row of the reference has x > 40"):
        Frame.freeze(line("reference", 1, 100), line("real", 1, 100), ((Predicate.parse("x > 40"), 1.0),))


def test_real_rows_read_one_in_every_family() -> None:
    frame = Frame.freeze(line("reference", 1, 2000), line("real", 1, 10_000), (), 500)
    values = found(line("sample", 200, 500), frame)
    for metric in ("tail_ratio", "tail_sides", "tail_stratum", "rare_coverage"):
        error = values[metric, ""].std() / np.sqrt(200)
        # the mass of a region is itself a share of 10,000 rows
        assert abs(values[metric, ""].mean() - 1) < 4 * np.hypot(error, np.sqrt(0.95 / (0.05 * 10_000)) / 2), metric


def test_outlier_balls_do_not_count_ordinary_rows_as_cover() -> None:
    """Rows at 0.75 of the radius fall into outliers' balls almost as often as real ones, and are not rare."""
    schema = Schema(tuple(Column(f"x{i}", "number") for i in range(5)))
    draw = {name: Rng("balls", name).normal((1, 1000, 5)) for name in ("reference", "real", "sample")}
    rows = {name: Rows.assemble(schema, x, {}) for name, x in draw.items()}
    frame = Frame.freeze(rows["reference"], rows["real"], (), 1000)
    inner = Rows.assemble(schema, 0.75 * draw["sample"], {})
    plain, real = (frame.view(r).near.covered[:, frame.balls.rare].mean() for r in (inner, rows["sample"]))
    assert found(inner, frame)["rare_coverage", ""][0] < 0.5 * plain / real
    assert found(rows["sample"], frame)["rare_coverage", ""][0] == pytest.approx(1.0, abs=0.3)


# -------------------------------------------------------------------------------------------- categories


def zipf(address: str, replicates: int, n: int, shares: np.ndarray) -> Rows:
    schema = Schema((Column("word", "category", tuple(f"w{i}" for i in range(len(shares)))),))
    codes = np.searchsorted(np.cumsum(shares)[:-1], Rng("zipf", address).uniform((replicates, n)))
    return Rows(schema, {"word": codes.astype(np.int32)})


def test_rare_categories_by_hand() -> None:
    weights = 1 / np.arange(1, 201)
    shares = weights / weights.sum()
    reference, real = zipf("reference", 1, 5000, shares), zipf("real", 1, 10_000, shares)
    frame = Frame.freeze(reference, real, (), 400)
    count = np.bincount(reference["word"][0], minlength=200)
    rare = {c for c in range(200) if count[count <= count[c]].sum() <= 0.05 * 5000}
    mine = set(np.flatnonzero(frame.rare["word"]))
    assert rare <= mine and count[list(mine)].sum() <= 0.05 * 5000
    members = sorted(mine)
    sample = zipf("sample", 200, 400, shares)
    values = found(sample, frame)
    mass = np.isin(real["word"], members).mean()
    assert np.allclose(values["tail_ratio", "rare:word"], np.isin(sample["word"], members).mean(axis=1) / mass)
    seen = [len(set(codes) & set(np.array(members)[count[members] > 0])) for codes in sample["word"]]
    expected = sum(1 - (1 - shares[c]) ** 400 for c in members if count[c])
    assert values["rare_alive", ""].mean() == pytest.approx(np.mean(seen) / expected, rel=0.05)
    assert values["rare_alive", ""].mean() == pytest.approx(1.0, abs=0.06)
    cool = shares**2 / (shares**2).sum()  # mode-seeking
    cooled = found(zipf("cool", 20, 400, cool), frame)
    assert cooled["rare_alive", ""].max() < 0.3 and cooled["tail_rare", ""].max() < 0.3
