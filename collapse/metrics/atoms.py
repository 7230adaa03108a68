"""One row, again and again: what no continuous reality does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.spread import marks

#: The fewest rows of one value, and the least share of all, that are an atom: a few copies are chance, or a draw with
#: replacement.
ROWS, SHARE = 20, 0.01


class Atoms(Metric):
    """Rows whose numbers are all the same as another's, more than in reality.

    Where reality is continuous no two rows are equal, so a row that fills a hundredth of a sample was put there: a
    default, a stuck sensor, a generator that has one answer. Where values of reality repeat by themselves nothing is
    measured.
    """

    kind = "atoms"
    facts: ClassVar[dict[str, Fact]] = {
        "atom_share": Fact(
            "drift", 0.0, "above",
            "share of rows that are one and the same, beyond what the reference has, of numbers that do not repeat in "
            "it; below 1 % or 20 rows it counts as none; 0.0: none, 1.0: all rows are one",
            "mass of the greatest atom of the empirical distribution",
            above="changed", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.numeric)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        if frame.numeric.axes.shape[1] and not frame.atoms.any():
            own, real = (_greatest(points) for points in (frame.view(sample).components, frame.own.components))
            more = own - real[0]
            yield Measurement("atom_share", "", np.where(more >= least(sample.n), more, 0.0))


def least(n: int) -> float:
    """Return the least share of ``n`` rows that is an atom."""
    return max(SHARE, ROWS / n)


def _greatest(points: np.ndarray) -> np.ndarray:
    """Return the share of the most frequent of ``points`` (R, n, k), (R,)."""
    n = points.shape[1]
    along = marks(points)
    starts = np.concatenate([np.ones((len(along), 1), bool), np.diff(along, axis=1) > 0], axis=1)
    return np.array([np.diff(np.append(np.flatnonzero(row), n)).max() / n for row in starts])
