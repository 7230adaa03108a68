"""Shared fixtures: a small project in a folder of its own, and one real Prefect server for the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import flows  # noqa: F401  settles threads and CPU features before NumPy is imported
import pytest

ROOT = Path(__file__).parents[1]
CODE = ("collapse", "flows", "tasks", "dvc.yaml", "prefect.toml", ".dvcignore", ".gitignore", "pyproject.toml")

TINY = """\
title: A tiny Gaussian
seed: 3
source: {kind: gaussian}
model: {kind: gaussian, ddof: 0}
rows: 40
generations: 3
replicates: 2
calibration: 30
branches:
  replace: {regime: replace}
  accumulate: {regime: accumulate}
gates:
  tail_ratio: {min: 0.0}
"""


@dataclass
class Project:
    """A project of its own: the code, one study, git and DVC."""

    root: Path
    api: str

    def run(self, *words: str, ok: bool = True, timeout: int = 240, **environment: str) -> subprocess.CompletedProcess:
        """Run a command in the project; by default it must succeed."""
        done = subprocess.run(self.command(*words), cwd=self.root, env=self.environment(**environment),
                              capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False)
        if ok:
            assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def command(self, *words: str) -> list[str]:
        tools = {"collapse": [sys.executable, "-m", "flows.cli"], "dvc": [sys.executable, "-m", "dvc"]}
        return [*tools.get(words[0], [words[0]]), *words[1:]]

    def environment(self, **more: str) -> dict[str, str]:
        # `python` in dvc.yaml must be the interpreter that runs the tests.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PREFECT_API_URL": self.api, "PYTHONPATH": str(self.root), "PATH": path,
                "COLUMNS": "160", "GIT_CONFIG_GLOBAL": os.devnull, **more}

    def study(self, text: str, name: str = "tiny") -> None:
        (self.root / "studies" / f"{name}.yaml").write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    @property
    def lock(self) -> str:
        return self.read("dvc.lock")

    def commit(self) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        self.run("git", "add", "-A")
        self.run("git", *identity, "commit", "-q", "-m", "study")


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server on loopback, with a database of its own."""
    from flows import server

    home = tmp_path_factory.mktemp("prefect")
    before = Path.cwd()
    shutil.copy(ROOT / "prefect.toml", home)
    os.chdir(home)
    try:
        port = server.free_port()
        process = server.start(port)
    finally:
        os.chdir(before)
    url = f"http://127.0.0.1:{port}/api"
    server.wait(process, url)
    yield url
    server.stop(process)


@pytest.fixture
def project(tmp_path: Path, prefect_api: str) -> Project:
    """A fresh project with the tiny study, planned and committed."""
    return make_project(tmp_path / "p", prefect_api, TINY)


def make_project(root: Path, api: str, study: str) -> Project:
    root.mkdir()
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, root / ".dvc" / name)
    (root / "studies").mkdir()
    (root / "params.yaml").write_text("studies: [tiny]\nmachine: {workers: 2}\n")
    made = Project(root, api)
    made.study(study)
    made.run("git", "init", "-q")
    made.run("collapse", "plan")
    made.commit()
    return made
