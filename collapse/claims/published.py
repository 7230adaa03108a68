"""Figures that a paper printed, to stand beside what a study measures.

They are no claim: settings differ, so nothing is judged. What can be compared is how far both have gone from where they
began.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.claims.grammar import parse_series
from collapse.claims.records import Records, Series
from collapse.errors import InputError, nearest

if TYPE_CHECKING:
    from collapse.claims.records import Span

EXAMPLE = "{series: replace.fit_encoder_std, values: {1: 0.688, 5: 0.443}, source: 'Nature 631'}"


@dataclass(frozen=True)
class Point:
    """One generation: what was published, and what is measured, with its 95 % interval over replicates.

    None where there is no such generation, or one replicate alone.
    """

    generation: int
    published: float
    measured: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Beside:
    """A published series and the measured one, generation by generation."""

    series: str
    source: str
    points: tuple[Point, ...]

    @property
    def kept(self) -> tuple[tuple[float | None, float | None], ...]:
        """Return for each point what it is over the first point of its series: published, measured."""
        def over(value: float | None, start: float | None) -> float | None:
            return value / start if value is not None and start else None

        first = self.points[0]
        return tuple((over(p.published, first.published), over(p.measured, first.measured)) for p in self.points)


@dataclass(frozen=True)
class Published:
    """A series as it was published: its values by generation, in order (1: the fit to real data), and where."""

    series: Series
    values: Mapping[int, float]
    source: str

    def beside(self, records: Records) -> Beside:
        """Return the published values beside what ``records`` have of the series."""
        rows = records.series(self.series)
        points = []
        for generation, value in self.values.items():
            measured = rows.loc[generation].dropna().to_numpy() if generation in rows.index else np.empty(0)
            found = self.series.interval(measured) if len(measured) else (None, np.nan, np.nan)
            points.append(Point(generation, value, found[0], *(v if np.isfinite(v) else None for v in found[1:])))
        return Beside(str(self.series), self.source, tuple(points))

    @staticmethod
    def parse(raw: Any, where: str, branches: Mapping[str, Span], metrics: Collection[str]) -> tuple[Published, ...]:
        """Return what the study file's ``published`` lists; generations beyond the study's last are allowed.

        Raises
        ------
        InputError
            Naming the item, the key and the remedy.
        """
        if not isinstance(raw, list):
            raise InputError(f"{where} must be a list, such as [{EXAMPLE}]")
        found = [_published(item, f"{where}[{i}]", branches, metrics) for i, item in enumerate(raw)]
        names = [(item.series.branch, item.series.metric, item.series.feature) for item in found]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise InputError(f"{where}[{i}] is a second list of {found[i].series}; put its values into the first")
        return tuple(found)


def _published(item: Any, where: str, branches: Mapping[str, Span], metrics: Collection[str]) -> Published:
    if not isinstance(item, dict):
        raise InputError(f"{where} must be a mapping, such as {EXAMPLE}")
    keys = ("series", "values", "source")
    for key in item:
        if key not in keys:
            raise InputError(f"{where}.{key} is not a key{nearest(key, keys)}")
    for key in keys:
        if key not in item:
            raise InputError(f"{where}.{key} is missing; write it as in {EXAMPLE}")
    for key in ("series", "source"):
        if not isinstance(item[key], str) or not item[key].strip():
            raise InputError(f"{where}.{key} must be text")
    series = parse_series(item["series"], f"{where}.series", branches, metrics)
    values = item["values"]
    if not isinstance(values, dict) or not values:
        raise InputError(f"{where}.values must map generations to numbers, such as {{1: 0.688, 5: 0.443}}")
    first = branches[series.branch].first
    for generation, value in values.items():
        if not isinstance(generation, int) or isinstance(generation, bool) or generation < first:
            raise InputError(f"{where}.values: {generation!r} is no generation of '{series.branch}', which begins at "
                             f"{first}")
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(f"{where}.values.{generation} must be a number (it is {value!r})")
    return Published(series, {generation: float(values[generation]) for generation in sorted(values)}, item["source"])
