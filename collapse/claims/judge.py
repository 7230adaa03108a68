"""Executable claims: one sentence in a study file, judged on the study's records.

A claim is one of these sentences, word for word (``[…]`` may be left out, ``a|b`` is a choice)::

    SERIES leaves the control band [below|above] [by generation N]
    SERIES stays inside the control band [until generation N]
    SERIES < SERIES|NUMBER [at generation N]        likewise >; SERIES + NUMBER or SERIES - NUMBER on the right
    SERIES falls|rises [by more than MARGIN] [until generation N] [at P %]
    SERIES does not fall|rise by more than MARGIN [until generation N] [at P %]
    SERIES keeps within MARGIN [until generation N] [at P %]
    SERIES [falls|rises and] levels off within MARGIN [until generation N] [at P %]
    SERIES amplifies|corrects its bias [around NUMBER] [from generation M] [until generation N]
    SERIES keeps its bias within NUMBER % [around NUMBER] [from generation M] [until generation N]
    BRANCH reaches|avoids early|late|distorted|drifted [by generation N]
    BRANCH warns before late
    BRANCH is STAGE in [at least] P % of cells
    sources compound
    capacity cuts both ways

    SERIES = [mean] BRANCH.METRIC or BRANCH.METRIC[FEATURE]
    MARGIN = NUMBER in the metric's own units, or NUMBER % of where the series begins

N left out means the branch's last generation, M its first; P is a one-sided level, 95 if left out. A law is claimed
by a mapping: ``{law: NAME, branch: BRANCH, feature: FEATURE, source: …}``, of which ``feature`` and ``source`` may be
left out.

A claim **holds** if the data would speak as clearly for it in at most 5 % (100 − P %) of cases were it false,
**fails** if they speak so clearly against it, and is **undecided** otherwise. It is **blind** if nothing that could
be measured would have refuted it. So each of the two is wrong at most as often as its level says
(:mod:`collapse.stats`):

- Replicates count as one path each: their **median** is judged by the sign test, right at any R and for any
  distribution; at 95 % it needs R ≥ 5. Between two series it is the median of paired differences, which is not the
  difference of medians. ``mean`` must be asked for, and is undecided where few paths carry it.
- A series *falls* if, in the median, a path ends below where it began, and also its Theil–Sen slope is below 0 (more
  pairs of generations fall than rise); 1 → 5 → 2 does not. *By more than* a margin: its end is lower by more than
  that.
- *Does not rise by more than* and *keeps within* a margin are equivalence statements: at every generation the change
  since the first is shown to be within it (two one-sided tests, Schuirmann 1987; all must pass, so none is corrected
  for). More confidence makes them harder. One data set never both rises by more than a margin and does not.
- A series *levels off* within a margin if it changes by more than that until the middle of its generations, and is
  from there on shown to keep within it.
- A *band* claim is judged on the median over replicates against the calibrated control band, whose level is
  family-wise: 1 % over ``cells`` looks together. It *leaves* where the median is outside. It *stays inside* where
  that is shown: the median's bounds lie inside at every generation.
- A *bias* claim is judged on the mean over replicates less the truth (:mod:`collapse.claims.gain`), and on what of it
  is left at N of what there was at M. *Amplifies*: more, in the same direction. *Corrects*: less, in either. *Keeps
  within* 10 %: from 0.9 to 1.1 of it in all, not per generation. The truth is the metric's ideal, or the number after
  ``around`` where that depends on the data.
- *Sources compound* and *capacity cuts both ways* are of a study's ``factors`` and ``ladder``
  (:mod:`collapse.claims.attribution`): with all sources of error on, the distance grows by more than what they do
  alone; some capacity between them ends nearer than both the least and the greatest.
- A *stage* claim is counted, cell by cell: a cell is one replicate at one generation.
- A value that is no number, or is missing, lies below every band, as in stages; elsewhere it counts on neither side.
- What the records cannot tell (a halted branch, too few replicates, no calibration) is undecided.

Claims that are judged by a test have a p-value: the chance, were they false, of data that speak as clearly for them.
Over those of a study Holm's correction says which would still hold if all of them were to be right together in 95 %
of studies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from collapse.claims.gain import loop_gain
from collapse.stats import Centre, Mean, Median, holm, theil_sen
from collapse.verdict import CENTRAL, LATE, staged, within

if TYPE_CHECKING:
    import pandas as pd

    from collapse.metrics.base import Fact

#: The stages at or beyond each one: a branch that is late has been early. Distortion and drift are ways of their own.
BEYOND = {"early": ("early", "late"), "late": ("late",), "distorted": ("distorted",), "drifted": ("drifted",)}
#: What a value outside its band speaks of, by the stage that it can make.
SIGNS = {"early": ("spread lost", "modes lost", "tails lost"), "late": ("spread lost", "modes lost"),
         "distorted": ("gained", "changed"), "drifted": ("moved",)}
#: One-sided level of a claim that names none, and chance that any claim of a study holds by accident after Holm's.
LEVEL, FAMILY = 0.95, 0.05

Verdict = Literal["holds", "fails", "undecided", "blind"]
#: What judges a law: of the records, the branch and the feature, verdict, evidence and, if it has any, more data.
Judge = Callable[..., tuple[Any, ...]]


class Span(Protocol):
    """A branch as a claim sees it: its generations."""

    @property
    def first(self) -> int:
        """Return the first of its own."""

    @property
    def last(self) -> int:
        """Return the last."""


class BandsLike(Protocol):
    """The calibrated bands of one branch (:mod:`collapse.calibration`)."""

    def band(self, metric: str, feature: str = "", kind: str = "model", replicates: int = 1, cells: int = 1) -> Any:
        """Return the band of the median of ``replicates``, 1 % family-wise over ``cells``: low, high; or KeyError."""


def band_of(bands: Mapping[str, BandsLike], branch: str, metric: str, feature: str, replicates: int, cells: int) -> Any:
    """Return the band of a branch's metric, or None where nothing was calibrated."""
    if branch not in bands:
        return None
    try:
        return bands[branch].band(metric, feature, replicates=replicates, cells=cells)
    except KeyError:  # a class that no fit made has no floor
        return None


# ----------------------------------------------------------------------------------------- intervals


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean and t interval of R values, by default of 95 %; the interval of one value is NaN."""
    from scipy.special import stdtrit

    values = np.asarray(values, dtype=float)
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    half = float(stdtrit(count - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return median and exact interval of at least ``level`` from order statistics; NaN of too few values.

    The full range of R values covers the median in 1 − 2·2^−R of cases: 6 values are the least for 95 %.
    """
    from scipy.special import bdtr

    values = np.sort(np.asarray(values, dtype=float))
    count = len(values)
    ranks = [k for k in range(1, count // 2 + 1) if bdtr(k - 1, count, 0.5) <= (1 - level) / 2]
    if not ranks:
        return float(np.median(values)), np.nan, np.nan
    return float(np.median(values)), float(values[ranks[-1] - 1]), float(values[count - ranks[-1]])


# ----------------------------------------------------------------------------------- what is judged


@dataclass(frozen=True)
class Records:
    """What a study measured, as claims read it."""

    table: pd.DataFrame
    stages: Mapping[str, Mapping[int, Mapping[str, Any]]]
    bands: Mapping[str, BandsLike]
    cells: int = 1
    laws: Mapping[str, Judge] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def series(self, series: Series) -> pd.DataFrame:
        """Return generations (rows) by replicates (columns); what a replicate lacks is NaN."""
        t = self.table
        rows = t[(t.branch == series.branch) & (t.metric == series.metric) & (t.feature == series.feature)]
        return rows.pivot(index="generation", columns="replicate", values="value").sort_index()

    def cells_of(self, branch: str) -> dict[int, Mapping[str, Any]]:
        """Return the stages of ``branch`` by generation; a halted generation has none."""
        return {g: cell for g, cell in sorted(self.stages.get(branch, {}).items()) if g > 0 and cell}

    def reach(self, series: Series) -> tuple[float, float]:
        """Return the least and the greatest value that the metric can take; ∓∞ where that is not known."""
        fact = self.facts.get(series.metric)
        return (-np.inf, np.inf) if fact is None else (fact.low, fact.high)

    def unseen(self, branch: str, *stages: str) -> str:
        """Return why what is measured of ``branch`` need not have shown any of ``stages``, or ''.

        A loss shows only where each family of metrics that could speak of one has a band that can be left below: the
        spread or modes, and the tails if they are measured. A material one shows only where a spread of half of what
        control keeps lies outside.
        """
        if not self.facts:
            return ""
        t = self.table[(self.table.branch == branch) & (self.table.feature == "")]
        roles, count = {role for stage in stages for role in SIGNS[stage]}, t.replicate.nunique()
        open_: set[str] = set()
        shut: set[str] = set()
        for name in staged(set(t.metric) & set(self.facts)):
            fact, band = self.facts[name], band_of(self.bands, branch, name, "", count, self.cells)
            if band is None or name == CENTRAL:
                continue
            if fact.below in roles:
                floor = max(fact.low, LATE * band.center) if stages == ("late",) and fact.ideal == 1 else fact.low
                (open_ if band.low > floor else shut).add(fact.below)
            if fact.above in roles:
                (open_ if band.high < fact.high else shut).add(fact.above)
        lost = {"spread lost", "tails lost"} & shut - open_
        if "late" in stages or "early" in stages:
            if not lost and open_:
                return ""
            would = "half of what control keeps" if stages == ("late",) else "a loss"
            return (f"it could have been so unseen: no metric of {' or '.join(sorted(lost or roles))} has a band that "
                    f"{would} would leave")
        if open_:
            return ""
        return (f"nothing was measured of {branch} that could have shown it: no metric of {' or '.join(sorted(roles))} "
                "has a band that it can leave")


@dataclass(frozen=True)
class Finding:
    """A verdict with its one sentence of evidence, the number and bounds that it rests on, and a law's own data.

    ``p`` is the chance, were the claim false, of data that speak as clearly for it; None where no test was made.
    """

    verdict: Verdict
    evidence: str
    generation: int | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    law: Mapping[str, Any] | None = None
    p: float | None = None


@dataclass(frozen=True)
class Series:
    """One metric of one branch over generations and replicates."""

    branch: str
    metric: str
    feature: str = ""
    mean: bool = False

    def __str__(self) -> str:
        return f"{'mean ' if self.mean else ''}{self.name}"

    @property
    def name(self) -> str:
        """Return branch, metric and feature."""
        return f"{self.branch}.{self.metric}{f'[{self.feature}]' if self.feature else ''}"

    def centre(self, values: np.ndarray) -> Centre:
        """Return what stands for the replicates."""
        return (Mean if self.mean else Median)(values)

    def interval(self, values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
        """Return centre, low and high over replicates, two-sided, to be shown."""
        return (mean_interval if self.mean else median_interval)(values, level)


@dataclass(frozen=True)
class Margin:
    """How much is too much: in the metric's own units, or, ``relative``, in per cent of where a path begins."""

    size: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.size:g}{' %' if self.relative else ''}"

    @property
    def limit(self) -> float:
        """Return it in the units of :meth:`changes`."""
        return self.size / 100 if self.relative else self.size

    def changes(self, values: np.ndarray) -> np.ndarray:
        """Return the change since the first generation (T − 1, R); one relative to no positive number is NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            if not self.relative:
                return values[1:] - values[0]
            return np.where(values[0] > 0, values[1:] / values[0] - 1, np.nan)

    def said(self, change: float) -> str:
        """Return a change in words: −12 %, or −0.3."""
        return f"{phrase(100 * change)} %" if self.relative else phrase(change)


NONE = Margin(0.0)


class Statement:
    """What a claim says, parsed."""

    def judge(self, records: Records) -> Finding:
        """Return the verdict on ``records``."""
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class Leaves(Statement):
    """The median over replicates is outside the control band at some generation up to ``by``."""

    series: Series
    side: Literal["below", "above", "either"]
    by: int

    def judge(self, records: Records) -> Finding:
        """Return holds if the median leaves the band; fails if it is shown to be inside throughout."""
        track = _against_band(self.series, self.by, records)
        if isinstance(track, Finding):
            return track
        generations, medians, band = track.generations, track.medians, track.band
        out, p = track.outside(self.side), track.surprise(self.side)
        side = "outside" if self.side == "either" else self.side
        span = f"the control band {_span(band.low, band.high)}"
        if out.any():
            first = int(np.argmax(out))
            back = generations[first:][~out[first:]]
            after = ("stays there" if not len(back) else f"is back at generation {_list(back)}") \
                if first + 1 < len(out) else "is the last one judged"
            text = (f"The median over {track.replicates} is {side} {span} first at generation {generations[first]} "
                    f"({phrase(medians[first])}) and {after}")
            text += "." if first + 1 == len(out) else f"; at generation {generations[-1]} it is {phrase(medians[-1])}."
            return Finding("holds", text, int(generations[first]), _r(medians[first]), _r(band.low), _r(band.high), p=p)
        if blind := track.blind(self.side):
            return Finding("blind", blind, None, None, _r(band.low), _r(band.high))
        worst = int(np.argmax(medians)) if self.side == "above" else int(np.argmin(medians))
        text = (f"The median over {track.replicates} is never {side} {span} up to generation {generations[-1]}; "
                f"the nearest is {phrase(medians[worst])} at generation {generations[worst]}.")
        verdict, text = _unless_cut(generations, self.by, *_if_shown("fails", text, track, self.side))
        return Finding(verdict, text, int(generations[worst]), _r(medians[worst]), _r(band.low), _r(band.high), p=p)


@dataclass(frozen=True)
class Stays(Statement):
    """The median over replicates is inside the control band at every generation up to ``by``."""

    series: Series
    by: int

    def judge(self, records: Records) -> Finding:
        """Return fails if the median leaves the band; holds if its bounds are inside at every generation."""
        track = _against_band(self.series, self.by, records)
        if isinstance(track, Finding):
            return track
        generations, medians, band = track.generations, track.medians, track.band
        low, high = _r(band.low), _r(band.high)
        span = f"the control band {_span(band.low, band.high)}"
        out, p = track.outside("either"), track.inside("either")[0]
        if out.any():
            first = int(np.argmax(out))
            text = (f"The median over {track.replicates} is outside {span} first at generation {generations[first]} "
                    f"({phrase(medians[first])}), at {int(out.sum())} of {len(out)} generations in all.")
            return Finding("fails", text, int(generations[first]), _r(medians[first]), low, high, p=p)
        if blind := track.blind("either"):
            return Finding("blind", blind, None, None, low, high)
        text = (f"The median over {track.replicates} runs from {phrase(medians.min())} to {phrase(medians.max())} and "
                f"is inside {span} at all of {len(medians)} generations.")
        verdict, text = _unless_cut(generations, self.by, *_if_shown("holds", text, track, "either"))
        return Finding(verdict, text, int(generations[-1]), _r(medians[-1]), low, high, p=p)


@dataclass(frozen=True)
class Compare(Statement):
    """A series is below (or above) a number, or another series plus ``margin`` by paired differences."""

    left: Series
    sign: Literal["<", ">"]
    right: Series | float
    at: int
    margin: float = 0.0

    def judge(self, records: Records) -> Finding:
        """Return the verdict on the centre of the values, or of the paired differences."""
        sides = [self.left, self.right] if isinstance(self.right, Series) else [self.left]
        columns = []
        for side in sides:
            rows = records.series(side)
            if self.at not in rows.index:
                return Finding("undecided", f"{side} has no measurement at generation {self.at}.", self.at)
            columns.append(rows.loc[self.at])
        least, most = records.reach(self.left)
        name = "mean" if self.left.mean else "median"
        if isinstance(self.right, Series):
            other = records.reach(self.right)
            least, most = least - other[1], most - other[0]
            with np.errstate(invalid="ignore"):
                values = (columns[0] - columns[1]).to_numpy(dtype=float)  # paired by replicate; what one lacks is NaN
            zero, what = self.margin, f"The {name} paired difference {self.left.name} − {self.right.name}"
        else:
            values, zero, what = columns[0].to_numpy(dtype=float), self.right, f"The {name} of {self.left.name}"
        if most < zero if self.sign == "<" else least > zero:
            beyond = "above" if self.sign == "<" else "below"
            text = f"{what} cannot be {beyond} {zero:g}: nothing could have refuted it."
            return Finding("blind", text, self.at)
        return _sided(self.left.centre(values), self.sign, zero, f"{what} at generation {self.at}", self.at)


@dataclass(frozen=True)
class Trend(Statement):
    """A series falls or rises, by more than a margin: its end lies beyond its start, and so do most pairs between."""

    series: Series
    direction: Literal["falls", "rises"]
    first: int
    until: int
    level: float = LEVEL
    margin: Margin = NONE

    def judge(self, records: Records) -> Finding:
        """Return holds if change and Theil–Sen slope are both shown to go there; fails if the change does not."""
        rows = _rows(self.series, self.first, self.until, records)
        if isinstance(rows, Finding):
            return rows
        values, sign = rows.to_numpy(dtype=float), -1 if self.direction == "falls" else 1
        change = self.series.centre(self.margin.changes(values)[-1])
        slope = self.series.centre(theil_sen(values, rows.index.to_numpy()))
        limit = sign * self.margin.limit
        go, against = (change.below, change.above) if sign < 0 else (change.above, change.below)
        p = max(go(limit), slope.below(0) if sign < 0 else slope.above(0))
        text = told(f"The {change.name} change of {self.series.name} from generation {self.first} to {self.until}",
                    change, self.level, self.margin.said)
        text += f"{f', against {self.margin.said(limit)}' if limit else ''}; the {slope.name} Theil–Sen slope is " \
                f"{phrase(slope.estimate)} per generation"
        return found_of(decided(p, against(limit, equal=True), self.level), text, change, self.level, p, self.until,
                        slope.refused(self.level))


@dataclass(frozen=True)
class Keeps(Statement):
    """A series stays within a margin of where it began, at every generation: on both sides, or on one of them alone."""

    series: Series
    side: Literal["rise", "fall", "either"]
    first: int
    until: int
    margin: Margin
    level: float = LEVEL

    def judge(self, records: Records) -> Finding:
        """Return holds if every change is shown to be within the margin; fails if the last is shown not to be."""
        rows = _rows(self.series, self.first, self.until, records)
        return rows if isinstance(rows, Finding) else self.weigh(rows, records.reach(self.series))

    def weigh(self, rows: pd.DataFrame, reach: tuple[float, float]) -> Finding:
        """Return the finding on generations by replicates; ``reach`` is what the metric can be at all."""
        start, end = int(rows.index[0]), int(rows.index[-1])
        if self.margin.limit >= self._room(reach):
            text = f"{self.series.name} cannot change by more than {self.margin}: nothing could have refuted it."
            return Finding("blind", text, end)
        limit = self.margin.limit
        centres = [self.series.centre(row) for row in self.margin.changes(rows.to_numpy(dtype=float))]
        each = np.array([self._within(centre, limit) for centre in centres])
        worst = len(each) - 1 - int(np.argmax(each[::-1]))
        if (each == each[worst]).all():  # all alike: name the one that went farthest
            far = [np.nan_to_num({"rise": c.estimate, "fall": -c.estimate}.get(self.side, abs(c.estimate)), nan=np.inf)
                   for c in centres]
            worst = int(np.argmax(far))
        last, centre, p = centres[-1], centres[worst], float(each[worst])
        beyond = min(last.above(limit) if self.side != "fall" else 1.0,
                     last.below(-limit) if self.side != "rise" else 1.0)
        verdict = decided(p, beyond, self.level)
        if verdict == "fails":
            centre, worst = last, len(each) - 1
        where = int(rows.index[worst + 1])
        allowed = {"rise": f"{self.margin}", "fall": f"−{self.margin}"}.get(self.side, f"±{self.margin}")
        text = told(f"The {centre.name} change of {self.series.name} from generation {start} to {where}", centre,
                     self.level, self.margin.said)
        text += f", against {allowed}, the farthest of {len(each)} generations"
        why = next((c.refused(self.level) for c in centres if c.refused(self.level)), "")
        return found_of(verdict, text, centre, self.level, p, where, why)

    def _within(self, centre: Centre, limit: float) -> float:
        up = centre.below(limit, equal=True) if self.side != "fall" else 0.0
        down = centre.above(-limit, equal=True) if self.side != "rise" else 0.0
        return max(up, down)

    def _room(self, reach: tuple[float, float]) -> float:
        """Return by how much the metric can change at all, to the sides that the claim speaks of."""
        if not self.margin.relative:
            return reach[1] - reach[0]
        return 1.0 if reach[0] >= 0 and self.side == "fall" else np.inf


@dataclass(frozen=True)
class LevelsOff(Statement):
    """A series changes by more than a margin until the middle of its generations, and keeps within it from there on."""

    series: Series
    direction: Literal["falls", "rises", "either"]
    first: int
    until: int
    margin: Margin
    level: float = LEVEL

    def judge(self, records: Records) -> Finding:
        """Return holds if both are shown; fails if a change by more than the margin is shown after the middle."""
        rows = _rows(self.series, self.first, self.until, records)
        if isinstance(rows, Finding):
            return rows
        if len(rows) < 4:
            return Finding("undecided", f"{self.series} has {len(rows)} generations, and two halves need 4.")
        half = (len(rows) + 1) // 2 - 1
        before = self.series.centre(self.margin.changes(rows.iloc[[0, half]].to_numpy(dtype=float))[0])
        up, down = before.above(self.margin.limit), before.below(-self.margin.limit)
        # without a direction in the sentence there are two chances to be wrong
        moved = {"rises": up, "falls": down}.get(self.direction, min(1.0, 2 * min(up, down)))
        kept = Keeps(self.series, "either", self.first, self.until, self.margin, self.level).weigh(
            rows.iloc[half:], records.reach(self.series))
        if kept.verdict == "blind":
            return kept
        p, alpha = max(moved, kept.p or 0.0), _alpha(self.level)
        verdict: Verdict = "undecided" if moved > alpha else kept.verdict
        text = told(f"The {before.name} change of {self.series.name} from generation {self.first} to "
                     f"{rows.index[half]}", before, self.level, self.margin.said) + f" ({_p(moved)})"
        if moved > alpha:
            text += f": no change by more than {self.margin} is shown that could level off"
            why = before.refused(self.level if self.direction != "either" else (1 + self.level) / 2)
            text += f"; it {why}" if why else ""
        return Finding(verdict, f"{text}. {kept.evidence}", int(rows.index[-1]), kept.estimate, kept.low, kept.high,
                       p=p)


@dataclass(frozen=True)
class Bias(Statement):
    """A loop amplifies, keeps or corrects the bias of a series: what is left of it from one generation to another."""

    series: Series
    verb: Literal["amplifies", "keeps", "corrects"]
    truth: float
    first: int
    until: int
    #: Share by which a kept bias may change in all.
    margin: float = 0.0

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the mean bias at both ends, paired by replicate."""
        rows = _rows(self.series, self.first, self.until, records)
        if isinstance(rows, Finding):
            return rows
        values = rows.to_numpy(dtype=float)
        off = values[[0, -1]] - self.truth
        count = values.shape[1]
        if count < 2 or not np.isfinite(values).all():
            lost = int((~np.isfinite(values)).any(axis=0).sum())
            why = f"{lost} of {count} replicates have a value that is no number" if lost else "one replicate"
            text = f"{why} of {self.series.name} give{'' if lost else 's'} no mean bias."
            return Finding("undecided", text, self.until)
        gain = loop_gain(values, self.truth, rows.index.to_numpy(), level=2 * LEVEL - 1)
        start = f"{phrase(gain.bias[0])} {_span(gain.bias_low[0], gain.bias_high[0])}"
        sign = np.sign(gain.bias[0]) or 1.0
        before, after = sign * off
        known = Mean(before)
        if (p := known.above(0)) > _alpha(LEVEL):
            text = (f"The bias of {self.series.name} against {self.truth:g} is {start} at generation {self.first} over "
                    f"{count} replicates: there is none to speak of")
            why = known.refused(LEVEL)
            return Finding("undecided", f"{text}{f'; it {why}' if why else ''}.", self.until, p=1.0)
        more, less = Mean(after - (1 + self.margin) * before), Mean(after - (1 - self.margin) * before)
        shown = {"amplifies": more.above(0), "corrects": max(less.below(0), Mean(after + before).above(0)),
                 "keeps": max(more.below(0, equal=True), less.above(0, equal=True))}
        against = {"amplifies": shown["corrects"], "corrects": more.above(0),
                   "keeps": min(more.above(0), less.below(0))}[self.verb]
        p, why = max(shown[self.verb], p), more.refused(LEVEL) or less.refused(LEVEL)
        text = (f"The bias of {self.series.name} against {self.truth:g} goes from {start} at generation {self.first} "
                f"to {phrase(gain.bias[-1])} {_span(gain.bias_low[-1], gain.bias_high[-1])} at {self.until}: in all "
                f"by a factor of {gain.total:.4g}, one-sided 95 % bounds [{gain.total_low:.4g}, {gain.total_high:.4g}] "
                f"over {count} replicates, {gain.estimate:.4g} per generation ({_p(p)}){f'; it {why}' if why else ''}.")
        return Finding("undecided" if why else decided(p, against, LEVEL), text, self.until, _r(gain.total),
                       _r(gain.total_low), _r(gain.total_high), p=p)


@dataclass(frozen=True)
class Reaches(Statement):
    """A branch reaches (or avoids) a stage, or one beyond it, by a generation."""

    branch: str
    stage: str
    by: int
    avoids: bool = False

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the stages of the nodes."""
        cells = {g: c for g, c in records.cells_of(self.branch).items() if g <= self.by}
        hits = [g for g, cell in cells.items() if cell["node"] in BEYOND[self.stage]]
        if hits:
            cell = cells[hits[0]]
            alone = _share([s in BEYOND[self.stage] for s in cell["replicates"]])
            text = (f"{self.branch} is {within(cell['node'])} first at generation {hits[0]}, as are {alone} replicates "
                    f"judged alone; it is so at {len(hits)} of {len(cells)} generations.")
            return Finding("fails" if self.avoids else "holds", text, hits[0])
        if not cells:
            return Finding("undecided", f"{self.branch} has no judged generation up to {self.by}.")
        text = f"{self.branch} is not {within(self.stage)} at any of {len(cells)} generations up to {max(cells)}."
        if unseen := records.unseen(self.branch, self.stage):
            return Finding("blind", f"{text[:-1]}, and {unseen}.", max(cells))
        verdict, text = _unless_cut(np.array(list(cells)), self.by, "holds" if self.avoids else "fails", text)
        return Finding(verdict, text, max(cells))


@dataclass(frozen=True)
class Warns(Statement):
    """A branch is early at a generation before the first at which it is late."""

    branch: str

    def judge(self, records: Records) -> Finding:
        """Return holds if early comes first; undecided if late never comes."""
        cells = records.cells_of(self.branch)
        first = {stage: next((g for g, c in cells.items() if c["node"] == stage), None) for stage in ("early", "late")}
        early, late = first["early"], first["late"]
        if late is None:
            warned = f" nor {within('early')}" if early is None else f"; {within('early')} from generation {early}"
            return Finding("undecided", f"{self.branch} is never {within('late')}{warned}: there was nothing to warn "
                           f"of.", early)
        if early is not None and early < late:
            ahead = f"{late - early} generation{'s' if late - early > 1 else ''}"
            text = (f"{self.branch} is {within('early')} at generation {early}, {ahead} before it is {within('late')}, "
                    f"at generation {late}.")
            return Finding("holds", text, early)
        return Finding("fails", f"{self.branch} is {within('late')} at generation {late} without having been "
                       f"{within('early')} before.", late)


@dataclass(frozen=True)
class Share(Statement):
    """At least a share of a branch's cells (replicate × generation) are at one stage."""

    branch: str
    stage: str
    percent: float

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the counted cells."""
        hits = [s == self.stage for cell in records.cells_of(self.branch).values() for s in cell["replicates"]]
        if not hits:
            return Finding("undecided", f"{self.branch} has no judged cell.")
        share = 100 * sum(hits) / len(hits)
        text = (f"{_share(hits)} cells of {self.branch} ({share:.1f} %), replicates of a generation each judged alone, "
                f"are {within(self.stage)}; the claim asks for {self.percent:g} %.")
        last, cell = max(records.cells_of(self.branch).items())
        if len(cell["replicates"]) > 1 and share >= self.percent and cell["node"] != self.stage:
            text += (f" All together, by which smaller losses show, they are {within(cell['node'])} at generation "
                     f"{last}.")
        asked = tuple(SIGNS) if self.stage == "healthy" else (self.stage,)
        none = len(hits) if self.stage == "healthy" else 0  # what is counted where nothing can be seen
        if sum(hits) == none and (unseen := records.unseen(self.branch, *asked)):
            return Finding("blind", f"{text[:-1]}, and {unseen}.", None, _r(share / 100))
        return Finding("holds" if share >= self.percent else "fails", text, None, _r(share / 100))


@dataclass(frozen=True)
class Law(Statement):
    """A branch follows a closed form of :mod:`collapse.laws`, judged on that law's own pivot."""

    law: str
    branch: str
    feature: str = ""

    def judge(self, records: Records) -> Finding:
        """Return the verdict of the law's own judge, and what more it says."""
        if self.law not in records.laws:
            return Finding("undecided", f"the law {self.law} was not judged.")
        verdict, evidence, *more = records.laws[self.law](records, self.branch, self.feature)
        return Finding(verdict, evidence, law=more[0] if more else None)


@dataclass(frozen=True)
class Design(Statement):
    """A sentence on the study's factorial or ladder (:func:`collapse.attribution.judges`)."""

    text: str

    def judge(self, records: Records) -> Finding:
        """Return the verdict of the design's own judge."""
        if self.text not in records.laws:
            return Finding("undecided", "the study's design was not judged.")
        try:
            return records.laws[self.text](records)  # type: ignore[return-value]
        except KeyError as error:
            return Finding("undecided", f"there is no record of {error.args[0]}.")


#: The sentences on a design, and the key of the study file that each needs.
DESIGNS = {"sources compound": "factors", "capacity cuts both ways": "ladder"}


@dataclass(frozen=True)
class Claim:
    """A sentence, where it comes from, the branch that it speaks of first, and what it states."""

    text: str
    source: str
    branch: str
    statement: Statement


# ------------------------------------------------------------------------------------------ judging


@dataclass(frozen=True, eq=False)
class _Track:
    """A series against its band: generations (T,), values (T, R), medians (T,) and what the metric can be."""

    series: Series
    generations: np.ndarray
    values: np.ndarray
    band: Any
    bands: BandsLike
    reach: tuple[float, float]
    collapse: str

    @cached_property
    def medians(self) -> np.ndarray:
        """Return the medians (T,), of which what is no number counts as the least, as in stages."""
        with np.errstate(invalid="ignore"):  # of −∞ and ∞
            medians = np.median(np.where(np.isnan(self.values), -np.inf, self.values), axis=1)
        return np.where(np.isnan(medians), -np.inf, medians)

    @property
    def replicates(self) -> str:
        """Return how many there are, in words."""
        count, lost = self.values.shape[1], int(np.isnan(self.values).any(axis=0).sum())
        dead = f", {lost} of which have no number at some generation," if lost else ""
        return (f"{count} replicates" if count > 1 else "one replicate") + dead

    def outside(self, side: str, band: Any = None) -> np.ndarray:
        """Return where (T,) the median is outside on ``side``."""
        band = self.band if band is None else band
        below, above = self.medians < band.low, self.medians > band.high
        return {"below": below, "above": above, "either": below | above}[side]

    def inside(self, side: str) -> tuple[float, int]:
        """Return the p-value of the median lying inside on ``side`` at every generation, and the place of the worst."""
        each = []
        for row in self.values:
            centre = Median(row)
            low = centre.above(self.band.low, equal=True) if side != "above" else 0.0
            high = centre.below(self.band.high, equal=True) if side != "below" else 0.0
            each.append(max(low, high))
        worst = int(np.argmax(each))
        return float(each[worst]), worst

    def blind(self, side: str) -> str:
        """Return why no value could have left the band where the claim looks, or ''."""
        looked = self.collapse if side == "either" else side
        sides = [name for name in ("below", "above") if looked in (name, "either")]
        shut = [name for name in sides
                if (self.band.low <= self.reach[0] if name == "below" else self.band.high >= self.reach[1])]
        if not shut:
            return ""
        return (f"The control band {_span(self.band.low, self.band.high)} of {self.series.name} reaches as far "
                f"{' and '.join(shut)} as the metric can ({_span(*self.reach)}): nothing could have left it there.")

    def surprise(self, side: str) -> float:
        """Return the p-value of the median leaving the band at any of T generations (Bonferroni).

        A band of c cells is left with a chance of alpha / c a look; the narrowest chance at which the median is still
        outside is found by halving.
        """
        alpha, count, s = getattr(self.bands, "alpha", 0.01), self.values.shape[1], self.series

        def out(log: float) -> bool:
            band = self.bands.band(s.metric, s.feature, replicates=count, cells=float(np.exp(log)))  # type: ignore[arg-type]
            return bool(self.outside(side, band).any())

        low, high = np.log(alpha), np.log(1e9)
        if not out(low):
            return 1.0
        if not out(high):
            for _ in range(14):
                middle = (low + high) / 2
                low, high = (middle, high) if out(middle) else (low, middle)
        else:
            low = high
        return float(min(1.0, len(self.values) * alpha / np.exp(low)))


def _against_band(series: Series, by: int, records: Records) -> _Track | Finding:
    rows = records.series(series)
    rows = rows[rows.index <= by]
    if rows.empty:
        return Finding("undecided", f"{series} has no measurement up to generation {by}.")
    band = band_of(records.bands, series.branch, series.metric, series.feature, rows.shape[1], records.cells)
    if band is None:
        return Finding("undecided", f"{series} has no calibrated band.")
    fact = records.facts.get(series.metric)
    return _Track(series, rows.index.to_numpy(), rows.to_numpy(dtype=float), band, records.bands[series.branch],
                  records.reach(series), "either" if fact is None else fact.collapse)


def _if_shown(verdict: Verdict, text: str, track: _Track, side: str) -> tuple[Verdict, str]:
    """Return ``verdict`` if the median is shown to be inside at every generation, or undecided, with the reason."""
    p, worst = track.inside(side)
    if p <= _alpha(LEVEL):
        return verdict, f"{text[:-1]}, and so are its one-sided 95 % bounds ({_p(p)} of its not being so)."
    centre = Median(track.values[worst])
    if why := centre.refused(LEVEL):
        return "undecided", f"{text[:-1]}; that it must be so {why}."
    return "undecided", (f"{text[:-1]}, but its one-sided 95 % bounds are {_span(*centre.bounds(LEVEL))} at generation "
                         f"{track.generations[worst]}.")


def _rows(series: Series, first: int, until: int, records: Records) -> pd.DataFrame | Finding:
    """Return generations ``first`` to ``until`` by replicates."""
    rows = records.series(series)
    rows = rows[(rows.index >= first) & (rows.index <= until)]
    if len(rows) < 2 or rows.index[0] > first or rows.index[-1] < until:
        return Finding("undecided", f"{series} is not measured from generation {first} to {until}.")
    return rows


def _sided(centre: Centre, sign: str, zero: float, what: str, generation: int, level: float = LEVEL) -> Finding:
    """Judge 'the centre is below (above) ``zero``'."""
    go, against = (centre.below, centre.above) if sign == "<" else (centre.above, centre.below)
    p = go(zero)
    text = told(what, centre, level) + (f", against {zero:g}" if zero else "")
    return found_of(decided(p, against(zero, equal=True), level), text, centre, level, p, generation)


def decided(p: float, against: float, level: float) -> Verdict:
    """Return the verdict of two p-values: of what the claim says, and of what would refute it."""
    return "holds" if p <= _alpha(level) else "fails" if against <= _alpha(level) else "undecided"


def told(what: str, centre: Centre, level: float, said: Callable[[float], str] | None = None) -> str:
    """Return the centre and its bounds in words."""
    said = said or phrase
    low, high = centre.bounds(level)
    bounds = "" if np.isnan(low) else f", one-sided {100 * level:g} % bounds [{said(low)}, {said(high)}]"
    dead = f", {centre.dead} of which have no number" if centre.dead else ""
    many = f"{centre.count} replicates" if centre.count != 1 else "one replicate"
    paths = f" ({centre.paths:.3g} effective paths)" if isinstance(centre, Mean) else ""
    return f"{what} is {said(centre.estimate)}{bounds} over {many}{paths}{dead}"


def found_of(verdict: Verdict, text: str, centre: Centre, level: float, p: float, generation: int | None = None,
             why: str = "") -> Finding:
    """Return a finding whose sentence ends with its p-value, and with why nothing could be shown, if so."""
    why = why or centre.refused(level)
    low, high = centre.bounds(level)
    text = f"{text} ({_p(p)}){f'; it {why}' if why else ''}."
    return Finding("undecided" if why else verdict, text, generation, _r(centre.estimate), _r(low), _r(high), p=p)


def _alpha(level: float) -> float:
    return 1 - level + 1e-12


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-6 else "p < 0.000001"


def _unless_cut(generations: np.ndarray, by: int, verdict: Verdict, text: str) -> tuple[Verdict, str]:
    """Return ``verdict``, or undecided where the branch was halted before the claim's generation."""
    if generations[-1] >= by:
        return verdict, text
    return "undecided", f"{text[:-1]}, and nothing is measured between there and generation {by}."


def phrase(value: float) -> str:
    """Return three significant digits and a true minus."""
    return f"{value:.3g}".replace("-", "−")


def _span(low: float, high: float) -> str:
    return f"[{phrase(low)}, {phrase(high)}]"


def _r(value: float) -> float | None:
    """Round to 6 significant digits; None for what JSON has no number for."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _list(generations: np.ndarray) -> str:
    return ", ".join(str(g) for g in generations[:4]) + ("…" if len(generations) > 4 else "")


def _share(hits: Sequence[bool]) -> str:
    return f"{sum(hits)} of {len(hits)}"


def evaluate(claims: Sequence[Claim], table: pd.DataFrame, stages: Mapping[str, Mapping[int, Mapping[str, Any]]],
             bands: Mapping[str, BandsLike], cells: int = 1, laws: Mapping[str, Judge] | None = None,
             facts: Mapping[str, Fact] | None = None) -> list[dict[str, Any]]:
    """Judge every claim.

    Parameters
    ----------
    claims
        What :func:`collapse.claims.grammar.parse_claims` returned.
    table
        Tidy measurements: branch, generation, replicate, metric, feature, value.
    stages
        By branch and generation: ``{"node": stage, "replicates": [stage, …]}``.
    bands
        By branch: its calibrated bands.
    cells
        How many looks share the 1 % of a band: generations × gated metrics of one branch run.
    laws
        By name: a judge that takes the records, the branch and the feature ('' for the whole) and returns verdict and
        evidence, and as a third item, if it has more to say, a mapping of plain data (its mutants, say). By sentence: a
        design's judge, which takes the records and returns a :class:`Finding`.
    facts
        What each metric means, for what it can be at all: without it no claim is blind.

    Returns
    -------
    list of dict
        ``claim``, ``source``, ``branch``, ``verdict`` (holds, fails, undecided or blind), ``evidence`` (one sentence),
        the ``generation``, ``estimate``, ``low`` and ``high`` that it rests on, null where there is none; ``p``, null
        where no test was made, ``p_holm``, the same after Holm's correction over all claims that have one, and
        ``holm``, the verdict that remains: what holds, but for p_holm > 5 %, is undecided; ``law`` only where a judge
        returned more.
    """
    records = Records(table, stages, bands, cells, laws or {}, facts or {})
    findings = [claim.statement.judge(records) for claim in claims]
    tested = [i for i, found in enumerate(findings) if found.p is not None]
    raised = dict(zip(tested, holm([findings[i].p or 0.0 for i in tested]).tolist(), strict=True))
    results = []
    for i, (claim, found) in enumerate(zip(claims, findings, strict=True)):
        gone = found.verdict == "holds" and raised.get(i, 0.0) > FAMILY
        results.append({
            "claim": claim.text, "source": claim.source, "branch": claim.branch, "verdict": found.verdict,
            "evidence": found.evidence[:1].upper() + found.evidence[1:] if found.evidence else "",
            "generation": found.generation, "estimate": found.estimate, "low": found.low, "high": found.high,
            "p": None if found.p is None else _r(found.p), "p_holm": _r(raised[i]) if i in raised else None,
            "holm": "undecided" if gone else found.verdict,
            **({} if found.law is None else {"law": dict(found.law)}),
        })
    return results
