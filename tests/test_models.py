"""Models against the laws of recursive training, and against independent implementations."""

from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from scipy.special import digamma

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.models.base import Model
from collapse.models.gaussian import root
from collapse.models.gmm import principal_axes
from collapse.registry import find
from collapse.rng import Rng

NUMBER = Schema((Column("x", "number"),))
LABELLED = Schema((Column("a", "number"), Column("b", "number"),
                   Column("label", "category", ("p", "q", "r"), role="label")))
IMAGES = Schema((Column("image", "image", shape=(4, 4)), Column("label", "category", ("p", "q", "r"), role="label")))
WORDS = Schema((Column("word", "category", ("a", "b", "c", "d", "e")), Column("colour", "category", ("u", "v"))))


def model(kind: str, **settings) -> Model:
    return find("models", kind)(**settings)


def numbers(x: np.ndarray) -> Rows:
    return Rows(NUMBER, {"x": x})


def labelled(replicates: int, n: int = 90, seed: int = 1) -> Rows:
    """Return three well separated classes with shares near 1/2, 1/3 and 1/6."""
    g = np.random.default_rng(seed)
    label = g.choice(3, p=[1 / 2, 1 / 3, 1 / 6], size=(replicates, n)).astype(np.int32)
    centre = np.array([[0, 0], [10, 0], [0, 10]])[label]
    x = centre + g.normal(size=(replicates, n, 2))
    return Rows(LABELLED, {"a": x[:, :, 0], "b": x[:, :, 1], "label": label})


def pictures(replicates: int, n: int = 60) -> Rows:
    g = np.random.default_rng(3)
    label = g.integers(3, size=(replicates, n)).astype(np.int32)
    image = (label[..., None, None] / 3 + 0.1 * g.normal(size=(replicates, n, 4, 4))).astype(np.float32)
    return Rows(IMAGES, {"image": image, "label": label})


def words(replicates: int, n: int = 40) -> Rows:
    g = np.random.default_rng(2)
    return Rows(WORDS, {"word": g.choice(5, p=[0.4, 0.3, 0.2, 0.07, 0.03], size=(replicates, n)).astype(np.int32),
                        "colour": g.integers(2, size=(replicates, n)).astype(np.int32)})


def plane(replicates: int, n: int = 50) -> Rows:
    schema = Schema((Column("a", "number"), Column("b", "number")))
    x = np.random.default_rng(5).normal(size=(replicates, n, 2)) @ np.array([[2, 0], [1, 0.5]])
    return Rows.assemble(schema, x, {})


def loop(m: Model, rows: Rows, generations: int, seed: int = 11):
    """Yield the parameters and the sample of every generation under replace."""
    for t in range(1, generations + 1):
        parameters = m.fit(rows, Rng(seed, t, "fit"))
        rows = m.sample(parameters, rows.schema, rows.n, Rng(seed, t, "sample"))
        yield parameters, rows


def score(values: np.ndarray, law: float) -> float:
    """Return how many standard errors the mean of ``values`` lies from ``law``."""
    return abs(values.mean() - law) / (values.std(ddof=1) / np.sqrt(len(values)))


# ------------------------------------------------------------------------------------ what all keep

CASES = [
    pytest.param("gaussian", {}, lambda r: numbers(np.random.default_rng(0).normal(size=(r, 30))), id="gaussian-1d"),
    pytest.param("gaussian", {"ddof": 0}, plane, id="gaussian-2d"),
    pytest.param("kde", {"bandwidth": 0.3}, labelled, id="kde"),
    pytest.param("kde", {"bandwidth": "silverman"}, pictures, id="kde-silverman-images"),
    pytest.param("categorical", {"temperature": 0.9}, words, id="categorical"),
    pytest.param("gmm", {}, labelled, id="gmm"),
    pytest.param("gmm", {"components": 2, "covariance": "diag"}, labelled, id="gmm-two-diag"),
    pytest.param("gmm", {"pca": 3, "reg": 1e-4}, pictures, id="gmm-pca-images"),
    pytest.param("gmm", {"components": 3}, plane, id="gmm-unlabelled"),
    pytest.param("copula", {}, labelled, id="copula"),
    pytest.param("copula", {}, words, id="copula-words"),
]


def outcome(kind: str, settings: dict, rows: Rows) -> dict[str, np.ndarray]:
    m = model(kind, **settings)
    m.check(rows.schema, rows.n)
    parameters = m.fit(rows, Rng(1, "fit"))
    sample = m.sample(parameters, rows.schema, 25, Rng(1, "sample"))
    return {**{f"parameter {k}": v for k, v in parameters.items()}, **sample.values}


@pytest.mark.parametrize(("kind", "settings", "make"), CASES)
def test_first_replicates_of_a_longer_run_are_those_of_a_shorter_one(kind, settings, make):
    rows = make(70)  # more than one block of replicates
    long = outcome(kind, settings, rows)
    for shorter in (1, 3, 65):
        for name, array in outcome(kind, settings, rows.map(lambda a, s=shorter: a[:s])).items():
            np.testing.assert_array_equal(array, long[name][:shorter], err_msg=name)


@pytest.mark.parametrize(("kind", "settings", "make"), CASES)
def test_a_sample_has_the_schema_and_depends_on_its_address_alone(kind, settings, make):
    rows = make(2)
    m = model(kind, **settings)
    parameters = m.fit(rows, Rng(1, "fit"))
    assert all(len(array) == 2 for array in parameters.values())
    first, again, other = (m.sample(parameters, rows.schema, 21, Rng(s)) for s in (1, 1, 2))
    for column in rows.schema.columns:
        assert first[column.name].shape == (2, 21, *column.shape)
        np.testing.assert_array_equal(first[column.name], again[column.name])
        if column.kind == "category":
            assert first[column.name].dtype == np.int32
            assert first[column.name].max() < len(column.categories)
    assert any((first[name] != other[name]).any() for name in rows.schema.names)


@pytest.mark.parametrize(("kind", "settings", "make"), CASES)
def test_a_fit_leaves_its_rows_alone(kind, settings, make):
    rows = make(2)
    before = {name: array.copy() for name, array in rows.values.items()}
    m = model(kind, **settings)
    m.sample(m.fit(rows, Rng(1)), rows.schema, 200, Rng(2))
    for name, array in before.items():
        np.testing.assert_array_equal(rows[name], array)


@pytest.mark.parametrize(("kind", "settings", "make"), CASES)
def test_rows_of_a_sample_are_exchangeable(kind, settings, make):
    """A regime keeps the first rows: they must not differ from the last."""
    rows = make(300)
    m = model(kind, **settings)
    sample = m.sample(m.fit(rows, Rng(4)), rows.schema, 40, Rng(5))
    for name in rows.schema.names:
        x = sample[name].astype(float).reshape(300, 40, -1)[:, :, 0]
        assert score(x[:, :20].mean(axis=1) - x[:, 20:].mean(axis=1), 0) < 4.5, name


# --------------------------------------------------------------------------------------- gaussian


def test_gaussian_parameters_are_numpys():
    x = np.random.default_rng(0).normal(3, 2, (4, 17))
    for ddof in (0, 1):
        fitted = model("gaussian", ddof=ddof).fit(numbers(x), Rng(0))
        np.testing.assert_allclose(fitted["mean"][:, 0], x.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(fitted["covariance"][:, 0, 0], x.var(axis=1, ddof=ddof), rtol=1e-12)
        fitted = model("gaussian", ddof=ddof).fit(plane(3), Rng(0))
        for r in range(3):
            np.testing.assert_allclose(fitted["covariance"][r], np.cov(plane(3).matrix()[r].T, ddof=ddof), rtol=1e-12)


def test_fitted_variance_follows_its_law_and_not_its_siblings():
    """log v is the pivot on which sampling noise is normal: E log v_t = t·(digamma((n−1)/2) + ln(2/(n−ddof)))."""
    n, t, replicates = 10, 8, 8000
    start = numbers(np.random.default_rng(1).normal(size=(replicates, n)))

    def law(ddof, t):
        return t * (digamma((n - 1) / 2) + np.log(2 / (n - ddof)))

    for ddof in (0, 1):
        *_, (parameters, _) = loop(model("gaussian", ddof=ddof), start, t)
        log_v = np.log(parameters["covariance"][:, 0, 0])
        assert score(log_v, law(ddof, t)) < 4
        for mutant in (law(1 - ddof, t), law(ddof, t - 1), law(ddof, t + 1)):
            assert score(log_v, mutant) > 5


def test_one_fit_shrinks_the_variance_by_one_nth_only_when_biased():
    n, replicates = 10, 20_000
    x = np.random.default_rng(2).normal(size=(replicates, n))
    biased, unbiased = (model("gaussian", ddof=d).fit(numbers(x), Rng(0))["covariance"][:, 0, 0] for d in (0, 1))
    assert score(biased, 1 - 1 / n) < 4 < score(biased, 1)
    assert score(unbiased, 1) < 4 < score(unbiased, 1 - 1 / n)


def test_mean_drifts_as_a_random_walk():
    n, t = 20, 5
    start = numbers(np.random.default_rng(4).normal(size=(4000, n)))
    *_, (parameters, _) = loop(model("gaussian"), start, t)
    error = parameters["mean"][:, 0] ** 2
    assert score(error, t / n) < 4
    assert score(error, (t - 1) / n) > 5
    assert score(error, (t + 1) / n) > 5


def test_gaussian_sample_has_the_fitted_distribution_in_every_dimension():
    covariance = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
    mean = np.array([1.0, -2.0, 5.0])
    schema = Schema(tuple(Column(name, "number") for name in "abc"))
    x = model("gaussian").sample({"mean": mean[None], "covariance": covariance[None]}, schema, 20_000, Rng(1)).matrix()
    white = np.linalg.solve(np.linalg.cholesky(covariance), (x[0] - mean).T)
    assert all(stats.kstest(axis, "norm").pvalue > 1e-4 for axis in white)
    np.testing.assert_allclose(np.corrcoef(white), np.eye(3), atol=0.04)


def test_singular_covariance_is_sampled_within_its_span():
    g = np.random.default_rng(6)
    direction = np.array([1.0, 2.0, -1.0])
    x = g.normal(size=(1, 50, 1)) * direction
    x[..., 2] = 0  # a constant feature beside two collinear ones
    schema = Schema(tuple(Column(name, "number") for name in "abc"))
    m = model("gaussian")
    sample = m.sample(m.fit(Rows.assemble(schema, x, {}), Rng(0)), schema, 100, Rng(1)).matrix()[0]
    np.testing.assert_allclose(sample[:, 1], 2 * sample[:, 0], atol=1e-6)
    np.testing.assert_allclose(sample[:, 2], 0, atol=1e-6)
    assert sample[:, 0].std() > 0.5


def test_root_of_a_covariance_squares_to_it():
    singular = np.outer([1.0, 2.0], [1.0, 2.0]) - 1e-17 * np.eye(2)
    for covariance in (np.array([[2.0, 1.0], [1.0, 3.0]]), singular, np.zeros((2, 2))):
        a = root(covariance)
        np.testing.assert_allclose(a @ a.T, covariance, atol=1e-12)


def test_gaussian_refuses_what_it_cannot_fit():
    with pytest.raises(InputError, match=r"label holds categories; leave it out"):
        model("gaussian").check(LABELLED, 100)
    with pytest.raises(InputError, match=r"needs 2 rows or more .* ddof 1, and has 1; raise rows"):
        model("gaussian").check(NUMBER, 1)
    model("gaussian", ddof=0).check(NUMBER, 1)
    with pytest.raises(InputError, match=r"needs 3 rows or more"):
        model("gaussian").check(plane(1).schema, 2)
    model("gaussian").check(plane(1).schema, 3)
    with pytest.raises(NodeError, match="overflow"), np.errstate(all="ignore"):
        model("gaussian").fit(numbers(np.full((1, 5), 1e308)), Rng(0))
    for bad in (2, True, 0.5):
        with pytest.raises(ValidationError):
            model("gaussian", ddof=bad)


# -------------------------------------------------------------------------------------------- kde


def test_kde_variance_obeys_its_recursion_and_grows():
    """E[v_t] = (1 − 1/n)(E[v_{t−1}] + h²), v of the sample, ddof 0; a fixed point at (n − 1)h²."""
    n, h, generations = 20, 0.3, 15
    start = numbers(np.random.default_rng(7).normal(size=(4000, n)))
    law, laws, measured = 1 - 1 / n, [], []
    for _, rows in loop(model("kde", bandwidth=h), start, generations):
        law = (1 - 1 / n) * (law + h**2)
        laws.append(law)
        measured.append(rows["x"].var(axis=1))
    # At t = 0 the variance lies below the fixed point, so it grows: collapse is not only loss.
    assert laws[-1] > laws[0] > 1 - 1 / n
    assert score(measured[0], laws[0]) < 4 < score(measured[0], (1 - 1 / n) + h**2)
    assert score(measured[-1], laws[-1]) < 4
    assert score(measured[-1], 1 - 1 / n) > 5


@pytest.mark.parametrize(("rule", "weights"), [("scott", 1.0), ("silverman", (2 + 2) / 4)])
def test_bandwidth_rules_agree_with_scipy(rule, weights):
    rows = plane(2)
    fitted = model("kde", bandwidth=rule).fit(rows, Rng(0))["bandwidth"]
    for r in range(2):
        factor = stats.gaussian_kde(rows.matrix()[r].T, bw_method=rule).factor
        np.testing.assert_allclose(fitted[r], factor * rows.matrix()[r].std(axis=0, ddof=1), rtol=1e-12)
    one = numbers(np.random.default_rng(0).normal(size=(1, 33)))
    factor = stats.gaussian_kde(one["x"][0], bw_method=rule).factor
    np.testing.assert_allclose(model("kde", bandwidth=rule).fit(one, Rng(0))["bandwidth"][0, 0],
                               factor * one["x"].std(ddof=1))


def test_kde_keeps_label_and_row_together():
    rows = labelled(2)
    m = model("kde", bandwidth=0.5)
    sample = m.sample(m.fit(rows, Rng(0)), rows.schema, 500, Rng(1))
    centre = np.array([[0, 0], [10, 0], [0, 10]])[sample["label"]]
    assert np.abs(sample.matrix() - centre).max() < 6
    assert len(np.unique(sample["label"])) == 3


def test_kde_refusals():
    for bad in (0, -1.0, float("inf"), float("nan"), "scot", True, None):
        with pytest.raises(ValidationError, match="above 0, in the units of the data, or scott or silverman"):
            model("kde", bandwidth=bad)
    with pytest.raises(InputError, match="take model kind categorical"):
        model("kde").check(WORDS, 10)
    with pytest.raises(InputError, match="choose its bandwidth, and has 1; raise rows"):
        model("kde", bandwidth="scott").check(NUMBER, 1)
    model("kde", bandwidth=1).check(NUMBER, 1)


# ------------------------------------------------------------------------------------ categorical


def start_words(replicates: int, n: int, p: np.ndarray) -> Rows:
    schema = Schema((Column("word", "category", tuple("abcde"[: len(p)])),))
    codes = np.random.default_rng(8).choice(len(p), p=p, size=(replicates, n)).astype(np.int32)
    return Rows(schema, {"word": codes})


def test_simpson_diversity_decays_by_one_nth_and_shares_are_martingales():
    n, t, p = 20, 8, np.array([0.5, 0.3, 0.15, 0.05])
    *_, (parameters, _) = loop(model("categorical"), start_words(8000, n, p), t)
    shares = parameters["shares.word"]
    diversity, first = 1 - (shares**2).sum(axis=1), 1 - (p**2).sum()
    assert score(diversity, first * (1 - 1 / n) ** t) < 4
    assert score(diversity, first * (1 - 1 / n) ** (t - 1)) > 4
    assert score(diversity, first * (1 - 1 / n) ** (t + 1)) > 4
    for k, share in enumerate(p):
        assert score(shares[:, k], share) < 4


def test_low_temperature_makes_the_common_ones_gain():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    *_, (parameters, _) = loop(model("categorical", temperature=0.8), start_words(2000, 100, p), 6)
    assert parameters["shares.word"][:, 0].mean() > 0.6
    m, fitted = model("categorical", temperature=0.5), {"shares.word": p[None]}
    schema = start_words(1, 1, p).schema
    share = np.bincount(m.sample(fitted, schema, 50_000, Rng(1))["word"][0]) / 50_000
    expected = p**2 / (p**2).sum()
    np.testing.assert_allclose(share, expected, atol=4.5 * np.sqrt(expected.max() / 50_000))


def test_extreme_temperature_does_not_underflow():
    m = model("categorical", temperature=1e-3)
    schema = start_words(1, 1, np.array([0.5, 0.5])).schema
    np.testing.assert_array_equal(m.sample({"shares.word": np.array([[0.4, 0.6]])}, schema, 50, Rng(1))["word"], 1)


def test_a_lost_category_returns_only_with_smoothing():
    schema = start_words(1, 1, np.full(5, 0.2)).schema
    rows = Rows(schema, {"word": np.array([[0, 0, 1, 3]], dtype=np.int32)})
    plain, smooth = model("categorical"), model("categorical", smoothing=0.5)
    shares = plain.fit(rows, Rng(0))["shares.word"]
    np.testing.assert_allclose(shares, [[0.5, 0.25, 0, 0.25, 0]])
    assert set(np.unique(plain.sample({"shares.word": shares}, schema, 5000, Rng(1))["word"])) == {0, 1, 3}
    np.testing.assert_allclose(smooth.fit(rows, Rng(0))["shares.word"], np.array([[2.5, 1.5, 0.5, 1.5, 0.5]]) / 6.5)
    assert plain.real_inputs == ()
    assert smooth.real_inputs == ("smoothing to the frozen vocabulary (0.5)",)


def test_category_columns_are_independent():
    schema = Schema((Column("a", "category", ("0", "1")), Column("b", "category", ("0", "1"), role="label")))
    code = np.random.default_rng(1).integers(2, size=(1, 4000)).astype(np.int32)
    m = model("categorical")
    sample = m.sample(m.fit(Rows(schema, {"a": code, "b": code}), Rng(0)), schema, 4000, Rng(1))
    assert abs(np.corrcoef(sample["a"][0], sample["b"][0])[0, 1]) < 4 / np.sqrt(4000)


def test_categorical_refusals():
    with pytest.raises(InputError, match=r"a, b holds numbers; leave it out"):
        model("categorical").check(LABELLED, 10)
    for bad in ({"temperature": 0.0}, {"temperature": -1.0}, {"smoothing": -0.1}, {"temperatur": 1.0}):
        with pytest.raises(ValidationError):
            model("categorical", **bad)


# -------------------------------------------------------------------------------------------- gmm


def test_one_component_is_the_gaussian_of_each_class():
    rows = labelled(2)
    fitted = model("gmm", reg=0.25).fit(rows, Rng(0))
    for r in range(2):
        for c in range(3):
            mine = rows["label"][r] == c
            x = rows.matrix()[r, mine]
            assert fitted["shares"][r, c] == pytest.approx(mine.mean())
            np.testing.assert_allclose(fitted["means"][r, c, 0], x.mean(axis=0))
            np.testing.assert_allclose(fitted["covariances"][r, c, 0], np.cov(x.T, ddof=0) + 0.25 * np.eye(2))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_one_component_agrees_with_scikit_learn(covariance):
    from sklearn.mixture import GaussianMixture

    rows = plane(1)
    theirs = GaussianMixture(1, covariance_type=covariance, reg_covar=1e-3).fit(rows.matrix()[0])
    fitted = model("gmm", covariance=covariance, reg=1e-3).fit(rows, Rng(0))["covariances"][0, 0, 0]
    expected = theirs.covariances_ if covariance == "tied" else theirs.covariances_[0]
    np.testing.assert_allclose(fitted, np.broadcast_to(expected, fitted.shape), rtol=1e-6)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_components_find_the_blobs_and_samples_return_to_them(covariance):
    source = labelled(1, 600)
    schema = Schema(LABELLED.columns[:2])
    rows = Rows(schema, {name: source[name] for name in "ab"})
    m = model("gmm", components=3, covariance=covariance)
    fitted = m.fit(rows, Rng(0))
    order = np.lexsort(fitted["means"][0, 0].round().T)
    np.testing.assert_allclose(fitted["means"][0, 0][order], [[0, 0], [10, 0], [0, 10]], atol=0.5)
    sample = m.sample(fitted, schema, 6000, Rng(1)).matrix()[0]
    nearest = np.linalg.norm(sample[:, None] - np.array([[0, 0], [10, 0], [0, 10]]), axis=2).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(nearest) / 6000, [1 / 2, 1 / 3, 1 / 6], atol=0.06)
    for k, centre in enumerate([[0, 0], [10, 0], [0, 10]]):
        np.testing.assert_allclose((sample[nearest == k] - centre).std(axis=0), 1, atol=0.2)


def test_labels_keep_their_rows_and_shares():
    rows = labelled(1, 300)
    m = model("gmm")
    sample = m.sample(m.fit(rows, Rng(0)), rows.schema, 20_000, Rng(1))
    centre = np.array([[0, 0], [10, 0], [0, 10]])[sample["label"]]
    assert np.abs(sample.matrix() - centre).max() < 6
    expected = np.bincount(rows["label"][0]) / 300
    np.testing.assert_allclose(np.bincount(sample["label"][0]) / 20_000, expected, atol=4 * 0.5 / np.sqrt(20_000))


@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_tiny_and_absent_classes_do_not_crash(components, covariance):
    label = np.array([[0] * 12 + [1], [0] * 10 + [1] * 3], dtype=np.int32)  # class 'r' has no row
    x = np.random.default_rng(0).normal(size=(2, 13, 2))
    x[1, 10:] = 7.0  # three copies of one row: fewer distinct rows than components
    rows = Rows(LABELLED, {"a": x[..., 0], "b": x[..., 1], "label": label})
    m = model("gmm", components=components, covariance=covariance, reg=1e-4)
    fitted = m.fit(rows, Rng(0))
    assert fitted["shares"][:, 2].tolist() == [0, 0]
    np.testing.assert_allclose(fitted["weights"].sum(axis=2)[:, :2], 1)
    sample = m.sample(fitted, rows.schema, 4000, Rng(1))
    assert set(np.unique(sample["label"])) == {0, 1}
    lone = sample.matrix()[0][sample["label"][0] == 1]
    np.testing.assert_allclose(lone, np.broadcast_to(x[0, 12], lone.shape), atol=6 * 0.01)  # √reg = 0.01


def test_within_class_variance_shrinks_by_one_over_the_class_size():
    """One component, maximum likelihood: E[v_1] = 1 − 1/m for m rows of a class; m is kept equal here."""
    replicates, m = 4000, 10
    label = np.broadcast_to(np.repeat([0, 1, 2], m).astype(np.int32), (replicates, 3 * m))
    x = np.random.default_rng(4).normal(size=(replicates, 3 * m, 2))
    rows = Rows(LABELLED, {"a": x[..., 0], "b": x[..., 1], "label": label})
    variance = model("gmm", reg=0.0).fit(rows, Rng(0))["covariances"][:, 1, 0, 0, 0]
    assert score(variance, 1 - 1 / m) < 4 < score(variance, 1)


def test_principal_axes_are_scikit_learns():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(2, 40, 6)) * np.array([6, 5, 4, 3, 2, 1])
    centre, axes = principal_axes(x, 3)
    for r in range(2):
        theirs = PCA(3).fit(x[r])
        np.testing.assert_allclose(centre[r], theirs.mean_)
        np.testing.assert_allclose(np.abs(axes[r] @ theirs.components_.T), np.eye(3), atol=1e-8)
    assert (np.take_along_axis(axes, np.abs(axes).argmax(axis=2, keepdims=True), axis=2) > 0).all()


def test_pca_samples_lie_in_the_plane_of_the_training_set():
    rows = pictures(1)
    m = model("gmm", pca=2)
    fitted = m.fit(rows, Rng(0))
    sample = m.sample(fitted, rows.schema, 300, Rng(1)).matrix()[0] - fitted["centre"][0]
    assert np.linalg.matrix_rank(sample, tol=1e-4) == 2  # images are single precision
    np.testing.assert_allclose(sample @ fitted["axes"][0].T @ fitted["axes"][0], sample, atol=1e-5)


def test_clip_cuts_pixels_and_says_so():
    rows = pictures(1)
    wild, tame = model("gmm"), model("gmm", clip=True)
    fitted = wild.fit(rows, Rng(0))
    free, cut = (m.sample(fitted, rows.schema, 500, Rng(1))["image"] for m in (wild, tame))
    assert free.min() < 0
    np.testing.assert_array_equal(cut, free.clip(0, 1))
    assert (wild.real_inputs, tame.real_inputs) == ((), ("pixel range 0..1",))


def test_gmm_refusals():
    with pytest.raises(InputError, match=r"word, colour holds categories; leave it out, name it as the label"):
        model("gmm").check(WORDS, 10)
    with pytest.raises(InputError, match=r"needs a numeric feature or an image, and there is none"):
        model("gmm").check(Schema(LABELLED.columns[2:]), 10)
    with pytest.raises(InputError, match=r"needs 20 rows or more for 20 components, and has 10; raise rows"):
        model("gmm", components=20).check(LABELLED, 10)
    with pytest.raises(InputError, match=r"3 principal axes in 10 rows of 2 features; lower model.pca to 2"):
        model("gmm", pca=3).check(LABELLED, 10)
    with pytest.raises(InputError, match=r"lower model.pca to 4"):
        model("gmm", pca=10).check(IMAGES, 5)
    with pytest.raises(InputError, match=r"no image column; drop it"):
        model("gmm", clip=True).check(LABELLED, 10)
    for bad in ({"components": 0}, {"pca": 0}, {"reg": -1.0}, {"covariance": "round"}, {"max_iter": 0}):
        with pytest.raises(ValidationError):
            model("gmm", **bad)


def test_gmm_names_the_remedy_when_the_fit_fails():
    x = np.zeros((1, 20, 2))
    x[0, 10:] = 1
    rows = Rows.assemble(Schema(LABELLED.columns[:2]), x, {})
    with pytest.raises(NodeError, match=r"raise model\.reg or lower model\.components") as caught:
        model("gmm", components=2, reg=0.0).fit(rows, Rng(0))
    assert "\n" not in str(caught.value)
    with pytest.raises(NodeError, match="not finite"):
        model("gmm").fit(Rows.assemble(Schema(LABELLED.columns[:2]), np.full((1, 5, 2), np.inf), {}), Rng(0))


# ---------------------------------------------------------------------------------------- registry


@pytest.mark.parametrize("kind", ["gaussian", "kde", "categorical", "gmm"])
def test_models_are_registered_and_their_settings_change_their_digest(kind):
    cls = find("models", kind)
    assert issubclass(cls, Model)
    plain = cls()
    other = cls(**{"gaussian": {"ddof": 0}, "kde": {"bandwidth": 0.1}, "categorical": {"smoothing": 1.0},
                   "gmm": {"pca": 2}}[kind])
    digests = [plain.digest, cls().digest, other.digest]
    assert [a == b for a, b in pairwise(digests)] == [True, False]
    body = {key: value for key, value in other.spec().items() if key != "kind"}
    assert cls(**body) == other  # what a manifest records can be read back


def test_weights_count_as_reliability_weights():
    """Of weights w an unbiased variance has Σw − Σw²/Σw degrees of freedom: half-weighted rows bring fewer."""
    rng = np.random.default_rng(8)
    schema = Schema((Column("x", "number"),))
    first, second = rng.normal(size=(2, 3, 12)) + np.array([0.0, 2.0])[:, None, None]  # (parts, R, n)
    model = find("models", "gaussian")(ddof=1)
    summaries = [model.summarise(Rows(schema, {"x": part})) for part in (first, second)]
    found = model.solve(model.add(summaries[0], model.weigh(summaries[1], 0.25)), Rng(1))
    weights = np.concatenate([np.ones(12), np.full(12, 0.25)])
    for r in range(3):
        rows = np.concatenate([first[r], second[r]])
        mean = np.average(rows, weights=weights)
        freedom = weights.sum() - np.square(weights).sum() / weights.sum()
        assert found["mean"][r, 0] == pytest.approx(mean)
        assert found["covariance"][r, 0, 0] == pytest.approx((weights * (rows - mean) ** 2).sum() / freedom)
