"""A table of your own: Parquet or CSV, its schema inferred once and frozen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import NOTHING, WHOLE, Column, Rows, Schema, Type
from collapse.errors import InputError, nearest
from collapse.lineage import imported
from collapse.reader import forms, whole
from collapse.reader.dialect import Options
from collapse.sources.base import Source

if TYPE_CHECKING:
    import pandas as pd

#: Types that are numbers.
KINDS = ("number", *sorted(WHOLE))
#: What reads as a boolean where ``types`` says so.
BOOLEANS = {text: str(value) for text, value in forms.BOOLEANS.items()}


class Table(Source):
    """The rows of a Parquet or CSV file: numbers, whole numbers, dates and times, booleans and categories.

    The schema is inferred once, from the whole file, and frozen at generation 0: types, category sets, and which
    columns may lack values. It stands in every manifest of the study.

    Parameters
    ----------
    path
        The file, from the working directory or else from the folder in the environment variable COLLAPSE_DATA_DIR.
    label
        A column to treat as the class; whole numbers will do.
    columns, drop
        Columns to take (all by default), and columns to leave out. The label need not be in ``columns``.
    types
        Column to type, where the file says another: number, integer, date, datetime, category or boolean. A category
        keeps the text of a CSV file ('007').
    counts
        A column of whole numbers that says how many times each row stands; it is used up.
    max_categories
        The most categories that a column may have: more is usually a name or an identifier.
    missing
        ``keep`` missing values as a state of their own, ``refuse`` a file that has any, ``drop`` the rows that have
        one, or make them a ``category`` '(missing)' like any other (category columns only; numbers are refused).
    na
        More texts that mean a missing value, such as '?', beside empty fields and NA, NaN, nan, null in CSV, nulls and
        NaN in Parquet.
    separator, encoding, decimal
        What stands between the fields of a CSV file, how it is encoded, and what stands before decimals.
    provenance
        A record that came with the file: a ``_manifest.json`` of this laboratory, Croissant JSON-LD or PROV-JSON. Its
        hash of the file must be right; what it says stands in the manifest of generation 0 and is continued.
    """

    kind: ClassVar[str] = "table"
    inferred: ClassVar[bool] = True

    path: Annotated[str, Field(min_length=1)]
    label: str | None = None
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    drop: list[str] = Field(default=[])
    types: dict[str, Type] = Field(default={})
    counts: str | None = None
    max_categories: Annotated[int, Field(ge=2)] = 1000
    missing: Literal["keep", "refuse", "drop", "category"] = "keep"
    na: list[str] = Field(default=[])
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    provenance: Annotated[str, Field(min_length=1)] | None = None

    real_inputs: ClassVar[tuple[str, ...]] = (
        "types, and category sets of the label and of the category columns (whole file)",)

    def spec(self) -> dict[str, Any]:
        # a key that came later, at its default, is no other study
        later = {"provenance": None, "encoding": "utf-8", "decimal": "."}
        return {key: value for key, value in super().spec().items() if key not in later or value != later[key]}

    def load(self) -> Rows:
        imported.of(self)  # a wrong hash is refused before anything is read
        found = self._rows(self._complete(self._chosen(self._read())))
        self._refuse_constant(found)
        return found

    def _rows(self, frame: pd.DataFrame, frozen: Schema | None = None) -> Rows:
        columns: list[Column] = []
        values: dict[str, np.ndarray] = {}
        names = [name for name in frozen.names if name in frame] if frozen else []
        for name in [*names, *(name for name in frame.columns if name not in names)]:
            column, array = self._column(str(name), frame[name])
            if frozen is not None and name in names:
                column, array = _as_frozen(frozen[name], column, array)
            columns.append(column)
            values[column.name] = array[None]  # (n,) -> (R = 1, n)
        return Rows(Schema(tuple(columns)), values)

    def read_as(self, frozen: Schema) -> Rows:
        """Return the file's rows in a schema that was frozen on another file: a later batch of the same data.

        Category codes and columns take the frozen order; a category or missing value may be absent here.

        Raises
        ------
        InputError
            If a frozen column is absent, or there is a column, a type, a category or a gap that was not frozen.
        """
        found = self._rows(self._complete(self._chosen(self._read())), frozen)
        frozen.admit(found.schema, self.path)
        return found

    def locate(self) -> Path:
        """Return the file.

        Raises
        ------
        InputError
            If it is in neither place.
        """
        return self._find("path", self.path, "a Parquet or CSV file")

    def record(self) -> Path:
        """Return the record that came with the file.

        Raises
        ------
        InputError
            If it is in neither place.
        """
        return self._find("provenance", str(self.provenance), "the record that came with the data")

    def _find(self, key: str, name: str, what: str) -> Path:
        folder = os.environ.get("COLLAPSE_DATA_DIR")
        places = [Path(name)] + ([Path(folder) / name] if folder else [])
        for place in places:
            if place.is_file():
                return place
        kind = "is a folder, not a file" if any(place.is_dir() for place in places) else "is not there"
        where = f"in COLLAPSE_DATA_DIR, {folder}" if folder else "in COLLAPSE_DATA_DIR, which is not set"
        raise InputError(f"source.{key}: {name} {kind} (looked in the working directory and {where}); "
                         f"give the path of {what}")

    def files(self) -> tuple[Path, ...]:
        return (self.locate(), self.record()) if self.provenance else (self.locate(),)

    # --------------------------------------------------------------------------------------- reading

    def _read(self) -> pd.DataFrame:
        path = self.locate()
        if path.stat().st_size == 0:
            raise self._bad("path", "is empty", "give a file with a header and rows")
        texts = [name for name, kind in self.types.items() if kind == "category"]
        try:
            frame = whole.frame(path, Options(self.separator, self.encoding, self.decimal), texts, self.na)
        except InputError as error:
            said = str(error).removeprefix(f"{path}: ")
            for option in ("separator", "encoding", "decimal"):
                said = said.replace(f"--{option}", f"source.{option}")
            raise InputError(f"source.path: {self.path} {said}") from None
        if frame.empty:
            raise self._bad("path", "has no rows", "give a file with a header and rows")
        return frame

    # -------------------------------------------------------------------------------------- choosing

    def _chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns asked for, in the order of ``columns`` or the file, each row as often as it counts."""
        names = list(frame.columns)
        for key, wanted in {"label": [self.label], "columns": self.columns, "drop": self.drop,
                            "types": list(self.types), "counts": [self.counts]}.items():
            for name in wanted or []:
                if name is not None and name not in names:
                    raise self._bad(key, f"has no column '{name}'", nearest(name, names)[2:])
        for key in ("label", "counts"):
            name = getattr(self, key)
            if name is not None and name in self.drop:
                raise self._bad("drop", f"names '{name}', which is source.{key}", "take it out of one of them")
        kept = list(dict.fromkeys(self.columns)) if self.columns else names
        if self.label is not None and self.label not in kept:
            kept.append(self.label)
        kept = [name for name in kept if name not in self.drop and name != self.counts]
        if not [name for name in kept if name != self.label]:
            raise self._bad("columns", "has no column left to learn", "take more columns, or drop fewer")
        if "replicate" in kept:
            raise self._bad("path", "has a column 'replicate', a name that this laboratory uses itself",
                            "rename it, or write drop: [replicate]")
        if self.counts is None:
            return frame[kept]
        return frame.loc[frame.index.repeat(self._repeats(frame[self.counts])), kept].reset_index(drop=True)

    def _repeats(self, counts: pd.Series) -> np.ndarray:
        kind = counts.dtype.kind
        if kind not in "iu" or (counts < 0).any() or not counts.sum():
            raise self._bad("counts", f"column '{counts.name}' must hold whole numbers, none below 0",
                            "name another column, or leave counts out")
        return counts.to_numpy()

    def _complete(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame without missing values, as ``missing`` says."""
        empty = frame.isna()
        per_column = {name: int(count) for name, count in empty.sum().items() if count}
        if not per_column or self.missing == "keep":
            return frame
        if self.missing == "drop":
            kept = frame[~empty.any(axis=1)]
            if kept.empty:
                widest = max(per_column, key=lambda name: per_column[name])
                raise self._bad("missing", "has a missing value in every row", f"write drop: [{widest}]")
            return kept.infer_objects()
        if self.missing == "category":
            per_column = {name: n for name, n in per_column.items() if self._type(str(name), frame[name]) in KINDS}
            if not per_column:
                return frame
        rows = int(empty.any(axis=1).sum())
        shown = ", ".join(f"{name} {count}" for name, count in list(per_column.items())[:5])
        more = ", …" if len(per_column) > 5 else ""
        noun = "numeric values" if self.missing == "category" else "values"
        raise self._bad("missing", f"has missing {noun} ({shown}{more}; {rows} of {len(frame)} rows)",
                        f"write missing: keep, missing: drop, or drop: [{', '.join(map(str, per_column))}]")

    # ---------------------------------------------------------------------------------------- columns

    def _type(self, name: str, series: pd.Series) -> str:
        """Return the column's type: what the study says, or else what the values are."""
        from pandas.api import types

        if name in self.types:
            return self.types[name]
        held = series.dropna()
        if types.is_bool_dtype(series) or (len(held) and set(map(type, held)) <= {bool, np.bool_}):
            return "boolean"
        if name == self.label:
            return "category"
        if types.is_integer_dtype(series):
            return "integer"
        if types.is_float_dtype(series):
            # a missing value turns whole numbers into floats on their way in
            return "integer" if len(held) < len(series) and len(held) and (held % 1 == 0).all() else "number"
        days = _days(held)
        if days is None:
            return "category"
        return "date" if (days == days.dt.normalize()).all() else "datetime"

    def _column(self, name: str, series: pd.Series) -> tuple[Column, np.ndarray]:
        kind = self._type(name, series)
        if kind in KINDS:
            return self._number(name, series, kind)
        return self._category(name, self._boolean(name, series) if kind == "boolean" else series, kind)

    def _number(self, name: str, series: pd.Series, kind: str) -> tuple[Column, np.ndarray]:
        import pandas as pd

        missing = bool(series.isna().any())
        if kind in ("date", "datetime"):
            stamps = _days(series.dropna()) if name not in self.types else \
                pd.to_datetime(series, format="ISO8601", errors="coerce", utc=True)
            assert stamps is not None
            if name in self.types:
                self._fits(name, series, stamps.isna() & series.notna(), kind)
            micro = stamps.reindex(series.index).dt.tz_localize(None).astype("datetime64[us]")
            if kind == "date":
                self._fits(name, series, micro.notna() & (micro != micro.dt.normalize()), kind)
            values = micro.to_numpy().astype("datetime64[D]" if kind == "date" else "datetime64[us]")
            values = np.where(np.isnat(values), np.nan, values.astype(np.int64).astype(np.float64))
        else:
            numbers = pd.to_numeric(series, errors="coerce") if name in self.types else series
            self._fits(name, series, numbers.isna() & series.notna(), kind)
            values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        infinite = int(np.isinf(values).sum())
        if infinite:
            raise self._bad("columns", f"column '{name}' has {infinite} infinite value{'s' * (infinite > 1)}",
                            f"mend them in the file, or write drop: [{name}]")
        if kind == "integer":
            self._fits(name, series, pd.Series(values % 1 > 0, series.index), kind)
        if kind in WHOLE and len(values) and np.nanmax(np.abs(values), initial=0) > 2**53:
            raise self._bad("columns", f"column '{name}' has whole numbers beyond 2^53, which are not exact as numbers",
                            f"write types: {{{name}: category}}, or drop: [{name}]")
        return Column(name, "number", type="" if kind == "number" else kind, missing=missing), values  # type: ignore

    def _fits(self, name: str, series: pd.Series, wrong: pd.Series, kind: str) -> None:
        """Refuse a type that some values do not have."""
        if wrong.any():
            text = str(series[wrong].iloc[0])
            raise self._bad("types", f"column '{name}' is not of type {kind}: it has '{text[:40]}'",
                            f"mend the file, or write types: {{{name}: category}}")

    def _boolean(self, name: str, series: pd.Series) -> pd.Series:
        """Return a column of 'True' and 'False'."""
        texts = series.map(str, na_action="ignore").str.lower().map(BOOLEANS, na_action="ignore")
        self._fits(name, series, texts.isna() & series.notna(), "boolean")
        return texts

    def _category(self, name: str, series: pd.Series, kind: str = "category") -> tuple[Column, np.ndarray]:
        """Return codes into the names that occur: numbers in their order, text by its letters, the missing last."""
        from pandas.api import types

        if not (types.is_numeric_dtype(series) or isinstance(series.dtype, _category_type())):
            plain = (str, bool, np.bool_, int, float)
            strange = [type(v).__name__ for v in series.dropna() if not isinstance(v, plain)]
            if strange and name not in self.types and name != self.label:
                raise self._bad("columns", f"column '{name}' holds {strange[0]} values, neither numbers nor text",
                                f"turn them into one or the other, or write drop: [{name}]")
        numeric = types.is_numeric_dtype(series) and not types.is_bool_dtype(series)
        if types.is_float_dtype(series) and (series.dropna() % 1 == 0).all():
            series = series.astype("Int64")  # a missing value turned whole numbers into 0.0 and 1.0
        empty = series.isna()
        texts = series[~empty].map(str).to_numpy(dtype=object)
        names = sorted(set(texts), key=float if numeric else None)
        if kind == "boolean" and names:
            names = ["False", "True"]
        if empty.any():
            names = [name for name in names if name != NOTHING] + [NOTHING]
        if len(names) > self.max_categories:
            key = "label" if name == self.label else "max_categories"
            raise self._bad(key, f"column '{name}' has {len(names)} categories, more than {self.max_categories}",
                            f"write drop: [{name}], or raise max_categories")
        place = {text: code for code, text in enumerate(names)}
        codes = np.full(len(series), len(names) - 1, dtype=np.int32)
        codes[~empty.to_numpy()] = [place[text] for text in texts]
        column = Column(name, "category", tuple(names), role="label" if name == self.label else "feature",
                        type="boolean" if kind == "boolean" else "",
                        missing=self.missing == "keep" and bool(empty.any()))
        return column, codes

    def _refuse_constant(self, rows: Rows) -> None:
        constant = []
        for column in rows.schema.columns:
            array = rows[column.name][0]
            empty = np.isnan(array) if column.kind == "number" else np.zeros(len(array), dtype=bool)
            if empty.all() or (not empty.any() and (array == array[0]).all()):
                constant.append(column.name)
        if self.label in constant:
            raise self._bad("label", f"column '{self.label}' has a single value",
                            "name another column, or leave label out")
        if constant:
            listed = ", ".join(constant)
            raise self._bad("columns", f"is constant in {listed}: nothing can be learned or lost",
                            f"write drop: [{listed}]")

    def _bad(self, key: str, what: str, remedy: str) -> InputError:
        return InputError(f"source.{key}: {self.path}{':' * what.startswith('column ')} {what}; {remedy}")


def _category_type() -> type[Any]:
    import pandas as pd

    return pd.CategoricalDtype


def _days(held: pd.Series) -> pd.Series | None:
    """Return values without gaps as timestamps in UTC, or None where they are no dates."""
    import datetime

    import pandas as pd
    from pandas.api import types

    if types.is_datetime64_any_dtype(held):
        return pd.to_datetime(held, utc=True)
    if not len(held) or held.dtype != object or not all(isinstance(v, datetime.date) for v in held):
        return None
    stamps = pd.to_datetime(held, errors="coerce", utc=True)
    return None if stamps.isna().any() else stamps


def _as_frozen(frozen: Column, column: Column, array: np.ndarray) -> tuple[Column, np.ndarray]:
    """Return a column in its frozen form, if it is of that form; else as it is, for :meth:`Schema.admit` to refuse."""
    if (column.missing and not frozen.missing) or column.kind != frozen.kind:
        return column, array
    if column.kind == "number":
        types = {column.type, frozen.type}
        whole = column.type in WHOLE and frozen.type == ""  # whole numbers are numbers
        return (frozen, array) if len(types) == 1 or whole else (column, array)
    if set(column.categories) <= set(frozen.categories) and column.type == frozen.type:
        place = np.array([frozen.categories.index(name) for name in column.categories], dtype=np.int32)
        return frozen, place[array]
    return column, array
