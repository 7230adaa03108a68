"""The gates of one node, judged apart: a new threshold never retrains."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from collapse_lab.flows._handover import hand_over

    hand_over("check")

from prefect import flow

from collapse_lab.tasks._work import NOWHERE
from collapse_lab.tasks.check import check as judge
from collapse_lab.tasks.events import recorded


@flow(persist_result=False, result_storage=NOWHERE, name="check")
def check(node: str) -> str:
    """Judge one node and return its outcome: pass, halt or quarantine. A check always succeeds."""
    with recorded(f"check@{node}"):
        return judge(node)["outcome"]


if __name__ == "__main__":
    from collapse_lab.flows._run import main

    main(check)
