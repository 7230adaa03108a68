"""A table's part of the page: the marginals of the worst columns, and the map of groups."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from test_page import gather, own, study_of

from collapse.data import Column, Rows, Schema
from collapse.pool import Part
from collapse.report import finding, page, pictures, tables
from collapse.report.collect import Collected

EVIL = "</td><script>alert(9)</script>"
SCHEMA = Schema((Column("age", "number", type="integer", missing=True), Column("pay", "number"),
                 Column("race", "category", ("p", EVIL, "q"))))


def table(node, shrink: float) -> Rows:
    z = np.linspace(-2, 2, 120)
    age = np.rint(40 + 10 * shrink * z)
    return Rows(SCHEMA, {"age": np.where(np.arange(120) % 9 == 0, np.nan, age)[None], "pay": (shrink * z)[None],
                         "race": (np.arange(120) % 10 > 7).astype(np.int32)[None]})


def share(branch: str, generation: int, group: str) -> float:
    """The small group is lost under replace by the ninth generation and keeps its share elsewhere."""
    return max(0.0, 1 - generation / 9) if branch == "replace" and group != "race=p" else 1.0


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Collected:
    import pandas as pd

    study = study_of("A table")
    study.groups = (("race",), ("race", "sex"))
    found = gather(tmp_path_factory.mktemp("t") / "digits", study, table)
    values = []
    for branch in found.branches:
        for g in range(branch.first - 1, branch.last + 1):
            for group, rows in (("race=p", 900), (f"race={EVIL}", 40), ("race=q, sex=f", 30), ("race=q", 3)):
                values.append((branch.name, "group_support", group, g, rows / 20))
                if rows >= 20:
                    values.append((branch.name, "group_share", group, g, share(branch.name, g, group)))
            values.append((branch.name, "group_alive", "race=q", g, float(branch.name != "replace" or g < 5)))
            drift = 0.01 * (1 + g * (branch.name == "replace"))
            values += [(branch.name, "w1", "age", g, drift), (branch.name, "w1", "pay", g, 0.5 * drift**0.5),
                       (branch.name, "category_tv", "race", g, 5 * drift**1.1)]
    rows = pd.DataFrame(values, columns=["branch", "metric", "feature", "generation", "median"])
    rows = rows.assign(mean=rows["median"], low=rows["median"], high=rows["median"], count=8)
    before = found.curves.astype({"branch": str, "metric": str, "feature": str})
    return dataclasses.replace(found, curves=pd.concat([before, rows], ignore_index=True))


def test_the_columns_that_drifted_most_come_first(collected):
    found = tables.marginals(collected)
    assert [m.column for m in found] == ["race", "age", "pay"]
    assert found[1].words == "w1 0.11 under replace, 11 times that of real rows"
    assert [p.caption for p in found[1].pictures] == ["real", "control 10", "replace 10", "accumulate 10", "keep10 10",
                                                      "rescue 10"]
    assert [m.kind for m in found] == ["bars", "density", "density"]


def test_groups_are_mapped_smallest_first(collected):
    one, two = tables.group_maps(collected)
    assert (one.title, two.title) == ("race", "race × sex")
    assert [(row.name, row.rows) for row in one.rows] == [(f"race={EVIL}", 40), ("race=p", 900)]
    assert [row.name for row in two.rows] == ["race=q, sex=f"]
    names = [branch.name for branch, _ in one.columns]
    strip = one.rows[0].strips[names.index("replace")]
    assert [cell.gone for cell in strip.cells] == [False] * 8 + [True] * 2
    assert strip.end == "0.00"
    assert strip.cells[2].depth == pytest.approx(100 * abs(np.log2(6 / 9)) / tables.FULL, abs=0.1)
    assert all(cell.depth == 0 for cell in one.rows[1].strips[0].cells)
    assert len(one.rows[0].strips[names.index("rescue")].cells) == 5
    assert one.small == (tables.Small("race=q", 3, ("replace",)),)


def test_the_finding_names_the_group_that_fares_worst(collected, tmp_path):
    said = finding.finding(collected)
    assert "Of its groups, race=" in said
    assert "has the least of its real share left: 0 under replace, and 1 under control." in said
    assert "Of its groups" not in finding.finding(gather(tmp_path / "digits", study_of("t")))


def test_hostile_names_of_groups_stay_text(collected):
    text = own(page.render(collected))
    assert '<section id="columns">' in text and '<section id="groups">' in text
    assert "alert(9)" in text and "<script>alert(9)" not in text
    assert "Too small to measure, with fewer than 20 reference rows" in text
    assert "(3; gone at the end under replace)" in text


def test_a_study_without_groups_has_no_such_section(tmp_path):
    text = own(page.render(gather(tmp_path / "digits", study_of("t"))))
    assert 'id="groups"' not in text and 'id="columns"' not in text


def test_a_group_belongs_to_the_longest_grouping_that_fits():
    groupings = (("a",), ("a", "b"), ("b", "a"))
    assert tables._grouping("a=x, y", groupings) == ("a",)
    assert tables._grouping("a=x, b=y", groupings) == ("a", "b")
    assert tables._grouping("b=x, a=y", groupings) == ("b", "a")
    assert tables._grouping("c=x", groupings) == ()


def test_a_column_without_a_value_is_drawn(collected):
    real = collected.samples["digits-real"]
    values = {**table(SimpleNamespace(), 1.0).values, "age": np.full((1, 120), np.nan)}
    empty = Part.of(Rows(SCHEMA, values), "x", 1, synthetic=True)
    assert "nan" not in tables.Density(SCHEMA["age"], real).paint(empty)
    assert "nan" not in pictures.Scatter([SCHEMA["age"], SCHEMA["pay"]], real).paint(empty)
