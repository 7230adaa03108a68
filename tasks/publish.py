"""Put a node's staged outputs in place."""

from __future__ import annotations

from tasks import io
from tasks.turn import Turn


@io(name="publish")
def publish(turn: Turn) -> None:
    """Move every output to its place at once; a pool means a whole node."""
    turn.publish(("bank", "reference", "sample") if turn.node.branch is None else ("model", "sample"))
