"""Parts and pools on disk: what is read is what was written, equal rows are equal bytes, inherited parts are links."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collapse import manifest as manifests
from collapse import parquet, storage
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.manifest import read_manifest, read_pool, training_pool, write_pool
from collapse.parquet import content_hash, head, part_note, read_part, stored_content, write_part
from collapse.pool import Draw, Part, Pool
from collapse.storage import file_hash, link, put, staging, write_text

SCHEMA = Schema((
    Column("x", "number"),
    Column("colour", "category", categories=("green", "red", "unused")),
    Column("image", "image", shape=(2, 3)),
    Column("label", "category", categories=("a", "b"), role="label"),
))


def rows(replicates: int = 2, n: int = 5, seed: int = 0) -> Rows:
    g = np.random.default_rng(seed)
    return Rows(SCHEMA, {
        "x": g.normal(size=(replicates, n)),
        "colour": g.integers(2, size=(replicates, n), dtype=np.int32),
        "image": g.normal(size=(replicates, n, 2, 3)).astype("f4"),
        "label": g.integers(2, size=(replicates, n), dtype=np.int32),
    })


def same(a: Part, b: Part) -> bool:
    return all(np.array_equal(a.values[name], b.values[name]) for name in SCHEMA.names)


@pytest.mark.parametrize("replicates", [1, 3])
def test_a_part_is_read_as_it_was_written(tmp_path, replicates):
    part = Part.of(rows(replicates), "s-b-01", 1, synthetic=True, model="abc")
    content, file = write_part(part, tmp_path / "p.parquet", "s")
    read = read_part(tmp_path / "p.parquet")
    assert same(part, read)
    assert (read.origin, read.generation, read.synthetic, read.model) == ("s-b-01", 1, True, "abc")
    assert read.schema == SCHEMA
    assert np.array_equal(read.counts, part.counts)
    assert file == file_hash(tmp_path / "p.parquet")
    assert content == content_hash(SCHEMA, read.counts, read.values)


#: One column of each type at rest, and those that may lack values with one that does.
EVERY = Schema((
    Column("x", "number", missing=True),
    Column("whole", "number", type="integer", missing=True),
    Column("day", "number", type="date"),
    Column("time", "number", type="datetime", missing=True),
    Column("yes", "category", categories=("True", "False", "(missing)"), type="boolean", missing=True),
    Column("no", "category", categories=("False", "True"), type="boolean"),
    Column("colour", "category", categories=("red", "green", "(missing)"), missing=True),
    Column("image", "image", shape=(2, 3)),
    Column("words", "text", categories=("a", "b", "c"), shape=(4,)),
))


def everything(replicates: int, n: int = 6) -> Rows:
    g = np.random.default_rng(replicates)

    def some(few: int, gap: float | None = None, shape: tuple[int, ...] = (), of: str = "f8") -> np.ndarray:
        values = g.integers(few, size=(replicates, n, *shape)).astype(of)
        if gap is not None:
            values[:, [1, 4]] = gap
        return values

    return Rows(EVERY, {
        "x": some(9, np.nan) / 7, "whole": some(9, np.nan), "day": some(9000), "time": some(10**9, np.nan),
        "yes": some(2, 2, of="i4"), "no": some(2, of="i4"), "colour": some(2, 2, of="i4"),
        "image": some(9, shape=(2, 3), of="f4"), "words": some(3, shape=(4,), of="i4")})


@pytest.mark.parametrize("replicates", [1, 3])
@pytest.mark.parametrize("batch", [1, 64, parquet.BATCH])
def test_every_type_of_column_is_read_as_it_was_written(tmp_path, monkeypatch, replicates, batch):
    monkeypatch.setattr(parquet, "BATCH", batch)  # decoded at once or row by row
    made = everything(replicates)
    content, _ = write_part(Part.of(made, "s-b-01", 1, synthetic=True), tmp_path / "p.parquet", "s")
    read = read_part(tmp_path / "p.parquet")
    first = head(tmp_path / "p.parquet", 4)
    for name in EVERY.names:
        np.testing.assert_array_equal(read.rows()[name], made[name])
        assert read.rows()[name].dtype == made[name].dtype
        np.testing.assert_array_equal(first[name], made[name][:1, :4])
        np.testing.assert_array_equal(head(tmp_path / "p.parquet", 99)[name], made[name][:1])
    assert stored_content(tmp_path / "p.parquet", EVERY, read.counts) == content == content_hash(
        EVERY, read.counts, read.values)
    table = pq.read_table(tmp_path / "p.parquet")
    assert {name: table[name].null_count for name in EVERY.names} == {
        name: 2 * replicates * EVERY[name].missing for name in EVERY.names}
    assert table["words"][0].as_py() == "".join("abc"[token] for token in made["words"][0, 0])
    truth = [{0: True, 1: False, 2: None}[code] for code in made["yes"].ravel().tolist()]
    assert table["yes"].to_pylist() == truth and table["no"].to_pylist() == (made["no"].ravel() == 1).tolist()
    kept = pq.ParquetFile(tmp_path / "p.parquet").metadata.row_group(0)
    assert {kept.column(i).path_in_schema for i in range(kept.num_columns)
            if "RLE_DICTIONARY" in kept.column(i).encodings} == {"colour"}


def test_a_missing_number_has_one_hash_whatever_its_bits():
    other = np.frombuffer(np.array([0x7FF8000000000001], dtype="<u8").tobytes(), dtype="<f8")
    lacks, has = (Schema((Column("x", "number", missing=missing),)) for missing in (True, False))
    counts = np.array([1])
    assert np.isnan(other).all()
    assert content_hash(lacks, counts, {"x": other}) == content_hash(lacks, counts, {"x": np.array([np.nan])})
    assert content_hash(has, counts, {"x": other}) != content_hash(has, counts, {"x": np.array([np.nan])})


def rewritten(path: Path, name: str, column: pa.Array) -> Path:
    """Write a part anew with another column under the same name."""
    table = pq.read_table(path)
    target = path.with_name("forged.parquet")
    pq.write_table(table.set_column(table.column_names.index(name), name, column), target)
    return target


def test_a_part_that_is_not_what_its_schema_says_is_refused_in_one_line(tmp_path):
    path = tmp_path / "p.parquet"
    write_part(Part.of(everything(1), "s-b-01", 1, synthetic=True), path, "s")
    counts, n = np.array([6]), 6
    forged = {
        "words_tokens": pa.array([[0, 1, 2]] * (n - 1) + [[0, 1]], pa.list_(pa.int32())),  # texts of another length
        "colour": pa.DictionaryArray.from_arrays(pa.array([0] * n), pa.array(["blue"])),  # a category it never had
    }
    for name, column in forged.items():
        with pytest.raises(InputError, match=r"forged\.parquet: cannot be read \(") as caught:
            stored_content(rewritten(path, name, column), EVERY, counts)
        assert "\n" not in str(caught.value)
    for name, column in {"x": pa.array(["a"] * n), "colour": pa.array(["red"] * n), "no": pa.array([1] * n),
                         "day": pa.array([1.0] * n)}.items():
        with pytest.raises(InputError, match=f"column '{name}' is .*, but was frozen as"):
            stored_content(rewritten(path, name, column), EVERY, counts)
    pq.write_table(pq.read_table(path).drop_columns(["x"]), path.with_name("less.parquet"))
    with pytest.raises(InputError, match="lacks the column 'x'"):
        read_part(path.with_name("less.parquet")).rows()
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(200) + whole[204:])
    with pytest.raises(InputError, match="cannot be read"):
        stored_content(path, EVERY, counts)


def test_images_are_a_tensor_column_and_categories_a_dictionary(tmp_path):
    write_part(Part.of(rows(), "s-b-01", 1, synthetic=True), tmp_path / "p.parquet", "s")
    schema = pq.read_schema(tmp_path / "p.parquet")
    assert schema.names[0] == "replicate"
    assert schema.field("image").type.extension_name == "arrow.fixed_shape_tensor"
    assert "dictionary" in str(schema.field("colour").type)


def test_equal_rows_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_part(Part.of(rows(), "s-b-01", 1, synthetic=True), tmp_path / f"{name}.parquet", "s")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_content_hash_ignores_the_layout_of_the_file_but_not_its_values(tmp_path):
    part = Part.of(rows(n=50), "s-b-01", 1, synthetic=True)
    content, file = write_part(part, tmp_path / "p.parquet", "s")
    table = pq.read_table(tmp_path / "p.parquet")
    pq.write_table(table, tmp_path / "q.parquet", row_group_size=7, compression="none")
    other = read_part(tmp_path / "q.parquet")
    assert file_hash(tmp_path / "q.parquet") != file
    assert content_hash(SCHEMA, other.counts, other.values) == content
    values = {**part.values, "x": part.values["x"] + np.eye(1, 100)[0] * 1e-12}
    assert content_hash(SCHEMA, part.counts, values) != content


def test_an_inherited_part_is_a_link_and_the_manifest_names_it(tmp_path):
    first = Pool.of(Part.of(rows(), "s-real", 0, synthetic=False))
    write_pool(first, tmp_path / "0", {"node": "s-real", "study": "s"})
    pool = read_pool(tmp_path / "0") + Part.of(rows(seed=1), "s-b-01", 1, synthetic=True)
    write_pool(pool, tmp_path / "1", {"node": "s-b-01", "study": "s"})
    assert os.path.samefile(tmp_path / "0/s-real.parquet", tmp_path / "1/s-real.parquet")
    manifest = read_manifest(tmp_path / "1")
    assert [p["origin"] for p in manifest["parts"]] == ["s-real", "s-b-01"]
    assert [p["kind"] for p in manifest["parts"]] == ["real", "synthetic"]
    assert manifest["seen"] == 10 and manifest["format"] == 1
    assert [p["rows"] for p in manifest["parts"]] == [10, 10] and not any("weight" in p for p in manifest["parts"])
    again = read_pool(tmp_path / "1")
    assert again.seen == 10
    assert again.rows().n == 10


def test_uneven_parts_make_even_pools():
    a = Part.of(rows(n=4), "s-real", 0, synthetic=False)
    b = Part.of(rows(n=4, seed=1), "s-b-01", 1, synthetic=True)
    pool = Pool.of(a.keep(np.array([0, 1, 2, 4]), np.array([3, 1])), b.keep(np.array([3, 4, 5, 7]), np.array([1, 3])))
    merged = pool.rows()
    assert merged["x"].shape == (2, 4)
    assert np.array_equal(merged["x"][0], [*a.values["x"][:3], b.values["x"][3]])
    assert np.array_equal(merged["x"][1], [a.values["x"][4], *b.values["x"][[4, 5, 7]]])


class Counter:
    """A model whose statistics are how many rows there are, and which counts how often it is asked."""

    summary = "count"

    def __init__(self) -> None:
        self.looked = self.added = 0

    def summarise(self, rows: Rows) -> dict[str, np.ndarray]:
        self.looked += 1
        return {"rows": np.full(rows.replicates, float(rows.n))}

    def add(self, a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.added += 1
        return {"rows": a["rows"] + b["rows"]}

    def weigh(self, a: dict[str, np.ndarray], weight: float) -> dict[str, np.ndarray]:
        return {"rows": a["rows"] * weight}


class Summer(Counter):
    """The same of twice as many, under another name."""

    summary = "sum"

    def summarise(self, rows: Rows) -> dict[str, np.ndarray]:
        return {"rows": 2 * super().summarise(rows)["rows"]}


def test_a_pool_costs_one_addition_a_generation_and_its_summary_is_that_of_all_rows():
    model, pool, expected = Counter(), Pool.of(Part.of(rows(n=3), "s-real", 0, synthetic=False)), 3.0
    assert pool.summary(model)["rows"].tolist() == [3, 3] and model.added == 0
    for t, weight in enumerate([1.0, 0.5, 1.0, 2.0], start=1):
        pool += Part.of(rows(n=4), f"s-b-{t:02d}", t, synthetic=True).weighted(weight)
        expected += 4 * weight
        assert pool.summary(model)["rows"].tolist() == [expected] * 2
        assert pool.summary(model)["rows"].tolist() == [expected] * 2
        assert model.added == t and model.looked == t + 1
    assert Pool(pool.parts).summary(Counter())["rows"].tolist() == [expected] * 2
    assert pool.summary(Summer())["rows"].tolist() == [2 * expected] * 2


def test_rows_carry_weights_where_one_part_has_another_weight():
    a, b = (Part.of(rows(n=n), name, 0, synthetic=False) for n, name in ((2, "a"), (3, "b")))
    assert Pool.of(a, b).rows().weights is None
    assert Pool.of(a, b.weighted(0.5)).rows().weights.tolist() == [1, 1, 0.5, 0.5, 0.5]
    assert Pool.of(a.weighted(2.0), b.weighted(3.0)).rows().weights.tolist() == [2, 2, 3, 3, 3]


def test_a_summary_that_lies_beside_its_part_is_read_and_linked_and_rows_are_not(tmp_path, monkeypatch):
    real = Part.of(rows(n=3), "s-real", 0, synthetic=False)
    write_pool(Pool.of(real.weighted(0.5)), tmp_path / "0", {"node": "s-real", "study": "s"}, model=Counter())
    first, model = read_pool(tmp_path / "0"), Counter()
    assert first.parts[0].weight == 0.5 and list(first.parts[0].stored) == ["count"]
    assert first.summary(model)["rows"].tolist() == [1.5, 1.5] and model.looked == 0
    assert read_pool(tmp_path / "0").summary(Summer())["rows"].tolist() == [3, 3]  # of which nothing lies there
    write_pool(first, tmp_path / "1", {"node": "s-b-01", "study": "s"}, model=model)
    name = "_s-real.count.safetensors"
    assert os.path.samefile(tmp_path / "0" / name, tmp_path / "1" / name) and model.looked == 0
    assert [p["summaries"] for p in read_manifest(tmp_path / "1")["parts"]] == [
        {"count": file_hash(tmp_path / "0" / name)}]
    other = Summer()
    write_pool(first, tmp_path / "2", {"node": "s-b-01", "study": "s"}, model=other)
    assert other.looked == 1 and list(read_pool(tmp_path / "2").parts[0].stored) == ["sum"]


def test_a_part_whose_hashes_nobody_told_is_written_and_not_trusted(tmp_path):
    content, file = write_part(Part.of(rows(), "s-real", 0, synthetic=False), tmp_path / "p.parquet", "s")
    write_pool(Pool.of(read_part(tmp_path / "p.parquet")), tmp_path / "0", {"node": "s-real", "study": "s"})
    (told,) = read_manifest(tmp_path / "0")["parts"]
    assert (told["content"], told["file"]) == (content, file)
    assert not os.path.samefile(tmp_path / "p.parquet", tmp_path / "0/s-real.parquet")


def test_a_part_that_a_sibling_holds_already_is_linked(tmp_path):
    sample = Part.of(rows(seed=1), "s-b-01", 1, synthetic=True)
    for name, part in (("other", Part.of(rows(seed=2), "s-b-01", 1, synthetic=True)), ("raw", sample)):
        (tmp_path / name).mkdir()
        write_part(part, tmp_path / name / "s-b-01.parquet", "s")
    write_pool(Pool.of(sample), tmp_path / "pool", {"node": "s-b-01", "study": "s"}, (tmp_path / "other",
               tmp_path / "none", tmp_path / "raw"))
    assert os.path.samefile(tmp_path / "raw/s-b-01.parquet", tmp_path / "pool/s-b-01.parquet")
    (told,) = read_manifest(tmp_path / "pool")["parts"]
    assert told["file"] == file_hash(tmp_path / "raw/s-b-01.parquet")
    assert told["content"] == part_note(tmp_path / "raw/s-b-01.parquet")["content"]


def test_a_draw_is_made_again_from_its_address_or_refused(tmp_path):
    parts = (Part.of(rows(n=5), "s-real", 0, synthetic=False), Part.of(rows(n=5, seed=1), "s-b-01", 1, synthetic=True))
    pool = Pool(parts, 10, Draw(4, ("here", "1")))
    write_pool(pool, tmp_path / "1", {"node": "s-b-01", "study": "s", "rows": 5})
    told, again = read_manifest(tmp_path / "1"), read_pool(tmp_path / "1")
    drawn = {part.origin: len(rows) for part, rows, _ in pool.taken}
    assert [p["drawn"] for p in told["parts"]] == [drawn["s-real"], drawn["s-b-01"]] and sum(drawn.values()) == 8
    assert [manifests.trained_rows(p) for p in told["parts"]] == list(drawn.values())
    assert manifests.trained_rows({"rows": 7}) == 7
    np.testing.assert_array_equal(again.rows()["x"], pool.rows()["x"])
    every = np.concatenate([part.rows()["x"] for part in parts], axis=1)
    np.testing.assert_array_equal(again.rows()["x"], np.take_along_axis(every, again.drawn, axis=1))
    left = training_pool(tmp_path / "1", left_out=True)
    assert [part.origin for part in left.parts] == ["s-real"] and left.seen == 5 and left.draw.rows == 4
    assert training_pool(tmp_path / "1").draw == again.draw
    with pytest.raises(NodeError, match="cannot be made again"):
        Draw(4, ("elsewhere", "1"), told["draw"]["index"]).of(10, 2)


def test_a_manifest_does_not_lead_out_of_its_folder(tmp_path):
    assert manifests.part_path(tmp_path, "s-b-01") == tmp_path / "s-b-01.parquet"
    with pytest.raises(InputError, match="is no node's name"):
        manifests.part_path(tmp_path, "../s-b-01")


def test_the_head_of_a_part_is_each_replicates_first_rows():
    part = Part.of(rows(replicates=3), "s-real", 0, synthetic=False)
    for name in SCHEMA.names:
        np.testing.assert_array_equal(part.head(2).rows()[name], part.rows()[name][:, :2])
    assert part.head(5) is part and part.n == 5 and part.head(2).n == 2


def test_a_foreign_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "x.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        part_note(tmp_path / "x.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "y.parquet")
    with pytest.raises(InputError, match="carries no provenance"):
        part_note(tmp_path / "y.parquet")
    for note in ("no JSON", "[]", "{}", '{"content": "", "counts": [], "kind": "real", "origin": ""}',
                 '{"content": "", "counts": [], "kind": "real", "origin": "", "schema": []}'):
        pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"collapse": note}), tmp_path / "z.parquet")
        with pytest.raises(InputError, match="what it says of its provenance cannot be read"):
            part_note(tmp_path / "z.parquet")
    note = '{"content": "", "counts": [], "generation": 0, "kind": "real", "model": null, "origin": "", "schema": []}'
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"collapse": note}), tmp_path / "z.parquet")
    assert part_note(tmp_path / "z.parquet")["kind"] == "real"


def test_a_folder_is_put_in_place_without_touching_links_to_the_old_one(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/f").write_text("old")
    os.link(tmp_path / "out/f", tmp_path / "cache")
    with staging(tmp_path, "n") as stage:
        (stage / "out").mkdir()
        (stage / "out/f").write_text("new")
        put(stage / "out", tmp_path / "out")
    assert (tmp_path / "out/f").read_text() == "new"
    assert (tmp_path / "cache").read_text() == "old"
    assert not list((tmp_path / ".tmp").iterdir())


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_what_was_made_on_another_disk_is_copied_whole(tmp_path):
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("no second file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        for text in ("old", "new"):
            with staging(Path(other), "n") as stage:
                (stage / "out").mkdir()
                (stage / "out/f").write_text(text)
                (stage / "g").write_text(text)
                put(stage / "out", tmp_path / "out")
                put(stage / "g", tmp_path / "g")
                assert not list(stage.iterdir())
            assert (tmp_path / "out/f").read_text() == (tmp_path / "g").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g", "out"]


def test_nothing_gets_its_name_before_all_of_it_is_on_disk(tmp_path, monkeypatch):
    for name in ("made/a", "made/deep/b"):
        write_text(tmp_path / name, name)
    happened = []
    monkeypatch.setattr(storage, "sync", lambda path: happened.append(path.relative_to(tmp_path).as_posix()))
    monkeypatch.setattr(os, "replace", lambda source, target: happened.append("named"))
    put(tmp_path / "made", tmp_path / "new/out")
    before, after = happened[: happened.index("named")], happened[happened.index("named") + 1 :]
    assert set(before) == {"made", "made/a", "made/deep", "made/deep/b", "."} and after == ["new"]
    assert before.index("made/deep/b") < before.index("made/deep") < before.index("made")


def test_where_there_are_no_hard_links_a_file_is_copied(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("rows")
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "rows" and not os.path.samefile(tmp_path / "a", tmp_path / "b")


def test_a_staging_folder_may_be_gone_at_the_end(tmp_path):
    with staging(tmp_path, "n") as stage:
        stage.rmdir()
    assert not stage.exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_copy_that_fails_leaves_nothing_beside(tmp_path, monkeypatch, kind):
    source = tmp_path / "made/out"
    write_text(source if kind == "file" else source / "f", "new")
    target = tmp_path / "there/out"
    target.parent.mkdir()
    real = os.stat

    class Elsewhere:
        """What is known of the source, but that it lies on another file system."""

        st_dev = -1

        def __getattr__(self, name):
            return getattr(real(source), name)

    def stat(path, **keys):
        return Elsewhere() if path == source else real(path, **keys)

    def full(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "stat", stat)
    monkeypatch.setattr(storage, "_name", full)
    with pytest.raises(OSError, match="disk full"):
        put(source, target)
    assert not list(target.parent.iterdir()) and source.exists()
