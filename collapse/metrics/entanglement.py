"""Entanglement: can the modes of a sample still be told apart, by a rule that learned them on real data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame
from collapse.metrics.base import Fact, Measurement, Metric

#: Numbers that one block of posteriors may hold.
BLOCK = 2**22
#: Share of the pooled variance that keeps a flat class from having none.
RIDGE = 1e-6


@dataclass(frozen=True, eq=False)
class ModeClassifier:
    """Regularised discriminant analysis (Friedman 1989): a normal law of its own for each of k classes.

    p(c | z) ∝ π_c N(z; μ_c, Σ_c) with Σ_c = (1 − λ_c) S_c + λ_c S, where S_c is the covariance of the n_c rows of
    class c, S the pooled one, and λ_c = (d + 1) / (d + n_c): a class of one row has the pooled covariance, a class of
    many its own. A closed form: no iteration, no seed, and no penalty whose size would set the entropy.
    """

    codes: np.ndarray  # (k,) codes of the classes
    means: np.ndarray  # (k, d)
    whiten: np.ndarray  # (k, d, d), z ↦ (z − μ_c) whiten_c has unit covariance
    offsets: np.ndarray  # (k,) log π_c − ½ log det Σ_c

    @staticmethod
    def fit(z: np.ndarray, labels: np.ndarray) -> ModeClassifier:
        """Return the classifier of rows ``z`` (N, d) with ``labels`` (N,)."""
        codes, place, count = np.unique(labels, return_inverse=True, return_counts=True)
        d = z.shape[1]
        means = np.stack([np.bincount(place, weights=column) for column in z.T], axis=1) / count[:, None]  # (k, d)
        scatter = np.empty((len(codes), d, d))
        order = np.split(np.argsort(place, kind="stable"), np.cumsum(count)[:-1])
        for c, members in enumerate(order):
            centred = z[members] - means[c]
            scatter[c] = centred.T @ centred
        pooled = scatter.sum(axis=0) / len(z)
        pooled += RIDGE * max(np.trace(pooled) / d, RIDGE) * np.eye(d)
        shrink = ((d + 1) / (d + count))[:, None, None]
        covariance = (1 - shrink) * scatter / count[:, None, None] + shrink * pooled
        root = np.linalg.cholesky(covariance)  # Σ = L Lᵀ, so (z − μ) L⁻ᵀ is white
        log_det = 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        whiten = np.ascontiguousarray(np.linalg.inv(root).transpose(0, 2, 1))
        return ModeClassifier(codes, means, whiten, np.log(count / len(z)) - log_det / 2)

    def posterior(self, z: np.ndarray) -> np.ndarray:
        """Return p(c | z) of rows (R, n, d), (R, n, k)."""
        logs = np.empty((*z.shape[:2], len(self.codes)))
        for c, (mean, whiten, offset) in enumerate(zip(self.means, self.whiten, self.offsets, strict=True)):
            white = (z - mean) @ whiten
            logs[..., c] = offset - np.vecdot(white, white) / 2
        logs -= logs.max(axis=2, keepdims=True)
        np.exp(logs, out=logs)
        logs /= logs.sum(axis=2, keepdims=True)
        return logs

    def confusion(self, z: np.ndarray) -> np.ndarray:
        """Return the posterior entropy of rows (R, n, d) over log k, (R, n): 0.0 certain, 1.0 nobody can tell."""
        out = np.empty(z.shape[:2])
        size = max(1, BLOCK // max(1, z.shape[1] * len(self.codes)))
        for start in range(0, len(z), size):
            p = self.posterior(z[start : start + size])
            out[start : start + size] = -np.vecdot(p, np.log(np.maximum(p, np.finfo(float).tiny)))
        return np.clip(out / np.log(len(self.codes)), 0.0, 1.0)


#: One classifier a frame, made when first asked for; None: the reference has one class.
_KEPT: WeakKeyDictionary[Frame, ModeClassifier | None] = WeakKeyDictionary()


def classifier(frame: Frame) -> ModeClassifier | None:
    """Return the classifier that is frozen on the reference, or None if there is nothing to tell apart."""
    if frame not in _KEPT:
        labels = frame.own.label
        assert labels is not None
        told = frame.space.axes.shape[1] > 0 and len(np.unique(labels[0])) > 1
        _KEPT[frame] = ModeClassifier.fit(frame.own.space[0], labels[0]) if told else None
    return _KEPT[frame]


class Entanglement(Metric):
    """Posterior entropy of a classifier that was trained once, on the labelled reference, in the frozen feature space.

    The classes are the modes. What the sample's own labels say plays no part in the whole, so a model to which labels
    are handed over gets nothing for them. Sampled classes only shrink: the value falls; they grow into one another: it
    rises. Real modes overlap too, so that the value of real rows is not 0; the calibrated band says what it is.
    """

    kind = "entanglement"
    facts: ClassVar[dict[str, Fact]] = {
        "entanglement": Fact(
            "modes", 0.0, "above",
            "mean posterior entropy over log k of a discriminant analysis frozen on the k real classes; 0.0: every "
            "row is clearly of one mode (so is reality where its modes are apart), 1.0: nobody can tell; a class has "
            "the part that rows with its label add to the whole",
            "after Shumailov et al. 2024, Nature 631 (modes entangle); Friedman 1989, J Am Stat Assoc 84:165",
            high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return schema.label is not None and bool(schema.numeric)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        rule, column = classifier(frame), frame.schema.label
        if rule is None:
            return
        view = frame.view(sample)
        assert column is not None and view.label is not None
        confusion = rule.confusion(view.space)  # (R, n)
        yield Measurement("entanglement", "", confusion.mean(axis=1))
        for code in rule.codes:
            part = np.where(view.label == code, confusion, 0.0).mean(axis=1)
            yield Measurement("entanglement", column.categories[code], part)
