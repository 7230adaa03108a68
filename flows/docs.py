"""Great Expectations Data Docs of a study, on request."""

from __future__ import annotations

import json
from pathlib import Path

from collapse.errors import InputError
from collapse.layout import Files
from collapse.lineage.nodes import nodes_of
from collapse.params import read_study
from tasks.expectations import build_docs


def docs(study: str, out: Path) -> Path:
    """Render every recorded validation of a study as a static site and return its first page.

    Raises
    ------
    InputError
        If the study has no validations yet.
    """
    nodes = nodes_of(read_study(Path(), study)).values()
    paths = [Files.of(node).record("validation.json") for node in nodes]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    if not found:
        raise InputError(f"studies/{study}.yaml: nothing has been judged yet; run 'collapse repro --study {study}'")
    return build_docs(found, out, f"Collapse: {study}")
