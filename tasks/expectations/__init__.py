"""The only place that knows Great Expectations: what must hold, written as sentences and judged.

Importing this package is cheap. Great Expectations itself (seconds) is imported by the first call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapse_lab.tasks.expectations.verdict import GateLike, outcome

if TYPE_CHECKING:
    import pandas as pd

    from collapse.data import Schema

__all__ = ["Gate", "build_docs", "judge", "outcome", "warm"]

# Read by Great Expectations when it is imported: nothing leaves this machine.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")


def warm() -> None:
    """Import Great Expectations and make its context now, so that no node waits for it."""
    from collapse_lab.tasks.expectations import door, judgement  # noqa: F401  imported for all that come after

    door.batch_definition()


def judge(
    gates: Sequence[GateLike],
    measured: pd.DataFrame,
    sample: Path,
    thresholds: Mapping[str, tuple[float | None, float | None]],
    *,
    schema: Schema | None = None,
    rows: int | None = None,
    replicates: int | None = None,
) -> dict[str, Any]:
    """Judge one node: its raw sample as it lies on disk, and its measurements.

    Parameters
    ----------
    gates
        The gates of the study, or of its branch.
    measured
        One row per replicate, one column per metric (feature ''). A gated metric that is absent or NaN fails.
    sample
        The Parquet part of the raw sample.
    thresholds
        Metric to (min, max), ``control`` resolved to numbers. A gate that says ``control`` where there is no
        number fails.
    schema, rows
        The columns frozen at generation 0, and the rows that each replicate must have; where they are not
        given, what the part says of itself.
    replicates
        How many the part must have; by default as many as were measured.

    Returns
    -------
    dict
        ``outcome``, ``success`` (True: everything holds, recorded gates included) and ``gates``: one entry
        for each gate, the built-in ``schema``, ``rows``, ``categories`` and ``nulls`` included, sorted by name.
        Plain JSON data without times, ids and versions: equal input, equal text.
    """
    from collapse_lab.tasks.expectations import judgement

    return judgement.judge(gates, measured, sample, thresholds, schema, rows, replicates or len(measured))


def build_docs(validations: Iterable[Mapping[str, Any]], folder: Path, title: str = "Collapse") -> Path:
    """Render recorded validations as a static Data Docs site in ``folder`` and return its index.html."""
    from collapse_lab.tasks.expectations import docs

    return docs.build(list(validations), folder, title)
