"""Text on the page: what each generation writes, how likely it is, and which tokens are left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from collapse.data import Column
from collapse.pool import Part

if TYPE_CHECKING:
    import pandas as pd

    from collapse.report.collect import BranchView, Collected

#: Blocks that are shown of a generation, and the most characters of one.
BLOCKS, CHARACTERS = 2, 420
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 190, 34, 58, 10, 26
#: What the charts are made of.
SHARE, REFERENCE, ALIVE = "perplexity_share", "reference_share", "token_alive"


class Texts:
    """The first blocks of a sample, as they are: generation by generation the same random numbers wrote them."""

    kind = "text"
    frames = 5

    def __init__(self, column: Column, real: Part):
        self.column, self.title = column, column.name

    def paint(self, part: Part) -> str:
        """Return the blocks as paragraphs; the end of a document is a mark."""
        return "".join(f"<p>{self._block(tokens)}</p>" for tokens in part.values[self.column.name][:BLOCKS])

    def _block(self, tokens: np.ndarray) -> str:
        ends = np.flatnonzero(tokens == self.column.end)
        pieces = np.split(tokens, np.unique(np.concatenate([ends, ends + 1])))
        shown = ['<i title="end of a document">¶</i>' if len(piece) == 1 and piece[0] == self.column.end else
                 escape(self.column.decode(piece[None])[0][:CHARACTERS]) for piece in pieces if len(piece)]
        return "".join(shown)


@dataclass(frozen=True)
class Figure:
    """The two charts of one branch, as SVG: perplexities of blocks, and tokens that live on; '' where not measured."""

    branch: str
    colour: str
    likelihood: str
    survival: str


def budget(collected: Collected) -> int:
    """Return the tokens of a generation: rows times the tokens of a block; 0 where there is no text."""
    real = collected.samples.get(collected.real.name)
    return 0 if real is None else int(collected.study.rows * sum(column.shape[0] for column in real.schema.texts))


def figures(collected: Collected) -> list[Figure]:
    """Return the charts of every branch; none where the study has no text."""
    table = collected.table
    if not (table.metric == SHARE).any():
        return []
    wanted = table[table.metric.isin([SHARE, REFERENCE, ALIVE])]
    means = wanted.groupby(["branch", "metric", "feature", "generation"], observed=True).value.mean().reset_index()
    reference = _histogram(means[means.metric == REFERENCE])
    shown = [(branch, means[means.branch == branch.name]) for branch in collected.branches]
    histograms = [(generation, values) for _, own in shown for generation, values in _by_generation(own)]
    top = max([float(np.max(v)) for _, v in histograms] + [float(reference[1].max()) if reference else 0.0])
    return [Figure(branch.name, branch.colour, _likelihood(own, reference, top), _survival(own, branch))
            for branch, own in shown]


# ---------------------------------------------------------------------------------------------- likelihood


def _histogram(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lower edges and shares, averaged over whatever nodes there are."""
    if rows.empty:
        return None
    shares = rows.groupby("feature", observed=True).value.mean()
    edges = np.array([float(edge) for edge in shares.index])
    order = np.argsort(edges)
    return edges[order], shares.to_numpy()[order]


def _by_generation(rows: pd.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    own = rows[rows.metric == SHARE]
    for generation in sorted(own.generation.unique()):
        found = _histogram(own[own.generation == generation])
        if found is not None:
            yield int(generation), found[1]


def _likelihood(rows: pd.DataFrame, reference: tuple[np.ndarray, np.ndarray] | None, top: float) -> str:
    """Return the histograms of all generations over that of held-out real blocks, on a log axis of perplexity."""
    edges = _histogram(rows[rows.metric == SHARE])
    if edges is None:
        return ""
    middle = _middles(edges[0])
    low, high = float(np.log(middle[0])), float(np.log(middle[-1]))

    def across(value: np.ndarray | float) -> np.ndarray | float:
        return LEFT + (np.log(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(share: np.ndarray) -> np.ndarray:
        return HEIGHT - BOTTOM - share / top * (HEIGHT - TOP - BOTTOM)

    body = [_axis_x([(float(across(v)), f"{v:g}") for v in _decades(middle[0], middle[-1])], "perplexity of a block")]
    if reference is not None:
        ground = HEIGHT - BOTTOM
        x = across(_middles(reference[0]))
        line = _path(np.asarray(x), up(reference[1]))
        body.append(f'<path class="area" d="{line}L{x[-1]:.1f} {ground}L{x[0]:.1f} {ground}Z"/>')  # type: ignore[index]
    found = list(_by_generation(rows))
    for place, (generation, shares) in enumerate(found):
        strength = 0.25 + 0.75 * (place + 1) / len(found)
        line = _path(np.asarray(across(middle)), up(shares))
        body.append(f'<path class="line" style="opacity:{strength:.2f}" d="{line}"><title>generation {generation}'
                    f"</title></path>")
        if place in (0, len(found) - 1):
            peak = int(shares.argmax())
            x, y = float(across(middle[peak])), float(up(shares)[peak]) - 3
            body.append(f'<text class="end" x="{x:.1f}" y="{y:.1f}" text-anchor="middle" '
                        f'style="opacity:{max(0.6, strength):.2f}">{generation}</text>')
    return _svg("likelihood", "perplexity of sampled blocks, generation by generation", "".join(body))


def _middles(edges: np.ndarray) -> np.ndarray:
    """Return a place for each bin on a log axis, from its lower edge; the first begins at 0, the last has no end."""
    step = edges[2] / edges[1]
    return np.concatenate([[edges[1] / np.sqrt(step)], edges[1:] * np.sqrt(step)])


def _decades(low: float, high: float) -> list[float]:
    found = [m * 10.0**p for p in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1) for m in (1, 3)]
    return [value for value in found if low <= value <= high]


# ------------------------------------------------------------------------------------------------ survival


def _survival(rows: pd.DataFrame, branch: BranchView) -> str:
    """Return, for each band of tokens by expected count, what is left of it at every generation."""
    own = rows[(rows.metric == ALIVE) & (rows.feature != "")]
    if own.empty:
        return ""
    first, last = branch.first, max(branch.last, branch.first + 1)
    top = max(1.1, float(own.value.max()) * 1.05)

    def across(generation: np.ndarray | float) -> np.ndarray:
        return LEFT + (np.asarray(generation) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def up(value: np.ndarray | float) -> np.ndarray:
        return HEIGHT - BOTTOM - np.asarray(value) / top * (HEIGHT - TOP - BOTTOM)

    step = max(1, (last - first) // 6)
    body = [_axis_x([(float(across(g)), str(g)) for g in range(first, last + 1, step)], "generation")]
    for share in (0.0, 0.5, 1.0):
        y = float(up(share))
        body.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/><text class="tick" x="{LEFT - 5}" '
                    f'y="{y + 3:.1f}" text-anchor="end">{share:g}</text>')
    bands = sorted(own.feature.unique(), key=lambda name: float("inf") if name == "common" else float(name[2:]))
    ends = []
    for place, band in enumerate(bands):
        line = own[own.feature == band].sort_values("generation")
        strength = 0.3 + 0.7 * (place + 1) / len(bands)
        points = _path(across(line.generation.to_numpy()), up(line.value.to_numpy()))
        body.append(f'<path class="line" style="opacity:{strength:.2f}" d="{points}"><title>tokens expected '
                    f'{escape(_words(band))}</title></path>')
        text = "common" if band == "common" else band[2:] + "×"
        ends.append((float(up(line.value.iloc[-1])), escape(text), strength))
    for y, (_, text, strength) in zip(_apart([y for y, _, _ in ends]), ends, strict=True):
        body.append(f'<text class="end" x="{WIDTH - RIGHT + 5}" y="{y + 3:.1f}" '
                    f'style="opacity:{max(0.6, strength):.2f}">{text}</text>')
    return _svg("survival", "tokens that live on, by how often they are expected", "".join(body))


def _words(band: str) -> str:
    return "50 times or more" if band == "common" else f"about {band[2:]} times" if band != "c=1" else "about once"


def _apart(heights: list[float], gap: float = 11.0) -> list[float]:
    """Return places for labels near ``heights``, none closer to another than ``gap``, all within the chart."""
    order = np.argsort(heights, kind="stable")
    placed = np.array(heights, dtype=float)
    for before, here in pairwise(order):
        placed[here] = max(placed[here], placed[before] + gap)
    floor = float(HEIGHT - BOTTOM)
    for here in order[::-1]:  # what the floor pushes up pushes up what is above it
        placed[here] = min(placed[here], floor)
        floor = placed[here] - gap
    return placed.tolist()


# ------------------------------------------------------------------------------------------------- drawing


def _svg(kind: str, label: str, body: str) -> str:
    return (f'<svg class="{kind}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{body}</svg>')


def _path(x: np.ndarray, y: np.ndarray) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _axis_x(ticks: list[tuple[float, str]], name: str) -> str:
    ground = HEIGHT - BOTTOM
    marks = "".join(f'<text class="tick" x="{x:.1f}" y="{ground + 11}" text-anchor="middle">{escape(text)}</text>'
                    for x, text in ticks)
    return (f'<path class="grid" d="M{LEFT} {ground}H{WIDTH - RIGHT}"/>{marks}<text class="tick" '
            f'x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 3}" text-anchor="middle">{name}</text>')
