"""The normal distribution, fitted by its moments."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.models.base import Model, Parameters
from collapse.rng import Rng


class Gaussian(Model):
    """N(mean, covariance) in any dimension, with sample mean and sample covariance.

    ``ddof`` 0 is maximum likelihood, biased by (1 − 1/n); 1 is unbiased. The bias compounds over
    generations: E[v_t] = (1 − 1/n)^t against 1 (Shumailov et al. 2024, doi 10.1038/s41586-024-07566-y).
    """

    kind: ClassVar[str] = "gaussian"
    ddof: Annotated[int, Field(ge=0, le=1)] = 1

    def check(self, schema: Schema, n: int) -> None:
        categories = [column.name for column in schema.columns if column.kind == "category"]
        if categories:
            raise InputError(f"gaussian models numbers only, and {', '.join(categories)} holds categories; "
                             f"leave it out, or take model kind gmm (a label), kde or categorical")
        least = self.ddof + 1 if schema.width == 1 else schema.width + 1
        if n < least:
            raise InputError(f"gaussian needs {least} rows or more to fit {schema.width} features with ddof "
                             f"{self.ddof}, and has {n}; raise rows")

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        x = rows.matrix()  # (R, n, d)
        mean, covariance = moments(x, self.ddof)
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise NodeError("the gaussian fit is not finite: its training rows overflow")
        return {"mean": mean, "covariance": covariance}

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        mean, covariance = parameters["mean"], parameters["covariance"]
        replicates, d = mean.shape
        x = rng.at("noise").normal((replicates, n, d))
        if d == 1:
            x *= np.sqrt(covariance)  # (R, 1, 1)
        else:
            x = x @ np.stack([root(c) for c in covariance]).transpose(0, 2, 1)
        x += mean[:, None]
        return Rows.assemble(schema, x, {})


def moments(x: np.ndarray, ddof: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of the rows: (R, n, d) -> (R, d), (R, d, d)."""
    x = x.astype(np.float64, copy=False)
    replicates, n, d = x.shape
    if d == 1:
        flat = x.reshape(replicates, n)
        mean = flat.mean(axis=1)
        centred = flat - mean[:, None]
        variance = np.vecdot(centred, centred) / (n - ddof)  # one pass, no array of squares
        return mean[:, None], variance[:, None, None]
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    return mean, centred.transpose(0, 2, 1) @ centred / (n - ddof)


def root(covariance: np.ndarray) -> np.ndarray:
    """Return A with A Aᵀ = ``covariance`` (d, d): Cholesky's, or the symmetric root where it is singular.

    Constant and collinear features make a covariance singular, and so does collapse itself.
    """
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return (vectors * np.sqrt(values.clip(0))) @ vectors.T
