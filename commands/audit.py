"""`collapse audit`: walk a dataset back to real data and verify every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from collapse_lab.commands._options import Debug


def audit(
    target: Annotated[str | None, typer.Argument(help="A node, a study, a Parquet file or a pool; everything if left "
                                                      "out.", metavar="[NODE|FILE|STUDY]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    root: Annotated[str, typer.Option("--root", help="The root hash that the study must have.", metavar="HASH")] = "",
    signed_by: Annotated[str, typer.Option("--signed-by", help="The public key that must have signed its seal: 64 "
                                                               "digits or a PEM file.", metavar="KEY")] = "",
    replay: Annotated[int, typer.Option("--replay", min=0, help="Train this many random nodes again, and compare.",
                                        metavar="K")] = 0,
    rows: Annotated[Path | None, typer.Option("--rows", help="Say which node, model and replicate made each row of a "
                                                             "part.", metavar="FILE")] = None,
    debug: Debug = False,
) -> None:
    """Walk a dataset back to real data and verify every step; exit with 1 where one does not, or is withdrawn."""
    from collapse_lab.audit import report as auditing

    if rows is not None:
        found = auditing.rows(rows)
        if as_json:
            print(json.dumps(found, indent=1))
        else:
            for run in found:
                print(f"rows {run['first']}–{run['last']}: {run['node']}, replicate {run['replicate']}, {run['kind']}"
                      + (f", model {run['model']}" if run["model"] else ""))
        return
    report = auditing.audit(target, root=root, signed_by=signed_by, replay=replay)
    if as_json:
        print(json.dumps(report.plain(), indent=1))
    else:
        print(auditing.tree(report))
        print(auditing.verdict(report))
    if not report.sound or report.tainted:
        raise typer.Exit(1)
