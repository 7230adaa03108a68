"""The normal distribution, fitted by its moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import Degenerate, InputError, NodeError
from collapse.metrics.base import Fact, Measurement
from collapse.models.base import Model, Parameters
from collapse.rng import Rng
from collapse.summary import Summary

_NATURE = "Shumailov et al. 2024, Nature 631, doi 10.1038/s41586-024-07566-y"
#: Directions of which a fitted variance is recorded one by one.
DIRECTIONS = 4
#: Numbers of a block of rows that fits the cache.
CACHED = 2**16


class Gaussian(Model):
    """N(mean, covariance) in any dimension, with sample mean and sample covariance.

    ``ddof`` 0 is maximum likelihood, biased by (1 − 1/n); 1 is unbiased. The bias compounds over
    generations: E[v_t] = (1 − 1/n)^t against 1 (Shumailov et al. 2024, doi 10.1038/s41586-024-07566-y).
    ``variance`` says that the variance is known, the same in every direction: only the mean is fitted.

    Sufficient statistics ``moments``: weight n (R,), sum of squared weights (R,), mean (R, d) and scatter (R, d, d),
    which add up as in Chan, Golub & LeVeque 1983, Am Stat 37:242. Weighted rows are unbiased with ddof 1 for
    scatter / (n − Σw²/n).
    """

    kind: ClassVar[str] = "gaussian"
    summary: ClassVar[str | None] = "moments"
    weighs: ClassVar[bool] = True
    facts: ClassVar[dict[str, Fact]] = {
        "fit_mean": Fact("fit", 0.0, "either", "fitted mean less the true one, in true standard deviations; 0.0: right",
                         _NATURE, low=-np.inf),
        "fit_variance": Fact("fit", 1.0, "below", "fitted over true variance; 1.0: right, 0.0: collapsed to a point",
                             _NATURE),
        "fit_log_det": Fact("fit", 0.0, "below", "log of the generalised fitted over true variance, per dimension; "
                            "0.0: right, −∞: collapsed; its mean is the typical path", "Wilks 1932, Biometrika 24:471",
                            low=-np.inf),
        "fit_error2": Fact("fit", 0.0, "above", "squared distance of the fitted mean to the true one (Mahalanobis); "
                           "0.0: right", _NATURE),
        "fit_w2": Fact("fit", 0.0, "above", "squared 2-Wasserstein distance of the fitted to the true normal, in true "
                       "variances; 0.0: equal", "Dowson & Landau 1982, J Multivar Anal 12:450"),
    }
    ddof: Annotated[int, Field(ge=0, le=1)] = 1
    variance: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        return () if self.variance is None else (f"the variance, known to be {self.variance:g}",)

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        categories = [column.name for column in schema.columns if column.kind == "category"]
        if categories:
            raise InputError(f"gaussian models numbers only, and {', '.join(categories)} holds categories; "
                             f"leave it out, or take model kind gmm (a label), kde or categorical")
        if self.variance is not None:
            return
        least = self.ddof + 1 if schema.width == 1 else schema.width + 1
        if n < least:
            raise InputError(f"gaussian needs {least} rows or more to fit {schema.width} features with ddof "
                             f"{self.ddof}, and has {n}; raise rows")

    def summarise(self, rows: Rows) -> Summary:
        x = rows.matrix()  # (R, n, d)
        mean, scatter = moments(x)
        n = np.full(len(x), float(x.shape[1]))
        return {"n": n, "n2": n.copy(), "mean": mean, "scatter": scatter}

    def add(self, a: Summary, b: Summary) -> Summary:
        n = a["n"] + b["n"]
        gap = b["mean"] - a["mean"]  # (R, d)
        between = gap[:, :, None] * gap[:, None] * (a["n"] * (b["n"] / n))[:, None, None]
        return {"n": n, "n2": a["n2"] + b["n2"], "mean": a["mean"] + gap * (b["n"] / n)[:, None],
                "scatter": a["scatter"] + b["scatter"] + between}

    def weigh(self, a: Summary, weight: float) -> Summary:
        return {"n": a["n"] * weight, "n2": a["n2"] * weight**2, "mean": a["mean"], "scatter": a["scatter"] * weight}

    def solve(self, summary: Summary, rng: Rng) -> Parameters:
        mean, n = summary["mean"], summary["n"]
        if self.variance is None:
            freedom = summary["n2"] / n  # in place: new arrays of a million cost more than the arithmetic
            freedom *= -self.ddof
            freedom += n
            covariance = summary["scatter"] / freedom[:, None, None]
        else:
            d = mean.shape[1]
            covariance = np.broadcast_to(self.variance * np.eye(d), (len(mean), d, d)).copy()
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise Degenerate("the gaussian fit is not finite: its training rows overflow")
        return {"mean": mean, "covariance": covariance}

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        mean, covariance = parameters["mean"], parameters["covariance"]
        replicates, d = mean.shape
        if d == 1:
            x = rng.at("noise").normal((replicates, n, d), mean[:, None], np.sqrt(covariance))
        else:
            x = rng.at("noise").normal((replicates, n, d)) @ roots(covariance).transpose(0, 2, 1)
            x += mean[:, None]
        return Rows.assemble(schema, x, {})

    def draw(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Summary:
        """Draw mean ~ N(μ, Σ/n) and scatter ~ Wishart(Σ, n − 1), independent (Cochran; Bartlett 1933)."""
        mean, covariance = parameters["mean"], parameters["covariance"]
        replicates, d = mean.shape
        rows = np.broadcast_to(float(n), (replicates,))
        if d == 1:
            std = covariance[:, 0] / n
            np.sqrt(std, out=std)
            centre = rng.at("mean").normal((replicates, 1), mean, std)
            scatter = rng.at("scatter").chisquare(n - 1, (replicates, 1, 1)) if n > 1 else np.zeros((replicates, 1, 1))
            scatter *= covariance
            return {"n": rows, "n2": rows, "mean": centre, "scatter": scatter}
        if n <= d:
            raise NodeError(f"the statistics of {n} rows of {d} features have no density; raise rows above {d}")
        root = roots(covariance)  # (R, d, d)
        centre = mean + np.matvec(root, rng.at("mean").normal((replicates, d))) / np.sqrt(n)
        lower = np.tril(rng.at("scatter").normal((replicates, d, d)), -1)
        for i in range(d):
            lower[:, i, i] = np.sqrt(rng.at("scatter", i).chisquare(n - 1 - i, (replicates,)))
        lower = root @ lower
        return {"n": rows, "n2": rows, "mean": centre, "scatter": lower @ lower.transpose(0, 2, 1)}

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        if "covariance" not in truth:
            return
        covariance, true = parameters["covariance"], truth["covariance"]
        if len(true) == 1:
            # Each when it is asked for: a million logarithms that nobody records cost as much as the draws.
            variance = covariance[:, 0, 0] / true[0, 0]
            yield Measurement("fit_variance", "", variance)
            shift = parameters["mean"][:, 0] - truth["mean"][0]
            shift /= np.sqrt(true[0, 0])
            yield Measurement("fit_mean", "", shift)
            error2 = shift * shift
            yield Measurement("fit_error2", "", error2)
            yield Measurement("fit_w2", "", error2 + np.square(1 - np.sqrt(variance)))
            with np.errstate(divide="ignore"):  # a variance that underflows to 0 has log −∞
                log_det = np.log(variance)
            yield Measurement("fit_log_det", "", log_det)
            return
        gap = parameters["mean"] - truth["mean"]  # (R, d)
        try:
            inverse = np.linalg.inv(np.linalg.cholesky(true))  # a whitening of the truth
        except np.linalg.LinAlgError:
            return  # reference moments of constant or collinear columns: nothing to compare with
        d = len(true)
        white = inverse @ covariance @ inverse.T  # (R, d, d), identity where the fit is right
        sign, log_det = np.linalg.slogdet(white)
        names = [column.name for column in schema.numeric] if len(schema.numeric) == d else \
            [f"x{i + 1}" for i in range(d)]
        for i, name in enumerate(names[:DIRECTIONS]):
            yield Measurement("fit_mean", name, gap[:, i] / np.sqrt(true[i, i]))
            yield Measurement("fit_variance", name, covariance[:, i, i] / true[i, i])
        both = np.zeros(d)
        both[:2] = 1
        yield Measurement("fit_variance", f"{names[0]}+{names[1]}", covariance @ both @ both / (both @ true @ both))
        yield Measurement("fit_variance", "", np.trace(white, axis1=1, axis2=2) / d)
        yield Measurement("fit_log_det", "", np.where(sign > 0, log_det, -np.inf) / d)
        yield Measurement("fit_error2", "", np.square(np.matvec(inverse, gap)).sum(axis=1))
        yield Measurement("fit_w2", "", _bures(gap, covariance, true))


def _bures(gap: np.ndarray, covariance: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return |gap|² + tr(Σ_t + Σ − 2 (Σ^½ Σ_t Σ^½)^½), per dimension's mean true variance: (R,)."""
    values, vectors = np.linalg.eigh(true)
    half = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(half @ covariance @ half).clip(0)).sum(axis=1)
    spread = np.trace(covariance, axis1=1, axis2=2) + np.trace(true) - 2 * cross
    return (np.square(gap).sum(axis=1) + spread) / (np.trace(true) / len(true))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scatter Σ(x − x̄)(x − x̄)ᵀ of the rows: (R, n, d) -> (R, d), (R, d, d)."""
    x = x.astype(np.float64, copy=False)
    replicates, n, d = x.shape
    if d == 1:
        flat = x.reshape(replicates, n)
        mean, scatter = np.empty(replicates), np.empty(replicates)
        size = max(1, CACHED // n)
        for start in range(0, replicates, size):  # twice over rows that are still in the cache
            block = flat[start : start + size]
            centre = block.mean(axis=1)
            centred = block - centre[:, None]
            mean[start : start + size] = centre
            scatter[start : start + size] = np.vecdot(centred, centred)
        return mean[:, None], scatter[:, None, None]
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    return mean, centred.transpose(0, 2, 1) @ centred


def roots(covariance: np.ndarray) -> np.ndarray:
    """Return A with A Aᵀ = ``covariance`` for each of (R, d, d): Cholesky's, or symmetric roots if singular."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return np.stack([root(one) for one in covariance])


def root(covariance: np.ndarray) -> np.ndarray:
    """Return A with A Aᵀ = ``covariance`` (d, d): Cholesky's, or the symmetric root where it is singular.

    Constant and collinear features make a covariance singular, and so does collapse itself.
    """
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return (vectors * np.sqrt(values.clip(0))) @ vectors.T
