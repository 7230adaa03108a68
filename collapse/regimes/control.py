"""Fresh real rows only: the floor that all else is judged against."""

from __future__ import annotations

from typing import ClassVar

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Control(Regime):
    """Train on fresh real rows only: one generation of model error and no recursion."""

    kind = "control"
    fresh: ClassVar[bool] = True
    rows_free: ClassVar[bool] = True

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        return Pool.of(real.fresh(self.real_rows(int(sample.n)), rng))

    def real_rows(self, rows: int) -> int:
        return rows
