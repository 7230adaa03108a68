"""What R replicates can say of a centre: one-sided tests that keep their level on skewed, tied and few values.

**Median.** The sign test (Arbuthnot 1710; Conover 1999, ch. 3.4): if the median is not below c, the number of R
independent values below c is at most Binomial(R, ½). Exact for every distribution, with ties and infinite values too.
The one-sided bounds of level P are order statistics: the k-th least and k-th greatest, with the greatest k for which
P(Binomial(R, ½) < k) ≤ 1 − P. All of R on one side happen by chance in 2^−R of cases, so that 95 % needs R ≥ 5.

**Mean.** No test of a mean is right for all distributions (Bahadur & Savage 1956, Ann Math Stat 27:1115): what a few
rare paths carry, a sample may not show. Student's t is corrected for skewness by Hall's monotone cubic (Hall 1992, J
R Stat Soc B 54:221), and the less favourable of both is taken. Where few paths carry the mean nothing is said: the
*effective number of paths* is (Σd²)² / Σd⁴ with d the deviations, R over the kurtosis; 1.0: one path carries all of
the spread, R/3: a normal's. At least 10 and 1.5 √R are asked for (:meth:`Mean.needed`): then no null that was tried,
normal to log-normal of σ = 2.2 and Pareto of index 1.5, is rejected more often than stated (``python -m benchmarks
claims``).

A value that is no number could have been anything: it counts on neither side of a median, and a mean with one is
unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Centre:
    """A centre of R values: what is tested and bounded. Levels are one-sided."""

    name: str

    def __init__(self, values: np.ndarray):
        self.values = np.asarray(values, dtype=float)
        #: Replicates that have no value.
        self.dead = int(np.isnan(self.values).sum())

    @property
    def count(self) -> int:
        """Return R, the dead among them."""
        return len(self.values)

    @property
    def estimate(self) -> float:
        """Return the centre of those that have a value; NaN of none."""
        raise NotImplementedError

    def refused(self, level: float) -> str:
        """Return why nothing can be shown at ``level``, or ''."""
        raise NotImplementedError

    def bounds(self, level: float) -> tuple[float, float]:
        """Return the lower and the upper bound, each of one-sided ``level``; ∓∞ where a dead value could lie there."""
        raise NotImplementedError

    def below(self, value: float, equal: bool = False) -> float:
        """Return the p-value of the centre lying below ``value``, or, with ``equal``, not above it."""
        raise NotImplementedError

    def above(self, value: float, equal: bool = False) -> float:
        """Return the p-value of the centre lying above ``value``, or, with ``equal``, not below it."""
        return type(self)(-self.values).below(-value, equal)


class Median(Centre):
    """The median, by the sign test."""

    name = "median"

    @property
    def estimate(self) -> float:
        """Return the median of those that have a value; NaN of none."""
        known = self.values[~np.isnan(self.values)]
        return float(np.median(known)) if len(known) else np.nan

    def refused(self, level: float) -> str:
        """Return how many replicates the level needs, where there are fewer, or ''."""
        return "" if _rank(self.count, level) else f"needs R ≥ {least_count(level)} replicates, has {self.count}"

    def exact(self, level: float) -> float:
        """Return the level that the bounds of at least ``level`` have."""
        from scipy.special import bdtr

        return 1 - float(bdtr(_rank(self.count, level) - 1, self.count, 0.5))

    def bounds(self, level: float) -> tuple[float, float]:
        """Return order statistics; NaN where R is too small for ``level``."""
        rank = _rank(self.count, level)
        if not rank:
            return np.nan, np.nan
        low, high = (np.sort(np.where(np.isnan(self.values), worst, self.values)) for worst in (-np.inf, np.inf))
        return float(low[rank - 1]), float(high[-rank])

    def below(self, value: float, equal: bool = False) -> float:
        """Return the chance of at least as many of R fair signs."""
        from scipy.special import bdtrc

        hits = int((self.values <= value).sum() if equal else (self.values < value).sum())
        return float(bdtrc(hits - 1, self.count, 0.5)) if hits else 1.0


class Mean(Centre):
    """The mean, by Student's t corrected for skewness, where many paths carry it."""

    name = "mean"

    @property
    def estimate(self) -> float:
        """Return the mean of those that have a value; NaN of none."""
        known = self.values[~np.isnan(self.values)]
        return float(known.mean()) if len(known) else np.nan

    @property
    def paths(self) -> float:
        """Return the effective number of paths that carry the spread; 0.0 of equal values."""
        if not np.isfinite(self.values).all() or not len(self.values):
            return 0.0
        off = self.values - self.values.mean()
        if not (largest := np.abs(off).max()) > 0:
            return 0.0
        square = np.square(off / largest)
        return float(np.square(square.sum()) / np.square(square).sum())

    @property
    def needed(self) -> float:
        """Return the least effective number of paths that a mean of R values is judged by."""
        return max(10.0, 1.5 * np.sqrt(self.count))

    def refused(self, level: float) -> str:
        """Return why the mean is not judged, or ''."""
        if lost := int((~np.isfinite(self.values)).sum()):
            return f"is no mean that can be judged: {lost} of {self.count} replicates have no finite value"
        if self.count > 1 and np.ptp(self.values) == 0:
            return f"is of {self.count} equal values, which say nothing of their spread"
        if self.paths < self.needed:
            return (f"is carried by few paths: {self.paths:.3g} of {self.count} by their effective number, and "
                    f"{self.needed:.3g} are needed; the median is not")
        return ""

    def bounds(self, level: float) -> tuple[float, float]:
        """Return the wider of Student's t and Hall's bounds on either side; NaN where the mean is not judged."""
        from scipy.special import stdtrit

        if self.refused(level):
            return np.nan, np.nan
        mean, spread, skew = self._moments()
        half = float(stdtrit(self.count - 1, level)) / np.sqrt(self.count)
        found = []
        for side in (-1, 1):
            # Hall's cubic g(t) = t + γt²/3 + γ²t³/27 + γ/6n, solved for t = (mean − bound) / spread
            y = -side * half - skew / (6 * self.count)
            t = y if abs(skew) < 1e-9 else 3 / skew * (np.cbrt(1 + skew * y) - 1)
            found.append(mean - spread * (min if side > 0 else max)(t, -side * half))
        return float(found[0]), float(found[1])

    def below(self, value: float, equal: bool = False) -> float:
        """Return the greater p-value of Student's t and Hall's; 1.0 where the mean is not judged."""
        from scipy.special import stdtr

        if self.refused(0.95):
            return 1.0
        mean, spread, skew = self._moments()
        t = (mean - value) / spread
        bent = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / (6 * self.count)
        return float(stdtr(self.count - 1, np.sqrt(self.count) * max(t, bent)))

    def _moments(self) -> tuple[float, float, float]:
        off = self.values - self.values.mean()
        return float(self.values.mean()), float(off.std(ddof=1)), float(np.mean(off**3) / off.std() ** 3)


def least_count(level: float) -> int:
    """Return the least number of replicates whose range bounds a median at one-sided ``level``: 5 for 95 %."""
    return int(np.ceil(np.log2(1 / (1 - level)) - 1e-9))


def _rank(count: int, level: float) -> int:
    """Return k, of the order statistics that bound the median at ``level``; 0 if there is none."""
    from scipy.special import bdtr

    ranks = np.arange(1, (count + 1) // 2 + 1)
    return int((bdtr(ranks - 1, count, 0.5) <= 1 - level + 1e-12).sum())


def holm(p: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted by Holm (1979, Scand J Stat 6:65), in the order given.

    Those at most α are rejected together, with a chance of α at most that any of them is true, however they depend.
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    found = np.empty_like(values)
    found[order] = np.minimum(raised, 1.0)
    return found


def theil_sen(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the median slope (R,) over all pairs of times, of each column of ``values`` (T, R) (Sen 1968).

    Above 0 more pairs of generations rise than fall (Kendall's S is above 0), whatever a few outliers do. A column that
    has a value that is no number has no slope.
    """
    first, second = np.triu_indices(len(values), 1)
    gaps = (times[second] - times[first]).astype(float)
    width = max(1, 2**23 // max(len(gaps), 1))  # all pairs of all replicates at once would fill the memory
    found = []
    for start in range(0, values.shape[1], width):
        part = values[:, start:start + width]
        with np.errstate(invalid="ignore"):
            found.append(np.median((part[second] - part[first]) / gaps[:, None], axis=0))
    return np.concatenate(found) if found else np.empty(0)
