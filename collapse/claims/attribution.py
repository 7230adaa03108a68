"""What each source of error owes: a full factorial over branches, and a ladder of capacities.

The Nature study (Shumailov et al. 2024) names three sources: *statistical* (finite samples), *expressivity* (the
model cannot hold the truth) and *approximation* (training does not find the best model). A study turns each on or off
in branches of its own. With D(S) the final distance where the sources S are on, paired by replicate:

- the **effect** of S is Σ_{T⊆S} (−1)^{|S∖T|} D(T) (Möbius inversion): a source alone, or what several do
  beyond their parts;
- the **share** owed to a source is its Shapley value (Shapley 1953) over D(all) − D(none): interactions are
  split evenly;
- sources **compound** if D(all) − D(none) exceeds the sum of the single effects.

Effects and shares are additive, and so they are means: with 95 % intervals, Student's t over replicates, Fieller's
for shares, which are ratios of means. The two sentences are claims, and are judged on medians over replicates like
any other (:mod:`collapse.stats`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.claims.gain import ratio
from collapse.claims.statements.base import LEVEL, Finding, decided, found_of, phrase, told
from collapse.errors import InputError, nearest
from collapse.stats import Median

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Factors:
    """A full factorial: which branch has which sources on; ``metric`` is the distance, read at a branch's end."""

    metric: str
    sources: tuple[str, ...]
    cells: Mapping[frozenset[str], str]

    @staticmethod
    def parse(raw: Any, where: str, branches: Mapping[str, Any], metrics: Sequence[str]) -> Factors:
        """Return the factorial that a study file describes.

        Raises
        ------
        InputError
            If it is not full: one branch for every set of sources.
        """
        metric, cells = _body(raw, where, branches, metrics, "{exact: [], finite: [statistical]}")
        found: dict[frozenset[str], str] = {}
        for branch, on in cells.items():
            if not isinstance(on, list) or not all(isinstance(name, str) and name for name in on):
                raise InputError(f"{where}.branches.{branch} must list the sources that are on there, "
                                 f"such as [statistical]")
            if frozenset(on) in found:
                raise InputError(f"{where}.branches.{branch} has the same sources on as "
                                 f"{found[frozenset(on)]}; drop one")
            found[frozenset(on)] = branch
        sources = tuple(dict.fromkeys(name for on in cells.values() for name in on))
        if not sources:
            raise InputError(f"{where}.branches turns no source on; name one, such as [statistical]")
        for some in subsets(sources):
            if frozenset(some) not in found:
                words = ", ".join(some) or "none"
                raise InputError(f"{where}.branches lacks the branch in which these sources are on: {words}")
        return Factors(metric, sources, found)


@dataclass(frozen=True)
class Ladder:
    """Branches by rising capacity of the model."""

    metric: str
    capacity: Mapping[str, float]

    @staticmethod
    def parse(raw: Any, where: str, branches: Mapping[str, Any], metrics: Sequence[str]) -> Ladder:
        """Return the ladder that a study file describes.

        Raises
        ------
        InputError
            If it has fewer than three rungs, or a rung without a number of its own.
        """
        metric, rungs = _body(raw, where, branches, metrics, "{small: 1, middle: 3, large: 10}")
        for branch, capacity in rungs.items():
            if isinstance(capacity, bool) or not isinstance(capacity, int | float) or not np.isfinite(capacity):
                raise InputError(f"{where}.branches.{branch} must be the capacity of its model, a number "
                                 f"(it is {capacity!r})")
        if len(set(rungs.values())) < len(rungs) or len(rungs) < 3:
            raise InputError(f"{where}.branches needs three capacities or more, all different")
        return Ladder(metric, dict(sorted(rungs.items(), key=lambda item: item[1])))


def _body(raw: Any, where: str, branches: Mapping[str, Any], metrics: Sequence[str],
          example: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(raw, dict) or set(raw) != {"metric", "branches"} or not isinstance(raw["branches"], dict):
        raise InputError(f"{where} must hold metric and branches, such as {{metric: w1, branches: {example}}}")
    if raw["metric"] not in metrics:
        raise InputError(f"{where}.metric: '{raw['metric']}' is not a metric{nearest(str(raw['metric']), metrics)}")
    for branch in raw["branches"]:
        if branch not in branches:
            raise InputError(f"{where}.branches: '{branch}' is not a branch{nearest(str(branch), branches)}")
    return raw["metric"], raw["branches"]


@dataclass(frozen=True)
class Estimate:
    """A mean over replicates with its 95 % interval; ``share`` of D(all) − D(none), 1.0: all of it, with its own."""

    sources: tuple[str, ...]
    value: float
    low: float
    high: float
    share: tuple[float, float, float] | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        found: dict[str, Any] = {"sources": list(self.sources), "value": _r(self.value), "low": _r(self.low),
                                 "high": _r(self.high)}
        return found if self.share is None else found | {"share": [_r(x) for x in self.share]}


@dataclass(frozen=True)
class Attribution:
    """The factorial's result. ``excess`` is D(all) − D(none) less the single effects: above 0 the sources compound."""

    cells: tuple[Estimate, ...]
    effects: tuple[Estimate, ...]
    owed: tuple[Estimate, ...]
    total: Estimate
    excess: Estimate
    replicates: int

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        lists = {name: [e.plain() for e in getattr(self, name)] for name in ("cells", "effects", "owed")}
        return lists | {"total": self.total.plain(), "excess": self.excess.plain(), "replicates": self.replicates}


def subsets(sources: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all sets of sources, the empty one first."""
    return [some for size in range(len(sources) + 1) for some in combinations(sources, size)]


def attribute(values: Mapping[frozenset[str], np.ndarray], sources: Sequence[str]) -> Attribution:
    """Return what each source owes; ``values`` holds D(S), (R,), for every S, paired by replicate, R ≥ 2."""
    def d(some: Sequence[str]) -> np.ndarray:
        return np.asarray(values[frozenset(some)], dtype=float)

    every = subsets(sources)
    total = d(sources) - d(())
    cells = tuple(_mean(some, d(some)) for some in every)
    effects = []
    for some in every[1:]:
        effect = sum(((-1.0) ** (len(some) - len(part)) * d(part) for part in subsets(some)), np.zeros(len(total)))
        effects.append(_mean(some, effect, total))
    owed = []
    count = len(sources)
    for name in sources:
        rest = [other for other in sources if other != name]
        value = sum(factorial(len(part)) * factorial(count - len(part) - 1) / factorial(count)
                    * (d((*part, name)) - d(part)) for part in subsets(rest))
        owed.append(_mean((name,), value, total))
    excess = total - sum(d((name,)) - d(()) for name in sources)
    return Attribution(cells, tuple(effects), tuple(owed), _mean(tuple(sources), total),
                       _mean(tuple(sources), excess, total), len(total))


@dataclass(frozen=True)
class Rung:
    """One capacity: the final distance, and what it has more than the best capacity, paired by replicate."""

    capacity: float
    branch: str
    value: float
    low: float
    high: float
    more: float
    more_low: float
    more_high: float


def climb(values: Mapping[str, np.ndarray], ladder: Ladder) -> tuple[tuple[Rung, ...], int]:
    """Return the rungs of a ladder and the place of the best; ``values`` holds final distances (R,) by branch."""
    names = list(ladder.capacity)
    means = np.array([values[name].mean() for name in names])
    best = int(np.argmin(np.where(np.isnan(means), np.inf, means)))
    rungs = []
    for name in names:
        here, more = _mean((), values[name]), _mean((), values[name] - values[names[best]])
        rungs.append(Rung(float(ladder.capacity[name]), name, here.value, here.low, here.high, more.value, more.low,
                          more.high))
    return tuple(rungs), best


# ------------------------------------------------------------------------------------------- records


def final(table: pd.DataFrame, branch: str, metric: str, last: int) -> pd.Series:
    """Return a metric of the whole at generation ``last``, by replicate.

    Raises
    ------
    KeyError
        If the branch has no such record.
    """
    here = (table.branch == branch) & (table.generation == last)
    rows = table[here & (table.metric == metric) & (table.feature == "")]
    if rows.empty:
        raise KeyError(f"{branch}.{metric} at generation {last}")
    return rows.set_index("replicate").value.astype(float)


def _finals(study: Any, table: pd.DataFrame, branches: Sequence[str], metric: str) -> dict[str, np.ndarray]:
    """Return the final distances (R,) by branch, paired by replicate; what one branch lacks is NaN."""
    import pandas as pd

    found = {name: final(table, name, metric, study.branches[name].last) for name in branches}
    both = pd.concat(found, axis="columns").sort_index()
    return {name: both[name].to_numpy() for name in branches}


def _cells_of(study: Any, table: pd.DataFrame) -> dict[frozenset[str], np.ndarray]:
    factors = study.factors
    ends = _finals(study, table, list(factors.cells.values()), factors.metric)
    return {on: ends[branch] for on, branch in factors.cells.items()}


def factorial_of(study: Any, table: pd.DataFrame) -> Attribution:
    """Return the attribution of a study with factors."""
    return attribute(_cells_of(study, table), study.factors.sources)


def ladder_of(study: Any, table: pd.DataFrame) -> tuple[tuple[Rung, ...], int]:
    """Return the rungs of a study with a ladder, and the place of the best."""
    return climb(_finals(study, table, list(study.ladder.capacity), study.ladder.metric), study.ladder)


def compound(values: Mapping[frozenset[str], np.ndarray], sources: Sequence[str], metric: str) -> Finding:
    """Return whether, in the median, all sources together add more than the sum of what each adds alone."""
    none, all_on = values[frozenset()], values[frozenset(sources)]
    with np.errstate(invalid="ignore"):
        excess = Median(all_on - none - sum(values[frozenset((name,))] - none for name in sources))
        total = Median(all_on - none)
    p = excess.above(0)
    text = told(f"With all sources on, {metric} grows by {phrase(total.estimate)}; what that is more than what they do "
                "alone", excess, LEVEL)
    return found_of(decided(p, excess.below(0, equal=True), LEVEL), text, excess, LEVEL, p)


def cuts(values: Mapping[str, np.ndarray], ladder: Ladder) -> Finding:
    """Return whether some capacity inside ends nearer, in the median, than both the least and the greatest.

    Which one is not known beforehand: the least p-value over those inside is multiplied by their number (Bonferroni).
    It fails where one end is shown to be as near as every capacity inside.
    """
    names = list(ladder.capacity)
    ends, inside = (names[0], names[-1]), names[1:-1]
    with np.errstate(invalid="ignore"):
        more = {(end, name): Median(values[end] - values[name]) for end in ends for name in inside}
    each = {name: max(more[end, name].above(0) for end in ends) for name in inside}
    best = min(inside, key=lambda name: (each[name], np.nan_to_num(Median(values[name]).estimate, nan=np.inf)))
    p = min(1.0, len(inside) * each[best])
    against = min(max(more[end, name].below(0, equal=True) for name in inside) for end in ends)
    weaker = max((more[end, best] for end in ends), key=lambda centre: centre.above(0))
    text = "; ".join(told(f"{ladder.metric} at capacity {ladder.capacity[end]:g}, less that at "
                          f"{ladder.capacity[best]:g},", more[end, best], LEVEL) for end in ends)
    return found_of(decided(p, against, LEVEL), text, weaker, LEVEL, p)


def judges(study: Any) -> dict[str, Any]:
    """Return what judges the two sentences on a design (:mod:`collapse.claims.statements.referred`)."""
    found: dict[str, Any] = {}
    if study.factors is not None:
        found["sources compound"] = lambda records: compound(
            _cells_of(study, records.table), study.factors.sources, study.factors.metric)
    if study.ladder is not None:
        found["capacity cuts both ways"] = lambda records: cuts(
            _finals(study, records.table, list(study.ladder.capacity), study.ladder.metric), study.ladder)
    return found


def _mean(sources: Sequence[str], values: np.ndarray, whole: np.ndarray | None = None) -> Estimate:
    from scipy.special import stdtrit

    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    middle = float(values.mean())
    share = None if whole is None else ratio(values, whole)
    return Estimate(tuple(sources), middle, middle - float(half), middle + float(half), share)


def _r(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
