"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Study = Annotated[str | None, typer.Option("--study", "-s", help="Only this study.", metavar="NAME")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
