"""`collapse report`: print what a study found, and where its page is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from collapse.errors import InputError, nearest
from collapse_lab.commands._options import Debug


def report(
    study: Annotated[str | None, typer.Argument(help="The study; all of them if left out.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a claim fails.")] = False,
    debug: Debug = False,
) -> None:
    """Print what a study found, and where its page is."""
    if not show(study) and strict:
        raise typer.Exit(1)


def show(study: str | None) -> bool:
    """Print what the studies found and where their pages are; return whether no claim failed.

    Raises
    ------
    InputError
        If a study has no report yet.
    """
    from collapse.lineage.layout import REPORTS
    from collapse.study.files import read_params

    names = read_params(Path()).studies
    if study is not None and study not in names:
        raise InputError(f"params.yaml: '{study}' is not in studies{nearest(study, names)}")
    sound = True
    for name in [study] if study else names:
        folder = REPORTS / name
        if not (folder / "summary.txt").exists():
            raise InputError(f"{folder}: no report yet; run 'collapse repro --study {name}'")
        print((folder / "summary.txt").read_text(encoding="utf-8"))
        print(f"page: {folder / 'index.html'}\n")
        claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        sound &= all(claim["verdict"] != "fails" for claim in claims)
    return sound
