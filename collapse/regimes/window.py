"""The newest parts: old data is deleted."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Window(Regime):
    """Train on the newest ``k`` parts; k = 1 is replace."""

    kind = "window"
    rows_free: ClassVar[bool] = True
    k: Annotated[int, Field(ge=1)]

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        return Pool.of(*(pool + sample).parts[-self.k :])
