"""Record that a branch ended before this node: which gate, at which node."""

from __future__ import annotations

import json

from collapse.manifest import MANIFEST, write_pool
from collapse.pool import Pool
from collapse.storage import file_hash, write_text
from collapse_lab.tasks._work import work
from collapse_lab.tasks.node_run import NodeRun
from collapse_lab.tasks.records import write_measurements


@work(name="halted_node")
def halted_node(turn: NodeRun) -> None:
    """Stage a node without rows, so that every other branch goes on and DVC stays clean."""
    manifest = {**turn.describe(), "halted": turn.halted}
    write_pool(Pool(()), turn.stage / "pool", manifest)
    note = json.dumps({"halted": turn.halted, "node": turn.node.name}, indent=1, sort_keys=True) + "\n"
    for name in ("model", "sample"):
        write_text(turn.stage / name / "halted.json", note)
    path = turn.stage / "pool" / MANIFEST
    about = {"manifest": json.loads(path.read_text()), "manifest_sha256": file_hash(path)}
    for ending in ("parquet", "samples.parquet"):
        write_measurements([], turn.staged_record(ending), about)
    write_text(turn.staged_record("json"), "{}\n")
