"""What a planner is asked: the ways to keep real data in a loop, the law that covers each, and what each costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from pydantic import ValidationError

from collapse import laws, loop, registry
from collapse.advice import search
from collapse.advice.condition import Keep, Of
from collapse.advice.search import Found, Knob, Point
from collapse.data import Schema
from collapse.errors import InputError, nearest
from collapse.laws import categorical, effective, passage, real
from collapse.metrics import measure_all
from collapse.metrics._classifier import Classifier, applies
from collapse.regimes.base import Mixed, Regime
from collapse.study import sweep
from collapse.study.experiment import Branch
from collapse.study.parse import Study

#: Ways to keep a share of real rows; the ways without one; and all of them, in the order of the answer.
SHARES = ("anchor", "redraw", "refresh", "weighted")
OPTIONS = (*SHARES, "rows", "window", "accumulate")
#: The branches that knobs have in common: no real rows kept, and all.
NONE, ALL = "replace", "accumulate"
#: Rows of a generation are looked for up to so many times the study's.
MOST_ROWS = 16
#: Weights are hundredths.
HUNDRED = 100
#: Rounds of a search on lineages drawn from a law: down to the last whole number.
DRAWN_ROUNDS = 24
#: Lineages of a law that is drawn, at most and at least, and numbers that may be drawn for one setting.
LINEAGES, LEAST_LINEAGES, NUMBERS = 10_000, 2_000, 4 * 10**7
#: The same of a median, of which each draw of the bootstrap is sorted.
MEDIAN_LINEAGES = 500
#: Categories beyond which counts are no faster drawn than rows.
MOST_CATEGORIES = 1_000


@dataclass(frozen=True)
class Option:
    """One way to keep the condition. A setting x of its knob is the value x·``unit`` of ``key`` under ``regime``."""

    name: str
    regime: str
    key: str
    knob: Knob
    unit: float = 1.0
    fixed: Mapping[str, Any] | None = None

    def value(self, x: int) -> int | float:
        """Return the value of the study file's key, in as few digits as say it."""
        if self.unit == 1:
            return x
        exact = x * self.unit
        return next(short for digits in range(2, 13) if abs((short := round(exact, digits)) / self.unit - x) < 0.4)

    @property
    def body(self) -> dict[str, Any]:
        """Return the branch as a study file has it, without the key."""
        return {"regime": self.regime, **(self.fixed or {})}

    def branch_name(self, x: int) -> str:
        """Return the branch at a setting; where it is one of the common ones, that."""
        if x == self.knob.low:
            return NONE
        if self.name == "window" and x == self.knob.high:  # nothing is deleted up to the horizon
            return ALL
        return f"{self.name}-{sweep.label(self.key, self.value(x), self.name)}"

    def branch(self, study: Study, x: int) -> Branch:
        """Return the branch at a setting as laws and costs see it."""
        rows = x if self.key == "rows" else study.rows
        body = self.body | ({} if self.key == "rows" else {self.key: self.value(x)})
        name = self.branch_name(x)
        return plain(study, name, {"regime": name} if name in (NONE, ALL) else body, rows)


def plain(study: Study, name: str, body: Mapping[str, Any], rows: int | None = None) -> Branch:
    """Return a branch from real data on, with the study's model."""
    settings = {key: value for key, value in body.items() if key != "regime"}
    regime: Regime = registry.find("regimes", body["regime"])(**settings)
    return Branch(name, regime, None, 0, study.generations, study.model, rows or study.rows, study.seed, (),
                  frozenset())


def options(study: Study, horizon: int, bank: int | None) -> tuple[dict[str, Option], dict[str, str]]:
    """Return the options with a knob, and why the others are none for this data and model.

    ``bank`` is how many real rows there are beside the reference (None: as many as one likes).
    """
    n = study.rows
    third = n if bank is None else min(n, bank // 3)
    found, without = {}, {}
    shares = {"anchor": n - 1, "redraw": n - 1, "refresh": min(n - 1, third)}
    for name, high in shares.items():
        if high < 1:
            without[name] = "there are too few rows for a share of them"
            continue
        first = {0, high, *(max(1, min(high, round(share * n))) for share in (0.05, 0.2, 0.5))}
        found[name] = Option(name, name, "real", Knob(name, 0, high, tuple(sorted(first))), 1 / n)
    fixed = {} if third == n else {"n_real": max(third, 1)}
    weigh = Option("weighted", "weighted", "real", Knob("weighted", 0, HUNDRED - 1, (0, 5, 20, 50, 80, 99), True),
                   1 / HUNDRED, fixed)
    try:
        registry.find("regimes", "weighted")(real=0.5, **fixed).check(study.model, n)
        if third < 1:
            raise InputError("there are too few rows for fresh ones")
        found["weighted"] = weigh
    except InputError as error:
        without["weighted"] = str(error).removeprefix("real: ")
    most = MOST_ROWS * n if bank is None else min(MOST_ROWS * n, bank)  # calibrated by as many real rows
    if most > n:
        rows = Knob("rows", n, most, tuple(sorted({n, min(4 * n, most), most})))
        found["rows"] = Option("rows", NONE, "rows", rows)
    else:
        without["rows"] = f"a generation has all of the {bank} real rows that there are beside the reference"
    first = {1, min(2, horizon), (horizon + 1) // 2, horizon}
    found["window"] = Option("window", "window", "k", Knob("window", 1, horizon, tuple(sorted(first))))
    return found, without


# ------------------------------------------------------------------------------------------------ laws


@dataclass(frozen=True)
class Covered:
    """What a law says of a branch: its name, its source, and values (T,): the metric's means, or shares of lineages."""

    law: str
    source: str
    values: np.ndarray


def law(study: Study, branch: Branch, keep: Keep, horizon: int, of: Of) -> Covered | None:
    """Return what an exact law says of the condition on a branch, or None where none covers it.

    Of the mean: the means of the metric. Of a share: the share of lineages that have kept the condition so far, which
    no expectation can tell. Of the median there is none.
    """
    if of.share is not None:
        return _passage(study, branch, keep, horizon)
    return _means(study, branch, keep, horizon) if of.name == "mean" else None


def ends(study: Study, keep: Keep, horizon: int, of: Of) -> dict[str, bool]:
    """Return whether the branches that knobs have in common, no real data and all, keep the condition, as laws know."""
    found = {name: law(study, plain(study, name, {"regime": name}), keep, horizon, of) for name in (NONE, ALL)}
    return {name: bool(of.asked(keep).met(known.values).all()) for name, known in found.items() if known is not None}


def by_law(study: Study, option: Option, keep: Keep, horizon: int, of: Of,
           ends: Mapping[str, bool]) -> tuple[Found, Covered] | None:
    """Return the least setting of an option by an exact law, and that law; None where none covers it.

    ``ends`` is what :func:`ends` found: where no real data keeps the condition, that is the least of every option.
    """
    def known(x: int) -> Covered | None:
        return law(study, option.branch(study, x), keep, horizon, of)

    def values(x: int) -> np.ndarray:
        found = known(x)
        assert found is not None  # what covers the first settings covers all
        return found.values

    if not all(known(x) for x in ((option.knob.low,) if ends.get(NONE) else option.knob.first)):
        return None
    found = search.by_law(option.knob, values, of.asked(keep))
    own = known(found.best if found.least is None else found.least)
    assert own is not None
    return found, own


def certain(options: Iterable[Option], ends: Mapping[str, bool]) -> dict[Point, bool]:
    """Return what laws know of the ends of knobs, by point; ``ends`` is what :func:`ends` found."""
    return {(option.name, x): ends[branch] for option in options for x in (option.knob.low, option.knob.high)
            if (branch := option.branch_name(x)) in ends}


def drawable_option(study: Study, option: Option, keep: Keep, of: Of) -> bool:
    """Return whether lineages can be drawn from their law at every setting of an option."""
    return all(drawable(study, option.branch(study, x), keep, of) for x in option.knob.first)


def by_lineages(study: Study, option: Option, keep: Keep, horizon: int, of: Of,
                ends: Mapping[str, bool]) -> tuple[Found, np.ndarray]:
    """Return the least setting of an option by lineages drawn from their law, and those of the lowest, (R, T)."""
    @cache
    def values(x: int) -> np.ndarray:
        most = max(held(study, option.branch(study, at)) for at in option.knob.first)
        return drawn(study, option.branch(study, x), keep, horizon, of, most)

    found = search.search([option.knob], lambda points: {(key, x): values(x) for key, x in points}, keep, of,
                          rounds=DRAWN_ROUNDS, precision=0.0, certain=certain([option], ends))
    return found[option.name], values(option.knob.low)


def _means(study: Study, branch: Branch, keep: Keep, horizon: int) -> Covered | None:
    t = np.arange(1, horizon + 1)
    for name in laws.names():
        kind = laws.find(name)
        if kind.label != "exact":
            continue
        try:
            made = kind.of(study, branch, keep.feature)
        except (InputError, ValidationError):
            continue
        if made.feature == keep.feature and keep.metric in (lines := made.lines(t)):
            return Covered(name, kind.source, np.asarray(lines[keep.metric], dtype=float))
    return _weighted(study, branch, keep, horizon) or _parts(study, branch, keep, horizon) or \
        _walk(study, branch, keep, horizon)


def _passage(study: Study, branch: Branch, keep: Keep, horizon: int) -> Covered | None:
    """Return the share of lineages that keep a bound on their variance, or on a category's share, under replace."""
    model: Any = branch.model
    source: Any = study.source
    if branch.regime.kind != NONE or branch.from_ is not None:
        return None
    if source.kind == model.kind == "gaussian" and source.dim == 1 and model.variance is None and not keep.feature and \
            keep.metric in ("fit_variance", "fit_log_det"):
        with np.errstate(over="ignore"):
            bound = float(np.exp(keep.bound)) if keep.metric == "fit_log_det" else keep.bound
        return Covered("first passage of a variance", "exact: log v is a sum of independent log χ² steps "
                       "(collapse.laws.passage)", passage.variance(horizon, study.rows, branch.rows, model.ddof, bound,
                                                                   keep.sign > 0))
    if keep.metric == "fit_share" and source.kind == "zipf" and model.kind == "categorical" and \
            model.temperature == 1 and not model.smoothing and not model.favour and \
            max(branch.rows, study.rows) <= categorical.STATES and keep.feature in source.words:
        counts = [keep.met(np.arange(n + 1) / n) for n in (branch.rows, study.rows)]
        p = float(source.probabilities[source.words.index(keep.feature)])
        return Covered("first passage of a share", "exact: Wright 1931, Genetics 16:97 (collapse.laws.passage)",
                       passage.share(horizon, study.rows, branch.rows, p, *counts))
    return None


def drawable(study: Study, branch: Branch, keep: Keep, of: Of) -> bool:
    """Return whether lineages of a branch can be drawn from their law: statistics of samples, without the rows.

    Not for the mean, of which heavy tails leave little in any number of lineages.
    """
    model: Any = branch.model
    source: Any = study.source
    if (source.kind, model.kind) == ("gaussian", "gaussian"):
        known = source.dim == 1
    else:
        known = (source.kind, model.kind) == ("zipf", "categorical") and len(source.probabilities) <= MOST_CATEGORIES
    return (known and of.name != "mean" and branch.from_ is None and keep.metric in model.facts
            and branch.regime.kind != "control" and (branch.regime.rows_free or isinstance(branch.regime, Mixed)))


def held(study: Study, branch: Branch) -> int:
    """Return how many numbers a lineage of a branch holds while it is drawn from its law."""
    numbers = branch.rows if isinstance(branch.regime, Mixed) and not branch.regime.fresh else 1
    return numbers + (20 * len(study.source.probabilities) if study.source.kind == "zipf" else 0)  # type: ignore[attr-defined]


def drawn(study: Study, branch: Branch, keep: Keep, horizon: int, of: Of, numbers: int) -> np.ndarray:
    """Return the condition's series (R, T) on lineages of a branch drawn from their law: exact but for their number.

    ``numbers``, the most that :func:`held` says of what is compared, sets how many: settings are compared in pairs.
    """
    count = MEDIAN_LINEAGES if of.share is None else \
        int(np.clip(NUMBERS // (numbers * horizon), LEAST_LINEAGES, LINEAGES))
    size, found = max(1, min(count, NUMBERS // (8 * numbers))), []
    for block, start in enumerate(range(0, count, size)):
        path = loop.run(study.source, branch.model, branch.regime, branch.rows, horizon, min(size, count - start),
                        seed=study.seed, name=f"{study.name}-lineages-{block}", rows_free=True, record=(keep.metric,),
                        first_rows=study.rows)
        found.append(path.paths[keep.metric, keep.feature])
    return np.concatenate(found)


def _gaussian(study: Study, branch: Branch, keep: Keep) -> bool:
    """Return whether a branch fits mean and variance of a Gaussian by maximum likelihood."""
    model: Any = branch.model
    return (study.source.kind == model.kind == "gaussian" and model.ddof == 0 and model.variance is None
            and branch.from_ is None and not (keep.feature and study.source.dim == 1))  # type: ignore[attr-defined]


def _weighted(study: Study, branch: Branch, keep: Keep, horizon: int) -> Covered | None:
    rows = {"fit_variance": 0, "fit_error2": 1}
    if branch.regime.kind != "weighted" or keep.metric not in rows or not _gaussian(study, branch, keep) or \
            study.source.dim != 1 or branch.rows != study.rows:  # type: ignore[attr-defined]
        return None
    form = real.weighted(horizon, study.rows, *branch.regime.weight(branch.rows))  # type: ignore[attr-defined]
    return Covered("gaussian.weighted", "exact recursion, derived; with equal weights a row it is gaussian.refresh",
                   form[rows[keep.metric]][1:])


def _parts(study: Study, branch: Branch, keep: Keep, horizon: int) -> Covered | None:
    """Return the share of real diversity that a rule of whole parts keeps: a variance, or 1 − Σp² of categories."""
    if branch.regime.kind not in ("replace", "window"):
        return None
    model: Any = branch.model
    scale = 1.0
    if keep.metric == "fit_simpson" and not keep.feature and model.kind == "categorical" and \
            study.source.kind == "zipf" and branch.from_ is None and \
            model.temperature == 1 and not model.smoothing and not model.favour:
        scale = float(1 - np.square(study.source.probabilities).sum())  # type: ignore[attr-defined]
    elif keep.metric != "fit_variance" or not _gaussian(study, branch, keep):
        return None
    kept = 1 if branch.regime.kind == "replace" else branch.regime.k  # type: ignore[attr-defined]
    parts, pools, made = {"real": study.rows}, [], {}
    for t in range(horizon):
        pools.append(parts)
        made[f"{t}"] = t
        parts = dict([*parts.items(), (f"{t}", branch.rows)][-kept:])
    return Covered("effective share", "exact, from common ancestry of rows (collapse.laws.effective)",
                   scale * effective.heterozygosity(pools, made))


def _walk(study: Study, branch: Branch, keep: Keep, horizon: int) -> Covered | None:
    """Return the error of a mean of known variance under replace: a random walk with steps of 1/n true variances."""
    model: Any = branch.model
    if branch.regime.kind != NONE or keep.metric != "fit_error2" or keep.feature or branch.from_ is not None or \
            not study.source.kind == model.kind == "gaussian" or model.variance is None or \
            study.source.dim != 1 or not np.isclose(model.variance, study.source.truth()["covariance"][0, 0]):  # type: ignore[attr-defined]
        return None
    return Covered("random walk", "exact: each generation adds the variance of a mean of n rows",
                   1 / study.rows + np.arange(horizon) / branch.rows)


# ----------------------------------------------------------------------------------------------- costs


@dataclass(frozen=True)
class Cost:
    """What one lineage takes to the horizon: rows, seconds of computing (None: not measured), bytes on disk.

    ``measured``: the bytes are those of the nodes' files, and not estimated from rows and columns.
    """

    real: int
    synthetic: int
    seconds: float | None
    bytes: int
    measured: bool


def cost(study: Study, branch: Branch, horizon: int, schema: Schema, seconds: float | None = None,
         stored: int | None = None) -> Cost:
    """Return the cost of a branch; ``stored`` bytes are estimated from rows and columns where they are not measured.

    Real rows are those of the first pool and all fresh ones; anchor and redraw take theirs from the first pool.
    """
    turns = horizon - 1
    fresh = branch.regime.real_rows(branch.rows)
    again = 0 if branch.regime.fresh else round(getattr(branch.regime, "real", 0) * branch.rows)  # written anew
    real_rows, made = study.rows + fresh * turns, loop.sample_rows(branch, study) * horizon
    if stored is not None:
        return Cost(real_rows, made, seconds, stored, True)
    width = sum(8 if c.kind == "number" else 4 * int(np.prod(c.shape, dtype=int)) for c in schema.columns)
    return Cost(real_rows, made, seconds, width * (real_rows + again * turns + made), False)


# ------------------------------------------------------------------------------------------- the study


@dataclass(frozen=True, eq=False)
class Ground:
    """The data that a study starts from."""

    study: Study

    @cached_property
    def parts(self) -> loop.Split:
        """Return generation 0, one replicate."""
        return loop.split(self.study.source, self.study.rows, 1, loop.address(self.study, 0))

    @property
    def bank(self) -> int | None:
        """Return how many real rows there are beside the reference; None: as many as one likes."""
        return None if self.parts.bank is None else self.parts.bank.n

    @property
    def schema(self) -> Schema:
        """Return the columns."""
        return self.parts.reference.schema

    def check(self, keep: Keep) -> None:
        """Refuse a condition on what this data and model have no measurement of; fits the model once where it must.

        Raises
        ------
        InputError
            With the nearest that there is.
        """
        study, parts = self.study, self.parts
        if keep.metric.startswith("fit_"):
            rng = loop.address(study, 1)
            parameters = study.model.fit(parts.first, rng.at("fit"))
            sample = study.model.make(parameters, self.schema, study.rows, rng.at("sample"), lambda: parts.first)
            found = loop.fitted(study.model, parameters, sample, parts.reference, study.source, study.rows,
                                rng.at("inspect"))
        else:
            blank = Classifier.blank(self.schema) if applies(self.schema) else None
            file = file_of(keep.metric)
            frame = loop.freeze(replace(study, metrics=(file,) if file else None), parts.reference, parts.bank, blank)
            found = measure_all(parts.first, parts.first, frame, lambda: parts.first)
        features = {item.feature for item in found if item.metric == keep.metric}
        if not features:
            raise InputError(f"keep: this study's data and model have no measurement {keep.metric}")
        if keep.feature not in features:
            whole = "" if keep.feature else ", and none of the whole"
            raise InputError(f"keep: {keep.metric} has no '{keep.feature}'{whole}"
                             f"{nearest(keep.feature, features - {''})}")


def file_of(metric: str) -> str | None:
    """Return the file of metrics that measures ``metric``; None: the fits themselves say it."""
    name = metric.removesuffix("_step")
    return next((kind for kind in registry.names("metrics") if name in registry.find("metrics", kind).facts), None)
