"""What the stages of one `dvc repro` share, and what becomes of it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from collapse_lab.flows import _handover
from tests.worlds.project import Project

STUDY = """\
title: Stages that share a server
seed: 3
source: {kind: gaussian}
model: {kind: gaussian}
rows: 40
generations: 3
replicates: 2
calibration: 10
measure: {only: [spread]}
branches: {replace: {regime: replace}}
gates: {variance_ratio: {min: 0.0}}
"""
#: A model that waits, for something to happen meanwhile.
SLOW = """\
import time
from typing import ClassVar
from collapse.models.gaussian import Gaussian


class Slow(Gaussian):
    kind: ClassVar[str] = "slow"

    def solve(self, summary, rng):
        open("began", "w").close()
        time.sleep(30)
        return super().solve(summary, rng)
"""


def alive(word: str) -> list[int]:
    """Return the processes with ``word`` in their environment's folder or command."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if word in (folder / "cmdline").read_bytes().decode(errors="replace") or \
                        os.readlink(folder / "cwd") == word:
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def gone(root: Path, seconds: float = 20) -> bool:
    """Return whether every process in a folder has ended within so many seconds."""
    deadline = time.monotonic() + seconds
    while alive(str(root)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not alive(str(root))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project that was made by `dvc repro`, with a server of its own."""
    project = Project.make(tmp_path_factory.mktemp("shared") / "p", STUDY)
    project.run("dvc", "repro")
    yield project
    for process in alive(str(project.root)):  # a process that no `dvc repro` called waits for a minute
        os.kill(process, signal.SIGKILL)


def test_stages_are_run_by_one_process_that_ends_with_dvc(made):
    assert made.fresh
    said = made.read(str(_handover.LOG))
    assert "Traceback" not in said
    assert gone(made.root)


def test_a_changed_threshold_judges_again(made):
    made.study(STUDY.replace("min: 0.0", "min: 0.001"))
    made.run("collapse", "plan")
    done = made.run("dvc", "repro")
    assert done.stdout.count("> python -m collapse_lab.flows.check") == 4
    assert made.fresh


def test_a_stage_that_fails_is_one_line_and_an_exit_code(made):
    failed = made.run("python", "-m", "collapse_lab.flows.check", "tiny-nowhere-01", "0", ok=False, DVC_STAGE="check@x")
    assert failed.returncode == 2
    assert failed.stderr.strip().startswith("error: 'tiny-nowhere-01' is not a node of the studies in params.yaml")


def test_a_stage_of_dvc_and_a_run_of_collapse_refuse_each_other(made):
    with open(made.root / _handover.HELD, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        stage = made.run("python", "-m", "collapse_lab.flows.check", "tiny-replace-01", "0", ok=False, DVC_STAGE="x")
        assert stage.returncode == 2
        assert stage.stderr == (f"error: another run holds this checkout (process {os.getpid()}); wait for it, or stop "
                                "it\n")
        file.truncate(0)
        fcntl.flock(file, fcntl.LOCK_SH)  # as a stage does
        run = made.run("collapse", "repro", ok=False)
    assert run.returncode == 2 and "another run holds this checkout (a stage of 'dvc repro')" in run.stderr


def test_without_a_folder_of_ones_own_a_stage_does_its_own_work(made, monkeypatch, tmp_path, prefect_api):
    folder = tmp_path / f"collapse-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    done = made.run("python", "-m", "collapse_lab.flows.check", "tiny-replace-01", "0", DVC_STAGE="x",
                    TMPDIR=str(tmp_path), PREFECT_API_URL=prefect_api)
    assert done.returncode == 0 and not list(folder.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_ended(tmp_path, number):
    project = Project.make(tmp_path / "p", STUDY)
    (project.root / "collapse/models/slow.py").write_text(SLOW)
    project.study(STUDY.replace("model: {kind: gaussian}", "model: {kind: slow}"))
    project.run("collapse", "plan")
    run = subprocess.Popen(project.command("dvc", "repro"), cwd=project.root, env=project.environment(),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                           # the processes of a parallel test run are deaf to it, and so would be what they start
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        deadline = time.monotonic() + 120
        while not (project.root / "began").exists() and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.1)
        assert (project.root / "began").exists()
        (os.kill if number == signal.SIGKILL else os.killpg)(run.pid, number)
        said, _ = run.communicate(timeout=60)
        assert "Traceback" not in said
        assert gone(project.root)
        assert not list((project.root / "data/.tmp").glob("calibrate*")) or number == signal.SIGKILL
    finally:
        for process in alive(str(project.root)):
            os.kill(process, signal.SIGKILL)
