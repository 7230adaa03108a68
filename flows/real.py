"""Generation 0: a source split into the first pool, the bank and the held-out reference."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from collapse_lab.flows._handover import hand_over

    hand_over("real")

from prefect import flow

from collapse.lineage.layout import DATA
from collapse.storage import staging
from collapse_lab.flows.generation import announce
from collapse_lab.tasks._work import NOWHERE
from collapse_lab.tasks.events import recorded
from collapse_lab.tasks.measure import measure
from collapse_lab.tasks.node_run import NodeRun, find
from collapse_lab.tasks.publish import publish
from collapse_lab.tasks.split import split


@flow(persist_result=False, result_storage=NOWHERE, name="real")
def real(node: str) -> None:
    """Make generation 0 of a study. It is checked apart, after the calibration, which needs it."""
    with recorded(f"real@{node}"):
        study, place = find(node)
        with staging(DATA, node) as stage:
            turn = NodeRun(study, place, stage)
            split(turn)
            announce(turn, measure(turn))
            publish(turn)


if __name__ == "__main__":
    from collapse_lab.flows._run import main

    main(real)
