"""Draw the node's raw fresh sample."""

from __future__ import annotations

from collapse import loop
from collapse.parquet import write_part
from collapse.pool import Part
from collapse_lab.tasks._work import work
from collapse_lab.tasks.node_run import NodeRun


@work(name="sample")
def sample(turn: NodeRun) -> Part:
    """Sample from the fitted model and stage the raw sample."""
    branch = turn.branch
    schema = turn.real.first.schema
    count = loop.sample_rows(branch, turn.study)
    turn.rows = branch.model.make(turn.parameters, schema, count, turn.rng.at("sample"), turn.real.first.rows)
    part = Part.of(turn.rows, turn.node.name, turn.node.generation, synthetic=True, model=turn.manifest["weights"])
    folder = turn.stage / "sample"
    folder.mkdir()
    write_part(part, folder / f"{turn.node.name}.parquet", turn.study.name)
    return part
