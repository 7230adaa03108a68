"""A node as an audit visits it: what it finds there, faults above all, and how these are told."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from collapse.lineage.layout import Files
from collapse.lineage.makeup import Makeup
from collapse.lineage.nodes import Node
from collapse.manifest import MANIFEST
from collapse.study.parse import Study
from collapse_lab.audit.reader import Reader
from collapse_lab.tasks.node_run import NodeRun

#: The records of a node.
RECORD = ("parquet", "json", "samples.parquet", "verdict.json", "validation.json")


@dataclass(frozen=True)
class Fault:
    """One thing that does not verify: where (a file, mostly) and what."""

    node: str
    place: str
    what: str

    @property
    def line(self) -> str:
        """Return it in one line."""
        return f"{self.place}: {self.what}"


@dataclass
class Checked:
    """A node as it was found. ``leaves`` are the hashes that a root covers, by path."""

    name: str
    generation: int
    parent: str | None
    manifest: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    leaves: dict[str, str] = field(default_factory=dict)
    trained: list[dict[str, Any]] = field(default_factory=list)
    makeup: Makeup | None = None
    bytes: int = 0

    @property
    def edited(self) -> bool:
        """Return whether the manifest itself does not verify."""
        return any(fault.place.endswith(MANIFEST) for fault in self.faults)


class Broken(Exception):
    """A node of which nothing more can be said after a fault."""


@dataclass
class Visit:
    """A node while it is verified: what was found of it so far, and what may be asked."""

    study: Study
    node: Node
    files: Files
    checked: Checked
    reader: Reader
    nodes: Mapping[str, Node]

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the manifest that lies there."""
        return self.checked.manifest

    @cached_property
    def turn(self) -> NodeRun:
        """Return the node as the loop makes it."""
        return NodeRun(self.study, self.node, Path(tempfile.gettempdir()))

    def fault(self, place: Path | str, what: str, *, end: bool = False) -> None:
        """Note that something does not verify; with ``end`` nothing more can be said of the node."""
        self.checked.faults.append(Fault(self.checked.name, str(place), what))
        if end:
            raise Broken

    def exactly(self, folder: Path, known: Mapping[str, str | None]) -> None:
        """Verify that a folder holds the files of ``known`` alone, with their hashes where these are given."""
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.name not in known:
                self.fault(file, "does not belong here: added")
            elif file.is_file():
                self.checked.leaves[str(file)] = self.reader.digests(file)[0]
        for name, digest in known.items():
            file = folder / name
            if not file.is_file():
                self.fault(file, "is missing")
            elif digest not in (None, self.reader.digests(file)[0]):
                self.fault(file, "is not what this laboratory writes there: changed")


def leaves(found: list[Checked]) -> dict[str, str]:
    """Return everything that a root covers, by path."""
    return {path: value for checked in found for path, value in checked.leaves.items()}


def written(value: Any) -> str:
    """Return JSON as this laboratory writes it."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def short(value: Any) -> str:
    """Return a value in 40 characters at most."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 40 else f"{text[:37]}…"
