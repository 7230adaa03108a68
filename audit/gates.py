"""Gates judged anew by plain arithmetic: the auditor does not ask the engine whose verdict it holds to account.

It also spares two seconds of imports. That both say the same of every gate and fault is tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from collapse.data import Schema
from collapse.parquet import part_note
from collapse_lab.tasks.expectations.counts import profile
from collapse_lab.tasks.expectations.sentences import (
    BUILT_IN,
    BUILT_IN_ACTION,
    WHOLE,
    Limits,
    built_in_limits,
    entry,
    expected,
    number,
)
from collapse_lab.tasks.expectations.verdict import GateLike, outcome

#: What is counted, and what stands for all columns of the table, by built-in gate.
COUNTED = {"schema": ("strange", "sum"), "rows": ("rows", "min"), "categories": ("unknown", "sum"),
           "nulls": ("unusable", "sum")}


def judge(gates: Sequence[GateLike], measured: pd.DataFrame, sample: Path, thresholds: Mapping[str, Limits], *,
          schema: Schema | None = None, rows: int | None = None, replicates: int | None = None) -> dict[str, Any]:
    """Return what :func:`collapse_lab.tasks.expectations.judge` returns of the same."""
    note = part_note(sample)
    count = replicates or len(measured)
    total = sum(note["counts"]) if rows is None else rows * count
    frozen = Schema.parse(note["schema"]) if schema is None else schema
    counts = profile(pq.read_table(sample), frozen, count)
    found = []
    for name, gate in BUILT_IN.items():
        column, how = COUNTED[gate]
        observed, limits = float(getattr(counts[column], how)()), built_in_limits(name, total)
        found.append(entry(gate, name, _within(observed, limits), observed, BUILT_IN_ACTION, limits, "fixed"))
    for gate in gates:
        low, high = map(number, thresholds.get(gate.metric, (None, None)))
        found.append(_judged(gate, measured, (low, high)))
    found.sort(key=lambda one: one["gate"])
    return {"outcome": outcome(found)["outcome"], "success": all(one["success"] for one in found), "gates": found}


def _judged(gate: GateLike, measured: pd.DataFrame, limits: Limits) -> dict[str, Any]:
    metric = gate.metric
    values = measured[metric].to_numpy(dtype=float) if metric in measured else np.full(len(measured), np.nan)
    lacking = int(np.isnan(values).sum())
    if lacking:
        return entry(metric, WHOLE, False, lacking, gate.action, (None, 0.0), "fixed")
    asked = (gate.min, gate.max)
    unknown = any(word == "control" and limit is None for word, limit in zip(asked, limits, strict=True))
    observed = float(np.median(values)) if limits != (None, None) else None
    success = observed is not None and _within(observed, limits) and not unknown
    return entry(metric, expected(metric), success, observed, gate.action, limits,
                 "control" if "control" in asked else "fixed")


def _within(value: float, limits: Limits) -> bool:
    low, high = limits
    return (low is None or value >= low) and (high is None or value <= high)
