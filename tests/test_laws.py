"""Every closed form against simulation through the library's own classes, with its mutants; and printed values."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from collapse import laws, loop
from collapse.errors import InputError
from collapse.laws import budget, effective, gaussian, real, verification
from collapse.laws import categorical as drift
from collapse.laws.base import Judgement
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
    assert lines[8] == pytest.approx(0.9**8)


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
