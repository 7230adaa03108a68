"""Linear regression on labels that the last fit made."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from collapse.errors import InputError
from collapse.laws.base import Form, Law, Paths, Pivot, describe, direct


class _Regression(Law):
    """``n`` rows with X ~ N(0, I_d) and noise of standard deviation ``noise``; the distance is E‖ŵ_t − w‖²."""

    metric: ClassVar[str] = "fit_error2"
    regime: ClassVar[str]
    n: int
    d: Annotated[int, Field(ge=1)]
    noise: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    design: Literal["fresh", "same"] = "fresh"

    @model_validator(mode="after")
    def _enough(self) -> _Regression:
        if self.n < self.d + 4:
            raise ValueError(f"n is {self.n}, too few rows for {self.d} coefficients: the error has a mean and a "
                             f"variance from n = {self.d + 4} on")
        return self

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        describe(cls, study, branch, regime=cls.regime, model="regression", source=("regression",))
        if branch.model.noise is None or not np.isclose(branch.model.noise, study.source.noise):
            raise InputError(f"the law {cls.kind} speaks of known noise; set model.noise: {study.source.noise:g}")
        try:
            return cls(n=study.rows, d=study.source.dim, noise=float(study.source.noise), design=branch.model.design)
        except ValueError as error:
            raise InputError(f"the law {cls.kind}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"  # type: ignore[attr-defined]
                             ) from None

    @property
    def unit(self) -> float:
        """Return σ² d/(n − d − 1), the error of the first fit."""
        return self.noise**2 * self.d / (self.n - self.d - 1)

    def replaced(self, t: Any) -> np.ndarray:
        """Return the error under replace: it grows linearly."""
        return self.unit * np.asarray(t, dtype=float)

    def accumulated(self, t: Any, design: str) -> np.ndarray:
        """Return the error under accumulate: with the same X bounded by π²/6 of the first, with fresh X by less."""
        t = np.atleast_1d(np.asarray(t, dtype=int))
        i = np.arange(1, max(int(t.max()), 1) + 1, dtype=float)
        step = self.unit / i**2 if design == "same" else self.noise**2 * self.d / (i * (i * self.n - self.d - 1))
        return np.concatenate([[0.0], np.cumsum(step)])[t]

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, ""]
        return direct(path, self(np.arange(1, path.shape[1] + 1)))


class ReplaceError(_Regression):
    """E‖ŵ_t − w‖² = σ² d t/(n − d − 1)."""

    kind: ClassVar[str] = "regression.replace.error"
    source: ClassVar[str] = "Gerstgrasser et al. 2024, arXiv 2404.01413, Theorem 1"
    regime: ClassVar[str] = "replace"

    def __call__(self, t: Any) -> np.ndarray:
        return self.replaced(t)

    def mutants(self) -> dict[str, Form]:
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                "accumulate": lambda t: self.accumulated(t, self.design),
                "first order, σ² d t/n": lambda t: self.noise**2 * self.d * t / self.n}


class AccumulateError(_Regression):
    """σ² d/(n − d − 1) Σ_{i≤t} 1/i² with the same X, σ² d Σ 1/(i(in − d − 1)) with fresh X."""

    kind: ClassVar[str] = "regression.accumulate.error"
    source: ClassVar[str] = "Gerstgrasser et al. 2024, arXiv 2404.01413, Theorem 2; fresh X derived"
    regime: ClassVar[str] = "accumulate"

    def __call__(self, t: Any) -> np.ndarray:
        return self.accumulated(t, self.design)

    def mutants(self) -> dict[str, Form]:
        other = "same" if self.design == "fresh" else "fresh"
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1), "replace": self.replaced,
                f"{other} X": lambda t: self.accumulated(t, other)}
