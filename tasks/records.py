"""A node's records: every measurement, and medians over replicates beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from collapse.metrics.base import Measurement
from collapse.spec import canonical
from collapse.storage import sync

#: Rows of replicate 0 that are kept beside the measurements, to be drawn on the page.
SHOWN = 400


def scalars(values: dict[str, Any]) -> dict[str, float]:
    """Return the median over replicates of each metric, six digits; what has none is left out."""
    medians = {name: float(np.median(array)) for name, array in values.items()}
    return {name: round(value, 6) for name, value in medians.items() if math.isfinite(value)}


def medians(table: Any) -> dict[str, float]:
    """Return the flat scalars of a record of measurements, as the task `measure` writes them beside it."""
    frame = table.to_pandas()
    whole = frame[frame["feature"] == ""]
    return scalars({name: group["value"].to_numpy() for name, group in whole.groupby("metric")})


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
