"""`collapse ui`: serve the Prefect UI on loopback, with the history of this project's runs."""

from __future__ import annotations

from typing import Annotated

import typer

from collapse_lab.commands._options import Debug


def ui(port: Annotated[int, typer.Option(help="Port on loopback.")] = 4200, debug: Debug = False) -> None:
    """Serve the Prefect UI on loopback, with the history of this project's runs."""
    from collapse_lab.engine.server import ui

    ui(port)
