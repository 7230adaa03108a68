"""The page, its tables and its drawing, from records written by hand; opened in a real browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import struct
import subprocess
import zlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import markupsafe
import numpy as np
import pytest
from scipy import stats

from collapse.calibration import Band
from collapse.claims.answers import DEFINITIONS, Settings
from collapse.claims.grammar import parse_claims
from collapse.claims.grid import Grid
from collapse.claims.published import Published
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.metrics.base import Fact
from collapse.parquet import write_part
from collapse.pool import Part
from collapse.report import drawing, finding, galleries, numbers, page, painters, pictures, result
from collapse.report.collect import Collected, collect
from collapse.report.opening import unmet
from collapse.rng import Rng
from collapse.spec import canonical, digest

SECTIONS = ("summary", "stages", "curves", "samples", "gates", "claims", "lineage", "about")
GENERATIONS, REPLICATES = 10, 8
FEATURES = ("class 0", "class 1", "</script ><script>")
FACTS = {
    "tail_kept": Fact("tails", 1, "below", "1.0: every frozen tail region keeps its mass; 0.0: the tails are gone.",
                       "Defined here"),
    "variance_ratio": Fact("spread", 1, "below", "1.0: the spread of real data; 0.0: a single point.", "Defined here",
                           below="spread lost"),
    "energy": Fact("drift", 0, "above", "0.0: the same distribution; grows with distance.", "Székely and Rizzo 2013",
                   step=True),
    "rare_coverage": Fact("tails", 1, "below", "1.0: every rare row has a sample near it; 0.0: none has.",
                          "Naeem et al. 2020"),
}
CLAIMS = [
    {"claim": "replace.tail_kept leaves the control band below by generation 5", "source": "Shumailov et al. 2024"},
    "accumulate.variance_ratio stays inside the control band",
    {"claim": "replace.tail_kept < accumulate.tail_kept at generation 10", "source": "Gerstgrasser et al. 2024"},
    "control is healthy in 95 % of cells",
    "replace warns before late",
    "rescue.variance_ratio rises",
    "accumulate.variance_ratio < 0.5 at generation 10",
]


class Bands:
    """A band of the median over replicates, as the calibration would give it."""

    def band(self, metric, feature="", kind="model", replicates=1, cells=1):
        if metric.endswith("_step"):
            return None
        center, half = {"energy": (0.12, 0.10)}.get(metric, (0.98, 0.09))
        return Band(low=center - half, high=center + half, center=center, fits=200, method="max statistic")


def level(branch: str, generation: int, metric: str) -> float:
    """Return the expected value: replace falls, rescue comes back from its fork, the others stay."""
    fall = {"tail_kept": 0.24, "rare_coverage": 0.17, "variance_ratio": 0.07}.get(metric, 0.35)
    depth = {"replace": generation, "rescue": max(0, 5 - (generation - 5)), "accumulate": 0.2}.get(branch, 0)
    if generation == 0:
        depth = 0
    if metric == "energy":
        return 0.1 * np.exp(fall * depth)
    return 0.98 * np.exp(-fall * depth)


GRID = {
    "over": {"generation": [2, GENERATIONS]},
    "readings": {"lost <i>tails</i>": "replace.tail_kept < accumulate.tail_kept at generation {generation}",
                 "gained": "replace.tail_kept > accumulate.tail_kept + 0.5 at generation {generation}"},
}
PUBLISHED = [{"series": "mean replace.energy", "values": {1: 0.2, 5: 0.1, 99: 0.05}, "source": "<b>a paper</b>"}]


def study_of(title: str, claims=CLAIMS) -> SimpleNamespace:
    model = SimpleNamespace(kind="vae", spec=lambda: {"kind": "vae"})

    def branch(first=1, from_=None, at=0, **spec):
        regime = SimpleNamespace(kind=spec["kind"], spec=lambda: spec)
        return SimpleNamespace(regime=regime, from_=from_, at=at, first=first, last=GENERATIONS, model=model, rows=400)

    branches = {
        "control": branch(kind="control"), "replace": branch(kind="replace"), "accumulate": branch(kind="accumulate"),
        "keep10": branch(kind="redraw", real=0.1), "rescue": branch(6, "replace", 5, kind="accumulate"),
    }
    return SimpleNamespace(
        name="digits", title=title, seed=7, rows=400, generations=GENERATIONS, replicates=REPLICATES,
        measured=REPLICATES,
        source=SimpleNamespace(kind="digits"), model=model, branches=branches,
        claims=parse_claims(claims, "studies/digits.yaml", branches, FACTS), factors=None, ladder=None,
        groups=(), sweeps={}, definitions=Settings(), late=0.5,
        published=Published.parse(PUBLISHED, "studies/digits.yaml: published", branches, FACTS),
        grid=Grid.parse(GRID, "studies/digits.yaml: grid", branches, FACTS),
        floor=lambda branch: "calibration")


def nodes_of(study) -> dict[str, SimpleNamespace]:
    found = {f"{study.name}-real": SimpleNamespace(name=f"{study.name}-real", branch=None, generation=0, parent=None)}
    for name, branch in study.branches.items():
        parent = f"{study.name}-{branch.from_}-{branch.at:02d}" if branch.from_ else f"{study.name}-real"
        for generation in range(branch.first, branch.last + 1):
            node = f"{study.name}-{name}-{generation:02d}"
            found[node] = SimpleNamespace(name=node, branch=name, generation=generation, parent=parent)
            parent = node
    return found


def stage_of(tails: float, spread: float) -> str:
    return "late" if spread < 0.7 else "early" if tails < 0.72 else "healthy"


def measure(study, node) -> list[tuple[int, str, str, float]]:
    rows = []
    for metric in FACTS:
        noise = Rng("fixture", node.generation, metric).at(node.branch or "real").normal((REPLICATES,))
        mean = level(node.branch or "real", node.generation, metric)
        rows += [(r, metric, "", float(mean * np.exp(0.06 * noise[r]))) for r in range(REPLICATES)]
        if metric == "variance_ratio":
            rows += [(r, metric, feature, float(mean * np.exp(0.1 * noise[r] - 0.01 * k)))
                     for r in range(REPLICATES) for k, feature in enumerate(FEATURES)]
    return rows


@cache
def handwriting():
    from sklearn.datasets import load_digits

    return load_digits()


def images(node, shrink: float) -> Rows:
    """Real handwritten digits, each drawn ``shrink`` of the way from its class mean, as collapse would."""
    digits = handwriting()
    schema = Schema((Column("image", "image", shape=(8, 8)),
                     Column("label", "category", tuple("0123456789"), role="label")))
    index = Rng("fixture", "rows", node.generation).generator().permutation(len(digits.target))[:64]
    label = digits.target[index].astype(np.int32)
    means = np.stack([digits.images[digits.target == k].mean(axis=0) for k in range(10)])
    drawn = means[label] + shrink * (digits.images[index] - means[label])
    drawn = shrink * drawn + (1 - shrink) * 0.6 * (drawn + means.mean(axis=0)) if shrink < 1 else drawn
    return Rows(schema, {"image": drawn[None] / 16, "label": label[None]})


def plane(node, shrink: float) -> Rows:
    """Two numbers and a category with a hostile name."""
    schema = Schema((Column("x", "number"), Column("y", "number"),
                     Column("kind", "category", ("common", "</svg><script>alert(3)</script>", "rare"))))
    z = Rng("fixture", "plane", node.generation).normal((1, 150, 2))
    turn = np.where(z[..., 0] > 0, 1.5, -1.5)
    codes = (np.arange(150) % 10 > 6).astype(np.int32) + (np.arange(150) % 10 > 8) * (shrink > 0.7)
    return Rows(schema, {"x": shrink * z[..., 0] + turn, "y": shrink * z[..., 1], "kind": codes[None].astype(np.int32)})


def line(node, shrink: float) -> Rows:
    return Rows(Schema((Column("x", "number"),)), {"x": shrink * Rng("line", node.generation).normal((1, 100))})


def write_records(study, folder: Path, sample=images, halted: str = "") -> dict[str, SimpleNamespace]:
    """Write every record of ``study`` by the contract; from ``halted`` on, keep10 leaves tombstones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    nodes = nodes_of(study)
    names = pa.schema([("replicate", pa.int16()), ("metric", pa.string()), ("feature", pa.string()),
                       ("value", pa.float64())])
    for name, node in nodes.items():
        dead = bool(halted) and node.branch == "keep10" and name > halted
        manifest = {"node": name, "fresh": "resampled", "real_inputs": ["labels"] if node.branch else [],
                    "parts": [{"origin": "digits-real", "kind": "real", "rows": 40, "generation": 0},
                              {"origin": name, "kind": "synthetic", "rows": 360, "generation": node.generation}]}
        if dead:
            manifest |= {"halted": {"gate": "tail_kept", "node": halted}, "parts": []}
        rows = [] if dead else measure(study, node)
        note = canonical({"manifest": manifest, "manifest_sha256": digest(manifest)}).encode()
        columns = [pa.array([row[i] for row in rows], names.field(i).type) for i in range(4)]
        pq.write_table(pa.table(columns, schema=names.with_metadata({b"collapse": note})), folder / f"{name}.parquet")
        tails, spread = (level(node.branch or "real", node.generation, m) for m in ("tail_kept", "variance_ratio"))
        failed = tails < 0.89
        outcome = "halt" if dead or name == halted else "pass"
        (folder / f"{name}.validation.json").write_text(json.dumps({
            "node": name, "outcome": outcome, "success": not failed,
            "stage": None if dead else {"node": stage_of(tails, spread), "replicates": [
                stage_of(tails * (1 + 0.03 * (r - 4)), spread * (1 + 0.03 * (r - 4))) for r in range(REPLICATES)]},
            "gates": [] if dead else [
                {"gate": "tail_kept", "expectation": "ExpectTailsToSurvive", "description": "Tails keep their mass.",
                 "success": not failed, "action": "record", "observed": tails, "min": 0.89, "max": None,
                 "threshold": "control"},
                {"gate": "energy", "expectation": "ExpectNoDrift", "description": "The sample stays near reality.",
                 "success": True, "action": "halt", "observed": 0.1, "min": None, "max": 3.5, "threshold": "3.5"}]}))
        (folder / f"{name}.verdict.json").write_text(json.dumps({
            "outcome": outcome, "gates": ["tail_kept"] if outcome == "halt" else [], "node": halted or None}))
        if not dead:
            shrink = np.sqrt(level(node.branch or "real", node.generation, "variance_ratio") / 0.98)
            part = Part.of(sample(node, shrink), name, node.generation, synthetic=node.branch is not None)
            write_part(part, folder / f"{name}.samples.parquet", study.name)
    floor = pa.table({"kind": ["model", "real"] * 50, "replicate": pa.array(np.repeat(np.arange(50), 2), pa.int32()),
                      "metric": ["tail_kept"] * 100, "feature": [""] * 100, "value": np.linspace(0.9, 1.1, 100)})
    pq.write_table(floor, folder / "calibration.parquet")
    return nodes


def gather(folder: Path, study=None, sample=images, halted: str = "") -> Collected:
    study = study or study_of("Handwritten digits, learned from copies of copies")
    nodes = write_records(study, folder, sample, halted)
    laws = {("replace", "variance_ratio", ""): {t: 0.98 * np.exp(-0.068 * t) for t in range(GENERATIONS + 1)}}
    return collect(study, nodes, folder, {name: Bands() for name in study.branches}, cells=20, facts=FACTS, laws=laws)


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Collected:
    return gather(tmp_path_factory.mktemp("records") / "digits")


@pytest.fixture(scope="module")
def html(collected) -> str:
    return page.render(collected)


def own(html: str) -> str:
    """Return the page without the plotting library."""
    from plotly.offline import get_plotlyjs

    return html.replace(get_plotlyjs(), "")


def embedded(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


# ------------------------------------------------------------------------------------------ contents


def test_every_cell_of_a_grid_is_shown(tmp_path):
    study = study_of("A grid")
    nodes = write_records(study, tmp_path / "records")
    collected = collect(study, nodes, tmp_path / "records", facts=FACTS)
    text = page.render(collected)
    table = text[text.index('<section id="grid">'):]
    table = table[: table.index("</section>")]
    assert table.count("<tr>") == 3 and "lost &lt;i&gt;tails" in table and "<i>tails" not in text
    assert "holds in 0 of 2" in table and [f.verdict for f in collected.grid.readings["gained"]] == ["fails", "fails"]
    assert result.summary(collected)["grid"]["readings"]["gained"][1]["cell"] == {"generation": str(GENERATIONS)}
    assert "of 2 cells  gained" in result.text_summary(collected)


def section_of(html: str, name: str) -> str:
    found = own(html)[own(html).index(f'<section id="{name}">'):]
    return found[: found.index("</section>")]


def test_every_definition_is_answered_for_every_branch(collected, html):
    section, answers = section_of(html, "definitions"), result.summary(collected)["definitions"]["branches"]
    text = result.text_summary(collected)
    assert section.count('<th scope="row">') == len(DEFINITIONS) == 8
    for name, found in answers.items():
        assert list(found) == list(DEFINITIONS)
        assert f"Under {name}, " in section and f"Under {name}, " in text
        for answer in found.values():
            assert f'title="{markupsafe.escape(answer["sentence"])}"' in section
    tails = answers["replace"]["tails"]
    measured = collected.table[(collected.table.metric == "tail_kept") & (collected.table.generation == 10)]
    wide = measured.pivot(index="replicate", columns="branch", values="value")
    kept = np.sort(wide["replace"] / wide["control"])
    assert tails["verdict"] == "holds" and tails["replicates"] == REPLICATES
    assert (tails["low"], tails["estimate"], tails["high"]) == pytest.approx(
        (kept[1], np.median(kept), kept[-2]), rel=1e-5)  # 9 of 256 medians of 8 lie beyond either
    estimate, low, high = (numbers.number(tails[key]) for key in ("estimate", "low", "high"))
    assert f"● {estimate} [{low}, {high}]" in text
    assert answers["rescue"]["tails"]["against"] == "control at generation 10"
    assert answers["control"]["tails"]["against"] == "generation 1"


def test_answers_of_many_branches_are_counted_and_folded(collected, monkeypatch):
    monkeypatch.setattr(result, "FEW", 2)
    section, text = section_of(page.render(collected), "definitions"), result.text_summary(collected)
    head, _, folded = section.partition('<details class="fold">')
    counts = collected.definitions.tally("tails")
    assert sum(counts.values()) == len(collected.branches) and folded.count('<th scope="row">') == len(counts) + 1
    for verdict, count in counts.items():
        assert f'<td class="n">{count or "–"}</td>' in head, verdict
    row = next(line for line in text.splitlines() if line.startswith(DEFINITIONS["tails"]))
    assert row.split()[-4:] == [str(count or "–") for count in counts.values()] and "Under replace" not in text


def test_every_claim_stands_with_what_remains_after_holm(collected, html):
    section = section_of(html, "claims")
    rows = re.findall(r"<tr><th scope=.row.>(.*?)</tr>", section)
    assert len(rows) == len(CLAIMS) == len(collected.claims)
    for row, claim in zip(rows, collected.claims, strict=True):
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", row)
        assert cells[0] == claim["verdict"]
        assert cells[1:] == ["–", "–", "–"] if claim["p"] is None else cells[3] == claim["holm"]
    # 3.5 % over five tests holds alone, and no longer among them
    assert "<td class=\"holds\">holds</td><td class=\"n\">0.0352</td><td class=\"n\">0.0703</td>" \
        "<td class=\"undecided\">undecided</td>" in section
    assert "undecided  accumulate.variance_ratio stays inside" in result.text_summary(collected)


def test_published_figures_stand_beside_what_is_measured(collected, html):
    values = collected.table[(collected.table.node == "digits-replace-05") & (collected.table.metric == "energy")].value
    low, high = stats.t.interval(0.95, REPLICATES - 1, values.mean(), stats.sem(values))
    found = result.summary(collected)["published"]
    assert [(p["generation"], p["published"]) for p in found[0]["points"]] == [(1, 0.2), (5, 0.1), (99, 0.05)]
    measured = [found[0]["points"][1][key] for key in ("measured", "low", "high")]
    assert measured == pytest.approx([values.mean(), low, high], rel=1e-5)
    assert found[0]["points"][2]["measured"] is None  # the branch ends at 10
    assert collected.published[0].kept[1] == pytest.approx((0.5, values.mean() / found[0]["points"][0]["measured"]),
                                                           rel=1e-5)
    drawn = {c["metric"]: c["published"] for c in embedded(html)["curves"] if c["published"]}
    assert drawn == {"energy": {"replace": {"x": [1, 5], "y": [0.2, 0.1]}}}
    section = own(html)[own(html).index('<section id="published">'):]
    section = section[: section.index("</section>")]
    assert "&lt;b&gt;a paper" in section and "<b>a paper" not in section
    assert '<td class="n">50 %</td>' in section and '<td class="n">–</td>' in section
    assert "A dash: this study has no such generation." in section
    assert "replace.energy at generation 5: " in result.text_summary(collected)


def test_a_band_that_no_loss_can_leave_is_named(collected, html):
    assert collected.blind == {} and "Blind:" not in html

    class Wide(Bands):
        def band(self, metric, feature="", kind="model", replicates=1, cells=1):
            return Band(low=-0.1 if metric == "tail_kept" else 0.1, high=2, center=1, fits=30, method="wide")

    some = dataclasses.replace(collected, bands={**collected.bands, "replace": Wide(), "keep10": Wide()})
    assert some.blind == {"tail_kept": ("replace", "keep10")}
    assert "no loss of <code>tail_kept</code> can leave its band, which reaches down to 0 in replace, keep10:" in \
        page.render(some)
    assert "blind: no loss of tail_kept can leave its band in replace, keep10; fits" in result.text_summary(some)
    assert result.summary(some)["blind"] == {"tail_kept": ["replace", "keep10"]}
    every = dataclasses.replace(collected, bands=dict.fromkeys(collected.bands, Wide()))
    assert "can leave its band; fits" in result.text_summary(every)


def test_page_has_every_section_once_and_in_order(html):
    places = [html.index(f'<section id="{name}">') for name in SECTIONS]
    assert places == sorted(places)
    assert all(html.count(f'<section id="{name}">') == 1 for name in SECTIONS)


def test_equal_records_give_equal_bytes(html, tmp_path):
    again = gather(tmp_path / "elsewhere" / "digits")
    page.write(again, tmp_path / "a")
    page.write(again, tmp_path / "b")
    assert page.render(again) == html
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["claims.json", "index.html", "metrics.parquet", "summary.json"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_page_asks_for_nothing_over_the_network(html):
    text = own(html)
    assert "default-src 'none'" in text
    assert not re.findall(r'(?:src|href|action)="(?!#|data:)[^"]*"', text)
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttpRequest|//[a-z]+\.[a-z]+/", text)


def test_page_is_small_beside_its_plotting_library(html):
    assert len(own(html).encode()) < 600_000


@pytest.mark.parametrize("sample", [images, plane])
def test_hostile_text_stays_text(tmp_path, sample):
    evil = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
    study = study_of(evil, [{"claim": "replace.tail_kept falls", "source": evil}])
    text = own(page.render(gather(tmp_path / "digits", study, sample)))
    assert "alert(1)" in text and "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text and "<img src=x" not in text
    assert text.count("<script") == text.count("</script>") == 3


def test_finding_states_who_reached_which_stage_when(collected):
    # tails 0.98·exp(−0.24 t) < 0.72 from t = 2, spread 0.98·exp(−0.07 t) < 0.7 from t = 5
    text = finding.finding(collected)
    assert ("Replace lost some of its tails or spread at generation 2 and lost most of its spread or modes at "
            "generation 5.") in text
    assert "Rescue lost some of its tails or spread at generation 6 and was healthy again from generation 9." in text
    assert "Control, accumulate and keep10 stayed healthy throughout." in text


def test_the_first_screen_says_what_became_of_three_branches(collected, html):
    first = page.opening(collected)
    assert [way.branch.name for way in first.ways] == ["replace", "accumulate", "keep10"]
    assert (first.metric, first.noun, first.kind) == ("variance_ratio", "variety", "grid")
    for way in first.ways:
        t = collected.table[(collected.table.branch == way.branch.name) & (collected.table.metric == "variance_ratio")
                            & (collected.table.feature == "") & (collected.table.generation == GENERATIONS)]
        # eight replicates: the 95 % interval of a median is from the least to the greatest
        assert (way.low, way.kept, way.high) == pytest.approx(np.quantile(t.value, [0, 0.5, 1]) / 0.98)
    left = f"{100 * first.ways[0].kept:.0f} %"
    assert first.sentence == (
        f"Trained on nothing but its own newest output, the model kept only {left} of its variety after ten "
        "generations; trained on everything so far, real data included, it lost nothing beyond chance; with a tenth of "
        "real data in every training set, it lost nothing beyond chance.")
    opens = own(html)[own(html).index("<header"): own(html).index("<main>")]
    assert first.sentence.replace(" %", "\u00a0%") in opens
    assert opens.count('class="strip ink"') == 4 and opens.count('<ol class="run"') == 3
    assert opens.count(f"<b>{left}</b>") == 1 and "late collapse" in opens and "distorted" not in opens
    kept = result.summary(collected)["opening"]["kept"]
    assert kept["replace"]["kept"] == pytest.approx(first.ways[0].kept, abs=1e-6)
    assert result.text_summary(collected).splitlines()[1:3] == [first.sentence, first.unmet]


def test_the_first_screen_goes_by_how_branches_end(tmp_path):
    study = study_of("Halted", claims=[])
    del study.branches["replace"], study.branches["rescue"]
    study.branches["window"] = SimpleNamespace(**vars(study.branches["accumulate"]))
    study.branches["window"].regime = SimpleNamespace(kind="window", spec=lambda: {"kind": "window", "k": 3})
    study.claims, study.published = (), ()
    study.grid = None
    first = page.opening(gather(tmp_path / "digits", study, plane, halted="digits-keep10-04"))
    assert [way.branch.name for way in first.ways] == ["accumulate", "keep10", "window"] and first.unmet == ""
    assert first.kind == "scatter"
    assert first.sentence.endswith("in every training set, it was halted at generation 4 by a gate; trained on the "
                                   "newest 3 generations, it lost nothing beyond chance.")


def test_what_grew_is_told_as_a_multiple(collected):
    class Narrow(Bands):
        def band(self, metric, feature="", kind="model", replicates=1, cells=1):
            return Band(low=0.1, high=0.3, center=0.2, fits=200, method="narrow")

    def wide(branch):
        end = dataclasses.replace(branch.nodes[-1], stage="distorted", kept=3.0, by=("variance_ratio",))
        return dataclasses.replace(branch, nodes=(*branch.nodes[:-1], end))

    facts = {**FACTS, "variance_ratio": dataclasses.replace(FACTS["variance_ratio"], above="gained")}
    with mock.patch("collapse.verdict._facts", lambda: facts):
        found = dataclasses.replace(collected, bands=dict.fromkeys(collected.bands, Narrow()),
                                    branches=tuple(map(wide, collected.branches)))
        first = page.opening(found)
        assert (first.metric, first.noun) == ("variance_ratio", "spread") and first.ways[1].grown
        assert f"it grew to {first.ways[1].kept:.3g} × its spread" in first.sentence
        text = page.render(found)
    assert f"<b>{numbers.number(first.ways[1].kept)} ×</b> its spread" in text


def test_a_study_of_controls_opens_with_its_finding(collected):
    alone = dataclasses.replace(collected, branches=tuple(b for b in collected.branches if b.name == "control"))
    assert page.opening(alone) is None
    assert "Control stayed healthy throughout." in own(page.render(alone)).split("<main>")[0]


@pytest.mark.parametrize(("claim", "words"), [
    ("replace.variance_ratio leaves the control band below", "the variety (variance_ratio) under replace never fell "
     "below what real data alone gives"),
    ("replace.energy leaves the control band above",
     "energy under replace never rose above what real data alone gives"),
    ("replace.variance_ratio stays inside the control band",
     "the variety (variance_ratio) under replace did leave what real data alone gives"),
    ("replace.variance_ratio falls", "the variety (variance_ratio) under replace did not fall"),
    ("replace.variance_ratio keeps within 10 %", "the variety (variance_ratio) under replace changed by more than was "
     "claimed"),
    ("accumulate.variance_ratio > replace.variance_ratio + 0.1", "the variety (variance_ratio) under accumulate did "
     "not end above that under replace by 0.1"),
    ("accumulate.energy < 0.2", "energy under accumulate did not end below 0.2"),
    ("replace reaches late", "replace never was in late collapse"),
    ("accumulate avoids early", "accumulate was in early collapse"),
    ("replace warns before late", "replace gave no warning before late collapse"),
    ("control is healthy in 95 % of cells", "control was healthy in 90 % of its cells, not 95 %"),
    ("replace.variance_ratio amplifies its bias", "it is not so that replace.variance_ratio amplifies its bias"),
])
def test_a_claim_that_fails_is_told_in_plain_words(collected, claim, words):
    claims = parse_claims([claim, "replace warns before late"], "studies/x.yaml", study_of("x").branches, FACTS)
    study = SimpleNamespace(**{**vars(collected.study), "claims": claims})
    verdicts = [{"verdict": "fails", "estimate": 0.9}, {"verdict": "undecided"}]
    told = unmet(dataclasses.replace(collected, study=study, claims=verdicts))
    assert told == f"Of two claims none holds; one fails, for {words}; one stays open with eight lineages."
    alone = SimpleNamespace(**{**vars(collected.study), "claims": claims[:1]})
    assert unmet(dataclasses.replace(collected, study=alone, claims=verdicts[:1])) == \
        f"The one claim fails, for {words}."
    verdicts[1]["verdict"] = verdicts[0]["verdict"] = "holds"
    assert unmet(dataclasses.replace(collected, study=study, claims=verdicts)) == "All two claims hold."


def test_summary_agrees_with_scipy(collected):
    t = collected.table
    last = t[(t.node == "digits-replace-10") & (t.metric == "tail_kept") & (t.feature == "")].value.to_numpy()
    low, high = stats.t.interval(0.95, len(last) - 1, last.mean(), stats.sem(last))
    end = result.summary(collected)["branches"]["replace"]["final"]["tail_kept"]
    assert [end["mean"], end["low"], end["high"]] == pytest.approx([last.mean(), low, high], rel=1e-5)
    assert end["median"] == pytest.approx(np.median(last), rel=1e-5)
    assert result.summary(collected)["branches"]["replace"]["real_share"] == pytest.approx(0.1)
    assert result.summary(collected)["claims"] == {"holds": 6, "fails": 1, "undecided": 0, "blind": 0}


def test_table_is_tidy(collected):
    t = collected.table
    assert list(t.columns) == ["node", "branch", "regime", "generation", "replicate", "metric", "feature", "value"]
    assert not t.duplicated(["node", "replicate", "metric", "feature"]).any()
    assert set(t[t.generation == 0].branch) == {"real"}
    assert len(t) == 46 * REPLICATES * (len(FACTS) + 3)


def test_a_fork_begins_at_the_point_it_left(collected):
    c = collected.curves
    series = c[(c.metric == "tail_kept") & (c.feature == "")].set_index(["branch", "generation"])["mean"]
    assert series["rescue"].index.tolist() == [5, 6, 7, 8, 9, 10]
    assert series["rescue"][5] == series["replace"][5] != series["rescue"][6]
    assert series["replace"].index.tolist() == list(range(11))
    assert series["replace"][0] == series["control"][0]


def test_charts_show_band_law_and_log_axis(html):
    data = embedded(html)
    curves = {(c["metric"], c["feature"]): c for c in data["curves"]}
    assert [c["metric"] for c in data["curves"][:2]] == ["tail_kept", "variance_ratio"]
    assert data["charts"] == 4
    assert curves["tail_kept", ""]["band"] == pytest.approx([0.89, 1.07])
    assert curves["variance_ratio", ""]["laws"]["replace"]["x"] == list(range(11))
    assert curves["variance_ratio", ""]["log"] is False
    assert curves["energy", ""]["log"] is False  # runs over a factor of 33
    assert [b["colour"] for b in data["branches"] if b["name"] == "control"] == ["#7d8590"]
    assert len({b["colour"] for b in data["branches"]}) == 5


def test_the_page_says_that_medians_are_judged(collected, html):
    text = own(html)
    assert "The grey band is for the median: there it lies over 8 replicates" in text
    assert "A gate judges the median over replicates." in text
    assert 'id="median" checked' in text
    t = collected.table
    ends = {b.name: np.median(t[(t.node == b.nodes[-1].name) & (t.metric == "tail_kept")].value)
            for b in collected.branches}
    least, most = min(ends, key=ends.get), max(ends, key=ends.get)
    assert (f"At the end the median tail_kept is {numbers.number(ends[least])} under {least} and "
            f"{numbers.number(ends[most])} under {most}.") in finding.finding(collected)


def test_tails_have_left_when_their_median_has(tmp_path):
    found = gather(tmp_path / "digits")
    replace = next(b for b in found.branches if b.name == "replace")
    c = found.curves
    own_tails = (c.branch == "replace") & (c.metric == "tail_kept")
    inflated = dataclasses.replace(found, curves=c.assign(mean=c["mean"].where(~own_tails, 9.0)))
    assert inflated.tails_left(replace) == found.tails_left(replace) == 1
    intact = dataclasses.replace(found, curves=c.assign(median=c["median"].where(~own_tails, 1.0)))
    assert intact.tails_left(replace) is None


def test_a_halted_branch_says_so(tmp_path):
    found = gather(tmp_path / "digits", halted="digits-keep10-04")
    text = own(page.render(found))
    assert "Keep10 was healthy until it was halted by tail_kept at digits-keep10-04." in finding.finding(found)
    assert result.summary(found)["branches"]["keep10"]["judged_to"] == 4
    assert text.count("digits-keep10-05: not made; halted by tail_kept at digits-keep10-04") == 3
    assert "halted by tail_kept" in text
    assert "keep10" in result.text_summary(found)


def test_a_missing_record_is_refused(tmp_path):
    study = study_of("t")
    nodes = write_records(study, tmp_path / "digits")
    (tmp_path / "digits" / "digits-replace-03.verdict.json").unlink()
    with pytest.raises(InputError, match=r"digits-replace-03\.verdict\.json: missing; run"):
        collect(study, nodes, tmp_path / "digits", facts=FACTS)


def test_text_summary_is_a_table(collected):
    lines = result.text_summary(collected).splitlines()
    assert lines[0] == "Handwritten digits, learned from copies of copies"
    assert lines[5].split()[:4] == ["branch", "regime", "stage", "first"]
    row = next(text for text in lines if text.startswith("replace  "))
    assert row.split()[:6] == ["replace", "replace", "late", "collapse", "2", "5"]
    assert sum(text.startswith(("holds", "fails", "undecided")) for text in lines) == len(CLAIMS)


# ----------------------------------------------------------------------------------- pictures, drawing


def decode(data: bytes) -> np.ndarray:
    """Read a PNG of unfiltered lines, chunk by chunk, by the format's definition."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, {}
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place:place + 8])
        body = data[place + 8:place + 8 + size]
        assert struct.unpack(">I", data[place + 8 + size:place + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        place += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape((height, width, 3) if colour == 2 else (height, width))


@pytest.mark.parametrize("shape", [(5, 7), (4, 6, 3)])
def test_png_holds_the_pixels(shape):
    pixels = Rng("png").integers(256, shape).astype(np.uint8)
    assert (decode(painters.png(pixels)) == pixels).all()


def test_strips_put_each_class_in_its_place(collected):
    real = collected.samples["digits-real"]
    painter = painters.Images(real.schema["image"], real)
    index = painter._choose(real)
    assert real.values["label"][index].tolist() == list(range(10))
    gone = real.keep(np.flatnonzero(real.values["label"] != 3), np.array([1]))
    assert painter._choose(gone)[3] == -1


def test_grids_show_each_class_as_often_as_there_are_rows_of_it(collected):
    real = collected.samples["digits-real"]
    painter = galleries.ClassGrid(real.schema["image"], real)
    shown = []
    painter.tiles = lambda part, index: shown.append(index) or ""
    painter.paint(real)
    index, label = shown[0], real.values["label"]
    assert index.shape == (galleries.DEEP, 10)
    for code in range(10):
        column = index[:, code]
        assert (label[column[column >= 0]] == code).all()
        assert (column >= 0).sum() == min(galleries.DEEP, (label == code).sum())
    assert len(set(index[index >= 0])) == (index >= 0).sum()


def test_a_cloud_puts_equal_images_on_equal_points_whatever_their_class(collected):
    real = collected.samples["digits-real"]
    cloud = galleries.Cloud(real.schema["image"], real)
    points = cloud._points(real)
    assert points.shape == (len(real.values["label"]), 2)
    assert points.var(axis=0)[0] >= points.var(axis=0)[1] > 0
    assert cloud.paint(real).count("<path ") == 1 + len(np.unique(real.values["label"]))


@pytest.mark.parametrize(("sample", "kinds"), [(images, {"image", "grid", "scatter"}), (plane, {"scatter", "bars"}),
                                               (line, {"density"})])
def test_every_kind_of_data_has_its_picture(tmp_path, sample, kinds):
    found = pictures.albums(gather(tmp_path / "digits", sample=sample))
    assert {album.kind for album in found} == kinds
    assert len(found) == 5 * len(kinds)
    rescue = next(album for album in found if album.branch == "rescue")
    assert [frame.caption for frame in rescue.frames] == ["real", "6", "7", "8", "9", "10"]


def test_drawing_has_every_node_and_forks_from_the_parent(collected):
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.fromstring(drawing.lineage(collected))
    titles = {node.text.split(":")[0]: group for group in root.iter("g") for node in group.iter("title")}
    assert set(titles) == set(collected.nodes)
    parent = titles["digits-replace-05"].find("circle")
    starts = [path.get("d").split("C")[0] for path in root.iter("path") if path.get("class") == "edge"]
    assert len(starts) == len(collected.nodes) - 1
    # replace-06 and rescue-06 both stem from replace-05
    assert starts.count(f"M{parent.get('cx')} {parent.get('cy')}") == 2


def test_every_node_of_the_drawing_leads_to_its_own_record(collected, html):
    text = own(html)
    targets = re.findall(r'<a href="#node-([^"]+)"><g>', text)
    assert sorted(targets) == sorted(collected.nodes)
    assert all(text.count(f'id="node-{name}"') == 1 for name in targets)
    assert all(text.count(f'id="samples-{branch.name}"') == 1 for branch in collected.branches)
    for name in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{name}"' in text, name
    data = embedded(html)["nodes"]
    for name, node in collected.nodes.items():
        kept = data["manifests"][name]
        assert {**kept, "parts": [data["parts"][i] for i in kept["parts"]]} == node.manifest
    index = data["metrics"].index("tail_kept")
    t = collected.table
    values = t[(t.node == "digits-replace-03") & (t.metric == "tail_kept") & (t.feature == "")].value
    assert data["medians"]["digits-replace-03"][index] == pytest.approx(values.median(), rel=1e-5)


def test_a_node_shows_stage_rows_real_share_and_hash_without_colour(collected):
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.fromstring(drawing.lineage(collected))
    for name, node in collected.nodes.items():
        link = next(a for a in root.iter("a") if a.get("href") == f"#node-{name}")
        words = [text.text for text in link.iter("text")]
        assert words == [(node.stage or "real")[0].upper() if node.branch else "R", "10 % real", "400 rows",
                         node.manifest_sha256[:8]]


def test_a_withdrawn_node_says_so(tmp_path):
    import xml.etree.ElementTree as ElementTree

    study = study_of("Withdrawn")
    nodes = write_records(study, tmp_path / "records")
    path = tmp_path / "records" / "digits-accumulate-04.validation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"withdrawn": "<i>mislabelled</i>"}))
    path = tmp_path / "records" / "digits-accumulate-04.verdict.json"
    path.write_text(json.dumps({"outcome": "quarantine", "gates": ["withdrawn"], "node": "digits-accumulate-04"}))
    found = collect(study, nodes, tmp_path / "records", facts=FACTS)
    root = ElementTree.fromstring(drawing.lineage(found))
    link = next(a for a in root.iter("a") if a.get("href") == "#node-digits-accumulate-04")
    assert "withdrawn" in [text.text for text in link.iter("text")]
    assert {"ring", "slash"} <= {part.get("class") for part in link.iter()}
    dashed = [path for path in root.iter("path") if path.get("stroke-dasharray")]
    assert len(dashed) == 1  # the edge to its one child, which is not trained on it
    text = own(page.render(found))
    assert "withdrawn: &lt;i&gt;mislabelled" in text and "<i>mislabelled" not in text


# ------------------------------------------------------------------------------------------ a browser


def browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(browser() is None, reason="no Chromium or Chrome on the PATH")
@pytest.mark.parametrize("sample", [images, plane])
def test_page_opens_in_a_browser_without_an_error(tmp_path, sample):
    page.write(gather(tmp_path / "digits", sample=sample), tmp_path / "out")
    done = subprocess.run(
        [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", "--window-size=1280,900",
         "--virtual-time-budget=8000", "--dump-dom",
         (tmp_path / "out" / "index.html").as_uri() + "#node-digits-replace-05"],
        capture_output=True, text=True, timeout=120, check=True)
    errors = [text for text in done.stderr.splitlines() if "CONSOLE" in text]
    assert not errors
    body = own(done.stdout)
    record = body[body.index('id="node-digits-replace-05"'):]
    record = record[: record.index("</details>")]
    assert "tail_kept" in record and '<pre tabindex="0">' in record and '"node": "digits-replace-05"' in record
    assert len(re.findall("<pre", body)) == 1  # the others are written when they are opened
    for name in SECTIONS:
        assert f'<section id="{name}">' in body
    drawn = body.split('<div id="charts"')[1].split("</section>")[0]
    # Each plot is a stack of SVGs that Plotly draws, with one path per branch and its interval.
    assert len(re.findall(r'id="chart-\d+"', drawn)) == 4
    assert drawn.count('class="main-svg"') >= 2 * 5
    assert len(re.findall(r'class="js-line"', drawn)) >= 5 * (2 * 5)
