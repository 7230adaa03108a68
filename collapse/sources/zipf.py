"""Words with Zipf's frequencies, or categories with shares of your own."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from collapse.data import Column, Rows, Schema
from collapse.rng import Rng
from collapse.sources.base import Source

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Zipf(Source):
    """One category column ``word``: the k-th of ``categories`` words has a share ∝ k^−``exponent``.

    ``exponent`` 0 makes all words equal, 1 is Zipf's law. ``shares`` replaces the law by any positive
    numbers, which are normalised (a census of counts will do).
    Source: Zipf 1949, "Human Behavior and the Principle of Least Effort".
    """

    kind: ClassVar[str] = "zipf"
    finite: ClassVar[bool] = False

    categories: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    exponent: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    shares: Annotated[list[Positive], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _lengths(self) -> Zipf:
        if self.shares is not None and self.categories not in (None, len(self.shares)):
            raise ValueError(f"shares has {len(self.shares)} entries, but categories is {self.categories}; "
                             f"drop categories")
        return self

    @property
    def probabilities(self) -> np.ndarray:
        """Return the true share of each word; they sum to 1."""
        if self.shares is None:
            shares = np.arange(1, (self.categories or 100) + 1, dtype=float) ** -self.exponent
        else:
            shares = np.array(self.shares, dtype=float)
        return shares / shares.sum()

    @property
    def real_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return the frozen vocabulary: a word once extinct keeps its name and its place in every metric."""
        return (f"category set of word ({len(self.probabilities)})",)

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        shares = self.probabilities
        width = max(3, len(str(len(shares))))
        words = tuple(f"w{k:0{width}d}" for k in range(1, len(shares) + 1))
        codes = inverse_cdf(shares, rng.at("word").uniform((replicates, n)))
        return Rows.assemble(Schema((Column("word", "category", words),)), None, {"word": codes})


def inverse_cdf(shares: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return the codes that ``uniform`` draws from [0, 1) select; a share of 0 is never selected."""
    cdf = np.cumsum(shares)
    cdf /= cdf[-1]  # the last step is 1 exactly, so that no draw falls beyond it
    return np.searchsorted(cdf, uniform, side="right").astype(np.int32)
