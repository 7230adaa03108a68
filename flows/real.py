"""Generation 0: a source split into the first pool, the bank and the held-out reference."""

from __future__ import annotations

from prefect import flow

from collapse.layout import DATA
from collapse.pool import staging
from flows.generation import announce, judged
from tasks.measure import measure
from tasks.publish import publish
from tasks.record import record
from tasks.split import split
from tasks.turn import Turn, find


@flow(name="real", flow_run_name="{node}")
def real(node: str, judge: bool = False) -> str:
    """Make generation 0 of a study; with ``judge``, check it in the same run. Returns the outcome."""
    study, place = find(node)
    with staging(DATA, node) as stage:
        turn = Turn(study, place, stage)
        split(turn)
        measure(turn)
        announce(turn, record(turn))
        publish(turn)
    return judged(node, judge)


if __name__ == "__main__":
    from flows.run import main

    main(real)
