"""Measure the raw fresh sample against the frozen reference, and write the node's records."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from collapse import loop
from collapse.metrics import measure_all
from collapse.metrics.base import Measurement
from collapse.pool import MANIFEST, Part, write_part
from collapse.spec import canonical
from collapse.storage import file_hash, sync, write_text
from collapse_lab.tasks import work
from collapse_lab.tasks.node_run import NodeRun

#: Rows of replicate 0 that are kept beside the measurements, to be drawn on the page.
SHOWN = 400


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
    scalars = _scalars({m.metric: m.values for m in found if m.feature == ""})
    write_text(turn.staged_record("json"), json.dumps(scalars, indent=1, sort_keys=True) + "\n")
    return scalars


def _scalars(values: dict[str, Any]) -> dict[str, float]:
    """Return the median over replicates of each metric, six digits; what has none is left out."""
    medians = {name: float(np.median(array)) for name, array in values.items()}
    return {name: round(value, 6) for name, value in medians.items() if math.isfinite(value)}


def medians(table: Any) -> dict[str, float]:
    """Return the flat scalars of a record of measurements, as :func:`measure` writes them beside it."""
    frame = table.to_pandas()
    whole = frame[frame["feature"] == ""]
    return _scalars({name: group["value"].to_numpy() for name, group in whole.groupby("metric")})


def write_measurements(measurements: list[Measurement], path: Path, note: dict[str, Any]) -> None:
    """Write measurements as a tidy Parquet file: replicate, metric, feature, value."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(measurements, key=lambda m: (m.metric, m.feature))
    counts = [len(m.values) for m in ordered]
    metric = np.repeat(np.array([m.metric for m in ordered], dtype=object), counts)
    feature = np.repeat(np.array([m.feature for m in ordered], dtype=object), counts)
    values = np.concatenate([np.asarray(m.values, dtype=float) for m in ordered]) if ordered else np.empty(0)
    replicate = np.concatenate([np.arange(c, dtype=np.int16) for c in counts]) if ordered else np.empty(0, np.int16)
    schema = pa.schema(
        [("replicate", pa.int16()), ("metric", pa.string()), ("feature", pa.string()), ("value", pa.float64())],
        metadata={"collapse": canonical(note)},
    )
    columns = [pa.array(replicate, pa.int16()), pa.array(metric, pa.string()), pa.array(feature, pa.string()),
               pa.array(values, pa.float64())]
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd", use_dictionary=["metric", "feature"])
    sync(path)
