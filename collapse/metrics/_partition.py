"""Groups of rows by one or several category columns, frozen on real rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collapse.data import Rows
from collapse.errors import InputError, nearest
from collapse.metrics._neighbours import held
from collapse.rng import Rng

#: Reference rows below which a group is too small to measure: its share alone is uncertain by more than a fifth.
LEAST_ROWS = 20
#: Reference rows that stand for a group where neighbours are sought.
MEMBERS = 100
#: Groups that a grouping may cross into, whether or not rows are in them.
MOST = 100_000
#: Distances that one block may hold.
BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class Partition:
    """The groups of one grouping that real rows show, in the order of their categories.

    Attributes
    ----------
    columns
        What they cross.
    names
        Of the G groups, such as ``sex=Female, race=Black``.
    keys
        The cross code of each group (G,), sorted.
    rows
        Reference rows of each group, (G,).
    found
        Other real rows of each group, (G,), of ``real`` in all.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    keys: np.ndarray
    rows: np.ndarray
    found: np.ndarray
    reference: np.ndarray  # (N,) the group of each reference row
    real: int

    @staticmethod
    def freeze(columns: tuple[str, ...], reference: Rows, real: Rows) -> Partition:
        """Return the groups that ``reference`` and ``real`` (R = 1) show."""
        crossed = [_cross(rows, columns)[0] for rows in (reference, real)]
        keys = np.unique(np.concatenate(crossed))
        own, other = (np.searchsorted(keys, codes) for codes in crossed)
        crossing = [reference.schema[name] for name in columns]
        codes = zip(*np.unravel_index(keys, [len(column.categories) for column in crossing]), strict=True)
        names = tuple(", ".join(f"{column.name}={column.categories[code]}"
                                for column, code in zip(crossing, group, strict=True)) for group in codes)
        rows, found = (np.bincount(group, minlength=len(keys)) for group in (own, other))
        return Partition(columns, names, keys, rows, found, own, real.n)

    @cached_property
    def shares(self) -> np.ndarray:
        """Return the share of each group among all real rows at hand, (G,)."""
        return (self.rows + self.found) / (len(self.reference) + self.real)

    @cached_property
    def measured(self) -> np.ndarray:
        """Return which groups are large enough to be measured."""
        return np.flatnonzero(self.rows >= LEAST_ROWS)

    @cached_property
    def members(self) -> list[np.ndarray]:
        """Return for each group the reference rows that stand for it, at most 100, drawn once for ever."""
        order = Rng("frame", "members", len(self.reference)).generator().permutation(len(self.reference))
        ranked = order[np.argsort(self.reference[order], kind="stable")]
        ends = np.cumsum(self.rows)
        return [np.sort(ranked[end - size : end][:MEMBERS]) for end, size in zip(ends, self.rows, strict=True)]

    def codes(self, rows: Rows) -> np.ndarray:
        """Return the group of each row, (R, n); G where real rows show no such group."""
        crossed = _cross(rows, self.columns)
        place = np.minimum(np.searchsorted(self.keys, crossed), len(self.keys) - 1)
        return np.where(self.keys[place] == crossed, place, len(self.keys))


@dataclass(frozen=True, eq=False)
class Reach:
    """Which of the M reference rows that stand for groups a sample reaches; groups one after the other."""

    recalled: np.ndarray  # (R, M) whether the reference row lies in the ball of a sample row; of ties the chance
    to_sample: np.ndarray  # (R, M) index of the nearest sample row
    starts: np.ndarray  # where each group begins


def reach(sample: np.ndarray, radii: np.ndarray, tied: np.ndarray, members: list[np.ndarray]) -> Reach:
    """Relate the rows of ``sample`` (R, m, k), each with its ball of ``radii`` (R, m), to ``members`` of groups.

    A row just on the edge of a ball is in with chance ``tied`` (R, m).
    """
    from scipy.spatial.distance import cdist

    points = np.concatenate(members)
    shape = (len(sample), len(points))
    recalled, closest = np.empty(shape), np.empty(shape, dtype=int)
    size = max(1, BLOCK // sample.shape[1])
    for r, rows in enumerate(sample):
        for start in range(0, len(points), size):
            distance = cdist(points[start : start + size], rows)
            recalled[r, start : start + size] = held(distance, radii[r], tied[r])[1]
            closest[r, start : start + size] = distance.argmin(axis=1)
    return Reach(recalled, closest, np.cumsum([0, *map(len, members)])[:-1])


def check_grouping(columns: tuple[str, ...], reference: Rows) -> None:
    """Refuse a grouping that the data does not have.

    Raises
    ------
    InputError
        If a column is absent, holds no categories or has one value only, or groups are too many or too small.
    """
    schema = reference.schema
    for name in columns:
        if name not in schema.names:
            raise InputError(f"'{name}' is not a column{nearest(name, schema.names)}")
        column = schema[name]
        if column.kind != "category":
            known = [c.name for c in schema.columns if c.kind == "category"]
            raise InputError(f"'{name}' is {column.says}, not a category; group by {', '.join(known) or 'categories'}")
        if len(np.unique(reference[name])) < 2:
            raise InputError(f"'{name}' has a single value in the reference, so that there is one group; take it out")
    crossed = int(np.prod([len(schema[name].categories) for name in columns]))
    if crossed > MOST:
        raise InputError(f"{' × '.join(columns)} crosses into {crossed} groups, more than {MOST}; take fewer columns")
    if np.bincount(_cross(reference, columns)[0]).max() < LEAST_ROWS:
        raise InputError(f"no group of {' × '.join(columns)} has {LEAST_ROWS} reference rows; take fewer columns")


def _cross(rows: Rows, columns: tuple[str, ...]) -> np.ndarray:
    """Return one code (R, n) for the categories of all ``columns`` together."""
    code = np.zeros((rows.replicates, rows.n), dtype=np.int64)
    for name in columns:
        code = code * len(rows.schema[name].categories) + rows[name]
    return code
