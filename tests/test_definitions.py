"""The eight definitions of collapse, against loops whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import gammaln

from collapse import loop
from collapse.calibration import interval
from collapse.claims.answers import DEFINITIONS, Settings
from collapse.claims.definitions import profile
from collapse.errors import InputError
from collapse.models.gaussian import Gaussian
from collapse.regimes.accumulate import Accumulate
from collapse.regimes.control import Control
from collapse.regimes.replace import Replace
from collapse.rng import Rng
from collapse.sources.gaussian import Gaussian as Normal

REGIMES = {"control": Control, "replace": Replace, "accumulate": Accumulate}


def branch(kind: str, last: int, rows: int = 100, from_: str | None = None, at: int = 0, model: int = 1):
    return SimpleNamespace(regime=SimpleNamespace(kind=kind, spec=lambda: {"kind": kind}), rows=rows, from_=from_,
                           at=at, first=at + 1, last=last, model=SimpleNamespace(spec=lambda: {"ddof": model}))


def study(branches, settings=None, rows=100):
    return SimpleNamespace(branches=branches, rows=rows, definitions=settings or Settings(),
                           floor=lambda name: "calibration")


def tidy(paths: dict[tuple[str, str], np.ndarray], first: int = 1) -> pd.DataFrame:
    """Return the table of paths (R, T) by branch and metric."""
    tables = []
    for (name, metric), values in paths.items():
        replicate, generation = np.indices(values.shape)
        tables.append(pd.DataFrame({"branch": name, "generation": generation.ravel() + first,
                                    "replicate": replicate.ravel(), "metric": metric, "feature": "",
                                    "value": values.ravel()}))
    return pd.concat(tables, ignore_index=True)


def gaussians(rows: int, generations: int, replicates: int, ddof: int = 1, names=tuple(REGIMES), seed: int = 5):
    """Return the study and the table of a normal that learns from itself."""
    paths = {}
    for name in names:
        made = loop.run(Normal(), Gaussian(ddof=ddof), REGIMES[name](), rows, generations, replicates, seed=seed,
                        name="definitions", rows_free=True, record=("fit_w2", "fit_variance"))
        paths |= {(name, metric): made[metric] for metric in ("fit_w2", "fit_variance")}
    return study({name: branch(name, generations, rows) for name in names}, rows=rows), tidy(paths)


# ------------------------------------------------------------------------------------- a known truth


@pytest.fixture(scope="module")
def normal():
    return profile(*gaussians(10, 20, 8000))


def test_under_replace_risk_diverges_as_the_theorem_says_and_variance_collapses(normal):
    found = normal.answers["replace"]
    assert {found[key].verdict for key in ("catastrophic", "increase", "divergence", "variance")} == {"holds"}
    # of a sum of t errors σ²/n, and of (1 − σ_t)², where σ_t² is a product of χ²(n − 1)/(n − 1)
    root = float(np.sqrt(2 / 9) * np.exp(gammaln(5) - gammaln(4.5)))  # E √(χ²(9)/9)
    law = {t: t / 10 + 2 - 2 * root**t for t in (1, 20)}  # E W2² at t
    answer = found["increase"]
    error = (answer.high - answer.low) / (2 * stats.norm.ppf(0.95))
    assert abs(answer.estimate - law[20] / law[1]) < 4 * error and answer.replicates == 8000
    assert (answer.against, answer.first, answer.last) == ("control at generation 20", 20, 20)
    steps = np.log(np.random.default_rng(1).chisquare(9, (40_000, 21)) / 9)  # 20 of the branch, one of control
    typical = np.exp(np.median(steps[:, :20].sum(axis=1) - steps[:, 20]))
    assert found["variance"].estimate == pytest.approx(typical, rel=0.12)  # 4 standard errors of the two medians


def test_under_accumulate_risk_rises_by_less_than_a_factor_and_levels_off(normal):
    found = normal.answers["accumulate"]
    assert {key: found[key].verdict for key in ("catastrophic", "increase", "divergence", "variance")} == {
        "catastrophic": "does not hold", "increase": "holds", "divergence": "does not hold",
        "variance": "does not hold"}
    # the error of the mean is that of generation 1 times Σ 1/i², below π²/6; that of the deviation is smaller still
    assert found["increase"].low > 1 and found["increase"].high < np.pi**2 / 6 + 0.05
    assert "levels off" in found["divergence"].sentence
    assert "1 of 8 definitions of collapse holds (any rise of risk), 3 do not hold" in normal.sentence("accumulate")


def test_control_is_none_of_them(normal):
    answers = normal.answers["control"]
    assert [answers[key].verdict for key in ("catastrophic", "increase", "divergence", "variance")] == [
        "does not hold"] * 4
    assert answers["increase"].against == "generation 1"  # it has no other control


def test_what_is_not_measured_says_so_and_all_eight_are_answered(normal):
    for name, answers in normal.answers.items():
        assert list(answers) == list(DEFINITIONS)
        assert {key for key, a in answers.items() if a.verdict == "not measurable here"} == {
            "scaling", "modes", "tails", "hallucination"}
        assert normal.count(name, "not measurable here") == 4
        assert all(a.sentence.endswith(".") for a in answers.values())


def test_without_control_the_first_generation_stands_for_real_data(normal):
    alone = profile(*gaussians(10, 20, 8000, names=("replace", "accumulate")))
    for name in ("replace", "accumulate"):
        for key in ("catastrophic", "increase", "divergence", "variance"):
            answer = alone.answers[name][key]
            assert answer.verdict == normal.answers[name][key].verdict
            assert answer.against == "generation 1"


@pytest.mark.parametrize("growth, verdict", [
    (lambda t: 0.1 * t, "holds"), (lambda t: 1 - np.exp(-t / 3), "does not hold"), (lambda t: 0 * t, "does not hold"),
    (lambda t: t**2, "holds")])
def test_divergence_tells_growth_from_levelling_off(growth, verdict):
    noise = Rng("growth").normal((30, 20))
    paths = {("replace", "fit_w2"): 1 + growth(np.arange(20.0)) + 0.02 * noise}
    found = profile(study({"replace": branch("replace", 20)}), tidy(paths)).answers["replace"]["divergence"]
    assert found.verdict == verdict
    short = profile(study({"replace": branch("replace", 5)}), tidy({k: v[:, :5] for k, v in paths.items()}))
    assert short.answers["replace"]["divergence"].verdict == "undecided"  # 5 generations have no two halves


@pytest.mark.parametrize("path, verdict", [
    (lambda t: 0.97**t, "holds"), (lambda t: 0.7 + 0.3 * np.exp(-t / 2), "does not hold"),
    (lambda t: 0.3 + 0.7 * np.exp(-t / 2), "holds"), (lambda t: 1 + 0 * t, "does not hold"),
    (lambda t: 0.75 + 0 * t, "does not hold"), (lambda t: 1.03**t, "does not hold")])
def test_variance_collapses_if_it_goes_on_falling_or_half_is_gone(path, verdict):
    noise = Rng("variance").normal((20, 15))
    values = path(np.arange(15.0)) * np.exp(0.01 * noise)
    found = profile(study({"b": branch("replace", 15)}), tidy({("b", "variance_ratio"): values}))
    assert found.answers["b"]["variance"].verdict == verdict


# ------------------------------------------------------------------------------------ what an interval allows


@pytest.mark.parametrize("replicates", [5, 8, 40])
def test_verdicts_are_wrong_as_seldom_as_stated(replicates):
    """A share that is exactly at the margin is called kept, and is called lost, in at most one case of twenty."""
    trials = 600
    noise = Rng("level", replicates).normal((trials, replicates, 2))  # ratios of log-normals: their median is 0.9
    paths = {(f"b{i}", "tail_ratio"): np.exp(0.1 * noise[i]) * np.array([1.0, 0.9]) for i in range(trials)}
    found = profile(study({name: branch("replace", 2) for name, _ in paths}), tidy(paths)).tally("tails")
    most = stats.binom(trials, 0.05).ppf(0.999)
    assert 0 < found["holds"] <= most and 0 < found["does not hold"] <= most
    assert sum(found.values()) == trials == sum(found[v] for v in ("holds", "does not hold", "undecided"))


def test_few_replicates_are_held_against_the_calibration_or_left_undecided():
    fits = 1 + 0.05 * Rng("fits").normal((100,))
    floor = pd.DataFrame({"kind": "model", "metric": "tail_ratio", "feature": "", "value": fits})
    one = branch("replace", 3)
    for value, verdict in ((0.5, "holds"), (0.9, "undecided"), (1.2, "does not hold")):
        paths = {("b", "tail_ratio"): np.array([[1.0, 0.9, value]])}
        found = profile(study({"b": one}), tidy(paths), {"calibration": floor}).answers["b"]["tails"]
        band = interval(fits, 1, 0.1)
        assert found.verdict == verdict and found.against == "100 fits to real data"
        assert (found.low, found.high) == pytest.approx((value / band.high, value / band.low), rel=1e-5)
        assert profile(study({"b": one}), tidy(paths)).answers["b"]["tails"].verdict == "undecided"


def test_one_generation_and_no_generation_are_undecided():
    found = profile(study({"b": branch("replace", 1), "none": branch("replace", 3)}),
                    tidy({("b", "fit_w2"): np.ones((9, 1)), ("b", "tail_ratio"): np.ones((9, 1))}))
    assert {a.verdict for a in found.answers["b"].values()} == {"undecided", "not measurable here"}
    assert not found.count("none", "holds") and not found.count("none", "does not hold")


def test_a_halted_branch_does_not_say_that_something_never_happens():
    values = np.exp(0.001 * Rng("halted").normal((9, 4)))
    whole = profile(study({"b": branch("replace", 4)}), tidy({("b", "tail_ratio"): values})).answers["b"]["tails"]
    cut = profile(study({"b": branch("replace", 9)}), tidy({("b", "tail_ratio"): values})).answers["b"]["tails"]
    assert (whole.verdict, cut.verdict) == ("does not hold", "undecided") and "halted" in cut.sentence
    fallen = profile(study({"b": branch("replace", 9)}), tidy({("b", "tail_ratio"): values * [1, 0.9, 0.5, 0.1]}))
    assert fallen.answers["b"]["tails"].verdict == "holds"


# ------------------------------------------------------------------------------------------ what is compared


def test_a_fork_goes_back_to_the_first_generation_of_its_stem():
    made = np.exp(0.01 * Rng("fork").normal((9, 6)))
    stem, fork = tidy({("a", "tail_ratio"): made * 0.99 ** np.arange(6)}), tidy({("f", "tail_ratio"): made[:, :2]}, 5)
    branches = {"a": branch("replace", 6), "f": branch("accumulate", 6, from_="a", at=4)}
    found = profile(study(branches), pd.concat([stem, fork])).answers["f"]["tails"]
    assert (found.against, found.verdict, found.last) == ("a at generation 1", "does not hold", 6)


@pytest.mark.parametrize("rows, model", [(100, 0), (50, 1)])
def test_another_model_or_number_of_rows_is_held_against_its_own_calibration_alone(rows, model):
    """The control has the study's model and rows, and every first pool has the study's rows."""
    made = np.exp(0.01 * Rng("own").normal((2, 9, 6)))
    paths = {("control", "tail_ratio"): made[0], ("b", "tail_ratio"): 0.5 * made[1]}
    branches = {"control": branch("control", 6), "b": branch("replace", 6, rows, from_="control", at=1, model=model)}
    found = profile(study(branches), tidy(paths)).answers["b"]["tails"]
    assert (found.verdict, found.against) == ("undecided", None)
    floor = pd.DataFrame({"kind": "model", "metric": "tail_ratio", "feature": "",
                          "value": 0.5 + 0.01 * Rng("floor").normal((50,))})
    found = profile(study(branches), tidy(paths), {"calibration": floor}).answers["b"]["tails"]
    assert (found.verdict, found.against) == ("does not hold", "50 fits to real data")


def test_the_first_metric_that_can_be_compared_is_taken():
    """What a fit says of itself has no calibration; what is measured of samples has."""
    made = np.exp(0.01 * Rng("first").normal((9, 3)))
    paths = {("b", "fit_variance"): made, ("b", "variance_ratio"): 0.3 * made}
    floor = pd.DataFrame({"kind": "model", "metric": "variance_ratio", "feature": "",
                          "value": 1 + 0.01 * Rng("floor").normal((50,))})
    for rows, metric in ((100, "fit_variance"), (50, "variance_ratio")):
        found = profile(study({"b": branch("replace", 3, rows)}), tidy(paths), {"calibration": floor})
        assert found.answers["b"]["variance"].metric == metric


def test_perplexities_are_compared_as_factors_and_distances_by_another_limit():
    noise = Rng("text").normal((9, 3))
    paths = {("b", "fit_perplexity"): 50 * np.array([1.0, 2.0, 3.0]) * np.exp(0.01 * noise)}
    found = profile(study({"b": branch("replace", 3)}), tidy(paths)).answers["b"]
    assert found["catastrophic"].verdict == "holds" and found["catastrophic"].estimate == pytest.approx(3, rel=0.02)
    lax = profile(study({"b": branch("replace", 3)}, Settings(catastrophic=5.0)), tidy(paths)).answers["b"]
    assert (lax["catastrophic"].verdict, lax["increase"].verdict) == ("does not hold", "holds")
    paths = {("b", "fit_error2"): np.array([1.0, 2.0, 3.0]) * np.exp(0.01 * noise)}
    found = profile(study({"b": branch("replace", 3)}), tidy(paths)).answers["b"]
    assert found["catastrophic"].verdict == "does not hold"  # of a distance it is 10


def test_a_loss_of_rows_is_taken_by_coordinate():
    noise = Rng("elbo").normal((9, 3))
    paths = {("b", "fit_elbo_real"): -100 - np.array([0, 10, 64 * np.log(3)]) + 0.1 * noise}
    found = profile(study({"b": branch("replace", 3)}), tidy(paths), coordinates=64).answers["b"]["catastrophic"]
    assert (found.verdict, found.estimate) == ("holds", pytest.approx(3, rel=0.02))


def test_modes_and_plausible_rows_are_looked_at_in_more_than_one_way():
    quiet = 1 + 1e-4 * Rng("modes").normal((12, 2))
    for metric, end, key in (("entanglement", 0.5, "modes"), ("modes_alive", 0.5, "modes"),
                             ("impossible_pairs", 0.3, "hallucination"), ("precision", 0.5, "hallucination"),
                             ("sample_perplexity", 1.4, "hallucination")):
        start = {"entanglement": 0.1, "impossible_pairs": 0.001}.get(metric, 1.0)
        others = {("b", "modes_alive"): quiet, ("b", "entanglement"): 0.1 * quiet, ("b", "precision"): quiet}
        still = profile(study({"b": branch("replace", 2)}), tidy(others)).answers["b"]
        assert still["modes"].verdict == still["hallucination"].verdict == "does not hold"
        moved = profile(study({"b": branch("replace", 2)}), tidy(others | {("b", metric): quiet * [start, end]}))
        assert (moved.answers["b"][key].verdict, moved.answers["b"][key].metric) == ("holds", metric)


@pytest.mark.parametrize("power, verdict", [(1.0, "does not hold"), (0.5, "holds")])
def test_a_scaling_law_is_read_off_branches_and_controls_that_differ_in_rows(power, verdict):
    """Risk is 1/n for control and 8/n^power at last: a mere factor is no change of the law."""
    sizes = (50, 100, 200, 400)
    branches = {f"n{n}": branch("replace", 8, n) for n in sizes} | {f"c{n}": branch("control", 8, n) for n in sizes}
    noise = Rng("scaling").normal((8, 25, 8))
    paths = {}
    for index, n in enumerate(sizes):
        paths[f"n{n}", "fit_w2"] = np.arange(1, 9) / n**power * np.exp(0.05 * noise[index])
        paths[f"c{n}", "fit_w2"] = np.exp(0.05 * noise[4 + index]) / n
    found = profile(study(branches), tidy(paths))
    answer = found.answers["n50"]["scaling"]
    assert answer.verdict == verdict and answer.estimate == pytest.approx(power, abs=0.03)
    assert found.answers["n400"]["scaling"] == answer and "4 numbers of rows from 50 to 400" in answer.sentence
    for left in (("n50", "n100", "c50", "c100"), tuple(f"n{n}" for n in sizes)):  # two numbers of rows; no controls
        few = profile(study({name: branches[name] for name in left}),
                      tidy({key: values for key, values in paths.items() if key[0] in left}))
        assert few.answers["n50"]["scaling"].verdict == "not measurable here"


def test_answers_are_plain_data_without_infinities():
    import json

    values = np.array([[1.0, 0.0]] * 9)  # nothing is kept, and nothing is known of the scale
    table = tidy({("b", "tail_ratio"): values, ("b", "fit_w2"): values[:, ::-1], ("c", "tail_ratio"): 1 - values})
    found = profile(study({"b": branch("replace", 2), "c": branch("replace", 2)}), table)
    json.dumps(found.plain(), allow_nan=False)
    assert found.answers["b"]["tails"].estimate == 0 and found.answers["c"]["tails"].estimate is None


# ------------------------------------------------------------------------------------------ settings


def test_settings_are_read():
    assert Settings.parse({"catastrophic": 3, "margin": 0.2}, "f") == Settings(3.0, 0.2)
    assert Settings.parse({}, "f") == Settings()


@pytest.mark.parametrize("raw, words", [
    ([1], "must be a mapping, such as"), ({"margins": 0.1}, "margins is not a key; did you mean 'margin'?"),
    ({"margin": 0}, "margin must be a number above 0 and below 1"), ({"margin": "x"}, "margin must be a number"),
    ({"catastrophic": 1}, "catastrophic must be a number above 1 (it is 1)"),
    ({"catastrophic": True}, "must be a number"), ({"catastrophic": float("nan")}, "must be a number"),
    ({1: 2}, "1 is not a key"),
])
def test_wrong_settings_are_one_line(raw, words):
    with pytest.raises(InputError) as caught:
        Settings.parse(raw, "studies/mine.yaml: definitions")
    assert words in str(caught.value) and str(caught.value).startswith("studies/mine.yaml: definitions")
