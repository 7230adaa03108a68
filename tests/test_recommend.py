"""The planner: intervals that cover, laws that answer at once, a study that can be rebuilt, and bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.project import Project
from collapse import advice, planner
from collapse.errors import InputError
from collapse.laws import real
from collapse.loop import run
from collapse.metrics import facts
from collapse.models.gaussian import Gaussian
from collapse.params import parse_study
from collapse.planner import Keep, Knob, Left
from collapse.regimes.replace import Replace
from collapse.regimes.weighted import Weighted
from collapse.regimes.window import Window
from collapse.sources import gaussian
from flows import cli, recommend
from flows.ledger import exclusive

STUDY = """\
title: One Gaussian
seed: 3
source: {kind: gaussian}
model: {kind: gaussian, ddof: 0}
rows: 20
generations: 3
replicates: 5
measure: {only: [spread]}
branches:
  control: {regime: control}
  replace: {regime: replace}
  tenth:   {regime: redraw, real: 0.1}
gates: {}
"""
KEEP = Keep("m", "", ">=", 0.5)
TARGET, LAST = 40, 12


def truth(x: int, fades: float = 0.7) -> np.ndarray:
    """Return means (T,) that fall to 1 − 1/(1 + x/40): at x = 40 to 0.5 exactly, in the limit."""
    return 1 - (1 - fades ** np.arange(1, LAST + 1)) / (1 + x / TARGET)


def simulator(seed: int, replicates: int, calls: list | None = None):
    """Return noise around :func:`truth`: heavy-tailed, correlated in time, and shared by settings but for a part."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(6, size=(replicates, LAST))
    for t in range(1, LAST):
        noise[:, t] = 0.8 * noise[:, t - 1] + 0.6 * noise[:, t]

    def simulate(points):
        if calls is not None:
            calls.append(list(points))
        own = {x: np.random.default_rng((seed, x)).normal(size=(replicates, LAST)) for _, x in points}
        return {(name, x): truth(x) + 0.3 * noise + 0.15 * own[x] for name, x in points}

    return simulate


KNOB = Knob("share", 0, 399, (0, 20, 80, 200, 399))
LEAST = next(x for x in range(400) if KEEP.met(truth(x)).all())


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A project's folder without a server."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "tiny.yaml").write_text(STUDY)
    (tmp_path / "params.yaml").write_text("studies: [tiny]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(**changes):
    data = {"title": "x", "seed": 1, "source": {"kind": "gaussian"}, "model": {"kind": "gaussian", "ddof": 0},
            "rows": 20, "generations": 20, "replicates": 5, "branches": {"replace": {"regime": "replace"}}, "gates": {}}
    return parse_study({**data, **changes}, "x", Path("studies/x.yaml"))


# ------------------------------------------------------------------------------------------- statistics


def test_conditions_are_read():
    assert Keep.parse("tail_ratio>=.8", facts()) == Keep("tail_ratio", "", ">=", 0.8)
    keep = Keep.parse("group_share[sex=Female, race=Black] > 0.5", facts())
    assert (keep.feature, keep.text) == ("sex=Female, race=Black", "group_share[sex=Female, race=Black] > 0.5")
    assert Keep("w1", "", "<=", 2.0).margins(np.array([1.5, 3.0])).tolist() == [0.5, -1.0]
    assert not keep.met(np.array([np.nan, 0.5])).any()


def test_the_monotone_fit_is_the_least_squares_one():
    from scipy.optimize import isotonic_regression

    values = np.random.default_rng(1).normal(size=(20, 9))
    fitted = planner.monotone(values)
    for row, ours in zip(values, fitted, strict=True):
        assert ours == pytest.approx(isotonic_regression(row).x)


@pytest.mark.parametrize("means", [np.full(10, 2.0), np.linspace(3, 2, 10), np.r_[2.0, np.linspace(2.2, 3, 9)],
                                   np.r_[np.linspace(3, 2, 5), np.linspace(2.3, 3, 5)]],
                         ids=["level", "falling", "rising", "valley"])
def test_the_least_of_noisy_means_is_not_biased(means):
    rng = np.random.default_rng(2)
    gaps = []
    for _ in range(60):
        values = means + 0.5 * rng.normal(size=(40, len(means)))
        gaps.append(np.median(planner.worst(*planner.noise(values))) - means.min())
    assert abs(np.mean(gaps)) < 0.5 / np.sqrt(40)  # a standard error of one mean; the plain least is off by 1.5


def test_the_least_of_a_loop_that_drifts_is_covered(monkeypatch):
    """A variance under replace (Shumailov et al. 2024, Theorem 3.1): noise that adds up hides how means fall."""
    monkeypatch.setattr(planner, "DRAWS", 400)
    n, steps, rng = 125, 15, np.random.default_rng(3)
    above, below = [], []
    for _ in range(200):
        values = (rng.chisquare(n - 1, (60, steps)) / n).cumprod(axis=1)
        _, low, high = planner.interval(planner.worst(*planner.noise(values)))
        above.append(low > (1 - 1 / n) ** steps)
        below.append(high < (1 - 1 / n) ** steps)
    assert max(np.mean(above), np.mean(below)) < 0.1  # 5 % each; three standard errors are 4.6 %


def test_intervals_cover(monkeypatch):
    """About 90 % of them hold the least setting, and the generation at which the loop breaks."""
    monkeypatch.setattr(planner, "DRAWS", 300)
    found, left = [], []
    for seed in range(80):
        simulate = simulator(seed, 20)
        answer = planner.search([KNOB], simulate, KEEP)["share"]
        found.append(answer.low is not None and answer.low <= LEAST and (answer.high is None or answer.high >= LEAST))
        ends = planner.left(simulate([("share", 5)])["share", 5], KEEP)
        breaks = 1 + int(np.argmin(KEEP.met(truth(5))))
        left.append(ends.low is not None and ends.low <= breaks and (ends.high is None or ends.high >= breaks))
    assert 0.8 <= np.mean(found) <= 0.98  # 3 standard errors about 90 %
    assert np.mean(left) >= 0.8  # whole generations: an interval covers more than it must


def test_a_search_stops_where_more_points_tell_nothing():
    looked = {}
    for replicates in (8, 800):
        calls: list = []
        answer = planner.search([KNOB], simulator(1, replicates, calls), KEEP)["share"]
        points = [point for call in calls for point in call]
        assert len(set(points)) == len(points)
        assert len(calls) <= planner.ROUNDS
        looked[replicates] = len(points)
    assert looked[8] < looked[800]
    assert answer.high - answer.low <= 8  # of 40
    assert answer.low <= LEAST <= answer.high
    again = planner.search([KNOB], simulator(1, 800), KEEP)["share"]
    assert again == answer


def test_what_needs_nothing_and_what_nothing_keeps():
    simulate = simulator(3, 50)
    easy = planner.search([KNOB], simulate, Keep("m", "", ">=", -3.0))["share"]
    assert (easy.least, easy.low, easy.high) == (0, 0, 0)
    never = planner.search([KNOB], simulate, Keep("m", "", ">=", 1.5))["share"]
    assert (never.least, never.low, never.high, never.best) == (None, None, None, 399)
    broken = planner.search([KNOB], lambda points: {p: np.full((5, 4), np.nan) for p in points}, KEEP)["share"]
    assert broken.least is None


def test_a_peaked_knob_is_left_of_its_peak():
    def simulate(points):
        noise = np.random.default_rng(5).normal(size=(50, 3))
        return {(name, x): 1 - (np.log1p(x) - np.log1p(30)) ** 2 / 2 + 0.05 * noise for name, x in points}

    knob = Knob("weight", 0, 99, (0, 5, 20, 50, 80, 99), peaked=True)
    answer = planner.search([knob], simulate, KEEP)["weight"]
    least = np.expm1(np.log1p(30) - 1)
    assert answer.low <= np.ceil(least) <= answer.high
    assert answer.high < 30


def test_generations_left_are_censored():
    values = np.random.default_rng(0).normal(3, 0.1, size=(30, 6))
    assert planner.left(values, KEEP) == Left(None, None, None, pytest.approx(values.mean(axis=0).min()))
    values[:, 4:] = 0.0
    found = planner.left(values, KEEP)
    assert (found.breaks, found.low, found.high) == (5, 5, 5)


# ------------------------------------------------------------------------------------------------ laws


def by_law(of, name: str, keep: Keep, horizon: int):
    option = advice.options(of, horizon, None)[0][name]
    return planner.by_law(option.knob, lambda x: advice.law(of, option.branch(of, x), keep, horizon).values, keep)


@pytest.mark.parametrize(("n", "m"), [(20, 2), (50, 5), (100, 30)])
def test_answers_by_law_are_the_steady_states(n, m):
    """The closed forms of the literature: 1 − 1/D under refresh, S (1 − (1 − α)/D) under anchor."""
    alpha = m / n
    d, s = 1 - alpha + alpha * n * (2 - alpha), 1 - 1 / m
    for name, limit in (("refresh", 1 - 1 / d), ("anchor", s * (1 - (1 - alpha) / d))):
        keep = Keep("fit_variance", "", ">=", limit - 1e-9)
        assert by_law(study(rows=n), name, keep, 1500).least == m
    if n == 20:
        redraw = by_law(study(), "redraw", Keep("fit_variance", "", ">=", 0.748), 1500)
        assert redraw.least == m
        assert redraw.tried[m] == pytest.approx(0.753, abs=0.006)  # simulated only


def test_the_golden_share_by_law():
    of = study(model={"kind": "gaussian", "variance": 1.0}, rows=100)
    # V = w²/n + (1 − w)² (V + 1/n) is at most the 1/n of the first fit where 3w² − 4w + 1 ≤ 0: from w = 1/3 on
    assert by_law(of, "weighted", Keep("fit_error2", "", "<=", 0.01), 60).least == 34
    golden = Keep("fit_error2", "", "<=", 0.00618)  # what the golden weight 0.618 has in the limit, but not at first
    assert by_law(of, "weighted", golden, 60).least is None
    option = advice.options(of, 60, None)[0]["weighted"]
    last = [advice.law(of, option.branch(of, x), golden, 60).values[-1] for x in range(1, 100)]
    assert 1 + int(np.argmin(last)) == 62


def test_laws_of_the_planner_are_those_of_the_loop():
    """Weights, windows and larger samples: the mean of a run in memory lies within 4 standard errors."""
    of, last = study(), 8
    options = advice.options(of, last, None)[0]
    looked = [("weighted", 10, Weighted(real=0.1), 20), ("window", 3, Window(k=3), 20)]
    for name, x, regime, rows in looked:
        branch = options[name].branch(of, x)
        for metric in ("fit_variance", "fit_error2") if name == "weighted" else ("fit_variance",):
            path = run(gaussian.Gaussian(), Gaussian(ddof=0), regime, rows, last, 20_000, rows_free=True,
                       name="laws")[metric]
            law = advice.law(of, branch, Keep(metric, "", ">=", 0.0), last).values
            error = path.std(axis=0) / np.sqrt(len(path))
            assert (np.abs(path.mean(axis=0) - law) < 4 * error).all(), (name, metric)
    # one generation of 20 rows, then 60
    rows = advice.law(of, options["rows"].branch(of, 60), Keep("fit_variance", "", ">=", 0.0), last)
    assert rows.values == pytest.approx((1 - 1 / 20) * (1 - 1 / 60) ** np.arange(last))
    equal = real.weighted(10, 20, 5, 15, 0.25)
    assert equal == pytest.approx(real.refresh(10, 20, 5))
    assert advice.law(of, options["rows"].branch(of, 20), Keep("fit_variance", "", ">=", 0.0), last).law == \
        "gaussian.replace.variance"
    assert Replace().spec() == options["window"].branch(of, 1).regime.spec()


def test_a_law_answers_at_once_and_writes_nothing(folder, capsys):
    before = sorted(folder.rglob("*"))
    answer = recommend.recommend("tiny", "fit_variance >= 0.7", 20)
    assert sorted(folder.rglob("*")) == before
    assert answer.advice == ""
    found = {line.option.name: line.option.value(line.found.least) for line in answer.lines}
    assert found == {"anchor": 0.25, "redraw": 0.1, "refresh": 0.1, "weighted": 0.06, "rows": 63, "window": 3}
    assert {item.name: item.left.breaks for item in answer.today} == {"replace": 7, "tenth": None}
    text = recommend.words(answer)
    assert "by law: gaussian.refresh.variance" in text
    cost = {line.option.name: (line.cost.real, line.cost.synthetic) for line in answer.lines}
    assert cost["anchor"] == (20, 400)
    assert cost["refresh"] == (20 + 2 * 19, 400)
    json.dumps(answer.plain(), allow_nan=False)


# --------------------------------------------------------------------------------------------- bad input


BAD = [
    (["tinny"], {}, "no such study; did you mean 'tiny'?"),
    (["tiny"], {"--keep": "fit_varience >= 0.7"}, "'fit_varience' is not a metric; did you mean 'fit_variance'?"),
    (["tiny"], {"--keep": "fit_variance >= much"}, "cannot read 'fit_variance >= much'; write METRIC op NUMBER"),
    (["tiny"], {"--keep": "fit_variance == 0.7"}, "write METRIC op NUMBER"),
    (["tiny"], {"--keep": "fit_variance"}, "write METRIC op NUMBER"),
    (["tiny"], {"--keep": "fit_variance >= nan"}, "write METRIC op NUMBER"),
    (["tiny"], {"--horizon": "0"}, "--horizon must be at least 1 (it is 0)"),
    (["tiny"], {"--option": "ancor"}, "'ancor' is not an option; did you mean 'anchor'?"),
    (["tiny"], {"--replicates": "1"}, "--replicates must be at least 2"),
    (["tiny"], {"--keep": "distinct_2 >= 0.5"}, "have no measurement distinct_2"),
    (["tiny"], {"--keep": "tail_ratio[y:low] >= 0.7"}, "tail_ratio has no 'y:low'"),
]


@pytest.mark.parametrize(("words", "options", "message"), BAD, ids=[message[:24] for _, _, message in BAD])
def test_bad_input_is_one_line_and_changes_nothing(folder, monkeypatch, capsys, words, options, message):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    flags = {"--keep": "fit_variance >= 0.7", **options}
    monkeypatch.setattr(sys, "argv", ["collapse", "recommend", *words, *(x for pair in flags.items() for x in pair)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_foreign_study_of_the_same_name_is_kept(folder):
    (folder / "studies" / "tiny-advice.yaml").write_text(STUDY)
    with pytest.raises(InputError, match=r"was not written by 'collapse recommend'; rename it"):
        recommend.recommend("tiny", "fit_variance >= 0.7", 5, simulate=True)
    assert (folder / "studies" / "tiny-advice.yaml").read_text() == STUDY


def test_what_nothing_keeps_has_an_exit_code_of_its_own(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["collapse", "recommend", "tiny", "--keep", "fit_variance >= 2"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == recommend.UNREACHABLE
    said = capsys.readouterr().out
    assert "no share of real data keeps it; best is " in said
    assert "(fit_variance 0.95 at worst)" in said


# ------------------------------------------------------------------------------------------ end to end


def test_the_advice_is_a_study_that_can_be_rebuilt(tmp_path, monkeypatch):
    """Each round has its own server; nodes are tracked and audited; a second run makes nothing and says the same."""
    text = STUDY.replace("rows: 20", "rows: 16").replace("redraw, real: 0.1", "subsample")
    project = Project.make(tmp_path / "p", text)
    words = ["collapse", "recommend", "tiny", "--keep", "fit_variance >= 0.87", "--horizon", "3", "--simulate",
             "--option", "refresh", "--replicates", "200", "--json"]
    first = project.run(*words)
    assert "round 2 of" in first.stderr
    answer = json.loads(first.stdout)
    assert answer["advice"] == "tiny-advice"
    share = answer["options"]["refresh"]
    assert 0 <= share["low"] <= share["least"] <= share["high"]
    assert share["cost"]["seconds"] > 0
    assert share["cost"]["measured"]
    assert set(answer["today"]) == {"replace", "tenth"}
    law = by_law(study(rows=16), "refresh", Keep("fit_variance", "", ">=", 0.87), 3)
    assert share["low"] <= law.least / 16 <= share["high"]
    pools = {path: path.stat().st_mtime_ns for path in project.root.glob("data/tiny-advice-*/pool/_manifest.json")}
    lock = project.lock
    second = project.run(*words)
    assert json.loads(second.stdout) == answer
    assert "nothing to do" in second.stderr
    assert project.lock == lock
    assert {path: path.stat().st_mtime_ns for path in pools} == pools
    assert "up to date" in project.run("dvc", "status", "--with-deps", "report@tiny-advice").stdout
    project.run("collapse", "audit", "tiny-advice")
    monkeypatch.chdir(project.root)
    before = {path: (project.root / path).read_bytes() for path in ("studies/tiny-advice.yaml", "lineage.yaml")}
    with exclusive():
        third = project.run(*(word.replace("refresh", "anchor") for word in words), ok=False)
    assert third.returncode == 2
    assert "another run holds this checkout" in third.stderr
    assert before == {path: (project.root / path).read_bytes() for path in before}
