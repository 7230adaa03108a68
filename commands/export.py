"""`collapse export`: tell where a dataset comes from in a standard's own format, for others to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapse_lab.commands._options import Debug


def export(
    target: Annotated[str, typer.Argument(help="A node or a study.", metavar="NODE|STUDY")],
    to: Annotated[str, typer.Option("--to", help="prov (W3C PROV-JSON), croissant, card (README.md for the hub) or "
                                                 "openlineage.", metavar="FORMAT")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; exports/NODE or exports/STUDY if left "
                                                           "out.", metavar="FOLDER")] = None,
    debug: Debug = False,
) -> None:
    """Tell where a dataset comes from in a standard's own format, for others to read."""
    from collapse_lab.export.write import export as write

    print(write(target, to, out))
