"""The lineage of a study as one SVG: branches are rows, generations are columns, forks are curves."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from collapse.report.collect import BranchView, Collected, NodeView

TOP, ROW, LEFT = 34, 46, 150


@dataclass(frozen=True)
class _Grid:
    """Where a node lies."""

    rows: dict[str, int]
    step: float
    middle: float

    def point(self, node: NodeView) -> tuple[float, float]:
        if node.branch is None:
            return LEFT, self.middle
        return LEFT + node.generation * self.step, TOP + ROW * (self.rows[node.branch] + 0.5)


def lineage(collected: Collected) -> str:
    """Return the drawing. Colours come from the page's style sheet, by stage."""
    branches = collected.branches
    last = max(branch.last for branch in branches)
    step = max(26.0, min(84.0, 900 / last))
    height = TOP + ROW * len(branches) + 12
    grid = _Grid({b.name: i for i, b in enumerate(branches)}, step, TOP + ROW * len(branches) / 2)
    width = round(LEFT + last * step + 30)
    label = (f"Lineage of {collected.study.title}: {len(branches)} branches from one real data set, "
             f"{last} generations from left to right.")
    edges = [_edge(grid, collected.nodes[node.parent], node, branch)
             for branch in branches for node in branch.nodes if node.parent]
    marks = [_mark(grid, node, round(min(9.5, step / 3), 1)) for node in collected.nodes.values()]
    names = [f'<text class="name" x="8" y="{TOP + ROW * (i + 0.5) + 4:g}" fill="{b.colour}">{escape(_short(b.name))}'
             f"<title>{escape(b.name)}: {escape(b.rule)}</title></text>" for i, b in enumerate(branches)]
    every = 1 if step >= 26 and last <= 20 else 5
    heads = [f'<text class="head" x="{LEFT + g * step:g}" y="18">{g if g else "real"}</text>'
             for g in range(0, last + 1) if g % every == 0]
    return (f'<svg class="lineage" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}">{"".join(heads)}{"".join(names)}{"".join(edges)}{"".join(marks)}</svg>')


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _edge(grid: _Grid, parent: NodeView, child: NodeView, branch: BranchView) -> str:
    (x0, y0), (x1, y1) = grid.point(parent), grid.point(child)
    bend = (x1 - x0) * 0.55
    dash = ' stroke-dasharray="2 5"' if child.halted else ""
    return (f'<path class="edge" d="M{x0:.1f} {y0:.1f}C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} '
            f'{x1:.1f} {y1:.1f}" stroke="{branch.colour}"{dash}/>')


def _mark(grid: _Grid, node: NodeView, radius: float) -> str:
    x, y = grid.point(node)
    title = f"<title>{escape(describe(node))}</title>"
    if node.branch is None:
        side = radius * 1.9
        return (f'<g><rect class="node real" x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" '
                f'height="{side:.1f}" rx="3"/>{title}</g>')
    arm = radius * 0.5
    kind = node.stage or "halted"
    cross = (f'<path class="cross" d="M{x - arm:.1f} {y - arm:.1f}l{2 * arm:.1f} {2 * arm:.1f}'
             f'm0 {-2 * arm:.1f}l{-2 * arm:.1f} {2 * arm:.1f}"/>') if node.halted else ""
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{radius + 4:.1f}"/>' \
        if node.outcome in ("quarantine", "halt") and not node.halted else ""
    return f'<g>{ring}<circle class="node {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>{cross}{title}</g>'


def describe(node: NodeView) -> str:
    """Return one node in one line, for a tooltip."""
    if node.halted:
        return f"{node.name}: not made; halted by {node.halted}"
    share = "" if node.real_share is None else f", {100 * node.real_share:.3g} % real"
    outcome = "" if node.outcome == "pass" else f"; {node.outcome}"
    return f"{node.name}: {node.stage or 'real data'}{outcome}; pool of {node.rows} rows{share}; " \
           f"manifest {node.manifest_sha256[:12]}"
