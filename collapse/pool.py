"""Training sets as Parquet parts: provenance, content hash, deterministic bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from collapse.data import NOTHING, WHOLE, Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.rng import Rng
from collapse.spec import canonical
from collapse.storage import file_hash, link, sync, write_text

FORMAT = 1
MANIFEST = "_manifest.json"
#: What a node, or a summary, may be called. It is part of a path, and nothing of this form leads out of its folder.
NAME = re.compile(r"[a-z][a-z0-9-]*")
#: Bytes of a column that are decoded at once.
BATCH = 1 << 21
#: Columns, files and hashes are read through buffers of this size.
BUFFER = 1 << 20


#: Sufficient statistics of a part: named arrays whose first axis is the replicate, or what a model that overrides
#: ``add`` and ``weigh`` makes of them (flat arrays, replicate after replicate, and how long each is).
Summary = dict[str, np.ndarray]


class Summariser(Protocol):
    """A model as a pool sees it: what it fits from, and how that is made and added up."""

    @property
    def summary(self) -> str | None:
        """Return the name of its statistics; None: it needs the rows."""

    def summarise(self, rows: Rows) -> Summary:
        """Return the statistics of rows."""

    def add(self, a: Summary, b: Summary) -> Summary:
        """Return the statistics of both together."""

    def weigh(self, a: Summary, weight: float) -> Summary:
        """Return the statistics when every row counts ``weight`` times."""


# ------------------------------------------------------------------------------------------ in memory


@dataclass(frozen=True, eq=False)
class Part:
    """Rows that one node made: flat columns (N, …) sorted by replicate, ``counts`` (R,) rows of each.

    A part on disk is read when its values are asked for; ``path`` is then the file it came from. Every row counts
    ``weight`` times in training. A part may know its sufficient statistics without its rows being read
    (:attr:`summaries`, by the name that a model gives them), or have no rows at all: then ``redraw(n)`` makes one of n.
    """

    origin: str
    synthetic: bool
    generation: int
    schema: Schema
    counts: np.ndarray
    load: Callable[[], dict[str, np.ndarray]] = field(repr=False)
    model: str = ""
    path: Path | None = None
    hashes: tuple[str, str] | None = None  # content, file
    weight: float = 1.0
    summaries: dict[str, Summary] = field(default_factory=dict, repr=False)
    #: Hashes of the summaries that lie beside ``path``.
    stored: dict[str, str] = field(default_factory=dict, repr=False)
    redraw: Callable[[int], Part] | None = field(default=None, repr=False)
    #: The same rows, unflattened, where they are in memory anyway.
    whole: Rows | None = field(default=None, repr=False)

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Return the flat columns."""
        return self.load()

    @staticmethod
    def of(rows: Rows, origin: str, generation: int, synthetic: bool, model: str = "") -> Part:
        """Return the part that holds ``rows``."""
        def flat() -> dict[str, np.ndarray]:
            return {name: array.reshape(-1, *array.shape[2:]) for name, array in rows.values.items()}

        counts = np.full(rows.replicates, rows.n)
        return Part(origin, synthetic, generation, rows.schema, counts, flat, model, whole=rows)

    @property
    def n(self) -> float:
        """Return the mean number of rows of a replicate."""
        return float(self.counts.mean())

    @property
    def replicates(self) -> int:
        """Return R."""
        return len(self.counts)

    @cached_property
    def replicate(self) -> np.ndarray:
        """Return the replicate of each row, (N,)."""
        return np.repeat(np.arange(len(self.counts), dtype=np.int16), self.counts)

    @cached_property
    def even(self) -> bool:
        """Return whether every replicate has as many rows."""
        return bool((self.counts == self.counts[0]).all())

    def rows(self) -> Rows:
        """Return the rows as arrays (R, n, …); all replicates must have as many."""
        if self.whole is not None:
            return self.whole
        assert self.even
        shape = (len(self.counts), int(self.counts[0]))
        return Rows(self.schema, {name: a.reshape(*shape, *a.shape[1:]) for name, a in self.values.items()})

    def summary(self, model: Summariser) -> Summary:
        """Return the sufficient statistics that ``model`` fits from, each row counted once; read or made once."""
        name = model.summary or ""
        if name not in self.summaries:
            beside = None if self.path is None else summary_path(self.path, name)
            self.summaries[name] = _load(beside) if beside and name in self.stored else model.summarise(self.rows())
        return self.summaries[name]

    def weighted(self, weight: float) -> Part:
        """Return the part with every row counted ``weight`` times."""
        return replace(self, weight=weight)

    def keep(self, index: np.ndarray, counts: np.ndarray) -> Part:
        """Return the part with the flat rows ``index`` only (sorted by replicate), ``counts`` of each."""
        return replace(self, counts=counts, load=lambda: {k: v[index] for k, v in self.values.items()}, path=None,
                       hashes=None, summaries={}, stored={}, whole=None)

    def take(self, index: np.ndarray) -> Part:
        """Return the rows ``index`` (R, m) of each replicate of an even part."""
        start = np.arange(self.replicates)[:, None] * int(self.counts[0])
        return self.keep((start + index).ravel(), np.full(self.replicates, index.shape[1]))

    def head(self, n: int) -> Part:
        """Return the first ``n`` rows of each replicate of an even part."""
        if self.redraw is not None:
            return self.redraw(n)
        return self if n == self.n else self.take(np.broadcast_to(np.arange(n), (self.replicates, n)))


@dataclass(frozen=True)
class Draw:
    """A uniform draw of ``rows`` rows of each replicate without replacement, at an address of randomness.

    Which rows they are follows from the address and the parts: a manifest need only say ``index``, their hash.
    """

    rows: int
    address: tuple[str, ...]
    index: str = ""

    def of(self, total: int, replicates: int) -> np.ndarray:
        """Return which of ``total`` rows are drawn, ascending, (R, rows).

        Raises
        ------
        NodeError
            If they are not those that were drawn first.
        """
        index = np.sort(Rng(*self.address).choice(total, self.rows, replicates), axis=1)
        if self.index and self.hash(index) != self.index:
            raise NodeError("the draw that its manifest names cannot be made again; run 'collapse audit'")
        return index

    @staticmethod
    def hash(index: np.ndarray) -> str:
        """Return the SHA-256 of drawn rows (R, rows)."""
        return hashlib.sha256(np.ascontiguousarray(index, dtype="<i8").data).hexdigest()


@dataclass(frozen=True, eq=False)
class Pool:
    """Parts, oldest first, and how many rows per replicate they were drawn from.

    A model is trained on all of their rows, or on those of ``draw``: :attr:`training`.
    """

    parts: tuple[Part, ...]
    seen: int = 0
    draw: Draw | None = None
    #: Summaries of all parts, and of all but the last, by name: a part costs one addition, however many there are.
    totals: dict[str, Summary] = field(default_factory=dict, repr=False)
    before: dict[str, Summary] = field(default_factory=dict, repr=False)

    def __add__(self, part: Part) -> Pool:
        return Pool((*self.parts, part), self.seen + int(part.n), before=self.totals)

    @property
    def n(self) -> int:
        """Return the rows of a replicate, drawn or not."""
        return round(sum(part.n for part in self.parts))

    @cached_property
    def drawn(self) -> np.ndarray:
        """Return which rows are trained on, of all parts one after the other, (R, rows)."""
        assert self.draw is not None
        return self.draw.of(self.n, self.parts[0].replicates)

    @cached_property
    def training(self) -> Pool:
        """Return the training set: this pool, or its parts cut down to the rows that are drawn."""
        if self.draw is None:
            return self
        parts = [part if len(rows) == part.counts.sum() else part.keep(rows, counts)
                 for part, rows, counts in self.taken]
        return Pool(tuple(part for part in parts if part.counts.any()), self.seen)

    @property
    def taken(self) -> list[tuple[Part, np.ndarray, np.ndarray]]:
        """Return each part with its flat rows that are drawn, and how many of each replicate, (R,)."""
        return split(self.parts, self.drawn)

    @property
    def even(self) -> bool:
        """Return whether within each part every replicate has as many rows."""
        return all(part.even for part in self.parts)

    def summary(self, model: Summariser) -> Summary:
        """Return the sufficient statistics of all rows, weights counted; the parts must be even."""
        name = model.summary or ""
        if name not in self.totals:
            total = self.before.get(name)
            for part in self.parts if total is None else self.parts[-1:]:
                own = part.summary(model)
                own = own if part.weight == 1 else model.weigh(own, part.weight)
                total = own if total is None else model.add(total, own)
            assert total is not None
            self.totals[name] = total
        return self.totals[name]

    @staticmethod
    def of(*parts: Part) -> Pool:
        """Return the pool that holds ``parts`` whole; empty parts are left out."""
        kept = tuple(part for part in parts if part.counts.any())
        return Pool(kept, int(sum(part.n for part in kept)))

    def rows(self) -> Rows:
        """Return the rows that are trained on, replicate by replicate: (R, n, …)."""
        if self.draw is not None:
            return self.training.rows()
        if self.even:
            rows = Rows.concat([part.rows() for part in self.parts])
            if any(part.weight != 1 for part in self.parts):
                weights = [np.full(int(part.counts[0]), part.weight) for part in self.parts]
                rows = replace(rows, weights=np.concatenate(weights))
            return rows
        order = np.argsort(np.concatenate([part.replicate for part in self.parts]), kind="stable")
        first = self.parts[0]
        values = {}
        for name in first.values:
            flat = np.concatenate([part.values[name] for part in self.parts])[order]
            values[name] = flat.reshape(first.replicates, -1, *flat.shape[1:])
        return Rows(first.schema, values)

    def without(self, origin: str, rows: int) -> Pool:
        """Return the pool without the sample of ``rows`` rows that ``origin`` made, as if it had never been seen.

        A draw is made anew from what is left. Replicates that have more rows left than others are thinned.
        """
        kept = Pool.of(*(part for part in self.parts if part.origin != origin))
        seen = max(kept.seen, self.seen - rows)
        if self.draw is not None:
            draw = Draw(min(self.draw.rows, kept.n), self.draw.address)
            return Pool(kept.parts, seen, draw if kept.parts else None)
        return Pool(kept.parts, seen)._even(Rng("pool", "without", origin))

    def _even(self, rng: Rng) -> Pool:
        """Return the pool with as many rows in every replicate, the fewest that one has, drawn at random."""
        totals = np.array(sum(part.counts for part in self.parts))
        if not self.parts or (totals == totals[0]).all():
            return self
        least = int(totals.min())
        chosen = [np.sort(g.permutation(total)[:least]) for g, total in zip(rng.each(len(totals)), totals, strict=True)]
        kept = Pool.of(*(part.keep(*rows) for part, *rows in split(self.parts, np.array(chosen))))
        return replace(kept, seen=self.seen)


def split(parts: Sequence[Part], index: np.ndarray) -> list[tuple[Part, np.ndarray, np.ndarray]]:
    """Return each part with its flat rows among ``index`` (R, m), and how many of each replicate, (R,).

    ``index`` counts a replicate's rows through all parts, one after the other, and ascends.
    """
    found, before = [], np.zeros((len(index), 1), dtype=np.int64)
    for part in parts:
        after = before + part.counts[:, None]
        here = (index >= before) & (index < after)
        start = np.cumsum(part.counts) - part.counts
        found.append((part, (index - before + start[:, None])[here], here.sum(axis=1)))
        before = after
    return found


@dataclass(frozen=True, eq=False)
class RealData:
    """What a generation may see of reality: the first pool, and fresh rows from the bank or the source.

    ``draw(n, replicates, rng)`` returns fresh real rows. On a finite source they come from the bank
    without replacement within a generation, anew per (generation, replicate): they repeat later.
    """

    origin: str
    first: Part
    draw: Callable[[int, int, Rng], Rows]
    exact: bool

    def fresh(self, n: int, rng: Rng) -> Part:
        """Return ``n`` fresh real rows for each replicate."""
        rows = self.draw(n, self.first.replicates, rng)
        return Part.of(rows, self.origin, 0, synthetic=False)

    @staticmethod
    def from_bank(origin: str, first: Part, bank: Rows) -> RealData:
        """Return the real data of a finite source."""

        def draw(n: int, replicates: int, rng: Rng) -> Rows:
            return bank.take(rng.choice(bank.n, n, replicates))

        return RealData(origin, first, draw, exact=False)


# -------------------------------------------------------------------------------------------- hashing


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


def _begun(schema: Schema, counts: np.ndarray) -> Any:
    return hashlib.sha256(canonical({"schema": schema.plain(), "counts": counts.tolist()}).encode())


def head(path: Path, count: int) -> Rows:
    """Return the first ``count`` rows, or all there are, of the first replicate of a part; no more is read."""
    import pyarrow.parquet as pq

    note = part_note(path)
    schema, count = Schema.parse(note["schema"]), min(count, note["counts"][0])
    with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        batch = next(file.iter_batches(max(1, count), columns=[stored_name(c) for c in schema.columns]))
    return Rows(schema, {c.name: _numpy(c, batch.column(stored_name(c)))[None, :count] for c in schema.columns})


def _absorb(state: Any, column: Column, values: np.ndarray) -> None:
    array = np.ascontiguousarray(values, dtype=_dtype(column))
    if column.kind == "number" and column.missing:
        array = np.where(np.isnan(array), np.nan, array)
    state.update(array.data if array.size else b"")


def _dtype(column: Column) -> str:
    return {"number": "<f8", "category": "<i4", "image": "<f4", "text": "<i4"}[column.kind]


# ------------------------------------------------------------------------------------ Parquet, one way


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
    if not isinstance(note, dict) or not {"content", "counts", "kind", "origin", "schema"} <= set(note):
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


# ------------------------------------------------------------------------------------- pools on disk


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a pool folder."""
    return json.loads((folder / MANIFEST).read_text())


def read_pool(folder: Path) -> Pool:
    """Return the pool that lies in ``folder``; part values are read lazily."""
    manifest = read_manifest(folder)
    frozen = Schema.parse(manifest["schema"]) if "schema" in manifest else None
    parts = [
        replace(read_part(part_path(folder, p["origin"]), (p["content"], p["file"])), weight=p.get("weight", 1.0),
                stored=p.get("summaries", {}))
        for p in manifest["parts"]
    ]
    for part in parts:
        (frozen or parts[0].schema).admit(part.schema, str(part.path))
    told = manifest.get("draw")
    draw = None if told is None else Draw(told["rows"], tuple(told["address"]), told["index"])
    return Pool(tuple(parts), manifest["seen"], draw)


def training_pool(folder: Path, left_out: bool = False) -> Pool:
    """Return what a child of the pool in ``folder`` is trained on: all of it, or all but the node's own sample."""
    pool = read_pool(folder)
    if not left_out:
        return pool
    manifest = read_manifest(folder)
    return pool.without(manifest["node"], manifest["rows"])


def trained_rows(part: Mapping[str, Any]) -> int:
    """Return how many rows of a part of a manifest are trained on: those that were drawn, or all."""
    return int(part.get("drawn", part["rows"]))


def part_path(folder: Path, origin: str) -> Path:
    """Return where the part that ``origin`` made lies in a pool.

    Raises
    ------
    InputError
        If ``origin`` is no name of a node: a manifest from elsewhere must not lead out of its folder.
    """
    if not NAME.fullmatch(origin):
        raise InputError(f"{folder / MANIFEST}: {origin[:80]!r} is no node's name; put the file "
                         f"back")
    return folder / f"{origin}.parquet"


def write_pool(pool: Pool, folder: Path, manifest: dict[str, Any], siblings: tuple[Path, ...] = (),
               model: Summariser | None = None) -> None:
    """Write ``pool`` and its manifest into ``folder``, which must be new.

    A part that lies on disk already is linked, not written: the parent's file, or one of the same content
    in a folder of ``siblings`` (this node's raw sample). Beside each part lies what ``model`` fits from it.
    """
    folder.mkdir(parents=True)
    parts = []
    drawn = {} if pool.draw is None else {part.origin: int(part.counts.sum()) for part in pool.training.parts}
    for part in pool.parts:
        target = folder / f"{part.origin}.parquet"
        if part.path is not None and part.hashes is not None:
            link(part.path, target)
            content, file = part.hashes
        else:
            content = content_hash(part.schema, part.counts, part.values)
            twin = _twin(target.name, content, siblings)
            if twin is None:
                content, file = write_part(part, target, manifest["study"])
            else:
                link(twin, target)
                file = file_hash(target)
        entry = {
            "content": content, "file": file, "generation": part.generation,
            "kind": "synthetic" if part.synthetic else "real", "origin": part.origin,
            "rows": int(part.counts.sum()),
        }
        if part.weight != 1:
            entry["weight"] = part.weight
        if pool.draw is not None:
            entry["drawn"] = drawn.get(part.origin, 0)
        elif model is not None and model.summary and part.even:
            entry["summaries"] = {model.summary: _write_summary(part, model, target)}
        parts.append(entry)
    manifest = {**manifest, "format": FORMAT, "parts": parts, "seen": pool.seen, **drawing(pool)}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def drawing(pool: Pool) -> dict[str, Any]:
    """Return what a manifest says of the draw of a pool: nothing where all is trained on."""
    if pool.draw is None:
        return {}
    return {"draw": {"address": list(pool.draw.address), "index": Draw.hash(pool.drawn), "rows": pool.draw.rows}}


def summary_path(part: Path, name: str) -> Path:
    """Return where the summary ``name`` of a part lies: beside it, hidden from readers of Parquet folders."""
    return part.with_name(f"_{part.stem}.{name}.safetensors")


def _load(path: Path) -> Summary:
    from safetensors.numpy import load_file

    return load_file(path)


def _write_summary(part: Part, model: Summariser, target: Path) -> str:
    """Write or link the summary of ``part`` beside ``target`` and return its hash."""
    from safetensors.numpy import save_file

    name = str(model.summary)
    path = summary_path(target, name)
    if part.path is not None and name in part.stored:
        link(summary_path(part.path, name), path)
        return part.stored[name]
    save_file({key: np.ascontiguousarray(value) for key, value in part.summary(model).items()}, path)
    sync(path)
    return file_hash(path)


def _twin(name: str, content: str, siblings: tuple[Path, ...]) -> Path | None:
    for sibling in siblings:
        if (sibling / name).exists() and part_note(sibling / name)["content"] == content:
            return sibling / name
    return None
