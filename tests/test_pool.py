"""Parts and pools on disk: what is read is what was written, equal rows are equal bytes, inherited parts are links."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.manifest import read_manifest, read_pool, write_pool
from collapse.parquet import content_hash, part_note, read_part, write_part
from collapse.pool import Part, Pool
from collapse.storage import file_hash, put, staging

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
    assert manifest["seen"] == 10
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


def test_a_foreign_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "x.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        part_note(tmp_path / "x.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "y.parquet")
    with pytest.raises(InputError, match="carries no provenance"):
        part_note(tmp_path / "y.parquet")


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
