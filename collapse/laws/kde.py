"""A kernel estimate of fixed bandwidth, drawn from itself: variance can grow."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from collapse.errors import InputError
from collapse.laws.base import Form, Law, Paths, Pivot, describe


class ReplaceVariance(Law):
    """E[v_t + h²] of the estimate fitted at t, in true variances: U_1 = 1 − 1/n + h², U_{t+1} = (1 − 1/n) U_t + h².

    It tends to n h². ``width`` is h in true standard deviations. The variance of the t-th *sample*, U_{t+1} − h²,
    tends to (n − 1) h².
    """

    kind: ClassVar[str] = "kde.replace.variance"
    source: ClassVar[str] = "exact, from the variance of a normal kernel estimate (Silverman 1986, section 3.3)"
    metric: ClassVar[str] = "fit_variance"
    n: Annotated[int, Field(ge=2)]
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        describe(cls, study, branch, regime="replace", model="kde", source=("gaussian",))
        if isinstance(branch.model.bandwidth, str):
            raise InputError(f"the law {cls.kind} speaks of a fixed bandwidth, and branch '{branch.name}' measures "
                             f"its own ({branch.model.bandwidth}); set model.bandwidth to a number")
        if study.source.dim != 1:
            raise InputError(f"the law {cls.kind} speaks of one dimension, and the source has {study.source.dim}")
        true = float(study.source.truth()["covariance"][0, 0])
        return cls(n=study.rows, width=float(branch.model.bandwidth / np.sqrt(true)), feature=feature)

    def __call__(self, t: Any) -> np.ndarray:
        return self._grown(t, self.width**2)

    def _grown(self, t: Any, added: float) -> np.ndarray:
        t, keep = np.asarray(t, dtype=float), 1 - 1 / self.n
        return np.where(t < 1, 1.0 + added, keep**t + added * self.n * (1 - keep**t))

    def pivot(self, paths: Paths) -> Pivot:
        """Return the pivot from the mean one-step shares (U_{t+1} − h²)/U_t, on the scale of log E[U_t]."""
        path, added = paths[self.metric, self.feature], self.width**2
        before = np.concatenate([np.ones((len(path), 1)), path[:, :-1]], axis=1)
        share = (path - added) / before  # (R, T)
        mean = share.mean(axis=0)
        value, moved = 1.0, np.zeros(len(path))
        estimate, influence = [], []
        for t in range(path.shape[1]):
            moved = value * (share[:, t] - mean[t]) + mean[t] * moved  # influence of each replicate
            value = mean[t] * value + added
            estimate.append(np.log(value))
            influence.append(moved / value)
        whole = np.stack(influence, axis=1)
        error = whole.std(axis=0) / np.sqrt(len(path))
        return Pivot(np.array(estimate), error, _log, len(path), influence=whole, skew=0.5)

    def mutants(self) -> dict[str, Form]:
        keep, added = 1 - 1 / self.n, self.width**2
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                "no kernel, (1 − 1/n)^t": lambda t: keep ** np.asarray(t, dtype=float),
                "no loss, 1 + t h²": lambda t: 1 + added * np.asarray(t, dtype=float),
                "h for h²": lambda t: self._grown(t, self.width)}


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-300))
