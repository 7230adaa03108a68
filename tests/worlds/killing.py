"""Runs that are killed at seeded moments, and whether they end as an undisturbed one."""

from __future__ import annotations

import difflib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.worlds.project import Project

STUDY = """\
title: Survival
seed: 11
source: {kind: gaussian}
model: {kind: gaussian}
rows: 50
generations: 3
replicates: 2
calibration: 10
branches:
  replace:    {regime: replace}
  accumulate: {regime: accumulate}
  anchor:     {regime: anchor, real: 0.2}
gates: {}
"""
KILLS, SEED = 200, 20
#: Kills before a run is let go on to its end.
EACH = 8
#: What ends the run by itself, with one line.
PARTIAL = ("worker", "server")


@dataclass
class Tally:
    """How often what was killed and when, how many projects ended as the undisturbed one, and what went wrong."""

    kills: int = 0
    what: Counter[str] = field(default_factory=Counter)
    when: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    whole: int = 0
    wrong: list[str] = field(default_factory=list)


class Victim:
    """A run that will be killed; its lines of progress are counted as they come."""

    def __init__(self, project: Project):
        self.process = subprocess.Popen(project.command("collapse", "repro"), cwd=project.root,
                                        env=project.environment(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(line.rstrip() for line in self.process.stderr)

    def reaches(self, lines: int) -> bool:
        """Wait for so many lines; return False if the run ended before."""
        while len(self.lines) < lines and self.process.poll() is None:
            time.sleep(0.01)
        return self.process.poll() is None

    @property
    def phase(self) -> str:
        """Return what the run is doing."""
        if not any("Prefect UI" in line for line in self.lines):
            return "starting"
        done = [line for line in self.lines if line.startswith("[")]
        if not done:
            return "generation 0"
        count = done[-1][1 : done[-1].index("]")].split("/")
        return "recording" if count[0] == count[1] else "generations"

    def kill(self, what: str) -> str:
        """Kill it, wait until nothing of it lives, and return '' or what is wrong with its end."""
        me = psutil.Process(self.process.pid)
        others = me.children(recursive=True)
        server = [p for p in others if _named(p, "prefect")]
        workers = [p for p in others if _named(p, "forkserver") and _parent(p) != me.pid]
        chosen = {"server": server, "worker": workers[:1]}.get(what, [])
        if what in PARTIAL and not chosen:
            what = "run"
        if what in PARTIAL:
            _end(chosen)
            try:
                self.process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                _end([me, *others])
                return f"the run did not end when its {what} was killed"
        else:
            _end([me, *(others if what == "everything" else ())])
            self.process.wait()
        self.reader.join(10)
        _, alive = psutil.wait_procs(others, timeout=20)
        if alive:
            _end(alive)
            return f"{what} killed: {len(alive)} processes lived on"
        if what in PARTIAL:
            errors = [line for line in self.lines if line.startswith("error: ")]
            if self.process.returncode not in (0, 1) or len(errors) > 1 or any("Traceback" in x for x in self.lines):
                return f"{what} killed: exit code {self.process.returncode}, {self.lines[-3:]}"
        return ""


def _named(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in part for part in process.cmdline())
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def power_cut(root: Path, draw: random.Random) -> None:
    """Drop what had not been flushed: outputs in the making, the end of the journal, files that only DVC wrote."""
    for file in sorted((root / "data/.tmp").rglob("*")):
        if file.is_file():
            size = file.stat().st_size
            fate = draw.choice(("gone", "empty", "zeros", "short"))
            file.unlink()  # an inherited part is linked, and its other name keeps its bytes
            if fate != "gone":
                file.write_bytes({"empty": b"", "zeros": bytes(size), "short": b"P" * (size // 2)}[fate])
    journal = root / ".dvc/tmp/collapse/journal.jsonl"
    if journal.exists():
        with open(journal, "ab") as end:
            end.write(draw.choice((b'{"stage": "generation@tiny-re', bytes(40), b"\xff\xfe{")))
    rwlock = root / ".dvc/tmp/rwlock"
    if rwlock.exists():
        rwlock.write_bytes(b"")
    for file in (root / ".dvc/tmp/collapse").glob("dvc.lock.*"):
        file.write_bytes(b"")


def reset(project: Project) -> None:
    """Return a project to where nothing has been made."""
    for folder in ("data", "reports", ".dvc/tmp", ".dvc/cache", ".prefect"):
        shutil.rmtree(project.root / folder, ignore_errors=True)
    (project.root / "dvc.lock").unlink(missing_ok=True)


def soak(folder: Path, kills: int, seed: int, api: str = "", workers: int = 2, each: int = EACH,
         say: Callable[[str], None] = print) -> Tally:
    """Kill ``kills`` runs in ``folder`` and return what came of it; ``api`` '' gives each run a server of its own.

    After ``each`` kills a run is let go on to its end.
    """
    draw, tally = random.Random(seed), Tally()
    project = Project.make(folder / "p", STUDY, api, workers=workers)
    first = Victim(project)
    if first.process.wait() != 0:
        tally.wrong.append(f"the undisturbed run failed: {first.lines[-3:]}")
        return tally
    first.reader.join()
    lines, lock = len(first.lines), project.lock
    while tally.kills < kills:
        reset(project)
        for _ in range(min(each, kills - tally.kills)):
            victim = Victim(project)
            done = len(list((project.root / "data/records/tiny").glob("*.verdict.json")))
            goal, pause = draw.randrange(0, max(3, lines - done)), draw.uniform(0, 0.6)
            what = draw.choice(("everything", "run", "run", "worker", *(() if api else ("server",))))
            if victim.reaches(goal):
                time.sleep(pause if goal else draw.uniform(0, 4))
            if victim.process.poll() is not None:
                break  # it was done before the blow fell
            phase = victim.phase
            wrong = victim.kill(what)
            tally.kills += 1
            tally.what[what] += 1
            tally.when[phase] += 1
            if wrong:
                tally.wrong.append(f"kill {tally.kills} ({phase}): {wrong}")
            if what not in PARTIAL and draw.random() < 0.5:
                power_cut(project.root, draw)
                tally.dropped += 1
        _compare(project, lock, tally)
        say(f"  {tally.kills} kills, {tally.whole} resumed to the same lock, {len(tally.wrong)} wrong "
            f"({dict(tally.what)}, {dict(tally.when)}){''.join(f'; {line}' for line in tally.wrong[-1:])}")
    return tally


def _compare(project: Project, lock: str, tally: Tally) -> None:
    """Let the run go on to its end, and compare."""
    ended = project.run("collapse", "repro", ok=False)
    if ended.returncode != 0:
        tally.wrong.append(f"after {tally.kills} kills the run fails: {ended.stderr[-400:]}")
    elif project.lock != lock:
        tally.wrong.append(f"after {tally.kills} kills dvc.lock is another: {_unlike(lock, project.lock)}")
    elif (audited := project.run("collapse", "audit", "tiny", ok=False)).returncode != 0:
        tally.wrong.append(f"after {tally.kills} kills the audit says: {audited.stdout[-400:]}{audited.stderr[-400:]}")
    else:
        tally.whole += 1


def _unlike(one: str, other: str) -> str:
    """Return which lines of two locks differ, the first few."""
    changed = list(difflib.unified_diff(one.splitlines(), other.splitlines(), lineterm="", n=4))
    return " | ".join(line.strip() for line in changed[2:26])
