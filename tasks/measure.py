"""Measure the raw fresh sample against the frozen reference, and write the node's records."""

from __future__ import annotations

import json

from collapse import loop
from collapse.manifest import MANIFEST
from collapse.metrics import measure_all
from collapse.parquet import write_part
from collapse.pool import Part
from collapse.storage import file_hash, write_text
from collapse_lab.tasks._work import work
from collapse_lab.tasks.node_run import NodeRun
from collapse_lab.tasks.records import SHOWN, scalars, write_measurements


@work(name="measure")
def measure(turn: NodeRun) -> dict[str, float]:
    """Measure the sample, stage the node's records, and return its flat scalars: medians over replicates.

    At the study's rows in every branch: d(t, 0), and d(t, t−1) where there is a generation before.
    """
    assert turn.rows is not None
    rows = turn.study.rows
    count = turn.study.measured
    previous = turn.previous.first(count).head(rows) if turn.node.parent is not None else None
    training = (lambda: turn.pool.rows().first(count)) if turn.parameters else None
    found = measure_all(turn.rows.first(count).head(rows), previous, turn.frame, training)
    if turn.parameters:
        found += loop.fitted(turn.branch.model, turn.parameters, turn.rows, turn.frame.reference, turn.study.source,
                             turn.branch.rows, turn.rng.at("inspect"))
    manifest = turn.stage / "pool" / MANIFEST
    note = {"manifest": json.loads(manifest.read_text()), "manifest_sha256": file_hash(manifest)}
    write_measurements(found, turn.staged_record("parquet"), note)
    shown = turn.rows.replicate(0).head(min(SHOWN, turn.rows.n))
    part = Part.of(shown, turn.node.name, turn.node.generation, turn.node.branch is not None)
    write_part(part, turn.staged_record("samples.parquet"), turn.study.name)
    figures = scalars({m.metric: m.values for m in found if m.feature == ""})
    write_text(turn.staged_record("json"), json.dumps(figures, indent=1, sort_keys=True) + "\n")
    return figures
