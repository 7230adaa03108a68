"""Sweeps: one template, many branches, with names that hold their values; and their phase diagrams.

    grid-real ─┬─ keep-n50-r000-01   (replace)
               ├─ keep-n50-r020-01   (anchor)
               └─ …
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import TINY

from collapse import laws
from collapse.errors import InputError
from collapse.lineage.nodes import nodes_of
from collapse.lineage.plan import build, render
from collapse.report import phase
from collapse.study.files import read_params
from collapse.study.parse import parse_study, read_studies, read_study
from collapse.study.sweep import label
from collapse_lab.tasks.calibrate import find
from tests.worlds.project import Project

ROOT = Path(__file__).parents[1]
BASE = {"title": "t", "seed": 1, "source": {"kind": "gaussian"}, "model": {"kind": "gaussian", "ddof": 0}, "rows": 100,
        "generations": 3, "replicates": 2, "gates": {}}
KEEP = {"regime": "anchor", "sweep": {"rows": [50, 100], "real": [0, 0.2, 0.125]}}


def study(**branches):
    return parse_study({**BASE, "branches": branches}, "grid", Path("studies/grid.yaml"))


def test_a_template_becomes_branches_that_are_like_any_other():
    swept = study(control={"regime": "control"}, keep=KEEP)
    assert list(swept.branches) == ["control", "keep-n50-r000", "keep-n50-r020", "keep-n50-r0125", "keep-n100-r000",
                                    "keep-n100-r020", "keep-n100-r0125"]
    plain = study(control={"regime": "control"}, one={"regime": "anchor", "rows": 50, "real": 0.2})
    made, own = swept.branches["keep-n50-r020"], plain.branches["one"]
    assert (made.regime, made.rows, made.model, made.keys) == (own.regime, own.rows, own.model, own.keys)
    # a share of no real rows is replace
    assert swept.branches["keep-n50-r000"].regime.kind == "replace"
    assert swept.sweeps["keep"].cells["keep-n100-r0125"] == (100, 0.125)
    assert len(nodes_of(swept)) == 1 + 7 * 3
    forked = study(keep=KEEP, rescue={"from": "keep-n50-r020", "at": 1, "regime": "accumulate"})
    assert nodes_of(forked)["grid-rescue-02"].parent == "grid-keep-n50-r020-01"


def test_models_can_be_swept_too():
    swept = study(keep={"regime": "replace", "model": {"variance": 1.0}, "sweep": {"model.ddof": [0, 1]}})
    assert [b.model.ddof for b in swept.branches.values()] == [0, 1]
    assert [b.model.variance for b in swept.branches.values()] == [1.0, 1.0]
    assert list(swept.branches) == ["keep-ddof0", "keep-ddof1"]


@pytest.mark.parametrize("key", ["real", "model.lr", "k", "rows"])
def test_no_two_values_have_one_name(key):
    values = [0, 0.01, 0.1, 0.001, 0.125, 0.12, 0.5, 1] if key == "real" else \
        [0, 1, 10, 0.1, 1e-05, 1.5, 15, -1, 100.0, "fast", "slow-er", True]
    names = [label(key, value, "sweep") for value in values]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", f"x-{name}") for name in names)


def test_the_map_names_keys_that_the_study_file_has():
    """DVC refuses a parameter that is absent: every slot of a swept branch must be in the file."""
    swept = study(control={"regime": "control"}, keep={**KEEP, "gates": {"variance_ratio": {"min": 0.1}}, "seed": 2})
    text = {**BASE, "branches": {"control": {"regime": "control"}, "keep": {**KEEP, "gates": {}, "seed": 2}}}
    built = build({"grid": swept})
    for item in (*built["generations"].values(), *built["nodes"].values(), *built["calibrations"].values()):
        for key in (v for k, v in item.items() if k.startswith(("own_", "setting"))):
            value = text
            for word in key.split("."):
                assert word in value, key
                value = value[word]
    item = built["generations"]["grid-keep-n50-r020-01"]
    assert (item["branch"], item["own_seed"], item["own_rows"]) == ("keep", "branches.keep.seed", "source")
    assert built["nodes"]["grid-keep-n50-r020-01"]["own_gates"] == "branches.keep.gates"


def test_branches_of_equal_rows_and_model_share_a_calibration():
    built = build({"grid": study(control={"regime": "control"}, keep=KEEP)})
    assert list(built["calibrations"]) == ["grid", "grid-keep-n100", "grid-keep-n50"]
    assert built["nodes"]["grid-keep-n50-r020-01"]["floor"] == built["nodes"]["grid-keep-n50-r000-02"]["floor"]


def test_a_longer_list_leaves_what_was_there_as_it_is():
    before = build({"grid": study(keep=KEEP)})["generations"]
    more = {"regime": "anchor", "sweep": {"rows": [25, 50, 100], "real": [0, 0.2, 0.125, 0.5]}}
    after = build({"grid": study(keep=more)})["generations"]
    assert all(after[name] == item for name, item in before.items())


@pytest.mark.parametrize(("branches", "said"), [
    ({"keep": {"regime": "anchor", "sweep": {"rows": [50], "reel": [1]}}},
     "branches.keep.sweep.reel cannot be swept; did"),
    ({"keep": {"regime": "anchor", "real": 0.1, "sweep": {"real": [0.1]}}}, "has a real of its own"),
    ({"keep": {"regime": "anchor", "sweep": {"real": [0.1, 0.1]}}}, "makes two branches 'keep-r010'; list each"),
    ({"keep": {"regime": "anchor", "sweep": {"real": [0.1]}}, "keep-r010": {"regime": "replace"}},
     "there is one of that"),
    ({"keep": {"regime": "anchor", "sweep": {"real": [0.001]}}}, "branches.keep-r0001.real is 0.001 of 100 rows"),
    ({"keep": {"regime": "anchor", "sweep": {"real": ["A b"]}}}, "'A b' cannot be part of a name"),
    ({"keep": {"regime": "anchor", "sweep": {}}}, "must map keys to lists"),
    ({"keep": {"regime": "anchor", "sweep": {"real": 0.1}}}, "sweep.real must be a list"),
    ({"keep": {"regime": "anchor", "sweep": {"rows": list(range(2, 500))}}}, "makes 498 branches, more than 400"),
    ({"keep": {"sweep": {"rows": [3]}}}, "branches.keep.regime"),
    ({"a": {"regime": "replace", "sweep": {"rows": [10], "seed": [3]}}, "a-n10": {"regime": "replace", "rows": 20}},
     "its calibration would be called 'a-n10'"),
])
def test_bad_sweeps_are_refused_in_one_line(branches, said):
    with pytest.raises(InputError) as found:
        study(**branches)
    assert said in str(found.value) and "\n" not in str(found.value)
    assert str(found.value).startswith("studies/grid.yaml: branches.")


def test_the_committed_map_is_that_of_the_studies():
    assert (ROOT / "lineage.yaml").read_text() == render(read_studies(ROOT, read_params(ROOT)))


@pytest.mark.parametrize("name", ["phase", "phase-digits"])
def test_the_studies_of_phases_are_sound_and_small(name):
    found = read_study(ROOT, name)
    assert found.sweeps and len(nodes_of(found)) < 300


# ------------------------------------------------------------------------------------------ diagrams


def collected(swept, value):
    """What a page knows of a study whose medians are ``value(branch, generation)``."""
    rows = [(b.name, "fit_variance", "", g, value(b, g)) for b in swept.branches.values() for g in range(1, b.last + 1)]
    curves = pd.DataFrame(rows, columns=["branch", "metric", "feature", "generation", "median"])
    views = [SimpleNamespace(name=b.name, last=b.last, nodes=[
        SimpleNamespace(generation=g, stage="late" if value(b, g) < 0.5 else "healthy")
        for g in range(1, b.last + 1)]) for b in swept.branches.values()]
    return SimpleNamespace(study=swept, curves=curves, branches=views, headline=(), facts={})


def test_a_diagram_has_each_branch_in_its_cell_at_each_generation():
    swept = study(control={"regime": "control"}, keep=KEEP)
    drawn, = phase.diagrams(collected(swept, lambda b, g: b.rows / 100 / g))
    assert (drawn["keys"], drawn["x"], drawn["y"]) == (["rows", "real"], ["50", "100"], ["0", "0.2", "0.125"])
    assert drawn["branches"][1] == ["keep-n50-r020", "keep-n100-r020"]
    assert drawn["metrics"][0]["z"][1] == [[0.25, 0.5]] * 3
    assert drawn["stages"][1] == [[2, 0]] * 3  # late and healthy
    json.dumps(drawn, allow_nan=False)


def test_the_law_goes_through_the_swept_values():
    for regime in ("anchor", "refresh", "redraw"):
        swept = study(keep={"regime": regime, "sweep": {"rows": [10, 100], "real": [0.1, 0.5]}})
        law = phase.diagrams(collected(swept, lambda b, g: 1.0))[0]["law"]
        z = np.array(law["z"])
        for row, share in ((0, 0.1), (-1, 0.5)):
            for column, n in ((0, 10), (-1, 100)):
                form = laws.find(f"gaussian.{regime}.variance")(n=n, m=round(share * n))
                np.testing.assert_allclose(z[:, row, column], form(np.arange(1, 4)), rtol=1e-3)
    other = study(keep={"regime": "refresh", "model": {"ddof": 1}, "sweep": {"rows": [10, 100], "real": [0.1, 0.5]}})
    assert phase.diagrams(collected(other, lambda b, g: 1.0))[0]["law"] is None


def test_more_than_two_keys_make_a_diagram_for_each_value_of_the_others():
    swept = study(keep={"regime": "anchor", "sweep": {"rows": [50, 100], "real": [0.2, 0.5], "seed": [1, 2, 3]}})
    drawn = phase.diagrams(collected(swept, lambda b, g: 1.0))
    assert [d["fixed"] for d in drawn] == ["seed 1", "seed 2", "seed 3"]


# --------------------------------------------------------------------------------------- in a project


@pytest.mark.slow
def test_a_sweep_runs_and_is_clean(tmp_path, prefect_api, monkeypatch):
    text = TINY.replace("generations: 3", "generations: 1").replace(
        "  accumulate: {regime: accumulate}\n",
        "  keep: {regime: anchor, sweep: {rows: [20, 40], real: [0, 0.5]}}\n")
    project = Project.make(tmp_path / "p", text, prefect_api)
    project.run("collapse", "repro")
    assert project.fresh
    page = project.read("reports/tiny/index.html")
    assert 'id="phases"' in page and "keep-n20-r050" in page
    monkeypatch.chdir(project.root)
    assert find("tiny-keep-n20")[0].name == "tiny"
    project.study(text.replace("rows: [20, 40]", "rows: [20, 40, 30]"))
    project.run("collapse", "plan")
    status = project.run("dvc", "status").stdout
    assert "generation@tiny-keep-n30-r050-01" in status and "generation@tiny-keep-n20-r050-01" not in status
    assert yaml.safe_load(project.read("lineage.yaml"))["generations"]["tiny-keep-n30-r000-01"]["branch"] == "keep"
