"""Generation 0: a source split into the first pool, the bank and the held-out reference."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from flows.shared import hand_over

    hand_over("real")

from prefect import flow

from collapse.layout import DATA
from collapse.pool import staging
from flows.generation import announce
from tasks import NOWHERE
from tasks.events import recorded
from tasks.measure import measure
from tasks.publish import publish
from tasks.split import split
from tasks.turn import Turn, find


@flow(persist_result=False, result_storage=NOWHERE, name="real")
def real(node: str) -> None:
    """Make generation 0 of a study. It is checked apart, after the calibration, which needs it."""
    with recorded(f"real@{node}"):
        study, place = find(node)
        with staging(DATA, node) as stage:
            turn = Turn(study, place, stage)
            split(turn)
            announce(turn, measure(turn))
            publish(turn)


if __name__ == "__main__":
    from flows.run import main

    main(real)
