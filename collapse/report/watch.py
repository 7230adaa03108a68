"""The page of a watch: one self-contained file, drawn without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from collapse.metrics import facts
from collapse.reader.pieces import listed
from collapse.report.numbers import number
from collapse.report.page import asset
from collapse.verdict import MEANINGS, SHOWN, Sign, within
from collapse.watch.series import Seen, SnapshotSeries
from collapse.watch.verdicts import TRENDS, VERDICTS

#: Size of a chart, cells of the map, signs of a snapshot that are listed, and charts.
WIDTH, HEIGHT, PAD = 420, 170, 14
MAPPED, LISTED, CHARTS = 24, 12, 6


def render(series: SnapshotSeries) -> str:
    """Return the page. It asks for nothing over the network, and equal series give equal bytes."""
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, short=short, shown=SHOWN.get)
    template = environment.from_string(asset("watch.html"))
    newest = series.seen[-1]
    known = facts()
    return template.render(
        s=series, newest=newest, verdicts=MEANINGS, codes=VERDICTS, finding=finding(series), charts=_charts(series),
        map=_map(series), signs=[(_row(sign), known[sign.metric].meaning) for sign in newest.judged.signs[:LISTED]],
        more=max(0, len(newest.judged.signs) - LISTED), history=[(one, [_row(x) for x in one.judged.signs[:3]])
                                                                 for one in reversed(series.seen)],
        css=Markup(asset("page.css")), draws=series.watch.draws, bank=series.watch.bank.n)


def short(name: str) -> str:
    """Return a snapshot's name without its folder."""
    return Path(name).name


def finding(series: SnapshotSeries) -> str:
    """Return the result in one paragraph."""
    newest = series.seen[-1]
    unread = f" Not watched: {listed(list(series.left_out))}." if series.left_out else ""
    if newest.judged.verdict == "healthy":
        ill = [one for one in series.seen if one.judged.verdict != "healthy"]
        before = f" {len(ill)} of the {len(series.seen)} before it were not." if ill else ""
        return f"The newest snapshot, {short(newest.name)}, is healthy: no measurement left its band.{before}{unread}"
    new = [item.text for item in newest.judged.support[:2]]
    what = [f"{_called(sign)} is {number(sign.value)}, {sign.side} its band [{number(sign.low)}, {number(sign.high)}]"
            for sign in newest.judged.signs[:2]]
    since = f" No snapshot has been healthy since {short(series.since)}." if series.since != newest.name else ""
    amount = f" ({newest.judged.amount})" if newest.judged.amount else ""
    shown = "; ".join((new + what if newest.judged.verdict == "drifted" else what + new)[:3])
    found = f"{within(newest.judged.verdict)}{amount}: {shown}.{since}{unread}"
    return f"The newest snapshot, {short(newest.name)}, is {found}"


def _called(sign: Sign) -> str:
    return f"{sign.metric} of {sign.feature}" if sign.feature else sign.metric


def _row(sign: Sign) -> dict[str, Any]:
    return {"name": sign.metric, "feature": sign.feature, "value": sign.value, "low": sign.low, "high": sign.high,
            "score": sign.score, "role": sign.role, "side": sign.side}


def _charts(series: SnapshotSeries) -> list[dict[str, Any]]:
    """Return a chart of each headline metric: its band, and a dot for every snapshot."""
    from markupsafe import Markup

    known, slopes = facts(), {trend["metric"]: trend for trend in series.trends}
    keys = [(metric, "") for metric in TRENDS if all((metric, "") in one.judged.bands for one in series.seen)]
    return [{"name": metric, "meaning": known[metric].meaning, "trend": slopes.get(metric),
             "svg": Markup(_chart(series, (metric, feature)))} for metric, feature in keys[:CHARTS]]


def _chart(series: SnapshotSeries, key: tuple[str, str]) -> str:
    from html import escape

    values = np.array([one.judged.values.get(key, np.nan) for one in series.seen])
    bands = np.array([one.judged.bands[key] for one in series.seen])
    held = np.concatenate([values, bands.ravel()])
    held = held[np.isfinite(held)]
    low, high = float(held.min()), float(held.max())
    low, high = low - 0.08 * (high - low or 1), high + 0.08 * (high - low or 1)
    n = len(values)
    x = np.linspace(46 + PAD, WIDTH - PAD, n) if n > 1 else np.array([WIDTH / 2])

    def y(value: float) -> float:
        return float(np.clip(HEIGHT - 22 - (HEIGHT - 34) * (value - low) / (high - low), 4, HEIGHT - 14))

    bottom, top = (np.where(np.isfinite(bands[:, side]), bands[:, side], edge) for side, edge in ((0, low), (1, high)))
    edges = np.concatenate([[x[0] - PAD], x, [x[-1] + PAD]])
    upper = [y(v) for v in (top[0], *top, top[-1])]
    lower = [y(v) for v in (bottom[0], *bottom, bottom[-1])]
    around = [*zip(edges, upper, strict=True), *reversed(list(zip(edges, lower, strict=True)))]
    band = " ".join(f"{a:.1f},{b:.1f}" for a, b in around)
    line = " ".join(f"{a:.1f},{y(v):.1f}" for a, v in zip(x, values, strict=True) if np.isfinite(v))
    dots = "".join(
        f'<circle class="node {one.judged.verdict}" cx="{a:.1f}" cy="{y(v):.1f}" r="5.5"><title>'
        f'{escape(short(one.name))}: {number(float(v))} ({SHOWN[one.judged.verdict]})</title></circle>'
        for one, a, v in zip(series.seen, x, values, strict=True) if np.isfinite(v))
    ticks = "".join(f'<text x="42" y="{y(v) + 4:.1f}">{number(float(v))}</text>'
                    f'<path class="rule" d="M46 {y(v):.1f}H{WIDTH}"/>' for v in _ticks(low, high))
    label = f"{key[0]} by snapshot, from {number(float(values[0]))} to {number(float(values[-1]))}"
    return (f'<svg class="series" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{ticks}'
            f'<polygon class="inside" points="{band}"/><polyline class="path" points="{line}"/>{dots}</svg>')


def _ticks(low: float, high: float) -> list[float]:
    size = 10 ** np.floor(np.log10((high - low) / 3))
    every = next(size * k for k in (1, 2, 5, 10) if (high - low) / (size * k) <= 4)
    return [float(v) for v in np.arange(np.ceil(low / every), np.floor(high / every) + 1) * every]


def _map(series: SnapshotSeries) -> dict[str, Any]:
    """Return the map of parts: the columns, regions and groups that are farthest out, a cell for every snapshot."""
    worst: dict[tuple[str, str], float] = {}
    for one in series.seen:
        for key, score in one.judged.scores.items():
            low, high = one.judged.bands[key]
            out = -score if score < 0 and np.isfinite(low) else score if score > 0 and np.isfinite(high) else 0.0
            if key[1]:
                worst[key] = max(worst.get(key, 0.0), out / one.judged.limit)
    keys = sorted(worst, key=lambda key: (-worst[key], key))[:MAPPED]
    return {"snapshots": [one.name for one in series.seen],
            "rows": [{"metric": key[0], "feature": key[1], "cells": [_cell(one, key) for one in series.seen]}
                     for key in keys]}


def _cell(one: Seen, key: tuple[str, str]) -> dict[str, Any]:
    score, value = one.judged.scores.get(key, 0.0), one.judged.values.get(key, float("nan"))
    low, high = one.judged.bands.get(key, (float("nan"), float("nan")))
    part = min(1.0, abs(score) / (2 * one.judged.limit))
    judged = np.isfinite(low) if score < 0 else np.isfinite(high)
    left = bool(judged and abs(score) > one.judged.limit)
    return {"side": "less" if score < 0 else "more", "percent": round(100 * part) if judged else 0, "left": left,
            "title": f"{short(one.name)}: {number(value)}, band [{number(low)}, {number(high)}]"}
