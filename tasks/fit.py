"""Fit the node's model to its parent's pool."""

from __future__ import annotations

import json

import numpy as np

from collapse.lineage.layout import Files
from collapse.storage import link, sync, write_text
from collapse_lab.tasks._work import work
from collapse_lab.tasks.node_run import WEIGHTS, NodeRun


@work(name="fit")
def fit(turn: NodeRun) -> None:
    """Fit the branch's model to the training set and stage what it learned."""
    from safetensors.numpy import save_file

    branch = turn.branch
    turn.parameters = branch.model.learn(turn.pool, turn.rng.at("fit"), turn.start)
    turn.manifest = turn.describe()
    folder = turn.stage / "model"
    folder.mkdir()
    # safetensors writes the memory of a transposed or reversed array as it lies there, in silence
    save_file({k: np.ascontiguousarray(v) for k, v in turn.parameters.items()}, folder / WEIGHTS)
    sync(folder / WEIGHTS)
    about = {"model": turn.manifest["model"], "node": turn.node.name, "weights": turn.manifest["weights"]}
    tokeniser = Files(turn.study.real, turn.study.name).bank / "tokeniser.json"
    if tokeniser.exists():
        link(tokeniser, folder / tokeniser.name)
    write_text(folder / "model.json", json.dumps(about, indent=1, sort_keys=True) + "\n")
