"""Normal mixtures by expectation-maximisation (Dempster, Laird & Rubin 1977), batched over replicates.

Arrays: x (R, n, q) rows, of which ``there`` (R, n) are real and the rest padding; k components. Replicates do not touch
each other: each stops by itself, and has the same numbers whatever runs beside it. Conventions are scikit-learn's
``GaussianMixture``, to which the tests hold it: ``reg`` is added to every variance, a component has 10 ε rows more
than its responsibilities, and a fit has converged when the mean log-likelihood gains less than ``tol``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from collapse.errors import Degenerate
from collapse.rng import Rng

Form = Literal["full", "tied", "diag", "spherical"]
#: Steps of k-means after its seeding.
LLOYD = 10


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights (R, k), means (R, k, q) and covariances (R, k, q, q), or (R, k, q) of independent axes."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def take(self, index: np.ndarray) -> Mixture:
        """Return some of the replicates."""
        return Mixture(self.weights[index], self.means[index], self.covariances[index])


def fit(x: np.ndarray, there: np.ndarray, k: int, form: Form, *, reg: float, max_iter: int, tol: float, rng: Rng,
        start: Mixture | None = None, replicates: np.ndarray | None = None) -> Mixture:
    """Return the mixtures that fit, after ``max_iter`` steps at the most.

    ``start`` is where to begin; by default from k-means. ``replicates`` (R,) are their places in
    the run, which address their randomness. A replicate with fewer rows than ``k`` has as many components,
    and the others weigh 0.

    Raises
    ------
    NodeError
        If a component has no spread and ``reg`` does not give it one.
    """
    if start is None:
        places = np.arange(len(x)) if replicates is None else replicates
        start = maximise(x, _kmeans(x, there, k, rng, places), there, form, reg)
    now = start
    last = np.full(len(x), -np.inf)
    busy = np.arange(len(x))
    found = Mixture(*(array.copy() for array in (now.weights, now.means, now.covariances)))
    for _ in range(max_iter):
        score, share = expect(x[busy], now, there[busy])
        now = maximise(x[busy], share, there[busy], form, reg)
        found.weights[busy], found.means[busy], found.covariances[busy] = now.weights, now.means, now.covariances
        going = np.abs(score - last[busy]) >= tol
        last[busy] = score
        busy, now = busy[going], now.take(going)
        if not len(busy):
            break
    return found


def expect(x: np.ndarray, mixture: Mixture, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean log-likelihood of the rows, (R,), and the responsibilities, (R, n, k)."""
    logs = densities(x, mixture)
    top = logs.max(axis=2, keepdims=True)
    share = np.exp(logs - top)
    total = share.sum(axis=2, keepdims=True)
    share /= total
    share *= there[:, :, None]
    score = (top + np.log(total))[:, :, 0]
    return np.where(there, score, 0.0).sum(axis=1) / there.sum(axis=1), share


def densities(x: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Return log(weight · density) of every row under every component, (R, n, k)."""
    q = x.shape[2]
    with np.errstate(divide="ignore"):
        logs = np.log(mixture.weights)
    out = np.empty((*x.shape[:2], mixture.weights.shape[1]))
    for j in range(out.shape[2]):
        centred = x - mixture.means[:, None, j]
        covariance = mixture.covariances[:, j]
        if covariance.ndim == 2 or q == 1:
            variance = covariance.reshape(len(x), q)
            _spread(variance.min(axis=1))
            square = np.square(centred[:, :, 0]) / variance if q == 1 else (centred**2 / variance[:, None]).sum(axis=2)
            half = np.log(variance).sum(axis=1) / 2
        else:
            root = _cholesky(covariance)
            white = centred @ np.linalg.inv(root).transpose(0, 2, 1)
            square = np.vecdot(white, white)
            half = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        out[:, :, j] = (logs[:, j] - half - q / 2 * np.log(2 * np.pi))[:, None] - square / 2
    return out


def maximise(x: np.ndarray, share: np.ndarray, there: np.ndarray, form: Form, reg: float) -> Mixture:
    """Return the mixtures that fit the responsibilities ``share`` (R, n, k), which are 0 for padding."""
    replicates, _, q = x.shape
    k = share.shape[2]
    rows = there.sum(axis=1)
    held = share.sum(axis=1) + 10 * np.finfo(float).eps  # (R, k)
    means = share.transpose(0, 2, 1) @ x / held[:, :, None]
    flat = form in ("diag", "spherical")
    covariances = np.empty((replicates, k, q) if flat else (replicates, k, q, q))
    for j in range(k):
        centred = x - means[:, None, j]
        if flat or q == 1:
            variance = (share[:, :, j, None] * centred**2).sum(axis=1) / held[:, j, None]  # (R, q)
            if form == "spherical":
                variance = np.broadcast_to(variance.mean(axis=1, keepdims=True), variance.shape)
            covariances[:, j] = variance if flat else variance[:, :, None]
        else:
            covariances[:, j] = (centred * share[:, :, j, None]).transpose(0, 2, 1) @ centred / held[:, j, None, None]
    if form == "tied":
        pooled = (covariances * held[:, :, None, None]).sum(axis=1) / held.sum(axis=1)[:, None, None]
        covariances = np.repeat(pooled[:, None], k, axis=1)
    covariances += reg if flat else reg * np.eye(q)
    empty = held < 1e-9  # more components than rows
    return Mixture(np.where(empty, 0.0, held / rows[:, None]), means, np.where(
        empty[:, :, None] if flat else empty[:, :, None, None], 1.0 if flat else np.eye(q), covariances))


def roots(covariances: np.ndarray) -> np.ndarray:
    """Return A with A Aᵀ = Σ of (…, q, q), also where Σ is singular, as collapse makes it."""
    try:
        return np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariances)
        return (vectors * np.sqrt(values.clip(0))[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _cholesky(covariance: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise _flat() from None


def _spread(variance: np.ndarray) -> None:
    if not (variance > 0).all():
        raise _flat()


def _flat() -> Degenerate:
    return Degenerate("the gmm fit failed: a component has no spread; raise model.reg or lower model.components")


def _kmeans(x: np.ndarray, there: np.ndarray, k: int, rng: Rng, which: np.ndarray) -> np.ndarray:
    """Return one-hot responsibilities (R, n, k): greedy k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's steps."""
    replicates, n, _ = x.shape
    line = np.arange(replicates)
    rows = there.sum(axis=1)
    trials = 2 + int(np.log(k))
    uniform = rng.at("seeds").uniform((int(which.max()) + 1, k, trials))[which]
    places = np.argsort(~there, axis=1, kind="stable")  # rows first, padding last
    pick = places[line, np.minimum((uniform[:, 0, 0] * rows).astype(int), rows - 1)]
    centres = np.repeat(x[line, pick][:, None], k, axis=1)  # (R, k, q)
    nearest = np.where(there, np.square(x - centres[:, None, 0]).sum(axis=2), 0.0)  # (R, n) squared distances
    for j in range(1, k):
        sums = np.cumsum(nearest, axis=1)
        best = np.full(replicates, np.inf)
        kept = nearest
        for trial in range(trials):
            aim = uniform[:, j, trial] * sums[:, -1]
            pick = np.minimum((sums <= aim[:, None]).sum(axis=1), n - 1)
            flat = sums[:, -1] <= 0  # all rows lie on the centres: any will do
            pick[flat] = places[flat, np.minimum(j, rows[flat] - 1)]
            tried = np.minimum(nearest, np.where(there, np.square(x - x[line, pick][:, None]).sum(axis=2), 0.0))
            cost = tried.sum(axis=1)
            better = cost < best
            best = np.where(better, cost, best)
            centres[better, j] = x[line, pick][better]
            kept = np.where(better[:, None], tried, kept)
        nearest = kept
    alive = np.arange(k) < rows[:, None]  # (R, k)
    for step in range(LLOYD + 1):
        gaps = np.stack([np.square(x - centres[:, None, j]).sum(axis=2) for j in range(k)], axis=2)
        gaps = np.where(alive[:, None], gaps, np.inf)
        share = (gaps.argmin(axis=2)[:, :, None] == np.arange(k)) & there[:, :, None]
        count = share.sum(axis=1)
        if step < LLOYD:
            moved = share.transpose(0, 2, 1).astype(float) @ x / np.maximum(count, 1)[:, :, None]
            centres = np.where((count > 0)[:, :, None], moved, centres)
    return share.astype(float)


def quantiles(mixture: Mixture, n: int) -> np.ndarray:
    """Return the (i + ½)/n quantiles, i < n, of one-dimensional mixtures by bisection: (R, n), rising."""
    from scipy.special import ndtr

    std = np.sqrt(mixture.covariances.reshape(*mixture.weights.shape))  # (R, k)
    mean = mixture.means[:, :, 0]
    used = mixture.weights > 0
    reach = 10 * np.where(used, std, 0)
    low = np.where(used, mean - reach, np.inf).min(axis=1)[:, None] + np.zeros(n)
    high = np.where(used, mean + reach, -np.inf).max(axis=1)[:, None] + np.zeros(n)
    aim = (np.arange(n) + 0.5) / n
    for _ in range(60):
        middle = (low + high) / 2
        mass = np.zeros_like(middle)
        for j in range(std.shape[1]):
            width = np.maximum(std[:, j, None], np.finfo(float).tiny)
            mass += mixture.weights[:, j, None] * ndtr((middle - mean[:, j, None]) / width)
        low, high = np.where(mass < aim, middle, low), np.where(mass < aim, high, middle)
    return (low + high) / 2

