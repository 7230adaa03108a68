"""The code that stages rest on: what a digest sees, what a closure holds, and what DVC then calls stale."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from collapse import registry
from collapse.lineage import code
from collapse.lineage.code import OWN, ROOTS, Code, tokens
from tests.worlds.project import ROOT, Project

PLAIN = b'''"""What it is."""
X = {"a":
     1}  # a comment


def f(a, b=f"{X!r:>{3}} said"):
    """Add."""
    return (a +
            b)


class C:
    """A class."""

    y: int = 2
    """What y is."""
'''


@pytest.mark.parametrize(("old", "new"), [
    (b"# a comment", b"# another"), (b"  # a comment", b""), (b"What it is.", b"What else."),
    (b'"""Add."""', b"'Sum.'"),
    (b'"""What y is."""', b'r"""Other."""'), (b'{"a":\n     1}', b'{"a": 1}'), (b"(a +\n            b)", b"(a + b)"),
    (b"    return", b"    # why\n\n    return"), (b"\n\n\nclass", b"\n\n# apart\nclass"), (b"\n    y:", b"\n\n    y:"),
])
def test_comments_docstrings_and_layout_are_no_code(old, new):
    assert old in PLAIN
    assert tokens(PLAIN.replace(old, new)) == tokens(PLAIN)


@pytest.mark.parametrize(("old", "new"), [
    (b"1}", b"2}"), (b'"a"', b'"b"'), (b"said", b"told"), (b"!r", b"!s"), (b"{3}", b"{4}"), (b"(a +", b"(a -"),
    (b"y: int = 2", b"y: int"), (b"class C", b"class D"), (b"    y: int", b"y: int"), (b"return", b"pass; return"),
    (b'"a":', b'"a" "b":'),
])
def test_every_token_of_code_counts(old, new):
    assert old in PLAIN
    assert tokens(PLAIN.replace(old, new)) != tokens(PLAIN)


def test_a_package_counts_the_pages_and_styles_beside_it(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "page.css").write_text("a {}")
    before = code._raw(tmp_path / "__init__.py")
    (tmp_path / "page.css").write_text("b {}")
    assert code._raw(tmp_path / "__init__.py") != before


# ------------------------------------------------------------------------------------------- closures


def files(root: Path) -> dict[str, Path]:
    """Return the modules of the packages in ``root``."""
    found = {}
    for package in OWN:
        folder = root / package.replace(".", "/")  # as it is installed; in the tree it lies at the top
        folder = folder if folder.is_dir() else root / package.removeprefix("collapse_lab.")
        for path in folder.rglob("*.py"):
            parts = (*package.split("."), *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def named(path: Path) -> frozenset[tuple[str, ...]]:
    """Return what a module imports, each by its possible names; read from its syntax without grimp, types apart."""
    tree = ast.parse(path.read_text())
    found, nodes = set(), [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {(alias.name,) for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, path
            found |= {(f"{node.module}.{alias.name}", node.module) for alias in node.names}
        nodes += ast.iter_child_nodes(node)
    return frozenset(found)


def closure(roots: set[str], known: dict[str, Path]) -> set[str]:
    """Return modules, all that they import and all that holds them."""
    found, queue = set(), list(roots)
    while queue:
        name = queue.pop()
        if name in known and name not in found:
            found.add(name)
            queue += [name.rpartition(".")[0],
                      *(place for places in named(known[name]) for place in [p for p in places if p in known][:1])]
    return found


def test_closures_are_those_that_another_reader_finds():
    known, one = files(ROOT), Code()
    for group in registry.GROUPS:
        for kind in registry.names(group):
            module = registry.module(group, kind)
            for stage, roots in ROOTS.items():
                assert set(one.rests_on(stage, [(group, kind)])) == closure({*roots, module}, known), (stage, module)


def test_what_makes_a_node_imports_nothing_that_only_judges_or_shows():
    one = Code()
    for stage in ("real", "calibrate", "generation"):
        kinds = [(group, kind) for group in registry.GROUPS for kind in registry.names(group)]
        found = one.rests_on(stage, kinds)
        judging = ("claims", "verdict", "calibration", "study.parse", "report", "laws", "lineage.plan")
        assert not [name for name in found if name.removeprefix("collapse.").startswith(judging)], stage
        wanted = {"collapse.rng", "collapse.pool", "collapse.regimes.base", "collapse_lab.tasks.measure"}
        assert wanted - set(found) == (
            {"collapse_lab.tasks.measure"} if stage == "calibrate" else set())


def test_what_the_models_share_is_theirs():
    """The lists by hand missed these: labels are drawn with `categorical`, a network is trained by `neural`."""
    def of(kind: str) -> set[str]:
        return {name.removeprefix("collapse.") for name in Code().rests_on("generation", [("models", kind)])}

    for kind in ("gmm", "kde", "vae", "flow"):
        assert "models.categorical" in of(kind)
    assert "models.gaussian" in of("regression")
    assert {"models._neural", "models.categorical", "tokenisers"} <= of("transformer")
    shared = {"models._exchange", "models._programs", "models._guard"}
    assert shared <= of("command") & of("python") and "sources.table" in of("command")


# ------------------------------------------------------------------------------------------ staleness

STUDY = """\
title: Which code a node rests on
seed: 3
source: {kind: blobs}
model: {kind: gmm, components: 1}
rows: 60
generations: 1
replicates: 2
calibration: 10
measure: {only: [tails, spread]}
branches:
  replace: {regime: replace}
  other: {regime: window, k: 2, model: {kind: kde}}
gates: {variance_ratio: {min: 0.0}}
"""
KINDS = {
    "real@tiny-real": {"sources.blobs"},
    "calibrate@tiny": {"sources.blobs", "models.gmm"},
    "calibrate@tiny-other": {"sources.blobs", "models.kde"},
    "generation@tiny-replace-01": {"sources.blobs", "models.gmm", "regimes.replace"},
    "generation@tiny-other-01": {"sources.blobs", "models.kde", "regimes.window"},
    "check@tiny-real": set(),
    "check@tiny-replace-01": {"models.gmm"},
    "check@tiny-other-01": {"models.kde"},
    "report@tiny": {"sources.blobs", "models.gmm", "models.kde", "regimes.replace", "regimes.window"},
}
#: Changes each module in turn, by a token and by a comment, and says what the map of the studies is then.
TRY = """
import json, sys
from pathlib import Path
from collapse.study.files import read_params
from collapse.lineage.code import Code
from collapse.lineage.plan import render
from collapse.study.parse import read_studies
Code._graph = Code()._graph  # what is added below imports nothing
studies = read_studies(Path(), read_params(Path()))
found = {"": render(studies)}
for name, path in json.loads(sys.stdin.read()).items():
    path = Path(path)
    before = path.read_text()
    path.write_text(before + "# said\\n'told'\\n")
    assert render(studies) == found[""], name
    path.write_text(before + "0\\n")
    found[name] = render(studies)
    path.write_text(before)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_api) -> Project:
    project = Project.make(tmp_path_factory.mktemp("code") / "p", STUDY, prefect_api)
    project.run("collapse", "repro")
    return project


def test_a_token_makes_stale_what_rests_on_its_module_and_nothing_else(made, monkeypatch):
    from dvc.repo import Repo

    monkeypatch.chdir(made.root)

    known = files(made.root)
    rests = {stage: closure({*ROOTS[stage.partition("@")[0]], "collapse.metrics.tails", "collapse.metrics.spread",
                             *(f"collapse.{kind}" for kind in kinds)}, known) for stage, kinds in KINDS.items()}
    modules = {name: str(known[name]) for name in sorted(set().union(*rests.values()))}
    modules |= {name: str(known[name]) for name in ("collapse.models.vae", "collapse.metrics.images",
                                                         "collapse_lab.tasks.expectations.suite")}
    said = subprocess.run([sys.executable, "-c", TRY], input=json.dumps(modules), capture_output=True, text=True,
                          check=True, cwd=made.root, env=made.environment())
    maps = json.loads(said.stdout)
    assert made.fresh and maps[""] == made.read("lineage.yaml")
    assert len(maps) > 50
    lineage = made.root / "lineage.yaml"
    try:
        for name in modules:
            lineage.write_text(maps[name])
            stale = set(Repo().status()) - {"plan"}
            assert stale == {stage for stage, found in rests.items() if name in found}, name
    finally:
        lineage.write_text(maps[""])


def test_code_that_changed_is_named_with_the_remedy_and_then_made_again(made):
    path = made.root / "collapse/models/categorical.py"
    before = path.read_text()
    path.write_text(before + "\n_ = 0\n")
    try:
        for words in (("collapse", "repro"), ("collapse", "status"), ("collapse", "audit"), ("dvc", "repro")):
            failed = made.run(*words, ok=False)
            assert failed.returncode != 0
            assert ("lineage.yaml: was written for other code: collapse.models.categorical changed since; "
                    "run 'collapse plan' to rewrite it") in failed.stderr
        made.run("collapse", "plan")
        states = {row["node"]: row["state"] for row in json.loads(made.run("collapse", "status", "--json").stdout)}
        assert set(states.values()) == {"stale"}  # the real node's bytes stand, but its check waits for the noise floor
        stale = made.run("dvc", "status").stdout
        assert "generation@tiny-replace-01:" in stale and "generation@tiny-other-01:" in stale and "real@" not in stale
    finally:
        path.write_text(before)
        made.run("collapse", "plan")
    assert made.fresh
