"""What each source of error owes: a full factorial over branches, and a ladder of capacities.

The Nature study (Shumailov et al. 2024) names three sources: *statistical* (finite samples), *expressivity* (the model
cannot hold the truth) and *approximation* (training does not find the best model). A study turns each on or off in
branches of its own. With D(S) the final distance where the sources S are on, paired by replicate:

- the **effect** of S is Σ_{T⊆S} (−1)^{|S∖T|} D(T) (Möbius inversion): a source alone, or what several do
  beyond their parts;
- the **share** owed to a source is its Shapley value (Shapley 1953) over D(all) − D(none): interactions are
  split evenly;
- sources **compound** if D(all) − D(none) exceeds the sum of the single effects.

Intervals are 95 %: Student's t over replicates, Fieller's for shares, which are ratios of means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.errors import InputError, nearest
from collapse.gain import ratio

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
        effect = sum((-1.0) ** (len(some) - len(part)) * d(part) for part in subsets(some))
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
    best = int(np.argmin([values[name].mean() for name in names]))
    rungs = []
    for name in names:
        here, more = _mean((), values[name]), _mean((), values[name] - values[names[best]])
        rungs.append(Rung(float(ladder.capacity[name]), name, here.value, here.low, here.high, more.value, more.low,
                          more.high))
    return tuple(rungs), best


# ------------------------------------------------------------------------------------------- records


def final(table: pd.DataFrame, branch: str, metric: str, last: int) -> np.ndarray:
    """Return a metric of the whole at generation ``last`` by replicate, (R,).

    Raises
    ------
    KeyError
        If the branch has no such record.
    """
    here = (table.branch == branch) & (table.generation == last)
    rows = table[here & (table.metric == metric) & (table.feature == "")]
    if rows.empty:
        raise KeyError(f"{branch}.{metric} at generation {last}")
    return rows.sort_values("replicate").value.to_numpy(dtype=float)


def factorial_of(study: Any, table: pd.DataFrame) -> Attribution:
    """Return the attribution of a study with factors."""
    factors = study.factors
    return attribute({on: final(table, branch, factors.metric, study.branches[branch].last)
                      for on, branch in factors.cells.items()}, factors.sources)


def ladder_of(study: Any, table: pd.DataFrame) -> tuple[tuple[Rung, ...], int]:
    """Return the rungs of a study with a ladder, and the place of the best."""
    ladder = study.ladder
    return climb({branch: final(table, branch, ladder.metric, study.branches[branch].last)
                  for branch in ladder.capacity}, ladder)


def judges(study: Any) -> dict[str, Any]:
    """Return what judges the sentences 'sources compound' and 'capacity cuts both ways' (:mod:`collapse.claims`)."""
    def compound(records: Any) -> tuple[Any, ...]:
        found = factorial_of(study, records.table)
        e = found.excess
        verdict = "holds" if e.low > 0 else "fails" if e.high <= 0 else "undecided"
        share = "" if e.share is None else f", {100 * e.share[0]:.0f} % of the whole"
        return verdict, (f"With all sources on, {study.factors.metric} grows by {found.total.value:.3g}, which is "
                         f"{e.value:.3g} [{e.low:.3g}, {e.high:.3g}] more than what they do alone{share}, over "
                         f"{found.replicates} replicates."), e

    def sword(records: Any) -> tuple[Any, ...]:
        rungs, best = ladder_of(study, records.table)
        ends = rungs[0], rungs[-1]
        inside = 0 < best < len(rungs) - 1
        verdict = "holds" if inside and all(end.more_low > 0 for end in ends) else \
            "fails" if any(end.more_high <= 0 or not inside for end in ends) else "undecided"
        text = ", ".join(f"{end.more:.3g} [{end.more_low:.3g}, {end.more_high:.3g}] more at {end.capacity:g}"
                         for end in ends)
        return verdict, f"{study.ladder.metric} is least at capacity {rungs[best].capacity:g}; it is {text}.", None

    found: dict[str, Any] = {}
    if study.factors is not None:
        found["sources compound"] = compound
    if study.ladder is not None:
        found["capacity cuts both ways"] = sword
    return found


def _mean(sources: Sequence[str], values: np.ndarray, whole: np.ndarray | None = None) -> Estimate:
    from scipy.special import stdtrit

    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    middle = float(values.mean())
    share = None if whole is None else ratio(values, whole)
    return Estimate(tuple(sources), middle, middle - float(half), middle + float(half), share)


def _r(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
