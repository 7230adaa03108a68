"""`collapse docs`: build Great Expectations Data Docs of every node of a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from collapse.errors import InputError
from collapse_lab.commands._options import Debug


def docs(
    study: Annotated[str, typer.Argument(help="The study.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("reports/docs"),
    debug: Debug = False,
) -> None:
    """Build Great Expectations Data Docs of every node of a study."""
    print(build(study, out))


def build(study: str, out: Path) -> Path:
    """Render every recorded validation of a study as a static site and return its first page.

    Raises
    ------
    InputError
        If the study has no validations yet.
    """
    from collapse.lineage.layout import Files
    from collapse.lineage.nodes import nodes_of
    from collapse.study.parse import read_study
    from collapse_lab.tasks.expectations import build_docs

    nodes = nodes_of(read_study(Path(), study)).values()
    paths = [Files.of(node).record("validation.json") for node in nodes]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    if not found:
        raise InputError(f"studies/{study}.yaml: nothing has been judged yet; run 'collapse repro --study {study}'")
    return build_docs(found, out, f"Collapse: {study}")
