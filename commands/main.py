"""The `collapse` command and what it is made of."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from collapse import __version__
from collapse.errors import InputError
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


#: What the command line's library raises for words that it cannot use.
MISUSED = typer.BadParameter.__bases__[0]
#: The code by which it hands on a Ctrl-C.
INTERRUPTED = 130
#: The commands that leave something behind when they are stopped.
MAKERS = frozenset({"repro", "recommend", "watch"})


def main() -> None:
    """Run the command; bad input is one line and exit code 2."""
    sys.exit(command(_call, makes=bool(MAKERS & {*sys.argv[1:2]})))


def _as_typed(message: str) -> str:
    """Return a message that begins with a parameter's name with the option's, as it was typed."""
    name, colon, _ = message.partition(": ")
    known = typer.main.get_command(app).commands.get(next(iter(sys.argv[1:]), ""))  # type: ignore[attr-defined]
    option = f"--{name.replace('_', '-')}"
    typed = known is not None and colon and any(option in parameter.opts for parameter in known.params)
    return f"--{message.replace('_', '-', name.count('_'))}" if typed else message


def _call() -> None:
    try:
        code = app(standalone_mode=False)
    except MISUSED as error:
        if not sys.argv[1:]:  # what it raises then is its help
            print(error)
            sys.exit(2)
        path = error.ctx.command_path if error.ctx else "collapse"
        raise InputError(f"{' '.join(error.format_message().split())} ('{path} --help' lists what there is)") from None
    except InputError as error:
        raise InputError(_as_typed(str(error))) from error
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == INTERRUPTED:  # the library has taken it, and says nothing
        raise KeyboardInterrupt
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
