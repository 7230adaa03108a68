"""Watching existing data sets: alarms, verdicts, files, bad input, the suite, the event."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from collapse.data import Column
from collapse.errors import InputError
from collapse.reader import layouts, pieces
from collapse.reader.dialect import Options
from collapse.reader.frozen import Reader
from collapse.rng import Rng
from collapse.verdict import role
from collapse.watch import documents, tables, verdicts
from collapse.watch import series as survey
from collapse.watch.verdicts import Judged, Limits, Watch, needed, share
from collapse_lab.tasks import look as watch_flow
from tests.worlds import watched as bench
from tests.worlds.project import ROOT

N, M = 4_000, 500


def table(n: int, seed: int, width: float = 1.0, shift: float = 0.0, shares=(0.6, 0.3, 0.08, 0.02)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "height": 170 + 10 * (width * rng.normal(size=n) + shift),
        "age": np.rint(40 + 12 * width * rng.normal(size=n)).astype(int),
        "income": np.exp(width * rng.normal(size=n)).round(3),
        "region": rng.choice(["north", "south", "east", "west"], n, p=shares),
        "id": np.arange(n) + seed * 100_000,
    })


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A reference, and snapshots: two clean ones, one that lost its width, one that moved."""
    root = tmp_path_factory.mktemp("watched")
    table(N, 1).to_csv(root / "real.csv", index=False)
    (root / "snaps").mkdir()
    table(M, 2).to_csv(root / "snaps" / "day-2.csv", index=False)
    table(M, 3).to_csv(root / "snaps" / "day-9.csv", index=False)
    table(M, 4, width=0.5).to_parquet(root / "snaps" / "day-10.parquet")
    table(M, 5, shift=1.0).to_parquet(root / "snaps" / "day-11.parquet")
    return root


@pytest.fixture(scope="module")
def series(folder) -> survey.Series:
    return survey.survey(layouts.whole(folder / "real.csv"), layouts.find([str(folder / "snaps")]),
                            groups=(("region",),))


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch.of(bench.numeric(6_000, "test-reference"))


def cli(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "collapse_lab.commands.main", "watch", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


# ------------------------------------------------------------------------------------------- statistics


def test_scores_undo_the_bend():
    for skew in (-1.5, -0.2, 0.0, 0.4, 2.0):
        for z in (-3.0, -0.5, 0.7, 4.0):
            x = verdicts.bent(z, skew)
            assert verdicts._scores(np.array([x]), np.full((2, 1), skew))[0] == pytest.approx(z, abs=1e-6)


def test_the_limit_is_exceeded_as_often_as_stated():
    """Bands of independent normal cells, made from 200 draws: fresh draws leave them at the stated level."""
    rng = np.random.default_rng(0)
    keys = [("variance_ratio", f"x{i}") for i in range(30)]
    alarms = []
    for _ in range(40):
        draws = [dict(zip(keys, row, strict=True)) for row in rng.normal(size=(200, 30))]
        bands = Limits.of(draws, 1.0)
        limit = bands.limit(0.01)
        fresh = rng.normal(size=(500, 30))
        scores = verdicts._scores((fresh - bands.center) / bands.scale, bands.skew)
        alarms.append((np.abs(scores).max(axis=1) > limit).mean())
    assert 0.004 < np.mean(alarms) < 0.016


def test_new_support_has_the_exact_chance():
    """P(at least one of n beyond the greatest of N) = n/(N + n), and of k about its k-th power."""
    found = verdicts.support("x", "above", 1, 100, 300)
    assert found.p == pytest.approx(100 / 400)
    assert verdicts.support("x", "above", 4, 1000, 1000).p == pytest.approx(0.5**4)
    assert verdicts.support("c", "new", 3, 100, 900, singles=5).p == pytest.approx(
        stats.nbinom.sf(2, 6, 900 / 1000))


def test_new_support_has_its_own_part_of_the_level(watch):
    """A tenth of the level goes to what is new or gone: what chance gives more often than that is passed over."""
    m = watch.sizes([M])[0]
    rows, part = bench.numeric(M, "test-support"), watch.level * verdicts.SUPPORT
    for p, verdict in ((1.05 * part, "healthy"), (0.95 * part, "drifted")):
        found = watch.judge(rows, m, [verdicts.Support("x0", "values above 9", 3, p)])
        assert (found.verdict, len(found.support)) == (verdict, verdict == "drifted")


def test_bands_are_wider_than_the_draws_by_the_error_of_the_bank(watch, monkeypatch):
    """A mean of m fresh rows lies within σ²(1/m + c/b) of the bank's b rows, a draw within σ²(1/m − 1/b); c is two."""
    seen = []
    monkeypatch.setattr(verdicts.Limits, "of", staticmethod(lambda found, widen, grain=None: seen.append(widen)))
    m, b = 500, watch.bank.n
    verdicts.Watch(watch.frame, watch.bank, watch.level, 3).bands(m)
    assert seen == [pytest.approx(np.sqrt((1 / m + 2 / b) / (1 / m - 1 / b)))]


def test_the_rate_is_shared_by_snapshots_and_takes_rows():
    assert 1 - (1 - share(0.01, 10)) ** 10 == pytest.approx(0.01)
    assert needed(share(0.01, 100), 8) > needed(share(0.01, 1), 8)


def test_roles_follow_the_facts():
    assert role("variance_ratio", "", "below") == "spread lost"
    assert role("variance_ratio", "", "above") == "gained"
    assert role("zipf_exponent", "", "above") == "spread lost"
    assert role("tail_kept", "x:low", "above") == "gained"
    assert role("regions_alive", "", "below") == "modes lost"
    assert role("mean_shift", "", "below") == ""
    assert role("mean_shift", "", "above") == "moved"
    assert role("group_share", "region=west", "below") == "tails lost"
    assert role("perplexity_tail", "low", "above") == role("perplexity_tail", "high", "below") == "tails lost"
    assert role("perplexity_tail", "high", "above") == "moved"
    # where the sample lies is no loss of anything
    assert not any(role(name, "", side) for name in ("tail_ratio", "recall", "density", "w1", "energy_distance")
                   for side in ("below", "above"))


def test_clean_snapshots_are_healthy(watch):
    m = watch.sizes([M])[0]
    found = [watch.judge(bench.numeric(M, f"test-clean-{i}"), m).verdict for i in range(25)]
    other = bench.numeric(20_000, "test-other")
    found += [watch.judge(bench.bootstrap(other, M, f"test-{i}"), m).verdict for i in range(15)]
    assert found.count("healthy") >= 38


def test_a_moved_source_is_drifted_and_a_narrow_one_late(watch):
    m = watch.sizes([M])[0]
    for i, by in enumerate((0.4, -1.0, 2.5)):
        moved = bench.shifted(bench.numeric(M, f"test-moved-{i}"), by, ["x1", "x3"])
        assert watch.judge(moved, m).verdict == "drifted"
    narrow = bench.numeric(M, "test-narrow")
    assert watch.judge(narrow.map(lambda x: 0.6 * x), m).verdict == "late"
    assert watch.judge(narrow.map(lambda x: 0.6 * x + 1), m).verdict == "late"  # moved, and no mere drift
    assert watch.judge(narrow.map(lambda x: 1.7 * x), m).verdict == "distorted"
    assert watch.judge(narrow.map(lambda x: np.clip(x, -1.45, 1.45)), m).verdict in ("early", "late")


def test_a_lineage_warns_before_its_tails_halve(watch):
    def judge(rows) -> Judged:
        return watch.judge(rows, watch.sizes([rows.n])[0])

    found = bench.lead("gaussian", bench.GaussianModel(), lambda i: bench.numeric(M, f"test-lead-{i}"), judge, 2,
                       bench.halves)
    assert np.median(found) >= 2


def test_sizes_that_are_alike_are_measured_alike(watch):
    assert watch.sizes([500, 560, 620, 700, 10_000]) == [500, 500, 500, 700, 1000]


def test_text_of_another_kind_is_seen(tmp_path):
    words = [f"word{i}" for i in range(400)]
    weight = 1 / np.arange(1, 401)
    rng = np.random.default_rng(5)

    def text(n: int, p: np.ndarray) -> str:
        return "\n\n".join(" ".join(rng.choice(words, 40, p=p / p.sum())) for _ in range(n))

    (tmp_path / "real.txt").write_text(text(900, weight))
    (tmp_path / "a-clean.txt").write_text(text(120, weight))
    (tmp_path / "b-poor.txt").write_text(text(120, weight**2))
    real = layouts.whole(tmp_path / "real.txt")
    found = survey.survey(real, layouts.find([str(tmp_path / "[ab]-*.txt")]))
    assert [one.judged.verdict for one in found.seen] == ["healthy", "late"]
    again = survey.survey(real, [real])  # a text is no sign of the collapse of itself
    assert again.verdict == "healthy"


# ------------------------------------------------------------------------------------------------ series


def test_verdicts_of_a_folder(series):
    assert [Path(one.name).name for one in series.seen] == ["day-2.csv", "day-9.csv", "day-10.parquet",
                                                             "day-11.parquet"]
    assert [one.judged.verdict for one in series.seen] == ["healthy", "healthy", "late", "drifted"]
    assert series.code == 6
    assert series.since.endswith("day-10.parquet")
    assert "id" in series.left_out
    late = series.seen[2]
    assert late.judged.signs[0].role == "spread lost"
    assert late.step[0]["unusual"]
    assert {trend["metric"] for trend in series.trends} >= {"tail_kept", "variance_ratio"}
    json.dumps(series.plain(), allow_nan=False)


def test_new_categories_are_drift(tmp_path, folder):
    data = table(M, 8)
    data.loc[data.index[:40], "region"] = "Atlantis"
    data.to_csv(tmp_path / "new.csv", index=False)
    found = survey.survey(layouts.whole(folder / "real.csv"), layouts.find([str(tmp_path / "new.csv")]))
    assert found.verdict == "drifted"
    assert "Atlantis" in found.seen[0].judged.support[0].what


def edged(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return rows with hard edges: two years of days, prices that no mean says much of, shares, and a bell."""
    return pd.DataFrame({"day": rng.integers(0, 730, n), "price": np.exp(0.8 * rng.normal(size=n) + 3).round(2),
                         "share": rng.beta(2, 5, n), "bell": rng.normal(size=n)})


EDGES = {
    "days + 30": (lambda d: d.assign(day=d.day + 30), "drifted", "day has moved up"),
    "days − 30": (lambda d: d.assign(day=d.day - 30), "drifted", "day has moved down"),
    "prices + 2.50": (lambda d: d.assign(price=d.price + 2.5), "drifted", "price"),
    "shares + .05": (lambda d: d.assign(share=d.share + 0.05), "drifted", "share"),
    "the first month gone": (lambda d: d[d.day >= 36], "early", "day has lost its least values"),
    "dear ones gone": (lambda d: d[d.price < np.exp(3 + 0.8 * 1.645)], "early", "price:high"),
    "one side cut at 2 sd": (lambda d: d[d.bell > -2], "early", "bell has lost its least values"),
}


@pytest.mark.parametrize("seed", [1, 2])
def test_edges_that_move_along_have_drifted_and_edges_that_fall_off_are_lost(tmp_path, seed):
    rng = np.random.default_rng(seed)
    edged(6000, rng).to_csv(tmp_path / "r.csv", index=False)
    edged(1200, rng).to_csv(tmp_path / "0.csv", index=False)
    for i, (change, _, _) in enumerate(EDGES.values()):
        change(edged(1600, rng)).head(1200).to_csv(tmp_path / f"{i + 1}.csv", index=False)
    snapshots = layouts.find([str(tmp_path / f"{i}.csv") for i in range(len(EDGES) + 1)])
    fresh, *rest = (one.judged for one in survey.survey(layouts.whole(tmp_path / "r.csv"), snapshots).seen)
    assert fresh.verdict == "healthy"
    for (what, (_, verdict, words)), judged in zip(EDGES.items(), rest, strict=True):
        told = [*(item.text for item in judged.support), *(sign.feature for sign in judged.signs)]
        assert judged.verdict == verdict and any(words in text for text in told), (what, judged.verdict, told)


def test_rounded_numbers_have_drifted_and_say_nothing_of_spread(tmp_path):
    rng = np.random.default_rng(3)
    edged(6000, rng).assign(height=rng.normal(170, 9, 6000)).to_csv(tmp_path / "r.csv", index=False)
    changes = [("price", 1, "drifted"), ("height", 1, "drifted"), ("height", 10, "drifted"), ("height", 0, "late")]
    for i, (column, step, _) in enumerate(changes):
        made = edged(1200, rng).assign(height=rng.normal(170, 9, 1200))
        made[column] = (made[column] / step).round() * step if step else (170 + (made[column] - 170) * 0.2).round()
        if not step:  # what has collapsed and was rounded besides has collapsed
            made["bell"] *= 0.2
        made.to_csv(tmp_path / f"{i}.csv", index=False)
    snapshots = layouts.find([str(tmp_path / f"{i}.csv") for i in range(len(changes))])
    found = survey.survey(layouts.whole(tmp_path / "r.csv"), snapshots).seen
    for (column, step, verdict), one in zip(changes, found, strict=True):
        assert one.judged.verdict == verdict, (column, step, one.judged.verdict, one.judged.amount)
        assert any(f"{column} has only multiples of {step or 1}" in item.text for item in one.judged.support)
        assert not step or not one.judged.signs


@pytest.mark.parametrize(("x", "real", "expected"), [
    ([10, 20, 30, 40, 50], np.arange(60), (10, 1)),
    ([0.5, 1, 1.5, 2, 2.5], np.linspace(0, np.pi, 97), (0.5, 0)),
    ([1.25, 3.1, 4.77, 5.01, 9.4], np.linspace(0, 3 * np.pi, 97), (0.01, 0)),
    ([10, 20, 30, 40], np.arange(60), (0, 0)),
    (np.arange(20), np.arange(60), (0, 0)),
])
def test_the_step_of_rounded_values_is_found(x, real, expected):
    assert verdicts._grid(np.array(x, dtype=float), real.astype(float)) == pytest.approx(expected)


NAMES, SHARES = np.array(list("abcdefgh")), (0.3, 0.2, 0.15, 0.12, 0.1, 0.07, 0.04, 0.02)


def told(n: int, rng: np.random.Generator, gap: float = 0.02, names: np.ndarray = NAMES) -> pd.DataFrame:
    """Return rows of a category with gaps, a number that depends on it, and one that does not."""
    code = rng.choice(8, n, p=SHARES)
    named = names[code].astype(object)
    named[rng.random(n) < gap] = None
    return pd.DataFrame({"c": named, "x": (0.7 * code + rng.normal(size=n)).round(4), "y": rng.normal(size=n)})


SAID = {
    "fresh": (lambda n, rng: told(n, rng), "healthy", ""),
    "gaps rose": (lambda n, rng: told(n, rng, 0.3), "drifted", "of rows, 2 % in the reference"),
    "renamed": (lambda n, rng: told(n, rng, names=np.char.add("new ", NAMES)), "drifted", ""),
    "split": (lambda n, rng: told(n, rng).assign(c=lambda d: np.where(
        d.c == "a", rng.choice(["a1", "a2"], n), d.c)), "drifted", ""),
    "another meaning": (lambda n, rng: told(n, rng, names=np.roll(NAMES, 3)), "distorted", ""),
    "one renamed, of another meaning": (lambda n, rng: told(n, rng).assign(
        c=lambda d: rng.permutation(d.c.replace("a", "new"))), "distorted", ""),
    "gaps filled with one value": (lambda n, rng: told(n, rng).assign(
        y=lambda d: d.y.where(rng.random(n) > 0.1, 0.0)), "distorted", "values are one and the same in y"),
}


def test_what_befell_a_category_or_a_column_is_called_by_its_name(tmp_path):
    rng = np.random.default_rng(4)
    told(7000, rng).to_csv(tmp_path / "r.csv", index=False)
    for i, (change, _, _) in enumerate(SAID.values()):
        change(1200, rng).to_csv(tmp_path / f"{i}.csv", index=False)
    snapshots = layouts.find([str(tmp_path / f"{i}.csv") for i in range(len(SAID))])
    found = survey.survey(layouts.whole(tmp_path / "r.csv"), snapshots).seen
    for (what, (_, verdict, words)), one in zip(SAID.items(), found, strict=True):
        assert one.judged.verdict == verdict and words in one.judged.amount, (what, one.judged.verdict,
                                                                              one.judged.amount)


def test_gaps_of_a_category_that_vanish_are_no_loss_of_diversity(tmp_path):
    rng = np.random.default_rng(5)
    told(7000, rng, 0.3).to_csv(tmp_path / "r.csv", index=False)
    for i, gap in enumerate((0.0, 0.6)):
        told(1200, rng, gap).to_csv(tmp_path / f"{i}.csv", index=False)
    snapshots = layouts.find([str(tmp_path / "0.csv"), str(tmp_path / "1.csv")])
    found = [one.judged for one in survey.survey(layouts.whole(tmp_path / "r.csv"), snapshots).seen]
    assert [one.verdict for one in found] == ["drifted", "drifted"]
    assert re.fullmatch("c is missing in 0 % of rows, (29|3[0-3]) % in the reference", found[0].amount)


def judged(tmp_path: Path, reference: pd.DataFrame, *snapshots: pd.DataFrame, **options: Any) -> survey.SnapshotSeries:
    reference.to_csv(tmp_path / "r.csv", index=False)
    for i, one in enumerate(snapshots):
        one.to_csv(tmp_path / f"{i}.csv", index=False)
    found = layouts.find([str(tmp_path / f"{i}.csv") for i in range(len(snapshots))])
    return survey.survey(layouts.whole(tmp_path / "r.csv"), found, **options)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_clock_that_moves_on_is_left_out_and_hides_nothing(tmp_path, shuffled):
    rng = np.random.default_rng(6)

    def events(n: int, start: int, width: float = 1.0) -> pd.DataFrame:
        when = pd.Timestamp("2024-01-01") + pd.to_timedelta(60 * start + np.sort(rng.integers(0, 60 * n, n)), unit="s")
        made = pd.DataFrame({"id": np.arange(n) + start, "when": when, "v": (width * rng.normal(size=n)).round(3)})
        return made.sample(frac=1, random_state=1) if shuffled else made

    found = judged(tmp_path, events(2400, 0), events(400, 2400), events(400, 2800, 0.3))
    assert [one.judged.verdict for one in found.seen] == ["healthy", "late"]
    assert set(found.left_out) == {"id", "when"} and "clock" in found.left_out["when"]
    with pytest.raises(InputError, match=r"--strict: .* not watched would be 'when', for .*clock"):
        judged(tmp_path, events(2400, 0), events(400, 2400), strict=True, drop=["id"])
    named = judged(tmp_path, events(2400, 0), events(400, 2400), options=Options(types={"when": "datetime"}))
    assert "when" not in named.left_out and named.verdict != "healthy"


def test_frequent_values_that_change_hands_have_drifted(tmp_path):
    rng = np.random.default_rng(7)

    def hours(n: int, often: float) -> pd.DataFrame:
        held = np.where(rng.random(n) < often, 40, np.clip(rng.normal(40, 12, n), 1, 99).round())
        return pd.DataFrame({"hours": held.astype(int), "x": rng.normal(size=n)})

    fresh, gone = (one.judged for one in judged(tmp_path, hours(4000, 0.47), hours(600, 0.47), hours(600, 0.05)).seen)
    assert fresh.verdict == "healthy"
    assert ("value_tv", "hours") in {(sign.metric, sign.feature) for sign in gone.signs if sign.role == "moved"}
    assert gone.verdict != "healthy"


def test_a_column_that_has_collapsed_is_said_before_more_tails(tmp_path):
    rng = np.random.default_rng(8)

    def cups(n: int, by: float = 1.0) -> pd.DataFrame:  # most of it lies at both ends, and what is narrower between
        return pd.DataFrame({"p": by * rng.beta(0.3, 0.3, n), "a": rng.normal(size=n), "b": rng.normal(size=n)})

    half, none = (one.judged for one in judged(tmp_path, cups(2400), cups(400, 0.5), cups(400, 0.001)).seen)
    assert half.verdict == "early"
    assert re.fullmatch("[12][0-9] % of the reference's spread in p", half.amount), half.amount
    assert none.verdict in ("early", "late")
    assert re.fullmatch("[01] % of the reference's spread,?( most)? in p", none.amount), none.amount


def test_a_lost_value_is_named(tmp_path):
    rng = np.random.default_rng(10)

    def scores(n: int, none: float) -> pd.DataFrame:
        held = np.where(rng.random(n) < none, 0.0, rng.normal(50, 8, n).clip(1))
        return pd.DataFrame({"score": held.round(2), "x": rng.normal(size=n)})

    found = judged(tmp_path, scores(3000, 0.12), scores(500, 0.0)).seen[0].judged
    assert "score has lost the value 0 " in " ".join(item.text for item in found.support), found.support
    assert found.verdict == "early" and found.amount.startswith("score has lost the value 0 (1"), found.amount


def test_a_group_that_narrows_or_widens_is_seen(tmp_path):
    rng = np.random.default_rng(9)

    def regions(n: int, by: float = 1.0) -> pd.DataFrame:
        north = rng.random(n) < 0.25
        wide = np.where(north, by, 1.0)
        return pd.DataFrame({"region": np.where(north, "north", "south"), "a": wide * rng.normal(size=n),
                             "b": wide * rng.normal(size=n)})

    fresh, *changed = (one.judged for one in judged(tmp_path, regions(4800), regions(800), regions(800, 0.3),
                                                    regions(800, 3.0), groups=(("region",),)).seen)
    assert fresh.verdict == "healthy" and [one.verdict for one in changed] == ["early", "distorted"]
    assert all(("group_spread", "region=north") in {(sign.metric, sign.feature) for sign in one.signs}
               for one in changed)


def test_a_day_is_written_as_a_day():
    assert tables.shown(Column("d", "number", type="date"), 19722.0) == "2023-12-31"
    assert tables.shown(Column("t", "number", type="datetime"), 1.7e15) == "2023-11-14 22:13:20"
    assert tables.shown(Column("x", "number"), 2.5) == "2.5"


def crossed(n: int, seed: int, cells: tuple[float, ...]) -> pd.DataFrame:
    """Rows of a region and a sex, which say nothing of a number beside them."""
    rng = np.random.default_rng(seed)
    which = rng.choice(4, n, p=np.array(cells) / sum(cells))
    return pd.DataFrame({"region": np.array(["north", "south"])[which // 2], "sex": np.array(["m", "f"])[which % 2],
                         "x": rng.normal(size=n)})


def test_what_is_gone_from_all_rows_is_named_and_never_healthy(tmp_path):
    """A category of 2 % and a group of 2 %: on measured rows alone chance might have left them out."""
    crossed(6_000, 1, (0.49, 0.245, 0.245, 0.02)).to_csv(tmp_path / "real.csv", index=False)
    for name, cells in (("fresh", (0.49, 0.245, 0.245, 0.02)), ("poor", (0.49, 0.255, 0.255, 0.0))):
        crossed(1_200, 2, cells).to_csv(tmp_path / f"{name}.csv", index=False)

    def seen(name: str, groups=()) -> Any:
        return survey.survey(layouts.whole(tmp_path / "real.csv"), layouts.find([str(tmp_path / name)]),
                             groups=groups).seen[0].judged

    both = (("region", "sex"),)
    assert seen("fresh.csv", both).verdict == "healthy"
    found = seen("poor.csv", both)
    assert found.verdict == "early"
    assert found.amount.startswith("region × sex has lost region=south, sex=f (")
    rng = np.random.default_rng(3)
    for name, n, shares in (("many", 6_000, (0.7, 0.28, 0.02)), ("few", 1_200, (0.7, 0.3, 0.0)),
                            ("second", 1_200, (0.0, 0.93, 0.07))):
        pd.DataFrame({"c": rng.choice(list("abc"), n, p=shares), "x": rng.normal(size=n)}).to_csv(
            tmp_path / f"{name}.csv", index=False)
    real = layouts.whole(tmp_path / "many.csv")
    rare, common = survey.survey(real, layouts.find([str(tmp_path / f"{n}.csv") for n in ("few", "second")])).seen
    assert (rare.judged.verdict, rare.judged.amount) == ("early", "c has lost 'c' (2 % of the reference)")
    # what held more than half is material
    assert common.judged.verdict == "late" and common.judged.support[0].lost == pytest.approx(0.7, abs=0.02)


def test_a_hundred_clean_tables_lose_nothing(tmp_path):
    """The exact test of what is gone keeps its share of the rate over many categories."""
    rng = np.random.default_rng(5)
    share = rng.dirichlet(np.full(200, 0.3))
    real = np.bincount(rng.choice(200, 5_000, p=share), minlength=200)
    found = []
    for _ in range(300):
        seen = np.bincount(rng.choice(200, 1_000, p=share), minlength=200)
        found += [min((verdicts.gone("c", "", int(k), int(x), 1_000, 5_000).p for k, x in zip(real, seen, strict=True)
                       if k and x <= 0.1 * k / 5), default=1.0) * 200]
    assert np.mean(np.array(found) < 0.05) <= 0.05


@pytest.mark.parametrize("option", ["--page", "--suite"])
def test_a_folder_and_what_is_read_are_never_written_over(tmp_path, folder, option):
    precious = tmp_path / "full"
    precious.mkdir()
    (precious / "keep.txt").write_text("precious")
    real = shutil.copy(folder / "real.csv", tmp_path / "real.csv")
    before = Path(real).read_bytes()
    for target, words in ((precious, "is a folder; name a file"), (Path(real), "is one of the data sets")):
        with pytest.raises(InputError, match=rf"{option}: .*{words}"):
            watch_flow.look(Path(real), [str(real)], **{option[2:]: target})
    assert (precious / "keep.txt").read_text() == "precious" and Path(real).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "real.csv"]


def test_the_page_is_one_safe_file(series):
    from collapse.report.watch import render

    page = render(series)
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "<script" not in page
    assert page.count("<svg") >= 3
    assert render(series) == page


def test_the_sample_of_a_large_file_is_fixed_and_fair(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 1000)
    pd.DataFrame({"x": np.arange(20_000) + 0.5, "k": np.arange(20_000) % 3}).to_parquet(tmp_path / "big.parquet")
    data = layouts.whole(tmp_path / "big.parquet")
    reader = Reader.of(data)
    found = [tables._sampled(reader.frames(data), Rng(1), 500, "big") for _ in range(2)]
    assert found[0][0].equals(found[1][0])
    assert found[0][1] == 20_000
    assert len(found[0][0]) == 500
    assert stats.kstest(found[0][0]["x"] / 20_000, "uniform").pvalue > 1e-3


def test_folders_are_snapshots_of_all_their_files(tmp_path):
    for day in ("1", "2", "10"):
        (tmp_path / "days" / day).mkdir(parents=True)
        for part in "ab":
            table(50, int(day)).to_csv(tmp_path / "days" / day / f"{part}.csv", index=False)
    found = layouts.find([str(tmp_path / "days")])
    assert [Path(one.name).name for one in found] == ["1", "2", "10"]
    assert all(len(one.files) == 2 for one in found)


# --------------------------------------------------------------------------------------------- bad input


def _columns(root):
    table(M, 2).drop(columns=["age", "id"]).assign(wage=1.0).to_csv(root / "s.csv", index=False)


def _type(root):
    table(M, 2).assign(age=["forty"] * M).to_csv(root / "s.csv", index=False)


def _halves(root):
    table(M, 2).assign(age=40.5).to_csv(root / "s.csv", index=False)


def _empty(root):
    table(M, 2).head(0).to_csv(root / "s.csv", index=False)


def _nothing(root):
    (root / "s.csv").write_text("")


def _broken(root):
    (root / "s.parquet").write_bytes(b"PAR1 but not really")


def _ending(root):
    (root / "s.xlsx").write_bytes(b"x")


def _absent(root):
    pass


def _mixed(root):
    (root / "s.txt").write_text("words")


BAD = [
    (_columns, "s.csv", "lacks 'age' and has 'wage' beside"),
    (_type, "s.csv", "column 'age' holds 'forty', but is integer"),
    (_halves, "s.csv", "column 'age' holds 40.5, but whole numbers"),
    (_empty, "s.csv", "has no rows"),
    (_nothing, "s.csv", "has no columns"),
    (_broken, "s.parquet", "is not readable Parquet"),
    (_ending, "s.xlsx", "unknown ending '.xlsx'"),
    (_absent, "s.csv", "no file, folder or pattern"),
    (_mixed, "s.txt", "is text, but the reference is a table"),
]


@pytest.mark.parametrize(("make", "name", "message"), BAD, ids=[make.__name__[1:] for make, _, _ in BAD])
def test_bad_snapshots_are_one_line_before_anything_is_measured(tmp_path, folder, monkeypatch, make, name, message):
    make(tmp_path)
    monkeypatch.setattr(Watch, "measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        survey.survey(layouts.whole(folder / "real.csv"), layouts.find([str(tmp_path / name)]))
    assert "\n" not in str(caught.value)


def test_a_reference_that_is_too_small_says_what_it_takes(tmp_path, folder):
    table(350, 1).to_csv(tmp_path / "tiny.csv", index=False)
    table(400, 1).to_csv(tmp_path / "small.csv", index=False)
    found = layouts.find([str(folder / "snaps")])
    with pytest.raises(InputError, match="has 350 rows, and a verdict takes 360; give more rows"):
        survey.survey(layouts.whole(tmp_path / "tiny.csv"), found)
    series = survey.survey(layouts.whole(tmp_path / "small.csv"), found)
    assert series.told[-1].endswith("the loss of spread or modes can be seen by them, that of a tail from 930 on")
    assert [one.judged.verdict for one in series.seen[:2]] == ["healthy", "healthy"]


def test_text_that_is_not_utf8_names_the_byte(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"a" * 100_000 + b"\xff" + b"b" * 10)
    with pytest.raises(InputError, match="not UTF-8: byte 100000 is 0xff"):
        documents.documents(layouts.whole(tmp_path / "bad.txt"))


# --------------------------------------------------------------------------------------- command, suite


def test_the_command(folder, tmp_path):
    out = tmp_path / "out"
    done = cli(folder, "-r", "real.csv", "snaps/day-2.csv", "snaps/day-10.parquet", "--page", str(out / "p.html"),
               "--suite", str(out / "suite.json"), "--json")
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["verdict"] == "late"
    assert (out / "p.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in out.iterdir()) == ["p.html", "suite.json"]
    bad = cli(folder, "-r", "real.csv", "nowhere.csv", "--page", str(out / "q.html"))
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert not (out / "q.html").exists()
    # anyone's own pipeline: no module of this project is at hand
    script = ("import json, sys, pandas as pd, great_expectations as gx\n"
              "suite = gx.ExpectationSuite(**json.load(open(sys.argv[1])))\n"
              "context = gx.get_context(mode='ephemeral')\n"
              "asset = context.data_sources.add_pandas('p').add_dataframe_asset('a')\n"
              "batch = asset.add_batch_definition_whole_dataframe('w')\n"
              "read = lambda p: pd.read_csv(p) if p.endswith('csv') else pd.read_parquet(p)\n"
              "print([bool(batch.get_batch({'dataframe': read(p)}).validate(suite).success) for p in sys.argv[2:]])\n"
              "assert not {m.split('.')[0] for m in sys.modules} & {'collapse', 'collapse_lab'}\n")
    names = [str(folder / "snaps" / name) for name in ("day-2.csv", "day-9.csv", "day-10.parquet")]
    ran = subprocess.run([sys.executable, "-c", script, str(out / "suite.json"), *names], capture_output=True,
                         text=True, cwd=tmp_path, check=False, timeout=200,
                         env={**os.environ, "GX_ANALYTICS_ENABLED": "false"})
    assert ran.stdout.strip().splitlines()[-1] == "[True, True, False]", ran.stderr[-2000:]


def test_a_change_of_verdict_raises_an_event(folder, tmp_path, prefect_api, monkeypatch):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from collapse_lab.flows import watch_schedule
    from collapse_lab.flows._run import no_heartbeat

    raised = []
    emit = watch_schedule.emit_event
    monkeypatch.setattr(watch_schedule, "emit_event", lambda **words: raised.append(emit(**words)))
    monkeypatch.chdir(tmp_path)
    with temporary_settings({PREFECT_API_URL: prefect_api}), no_heartbeat():
        for names in (["day-2.csv"], ["day-2.csv", "day-10.parquet"], ["day-2.csv", "day-10.parquet"]):
            there = [str(folder / "snaps" / name) for name in names]
            watch_schedule.watch(str(folder / "real.csv"), there, {}, "w/index.html")
    assert [event.event for event in raised] == [watch_schedule.CHANGED]
    assert (raised[0].payload["from"], raised[0].payload["to"]) == ("healthy", "late")
    assert raised[0].id is not None
    assert json.loads((tmp_path / "w" / "index.json").read_text())["verdict"] == "late"


def test_memory_does_not_grow_with_the_file(folder, tmp_path):
    """A snapshot of 60 MB takes little more than one of 60 kB: it is read in pieces."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pa.Table.from_pandas(table(500_000, 7), preserve_index=False)
    with pq.ParquetWriter(tmp_path / "big.parquet", data.schema) as writer:
        for _ in range(3):
            writer.write_table(data, row_group_size=100_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    real = survey.read(layouts.whole(folder / "real.csv"))
    rows, n, _ = real.read_as(layouts.whole(tmp_path / "big.parquet"), 2_000)
    assert n == 1_500_000
    assert rows.n == tables.SAMPLE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def _names(rng: np.random.Generator, n: int, spread: int = 2_000) -> pd.DataFrame:
    """Rows of beginnings of names, of which a random half is never seen twice, and a length."""
    beginning = np.floor(spread * rng.beta(0.6, 2.5, n)).astype(int)
    return pd.DataFrame({"beginning": [f"b{i}" for i in beginning], "length": rng.poisson(6, n) + 2})


def test_random_halves_of_a_list_of_names_are_healthy(tmp_path):
    """Fresh rows bring categories that the reference lacks: each counts as one of its own, and none is lost for it."""
    rng = np.random.default_rng(4)
    _names(rng, 2_400).to_csv(tmp_path / "real.csv", index=False)
    for i in range(4):
        _names(rng, 500).to_csv(tmp_path / f"fresh-{i}.csv", index=False)
    few = _names(rng, 500, 40)
    few.to_csv(tmp_path / "poor.csv", index=False)
    real = layouts.whole(tmp_path / "real.csv")
    found = survey.survey(real, layouts.find([str(tmp_path / "fresh-*.csv")]))
    assert [one.judged.verdict for one in found.seen] == ["healthy"] * 4
    assert survey.survey(real, layouts.find([str(tmp_path / "poor.csv")])).verdict == "late"
    # a pipeline that accumulates holds the very rows of the reference: nothing is lost for that
    assert survey.survey(real, [real]).verdict == "healthy"
