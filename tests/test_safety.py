"""What no file of this project may do, and what no name and no file from elsewhere can make it do."""

from __future__ import annotations

import ast
import configparser
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from collapse.data import Column, Schema
from collapse.errors import InputError
from collapse.manifest import read_pool, write_pool
from collapse.pool import Part, Pool
from collapse.study.files import read_params
from collapse.study.parse import parse_study

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("audit", "benchmarks", "collapse", "commands", "engine", "export", "flows", "tasks",
                                   "tests")
               for path in (ROOT / folder).rglob("*.py"))
#: Modules that make objects of bytes, and calls that run text.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
BUILTINS = {"eval", "exec"}
CALLS = {"joblib.load", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle",
         "pd.read_pickle", "subprocess.getoutput", "subprocess.getstatusoutput"}
#: The guide for contributors is run as it is printed, to prove that it is true; ruamel's own reader makes no objects.
ALLOWED = {("tests/test_docs.py", "exec"), ("collapse/study/draft.py", "yaml.load")}


def name(node: ast.AST) -> str:
    """The dotted name of what is called."""
    if isinstance(node, ast.Attribute):
        return f"{name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def constant(call: ast.Call, keyword: str):
    return next((k.value.value for k in call.keywords if k.arg == keyword and isinstance(k.value, ast.Constant)), None)


def unsafe(tree: ast.AST) -> list[str]:
    """What a file does that none may, with its line."""
    found = []
    for node in ast.walk(tree):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else \
            [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"{node.lineno}: import {m}" for m in modules if m.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        called = name(node.func)
        safe_yaml = any("Safe" in ast.unparse(a) for a in [*node.args[1:], *(k.value for k in node.keywords)])
        bad = (
            called in BUILTINS | CALLS
            or (called == "yaml.load" and not safe_yaml and not _ruamel_safe(tree))
            or (called == "torch.load" and constant(node, "weights_only") is not True)
            or constant(node, "shell") is True or constant(node, "trust_remote_code") is True
            or constant(node, "allow_pickle") is True
        )
        if bad:
            found.append(f"{node.lineno}: {called}")
    return found


def _ruamel_safe(tree: ast.AST) -> bool:
    """Whether the name `yaml` is ruamel's safe reader here."""
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and name(node.func) == "YAML"]
    return bool(made) and all(constant(node, "typ") == "safe" for node in made)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_runs_data(path):
    here = path.relative_to(ROOT).as_posix()
    found = unsafe(ast.parse(path.read_text(encoding="utf-8")))
    assert [what for what in found if (here, what.split(": ")[1]) not in ALLOWED] == []


@pytest.mark.parametrize("text", [
    "import pickle", "from dill import loads", "eval('1')", "exec('x = 1')", "yaml.load(f)", "yaml.load(f, Loader)",
    "subprocess.run('ls', shell=True)", "os.system('ls')", "torch.load(f)", "torch.load(f, weights_only=False)",
    "np.load(f, allow_pickle=True)", "AutoModel.from_pretrained(x, trust_remote_code=True)", "joblib.load(f)",
])
def test_the_walk_sees_what_it_looks_for(text):
    assert unsafe(ast.parse(text))


def test_the_walk_lets_the_rest_pass():
    assert not unsafe(ast.parse("model.eval()\nast.literal_eval('1')\nyaml.load(f, yaml.CSafeLoader)\n"
                                "torch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)\nyaml.safe_load(f)"))


ESCAPES = ["../x", "/x", "a/b", "a\\b", "..", ".", "", "~", "a b", "A", "x\n", "real", "x\0", "-x"]


@pytest.mark.parametrize("bad", ESCAPES)
def test_names_cannot_leave_the_data_folder(bad, tmp_path):
    import yaml

    study = yaml.safe_load(TINY)
    with pytest.raises(InputError, match="cannot be a name"):
        parse_study(study, bad, Path("studies/x.yaml"))
    with pytest.raises(InputError, match="cannot be a name"):
        parse_study({**study, "branches": {bad: {"regime": "replace"}}}, "tiny", Path("studies/tiny.yaml"))
    (tmp_path / "params.yaml").write_text(json.dumps({"studies": [bad]}))
    with pytest.raises(InputError):
        read_params(tmp_path)


def numbers(origin: str) -> Part:
    schema = Schema((Column("x", "number"),))
    return Part(origin, False, 0, schema, np.array([3]), lambda: {"x": np.arange(3.0)})


@pytest.mark.parametrize("bad", ["../../outside", "/etc/passwd", "a/../../b", ".."])
def test_a_pools_manifest_cannot_lead_out_of_its_folder(tmp_path, bad):
    write_pool(Pool.of(numbers("x-real")), tmp_path / "pool", {"study": "x"})
    path = tmp_path / "pool/_manifest.json"
    manifest = json.loads(path.read_text())
    manifest["parts"][0]["origin"] = bad
    path.unlink()
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="is no node's name"):
        read_pool(tmp_path / "pool")


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """A folder with a study and its map, of which nothing has been made."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/tiny.yaml").write_text(TINY)
    (tmp_path / "params.yaml").write_text("studies: [tiny]\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    monkeypatch.chdir(tmp_path)
    from collapse_lab.flows import plan

    plan.write()
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """Every path that Python opens while the test runs."""
    import builtins
    import io

    paths, real = [], builtins.open

    def spy(file, *arguments, **words):
        paths.append(str(file))
        return real(file, *arguments, **words)

    monkeypatch.setattr(builtins, "open", spy)
    monkeypatch.setattr(io, "open", spy)
    return paths


@pytest.mark.parametrize("bad", ["../../etc", "/etc", "tiny-replace-1", "..\\x", ""])
def test_a_file_from_elsewhere_cannot_make_an_audit_read_outside(planned, opened, tmp_path, bad):
    from collapse.parquet import write_part
    from collapse_lab.audit.report import audit

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_part(numbers(bad), elsewhere / "part.parquet", "tiny")
    (elsewhere / "_manifest.json").write_text(json.dumps({"node": bad, "parts": []}))
    for target in (elsewhere, elsewhere / "part.parquet"):
        with pytest.raises(InputError, match="which is no node of this project") as caught:
            audit(str(target))
        assert "\n" not in str(caught.value)
    assert not [path for path in opened if "/etc" in path]


@pytest.mark.parametrize("bad", ["../x", "/nowhere", "a/b", "..\\x", "tiny-replace-9"])
def test_no_target_leads_outside(planned, bad):
    from collapse_lab.audit.report import audit, seal

    for command in (audit, lambda study: seal(study, None)):
        with pytest.raises(InputError, match="neither a node nor a study") as caught:
            command(bad)
        assert "\n" not in str(caught.value)
    assert not Path("seals").exists()


def test_only_a_study_is_sealed(planned):
    from collapse_lab.audit.report import seal

    (planned / "plain.txt").write_text("x")
    for target in ("tiny-replace-01", "plain.txt"):
        with pytest.raises(InputError):
            seal(target, None)
    assert not Path("seals").exists()


# -------------------------------------------------------------------------------------- the network


def test_nothing_is_sent_by_default():
    """The project's own settings: of Prefect, of DVC, and of the process that imports flows."""
    prefect = tomllib.loads((ROOT / "prefect.toml").read_text())
    assert prefect["server"]["analytics_enabled"] is False
    assert prefect["cloud"]["enable_orchestration_telemetry"] is False
    assert prefect["telemetry"]["enable_resource_metrics"] is False
    dvc = configparser.ConfigParser()
    dvc.read_string("\n".join(line.strip() for line in (ROOT / ".dvc/config").read_text().splitlines()))
    assert dvc["core"]["analytics"] == dvc["core"]["check_update"] == "false"
    names = ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "GX_ANALYTICS_ENABLED", "PREFECT_SERVER_ANALYTICS_ENABLED")
    bare = {key: value for key, value in os.environ.items() if key not in names}
    code = f"import collapse_lab.flows, os, json; print(json.dumps([os.environ[name] for name in {names!r}]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=bare, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["1", "1", "false", "false"]


def test_plan_status_and_audit_call_nobody(planned, monkeypatch):
    import socket

    from collapse_lab.audit.report import audit
    from collapse_lab.engine.status import status
    from collapse_lab.flows import plan

    def refused(*_, **__):
        raise AssertionError("a connection was opened")

    for call in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, call, refused)
    plan.write()
    subprocess.run(["git", "init", "-q"], check=True)
    for item in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / item, planned)
    (planned / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", planned / ".dvc")
    assert {state.state for state in status()} == {"missing"}
    with pytest.raises(InputError):
        audit("tiny")


def test_the_server_listens_on_loopback_alone(monkeypatch, tmp_path):
    from collapse_lab.engine import server

    started = {}
    monkeypatch.setattr(server.subprocess, "Popen", lambda command, **words: started.update(words, command=command))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere.example/api")
    server.start(4321)
    assert started["command"][-4:] == ["--host", "127.0.0.1", "--port", "4321"]
    assert "PREFECT_API_URL" not in started["env"]
    assert started["env"]["PREFECT_UI_API_URL"] == "http://127.0.0.1:4321/api"


def test_a_running_server_listens_on_loopback_alone(prefect_api):
    """As the kernel has it: the port is bound to 127.0.0.1 and to nothing else."""
    port = int(prefect_api.rsplit(":", 1)[1].removesuffix("/api"))
    bound = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.split(":")[1], 16) == port:
                bound.append(local.split(":")[0])
    assert bound == ["0100007F"]  # 127.0.0.1, as the kernel writes it
