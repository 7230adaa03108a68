"""Tables that are watched: a reference, frozen, and what one pass over a snapshot of any size finds.

A snapshot may be larger than memory. One pass over it counts what needs every row (rows, values beyond the reference's
range, unknown categories, gaps) and keeps a fixed random sample of rows, drawn at an address, for what is dear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from collapse.data import NEW, NOTHING, WHOLE, Column, Rows, Schema, unlisted
from collapse.errors import InputError
from collapse.metrics.regions import ALIVE
from collapse.reader.dialect import Options
from collapse.reader.frozen import Reader
from collapse.reader.layouts import Snapshot
from collapse.reader.pieces import listed as _listed
from collapse.rng import Rng
from collapse.verdict import LATE, percent
from collapse.watch.verdicts import QUESTIONS, Support, Watch, gone, support

if TYPE_CHECKING:
    import pandas as pd

#: Rows that are kept of a reference and of a snapshot.
REFERENCE, SAMPLE = 60_000, 20_000
#: Share of a category's rows that a new one must have to stand in its place, under another name.
RENAMED = 0.5
#: What a clock shows; the share of rows that come no earlier than the one before them (or no later) beside a clock, and
#: the share of a snapshot's that lie beyond the reference's where one has moved on.
TIMES = ("date", "datetime")
RUNS, PASSED = 0.99, 0.95


@dataclass(frozen=True, eq=False)
class TableReference:
    """A reference table: its frozen schema, a sample of its rows, and what all of its rows show.

    Attributes
    ----------
    reader
        How it and every snapshot is read; the columns that are not watched, and why.
    ranges
        Least and greatest value by number column.
    counts
        Rows of each category, by category column.
    """

    schema: Schema
    rows: Rows
    n: int
    reader: Reader
    ranges: dict[str, tuple[float, float]]
    counts: dict[str, Counter[str]]

    @staticmethod
    def read(reference: Snapshot, groups: Sequence[str] = (), drop: Sequence[str] = (),
             options: Options | None = None) -> TableReference:
        """Return the reference; columns in ``groups`` are categories, those in ``drop`` are not looked at.

        Raises
        ------
        InputError
            If a file is not readable or holds no rows, or a column is absent.
        """
        reader = Reader.of(reference, options, groups, drop)
        if not reader.forms:
            raise InputError(f"{reference.name}: no column is left to watch; give numbers, dates or categories")
        first = Schema(tuple(Column(name, "number", type=form.type if form.type in WHOLE else "")  # type: ignore
                             if form.numeric else Column(name, "category") for name, form in reader.forms.items()))
        scan = Scan.of(reference, reader, first, {}, Rng("watch", "reference"), REFERENCE)
        schema = Schema(tuple(_known(column, scan) for column in first.columns))
        made = TableReference(schema, _rows(scan.sample, schema)[0], scan.n, reader, scan.ranges, scan.seen)
        return made.without({name: "it runs with the rows: a clock" for name in scan.clocks if name in made.times})

    @property
    def times(self) -> list[str]:
        """Return the dates and times that the user has not named as such."""
        return [c.name for c in self.schema.columns if c.type in TIMES and c.name not in self.reader.options.types]

    def without(self, columns: dict[str, str]) -> TableReference:
        """Return this reference without some columns, each with why.

        Raises
        ------
        InputError
            If none is left.
        """
        if not columns:
            return self
        kept = [column for column in self.schema.columns if column.name not in columns]
        if not kept:
            raise InputError("no column is left to watch but clocks; give numbers or categories beside them")
        reader = replace(self.reader, left_out={**self.reader.left_out, **columns}, forms={
            name: form for name, form in self.reader.forms.items() if name not in columns})
        return replace(self, schema=Schema(tuple(kept)), rows=only(self.rows, kept), reader=reader)

    def moved_on(self, name: str, n: int, support: Sequence[Support]) -> dict[str, str]:
        """Return which dates and times of a snapshot of ``n`` rows lie nearly all beyond the reference's, and how."""
        times = self.times
        return {one.column: f"a clock that has moved on: {name} has {one.what} in {percent(one.rows / n)} of its rows"
                for one in support if one.column in times and one.what.startswith("values ") and one.rows >= PASSED * n}

    @property
    def left_out(self) -> dict[str, str]:
        """Return the columns that are not watched, and why."""
        return self.reader.left_out

    @property
    def told(self) -> tuple[str, ...]:
        """Return what was found out of how the tables are written."""
        return self.reader.told

    def watch(self, rate: float, snapshots: int, groups: tuple[tuple[str, ...], ...], late: float = LATE) -> Watch:
        """Return the watch over this reference."""
        return Watch.of(self.rows, rate, snapshots, groups, late)

    def admit(self, snapshot: Snapshot) -> None:
        """Refuse a snapshot that has other columns, by what its files say of themselves.

        Raises
        ------
        InputError
            Naming every column that is absent or new.
        """
        self.reader.admit(snapshot)

    def read_as(self, snapshot: Snapshot, m: int = SAMPLE) -> tuple[Rows, int, list[Support]]:
        """Return rows of a snapshot at random, how many it has, and what it shows that the reference lacks.

        Raises
        ------
        InputError
            If it has no rows, or a column is of another type.
        """
        scan = Scan.of(snapshot, self.reader, self.schema, self.ranges, Rng("watch", "snapshot"), max(SAMPLE, m))
        rows, whole = _rows(scan.sample, self.schema)
        rows = rows.take(np.flatnonzero(whole)[None])
        if not rows.n:
            empty = [name for name in self.schema.names if scan.sample[name].isna().all()]
            raise InputError(f"{snapshot.name}: {_listed(empty)} is missing in all rows, and never in the reference; "
                             f"mend it, or drop {' and '.join(empty)}")
        return rows, scan.n, self._support(scan)

    def _support(self, scan: Scan) -> list[Support]:
        found = []
        tests = sum(2 if column.kind == "number" else 1 for column in self.schema.columns)
        for column in self.schema.columns:
            name = column.name
            if column.kind == "number":
                for side, rows in zip(("below", "above"), scan.beyond[name], strict=True):
                    low, high = self.ranges[name]
                    what = f"values {side} {shown(column, low if side == 'below' else high)}"
                    found.append(support(name, what, rows, scan.n, self.n))
                if not column.missing:
                    found.append(support(name, "missing values", scan.missing[name], scan.n, self.n))
            else:
                new = {text: count for text, count in scan.seen[name].items() if text not in column.categories}
                if new.pop(NOTHING, 0):
                    found.append(support(name, "missing values", scan.seen[name][NOTHING], scan.n, self.n))
                texts = _listed(sorted(new, key=lambda text: (-new[text], text)), 3)
                one = support(name, f"the new {texts}", sum(new.values()), scan.n, self.n,
                              sum(count == 1 for count in self.counts[name].values()))
                found.append(replace(one, instead=self._instead(name, one.rows, scan)))
        return [replace(s, p=min(1.0, QUESTIONS * s.p * tests)) for s in found if s.rows] + self._lost(scan)

    def _hardly(self, name: str, scan: Scan) -> list[str]:
        """Return the categories of which hardly a row is left, the most frequent first."""
        counts = self.counts[name]
        return sorted((text for text, rows in counts.items() if text != NOTHING
                       and scan.seen[name][text] <= ALIVE * rows / self.n * scan.n), key=lambda text: -counts[text])

    def _instead(self, name: str, rows: int, scan: Scan) -> str:
        """Return the one category in whose place so many ``rows`` of new ones stand; '' where it is not one."""
        hardly = self._hardly(name, scan)
        expected = self.counts[name][hardly[0]] / self.n * scan.n if len(hardly) == 1 else 0.0
        return hardly[0] if RENAMED * expected <= rows <= expected / RENAMED and expected else ""

    def _lost(self, scan: Scan) -> list[Support]:
        """Return the categories of which hardly a row is left, and in whose place no others have come."""
        tests = sum(map(len, self.counts.values()))
        found = []
        for name, counts in self.counts.items():
            new = sorted(count for text, count in scan.seen[name].items() if text not in counts and text != NOTHING)
            for text in self._hardly(name, scan):
                rows, stand = counts[text], 0
                while new and stand < RENAMED * rows / self.n * scan.n:  # one by another name, or several
                    stand += new.pop()
                if stand < RENAMED * rows / self.n * scan.n:
                    found.append(gone(name, f"'{text}'", rows, scan.seen[name][text], scan.n, self.n))
        return [replace(s, p=min(1.0, QUESTIONS * tests * s.p)) for s in found]


def only(rows: Rows, columns: Sequence[Column]) -> Rows:
    """Return rows with some of their columns."""
    names = {key for column in columns for key in (column.name, unlisted(column.name))}
    return Rows(Schema(tuple(columns)), {key: x for key, x in rows.values.items() if key in names}, rows.weights)


def shown(column: Column, value: float) -> str:
    """Return a value of a number column as people write it: a day, a time, a number."""
    if column.type in ("date", "datetime"):
        stamp = np.datetime64(int(value), "D" if column.type == "date" else "us")
        return str(stamp.astype("datetime64[D]" if column.type == "date" else "datetime64[s]")).replace("T", " ")
    return f"{value:g}"


@dataclass(eq=False)
class Scan:
    """What one pass over all rows of a data set found."""

    n: int = 0
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    beyond: dict[str, list[int]] = field(default_factory=dict)
    seen: dict[str, Counter[str]] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    #: Of number columns, the steps up and down from row to row, and all of them.
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    sample: pd.DataFrame = field(init=False)

    @staticmethod
    def of(data: Snapshot, reader: Reader, schema: Schema, ranges: dict[str, tuple[float, float]], rng: Rng,
           keep: int) -> Scan:
        """Scan ``data``: values beyond ``ranges``, categories, gaps; keep ``keep`` rows at random.

        Raises
        ------
        InputError
            If it has no rows, or a column is of another type.
        """
        scan = Scan()

        def counted() -> Iterator[pd.DataFrame]:
            for frame in reader.frames(data, schema.names):
                scan._count(frame, schema, ranges)
                yield frame

        scan.sample, scan.n = _sampled(counted(), rng, keep, data.name)
        return scan

    @property
    def clocks(self) -> list[str]:
        """Return the columns whose values only rise, or only fall, with the rows."""
        return [name for name, (up, down, steps) in self.steps.items()
                if up != down and min(up, down) <= (1 - RUNS) * steps]

    def _count(self, frame: pd.DataFrame, schema: Schema, ranges: dict[str, tuple[float, float]]) -> None:
        for column in schema.columns:
            name = column.name
            if column.kind == "number":
                x = frame[name].to_numpy()
                gaps = int(np.isnan(x).sum())
                self.missing[name] += gaps
                if column.type in TIMES:
                    step = np.diff(x[~np.isnan(x)] if gaps else x)
                    ways = np.array([(step > 0).sum(), (step < 0).sum(), len(step)])
                    self.steps[name] = self.steps.get(name, np.zeros(3, dtype=int)) + ways
                beyond = self.beyond.setdefault(name, [0, 0])
                if gaps == len(x):
                    continue
                low, high = (float(np.nanmin(x)), float(np.nanmax(x))) if gaps else (float(x.min()), float(x.max()))
                before = self.ranges.get(name, (low, high))
                self.ranges[name] = (min(low, before[0]), max(high, before[1]))
                if name in ranges:
                    beyond[0] += int((x < ranges[name][0]).sum()) if low < ranges[name][0] else 0
                    beyond[1] += int((x > ranges[name][1]).sum()) if high > ranges[name][1] else 0
            else:
                texts, code = _texts(frame[name])
                count = np.bincount(code, minlength=len(texts))
                seen = self.seen.setdefault(name, Counter())
                seen.update({text: int(k) for text, k in zip(texts, count, strict=True) if k})


def _known(column: Column, scan: Scan) -> Column:
    """Return a column with what all reference rows show: gaps, categories, and one for what is new."""
    if column.kind == "number":
        missing = bool(scan.missing[column.name])
        return Column(column.name, "number", type=column.type, missing=missing)
    names = sorted(set(scan.seen[column.name]) - {NOTHING})
    gaps = NOTHING in scan.seen[column.name]
    return Column(column.name, "category", (*names, NEW, *[NOTHING] * gaps), missing=gaps)


def _rows(frame: pd.DataFrame, schema: Schema) -> tuple[Rows, np.ndarray]:
    """Return a frame as rows (R = 1), and which of them have every value that the reference always has."""
    values, whole = {}, np.ones(len(frame), dtype=bool)
    for column in schema.columns:
        if column.kind == "number":
            x = frame[column.name].to_numpy()
            whole &= column.missing | ~np.isnan(x)
            values[column.name] = x[None]
        else:
            texts, code = _texts(frame[column.name])
            place = {text: i for i, text in enumerate(column.categories)}
            table = np.array([place.get(text, place[NEW]) for text in texts], dtype=np.int32)
            values[column.name] = table[code][None]
            if column.new is not None:
                unknown = np.array([text not in place for text in texts], dtype=bool)
                values[unlisted(column.name)] = np.where(unknown, np.cumsum(unknown), 0).astype(np.int32)[code][None]
    return Rows(schema, values), whole


def _texts(series: pd.Series) -> tuple[list[str], np.ndarray]:
    """Return the different texts of a series, the missing as one of them, and the place of each row's."""
    import pandas as pd

    code, different = pd.factorize(series, use_na_sentinel=True)
    texts = different.astype(object).tolist()
    return [*texts, NOTHING], np.where(code < 0, len(texts), code)


def _sampled(pieces: Iterator[pd.DataFrame], rng: Rng, keep: int, where: str) -> tuple[pd.DataFrame, int]:
    """Return ``keep`` rows at random, in random order, of all pieces, and how many rows there are.

    Each row has a random key at the address of its piece; the least are kept (Efraimidis & Spirakis 2006).
    """
    import pandas as pd

    held: list[pd.DataFrame] = []
    keys = np.empty(0)
    edge, n = 1.0, 0
    for number, frame in enumerate(pieces):
        key = rng.generator(number).random(len(frame))
        n += len(frame)
        chosen = np.flatnonzero(key < edge)
        held.append(frame.iloc[chosen])
        keys = np.concatenate([keys, key[chosen]])
        if len(keys) > 2 * keep:
            order = np.argsort(keys)[:keep]
            held, keys = [pd.concat(held, ignore_index=True).iloc[order]], keys[order]
            edge = float(keys[-1])
    if not n:
        raise InputError(f"{where}: has no rows; give a file with a header and rows")
    order = np.argsort(keys)[:keep]
    return pd.concat(held, ignore_index=True).iloc[order].reset_index(drop=True), n
