"""Sentences on the change since the first generation: a series falls or rises, keeps within a margin, levels off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from collapse.claims.records import Records, Series
from collapse.claims.statements.base import (
    LEVEL,
    Finding,
    Statement,
    Verdict,
    alpha_of,
    chance,
    decided,
    found_of,
    phrase,
    rows_between,
    told,
)
from collapse.stats import Centre, theil_sen

if TYPE_CHECKING:
    import pandas as pd


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
        rows = rows_between(self.series, self.first, self.until, records)
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
        rows = rows_between(self.series, self.first, self.until, records)
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
        rows = rows_between(self.series, self.first, self.until, records)
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
        p, alpha = max(moved, kept.p or 0.0), alpha_of(self.level)
        verdict: Verdict = "undecided" if moved > alpha else kept.verdict
        text = told(f"The {before.name} change of {self.series.name} from generation {self.first} to "
                     f"{rows.index[half]}", before, self.level, self.margin.said) + f" ({chance(moved)})"
        if moved > alpha:
            text += f": no change by more than {self.margin} is shown that could level off"
            why = before.refused(self.level if self.direction != "either" else (1 + self.level) / 2)
            text += f"; it {why}" if why else ""
        return Finding(verdict, f"{text}. {kept.evidence}", int(rows.index[-1]), kept.estimate, kept.low, kept.high,
                       p=p)
