"""What a pool is made of: shares and depths by hand, from manifests alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collapse.lineage.makeup import Makeup, makeup


def part(origin, rows, content=None, **more):
    """A part as manifests have it, of rows in all replicates together."""
    kind = "real" if origin == "s-real" else "synthetic"
    return {"origin": origin, "kind": kind, "rows": rows, "content": content or f"hash of {origin}", **more}


def manifest(node, *parts, replicates=2, **more):
    return {"node": node, "replicates": replicates, "parts": list(parts), **more}


def walk(*manifests):
    """The makeup of manifests each of which was trained on the whole pool before it."""
    return makeup(manifests, [[], *(one["parts"] for one in manifests[:-1])])


def test_each_generation_under_replace_is_one_model_further_from_reality():
    found = walk(manifest("s-real", part("s-real", 80)), *(
        manifest(f"s-a-{t:02d}", part(f"s-a-{t:02d}", 80)) for t in (1, 2, 3)))
    assert [one.depth for one in found] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert [one.real_share for one in found] == [1, 0, 0, 0]
    assert [(one.real, one.synthetic) for one in found] == [(80, 0), *[(0, 80)] * 3]
    assert [one.effective for one in found] == pytest.approx([(1 - 1 / 40) ** t for t in (1, 2, 3, 4)])


def test_depth_is_a_mean_over_rows_and_not_over_parts():
    real, one, two, three = part("s-real", 60), part("s-a-01", 20), part("s-a-02", 40), part("s-a-03", 10)
    found = walk(manifest("s-real", real), manifest("s-a-01", real, one), manifest("s-a-02", real, one, two),
                 manifest("s-a-03", real, one, two, three))
    second = 1 + (20 * 1) / 80
    third = 1 + (20 * 1 + 40 * second) / 120
    assert found[1].depth == (pytest.approx(0.25), 1) and found[1].real_share == 0.75
    assert found[2].depth == (pytest.approx((20 + 40 * second) / 120), 2) and found[2].real_share == 0.5
    assert found[3].depth == (pytest.approx((20 + 40 * second + 10 * third) / 130), 3)
    assert found[3].depths["s-a-03"] == (10, pytest.approx(third), 3) and found[3].depths["s-real"] == (60, 0, 0)


def test_the_effective_share_under_accumulate_is_the_known_product():
    parts = [part("s-real", 80), *(part(f"s-a-{t:02d}", 80) for t in (1, 2, 3))]
    found = walk(*(manifest(parts[t]["origin"], *parts[: t + 1]) for t in range(4)))
    products = np.cumprod([1 - 1 / (40 * j**2) for j in (1, 2, 3, 4)])
    assert [one.effective for one in found] == pytest.approx(products)


def test_only_drawn_rows_count_and_a_draw_has_less_diversity_than_its_pool():
    real, one = part("s-real", 80), part("s-a-01", 80)
    drawn = manifest("s-a-01", real | {"drawn": 30}, one | {"drawn": 10}, draw={"rows": 20})
    found = walk(manifest("s-real", real), drawn)[1]
    assert (found.real, found.synthetic, found.real_share) == (30, 10, 0.75)
    assert found.depth == (0.25, 1)
    # of the pairs of rows in a pool of 40 real and 40 of their model those that are of different real rows
    assert found.effective == pytest.approx((1 - 1 / 20) * 39 * 159 / (80 * 79))


def test_fresh_real_rows_are_not_those_of_the_first_pool():
    first, fresh, one = part("s-real", 80), part("s-real", 40, "hash of others"), part("s-a-01", 40)
    found = walk(manifest("s-real", first), manifest("s-a-01", fresh, one))[1]
    # pairs among 20 fresh rows, between them and 20 rows of the model, and among these
    pairs = 20 * 19 + 2 * 20 * 20 + 20 * 19 * (1 - 1 / 40)
    assert found.effective == pytest.approx(pairs / 40**2) and found.real_share == 0.5


def test_a_part_whose_maker_is_not_on_the_way_has_no_known_depth():
    found = walk(manifest("s-real", part("s-real", 40), part("other-03", 40)))[0]
    mean, greatest = found.depth
    assert math.isnan(mean) and greatest == 0 and found.real_share == 0.5
    assert found.depths["other-03"][2] == 0


def test_a_depth_in_a_record_may_be_a_mean_and_the_greatest_is_not_below_it():
    start = manifest("s-real", part("s-real", 40), provenance={"says": {"depth": 1.5}})
    found = walk(start, manifest("s-a-01", part("s-a-01", 40)))
    assert found[0].depth == (1.5, 2) and found[0].real_share == 1
    assert found[1].depth == (2.5, 3)


def test_a_pool_of_nothing_is_of_nothing():
    nothing = Makeup(0, 0, {}, None)
    assert nothing.real_share is None and nothing.depth == (0, 0)
    assert Makeup(0, 5, {"a": (5, 1.0, 1), "left out": (0, 9.0, 9)}, None).depth == (1, 1)
    found = walk(manifest("s-real", part("s-real", 80)), manifest("s-a-01"))
    assert found[1].real_share is None and [one.effective for one in found] == [None, None]
