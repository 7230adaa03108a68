"""How much of the reference's spread is left: variance, entropy, diversity. Each measure rises when things spread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Column, Rows, Schema, unlisted
from collapse.frame import Frame, View, across, counts
from collapse.metrics._atoms import beyond, marks
from collapse.metrics._neighbours import radii, thin
from collapse.metrics.base import Fact, Measurement, Metric

#: Reference standard deviations that two rows are taken to be apart at least, equal ones too: values that repeat have
#: no density.
GRAIN = 1e-3
#: The same for values of a column with atoms, in reality or in the sample: how many rows share one value is hardly a
#: matter of spread.
COARSE = 0.1
#: Quantiles between which the bulk lies, the greater first.
CENTRAL = (0.9, 0.1)
#: Share of rows beyond which copies do not count, the fewest rows that have a density, and the factor between sizes.
ALMOST, FEW, STEP = 0.99, 20, 1.1
#: Draws of real rows that say what as many of them show, and the rows that all of them may hold.
DRAWS, ROWS = 16, 40_000


class Spread(Metric):
    """Ratios of spread, sample to reference. All columns together, and column by column where that has a meaning.

    ``entropy_power`` is exp(2 (h − h_real) / k) with the differential entropy h of the k components: by nearest
    neighbours (K = 5, at most 1,000 rows; Kozachenko & Leonenko 1987), on a line and column by column by m-spacings
    (m = √n; Vasicek 1976, J R Stat Soc B 38:54). What the estimates err by cancels, for h_real is theirs on as many
    real rows. It is in units of a variance: a normal sample with half of the variance has 0.5, and it falls with the
    share of modes that is left. Copies of rows count once, unless values of reality repeat: what is repeated may be as
    spread as ever. Entropy on bins of equal reference mass would fall whatever changes.
    """

    kind = "spread"
    facts: ClassVar[dict[str, Fact]] = {
        "variance_ratio": Fact(
            "spread", 1.0, "below",
            "generalised variance (det Σ / det Σ_reference)^(1/k) of the k components; 1.0: as spread as the "
            "reference, 0.0: collapsed in some direction",
            "Wilks 1932, Biometrika 24:471",
            below="spread lost", above="gained",
        ),
        "total_variance_ratio": Fact(
            "spread", 1.0, "below",
            "trace Σ / trace Σ_reference of the standardised features; 1.0: as spread as the reference, 0.0: one "
            "point",
            "Seber 1984, Multivariate Observations",
            below="spread lost", above="gained",
        ),
        "central_ratio": Fact(
            "spread", 1.0, "below",
            "squared range from the 10 % to the 90 % quantile over the reference's, mean over the coordinates: the "
            "spread of the bulk, whatever the tails do; 1.0: as wide as the reference, 0.0: eight tenths are one value",
            "Tukey 1977, Exploratory Data Analysis, ch. 2",
            below="spread lost", above="gained",
        ),
        "entropy_power": Fact(
            "spread", 1.0, "below",
            "entropy power exp(2(h − h_real)/k) of the k components over that of as many real rows; 1.0: as spread as "
            "real rows, 0.0: collapsed to points, 2.0: spread as if the variance had doubled",
            "Shannon 1948; Kozachenko & Leonenko 1987, Probl Inf Transm 23:95; Vasicek 1976",
            below="spread lost", above="gained",
        ),
        "effective_categories": Fact(
            "spread", 1.0, "below",
            "mean over category columns of the effective number of categories exp(H) over the reference's (Hill number "
            "of order 1); 1.0: as diverse as the reference, 0.0: one of very many is left, above: more even",
            "Hill 1973, Ecology 54:427; Jost 2006, Oikos 113:363",
            below="spread lost", above="gained",
        ),
        "simpson_ratio": Fact(
            "spread", 1.0, "below",
            "mean over category columns of the Simpson diversity 1 − Σp² over the reference's; 1.0: as diverse, "
            "0.0: one category",
            "Simpson 1949, Nature 163:688",
            below="spread lost", above="gained",
        ),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.numeric or schema.categorical)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        view = frame.view(sample)
        if frame.numeric.axes.shape[1]:
            # beside gaps, which stay where they are, values that have moved would look spread
            reference, placed = frame.own.components, view.placed
            log_ratio = log_det(placed.components) - log_det(reference)
            yield Measurement("variance_ratio", "", np.exp(log_ratio / reference.shape[2]))
            own, real = (placed.filled, frame.own.filled) if frame.schema.gaps else \
                (frame.numeric.standard(sample), frame.numeric.standard(frame.reference))
            total = real.var(axis=1, ddof=1).sum()
            ratio = own.var(axis=1, ddof=1).sum(axis=1) / total  # (R, n, D) -> (R,)
            yield Measurement("total_variance_ratio", "", ratio)
            yield from _central(view, frame)
            yield from _entropy_powers(placed, frame)
        effective, simpsons = {}, {}
        for column in frame.schema.categorical:
            share = frame.shares[column.name]
            if share.max() < 1:
                own = _told_apart(view.shares(column), sample, column)
                effective[column.name] = np.exp(entropy(own) - entropy(share))
                simpsons[column.name] = simpson(own) / simpson(share)
        yield from _mean_and_parts("effective_categories", effective)
        yield from _mean_and_parts("simpson_ratio", simpsons)


def _told_apart(shares: np.ndarray, sample: Rows, column: Column) -> np.ndarray:
    """Return shares (R, C) in which each value that the schema does not list is one of its own, not all of them one."""
    codes = sample.values.get(unlisted(column.name))
    if codes is None or not codes.any():
        return shares
    own = counts(codes, int(codes.max()) + 1)[:, 1:].astype(float)
    rest = shares.copy()
    own *= (rest[:, column.new] / np.maximum(own.sum(axis=1), 1))[:, None]
    rest[:, column.new] = 0.0
    return np.concatenate([rest, own], axis=1)


def _mean_and_parts(metric: str, parts: dict[str, np.ndarray]) -> Iterator[Measurement]:
    if parts:
        yield Measurement(metric, "", across(parts.values()))
    if len(parts) > 1:
        for name, values in parts.items():
            yield Measurement(metric, name, values)


def _central(view: View, frame: Frame) -> Iterator[Measurement]:
    """Yield the squared central range of the coordinates that have one."""
    quantile = np.nanquantile if frame.schema.gaps else np.quantile
    wide, own = (np.subtract(*quantile(v.coordinates, CENTRAL, axis=1)) for v in (view, frame.own))  # (R, p), (1, p)
    some = own[0] > GRAIN
    if some.any():
        yield Measurement("central_ratio", "", across(list(np.square(wide[:, some] / own[:, some]).T)))


# ------------------------------------------------------------------------------ differential entropy

#: What real rows show, by frame, number of rows and coordinates with atoms.
_REAL: WeakKeyDictionary[Frame, dict[tuple[int, bytes], tuple[float, np.ndarray]]] = WeakKeyDictionary()


def _entropy_powers(view: View, frame: Frame) -> Iterator[Measurement]:
    """Yield the entropy power of all components together, and of each coordinate where there are several."""
    size = min(view.n, frame.real.n)
    points, coordinates = view.components[:, :size], view.coordinates[:, :size]
    own, alone = np.empty(len(points)), np.empty((len(points), len(frame.names)))
    alike, which = np.unique(np.column_stack([_different(points, frame), _atoms(view, frame)]), axis=0,
                             return_inverse=True)
    for kind, (count, *atoms) in enumerate(alike):
        grain = np.where(np.array(atoms, dtype=bool), COARSE, GRAIN)
        joint, marginal = _real(frame, int(count), grain)
        at = np.flatnonzero(which == kind)
        some, parts = (points[at], coordinates[at]) if count == size else _first(points, coordinates, at, int(count))
        own[at] = _joint(some, grain) - joint
        if len(frame.names) > 1:
            ranked = view.ranked[at] if count == view.n else np.sort(parts, axis=1)
            alone[at] = single(ranked, grain) - marginal
    yield Measurement("entropy_power", "", np.exp(2 * own / view.numeric.shape[2]))
    if len(frame.names) > 1:
        yield from (Measurement("entropy_power", name, np.exp(2 * alone[:, place]))
                    for place, name in enumerate(frame.names))


def _atoms(view: View, frame: Frame) -> np.ndarray:
    """Return which coordinates have atoms, in reality or, where they are several, in the sample: (R, p)."""
    found = np.tile(frame.atoms, (view.replicates, 1))
    for place in range(len(frame.number_columns) if len(frame.names) > 1 else 0):
        if not frame.atoms[place]:
            found[:, place] = beyond(view.ranked[:, :, place], frame.own.ranked[:, :, place]) > 0
    return found


def _different(points: np.ndarray, frame: Frame) -> np.ndarray:
    """Return of how many rows of ``points`` (R, n, k) the entropy is taken, (R,): all, or about as many as differ.

    Rows that are copies of each other have no density, and what is repeated may be as spread as ever. Where values of
    reality repeat by themselves, so may rows, and all count.
    """
    n = points.shape[1]
    if frame.atoms.any() or not points.shape[2]:
        return np.full(len(points), n)
    different = 1 + (np.diff(marks(points), axis=1) > 0).sum(axis=1)
    # few sizes, for each has a baseline of its own; of hardly any rows there is no density at all
    steps = np.floor(np.log(n / different) / np.log(STEP) + 1 - 1e-9)
    fewer = np.maximum(np.floor(n / STEP**steps), FEW)
    return np.where((different > ALMOST * n) | (different < FEW), n, fewer).astype(int)


def _first(points: np.ndarray, coordinates: np.ndarray, at: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return of the replicates ``at`` the first ``count`` rows that differ, of the components and the coordinates."""
    places = []
    for r in at:
        _, first = np.unique(points[r], axis=0, return_index=True)
        places.append(np.sort(first)[:count])
    index = np.array(places)[:, :, None]
    return np.take_along_axis(points[at], index, axis=1), np.take_along_axis(coordinates[at], index, axis=1)


def _real(frame: Frame, size: int, grain: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean entropy of ``size`` real rows, of all components and of each coordinate (p,)."""
    from collapse.rng import Rng

    kept = _REAL.setdefault(frame, {})
    key = size, grain.tobytes()
    if key not in kept:
        draws = int(np.clip(ROWS // size, 1, DRAWS)) if size < frame.real.n else 1
        order = [Rng("frame", "entropy", size, k).generator().permutation(frame.real.n)[:size] for k in range(draws)]
        view = frame.view(frame.real.take(np.arange(frame.real.n)[None]))
        numeric, coordinates = (x[0, np.array(order)] for x in (view.components, view.coordinates))  # (draws, size, k)
        kept[key] = float(_joint(numeric, grain).mean()), single(np.sort(coordinates, axis=1), grain).mean(axis=0)
    return kept[key]


def _joint(points: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """Return the differential entropy of ``points`` (R, n, k) but for a constant of n and k, in nats: (R,)."""
    if points.shape[2] == 1:
        return single(np.sort(points, axis=1), grain[:1] if len(grain) else GRAIN)[:, 0]
    rows = thin(points.shape[1], points.shape[2])
    coarsest = float(grain.max(initial=GRAIN))
    return np.array([_by_neighbours(one[rows], coarsest) for one in points])


def _by_neighbours(points: np.ndarray, grain: float) -> float:
    """Return k times the mean log distance to the K-th neighbour of ``points`` (n, k)."""
    return points.shape[1] * float(np.log(np.hypot(radii(points), grain)).mean())


def single(ranked: np.ndarray, grain: np.ndarray | float = GRAIN) -> np.ndarray:
    """Return the entropy of each coordinate, sorted (R, n, p), NaN last, by m-spacings, but for a constant: (R, p)."""
    if not np.isnan(ranked[:, -1]).any():
        return _spacings(ranked, grain)
    grain = np.broadcast_to(grain, ranked.shape[2:])
    out = np.empty((len(ranked), ranked.shape[2]))
    for r, place in np.ndindex(out.shape):
        x = ranked[r, :, place]
        present = x[~np.isnan(x)]
        if grain[place] == COARSE and len(present):  # of equal values, no: their spacing is the grain
            present = np.sort(np.resize(present, len(x)))
        # spacings of fewer values are wider: log(n/m) puts them on one scale
        out[r, place] = _spacings(present[None, :, None], grain[place])[0, 0] if len(present) else -np.inf
    return out


def _spacings(ranked: np.ndarray, grain: np.ndarray | float) -> np.ndarray:
    """Return the mean log of n/2m times the 2m-spacings of sorted values (R, n, p), shortened at the ends: (R, p)."""
    n = ranked.shape[1]
    m = max(1, min(round(np.sqrt(n)), (n - 1) // 2)) if n > 1 else 0
    if m == 0:
        return np.full((len(ranked), ranked.shape[2]), 0.0) + np.log(grain)
    low, high = np.maximum(np.arange(n) - m, 0), np.minimum(np.arange(n) + m, n - 1)
    gap = ranked[:, high] - ranked[:, low]
    return np.log(np.hypot(gap, grain) * (n / (high - low))[:, None]).mean(axis=1)


def log_det(points: np.ndarray) -> np.ndarray:
    """Return log det of the covariance of ``points`` (R, n, k), −inf where it is singular: (R,)."""
    centred = points - points.mean(axis=1, keepdims=True)
    covariance = np.swapaxes(centred, 1, 2) @ centred / max(points.shape[1] - 1, 1)  # (R, k, k)
    sign, value = np.linalg.slogdet(covariance)
    return np.where(sign > 0, value, -np.inf)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Return the Shannon entropy over the last axis, in nats."""
    safe = np.where(shares > 0, shares, 1.0)
    return -(shares * np.log(safe)).sum(axis=-1)


def simpson(shares: np.ndarray) -> np.ndarray:
    """Return the Simpson diversity 1 − Σp² over the last axis."""
    return 1 - np.square(shares).sum(axis=-1)
