"""Sentences on the calibrated control band: a series leaves it, or stays inside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from collapse.claims.records import BandsLike, Records, Series, band_of
from collapse.claims.statements.base import (
    LEVEL,
    Finding,
    Statement,
    Verdict,
    alpha_of,
    brackets,
    chance,
    phrase,
    rounded,
    unless_cut,
)
from collapse.stats import Median


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
        span = f"the control band {brackets(band.low, band.high)}"
        if out.any():
            first = int(np.argmax(out))
            back = generations[first:][~out[first:]]
            after = ("stays there" if not len(back) else f"is back at generation {_list(back)}") \
                if first + 1 < len(out) else "is the last one judged"
            text = (f"The median over {track.replicates} is {side} {span} first at generation {generations[first]} "
                    f"({phrase(medians[first])}) and {after}")
            text += "." if first + 1 == len(out) else f"; at generation {generations[-1]} it is {phrase(medians[-1])}."
            return Finding("holds", text, int(generations[first]), rounded(medians[first]), rounded(band.low),
                           rounded(band.high), p=p)
        if blind := track.blind(self.side):
            return Finding("blind", blind, None, None, rounded(band.low), rounded(band.high))
        worst = int(np.argmax(medians)) if self.side == "above" else int(np.argmin(medians))
        text = (f"The median over {track.replicates} is never {side} {span} up to generation {generations[-1]}; "
                f"the nearest is {phrase(medians[worst])} at generation {generations[worst]}.")
        verdict, text = unless_cut(generations, self.by, *_if_shown("fails", text, track, self.side))
        return Finding(verdict, text, int(generations[worst]), rounded(medians[worst]), rounded(band.low),
                       rounded(band.high), p=p)


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
        low, high = rounded(band.low), rounded(band.high)
        span = f"the control band {brackets(band.low, band.high)}"
        out, p = track.outside("either"), track.inside("either")[0]
        if out.any():
            first = int(np.argmax(out))
            text = (f"The median over {track.replicates} is outside {span} first at generation {generations[first]} "
                    f"({phrase(medians[first])}), at {int(out.sum())} of {len(out)} generations in all.")
            return Finding("fails", text, int(generations[first]), rounded(medians[first]), low, high, p=p)
        if blind := track.blind("either"):
            return Finding("blind", blind, None, None, low, high)
        text = (f"The median over {track.replicates} runs from {phrase(medians.min())} to {phrase(medians.max())} and "
                f"is inside {span} at all of {len(medians)} generations.")
        verdict, text = unless_cut(generations, self.by, *_if_shown("holds", text, track, "either"))
        return Finding(verdict, text, int(generations[-1]), rounded(medians[-1]), low, high, p=p)


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
        return (f"The control band {brackets(self.band.low, self.band.high)} of {self.series.name} reaches as far "
                f"{' and '.join(shut)} as the metric can ({brackets(*self.reach)}): nothing could have left it there.")

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
    if p <= alpha_of(LEVEL):
        return verdict, f"{text[:-1]}, and so are its one-sided 95 % bounds ({chance(p)} of its not being so)."
    centre = Median(track.values[worst])
    if why := centre.refused(LEVEL):
        return "undecided", f"{text[:-1]}; that it must be so {why}."
    return "undecided", (f"{text[:-1]}, but its one-sided 95 % bounds are {brackets(*centre.bounds(LEVEL))} at "
                         f"generation {track.generations[worst]}.")


def _list(generations: np.ndarray) -> str:
    return ", ".join(str(g) for g in generations[:4]) + ("…" if len(generations) > 4 else "")
