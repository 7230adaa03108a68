"""`collapse plan`: check params.yaml and studies/, and write lineage.yaml, the map of all nodes."""

from __future__ import annotations

from collapse_lab.commands._options import Debug


def plan(debug: Debug = False) -> None:
    """Check params.yaml and studies/, and write lineage.yaml, the map of all nodes."""
    from collapse_lab.flows import plan

    changed = plan.write()
    print("lineage.yaml written" if changed else "lineage.yaml is current")
