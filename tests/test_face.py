"""What a program calls: the examples of its documentation run, and it says what the rest of the project says."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import collapse
from collapse import face, loop
from collapse.errors import InputError
from collapse.models.gaussian import Gaussian
from collapse.reader import layouts
from collapse.regimes.replace import Replace
from collapse.sources.gaussian import Gaussian as Normal
from collapse.watch import series


def test_every_public_name_has_an_example_that_runs():
    found = doctest.testmod(face)
    assert found.failed == 0 and found.attempted > 12
    assert all(">>>" in getattr(face, name).__doc__ for name in collapse.__all__)
    assert all(getattr(collapse, name) is getattr(face, name) for name in collapse.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = collapse.nothing


def test_a_kind_by_name_by_mapping_and_made_is_the_same():
    by_name = collapse.run("gaussian", {"kind": "gaussian", "ddof": 0}, "replace", 20, 5, 7, seed=3)
    made = loop.run(Normal(), Gaussian(ddof=0), Replace(), 20, 5, 7, seed=3)
    assert np.array_equal(by_name["fit_variance"], made["fit_variance"])
    with pytest.raises(InputError, match=r"source\.kind: 'gausian' is not one of the sources; did you mean 'gaussian'"):
        collapse.run("gausian", "gaussian", "replace", 20, 5)
    with pytest.raises(InputError, match=r"model\.dof is not a key; did you mean 'ddof'"):
        collapse.run("gaussian", {"kind": "gaussian", "dof": 1}, "replace", 20, 5)


def test_tables_and_files_are_judged_alike(tmp_path):
    rng = np.random.default_rng(2)
    held = {name: pd.DataFrame({"x": rng.normal(size=n) * sd, "k": rng.choice(list("abc"), n)})
            for name, n, sd in (("reference", 5_000, 1.0), ("one", 700, 1.0), ("two", 700, 0.3))}
    for name, frame in held.items():
        frame.to_parquet(tmp_path / f"{name}.parquet", index=False)
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    by_file = series.survey(layouts.whole(tmp_path / "reference.parquet"), layouts.find(map(str, paths)))
    for found in (collapse.survey(held["reference"], [held["one"], held["two"]]),
                  collapse.survey(tmp_path / "reference.parquet", paths)):
        assert [one.judged.values for one in found.seen] == [one.judged.values for one in by_file.seen]
        assert (found.verdict, found.code) == (by_file.verdict, by_file.code) == ("late", 4)
    assert [one.name for one in collapse.survey(held["reference"], [held["one"]]).seen] == ["snapshot 1"]


class Streamed:
    """A table of no library that is known here: all it has is an Arrow stream."""

    def __init__(self, frame: pd.DataFrame):
        self._table = pa.table(frame)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


def test_a_table_of_any_library_is_read_by_its_arrow_stream():
    rng = np.random.default_rng(2)
    real, new = (pd.DataFrame({"<x>": rng.normal(size=n), "k": rng.choice(list("abc"), n)}) for n in (2_000, 400))
    found = [collapse.survey(make(real), {"<new>": make(new)}) for make in (pd.DataFrame, pa.table, Streamed)]
    assert found[0].seen[0].judged.values == found[1].seen[0].judged.values == found[2].seen[0].judged.values
    shown = found[0]._repr_html_()
    assert "&lt;new&gt;" in shown and "healthy" in shown and "<new>" not in shown
    with pytest.raises(InputError, match="reference: list is no table that Arrow can read"):
        collapse.survey([1, 2], {"new": new})
    odd = pd.DataFrame({"x": [1, "a", None]})
    with pytest.raises(InputError, match="new: DataFrame is no table that Arrow can read"):
        collapse.survey(real, {"new": odd})


def test_what_no_law_knows_is_said():
    with pytest.raises(InputError, match="no law knows how tail_kept goes under model gmm; simulate a study"):
        collapse.recommend("digits", "gmm", 400, "tail_kept >= 0.5", 10)
    with pytest.raises(InputError, match="horizon must be at least 1"):
        collapse.recommend("gaussian", "gaussian", 20, "fit_variance >= 0.5", 0)
