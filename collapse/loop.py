"""One turn of the loop, in memory: split real data, fit, sample, measure, make the next pool.

The pipeline calls these functions node by node; a notebook can call them in a plain ``for``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from collapse.data import Rows
from collapse.errors import InputError, nearest
from collapse.metrics import measure_all
from collapse.metrics.frame import Frame
from collapse.models.base import Parameters
from collapse.params import Branch, Study
from collapse.pool import Part, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng
from collapse.sources.base import Source

#: Share of a finite source that is held out as the reference.
HELD_OUT = 0.3
#: Rows of the reference, and of the real rows beside it, that an infinite source is asked for.
EXACT_ROWS = 5_000
#: A reference needs this many rows for tails of 5 % to hold any.
LEAST_REFERENCE = 40


def address(study: Study, generation: int, seed: int | None = None) -> Rng:
    """Return the randomness of one generation of a study; branches share it."""
    return Rng(study.seed if seed is None else seed, study.name, generation)


@dataclass(frozen=True, eq=False)
class Split:
    """Generation 0: ``reference`` is never trained on; ``bank`` holds all other real rows (None: infinite)."""

    reference: Rows
    bank: Rows | None
    first: Rows


def split(source: Source, rows: int, replicates: int, rng: Rng) -> Split:
    """Split a source into reference, bank and first pool, stratified where it is labelled.

    Raises
    ------
    InputError
        If the source has fewer rows than the split needs.
    """
    if not source.finite:
        reference = source.draw(EXACT_ROWS, 1, rng.at("reference"))
        return Split(reference, None, source.draw(rows, replicates, rng.at("first")))
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
        raise InputError(f"source '{source.kind}' has {total} rows, {bank} of them for training; rows: {rows} needs "
                         f"{need} in all: lower rows to {bank} or less, or use more data")


def real_data(study: Study, first: Part, bank: Rows | None) -> RealData:
    """Return what later generations may see of reality."""
    if bank is not None:
        return RealData.from_bank(study.real, first, bank)
    return RealData(study.real, first, study.source.draw, exact=True)


def freeze(study: Study, reference: Rows, bank: Rows | None) -> Frame:
    """Return the frozen frame in which every sample of the study is measured."""
    rng = address(study, 0)
    beside = bank if bank is not None else study.source.draw(EXACT_ROWS, 1, rng.at("beside"))
    return Frame.freeze(reference, beside, tuple((tail.condition, tail.weight) for tail in study.tails), study.rows)


def sample_rows(branch: Branch, study: Study) -> int:
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


def real_inputs(study: Study, regime: Regime, branch: Branch) -> list[str]:
    """Return every way in which reality reaches this branch beyond the first pool's rows."""
    inputs = list(study.source.real_inputs)
    inputs += getattr(branch.model, "real_inputs", ())
    if regime.fresh:
        inputs.append("fresh real rows every generation")
    elif hasattr(regime, "real"):
        inputs.append("rows of the first pool in every training set")
    return inputs


def check_study(study: Study) -> None:
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
    for index, tail in enumerate(study.tails):
        try:
            mass = tail.condition.mask(parts.reference).mean()
        except InputError as error:
            raise InputError(f"{path}: tails[{index}].where: {error}") from None
        if mass == 0:
            raise InputError(f"{path}: tails[{index}].where: no reference row has '{tail.where}'; choose a region "
                             f"that real rows reach")
    _check_gates(study, parts)
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
        kept = round(getattr(branch.regime, "real", 0) * branch.rows)
        if not branch.regime.fresh and kept > study.rows:
            raise InputError(f"{path}: {where}: keeps {kept} rows of a first pool of {study.rows}; lower real or rows")




def _check_gates(study: Study, parts: Split) -> None:
    """Refuse a gate on a metric that this data does not have."""
    frame = freeze(study, parts.reference, parts.bank)
    measured = {item.metric for item in measure_all(parts.first, None, frame) if item.feature == ""}
    sets = {"gates": study.gates, **{f"branches.{b.name}.gates": b.gates for b in study.branches.values()}}
    for where, gates in sets.items():
        for gate in gates:
            if gate.metric.removesuffix("_step") not in measured:
                raise InputError(f"{study.path}: {where}.{gate.metric}: this study's data has no such measurement"
                                 f"{nearest(gate.metric, measured)}")
