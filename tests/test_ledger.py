"""Entries of dvc.lock are DVC's own, byte for byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_lab.engine import dvc_door, ledger

WORDS = st.sampled_from(["data/a-01/pool", "yes", "null", "0b1", "1e5", "a: b", "a #b", "-x", "é", "~", ""])
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)), max_leaves=6)
FILES = st.lists(st.fixed_dictionaries({"path": WORDS, "hash": st.just("md5"), "md5": WORDS}), max_size=3)
ENTRIES = st.fixed_dictionaries(
    {"cmd": WORDS}, optional={"deps": FILES, "params": st.dictionaries(WORDS, VALUES, max_size=2), "outs": FILES})
KEYS = st.from_regex(r"[a-z]{1,9}@[a-z]{1,9}-[0-9]{2}", fullmatch=True)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, ENTRIES, min_size=1, max_size=4))
def test_entries_one_by_one_are_the_lock_that_dvc_writes(tmp_path_factory, stages):
    path = tmp_path_factory.mktemp("lock") / "dvc.lock"
    text = dvc_door.HEAD + "".join(dvc_door.text_of(key, entry) for key, entry in stages.items())
    path.write_text(text, encoding="utf-8")
    assert dvc_door.entries(path) == stages
    assert dvc_door.HEAD + "".join(ledger._blocks(path, ("", {})).values()) == text


def test_a_lock_of_another_hand_is_read_whole(tmp_path):
    path = tmp_path / "dvc.lock"
    path.write_text("schema: '2.0'\nstages: {a@b: {cmd: x}}\n")
    assert ledger._blocks(path, ("", {})) == {"a@b": "  a@b:\n    cmd: x\n"}
