"""A project of its own in an empty folder: this code, one study, git and DVC. Benchmarks and tests run in it."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("dvc.yaml", "prefect.toml", ".dvcignore", ".gitignore", "pyproject.toml")
#: By folder of the tree, where it lies once it is installed.
PACKAGES = {"collapse": "collapse", **{name: f"collapse_lab/{name}" for name in
                                       ("audit", "commands", "engine", "export", "flows", "tasks")}}


@dataclass
class Project:
    """A scratch project; ``api`` is the Prefect server that its runs use ('' for one of their own)."""

    root: Path
    api: str = ""

    @staticmethod
    def make(root: Path, study: str, api: str = "", name: str = "tiny", workers: int = 1) -> Project:
        """Return a fresh project with one study, planned and committed. A second worker costs as much as small runs."""
        root.mkdir(parents=True)
        for item in CODE:
            shutil.copy(ROOT / item, root / item)
        for item, place in PACKAGES.items():  # with its bytecode, which every process of every project would make again
            compileall.compile_dir(ROOT / item, quiet=2)
            shutil.copytree(ROOT / item, root / place)
        (root / ".dvc").mkdir()
        for item in ("config", ".gitignore"):
            shutil.copy(ROOT / ".dvc" / item, root / ".dvc" / item)
        (root / "studies").mkdir()
        (root / "params.yaml").write_text(f"studies: [{name}]\nmachine: {{workers: {workers}}}\n")
        made = Project(root, api)
        made.study(study, name)
        made.run("git", "init", "-q")
        made.run("collapse", "plan")
        made.commit()
        return made

    def command(self, *words: str) -> list[str]:
        """Return ``words`` with the project's own `collapse` and `dvc`."""
        tools = {"collapse": [sys.executable, "-m", "collapse_lab.commands.main"], "dvc": [sys.executable, "-m", "dvc"]}
        return [*tools.get(words[0], [words[0]]), *words[1:]]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command."""
        # `python` in dvc.yaml must be the interpreter that runs this.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        base = {**os.environ, "PYTHONPATH": str(self.root), "PATH": path, "COLUMNS": "160",
                "GIT_CONFIG_GLOBAL": os.devnull}
        if self.api:
            base["PREFECT_API_URL"] = self.api
        return {**base, **more}

    def run(self, *words: str, ok: bool = True, timeout: int = 400, **environment: str) -> subprocess.CompletedProcess:
        """Run a command in the project; by default it must succeed."""
        done = subprocess.run(self.command(*words), cwd=self.root, env=self.environment(**environment),
                              capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False)
        if ok and done.returncode != 0:
            raise AssertionError(f"{words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def study(self, text: str, name: str = "tiny") -> None:
        """Write a study."""
        (self.root / "studies" / f"{name}.yaml").write_text(text)

    def read(self, path: str) -> str:
        """Return a file's text."""
        return (self.root / path).read_text()

    @property
    def lock(self) -> str:
        """Return dvc.lock."""
        return self.read("dvc.lock")

    @property
    def fresh(self) -> bool:
        """Return whether DVC finds nothing stale. `plan` runs every time, and is named every time."""
        return self.run("dvc", "status").stdout.split() == ["plan:", "always", "changed"]

    def commit(self) -> None:
        """Commit everything."""
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        self.run("git", "add", "-A")
        self.run("git", *identity, "commit", "-q", "-m", "study")
