"""A series of snapshots held against one reference: each one's verdict, and what changed since the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from collapse.errors import InputError
from collapse.reader.dialect import Options
from collapse.reader.layouts import Snapshot
from collapse.verdict import LATE, SHOWN, Sign
from collapse.watch.documents import BLOCK, Text
from collapse.watch.tables import SAMPLE, TableReference, only
from collapse.watch.verdicts import VERDICTS, Judged, Watch, step, trends

#: Rows of which anything can be said.
FEWEST = 30


def read(reference: Snapshot, groups: Sequence[str] = (), drop: Sequence[str] = (),
         options: Options | None = None) -> TableReference | Text:
    """Return a reference, frozen.

    Raises
    ------
    InputError
        If it cannot be read, or has not what is asked for.
    """
    if reference.kind == "text":
        return Text.read(reference, groups, drop)
    return TableReference.read(reference, groups, drop, options)


@dataclass(frozen=True, eq=False)
class Seen:
    """One snapshot of a series: its rows, the verdict, and what changed since the one before."""

    name: str
    rows: int
    judged: Judged
    step: list[dict[str, Any]]

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        judged = self.judged
        whole = {metric: {"value": _plain(value), **_band(judged.bands.get((metric, "")))}
                 for (metric, feature), value in judged.values.items() if not feature}
        return {"snapshot": self.name, "rows": self.rows, "measured": judged.measured, "verdict": judged.verdict,
                "amount": judged.amount, "beside": list(judged.beside), "signs": [_sign(sign) for sign in judged.signs],
                "new": [{"column": s.column, "what": s.what, "rows": s.rows, "p": _plain(s.p)} for s in judged.support],
                "without_new": None if judged.shape is None else [_sign(sign) for sign in judged.shape],
                "step": [{key: _plain(value) for key, value in item.items()} for item in self.step[:10]],
                "metrics": whole}


@dataclass(frozen=True, eq=False)
class SnapshotSeries:
    """A series of snapshots, held against one reference."""

    reference: str
    reference_rows: int
    unit: str
    rate: float
    planned: int
    left_out: dict[str, str]
    watch: Watch
    seen: tuple[Seen, ...]
    told: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Return the verdict on the newest snapshot: what a schedule acts on."""
        return self.seen[-1].judged.verdict

    @property
    def code(self) -> int:
        """Return the exit code of the newest snapshot's verdict."""
        return VERDICTS[self.verdict]

    @cached_property
    def since(self) -> str:
        """Return the first snapshot from which on none was healthy, '' if the newest is."""
        first = ""
        for one in reversed(self.seen):
            if one.judged.verdict == "healthy":
                break
            first = one.name
        return first

    @cached_property
    def trends(self) -> list[dict[str, Any]]:
        """Return the trend of each headline metric."""
        return trends([one.judged for one in self.seen])

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        rows = [(one.name, f"{one.rows:,}", SHOWN[one.judged.verdict], one.judged.amount) for one in self.seen]
        cells = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
        left = f"<p>not watched: {escape(', '.join(self.left_out))}</p>" if self.left_out else ""
        return f"<table><tr><th>snapshot<th>rows<th>verdict<th>what</tr>{cells}</table>{left}"

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"verdict": self.verdict, "since": self.since or None, "exit_code": self.code,
                "reference": self.reference, "reference_rows": self.reference_rows, "unit": self.unit,
                "rate": self.rate, "over_snapshots": self.planned, "level": self.watch.level,
                "draws": self.watch.draws, "left_out": self.left_out, "read_as": list(self.told),
                "trends": [{key: _plain(value) for key, value in item.items()} for item in self.trends],
                "snapshots": [one.plain() for one in self.seen]}


def _plain(value: Any) -> Any:
    return (float(f"{value:.6g}") if np.isfinite(value) else None) if isinstance(value, float) else value


def _band(band: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = band or (np.nan, np.nan)
    return {"low": _plain(float(low)), "high": _plain(float(high))}


def _sign(sign: Sign) -> dict[str, Any]:
    return {"metric": sign.metric, "feature": sign.feature, "value": _plain(sign.value), "low": _plain(sign.low),
            "high": _plain(sign.high), "score": _plain(sign.score), "says": sign.role}


def survey(reference: Snapshot, snapshots: Sequence[Snapshot], rate: float = 0.01,
           groups: tuple[tuple[str, ...], ...] = (), drop: Sequence[str] = (), planned: int = 0,
           progress: Callable[[str], None] | None = None, late: float = LATE, options: Options | None = None,
           strict: bool = False) -> SnapshotSeries:
    """Judge a series of snapshots against a reference. All are read, and refused if need be, before one is measured.

    Parameters
    ----------
    rate
        Chance that any of all snapshots is called anything but healthy if all are.
    groups, drop
        Groupings by category columns; columns that are not looked at.
    planned
        Snapshots that the rate covers, where more are to come; at least those that are there.
    progress
        Told what is being done.
    late
        Share of what real rows show below which a loss of spread or modes is material.
    options
        How tables are written, where it is not to be found out.
    strict
        Refuse columns that would be left out.

    Raises
    ------
    InputError
        If anything cannot be read, has another schema, is empty, or the reference is too small for the rate.
    """
    said = progress or (lambda text: None)
    other = next((one for one in snapshots if one.kind != reference.kind), None)
    if other is not None:
        raise InputError(f"{other.name}: is {_called(other)}, but the reference is {_called(reference)}; give one kind")
    said(f"reading {reference.name}")
    real = read(reference, [name for names in groups for name in names], drop, options)
    if strict:
        _refuse(reference.name, real.left_out)
    for one in snapshots:
        real.admit(one)
    planned = max(planned, len(snapshots))
    watch = real.watch(rate, planned, groups, late)
    held = []
    for one in snapshots:
        said(f"reading {one.name}")
        rows, n, new = real.read_as(one, min(SAMPLE, 2 * watch.most))
        if rows.n < FEWEST:
            raise InputError(f"{one.name}: has {rows.n} {'blocks' if one.kind == 'text' else 'rows'}; a verdict takes "
                             f"{FEWEST} or more")
        held.append((one.name, rows, n, new))
    passed = {name: why for one, _, n, new in reversed(held) for name, why in real.moved_on(one, n, new).items()} \
        if isinstance(real, TableReference) else {}
    if isinstance(real, TableReference) and passed:
        if strict:
            _refuse(reference.name, passed)
        real = real.without(passed)
        watch = real.watch(rate, planned, groups, late)
        held = [(one, only(rows, real.schema.columns), n, [s for s in new if s.column not in passed])
                for one, rows, n, new in held]
    seen: list[Seen] = []
    for (name, rows, n, new), m in zip(held, watch.sizes([rows.n for _, rows, _, _ in held]), strict=True):
        said(f"measuring {name} at {m:,} rows")
        judged = watch.judge(rows, m, new)
        seen.append(Seen(name, n, judged, step(judged, seen[-1].judged) if seen else []))
    unit = f"blocks of {BLOCK} tokens" if reference.kind == "text" else "rows"
    return SnapshotSeries(reference.name, real.n, unit, rate, planned, real.left_out, watch, tuple(seen),
                          (*real.told, *[watch.few] * bool(watch.few)))


def _refuse(reference: str, left_out: dict[str, str]) -> None:
    """Refuse that columns are left out which the user has not named."""
    if left_out:
        why = "; ".join(f"'{name}', for {why}" for name, why in left_out.items())
        raise InputError(f"--strict: {reference}: not watched would be {why}; "
                         f"say so: {' '.join(f'--drop {one!r}' for one in left_out)}")


def _called(data: Snapshot) -> str:
    return "text" if data.kind == "text" else "a table"
