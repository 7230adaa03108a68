"""Parts as Parquet, written and read one way: provenance, content hash, deterministic bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from collapse.data import NOTHING, WHOLE, Column, Rows, Schema
from collapse.errors import InputError
from collapse.pool import Part
from collapse.spec import canonical
from collapse.storage import file_hash, sync

FORMAT = 1
#: Bytes of a column that are decoded at once.
BATCH = 1 << 21
#: What a part says of itself.
SAID = frozenset({"content", "counts", "generation", "kind", "model", "origin", "schema"})
#: Columns, files and hashes are read through buffers of this size.
BUFFER = 1 << 20


# -------------------------------------------------------------------------------------------- content


def content_hash(schema: Schema, counts: np.ndarray, values: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the values in column order, whatever the file's layout.

    Arrays are hashed as little-endian C-ordered bytes, categories and tokens as codes beside their list. A missing
    number is one NaN, whatever bits it came with; a missing category has a code of its own.
    """
    state = _begun(schema, counts)
    for column in schema.columns:
        _absorb(state, column, values[column.name])
    return state.hexdigest()


def stored_content(path: Path, schema: Schema, counts: np.ndarray) -> str:
    """Return the content hash of the rows that lie in a Parquet file, column by column, some pages at a time.

    Raises
    ------
    InputError
        If the file is not readable, or its columns are not those of ``schema``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_types(path, schema)
    state = _begun(schema, counts)
    try:
        # Through a buffer: else a whole column chunk lies in memory, compressed and decoded.
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            for column in schema.columns:
                rows = max(1, BATCH // (8 * int(np.prod(column.shape, dtype=int))))
                for batch in file.iter_batches(rows, columns=[stored_name(column)], use_threads=False):
                    _absorb(state, column, _numpy(column, batch.column(0)))
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path}: cannot be read ({(str(error).splitlines() or [type(error).__name__])[0][:120]})") \
            from None
    return state.hexdigest()


def head(path: Path, count: int) -> Rows:
    """Return the first ``count`` rows, or all there are, of the first replicate of a part; no more is read."""
    import pyarrow.parquet as pq

    note = part_note(path)
    schema, count = Schema.parse(note["schema"]), min(count, note["counts"][0])
    with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        batch = next(file.iter_batches(max(1, count), columns=[stored_name(c) for c in schema.columns]))
    return Rows(schema, {c.name: _numpy(c, batch.column(stored_name(c)))[None, :count] for c in schema.columns})


def _begun(schema: Schema, counts: np.ndarray) -> Any:
    return hashlib.sha256(canonical({"schema": schema.plain(), "counts": counts.tolist()}).encode())


def _absorb(state: Any, column: Column, values: np.ndarray) -> None:
    array = np.ascontiguousarray(values, dtype=_dtype(column))
    if column.kind == "number" and column.missing:
        array = np.where(np.isnan(array), np.nan, array)
    state.update(array.data if array.size else b"")


def _dtype(column: Column) -> str:
    return {"number": "<f8", "category": "<i4", "image": "<f4", "text": "<i4"}[column.kind]


# -------------------------------------------------------------------------------------------- written


def write_part(part: Part, path: Path, study: str) -> tuple[str, str]:
    """Write ``part`` to ``path`` and return its content and file hash. Equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = content_hash(part.schema, part.counts, part.values)
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    if part.replicates > 1:
        arrays.append(pa.array(part.replicate))
        fields.append(pa.field("replicate", pa.int16(), nullable=False))
    for column in part.schema.columns:
        if column.kind == "text":  # to read; the tokens are what counts, since a text can be cut in several ways
            arrays.append(pa.array(column.decode(part.values[column.name]), pa.string()))
            fields.append(pa.field(column.name, pa.string()))
        array = _arrow(column, part.values[column.name])
        arrays.append(array)
        fields.append(pa.field(stored_name(column), array.type))
    note = {
        "content": content,
        "counts": part.counts.tolist(),
        "format": FORMAT,
        "generation": part.generation,
        "kind": "synthetic" if part.synthetic else "real",
        "model": part.model,
        "origin": part.origin,
        "schema": part.schema.plain(),
        "study": study,
    }
    table = pa.table(arrays, schema=pa.schema(fields, metadata={"collapse": canonical(note)}))
    categories = [c.name for c in part.schema.columns if c.kind == "category" and c.type != "boolean"]
    pq.write_table(table, path, compression="zstd", use_dictionary=categories, row_group_size=1 << 17)
    sync(path)
    return content, file_hash(path)


def _arrow(column: Column, values: np.ndarray) -> Any:
    import pyarrow as pa

    values = np.ascontiguousarray(values, dtype=_dtype(column))
    if column.kind == "image":
        return pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    if column.kind == "text":
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), column.shape[0])
    empty = None
    if column.missing:
        empty = np.isnan(values) if column.kind == "number" else values == len(column.categories) - 1
    if column.type == "boolean":
        return pa.array(values == column.categories.index("True"), mask=empty)
    if column.kind == "category":
        names = column.categories[:-1] if column.missing else column.categories
        return pa.DictionaryArray.from_arrays(pa.array(values, mask=empty), pa.array(names, pa.string()))
    if column.type in WHOLE:
        whole = np.where(empty, 0, values).astype(np.int64) if empty is not None else values.astype(np.int64)
        return pa.array(whole.astype(np.int32) if column.type == "date" else whole, mask=empty).cast(arrow_type(column))
    return pa.array(values, mask=empty)


def arrow_type(column: Column) -> Any:
    """Return what a number or boolean column is in Arrow."""
    import pyarrow as pa

    return {"": pa.float64(), "integer": pa.int64(), "date": pa.date32(), "datetime": pa.timestamp("us"),
            "boolean": pa.bool_()}[column.type]


def stored_name(column: Column) -> str:
    """Return the name of the Parquet column that holds the values: of a text, beside what one reads, its tokens."""
    return f"{column.name}_tokens" if column.kind == "text" else column.name


# ----------------------------------------------------------------------------------------------- read


def part_note(path: Path) -> dict[str, Any]:
    """Return the provenance that a part carries in its Parquet metadata.

    Raises
    ------
    InputError
        If the file is not Parquet, or not from this laboratory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if b"collapse" not in metadata:
        raise InputError(f"{path}: carries no provenance; it was not written by this laboratory")
    try:
        note = json.loads(metadata[b"collapse"])
    except ValueError:
        note = None
    if not isinstance(note, dict) or not set(note) >= SAID:
        raise InputError(f"{path}: what it says of its provenance cannot be read; it is damaged, or was written by "
                         f"something else")
    return note


def read_part(path: Path, hashes: tuple[str, str] | None = None) -> Part:
    """Return the part at ``path``; its rows are read when they are asked for."""
    note = part_note(path)
    schema = Schema.parse(note["schema"])
    return Part(note["origin"], note["kind"] == "synthetic", note["generation"], schema, np.array(note["counts"]),
                lambda: _read_values(path, schema), note["model"], path, hashes)


def _read_values(path: Path, schema: Schema) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    _check_types(path, schema)
    table = pq.read_table(path, columns=[stored_name(column) for column in schema.columns])
    return {column.name: _numpy(column, table[stored_name(column)].combine_chunks()) for column in schema.columns}


def _check_types(path: Path, schema: Schema) -> None:
    """Refuse a file whose columns are not those of its own frozen schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = pq.read_schema(path)
    for column in schema.columns:
        name = stored_name(column)
        if name not in found.names:
            raise InputError(f"{path}: lacks the column '{name}', which was frozen at generation 0; put the "
                             f"file back, or make the node again")
        kind = found.field(name).type
        if column.kind in ("image", "text"):
            continue
        dictionary = column.kind == "category" and column.type != "boolean"
        if not (pa.types.is_dictionary(kind) if dictionary else kind == arrow_type(column)):
            raise InputError(f"{path}: column '{column.name}' is {kind}, but was frozen as {column.says} at generation "
                             f"0; put the file back, or make the node again")


def _numpy(column: Column, array: Any) -> np.ndarray:
    if column.kind == "image":
        return array.to_numpy_ndarray()
    if column.kind == "text":
        return array.flatten().to_numpy().reshape(-1, *column.shape)
    if column.kind == "number":
        if column.type in WHOLE:
            import pyarrow as pa

            array = array.cast(pa.int32() if column.type == "date" else pa.int64())
        return array.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)  # a null is NaN
    codes = {name: code for code, name in enumerate(column.categories)}
    if column.type == "boolean":
        order, index = np.array([codes["False"], codes["True"]]), array.cast("int8")
    else:
        order, index = np.array([codes[name] for name in array.dictionary.to_pylist()], dtype=int), array.indices
    order = np.append(order, codes[NOTHING] if column.missing else 0).astype(np.int32)
    return order[index.fill_null(len(order) - 1).to_numpy(zero_copy_only=False)]
