"""Minority groups: are they still there, still reached, still as varied as they were."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import LEAST, Frame, across, counts, presence
from collapse.metrics._partition import LEAST_ROWS, Partition
from collapse.metrics.base import Fact, Measurement, Metric

#: Share of a group's reference rows beyond each of its own tail thresholds, and the rows that takes.
LEVEL, TAIL_ROWS = 0.10, 50
#: The least width that counts as one, in reference standard deviations, and the least share of one that is told apart.
NARROW = 1e-2


class Groups(Metric):
    """The groups that a study names, each against its own reference rows. The whole is the worst group.

    A group with fewer than 20 reference rows is too small for its share, recall or tails to be told from noise: it has
    a row of ``group_support`` (below 1.0) and of ``group_alive``, and no other.
    """

    kind = "groups"
    facts: ClassVar[dict[str, Fact]] = {
        "group_share": Fact(
            "groups", 1.0, "below",
            "a group's share of the sample over its share of real rows; 1.0: kept, 0.0: gone, 2.0: doubled; the whole "
            "is the smallest",
            "Wyllie et al. 2024, FAccT (arXiv 2403.07857)",
            below="tails lost", above="moved",
        ),
        "group_recall": Fact(
            "groups", 1.0, "below",
            "share of a group's reference rows (100 of them) within a sample row's 5-neighbour ball; 1.0: all reached, "
            "0.0: none; the whole is the worst group",
            "Kynkäänniemi et al. 2019, NeurIPS", high=1.0,
        ),
        "group_tails": Fact(
            "groups", 1.0, "below",
            "share of a group's rows beyond the 10 % and 90 % quantiles of that group, mean over coordinates, over "
            "that of real rows (the sample moved back like tail_kept); 1.0: as wide within as it was, 0.0: no tails or "
            "no rows; the whole is the worst group",
            "Shumailov et al. 2024, Nature 631, group by group",
            below="tails lost",
        ),
        "group_spread": Fact(
            "groups", 1.0, "below",
            "geometric mean over coordinates of the mean distance of a group's rows from their median, over the "
            "reference's; 1.0: as wide within as it was, 0.0: all rows alike; the whole is the worst group",
            "Huber 1981, Robust Statistics, §1.1, group by group",
            below="tails lost", above="gained",
        ),
        "group_alive": Fact(
            "groups", 1.0, "below",
            "groups that the sample still has, over what as many fresh real rows have; 1.0: as many, 0.0: none; of a "
            "group too small to measure, 1.0: there, 0.0: gone",
            "after Good & Toulmin 1956, Biometrika 43:45",
            below="tails lost",
        ),
        "group_support": Fact(
            "groups", 1.0, "either",
            f"reference rows of a group over the {LEAST_ROWS} that measuring takes, the same at every node; below 1.0: "
            f"too small to measure; the whole is the smallest group",
            "the standard error of a share of n rows is 1/√n of it",
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return any(column.kind == "category" for column in schema.columns)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        if not frame.groups:
            return
        found: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.facts}
        alive, replicates = [], sample.replicates
        for place, partition in enumerate(frame.partitions):
            size = len(partition.names)
            codes = partition.codes(sample)  # (R, n)
            count = counts(codes, size + 1)[:, :size]  # (R, G)
            for g in partition.measured:
                found["group_share"][partition.names[g]] = count[:, g] / sample.n / partition.shares[g]
            for g in np.flatnonzero(partition.rows < LEAST_ROWS):
                found["group_alive"][partition.names[g]] = (count[:, g] > 0).astype(float)
            for g, name in enumerate(partition.names):
                found["group_support"][name] = np.full(replicates, partition.rows[g] / LEAST_ROWS)
            expected = presence(partition.found, partition.real, sample.n).sum()
            alive.append((count[:, partition.found > 0] > 0).sum(axis=1) / expected)
            found["group_tails"] |= _tails(place, codes, frame.view(sample).placed.coordinates, frame)
            found["group_spread"] |= _spreads(place, codes, frame.view(sample).coordinates, frame)
        if frame.space.axes.shape[1]:
            found["group_recall"] = _recall(sample, frame)
        for metric, parts in found.items():
            if metric == "group_alive":
                yield Measurement(metric, "", across(alive))
            elif parts:
                yield Measurement(metric, "", np.min(list(parts.values()), axis=0))
            yield from (Measurement(metric, name, values) for name, values in parts.items())


def measured(frame: Frame) -> list[str]:
    """Return the names of all groups that are large enough, in the order of :attr:`Frame.members`."""
    return [p.names[g] for p in frame.partitions for g in p.measured]


def _recall(sample: Rows, frame: Frame) -> dict[str, np.ndarray]:
    reach = frame.view(sample).reach
    hit = np.split(reach.recalled, reach.starts[1:], axis=1)
    return {name: part.mean(axis=1) for name, part in zip(measured(frame), hit, strict=True)}


def _thresholds(partition: Partition, frame: Frame) -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Return by group its code, its tail thresholds (2, p) and how many other real rows lie beyond each (2, p)."""
    found = {}
    own, other = frame.own.coordinates[0], frame.view(frame.real).coordinates[0]
    codes = partition.codes(frame.real)[0]
    quantile = np.nanquantile if frame.schema.gaps else np.quantile
    for g in np.flatnonzero((partition.rows >= TAIL_ROWS) & (partition.found >= LEAST_ROWS)):
        rows = own[partition.reference == g]
        rows = rows[:, np.isfinite(rows).any(axis=0)] if frame.schema.gaps else rows
        if rows.shape[1] < own.shape[1]:
            continue  # a column that this group never has
        edges = quantile(rows, [LEVEL, 1 - LEVEL], axis=0, method="inverted_cdf")
        mass = _beyond(other[codes == g], edges)
        if (mass >= LEAST).any():
            found[partition.names[g]] = (int(g), edges, np.where(mass >= LEAST, mass, 0.0))
    return found


def _widths(rows: np.ndarray) -> np.ndarray:
    """Return the mean distance of ``rows`` (n, p) from their median in each coordinate, (p,), NaN where none is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that these rows never have
        return np.nanmean(np.abs(rows - np.nanmedian(rows, axis=0)), axis=0)


def _spreads(place: int, codes: np.ndarray, coordinates: np.ndarray, frame: Frame) -> dict[str, np.ndarray]:
    """Return how wide each group is, over the reference's, where that has a width."""
    partition, found = frame.partitions[place], {}
    for g in np.flatnonzero(partition.rows >= LEAST_ROWS) if coordinates.shape[2] else ():
        own = _widths(frame.own.coordinates[0][partition.reference == g])
        some = own > NARROW
        if some.any():
            rows = [x[code == g][:, some] for x, code in zip(coordinates, codes, strict=True)]
            wide = np.array([_widths(x) / own[some] if len(x) else np.zeros(some.sum()) for x in rows])
            there = ~np.isnan(wide)  # a column that is missing in all of its rows says nothing of width
            log = np.where(there, np.log(np.maximum(np.nan_to_num(wide), NARROW)), 0.0)
            found[partition.names[g]] = np.exp(log.sum(axis=1) / np.maximum(there.sum(axis=1), 1))
    return found


def _beyond(rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the share of ``rows`` (n, p) below and above ``edges`` (2, p), (2, p)."""
    present = np.maximum(len(rows) - np.isnan(rows).sum(axis=0), 1)
    return np.stack([(rows < edges[0]).sum(axis=0), (rows > edges[1]).sum(axis=0)]) / present


#: What is frozen of the tails within the groups of each partition, one list a frame.
_KEPT: WeakKeyDictionary[Frame, list[dict[str, tuple[int, np.ndarray, np.ndarray]]]] = WeakKeyDictionary()


def _tails(place: int, codes: np.ndarray, coordinates: np.ndarray, frame: Frame) -> dict[str, np.ndarray]:
    """Return what the rows ``codes`` (R, n) of each group of a partition hold beyond its thresholds, over real rows."""
    if not coordinates.shape[2]:
        return {}
    if frame not in _KEPT:
        _KEPT[frame] = [_thresholds(partition, frame) for partition in frame.partitions]
    found = {}
    for name, (g, edges, mass) in _KEPT[frame][place].items():
        pairs = zip(coordinates, codes, strict=True)
        found[name] = np.array([_beyond(rows[code == g], edges)[mass > 0].sum() for rows, code in pairs]) / mass.sum()
    return found
