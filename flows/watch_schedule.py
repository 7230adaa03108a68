"""A folder of snapshots watched on a schedule: a Prefect deployment that raises an event when the verdict changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from collapse_lab.tasks.look import PAGE, _write, look, words

#: The name of the event.
CHANGED = "collapse.watch.verdict-changed"


@flow(persist_result=False, name="watch", flow_run_name="watch-{reference}")
def watch(reference: str, snapshots: list[str], options: dict[str, Any], page: str = str(PAGE)) -> str:
    """Judge the snapshots, raise an event if the newest verdict is not the last run's, and return it.

    The last verdict stands beside the page, as PAGE.json with the rest of the series.
    """
    kept = Path(page).with_suffix(".json")
    before = json.loads(kept.read_text(encoding="utf-8"))["verdict"] if kept.exists() else None
    series = look(Path(reference), snapshots, page=Path(page), **options)
    if before != series.verdict and (before is not None or series.verdict != "healthy"):
        emit_event(event=CHANGED,
                   resource={"prefect.resource.id": f"collapse.watch.{reference}", "prefect.resource.name": reference},
                   payload={"from": before, "to": series.verdict, "since": series.since,
                            "snapshot": series.seen[-1].name, "page": page})
    _write(kept, json.dumps(series.plain(), indent=1, sort_keys=True) + "\n")  # last: an event is lost to no crash
    create_markdown_artifact(f"```\n{words(series)}\n```\n", key="watch", description="The newest verdict")
    return series.verdict
