"""What claims are judged on: measurements, stages and calibrated bands of a study, and one series of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from collapse.claims.intervals import mean_interval, median_interval
from collapse.stats import Centre, Mean, Median
from collapse.verdict import CENTRAL, LATE, staged

if TYPE_CHECKING:
    import pandas as pd

    from collapse.metrics.base import Fact

#: What a value outside its band speaks of, by the stage that it can make.
SIGNS = {"early": ("spread lost", "modes lost", "tails lost"), "late": ("spread lost", "modes lost"),
         "distorted": ("gained", "changed"), "drifted": ("moved",)}
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
