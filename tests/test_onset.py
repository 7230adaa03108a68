"""Onsets, lead times and entanglement: against the stages, brute force, known answers and stated alarm rates."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from collapse.calibration import Bands, stage
from collapse.claims.intervals import median_interval
from collapse.claims.lead_time import Survey, firsts, ranking, survey
from collapse.data import Column, Rows, Schema
from collapse.floor import floor
from collapse.frame import Frame
from collapse.metrics import facts, measure_all
from collapse.metrics.base import Fact
from collapse.metrics.entanglement import Entanglement, ModeClassifier
from collapse.models.gaussian import Gaussian as Fitted
from collapse.pool import Part, RealData
from collapse.rng import Rng
from collapse.sources.digits import Digits
from collapse.sources.gaussian import Gaussian
from collapse.sources.mixture import Mixture

SIDES = {"tail_kept": "below", "variance_ratio": "below", "modes_alive": "below", "w1": "above", "density": "either"}
FACTS = {name: Fact("drift", 1.0, side, "", "") for name, side in SIDES.items()}
FACTS |= {"w1_step": Fact("drift", 0.0, "either", "", ""), "fit_mean": Fact("fit", 0.0, "either", "", "")}
FITS = Rng("onset", "floor").normal((len(SIDES), 200))
#: What a value of 0.0 and a step of 1.0 in these tests are to a metric: control keeps 1.0, give or take 5 %.
CENTER, STEP = 1.0, 0.05
FLOOR = pd.DataFrame({"kind": "model", "metric": np.repeat([*SIDES], 200), "feature": "",
                      "value": CENTER + STEP * FITS.ravel()})
HUGE = 50.0


def tidy(branch: str, values: dict[str, np.ndarray], first: int = 1) -> pd.DataFrame:
    """Return measurements from arrays (T, R) by metric."""
    pieces = []
    for metric, array in values.items():
        t, r = np.indices(array.shape)
        pieces.append(pd.DataFrame({"branch": branch, "generation": first + t.ravel(), "replicate": r.ravel(),
                                    "metric": metric, "feature": "", "value": array.ravel()}))
    return pd.concat(pieces, ignore_index=True)


def look(*tables: pd.DataFrame, first: dict[str, int] | None = None, last: int = 10, floors: object = FLOOR,
         controls: tuple[str, ...] = ()) -> Survey:
    table = pd.concat(tables, ignore_index=True)
    table["value"] = CENTER + STEP * table["value"]
    branches = {name: SimpleNamespace(first=(first or {}).get(name, 1), last=last) for name in table.branch.unique()}
    return survey(table, dict.fromkeys(branches, floors), branches, FACTS, controls)


def fall(when: np.ndarray, generations: int = 10) -> np.ndarray:
    """Return zeros (T, R) that drop far below from generation ``when`` (R,) on; beyond the last: never."""
    return np.where(np.arange(1, generations + 1)[:, None] >= when, -HUGE, 0.0)


def draws(address: str, replicates: int, generations: int = 10) -> dict[str, np.ndarray]:
    noise = Rng("onset", address).normal((len(SIDES), generations, replicates))
    return dict(zip(SIDES, noise, strict=True))


# ------------------------------------------------------------------------------------------- onsets


@pytest.mark.parametrize("replicates", [1, 2, 7, 12])
def test_onsets_are_the_first_stages_of_nodes_and_replicates(replicates: int) -> None:
    """The node's own rule, generation by generation; tails and bulk drift at random so that all stages occur."""
    bands = Bands(FLOOR)
    for case in range(8):
        speed = np.array([1.6, 0.9, 0.9, 1, 1])[:, None, None]
        drift = 1.5 * speed * Rng("onset", "drift", case).uniform((len(SIDES), 1, replicates))
        values = {name: x - drift[i] * np.arange(10)[:, None]
                  for i, (name, x) in enumerate(draws(f"stages {case}", replicates).items())}
        stages = [stage({name: CENTER + STEP * x[t] for name, x in values.items()}, bands, 10) for t in range(10)]
        found = {onset.stage: onset for onset in look(tidy("replace", values)).onsets}
        node = [found.stage for found, _ in stages]
        assert found["late"].generation == (node.index("late") + 1 if "late" in node else None)
        early = node.index("early") + 1 if "early" in node else None
        if early is not None and "late" not in node[: early - 1]:
            assert found["early"].generation == early
        own = [[each[r] for _, each in stages] for r in range(replicates)]
        late = np.array([each.index("late") + 1 if "late" in each else np.inf for each in own])
        assert found["late"].never == np.isinf(late).mean()
        median = np.median(late)
        assert found["late"].median == (median if np.isfinite(median) else None)


def test_a_replicate_that_never_leaves_is_later_than_the_last() -> None:
    when = np.array([3, 4, 5, 6, 7, 8, 99, 99, 99, 99, 99, 99, 99])
    early, late = look(tidy("replace", {"tail_kept": fall(when - 2), "variance_ratio": fall(when)})).onsets
    assert (early.stage, late.stage) == ("early", "late")
    assert (late.median, late.never, late.last) == (None, 7 / 13, 10)  # 7 of 13 are later than 10
    ranks = median_interval(np.arange(13.0))
    assert late.low == np.sort(when)[int(ranks[1])] and late.high is None
    assert late.by == () and late.generation is None
    assert "median later than 10 [5, later], 53.8 % never" in late.sentence
    some = look(tidy("replace", {"variance_ratio": fall(when[:9])})).onsets[1]
    assert (some.stage, some.generation, some.median, some.by) == ("late", 7, 7.0, ("variance_ratio",))


def test_below_six_replicates_there_is_no_interval() -> None:
    onset = look(tidy("replace", {"variance_ratio": fall(np.array([2, 3, 4, 5, 6]))})).onsets[1]
    assert (onset.median, onset.low, onset.high) == (4.0, None, None)
    assert "[" not in onset.sentence


def test_growth_is_no_onset_and_a_halted_branch_ends_where_it_was_halted() -> None:
    grown = look(tidy("replace", {"tail_kept": -fall(np.arange(2, 9)), "modes_alive": -fall(np.arange(2, 9))}))
    assert [onset.generation for onset in grown.onsets] == [None, None]
    halted = look(tidy("replace", {"variance_ratio": fall(np.full(7, 8))[:5]})).onsets[1]
    assert (halted.generation, halted.last) == (None, 5)


# -------------------------------------------------------------------------------------------- leads


def test_leads_and_their_bounds_are_those_of_each_replicate() -> None:
    """Every case of who leaves when, by hand: 99 is never, and T is 10."""
    late = np.array([5, 5, 5, 7, 9, 99, 99, 6, 6, 6, 6])
    left = np.array([3, 5, 8, 99, 2, 4, 99, 1, 2, 3, 4])
    found = look(tidy("replace", {"variance_ratio": fall(late), "w1": -fall(left)}))
    lead = next(lead for lead in found.branches["replace"] if lead.metric == "w1")
    least = [2, 0, -3, -np.inf, 7, 11 - 4, -np.inf, 5, 4, 3, 2]
    most = [2, 0, -3, 7 - 11, 7, np.inf, np.inf, 5, 4, 3, 2]
    assert (lead.lead, lead.most) == (np.median(least), np.median(most)) == (2, 3)
    # the interval of 11 values is from the second to the second last, which are both unbounded here
    assert median_interval(np.array(least))[1] == -np.inf and lead.low is None
    assert median_interval(np.array(most))[2] == np.inf and lead.high is None
    shares = [lead.ahead, lead.together, lead.behind, lead.unknown]
    assert shares == pytest.approx([7 / 11, 1 / 11, 2 / 11, 1 / 11])
    assert (lead.exit, lead.side, lead.generation) == (4, "above", 4)


@pytest.mark.parametrize(("side", "sign"), [("below", -1), ("above", 1), ("either", -1), ("either", 1)])
def test_a_metric_warns_on_its_own_side(side: str, sign: int) -> None:
    metric = next(name for name in ("w1", "density", "tail_kept") if SIDES[name] == side)
    late = fall(np.full(8, 6))
    for direction in (sign, -sign):
        out = look(tidy("replace", {"variance_ratio": late, metric: -direction * fall(np.full(8, 2))}))
        lead = next(lead for lead in out.leads if lead.metric == metric)
        assert lead.lead == (4 if direction == sign or side == "either" else None)


def test_a_step_warns_from_above_only() -> None:
    floors = pd.concat([FLOOR, FLOOR[FLOOR.metric == "w1"].assign(metric="w1_step")])
    for sign, lead in ((1, 3), (-1, None)):
        values = {"variance_ratio": fall(np.full(8, 5)), "w1_step": -sign * fall(np.full(8, 2))}
        found = look(tidy("replace", values), floors=floors)
        assert next(item for item in found.leads if item.metric == "w1_step").lead == lead


def test_every_metric_has_the_same_false_alarm_rate() -> None:
    """At most 1 % of healthy branch runs, one side or two, and alike for all metrics; over many calibrations."""
    share: dict[str, list[float]] = {name: [] for name in SIDES}
    for case in range(30):
        fits = Rng("onset", "calibrations", case).normal((len(SIDES), 400))
        names = np.repeat([*SIDES], 400)
        floors = pd.DataFrame({"kind": "model", "metric": names, "feature": "",
                               "value": CENTER + STEP * fits.ravel()})
        ill = dict.fromkeys(SIDES, np.zeros((8, 1000))) | {"variance_ratio": fall(np.full(1000, 5), 8)}
        found = look(tidy("control", draws(f"healthy {case}", 1000, 8)), tidy("replace", ill), floors=floors, last=8,
                     controls=("control",))
        assert "control" not in found.branches
        for lead in found.leads:
            share[lead.metric].append(lead.alarms)
    means = {name: np.mean(values) for name, values in share.items()}
    assert all(0.003 < mean < 0.012 for mean in means.values()), means


def test_the_first_to_warn_is_ranked_first_and_a_loud_one_last() -> None:
    late = Rng("onset", "late").integers(3, (30,)) + 6
    own = {"variance_ratio": fall(late), "tail_kept": fall(late - 2), "w1": -fall(late - 4), "density": fall(late + 1)}
    healthy = {name: np.zeros((10, 30)) for name in own}
    found = look(tidy("replace", own), tidy("control", healthy), controls=("control",))
    assert [lead.metric for lead in found.leads] == ["w1", "tail_kept", "variance_ratio", "density"]
    assert [lead.lead for lead in found.leads] == [4, 2, 0, -1]
    assert [lead.rank for lead in found.leads] == [1, 2, 3, 4]
    assert [lead.tied for lead in found.leads] == [True, False, False, False]
    healthy["w1"] = -fall(np.where(np.arange(30) < 10, 4, 99))  # a third of healthy runs would have alarmed
    found = look(tidy("replace", own), tidy("control", healthy), controls=("control",))
    assert [lead.metric for lead in found.leads] == ["tail_kept", "variance_ratio", "density", "w1"]
    assert [lead.loud for lead in found.leads] == [False, False, False, True]
    assert found.leads[-1].alarms == pytest.approx(1 / 3) and not found.leads[-1].tied


def test_what_replicates_cannot_tell_apart_is_tied() -> None:
    late = np.full(20, 8)
    jitter = Rng("onset", "jitter").integers(3, (2, 20))
    own = {"variance_ratio": fall(late), "w1": -fall(3 + jitter[0]), "density": fall(3 + jitter[1])}
    found = look(tidy("replace", own))
    assert {lead.metric: lead.tied for lead in found.leads} == {"w1": True, "density": True, "variance_ratio": False}


def test_nothing_late_is_nothing_to_warn_of() -> None:
    late = np.array([4] * 4 + [99] * 6)
    found = look(tidy("accumulate", {"variance_ratio": fall(late), "w1": -fall(np.full(10, 3))}))
    assert found.branches == {} and found.leads == () and ranking({"s": found}) == ()
    assert firsts({"s": found}) == {"s": ()}


def test_a_fork_that_begins_late_says_nothing_of_warning() -> None:
    values = {"variance_ratio": fall(np.full(8, 1), 4), "w1": -fall(np.full(8, 1), 4)}
    rescue = look(tidy("rescue", values, first=7), first={"rescue": 7})
    assert rescue.onsets[0].generation == rescue.onsets[0].first == 7 and rescue.branches == {}
    values = {"variance_ratio": fall(np.full(8, 3), 4), "w1": -fall(np.full(8, 2), 4)}
    later = look(tidy("rescue", values, first=7), first={"rescue": 7})
    assert later.onsets[0].generation == 9 and later.leads[0].lead == 1


def test_a_study_takes_the_median_over_its_branches_in_each_replicate() -> None:
    late, leads = np.full(9, 8), {"a": 1, "b": 3, "c": 6}
    tables = [tidy(name, {"variance_ratio": fall(late), "w1": -fall(late - k)}) for name, k in leads.items()]
    found = look(*tables)
    assert {name: ranked[0].lead for name, ranked in found.branches.items()} == leads
    assert [(lead.metric, lead.lead, lead.branch) for lead in found.leads] == [("w1", 3, ""), ("variance_ratio", 0, "")]


def test_ranking_over_studies() -> None:
    late = np.full(9, 8)
    one = look(tidy("r", {"variance_ratio": fall(late), "w1": -fall(late - 3), "density": fall(late - 1)}))
    two = look(tidy("r", {"variance_ratio": fall(late), "w1": -fall(late - 2), "tail_kept": fall(late - 5)}))
    standings = {s.metric: s for s in ranking({"one": one, "two": two})}
    assert [*standings] == ["tail_kept", "w1", "density", "variance_ratio"]
    assert [s.score for s in standings.values()] == [0, 0.25, 0.5, 1]
    assert standings["w1"].first == ("one",) and standings["tail_kept"].first == ("two",)
    assert {study: [lead.metric for lead in leads] for study, leads in firsts({"one": one, "two": two}).items()} == \
        {"one": ["w1"], "two": ["tail_kept"]}
    assert standings["w1"].studies["two"].lead == 2
    for plain in (one.plain(), [s.plain() for s in standings.values()]):
        json.dumps(plain, allow_nan=False)


def test_parts_fits_and_what_is_not_calibrated_are_left_out() -> None:
    table = tidy("replace", {"variance_ratio": fall(np.full(8, 5)), "fit_mean": -fall(np.full(8, 1))})
    part = tidy("replace", {"w1": -fall(np.full(8, 1))}).assign(feature="x1")
    unknown = tidy("replace", {"w1_step": -fall(np.full(8, 1))})
    assert [lead.metric for lead in look(table, part, unknown).leads] == ["variance_ratio"]


def test_the_order_of_the_records_does_not_matter() -> None:
    late = np.arange(9) % 3 + 6
    noise = draws("order", 9)["density"]
    table = tidy("replace", {"variance_ratio": fall(late), "w1": -fall(late - 2), "density": noise})
    assert look(table.sample(frac=1, random_state=1)).plain() == look(table).plain()


def test_a_million_values_take_about_a_second() -> None:
    many = {name: x - 2.0 * np.arange(10)[:, None] for name, x in draws("many", 20_000).items()}
    table = tidy("replace", many)
    assert len(table) == 1_000_000
    start = time.perf_counter()
    found = look(table)
    assert time.perf_counter() - start < 4
    assert found.leads[0].replicates == 20_000


# -------------------------------------------------------------------------------------- entanglement


def blobs(centres: np.ndarray, std: float, n: int, address: str, replicates: int = 1) -> Rows:
    """Return labelled normal blobs in d dimensions, equally many of each."""
    k, d = centres.shape
    code = np.broadcast_to(np.arange(n) % k, (replicates, n))
    x = centres[code] + std * Rng("entanglement", address).normal((replicates, n, d))
    names = tuple(f"m{i}" for i in range(k))
    schema = Schema((*(Column(f"x{i}", "number") for i in range(d)), Column("label", "category", names, role="label")))
    return Rows.assemble(schema, x, {"label": code})


def entangled(sample: Rows, frame: Frame) -> dict[str, np.ndarray]:
    return {m.feature: m.values for m in Entanglement().measure(sample, frame)}


def test_the_posterior_is_that_of_the_blobs() -> None:
    """Two unit normals at ±1 on a line: p(1 | x) = 1 / (1 + exp −2x), so the mean entropy is an integral."""
    labels = np.arange(40_000) % 2
    x = (2 * labels - 1)[:, None] + Rng("entanglement", "line").normal((40_000, 1))
    rule = ModeClassifier.fit(x, labels)
    grid = np.linspace(-3, 3, 61)[None, :, None]
    p = 1 / (1 + np.exp(-2 * grid[0, :, 0]))
    assert rule.posterior(grid)[0, :, 1] == pytest.approx(p, abs=0.02)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert rule.confusion(grid)[0] == pytest.approx(entropy, abs=0.04)


def test_both_ends_of_the_scale() -> None:
    centres = 3.0 * np.eye(3)
    frame = Frame.freeze(blobs(centres, 1.0, 3000, "reference"), blobs(centres, 1.0, 900, "real"))
    apart = entangled(blobs(centres, 0.01, 300, "apart"), frame)[""]
    middle = entangled(blobs(np.repeat(centres.mean(axis=0, keepdims=True), 3, axis=0), 0.01, 300, "middle"), frame)[""]
    assert apart < 0.01
    assert middle == pytest.approx(1.0, abs=0.02)


def test_it_rises_as_modes_grow_into_one_another_and_falls_as_they_shrink() -> None:
    source = Mixture(components=8, std=0.35)
    rng = Rng("entanglement", "ring")
    frame = Frame.freeze(source.draw(3000, 1, rng.at(1)), source.draw(3000, 1, rng.at(2)))
    means = [entangled(Mixture(components=8, std=std).draw(400, 20, rng.at(3)), frame)[""].mean()
             for std in (0.1, 0.2, 0.35, 0.5, 0.7)]
    assert np.all(np.diff(means) > 0) and means[0] < 0.1 * means[2] and means[4] > 2 * means[2]


def test_own_labels_decide_the_parts_and_not_the_whole() -> None:
    source, rng = Mixture(components=4, std=0.6), Rng("entanglement", "parts")
    frame = Frame.freeze(source.draw(2000, 1, rng.at(1)), source.draw(2000, 1, rng.at(2)))
    sample = source.draw(300, 5, rng.at(3))
    values = entangled(sample, frame)
    assert set(values) == {"", "c0", "c1", "c2", "c3"}
    assert sum(v for name, v in values.items() if name) == pytest.approx(values[""])
    one = entangled(Rows(sample.schema, {**sample.values, "label": np.zeros_like(sample["label"])}), frame)
    assert np.array_equal(one[""], values[""])
    assert np.array_equal(one["c0"], values[""]) and not one["c1"].any()


def test_a_replicate_does_not_depend_on_how_many_there_are() -> None:
    source, rng = Mixture(components=5), Rng("entanglement", "many")
    frame = Frame.freeze(source.draw(1000, 1, rng.at(1)), source.draw(1000, 1, rng.at(2)))
    sample = source.draw(200, 70, rng.at(3))
    whole, alone = entangled(sample, frame), entangled(sample.replicate(3), frame)
    assert all(np.array_equal(whole[name][3:4], alone[name]) for name in whole)


def test_a_lone_row_and_a_flat_class_have_a_posterior_and_one_class_has_no_entropy() -> None:
    x = Rng("entanglement", "lone").normal((40, 3))
    x[:20, 2] = 0.0  # a class without variance in one direction
    rule = ModeClassifier.fit(x, np.array([0] * 20 + [1] * 19 + [7]))
    assert rule.codes.tolist() == [0, 1, 7]
    assert np.isfinite(rule.posterior(x[None])).all() and (rule.confusion(x[None]) >= 0).all()
    single = blobs(np.zeros((1, 2)), 1.0, 60, "single")
    assert entangled(single, Frame.freeze(single, single)) == {}


def test_digits_take_few_milliseconds_and_mixtures_of_images_are_entangled() -> None:
    rows = Digits().load()
    order = Rng("entanglement", "digits").choice(rows.n, rows.n, 1)
    reference, bank = rows.take(order[:, :540]), rows.take(order[:, 540:])
    frame = Frame.freeze(reference, bank, (), 400)
    sample = bank.take(Rng("entanglement", "draw").choice(bank.n, 400, 5))
    real = entangled(sample, frame)[""]
    frame.view(sample)
    start = time.perf_counter()
    entangled(sample, frame)
    assert time.perf_counter() - start < 0.02
    z = frame.space.project(bank)[0]
    rule = ModeClassifier.fit(frame.own.space[0], reference.label[0])
    assert (rule.posterior(z[None])[0].argmax(axis=1) == bank.label[0]).mean() > 0.95
    mixed = sample.map(lambda a: a.copy())
    mixed.values["image"][:] = (mixed["image"] + mixed["image"][:, ::-1]) / 2
    assert real.mean() < 0.03 and (entangled(mixed, frame)[""] > 5 * real.max()).all()


# --------------------------------------------------------------------------------------- end to end


def test_a_real_loop_is_measured_calibrated_and_ranked() -> None:
    """One normal fitted to few rows, again and again: it collapses, and the records say which metric saw it first."""
    source, model, rng = Gaussian(dim=2), Fitted(), Rng("onset", "gaussian")
    n, replicates, last = 20, 12, 40
    first = source.draw(n, replicates, rng.at("first"))
    frame = Frame.freeze(source.draw(1500, 1, rng.at("reference")), source.draw(1500, 1, rng.at("beside")), (), n)
    real = RealData("real", Part.of(first, "real", 0, synthetic=False), source.draw, exact=True)
    floors = floor(model, real, first.schema, n, n, 60, frame, rng.at("calibration"))
    pieces = []
    for branch in ("control", "replace"):
        pool = before = first
        for t in range(1, last + 1):
            here = rng.at(branch, t)
            sample = model.sample(model.fit(pool, here.at("fit")), first.schema, n, here.at("sample"))
            for m in measure_all(sample, before, frame):
                pieces.append(pd.DataFrame({"branch": branch, "generation": t, "replicate": np.arange(replicates),
                                            "metric": m.metric, "feature": m.feature, "value": m.values}))
            pool = before = sample
            if branch == "control":
                pool = source.draw(n, replicates, here.at("fresh"))
    branches = {name: SimpleNamespace(first=1, last=last) for name in ("control", "replace")}
    table = pd.concat(pieces, ignore_index=True)
    found = survey(table, dict.fromkeys(branches, floors), branches, facts(), ["control"])
    when = {(onset.branch, onset.stage): onset for onset in found.onsets}
    assert when["control", "late"].generation is None and when["control", "late"].never > 0.9
    assert when["replace", "late"].generation is not None and when["replace", "late"].never < 0.5
    assert when["replace", "early"].generation <= when["replace", "late"].generation
    leads = {lead.metric: lead for lead in found.leads}
    lead = leads["variance_ratio"]
    assert lead.exit is None and lead.ahead + lead.together > 0.5
    assert found.branches["replace"][0].branch == "replace"
    assert not any(metric.startswith("fit_") for metric in leads)
    json.dumps(found.plain(), allow_nan=False)
