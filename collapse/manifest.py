"""Pools on disk: a folder of parts, each written once, and the manifest that says which they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from collapse.data import Schema
from collapse.errors import InputError
from collapse.parquet import FORMAT, content_hash, part_note, read_part, write_part
from collapse.pool import Draw, Part, Pool
from collapse.storage import file_hash, link, sync, write_text
from collapse.summary import Summariser, summary_path

MANIFEST = "_manifest.json"
#: What a node, or a summary, may be called. It is part of a path, and nothing of this form leads out of its folder.
NAME = re.compile(r"[a-z][a-z0-9-]*")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a pool folder."""
    return json.loads((folder / MANIFEST).read_text())


def read_pool(folder: Path) -> Pool:
    """Return the pool that lies in ``folder``; part values are read lazily."""
    manifest = read_manifest(folder)
    frozen = Schema.parse(manifest["schema"]) if "schema" in manifest else None
    parts = [
        replace(read_part(part_path(folder, p["origin"]), (p["content"], p["file"])), weight=p.get("weight", 1.0),
                stored=p.get("summaries", {}))
        for p in manifest["parts"]
    ]
    for part in parts:
        (frozen or parts[0].schema).admit(part.schema, str(part.path))
    told = manifest.get("draw")
    draw = None if told is None else Draw(told["rows"], tuple(told["address"]), told["index"])
    return Pool(tuple(parts), manifest["seen"], draw)


def training_pool(folder: Path, left_out: bool = False) -> Pool:
    """Return what a child of the pool in ``folder`` is trained on: all of it, or all but the node's own sample."""
    pool = read_pool(folder)
    if not left_out:
        return pool
    manifest = read_manifest(folder)
    return pool.without(manifest["node"], manifest["rows"])


def trained_rows(part: Mapping[str, Any]) -> int:
    """Return how many rows of a part of a manifest are trained on: those that were drawn, or all."""
    return int(part.get("drawn", part["rows"]))


def part_path(folder: Path, origin: str) -> Path:
    """Return where the part that ``origin`` made lies in a pool.

    Raises
    ------
    InputError
        If ``origin`` is no name of a node: a manifest from elsewhere must not lead out of its folder.
    """
    if not NAME.fullmatch(origin):
        raise InputError(f"{folder / MANIFEST}: {origin[:80]!r} is no node's name; put the file "
                         f"back")
    return folder / f"{origin}.parquet"


def write_pool(pool: Pool, folder: Path, manifest: dict[str, Any], siblings: tuple[Path, ...] = (),
               model: Summariser | None = None) -> None:
    """Write ``pool`` and its manifest into ``folder``, which must be new.

    A part that lies on disk already is linked, not written: the parent's file, or one of the same content
    in a folder of ``siblings`` (this node's raw sample). Beside each part lies what ``model`` fits from it.
    """
    folder.mkdir(parents=True)
    parts = []
    drawn = {} if pool.draw is None else {part.origin: int(part.counts.sum()) for part in pool.training.parts}
    for part in pool.parts:
        target = folder / f"{part.origin}.parquet"
        if part.path is not None and part.hashes is not None:
            link(part.path, target)
            content, file = part.hashes
        else:
            content = content_hash(part.schema, part.counts, part.values)
            twin = _twin(target.name, content, siblings)
            if twin is None:
                content, file = write_part(part, target, manifest["study"])
            else:
                link(twin, target)
                file = file_hash(target)
        entry = {
            "content": content, "file": file, "generation": part.generation,
            "kind": "synthetic" if part.synthetic else "real", "origin": part.origin,
            "rows": int(part.counts.sum()),
        }
        if part.weight != 1:
            entry["weight"] = part.weight
        if pool.draw is not None:
            entry["drawn"] = drawn.get(part.origin, 0)
        elif model is not None and model.summary and part.even:
            entry["summaries"] = {model.summary: _write_summary(part, model, target)}
        parts.append(entry)
    manifest = {**manifest, "format": FORMAT, "parts": parts, "seen": pool.seen, **drawing(pool)}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def drawing(pool: Pool) -> dict[str, Any]:
    """Return what a manifest says of the draw of a pool: nothing where all is trained on."""
    if pool.draw is None:
        return {}
    return {"draw": {"address": list(pool.draw.address), "index": Draw.hash(pool.drawn), "rows": pool.draw.rows}}


def _write_summary(part: Part, model: Summariser, target: Path) -> str:
    """Write or link the summary of ``part`` beside ``target`` and return its hash."""
    from safetensors.numpy import save_file

    name = str(model.summary)
    path = summary_path(target, name)
    if part.path is not None and name in part.stored:
        link(summary_path(part.path, name), path)
        return part.stored[name]
    save_file({key: np.ascontiguousarray(value) for key, value in part.summary(model).items()}, path)
    sync(path)
    return file_hash(path)


def _twin(name: str, content: str, siblings: tuple[Path, ...]) -> Path | None:
    for sibling in siblings:
        if (sibling / name).exists() and part_note(sibling / name)["content"] == content:
            return sibling / name
    return None
