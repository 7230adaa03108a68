"""What each node is now: whole or stale, failed, its stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from collapse.lineage.layout import Files
from collapse.lineage.nodes import all_nodes
from collapse.lineage.plan import check_current
from collapse.study.files import read_params
from collapse.study.parse import read_studies
from collapse_lab.engine.journal import failures
from collapse_lab.engine.repro import downstream, look


@dataclass(frozen=True)
class State:
    """One node: ``state`` is whole, stale (something it depends on changed), missing (never made) or failed.

    ``error`` says why it failed when it was last tried.
    """

    node: str
    branch: str
    state: str
    stage: str
    outcome: str
    error: str


def status(study: str | None = None) -> list[State]:
    """Return the state of every node of ``study``, or of all studies."""
    params = read_params(Path())
    studies = read_studies(Path(), params)
    check_current(Path(), studies)
    _, scan, work = look(studies, study)
    stale = downstream(work, [name for name, unit in work.items() if scan.stale.intersection(unit.stages)])
    failed = failures()
    states = []
    for node in all_nodes(studies).values():
        covering = {node.name, f"real@{node.name}", f"check@{node.name}"} & set(work)
        if not covering:
            continue
        files = Files.of(node)
        state = "whole" if not covering & stale else "stale" if files.pool.exists() else "missing"
        stage, outcome = "", ""
        try:
            found = json.loads(files.record("validation.json").read_text())
            stage, outcome = (found["stage"] or {"node": "halted"})["node"], found["outcome"]
        except (OSError, ValueError, KeyError):
            state = "missing" if state == "missing" else "stale"
        error = next((text for stage_, text in failed.items() if stage_.endswith(f"@{node.name}")), "")
        if error and state != "whole":
            state = "failed"
        states.append(State(node.name, node.branch or "real", state, stage, outcome, error))
    return states
