"""Loop gain: a bias that one generation has, and what the loop makes of it.

With d_t the mean over replicates of a series less its truth, the gain of one turn is g_t = d_t / d_{t−1}, and over k
turns the geometric mean (d_{s+k} / d_s)^(1/k). Above 1 the loop amplifies the bias, below 1 it corrects it; 1: it keeps
it, as unbiased re-estimation keeps a share (a martingale); 0: it is gone after one turn.

Ratios of two means over the same replicates have Fieller's interval (Fieller 1954, J R Stat Soc B 16:175): all ρ for
which the mean of x_{s+k} − ρ x_s, paired by replicate, is not told apart from 0 by Student's t at 95 %. It is exact for
normal means, needs no d_t far from 0 as the delta method does, and is unbounded where d_s itself is not told apart from
0: then there is no bias that could grow. A power is monotone, so the geometric mean has the interval of its ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Gain:
    """The gain of a loop over T generations.

    ``total`` is what is left at the end of the bias at the start, d_T / d_1, with its interval; 1.0: all of it, 0.0:
    nothing, negative: it has turned round. ``estimate`` is the geometric mean gain with ``low`` to ``high``; 0.0 stands
    for a ratio that is not positive; without an interval its ends are ∓∞. ``bias`` (T,) with ``bias_low`` and
    ``bias_high`` is d_t, ``steps`` (T − 1,) with theirs g_t, which may be negative.
    """

    generations: np.ndarray
    replicates: int
    bias: np.ndarray
    bias_low: np.ndarray
    bias_high: np.ndarray
    steps: np.ndarray
    steps_low: np.ndarray
    steps_high: np.ndarray
    estimate: float
    low: float
    high: float
    total: float
    total_low: float
    total_high: float

    @property
    def bounded(self) -> bool:
        """Return whether there was a bias at the start: else nothing is known of its gain."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON; null is no number."""
        return {
            "replicates": self.replicates, "generations": self.generations.tolist(),
            **{name: _plain(getattr(self, name))
               for name in ("estimate", "low", "high", "total", "total_low", "total_high")},
            **{name: [_plain(x) for x in getattr(self, name)]
               for name in ("bias", "bias_low", "bias_high", "steps", "steps_low", "steps_high")},
        }


def loop_gain(values: np.ndarray, truth: float = 0.0, generations: np.ndarray | None = None,
              level: float = 0.95) -> Gain:
    """Return the gain of a series.

    Parameters
    ----------
    values
        (T, R), T ≥ 2 generations in order, R ≥ 2 replicates.
    truth
        What an unbiased value is.
    generations
        (T,) their numbers, 1 to T by default; the mean is per generation, also over a gap.
    level
        Of all intervals, two-sided.
    """
    off = np.asarray(values, dtype=float) - truth
    numbers = np.arange(1, len(off) + 1) if generations is None else np.asarray(generations)
    turns = np.diff(numbers)
    means, half = off.mean(axis=1), _t(off.shape[1], level) * off.std(axis=1, ddof=1) / np.sqrt(off.shape[1])
    turned = [ratio(off[i + 1], off[i], level) for i in range(len(turns))]
    steps, steps_low, steps_high = np.array([one if k == 1 else _root(one, k)
                                             for one, k in zip(turned, turns, strict=True)]).T
    total = ratio(off[-1], off[0], level)
    return Gain(numbers, off.shape[1], means, means - half, means + half, steps, steps_low, steps_high,
                *_root(total, numbers[-1] - numbers[0]), *total)


def ratio(above: np.ndarray, below: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean(above) / mean(below) of paired values (R,), and Fieller's interval of ``level``.

    The interval is (−∞, ∞) where the mean of ``below`` is not told apart from 0, and the ratio NaN where it is 0.
    """
    count = len(above)
    u, v = float(np.mean(above)), float(np.mean(below))
    spread = np.cov(above, below) * _t(count, level) ** 2 / count
    a, b, c = v * v - spread[1, 1], u * v - spread[0, 1], u * u - spread[0, 0]  # ρ is in if a ρ² − 2 b ρ + c ≤ 0
    if a <= 0:
        return (u / v if v else np.nan), -np.inf, np.inf
    root = np.sqrt(max(b * b - a * c, 0.0))
    # equal values leave a rounding error where there is no width
    return u / v, min((b - root) / a, u / v), max((b + root) / a, u / v)


def _root(found: tuple[float, float, float], turns: int) -> tuple[float, float, float]:
    """Return the k-th root of a ratio and of its ends, 0 for what is negative; no end and no number stay so."""
    value, low, high = (float(np.maximum(x, 0.0) ** (1 / turns)) for x in found)
    return value, low if np.isfinite(found[1]) else -np.inf, high


def _t(count: int, level: float = 0.95) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, (1 + level) / 2))


def _plain(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
