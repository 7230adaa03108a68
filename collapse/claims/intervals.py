"""The interval of a mean and of a median over replicates, two-sided, to be shown."""

from __future__ import annotations

import numpy as np


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean and t interval of R values, by default of 95 %; the interval of one value is NaN."""
    from scipy.special import stdtrit

    values = np.asarray(values, dtype=float)
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    half = float(stdtrit(count - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return median and exact interval of at least ``level`` from order statistics; NaN of too few values.

    The full range of R values covers the median in 1 − 2·2^−R of cases: 6 values are the least for 95 %.
    """
    from scipy.special import bdtr

    values = np.sort(np.asarray(values, dtype=float))
    count = len(values)
    ranks = [k for k in range(1, count // 2 + 1) if bdtr(k - 1, count, 0.5) <= (1 - level) / 2]
    if not ranks:
        return float(np.median(values)), np.nan, np.nan
    return float(np.median(values)), float(values[ranks[-1] - 1]), float(values[count - ranks[-1]])
