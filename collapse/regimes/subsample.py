"""Accumulate, and train on a fixed budget of rows drawn anew from all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from collapse.pool import Draw, Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng


class Subsample(Regime):
    """Train on ``budget`` rows drawn anew from everything so far (accumulate-subsample, Kazdan et al. 2024).

    The pool keeps all parts, as under accumulate; each generation is trained on a uniform draw from them, without
    replacement, that stands in its manifest (arXiv 2410.16713). Any row of history can come back: data is kept and only
    computing is bounded. ``budget`` None is the branch's rows.
    """

    kind = "subsample"
    budget: Annotated[int, Field(ge=1)] | None = None

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        both = Pool.of(*(part.weighted(1.0) for part in (*pool.parts, sample)))  # each row of history counts alike
        return replace(both, seen=pool.seen + int(sample.n),
                       draw=Draw(min(self.budget or int(sample.n), both.n), rng.address))
