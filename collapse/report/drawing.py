"""The lineage of a study as one SVG: branches are rows, generations are columns, forks are curves."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from collapse.report.collect import BranchView, Collected, NodeView
from collapse.verdict import SHOWN, within

TOP, LEFT = 34, 150
#: Width of a step from which a node's facts fit beneath it: its share of real rows; its rows and hash too.
SHARES, FACTS = 40.0, 64.0
#: Where a node lies in its row, from the top; above it there is room for a word.
DOWN = 30
#: What stands in a node: its stage in a letter, so that colour is not needed.
LETTERS = {"healthy": "H", "early": "E", "late": "L", "distorted": "D", "drifted": "M", "real": "R"}


@dataclass(frozen=True)
class _Grid:
    """Where a node lies, and how much of it is written."""

    rows: dict[str, int]
    step: float
    height: float
    middle: float

    def point(self, node: NodeView) -> tuple[float, float]:
        if node.branch is None:
            return LEFT, self.middle
        return LEFT + node.generation * self.step, TOP + self.height * self.rows[node.branch] + DOWN

    @property
    def radius(self) -> float:
        return round(max(7.5, min(11.0, self.step / 3)), 1)


def lineage(collected: Collected) -> str:
    """Return the drawing. Colours come from the page's style sheet, by stage; each node is a link to its facts."""
    branches = collected.branches
    last = max(branch.last for branch in branches)
    step = max(26.0, min(110.0, 860 / last))
    row = 94 if step >= FACTS else 66 if step >= SHARES else 50
    height = TOP + row * len(branches) + 4
    grid = _Grid({b.name: i for i, b in enumerate(branches)}, step, row, TOP + row * (len(branches) - 1) / 2 + DOWN)
    width = round(LEFT + last * step + max(30, step / 2 + 8))
    label = (f"Lineage of {collected.study.title}: {len(branches)} branches from one real data set, "
             f"{last} generations from left to right.")
    edges = [_edge(grid, collected.nodes[node.parent], node, branch)
             for branch in branches for node in branch.nodes if node.parent]
    marks = [_mark(grid, node) for node in collected.nodes.values()]
    names = [f'<text class="name" x="8" y="{TOP + row * i + DOWN + 4:g}" fill="{b.colour}">{escape(_short(b.name))}'
             f"<title>{escape(b.name)}: {escape(b.rule)}</title></text>" for i, b in enumerate(branches)]
    every = 1 if step >= 26 and last <= 20 else 5
    heads = [f'<text class="head" x="{LEFT + g * step:g}" y="16">{g if g else "real"}</text>'
             for g in range(0, last + 1) if g % every == 0]
    return (f'<svg class="lineage" role="group" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}">{"".join(heads)}{"".join(names)}{"".join(edges)}{"".join(marks)}</svg>')


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def _edge(grid: _Grid, parent: NodeView, child: NodeView, branch: BranchView) -> str:
    (x0, y0), (x1, y1) = grid.point(parent), grid.point(child)
    bend = (x1 - x0) * 0.55
    # Dotted: nothing was trained. Dashed: the parent's own sample was left out.
    dash = ' stroke-dasharray="2 5"' if child.halted else ' stroke-dasharray="7 4"' if parent.left_out else ""
    return (f'<path class="edge" d="M{x0:.1f} {y0:.1f}C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} '
            f'{x1:.1f} {y1:.1f}" stroke="{branch.colour}"{dash}/>')


def _mark(grid: _Grid, node: NodeView) -> str:
    x, y = grid.point(node)
    radius = grid.radius
    title = f"<title>{escape(describe(node))}</title>"
    kind = "real" if node.branch is None else node.stage or "halted"
    if node.branch is None:
        side = radius * 1.9
        shape = (f'<rect class="node real" x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" '
                 f'height="{side:.1f}" rx="3"/>')
    else:
        shape = f'<circle class="node {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'
    arm = radius * 0.5
    cross = (f'<path class="cross" d="M{x - arm:.1f} {y - arm:.1f}l{2 * arm:.1f} {2 * arm:.1f}'
             f'm0 {-2 * arm:.1f}l{-2 * arm:.1f} {2 * arm:.1f}"/>') if node.halted else ""
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{radius + 4:.1f}"/>' \
        if node.outcome in ("quarantine", "halt") and not node.halted else ""
    reach = 0.71 * (radius + 4)
    slash = (f'<path class="slash" d="M{x - reach:.1f} {y + reach:.1f}L{x + reach:.1f} {y - reach:.1f}"/>'
             if node.withdrawn else "")
    letter = "" if node.halted else \
        f'<text class="letter {kind}" x="{x:.1f}" y="{y + 4:.1f}" aria-hidden="true">{LETTERS[kind]}</text>'
    return (f'<a href="#node-{escape(node.name)}"><g>{ring}{shape}{cross}{letter}{slash}{title}</g>'
            f'{_facts(grid, node, x, y)}</a>')


def _facts(grid: _Grid, node: NodeView, x: float, y: float) -> str:
    """Return what is written about a node, as far as there is room."""
    if grid.step < SHARES or node.halted:
        return ""
    below = y + grid.radius + 15
    words = [("share", share(node), below)]
    if grid.step >= FACTS:
        words = [("share", f"{share(node)} real", below), ("", f"{_thousands(node.rows)} rows", below + 12),
                 ("hash", node.manifest_sha256[:8], below + 24)]
        if node.left_out:
            words.append(("bad", "withdrawn" if node.withdrawn else node.outcome, y - grid.radius - 9))
    lines = [f'<text class="fact {kind}" x="{x:.1f}" y="{at:.1f}">{escape(word)}</text>' for kind, word, at in words]
    return f'<g aria-hidden="true">{"".join(lines)}</g>'


def share(node: NodeView) -> str:
    """Return the share of real rows in a node's pool: 100 %, and a dash for an empty pool."""
    return "–" if node.real_share is None else f"{100 * node.real_share:.3g} %"


def _thousands(count: int) -> str:
    """Return a count in four characters or so."""
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.3g}k" if count < 1e6 else f"{count / 1e6:.3g}M"


def _how(node: NodeView) -> str:
    """Return how much of its stage a node shows, and what else holds, in words."""
    beside = f"; also {' and '.join(within(stage) for stage in node.beside)}" if node.beside else ""
    return (f" ({node.amount})" if node.amount else "") + beside


def describe(node: NodeView) -> str:
    """Return one node in one line, for a tooltip."""
    if node.halted:
        return f"{node.name}: not made; halted by {node.halted}"
    share_ = "" if node.real_share is None else f", {100 * node.real_share:.3g} % real"
    outcome = "" if node.outcome == "pass" else f"; withdrawn: {node.withdrawn}" if node.withdrawn else \
        f"; {node.outcome}"
    return f"{node.name}: {SHOWN.get(node.stage, 'real data')}{_how(node)}{outcome}; pool of {node.rows} rows{share_}" \
           f"; manifest {node.manifest_sha256[:12]}"
