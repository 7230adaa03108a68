"""The sentence on bias: what a loop leaves of it from one generation to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from collapse.claims.gain import loop_gain
from collapse.claims.records import Records, Series
from collapse.claims.statements.base import (
    LEVEL,
    Finding,
    Statement,
    alpha_of,
    brackets,
    chance,
    decided,
    phrase,
    rounded,
    rows_between,
)
from collapse.stats import Mean


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
        rows = rows_between(self.series, self.first, self.until, records)
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
        start = f"{phrase(gain.bias[0])} {brackets(gain.bias_low[0], gain.bias_high[0])}"
        sign = np.sign(gain.bias[0]) or 1.0
        before, after = sign * off
        known = Mean(before)
        if (p := known.above(0)) > alpha_of(LEVEL):
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
                f"to {phrase(gain.bias[-1])} {brackets(gain.bias_low[-1], gain.bias_high[-1])} at {self.until}: in all "
                f"by a factor of {gain.total:.4g}, one-sided 95 % bounds [{gain.total_low:.4g}, {gain.total_high:.4g}] "
                f"over {count} replicates, {gain.estimate:.4g} per generation ({chance(p)})"
                f"{f'; it {why}' if why else ''}.")
        return Finding("undecided" if why else decided(p, against, LEVEL), text, self.until, rounded(gain.total),
                       rounded(gain.total_low), rounded(gain.total_high), p=p)
