"""The tutorial is run as it stands: its files are written, its commands run, and what they print is what it shows.

`python tests/test_tutorial.py` writes what they print anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds.project import ROOT, Project

PAGE = ROOT / "docs/tutorial.md"
FILE = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SESSION = re.compile(r"^```\n(\$ .*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[−-]?\d[\d.,]*(e[−-]?\d+)?")
#: A study to begin a project with, which is not run.
FIRST = """\
title: First
seed: 1
source: {kind: gaussian}
model: {kind: gaussian}
rows: 40
generations: 1
replicates: 2
branches: {replace: {regime: replace}}
gates: {}
"""


def shown(done: subprocess.CompletedProcess) -> str:
    """What a reader sees: what was printed, or else how the progress ended."""
    if done.stdout.strip():
        return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines()) + "\n"
    lines = done.stderr.strip().splitlines()
    return f"…\n{lines[-1].strip()}\n" if lines else ""


def run(text: str, project: Project) -> str:
    """Run the tutorial's commands in a project, and return the tutorial with what they print."""
    for name, body in FILE.findall(text):
        (project.root / name).write_text(body)
    code = 0

    def session(found: re.Match[str]) -> str:
        nonlocal code
        made = ""
        for command in re.findall(r"^\$ (.*)$", found[1], re.MULTILINE):
            if command == "echo $?":
                made += f"$ {command}\n{code}\n"
                continue
            words = command.split()
            done = project.run(*([sys.executable, *words[1:]] if words[0] == "python" else words), ok=False)
            code = done.returncode
            assert "Traceback" not in done.stderr and (code == 0 or words[1] == "watch"), done.stderr[-2000:]
            made += f"$ {command}\n{shown(done)}"
        return f"```\n{made}```"

    return SESSION.sub(session, text)


def plain(text: str) -> list[str]:
    """Return the lines without numbers and without what only aligns them: another processor may round otherwise."""
    return [re.sub(r"[ ─]+", " ", NUMBER.sub("#", line)).strip() for line in text.splitlines()]


@pytest.mark.slow
def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path, prefect_api):
    text = PAGE.read_text(encoding="utf-8")
    assert plain(run(text, Project.make(tmp_path / "p", FIRST, prefect_api, name="first"))) == plain(text)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        before = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(run(before, Project.make(Path(folder) / "p", FIRST, name="first")), encoding="utf-8")
