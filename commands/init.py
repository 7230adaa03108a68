"""`collapse init`: look at a file of yours, and write a commented study of it that 'collapse repro' can run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapse.errors import InputError
from collapse_lab.commands._options import Debug


def init(
    data: Annotated[str, typer.Option("--data", help="A CSV, Parquet, JSON lines or Arrow file.", metavar="FILE")],
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
    assumed = make(data, name, label, rows, generations)
    print(f"studies/{name}.yaml written, and listed in params.yaml. Assumed:")
    for line in assumed:
        print(f"- {line}")
    print(f"Now: collapse repro --study {name}")


def make(data: str, name: str = "mine", label: str | None = None, rows: int | None = None,
         generations: int = 10) -> list[str]:
    """Write studies/NAME.yaml for a table in a file, list it in params.yaml, and plan; return what was assumed.

    Everything is checked before the first file is put in place.

    Raises
    ------
    InputError
        If the study is there already, the file cannot be used, or the plan cannot be made. Nothing is changed.
    """
    from collapse import loop
    from collapse.lineage.layout import DATA
    from collapse.lineage.plan import PATH as LINEAGE
    from collapse.lineage.plan import render
    from collapse.storage import put, staging, write_text
    from collapse.study import draft
    from collapse.study.files import PARAMS, read_params, read_yaml
    from collapse.study.parse import parse_study, read_studies

    path = Path("studies") / f"{name}.yaml"
    params = read_params(Path())
    if path.exists():
        raise InputError(f"{path}: is there already; give another --name, or delete it")
    if name in params.studies:
        raise InputError(f"params.yaml: lists '{name}' already, without {path}; give another --name, or take it out")
    known = read_studies(Path(), params)
    found = draft.survey(data, label)
    text = draft.study(found, name, rows, generations)
    with staging(DATA, f"init-{name}") as folder:
        write_text(folder / "study.yaml", text)
        study = parse_study(read_yaml(folder / "study.yaml"), name, path)
        known[name] = study
        plan = render(known)
        loop.check_study(study)
        write_text(folder / "params.yaml", draft.listed(PARAMS.read_text(encoding="utf-8"), name))
        write_text(folder / "lineage.yaml", plan)
        for made, target in (("study.yaml", path), ("params.yaml", PARAMS), ("lineage.yaml", LINEAGE)):
            put(folder / made, target)
    return found.assumed
