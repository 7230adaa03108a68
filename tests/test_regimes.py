"""Regimes are pool-update rules: each does what its definition says, whatever the numbers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.pool import Part, Pool, RealData
from collapse.regimes.accumulate import Accumulate
from collapse.regimes.anchor import Anchor
from collapse.regimes.base import Regime
from collapse.regimes.control import Control
from collapse.regimes.poisoned import Poisoned
from collapse.regimes.redraw import Redraw
from collapse.regimes.refresh import Refresh
from collapse.regimes.replace import Replace
from collapse.regimes.reservoir import Reservoir
from collapse.regimes.subsample import Subsample
from collapse.regimes.weighted import Weighted, golden
from collapse.regimes.window import Window
from collapse.rng import Rng

SCHEMA = Schema((Column("x", "number"),))
N, R = 20, 3


def part(origin: str, generation: int, start: float, n: int = N, replicates: int = R) -> Part:
    """Rows whose values are all different, so that a row can be told by its value."""
    x = start + np.arange(replicates * n, dtype=float).reshape(replicates, n)
    return Part.of(Rows(SCHEMA, {"x": x}), origin, generation, synthetic=generation > 0)


def real_data() -> RealData:
    bank = Rows(SCHEMA, {"x": 1e6 + np.arange(200, dtype=float)[None]})
    return RealData.from_bank("s-real", part("s-real", 0, 0.0), bank)


def walk(regime: Regime, generations: int) -> list[Pool]:
    real = real_data()
    pools = [Pool.of(real.first)]
    for t in range(1, generations + 1):
        sample = part(f"s-b-{t:02d}", t, 1000.0 * t)
        pools.append(regime.next_pool(pools[-1], sample, real, Rng(1, "s", t).at("regime")))
    return pools


def origins(pool: Pool) -> list[str]:
    return [part.origin for part in pool.parts]


@given(st.integers(1, 8))
def test_accumulate_never_loses_a_part(generations):
    for before, after in zip(walk(Accumulate(), generations), walk(Accumulate(), generations)[1:], strict=False):
        assert origins(after)[:-1] == origins(before)
    assert walk(Accumulate(), generations)[-1].rows().n == N * (generations + 1)


@given(st.integers(1, 8))
def test_replace_keeps_exactly_the_newest_part(generations):
    assert origins(walk(Replace(), generations)[-1]) == [f"s-b-{generations:02d}"]


@given(st.integers(1, 5), st.integers(1, 8))
def test_window_keeps_the_newest_k_parts(k, generations):
    everything = origins(walk(Accumulate(), generations)[-1])
    assert origins(walk(Window(k=k), generations)[-1]) == everything[-k:]


def test_window_of_one_is_replace():
    assert origins(walk(Window(k=1), 4)[-1]) == origins(walk(Replace(), 4)[-1])


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([Subsample, Reservoir]), st.integers(1, 8), st.sampled_from([None, 5, 20, 33]))
def test_a_budget_is_kept_in_every_replicate(regime, generations, budget):
    for t, pool in enumerate(walk(regime(budget=budget), generations)[1:], start=1):
        assert pool.seen == N * (t + 1)
        rows = pool.rows()
        assert rows.n == min(budget or N, N * (t + 1))
        for r in range(R):
            assert len(set(rows["x"][r])) == rows.n


@given(st.integers(1, 8), st.sampled_from([None, 5, 33]))
def test_subsample_never_loses_a_part_and_trains_on_rows_of_its_own_replicate(generations, budget):
    whole, drawn = walk(Accumulate(), generations), walk(Subsample(budget=budget), generations)
    for before, after in zip(whole, drawn, strict=True):
        assert origins(after) == origins(before) and after.seen == before.seen
        assert all(a.values["x"] is b.values["x"] or np.array_equal(a.values["x"], b.values["x"])
                   for a, b in zip(after.parts, before.parts, strict=True))
        for own, all_of_them in zip(after.rows()["x"], before.rows()["x"], strict=True):
            assert set(own) <= set(all_of_them)


def test_what_subsample_leaves_out_can_come_back_and_what_the_reservoir_does_cannot():
    drawn = [[set(row) for row in pool.rows()["x"]] for pool in walk(Subsample(), 12)]
    kept = [[set(row) for row in pool.rows()["x"]] for pool in walk(Reservoir(), 12)]
    back = {"drawn": 0, "kept": 0}
    for name, pools in (("drawn", drawn), ("kept", kept)):
        for r in range(R):
            gone: set[float] = set()
            for before, after in pairwise(pools):
                gone |= before[r] - after[r]
                back[name] += len(gone & after[r])
    assert back["kept"] == 0 and back["drawn"] > 20


@pytest.mark.parametrize("regime", [Subsample(), Reservoir()])
def test_a_budget_is_a_uniform_draw_from_all_of_history(regime):
    """After t generations each of the t + 1 parts holds the same share of the budget on average."""
    generations, replicates = 4, 600
    real = part("s-real", 0, 0.0, replicates=replicates)
    pool = Pool.of(real)
    data = RealData("s-real", real, lambda n, r, rng: real.rows(), exact=True)
    for t in range(1, generations + 1):
        sample = part(f"s-b-{t:02d}", t, 1e6 * t, replicates=replicates)
        pool = regime.next_pool(pool, sample, data, Rng(3, "s", t).at("regime"))
    shares = np.array([part.n / N for part in pool.training.parts])
    # a hypergeometric count of mean 4 among 20 has standard deviation below 1.6
    assert np.abs(shares - 1 / (generations + 1)).max() < 4 * 1.6 / N / np.sqrt(replicates)


def test_a_draw_is_made_anew_without_a_sample_in_quarantine():
    pool = walk(Subsample(budget=30), 3)[-1]
    less = pool.without("s-b-03", N)
    assert origins(less) == ["s-real", "s-b-01", "s-b-02"] and less.seen == 3 * N
    assert less.rows().n == 30 and (less.rows()["x"] < 3000).all()
    first = walk(Subsample(budget=30), 1)[-1].without("s-b-01", N)
    assert np.array_equal(first.rows()["x"], first.parts[0].rows()["x"])  # fewer rows than the budget: all of them
    assert Pool.of(part("s-b-01", 1, 0.0)).without("s-b-01", N).parts == ()


def test_what_is_in_quarantine_was_never_seen():
    """A reservoir takes a row with the chance of its budget over all rows seen: those of a bad sample are none."""
    for regime in (Reservoir(), Subsample(), Reservoir(budget=10)):
        pool = walk(regime, 3)[-1]
        assert (pool.seen, pool.without("s-b-03", N).seen) == (4 * N, 3 * N)


def test_a_reservoir_without_a_sample_keeps_as_many_rows_in_every_replicate():
    """Replicates hold different numbers of its rows, and are not mixed when these are taken out."""
    pool = walk(Reservoir(), 3)[-1]
    less = pool.without("s-b-03", N)
    counts = [sum(int(part.counts[r]) for part in pool.parts[:-1]) for r in range(R)]
    assert pool.parts[-1].origin == "s-b-03" and len(set(counts)) > 1
    for r, row in enumerate(less.rows()["x"]):
        assert len(row) == min(counts) and set(row) <= set(pool.rows()["x"][r])


def test_rows_that_were_weighted_count_alike_in_a_budget():
    real = real_data()
    before = Pool.of(real.first.weighted(3.0))
    for regime in (Subsample(), Reservoir()):
        pool = regime.next_pool(before, part("s-b-01", 1, 1e3), real, Rng(1, "s", 1))
        assert pool.rows().weights is None and {part.weight for part in pool.parts} == {1.0}


def test_anchor_keeps_the_same_real_rows():
    pools = walk(Anchor(real=0.25), 4)
    kept = [pool.parts[0].rows()["x"] for pool in pools[1:]]
    assert all(np.array_equal(kept[0], rows) for rows in kept)
    assert kept[0].shape == (R, 5)
    assert all(pool.rows().n == N for pool in pools)


def test_redraw_draws_from_the_first_pool_anew():
    pools = walk(Redraw(real=0.25), 4)
    first = pools[0].rows()["x"]
    kept = [pool.parts[0].rows()["x"] for pool in pools[1:]]
    assert all(set(rows[r]) <= set(first[r]) for rows in kept for r in range(R))
    assert any(not np.array_equal(np.sort(kept[0]), np.sort(rows)) for rows in kept[1:])


@pytest.mark.parametrize(("regime", "fresh"), [(Refresh(real=0.25), 5), (Control(), N)])
def test_fresh_rows_come_from_the_bank_without_repeats_in_a_generation(regime, fresh):
    pools = walk(regime, 3)
    drawn = [pool.parts[0].rows()["x"] for pool in pools[1:]]
    assert all(rows.shape == (R, fresh) and rows.min() >= 1e6 for rows in drawn)
    assert all(len(set(rows[r])) == fresh for rows in drawn for r in range(R))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0][0], drawn[0][1])


def test_control_never_trains_on_a_sample():
    assert all(origins(pool) == ["s-real"] for pool in walk(Control(), 4))


def test_replicates_are_independent_of_their_number():
    for regime in (Subsample(), Reservoir(), Redraw(real=0.5), Refresh(real=0.5)):
        few, many = [], []
        for replicates, found in ((2, few), (5, many)):
            bank = Rows(SCHEMA, {"x": 1e6 + np.arange(200, dtype=float)[None]})
            first = Rows(SCHEMA, {"x": np.arange(5 * N, dtype=float).reshape(5, N)[:replicates]})
            real = RealData.from_bank("s-real", Part.of(first, "s-real", 0, synthetic=False), bank)
            sample = Rows(SCHEMA, {"x": 1e3 + np.arange(5 * N, dtype=float).reshape(5, N)[:replicates]})
            new = Part.of(sample, "s-b-01", 1, synthetic=True)
            found.append(regime.next_pool(Pool.of(real.first), new, real, Rng(1, "s", 1)).rows()["x"])
        assert np.array_equal(few[0], many[0][:2])


EVERY = [Accumulate(), Anchor(real=0.25), Control(), Redraw(real=0.25), Refresh(real=0.25), Replace(), Reservoir(),
         Subsample(), Weighted(real=0.25, n_real=7), Window(k=2)]


@pytest.mark.parametrize("regime", EVERY, ids=lambda regime: regime.kind)
def test_a_regime_says_how_many_fresh_rows_it_takes(regime):
    taken = []

    def draw(n: int, replicates: int, rng: Rng) -> Rows:
        taken.append(n)
        return Rows(SCHEMA, {"x": np.zeros((replicates, n))})

    real = RealData("s-real", part("s-real", 0, 0.0), draw, exact=True)
    regime.next_pool(Pool.of(real.first), part("s-b-01", 1, 1e3), real, Rng(1, "s", 1))
    assert sum(taken) == regime.real_rows(N) and bool(taken) == regime.fresh


@pytest.mark.parametrize("regime", EVERY, ids=lambda regime: regime.kind)
def test_a_regime_says_whether_it_takes_parts_as_they_come(regime):
    def unread() -> dict[str, np.ndarray]:
        raise AssertionError("rows were read")

    def rowless(n: int) -> Part:
        return replace(part("s-b-01", 1, 1e3, n), load=unread, whole=None, redraw=rowless)

    real = replace(real_data(), draw=lambda n, r, rng: Rows(SCHEMA, {"x": np.zeros((r, n))}))
    pool = regime.next_pool(Pool.of(real.first), rowless(N), real, Rng(1, "s", 1))
    whole = [part for part in pool.parts if part.whole is not None or part.redraw is not None]
    assert regime.rows_free == (len(whole) == len(pool.parts) and pool.draw is None)


@pytest.mark.parametrize("kept", [Anchor, Redraw, Refresh])
def test_a_mixture_keeps_at_least_one_real_and_one_synthetic_row(kept):
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="than"):
            kept(real=share)
    for share, rows in ((0.1, 10), (0.9, 10), (0.04, 20)):
        kept(real=share).check(None, rows)
    for share, rounded in ((0.04, 0), (0.96, 10)):
        with pytest.raises(InputError, match=f"of 10 rows, which rounds to {rounded}; keep at least one"):
            kept(real=share).check(None, 10)


@pytest.mark.parametrize(("regime", "key"), [(Window, "k"), (Subsample, "budget"), (Reservoir, "budget"),
                                             (Weighted, "n_real"), (Weighted, "n_synth")])
def test_a_number_of_rows_or_parts_is_one_or_more(regime, key):
    more = {"real": 0.5} if regime is Weighted else {}
    assert getattr(regime(**{key: 1}, **more), key) == 1
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        regime(**{key: 0}, **more)


def test_weights_are_what_they_are_of_the_whole_and_rows_count_as_many_as_they_are():
    for regime, rows, share in ((Weighted(real=0.2), (N, N), 0.2),
                                (Weighted(real=0.2, n_real=5, n_synth=8), (5, 8), 0.2),
                                (Weighted(real="golden", n_real=5), (5, N), golden(5 / N))):
        real, sample = walk(regime, 1)[-1].parts
        assert (real.n, sample.n) == rows and (real.synthetic, sample.synthetic) == (False, True)
        assert real.n * real.weight == pytest.approx(share * sum(rows))
        assert sample.n * sample.weight == pytest.approx((1 - share) * sum(rows))
        assert regime.stated(N) == {"n_real": rows[0], "n_synth": rows[1], "weight": pytest.approx(share)}
    assert golden(1) == pytest.approx((np.sqrt(5) - 1) / 2) and golden(4) == pytest.approx(2 * np.sqrt(2) - 2)


def test_weights_are_refused_where_they_cannot_be_given_or_would_be_the_wrong_ones():
    model = SimpleNamespace(kind="vae", weighs=False)
    with pytest.raises(InputError, match="model kind vae cannot weigh its rows"):
        Weighted(real=0.5).check(model, N)
    model.weighs = True
    Weighted(real=0.5).check(model, N)
    Weighted(real=0.5, n_synth=N).check(model, N)
    with pytest.raises(InputError, match=f"n_synth is {N + 1}, more than the {N} rows"):
        Weighted(real=0.5, n_synth=N + 1).check(model, N)
    with pytest.raises(InputError, match="golden is the best weight for the mean of a known variance"):
        Weighted(real="golden").check(model, N)
    Weighted(real="golden", heuristic=True).check(model, N)
    model.variance = 1.0
    Weighted(real="golden").check(model, N)


# ------------------------------------------------------------------------------------------- poison


LABELLED = Schema((Column("x", "number"), Column("label", "category", ("a", "b", "c"), role="label")))


def labelled(origin: str, generation: int, replicates: int = R) -> Part:
    label = np.tile(np.arange(N, dtype=np.int32) % 3, (replicates, 1))
    x = 1000.0 * generation + np.arange(replicates * N, dtype=float).reshape(replicates, N)
    return Part.of(Rows(LABELLED, {"x": x, "label": label}), origin, generation, synthetic=generation > 0)


def step(regime: Regime, generation: int, replicates: int = R) -> tuple[Part, Pool]:
    real = RealData("s-real", labelled("s-real", 0, replicates), lambda n, r, rng: None, exact=True)
    sample = labelled(f"s-b-{generation:02d}", generation, replicates)
    return sample, regime.next_pool(Pool.of(real.first), sample, real, Rng(1, "s", generation).at("regime"))


@given(share=st.floats(0.05, 1.0), was=st.sampled_from([None, "a", "c"]))
def test_poison_is_planted_in_its_share_of_one_generation_and_nowhere_else(share, was):
    regime = Poisoned(of="accumulate", when=2, share=share, becomes="b", was=was)
    for generation in (1, 2, 3):
        sample, pool = step(regime, generation)
        before, after = sample.rows()["label"], pool.parts[-1].rows()["label"]
        assert np.array_equal(pool.parts[-1].rows()["x"], sample.rows()["x"])
        assert np.array_equal(pool.parts[0].rows()["label"], labelled("s-real", 0).rows()["label"])
        if generation != 2:
            assert np.array_equal(before, after)
            continue
        meant = np.ones_like(before, bool) if was is None else before == "abc".index(was)
        assert np.array_equal(before[~meant], after[~meant]) and (after[before != after] == 1).all()
        if was is not None:
            assert ((before != after).sum(axis=1) == np.rint(share * meant.sum(axis=1))).all()
        elif share == 1:
            assert (after == 1).all()


def test_poison_is_addressed_and_independent_of_the_number_of_replicates():
    regime = Poisoned(of="accumulate", when=2, share=0.5, becomes="b")
    few, many = step(regime, 2)[1].parts[-1].rows()["label"], step(regime, 2, 5)[1].parts[-1].rows()["label"]
    assert np.array_equal(few, many[:R]) and not np.array_equal(few[0], few[1])


@pytest.mark.parametrize("of", ["replace", {"regime": "anchor", "real": 0.25}, {"regime": "reservoir", "budget": 15},
                                {"regime": "subsample", "budget": 15}])
def test_poison_draws_what_the_inner_regime_would_draw_alone(of):
    wrapped = Poisoned(of=of, when=2, share=0.5, becomes="b")
    (_, alone), (_, inside) = step(wrapped.inner, 2), step(wrapped, 2)
    assert origins(alone) == origins(inside)
    for a, b in zip(alone.parts, inside.parts, strict=True):
        assert np.array_equal(a.values["x"], b.values["x"])
    assert getattr(wrapped, "real", None) == getattr(wrapped.inner, "real", None)
    assert (wrapped.fresh, wrapped.real_rows(20)) == (wrapped.inner.fresh, wrapped.inner.real_rows(20))


@pytest.mark.parametrize(("settings", "words"), [
    ({"of": "acumulate"}, "did you mean 'accumulate'"), ({"of": "poisoned"}, "a regime other than poisoned"),
    ({"of": {"regime": "anchor"}}, "real: Field required"), ({"share": 0.0}, "greater than 0"),
    ({"of": {"regime": "anchor", "reel": 0.1}}, "real: Field required"), ({"share": 1.01}, "less than or equal to 1"),
    ({"when": 0}, "greater than or equal to 1")])
def test_poison_that_cannot_be_planted_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Poisoned(**{"of": "accumulate", "when": 2, "share": 0.5, "becomes": "b", **settings})


def test_poison_needs_a_column_and_categories_that_are_there():
    for change, words in (({"becomes": "d"}, "becomes: 'd' is no category of 'label'"),
                          ({"column": "lable"}, "did you"), ({"was": 7}, "was: '7' is no category")):
        with pytest.raises(InputError, match=words):
            Poisoned(**{"of": "accumulate", "when": 2, "share": 0.5, "becomes": "b", **change}).admits(LABELLED)
    with pytest.raises(InputError, match="no label"):
        Poisoned(of="accumulate", when=2, share=0.5, becomes="b").admits(SCHEMA)
