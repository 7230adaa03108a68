"""Nearest neighbours, balls and mean distances between samples and the frozen reference, in bounded memory.

**Balls are open** (Naeem et al. 2020) and reach to the K-th nearest *row*. Where several rows are just as far, one of
them is in with the chance that it would be among the K nearest if ties were broken at random. So an atom (many equal
rows, whose balls have radius 0) counts as what it is, a place of high density: two real samples read the same whatever
is tied, and without ties this is the open ball.

Everything that needs pairs of rows is computed in one pass per replicate and kept as small arrays. On a
line the same quantities come from sorting, at n log n instead of n².
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

#: Rows on either side of a pairwise computation; a larger side is thinned by a fixed random draw.
PAIRS = 1000
#: Bandwidths beyond which a Gaussian kernel is nothing, and what one frequency costs beside its values, in pairs.
REACH, OVERHEAD = 7.0, 4000
#: The k of every k-nearest-neighbour ball.
K = 5
#: Reference standard deviations within which two values, or distances, are one.
SAME = 1e-7
#: A row covers a rare reference row only where it lies itself at least this sparse: its own distance to the K-th
#: neighbour over that of the rare row.
SPARSE = 0.85
#: Coordinates up to which a tree finds neighbours faster than all distances do.
TREE = 4
#: Rows whose kernel is computed at once: they stay in the processor's cache.
BLOCK = 64
Relate = Callable[[np.ndarray], dict[str, np.ndarray]]


class Near:
    """What ``m`` sample rows and ``N`` reference rows are to each other, replicate by replicate.

    Metrics ask for different parts of it, and each part is made when it is first asked for. In many dimensions one
    matrix of distances serves all of them, so there they are made together if ``all`` will be asked for.
    """

    def __init__(self, balls: Balls, sample: np.ndarray, all: bool):
        self._balls, self._sample, self._all = balls, sample, all
        self._parts: dict[str, np.ndarray] = {}

    @property
    def depth(self) -> np.ndarray:
        """Return the distance of a sample row to its K-th nearest reference row: high where density is low, (R, m)."""
        return self._part("depth", self._balls.sparse)

    @property
    def rare(self) -> np.ndarray:
        """Return whether the ball of each rare reference row contains a sample row as sparse as it, (R, rare)."""
        return self._part("rare", self._balls.sparse)

    @property
    def reach(self) -> np.ndarray:
        """Return the distance of a sample row to its K-th nearest other sample row, (R, m)."""
        return self._part("reach", self._balls.cover)

    @property
    def tied(self) -> np.ndarray:
        """Return the chance that a row just as far as ``reach`` is in the sample row's ball, (R, m)."""
        return self._part("tied", self._balls.cover)

    @property
    def hits(self) -> np.ndarray:
        """Return the number of reference balls that contain each sample row, (R, m); of ties the expected number."""
        return self._part("hits", self._balls.cover)

    @property
    def inside(self) -> np.ndarray:
        """Return whether each sample row lies in a reference ball, (R, m): 0 or 1, or the chance where ties decide."""
        return self._part("inside", self._balls.cover)

    @property
    def covered(self) -> np.ndarray:
        """Return whether the ball of each reference row contains a sample row, (R, N): 0 or 1, of ties the chance."""
        return self._part("covered", self._balls.cover)

    @property
    def recalled(self) -> np.ndarray:
        """Return whether each reference row lies in the ball of a sample row, (R, N): 0 or 1, of ties the chance."""
        return self._part("recalled", self._balls.cover)

    @property
    def to_reference(self) -> np.ndarray:
        """Return the index of the reference row nearest to each sample row, (R, m)."""
        return self._part("to_reference", self._balls.cover)

    @property
    def to_sample(self) -> np.ndarray:
        """Return the index of the sample row nearest to each reference row, (R, N)."""
        return self._part("to_sample", self._balls.cover)

    @property
    def between(self) -> np.ndarray:
        """Return mean distance and mean kernel between sample and reference, (R, 2)."""
        return self._part("between", self._balls.gaps)

    @property
    def within(self) -> np.ndarray:
        """Return the same between the rows of the sample, each with itself included, (R, 2)."""
        return self._part("within", self._balls.own)

    def _part(self, name: str, relate: Relate) -> np.ndarray:
        if name not in self._parts:
            together = self._all and self._balls.wide and relate != self._balls.own
            made = [self._balls.all(rows) if together else relate(rows) for rows in self._sample]
            self._parts |= {key: np.stack([one[key] for one in made]) for key in made[0]}
        return self._parts[name]


@dataclass(frozen=True, eq=False)
class Balls:
    """The reference rows (N, k), each with the ball that reaches to its K-th nearest neighbour in the reference.

    ``rare`` are the rows whose ball is wider than ``edge``: the ``level`` of lowest density.
    """

    points: np.ndarray
    level: float

    @cached_property
    def radii(self) -> np.ndarray:
        """Return the distance of each reference row to its K-th nearest other row, (N,)."""
        return self._own[0]

    @cached_property
    def _own(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the radii (N,), and of the rows at that distance how many are in and how many there are, (N,)."""
        return own_balls(self.points)

    @cached_property
    def share(self) -> np.ndarray:
        """Return the chance that a row just as far as the radius is in the ball, (N,)."""
        return chance(*self._own[1:])

    @cached_property
    def edge(self) -> float:
        """Return the distance to the K-th nearest reference row beyond which density is low."""
        return float(np.quantile(self.radii, 1 - self.level, method="inverted_cdf"))

    @cached_property
    def rare(self) -> np.ndarray:
        """Return the indices of the reference rows of lowest density."""
        return np.flatnonzero(self.radii > self.edge + SAME)

    @cached_property
    def bandwidth(self) -> float:
        """Return the median distance between two reference rows, the h of the kernel exp(−d²/2h²)."""
        points = self.points[thin(len(self.points), 2)]
        distance = _distances(points, points)[np.triu_indices(len(points), 1)]
        return float(np.median(distance)) or 1.0

    @cached_property
    def within(self) -> np.ndarray:
        """Return the mean distance and mean kernel between reference rows, (2,)."""
        return means(self.points, self.points, self.bandwidth)

    @property
    def wide(self) -> bool:
        """Return whether rows have too many coordinates for a tree, so that all pairs are compared."""
        return self.points.shape[1] > TREE

    def near(self, sample: np.ndarray, all: bool = True) -> Near:
        """Relate the rows of ``sample`` (R, m, k) to the reference; ``all`` where every part will be asked for."""
        return Near(self, sample, all)

    def all(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return every part of :class:`Near` for the ``rows`` (m, k) of one replicate, from one matrix of distances."""
        distance, own = _distances(rows, self.points), _distances(rows, rows)
        return {**self.sparse(rows, distance), **self.cover(rows, distance, own), **self.gaps(rows, distance, own)}

    def sparse(self, rows: np.ndarray, distance: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return depth and rare of :class:`Near`."""
        if self._on_a_line:
            order = np.argsort(rows[:, 0], kind="stable")
            ranked = rows[order, 0]
            ascending = _kth_on_a_line(ranked, self._line["points"], K)
            depth = np.empty(len(rows))
            depth[order] = ascending
            return {"depth": depth, "rare": self._rare_on_a_line(ranked, ascending)}
        depth = _depth(rows, self.points, distance, K)
        gap = _distances(rows, self.points[self.rare]) if distance is None else distance[:, self.rare]
        inside = gap < self.radii[self.rare] - SAME
        return {"depth": depth, "rare": (inside & self._as_sparse(depth)).any(axis=0)}

    def cover(self, rows: np.ndarray, distance: np.ndarray | None = None,
              own: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return reach, tied, hits, inside, covered, recalled and both nearest of :class:`Near`."""
        if self._on_a_line:
            return self._cover_on_a_line(rows[:, 0])
        distance = _distances(rows, self.points) if distance is None else distance  # (m, N)
        reach, *places = own_balls(rows, own)
        tied = chance(*places)
        hits, inside, nearer, level = held(distance, self.radii, self.share)
        return {
            "reach": reach, "tied": tied, "hits": hits, "inside": inside,
            "covered": np.where(nearer > 0, 1.0, _first(*self._own[1:], level)),
            "recalled": held(distance.T, reach, tied)[1],
            "to_reference": distance.argmin(axis=1), "to_sample": distance.argmin(axis=0),
        }

    def gaps(self, rows: np.ndarray, distance: np.ndarray | None = None,
             own: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return between and within of :class:`Near`."""
        between = means(rows, self.points, self.bandwidth) if distance is None else _mean(distance, self.bandwidth)
        return {"between": between, **self.own(rows, own)}

    def own(self, rows: np.ndarray, distance: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return within of :class:`Near`."""
        return {"within": means(rows, rows, self.bandwidth) if distance is None else _mean(distance, self.bandwidth)}

    @property
    def _on_a_line(self) -> bool:
        return self.points.shape[1] == 1

    def _cover_on_a_line(self, x: np.ndarray) -> dict[str, np.ndarray]:
        line = self._line
        by, points, radii = line["order"], line["points"], self.radii[line["order"]]  # sorted are found faster
        order = np.argsort(x, kind="stable")
        ranked = x[order]
        reach, *places = own_balls(x[:, None])
        tied = chance(*places)
        hits, inside = line["balls"].held(x)
        start, stop = _between(ranked, points, radii)
        bare = np.flatnonzero(stop <= start)
        covered, recalled, to_sample = np.empty(len(by)), np.empty(len(by)), np.empty(len(by), dtype=int)
        covered[by] = 1.0
        _, first, ties = self._own
        covered[by[bare]] = _first(first[by[bare]], ties[by[bare]], _at(ranked, points[bare], radii[bare]))
        recalled[by], to_sample[by] = _Line(x, reach, tied).held(points)[1], order[_closest(points, ranked)]
        return {
            "reach": reach, "tied": tied, "hits": hits, "inside": inside, "covered": covered, "recalled": recalled,
            "to_reference": by[_closest(x, points)], "to_sample": to_sample,
        }

    def _as_sparse(self, depth: np.ndarray) -> np.ndarray:
        """Return whether rows of ``depth`` (m,) are sparse enough to cover each rare row, (m, rare)."""
        return depth[:, None] >= SPARSE * self.radii[self.rare]

    def _rare_on_a_line(self, ranked: np.ndarray, depth: np.ndarray) -> np.ndarray:
        start, stop = _between(ranked, self.points[self.rare, 0], self.radii[self.rare])
        if not len(start):
            return np.empty(0, dtype=bool)
        spans = np.stack([start, stop], axis=1).ravel()
        sparsest = np.maximum.reduceat(np.append(depth, -np.inf), spans)[::2]  # in each ball
        return (stop > start) & (sparsest >= SPARSE * self.radii[self.rare])

    def depths(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the depth of ``rows`` (m, k), (m,), and how many of them cover each rare row, (rare,)."""
        depth, count = np.empty(len(rows)), np.zeros(len(self.rare), dtype=int)
        for begin in range(0, len(rows), PAIRS):
            block = slice(begin, begin + PAIRS)
            if rows.shape[1] == 1:
                depth[block] = _kth_on_a_line(rows[block, 0], self._line["points"], K)
            else:
                depth[block] = _depth(rows[block], self.points, None, K)
            inside = _distances(rows[block], self.points[self.rare]) < self.radii[self.rare] - SAME
            count += (inside & self._as_sparse(depth[block])).sum(axis=0)
        return depth, count

    @cached_property
    def _line(self) -> dict[str, Any]:
        x = self.points[:, 0]
        order = np.argsort(x, kind="stable")
        return {"points": x[order], "order": order, "balls": _Line(x, self.radii, self.share)}


def thin(n: int, width: int) -> np.ndarray | slice:
    """Return the rows of ``n`` that enter pairwise work: all on a line, else at most PAIRS, drawn once for ever."""
    from collapse.rng import Rng

    if n <= PAIRS or width == 1:
        return slice(None)
    return np.sort(Rng("frame", "pairs", n).generator().permutation(n)[:PAIRS])


def radii(points: np.ndarray) -> np.ndarray:
    """Return the distance of each of ``points`` (N, k) to its K-th nearest other point, (N,)."""
    if points.shape[1] > 1:
        return _kth(_distances(points, points), K + 1)
    order = np.argsort(points[:, 0], kind="stable")
    out = np.empty(len(points))
    out[order] = _kth_on_a_line(points[order, 0], points[order, 0], K + 1)
    return out


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distance of each row of ``a`` (n, k) to the nearest of ``b`` (m, k): (n,)."""
    return _depth(a, b, None, 1)


def own_balls(points: np.ndarray, distance: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distance of each of ``points`` (N, k) to its K-th nearest other, and what is tied there, each (N,).

    Of the others just as far there are ``ties``, of which the first ``places`` complete the K: 1 and 1 without ties.
    """
    n = len(points)
    if points.shape[1] == 1:
        x = np.sort(points[:, 0])
        reach = radii(points)
        start, stop = _between(x, points[:, 0], reach)
        first, last = np.searchsorted(x, points[:, 0] - reach - SAME, "left"), \
            np.searchsorted(x, points[:, 0] + reach + SAME, "right")
        nearer, within = np.maximum(stop - start, 0), last - first
    elif distance is None and points.shape[1] <= TREE:
        from scipy.spatial import cKDTree

        found = cKDTree(points).query(points, k=[min(K, n), min(K + 1, n), min(K + 2, n)])[0]
        reach = found[:, 1]
        nearer, within = np.full(n, min(K, n - 1)), np.full(n, min(K + 1, n))
        level = np.flatnonzero((np.abs(found[:, [0, 2]] - reach[:, None]) <= SAME).any(axis=1) | (reach <= SAME))
        if len(level):
            far = _distances(points[level], points)
            nearer[level] = (far < reach[level, None] - SAME).sum(axis=1)
            within[level] = (far <= reach[level, None] + SAME).sum(axis=1)
    else:
        distance = _distances(points, points) if distance is None else distance
        reach = _kth(distance, K + 1)
        nearer = (distance < reach[:, None] - SAME).sum(axis=1)
        within = (distance <= reach[:, None] + SAME).sum(axis=1)
    own = reach > SAME  # a point is nearer to itself than that, or tied with itself
    return reach, min(K, n - 1) - (nearer - own), within - nearer - ~own


def chance(places: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Return the chance that one row more, just as far as ``ties`` others, comes among the first ``places``."""
    return places / (ties + 1)


def _first(places: np.ndarray, ties: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the chance that one of ``rows`` comes among the first ``places`` of ``ties``, all just as far."""
    miss = np.ones(len(places))
    for j in range(K):  # none of the rows before the first, the second, … of the ties
        left = np.maximum(ties - j, 0)
        miss *= np.where(j < places, left / np.maximum(left + rows, 1), 1.0)
    return np.where(rows > 0, 1 - miss, 0.0)


def held(distance: np.ndarray, reach: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, ...]:
    """Relate rows to balls ``distance`` (m, N) away that have ``reach`` (N,).

    Returns the expected number of balls around each row and the chance of any, (m,), and the rows within each ball and
    just on its edge, (N,). A row on the edge is in with chance ``share`` (N,).
    """
    inside, within = distance < reach - SAME, distance <= reach + SAME
    hits, rows = inside.sum(axis=1), inside.sum(axis=0)
    edge = within ^ inside
    if not edge.any():
        return hits, (hits > 0).astype(float), rows, np.zeros(len(reach), dtype=int)
    miss = np.exp(edge @ np.log1p(-share))
    return hits + edge @ share, np.where(hits > 0, 1.0, 1 - miss), rows, edge.sum(axis=0)


class _Line:
    """Balls on a line, sorted so that rows find theirs."""

    def __init__(self, centre: np.ndarray, reach: np.ndarray, share: np.ndarray) -> None:
        wide = reach > SAME
        self._starts, self._ends = np.sort((centre - reach + SAME)[wide]), np.sort((centre + reach - SAME)[wide])
        edges = np.concatenate([(centre - reach)[wide], (centre + reach)[wide], centre[~wide]])
        chances = np.concatenate([share[wide], share[wide], share[~wide]])
        order = np.argsort(edges, kind="stable")
        self._edges = edges[order]
        self._sums = np.concatenate([[0.0], np.cumsum(chances[order])])
        self._misses = np.concatenate([[0.0], np.cumsum(np.log1p(-chances[order]))])

    def held(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected number of balls around each of ``x`` (m,), and the chance of any."""
        hits = np.searchsorted(self._starts, x, "left") - np.searchsorted(self._ends, x, "right")
        first, last = np.searchsorted(self._edges, x - SAME, "left"), np.searchsorted(self._edges, x + SAME, "right")
        level = last > first  # a difference of sums is not quite 0 where nothing lies between
        miss = np.exp(self._misses[last] - self._misses[first])
        return hits + np.where(level, self._sums[last] - self._sums[first], 0.0), \
            np.where(hits > 0, 1.0, np.where(level, 1 - miss, 0.0))


def _between(ranked: np.ndarray, centre: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the values of ``ranked`` nearer than ``reach`` to ``centre`` begin and end; none if end ≤ begin."""
    inner = reach - SAME
    stop = np.searchsorted(ranked, centre + inner, "left")
    return np.where(inner > 0, np.searchsorted(ranked, centre - inner, "right"), stop), stop


def _at(ranked: np.ndarray, centre: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return how many values of ``ranked`` are just ``reach`` away from ``centre``."""
    def near(place: np.ndarray) -> np.ndarray:
        return np.searchsorted(ranked, place + SAME, "right") - np.searchsorted(ranked, place - SAME, "left")

    return np.where(reach > SAME, near(centre - reach) + near(centre + reach), near(centre))


def means(a: np.ndarray, b: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return the mean distance and the mean kernel between the rows of ``a`` and of ``b``, (2,).

    On a line the distance is exact over all pairs; the kernel uses at most PAIRS rows a side.
    """
    if a.shape[1] > 1:
        return _mean(_distances(a, b), bandwidth)
    x, y = a[thin(len(a), 2), 0], b[thin(len(b), 2), 0]
    return np.array([_mean_gap(a[:, 0], b[:, 0]), _kernel_on_a_line(x, y, bandwidth)])


def _kernel_on_a_line(x: np.ndarray, y: np.ndarray, bandwidth: float) -> float:
    """Return the mean Gaussian kernel between ``x`` (n,) and ``y`` (m,).

    The kernel is the characteristic function of a Gaussian, so its mean over all pairs is a sum over frequencies of the
    product of both samples' characteristic functions (Rahimi & Recht 2007, with a grid for their random frequencies).
    A grid makes the kernel periodic: with a period seven bandwidths beyond the range, and as far in frequency, neither
    is off by more than 1e-10. Over a wide range the pairs themselves are fewer.
    """
    z = (np.concatenate([x, y]) - y.mean()) / bandwidth
    n, m = len(x), len(y)
    step = 2 * np.pi / (z.max() - z.min() + REACH)
    count = int(REACH / step) + 1 if step > 0 else 0
    if not 0 < count * (n + m + OVERHEAD) < n * m:
        return _kernel_of_pairs(z[:n], z[n:])
    turn = np.exp(1j * step * z)
    now, parts, found = np.ones_like(turn), np.array([0, n]), 0.5
    for k in range(1, count + 1):
        np.multiply(now, turn, out=now)
        a, b = np.add.reduceat(now, parts)
        found += np.exp(-0.5 * (k * step) ** 2) * (a.real * b.real + a.imag * b.imag) / (n * m)
    return float(2 * found * step / np.sqrt(2 * np.pi))


def _kernel_of_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of exp(−(x − y)²/2) over all pairs, in single precision: the exponential is the dearest step."""
    x, y = (np.asarray(z * np.sqrt(0.5), np.float32) for z in (x, y))
    space = np.empty((BLOCK, len(y)), np.float32)
    total = 0.0
    for begin in range(0, len(x), BLOCK):
        block = x[begin : begin + BLOCK]
        square = np.subtract(block[:, None], y, out=space[: len(block)])
        np.multiply(square, square, out=square)
        np.negative(square, out=square)
        total += float(np.exp(square, out=square).sum(dtype=np.float64))
    return total / (len(x) * len(y))


def _mean_gap(a: np.ndarray, b: np.ndarray) -> float:
    b = np.sort(b)
    below = np.searchsorted(b, a)
    sums = np.concatenate([[0.0], np.cumsum(b)])
    return float(np.mean(a * (2 * below - len(b)) + sums[-1] - 2 * sums[below]) / len(b))


def _mean(distance: np.ndarray, bandwidth: float) -> np.ndarray:
    return np.array([distance.mean(), _mean_kernel(distance.astype(np.float32) ** 2, bandwidth)])


def _mean_kernel(square: np.ndarray, bandwidth: float) -> float:
    square *= np.float32(-0.5 / bandwidth**2)
    return float(np.exp(square, out=square).mean(dtype=np.float64))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist, pdist, squareform

    return squareform(pdist(a)) if a is b else cdist(a, b)


def _depth(a: np.ndarray, b: np.ndarray, distance: np.ndarray | None, k: int) -> np.ndarray:
    """Return the distance of each row of ``a`` to its k-th nearest of ``b``: by a tree in few dimensions."""
    if a.shape[1] > TREE:
        return _kth(_distances(a, b) if distance is None else distance, k)
    from scipy.spatial import cKDTree

    return cKDTree(b).query(a, k=[min(k, len(b))])[0][:, 0]


def _kth(distance: np.ndarray, k: int) -> np.ndarray:
    """Return the k-th smallest of each row (the largest of a shorter one), NaN being the largest of all."""
    k = min(k, distance.shape[1])
    if np.isnan(distance.sum()):
        return np.partition(distance, k - 1, axis=1)[:, k - 1]
    left, rows = distance.copy(), np.arange(len(distance))
    for _ in range(k - 1):  # striking out the few smaller ones takes an eighth of a partition's time
        left[rows, left.argmin(axis=1)] = np.inf
    return left.min(axis=1)


def _kth_on_a_line(x: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
    """Return the distance from each ``x`` to its k-th nearest of the sorted ``points``: the k lie side by side."""
    k = min(k, len(points))
    at = np.searchsorted(points, x)
    out = np.full(len(x), np.inf)
    for shift in range(-k, 1):
        start = np.clip(at + shift, 0, len(points) - k)
        np.minimum(out, np.maximum(np.abs(x - points[start]), np.abs(points[start + k - 1] - x)), out=out)
    return out


def _closest(x: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    at = np.clip(np.searchsorted(ranked, x), 1, max(len(ranked) - 1, 1))
    below, above = np.maximum(at - 1, 0), np.minimum(at, len(ranked) - 1)
    return np.where(np.abs(x - ranked[below]) <= np.abs(ranked[above] - x), below, above)
