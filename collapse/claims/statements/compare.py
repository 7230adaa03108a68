"""The sentence on one generation: a series is below or above a number, or another series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from collapse.claims.records import Records, Series
from collapse.claims.statements.base import LEVEL, Finding, Statement, decided, found_of, told
from collapse.stats import Centre


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


def _sided(centre: Centre, sign: str, zero: float, what: str, generation: int, level: float = LEVEL) -> Finding:
    """Judge 'the centre is below (above) ``zero``'."""
    go, against = (centre.below, centre.above) if sign == "<" else (centre.above, centre.below)
    p = go(zero)
    text = told(what, centre, level) + (f", against {zero:g}" if zero else "")
    return found_of(decided(p, against(zero, equal=True), level), text, centre, level, p, generation)
