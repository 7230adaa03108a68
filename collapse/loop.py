"""One turn of the loop, in memory: split real data, fit, sample, measure, make the next pool.

The pipeline calls these functions node by node; a notebook can call them in a plain ``for``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collapse.data import Rows, Schema
from collapse.errors import InputError, NodeError, nearest
from collapse.frame import Frame
from collapse.metrics import measure_all
from collapse.metrics._classifier import Classifier, applies
from collapse.metrics._partition import check_grouping
from collapse.metrics.base import Measurement
from collapse.models.base import Model, Parameters
from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Mixed, Regime
from collapse.rng import Rng
from collapse.sources.base import Source
from collapse.study.experiment import Branch, Experiment

#: Share of a finite source that is held out as the reference.
HELD_OUT = 0.3
#: Rows of the reference, and of the real rows beside it, that an infinite source is asked for.
EXACT_ROWS = 5_000
#: A reference needs this many rows for tails of 5 % to hold any.
LEAST_REFERENCE = 40


def address(study: Experiment, generation: int, seed: int | None = None) -> Rng:
    """Return the randomness of one generation of a study; branches share it."""
    return Rng(study.seed if seed is None else seed, study.name, generation)


@dataclass(frozen=True, eq=False)
class Split:
    """Generation 0: ``reference`` is never trained on; ``bank`` holds all other real rows (None: infinite)."""

    reference: Rows
    bank: Rows | None
    first: Rows
    #: What a source that divides itself found, and files to keep beside the bank, name → text.
    found: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def _drawn(source: Source, n: int, replicates: int, rng: Rng) -> Rows:
    rows = source.draw(n, replicates, rng)
    if (rows.replicates, rows.n) != (replicates, n):
        raise InputError(f"source {source.kind} drew {rows.replicates} replicates of {rows.n} rows where {replicates} "
                         f"of {n} were asked")
    return rows


def split(source: Source, rows: int, replicates: int, rng: Rng) -> Split:
    """Split a source into reference, bank and first pool: as it divides itself, or stratified where it is labelled.

    Raises
    ------
    InputError
        If the source has fewer rows than the split needs.
    """
    if not source.finite:
        return Split(_drawn(source, EXACT_ROWS, 1, rng.at("reference")), None,
                     _drawn(source, rows, replicates, rng.at("first")))
    own = source.divide(HELD_OUT, rng.at("split"))
    if own is not None:
        check_size(source, own.bank.n + own.reference.n, own.bank.n, own.reference.n, rows)
        first = own.bank.take(rng.at("first").choice(own.bank.n, rows, replicates))
        return Split(own.reference, own.bank, first, own.found, own.files)
    real = source.load()
    order = rng.generator("split").permutation(real.n)
    groups = np.zeros(real.n, dtype=int) if real.label is None else real.label[0]
    held = np.zeros(real.n, dtype=bool)
    for group in np.unique(groups):
        members = order[groups[order] == group]
        held[members[: round(HELD_OUT * len(members))]] = True
    reference, bank = real.take(order[held[order]][None]), real.take(order[~held[order]][None])
    check_size(source, real.n, bank.n, reference.n, rows)
    return Split(reference, bank, bank.take(rng.at("first").choice(bank.n, rows, replicates)))


def check_size(source: Source, total: int, bank: int, reference: int, rows: int) -> None:
    """Refuse a source that is too small for the split."""
    if reference < LEAST_REFERENCE or rows > bank:
        need = max(round(LEAST_REFERENCE / HELD_OUT), round(rows / (1 - HELD_OUT)))
        raise InputError(f"source '{source.kind}' has {total} {source.unit}, {bank} of them for training; "
                         f"{source.budget(rows)} needs {need} in all: lower it to {source.budget(bank)} or less, or "
                         f"use more data")


def real_data(study: Experiment, first: Part, bank: Rows | None) -> RealData:
    """Return what later generations may see of reality."""
    if bank is not None:
        return RealData.from_bank(study.real, first, bank)
    return RealData(study.real, first, study.source.draw, exact=True)


def freeze(study: Experiment, reference: Rows, bank: Rows | None, stored: Classifier | None = None) -> Frame:
    """Return the frozen frame in which every sample is measured; ``stored`` is its classifier of images."""
    rng = address(study, 0)
    beside = bank if bank is not None else study.source.draw(EXACT_ROWS, 1, rng.at("beside"))
    tails = tuple((tail.condition, tail.weight) for tail in study.tails)
    return Frame.freeze(reference, beside, tails, study.rows, study.metrics, study.groups, stored)


#: Features beyond which the reference's moments are no truth to compare with.
MOST_FEATURES = 64


def truth(source: Source, reference: Rows) -> dict[str, np.ndarray]:
    """Return what is known of reality: by the source itself, or else the moments and shares of the reference."""
    known = source.truth()
    if known:
        return known
    found = {}
    if 0 < reference.schema.width <= MOST_FEATURES and not reference.schema.gaps:
        x = reference.matrix()[0]
        found = {"mean": x.mean(axis=0), "covariance": np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1])}
    for column in reference.schema.columns:
        if column.kind == "category":
            shares = np.bincount(reference[column.name][0], minlength=len(column.categories)) / reference.n
            found[f"shares.{column.name}"] = shares
        elif column.kind == "text":
            found[f"text.{column.name}"] = reference[column.name][0]
    return found


def fitted(model: Model, parameters: Parameters, sample: Rows, reference: Rows, source: Source, n: int,
           rng: Rng) -> list[Measurement]:
    """Return what the fitted models say of themselves, beside the truth, and of their sample and of the reference."""
    return [*model.statistics(parameters, reference.schema, truth(source, reference), n),
            *model.inspect(parameters, sample, reference, rng)]


# ------------------------------------------------------------------------------------------- in memory


@dataclass(frozen=True, eq=False)
class Run:
    """A branch in memory. ``paths`` holds what the fits say of themselves, (R, T) by (metric, feature)."""

    paths: dict[tuple[str, str], np.ndarray]
    parameters: Parameters
    pool: Pool
    model: Model
    regime: Regime
    rows: int

    def __getitem__(self, metric: str) -> np.ndarray:
        """Return the path (R, T) of a metric of the whole; column 0 is the fit to real data, t = 1."""
        return self.paths[metric, ""]


def run(source: Source, model: Model, regime: Regime, rows: int, generations: int, replicates: int = 1, *,
        seed: int = 0, name: str = "run", rows_free: bool = False, record: Collection[str] | None = None,
        first_rows: int | None = None) -> Run:
    """Run one branch in memory: ``generations`` fits, the first to real data, of R independent lineages at once.

    Parameters
    ----------
    rows
        Rows of every sample, and of the first pool unless ``first_rows`` says otherwise.
    seed, name
        Address of the randomness: those of a study give the study's own numbers.
    rows_free
        Draw the sufficient statistics of a sample from their own law instead of its rows: a million replicates. Under a
        regime that keeps rows of the first pool, that pool has rows all the same.
    record
        Metrics to keep; all by default.

    Raises
    ------
    InputError
        If model, regime and rows do not go together.
    NodeError
        If a fit fails.
    """
    regime.check(model, rows)
    rng, begun = Rng(seed, name, 0), first_rows or rows
    if rows_free:
        _check_rows_free(source, model, regime)
        schema, facts = source.draw(1, 1, rng.at("schema")).schema, source.truth()

        def free(n: int, at: Rng) -> Part:
            return _free(model, facts, schema, n, replicates, at, "real", 0)

        first = free(begun, rng.at("first")) if regime.rows_free else \
            Part.of(source.draw(begun, replicates, rng.at("first")), "real", 0, synthetic=False)
        real: RealData = _FreeReal("real", first, source.draw, True, free)
    else:
        parts = split(source, begun, replicates, rng)
        schema, bank = parts.reference.schema, parts.bank
        facts = truth(source, parts.reference)
        first = Part.of(parts.first, "real", 0, synthetic=False)
        real = RealData.from_bank("real", first, bank) if bank else RealData("real", first, source.draw, exact=True)
    model.check(schema, rows)
    pool = Pool.of(first)
    parameters: Parameters = {}
    paths: dict[tuple[str, str], np.ndarray] = {}
    for t in range(1, generations + 1):
        here, made = Rng(seed, name, t), f"run-{t:04d}"
        parameters = model.learn(pool, here.at("fit"), parameters if t > 1 else None)
        left = set(paths)
        for found in model.statistics(parameters, schema, facts, rows):
            key = found.metric, found.feature
            if record is None or found.metric in record:
                path = paths.setdefault(key, np.empty((generations, replicates)))
                path[t - 1] = found.values
                left.discard(key)
            if t > 1 and not left:
                break  # what comes after is not recorded, and need not be computed
        if t < generations:
            at = here.at("sample")
            sample = _free(model, parameters, schema, rows, replicates, at, made, t) if rows_free else \
                Part.of(model.make(parameters, schema, rows, at, first.rows), made, t, synthetic=True)
            pool = regime.next_pool(pool, sample, real, here.at("regime"))
    return Run({key: path.T for key, path in paths.items()}, parameters, pool, model, regime, rows)


@dataclass(frozen=True, eq=False)
class _FreeReal(RealData):
    """Real data of which only the statistics are drawn."""

    free: Callable[[int, Rng], Part]

    def fresh(self, n: int, rng: Rng) -> Part:
        return self.free(n, rng)


def _free(model: Model, parameters: Parameters, schema: Schema, n: int, replicates: int, rng: Rng, origin: str,
          generation: int) -> Part:
    """Return a part of ``n`` rows a replicate that has statistics and no rows; its head is drawn anew at that size."""
    if origin == "real":  # the truth, drawn as it is: no temperature, no planted bias
        model = type(model)()
        parameters = {key: np.broadcast_to(value, (replicates, *value.shape)) for key, value in parameters.items()}

    def none() -> dict[str, np.ndarray]:
        raise NodeError("a rows-free run has no rows")

    def head(m: int) -> Part:
        return part if m == n else _free(model, parameters, schema, m, replicates, rng, origin, generation)

    part = Part(origin, origin != "real", generation, schema, np.full(replicates, n), none, redraw=head)
    part.summaries[model.summary or ""] = model.draw(parameters, schema, n, rng)
    return part


def _check_rows_free(source: Source, model: Model, regime: Regime) -> None:
    if model.summary is None or type(model).draw is Model.draw:
        raise InputError(f"model kind {model.kind} has no rows-free path; take gaussian or categorical")
    if not regime.rows_free and not isinstance(regime, Mixed):
        raise InputError(f"regime {regime.kind} keeps single rows, so it has no rows-free path; leave rows_free out")
    if source.finite or source.kind not in ("gaussian", "zipf"):
        raise InputError(f"source kind {source.kind} has no rows-free path; take gaussian or zipf")


def sample_rows(branch: Branch, study: Experiment) -> int:
    """Return how many rows a generation samples: the branch's, and at least what is measured."""
    return max(branch.rows, study.rows)


def digest(parameters: Parameters) -> str:
    """Return the SHA-256 of fitted parameters: names, types, shapes and values."""
    state = hashlib.sha256()
    for name in sorted(parameters):
        array = np.ascontiguousarray(parameters[name])
        state.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def real_inputs(study: Experiment, regime: Regime, branch: Branch) -> list[str]:
    """Return every way in which reality reaches this branch beyond the first pool's rows."""
    inputs = list(study.source.real_inputs)
    inputs += getattr(branch.model, "real_inputs", ())
    if regime.fresh:
        inputs.append("fresh real rows every generation")
    elif hasattr(regime, "real"):
        inputs.append("rows of the first pool in every training set")
    return inputs


def check_study(study: Experiment) -> None:
    """Refuse a study that its data or models cannot carry; reads the source.

    Raises
    ------
    InputError
        Naming the file, the key and the remedy.
    """
    path = study.path
    rng = address(study, 0)
    try:
        parts = split(study.source, study.rows, 1, rng)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    schema = parts.reference.schema
    for column in schema.gaps:
        if np.isnan(parts.reference[column.name]).all():
            raise InputError(f"{path}: source: column '{column.name}' is missing in all {parts.reference.n} reference "
                             f"rows, so that nothing can be held against it; write drop: [{column.name}]")
    for index, tail in enumerate(study.tails):
        try:
            mass = tail.condition.mask(parts.reference).mean()
        except InputError as error:
            raise InputError(f"{path}: tails[{index}].where: {error}") from None
        if mass == 0:
            raise InputError(f"{path}: tails[{index}].where: no reference row has '{tail.where}'; choose a region "
                             f"that real rows reach")
    for index, names in enumerate(study.groups):
        where = f"groups[{index}]" if len(study.groups) > 1 else "groups"
        try:
            check_grouping(names, parts.reference)
        except InputError as error:
            raise InputError(f"{path}: {where}: {error}") from None
    try:
        study.model.check(schema, study.rows)  # the calibration fits it, whatever the branches do
    except InputError as error:
        raise InputError(f"{path}: model: {error}") from None
    for name, branch in study.branches.items():
        where = f"branches.{name}"
        try:
            if branch.own_floor:
                branch.model.check(schema, min(branch.rows, study.rows))
        except InputError as error:
            raise InputError(f"{path}: {where}: model: {error}") from None
        fresh = branch.regime.real_rows(branch.rows)
        if parts.bank is not None and fresh > parts.bank.n // 3:
            raise InputError(f"{path}: {where}: regime '{branch.regime.kind}' draws {fresh} fresh real rows per "
                             f"generation, more than a third of the {parts.bank.n} in the bank; lower rows to "
                             f"{parts.bank.n // 3} or less")
        if parts.bank is not None and branch.own_floor and branch.rows > parts.bank.n:
            raise InputError(f"{path}: {where}: rows is {branch.rows}, and its calibration fits so many real rows, of "
                             f"which the bank has {parts.bank.n}; lower rows to {parts.bank.n} or less")
        kept = 0 if branch.regime.fresh else round(getattr(branch.regime, "real", 0) * branch.rows)
        if kept > study.rows:
            raise InputError(f"{path}: {where}: keeps {kept} rows of a first pool of {study.rows}; lower real or rows")
    _check_gates(study, parts)


def _check_gates(study: Experiment, parts: Split) -> None:
    """Refuse a gate on a metric that this data does not have."""
    sets = {"gates": study.gates, **{f"branches.{b.name}.gates": b.gates for b in study.branches.values()}}
    if not any(sets.values()):
        return
    blank = Classifier.blank(parts.reference.schema) if applies(parts.reference.schema) else None
    frame = freeze(study, parts.reference, parts.bank, blank)  # what is measured does not hang on what it has learned
    measured = {item.metric for item in measure_all(parts.first, None, frame) if item.feature == ""}
    for where, gates in sets.items():
        for gate in gates:
            if gate.metric.removesuffix("_step") not in measured:
                raise InputError(f"{study.path}: {where}.{gate.metric}: this study's data has no such measurement"
                                 f"{nearest(gate.metric, measured)}")
