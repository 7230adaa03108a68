"""What every sentence has: a finding with its verdict, the generations that it looks at, and the words of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from collapse.claims.records import Records, Series
from collapse.stats import Centre, Mean

if TYPE_CHECKING:
    import pandas as pd

#: One-sided level of a claim that names none.
LEVEL = 0.95
Verdict = Literal["holds", "fails", "undecided", "blind"]


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


class Statement:
    """What a claim says, parsed."""

    def judge(self, records: Records) -> Finding:
        """Return the verdict on ``records``."""
        raise NotImplementedError(type(self).__name__)


def rows_between(series: Series, first: int, until: int, records: Records) -> pd.DataFrame | Finding:
    """Return generations ``first`` to ``until`` by replicates."""
    rows = records.series(series)
    rows = rows[(rows.index >= first) & (rows.index <= until)]
    if len(rows) < 2 or rows.index[0] > first or rows.index[-1] < until:
        return Finding("undecided", f"{series} is not measured from generation {first} to {until}.")
    return rows


def alpha_of(level: float) -> float:
    """Return the chance of error that a one-sided level leaves."""
    return 1 - level + 1e-12


def decided(p: float, against: float, level: float) -> Verdict:
    """Return the verdict of two p-values: of what the claim says, and of what would refute it."""
    return "holds" if p <= alpha_of(level) else "fails" if against <= alpha_of(level) else "undecided"


def unless_cut(generations: np.ndarray, by: int, verdict: Verdict, text: str) -> tuple[Verdict, str]:
    """Return ``verdict``, or undecided where the branch was halted before the claim's generation."""
    if generations[-1] >= by:
        return verdict, text
    return "undecided", f"{text[:-1]}, and nothing is measured between there and generation {by}."


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
    text = f"{text} ({chance(p)}){f'; it {why}' if why else ''}."
    return Finding("undecided" if why else verdict, text, generation, rounded(centre.estimate), rounded(low),
                   rounded(high), p=p)


def chance(value: float) -> str:
    """Return a p-value as evidence says it."""
    return f"p = {value:.2g}" if value >= 1e-6 else "p < 0.000001"


def phrase(value: float) -> str:
    """Return three significant digits and a true minus."""
    return f"{value:.3g}".replace("-", "−")


def brackets(low: float, high: float) -> str:
    """Return an interval, three significant digits at each end."""
    return f"[{phrase(low)}, {phrase(high)}]"


def rounded(value: float) -> float | None:
    """Round to 6 significant digits; None for what JSON has no number for."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
