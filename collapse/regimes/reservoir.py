"""Accumulate within a fixed budget: what is left out is deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from collapse.pool import Part, Pool, RealData, split
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Reservoir(Regime):
    """Keep a uniform draw of ``budget`` rows from everything so far, as a reservoir (Vitter 1985, ACM TOMS 11:37).

    The pool holds only the budget: the number of new rows is hypergeometric in the rows seen so far, and the pool is
    at each generation a uniform draw from all of history. A row once left out does not come back, so that draws of
    different generations hang together, and the error of a mean grows like log t where ``subsample`` levels off.
    ``budget`` None is the branch's rows.
    """

    kind = "reservoir"
    budget: Annotated[int, Field(ge=1)] | None = None

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        both = pool + sample
        budget = min(self.budget or int(sample.n), both.seen)
        old = np.array(sum(part.counts for part in pool.parts))
        index = np.empty((sample.replicates, budget), dtype=np.int64)  # rows of the pool, then of the sample
        for r, generator in enumerate(rng.each(sample.replicates)):
            new = int(generator.hypergeometric(int(sample.counts[r]), pool.seen, budget))
            new = max(new, budget - int(old[r]))
            index[r, : budget - new] = np.sort(generator.permutation(int(old[r]))[: budget - new])
            index[r, budget - new :] = old[r] + np.sort(generator.permutation(int(sample.counts[r]))[:new])
        kept = Pool.of(*(part.weighted(1.0).keep(*rows) for part, *rows in split(both.parts, index)))
        return replace(kept, seen=both.seen)
