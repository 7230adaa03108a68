"""Rows that reality does not have: values out of range, and pairs of categories that never go together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame
from collapse.metrics.base import Fact, Measurement, Metric

#: Rows that a pair of categories would have if the columns were independent, for its absence to be no chance (e^-10).
EXPECTED = 10
#: Categories beyond which a column is left out of pairs.
MOST = 100


class Validity(Metric):
    """What no real row shows, held against *all* real rows: the reference and the whole bank.

    A value outside the frozen category set cannot be sampled (the gate ``categories`` sees to that), so the impossible
    is a pair of values of two columns that no real row has, though ten or more would be expected if the columns were
    independent: a hole in the table ("Husband" with "Female"), not a rare event.
    """

    kind = "validity"
    facts: ClassVar[dict[str, Fact]] = {
        "range_violations": Fact(
            "fidelity", 0.0, "above",
            "share of rows with a number outside the least and greatest of all real rows, and by column; 0.0: none, "
            "1.0: all",
            "the frozen range", high=1.0,
        ),
        "impossible_pairs": Fact(
            "fidelity", 0.0, "above",
            f"share of rows with a pair of categories that no real row has, where {EXPECTED} or more would be expected "
            f"of independent columns; 0.0: none, 1.0: all",
            "structural zeros: Bishop, Fienberg & Holland 1975, Discrete Multivariate Analysis, ch. 5",
            above="changed", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return len(_categories(schema)) > 1 or any(c.kind == "number" for c in schema.columns)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        out = {}
        for name, (low, high) in _frozen(frame)[0].items():
            values = sample[name]  # NaN is on neither side
            out[name] = (values < low) | (values > high)
        if out:
            yield Measurement("range_violations", "", np.logical_or.reduce(list(out.values())).mean(axis=1))
            if len(out) > 1:
                yield from (Measurement("range_violations", name, mask.mean(axis=1)) for name, mask in out.items())
        if len(_categories(frame.schema)) > 1:
            hit = np.zeros((sample.replicates, sample.n), dtype=bool)
            for (a, b), hole in _frozen(frame)[1].items():
                hit |= hole[sample[a], sample[b]]
            yield Measurement("impossible_pairs", "", hit.mean(axis=1))


def _categories(schema: Schema) -> list[str]:
    return [c.name for c in schema.columns if c.kind == "category" and len(c.categories) <= MOST]


#: Range by column, and holes (categories, categories) by pair of columns that has any.
Frozen = tuple[dict[str, tuple[float, float]], dict[tuple[str, str], np.ndarray]]
_KEPT: WeakKeyDictionary[Frame, Frozen] = WeakKeyDictionary()


def _frozen(frame: Frame) -> Frozen:
    if frame not in _KEPT:
        real = [frame.reference] if frame.every is None else [frame.reference, frame.every]
        ranges = {}
        for column in frame.schema.columns:
            if column.kind == "number":
                values = np.concatenate([rows[column.name][0] for rows in real])
                ranges[column.name] = (float(np.nanmin(values)), float(np.nanmax(values)))
        _KEPT[frame] = ranges, holes(real, frame.schema)
    return _KEPT[frame]


def holes(real: list[Rows], schema: Schema) -> dict[tuple[str, str], np.ndarray]:
    """Return by pair of columns which pairs of categories no row of ``real`` has, ten or more expected."""
    found = {}
    for a, b in combinations(_categories(schema), 2):
        k, m = len(schema[a].categories), len(schema[b].categories)
        flat = np.concatenate([rows[a][0].astype(np.int64) * m + rows[b][0] for rows in real])
        table = np.bincount(flat, minlength=k * m).reshape(k, m)
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(flat)
        hole = (table == 0) & (expected >= EXPECTED)
        if hole.any():
            found[a, b] = hole
    return found
