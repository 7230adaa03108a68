"""Studies: params.yaml and studies/*.yaml parsed once, strict and frozen: what is made, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from collapse import laws
from collapse.claims.answers import Settings
from collapse.claims.attribution import Factors, Ladder
from collapse.claims.grammar import parse_claims
from collapse.claims.grid import Grid
from collapse.claims.judge import Claim
from collapse.claims.published import Published
from collapse.claims.statements.referred import DESIGNS, Design
from collapse.errors import InputError, nearest
from collapse.metrics import facts
from collapse.study.experiment import Experiment
from collapse.study.files import Params, study_data
from collapse.study.reading import parse_experiment
from collapse.verdict import LATE


@dataclass(frozen=True)
class Study(Experiment):
    """One study: what it makes, and what it asks. Here ``late`` is a share also where the file is silent."""

    late: float
    claims: tuple[Claim, ...] = ()
    #: A factorial of error sources, and a ladder of capacities.
    factors: Factors | None = None
    ladder: Ladder | None = None
    #: Readings of one question over a grid of settings.
    grid: Grid | None = None
    #: What papers printed, to stand beside what is measured.
    published: tuple[Published, ...] = ()
    #: What the definitions of collapse are held to.
    definitions: Settings = field(default_factory=Settings)


def read_study(root: Path, name: str) -> Study:
    """Return the study ``name`` of the project in ``root``.

    Raises
    ------
    InputError
        Naming the file, the key and the remedy.
    """
    path, data = study_data(root, name)
    return parse_study(data, name, path)


def read_studies(root: Path, params: Params) -> dict[str, Study]:
    """Return every study that params.yaml lists.

    Raises
    ------
    InputError
        Naming the file, the key and the remedy.
    """
    known = {path.stem for path in (root / "studies").glob("*.yaml")}
    for name in params.studies:
        if name not in known:
            raise InputError(f"params.yaml: studies lists '{name}', and there is no studies/{name}.yaml"
                             f"{nearest(name, known)}")
    return {name: read_study(root, name) for name in params.studies}


def parse_study(data: Mapping[str, Any], name: str, path: Path) -> Study:
    """Return the study that ``data`` describes."""
    made = parse_experiment(data, name, path)
    claims = data.get("claims", [])
    if not isinstance(claims, list):
        raise InputError(f"{path}: claims must be a list")
    branches, known = made.branches, facts()

    def optional(key: str, kind: Any) -> Any:
        return kind.parse(data[key], f"{path}: {key}", branches, known) if key in data else None

    study = Study(
        **{item.name: getattr(made, item.name) for item in fields(Experiment)} | {"late": made.late or LATE},
        claims=parse_claims(claims, str(path), branches, known, laws.names()), factors=optional("factors", Factors),
        ladder=optional("ladder", Ladder), grid=optional("grid", Grid),
        published=optional("published", Published) or (),
        definitions=Settings.parse(data.get("definitions", {}), f"{path}: definitions"))
    for index, claim in enumerate(study.claims):
        if isinstance(claim.statement, Design) and DESIGNS[claim.statement.text] not in data:
            raise InputError(f"{path}: claims[{index}]: '{claim.text}' speaks of {DESIGNS[claim.statement.text]}, and "
                             f"the study has none; add the key")
    laws.check(study)
    return study
