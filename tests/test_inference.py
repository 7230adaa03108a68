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


def test_a_centre_is_that_of_the_values_there_are():
    for centre in (Median, Mean):
        assert np.isnan(centre(np.array([])).estimate) and np.isnan(centre(np.full(3, np.nan)).estimate)
        assert centre(np.array([1.0, np.nan, 3.0])).estimate == 2
    values = np.array([1.0, np.nan, 6, 2])
    assert Mean(values).estimate == 3 and Median(values).estimate == 2


@pytest.mark.parametrize(("count", "level", "rank"), [(5, 0.9, 1), (8, 0.95, 2), (20, 0.95, 6), (5, 1 - 2**-5, 1)])
def test_bounds_of_a_median_keep_at_least_their_level_and_say_which(count, level, rank):
    values = Median(np.arange(float(count)))
    assert level <= values.exact(level) == pytest.approx(1 - stats.binom.cdf(rank - 1, count, 0.5))
    assert values.bounds(level) == (rank - 1, count - rank)


@pytest.mark.parametrize("count", [4, 5, 40])
def test_bounds_of_a_median_never_cross(count):
    low, high = Median(np.arange(float(count))).bounds(0.01)
    assert (low, high) == ((count - 1) // 2, count // 2)


def test_ties_are_on_neither_side_unless_equal_counts():
    values = Median(np.array([1.0, 1, 1, 2, 3, 3]))
    assert values.below(1) == 1 and values.above(3) == 1
    assert values.below(1, equal=True) == pytest.approx(stats.binom.sf(2, 6, 0.5))
    assert values.above(3, equal=True) == pytest.approx(stats.binom.sf(1, 6, 0.5))
    assert values.above(1) == pytest.approx(stats.binom.sf(2, 6, 0.5))
    assert values.above(1, equal=True) == pytest.approx(0.5**6)


def test_a_mean_needs_ten_paths_and_more_of_many_replicates():
    assert [Mean(np.arange(float(count))).needed for count in (2, 44, 400)] == [10, 10, 30]
    assert not Mean(np.repeat([0.0, 1.0], 5)).refused(0.95)  # ten paths of ten
    assert Mean(np.append(np.repeat([0.0, 1.0], 4), 0.0)).refused(0.95).startswith("is carried by few paths: 8.")
    assert "12.3 of 100" in (few := Mean(np.repeat([0.0, 1.0], [90, 10])).refused(0.95)) and "15 are needed" in few
    for values, words in (([2.0], "is carried by few paths: 0 of 1"), ([2.0, 2.0], "is of 2 equal values"),
                          ([], "is carried by few paths: 0 of 0"), ([1.0, np.inf], "1 of 2 replicates")):
        assert words in Mean(np.array(values)).refused(0.95)
        assert Mean(np.array(values)).below(9) == 1 and np.isnan(Mean(np.array(values)).bounds(0.95)).all()


def test_a_symmetric_mean_is_students():
    half = Rng("inference", "symmetric").normal((30,))
    values = 3 + np.concatenate([half, -half])
    low, high = stats.t.interval(0.9, 59, 3, stats.sem(values))
    assert Mean(values).bounds(0.95) == pytest.approx((low, high))
    for value in (2.9, 3.2):
        expected = stats.ttest_1samp(values, value, alternative="less").pvalue
        assert Mean(values).below(value) == pytest.approx(expected)
        assert Mean(values).above(value) == pytest.approx(1 - expected)
    even = np.repeat([0.0, 1.0], 50)  # of skewness 0 to the last bit
    assert Mean(even).bounds(0.95) == pytest.approx(stats.t.interval(0.9, 99, 0.5, stats.sem(even)))


def test_a_skewed_mean_is_the_less_favourable_of_students_and_halls():
    values = Rng("inference", "hall").chisquare(4, (1, 60))[0]
    for x in (values, -values):
        skew, spread = stats.skew(x), x.std(ddof=1)
        for value in x.mean() + np.array([-0.5, 0.3, 0.8]):
            t = (x.mean() - value) / spread
            hall = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 360
            assert Mean(x).below(value) == pytest.approx(stats.t.cdf(np.sqrt(60) * max(t, hall), 59))


def test_slopes_of_no_columns_are_none_and_of_one_time_no_numbers():
    assert theil_sen(np.empty((3, 0)), np.arange(3)).shape == (0,)
    with pytest.warns(RuntimeWarning):
        assert np.isnan(theil_sen(np.ones((1, 4)), np.arange(1))).tolist() == [True] * 4
