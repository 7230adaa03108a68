"""Linear regression whose labels are made again by the last fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import Degenerate, InputError, NodeError
from collapse.metrics.base import Fact, Measurement
from collapse.models.base import Model, Parameters
from collapse.models.gaussian import CACHED
from collapse.pool import Pool
from collapse.rng import Rng
from collapse.summary import Summary

_GERSTGRASSER = "Gerstgrasser et al. 2024, arXiv 2404.01413"


class Regression(Model):
    """Least squares of ``target`` on all other columns, without an intercept; a sample has labels x·ŵ + σε.

    ``design`` says at which rows a generation asks its model for labels: ``fresh`` draws new x ~ N(0, I) every time,
    ``same`` takes the x of the newest training rows again. The two differ under accumulate (Gerstgrasser et al. 2024,
    arXiv 2404.01413, Theorems 1 and 2). ``noise`` is σ where it is known; None estimates it from the residuals with
    n − d degrees of freedom.

    Sufficient statistics ``squares``: n (R,), XᵀX (R, d, d), Xᵀy (R, d), yᵀy (R,).
    """

    kind: ClassVar[str] = "regression"
    summary: ClassVar[str | None] = "squares"
    weighs: ClassVar[bool] = True
    facts: ClassVar[dict[str, Fact]] = {
        "fit_error2": Fact("fit", 0.0, "above", "squared distance of the fitted to the true location or coefficients; "
                           "0.0: right", _GERSTGRASSER),
        "fit_noise": Fact("fit", 1.0, "below", "fitted over true noise variance; 1.0: right", _GERSTGRASSER),
    }
    target: str = "y"
    design: Literal["fresh", "same"] = "fresh"
    noise: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        design = "fresh x from the true N(0, I)" if self.design == "fresh" else "the x of the first pool"
        return (design,) if self.noise is None else (design, f"the noise, known to be {self.noise:g}")

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        if self.target not in [column.name for column in schema.numeric]:
            raise InputError(f"regression.target: there is no column of numbers '{self.target}'; name the one "
                             f"to predict")
        others = [c.name for c in schema.columns if c.kind != "number"]
        if others:
            raise InputError(f"regression predicts numbers from numbers, and {', '.join(others)} holds none; "
                             f"leave it out")
        d = schema.width - 1
        if d < 1 or n < d + 1:
            raise InputError(f"regression needs {max(d, 1) + 1} rows or more for {d} coefficients, and has {n}; "
                             f"raise rows")

    def learn(self, pool: Pool, rng: Rng, parent: Parameters | None = None) -> Parameters:
        found = super().learn(pool, rng)
        if self.design == "same":
            found["design"] = self._features(pool.parts[-1].rows())
        return found

    def _features(self, rows: Rows) -> np.ndarray:
        """Return x, (R, d, n)."""
        return np.stack([rows[c.name] for c in rows.schema.columns if c.name != self.target], axis=1)

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        found = super().fit(rows, rng)
        return found | {"design": self._features(rows)} if self.design == "same" else found

    def summarise(self, rows: Rows) -> Summary:
        names = [c.name for c in rows.schema.columns if c.name != self.target] + [self.target]
        replicates, n, d = rows.replicates, rows.n, len(names) - 1
        gram = np.empty((replicates, d + 1, d + 1))
        size = max(1, CACHED // (n * (d + 1)))
        block = np.empty((min(size, replicates), d + 1, n))
        for start in range(0, replicates, size):  # over rows that are still in the cache
            here = block[: min(size, replicates - start)]
            for i, name in enumerate(names):
                here[:, i] = rows[name][start : start + size]
            np.matmul(here, here.transpose(0, 2, 1), out=gram[start : start + size])
        if rows.weights is not None:
            weighted = np.stack([rows[name] for name in names], axis=1)
            gram = (weighted * rows.weights) @ weighted.transpose(0, 2, 1)
            n = rows.weights.sum()
        return {"n": np.full(replicates, float(n)), "xx": gram[:, :d, :d].copy(), "xy": gram[:, :d, d].copy(),
                "yy": gram[:, d, d].copy()}

    def solve(self, summary: Summary, rng: Rng) -> Parameters:
        xx, xy = summary["xx"], summary["xy"]
        try:
            weights = np.linalg.solve(xx, xy[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            raise Degenerate("the regression is singular: columns of its training rows are collinear") from None
        if self.noise is not None:
            return {"weights": weights, "noise": np.full(len(xx), float(self.noise))}
        rest = summary["yy"] - np.vecdot(weights, xy)
        return {"weights": weights, "noise": np.sqrt(rest.clip(0) / np.maximum(summary["n"] - xx.shape[1], 1))}

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        weights, noise = parameters["weights"], parameters["noise"]
        replicates, d = weights.shape
        if self.design == "same":
            x = parameters["design"]
            if n > x.shape[2]:
                raise NodeError(f"design same has {x.shape[2]} rows, and {n} are asked for; take design fresh")
            x = x[:, :, :n]
        else:
            x = rng.at("design").normal((replicates, d, n))
        y = rng.at("noise").normal((replicates, n))
        y *= noise[:, None]
        y += (weights[:, None] @ x)[:, 0]
        places = iter(range(d))
        return Rows(schema, {c.name: y if c.name == self.target else x[:, next(places)] for c in schema.columns})

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        if "weights" not in truth:
            return
        yield Measurement("fit_error2", "", np.square(parameters["weights"] - truth["weights"]).sum(axis=1))
        yield Measurement("fit_noise", "", np.square(parameters["noise"] / truth["noise"]))
