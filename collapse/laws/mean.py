"""The mean of a distribution of known variance from weighted real and synthetic rows: the golden ratio."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from collapse.errors import InputError
from collapse.laws.base import Form, Law, Paths, Pivot, describe, known_mean
from collapse.regimes.weighted import golden


class WeightedError(Law):
    """E[(μ_t − μ)²] in true variances: V_1 = 1/n, V_t = w²/n_real + (1 − w)²(V_{t−1} + 1/n_synth).

    With w* = (√(k² + 4k) − k)/2, k = n_real/n_synth, the limit is w*/n_real, the least of all weights.
    """

    kind: ClassVar[str] = "mean.weighted.error"
    source: ClassVar[str] = "He et al. 2025, arXiv 2502.18049"
    metric: ClassVar[str] = "fit_error2"
    n: Annotated[int, Field(ge=1)]
    n_real: Annotated[int, Field(ge=1)]
    n_synth: Annotated[int, Field(ge=1)]
    counted: ClassVar[tuple[str, ...]] = ("n", "n_real", "n_synth")
    weight: Annotated[float, Field(gt=0, lt=1)]

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        describe(cls, study, branch, regime="weighted", model="gaussian", source=("gaussian",))
        true = float(study.source.truth()["covariance"][0, 0])
        if study.source.dim != 1 or branch.model.variance is None or not np.isclose(branch.model.variance, true):
            raise InputError(f"the law {cls.kind} speaks of one dimension whose variance the model knows; set "
                             f"model.variance: {true:g}")
        n_real, n_synth, weight = branch.regime.weight(branch.rows)
        return cls(n=study.rows, n_real=n_real, n_synth=n_synth, weight=weight)

    def __call__(self, t: Any) -> np.ndarray:
        return self._with(self.weight, t)

    def _with(self, w: float, t: Any) -> np.ndarray:
        t = np.asarray(t, dtype=float)
        keep = (1 - w) ** 2
        limit = (w**2 / self.n_real + keep / self.n_synth) / (1 - keep)
        found = limit + keep ** (t - 1) * (1 / self.n - limit)
        return np.where(t < 1, 0.0, found)

    def pivot(self, paths: Paths) -> Pivot:
        path = paths["fit_error2", ""]
        return known_mean(path, self(np.arange(1, path.shape[1] + 1)))

    def mutants(self) -> dict[str, Form]:
        k = self.n_real / self.n_synth
        found: dict[str, Form] = {}
        for name, weight in {"pooling, k/(1 + k)": k / (1 + k), "golden": golden(k)}.items():
            if abs(weight - self.weight) > 0.02:
                found[name] = partial(self._with, weight)
        found["real rows alone"] = lambda t: np.where(np.asarray(t) < 2, 1 / self.n, 1 / self.n_real)
        if abs(float(self(1) - self(2))) > 1e-9:
            found |= {"t + 1": lambda t: self(t + 1)}
        return found | {"t − 1": lambda t: self(t - 1)}
