"""Tables on the page: the columns that drifted most, and a heat map of groups over generations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from collapse.metrics._partition import LEAST_ROWS
from collapse.report.collect import BranchView, Collected
from collapse.report.painters import Bars, Density

#: Columns whose marginals are drawn, groups of a grouping and generations of a branch that are.
WORST, GROUPS, GENERATIONS = 6, 30, 20
#: A share that has halved or doubled so many times has the full colour.
FULL = 2.0


# ------------------------------------------------------------------------------------------ marginals


@dataclass(frozen=True)
class Picture:
    """One marginal: HTML, what it is of, and in which colour it is drawn ('' : of real rows)."""

    caption: str
    colour: str
    html: str


@dataclass(frozen=True)
class Marginal:
    """One column, real rows beside the last generation of every branch."""

    column: str
    kind: str
    words: str
    pictures: tuple[Picture, ...]


def marginals(collected: Collected) -> list[Marginal]:
    """Return the columns of a table that drifted most from where real rows lie, the worst first.

    A column's drift is its ``w1`` or ``category_tv`` at a branch's last generation over that of the first pool of real
    rows; control branches are shown and do not choose.
    """
    real = collected.samples.get(collected.real.name)
    if real is None:
        return []
    columns = {c.name: c for c in real.schema.columns if c.kind != "image" and c.role == "feature"
               and (c.kind == "category" or np.isfinite(real.values[c.name]).any())}
    ranked = sorted(((worst, name) for name in columns if (worst := _drift(collected, name))), reverse=True)
    found = []
    for (ratio, branch, metric, value), name in ranked[:WORST]:
        column = columns[name]
        drawn = [("real", "", real)]
        for view in collected.branches:
            last = next((node for node in reversed(view.nodes) if node.name in collected.samples), None)
            if last is not None:
                drawn.append((f"{view.name} {last.generation}", view.colour, collected.samples[last.name]))
        painter: Density | Bars
        if column.kind == "number":
            painter = Density(column, real)
            painter.top = 1.1 * max(painter.peak(part) for _, _, part in drawn)  # one scale in a row, nothing cut
        else:
            painter = Bars(column, real)
        shown = [Picture(caption, colour, painter.paint(part)) for caption, colour, part in drawn]
        words = f"{metric} {value:.2g} under {branch}, {ratio:.3g} times that of real rows"
        found.append(Marginal(name, painter.kind, words, tuple(shown)))
    return found


def _drift(collected: Collected, column: str) -> tuple[float, str, str, float] | None:
    """Return how far the worst branch took a column, over real rows, and which branch, metric and value that is."""
    c = collected.curves
    rows = c[(c.feature == column) & c.metric.isin(["w1", "category_tv"])]
    floor = rows[rows.generation == 0]["median"].max()
    found = []
    for branch in collected.branches:
        own = rows[(rows.branch == branch.name) & (rows.generation >= branch.first)]
        if branch.regime["kind"] != "control" and len(own) and floor > 0:
            last = own.sort_values("generation").iloc[-1]
            found.append((float(last["median"] / floor), branch.name, str(last.metric), float(last["median"])))
    return max(found, default=None)


# ------------------------------------------------------------------------------------------ groups


@dataclass(frozen=True)
class Cell:
    """A group's share ratio at one generation: how far towards full colour, to which side, and in words."""

    side: str  # less, more or none
    depth: float  # percent
    gone: bool
    title: str


@dataclass(frozen=True)
class Strip:
    """A group under one branch, generation by generation, and where it ended."""

    cells: tuple[Cell, ...]
    end: str


@dataclass(frozen=True)
class GroupRow:
    """A group that is large enough to be measured."""

    name: str
    rows: int
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Small:
    """A group too small to be measured: its reference rows, and under which branches it is gone at the end."""

    name: str
    rows: int
    gone: tuple[str, ...]


@dataclass(frozen=True)
class GroupMap:
    """One grouping: the smallest groups first. ``columns`` are the generations shown of each branch."""

    title: str
    #: Of one column: its name need not stand before every category.
    plain: bool
    columns: tuple[tuple[BranchView, tuple[int, ...]], ...]
    rows: tuple[GroupRow, ...]
    small: tuple[Small, ...]
    left_out: int


def group_maps(collected: Collected) -> list[GroupMap]:
    """Return a map for every grouping of the study."""
    c = collected.curves
    support = c[(c.metric == "group_support") & (c.feature != "")].groupby("feature", observed=True)["median"].first()
    rows = {str(name): round(value * LEAST_ROWS) for name, value in support.items()}
    shares = _medians(collected, "group_share")
    alive = _medians(collected, "group_alive")
    columns = tuple((branch, _shown(branch)) for branch in collected.branches)
    found = []
    for grouping in collected.study.groups:
        own = (name for name in rows if _grouping(name, collected.study.groups) == grouping)
        names = sorted(own, key=lambda name: (rows[name], name))
        large = [name for name in names if rows[name] >= LEAST_ROWS]
        small = tuple(Small(name, rows[name], tuple(_gone(collected, alive, name)))
                      for name in names if rows[name] < LEAST_ROWS)
        strips = {name: tuple(_strip(shares, branch, name, picks) for branch, picks in columns)
                  for name in large[:GROUPS]}
        shown = tuple(GroupRow(name, rows[name], own) for name, own in strips.items())
        found.append(GroupMap(" × ".join(grouping), len(grouping) == 1, columns, shown, small, len(large) - len(shown)))
    return found


def _medians(collected: Collected, metric: str) -> dict[tuple[str, str, int], float]:
    c = collected.curves
    rows = c[c.metric == metric]
    keys = zip(rows.branch.astype(str), rows.feature.astype(str), rows.generation.astype(int), strict=True)
    return dict(zip(keys, rows["median"].astype(float), strict=True))


def _grouping(name: str, groupings: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Return the grouping that a group such as ``sex=Female, race=Black`` belongs to: the longest that fits."""
    fits = []
    for grouping in groupings:
        place = 0
        for i, column in enumerate(grouping):
            head = f"{', ' if i else ''}{column}="
            place = name.find(head, place) if i else (0 if name.startswith(head) else -1)
            if place < 0:
                break
        else:
            fits.append(grouping)
    return max(fits, key=len, default=())


def _shown(branch: BranchView) -> tuple[int, ...]:
    made = [node.generation for node in branch.nodes if not node.halted]
    picks = np.unique(np.linspace(0, len(made) - 1, min(GENERATIONS, len(made))).round().astype(int))
    return tuple(made[i] for i in picks)


def _strip(shares: dict[tuple[str, str, int], float], branch: BranchView, name: str, picks: tuple[int, ...]) -> Strip:
    values = [shares.get((branch.name, name, g), np.nan) for g in picks]
    where = f"{name}, {branch.name}, generation"
    cells = tuple(_cell(value, f"{where} {g}") for value, g in zip(values, picks, strict=True))
    return Strip(cells, f"{values[-1]:.2f}" if values and np.isfinite(values[-1]) else "–")


def _cell(value: float, what: str) -> Cell:
    if not np.isfinite(value):
        return Cell("none", 0.0, False, f"{what}: not measured")
    title = f"{what}: {value:.3g} times its real share"
    if value <= 0:
        return Cell("less", 100.0, True, f"{what}: gone")
    depth = np.log2(value) / FULL
    return Cell("less" if depth < 0 else "more", round(100 * min(1.0, abs(depth)), 1), False, title)


def _gone(collected: Collected, alive: dict[tuple[str, str, int], float], name: str) -> Iterator[str]:
    for branch in collected.branches:
        picks = _shown(branch)
        if picks and alive.get((branch.name, name, picks[-1])) == 0:
            yield branch.name
