"""The gates of one node, judged apart: a new threshold never retrains."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from flows.shared import hand_over

    hand_over("check")

from prefect import flow

from tasks import NOWHERE
from tasks.check import check as judge
from tasks.events import recorded


@flow(persist_result=False, result_storage=NOWHERE, name="check")
def check(node: str) -> str:
    """Judge one node and return its outcome: pass, halt or quarantine. A check always succeeds."""
    with recorded(f"check@{node}"):
        return judge(node)["outcome"]


if __name__ == "__main__":
    from flows.run import main

    main(check)
