"""Claims: the grammar, its refusals, and verdicts against independent statistics."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collapse import calibration
from collapse.claims.gain import loop_gain
from collapse.claims.grammar import parse_claims
from collapse.claims.intervals import mean_interval, median_interval
from collapse.claims.judge import evaluate
from collapse.claims.records import Records, Series
from collapse.claims.statements.band import Leaves, Stays
from collapse.claims.statements.bias import Bias
from collapse.claims.statements.change import Keeps, LevelsOff, Margin, Trend
from collapse.claims.statements.compare import Compare
from collapse.claims.statements.referred import Law
from collapse.claims.statements.stage import Reaches, Share, Warns
from collapse.errors import InputError
from collapse.metrics import facts
from collapse.metrics.base import Fact
from collapse.rng import Rng
from collapse.stats import holm

BRANCHES = {
    "control": SimpleNamespace(first=1, last=10), "replace": SimpleNamespace(first=1, last=10),
    "accumulate": SimpleNamespace(first=1, last=10), "rescue": SimpleNamespace(first=6, last=8),
    "median": SimpleNamespace(first=1, last=10),
}
METRICS = {
    "tail_ratio": Fact("tails", 1.0, "below", "", ""), "variance_ratio": Fact("spread", 1.0, "below", "", ""),
    "energy": Fact("drift", 0.0, "above", "", ""), "fit_mean": Fact("fit", 0.0, "either", "", ""),
    "fit_share": Fact("fit", 0.0, "either", "", ""),
    "c2st": Fact("fidelity", 0.5, "above", "", "", high=1.0), "fit_width": Fact("fit", np.nan, "either", "", ""),
}


def parse(text, **keys):
    return parse_claims([{"claim": text, **keys}], "studies/digits.yaml", BRANCHES, METRICS)[0]


# ------------------------------------------------------------------------------------------- grammar


@pytest.mark.parametrize(("text", "meaning"), [
    ("replace.tail_ratio leaves the control band", Leaves(Series("replace", "tail_ratio"), "either", 10)),
    ("replace.tail_ratio leaves the control band below by generation 7",
     Leaves(Series("replace", "tail_ratio"), "below", 7)),
    ("rescue.energy leaves the control band above", Leaves(Series("rescue", "energy"), "above", 8)),
    ("accumulate.tail_ratio[age: high] stays inside the control band",
     Stays(Series("accumulate", "tail_ratio", "age: high"), 10)),
    ("accumulate.tail_ratio stays inside the control band until generation 4",
     Stays(Series("accumulate", "tail_ratio"), 4)),
    ("median replace.tail_ratio leaves the control band",
     Leaves(Series("replace", "tail_ratio"), "either", 10)),
    ("replace.tail_ratio < accumulate.tail_ratio at generation 9",
     Compare(Series("replace", "tail_ratio"), "<", Series("accumulate", "tail_ratio"), 9)),
    ("replace.tail_ratio > rescue.tail_ratio", Compare(Series("replace", "tail_ratio"), ">",
                                                       Series("rescue", "tail_ratio"), 8)),
    ("replace.variance_ratio < 0.5", Compare(Series("replace", "variance_ratio"), "<", 0.5, 10)),
    ("replace.tail_ratio > rescue.tail_ratio + 0.05 at generation 7",
     Compare(Series("replace", "tail_ratio"), ">", Series("rescue", "tail_ratio"), 7, 0.05)),
    ("replace.tail_ratio < rescue.tail_ratio - 5e-2",
     Compare(Series("replace", "tail_ratio"), "<", Series("rescue", "tail_ratio"), 8, -0.05)),
    ("replace.variance_ratio > -1e-3", Compare(Series("replace", "variance_ratio"), ">", -0.001, 10)),
    ("median replace.energy falls", Trend(Series("replace", "energy"), "falls", 1, 10)),
    ("mean replace.energy falls", Trend(Series("replace", "energy", mean=True), "falls", 1, 10)),
    ("mean replace.energy > mean rescue.energy + 1", Compare(Series("replace", "energy", mean=True), ">",
                                                             Series("rescue", "energy", mean=True), 8, 1.0)),
    ("mean replace.energy > rescue.energy", Compare(Series("replace", "energy", mean=True), ">",
                                                    Series("rescue", "energy", mean=True), 8)),
    ("replace.energy rises by more than 0.2 until generation 4",
     Trend(Series("replace", "energy"), "rises", 1, 4, margin=Margin(0.2))),
    ("rescue.energy rises until generation 7", Trend(Series("rescue", "energy"), "rises", 6, 7)),
    ("replace.energy rises at 99 %", Trend(Series("replace", "energy"), "rises", 1, 10, 0.99)),
    ("replace.energy does not rise by more than 10 % until generation 9 at 99.9%",
     Keeps(Series("replace", "energy"), "rise", 1, 9, Margin(10, relative=True), 0.999)),
    ("replace.energy does not fall by more than 0", Keeps(Series("replace", "energy"), "fall", 1, 10, Margin(0))),
    ("replace.energy keeps within 5% at 90 %",
     Keeps(Series("replace", "energy"), "either", 1, 10, Margin(5, relative=True), 0.9)),
    ("replace.energy levels off within .1", LevelsOff(Series("replace", "energy"), "either", 1, 10, Margin(0.1))),
    ("rescue.energy rises and levels off within 10 % until generation 8",
     LevelsOff(Series("rescue", "energy"), "rises", 6, 8, Margin(10, relative=True))),
    ("replace reaches late by generation 8", Reaches("replace", "late", 8)),
    ("accumulate avoids distorted", Reaches("accumulate", "distorted", 10, avoids=True)),
    ("replace warns before late", Warns("replace")),
    ("control is healthy in 95 % of cells", Share("control", "healthy", 95)),
    ("control is healthy in at least 99.5% of cells", Share("control", "healthy", 99.5)),
    ("median is healthy in 95 % of cells", Share("median", "healthy", 95)),
    ("accumulate avoids drifted", Reaches("accumulate", "drifted", 10, avoids=True)),
    ("replace.fit_mean amplifies its bias", Bias(Series("replace", "fit_mean", mean=True), "amplifies", 0.0, 1, 10)),
    ("rescue.variance_ratio keeps its bias within 10 %",
     Bias(Series("rescue", "variance_ratio", mean=True), "keeps", 1.0, 6, 8, 0.1)),
    ("replace.fit_share[w005] corrects its bias around 0.05 until generation 9",
     Bias(Series("replace", "fit_share", "w005", mean=True), "corrects", 0.05, 1, 9)),
    ("mean replace.fit_mean corrects its bias from generation 2",
     Bias(Series("replace", "fit_mean", mean=True), "corrects", 0.0, 2, 10)),
    ("replace.energy keeps its bias within 5% around -.5 from generation 2 until generation 4",
     Bias(Series("replace", "energy", mean=True), "keeps", -0.5, 2, 4, 0.05)),
    ("median median.energy < 2", Compare(Series("median", "energy"), "<", 2.0, 10)),
    ("mean median.energy < 2", Compare(Series("median", "energy", mean=True), "<", 2.0, 10)),
])
def test_every_form_of_claim(text, meaning):
    claim = parse(text, source="Nature 2024")
    assert (claim.statement, claim.text, claim.source) == (meaning, text, "Nature 2024")


def test_white_space_does_not_matter():
    assert parse("  replace   reaches\n late ") == parse("replace reaches late")


@pytest.mark.parametrize(("text", "complaint"), [
    ("replace.tail_rato falls", "'tail_rato' is not a metric; did you mean 'tail_ratio'?"),
    ("replcae.tail_ratio falls", "'replcae' is not a branch; did you mean 'replace'?"),
    ("replcae reaches late", "'replcae' is not a branch; did you mean 'replace'?"),
    ("replace.tail_ratio leavs the control band", "'leavs' cannot stand here; did you mean 'leaves'?"),
    ("replace.tail_ratio leaves the contol band", "'contol' cannot stand here; did you mean 'control'?"),
    ("replace.tail_ratio leaves the control", "ends after 'control'; 'band' must follow"),
    ("replace reaches healthy", "'healthy' cannot stand here"),
    ("replace reaches late by generation 11", "generation 11 is not one of 'replace', which has 1 to 10"),
    ("rescue reaches late by generation 5", "generation 5 is not one of 'rescue', which has 6 to 8"),
    ("replace.energy < rescue.energy at generation 9", "generation 9 is not one of 'rescue', which has 6 to 8"),
    ("replace reaches late by generation 2.5", "'2.5' is not a generation"),
    ("replace reaches late by generation -1", "'-1' is not a generation"),
    ("replace reaches late by generation", "ends after 'generation'; a whole number must follow"),
    ("replace.tail_ratio < half", "'half' is not a number"),
    ("replace.tail_ratio < nan", "'nan' is not a number"),
    ("replace.tail_ratio < 0.5<0.6", "'0.5<0.6' is not BRANCH.METRIC"),
    ("replace.tail_ratio falls quickly", "'quickly' cannot stand here"),
    ("replace.tail_ratio does rise", "'rise' cannot stand here"),
    ("replace.tail_ratio does not leave", "'leave' cannot stand here"),
    ("replace.tail_ratio levels of", "'of' cannot stand here"),
    ("replace.tail_ratio does not rise", "that it does not rise wants a margin: 'does not rise by more than 10 %'"),
    ("replace.tail_ratio does not fall at 99 %", "that it does not fall wants a margin"),
    ("replace.tail_ratio does not fall by more than -1", "-1 is no margin; use a number of 0 or more"),
    ("replace.tail_ratio does not fall by more", "ends after 'more'; 'than' must follow"),
    ("replace.tail_ratio levels off", "that it levels off wants a margin: 'levels off within 10 %'"),
    ("replace.tail_ratio levels off within 0", "no series levels off within 0"),
    ("replace.tail_ratio rises and levels off until generation 4", "that it levels off wants a margin"),
    ("replace.tail_ratio keeps inside 5 %", "'inside' cannot stand here"),
    ("replace.fit_mean keeps its bias", "that it keeps its bias wants a margin: 'keeps its bias within 10 %'"),
    ("replace.fit_mean keeps its bias within 0.1", "ends after '0.1'; '%' must follow"),
    ("replace.fit_mean keeps its bias within 0 %", "0 % is no margin of a bias"),
    ("mean replace.tail_ratio leaves the control band", "a band is held against the median over replicates"),
    ("replace.energy < mean rescue.energy", "a mean is compared with a mean; write 'mean' before replace.energy too"),
    ("mean replace.energy < median rescue.energy", "a mean is compared with a mean"),
    ("replace.tail_ratio rises at 30 %", "30 % is no level; use 50 to 99.9"),
    ("replace.tail_ratio rises at generation 3", "'generation' is not a number"),
    ("replace.tail_ratio rises at 99 % until generation 3", "'until' is one word too many"),
    ("replace warns before late again", "'again' is one word too many"),
    ("control is healthy in 120 % of cells", "120 is not a percentage"),
    ("rescue.energy rises until generation 6", "a trend needs two generations"),
    ("replace.fit_mean amplfies its bias", "'amplfies' cannot stand here; did you mean 'amplifies'?"),
    ("replace.fit_mean amplifies", "ends after 'amplifies'; 'its' must follow"),
    ("replace.fit_mean amplifies its baias", "'baias' cannot stand here; did you mean 'bias'?"),
    ("replace.fit_mean keeps its bias within 5 % arround 3", "'arround' cannot stand here; did you mean 'around'?"),
    ("replace.fit_mean corrects its bias around three", "'three' is not a number"),
    ("replace.fit_mean corrects its bias around", "ends after 'around'; a number must follow"),
    ("replace.fit_mean corrects its bias until generation 4 from generation 2", "'from' is one word too many"),
    ("replace.fit_mean corrects its bias from generation 2 around 0.5", "'around' cannot stand here"),
    ("replace.fit_mean corrects its bias from generation 4 until generation 4", "a gain needs two generations"),
    ("rescue.fit_mean corrects its bias from generation 5", "generation 5 is not one of 'rescue', which has 6 to 8"),
    ("replace.fit_mean corrects its bias until 5", "'5' cannot stand here; choose from generation"),
    ("replace keeps its bias within 5 %", "'keeps' cannot stand here"),
    ("median replace.fit_mean corrects its bias", "a bias is of the mean over replicates; leave 'median' out"),
    ("replace.energy corrects its bias", "what is true of 'energy' depends on the data; add 'around NUMBER' after"),
    ("replace.fit_share[w005] corrects its bias", "add 'around NUMBER' after 'bias'; 'fit_bias' is a share less the"),
    ("replace.fit_width corrects its bias", "what is true of 'fit_width' depends on the data"),
    ("replace.", "'replace.' is not BRANCH.METRIC"),
    ("__import__('os').system('true')", "'system('true')' is not a metric"),
    ("%", "'%' is not a branch"),
])
def test_a_wrong_word_is_named(text, complaint):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value).startswith("studies/digits.yaml: claims[0]: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("item", "complaint"), [
    (7, "claims[1] must be a sentence"),
    ({"source": "x"}, "claims[1] must be a sentence"),
    ({"claim": "replace reaches late", "law": "x"}, "claims[1] must be a sentence"),
    ({"claim": "replace reaches late", "sorce": "x"}, "claims[1].sorce is not a key; did you mean 'source'?"),
    ({"claim": "replace reaches late", "source": 2024}, "claims[1].source must be text"),
    ({"claim": "   "}, "claims[1].claim must be text"),
    ({"claim": "replace reaches late", "feature": "x1"}, "claims[1].feature is not a key"),
    ({"law": "gaussian.replace.log_variance", "branch": "replace", "feature": 1}, "claims[1].feature must be text"),
    ({"law": "gaussian.replace.log_variance", "branch": "replace", "featrue": "x1"}, "did you mean 'feature'?"),
    ({"law": "gaussian.replace.log_varaince", "branch": "replace"}, "did you mean 'gaussian.replace.log_variance'?"),
    ({"law": "gaussian.replace.log_variance", "branch": "replac"}, "'replac' is not a branch; did you mean 'replace'?"),
    ({"law": "gaussian.replace.log_variance"}, "'' is not a branch"),
])
def test_a_wrong_item_is_named(item, complaint):
    with pytest.raises(InputError) as caught:
        parse_claims(["replace reaches late", item], "f.yaml", BRANCHES, METRICS, ["gaussian.replace.log_variance"])
    assert complaint in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text):
    try:
        parse(text)
    except InputError as error:
        assert str(error).startswith("studies/digits.yaml: claims[0]")


# ----------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize("count", [2, 5, 40])
def test_mean_interval_is_students(count):
    values = Rng("claims", "mean").normal((count,))
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx((values.mean(), *expected))


@pytest.mark.parametrize("count", [6, 7, 20, 51])
def test_median_interval_covers_at_least_95_percent_and_is_the_shortest(count):
    # The k-th of n order statistics lies above the median with probability P(Bin(n, ½) < k).
    median, low, high = median_interval(np.arange(count)[::-1])
    k = int(low) + 1
    assert median == (count - 1) / 2
    assert high == count - k
    assert 1 - 2 * stats.binom.cdf(k - 1, count, 0.5) >= 0.95
    assert k + 1 > count // 2 or 1 - 2 * stats.binom.cdf(k, count, 0.5) < 0.95


def test_too_few_values_have_no_interval():
    assert np.isnan(mean_interval(np.array([1.0]))[1:]).all()
    assert np.isnan(median_interval(np.arange(5.0))[1:]).all()


# ------------------------------------------------------------------------------------------ verdicts


class Bands:
    """Bands that note how they were asked."""

    def __init__(self):
        self.asked = []

    def band(self, metric, feature="", kind="model", replicates=1, cells=1):
        self.asked.append((metric, feature, kind, replicates, cells))
        if metric == "energy":
            raise KeyError(metric)
        return SimpleNamespace(low=0.8, high=1.2)


def table(**series):
    """Return measurements of tail_ratio (or of 'branch__metric'), each an array (T, R) from generation 1 on."""
    parts = [pd.DataFrame({"branch": [], "generation": [], "replicate": [], "metric": [], "feature": [], "value": []})]
    for name, values in series.items():
        branch, _, metric = name.partition("__")
        values = np.asarray(values, dtype=float)
        t, r = np.indices(values.shape)
        parts.append(pd.DataFrame({"branch": branch, "generation": BRANCHES[branch].first + t.ravel(),
                                   "replicate": r.ravel(), "metric": metric or "tail_ratio", "feature": "",
                                   "value": values.ravel()}))
    return pd.concat(parts[1:] or parts)


def judge(text, data=None, stages=None, bands=None, **keys):
    bands = {name: Bands() for name in BRANCHES} if bands is None else bands
    return evaluate([parse(text)], table() if data is None else data, stages or {}, bands, **keys)[0]


def stages(branch, *nodes, replicates=None):
    return {branch: {g: {"node": node, "replicates": replicates or [node, node]} for g, node in enumerate(nodes, 1)}}


PATHS = np.array([-0.03, -0.02, -0.01, 0.01, 0.02, 0.03])
FALL = np.linspace(1.0, 0.1, 10)[:, None] + PATHS
FLAT = np.ones((10, 6)) + PATHS
HUMP = np.array([1.0, 3, 5, 4.5, 4, 3.5, 3, 2.8, 2.5, 2])[:, None] + PATHS


@pytest.mark.parametrize(("text", "verdict", "generation"), [
    ("replace.tail_ratio leaves the control band below by generation 10", "holds", 4),
    ("replace.tail_ratio leaves the control band below by generation 2", "fails", 2),
    ("replace.tail_ratio leaves the control band above", "fails", 1),
    ("replace.tail_ratio leaves the control band", "holds", 4),
    ("replace.tail_ratio stays inside the control band", "fails", 4),
    ("replace.tail_ratio stays inside the control band until generation 2", "holds", 2),
    ("replace.tail_ratio stays inside the control band until generation 3", "undecided", 3),
    ("replace.tail_ratio leaves the control band below by generation 3", "undecided", 3),
    ("accumulate.tail_ratio stays inside the control band", "holds", 10),
    ("accumulate.tail_ratio leaves the control band below", "fails", 1),
])
def test_band_claims(text, verdict, generation):
    # The median falls by 0.1 a generation from 1.0, so it first is below 0.8 at generation 4; at 3 half the paths are.
    found = judge(text, table(replace=FALL, accumulate=FLAT))
    assert (found["verdict"], found["generation"]) == (verdict, generation)
    assert "[0.8, 1.2]" in found["evidence"]


def test_a_band_claim_is_not_fooled_by_the_replicates_that_inflate():
    values = np.column_stack([FALL[:, 2:], 1 + 3 * (1 - FALL[:, :1])])  # the mean of five stays above 0.8
    assert values.mean(axis=1).min() > 0.8
    for word in ("", "median "):
        found = judge(f"{word}replace.tail_ratio leaves the control band below", table(replace=values))
        assert (found["verdict"], found["generation"]) == ("holds", 4)
        assert "The median over 5 replicates is" in found["evidence"]


def test_four_replicates_inside_a_band_prove_nothing():
    found = judge("replace.tail_ratio stays inside the control band", table(replace=FLAT[:, :4]))
    assert found["verdict"] == "undecided" and "needs R ≥ 5 replicates, has 4" in found["evidence"]


def test_a_band_is_asked_for_the_median_over_replicates_family_wise():
    bands = Bands()
    judge("replace.tail_ratio stays inside the control band", table(replace=FALL), bands={"replace": bands}, cells=30)
    assert bands.asked == [("tail_ratio", "", "model", 6, 30)]


def test_leaving_a_band_has_the_p_value_of_the_narrowest_band_that_is_left():
    fits = Rng("claims", "fits").normal((200,))
    bands = {"replace": calibration.Bands({"kind": ["model"] * 200, "metric": ["tail_ratio"] * 200,
                                           "feature": [""] * 200, "value": fits})}
    values = np.zeros((10, 5))
    values[7] = -1.9
    found = judge("replace.tail_ratio leaves the control band below", table(replace=values), bands=bands, cells=10)
    share = found["p"] / 10  # ten looks
    just = calibration.interval(fits, 5, share)
    assert just.low == pytest.approx(-1.9, abs=0.01)
    assert (found["verdict"] == "holds") == (found["p"] <= 0.01)
    assert judge("replace.tail_ratio leaves the control band above", table(replace=values), bands=bands)["p"] > 0.5


@pytest.mark.parametrize(("text", "low", "high", "verdict"), [
    ("replace.tail_ratio stays inside the control band", 0.0, 2.0, "blind"),
    ("replace.tail_ratio leaves the control band below", -0.1, 2.0, "blind"),
    ("replace.tail_ratio leaves the control band above", -0.1, 2.0, "fails"),
    ("replace.tail_ratio leaves the control band above", 0.0, 0.9, "holds"),
    ("replace.tail_ratio stays inside the control band", 0.0, 0.9, "fails"),
    ("replace.energy stays inside the control band", 0.0, 2.0, "holds"),  # it collapses upwards, where the band ends
    ("replace.energy stays inside the control band", 0.0, np.inf, "blind"),
    ("replace.tail_ratio < 1.5", 0, 1, "holds"),
    ("replace.tail_ratio > -0.5", 0, 1, "blind"),
    ("replace.c2st < 1.5", 0, 1, "blind"),
    ("replace.c2st < replace.tail_ratio + 2", 0, 1, "blind"),
    ("replace.c2st keeps within 1", 0, 1, "blind"),
    ("replace.c2st does not rise by more than 0.5", 0, 1, "holds"),
    ("replace.c2st levels off within 1", 0, 1, "blind"),
    ("replace.tail_ratio does not fall by more than 100 %", 0, 1, "blind"),
    ("replace.tail_ratio does not rise by more than 100 %", 0, 1, "holds"),
])
def test_what_nothing_could_have_refuted_is_blind(text, low, high, verdict):
    bands = {"replace": SimpleNamespace(band=lambda *_, **__: SimpleNamespace(low=low, high=high))}
    data = table(replace=FLAT, replace__energy=FLAT, replace__c2st=FLAT / 2)
    found = judge(text, data, bands=bands, facts=METRICS)
    assert found["verdict"] == verdict, found
    assert ("nothing could have" in found["evidence"]) == (verdict == "blind")
    assert (found["p"] is None) == (verdict == "blind")
    assert found["holm"] == verdict


def test_evidence_says_when_a_series_comes_back():
    values = np.ones((10, 2))
    values[3:5] = 0.5
    found = judge("replace.tail_ratio leaves the control band below", table(replace=values))
    assert "first at generation 4 (0.5) and is back at generation 6, 7, 8, 9…; at generation 10 it is 1." \
        in found["evidence"]


@pytest.mark.parametrize(("text", "words"), [
    ("replace.tail_ratio leaves the control band below", "nothing is measured between there and generation 10"),
    ("replace.tail_ratio stays inside the control band", "nothing is measured"),
    ("replace.tail_ratio < 0.5", "no measurement at generation 10"),
    ("replace.tail_ratio falls", "not measured from generation 1 to 10"),
    ("replace.tail_ratio keeps within 5 %", "not measured from generation 1 to 10"),
    ("rescue.tail_ratio stays inside the control band", "no measurement"),
    ("replace.energy stays inside the control band", "no calibrated band"),
    ("replace reaches late", "no judged generation"),
    ("control is healthy in 95 % of cells", "no judged cell"),
])
def test_what_the_records_cannot_tell_is_undecided(text, words):
    data = table(replace=FLAT[:5], replace__energy=FLAT)
    found = judge(text, data)
    assert found["verdict"] == "undecided"
    assert words in found["evidence"]
    assert found["p"] is None or found["p"] <= 1


def test_a_branch_that_left_its_band_before_it_was_halted_has_left_it():
    found = judge("replace.tail_ratio leaves the control band below", table(replace=FALL[:5]))
    assert (found["verdict"], found["generation"]) == ("holds", 4)


def test_comparison_is_the_paired_sign_test():
    noise = Rng("claims", "pairs").normal((3, 12))
    shared = 5 * noise[0]  # common random numbers: large, and the same in both branches
    left, right = shared + 0.1 * noise[1] - 0.15, shared + 0.1 * noise[2]
    data = table(replace=np.tile(left, (10, 1)), accumulate=np.tile(right, (10, 1)))
    found = judge("replace.tail_ratio < accumulate.tail_ratio", data)
    hits = int((left < right).sum())
    assert found["p"] == pytest.approx(stats.binomtest(hits, 12, 0.5, "greater").pvalue, rel=1e-5)
    assert found["verdict"] == "holds"
    assert found["estimate"] == pytest.approx(np.median(left - right), rel=1e-5)
    ordered = np.sort(left - right)
    assert [found["low"], found["high"]] == pytest.approx(list(ordered[[2, 9]]), rel=1e-5)  # P(Bin(12, ½) < 3) = 1.9 %
    assert stats.mannwhitneyu(left, right).pvalue > 0.5  # unpaired, nothing would show
    assert judge("replace.tail_ratio > accumulate.tail_ratio", data)["verdict"] == "fails"
    assert found["evidence"].startswith("The median paired difference replace.tail_ratio − accumulate.tail_ratio at ")


def test_comparison_pairs_by_replicate_not_by_place():
    data = table(replace=[[1.0, 2.0, 4.0]] * 10, accumulate=[[1.5, 2.6, 4.4]] * 10)
    shuffled = data.sample(frac=1, random_state=0)
    text = "replace.tail_ratio < accumulate.tail_ratio at generation 3"
    assert judge(text, shuffled) == judge(text, data)
    assert judge(text, data)["estimate"] == pytest.approx(-0.5)


@pytest.mark.parametrize(("values", "verdict"), [
    ([0.1, 0.2, 0.3, 0.3, 0.4], "holds"), ([0.7, 0.8, 0.9, 1, 2], "fails"), ([0.1, 0.2, 0.3, 0.4, 0.9], "undecided"),
    ([0.3], "undecided"), ([0.3] * 4, "undecided"), ([0.3, 0.3], "undecided"), ([0.5] * 5, "fails"),
    ([0.3] * 5, "holds"), ([0.1, 0.1, 0.1, 0.1, np.nan], "undecided"), ([0.9, 0.9, 0.9, 0.9, np.nan], "undecided"),
    ([0.1] * 7 + [np.nan], "holds"), ([np.inf] * 5, "fails"), ([np.nan] * 9, "undecided"), ([-np.inf] * 5, "holds"),
])
def test_comparison_with_a_number(values, verdict):
    found = judge("replace.tail_ratio < 0.5", table(replace=[values] * 10))
    assert found["verdict"] == verdict
    dead = int(np.isnan(values).sum())
    assert (f"{dead} of which have no number" in found["evidence"]) == (dead > 0)
    json.dumps(found, allow_nan=False)


def test_too_few_replicates_are_told_how_many_are_needed():
    data = table(replace=[[0.1, 0.1, 0.1]] * 10, accumulate=FLAT[:, :5] - 1)
    assert "it needs R ≥ 5 replicates, has 3" in judge("replace.tail_ratio < 0.5", data)["evidence"]
    assert "it needs R ≥ 7 replicates, has 5" in judge("accumulate.tail_ratio falls at 99 %", data)["evidence"]


def test_a_mean_must_be_asked_for_and_be_carried_by_many_paths():
    # One replicate in eight explodes: the mean is far above 0.5, nearly every path is far below.
    values = [[0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.2, 40.0]] * 10
    assert judge("replace.tail_ratio < 0.5", table(replace=values))["verdict"] == "holds"
    found = judge("mean replace.tail_ratio < 20", table(replace=values))
    assert found["verdict"] == "undecided" and found["p"] == 1
    assert "it is carried by few paths: 1.3 of 8" in found["evidence"]
    equal = judge("mean replace.tail_ratio < 20", table(replace=np.ones((10, 50))))
    assert equal["verdict"] == "undecided" and "50 equal values" in equal["evidence"]
    many = Rng("claims", "many").normal((10, 100))
    found = judge("mean replace.tail_ratio < 0.5", table(replace=many))
    # of normal values Hall's correction is next to nothing
    assert found["p"] == pytest.approx(stats.ttest_1samp(many[9], 0.5, alternative="less").pvalue, rel=0.5)
    assert found["high"] >= stats.t.interval(0.9, 99, many[9].mean(), stats.sem(many[9]))[1] - 1e-6
    many[9, 3] = np.nan
    assert "1 of 100 replicates have no finite value" in \
        judge("mean replace.tail_ratio < 0.5", table(replace=many))["evidence"]


@pytest.mark.parametrize(("values", "falls", "rises"), [
    (FALL, "holds", "fails"), (2 - FALL, "fails", "holds"), (HUMP, "fails", "undecided"),
    (6 - HUMP, "undecided", "fails"), (FLAT, "fails", "fails"), (FALL[:, :4], "undecided", "undecided"),
    (np.where(PATHS > 0.02, np.nan, FALL), "undecided", "undecided"),
    (np.column_stack([FALL, FLAT]), "undecided", "fails"),
])
def test_a_trend_is_where_it_ends_and_how_it_goes_there(values, falls, rises):
    """1 → 5 → 2 does not fall, though nearly all of its steps do; nor does it rise, though it ends higher."""
    for word, verdict in (("falls", falls), ("rises", rises)):
        found = judge(f"replace.tail_ratio {word}", table(replace=values))
        assert found["verdict"] == verdict, found


def test_a_trend_rests_on_change_and_theil_sen_slope():
    values = FALL + 0.01 * Rng("claims", "trend").normal((10, 6))
    found = judge("replace.tail_ratio falls", table(replace=values))
    change = values[-1] - values[0]
    assert found["estimate"] == pytest.approx(np.median(change), rel=1e-5)
    assert [found["low"], found["high"]] == pytest.approx([change.min(), change.max()], rel=1e-5)
    slopes = np.median([stats.theilslopes(values[:, r]).slope for r in range(6)])
    assert f"the median Theil–Sen slope is {slopes:.3g}".replace("-", "−") in found["evidence"]
    assert found["p"] == 2.0**-6


def test_a_trend_may_have_to_be_more_than_a_margin():
    for margin, verdict in (("0.5", "holds"), ("0.95", "fails"), ("85 %", "holds"), ("0.9", "undecided")):
        found = judge(f"replace.tail_ratio falls by more than {margin}", table(replace=FALL + 0.01 * PATHS[::-1] *
                                                                            np.arange(10)[:, None]))
        assert found["verdict"] == verdict, found


@pytest.mark.parametrize(("text", "values", "verdict"), [
    ("does not rise by more than 0.1", FALL, "holds"), ("does not rise by more than 0.1", FLAT, "holds"),
    ("does not rise by more than 0.1", 2 - FALL, "fails"), ("does not fall by more than 0.1", FALL, "fails"),
    ("does not rise by more than 0", FLAT, "holds"),  # it does not rise at all
    ("does not rise by more than 1.5", HUMP, "undecided"),  # it ends within, but was beyond on the way
    ("does not rise by more than 4.1", HUMP, "holds"), ("keeps within 3 %", FLAT, "holds"),
    ("keeps within 3 %", FALL, "fails"), ("keeps within 3 %", FLAT[:, :3], "undecided"),
    ("does not rise by more than 0.1", FLAT[:, :3], "undecided"),  # that none is shown is not that there is none
    ("does not rise by more than 0.1 at 99 %", FLAT, "undecided"),
    ("does not rise by more than 0.1 at 98 %", FLAT, "holds"),
    ("keeps within 3 %", FLAT - 1, "undecided"),  # no share of what is not above 0
    ("keeps within 50 %", np.where((np.arange(10)[:, None] == 4) & (PATHS > 0.02), np.nan, FLAT), "undecided"),
])
def test_a_denial_bounds_the_change_at_every_generation(text, values, verdict):
    found = judge(f"replace.tail_ratio {text}", table(replace=values))
    assert found["verdict"] == verdict, found


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-3, 3) | st.just(np.nan), min_size=4, max_size=4), min_size=1, max_size=12),
       st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([50, 80, 95, 99]), st.sampled_from([50, 95, 99.9]),
       st.sampled_from(["", "mean "]))
def test_nothing_both_rises_and_does_not(paths, margin, one, other, word):
    """With one margin, whatever the data and whatever the confidence of either; and more confidence never helps."""
    data = table(replace=np.array(paths).T)
    spans = {"replace": SimpleNamespace(first=1, last=4)}

    def verdict(text):
        claims = parse_claims([f"{word}replace.tail_ratio {text}"], "f", spans, METRICS)
        return evaluate(claims, data, {}, {})[0]["verdict"]

    for go, no in (("rises", "does not rise"), ("falls", "does not fall")):
        goes, stays = f"{go} by more than {margin}", f"{no} by more than {margin}"
        assert not verdict(f"{goes} at {one} %") == verdict(f"{stays} at {other} %") == "holds"
        assert not verdict(f"{goes} at {one} %") == verdict(f"keeps within {margin} at {other} %") == "holds"
        for text in (goes, stays):
            assert verdict(f"{text} at {one} %") == "holds" or verdict(f"{text} at {min(one + 10, 99.99)} %") != "holds"


def test_a_series_levels_off_if_it_moved_and_then_keeps_within():
    noise = 0.01 * Rng("claims", "plateau").normal((10, 6))
    time = np.arange(10.0)[:, None]
    for values, text, verdict in (
        (1 - np.exp(-time) + noise, "levels off within 0.1", "holds"),
        (1 - np.exp(-time) + noise, "rises and levels off within 0.1", "holds"),
        (1 - np.exp(-time) + noise, "falls and levels off within 0.1", "undecided"),
        (np.exp(-time) + noise, "falls and levels off within 0.1", "holds"),
        (time + noise, "levels off within 1", "fails"),
        (time + noise, "levels off within 5.1", "undecided"),  # nor is there a change that could level off
        (np.minimum(time, 9 - time) + noise, "levels off within 1", "fails"),  # it turns
        (0 * time + noise, "levels off within 0.1", "undecided"),
    ):
        found = judge(f"replace.tail_ratio {text}", table(replace=values))
        assert found["verdict"] == verdict, found
    rises = table(replace=1 - np.exp(-time) + noise)
    assert judge("replace.tail_ratio rises and levels off within 0.1", rises)["p"] == 2.0**-6
    assert judge("replace.tail_ratio levels off within 0.1", rises)["p"] == 2 * 2.0**-6  # it may go up or down
    for last, words in ((3, "3 generations, and two halves need 4"), (4, "")):
        found = judge(f"replace.tail_ratio levels off within 0.1 until generation {last}", rises)
        assert words in found["evidence"] and ("halves" in found["evidence"]) == (last == 3)
    found = judge("replace.tail_ratio levels off within 0.1 until generation 9", rises)
    assert "from generation 1 to 5 is" in found["evidence"] and "from generation 5 to " in found["evidence"]
    assert found["generation"] == 9
    assert judge("rescue.tail_ratio levels off within 1", table(rescue=FALL[:3]))["verdict"] == "undecided"
    five = table(replace=(1 - np.exp(-time) + noise)[:, :5])
    assert "it needs R ≥ 6 replicates, has 5" in judge("replace.tail_ratio levels off within 0.1", five)["evidence"]
    assert judge("replace.tail_ratio rises and levels off within 0.1", five)["verdict"] == "holds"


def test_what_a_dead_replicate_was_is_not_passed_over():
    """It is below every band, as in stages; elsewhere it counts on neither side."""
    dead = FLAT.copy()
    dead[7:, :3] = np.nan
    found = judge("replace.tail_ratio stays inside the control band", table(replace=dead))
    assert found["verdict"] == "fails" and "3 of which have no number at some generation" in found["evidence"]
    missing = table(replace=FLAT)
    missing = missing[(missing.replicate < 3) | (missing.generation < 8)]
    found = judge("replace.tail_ratio leaves the control band below", missing)
    assert (found["verdict"], found["generation"]) == ("holds", 8)
    assert judge("replace.tail_ratio does not fall by more than 0.5", missing)["verdict"] == "undecided"


# -------------------------------------------------------------------------------------- many at once


def test_several_claims_are_corrected_by_holm():
    data = table(replace=FALL, accumulate=FLAT, control=np.tile(FALL, 2))
    texts = ["replace.tail_ratio falls", "control.tail_ratio falls", "replace.tail_ratio < accumulate.tail_ratio",
             "accumulate.tail_ratio < 0.5", "replace reaches late"]
    found = evaluate([parse(text) for text in texts], data, {}, {})
    assert [one["verdict"] for one in found] == ["holds", "holds", "holds", "fails", "undecided"]
    assert [one["p"] for one in found] == [2.0**-6, pytest.approx(2.0**-12, rel=1e-5), 2.0**-6, 1.0, None]
    # four tests: 4 · 2^−12, then 3 · 2^−6 and 2 · 2^−6 raised to it: 4.7 %
    raised = [3 * 2.0**-6, 4 * 2.0**-12, 3 * 2.0**-6, 1.0]
    assert [one["p_holm"] for one in found[:4]] == pytest.approx(raised, rel=1e-5)
    assert found[4]["p_holm"] is None
    assert [one["holm"] for one in found] == ["holds", "holds", "holds", "fails", "undecided"]
    more = evaluate([parse(text) for text in [*texts, "accumulate.tail_ratio > 3"]], data, {}, {})
    assert [one["holm"] for one in more][:4] == ["undecided", "holds", "undecided", "fails"]
    assert [one["verdict"] for one in more][:4] == ["holds", "holds", "holds", "fails"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_step_down_of_bonferroni(p):
    """Rejected at α: the least p while p ≤ α over the number of those that are left."""
    for alpha in (0.01, 0.05, 0.3):
        left, rejected = sorted(range(len(p)), key=lambda i: p[i]), set()
        while left and p[left[0]] * len(left) <= alpha:
            rejected.add(left.pop(0))
        assert {i for i, q in enumerate(holm(p)) if q <= alpha} == rejected


# ------------------------------------------------------------------------------- nothing by accident

SEEDS = 400


class Made(Records):
    """Records of series that are at hand, (T, R) each."""

    def series(self, series):
        return pd.DataFrame(self.table[series.branch, series.metric]).rename(index=lambda t: t + 1)


def nulls(kind, replicates, generations=6):
    """Series (SEEDS, T, R) whose paths neither rise nor fall in the median, which is 1 at the end."""
    rng = Rng("claims", "null", kind, replicates)
    noise = rng.at("noise").normal((SEEDS, generations, replicates))
    if kind == "independent":
        return 1 + 0.3 * noise
    if kind == "multiplicative":  # paths are exp of a symmetric walk: the median stays 1, the mean grows
        return np.exp(np.cumsum(noise, axis=1) - noise[:, :1])
    if kind == "heavy":
        return 1 + noise / np.abs(rng.at("tail").normal(noise.shape))
    if kind == "tied":
        return 1 + 0.1 * np.sign(noise) * (np.abs(noise) > 1)
    return 1 + 0.3 * noise[:, :2]  # short: two generations


@pytest.mark.parametrize("kind", ["independent", "multiplicative", "heavy", "tied", "short"])
@pytest.mark.parametrize("replicates", [5, 20])
def test_no_claim_holds_by_accident(kind, replicates):
    """Each sentence is false, on the edge of being true: it holds in 5 % of runs, and four standard errors, at most."""
    series = nulls(kind, replicates)
    last = series.shape[1]
    spans = {name: SimpleNamespace(first=1, last=last) for name in ("replace", "accumulate")}
    texts = ["replace.tail_ratio falls", "replace.tail_ratio rises", "replace.tail_ratio < 1", "replace.tail_ratio > 1",
             "replace.tail_ratio < accumulate.tail_ratio", "replace.energy does not rise by more than 1",
             "replace.energy keeps within 1", "replace.fit_mean levels off within 1"]
    claims = parse_claims(texts, "f", spans, METRICS)
    hits = np.zeros(len(texts))
    for seed, values in enumerate(series):
        moved = values + np.where(np.arange(last) == last - 1, 1 + 1e-9, 0)[:, None]  # its end has risen by the margin
        beyond = moved + 3 * (np.arange(last) >= last // 2)[:, None]
        made = Made({("replace", "tail_ratio"): values, ("accumulate", "tail_ratio"): series[seed - 1],
                     ("replace", "energy"): moved, ("replace", "fit_mean"): beyond}, {}, {})
        hits += [claim.statement.judge(made).verdict == "holds" for claim in claims]
    assert (hits / SEEDS <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / SEEDS)).all(), dict(zip(texts, hits / SEEDS, strict=True))


@pytest.mark.parametrize("replicates", [5, 20, 100])
def test_the_mean_of_a_collapsing_gaussian_is_not_below_its_truth(replicates):
    """Under replace with ddof 1 and n = 10 the mean of the variance is 1 for ever, and few paths carry it."""
    steps = Rng("claims", "gaussian", replicates).chisquare(9, (SEEDS, 20, replicates)) / 9
    texts = ["mean replace.tail_ratio < 0.9", "mean replace.tail_ratio falls", "replace.tail_ratio < 0.9"]
    claims = parse_claims(texts, "f", {"replace": SimpleNamespace(first=1, last=20)}, METRICS)
    found = np.array([[claim.statement.judge(Made({("replace", "tail_ratio"): values}, {}, {})).verdict == "holds"
                       for claim in claims] for values in np.cumprod(steps, axis=1)])
    mean, falls, median = found.mean(axis=0)
    assert mean <= 0.05 and falls <= 0.05
    assert median > {5: 0.35, 20: 0.85, 100: 0.99}[replicates]  # of the median it is true


@pytest.mark.parametrize(("text", "nodes", "verdict"), [
    ("replace reaches late", ["healthy", "early", "late"] + ["late"] * 7, "holds"),
    ("replace reaches late by generation 2", ["healthy", "early", "late"], "fails"),
    ("replace reaches early by generation 1", ["late"], "holds"),
    ("replace reaches distorted", ["late"] * 10, "fails"),
    ("replace reaches late", ["early"] * 5, "undecided"),
    ("replace avoids late", ["early"] * 10, "holds"),
    ("replace avoids late", ["early"] * 9 + ["late"], "fails"),
    ("replace avoids late", ["early"] * 5, "undecided"),
    ("replace warns before late", ["healthy", "early", "late"], "holds"),
    ("replace warns before late", ["healthy", "late", "early"], "fails"),
    ("replace warns before late", ["healthy", "late"], "fails"),
    ("replace warns before late", ["early", "early"], "undecided"),
    ("replace reaches drifted", ["healthy", "drifted"], "holds"),
    ("replace reaches early", ["drifted"] * 10, "fails"),
    ("replace avoids drifted", ["late"] * 10, "holds"),
])
def test_stage_claims(text, nodes, verdict):
    assert judge(text, stages=stages("replace", *nodes))["verdict"] == verdict


@pytest.mark.parametrize(("percent", "verdict"), [("75", "holds"), ("75.1", "fails")])
def test_share_counts_replicates_by_generations(percent, verdict):
    cells = stages("control", "healthy", "healthy", replicates=["healthy", "healthy", "healthy", "early"])
    found = judge(f"control is healthy in {percent} % of cells", stages=cells)
    assert found["verdict"] == verdict
    assert found["estimate"] == 0.75
    assert "6 of 8 cells" in found["evidence"]


SPREAD, TAILS, MODES = "variance_ratio", "tail_kept", "modes_alive"


@pytest.mark.parametrize(("text", "bands", "verdict"), [
    # half of what control keeps must lie outside, or late cannot be seen; a smaller loss will do for early
    ("replace avoids late", {SPREAD: (0.6, 1.4)}, "holds"), ("replace avoids late", {SPREAD: (0.5, 1.4)}, "blind"),
    ("replace avoids early", {SPREAD: (0.4, 1.4)}, "holds"), ("replace avoids early", {SPREAD: (0.0, 1.4)}, "blind"),
    ("replace reaches late", {SPREAD: (0.6, 1.4)}, "fails"), ("replace reaches late", {SPREAD: (0.4, 1.4)}, "blind"),
    # tails that are measured must be able to show a loss, which is early and not late
    ("replace avoids early", {SPREAD: (0.4, 1.4), TAILS: (0.1, 2)}, "holds"),
    ("replace avoids early", {SPREAD: (0.4, 1.4), TAILS: (0.0, 2)}, "blind"),
    ("replace avoids late", {SPREAD: (0.6, 1.4), TAILS: (0.0, 2)}, "holds"),
    ("replace avoids late", {SPREAD: (0.4, 1.4), MODES: (0.9, 1)}, "blind"),
    ("replace avoids late", {SPREAD: (0.6, 1.4), MODES: (0.0, 1)}, "holds"),
    ("replace avoids late", {SPREAD: (0.4, 1.4), "total_variance_ratio": (0.6, 1.4)}, "holds"),  # one of a family
    ("replace avoids late", {"central_ratio": (0.6, 1.4)}, "blind"),  # it speaks only beside another
    ("replace avoids distorted", {SPREAD: (0.0, 1.4)}, "holds"),
    ("replace avoids distorted", {SPREAD: (0.0, np.inf)}, "blind"),
    ("replace avoids distorted", {"label_agreement": (0.5, 1.0)}, "holds"),
    ("replace avoids distorted", {"label_agreement": (0.0, 1.0)}, "blind"),
    ("replace avoids drifted", {"mean_shift": (-1, 0.3)}, "holds"),
    ("replace avoids drifted", {"mean_shift": (-1, np.inf)}, "blind"),
    ("replace avoids drifted", {SPREAD: (0.6, 1.4)}, "blind"), ("replace avoids early", {}, "blind"),
    ("replace is healthy in 95 % of cells", {SPREAD: (0.4, 1.4)}, "holds"),
    ("replace is healthy in 95 % of cells", {SPREAD: (0.0, np.inf)}, "blind"),
    ("replace is late in 5 % of cells", {SPREAD: (0.6, 1.4)}, "fails"),
    ("replace is late in 5 % of cells", {SPREAD: (0.4, 1.4)}, "blind"),
])
def test_a_stage_that_nothing_could_have_shown_is_blind(text, bands, verdict):
    def band(metric, feature="", **_):
        low, high = bands[metric]  # KeyError: not calibrated
        return SimpleNamespace(low=low, high=high, center=1.0)

    data = table(**{f"replace__{name}": FLAT for name in (SPREAD, TAILS, MODES, "energy", *bands)})
    healthy = stages("replace", *["healthy"] * 10)
    keys = {"bands": {"replace": SimpleNamespace(band=band)}, "facts": facts()}
    found = judge(text, data, healthy, **keys)
    assert found["verdict"] == verdict, found
    assert ("could have" in found["evidence"]) == (verdict == "blind")
    assert found["estimate"] == {"replace is healthy": 1.0, "replace is late in": 0.0}.get(text[:18])
    assert judge(text, data, healthy, bands=keys["bands"])["verdict"] != "blind"  # nobody said what they can be
    seen = "late" if "late" in text else "distorted" if "distorted" in text else "drifted" if "drifted" in text \
        else "early"
    assert judge(text, data, stages("replace", *["healthy"] * 9, seen), **keys)["verdict"] != "blind"


def test_evidence_of_stages_says_when_and_how_often():
    cells = stages("replace", "healthy", "early", "late", "late", replicates=["late", "early", "healthy"])
    late = judge("replace reaches late", stages=cells)["evidence"]
    assert "first at generation 3, as are 1 of 3 replicates judged alone; it is so at 2 of 4 generations" in late
    early = judge("replace reaches early", stages=cells)["evidence"]
    assert "first at generation 2, as are 2 of 3 replicates judged alone; it is so at 3 of 4 generations" in early
    assert "at generation 2, 1 generation before it is" in judge("replace warns before late", stages=cells)["evidence"]
    later = stages("replace", "early", "healthy", "healthy", "late")
    assert "at generation 1, 3 generations before it is" in judge("replace warns before late", stages=later)["evidence"]
    for nodes, words in ((["healthy"], " nor "), (["healthy", "early"], "from generation 2")):
        assert words in judge("replace warns before late", stages=stages("replace", *nodes))["evidence"]
    many = stages("control", *["healthy"] * 3, "early", replicates=["healthy"] * 20)
    found = judge("control is healthy in 95 % of cells", stages=many)
    assert "80 of 80 cells of control (100.0 %)" in found["evidence"] and "they are" in found["evidence"]
    assert found["evidence"].endswith("at generation 4.")
    alone = stages("control", *["healthy"] * 3, "early", replicates=["healthy"])
    assert "they are" not in judge("control is healthy in 95 % of cells", stages=alone)["evidence"]


@pytest.mark.parametrize(("values", "words"), [
    ([1, 1, 0.5], "first at generation 3 (0.5) and is the last one judged."),
    ([1, 0.5, 0.4], "first at generation 2 (0.5) and stays there; at generation 3 it is 0.4."),
    ([1, 0.5, 1], "first at generation 2 (0.5) and is back at generation 3; at generation 3 it is 1."),
    ([0.9, 0.85, 1], "is never below the control band [0.8, 1.2] up to generation 3; the nearest is 0.85 at generation "
                     "2"),
])
def test_evidence_of_a_band_says_when_and_how_near(values, words):
    data = table(replace=np.array(values)[:, None] * np.ones(6))
    assert words in judge("replace.tail_ratio leaves the control band below by generation 3", data)["evidence"]


@pytest.mark.parametrize(("text", "where", "allowed"), [
    ("does not rise by more than 0.1", 2, "0.1"), ("does not fall by more than 0.1", 3, "−0.1"),
    ("keeps within 0.1", 2, "±0.1"), ("keeps within 10 %", 2, "±10 %")])
def test_evidence_of_a_denial_names_the_generation_that_went_farthest(text, where, allowed):
    data = table(replace=np.array([1.0, 1.05, 0.98, 1.0])[:, None] * np.ones(6))
    found = judge(f"replace.tail_ratio {text} until generation 4", data)
    assert found["verdict"] == "holds" and found["generation"] == where and found["p"] == 2.0**-6
    assert f"from generation 1 to {where} is" in found["evidence"]
    assert f", against {allowed}, the farthest of 3 generations" in found["evidence"]
    gone = judge(f"replace.tail_ratio {text} until generation 4",
                 table(replace=np.array([1.0, 1.02, 0.98, 1.3 if "fall" not in text else 0.7])[:, None] * np.ones(6)))
    assert (gone["verdict"], gone["generation"]) == ("fails", 4)
    between = np.array([1.0, 1.02, 0.98, 1.0])[:, None] + np.where(np.arange(4)[:, None] == 2, 5 * PATHS, PATHS / 9)
    worst = judge(f"replace.tail_ratio {text} until generation 4", table(replace=between))
    assert (worst["verdict"], worst["generation"]) == ("undecided", 3)


def test_a_level_is_from_50_percent_on_and_below_100():
    for level, right in (("50", True), ("49.9", False), ("99.9", True), ("100", False)):
        text = f"replace.tail_ratio falls at {level} %"
        if right:
            assert parse(text).statement.level == pytest.approx(float(level) / 100)
        else:
            with pytest.raises(InputError):
                parse(text)


def test_evidence_counts_in_words():
    wide = judge("replace.tail_ratio stays inside the control band until generation 3", table(replace=FALL))
    assert wide["evidence"].endswith(
        "at all of 3 generations, but its one-sided 95 % bounds are [0.77, 0.83] at generation 3.")
    above = table(replace=np.array([1.0, 1.15, 0.9])[:, None] * np.ones(6))
    assert "the nearest is 1.15 at generation 2" in judge(
        "replace.tail_ratio leaves the control band above by generation 3", above)["evidence"]
    inside = judge("replace.tail_ratio stays inside the control band until generation 3", above)
    assert "runs from 0.9 to 1.15 and is inside the control band [0.8, 1.2] at all of 3 generations" in \
        inside["evidence"] and inside["p"] == 2.0**-6
    out = judge("replace.tail_ratio stays inside the control band", table(replace=FALL))
    assert "first at generation 4 (0.7), at 7 of 10 generations in all" in out["evidence"]
    one = judge("replace.tail_ratio leaves the control band below", table(replace=FALL[:, :1]))
    assert "The median over one replicate is below" in one["evidence"]
    gone = judge("replace.tail_ratio stays inside the control band",
                 table(replace=np.where(PATHS > 0.02, np.nan, FLAT)))
    assert "over 6 replicates, 1 of which have no number at some generation," in gone["evidence"]
    sure = judge("replace.tail_ratio < 2", table(replace=np.ones((10, 40))))
    assert "(p < 0.000001)" in sure["evidence"] and "(p = 0.016)" in judge(
        "replace.tail_ratio < 2", table(replace=np.ones((10, 6))))["evidence"]
    assert ", against 2" in sure["evidence"]
    assert "against" not in judge("replace.tail_ratio > 0", table(replace=np.ones((10, 6))))["evidence"]


def test_a_law_is_judged_by_its_judge():
    item = {"law": "drift", "branch": "replace", "source": "Kimura"}
    claims = parse_claims([item], "f", BRANCHES, METRICS, ["drift"])
    judges = {"drift": lambda records, branch, feature: ("fails", f"{branch} has {len(records.table)} values.")}
    found = evaluate(claims, table(replace=FLAT[:, :3]), {}, {}, laws=judges)[0]
    assert (found["verdict"], found["evidence"], found["claim"]) == ("fails", "Replace has 30 values.",
                                                                     "replace follows drift")
    assert "law" not in found
    assert evaluate(claims, table(replace=FLAT), {}, {})[0]["verdict"] == "undecided"


def test_a_law_is_asked_of_its_feature_and_may_say_more():
    item = {"law": "drift", "branch": "replace", "feature": "x1+x2"}
    whole, part = parse_claims([{"law": "drift", "branch": "replace"}, item], "f", BRANCHES, METRICS, ["drift"])
    assert (whole.statement, part.statement) == (Law("drift", "replace"), Law("drift", "replace", "x1+x2"))
    assert (whole.text, part.text) == ("replace follows drift", "replace follows drift[x1+x2]")
    asked = []

    def judge_it(records, branch, feature):
        asked.append((branch, feature))
        return "holds", "it does.", {"mutants": [{"name": "n for n − 1", "rejected": True}]}

    found = evaluate([whole, part], table(), {}, {}, laws={"drift": judge_it})
    assert asked == [("replace", ""), ("replace", "x1+x2")]
    assert found[1]["law"] == {"mutants": [{"name": "n for n − 1", "rejected": True}]}
    assert json.dumps(found)


# ---------------------------------------------------------------------------------------------- bias

NOISE = 0.02 * Rng("claims", "bias").normal((10, 60))
GROWS, SHRINKS, STAYS = (0.5 * g ** np.arange(10)[:, None] + NOISE for g in (1.2, 0.7, 1.0))
SLOW = 0.5 * 0.97 ** np.arange(10)[:, None] + NOISE  # 3 % a generation, a quarter in all


@pytest.mark.parametrize(("values", "amplifies", "keeps", "corrects"), [
    (GROWS, "holds", "fails", "fails"), (STAYS, "undecided", "holds", "undecided"),
    (SHRINKS, "fails", "fails", "holds"), (NOISE, "undecided", "undecided", "undecided"),
    (SLOW, "fails", "fails", "holds"), (-SHRINKS, "fails", "fails", "holds"), (-GROWS, "holds", "fails", "fails"),
    (STAYS * np.linspace(1, -0.5, 10)[:, None], "fails", "fails", "holds"),  # it turns round, and is less
    (STAYS * np.linspace(1, -3, 10)[:, None], "undecided", "fails", "undecided"),  # it turns round, and is more
    (STAYS[:, :2], "undecided", "undecided", "undecided"), (STAYS[:, :5], "undecided", "undecided", "undecided"),
    (np.where(np.arange(60) == 3, np.nan, STAYS), "undecided", "undecided", "undecided"),
])
def test_bias_claims(values, amplifies, keeps, corrects):
    data = table(replace__fit_mean=values)
    found = [judge(f"replace.fit_mean {verb}", data)["verdict"]
             for verb in ("amplifies its bias", "keeps its bias within 10 %", "corrects its bias")]
    assert found == [amplifies, keeps, corrects]


def test_a_bias_claim_rests_on_what_is_left_of_it_in_all():
    found = judge("replace.fit_share amplifies its bias around 0.3 from generation 2 until generation 6",
                  table(replace__fit_share=GROWS + 0.3))
    gain = loop_gain(GROWS[1:6], level=0.9)
    assert [found["estimate"], found["low"], found["high"]] == \
        pytest.approx([gain.total, gain.total_low, gain.total_high], 1e-5)
    assert found["low"] < 1.2**4 < found["high"] and found["generation"] == 6
    assert f"{gain.estimate:.4g} per generation" in found["evidence"]
    assert f"goes from {gain.bias[0]:.3g} [" in found["evidence"]


@pytest.mark.parametrize(("levels", "verb"), [
    ((0.5, 5.0, 0.01, 1.0), "amplifies its bias"), ((0.5, -5.0, 0.01, 1.0), "amplifies its bias"),
    ((0.5, 0.01, 5.0, 0.1), "corrects its bias"),
    ((0.5, 5.0, 0.01, 0.52), "keeps its bias within 10 %"), ((0.5, 0.01, 5.0, 0.48), "keeps its bias within 10 %")])
def test_a_bias_claim_looks_at_both_ends_alone(levels, verb):
    values = 0.3 + np.array(levels)[:, None] + NOISE[:4] / 4
    found = judge(f"replace.fit_share {verb} around 0.3 until generation 4", table(replace__fit_share=values))
    assert found["verdict"] == "holds" and found["p"] < 1e-6
    assert found["estimate"] == pytest.approx(levels[-1] / levels[0], rel=0.05)


def test_a_bias_is_not_judged_without_its_generations_or_replicates():
    for values, words in ((GROWS[:5], "not measured from generation 1 to 10"), (GROWS[:, :1], "One replicate of"),
                          (GROWS[:, :5], "carried by few paths")):
        found = judge("replace.fit_mean amplifies its bias", table(replace__fit_mean=values))
        assert found["verdict"] == "undecided" and words in found["evidence"], found
    assert "there is none to speak of" in judge("replace.fit_mean keeps its bias within 10 %",
                                                table(replace__fit_mean=NOISE))["evidence"]


def test_names_alone_know_no_truth():
    with pytest.raises(InputError, match="add 'around NUMBER'"):
        parse_claims(["replace.fit_mean corrects its bias"], "f", BRANCHES, tuple(METRICS))
