"""Audits: clean data has no fault, and every way to damage or forge it is found where it was done."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collapse.errors import InputError
from collapse.lineage.merkle import merkle
from collapse.parquet import part_note, read_part, write_part
from collapse.pool import Part
from collapse.rng import Rng
from collapse.storage import file_hash
from tests.worlds.project import Project

STUDY = """\
title: Audited
seed: 5
source: {kind: digits}
model: {kind: gmm, pca: 5}
rows: 60
generations: 2
replicates: 2
calibration: 10
measure: {only: [spread]}
branches:
  replace:    {regime: replace}
  accumulate: {regime: accumulate}
  subsample:  {regime: subsample}
  reservoir:  {regime: reservoir, budget: 40}
  anchor:     {regime: anchor, real: 0.1}
  refresh:    {regime: refresh, real: 0.1}
  rescue:     {from: replace, at: 1, regime: window, k: 2}
gates: {}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_api):
    """A study that was really run; tests work on copies."""
    project = Project.make(tmp_path_factory.mktemp("audit") / "p", STUDY, prefect_api)
    project.run("collapse", "repro")
    return project


WORDS = """\
title: Words
seed: 3
source: {kind: text, path: words.txt, vocabulary: 300, block: 16}
model: {kind: ngram}
rows: 40
generations: 1
replicates: 2
calibration: 10
measure: {only: [perplexity, vocabulary]}
branches:
  accumulate: {regime: accumulate}
gates: {}
"""

CENSUS = """\
title: A table
seed: 3
source: {kind: table, path: people.csv, label: works}
model: {kind: copula}
rows: 60
generations: 1
replicates: 2
calibration: 10
groups: [sex]
branches:
  replace: {regime: replace}
gates: {}
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory, prefect_api):
    """Studies of text and of a table: their generation 0 keeps a tokeniser, and what was found in the source."""
    project = Project.make(tmp_path_factory.mktemp("others") / "p", STUDY, prefect_api)
    draw = np.random.default_rng(0)
    words = ["tails", "vanish", "first", "then", "modes", "and", "spread"]
    said = [" ".join(draw.choice(words, 30)) for _ in range(200)]
    (project.root / "words.txt").write_text("\n\n".join(said))
    lines = [f"{draw.integers(18, 80)},{draw.choice(['f', 'm'])},{draw.choice(['yes', 'no'])},{draw.normal():.3f}"
             for _ in range(900)]
    (project.root / "people.csv").write_text("age,sex,works,score\n" + "\n".join(lines) + "\n")
    project.study(WORDS, "words")
    project.study(CENSUS, "census")
    (project.root / "params.yaml").write_text("studies: [words, census]\nmachine: {workers: 1}\n")
    project.run("collapse", "plan")
    project.run("collapse", "repro")
    return project


def test_text_and_tables_verify_too(others, monkeypatch):
    monkeypatch.chdir(others.root)
    assert audit("words", replay=1).sound and audit("census").sound
    for file in ("data/words-real/bank/tokeniser.json", "data/words-real/reference/reference.parquet",
                 "data/census-real/bank/bank.parquet"):
        before = Path(file).read_bytes()
        flip(Path(file), len(before) // 2)
        assert file in {fault.place for fault in audit(file.split("/")[1]).faults}
        rewrite(Path(file), before)


@pytest.fixture
def copy(made, tmp_path, monkeypatch):
    """A copy of the project, which is the working directory."""
    shutil.copytree(made.root, tmp_path / "p", symlinks=True, ignore=shutil.ignore_patterns("cache", ".git"))
    monkeypatch.chdir(tmp_path / "p")
    return Path()


def audit(*arguments, **keys):
    from collapse_lab.audit import report as auditing
    from collapse_lab.tasks import node_run

    node_run._frozen.cache_clear()
    return auditing.audit(*arguments, **keys)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    rewrite(path, bytes(data))


def rewrite(path: Path, data: bytes) -> None:
    """Write a new file: what is linked to the old one keeps its bytes."""
    path.unlink()
    path.write_bytes(data)


def edit(path: Path, change) -> None:
    manifest = json.loads(path.read_text())
    change(manifest)
    rewrite(path, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())


def test_a_clean_study_verifies_and_says_what_it_is_made_of(copy):
    report = audit("tiny")
    assert report.sound and len(report.nodes) == 14 and report.authority == "self-consistent, unauthenticated"
    made = {node.name: node.makeup for node in report.nodes}
    assert made["tiny-real"].real_share == 1 and made["tiny-real"].depth == (0, 0)
    assert made["tiny-accumulate-02"].real_share == pytest.approx(1 / 3)
    # the second model saw half real rows (depth 0) and half of the first model's (depth 1)
    assert made["tiny-accumulate-02"].depth == (pytest.approx((0 + 1 + 1.5) / 3), 2)
    assert made["tiny-replace-02"].depth == (2, 2)
    assert made["tiny-replace-02"].effective == pytest.approx((1 - 1 / 60) ** 3)
    assert made["tiny-accumulate-02"].effective == pytest.approx(np.prod([1 - 1 / (60 * j**2) for j in (1, 2, 3)]))
    assert made["tiny-anchor-02"].real == 12 and made["tiny-rescue-02"].depth == (1.5, 2)


def test_one_node_is_walked_back_and_trained_again(copy):
    report = audit("tiny-rescue-02", replay=2)
    assert [node.name for node in report.nodes] == ["tiny-real", "tiny-replace-01", "tiny-rescue-02"]
    assert report.sound and report.replayed == ["tiny-replace-01", "tiny-rescue-02"]


def test_a_forged_model_is_found_by_training_again(copy):
    from safetensors.numpy import load_file, save_file

    from collapse_lab.audit.auditor import Auditor

    path = Path("data/tiny-replace-01/model/weights.safetensors")
    weights = load_file(path)
    weights["means"] = weights["means"] + 1e-9
    path.unlink()
    save_file(weights, path)
    assert any("weights is not of the model" in f.what for f in audit("tiny-replace-01").faults)
    from collapse import loop
    from collapse.study.files import read_params
    from collapse.study.parse import read_studies

    edit(Path("data/tiny-replace-01/pool/_manifest.json"), lambda m: m.update(weights=loop.digest(weights)))
    auditor = Auditor(read_studies(Path(), read_params(Path())))
    assert [f.what for f in auditor.replay("tiny-replace-01")] == ["training again from the parent gives another model"]


PARTS = ["tiny-real/pool/tiny-real", "tiny-accumulate-02/pool/tiny-accumulate-01", "tiny-subsample-02/pool/tiny-real",
         "tiny-anchor-01/pool/tiny-real", "tiny-refresh-02/pool/tiny-refresh-02",
         "tiny-replace-01/sample/tiny-replace-01", "tiny-real/bank/bank", "tiny-real/reference/reference"]


def test_a_damaged_part_is_named(copy):
    for part in PARTS:
        path = Path("data") / f"{part}.parquet"
        before = path.read_bytes()
        third = len(before) // 3
        for damaged in (before[:third] + bytes([before[third] ^ 1]) + before[third + 1 :], before[:-20], None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            report = audit(part.split("/")[0])
            assert any(fault.place == str(path) for fault in report.faults), (part, damaged and len(damaged))
            path.write_bytes(before) if damaged is None else rewrite(path, before)
    assert audit("tiny").sound


@pytest.mark.parametrize(("change", "place"), [
    ("swap", "data/tiny-accumulate-02/pool/tiny-accumulate-01.parquet"),
    ("add", "data/tiny-replace-02/pool/tiny-extra.parquet"),
    ("rows", "data/tiny-replace-02/pool/tiny-replace-02.parquet"),
    ("relabel", "data/tiny-replace-02/pool/tiny-replace-02.parquet"),
    ("forge", "data/tiny-replace-02/pool/tiny-replace-02.parquet"),
    ("drop", "data/tiny-accumulate-02/pool/_manifest.json"),
    ("keep", "data/tiny-replace-02/pool/_manifest.json"),
    ("redraw", "data/tiny-subsample-02/pool/_manifest.json"),
    ("drawn", "data/tiny-subsample-02/pool/_manifest.json"),
    ("undrawn", "data/tiny-subsample-02/pool/_manifest.json"),
    ("verdict", "data/records/tiny/tiny-replace-02.verdict.json"),
    ("record", "data/records/tiny/tiny-replace-02.parquet"),
    ("weights", "data/tiny-replace-02/model/weights.safetensors"),
])
def test_a_forgery_is_named(copy, change, place):
    pool = Path("data/tiny-replace-02/pool")
    manifest, part = pool / "_manifest.json", pool / "tiny-replace-02.parquet"
    if change == "swap":
        here = Path("data/tiny-accumulate-02/pool")
        a, b = here / "tiny-accumulate-01.parquet", here / "tiny-accumulate-02.parquet"
        first, second = a.read_bytes(), b.read_bytes()
        rewrite(a, second)
        rewrite(b, first)
    elif change == "add":
        shutil.copy(part, pool / "tiny-extra.parquet")
    elif change == "rows":
        edit(manifest, lambda m: m["parts"][0].update(rows=121))
    elif change == "relabel":
        edit(manifest, lambda m: m["parts"][0].update(kind="real"))
    elif change == "forge":  # other rows, with all hashes of the manifest made to fit
        forged(part, manifest)
    elif change == "drop":  # a part that accumulate keeps is left out, consistently
        here = Path("data/tiny-accumulate-02/pool")
        edit(here / "_manifest.json", lambda m: m["parts"].pop(1))
        (here / "tiny-accumulate-01.parquet").unlink()
    elif change == "keep":  # real rows that replace does not keep
        shutil.copy("data/tiny-real/pool/tiny-real.parquet", pool)
        entry = json.loads(Path("data/tiny-real/pool/_manifest.json").read_text())["parts"][0]
        edit(manifest, lambda m: m["parts"].insert(0, entry))
    elif change == "redraw":  # more real rows than chance gave, and everything made to fit
        from collapse.manifest import drawing, read_pool
        from collapse.pool import Draw

        here = read_pool(Path(place).parent)
        other = replace(here, draw=Draw(60, ("another", "address")))
        counts = {p.origin: int(p.counts.sum()) for p in other.training.parts}
        edit(Path(place), lambda m: m.update(drawing(other)))
        edit(Path(place), lambda m: [p.update(drawn=counts[p["origin"]]) for p in m["parts"]])
    elif change == "drawn":
        edit(Path(place), lambda m: m["parts"][0].update(drawn=m["parts"][0]["drawn"] + 1))
    elif change == "undrawn":  # trained on all of it, it says
        edit(Path(place), lambda m: (m.pop("draw"), [p.pop("drawn") for p in m["parts"]]))
    elif change == "verdict":
        edit(Path(place), lambda v: v.update(outcome="quarantine"))
    else:
        flip(Path(place), 200)
    node = place.split("/")[1] if "records" not in place else "tiny-replace-02"
    assert place in {fault.place for fault in audit(node).faults}


def forged(part: Path, manifest: Path) -> None:
    held = read_part(part)
    rows = held.rows().map(np.copy)
    rows.values["image"][0, 0, 0, 0] += 0.25
    part.unlink()
    fake = replace(Part.of(rows, held.origin, held.generation, held.synthetic), model=held.model)
    content, file = write_part(fake, part, "tiny")
    edit(manifest, lambda m: m["parts"][-1].update(content=content, file=file))


def test_only_a_root_tells_a_consistent_rewrite(copy, tmp_path):
    from collapse_lab.audit import report as auditing

    root, public = auditing.seal("tiny", tmp_path / "key.pem")
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    assert audit("tiny", root=root, signed_by=public).authority == "authenticated by its root and by a signature"
    rewritten()
    report = audit("tiny")
    assert report.faults == [] and report.authority == "self-consistent, unauthenticated"
    report = audit("tiny", root=root)
    assert not report.sound and "something was changed" in report.faults[0].what
    report = audit("tiny-replace-02", signed_by=public)
    assert not report.sound and "was signed" in report.faults[0].what
    _, other = auditing.seal("tiny", tmp_path / "other.pem")  # whoever rewrote it can seal it, with another key
    assert audit("tiny", signed_by=other).sound
    assert "was not signed by that key" in audit("tiny", signed_by=public).faults[0].what


def rewritten() -> None:
    """Forge the last sample of a branch, and make sample, pool, manifest, records and lock agree with it."""
    import pyarrow.parquet as pq
    from ruamel.yaml import YAML

    from collapse_lab.audit.lock import Lock
    from collapse_lab.audit.reader import Reader

    pool, sample = Path("data/tiny-replace-02/pool"), Path("data/tiny-replace-02/sample")
    manifest = pool / "_manifest.json"
    forged(pool / "tiny-replace-02.parquet", manifest)
    shutil.copy(pool / "tiny-replace-02.parquet", sample)
    record = Path("data/records/tiny/tiny-replace-02.parquet")
    table = pq.read_table(record)
    note = {"manifest": json.loads(manifest.read_text()), "manifest_sha256": file_hash(manifest)}
    record.unlink()
    pq.write_table(table.replace_schema_metadata({"collapse": json.dumps(note)}), record)
    shown = record.with_name("tiny-replace-02.samples.parquet")
    rows = read_part(pool / "tiny-replace-02.parquet").rows().replicate(0)
    shown.unlink()
    write_part(Part.of(rows, "tiny-replace-02", 2, synthetic=True), shown, "tiny")
    recorded = Lock(Reader())
    yaml = YAML(typ="safe")
    lock = yaml.load(Path("dvc.lock"))
    for stage in lock["stages"].values():
        for item in (*stage.get("deps", []), *stage.get("outs", [])):
            if "tiny-replace-02" in item["path"]:
                item["md5"] = recorded.hash(Path(item["path"]))
    with open("dvc.lock", "w", encoding="utf-8") as file:
        yaml.dump(lock, file)


def scalars(value, way=()):
    """Yield the way to every scalar of a manifest."""
    if isinstance(value, dict):
        for key in value:
            yield from scalars(value[key], (*way, key))
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from scalars(item, (*way, place))
    else:
        yield way


def mutated(manifest, way, generator):
    inner = manifest
    for key in way[:-1]:
        inner = inner[key]
    old = inner[way[-1]]
    inner[way[-1]] = (not old if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else
                      f"{old}x" if isinstance(old, str) and generator.random() < 0.5 else
                      old[:-1] if isinstance(old, str) and old else "x")


#: Fields of each manifest that are mutated, drawn once for ever.
TRIED = 8


@pytest.mark.parametrize("node", ["tiny-real", "tiny-subsample-02", "tiny-anchor-02"])
def test_no_field_of_a_manifest_is_taken_on_trust(copy, node):
    path = Path("data") / node / "pool" / "_manifest.json"
    before = path.read_bytes()
    generator = Rng("mutations", node).generator()
    lock = Path("dvc.lock").read_bytes()
    ways = list(scalars(json.loads(before)))
    for place in generator.permutation(len(ways))[:TRIED]:
        way = ways[place]
        edit(path, lambda m, way=way: mutated(m, way, generator))
        try:  # as if the record of DVC had been rewritten too
            faults = [f for f in audit(node).faults if f.place not in (str(path.parent), "dvc.lock")]
            assert any(node in fault.place for fault in faults), way
        except InputError as error:
            assert way == ("format",) and "newer" in str(error)
        rewrite(path, before)
    assert Path("dvc.lock").read_bytes() == lock


#: Mutations of each project here; `python -m benchmarks mutations` tries 2,000 in more kinds of nodes.
SLICE = 30


@pytest.mark.parametrize("which", ["made", "others"])
def test_random_mutations_are_found_where_they_are(which, request, tmp_path, monkeypatch):
    from collapse_lab.tasks import node_run
    from tests.worlds.forging import forge

    source = request.getfixturevalue(which).root
    shutil.copytree(source, tmp_path / "p", symlinks=True, ignore=shutil.ignore_patterns(".git"))
    monkeypatch.chdir(tmp_path / "p")
    node_run._frozen.cache_clear()
    tally = forge(SLICE, seed=41)
    assert tally.missed == []
    assert sum(tally.found.values()) == SLICE


@pytest.mark.parametrize("place", ["model/extra.bin", "sample/extra.parquet", "notes.txt",
                                   "../records/tiny/NODE.x.json"])
def test_a_foreign_file_is_named(copy, place):
    path = Path("data/tiny-replace-02") / place
    path = path.parent.resolve().relative_to(Path.cwd()) / path.name.replace("NODE", "tiny-replace-02")
    path.write_text("x")
    assert str(path) in {fault.place for fault in audit("tiny-replace-02").faults}


def test_a_tokeniser_that_is_not_the_banks_is_named(others, monkeypatch):
    monkeypatch.chdir(others.root)
    path = Path("data/words-accumulate-01/model/tokeniser.json")
    before = path.read_bytes()
    rewrite(path, before.replace(b"a", b"b"))
    assert str(path) in {fault.place for fault in audit("words-accumulate-01").faults}
    rewrite(path, before)


def test_an_inherited_part_is_never_loaded(copy, monkeypatch):
    """Its values are hashed some pages at a time; the pool's size is no bound on anything."""
    from collapse import parquet

    loaded, real = [], parquet._read_values
    monkeypatch.setattr(parquet, "_read_values", lambda path, schema: loaded.append(str(path)) or real(path, schema))
    assert audit("tiny-accumulate-02").sound and audit("tiny-replace-02").sound
    assert loaded == []


def test_a_manifest_cannot_lead_an_audit_out_of_the_data(copy):
    outside = Path("outside.parquet")
    shutil.copy("data/tiny-real/pool/tiny-real.parquet", outside)
    for bad in ("../../../outside", str(outside.resolve().with_suffix(""))):
        manifest = Path("data/tiny-replace-02/pool/_manifest.json")
        before = manifest.read_bytes()
        edit(manifest, lambda m, bad=bad: m["parts"][0].update(origin=bad))
        faults = audit("tiny-replace-02").faults
        assert any("which is no name" in fault.what for fault in faults)
        assert not any("outside" in fault.place for fault in faults)
        rewrite(manifest, before)


def test_a_clone_that_pulled_its_data_verifies(made, tmp_path, monkeypatch):
    """After `dvc push` to a local remote, `git clone` and `dvc pull`; and after a run that had nothing to do."""
    made.run("dvc", "remote", "add", "-f", "--default", "store", str(tmp_path / "store"))
    made.commit()
    made.run("dvc", "push", "-q")
    made.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone", made.api)
    missing = clone.run("collapse", "audit", "tiny-replace-02", ok=False)
    assert missing.returncode == 2 and "run 'dvc pull'" in missing.stderr and missing.stderr.count("\n") == 1
    clone.run("dvc", "pull", "-q")
    for project in (clone, made):
        monkeypatch.chdir(project.root)
        report = audit("tiny")
        assert report.sound and len(report.nodes) == 14, [fault.line for fault in report.faults]
    made.run("collapse", "repro")
    assert audit("tiny").sound


def test_files_and_rows_are_traced(copy, tmp_path):
    from collapse_lab.audit import report as auditing

    part = tmp_path / "elsewhere.parquet"
    shutil.copy("data/tiny-accumulate-02/pool/tiny-accumulate-01.parquet", part)
    report = audit(str(part))
    assert report.sound and report.nodes[-1].name == "tiny-accumulate-01"
    runs = auditing.rows(part)
    assert [(r["first"], r["last"], r["replicate"]) for r in runs] == [(0, 59, 0), (60, 119, 1)]
    assert runs[0]["node"] == "tiny-accumulate-01" and runs[0]["model"] == part_note(part)["model"]
    shutil.copytree("data/tiny-accumulate-02/pool", tmp_path / "pool")
    assert audit(str(tmp_path / "pool")).sound
    flip(tmp_path / "pool" / "tiny-real.parquet", 300)
    assert not audit(str(tmp_path / "pool")).sound


@pytest.mark.parametrize(("target", "words"), [
    ("tiny-replace-2", "is neither a node nor a study of params.yaml, nor a file; did you mean 'tiny-replace-02'?"),
    ("params.yaml", "not a readable Parquet file"),
    ("tests", "holds no Parquet part"),
    ("foreign.parquet", "carries no provenance"),
    ("odd.parquet", "what it says of its provenance cannot be read"),
    ("cut.parquet", "not a readable Parquet file"),
    ("orphan.parquet", "was made by 'other-replace-01', which is no node of this project"),
])
def test_what_cannot_be_audited_is_one_line(copy, target, words):
    import pyarrow as pa
    import pyarrow.parquet as pq

    os.makedirs("tests", exist_ok=True)
    table = pa.table({"x": [1.0]})
    pq.write_table(table, "foreign.parquet")
    pq.write_table(table.replace_schema_metadata({"collapse": "[1, 2]"}), "odd.parquet")
    Path("cut.parquet").write_bytes(Path("foreign.parquet").read_bytes()[:-9])
    held = read_part(Path("data/tiny-replace-01/sample/tiny-replace-01.parquet"))
    write_part(replace(held, origin="other-replace-01"), Path("orphan.parquet"), "other")
    with pytest.raises(InputError) as caught:
        audit(target)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_absent_data_and_newer_formats_are_one_line(copy):
    path = Path("data/tiny-replace-02/pool/_manifest.json")
    edit(path, lambda m: m.update(format=99))
    with pytest.raises(InputError, match="has format 99, newer than"):
        audit("tiny-replace-02")
    shutil.rmtree("data/tiny-replace-02/pool")
    with pytest.raises(InputError, match="run 'dvc pull'"):
        audit("tiny-replace-02")


def test_a_key_or_seal_that_is_not_there_is_one_line(copy):
    with pytest.raises(InputError, match="not there; run 'collapse seal tiny --key FILE'"):
        audit("tiny-replace-01", signed_by="0" * 64)
    with pytest.raises(InputError, match="neither 64 hexadecimal digits nor a public key"):
        audit("tiny-replace-01", signed_by="nonsense")


def test_the_root_is_that_of_rfc_6962():
    """Leaves and nodes are hashed apart: else two hashes in a leaf would pass for the node above them."""
    import hashlib

    def hashed(text: bytes) -> bytes:
        return hashlib.sha256(text).digest()

    a, b, c = (hashed(b"\x00" + f"{name}\0{value}".encode()) for name, value in (("a", "1"), ("b", "2"), ("c", "3")))
    assert merkle({"a": "1"}) == a.hex()
    assert merkle({"b": "2", "a": "1"}) == hashed(b"\x01" + a + b).hex()
    assert merkle({"c": "3", "b": "2", "a": "1"}) == hashed(b"\x01" + hashed(b"\x01" + a + b) + c).hex()


def test_a_root_covers_names_and_hashes_in_any_order():
    leaves = {f"f{i}": str(i) for i in range(7)}
    assert merkle(leaves) == merkle(dict(reversed(leaves.items())))
    assert len({merkle(leaves), merkle({**leaves, "f3": "x"}), merkle({k: v for k, v in leaves.items() if k != "f6"}),
                merkle({("g" if k == "f0" else k): v for k, v in leaves.items()})}) == 4
