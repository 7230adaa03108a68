"""Survival, for real: killed runs, a full disk, a read-only folder, a server that dies, signals, a second run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.worlds.killing import STUDY, Victim, reset, soak
from tests.worlds.project import Project

#: A run of its own in a folder that is too small for it.
SMALL = STUDY.replace("generations: 3", "generations: 1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, prefect_api) -> str:
    """The lock of an undisturbed run of the small study."""
    project = Project.make(tmp_path_factory.mktemp("whole") / "p", SMALL, prefect_api)
    project.run("collapse", "repro")
    return project.lock


@pytest.fixture(scope="module")
def small(tmp_path_factory, prefect_api) -> Project:
    """One project for all the faults below, each from the beginning."""
    return Project.make(tmp_path_factory.mktemp("faults") / "p", SMALL, prefect_api)


@pytest.fixture
def fresh(small):
    reset(small)
    return small


def one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0]


def reaches(run: Victim, path: Path) -> None:
    """Wait until a run has put a file in place."""
    while not path.exists():
        assert run.process.poll() is None, run.lines
        time.sleep(0.02)


def left_over(project: Project) -> list[Path]:
    """Files that a run which ended may not leave: outputs in the making."""
    return [path for path in (project.root / "data/.tmp").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_ten_killed_runs_end_as_an_undisturbed_one(tmp_path, prefect_api):
    tally = soak(tmp_path, 10, seed=3, api=prefect_api, workers=1, each=10)
    assert tally.wrong == []
    assert tally.kills == 10 and tally.whole >= 1


def living(pid: int) -> psutil.Process | None:
    """A process, unless it ended: also one that is dead and that nobody has asked after yet."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def worked(process: psutil.Process) -> float:
    """Seconds of processor time, of one that may end meanwhile."""
    try:
        return process.cpu_times().user
    except psutil.NoSuchProcess:
        return 0.0


@pytest.mark.parametrize("begun", ["warm()", "Workers(2, 'http://127.0.0.1:1/api')"])
def test_workers_whose_parent_dies_at_once_live_no_longer(tmp_path, begun):
    text = ("import os, psutil, signal\n"
            "from collapse_lab.engine.workers import Workers, warm\n"
            "if __name__ == '__main__':\n"
            f"    {begun}\n"
            "    print(*(child.pid for child in psutil.Process().children()), flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n")
    with open(tmp_path / "born", "w") as out:  # a pipe would stay open as long as they live
        subprocess.run([sys.executable, "-c", text], stdout=out, stderr=subprocess.DEVNULL, check=False)
    born = [int(pid) for pid in (tmp_path / "born").read_text().split()]
    assert len(born) >= 2
    deadline, most = time.monotonic() + 60, 3 if "warm" in begun else float("inf")  # seconds; imports take twice that
    while alive := [process for process in map(living, born) if process]:
        if time.monotonic() > deadline or any(worked(process) > most for process in alive):
            told = [f"{process.status()} {process.cmdline()}" for process in alive]
            for process in alive:
                process.kill()
            pytest.fail(f"live on: {told}")
        time.sleep(0.1)


def test_a_run_that_is_told_to_end_keeps_what_is_finished(fresh, whole):
    run = Victim(fresh)
    reaches(run, fresh.root / "data/records/tiny/calibration.parquet")
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.process.wait(60) in {130, 143}
    run.reader.join(10)
    assert not any("Traceback" in line for line in run.lines)
    assert any("what is finished is kept" in line for line in run.lines)
    assert "real@tiny-real" in fresh.lock and not left_over(fresh)
    fresh.run("collapse", "repro")
    assert fresh.lock == whole


def test_a_second_run_says_who_holds_the_checkout(fresh):
    run = Victim(fresh)
    holder = fresh.root / ".dvc/tmp/collapse/lock"
    reaches(run, holder)
    try:
        second = fresh.run("collapse", "repro", ok=False)
        assert second.returncode == 2
        one_line(second, "another run holds this checkout", f"process {run.process.pid}")
    finally:
        run.kill("everything")


def server(run: Victim, wait: bool = False) -> psutil.Process:
    """Return the server that a run started."""
    while True:
        for process in psutil.Process(run.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "prefect" in " ".join(process.cmdline()):
                    return process
        assert wait and run.process.poll() is None, run.lines
        time.sleep(0.05)


def test_a_server_that_dies_ends_the_run_in_one_line(small, whole):
    reset(small)
    own = Project(small.root)  # no server is given: the run starts one
    run = Victim(own)
    reaches(run, own.root / "data/records/tiny/calibration.parquet")
    server(run).kill()
    assert run.process.wait(120) == 1
    run.reader.join(10)
    errors = [line for line in run.lines if line.startswith("error: ")]
    assert len(errors) == 1, "\n".join(run.lines)
    assert "ended in the middle of the run" in errors[0] and "run it again" in errors[0]
    assert not any("Traceback" in line for line in run.lines), run.lines
    assert "real@tiny-real" in own.lock

    again = Victim(own)
    last = server(again, wait=True)
    while not any("  report  " in line for line in again.lines):
        assert again.process.poll() is None, again.lines
        time.sleep(0.005)
    last.kill()  # only the end is left to be told
    assert again.process.wait(60) in {0, 1}
    assert small.lock == whole


@contextmanager
def mounted(folder: Path, *options: str):
    """Mount a file system on a folder, or skip."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False) \
        if shutil.which("mount") else None
    if done is None or done.returncode != 0:
        pytest.skip(f"no file system can be mounted here ({(done.stderr if done else 'no mount').strip()[:80]})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_ends_the_run_in_one_line(tmp_path, prefect_api, whole):
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=96m", "none"):
        project = Project.make(disk / "p", SMALL, prefect_api)
        for left in (200_000, 2_500_000):  # in the middle of the nodes; at the page, which is larger
            (disk / "ballast").unlink(missing_ok=True)
            state = os.statvfs(disk)
            (disk / "ballast").write_bytes(bytes(state.f_bavail * state.f_frsize - left))
            ended = project.run("collapse", "repro", ok=False)
            assert ended.returncode == 1, ended.stderr
            one_line(ended, "the disk is full", "make room and run it again")
            assert not left_over(project)
            assert all((pool / "_manifest.json").stat().st_size for pool in project.root.glob("data/*/pool"))
        (disk / "ballast").unlink()
        project.run("collapse", "repro")
        assert project.lock == whole
        assert project.run("collapse", "audit", "tiny").returncode == 0


def test_a_read_only_folder_is_one_line(fresh, whole):
    data = fresh.root / "data"
    with mounted(data, "-t", "tmpfs", "-o", "size=64m", "none"):
        subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
        ended = fresh.run("collapse", "repro", ok=False)
        assert ended.returncode in (1, 2)
        one_line(ended, "read-only", "make it writable and run it again", "data")
        subprocess.run(["mount", "-o", "remount,rw", str(data)], check=True)
        fresh.run("collapse", "repro")
        assert fresh.lock == whole


def test_a_disk_that_takes_no_record_leaves_the_lock_as_it_was(fresh, whole):
    """Where DVC keeps its own files is full: nothing is recorded, nothing is lost."""
    with mounted(fresh.root / ".dvc/tmp", "-t", "tmpfs", "-o", "size=12k", "none"):
        ended = fresh.run("collapse", "repro", ok=False)
        assert ended.returncode == 1
        one_line(ended)
        assert not (fresh.root / "dvc.lock").exists()
    fresh.run("collapse", "repro")
    assert fresh.lock == whole
