"""The plan: lineage.yaml is what the studies say, and their data and models can carry them."""

from __future__ import annotations

from pathlib import Path

from collapse import loop
from collapse.errors import InputError
from collapse.lineage.layout import DATA
from collapse.lineage.plan import PATH as LINEAGE
from collapse.lineage.plan import check_current, render
from collapse.regimes.base import Regime
from collapse.storage import put, staging, write_text
from collapse.study.files import read_params
from collapse.study.parse import Study, read_studies

PASSED = DATA / "plan.json"


def studies() -> dict[str, Study]:
    """Return the studies that params.yaml lists."""
    return read_studies(Path(), read_params(Path()))


def check() -> None:
    """Refuse a stale map, or a study that its data or models cannot carry; record that neither is so.

    The record is always the same text: what comes after `plan` is stale only for reasons of its own.
    """
    found = studies()
    check_current(Path(), found)
    for study in found.values():
        sound(study)
    with staging(DATA, "plan") as folder:
        write_text(folder / "plan.json", '{"lineage": "current"}\n')
        put(folder / "plan.json", PASSED)


def sound(study: Study) -> None:
    """Refuse a study that its data or models cannot carry; reads the source."""
    loop.check_study(study)
    particular = [b for b in study.branches.values() if type(b.regime).admits is not Regime.admits]
    if particular:
        schema = loop.split(study.source, study.rows, 1, loop.address(study, 0)).reference.schema
        for branch in particular:
            try:
                branch.regime.admits(schema)
            except InputError as error:
                raise InputError(f"{study.path}: branches.{branch.name}.{error}") from None


def write() -> bool:
    """Write lineage.yaml if the studies are sound; return whether it changed. Unsound studies change nothing."""
    found = studies()
    text = render(found)
    for study in found.values():
        sound(study)
    if LINEAGE.exists() and LINEAGE.read_text(encoding="utf-8") == text:
        return False
    with staging(DATA, "lineage") as folder:
        write_text(folder / "lineage.yaml", text)
        put(folder / "lineage.yaml", LINEAGE)
    return True


if __name__ == "__main__":
    import sys

    from collapse_lab.flows._run import command

    sys.exit(command(check))
