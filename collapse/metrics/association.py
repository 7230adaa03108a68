"""What columns of a table say of each other: rank correlations, Cramér's V, correlation ratios, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Column, Rows, Schema
from collapse.frame import Frame
from collapse.metrics.base import Fact, Measurement, Metric

#: Categories beyond which a column is left out of tables of pairs.
MOST = 100
#: Standard errors of independent columns beyond which a reference shows any association at all.
CLEAR = 4.0


@dataclass(frozen=True, eq=False)
class Pairs:
    """The associations of R samples, each (R, pairs)."""

    correlation: np.ndarray  # of ranks, −1 to 1
    cramer: np.ndarray  # bias-corrected V, 0 to 1
    ratio: np.ndarray  # η, 0 to 1

    @property
    def all(self) -> np.ndarray:
        """Return all of them side by side, (R, pairs)."""
        return np.ascontiguousarray(np.concatenate([self.correlation, self.cramer, self.ratio], axis=1))


class Association(Metric):
    """Dependence between pairs of columns, the label among them; images and columns of over 100 categories left out.

    Of rows that have both. Numbers with numbers by Spearman's ρ. Categories with categories by Cramér's V, corrected
    for the bias of finite samples (Bergsma 2013), so that independence is 0 for many categories too. Numbers with
    categories by the correlation ratio η of the ranks, corrected like ω² (Kelley 1935).
    """

    kind = "association"
    facts: ClassVar[dict[str, Fact]] = {
        "association_ratio": Fact(
            "spread", 1.0, "below",
            "slope through the origin of the sample's associations on the reference's, over all pairs of columns; 1.0: "
            "as strong, 0.0: independent columns, above: sharper than reality (none where the reference shows none)",
            "Spearman 1904; Bergsma 2013; Kelley 1935",
            below="changed", above="changed", low=-np.inf,
        ),
        "correlation_shift": Fact(
            "drift", 0.0, "above",
            "mean over pairs of numbers of the change of Spearman's rank correlation; 0.0: same, 2.0: all reversed",
            "Spearman 1904, Am J Psychol 15:72",
            step=True, above="changed", high=2.0,
        ),
        "cramer_shift": Fact(
            "drift", 0.0, "above",
            "mean over pairs of categories of the change of the bias-corrected Cramér's V; 0.0: same, 1.0: from "
            "independent to one-to-one",
            "Bergsma 2013, J Korean Stat Soc 42:323",
            step=True, above="changed", high=1.0,
        ),
        "ratio_shift": Fact(
            "drift", 0.0, "above",
            "mean over pairs of a number and a category of the change of the correlation ratio of ranks; 0.0: same, "
            "1.0: from independent to determined",
            "Kelley 1935, PNAS 21:554",
            step=True, above="changed", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        numbers, categories = _columns(schema)
        return len(numbers) + len(categories) > 1

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        own, real = _kept(sample, frame), _kept(frame.reference, frame)
        truth = real.all[0]
        if np.abs(truth).max() > CLEAR / np.sqrt(frame.reference.n):
            yield Measurement("association_ratio", "", np.vecdot(own.all, truth) / (truth @ truth))
        for metric, shift in _shifts(own, real):
            yield Measurement(metric, "", shift)

    def step(self, sample: Rows, previous: Rows, frame: Frame) -> Iterator[Measurement]:
        for metric, shift in _shifts(_kept(sample, frame), _kept(previous, frame)):
            yield Measurement(f"{metric}_step", "", shift)


def _shifts(a: Pairs, b: Pairs) -> Iterator[tuple[str, np.ndarray]]:
    for metric, x, y in (("correlation_shift", a.correlation, b.correlation), ("cramer_shift", a.cramer, b.cramer),
                         ("ratio_shift", a.ratio, b.ratio)):
        if x.shape[1]:
            yield metric, np.ascontiguousarray(np.abs(x - y)).mean(axis=1)


#: Associations that are needed more than once: the reference's, and a sample's for its step.
_KEPT: WeakKeyDictionary[Rows, Pairs] = WeakKeyDictionary()


def _kept(rows: Rows, frame: Frame) -> Pairs:
    if rows not in _KEPT:
        _KEPT[rows] = pairs(rows)
    return _KEPT[rows]


def _columns(schema: Schema) -> tuple[list[Column], list[Column]]:
    numbers = [c for c in schema.columns if c.kind == "number"]
    return numbers, [c for c in schema.columns if c.kind == "category" and len(c.categories) <= MOST]


def pairs(rows: Rows) -> Pairs:
    """Return the associations of every pair of columns, replicate by replicate."""
    numbers, categories = _columns(rows.schema)
    found = []
    for r in range(rows.replicates):
        ranks = np.stack([centred_ranks(rows[c.name][r]) for c in numbers]) if numbers else np.empty((0, rows.n))
        codes = {c.name: rows[c.name][r] for c in categories}
        here = ~np.isnan(np.stack([rows[c.name][r] for c in numbers])) if rows.schema.gaps else None
        found.append((_correlations(ranks, here), _cramers(codes, categories), _ratios(ranks, codes, categories, here)))
    return Pairs(*(np.stack(part) for part in zip(*found, strict=True)))


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Return mid-ranks of ``values`` (n,) less their mean, 0 for the missing."""
    order = np.argsort(values, kind="stable")  # NaN last
    present = len(values) - int(np.isnan(values).sum())
    ranked = values[order[:present]]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if present else np.empty(0, int)
    size = np.diff(np.append(starts, present))
    out = np.zeros(len(values))
    out[order[:present]] = np.repeat(starts + (size - 1) / 2 - (present - 1) / 2, size)
    return out


def _correlations(ranks: np.ndarray, here: np.ndarray | None) -> np.ndarray:
    """Return Spearman's ρ of every pair of rows of ``ranks`` (p, n): 0 where one is constant."""
    upper = np.triu_indices(len(ranks), 1)
    cross, square = ranks @ ranks.T, np.square(ranks)
    if here is None:
        total = square.sum(axis=1)
        scale = np.outer(total, total)
    else:
        both = here.astype(float).T
        scale = (square @ both) * (square @ both).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, cross / np.sqrt(scale), 0.0)[upper]


def _cramers(codes: dict[str, np.ndarray], columns: list[Column]) -> np.ndarray:
    found = []
    for a, b in combinations(columns, 2):
        x, y = codes[a.name], codes[b.name]
        if a.missing or b.missing:
            both = _present(x, a) & _present(y, b)
            x, y = x[both], y[both]
        found.append(cramer(x, y, len(a.categories), len(b.categories)) if len(x) else 0.0)
    return np.array(found)


def _present(codes: np.ndarray, column: Column) -> np.ndarray:
    return codes < len(column.categories) - column.missing


def cramer(a: np.ndarray, b: np.ndarray, rows: int, columns: int) -> float:
    """Return the bias-corrected Cramér's V of codes ``a``, ``b`` (n,) (Bergsma 2013, eq. 6), 0 if one is constant."""
    n = len(a)
    table = np.bincount(a.astype(np.int64) * columns + b, minlength=rows * columns).reshape(rows, columns)
    table = table[table.any(axis=1)][:, table.any(axis=0)].astype(float)
    k, m = table.shape
    if min(k, m) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi2 = (table * table / expected).sum() / n - 1
    phi2 = max(0.0, phi2 - (k - 1) * (m - 1) / (n - 1))
    least = min(k - (k - 1) ** 2 / (n - 1), m - (m - 1) ** 2 / (n - 1))
    return float(np.sqrt(phi2 / (least - 1)))


def _ratios(ranks: np.ndarray, codes: dict[str, np.ndarray], columns: list[Column],
            here: np.ndarray | None) -> np.ndarray:
    """Return the corrected η of each number and each category: √(1 − (1 − η²)(n − 1)/(n − k)), at least 0."""
    found = []
    for column in columns:
        size = len(column.categories)
        own = codes[column.name]
        for place, rank in enumerate(ranks):
            code, x = (own, rank) if here is None else (own[here[place]], rank[here[place]])
            if column.missing:
                present = _present(code, column)
                code, x = code[present], centred_ranks(x[present])
            count, total = np.bincount(code, minlength=size), np.bincount(code, weights=x, minlength=size)
            groups, spread = int((count > 0).sum()), x @ x
            if groups < 2 or spread == 0 or len(x) <= groups:
                found.append(0.0)
                continue
            eta2 = (total[count > 0] ** 2 / count[count > 0]).sum() / spread
            found.append(np.sqrt(max(0.0, 1 - (1 - eta2) * (len(x) - 1) / (len(x) - groups))))
    return np.array(found)
