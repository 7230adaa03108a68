"""Recorded validations as a static site: what had to hold of each node, and what was observed.

Great Expectations' own Data Docs load scripts and styles from the network, and show nothing without them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from collapse.storage import staging, write_text


def build(validations: Sequence[Mapping[str, Any]], folder: Path, title: str) -> Path:
    """Render ``validations`` (validation.json, one per node) into ``folder``; return its index.html."""
    pages = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"bounds": _bounds, "figure": _figure}
    page = pages.from_string(files(__package__).joinpath("docs.html").read_text(encoding="utf-8"))
    with staging(folder, "docs") as stage:
        write_text(stage / "index.html", page.render(title=title, node=None, rows=validations))
        for node in validations:
            write_text(stage / "nodes" / f"{node['node']}.html", page.render(title=node["node"], node=node, rows=()))
        shutil.copytree(stage, folder, dirs_exist_ok=True)
    with suppress(OSError):
        (folder / ".tmp").rmdir()  # another may be at work
    return folder / "index.html"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _bounds(gate: Mapping[str, Any]) -> str:
    low, high = gate["min"], gate["max"]
    if low is not None and low == high:
        return f"exactly {low:.10g}"
    parts = [f"{word} {bound:.4g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    suffix = ", from the control band" if gate["threshold"] == "control" else ""
    return (" and ".join(parts) or "no band") + suffix
