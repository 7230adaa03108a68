"""How a node is judged: its gates, its stage, and the verdict that its children depend on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from collapse import loop
from collapse.calibration import Bands, stage
from collapse.data import Schema
from collapse.errors import InputError
from collapse.lineage.layout import Files
from collapse.parquet import part_note
from collapse.storage import file_hash
from collapse.study.experiment import Experiment, Gate
from collapse.verdict import LATE, Verdict

#: What stands for a gate in the verdict on a withdrawn node.
WITHDRAWN = "withdrawn"


def manifest(record: Path) -> dict[str, Any]:
    """Return the manifest that a node's record carries."""
    import pyarrow.parquet as pq

    return json.loads(pq.read_schema(record).metadata[b"collapse"])["manifest"]


def inherited(node: str, halted: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return validation and verdict of a node below a halt."""
    validation = {"node": node, "outcome": "halt", "success": False, "stage": None, "gates": [], "halted": halted}
    return validation, {"outcome": "halt", "gates": [halted["gate"]], "node": halted["node"]}


def judge(study: Experiment, branch: str | None, files: Files,
          by: Callable[..., dict[str, Any]] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return validation and verdict of a node, from its records, its sample and the noise floor.

    ``by`` judges the gates as :func:`collapse_lab.tasks.expectations.judge` does, which is asked if it is None.
    """
    import pandas as pd

    from collapse_lab.tasks import expectations

    table = pd.read_parquet(files.record("parquet"))
    whole = table[table["feature"] == ""]
    measured = whole[whole["replicate"] < study.measured].pivot(index="replicate", columns="metric", values="value")
    path = files.calibration(study.floor(branch))
    bands = _bands(path, file_hash(path))
    kind = "real" if branch is None else "model"
    gates = study.gates if branch is None else study.branches[branch].gates
    if branch is None:
        gates = tuple(gate for gate in gates if not gate.metric.endswith("_step"))  # nothing comes before generation 0
    generations = study.generations if branch is None else study.branches[branch].last
    limits = {gate.metric: _limits(gate, bands, kind, study, generations, len(gates)) for gate in gates}
    schema = Schema.parse(part_note(Files(study.real, study.name).reference / "reference.parquet")["schema"])
    rows = study.rows if branch is None else loop.sample_rows(study.branches[branch], study)
    validation = (by or expectations.judge)(gates, measured, files.sample_part, limits, schema=schema, rows=rows,
                                            replicates=study.replicates)
    values = {name: measured[name].to_numpy() for name in measured}
    found, replicates = stage(values, bands, generations, kind, study.late or LATE)
    verdict = expectations.outcome(validation["gates"])
    why = study.withdrawn.get(files.node)
    if why is not None and verdict["outcome"] != "halt":  # as if a gate had found it
        verdict = {"outcome": "quarantine", "gates": sorted({*verdict["gates"], WITHDRAWN})}
    verdict["node"] = None if verdict["outcome"] == "pass" else files.node
    validation = {**validation, "node": files.node, "outcome": verdict["outcome"],
                  "stage": told(found) | {"replicates": replicates},
                  **({} if why is None else {"withdrawn": why})}
    return validation, verdict


def told(found: Verdict) -> dict[str, Any]:
    """Return a stage as plain data: what it is called, how much of it, what it rests on and what else holds."""
    kept = found.kept if found.kept is not None and math.isfinite(found.kept) else None
    return {"node": found.stage, "amount": found.amount, "kept": None if kept is None else round(kept, 4),
            "by": [sign.metric for sign in found.signs], "beside": list(found.beside)}


@cache
def _bands(path: Path, hashed: str) -> Bands:
    import pandas as pd

    return Bands(pd.read_parquet(path))


def _limits(
    gate: Gate, bands: Bands, kind: str, study: Experiment, generations: int, gates: int
) -> tuple[float | None, float | None]:
    """Return the gate's thresholds as numbers; ``control`` is the band at 1 % over all gates and generations."""
    if "control" not in (gate.min, gate.max):
        return gate.min, gate.max
    cells = max(1, gates) * generations
    try:
        band = bands.band(gate.metric, kind=kind, replicates=study.measured, cells=cells)
    except KeyError:
        raise InputError(f"{study.path}: gates.{gate.metric} asks for 'control', but this study's data has no "
                         f"'{gate.metric}'; give a number, or take the gate out") from None
    low = band.low if gate.min == "control" else gate.min
    high = band.high if gate.max == "control" else gate.max
    return (None if low is None else float(low)), (None if high is None else float(high))
