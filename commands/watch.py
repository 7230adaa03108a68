"""`collapse watch`: judge existing data sets against real data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from collapse_lab.commands._options import Debug


def watch(
    snapshots: Annotated[list[str], typer.Argument(help="Files, patterns or folders of Parquet, CSV, JSON lines, "
                                                        "Arrow or text; in "
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
    separator: Annotated[str, typer.Option("--separator", help="What parts the fields of CSV files, if it is not found "
                                                               "out.", metavar="CHARACTER")] = "",
    encoding: Annotated[str, typer.Option("--encoding", help="Of CSV files: utf-8, utf-16, latin-1, cp1252.",
                                          metavar="NAME")] = "",
    decimal: Annotated[str, typer.Option("--decimal", help="What parts decimals in CSV files: . or ,",
                                         metavar="CHARACTER")] = "",
    na: Annotated[list[str] | None, typer.Option("--na", help="A text that means a missing value; may be repeated.",
                                                 metavar="TEXT")] = None,
    types: Annotated[list[str] | None, typer.Option("--types", help="A column's type: number, integer, date, datetime, "
                                                    "duration, category, boolean, or a date's format such as %d/%m/%Y; "
                                                    "may be repeated.", metavar="COLUMN=TYPE")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse columns that cannot be watched (exit code 2), in "
                                                          "place of leaving them out.")] = False,
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

    reading = {"separator": separator, "encoding": encoding, "decimal": decimal, "na": tuple(na or ()),
               "types": _types(types or [])}
    options = {"rate": rate, "groups": groups or [], "drop": drop or [], "planned": planned, "late": late,
               "reading": reading, "strict": strict}
    if every:
        serve(reference, snapshots, every, options, page)
        return
    series = watching.look(reference, snapshots, page=page, suite=suite, aloud=True, **options)
    if as_json:
        print(json.dumps(series.plain(), indent=1))
    else:
        print("".join(f"{line}\n" for line in series.told), end="")
        print(watching.words(series))
        print("".join(f"left out: {name}, for {why}\n" for name, why in series.left_out.items())
              + f"page: {page}" + (f"\nsuite: {suite}" if suite else ""))
    if series.code:
        raise typer.Exit(series.code)


def _types(words: list[str]) -> dict[str, str]:
    """Return the types that ``COLUMN=TYPE`` name.

    Raises
    ------
    InputError
        If a word names none.
    """
    from collapse.errors import InputError

    found = {}
    for word in words:
        name, equals, kind = word.rpartition("=")
        if not equals or not kind:
            raise InputError(f"--types: '{word}' names no type; write COLUMN=TYPE, such as zip=category")
        found[name] = kind
    return found


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
