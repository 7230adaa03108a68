"""The factorial of error sources and the ladder of capacities, against effects that were planted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from collapse.claims.attribution import Factors, Ladder, attribute, climb, cuts, judges, subsets
from collapse.claims.grammar import parse_claims
from collapse.claims.judge import evaluate
from collapse.errors import InputError
from collapse.rng import Rng

SOURCES = ("statistical", "expressivity", "approximation")
NAMES = {(): "exact", **{some: "-".join(some) for some in subsets(SOURCES)[1:]}}
BRANCHES = {name: SimpleNamespace(first=1, last=5) for name in NAMES.values()}
RAW = {"metric": "w1", "branches": {name: list(some) for some, name in NAMES.items()}}


def planted(interaction=0.0, noise=0.05, replicates=30):
    """D(S) = 1 + 0.5 s + 0.3 e + 0.2 a + interaction · s·e, with noise that the cells share."""
    shared = noise * Rng("attribution").normal((replicates,))
    found = {}
    for some in subsets(SOURCES):
        own = 0.2 * noise * Rng("attribution", *some).normal((replicates,))
        value = 1 + 0.5 * ("statistical" in some) + 0.3 * ("expressivity" in some) + 0.2 * ("approximation" in some)
        found[frozenset(some)] = value + interaction * ({"statistical", "expressivity"} <= set(some)) + shared + own
    return found


def test_effects_and_shares_are_those_that_were_planted():
    found = attribute(planted(0.4), SOURCES)
    effects = {e.sources: e for e in found.effects}
    for some, value in {
        ("statistical",): 0.5,
        ("expressivity",): 0.3,
        ("statistical", "expressivity"): 0.4,
        ("expressivity", "approximation"): 0.0,
        SOURCES: 0.0,
    }.items():
        assert effects[some].low < value < effects[some].high
    owed = {e.sources[0]: e for e in found.owed}
    assert sum(e.value for e in found.owed) == pytest.approx(found.total.value)  # Shapley values are efficient
    assert sum(e.value for e in found.effects) == pytest.approx(found.total.value)
    assert owed["statistical"].value == pytest.approx(0.7, abs=0.02)
    assert owed["statistical"].share[1] < 0.5 < owed["statistical"].share[2]
    assert found.excess.low > 0.3 and found.total.value == pytest.approx(1.4, abs=0.02)


def test_without_interaction_nothing_compounds():
    assert attribute(planted(), SOURCES).excess.low < 0 < attribute(planted(), SOURCES).excess.high
    assert attribute(planted(-0.3), SOURCES).excess.high < 0


def test_intervals_cover():
    """95 % of 400 factorials hold the planted effect, within binomial noise."""
    hits = 0
    for case in range(400):
        noise = Rng("coverage", case).normal((4, 12))
        d = {
            frozenset(): noise[0],
            frozenset("a"): 1 + noise[1],
            frozenset("b"): 2 + noise[2],
            frozenset("ab"): 3.5 + noise[3],
        }
        both = attribute(d, ("a", "b")).effects[-1]
        hits += both.low < 0.5 < both.high
    assert 360 < hits < 396


def test_a_ladder_names_its_best_rung():
    noise = 0.1 * Rng("ladder").normal((4, 20))
    values = {name: level + noise[i] for i, (name, level) in enumerate({"k1": 2, "k2": 1, "k5": 1.5, "k9": 3}.items())}
    rungs, best = climb(values, Ladder("w1", {"k1": 1, "k2": 2, "k5": 5, "k9": 9}))
    assert best == 1 and [r.capacity for r in rungs] == [1, 2, 5, 9]
    assert rungs[0].more_low > 0.7 and rungs[1].more == 0 and rungs[3].more_high < 2.3


@pytest.mark.parametrize(("interaction", "verdict"), [(0.4, "holds"), (0.0, "undecided"), (-0.3, "fails")])
def test_sources_compound_is_a_claim(interaction, verdict):
    values = planted(interaction)
    table = pd.concat(
        [
            pd.DataFrame(
                {
                    "branch": name,
                    "generation": 5,
                    "metric": "w1",
                    "feature": "",
                    "value": values[frozenset(some)],
                    "replicate": np.arange(30),
                }
            )
            for some, name in NAMES.items()
        ]
    )
    study = SimpleNamespace(factors=Factors.parse(RAW, "f: factors", BRANCHES, ["w1"]), ladder=None, branches=BRANCHES)
    claims = parse_claims(["sources compound", "capacity cuts both ways"], "f", BRANCHES, ["w1"])
    first, second = evaluate(claims, table, {}, {}, 1, judges(study))
    assert first["verdict"] == verdict and "over 30 replicates" in first["evidence"]
    excess = values[frozenset(SOURCES)] + 2 * values[frozenset()] - sum(values[frozenset((name,))] for name in SOURCES)
    assert first["p"] == pytest.approx(stats.binomtest(int((excess > 0).sum()), 30, 0.5, "greater").pvalue, rel=1e-5)
    assert first["estimate"] == pytest.approx(np.median(excess), rel=1e-5)
    assert second["verdict"] == "undecided"
    gone = evaluate(claims, table[table.branch != "exact"], {}, {}, 1, judges(study))[0]
    assert gone["verdict"] == "undecided" and "no record of exact.w1" in gone["evidence"]
    few = evaluate(claims, table[table.replicate < 4], {}, {}, 1, judges(study))[0]
    assert few["verdict"] == "undecided" and "needs R ≥ 5 replicates, has 4" in few["evidence"]
    # a replicate that one branch lacks is paired with nothing
    part = table[(table.branch != "exact") | (table.replicate > 8)]
    assert "9 of which have no number" in evaluate(claims, part, {}, {}, 1, judges(study))[0]["evidence"]


@pytest.mark.parametrize(("curve", "verdict"), [((2, 1, 3), "holds"), ((1, 2, 3), "fails"), ((3, 2, 1), "fails")])
def test_capacity_cuts_both_ways_is_a_claim(curve, verdict):
    noise = 0.1 * Rng("sword").normal((3, 20))
    names = ("k1", "k2", "k3")
    table = pd.concat(
        [
            pd.DataFrame(
                {
                    "branch": name,
                    "generation": 5,
                    "metric": "w1",
                    "feature": "",
                    "value": curve[i] + noise[i],
                    "replicate": np.arange(20),
                }
            )
            for i, name in enumerate(names)
        ]
    )
    spans = {name: SimpleNamespace(first=1, last=5) for name in names}
    study = SimpleNamespace(factors=None, ladder=Ladder("w1", dict(zip(names, (1, 2, 3), strict=True))), branches=spans)
    found = evaluate(parse_claims(["capacity cuts both ways"], "f", spans, ["w1"]), table, {}, {}, 1, judges(study))[0]
    assert found["verdict"] == verdict and "w1 at capacity 3, less that at 2, is" in found["evidence"]


def test_capacity_does_not_cut_both_ways_by_accident():
    """Of six equal capacities one always looks best: with four to choose from, p is four times as large."""
    ladder = Ladder("w1", {f"k{i}": i for i in range(6)})
    hits = [cuts({f"k{i}": noise[i] for i in range(6)}, ladder).verdict == "holds"
            for noise in Rng("equal capacities").normal((400, 6, 20))]
    assert np.mean(hits) <= 0.05
    # one end alone is farther: a curve that falls or rises throughout
    slope = [cuts({f"k{i}": noise[i] + 9 * (i == 0) for i in range(6)}, ladder).verdict == "holds"
             for noise in Rng("one end").normal((400, 6, 20))]
    assert np.mean(slope) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"metric": "w1"}, "f: factors must hold metric and branches"),
        (RAW | {"metric": "w2"}, "'w2' is not a metric; did you mean 'w1'?"),
        (RAW | {"branches": {"exakt": []}}, "'exakt' is not a branch; did you mean 'exact'?"),
        (RAW | {"branches": {"exact": "none"}}, "must list the sources"),
        (RAW | {"branches": {"exact": [], "statistical": []}}, "has the same sources on as exact"),
        (RAW | {"branches": {"exact": []}}, "turns no source on"),
        (
            {"metric": "w1", "branches": {k: v for k, v in RAW["branches"].items() if k != "statistical"}},
            "lacks the branch in which these sources are on: statistical",
        ),
    ],
)
def test_a_wrong_factorial_is_one_line(raw, words):
    with pytest.raises(InputError) as caught:
        Factors.parse(raw, "f: factors", BRANCHES, ["w1"])
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("rungs", [{"exact": 1}, {"exact": 1, "statistical": 1, "expressivity": 2}, {"exact": "a"}])
def test_a_wrong_ladder_is_one_line(rungs):
    with pytest.raises(InputError, match="f: ladder"):
        Ladder.parse({"metric": "w1", "branches": rungs}, "f: ladder", BRANCHES, ["w1"])
