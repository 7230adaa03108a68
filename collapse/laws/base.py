"""What every law offers, and how it is judged: on a pivot, at one family-wise level, beside its mutants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from collapse.errors import InputError
from collapse.spec import Spec

if TYPE_CHECKING:
    from collapse.study.experiment import Branch
    from collapse.study.parse import Study

#: Paths (R, T) of fitted quantities by (metric, feature); column 0 is t = 1, the fit to real data.
Paths = Mapping[tuple[str, str], np.ndarray]
#: A closed form: t (T,) -> values (T,).
Form = Callable[[np.ndarray], np.ndarray]
#: Replicates beyond which a form is said not to be told apart at all.
MANY = 10**9
#: Chance that a true law of a study is rejected, over all its laws, generations and branches.
LEVEL = 0.001


@dataclass(frozen=True, eq=False)
class Pivot:
    """Estimates (L,) with standard errors (L,) on a scale where sampling noise is near normal, one per look.

    ``scale`` takes the values of a closed form at t = 1 … T onto it. ``walk``: the looks are sums of independent
    steps. ``influence`` (R, L): what each replicate adds to the estimates. With either, their covariance is known, and
    a closed form is also judged along the direction in which it differs from the law (the most powerful linear score).
    ``skew``: an estimate and its error hang together where the values are skewed, so that few replicates call the truth
    too low too often; the critical value is greater by 1 + skew/√R (the order of the first Edgeworth term).
    """

    estimate: np.ndarray
    error: np.ndarray
    scale: Callable[[np.ndarray], np.ndarray]
    replicates: int
    walk: bool = False
    influence: np.ndarray | None = None
    exact: bool = False
    skew: float = 0.0
    #: Replicates that each look needs to count, (L,); None: all do.
    least: np.ndarray | None = None

    def z(self, values: np.ndarray, slack: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the standardised distance to a closed form, (L,); ``slack`` of it is forgiven."""
        gap = self.estimate - self.scale(values)
        gap = np.sign(gap) * np.maximum(np.abs(gap) - slack, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(gap == 0, 0.0, gap / self.error)
        return np.where(np.isnan(z), 0.0, z)

    def directed(self, values: np.ndarray, law: np.ndarray) -> float:
        """Return the standardised distance to a mutant along its own difference from the law; 0 if there is none."""
        if not self.walk:
            return self._score(values, law)
        with np.errstate(invalid="ignore"):
            steps = np.diff(np.square(self.error), prepend=0.0)
            off = np.diff(self.scale(values) - self.scale(law), prepend=0.0)
            seen = np.diff(self.estimate - self.scale(values), prepend=0.0)
        use = (steps > 0) & np.isfinite(steps) & np.isfinite(off) & np.isfinite(seen)
        weight = off[use] / steps[use]
        noise = np.sqrt(np.square(weight) @ steps[use])
        return float(weight @ seen[use] / noise) if noise > 0 else 0.0

    def _score(self, values: np.ndarray, law: np.ndarray) -> float:
        found = self._along(self.scale(values) - self.scale(law))
        if found is None:
            return 0.0
        weight, use, noise = found
        return float(weight @ (self.estimate - self.scale(values))[use] / noise) if noise > 0 else 0.0

    def _scored(self, replicates: float) -> bool:
        """Return whether so many replicates suffice for the covariance of the looks to be estimated."""
        return replicates >= 20 * len(self.estimate)

    def _along(self, off: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
        """Return the weights of the most powerful score along ``off`` (L,), their looks, and the score's error."""
        if self.influence is None or not self._scored(self.replicates):
            return None
        use = np.isfinite(off) & np.isfinite(self.error) & (self.error > 0)
        covariance = np.atleast_2d(np.cov(self.influence[:, use], rowvar=False)) / self.replicates
        weight = np.linalg.lstsq(covariance, off[use], rcond=1e-10)[0]
        return weight, use, float(np.sqrt(max(float(weight @ covariance @ weight), 0.0)))

    def needed(self, values: np.ndarray, law: np.ndarray, looks: int, level: float = LEVEL) -> int | None:
        """Return the replicates at which a closed form is rejected if the law is true (97.7 %); None: never."""
        with np.errstate(invalid="ignore"):
            off = self.scale(values) - self.scale(law)
        if not np.any(np.abs(off) > 1e-12):
            return None
        score = self._along(off)
        along = 0.0 if score is None else float(np.sqrt(max(score[0] @ off[score[1]], 0.0)))

        def enough(replicates: float) -> bool:
            apart = max(self._apart(off, replicates), along if self._scored(replicates) else 0.0)
            # two standard errors beyond the critical value, or the next run may miss it
            return apart * np.sqrt(replicates / self.replicates) >= self.critical(looks, level, replicates) + 2

        low, high = 1.0, 2.0
        while not enough(high):
            low, high = high, 2 * high
            if high > MANY:
                return None
        while high - low > max(1.0, 0.01 * high):
            middle = (low + high) / 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return int(np.ceil(high))

    def _apart(self, off: np.ndarray, replicates: float) -> float:
        """Return by how many of this run's errors ``off`` (L,) is from 0: at the best look, or along a walk."""
        use = np.isfinite(self.error) if self.least is None else self.least <= replicates
        if self.walk:
            grown = np.diff(np.square(self.error), prepend=0.0)
            step = np.diff(np.where(np.isfinite(off), off, 0.0), prepend=0.0)
            use = use & (grown > 0) & np.isfinite(grown) & np.isfinite(off)
            return float(np.sqrt(np.sum(step[use] ** 2 / grown[use])))
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.max(np.where(use & (np.abs(off) > 0), np.abs(off) / self.error, 0.0), initial=0.0))

    def critical(self, looks: int, level: float = LEVEL, replicates: float | None = None) -> float:
        """Return the two-sided critical value at ``level`` over ``looks`` (Bonferroni), of so many replicates."""
        from scipy import special

        count = self.replicates if replicates is None else replicates
        tail = level / (2 * max(looks, 1))
        value = -special.ndtri(tail) if self.exact else -special.stdtrit(max(count - 1, 1), tail)
        return float(value * (1 + self.skew / np.sqrt(count)))


@dataclass(frozen=True)
class Mutant:
    """A wrong closed form: whether the run rejects it, by how many standard errors, and what run would.

    ``needed``: replicates at which it is rejected if the law is true; None: it says what the law says, or nearly.
    """

    name: str
    rejected: bool
    z: float
    needed: int | None


@dataclass(frozen=True)
class Judgement:
    """How a law fared: ``holds`` if it is not rejected and all its mutants are; ``fails`` if it is rejected.

    ``neighbours`` are the law itself with a tenth more or fewer rows. They decide nothing: that they are told apart
    takes more replicates than some studies have, and the verdict says which are.
    """

    verdict: Literal["holds", "fails", "undecided"]
    label: str
    z: float
    t: int | None
    critical: float
    mutants: tuple[Mutant, ...]
    neighbours: tuple[Mutant, ...]
    replicates: int

    @property
    def needed(self) -> int | None:
        """Return the replicates at which the mutants that survived would be rejected, about."""
        return max((m.needed or 0 for m in self.mutants if not m.rejected), default=None)

    @property
    def sentence(self) -> str:
        """Return the evidence in one sentence."""
        where = f"at t = {self.t}" if self.t else "over all t"
        text = (f"Largest deviation {abs(self.z):.1f} standard errors ({where}), allowed {self.critical:.1f} at "
                f"{100 * LEVEL:g} % over all looks, {self.replicates:,} replicates")
        alive = [m.name for m in self.mutants if not m.rejected]
        if alive:
            text = f"{text}; not told apart from: {', '.join(alive)} (about {self.needed:,} replicates would)"
        else:
            least = min((abs(m.z) for m in self.mutants), default=np.inf)
            text = f"{text}; all {len(self.mutants)} mutants are rejected (the nearest by {least:.1f})"
        told = [m.name for m in self.neighbours if m.rejected]
        alike = [f"{m.name} (about {m.needed:,} replicates would)" for m in self.neighbours if not m.rejected]
        text += f"; told apart from its neighbours {' and '.join(told)}" if told else ""
        text += f"; not from {'its neighbours ' * (not told)}{' and '.join(alike)}" if alike else ""
        return f"{text}."

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"label": self.label, "z": round(self.z, 3), "t": self.t, "critical": round(self.critical, 3),
                "replicates": self.replicates, "needed": self.needed,
                "mutants": [_plain(m) for m in self.mutants], "neighbours": [_plain(m) for m in self.neighbours]}


def _plain(mutant: Mutant) -> dict[str, Any]:
    return {"name": mutant.name, "rejected": mutant.rejected, "z": _finite(mutant.z), "needed": mutant.needed}


def _finite(z: float) -> float:
    return round(float(np.clip(z, -1e6, 1e6)), 2)


class Law(Spec):
    """A closed form with its settings. Call it with t = 1, 2, … (fits; t = 1 is the fit to real data)."""

    #: exact: for every n and t; limit: as n or t grow; first order: in 1/n.
    label: ClassVar[Literal["exact", "limit", "first order"]] = "exact"
    source: ClassVar[str]
    #: The fitted quantity whose expectation the law is.
    metric: ClassVar[str]
    #: The fields that count the rows of a generation.
    counted: ClassVar[tuple[str, ...]] = ("n",)
    feature: str = ""

    def __call__(self, t: np.ndarray | int) -> np.ndarray:
        """Return the closed form at ``t``."""
        raise NotImplementedError(type(self).__name__)

    @classmethod
    def of(cls, study: Study, branch: Branch, feature: str = "") -> Law:
        """Return the law with the settings of a branch.

        Raises
        ------
        InputError
            If it does not describe that branch.
        """
        raise NotImplementedError(cls.__name__)

    def pivot(self, paths: Paths) -> Pivot:
        """Return estimate, error and scale from paths.

        Raises
        ------
        KeyError
            If the paths lack what the law speaks of.
        """
        raise NotImplementedError(type(self).__name__)

    def mutants(self) -> dict[str, Form]:
        """Return wrong forms by name, each different from the law."""
        raise NotImplementedError(type(self).__name__)

    def neighbours(self) -> dict[str, Form]:
        """Return the law itself with a tenth fewer and more rows a generation, one at least, by name."""
        found: dict[str, Form] = {}
        for sign in (-1, 1):
            rows = {name: getattr(self, name) for name in self.counted}
            rows = {name: n + sign * max(1, round(n / 10)) for name, n in rows.items()}
            try:
                found[f"n = {rows[self.counted[0]]}"] = self.resized(rows)
            except ValueError:  # too few rows for the law
                continue
        return found

    def resized(self, rows: dict[str, int]) -> Form:
        """Return the closed form with other numbers of rows.

        Raises
        ------
        ValueError
            If these are too few.
        """
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **rows})

    def slack(self, t: np.ndarray) -> np.ndarray | float:
        """Return how far, on the pivot's scale, the truth may lie from a limit or first-order form."""
        return 0.0

    def lines(self, t: np.ndarray) -> dict[str, np.ndarray]:
        """Return the curves to draw beside measured means, by metric; none where no single metric has this mean."""
        return {self.metric: self(t)}

    def judge(self, paths: Paths, looks: int | None = None, level: float = LEVEL, *,
              last: int | None = None) -> Judgement:
        """Judge the law and its mutants on one run.

        Parameters
        ----------
        looks
            How many share ``level``; by default the law's own.
        last
            Generations of the run; by default those that its paths have.

        Raises
        ------
        KeyError
            If the paths lack what the law speaks of, or end before ``last``.
        """
        seen = _Seen(paths)
        pivot = self.pivot(seen)
        last = seen.length if last is None else last
        if seen.length != last:
            raise KeyError(self.metric)
        t = np.arange(1, last + 1)
        law = self(t)
        critical = pivot.critical(looks or len(pivot.estimate), level)
        z = pivot.z(law, self.slack(t))
        worst = int(np.argmax(np.abs(z)))

        def tried(forms: dict[str, Form]) -> Iterator[Mutant]:
            for name, form in forms.items():
                values = form(t)
                every = np.append(pivot.z(values), pivot.directed(values, law))
                strongest = float(every[np.argmax(np.abs(every))])
                needed = pivot.needed(values, law, looks or len(pivot.estimate), level)
                yield Mutant(name, abs(strongest) > critical, strongest, needed)

        mutants = tuple(tried(self.mutants()))
        # where rows make no difference there is no neighbour
        neighbours = tuple(mutant for mutant in tried(self.neighbours()) if mutant.needed is not None)
        alive = any(not mutant.rejected for mutant in mutants)
        verdict: Any = "fails" if abs(z[worst]) > critical else "undecided" if alive else "holds"
        return Judgement(verdict, self.label, float(z[worst]), worst + 1 if worst < last else None, critical, mutants,
                         neighbours, pivot.replicates)


class _Seen(dict[tuple[str, str], np.ndarray]):
    """Paths as a pivot asks for them, of one length."""

    def __init__(self, paths: Paths) -> None:
        super().__init__()
        self._paths = paths
        self.length = 0

    def __missing__(self, key: tuple[str, str]) -> np.ndarray:
        self[key] = path = self._paths[key]
        if not np.isfinite(path).all() or self.length not in (0, path.shape[1]):
            raise KeyError(key[0])
        self.length = path.shape[1]
        return path


# ------------------------------------------------------------------------------------------- pivots


def steps(path: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean one-step ratios (T,) of a positive path and their relative deviations (R, T), 0 where it ended."""
    before = np.concatenate([np.full((len(path), 1), start), path[:, :-1]], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = path / before  # 0/0 where it ended
    alive = np.isfinite(ratio)
    mean = np.where(alive, ratio, 0).sum(axis=0) / np.maximum(alive.sum(axis=0), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, np.where(alive, ratio / mean - 1, 0.0) * (len(path) / np.maximum(alive.sum(axis=0), 1))


def chain(path: np.ndarray, start: float) -> Pivot:
    """Return the pivot of a multiplicative martingale, E[Q_t | past] = c_t Q_{t−1}, on the scale of log E[Q_t].

    The sum of logs of the mean one-step ratios: its noise is well behaved where the mean of Q_t itself is hopeless
    (log-normal with variance t·trigamma). Ratios of different steps are uncorrelated.
    """
    mean, off = steps(path, start)
    with np.errstate(divide="ignore"):
        estimate = np.log(start) + np.cumsum(np.log(mean))
    return Pivot(estimate, np.sqrt(np.cumsum(off.var(axis=0))) / np.sqrt(len(path)), np.log, len(path), walk=True,
                 skew=0.5)


def direct(path: np.ndarray, law: np.ndarray) -> Pivot:
    """Return the pivot of a plain mean, on the scale of its logarithm; the last look: the mean over t of Q_t / law."""
    replicates = len(path)
    mean = path.mean(axis=0)
    share = (path / law).mean(axis=1)  # (R, T) -> (R,)
    estimate = np.append(np.log(mean), np.log(share.mean()))
    influence = np.column_stack([path / mean, share / share.mean()])
    error = influence.std(axis=0, ddof=1) / np.sqrt(replicates)

    def scale(values: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.append(np.log(values), np.log(np.mean(values / law)))

    return Pivot(estimate, error, scale, replicates, influence=influence, skew=2.0)


def plain(path: np.ndarray, least: np.ndarray | float = 0.0) -> Pivot:
    """Return the pivot of a plain mean on its own scale; the variance of one replicate is at ``least`` the law's."""
    variance = np.maximum(path.var(axis=0, ddof=1), least)
    return Pivot(path.mean(axis=0), np.sqrt(variance / len(path)), np.asarray, len(path))


def known_mean(path: np.ndarray, law: np.ndarray) -> Pivot:
    """Return the pivot of squares of nearly normal errors: R·mean/law is χ² on R degrees (a score, nothing estimated).

    On the scale of the cube root, which is near normal for any R (Wilson & Hilferty 1931); the last look: the mean
    over t of Q_t/law.
    """
    replicates = len(path)
    share = (path / law).mean(axis=1)
    # with the independent t that would give its variance, its own χ² has fewer degrees of freedom
    spread = np.maximum(share.std(ddof=1) / share.mean(), np.sqrt(2 / path.shape[1])) / np.sqrt(replicates)
    error = np.append(np.full(path.shape[1], np.sqrt(2 / replicates)), spread)
    bias = 1 - np.square(error) / 9

    def scale(values: np.ndarray) -> np.ndarray:
        return np.cbrt(np.append(values / law, np.mean(values / law)))

    estimate = np.cbrt(np.append(path.mean(axis=0) / law, share.mean())) / bias
    return Pivot(estimate, error / 3, scale, replicates, skew=0.5,
                 influence=np.column_stack([path / law, share]) / 3)


# ------------------------------------------------------------------------------------------- studies


def describe(law: type[Law], study: Study, branch: Branch, *, regime: str, model: str, source: tuple[str, ...],
             steady: bool = True) -> None:
    """Refuse a branch that a law does not speak of: another regime, model or source, a fork, a change of rows."""
    def no(what: str) -> InputError:
        return InputError(f"the law {law.kind} {what}")

    if branch.regime.kind != regime and not (regime == "any"):
        raise no(f"speaks of regime {regime}, and branch '{branch.name}' is {branch.regime.kind}")
    if branch.model.kind != model:
        raise no(f"speaks of model kind {model}, and branch '{branch.name}' has {branch.model.kind}")
    if study.source.kind not in source:
        raise no(f"needs source kind {' or '.join(source)}, whose truth is known; the study has {study.source.kind}")
    if branch.from_ is not None:
        raise no(f"counts from real data, and branch '{branch.name}' is a fork of '{branch.from_}'")
    if steady and branch.rows != study.rows:
        raise no(f"needs as many rows in every generation, and branch '{branch.name}' has {branch.rows} after a first "
                 f"pool of {study.rows}; leave its rows out")
