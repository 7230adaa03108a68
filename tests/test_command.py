"""Programs and objects of other people as models: what they may do, and everything that they may do wrong."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from collapse import loop, registry
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.models._exchange import read, write
from collapse.models.command import Command, pack, unpack
from collapse.models.python import Python
from collapse.parquet import read_part
from collapse.rng import Rng
from tests.worlds.project import Project

DOCS = Path(__file__).parents[1] / "docs/yours.md"

MIXED = Schema((
    Column("x", "number"),
    Column("age", "number", type="integer"),
    Column("gap", "number", missing=True),
    Column("born", "number", type="date"),
    Column("seen", "number", type="datetime"),
    Column("job", "category", ('a, "b"', "é", "7", "(missing)"), missing=True),
    Column("old", "category", ("False", "True"), type="boolean"),
))
NUMBER = Schema((Column("x", "number"),))
LABELLED = Schema((Column("x", "number"), Column("y", "number"),
                   Column("label", "category", ("p", "q", "r"), role="label")))


def mixed(replicates: int = 1, n: int = 40) -> Rows:
    g = np.random.default_rng(0)
    shape = (replicates, n)
    return Rows(MIXED, {
        "x": g.normal(size=shape), "age": g.integers(18, 80, shape).astype(float),
        "gap": np.where(g.random(shape) < 0.2, np.nan, g.normal(size=shape)),
        "born": g.integers(-9000, 9000, shape).astype(float),
        "seen": (g.integers(0, 10**9, shape) * 10**6).astype(float),
        "job": g.integers(0, 4, shape).astype(np.int32), "old": g.integers(0, 2, shape).astype(np.int32)})


def labelled(replicates: int = 2, n: int = 60) -> Rows:
    g = np.random.default_rng(1)
    label = g.integers(0, 2, (replicates, n)).astype(np.int32)  # nobody is r
    x = 10 * label[..., None] + g.normal(size=(replicates, n, 2))
    return Rows.assemble(LABELLED, x, {"label": label})


def numbers(replicates: int = 2, n: int = 30) -> Rows:
    return Rows(NUMBER, {"x": np.random.default_rng(2).normal(size=(replicates, n))})


#: Programs in Python that read what is needed only. `sys.argv` is what the commands below say.
FIT = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2] + '/rows')"
SAMPLE = """
import sys
import numpy as np, pyarrow.parquet as pq
model, rows, seed, out = sys.argv[1:]
table = pq.read_table(model + '/rows')
pq.write_table(table.take(np.random.default_rng(int(seed)).integers(len(table), size=int(rows))), out)
"""


def command(sample: str = SAMPLE, fit: str = FIT, **settings) -> Command:
    return Command(**{"fit": [sys.executable, "-c", fit, "{data}", "{out}", "{seed}"],
                      "sample": [sys.executable, "-c", sample, "{model}", "{rows}", "{seed}", "{out}"], **settings})


# -------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_rows_survive_the_way_to_a_program_and_back(tmp_path, form):
    rows = mixed()
    write(rows, tmp_path / "rows", form)
    back = read(tmp_path / "rows", MIXED, rows.n, form)
    for name in MIXED.names:
        np.testing.assert_array_equal(back[name], rows[name])


def test_images_and_tokens_survive_too(tmp_path):
    g = np.random.default_rng(3)
    schema = Schema((Column("image", "image", shape=(3, 2)), Column("text", "text", ("a", "b", "c"), (4,))))
    rows = Rows(schema, {"image": g.random((1, 9, 3, 2), dtype=np.float32),
                         "text": g.integers(0, 3, (1, 9, 4)).astype(np.int32)})
    write(rows, tmp_path / "rows", "parquet")
    back = read(tmp_path / "rows", schema, 9, "parquet")
    for name in schema.names:
        np.testing.assert_array_equal(back[name], rows[name])


def test_columns_may_come_in_another_order_and_numbers_as_other_languages_write_them(tmp_path):
    lines = ["old,job,seen,born,gap,age,x", "TRUE,7,2020-01-02T03:04:05,2020-01-02,NA,30.2,1e+05", "0,é,2020-01-02,"
             "2020-01-02,,31, 2"]
    (tmp_path / "rows").write_text("\n".join(lines) + "\n")
    back = read(tmp_path / "rows", MIXED, 2, "csv")
    assert back["x"].tolist() == [[1e5, 2.0]] and back["age"].tolist() == [[30.0, 31.0]]
    assert back["old"].tolist() == [[1, 0]] and back["job"].tolist() == [[2, 1]] and np.isnan(back["gap"]).all()
    assert back["born"].tolist() == [[18263.0, 18263.0]]


def test_a_program_is_a_model_and_each_replicate_is_its_own(tmp_path):
    rows, model = mixed(replicates=2), command()
    model.check(MIXED, rows.n)
    learned = model.fit(rows, Rng(1, "fit"))
    drawn = model.sample(learned, MIXED, 25, Rng(1, "sample"))
    assert drawn.n == 25 and drawn.replicates == 2
    for r in range(2):
        assert np.isin(drawn["x"][r], rows["x"][r]).all()
    again = model.sample(learned, MIXED, 25, Rng(1, "sample"))
    for name in MIXED.names:
        np.testing.assert_array_equal(again[name], drawn[name])
    other = model.sample(learned, MIXED, 25, Rng(2, "sample"))
    assert (other["x"] != drawn["x"]).any()
    assert loop.digest(model.fit(rows, Rng(1, "fit"))) == loop.digest(learned)
    # more replicates leave the first as they are
    assert loop.digest(model.fit(rows.first(1), Rng(1, "fit"))) == loop.digest({"0/rows": learned["0/rows"]})


def test_files_are_packed_with_their_names_and_nothing_leaves_the_folder(tmp_path):
    (tmp_path / "a/deep").mkdir(parents=True)
    (tmp_path / "a/deep/weights.bin").write_bytes(bytes(range(256)))
    (tmp_path / "empty").write_bytes(b"")
    found = pack(tmp_path)
    assert list(found) == ["a/deep/weights.bin", "empty"]
    unpack(found, tmp_path / "copy")
    assert (tmp_path / "copy/a/deep/weights.bin").read_bytes() == bytes(range(256))
    for name in ("../x", "/x", "a/../../x", ""):
        with pytest.raises(NodeError, match="outside its folder"):
            unpack({name: found["empty"]}, tmp_path / f"out{len(name)}{name.count('.')}")
    assert not (tmp_path / "x").exists()
    (tmp_path / "copy/link").symlink_to("/etc/passwd")
    with pytest.raises(NodeError, match="a link"):
        pack(tmp_path / "copy")
    (tmp_path / "copy/link").unlink()
    os.mkfifo(tmp_path / "copy/pipe")
    with pytest.raises(NodeError, match="no plain file"):
        pack(tmp_path / "copy")


# ---------------------------------------------------------------------------------------- bad programs

WRITES = "import sys\nmodel, rows, seed, out = sys.argv[1:]\nprint('hello from the log')\n" \
    "import pyarrow as pa, pyarrow.parquet as pq\nn = int(rows)\n"
BAD = {
    "raise SystemExit('no luck')": "exited with 1 after .* no luck",
    "pass": "wrote no file sample.parquet; its log ends: hello from the log",
    "open(out, 'w').write('x,y')": "cannot be read as parquet .*hello from the log",
    "pq.write_table(pa.table({'x': [1.0] * (n - 1)}), out)": "has 29 rows, and 30 were asked for",
    "pq.write_table(pa.table({'y': [1.0] * n}), out)": "lacks the column 'x'",
    "pq.write_table(pa.table({'x': [1.0] * n, 'y': [1.0] * n}), out)": "has a column 'y' that the training data",
    "pq.write_table(pa.table({'x': [float('nan')] * n}), out)": "column 'x' has 30 values that are NaN",
    "pq.write_table(pa.table({'x': pa.nulls(n, pa.float64())}), out)": "column 'x' has 30 values that are NaN",
    "pq.write_table(pa.table({'x': [float('inf')] * n}), out)": "column 'x' has 30 infinite values",
    "pq.write_table(pa.table({'x': ['a'] * n}), out)": "column 'x' is string, not number",
    "pq.write_table(pa.table({'x': [[1.0]] * n}), out)": "column 'x' is list",
    "import os; os.symlink('/etc/passwd', out)": "wrote no file",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "was ended by signal 11",
}


@pytest.mark.parametrize("body", BAD)
def test_a_program_that_misbehaves_fails_its_node_in_one_line(body):
    model, rows = command(WRITES + body), numbers()
    learned = model.fit(rows, Rng(1))
    with pytest.raises(NodeError, match=BAD[body]) as found:
        model.sample(learned, NUMBER, 30, Rng(2))
    assert "\n" not in str(found.value) and str(found.value).startswith("sample of replicate 0: ")


def test_unknown_categories_and_missing_ones_are_refused():
    body = "pq.write_table(pa.table({'x': [1.0] * n, 'y': [1.0] * n, 'label': %s}), out)"
    rows = labelled()
    for labels, what in (("['s'] * n", "column 'label' has the unknown category 's'; choose from p, q, r"),
                         ("['p'] * (n - 1) + [None]", "column 'label' lacks 1 values")):
        model = command(WRITES + body % labels)
        with pytest.raises(NodeError, match=what):
            model.sample(model.fit(rows, Rng(1)), LABELLED, 10, Rng(2))


def test_a_fit_that_writes_nothing_is_refused():
    with pytest.raises(NodeError, match=r"fit of replicate 0: wrote nothing to \{out\}; its log ends: done"):
        command(fit="print('done')").fit(numbers(), Rng(1))


def alive(mark: str) -> list[str]:
    """Processes with ``mark`` in their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(path.parent.name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
@pytest.mark.parametrize("ends", [True, False])
def test_nothing_that_a_program_starts_outlives_it(ends):
    """Children in the background, and daemons in sessions of their own; where the program ends and where it hangs."""
    mark = f"31{os.getpid()}{int(ends)}"
    script = f"setsid sleep {mark} & (sleep {mark} &) & echo busy; cp $1 $2/; " + ("" if ends else f"sleep {mark}")
    model = Command(fit=["sh", "-c", script, "fit", "{data}", "{out}"], sample=["true", "{model}{rows}{seed}{out}"],
                    timeout=30 if ends else 0.5)
    begin = time.monotonic()
    if ends:
        model.fit(numbers(1), Rng(1))
    else:
        with pytest.raises(NodeError, match=r"had not ended after 0.5 s and was killed; raise model.timeout.*busy"):
            model.fit(numbers(1), Rng(1))
    assert time.monotonic() - begin < 10
    assert alive(mark) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
def test_a_program_dies_with_a_worker_that_is_killed(tmp_path):
    mark = f"32{os.getpid()}"
    code = ("import sys; from pathlib import Path; from collapse.models import _programs as programs; "
            f"programs.run(['sh', '-c', 'setsid sleep {mark} & sleep {mark}'], Path(sys.argv[1]), 60, 'fit')")
    worker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log")])
    deadline = time.monotonic() + 20
    while len(alive(mark)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    while alive(mark):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_commands_that_cannot_run_are_refused_when_planned():
    good = {"fit": ["cp", "{data}", "{out}"], "sample": ["cp", "{model}", "{rows}", "{seed}", "{out}"]}
    for change, what in (({"fit": ["cp", "{dat}", "{out}"]}, "'{dat}' is not a placeholder; did you mean 'data'"),
                         ({"fit": ["cp", "{data}"]}, "command.fit lacks the placeholder {out}"),
                         ({"sample": ["cp", "{model}", "{rows}", "{out}"]}, "lacks the placeholder {seed}"),
                         ({"fit": ["no-such-tool", "{data}", "{out}"]}, "'no-such-tool' is not a program"),
                         ({"version": ["no-such-tool"]}, "command.version: 'no-such-tool' is not a program"),
                         ({"version": ["false"]}, "command.version: 'false' exited with 1"),
                         ({"fit": ["cp", "{data}\0", "{out}"]}, "zero byte")):
        with pytest.raises(InputError) as found:
            Command(**{**good, **change}).check(NUMBER, 30)
        assert what in str(found.value)
    # the braces of another language are its own
    Command(**{**good, "fit": ["awk", "NR>1{print}", "{data}", "{out}"]}).check(NUMBER, 30)
    with pytest.raises(InputError, match="CSV cannot hold image"):
        Command(**good, format="csv").check(Schema((Column("image", "image", shape=(2, 2)),)), 30)


def test_what_a_model_is_made_of_is_part_of_its_digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"fit": ["sh", "tools/fit.sh", "{data}", "{out}"], "sample": ["sh", "tools/sample.sh", "{model}", "{rows}",
                                                                         "{seed}", "{out}"]}
    Path("tools").mkdir()
    Path("tools/fit.sh").write_text("cp $1 $2")
    assert Command(**words).program == "tools/fit.sh"
    Path("tools/sample.sh").write_text("cp $1 $4")
    model = Command(**words, version=["sh", "-c", "echo two; echo lines"])
    assert model.program == "tools" and model.spec()["program"]["version"] == "two | lines"
    before = model.digest
    Path("tools/sample.sh").write_text("cp $1/* $4")
    assert model.digest != before
    Path("one.sh").write_text("")
    apart = {**words, "fit": ["sh", "one.sh", "{data}", "{out}"]}
    with pytest.raises(InputError, match="share no folder below the project's; move them into one"):
        _ = Command(**apart).program
    assert Command(**apart, watch="tools").program == "tools"
    for watch, what in (("none", "is not there"), ("/etc", "is not inside the project"), (".", "is not inside")):
        with pytest.raises(InputError, match=what):
            _ = Command(**apart, watch=watch).program


# ------------------------------------------------------------------------------------- Python objects


def test_what_is_learned_is_stored_as_arrays_and_set_on_a_fresh_object():
    model, rows = Python(object="sklearn.mixture:GaussianMixture", **{"with": {"n_components": 2}}), labelled()
    model.check(LABELLED, rows.n)
    learned = model.fit(rows, Rng(1))
    assert any("state" in name for name in learned) and not any("again" in name for name in learned)
    drawn = model.sample(learned, LABELLED, 200, Rng(2))
    assert set(np.unique(drawn["label"])) == {0, 1}  # a class without rows never returns
    gap = drawn["x"] - 10 * drawn["label"]
    assert np.abs(gap).max() < 6
    again = model.sample(learned, LABELLED, 200, Rng(2))
    assert all((again[name] == drawn[name]).all() for name in LABELLED.names)


def test_what_cannot_be_stored_is_fitted_again_from_its_rows():
    model, rows = Python(object="sklearn.neighbors:KernelDensity", **{"with": {"bandwidth": 0.001}}), numbers()
    learned = model.fit(rows, Rng(1))
    assert {name.split("/")[-1] for name in learned} == {"x", "seed", "shares", "replicates"}
    drawn = model.sample(learned, NUMBER, 50, Rng(2))
    for r in range(2):
        assert np.abs(drawn["x"][r][:, None] - rows["x"][r][None]).min(axis=1).max() < 0.01
    assert (model.sample(learned, NUMBER, 50, Rng(2))["x"] == drawn["x"]).all()
    assert model.spec()["program"]["version"].startswith("scikit-learn ")


MINE = """
import numpy as np

class Bootstrap:
    def fit(self, frame):
        self.frame = frame

    def sample(self, n):
        return self.frame.iloc[np.random.randint(len(self.frame), size=n)]

class Wrong:
    def __init__(self, what="short"):
        self.what = what

    def fit(self, x):
        if self.what == "raise":
            raise RuntimeError("two\\nlines")

    def sample(self, n):
        return {"short": np.zeros((n - 1, 1)), "nan": np.full((n, 1), np.nan), "text": "text"}[self.what]

class Without:
    def fit(self, x): pass
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    name = f"mine{abs(hash(str(tmp_path)))}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"{name}.py").write_text(MINE)
    return name


def test_a_class_of_ones_own_takes_whole_tables_and_may_draw_from_global_generators(mine):
    model, rows = Python(object=f"{mine}:Bootstrap", rows="frame"), mixed(2)
    model.check(MIXED, rows.n)
    assert model.program == f"{mine}.py"
    state = np.random.get_state()[1].copy()
    learned = model.fit(rows, Rng(1))
    drawn, again = (model.sample(learned, MIXED, 30, Rng(2)) for _ in range(2))
    assert (np.random.get_state()[1] == state).all()
    for name in MIXED.names:
        np.testing.assert_array_equal(drawn[name], again[name])
        assert np.isin(np.nan_to_num(drawn[name][1]), np.nan_to_num(rows[name][1])).all()


def test_objects_that_misbehave_fail_in_one_line(mine):
    for what, said in (("raise", "raised RuntimeError: two lines"), ("short", r"returned shape \(29, 1\)"),
                       ("nan", "returned 30 values that are NaN"), ("text", "returned no matrix of numbers")):
        model = Python(object=f"{mine}:Wrong", **{"with": {"what": what}})
        with pytest.raises(NodeError, match=said) as found:
            model.sample(model.fit(numbers(), Rng(1)), NUMBER, 30, Rng(2))
        assert "\n" not in str(found.value)
    for settings, said in (({"object": f"{mine}:Without"}, "has no method 'sample'"),
                           ({"object": f"{mine}:Nobody"}, "has no class 'Nobody'"),
                           ({"object": "no_such_module:X"}, "no_such_module cannot be imported"),
                           ({"object": f"{mine}:Wrong", "with": {"who": 1}}, "cannot be made with")):
        with pytest.raises(InputError, match=said):
            Python(**settings).check(NUMBER, 30)
    with pytest.raises(InputError, match="write rows: frame"):
        Python(object=f"{mine}:Wrong").check(MIXED, 30)


# ---------------------------------------------------------------------------------------- in a project

STUDY = """\
title: My own program
seed: 3
source: {kind: table, path: people.csv}
model: {kind: command, format: csv, fit: [sh, tools/fit.sh, "{data}", "{out}"],
        sample: [awk, -f, tools/draw.awk, -v, "n={rows}", -v, "seed={seed}", -v, "out={out}", "{model}/rows.csv"]}
rows: 60
generations: 2
replicates: 2
calibration: 10
measure: {only: [spread]}
branches:
  replace: {regime: replace}
  mine: {regime: replace, generations: 1, model: {kind: python, object: "mine:Mine", with: {}}}
gates: {}
"""
DRAW = 'NR == 1 { print > out; next } { row[NR - 2] = $0 } ' \
       'END { srand(seed); for (i = 0; i < n; i++) print row[int(rand() * (NR - 1))] > out }\n'
OBJECT = """
import numpy as np

class Mine:
    def fit(self, x):
        self.mean_, self.root_ = x.mean(axis=0), np.linalg.cholesky(np.cov(x, rowvar=False))

    def sample(self, n, seed):
        return self.mean_ + np.random.default_rng(seed).normal(size=(n, len(self.mean_))) @ self.root_.T
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_api):
    folder = tmp_path_factory.mktemp("command") / "p"
    g = np.random.default_rng(0)
    lines = [f"{g.normal():.4f},{g.normal():.4f}" for _ in range(300)]
    beside = folder.with_name("beside")
    beside.mkdir()
    (beside / "people.csv").write_text("a,b\n" + "\n".join(lines) + "\n")
    study = STUDY.replace("people.csv", str(beside / "people.csv"))
    project = _made(folder, study, prefect_api)
    project.run("collapse", "repro")
    return project


def _made(folder: Path, study: str, api: str) -> Project:
    kde = re.sub(r"model: \{kind: command.*?\}\n(?=rows)", "model: {kind: kde}\n", study, flags=re.DOTALL)
    kde = re.sub(r"  mine: .*\n", "", kde)
    project = Project.make(folder, kde, api)
    (folder / "tools").mkdir()
    (folder / "tools/fit.sh").write_text('cp "$1" "$2/rows.csv"\n')
    (folder / "tools/draw.awk").write_text(DRAW)
    (folder / "mine.py").write_text(OBJECT)
    project.study(study)
    project.run("collapse", "plan")
    project.commit()
    return project


def test_a_study_of_a_program_runs_is_clean_and_can_be_replayed(made):
    assert made.fresh
    rows = read_part(made.root / "data/tiny-replace-02/sample/tiny-replace-02.parquet").rows()
    assert rows.n == 60 and rows.replicates == 2
    assert {"tools", "mine.py"} < set(yaml.safe_load(made.read("lineage.yaml"))["code"])
    done = made.run("collapse", "audit", "tiny", "--replay", "3")
    assert "trained again and equal: " in done.stdout


def test_a_changed_script_trains_again_and_nothing_else(made):
    before = made.run("collapse", "status", "--json").stdout
    assert "stale" not in before
    script = made.root / "tools/draw.awk"
    script.write_text(DRAW.replace("srand(seed)", "srand(seed + 1)"))
    refused = made.run("collapse", "repro", ok=False)
    assert refused.returncode == 2
    assert refused.stderr.strip() == ("error: lineage.yaml: was written for other code: tools changed since; "
                                      "run 'collapse plan' to rewrite it")
    made.run("collapse", "plan")
    stale = made.run("dvc", "status").stdout
    assert "generation@tiny-replace-01" in stale and "calibrate@tiny:" in stale
    assert "real@" not in stale and "generation@tiny-mine-01" not in stale
    script.write_text(DRAW)
    made.run("collapse", "plan")
    assert made.fresh


def logged(api: str) -> list[str]:
    """What the server's log of runs has of programs."""
    import httpx

    body = {"limit": 200, "sort": "TIMESTAMP_DESC"}
    deadline = time.monotonic() + 20
    while True:
        found = httpx.post(f"{api}/logs/filter", json=body, timeout=20).json()
        lines = [item["message"] for item in found if item["name"] == "collapse.models._programs"]
        if lines or time.monotonic() > deadline:
            return lines
        time.sleep(0.5)


def test_a_program_that_fails_leaves_no_half_of_a_node(made):
    script = made.root / "tools/fit.sh"
    before = script.read_text()
    script.write_text('echo first; echo "cannot: second" >&2; exit 3\n')
    made.run("collapse", "plan")
    done = made.run("collapse", "repro", ok=False)
    assert done.returncode == 1
    assert "'sh' exited with 3" in done.stderr and "first | cannot: second" in done.stderr
    assert not list((made.root / "data/.tmp").glob("*"))
    assert any(line == "fit of replicate 0: cannot: second" for line in logged(made.api))
    script.write_text(before)
    made.run("collapse", "plan")
    made.run("collapse", "repro")
    assert made.fresh


# ------------------------------------------------------------------------------------------- examples


def examples() -> dict[str, tuple[str, str]]:
    """Title → (YAML of a model, the files beside it) of docs/yours.md."""
    found = {}
    for title, body in re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.M):
        blocks = re.findall(r"(?:`([\w./-]+)`:?\n\n)?```(\w+)\n(.*?)```", body, re.DOTALL)
        if any(kind == "yaml" and text.startswith("model:") for _, kind, text in blocks):
            found[title] = blocks
    return found


@pytest.mark.parametrize("title", list(examples()) if DOCS.exists() else [])
def test_the_examples_run(title, tmp_path, monkeypatch):
    import shutil

    from ruamel.yaml import YAML

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    length, settings = 0, None
    for name, kind, text in examples()[title]:
        length += len(text.splitlines())
        if kind == "yaml":
            settings = YAML(typ="safe").load(text)["model"]
        elif name:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
            Path(name).chmod(Path(name).stat().st_mode | stat.S_IXUSR)
    assert length <= 15
    if settings["kind"] == "command" and shutil.which(settings["fit"][0]) is None:
        pytest.skip(f"{settings['fit'][0]} is not installed")
    model = registry.find("models", settings.pop("kind"))(**settings)
    rows = labelled() if model.kind == "python" else numbers() if "Node" in title or "R script" in title else mixed(2)
    model.check(rows.schema, rows.n)
    learned = model.fit(rows, Rng(1))
    drawn, again = (model.sample(learned, rows.schema, 25, Rng(2)) for _ in range(2))
    assert drawn.n == 25
    for name in rows.schema.names:
        np.testing.assert_array_equal(drawn[name], again[name])
