"""A mixture of normal distributions on a line."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from collapse.data import Column, Rows, Schema
from collapse.models._mixture import Mixture, quantiles
from collapse.rng import Rng
from collapse.sources.base import Source
from collapse.sources.zipf import Positive, inverse_cdf


class Blobs(Source):
    """Normal blobs at ``means`` with standard deviations ``stds`` and ``weights``; column ``x``.

    Weights are normalised, and equal by default. ``stratified`` hands over the (i + ½)/n quantiles in random
    order instead of independent rows: reality up to 1/n, without sampling error.
    """

    kind: ClassVar[str] = "blobs"
    finite: ClassVar[bool] = False

    means: Annotated[list[FiniteFloat], Field(min_length=1)] = [-3.0, 0.0, 3.0]  # noqa: RUF012  (pydantic copies it)
    stds: Annotated[list[Positive], Field(min_length=1)] = [0.6, 0.6, 0.6]  # noqa: RUF012
    weights: list[Positive] | None = None
    stratified: bool = False

    @model_validator(mode="after")
    def _lengths(self) -> Blobs:
        counts = {len(self.means), len(self.stds), len(self.weights or self.means)}
        if len(counts) > 1:
            raise ValueError(f"means, stds and weights have {len(self.means)}, {len(self.stds)} and "
                             f"{len(self.weights or self.means)} entries; make them equal")
        return self

    @property
    def shares(self) -> np.ndarray:
        """Return the weight of each blob; they sum to 1."""
        weights = np.ones(len(self.means)) if self.weights is None else np.array(self.weights, dtype=float)
        return weights / weights.sum()

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        means, stds = np.array(self.means), np.array(self.stds)
        schema = Schema((Column("x", "number"),))
        if self.stratified:
            whole = Mixture(self.shares[None], means[None, :, None], np.square(stds)[None, :, None])
            order = rng.at("order").uniform((replicates, n)).argsort(axis=1)
            return Rows.assemble(schema, quantiles(whole, n)[0][order][:, :, None], {})
        codes = inverse_cdf(self.shares, rng.at("component").uniform((replicates, n)))
        x = rng.at("noise").normal((replicates, n)) * stds[codes] + means[codes]
        return Rows.assemble(schema, x[:, :, None], {})

    def truth(self) -> dict[str, np.ndarray]:
        means, shares = np.array(self.means), self.shares
        mean = shares @ means
        variance = shares @ (np.square(self.stds) + np.square(means - mean))
        return {"mean": np.array([mean]), "covariance": np.array([[variance]])}
