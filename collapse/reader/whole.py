"""A table as one frame in memory, by the same dialect and forms: what studies learn from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collapse.reader import forms, layouts, pieces
from collapse.reader.dialect import Dialect, Options
from collapse.reader.evidence import Evidence, kind_of
from collapse.reader.forms import MISSING, Form

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def frame(path: Path, options: Options, texts: Collection[str] = (), na: Collection[str] = ()) -> pd.DataFrame:
    """Return all rows of a file: whole numbers, numbers, booleans, time stamps, and texts.

    Parameters
    ----------
    options
        How a CSV file is written; what it leaves open is plain CSV.
    texts
        Columns whose texts are kept as they are.
    na
        Texts that mean a missing value, beside :data:`MISSING`.

    Raises
    ------
    InputError
        If the file is not readable, or its rows are not as long as its header.
    """
    import pandas as pd
    import pyarrow as pa

    plain = Dialect(options.separator or ",", options.encoding or "utf-8", options.decimal or ".",
                    fixed=bool(options.decimal))
    data = layouts.Snapshot(str(path), (path,), "table", stamps={path: layouts.stamp(path)})
    names = pieces.header(data, path, plain, options)
    held = list(pieces.pieces(data, names, plain, options))
    if not held:
        return pd.DataFrame(columns=names)
    table = pa.concat_tables(held, promote_options="permissive")
    typed = layouts.form(path) != "csv"
    return pd.DataFrame({name: _series(name, forms.plain(table[name]), plain, name in texts, frozenset(na), typed)
                         for name in names})


def _series(name: str, array: pa.Array, dialect: Dialect, text: bool, na: frozenset[str], typed: bool) -> pd.Series:
    """Return a column in the type that its values have."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = kind_of(array.type)
    if kind == "duration":
        return pd.Series(forms.seconds(array))
    if pa.types.is_decimal(array.type):
        return pd.Series(forms.floats(array))
    if kind != "text":
        return array.to_pandas()
    raw = forms.without(array, na if typed else na | frozenset(MISSING))
    if text:
        return raw.to_pandas()
    seen = Evidence(name, tuple(na))
    seen.look(array, dialect)
    found = seen.lean(typed)
    form = found if isinstance(found, Form) else Form(name, found, gaps=forms.GAPS | na, marks=seen.marks(dialect))
    if form.type == "boolean" and form.spelling and form.spelling[0].lower() == "false":
        return pc.equal(pc.utf8_lower(raw), "true").to_pandas()
    if form.type in ("category", "boolean") or not seen.held:
        return raw.to_pandas()
    raw = forms.without(array, form.gaps)
    if form.type in ("date", "datetime"):
        return pd.Series(forms.dates(raw, form.format).to_pandas())
    if form.type == "duration":
        return pd.Series(forms.lengths(raw))
    values = forms.floats(forms.parsed(raw, form.marks or dialect.marks))
    if not raw.null_count and seen.integers:
        exact = pc.utf8_ltrim(raw, "+")
        try:
            return exact.cast(pa.int64()).to_pandas()
        except pa.ArrowInvalid:
            return pd.Series(values.astype(np.int64)) if np.abs(values).max() < forms.EXACT else raw.to_pandas()
    return pd.Series(values)
