"""Reads the branches of a study file: regimes with what each overrides, its gates, forks and sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from collapse.errors import InputError, nearest
from collapse.metrics import facts
from collapse.models.base import Model
from collapse.study import sweep
from collapse.study.experiment import Branch, Gate
from collapse.study.keys import build, check_keys, check_name, check_whole, find_kind, part
from collapse.study.sweep import Sweep

OVERRIDES = ("model", "rows", "tokens", "generations", "gates", "seed")
#: Shared by all branches, which start from one real node and are judged by one frame.
SHARED = ("source", "replicates", "tails", "groups", "calibration", "measure", "factors", "ladder", "grid", "published",
          "title", "claims", "branches", "withdrawn", "stages", "definitions")


def branches_of(path: Path, data: Mapping[str, Any], model: Model,
                gates: tuple[Gate, ...]) -> tuple[dict[str, Branch], dict[str, Sweep]]:
    """Return the branches of a study, those of its sweeps among them, and what its templates became."""
    raw = data["branches"]
    if not isinstance(raw, dict) or not raw:
        raise InputError(f"{path}: branches must map names to regimes, such as {{replace: {{regime: replace}}}}")
    branches: dict[str, Branch] = {}
    sweeps: dict[str, Sweep] = {}
    for name, body in raw.items():
        check_name(path, "branches", name)
        if not (isinstance(body, dict) and "sweep" in body):
            branches[name] = _branch(path, name, body, data, model, gates)
            continue
        where = f"{path}: branches.{name}"
        kept = find_kind(path, f"branches.{name}.regime", "regimes", str(body.get("regime")))
        sweeps[name], cells = sweep.expand(name, body, f"{where}.sweep", kept.model_fields)
        for cell in cells:
            check_name(path, f"branches.{name}.sweep", cell.name)
            if cell.name in raw or cell.name in branches:
                raise InputError(f"{where}.sweep makes a branch '{cell.name}', and there is one of that name; rename "
                                 f"one")
            made = _branch(path, cell.name, cell.body, data, model, gates)
            branches[cell.name] = replace(made, template=name, given=frozenset(body) - {"sweep"}, shared=cell.floor)
    homes: dict[str, str] = {}
    for name, branch in branches.items():
        _check_fork(path, name, branch, branches)
        if homes.setdefault(branch.floor, branch.template or name) != (branch.template or name):
            raise InputError(f"{path}: branches.{branch.template or name}: its calibration would be called "
                             f"'{branch.floor}', as that of '{homes[branch.floor]}'; rename one")
    return branches, sweeps


def _branch(path: Path, name: str, body: Any, data: Mapping[str, Any], model: Model, gates: tuple[Gate, ...]) -> Branch:
    where = f"branches.{name}"
    if not isinstance(body, dict) or not isinstance(body.get("regime"), str):
        raise InputError(f"{path}: {where} must name its regime, such as {{regime: replace}}")
    regime_class = find_kind(path, f"{where}.regime", "regimes", body["regime"])
    for key in body:
        if key in SHARED:
            raise InputError(f"{path}: {where}.{key} cannot differ between branches, which share one real node; "
                             f"write a study of its own")
    check_keys(path, f"{where}.", body, ("regime", "from", "at", *OVERRIDES, *regime_class.model_fields))
    own = {key: value for key, value in body.items() if key in regime_class.model_fields}
    regime = build(path, where, regime_class, own)
    if ("from" in body) != ("at" in body):
        raise InputError(f"{path}: {where} needs both from (a branch) and at (a generation), or neither")
    at = body.get("at", 0)
    last = body.get("generations", data["generations"])
    check_whole(path, f"{where}.generations", last, 1, 9999)
    rows = body.get("rows", data["rows"])
    check_whole(path, f"{where}.rows", rows, 1)
    check_whole(path, f"{where}.seed", body.get("seed", data["seed"]), 0)
    if "at" in body:
        check_whole(path, f"{where}.at", at, 1)
        if at >= last:
            raise InputError(f"{path}: {where}.at is {at}, past the end; it must be below generations ({last})")
    if "model" in body:
        model = _model(path, f"{where}.model", body["model"], data["model"])
    if "gates" in body:
        gates = gates_of(path, f"{where}.gates", body["gates"])
    try:
        regime.check(model, rows)
    except InputError as error:
        raise InputError(f"{path}: {where}.{error}") from None
    return Branch(name, regime, body.get("from"), at, last, model, rows, body.get("seed", data["seed"]), gates,
                  frozenset(body))


def _model(path: Path, where: str, override: Any, base: Mapping[str, Any]) -> Model:
    """Return the study's model with a branch's keys laid over it; another kind starts afresh."""
    if not isinstance(override, dict):
        raise InputError(f"{path}: {where} must be a mapping of model keys")
    if override.get("kind", base["kind"]) == base["kind"]:
        override = {**base, **override}
    return part(path, where, "models", override)


def _check_fork(path: Path, name: str, branch: Branch, branches: dict[str, Branch]) -> None:
    if branch.from_ is None:
        return
    where = f"branches.{name}"
    seen = {name}
    stem = branch
    while stem.from_ is not None:
        if not isinstance(stem.from_, str) or stem.from_ not in branches:
            raise InputError(f"{path}: branches.{stem.name}.from: '{stem.from_}' is not a branch"
                             f"{nearest(stem.from_, set(branches) - {stem.name})}")
        stem = branches[stem.from_]
        if stem.name in seen:
            raise InputError(f"{path}: {where}.from leads back to itself; a fork must stem from an earlier branch")
        seen.add(stem.name)
    stem = branches[branch.from_]
    if not stem.first <= branch.at <= stem.last:
        raise InputError(f"{path}: {where}.at is {branch.at}, but '{stem.name}' has generations "
                         f"{stem.first} to {stem.last}; choose one of them")
    if branch.model.inherits:
        try:
            branch.model.check_parent(stem.model, stem.name)
        except InputError as error:
            raise InputError(f"{path}: {where}.model.{error}") from None


def gates_of(path: Path, where: str, raw: Any) -> tuple[Gate, ...]:
    """Return the thresholds that stand under ``where``."""
    if not isinstance(raw, dict):
        raise InputError(f"{path}: {where} must map metrics to thresholds, such as {{tail_ratio: {{min: control}}}}")
    known = facts()
    gates = []
    for metric, body in raw.items():
        if metric not in known:
            raise InputError(f"{path}: {where}.{metric} is not a metric{nearest(metric, known)}")
        if not isinstance(body, dict):
            raise InputError(f"{path}: {where}.{metric} must be a mapping, such as {{min: control, action: record}}")
        check_keys(path, f"{where}.{metric}.", body, ("min", "max", "action"))
        gate = build(path, f"{where}.{metric}", Gate, {"metric": metric, **body})
        if gate.min is None and gate.max is None:
            raise InputError(f"{path}: {where}.{metric} has no threshold; give min or max (a number, or control)")
        if isinstance(gate.min, float) and isinstance(gate.max, float) and gate.min > gate.max:
            raise InputError(f"{path}: {where}.{metric}.min is above its max; no value can pass")
        gates.append(gate)
    return tuple(gates)
