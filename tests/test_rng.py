"""Addressed randomness: the address alone decides a draw."""

from __future__ import annotations

import numpy as np
import pytest

from collapse.rng import BLOCK, Rng


@pytest.mark.parametrize("draw", [
    lambda rng, r: rng.normal((r, 7)),
    lambda rng, r: rng.uniform((r, 7)),
    lambda rng, r: rng.integers(50, (r, 7)),
    lambda rng, r: rng.choice(20, 7, r),
])
def test_a_longer_run_begins_with_the_shorter_one(draw):
    rng = Rng(1, "s", 3)
    assert np.array_equal(draw(rng, BLOCK + 10)[:BLOCK + 3], draw(rng, BLOCK + 3))


def test_addresses_differ_and_repeat():
    assert np.array_equal(Rng(1, "s", 3).normal((2, 5)), Rng(1, "s", 3).normal((2, 5)))
    draws = [Rng(*a).normal((1, 1))[0, 0] for a in [(1, "s", 3), (2, "s", 3), (1, "t", 3), (1, "s", 4), (1, "s3", "")]]
    assert len(set(draws)) == len(draws)


def test_replicates_are_independent():
    x = Rng(1, "s", 1).normal((2000, 50))
    correlation = np.corrcoef(x[:40])
    assert np.abs(correlation - np.eye(40)).max() < 0.7
    assert abs(x.mean()) < 4 / np.sqrt(x.size)


def test_choice_is_without_replacement_and_uniform():
    x = Rng(1, "s", 1).choice(10, 4, 4000)
    assert all(len(set(row)) == 4 for row in x)
    counts = np.bincount(x.ravel(), minlength=10)
    assert np.abs(counts - 1600).max() < 5 * np.sqrt(1600 * 0.6)
