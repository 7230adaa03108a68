"""The `collapse` command: a thin layer over the flows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from collapse import __version__
from flows.run import command

app = typer.Typer(
    name="collapse",
    help="A laboratory and safety instrument for model collapse: train on data that models made, generation after "
    "generation, and measure what is lost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with 'collapse repro', then open reports/digits/index.html.",
)

Study = Annotated[str | None, typer.Option("--study", "-s", help="Only this study.", metavar="NAME")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Print the version, if asked to."""
    if version:
        print(f"collapse {__version__}")
        raise typer.Exit


@app.command()
def init(
    data: Annotated[str, typer.Option("--data", help="A CSV or Parquet file.", metavar="FILE")],
    name: Annotated[str, typer.Option("--name", help="The study's name.", metavar="NAME")] = "mine",
    label: Annotated[str | None, typer.Option("--label", help="The column that is the class.",
                                            metavar="COLUMN")] = None,
    rows: Annotated[int | None, typer.Option("--rows", min=2, help="Rows of a training set; by default what the file "
                                                                   "carries, at most 2,000.", metavar="N")] = None,
    generations: Annotated[int, typer.Option("--generations", min=2, max=99, metavar="T",
                                             help="Generations of every branch.")] = 10,
    debug: Debug = False,
) -> None:
    """Look at a file of yours, and write a commented study of it that 'collapse repro' can run."""
    from flows.init import init

    assumed = init(data, name, label, rows, generations)
    print(f"studies/{name}.yaml written, and listed in params.yaml. Assumed:")
    for line in assumed:
        print(f"- {line}")
    print(f"Now: collapse repro --study {name}")


@app.command()
def plan(debug: Debug = False) -> None:
    """Check params.yaml and studies/, and write lineage.yaml, the map of all nodes."""
    from flows import plan

    changed = plan.write()
    print("lineage.yaml written" if changed else "lineage.yaml is current")


@app.command()
def repro(
    study: Study = None,
    branch: Annotated[str | None, typer.Option("--branch", "-b", help="Only this branch.", metavar="NAME")] = None,
    workers: Annotated[int | None, typer.Option("--workers", "-j", min=1, help="Processes at once.")] = None,
    debug: Debug = False,
) -> None:
    """Make every stale node, in parallel, and record it in DVC: the same result as 'dvc repro'."""
    from flows.repro import repro

    try:
        failed = repro(study, branch, workers, debug)
    except KeyboardInterrupt:  # the command line's library would say "Aborted."
        print("stopped; what is finished is kept", file=sys.stderr)
        raise typer.Exit(130) from None
    if failed:
        raise typer.Exit(1)


@app.command()
def status(
    study: Study = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    debug: Debug = False,
) -> None:
    """Show every node: whole, stale, missing or failed, and its stage of collapse."""
    from flows.status import status

    states = status(study)
    if as_json:
        print(json.dumps([vars(state) for state in states], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    from collapse.verdict import SHOWN
    from flows.progress import COLOURS

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


@app.command()
def report(
    study: Annotated[str | None, typer.Argument(help="The study; all of them if left out.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a claim fails.")] = False,
    debug: Debug = False,
) -> None:
    """Print what a study found, and where its page is."""
    from flows.report import show

    if not show(study) and strict:
        raise typer.Exit(1)


@app.command()
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
    from flows import audit as auditing

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


@app.command()
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
    from flows.withdraw import withdraw

    print(withdraw(target, why, rows, exclude))


@app.command()
def seal(
    study: Annotated[str, typer.Argument(help="The study.")],
    key: Annotated[Path | None, typer.Option("--key", help="An Ed25519 key in PEM form that signs the root; made if it "
                                                           "is not there. Keep it out of the project.",
                                             metavar="FILE")] = None,
    debug: Debug = False,
) -> None:
    """Verify a study and write one root hash for all of it, signed if there is a key, to seals/STUDY.json."""
    from flows import audit as auditing

    found, public = auditing.seal(study, key)
    print(f"root {found}")
    print(f"signed; check with: collapse audit {study} --signed-by {public}" if public else
          f"unsigned; keep the root elsewhere and check with: collapse audit {study} --root {found}")


@app.command()
def export(
    target: Annotated[str, typer.Argument(help="A node or a study.", metavar="NODE|STUDY")],
    to: Annotated[str, typer.Option("--to", help="prov (W3C PROV-JSON), croissant, card (README.md for the hub) or "
                                                 "openlineage.", metavar="FORMAT")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; exports/NODE or exports/STUDY if left "
                                                           "out.", metavar="FOLDER")] = None,
    debug: Debug = False,
) -> None:
    """Tell where a dataset comes from in a standard's own format, for others to read."""
    from flows.export import export as write

    print(write(target, to, out))


@app.command()
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
    from flows import watch as watching

    options = {"rate": rate, "groups": groups or [], "drop": drop or [], "planned": planned, "late": late}
    if every:
        from flows import patrol

        patrol.serve(reference, snapshots, every, options, page)
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


@app.command()
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
    from flows import recommend as planning

    try:
        answer = planning.recommend(study, keep, horizon, of=of, simulate=simulate, only=option or [],
                                    replicates=replicates, workers=workers, debug=debug)
    except KeyboardInterrupt:
        print(f"stopped; what is finished is kept: run it again to go on. To be rid of it, take {study}-advice out of "
              f"params.yaml, run 'collapse plan' and remove studies/{study}-advice.yaml and data/{study}-advice-*",
              file=sys.stderr)
        raise typer.Exit(130) from None
    print(json.dumps(answer.plain(), indent=1) if as_json else planning.words(answer))
    if not answer.reachable:
        raise typer.Exit(planning.UNREACHABLE)


@app.command()
def ranking(debug: Debug = False) -> None:
    """Print which metric warns first, over all studies whose reports are there."""
    from flows.report import ranking

    print(ranking())


@app.command()
def docs(
    study: Annotated[str, typer.Argument(help="The study.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("reports/docs"),
    debug: Debug = False,
) -> None:
    """Build Great Expectations Data Docs of every node of a study."""
    from flows.docs import docs

    print(docs(study, out))


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on loopback.")] = 4200, debug: Debug = False) -> None:
    """Serve the Prefect UI on loopback, with the history of this project's runs."""
    from flows.server import ui

    ui(port)


def main() -> None:
    """Run the command; bad input is one line and exit code 2."""
    sys.exit(command(app))


if __name__ == "__main__":
    main()
