"""Data sets as they lie: files and folders of Parquet, CSV or text; tables, read piece by piece as a reference's.

A snapshot may be larger than memory. One pass over it counts what needs every row (rows, values beyond the reference's
range, unknown categories, gaps) and keeps a fixed random sample of rows, drawn at an address, for what is dear.
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.data import NEW, NOTHING, WHOLE, Column, Rows, Schema, unlisted
from collapse.errors import InputError, nearest
from collapse.metrics.regions import ALIVE
from collapse.rng import Rng
from collapse.verdict import LATE
from collapse.watch.verdicts import QUESTIONS, Support, Watch, gone, support

if TYPE_CHECKING:
    import pandas as pd

#: What a file's ending says that it is.
ENDINGS = {".parquet": "table", ".pq": "table", ".csv": "table", ".tsv": "table", ".txt": "text", ".md": "text"}
#: Rows of one piece of a file, and rows that are kept of a reference and of a snapshot.
PIECE, REFERENCE, SAMPLE = 100_000, 60_000, 20_000
#: Categories beyond which a column is a name, an identifier or prose.
MOST = 1000
#: Share of a category's rows that a new one must have to stand in its place, under another name.
RENAMED = 0.5


@dataclass(frozen=True)
class Snapshot:
    """One data set: a file, or a folder whose files make one."""

    name: str
    files: tuple[Path, ...]
    kind: str


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return what sorts ``snap-9`` before ``snap-10``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def find(words: Iterable[str]) -> list[Snapshot]:
    """Return the snapshots that files, patterns and folders name, in natural order, each once.

    Each file in a folder is a snapshot, and so is each folder in it, of all its files.

    Raises
    ------
    InputError
        If a word names nothing, or a file has an ending that is not known.
    """
    found: dict[Path, Snapshot] = {}
    for word in words:
        paths = [Path(name) for name in glob.glob(word, recursive=True)] if glob.has_magic(word) else [Path(word)]
        if not paths or not all(path.exists() for path in paths):
            raise InputError(f"{word}: no file, folder or pattern with a file; give Parquet, CSV or text files")
        for path in paths:
            inside = _visible(path) if path.is_dir() and not glob.has_magic(word) else [path]
            if not inside:
                raise InputError(f"{word}: the folder is empty; give one with Parquet, CSV or text files")
            for one in inside:
                found[one] = whole(one)
    return sorted(found.values(), key=lambda one: natural(one.name))


def whole(path: Path) -> Snapshot:
    """Return one data set: a file, or a folder with all its files, at any depth.

    Raises
    ------
    InputError
        If it is not there, holds nothing, or holds what is no table or text, or both.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give Parquet, CSV or text")
    files = tuple(sorted(_deep(path), key=lambda one: natural(str(one)))) if path.is_dir() else (path,)
    if not files:
        raise InputError(f"{path}: the folder is empty; give one with Parquet, CSV or text files")
    kinds = {}
    for file in files:
        kind = ENDINGS.get(file.suffix.lower())
        if kind is None:
            raise InputError(f"{file}: unknown ending '{file.suffix}'; give one of {', '.join(ENDINGS)}")
        kinds[kind] = file
    if len(kinds) > 1:
        raise InputError(f"{path}: holds tables ({kinds['table'].name}) and text ({kinds['text'].name}); keep one kind")
    return Snapshot(str(path), files, next(iter(kinds)))


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name[0] not in "._"]


def _deep(folder: Path) -> Iterator[Path]:
    for path in _visible(folder):
        yield from _deep(path) if path.is_dir() else [path]


# --------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, eq=False)
class TableReference:
    """A reference table: its frozen schema, a sample of its rows, and what all of its rows show.

    Attributes
    ----------
    left_out
        Columns that are not watched, and why.
    ranges
        Least and greatest value by number column.
    counts
        Rows of each category, by category column.
    """

    schema: Schema
    rows: Rows
    n: int
    left_out: dict[str, str]
    ranges: dict[str, tuple[float, float]]
    counts: dict[str, Counter[str]]
    drop: tuple[str, ...]

    @staticmethod
    def read(reference: Snapshot, groups: Sequence[str] = (), drop: Sequence[str] = ()) -> TableReference:
        """Return the reference; columns in ``groups`` are categories, those in ``drop`` are not looked at.

        Raises
        ------
        InputError
            If a file is not readable or holds no rows, or a column is absent.
        """
        frame, _ = _sampled(_pieces(reference, None), Rng("watch", "reference"), REFERENCE, reference.name)
        for option, names in (("groups", groups), ("drop", drop)):
            for name in names:
                if name not in frame.columns:
                    raise InputError(f"{option}: {reference.name} has no column '{name}'"
                                     f"{nearest(name, map(str, frame.columns))}")
        columns, left_out = [], {}
        for name in frame.columns:
            if name in drop:
                continue
            found = _column(name, frame[name], name in groups)
            if isinstance(found, str):
                left_out[name] = found
            else:
                columns.append(found)
        if not columns:
            raise InputError(f"{reference.name}: no column is left to watch; give numbers, dates or categories")
        first = Schema(tuple(columns))
        scan = Scan.of(reference, first, {}, set(left_out) | set(drop))
        columns = [_known(column, scan, frame) for column in first.columns]
        schema = Schema(tuple(columns))
        return TableReference(schema, _rows(frame, schema)[0], scan.n, left_out, scan.ranges, scan.seen, tuple(drop))

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
        for path in snapshot.files:
            names = _header(path)
            lost = [name for name in self.schema.names if name not in names]
            more = [name for name in names if name not in {*self.schema.names, *self.left_out, *self.drop}]
            parts = ([f"lacks {_listed(lost)}"] if lost else []) + ([f"has {_listed(more)} beside"] if more else [])
            if parts:
                raise InputError(f"{path}: {' and '.join(parts)}, unlike the reference; give the same columns, or "
                                 f"drop {' and '.join(lost + more)}")

    def read_as(self, snapshot: Snapshot, m: int = SAMPLE) -> tuple[Rows, int, list[Support]]:
        """Return rows of a snapshot at random, how many it has, and what it shows that the reference lacks.

        Raises
        ------
        InputError
            If it has no rows, or a column is of another type.
        """
        scan = Scan.of(snapshot, self.schema, self.ranges, set(), max(SAMPLE, m))
        assert scan.sample is not None
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


def shown(column: Column, value: float) -> str:
    """Return a value of a number column as people write it: a day, a time, a number."""
    if column.type in ("date", "datetime"):
        stamp = np.datetime64(int(value), "D" if column.type == "date" else "us")
        return str(stamp.astype("datetime64[D]" if column.type == "date" else "datetime64[s]")).replace("T", " ")
    return f"{value:g}"


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


@dataclass(eq=False)
class Scan:
    """What one pass over all rows of a data set found."""

    n: int = 0
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    beyond: dict[str, list[int]] = field(default_factory=dict)
    seen: dict[str, Counter[str]] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    sample: pd.DataFrame | None = None

    @staticmethod
    def of(data: Snapshot, schema: Schema, ranges: dict[str, tuple[float, float]], skip: set[str],
           keep: int = 0) -> Scan:
        """Scan ``data`` in ``schema``: values beyond ``ranges``, categories, gaps; ``keep`` rows at random.

        Raises
        ------
        InputError
            If it has no rows, or a column is of another type.
        """
        scan = Scan()
        wanted = [name for name in schema.names if name not in skip]

        def counted() -> Iterator[pd.DataFrame]:
            for frame in _pieces(data, wanted):
                scan._count(frame, schema, ranges, data.name)
                yield frame

        if keep:
            scan.sample, scan.n = _sampled(counted(), Rng("watch", "snapshot"), keep, data.name)
        else:
            scan.n = sum(len(frame) for frame in counted())
        return scan

    def _count(self, frame: pd.DataFrame, schema: Schema, ranges: dict[str, tuple[float, float]], where: str) -> None:
        for column in schema.columns:
            name = column.name
            series = frame[name]
            if column.kind == "number":
                x = _numbers(series, column, where)
                gaps = int(np.isnan(x).sum())
                self.missing[name] += gaps
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
                texts, code = _texts(series)
                count = np.bincount(code, minlength=len(texts))
                seen = self.seen.setdefault(name, Counter())
                seen.update({text: int(k) for text, k in zip(texts, count, strict=True) if k})


def _column(name: str, series: pd.Series, grouped: bool) -> Column | str:
    """Return the column of a reference, or why it is not watched."""
    from collapse.sources import table

    held = series.dropna()
    if held.empty:
        return "it is missing in all rows"
    try:
        kind = "category" if grouped else table.Table(path=name)._type(name, series)
    except (TypeError, ValueError):
        return "it holds neither numbers nor text"
    if kind in table.KINDS:
        if kind == "integer" and len(held) == len(series) and held.nunique() == len(held) and len(held) > MOST:
            return "all its values differ: an identifier"
        return Column(name, "number", type="" if kind == "number" else kind)  # type: ignore[arg-type]
    if not all(isinstance(v, (str, bool, np.bool_, int, float, np.number)) for v in held.head(100)):
        return "it holds neither numbers nor text"
    different = held.nunique()
    if different > MOST:
        return f"it has more than {MOST} categories: names, identifiers or prose"
    return Column(name, "category")


def _known(column: Column, scan: Scan, frame: pd.DataFrame) -> Column:
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
            x = _numbers(frame[column.name], column, "")
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
    """Return the different values of a series as texts, the missing as one of them, and the place of each row's."""
    import pandas as pd

    code, different = pd.factorize(series, use_na_sentinel=True)
    if isinstance(different, pd.CategoricalIndex):
        different = different.astype(object)
    texts = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in different]
    code = np.where(code < 0, len(texts), code)
    return [*texts, NOTHING], code


def _numbers(series: pd.Series, column: Column, where: str) -> np.ndarray:
    """Return the values of a number column as mathematics sees them, NaN where missing.

    Raises
    ------
    InputError
        If they are of another type than the reference's.
    """
    import pandas as pd
    from pandas.api import types

    if column.type in ("date", "datetime"):
        stamps = pd.to_datetime(series, format="ISO8601", errors="coerce", utc=True) \
            if not types.is_numeric_dtype(series) else None
        if stamps is None or (stamps.isna() & series.notna()).any():
            raise _other(series, stamps, column, where)
        micro = stamps.dt.tz_localize(None).astype("datetime64[us]").to_numpy()
        whole = micro.astype("datetime64[D]" if column.type == "date" else "datetime64[us]")
        return np.where(np.isnat(micro), np.nan, whole.astype(np.int64).astype(float))
    if types.is_bool_dtype(series) or not (types.is_numeric_dtype(series) or series.isna().all()):
        raise _other(series, pd.to_numeric(series, errors="coerce"), column, where)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan) if not isinstance(series.dtype, np.dtype) or \
        series.dtype == object else series.to_numpy().astype(np.float64, copy=False)
    if types.is_float_dtype(series):
        if np.isinf(values).any():
            raise InputError(f"{where}: column '{column.name}' has infinite values; mend them, or drop {column.name}")
        if column.type in WHOLE and (np.nan_to_num(values) % 1 != 0).any():
            odd = values[np.nan_to_num(values) % 1 != 0][0]
            raise InputError(f"{where}: column '{column.name}' holds {odd:g}, but whole numbers in the reference; "
                             f"round it, or drop {column.name}")
    return values


def _other(series: pd.Series, converted: pd.Series | None, column: Column, where: str) -> InputError:
    wrong = series[series.notna()] if converted is None else series[converted.isna() & series.notna()]
    shown = str((wrong if len(wrong) else series).iloc[0])[:40]
    return InputError(f"{where}: column '{column.name}' holds '{shown}', but is {column.type or column.kind} in the "
                      f"reference; convert it, or drop {column.name}")


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


# --------------------------------------------------------------------------------------- files of tables


def _header(path: Path) -> list[str]:
    """Return the names of a file's columns, each once."""
    names = _parquet(path).schema_arrow.names if path.suffix.lower() in (".parquet", ".pq") else _csv_header(path)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: has two columns called '{twice[0]}'; rename one of them")
    if not names:
        raise InputError(f"{path}: has no columns; give a file with a header and rows")
    return list(names)


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=False, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, "Parquet", error) from None


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _csv_header(path: Path) -> list[str]:
    import csv

    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, delimiter=_separator(path)), [])
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, "CSV", error) from None


def unreadable(path: Path, what: str, error: Exception) -> InputError:
    """Return the one line on a file that is not ``what`` its ending says."""
    text = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
    return InputError(f"{path}: is not readable {what} ({text[:160].rstrip('.')}); mend the file, or export it again")


def _pieces(data: Snapshot, wanted: list[str] | None) -> Iterator[pd.DataFrame]:
    """Yield the rows of all files in frames of at most :data:`PIECE`: ``wanted`` columns, or all of the first file."""
    names = wanted
    for path in data.files:
        names = _header(path) if names is None else names
        reader = _parquet_pieces if path.suffix.lower() in (".parquet", ".pq") else _csv_pieces
        for frame in reader(path, names):
            if len(frame):
                yield frame


def _parquet_pieces(path: Path, names: list[str]) -> Iterator[pd.DataFrame]:
    import pyarrow as pa

    file = _parquet(path)
    lost = [name for name in names if name not in file.schema_arrow.names]
    if lost:
        raise InputError(f"{path}: lacks {_listed(lost)}; give files of the same columns")
    try:
        for batch in file.iter_batches(PIECE, columns=names):
            yield batch.to_pandas(strings_to_categorical=True, ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, "Parquet", error) from None


def _csv_pieces(path: Path, names: list[str]) -> Iterator[pd.DataFrame]:
    import pandas as pd

    from collapse.sources.table import MISSING

    header = _header(path)
    lost = [name for name in names if name not in header]
    if lost:
        raise InputError(f"{path}: lacks {_listed(lost)}; give files of the same columns")
    try:
        yield from pd.read_csv(path, sep=_separator(path), usecols=names, chunksize=PIECE, keep_default_na=False,
                               na_values=list(MISSING), low_memory=False, encoding="utf-8-sig", index_col=False)
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise unreadable(path, "CSV", error) from None
