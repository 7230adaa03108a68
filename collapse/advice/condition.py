"""What is to be kept, and by whom: a condition on a metric, of a share of lineages, their median or their mean.

``METRIC op NUMBER``, to horizon H, is asked of one of three (:class:`Of`):

- a *share* q of lineages: each keeps it or does not, and keeps it if it is met at every generation 1 … H. Lineage r
  has a worst margin M_r, the least over t ≤ H of sign·(X_rt − c), and it is kept where the (1 − q)-quantile
  of M over an infinity of lineages is not below 0: where P(M ≥ 0) ≥ q;
- the *median* or the *mean* over lineages: it must meet the condition at every generation. Its margin is the least over
  t ≤ H of sign·(E[X_t] − c), or of that of the median. Most lineages may break a condition that their mean keeps.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from collapse.advice.intervals import LEVEL
from collapse.errors import InputError, nearest

_OPS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}
_KEEP = re.compile(r"\s*(?P<metric>[^\s\[\]<>=!]+)(?:\[(?P<feature>.+)\])?\s*(?P<op>[<>=!]+)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True)
class Keep:
    """What must be kept: ``metric[feature] op bound``."""

    metric: str
    feature: str
    op: str
    bound: float

    @staticmethod
    def parse(text: str, metrics: Collection[str]) -> Keep:
        """Return the condition in ``text``.

        Raises
        ------
        InputError
            If it is not ``METRIC op NUMBER`` or ``METRIC[FEATURE] op NUMBER``, or there is no such metric.
        """
        match = _KEEP.fullmatch(text)
        try:
            bound = float(match["bound"]) if match else np.nan
        except ValueError:
            bound = np.nan
        if match is None or match["op"] not in _OPS or not np.isfinite(bound):
            raise InputError(f"keep: cannot read '{text}'; write METRIC op NUMBER, such as 'tail_ratio >= 0.8'; "
                             f"op is one of {', '.join(_OPS)}")
        if match["metric"] not in metrics:
            raise InputError(f"keep: '{match['metric']}' is not a metric{nearest(match['metric'], metrics)}")
        return Keep(match["metric"], match["feature"] or "", match["op"], bound)

    @property
    def series(self) -> str:
        """Return metric and feature as claims write them."""
        return f"{self.metric}[{self.feature}]" if self.feature else self.metric

    @property
    def text(self) -> str:
        """Return the condition, single-spaced."""
        return f"{self.series} {self.op} {self.bound:g}"

    @property
    def sign(self) -> int:
        """Return 1 if more is better, −1 if less is."""
        return 1 if self.op in (">=", ">") else -1

    def met(self, values: np.ndarray) -> np.ndarray:
        """Return where values meet the condition; what is no number does not."""
        return _OPS[self.op](values, self.bound)

    def margins(self, values: np.ndarray) -> np.ndarray:
        """Return signed distances to the bound, below 0 where it is broken; finite, far below where it is no number."""
        values = np.asarray(values, dtype=float)
        found = self.sign * (values - self.bound)
        found = np.where((found == 0) & ~self.met(values), -np.finfo(float).tiny, found)  # > and < break at the bound
        known = found[np.isfinite(found)]
        far = 10 * (np.abs(known).max(initial=0.0) + abs(self.bound) + 1)
        return np.nan_to_num(found, nan=-far, neginf=-far, posinf=far)


@dataclass(frozen=True)
class Of:
    """Of whom a condition is asked: of a ``share`` of lineages, or (None) of their median or mean, by ``name``."""

    name: str
    share: float | None = None

    @staticmethod
    def parse(text: str) -> Of:
        """Return what ``text`` names: a number strictly between 0 and 1, ``median`` or ``mean``.

        Raises
        ------
        InputError
            If it is none of these.
        """
        if text in ("median", "mean"):
            return Of(text)
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if not 0 < share < 1:
            raise InputError(f"of: '{text}' is no share of lineages; write a number between 0 and 1, such as 0.9 for "
                             f"nine of ten, or median, or mean")
        return Of(f"{share:g}", share)

    @property
    def text(self) -> str:
        """Return of whom, in words."""
        return f"the {self.name} over lineages" if self.share is None else f"{100 * self.share:.6g} % of lineages"

    @property
    def needed(self) -> int:
        """Return the fewest replicates that can tell, at :data:`LEVEL`: for a share, those that give it two limits."""
        if self.share is None:
            return 2
        return max(2, math.ceil(math.log((1 - LEVEL) / 2) / math.log(max(self.share, 1 - self.share))))

    def asked(self, keep: Keep) -> Keep:
        """Return what a closed form must meet: the share of lineages that have kept it so far, or the condition."""
        return keep if self.share is None else Keep("kept", "", ">=", self.share)

    def shown(self, value: float) -> str:
        """Return a value of :attr:`collapse.advice.search.Found.tried` in few digits."""
        return f"{value:.3g}" if self.share is None else f"{100 * value:.3g} %"


def kept(values: np.ndarray, keep: Keep) -> np.ndarray:
    """Return the worst margin of each lineage so far: (R, T) -> (R, T), not rising; below 0: it has broken."""
    return np.minimum.accumulate(keep.margins(values), axis=1)
