"""Stages mean what they say: changes whose name is known, in one to fifteen dimensions, and the rule itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.calibration import Bands, stage
from collapse.metrics import facts, measure_all
from collapse.verdict import MEANINGS, SHOWN, STAGED, STAGES, Sign, _sure, decide, losses, percent, role, verdict
from tests.worlds import changes as bench

ROWS, SEEDS = 400, 3


@pytest.fixture(scope="module")
def settings_of():
    """Return frame and bands of a reality, made once."""
    kept = {}

    def of(name: str):
        if name not in kept:
            kept[name] = bench.setting(name, ROWS)
        return kept[name]

    return of


CASES = [(d, case) for d in (1, 2, 3, 10, 15) for case in bench.cases(d)
         if d in (1, 2) or (d == 10 and case.name == "scale 5") or (d != 10 and case.name in (
             "fresh", "scale 1.5", "scale 0.3", "shift 0.5", "cut at 2 sd", "t3", "1 of 8 modes lost",
             "5 of 8 modes lost", "labels shuffled", "fresh table", "table shifted", "rare categories gone",
             "category shuffled"))]


@pytest.mark.parametrize(("d", "case"), CASES, ids=[f"{case.name}, {d} d" for d, case in CASES])
def test_a_known_change_gets_its_name(d: int, case, settings_of) -> None:
    frame, bands = settings_of(case.real)
    found = [bench.said(case.changed, frame, bands, ROWS, seed)[0] for seed in range(SEEDS)]
    right = [one.stage in case.small for one in found]
    assert sum(right) >= SEEDS - (case.name in ("t3, variance 1", "modes moved")), [one.sentence for one in found]


def test_the_amount_is_said(settings_of) -> None:
    frame, bands = settings_of("normal-1")
    case = {case.name: case for case in bench.cases(1)}
    late = bench.said(case["scale 0.3"].changed, frame, bands, ROWS, 0)[0]
    assert late.sentence.startswith("late collapse: 9 % of control's spread") and 0.08 < late.kept < 0.1
    wide = bench.said(case["scale 2"].changed, frame, bands, ROWS, 0)[0]
    assert "× control's" in wide.sentence and wide.kept > 3
    both = bench.said(case["shift 3, scale 0.3"].changed, frame, bands, ROWS, 0)[0]
    assert both.stage == "late" and both.beside == ("drifted",)
    assert bench.said(case["fresh"].changed, frame, bands, ROWS, 0)[0].sentence == "healthy"


def test_a_small_inner_mode_is_missed_in_four_thousand_rows() -> None:
    case = next(case for case in bench.cases(2) if case.name == "inner 3 % mode lost")
    frame, bands = bench.setting(case.real, 4000)
    found = [bench.said(case.changed, frame, bands, 4000, seed)[0] for seed in range(4)]
    assert [one.stage for one in found] == ["early"] * 4
    assert all("of control's modes" in one.sentence for one in found)


# --------------------------------------------------------------------------------------------- the rule

NAMES = ("variance_ratio", "regions_alive", "tail_kept", "label_agreement", "mean_shift")


def one(**values: float) -> str:
    """Return the stage of values by metric, each with the band [0.9, 1.1] around 1 (mean_shift: [0, 0.1] around 0)."""
    names = list(values)
    low, high, center = ([0.0 if n == "mean_shift" else x for n in names] for x in (0.9, 1.1, 1.0))
    high = [0.1 if n == "mean_shift" else 1.1 for n in names]
    code = decide(names, np.array([[v] for v in values.values()]), np.array(low), np.array(high), np.array(center))
    return STAGES[int(code[0])]


@pytest.mark.parametrize(("values", "name"), [
    ({"variance_ratio": 0.02}, "late"), ({"variance_ratio": 0.85}, "early"), ({"variance_ratio": 2.4}, "distorted"),
    ({"variance_ratio": 0.4, "tail_kept": 3.0}, "late"), ({"variance_ratio": 0.6, "tail_kept": 1.2}, "early"),
    ({"variance_ratio": 0.8, "tail_kept": 3.0}, "distorted"), ({"regions_alive": 0.3}, "late"),
    ({"regions_alive": 0.4, "variance_ratio": 3.0}, "distorted"), ({"regions_alive": 0.97}, "healthy"),
    ({"regions_alive": 0.8, "variance_ratio": 1.2}, "early"), ({"tail_kept": 0.0}, "early"),
    ({"tail_kept": 1.5, "label_agreement": 0.2}, "distorted"), ({"tail_kept": 0.5, "label_agreement": 0.2}, "early"),
    ({"label_agreement": 0.2}, "distorted"), ({"mean_shift": 0.3}, "drifted"),
    ({"mean_shift": 0.3, "tail_kept": 0.5}, "early"), ({"variance_ratio": np.nan}, "late"),
    ({"variance_ratio": 1.0, "mean_shift": 0.05}, "healthy"),
])
def test_the_rule(values: dict[str, float], name: str) -> None:
    assert one(**values) == name


def test_certain_and_small_is_never_late() -> None:
    band = {"low": np.array([0.999]), "high": np.array([1.001]), "center": np.array([1.0])}
    assert STAGES[int(decide(["variance_ratio"], np.array([0.98]), **band))] == "early"
    assert STAGES[int(decide(["variance_ratio"], np.array([0.98]), **band, late=0.99))] == "late"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=5, max_size=5))
def test_one_node_and_many_cells_are_decided_alike(values: list[float]) -> None:
    """The words on one node and the stages of many cells come from one rule; loss is seen whatever the stage."""
    low, high, center = np.full(5, 0.9), np.full(5, 1.1), np.ones(5)
    x = np.array(values)
    signs = [Sign(n, "", v, 0.9, 1.1, 1.0, role(n, "", "below" if v < 0.9 else "above"))
             for n, v in zip(NAMES, values, strict=True) if not 0.9 <= v <= 1.1]
    found = verdict([sign for sign in signs if sign.role])
    many = decide(NAMES, np.stack([x, x], axis=1), low, high, center)
    assert [STAGES[code] for code in many] == [found.stage] * 2
    assert bool(losses(NAMES, x[:, None], low, high, center)[0]) == any("lost" in sign.role for sign in _sure(signs))
    assert found.stage not in found.beside


def test_a_part_is_never_late() -> None:
    gone = Sign("entropy_power", "x1", 0.0, 0.9, 1.1, 1.0, "spread lost", -9.0)
    assert verdict([gone]).stage == "early"
    assert verdict([gone]).amount == "0 % of control's spread in x1"


def test_a_part_that_has_lost_most_of_its_spread_is_said_before_more_tails_and_after_more_spread() -> None:
    gone = Sign("entropy_power", "x1", 0.1, 0.9, 1.1, 1.0, "spread lost", -9.0)
    less = Sign("entropy_power", "x1", 0.7, 0.9, 1.1, 1.0, "spread lost", -9.0)
    tails = Sign("tail_kept", "", 2.0, 0.9, 1.1, 1.0, "gained", 9.0)
    wider = Sign("variance_ratio", "", 2.0, 0.9, 1.1, 1.0, "gained", 9.0)
    little = Sign("tail_kept", "", 0.6, 0.9, 1.1, 1.0, "tails lost", -9.0)
    found = verdict([gone, tails])
    assert (found.stage, found.amount) == ("early", "10 % of control's spread in x1") and "distorted" in found.beside
    assert verdict([gone, little]).amount == "10 % of control's spread in x1"
    assert verdict([less, little]).amount == "60 % of control's tails"
    assert verdict([less, tails]).stage == verdict([gone, wider]).stage == "distorted"


def test_a_cap_is_a_loss_and_one_value_by_itself_another_shape() -> None:
    atom = Sign("atom_share", "", 0.05, 0.0, 0.01, 0.0, "changed", 9.0)
    edge = Sign("tail_kept", "x:high", 0.0, 1.0, np.inf, 1.0, "tails lost", -37.0)
    assert verdict([atom]).stage == "distorted"
    assert verdict([atom, edge]).stage == "early"


def test_what_decides_does_not_depend_on_the_place(settings_of) -> None:
    """Moved by a hundred standard deviations a sample has all it had, but for the two that speak of the place."""
    frame, _ = settings_of("normal-2")
    rows = bench.rows(bench.reality("normal-2"), np.random.default_rng(3), ROWS, 2)
    near, far = ({m.metric: m.values for m in measure_all(rows.map(lambda x, by=by: x + by), None, frame)
                  if not m.feature} for by in (0.0, 100.0))
    for name in STAGED:
        if name in near and role(name, "", "above") != "moved":
            assert far[name] == pytest.approx(near[name], abs=0.1), name


def test_every_role_is_a_known_one_and_every_stage_has_words() -> None:
    known = facts()
    assert set(STAGES) <= set(MEANINGS) <= set(SHOWN)
    assert all(name in known for name in STAGED)
    assert all(role(name, "", "below") or role(name, "", "above") for name in STAGED)


def test_shares_are_printed_without_false_precision() -> None:
    assert [percent(x) for x in (0.814, 0.02, 0.003, 0.0, 0.9996, -0.1)] == ["81 %", "2 %", "0.3 %", "0 %", "99.9 %",
                                                                             "0 %"]


def test_a_dead_replicate_counts_as_lost(settings_of) -> None:
    _, bands = settings_of("normal-1")
    assert isinstance(bands, Bands)
    values = {"variance_ratio": np.array([1.0, np.nan, np.nan, np.nan, 1.0])}
    found, alone = stage(values, bands, 10, "real")
    assert found.stage == "late" and alone == ["healthy", "late", "late", "late", "healthy"]
