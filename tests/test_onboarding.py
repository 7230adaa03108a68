"""A first study of a file that nobody has looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collapse import loop
from collapse.errors import InputError
from collapse.study import draft
from collapse.study.files import read_yaml
from collapse.study.parse import parse_study
from collapse_lab.commands import init as starting


def table(n: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame({
        "id": np.arange(n), "age": rng.integers(18, 90, n), "income": rng.lognormal(10, 1, n).round(2),
        "sex": rng.choice(["f", "m"], n),
        "town": rng.choice(["A", "B", "C", "O'Hara (north)"], n, p=[0.6, 0.3, 0.08, 0.02]),
        "note": [f"free text {i}" for i in range(n)], "empty": [None] * n, "same": ["x"] * n,
        "class": rng.choice(["yes", "no"], n, p=[0.3, 0.7])})


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A project without studies, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    Path("studies/first.yaml").write_text(
        "title: First\nseed: 1\nsource: {kind: gaussian}\nmodel: {kind: gaussian}\nrows: 40\ngenerations: 1\n"
        "replicates: 2\nbranches: {replace: {regime: replace}}\ngates: {}\n")
    Path("params.yaml").write_text("# mine\nstudies: [first]  # one\nmachine: {workers: 1}\n")
    return tmp_path


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def written(name: str = "mine"):
    return parse_study(read_yaml(Path(f"studies/{name}.yaml")), name, Path(f"studies/{name}.yaml"))


def test_a_table_becomes_a_study_that_can_run(here):
    table().to_csv("people.csv", index=False)
    assumed = "\n".join(starting.make("people.csv"))
    for words in ("'id' is left out: an identifier", "'note' is left out: an identifier or free text",
                  "'empty' is left out: it is empty", "'same' is left out: it has one value",
                  "'class' is the class that every row belongs to", "groups by class, sex"):
        assert words in assumed
    study = written()
    loop.check_study(study)
    assert study.source.label == "class" and set(study.source.drop) == {"id", "note", "empty", "same"}
    assert set(study.branches) == {"control", "replace", "accumulate", "keep10", "refresh10", "rescue"}
    assert Path("params.yaml").read_text() == "# mine\nstudies: [first, mine] # one\nmachine: {workers: 1}\n"
    rows = loop.split(study.source, study.rows, 1, loop.Rng(1)).first
    assert {column.name for column in rows.schema.columns} == {"age", "income", "sex", "town", "class"}


def test_separators_and_words_for_missing_values_are_seen(here):
    frame = table()
    frame.loc[::9, "town"] = "?"
    frame.to_csv("people.csv", index=False, sep=";")
    assumed = "\n".join(starting.make("people.csv", "semi", generations=4, rows=50))
    assert "fields are separated by ';'" in assumed and "'?' means a missing value" in assumed
    study = written("semi")
    assert study.source.na == ["?"] and study.rows == 50 and study.generations == 4
    assert study.branches["rescue"].at == 2


@pytest.mark.parametrize(("how", "settings"), [
    ({"sep": ";", "decimal": ",", "encoding": "latin-1"}, {"separator": ";", "decimal": ",", "encoding": "iso8859-1"}),
    ({"sep": "\t", "encoding": "utf-16"}, {"separator": "\t", "encoding": "utf-16"}), ({}, {})])
def test_what_was_found_out_of_a_file_stands_in_the_study(here, how, settings):
    frame = table()
    frame["town"] = frame["town"].replace("A", "Köln")
    frame.to_csv("people.csv", index=False, **how)
    starting.make("people.csv", "found", rows=50)
    source = written("found").source
    assert {key: value for key, value in source.model_dump(exclude_defaults=True).items()
            if key not in ("path", "label", "drop")} == settings
    rows = source.load()
    assert "Köln" in rows.schema["town"].categories
    np.testing.assert_array_equal(rows["income"][0], frame["income"])


def test_other_formats_and_lists(here):
    frame = table()
    frame.drop(columns="empty").to_json("people.jsonl", orient="records", lines=True)
    frame.assign(many=[[1]] * len(frame)).to_parquet("people.parquet")
    starting.make("people.jsonl", "lines", rows=50)
    assert "'many' is left out: it holds neither numbers nor text" in starting.make("people.parquet", "lists", rows=50)


def test_parquet_and_rare_regions(here):
    frame = table(4000)
    frame["town"] = frame["town"].replace("O'Hara (north)", "north")
    frame.to_parquet("people.parquet")
    assert "rare regions: town == north" in "\n".join(starting.make("people.parquet", "pq"))
    assert len(written("pq").tails) == 1


@pytest.mark.parametrize(("change", "words"), [
    ({"data": "nowhere.csv"}, "nowhere.csv"),
    ({"name": "first"}, "is there already"),
    ({"name": "../out"}, "../out"),
    ({"name": "Two Words"}, "Two Words"),
    ({"label": "id"}, "cannot be the label"),
    ({"label": "height"}, "height"),
    ({"rows": 5000}, "rows: 5000 is not possible"),
    ({"data": "few.csv"}, "are needed to hold some out"),
    ({"data": "ids.csv"}, "no column is left to learn"),
])
def test_bad_input_is_one_line_and_changes_nothing(here, change, words):
    table().to_csv("people.csv", index=False)
    table(40).to_csv("few.csv", index=False)
    table()[["id", "note"]].to_csv("ids.csv", index=False)
    before = state(here)
    with pytest.raises(InputError) as error:
        starting.make(**{"data": "people.csv", **change})
    assert words in str(error.value) and "\n" not in str(error.value)
    assert state(here) == before


def test_what_the_data_says_is_never_yaml(here):
    frame = table()
    frame = frame.rename(columns={"sex": "a: [b"})
    frame["a: [b"] = frame["a: [b"].replace("f", "- x: {")
    frame.to_csv("odd.csv", index=False)
    starting.make("odd.csv", "odd")
    loop.check_study(written("odd"))


def test_quoting_is_read_back():
    import yaml

    for text in ("plain", "no", "two words", "a: b", "'", '"', "#x", "ü", "1"):
        assert yaml.safe_load(draft._quoted(text)) == text
