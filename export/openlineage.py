"""OpenLineage events as JSON lines, told again from manifests and records."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from collapse_lab.export import Told
from collapse_lab.tasks import openlineage

#: The time of every event that is told again: manifests know no time.
TIME = "1970-01-01T00:00:00+00:00"


def render(told: Sequence[Told], target: str, out: Path) -> str:
    """Return START and COMPLETE of every stage that made or judged a node, generation 0 first.

    Run ids are UUIDs of version 5 of the stage and the manifest's hash, so that equal nodes give equal events.
    """
    lines = []
    for one in told:
        maker = f"{'real' if one.node.parent is None else 'generation'}@{one.node.name}"
        for stage in (maker, f"check@{one.node.name}"):
            at = openlineage.Place(one.study, one.node, one.node.branch)
            run = str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:collapse-lab:{stage}:{one.sha256}"))
            for state in ("START", "COMPLETE"):
                sets = openlineage.datasets(stage, at, made=state == "COMPLETE")
                lines.append(openlineage.line(openlineage.event(state, stage, run, TIME, sets)))
    return "\n".join(lines) + "\n"
