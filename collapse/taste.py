"""A taste before anything is installed but numpy, pydantic and scipy: two loops in memory, in seconds.

A model learns from data, the next one from what it wrote, and so on, in four ways. ``python -m collapse.taste`` prints
what is left of a normal distribution's variance and of a hundred words whose frequencies follow Zipf's law, with the
same sources, models and regimes that studies are made of. :func:`paths` gives the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse import loop
from collapse.claims.intervals import median_interval
from collapse.models.base import Model
from collapse.models.categorical import Categorical
from collapse.models.gaussian import Gaussian
from collapse.regimes.accumulate import Accumulate
from collapse.regimes.base import Regime
from collapse.regimes.control import Control
from collapse.regimes.redraw import Redraw
from collapse.regimes.replace import Replace
from collapse.sources.base import Source
from collapse.sources.gaussian import Gaussian as Normal
from collapse.sources.zipf import Zipf

GENERATIONS, LINEAGES = 20, 1000
SHOWN = (1, 5, 10, 20)
WAYS: dict[str, Regime] = {
    "nothing but its own newest output": Replace(),
    "everything so far, real data included": Accumulate(),
    "its own output and a tenth of real data": Redraw(real=0.1),
    "fresh real data every time": Control(),
}
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Loop:
    """What is learned again and again: ``rows`` of ``source`` by ``model``; ``whole`` is the most of ``metric``."""

    title: str
    source: Source
    model: Model
    metric: str
    rows: int
    whole: float


LOOPS = (
    # ddof 0: the maximum likelihood whose bias, of one row in n, is what shrinks
    Loop("Variance left of a normal distribution, 20 rows a generation", Normal(), Gaussian(ddof=0), "fit_variance",
         20, 1),
    Loop("Words still in use of a hundred (Zipf's law), 500 a generation", Zipf(), Categorical(), "fit_survivors",
         500, 100),
)


def paths(what: Loop, lineages: int = LINEAGES, seed: int = 0) -> dict[str, np.ndarray]:
    """Return by way of learning the metric of every fit, (lineages, generations); column 0 is the fit to real data."""
    return {name: loop.run(what.source, what.model, regime, what.rows, GENERATIONS, lineages, seed=seed, name="taste",
                           record=[what.metric])[what.metric] for name, regime in WAYS.items()}


def table(what: Loop, found: dict[str, np.ndarray]) -> str:
    """Return medians over lineages by generation, the last with its 95 % interval, and their course as blocks."""
    width = max(map(len, found))
    head = "".join(f"{f'gen. {t}':>9}" for t in SHOWN)
    lines = [what.title, f"{'learned from':{width}}{head}  [95 % interval]"]
    for name, path in found.items():
        _, low, high = median_interval(path[:, -1])
        medians = np.median(path, axis=0)
        levels = (medians / what.whole * (len(BLOCKS) - 1)).round().clip(0, len(BLOCKS) - 1).astype(int)
        values = "".join(f"{_number(medians[t - 1], what):>9}" for t in SHOWN)
        interval = f"[{_number(low, what)}, {_number(high, what)}]"
        lines.append(f"{name:{width}}{values}  {interval:15}  {''.join(BLOCKS[i] for i in levels)}")
    return "\n".join(lines)


def _number(value: Any, what: Loop) -> str:
    return f"{value:.2f}" if what.whole == 1 else f"{value:.0f}"


def main() -> None:
    """Print both tables."""
    print(f"A model learns from data, the next from what that one made, and so on: medians of {LINEAGES:,} lineages.")
    for what in LOOPS:
        print(f"\n{table(what, paths(what))}", flush=True)
    print("\nThe same with handwritten digits, pictures and a page: make repro")


if __name__ == "__main__":
    main()
