"""The DAG for real: Prefect, DVC and Great Expectations, on a tiny study.

    tiny-real ─┬─ replace-01 ──── replace-02 ──── replace-03
               └─ accumulate-01 ─ accumulate-02 ─ accumulate-03
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from conftest import TINY

from collapse_lab.engine.ledger import Ledger
from collapse_lab.engine.scan import Scan
from collapse_lab.flows.generation import beside
from tests.worlds.project import Project

#: As little as shows it: each stage is a process of its own under `dvc repro`.
SMALL = TINY.replace("generations: 3", "generations: 1").replace("  accumulate: {regime: accumulate}\n", "")
NODES = [f"tiny-{branch}-{g:02d}" for branch in ("accumulate", "replace") for g in (1, 2, 3)]


@pytest.fixture(scope="module")
def done(tmp_path_factory, prefect_api) -> Project:
    """A project after `collapse repro`. Tests that use it must not change it."""
    project = Project.make(tmp_path_factory.mktemp("repro") / "p", TINY, prefect_api)
    project.run("collapse", "repro", "--workers", "2")
    return project


@pytest.fixture
def copy(done, tmp_path) -> Project:
    """A project of its own after `collapse repro`."""
    shutil.copytree(done.root, tmp_path / "p", symlinks=True)
    return Project(tmp_path / "p", done.api)


def inodes(project: Project) -> dict[str, int]:
    """The manifest of each node: a node that is made again has a new file."""
    return {node: os.stat(project.root / f"data/{node}/pool/_manifest.json").st_ino for node in NODES}


def test_a_run_leaves_dvc_and_git_clean_and_a_second_does_nothing(done):
    assert done.fresh
    changed = done.run("git", "status", "--short").stdout.split()
    assert changed == ["A", "dvc.lock"]
    before, lock = inodes(done), done.lock
    assert "nothing to do" in done.run("collapse", "repro").stderr
    assert (inodes(done), done.lock) == (before, lock)


def test_a_run_notes_what_dvc_would_find(done, monkeypatch):
    monkeypatch.chdir(done.root)
    noted = Scan.read()
    assert noted is not None and not noted.stale
    ledger = Ledger()
    found = ledger.scan(ledger.order)
    assert (found.order, found.upstream, found.seen, found.stale) == \
        (noted.order, noted.upstream, noted.seen, noted.stale)


def rewritten(path: str) -> None:
    """Write a file anew, with its size and its time, as `rsync -t` may: what differs could be anything."""
    before, old = Path(path).read_bytes(), os.stat(path)
    Path(path).unlink()  # it may be a link into DVC's cache
    Path(path).write_bytes(before)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


CHANGES = {
    "an output rewritten": lambda: rewritten("data/tiny-replace-02/pool/_manifest.json"),
    "an output gone": lambda: Path("data/records/tiny/tiny-replace-02.json").unlink(),
    "a file beside others": lambda: Path("data/tiny-replace-02/pool/more.parquet").write_bytes(b"x"),
    "a file of the cache gone": lambda: next(path for path in Path(".dvc/cache/files/md5").glob("0*/*")).unlink(),
    "a study": lambda: rewritten("studies/tiny.yaml"),
    "the lock": lambda: rewritten("dvc.lock"),
    "the map": lambda: rewritten("lineage.yaml"),
    "stages of another hand": lambda: (Path("more").mkdir(), Path("more/dvc.yaml").write_text("stages: {}\n")),
    "what DVC ignores": lambda: Path("more/.dvcignore").write_text("*\n"),
    "a setting": lambda: Path(".dvc/config.local").write_text("[core]\n    checksum_jobs = 1\n"),
}


def test_no_change_is_missed_by_what_was_noted(copy, monkeypatch):
    monkeypatch.chdir(copy.root)
    for what, change in CHANGES.items():
        time.sleep(0.1)  # of what was written a moment ago nothing is noted
        ledger = Ledger()
        ledger.scan(ledger.order)
        assert Scan.read() is not None, what
        change()
        assert Scan.read() is None, what
    time.sleep(0.1)
    ledger = Ledger()
    ledger.scan(ledger.order)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(copy.root))
    assert Scan.read() is None


@pytest.mark.parametrize("path", ["dvc.lock", "lineage.yaml", "dvc.yaml", ".dvc/config"])
def test_nothing_is_noted_of_stages_that_were_read_before_a_change(copy, monkeypatch, path):
    monkeypatch.chdir(copy.root)
    Path(".dvc/tmp/collapse/scan.json").unlink()
    ledger = Ledger()
    rewritten(path)
    assert not ledger.scan(ledger.order).stale and Scan.read() is None


def test_dvc_repro_writes_the_same_lock_and_runs_experiments(tmp_path, prefect_api):
    one, other = (Project.make(tmp_path / name, SMALL, prefect_api) for name in ("one", "other"))
    one.run("collapse", "repro")
    other.run("dvc", "repro")
    assert one.lock == other.lock
    other.commit()
    weights = other.root / "data/tiny-replace-01/model/weights.safetensors"
    before = weights.stat().st_ino
    other.run("dvc", "exp", "run", "-q", "-S", "studies/tiny.yaml:gates.tail_ratio.min=1000")
    record = json.loads(other.read("data/records/tiny/tiny-replace-01.validation.json"))
    assert {gate["gate"]: gate["min"] for gate in record["gates"]}["tail_ratio"] == 1000
    assert weights.stat().st_ino == before


def test_another_order_of_branches_writes_the_same_entries(done, tmp_path, prefect_api):
    branches = ("  replace: {regime: replace}\n", "  accumulate: {regime: accumulate}\n")
    other = Project.make(tmp_path / "p", TINY.replace("".join(branches), "".join(reversed(branches))), prefect_api)
    other.run("collapse", "repro")
    mine, theirs = (yaml.safe_load(project.lock)["stages"] for project in (done, other))
    assert list(mine) == list(theirs)
    for name in mine:
        if name not in {"plan", "report@tiny"}:  # these read the study file itself
            assert mine[name] == theirs[name]


def test_an_interrupted_run_goes_on_to_the_same_lock(done, tmp_path, prefect_api):
    other = Project.make(tmp_path / "p", TINY, prefect_api)  # with one worker, and the others' lock is of two
    process = subprocess.Popen(other.command("collapse", "repro"), cwd=other.root, env=other.environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (other.root / "data/records/tiny/tiny-replace-02.verdict.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "generation@tiny-replace-01" in other.lock
    whole = [node for node in NODES if (other.root / f"data/records/tiny/{node}.verdict.json").exists()]
    before = {node: (other.root / f"data/{node}/model/model.json").stat().st_mtime_ns for node in whole}
    other.run("collapse", "repro")
    assert other.lock == done.lock
    assert other.fresh
    kept = [n for n in whole if (other.root / f"data/{n}/model/model.json").stat().st_mtime_ns == before[n]]
    assert len(kept) >= len(whole) - 1, "a whole node was made again"


def test_generation_1_is_the_same_under_every_regime(tmp_path, prefect_api):
    regimes = {
        "replace": "{regime: replace}", "accumulate": "{regime: accumulate}", "window": "{regime: window, k: 2}",
        "subsample": "{regime: subsample}", "anchor": "{regime: anchor, real: 0.5}",
        "redraw": "{regime: redraw, real: 0.5}",
    }
    lines = "".join(f"  {name}: {rule}\n" for name, rule in regimes.items())
    text = SMALL.replace("  replace: {regime: replace}\n", lines)
    project = Project.make(tmp_path / "p", text, prefect_api)
    project.run("collapse", "repro")
    import pandas as pd

    def found(name: str):
        node = f"tiny-{name}-01"
        weights = (project.root / f"data/{node}/model/weights.safetensors").read_bytes()
        sample = pd.read_parquet(project.root / f"data/{node}/sample/{node}.parquet")
        return weights, sample, pd.read_parquet(project.root / f"data/records/tiny/{node}.parquet")

    first = found("replace")
    for name in regimes:
        weights, sample, record = found(name)
        assert weights == first[0]
        pd.testing.assert_frame_equal(sample, first[1], check_exact=True)
        pd.testing.assert_frame_equal(record, first[2], check_exact=True)


def test_more_replicates_leave_the_first_ones_as_they_are(done, tmp_path, prefect_api):
    import pandas as pd

    other = Project.make(tmp_path / "p", TINY.replace("replicates: 2", "replicates: 3"), prefect_api)
    other.run("collapse", "repro", "--branch", "accumulate")
    for node in ("tiny-accumulate-01", "tiny-accumulate-03"):
        few, many = (pd.read_parquet(p.root / f"data/{node}/sample/{node}.parquet") for p in (done, other))
        pd.testing.assert_frame_equal(few, many[many.replicate < 2].reset_index(drop=True), check_exact=True)


def test_a_changed_threshold_judges_again_and_trains_nothing(copy):
    project = copy
    before = inodes(project)
    project.study(TINY.replace("min: 0.0", "min: 0.001"))
    project.run("collapse", "plan")
    project.run("collapse", "repro")
    assert inodes(project) == before
    record = json.loads(project.read("data/records/tiny/tiny-replace-02.validation.json"))
    assert next(gate["min"] for gate in record["gates"] if gate["gate"] == "tail_ratio") == 0.001
    assert project.fresh

    # A gate that no sample passes ends one branch at generation 1: what stands below is made anew, and nothing else.
    project.study(TINY.replace("replace: {regime: replace}",
                               "replace: {regime: replace, gates: {tail_ratio: {min: 1000, action: halt}}}"))
    project.run("collapse", "plan")
    printed = project.run("collapse", "repro").stderr
    assert "tiny replace: halted by tail_ratio at tiny-replace-01" in printed
    after = inodes(project)
    assert {node for node in NODES if after[node] != before[node]} == {"tiny-replace-02", "tiny-replace-03"}
    manifest = json.loads(project.read("data/tiny-replace-03/pool/_manifest.json"))
    assert manifest["parts"] == []
    assert manifest["halted"] == {"gate": "tail_ratio", "node": "tiny-replace-01"}
    assert project.fresh


def test_a_quarantined_sample_is_left_out_of_training(tmp_path, prefect_api):
    text = TINY.replace("tail_ratio: {min: 0.0}", "w1_step: {max: 0.0, action: quarantine}")
    project = Project.make(tmp_path / "p", text, prefect_api)
    project.run("collapse", "repro")
    verdict = json.loads(project.read("data/records/tiny/tiny-accumulate-01.verdict.json"))
    assert verdict["outcome"] == "quarantine"
    parts = json.loads(project.read("data/tiny-accumulate-03/pool/_manifest.json"))["parts"]
    assert [p["origin"] for p in parts] == ["tiny-real", "tiny-accumulate-03"]
    # Replace has nothing left to train on, and says so.
    halted = json.loads(project.read("data/tiny-replace-02/pool/_manifest.json"))["halted"]
    assert "nothing to train on" in halted["gate"]
    assert project.fresh


def test_accumulate_stores_each_part_once(done):
    """Every part of the last pool is one file on disk, in the pools below it and in DVC's cache."""
    last = done.root / "data/tiny-accumulate-03/pool"
    parts = sorted(last.glob("*.parquet"))
    assert len(parts) == 4
    for part in parts:
        links = os.stat(part).st_nlink
        below = [p for p in done.root.glob("data/tiny-accumulate-*/pool/*.parquet") if p.name == part.name]
        assert all(os.path.samefile(p, part) for p in below)
        assert links > len(below)
    cache = {path: path.stat().st_size for path in (done.root / ".dvc/cache/files").rglob("*") if path.is_file()}
    assert sum(os.path.samefile(path, parts[0]) for path in cache) == 1


def test_a_fork_grows_from_its_stem(tmp_path, prefect_api):
    text = TINY.replace("gates:", "  rescue: {from: replace, at: 2, regime: accumulate}\ngates:")
    project = Project.make(tmp_path / "p", text, prefect_api)
    project.run("collapse", "repro", "--branch", "rescue")
    manifest = json.loads(project.read("data/tiny-rescue-03/pool/_manifest.json"))
    assert manifest["parent"]["node"] == "tiny-replace-02"
    assert [p["origin"] for p in manifest["parts"]] == ["tiny-replace-02", "tiny-rescue-03"]
    assert not (project.root / "data/tiny-accumulate-01").exists()


BROKEN = '''
"""A Gaussian whose second generation cannot be fitted while a file says so."""

from pathlib import Path

from collapse.errors import NodeError
from collapse.models.gaussian import Gaussian


class Broken(Gaussian):
    """Fail at generation 2."""

    kind = "broken"

    def fit(self, rows, rng):
        if "2" in rng.address[2:3] and Path("break").exists():
            raise NodeError("the second fit is broken; remove the file 'break'")
        return super().fit(rows, rng)
'''


def test_a_node_that_fails_stops_its_branch_alone_and_is_tried_again(copy):
    text = TINY.replace("  accumulate: {regime: accumulate}\n",
                        "  broken: {regime: replace, model: {kind: broken}}\n")
    project = copy
    (project.root / "collapse/models/broken.py").write_text(BROKEN)
    (project.root / "break").touch()
    project.study(text)
    project.run("collapse", "plan")
    failed = project.run("collapse", "repro", ok=False)
    assert failed.returncode == 1
    assert "tiny-broken-02 failed: the second fit is broken" in failed.stderr
    assert "Traceback" not in failed.stderr
    states = {s["node"]: s for s in json.loads(project.run("collapse", "status", "--json").stdout)}
    assert states["tiny-broken-02"]["state"] == "failed"
    assert "remove the file" in states["tiny-broken-02"]["error"]
    assert states["tiny-replace-03"]["state"] == "whole"
    assert not (project.root / "data/tiny-broken-02").exists()
    (project.root / "break").unlink()
    project.run("collapse", "repro")
    assert {s["state"] for s in json.loads(project.run("collapse", "status", "--json").stdout)} == {"whole"}


def test_an_output_that_was_changed_by_hand_is_put_back(copy):
    part = copy.root / "data/tiny-replace-01/pool/tiny-replace-01.parquet"
    before = part.read_bytes()
    part.unlink()  # it is a link into DVC's cache
    part.write_bytes(b"changed by hand")
    copy.run("collapse", "repro")
    assert part.read_bytes() == before
    assert copy.fresh


def test_what_dvc_leaves_of_a_link_when_it_is_killed_makes_nothing_stale(copy):
    left = [copy.root / "data/records/tiny/.Xq3_a-bTzK0.tmp", copy.root / "data/tiny-replace-01/pool/.Yq3.tmp"]
    for path in left:  # it tries its links beside each output, under such a name
        path.write_bytes(b"test")
    assert copy.fresh
    before = copy.lock
    assert "nothing to do" in copy.run("collapse", "repro").stderr
    assert copy.lock == before and not any(path.exists() for path in left)


def test_the_runs_can_be_followed_in_prefect(done, prefect_api):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=["tiny-replace-02"]))
        runs = client.read_flow_runs(flow_run_filter=named, limit=200, sort=FlowRunSort.START_TIME_ASC)
        assert runs
        assert any(run.state_name == "Completed" for run in runs)
        assert all({"tiny", "replace"} <= set(run.tags) for run in runs)
        asked = {"flow_runs": {"name": {"any_": ["tiny-replace-02"]}}}
        tasks = client.request("POST", "/task_runs/filter", json=asked).json()
        assert tasks and not any(task["tags"] for task in tasks)  # each tag costs a question about its limit
        shown = {item["key"]: item for item in client.request("POST", "/artifacts/latest/filter", json={}).json()}
    assert {"tiny-replace-02", "report-tiny"} <= set(shown)
    assert shown["tiny-replace-02"]["flow_run_id"] in {str(run.id) for run in runs}


def test_what_is_done_beside_a_node_is_waited_for_and_its_error_is_raised():
    seen: list[float] = []
    with beside() as aside:
        aside(lambda: seen.append(time.sleep(0.2) or 1.0))
    assert seen == [1.0]
    with pytest.raises(ZeroDivisionError), beside() as aside:
        aside(lambda: 1 / 0)


def test_status_names_every_node(done):
    states = {s["node"]: s for s in json.loads(done.run("collapse", "status", "--json").stdout)}
    assert set(states) == {"tiny-real", *NODES}
    assert {s["state"] for s in states.values()} == {"whole"}
    assert all(s["stage"] in {"healthy", "early", "late", "distorted"} for s in states.values())


def test_the_planner_reads_the_records_of_enough_replicates(done, monkeypatch):
    import pandas as pd

    from collapse.advice.condition import Keep, Of
    from collapse.advice.options import Ground
    from collapse.study.parse import read_study
    from collapse_lab.engine.recommend.ask import _on_record, _whole

    monkeypatch.chdir(done.root)
    study, keep = read_study(Path(), "tiny"), Keep.parse("w1 <= 100", {"w1"})

    def found(replicates: int, whole: set[str]):
        return _on_record("replace", study.branches["replace"], keep, Of("mean"), 3, replicates, Ground(study),
                          lambda: whole)

    whole = _whole("tiny")
    item = found(2, whole)
    assert (item.how, item.left.breaks) == ("records", None)
    records = [pd.read_parquet(f"data/records/tiny/tiny-replace-0{t}.parquet") for t in (1, 2, 3)]
    assert item.left.value == max(r.query("metric == 'w1' and feature == ''").value.mean() for r in records)
    assert found(3, whole) is None
    assert found(2, whole - {"tiny-replace-02"}) is None


@pytest.mark.parametrize(("change", "words"), [
    (("seed: 3", "sead: 3"), "sead is not a key; did you mean 'seed'?"),
    (("generations: 3", "generations: 4"), "lineage.yaml: does not match"),
])
def test_bad_input_is_one_line_and_leaves_everything_as_it_was(done, change, words):
    lock, lineage = done.lock, done.read("lineage.yaml")
    before = inodes(done)
    try:
        done.study(TINY.replace(*change))
        for command in (["repro"], ["status"]):
            failed = done.run("collapse", *command, ok=False)
            assert failed.returncode == 2
            assert words in failed.stderr
            assert len(failed.stderr.strip().splitlines()) == 1
    finally:
        done.study(TINY)
    assert (done.lock, done.read("lineage.yaml"), inodes(done)) == (lock, lineage, before)


def test_a_folder_that_is_no_repository(tmp_path, prefect_api):
    project = Project(tmp_path, prefect_api)
    failed = project.run("collapse", "repro", ok=False, PYTHONPATH=str(Path(__file__).parents[1]))
    assert failed.returncode == 2
    assert len(failed.stderr.strip().splitlines()) == 1
    assert "params.yaml: no such file" in failed.stderr
