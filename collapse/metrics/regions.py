"""Where reality is and the sample is not: modes without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import SAME, Frame, View, across
from collapse.metrics._neighbours import thin
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.spread import single
from collapse.rng import Rng

#: Sample rows that a neighbourhood would hold on average, and the most of the reference that it may span.
EXPECTED, WIDEST = 12, 0.25
#: Share of the expected rows below which nobody lives there any more.
ALIVE = 0.1
#: Dimensions in which a tree finds the rows of a ball, and rows of either side that are then looked at.
FLAT, MANY = 3, 5_000
#: Share of rows, in 1/√rows, that must lie beyond reality more than usual for it to count: two standard errors at most.
CLEAR = 1.0
#: Nats by which a column's entropy lies below a normal's of its variance, for the column to have structure.
NEGENTROPY = 0.1


class Regions(Metric):
    """Neighbourhoods of the reference that the sample still visits.

    Around each reference row lies the ball that holds so many other reference rows that a sample of real rows would
    have twelve in it (the chance of a fresh real row is k/N there, whatever the distribution and the dimensions). A
    neighbourhood with a tenth of that, or less, is deserted. Twelve is the fewest at which chance hardly ever deserts
    one (Poisson: 10⁻⁴), so that modes down to 12/m of reality are seen. Rows that lie where no reality is (in no ball)
    do not count among the m, and as many as have gone there, beyond what real rows do, are taken off what is deserted:
    that is a change or a gain. Lost is what went elsewhere in reality.

    Columns that are mere noise blur the modes of others. So the columns whose distribution is far from normal (0.1 nats
    of negentropy; Comon 1994, Signal Process 36:287) are also looked at by themselves, and the smaller share counts.

    Only numbers and images are looked at: whether they still go with the same categories is an association. Deserted
    shares below half a neighbourhood (one, of rows moved back) are no mode, and count as none. Of a sample that has
    clearly moved the better of both is taken, as it lies and moved back: a place is no mode. Of category columns,
    ``categories_alive`` is the share of the reference in categories with a tenth of their share or more, among those of
    which twelve rows are expected.
    """

    kind = "regions"
    facts: ClassVar[dict[str, Fact]] = {
        "regions_alive": Fact(
            "modes", 1.0, "below",
            "share of the reference rows in whose neighbourhood the sample still has a tenth of the rows that real "
            "data has; 1.0: all of reality is visited, 0.97: a mode of 3 % is gone, 0.0: nothing is",
            "after Naeem et al. 2020, ICML (coverage); Srivastava et al. 2017, NeurIPS (VEEGAN)",
            below="modes lost", high=1.0,
        ),
        "categories_alive": Fact(
            "modes", 1.0, "below",
            "share of the reference, mean over category columns, in categories that the sample still has at a tenth of "
            "their share or more, of the common ones (12 rows expected); 1.0: all, 0.4: what held 60 % is gone",
            "after Srivastava et al. 2017, NeurIPS (VEEGAN)",
            below="modes lost", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.numeric or schema.categorical)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        yield from _categories(sample, frame)
        if frame.numeric.axes.shape[1]:
            view = frame.view(sample)
            found = _alive(view, frame)
            yield Measurement("regions_alive", "", found if view.placed is view else
                              np.maximum(found, _alive(view.placed, frame, 1.0)))


def _alive(view: View, frame: Frame, slack: float = 0.5) -> np.ndarray:
    """Return the share of reference rows whose neighbourhoods are alive in all columns, and in those with structure.

    A share below ``slack`` neighbourhoods is none: half of one, or one where the place is uncertain.
    """
    found, some = alive(view.components, "all", frame, lambda own: own.components, slack), structured(frame)
    if not len(some):
        return found
    return np.minimum(found, alive(view.filled[:, :, some], "some", frame, lambda own: own.filled[:, :, some], slack))


def _categories(sample: Rows, frame: Frame) -> Iterator[Measurement]:
    found = {}
    for column in frame.schema.categorical:
        share = frame.shares[column.name]
        common = share * sample.n >= EXPECTED
        if common.sum() > 1:
            own = frame.view(sample).shares(column)[:, common]  # (R, C)
            found[column.name] = np.where(own >= ALIVE * share[common], share[common], 0.0).sum(axis=1) / \
                share[common].sum()
    if found:
        yield Measurement("categories_alive", "", across(found.values()))
    if len(found) > 1:
        yield from (Measurement("categories_alive", name, values) for name, values in found.items())


#: What is frozen: radii, and the share of other real rows that lie in any ball, by space and number of rows in a ball;
#: the columns with structure.
_RADII: WeakKeyDictionary[Frame, dict[tuple[str, int], tuple[np.ndarray, float]]] = WeakKeyDictionary()
_STRUCTURED: WeakKeyDictionary[Frame, np.ndarray] = WeakKeyDictionary()


def structured(frame: Frame) -> np.ndarray:
    """Return the coordinates that are far from normal; none where all are, and none of the components of images."""
    if frame not in _STRUCTURED:
        found = np.empty(0, dtype=int)
        if len(frame.names) > 1 and not any(c.kind == "image" for c in frame.schema.numeric):
            from scipy.special import ndtri

            n = frame.reference.n
            normal = float(single(ndtri((np.arange(n) + 0.5) / n)[None, :, None])[0, 0])
            own = frame.own.ranked / np.nanstd(frame.own.coordinates, axis=1, keepdims=True)
            far = np.flatnonzero(normal - single(own)[0] > NEGENTROPY)
            found = far if len(far) < len(frame.names) else found  # where all are, they have been looked at together
        _STRUCTURED[frame] = found
    return _STRUCTURED[frame]


def alive(points: np.ndarray, name: str, frame: Frame, of: Callable[[View], np.ndarray],
          slack: float = 0.5) -> np.ndarray:
    """Return the share of reference rows in whose neighbourhood rows ``points`` (R, n, k) still live, (R,).

    ``of`` returns the same points of a view, under the ``name`` of the space.
    """
    width = points.shape[2]
    reference = of(frame.own)[0][_some(frame.reference.n, max(width, 2))]
    rows = points[:, _some(points.shape[1], width)]  # (R, m, k)
    span = float(np.clip(EXPECTED / rows.shape[1], 0.0, WIDEST))
    k = max(1, round(span * len(reference)))
    kept = _RADII.setdefault(frame, {})
    if (name, k) not in kept:
        radii = _radii(reference, k) + SAME
        kept[name, k] = radii, _usual(of, frame, reference, radii)
    (radii, usual), points = kept[name, k], reference
    found = np.empty(len(rows))
    for r, one in enumerate(rows):
        count, inside = _inside(one, points, radii)
        expected = k / len(points) * inside
        lost = 1 - (count >= max(1.0, ALIVE * expected)).mean() if inside else 1.0
        # what has left for where nothing real is has changed its meaning: only what went elsewhere in reality is lost
        beyond = usual - inside / len(one)
        found[r] = 1 - max(0.0, lost - (beyond if beyond > CLEAR / np.sqrt(len(one)) else 0.0))
    return np.where(1 - found < slack * k / len(reference), 1.0, found)


def _usual(of: Callable[[View], np.ndarray], frame: Frame, points: np.ndarray, radii: np.ndarray) -> float:
    """Return the share of other real rows that lie in any ball."""
    rows = of(frame.view(frame.real.take(np.arange(frame.real.n)[None])))[0]
    rows = rows[_some(len(rows), rows.shape[1])]
    return _inside(rows, points, radii)[1] / len(rows)


def _some(n: int, width: int) -> np.ndarray | slice:
    """Return the rows of ``n`` that are looked at: all on a line, more in few dimensions, where a tree finds balls."""
    if width > FLAT or width == 1 or n <= MANY:
        return thin(n, width) if width > FLAT else slice(None)
    return np.sort(Rng("frame", "regions", n).generator().permutation(n)[:MANY])


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Return the distance of each of ``points`` (N, d) to its k-th nearest other."""
    from scipy.spatial import cKDTree
    from scipy.spatial.distance import cdist

    k = min(k + 1, len(points))  # a row is its own nearest
    if points.shape[1] <= FLAT:
        return cKDTree(points).query(points, k=[k])[0][:, 0]
    return np.partition(cdist(points, points), k - 1, axis=1)[:, k - 1]


def _inside(rows: np.ndarray, points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, int]:
    """Return how many of ``rows`` (m, d) each ball holds (N,), and how many rows lie in any."""
    from scipy.spatial import cKDTree
    from scipy.spatial.distance import cdist

    if points.shape[1] == 1:
        x, at = np.sort(rows[:, 0]), points[:, 0]
        count = np.searchsorted(x, at + radii, "right") - np.searchsorted(x, at - radii, "left")
        starts, ends = np.sort(at - radii), np.sort(at + radii)
        inside = np.searchsorted(starts, x, "right") > np.searchsorted(ends, x, "left")
        return count, int(inside.sum())
    if points.shape[1] <= FLAT:
        # equal rows are one with a weight: a ball around an atom would list all of them, again and again
        some, weight = np.unique(rows, axis=0, return_counts=True)
        balls, first, back = np.unique(points, axis=0, return_index=True, return_inverse=True)
        held = cKDTree(some).query_ball_point(balls, radii[first])
        found = np.zeros(len(some), dtype=bool)
        for one in held:
            found[one] = True
        return np.array([weight[one].sum() for one in held])[back.ravel()], int(weight[found].sum())
    near = cdist(rows, points) <= radii
    return near.sum(axis=0), int(near.any(axis=1).sum())
