"""Mixtures of normal distributions, one per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import Degenerate, InputError
from collapse.metrics.base import Fact, Measurement
from collapse.models import _mixture as mixture
from collapse.models.base import Model, Parameters
from collapse.models.categorical import draw, shares
from collapse.rng import Rng


class GMM(Model):
    """A normal mixture of ``components`` for each class of the label; class shares are those of the training set.

    Without a label there is one class. A class with fewer rows than components gets as many components
    as rows; one without rows has share 0 and never returns. One component is fitted by its moments
    (maximum likelihood, ddof 0), more by expectation-maximisation from k-means (:mod:`collapse.models._mixture`), of at
    the most ``max_iter`` steps: the budget of the optimiser.

    ``covariance`` is ``full``, ``tied`` (one per class), ``diag`` or ``spherical``. ``reg`` is added to
    every variance in every generation, so it is also the floor under collapse. ``pca`` fits and samples in
    so many principal axes of the *training set*; what lies outside them is lost in the first generation.
    ``stratified`` samples the (i + ½)/n quantiles of the fitted mixture in random order instead of independent rows:
    its exact expectation, up to 1/n, without sampling error (one number, no label).
    Pixels may fall outside 0..1. ``clip`` cuts them to it: prettier, but mass moves from the tails to the edge.
    """

    kind: ClassVar[str] = "gmm"
    calibration: ClassVar[int] = 100

    facts: ClassVar[dict[str, Fact]] = {
        "fit_component_std": Fact("fit", 1.0, "below", "standard deviation of a fitted component, the widest first, in "
                                  "the units of the data (root of the mean variance over axes); 0.0: a point",
                                  "Shumailov et al. 2024, Nature 631"),
    }
    components: Annotated[int, Field(ge=1)] = 1
    covariance: Literal["full", "tied", "diag", "spherical"] = "full"
    pca: Annotated[int, Field(ge=1)] | None = None
    reg: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-6
    max_iter: Annotated[int, Field(ge=1)] = 100
    tol: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-3
    stratified: bool = False
    clip: bool = False

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        return ("pixel range 0..1",) if self.clip else ()

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
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
        if self.stratified and (schema.label is not None or schema.width != 1 or self.pca is not None):
            raise InputError("gmm: model.stratified samples quantiles of one number without a label; drop it")
        if self.clip and not any(column.kind == "image" for column in schema.columns):
            raise InputError("gmm: model.clip cuts pixels, and there is no image column; drop it")

    # ------------------------------------------------------------------------------------------- fit

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        x = rows.matrix().astype(np.float64, copy=False)  # (R, n, d)
        if not np.isfinite(x).all():
            raise Degenerate("the gmm fit is not finite: its training rows overflow")
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
        for c in range(classes):
            mine = label == c
            # Padding goes by a replicate's own count, so that what runs beside it changes no bit.
            count = mine.sum(axis=1)
            width = np.where(count > 0, np.minimum(2 ** np.ceil(np.log2(count.clip(1))), mine.shape[1]), 0)
            for size in np.unique(width[width > 0]).astype(int):
                found = self._mixture(x, mine, np.flatnonzero(width == size), size, rng.at("class", c))
                here = width == size
                weights[here, c], means[here, c], covariances[here, c] = found.weights, found.means, found.covariances
        return {**parameters, "shares": shares(label, classes), "weights": weights, "means": means,
                "covariances": covariances}

    def _mixture(self, x: np.ndarray, mine: np.ndarray, which: np.ndarray, size: int, rng: Rng) -> mixture.Mixture:
        """Return the mixtures of the rows ``mine`` (R, n) of x (R, n, q) in some replicates, ``size`` rows or less."""
        if size == mine.shape[1] and len(which) == len(x):
            there = mine
        else:
            first = np.argsort(~mine[which], axis=1, kind="stable")[:, :size]  # rows of the class, then padding
            x, there = x[which[:, None], first], mine[which[:, None], first]
        if self.components == 1:
            return mixture.maximise(x, there[:, :, None].astype(float), there, self.covariance, self.reg)
        return mixture.fit(x, there, self.components, self.covariance, reg=self.reg, max_iter=self.max_iter,
                           tol=self.tol, rng=rng, replicates=which)

    # ---------------------------------------------------------------------------------------- sample

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        weights, means = parameters["weights"], parameters["means"]
        replicates, _, k, q = means.shape
        joint = (parameters["shares"][:, :, None] * weights).reshape(replicates, -1)  # (R, classes * k)
        if self.stratified:
            found = mixture.Mixture(weights[:, 0], means[:, 0], parameters["covariances"][:, 0])
            order = rng.at("order").uniform((replicates, n)).argsort(axis=1)
            return Rows.assemble(schema, np.take_along_axis(mixture.quantiles(found, n), order, axis=1)[:, :, None], {})
        chosen = draw(joint, rng.at("component").uniform((replicates, n)))
        x = rng.at("noise").normal((replicates, n, q))
        _scatter(x, chosen, means.reshape(replicates, -1, q), parameters["covariances"].reshape(
            replicates, -1, *parameters["covariances"].shape[3:]))
        if "axes" in parameters:
            x = x @ parameters["axes"] + parameters["centre"][:, None]  # (R, n, q) -> (R, n, d)
        label = schema.label
        rows = Rows.assemble(schema, x, {} if label is None else {label.name: chosen // k})
        return _clipped(rows) if self.clip else rows

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        if schema.label is not None:
            return
        weights, covariances = parameters["weights"][:, 0], parameters["covariances"][:, 0]
        variances = covariances if covariances.ndim == 3 else np.diagonal(covariances, axis1=2, axis2=3)  # (R, k, q)
        std = np.where(weights > 0, np.sqrt(variances.mean(axis=2)), 0.0)
        for place, values in enumerate(-np.sort(-std, axis=1).T, 1):
            yield Measurement("fit_component_std", str(place), values.copy())


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


def _scatter(noise: np.ndarray, chosen: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
    """Turn white ``noise`` (R, n, q) into draws of the components ``chosen`` (R, n), in place."""
    lineage = np.arange(len(noise))[:, None]
    q = noise.shape[2]
    if covariances.ndim == 3 or q == 1:
        noise *= np.sqrt(covariances.reshape(*means.shape))[lineage, chosen]
    else:
        roots = mixture.roots(covariances)
        for r in range(len(noise)):
            for j in np.unique(chosen[r]):
                mine = chosen[r] == j
                noise[r, mine] = noise[r, mine] @ roots[r, j].T
    noise += means[lineage, chosen]


def _clipped(rows: Rows) -> Rows:
    images = {column.name for column in rows.schema.columns if column.kind == "image"}
    return Rows(rows.schema, {k: v.clip(0, 1) if k in images else v for k, v in rows.values.items()})
