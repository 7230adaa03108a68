"""What the command line says of words that it cannot use: one line, with the way on, and exit code 2."""

from __future__ import annotations

import subprocess
import sys

import pytest


def said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "collapse_lab.commands.main", *words], capture_output=True, text=True,
                          check=False)


@pytest.mark.parametrize(("words", "needed"), [
    (["repro", "--stuyd", "x"], "--study"), (["watch", "a.csv"], "'--reference'"), (["repor"], "'repor'"),
    (["recommend", "digits"], "'--keep'"), (["audit", "--replay", "x"], "'--replay'"),
    (["repro", "-j", "0"], "'--workers'"), (["audit", "--root", "zz"], "64 hexadecimal digits"),
    (["export", "a", "b", "--to", "prov"], "argument"),
])
def test_a_mistake_is_one_line(words, needed):
    done = said(*words)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and needed in done.stderr


def test_no_words_are_help_and_the_version_is_said():
    bare, version = said(), said("--version")
    assert bare.returncode == 2 and "recommend" in bare.stdout + bare.stderr and "Traceback" not in bare.stderr
    assert version.returncode == 0 and version.stdout.startswith("collapse ")


def test_what_watches_and_audits_waits_for_no_engine():
    code = ("import sys, collapse_lab.commands.main, collapse_lab.tasks.look, collapse_lab.audit.report\n"
            "print({'prefect', 'dvc', 'great_expectations', 'torch', 'transformers'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("words", [["audit", "digits"], ["repro"], ["recommend", "digits", "--keep", "x >= 1"]])
def test_a_run_that_is_interrupted_says_so_once(words, tmp_path):
    code = ("import sys\n"
            "from collapse_lab.commands.main import main\n"
            "def stop(*_, **__): raise KeyboardInterrupt\n"
            "import collapse_lab.audit.report as a, collapse_lab.engine.repro as b\n"
            "import collapse_lab.engine.recommend as c\n"
            "a.audit = b.repro = c.recommend = stop\n"
            f"sys.argv[1:] = {words!r}\nmain()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 130
    said = "stopped" if words[0] == "audit" else "stopped; what is finished is kept"
    assert done.stderr.splitlines()[-1] == said and done.stderr.count("stopped") == 1
