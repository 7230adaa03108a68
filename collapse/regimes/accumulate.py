"""Everything so far: synthetic data beside the real data."""

from __future__ import annotations

from typing import ClassVar

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Accumulate(Regime):
    """Train on everything so far, real data included (Gerstgrasser et al. 2024, arXiv 2404.01413)."""

    kind = "accumulate"
    rows_free: ClassVar[bool] = True

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        return pool + sample
