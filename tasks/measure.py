"""Measure the raw fresh sample against the frozen reference."""

from __future__ import annotations

from collapse.metrics import measure_all
from tasks import work
from tasks.turn import Turn


@work(name="measure")
def measure(turn: Turn) -> None:
    """Measure the sample at the study's rows: d(t, 0), and d(t, t−1) where there is a generation before."""
    rows = turn.study.rows
    assert turn.rows is not None
    previous = turn.previous.head(rows) if turn.node.parent is not None else None
    turn.measurements = measure_all(turn.rows.head(rows), previous, turn.frame)
