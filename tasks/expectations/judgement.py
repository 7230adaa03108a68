"""One node against its expectations: two small suites, one warm context, plain JSON data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow.parquet as pq
from great_expectations.expectations.expectation import Expectation

from collapse.data import Schema
from collapse.parquet import part_note
from collapse_lab.tasks.expectations import door, drift, survival
from collapse_lab.tasks.expectations import sample as samples
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

#: By name, what Great Expectations asks.
KINDS: dict[str, type[Expectation]] = {kind.__name__: kind for kind in (
    survival.ExpectTailsToSurvive, survival.ExpectSpreadToSurvive, survival.ExpectModesToSurvive,
    drift.ExpectDriftToStaySmall, drift.ExpectStepToStaySmall, drift.ExpectMeasureToStayInBand,
    drift.ExpectEveryReplicateToBeMeasured, samples.ExpectSchemaToHold, samples.ExpectRowsToBeComplete,
    samples.ExpectCategoriesToBeKnown, samples.ExpectValuesToBeUsable)}

#: One gate as its suite sees it: metric, min, max.
Bounds = tuple[str, float | None, float | None]
#: Great Expectations' results by gate and expectation.
Results = dict[tuple[str, str], Any]


def judge(
    gates: Sequence[GateLike],
    measured: pd.DataFrame,
    sample: Path,
    thresholds: Mapping[str, tuple[float | None, float | None]],
    schema: Schema | None,
    rows: int | None,
    replicates: int,
) -> dict[str, Any]:
    """Judge one node; see :func:`tasks.expectations.judge`."""
    nothing = (None, None)
    bounds = tuple((gate.metric, *map(number, thresholds.get(gate.metric, nothing))) for gate in gates)
    found = _judge_sample(sample, schema, rows, replicates) + _judge_metrics(gates, bounds, measured)
    found.sort(key=lambda gate: gate["gate"])
    return {
        "outcome": outcome(found)["outcome"],
        "success": all(gate["success"] for gate in found),
        "gates": found,
    }


def _judge_sample(path: Path, schema: Schema | None, rows: int | None, replicates: int) -> list[dict[str, Any]]:
    note = part_note(path)
    frozen = Schema.parse(note["schema"]) if schema is None else schema
    total = sum(note["counts"]) if rows is None else rows * replicates
    results = _validate(_sample_suite(total), profile(pq.read_table(path), frozen, replicates))
    return [_entry(gate, name, results[gate, name], BUILT_IN_ACTION, built_in_limits(name, total), "fixed")
            for name, gate in BUILT_IN.items()]


def _judge_metrics(gates: Sequence[GateLike], bounds: tuple[Bounds, ...],
                   measured: pd.DataFrame) -> list[dict[str, Any]]:
    # A metric that was not measured is a column of NaN, which fails.
    frame = measured.reindex(columns=[metric for metric, _, _ in bounds]).astype("float64")
    lacking = frozenset(frame.columns[frame.isna().any()])
    results = _validate(_gate_suite(bounds, lacking), frame)
    return [_judge_metric(gate, bound, results) for gate, bound in zip(gates, bounds, strict=True)]


def _judge_metric(gate: GateLike, bounds: Bounds, results: Results) -> dict[str, Any]:
    """Return the gate's one entry: its median, or, where replicates lack a value, how many do."""
    metric, low, high = bounds
    lacking = results.get((metric, WHOLE))
    if lacking is not None:
        return _entry(metric, WHOLE, lacking, gate.action, (None, 0.0), "fixed")
    name = expected(metric)
    threshold = "control" if "control" in (gate.min, gate.max) else "fixed"
    found = _entry(metric, name, results.get((metric, name)), gate.action, (low, high), threshold)
    # A control band that the calibration could not give is no permission.
    if (gate.min == "control" and low is None) or (gate.max == "control" and high is None):
        found["success"] = False
    return found


# -------------------------------------------------------------------------------------------- suites


@cache
def _sample_suite(total: int) -> gx.ExpectationSuite:
    exact = {"ExpectRowsToBeComplete": {"min_value": total, "max_value": total}}
    return _suite([KINDS[name](meta=_key(gate, name), **exact.get(name, {})) for name, gate in BUILT_IN.items()])


@cache
def _gate_suite(bounds: tuple[Bounds, ...], lacking: frozenset[str]) -> gx.ExpectationSuite:
    """Return one expectation for each gate: that of its bounds, or the one that fails where replicates lack a value."""
    expectations: list[Expectation] = []
    for metric, low, high in bounds:
        if metric in lacking:
            expectations.append(KINDS[WHOLE](column=metric, meta=_key(metric, WHOLE)))
        elif (low, high) != (None, None):
            name = expected(metric)
            expectations.append(KINDS[name](column=metric, min_value=low, max_value=high, meta=_key(metric, name)))
    return _suite(expectations)


def _suite(expectations: list[Expectation]) -> gx.ExpectationSuite:
    return gx.ExpectationSuite(name="collapse", expectations=expectations)


def _key(gate: str, name: str) -> dict[str, str]:
    # Results come back in another order than the suite's: the key finds them again.
    return {"gate": gate, "expectation": name}


def _validate(suite: gx.ExpectationSuite, frame: pd.DataFrame) -> Results:
    """Return the results by gate and expectation."""
    if not suite.expectations:
        return {}
    batch = door.batch_definition().get_batch({"dataframe": frame})
    results = batch.validate(suite, result_format="BASIC").results
    return {(r.expectation_config.meta["gate"], r.expectation_config.meta["expectation"]): r for r in results}


# ------------------------------------------------------------------------------------------- results


def _entry(gate: str, name: str, result: Any, action: str, limits: Limits, threshold: str) -> dict[str, Any]:
    detail = {} if result is None else result.result
    observed = detail.get("observed_value", detail.get("unexpected_count"))
    return entry(gate, name, bool(result is not None and result.success), observed, action, limits, threshold)
