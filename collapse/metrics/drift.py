"""How far the sample has moved: from the reference, and from the previous generation's sample."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame, View, across
from collapse.metrics._neighbours import means
from collapse.metrics.base import Fact, Measurement, Metric

#: Rows added to every bin or category before a Kullback–Leibler divergence (Jeffreys prior).
PRIOR = 0.5


class Drift(Metric):
    """Distances to the truth, d(t, 0), and steps, d(t, t−1). Positive for finite samples even without drift."""

    kind = "drift"
    facts: ClassVar[dict[str, Fact]] = {
        "mean_shift": Fact(
            "drift", 0.0, "above",
            "distance of the mean from the reference's, root mean square over the coordinates, in reference "
            "standard deviations, and column by column; 0.0: in place",
            "Shumailov et al. 2024, Nature 631",
            step=True, above="moved",
        ),
        "rank_shift": Fact(
            "drift", 0.0, "above",
            "|2 P(sample above reference) − 1|, ties half, root mean square over the coordinates, and column by "
            "column: a shift that heavy tails do not hide; 0.0: in place, 1.0: no value in common",
            "Mann & Whitney 1947, Ann Math Stat 18:50; Vargha & Delaney 2000, J Educ Behav Stat 25:101",
            above="moved", high=1.0,
        ),
        "shape_distance": Fact(
            "drift", 0.0, "above",
            "energy_distance of the sample moved back to where the reference lies, where it has clearly moved: what of "
            "the distance is no shift; 0.0: same shape",
            "Székely & Rizzo 2013, J Stat Plan Inference 143:1249",
            above="changed",
        ),
        "w1": Fact(
            "drift", 0.0, "above",
            "mean over coordinates of the 1-Wasserstein distance in reference standard deviations; 0.0: same "
            "marginals",
            "Villani 2009, Optimal Transport",
            step=True,
        ),
        "sliced_w2": Fact(
            "drift", 0.0, "above",
            "root mean squared 2-Wasserstein distance over 32 frozen projections of the feature space; 0.0: same",
            "Bonneel et al. 2015, J Math Imaging Vis 51:22",
            step=True,
        ),
        "energy_distance": Fact(
            "drift", 0.0, "above",
            "√(2E|X−Y| − E|X−X'| − E|Y−Y'|) in the feature space, biased (all pairs); 0.0: same",
            "Székely & Rizzo 2013, J Stat Plan Inference 143:1249",
            step=True,
        ),
        "mmd": Fact(
            "drift", 0.0, "above",
            "maximum mean discrepancy with a Gaussian kernel at the reference's median distance, biased (all "
            "pairs), not squared; 0.0: same, √2: apart",
            "Gretton et al. 2012, JMLR 13:723",
            step=True, high=2**0.5,
        ),
        "kl_bins": Fact(
            "drift", 0.0, "above",
            "mean over columns of KL(reference ‖ sample) in nats on frozen bins, half a row added to each; 0.0: "
            "same, large: bins of the reference are empty",
            "Kullback & Leibler 1951",
            step=True,
        ),
        "missing_shift": Fact(
            "drift", 0.0, "above",
            "mean over columns that may lack values of the change of their missing share; 0.0: as often missing, 1.0: "
            "always instead of never",
            "Levin & Peres 2017, ch. 4 (the total variation of one event)",
            step=True, above="moved", high=1.0,
        ),
        "category_tv": Fact(
            "drift", 0.0, "above",
            "mean over category columns of the total variation ½Σ|p − q|; 0.0: same shares, 1.0: disjoint",
            "Levin & Peres 2017, Markov Chains and Mixing Times, ch. 4",
            step=True, above="moved", high=1.0,
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.numeric or schema.categorical)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        view = frame.view(sample)
        yield from _distances(view, frame.own, frame, frame.names)
        if frame.names:
            above = np.abs(frame.superiority(view))  # (R, p)
            yield Measurement("rank_shift", "", np.sqrt(np.square(above).mean(axis=1)))
            if len(frame.names) > 1:
                yield from (Measurement("rank_shift", name, above[:, i]) for i, name in enumerate(frame.names))
        if frame.numeric.axes.shape[1]:
            yield Measurement("shape_distance", "", _shape(view.placed, frame))

    def step(self, sample: Rows, previous: Rows, frame: Frame) -> Iterator[Measurement]:
        for found in _distances(frame.view(sample), frame.view(previous), frame, ()):
            yield Measurement(f"{found.metric}_step", found.feature, found.values)


def _distances(view: View, other: View, frame: Frame, names: tuple[str, ...]) -> Iterator[Measurement]:
    """Yield every distance between two views; column by column too for the columns in ``names``."""
    parts = {column.name: tv for column, tv in _category_tv(view, other, frame)} if frame.schema.categorical else {}
    if frame.names:
        shift = view.mean(_known(view)) - other.mean(_known(other))  # (R, p)
        yield Measurement("mean_shift", "", np.sqrt(np.square(shift).mean(axis=1)))
        if len(names) > 1:
            yield from (Measurement("mean_shift", name, np.abs(shift[:, place])) for place, name in enumerate(names))
        marginal = wasserstein(view.ranked, other.ranked, 1)  # (R, p)
        yield Measurement("w1", "", marginal.mean(axis=1))
        if len(names) > 1:
            yield from (Measurement("w1", name, marginal[:, place]) for place, name in enumerate(names))
    if frame.space.axes.shape[1]:
        square = wasserstein(_slices(view, frame), _slices(other, frame), 2)  # (R, L)
        yield Measurement("sliced_w2", "", np.sqrt(square.mean(axis=1)))
        gap, kernel = _discrepancies(view, other, frame)
        yield Measurement("energy_distance", "", gap)
        yield Measurement("mmd", "", kernel)
    if frame.names or frame.schema.categorical:
        yield Measurement("kl_bins", "", _kl(view, other, frame))
    gaps = {name: np.abs(share - other.missing[name]) for name, share in view.missing.items()}
    if gaps:
        yield Measurement("missing_shift", "", across(np.broadcast_arrays(*gaps.values())))
        if len(gaps) > 1 and names:
            yield from (Measurement("missing_shift", name, gap) for name, gap in gaps.items())
    if parts:
        yield Measurement("category_tv", "", across(parts.values()))
        if len(parts) > 1 and names:
            yield from (Measurement("category_tv", name, tv) for name, tv in parts.items())


def _known(view: View) -> np.ndarray:
    return np.nan_to_num(view.coordinates) if (view.present < view.n).any() else view.coordinates


def _slices(view: View, frame: Frame) -> np.ndarray:
    return np.sort(view.space @ frame.directions, axis=1)  # (R, n, k) -> (R, n, L)


def wasserstein(a: np.ndarray, b: np.ndarray, power: int) -> np.ndarray:
    """Return ∫|F_a⁻¹ − F_b⁻¹|^power, exactly, for sorted ``a`` (R, n, p) and ``b`` (R or 1, m, p): (R, p).

    NaN, which stand last, are left out.
    """
    gaps = np.isnan(a[:, -1:]).any(axis=(0, 1)) | np.isnan(b[:, -1:]).any(axis=(0, 1))  # (p,)
    if gaps.any():
        out = np.empty((len(a), a.shape[2]))
        out[:, ~gaps] = wasserstein(a[:, :, ~gaps], b[:, :, ~gaps], power)
        for r, place in np.ndindex(len(a), a.shape[2]):
            if gaps[place]:
                x, y = (rows[~np.isnan(rows)] for rows in (a[r, :, place], b[r if len(b) > 1 else 0, :, place]))
                out[r, place] = wasserstein(x[None, :, None], y[None, :, None], power)[0, 0]
        return out
    at, bt, weight = _levels(a.shape[1], b.shape[1])
    out = np.empty((len(a), a.shape[2]))
    for r, rows in enumerate(a):
        gap = np.abs(rows[at] - b[r if len(b) > 1 else 0][bt])
        out[r] = weight @ (gap if power == 1 else gap * gap)
    return out


@lru_cache(maxsize=8)
def _levels(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which order statistics of n and m rows meet on each step of both quantile functions, and its width."""
    cuts = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)  # in units of 1/(n·m)
    return cuts[:-1] // m, cuts[:-1] // n, np.diff(cuts) / (n * m)


def _discrepancies(view: View, other: View, frame: Frame) -> np.ndarray:
    """Return energy distance and MMD, (2, R)."""
    balls = frame.balls
    if other is frame.own:
        between, within = view.near.between, balls.within[None]
    else:
        a, b = view.space[:, view.pairs], other.space[:, other.pairs]
        between = np.stack([means(x, y, balls.bandwidth) for x, y in zip(a, b, strict=True)])
        within = other.near.within
    cross = 2 * between - view.near.within - within  # (R, 2)
    cross[:, 1] *= -1  # a kernel is a similarity
    return np.sqrt(np.maximum(cross, 0)).T


#: What is frozen: the mean distance between reference rows, numbers alone.
_WITHIN: WeakKeyDictionary[Frame, float] = WeakKeyDictionary()


def _shape(view: View, frame: Frame) -> np.ndarray:
    """Return the energy distance of the numbers and images alone, gaps filled: shares of categories are no shape."""
    if frame.numeric is frame.space and not frame.schema.gaps:
        return _discrepancies(view, frame.own, frame)[0]
    width = frame.balls.bandwidth
    own, rows = frame.own.components[0, frame.own.pairs], view.components[:, view.pairs]
    if frame not in _WITHIN:
        _WITHIN[frame] = float(means(own, own, width)[0])
    found = np.array([2 * means(x, own, width)[0] - means(x, x, width)[0] for x in rows]) - _WITHIN[frame]
    return np.sqrt(np.maximum(found, 0))


def _kl(view: View, other: View, frame: Frame) -> np.ndarray:
    parts = []
    if frame.names:
        bins = np.array([len(edges) + 1 for edges in frame.edges])
        real = np.arange(frame.bins.shape[1]) < bins[:, None]  # (p, bins): those that the column has
        q, p = _smooth(frame.histogram(view), real), _smooth(frame.histogram(other), real)
        parts += list((p * np.log(np.where(real, p / np.where(real, q, 1), 1))).sum(axis=2).T)
    for column in frame.schema.categorical:
        size = len(column.categories)
        q, p = (_smooth(v.shares(column) * v.n, np.ones(size, bool)) for v in (view, other))
        parts.append((p * np.log(p / q)).sum(axis=1))
    return across(np.broadcast_arrays(*parts))


def _smooth(found: np.ndarray, real: np.ndarray) -> np.ndarray:
    found = np.where(real, found + PRIOR, 0.0)
    return found / found.sum(axis=-1, keepdims=True)


def _category_tv(view: View, other: View, frame: Frame) -> Iterator[tuple]:
    for column in frame.schema.categorical:
        gap = view.shares(column) - other.shares(column)
        yield column, np.abs(gap).sum(axis=1) / 2
