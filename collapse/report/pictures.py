"""Samples as pictures, one frame per generation: the kinds of drawing that rows of a schema allow, first of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from collapse.pool import Part
from collapse.report.collect import BranchView, Collected
from collapse.report.galleries import ClassGrid, Cloud
from collapse.report.painters import Bars, Density, Images, Scatter, there
from collapse.report.texts import Texts

#: Frames per branch beside the real one.
FRAMES = 7


@dataclass(frozen=True)
class Picture:
    """One generation's picture: HTML, and the caption that says which generation it is."""

    caption: str
    html: str


@dataclass(frozen=True)
class Album:
    """The pictures of one branch. ``kind`` is image, scatter, density, bars or text."""

    branch: str
    colour: str
    kind: str
    title: str
    frames: tuple[Picture, ...]


def albums(collected: Collected) -> list[Album]:
    """Return the pictures of every branch, real rows first; none where no rows were kept."""
    real = collected.samples.get(collected.real.name)
    if real is None:
        return []
    found = [list(_branch(collected, branch, real)) for branch in collected.branches]
    return [album for same in zip(*found, strict=True) for album in same]  # one way of drawing after the other


def _branch(collected: Collected, branch: BranchView, real: Part) -> Iterator[Album]:
    shown = [n for n in branch.nodes if n.name in collected.samples]
    for painter in _painters(real):
        most = min(getattr(painter, "frames", FRAMES), len(shown))
        picks = sorted(set(np.linspace(0, len(shown) - 1, most).round().astype(int).tolist()))
        parts = [("real", real)] + [(str(shown[i].generation), collected.samples[shown[i].name]) for i in picks]
        chosen = [parts[0], parts[-1]] if painter.kind == "grid" else parts
        frames = tuple(Picture(caption, painter.paint(part)) for caption, part in chosen)
        yield Album(branch.name, branch.colour, painter.kind, painter.title, frames)


def first_painter(real: Part) -> Images | ClassGrid | Cloud | Scatter | Density | Bars | Texts | None:
    """Return what shows most of such rows in one picture: of images a grid, several of each class."""
    painters = list(_painters(real))
    return next((p for p in painters if p.kind == "grid"), painters[0] if painters else None)


def _painters(real: Part) -> Iterator[Images | ClassGrid | Cloud | Scatter | Density | Bars | Texts]:
    columns = real.schema.columns
    images = [c for c in columns if c.kind == "image"]
    numbers = [c for c in columns if c.kind == "number" and len(there(real, c))]
    categories = [c for c in columns if c.kind == "category" and c.role == "feature"]
    if images:
        yield Images(images[0], real)
        yield ClassGrid(images[0], real)
        yield Cloud(images[0], real)
    if len(numbers) > 1:
        yield Scatter(numbers, real)
    elif numbers:
        yield Density(numbers[0], real)
    if categories:
        yield Bars(categories[0], real)
    for column in real.schema.texts:
        yield Texts(column, real)
