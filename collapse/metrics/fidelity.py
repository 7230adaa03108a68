"""Fidelity and diversity by nearest-neighbour balls in the frozen feature space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from collapse.data import Rows, Schema
from collapse.frame import Frame
from collapse.metrics._neighbours import K
from collapse.metrics.base import Fact, Measurement, Metric

_PRECISION = "Kynkäänniemi et al. 2019, NeurIPS"
_DENSITY = "Naeem et al. 2020, ICML"


class Fidelity(Metric):
    """Precision, recall, density and coverage with k = 5, at most 1,000 rows a side off the line.

    Balls are open; equal rows count by the chance that they would be among the nearest
    (:mod:`collapse.metrics._neighbours`), so that atoms and lattices saturate nothing.
    """

    kind = "fidelity"
    facts: ClassVar[dict[str, Fact]] = {
        "precision": Fact(
            "fidelity", 1.0, "either",
            "share of sample rows within a reference row's 5-neighbour ball; 1.0: all look real, 0.0: none "
            "(collapse onto the mode raises it)",
            _PRECISION, high=1.0,
        ),
        "recall": Fact(
            "fidelity", 1.0, "below",
            "share of reference rows within a sample row's 5-neighbour ball; 1.0: all of reality is reached, 0.0: "
            "none",
            _PRECISION, high=1.0,
        ),
        "density": Fact(
            "fidelity", 1.0, "either",
            "reference balls that hold a sample row, mean over the sample, by 5; 1.0: as dense as the reference, "
            "above: crowded into its modes",
            _DENSITY,
        ),
        "coverage": Fact(
            "fidelity", 1.0, "below",
            "share of reference rows whose 5-neighbour ball holds a sample row; 1.0: all, 0.0: none",
            _DENSITY, high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.numeric)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        if not frame.space.axes.shape[1]:
            return
        near = frame.view(sample).near
        yield Measurement("precision", "", near.inside.mean(axis=1))
        yield Measurement("recall", "", near.recalled.mean(axis=1))
        yield Measurement("density", "", near.hits.mean(axis=1) / K)
        yield Measurement("coverage", "", near.covered.mean(axis=1))
