"""Grids: every reading in every cell, against intervals computed apart; refusals; the page."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from collapse.claims.grid import Grid
from collapse.claims.records import Records
from collapse.errors import InputError

BRANCHES = {f"{name}-{size}": SimpleNamespace(first=1, last=3) for name in ("keep", "none") for size in (2, 8)}
RAW = {
    "over": {"size": [2, 8], "generation": [1, 3]},
    "readings": {
        "high": "keep-{size}.tstr_accuracy > 0.875 at generation {generation}",
        "five points": "keep-{size}.tstr_accuracy > none-{size}.tstr_accuracy + 0.05 at generation {generation}",
    },
    "source": "a press account",
}


def parse(raw):
    return Grid.parse(raw, "studies/keep.yaml: grid", BRANCHES, ["tstr_accuracy"])


def table():
    """Accuracies of 6 replicates: keep-2 at .9, keep-8 at .86; none loses 3 points a generation."""
    rng = np.random.default_rng(3)
    rows = []
    for branch in BRANCHES:
        name, size = branch.split("-")
        for t in (1, 2, 3):
            level = {"2": 0.9, "8": 0.86}[size] - (0.03 * t if name == "none" else 0)
            rows += [(branch, t, r, "tstr_accuracy", "", v) for r, v in enumerate(level + 0.004 * rng.normal(size=6))]
    return pd.DataFrame(rows, columns=["branch", "generation", "replicate", "metric", "feature", "value"])


def test_every_reading_is_judged_in_every_cell():
    judged = parse(RAW).judge(Records(table(), {}, {}))
    assert judged.cells == (("2", "1"), ("2", "3"), ("8", "1"), ("8", "3"))
    assert [f.verdict for f in judged.readings["high"]] == ["holds", "holds", "fails", "fails"]
    assert [f.verdict for f in judged.readings["five points"]] == ["fails", "holds", "fails", "holds"]
    assert judged.held("five points") == 2
    wide = table().pivot_table(index="replicate", columns=["branch", "generation"], values="value")
    gap = wide["keep-8", 3] - wide["none-8", 3]
    found = judged.readings["five points"][3]
    assert (found.estimate, found.low, found.high) == pytest.approx((gap.median(), gap.min(), gap.max()), rel=1e-5)
    assert found.p == pytest.approx(2.0**-6)
    plain = judged.plain()["readings"]["high"][2]
    assert plain["cell"] == {"size": "8", "generation": "1"} and plain["verdict"] == "fails"


@pytest.mark.parametrize(("change", "words"), [
    ({"over": {"size": [2, 9], "generation": [1]}}, "'keep-9' is not a branch"),
    ({"over": {"size": [2, 8], "generation": [4]}}, "generation 4 is not one of 'keep-2'"),
    ({"over": {"size": []}}, "grid.over must map settings to lists"),
    ({"readings": {"high": "keep-{sise}.tstr_accuracy > 0.9"}}, "'sise' is not a setting of over; did you mean"),
    ({"readings": {"high": "keep-{size}.tstr_accuracy > 0.9"}}, "says the same in two cells"),
    ({"readings": {}}, "grid.readings must map names to sentences"),
    ({"reading": {}}, "grid.reading is not a key; did you mean 'readings'?"),
    ({"source": 5}, "grid.source must be text"),
])
def test_a_wrong_grid_is_refused_in_one_line(change, words):
    with pytest.raises(InputError) as caught:
        parse(RAW | change)
    assert words in str(caught.value) and str(caught.value).startswith("studies/keep.yaml: grid")
    assert "\n" not in str(caught.value)
