"""When a branch collapses, and which metric warns first: onsets, lead times and their ranking.

**Onset.** *Early* begins at the first generation at which anything is lost beyond chance (tails, spread, modes), *late*
at the first at which spread or modes are below half of what control keeps (:mod:`collapse.verdict`). A node is judged
by the median over replicates, as its stage is; each replicate alone by the band of one replicate. A replicate that
never leaves is censored at the last generation: it counts as later than that, which the median and its exact
order-statistic interval can bear.

**Lead.** How many generations before late onset a metric leaves its own band, replicate by replicate: late − exit.
Every metric has the same false-alarm rate (1 % over the generations of a branch run, for one replicate), on the side on
which its collapse lies, or on both, so that they compare. Where one of the two never happens the lead is known from one
side only: with T the last generation, late but no exit is a lead of at most late − (T + 1); exit but not late is one of
at least (T + 1) − exit; neither is no knowledge. So every replicate has a least and a most, and so has their median.

Steps d(t, t−1) are looked at from above only. Every step of a loop that trains on its last sample is below its band,
healthy or not, for the calibration's steps are between fits to independent rows: that shows recursion, not loss.

A lead is given where there was something to warn of: on branches where half of the replicates alone are late, and on a
fork only if it was not late when it began. (A median over many replicates has a narrower band than one replicate, and
may be late long before half of them are: of such a branch nothing can be paired.) What the calibration promises is
checked on the control branch: a metric that leaves its band there far more often than it should is *loud*, and ranked
behind all that are not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from collapse.calibration import Band, interval, middle
from collapse.claims.intervals import median_interval
from collapse.verdict import (
    LATE,
    SHOWN,
    STAGES,
    Sign,
    decide,
    losses,
    role,
    staged,
    standing,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd

    from collapse.metrics.base import Fact

#: Chance that a healthy branch run leaves any judged band, as for a stage; and that it leaves the one of one metric.
ALPHA, RATE = 0.01, 0.01
#: A metric is loud if more control replicates than so many times the rate leave its band, beyond doubt.
LOUD, DOUBT = 5.0, 0.001


class Span(Protocol):
    """A branch: its generations."""

    first: int
    last: int


@dataclass(frozen=True)
class Onset:
    """When a stage begins on a branch.

    ``generation`` is that of the median over replicates (None: never), ``by`` the metrics that left then. ``median``,
    ``low`` and ``high`` are of the replicates' own onsets, None where that is later than ``last``; below 6 replicates
    there is no interval, and ``low`` and ``high`` are None too. ``never``: share of the replicates that did not leave;
    1.0: none left, 0.0: all did. ``first`` and ``last`` are the generations looked at: an onset at the ``first`` of a
    fork may have been before.
    """

    branch: str
    stage: str
    generation: int | None
    by: tuple[str, ...]
    first: int
    last: int
    replicates: int
    median: float | None
    low: float | None
    high: float | None
    never: float

    @property
    def sentence(self) -> str:
        """Return it in words."""
        if self.generation is None:
            text = f"{self.branch} shows no {SHOWN[self.stage]} up to generation {self.last}"
        else:
            text = (f"{self.branch} shows {SHOWN[self.stage]} from generation {self.generation} "
                    f"({', '.join(self.by)})")
        if self.replicates == 1:
            return f"{text}."
        own = f"later than {self.last}" if self.median is None else f"{self.median:g}"
        if self.replicates >= 6:
            ends = ["later" if end is None else f"{end:g}" for end in (self.low, self.high)]
            own += f" [{ends[0]}, {ends[1]}]"
        return f"{text}; {self.replicates} replicates alone: median {own}, {100 * self.never:.3g} % never."


@dataclass(frozen=True)
class Lead:
    """How many generations before late onset a metric leaves its band; above 0: it warns, below 0: it comes after.

    ``branch`` is '' for a study as a whole: the median over its branches in each replicate. ``lead`` is the median over
    replicates of the least that is known (None: for half of them the metric never left), ``most`` of the most (None:
    half of them were never late); equal if nothing is censored. ``low`` and ``high`` are the exact 95 % order-statistic
    interval of the median, None where unbounded, and below 6 replicates. ``ahead``, ``together`` and ``behind`` are the
    shares of replicates in which it left before, with or after late onset (or never), ``unknown`` of those with
    neither. ``generation`` is the first at which the median over replicates is outside its band, ``exit`` the median of
    the replicates' own (both None: never, or a study). ``alarms`` is the share of control replicates that left (None:
    no control). ``tied``: not told apart from the first, by the interval of the median paired difference; below 6
    replicates, where there is none: the median difference is 0.
    """

    metric: str
    branch: str
    side: str
    generation: int | None
    exit: float | None
    lead: float | None
    most: float | None
    low: float | None
    high: float | None
    ahead: float
    together: float
    behind: float
    unknown: float
    replicates: int
    alarms: float | None
    loud: bool
    rank: int
    tied: bool


@dataclass(frozen=True)
class Survey:
    """A study: its onsets, the leads on each branch that was late, by rank, and those of the study as a whole."""

    onsets: tuple[Onset, ...]
    branches: Mapping[str, tuple[Lead, ...]]
    leads: tuple[Lead, ...]
    rate: float

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "rate": self.rate,
            "onsets": [_plain(onset) for onset in self.onsets],
            "branches": {name: [_plain(lead) for lead in leads] for name, leads in self.branches.items()},
            "leads": [_plain(lead) for lead in self.leads],
        }


    @staticmethod
    def parse(data: Mapping[str, Any]) -> Survey:
        """Return the survey that :meth:`plain` described."""
        return Survey(tuple(Onset(**{**item, "by": tuple(item["by"])}) for item in data["onsets"]),
                      {name: tuple(Lead(**item) for item in leads) for name, leads in data["branches"].items()},
                      tuple(Lead(**item) for item in data["leads"]), data["rate"])


@dataclass(frozen=True)
class Standing:
    """One metric over all studies.

    ``score`` is the mean over the studies that rank it of (rank − 1) / (metrics − 1); 0.0: the first in each, 1.0: the
    last in each. ``first`` names the studies in which nothing warns before it, as far as replicates can tell.
    """

    metric: str
    score: float
    first: tuple[str, ...]
    studies: Mapping[str, Lead]

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"metric": self.metric, "score": round(self.score, 4), "first": list(self.first),
                "studies": {name: _plain(lead) for name, lead in self.studies.items()}}


def survey(table: pd.DataFrame, floors: Mapping[str, Any], branches: Mapping[str, Span], facts: Mapping[str, Fact],
           controls: Collection[str] = (), *, alpha: float = ALPHA, rate: float = RATE, late: float = LATE) -> Survey:
    """Return when each branch of a study collapses, and which metric warns first.

    Parameters
    ----------
    table
        Tidy measurements: branch, generation, replicate, metric, feature, value.
    floors
        By branch: its calibration table (:func:`collapse.floor.floor`).
    branches
        By name: the generations of each. One without a calibration or a measurement is passed over.
    facts
        What each metric means; its ``collapse`` is the side that warns.
    controls
        Those of the branches whose regime is control: false alarms are counted there.
    late
        Share of what control keeps below which a loss is material.
    """
    runs = {run.branch: run for run in _runs(table, floors, branches, facts)}
    onsets, exits, fell = [], {}, {}
    for name, run in runs.items():
        found, fell[name] = _onsets(run, branches[name].last, alpha, late)
        onsets += found
        exits[name] = _exits(run, facts, rate)
    alarms = _alarms([exits[name] for name in controls if name in exits])
    looked = {name: {m: _Looked.of(e, fell[name], runs[name].last) for m, e in exits[name].items()}
              for name in runs if name not in controls and _warnable(runs[name], fell[name])}
    each = {name: _rank(name, found, facts, alarms, rate) for name, found in looked.items()}
    return Survey(tuple(onsets), each, _rank("", _over(looked, runs), facts, alarms, rate), rate)


def ranking(surveys: Mapping[str, Survey]) -> tuple[Standing, ...]:
    """Return every metric's standing over the studies in which something was late, the best first."""
    names = {lead.metric for survey in surveys.values() for lead in survey.leads}
    found = []
    for metric in names:
        own = {study: lead for study, survey in surveys.items() for lead in survey.leads if lead.metric == metric}
        scores = [(lead.rank - 1) / max(1, len(surveys[study].leads) - 1) for study, lead in own.items()]
        first = tuple(study for study, lead in own.items() if lead.tied)
        found.append(Standing(metric, float(np.mean(scores)), first, own))
    return tuple(sorted(found, key=lambda item: (item.score, -len(item.studies), item.metric)))


def firsts(surveys: Mapping[str, Survey]) -> dict[str, tuple[Lead, ...]]:
    """Return by study the metric that warns first and those not told apart from it; () if nothing was late."""
    return {study: tuple(lead for lead in survey.leads if lead.tied) for study, survey in surveys.items()}


# --------------------------------------------------------------------------------------------- branches


@dataclass(frozen=True, eq=False)
class _Run:
    """The calibrated whole-sample metrics of one branch.

    ``values`` (M, T, R) from generation ``first`` to ``last``; ``seen`` says which were measured (a halted branch ends
    early). ``floor`` holds the calibrated values of each metric, ``replicates`` their numbers (R,).
    """

    branch: str
    first: int
    last: int
    names: tuple[str, ...]
    values: np.ndarray
    seen: np.ndarray
    floor: Mapping[str, np.ndarray]
    replicates: np.ndarray

    def out(self, metric: str, side: str, band: Band) -> np.ndarray:
        """Return where the values are outside, (T, R); what is no number is below, as for a stage."""
        place = self.names.index(metric)
        return self.seen[place] & _outside(self.values[place], side, band)

    def median_out(self, metric: str, side: str, band: Band) -> np.ndarray:
        """Return where the median over replicates is outside, (T,)."""
        place = self.names.index(metric)
        seen = self.seen[place].all(axis=1)
        return seen & _outside(middle(self.values[place], axis=1), side, band)


def _outside(values: np.ndarray, side: str, band: Band) -> np.ndarray:
    below, above = ~(values >= band.low), values > band.high
    return {"below": below, "above": above, "either": below | above}[side]


def _runs(table: pd.DataFrame, floors: Mapping[str, Any], branches: Mapping[str, Span],
          facts: Mapping[str, Fact]) -> Iterator[_Run]:
    """Yield the runs of all branches; the table's texts are compared once, for there may be millions."""
    import pandas as pd

    branch_codes, branch_names = pd.factorize(table["branch"])
    metric_codes, metric_names = pd.factorize(table["metric"])
    whole = (table["feature"] == "").to_numpy(dtype=bool)
    generation, replicate = table["generation"].to_numpy(), table["replicate"].to_numpy()
    value = table["value"].to_numpy(dtype=float)
    calibrated: dict[int, dict[str, np.ndarray]] = {}
    for name, span in branches.items():
        if name not in floors or name not in branch_names:
            continue
        if id(floors[name]) not in calibrated:  # branches share one
            calibrated[id(floors[name])] = _floor(floors[name])
        floor = calibrated[id(floors[name])]
        known = np.array([m in floor and m in facts and facts[m].family != "fit" for m in metric_names], dtype=bool)
        mine = np.flatnonzero((branch_codes == branch_names.get_loc(name)) & whole & known[metric_codes]
                              & (generation >= span.first) & (generation <= span.last))
        if not len(mine):
            continue
        ids, column = np.unique(replicate[mine], return_inverse=True)
        codes, row = np.unique(metric_codes[mine], return_inverse=True)
        last = int(generation[mine].max())
        values = np.full((len(codes), last - span.first + 1, len(ids)), np.nan)
        seen = np.zeros(values.shape, dtype=bool)
        values[row, generation[mine] - span.first, column] = value[mine]
        seen[row, generation[mine] - span.first, column] = True
        yield _Run(name, span.first, last, tuple(metric_names[codes]), values, seen, floor, ids)


def _floor(table: Any) -> dict[str, np.ndarray]:
    """Return the calibrated values of healthy generations by whole-sample metric."""
    kind, metric, feature = (np.asarray(table[key]).astype(str) for key in ("kind", "metric", "feature"))
    use = (kind == "model") & (feature == "")
    names, inverse = np.unique(metric[use], return_inverse=True)
    values = np.asarray(table["value"], dtype=float)[use]
    return {str(name): values[inverse == place] for place, name in enumerate(names)}


# ----------------------------------------------------------------------------------------- onsets, exits


def _onsets(run: _Run, last: int, alpha: float, share: float) -> tuple[list[Onset], np.ndarray]:
    """Return early and late onset, and when each replicate is late, (R,)."""
    names = staged(run.names)
    never = np.full(len(run.replicates), np.inf)
    if not names:
        return [], never
    level = alpha / max(1, len(names) * last)  # as a node is judged, whose branch ends at ``last``
    places = [run.names.index(name) for name in names]
    count = len(run.replicates)
    whole, alone = ([interval(run.floor[name], size, level) for name in names] for size in (count, 1))
    # what was not measured is no sign of anything
    center = np.array([band.center for band in whole])[:, None, None]
    values = np.where(run.seen[places], run.values[places], center)  # (M, T, R)
    seen = run.seen[places].all(axis=2)
    medians = np.where(seen, middle(values, axis=2), center[:, :, 0])  # (M, T)
    found, own = [], never
    for stage in ("early", "late"):
        hit, each = (_reached(stage, names, x, bands, share) for x, bands in ((medians, whole), (values, alone)))
        place = int(hit.argmax()) if hit.any() else None
        by = () if place is None else _by(stage, names, medians[:, place], whole, share)
        own = _first(each, run.first)
        median, low, high = (_known(x) for x in median_interval(own))
        found.append(Onset(run.branch, stage, None if place is None else run.first + place, by, run.first, run.last,
                           count, median, low, high, float(np.isinf(own).mean())))
    return found, own


def _reached(stage: str, names: Sequence[str], values: np.ndarray, bands: Sequence[Band], share: float) -> np.ndarray:
    """Return where a stage has begun: early where anything is lost, late where the loss is material; (M, …) -> (…)."""
    low, high, center = (np.array([getattr(band, end) for band in bands]) for end in ("low", "high", "center"))
    if stage == "early":
        return losses(names, values, low, high, center)
    return decide(names, values, low, high, center, share) == STAGES.index("late")


def _by(stage: str, names: Sequence[str], values: np.ndarray, bands: Sequence[Band], share: float) -> tuple[str, ...]:
    """Return the metrics that speak of a stage where it begins."""
    signs = [Sign(name, "", float(value), band.low, band.high, band.center, role(name, "", band.side(value)))
             for name, value, band in zip(names, values, bands, strict=True) if band.side(value) != "inside"]
    if stage == "late":
        centers = {name: band.center for name, band in zip(names, bands, strict=True)}
        stands = standing(dict(zip(names, map(float, values), strict=True)), centers.get)
        carried = verdict(signs, share, stands).signs
        return tuple(sign.metric for sign in carried if sign.kept is None or sign.kept < share)
    return tuple(sign.metric for sign in signs if sign.role in ("spread lost", "modes lost", "tails lost"))


@dataclass(frozen=True, eq=False)
class _Exit:
    """First generations outside the band: of the median over replicates, and of each alone, (R,); inf: never."""

    whole: float
    alone: np.ndarray


def _exits(run: _Run, facts: Mapping[str, Fact], rate: float) -> dict[str, _Exit]:
    generations = run.values.shape[1]
    found = {}
    for name in run.names:
        side = _side(name, facts)
        level = rate / generations * (1 if side == "either" else 2)  # a band has half of its level on each side
        whole = run.median_out(name, side, interval(run.floor[name], len(run.replicates), level))
        alone = run.out(name, side, interval(run.floor[name], 1, level))
        found[name] = _Exit(float(_first(whole[:, None], run.first)[0]), _first(alone, run.first))
    return found


def _side(metric: str, facts: Mapping[str, Fact]) -> str:
    """Return on which side of its band a metric warns."""
    return "above" if metric.endswith("_step") else facts[metric].collapse


def _first(out: np.ndarray, first: int) -> np.ndarray:
    """Return the first generation outside of each replicate: (T, R) -> (R,); inf where there is none."""
    return np.where(out.any(axis=0), first + out.argmax(axis=0), np.inf)


def _alarms(exits: Sequence[Mapping[str, _Exit]]) -> dict[str, tuple[int, int]]:
    """Return how many control replicates left the band of each metric, and of how many."""
    found: dict[str, tuple[int, int]] = {}
    for run in exits:
        for name, item in run.items():
            left, count = found.get(name, (0, 0))
            found[name] = (left + int(np.isfinite(item.alone).sum()), count + len(item.alone))
    return found


# ------------------------------------------------------------------------------------------------ leads


def _warnable(run: _Run, late: np.ndarray) -> bool:
    """Return whether there was something to warn of: half of the replicates late, and not from a fork's start."""
    middle = np.median(late)
    return bool(np.isfinite(middle) and (run.first == 1 or middle > run.first))


@dataclass(frozen=True, eq=False)
class _Looked:
    """What is known of one metric's lead in each replicate: the least and the most, (R,), and its exit."""

    least: np.ndarray
    most: np.ndarray
    whole: float | None
    exit: np.ndarray | None

    @staticmethod
    def of(exit_: _Exit, late: np.ndarray, last: int) -> _Looked:
        left, fell = np.isfinite(exit_.alone), np.isfinite(late)
        soon, gone = np.where(left, exit_.alone, last + 1), np.where(fell, late, last + 1)
        gap = gone - soon
        return _Looked(np.where(left, gap, -np.inf), np.where(fell, gap, np.inf), exit_.whole, exit_.alone)


def _over(looked: Mapping[str, Mapping[str, _Looked]], runs: Mapping[str, _Run]) -> dict[str, _Looked]:
    """Return the lower median over branches, replicate by replicate, of every metric that all of them have."""
    if not looked:
        return {}
    first, *rest = (runs[name].replicates for name in looked)
    shared = first
    for ids in rest:
        shared = np.intersect1d(shared, ids)
    here = {name: np.searchsorted(runs[name].replicates, shared) for name in looked}
    found = {}
    for metric in set.intersection(*(set(items) for items in looked.values())):
        least, most = (np.sort([getattr(items[metric], end)[here[name]] for name, items in looked.items()], axis=0)
                       for end in ("least", "most"))  # (B, R)
        middle = (len(least) - 1) // 2  # a median of both ends keeps least ≤ most, and never halves ∞ − ∞
        found[metric] = _Looked(least[middle], most[middle], None, None)
    return found


def _rank(branch: str, looked: Mapping[str, _Looked], facts: Mapping[str, Fact],
          alarms: Mapping[str, tuple[int, int]], rate: float) -> tuple[Lead, ...]:
    """Return the leads in order: not loud, the greatest lead, most often ahead, and the greatest mean lead."""
    if not looked:
        return ()
    loud = {name: _loud(*alarms[name], rate) if name in alarms else False for name in looked}

    def order(name: str) -> tuple[Any, ...]:
        item = looked[name]
        kind = np.where(np.isfinite(item.least), item.least, np.minimum(item.most, 0))  # at most, where it never left
        return loud[name], -float(np.median(item.least)), -float((item.least > 0).mean()), -float(kind.mean()), name

    names = sorted(looked, key=order)
    best = looked[names[0]]
    found = []
    for rank, name in enumerate(names, 1):
        item = looked[name]
        lead, low, _ = median_interval(item.least)
        most, _, high = median_interval(item.most)
        together = (item.least == 0) & (item.most == 0)
        left, count = alarms.get(name, (0, 0))
        found.append(Lead(
            name, branch, _side(name, facts), None if item.whole is None or np.isinf(item.whole) else int(item.whole),
            None if item.exit is None else _known(np.median(item.exit)), _known(lead), _known(most), _known(low),
            _known(high), float((item.least > 0).mean()), float(together.mean()), float((item.most < 0).mean()),
            float((np.isinf(item.least) & np.isinf(item.most)).mean()), len(item.least),
            left / count if count else None, loud[name], rank,
            rank == 1 or (loud[name] == loud[names[0]] and _level(best, item))))
    return tuple(found)


def _level(best: _Looked, other: _Looked) -> bool:
    """Return whether the 95 % interval of the median paired difference best − other reaches 0.

    Late onset is the same for both, so it cancels wherever both left; where one never did its bound stands in. A metric
    that half of the replicates never leave is not level with one that they do.
    """
    if np.median(other.least) == -np.inf < np.median(best.least):
        return False
    both = np.isfinite(best.least) & np.isfinite(other.least)
    with np.errstate(invalid="ignore"):
        least = np.where(both, best.least - other.least, best.least - other.most)
    least = np.where(np.isfinite(least), least, -np.inf)
    middle, low, _ = median_interval(least)
    return bool((middle if np.isnan(low) else low) <= 0)


def _loud(left: int, count: int, rate: float) -> bool:
    """Return whether so many false alarms are beyond doubt more than :data:`LOUD` times the rate (binomial)."""
    from scipy.special import bdtrc

    return left > 0 and bool(bdtrc(left - 1, count, LOUD * rate) < DOUBT)


def _known(value: Any) -> float | None:
    """Return a number, or None for what is unbounded or no number."""
    return float(value) if np.isfinite(value) else None


def _plain(item: Onset | Lead) -> dict[str, Any]:
    """Return plain data for JSON, shares with 4 digits."""
    return {key: round(value, 4) if isinstance(value, float) else list(value) if isinstance(value, tuple) else value
            for key, value in asdict(item).items()}
