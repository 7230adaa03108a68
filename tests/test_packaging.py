"""What is installed: the packages of the tree under names that are this project's, and all that they import."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("audit", "collapse", "commands", "engine", "export", "flows", "tasks")
#: Declared and imported by no line of ours, and why.
UNSEEN = {"fastapi": "a bound on what prefect would take"}


def module(folder: Path) -> str:
    name = ".".join(folder.relative_to(ROOT).parts)
    return name if name.startswith("collapse") else f"collapse_lab.{name}"


def test_every_package_of_the_tree_is_installed():
    there = {module(path.parent) for top in FOLDERS for path in (ROOT / top).rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == there


def imported() -> set[str]:
    found = set()
    for path in (p for top in FOLDERS for p in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"collapse", "collapse_lab"}


def plain(name: str) -> str:
    return re.split(r"[\s<>=!;\[]", name)[0].lower().replace("_", "-")


def test_what_is_imported_is_declared_and_nothing_else_is():
    declared = {plain(line) for line in PROJECT["project"]["dependencies"]}
    owners = packages_distributions()
    needed = {name: {plain(owner) for owner in owners.get(name, [name])} for name in imported()}
    assert not {name: who for name, who in needed.items() if not who & declared}
    assert not declared - set().union(*needed.values()) - set(UNSEEN)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what it is built from."""
    here = tmp_path_factory.mktemp("wheel")
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-rL", str(ROOT / name), str(here)], check=True)
    code = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    subprocess.run([sys.executable, "-c", code], cwd=here, check=True, capture_output=True, text=True)
    (made,) = here.glob("*.whl")
    return made


def test_the_wheel_owns_no_name_of_its_users(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names} - {f"collapse_lab-{PROJECT['project']['version']}.dist-info"}
    assert tops == {"collapse", "collapse_lab"}
    assert {"collapse/py.typed", "collapse/report/page.html", "collapse_lab/flows/generation.py",
            "collapse_lab/tasks/expectations/suite.py"} <= set(names)


def test_a_users_own_flows_import_beside_the_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    for name in ("flows", "tasks", "audit"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "etl.py").write_text("OWN = True\n")
    code = ("import audit.etl, flows.etl, tasks.etl, collapse_lab.flows, collapse_lab.commands.main as main\n"
            "assert flows.etl.OWN and tasks.etl.OWN and audit.etl.OWN\n"
            "print(main.__file__)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "mine", capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "site/collapse_lab/commands/main.py")


def test_the_installed_package_digests_its_code_as_the_tree_does(wheel, tmp_path):
    """A map written in a checkout holds where the package is installed."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = ("from collapse.lineage.code import Code\nimport json\none = Code()\n"
            "names = one.rests_on('generation', [('models', 'gmm'), ('regimes', 'replace')])\n"
            "print(json.dumps({name: one.digest(name) for name in names}))")
    said = [subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
                           env={**os.environ, "PYTHONPATH": path}).stdout
            for path in (str(tmp_path / "site"), os.environ.get("PYTHONPATH", ""))]
    assert said[0] == said[1] and "collapse_lab.tasks.fit" in said[0]
