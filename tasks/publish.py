"""Put a node's staged outputs in place."""

from __future__ import annotations

from collapse_lab.tasks._work import io
from collapse_lab.tasks.node_run import NodeRun


@io(name="publish")
def publish(turn: NodeRun) -> None:
    """Move every output to its place at once; a pool means a whole node."""
    turn.publish(("bank", "reference", "sample") if turn.node.branch is None else ("model", "sample"))
