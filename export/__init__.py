"""What is told of datasets to others, one file per format: W3C PROV, Croissant, a card for the hub, OpenLineage.

Each format has a function ``render`` that makes its text of :class:`Told` nodes. Equal nodes give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from collapse.errors import InputError
from collapse.lineage.layout import Files
from collapse.lineage.makeup import Makeup, makeup
from collapse.lineage.nodes import Node, ancestors
from collapse.manifest import MANIFEST, training_pool
from collapse.parquet import FORMAT, part_note
from collapse.study.parse import Study
from collapse_lab.audit.auditor import Auditor

#: The name of each format, the module that renders it, and the file that it becomes.
FORMATS = {
    "card": ("collapse_lab.export.card", "README.md"),
    "croissant": ("collapse_lab.export.croissant", "croissant.json"),
    "openlineage": ("collapse_lab.export.openlineage", "events.jsonl"),
    "prov": ("collapse_lab.export.prov", "prov.json"),
}


@dataclass
class Told:
    """A node, as its manifest and records tell of it; ``sha256`` is its manifest's."""

    node: Node
    study: Study
    manifest: dict[str, Any]
    sha256: str
    makeup: Makeup | None = None

    @property
    def files(self) -> Files:
        """Return the node's files."""
        return Files.of(self.node)

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Return the manifest's entries of the pool's parts."""
        return self.manifest["parts"]

    @property
    def rows(self) -> int:
        """Return the rows of the pool, all replicates together."""
        return sum(part["rows"] for part in self.parts)

    @property
    def regime(self) -> str:
        """Return the regime in words: its kind, and its settings."""
        spec = dict(self.manifest.get("regime") or {"kind": "real data"})
        kind = spec.pop("kind")
        settings = ", ".join(f"{key} {value}" for key, value in sorted(spec.items()) if value is not None)
        return f"{kind} ({settings})" if settings else kind

    @property
    def model(self) -> dict[str, Any] | None:
        """Return the specification of the model that made the sample; None of generation 0."""
        return self.manifest.get("model")

    @property
    def halted(self) -> bool:
        """Return whether the branch had ended before this node."""
        return "halted" in self.manifest

    @cached_property
    def validation(self) -> dict[str, Any]:
        """Return how the node was judged."""
        return json.loads(self.files.record("validation.json").read_text(encoding="utf-8"))

    @property
    def stage(self) -> str:
        """Return the stage of collapse: healthy, early, late, distorted; or halted."""
        return (self.validation["stage"] or {"node": "halted"})["node"]

    @cached_property
    def note(self) -> dict[str, Any]:
        """Return what the raw sample says of itself in its metadata."""
        return part_note(self.files.sample_part)


def way(auditor: Auditor, names: Sequence[str]) -> list[Told]:
    """Return the named nodes and all that they stem from, generation 0 first; every part must be as its manifest says.

    Raises
    ------
    InputError
        If data is absent, or is not what its manifest says.
    """
    wanted = {node.name for name in names for node in ancestors(auditor.nodes, name)}
    found = {name: _told(auditor, node) for name, node in auditor.nodes.items() if name in wanted}
    parents = {told.node.parent for told in found.values()}
    for name in found:
        if name in parents:
            continue
        chain = [found[node.name] for node in reversed(ancestors(auditor.nodes, name))]
        made = makeup([told.manifest for told in chain], [_trained(told, found) for told in chain])
        for told, one in zip(chain, made, strict=True):
            told.makeup = one
    return list(found.values())


def _told(auditor: Auditor, node: Node) -> Told:
    files, path = Files.of(node), Files.of(node).pool / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        newer = manifest["format"] > FORMAT
    except FileNotFoundError:
        raise auditor.lock.absent(files) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is no manifest; 'collapse audit {node.name}' says more") from None
    if newer:
        raise InputError(f"{path}: has format {manifest['format']}, newer than the {FORMAT} that this version knows; "
                         f"update collapse")
    known = {files.pool / f"{part['origin']}.parquet": part["file"] for part in manifest["parts"]}
    needed = [*known, files.record("json"), files.record("validation.json"), files.record("verdict.json")]
    for path in [*needed, *(() if "halted" in manifest else (files.sample_part,))]:
        if not path.exists():
            raise InputError(f"{path}: is not here; run 'dvc pull', or 'collapse repro'")
        if path in known and auditor.reader.digests(path)[0] != known[path]:
            raise InputError(f"{path}: is not what its manifest says; 'collapse audit {node.name}' says more")
    return Told(node, auditor.studies[node.study], manifest, auditor.reader.digests(files.pool / MANIFEST)[0])


def _trained(told: Told, found: dict[str, Told]) -> list[dict[str, Any]]:
    """Return the parts that a node's model was trained on: its parent's, less a sample in quarantine."""
    if told.node.parent is None or told.halted:
        return []
    parent = found[told.node.parent]
    verdict = json.loads(parent.files.record("verdict.json").read_text(encoding="utf-8"))
    left_out = parent.node.name if verdict["outcome"] == "quarantine" else None
    if left_out and "draw" in parent.manifest:  # then another draw was made
        rows = {p.origin: int(p.counts.sum()) for p in training_pool(parent.files.pool, left_out=True).training.parts}
        return [part | {"drawn": rows[part["origin"]]} for part in parent.parts if part["origin"] in rows]
    return [part for part in parent.parts if part["origin"] != left_out]


def render(form: str, told: Sequence[Told], target: str, out: Path) -> tuple[str, str]:
    """Return the name of a format's file, and its text.

    Parameters
    ----------
    told
        The target's nodes and all that they stem from.
    target
        A node or a study.
    out
        The folder that the file will lie in.
    """
    import importlib

    module, name = FORMATS[form]
    return name, importlib.import_module(module).render(told, target, out)
