"""Rows as files for other people's programs, and back: nothing that comes back is believed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from collapse.data import NOTHING, WHOLE, Column, Rows, Schema
from collapse.errors import NodeError, nearest
from collapse.parquet import stored_name, write_part
from collapse.pool import Part
from collapse.reader.forms import MISSING
from collapse.sources.table import BOOLEANS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Form = Literal["parquet", "csv"]


def write(rows: Rows, path: Path, form: Form) -> None:
    """Write one replicate of rows as a plain table: the columns of the study, in its order, one line per row.

    Parquet holds what a part of a pool holds. CSV has a header, dates in ISO 8601, and an empty field where a
    value is missing.
    """
    if form == "parquet":
        write_part(Part.of(rows, "training", 0, synthetic=True), path, "")
    else:
        frame(rows).to_csv(path, index=False)


def frame(rows: Rows) -> pd.DataFrame:
    """Return one replicate as a pandas frame, with the types of a part on disk; whole numbers with gaps are objects."""
    import pyarrow.parquet as pq

    with TemporaryDirectory(prefix="collapse-") as folder:
        write(rows, Path(folder) / "rows.parquet", "parquet")
        return pq.read_table(Path(folder) / "rows.parquet").to_pandas(integer_object_nulls=True)


def read(path: Path, schema: Schema, rows: int, form: Form) -> Rows:
    """Return the ``rows`` rows that a program wrote to ``path``, R = 1, in the frozen schema.

    Columns may stand in any order. Numbers of a whole type are rounded, as those of any model are.

    Raises
    ------
    NodeError
        If the file is absent or unreadable, has other columns, another number of rows, types that do not fit, unknown
        categories, values that are not finite, or gaps in a column that has none.
    """
    if not path.is_file() or path.is_symlink():
        raise NodeError(f"wrote no file {path.name}")
    return from_table(_table(path, schema, form), schema, rows, form == "csv")


def from_table(table: pa.Table, schema: Schema, rows: int, texts: bool = False) -> Rows:
    """Return the rows of an Arrow table in the frozen schema, R = 1; with ``texts`` missing values are words (CSV).

    Raises
    ------
    NodeError
        As :func:`read`.
    """
    names = table.column_names
    wanted = {stored_name(column): column for column in schema.columns}
    for name in wanted:
        if name not in names:
            raise NodeError(f"lacks the column '{name}'{nearest(name, set(names) - set(wanted))}")
        if names.count(name) > 1:
            raise NodeError(f"has two columns '{name}'")
    legible = {column.name for column in schema.texts}
    extra = [name for name in names if name not in wanted and name not in legible]
    if extra:
        raise NodeError(f"has a column '{extra[0]}' that the training data had not")
    if table.num_rows != rows:
        raise NodeError(f"has {table.num_rows} rows, and {rows} were asked for")
    return Rows(schema, {column.name: _values(column, table[name].combine_chunks(), texts)[None]
                         for name, column in wanted.items()})


def _table(path: Path, schema: Schema, form: Form) -> pa.Table:
    import pyarrow as pa

    try:
        if form == "parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                return file.read(use_threads=False)
        from pyarrow import csv

        options = csv.ConvertOptions(column_types={c.name: pa.string() for c in schema.columns}, null_values=[],
                                     strings_can_be_null=False)
        return csv.read_csv(path, csv.ReadOptions(use_threads=False), csv.ParseOptions(newlines_in_values=True),
                            options)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NodeError(f"cannot be read as {form} ({first[:120]})") from None


def _values(column: Column, array: Any, texts: bool) -> np.ndarray:
    """Return the values (n, …) of a column, or refuse them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.ChunkedArray):  # of no chunk
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if texts and pa.types.is_string(array.type):
        array = pc.utf8_trim_whitespace(array) if column.kind == "number" else array
        words = [word for word in MISSING if word not in column.categories]
        array = pc.if_else(pc.is_in(array, pa.array(words)), pa.scalar(None, pa.string()), array)
    try:
        if column.kind == "number":
            return _number(column, array)
        return _category(column, array) if column.kind == "category" else _block(column, array)
    except (pa.ArrowException, ValueError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NodeError(f"column '{column.name}' is {array.type}, not {column.says} ({first[:120]})") from None


def _number(column: Column, array: Any) -> np.ndarray:
    import pyarrow as pa

    kind = array.type
    if column.type in ("date", "datetime"):
        if not (pa.types.is_temporal(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ValueError("dates and times must come as such, or as text in ISO 8601")
        array = array.cast(pa.timestamp("us"), safe=False)
        whole = array.cast(pa.int64())
        values = whole.to_numpy(zero_copy_only=False).astype(np.float64)
        values = np.floor(values / 86_400e6) if column.type == "date" else values
    else:
        values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    gaps = int(np.isnan(values).sum())
    if gaps and not column.missing:
        raise NodeError(f"column '{column.name}' has {gaps} values that are NaN or missing, and real rows lack none")
    if np.isinf(values).any():
        raise NodeError(f"column '{column.name}' has {int(np.isinf(values).sum())} infinite values")
    return np.rint(values) if column.type in WHOLE else values


def _category(column: Column, array: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(array.type):  # a missing value, or another language, turned whole numbers into 8.0
        array = array.cast(pa.int64())
    array = array.cast(pa.string())
    found = pc.unique(array).to_pylist()
    place = {name: code for code, name in enumerate(column.categories)}
    codes = {}
    for name in found:
        known = BOOLEANS.get(name.lower(), name) if name is not None and column.type == "boolean" else name
        if known is None:
            if not column.missing:
                raise NodeError(f"column '{column.name}' lacks {array.null_count} values, and real rows lack none")
            known = NOTHING
        if known not in place:
            raise NodeError(f"column '{column.name}' has the unknown category '{known[:60]}'{nearest(known, place)}")
        codes[name] = place[known]
    table = np.array([codes[name] for name in found], dtype=np.int32)
    index = pc.index_in(array, pc.unique(array), skip_nulls=False).to_numpy(zero_copy_only=False)
    return table[index] if len(table) else np.empty(0, dtype=np.int32)


def _block(column: Column, array: Any) -> np.ndarray:
    """Return images (n, *shape) or tokens (n, L): fixed-shape tensors, or lists of so many numbers."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    size = int(np.prod(column.shape, dtype=int))
    flat = array.flatten()
    if array.null_count or flat.null_count or len(flat) != len(array) * size or \
            (not pa.types.is_fixed_size_list(array.type) and set(array.value_lengths().to_pylist()) - {size}):
        raise ValueError(f"each row must hold {size} numbers")
    whole = column.kind == "text"
    values = flat.cast(pa.int32() if whole else pa.float32(), safe=whole).to_numpy(zero_copy_only=False)
    values = values.reshape(len(array), *column.shape)
    if whole and len(values) and not (values.min() >= 0 and values.max() < len(column.categories)):
        raise NodeError(f"column '{column.name}' has tokens outside its vocabulary of {len(column.categories)}")
    if not whole and not np.isfinite(values).all():
        raise NodeError(f"column '{column.name}' has pixels that are NaN or infinite")
    return values
