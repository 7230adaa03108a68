"""Sufficient statistics of a part: what a model fits from in place of rows, and where they lie beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from collapse.data import Rows

#: Sufficient statistics of a part: named arrays whose first axis is the replicate, or what a model that overrides
#: ``add`` and ``weigh`` makes of them (flat arrays, replicate after replicate, and how long each is).
Summary = dict[str, np.ndarray]


class Summariser(Protocol):
    """A model as a pool sees it: what it fits from, and how that is made and added up."""

    @property
    def summary(self) -> str | None:
        """Return the name of its statistics; None: it needs the rows."""

    def summarise(self, rows: Rows) -> Summary:
        """Return the statistics of rows."""

    def add(self, a: Summary, b: Summary) -> Summary:
        """Return the statistics of both together."""

    def weigh(self, a: Summary, weight: float) -> Summary:
        """Return the statistics when every row counts ``weight`` times."""


def summary_path(part: Path, name: str) -> Path:
    """Return where the summary ``name`` of a part lies: beside it, hidden from readers of Parquet folders."""
    return part.with_name(f"_{part.stem}.{name}.safetensors")


def read_summary(path: Path) -> Summary:
    """Return the summary in a file."""
    from safetensors.numpy import load_file

    return load_file(path)
