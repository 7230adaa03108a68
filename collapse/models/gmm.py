"""Mixtures of normal distributions, one per class."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.models.base import Model, Parameters
from collapse.models.categorical import draw, shares
from collapse.models.gaussian import root
from collapse.rng import Rng


class GMM(Model):
    """A normal mixture of ``components`` for each class of the label; class shares are those of the training set.

    Without a label there is one class. A class with fewer rows than components gets as many components
    as rows; one without rows has share 0 and never returns. One component is fitted by its moments
    (maximum likelihood, ddof 0), more by scikit-learn's expectation-maximisation from k-means.

    ``covariance`` is ``full``, ``tied`` (one per class), ``diag`` or ``spherical``. ``reg`` is added to
    every variance in every generation, so it is also the floor under collapse. ``pca`` fits and samples in
    so many principal axes of the *training set*; what lies outside them is lost in the first generation.
    Pixels may fall outside 0..1. ``clip`` cuts them to it: prettier, but mass moves from the tails to the edge.
    """

    kind: ClassVar[str] = "gmm"
    calibration: ClassVar[int] = 100

    components: Annotated[int, Field(ge=1)] = 1
    covariance: Literal["full", "tied", "diag", "spherical"] = "full"
    pca: Annotated[int, Field(ge=1)] | None = None
    reg: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-6
    max_iter: Annotated[int, Field(ge=1)] = 100
    clip: bool = False

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        return ("pixel range 0..1",) if self.clip else ()

    def check(self, schema: Schema, n: int) -> None:
        if schema.categorical:
            names = ", ".join(column.name for column in schema.categorical)
            raise InputError(f"gmm models numbers, images and a label, and {names} holds categories; "
                             f"leave it out, name it as the label, or take model kind kde or categorical")
        if schema.width == 0:
            raise InputError("gmm needs a numeric feature or an image, and there is none; take model kind categorical")
        if n < max(2, self.components):
            raise InputError(f"gmm needs {max(2, self.components)} rows or more for {self.components} components, "
                             f"and has {n}; raise rows or lower model.components")
        if self.pca is not None and self.pca > min(schema.width, n - 1):
            raise InputError(f"gmm cannot find {self.pca} principal axes in {n} rows of {schema.width} features; "
                             f"lower model.pca to {min(schema.width, n - 1)} or less")
        if self.clip and not any(column.kind == "image" for column in schema.columns):
            raise InputError("gmm: model.clip cuts pixels, and there is no image column; drop it")

    # ------------------------------------------------------------------------------------------- fit

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        x = rows.matrix().astype(np.float64, copy=False)  # (R, n, d)
        if not np.isfinite(x).all():
            raise NodeError("the gmm fit is not finite: its training rows overflow")
        parameters: Parameters = {}
        if self.pca is not None:
            centre, axes = principal_axes(x, self.pca)
            x = (x - centre[:, None]) @ axes.transpose(0, 2, 1)  # (R, n, d) -> (R, n, q)
            parameters = {"centre": centre, "axes": axes}
        label = np.zeros(x.shape[:2], dtype=np.int32) if rows.label is None else rows.label
        classes = 1 if rows.schema.label is None else len(rows.schema.label.categories)
        replicates, _, q = x.shape
        layout = (replicates, classes, self.components)
        weights, means = np.zeros(layout), np.zeros((*layout, q))
        flat = self.covariance in ("diag", "spherical")
        covariances = np.zeros((*layout, q) if flat else (*layout, q, q))
        with _one_thread(self.components > 1):
            for r in range(replicates):
                for c in np.unique(label[r]):
                    weight, mean, covariance = self._mixture(x[r][label[r] == c], rng.at("class", int(c)), r)
                    k = len(weight)
                    weights[r, c, :k], means[r, c, :k], covariances[r, c, :k] = weight, mean, covariance
        return {**parameters, "shares": shares(label, classes), "weights": weights, "means": means,
                "covariances": covariances}

    def _mixture(self, x: np.ndarray, rng: Rng, replicate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return weights (k,), means (k, q) and covariances of one class: (m, q) rows, k ≤ components."""
        k = min(self.components, len(x))
        if k == 1:
            mean = x.mean(axis=0)
            return np.ones(1), mean[None], self._spread(x - mean)[None]
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(k, covariance_type=self.covariance, reg_covar=self.reg, max_iter=self.max_iter,
                                  random_state=rng.seed(replicate))
        with warnings.catch_warnings():  # max_iter is the study's choice, and duplicate rows are collapse at work
            warnings.simplefilter("ignore")
            try:
                mixture.fit(x)
            except ValueError as error:
                raise NodeError(f"the gmm fit failed ({str(error).split('.')[0]}); raise model.reg or lower "
                                f"model.components") from None
        covariance = mixture.covariances_
        if self.covariance == "tied":
            covariance = np.broadcast_to(covariance, (k, *covariance.shape))
        if self.covariance == "spherical":
            covariance = np.repeat(covariance[:, None], x.shape[1], axis=1)
        return mixture.weights_, mixture.means_, covariance

    def _spread(self, centred: np.ndarray) -> np.ndarray:
        """Return the covariance of one component in the form that ``covariance`` asks for, plus ``reg``."""
        m, q = centred.shape
        if self.covariance in ("full", "tied"):
            return centred.T @ centred / m + self.reg * np.eye(q)
        variance = (centred**2).mean(axis=0)
        return (variance if self.covariance == "diag" else np.full(q, variance.mean())) + self.reg

    # ---------------------------------------------------------------------------------------- sample

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        weights, means = parameters["weights"], parameters["means"]
        replicates, _, k, q = means.shape
        joint = (parameters["shares"][:, :, None] * weights).reshape(replicates, -1)  # (R, classes * k)
        chosen = draw(joint, rng.at("component").uniform((replicates, n)))
        x = rng.at("noise").normal((replicates, n, q))
        for r in range(replicates):
            for j in np.unique(chosen[r]):
                rows, cell = chosen[r] == j, (r, j // k, j % k)
                x[r, rows] = means[cell] + _scale(x[r, rows], parameters["covariances"][cell])
        if "axes" in parameters:
            x = x @ parameters["axes"] + parameters["centre"][:, None]  # (R, n, q) -> (R, n, d)
        label = schema.label
        rows = Rows.assemble(schema, x, {} if label is None else {label.name: chosen // k})
        return _clipped(rows) if self.clip else rows


def principal_axes(x: np.ndarray, q: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (R, d) and the ``q`` widest orthonormal axes (R, q, d) of the rows (R, n, d).

    The largest entry of each axis is positive: an axis has no sign of its own, and libraries differ.
    """
    centre = x.mean(axis=1)
    centred = x - centre[:, None]
    _, vectors = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)  # ascending
    axes = vectors[:, :, : -q - 1 : -1].transpose(0, 2, 1)  # (R, d, d) -> (R, q, d), widest first
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=2, keepdims=True), axis=2)
    return centre, axes * np.sign(largest)


def _scale(noise: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return ``noise`` (m, q) with the given covariance (q, q), or variances (q,)."""
    return noise * np.sqrt(covariance) if covariance.ndim == 1 else noise @ root(covariance).T


def _clipped(rows: Rows) -> Rows:
    images = {column.name for column in rows.schema.columns if column.kind == "image"}
    return Rows(rows.schema, {k: v.clip(0, 1) if k in images else v for k, v in rows.values.items()})


def _one_thread(needed: bool) -> AbstractContextManager[Any]:
    """Return a context in which k-means sums in one order, whatever the number of cores."""
    if not needed:
        return nullcontext()
    import sklearn.mixture  # noqa: F401  (its thread pools exist only once it is loaded)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)
