"""Rows in memory: a frozen schema and one array per column, R independent lineages at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from collapse.errors import InputError

Kind = Literal["number", "category", "image", "text"]
#: What a column is at rest. Dates are days and datetimes microseconds since 1970 (UTC); a boolean is a category.
Type = Literal["number", "integer", "date", "datetime", "category", "boolean"]
TYPES: tuple[str, ...] = get_args(Type)
#: Numbers of these types are whole.
WHOLE = frozenset({"integer", "date", "datetime"})
#: The name of the missing value among the categories of a column that may lack one; at rest it is a null.
NOTHING = "(missing)"
#: The name of all values that a schema does not list, where it admits any.
NEW = "(new)"


@dataclass(frozen=True)
class Column:
    """One column: a number, a category (codes into ``categories``), an image of ``shape``, or a text.

    ``role`` is ``feature`` or ``label``; a label is always a category. ``kind`` is what mathematics sees, ``type``
    what lies on disk ('' : the same). A column with ``missing`` may lack values, a state of its own: NaN among numbers,
    the last of ``categories`` (:data:`NOTHING`) among categories. A text is ``shape[0]`` tokens, codes into
    ``categories``: the vocabulary, each token's UTF-8 bytes read as Latin-1 (a token may be part of a character).
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    role: Literal["feature", "label"] = "feature"
    type: Literal["", "integer", "date", "datetime", "boolean"] = ""
    missing: bool = False
    #: The token between the documents of a text.
    end: int = 0

    @property
    def width(self) -> int:
        """Return how many numbers a row of this column holds (0 for a category and for a text)."""
        return {"number": 1, "image": int(np.prod(self.shape, dtype=int))}.get(self.kind, 0)

    @cached_property
    def pieces(self) -> list[bytes]:
        """Return the bytes that each token of a text stands for."""
        return [token.encode("latin-1") for token in self.categories]

    def decode(self, tokens: np.ndarray) -> list[str]:
        """Return the texts of ``tokens`` (n, L). What is not UTF-8 shows as U+FFFD."""
        pieces = self.pieces
        return [b"".join([pieces[t] for t in row]).decode("utf-8", "replace") for row in tokens.tolist()]

    @property
    def new(self) -> int | None:
        """Return the code of what the schema does not list, None where it lists all."""
        return self.categories.index(NEW) if NEW in self.categories[-2:] else None

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        facts = {"name": self.name, "kind": self.kind, "role": self.role, "categories": list(self.categories),
                 "shape": list(self.shape)}
        more = {"type": self.type} if self.type else {"end": self.end} if self.kind == "text" else {}
        return facts | more | ({"missing": True} if self.missing else {})

    @property
    def says(self) -> str:
        """Return the type in one word, and whether values may be missing."""
        return (self.type or self.kind) + (", may be missing" if self.missing else "")

    @staticmethod
    def parse(data: dict[str, Any]) -> Column:
        """Return the column that :meth:`plain` described."""
        return Column(data["name"], data["kind"], tuple(data["categories"]), tuple(data["shape"]), data["role"],
                      data.get("type", ""), data.get("missing", False), data.get("end", 0))


@dataclass(frozen=True)
class Schema:
    """The columns of a study, frozen at generation 0."""

    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of all columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def label(self) -> Column | None:
        """Return the label column, if there is one."""
        return next((column for column in self.columns if column.role == "label"), None)

    @cached_property
    def numeric(self) -> tuple[Column, ...]:
        """Return the features that are numbers or images."""
        return tuple(c for c in self.columns if c.role == "feature" and c.kind in ("number", "image"))

    @cached_property
    def categorical(self) -> tuple[Column, ...]:
        """Return the features that are categories (without the label)."""
        return tuple(c for c in self.columns if c.role == "feature" and c.kind == "category")

    @cached_property
    def gaps(self) -> tuple[Column, ...]:
        """Return the number columns that may lack values."""
        return tuple(c for c in self.columns if c.kind == "number" and c.missing)

    @cached_property
    def texts(self) -> tuple[Column, ...]:
        """Return the features that are texts."""
        return tuple(c for c in self.columns if c.kind == "text")

    @property
    def width(self) -> int:
        """Return the number of numeric features d, pixels counted one by one."""
        return sum(column.width for column in self.numeric)

    @property
    def cells(self) -> int:
        """Return how many values a row holds: pixels and tokens are counted one by one."""
        return sum(int(np.prod(column.shape, dtype=int)) for column in self.columns)

    def plain(self) -> list[dict[str, Any]]:
        """Return plain data for JSON."""
        return [column.plain() for column in self.columns]

    def admit(self, found: Schema, where: str) -> None:
        """Refuse rows of another schema than this frozen one.

        Raises
        ------
        InputError
            Naming the first column that is absent, new or of another type.
        """
        for column in self.columns:
            if column.name not in found.names:
                raise InputError(f"{where}: lacks the column '{column.name}', which was frozen at generation 0; put it "
                                 f"back, or begin a new study")
            other = found[column.name]
            if other.says != column.says:
                raise InputError(f"{where}: column '{column.name}' is {other.says}, but was frozen as {column.says} at "
                                 f"generation 0; convert it, or begin a new study")
            strange = sorted(set(other.categories) - set(column.categories))
            if strange:
                raise InputError(f"{where}: column '{column.name}' has the category '{strange[0]}', which is not among "
                                 f"those frozen at generation 0; map it onto one of them, or begin a new study")
        extra = [name for name in found.names if name not in self.names]
        if extra:
            raise InputError(f"{where}: has a column '{extra[0]}' that was not there at generation 0; drop it")
        if found != self:
            raise InputError(f"{where}: its columns or categories stand in another order than at generation 0; write "
                             f"it again in the frozen order")

    @staticmethod
    def parse(data: Sequence[dict[str, Any]]) -> Schema:
        """Return the schema that :meth:`plain` described."""
        return Schema(tuple(Column.parse(item) for item in data))


def unlisted(name: str) -> str:
    """Return the key of what tells apart the values of column ``name`` that the schema does not list."""
    return f"{name}\0unlisted"


@dataclass(frozen=True, eq=False)
class Rows:
    """``n`` rows of each of ``R`` independent replicates.

    ``values[name]`` has shape (R, n) for numbers (float64, NaN: missing) and categories (int32 codes), and
    (R, n, *shape) for images (float32) and texts (int32 tokens). ``weights`` (n,) say how much each row counts in
    training; None: all alike. Beside a category column ``values[unlisted(name)]`` (R, n) may number the values that
    the schema does not list (0: listed), where one category stands for all of them.
    """

    schema: Schema
    values: dict[str, np.ndarray]
    weights: np.ndarray | None = None

    @property
    def replicates(self) -> int:
        """Return R."""
        return next(iter(self.values.values())).shape[0]

    @property
    def n(self) -> int:
        """Return the rows of one replicate."""
        return next(iter(self.values.values())).shape[1]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]

    @property
    def label(self) -> np.ndarray | None:
        """Return the label codes, (R, n), or None."""
        return None if self.schema.label is None else self.values[self.schema.label.name]

    def matrix(self) -> np.ndarray:
        """Return all numeric features, images flattened: (R, n, d)."""
        blocks = [self.values[c.name].reshape(self.replicates, self.n, c.width) for c in self.schema.numeric]
        if not blocks:
            return np.empty((self.replicates, self.n, 0))
        matrix = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=2)
        return matrix.astype(np.float64, copy=False)

    @staticmethod
    def assemble(schema: Schema, matrix: np.ndarray | None, codes: dict[str, np.ndarray]) -> Rows:
        """Return rows from a matrix (R, n, d) of the numeric features and codes (R, n) by column name.

        Numbers of a whole type are rounded: a model need not know that ages are whole. The codes of a text are its
        tokens, (R, n, L).
        """
        values: dict[str, np.ndarray] = {}
        start = 0
        for column in schema.columns:
            if column.kind in ("category", "text"):
                values[column.name] = np.asarray(codes[column.name], dtype=np.int32)
                continue
            assert matrix is not None
            block = matrix[:, :, start : start + column.width]
            # Images are single precision in memory as on disk: a sample measured now equals one that is read again.
            kind = np.float32 if column.kind == "image" else np.float64
            block = np.rint(block) if column.type in WHOLE else block
            values[column.name] = np.ascontiguousarray(block.reshape(*block.shape[:2], *column.shape), dtype=kind)
            start += column.width
        return Rows(schema, values)

    def map(self, function: Any) -> Rows:
        """Return rows with ``function`` applied to every column's array."""
        return Rows(self.schema, {name: function(array) for name, array in self.values.items()})

    def head(self, n: int) -> Rows:
        """Return the first ``n`` rows of every replicate."""
        return self if n == self.n else self.map(lambda array: array[:, :n])

    def take(self, index: np.ndarray) -> Rows:
        """Return the rows that ``index`` (R, m) names, replicate by replicate.

        Rows with one replicate serve as the source of all: ``index`` then decides R.
        """
        if self.replicates == 1:
            return self.map(lambda array: array[0][index])
        lineage = np.arange(self.replicates)[:, None]
        return self.map(lambda array: array[lineage, index])

    def first(self, count: int) -> Rows:
        """Return the first ``count`` replicates."""
        return self if count == self.replicates else self.map(lambda array: array[:count])

    def replicate(self, r: int) -> Rows:
        """Return replicate ``r`` alone, R = 1."""
        return self.map(lambda array: array[r : r + 1])

    @staticmethod
    def concat(blocks: Sequence[Rows]) -> Rows:
        """Return the rows of all ``blocks``, one after the other within each replicate."""
        if len(blocks) == 1:
            return blocks[0]
        first = blocks[0]
        return Rows(first.schema, {k: np.concatenate([b.values[k] for b in blocks], axis=1) for k in first.values})
