"""Rows drawn in a frame of reference frozen on the real ones: strips of images, scatters, densities, bars.

So shrinking is seen as shrinking.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable
from html import escape

import numpy as np

from collapse.data import Column
from collapse.pool import Part

#: Images per strip, points per scatter, bars per chart.
STRIP, POINTS, BARS = 12, 300, 8
WIDTH, HEIGHT = 132, 108


def png(pixels: np.ndarray) -> bytes:
    """Return ``pixels``, uint8 (h, w) or (h, w, 3), as a PNG file: the same pixels, the same bytes."""
    height, width = pixels.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # each line begins with its filter, 0: none
    lines[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) \
        + chunk(b"IEND", b"")


class Images:
    """A strip of images, class by class where rows are labelled; grey levels are frozen on the real rows."""

    kind = "image"

    def __init__(self, column: Column, real: Part):
        self.column, self.title = column, column.name
        pixels = real.values[column.name]
        self.low, self.high = float(pixels.min()), float(pixels.max())
        # Light strokes on a dark ground are shown as ink on paper; dark mode turns them back.
        self.ink = len(column.shape) == 2 and float(pixels.mean()) < (self.low + self.high) / 2

    def paint(self, part: Part) -> str:
        """Return one strip."""
        return self.tiles(part, self._choose(part)[None])

    def tiles(self, part: Part, index: np.ndarray) -> str:
        """Return the images of the rows ``index`` (rows, columns) as one picture; -1 leaves a place empty."""
        lines = [self._line(part, row) for row in index]
        space = np.full_like(lines[0][:2], 255)
        picture = np.concatenate([piece for line in lines for piece in (line, space)])[: -len(space)]
        data = base64.b64encode(png(picture)).decode()
        return (f'<img class="strip{" ink" if self.ink else ""}" alt="{index.size} sampled images" '
                f'width="{picture.shape[1]}" height="{picture.shape[0]}" src="data:image/png;base64,{data}">')

    def _line(self, part: Part, index: np.ndarray) -> np.ndarray:
        pixels = part.values[self.column.name][np.maximum(index, 0)]  # (k, h, w[, 3])
        grey = np.clip((pixels - self.low) / ((self.high - self.low) or 1.0), 0, 1)
        grey[index < 0] = 0 if self.ink else 1
        levels = np.round(255 * (1 - grey if self.ink else grey)).astype(np.uint8)
        scale = max(1, round(40 / levels.shape[2]))
        levels = levels.repeat(scale, axis=1).repeat(scale, axis=2)
        gap = np.full_like(levels[:, :, : max(2, scale)], 255)
        return np.concatenate([np.concatenate([tile, space], axis=1) for tile, space in zip(levels, gap, strict=True)],
                              axis=1)[:, : -gap.shape[2]]

    def _choose(self, part: Part) -> np.ndarray:
        """Return row indices, -1 for a class that is gone: the same place holds the same class in every strip."""
        label, total = part.schema.label, len(part.values[self.column.name])
        if label is None or len(label.categories) > STRIP:
            return np.arange(min(STRIP, total))
        codes = part.values[label.name]
        each = max(1, STRIP // len(label.categories))
        index = np.full((len(label.categories), each), -1)
        for code in range(len(label.categories)):
            rows = np.flatnonzero(codes == code)[:each]
            index[code, : len(rows)] = rows
        return index.ravel()


# ------------------------------------------------------------------------------------------- drawings


def _svg(kind: str, label: str, body: str) -> str:
    return (f'<svg class="{kind}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
            f"{body}</svg>")


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def frozen(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of the drawn range, (d,): the real rows and a margin on either side."""
    low, high = np.quantile(values, [0.005, 0.995], axis=0)
    margin = 0.2 * np.maximum(high - low, 1e-9)
    return low - margin, high + margin


def there(part: Part, column: Column) -> np.ndarray:
    """Return the values of a number column that are not missing."""
    values = part.values[column.name]
    return values[~np.isnan(values)]


class Scatter:
    """Two columns against each other; of more than two, the first principal directions of the real rows."""

    kind = "scatter"

    def __init__(self, columns: list[Column], real: Part):
        self.columns = columns
        #: Where a missing value is drawn: at the mean of the real rows, as in the feature space.
        self.middle = {column.name: float(there(real, column).mean()) for column in columns}
        matrix = self._matrix(real)
        self.centre, self.turn = np.zeros(len(columns)), np.eye(len(columns))[:, :2]
        self.title = " × ".join(column.name for column in columns[:2])
        if len(columns) > 2:
            scale = np.maximum(matrix.std(axis=0), 1e-9)
            self.centre = matrix.mean(axis=0)
            turn = np.linalg.svd((matrix - self.centre) / scale, full_matrices=False)[2][:2].T  # (d, 2)
            turn = turn * np.sign(turn[np.abs(turn).argmax(axis=0), [0, 1]])
            self.turn = turn / scale[:, None]
            self.title = f"first two principal directions of {len(columns)} real columns"
        self.low, self.high = frozen(self._points(real))
        self.ghost = self._dots(real, "ghost")

    def _matrix(self, part: Part) -> np.ndarray:
        values = [np.where(np.isnan(x), mean, x) for x, mean in
                  ((part.values[column.name][:POINTS], self.middle[column.name]) for column in self.columns)]
        return np.stack(values, axis=1).astype(float)

    def _points(self, part: Part) -> np.ndarray:
        return (self._matrix(part) - self.centre) @ self.turn  # (n, d) -> (n, 2)

    def _dots(self, part: Part, kind: str) -> str:
        place = (self._points(part) - self.low) / (self.high - self.low)
        inside = place[((place >= 0) & (place <= 1)).all(axis=1)]
        # A path of points: round caps of strokes without length.
        dots = "".join(f"M{x * WIDTH:.0f} {(1 - y) * HEIGHT:.0f}h0" for x, y in inside)
        return f'<path class="{kind}" d="{dots}"/>'

    def paint(self, part: Part) -> str:
        """Return one scatter over the real rows, in grey."""
        return _svg("scatter", f"{len(part.values[self.columns[0].name][:POINTS])} sampled rows",
                    self.ghost + self._dots(part, "dots"))


class Density:
    """The density of one column, with a bandwidth frozen on the real rows (Silverman's rule)."""

    kind = "density"

    def __init__(self, column: Column, real: Part):
        self.column, self.title = column, column.name
        values = there(real, column)
        low, high = frozen(values)
        self.grid = np.linspace(low, high, 80)
        self.width = max(1.06 * float(values.std()) * len(values) ** -0.2, 1e-9)
        self.real = self._density(values)
        self.top = 2.2 * float(self.real.max())

    def _density(self, values: np.ndarray) -> np.ndarray:
        if not len(values):
            return np.zeros(len(self.grid))
        z = (self.grid[:, None] - values[None, :]) / self.width
        return np.exp(-0.5 * z**2).mean(axis=1) / (self.width * np.sqrt(2 * np.pi))  # (80, n) -> (80,)

    def peak(self, part: Part) -> float:
        """Return the greatest density of a part."""
        return float(self._density(there(part, self.column)).max())

    def _line(self, density: np.ndarray) -> str:
        x = np.linspace(0, WIDTH, len(density))
        y = HEIGHT - 2 - (HEIGHT - 6) * np.minimum(density / self.top, 3)  # what rises above the frame is cut
        return _path(zip(x.tolist(), y.tolist(), strict=True))

    def paint(self, part: Part) -> str:
        """Return one density over that of the real rows, in grey."""
        line = self._line(self._density(there(part, self.column)))
        body = (f'<path class="area" d="{line}L{WIDTH} {HEIGHT - 2}L0 {HEIGHT - 2}Z"/><path class="line" d="{line}"/>'
                f'<path class="ghostline" d="{self._line(self.real)}"/>')
        return _svg("density", f"density of {self.column.name}", body)


class Bars:
    """The shares of the categories that are most frequent among the real rows; a tick marks the real share."""

    kind = "bars"

    def __init__(self, column: Column, real: Part):
        self.column, self.title = column, column.name
        shares = self._shares(real)
        self.order = np.argsort(-shares, kind="stable")[:BARS]
        self.real = shares[self.order]
        self.top = 1.6 * float(self.real.max())

    def _shares(self, part: Part) -> np.ndarray:
        codes = part.values[self.column.name]
        return np.bincount(codes, minlength=len(self.column.categories)) / max(1, len(codes))

    def paint(self, part: Part) -> str:
        """Return one bar per category, most frequent first."""
        step, body, shares = HEIGHT / len(self.order), [], self._shares(part)[self.order]
        for i, (code, share, real) in enumerate(zip(self.order, shares, self.real, strict=True)):
            name = self.column.categories[code]
            y, reach = i * step, min(share / self.top, 1) * WIDTH
            tick = real / self.top * WIDTH
            body.append(f'<g><rect class="bar" x="0" y="{y + 1:.1f}" width="{reach:.1f}" height="{step - 2:.1f}"/>'
                        f'<path class="tick" d="M{tick:.1f} {y + 0.5:.1f}v{step - 1:.1f}"/>'
                        f'<text x="3" y="{y + step / 2 + 3.2:.1f}">{escape(name[:18])}</text>'
                        f"<title>{escape(name)}: {100 * share:.1f} %, real {100 * real:.1f} %</title></g>")
        return _svg("bars", f"shares of {self.column.name}", "".join(body))
