"""One node: train → sample → pool → measure → record."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from collapse_lab.flows._handover import hand_over

    hand_over("generation")

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from collapse.lineage.layout import DATA
from collapse.storage import staging
from collapse_lab.tasks._work import NOWHERE
from collapse_lab.tasks.check import check
from collapse_lab.tasks.events import RunEvents, recorded
from collapse_lab.tasks.fit import fit
from collapse_lab.tasks.halted_node import halted_node
from collapse_lab.tasks.measure import measure
from collapse_lab.tasks.node_run import NodeRun, find
from collapse_lab.tasks.pool import pool
from collapse_lab.tasks.publish import publish
from collapse_lab.tasks.sample import sample


@flow(persist_result=False, result_storage=NOWHERE, name="generation")
def generation(node: str, judge: bool = False) -> str:
    """Make one node from its parent's pool; with ``judge``, check it in the same run. Returns the outcome."""
    with beside() as aside:
        with recorded(f"generation@{node}") as run:
            study, place = find(node)
            with staging(DATA, node) as stage:
                turn = NodeRun(study, place, stage)
                if turn.halted:
                    halted_node(turn)
                else:
                    fit(turn)
                    drawn = sample(turn)
                    pool(turn, drawn)
                    aside(announce, turn, measure(turn))
                publish(turn)
        return judged(node, run) if judge else "made"


@contextmanager
def beside() -> Iterator[Callable[..., None]]:
    """Provide what calls a function in a thread of its own; the end waits for it, and raises what it raised."""
    calls: list[Future[Any]] = []
    with ThreadPoolExecutor(1) as thread:  # a context is a copy: the flow run that is known here is known there
        yield lambda *words: calls.append(thread.submit(copy_context().run, *words))
    for call in calls:
        call.result()


def announce(turn: NodeRun, scalars: dict[str, float]) -> None:
    """Show a node's figures in the Prefect UI."""
    table = [{"metric": name, "median": value} for name, value in scalars.items()]
    create_table_artifact(table, key=turn.node.name, description=f"{turn.node.name}: medians over replicates")


def judged(node: str, run: RunEvents) -> str:
    """Check a node in the run that made it, say the outcome in the run's log, and return it."""
    with recorded(f"check@{node}", run):
        verdict = check(node)
    gates = f" ({', '.join(verdict['gates'])})" if verdict["gates"] else ""
    get_run_logger().info(f"{node}: {verdict['outcome']}{gates}")
    return verdict["outcome"]


if __name__ == "__main__":
    from collapse_lab.flows._run import main

    main(generation)
