"""Fresh real rows and the newest sample, each with a training weight of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.errors import InputError
from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime, Share
from collapse.rng import Rng

if TYPE_CHECKING:
    from collapse.models.base import Model


class Weighted(Regime):
    """Train on ``n_real`` fresh real rows that weigh ``real`` together; ``n_synth`` rows of the sample weigh the rest.

    ``real`` is a weight strictly between 0 and 1, or ``golden``: w* = (√(k² + 4k) − k)/2 with k = n_real/n_synth,
    which is 1/φ = 0.618 for as many of each. It is the best weight for the mean of a distribution of *known variance*
    (He et al. 2025, arXiv 2502.18049), so another estimand is refused unless ``heuristic: true`` says that it is one.
    ``n_real`` and ``n_synth`` are the branch's rows where left out.
    """

    kind: ClassVar[str] = "weighted"
    fresh: ClassVar[bool] = True
    rows_free: ClassVar[bool] = True
    real: Share | Literal["golden"]
    n_real: Annotated[int, Field(ge=1)] | None = None
    n_synth: Annotated[int, Field(ge=1)] | None = None
    heuristic: bool = False

    def check(self, model: Model, rows: int) -> None:
        if not model.weighs:
            raise InputError(f"real: model kind {model.kind} cannot weigh its rows; take gaussian, kde, categorical or "
                             f"regression, or regime refresh")
        if self.n_synth is not None and self.n_synth > rows:
            raise InputError(f"n_synth is {self.n_synth}, more than the {rows} rows that a generation samples; "
                             f"lower it")
        if self.real == "golden" and not self.heuristic and getattr(model, "variance", None) is None:
            raise InputError("real: golden is the best weight for the mean of a known variance, which this model does "
                             "not estimate; give model gaussian its variance, or write heuristic: true")

    def weight(self, rows: int) -> tuple[int, int, float]:
        """Return n_real, n_synth and the weight of the real rows together."""
        n_real, n_synth = self.n_real or rows, self.n_synth or rows
        return n_real, n_synth, golden(n_real / n_synth) if self.real == "golden" else float(self.real)

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        n_real, n_synth, weight = self.weight(int(sample.n))
        total = n_real + n_synth  # the rows count as many as they are
        fresh = real.fresh(n_real, rng).weighted(weight * total / n_real)
        return Pool.of(fresh, sample.head(n_synth).weighted((1 - weight) * total / n_synth))

    def real_rows(self, rows: int) -> int:
        return self.n_real or rows

    def stated(self, rows: int) -> dict[str, Any]:
        return dict(zip(("n_real", "n_synth", "weight"), self.weight(rows), strict=True))


def golden(k: float) -> float:
    """Return w* for k = n_real/n_synth > 0: 0 with next to no real rows, 0.618 with as many, 1 with only real ones."""
    return float((np.sqrt(k * k + 4 * k) - k) / 2)
