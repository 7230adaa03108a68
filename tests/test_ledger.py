"""Entries of dvc.lock are DVC's own, byte for byte."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from collapse_lab.engine import ledger

WORDS = st.one_of(
    st.sampled_from(["data/a-01/pool", "yes", "No", "null", "0b1", "1e5", "12", "a: b", "a #b", "-x", "é", "~", "a ",
                     ""]),
    st.text("abcdef0123456789", min_size=32, max_size=32), st.text("01b", min_size=32, max_size=32),
    st.integers(40, 130).map(lambda n: "data/" + "p" * n), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)), max_leaves=6)
FILES = st.lists(st.fixed_dictionaries(
    {"path": WORDS, "hash": st.just("md5"), "md5": WORDS},
    optional={"size": st.integers(0), "nfiles": st.integers(0), "isexec": st.booleans()}), max_size=3)
ENTRIES = st.fixed_dictionaries(
    {"cmd": st.one_of(WORDS, WORDS.map(lambda word: f"python -m collapse_lab.flows.real {word}"))},
    optional={"deps": FILES, "params": st.dictionaries(WORDS, VALUES, max_size=2), "outs": FILES})


@settings(max_examples=300, deadline=None)
@given(st.one_of(WORDS, st.just("generation@tiny-01")).filter(bool), ENTRIES)
@example("plan", {"cmd": "python -m x.plan", "params": {"params.yaml": {"a": 1.0, "b": True, "c": {1: 2}}}})
def test_an_entry_is_written_as_dvc_writes_it(key, entry):
    assert ledger._block(key, entry) == ledger._whole_block(key, entry)


def test_entries_of_a_lock_are_not_dumped_whole(monkeypatch):
    whole = []
    monkeypatch.setattr(ledger, "_whole_block", lambda key, entry: whole.append(key))
    files = [{"path": "data/a-01/pool/" + "p" * 70, "hash": "md5", "md5": "a" * 32 + ".dir", "size": 3, "nfiles": 2}]
    command = "python -m collapse_lab.flows.generation a-01"
    ledger._block("generation@a-01", {"cmd": command, "deps": files, "outs": files})
    assert not whole
