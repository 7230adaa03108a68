"""Data that was withdrawn: what descends from it, by manifests, and the record that audits read.

Descent follows lineage, replicate by replicate, since replicates are independent:

* a model descends from withdrawn rows if its training pool (the parent's pool, less what is in quarantine) holds rows
  that do, or if it begins with the weights of a model that does;
* rows descend from them if they are among them, or if a model that descends from them made them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from collapse.errors import InputError, NodeError
from collapse.lineage.layout import DATA, Files
from collapse.lineage.nodes import Node
from collapse.manifest import read_manifest, training_pool
from collapse.parquet import part_note, read_part
from collapse.pool import Part
from collapse.study.files import read_yaml
from collapse.study.parse import Study

RECORD = Path("withdrawals.yaml")
HEADER = "# What was withdrawn from this project, and why: `collapse withdraw` writes it, `collapse audit` reads it.\n"
KEYS = ("target", "content", "rows", "why", "date", "affected")
#: Rows of a part by their first and last number; none: all rows.
Spans = tuple[tuple[int, int], ...]


# ------------------------------------------------------------------------------------------- closure


@dataclass(frozen=True)
class Held:
    """The rows that one node made, in a pool: ``counts`` of each replicate.

    Where a training set is drawn from the pool, ``drawn`` are the rows of the part that are in it, by their number.
    """

    origin: str
    synthetic: bool
    content: str
    counts: tuple[int, ...]
    drawn: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Link:
    """A node as a closure sees it: its pool, and what its model began with.

    ``left_out``: its own sample is in quarantine, and its children are not trained on it. ``continues``: its model
    begins with the parent's weights. ``training``: the parts that children are trained on, if not the pool's.
    """

    name: str
    parent: str | None
    parts: tuple[Held, ...]
    left_out: bool = False
    continues: bool = False
    training: tuple[Held, ...] | None = None


@dataclass(frozen=True)
class Trace:
    """What descends from withdrawn rows: replicates of models by node, and replicate → rows of parts by pool, origin.

    Nodes and parts that do not descend from them are there with nothing.
    """

    models: dict[str, frozenset[int]] = field(default_factory=dict)
    parts: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)

    def pool(self, node: str) -> dict[str, dict[int, int]]:
        """Return the parts of a node's pool that descend from withdrawn rows."""
        return {origin: rows for (name, origin), rows in self.parts.items() if name == node and rows}

    def replicates(self, node: str) -> frozenset[int]:
        """Return the replicates in which a node's model or pool descends from withdrawn rows."""
        return self.models[node].union(*self.pool(node).values())

    @property
    def nodes(self) -> list[str]:
        """Return the nodes whose model or pool descends from withdrawn rows."""
        return [name for name in self.models if self.replicates(name)]


def closure(links: Iterable[Link], holds: Callable[[Link, Held], Mapping[int, int]]) -> Trace:
    """Return what descends from withdrawn rows.

    Parameters
    ----------
    links
        Nodes, parents before children.
    holds
        How many of the withdrawn rows themselves a part of a pool holds, by replicate.
    """
    trace, known = Trace(), {}

    def descends(link: Link, part: Held) -> dict[int, int]:
        """Return how many rows of a part descend from withdrawn ones, by replicate, where any does."""
        made = trace.models.get(part.origin, frozenset()) if part.synthetic else frozenset()
        own = holds(link, part)
        rows = {r: count if r in made else min(own.get(r, 0), count) for r, count in enumerate(part.counts)}
        return {r: count for r, count in rows.items() if count}

    for link in links:
        known[link.name] = link
        parent, taken = known.get(link.parent or ""), set()
        if parent is not None:
            for part in parent.parts if parent.training is None else parent.training:
                if not (parent.left_out and part.origin == parent.name):
                    taken |= set(trace.parts[parent.name, part.origin] if parent.training is None else
                                 descends(parent, part))
            if link.continues:
                taken |= trace.models[parent.name]
        trace.models[link.name] = frozenset(taken)
        for part in link.parts:
            trace.parts[link.name, part.origin] = descends(link, part)
    return trace


# -------------------------------------------------------------------------------------------- record


@dataclass(frozen=True)
class Withdrawal:
    """One entry of the record. ``content`` is the hash of the part that was withdrawn, or of which ``rows`` were."""

    target: str
    content: str
    rows: Spans
    why: str
    date: str
    affected: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, Spans]:
        """Return what tells withdrawals apart."""
        return self.target, self.content, self.rows

    def plain(self) -> dict[str, Any]:
        """Return plain data for YAML and JSON."""
        return {"target": self.target, "content": self.content, "rows": spans_text(self.rows), "why": self.why,
                "date": self.date, "affected": list(self.affected)}


def spans(text: str) -> Spans:
    """Return the rows that ``text`` names: 'all', or '0-59, 80'.

    Raises
    ------
    InputError
        If it names none.
    """
    if text.strip() == "all":
        return ()
    found = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:[-–]\s*(\d+)\s*)?", piece)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"rows: '{text[:40]}' names no rows; write such as 0-59 or 0-59,80 (the first row is 0)")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(sorted(found))


def spans_text(rows: Spans) -> str:
    """Return rows as :func:`spans` reads them."""
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in rows) or "all"


def read_record(root: Path = Path()) -> list[Withdrawal]:
    """Return what was withdrawn from a project; nothing if there is no record.

    Raises
    ------
    InputError
        If the record is not as `collapse withdraw` writes it.
    """
    path = root / RECORD
    if not path.exists():
        return []
    entries = read_yaml(path).get("withdrawals")
    found = []
    for place, entry in enumerate(entries if isinstance(entries, list) else [None]):
        where = f"{RECORD}: withdrawals[{place}]"
        if not isinstance(entry, dict) or set(entry) != set(KEYS):
            raise InputError(f"{where} must have {', '.join(KEYS)}; restore it with 'git checkout {RECORD}'")
        if not all(isinstance(entry[key], str) for key in KEYS[:5]) or not isinstance(entry["affected"], list):
            raise InputError(f"{where}: {', '.join(KEYS[:5])} must be text and affected a list")
        try:
            rows = spans(entry["rows"])
        except InputError as error:
            raise InputError(f"{where}.{error}") from None
        found.append(Withdrawal(entry["target"], entry["content"], rows, entry["why"], entry["date"],
                                tuple(map(str, entry["affected"]))))
    return found


def render(record: Sequence[Withdrawal]) -> str:
    """Return the text of the record."""
    import yaml

    return HEADER + yaml.safe_dump({"withdrawals": [item.plain() for item in record]}, sort_keys=False,
                                   allow_unicode=True, width=120)


# ------------------------------------------------------------------------------------------- on disk


def links(nodes: Iterable[Node], studies: Mapping[str, Study]) -> list[Link]:
    """Return ``nodes`` (parents before children) as they lie there, but those that cannot be read."""
    found = []
    for node in nodes:
        files = Files.of(node)
        try:
            manifest = read_manifest(files.pool)
            parts = tuple(Held(p["origin"], p["kind"] != "real", p["content"], _counts(files, p, manifest))
                          for p in manifest["parts"])
            outcome = _outcome(files)
            training = _training(files, parts, outcome == "quarantine") if "draw" in manifest else None
        except (OSError, ValueError, KeyError, TypeError):  # an audit says what is wrong with it
            continue
        branch = studies[node.study].branches.get(node.branch or "")
        continues = branch is not None and branch.model.continues and node.parent != studies[node.study].real
        found.append(Link(node.name, node.parent, parts, outcome == "quarantine", continues, training))
    return found


def _training(files: Files, parts: Sequence[Held], left_out: bool) -> tuple[Held, ...] | None:
    """Return what is drawn from a pool for training; None, all of it, if that cannot be read."""
    known = {part.origin: part for part in parts}
    try:
        return tuple(replace(known[part.origin], counts=tuple(counts.tolist()), drawn=rows)
                     for part, rows, counts in training_pool(files.pool, left_out).taken)
    except (InputError, NodeError):
        return None


def _counts(files: Files, part: Mapping[str, Any], manifest: Mapping[str, Any]) -> tuple[int, ...]:
    try:
        return tuple(part_note(files.pool / f"{part['origin']}.parquet")["counts"])
    except InputError:  # a damaged part: its rows, spread evenly
        return (part["rows"] // manifest["replicates"],) * manifest["replicates"]


def _outcome(files: Files) -> str:
    import json

    try:
        return str(json.loads(files.record("verdict.json").read_text(encoding="utf-8"))["outcome"])
    except (OSError, ValueError, KeyError):
        return ""


def copies(origin: Node, nodes: Iterable[Node]) -> Iterator[Path]:
    """Yield every Parquet part in this project that holds rows of ``origin``: its own, then those of later pools."""
    own = Files.of(origin)
    yield from (path for path in (own.pool / f"{origin.name}.parquet", own.sample_part, own.bank / "bank.parquet",
                                  own.reference / "reference.parquet") if path.exists())
    for node in nodes:
        path = Files.of(node).pool / f"{origin.name}.parquet"
        if node.study == origin.study and node.name != origin.name and path.exists():
            yield path


class Search:
    """Finds withdrawn rows in the pools that lie there; calling it is the ``holds`` of :func:`closure`.

    A whole part is known by its origin: whatever a regime kept of it descends from it. Single rows are known by their
    values, so that a row's twin counts too; those of a model within their replicate, real ones (which several
    replicates draw) in any. Where nothing lies there any more that has the withdrawn content, nothing is found.
    """

    def __init__(self, item: Withdrawal, nodes: Mapping[str, Node]):
        self.item = item
        self.nodes = nodes
        self.target = nodes.get(item.target)

    def __call__(self, link: Link, part: Held) -> Mapping[int, int]:
        """Return how many of the withdrawn rows a part of a pool holds, by replicate."""
        if part.origin != self.item.target or self.target is None:
            return {}
        if self.whole or (part.content == self.item.content and not self.item.rows):
            return dict(enumerate(part.counts))
        if not any(self.wanted):
            return {}
        path = DATA / link.name / "pool" / f"{part.origin}.parquet"
        found: dict[int, int] = {}
        try:
            read = read_part(path)
            pairs = list(zip(read.replicate.tolist(), row_bytes(read), strict=True))
            for replicate, row in pairs if part.drawn is None else (pairs[i] for i in part.drawn.tolist()):
                if row in self.wanted[0 if self.real else replicate]:
                    found[replicate] = found.get(replicate, 0) + 1
        except (InputError, OSError, ValueError, IndexError):  # damaged, as an audit says: it may hold them
            return dict(enumerate(part.counts))
        return found

    @property
    def real(self) -> bool:
        """Return whether the withdrawn rows are real."""
        return self.target is not None and self.target.generation == 0

    @cached_property
    def whole(self) -> bool:
        """Return whether all that a node made was withdrawn, and that is what it holds now."""
        assert self.target is not None
        return not self.item.rows and own_content(self.target) == self.item.content

    @cached_property
    def path(self) -> Path | None:
        """Return a part that has the withdrawn content."""
        assert self.target is not None
        for path in copies(self.target, self.nodes.values()):
            try:
                if part_note(path)["content"] == self.item.content:
                    return path
            except (InputError, KeyError):
                continue
        return None

    @cached_property
    def wanted(self) -> list[set[bytes]]:
        """Return the withdrawn rows by value, by replicate; of real ones all in one."""
        if self.path is None:
            return []
        part = read_part(self.path)
        rows = row_bytes(part)
        found: list[set[bytes]] = [set() for _ in range(1 if self.real else part.replicates)]
        for first, last in self.item.rows or ((0, len(rows) - 1),):
            for place in range(first, min(last + 1, len(rows))):
                found[0 if self.real else int(part.replicate[place])].add(rows[place])
        return found


def own_content(node: Node) -> str:
    """Return the content hash of what a node made, as its pool holds it, or else of its raw sample; '' if not made."""
    files = Files.of(node)
    for path in (files.pool / f"{node.name}.parquet", files.sample_part):
        if path.exists():
            try:
                return str(part_note(path)["content"])
            except (InputError, KeyError):
                return ""
    return ""


def row_bytes(part: Part) -> list[bytes]:
    """Return the values of each row as bytes: equal rows, equal bytes, whatever bits a missing number came with."""
    blocks = []
    for column in part.schema.columns:
        values = part.values[column.name]
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.nan, values)
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        blocks.append(flat.view(np.uint8).reshape(len(values), -1))
    joined = np.ascontiguousarray(np.concatenate(blocks, axis=1))
    return [row.tobytes() for row in joined]


# --------------------------------------------------------------------------------------------- marks


@dataclass(frozen=True)
class Mark:
    """What a withdrawal says of one node. ``how``: its sample 'is' withdrawn, or it 'descends'.

    ``left_out``: it was withdrawn and its children are not trained on it.
    """

    node: str
    target: str
    why: str
    how: str
    replicates: tuple[int, ...]
    left_out: bool

    @property
    def line(self) -> str:
        """Return it in one line."""
        if self.how == "is":
            return f"⊘ withdrawn, and left out of training: {self.why}" if self.left_out else f"⚠ withdrawn: {self.why}"
        return f"⚠ descends from {self.target}, withdrawn: {self.why}"


def marks(record: Sequence[Withdrawal], found: Sequence[Link], nodes: Mapping[str, Node]) -> list[Mark]:
    """Return what the record says of nodes (parents before children), as they lie there now."""
    made = []
    for item in record:
        trace = closure(found, Search(item, nodes))
        for link in found:
            replicates = trace.replicates(link.name)
            if replicates:
                own = link.name == item.target
                made.append(Mark(link.name, item.target, item.why, "is" if own else "descends",
                                 tuple(sorted(replicates)), own and link.left_out))
    return made
