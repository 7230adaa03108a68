"""Linear regression and weighted kernels, against NumPy by hand."""

from __future__ import annotations

import numpy as np
import pytest

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.pool import Part, Pool
from collapse.registry import find
from collapse.rng import Rng

SOURCE = find("sources", "regression")(dim=4, noise=0.5)


def test_the_fit_is_least_squares_of_each_replicate():
    rows = SOURCE.draw(30, 5, Rng(1))
    fitted = find("models", "regression")().fit(rows, Rng(0))
    for r in range(5):
        x = np.stack([rows[f"x{i}"][r] for i in range(1, 5)], axis=1)
        w, rest, *_ = np.linalg.lstsq(x, rows["y"][r], rcond=None)
        np.testing.assert_allclose(fitted["weights"][r], w)
        assert fitted["noise"][r] == pytest.approx(np.sqrt(rest[0] / 26))


def test_summaries_of_parts_add_up_to_the_fit_of_all_rows():
    model = find("models", "regression")()
    blocks = [SOURCE.draw(n, 3, Rng(n)) for n in (20, 7, 31)]
    pool = Pool.of(*(Part.of(rows, f"p{i}", i, synthetic=bool(i)) for i, rows in enumerate(blocks)))
    np.testing.assert_allclose(model.learn(pool, Rng(0))["weights"], model.fit(Rows.concat(blocks), Rng(0))["weights"])
    twice = Pool.of(
        Part.of(blocks[0], "a", 0, synthetic=False).weighted(3.0), Part.of(blocks[2], "b", 1, synthetic=True)
    )
    both = Rows.concat([blocks[0]] * 3 + [blocks[2]])
    np.testing.assert_allclose(model.learn(twice, Rng(0))["weights"], model.fit(both, Rng(0))["weights"])


def test_the_source_is_what_it_says():
    rows, truth = SOURCE.draw(200_000, 1, Rng(2)), SOURCE.truth()
    assert np.cov(rows.matrix()[0], rowvar=False) == pytest.approx(truth["covariance"], abs=0.02)
    assert truth["weights"].tolist() == [0.5] * 4 and truth["noise"] == 0.5


def test_the_same_design_keeps_x_and_draws_labels_anew():
    model = find("models", "regression")(design="same", noise=0.5)
    rows = SOURCE.draw(25, 2, Rng(1))
    pool = Pool.of(Part.of(rows, "a", 0, synthetic=False))
    fitted = model.learn(pool, Rng(0))
    sample = model.sample(fitted, rows.schema, 25, Rng(3))
    np.testing.assert_array_equal(sample["x2"], rows["x2"])
    assert not np.allclose(sample["y"], rows["y"])
    np.testing.assert_array_equal(model.sample(fitted, rows.schema, 9, Rng(3))["x1"], rows["x1"][:, :9])
    with pytest.raises(NodeError, match="design same has 25 rows, and 26 are asked for"):
        model.sample(fitted, rows.schema, 26, Rng(3))
    assert "the x of the first pool" in model.real_inputs
    fresh = find("models", "regression")()
    assert not np.allclose(fresh.sample(fresh.fit(rows, Rng(0)), rows.schema, 25, Rng(3))["x2"], rows["x2"])


def test_refusals():
    model, schema = find("models", "regression")(), SOURCE.draw(1, 1, Rng(0)).schema
    with pytest.raises(InputError, match="5 rows or more for 4 coefficients, and has 4"):
        model.check(schema, 4)
    with pytest.raises(InputError, match="no column of numbers 'z'"):
        find("models", "regression")(target="z").check(schema, 40)
    with pytest.raises(InputError, match="colour holds none"):
        model.check(Schema((*schema.columns, Column("colour", "category", ("a", "b")))), 40)
    same = SOURCE.draw(10, 1, Rng(0))
    flat = Rows(same.schema, {**same.values, "x2": same["x1"].copy()})
    flat = Rows(flat.schema, {name: np.zeros_like(a) if name == "x3" else a for name, a in flat.values.items()})
    with pytest.raises(NodeError, match="singular"):
        model.fit(flat, Rng(0))


def test_a_kernel_estimate_draws_rows_by_their_weight():
    schema = Schema((Column("x", "number"),))
    rows = Rows(schema, {"x": np.array([[0.0, 10.0, 20.0]])}, np.array([1.0, 2.0, 1.0]))
    model = find("models", "kde")(bandwidth=0.1)
    fitted = model.fit(rows, Rng(0))
    sample = model.sample(fitted, schema, 20_000, Rng(1))["x"].round(-1)
    shares = [(sample == value).mean() for value in (0, 10, 20)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    truth = {"mean": np.array([0.0]), "covariance": np.array([[4.0]])}
    found = {m.metric: m.values for m in model.statistics(fitted, schema, truth, 3)}
    assert found["fit_mean"] == pytest.approx([5.0]) and found["fit_variance"] == pytest.approx([(50 + 0.01) / 4])
