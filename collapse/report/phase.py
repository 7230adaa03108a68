"""Phase diagrams of sweeps: the stage or any metric over two swept keys, at any generation, with a law's boundary."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from collapse.laws.gaussian import replace_variance
from collapse.laws.real import FORMS
from collapse.report.collect import Collected
from collapse.study.sweep import Sweep
from collapse.verdict import staged

#: Metrics that a diagram offers, diagrams of one sweep, and points of a law between two swept values.
METRICS, DIAGRAMS, FINE = 24, 6, 6
#: Stages by their number in the data; None: not judged, or not there.
STAGES = ("healthy", "early", "late", "distorted", "drifted", "halted")
#: Expected variances, over the true one, at which a law's boundaries are drawn.
LEVELS = (0.5, 0.9)
#: Metrics beside which the law of the fitted variance is drawn; the stage has no name.
LAWFUL = ("", "fit_variance", "variance_ratio")


def diagrams(collected: Collected) -> list[dict[str, Any]]:
    """Return what the page draws: for each sweep, a diagram of its first two keys for all values of the others.

    A diagram holds `stages` and each metric's medians as [generation][y][x], None where there is no node. A law's
    expected variance lies on a finer grid whose coordinates are places among the values.
    """
    found = []
    for sweep in collected.study.sweeps.values():
        keys = sorted(sweep.keys, key=lambda key: len(sweep.over[key]) < 2)[:2]
        others = [key for key in sweep.keys if key not in keys]
        for rest in list(product(*(sweep.over[key] for key in others)))[:DIAGRAMS]:
            found.append(_diagram(collected, sweep, keys, dict(zip(others, rest, strict=True))))
    return found


def _diagram(collected: Collected, sweep: Sweep, keys: Sequence[str], fixed: dict[str, Any]) -> dict[str, Any]:
    x, y = sweep.over[keys[0]], sweep.over[keys[1]] if len(keys) > 1 else ("",)
    branches: dict[tuple[int, int], str] = {}
    for name, values in sweep.cells.items():
        cell = dict(zip(sweep.keys, values, strict=True))
        if all(cell[key] == value for key, value in fixed.items()):
            row = y.index(cell[keys[1]]) if len(keys) > 1 else 0
            branches[row, x.index(cell[keys[0]])] = name
    views = {branch.name: branch for branch in collected.branches}
    last = max(views[name].last for name in branches.values())
    shape = (last, len(y), len(x))
    stages: np.ndarray = np.full(shape, None, dtype=object)
    for (row, column), name in branches.items():
        for node in views[name].nodes:
            stages[node.generation - 1, row, column] = STAGES.index(node.stage or "halted")
    curves = collected.curves
    curves = curves[(curves.feature == "") & (curves.generation > 0) & curves.branch.isin(list(branches.values()))]
    names = [str(name) for name in curves.metric.unique() if not name.endswith("_step")]
    first = [*collected.headline, *staged(names), *(n for n in names if n.startswith("fit_"))]
    names = [*dict.fromkeys(n for n in first if n in names), *(n for n in sorted(names) if n not in first)][:METRICS]
    places = {name: place for place, name in branches.items()}
    metrics = []
    for metric in names:
        z: np.ndarray = np.full(shape, None, dtype=object)
        own = curves[curves.metric == metric]
        for name, generation, value in zip(own.branch, own.generation, own["median"], strict=True):
            if np.isfinite(value):
                z[(generation - 1, *places[name])] = float(f"{value:.4g}")
        fact = collected.facts.get(metric)
        metrics.append({"metric": metric, "z": z.tolist(), "meaning": fact.meaning if fact else "",
                        "ideal": fact.ideal if fact else None, "collapse": fact.collapse if fact else "either",
                        "lawful": metric in LAWFUL})
    title = ", ".join(f"{key} {value}" for key, value in fixed.items())
    return {"template": sweep.template, "fixed": title, "keys": list(keys), "x": [str(v) for v in x],
            "y": [str(v) for v in y], "branches": [[branches.get((r, c), "") for c in range(len(x))]
                                                   for r in range(len(y))],
            "stages": stages.tolist(), "metrics": metrics, "law": _law(collected, sweep, keys, last), "levels": LEVELS}


def _law(collected: Collected, sweep: Sweep, keys: Sequence[str], last: int) -> dict[str, Any] | None:
    """Return E[v_t] of a one-dimensional Gaussian (ddof 0) over rows and real share, or None where no law speaks.

    The law takes the first pool to have as many rows as every later one; another size is forgotten in a few
    generations.
    """
    study = collected.study
    branch = next(study.branches[name] for name in sweep.cells)
    if set(keys) != {"rows", "real"} or not all(_covered(study, study.branches[name]) for name in sweep.cells) or \
            len(sweep.keys) > 2:
        return None
    regime = next((study.branches[n].regime.kind for n in sweep.cells if study.branches[n].regime.kind in FORMS), None)
    if regime is None or branch.from_ is not None:
        return None
    places = [_between(sweep.over[key]) for key in keys]
    at = [[_value(sweep.over[key], place, key == "rows") for place in axis]
          for key, axis in zip(keys, places, strict=True)]
    z = np.empty((last, len(at[1]), len(at[0])))
    for r, second in enumerate(at[1]):
        for c, first in enumerate(at[0]):
            n, share = (first, second) if keys[0] == "rows" else (second, first)
            m = share * n
            # fewer than one kept row is none: the form of anchor divides by their number
            z[:, r, c] = FORMS[regime](last, n, m)[0][1:] if m >= 1 or (m > 0 and regime != "anchor") else \
                replace_variance(np.arange(1, last + 1), n, 0)
    return {"x": places[0], "y": places[1], "z": [[[float(f"{v:.4g}") for v in row] for row in g] for g in z]}


def _covered(study: Any, branch: Any) -> bool:
    """Return whether the laws of kept real rows speak of a branch: one dimension, maximum likelihood."""
    return (branch.model.kind == "gaussian" and study.source.kind == "gaussian" and study.source.dim == 1
            and branch.model.ddof == 0 and branch.model.variance is None
            and branch.regime.kind in (*FORMS, "replace"))


def _between(values: Sequence[Any]) -> list[float]:
    """Return places among values: 0 is the first, 1 the second."""
    return [round(i / FINE, 4) for i in range(FINE * (len(values) - 1) + 1)]


def _value(values: Sequence[Any], place: float, log: bool) -> float:
    """Return the value at a place between two swept ones; rows go by ratios."""
    here = np.arange(len(values))
    if log:
        return float(np.exp(np.interp(place, here, np.log(values))))
    return float(np.interp(place, here, values))
