"""Judge one node: its raw sample, its measured rows, its stage."""

from __future__ import annotations

import json
from typing import Any

from collapse.lineage.layout import DATA, Files
from collapse.storage import put, staging, write_text
from collapse_lab.tasks._work import io
from collapse_lab.tasks.judging import inherited, judge, manifest
from collapse_lab.tasks.node_run import find


@io(name="check")
def check(node: str) -> dict[str, Any]:
    """Judge ``node`` by its study's gates and put its validation and verdict in place; return the verdict."""
    study, place = find(node)
    files = Files.of(place)
    about = manifest(files.record("parquet"))
    if "halted" in about:
        validation, verdict = inherited(node, about["halted"])
    else:
        validation, verdict = judge(study, place.branch, files)
    with staging(DATA, f"{node}.check") as folder:
        for name, body in (("validation.json", validation), ("verdict.json", verdict)):
            write_text(folder / name, json.dumps(body, indent=1, sort_keys=True) + "\n")
            put(folder / name, files.record(name))
    return verdict
