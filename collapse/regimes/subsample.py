"""Accumulate, then a uniform draw down to a fixed budget."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Subsample(Regime):
    """Train on a uniform draw of ``budget`` rows from everything so far (Kazdan et al. 2024, arXiv 2410.16713).

    The pool holds only the budget, so the draw is a reservoir: the number of new rows is hypergeometric
    in the rows seen so far, and the pool is at each generation a uniform draw from all of history. A row once
    left out does not come back. ``budget`` None is the branch's rows.
    """

    kind = "subsample"
    budget: Annotated[int, Field(ge=1)] | None = None

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        both = pool + sample
        budget = min(self.budget or int(sample.n), both.seen)
        kept: list[list[np.ndarray]] = [[] for _ in both.parts]
        starts = [np.concatenate([[0], np.cumsum(part.counts)]) for part in both.parts]
        for r, generator in enumerate(rng.each(sample.replicates)):
            old = int(sum(part.counts[r] for part in pool.parts))
            new = int(generator.hypergeometric(int(sample.counts[r]), pool.seen, budget))
            new = max(new, budget - old)
            chosen = np.sort(generator.permutation(old)[: budget - new])
            for p, part in enumerate(pool.parts):
                here = chosen[chosen < part.counts[r]]
                kept[p].append(starts[p][r] + here)
                chosen = chosen[len(here) :] - part.counts[r]
            kept[-1].append(starts[-1][r] + np.sort(generator.permutation(int(sample.counts[r]))[:new]))
        parts = [
            part.keep(np.concatenate(index), np.array([len(i) for i in index]))
            for part, index in zip(both.parts, kept, strict=True)
        ]
        return Pool(tuple(part for part in parts if part.counts.any()), both.seen)
