"""The normal distribution, of any dimension."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from collapse.data import Column, Rows, Schema
from collapse.rng import Rng
from collapse.sources.base import Source


class Gaussian(Source):
    """Independent rows from N(``mean``, ``covariance``) in ``dim`` dimensions; standard normal by default.

    Columns: ``x`` in one dimension, otherwise ``x1`` to ``xd``.
    """

    kind: ClassVar[str] = "gaussian"
    finite: ClassVar[bool] = False

    dim: Annotated[int, Field(ge=1, le=10_000)] = 1
    mean: list[FiniteFloat] | None = None
    covariance: list[list[FiniteFloat]] | None = None

    @model_validator(mode="after")
    def _shapes(self) -> Gaussian:
        d = self.dim
        if self.mean is not None and len(self.mean) != d:
            raise ValueError(f"mean has {len(self.mean)} entries, but dim is {d}; make them equal")
        if self.covariance is None:
            return self
        if len(self.covariance) != d or any(len(row) != d for row in self.covariance):
            raise ValueError(f"covariance must be {d} lists of {d} numbers, since dim is {d}")
        matrix = np.array(self.covariance, dtype=float)
        if not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0):
            raise ValueError("covariance is not symmetric; make entry (i, j) equal entry (j, i)")
        try:
            np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            raise ValueError(f"covariance is not positive definite (its least eigenvalue is "
                             f"{np.linalg.eigvalsh(matrix)[0]:.3g}); make it so") from None
        return self

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        x = rng.at("noise").normal((replicates, n, self.dim))
        if self.covariance is not None:
            x = x @ np.linalg.cholesky(np.array(self.covariance, dtype=float)).T
        if self.mean is not None:
            x += np.array(self.mean, dtype=float)
        names = ["x"] if self.dim == 1 else [f"x{i + 1}" for i in range(self.dim)]
        return Rows.assemble(Schema(tuple(Column(name, "number") for name in names)), x, {})

    def truth(self) -> dict[str, np.ndarray]:
        return {"mean": np.zeros(self.dim) if self.mean is None else np.array(self.mean, dtype=float),
                "covariance": np.eye(self.dim) if self.covariance is None else np.array(self.covariance, dtype=float)}
