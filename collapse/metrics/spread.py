"""How much of the reference's spread is left: variance, entropy, diversity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.frame import Frame, across


class Spread(Metric):
    """Ratios of spread, sample to reference. All columns together, and column by column where that has a meaning."""

    kind = "spread"
    facts: ClassVar[dict[str, Fact]] = {
        "variance_ratio": Fact(
            "spread", 1.0, "below",
            "generalised variance (det Σ / det Σ_reference)^(1/k) of the k components; 1.0: as spread as the "
            "reference, 0.0: collapsed in some direction",
            "Wilks 1932, Biometrika 24:471",
        ),
        "total_variance_ratio": Fact(
            "spread", 1.0, "below",
            "trace Σ / trace Σ_reference of the standardised features; 1.0: as spread as the reference, 0.0: one "
            "point",
            "Seber 1984, Multivariate Observations",
        ),
        "entropy_ratio": Fact(
            "spread", 1.0, "below",
            "mean over columns of the Shannon entropy on frozen bins over the reference's; 1.0: as even as the "
            "reference, 0.0: one bin or category",
            "Shannon 1948",
        ),
        "simpson_ratio": Fact(
            "spread", 1.0, "below",
            "mean over category columns of the Simpson diversity 1 − Σp² over the reference's; 1.0: as diverse, "
            "0.0: one category",
            "Simpson 1949, Nature 163:688",
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.numeric or schema.categorical)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        view = frame.view(sample)
        if frame.numeric.axes.shape[1]:
            reference = frame.own.numeric
            log_ratio = log_det(view.numeric) - log_det(reference)
            yield Measurement("variance_ratio", "", np.exp(log_ratio / reference.shape[2]))
            total = frame.numeric.standard(frame.reference).var(axis=1, ddof=1).sum()
            ratio = frame.numeric.standard(sample).var(axis=1, ddof=1).sum(axis=1) / total  # (R, n, D) -> (R,)
            yield Measurement("total_variance_ratio", "", ratio)
        ratios = dict(_entropy_ratios(sample, frame))
        yield from _mean_and_parts("entropy_ratio", ratios)
        ratios = {}
        for column in frame.schema.categorical:
            share = frame.shares[column.name]
            if share.max() < 1:
                ratios[column.name] = simpson(view.shares(column.name, len(share))) / simpson(share)
        yield from _mean_and_parts("simpson_ratio", ratios)


def _entropy_ratios(sample: Rows, frame: Frame) -> Iterator[tuple[str, np.ndarray]]:
    view = frame.view(sample)
    histogram = frame.histogram(view) / view.present[:, :, None]  # (R, p, bins)
    for place, name in enumerate(frame.names):
        own = entropy(frame.bins[place] / frame.own.present[0, place])
        if own > 0:
            yield name, entropy(histogram[:, place]) / own
    for column in frame.schema.categorical:
        own = entropy(frame.shares[column.name])
        if own > 0:
            yield column.name, entropy(view.shares(column.name, len(column.categories))) / own


def _mean_and_parts(metric: str, parts: dict[str, np.ndarray]) -> Iterator[Measurement]:
    if parts:
        yield Measurement(metric, "", across(parts.values()))
    if len(parts) > 1:
        for name, values in parts.items():
            yield Measurement(metric, name, values)


def log_det(points: np.ndarray) -> np.ndarray:
    """Return log det of the covariance of ``points`` (R, n, k), −inf where it is singular: (R,)."""
    centred = points - points.mean(axis=1, keepdims=True)
    covariance = np.swapaxes(centred, 1, 2) @ centred / max(points.shape[1] - 1, 1)  # (R, k, k)
    sign, value = np.linalg.slogdet(covariance)
    return np.where(sign > 0, value, -np.inf)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Return the Shannon entropy over the last axis, in nats."""
    safe = np.where(shares > 0, shares, 1.0)
    return -(shares * np.log(safe)).sum(axis=-1)


def simpson(shares: np.ndarray) -> np.ndarray:
    """Return the Simpson diversity 1 − Σp² over the last axis."""
    return 1 - np.square(shares).sum(axis=-1)
