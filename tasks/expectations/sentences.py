"""What is expected, in words and by name, without Great Expectations: the page and the audit read no more."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from collapse.metrics import facts

#: By the expectation's class, what it says.
SAID = {
    "ExpectTailsToSurvive": "The tails survive: what is rare in the real data is still made, and as varied",
    "ExpectSpreadToSurvive": "The spread survives: the sample varies as much as the real data",
    "ExpectModesToSurvive": "The modes survive: every kind of real row is still made",
    "ExpectDriftToStaySmall": "The drift stays small: the sample is close to the real data",
    "ExpectStepToStaySmall": "The step stays small: the sample is close to the previous generation's",
    "ExpectMeasureToStayInBand": "The measure stays in its band",
    "ExpectEveryReplicateToBeMeasured": "Every replicate has been measured",
    "ExpectSchemaToHold": "The columns are the frozen ones, in order and in type",
    "ExpectRowsToBeComplete": "Every replicate has exactly its rows",
    "ExpectCategoriesToBeKnown": "Every category is a frozen one",
    "ExpectValuesToBeUsable": "No value is NaN, infinite or null (but where values may be missing)",
}
#: The expectation that says it best, by the family of a metric.
FAMILIES = {"tails": "ExpectTailsToSurvive", "spread": "ExpectSpreadToSurvive", "modes": "ExpectModesToSurvive",
            "drift": "ExpectDriftToStaySmall"}
#: The one that fails where a replicate lacks a value.
WHOLE = "ExpectEveryReplicateToBeMeasured"
#: The gates that every node has. A sample that is no table of the frozen columns serves no later generation.
BUILT_IN = {"ExpectSchemaToHold": "schema", "ExpectRowsToBeComplete": "rows", "ExpectCategoriesToBeKnown": "categories",
            "ExpectValuesToBeUsable": "nulls"}
BUILT_IN_ACTION = "halt"

#: What is allowed: least and greatest.
Limits = tuple[float | None, float | None]


@cache
def expected(metric: str) -> str:
    """Return the name of the expectation that speaks of ``metric``: by its family, or of its step."""
    if metric.endswith("_step"):
        return "ExpectStepToStaySmall"
    fact = facts().get(metric)
    return FAMILIES.get(fact.family if fact else "", "ExpectMeasureToStayInBand")


def built_in_limits(name: str, total: int) -> Limits:
    """Return what is allowed: exactly ``total`` rows, and no fault of any other sort."""
    return (float(total), float(total)) if BUILT_IN[name] == "rows" else (None, 0.0)


def entry(gate: str, name: str, success: bool, observed: Any, action: str, limits: Limits,
          threshold: str) -> dict[str, Any]:
    """Return the record of one judged gate."""
    return {"gate": gate, "expectation": name, "description": SAID[name], "success": success, "action": action,
            "observed": number(observed), "min": limits[0], "max": limits[1], "threshold": threshold}


def number(value: Any) -> float | None:
    """Return a float that JSON can hold; NaN and infinity are None."""
    return None if value is None or not math.isfinite(value) else float(value)
