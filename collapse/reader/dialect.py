"""How a CSV file is written: what parts its fields, its encoding, its decimals. Inferred once, from the reference."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from collapse.errors import InputError
from collapse.reader import layouts

#: What may part fields, and bytes that a dialect is inferred from.
SEPARATORS, HEAD = (",", ";", "\t", "|"), 1 << 20
#: Byte order marks, the longer ones first.
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
         codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
#: What parts decimals, and what thousands ('': nothing).
Marks = tuple[str, str]
#: What stands between thousands, beside the point or the comma.
BLANKS = " \u00a0\u202f'’"
#: Numbers whose decimals are parted by a comma, by a point; and with thousands of each kind.
COMMA, POINT = re.compile(r"[-+]?\d*,\d+"), re.compile(r"[-+]?\d*\.\d+")
GROUPED = {mark: re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+(?:[{rest}]\d*)?")
           for mark, rest in ((",", "."), (".", ","), *((blank, ".,") for blank in BLANKS))}
NUMERIC = re.compile(rf"\s*[-+]?[\d.,{BLANKS}]*\d\s*")


@dataclass(frozen=True)
class Options:
    """What a user says of how tables are written; '' : it is found out.

    Attributes
    ----------
    types
        Column to type: number, integer, date, datetime, duration, category, boolean, or a date's format (``%d/%m/%Y``).
    """

    separator: str = ""
    encoding: str = ""
    decimal: str = ""
    na: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises
        ------
        InputError
            If the decimal mark is the separator, or one of them is no single character, or an encoding is unknown.
        """
        if self.separator == "\\t":
            object.__setattr__(self, "separator", "\t")
        for name in ("separator", "decimal"):
            if len(getattr(self, name)) > 1:
                raise InputError(f"--{name}: '{getattr(self, name)}' is more than one character; give one")
        if self.separator in ('"', "\n", "\r"):
            raise InputError(f"--separator: {self.separator!r} cannot part fields; give one of , ; | or \\t")
        if self.decimal and self.decimal not in ".,":
            raise InputError(f"--decimal: '{self.decimal}' parts no decimals; give . or ,")
        if self.decimal and self.decimal == self.separator:
            raise InputError(f"--decimal: '{self.decimal}' is the separator too; give another --separator, such as ';'")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise InputError(f"--encoding: '{self.encoding}' is unknown; give utf-8, utf-16, latin-1 or cp1252") \
                from None


@dataclass(frozen=True)
class Dialect:
    """How CSV files are written.

    Attributes
    ----------
    decimal, thousands
        What parts them in most columns ('': nothing does). A column that tells is read by its own.
    fixed
        Whether a user named the decimal mark.
    skip
        Lines before the header (Excel's ``sep=;``).
    """

    separator: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    skip: int = 0
    fixed: bool = False

    @property
    def told(self) -> str:
        """Return what differs from plain CSV, in words; '' if nothing does."""
        shown = {"\t": "tabs"}
        parts = [f"fields parted by {shown.get(self.separator, repr(self.separator))}"] * (self.separator != ",")
        return ", ".join(parts + [f"encoded in {self.encoding}"] * (self.encoding != "utf-8"))

    @property
    def marks(self) -> Marks:
        """Return what parts decimals and thousands."""
        return self.decimal, self.thousands

    @property
    def readings(self) -> dict[str, list[Marks]]:
        """Return by decimal mark the ways in which a column's numbers may be meant, the plain one first."""
        found = {mark: [(mark, "")] + [(mark, other) for other in (".," + BLANKS) if other != mark] for mark in ".,"}
        return {self.decimal: found[self.decimal]} if self.fixed else found

    def of(self, path: Path, options: Options) -> Dialect:
        """Return the dialect for one more file: its byte order mark and the ending ``.tsv`` say what they say."""
        head = peek(path)
        mark = next((encoding for start, encoding in MARKS.items() if head.startswith(start)), None)
        separator = "\t" if layouts.ending(path) == ".tsv" and not options.separator else self.separator
        if self.separator == "\t" and layouts.ending(path) == ".csv" and not options.separator:
            separator = sniff(path, options).separator  # a reference in .tsv says nothing of .csv
        encoding = mark or self.encoding
        if not mark and encoding in MARKS.values() and encoding != "utf-8" and not options.encoding:
            encoding = _encoding(head, "")  # the reference's mark spoke for its own file
        skip = _skipped(head.decode(encoding, "replace"))[0]
        return replace(self, encoding=encoding, separator=separator, skip=skip)


def sniff(path: Path, options: Options | None = None) -> Dialect:
    """Return the dialect of a CSV file, from its first megabyte and what ``options`` say.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    options = options or Options()
    head = peek(path)
    encoding = _encoding(head, options.encoding)
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    if len(head) == HEAD:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    skip, said = _skipped(text)
    text = text.split("\n", 1)[-1] if skip else text
    separator = options.separator or said or ("\t" if layouts.ending(path) == ".tsv" else _separator(text))
    decimal, thousands = _marks(text, separator)
    if options.decimal:
        thousands = thousands if thousands != options.decimal and decimal == options.decimal else ""
        decimal = options.decimal
    return Dialect(separator, encoding, decimal, thousands, skip, bool(options.decimal))


def peek(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    try:
        with stream(path) as file:
            return file.read(HEAD)
    except (OSError, ValueError) as error:
        raise unreadable(path, "CSV", error) from None


def stream(path: Path) -> Any:
    """Return a file's bytes, unpacked, as Arrow reads them."""
    import pyarrow as pa

    return pa.input_stream(str(path), compression=layouts.packed(path))


def lines(path: Path, encoding: str) -> IO[str]:
    """Return a file's text."""
    return io.TextIOWrapper(io.BufferedReader(stream(path)), encoding="utf-8-sig" if encoding == "utf-8" else encoding,
                            newline="")


def unreadable(path: Path, what: str, error: Exception) -> InputError:
    """Return the one line on a file that is not ``what`` its ending says."""
    text = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
    return InputError(f"{path}: is not readable {what} ({text[:160].rstrip('.')}); mend the file, or export it again")


def _skipped(text: str) -> tuple[int, str]:
    """Return how many lines stand before the header, and the separator that they name (Excel)."""
    match = re.match(r"\ufeff?sep=(.)\r?\n", text)
    return (1, match[1]) if match else (0, "")


def _encoding(head: bytes, said: str) -> str:
    mark = next((encoding for start, encoding in MARKS.items() if head.startswith(start)), None)
    if mark or said:
        return mark or codecs.lookup(said).name
    if head[:1000].count(b"\0") > len(head[:1000]) / 5:
        return "utf-16-le" if head[1:200:2].count(b"\0") > head[0:200:2].count(b"\0") else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        # bytes that Latin-1 keeps for control characters are letters and quotes in Windows' own
        return "cp1252" if re.search(rb"[\x80-\x9f]", head) else "iso8859-1"
    return "utf-8"


def _rows(text: str, separator: str, most: int = 1000) -> list[list[str]]:
    """Return the first rows of a text; none where it is no CSV."""
    found = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if row:
                found.append(row)
            if len(found) > most:
                break
    except csv.Error:
        return []
    return found


def _separator(text: str) -> str:
    """Return what parts the header into several fields, and all rows into as many."""
    best, separator = (0.0, 0), ","
    for one in SEPARATORS:
        rows = _rows(text, one, 200)
        if not rows or len(rows[0]) < 2:
            continue
        alike = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        if (alike, len(rows[0])) > best:
            best, separator = (alike, len(rows[0])), one
    return separator


def _marks(text: str, separator: str) -> tuple[str, str]:
    """Return the marks of decimals and of thousands that whole columns agree on.

    ``1.234`` alone is a number with three decimals; what has two such groups, or stands beside decimal commas, has
    thousands. ``1,234`` has thousands where commas part the fields, too.
    """
    rows = _rows(text, separator)
    columns: Sequence[Sequence[str]] = list(zip(*[row for row in rows[1:] if len(row) == len(rows[0])], strict=True)) \
        if rows else []
    decimals, thousands, either = [], [], []
    for column in columns:
        held = [value.strip() for value in column if NUMERIC.fullmatch(value)]
        if 2 * len(held) < sum(bool(value.strip()) for value in column):
            continue
        one, other, unsure = _possible(held)
        decimals += [one] * bool(one)
        thousands += [other] * bool(other)
        either += [unsure] * bool(unsure)
    plain = "," if "," in either and separator != "," else "."
    decimal = max(".,", key=decimals.count) if decimals else plain
    thousands += either  # what is not the decimals' is the thousands'
    found = [mark for mark in thousands if mark != decimal]
    return decimal, max(found, key=found.count) if found else ""


def _possible(held: list[str]) -> tuple[str, str, str]:
    """Return the marks that a column of numbers speaks for: of decimals, of thousands, and one that may be either."""
    marked = [value for value in held if not value.lstrip("+-").isdigit()]
    for blank in BLANKS:
        within = [value for value in marked if blank in value]
        if within:
            if not all(GROUPED[blank].fullmatch(value) for value in within):
                return "", "", ""
            return _possible([value.replace(blank, "") for value in marked])[0], blank, ""
    for mark, other in ((",", "."), (".", ",")):
        both = [value for value in marked if mark in value and value.rfind(other) > value.rfind(mark)]
        if both:
            return (other, mark, "") if all(GROUPED[mark].fullmatch(value) for value in both) else ("", "", "")
        several = [value for value in marked if value.count(mark) > 1]
        if several:
            return "", mark if all(GROUPED[mark].fullmatch(value) for value in several) else "", ""
    for mark, pattern in ((",", COMMA), (".", POINT)):
        if marked and all(pattern.fullmatch(value) for value in marked):
            return ("", "", mark) if all(GROUPED[mark].fullmatch(value) for value in marked) else (mark, "", "")
    return "", "", ""
