"""One node against its expectations: two small suites, one warm context, plain JSON data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow.parquet as pq
from great_expectations.expectations.expectation import Expectation

from collapse.data import Schema
from collapse.metrics import facts
from collapse.pool import part_note
from collapse_lab.tasks.expectations import door, drift, survival
from collapse_lab.tasks.expectations import sample as samples
from collapse_lab.tasks.expectations.verdict import GateLike, outcome

#: The expectation that says it best, by the family of a metric.
SENTENCES: dict[str, type[Expectation]] = {
    "tails": survival.ExpectTailsToSurvive,
    "spread": survival.ExpectSpreadToSurvive,
    "modes": survival.ExpectModesToSurvive,
    "drift": drift.ExpectDriftToStaySmall,
}
#: The gates that every node has. A sample that is no table of the frozen columns serves no later generation.
BUILT_IN: dict[type[Expectation], str] = {
    samples.ExpectSchemaToHold: "schema",
    samples.ExpectRowsToBeComplete: "rows",
    samples.ExpectCategoriesToBeKnown: "categories",
    samples.ExpectValuesToBeUsable: "nulls",
}
BUILT_IN_ACTION = "halt"

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
    bounds = tuple((gate.metric, *_plain(thresholds.get(gate.metric, nothing))) for gate in gates)
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
    results = _validate(_sample_suite(total), samples.profile(pq.read_table(path), frozen, replicates))
    return [
        _entry(gate, kind, results[gate, kind.__name__], BUILT_IN_ACTION, _built_in_bounds(kind, total), "fixed")
        for kind, gate in BUILT_IN.items()
    ]


def _built_in_bounds(kind: type[Expectation], total: int) -> tuple[float | None, float | None]:
    """Return what is allowed: exactly ``total`` rows, and no fault of any other sort."""
    return (float(total), float(total)) if kind is samples.ExpectRowsToBeComplete else (None, 0.0)


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
    lacking = results.get((metric, drift.ExpectEveryReplicateToBeMeasured.__name__))
    if lacking is not None:
        return _entry(metric, drift.ExpectEveryReplicateToBeMeasured, lacking, gate.action, (None, 0.0), "fixed")
    kind = sentence(metric)
    threshold = "control" if "control" in (gate.min, gate.max) else "fixed"
    entry = _entry(metric, kind, results.get((metric, kind.__name__)), gate.action, (low, high), threshold)
    # A control band that the calibration could not give is no permission.
    if (gate.min == "control" and low is None) or (gate.max == "control" and high is None):
        entry["success"] = False
    return entry


@cache
def sentence(metric: str) -> type[Expectation]:
    """Return the expectation that speaks of ``metric``: by its family, or of its step."""
    if metric.endswith("_step"):
        return drift.ExpectStepToStaySmall
    fact = facts().get(metric)
    return SENTENCES.get(fact.family if fact else "", drift.ExpectMeasureToStayInBand)


# -------------------------------------------------------------------------------------------- suites


@cache
def _sample_suite(total: int) -> gx.ExpectationSuite:
    exact = {samples.ExpectRowsToBeComplete: {"min_value": total, "max_value": total}}
    return _suite([kind(meta=_key(gate, kind), **exact.get(kind, {})) for kind, gate in BUILT_IN.items()])


@cache
def _gate_suite(bounds: tuple[Bounds, ...], lacking: frozenset[str]) -> gx.ExpectationSuite:
    """Return one expectation for each gate: that of its bounds, or the one that fails where replicates lack a value."""
    whole = drift.ExpectEveryReplicateToBeMeasured
    expectations: list[Expectation] = []
    for metric, low, high in bounds:
        if metric in lacking:
            expectations.append(whole(column=metric, meta=_key(metric, whole)))
        elif (low, high) != (None, None):
            kind = sentence(metric)
            expectations.append(kind(column=metric, min_value=low, max_value=high, meta=_key(metric, kind)))
    return _suite(expectations)


def _suite(expectations: list[Expectation]) -> gx.ExpectationSuite:
    return gx.ExpectationSuite(name="collapse", expectations=expectations)


def _key(gate: str, kind: type[Expectation]) -> dict[str, str]:
    # Results come back in another order than the suite's: the key finds them again.
    return {"gate": gate, "expectation": kind.__name__}


def _validate(suite: gx.ExpectationSuite, frame: pd.DataFrame) -> Results:
    """Return the results by gate and expectation."""
    if not suite.expectations:
        return {}
    batch = door.batch_definition().get_batch({"dataframe": frame})
    results = batch.validate(suite, result_format="BASIC").results
    return {(r.expectation_config.meta["gate"], r.expectation_config.meta["expectation"]): r for r in results}


# ------------------------------------------------------------------------------------------- results


def _entry(
    gate: str,
    kind: type[Expectation],
    result: Any,
    action: str,
    bounds: tuple[float | None, float | None],
    threshold: str,
) -> dict[str, Any]:
    detail = {} if result is None else result.result
    observed = detail.get("observed_value", detail.get("unexpected_count"))
    return {
        "gate": gate,
        "expectation": kind.__name__,
        "description": kind.__fields__["description"].default,
        "success": bool(result is not None and result.success),
        "action": action,
        "observed": _number(observed),
        "min": bounds[0],
        "max": bounds[1],
        "threshold": threshold,
    }


def _plain(bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    return _number(bounds[0]), _number(bounds[1])


def _number(value: Any) -> float | None:
    """Return a float that JSON can hold; NaN and infinity are None."""
    return None if value is None or not math.isfinite(value) else float(value)
