"""A fixed budget of rows out of all of history: drawn anew every generation (subsample), or a reservoir.

The pool before fit t + 1 has seen N = n(t + 1) rows, n of them real, and the model is fitted to n rows of them, drawn
uniformly without replacement. *Anew* the draws depend on each other through history alone, and the error of a mean
levels off; a *reservoir* deletes what it leaves out, so that each draw is made from the one before, and it grows like
log t. All recursions are exact for every n and t.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from collapse.errors import InputError
from collapse.laws.base import Form, Law, Paths, Pivot, chain, describe, direct, known_mean
from collapse.laws.categorical import _Categorical, accumulate_simpson, replace_simpson
from collapse.laws.gaussian import (
    _Error,
    _Gaussian,
    accumulate_error,
    accumulate_variance,
    replace_error,
    replace_variance,
)

_KAZDAN = "Kazdan et al. 2024, arXiv 2410.16713 (the setting; exact recursion derived)"
_VITTER = "Vitter 1985, ACM TOMS 11:37 (the reservoir; exact recursion derived)"


def subsample(last: int, n: int, keep: float | None) -> np.ndarray:
    """Return E[v_t] and E[err²_t] for t = 0 … ``last``, (2, last + 1), with n rows drawn anew from all of history.

    With B_t = E[X̄_t²] and D_t = E[S_t²], mean and unbiased variance of the N = n(t + 1) rows before fit t + 1:
    E[err²_{t+1}] = B_t + (1 − n/N) D_t/n, E[v_{t+1}] = ``keep`` · D_t, and
    B_{t+1} = B_t + (E[err²_{t+1}] + E[v_{t+1}]/n − B_t)/(t + 2)². ``keep`` is (n − 1)/(n − ddof), or None where the
    variance is known: then v = 1.
    """
    found = [(1.0, 0.0)]
    mean, square = 1 / n, n * 1.0  # B_t, and the sum of squares of all rows
    for t in range(last):
        total = n * (t + 1)
        spread = (square - total * mean) / (total - 1)
        variance = 1.0 if keep is None else keep * spread
        error = mean + (1 - n / total) * spread / n
        found.append((variance, error))
        square += n * (variance + error)
        mean += (error + variance / n - mean) / (t + 2) ** 2
    return np.array(found).T


def reservoir(last: int, n: int, keep: float | None) -> np.ndarray:
    """Return the same with a reservoir of n rows.

    Of the next pool M rows are new, hypergeometric in all rows seen. With W_t the unbiased variance of the pool,
    E[err²_{t+1}] = E[err²_t] + E[M(n − M)] W_t/n³ + E[M] v_t/n², and W_{t+1} is a mean over pairs of rows: two old ones
    differ by W_t, two new ones by v_t, one of each by ((1 − 1/n) W_t + v_t)/2.
    """
    found, pool, error = [(1.0, 0.0)], 1.0, 1 / n
    for t in range(last):
        variance = 1.0 if keep is None else keep * pool
        found.append((variance, error))
        seen, after = n * (t + 1), n * (t + 2)
        new = n * n / after  # E[M]
        mixed = n * (n - 1) * seen * n / (after * (after - 1))  # E[M(n − M)]
        error += mixed * pool / n**3 + new * variance / n**2
        old, both = seen * (seen - 1) / (after * (after - 1)), 2 * mixed / (n * (n - 1))
        pool = old * pool + both * ((1 - 1 / n) * pool + variance) / 2 + (1 - old - both) * variance
    return np.array(found).T


def subsample_simpson(last: int, n: int) -> np.ndarray:
    """Return E[H_t]/H_0 for t = 0 … ``last``, drawn anew: of two different rows of history a share d_t differs.

    E[H_{t+1}] = (1 − 1/n) d_t. A new row is a copy of a random one, so pairs of old and new rows differ by
    (1 − 1/N) d_t.
    """
    found, pairs = [1.0], n * (n - 1.0)  # ordered pairs that differ
    for t in range(last):
        total = n * (t + 1)
        found.append((1 - 1 / n) * pairs / (total * (total - 1)))
        pairs += 2 * n * pairs / total + n * (n - 1) * found[-1]
    return np.array(found)


def reservoir_simpson(last: int, n: int) -> np.ndarray:
    """Return E[H_t]/H_0 for t = 0 … ``last`` with a reservoir: a pair of which one row is new is one row with 1/n."""
    t = np.arange(1, max(last, 1))
    seen, after = n * t, n * (t + 1)
    steps = 1 - (1 - seen * (seen - 1) / (after * (after - 1))) / n
    return np.concatenate([[1.0], (1 - 1 / n) * np.cumprod(np.concatenate([[1.0], steps]))])[: last + 1]


FORMS: dict[str, Callable[[int, int, float | None], np.ndarray]] = {"subsample": subsample, "reservoir": reservoir}
SIMPSON = {"subsample": subsample_simpson, "reservoir": reservoir_simpson}


def _at(form: Callable[[int], np.ndarray], t: Any) -> np.ndarray:
    t = np.atleast_1d(np.asarray(t, dtype=int))
    return form(int(t.max()))[..., t]


def _others(regime: str) -> list[str]:
    return [name for name in FORMS if name != regime]


def _budget(law: type[Law], branch: Any) -> None:
    """Refuse a branch whose budget is not as many rows as it samples."""
    if branch.regime.budget not in (None, branch.rows):
        raise InputError(f"the law {law.kind} speaks of a budget of as many rows as are sampled ({branch.rows}), and "
                         f"branch '{branch.name}' has {branch.regime.budget}; leave budget out")


class _Fitted(_Gaussian):
    """A fitted Gaussian on a budget."""

    row: ClassVar[int]

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        found = super().of(study, branch, feature)
        _budget(cls, branch)
        return found

    def _form(self, regime: str, t: Any, n: int, ddof: int) -> np.ndarray:
        return _at(lambda last: FORMS[regime](last, n, (n - 1) / (n - ddof)), t)[self.row]

    def __call__(self, t: Any) -> np.ndarray:
        return self._form(self.regime, t, self.n, self.ddof)

    def mutants(self) -> dict[str, Form]:
        simple = ((replace_variance, accumulate_variance), (replace_error, accumulate_error))[self.row]
        found = super()._others(lambda t, n, ddof: self._form(self.regime, t, n, ddof))
        if self.row:
            del found[f"ddof {1 - self.ddof}"]  # equal at t = 1 and apart by less than 1/n of what follows
        return found | {name: (lambda t, name=name: self._form(name, t, self.n, self.ddof))
                        for name in _others(self.regime)} | \
            {name: (lambda t, form=form: form(t, self.n, self.ddof))
             for name, form in zip(("replace", "accumulate"), simple, strict=True)}


class SubsampleVariance(_Fitted):
    """E[v_t] when n rows are drawn anew from all of history: it levels off."""

    kind: ClassVar[str] = "gaussian.subsample.variance"
    source: ClassVar[str] = _KAZDAN
    metric: ClassVar[str] = "fit_variance"
    regime: ClassVar[str] = "subsample"
    row: ClassVar[int] = 0

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, self.feature]
        return direct(path, self(np.arange(1, path.shape[1] + 1)))


class SubsampleError(_Fitted):
    """E[(μ_t − μ)²] when n rows are drawn anew from all of history: it levels off, near (π²/2 − 2)/n."""

    kind: ClassVar[str] = "gaussian.subsample.error"
    source: ClassVar[str] = _KAZDAN
    metric: ClassVar[str] = "fit_error2"
    regime: ClassVar[str] = "subsample"
    row: ClassVar[int] = 1

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, self.feature]
        return direct(path, self(np.arange(1, path.shape[1] + 1)))


class ReservoirVariance(_Fitted):
    """E[v_t] when what n rows leave out is deleted: it falls for ever."""

    kind: ClassVar[str] = "gaussian.reservoir.variance"
    source: ClassVar[str] = _VITTER
    metric: ClassVar[str] = "fit_variance"
    regime: ClassVar[str] = "reservoir"
    row: ClassVar[int] = 0

    def pivot(self, paths: Paths) -> Pivot:
        return chain(paths[self.metric, self.feature], 1.0)


class ReservoirError(_Fitted, _Error):
    """E[(μ_t − μ)²] when what n rows leave out is deleted: it grows, at first like log t."""

    kind: ClassVar[str] = "gaussian.reservoir.error"
    source: ClassVar[str] = _VITTER
    metric: ClassVar[str] = "fit_error2"
    regime: ClassVar[str] = "reservoir"
    row: ClassVar[int] = 1


class _Mean(Law):
    """The mean of a distribution of known variance; n·E[(μ_t − μ)²] in true variances."""

    regime: ClassVar[str]
    metric: ClassVar[str] = "fit_error2"
    n: Annotated[int, Field(ge=2)]

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        describe(cls, study, branch, regime=cls.regime, model="gaussian", source=("gaussian",))
        true = float(study.source.truth()["covariance"][0, 0])
        if study.source.dim != 1 or branch.model.variance is None or not np.isclose(branch.model.variance, true):
            raise InputError(f"the law {cls.kind} speaks of one dimension whose variance the model knows; set "
                             f"model.variance: {true:g}")
        _budget(cls, branch)
        return cls(n=study.rows)

    def __call__(self, t: Any) -> np.ndarray:
        return self._form(self.regime, t)

    def _form(self, regime: str, t: Any) -> np.ndarray:
        return _at(lambda last: FORMS[regime](last, self.n, None), t)[1]

    def pivot(self, paths: Paths) -> Pivot:
        path = paths["fit_error2", ""]
        return known_mean(path, self(np.arange(1, path.shape[1] + 1)))

    def mutants(self) -> dict[str, Form]:
        def accumulate(t: Any) -> np.ndarray:
            return np.cumsum(1 / np.arange(1, int(np.max(t)) + 1) ** 2.0)[np.asarray(t) - 1] / self.n

        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                **{name: partial(self._form, name) for name in _others(self.regime)},
                "replace": lambda t: np.asarray(t, dtype=float) / self.n, "accumulate": accumulate}


class SubsampleMean(_Mean):
    """E[(μ_t − μ)²], known variance, n rows drawn anew from all of history; n times it tends to π²/2 − 2 = 2.93."""

    kind: ClassVar[str] = "mean.subsample.error"
    source: ClassVar[str] = _KAZDAN
    regime: ClassVar[str] = "subsample"


class ReservoirMean(_Mean):
    """E[(μ_t − μ)²], known variance, a reservoir of n rows; n times it grows like log t."""

    kind: ClassVar[str] = "mean.reservoir.error"
    source: ClassVar[str] = _VITTER
    regime: ClassVar[str] = "reservoir"


class _Simpson(_Categorical):
    """E[H_t]/H_0 on a budget."""

    metric: ClassVar[str] = "fit_simpson"

    @classmethod
    def settings(cls, study: Any, branch: Any, feature: str, p: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
        _budget(cls, branch)
        return super().settings(study, branch, feature, p, names)

    def __call__(self, t: Any) -> np.ndarray:
        return self._form(self.regime, t)

    def _form(self, regime: str, t: Any) -> np.ndarray:
        return self.diversity * _at(lambda last: SIMPSON[regime](last, self.n), t)

    def mutants(self) -> dict[str, Form]:
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                **{name: partial(self._form, name) for name in _others(self.regime)},
                "replace": lambda t: self.diversity * replace_simpson(t, self.n),
                "accumulate": lambda t: self.diversity * accumulate_simpson(t, self.n)}


class SubsampleSimpson(_Simpson):
    """E[H_t] for the Simpson diversity when n rows are drawn anew from all of history."""

    kind: ClassVar[str] = "categorical.subsample.simpson"
    source: ClassVar[str] = _KAZDAN
    regime: ClassVar[str] = "subsample"

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, ""]
        return direct(path, self(np.arange(1, path.shape[1] + 1)))


class ReservoirSimpson(_Simpson):
    """E[H_t] for the Simpson diversity with a reservoir of n rows."""

    kind: ClassVar[str] = "categorical.reservoir.simpson"
    source: ClassVar[str] = _VITTER
    regime: ClassVar[str] = "reservoir"

    def pivot(self, paths: Paths) -> Pivot:
        return chain(paths[self.metric, ""], self.diversity)
