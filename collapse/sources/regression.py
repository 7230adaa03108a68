"""Rows of a linear regression with normal features and normal noise."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from collapse.data import Column, Rows, Schema
from collapse.rng import Rng
from collapse.sources.base import Source


class Regression(Source):
    """X ~ N(0, I) in ``dim`` dimensions and y = X·w + σε with ε ~ N(0, 1). Columns ``x1`` to ``xd``, then ``y``.

    ``weights`` w are 1/√d each by default, so that the signal has variance 1; ``noise`` is σ.
    """

    kind: ClassVar[str] = "regression"
    finite: ClassVar[bool] = False

    dim: Annotated[int, Field(ge=1, le=1000)] = 10
    weights: list[FiniteFloat] | None = None
    noise: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _shapes(self) -> Regression:
        if self.weights is not None and len(self.weights) != self.dim:
            raise ValueError(f"weights has {len(self.weights)} entries, but dim is {self.dim}; make them equal")
        return self

    @property
    def coefficients(self) -> np.ndarray:
        """Return w, (d,)."""
        if self.weights is None:
            return np.full(self.dim, self.dim**-0.5)
        return np.array(self.weights, dtype=float)

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        x = rng.at("design").normal((replicates, self.dim, n))
        y = rng.at("noise").normal((replicates, n))
        y *= self.noise
        y += self.coefficients @ x
        names = [f"x{i + 1}" for i in range(self.dim)]
        schema = Schema(tuple(Column(name, "number") for name in [*names, "y"]))
        return Rows(schema, {name: x[:, i] for i, name in enumerate(names)} | {"y": y})

    def truth(self) -> dict[str, np.ndarray]:
        w, d = self.coefficients, self.dim
        covariance = np.eye(d + 1)
        covariance[:d, d] = covariance[d, :d] = w
        covariance[d, d] = w @ w + self.noise**2
        return {"mean": np.zeros(d + 1), "covariance": covariance, "weights": w, "noise": np.array(self.noise)}
