"""Reads from a study file what it makes; its branches are read in :mod:`collapse.study.branches`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse import registry
from collapse.errors import InputError, nearest
from collapse.study.branches import branches_of, gates_of
from collapse.study.experiment import Experiment, Tail
from collapse.study.files import study_data
from collapse.study.keys import build, check_keys, check_name, check_whole, part

MANDATORY = {
    "title": "title: What the study shows",
    "seed": "seed: 1",
    "source": "source: {kind: digits}",
    "model": "model: {kind: gaussian}",
    "rows": "rows: 400",
    "generations": "generations: 10",
    "replicates": "replicates: 5",
    "branches": "branches: {replace: {regime: replace}}",
    "gates": "gates: {}",
}
OPTIONAL = ("tokens", "calibration", "tails", "groups", "claims", "measure", "factors", "ladder", "grid",
            "published", "withdrawn", "stages", "definitions")


def read_experiment(root: Path, name: str) -> Experiment:
    """Return what the study ``name`` of the project in ``root`` makes.

    Raises
    ------
    InputError
        Naming the file, the key and the remedy.
    """
    path, data = study_data(root, name)
    return parse_experiment(data, name, path)


def parse_experiment(data: Mapping[str, Any], name: str, path: Path) -> Experiment:
    """Return what the study that ``data`` describes makes."""
    check_name(path, "the file's name", name)
    data = _budgets(path, data)
    check_keys(path, "", data, (*MANDATORY, *OPTIONAL))
    for key, example in MANDATORY.items():
        if key not in data:
            raise InputError(f"{path}: {key} is missing; add a line such as '{example}'")
    if not isinstance(data["title"], str) or not data["title"].strip():
        raise InputError(f"{path}: title must be text")
    check_whole(path, "seed", data["seed"], 0)
    check_whole(path, "rows", data["rows"], 1)
    check_whole(path, "generations", data["generations"], 1, 9999)
    check_whole(path, "replicates", data["replicates"], 1, 32767)
    source = part(path, "source", "sources", data["source"])
    model = part(path, "model", "models", data["model"])
    gates = gates_of(path, "gates", data["gates"])
    branches, sweeps = branches_of(path, data, model, gates)
    tails = _tails(path, data.get("tails", []))
    groups = _groups(path, data["groups"]) if "groups" in data else ()
    calibration = data.get("calibration", model.calibration)
    check_whole(path, "calibration", calibration, 10)
    study = Experiment(name, path, data["title"], data["seed"], source, model, data["rows"], data["generations"],
                       data["replicates"], branches, gates, tails, groups, calibration,
                       *_measure(path, data.get("measure", {}), data["replicates"]),
                       _withdrawn(path, data.get("withdrawn", {})), _late(path, data["stages"]) if "stages" in data
                       else None, frozenset(data), sweeps)
    made = {study.node(b.name, g) for b in branches.values() for g in range(b.first, b.last + 1)}
    for node in study.withdrawn:
        if node == study.real:
            raise InputError(f"{path}: withdrawn.{node}: real rows cannot be left out here; take them out of the "
                             f"source's data")
        if node not in made:
            raise InputError(f"{path}: withdrawn.{node} is no node of this study{nearest(node, made)}")
    return study


def _budgets(path: Path, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``data`` with the rows that budgets in ``tokens`` come to: a row is a block of so many."""
    raw = data.get("branches", {})
    bodies = {key: body for key, body in raw.items() if isinstance(body, dict)} if isinstance(raw, dict) else {}
    if "source" not in data or not ("tokens" in data or any("tokens" in body for body in bodies.values())):
        return data
    from collapse.sources._corpus import Corpus

    source = part(path, "source", "sources", data["source"])

    def with_rows(where: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if "tokens" not in body:
            return dict(body)
        if not isinstance(source, Corpus):
            raise InputError(f"{path}: {where}tokens is a budget of text, and source '{source.kind}' has rows; write "
                             f"rows")
        if "rows" in body:
            raise InputError(f"{path}: {where}rows and tokens are two budgets; keep one of them")
        tokens, block = body["tokens"], source.block
        check_whole(path, f"{where}tokens", tokens, block)
        if tokens % block:
            less = tokens - tokens % block
            raise InputError(f"{path}: {where}tokens: {tokens} is no whole number of blocks of {block}; take {less} or "
                             f"{less + block}")
        return {**body, "rows": tokens // block}

    found = with_rows("", data)
    if bodies:
        found["branches"] = {**raw, **{name: with_rows(f"branches.{name}.", body) for name, body in bodies.items()}}
    return found


def _withdrawn(path: Path, raw: Any) -> dict[str, str]:
    """Return the nodes that are left out, each with its reason."""
    if not isinstance(raw, dict):
        raise InputError(f"{path}: withdrawn must map nodes to reasons, such as {{digits-replace-03: mislabelled}}")
    for node, why in raw.items():
        if not isinstance(why, str) or not why.strip():
            raise InputError(f"{path}: withdrawn.{node} must say why, in words (it is {why!r})")
    return {str(node): why for node, why in raw.items()}


def _late(path: Path, raw: Any) -> float | None:
    """Return the share below which a loss is material."""
    if not isinstance(raw, dict):
        raise InputError(f"{path}: stages must be a mapping, such as {{late: 0.5}}")
    check_keys(path, "stages.", raw, ("late",))
    share = raw.get("late")
    if "late" in raw and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1):
        raise InputError(f"{path}: stages.late must be a share between 0 and 1, such as 0.5 (it is {share!r})")
    return None if share is None else float(share)


def _measure(path: Path, raw: Any, replicates: int) -> tuple[tuple[str, ...] | None, int]:
    """Return which metrics are measured (None: all) and of how many replicates."""
    if not isinstance(raw, dict):
        raise InputError(f"{path}: measure must be a mapping, such as {{only: [tails, spread], replicates: 200}}")
    check_keys(path, "measure.", raw, ("only", "replicates"))
    count = raw.get("replicates", replicates)
    check_whole(path, "measure.replicates", count, 1, replicates)
    names, known = raw.get("only"), registry.names("metrics")
    if names is None:
        return None, count
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: measure.only must be a list of {', '.join(known)}; leave it out to measure all")
    for name in names:
        if name not in known:
            raise InputError(f"{path}: measure.only: '{name}' is not one of them{nearest(str(name), known)}")
    return tuple(names), count


def _tails(path: Path, raw: Any) -> tuple[Tail, ...]:
    if not isinstance(raw, list):
        raise InputError(f"{path}: tails must be a list, such as [{{where: \"label == 8\", weight: 2}}]")
    tails = []
    for i, body in enumerate(raw):
        where = f"tails[{i}]"
        if not isinstance(body, dict):
            raise InputError(f"{path}: {where} must be a mapping, such as {{where: \"label == 8\"}}")
        check_keys(path, f"{where}.", body, ("where", "weight"))
        tail = build(path, where, Tail, body)
        if not 0 < tail.weight < float("inf"):
            raise InputError(f"{path}: {where}.weight must be above 0")
        try:
            _ = tail.condition
        except InputError as error:
            raise InputError(f"{path}: {where}.{error}") from None
        tails.append(tail)
    return tuple(tails)


def _groups(path: Path, raw: Any) -> tuple[tuple[str, ...], ...]:
    """Return groupings: one of all columns, or, where a list stands among them, one of each item."""
    if not isinstance(raw, list) or not raw:
        raise InputError(f"{path}: groups must be a list of category columns, such as [sex, race]; or of groupings, "
                         f"such as [[sex, race], occupation]")
    items = raw if any(isinstance(item, list) for item in raw) else [raw]
    found: list[tuple[str, ...]] = []
    for index, item in enumerate(items):
        names = item if isinstance(item, list) else [item]
        where = f"groups[{index}]" if len(items) > 1 else "groups"
        if not names or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: {where} must name columns, such as [sex, race] (it is {item!r})")
        if len(set(names)) < len(names):
            raise InputError(f"{path}: {where} names a column twice; name each once")
        if any(set(names) == set(other) for other in found):
            raise InputError(f"{path}: {where} is the same grouping as an earlier one; drop it")
        found.append(tuple(names))
    return tuple(found)
