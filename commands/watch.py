"""`collapse watch`: judge existing data sets against real data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from collapse_lab.commands._options import Debug


def watch(
    snapshots: Annotated[list[str], typer.Argument(help="Files, patterns or folders of Parquet, CSV or text; in "
                                                        "natural order, the newest last.", metavar="SNAPSHOT…")],
    reference: Annotated[Path, typer.Option("--reference", "-r", help="Real data: a file, or a folder as a whole.",
                                            metavar="REAL")],
    rate: Annotated[float, typer.Option("--rate", help="Chance of any false alarm, over all metrics, features and "
                                                       "snapshots together.")] = 0.01,
    groups: Annotated[list[str] | None, typer.Option("--groups", "-g", help="A category column, or several joined by "
                                                     "commas, whose groups are watched; may be repeated.",
                                                     metavar="COLUMN")] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", help="A column to leave out; may be repeated.",
                                                   metavar="COLUMN")] = None,
    planned: Annotated[int, typer.Option("--snapshots", min=0, help="Snapshots that the rate is to cover, where more "
                                                                    "are to come.", metavar="N")] = 0,
    late: Annotated[float, typer.Option("--late", help="Late collapse: less than this share of the reference's spread "
                                                       "or modes is left.")] = 0.5,
    page: Annotated[Path, typer.Option("--page", help="Where the page goes.", metavar="FILE")] =
        Path("reports/watch/index.html"),
    suite: Annotated[Path | None, typer.Option("--suite", help="Write a Great Expectations suite that runs without "
                                                               "this project.", metavar="FILE")] = None,
    every: Annotated[float, typer.Option("--every", min=0, help="Look again every so many seconds, as a Prefect "
                                                                "deployment.", metavar="SECONDS")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    debug: Debug = False,
) -> None:
    """Judge existing data sets against real data.

    The exit code is that of the newest snapshot: 0 healthy, 3 early collapse, 4 late collapse, 5 distorted, 6 drifted.
    """
    from collapse_lab.tasks import look as watching

    options = {"rate": rate, "groups": groups or [], "drop": drop or [], "planned": planned, "late": late}
    if every:
        serve(reference, snapshots, every, options, page)
        return
    series = watching.look(reference, snapshots, page=page, suite=suite, aloud=True, **options)
    if as_json:
        print(json.dumps(series.plain(), indent=1))
    else:
        print(watching.words(series))
        print("".join(f"left out: {name}, for {why}\n" for name, why in series.left_out.items())
              + f"page: {page}" + (f"\nsuite: {suite}" if suite else ""))
    if series.code:
        raise typer.Exit(series.code)


def serve(reference: Path, snapshots: list[str], every: float, options: dict[str, Any], page: Path) -> None:
    """Serve the deployment ``watch`` until interrupted: a run every so many seconds, the first at once."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from collapse_lab.engine.server import Served
    from collapse_lab.flows.watch_schedule import watch as scheduled

    with Served(events=True) as server:
        server.ready()
        print(f"watching {', '.join(snapshots)} every {every:g} s; runs and events: {server.ui} (Ctrl-C ends it)",
              flush=True)
        with temporary_settings({PREFECT_API_URL: server.url}):
            scheduled.serve(name="watch", interval=every, print_starting_message=False, parameters={
                "reference": str(reference), "snapshots": snapshots, "options": options, "page": str(page)})
