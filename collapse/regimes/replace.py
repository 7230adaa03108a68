"""Only the newest sample: the fully synthetic loop."""

from __future__ import annotations

from typing import ClassVar

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Replace(Regime):
    """Train on the newest sample alone (Shumailov et al. 2024)."""

    kind = "replace"
    rows_free: ClassVar[bool] = True

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        return Pool.of(sample)
