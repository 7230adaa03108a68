"""A table of your own: Parquet or CSV, numbers and categories."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, nearest
from collapse.sources.base import Source

if TYPE_CHECKING:
    import pandas as pd

#: What a CSV field must read to count as missing. ('None', '?' and the like are plain categories.)
MISSING = ("", "NA", "NaN", "nan", "null")
#: The category that ``missing: category`` makes.
NOTHING = "(missing)"


class Table(Source):
    """The rows of a Parquet or CSV file. Numbers stay numbers; text and booleans become categories.

    Parameters
    ----------
    path
        The file, from the working directory or else from the folder in the environment variable COLLAPSE_DATA_DIR.
    label
        A column to treat as the class; whole numbers will do.
    columns, drop
        Columns to take (all by default), and columns to leave out. The label need not be in ``columns``.
    as_category
        Numeric columns to read as categories.
    counts
        A column of whole numbers that says how many times each row stands; it is used up.
    max_categories
        The most categories that a column may have: more is usually a name or an identifier.
    missing
        ``refuse`` a file with missing values, ``drop`` the rows that have one, or make them a ``category``
        '(missing)' of their own (category columns only; numbers are still refused).
        Missing are empty fields and NA, NaN, nan, null in CSV, nulls and NaN in Parquet.
    separator
        What stands between the fields of a CSV file.
    """

    kind: ClassVar[str] = "table"

    path: Annotated[str, Field(min_length=1)]
    label: str | None = None
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    drop: list[str] = Field(default=[])
    as_category: list[str] = Field(default=[])
    counts: str | None = None
    max_categories: Annotated[int, Field(ge=2)] = 1000
    missing: Literal["refuse", "drop", "category"] = "refuse"
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","

    real_inputs: ClassVar[tuple[str, ...]] = ("category sets of the label and of the category columns (whole file)",)

    def load(self) -> Rows:
        frame = self._complete(self._chosen(self._read()))
        columns: list[Column] = []
        values: dict[str, np.ndarray] = {}
        for name in frame.columns:
            column, array = self._column(str(name), frame[name])
            columns.append(column)
            values[column.name] = array[None]  # (n,) -> (R = 1, n)
        self._refuse_constant(values)
        return Rows(Schema(tuple(columns)), values)

    def locate(self) -> Path:
        """Return the file.

        Raises
        ------
        InputError
            If it is in neither place.
        """
        folder = os.environ.get("COLLAPSE_DATA_DIR")
        places = [Path(self.path)] + ([Path(folder) / self.path] if folder else [])
        for place in places:
            if place.is_file():
                return place
        kind = "is a folder, not a file" if any(place.is_dir() for place in places) else "is not there"
        where = f"in COLLAPSE_DATA_DIR, {folder}" if folder else "in COLLAPSE_DATA_DIR, which is not set"
        raise InputError(f"source.path: {self.path} {kind} (looked in the working directory and {where}); "
                         f"give the path of a Parquet or CSV file")

    def files(self) -> tuple[Path, ...]:
        return (self.locate(),)

    # --------------------------------------------------------------------------------------- reading

    def _read(self) -> pd.DataFrame:
        path = self.locate()
        if path.stat().st_size == 0:
            raise self._bad("path", "is empty", "give a file with a header and rows")
        with open(path, "rb") as file:
            magic = file.read(4)
        frame = self._read_parquet(path) if magic == b"PAR1" else self._read_csv(path)
        if frame.empty:
            raise self._bad("path", "has no rows", "give a file with a header and rows")
        names = [str(name) for name in frame.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise self._bad("path", f"has two columns called '{twice[0]}'", "rename one of them in the file")
        return frame.set_axis(names, axis=1)

    def _read_parquet(self, path: Path) -> pd.DataFrame:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(path).to_pandas(ignore_metadata=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._bad("path", f"is not readable Parquet ({_first_line(error)})", "export it again") from None

    def _read_csv(self, path: Path) -> pd.DataFrame:
        import csv

        import pandas as pd

        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                header = next(csv.reader(file, delimiter=self.separator))
                frame = pd.read_csv(file, sep=self.separator, header=None, keep_default_na=False,
                                    na_values=list(MISSING), low_memory=False)
        except pd.errors.EmptyDataError:
            raise self._bad("path", "has no rows", "give a file with a header and rows") from None
        except (pd.errors.ParserError, csv.Error, UnicodeDecodeError, StopIteration, OSError) as error:
            raise self._bad("path", f"cannot be read as CSV ({_first_line(error)})",
                            "give a UTF-8 CSV file with a header, or Parquet") from None
        if len(header) != frame.shape[1]:
            raise self._bad("path", f"cannot be read as CSV: its header has {len(header)} fields, its rows "
                                    f"{frame.shape[1]}", "mend the file, or set source.separator")
        return frame.set_axis(header, axis=1)

    # -------------------------------------------------------------------------------------- choosing

    def _chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns asked for, in the order of ``columns`` or the file, each row as often as it counts."""
        names = list(frame.columns)
        for key, wanted in {"label": [self.label], "columns": self.columns, "drop": self.drop,
                            "as_category": self.as_category, "counts": [self.counts]}.items():
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
        if not per_column:
            return frame
        if self.missing == "drop":
            kept = frame[~empty.any(axis=1)]
            if kept.empty:
                widest = max(per_column, key=lambda name: per_column[name])
                raise self._bad("missing", "has a missing value in every row", f"write drop: [{widest}]")
            return kept.infer_objects()
        if self.missing == "category":
            per_column = {name: count for name, count in per_column.items() if not self._is_category(name, frame[name])}
            if not per_column:
                return frame
        rows = int(empty.any(axis=1).sum())
        shown = ", ".join(f"{name} {count}" for name, count in list(per_column.items())[:5])
        more = ", …" if len(per_column) > 5 else ""
        noun = "numeric values" if self.missing == "category" else "values"
        raise self._bad("missing", f"has missing {noun} ({shown}{more}; {rows} of {len(frame)} rows)",
                        f"write missing: drop, or drop: [{', '.join(per_column)}]")

    # -------------------------------------------------------------------------------------- columns

    def _is_category(self, name: str, series: pd.Series) -> bool:
        from pandas.api import types

        return (name == self.label or name in self.as_category or types.is_bool_dtype(series)
                or not types.is_numeric_dtype(series))

    def _column(self, name: str, series: pd.Series) -> tuple[Column, np.ndarray]:
        from pandas.api import types

        if not self._is_category(name, series):
            return self._number(name, series)
        plain = (types.is_numeric_dtype(series) or isinstance(series.dtype, self._category_type())
                 or set(series.dropna().map(type)) <= {str, bool, np.bool_})
        if not plain:
            held = next(type(v).__name__ for v in series.dropna() if not isinstance(v, str | bool))
            raise self._bad("columns", f"column '{name}' holds {held} values, neither numbers nor text",
                            f"turn them into one or the other, or write drop: [{name}]")
        return self._category(name, series)

    @staticmethod
    def _category_type() -> type[Any]:
        import pandas as pd

        return pd.CategoricalDtype

    def _number(self, name: str, series: pd.Series) -> tuple[Column, np.ndarray]:
        values = series.to_numpy(dtype=np.float64)
        infinite = int((~np.isfinite(values)).sum())
        if infinite:
            raise self._bad("columns", f"column '{name}' has {infinite} infinite value{'s' * (infinite > 1)}",
                            f"mend them in the file, or write drop: [{name}]")
        return Column(name, "number"), values

    def _category(self, name: str, series: pd.Series) -> tuple[Column, np.ndarray]:
        """Return codes into the names that occur: numbers in their order, text by its letters, the missing last."""
        from pandas.api import types

        numeric = types.is_numeric_dtype(series) and not types.is_bool_dtype(series)
        if types.is_float_dtype(series) and (series.dropna() % 1 == 0).all():
            series = series.astype("Int64")  # a missing value turned whole numbers into 0.0 and 1.0
        empty = series.isna()
        texts = series[~empty].map(str).to_numpy(dtype=object)
        names = sorted(set(texts), key=float if numeric else None)
        if empty.any():
            names = [name for name in names if name != NOTHING] + [NOTHING]
        if len(names) > self.max_categories:
            key = "label" if name == self.label else "max_categories"
            raise self._bad(key, f"column '{name}' has {len(names)} categories, more than {self.max_categories}",
                            f"write drop: [{name}], or raise max_categories")
        place = {text: code for code, text in enumerate(names)}
        codes = np.full(len(series), len(names) - 1, dtype=np.int32)
        codes[~empty.to_numpy()] = [place[text] for text in texts]
        return Column(name, "category", tuple(names), role="label" if name == self.label else "feature"), codes

    def _refuse_constant(self, values: dict[str, np.ndarray]) -> None:
        constant = [name for name, array in values.items() if (array == array[:, :1]).all()]
        if self.label in constant:
            raise self._bad("label", f"column '{self.label}' has a single value",
                            "name another column, or leave label out")
        if constant:
            listed = ", ".join(constant)
            raise self._bad("columns", f"is constant in {listed}: nothing can be learned or lost",
                            f"write drop: [{listed}]")

    def _bad(self, key: str, what: str, remedy: str) -> InputError:
        return InputError(f"source.{key}: {self.path}{':' * what.startswith('column ')} {what}; {remedy}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
