"""Category shares, re-estimated by counting: drift without selection."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import InputError
from collapse.models.base import Model, Parameters
from collapse.rng import Rng


class Categorical(Model):
    """A multinomial for each category column (and the label), independent of each other.

    ``temperature`` τ sharpens (below 1) or flattens (above 1) what is sampled, p ∝ p^(1/τ); 1 samples
    what was counted, which is Wright–Fisher drift: E[Σ p(1 − p)] falls by (1 − 1/n) a generation.
    ``smoothing`` adds so many rows to every category of the frozen vocabulary before counting, so a
    lost category comes back: the list of names is then a real input.
    """

    kind: ClassVar[str] = "categorical"
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    smoothing: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        return (f"smoothing to the frozen vocabulary ({self.smoothing:g})",) if self.smoothing else ()

    def check(self, schema: Schema, n: int) -> None:
        if schema.numeric:
            raise InputError(f"categorical models categories only, and {', '.join(c.name for c in schema.numeric)} "
                             f"holds numbers; leave it out, or take model kind gaussian, kde or gmm")
        if n < 1:
            raise InputError("categorical needs a row or more, and has none; raise rows")

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        return {f"shares.{column.name}": shares(rows[column.name], len(column.categories), self.smoothing)
                for column in rows.schema.columns}

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        codes = {}
        for column in schema.columns:
            p = parameters[f"shares.{column.name}"]
            uniform = rng.at("column", column.name).uniform((len(p), n))
            codes[column.name] = draw(self._tempered(p), uniform)
        return Rows.assemble(schema, None, codes)

    def _tempered(self, p: np.ndarray) -> np.ndarray:
        """Return weights ∝ p^(1/τ); scaled by the largest share, so that a small τ does not underflow."""
        return p if self.temperature == 1 else (p / p.max(axis=1, keepdims=True)) ** (1 / self.temperature)


def shares(codes: np.ndarray, categories: int, smoothing: float = 0.0) -> np.ndarray:
    """Return the share of each category: codes (R, n) -> (R, categories), rows that sum to 1."""
    replicates, n = codes.shape
    flat = codes + np.arange(replicates)[:, None] * categories
    counts = np.bincount(flat.ravel(), minlength=replicates * categories).reshape(replicates, categories)
    return (counts + smoothing) / (n + smoothing * categories)


def draw(weights: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return codes (R, n) drawn by inverse CDF from ``weights`` (R, k), which need not sum to 1.

    The rows are exchangeable, so a regime may keep the first few. A weight of 0 is never drawn.
    """
    cdf = np.cumsum(weights, axis=1)
    cdf /= cdf[:, -1:]  # the last step is 1 exactly, so that no draw falls beyond it
    codes = np.empty(uniform.shape, dtype=np.int32)
    for r, steps in enumerate(cdf):
        codes[r] = np.searchsorted(steps, uniform[r], side="right")
    return codes
