"""Images in a feature space that was learned once, on real ones: Fréchet distance, fidelity, classes alive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import STRATUM, Frame, counts
from collapse.metrics._neighbours import Balls, K, thin
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.labels import ALIVE

_FRECHET = "Heusel et al. 2017, NeurIPS; Dowson & Landau 1982, J Multivar Anal 12:450"
_PRECISION = "Kynkäänniemi et al. 2019, NeurIPS"
_DENSITY = "Naeem et al. 2020, ICML"
_WHERE = "in the learned feature space"


@dataclass(frozen=True, eq=False)
class Gauge:
    """The reference in the feature space: all that is frozen on it for images."""

    frame: Frame
    #: What was embedded, for as long as its rows live: a sample is asked for by its distance and by its step.
    embedded: WeakKeyDictionary[Rows, np.ndarray] = field(default_factory=WeakKeyDictionary)

    def embed(self, rows: Rows) -> np.ndarray:
        """Return rows in the feature space, (R, n, k): the classifier's last hidden layer, or principal components."""
        rule = self.frame.classifier
        if rule is None:
            return self.frame.view(rows).space
        if rows not in self.embedded:
            self.embedded[rows] = rule.embed(rows)
        return self.embedded[rows]

    @cached_property
    def reference(self) -> np.ndarray:
        """Return the reference in the feature space, (1, N, k)."""
        return self.embed(self.frame.reference)

    @cached_property
    def balls(self) -> Balls:
        """Return the reference rows, at most 1,000, with their nearest-neighbour balls."""
        points = self.reference[0]
        return Balls(points[thin(*points.shape)], STRATUM)

    @cached_property
    def shares(self) -> np.ndarray:
        """Return the share of each class of the reference, as the classifier sees it."""
        rule, column = self.frame.classifier, self.frame.schema.label
        assert rule is not None and column is not None
        return counts(rule.classify(self.reference), len(column.categories))[0] / self.reference.shape[1]


_KEPT: WeakKeyDictionary[Frame, Gauge] = WeakKeyDictionary()


class Images(Metric):
    """Where images are labelled, the space is the last hidden layer (32 units) of a small classifier.

    It is trained once, at generation 0, on real rows other than the reference. Images without labels are seen by
    principal components of the reference, where precision and its kin are already measured under their plain names.
    """

    kind = "images"
    facts: ClassVar[dict[str, Fact]] = {
        "frechet_distance": Fact(
            "drift", 0.0, "above",
            "squared Fréchet distance of two normals with the means and covariances of sample and reference, "
            f"{_WHERE}; 0.0: same, though n rows never show quite 0",
            _FRECHET, step=True,
        ),
        "learned_precision": Fact("fidelity", 1.0, "either", f"precision {_WHERE}; 1.0: all look real, 0.0: none",
                                  _PRECISION, high=1.0),
        "learned_recall": Fact("fidelity", 1.0, "below", f"recall {_WHERE}; 1.0: all of reality is reached, 0.0: none",
                               _PRECISION, high=1.0),
        "learned_density": Fact("fidelity", 1.0, "either", f"density {_WHERE}; 1.0: as dense as the reference, above: "
                                "crowded into its modes", _DENSITY),
        "learned_coverage": Fact("fidelity", 1.0, "below", f"coverage {_WHERE}; 1.0: all of the reference has a sample "
                                 "row near it, 0.0: none", _DENSITY, high=1.0),
        "classes_alive": Fact(
            "modes", 1.0, "below",
            "share of the classes that the classifier sees in the reference and still sees in the sample, at a tenth "
            "of their share or more; 1.0: all, 0.0: none",
            "after Srivastava et al. 2017, NeurIPS (VEEGAN)", high=1.0,
        ),
        "classifier_agreement": Fact(
            "labels", 1.0, "below",
            "share of sample rows whose label is what the classifier sees; 1.0: labels mean what they did (at "
            "generation 0 it has seen these rows)",
            "Shmelkov et al. 2018, ECCV (GAN-test)", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return any(column.kind == "image" for column in schema.numeric)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        if not frame.space.axes.shape[1]:
            return
        gauge = self._gauge(frame)
        embedded = gauge.embed(sample)  # (R, n, k)
        yield Measurement("frechet_distance", "", frechet(embedded, gauge.reference))
        rule, column = frame.classifier, frame.schema.label
        if rule is None or column is None:
            return
        near = gauge.balls.near(embedded[:, thin(*embedded.shape[1:])], all=False)
        yield Measurement("learned_precision", "", near.inside.mean(axis=1))
        yield Measurement("learned_recall", "", near.recalled.mean(axis=1))
        yield Measurement("learned_density", "", near.hits.mean(axis=1) / K)
        yield Measurement("learned_coverage", "", near.covered.mean(axis=1))
        seen = rule.classify(embedded)  # (R, n)
        share = counts(seen, len(column.categories)) / sample.n
        present = np.flatnonzero(gauge.shares)
        yield Measurement("classes_alive", "", (share >= ALIVE * gauge.shares)[:, present].mean(axis=1))
        yield Measurement("classifier_agreement", "", (seen == sample[column.name]).mean(axis=1))

    def step(self, sample: Rows, previous: Rows, frame: Frame) -> Iterator[Measurement]:
        if frame.space.axes.shape[1]:
            gauge = self._gauge(frame)
            yield Measurement("frechet_distance_step", "", frechet(gauge.embed(sample), gauge.embed(previous)))

    def _gauge(self, frame: Frame) -> Gauge:
        if frame not in _KEPT:
            _KEPT[frame] = Gauge(frame)
        return _KEPT[frame]


def frechet(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return |μ − ν|² + tr(A + B − 2 (A B)^½) of points (R, n, k) and (R or 1, m, k), (R,).

    The trace of the root is the sum of the roots of the eigenvalues of A^½ B A^½, which is symmetric.
    """
    (mean, one), (other, two) = (_moments(x) for x in (a, b))
    values, vectors = np.linalg.eigh(two)
    root = (vectors * np.sqrt(values.clip(0))[:, None]) @ vectors.swapaxes(1, 2)
    mixed = np.linalg.eigvalsh(root @ one @ root).clip(0)
    trace = np.trace(one, axis1=1, axis2=2) + np.trace(two, axis1=1, axis2=2) - 2 * np.sqrt(mixed).sum(axis=1)
    return np.square(mean - other).sum(axis=1) + trace


def _moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = points.mean(axis=1)
    centred = points - mean[:, None]
    return mean, centred.swapaxes(1, 2) @ centred / (points.shape[1] - 1)
