"""Expectation-maximisation against scikit-learn's, from the same start."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.models import _mixture
from collapse.registry import find
from collapse.rng import Rng

FORMS = ("full", "tied", "diag", "spherical")


def blobs(replicates=3, n=240, q=2, seed=0):
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(3, q))
    return centres[rng.integers(3, size=(replicates, n))] + rng.normal(size=(replicates, n, q))


@pytest.mark.parametrize("q", [1, 2, 5])
@pytest.mark.parametrize("form", FORMS)
def test_the_fit_is_scikit_learns_from_the_same_start(form, q):
    from sklearn.mixture import GaussianMixture

    x = blobs(q=q)
    there = np.ones(x.shape[:2], dtype=bool)
    start = _mixture.maximise(x, _mixture._kmeans(x, there, 3, Rng(1), np.arange(3)), there, form, 1e-6)
    ours = _mixture.fit(x, there, 3, form, reg=1e-6, max_iter=40, tol=1e-7, rng=Rng(1), start=start)
    for r in range(len(x)):
        begin = start.covariances[r]
        inverse = {"full": lambda c: np.linalg.inv(c), "tied": lambda c: np.linalg.inv(c[0]), "diag": lambda c: 1 / c,
                   "spherical": lambda c: 1 / c[:, 0]}[form](begin)
        theirs = GaussianMixture(3, covariance_type=form, tol=1e-7, max_iter=40, weights_init=start.weights[r],
                                 means_init=start.means[r], precisions_init=inverse)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.fit(x[r])
        np.testing.assert_allclose(ours.weights[r], theirs.weights_, atol=2e-6)
        np.testing.assert_allclose(ours.means[r], theirs.means_, atol=2e-5)
        expected = theirs.covariances_[:, None] if form == "spherical" else theirs.covariances_
        np.testing.assert_allclose(ours.covariances[r], np.broadcast_to(expected, ours.covariances[r].shape), atol=1e-4)
        found, _ = _mixture.expect(x, ours, there)
        assert found[r] == pytest.approx(theirs.score(x[r]), abs=1e-6)


def test_padding_and_company_change_nothing():
    x = blobs(2)
    there = np.ones(x.shape[:2], dtype=bool)
    padded = np.concatenate([x, np.full((2, 60, 2), 99.0)], axis=1)
    mask = np.concatenate([there, np.zeros((2, 60), dtype=bool)], axis=1)
    both = [_mixture.fit(a, b, 3, "full", reg=1e-6, max_iter=50, tol=1e-4, rng=Rng(2)) for a, b in
            ((x, there), (padded, mask))]
    np.testing.assert_allclose(both[0].means, both[1].means, rtol=1e-9)
    alone = _mixture.fit(x[1:], there[1:], 3, "full", reg=1e-6, max_iter=50, tol=1e-4, rng=Rng(2),
                        replicates=np.array([1]))
    np.testing.assert_array_equal(alone.covariances[0], both[0].covariances[1])


def test_likelihood_never_falls():
    x = blobs(4)
    there = np.ones(x.shape[:2], dtype=bool)
    scores = []
    for steps in range(1, 12):
        found = _mixture.fit(x, there, 3, "full", reg=0.0, max_iter=steps, tol=0.0, rng=Rng(3))
        scores.append(_mixture.expect(x, found, there)[0])
    assert (np.diff(scores, axis=0) > -1e-10).all()


def test_quantiles_are_those_of_the_mixture():
    weights = np.array([[0.3, 0.7, 0.0]])
    spread = _mixture.Mixture(weights, np.array([[[-2.0], [1.0], [0.0]]]), np.array([[[0.25], [1.0], [1.0]]]))
    from scipy.stats import norm

    x = _mixture.quantiles(spread, 2001)[0]
    cdf = 0.3 * norm.cdf(x, -2, 0.5) + 0.7 * norm.cdf(x, 1, 1)
    np.testing.assert_allclose(cdf, (np.arange(2001) + 0.5) / 2001, atol=1e-12)


def test_a_stratified_sample_has_no_sampling_error():
    schema = Schema((Column("x", "number"),))
    rows = Rows(schema, {"x": blobs(5, 400, 1)[..., 0]})
    model = find("models", "gmm")(components=3, stratified=True)
    fitted = model.fit(rows, Rng(0))
    sample = model.sample(fitted, schema, 4000, Rng(1))["x"]
    mean = (fitted["weights"][:, 0] * fitted["means"][:, 0, :, 0]).sum(axis=1)
    np.testing.assert_allclose(sample.mean(axis=1), mean, atol=2e-4)
    assert (np.diff(sample, axis=1) < 0).any()  # in random order
    assert abs(np.corrcoef(sample[0, :-1], sample[0, 1:])[0, 1]) < 0.06
    with pytest.raises(InputError, match=r"stratified samples quantiles of one number"):
        model.check(Schema((Column("a", "number"), Column("b", "number"))), 100)


def test_a_component_without_spread_is_one_line():
    x = np.zeros((1, 20, 1))
    x[0, 10:] = 1
    with pytest.raises(NodeError, match=r"has no spread; raise model\.reg"):
        _mixture.fit(x, np.ones((1, 20), dtype=bool), 2, "full", reg=0.0, max_iter=9, tol=1e-3, rng=Rng(0))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_component_widths_are_roots_of_the_mean_variance_the_widest_first(covariance):
    schema = Schema((Column("x", "number"), Column("y", "number")))
    points = blobs(3, 300, 2) * np.array([1.0, 4.0])
    rows = Rows(schema, {"x": points[..., 0], "y": points[..., 1]})
    model = find("models", "gmm")(components=2, covariance=covariance)
    learned = model.fit(rows, Rng(0))
    found = list(model.statistics(learned, schema, {}, 300))
    assert [m.feature for m in found] == ["1", "2"]
    shapes = learned["covariances"][:, 0]
    for r, each in enumerate(shapes):
        widths = sorted((np.sqrt((np.trace(one) if one.ndim == 2 else one.sum()) / 2) for one in each), reverse=True)
        assert [m.values[r] for m in found] == pytest.approx(widths)
    sample = model.sample(learned, schema, 20_000, Rng(1))
    spread = np.hypot(sample["x"].std(axis=1), sample["y"].std(axis=1)) / np.sqrt(2)
    assert (found[1].values < spread).all()  # a part is narrower than the whole
