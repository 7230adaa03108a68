"""The frozen frame: feature space, bins, tail regions, balls and category sets, all fixed on the reference.

Nothing here is estimated on a generated sample, so every node of a study is measured with the same rule. *Where* a
region lies is frozen on the reference; the mass that P_reference puts there is counted on the other real rows, because
a region chosen on some rows flatters those rows (on digits the low-density stratum holds 10 % of the reference that
chose it, and 8.5 % of other real rows). So 1.0 is what fresh real rows show.

* **Coordinates** are what one-dimensional metrics look at: each number column in reference standard
  deviations under its own name; images through their components ``pc1``, ``pc2``, … .
* **Learned features** of labelled images: the last hidden layer of a small classifier of the other real rows
  (:mod:`collapse.metrics._classifier`), for the metrics of :mod:`collapse.metrics.images` alone.
* **Feature space**: every column carries one unit of variance (a number is divided by its standard
  deviation; an image by one factor for all pixels; a category's one-hot codes by √(1 − Σp²)), then principal
  components, not whitened, so that distances stay those of the data. Up to 16 dimensions all are kept,
  beyond that those that hold 95 % of the variance, at most 16. Labels are no features.
* **A missing number** sits at the reference mean of its column in the feature space, beside an indicator that carries a
  unit of variance of its own. One-dimensional metrics look at the values that are there; where there is none at all,
  the column sits at the reference mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import WHOLE, Column, Rows, Schema
from collapse.errors import InputError
from collapse.metrics import _classifier as images
from collapse.metrics._neighbours import SAME, Balls, Near, nearest, thin
from collapse.metrics._partition import Partition, Reach, reach
from collapse.rng import Rng
from collapse.study.predicate import Predicate

#: Share of the reference beyond each one-dimensional tail threshold, and in the rare categories of a column.
LEVEL = 0.05
#: Share of the reference in the low-density stratum.
STRATUM = 0.10
#: A region with less of the reference than this is no region.
LEAST = 0.005
BINS = 20
#: Standard errors beyond which a column has clearly moved.
CLEAR = 4.0
#: The same where an edge says which way: values beyond the other data's least or greatest that chance gives less often
#: than this.
LIKELY, EDGE = 2.0, 1e-4
#: By how much, times the root of its rows, chance may bring a sample nearer to the reference that is moved.
CHANCE = 0.7
#: Times the mean distance to the nearest reference row, and standard errors, beyond which rows that are moved back have
#: strayed.
STRAYED, SURELY = 1.02, 3.0
#: Levels at which quantiles are compared.
MIDS = (np.arange(100) + 0.5) / 100
COMPONENTS = 16
EXPLAINED = 0.95
PROJECTIONS = 32
#: Reference rows that shape the components, and other real rows that shape expectations.
FIT_ROWS, REAL_ROWS = 5000, 10_000
#: Categories of one column with an axis of their own in the feature space; rarer ones share one.
SLOTS = 32


@dataclass(frozen=True, eq=False)
class Space:
    """An affine map of rows onto ``k`` uncorrelated components of the reference."""

    mean: np.ndarray  # (D,) of the numeric features
    scale: np.ndarray  # (D,)
    tables: dict[str, np.ndarray]  # category -> its place (categories, S)
    axes: np.ndarray  # (D + S of every table, k)

    @staticmethod
    def fit(reference: Rows, columns: tuple[Column, ...]) -> Space:
        """Return the space of all numeric features, the categories in ``columns`` and the gaps of its numbers."""
        mean, scale = _standard(reference)
        rows = reference.take(thinned(reference.n, FIT_ROWS)[None, :])
        tables = {column.name: _table(_codes(rows, column.name)[0], max(len(column.categories), 2))
                  for column in columns}
        standard = (rows.matrix()[0] - mean) / scale
        if rows.schema.gaps:
            standard = np.nan_to_num(standard)
        blocks = [standard, *(table[_codes(rows, name)[0]] for name, table in tables.items())]
        centred = np.concatenate(blocks, axis=1)  # (N, D + S)
        return Space(mean, scale, tables, _axes(centred - centred.mean(axis=0)))

    def standard(self, rows: Rows) -> np.ndarray:
        """Return the numeric features with one unit of variance a column, (R, n, D); the missing at the mean."""
        standard = (rows.matrix() - self.mean) / self.scale
        return np.nan_to_num(standard, copy=False) if rows.schema.gaps else standard

    def project(self, rows: Rows) -> np.ndarray:
        """Return the components of rows, (R, n, k)."""
        out = self.standard(rows) @ self.axes[: len(self.mean)]
        start = len(self.mean)
        for name, table in self.tables.items():
            out = out + (table @ self.axes[start : start + table.shape[1]])[_codes(rows, name)]
            start += table.shape[1]
        return out


def _standard(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    matrix = rows.matrix()[0].astype(float)
    mean, variance = (np.nanmean(matrix, axis=0), np.nanvar(matrix, axis=0)) if rows.schema.gaps else \
        (matrix.mean(axis=0), matrix.var(axis=0))
    scale, start = np.ones_like(variance), 0
    for column in rows.schema.numeric:
        block = slice(start, start + column.width)
        total = variance[block].sum()
        scale[block] = np.sqrt(total) if total > 1e-24 * (1 + np.square(mean[block]).sum()) else 1.0
        start += column.width
    return mean, scale


def _codes(rows: Rows, name: str) -> np.ndarray:
    """Return the codes of a category column, or of a number column whether a value is missing: (R, n)."""
    return rows[name] if rows.schema[name].kind == "category" else np.isnan(rows[name]).astype(np.int32)


def _table(codes: np.ndarray, categories: int) -> np.ndarray:
    """Return the centred and scaled one-hot place of every category, (categories, S)."""
    counts = np.bincount(codes, minlength=categories)
    slot = np.minimum(np.argsort(np.argsort(-counts, kind="stable"), kind="stable"), SLOTS - 1)
    share = np.bincount(slot, weights=counts) / counts.sum()
    diversity = 1 - np.square(share).sum()
    return (np.eye(len(share)) - share)[slot] / np.sqrt(diversity if diversity > 0 else 1.0)


def _axes(centred: np.ndarray) -> np.ndarray:
    """Return the leading principal axes (D, k), the largest loading of each positive."""
    n, width = centred.shape
    if width == 0:
        return np.empty((0, 0))
    if width > n:
        _, spread, axes = np.linalg.svd(centred, full_matrices=False)
        variance, axes = spread**2, axes.T
    else:
        variance, axes = np.linalg.eigh(centred.T @ centred)
        variance, axes = variance[::-1], axes[:, ::-1]
    rank = int((variance > 1e-9 * variance[:1].sum()).sum())
    if width > COMPONENTS:
        explained = np.cumsum(variance) / variance.sum()
        rank = min(rank, COMPONENTS, int(np.searchsorted(explained, EXPLAINED)) + 1)
    axes = axes[:, :rank]
    return axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(rank)])


def _patterns(rows: Rows) -> np.ndarray | None:
    """Return which values each row lacks, a bit a column, (R, n); None where the schema has no gaps."""
    found = None
    for place, column in enumerate(column for column in rows.schema.columns if column.missing):
        x = rows[column.name]
        lacks = np.isnan(x) if column.kind == "number" else x == len(column.categories) - 1
        bits = lacks.astype(np.uint64) << np.uint64(place % 64)
        found = bits if found is None else found ^ bits
    return found


def thinned(n: int, most: int) -> np.ndarray:
    """Return all of ``range(n)``, or ``most`` of it drawn once for ever, in order."""
    return np.arange(n) if n <= most else np.sort(Rng("frame", "rows", n).generator().permutation(n)[:most])


@dataclass(frozen=True)
class Region:
    """A frozen part of the data: its ``family`` (side, stratum, rare or named), weight and reference mass."""

    name: str
    family: str
    weight: float
    mass: float


class View:
    """Rows as the frame sees them, projected once and shared by all metrics."""

    def __init__(self, rows: Rows, frame: Frame):
        self.replicates, self.n = rows.replicates, rows.n
        self.space = frame.space.project(rows)  # (R, n, k)
        self.numeric = self.space if frame.numeric is frame.space else frame.numeric.project(rows)
        self.coordinates = frame.coordinates(rows, self.numeric)  # (R, n, p)
        self.codes = {c.name: rows[c.name] for c in rows.schema.columns if c.kind == "category"}
        self.label = rows.label
        #: The missing share of each column that may lack values, (R,).
        self.missing = {c.name: (np.isnan(rows[c.name]) if c.kind == "number" else
                                 rows[c.name] == len(c.categories) - 1).mean(axis=1)
                        for c in rows.schema.columns if c.missing}
        #: Which values each row lacks, as a number, (R, n); None where nothing can be missing.
        self.gaps = _patterns(rows)
        self._frame = frame

    @cached_property
    def pairs(self) -> np.ndarray | slice:
        """Return which rows enter pairwise work."""
        return thin(self.n, self.space.shape[2])

    @cached_property
    def near(self) -> Near:
        """Relate the rows to the reference, pair by pair."""
        return self._frame.balls.near(self.space[:, self.pairs])

    @cached_property
    def ranked(self) -> np.ndarray:
        """Return the coordinates, each sorted, the missing last, (R, n, p)."""
        return np.sort(self.coordinates, axis=1)

    @cached_property
    def present(self) -> np.ndarray:
        """Return how many values each coordinate has, (R, p)."""
        return self.n - np.isnan(self.coordinates).sum(axis=1)

    @cached_property
    def placed(self) -> View:
        """Return the rows moved back to where the reference lies, for what speaks of shape and not of place.

        A column (images as a whole) is moved, replicate by replicate, where its mean or ranks have clearly moved, or
        likely and an edge has the same way, or both edges have, and the move brings it nearer to the reference; and all
        stay where they are if that takes the rows away from their nearest reference rows. For the mean also moves where
        a part has gone, and putting the rest in its place would hide what is missing. Where nothing moved these are the
        rows themselves.
        """
        return self if self.shift is None else self._moved(self.shift)

    @cached_property
    def shift(self) -> np.ndarray | None:
        """Return by how much the standardised features of :attr:`placed` are less, (R, D); None: it is these rows."""
        shift = self._frame.shift(self)
        if shift is None or self.space.shape[2] == 1:
            return shift
        points, before = self._frame.balls.points, self.space[:, self.pairs]
        after = self._moved(shift).space[:, self.pairs]
        for r in range(self.replicates):
            if shift[r].any() and _strayed(nearest(before[r], points), nearest(after[r], points)):
                shift[r] = 0.0
        return shift if shift.any() else None

    @cached_property
    def filled(self) -> np.ndarray:
        """Return the coordinates with other values of the same column where one is missing, (R, n, p).

        What speaks of spread and modes looks at these: beside the mean, how many are missing would look like spread.
        """
        if not self._frame.schema.gaps:
            return self.coordinates
        out = self.coordinates.copy()
        for r, place in np.argwhere(np.isnan(out).any(axis=1)):
            x = out[r, :, place]
            lacks = np.isnan(x)
            x[lacks] = np.resize(x[~lacks], lacks.sum()) if not lacks.all() else 0.0
        return out

    @cached_property
    def components(self) -> np.ndarray:
        """Return the components of the numbers and images with gaps :attr:`filled`, (R, n, k)."""
        return self._frame.of_filled(self) if self._frame.schema.gaps else self.numeric

    def _moved(self, shift: np.ndarray) -> View:
        """Return the view of rows whose standardised features are less by ``shift`` (R, D)."""
        frame, other = self._frame, object.__new__(View)
        moved = frame.present(self, shift)  # (R, 1, D), or (R, n, D) where values are missing
        kept = ("replicates", "n", "codes", "label", "missing", "gaps", "_frame", "pairs")
        other.__dict__ |= {name: getattr(self, name) for name in kept}
        width = shift.shape[1]
        other.space = self.space - moved @ frame.space.axes[:width]
        other.numeric = other.space if self.numeric is self.space else \
            self.numeric - moved @ frame.numeric.axes[:width]
        other.coordinates = frame.relocated(self.coordinates, shift, other.numeric)
        other.__dict__["placed"] = other
        return other

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over the rows that have a value of ``values`` (R, n, p), 0 or False where they have none."""
        return values.mean(axis=1) if not self._frame.schema.gaps else values.sum(axis=1) / self.present

    @cached_property
    def reach(self) -> Reach:
        """Return which reference rows of each group the rows reach."""
        return reach(self.space[:, self.pairs], self.near.reach, self.near.tied, self._frame.members)

    def shares(self, column: Column) -> np.ndarray:
        """Return the share of every category of a column among the rows that have one, (R, categories)."""
        found = counts(self.codes[column.name], len(column.categories))
        if column.missing:
            found[:, -1] *= ~found[:, :-1].any(axis=1)
        return found / found.sum(axis=1, keepdims=True)


def counts(codes: np.ndarray, categories: int) -> np.ndarray:
    """Return how often each code below ``categories`` occurs in each row of ``codes`` (R, n): (R, categories)."""
    replicates = len(codes)
    flat = codes + np.arange(replicates)[:, None] * categories
    return np.bincount(flat.ravel(), minlength=replicates * categories).reshape(replicates, categories)


@dataclass(frozen=True, eq=False)
class Frame:
    """All that is frozen on the reference. Its parts are made when first asked for and then kept.

    Attributes
    ----------
    reference
        Held-out real rows, R = 1.
    real
        Other real rows, R = 1: what an equal number of fresh real rows would show.
    tails
        The study's own tail regions and their weights.
    rows
        Rows of a measured sample.
    chosen
        The metrics to measure; None: all.
    """

    reference: Rows
    real: Rows
    tails: tuple[tuple[Predicate, float], ...]
    rows: int
    #: The metrics that are measured, by file; None: all that apply.
    chosen: tuple[str, ...] | None = None
    #: Groupings by the columns that they cross.
    groups: tuple[tuple[str, ...], ...] = ()
    #: All real rows there are beside the reference, R = 1.
    every: Rows | None = None
    #: The classifier of images that generation 0 stored; None: learned here, when first asked for.
    stored: images.Classifier | None = None
    _views: WeakKeyDictionary[Rows, View] = field(default_factory=WeakKeyDictionary, repr=False)

    @staticmethod
    def freeze(reference: Rows, real: Rows, tails: tuple[tuple[Predicate, float], ...] = (), rows: int = 0,
               chosen: tuple[str, ...] | None = None, groups: tuple[tuple[str, ...], ...] = (),
               stored: images.Classifier | None = None) -> Frame:
        """Freeze everything on ``reference``; ``real`` is thinned to 10,000 rows.

        Raises
        ------
        InputError
            If a region of ``tails`` has no row in the reference, or names what the data lacks.
        """
        for condition, _ in tails:
            condition.check(reference.schema, "tails.where")
            if not condition.mask(reference).any():
                raise InputError(f"tails.where: no row of the reference has {condition.text}; widen it")
        return Frame(reference, real.take(thinned(real.n, REAL_ROWS)[None, :]), tuple(tails), rows or reference.n,
                     chosen, groups, real, stored)

    @property
    def schema(self) -> Schema:
        """Return the schema of the study."""
        return self.reference.schema

    def view(self, rows: Rows) -> View:
        """Return ``rows`` as the frame sees them; kept as long as ``rows`` lives."""
        if rows not in self._views:
            self._views[rows] = View(rows, self)
        return self._views[rows]

    # ------------------------------------------------------------------------------- space and marginals

    @cached_property
    def numeric(self) -> Space:
        """Return the space of the numbers and images alone."""
        return Space.fit(self.reference, ())

    @cached_property
    def space(self) -> Space:
        """Return the joint space of numbers, images and categories."""
        more = (*self.schema.categorical, *self.schema.gaps)
        return Space.fit(self.reference, more) if more and self.schema.numeric else self.numeric

    @cached_property
    def classifier(self) -> images.Classifier | None:
        """Return the classifier whose last hidden layer is the feature space of labelled images, if there are any."""
        if not images.applies(self.schema):
            return None
        return self.stored or images.Classifier.fit(self.real)

    @cached_property
    def number_columns(self) -> list[tuple[int, str]]:
        """Return place among all features and name of each number column that varies in the reference."""
        found, start = [], 0
        matrix = self.reference.matrix()[0]
        varies = (np.nanmax(matrix, axis=0) > np.nanmin(matrix, axis=0)) if len(matrix.T) else []
        for column in self.schema.numeric:
            if column.kind == "number" and varies[start]:
                found.append((start, column.name))
            start += column.width
        return found

    @cached_property
    def _images(self) -> bool:
        return any(column.kind == "image" for column in self.schema.numeric)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of the p coordinates."""
        components = self.numeric.axes.shape[1] if self._images else 0
        return (*(name for _, name in self.number_columns), *(f"pc{i + 1}" for i in range(components)))

    @cached_property
    def _component_scale(self) -> np.ndarray:
        return self.numeric.project(self.reference)[0].std(axis=0)

    def coordinates(self, rows: Rows, numeric: np.ndarray) -> np.ndarray:
        """Return the coordinates of rows whose projection is ``numeric``: (R, n, p), in reference SDs."""
        places = [place for place, _ in self.number_columns]
        space = self.numeric
        out = (rows.matrix()[:, :, places] - space.mean[places]) / space.scale[places]
        if self.schema.gaps:
            out[np.broadcast_to(np.isnan(out).all(axis=1, keepdims=True), out.shape)] = 0.0
        return np.concatenate([out, numeric / self._component_scale], axis=2) if self._images else out

    @cached_property
    def own(self) -> View:
        """Return the reference as the frame sees it."""
        return self.view(self.reference)

    # ------------------------------------------------------------------------------------------- place

    def shift(self, view: View) -> np.ndarray | None:
        """Return by how much the standardised features of ``view`` have clearly moved, (R, D); None: nothing has."""
        if not self.names:
            return None
        error = self.error(view)
        gap = view.mean(np.nan_to_num(view.coordinates)) - self._center  # (R, p)
        noise = np.sqrt((1 / self.own.present + 1 / np.maximum(view.present, 1)) / 3)
        above = self.superiority(view)
        by = np.where(np.abs(gap) / error > np.abs(above) / noise, gap / error, above / noise)
        sure = np.abs(by) > CLEAR
        swept = self.swept(view)
        clear = sure | (by * np.sign(swept) > LIKELY) | (np.abs(swept) == 2)
        if not clear.any():
            return None
        out = np.zeros((view.replicates, len(self.numeric.mean)))
        columns = self.number_columns
        for r, place in np.argwhere(clear[:, : len(columns)]):
            x = view.ranked[r, :, place]
            out[r, columns[place][0]] = self._step(place, x[~np.isnan(x)], float(gap[r, place]), sure[r, place])
        if self._images:
            pixels = np.ones(out.shape[1], dtype=bool)
            pixels[[at for at, _ in columns]] = False
            steps = np.zeros((view.replicates, len(self.numeric.axes.T)))
            whole = clear[:, len(columns) :].any(axis=1)  # images move as a whole
            for r, place in np.ndindex(*steps.shape) if whole.any() else ():
                if not whole[r]:
                    continue
                at = len(columns) + place
                step = self._step(at, view.ranked[r, :, at], float(gap[r, at]), sure[r, at])
                steps[r, place] = step * self._component_scale[place]
            out[:, pixels] = (steps @ self.numeric.axes.T)[:, pixels]
        return out if out.any() else None

    def swept(self, view: View) -> np.ndarray:
        """Return which way the edges of each coordinate have moved: up 1 each, down −1 each, (R, p).

        Of two samples of one law, m values of n + m, the k least are all of the first by chance (n/(n + m))^k.
        """
        ways = np.zeros((view.replicates, len(self.names)), dtype=int)
        for place in range(len(self.names)):
            empty, new = self._edges(place, view.ranked[:, :, place], view.present[:, place])
            ways[:, place] = empty[0].astype(int) - empty[1] + new[1] - new[0]
        return ways

    def _edges(self, place: int, x: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whether the reference has more beyond sorted ``x`` (R, n) than chance gives, and the reverse.

        Both (2, R), the low and the high edge; of x the first ``present`` (R,) values are there.
        """
        own = self.present_values[place]
        n, m = len(own), np.maximum(present, 1)
        least, most = x[:, 0], np.take_along_axis(x, m[:, None] - 1, axis=1)[:, 0]
        empty = np.array([np.searchsorted(own, least), n - np.searchsorted(own, most, "right")])
        new = np.array([(x < own[0]).sum(axis=1), (x > own[-1]).sum(axis=1)])  # NaN: neither
        there = present > 0
        return (empty * np.log(n / (n + m)) < np.log(EDGE)) & there, (new * np.log(m / (n + m)) < np.log(EDGE)) & there

    def _edge(self, place: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the same of sorted values (n,), none of them missing: (low, high) each."""
        empty, new = self._edges(place, x[None], np.array([len(x)]))
        return empty[:, 0], new[:, 0]

    @cached_property
    def present_values(self) -> list[np.ndarray]:
        """Return the reference's values of each coordinate, sorted, without the missing."""
        return [x[~np.isnan(x)] for x in self.own.ranked[0].T]

    def error(self, view: View) -> np.ndarray:
        """Return the standard error of the difference of means of ``view`` and the reference, (R, p)."""
        return self._deviation * np.sqrt(1 / self.own.present + 1 / np.maximum(view.present, 1))

    def superiority(self, view: View) -> np.ndarray:
        """Return 2 P(value of ``view`` above the reference's) − 1, ties half, by coordinate: (R, p)."""
        out = np.zeros((view.replicates, len(self.names)))
        for place in range(len(self.names)):
            own, x = self.present_values[place], view.ranked[:, :, place]
            if self.atoms[place]:  # equal but for rounding
                x = _snapped(x, own)
            share = (np.searchsorted(own, x, "left") + np.searchsorted(own, x, "right")) / len(own) - 1
            present = ~np.isnan(x)
            out[:, place] = np.where(present, share, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
        return out

    def present(self, view: View, shift: np.ndarray) -> np.ndarray:
        """Return ``shift`` (R, D) of features for rows of ``view``: a missing value does not move, (R, 1 or n, D)."""
        if not self.schema.gaps:
            return shift[:, None]
        out = np.repeat(shift[:, None], view.n, axis=1)
        for place, (at, _) in enumerate(self.number_columns):
            out[:, :, at] = np.where(np.isnan(view.coordinates[:, :, place]), 0.0, out[:, :, at])
        return out

    def of_filled(self, view: View) -> np.ndarray:
        """Return the components of a view whose gaps are filled; beside images gaps stay at the mean."""
        if self._images:
            return view.numeric
        features = np.zeros((view.replicates, view.n, len(self.numeric.mean)))
        features[:, :, [place for place, _ in self.number_columns]] = view.filled
        return features @ self.numeric.axes

    def relocated(self, coordinates: np.ndarray, shift: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        """Return coordinates (R, n, p) moved back by ``shift`` (R, D) of features; ``numeric`` is moved already."""
        out = coordinates.copy()
        places = [place for place, _ in self.number_columns]
        out[:, :, : len(places)] -= shift[:, None, places]
        for column in np.flatnonzero(self.atoms[: len(places)] & shift[:, places].any(axis=0)):
            out[:, :, column] = _snapped(out[:, :, column], self.own.ranked[0, :, column])
        if self._images:
            out[:, :, len(places):] = numeric / self._component_scale
        return out

    @cached_property
    def _center(self) -> np.ndarray:
        return self.own.mean(np.nan_to_num(self.own.coordinates))[0]

    @cached_property
    def _deviation(self) -> np.ndarray:
        return np.nanstd(self.own.coordinates[0], axis=0)

    @cached_property
    def atoms(self) -> np.ndarray:
        """Return which coordinates have a value that 5 % of the reference share, or few values, (p,)."""
        found = []
        for x in self.own.ranked[0].T:
            count = np.unique(x[~np.isnan(x)], return_counts=True)[1]
            found.append(len(count) <= BINS or count.max() > LEVEL * count.sum())
        return np.array(found, dtype=bool)

    def _step(self, place: int, x: np.ndarray, gap: float, sure: bool) -> float:
        """Return by how much sorted values ``x`` of a coordinate have moved, ``gap`` by their mean; 0.0: in place.

        Candidates are the mean, the median over quantiles, both edges, and what most quantiles moved by, whole numbers
        in whole steps; the best brings the values nearest to the reference. A move that brings them no nearer than
        chance would, and one that empties an edge, is doubtful: it must be neither where it is not ``sure`` that they
        have moved, and not both where it is. Where the reference without an edge is nearer still, that has fallen off.
        """
        own, columns = self.present_values[place], self.number_columns
        gaps = np.quantile(x, MIDS, method="inverted_cdf") - np.quantile(own, MIDS, method="inverted_cdf")
        found = [gap, float(np.median(gaps)), float(x[0] - own[0]), float(x[-1] - own[-1])]
        if place < len(columns):
            at, name = columns[place]
            if self.schema[name].type in WHOLE:
                found = [float(np.rint(step * self.numeric.scale[at]) / self.numeric.scale[at]) for step in found]
            if self.atoms[place]:
                steps, count = np.unique(np.round(gaps, 9), return_counts=True)
                found = [float(steps[np.argmax(count)])]
        apart = [self._apart(place, x - step) for step in (0.0, *found)]
        best = int(np.argmin(apart))
        step = (0.0, *found)[best]
        if self._cut_off(place, x) <= apart[best]:
            return 0.0
        doubts = (apart[0] - apart[best] < CHANCE / np.sqrt(len(x)),
                  bool((self._edge(place, x - step)[0] & ~self._edge(place, x)[0]).any()))
        return 0.0 if (all if sure else any)(doubts) else step

    def _cut_off(self, place: int, x: np.ndarray) -> float:
        """Return how far sorted values are from the reference's within their range; infinity where no edge alone lacks.

        Total variation on the frozen bins. What lacks both edges, or half of the reference, is narrow; what has values
        beyond the other edge has moved.
        """
        own, ((low, high), new) = self.present_values[place], self._edge(place, x)
        within = own[(own >= x[0]) & (own <= x[-1])]
        if low == high or new.any() or len(within) < len(own) / 2:
            return np.inf
        shares = [np.bincount(np.searchsorted(self.edges[place], values, side="right"), minlength=BINS) / len(values)
                  for values in (x, within)]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)

    def _apart(self, place: int, x: np.ndarray) -> float:
        """Return how far values of a coordinate, sorted, are from the reference's.

        Their total variation on the frozen bins, and the shares of either that lie beyond all of the other.
        """
        own = self.present_values[place]
        if self.atoms[place]:
            x = _snapped(x, own)
        share = np.bincount(np.searchsorted(self.edges[place], x, side="right"), minlength=BINS) / len(x)
        beyond = sum(one.searchsorted(other[0]) + len(one) - one.searchsorted(other[-1], "right")
                     for one, other in ((x, own), (own, x)))
        return float(np.abs(share - self.bins[place] / self.bins[place].sum()).sum() / 2 + beyond / len(own))

    @cached_property
    def edges(self) -> list[np.ndarray]:
        """Return the inner edges of the quantile bins of each coordinate; ties give fewer than 20 bins."""
        levels = np.arange(1, BINS) / BINS
        return [np.unique(np.quantile(x[~np.isnan(x)], levels, method="inverted_cdf"))
                for x in self.own.coordinates[0].T]

    def histogram(self, view: View) -> np.ndarray:
        """Return the rows in each bin of each coordinate, (R, p, 20); the bins of a tied column end early."""
        out = np.zeros((view.replicates, len(self.edges), BINS), dtype=int)
        for place, edges in enumerate(self.edges):
            x = view.coordinates[:, :, place]
            bins = np.searchsorted(edges, x, side="right")
            if self.schema.gaps:
                bins[np.isnan(x)] = BINS  # in none of them
            out[:, place] = counts(bins, BINS + 1)[:, :BINS]
        return out

    @cached_property
    def bins(self) -> np.ndarray:
        """Return the reference's own histogram, (p, 20)."""
        return self.histogram(self.own)[0]

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """Return the reference share of each category among present ones, by column, the label included."""
        columns = [column for column in self.schema.columns if column.kind == "category"]
        return {c.name: self.own.shares(c)[0] for c in columns}

    @cached_property
    def directions(self) -> np.ndarray:
        """Return the unit vectors of the sliced metrics, (k, L); one is enough on a line."""
        width = self.space.axes.shape[1]
        if width == 1:
            return np.ones((1, 1))
        vectors = Rng("frame", "projections").normal((PROJECTIONS, width)).T
        return vectors / np.linalg.norm(vectors, axis=0)

    # ------------------------------------------------------------------------------------------- tails

    @cached_property
    def balls(self) -> Balls:
        """Return the reference rows (at most 1,000 off the line) with their nearest-neighbour balls."""
        return Balls(self.own.space[0, self.own.pairs], STRATUM)

    @cached_property
    def thresholds(self) -> np.ndarray:
        """Return the lower and upper tail threshold of each coordinate, (2, p)."""
        quantile = np.nanquantile if self.schema.gaps else np.quantile
        return quantile(self.own.coordinates[0], [LEVEL, 1 - LEVEL], axis=0, method="inverted_cdf")

    @cached_property
    def rare(self) -> dict[str, np.ndarray]:
        """Return by column which categories are rare: the rarest that together hold at most 5 % of the reference.

        Categories that the reference lacks are the rarest of all. A column without rare categories is left out, and so
        is one with so many that the reference has not seen more than that of other real rows: who is rare there is a
        matter of which rows were looked at, and those very rows would look as if they had lost it.
        """
        sets = {}
        for name, share in self.shares.items():
            codes = self.real[name]
            if self.schema[name].missing:
                codes = codes[codes < len(share) - 1]  # to lack a value is no rare one
            if codes.size and (share[codes] == 0).mean() > LEVEL:
                continue
            order = np.argsort(share, kind="stable")
            members = np.zeros(len(share), dtype=bool)
            members[order] = np.cumsum(share[order]) <= LEVEL
            members[len(share) - 1] &= not self.schema[name].missing
            if share[members].sum() >= LEAST:
                sets[name] = members
        return sets

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Return every tail region that holds some of reality; the study's own come last."""
        masses = {key: float(mass[0]) for key, mass in self._standard_masses(self._other, self._depths[0]).items()}
        standard = [Region(name, family, 1.0, mass) for (family, name), mass in masses.items() if mass >= LEAST]
        both = Rows.concat([self.reference, self.real])
        return (*standard, *(Region(c.text, "named", weight, float(c.mask(both).mean())) for c, weight in self.tails))

    def masses(self, rows: Rows, placed: bool = False) -> np.ndarray:
        """Return the share of ``rows`` in each of :attr:`regions`, (regions, R); ``placed``: of the rows moved back.

        The study's own regions are conditions on values as they are.
        """
        view = self.view(rows).placed if placed else self.view(rows)
        standard = self._standard_masses(view, view.near.depth if self.space.axes.shape[1] else np.empty((1, 0)))
        found = [standard[r.family, r.name] for r in self.regions if r.family != "named"]
        return np.array([*found, *(c.mask(rows).mean(axis=1) for c, _ in self.tails)]).reshape(-1, rows.replicates)

    def _standard_masses(self, view: View, depth: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        """Return the share (R,) of rows in every side, stratum and rare set, by family and name."""
        out = {}
        # strict: the atom of a zero-inflated column is no tail
        below = view.mean(view.coordinates < self.thresholds[0])  # (R, n, p) -> (R, p)
        above = view.mean(view.coordinates > self.thresholds[1])
        for place, name in enumerate(self.names):
            out["side", f"{name}:low"], out["side", f"{name}:high"] = below[:, place], above[:, place]
        if self.space.axes.shape[1]:
            far = depth > self.balls.edge + SAME
            out["stratum", "stratum"] = far.mean(axis=1) if view.gaps is None else \
                np.array([self._as_often_missing(gaps, one) for gaps, one in
                          zip(view.gaps if far.shape[1] == view.n else view.gaps[:, view.pairs], far, strict=True)])
        for name, members in self.rare.items():
            out["rare", f"rare:{name}"] = view.shares(self.schema[name])[:, members].sum(axis=1)
        return out

    def _as_often_missing(self, gaps: np.ndarray, far: np.ndarray) -> float:
        """Return the mean of ``far`` (n,) over rows that lack the same values as often as the reference's do.

        A row with a gap is seldom, and so lies far out: more gaps are no longer tails.
        """
        own = self.own.gaps
        assert own is not None
        patterns, index, count = np.unique(gaps, return_inverse=True, return_counts=True)
        weight = np.array([(own[0] == pattern).mean() for pattern in patterns])
        if not weight.sum():
            return float(far.mean())
        return float(np.average(far, weights=(weight / count)[index]))

    @cached_property
    def ranges(self) -> np.ndarray:
        """Return least and greatest of each coordinate over all real rows at hand, (2, p)."""
        both = [self.own.coordinates[0], self.view(self.real if self.every is None else self.every).coordinates[0]]
        return np.stack([np.nanmin([np.nanmin(x, axis=0) for x in both], axis=0),
                         np.nanmax([np.nanmax(x, axis=0) for x in both], axis=0)])

    # ------------------------------------------------------------------------------------------ groups

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """Return the groupings of the study with what is frozen of their groups."""
        return tuple(Partition.freeze(names, self.reference, self.real) for names in self.groups)

    @cached_property
    def members(self) -> list[np.ndarray]:
        """Return the reference rows that stand for each measured group, in the feature space: (m, k) each."""
        return [self.own.space[0, p.members[g]] for p in self.partitions for g in p.measured]

    # ------------------------------------------------------------------------- what real rows would show

    @cached_property
    def _other(self) -> View:
        return self.view(self.real)

    @cached_property
    def _depths(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the depth of the other real rows (1, M), and how many of them cover each rare reference row."""
        if not self.space.axes.shape[1]:
            return np.empty((1, 0)), np.empty(0)
        depth, hits = self.balls.depths(self._other.space[0])
        return depth[None], hits

    def expected_coverage(self, n: int) -> float:
        """Return the share of rare reference rows that ``n`` fresh real rows would cover."""
        return float(presence(self._depths[1], self.real.n, n).mean())

    def expected_alive(self, name: str, n: int) -> float:
        """Return how many of the rare categories of the reference ``n`` fresh real rows would show."""
        members = self.rare[name] & (self.shares[name] > 0)
        found = np.bincount(self.real[name][0], minlength=len(members))[members]
        return float(presence(found, self.real.n, n).sum())


def _strayed(before: np.ndarray, after: np.ndarray) -> bool:
    """Return whether rows have gone away from the reference, by the distance of each to its nearest row of it, (n,)."""
    further = after - before
    mean = float(further.mean())
    return mean > (STRAYED - 1) * before.mean() and mean > SURELY * float(further.std()) / np.sqrt(len(further))


def _snapped(x: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Return ``x`` with what is a value of ``ranked`` but for rounding made equal to it."""
    ranked = ranked[~np.isnan(ranked)]
    place = np.clip(np.searchsorted(ranked, x - SAME), 0, len(ranked) - 1)
    return np.where(np.abs(ranked[place] - x) <= SAME, ranked[place], x)


def across(parts: Iterable[np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
    """Return the (weighted) mean over parts, each (R,). Summed in an order that R does not change, to the last bit."""
    table = np.ascontiguousarray(np.stack(list(parts), axis=1))  # (R, parts)
    return table.mean(axis=1) if weights is None else (table * weights).sum(axis=1) / weights.sum()


def presence(found: np.ndarray, population: int, n: int) -> np.ndarray:
    """Return the chance that ``n`` rows drawn from ``population`` hit what ``found`` of them have.

    Without replacement while n ≤ population, which is unbiased where 1 − (1 − f)^n with an estimated f is not.
    """
    from scipy.special import gammaln

    if n > population:
        return 1 - (1 - found / population) ** n
    left = population - found
    rest = np.maximum(left - n, 0)
    log_miss = gammaln(left + 1) - gammaln(rest + 1) - gammaln(population + 1) + gammaln(population - n + 1)
    return 1 - np.where(left >= n, np.exp(log_miss), 0.0)
