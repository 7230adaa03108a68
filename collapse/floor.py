"""The noise floor of every metric: what it is of independent fits to real data, and of real data alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.data import Rows
from collapse.metrics import measure_all
from collapse.rng import BLOCK, Rng

if TYPE_CHECKING:
    import pyarrow as pa

    from collapse.data import Schema
    from collapse.frame import Frame
    from collapse.metrics.base import Measurement
    from collapse.models.base import Model
    from collapse.pool import RealData

#: Numbers that measuring holds for a row with numbers: its components and its place on every projection.
SPACE = 48
#: Numbers that the rows of one chunk of fits may hold.
CHUNK = 2**24


def floor(
    model: Model, real: RealData, schema: Schema, rows: int, measured_rows: int, fits: int, frame: Frame, rng: Rng
) -> pa.Table:
    """Measure ``fits`` healthy generations and as many draws of real rows: the calibration table of a study.

    Kind 'model': fitted to ``rows`` independent real rows, ``measured_rows`` sampled from it. Kind 'real':
    ``measured_rows`` real rows as they are. Fits go through the model together, in chunks that bound the memory.
    ``rng`` has an address of its own, so that no judged replicate shares a draw.

    The step of a fit is its distance to the fit before it, as between two generations of a control; the first has none.

    Returns
    -------
    pyarrow.Table
        Columns kind, replicate (int32), metric, feature, value; one row per kind, fit, metric and feature.
    """
    held = max(schema.cells, len(schema.columns), SPACE if schema.numeric else 0)
    most = max(rows, measured_rows) * held
    chunk = int(np.clip(CHUNK // most, 1, BLOCK))
    found: list[tuple[str, int, list[Measurement]]] = []
    before: dict[str, Rows] = {}
    for number, start in enumerate(range(0, fits, chunk)):
        size, here = min(chunk, fits - start), rng.at("chunk", number)
        pools = real.draw(rows, size, here.at("pool"))

        def trained(pools: Rows = pools) -> Rows:
            return pools

        made = model.make(model.fit(pools, here.at("fit")), schema, measured_rows, here.at("sample"), trained)
        for kind, sample in (("model", made), ("real", real.draw(measured_rows, size, here.at("real")))):
            training = trained if kind == "model" else None
            found.append((kind, start + size, _measure(sample, before.get(kind), frame, training)))
            before[kind] = sample.replicate(size - 1).map(np.copy)
    return _table(found)


def _measure(sample: Rows, before: Rows | None, frame: Frame,
             training: Callable[[], Rows] | None) -> list[Measurement]:
    """Measure fits and their steps; ``before`` is the fit before the first of them."""
    last = sample.replicate(sample.replicates - 1) if before is None else before
    shifted = {name: np.concatenate([last[name], array[:-1]]) for name, array in sample.values.items()}
    found = measure_all(sample, Rows(sample.schema, shifted), frame, training)
    if before is None:
        found = [replace(m, values=m.values[1:]) if m.metric.endswith("_step") else m for m in found]
    return found


def _table(found: list[tuple[str, int, list[Measurement]]]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {"kind": [], "replicate": [], "metric": [], "feature": []}
    values: list[np.ndarray] = []
    for kind, end, measurements in sorted(found, key=lambda item: item[:2]):
        for item in measurements:
            size = len(item.values)
            columns["kind"] += [kind] * size
            columns["replicate"] += range(end - size, end)
            columns["metric"] += [item.metric] * size
            columns["feature"] += [item.feature] * size
            values.append(item.values)
    schema = pa.schema([("kind", pa.string()), ("replicate", pa.int32()), ("metric", pa.string()),
                        ("feature", pa.string()), ("value", pa.float64())])
    return pa.table({**columns, "value": np.concatenate(values)}, schema=schema)
