"""Do claims hold by accident: how often each kind of sentence holds where it is false, on the edge of being true.

Null series are independent, multiplicative (skewed), heavy-tailed, tied or short; means are of products of χ² (the
variances of a Gaussian loop), Pareto, exponential, normal and rare events. Each sentence is judged for R = 5, 20 and
100; 5 % is allowed (1 % of leaving a band). Words: --seeds N (1000).
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from collapse import calibration
from collapse.claims.attribution import Ladder, compound, cuts, subsets
from collapse.claims.grammar import parse_claims
from collapse.claims.records import Records, Series
from collapse.metrics.base import Fact
from collapse.rng import Rng

COUNTS, GENERATIONS, FITS = (5, 20, 100), 6, 200
KINDS = ("independent", "multiplicative", "heavy-tailed", "tied", "short")
MEANS = ("normal", "exponential", "products of χ², t = 5", "products of χ², t = 20", "Pareto 1.5", "rare events",
         "1 − products of χ²")
SOURCES = ("a", "b")


class Made(Records):
    """Records of series that are at hand: (T, R) by branch."""

    def series(self, series: Series) -> pd.DataFrame:
        """Return generations (rows) by replicates (columns)."""
        return pd.DataFrame(self.table[series.branch]).rename(index=lambda t: t + 1)


def walk(kind: str, seeds: int, count: int, rng: Rng) -> np.ndarray:
    """Return series (seeds, T, R) whose paths neither rise nor fall in the median, which is 1 at every generation."""
    shape = (seeds, 2 if kind == "short" else GENERATIONS, count)
    noise = rng.at("noise").normal(shape)
    if kind == "multiplicative":
        return np.exp(np.cumsum(noise, axis=1))
    if kind == "heavy-tailed":
        return 1 + noise / np.abs(rng.at("tail").normal(shape))
    if kind == "tied":
        return 1 + 0.1 * np.sign(noise) * (np.abs(noise) > 1)
    return 1 + 0.3 * noise


def ends(kind: str, seeds: int, count: int, rng: Rng) -> np.ndarray:
    """Return values (seeds, R) of mean 1."""
    shape = (seeds, count)
    if kind == "normal":
        return 1 + rng.normal(shape)
    if kind == "exponential":
        return -np.log(rng.uniform(shape))
    if kind == "Pareto 1.5":
        return rng.uniform(shape) ** (-1 / 1.5) / 3
    if kind == "rare events":
        return (rng.uniform(shape) < 0.02) / 0.02
    steps = 20 if kind.endswith("20") else 5
    product = np.exp(sum(np.log(rng.at(t).chisquare(9, shape) / 9) for t in range(steps)))
    return 2 - product if kind.startswith("1 −") else product


def held(texts: list[str], series: dict[str, np.ndarray], bands: dict[str, Any] | None = None) -> np.ndarray:
    """Return the share of seeds in which each sentence holds; ``series`` holds (seeds, T, R) by branch."""
    first = next(iter(series.values()))
    spans = {name: SimpleNamespace(first=1, last=first.shape[1]) for name in series}
    claims = parse_claims(texts, "benchmark", spans, {"x": Fact("fit", 0.0, "either", "", "", low=-np.inf)})
    hits = np.zeros(len(texts))
    for seed in range(len(first)):
        made = Made({name: values[seed] for name, values in series.items()}, {}, bands or {})  # type: ignore[arg-type]
        hits += [claim.statement.judge(made).verdict == "holds" for claim in claims]
    return hits / len(first)


def paths(kind: str, seeds: int, count: int) -> dict[str, float]:
    """Return how often sentences on medians hold for one kind of null."""
    rng = Rng("benchmark", "claims", kind, count)
    x, y = (walk(kind, seeds, count, rng.at(name)) for name in "xy")
    last = x.shape[1]
    risen = x + (np.arange(last) == last - 1)[:, None] * (1 + 1e-9)
    flat = risen + 3 * (np.arange(last) >= (last + 1) // 2 - 1)[:, None] * (last > 3)
    trends = ["x.x falls", "x.x rises", "x.x falls at 99 %"]
    found = dict(zip(trends, held(trends, {"x": x}), strict=True))
    edge = ["x.x < 1", "x.x > 1", "x.x < y.x"]
    found |= dict(zip(edge, held(edge, {"x": x, "y": y}), strict=True))
    bound = ["x.x does not rise by more than 1", "x.x keeps within 1"]
    found |= dict(zip(bound, held(bound, {"x": risen}), strict=True))
    off = ["x.x rises and levels off within 1", "x.x levels off within 1"]
    return found | dict(zip(off, held(off, {"x": flat}), strict=True))


def means(kind: str, seeds: int, count: int) -> dict[str, float]:
    """Return how often sentences on means hold for one kind of null."""
    value = ends(kind, seeds, count, Rng("benchmark", "means", kind, count))[:, None]  # (seeds, R) -> (seeds, 1, R)
    start = ends(kind, seeds, count, Rng("benchmark", "starts", kind, count))[:, None]
    texts = ["mean x.x < 1", "mean x.x > 1", "mean x.x falls"]
    return dict(zip(texts, held(texts, {"x": np.concatenate([start, value], axis=1)}), strict=True))


def biases(seeds: int, count: int) -> dict[str, float]:
    """Return how often sentences on a bias hold that is on the edge of them."""
    noise = 0.1 * Rng("benchmark", "bias", count).normal((seeds, GENERATIONS, count))
    found = {}
    for verb, left in (("amplifies its bias", 1.0), ("corrects its bias", 1.0), ("corrects its bias", -1.0),
                       ("keeps its bias within 10 %", 1.1), ("keeps its bias within 10 %", 0.9)):
        gain = np.linspace(1, left, GENERATIONS)[:, None]
        found[f"x.x {verb} (left: {left:g})"] = float(held([f"x.x {verb} around 0"], {"x": 0.5 * gain + noise})[0])
    return found


def banded(seeds: int, count: int) -> dict[str, float]:
    """Return how often fresh controls leave their band, and medians on its edge are said to stay inside."""
    rng = Rng("benchmark", "bands", count)
    fits = rng.at("fits").normal((FITS,))
    bands = {"x": calibration.Bands({"kind": ["model"] * FITS, "metric": ["x"] * FITS, "feature": [""] * FITS,
                                     "value": fits}, alpha=0.01 / GENERATIONS)}
    edge = bands["x"].band("x", replicates=count).high
    x = rng.at("x").normal((seeds, GENERATIONS, count))
    leaves, stays = "x.x leaves the control band", "x.x stays inside the control band"
    return {leaves: float(held([leaves], {"x": x}, bands)[0]),
            f"{stays} (median on its edge)": float(held([stays], {"x": x * 0.3 + edge + 1e-9}, bands)[0])}


def designs(seeds: int, count: int) -> dict[str, float]:
    """Return how often the sentences on factors and ladders hold where nothing compounds and no capacity is better."""
    rng = Rng("benchmark", "designs", count)
    noise = rng.at("factors").normal((seeds, 4, count))
    ladder, rungs = Ladder("x", {f"k{i}": i for i in range(6)}), rng.at("ladder").normal((seeds, 6, count))
    add = [compound({frozenset(some): row + len(some) for some, row in zip(subsets(SOURCES), one, strict=True)},
                    SOURCES, "x").verdict == "holds" for one in noise]
    cut = [cuts({f"k{i}": one[i] + 9 * (i == 0) for i in range(6)}, ladder).verdict == "holds" for one in rungs]
    return {"sources compound": float(np.mean(add)), "capacity cuts both ways (one end as near)": float(np.mean(cut))}


def main() -> None:
    words = sys.argv[1:]
    seeds = int(words[words.index("--seeds") + 1]) if "--seeds" in words else 1000
    worst = 0.0
    print(f"{seeds} seeds each; holds in % of runs, for R = {', '.join(map(str, COUNTS))}")
    rows = [(kind, lambda n, kind=kind: paths(kind, seeds, n)) for kind in KINDS]
    rows += [(f"mean of {kind}", lambda n, kind=kind: means(kind, seeds, n)) for kind in MEANS]
    rows += [("normal bias", lambda n: biases(seeds, n)), ("controls", lambda n: banded(seeds, n)),
             ("no effect", lambda n: designs(seeds, n))]
    for name, rates in rows:
        found = [rates(count) for count in COUNTS]
        for text in found[0]:
            here = [one[text] for one in found]
            worst = max(worst, *here)
            print(f"{name:34s} {text:52s} " + " ".join(f"{100 * rate:5.1f}" for rate in here), flush=True)
    print(f"the most: {100 * worst:.1f} %; 5 % are allowed, and 4 standard errors of {seeds} runs are "
          f"{400 * np.sqrt(0.05 * 0.95 / seeds):.1f}")


if __name__ == "__main__":
    main()
