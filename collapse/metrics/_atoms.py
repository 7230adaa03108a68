"""What repeats in a sample and not in reality: values that many rows share."""

from __future__ import annotations

import numpy as np

#: The fewest rows of one value, and the least share of all, that are an atom: a few copies are chance, or a draw with
#: replacement.
ROWS, SHARE = 20, 0.01
#: Standard errors of the share that the reference's greatest has, where values are rounded: less is chance.
CLEAR = 5.0


def marks(points: np.ndarray) -> np.ndarray:
    """Return one number a row of ``points`` (R, n, k), sorted: (R, n), equal where rows are.

    Each row is summed by itself: a product of matrices rounds equal rows differently, by their place.
    """
    return np.sort((points * np.random.default_rng(0).normal(size=points.shape[2])).sum(axis=2), axis=1)


def least(n: int) -> float:
    """Return the least share of ``n`` rows that is an atom."""
    return max(SHARE, ROWS / n)


def beyond(sample: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the share of the most frequent value of sorted ``sample`` (R, n) beyond that in ``reference`` (1, N).

    (R,); 0.0 where it is no atom, or chance may make it so frequent.
    """
    own, real, n = _greatest(sample), _greatest(reference)[0], sample.shape[1]
    chance = CLEAR * np.sqrt(real * (1 / n + 1 / reference.shape[1]))
    return np.where(own - real >= max(least(n), chance), own - real, 0.0)


def _greatest(ranked: np.ndarray) -> np.ndarray:
    """Return the share of the most frequent of sorted values (R, n), (R,); the missing are no value."""
    n = ranked.shape[1]
    starts = np.concatenate([np.ones((len(ranked), 1), bool), np.diff(ranked, axis=1) != 0], axis=1)
    return np.array([np.diff(np.append(np.flatnonzero(row), n)).max() / n for row in starts])
