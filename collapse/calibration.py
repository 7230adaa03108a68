"""The noise floor of every metric, the band that a healthy generation stays in, and the stage of a node.

A band is a two-sided prediction interval for the mean of R fresh values, at one family-wise level over all judged
cells (metrics × generations, Bonferroni). It comes from ``f`` independent fits to real data:

    centre + s √(1/R + 1/f) · q

with q the t quantile, bent by the skewness that the difference of the two means has, as if the metric were
log-normal after a shift (whose logarithm is the suitable scale; its skewness is the calibration's, give or take one
standard error to the careful side). Fewer than 30 fits give a tolerance interval instead: with 95 % confidence it holds
what the band should hold, and is wider for it (Howe 1969, J Am Stat Assoc 64:610).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.rng import BLOCK, Rng

if TYPE_CHECKING:
    import pyarrow as pa

    from collapse.data import Rows, Schema
    from collapse.metrics.frame import Frame
    from collapse.models.base import Model
    from collapse.pool import RealData

#: Which metrics decide the stage, by what they speak of.
STAGED: dict[str, tuple[str, ...]] = {
    "tails": ("tail_ratio",),
    "spread": ("variance_ratio", "entropy_ratio", "simpson_ratio"),
    "modes": ("modes_alive", "label_entropy_ratio"),
}
#: From the gravest; a node is in the first whose signs it shows.
STAGES = ("late", "distorted", "early", "healthy")
#: Fits below which a band is a tolerance interval, and the confidence of that.
FEW, CONFIDENCE = 30, 0.95
#: Numbers that the rows of one chunk of fits may hold.
CHUNK = 2**24


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
        """Return the band of the mean of ``replicates`` fresh values when ``cells`` of them are judged together.

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
    """Return the band that misses the mean of ``replicates`` fresh values with probability ``alpha``."""
    from scipy import special

    values = np.asarray(values, dtype=float)
    fits, center = len(values), float(values.mean())
    if fits < 3:
        return Band(-np.inf, np.inf, center, fits, f"no band: {fits} fits say nothing of noise; calibrate with more")
    spread = float(values.std(ddof=1))
    slack = 1e-9 * max(1.0, abs(center))  # the mean of equal values is not always that value
    if spread <= slack:
        return Band(center - slack, center + slack, center, fits, f"constant in all {fits} fits")
    if fits < FEW:
        q = -special.ndtri(alpha / 2) * np.sqrt((fits - 1) / special.chdtri(fits - 1, CONFIDENCE))
        method = f"tolerance interval at {CONFIDENCE:.0%} confidence, for there are only {fits} fits"
    else:
        q = -special.stdtrit(fits - 1, alpha / 2)
        method = f"prediction interval from {fits} fits"
    skew = np.mean(((values - center) / spread) ** 3) * fits**2 / ((fits - 1) * (fits - 2))
    error = np.sqrt(6 * fits * (fits - 1) / ((fits - 2) * (fits + 1) * (fits + 3)))
    width = 1 / replicates + 1 / fits
    fade = (replicates**-2 - fits**-2) / width**1.5  # skewness of a mean of R less a mean of f, per unit of skewness
    bend = sorted([(skew - error) * fade, (skew + error) * fade])
    scale = spread * np.sqrt(width)
    low, high = center + scale * bent(-q, bend[0]), center + scale * bent(q, bend[1])
    if replicates == 1:
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        method += ", never inside what they showed"
    return Band(float(low), float(high), center, fits, method)


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


def judged(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``names`` that decide the stage."""
    present = set(names)
    return tuple(name for metrics in STAGED.values() for name in metrics if name in present)


def stage(
    values: Mapping[str, np.ndarray], bands: Bands, generations: int, kind: str = "model"
) -> tuple[str, list[str]]:
    """Return the stage of a node from the means over its replicates, and the stage of each replicate alone.

    Parameters
    ----------
    values
        Whole-sample values (R,) by metric; those not in :data:`STAGED`, or not calibrated, are passed over.
    generations
        Generations of the branch: with the judged metrics they make the cells of one family-wise level.
    kind
        'model' for a generation, 'real' for the real node.

    ``late``: spread or modes below their band. Otherwise ``distorted``: tails or spread above it. Otherwise
    ``early``: tails below it, the bulk inside. Otherwise ``healthy``. Loss of the bulk comes first because it
    drags the tails with it either way; inflation before loss of tails, because the mean over regions hides neither.
    """
    names = judged(set(values) & bands.metrics(kind))
    cells = max(len(names) * generations, 1)
    arrays = {name: np.atleast_1d(values[name]) for name in names}
    replicates = len(next(iter(arrays.values()))) if arrays else 0
    whole = {name: bands.band(name, kind=kind, replicates=replicates, cells=cells) for name in names}
    alone = {name: bands.band(name, kind=kind, replicates=1, cells=cells) for name in names}
    node = _stage({name: whole[name].side(float(arrays[name].mean())) for name in names})
    return node, [_stage({name: alone[name].side(float(arrays[name][r])) for name in names}) for r in range(replicates)]


def _stage(sides: Mapping[str, str]) -> str:
    def shows(side: str, *groups: str) -> bool:
        return any(sides.get(name) == side for group in groups for name in STAGED[group])

    if shows("below", "spread", "modes"):
        return "late"
    if shows("above", "tails", "spread"):
        return "distorted"
    return "early" if shows("below", "tails") else "healthy"


# ----------------------------------------------------------------------------------------- calibrate


def floor(
    model: Model, real: RealData, schema: Schema, rows: int, measured_rows: int, fits: int, frame: Frame, rng: Rng
) -> pa.Table:
    """Measure ``fits`` healthy generations and as many draws of real rows: the calibration table of a study.

    Kind 'model': fitted to ``rows`` independent real rows, ``measured_rows`` sampled from it. Kind 'real':
    ``measured_rows`` real rows as they are. Fits go through the model together, in chunks that bound the memory.
    ``rng`` has an address of its own, so that no judged replicate shares a draw.

    Returns
    -------
    pyarrow.Table
        Columns kind, replicate (int32), metric, feature, value; one row per kind, fit, metric and feature.
    """
    most = max(rows, measured_rows) * max(schema.width, len(schema.columns))
    chunk = int(np.clip(CHUNK // most, 1, BLOCK))
    found: list[tuple[str, int, list[Any]]] = []
    for number, start in enumerate(range(0, fits, chunk)):
        size, here = min(chunk, fits - start), rng.at("chunk", number)
        pools = real.draw(rows, size, here.at("pool"))
        sample = model.sample(model.fit(pools, here.at("fit")), schema, measured_rows, here.at("sample"))
        found.append(("model", start, _measure(sample, frame)))
        found.append(("real", start, _measure(real.draw(measured_rows, size, here.at("real")), frame)))
    return _table(found)


def _measure(sample: Rows, frame: Frame) -> list[Any]:
    from collapse.metrics import measure_all

    return measure_all(sample, None, frame)


def _table(found: list[tuple[str, int, list[Any]]]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {"kind": [], "replicate": [], "metric": [], "feature": []}
    values: list[np.ndarray] = []
    for kind, start, measurements in sorted(found, key=lambda item: item[:2]):
        for item in measurements:
            size = len(item.values)
            columns["kind"] += [kind] * size
            columns["replicate"] += range(start, start + size)
            columns["metric"] += [item.metric] * size
            columns["feature"] += [item.feature] * size
            values.append(item.values)
    schema = pa.schema([("kind", pa.string()), ("replicate", pa.int32()), ("metric", pa.string()),
                        ("feature", pa.string()), ("value", pa.float64())])
    return pa.table({**columns, "value": np.concatenate(values)}, schema=schema)
