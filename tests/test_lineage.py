"""The child → parent map, and the tree it draws.

    s-real ── replace-01 ── replace-02 ── replace-03 ── replace-04
                                │
                                └──────── rescue-03 ─── rescue-04 ── rescue-05
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from collapse import loop
from collapse.errors import InputError, NodeError
from collapse.lineage.nodes import all_nodes, ancestors, nodes_of
from collapse.lineage.plan import build, check_current
from collapse.manifest import MANIFEST
from collapse.study.files import read_params
from collapse.study.parse import parse_study, read_studies

STUDY = {
    "title": "t", "seed": 1, "source": {"kind": "gaussian"}, "model": {"kind": "gaussian"}, "rows": 50,
    "generations": 4, "replicates": 2, "gates": {},
    "branches": {"replace": {"regime": "replace"},
                 "rescue": {"from": "replace", "at": 2, "regime": "accumulate", "generations": 5}},
}


def study(**changes):
    return parse_study({**STUDY, **changes}, "s", Path("studies/s.yaml"))


def test_the_tree():
    parents = {node.name: node.parent for node in nodes_of(study()).values()}
    assert parents == {
        "s-real": None,
        "s-replace-01": "s-real", "s-replace-02": "s-replace-01", "s-replace-03": "s-replace-02",
        "s-replace-04": "s-replace-03",
        "s-rescue-03": "s-replace-02", "s-rescue-04": "s-rescue-03", "s-rescue-05": "s-rescue-04",
    }


def test_ancestors_lead_to_real_data():
    known = nodes_of(study())
    way = [node.name for node in ancestors(known, "s-rescue-04")]
    assert way == ["s-rescue-04", "s-rescue-03", "s-replace-02", "s-replace-01", "s-real"]
    assert all(node.generation == len(ancestors(known, name)) - 1 for name, node in known.items())


def test_parents_come_before_children_whatever_the_order_of_branches():
    branches = dict(reversed(STUDY["branches"].items()))
    names = list(nodes_of(study(branches=branches)))
    for node in nodes_of(study(branches=branches)).values():
        assert node.parent is None or names.index(node.parent) < names.index(node.name)


def test_a_branch_with_a_model_of_its_own_has_a_noise_floor_of_its_own():
    branches = {"replace": {"regime": "replace"}, "ml": {"regime": "replace", "model": {"ddof": 0}}}
    built = build({"s": study(branches=branches)})
    assert {key: item["floor"] for key, item in built["calibrations"].items()} == {
        "s": "calibration", "s-ml": "calibration-ml"}
    assert built["nodes"]["s-ml-01"]["floor"] == "calibration-ml"
    assert built["nodes"]["s-replace-01"]["floor"] == "calibration"


def test_optional_keys_are_watched_only_where_they_stand():
    plain = build({"s": study()})["generations"]["s-replace-01"]
    with_tails = build({"s": study(tails=[{"where": "x > 1"}])})["generations"]["s-replace-01"]
    assert (plain["tails"], with_tails["tails"]) == ("source", "tails")


def test_gates_of_a_branch_are_watched_by_its_checks_alone():
    branches = {"replace": {"regime": "window", "k": 2, "rows": 30, "gates": {}}}
    built = build({"s": study(branches=branches)})
    node = built["generations"]["s-replace-01"]
    assert node["setting1"] == "branches.replace.k"
    assert node["own_rows"] == "branches.replace.rows"
    assert not any("gates" in str(value) for value in node.values())
    assert built["nodes"]["s-replace-01"]["own_gates"] == "branches.replace.gates"


def test_two_nodes_of_one_name_are_refused():
    one = parse_study({**STUDY, "branches": {"b-c": {"regime": "replace"}}}, "a", Path("studies/a.yaml"))
    two = parse_study({**STUDY, "branches": {"c": {"regime": "replace"}}}, "a-b", Path("studies/a-b.yaml"))
    with pytest.raises(InputError, match=r"studies/a-b\.yaml: node 'a-b-c-01' also belongs to study 'a'; rename one"):
        all_nodes({"a": one, "a-b": two})


def test_the_committed_map_is_current():
    root = Path(__file__).parents[1]
    studies = read_studies(root, read_params(root))
    check_current(root, studies)
    assert yaml.safe_load((root / "lineage.yaml").read_text()) == build(studies)


def test_a_stale_map_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match="run 'collapse plan'"):
        check_current(tmp_path, {"s": study()})
    (tmp_path / "lineage.yaml").write_text("old: true\n")
    with pytest.raises(InputError, match=r"does not match.*run 'collapse plan'"):
        check_current(tmp_path, {"s": study()})


@pytest.mark.parametrize("model", [{"init": "continue"}, {"first_encoder": True}])
def test_a_node_reads_its_parents_weights_only_where_its_model_is_given_them(model, tmp_path, monkeypatch):
    import numpy as np
    from safetensors.numpy import save_file

    from collapse_lab.tasks.node_run import WEIGHTS, NodeRun

    monkeypatch.chdir(tmp_path)
    branches = {"fresh": {"regime": "replace", "model": {**model, "init": "fresh"}}, "keep": {"regime": "replace",
                "model": model}, "fork": {"from": "fresh", "at": 2, "regime": "replace", "model": model}}
    known = study(branches=branches, model={"kind": "vae", "latent": 1})
    nodes = nodes_of(known)
    for name in nodes:
        for folder in ("model", "pool"):
            (tmp_path / "data" / name / folder).mkdir(parents=True)
        if name != known.real:
            learned = {"w": np.array([len(name), nodes[name].generation])}
            save_file(learned, f"data/{name}/model/{WEIGHTS}")
            Path(f"data/{name}/pool/{MANIFEST}").write_text(json.dumps({"weights": loop.digest(learned), "parts": []}))

    def start(name: str):
        return NodeRun(known, nodes[name], tmp_path).start

    assert start("s-keep-01") is None
    if "init" in model:
        assert start("s-fresh-03") is None
    assert start("s-keep-03")["w"].tolist() == [len("s-keep-02"), 2]
    assert start("s-fork-03")["w"].tolist() == [len("s-fresh-02"), 2]

    # DVC sees the weights of a parent by its pool, whose manifest names them: others are not taken up
    save_file({"w": np.array([0, 0])}, f"data/s-keep-02/model/{WEIGHTS}")
    with pytest.raises(NodeError, match=r"weights.safetensors: is not what s-keep-02 learned .*collapse repro"):
        start("s-keep-03")


def test_what_checks_watch_is_what_the_lock_has_where_nothing_is_withdrawn():
    root = Path(__file__).parents[1]
    lock = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    stage = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["check"]["do"]
    for name, item in yaml.safe_load((root / "lineage.yaml").read_text())["nodes"].items():
        recorded = lock[f"check@{name}"]
        assert recorded["cmd"] == stage["cmd"].replace("${key}", name).replace("${item.code}", item["code"]).replace(
            "${item.word}", item["word"])
        (listed,) = (keys for entry in stage["params"] for keys in entry.values())
        watched = {item[key[7:-1]] if key.startswith("${item.") else key for key in listed}
        assert watched == set(recorded["params"][f"studies/{item['study']}.yaml"])
