"""The noise floor of every metric, the band that a healthy generation stays in, and the stage of a node.

What is judged is the median over replicates: under recursive training a few replicates inflate hugely while most
collapse, and their mean stays where it was. A band is a two-sided prediction interval for the median of R fresh
values, at one family-wise level over all judged cells (metrics × generations, Bonferroni). It comes from ``f``
independent fits to real data:

    centre + s √(1 + R/f) · q

Centre, s and skewness are those of the median of R values drawn from the calibration with replacement (Maritz &
Jarrett 1978, J Am Stat Assoc 73:194). The centre itself, a U-statistic of degree R, is uncertain by s √(R/f) at most
(Hoeffding 1948, Ann Math Stat 19:293). q is the t quantile on (f − 1)/√R degrees of freedom: a median of many
values rests on the few fits in the middle (2/CV² of the simulated s²; exact for R = 1). It is bent by the skewness that
the difference from the centre has, as if the metric were log-normal after a shift (whose logarithm is the suitable
scale; its skewness is the calibration's, give or take one standard error to the careful side). Fewer than 30 fits give
a tolerance interval instead: with 95 % confidence it holds what the band should hold, and is wider for it (Howe 1969,
J Am Stat Assoc 64:610).

What this cannot know: a metric of few values (``modes_alive``) that was the same in all f fits has a band of no width,
and yet may differ in 3/f of fresh fits (rule of three). One replicate alone is then judged too strictly; the median of
5 is wrong with probability 10 (3/f)³ at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.rng import Rng
from collapse.verdict import LATE, STAGES, Sign, Verdict, decide, role, staged, standing, verdict

if TYPE_CHECKING:

    pass

#: Fits below which a band is a tolerance interval, and the confidence of that.
FEW, CONFIDENCE = 30, 0.95
#: Draws of the median of R fits that tell its distribution.
DRAWS = 2**14


@dataclass(frozen=True)
class Band:
    """What a healthy value lies in: ``low`` to ``high`` around ``center``, from ``fits`` fits by ``method``."""

    low: float
    high: float
    center: float
    fits: int
    method: str

    def side(self, value: float) -> str:
        """Return 'below', 'inside' or 'above'; a value that is no number is below."""
        if value > self.high:
            return "above"
        return "inside" if value >= self.low else "below"


class Bands:
    """The bands of a study, from its calibration table.

    Parameters
    ----------
    table
        Columns kind ('model' or 'real'), metric, feature and value: a pyarrow table, a data frame or a dict of arrays.
    alpha
        Chance that a healthy branch leaves any of its bands, over all judged metrics and generations.
    """

    def __init__(self, table: Any, alpha: float = 0.01):
        self.alpha = alpha
        self._table = table
        self._made: dict[tuple[str, str, str, int, int], Band] = {}

    @cached_property
    def _values(self) -> dict[tuple[str, str, str], np.ndarray]:
        keys = [np.asarray(self._table[name]).astype(str) for name in ("kind", "metric", "feature")]
        names, inverse = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
        values, inverse = np.asarray(self._table["value"], dtype=float), inverse.ravel()
        order = np.argsort(inverse, kind="stable")
        groups = np.split(values[order], np.cumsum(np.bincount(inverse))[:-1]) if len(names) else []
        return {(str(k), str(m), str(f)): group for (k, m, f), group in zip(names, groups, strict=True)}

    def metrics(self, kind: str = "model") -> set[str]:
        """Return the metrics that have been calibrated as a whole."""
        return {metric for k, metric, feature in self._values if k == kind and feature == ""}

    def band(self, metric: str, feature: str = "", kind: str = "model", replicates: int = 1, cells: int = 1) -> Band:
        """Return the band of the median of ``replicates`` fresh values when ``cells`` of them are judged together.

        Raises
        ------
        KeyError
            If the calibration has no such metric or feature.
        """
        key = (kind, metric, feature, replicates, cells)
        if key not in self._made:
            self._made[key] = interval(self._values[kind, metric, feature], replicates, self.alpha / cells)
        return self._made[key]


def interval(values: np.ndarray, replicates: int, alpha: float) -> Band:
    """Return the band that misses the median of ``replicates`` fresh values with probability ``alpha``."""
    from scipy import special

    values = np.sort(np.asarray(values, dtype=float))
    fits, center = len(values), float(values.mean())
    if fits < 3:
        return Band(-np.inf, np.inf, center, fits, f"no band: {fits} fits say nothing of noise; calibrate with more")
    spread = float(values.std(ddof=1))
    slack = 1e-9 * max(1.0, abs(center))  # the mean of equal values is not always that value
    if spread <= slack:
        return Band(center - slack, center + slack, center, fits, f"constant in all {fits} fits")
    count = min(replicates, fits)  # a median of more values is no better known than f fits tell
    drawn = _medians(values, count)
    center, scale, skew = _moments(drawn, fits)
    freedom = (fits - 1) / np.sqrt(count)
    if fits < FEW:
        q = -special.ndtri(alpha / 2) * np.sqrt(freedom / special.chdtri(freedom, CONFIDENCE))
        method = f"tolerance interval at {CONFIDENCE:.0%} confidence, for there are only {fits} fits"
    else:
        q = -special.stdtrit(freedom, alpha / 2)
        method = f"prediction interval from {fits} fits"
    error = np.sqrt(6 * fits * (fits - 1) / ((fits - 2) * (fits + 1) * (fits + 3)) / count)
    share = count / fits
    fade = (1 - share**2) / (1 + share) ** 1.5  # skewness of median less centre, per unit of the median's
    bend = sorted([(skew - error) * fade, (skew + error) * fade])
    scale *= np.sqrt(1 + share)
    low, high = center + scale * bent(-q, bend[0]), center + scale * bent(q, bend[1])
    # moments say little of a metric of few values: none that is not rare enough is left outside
    rare = 0 if replicates == 1 else int(alpha / 2 * len(drawn))
    low, high = min(low, drawn[rare]), max(high, drawn[-1 - rare])
    return Band(float(low), float(high), center, fits, f"{method}, never inside what they showed")


def _medians(values: np.ndarray, replicates: int) -> np.ndarray:
    """Return medians of R of the sorted ``values`` (f,), sorted: the values themselves, or :data:`DRAWS` draws."""
    if replicates == 1:
        return values
    below, above = _middle(replicates)
    middle = values[(below * len(values)).astype(int)] + values[(above * len(values)).astype(int)]
    return np.sort(middle, kind="stable") / 2


def _moments(medians: np.ndarray, fits: int) -> tuple[float, float, float]:
    """Return mean, standard deviation and skewness, the latter two freed of the bias of ``fits`` values."""
    center = float(medians.mean())
    gaps = medians - center
    spread = float(np.sqrt(np.mean(gaps**2) * fits / (fits - 1)))
    bias = fits**2 / ((fits - 1) * (fits - 2)) if len(medians) == fits else 1.0
    return center, spread, bias * float(np.mean((gaps / spread) ** 3)) if spread > 0 else 0.0


@cache
def _middle(replicates: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two middle order statistics of R uniform values, :data:`DRAWS` times; for odd R they are one.

    The lower one is Beta(j, R − j + 1), stratified. Between it and 1 lie the R − j others, of which the upper is least.
    """
    from scipy import special

    rank = (replicates + 1) // 2
    below = special.betaincinv(rank, replicates - rank + 1, (np.arange(DRAWS) + 0.5) / DRAWS)
    if replicates % 2:
        return below, below
    rest = Rng("calibration", "median", replicates).uniform((DRAWS,)) ** (1 / rank)
    return below, np.minimum(1 - (1 - below) * rest, np.nextafter(1, 0))


def bent(q: float, skew: float) -> float:
    """Return the normal quantile ``q`` as a shifted log-normal of mean 0, variance 1 and ``skew`` has it.

    ``skew`` 0 returns ``q`` itself.
    """
    if abs(skew) < 1e-4:
        return q
    # skewness (ω + 2) √(ω − 1) of a log-normal with ω = exp σ², solved for ω
    square = skew * skew / 2
    root = np.cbrt(1 + square + np.sqrt(square * (2 + square)))
    omega = root + 1 / root - 1
    sigma, sign = np.sqrt(np.log(omega)), np.sign(skew)
    return float(sign * np.expm1(sign * q * sigma - sigma**2 / 2) / np.sqrt(omega - 1))


# ------------------------------------------------------------------------------------------- stages


def stage(
    values: Mapping[str, np.ndarray], bands: Bands, generations: int, kind: str = "model", late: float = LATE
) -> tuple[Verdict, list[str]]:
    """Return the verdict on a node from the medians over its replicates, and the stage of each replicate alone.

    Parameters
    ----------
    values
        Whole-sample values (R,) by metric; those not in :data:`collapse.verdict.STAGED`, or not calibrated, are passed
        over.
    generations
        Generations of the branch: with the judged metrics they make the cells of one family-wise level.
    kind
        'model' for a generation, 'real' for the real node.
    late
        Share of what control keeps below which a loss of spread or modes is material.

    The rule is that of :mod:`collapse.verdict`. A value that is no number is below its band, in a median as alone.
    """
    names = staged(set(values) & bands.metrics(kind))
    if not names:
        return Verdict("healthy", None, (), ()), ["healthy"] * len(next(iter(values.values()), ()))
    cells = max(len(names) * generations, 1)
    table = np.stack([np.atleast_1d(np.asarray(values[name], dtype=float)) for name in names])  # (M, R)
    whole = [bands.band(name, kind=kind, replicates=table.shape[1], cells=cells) for name in names]
    alone = [bands.band(name, kind=kind, replicates=1, cells=cells) for name in names]
    signs = []
    for name, band, value in zip(names, whole, middle(table, axis=1), strict=True):
        side = band.side(float(value))
        if side != "inside" and role(name, "", side):
            signs.append(Sign(name, "", float(value), band.low, band.high, band.center, role(name, "", side)))
    centers = {name: band.center for name, band in zip(names, whole, strict=True)}
    stands = standing(dict(zip(names, map(float, middle(table, axis=1)), strict=True)), centers.get)
    low, high, center = np.array([(band.low, band.high, band.center) for band in alone]).T
    codes = decide(names, table, low, high, center, late)
    return verdict(signs, late, stands), [STAGES[code] for code in codes]


def middle(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the median, of which what is no number counts as the least."""
    return np.median(np.where(np.isnan(values), -np.inf, values), axis=axis)
