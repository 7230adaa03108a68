"""The planner: intervals that cover, laws that answer at once, a study that can be rebuilt, and bad input."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collapse.advice import intervals, search
from collapse.advice import options as advice
from collapse.advice.condition import Keep, Of, kept
from collapse.advice.search import Knob, Left
from collapse.errors import InputError
from collapse.laws import passage, real
from collapse.loop import run
from collapse.metrics import facts
from collapse.models.gaussian import Gaussian
from collapse.regimes.replace import Replace
from collapse.regimes.weighted import Weighted
from collapse.regimes.window import Window
from collapse.sources import gaussian
from collapse.study.parse import parse_study
from collapse_lab.commands import main
from collapse_lab.engine import recommend
from collapse_lab.engine.checkout import exclusive
from tests.worlds.project import Project

STUDY = """\
title: One Gaussian
seed: 3
source: {kind: gaussian}
model: {kind: gaussian, ddof: 0}
rows: 20
generations: 3
replicates: 5
measure: {only: [spread]}
branches:
  control: {regime: control}
  replace: {regime: replace}
  tenth:   {regime: redraw, real: 0.1}
gates: {}
"""
KEEP = Keep("m", "", ">=", 0.5)
MEAN, MEDIAN, NINE = Of("mean"), Of("median"), Of("0.9", 0.9)
TARGET, LAST = 40, 12


def truth(x: int, fades: float = 0.7) -> np.ndarray:
    """Return means (T,) that fall to 1 − 1/(1 + x/40): at x = 40 to 0.5 exactly, in the limit."""
    return 1 - (1 - fades ** np.arange(1, LAST + 1)) / (1 + x / TARGET)


def simulator(seed: int, replicates: int, calls: list | None = None):
    """Return noise around :func:`truth`: heavy-tailed, correlated in time, and shared by settings but for a part."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(6, size=(replicates, LAST))
    for t in range(1, LAST):
        noise[:, t] = 0.8 * noise[:, t - 1] + 0.6 * noise[:, t]

    def simulate(points):
        if calls is not None:
            calls.append(list(points))
        own = {x: np.random.default_rng((seed, x)).normal(size=(replicates, LAST)) for _, x in points}
        return {(name, x): truth(x) + 0.3 * noise + 0.15 * own[x] for name, x in points}

    return simulate


KNOB = Knob("share", 0, 399, (0, 20, 80, 200, 399))
LEAST = next(x for x in range(400) if KEEP.met(truth(x)).all())


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A project's folder without a server."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "tiny.yaml").write_text(STUDY)
    (tmp_path / "params.yaml").write_text("studies: [tiny]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(**changes):
    data = {"title": "x", "seed": 1, "source": {"kind": "gaussian"}, "model": {"kind": "gaussian", "ddof": 0},
            "rows": 20, "generations": 20, "replicates": 5, "branches": {"replace": {"regime": "replace"}}, "gates": {}}
    return parse_study({**data, **changes}, "x", Path("studies/x.yaml"))


# ------------------------------------------------------------------------------------------- statistics


def test_conditions_are_read():
    assert Keep.parse("tail_ratio>=.8", facts()) == Keep("tail_ratio", "", ">=", 0.8)
    keep = Keep.parse("group_share[sex=Female, race=Black] > 0.5", facts())
    assert (keep.feature, keep.text) == ("sex=Female, race=Black", "group_share[sex=Female, race=Black] > 0.5")
    assert Keep("w1", "", "<=", 2.0).margins(np.array([1.5, 3.0])).tolist() == [0.5, -1.0]
    assert not keep.met(np.array([np.nan, 0.5])).any()


@pytest.mark.parametrize("text", ["m", "m > ", "m = 1", "m >= nan", "m > inf", "m >== 1", "m[ > 1", "m n > 1", "> 1"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(InputError, match="keep: cannot read"):
        Keep.parse(text, ["m"])


def test_a_condition_breaks_at_its_bound_if_it_says_so():
    values = np.array([0.4, 0.5, 0.6, np.nan, np.inf, -np.inf])
    far = 10 * (0.1 + 0.5 + 1)
    for op, sign, at in ((">=", 1, 0.0), (">", 1, -np.finfo(float).tiny), ("<=", -1, 0.0),
                         ("<", -1, -np.finfo(float).tiny)):
        keep = Keep("m", "", op, 0.5)
        found = keep.margins(values)
        assert found == pytest.approx([-0.1 * sign, 0, 0.1 * sign, -far, far * sign, -far * sign])
        assert found[1] == at and keep.sign == sign
        assert keep.met(values).tolist() == (found >= 0).tolist()
    assert Keep("m", "", ">", 0.5).text == "m > 0.5" and Keep("m", "x", "<=", 2).series == "m[x]"
    assert Keep("m", "", ">", 1.0).margins(np.array([np.nan])).tolist() == [-20.0]


def test_of_whom_is_said_in_words():
    for text in ("0", "1", "1.2", "-0.5", "nan", "most"):
        with pytest.raises(InputError, match="is no share of lineages"):
            Of.parse(text)
    assert (MEAN.text, MEDIAN.text, NINE.text) == (
        "the mean over lineages", "the median over lineages", "90 % of lineages")
    assert (MEAN.shown(0.12345), NINE.shown(0.12345)) == ("0.123", "12.3 %")
    assert NINE.asked(KEEP) == Keep("kept", "", ">=", 0.9) and MEAN.asked(KEEP) is MEDIAN.asked(KEEP) is KEEP


def test_a_crossing_is_interpolated_and_lies_above_what_did_not_hold():
    places = np.array([0.0, 1.0, 3.0])
    margins = np.array([[-1, 1, 2], [-3, -1, 3], [0, -1, 2], [-3, -2, -1], [-1, np.nan, 1], [-1e-9, 1, 1], [-1, 0, 0]])
    assert search.crossing(places, margins).tolist() == pytest.approx(
        [0.5, 1 + 2 * 0.25, 0, np.inf, 3, search.ABOVE, 1])


def test_an_interval_leaves_a_twentieth_of_the_draws_on_each_side():
    draws = np.random.default_rng(0).permutation(np.arange(2001.0))
    assert search.interval(draws) == pytest.approx((1000, 100, 1900), abs=1)
    assert search.interval(np.array([7.0])) == (7, 7, 7)
    assert search.interval(np.append(draws, [np.inf] * 200))[2] == np.inf


def test_a_place_is_the_first_whole_number_at_or_above_it():
    for place, whole in ((40, 40), (40.01, 41), (40 + 1e-9, 40), (0, 0), (0.01, 1)):
        assert search._whole(np.log1p(place)) == whole
    assert search._whole(np.inf) is None


@pytest.mark.parametrize("least", [3, 4, 57, 58, 200, 399, 400, 401])
def test_a_law_is_asked_for_the_very_least_setting(least):
    asked = []

    def form(x):
        asked.append(x)
        return np.array([x - least + 0.5, x - least, 5000])

    found = search.by_law(Knob("share", 3, 400, (3, 400)), form, Keep("m", "", ">=", 0.0))
    answer = least if least <= 400 else None
    assert (found.least, found.low, found.high, found.exact) == (answer, answer, answer, True)
    assert found.best == max(asked) and found.tried[found.best] == found.best - least
    assert len(asked) == len(set(asked)) <= 64 + 9 and min(asked) == 3


def test_a_law_that_is_best_at_two_settings_is_best_at_the_lesser():
    def form(x):
        return np.array([min(x, 5.0)])

    assert search.by_law(Knob("share", 0, 9, (0, 9)), form, Keep("m", "", ">=", 99.0)).best == 5


def test_a_mean_at_its_bound_breaks_what_is_strict():
    values = np.full((10, 4), 0.5)
    assert search.left(values, KEEP, MEAN).breaks is None
    for of in (MEAN, NINE):
        assert search.left(values, Keep("m", "", ">", 0.5), of).breaks == 1
    some = np.ones((40, 3))
    some[:5, 1:] = 0
    found = search.left(some, KEEP, NINE)
    assert (found.breaks, found.value) == (2, 35 / 40)
    assert search.left(some[4:], KEEP, NINE).breaks is None


def test_a_search_tells_what_it_knows_before_each_round():
    heard, calls = [], []
    answer = search.search([KNOB], simulator(1, 100, calls), KEEP, MEAN, rounds=3,
                           told=lambda number, known, new: heard.append((number, sorted(known), new)))
    assert heard == [(k + 1, ["share"] if k else [], len(call)) for k, call in enumerate(calls)]
    assert len(calls) == 3 and [x for _, x in calls[0]] == list(KNOB.first)
    assert answer["share"].tried.keys() == {x for call in calls for _, x in call}
    one = search.search([KNOB], simulator(1, 100), KEEP, MEAN, rounds=1)["share"]
    assert 20 <= one.low <= one.least <= one.high <= 80 and one.best == 399
    for x, value in one.tried.items():
        assert value == pytest.approx(simulator(1, 100)([("share", x)])["share", x].mean(axis=0).min())


def test_a_search_halves_the_gaps_that_hold_an_end():
    calls: list = []
    search.search([KNOB], simulator(1, 100, calls), KEEP, MEAN)
    known = list(KNOB.first)
    for call in calls[1:]:
        for _, x in call:
            below, above = max(k for k in known if k < x), min(k for k in known if k > x)
            middle = np.expm1((np.log1p(below) + np.log1p(above)) / 2)
            assert abs(x - np.clip(middle, below + 1, above - 1)) <= 0.5
            assert np.log1p(above) - np.log1p(below) > 0.05  # what tells less is not looked at
        known += [x for _, x in call]


def test_the_monotone_fit_is_the_least_squares_one():
    from scipy.optimize import isotonic_regression

    values = np.random.default_rng(1).normal(size=(20, 9))
    fitted = intervals.monotone(values)
    for row, ours in zip(values, fitted, strict=True):
        assert ours == pytest.approx(isotonic_regression(row).x)


@pytest.mark.parametrize("means", [np.full(10, 2.0), np.linspace(3, 2, 10), np.r_[2.0, np.linspace(2.2, 3, 9)],
                                   np.r_[np.linspace(3, 2, 5), np.linspace(2.3, 3, 5)]],
                         ids=["level", "falling", "rising", "valley"])
def test_the_least_of_noisy_means_is_not_biased(means):
    rng = np.random.default_rng(2)
    gaps = []
    for _ in range(60):
        values = means + 0.5 * rng.normal(size=(40, len(means)))
        gaps.append(np.median(intervals.worst(*intervals.noise(values))) - means.min())
    assert abs(np.mean(gaps)) < 0.5 / np.sqrt(40)  # a standard error of one mean; the plain least is off by 1.5


def test_the_least_of_a_loop_that_drifts_is_covered(monkeypatch):
    """A variance under replace (Shumailov et al. 2024, Theorem 3.1): noise that adds up hides how means fall."""
    monkeypatch.setattr(intervals, "DRAWS", 400)
    n, steps, rng = 125, 15, np.random.default_rng(3)
    above, below = [], []
    for _ in range(200):
        values = (rng.chisquare(n - 1, (60, steps)) / n).cumprod(axis=1)
        _, low, high = intervals.interval(intervals.worst(*intervals.noise(values)))
        above.append(low > (1 - 1 / n) ** steps)
        below.append(high < (1 - 1 / n) ** steps)
    assert max(np.mean(above), np.mean(below)) < 0.1  # 5 % each; three standard errors are 4.6 %


def test_intervals_cover(monkeypatch):
    """About 90 % of them hold the least setting, and the generation at which the loop breaks."""
    monkeypatch.setattr(intervals, "DRAWS", 300)
    found, left = [], []
    for seed in range(80):
        simulate = simulator(seed, 20)
        answer = search.search([KNOB], simulate, KEEP, MEAN)["share"]
        found.append(answer.low is not None and answer.low <= LEAST and (answer.high is None or answer.high >= LEAST))
        ends = search.left(simulate([("share", 5)])["share", 5], KEEP, MEAN)
        breaks = 1 + int(np.argmin(KEEP.met(truth(5))))
        left.append(ends.low is not None and ends.low <= breaks and (ends.high is None or ends.high >= breaks))
    assert 0.8 <= np.mean(found) <= 0.98  # 3 standard errors about 90 %
    assert np.mean(left) >= 0.8  # whole generations: an interval covers more than it must


def test_a_search_stops_where_more_points_tell_nothing():
    looked = {}
    for replicates in (8, 800):
        calls: list = []
        answer = search.search([KNOB], simulator(1, replicates, calls), KEEP, MEAN)["share"]
        points = [point for call in calls for point in call]
        assert len(set(points)) == len(points)
        assert len(calls) <= search.ROUNDS
        looked[replicates] = len(points)
    assert looked[8] < looked[800]
    assert answer.high - answer.low <= 8  # of 40
    assert answer.low <= LEAST <= answer.high
    again = search.search([KNOB], simulator(1, 800), KEEP, MEAN)["share"]
    assert again == answer


def test_shares_of_lineages_are_read():
    assert (Of.parse("0.9"), Of.parse(".50"), Of.parse("median")) == (NINE, Of("0.5", 0.5), MEDIAN)
    # one in twenty: 0.9^29 is the first power below it
    assert [of.needed for of in (NINE, Of("", 0.1), Of("", 0.5), Of("", 0.99), MEAN)] == [29, 29, 5, 299, 2]
    assert 0.9 ** 29 < 0.05 < 0.9 ** 28


def test_a_lineage_keeps_a_condition_at_every_generation_or_not():
    values = np.array([[0.9, 0.4, 0.9], [0.9, 0.5, 0.6], [np.nan, 1.0, 1.0], [1.0, 1.0, np.nan]])
    assert (kept(values, KEEP) >= 0).tolist() == [[True, False, False], [True] * 3, [False] * 3,
                                                          [True, True, False]]
    strict = Keep("m", "", ">", 0.5)
    assert (kept(values, strict)[1] >= 0).tolist() == [True, False, False]


@pytest.mark.parametrize(("replicates", "share"), [(29, 0.9), (60, 0.9), (60, 0.95), (20, 0.5), (100, 0.1)])
def test_limits_err_with_a_twentieth_each_whatever_the_distribution(replicates, share):
    """Of uniform, log-normal and Cauchy values; an independent count, and the plain estimate's own meaning."""
    from scipy.stats import cauchy, lognorm, uniform

    rng = np.random.default_rng(5)
    for law in (uniform, lognorm(1.5), cauchy):
        values = law.rvs(size=(replicates, 4000), random_state=rng) - law.ppf(1 - share)
        low, middle, high = intervals.limits(values, share)
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert ((middle >= 0) == ((values >= 0).mean(axis=0) >= share - 1e-12)).all()
        for wrong in ((low > 0).mean(), (high < 0).mean()):
            assert 0.03 < wrong < 0.07, law  # three standard errors are 1 %


def test_fewer_replicates_than_needed_have_no_lower_limit():
    low, middle, high = intervals.limits(np.ones(28), 0.9)
    assert (low, middle, high) == (-np.inf, 1, 1)
    assert intervals.limits(np.ones(29), 0.9)[0] == 1


def test_bootstrapped_medians_are_those_of_drawn_replicates():
    values = np.random.default_rng(8).lognormal(size=(12, 3))
    times = np.rint(intervals.weights(12) * 12).astype(int)
    expected = [np.median(np.repeat(values, each, axis=0), axis=0) for each in times[:200]]
    assert intervals._medians(values)[:200] == pytest.approx(np.array(expected))


def lineages(seed: int, replicates: int):
    """Return skewed lineages whose worst value falls below 0.5 in a tenth of them at x = 40, and in fewer beyond."""
    rng = np.random.default_rng(seed)
    common, sizes = rng.exponential(size=replicates), {}

    def simulate(points):
        for _, x in points:
            own = np.random.default_rng((seed, x)).exponential(size=replicates)
            worst = 0.5 - np.log(0.1) - (0.9 * common + 0.1 * own) * 1.0 + np.log1p(x) - np.log1p(TARGET)
            sizes[x] = np.stack([worst + 1, worst, worst + 0.5], axis=1)
        return {(name, x): sizes[x] for name, x in points}

    return simulate


def test_intervals_of_a_share_cover():
    """About 90 % of them hold the least setting with which nine of ten lineages keep it."""
    many = np.random.default_rng(0).exponential(size=(2, 10**6))
    above = np.quantile(0.9 * many[0] + 0.1 * many[1], 0.9) + np.log(0.1)  # the truth lies at log(1 + x) so far on
    least = int(np.ceil(np.expm1(np.log1p(TARGET) + above)))
    found, left = [], []
    for seed in range(300):
        answer = search.search([KNOB], lineages(seed, 60), KEEP, NINE)["share"]
        ends = [np.inf if x is None else x for x in (answer.low, answer.least, answer.high)]
        assert ends == sorted(ends)
        found.append(ends[0] <= least <= ends[2])
        at = search.left(lineages(seed, 60)([("share", 20)])["share", 20], KEEP, NINE)
        left.append(at.low <= 2 and (at.high is None or at.high >= 2))
    assert 0.85 <= np.mean(found) <= 0.96  # three standard errors about 90 % are 5 %; whole numbers hold more
    assert np.mean(left) >= 0.9


def test_what_a_law_knows_of_an_end_stands():
    simulate = lineages(1, 60)
    plain = search.search([KNOB], simulate, KEEP, NINE)["share"]
    assert plain.least > 0
    known = search.search([KNOB], simulate, KEEP, NINE, certain={("share", 0): True})["share"]
    assert (known.least, known.low, known.high) == (0, 0, 0)
    easy = Keep("m", "", ">=", -9.0)
    assert search.search([KNOB], simulate, easy, NINE, certain={("share", 0): False})["share"].least == 1


def test_what_needs_nothing_and_what_nothing_keeps():
    simulate = simulator(3, 50)
    easy = search.search([KNOB], simulate, Keep("m", "", ">=", -3.0), MEAN)["share"]
    assert (easy.least, easy.low, easy.high) == (0, 0, 0)
    never = search.search([KNOB], simulate, Keep("m", "", ">=", 1.5), MEAN)["share"]
    assert (never.least, never.low, never.high, never.best) == (None, None, None, 399)
    for of in (MEAN, MEDIAN, NINE):
        broken = search.search([KNOB], lambda points: {p: np.full((5, 4), np.nan) for p in points}, KEEP, of)["share"]
        assert (broken.least, broken.high) == (None, None)


def test_a_peaked_knob_is_left_of_its_peak():
    def simulate(points):
        noise = np.random.default_rng(5).normal(size=(50, 3))
        return {(name, x): 1 - (np.log1p(x) - np.log1p(30)) ** 2 / 2 + 0.05 * noise for name, x in points}

    knob = Knob("weight", 0, 99, (0, 5, 20, 50, 80, 99), peaked=True)
    answer = search.search([knob], simulate, KEEP, MEAN)["weight"]
    least = np.expm1(np.log1p(30) - 1)
    assert answer.low <= np.ceil(least) <= answer.high
    assert answer.high < 30


@pytest.mark.parametrize("of", [MEAN, NINE])
def test_a_peaked_knob_that_is_best_at_its_end_and_keeps_nothing_says_so(of):
    def simulate(points):
        return {(name, x): np.full((30, 3), x / 1000.0) + 1e-6 * np.arange(30)[:, None] for name, x in points}

    answer = search.search([Knob("w", 0, 99, (0, 5, 20, 50, 80, 99), peaked=True)], simulate, KEEP, of)["w"]
    assert (answer.least, answer.low, answer.high) == (None, None, None) and answer.best == 99


def test_generations_left_are_censored():
    values = np.random.default_rng(0).normal(3, 0.1, size=(30, 6))
    for of, value in ((MEAN, values.mean(axis=0).min()), (MEDIAN, np.median(values, axis=0).min()), (NINE, 1.0)):
        assert search.left(values, KEEP, of) == Left(None, None, None, pytest.approx(value))
    values[:, 4:] = 0.0
    for of in (MEAN, MEDIAN, NINE):
        found = search.left(values, KEEP, of)
        assert (found.breaks, found.low, found.high) == (5, 5, 5)


# ------------------------------------------------------------------------------------------------ laws


def by_law(of, name: str, keep: Keep, horizon: int):
    option = advice.options(of, horizon, None)[0][name]
    return search.by_law(option.knob, lambda x: advice.law(of, option.branch(of, x), keep, horizon, MEAN).values, keep)


@pytest.mark.parametrize(("n", "m"), [(20, 2), (50, 5), (100, 30)])
def test_answers_by_law_are_the_steady_states(n, m):
    """The closed forms of the literature: 1 − 1/D under refresh, S (1 − (1 − α)/D) under anchor."""
    alpha = m / n
    d, s = 1 - alpha + alpha * n * (2 - alpha), 1 - 1 / m
    for name, limit in (("refresh", 1 - 1 / d), ("anchor", s * (1 - (1 - alpha) / d))):
        keep = Keep("fit_variance", "", ">=", limit - 1e-9)
        assert by_law(study(rows=n), name, keep, 1500).least == m
    if n == 20:
        redraw = by_law(study(), "redraw", Keep("fit_variance", "", ">=", 0.748), 1500)
        assert redraw.least == m
        assert redraw.tried[m] == pytest.approx(0.753, abs=0.006)  # simulated only


def test_the_golden_share_by_law():
    of = study(model={"kind": "gaussian", "variance": 1.0}, rows=100)
    # V = w²/n + (1 − w)² (V + 1/n) is at most the 1/n of the first fit where 3w² − 4w + 1 ≤ 0: from w = 1/3 on
    assert by_law(of, "weighted", Keep("fit_error2", "", "<=", 0.01), 60).least == 34
    golden = Keep("fit_error2", "", "<=", 0.00618)  # what the golden weight 0.618 has in the limit, but not at first
    assert by_law(of, "weighted", golden, 60).least is None
    option = advice.options(of, 60, None)[0]["weighted"]
    last = [advice.law(of, option.branch(of, x), golden, 60, MEAN).values[-1] for x in range(1, 100)]
    assert 1 + int(np.argmin(last)) == 62


def test_laws_of_the_planner_are_those_of_the_loop():
    """Weights, windows and larger samples: the mean of a run in memory lies within 4 standard errors."""
    of, last = study(), 8
    options = advice.options(of, last, None)[0]
    looked = [("weighted", 10, Weighted(real=0.1), 20), ("window", 3, Window(k=3), 20)]
    for name, x, regime, rows in looked:
        branch = options[name].branch(of, x)
        for metric in ("fit_variance", "fit_error2") if name == "weighted" else ("fit_variance",):
            path = run(gaussian.Gaussian(), Gaussian(ddof=0), regime, rows, last, 20_000, rows_free=True,
                       name="laws")[metric]
            law = advice.law(of, branch, Keep(metric, "", ">=", 0.0), last, MEAN).values
            error = path.std(axis=0) / np.sqrt(len(path))
            assert (np.abs(path.mean(axis=0) - law) < 4 * error).all(), (name, metric)
    # one generation of 20 rows, then 60
    rows = advice.law(of, options["rows"].branch(of, 60), Keep("fit_variance", "", ">=", 0.0), last, MEAN)
    assert rows.values == pytest.approx((1 - 1 / 20) * (1 - 1 / 60) ** np.arange(last))
    equal = real.weighted(10, 20, 5, 15, 0.25)
    assert equal == pytest.approx(real.refresh(10, 20, 5))
    assert advice.law(of, options["rows"].branch(of, 20), Keep("fit_variance", "", ">=", 0.0), last, MEAN).law == \
        "gaussian.replace.variance"
    assert Replace().spec() == options["window"].branch(of, 1).regime.spec()


def test_a_law_answers_at_once_and_writes_nothing(folder, capsys):
    before = sorted(folder.rglob("*"))
    answer = recommend.recommend("tiny", "fit_variance >= 0.7", 20, of="mean")
    assert sorted(folder.rglob("*")) == before
    assert answer.advice == ""
    found = {line.option.name: line.option.value(line.found.least) for line in answer.lines}
    assert found == {"anchor": 0.25, "redraw": 0.1, "refresh": 0.1, "weighted": 0.06, "rows": 63, "window": 3}
    assert {item.name: item.left.breaks for item in answer.today} == {"replace": 7, "tenth": None}
    text = recommend.words(answer)
    assert "by law: gaussian.refresh.variance" in text
    cost = {line.option.name: (line.cost.real, line.cost.synthetic) for line in answer.lines}
    assert cost["anchor"] == (20, 400)
    assert cost["refresh"] == (20 + 2 * 19, 400)
    json.dumps(answer.plain(), allow_nan=False)


@pytest.mark.parametrize(("horizon", "first", "n", "ddof", "bound", "above"), [
    (40, 12, 12, 1, 0.8, True), (20, 20, 112, 0, 0.8, True), (15, 30, 30, 1, 1.3, False), (8, 2, 2, 0, 0.01, True)])
def test_the_first_passage_of_a_variance_is_that_of_drawn_ones(horizon, first, n, ddof, bound, above):
    from scipy.special import chdtrc

    rng, count = np.random.default_rng(4), 100_000
    steps = np.stack([rng.chisquare((n if t else first) - 1, count) / ((n if t else first) - ddof)
                      for t in range(horizon)], axis=1)
    path = steps.cumprod(axis=1)
    kept = np.logical_and.accumulate(path >= bound if above else path <= bound, axis=1).mean(axis=0)
    law = passage.variance(horizon, first, n, ddof, bound, above)
    assert (np.abs(law - kept) < 4.5 * np.sqrt(np.maximum(kept * (1 - kept), 1e-4) / count)).all()
    once = chdtrc(first - 1, bound * (first - ddof))  # one fit: a χ² and nothing else
    assert law[0] == pytest.approx(once if above else 1 - once, abs=1e-9)


@pytest.mark.parametrize(("first", "n", "ddof", "bound", "above"), [
    (6, 3, 1, 0.5, True), (12, 40, 0, 0.9, True), (30, 9, 1, 1.4, False)])
def test_a_first_passage_in_two_steps_is_an_integral(first, n, ddof, bound, above):
    from scipy import integrate, stats

    one, two = (stats.chi2(rows - 1, scale=1 / (rows - ddof)) for rows in (first, n))
    span = (bound, np.inf) if above else (0, bound)
    share, _ = integrate.quad(lambda v: one.pdf(v) * (two.sf(bound / v) if above else two.cdf(bound / v)), *span)
    assert passage.variance(2, first, n, ddof, bound, above)[1] == pytest.approx(share, abs=2e-5)


@pytest.mark.parametrize(("horizon", "first", "n", "ddof", "bound", "above"), [
    (30, 12, 5, 1, 0.3, True), (30, 12, 40, 0, 0.8, True), (20, 30, 6, 1, 1.5, False)])
def test_a_finer_and_longer_grid_moves_no_first_passage(monkeypatch, horizon, first, n, ddof, bound, above):
    plain = passage.variance(horizon, first, n, ddof, bound, above)
    monkeypatch.setattr(passage, "FINE", 2 * passage.FINE)
    assert plain == pytest.approx(passage.variance(horizon, first, n, ddof, bound, above), abs=1e-5)
    monkeypatch.setattr(passage, "BEYOND", 4 * passage.BEYOND)
    assert plain == pytest.approx(passage.variance(horizon, first, n, ddof, bound, above), abs=1e-5)
    assert passage.variance(3, first, n, ddof, 0.0, True).tolist() == [1, 1, 1]
    assert passage.variance(3, first, n, ddof, -1.0, False).tolist() == [0, 0, 0]


def test_the_first_passage_of_a_share_is_that_of_drawn_ones():
    rng, count, first, n, p = np.random.default_rng(6), 100_000, 30, 20, 0.3
    keep, path = Keep("fit_share", "w", ">=", 0.1), [rng.binomial(first, p, count) / first]
    for _ in range(9):
        path.append(rng.binomial(n, path[-1]) / n)
    kept = np.logical_and.accumulate(keep.met(np.array(path)), axis=0).mean(axis=1)
    law = passage.share(10, first, n, p, *(keep.met(np.arange(m + 1) / m) for m in (n, first)))
    assert (np.abs(law - kept) < 4.5 * np.sqrt(kept * (1 - kept) / count)).all()


@pytest.mark.parametrize("replicates", [5, 20])
def test_deviations_of_a_bootstrap_are_widened_to_those_of_student(replicates):
    """Draws with replacement vary by s√(1 − 1/R)/√R; a mean of R normal values is uncertain by t times s/√R."""
    from scipy import stats

    values = np.random.default_rng(replicates).normal(size=replicates)
    drawn = values @ intervals.weights(replicates).T
    half = stats.norm.ppf((1 + intervals.LEVEL) / 2) * drawn.std() * intervals.widening(replicates)
    low, high = stats.t.interval(intervals.LEVEL, replicates - 1, values.mean(), stats.sem(values))
    assert 2 * half == pytest.approx(high - low, rel=0.03)


def test_a_mean_that_is_kept_says_nothing_of_lineages(folder, monkeypatch):
    """An unbiased variance under replace: its mean is 1 for ever, and hardly a lineage of twelve rows stays near."""
    text = STUDY.replace("rows: 20", "rows: 12").replace("ddof: 0", "ddof: 1").replace(
        "  tenth:   {regime: redraw, real: 0.1}\n", "")
    (folder / "studies" / "tiny.yaml").write_text(text)
    looked = {of: recommend.recommend("tiny", "fit_variance >= 0.8", 40, of=of, only=["accumulate"])
              for of in ("0.9", "median", "mean")}
    found = {of: next(item for item in answer.today if item.name == "replace") for of, answer in looked.items()}
    assert found["0.9"].left.breaks == 1
    assert found["0.9"].left.exact
    assert found["0.9"].left.value == pytest.approx(0.0198, abs=1e-3)
    assert not looked["0.9"].reachable
    assert "replace         1 " in recommend.words(looked["0.9"])
    # a log-normal step falls by E[log χ²_11 / 11], so the median of forty is far below 0.8
    assert found["median"].left.value < 0.06
    assert found["mean"].left == Left(None, None, None, 1.0, exact=True)
    assert "most lineages may break what their mean keeps" in recommend.words(looked["mean"])
    assert not sorted(folder.glob("studies/*-advice.yaml"))


@pytest.mark.parametrize("name", ["anchor", "redraw", "refresh", "weighted", "rows", "window"])
def test_drawn_lineages_have_the_law_of_the_loop(name):
    """Shares of lineages that keep a bound, drawn as statistics and as rows, are as in two samples of one law."""
    of, last, keep = study(rows=15), 6, Keep("fit_variance", "", ">=", 0.6)
    option = advice.options(of, last, None)[0][name]
    branch = option.branch(of, {"rows": 40, "window": 3, "weighted": 30}.get(name, 5))
    assert advice.drawable(of, branch, keep, NINE)
    one = advice.drawn(of, branch, keep, last, NINE, advice.held(of, branch))
    two = run(of.source, of.model, branch.regime, branch.rows, last, 10_000, seed=77, name="other",
              first_rows=of.rows)["fit_variance"]
    shares = [(kept(values, keep) >= 0).mean(axis=0) for values in (one, two)]
    error = np.sqrt(shares[0] * (1 - shares[0]) * (1 / len(one) + 1 / len(two)))
    assert (np.abs(shares[0] - shares[1]) < 4 * error).all()


def test_laws_of_neutral_drift_and_of_a_known_variance_answer_for_nothing_else():
    zipf, keep = {"kind": "zipf", "categories": 5}, Keep("fit_share", "w001", ">=", 0.1)
    for settings, known in (({}, True), ({"temperature": 0.9}, False), ({"smoothing": 1.0}, False),
                            ({"favour": {"w001": 2.0}}, False)):
        of = study(rows=20, source=zipf, model={"kind": "categorical", **settings})
        found = advice.law(of, advice.plain(of, "replace", {"regime": "replace"}), keep, 5, NINE)
        assert (found is not None) == known, settings
    keep = Keep("fit_error2", "", "<=", 0.5)
    for model, source, known in (({"variance": 1.0}, {}, True), ({"variance": 2.0}, {}, False),
                                 ({"variance": 1.0}, {"dim": 2}, False)):
        of = study(rows=20, model={"kind": "gaussian", **model}, source={"kind": "gaussian", **source})
        found = advice.law(of, advice.plain(of, "replace", {"regime": "replace"}), keep, 5, MEAN)
        assert (found is not None) == known
        if known:
            assert found.law == "random walk" and found.values == pytest.approx(np.arange(1, 6) / 20)


def test_no_mean_law_answers_for_a_share():
    of, keep = study(), Keep("fit_variance", "", ">=", 0.7)
    for name, option in advice.options(of, 10, None)[0].items():
        for x in option.knob.first:
            law = advice.law(of, option.branch(of, x), keep, 10, NINE)
            assert (law is None) == (option.branch(of, x).regime.kind != "replace"), name
            assert law is None or law.law == "first passage of a variance"
            assert advice.law(of, option.branch(of, x), keep, 10, MEDIAN) is None


# ------------------------------------------------------------------------------------- finite sources


@pytest.mark.parametrize(("n", "bank"), [(20, 21), (20, 20), (200, 624), (3, 2), (10, 30), (400, 624), (2, 100)])
def test_options_stay_inside_the_bank(n, bank):
    of = study(rows=n)
    found, without = advice.options(of, 10, bank)
    assert set(found) | set(without) == {*advice.SHARES, "rows", "window"}
    for option in found.values():
        assert min(option.knob.first) == option.knob.low
        assert max(option.knob.first) == option.knob.high
        for x in option.knob.first:
            branch = option.branch(of, x)
            assert branch.regime.real_rows(branch.rows) <= bank // 3
            assert branch.rows <= max(n, bank)
    assert ("rows" in found) == (bank > n)


def test_the_first_settings_of_a_knob_are_its_ends_and_what_lies_between():
    found, without = advice.options(study(rows=40), 21, None)
    assert not without
    share = (0, 2, 8, 20, 39)  # 5, 20 and 50 % of 40 rows
    assert {name: (option.knob.low, option.knob.high, option.knob.first) for name, option in found.items()} == {
        "anchor": (0, 39, share), "redraw": (0, 39, share), "refresh": (0, 39, share),
        "weighted": (0, 99, (0, 5, 20, 50, 80, 99)), "rows": (40, 640, (40, 160, 640)),
        "window": (1, 21, (1, 2, 11, 21))}
    assert [name for name, option in found.items() if option.knob.peaked] == ["weighted"]
    few, lacking = advice.options(study(rows=40), 1, 45)
    assert few["refresh"].knob.high == 15 and few["anchor"].knob.high == 39  # a third of the bank is fresh each time
    assert few["weighted"].fixed == {"n_real": 15} and found["weighted"].fixed == {}
    assert few["rows"].knob.first == (40, 45) and few["window"].knob.first == (1,) and not lacking
    tiny, lacking = advice.options(study(rows=40), 1, 2)
    assert {"refresh", "weighted", "rows"} == set(lacking) and "anchor" in tiny
    assert all("too few rows" in lacking[name] for name in ("refresh", "weighted"))
    assert "all of the 2 real rows" in lacking["rows"]


def test_a_setting_is_written_in_as_few_digits_as_say_it():
    for n in (7, 20, 1000):
        option = advice.options(study(rows=n), 9, None)[0]["refresh"]
        for x in range(1, n):
            value = option.value(x)
            assert round(value * n) == x
            digits = len(str(value).partition(".")[2])
            assert digits <= 2 or abs(round(value, digits - 1) * n - x) >= 0.4
    options = advice.options(study(rows=20), 9, None)[0]
    assert (options["window"].value(3), options["rows"].value(60), options["weighted"].value(7)) == (3, 60, 0.07)
    ends = [("refresh", 0, "replace"), ("window", 1, "replace"), ("window", 9, "accumulate"), ("rows", 20, "replace")]
    assert all(options[name].branch_name(x) == branch for name, x, branch in ends)
    between = [options[name].branch_name(x) for name in options for x in (2, 3, 4)]
    assert len(set(between)) == 3 * len(options) and between[0].startswith("anchor-")
    assert options["rows"].branch(study(rows=20), 60).rows == 60
    assert options["refresh"].branch(study(rows=20), 2).regime.real == 0.1


def test_what_a_law_knows_of_the_common_ends_it_knows_of_every_knob():
    options = advice.options(study(rows=20), 9, None)[0].values()
    known = advice.certain(options, {"replace": False, "accumulate": True})
    assert known == {(option.name, option.knob.low): False for option in options} | {("window", 9): True}
    assert advice.certain(options, {}) == {}
    of, keep = study(rows=20), Keep("fit_variance", "", ">=", 0.8)
    assert advice.ends(of, keep, 9, MEAN) == {"replace": False, "accumulate": True}  # 0.95⁹ and ∏(1 − 1/(20 j²))
    assert advice.ends(of, keep, 4, MEAN) == {"replace": True, "accumulate": True}
    assert advice.ends(of, keep, 9, MEDIAN) == {}
    assert advice.ends(of, keep, 9, NINE) == {"replace": False}


def test_costs_by_hand():
    from collapse.data import Column, Schema

    schema = Schema((Column("x", "number"), Column("c", "category", categories=("a", "b")),
                     Column("i", "image", shape=(2, 3))))
    of, row = study(rows=20), 8 + 4 + 4 * 6
    options = advice.options(of, 5, None)[0]
    for name, x, fresh, again in (("refresh", 2, 20 + 2 * 4, 0), ("anchor", 2, 20, 2 * 4), ("redraw", 3, 20, 3 * 4),
                                 ("window", 3, 20, 0), ("window", 1, 20, 0)):
        found = advice.cost(of, options[name].branch(of, x), 5, schema)
        assert found == advice.Cost(fresh, 20 * 5, None, row * (fresh + again + 100), False), name
    more = advice.cost(of, options["rows"].branch(of, 60), 5, schema, 1.5, 99)
    assert more == advice.Cost(20, 60 * 5, 1.5, 99, True)


def test_numbers_that_a_lineage_holds_and_how_many_lineages_there_are(monkeypatch):
    of, words = study(rows=20), study(rows=20, source={"kind": "zipf", "categories": 30}, model={"kind": "categorical"})
    options = advice.options(of, 5, None)[0]
    assert [advice.held(of, options[name].branch(of, 3)) for name in ("anchor", "redraw", "refresh", "window")] == [
        20, 20, 1, 1]
    assert advice.held(words, advice.plain(words, "replace", {"regime": "replace"})) == 1 + 20 * 30
    keep, branch = Keep("fit_variance", "", ">=", 0.5), options["refresh"].branch(of, 3)
    monkeypatch.setattr(advice, "LINEAGES", 300)
    monkeypatch.setattr(advice, "LEAST_LINEAGES", 100)
    monkeypatch.setattr(advice, "NUMBERS", 4000)
    for numbers, count in ((1, 300), (4, 200), (40, 100)):  # 4,000 numbers over 5 generations
        assert advice.drawn(of, branch, keep, 5, NINE, numbers).shape == (count, 5)
    assert advice.drawn(of, branch, keep, 5, MEDIAN, 1).shape == (advice.MEDIAN_LINEAGES, 5)
    blocks = advice.drawn(of, branch, keep, 5, NINE, 10)  # fifty at once: of each block others
    assert len(np.unique(blocks[:, 0])) == len(blocks) == 100


def test_lineages_are_drawn_only_where_their_law_is_known():
    of, keep = study(rows=20), Keep("fit_variance", "", ">=", 0.5)
    zipf = {"kind": "zipf", "categories": 30}
    words = study(rows=20, source=zipf, model={"kind": "categorical"})

    def drawable(one, metric="fit_variance", of=NINE, **body):
        branch = advice.plain(one, "b", body or {"regime": "replace"})
        return advice.drawable(one, branch, replace(keep, metric=metric), of)

    assert drawable(of) and drawable(of, of=MEDIAN) and drawable(words, "fit_simpson")
    assert not drawable(of, of=MEAN) and not drawable(of, "tail_ratio") and not drawable(of, regime="control")
    assert not drawable(study(rows=20, source={"kind": "gaussian", "dim": 2}))
    assert not drawable(study(rows=20, model={"kind": "kde"})) and not drawable(words)
    many = study(rows=20, source=zipf | {"categories": 1001}, model={"kind": "categorical"})
    assert not drawable(many, "fit_simpson")
    assert drawable(of, regime="anchor", real=0.2) and drawable(of, regime="window", k=2)
    fork = replace(advice.plain(of, "b", {"regime": "replace"}), from_="a")
    assert not advice.drawable(of, fork, keep, NINE)


def test_a_branch_with_more_rows_than_the_bank_is_refused(tmp_path):
    from collapse.loop import check_study

    (tmp_path / "t.csv").write_text("x\n" + "\n".join(str(i % 37) for i in range(200)))
    for rows, wrong in ((140, False), (141, True)):
        of = study(source={"kind": "table", "path": str(tmp_path / "t.csv")}, rows=50, model={"kind": "kde"},
                   branches={"more": {"regime": "replace", "rows": rows}})
        if wrong:
            with pytest.raises(InputError, match=r"branches.more: rows is 141, .* of which the bank has 140; lower"):
                check_study(of)
        else:
            check_study(of)


# ----------------------------------------------------------------------------------------- failed nodes


@pytest.mark.parametrize(("units", "message"), [
    ([("generation", "tiny-advice-replace-03", True)], None),
    ([("generation", "tiny-advice-replace-01", True)], "no advice: tiny-advice-replace-01 could not be made: why; me"),
    ([("calibrate", "tiny-advice", False), ("generation", "tiny-advice-replace-03", True)],
     "no advice: calibrate tiny-advice could not be made: why; mend"),
    ([("generation", f"tiny-advice-replace-0{t}", False) for t in (1, 2)], r"could not be made \(and 1 more failed\)")])
def test_a_loop_that_broke_down_is_told_from_any_other_failure(folder, monkeypatch, units, message):
    from collapse.errors import NodeError
    from collapse.study.parse import read_study
    from collapse_lab.engine import repro

    (folder / ".dvc").mkdir()
    failed = [repro.Unit(kind, key, [], state="failed", error="why", degenerate=broke) for kind, key, broke in units]
    monkeypatch.setattr(repro, "repro", lambda *_: failed)
    of = read_study(Path(), "tiny")
    book = recommend.Book(of, Keep("fit_variance", "", ">=", 0.5), NINE, 4, 60, advice.options(of, 4, None)[0],
                          bodies={"replace": {"regime": "replace"}})
    if message:
        with pytest.raises(NodeError, match=message):
            book.run(first=True)
    else:
        book.run(first=True)
        assert book.broke == ("tiny-advice-replace-03",)


def test_fits_to_degenerate_rows_say_so():
    from collapse import registry
    from collapse.data import Column, Rows, Schema
    from collapse.errors import Degenerate
    from collapse.rng import Rng

    rows = Rows(Schema((Column("x", "number"),)), {"x": np.full((2, 30), np.inf)})
    for kind in ("gaussian", "gmm"):
        with pytest.raises(Degenerate), np.errstate(invalid="ignore"):
            registry.find("models", kind)().fit(rows, Rng("degenerate"))


# --------------------------------------------------------------------------------------------- bad input


BAD = [
    (["tinny"], {}, "no such study; did you mean 'tiny'?"),
    (["tiny"], {"--keep": "fit_varience >= 0.7"}, "'fit_varience' is not a metric; did you mean 'fit_variance'?"),
    (["tiny"], {"--keep": "fit_variance >= much"}, "cannot read 'fit_variance >= much'; write METRIC op NUMBER"),
    (["tiny"], {"--keep": "fit_variance == 0.7"}, "write METRIC op NUMBER"),
    (["tiny"], {"--keep": "fit_variance"}, "write METRIC op NUMBER"),
    (["tiny"], {"--keep": "fit_variance >= nan"}, "write METRIC op NUMBER"),
    (["tiny"], {"--horizon": "0"}, "--horizon must be at least 1 (it is 0)"),
    (["tiny"], {"--option": "ancor"}, "'ancor' is not an option; did you mean 'anchor'?"),
    (["tiny"], {"--replicates": "1", "--of": "mean"}, "--replicates must be at least 2"),
    (["tiny"], {"--replicates": "28"}, "--replicates must be at least 29, for fewer cannot tell at 90 % whether"),
    (["tiny"], {"--replicates": "40000"}, "--replicates must be at most 32767 (it is 40000)"),
    (["tiny"], {"--of": "0.99999", "--keep": "variance_ratio >= 0.5"}, "of: 0.99999 takes 299,572 replicates"),
    (["tiny"], {"--of": "1"}, "of: '1' is no share of lineages; write a number between 0 and 1"),
    (["tiny"], {"--of": "90%"}, "of: '90%' is no share of lineages"),
    (["tiny"], {"--of": "modal"}, "of: 'modal' is no share of lineages"),
    (["tiny"], {"--of": "nan"}, "of: 'nan' is no share of lineages"),
    (["tiny"], {"--keep": "distinct_2 >= 0.5"}, "have no measurement distinct_2"),
    (["tiny"], {"--keep": "tail_ratio[y:low] >= 0.7"}, "tail_ratio has no 'y:low'"),
]


@pytest.mark.parametrize(("words", "options", "message"), BAD, ids=[message[:24] for _, _, message in BAD])
def test_bad_input_is_one_line_and_changes_nothing(folder, monkeypatch, capsys, words, options, message):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    flags = {"--keep": "fit_variance >= 0.7", **options}
    monkeypatch.setattr(sys, "argv", ["collapse", "recommend", *words, *(x for pair in flags.items() for x in pair)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_foreign_study_of_the_same_name_is_kept(folder):
    (folder / "studies" / "tiny-advice.yaml").write_text(STUDY)
    with pytest.raises(InputError, match=r"was not written by 'collapse recommend'; rename it"):
        recommend.recommend("tiny", "fit_variance >= 0.7", 5, simulate=True)
    assert (folder / "studies" / "tiny-advice.yaml").read_text() == STUDY


def test_what_nothing_keeps_has_an_exit_code_of_its_own(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["collapse", "recommend", "tiny", "--keep", "fit_variance >= 2", "--of", "mean"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == recommend.UNREACHABLE
    said = capsys.readouterr().out
    assert "no share of real data keeps it; best is " in said
    assert "(fit_variance 0.95 at worst)" in said


# ------------------------------------------------------------------------------------------ end to end


def test_the_advice_is_a_study_that_can_be_rebuilt(tmp_path, monkeypatch):
    """Each round has its own server; nodes are tracked and audited; a second run makes nothing and says the same."""
    text = STUDY.replace("rows: 20", "rows: 16").replace("redraw, real: 0.1", "subsample")
    project = Project.make(tmp_path / "p", text)
    words = ["collapse", "recommend", "tiny", "--keep", "fit_variance >= 0.4", "--horizon", "3", "--simulate",
             "--option", "refresh", "--replicates", "200", "--json"]
    first = project.run(*words)
    assert "round 2 of" in first.stderr
    answer = json.loads(first.stdout)
    assert answer["advice"] == "tiny-advice"
    share = answer["options"]["refresh"]
    assert (answer["of"], answer["replicates"]) == (0.9, 200)
    assert share["cost"]["seconds"] > 0
    assert share["cost"]["measured"]
    assert answer["today"] == {}  # an option that is named is looked at alone
    of, keep = study(rows=16), Keep("fit_variance", "", ">=", 0.4)
    option = advice.options(of, 3, None)[0]["refresh"]
    law = search.search([option.knob], lambda points: {
        point: advice.drawn(of, option.branch(of, point[1]), keep, 3, NINE, 1) for point in points}, keep, NINE,
        precision=0.0)["refresh"]  # ten thousand lineages
    assert share["low"] <= law.least / 16 <= (share["high"] or np.inf)
    pools = {path: path.stat().st_mtime_ns for path in project.root.glob("data/tiny-advice-*/pool/_manifest.json")}
    lock = project.lock
    second = project.run(*words)
    assert json.loads(second.stdout) == answer
    assert "nothing to do" in second.stderr
    assert project.lock == lock
    assert {path: path.stat().st_mtime_ns for path in pools} == pools
    assert project.run("dvc", "status", "--with-deps", "report@tiny-advice").stdout.split() == ["plan:", "always",
                                                                                               "changed"]
    project.run("collapse", "audit", "tiny-advice")
    monkeypatch.chdir(project.root)
    before = {path: (project.root / path).read_bytes() for path in ("studies/tiny-advice.yaml", "lineage.yaml")}
    with exclusive():
        third = project.run(*(word.replace("refresh", "anchor") for word in words), ok=False)
    assert third.returncode == 2
    assert "another run holds this checkout" in third.stderr
    assert before == {path: (project.root / path).read_bytes() for path in before}
