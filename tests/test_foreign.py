"""Records that came with data: right ones are kept in short, wrong ones refused, and silence is said."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.lineage import imported
from collapse.lineage.makeup import makeup
from collapse.manifest import write_pool
from collapse.parquet import write_part
from collapse.pool import Part, Pool
from collapse.sources.table import Table

ROWS = "age,city\n" + "\n".join(f"{20 + i % 50},{'ab'[i % 2]}" for i in range(200)) + "\n"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(ROWS)
    return path


def sha(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(tmp_path, body) -> object:
    path = tmp_path / "record.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return path


def croissant(**file) -> dict:
    return {"@context": {"sc": "https://schema.org/"}, "@type": "sc:Dataset", "name": "People", "license": "CC0-1.0",
            "creator": {"@type": "sc:Person", "name": "A. Clerk"},
            "distribution": [{"@type": "cr:FileObject", "@id": "other", "contentUrl": "other.csv", "sha256": "0" * 64},
                             {"@type": "cr:FileObject", "@id": "f", "contentUrl": "https://x.test/d/people.csv?v=1",
                              **file}]}


def prov(**entity) -> dict:
    return {"prefix": {"ex": "https://x.test/"}, "entity": {"ex:people.csv": entity},
            "wasGeneratedBy": {"_:1": {"prov:entity": "ex:people.csv", "prov:activity": "ex:survey"}},
            "wasDerivedFrom": {"_:2": {"prov:generatedEntity": "ex:people.csv", "prov:usedEntity": "ex:forms"}}}


def test_croissant_is_held_against_the_file(tmp_path, data):
    kept = imported.vouch(record(tmp_path, croissant(sha256=sha(data))), data)
    assert (kept["kind"], kept["verified"], kept["file"]) == ("croissant", "sha256", sha(data))
    assert kept["says"] == {"name": "People", "license": "CC0-1.0", "creator": "A. Clerk"}
    md5 = hashlib.md5(data.read_bytes(), usedforsecurity=False).hexdigest()
    assert imported.vouch(record(tmp_path, croissant(md5=md5)), data)["verified"] == "md5"
    assert imported.vouch(record(tmp_path, croissant()), data)["verified"] == imported.NOTHING
    with pytest.raises(InputError, match=r"people\.csv is not the file that .*record\.json names"):
        imported.vouch(record(tmp_path, croissant(sha256="1" * 64)), data)


def test_prov_is_held_against_the_file(tmp_path, data):
    kept = imported.vouch(record(tmp_path, prov(**{"ex:sha256": {"$": sha(data), "type": "xsd:string"},
                                                  "ex:realShare": 0.25, "ex:generation": 3})), data)
    assert (kept["kind"], kept["verified"]) == ("prov", "sha256")
    assert kept["says"] == {"entity": "ex:people.csv", "generated_by": "ex:survey", "derived_from": "ex:forms",
                            "generation": 3, "real_share": 0.25, "depth": 3}
    inside = {"bundle": {"ex:b": prov(**{"ex:checksum": f"sha256:{sha(data)}"})}}
    assert imported.vouch(record(tmp_path, inside), data)["verified"] == "sha256"
    with pytest.raises(InputError, match="one of the two was changed"):
        imported.vouch(record(tmp_path, prov(**{"ex:sha256": "2" * 64})), data)


def test_a_file_that_a_model_made_does_not_pass_for_real(tmp_path, data):
    body = croissant(sha256=sha(data), **{"collapse:kind": "synthetic", "collapse:generation": 4})
    body["rai:hasSyntheticData"] = True
    says = imported.vouch(record(tmp_path, body), data)["says"]
    assert (says["real_share"], says["depth"]) == (0.0, 4)
    del body["distribution"][1]["collapse:kind"]
    kept = imported.vouch(record(tmp_path, body), data)
    assert "real_share" not in kept["says"] and "it does not say how much" in imported.line(kept)


def test_a_hash_found_under_another_name_counts(tmp_path, data):
    body = croissant()
    body["distribution"][0]["sha256"] = sha(data)
    assert imported.vouch(record(tmp_path, body), data)["verified"] == "sha256"


@pytest.fixture
def pool(tmp_path):
    """A pool of two parts of this laboratory: real rows, and rows of generation 2."""
    schema = Schema((Column("x", "number"),))
    parts = [Part.of(Rows(schema, {"x": np.arange(50.0)[None] + 100 * g}), name, g, synthetic=g > 0)
             for g, name in ((0, "old-real"), (2, "old-keep-02"))]
    write_pool(Pool.of(*parts), tmp_path / "pool", {"node": "old-keep-02", "study": "old"})
    return tmp_path / "pool"


def test_our_own_manifest_vouches_by_bytes_and_values_and_is_continued(tmp_path, pool):
    kept = imported.vouch(pool / "_manifest.json", pool / "old-keep-02.parquet")
    assert kept["verified"] == "sha256 and content hash"
    assert kept["says"] == {"node": "old-keep-02", "study": "old", "made_by": "old-keep-02", "generation": 2,
                            "real_share": 0.0, "depth": 2}
    assert imported.vouch(pool / "_manifest.json", pool / "old-real.parquet")["says"]["real_share"] == 1.0
    body = json.loads((pool / "_manifest.json").read_text())
    again = imported.vouch(record(tmp_path, body | {"provenance": kept}), pool / "old-keep-02.parquet")
    assert again["says"]["depth"] == 4 and again["says"]["before"] == kept
    assert imported.vouch(record(tmp_path, body | {"provenance": kept}), pool / "old-real.parquet")["says"][
        "real_share"] == 0.0


def test_our_own_values_in_another_layout_are_known_by_content(tmp_path, pool):
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(pool / "old-keep-02.parquet"), tmp_path / "again.parquet", compression="none")
    kept = imported.vouch(pool / "_manifest.json", tmp_path / "again.parquet")
    assert kept["verified"] == "content hash" and kept["says"]["generation"] == 2


def test_a_part_that_the_manifest_does_not_name_is_refused(tmp_path, pool, data):
    with pytest.raises(InputError, match="is not the file that"):
        imported.vouch(pool / "_manifest.json", data)
    rows = Rows(Schema((Column("x", "number"),)), {"x": np.arange(50.0)[None] + 1})
    write_part(Part.of(rows, "old-keep-02", 2, synthetic=True), tmp_path / "old-keep-02.parquet", "old")
    with pytest.raises(InputError, match="is not the file that"):
        imported.vouch(pool / "_manifest.json", tmp_path / "old-keep-02.parquet")


@pytest.mark.parametrize(("body", "words"), [
    ("{", "cannot be read as JSON"), ("[1]", "not a mapping"), ('{"a": NaN}', "NaN is no number"),
    ({"a": 1}, "is neither a _manifest.json"), ({"node": "x", "parts": [], "format": 99}, "has format 99, newer"),
    ({"node": "x", "parts": [{"origin": "x"}]}, "parts that no manifest has"),
    ({"@context": {}, "@type": "Dataset", "distribution": 3}, None),
    ({"entity": {"a": 3, "b": [None]}, "wasGeneratedBy": [1]}, None)])
def test_what_is_no_record_is_one_line_and_what_says_nothing_says_so(tmp_path, data, body, words):
    if words is None:
        assert imported.vouch(record(tmp_path, body), data)["verified"] == imported.NOTHING
        return
    with pytest.raises(InputError, match=words) as caught:
        imported.vouch(record(tmp_path, body), data)
    assert "\n" not in str(caught.value)


def test_a_table_with_a_wrong_record_is_not_read(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path, croissant(sha256="3" * 64))
    table = Table(path="people.csv", provenance="record.json")
    with pytest.raises(InputError, match="is not the file that"):
        table.load()
    assert [path.name for path in table.files()] == ["people.csv", "record.json"]
    with pytest.raises(InputError, match=r"source\.provenance: nowhere\.json is not there"):
        Table(path="people.csv", provenance="nowhere.json").load()
    assert "provenance" not in Table(path="people.csv").spec()  # manifests without a record keep their bytes


def test_makeup_begins_where_the_record_ends():
    def manifest(node, generation, parts, **more):
        return {"node": node, "replicates": 1, "parts": [
            {"origin": o, "kind": "synthetic" if g else "real", "rows": 40, "content": o} for o, g in parts], **more}

    start = manifest("s-real", 0, [("s-real", 0)], provenance={"says": {"real_share": 0.25, "depth": 2}})
    one = manifest("s-a-01", 1, [("s-real", 0), ("s-a-01", 1)])
    found = makeup([start, one], [[], start["parts"]])
    assert found[0].real_share == 0.25 and found[0].depth == (2, 2)
    assert found[1].real_share == 0.125 and found[1].depth == (2.5, 3)
