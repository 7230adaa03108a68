"""`collapse withdraw`: what descends from data found tainted, and a record of it that audits report."""

from __future__ import annotations

from typing import Annotated

import typer

from collapse_lab.commands._options import Debug


def withdraw(
    target: Annotated[str, typer.Argument(help="A node (its sample), a study (its source), or a Parquet part.",
                                          metavar="NODE|STUDY|FILE")],
    why: Annotated[str, typer.Option("--why", help="What is wrong with it; audits report it.", metavar="TEXT")],
    rows: Annotated[str, typer.Option("--rows", help="Only these rows of the part, such as 0-59 or 0-59,80.",
                                      metavar="ROWS")] = "all",
    exclude: Annotated[bool, typer.Option("--exclude", help="Write it into the study: the next 'collapse repro' leaves "
                                                            "the sample out of training.")] = False,
    debug: Debug = False,
) -> None:
    """Withdraw data found tainted: show what descends from it, and record it, so that audits report it."""
    from collapse_lab.audit.withdraw import withdraw

    print(withdraw(target, why, rows, exclude))
