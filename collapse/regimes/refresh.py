"""Fresh real rows every generation."""

from __future__ import annotations

from typing import ClassVar

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Mixed
from collapse.rng import Rng


class Refresh(Mixed):
    """Mix in ``real``·rows *fresh* real rows every generation; the rest is the newest sample."""

    kind = "refresh"
    fresh: ClassVar[bool] = True
    rows_free: ClassVar[bool] = True

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        new = self.real_rows(int(sample.n))
        return Pool.of(real.fresh(new, rng), sample.head(int(sample.n) - new))

    def real_rows(self, rows: int) -> int:
        return round(self.real * rows)
