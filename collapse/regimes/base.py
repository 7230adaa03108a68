"""What every regime offers."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from collapse.pool import Part, Pool, RealData
from collapse.rng import Rng
from collapse.spec import Spec

#: A share of real rows, strictly between none and all.
Share = Annotated[float, Field(gt=0, lt=1)]


class Regime(Spec):
    """A rule that makes the next training set from the last one, a fresh sample and real data."""

    #: Whether the rule draws fresh real rows, which a finite source must be large enough for.
    fresh: ClassVar[bool] = False

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        """Return the training set of the next generation; ``sample`` has the branch's rows."""
        raise NotImplementedError(type(self).__name__)

    def real_rows(self, rows: int) -> int:
        """Return how many fresh real rows each generation and replicate takes."""
        return 0
