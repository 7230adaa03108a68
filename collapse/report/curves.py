"""What the page's charts draw, in the order in which they stand, and the records that it shows on demand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from collapse.claims.published import Published
from collapse.report import texts
from collapse.report.collect import FAMILIES, Collected
from collapse.report.numbers import six_digits
from collapse.verdict import staged

#: Metrics that get a chart of their own, and series that the explorer offers.
CHARTS, EXPLORED = 6, 150


def curves(collected: Collected) -> dict[str, Any]:
    """Return what the charts draw. One entry per metric and feature; the first ``charts`` have their own chart."""
    pairs = _ordered(collected)
    accompanied = _beside(collected)
    charts = sum(pair in accompanied or (pair[1] == "" and not pair[0].endswith("_step"))
                 for pair in pairs[: CHARTS + len(accompanied)])
    return {
        "branches": [{"name": b.name, "colour": b.colour, "dash": b.dash} for b in collected.branches],
        "charts": charts,
        "curves": [_curve(collected, metric, feature) for metric, feature in pairs[:EXPLORED]],
        "left_out": max(0, len(pairs) - EXPLORED),
        "nodes": _records(collected),
    }


def _ordered(collected: Collected) -> list[tuple[str, str]]:
    """Return every (metric, feature): what decides the stage, what is gated, then each family's first, second, …"""
    table = collected.table[["metric", "feature"]].drop_duplicates()
    table = table[~table.metric.isin([texts.SHARE, texts.REFERENCE])]  # bins are no curves
    pairs = sorted((str(m), str(f)) for m, f in table.itertuples(index=False))
    first = [*collected.headline, *staged({m for m, _ in pairs}), *collected.gates]
    seen: dict[str, list[str]] = {}
    for metric, _ in pairs:
        kin = seen.setdefault(_family(collected, metric), [])
        if metric not in kin:
            kin.append(metric)

    accompanied = _beside(collected)

    def rank(pair: tuple[str, str]) -> tuple[Any, ...]:
        metric, feature = pair
        head = 0 if not feature and metric in collected.headline else 1 if pair in accompanied else 2
        family = _family(collected, metric)
        place = first.index(metric) if metric in first else len(first)
        return (head, feature != "", metric.endswith("_step"), place, seen[family].index(metric),
                FAMILIES.index(family), metric, feature)

    return sorted(pairs, key=rank)


def _beside(collected: Collected) -> set[tuple[str, str]]:
    """Return every (metric, feature) beside which a law or a published figure stands."""
    return {(metric, feature) for _, metric, feature in collected.laws} | {
        (item.series.metric, item.series.feature) for item in collected.study.published}


def _family(collected: Collected, metric: str) -> str:
    fact = collected.facts.get(metric.removesuffix("_step"))
    return fact.family if fact else FAMILIES[-1]


def _curve(collected: Collected, metric: str, feature: str) -> dict[str, Any]:
    rows = collected.curves
    rows = rows[(rows.metric == metric) & (rows.feature == feature)]
    fact = collected.facts.get(metric) or collected.facts.get(metric.removesuffix("_step"))
    series = {}
    for branch in collected.branches:
        own = rows[rows.branch == branch.name]
        if len(own):
            series[branch.name] = {"x": own.generation.tolist(), **{k: [six_digits(v) for v in own[k]]
                                                                      for k in ("mean", "low", "high", "median")}}
    means = rows["mean"].to_numpy()
    means = means[np.isfinite(means)]
    band = next((found for b in collected.branches if (found := collected.band(b.name, metric, feature))), None)
    return {
        "metric": metric, "feature": feature, "series": series,
        "meaning": fact.meaning[:1].upper() + fact.meaning[1:] if fact else "",
        # A quantity that runs over more than a factor of 50 is read on a log axis.
        "log": bool(len(means) and means.min() > 0 and means.max() / means.min() > 50),
        "band": None if band is None else [six_digits(band.low), six_digits(band.high)],
        "laws": {b.name: {"x": sorted(law), "y": [six_digits(law[g]) for g in sorted(law)]}
                 for b in collected.branches
                 if (law := collected.laws.get((b.name, metric, feature)))},
        "published": {item.series.branch: _printed(item, collected.study.branches[item.series.branch].last)
                      for item in collected.study.published
                      if (item.series.metric, item.series.feature) == (metric, feature)},
    }


def _printed(item: Published, last: int) -> dict[str, list[Any]]:
    """Return the published points as far as the branch runs: one far beyond would squeeze the curves."""
    kept = [generation for generation in item.values if generation <= last]
    return {"x": kept, "y": [six_digits(item.values[generation]) for generation in kept]}


def _records(collected: Collected) -> dict[str, Any]:
    """Return manifests and metrics of all nodes, for what is shown of one on demand.

    Manifests share most of their parts, so each stands once; ``manifests`` refers to ``parts`` by number.
    """
    parts: dict[str, int] = {}
    manifests = {}
    for node in collected.nodes.values():
        numbers = [parts.setdefault(json.dumps(part, sort_keys=True), len(parts)) for part in
                   node.manifest.get("parts", [])]
        manifests[node.name] = {**node.manifest, "parts": numbers}
    whole = collected.table[collected.table.feature == ""]
    medians = whole.groupby(["node", "metric"], observed=True).value.median()
    names = sorted(whole.metric.unique())
    table = {node: [six_digits(medians.get((node, name), np.nan)) for name in names] for node in collected.nodes}
    return {"parts": [json.loads(part) for part in parts], "manifests": manifests, "metrics": names, "medians": table}
