"""The taste: what it prints follows the laws, and it needs three packages."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from collapse import taste

#: Installed by `make taste`, with what they bring along.
LIGHT = {"numpy", "pydantic", "pydantic_core", "scipy", "typing_extensions", "typing_inspection", "annotated_types"}


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, np.ndarray]]:
    return {what.metric: taste.paths(what, 600) for what in taste.LOOPS}


def test_replace_loses_one_row_in_n_of_its_variance_a_generation(found):
    replace, accumulate, _, control = found["fit_variance"].values()
    n, t = taste.LOOPS[0].rows, np.arange(1, taste.GENERATIONS + 1)
    for path, law in ((replace, (1 - 1 / n) ** t), (control, np.full(len(t), 1 - 1 / n))):
        error = path.std(axis=0, ddof=1) / np.sqrt(len(path))
        assert (np.abs(path.mean(axis=0) - law) < 4.5 * error).all()
    assert np.median(accumulate[:, -1]) > 0.8


def test_words_are_lost_for_ever_unless_reality_stays(found):
    replace, accumulate, tenth, control = found["fit_survivors"].values()
    shares = 1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum()
    alive = (1 - (1 - shares) ** taste.LOOPS[1].rows).sum()  # words that 500 real ones hold, on average
    error = control.std(axis=0, ddof=1) / np.sqrt(len(control))
    assert (np.abs(control.mean(axis=0) - alive) < 4.5 * error).all()
    assert (np.diff(replace, axis=1) <= 0).all() and (np.diff(accumulate, axis=1) == 0).all()
    ends = [np.median(path[:, -1]) for path in (replace, tenth, accumulate)]
    assert ends == sorted(ends) and ends[0] < 0.4 * ends[2]


def test_the_table_shows_medians_and_their_course(found):
    lines = taste.table(taste.LOOPS[0], found["fit_variance"]).splitlines()
    assert len(lines) == 2 + len(taste.WAYS)
    row = next(line for line in lines if line.startswith("nothing but"))
    medians = np.median(found["fit_variance"]["nothing but its own newest output"], axis=0)
    assert all(f"{medians[t - 1]:.2f}" in row for t in taste.SHOWN)
    assert len(row.rsplit("  ", 1)[1]) == taste.GENERATIONS and row[-1] < row[-20]


def test_it_needs_no_more_than_is_installed_for_it():
    code = f"""
import sys
from importlib.machinery import PathFinder
class Only(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = super().find_spec(name, path, target)
        if found and "site-packages" in (found.origin or "") and name.split(".")[0].lstrip("_") not in {LIGHT!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Only)
from collapse import taste
print(taste.table(taste.LOOPS[0], taste.paths(taste.LOOPS[0], 20)), taste.paths(taste.LOOPS[1], 20).keys())
import pandas
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ModuleNotFoundError: pandas" in ended.stderr and "nothing but" in ended.stdout
