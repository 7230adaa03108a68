"""The engines' doors: what is called below a documented interface, name by name, and from one file each."""

from __future__ import annotations

import ast
import importlib
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest

from collapse_lab.engine import dvc_door
from collapse_lab.flows import prefect_door
from collapse_lab.tasks.expectations import door as gx_door

ROOT = Path(__file__).parents[1]
DOORS = {"dvc": dvc_door, "prefect": prefect_door, "great_expectations": gx_door}
CALLED = [(engine, module, name) for engine, door in DOORS.items()
          for module, names in door.CALLED.items() for name in names]
FOLDERS = ("audit", "collapse", "commands", "engine", "export", "flows", "tasks")


@pytest.mark.parametrize(("engine", "module", "name"), CALLED)
def test_an_upgrade_has_taken_nothing_away(engine, module, name):
    try:
        found = hasattr(importlib.import_module(module), name)
    except ImportError:
        found = False
    assert found, f"{engine} {version(engine)} has no {module}.{name}: mend its door"


@pytest.mark.parametrize(("module", "name", "words"), [
    ("dvc.stage.cache", "_get_cache_hash", ["key"]), ("dvc.stage.serialize", "to_single_stage_lockfile", ["stage"]),
    ("dvc.stage.serialize", "to_lockfile", ["stage"]), ("dvc.repo.reproduce", "plan_repro", ["graph"]),
    ("prefect.flow_engine", "run_flow", ["flow", "flow_run", "parameters"]),
])
def test_what_is_called_takes_what_it_is_given(module, name, words):
    there = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert not [word for word in words if word not in there], f"{module}.{name} takes other words: mend its door"


def test_dvc_has_the_parts_of_stages_that_are_set_or_read():
    from dvc.dependency.param import ParamsDependency
    from dvc.output import Output
    from dvc.stage import Stage
    from dvc_data.hashfile.state import State

    for owner, names in ((Stage, ("changed_stage", "save_deps", "remove_outs")), (Output, ("add", "ignore", "status")),
                         (ParamsDependency, ("read_params", "status")), (State, ("set_link",))):
        assert not [name for name in names if not hasattr(owner, name)], f"dvc's {owner.__name__} is another"


def test_sqlite_is_asked_where_the_server_begins_transactions():
    from prefect.server.database.configurations import AioSqliteConfiguration

    words = inspect.signature(AioSqliteConfiguration.begin_transaction).parameters
    assert list(words) == ["self", "session", "with_for_update"]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_each_door_is_the_only_one():
    files = [path for top in FOLDERS for path in (ROOT / top).rglob("*.py")]
    private = {f"{module}.{name}" for engine, module, name in CALLED if engine != "dvc"}
    for path in files:
        here = imports(path)
        if path.name != "dvc_door.py":
            assert not {name for name in here if name.partition(".")[0] == "dvc"}, path
        if path.name not in ("prefect_door.py", "door.py"):
            assert not here & private, path
