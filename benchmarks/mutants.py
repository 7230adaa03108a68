"""Change one operator, number or condition of the science's core at a time, and list what no test notices (hours).

Each mutant of Cosmic Ray (https://cosmic-ray.readthedocs.io) is put into a copy of the tree and the tests of its module
are run; those that pass all the same have found a survivor: a line that says more than the tests ask of it, or an
equivalent, which computes the same. ``--sample=N`` draws N mutants of each module from a seed, ``--only=MODULE`` takes
the modules whose path holds that word: ``make mutants WORDS='--only=lineage/merkle --sample=20'``.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SEED = 0
#: The least seconds a mutant is given; one that never ends is killed by the clock.
PATIENCE = 10
OPTIONS = "-x -m 'not slow' -p no:cacheprovider --hypothesis-seed=0"

#: The core by path below ``collapse``, and what is to kill its mutants: tests that need no run of the pipeline, and not
#: those that the committed map is current, which has a digest of all code and would call every mutant killed.
TESTS = {
    "stats.py": "tests/test_inference.py",
    "calibration.py": "tests/test_calibration.py tests/test_verdict.py",
    "verdict.py": "tests/test_verdict.py tests/test_calibration.py",
    **dict.fromkeys(("claims/judge.py", "claims/records.py", "claims/intervals.py", "claims/statements"),
                    "tests/test_claims.py tests/test_grid.py tests/test_attribution.py tests/test_published.py"),
    "claims/gain.py": "tests/test_gain.py tests/test_claims.py",
    "claims/grammar.py": "tests/test_claims.py tests/test_attribution.py",
    "claims/grid.py": "tests/test_grid.py",
    "claims/published.py": "tests/test_published.py",
    "claims/attribution.py": "tests/test_attribution.py",
    **dict.fromkeys(("claims/definitions.py", "claims/answers.py", "claims/readings.py", "claims/scaling.py"),
                    "tests/test_definitions.py"),
    "claims/lead_time.py": "tests/test_onset.py",
    **dict.fromkeys(("advice/search.py", "advice/condition.py", "advice/intervals.py", "advice/options.py"),
                    "tests/test_recommend.py -k 'not rebuilt'"),
    "pool.py": "tests/test_pool.py tests/test_regimes.py tests/test_regression.py",
    "summary.py": "tests/test_regression.py tests/test_pool.py",
    "parquet.py": "tests/test_pool.py tests/test_text.py",
    "manifest.py": "tests/test_pool.py tests/test_regimes.py tests/test_regression.py",
    "storage.py": "tests/test_pool.py",
    "lineage/nodes.py": "tests/test_lineage.py tests/test_sweep.py -k 'not committed_map'",
    "lineage/plan.py": "tests/test_lineage.py tests/test_sweep.py -k 'not committed_map'",
    "lineage/merkle.py": "tests/test_merkle.py",
    "lineage/makeup.py": "tests/test_makeup.py tests/test_foreign.py -k makeup",
    "lineage/withdrawal.py": "tests/test_withdraw.py -k 'closure or written or rows_that_are_none or by_its_own_check "
                             "or cannot_be_withdrawn or joins or by_hand or nobody_wrote or one_number or equal_rows'",
    "regimes": "tests/test_regimes.py",
    "laws": "tests/test_laws.py",
    "laws/budget.py": "tests/test_laws.py tests/test_recommend.py -k 'not rebuilt'",
    "laws/passage.py": "tests/test_recommend.py -k passage",
}

#: What is made of each operator. Cosmic Ray knows every pair; left out are those that tell nothing more:
#: * ``+`` to ``<<``, ``&`` and the like: a float knows none of them, so that any test that comes by raises TypeError.
#: * ``==`` to ``is``, ``<``, …: ``!=`` is killed by whatever kills those; between small integers ``is`` is equivalent.
#: * ``-x`` to ``+x`` or ``~x``: the same as to drop the sign, or a TypeError.
#: * Decorators removed: without @dataclass or @property nothing runs at all, without @cache all runs as before.
#: * Variables replaced or inserted: they need names given by hand, and draw a number anew in every run.
BINARY = {"Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul", "Pow": "Mul",
          "BitOr": "BitAnd", "BitAnd": "BitOr", "BitXor": "BitAnd", "LShift": "RShift", "RShift": "LShift"}
COMPARED = {"Eq": ("NotEq",), "NotEq": ("Eq",), "Lt": ("LtE", "GtE"), "LtE": ("Lt", "Gt"), "Gt": ("GtE", "LtE"),
            "GtE": ("Gt", "Lt"), "Is": ("IsNot",), "IsNot": ("Is",)}
OPERATORS = (
    *(f"ReplaceBinaryOperator_{a}_{b}" for a, b in BINARY.items()),
    *(f"ReplaceComparisonOperator_{a}_{b}" for a, others in COMPARED.items() for b in others),
    *(f"ReplaceUnaryOperator_Delete_{a}" for a in ("Not", "USub", "Invert")),
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "NumberReplacer",
    "ZeroIterationForLoop",
)


def noise(node: Any, name: str) -> bool:
    """Return whether a mutant there says nothing of the science.

    * ``X | None`` in an annotation: nobody evaluates it, or pydantic refuses it. Numbers there stay: ``Field(ge=1)``.
    * What makes up a message: all of a ``raise``, and what cuts a text short, ``str(error)[:80]``.
    * Settings of a decorator (``frozen=True``), ``strict=`` of a zip and ``if TYPE_CHECKING``: they guard the code.
    * ``not not x``: the same as to leave out the one that is there.
    """
    if name == "AddNot" and node.type in ("if_stmt", "while_stmt", "test"):
        condition = node.children[2 if node.type == "test" else 1]
        if condition.type == "not_test" or "TYPE_CHECKING" in condition.get_code():
            return True
    inner = node
    for outer in ancestors(node):
        if outer.type in ("raise_stmt", "decorator"):
            return True
        if outer.type == "argument" and outer.children[0].get_code().strip() == "strict":
            return True
        if outer.type == "subscript" and outer.children[0] == ":" and "str(" in outer.parent.parent.get_code():
            return True
        if name.startswith("ReplaceBinaryOperator") and inner is _annotation(outer):
            return True
        inner = outer
    return False


def _annotation(node: Any) -> Any:
    """Return the annotation that a statement, a parameter or a function has."""
    if node.type in ("annassign", "tfpdef"):
        return node.children[1 if node.type == "annassign" else 2]
    return node.annotation if node.type == "funcdef" else None


def ancestors(node: Any) -> Iterator[Any]:
    """Yield what a node of the syntax lies in, from the inside out."""
    while (node := node.parent) is not None:
        yield node


def mutants(path: Path) -> list[Any]:
    """Return the mutations of a file that are worth a run, in the order of its lines."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_item import MutationSpec

    nodes, lines = list(ast_nodes(get_ast_from_path(path))), path.read_text(encoding="utf-8").splitlines()
    found = []

    def dotted(start: tuple[int, int], end: tuple[int, int]) -> bool:
        """Return whether an exception is named by its module, which Cosmic Ray cannot replace."""
        return "." in lines[start[0] - 1][start[1] : end[1]]

    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        places = [(node, start, end) for node in nodes for start, end in operator.mutation_positions(node)]
        found += [MutationSpec(path, f"core/{name}", occurrence, start, end)
                  for occurrence, (node, start, end) in enumerate(places)
                  if not noise(node, name) and not (name == "ExceptionReplacer" and dotted(start, end))]
    return sorted(found, key=lambda one: (one.start_pos, one.operator_name, one.occurrence))


def core(only: str = "") -> dict[str, str]:
    """Return the modules of the core, relative to the root, each with its tests."""
    found = {}
    for place in TESTS:
        path = ROOT / "collapse" / place
        for one in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            name = one.relative_to(ROOT / "collapse").as_posix()
            if only in f"collapse/{name}" and one.read_text().count("\n") > 1:
                found[f"collapse/{name}"] = TESTS.get(name, TESTS[place])
    return found


def duplicate(target: Path) -> None:
    """Copy what git keeps and what is new, with the folders under the name that they are installed by."""
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file() and not source.is_symlink() and not name.startswith("collapse_lab/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
    (target / "collapse_lab").mkdir()
    for folder in ("audit", "commands", "engine", "export", "flows", "tasks"):
        (target / "collapse_lab" / folder).symlink_to(target / folder)
    os.chdir(target)
    os.environ["PYTHONPATH"] = str(target)
    used = subprocess.run([sys.executable, "-c", "import collapse; print(collapse.__file__)"], check=True,
                          capture_output=True, text=True).stdout
    if not Path(used.strip()).resolve().is_relative_to(target):
        sys.exit(f"The tests would import {used.strip()} and not the copy, in which mutants are put")


def main() -> None:
    if importlib.util.find_spec("cosmic_ray") is None:
        sys.exit("Cosmic Ray is not installed; run 'make mutants'")
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.testing import run_tests
    from cosmic_ray.work_item import TestOutcome

    said = dict(word[2:].split("=", 1) for word in sys.argv if re.match("--(sample|only)=", word))
    modules = core(said.get("only", ""))
    if not modules:
        sys.exit(f"--only={said['only']} is in no path of the core; take one of {', '.join(core())}")
    tried = killed = 0
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        duplicate(Path(folder).resolve())
        print(f"  {'module':32s} {'mutants':>9s} {'killed':>7s} {'share':>6s}", flush=True)
        for module, tests in modules.items():
            path = Path.cwd() / module
            known = mutants(path)
            count = min(int(said.get("sample", len(known))), len(known))
            drawn = random.Random(f"{SEED} {module}").sample(known, count)
            if not drawn:
                continue
            command = f"{shlex.quote(sys.executable)} -m pytest {OPTIONS} {tests}"
            begin = time.monotonic()
            outcome, output = run_tests(command, 3600)
            if outcome is not TestOutcome.SURVIVED:
                sys.exit(f"{module}: its tests fail as it is: {tests}\n{output}")
            limit = PATIENCE + 4 * (time.monotonic() - begin)
            alive = 0
            for one in sorted(drawn, key=known.index):
                result = mutate_and_test([one], command, limit)
                name = one.operator_name.removeprefix("core/")
                if result.test_outcome is TestOutcome.SURVIVED:
                    alive += 1
                    print(f"    {module}:{one.start_pos[0]}  {name}{_change(result.diff or '')}", flush=True)
                elif result.test_outcome is not TestOutcome.KILLED:
                    sys.exit(f"{module}:{one.start_pos[0]}  {name} was not tried: {result.output}")
            tried, killed = tried + len(drawn), killed + len(drawn) - alive
            print(f"  {module:32s} {len(drawn):4d}/{len(known):<4d} {len(drawn) - alive:7d} "
                  f"{1 - alive / len(drawn):6.0%}", flush=True)
        os.chdir(before)
    print(f"  {killed} of {tried} mutants killed ({killed / max(1, tried):.0%})")


def _change(diff: str) -> str:
    """Return the first line that a mutant has otherwise."""
    new = [line[1:].strip() for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return f":  {new[0][:90]}" if new else ""


if __name__ == "__main__":
    main()
