"""The same real rows every generation."""

from __future__ import annotations

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Mixed
from collapse.rng import Rng


class Anchor(Mixed):
    """Keep the *same* ``real``·rows real rows every generation; the rest is the newest sample."""

    kind = "anchor"

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        kept = round(self.real * sample.n)
        return Pool.of(real.first.head(kept), sample.head(int(sample.n) - kept))
