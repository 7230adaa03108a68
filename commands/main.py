"""The `collapse` command and what it is made of."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from collapse import __version__
from collapse_lab.commands import (
    audit,
    docs,
    export,
    init,
    plan,
    ranking,
    recommend,
    report,
    repro,
    seal,
    status,
    ui,
    watch,
    withdraw,
)
from collapse_lab.flows._run import command

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


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Print the version, if asked to."""
    if version:
        print(f"collapse {__version__}")
        raise typer.Exit


for _command in (
    init.init, plan.plan, repro.repro, status.status, report.report, audit.audit, withdraw.withdraw, seal.seal,
    export.export, watch.watch, recommend.recommend, ranking.ranking, docs.docs, ui.ui,
):
    app.command()(_command)


def main() -> None:
    """Run the command; bad input is one line and exit code 2."""
    sys.exit(command(app))


if __name__ == "__main__":
    main()
