"""A Gaussian copula over empirical marginals: tables of numbers, categories and gaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import WHOLE, Column, Rows, Schema
from collapse.errors import Degenerate, InputError
from collapse.models.base import Model, Parameters
from collapse.rng import Rng

#: Terms of the Hermite expansion by which the covariance of binned latents is turned back into their correlation.
TERMS = 24
#: The least eigenvalue of the latent correlation after its repair.
LEAST = 1e-4
#: Distinct values beyond which a number is taken for continuous: its scores are as good as normal.
FINE = 400


class Copula(Model):
    """Every column is a monotone step function of one latent normal number; the latents have a correlation matrix.

    * **Numbers**: the latent is ranked as the value is. Sampled numbers are interpolated between neighbouring training
      values; whole numbers, dates and times are training values themselves, so their types and atoms are kept.
    * **Categories**, the label among them: one latent per column with ordinal cut points at the shares. A nominal
      column has no order of its own, so it gets the one that tells most of the other columns: the first axis of the
      correspondence analysis of its categories against all other columns, fitted anew with every training set.
    * **Missing numbers** have a latent of their own that says whether there is a value, beside the latent of the value.
      A missing category is a category.

    A latent correlation is the one under which two binned normal latents have the covariance that their scores
    (conditional means of the latent) show: Σ_k a_k b_k ρ^k with the Hermite coefficients a, b of both step functions,
    solved for ρ. With values without ties it is the correlation of normal scores. Pairs with missing numbers count
    where both are present; where gaps follow other columns this is the correlation of a selection, a little weak. The
    matrix of such correlations need not be positive definite: its eigenvalues are raised to
    1e-4 and the diagonal is scaled back to one.

    What it cannot keep is the mechanism under study: one number per pair of columns. Structural zeros, hubs and
    non-monotone dependence are smoothed away, generation by generation.

    Sources: Nelsen 2006, An Introduction to Copulas; Pearson 1901 and Olsson 1979, Psychometrika 44:443 (binned
    latents); Greenacre 1984 (correspondence analysis); Rousseeuw & Molenberghs 1993, Commun Stat 22:965 (repair).
    """

    kind: ClassVar[str] = "copula"
    gaps: ClassVar[bool] = True
    calibration: ClassVar[int] = 60

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        images = [column.name for column in schema.columns if column.kind == "image"]
        if images:
            raise InputError(f"copula models numbers and categories, and {', '.join(images)} holds images; take model "
                             f"kind gmm or kde")
        if n < 2:
            raise InputError(f"copula needs 2 rows or more, and has {n}; raise rows")

    # ------------------------------------------------------------------------------------------- fit

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        found = [self._one(rows.replicate(r)) for r in range(rows.replicates)]
        return {name: np.stack([each[name] for each in found]) for name in found[0]}

    def _one(self, rows: Rows) -> dict[str, np.ndarray]:
        """Fit the first replicate of ``rows``."""
        parameters: dict[str, np.ndarray] = {}
        latents: list[_Latent] = []
        ranks = {c.name: _ranked(rows[c.name][0]) for c in rows.schema.columns if c.kind == "number"}
        orders = _orders(rows, ranks)
        for column in rows.schema.columns:
            values = rows[column.name][0]  # (n,)
            if column.kind == "category":
                order = orders[column.name]
                place = np.argsort(order)  # code -> place in the order
                count = np.bincount(values, minlength=len(order))[order]
                parameters[f"order.{column.name}"] = order.astype(np.int32)
                parameters[f"shares.{column.name}"] = count / len(values)
                latents.append(_Latent.of(place[values], count, None))
                continue
            index, count, ranked = ranks[column.name]
            if column.missing:
                here = ~np.isnan(values)
                parameters[f"present.{column.name}"] = np.asarray(here.mean())
                latents.append(_Latent.of(here.astype(int), np.bincount(here, minlength=2), None))
                latents.append(_Latent.of(index, count, here))
                # padded by the last value, so that replicates stack: the count says how many are real
                last = ranked[-1] if len(ranked) else 0.0
                ranked = np.concatenate([ranked, np.full(len(values) - len(ranked), last)])
            else:
                latents.append(_Latent.of(index, count, None))
            parameters[f"values.{column.name}"] = ranked
        parameters["root"] = _root(latents)
        return parameters

    # ---------------------------------------------------------------------------------------- sample

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        root = parameters["root"]
        values: dict[str, np.ndarray] = {c.name: np.empty((len(root), n), np.int32 if c.kind == "category" else float)
                                         for c in schema.columns}
        for r, generator in enumerate(rng.at("latent").each(len(root))):
            z = root[r] @ generator.standard_normal((root.shape[1], n))  # (D, n)
            at = iter(z)
            for column in schema.columns:
                own = {kind: parameters[f"{kind}.{column.name}"][r] for kind in ("order", "shares", "present", "values")
                       if f"{kind}.{column.name}" in parameters}
                values[column.name][r] = _draw(column, own, at)
        return Rows(schema, values)


def _draw(column: Column, own: dict[str, np.ndarray], latents: Iterator[np.ndarray]) -> np.ndarray:
    """Return the values (n,) of one column from its latents."""
    from scipy.special import ndtr, ndtri

    if column.kind == "category":
        cuts = ndtri(np.minimum(np.cumsum(own["shares"]), 1.0))
        last = int(np.flatnonzero(own["shares"])[-1])  # rounding must not draw a category of share 0
        return own["order"][np.minimum(np.searchsorted(cuts, next(latents), side="right"), last)]
    ranked = own["values"]
    here = None
    if "present" in own:
        here = next(latents) > ndtri(1 - own["present"])
        ranked = ranked[: round(float(own["present"]) * len(ranked))]
    u = ndtr(next(latents))
    if not len(ranked):
        return np.full(len(u), np.nan)
    if column.type in WHOLE:
        found = ranked[np.minimum((u * len(ranked)).astype(np.int64), len(ranked) - 1)]
    else:
        found = np.interp(u * len(ranked) - 0.5, np.arange(len(ranked)), ranked)
    return found if here is None else np.where(here, found, np.nan)


class _Latent:
    """One latent as it was seen: scores (n,) of variance ``variance``, Hermite coefficients (TERMS,), who has one."""

    def __init__(self, scores: np.ndarray, coefficients: np.ndarray, here: np.ndarray | None):
        self.scores, self.coefficients, self.here = scores, coefficients, here

    @staticmethod
    def of(index: np.ndarray, count: np.ndarray, here: np.ndarray | None) -> _Latent:
        """Return the latent of rows in the ordered bins ``index`` (n,) with ``count`` (k,) rows in each."""
        shares = count / max(count.sum(), 1)
        cuts, density = _edges(shares)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(count > 0, (density[:-1] - density[1:]) / shares, 0.0)  # E[Z | bin]
        if len(count) > FINE:  # values without ties: the step function is the identity
            coefficients = np.zeros(TERMS)
            coefficients[0] = np.sqrt(shares @ means**2)
        else:
            coefficients = means @ _hermite(cuts, density)
        scores = means[index]
        if here is not None:
            scores = np.where(here, scores, 0.0)
        return _Latent(scores, coefficients, here)


def _edges(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cut points of bins with these shares, −∞ and ∞ included, and the normal density there: (k + 1,)."""
    from scipy.special import ndtri

    cuts = ndtri(np.concatenate([[0.0], np.minimum(np.cumsum(shares)[:-1], 1.0), [1.0]]))
    return cuts, np.exp(-0.5 * cuts**2) / np.sqrt(2 * np.pi)


def _hermite(cuts: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return ∫ h_k φ over each bin for the normalised Hermite polynomials h_1 … h_TERMS: (k bins, TERMS)."""
    x = np.where(np.isfinite(cuts), cuts, 0.0)
    before, now = np.zeros_like(x), np.ones_like(x)  # h_{-1}, h_0
    out = np.empty((len(cuts) - 1, TERMS))
    for k in range(1, TERMS + 1):
        # ∫ h_k φ = [−h_{k−1} φ] / √k
        out[:, k - 1] = -np.diff(now * density) / np.sqrt(k)
        before, now = now, (x * now - np.sqrt(k - 1) * before) / np.sqrt(k)
    return out


def _ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each of ``values`` (n,) the place of its tie, how many rows each tie has, and the present, sorted."""
    order = np.argsort(values, kind="stable")  # NaN last
    ranked = values[order]
    present = ranked[: len(ranked) - int(np.isnan(values).sum())]
    starts = np.ones(len(present), dtype=bool)
    starts[1:] = present[1:] != present[:-1]
    index = np.zeros(len(values), dtype=np.int64)
    index[order[: len(present)]] = np.cumsum(starts) - 1
    count = np.diff(np.append(np.flatnonzero(starts), len(present))) if len(present) else np.zeros(1, dtype=int)
    return index, count, present


def _orders(rows: Rows, ranks: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return for each category column its codes in the order of the first correspondence axis.

    The axis is the first left singular vector of the scaled residuals of the table categories × all other columns:
    (p_ij − p_i p_j)/√(p_i p_j) for categories, whose squares sum to χ²/n, and for numbers the mean standardised rank
    times √p_i, whose squares sum to the correlation ratio. Categories without rows come last.
    """
    columns = [c for c in rows.schema.columns if c.kind == "category"]
    n = rows.n
    codes = {c.name: rows[c.name][0] for c in columns}
    shares = {c.name: np.bincount(codes[c.name], minlength=len(c.categories)) / n for c in columns}
    numbers = {}
    for column in rows.schema.columns:
        if column.kind == "number":
            index, count, _ = ranks[column.name]
            middle = np.cumsum(count) - count / 2
            z = np.where(np.isnan(rows[column.name][0]), count.sum() / 2, middle[index])
            spread = z.std()
            numbers[column.name] = (z - z.mean()) / (spread if spread > 0 else 1.0)
    tables: dict[tuple[str, str], np.ndarray] = {}
    found = {}
    for column in columns:
        own, size = shares[column.name], len(column.categories)
        root = np.sqrt(np.where(own > 0, own, 1.0))
        blocks = [np.bincount(codes[column.name], weights=z, minlength=size)[:, None] / n / root[:, None]
                  for z in numbers.values()]
        for other in columns:
            if other.name == column.name:
                continue
            if (other.name, column.name) in tables:
                joint = tables[other.name, column.name].T
            else:
                width = len(other.categories)
                flat = codes[column.name].astype(np.int64) * width + codes[other.name]
                joint = np.bincount(flat, minlength=size * width).reshape(size, width) / n
                tables[column.name, other.name] = joint
            aside = shares[other.name]
            blocks.append((joint - np.outer(own, aside)) / root[:, None] / np.sqrt(np.where(aside > 0, aside, 1.0)))
        place = np.zeros(size)
        if blocks and size > 2:
            scaled = np.concatenate(blocks, axis=1)  # (k, everything else)
            _, vectors = np.linalg.eigh(scaled @ scaled.T)
            axis = vectors[:, -1] / root
            place = axis * np.sign(axis[np.abs(vectors[:, -1]).argmax()])
        found[column.name] = np.lexsort((np.arange(size), np.round(place, 9), own == 0))
    return found


def _root(latents: list[_Latent]) -> np.ndarray:
    """Return the lower triangular root (D, D) of the repaired correlation of the latents."""
    scores = np.stack([latent.scores for latent in latents])  # (D, n)
    n = scores.shape[1]
    if all(latent.here is None for latent in latents):
        covariance = scores @ scores.T / n
    else:
        here = np.stack([np.ones(n) if latent.here is None else latent.here.astype(float) for latent in latents])
        both = np.maximum(here @ here.T, 1.0)
        # among the rows that have both, each about its own mean there
        covariance = scores @ scores.T / both - (scores @ here.T / both) * (here @ scores.T / both)
    coefficients = np.stack([latent.coefficients for latent in latents])  # (D, TERMS)
    if not np.isfinite(covariance).all():
        raise Degenerate("the copula fit is not finite: its training rows overflow")
    return np.linalg.cholesky(repaired(_correlation(covariance, coefficients)))


def _correlation(covariance: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the ρ (D, D) at which Σ_k a_k b_k ρ^k is the covariance of the scores, by bisection."""
    products = coefficients[:, None, :] * coefficients[None, :, :]  # (D, D, TERMS)
    low, high = -np.ones_like(covariance), np.ones_like(covariance)
    for _ in range(40):  # monotone in ρ (Price 1958): both steps rise with their latents
        middle = (low + high) / 2
        value = np.zeros_like(middle)
        for k in range(TERMS - 1, -1, -1):
            value = (value + products[:, :, k]) * middle
        above = value > covariance
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    flat = products[:, :, 0] <= 0  # a column of one value has no dependence
    rho = np.where(flat, 0.0, (low + high) / 2)
    rho = (rho + rho.T) / 2
    np.fill_diagonal(rho, 1.0)
    return rho


def repaired(correlation: np.ndarray) -> np.ndarray:
    """Return the correlation matrix with eigenvalues of 1e-4 or more and ones on its diagonal.

    One that has them already comes back as it is (Rousseeuw & Molenberghs 1993).
    """
    values, vectors = np.linalg.eigh(correlation)
    if values[0] >= LEAST:
        return correlation
    raised = (vectors * np.maximum(values, LEAST)) @ vectors.T
    scale = 1 / np.sqrt(np.diagonal(raised))
    out = raised * scale[:, None] * scale[None, :]
    return (out + out.T) / 2
