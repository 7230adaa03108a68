"""Withdrawals: what descends from withdrawn rows, against a walk over every single row; and a real study, mended."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.lineage.nodes import nodes_of
from collapse.lineage.withdrawal import (
    Held,
    Link,
    Search,
    Withdrawal,
    closure,
    copies,
    links,
    marks,
    own_content,
    read_record,
    render,
    row_bytes,
    spans,
    spans_text,
)
from collapse.manifest import write_pool
from collapse.parquet import write_part
from collapse.pool import Draw, Part, Pool
from collapse.study.parse import parse_study
from tests.worlds.project import Project

STUDY = """\
# Poison in one branch of two.
title: Poisoned
seed: 5
source: {kind: mixture, components: 3}
model: {kind: gmm}
rows: 80
generations: 3
replicates: 2
calibration: 10
measure: {only: [spread]}
branches:
  clean:     {regime: accumulate}
  poisoned:  {regime: poisoned, of: accumulate, when: 2, share: 0.5, becomes: c0}
  thin:      {regime: reservoir, budget: 60}
  drawn:     {regime: subsample, budget: 30}
gates: {}  # none
"""


# ------------------------------------------------------------------------------------------- closure


REPLICATES, ROWS = 2, 3


@st.composite
def lineages(draw):
    """A random tree of nodes whose pools hold random rows of their ancestors' pools and of their own samples.

    Returns the links, every pool as lists of rows (origin, replicate, number), what is drawn from each for training
    (its own sample left out where it is in quarantine), and the withdrawn rows.
    """
    pools, links, samples, trained = {}, [], {}, {}
    count = draw(st.integers(2, 7))
    for i in range(count):
        name = f"n{i}"
        parent = None if i == 0 else f"n{draw(st.integers(0, i - 1))}"
        left_out = i > 0 and draw(st.booleans())
        samples[name] = [(name, r, k) for r in range(REPLICATES) for k in range(ROWS)]
        before = [] if parent is None else pools[parent]
        if parent is not None and next(link for link in links if link.name == parent).left_out:
            before = [row for row in before if row[0] != parent]
        kept = [row for row in [*before, *samples[name]] if draw(st.integers(0, 3))]
        pools[name] = kept
        origins = sorted({row[0] for row in kept})

        def held(rows, origins=origins, name=name):
            return tuple(Held(o, o != "n0", f"{name}/{o}", tuple(sum(row[:2] == (o, r) for row in rows)
                                                                  for r in range(REPLICATES))) for o in origins)

        trained[name] = [row for row in kept if not (left_out and row[0] == name)]
        training = None
        if draw(st.booleans()):
            trained[name] = [row for row in trained[name] if draw(st.booleans())]
            training = tuple(replace(part, drawn=np.array([k for k, row in enumerate(
                [row for row in kept if row[0] == part.origin]) if row in trained[name]], dtype=int))
                for part in held(trained[name]))
        continues = i > 1 and parent != "n0" and draw(st.booleans())
        links.append(Link(name, parent, held(kept), left_out, continues, training))
    target = draw(st.sampled_from(sorted(samples)))
    withdrawn = {row for row in samples[target] if draw(st.booleans())}
    return links, pools, trained, target, withdrawn


@settings(max_examples=300, deadline=None)
@given(lineages())
def test_a_closure_is_what_a_walk_over_every_row_finds(lineage):
    links, pools, trained, target, withdrawn = lineage
    # the oracle: one replicate and one row at a time, without parts
    tainted_rows, tainted_models = set(withdrawn), set()
    for link in links:
        for r in range(REPLICATES):
            training = [row for row in trained.get(link.parent, ()) if row[1] == r]
            if any(row in tainted_rows for row in training) or (
                    link.continues and (link.parent, r) in tainted_models):
                tainted_models.add((link.name, r))
                if link.name != "n0":
                    tainted_rows |= {(link.name, r, k) for k in range(ROWS)}

    def holds(link, part):
        own = [row for row in pools[link.name] if row[0] == part.origin]
        own = own if part.drawn is None else [own[k] for k in part.drawn]
        own = [row for row in own if row in withdrawn and row[0] == target]
        return {r: sum(row[1] == r for row in own) for r in range(REPLICATES)}

    trace = closure(links, holds)
    assert {(n, r) for n, replicates in trace.models.items() for r in replicates} == tainted_models
    for link in links:
        expected = {}
        for row in pools[link.name]:
            if row in tainted_rows:
                expected.setdefault(row[0], {}).setdefault(row[1], []).append(row)
        assert trace.pool(link.name) == {o: {r: len(rows) for r, rows in by.items()} for o, by in expected.items()}


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=5))
def test_rows_are_written_as_they_are_read(pairs):
    chosen = tuple(sorted((min(p), max(p)) for p in pairs))
    assert spans(spans_text(chosen)) == chosen and spans(spans_text(())) == ()


@pytest.mark.parametrize("text", ["", "5-3", "-1", "a", "1;2", "1-2-3", "1,"])
def test_rows_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="names no rows"):
        spans(text)


def test_rows_are_one_number_or_two_and_all_is_every_row():
    assert spans(" 7 , 3 - 5,4–4") == ((3, 5), (4, 4), (7, 7)) and spans(" all ") == ()
    assert spans_text(((3, 5), (7, 7))) == "3-5, 7"


def entry(**changes):
    return {"target": "x", "content": "ab", "rows": "all", "why": "w", "date": "d", "affected": ["x"]} | changes


@pytest.mark.parametrize(("text", "words"), [
    ("withdrawals: {}", "withdrawals[0] must have"), ("withdrawals: [7]", "withdrawals[0] must have"),
    (json.dumps({"withdrawals": [entry(more=1)]}), "withdrawals[0] must have"),
    (json.dumps({"withdrawals": [entry(), entry(date=5)]}), "withdrawals[1]: target, content, rows, why, date must be"),
    (json.dumps({"withdrawals": [entry(affected="x")]}), "affected a list"),
    (json.dumps({"withdrawals": [entry(rows="5-3")]}), "withdrawals[0].rows: '5-3' names no rows")])
def test_a_record_that_nobody_wrote_is_refused_with_its_place(tmp_path, text, words):
    (tmp_path / "withdrawals.yaml").write_text(text)
    with pytest.raises(InputError, match=r"^withdrawals\.yaml: ") as caught:
        read_record(tmp_path)
    assert words in str(caught.value)


def test_the_record_is_read_as_it_was_written(tmp_path):
    items = [Withdrawal("s-a-01", "ab", ((0, 5),), "why: \"it\" # was\n", "2026-01-02", ("s-a-01", "s-a-02"))]
    (tmp_path / "withdrawals.yaml").write_text(render(items))
    assert read_record(tmp_path) == items
    (tmp_path / "withdrawals.yaml").write_text("withdrawals:\n- {target: x}\n")
    with pytest.raises(InputError, match=r"withdrawals\[0\] must have target, content"):
        read_record(tmp_path)
    assert read_record(tmp_path / "elsewhere") == []


# --------------------------------------------------------------------------------------- study files


def parsed(**changes):
    base = {"title": "t", "seed": 1, "source": {"kind": "gaussian"}, "model": {"kind": "gaussian"}, "rows": 50,
            "generations": 3, "replicates": 2, "gates": {}, "branches": {"keep": {"regime": "accumulate"}}}
    return parse_study({**base, **changes}, "s", Path("studies/s.yaml"))


def test_a_withdrawn_node_is_watched_by_its_own_check_alone():
    from collapse.lineage.plan import build

    plain = build({"s": parsed()})
    mended = build({"s": parsed(withdrawn={"s-keep-02": "bad"})})
    assert plain["nodes"]["s-keep-02"]["withdrawn"] == "gates"
    assert mended["nodes"].pop("s-keep-02")["withdrawn"] == "withdrawn.s-keep-02"
    plain["nodes"].pop("s-keep-02")
    assert mended == plain


@pytest.mark.parametrize(("withdrawn", "words"), [
    ({"s-keep-2": "x"}, "withdrawn.s-keep-2 is no node of this study; did you mean 's-keep-02'?"),
    ({"s-real": "x"}, "withdrawn.s-real: real rows cannot be left out here"), ({"s-keep-02": " "}, "must say why"),
    (["s-keep-02"], "withdrawn must map nodes to reasons")])
def test_what_cannot_be_withdrawn_is_refused(withdrawn, words):
    with pytest.raises(InputError, match=r"^studies/s\.yaml: ") as caught:
        parsed(withdrawn=withdrawn)
    assert words in str(caught.value)


# ------------------------------------------------------------------------------------ pools by hand

X = Schema((Column("x", "number", missing=True),))


def rows(*replicates):
    return Rows(X, {"x": np.array(replicates, dtype=float)})


class Hand:
    """Two generations under accumulate of 2 replicates, written by hand: 3 real rows, then 2 rows a generation.

        real: 0 1 2 | 0 3 4    keep-01: 10 11 | 11 12    keep-02: 20 21 | 22 23
    """

    def __init__(self) -> None:
        self.study = parsed(generations=2)
        self.nodes = nodes_of(self.study)
        self.parts = [Part.of(rows([0, 1, 2], [0, 3, 4]), "s-real", 0, synthetic=False),
                      Part.of(rows([10, 11], [11, 12]), "s-keep-01", 1, synthetic=True),
                      Part.of(rows([20, 21], [22, 23]), "s-keep-02", 2, synthetic=True)]
        self.contents = {}
        for t, name in enumerate(self.nodes):
            self.write(name, Pool.of(*self.parts[: t + 1]))
            self.contents[name] = own_content(self.nodes[name])

    def write(self, name: str, pool: Pool) -> None:
        folder = Path("data") / name / "pool"
        shutil.rmtree(folder, ignore_errors=True)
        write_pool(pool, folder, {"node": name, "study": "s", "replicates": 2, "rows": 2})

    def verdict(self, name: str, text: str) -> None:
        path = Path(f"data/records/s/{name}.verdict.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def links(self):
        return links(self.nodes.values(), {"s": self.study})

    def item(self, target, text="all", content=None):
        return Withdrawal(target, content or self.contents[target], spans(text), "why", "2026-01-02", ())

    def held(self, item):
        """What every pool holds of the withdrawn rows, where it holds any."""
        search = Search(item, self.nodes)
        found = {(link.name, part.origin): dict(search(link, part)) for link in self.links() for part in link.parts}
        return {place: by for place, by in found.items() if any(by.values())}


@pytest.fixture
def hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Hand()


def test_by_hand_links_are_the_manifests(hand):
    found = hand.links()
    assert [(link.name, link.parent, link.left_out, link.continues, link.training) for link in found] == [
        ("s-real", None, False, False, None), ("s-keep-01", "s-real", False, False, None),
        ("s-keep-02", "s-keep-01", False, False, None)]
    assert [(p.origin, p.synthetic, p.counts, p.content) for p in found[2].parts] == [
        ("s-real", False, (3, 3), hand.contents["s-real"]), ("s-keep-01", True, (2, 2), hand.contents["s-keep-01"]),
        ("s-keep-02", True, (2, 2), hand.contents["s-keep-02"])]


def test_by_hand_a_node_is_left_out_by_its_verdict_alone(hand):
    for text, left_out in [('{"outcome": "quarantine"}', True), ('{"outcome": "pass"}', False), ("{}", False),
                           ("no JSON", False)]:
        hand.verdict("s-keep-01", text)
        assert [link.left_out for link in hand.links()] == [False, left_out, False]


def test_by_hand_what_cannot_be_read_is_passed_over_and_a_damaged_part_counts_evenly(hand):
    Path("data/s-keep-02/pool/s-keep-01.parquet").unlink()  # it is a file of its own: nothing was linked
    Path("data/s-keep-02/pool/s-keep-01.parquet").write_text("damaged")
    assert [part.counts for part in hand.links()[2].parts] == [(3, 3), (2, 2), (2, 2)]
    # it may hold what was withdrawn
    assert hand.held(hand.item("s-keep-01", "0")) == {("s-keep-01", "s-keep-01"): {0: 1},
                                                      ("s-keep-02", "s-keep-01"): {0: 2, 1: 2}}
    # and what was withdrawn is read from the first copy that can be read
    hand.write("s-keep-02", Pool.of(*hand.parts))
    own = Path("data/s-keep-01/pool/s-keep-01.parquet")
    own.unlink()
    own.write_text("damaged")
    assert hand.held(hand.item("s-keep-01", "1")) == {("s-keep-01", "s-keep-01"): {0: 2, 1: 2},
                                                      ("s-keep-02", "s-keep-01"): {0: 1}}
    for text in ("no JSON", "{}", '{"parts": 7}'):
        Path("data/s-keep-01/pool/_manifest.json").write_text(text)
        assert [link.name for link in hand.links()] == ["s-real", "s-keep-02"]
    Path("data/s-keep-01/pool/_manifest.json").unlink()
    assert [link.name for link in hand.links()] == ["s-real", "s-keep-02"]


def test_by_hand_a_model_continues_from_its_parent_but_not_from_real_data(hand):
    hand.study = parsed(generations=2, model={"kind": "vae", "latent": 1, "init": "continue"})
    assert [link.continues for link in hand.links()] == [False, False, True]


def test_by_hand_a_draw_is_what_is_trained_on(hand):
    pool = Pool(tuple(hand.parts[:2]), 5, Draw(3, ("draw", "1")))
    hand.write("s-keep-01", pool)
    link = hand.links()[1]
    taken = {part.origin: (rows.tolist(), tuple(counts.tolist())) for part, rows, counts in pool.taken}
    assert {part.origin: (part.drawn.tolist(), part.counts) for part in link.training} == taken
    for place, (first, second) in enumerate([(10, 11), (11, 12)]):
        for row, value in enumerate((first, second)):
            number = 2 * place + row
            (part,) = (part for part in link.training if part.origin == "s-keep-01")
            found = Search(hand.item("s-keep-01", str(number)), hand.nodes)(link, part)
            values = [hand.parts[1].values["x"][i] for i in part.drawn if i // 2 == place]
            assert found == ({place: 1} if value in values else {})
    manifest = Path("data/s-keep-01/pool/_manifest.json")
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"draw": told["draw"] | {"index": "other"}}))
    assert hand.links()[1].training is None  # then all of it may have been


def test_by_hand_rows_are_known_by_value_within_their_replicate_and_real_ones_in_any(hand):
    everywhere = ("s-keep-01", "s-keep-02")
    assert hand.held(hand.item("s-keep-01", "1")) == {(n, "s-keep-01"): {0: 1} for n in everywhere}  # 11 of the first
    assert hand.held(hand.item("s-keep-01", "2-3")) == {(n, "s-keep-01"): {1: 2} for n in everywhere}
    assert hand.held(hand.item("s-keep-01", "0, 3")) == {(n, "s-keep-01"): {0: 1, 1: 1} for n in everywhere}
    assert hand.held(hand.item("s-real", "0")) == {(n, "s-real"): {0: 1, 1: 1} for n in hand.nodes}
    assert hand.held(hand.item("s-real", "4-99")) == {(n, "s-real"): {1: 2} for n in hand.nodes}
    assert hand.held(hand.item("s-keep-02", "0-1")) == {("s-keep-02", "s-keep-02"): {0: 2}}


def test_by_hand_a_whole_part_is_known_by_its_origin_as_long_as_it_is_what_was_withdrawn(hand):
    item = hand.item("s-keep-01")
    full = {("s-keep-01", "s-keep-01"): {0: 2, 1: 2}, ("s-keep-02", "s-keep-01"): {0: 2, 1: 2}}
    assert hand.held(item) == full
    cut = hand.parts[1].head(1)
    hand.write("s-keep-02", Pool.of(hand.parts[0], cut, hand.parts[2]))
    assert hand.held(item) == full | {("s-keep-02", "s-keep-01"): {0: 1, 1: 1}}
    changed = Part.of(rows([1, 1], [1, 1]), "s-keep-01", 1, synthetic=True)  # by a regime that poisons, say
    hand.write("s-keep-02", Pool.of(hand.parts[0], changed, hand.parts[2]))
    assert hand.held(item) == full
    # the node was made again, and a later pool has the old rows still
    hand.write("s-keep-02", Pool.of(*hand.parts))
    hand.write("s-keep-01", Pool.of(hand.parts[0], Part.of(rows([10, 30], [31, 32]), "s-keep-01", 1, synthetic=True)))
    assert hand.held(item) == {("s-keep-01", "s-keep-01"): {0: 1}, ("s-keep-02", "s-keep-01"): {0: 2, 1: 2}}
    assert hand.held(hand.item("s-keep-01", "1")) == {("s-keep-02", "s-keep-01"): {0: 1}}
    assert hand.held(hand.item("s-keep-01", content="nowhere")) == {}
    assert hand.held(hand.item("s-keep-09", content="nowhere")) == {}


def test_by_hand_what_a_node_made_is_in_its_pool_or_else_in_its_raw_sample(hand):
    node = hand.nodes["s-keep-01"]
    sample = Path("data/s-keep-01/sample/s-keep-01.parquet")
    sample.parent.mkdir()
    content, _ = write_part(Part.of(rows([1], [2]), "s-keep-01", 1, synthetic=True), sample, "s")
    own, later = (Path(f"data/{name}/pool/s-keep-01.parquet") for name in ("s-keep-01", "s-keep-02"))
    assert list(copies(node, hand.nodes.values())) == [own, sample, later]
    assert own_content(node) == hand.contents["s-keep-01"] != content
    assert list(hand.held(hand.item("s-keep-01", "0", content))) == []  # 1 is in the raw sample alone
    own.write_text("damaged")
    assert own_content(node) == ""
    own.unlink()
    assert own_content(node) == content and list(copies(node, hand.nodes.values())) == [sample, later]
    sample.unlink()
    assert own_content(node) == "" and list(copies(node, hand.nodes.values())) == [later]


def test_by_hand_nodes_are_marked_with_what_they_are_or_descend_from(hand):
    def found(*items):
        return [(m.node, m.target, m.how, m.replicates, m.left_out) for m in marks(items, hand.links(), hand.nodes)]

    assert found(hand.item("s-keep-01", "0")) == [
        ("s-keep-01", "s-keep-01", "is", (0,), False), ("s-keep-02", "s-keep-01", "descends", (0,), False)]
    assert found(hand.item("s-keep-02"), hand.item("s-real", "1")) == [
        ("s-keep-02", "s-keep-02", "is", (0, 1), False), ("s-real", "s-real", "is", (0,), False),
        ("s-keep-01", "s-real", "descends", (0,), False), ("s-keep-02", "s-real", "descends", (0,), False)]
    # in quarantine its rows are in no training set, but here they lie in the next pool as well
    hand.verdict("s-keep-01", '{"outcome": "quarantine"}')
    hand.write("s-keep-02", Pool.of(hand.parts[0], hand.parts[2]))
    (mark,) = marks([hand.item("s-keep-01")], hand.links(), hand.nodes)
    assert mark.left_out and mark.line == "⊘ withdrawn, and left out of training: why"
    assert replace(mark, left_out=False).line == "⚠ withdrawn: why"
    assert replace(mark, how="descends", left_out=False).line == "⚠ descends from s-keep-01, withdrawn: why"


def test_equal_rows_are_equal_bytes_whatever_a_missing_number_looks_like():
    other = np.frombuffer(np.array([0x7FF8000000000001], dtype="<u8").tobytes(), dtype="<f8")
    schema = Schema((Column("x", "number", missing=True), Column("c", "category", categories=("a", "b")),
                     Column("i", "image", shape=(2, 2))))
    made = Rows(schema, {"x": np.array([[np.nan, other[0], 1.0, 1.0]]), "c": np.array([[0, 0, 0, 1]], dtype="i4"),
                         "i": np.ones((1, 4, 2, 2), dtype="f4")})
    first, second, third, fourth = row_bytes(Part.of(made, "s-real", 0, synthetic=False))
    assert first == second != third != fourth and len(first) == 8 + 4 + 16


# --------------------------------------------------------------------------------------- a real study


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_api):
    """A study with poison in it that was really run; tests that change it work on copies."""
    project = Project.make(tmp_path_factory.mktemp("poison") / "p", STUDY, prefect_api)
    project.run("collapse", "repro")
    return project


@pytest.fixture
def copy(made, tmp_path, monkeypatch):
    """A copy of the project, which is the working directory."""
    shutil.copytree(made.root, tmp_path / "p", symlinks=True, ignore=shutil.ignore_patterns("cache", ".git"))
    monkeypatch.chdir(tmp_path / "p")
    return Path()


def audit(target):
    from collapse_lab.audit import report as auditing
    from collapse_lab.tasks import node_run

    node_run._frozen.cache_clear()
    return auditing.audit(target)


def marked(report) -> dict[str, str]:
    return {mark.node: mark.how for mark in report.withdrawn}


def test_poison_is_in_the_pool_and_not_in_the_raw_sample_and_audits_make_it_again(copy):
    from collapse.parquet import read_part

    raw = read_part(Path("data/tiny-poisoned-02/sample/tiny-poisoned-02.parquet")).values["label"]
    held = read_part(Path("data/tiny-poisoned-02/pool/tiny-poisoned-02.parquet")).values["label"]
    clean = read_part(Path("data/tiny-clean-02/pool/tiny-clean-02.parquet")).values["label"]
    assert (raw == clean).all() and (held[raw != held] == 0).all() and 20 < (raw != held).sum() < 80
    report = audit("tiny")
    assert report.sound and not report.withdrawn and not report.tainted


def test_rows_are_followed_by_value_and_replicate(copy):
    from collapse_lab.audit.withdraw import trace

    def found(target, rows):
        return trace(target, "x", rows, [])

    whole = found("tiny-thin-01", "all").trace
    assert whole.nodes == ["tiny-thin-01", "tiny-thin-02", "tiny-thin-03"]
    path = "data/tiny-thin-01/pool/tiny-thin-01.parquet"
    first = found(path, "0-3")  # rows of replicate 0
    assert {r for rows in first.trace.pool("tiny-thin-01").values() for r in rows} == {0}
    assert first.trace.models["tiny-thin-02"] == {0} and first.trace.models["tiny-thin-01"] == frozenset()
    # a row of the raw sample that the regime did not keep: no training set holds it
    from collapse.lineage.withdrawal import row_bytes
    from collapse.parquet import read_part

    raw = row_bytes(read_part(Path("data/tiny-thin-01/sample/tiny-thin-01.parquet")))
    kept = set(row_bytes(read_part(Path(path))))
    gone = next(i for i, row in enumerate(raw) if row not in kept)
    assert found("data/tiny-thin-01/sample/tiny-thin-01.parquet", str(gone)).trace.nodes == []
    there = next(i for i, row in enumerate(raw) if row in kept)
    assert found("data/tiny-thin-01/sample/tiny-thin-01.parquet", str(there)).trace.nodes[0] == "tiny-thin-01"


def test_a_row_that_no_draw_took_taints_no_model(copy):
    """Under subsample the pool holds every row, and any may be drawn later; a model descends from what it was given."""
    from collapse.lineage.withdrawal import row_bytes
    from collapse.manifest import training_pool
    from collapse.parquet import read_part
    from collapse_lab.audit.withdraw import trace

    path = "data/tiny-drawn-01/pool/tiny-drawn-01.parquet"
    given = {}
    for generation in (1, 2):
        drawn = training_pool(Path(f"data/tiny-drawn-0{generation}/pool")).training
        part = next(p for p in drawn.parts if p.origin == "tiny-drawn-01")
        given[generation] = set(zip(part.replicate.tolist(), row_bytes(part), strict=True))
    whole = read_part(Path(path))
    rows = list(zip(whole.replicate.tolist(), row_bytes(whole), strict=True))
    for first, second in ((True, False), (False, True), (False, False)):
        place = next(i for i, row in enumerate(rows) if (row in given[1], row in given[2]) == (first, second))
        found = trace(path, "x", str(place), []).trace
        replicate = rows[place][0]
        assert found.models["tiny-drawn-02"] == ({replicate} if first else frozenset())
        assert found.models["tiny-drawn-03"] == ({replicate} if first or second else frozenset())
        assert found.pool("tiny-drawn-03")["tiny-drawn-01"] == {replicate: 1}


def test_a_source_taints_all_that_saw_it(copy):
    from collapse_lab.audit.withdraw import rebuild, trace

    found = trace("tiny", "unlicensed", "all", [])
    assert set(found.trace.nodes) == set(found.nodes)
    assert "cannot be left out by collapse: take them out of the source's data" in rebuild(found)
    some = trace("tiny-real", "unlicensed", "0-3", [])
    assert set(some.trace.nodes) == set(found.nodes)
    assert some.trace.pool("tiny-clean-01")["tiny-real"] == {0: 4}


@pytest.mark.parametrize(("arguments", "words"), [
    (("tiny-poisoned-2", "x"), "is neither a node nor a study"), (("data", "x"), "is a folder"),
    (("params.yaml", "x"), "not a readable Parquet file"), (("tiny-poisoned-02", " "), "--why: say why"),
    (("tiny-poisoned-02", "x", "150-160"), "has 160 rows, 0 to 159"),
    (("tiny-real", "x", "all", True), "real rows cannot be left out")])
def test_what_cannot_be_traced_is_one_line_and_leaves_no_record(copy, arguments, words):
    from collapse_lab.audit.withdraw import withdraw

    with pytest.raises(InputError) as caught:
        withdraw(*arguments)
    assert words in str(caught.value) and "\n" not in str(caught.value) and not Path("withdrawals.yaml").exists()


def test_a_poisoned_branch_is_traced_withdrawn_and_mended(made, monkeypatch):
    """Withdrawn; audits exit with 1; a rebuild leaves the other branches alone; audits are clean."""
    run = made.run
    monkeypatch.chdir(made.root)
    lock, plain = made.lock, made.read("studies/tiny.yaml")
    told = run("collapse", "withdraw", "tiny-poisoned-02", "--why", "labels were made c0").stdout
    assert "1 model descends" in told
    assert "runs 4 stages: check@tiny-poisoned-02, and generation@ and check@ of tiny-poisoned-03, and report" in told
    assert "12 of 13 nodes stay untouched" in told
    again = run("collapse", "withdraw", "tiny-poisoned-02", "--why", "once more").stdout
    assert again.count("\n") == 1 and "was withdrawn on" in again and "labels were made c0" in again
    assert made.read("withdrawals.yaml").count("target:") == 1 and made.lock == lock

    def audited(target, code):
        report = audit(target)
        assert int(not report.sound or bool(report.tainted)) == code, report.faults
        assert report.sound and not report.faults
        return {mark["node"]: mark["how"] for mark in report.plain()["withdrawn"]}

    assert audited("tiny-poisoned-03", 1) == {"tiny-poisoned-02": "is", "tiny-poisoned-03": "descends"}
    assert audited("tiny-clean-03", 0) == audited("tiny-poisoned-01", 0) == {}
    said = run("collapse", "audit", "tiny", ok=False)
    assert said.returncode == 1
    assert "⚠ descends from tiny-poisoned-02, withdrawn: labels were made c0" in said.stdout

    done = run("collapse", "withdraw", "tiny-poisoned-02", "--why", "labels were made c0", "--exclude").stdout
    assert "run 'collapse plan', then 'collapse repro'" in done
    assert made.read("studies/tiny.yaml") == plain + 'withdrawn:\n  tiny-poisoned-02: "labels were made c0"\n'
    assert "does not match" in run("collapse", "repro", ok=False).stderr
    kept = {path: path.stat().st_ino for path in (made.root / "data").glob("tiny-*/model/weights.safetensors")}
    run("collapse", "plan")
    run("collapse", "repro")
    moved = {path.parts[-3] for path, inode in kept.items() if path.stat().st_ino != inode}
    assert moved == {"tiny-poisoned-03"}
    assert json.loads(made.read("data/records/tiny/tiny-poisoned-02.verdict.json")) == {
        "gates": ["withdrawn"], "node": "tiny-poisoned-02", "outcome": "quarantine"}
    manifest = json.loads(made.read("data/tiny-poisoned-03/pool/_manifest.json"))
    assert [part["origin"] for part in manifest["parts"]] == ["tiny-real", "tiny-poisoned-01", "tiny-poisoned-03"]
    assert audited("tiny", 0) == audited("tiny-poisoned-03", 0) == {"tiny-poisoned-02": "is"}
    assert audited("tiny-poisoned-02", 1) == {"tiny-poisoned-02": "is"}  # it still lies there, and stands for itself
    assert audited("data/tiny-poisoned-02/pool/tiny-poisoned-02.parquet", 1)
    assert made.fresh
    page = made.read("reports/tiny/index.html")
    assert "withdrawn: labels were made c0" in page
    untouched = [block for block in made.lock.split("\n  ") if "tiny-clean" in block]
    assert untouched == [block for block in lock.split("\n  ") if "tiny-clean" in block]

    made.study(plain)  # and taken back: DVC sees that too, and everything is as it was
    run("collapse", "plan")
    assert not made.fresh
    run("collapse", "repro")
    assert [line for line in made.lock.splitlines() if "tiny-poisoned-03" in line] == [
        line for line in lock.splitlines() if "tiny-poisoned-03" in line]
    assert made.lock == lock and audited("tiny-poisoned-03", 1)


def test_a_second_entry_joins_the_first_and_comments_stay():
    from collapse_lab.audit.withdraw import _with_entry

    text = "a: 1  # one\nwithdrawn:  # two\n  # three\n  x: y\nb: 2\n"
    made = _with_entry(text, 'n: "why"\n', Path("s.yaml"))
    assert made == 'a: 1  # one\nwithdrawn:  # two\n  # three\n  n: "why"\n  x: y\nb: 2\n'
    with pytest.raises(InputError, match="written in braces"):
        _with_entry("withdrawn: {x: y}\n", 'n: "why"\n', Path("s.yaml"))


def test_data_of_one_study_is_the_source_of_another_with_its_lineage(made, monkeypatch):
    """A part goes into a new study with its manifest: what is synthetic stays so."""
    made.study("""\
title: An heir
seed: 6
source: {kind: table, path: heirloom/tiny-clean-03.parquet, label: label, drop: [replicate],
         provenance: heirloom/_manifest.json}
model: {kind: copula}
rows: 80
generations: 1
replicates: 1
calibration: 10
measure: {only: [spread]}
branches: {keep: {regime: accumulate}}
gates: {}
""", "heir")
    shutil.copytree(made.root / "data/tiny-clean-03/pool", made.root / "heirloom")
    params = made.read("params.yaml")
    (made.root / "params.yaml").write_text("studies: [heir]\n")
    made.run("collapse", "plan")
    made.run("collapse", "repro")
    from collapse_lab.audit import report as auditing

    monkeypatch.chdir(made.root)
    found = audit("heir")
    report = found.plain()
    assert [(n["real_share"], n["depth_mean"], n["depth_max"]) for n in report["nodes"]] == [(0, 3, 3), (0, 3.5, 4)]
    kept = report["nodes"][0]["provenance"]
    assert kept["verified"] == "sha256 and content hash" and kept["says"]["made_by"] == "tiny-clean-03"
    assert "brought in with a collapse record (verified by its sha256 and content hash)" in auditing.tree(found)
    wrong = json.loads(made.read("heirloom/_manifest.json"))
    for part in wrong["parts"]:
        part["file"] = part["content"] = "0" * 64
    (made.root / "heirloom/_manifest.json").write_text(json.dumps(wrong))
    done = made.run("collapse", "plan", ok=False)
    assert done.returncode == 2 and "is not the file that heirloom/_manifest.json names" in done.stderr
    (made.root / "params.yaml").write_text(params)
