"""The counts of a sample's table by which it is judged.

A sample may hold images, which do not survive pandas, and millions of values. So Arrow counts.
"""

from __future__ import annotations

from itertools import zip_longest

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from collapse.data import Column, Schema
from collapse.parquet import stored_name


def profile(table: pa.Table, schema: Schema, replicates: int) -> pd.DataFrame:
    """Return one row per column: whether name or type are not the frozen ones, and counts of rows and faults."""
    frozen = ["replicate: int16"] if replicates > 1 else []
    frozen += [line for column in schema.columns for line in _kinds(column)]
    found = [f"{field.name}: {_arrow_kind(field.type)}" for field in table.schema]
    known = {stored_name(column): column for column in schema.columns}
    counts = [_count(array, known.get(name)) for name, array in zip(table.column_names, table.columns, strict=True)]
    empty = {"rows": 0, "unusable": 0, "unknown": 0}
    return pd.DataFrame([
        {"strange": int(a != b), **count}
        for a, b, count in zip_longest(frozen, found, counts, fillvalue="nothing")
        for count in [empty if count == "nothing" else count]
    ])


_NAMES = {pa.float64(): "number", pa.int64(): "integer", pa.bool_(): "boolean", pa.date32(): "date",
          pa.timestamp("us"): "datetime"}


def _kinds(column: Column) -> list[str]:
    """Return name and type of what a column is stored as."""
    if column.kind == "text":
        return [f"{column.name}: string", f"{stored_name(column)}: {column.shape[0]} tokens"]
    image = f"image {'x'.join(map(str, column.shape))}" if column.kind == "image" else ""
    return [f"{column.name}: {image or column.type or column.kind}"]


def _arrow_kind(kind: pa.DataType) -> str:
    if isinstance(kind, pa.FixedShapeTensorType):
        return f"image {'x'.join(map(str, kind.shape))}"
    if pa.types.is_dictionary(kind):
        return "category"
    if pa.types.is_fixed_size_list(kind) and pa.types.is_int32(kind.value_type):
        return f"{kind.list_size} tokens"
    return _NAMES.get(kind, str(kind))


def _count(values: pa.ChunkedArray, column: Column | None) -> dict[str, int]:
    rows, unknown = len(values), 0
    unusable = 0 if column is not None and column.missing else values.null_count
    if isinstance(values.type, pa.FixedShapeTensorType):
        pixels = pa.chunked_array([chunk.storage.flatten() for chunk in values.chunks], values.type.value_type)
        unusable += _non_finite(pixels)
    elif pa.types.is_floating(values.type):
        unusable += _non_finite(values.drop_null())
    elif pa.types.is_fixed_size_list(values.type) and column is not None:
        tokens = pa.chunked_array([chunk.flatten() for chunk in values.chunks], values.type.value_type)
        unusable += tokens.null_count
        unknown = pc.sum(pc.or_(pc.less(tokens, 0), pc.greater_equal(tokens, len(column.categories)))).as_py() or 0
    elif pa.types.is_dictionary(values.type) and column is not None:
        unknown = sum(_unknown(chunk, set(column.categories)) for chunk in values.chunks)
    return {"rows": rows, "unusable": unusable, "unknown": unknown}


def _non_finite(values: pa.ChunkedArray) -> int:
    """Return how many values are null, NaN or infinite."""
    return len(values) - (pc.sum(pc.is_finite(values)).as_py() or 0)


def _unknown(chunk: pa.DictionaryArray, categories: set[str]) -> int:
    strange = [code for code, name in enumerate(chunk.dictionary.to_pylist()) if name not in categories]
    if not strange:
        return 0
    return pc.sum(pc.is_in(chunk.indices, pa.array(strange, chunk.indices.type))).as_py() or 0
