"""`collapse status`: show every node: whole, stale, missing or failed, and its stage of collapse."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from collapse_lab.commands._options import Debug, Study


def status(
    study: Study = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    debug: Debug = False,
) -> None:
    """Show every node: whole, stale, missing or failed, and its stage of collapse."""
    from collapse_lab.engine.status import status

    states = status(study)
    if as_json:
        print(json.dumps([vars(state) for state in states], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    from collapse.verdict import SHOWN
    from collapse_lab.engine.progress import COLOURS

    table = Table("node", "state", "stage", "gate", box=None, header_style="bold", padding=(0, 2))
    for state in states:
        here = {"whole": "green", "stale": "yellow", "missing": "bright_black", "failed": "red"}[state.state]
        colour = COLOURS.get(state.stage, "default")
        stage = SHOWN.get(state.stage, "")
        table.add_row(state.node, f"[{here}]{state.state}[/]", f"[{colour}]{stage}[/]", state.outcome)
    Console(highlight=False).print(table)
    for state in states:
        if state.state == "failed":
            print(f"{state.node}: {state.error}")
    counts = {name: sum(s.state == name for s in states) for name in ("whole", "stale", "missing", "failed")}
    print(", ".join(f"{count} {name}" for name, count in counts.items() if count))
