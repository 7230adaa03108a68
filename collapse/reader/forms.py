"""How the values of a column are read: its form, frozen from the reference; texts, types of Arrow, one result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.data import WHOLE
from collapse.errors import InputError
from collapse.reader.dialect import BLANKS, Dialect, Marks

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: What a field of text must read to count as missing. ('None', '?' and the like are plain categories.)
MISSING = ("", "NA", "NaN", "nan", "null")
#: What stands for a missing value among numbers and dates, too.
GAPS = frozenset({*MISSING, "?", "-", "--", ".", "N/A", "n/a", "#N/A", "<NA>", "NaT", "None", "none", "NONE", "NULL",
                  "Null", "N.A.", "n.a.", "na", "NAN", "0000-00-00", "0000-00-00 00:00:00"})
#: What reads as a boolean, in small letters.
TRUE = {"true": "false", "yes": "no", "y": "n", "t": "f", "on": "off"}
BOOLEANS = {**dict.fromkeys((*TRUE, "1", "1.0"), True), **dict.fromkeys((*TRUE.values(), "0", "0.0"), False)}
#: Whole numbers beyond it are not exact as numbers.
EXACT = 2**53
#: Text that is taken for a date or a time, by its format; '' is ISO 8601.
ISO = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?(Z|[+-]\d\d(:?\d\d)?)?"
_N, _YEAR, _SHORT = r"\d{1,2}", r"\d{4}", r"\d\d"
DAYS = {"%d.%m.%Y": rf"{_N}\.{_N}\.{_YEAR}", "%d.%m.%y": rf"{_N}\.{_N}\.{_SHORT}", "%Y.%m.%d": rf"{_YEAR}\.{_N}\.{_N}",
        "%d/%m/%Y": f"{_N}/{_N}/{_YEAR}", "%m/%d/%Y": f"{_N}/{_N}/{_YEAR}", "%Y/%m/%d": f"{_YEAR}/{_N}/{_N}",
        "%d/%m/%y": f"{_N}/{_N}/{_SHORT}", "%m/%d/%y": f"{_N}/{_N}/{_SHORT}", "%d-%m-%Y": f"{_N}-{_N}-{_YEAR}",
        "%m-%d-%Y": f"{_N}-{_N}-{_YEAR}", "%d-%b-%Y": f"{_N}-[A-Za-z]{{3}}-{_YEAR}",
        "%d %b %Y": f"{_N} [A-Za-z]{{3}} {_YEAR}", "%d %B %Y": f"{_N} [A-Za-z]{{4,}} {_YEAR}",
        "%b %d, %Y": f"[A-Za-z]{{3}} {_N}, {_YEAR}"}
_CLOCK = rf"{_N}:\d\d"
TIMES = {"": "", " %H:%M": f" {_CLOCK}", " %H:%M:%S": rf" {_CLOCK}:\d\d", " %H:%M:%S.%f": rf" {_CLOCK}:\d\d\.\d{{1,6}}",
         " %I:%M %p": f" {_CLOCK} [AaPp][Mm]", " %I:%M:%S %p": rf" {_CLOCK}:\d\d [AaPp][Mm]"}
FORMATS = {"": ISO} | {day + time: one + other for day, one in DAYS.items() for time, other in TIMES.items()}
#: Text that is taken for a length of time, or a time of day.
CLOCK = r"[-+]?\d{1,3}:\d\d(:\d\d(\.\d{1,9})?)?"
LENGTH = re.compile(rf"-?\d+ days?(,? {CLOCK})?|{CLOCK}|-?P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")
INTEGER = re.compile(r"[-+]?\d+")
NUMERIC = rf"^[-+−]?([0-9.,{BLANKS}]+([eE][-+]?[0-9]+)?|(?i:inf|infinity))$"
HALVES = re.compile(r"[-+]?\d+\.\d*[1-9]\d*")


@dataclass(frozen=True)
class Form:
    """How the values of one column are read, in the reference as in snapshots.

    Attributes
    ----------
    type
        number, integer, date, datetime, duration (seconds), category or boolean.
    format
        Of dates in text, as ``strptime`` writes it; '' is ISO 8601, which is always read.
    gaps
        Texts that stand for a missing value.
    spelling
        How the reference writes false and true, a column of 0 and 1 too; other spellings are read as these.
    whole
        Whether '1.0' is '1': what a gap makes of whole numbers on their way through pandas.
    marks
        What parts decimals, and thousands, in text; None where the reference does not say, and the file does.
    null
        The category that is a null in files that have them: a text reference's one word for it, '' if there is none.
    """

    name: str
    type: str
    format: str = ""
    gaps: frozenset[str] = frozenset(MISSING)
    spelling: tuple[str, str] | None = None
    whole: bool = True
    marks: Marks | None = None
    null: str = ""

    @property
    def numeric(self) -> bool:
        """Return whether mathematics sees numbers."""
        return self.type not in ("category", "boolean")

    def read(self, array: pa.Array, dialect: Dialect, where: str) -> np.ndarray | pd.Categorical:
        """Return numbers (float64, NaN where missing) or categories as texts.

        Raises
        ------
        InputError
            If a value is of another type.
        """
        array = plain(array)
        if self.numeric:
            return self._numbers(array, dialect, where)
        return self._categories(array)

    # ------------------------------------------------------------------------------------- categories

    def _categories(self, array: pa.Array) -> pd.Categorical:
        import pandas as pd

        texts, code = coded(array)
        found: dict[str, int] = {}
        place = np.full(len(texts) + 1, -1)
        for i, text in enumerate(texts):
            known = self.text(text)
            if known is not None:
                place[i] = found.setdefault(known, len(found))
        if self.null and (code == len(texts)).any():
            place[-1] = found.setdefault(self.null, len(found))
        return pd.Categorical.from_codes(place[code], pd.Index(list(found), dtype=object))

    def text(self, text: str) -> str | None:
        """Return the category that a text of the file means, None where it is missing."""
        text = text.strip()  # some programs fill fields up
        if text in self.gaps:
            return None
        if self.spelling:
            known = BOOLEANS.get(text.lower())
            return text if known is None else self.spelling[known]
        if self.whole and text.endswith(".0") and INTEGER.fullmatch(text[:-2]):
            return text[:-2]
        return text

    # ---------------------------------------------------------------------------------------- numbers

    def _numbers(self, array: pa.Array, dialect: Dialect, where: str) -> np.ndarray:
        import pyarrow as pa

        kind = array.type
        if kind == pa.string():
            values = self._of_texts(array, dialect, where)
        elif pa.types.is_null(kind):
            return np.full(len(array), np.nan)
        elif self.type in ("date", "datetime"):
            if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
                raise self._other(array, where)
            values = self._stamps(array)
        elif self.type == "duration":
            if not (pa.types.is_duration(kind) or pa.types.is_time(kind) or numeric(kind)):
                raise self._other(array, where)
            values = seconds(array)
        elif pa.types.is_boolean(kind) and self.spelling:
            values = floats(array.cast(pa.int8()))
        elif not numeric(kind):
            raise self._other(array, where)
        else:
            values = floats(array)
        if np.isinf(values).any():
            raise InputError(f"{where}: column '{self.name}' has infinite values; mend them, or drop {self.name}")
        if self.type in WHOLE:
            odd = np.flatnonzero(np.nan_to_num(values) % 1 != 0)
            if len(odd):
                raise InputError(f"{where}: column '{self.name}' holds {values[odd[0]]:g}, but whole numbers in the "
                                 f"reference; round it, or drop {self.name}")
        return values

    def _of_texts(self, array: pa.Array, dialect: Dialect, where: str) -> np.ndarray:
        import pyarrow as pa

        array = without(array, self.gaps)
        try:
            if self.type in ("date", "datetime"):
                return self._stamps(dates(array, self.format))
            if self.type == "duration":
                return lengths(array)
            return floats(parsed(array, self.marks or dialect.marks))
        except (pa.ArrowException, ValueError, OverflowError):
            known = {text: BOOLEANS.get(text.lower()) for text in array.unique().drop_null().to_pylist()}
            if self.spelling and None not in known.values():
                return np.array([known.get(text, np.nan) for text in array.to_pylist()], dtype=float)
            raise self._other(array, where, dialect) from None

    def _stamps(self, array: pa.Array) -> np.ndarray:
        import pyarrow as pa

        kind = array.type
        if pa.types.is_timestamp(kind):
            array = array.cast(pa.timestamp("us"), safe=False) if kind.tz is None else \
                array.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.timestamp("us"))
        micro = array.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        whole = micro.astype("datetime64[D]" if self.type == "date" else "datetime64[us]")
        return np.where(np.isnat(micro), np.nan, whole.astype(np.int64).astype(float))

    def _other(self, array: pa.Array, where: str, dialect: Dialect | None = None) -> InputError:
        """Return the refusal of a column that is of another type, with its first strange value."""
        import pyarrow as pa

        shown = ""
        for value in array.drop_null().to_pylist():
            shown = str(value)[:40]
            if dialect is None or array.type != pa.string():
                break
            try:
                self._of_texts(pa.array([value], pa.string()), dialect, "")
            except (InputError, RecursionError):
                break
            if len(array) == 1:
                break
        form = f" ({self.format})" if self.format else ""
        return InputError(f"{where}: column '{self.name}' holds '{shown}', but is {self.type}{form} in the reference; "
                          f"convert it, or drop {self.name}")


# ------------------------------------------------------------------------------------------------ Arrow


def plain(array: Any) -> pa.Array:
    """Return an array as one of the types that forms read: strings as ``string``, no dictionary, no extension."""
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        array = pc.run_end_decode(array)
    kind = array.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return array.cast(pa.string())  # what older writers make of text
        except pa.ArrowInvalid:
            return array
    return array


def numeric(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are numbers."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def floats(array: pa.Array) -> np.ndarray:
    """Return numbers of any type as float64, NaN where missing."""
    import pyarrow as pa

    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())  # cast as they are, they would end in other last digits than the same in CSV
    if array.type != pa.float64():
        array = array.cast(pa.float64(), safe=False)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


def seconds(array: pa.Array) -> np.ndarray:
    """Return lengths of time and times of day in seconds."""
    import pyarrow as pa

    kind = array.type
    if numeric(kind):
        return floats(array)
    size = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
    whole = array.cast(pa.int32()).cast(pa.int64()) if pa.types.is_time32(kind) else array.cast(pa.int64())
    return floats(whole) / size


def coded(array: pa.Array) -> tuple[list[str], np.ndarray]:
    """Return the different values as texts, and the place of each row's (the last beyond them: missing)."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_null(kind):
        return [], np.zeros(len(array), dtype=int)
    held = array.dictionary_encode()
    values = held.dictionary.to_pylist()
    if pa.types.is_floating(kind):
        values = [None if v != v else int(v) if float(v).is_integer() else v for v in values]
    elif pa.types.is_decimal(kind):
        values = [int(v) if v == v.to_integral_value() else v for v in values]
    texts = [str(v) for v in values]
    code = np.asarray(held.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)).astype(int)
    empty = [i for i, v in enumerate(values) if v is None]  # NaN among numbers
    code[np.isin(code, empty)] = len(texts)
    return texts, code


# ------------------------------------------------------------------------------------------------ texts


def trimmed(array: pa.Array) -> pa.Array:
    """Return texts without blanks at their ends."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(array)


def without(array: pa.Array, gaps: frozenset[str]) -> pa.Array:
    """Return texts, trimmed, with nulls for those that mean a missing value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = trimmed(array)
    return pc.if_else(pc.is_in(array, pa.array(sorted(gaps), pa.string())), pa.scalar(None, pa.string()), array)


def parsed(array: pa.Array, marks: Marks = (".", "")) -> pa.Array:
    """Return texts as numbers, by what parts their decimals and their thousands.

    Raises
    ------
    pyarrow.ArrowInvalid
        If one is none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    decimal, thousands = marks
    if pc.any(pc.match_substring(array, "−")).as_py():
        array = pc.replace_substring(array, "−", "-")
    if thousands:
        grouped = rf"^[-+]?[1-9]\d{{0,2}}({re.escape(thousands)}\d{{3}})+({re.escape(decimal)}\d*)?$"
        array = pc.if_else(pc.match_substring_regex(array, grouped), pc.replace_substring(array, thousands, ""), array)
    if decimal != ".":
        if pc.any(pc.match_substring(array, ".")).as_py():
            raise pa.ArrowInvalid("a point among decimal commas")
        array = pc.replace_substring(array, decimal, ".")
    if pc.any(pc.match_substring(array, "+")).as_py():
        array = pc.utf8_ltrim(array, "+")
    return array.cast(pa.float64())


def dates(array: pa.Array, form: str) -> pa.Array:
    """Return texts as time stamps, by their format or else as ISO 8601.

    Raises
    ------
    ValueError
        If one is none.
    """
    import pandas as pd
    import pyarrow as pa

    held = array.dictionary_encode()
    texts = pd.Series(held.dictionary.to_pylist(), dtype=object)
    ours = FORMATS.get(form)
    # a date in ISO 8601 can be taken for nothing else
    own = texts.str.fullmatch(ours) if form and ours else pd.Series(bool(form), index=texts.index) & \
        ~texts.str.fullmatch(ISO).astype(bool)
    stamps = pd.Series(pd.NaT, index=texts.index, dtype="datetime64[us, UTC]")
    for mine, how in ((own.astype(bool), form), (~own.astype(bool), "ISO8601")):
        if mine.any():
            if how == "ISO8601" and not texts[mine].str.fullmatch(ISO).all():
                raise ValueError("no date")
            stamps[mine] = pd.to_datetime(texts[mine], format=how, utc=True).dt.as_unit("us")
    return pa.array(stamps.dt.tz_localize(None)).cast(pa.timestamp("us")).take(held.indices)


def lengths(array: pa.Array) -> np.ndarray:
    """Return lengths of time and times of day in text as seconds.

    Raises
    ------
    ValueError
        If one is none.
    """
    import pandas as pd

    held = array.dictionary_encode()
    texts = [re.sub(r"^([-+]?\d+:\d\d)$", r"\1:00", text) for text in held.dictionary.to_pylist()]
    values = np.append(pd.to_timedelta(pd.Series(texts, dtype=object)).dt.total_seconds().to_numpy(), np.nan)
    return values[held.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]
