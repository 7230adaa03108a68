"""The rows of a data set, piece by piece, as Arrow arrays: CSV as texts, everything else in its own types."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from collapse.errors import InputError
from collapse.reader import layouts
from collapse.reader.dialect import Dialect, Options, lines, sniff, stream, unreadable
from collapse.reader.forms import GAPS
from collapse.reader.layouts import Snapshot

#: Rows of one piece of a file.
PIECE = 100_000
#: Bytes of a block of CSV.
BLOCK = 1 << 20

Pieces = Iterator[pa.Table]


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return names in a line."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def pieces(data: Snapshot, wanted: list[str] | None, dialect: Dialect | None = None,
           options: Options | None = None, numbers: frozenset[str] = frozenset()) -> Pieces:
    """Yield the rows of all files in tables of at most :data:`PIECE` rows: ``wanted`` columns, or all.

    Columns of CSV are texts, but for those of ``numbers`` where all values are plain ones.

    Raises
    ------
    InputError
        If a file is not readable, lacks a column, has longer or shorter rows than its header, or changes meanwhile.
    """
    options = options or Options()
    for path in data.files:
        keys = data.keys.get(path, {})
        names = None if wanted is None else [name for name in wanted if name not in keys]
        if names == []:  # partitions alone: their rows are those of any column
            names = header(data, path, dialect, options)[:1]
        for table in READERS[layouts.form(path)](path, names, dialect, options, numbers):
            for name, value in keys.items():
                if wanted is None or name in wanted:
                    column = pa.array([value], pa.string()).take(pa.array([0] * table.num_rows, pa.int64()))
                    place = table.schema.get_field_index(name)
                    table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
            if table.num_rows:
                yield table if wanted is None else table.select(wanted)
        data.unchanged(path)


def header(data: Snapshot, path: Path, dialect: Dialect | None = None, options: Options | None = None) -> list[str]:
    """Return the names of a file's columns, each once, and of its partitions.

    Raises
    ------
    InputError
        If it is not readable, or has no column, or two of one name.
    """
    kind = layouts.form(path)
    if kind == "csv":
        names = _fields(path, _dialect(path, dialect, options or Options()))
    elif kind == "json":
        names = _json_names(path)
    else:
        schema = (_parquet(path).schema_arrow if kind == "parquet" else _arrow(path)[0])
        names = list(schema.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: has two columns called '{twice[0]}'; rename one of them")
    if not names:
        raise InputError(f"{path}: has no columns; give a file with a header and rows")
    return [*names, *(name for name in data.keys.get(path, {}) if name not in names)]


def _has(path: Path, names: list[str] | None, there: list[str]) -> None:
    lost = [name for name in names or [] if name not in there]
    if lost:
        raise InputError(f"{path}: lacks {listed(lost)}; give files of the same columns")


# ---------------------------------------------------------------------------------------------- Parquet


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=False, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, "Parquet", error) from None


def _of_parquet(path: Path, names: list[str] | None, dialect: Dialect | None, options: Options,
                numbers: frozenset[str]) -> Pieces:
    file = _parquet(path)
    _has(path, names, file.schema_arrow.names)
    try:
        for batch in file.iter_batches(PIECE, columns=names):
            yield pa.table(batch)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, "Parquet", error) from None


# ------------------------------------------------------------------------------------------------ Arrow


def _arrow(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the schema and the batches of a file, or of a stream, of Arrow."""
    try:
        if layouts.packed(path) or layouts.magic(path) != "arrow":
            reader = pa.ipc.open_stream(stream(path))
            return reader.schema, iter(reader)
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        return file.schema, (file.get_batch(i) for i in range(file.num_record_batches))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, "Arrow", error) from None


def _of_arrow(path: Path, names: list[str] | None, dialect: Dialect | None, options: Options,
              numbers: frozenset[str]) -> Pieces:
    schema, batches = _arrow(path)
    _has(path, names, schema.names)
    try:
        for batch in batches:
            table = pa.table(batch) if names is None else pa.table(batch).select(names)
            for start in range(0, table.num_rows, PIECE):
                yield table.slice(start, PIECE)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, "Arrow", error) from None


# -------------------------------------------------------------------------------------------------- CSV


def _dialect(path: Path, dialect: Dialect | None, options: Options) -> Dialect:
    return sniff(path, options) if dialect is None else dialect.of(path, options)


def _fields(path: Path, dialect: Dialect) -> list[str]:
    """Return the header of a CSV file; columns without a name stay so, unless there are several."""
    try:
        with lines(path, dialect.encoding) as file:
            for _ in range(dialect.skip):
                file.readline()
            names = next((row for row in csv.reader(file, delimiter=dialect.separator) if row), [])
    except (csv.Error, OSError, UnicodeError, pa.ArrowException) as error:
        raise _encoding(path, dialect, error) from None
    names = [name.removeprefix("\ufeff").strip() for name in names]
    several = names.count("") > 1
    return [f"Unnamed: {i}" if several and not name else name for i, name in enumerate(names)]


def _of_csv(path: Path, names: list[str] | None, dialect: Dialect | None, options: Options,
            numbers: frozenset[str]) -> Pieces:
    dialect = _dialect(path, dialect, options)
    there = _fields(path, dialect)
    _has(path, names, there)
    if not there:
        return
    done = 0
    try:
        try:
            for table in _parse(path, there, names, dialect, options, numbers):
                yield table
                done += table.num_rows
        except pa.ArrowInvalid:
            if not numbers:
                raise
            # thousands, a plus, a word: their form knows what they mean, or refuses them by name
            for table in _parse(path, there, names, dialect, options, frozenset()):
                if done <= 0:
                    yield table
                done -= table.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _ragged(path, dialect, len(there)) or _encoding(path, dialect, error) from None


def _parse(path: Path, there: list[str], names: list[str] | None, dialect: Dialect, options: Options,
           numbers: frozenset[str]) -> Pieces:
    """Yield a CSV file in pieces: texts, and ``numbers`` as such, all of :data:`PIECE` rows but the last."""
    from pyarrow import csv as arrow

    wanted = there if names is None else names
    rows = arrow.ReadOptions(use_threads=False, block_size=BLOCK, column_names=there, skip_rows=dialect.skip,
                             skip_rows_after_names=1, encoding=dialect.encoding)
    values = arrow.ConvertOptions(
        column_types={name: pa.float64() if name in numbers else pa.string() for name in there},
        null_values=sorted({*GAPS, *options.na}), strings_can_be_null=False, decimal_point=dialect.decimal,
        include_columns=[*wanted, *([] if there[-1] in wanted else there[-1:])])
    fields = arrow.ParseOptions(delimiter=dialect.separator, newlines_in_values=True)
    held: list[pa.RecordBatch] = []
    size = 0
    with arrow.open_csv(stream(path), rows, fields, values) as reader:
        for batch in reader:
            held.append(batch)
            size += len(batch)
            if size >= PIECE:
                table = pa.Table.from_batches(held)
                for start in range(0, size - size % PIECE, PIECE):
                    yield table.slice(start, PIECE)
                rest = table.slice(size - size % PIECE)
                held, size = rest.to_batches(), rest.num_rows
    if size:
        table = pa.Table.from_batches(held).combine_chunks()
        if "\n" in str(table[there[-1]][-1].as_py()):
            _closed(path, dialect)
        yield table


def _closed(path: Path, dialect: Dialect) -> None:
    """Refuse a file whose last field has a quote that is never closed: it holds all rows after it."""
    began = 1
    try:
        with lines(path, dialect.encoding) as file:
            rows = csv.reader(file, delimiter=dialect.separator, strict=True)
            for _ in rows:
                began = rows.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):
            raise InputError(f"{path}: line {began} has a quote that is never closed; mend it, or export it again") \
                from None


def _ragged(path: Path, dialect: Dialect, fields: int) -> InputError | None:
    """Return the refusal of the first row that is longer or shorter than the header, by its line."""
    try:
        with lines(path, dialect.encoding) as file:
            rows = csv.reader(file, delimiter=dialect.separator)
            for row in rows:
                if row and len(row) != fields and rows.line_num > dialect.skip:
                    return InputError(
                        f"{path}: line {rows.line_num} has {len(row)} field{'s' * (len(row) != 1)}, but the header has "
                        f"{fields}; quote fields that hold {dialect.separator!r}, or give --separator")
    except (csv.Error, OSError, UnicodeError, pa.ArrowException):
        pass
    return None


def _encoding(path: Path, dialect: Dialect, error: Exception) -> InputError:
    """Return the refusal of a file that cannot be read; one in another encoding names the option."""
    text = str(error)
    if isinstance(error, UnicodeError) or "UTF8" in text or "UTF-8" in text or "decode" in text:
        return InputError(f"{path}: is not {dialect.encoding.upper()}{_line(path, dialect)}; give its encoding, such "
                          f"as --encoding latin-1")
    return unreadable(path, "CSV", error)


def _line(path: Path, dialect: Dialect) -> str:
    """Return where the first line is that is not in the encoding."""
    if dialect.encoding != "utf-8":
        return ""
    try:
        with stream(path) as file:
            number, rest = 1, b""
            while block := file.read(BLOCK):
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    line.decode()
                    number += 1
            rest.decode()
    except UnicodeDecodeError:
        return f" in line {number}"
    except (OSError, pa.ArrowException):
        pass
    return ""


# ----------------------------------------------------------------------------------------- JSON, by lines


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file, one a line, with the lines' numbers."""
    number = 0
    try:
        with lines(path, "utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise InputError(f"{path}: line {number} is no object; give one object a line")
                yield number, found
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {number} is not JSON ({error.msg}); give one object a line") from None
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise unreadable(path, "JSON lines", error) from None


def _json_names(path: Path) -> list[str]:
    """Return the keys of all objects, in the order in which they occur."""
    names: dict[str, None] = {}
    for _, record in _records(path):
        if not names.keys() >= record.keys():
            names |= dict.fromkeys(record)
    return list(names)


def _of_json(path: Path, names: list[str] | None, dialect: Dialect | None, options: Options,
             numbers: frozenset[str]) -> Pieces:
    names = _json_names(path) if names is None else names
    held: list[dict[str, Any]] = []
    seen: set[str] = set()
    for _, record in _records(path):
        held.append(record)
        seen |= record.keys()
        if len(held) == PIECE:
            yield _table(held, names)
            held = []
    if held:
        _has(path, names, list(seen))
        yield _table(held, names)


def _table(records: list[dict[str, Any]], names: list[str]) -> pa.Table:
    return pa.table({name: _array([record.get(name) for record in records]) for name in names})


def _array(values: list[Any]) -> pa.Array:
    """Return the values in a type that holds them all; as texts where none does."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else value if isinstance(value, str) else json.dumps(value)
                         for value in values], pa.string())


READERS: dict[str, Callable[..., Pieces]] = {
    "parquet": _of_parquet, "arrow": _of_arrow, "csv": _of_csv, "json": _of_json}
