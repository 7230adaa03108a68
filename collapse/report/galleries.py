"""Images in number: grids of each class, real beside synthetic, and clouds on the axes that real images vary in."""

from __future__ import annotations

import numpy as np

from collapse.data import Column
from collapse.pool import Part
from collapse.report.painters import POINTS, Images, Scatter, frozen

#: Images of one class in a grid, and images in a line without labels.
DEEP, WIDE = 6, 10
#: Classes are told apart by these, in the order of their codes: ten hues that show on paper and on a dark ground.
COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8a8f99")


class ClassGrid(Images):
    """Classes as columns, several of each: what one strip hides, that all threes have become the same three."""

    kind = "grid"

    def __init__(self, column: Column, real: Part):
        super().__init__(column, real)
        self.title = f"{DEEP} of each class" if self._labelled(real) else f"{DEEP * WIDE} rows"

    def _labelled(self, part: Part) -> bool:
        return part.schema.label is not None and len(part.schema.label.categories) <= WIDE

    def paint(self, part: Part) -> str:
        """Return one grid."""
        total = len(part.values[self.column.name])
        if not self._labelled(part):
            index = np.full(DEEP * WIDE, -1)
            index[: min(len(index), total)] = np.arange(min(len(index), total))
            return self.tiles(part, index.reshape(DEEP, WIDE))
        label = part.schema.label
        assert label is not None
        index = np.full((DEEP, len(label.categories)), -1)
        for code in range(len(label.categories)):
            rows = np.flatnonzero(part.values[label.name] == code)[:DEEP]
            index[: len(rows), code] = rows
        return self.tiles(part, index)


class Cloud(Scatter):
    """Images as points on the first two principal axes of the real ones' pixels; a colour for each class."""

    kind = "scatter"

    def __init__(self, column: Column, real: Part):
        self.columns = [column]
        self.title = "on the first two principal axes of real pixels"
        pixels = self._matrix(real)
        self.centre = pixels.mean(axis=0)
        turn = np.linalg.svd(pixels - self.centre, full_matrices=False)[2][:2].T  # (d, 2)
        self.turn = turn * np.sign(turn[np.abs(turn).argmax(axis=0), [0, 1]])
        self.low, self.high = frozen(self._points(real))
        self.ghost = super()._dots(real, "ghost")

    def _matrix(self, part: Part) -> np.ndarray:
        pixels = part.values[self.columns[0].name][:POINTS]
        return pixels.reshape(len(pixels), -1).astype(float)

    def _dots(self, part: Part, kind: str) -> str:
        label = part.schema.label
        if label is None or len(label.categories) > len(COLOURS):
            return super()._dots(part, kind)
        codes = part.values[label.name][:POINTS]
        paths = []
        for code in np.unique(codes):
            rows = np.flatnonzero(codes == code)
            mine = part.keep(rows, np.array([len(rows)]))
            dots = super()._dots(mine, kind).replace("<path ", f'<path style="stroke:{COLOURS[code]}" ', 1)
            paths.append(dots)
        return "".join(paths)
