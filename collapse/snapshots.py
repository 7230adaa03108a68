"""Data sets as they lie: Parquet, CSV or text, read piece by piece, in the schema of a reference.

A snapshot may be larger than memory. One pass over it counts what needs every row (rows, values beyond the reference's
range, unknown categories, gaps) and keeps a fixed random sample of rows, drawn at an address, for what is dear.
"""

from __future__ import annotations

import codecs
import glob
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.data import NOTHING, WHOLE, Column, Rows, Schema
from collapse.errors import InputError, nearest
from collapse.rng import Rng
from collapse.watching import (
    BLOCKS,
    COUNT,
    FRAME,
    NEW,
    VERDICTS,
    Judged,
    Sign,
    Support,
    Watch,
    enough,
    share,
    step,
    support,
    trends,
)

if TYPE_CHECKING:
    import pandas as pd

    from collapse.tokenisers import Tokeniser

#: What a file's ending says that it is.
ENDINGS = {".parquet": "table", ".pq": "table", ".csv": "table", ".tsv": "table", ".txt": "text", ".md": "text"}
#: Rows of one piece of a file, and rows that are kept of a reference and of a snapshot.
PIECE, REFERENCE, SAMPLE = 100_000, 60_000, 20_000
#: Categories beyond which a column is a name, an identifier or prose.
MOST = 1000
#: Characters of text that are kept, bytes of a piece of it, and the fewest documents that are drawn from.
TEXT, BYTES, LEAST = 2**24, 2**16, 20
#: Tokens of a block, and of the vocabulary.
BLOCK, VOCABULARY = 64, 4096


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
class Table:
    """A reference table: its frozen schema, a sample of its rows, and what all of its rows show.

    Attributes
    ----------
    left_out
        Columns that are not watched, and why.
    ranges
        Least and greatest value by number column.
    singles
        Categories that occur once, by category column.
    """

    schema: Schema
    rows: Rows
    n: int
    left_out: dict[str, str]
    ranges: dict[str, tuple[float, float]]
    singles: dict[str, int]
    drop: tuple[str, ...]

    @staticmethod
    def read(reference: Snapshot, groups: Sequence[str] = (), drop: Sequence[str] = ()) -> Table:
        """Return the reference; columns in ``groups`` are categories, those in ``drop`` are not looked at.

        Raises
        ------
        InputError
            If a file is not readable or holds no rows, or a column is absent.
        """
        frame, _ = _sampled(_pieces(reference, None), Rng("watch", "reference"), REFERENCE, reference.name)
        for option, names in (("--groups", groups), ("--drop", drop)):
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
        singles = {name: sum(count == 1 for count in seen.values()) for name, seen in scan.seen.items()}
        return Table(schema, _rows(frame, schema)[0], scan.n, left_out, scan.ranges, singles, tuple(drop))

    def watch(self, rate: float, snapshots: int, groups: tuple[tuple[str, ...], ...]) -> Watch:
        """Return the watch over this reference."""
        return Watch.of(self.rows, rate, snapshots, groups)

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
                                 f"--drop {' --drop '.join(lost + more)}")

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
                             f"mend it, or --drop {' --drop '.join(empty)}")
        return rows, scan.n, self._support(scan)

    def _support(self, scan: Scan) -> list[Support]:
        found = []
        tests = sum(2 if column.kind == "number" else 1 for column in self.schema.columns)
        for column in self.schema.columns:
            name = column.name
            if column.kind == "number":
                for side, rows in zip(("below", "above"), scan.beyond[name], strict=True):
                    low, high = self.ranges[name]
                    what = f"values {side} {low if side == 'below' else high:g}"
                    found.append(support(name, what, rows, scan.n, self.n))
                if not column.missing:
                    found.append(support(name, "missing values", scan.missing[name], scan.n, self.n))
            else:
                new = {text: count for text, count in scan.seen[name].items() if text not in column.categories}
                shown = _listed(sorted(new, key=lambda text: (-new[text], text)), 3)
                found.append(support(name, f"the new {shown}", sum(new.values()), scan.n, self.n,
                                     self.singles.get(name, 0)))
        return [Support(s.column, s.what, s.rows, min(1.0, s.p * tests)) for s in found if s.rows]


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
    names += [NOTHING] if NOTHING in scan.seen[column.name] else []
    return Column(column.name, "category", (*names, NEW))


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
            table = np.array([place.get(text, len(place) - 1) for text in texts], dtype=np.int32)
            values[column.name] = table[code][None]
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
            raise InputError(f"{where}: column '{column.name}' has infinite values; mend them, or --drop {column.name}")
        if column.type in WHOLE and (np.nan_to_num(values) % 1 != 0).any():
            odd = values[np.nan_to_num(values) % 1 != 0][0]
            raise InputError(f"{where}: column '{column.name}' holds {odd:g}, but whole numbers in the reference; "
                             f"round it, or --drop {column.name}")
    return values


def _other(series: pd.Series, converted: pd.Series | None, column: Column, where: str) -> InputError:
    wrong = series[series.notna()] if converted is None else series[converted.isna() & series.notna()]
    shown = str((wrong if len(wrong) else series).iloc[0])[:40]
    return InputError(f"{where}: column '{column.name}' holds '{shown}', but is {column.type or column.kind} in the "
                      f"reference; convert it, or --drop {column.name}")


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
        raise _unreadable(path, "Parquet", error) from None


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _csv_header(path: Path) -> list[str]:
    import csv

    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, delimiter=_separator(path)), [])
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "CSV", error) from None


def _unreadable(path: Path, what: str, error: Exception) -> InputError:
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
        raise _unreadable(path, "Parquet", error) from None


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
        raise _unreadable(path, "CSV", error) from None


# ----------------------------------------------------------------------------------------------- text


@dataclass(frozen=True, eq=False)
class DocumentBank:
    """A bank of whole documents, as tokens: what is drawn is documents, cut into blocks of one length.

    Tokens come in bursts, and documents have subjects: single blocks would vary less than new text does.
    """

    documents: list[np.ndarray]
    schema: Schema

    @cached_property
    def n(self) -> int:
        """Return how many blocks they make."""
        return sum(map(len, self.documents)) // BLOCK

    def draw(self, m: int, rng: Rng) -> Rows:
        """Return ``m`` blocks of documents in random order."""
        return cut(self.documents, self.schema, m, rng)


def cut(documents: list[np.ndarray], schema: Schema, m: int, rng: Rng) -> Rows:
    """Return at most ``m`` blocks (R = 1) of ``documents`` in random order, joined and cut."""
    held, size = [], 0
    for place in rng.generator().permutation(len(documents)):
        held.append(documents[place])
        size += len(documents[place])
        if size >= m * BLOCK:
            break
    tokens = np.concatenate(held)[: min(m, size // BLOCK) * BLOCK].reshape(1, -1, BLOCK)
    return Rows(schema, {schema.columns[0].name: tokens})


@dataclass(frozen=True, eq=False)
class Text:
    """A reference text: its documents, divided, and the tokeniser that was made from those of the frame."""

    bank: DocumentBank
    reference: Rows
    real: Rows
    tokeniser: Tokeniser
    n: int
    frozen: list[np.ndarray]
    left_out: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @staticmethod
    def read(reference: Snapshot, groups: Sequence[str] = (), drop: Sequence[str] = ()) -> Text:
        """Return the reference; text has no columns, and so neither ``groups`` nor ``drop``.

        Raises
        ------
        InputError
            If a file is not UTF-8 or there is no text.
        """
        if groups or drop:
            raise InputError(f"{'--groups' if groups else '--drop'}: {reference.name} is text, and has no columns; "
                             f"leave it out")
        return Text.of(documents(reference), reference.name)

    @staticmethod
    def of(texts: list[str], where: str) -> Text:
        """Return the reference that ``texts``, one a document, make."""
        from collapse import tokenisers

        texts = list(dict.fromkeys(texts))
        if len(texts) < LEAST:
            raise InputError(f"{where}: has {len(texts)} documents, and whole ones are drawn; give at least {LEAST}, a "
                             f"file, a line or a paragraph each")
        order = Rng("watch", "documents", len(texts)).generator().permutation(len(texts))
        ends = np.cumsum([len(texts[place]) for place in order])
        ends = ends / ends[-1]
        parts = [[texts[place] for place in part] for part in np.split(order, np.searchsorted(ends, [1 / 6, 1 / 3]))]
        # from the frame's documents alone: to it the bank's are as new as a snapshot's
        tokeniser = tokenisers.make("bpe", parts[0] + parts[1], VOCABULARY)
        schema = Schema((Column("text", "text", tokeniser.vocabulary, (BLOCK,), end=tokeniser.end),))
        own, other, bank = ([tokeniser.encode([text]) for text in part] for part in parts)
        rng = Rng("watch", "cut")
        made = DocumentBank(bank, schema)
        rows = [cut(part, schema, most, rng.at(name))
                for part, most, name in ((own, FRAME, "reference"), (other, COUNT, "real"))]
        return Text(made, rows[0], rows[1], tokeniser, rows[0].n + rows[1].n + made.n, own + other)

    @property
    def schema(self) -> Schema:
        """Return the schema of a block."""
        return self.bank.schema

    def watch(self, rate: float, snapshots: int, groups: tuple[tuple[str, ...], ...]) -> Watch:
        """Return the watch over this reference."""
        level = share(rate, snapshots)
        enough(self.n, level, 1, rate, snapshots, f"blocks of {BLOCK} tokens")
        return Watch.held(self.reference, self.real, self.bank, level)

    def admit(self, snapshot: Snapshot) -> None:
        """Refuse nothing: any text is text."""

    @cached_property
    def _own(self) -> set[bytes]:
        """Return the documents of the frame, as tokens: what a snapshot has of them is set aside, for it is known."""
        return {document.tobytes() for document in self.frozen}

    def read_as(self, snapshot: Snapshot, m: int = BLOCKS) -> tuple[Rows, int, list[Support]]:
        """Return blocks of a snapshot at random, how many its text makes, and no new support.

        Raises
        ------
        InputError
            If it is not UTF-8, or too short for one block.
        """
        return self.blocks(documents(snapshot), snapshot.name, m)

    def blocks(self, texts: list[str], where: str, m: int = BLOCKS) -> tuple[Rows, int, list[Support]]:
        """Return what :meth:`read_as` does, of documents."""
        tokens = [self.tokeniser.encode([text]) for text in _once(texts)]
        fresh = [document for document in tokens if document.tobytes() not in self._own]
        n, tokens = sum(map(len, tokens)) // BLOCK, fresh if len(fresh) >= LEAST else tokens
        if not n or sum(map(len, tokens)) < BLOCK:
            raise InputError(f"{where}: has {sum(map(len, tokens))} tokens, less than a block of {BLOCK}; give more "
                             f"text")
        return cut(tokens, self.schema, m, Rng("watch", "snapshot")), n, []


def _once(texts: list[str]) -> list[str]:
    """Return each document once, unless most are copies: then that is what the text is.

    Real collections hold some documents twice, and a bootstrap of one does; word groups would all seem to repeat.
    """
    different = list(dict.fromkeys(texts))
    return different if 2 * len(different) >= len(texts) else texts


def documents(data: Snapshot) -> list[str]:
    """Return the documents of text files: what blank lines part, or lines where there are few of those.

    Of more than 16 MB of text a fixed random part is kept, in pieces of 64 KB.

    Raises
    ------
    InputError
        If a file is not UTF-8 (the file and the byte), or there is no text.
    """
    texts: list[str] = []
    total = sum(path.stat().st_size for path in data.files)
    for path in data.files:
        for text in _stretches(path, total):
            parts = [part for part in re.split(r"\n[^\S\n]*\n\s*", text) if part.strip()]
            texts += parts if len(parts) >= LEAST or len(data.files) >= LEAST else \
                [line for line in text.split("\n") if line.strip()]
    if not texts:
        raise InputError(f"{data.name}: holds no text; give files with some")
    return texts


def _stretches(path: Path, total: int) -> Iterator[str]:
    """Yield the text of a file, or stretches of it at random where all files have more than is kept."""
    size = path.stat().st_size
    decoder = codecs.getincrementaldecoder("utf-8")()
    part = min(1.0, TEXT / max(total, 1))
    count = max(1, -(-size // BYTES))
    chosen = set(Rng("watch", "text", size).generator().permutation(count)[: max(1, round(part * count))].tolist())
    held, place = [], 0
    try:
        with open(path, "rb") as file:
            for number in range(count):
                piece = file.read(BYTES)
                text = decoder.decode(piece, final=number == count - 1)
                if part >= 1:
                    held.append(text)
                elif number in chosen:
                    yield text[text.find("\n") + 1 : text.rfind("\n") + 1] or text
                place += len(piece)
    except UnicodeDecodeError as error:
        byte = place - (len(error.object) - len(piece)) + error.start
        raise InputError(f"{path}: is not UTF-8: byte {byte} is 0x{error.object[error.start]:02x}; convert the file") \
            from None
    except OSError as error:
        raise _unreadable(path, "text", error) from None
    if held:
        yield "".join(held).removeprefix("\ufeff").replace("\r\n", "\n")


def read(reference: Snapshot, groups: Sequence[str] = (), drop: Sequence[str] = ()) -> Table | Text:
    """Return a reference, frozen.

    Raises
    ------
    InputError
        If it cannot be read, or has not what is asked for.
    """
    return (Text if reference.kind == "text" else Table).read(reference, groups, drop)


# --------------------------------------------------------------------------------------------- series


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
                "signs": [_sign(sign) for sign in judged.signs],
                "new": [{"column": s.column, "what": s.what, "rows": s.rows, "p": _plain(s.p)} for s in judged.support],
                "moved_back": None if judged.shape is None else [_sign(sign) for sign in judged.shape],
                "step": [{key: _plain(value) for key, value in item.items()} for item in self.step[:10]],
                "metrics": whole}


@dataclass(frozen=True, eq=False)
class Series:
    """A series of snapshots, held against one reference."""

    reference: str
    reference_rows: int
    unit: str
    rate: float
    planned: int
    left_out: dict[str, str]
    watch: Watch
    seen: tuple[Seen, ...]

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

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"verdict": self.verdict, "since": self.since or None, "exit_code": self.code,
                "reference": self.reference, "reference_rows": self.reference_rows, "unit": self.unit,
                "rate": self.rate, "over_snapshots": self.planned, "level": self.watch.level,
                "draws": self.watch.draws, "left_out": self.left_out,
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


#: Rows of which anything can be said.
FEWEST = 30


def survey(reference: Snapshot, snapshots: Sequence[Snapshot], rate: float = 0.01,
           groups: tuple[tuple[str, ...], ...] = (), drop: Sequence[str] = (), planned: int = 0,
           progress: Callable[[str], None] | None = None) -> Series:
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
    real = read(reference, [name for names in groups for name in names], drop)
    for one in snapshots:
        real.admit(one)
    planned = max(planned, len(snapshots))
    watch = real.watch(rate, planned, groups)
    held = []
    for one in snapshots:
        said(f"reading {one.name}")
        rows, n, new = real.read_as(one, min(SAMPLE, 2 * watch.most))
        if rows.n < FEWEST:
            raise InputError(f"{one.name}: has {rows.n} {'blocks' if one.kind == 'text' else 'rows'}; a verdict takes "
                             f"{FEWEST} or more")
        held.append((one.name, rows, n, new))
    seen: list[Seen] = []
    for (name, rows, n, new), m in zip(held, watch.sizes([rows.n for _, rows, _, _ in held]), strict=True):
        said(f"measuring {name} at {m:,} rows")
        judged = watch.judge(rows, m, new, real.ranges)
        seen.append(Seen(name, n, judged, step(judged, seen[-1].judged) if seen else []))
    unit = f"blocks of {BLOCK} tokens" if reference.kind == "text" else "rows"
    return Series(reference.name, real.n, unit, rate, planned, real.left_out, watch, tuple(seen))


def _called(data: Snapshot) -> str:
    return "text" if data.kind == "text" else "a table"
