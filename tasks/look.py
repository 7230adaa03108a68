"""A series of existing data sets held against a reference: no training, no server, no project."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from collapse.errors import InputError
from collapse.reader import layouts
from collapse.reader.dialect import Options
from collapse.reader.pieces import listed
from collapse.storage import put, staging, write_text
from collapse.verdict import CARRIES, LATE, SHOWN, within
from collapse.watch.series import Seen, SnapshotSeries, survey

#: The page, unless told otherwise, and what stands beside it: the series as data.
PAGE = Path("reports/watch/index.html")
#: Signs that one line of the terminal names.
NAMED = 3


def look(reference: Path, words: Sequence[str], *, rate: float = 0.01, groups: Sequence[str] = (),
         drop: Sequence[str] = (), planned: int = 0, page: Path | None = PAGE, suite: Path | None = None,
         aloud: bool = False, late: float = LATE, reading: Mapping[str, Any] | None = None,
         strict: bool = False) -> SnapshotSeries:
    """Judge the snapshots that ``words`` name, and write the page and the suite that are asked for.

    ``groups`` are groupings, the columns that one crosses joined by ``,``; ``reading`` says how tables are written,
    by the names of :class:`collapse.reader.dialect.Options`.

    Raises
    ------
    InputError
        If anything cannot be read or judged; nothing is then written.
    """
    if not 0 < rate < 1:
        raise InputError(f"--rate: {rate:g} is no chance; give a number between 0 and 1, such as 0.01")
    if not 0 < late < 1:
        raise InputError(f"--late: {late:g} is no share between 0 and 1, such as {LATE:g}")
    crossed = tuple(tuple(name.strip() for name in grouping.split(",")) for grouping in groups)
    options = Options(**(reading or {}))
    real = layouts.whole(reference)
    if suite is not None and real.kind == "text":
        raise InputError("--suite: expectations are of columns, and text has none; leave it out")
    found = layouts.find(words)
    inputs = [file for one in (real, *found) for file in one.files]
    for option, target in (("--page", page), ("--suite", suite)):
        if target is not None:
            _free(option, target, inputs)
    series = survey(real, found, rate, crossed, drop, planned, _say if aloud else None, late,
                    options, strict)
    if aloud:
        _say("")
    if page is not None:
        from collapse.report.watch import render

        _written("--page", page, render(series))
    if suite is not None:
        from collapse_lab.tasks.expectations.suite import portable

        made = portable(series.watch, series.seen[-1].judged.measured, series.rate)
        _written("--suite", suite, json.dumps(made, indent=1) + "\n")
    return series


def _say(text: str) -> None:
    """Show on a terminal what is being done, in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)


def _free(option: str, path: Path, inputs: Sequence[Path]) -> None:
    """Refuse a target that is a folder, or what is to be read, or where nothing can be written.

    Raises
    ------
    InputError
        Before anything is read.
    """
    if path.is_dir():
        raise InputError(f"{option}: {path} is a folder; name a file, such as {path / 'watch.html'}"
                         if option == "--page" else f"{option}: {path} is a folder; name a file in it")
    if path.exists() and any(path.samefile(one) for one in inputs):
        raise InputError(f"{option}: {path} is one of the data sets that are looked at; name another file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging(path.parent, path.name):
            pass
        with suppress(OSError):
            (path.parent / ".tmp").rmdir()
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be written ({error.strerror}); give another place") from None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with staging(path.parent, path.name) as folder:
        write_text(folder / path.name, text)
        put(folder / path.name, path)
    with suppress(OSError):  # another run's work may be in it
        (path.parent / ".tmp").rmdir()


def _written(option: str, path: Path, text: str) -> None:
    """Write what an option asks for.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    try:
        _write(path, text)
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be written ({error.strerror}); give another place") from None


def words(series: SnapshotSeries) -> str:
    """Return a series in words: a line for each snapshot, then what the newest one says."""
    names = [Path(one.name).name for one in series.seen]
    width, room = max(map(len, (*names, "snapshot"))), max(map(len, SHOWN.values()))
    lines = [f"{name:{width}}  {one.rows:>12,}  {SHOWN[one.judged.verdict]:{room}}  {told(one)}".rstrip()
             for name, one in zip(names, series.seen, strict=True)]
    head = f"{'snapshot':{width}}  {series.unit.split()[0]:>12}  {'verdict':{room}}  carried by"
    tail = []
    newest = series.seen[-1]
    if newest.step and newest.step[0]["unusual"] and newest.judged.verdict != "healthy":
        item = newest.step[0]
        tail.append(f"step: {name(item['metric'], item['feature'])} went from {item['from']:.3g} to {item['to']:.3g} "
                    f"since the snapshot before")
    tail += [f"trend: {t['metric']} {'falls' if t['falls'] else 'rises'} by {abs(t['slope']):.2g} a snapshot "
             f"[{min(abs(t['low']), abs(t['high'])):.2g}, {max(abs(t['low']), abs(t['high'])):.2g}]"
             for t in series.trends if t["falls"] or t["rises"]]
    since = ""
    if series.since:
        first = next(one for one in series.seen if one.name == series.since)
        since = f"{'' if first.judged.verdict == series.verdict else '; none healthy'} since {Path(series.since).name}"
    last = f"{SHOWN[series.verdict]}{since}{unread(series)}"
    return "\n".join([head, *lines, "", *tail, *([""] if tail else []), last])


def unread(series: SnapshotSeries) -> str:
    """Return the columns of which the verdict says nothing, as the end of its line."""
    names = list(series.left_out)
    return f"; not watched: {listed(names, 3)}" if names else ""


def name(metric: str, feature: str) -> str:
    """Return a cell in one word."""
    return f"{metric}[{feature}]" if feature else metric


def told(one: Seen) -> str:
    """Return how much of its verdict a snapshot shows, what carries it, and what else holds."""
    beside = f"; also {' and '.join(within(stage) for stage in one.judged.beside)}" if one.judged.beside else ""
    amount = f"{one.judged.amount}; " if one.judged.amount else ""
    return f"{amount}{carried(one)}{beside}"


def carried(one: Seen) -> str:
    """Return what carries a verdict, in one line."""
    new, gone = ([s.text for s in one.judged.support if bool(s.lost) == lost] for lost in (False, True))
    said = {"categories_alive"} if gone else set()
    shown = one.judged.amount.startswith(tuple(gone[:1])) if gone else False
    signs = [f"{name(s.metric, s.feature)} {s.value:.3g} ({'under' if s.side == 'below' else 'over'} "
             f"{s.low if s.side == 'below' else s.high:.3g})"
             for s in one.judged.signs if s.role in CARRIES[one.judged.verdict] and s.metric not in said]
    drifted = one.judged.verdict == "drifted"
    parts = [*new[:1], *signs] if drifted else [*([] if shown else gone[:1]), *signs, *new]
    more = len(new) + len(gone) + len(one.judged.signs) - len(parts[:NAMED]) - shown
    return ", ".join(parts[:NAMED]) + (f" and {more} more" if more else "")
