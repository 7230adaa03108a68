"""Only the newest sample: the fully synthetic loop."""

from __future__ import annotations

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Replace(Regime):
    """Train on the newest sample alone (Shumailov et al. 2024)."""

    kind = "replace"

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        return Pool.of(sample)
