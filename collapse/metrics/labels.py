"""Labels: are the classes still there, still told apart, and still what they say."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame, counts
from collapse.metrics._partition import Reach
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.groups import measured
from collapse.metrics.spread import entropy

#: A class is alive while it keeps this part of its reference share.
ALIVE = 0.1


class Labels(Metric):
    """What the labels say, and what a nearest-neighbour classifier in the frozen feature space says of them.

    A model to which labels are handed over keeps every label; so modes are counted by the class of each sample row's
    nearest reference row wherever there are features.
    """

    kind = "labels"
    facts: ClassVar[dict[str, Fact]] = {
        "class_share": Fact(
            "labels", 1.0, "below",
            "a class's share over its reference share, by the sample's own labels; 1.0: kept, 0.0: gone; the "
            "whole is the smallest",
            "Shumailov et al. 2024, Nature 631",
        ),
        "effective_classes": Fact(
            "modes", 1.0, "below",
            "effective number of classes exp(H) by the sample's own labels over the reference's (Hill number of order "
            "1); 1.0: as even, 0.1: one of ten is left",
            "Hill 1973, Ecology 54:427",
            below="modes lost", above="gained",
        ),
        "modes_alive": Fact(
            "modes", 1.0, "below",
            "share of the reference classes that the sample still shows, at a tenth of their reference share or "
            "more, by each row's nearest reference row, the sample moved back like tail_kept; 1.0: all, 0.0: none",
            "after Srivastava et al. 2017, NeurIPS (VEEGAN)",
            below="modes lost", high=1.0,
        ),
        "label_agreement": Fact(
            "labels", 1.0, "below",
            "share of sample rows whose label is that of the nearest reference row, the sample moved back like "
            "tail_kept; 1.0: labels mean what they did",
            "after Shmelkov et al. 2018, ECCV (GAN-train, GAN-test)",
            below="changed", high=1.0,
        ),
        "tstr_accuracy": Fact(
            "labels", 1.0, "below",
            "train on synthetic, test on real: accuracy on the reference, and on the reference rows of each of the "
            "study's groups, of the nearest sample row's label; 1.0: as if reality were known",
            "Esteban et al. 2017, arXiv 1706.02633", high=1.0,
        ),
        "class_recall": Fact(
            "labels", 1.0, "below",
            "share of a class's reference rows that training on the sample gets right; 1.0: all, 0.0: none; the "
            "whole is the worst class",
            "Esteban et al. 2017, arXiv 1706.02633", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return schema.label is not None

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        column = frame.schema.label
        assert column is not None
        share = frame.shares[column.name]
        present = np.flatnonzero(share)
        own = frame.view(sample).shares(column)  # (R, C)
        yield from _worst_and_parts("class_share", own[:, present] / share[present], column.categories, present)
        if share.max() < 1:
            yield Measurement("effective_classes", "", np.exp(entropy(own) - entropy(share)))
        shown = own
        if frame.space.axes.shape[1]:
            shown = yield from self._by_neighbour(sample, frame, present)
        yield Measurement("modes_alive", "", (shown >= ALIVE * share)[:, present].mean(axis=1))

    def _by_neighbour(
        self, sample: Rows, frame: Frame, present: np.ndarray
    ) -> Generator[Measurement, None, np.ndarray]:
        """Yield what needs a classifier and return the shares of the classes that the sample shows, (R, C)."""
        view, column = frame.view(sample), frame.schema.label
        assert column is not None and view.label is not None and frame.own.label is not None
        real = frame.own.label[0, frame.own.pairs]  # (N,)
        said = view.label[:, view.pairs]  # (R, m)
        looks = real[view.placed.near.to_reference]  # (R, m)
        yield Measurement("label_agreement", "", (looks == said).mean(axis=1))
        right = np.take_along_axis(said, view.near.to_sample, axis=1) == real  # (R, N)
        yield Measurement("tstr_accuracy", "", right.mean(axis=1))
        yield from self._by_group(said, view.reach, frame) if frame.groups else ()
        tested = np.intersect1d(present, real)
        recall = np.stack([right[:, real == code].mean(axis=1) for code in tested], axis=1)
        yield from _worst_and_parts("class_recall", recall, column.categories, tested)
        return counts(looks, len(column.categories)) / looks.shape[1]


    def _by_group(self, said: np.ndarray, reach: Reach, frame: Frame) -> Iterator[Measurement]:
        """Yield the accuracy on the reference rows that stand for each group; ``said`` (R, m) trains."""
        assert frame.own.label is not None
        real = np.concatenate([frame.own.label[0, p.members[g]] for p in frame.partitions for g in p.measured])  # (M,)
        right = np.take_along_axis(said, reach.to_sample, axis=1) == real
        for name, part in zip(measured(frame), np.split(right, reach.starts[1:], axis=1), strict=True):
            yield Measurement("tstr_accuracy", name, part.mean(axis=1))


def _worst_and_parts(
    metric: str, values: np.ndarray, categories: tuple[str, ...], which: np.ndarray
) -> Iterator[Measurement]:
    """Yield the smallest of ``values`` (R, classes) as the whole, and each class under its name."""
    yield Measurement(metric, "", values.min(axis=1))
    for place, code in enumerate(which):
        yield Measurement(metric, categories[code], values[:, place])
