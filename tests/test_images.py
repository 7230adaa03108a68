"""Image metrics against independent computations, and the classifier that is learned once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from collapse.data import Column, Rows, Schema
from collapse.frame import Frame
from collapse.metrics._classifier import HIDDEN, Classifier
from collapse.metrics.images import Images, frechet
from collapse.rng import Rng
from collapse.sources.digits import Digits


@pytest.fixture(scope="module")
def frame() -> Frame:
    rows = Digits().load()
    order = Rng("test", "images").choice(rows.n, rows.n, 1)
    return Frame.freeze(rows.take(order[:, :500]), rows.take(order[:, 500:1200]), rows=300)


@pytest.fixture(scope="module")
def fresh() -> Rows:
    """Real rows that neither the reference nor the classifier has seen, two replicates."""
    rows = Digits().load()
    order = Rng("test", "images").choice(rows.n, rows.n, 1)[0, 1200:1790]
    return rows.take(order[:580].reshape(2, 290))


def measured(sample: Rows, frame: Frame) -> dict[str, np.ndarray]:
    return {m.metric: m.values for m in Images().measure(sample, frame)}


def test_frechet_is_the_textbook_formula():
    g = np.random.default_rng(1)
    a, b = g.normal(size=(3, 200, 6)) @ g.normal(size=(6, 6)), g.normal(1, 2, size=(1, 150, 6))
    for value, x in zip(frechet(a, b), a, strict=True):
        one, two = np.cov(x, rowvar=False), np.cov(b[0], rowvar=False)
        root = sqrtm(one @ two).real
        expected = np.square(x.mean(axis=0) - b[0].mean(axis=0)).sum() + np.trace(one + two - 2 * root)
        assert value == pytest.approx(expected, rel=1e-8)
    assert frechet(b, b)[0] == pytest.approx(0, abs=1e-8)
    flat = np.zeros((1, 20, 3))  # all on one point: the distance of the means and the other's spread
    cloud = g.normal(size=(1, 500, 3))
    assert frechet(flat, cloud)[0] == pytest.approx(
        np.square(cloud.mean(axis=1)).sum() + cloud.var(axis=1, ddof=1).sum())


def test_fidelity_follows_its_definitions_in_the_learned_space(frame, fresh):
    found = measured(fresh, frame)
    real = frame.classifier.embed(frame.reference)[0]
    for r, fake in enumerate(frame.classifier.embed(fresh)):
        near_real = np.sort(cdist(real, real), axis=1)[:, 5]  # itself comes first
        near_fake = np.sort(cdist(fake, fake), axis=1)[:, 5]
        distance = cdist(real, fake)
        inside = distance <= near_real[:, None]
        assert found["learned_precision"][r] == pytest.approx(inside.any(axis=0).mean())
        assert found["learned_recall"][r] == pytest.approx((distance <= near_fake).any(axis=1).mean())
        assert found["learned_density"][r] == pytest.approx(inside.sum(axis=0).mean() / 5)
        assert found["learned_coverage"][r] == pytest.approx(inside.any(axis=1).mean())


def test_the_classifier_knows_digits_that_it_never_saw(frame, fresh):
    rule = frame.classifier
    assert (rule.classify(rule.embed(fresh)) == fresh.label).mean() > 0.93
    found = measured(fresh, frame)
    assert found["classifier_agreement"].min() > 0.93
    assert found["classes_alive"].tolist() == [1.0, 1.0]


def test_classes_are_counted_by_what_is_seen_not_by_what_is_said(frame, fresh):
    threes = np.flatnonzero(fresh.label[0] == 3)
    index = np.resize(threes, fresh.n)[None]
    one = Rows(fresh.schema, {"image": fresh["image"][:1, index[0]], "label": fresh.label[:1]})
    found = measured(one, frame)
    assert found["classes_alive"][0] <= 0.3
    assert found["classifier_agreement"][0] < 0.2
    assert found["frechet_distance"][0] > 10 * measured(fresh, frame)["frechet_distance"].max()


def test_it_is_learned_once_and_read_back_the_same(frame, fresh, tmp_path, monkeypatch):
    again = Classifier.fit(frame.real)
    for one, other in zip((*again.weights, *again.biases), (*frame.classifier.weights, *frame.classifier.biases),
                          strict=True):
        np.testing.assert_array_equal(one, other)
    again.save(tmp_path / "c.safetensors")
    read = Classifier.load(tmp_path / "c.safetensors")
    monkeypatch.setattr(Classifier, "fit", lambda rows: pytest.fail("learned again"))
    stored = Frame.freeze(frame.reference, frame.real, rows=300, stored=read)
    for name, values in measured(fresh, stored).items():
        np.testing.assert_array_equal(values, measured(fresh, frame)[name])
    shapes = [w.shape for w in Classifier.blank(fresh.schema).weights]
    assert shapes == [w.shape for w in read.weights]


def test_replicates_do_not_touch_each_other(frame, fresh):
    together = measured(fresh, frame)
    for r in range(2):
        for name, values in measured(fresh.replicate(r).map(np.copy), frame).items():
            assert values[0] == together[name][r], name


def test_a_step_is_the_distance_between_two_samples(frame, fresh):
    one, other = fresh.replicate(0), fresh.replicate(1)
    step = next(Images().step(one, other, frame))
    embed = frame.classifier.embed
    assert (step.metric, step.values[0]) == ("frechet_distance_step", frechet(embed(one), embed(other))[0])
    assert next(Images().step(one, one, frame)).values[0] == pytest.approx(0, abs=1e-6)


def test_images_without_labels_are_seen_by_principal_components(frame, fresh):
    def bare(rows: Rows) -> Rows:
        return Rows(Schema((rows.schema["image"],)), {"image": rows["image"]})

    plain = Frame.freeze(bare(frame.reference), bare(frame.real), rows=300)
    found = measured(bare(fresh), plain)
    assert list(found) == ["frechet_distance"]
    space = plain.space
    expected = frechet(space.project(bare(fresh)), space.project(plain.reference))
    np.testing.assert_allclose(found["frechet_distance"], expected)


@pytest.mark.parametrize("present", [(0, 1), (0, 2), (2,)])
def test_classes_that_reality_lacks_are_never_seen(present):
    schema = Schema((Column("image", "image", shape=(2, 2)),
                     Column("label", "category", ("a", "b", "c"), role="label")))
    g = np.random.default_rng(1)
    label = g.choice(present, (1, 80)).astype(np.int32)
    image = (label[..., None, None] + 0.1 * g.normal(size=(1, 80, 2, 2))).astype(np.float32)
    rule = Classifier.fit(Rows(schema, {"image": image, "label": label}))
    assert rule.embed(Rows(schema, {"image": image, "label": label})).shape == (1, 80, HIDDEN[-1])
    seen = rule.classify(rule.embed(Rows(schema, {"image": image, "label": label})))
    assert set(seen.ravel()) <= set(present)
    assert (seen == label).mean() > 0.9
