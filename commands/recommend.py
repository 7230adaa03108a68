"""`collapse recommend`: how much real data keeps a condition, and how long today's loop does."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from collapse_lab.commands._options import Debug


def recommend(
    study: Annotated[str, typer.Argument(help="The study whose data and model it is about.")],
    keep: Annotated[str, typer.Option("--keep", help="What must be kept at every generation, such as "
                                                     "'tail_ratio >= 0.8'.", metavar="CONDITION")],
    horizon: Annotated[int, typer.Option("--horizon", help="The last generation at which it must hold.",
                                         metavar="N")] = 20,
    of: Annotated[str, typer.Option("--of", help="By whom: a share of lineages, 0.9 for nine of ten; or by their "
                                                 "median or mean.", metavar="SHARE")] = "0.9",
    simulate: Annotated[bool, typer.Option("--simulate", help="Simulate where a law would answer at once.")] = False,
    option: Annotated[list[str] | None, typer.Option("--option", help="Only this: anchor, redraw, refresh, weighted, "
                                                     "rows, window or accumulate; may be repeated.",
                                                     metavar="NAME")] = None,
    replicates: Annotated[int | None, typer.Option("--replicates", help="Replicates of the simulation; the study's, "
                                                   "within 60 to 200 for nine of ten, if left out.",
                                                   metavar="R")] = None,
    workers: Annotated[int | None, typer.Option("--workers", "-j", min=1, help="Processes at once.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    debug: Debug = False,
) -> None:
    """Say how much real data keeps a condition, and how long today's loop does; exit with 3 if nothing keeps it."""
    from collapse_lab.engine import recommend as planning

    try:
        answer = planning.recommend(study, keep, horizon, of=of, simulate=simulate, only=option or [],
                                    replicates=replicates, workers=workers, debug=debug)
    except KeyboardInterrupt:
        print(f"run it again to go on; to be rid of it, take {study}-advice out of params.yaml, run 'collapse plan', "
              f"and remove studies/{study}-advice.yaml and data/{study}-advice-*", file=sys.stderr)
        raise
    print(json.dumps(answer.plain(), indent=1) if as_json else planning.words(answer))
    if not answer.reachable:
        raise typer.Exit(planning.UNREACHABLE)
