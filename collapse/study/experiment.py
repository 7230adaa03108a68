"""What a study makes: its data, model, branches, gates and measurements, parsed once, strict and frozen.

Everything that shapes bytes takes these objects and no others; what a study *asks* of what was made, its claims and
definitions, is parsed in :mod:`collapse.study.parse`, which nothing that makes a node imports.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from collapse import registry
from collapse.errors import InputError, nearest
from collapse.manifest import NAME
from collapse.metrics import facts
from collapse.models.base import Model
from collapse.regimes.base import Regime
from collapse.sources.base import Source
from collapse.spec import Spec
from collapse.study import sweep
from collapse.study.predicate import Predicate
from collapse.study.sweep import Sweep

#: Not names: generation 0, and what one reader or another of YAML takes for a boolean or nothing.
RESERVED = frozenset({"real", "true", "false", "yes", "no", "on", "off", "y", "n", "null", "none"})

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
OVERRIDES = ("model", "rows", "tokens", "generations", "gates", "seed")
#: Shared by all branches, which start from one real node and are judged by one frame.
SHARED = ("source", "replicates", "tails", "groups", "calibration", "measure", "factors", "ladder", "grid", "published",
          "title", "claims", "branches", "withdrawn", "stages", "definitions")

Action = Literal["record", "halt", "quarantine"]


def budget(key: str, written: Collection[str]) -> str:
    """Return ``key``, or what stands in its place: rows are written as ``tokens`` where that is the budget."""
    return "tokens" if key == "rows" and "tokens" in written else key


class Gate(Spec):
    """A threshold that the median over replicates of a metric must keep; ``control`` is the calibrated band."""

    kind = "gate"
    metric: str
    min: float | Literal["control"] | None = None
    max: float | Literal["control"] | None = None
    action: Action = "record"


class Tail(Spec):
    """A region whose mass matters, with its weight in ``tail_ratio``."""

    kind = "tail"
    where: str
    weight: float = 1.0

    @cached_property
    def condition(self) -> Predicate:
        """Return the parsed condition."""
        return Predicate.parse(self.where)


@dataclass(frozen=True)
class Branch:
    """One branch of a study: a regime from generation ``first`` to ``last``, with what it overrides."""

    name: str
    regime: Regime
    from_: str | None
    at: int
    last: int
    model: Model
    rows: int
    seed: int
    gates: tuple[Gate, ...]
    #: The keys that the study file gives for this branch, by itself or by a sweep.
    keys: frozenset[str]
    #: Of a branch that a sweep made: the template, the keys that it gives, and the name of the shared calibration.
    template: str = ""
    given: frozenset[str] = frozenset()
    shared: str = ""

    def written(self, key: str) -> str | None:
        """Return where the study file has ``key`` of this branch; None: nowhere, or it is part of the name."""
        key = budget(key, self.keys)
        if self.template:
            return f"branches.{self.template}.{key}" if key in self.given else None
        return f"branches.{self.name}.{key}" if key in self.keys else None

    @property
    def floor(self) -> str:
        """Return the name of a calibration of its own; branches of a sweep that differ in nothing else share one."""
        return self.shared or self.name

    @property
    def own_floor(self) -> bool:
        """Return whether the study's calibration does not speak for this branch."""
        return bool(self.keys & {"model", "rows"})

    @property
    def first(self) -> int:
        """Return the branch's first generation."""
        return self.at + 1


@dataclass(frozen=True)
class Experiment:
    """What a study makes."""

    name: str
    path: Path
    title: str
    seed: int
    source: Source
    model: Model
    rows: int
    generations: int
    replicates: int
    branches: dict[str, Branch]
    gates: tuple[Gate, ...]
    tails: tuple[Tail, ...]
    #: Groupings by the columns that they cross.
    groups: tuple[tuple[str, ...], ...]
    calibration: int
    #: The metrics that are measured, by file; None: all that apply.
    metrics: tuple[str, ...] | None
    #: Replicates whose samples are measured; what the fits say of themselves is recorded for all.
    measured: int
    #: Nodes whose samples are left out of training, and why.
    withdrawn: Mapping[str, str]
    #: Share of what control keeps below which a loss of spread or modes is material; None: as usual.
    late: float | None
    keys: frozenset[str]
    #: What templates became, by their names.
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)

    @property
    def real(self) -> str:
        """Return the name of generation 0."""
        return f"{self.name}-real"

    def node(self, branch: str, generation: int) -> str:
        """Return the node of ``generation`` on ``branch``; before a fork, the node it stems from."""
        if generation == 0:
            return self.real
        item = self.branches[branch]
        if generation <= item.at and item.from_ is not None:
            return self.node(item.from_, generation)
        width = max(2, len(str(max(b.last for b in self.branches.values()))))
        return f"{self.name}-{branch}-{generation:0{width}d}"

    def floor(self, branch: str | None) -> str:
        """Return the name of the calibration that judges ``branch``."""
        own = None if branch is None else self.branches[branch]
        return f"calibration-{own.floor}" if own is not None and own.own_floor else "calibration"


@dataclass(frozen=True)
class Machine:
    """Settings of this machine; none of them changes a result."""

    workers: int = 2


@dataclass(frozen=True)
class Params:
    """params.yaml: the studies to rebuild and the machine's settings."""

    studies: tuple[str, ...]
    machine: Machine


# ------------------------------------------------------------------------------------------- reading


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises
    ------
    InputError
        If the file is missing, not YAML, repeats a key, or holds no mapping.
    """
    return _yaml(_text(path), path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


@cache
def _yaml(text: str, path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        name = (re.search(r'duplicate key "([^"]*)"', str(error.problem)) or ["", "a key"])[1]
        raise InputError(f"{path}: line {line}: '{name}' is given twice; rename one of them") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}: line {line}: not valid YAML ({error.problem})") from None
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold a mapping of keys to values")
    return data


#: The list of studies, in the project's folder.
PARAMS = Path("params.yaml")


def read_params(root: Path) -> Params:
    """Return params.yaml of the project in ``root``."""
    path = PARAMS
    if not (root / path).exists():
        raise InputError(f"{path}: no such file in {root.resolve()}; run this in the project's folder")
    data = _yaml(_text(root / path), path)
    _known(path, "", data, ("studies", "machine"))
    studies = data.get("studies")
    if not isinstance(studies, list) or not studies or not all(isinstance(name, str) for name in studies):
        raise InputError(f"{path}: studies must be a list of names, such as [digits]")
    for name in studies:
        _name(path, "studies", name)
    if len(set(studies)) < len(studies):
        raise InputError(f"{path}: studies names one study twice")
    machine = data.get("machine", {})
    if not isinstance(machine, dict):
        raise InputError(f"{path}: machine must be a mapping, such as {{workers: 2}}")
    _known(path, "machine.", machine, ("workers",))
    workers = machine.get("workers", 2)
    _whole(path, "machine.workers", workers, 1)
    return Params(tuple(studies), Machine(workers))


def study_data(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Return where the study ``name`` of the project in ``root`` is written, and what is written there.

    Raises
    ------
    InputError
        If there is none, or it is no mapping in YAML.
    """
    path = Path("studies") / f"{name}.yaml"
    if not (root / path).exists():
        known = [p.stem for p in (root / "studies").glob("*.yaml")]
        raise InputError(f"{path}: no such study{nearest(name, known)}")
    return path, _yaml(_text(root / path), path)


def read_experiment(root: Path, name: str) -> Experiment:
    """Return what the study ``name`` of the project in ``root`` makes.

    Raises
    ------
    InputError
        Naming the file, the key and the remedy.
    """
    path, data = study_data(root, name)
    return parse_experiment(data, name, path)


# ------------------------------------------------------------------------------------------- parsing


def parse_experiment(data: Mapping[str, Any], name: str, path: Path) -> Experiment:
    """Return what the study that ``data`` describes makes."""
    _name(path, "the file's name", name)
    data = _budgets(path, data)
    _known(path, "", data, (*MANDATORY, *OPTIONAL))
    for key, example in MANDATORY.items():
        if key not in data:
            raise InputError(f"{path}: {key} is missing; add a line such as '{example}'")
    if not isinstance(data["title"], str) or not data["title"].strip():
        raise InputError(f"{path}: title must be text")
    _whole(path, "seed", data["seed"], 0)
    _whole(path, "rows", data["rows"], 1)
    _whole(path, "generations", data["generations"], 1, 9999)
    _whole(path, "replicates", data["replicates"], 1, 32767)
    source = part(path, "source", "sources", data["source"])
    model = part(path, "model", "models", data["model"])
    gates = _gates(path, "gates", data["gates"])
    branches, sweeps = _branches(path, data, model, gates)
    tails = _tails(path, data.get("tails", []))
    groups = _groups(path, data["groups"]) if "groups" in data else ()
    calibration = data.get("calibration", model.calibration)
    _whole(path, "calibration", calibration, 10)
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
        _whole(path, f"{where}tokens", tokens, block)
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
    _known(path, "stages.", raw, ("late",))
    share = raw.get("late")
    if "late" in raw and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1):
        raise InputError(f"{path}: stages.late must be a share between 0 and 1, such as 0.5 (it is {share!r})")
    return None if share is None else float(share)


def _measure(path: Path, raw: Any, replicates: int) -> tuple[tuple[str, ...] | None, int]:
    """Return which metrics are measured (None: all) and of how many replicates."""
    if not isinstance(raw, dict):
        raise InputError(f"{path}: measure must be a mapping, such as {{only: [tails, spread], replicates: 200}}")
    _known(path, "measure.", raw, ("only", "replicates"))
    count = raw.get("replicates", replicates)
    _whole(path, "measure.replicates", count, 1, replicates)
    names, known = raw.get("only"), registry.names("metrics")
    if names is None:
        return None, count
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: measure.only must be a list of {', '.join(known)}; leave it out to measure all")
    for name in names:
        if name not in known:
            raise InputError(f"{path}: measure.only: '{name}' is not one of them{nearest(str(name), known)}")
    return tuple(names), count


def _branches(path: Path, data: Mapping[str, Any], model: Model,
              gates: tuple[Gate, ...]) -> tuple[dict[str, Branch], dict[str, Sweep]]:
    raw = data["branches"]
    if not isinstance(raw, dict) or not raw:
        raise InputError(f"{path}: branches must map names to regimes, such as {{replace: {{regime: replace}}}}")
    branches: dict[str, Branch] = {}
    sweeps: dict[str, Sweep] = {}
    for name, body in raw.items():
        _name(path, "branches", name)
        if not (isinstance(body, dict) and "sweep" in body):
            branches[name] = _branch(path, name, body, data, model, gates)
            continue
        where = f"{path}: branches.{name}"
        kept = _find(path, f"branches.{name}.regime", "regimes", str(body.get("regime")))
        sweeps[name], cells = sweep.expand(name, body, f"{where}.sweep", kept.model_fields)
        for cell in cells:
            _name(path, f"branches.{name}.sweep", cell.name)
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
    regime_class = _find(path, f"{where}.regime", "regimes", body["regime"])
    for key in body:
        if key in SHARED:
            raise InputError(f"{path}: {where}.{key} cannot differ between branches, which share one real node; "
                             f"write a study of its own")
    _known(path, f"{where}.", body, ("regime", "from", "at", *OVERRIDES, *regime_class.model_fields))
    own = {key: value for key, value in body.items() if key in regime_class.model_fields}
    regime = _build(path, where, regime_class, own)
    if ("from" in body) != ("at" in body):
        raise InputError(f"{path}: {where} needs both from (a branch) and at (a generation), or neither")
    at = body.get("at", 0)
    last = body.get("generations", data["generations"])
    _whole(path, f"{where}.generations", last, 1, 9999)
    rows = body.get("rows", data["rows"])
    _whole(path, f"{where}.rows", rows, 1)
    _whole(path, f"{where}.seed", body.get("seed", data["seed"]), 0)
    if "at" in body:
        _whole(path, f"{where}.at", at, 1)
        if at >= last:
            raise InputError(f"{path}: {where}.at is {at}, past the end; it must be below generations ({last})")
    if "model" in body:
        model = _model(path, f"{where}.model", body["model"], data["model"])
    if "gates" in body:
        gates = _gates(path, f"{where}.gates", body["gates"])
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


def _gates(path: Path, where: str, raw: Any) -> tuple[Gate, ...]:
    if not isinstance(raw, dict):
        raise InputError(f"{path}: {where} must map metrics to thresholds, such as {{tail_ratio: {{min: control}}}}")
    known = facts()
    gates = []
    for metric, body in raw.items():
        if metric not in known:
            raise InputError(f"{path}: {where}.{metric} is not a metric{nearest(metric, known)}")
        if not isinstance(body, dict):
            raise InputError(f"{path}: {where}.{metric} must be a mapping, such as {{min: control, action: record}}")
        _known(path, f"{where}.{metric}.", body, ("min", "max", "action"))
        gate = _build(path, f"{where}.{metric}", Gate, {"metric": metric, **body})
        if gate.min is None and gate.max is None:
            raise InputError(f"{path}: {where}.{metric} has no threshold; give min or max (a number, or control)")
        if isinstance(gate.min, float) and isinstance(gate.max, float) and gate.min > gate.max:
            raise InputError(f"{path}: {where}.{metric}.min is above its max; no value can pass")
        gates.append(gate)
    return tuple(gates)


def _tails(path: Path, raw: Any) -> tuple[Tail, ...]:
    if not isinstance(raw, list):
        raise InputError(f"{path}: tails must be a list, such as [{{where: \"label == 8\", weight: 2}}]")
    tails = []
    for i, body in enumerate(raw):
        where = f"tails[{i}]"
        if not isinstance(body, dict):
            raise InputError(f"{path}: {where} must be a mapping, such as {{where: \"label == 8\"}}")
        _known(path, f"{where}.", body, ("where", "weight"))
        tail = _build(path, where, Tail, body)
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


def part(path: Path, where: str, group: str, raw: Any) -> Any:
    """Return what a mapping with ``kind`` describes, of a group ('models', say).

    Raises
    ------
    InputError
        Naming ``path``, the key in it (below ``where``) and the remedy.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        raise InputError(f"{path}: {where} must name its kind, such as {{kind: {registry.names(group)[0]}}}")
    cls = _find(path, f"{where}.kind", group, raw["kind"])
    body = {key: value for key, value in raw.items() if key != "kind"}
    _known(path, f"{where}.", body, [field.alias or name for name, field in cls.model_fields.items()])
    return _build(path, where, cls, body)


def _find(path: Path, where: str, group: str, name: str) -> Any:
    try:
        return registry.find(group, name)
    except InputError as error:
        raise InputError(f"{path}: {where}: {error}") from None


def _build(path: Path, where: str, cls: type[Spec], body: dict[str, Any]) -> Any:
    try:
        return cls(**body)
    except ValidationError as error:
        first = error.errors()[0]
        inner = ("function-", "literal", "float")  # pydantic's own steps into a union
        key = ".".join(str(part) for part in first["loc"] if not str(part).startswith(inner))
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise InputError(f"{path}: {where}.{key} is missing; '{cls.kind}' needs it") from None
        given = "" if first["type"] == "value_error" else f" (it is {first['input']!r})"
        dotted = f"{where}.{key}" if key else where
        raise InputError(f"{path}: {dotted}: {text[:1].lower()}{text[1:]}{given}") from None
    except InputError as error:
        raise InputError(f"{path}: {where}: {error}") from None


def _known(path: Path, where: str, body: Mapping[str, Any], keys: Iterable[str]) -> None:
    keys = list(keys)
    for key in body:
        if key not in keys:
            raise InputError(f"{path}: {where}{key} is not a key{nearest(key, keys)}")


def _whole(path: Path, where: str, value: Any, low: int, high: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{path}: {where} must be a whole number (it is {value!r})")
    if value < low or (high is not None and value > high):
        bound = f"from {low} to {high}" if high is not None else f"at least {low}"
        raise InputError(f"{path}: {where} must be {bound} (it is {value})")


def _name(path: Path, where: str, name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise InputError(f"{path}: {where}: {name!r} cannot be a name; use lower-case letters, digits and hyphens, "
                         f"beginning with a letter, and not 'real' or a YAML boolean")
