"""Category shares that are counted and drawn again: Wright–Fisher drift."""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from collapse.errors import InputError, nearest
from collapse.laws.base import Form, Law, Paths, Pivot, chain, describe
from collapse.models.categorical import bands, watched

_WRIGHT = "Wright 1931, Genetics 16:97; Shumailov et al. 2024, Nature 631"
#: Counts that the transition matrix holds: a category with more of them is not lost within any horizon we look at.
STATES = 1500
#: Expected events below which the count of a rare one is too skewed to be judged by a normal score.
EVENTS = 25
#: Rows, per generation and unit of frequency, below which the mean of a share is too skewed.
SKEW = 25


def replace_simpson(t: Any, n: int) -> np.ndarray:
    """Return E[H_t]/H_0 = (1 − 1/n)^t."""
    return (1 - 1 / n) ** np.asarray(t, dtype=float)


def accumulate_simpson(t: Any, n: int) -> np.ndarray:
    """Return E[H_t]/H_0 = ∏_{j≤t} (1 − 1/(n j²)), the same product as for the Gaussian."""
    t = np.atleast_1d(np.asarray(t, dtype=int))
    j = np.arange(1, max(int(t.max()), 1) + 1, dtype=float)
    return np.concatenate([[1.0], np.cumprod(1 - 1 / (n * j**2))])[t]


def extinction_limit(t: Any, c: Any) -> np.ndarray:
    """Return s_t^c with s_0 = 0, s_t = exp(s_{t−1} − 1): the chance that a category of expected count c is gone by t.

    A branching process with Poisson offspring, the limit of many rows; broadcasts t (T,) against c (k,) to (T, k).
    """
    t = np.atleast_1d(np.asarray(t, dtype=int))
    s = [0.0]
    while len(s) <= t.max():
        s.append(float(np.exp(s[-1] - 1)))
    return np.array(s)[t][:, None] ** np.atleast_1d(np.asarray(c, dtype=float))


def binomials(n: int, p: np.ndarray, states: int) -> np.ndarray:
    """Return P(Binomial(n, p) = j) for p (m,) and j < ``states``: (m, states)."""
    from scipy.special import gammaln, xlog1py, xlogy

    j = np.arange(min(states, n + 1))
    choose = gammaln(n + 1) - gammaln(j + 1) - gammaln(n - j + 1)
    p = np.asarray(p, dtype=float)[:, None]
    return np.exp(choose + xlogy(j, p) + xlog1py(n - j, -p))


@lru_cache(maxsize=8)
def _gone(n: int, last: int) -> np.ndarray:
    """Return the chance to be extinct within t = 0 … ``last`` more generations from each count: (last + 1, states)."""
    step = binomials(n, np.arange(min(n + 1, STATES)) / n, STATES)
    found = np.zeros((last + 1, len(step)))
    found[0, 0] = 1.0
    for t in range(last):
        found[t + 1] = step @ found[t]
    return found


def extinction(t: Any, n: int, p: Any) -> np.ndarray:
    """Return the chance that a category of share p is extinct after t fits, by the transition matrix: (T, k).

    Counts above :data:`STATES` are taken never to be lost.
    """
    t = np.atleast_1d(np.asarray(t, dtype=int))
    p = np.atleast_1d(np.asarray(p, dtype=float))
    first = binomials(n, p, STATES)  # (k, states)
    found = first @ _gone(n, max(int(t.max()) - 1, 0)).T  # (k, last)
    return np.where(t[:, None] < 1, (p == 0)[None], found.T[np.maximum(t - 1, 0)])


def fixation(t: Any, n: int, p: float, first: int) -> np.ndarray:
    """Return the chance that a category of share p has taken over by fit t; the first pool has ``first`` rows: (T,).

    By the transition matrix; it tends to p.
    """
    t = np.atleast_1d(np.asarray(t, dtype=int))
    start = binomials(first, np.array([p]), first + 1)[0]
    step = binomials(n, np.arange(n + 1) / n, n + 1)
    held = start @ binomials(n, np.arange(first + 1) / first, n + 1)  # counts of the second pool
    found = [float(p == 1), float(start[-1])]
    while len(found) <= t.max():
        found.append(float(held[-1]))
        held = held @ step
    return np.array(found)[t]


class _Categorical(Law):
    """``n`` rows a generation of categories with true ``shares`` (k,)."""

    regime: ClassVar[str] = "replace"
    source: ClassVar[str] = _WRIGHT
    n: Annotated[int, Field(ge=2)]
    shares: tuple[float, ...] = Field(repr=False)

    @field_validator("shares")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        p = np.array(value)
        if len(p) < 2 or not np.isfinite(p).all() or (p < 0).any() or not np.isclose(p.sum(), 1):
            raise ValueError("shares must be two or more, none below 0, and sum to 1")
        return value

    @classmethod
    def of(cls, study: Any, branch: Any, feature: str = "") -> Law:
        describe(cls, study, branch, regime=cls.regime, model="categorical", source=("zipf",), steady=cls.steady)
        model = branch.model
        if model.temperature != 1 or model.smoothing or model.favour:
            raise InputError(f"the law {cls.kind} speaks of neutral drift, and branch '{branch.name}' has a "
                             f"temperature, smoothing or a favour; take a branch without")
        p = study.source.probabilities
        return cls(**cls.settings(study, branch, feature, p, study.source.words), n=branch.rows,
                   shares=tuple(p.tolist()))

    #: Whether the first pool must be as large as the others.
    steady: ClassVar[bool] = True

    @classmethod
    def settings(cls, study: Any, branch: Any, feature: str, p: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the law's own fields for a feature of a study."""
        if feature:
            raise InputError(f"the law {cls.kind} speaks of all categories; leave feature: {feature} out")
        return {}

    @cached_property
    def p(self) -> np.ndarray:
        """Return the true shares, (k,)."""
        return np.array(self.shares)

    @property
    def diversity(self) -> float:
        """Return H_0 = 1 − Σp²."""
        return float(1 - self.p @ self.p)


class ReplaceSimpson(_Categorical):
    """E[H_t] = H_0 (1 − 1/n)^t for the Simpson diversity H = 1 − Σp²."""

    kind: ClassVar[str] = "categorical.replace.simpson"
    metric: ClassVar[str] = "fit_simpson"

    def __call__(self, t: Any) -> np.ndarray:
        return self.diversity * replace_simpson(t, self.n)

    def pivot(self, paths: Paths) -> Pivot:
        return chain(paths[self.metric, ""], self.diversity)

    def mutants(self) -> dict[str, Form]:
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                "accumulate": lambda t: self.diversity * accumulate_simpson(t, self.n),
                "n − 1 drawn, nothing lost at first": lambda t: self.diversity * replace_simpson(t - 1, self.n - 1)}


class AccumulateSimpson(_Categorical):
    """E[H_t] = H_0 ∏_{j≤t} (1 − 1/(n j²)): most of the diversity is kept for ever."""

    kind: ClassVar[str] = "categorical.accumulate.simpson"
    metric: ClassVar[str] = "fit_simpson"
    regime: ClassVar[str] = "accumulate"
    source: ClassVar[str] = "Gerstgrasser et al. 2024, arXiv 2404.01413 (for the Gaussian); the same product, derived"

    def __call__(self, t: Any) -> np.ndarray:
        return self.diversity * accumulate_simpson(t, self.n)

    def pivot(self, paths: Paths) -> Pivot:
        return chain(paths[self.metric, ""], self.diversity)

    def mutants(self) -> dict[str, Form]:
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                "replace": lambda t: self.diversity * replace_simpson(t, self.n)}


class ReplaceShare(_Categorical):
    """E[p_t] = p_0: a neutral share is a martingale, so common categories do not gain on average."""

    kind: ClassVar[str] = "categorical.replace.share"
    metric: ClassVar[str] = "fit_share"
    code: int

    @classmethod
    def settings(cls, study: Any, branch: Any, feature: str, p: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
        code = _code(cls, study, feature, p, names)
        need = SKEW * branch.last / (branch.rows * p[code])
        if study.replicates < need:
            raise InputError(f"the law {cls.kind} of '{names[code]}' needs {int(np.ceil(need))} replicates, for rare "
                             f"categories have skewed shares, and the study has {study.replicates}; name a common one")
        return {"code": code, "feature": names[code]}

    def __call__(self, t: Any) -> np.ndarray:
        return np.full(np.shape(t), self.p[self.code])

    def pivot(self, paths: Paths) -> Pivot:
        path, p = paths[self.metric, self.feature], self.p[self.code]
        t = np.arange(1, path.shape[1] + 1)
        error = np.sqrt(p * (1 - p) * (1 - replace_simpson(t, self.n)) / len(path))  # the exact variance
        return Pivot(path.mean(axis=0), error, np.asarray, len(path), walk=True, exact=True, skew=0.5)

    def mutants(self) -> dict[str, Form]:
        return {f"mode-seeking, τ = {tau:g}": partial(self._sought, tau=tau) for tau in (0.95, 1.05)}

    def _sought(self, t: Any, tau: float) -> np.ndarray:
        """Return the share when p ∝ p^(1/τ) is drawn, without noise; the first fit is to real rows."""
        found, p = [self.p[self.code]] * 2, self.p
        while len(found) <= np.max(t):
            p = (p / p.max()) ** (1 / tau)
            p = p / p.sum()
            found.append(p[self.code])
        return np.array(found)[np.asarray(t, dtype=int)]


class ReplaceExtinction(_Categorical):
    """The chance that a category is gone by t, averaged over a band of expected counts; Wright–Fisher, exact."""

    kind: ClassVar[str] = "categorical.replace.extinction"
    metric: ClassVar[str] = "fit_extinct"

    @classmethod
    def settings(cls, study: Any, branch: Any, feature: str, p: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
        known = [name for name in bands(p, branch.rows) if name != "common"]
        if feature not in known:
            raise InputError(f"the law {cls.kind} speaks of a band of expected counts; write feature: "
                             f"{' or '.join(known) or '(none here)'}{nearest(feature, known) if feature else ''}")
        return {"feature": feature}

    @cached_property
    def members(self) -> np.ndarray:
        """Return the true shares in the band."""
        return self.p[bands(self.p, self.n)[self.feature]]

    def __call__(self, t: Any) -> np.ndarray:
        return extinction(t, self.n, self.members).mean(axis=1)

    def resized(self, rows: dict[str, int]) -> Form:
        """Return the closed form with other numbers of rows, for the same categories."""
        return lambda t: extinction(t, rows["n"], self.members).mean(axis=1)

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, self.feature]
        chance = extinction(np.arange(1, path.shape[1] + 1), self.n, self.members)  # (T, k)
        return _counted(path, chance, 1 / len(self.members))

    def mutants(self) -> dict[str, Form]:
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                "accumulate": lambda t: np.full(len(t), self([1])[0])}


class ReplaceExtinctionLimit(ReplaceExtinction):
    """The same as n grows: s_t^c; what the two differ by is forgiven."""

    kind: ClassVar[str] = "categorical.replace.extinction_limit"
    label: ClassVar[Any] = "limit"
    source: ClassVar[str] = "a branching process with Poisson offspring (Fisher 1930; Haldane 1927)"

    def __call__(self, t: Any) -> np.ndarray:
        return extinction_limit(t, self.n * self.members).mean(axis=1)

    def resized(self, rows: dict[str, int]) -> Form:
        """Return the closed form with other numbers of rows, for the same categories."""
        return lambda t: extinction_limit(t, rows["n"] * self.members).mean(axis=1)

    def slack(self, t: np.ndarray) -> np.ndarray:
        return np.abs(extinction(t, self.n, self.members).mean(axis=1) - self(t))


class ReplaceSurvivors(_Categorical):
    """Expected categories left: Σ 1 − (1 − p_i)^n after one generation, then by the transition matrix."""

    kind: ClassVar[str] = "categorical.replace.survivors"
    metric: ClassVar[str] = "fit_survivors"

    def __call__(self, t: Any) -> np.ndarray:
        return (1 - extinction(t, self.n, self.p)).sum(axis=1)

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, ""]
        error = path.std(axis=0, ddof=1) / np.sqrt(len(path))
        return Pivot(path.mean(axis=0), np.where(error > 0, error, np.inf), np.asarray, len(path), influence=path)

    def mutants(self) -> dict[str, Form]:
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                "accumulate": lambda t: np.full(len(t), self([1])[0])}


class ReplaceFixation(_Categorical):
    """The chance that one category has taken over by t; it tends to its initial share."""

    kind: ClassVar[str] = "categorical.replace.fixation"
    metric: ClassVar[str] = "fit_share"
    steady: ClassVar[bool] = False
    code: int
    first: Annotated[int, Field(ge=1)]
    counted: ClassVar[tuple[str, ...]] = ("n", "first")

    @classmethod
    def settings(cls, study: Any, branch: Any, feature: str, p: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
        code = _code(cls, study, feature, p, names)
        return {"code": code, "feature": names[code], "first": study.rows}

    def __call__(self, t: Any) -> np.ndarray:
        return fixation(t, self.n, float(self.p[self.code]), self.first)

    def lines(self, t: np.ndarray) -> dict[str, np.ndarray]:
        return {}

    def pivot(self, paths: Paths) -> Pivot:
        path = paths[self.metric, self.feature]
        return _counted((path == 1).astype(float), self(np.arange(1, path.shape[1] + 1))[:, None], 1.0, walk=True)

    def mutants(self) -> dict[str, Form]:
        k = np.count_nonzero(self.p)
        return {"t + 1": lambda t: self(t + 1), "t − 1": lambda t: self(t - 1),
                "p₀ at once": lambda t: np.full(len(t), self.p[self.code]),
                "all alike, 1/k": lambda t: self(t) / self.p[self.code] / k}


def _code(law: type[Law], study: Any, feature: str, p: np.ndarray, names: tuple[str, ...]) -> int:
    """Return the category that ``feature`` names, by default the most frequent; only recorded ones can be judged."""
    seen = [names[code] for code in watched(p, study.rows)]
    if feature and feature not in seen:
        raise InputError(f"the law {law.kind}: '{feature}' is not one of the recorded categories "
                         f"({', '.join(seen)}){nearest(feature, seen)}")
    return names.index(feature) if feature else int(np.argmax(p))


def _counted(path: np.ndarray, chance: np.ndarray, share: float, walk: bool = False) -> Pivot:
    """Return the score pivot of events with ``chance`` (T, k), of which ``path`` (R, T) is the share that happened.

    Looks at which fewer than :data:`EVENTS` are expected to happen, or not to, count for nothing.
    """
    replicates = len(path)
    variance = (chance * (1 - chance)).sum(axis=1) * share**2
    with np.errstate(divide="ignore"):
        least = EVENTS / np.minimum(chance, 1 - chance).sum(axis=1)
    error = np.sqrt(np.maximum(variance, path.var(axis=0)) / replicates)
    error = np.where(replicates < least, np.inf, error)
    return Pivot(path.mean(axis=0), error, np.asarray, replicates, walk, exact=True, least=least)
