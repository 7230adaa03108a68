"""The classifier two-sample test: can a classifier tell the sample from the reference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame, thinned
from collapse.metrics.base import Fact, Measurement, Metric

#: Rows a side, trees of a forest, their least leaf, and the columns that a split tries.
ROWS, TREES, LEAF, TRIED = 1000, 20, 4, 16


class C2ST(Metric):
    """Accuracy, on rows that it has not seen, of extremely randomised trees that tell sample from reference.

    Up to 1,000 rows a side, equally many, by a fixed draw; the label is a column like any other. Numbers enter as they
    are, the missing below all others; categories as the rank of their reference share, as trees need no other code. On
    n rows a side the value of real rows has a standard deviation of about 0.5/√(2n).
    """

    kind = "c2st"
    facts: ClassVar[dict[str, Fact]] = {
        "c2st": Fact(
            "fidelity", 0.5, "above",
            "held-out accuracy of a classifier that tells sample from reference; 0.5: indistinguishable, 1.0: told "
            "apart",
            "Lopez-Paz & Oquab 2017, ICLR (arXiv 1610.06545); Geurts et al. 2006, Mach Learn 63:3", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return len(schema.columns) > 2 and not any(column.kind == "image" for column in schema.columns)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        side = min(ROWS, sample.n, frame.reference.n)
        if frame not in _KEPT:
            _KEPT[frame] = features(frame.reference.take(thinned(frame.reference.n, side)[None]), frame)[0]
        reference = _KEPT[frame][:side]
        rows = features(sample.take(np.broadcast_to(thinned(sample.n, side), (sample.replicates, side))), frame)
        yield Measurement("c2st", "", np.array([accuracy(one, reference) for one in rows]))


_KEPT: WeakKeyDictionary[Frame, np.ndarray] = WeakKeyDictionary()


def features(rows: Rows, frame: Frame) -> np.ndarray:
    """Return every column as a number, (R, n, D) in single precision."""
    found = []
    for column in rows.schema.columns:
        values = rows[column.name]
        if column.kind == "category":
            values = np.argsort(np.argsort(frame.shares[column.name], kind="stable"), kind="stable")[values]
        found.append(np.nan_to_num(values, nan=float(np.finfo(np.float32).min)).astype(np.float32))
    return np.stack(found, axis=2)


def accuracy(sample: np.ndarray, reference: np.ndarray) -> float:
    """Return the out-of-bag accuracy of telling ``sample`` (n, D) from ``reference`` (n, D).

    Every row is judged by the trees that did not draw it, a bit more than a third of them (Breiman 2001, Mach Learn
    45:5, section 3.1). One that all trees drew is told apart by none, and counts as half.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    x = np.concatenate([sample, reference])
    y = np.repeat([1, 0], [len(sample), len(reference)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
        forest = ExtraTreesClassifier(TREES, min_samples_leaf=LEAF, max_features=min(x.shape[1], TRIED), random_state=0,
                                      bootstrap=True, oob_score=True).fit(x, y)
    votes = forest.oob_decision_function_ @ [-1, 1]  # above 0: sample, below: reference, 0: undecided
    return float(np.mean(0.5 + 0.5 * np.sign(votes) * (2 * y - 1)))
