"""A Gaussian refitted to its own samples: replace and accumulate."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from collapse.errors import InputError
from collapse.laws.base import Form, Law, Paths, Pivot, chain, describe, steps

_NATURE = "Shumailov et al. 2024, Nature 631, doi 10.1038/s41586-024-07566-y, Theorem 3.1 and supplement"
_ACCUMULATE = "Gerstgrasser et al. 2024, arXiv 2404.01413; Kazdan et al. 2024, arXiv 2410.16713"


def replace_variance(t: Any, n: float, ddof: int) -> np.ndarray:
    """Return E[v_t] = ((n − 1)/(n − ddof))^t: 1 unbiased, (1 − 1/n)^t by maximum likelihood."""
    return ((n - 1) / (n - ddof)) ** np.asarray(t, dtype=float)


def accumulate_variance(t: Any, n: int, ddof: int) -> np.ndarray:
    """Return E[v_t]: ∏_{j≤t} (1 − 1/(n j²)) for ddof 0, ∏_{j=2..t} (1 − 1/(j(jn − 1))) for ddof 1."""
    t = np.atleast_1d(np.asarray(t, dtype=int))
    j = np.arange(1, max(int(t.max()), 1) + 1, dtype=float)
    factor = 1 - 1 / (n * j**2) if ddof == 0 else 1 - np.where(j > 1, 1 / (j * np.maximum(j * n - 1, 1e-300)), 0.0)
    return np.concatenate([[1.0], np.cumprod(factor)])[t]


def replace_error(t: Any, n: int, ddof: int) -> np.ndarray:
    """Return E[(μ_t − μ)²] in true variances: t/n unbiased, 1 − (1 − 1/n)^t by maximum likelihood."""
    t = np.asarray(t, dtype=float)
    return t / n if ddof else 1 - (1 - 1 / n) ** t


def accumulate_error(t: Any, n: int, ddof: int) -> np.ndarray:
    """Return E[(μ_t − μ)²] = Σ_{s≤t} E[v_{s−1}]/(n s²); for ddof 0 this is 1 − E[v_t]."""
    t = np.atleast_1d(np.asarray(t, dtype=int))
    s = np.arange(1, max(int(t.max()), 1) + 1)
    return np.concatenate([[0.0], np.cumsum(accumulate_variance(s - 1, n, ddof) / (n * s**2.0))])[t]


def c4(n: int) -> float:
    """Return c₄(n) = √(2/(n−1)) Γ(n/2)/Γ((n−1)/2), the bias of the unbiased standard deviation."""
    from scipy.special import gammaln

    return float(np.sqrt(2 / (n - 1)) * np.exp(gammaln(n / 2) - gammaln((n - 1) / 2)))


def log_step(n: int, ddof: int, d: int = 1) -> tuple[float, float]:
    """Return mean and variance of (1/d) log det of one refit: digammas and trigammas of (n − i)/2, i = 1 … d."""
    from scipy.special import digamma, polygamma

    half = (n - np.arange(1, d + 1)) / 2
    return float(digamma(half).mean() + np.log(2 / (n - ddof))), float(polygamma(1, half).sum() / d**2)


class _Gaussian(Law):
    """``n`` rows a generation, fitted with ``ddof``, in ``d`` dimensions."""

    regime: ClassVar[str]
    n: Annotated[int, Field(ge=1)]
    ddof: Annotated[int, Field(ge=0, le=1)] = 1
    d: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _enough(self) -> _Gaussian:
        if self.n <= max(self.ddof, self.d - 1) or self.n < 2:
            raise ValueError(f"n is {self.n}, too few rows for a variance in {self.d} dimensions with ddof {self.ddof}")
        return self

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        describe(cls, study, branch, regime=cls.regime, model="gaussian", source=("gaussian",))
        if branch.model.variance is not None:
            raise InputError(f"the law {cls.kind} speaks of a fitted variance, and branch '{branch.name}' knows it; "
                             f"take mean.weighted.error")
        if study.source.dim > 1 and not feature and cls.metric in ("fit_error2", "fit_w2"):
            raise InputError(f"the law {cls.kind} speaks of one dimension; name one, such as feature: x1")
        return cls(n=study.rows, ddof=branch.model.ddof, d=study.source.dim, feature=feature)

    def _others(self, form: Any, *, ticks: bool = True) -> dict[str, Form]:
        found: dict[str, Form] = {f"ddof {1 - self.ddof}": lambda t: form(t, self.n, 1 - self.ddof)}
        if ticks:
            found |= {"t + 1": lambda t: form(t + 1, self.n, self.ddof),
                      "t − 1": lambda t: form(t - 1, self.n, self.ddof)}
        return found


class ReplaceVariance(_Gaussian):
    """E[v_t] under replace; in d dimensions it holds in every direction."""

    kind: ClassVar[str] = "gaussian.replace.variance"
    source: ClassVar[str] = _NATURE
    metric: ClassVar[str] = "fit_variance"
    regime: ClassVar[str] = "replace"

    def __call__(self, t: Any) -> np.ndarray:
        return replace_variance(t, self.n, self.ddof)

    def pivot(self, paths: Paths) -> Pivot:
        return chain(paths[self.metric, self.feature], 1.0)

    def mutants(self) -> dict[str, Form]:
        found = self._others(replace_variance, ticks=self.ddof == 0)
        if self.ddof == 0:
            found["first order, 1 − t/n"] = lambda t: np.maximum(1 - t / self.n, 1e-300)
        return found | {"accumulate": lambda t: accumulate_variance(t, self.n, self.ddof)}


class ReplaceTypical(_Gaussian):
    """exp E[log v_t] under replace, the typical path; in d dimensions of the generalised variance, per dimension."""

    kind: ClassVar[str] = "gaussian.replace.typical"
    source: ClassVar[str] = "exact, from E log χ² (Wishart 1928); the almost sure collapse of Shumailov et al. 2024"
    metric: ClassVar[str] = "fit_log_det"
    regime: ClassVar[str] = "replace"

    def __call__(self, t: Any) -> np.ndarray:
        return np.exp(np.asarray(t, dtype=float) * log_step(self.n, self.ddof, self.d)[0])

    def lines(self, t: np.ndarray) -> dict[str, np.ndarray]:
        return {"fit_log_det": np.log(self(t))}

    def pivot(self, paths: Paths) -> Pivot:
        path = paths["fit_log_det", ""]
        t = np.arange(1, path.shape[1] + 1)
        error = np.sqrt(t * log_step(self.n, self.ddof, self.d)[1] / len(path))  # exact, not estimated
        return Pivot(path.mean(axis=0), error, np.log, len(path), walk=True, exact=True)

    def mutants(self) -> dict[str, Form]:
        def form(t: Any, n: int, ddof: int) -> np.ndarray:
            return np.exp(np.asarray(t, dtype=float) * log_step(n, ddof, self.d)[0])

        first = -((self.d + 3) / 2 - self.ddof) / self.n
        return self._others(form) | {"first order in 1/n": lambda t: np.exp(first * t),
                                     "the mean": lambda t: replace_variance(t, self.n, self.ddof)}


class _Error(_Gaussian):
    """E[(μ_t − μ)²]: sum over s of the mean squared step in units of v_{s−1}, times the estimate of E[v_{s−1}]."""

    def _parts(self, paths: Paths) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return Ê err² (T,), its influence (R, T), Ê v (T,) and its influence."""
        mean, variance = paths["fit_mean", self.feature], paths["fit_variance", self.feature]
        replicates = len(mean)
        ratio, off = steps(variance, 1.0)
        grown = np.cumprod(ratio)  # Ê[v_t]
        before = np.concatenate([[1.0], grown[:-1]])
        past = np.concatenate([np.ones((replicates, 1)), variance[:, :-1]], axis=1)
        step = np.diff(mean, axis=1, prepend=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.where(past > 0, step**2 / past, 0.0)
        size = score.mean(axis=0)
        error = np.cumsum(size * before)
        # a ratio at u moves every later term: (A_t − A_u) per unit
        moved = error * np.cumsum(off, axis=1) - np.cumsum(off * error, axis=1)
        return error, np.cumsum((score - size) * before, axis=1) + moved, grown, grown * np.cumsum(off, axis=1)

    def pivot(self, paths: Paths) -> Pivot:
        error, influence, _, _ = self._parts(paths)
        influence /= error
        return Pivot(np.log(error), influence.std(axis=0) / np.sqrt(len(influence)), _log, len(influence),
                     influence=influence, skew=0.5)


class ReplaceError(_Error):
    """E[(μ_t − μ)²] under replace: a random walk whose steps shrink with the variance."""

    kind: ClassVar[str] = "gaussian.replace.error"
    source: ClassVar[str] = _NATURE
    metric: ClassVar[str] = "fit_error2"
    regime: ClassVar[str] = "replace"

    def __call__(self, t: Any) -> np.ndarray:
        return replace_error(t, self.n, self.ddof)

    def mutants(self) -> dict[str, Form]:
        return self._others(replace_error) | {"accumulate": lambda t: accumulate_error(t, self.n, self.ddof)}


class ReplaceW2(_Error):
    """E[W₂²] of the fit to the truth under replace: err² + (1 − √v)²."""

    kind: ClassVar[str] = "gaussian.replace.w2"
    source: ClassVar[str] = _NATURE
    metric: ClassVar[str] = "fit_w2"
    regime: ClassVar[str] = "replace"

    def __call__(self, t: Any) -> np.ndarray:
        return _w2(t, self.n, self.ddof)

    def pivot(self, paths: Paths) -> Pivot:
        error, influence, grown, moved = self._parts(paths)
        ratio, off = steps(np.sqrt(paths["fit_variance", self.feature]), 1.0)
        width = np.cumprod(ratio)
        value = error + 1 + grown - 2 * width
        whole = (influence + moved - 2 * width * np.cumsum(off, axis=1)) / value
        return Pivot(np.log(value), whole.std(axis=0) / np.sqrt(len(off)), _log, len(off), influence=whole, skew=2.0)

    def mutants(self) -> dict[str, Form]:
        return self._others(_w2) | {"first order, (3/2) t/n": lambda t: 1.5 * t / self.n}


def _w2(t: Any, n: int, ddof: int) -> np.ndarray:
    width = (c4(n) * np.sqrt((n - 1) / (n - ddof))) ** np.asarray(t, dtype=float)
    return replace_error(t, n, ddof) + 1 + replace_variance(t, n, ddof) - 2 * width


class AccumulateVariance(_Gaussian):
    """E[v_t] when all data so far is fitted: it stays above sin(π/√n)/(π/√n) for ddof 0."""

    kind: ClassVar[str] = "gaussian.accumulate.variance"
    source: ClassVar[str] = _ACCUMULATE
    metric: ClassVar[str] = "fit_variance"
    regime: ClassVar[str] = "accumulate"

    def __call__(self, t: Any) -> np.ndarray:
        return accumulate_variance(t, self.n, self.ddof)

    def pivot(self, paths: Paths) -> Pivot:
        return chain(paths[self.metric, self.feature], 1.0)

    def mutants(self) -> dict[str, Form]:
        return self._others(accumulate_variance) | {"replace": lambda t: replace_variance(t, self.n, self.ddof)}


class AccumulateError(_Error):
    """E[(μ_t − μ)²] when all data so far is fitted: bounded by π²/(6n)."""

    kind: ClassVar[str] = "gaussian.accumulate.error"
    source: ClassVar[str] = _ACCUMULATE
    metric: ClassVar[str] = "fit_error2"
    regime: ClassVar[str] = "accumulate"

    def __call__(self, t: Any) -> np.ndarray:
        return accumulate_error(t, self.n, self.ddof)

    def mutants(self) -> dict[str, Form]:
        found = self._others(accumulate_error)
        del found[f"ddof {1 - self.ddof}"]  # equal at t = 1 and apart by less than 1/n of what follows
        return found | {"replace": lambda t: replace_error(t, self.n, self.ddof)}


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(values, 0.0))
