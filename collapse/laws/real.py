"""A Gaussian (ddof 0) with real rows kept in the mix: refresh, anchor and redraw, exact at every t."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from collapse.errors import InputError
from collapse.laws.base import Form, Law, Paths, Pivot, describe, direct


def refresh(last: int, n: float, m: float) -> np.ndarray:
    """Return E[v_t] and E[err²_t] for t = 0 … ``last``, (2, last + 1), with m *new* real rows of n every generation.

    E_1 = 1/n, E_t = 1/n + (1 − α)(1 − α − 1/n) E_{t−1}, and v + err² is 1 in the mean; the limit is 1/D with
    D = 1 − α + αn(2 − α).
    """
    alpha, error = m / n, [0.0, 1 / n]
    while len(error) <= last:
        error.append(1 / n + (1 - alpha) * (1 - alpha - 1 / n) * error[-1])
    found = np.array(error[: last + 1])
    return np.stack([1 - found, found])


def anchor(last: int, n: float, m: float) -> np.ndarray:
    """The same with the *same* m real rows every generation, averaged over replicates, each with rows of its own.

    About the mean a of the kept rows: c = E[a(μ − a)] fades as (1 − α)^t, and E[(μ − a)²] and E[v]
    share the kept rows' variance.
    """
    alpha, kept = m / n, 1 - 1 / m
    cross, square, variance = -(1 - alpha) / m, (1 - alpha) / m, 1 - 1 / n
    found = [(1.0, 0.0), (variance, 1 / n)]
    while len(found) <= last:
        cross *= 1 - alpha
        moved = (1 - alpha) ** 2 * square + (1 - alpha) * variance / n
        variance = alpha * kept + (1 - alpha) * (variance + square) - moved
        square = moved
        found.append((variance, 1 / m + 2 * cross + square))
    return np.array(found[: last + 1]).T


def redraw(last: int, n: float, m: float) -> np.ndarray:
    """The same with a random m of the *first* n rows, drawn anew: about their mean, sampling from a finite pool."""
    alpha, kept = m / n, 1 - 1 / n
    square, variance = 0.0, kept
    found = [(1.0, 0.0), (variance, 1 / n)]
    while len(found) <= last:
        square = alpha * (1 - alpha) / n + (1 - alpha) ** 2 * square + (1 - alpha) * variance / n
        variance = kept - square
        found.append((variance, 1 / n + square))
    return np.array(found[: last + 1]).T


def weighted(last: int, n: int, n_real: int, n_synth: int, weight: float) -> np.ndarray:
    """The same with ``n_real`` new real rows that weigh ``weight`` together and ``n_synth`` rows that weigh the rest.

    E_t = w²/n_real + (1 − w)² (E_{t−1} + (1 − E_{t−1})/n_synth): with equal weights a row this is refresh.
    """
    error = [0.0, 1 / n]
    while len(error) <= last:
        error.append(weight**2 / n_real + (1 - weight) ** 2 * (error[-1] + (1 - error[-1]) / n_synth))
    found = np.array(error[: last + 1])
    return np.stack([1 - found, found])


FORMS = {"refresh": refresh, "anchor": anchor, "redraw": redraw}


class _Kept(Law):
    """``n`` rows a generation, ``m`` of them real; α = m/n."""

    regime: ClassVar[str]
    row: ClassVar[int]
    source: ClassVar[str] = "exact recursion, derived; the limit of refresh and anchor in closed form"
    n: Annotated[int, Field(ge=2)]
    m: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _share(self) -> _Kept:
        if self.m >= self.n:
            raise ValueError(f"m is {self.m} of n = {self.n}; keep at least one synthetic row")
        return self

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        describe(cls, study, branch, regime=cls.regime, model="gaussian", source=("gaussian",))
        if branch.model.ddof != 0 or branch.model.variance is not None or study.source.dim != 1:
            raise InputError(f"the law {cls.kind} speaks of one dimension fitted with ddof 0; set model.ddof: 0")
        return cls(n=study.rows, m=round(branch.regime.real * branch.rows), feature=feature)

    def _form(self, regime: str, t: Any) -> np.ndarray:
        t = np.atleast_1d(np.asarray(t, dtype=int))
        return FORMS[regime](int(t.max()), self.n, self.m)[self.row][t]

    def __call__(self, t: Any) -> np.ndarray:
        return self._form(self.regime, t)

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, self.feature]
        return direct(path, self(np.arange(1, path.shape[1] + 1)))

    def mutants(self) -> dict[str, Form]:
        found: dict[str, Form] = {name: partial(self._form, name) for name in FORMS
                                  if name != self.regime and not (self.m == 1 and name == "anchor" and self.row == 0)}
        limit = self._form(self.regime, [2000])
        # before the first fit the error is 0 and the variance 1: t − 1 begins there
        return found | {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                        "the limit at once": lambda t: np.full(len(t), limit[0])}


def _law(regime: str, quantity: str) -> type[Law]:
    row, metric = {"variance": (0, "fit_variance"), "error": (1, "fit_error2")}[quantity]
    name = f"{regime.title()}{quantity.title()}"
    text = f"E[{'v_t' if row == 0 else '(μ_t − μ)²'}] under {regime}."
    return type(name, (_Kept,), {
        "__module__": __name__, "__doc__": text, "kind": f"gaussian.{regime}.{quantity}", "regime": regime, "row": row,
        "metric": metric,
        "__annotations__": {"kind": ClassVar[str], "regime": ClassVar[str], "row": ClassVar[int],
                            "metric": ClassVar[str]}})


RefreshVariance, RefreshError = _law("refresh", "variance"), _law("refresh", "error")
AnchorVariance, AnchorError = _law("anchor", "variance"), _law("anchor", "error")
RedrawVariance, RedrawError = _law("redraw", "variance"), _law("redraw", "error")
