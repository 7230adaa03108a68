"""Round blobs in the plane: modes that can be lost one by one."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from collapse.data import Column, Rows, Schema
from collapse.rng import Rng
from collapse.sources.base import Source
from collapse.sources.zipf import Positive, inverse_cdf


class Mixture(Source):
    """A mixture of round normal blobs in the plane: ``components`` of them on a ring, or at ``means``.

    ``radius`` is the ring's (unused with ``means``), ``std`` the standard deviation of each blob in
    each direction. ``weights`` are normalised; equal by default. Columns ``x1``, ``x2`` and, if
    ``labelled``, the blob's name as ``label`` ('c0', 'c1', …).
    """

    kind: ClassVar[str] = "mixture"
    finite: ClassVar[bool] = False

    components: Annotated[int, Field(ge=1, le=100_000)] | None = None
    radius: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    std: Positive = 0.2
    means: Annotated[list[Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]],
                     Field(min_length=1)] | None = None
    weights: list[Positive] | None = None
    labelled: bool = True

    @model_validator(mode="after")
    def _lengths(self) -> Mixture:
        if self.means is not None and self.components not in (None, len(self.means)):
            raise ValueError(f"means has {len(self.means)} entries, but components is {self.components}; "
                             f"drop components")
        count = len(self.centres)
        if self.weights is not None and len(self.weights) != count:
            raise ValueError(f"weights has {len(self.weights)} entries, but there are {count} components; "
                             f"make them equal")
        if self.labelled and count < 2:
            raise ValueError("labelled needs two components or more; write labelled: false")
        return self

    @property
    def centres(self) -> np.ndarray:
        """Return the means of the blobs, (components, 2)."""
        if self.means is not None:
            return np.array(self.means, dtype=float)
        count = self.components or 8
        angle = 2 * np.pi * np.arange(count) / count
        return self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    @property
    def real_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return the frozen label set, if there is one."""
        return (f"category set of label ({len(self.centres)})",) if self.labelled else ()

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        centres = self.centres
        weights = np.ones(len(centres)) if self.weights is None else np.array(self.weights, dtype=float)
        codes = inverse_cdf(weights, rng.at("component").uniform((replicates, n)))
        x = rng.at("noise").normal((replicates, n, 2))
        x *= self.std
        x += centres[codes]  # (k, 2) -> (R, n, 2)
        columns = [Column("x1", "number"), Column("x2", "number")]
        if self.labelled:
            columns.append(Column("label", "category", tuple(f"c{k}" for k in range(len(centres))), role="label"))
        return Rows.assemble(Schema(tuple(columns)), x, {"label": codes})

    def truth(self) -> dict[str, np.ndarray]:
        weights = np.ones(len(self.centres)) if self.weights is None else np.array(self.weights, dtype=float)
        weights = weights / weights.sum()
        mean = weights @ self.centres
        centred = self.centres - mean
        covariance = (weights[:, None] * centred).T @ centred + self.std**2 * np.eye(2)
        return {"mean": mean, "covariance": covariance} | ({"shares.label": weights} if self.labelled else {})
