"""Loop gain: Fieller's interval against its own definition, coverage, and loops whose gain is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from collapse.claims.gain import loop_gain, ratio
from collapse.loop import run
from collapse.models.categorical import Categorical
from collapse.regimes.replace import Replace
from collapse.rng import Rng
from collapse.sources.zipf import Zipf


def loops(address: str, gain: float, replicates: int, generations: int = 8, start: float = 1.0) -> np.ndarray:
    """Return x_t = gain · x_{t−1} + noise, (T, R): the mean of x_t is start · gain^t."""
    noise = Rng("gain", address).normal((generations, replicates))
    x = [start + 0.5 * noise[0]]
    for t in range(1, generations):
        x.append(gain * x[-1] + 0.3 * noise[t])
    return np.stack(x)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.2])
def test_without_noise_the_gain_is_the_factor(gain: float) -> None:
    values = 0.3 + 0.1 * gain ** np.arange(6)[:, None] * np.ones(4)
    found = loop_gain(values, truth=0.3)
    assert [found.low, found.estimate, found.high] == pytest.approx([gain] * 3)
    assert found.steps == pytest.approx([gain] * 5)
    assert found.bias == pytest.approx(0.1 * gain ** np.arange(6))
    assert [found.total_low, found.total, found.total_high] == pytest.approx([gain**5] * 3)


def test_the_mean_is_per_generation_over_a_gap() -> None:
    generations = np.array([2, 3, 7])
    values = 0.9 ** generations[:, None] * np.ones(3)
    found = loop_gain(values, generations=generations)
    assert found.estimate == pytest.approx(0.9)
    assert found.steps == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("replicates", [4, 30])
def test_the_ends_are_where_the_paired_t_test_gives_5_percent(replicates: int) -> None:
    x = loops("ends", 0.8, replicates, 2, start=2.0)
    value, low, high = ratio(x[1], x[0])
    assert value == pytest.approx(x[1].mean() / x[0].mean())
    assert low < value < high
    for end in (low, high):
        assert stats.ttest_1samp(x[1] - end * x[0], 0).pvalue == pytest.approx(0.05, rel=1e-6)


def test_pairing_counts() -> None:
    """What two generations share cancels: unpaired, the interval of the ratio would be ten times as wide."""
    shared = Rng("gain", "shared").normal((50,)) + 3
    value, low, high = ratio(shared + 0.01 * Rng("gain", "own").normal((50,)), shared)
    error = np.sqrt(2) * shared.std(ddof=1) / np.sqrt(50) / shared.mean()
    assert low < 1 < high and value == pytest.approx(1, abs=0.01)
    assert high - low < 0.1 * 2 * 1.96 * error


@pytest.mark.parametrize(("gain", "replicates"), [(0.5, 20), (1.0, 6), (1.0, 100), (1.1, 20)])
def test_the_interval_covers_the_gain_in_95_percent(gain: float, replicates: int) -> None:
    many = loops(f"cover {gain} {replicates}", gain, replicates * 600).reshape(8, 600, replicates)
    found = [loop_gain(many[:, i]) for i in range(600)]
    hit = np.mean([g.low <= gain <= g.high for g in found])
    assert abs(hit - 0.95) < 4 * np.sqrt(0.05 * 0.95 / 600)


def test_the_interval_is_of_the_level_that_is_asked_for() -> None:
    x = loops("level", 0.8, 30, 2, start=2.0)
    found = loop_gain(x, level=0.9)
    assert stats.ttest_1samp(x[1] - found.total_high * x[0], 0).pvalue == pytest.approx(0.1, rel=1e-6)
    wide = loop_gain(x)
    assert wide.low < found.low < found.high < wide.high
    assert wide.bias_low[0] < found.bias_low[0]


def test_the_bias_of_a_generation_has_students_interval() -> None:
    x = loops("bias", 0.8, 30, 4, start=2.0)
    found = loop_gain(x, truth=0.5, level=0.9)
    for t in range(4):
        expected = stats.t.interval(0.9, 29, x[t].mean() - 0.5, stats.sem(x[t]))
        assert (found.bias_low[t], found.bias_high[t]) == pytest.approx(expected)


def test_no_bias_has_no_gain() -> None:
    found = loop_gain(loops("none", 1.0, 50, start=0.0))
    assert found.bias_low[0] < 0 < found.bias_high[0]
    assert not found.bounded and (found.total_low, found.total_high) == (-np.inf, np.inf)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert found.plain()["low"] is None and found.plain()["high"] is None
    json.dumps(found.plain(), allow_nan=False)


def test_a_bias_that_turns_round_has_gain_0_and_is_corrected() -> None:
    found = loop_gain(np.array([[1.0, 1.1, 0.9], [-0.5, -0.55, -0.5], [-0.3, -0.3, -0.4]]))
    assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.total_high < 0
    assert found.steps[0] < 0 < found.steps[1]


def planted(temperature: float, real: float, replicates: int = 400) -> np.ndarray:
    """Return the share of w005 (T, R) in a loop whose first sample drew it twice as often as it should.

    From then on a share ``real`` of every training set is fresh real rows, as statistics.
    """
    source, n, rng = Zipf(categories=30), 2000, Rng("gain", "planted", temperature, real)
    schema, model = source.draw(1, 1, rng).schema, Categorical(temperature=temperature)
    truth = {"shares.word": np.broadcast_to(source.probabilities, (replicates, 30))}
    pool = Categorical(favour={"w005": 2.0}).draw(truth, schema, n, rng.at("plant"))
    shares = []
    for t in range(8):
        parameters = model.solve(pool, rng)
        shares.append(parameters["shares.word"][:, 4])
        pool = model.draw(parameters, schema, n - round(real * n), rng.at("sample", t))
        if real:
            fresh = Categorical().draw(truth, schema, round(real * n), rng.at("real", t))
            pool = {key: pool[key] + fresh[key] for key in pool}
    return np.stack(shares)


@pytest.mark.parametrize("real", [0.0, 0.2, 0.5])
def test_unbiased_counting_keeps_a_bias_and_real_rows_correct_it_by_their_share(real: float) -> None:
    """Shares are martingales, so a turn multiplies the bias by 1 − real."""
    found = loop_gain(planted(1.0, real), Zipf(categories=30).probabilities[4])
    assert found.low <= 1 - real <= found.high
    assert found.total_high < 0.9 if real else 0.8 < found.total_low <= 1 <= found.total_high < 1.2
    assert found.steps_low[0] <= 1 - real <= found.steps_high[0]
    assert found.steps_high[0] - found.steps_low[0] < 0.1


def test_selection_decides_what_a_planted_bias_becomes() -> None:
    """Below temperature 1 all but the most frequent lose; a preference that stays in the model adds to itself."""
    truth = Zipf(categories=30).probabilities[4]
    assert loop_gain(planted(0.8, 0.0), truth).total_high < 1
    made = run(Zipf(categories=30), Categorical(favour={"w003": 1.2}), Replace(), 2000, 8, 100, rows_free=True)
    bias = made.paths["fit_bias", "w003"].T  # (R, T) -> (T, R)
    assert loop_gain(bias[1:]).total_low > 1  # the first fit is to real data
