"""A random part of the first pool, drawn anew every generation."""

from __future__ import annotations

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Mixed
from collapse.rng import Rng


class Redraw(Mixed):
    """Mix in a random ``real``·rows of the *first pool*, drawn anew; the rest is the newest sample.

    The setting of the language study of Shumailov et al. 2024 (10 % of the original data kept).
    """

    kind = "redraw"

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        kept = round(self.real * sample.n)
        index = rng.choice(int(real.first.n), kept, sample.replicates)
        return Pool.of(real.first.take(index), sample.head(int(sample.n) - kept))
