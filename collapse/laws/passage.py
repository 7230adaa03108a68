"""First passage: the share of lineages that have kept a condition so far, where the law of one lineage is known.

An expectation says nothing of it: E[v_t] = 1 for ever for an unbiased variance under replace, while almost every
lineage tends to 0. Both functions return P(kept to t), (T,), from 1 (all have) to 0 (none has), not rising.
"""

from __future__ import annotations

import numpy as np

from collapse.laws.categorical import binomials

#: Cells of the grid to a standard deviation of the smallest step, and cells at most.
FINE, MOST = 60, 2**18
#: Standard deviations of the walk beyond which it is taken to stay on the safe side.
BEYOND = 10.0


def variance(horizon: int, first: int, n: int, ddof: int, bound: float, above: bool = True) -> np.ndarray:
    """Return P(v_s ≥ ``bound`` for s = 1 … t) (or ≤, with ``above`` False) of a Gaussian's variance under replace.

    v_1 is fitted to ``first`` real rows, the others to ``n`` rows of the one before: log v is a sum of independent
    steps log χ²_{n−1}/(n − ddof) (Cochran 1934; Shumailov et al. 2024, Nature 631, supplement). The density of what has
    not yet crossed is carried on by convolution over a grid that begins at the bound; halving its cells moves the
    shares by less than 1e-5.
    """
    from scipy.signal import fftconvolve
    from scipy.special import digamma, polygamma

    if bound <= 0:
        return np.full(horizon, 1.0 if above else 0.0)  # a variance of two rows or more is above 0
    sign = 1 if above else -1
    freedom = np.array([first - 1, *[n - 1] * (horizon - 1)]) / 2
    drift = sign * (digamma(freedom) + np.log(2 / np.array([first - ddof, *[n - ddof] * (horizon - 1)])))
    deviation = np.sqrt(polygamma(1, freedom))
    reach = np.cumsum(drift) + BEYOND * np.sqrt(np.cumsum(deviation**2)) - sign * np.log(bound)
    cell = max(deviation.min() / FINE, max(reach.max(), 0.0) / MOST, 1e-12)
    count = max(2, int(np.ceil(max(reach.max(), 0.0) / cell)) + 1)

    def below(z: np.ndarray, rows: int) -> np.ndarray:
        """Return the chance that a step lies below z, on the scale on which more is safer."""
        from scipy.special import chdtr, chdtrc

        x = np.exp(np.clip(sign * z, -700, 700)) * (rows - ddof)
        return chdtr(rows - 1, x) if above else chdtrc(rows - 1, x)

    edges = np.arange(count + 1) * cell + sign * np.log(bound)
    mass = np.diff(below(edges, first))
    mass[-1] += 1 - below(edges[-1:], first)[0]
    kernel = np.diff(below((np.arange(-count, count) + 0.5) * cell, n))  # from the middle of a cell to another
    shares = [mass.sum()]
    for _ in range(horizon - 1):
        moved = fftconvolve(mass, kernel)[count - 1 :].clip(0)
        mass = moved[:count]
        mass[-1] += moved[count:].sum()
        shares.append(mass.sum())
    return np.minimum.accumulate(np.clip(shares, 0.0, 1.0))


def share(horizon: int, first: int, n: int, p: float, keep: np.ndarray, keep_first: np.ndarray) -> np.ndarray:
    """Return P(kept to t) of the fitted share of one category of true share ``p`` under replace (Wright 1931), exact.

    The count in ``n`` rows is a Markov chain of binomial draws; ``keep`` (n + 1,) says which counts meet the condition,
    ``keep_first`` (first + 1,) those of the first pool.
    """
    mass = binomials(first, np.array([p]), first + 1)[0] * keep_first
    shares = [mass.sum()]
    if horizon > 1:
        mass = mass @ binomials(n, np.arange(first + 1) / first, n + 1) * keep
        step = binomials(n, np.arange(n + 1) / n, n + 1)
        shares.append(mass.sum())
    while len(shares) < horizon:
        mass = mass @ step * keep
        shares.append(mass.sum())
    return np.clip(shares, 0.0, 1.0)
