"""Neural models on tiny networks: addressed, alone, continued, and refusing in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from test_models import LABELLED, NUMBER, labelled, model, numbers, pictures, plane, words

from collapse import loop
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.pool import Part, Pool
from collapse.registry import find
from collapse.rng import Rng
from collapse.study.parse import parse_study

SMALL = {"width": 16, "steps": 12, "batch": 20}
VAE = {**SMALL, "latent": 2}
LARGE = Schema((Column("image", "image", shape=(13, 14)),))


def strokes(replicates: int, n: int = 30) -> Rows:
    x = np.random.default_rng(7).uniform(size=(replicates, n, 13, 14)).astype(np.float32)
    return Rows(LARGE, {"image": x})


CASES = [
    pytest.param("vae", VAE, pictures, id="vae-images"),
    pytest.param("vae", {**VAE, "sigma": 0.3}, labelled, id="vae-labelled-numbers"),
    pytest.param("vae", {**VAE, "likelihood": "bernoulli"}, strokes, id="vae-conv-odd-size"),
    pytest.param("flow", SMALL, plane, id="flow-plane"),
    pytest.param("flow", SMALL, pictures, id="flow-images"),
]


def outcome(kind: str, settings: dict, rows: Rows) -> dict[str, np.ndarray]:
    m = model(kind, **settings)
    m.check(rows.schema, rows.n)
    parameters = m.fit(rows, Rng(1, "fit"))
    sample = m.sample(parameters, rows.schema, 25, Rng(1, "sample"))
    said = [*m.statistics(parameters, rows.schema, {}, rows.n), *m.inspect(parameters, sample, rows, Rng(1, "look"))]
    learned = {f"parameter {name}": value for name, value in parameters.items()}
    return {**learned, **sample.values, **{s.metric: s.values for s in said}}


@pytest.mark.parametrize(("kind", "settings", "make"), CASES)
def test_a_replicate_is_the_same_to_the_bit_whatever_runs_beside_it_and_before_it(kind, settings, make):
    import torch

    rows = make(3)
    together = outcome(kind, settings, rows)
    torch.manual_seed(5)  # a global generator that somebody else has used
    torch.rand(3)
    alone = outcome(kind, settings, rows.first(1))
    assert alone["image" if "image" in rows.values else rows.schema.names[0]].shape[:2] == (1, 25)
    for name, array in together.items():
        assert np.isfinite(array).all(), name
        np.testing.assert_array_equal(alone[name][0], array[0], err_msg=name)


def test_networks_leave_torchs_global_state_as_it_was():
    import torch

    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    model("vae", **VAE).fit(pictures(1), Rng(1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]


def test_epochs_are_passes_over_the_pool_and_steps_are_not(monkeypatch):
    import torch

    from collapse.models import _neural

    seen: list[int] = []
    monkeypatch.setattr(_neural.Neural, "_refuse_lost", lambda self, losses, a_pass, r: seen.append(len(losses)))
    monkeypatch.setattr(_neural, "STEPS", 9)

    def steps(settings: dict, n: int) -> int:
        model("vae", **{**VAE, "steps": None, "batch": 20, **settings}).fit(pictures(1, n), Rng(1))
        return seen[-1]

    assert steps({"epochs": 2}, 50) == 6
    assert steps({"epochs": 2}, 90) == 10
    assert steps({"steps": 7}, 50) == steps({"steps": 7}, 90) == 7
    assert steps({}, 50) == 9
    x = torch.arange(10.0)[:, None]
    taken = [b[0].ravel().tolist() for b in _neural.Batches(x, None, None, 1, 4, np.random.default_rng(1)).take(5)]
    assert [len(b) for b in taken] == [4, 4, 2, 4, 4]
    assert sorted(x for part in taken[:3] for x in part) == list(range(10))


def test_training_lowers_the_loss_and_the_bound_tells_reality_from_noise():
    rows = pictures(1, 200)
    short, long = (model("vae", latent=2, width=32, steps=s, lr=0.01).fit(rows, Rng(1)) for s in (20, 400))
    m = model("vae", latent=2, width=32)
    noise = Rows(rows.schema, {"image": np.random.default_rng(1).uniform(-1, 1, (1, 200, 4, 4)).astype(np.float32),
                               "label": rows.label})
    real = m.elbo(long, rows, Rng(2))[0]
    assert real > m.elbo(short, rows, Rng(2))[0] + 1
    assert real > m.elbo(long, noise, Rng(2))[0] + 3


def test_the_bound_is_below_the_likelihood_and_near_it_where_it_is_known():
    """Rows are normal, so their entropy is known; a linear path through a latent reaches it."""
    x = np.random.default_rng(3).normal(5, 2, size=(1, 4000, 1))
    rows = Rows(NUMBER, {"x": x[:, :, 0]})
    m = model("vae", latent=1, width=16, steps=800, lr=0.01, batch=200)
    found = m.elbo(m.fit(rows, Rng(1)), rows, Rng(2))[0]
    exact = stats.norm(5, 2).logpdf(x).mean()
    assert exact - 0.1 < found < exact + 0.02


def test_a_vae_of_numbers_has_their_spread():
    """The decoder's noise is drawn too: a normal stays one."""
    rows = numbers(np.random.default_rng(4).normal(-3, 0.5, size=(1, 2000)))
    m = model("vae", latent=1, width=16, steps=500, lr=0.01)
    sample = m.sample(m.fit(rows, Rng(1)), NUMBER, 4000, Rng(2))["x"]
    assert abs(sample.mean() + 3) < 0.06
    assert abs(sample.std() / 0.5 - 1) < 0.12


@pytest.mark.parametrize("kind", ["vae", "flow"])
def test_labels_are_drawn_from_the_shares_of_the_training_set(kind):
    rows = labelled(1, 300)
    m = model(kind, **{**SMALL, "steps": 300, "lr": 0.01}, **({"latent": 2} if kind == "vae" else {}))
    sample = m.sample(m.fit(rows, Rng(1)), rows.schema, 3000, Rng(2))
    np.testing.assert_allclose(np.bincount(sample.label[0]) / 3000, np.bincount(rows.label[0]) / 300, atol=0.04)
    for code in range(3):  # and rows know their class
        mine = sample.label[0] == code
        centre = [sample[name][0][mine].mean() for name in "ab"]
        np.testing.assert_allclose(centre, [10 * (code == 1), 10 * (code == 2)], atol=1.2)


def test_a_flow_carries_noise_to_a_distribution_in_the_plane():
    rows = find("sources", "mixture")(labelled=False).draw(1000, 1, Rng(1))
    m = model("flow", width=64, steps=1200, lr=0.003, batch=256)
    sample = m.sample(m.fit(rows, Rng(2)), rows.schema, 1000, Rng(3))
    radius = np.hypot(sample["x1"], sample["x2"])[0]
    assert abs(np.median(radius) - 2) < 0.15  # eight modes on a ring of radius 2
    assert (radius < 0.8).mean() < 0.05


def test_fewer_solver_steps_are_the_same_field_less_well_followed():
    rows = plane(1, 200)
    coarse, fine, finer = (model("flow", width=32, steps=200, lr=0.01, solver_steps=s) for s in (1, 32, 64))
    learned = coarse.fit(rows, Rng(1))
    a, b, c = (m.sample(learned, rows.schema, 100, Rng(2)).matrix() for m in (coarse, fine, finer))
    assert np.abs(b - c).max() < 0.1 * np.abs(a - c).max()


# ----------------------------------------------------------------------------------------- continue


def test_a_continued_fit_starts_from_the_parents_weights():
    rows = labelled(2)
    still = model("vae", **{**VAE, "steps": 1, "init": "continue"}, lr=1e-12)
    first = still.fit(rows, Rng(1))
    again = still.fit(rows, Rng(2), first)
    fresh = model("vae", **{**VAE, "steps": 1}, lr=1e-12).fit(rows, Rng(2), first)
    for name in (n for n in first if n.endswith(("weight", "bias"))):
        np.testing.assert_allclose(again[name], first[name], atol=1e-6)
    assert not np.allclose(fresh["encoder.0.weight"], first["encoder.0.weight"], atol=1e-3)
    np.testing.assert_array_equal(again["centre"], first["centre"])


def shrunk(rows, times):
    """Rows whose numbers and pixels are so many times smaller."""
    numeric = {column.name for column in rows.schema.numeric}
    return Rows(rows.schema, {c.name: rows[c.name] / times if c.name in numeric else rows[c.name]
                              for c in rows.schema.columns})


@pytest.mark.parametrize("make", [pictures, labelled])
def test_the_first_encoder_is_handed_on_and_measures_every_sample_in_its_own_units(make):
    import torch

    kept, plain = model("vae", **VAE, first_encoder=True), model("vae", **VAE)
    first = kept.fit(make(2), Rng(1))
    second = kept.fit(shrunk(make(2), 4), Rng(2), first)
    third = kept.fit(shrunk(make(2), 16), Rng(3), second)
    carried = {name for name in third if name.startswith("first.")}
    assert "first.encoder.0.weight" in carried and ("first.centre" in carried) is (make is labelled)
    for name in carried:
        np.testing.assert_array_equal(third[name], first[name.removeprefix("first.")])
    alone = plain.fit(shrunk(make(2), 16), Rng(3), second)
    assert set(third) - set(alone) == carried
    for name, value in alone.items():  # it takes no part in training
        np.testing.assert_array_equal(third[name], value)

    sample = kept.sample(third, make(2).schema, 30, Rng(4))
    found = {m.metric: m.values for m in kept.inspect(third, sample, make(1), Rng(5))}
    net = plain.build(sample.schema).to_empty(device="cpu")
    for r, value in enumerate(found["fit_first_encoder_std"]):
        net.load_state_dict({name: torch.from_numpy(first[name][r]) for name in net.state_dict()})
        x, y = sample.replicate(r).matrix()[0], None
        if "centre" in first:
            x = (x - first["centre"][r]) / first["scale"][r]
        if sample.label is not None:
            y = torch.eye(len(sample.schema.label.categories))[sample.label[r].astype(int)]
        means = plain.encode(net, torch.from_numpy(x.astype(np.float32)), y)[0].detach().numpy()
        assert value == pytest.approx(means.std(), rel=1e-5)
    assert "fit_first_encoder_std" not in {m.metric for m in plain.inspect(alone, sample, make(1), Rng(5))}


def test_a_run_in_memory_continues_and_generation_1_is_fresh():
    source, regime = find("sources", "mixture")(), find("regimes", "replace")()
    fresh, continued = (loop.run(source, model("vae", **{**VAE, "init": init}), regime, 40, 3, 2, seed=1)
                        for init in ("fresh", "continue"))
    np.testing.assert_array_equal(fresh["fit_loss"][:, 0], continued["fit_loss"][:, 0])
    assert (fresh["fit_loss"][:, 1:] != continued["fit_loss"][:, 1:]).all()


def test_weights_of_rows_count_in_the_loss():
    """A class whose rows weigh nothing leaves no trace in what is learned of the others."""
    rows = labelled(1, 100)
    part = Part.of(rows, "a", 0, synthetic=False)
    other = Part.of(Rows(LABELLED, {**rows.values, "a": rows["a"] + 50}), "b", 1, synthetic=True)
    m = model("flow", **{**SMALL, "steps": 400, "lr": 0.01})
    pool = Pool.of(part, other.weighted(1e-6))
    sample = m.sample(m.learn(pool, Rng(1)), rows.schema, 500, Rng(2))
    assert (sample["a"] < 25).mean() > 0.9


# ------------------------------------------------------------------------------------------ refusals


def test_steps_and_epochs_are_one_budget():
    with pytest.raises(ValidationError, match="two budgets; keep one"):
        model("vae", steps=10, epochs=2)


REFUSED = [
    ("vae", {"conditional": True}, plane, "conditional is true, and the data has no label; name the label"),
    ("flow", {"conditional": False}, labelled, "conditional is false, and samples must have the data's label 'label'"),
    ("vae", {"latent": 3}, labelled, "model.latent is 3, and a row has 2 numbers; lower it to 2"),
    ("vae", {"latent": 2, "network": "conv"}, pictures, "conv needs an image of 8 × 8 pixels or more"),
    ("vae", {"latent": 2, "network": "conv", "width": 4}, strokes, "model.width is 4, and a convolution needs 8"),
    ("vae", {"latent": 2, "likelihood": "bernoulli"}, labelled, "bernoulli is for pixels, and there is no image"),
    ("vae", {"latent": 2}, words, "word, colour holds categories; leave it out"),
    ("flow", {}, words, "holds categories"),
]


@pytest.mark.parametrize(("kind", "settings", "make", "message"), REFUSED)
def test_refusals_are_one_line(kind, settings, make, message):
    with pytest.raises(InputError) as caught:
        model(kind, **settings).check(make(1).schema, 50)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"latent": 0}, {"width": 0}, {"lr": 0.0}, {"batch": 0}, {"threads": 0},
                                      {"sigma": 0.0}, {"device": "gpu"}])
def test_impossible_settings_are_refused_when_the_study_is_read(settings):
    with pytest.raises(ValidationError):
        model("vae", **settings)


def test_a_gpu_that_is_not_there_is_refused_at_plan_time(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"model\.device is cuda, and torch finds no such GPU here; take cpu or auto"):
        model("vae", latent=2, device="cuda").check(pictures(1).schema, 50)
    model("vae", latent=2, device="auto").check(pictures(1).schema, 50)


def test_a_loss_that_is_no_number_names_step_epoch_and_remedy():
    with pytest.raises(NodeError, match=r"the vae loss is no number at step \d+ \(epoch \d+\) of replicate 0; lower "
                                        r"model\.lr \(it is 1e\+30\)"):
        model("vae", **{**VAE, "steps": 100}, lr=1e30).fit(pictures(2), Rng(1))


def test_rows_that_the_loss_cannot_read_are_refused():
    bad = pictures(1)
    with pytest.raises(NodeError, match=r"bernoulli means 0 to 1; take model\.likelihood: gaussian"):
        model("vae", **VAE, likelihood="bernoulli").fit(bad.map(lambda a: a * 5), Rng(1))
    bad["image"][0, 0] = np.nan
    with pytest.raises(NodeError, match="not finite"):
        model("vae", **VAE).fit(bad, Rng(1))


def test_a_branch_cannot_continue_from_another_network():
    study = {"title": "t", "seed": 1, "source": {"kind": "digits"}, "rows": 50, "generations": 4, "replicates": 1,
             "model": {"kind": "vae", "width": 32}, "gates": {},
             "branches": {"replace": {"regime": "replace"},
                          "fork": {"from": "replace", "at": 2, "regime": "replace",
                                 "model": {"init": "continue", "width": 64}}}}
    with pytest.raises(InputError, match=r"branches\.fork\.model\.init is continue, and 'replace' has a model of"):
        parse_study(study, "s", Path("studies/s.yaml"))
    study["branches"]["fork"]["model"] = {"init": "continue"}
    parse_study(study, "s", Path("studies/s.yaml"))
    study["branches"]["fork"]["model"] = {"first_encoder": True}
    with pytest.raises(InputError, match=r"fork\.model\.first_encoder is true, and 'replace' hands on no such encoder"):
        parse_study(study, "s", Path("studies/s.yaml"))
    study["model"]["first_encoder"] = True
    parse_study(study, "s", Path("studies/s.yaml"))
