"""Claims: the grammar, its refusals, and verdicts against independent statistics."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from collapse.claims import (
    Bias,
    Compare,
    Law,
    Leaves,
    Reaches,
    Series,
    Share,
    Stays,
    Trend,
    Warns,
    evaluate,
    mean_interval,
    median_interval,
)
from collapse.errors import InputError
from collapse.gain import loop_gain
from collapse.metrics.base import Fact
from collapse.rng import Rng
from collapse.sentences import parse_claims

BRANCHES = {
    "control": SimpleNamespace(first=1, last=10), "replace": SimpleNamespace(first=1, last=10),
    "accumulate": SimpleNamespace(first=1, last=10), "rescue": SimpleNamespace(first=6, last=8),
    "median": SimpleNamespace(first=1, last=10),
}
METRICS = {
    "tail_ratio": Fact("tails", 1.0, "below", "", ""), "variance_ratio": Fact("spread", 1.0, "below", "", ""),
    "energy": Fact("drift", 0.0, "above", "", ""), "fit_mean": Fact("fit", 0.0, "either", "", ""),
    "fit_share": Fact("fit", 0.0, "either", "", ""), "fit_width": Fact("fit", np.nan, "either", "", ""),
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
     Leaves(Series("replace", "tail_ratio", median=True), "either", 10)),
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
    ("median replace.energy falls", Trend(Series("replace", "energy", median=True), "falls", 1, 10)),
    ("rescue.energy rises until generation 7", Trend(Series("rescue", "energy"), "rises", 6, 7)),
    ("replace.energy rises at 99 %", Trend(Series("replace", "energy"), "rises", 1, 10, 0.99)),
    ("replace.energy does not rise until generation 9 at 99.9%",
     Trend(Series("replace", "energy"), "rises", 1, 9, 0.999, denied=True)),
    ("replace.energy does not fall", Trend(Series("replace", "energy"), "falls", 1, 10, denied=True)),
    ("replace.energy levels off", Trend(Series("replace", "energy"), "levels off", 1, 10)),
    ("replace reaches late by generation 8", Reaches("replace", "late", 8)),
    ("accumulate avoids distorted", Reaches("accumulate", "distorted", 10, avoids=True)),
    ("replace warns before late", Warns("replace")),
    ("control is healthy in 95 % of cells", Share("control", "healthy", 95)),
    ("control is healthy in at least 99.5% of cells", Share("control", "healthy", 99.5)),
    ("median is healthy in 95 % of cells", Share("median", "healthy", 95)),
    ("replace.fit_mean amplifies its bias", Bias(Series("replace", "fit_mean"), "amplifies", 0.0, 1, 10)),
    ("rescue.variance_ratio keeps its bias", Bias(Series("rescue", "variance_ratio"), "keeps", 1.0, 6, 8)),
    ("replace.fit_share[w005] corrects its bias around 0.05 until generation 9",
     Bias(Series("replace", "fit_share", "w005"), "corrects", 0.05, 1, 9)),
    ("replace.fit_mean keeps its bias from generation 2", Bias(Series("replace", "fit_mean"), "keeps", 0.0, 2, 10)),
    ("replace.energy keeps its bias around -.5 from generation 2 until generation 4",
     Bias(Series("replace", "energy"), "keeps", -0.5, 2, 4)),
    ("median median.energy < 2", Compare(Series("median", "energy", median=True), "<", 2.0, 10)),
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
    ("replace.tail_ratio rises at 30 %", "30 % is no level for an interval"),
    ("replace.tail_ratio rises at generation 3", "'generation' is not a number"),
    ("replace.tail_ratio rises at 99 % until generation 3", "'until' is one word too many"),
    ("replace warns before late again", "'again' is one word too many"),
    ("control is healthy in 120 % of cells", "120 is not a percentage"),
    ("rescue.energy rises until generation 6", "a trend needs two generations"),
    ("replace.fit_mean amplfies its bias", "'amplfies' cannot stand here; did you mean 'amplifies'?"),
    ("replace.fit_mean amplifies", "ends after 'amplifies'; 'its' must follow"),
    ("replace.fit_mean amplifies its baias", "'baias' cannot stand here; did you mean 'bias'?"),
    ("replace.fit_mean keeps its bias arround 3", "'arround' cannot stand here; did you mean 'around'?"),
    ("replace.fit_mean keeps its bias around three", "'three' is not a number"),
    ("replace.fit_mean keeps its bias around", "ends after 'around'; a number must follow"),
    ("replace.fit_mean keeps its bias until generation 4 from generation 2", "'from' is one word too many"),
    ("replace.fit_mean keeps its bias from generation 2 around 0.5", "'around' cannot stand here"),
    ("replace.fit_mean keeps its bias from generation 4 until generation 4", "a gain needs two generations"),
    ("rescue.fit_mean keeps its bias from generation 5", "generation 5 is not one of 'rescue', which has 6 to 8"),
    ("replace.fit_mean keeps its bias until 5", "'5' cannot stand here; choose from generation"),
    ("replace keeps its bias", "'keeps' cannot stand here"),
    ("median replace.fit_mean keeps its bias", "a bias is of the mean over replicates; leave 'median' out"),
    ("replace.energy keeps its bias", "what is true of 'energy' depends on the data; add 'around NUMBER' after 'bias'"),
    ("replace.fit_share[w005] keeps its bias", "add 'around NUMBER' after 'bias'; 'fit_bias' is a share less the"),
    ("replace.fit_width keeps its bias", "what is true of 'fit_width' depends on the data"),
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
    rows = []
    for name, values in series.items():
        branch, _, metric = name.partition("__")
        for (t, r), value in np.ndenumerate(np.asarray(values, dtype=float)):
            rows.append((branch, BRANCHES[branch].first + t, r, metric or "tail_ratio", "", value))
    return pd.DataFrame(rows, columns=["branch", "generation", "replicate", "metric", "feature", "value"])


def judge(text, data=None, stages=None, bands=None, **keys):
    bands = {name: Bands() for name in BRANCHES} if bands is None else bands
    return evaluate([parse(text)], table() if data is None else data, stages or {}, bands, **keys)[0]


def stages(branch, *nodes, replicates=None):
    return {branch: {g: {"node": node, "replicates": replicates or [node, node]} for g, node in enumerate(nodes, 1)}}


FALL = np.linspace(1.0, 0.1, 10)[:, None] + np.array([-0.02, 0.0, 0.02])
FLAT = np.ones((10, 3)) + np.array([-0.02, 0.0, 0.02])


@pytest.mark.parametrize(("text", "verdict", "generation"), [
    ("replace.tail_ratio leaves the control band below by generation 10", "holds", 4),
    ("replace.tail_ratio leaves the control band below by generation 3", "fails", 3),
    ("replace.tail_ratio leaves the control band above", "fails", 1),
    ("replace.tail_ratio leaves the control band", "holds", 4),
    ("replace.tail_ratio stays inside the control band", "fails", 4),
    ("replace.tail_ratio stays inside the control band until generation 3", "holds", 3),
    ("accumulate.tail_ratio stays inside the control band", "holds", 10),
    ("accumulate.tail_ratio leaves the control band below", "fails", 1),
])
def test_band_claims(text, verdict, generation):
    # The median falls by 0.1 a generation from 1.0, so it first is below 0.8 at generation 4.
    found = judge(text, table(replace=FALL, accumulate=FLAT))
    assert (found["verdict"], found["generation"]) == (verdict, generation)
    assert "[0.8, 1.2]" in found["evidence"]


def test_a_band_claim_is_not_fooled_by_the_replicates_that_inflate():
    values = np.column_stack([FALL, FALL[:, :1], 1 + 3 * (1 - FALL[:, :1])])  # the mean of five stays above 0.8
    assert values.mean(axis=1).min() > 0.8
    for word in ("", "median "):
        found = judge(f"{word}replace.tail_ratio leaves the control band below", table(replace=values))
        assert (found["verdict"], found["generation"]) == ("holds", 4)
        assert "The median over 5 replicates is" in found["evidence"]


def test_a_band_is_asked_for_the_median_over_replicates_family_wise():
    bands = Bands()
    judge("replace.tail_ratio stays inside the control band", table(replace=FALL), bands={"replace": bands}, cells=30)
    assert bands.asked == [("tail_ratio", "", "model", 3, 30)]


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


def test_a_branch_that_left_its_band_before_it_was_halted_has_left_it():
    found = judge("replace.tail_ratio leaves the control band below", table(replace=FALL[:5]))
    assert (found["verdict"], found["generation"]) == ("holds", 4)


def test_comparison_is_the_paired_t_test():
    noise = Rng("claims", "pairs").normal((3, 12))
    shared = 5 * noise[0]  # common random numbers: large, and the same in both branches
    left, right = shared + 0.1 * noise[1] - 0.3, shared + 0.1 * noise[2]
    data = table(replace=np.tile(left, (10, 1)), accumulate=np.tile(right, (10, 1)))
    found = judge("replace.tail_ratio < accumulate.tail_ratio", data)
    expected = stats.ttest_rel(left, right).confidence_interval(0.95)
    assert [found["low"], found["high"]] == pytest.approx(list(expected), rel=1e-4)
    assert found["verdict"] == "holds"
    assert stats.ttest_ind(left, right).pvalue > 0.5  # unpaired, nothing would show
    assert judge("replace.tail_ratio > accumulate.tail_ratio", data)["verdict"] == "fails"


def test_comparison_pairs_by_replicate_not_by_place():
    data = table(replace=[[1.0, 2.0, 4.0]] * 10, accumulate=[[1.5, 2.6, 4.4]] * 10)
    shuffled = data.sample(frac=1, random_state=0)
    text = "replace.tail_ratio < accumulate.tail_ratio at generation 3"
    assert judge(text, shuffled) == judge(text, data)
    assert judge(text, data)["estimate"] == pytest.approx(-0.5)


@pytest.mark.parametrize(("values", "verdict"), [
    ([0.1, 0.2, 0.3], "holds"), ([0.7, 0.8, 0.9], "fails"), ([0.1, 0.5, 0.9], "undecided"), ([0.3], "undecided"),
    ([0.5, 0.5, 0.5], "fails"),
])
def test_comparison_with_a_number(values, verdict):
    assert judge("replace.tail_ratio < 0.5", table(replace=[values] * 10))["verdict"] == verdict


def test_the_median_tells_what_the_mean_hides():
    # One replicate in seven explodes: the mean is far above 0.5, nearly every path is far below.
    values = [[0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 40.0]] * 10
    assert judge("replace.tail_ratio < 0.5", table(replace=values))["verdict"] == "undecided"
    assert judge("median replace.tail_ratio < 20", table(replace=values))["verdict"] == "undecided"
    assert judge("median replace.tail_ratio < 41", table(replace=values))["verdict"] == "holds"


def test_trend_is_the_slope_of_each_replicate():
    values = FALL + 0.01 * Rng("claims", "trend").normal((10, 3))
    found = judge("replace.tail_ratio falls", table(replace=values))
    slopes = np.array([stats.linregress(np.arange(10), values[:, r]).slope for r in range(3)])
    assert found["estimate"] == pytest.approx(slopes.mean(), rel=1e-4)
    low, high = stats.t.interval(0.95, 2, slopes.mean(), stats.sem(slopes))
    assert [found["low"], found["high"]] == pytest.approx([low, high], rel=1e-3)
    assert found["verdict"] == "holds"
    assert judge("replace.tail_ratio rises", table(replace=values))["verdict"] == "fails"
    assert judge("replace.tail_ratio falls", table(replace=1 + np.zeros((10, 3))))["verdict"] == "fails"

    sure = judge("replace.tail_ratio falls at 99 %", table(replace=values))
    low, high = stats.t.interval(0.99, 2, slopes.mean(), stats.sem(slopes))
    assert [sure["low"], sure["high"]] == pytest.approx([low, high], rel=1e-3)
    assert "99 % interval" in sure["evidence"]


def test_a_trend_denied_holds_wherever_none_is_shown():
    unsure = FLAT + np.linspace(0, 1, 10)[:, None] * np.array([-1.0, 1.0, 2.0])
    for values, verdict in ((FALL, "holds"), (unsure, "holds"), (1 - FALL, "fails"), (FLAT[:, :1], "undecided")):
        assert judge("replace.tail_ratio does not rise", table(replace=values))["verdict"] == verdict
    assert judge("replace.tail_ratio rises", table(replace=unsure))["verdict"] == "undecided"
    assert judge("replace.tail_ratio does not fall", table(replace=FALL))["verdict"] == "fails"


def test_a_series_levels_off_if_its_last_half_is_flat_beside_its_first():
    noise = 0.01 * Rng("claims", "plateau").normal((10, 4))
    time = np.arange(10.0)[:, None]
    for values, verdict in (
        (1 - np.exp(-time) + noise, "holds"),
        (np.exp(-time) + noise, "holds"),
        (time + noise, "fails"),
        (time**2 + noise, "fails"),
        (np.minimum(time, 9 - time) + noise, "holds"),  # it turns: whatever comes, it no longer rises
        (0 * time + noise, "undecided"),
    ):
        found = judge("replace.tail_ratio levels off at 99 %", table(replace=values))
        assert found["verdict"] == verdict, found
    assert judge("rescue.tail_ratio levels off", table(rescue=FALL[:3]))["verdict"] == "undecided"
    low, high = (judge("replace.tail_ratio levels off", table(replace=np.minimum(time, 5) + noise))[k]
                 for k in ("low", "high"))
    assert low < high < 0


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


def test_a_law_is_judged_by_its_judge():
    item = {"law": "drift", "branch": "replace", "source": "Kimura"}
    claims = parse_claims([item], "f", BRANCHES, METRICS, ["drift"])
    judges = {"drift": lambda records, branch, feature: ("fails", f"{branch} has {len(records.table)} values.")}
    found = evaluate(claims, table(replace=FLAT), {}, {}, laws=judges)[0]
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

NOISE = 0.02 * Rng("claims", "bias").normal((10, 40))
GROWS, SHRINKS, STAYS = (0.5 * g ** np.arange(10)[:, None] + NOISE for g in (1.2, 0.7, 1.0))


@pytest.mark.parametrize(("values", "amplifies", "keeps", "corrects"), [
    (GROWS, "holds", "fails", "fails"), (STAYS, "undecided", "holds", "undecided"),
    (SHRINKS, "fails", "fails", "holds"), (NOISE, "undecided", "undecided", "undecided"),
    (STAYS[:, :3] + 20 * NOISE[:, :3], "undecided", "undecided", "undecided"),  # three replicates, much noise
])
def test_bias_claims(values, amplifies, keeps, corrects):
    data = table(replace__fit_mean=values)
    found = [judge(f"replace.fit_mean {verb} its bias", data)["verdict"] for verb in ("amplifies", "keeps", "corrects")]
    assert found == [amplifies, keeps, corrects]


def test_a_bias_claim_rests_on_the_loop_gain_around_its_truth():
    found = judge("replace.fit_share amplifies its bias around 0.3 from generation 2 until generation 6",
                  table(replace__fit_share=GROWS + 0.3))
    gain = loop_gain(GROWS[1:6])
    assert [found["estimate"], found["low"], found["high"]] == pytest.approx([gain.estimate, gain.low, gain.high], 1e-5)
    assert found["low"] < 1.2 < found["high"] and found["generation"] == 6
    assert f"per generation from 2 to 6 is {gain.estimate:.4g}, 95 % interval [" in found["evidence"]
    assert f"its bias against 0.3 goes from {gain.bias[0]:.3g} [" in found["evidence"]


def test_a_bias_is_not_judged_without_its_generations_or_replicates():
    for values, words in ((GROWS[:5], "not measured from generation 1 to 10"), (GROWS[:, :1], "One replicate of")):
        found = judge("replace.fit_mean amplifies its bias", table(replace__fit_mean=values))
        assert found["verdict"] == "undecided" and words in found["evidence"]
    assert "there is none to speak of" in judge("replace.fit_mean keeps its bias",
                                                table(replace__fit_mean=NOISE))["evidence"]


def test_names_alone_know_no_truth():
    with pytest.raises(InputError, match="add 'around NUMBER'"):
        parse_claims(["replace.fit_mean keeps its bias"], "f", BRANCHES, tuple(METRICS))
