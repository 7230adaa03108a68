"""The frozen frame: feature space, bins, tail regions, balls and category sets, all fixed on the reference.

Nothing here is estimated on a generated sample, so every node of a study is measured with the same rule. *Where* a
region lies is frozen on the reference; the mass that P_reference puts there is counted on the other real rows, because
a region chosen on some rows flatters those rows (on digits the low-density stratum holds 10 % of the reference that
chose it, and 8.5 % of other real rows). So 1.0 is what fresh real rows show.

* **Coordinates** are what one-dimensional metrics look at: each number column in reference standard
  deviations under its own name; images through their components ``pc1``, ``pc2``, … .
* **Learned features** of labelled images: the last hidden layer of a small classifier of the other real rows
  (:mod:`collapse.metrics.classifier`), for the metrics of :mod:`collapse.metrics.images` alone.
* **Feature space**: every column carries one unit of variance (a number is divided by its standard
  deviation; an image by one factor for all pixels; a category's one-hot codes by √(1 − Σp²)), then principal
  components, not whitened, so that distances stay those of the data. Up to 16 dimensions all are kept,
  beyond that those that hold 95 % of the variance, at most 16. Labels are no features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from collapse.condition import Condition
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.metrics import classifier as images
from collapse.metrics.neighbours import Balls, Near, thin
from collapse.rng import Rng

#: Share of the reference beyond each one-dimensional tail threshold, and in the rare categories of a column.
LEVEL = 0.05
#: Share of the reference in the low-density stratum.
STRATUM = 0.10
#: A region with less of the reference than this is no region.
LEAST = 0.005
BINS = 20
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
        """Return the space of the categories ``columns`` and all numeric features."""
        mean, scale = _standard(reference)
        rows = reference.take(thinned(reference.n, FIT_ROWS)[None, :])
        tables = {column.name: _table(column, rows[column.name][0]) for column in columns}
        blocks = [(rows.matrix()[0] - mean) / scale, *(table[rows[name][0]] for name, table in tables.items())]
        centred = np.concatenate(blocks, axis=1)  # (N, D + S)
        return Space(mean, scale, tables, _axes(centred - centred.mean(axis=0)))

    def standard(self, rows: Rows) -> np.ndarray:
        """Return the numeric features with one unit of variance a column, (R, n, D)."""
        return (rows.matrix() - self.mean) / self.scale

    def project(self, rows: Rows) -> np.ndarray:
        """Return the components of rows, (R, n, k)."""
        out = self.standard(rows) @ self.axes[: len(self.mean)]
        start = len(self.mean)
        for name, table in self.tables.items():
            out = out + (table @ self.axes[start : start + table.shape[1]])[rows[name]]
            start += table.shape[1]
        return out


def _standard(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    matrix = rows.matrix()[0].astype(float)
    mean, variance = matrix.mean(axis=0), matrix.var(axis=0)
    scale, start = np.ones_like(variance), 0
    for column in rows.schema.numeric:
        block = slice(start, start + column.width)
        total = variance[block].sum()
        scale[block] = np.sqrt(total) if total > 1e-24 * (1 + np.square(mean[block]).sum()) else 1.0
        start += column.width
    return mean, scale


def _table(column: Column, codes: np.ndarray) -> np.ndarray:
    """Return the centred and scaled one-hot place of every category, (categories, S)."""
    counts = np.bincount(codes, minlength=len(column.categories))
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
        """Return the coordinates, each sorted, (R, n, p)."""
        return np.sort(self.coordinates, axis=1)

    def shares(self, name: str, categories: int) -> np.ndarray:
        """Return the share of every category of a column, (R, categories)."""
        return counts(self.codes[name], categories) / self.n


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
    tails: tuple[tuple[Condition, float], ...]
    rows: int
    #: The metrics that are measured, by file; None: all that apply.
    chosen: tuple[str, ...] | None = None
    #: The classifier of images that generation 0 stored; None: learned here, when first asked for.
    stored: images.Classifier | None = None
    _views: WeakKeyDictionary[Rows, View] = field(default_factory=WeakKeyDictionary, repr=False)

    @staticmethod
    def freeze(reference: Rows, real: Rows, tails: tuple[tuple[Condition, float], ...] = (), rows: int = 0,
               chosen: tuple[str, ...] | None = None, stored: images.Classifier | None = None) -> Frame:
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
                     chosen, stored)

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
        if not self.schema.categorical or not self.schema.numeric:
            return self.numeric
        return Space.fit(self.reference, self.schema.categorical)

    @cached_property
    def classifier(self) -> images.Classifier | None:
        """Return the classifier whose last hidden layer is the feature space of labelled images, if there are any."""
        if not images.applies(self.schema):
            return None
        return self.stored or images.Classifier.fit(self.real)

    @cached_property
    def _number_columns(self) -> list[tuple[int, str]]:
        """Return place and name of the number columns that vary in the reference."""
        found, start = [], 0
        varies = np.ptp(self.reference.matrix()[0], axis=0) > 0
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
        return (*(name for _, name in self._number_columns), *(f"pc{i + 1}" for i in range(components)))

    @cached_property
    def _component_scale(self) -> np.ndarray:
        return self.numeric.project(self.reference)[0].std(axis=0)

    def coordinates(self, rows: Rows, numeric: np.ndarray) -> np.ndarray:
        """Return the coordinates of rows whose projection is ``numeric``: (R, n, p), in reference SDs."""
        places = [place for place, _ in self._number_columns]
        space = self.numeric
        out = (rows.matrix()[:, :, places] - space.mean[places]) / space.scale[places]
        return np.concatenate([out, numeric / self._component_scale], axis=2) if self._images else out

    @cached_property
    def own(self) -> View:
        """Return the reference as the frame sees it."""
        return self.view(self.reference)

    @cached_property
    def edges(self) -> list[np.ndarray]:
        """Return the inner edges of the quantile bins of each coordinate; ties give fewer than 20 bins."""
        levels = np.arange(1, BINS) / BINS
        return [np.unique(np.quantile(x, levels, method="inverted_cdf")) for x in self.own.coordinates[0].T]

    def histogram(self, view: View) -> np.ndarray:
        """Return the rows in each bin of each coordinate, (R, p, 20); the bins of a tied column end early."""
        out = np.zeros((view.replicates, len(self.edges), BINS), dtype=int)
        for place, edges in enumerate(self.edges):
            out[:, place] = counts(np.searchsorted(edges, view.coordinates[:, :, place], side="right"), BINS)
        return out

    @cached_property
    def bins(self) -> np.ndarray:
        """Return the reference's own histogram, (p, 20)."""
        return self.histogram(self.own)[0]

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """Return the reference share of each category, by column, the label included."""
        columns = [column for column in self.schema.columns if column.kind == "category"]
        return {c.name: self.own.shares(c.name, len(c.categories))[0] for c in columns}

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
        return np.quantile(self.own.coordinates[0], [LEVEL, 1 - LEVEL], axis=0, method="inverted_cdf")

    @cached_property
    def rare(self) -> dict[str, np.ndarray]:
        """Return by column which categories are rare: the rarest that together hold at most 5 % of the reference.

        Categories that the reference lacks are the rarest of all. A column without rare categories is left out.
        """
        sets = {}
        for name, share in self.shares.items():
            order = np.argsort(share, kind="stable")
            members = np.zeros(len(share), dtype=bool)
            members[order] = np.cumsum(share[order]) <= LEVEL
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

    def masses(self, rows: Rows) -> np.ndarray:
        """Return the share of ``rows`` in each of :attr:`regions`, (regions, R)."""
        view = self.view(rows)
        standard = self._standard_masses(view, view.near.depth if self.space.axes.shape[1] else np.empty((1, 0)))
        found = [standard[r.family, r.name] for r in self.regions if r.family != "named"]
        return np.array([*found, *(c.mask(rows).mean(axis=1) for c, _ in self.tails)]).reshape(-1, rows.replicates)

    def _standard_masses(self, view: View, depth: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        """Return the share (R,) of rows in every side, stratum and rare set, by family and name."""
        out = {}
        # strict: the atom of a zero-inflated column is no tail
        below = (view.coordinates < self.thresholds[0]).mean(axis=1)  # (R, n, p) -> (R, p)
        above = (view.coordinates > self.thresholds[1]).mean(axis=1)
        for place, name in enumerate(self.names):
            out["side", f"{name}:low"], out["side", f"{name}:high"] = below[:, place], above[:, place]
        if self.space.axes.shape[1]:
            out["stratum", "stratum"] = (depth > self.balls.edge).mean(axis=1)
        for name, members in self.rare.items():
            out["rare", f"rare:{name}"] = view.shares(name, len(members))[:, members].sum(axis=1)
        return out

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
