"""One reader: what a file's writing must never change, and what is never passed over in silence."""

from __future__ import annotations

import datetime
import decimal
import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from collapse.errors import InputError
from collapse.reader import layouts, pieces
from collapse.reader.dialect import Options
from collapse.reader.frozen import Reader
from collapse.sources.table import Table
from collapse.watch import series
from collapse_lab.tasks import look
from tests.worlds.project import ROOT

N = 60


def table(n: int = N, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"amount": np.exp(rng.normal(3, 2, n)).round(2), "age": rng.integers(18, 90, n),
                         "place": rng.choice(["Köln", "north", "x|y; z"], n),
                         "day": pd.Timestamp("2024-01-25") + pd.to_timedelta(rng.integers(0, 300, n), "D")})


def read(path: Path, like: Path | None = None, options: Options | None = None) -> tuple[Reader, pd.DataFrame]:
    """Return the reader that ``like`` asks for, and all that it reads of ``path``."""
    reader = Reader.of(layouts.whole(like or path), options)
    reader.admit(layouts.whole(path))
    found = pd.concat([frame.astype({name: object for name in frame if frame[name].dtype.name == "category"})
                       for frame in reader.frames(layouts.whole(path))], ignore_index=True)
    return reader, found


def written(root: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = root / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def grouped(x: float, point: str, thousands: str) -> str:
    return f"{1000 * x:,.2f}".replace(",", "\0").replace(".", point).replace("\0", thousands)


def _packed(frame: pd.DataFrame, path: Path, how: str) -> None:
    with pa.CompressedOutputStream(str(path), how) as out:
        out.write(frame.to_csv(index=False).encode())


#: Ways of writing one table, by the name of the file.
WAYS: dict[str, Any] = {
    "plain.csv": lambda d, p: d.to_csv(p, index=False),
    "semicolon.csv": lambda d, p: d.to_csv(p, index=False, sep=";", decimal=","),
    "tabs.tsv": lambda d, p: d.to_csv(p, index=False, sep="\t"),
    "pipe.csv": lambda d, p: d.to_csv(p, index=False, sep="|"),
    "quoted.csv": lambda d, p: d.to_csv(p, index=False, quoting=1, lineterminator="\r\n"),
    "mark.csv": lambda d, p: d.to_csv(p, index=False, encoding="utf-8-sig"),
    "sixteen.csv": lambda d, p: d.to_csv(p, index=False, encoding="utf-16"),
    "latin.csv": lambda d, p: d.to_csv(p, index=False, encoding="latin-1"),
    "index.csv": lambda d, p: d.to_csv(p),
    "german.csv": lambda d, p: d.assign(day=d.day.dt.strftime("%d.%m.%Y")).to_csv(p, index=False, sep=";", decimal=","),
    "american.csv": lambda d, p: d.assign(day=d.day.dt.strftime("%m/%d/%Y")).to_csv(p, index=False),
    "packed.csv.gz": lambda d, p: d.to_csv(p, index=False),
    "packed.csv.bz2": lambda d, p: d.to_csv(p, index=False),
    "packed.csv.zst": lambda d, p: _packed(d, p, "zstd"),
    "lines.jsonl": lambda d, p: d.astype({"day": str}).to_json(p, orient="records", lines=True),
    "lines.ndjson.gz": lambda d, p: d.astype({"day": str}).to_json(p, orient="records", lines=True),
    "table.parquet": lambda d, p: d.to_parquet(p),
    "texts.parquet": lambda d, p: d.astype({"day": str, "place": "category"}).to_parquet(p),
    "named.csv": lambda d, p: d.to_parquet(p),
    "table.feather": lambda d, p: feather.write_feather(pa.Table.from_pandas(d), p),
    "table.arrow": lambda d, p: feather.write_feather(pa.Table.from_pandas(d), p, compression="uncompressed"),
    "decimals.parquet": lambda d, p: pq.write_table(pa.Table.from_pandas(d).set_column(0, "amount", pa.array(
        [decimal.Decimal(f"{x:.2f}") for x in d.amount], pa.decimal128(20, 2))), p),
    "bytes.parquet": lambda d, p: pq.write_table(pa.Table.from_pandas(d).set_column(2, "place", pa.array(
        [text.encode() for text in d.place], pa.binary())), p),
}


@pytest.mark.parametrize("way", WAYS)
def test_however_a_table_is_written_it_reads_as_the_same(tmp_path, way):
    WAYS[way](table(), tmp_path / way)
    reader, found = read(tmp_path / way)
    assert {name: form.type for name, form in reader.forms.items()} == {
        "amount": "number", "age": "integer", "place": "category", "day": "date"}
    for name in ("amount", "age"):
        np.testing.assert_array_equal(found[name], table()[name].astype(float))
    assert found["place"].tolist() == table()["place"].tolist()
    assert (found["day"].to_numpy().astype("datetime64[D]") == table()["day"].to_numpy().astype("datetime64[D]")).all()
    loaded = Table(path=str(tmp_path / way), separator={"tabs.tsv": "\t", "pipe.csv": "|", "german.csv": ";",
                                                        "semicolon.csv": ";"}.get(way, ","),
                   encoding={"latin.csv": "latin-1"}.get(way, "utf-8"),
                   decimal="," if way in ("german.csv", "semicolon.csv") else ".")
    if way != "index.csv":
        np.testing.assert_array_equal(loaded.load()["amount"][0], table()["amount"])
        assert loaded.load().schema["day"].type == "date"


#: Snapshots that are read as a plain CSV reference: what a file says of itself holds for it.
ALIKE = [way for way in WAYS if way not in ("semicolon.csv", "german.csv", "pipe.csv", "latin.csv", "american.csv")]


@pytest.mark.parametrize("way", ALIKE)
def test_a_snapshot_may_come_in_another_format(tmp_path, way):
    WAYS["plain.csv"](table(), tmp_path / "real.csv")
    WAYS[way](table(50, 2), tmp_path / way)
    WAYS["plain.csv"](table(50, 2), tmp_path / "same.csv")
    pd.testing.assert_frame_equal(read(tmp_path / way, tmp_path / "real.csv")[1],
                                  read(tmp_path / "same.csv", tmp_path / "real.csv")[1])


@pytest.mark.parametrize(("point", "thousands", "separator"), [
    (",", ".", ";"), (".", ",", ","), (",", "\u202f", ";"), (".", "'", ","), (",", "", ","), (",", " ", "\t")])
def test_decimals_and_thousands_are_found_by_column(tmp_path, point, thousands, separator):
    frame = table().assign(amount=[grouped(x, point, thousands) for x in table().amount])
    frame.assign(half=0.5 + frame.age).to_csv(tmp_path / "t.csv", index=False, sep=separator)
    reader, found = read(tmp_path / "t.csv")
    np.testing.assert_allclose(found["amount"], 1000 * table().amount, atol=0.006)
    np.testing.assert_array_equal(found["half"], 0.5 + frame.age)
    assert "in 'amount'" in reader.told[0]


@pytest.mark.parametrize(("text", "value"), [
    ("a;b\n1.234;1,5\n2.345;2,5\n", 1234), ("a;b\n1.234;x\n2.345;y\n", 1.234), ('a,b\n"1,234",x\n"2,345",y\n', 1234),
    ("a;b\n1,234;x\n2,345;y\n", 1.234), ('a,b\n"0,234",x\n"2,345",y\n', 0.234), ("a,b\n\u22125,x\n+3,y\n", -5)])
def test_a_mark_that_may_be_either_is_settled_by_what_stands_beside_it(tmp_path, text, value):
    assert read(written(tmp_path, text))[1]["a"][0] == value


# ------------------------------------------------------------------------------------------- never silent


@pytest.mark.parametrize(("text", "line"), [
    ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields, but the header has 2"),
    ("a,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields, but the header has 2"),
    ("a,b\n" + 150_000 * "1,2\n" + "3", "line 150002 has 1 field, but the header has 2"),
    ('a,b\n1,"x\ny"\n1\n', "line 4 has 1 field"),
    ('a,b\n1,"x\n2,y\n3,z\n', "line 2 has a quote that is never closed"),
    ("a,a\n1,2\n", "has two columns called 'a'"),
    (b"a,b\n" + 400_000 * b"x,2\n" + b"\xf6,1\n", "is not UTF-8 in line 400002; give its encoding, such as --encoding"),
])
def test_what_is_not_a_table_is_refused_with_its_line(tmp_path, text, line):
    with pytest.raises(InputError, match=line) as caught:
        read(written(tmp_path, text))
    assert "\n" not in str(caught.value) and "t.csv" in str(caught.value)


def test_a_value_that_does_not_fit_is_named_wherever_it_stands(tmp_path):
    real = written(tmp_path, "a,b\n" + 10 * "1.5,x\n2,y\n", "real.csv")
    for wrong in ("Total", "1;5", "2024-01-01"):
        with pytest.raises(InputError, match=f"column 'a' holds '{wrong}', but is number in the reference"):
            read(written(tmp_path, "a,b\n" + 150_000 * "1.5,x\n" + f"{wrong},y\n"), real)


def test_a_word_among_numbers_is_told(tmp_path):
    few = read(written(tmp_path, "age,x\n" + "31,1.5\n40,2\n" * 90 + "Total,3\n"))[0]
    assert few.told == ("age: read as text, for 'Total' stands among its numbers",)
    many = read(written(tmp_path, "fare,x\n" + "".join(f"{i / 7},{i % 7}\n" for i in range(3_000)) + "Total,3\n"))[0]
    assert "--na 'Total'" in many.left_out["fare"]
    said = read(tmp_path / "t.csv", options=Options(na=("Total",)))[0]
    assert said.forms["fare"].type == "number" and not said.left_out


def test_json_lines_that_are_broken_or_hold_more_are_refused(tmp_path):
    real = written(tmp_path, '{"a": 1.5}\n{"a": null}\n', "real.jsonl")
    for text, words in (('{"a": 1}\n{\n', "line 2 is not JSON"), ("[1]\n", "line 1 is no object"),
                        ('{"a": 1}\n{"a": 2, "b": 3}\n', "has 'b' beside")):
        with pytest.raises(InputError, match=words):
            read(written(tmp_path, text, "s.jsonl"), real)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    data = layouts.whole(written(tmp_path, "a,b\n1,2\n"))
    os.utime(data.files[0], (1, 1))
    with pytest.raises(InputError, match="changed while it was read"):
        Reader.of(data)


@pytest.mark.parametrize(("options", "words"), [
    ({"separator": ",", "decimal": ","}, "--decimal: ',' is the separator too"), ({"encoding": "x"}, "'x' is unknown"),
    ({"separator": ";;"}, "more than one character"), ({"decimal": "x"}, "parts no decimals")])
def test_a_dialect_that_contradicts_itself_is_one_line(options, words):
    with pytest.raises(InputError, match=words):
        Options(**options)


def test_types_that_are_said(tmp_path):
    path = written(tmp_path, "zip,d,n\n" + "01321,03/04/2024,5\n1321,05/06/2024,6\n")
    forms = read(path, options=Options(types={"d": "%d/%m/%Y", "n": "category", "zip": "integer"}))[0].forms
    assert (forms["d"].type, forms["n"].type, forms["zip"].type) == ("date", "category", "integer")
    for types, words in (({"zap": "number"}, "no column 'zap'; did you mean 'zip'"),
                         ({"n": "nummer"}, "did you mean 'number'")):
        with pytest.raises(InputError, match=words):
            read(path, options=Options(types=types))


# -------------------------------------------------------------------------------------------------- types


def test_categories_are_the_texts_in_the_file(tmp_path):
    real = written(tmp_path, "zip,land\n" + "01321,NA\n1321,EU\nABCDE,None\n1322,-\n" * 30, "real.csv")
    found = read(real)[1]
    assert set(found["zip"]) == {"01321", "1321", "ABCDE", "1322"}
    assert set(found["land"]) == {"NA", "EU", "None", "-"}
    # a gap turns whole numbers into 1321.0 on their way through pandas; it is no other place
    snap = written(tmp_path, "zip,land\n1321.0,NA\n,EU\n01321,-  \n")
    assert read(snap, real)[1].to_numpy().tolist() == [["1321", "NA"], [np.nan, "EU"], ["01321", "-"]]


def test_a_word_for_missing_is_a_gap_among_numbers_and_where_it_is_rare(tmp_path):
    text = "n,d,c\n" + "1,2024-01-31,x\n?,NaT,y\n-,0000-00-00,x\n" * 50 + "2,2024-01-30,NA\n"
    reader, found = read(written(tmp_path, text))
    assert [reader.forms[name].type for name in "ndc"] == ["integer", "date", "category"]
    assert found["n"].isna().sum() == 100 and found["d"].isna().sum() == 100 and found["c"].isna().sum() == 1


def test_a_null_is_the_word_that_a_text_reference_has_for_it(tmp_path):
    real = written(tmp_path, "c,x\n" + "NA,1.5\nEU,2\n" * 30, "real.csv")
    pq.write_table(pa.table({"c": ["EU", None], "x": [1.5, 2.0]}), tmp_path / "s.parquet")
    assert read(tmp_path / "s.parquet", real)[1]["c"].tolist() == ["EU", "NA"]
    assert read(written(tmp_path, "c,x\nEU,1\n,2\n"), real)[1]["c"].isna().tolist() == [False, True]


@pytest.mark.parametrize("words", [("True", "False"), ("yes", "no"), ("Y", "N"), ("0", "1")])
def test_booleans_in_their_usual_spellings(tmp_path, words):
    real = written(tmp_path, "b,x\n" + f"{words[0]},1.5\n{words[1]},2\n" * 9, "real.csv")
    first = read(real)[1]["b"].tolist()[:2]
    pq.write_table(pa.table({"b": [words[0] in ("True", "yes", "Y"), words[0] not in ("True", "yes", "Y")],
                             "x": [1.5, 2.0]}), tmp_path / "s.parquet")
    assert read(tmp_path / "s.parquet", real)[1]["b"].tolist() == first


def test_whole_numbers_that_no_float_holds_are_categories_or_left_out(tmp_path):
    few = [2**60 + i % 5 for i in range(N)]
    for name, values in (("few", few), ("many", [2**60 + i for i in range(3_000)])):
        pq.write_table(pa.table({"k": values, "x": np.arange(len(values)) % 9 / 2}), tmp_path / f"{name}.parquet")
        pd.DataFrame({"k": values, "x": np.arange(len(values)) % 9 / 2}).to_csv(tmp_path / f"{name}.csv", index=False)
    for ending in ("parquet", "csv"):
        assert read(tmp_path / f"few.{ending}")[1]["k"].tolist() == list(map(str, few))
        assert "beyond 2^53" in read(tmp_path / f"many.{ending}")[0].left_out["k"]


def test_identifiers_and_indices_are_recognised(tmp_path):
    n = 3_000
    frame = pd.DataFrame({"x": np.arange(n) % 7 / 2, "id": np.arange(n), "floats": np.arange(n) + 0.0,
                          "gaps": np.where(np.arange(n) % 50, np.arange(n), np.nan),
                          "few": [f"n{i}" for i in range(n)]})
    frame.to_csv(tmp_path / "t.csv")
    frame.set_index(np.random.default_rng(1).permutation(n)).to_parquet(tmp_path / "t.parquet")
    for name, index in (("t.csv", ""), ("t.parquet", "__index_level_0__")):
        reader = read(tmp_path / name)[0]
        assert set(reader.forms) == {"x"} and set(reader.left_out) == {index, "id", "floats", "gaps", "few"}
        assert "pandas" in reader.left_out[index]
    frame.head(500)[["x", "few"]].to_csv(tmp_path / "s.csv", index=False)
    assert "identifier" in read(tmp_path / "s.csv")[0].left_out["few"]


def test_lengths_of_time_times_and_what_is_no_value(tmp_path):
    length = [datetime.timedelta(seconds=i) for i in (61, 3_600, 90_000)] * 5
    pq.write_table(pa.table({"t": length, "clock": pa.array([datetime.time(1, 2)] * 15), "list": [[1]] * 15,
                             "s": [{"a": 1}] * 15}), tmp_path / "t.parquet")
    reader, found = read(tmp_path / "t.parquet")
    assert found["t"].tolist()[:3] == [61, 3_600, 90_000] and found["clock"][0] == 3_720
    assert reader.left_out == {"list": "it holds lists, neither numbers nor text",
                               "s": "it holds structures, neither numbers nor text"}
    pd.DataFrame({"t": length, "clock": "01:02"}).to_csv(tmp_path / "s.csv", index=False)
    assert read(tmp_path / "s.csv", tmp_path / "t.parquet")[1].equals(found)


def test_days_and_months_that_cannot_be_told_apart_are_no_dates(tmp_path):
    days = [f"{1 + i % 12:02d}/{1 + i // 12 % 12:02d}/{1800 + i % 200}" for i in range(3_000)]
    written(tmp_path, "d,x\n" + "".join(f"{day},{i % 7 / 2}\n" for i, day in enumerate(days)))
    assert "give its format" in read(tmp_path / "t.csv")[0].left_out["d"]


# ------------------------------------------------------------------------------------------------ layouts


def test_a_folder_of_partitions_is_one_snapshot_and_they_are_data(tmp_path):
    frame = table().assign(place="a b", year=2024)
    for place in ("a b", "c/d"):
        pq.write_to_dataset(pa.Table.from_pandas(frame.assign(place=place)), tmp_path / "t", ["year", "place"])
    (tmp_path / "t" / "_SUCCESS").write_text("")
    assert [one.name for one in layouts.find([str(tmp_path / "t")])] == [str(tmp_path / "t")]
    found = read(tmp_path / "t")[1]
    assert set(found["place"]) == {"a b", "c/d"} and set(found["year"]) == {2024.0} and len(found) == 2 * N
    frame.to_csv(tmp_path / "s.csv", index=False)
    assert len(read(tmp_path / "s.csv", tmp_path / "t")[1]) == N
    (tmp_path / "t" / "month=1").mkdir()
    frame.to_parquet(tmp_path / "t" / "month=1" / "x.parquet")
    with pytest.raises(InputError, match="lies in other partitions"):
        layouts.whole(tmp_path / "t")


def test_files_of_one_data_set_may_differ_in_format_and_not_in_columns(tmp_path):
    table().to_csv(tmp_path / "a.csv", index=False)
    table().assign(age=table().age + 0.5).to_parquet(tmp_path / "b.parquet")
    assert read(tmp_path)[0].forms["age"].type == "number"
    table().drop(columns="age").to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(InputError, match=r"c\.csv: lacks 'age', unlike .*a\.csv"):
        read(tmp_path)


def test_pieces_are_of_one_size_whatever_the_format(tmp_path, monkeypatch):
    """The random sample is drawn by piece: it must not depend on blocks."""
    monkeypatch.setattr(pieces, "PIECE", 70)
    monkeypatch.setattr(pieces, "BLOCK", 1_000)
    table(500).to_csv(tmp_path / "t.csv", index=False)
    sizes = [piece.num_rows for piece in pieces.pieces(layouts.whole(tmp_path / "t.csv"), None)]
    assert sizes == [70] * 7 + [10]


# ------------------------------------------------------------------------------------------------ verdicts


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("read")
    rng = np.random.default_rng(1)
    for name, n, scale, places in (("real", 3_000, 1, 4), ("same", 900, 1, 4), ("three", 900, 3, 4),
                                   ("one", 900, 1, 1)):
        frame = pd.DataFrame({"fare": np.exp(rng.normal(3, 0.6, n)).round(2) * scale,
                              "note": [f"{i} {name}" for i in range(n)],
                              "place": rng.choice(list("abcd")[:places], n)})
        fares = pa.array([decimal.Decimal(f"{x:.2f}") for x in frame.fare], pa.decimal256(40, 2))
        held = pa.Table.from_pandas(frame).set_column(0, "fare", fares)
        pq.write_table(held, root / f"{name}.parquet")
        pq.write_to_dataset(held, root / f"{name}_parts", ["place"])
    return root


@pytest.mark.parametrize(("name", "codes"), [("same", {0}), ("three", {5, 6}), ("one", {3, 4})])
def test_decimals_and_partitions_are_watched(watched, name, codes):
    for ending in (".parquet", "_parts"):
        snapshots = layouts.find([str(watched / f"{name}{ending}")])
        found = series.survey(layouts.whole(watched / f"real{ending}"), snapshots)
        assert found.code in codes and len(found.seen) == 1


def test_what_is_not_watched_stands_beside_the_verdict(watched):
    from collapse.report.watch import render

    found = look.look(watched / "real.parquet", [str(watched / "same.parquet")], page=None)
    assert look.words(found).endswith("healthy; not watched: 'note'")
    assert "Not watched: 'note'." in html.unescape(render(found))
    assert set(json.loads(json.dumps(found.plain()))["left_out"]) == {"note"}
    with pytest.raises(InputError, match=r"--strict: .* 'note', for .*; say so: --drop 'note'"):
        look.look(watched / "real.parquet", [str(watched / "same.parquet")], page=None, strict=True)
    assert look.look(watched / "real.parquet", [str(watched / "same.parquet")], page=None, strict=True,
                     drop=["note"]).code == 0


def test_the_options_on_the_command_line(watched, tmp_path):
    frame = pq.read_table(watched / "real.parquet").to_pandas().astype({"fare": float}).drop(columns="note")
    frame.to_csv(tmp_path / "real.csv", index=False, sep=";", decimal=",", encoding="latin-1")
    frame.head(900).to_csv(tmp_path / "snap.csv", index=False, sep=";", decimal=",", encoding="latin-1")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "collapse_lab.commands.main", "watch", "-r", "real.csv", "snap.csv", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})

    done = run("--separator", ";", "--decimal", ",", "--encoding", "latin-1", "--na", "none", "--types",
               "place=category", "--strict")
    assert done.returncode == 0 and "real.csv: fields parted by ';'" in done.stdout, done.stderr
    for words, line in ((("--separator", ",", "--decimal", ","), "--decimal: ',' is the separator too"),
                        (("--types", "place"), "--types: 'place' names no type; write COLUMN=TYPE")):
        bad = run(*words)
        assert bad.returncode == 2 and line in bad.stderr and bad.stderr.count("\n") == 1
