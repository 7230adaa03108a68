"""Conditions: read strictly, evaluated never."""

from __future__ import annotations

import numpy as np
import pytest

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.study.predicate import Predicate

SCHEMA = Schema((
    Column("size", "number"), Column("colour", "category", ("dark red", "blue", "8")),
    Column("label", "category", tuple("0123456789"), role="label"), Column("image", "image", shape=(2, 2)),
))
ROWS = Rows(SCHEMA, {
    "size": np.array([[0.5, 2.5, -1.0], [3.0, 2.5, 2.4]]), "colour": np.array([[0, 1, 2], [2, 2, 0]], np.int32),
    "label": np.array([[8, 8, 1], [3, 8, 0]], np.int32), "image": np.zeros((2, 3, 2, 2)),
})
SIZE, COLOUR, LABEL = ROWS["size"], ROWS["colour"], ROWS["label"]


@pytest.mark.parametrize(("text", "mask"), [
    ("label == 8", LABEL == 8),
    ("label != 8", LABEL != 8),
    ("size<2.5", SIZE < 2.5),
    ("size <= 2.5", SIZE <= 2.5),
    ("size > -1", SIZE > -1),
    ("size >= 2.5", SIZE >= 2.5),
    ("size == 25e-1", SIZE == 2.5),
    ("label in [8, 3]", (LABEL == 8) | (LABEL == 3)),
    ("colour == 'dark red'", COLOUR == 0),
    ("colour in ['dark red', blue]", COLOUR < 2),
    ("label == 8 and size > 2 and colour == 8", (LABEL == 8) & (SIZE > 2) & (COLOUR == 2)),
])
def test_mask(text: str, mask: np.ndarray) -> None:
    assert (Predicate.parse(text, SCHEMA).mask(ROWS) == mask).all()
    assert 0 < mask.sum() < mask.size  # a condition that is always true or false tests nothing


def test_text_is_normal_and_parses_to_itself() -> None:
    condition = Predicate.parse("  label==8   and size>2 and label in [ 1,2 ] ")
    assert condition.text == "label == 8 and size > 2 and label in [1, 2]"
    assert Predicate.parse(condition.text) == condition


@pytest.mark.parametrize(("text", "says"), [
    ("lable == 8", "did you mean 'label'"),
    ("colour == bleu", "did you mean 'blue'"),
    ("label < 8", "compare it with =="),
    ("image == 1", "is an image"),
    ("size > big", "'big' is not a number"),
    ("size >", "write COLUMN OP VALUE"),
    ("", "write COLUMN OP VALUE"),
    ("size = 3", "write COLUMN OP VALUE"),
    ("size > 1 or size < 0", "join conditions with 'and'"),
    ("size > 1 and", "join conditions with 'and'"),
    ("label == [1, 2]", "goes with 'in'"),
    ("label in 1", "goes with 'in'"),
    ("label in []", "compares with nothing"),
    ("__import__('os').system('true')", "write COLUMN OP VALUE"),
])
def test_errors_are_one_line_that_helps(text: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        Predicate.parse(text, SCHEMA, "studies/x.yaml: tails[0].where")
    assert str(error.value).startswith("studies/x.yaml: tails[0].where: ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_dates_and_gaps_are_compared_as_they_are_written():
    schema = Schema((Column("born", "number", type="date", missing=True), Column("seen", "number", type="datetime"),
                     Column("job", "category", ("clerk", "(missing)"), missing=True)))
    day, hour = 24 * 3600 * 10**6, 3600 * 10**6
    rows = Rows(schema, {"born": np.array([[0.0, 11000.0, np.nan]]), "seen": np.array([[0.0, day, day + hour]]),
                         "job": np.array([[0, 1, 1]], dtype=np.int32)})
    for text, expected in {
        "born >= 2000-01-01": [0, 1, 0], "born == 1970-01-01": [1, 0, 0], "born == (missing)": [0, 0, 1],
        "born != (missing)": [1, 1, 0], "seen > 1970-01-02": [0, 0, 1], "seen >= 1970-01-02T01:00": [0, 0, 1],
        "job == (missing)": [0, 1, 1], "job == (missing) and born >= 2000-01-01": [0, 1, 0],
    }.items():
        assert Predicate.parse(text, schema).mask(rows)[0].tolist() == [bool(x) for x in expected], text
    with pytest.raises(InputError, match="'soon' is not a date, and 'born' is a column of dates"):
        Predicate.parse("born > soon", schema)
    with pytest.raises(InputError, match=r"'\(missing\)' is not a datetime"):
        Predicate.parse("seen == (missing)", schema)
