"""A node or a study told in the words of others: W3C PROV, Croissant, a dataset card, OpenLineage."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from collapse.errors import InputError, nearest
from collapse.lineage.nodes import nodes_of
from collapse.lineage.plan import check_current
from collapse.storage import put, staging, write_text
from collapse.study.files import read_params
from collapse.study.parse import read_studies
from collapse_lab.audit.auditor import Auditor
from collapse_lab.export import FORMATS, render, way

#: Where exports lie if nothing else is said.
EXPORTS = Path("exports")


def export(target: str, to: str, out: Path | None = None) -> Path:
    """Write what is known of a node or a study in another's format, and return the file.

    Raises
    ------
    InputError
        If there is no such node, study or format, its data is absent or not what its manifest says, or ``out`` cannot
        be written.
    """
    if to not in FORMATS:
        raise InputError(f"--to: '{to}' is no format{nearest(to, FORMATS)}")
    studies = read_studies(Path(), read_params(Path()))
    check_current(Path(), studies)
    auditor = Auditor(studies)
    if target in studies:
        names = list(nodes_of(studies[target]))
    elif target in auditor.nodes:
        names = [target]
    else:
        raise InputError(f"'{target}' is neither a node nor a study of params.yaml"
                         f"{nearest(target, [*studies, *auditor.nodes])}")
    folder = out or EXPORTS / target
    name, text = render(to, way(auditor, names), target, folder)
    try:
        with staging(folder, "export") as stage:
            write_text(stage / name, text)
            put(stage / name, folder / name)
        with suppress(OSError):
            (folder / ".tmp").rmdir()  # another export may be at work
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); give another folder with --out") from None
    return folder / name
