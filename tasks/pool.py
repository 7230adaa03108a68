"""Make the next training set by the branch's regime."""

from __future__ import annotations

from collapse.errors import NodeError
from collapse.manifest import write_pool
from collapse.pool import Part, Pool
from collapse_lab.tasks._work import work
from collapse_lab.tasks.node_run import NodeRun


@work(name="pool")
def pool(turn: NodeRun, sample: Part) -> None:
    """Apply the regime and stage the pool: inherited parts are linked, not copied."""
    branch = turn.branch
    following = branch.regime.next_pool(turn.pool, sample.head(branch.rows), turn.real, turn.rng.at("regime"))
    if not isinstance(following, Pool):
        raise NodeError(f"regime {branch.regime.kind}: next_pool returned a {type(following).__name__}; return a Pool")
    write_pool(following, turn.stage / "pool", turn.manifest, (turn.stage / "sample", turn.parent.pool), branch.model)
