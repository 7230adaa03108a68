"""A first study of one's own file: looked at, written, planned."""

from __future__ import annotations

import io
from pathlib import Path

from collapse import loop, onboarding
from collapse.errors import InputError
from collapse.experiment import read_params, read_yaml
from collapse.layout import DATA
from collapse.lineage.plan import PATH as LINEAGE
from collapse.lineage.plan import render
from collapse.params import parse_study, read_studies
from collapse.pool import put, staging, write_text

PARAMS = Path("params.yaml")


def init(data: str, name: str = "mine", label: str | None = None, rows: int | None = None,
         generations: int = 10) -> list[str]:
    """Write studies/NAME.yaml for a CSV or Parquet file, list it in params.yaml, and plan; return what was assumed.

    Everything is checked before the first file is put in place.

    Raises
    ------
    InputError
        If the study is there already, the file cannot be used, or the plan cannot be made. Nothing is changed.
    """
    path = Path("studies") / f"{name}.yaml"
    params = read_params(Path())
    if path.exists():
        raise InputError(f"{path}: is there already; give another --name, or delete it")
    if name in params.studies:
        raise InputError(f"params.yaml: lists '{name}' already, without {path}; give another --name, or take it out")
    known = read_studies(Path(), params)
    found = onboarding.survey(data, label)
    text = onboarding.study(found, name, rows, generations)
    with staging(DATA, f"init-{name}") as folder:
        write_text(folder / "study.yaml", text)
        study = parse_study(read_yaml(folder / "study.yaml"), name, path)
        known[name] = study
        plan = render(known)
        loop.check_study(study)
        write_text(folder / "params.yaml", listed(PARAMS.read_text(encoding="utf-8"), name))
        write_text(folder / "lineage.yaml", plan)
        for made, target in (("study.yaml", path), ("params.yaml", PARAMS), ("lineage.yaml", LINEAGE)):
            put(folder / made, target)
    return found.assumed


def listed(text: str, name: str) -> str:
    """Return params.yaml with one study more; comments and layout stay as they are."""
    from ruamel.yaml import YAML

    round_trip = YAML()
    round_trip.preserve_quotes = True
    round_trip.width = 4096
    data = round_trip.load(text)
    data["studies"].append(name)
    out = io.StringIO()
    round_trip.dump(data, out)
    return out.getvalue()
