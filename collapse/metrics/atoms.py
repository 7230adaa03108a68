"""One row, or one value, again and again: what no continuous reality does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import LEVEL, SAME, Frame, View, across
from collapse.metrics._atoms import beyond, marks
from collapse.metrics.base import Fact, Measurement, Metric


class Atoms(Metric):
    """Rows whose numbers are all the same as another's, more than in reality; and values, column by column.

    Where reality is continuous no two rows are equal, so a row that fills a hundredth of a sample was put there: a
    default, a stuck sensor, a generator that has one answer; a value that does, in a column where none repeats, is what
    gaps were filled with, or the one value of a group. Where values of reality repeat by themselves nothing is
    measured.
    """

    kind = "atoms"
    facts: ClassVar[dict[str, Fact]] = {
        "atom_share": Fact(
            "drift", 0.0, "above",
            "share of rows that are one and the same, beyond what the reference has, of numbers that do not repeat in "
            "it, and column by column; below 1 % or 20 rows it counts as none; 0.0: none, 1.0: all rows are one",
            "mass of the greatest atom of the empirical distribution",
            above="changed", high=1.0,
        ),
        "value_tv": Fact(
            "drift", 0.0, "above",
            "mean over number columns with values that 5 % of the reference or more share, of the total variation of "
            "the shares of these values (the sample moved back like tail_kept); 0.0: as frequent as they were, 1.0: "
            "none is left",
            "Levin & Peres 2017, ch. 4",
            above="moved", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.numeric)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        view, own = frame.view(sample), frame.own
        if frame.numeric.axes.shape[1] and not frame.atoms.any():
            yield Measurement("atom_share", "", beyond(marks(view.components), marks(own.components)))
        columns = frame.number_columns
        for place, (_, name) in enumerate(columns if len(columns) > 1 else ()):
            if not frame.atoms[place]:
                yield Measurement("atom_share", name, beyond(view.ranked[:, :, place], own.ranked[:, :, place]))
        yield from _frequent(view.placed, frame)


def _frequent(view: View, frame: Frame) -> Iterator[Measurement]:
    """Yield how the shares of frequent values have changed, column by column and on average."""
    found = {}
    for place, (_, name) in enumerate(frame.number_columns):
        values, count = np.unique(frame.present_values[place], return_counts=True)
        often = values[count > LEVEL * count.sum()]
        if len(often):
            real = count[count > LEVEL * count.sum()] / count.sum()
            x = view.coordinates[:, :, place]
            own = np.stack([(np.abs(x - value) <= SAME).sum(axis=1) for value in often], axis=1) / view.present[
                :, [place]]  # (R, n) -> (R, values)
            rest = np.abs(own.sum(axis=1) - real.sum())
            found[name] = (np.abs(own - real).sum(axis=1) + rest) / 2
    if found:
        yield Measurement("value_tv", "", across(found.values()))
    if len(found) > 1 or (found and len(frame.names) > 1):
        yield from (Measurement("value_tv", name, values) for name, values in found.items())
