"""Every closed form against simulation through the library's own classes, with its mutants; and printed values."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from collapse import laws, loop
from collapse.errors import InputError
from collapse.laws import budget, effective, gaussian, real, verification
from collapse.laws import categorical as drift
from collapse.laws.base import Judgement, Law, Mutant, Pivot, chain, direct, known_mean, plain, steps
from collapse.registry import find
from collapse.rng import Rng
from collapse.study.files import read_yaml
from collapse.study.parse import parse_study

ROOT = Path(__file__).parents[1]


def simulate(model, regime, n, t, replicates, source=None, seed=0, name="laws"):
    """Return the paths of a branch in memory."""

    def make(group, body):
        body = dict(body)
        return find(group, body.pop("kind"))(**body)

    return loop.run(
        make("sources", source or {"kind": "gaussian"}),
        make("models", model),
        make("regimes", regime),
        n,
        t,
        replicates,
        seed=seed,
        name=name,
    ).paths


def zipf(k, exponent=1.0):
    p = np.arange(1, k + 1, dtype=float) ** -exponent
    return tuple((p / p.sum()).tolist())


NORMAL = {"kind": "gaussian", "ddof": 1}
LIKELY = {"kind": "gaussian", "ddof": 0}
WIDE = {"kind": "gaussian", "dim": 3}
WORDS = {"kind": "zipf", "categories": 60}
COUNTS = {"kind": "categorical"}
REPLACE, ACCUMULATE = {"kind": "replace"}, {"kind": "accumulate"}
SUBSAMPLE, RESERVOIR = {"kind": "subsample"}, {"kind": "reservoir"}
#: Law, its settings, model, regime, n, generations, replicates, source.
CASES = [
    ("gaussian.replace.variance", {"n": 6, "ddof": 1}, NORMAL, REPLACE, 6, 12, 6000, None),
    ("gaussian.replace.variance", {"n": 15, "ddof": 0}, LIKELY, REPLACE, 15, 30, 4000, None),
    ("gaussian.replace.typical", {"n": 7, "ddof": 1}, NORMAL, REPLACE, 7, 40, 1000, None),
    ("gaussian.replace.typical", {"n": 9, "ddof": 0, "d": 3}, LIKELY, REPLACE, 9, 10, 2000, WIDE),
    ("gaussian.replace.error", {"n": 6, "ddof": 1}, NORMAL, REPLACE, 6, 12, 6000, None),
    ("gaussian.replace.error", {"n": 15, "ddof": 0}, LIKELY, REPLACE, 15, 20, 4000, None),
    ("gaussian.replace.w2", {"n": 8, "ddof": 1}, NORMAL, REPLACE, 8, 15, 8000, None),
    ("gaussian.replace.w2", {"n": 15, "ddof": 0}, LIKELY, REPLACE, 15, 20, 4000, None),
    ("gaussian.accumulate.variance", {"n": 5, "ddof": 1}, NORMAL, ACCUMULATE, 5, 12, 8000, None),
    ("gaussian.accumulate.variance", {"n": 8, "ddof": 0}, LIKELY, ACCUMULATE, 8, 15, 8000, None),
    ("gaussian.accumulate.error", {"n": 8, "ddof": 0}, LIKELY, ACCUMULATE, 8, 15, 4000, None),
    ("gaussian.refresh.variance", {"n": 10, "m": 2}, LIKELY, {"kind": "refresh", "real": 0.2}, 10, 12, 8000, None),
    ("gaussian.refresh.error", {"n": 10, "m": 2}, LIKELY, {"kind": "refresh", "real": 0.2}, 10, 12, 8000, None),
    ("gaussian.anchor.variance", {"n": 10, "m": 3}, LIKELY, {"kind": "anchor", "real": 0.3}, 10, 12, 8000, None),
    ("gaussian.anchor.error", {"n": 10, "m": 3}, LIKELY, {"kind": "anchor", "real": 0.3}, 10, 12, 8000, None),
    ("gaussian.redraw.variance", {"n": 10, "m": 2}, LIKELY, {"kind": "redraw", "real": 0.2}, 10, 12, 12000, None),
    ("gaussian.redraw.error", {"n": 10, "m": 2}, LIKELY, {"kind": "redraw", "real": 0.2}, 10, 12, 8000, None),
    ("gaussian.subsample.variance", {"n": 8, "ddof": 0}, LIKELY, SUBSAMPLE, 8, 10, 12000, None),
    ("gaussian.subsample.error", {"n": 8, "ddof": 0}, LIKELY, SUBSAMPLE, 8, 10, 8000, None),
    ("gaussian.subsample.variance", {"n": 6, "ddof": 1}, NORMAL, SUBSAMPLE, 6, 10, 12000, None),
    ("gaussian.reservoir.variance", {"n": 8, "ddof": 0}, LIKELY, RESERVOIR, 8, 10, 5000, None),
    ("gaussian.reservoir.error", {"n": 8, "ddof": 0}, LIKELY, RESERVOIR, 8, 10, 5000, None),
    ("mean.subsample.error", {"n": 8}, {"kind": "gaussian", "variance": 1.0}, SUBSAMPLE, 8, 10, 8000, None),
    ("mean.reservoir.error", {"n": 8}, {"kind": "gaussian", "variance": 1.0}, RESERVOIR, 8, 10, 5000, None),
    (
        "mean.weighted.error",
        {"n": 12, "n_real": 6, "n_synth": 12, "weight": 0.5},
        {"kind": "gaussian", "variance": 1.0},
        {"kind": "weighted", "real": "golden", "n_real": 6},
        12,
        10,
        8000,
        None,
    ),
    (
        "mean.weighted.error",
        {"n": 12, "n_real": 12, "n_synth": 12, "weight": 0.3},
        {"kind": "gaussian", "variance": 1.0},
        {"kind": "weighted", "real": 0.3},
        12,
        10,
        8000,
        None,
    ),
    (
        "regression.replace.error",
        {"n": 14, "d": 4, "noise": 0.5},
        {"kind": "regression", "noise": 0.5},
        REPLACE,
        14,
        8,
        4000,
        {"kind": "regression", "dim": 4, "noise": 0.5},
    ),
    (
        "regression.accumulate.error",
        {"n": 14, "d": 4},
        {"kind": "regression", "noise": 1.0},
        ACCUMULATE,
        14,
        8,
        4000,
        {"kind": "regression", "dim": 4},
    ),
    (
        "regression.accumulate.error",
        {"n": 14, "d": 4, "design": "same"},
        {"kind": "regression", "noise": 1.0, "design": "same"},
        ACCUMULATE,
        14,
        8,
        4000,
        {"kind": "regression", "dim": 4},
    ),
    ("kde.replace.variance", {"n": 12, "width": 0.4}, {"kind": "kde", "bandwidth": 0.4}, REPLACE, 12, 12, 6000, None),
    ("categorical.replace.simpson", {"n": 50, "shares": zipf(60)}, COUNTS, REPLACE, 50, 15, 4000, WORDS),
    ("categorical.accumulate.simpson", {"n": 40, "shares": zipf(60)}, COUNTS, ACCUMULATE, 40, 15, 8000, WORDS),
    ("categorical.subsample.simpson", {"n": 30, "shares": zipf(60)}, COUNTS, SUBSAMPLE, 30, 10, 8000, WORDS),
    ("categorical.reservoir.simpson", {"n": 30, "shares": zipf(60)}, COUNTS, RESERVOIR, 30, 10, 5000, WORDS),
    (
        "categorical.replace.share",
        {"n": 50, "shares": zipf(60), "code": 1, "feature": "w002"},
        COUNTS,
        REPLACE,
        50,
        20,
        2000,
        WORDS,
    ),
    (
        "categorical.replace.extinction",
        {"n": 100, "shares": zipf(60), "feature": "c=5"},
        COUNTS,
        REPLACE,
        100,
        15,
        1500,
        WORDS,
    ),
    (
        "categorical.replace.extinction_limit",
        {"n": 100, "shares": zipf(60), "feature": "c=2"},
        COUNTS,
        REPLACE,
        100,
        15,
        1500,
        WORDS,
    ),
    ("categorical.replace.survivors", {"n": 80, "shares": zipf(60)}, COUNTS, REPLACE, 80, 10, 1000, WORDS),
    (
        "categorical.replace.fixation",
        {"n": 5, "shares": zipf(4), "code": 0, "feature": "w001", "first": 5},
        COUNTS,
        REPLACE,
        5,
        25,
        6000,
        {"kind": "zipf", "categories": 4},
    ),
]


@pytest.mark.parametrize(("name", "settings", "model", "regime", "n", "t", "replicates", "source"), CASES)
def test_the_law_holds_and_every_mutant_is_rejected(name, settings, model, regime, n, t, replicates, source):
    found = laws.find(name)(**settings).judge(simulate(model, regime, n, t, replicates, source))
    assert found.verdict == "holds", (found.sentence, found.mutants)
    assert len(found.mutants) >= 2


def test_a_form_that_says_nothing_at_one_look_is_told_apart_at_another():
    pivot = Pivot(np.zeros(2), np.full(2, 0.1), np.asarray, 100)
    needed = pivot.needed(np.array([np.nan, 1.0]), np.zeros(2), 1)
    assert needed is not None and needed == pivot.needed(np.array([0.0, 1.0]), np.zeros(2), 1)


def test_every_law_is_tried():
    assert {case[0] for case in CASES} == set(laws.names())
    for name in laws.names():
        law = laws.find(name)
        assert law.source and law.__doc__ and law.label in ("exact", "limit", "first order")


def test_printed_values():
    """The figures of the literature, and those that were re-simulated before this was written."""
    assert gaussian._w2(20, 10, 1) == pytest.approx(2.851, abs=6e-4)
    assert gaussian._w2(20, 10, 0) == pytest.approx(1.599, abs=6e-4)
    assert np.exp(20 * gaussian.log_step(10, 1)[0]) == pytest.approx(0.0998, abs=6e-5)
    assert gaussian.accumulate_variance(20, 10, 0)[0] == pytest.approx(0.8476, abs=6e-5)
    assert gaussian.accumulate_variance(20, 10, 1)[0] == pytest.approx(0.9397, abs=6e-5)
    assert gaussian.accumulate_variance(10**5, 10, 0)[0] == pytest.approx(np.sinc(10**-0.5), abs=1e-5)
    d = 1 - 0.1 + 2 * 1.9
    assert real.refresh(200, 20, 2)[:, -1] == pytest.approx([1 - 1 / d, 1 / d])
    assert real.refresh(200, 20, 2)[:, -1] == pytest.approx([0.787, 0.213], abs=6e-4)
    assert real.anchor(300, 20, 2)[:, -1] == pytest.approx([0.5 * (1 - 0.9 / d), 0.5 + 0.5 * 0.9 / d])
    assert real.anchor(300, 20, 2)[:, -1] == pytest.approx([0.404, 0.596], abs=6e-4)
    assert real.redraw(300, 20, 2)[:, -1] == pytest.approx([0.753, 0.249], abs=5e-3)  # simulated
    assert drift.extinction_limit([1, 2, 5, 10, 20], 5)[:, 0] == pytest.approx(
        [0.0067, 0.0424, 0.2101, 0.4226, 0.6324], abs=6e-5
    )
    assert drift.extinction(1, 100, 0.05)[0, 0] == pytest.approx(0.0059, abs=6e-5)
    kernel = laws.find("kde.replace.variance")(n=20, width=0.3)
    assert kernel(16) - 0.09 == pytest.approx(1.358, abs=6e-4)  # the 15th sample
    for n, same, fresh in ((111, 0.155, 0.151), (21, 1.550, 1.325)):
        for design, value in (("same", same), ("fresh", fresh)):
            law = laws.find("regression.accumulate.error")(n=n, d=10, design=design)
            assert law(10)[0] == pytest.approx(value, abs=6e-4)
    assert laws.find("regression.replace.error")(n=111, d=10)(10) == pytest.approx(1.0)
    weights = laws.find("mean.weighted.error")
    for k, w in ((1, 0.618), (0.5, 0.5)):
        n = 100
        golden = find("regimes", "weighted")(real="golden", n_real=int(n * k)).weight(n)[2]
        assert golden == pytest.approx(w, abs=6e-4)
        assert weights(n=n, n_real=int(n * k), n_synth=n, weight=golden)(500) * n * k == pytest.approx(golden)


def test_the_golden_weight_is_the_best():
    w = find("regimes", "weighted")(real="golden", n_real=30).weight(40)[2]
    limit = {
        x: laws.find("mean.weighted.error")(n=40, n_real=30, n_synth=40, weight=x)(2000)
        for x in (w - 0.05, w, w + 0.05)
    }
    assert min(limit, key=limit.get) == w


def test_a_true_law_is_hardly_ever_rejected():
    """One family-wise level: of 300 runs at 5 %, no more are rejected than chance allows (binomial, 0.1 %)."""
    from scipy.stats import binom

    for name, settings, model, regime, n, t, _, source in (
        CASES[:2] + CASES[4:5] + CASES[7:8] + CASES[15:16] + CASES[36:37]
    ):
        law = laws.find(name)(**settings)
        paths, rejected = simulate(model, regime, n, t, 30000, source), 0
        for k in range(0, 30000, 300):
            some = {key: path[k : k + 300] for key, path in paths.items()}
            rejected += law.judge(some, level=0.05).verdict == "fails"
        assert rejected <= binom.ppf(0.9995, 100, 0.05), name


def test_too_few_replicates_are_undecided_and_say_how_many():
    found = laws.find("gaussian.accumulate.variance")(n=20, ddof=1).judge(simulate(NORMAL, ACCUMULATE, 20, 10, 50))
    assert isinstance(found, Judgement) and found.verdict == "undecided"
    assert found.needed > 50 and "not told apart from" in found.sentence and "replicates would" in found.sentence
    assert found.plain()["mutants"]


def test_the_share_of_real_data_that_is_effective():
    n, last = 12, 9
    replace = [{f"p{t}": n} for t in range(last)]
    made = {f"p{t}": t - 1 for t in range(1, last)}
    assert effective.heterozygosity(replace, made) == pytest.approx(drift.replace_simpson(np.arange(1, last + 1), n))
    grown = [{f"p{s}": n for s in range(t + 1)} for t in range(last)]
    assert effective.heterozygosity(grown, made) == pytest.approx(drift.accumulate_simpson(np.arange(1, last + 1), n))
    window = [{f"p{s}": n for s in range(max(0, t - 2), t + 1)} for t in range(last)]
    between = effective.heterozygosity(window, made)
    assert (between[3:] > effective.heterozygosity(replace, made)[3:]).all()
    assert (between[3:] < effective.heterozygosity(grown, made)[3:]).all()
    k = 8  # simulated: the window of three, as Simpson diversity of shares
    found = loop.run(
        find("sources", "zipf")(shares=[1.0] * k),
        COUNTS_MODEL,
        find("regimes", "window")(k=3),
        n,
        last,
        40000,
        record=["fit_simpson"],
    )["fit_simpson"]
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - (1 - 1 / k) * between) < 4.5 * error).all()


COUNTS_MODEL = find("models", "categorical")()


def test_fresh_real_parts_keep_what_is_effective():
    pools = [{"real": 10}, {"fresh1": 5, "p1": 5}, {"fresh2": 5, "p2": 5}]
    found = effective.heterozygosity(pools, {"p1": 0, "p2": 1})
    assert found[0] == pytest.approx(0.9) and (found > 0.8).all() and found[2] < 1


@pytest.mark.parametrize(("right", "wrong"), [(0.9, 0.3), (0.6, 0.6), (0.5, 0.9)])
def test_the_threshold_of_a_verifier(right, wrong):
    """Simulated: labels of two classes are wrong at rate p, a verifier thins them, and a classifier learns the rest."""
    limit = float(verification.threshold(right, wrong))
    assert limit == pytest.approx(1 / (1 + wrong / right))
    rng = Rng("verification").generator(str(right))
    for rate, recovers in ((limit - 0.06, True), (limit + 0.06, False)):
        truth = rng.integers(0, 2, 40000) * 2 - 1
        x = truth + rng.normal(size=40000)
        bad = rng.random(40000) < rate
        kept = rng.random(40000) < np.where(bad, wrong, right)
        label = np.where(bad, -truth, truth)[kept]
        assert abs(bad[kept].mean() - verification.kept_error(rate, right, wrong)) < 0.015
        slope = np.cov(x[kept], label)[0, 1]
        assert ((np.sign(slope * x) == truth).mean() > 0.5) is np.bool_(recovers)


# ------------------------------------------------------------------------------------------- studies


def study(claim, **keys):
    raw = copy.deepcopy(dict(read_yaml(ROOT / "studies/gaussian.yaml"))) | {"claims": [claim], "gates": {}} | keys
    return parse_study(raw, "gaussian", Path("studies/gaussian.yaml"))


@pytest.mark.parametrize(
    ("claim", "keys", "words"),
    [
        (
            {"law": "gaussian.replace.variance", "branch": "accumulate"},
            {},
            "speaks of regime replace, and branch 'accumulate'",
        ),
        ({"law": "gaussian.replace.varience", "branch": "replace"}, {}, "did you mean"),
        ({"law": "categorical.replace.simpson", "branch": "replace"}, {}, "speaks of model kind categorical"),
        (
            {"law": "gaussian.replace.variance", "branch": "replace"},
            {"source": {"kind": "digits"}},
            "needs source kind gaussian",
        ),
        (
            {"law": "gaussian.replace.variance", "branch": "replace"},
            {"branches": {"replace": {"regime": "replace", "rows": 20}}},
            "needs as many rows in every generation",
        ),
        (
            {"law": "gaussian.replace.variance", "branch": "replace"},
            {
                "branches": {
                    "replace": {"regime": "replace"},
                    "fork": {"from": "replace", "at": 2, "regime": "replace"},
                },
                "claims": [{"law": "gaussian.replace.variance", "branch": "fork"}],
            },
            "counts from real data",
        ),
        (
            {"law": "gaussian.refresh.variance", "branch": "b"},
            {"branches": {"b": {"regime": "refresh", "real": 0.2}}},
            "fitted with ddof 0",
        ),
        (
            {"law": "kde.replace.variance", "branch": "b"},
            {"model": {"kind": "kde"}, "branches": {"b": {"regime": "replace"}}},
            "speaks of a fixed bandwidth",
        ),
        (
            {"law": "regression.replace.error", "branch": "b"},
            {
                "model": {"kind": "regression"},
                "source": {"kind": "regression", "dim": 8},
                "branches": {"b": {"regime": "replace"}},
            },
            "speaks of known noise",
        ),
        (
            {"law": "regression.replace.error", "branch": "b"},
            {
                "model": {"kind": "regression", "noise": 1.0},
                "source": {"kind": "regression", "dim": 8},
                "branches": {"b": {"regime": "replace"}},
            },
            "too few rows for 8 coefficients",
        ),
        (
            {"law": "categorical.replace.extinction", "branch": "b"},
            {
                "model": {"kind": "categorical"},
                "source": {"kind": "zipf", "categories": 9},
                "branches": {"b": {"regime": "replace"}},
            },
            "speaks of a band of expected counts; write feature: ",
        ),
        (
            {"law": "categorical.replace.simpson", "branch": "b"},
            {
                "model": {"kind": "categorical", "temperature": 0.9},
                "source": {"kind": "zipf", "categories": 9},
                "branches": {"b": {"regime": "replace"}},
            },
            "speaks of neutral drift",
        ),
        (
            {"law": "mean.weighted.error", "branch": "b"},
            {"branches": {"b": {"regime": "weighted", "real": 0.4}}},
            "whose variance the model knows; set model.variance: 1",
        ),
    ],
)
def test_a_law_is_refused_where_it_does_not_speak(claim, keys, words):
    with pytest.raises(InputError) as caught:
        study(claim, **keys)
    text = str(caught.value)
    assert words in text and "\n" not in text and text.startswith("studies/gaussian.yaml: claims[0]")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"rows": 1}, "gaussian needs 2 rows or more"),
        ({"branches": {"b": {"regime": "anchor", "real": 1.5}}}, "less than 1"),
        ({"branches": {"b": {"regime": "anchor", "real": 0.01}}}, "rounds to 0; keep at least one real"),
        ({"model": {"kind": "kde", "bandwidth": 0}}, "must be a number above 0"),
        ({"model": {"kind": "gmm", "components": 30}}, "needs 30 rows or more for 30 components, and has 10"),
        ({"source": {"kind": "zipf", "shares": [0.5, 0.0]}, "model": {"kind": "categorical"}}, "greater than 0"),
        (
            {"branches": {"b": {"regime": "weighted", "real": "golden"}}},
            "golden is the best weight for the mean of a known",
        ),
        ({"measure": {"only": ["tials"]}}, "measure.only: 'tials' is not one of them"),
        ({"measure": {"replicates": 90000}}, "measure.replicates must be from 1 to"),
        (
            {"factors": {"metric": "w1", "branches": {"replace": ["a"]}}},
            "lacks the branch in which these sources are on: none",
        ),
        ({"ladder": {"metric": "w1", "branches": {"replace": 1}}}, "three capacities or more"),
        ({"claims": ["sources compound"]}, "speaks of factors, and the study has none"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(keys, words):
    with pytest.raises(InputError) as caught:
        loop.check_study(
            study(
                {"claim": "replace reaches late"},
                **({"branches": {"replace": {"regime": "replace"}}} | keys)
                | ({"claims": []} if "branches" in keys else {}),
            )
        )
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_counted_category_of_zero_is_refused(tmp_path):
    (tmp_path / "c.csv").write_text("name,count\na,3\nb,0\n")
    with pytest.raises(InputError, match="not above 0; leave those rows out"):
        find("sources", "zipf")(counts=str(tmp_path / "c.csv")).draw(1, 1, Rng(0))


def test_a_study_judges_its_laws_from_its_records():
    import pandas as pd

    one = study(
        {"law": "gaussian.replace.variance", "branch": "replace-ml"},
        generations=8,
        replicates=3000,
        measure={"replicates": 10},
    )
    branch = one.branches["replace-ml"]
    run = loop.run(
        one.source, branch.model, branch.regime, branch.rows, branch.last, one.replicates, seed=one.seed, name=one.name
    )
    path = run["fit_variance"]
    table = pd.DataFrame(
        {
            "branch": "replace-ml",
            "generation": np.tile(np.arange(1, 9), len(path)),
            "metric": "fit_variance",
            "feature": "",
            "replicate": np.repeat(np.arange(len(path)), 8),
            "value": path.ravel(),
        }
    )
    from collapse.claims.judge import evaluate

    found = evaluate(one.claims, table, {}, {}, 1, laws.judges(one))[0]
    assert found["verdict"] == "holds" and all(m["rejected"] for m in found["law"]["mutants"])
    cut = evaluate(one.claims, table[table.generation < 8], {}, {}, 1, laws.judges(one))[0]
    assert cut["verdict"] == "undecided" and "to its last generation" in cut["evidence"]
    lines = laws.curves(one)["replace-ml", "fit_variance", ""]
    assert lines[8] == pytest.approx(0.9**8) and list(lines) == list(range(1, 9))


def test_paths_are_read_from_the_records_of_their_branch_alone():
    import pandas as pd

    rows = [(branch, t, metric, feature, r, 100 * number + 10 * t + r)
            for number, (branch, metric, feature) in enumerate([("b", "m", ""), ("b", "m", "x"), ("c", "m", "")])
            for t in (2, 0, 1) for r in (1, 0)]
    table = pd.DataFrame(rows, columns=["branch", "generation", "metric", "feature", "replicate", "value"])
    found = laws.Recorded(table, "b")
    assert {key: path.tolist() for key, path in found.items()} == {  # (R, T); generation 0 was not fitted
        ("m", ""): [[10, 20], [11, 21]], ("m", "x"): [[110, 120], [111, 121]]}
    assert len(found) == 2
    for key, words in ((("n", ""), "n"), (("m", "y"), r"m\[y\]")):
        with pytest.raises(KeyError, match=f"'{words}'"):
            found[key]


def test_all_claims_of_a_study_share_one_level():
    import pandas as pd

    one = study({"law": "gaussian.replace.variance", "branch": "a"}, generations=3, branches={
        "a": {"regime": "replace"}, "b": {"regime": "accumulate", "generations": 5}}, claims=[
            {"law": "gaussian.replace.variance", "branch": "a"}, {"law": "gaussian.accumulate.variance", "branch": "b"},
            {"law": "gaussian.replace.typical", "branch": "a"}])
    path = run_of(one, "a")["fit_variance"]
    t, r = np.meshgrid([1, 2, 3], np.arange(len(path)))
    table = pd.DataFrame({"branch": "a", "generation": t.ravel(), "replicate": r.ravel(), "metric": "fit_variance",
                          "feature": "", "value": path.ravel()})
    _, _, told = laws.judges(one)["gaussian.replace.variance"](SimpleNamespace(table=table), "a", "")
    looks = (3 + 1) + (5 + 1) + (3 + 1)  # a look a generation, and one over all of them
    assert told["critical"] == pytest.approx(chain(path, 1.0).critical(looks), abs=1e-3)


def run_of(study, branch):
    """The paths of one branch of a study, in memory."""
    item = study.branches[branch]
    return loop.run(study.source, item.model, item.regime, item.rows, item.last, 40, seed=1, name="shared")


@pytest.mark.parametrize(("document", "least"), [("docs/laws.md", 5), ("README.md", 3)])
def test_the_examples_by_hand_run_as_written(document, least):
    import doctest

    failed, tried = doctest.testfile(str(ROOT / document), module_relative=False)
    assert tried >= least and failed == 0


def test_the_science_starts_fast_and_alone():
    import subprocess
    import sys
    import time

    code = (
        "import sys, collapse.laws.gaussian, collapse.loop, collapse.models.gaussian, collapse.regimes.replace\n"
        "import collapse.sources.gaussian\n"
        "print(*{m.partition('.')[0] for m in sys.modules} & {'prefect', 'dvc', 'great_expectations', 'pandas', "
        "'scipy', 'sklearn', 'collapse_lab'})"
    )
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        times.append(time.perf_counter() - begin)
        assert done.stdout.strip() == ""
    assert min(times) < 1.5


# ---------------------------------------------------------------------------------------- neighbours


def judged(name, replicates, **settings):
    case = next(case for case in CASES if case[0] == name and case[1].items() >= settings.items())
    return laws.find(name)(**case[1]).judge(simulate(*case[2:6], replicates, case[7]))


def test_neighbours_decide_nothing_and_are_named():
    """A law holds whether or not n ± 10 % is told apart, and the evidence says which of them are."""
    many = judged("gaussian.replace.typical", 8000, ddof=1)
    assert many.verdict == "holds"
    assert [m.name for m in many.neighbours] == ["n = 6", "n = 8"] and all(m.rejected for m in many.neighbours)
    assert "told apart from its neighbours n = 6 and n = 8" in many.sentence
    close = judged("gaussian.refresh.variance", 8000)
    assert close.verdict == "holds" and not any(m.rejected for m in close.neighbours)
    assert "not from its neighbours n = 9 (about" in close.sentence
    assert [m["needed"] for m in close.plain()["neighbours"]] == [m.needed for m in close.neighbours]


def test_every_law_has_neighbours_where_rows_make_a_difference():
    for name, settings, *_ in CASES:
        law = laws.find(name)(**settings)
        t = np.arange(1, 11)
        differ = [name for name, form in law.neighbours().items() if not np.allclose(form(t), law(t), rtol=1e-9)]
        constant = law.kind == "categorical.replace.share" or (law.kind, settings.get("ddof")) == (
            "gaussian.replace.variance", 1)
        assert (not differ) if constant else len(differ) == 2, law.kind


@pytest.mark.parametrize(("name", "form"), [
    ("gaussian.accumulate.variance", "t + 1"), ("mean.subsample.error", "t + 1"),
    ("gaussian.replace.typical", "n = 8")])
def test_the_replicates_that_are_said_to_tell_apart_do(name, form):
    """Of runs with so many replicates nearly all reject the form, and of runs with a third of them few do."""
    case = next(case for case in CASES if case[0] == name)
    law = laws.find(name)(**case[1])

    def found(replicates, seed):
        judgement = law.judge(simulate(*case[2:6], replicates, case[7], seed=seed))
        return next(m for m in (*judgement.mutants, *judgement.neighbours) if m.name == form)

    needed = found(4000, 0).needed
    assert sum(found(needed, seed).rejected for seed in range(1, 13)) >= 9
    assert sum(found(needed // 3, seed).rejected for seed in range(1, 13)) <= 6


@pytest.mark.parametrize("index", [2, 5, 6, 11, 16, 24])
def test_of_few_replicates_hardly_any_reject_the_truth(index):
    """1,000 runs of 20 replicates at 1 %; all laws at 0.1 %, 20,000 runs each: python -m benchmarks laws."""
    from scipy.stats import binom

    name, settings, model, regime, n, t, _, source = CASES[index]
    law = laws.find(name)(**settings)
    paths = simulate(model, regime, n, t, 20 * 1000, source, seed=5)
    rejected = 0
    for k in range(1000):
        pivot = law.pivot({key: path[20 * k : 20 * k + 20] for key, path in paths.items()})
        z = np.abs(pivot.z(law(np.arange(1, t + 1))))
        rejected += z.max() > pivot.critical(len(pivot.estimate), 0.01)
    assert rejected <= binom.ppf(0.999, 1000, 0.01), name


# --------------------------------------------------------------------------------------------- pivots


def test_one_step_ratios_and_their_chain_by_hand():
    path = np.array([[2.0, 4.0, 8.0], [4.0, 0.0, 0.0]])  # the second ends at t = 2: it has no third step
    mean, off = steps(path, 1.0)
    assert mean.tolist() == [3, 1, 2]
    assert off.tolist() == [[pytest.approx(-1 / 3), 1, 0], [pytest.approx(1 / 3), -1, 0]]
    assert steps(path, 2.0)[0].tolist() == [1.5, 1, 2]
    # of four of which one is left, its deviation counts fourfold, for it stands for all
    alone = steps(np.array([[1.0, 3.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), 1.0)
    assert alone[0].tolist() == [0.5, 2] and alone[1][:, 1].tolist() == [1.0, -1.0, 0, 0]
    assert steps(path * [1, 0, 0], 1.0)[0].tolist() == [3, 0, 0]  # none is left to take a third step
    pivot = chain(path, 1.0)
    assert pivot.estimate == pytest.approx(np.log([3, 3, 6]))
    assert pivot.error == pytest.approx(np.sqrt(np.cumsum([1 / 9, 1, 0]) / 2))
    assert pivot.scale(np.array([1.0, np.e])).tolist() == [0, 1] and pivot.walk and pivot.replicates == 2
    assert chain(path, 2.0).estimate == pytest.approx(np.log([3, 3, 6]))  # whatever it began with


def test_plain_means_and_their_errors_by_hand():
    path = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]])
    pivot = plain(path, least=np.array([1.0, 9.0]))
    assert pivot.estimate.tolist() == [3, 2] and pivot.error == pytest.approx([np.sqrt(4 / 3), np.sqrt(9 / 3)])
    law = np.array([2.0, 8.0])
    pivot = direct(path, law)
    share = (path / law).mean(axis=1)  # the last look
    assert pivot.estimate == pytest.approx(np.log([3, 2, share.mean()]))
    assert pivot.error == pytest.approx([2 / 3 / np.sqrt(3), 0, share.std(ddof=1) / share.mean() / np.sqrt(3)])
    assert pivot.scale(law * 2) == pytest.approx(np.log([4, 16, 2]))
    assert pivot.influence[:, [0, 2]] == pytest.approx(np.column_stack([path[:, 0] / 3, share / share.mean()]))
    assert pivot.replicates == 3


@pytest.mark.parametrize("replicates", [8, 40])
def test_squares_of_normal_errors_are_judged_by_a_normal_score(replicates):
    """Wilson and Hilferty's cube root: of 8 replicates already mean 0 and variance 1, to a few percent."""
    law, runs = np.array([1.0, 2.0, 0.5]), 4000
    draws = Rng("cube root", replicates).normal((runs, replicates, 3)) ** 2 * law
    z = np.array([known_mean(path, law).z(law) for path in draws])
    assert np.abs(z.mean(axis=0)[:3]).max() < 4 / np.sqrt(runs)
    assert np.abs(z.std(axis=0)[:3] - 1).max() < 4 / np.sqrt(2 * runs) + 0.01
    assert abs(z[:, 3].mean()) < 0.1 and abs(z[:, 3].std() - 1) < 0.1
    pivot = known_mean(draws[0], law)
    # E of the cube root of χ²/R, by the gamma function
    from scipy.special import gammaln

    root = np.exp(np.log(2 / replicates) / 3 + gammaln(replicates / 2 + 1 / 3) - gammaln(replicates / 2))
    assert np.cbrt(draws[0].mean(axis=0) / law) / pivot.estimate[:3] == pytest.approx([root] * 3, abs=1e-3)
    assert pivot.scale(law * 8) == pytest.approx([2, 2, 2, 2])
    # what each replicate adds to the cube root of a mean: a third of its own deviation
    moved = pivot.influence.std(axis=0) / np.sqrt(replicates)
    assert moved == pytest.approx(np.append((draws[0] / law).std(axis=0), (draws[0] / law).mean(axis=1).std())
                                  / 3 / np.sqrt(replicates))


def looked(estimate, error, **more):
    return Pivot(np.array(estimate, dtype=float), np.array(error, dtype=float), np.asarray, 100, **more)


def test_a_distance_is_in_standard_errors_and_slack_is_forgiven():
    pivot = looked([1, 2, 3, 4, np.nan], [0.5, 0.5, 0, 0, 1])
    values = np.array([2.0, 1.0, 3.0, 3.0, 0.0])
    assert pivot.z(values).tolist() == [-2, 2, 0, np.inf, 0]
    assert pivot.z(values, 0.75).tolist() == [-0.5, 0.5, 0, np.inf, 0]
    assert pivot.z(values, np.array([2, 1, 0, 1, 0])).tolist() == [0, 0, 0, 0, 0]


def best(off, gap, covariance):
    """The most powerful linear score of a gap along ``off``, by its definition."""
    weight = np.linalg.solve(covariance, off)
    return weight @ gap / np.sqrt(weight @ covariance @ weight)


def test_a_score_along_a_mutant_is_the_most_powerful_one():
    error, estimate = np.array([0.3, 0.5, 0.8]), np.array([0.1, 0.4, -0.2])
    law, values = np.zeros(3), np.array([0.2, 0.1, 0.7])
    walk = looked(estimate, error, walk=True)
    covariance = np.minimum.outer(error**2, error**2)  # sums of independent steps
    assert walk.directed(values, law) == pytest.approx(best(values - law, estimate - values, covariance))
    assert walk.directed(law, law) == 0
    influence = Rng("score").normal((100, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0.3], [0, 0, 2]])
    known = looked(estimate, influence.std(axis=0, ddof=1) / 10, influence=influence)
    covariance = np.cov(influence, rowvar=False) / 100
    assert known.directed(values, law) == pytest.approx(best(values - law, estimate - values, covariance))
    assert known.directed(law, law) == 0 == looked(estimate, error).directed(values, law)
    assert looked(estimate, error, influence=np.ones((100, 3))).directed(values, law) == 0  # nothing varies
    # a look without an error is left out
    flat = looked(estimate, [*known.error[:2], 0], influence=influence)
    assert flat.directed(values, law) == pytest.approx(best(values[:2], (estimate - values)[:2], covariance[:2, :2]))
    # twenty replicates a look are the fewest whose covariance is trusted
    one = np.ones((100, 6))
    assert looked(np.zeros(5), np.ones(5), influence=one[:, :5])._scored(100)
    assert not looked(np.zeros(6), np.ones(6), influence=one)._scored(119)
    assert looked(np.ones(6), np.ones(6), influence=Rng("few").normal((100, 6))).directed(np.ones(6), np.zeros(6)) == 0


@pytest.mark.parametrize("exact", [True, False])
def test_the_critical_value_is_shared_by_all_looks(exact):
    from scipy import stats

    pivot = looked([0], [1], exact=exact, skew=0.5)
    for replicates in (1, 2, 30, None):
        count = 100 if replicates is None else replicates
        tail = 0.001 / 2 / 7
        normal = stats.norm.isf(tail) if exact else stats.t.isf(tail, max(count - 1, 1))
        assert pivot.critical(7, 0.001, replicates) == pytest.approx(normal * (1 + 0.5 / np.sqrt(count)))
    assert pivot.critical(0, 0.05) == pivot.critical(1, 0.05)
    assert looked([0], [1]).critical(7, 0.001) == pytest.approx(stats.t.isf(0.001 / 14, 99))


def fewest(enough):
    """The fewest replicates that are enough, one by one."""
    return next(n for n in range(2, 10**6) if enough(n))


def test_the_replicates_that_are_needed_are_the_fewest_that_reject():
    """Two errors beyond the critical value, by counting; to 1 % or one replicate."""
    law, values = np.zeros(2), np.array([0.1, -0.02])
    alone = looked([0, 0], [0.1, 0.05], skew=0.5)
    expected = fewest(lambda n: 1.0 * np.sqrt(n / 100) >= alone.critical(3, 0.01, n) + 2)
    assert alone.needed(values, law, 3, 0.01) == pytest.approx(expected, abs=1 + 0.01 * expected)
    # along a walk the steps add up, each with its own error
    walk = looked([0, 0], [0.1, 0.2], walk=True)
    apart = np.sqrt((0.1 / 0.1) ** 2 + 0.12**2 / (0.2**2 - 0.1**2))
    expected = fewest(lambda n: apart * np.sqrt(n / 100) >= walk.critical(3, 0.01, n) + 2)
    assert walk.needed(values, law, 3, 0.01) == pytest.approx(expected, abs=1 + 0.01 * expected)
    still = looked([0, 0, 0], [0.1, 0.2, 0.2], walk=True)  # its last look has no step, and tells nothing
    assert still.needed(np.append(values, 9.0), np.zeros(3), 3, 0.01) == walk.needed(values, law, 3, 0.01)
    lost = looked([0, 0, 0], [0.1, 0.2, np.inf], walk=True)
    assert lost.needed(np.append(values, 9.0), np.zeros(3), 3, 0.01) == walk.needed(values, law, 3, 0.01)
    apart = 0.12 / np.sqrt(0.2**2 - 0.1**2)  # of a form that is no number at first, what it has gone since 0
    expected = fewest(lambda n: apart * np.sqrt(n / 100) >= walk.critical(3, 0.01, n) + 2)
    assert walk.needed(np.array([np.nan, 0.12]), law, 3, 0.01) == pytest.approx(expected, abs=1 + 0.01 * expected)
    # a look that counts from 5000 replicates on is of no use before
    late = looked([0, 0], [0.1, 0.05], least=np.array([5000, 0]))
    assert late.needed(values, law, 3, 0.01) == pytest.approx(
        fewest(lambda n: (1.0 if n >= 5000 else 0.4) * np.sqrt(n / 100) >= late.critical(3, 0.01, n) + 2), rel=0.01)
    # with their covariance the score is used, if it is more powerful
    influence = Rng("needed").normal((100, 2)) @ np.array([[1.0, 0.95], [0, 0.3]])
    known = looked([0, 0], influence.std(axis=0, ddof=1) / 10, influence=influence)
    weight = np.linalg.solve(np.cov(influence, rowvar=False) / 100, values)
    apart = np.sqrt(weight @ values)
    assert apart > np.abs(values / known.error).max()
    expected = fewest(lambda n: n >= 40 and apart * np.sqrt(n / 100) >= known.critical(3, 0.01, n) + 2)
    assert known.needed(values, law, 3, 0.01) == pytest.approx(expected, abs=1 + 0.01 * expected)


def test_what_says_the_same_is_never_told_apart():
    pivot = looked([0, 0], [0.1, 0.1])
    assert pivot.needed(np.zeros(2), np.zeros(2), 1) is None
    assert pivot.needed(np.full(2, 1e-13), np.zeros(2), 1) is None
    assert pivot.needed(np.full(2, 1e-7), np.zeros(2), 1) is None  # more than a thousand million would
    assert looked([0], [np.inf]).needed(np.ones(1), np.zeros(1), 1) is None
    assert looked([0, 0], [0, 0], walk=True).directed(np.ones(2), np.zeros(2)) == 0


def judgement(*mutants, neighbours=(), t=3):
    return Judgement("undecided", "exact", -1.23456, t, 4.56789, tuple(Mutant(*m) for m in mutants),
                     tuple(Mutant(*m) for m in neighbours), 1500)


def test_a_judgement_says_what_is_told_apart_and_what_is_not():
    found = judgement(("a", True, -9.87, 20), ("b", False, 1.0, 3000), ("c", False, 1.0, None), t=None,
                      neighbours=[("n = 9", False, 0.1, 5000), ("n = 11", True, 7.0, 70)])
    assert found.needed == 3000
    assert found.sentence == (
        "Largest deviation 1.2 standard errors (over all t), allowed 4.6 at 0.1 % over all looks, 1,500 replicates; "
        "not told apart from: b, c (about 3,000 replicates would); told apart from its neighbours n = 11; not from "
        "n = 9 (about 5,000 replicates would).")
    assert found.plain() == {
        "label": "exact", "z": -1.235, "t": None, "critical": 4.568, "replicates": 1500, "needed": 3000,
        "mutants": [{"name": "a", "rejected": True, "z": -9.87, "needed": 20},
                    {"name": "b", "rejected": False, "z": 1.0, "needed": 3000},
                    {"name": "c", "rejected": False, "z": 1.0, "needed": None}],
        "neighbours": [{"name": "n = 9", "rejected": False, "z": 0.1, "needed": 5000},
                       {"name": "n = 11", "rejected": True, "z": 7.0, "needed": 70}]}
    held = judgement(("a", True, -9.87, 20), ("b", True, np.inf, 3))
    assert held.needed is None and held.plain()["mutants"][1]["z"] == 1e6
    assert held.sentence == ("Largest deviation 1.2 standard errors (at t = 3), allowed 4.6 at 0.1 % over all looks, "
                             "1,500 replicates; all 2 mutants are rejected (the nearest by 9.9).")


class Level(Law):
    """A mean of 1 at all t; 2 is a mutant of it."""

    metric = "m"
    n: int = 12

    def __call__(self, t):
        return np.full(np.shape(t), self.n / 12)

    def pivot(self, paths):
        return plain(paths["m", ""] + 0 * paths["other", ""])

    def mutants(self):
        return {"two": lambda t: np.full(np.shape(t), 2.0)}


def test_a_law_is_judged_on_all_of_its_paths_or_not_at_all():
    law = Level()
    assert [*law.neighbours()] == ["n = 11", "n = 13"] and [*Level(n=40).neighbours()] == ["n = 36", "n = 44"]
    path = 1 + Rng("level").normal((400, 5))
    path[:, 3] -= path[:, 3].mean() - 1.1
    paths = {("m", ""): path, ("other", ""): np.zeros((400, 5))}
    found = law.judge(paths)
    assert (found.verdict, found.t, found.replicates, len(found.mutants)) == ("holds", 4, 400, 1)
    assert found.z == pytest.approx(0.1 / path[:, 3].std(ddof=1) * 20)
    assert found.critical == pytest.approx(plain(path).critical(5, 0.001))
    assert law.judge(paths, looks=50).critical == pytest.approx(plain(path).critical(50, 0.001))
    assert law.judge(paths | {("m", ""): path + 1}).verdict == "fails"
    for broken in (paths | {("m", ""): path[:, :4]}, paths | {("other", ""): np.full((400, 5), np.nan)}, {}):
        with pytest.raises(KeyError):
            law.judge(broken)
    with pytest.raises(KeyError):
        law.judge(paths, last=6)
    assert law.lines(np.arange(1, 3))["m"].tolist() == [1, 1] and law.slack(np.arange(3)) == 0


#: Of each law one run, by the place of its case.
ONE_OF_EACH = sorted({case[0]: place for place, case in enumerate(CASES)}.values())


@pytest.mark.parametrize("place", ONE_OF_EACH, ids=lambda place: CASES[place][0])
def test_the_error_of_a_pivot_is_that_of_runs_made_again(place):
    """Forty runs of fifty replicates: their estimates spread as each says; four standard errors are 45 %."""
    name, settings, model, regime, n, t, _, source = CASES[place]
    law = laws.find(name)(**settings)
    last = min(t, 6)
    paths = simulate(model, regime, n, last, 2000, source, seed=3)
    runs = [law.pivot({key: path[k : k + 50] for key, path in paths.items()}) for k in range(0, 2000, 50)]
    spread = np.std([run.estimate for run in runs], axis=0, ddof=1)
    said = np.sqrt(np.mean([np.square(run.error) for run in runs], axis=0))
    seen = np.isfinite(said) & (spread > 1e-12)
    assert runs[0].replicates == 50
    if not seen.any():  # so few events that no look counts
        assert name.startswith(("categorical.replace.extinction", "categorical.replace.fixation"))
        return
    assert np.abs(np.log(said[seen] / spread[seen])).max() < 0.45
    centre = np.mean([run.estimate for run in runs], axis=0) - runs[0].scale(law(np.arange(1, last + 1)))
    assert (np.abs(centre[seen]) < 5 * spread[seen] / np.sqrt(40) + 0.3 * spread[seen]).all()


@pytest.mark.parametrize("place", [place for place in ONE_OF_EACH if not CASES[place][0].startswith("mean.")],
                         ids=lambda place: CASES[place][0])
def test_what_a_replicate_adds_is_what_is_missing_without_it(place):
    """The influence of each of 60 replicates against the jackknife's."""
    name, settings, model, regime, n, t, _, source = CASES[place]
    law = laws.find(name)(**settings)
    paths = simulate(model, regime, n, min(t, 6), 60, source, seed=4)
    pivot = law.pivot(paths)
    if pivot.influence is None:
        return
    without = np.array([law.pivot({key: np.delete(path, r, axis=0) for key, path in paths.items()}).estimate
                        for r in range(60)])
    jack, said = 59 * (without.mean(axis=0) - without), pivot.influence - pivot.influence.mean(axis=0)
    size = jack.std(axis=0)
    assert (np.abs(jack - said)[:, size > 1e-9].std(axis=0) < 0.2 * size[size > 1e-9]).all()


@pytest.mark.parametrize("place", ONE_OF_EACH, ids=lambda place: CASES[place][0])
def test_a_mutant_is_what_its_name_says(place):
    """Of another regime that regime's law, and of t ± 1 the law itself a generation on or back."""
    name, settings = CASES[place][:2]
    law, t = laws.find(name)(**settings), np.arange(1, 9)
    family, _, quantity = name.split(".")
    sums = {("mean", "replace"): t / law.n, ("mean", "accumulate"): np.cumsum(1 / t**2.0) / law.n}
    tried = 0
    for said, form in law.mutants().items():
        other = f"{family}.{said}.{quantity}"
        if said in ("t + 1", "t − 1"):
            expected = law(t + (1 if "+" in said else -1))
        elif (family, said) in sums:
            expected = sums[family, said]
        elif said == "accumulate" and quantity in ("extinction", "extinction_limit", "survivors"):
            expected = np.full(8, law([1])[0])  # what is kept for ever is not lost after the first fit
        elif other in laws.names():
            kind = laws.find(other)
            expected = kind(**{key: value for key, value in settings.items() if key in kind.model_fields})(t)
        else:
            continue
        assert form(t) == pytest.approx(expected), said
        tried += 1
    assert tried or name == "categorical.replace.share"


@pytest.mark.parametrize(("name", "settings"), [
    ("gaussian.replace.variance", {"ddof": 0}), ("gaussian.replace.typical", {"ddof": 1}),
    ("gaussian.replace.typical", {"ddof": 0, "d": 3}), ("gaussian.replace.w2", {"ddof": 1}),
    ("regression.replace.error", {"d": 3, "noise": 0.5})])
def test_a_first_order_form_is_the_law_of_many_rows(name, settings):
    law, t = laws.find(name)(n=10**6, **settings), np.arange(1, 5)
    (form,) = (form for said, form in law.mutants().items() if said.startswith("first order"))
    start = 1.0 if name.endswith(("variance", "typical")) else 0.0
    assert 10**6 * (form(t) - start) == pytest.approx(10**6 * (law(t) - start), rel=1e-3)


def test_one_dimension_needs_no_name_and_of_two_one_is_named():
    for law in ("gaussian.replace.error", "gaussian.replace.w2"):
        assert study({"law": law, "branch": "replace"})
        two = {"source": {"kind": "gaussian", "dim": 2}}
        assert study({"law": law, "branch": "replace", "feature": "x1"}, **two)
        with pytest.raises(InputError, match="name one, such as feature: x1"):
            study({"law": law, "branch": "replace"}, **two)
    assert study({"law": "gaussian.replace.variance", "branch": "replace"}, **two)


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.4), (1.5, -0.5), (np.nan, 0.5), (np.inf, 0.5)])
def test_what_are_no_shares_are_refused(shares):
    with pytest.raises(ValueError, match="shares must be two or more, none below 0, and sum to 1"):
        laws.find("categorical.replace.simpson")(n=9, shares=shares)


def test_a_share_is_judged_where_replicates_suffice_for_its_skewness():
    from collapse.laws.categorical import SKEW

    keys = {"model": {"kind": "categorical"}, "source": {"kind": "zipf", "categories": 4, "exponent": 0},
            "rows": 10, "generations": 6, "branches": {"b": {"regime": "replace"}}, "measure": {"replicates": 5}}
    need = SKEW * 6 // (10 * 0.25)  # a share of a quarter over 6 generations of 10 rows
    claim = {"law": "categorical.replace.share", "branch": "b", "feature": "w001"}
    assert study(claim, replicates=int(need), **keys)
    with pytest.raises(InputError, match=f"needs {need:g} replicates"):
        study(claim, replicates=int(need) - 1, **keys)


def test_the_first_pool_may_be_one_row():
    law = laws.find("categorical.replace.fixation")(n=5, shares=(0.3, 0.7), code=0, first=1)
    assert law(np.arange(1, 4)) == pytest.approx([0.3] * 3)


def test_a_look_counts_from_25_expected_events_on():
    for replicates, counts in ((49, False), (50, True)):
        path = np.tile([[1.0, 0.0]], (replicates, 1))
        pivot = drift._counted(path, np.array([[0.5], [0.01]]), 1.0)
        assert pivot.least.tolist() == [50, 2500] and np.isfinite(pivot.error).tolist() == [counts, False]
    assert pivot.error[0] == pytest.approx(np.sqrt(0.25 / 50))


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_reservoir_follows_the_hypergeometric_moments_of_its_new_rows(n):
    from scipy.stats import hypergeom

    for keep in (None, 1.0, 1 - 1 / n):
        pool, error, found = 1.0, 1 / n, [(1.0, 0.0)]
        for t in range(7):
            variance = 1.0 if keep is None else keep * pool
            found.append((variance, error))
            new = hypergeom(n * (t + 2), n, n)
            m = np.arange(n + 1)
            mixed = float(new.pmf(m) @ (m * (n - m)))
            both = float(new.pmf(m) @ (m * (m - 1)))
            old = n * (n - 1) - 2 * mixed - both  # ordered pairs of rows
            error += mixed * pool / n**3 + new.mean() * variance / n**2
            pool = (old * pool + 2 * mixed * ((1 - 1 / n) * pool + variance) / 2 + both * variance) / (n * (n - 1))
        assert budget.reservoir(7, n, keep) == pytest.approx(np.array(found).T)
    kept, share = 1 - 1 / n, [1.0, 1 - 1 / n]
    for t in range(1, 6):
        old = (n * t) * (n * t - 1) / ((n * (t + 1)) * (n * (t + 1) - 1))  # a pair both rows of which are old
        kept *= old + (1 - old) * (1 - 1 / n)
        share.append(kept)
    assert budget.reservoir_simpson(6, n) == pytest.approx(share)


def test_mode_seeking_raises_the_common_and_lowers_the_rare():
    for code, sign in ((0, 1), (59, -1)):
        law = laws.find("categorical.replace.share")(n=50, shares=zipf(60), code=code, feature="w")
        for tau, way in ((0.95, sign), (1.05, -sign)):
            found, p = law.mutants()[f"mode-seeking, τ = {tau:g}"](np.arange(1, 5)), law.p
            for t in range(4):
                assert found[t] == pytest.approx(p[code])
                p = p ** (1 / tau) / np.sum(p ** (1 / tau))
            assert (way * np.diff(found) > 0).all()


def chained(n, first, start, steps, absorbed):
    """The chance that a count is ``absorbed`` after 0, 1, … fits, by the binomial chain, count by count."""
    from scipy.stats import binom

    mass, found = binom.pmf(np.arange(first + 1), first, start), []
    rows = first
    for _ in range(steps):
        found.append(mass[absorbed(rows)])
        mass = sum(mass[k] * binom.pmf(np.arange(n + 1), n, k / rows) for k in range(rows + 1))
        rows = n
    return np.array(found)


def test_chances_of_categories_are_those_of_the_binomial_chain():
    from scipy.stats import binom

    p = np.array([0.0, 0.2, 1.0])
    exact = np.array([binom.pmf(np.arange(8), 7, one) for one in p])
    assert drift.binomials(7, p, 50) == pytest.approx(exact) and drift.binomials(7, p, 3) == pytest.approx(exact[:, :3])
    t = np.array([0, 1, 2, 5, 3])
    found = drift.extinction(t, 7, [0.2, 0.0])
    assert found[:, 0] == pytest.approx(np.append(0.0, chained(7, 7, 0.2, 5, lambda rows: 0))[t])
    assert found[:, 1].tolist() == [1] * 5
    assert drift.fixation(t, 7, 0.3, 4) == pytest.approx(
        np.append(0.0, chained(7, 4, 0.3, 5, lambda rows: rows))[t])
    assert drift.fixation([0, 1, 3], 7, 1.0, 4).tolist() == pytest.approx([1, 1, 1])


def test_sums_and_products_are_those_of_their_terms():
    n, last = 7, 9
    for ddof in (0, 1):
        mean = [1.0]
        for j in range(1, last + 1):
            mean.append(mean[-1] * (1 - (1 / (n * j**2) if ddof == 0 else 1 / (j * (j * n - 1)) if j > 1 else 0.0)))
        assert gaussian.accumulate_variance(np.arange(last + 1), n, ddof) == pytest.approx(mean)
        error = [sum(mean[s - 1] / (n * s**2) for s in range(1, t + 1)) for t in range(last + 1)]
        assert gaussian.accumulate_error(np.arange(last + 1), n, ddof) == pytest.approx(error)
    assert 1 - gaussian.accumulate_error(5, n, 0) == pytest.approx(gaussian.accumulate_variance(5, n, 0))
    assert drift.accumulate_simpson(np.arange(last + 1), n) == pytest.approx(
        gaussian.accumulate_variance(np.arange(last + 1), n, 0))
    for design in ("same", "fresh"):
        law = laws.find("regression.accumulate.error")(n=14, d=4, noise=0.5, design=design)
        terms = [0.25 * 4 / 9 / i**2 if design == "same" else 0.25 * 4 / (i * (14 * i - 5)) for i in range(1, 6)]
        assert law(np.arange(6)) == pytest.approx(np.append(0.0, np.cumsum(terms)))
    kernel, value = laws.find("kde.replace.variance")(n=9, width=0.5), 1.0
    for t in range(1, 6):
        value = (1 - 1 / 9) * value + 0.25
        assert kernel(t) == pytest.approx(value)
    weighted = laws.find("mean.weighted.error")(n=9, n_real=4, n_synth=6, weight=0.3)
    value = 1 / 9
    assert weighted(0) == 0 and weighted(1) == pytest.approx(value)
    for t in range(2, 6):
        value = 0.3**2 / 4 + 0.7**2 * (value + 1 / 6)
        assert weighted(t) == pytest.approx(value)


def test_before_the_first_fit_all_is_as_it_was_and_equal_weights_are_none():
    for form in real.FORMS.values():
        assert form(0, 20, 5).T.tolist() == [[1, 0]] and form(1, 20, 5).T.tolist() == [[1, 0], [0.95, 0.05]]
    assert real.weighted(6, 20, 5, 15, 0.25) == pytest.approx(real.refresh(6, 20, 5))
    assert real.weighted(6, 9, 9, 9, 1 - 1e-12)[1] == pytest.approx([0] + [1 / 9] * 6)  # real rows alone
    assert real.weighted(6, 9, 9, 9, 1e-12)[1] == pytest.approx(gaussian.replace_error(np.arange(7), 9, 0))  # none


def test_a_typical_path_in_d_dimensions_has_the_determinant_of_bartlett():
    """det of a Wishart matrix: a product of independent χ² (Bartlett 1933)."""
    from scipy.stats import chi2

    for n, ddof, d in ((9, 1, 1), (9, 0, 3), (12, 1, 4)):
        draws = [chi2.rvs(n - i, size=200_000, random_state=np.random.default_rng(i)) for i in range(1, d + 1)]
        log = np.log(draws).mean(axis=0) - np.log(n - ddof)
        mean, variance = gaussian.log_step(n, ddof, d)
        assert mean == pytest.approx(log.mean(), abs=5 * log.std() / np.sqrt(200_000))
        assert variance == pytest.approx(log.var(), rel=0.03)


# -------------------------------------------------------------------------------------------- budgets


def history(anew, n, last, replicates, ddof, rng):
    """v and err² of n rows out of all of history, in plain NumPy: drawn anew, or by Vitter's algorithm R."""
    pool = rng.normal(size=(replicates, n))
    seen, found = pool.copy(), []
    for _ in range(last):
        if anew:
            rank = np.argsort(rng.random(seen.shape), axis=1)[:, :n]
            pool = np.take_along_axis(seen, rank, axis=1)
        mean = pool.mean(axis=1)
        variance = np.ones(replicates) if ddof is None else pool.var(axis=1, ddof=ddof)
        found.append([variance, mean**2])
        new = mean[:, None] + np.sqrt(variance)[:, None] * rng.normal(size=(replicates, n))
        count = seen.shape[1]
        seen = np.concatenate([seen, new], axis=1)
        if not anew:
            pool = pool.copy()
            for j in range(n):
                place = rng.integers(0, count + j + 1, replicates)
                hit = np.flatnonzero(place < n)
                pool[hit, place[hit]] = new[hit, j]
    return np.array(found)  # (T, 2, R)


@pytest.mark.parametrize("ddof", [None, 0, 1])
@pytest.mark.parametrize("regime", ["subsample", "reservoir"])
def test_a_budget_out_of_history_follows_its_recursion(regime, ddof):
    n, last, replicates = 6, 10, 20000
    found = history(regime == "subsample", n, last, replicates, ddof, np.random.default_rng(8))
    law = budget.FORMS[regime](last, n, None if ddof is None else (n - 1) / (n - ddof))[:, 1:].T  # (T, 2)
    error = found.std(axis=2) / np.sqrt(replicates)
    z = (found.mean(axis=2) - law) / np.where(error > 0, error, 1.0)
    assert np.abs(z).max() < 4.5


def test_drawn_anew_the_error_levels_off_and_in_a_reservoir_it_grows():
    n = 500
    anew, kept = (n * budget.FORMS[name](3000, n, None)[1] for name in ("subsample", "reservoir"))
    assert anew[3000] == pytest.approx(np.pi**2 / 2 - 2, abs=3e-3) and anew[3000] - anew[1500] < 2e-3
    assert kept[3000] - kept[1500] == pytest.approx(kept[1500] - kept[750], rel=0.02) and kept[3000] > 14
    assert (20 * budget.subsample(60, 20, None)[1])[[2, 5, 10, 20, 40, 60]] == pytest.approx(
        [1.744, 2.391, 2.663, 2.816, 2.898, 2.927], abs=6e-4)


def test_the_share_of_diversity_of_a_draw_is_the_law():
    n, last = 9, 12
    pools = [{f"p{s}": n for s in range(t + 1)} for t in range(last)]
    made = {f"p{t}": t - 1 for t in range(1, last)}
    found = effective.heterozygosity(pools, made, dict.fromkeys(range(last), n))
    assert found == pytest.approx(budget.subsample_simpson(last, n)[1:])
