"""Sign test, order statistics, corrected means and Theil–Sen slopes against scipy and against their own levels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from collapse.rng import Rng
from collapse.stats import Mean, Median, holm, least_count, theil_sen


@pytest.mark.parametrize(("level", "count"), [(0.5, 1), (0.9, 4), (0.95, 5), (0.975, 6), (0.99, 7), (0.999, 10)])
def test_a_level_needs_as_many_replicates_as_halvings(level, count):
    assert least_count(level) == count
    values = np.arange(30.0)
    assert not Median(values[:count]).refused(level) and Median(values[:count]).bounds(level) == (0, count - 1)
    if count > 1:
        assert f"needs R ≥ {count} replicates, has {count - 1}" in Median(values[: count - 1]).refused(level)
        assert np.isnan(Median(values[: count - 1]).bounds(level)).all()


@pytest.mark.parametrize("count", [5, 8, 21, 100, 1001])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_bounds_of_a_median_are_where_its_sign_test_turns(count, level):
    if count < least_count(level):
        return
    values = np.sort(Rng("inference", count).normal((count,)))
    low, high = Median(values).bounds(level)
    for value in values:
        assert (Median(values).above(value, equal=True) <= 1 - level) == (value <= low)
        assert (Median(values).below(value, equal=True) <= 1 - level) == (value >= high)
    hits = int((values < 0.1).sum())
    assert Median(values).below(0.1) == pytest.approx(stats.binomtest(hits, count, 0.5, "greater").pvalue)
    assert Median(values).above(-0.1) == pytest.approx(Median(-values).below(0.1))


def test_what_is_no_number_counts_on_neither_side():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, np.nan])
    known = Median(values)
    assert known.dead == 1 and known.estimate == 4
    assert known.bounds(0.95) == (1.0, 7.0)  # of eight, the second least and the second greatest, whatever it was
    assert known.above(0) == pytest.approx(stats.binom.sf(6, 8, 0.5)) == known.below(9)
    assert Median(np.full(9, np.nan)).bounds(0.95) == (-np.inf, np.inf)
    assert Median(np.full(9, np.nan)).above(-1e9) == 1
    assert Mean(values).refused(0.95).startswith("is no mean that can be judged: 1 of 8")


@pytest.mark.parametrize(("draw", "median"), [
    (lambda rng, shape: rng.normal(shape), 0.0), (lambda rng, shape: np.exp(2 * rng.normal(shape)), 1.0),
    (lambda rng, shape: rng.normal(shape) / rng.at("other").normal(shape), 0.0),
    (lambda rng, shape: np.floor(rng.uniform(shape) * 3), 1.0),
])
@pytest.mark.parametrize("count", [5, 6, 20])
def test_one_sided_bounds_cover_the_median(draw, median, count):
    bounds = np.array([Median(values).bounds(0.95) for values in draw(Rng("cover", count), (1000, count))])
    slack = 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert (bounds[:, 0] <= median).mean() >= 0.95 - slack and (bounds[:, 1] >= median).mean() >= 0.95 - slack


def test_the_bounds_of_a_mean_are_where_its_p_value_is_the_level():
    values = np.exp(0.4 * Rng("inference", "mean").normal((80,)))
    for x in (values, -values, Rng("inference", "plain").normal((80,))):
        low, high = Mean(x).bounds(0.95)
        assert low < x.mean() < high
        assert Mean(x).above(low) == pytest.approx(0.05) and Mean(x).below(high) == pytest.approx(0.05)
        t_low, t_high = stats.t.interval(0.9, 79, x.mean(), stats.sem(x))
        assert low <= t_low + 1e-9 and high >= t_high - 1e-9  # never narrower than Student's
    assert Mean(-values).bounds(0.95) == pytest.approx([-b for b in Mean(values).bounds(0.95)[::-1]])


def test_the_effective_number_of_paths_is_that_of_those_that_carry_the_spread():
    assert Mean(np.append(np.zeros(999), 1.0)).paths == pytest.approx(1, abs=0.01)
    assert Mean(np.repeat([0.0, 1.0], 50)).paths == pytest.approx(100)
    assert Mean(Rng("inference", "paths").normal((30_000,))).paths == pytest.approx(10_000, rel=0.05)
    huge = Mean(1e200 * Rng("inference", "huge").normal((300,)))
    assert huge.paths == pytest.approx(Mean(huge.values / 1e200).paths)
    assert Mean(np.ones(50)).paths == 0 and Mean(np.array([1.0, np.inf])).paths == 0


@pytest.mark.parametrize("count", [5, 20, 100, 400])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_a_skewed_mean_is_not_rejected_more_often_than_stated(count, steps):
    """Products of χ²: the mean is 1, and the median 0.93, 0.55 or 0.1."""
    values = np.prod(Rng("inference", "skewed", steps).chisquare(9, (1500, steps, count)) / 9, axis=1)
    assert np.median(values) < 0.95
    wrong = np.mean([Mean(x).below(1) <= 0.05 for x in values])
    assert wrong <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1500)
    assert np.mean([stats.ttest_1samp(x, 1, alternative="less").pvalue <= 0.05 for x in values[:300]]) >= wrong - 0.03


def test_theil_sen_is_the_median_of_all_slopes():
    times = np.array([1, 2, 4, 7, 8])
    values = Rng("inference", "slopes").normal((5, 40))
    expected = [stats.theilslopes(values[:, r], times).slope for r in range(40)]
    assert theil_sen(values, times) == pytest.approx(expected)
    values[2, 3] = np.nan
    assert np.isnan(theil_sen(values, times)[3]) and np.isfinite(theil_sen(values, times)[4])
    long = np.arange(700.0)[:, None] * np.linspace(-1, 1, 50)  # in parts, for memory
    assert theil_sen(long, np.arange(700)) == pytest.approx(np.linspace(-1, 1, 50))


def test_holm_steps_down():
    """Worked example of Holm's procedure: p (0.01, 0.04, 0.03, 0.005) -> (0.03, 0.06, 0.06, 0.02)."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert len(holm([])) == 0 and holm([0.9, 0.8]) == pytest.approx([1, 1])
