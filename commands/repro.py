"""`collapse repro`: make every stale node, in parallel, and record it in DVC: the same result as 'dvc repro'."""

from __future__ import annotations

from typing import Annotated

import typer

from collapse_lab.commands._options import Debug, Study


def repro(
    study: Study = None,
    branch: Annotated[str | None, typer.Option("--branch", "-b", help="Only this branch.", metavar="NAME")] = None,
    workers: Annotated[int | None, typer.Option("--workers", "-j", min=1, help="Processes at once.")] = None,
    debug: Debug = False,
) -> None:
    """Make every stale node, in parallel, and record it in DVC: the same result as 'dvc repro'."""
    from collapse_lab.engine.repro import repro

    if repro(study, branch, workers, debug):
        raise typer.Exit(1)
