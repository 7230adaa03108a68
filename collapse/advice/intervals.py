"""Intervals from paired replicates: of the quantile, median and mean of margins, and of where these cross 0.

Of a share: the ends are where confidence limits of the quantile cross 0, which are order statistics of M, the worst
margins of lineages (:mod:`collapse.advice.condition`), interpolated (Nyblom 1992, Stat Probab Lett 14:129). At the true
crossing each of them errs with 5 %, whatever the distribution. Of median and mean: points are paired, replicate r has
the same random numbers at every x. So replicates are drawn with replacement, all points together, and what a draw errs
by is taken off what was measured (the basic bootstrap; Davison & Hinkley 1997, section 5.2): that makes a draw of the
margins, made monotone in x (isotonic regression; Barlow et al. 1972), which has a crossing of its own. The answer is
the median of them. The least of H noisy means lies below the least of their expectations: :func:`worst` takes that off
too. Deviations are widened by √(R/(R − 1)) and the t quantile over the normal one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from collapse.rng import Rng

#: Of every interval.
LEVEL = 0.9
#: Draws of the bootstrap.
DRAWS = 2000
#: Standard errors within which a mean is taken to be level with the least.
LEVELLED = 2.0
#: Standard errors by which a mean must lie below later ones to show that they rise again.
RISING = 3.0
#: Share of the last generation's noise from which on noise has settled.
SETTLED = 0.9
#: Of a gap, the least share that a crossing lies above its lower end, which was seen not to keep the condition.
ABOVE = 1e-3


def weights(replicates: int) -> np.ndarray:
    """Return how often each replicate is drawn, over R, in each bootstrap draw: (:data:`DRAWS`, R)."""
    return Rng("planner", "bootstrap").generator(replicates).multinomial(
        replicates, np.full(replicates, 1 / replicates), DRAWS) / replicates


def widening(replicates: int) -> float:
    """Return by what bootstrap deviations of a mean of R values are too small: √(R/(R − 1)) · t/z."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + LEVEL) / 2
    return float(np.sqrt(replicates / (replicates - 1)) * stdtrit(replicates - 1, tail) / ndtri(tail))


def noise(values: np.ndarray, centre: str = "mean") -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (or median) over replicates and bootstrap draws of its noise: (R, …) -> (…), (B, …)."""
    replicates, flat = len(values), values.reshape(len(values), -1)
    if centre == "mean":
        found, drawn = flat.mean(axis=0), weights(replicates) @ flat
    else:
        found, drawn = np.median(flat, axis=0), _medians(flat)
    off = widening(replicates) * (drawn - found)
    return found.reshape(values.shape[1:]), off.reshape(len(drawn), *values.shape[1:])


def _medians(values: np.ndarray) -> np.ndarray:
    """Return the median of each bootstrap draw of the replicates: (R, L) -> (B, L)."""
    replicates = len(values)
    times = np.rint(weights(replicates) * replicates).astype(np.int32)
    found = np.empty((len(times), values.shape[1]))
    for column, order in enumerate(np.argsort(values, axis=0).T):
        ranks, line = 2 * np.cumsum(times[:, order], axis=1), values[order, column]
        found[:, column] = (line[(ranks >= replicates).argmax(axis=1)] + line[(ranks > replicates).argmax(axis=1)]) / 2
    return found


def limits(worst_of: np.ndarray, share: float) -> np.ndarray:
    """Return lower limit, estimate and upper limit of what a share of lineages reaches: M (R, …) -> (3, …).

    The estimate is not below 0 where at least that share of the M are not. A limit is an order statistic of M,
    interpolated between two so that each errs with (1 − LEVEL)/2. Infinite where R is too few to have it.
    """
    ordered = np.sort(worst_of, axis=0)
    edge = np.full((1, *ordered.shape[1:]), np.inf)
    ordered = np.concatenate([-edge, ordered, edge])  # the r-th of R at r
    found = []
    for below, weight in _ranks(len(worst_of), share):
        one, other = ordered[below], ordered[below + 1]
        found.append(one if weight == 0 else other if weight == 1 else (1 - weight) * one + weight * other)
    return np.stack(found)


@lru_cache
def _ranks(replicates: int, share: float) -> tuple[tuple[int, float], ...]:
    """Return rank below and weight of the rank above for lower limit, estimate and upper limit of a quantile.

    The r-th of R values lies above the p-quantile, p = 1 − q, with probability F(r − 1), F of Binomial(R, p). Between
    the r-th and the next the gaps on both sides of the quantile are exponential, of rates r/p and (R − r)/(1 − p).
    """
    from scipy.special import bdtr

    p = 1 - share
    plain = math.floor(replicates * p + 1e-9)  # so many may break it
    ends = []
    for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        chance = np.append(0.0, bdtr(np.arange(replicates + 1), replicates, p))  # of the r-th, r = 0 … R + 1
        r = min(int(np.searchsorted(chance, level, side="right")) - 1, replicates)
        passed = (level - chance[r]) / (chance[r + 1] - chance[r])
        near, far = r / p, (replicates - r) / (1 - p)
        ends.append((r, float(far * passed / (near * (1 - passed) + far * passed))) if 0 < r < replicates else
                    (r, 0.0 if r == 0 else 1.0))
    return ends[0], (plain, 1.0), ends[1]


def worst(mean: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Return draws (B,) of the least of T expectations, from their means (T,) and the noise of these (B, T).

    The least of noisy means lies below the least of their expectations, by more the more of them are level. Where the
    means fall after the first (which no setting of a knob can change), their least is the last of their non-increasing
    fit to the generations at which the noise has settled, for mean and noise of a loop settle together; what that fit
    pools is taken to be level, and the error that the same estimate has of such means is taken off. Where they clearly
    rise again, means that are not told apart from the least are taken to be level with it.
    """
    tail = mean[1:]
    if len(tail):
        spread = off[:, 1:].std(axis=0)
        unsettled = np.flatnonzero(spread < SETTLED * spread[-1])
        since = unsettled[-1] + 2 if len(unsettled) else 1
        level, late = -monotone(-mean[None, since:])[0], off[:, since:]
        block = late[:, level == level[-1]].mean(axis=1, keepdims=True)  # (B, 1)
        apart = np.maximum((off[:, 1:] - block).std(axis=0), 1e-300)
        if ((tail - level[-1]) / apart).min() > -RISING:
            return np.minimum(mean[0] + off[:, 0], 2 * level[-1] - _last(level + late))
    least = int(mean.argmin())
    apart = (off - off[:, least, None]).std(axis=0)
    level = np.where(mean - mean[least] <= LEVELLED * apart, mean[least], mean)
    return 2 * mean[least] - (level + off).min(axis=1)


def _last(margins: np.ndarray) -> np.ndarray:
    """Return the last of the non-increasing fit to each row: (B, T) -> (B,)."""
    return (np.cumsum(margins[:, ::-1], axis=1) / np.arange(1, margins.shape[1] + 1)).min(axis=1)


def interval(drawn: np.ndarray) -> tuple[float, float, float]:
    """Return median and 90 % interval of draws (B,), which may be infinite."""
    ordered, count = np.sort(drawn), len(drawn)
    middle, low, high = (ordered[min(int(q * count), count - 1)] for q in (0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(middle), float(low), float(high)


def monotone(values: np.ndarray) -> np.ndarray:
    """Return the least-squares non-decreasing fit to each row: (B, K) -> (B, K), by the min–max formula."""
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    count = values.shape[1]
    fitted = np.empty_like(values)
    best = np.full(len(values), -np.inf)
    for k in range(count):
        ends = np.arange(k, count)
        # max over i ≤ k of min over j ≥ k of the mean of i … j
        for i in range(k + 1):
            mean = (sums[:, ends + 1] - sums[:, i, None]) / (ends + 1 - i)
            best = np.maximum(best, mean.min(axis=1))
        fitted[:, k] = best
        best = np.full(len(values), -np.inf)
    return fitted


def crossing(places: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Return where margins (B, K) at ``places`` (K,) first reach 0: (B,); ∞ where they never do."""
    reached = margins >= 0
    first = reached.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(margins))
    high, low = margins[rows, first], margins[rows, before]
    with np.errstate(invalid="ignore"):
        share = np.where(first > 0, -low / np.where(high > low, high - low, 1.0), 0.0)
    # the setting below did not keep it; where its margin has no number, nothing is known of what lies between
    share = np.where(first > 0, np.maximum(np.nan_to_num(share, nan=1.0), ABOVE), 0.0)
    found = places[before] + share * (places[first] - places[before])
    return np.where(reached.any(axis=1), found, np.inf)
