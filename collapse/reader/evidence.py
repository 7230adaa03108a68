"""What a reference's values say of a column's form: candidates that every piece narrows, and then one of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from collapse.errors import InputError, nearest
from collapse.reader import forms
from collapse.reader.dialect import Dialect, Marks
from collapse.reader.forms import EXACT, FORMATS, GAPS, MISSING, Form

if TYPE_CHECKING:
    import pyarrow as pa

#: Categories beyond which a column is a name, an identifier or prose.
MOST = 1000
#: Rows whose values must all differ for an identifier, and the share of rows from which a null token is a category.
FIRST, FREQUENT = 60_000, 0.01
#: Rows from which texts that all differ are identifiers.
FEW = 100
#: Names that pandas gives an index which it writes.
INDEX = re.compile(r"|Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
#: Types that a user may name.
TYPES = ("number", "integer", "date", "datetime", "duration", "category", "boolean")
#: What a column is called that holds neither numbers nor text.
STRANGE = {"list": "lists", "large_list": "lists", "fixed_size_list": "lists", "list_view": "lists", "map": "maps",
           "struct": "structures", "binary": "bytes", "large_binary": "bytes", "fixed_size_binary": "bytes"}


class Evidence:
    """What was seen of one column so far."""

    def __init__(self, name: str, na: Sequence[str] = ()) -> None:
        self.name, self.na = name, frozenset(na)
        self.rows = self.held = self.numbers = 0
        self.kinds: set[str] = set()
        self.readings: dict[str, list[Marks]] | None = None
        self.marked = False
        self.alive = {"number", "integer", "duration", *FORMATS}
        self.texts: Counter[str] | None = Counter()
        self.stray = ""
        self.codes = self.big = self.halves = False
        self.midnight = True
        self._first: list[np.ndarray] = []
        self._size = 0

    def look(self, array: pa.Array, dialect: Dialect) -> None:
        """Take a piece of the column in."""
        import pyarrow as pa
        import pyarrow.compute as pc

        array = forms.plain(array)
        self.rows += len(array)
        kind = kind_of(array.type)
        if kind in STRANGE.values():
            self.kinds.add(kind)
            self.held += len(array) - array.null_count
            return
        if kind == "text":
            array = forms.without(array, self.na | {""})
        elif kind == "number" and pa.types.is_floating(array.type):
            array = pc.if_else(pc.is_nan(array), None, array)
        array = array.drop_null()
        if not len(array):
            self.kinds |= {kind} - {"nothing", "text"}
            return
        self.kinds.add(kind)
        self._count(array)
        if kind == "text":
            array = array.filter(pc.invert(pc.is_in(array, pa.array(sorted(GAPS)))))
            self.held += len(array)
            self._narrow(array, dialect)
            return
        self.held += len(array)
        if kind in ("number", "integer"):
            self._sizes(forms.floats(array), kind == "integer")
        elif kind == "datetime":
            stamps = array.cast(pa.timestamp("us"), safe=False)
            self.midnight &= bool(pc.all(pc.equal(stamps, pc.floor_temporal(stamps, unit="day"))).as_py())

    def _count(self, array: pa.Array) -> None:
        """Count the different texts, while they are few."""
        if self.texts is None:
            return
        held = array.dictionary_encode()
        if len(held.dictionary) > 2 * MOST:
            self.texts = None
            return
        texts, code = forms.coded(array)
        self.texts.update(dict(zip(texts, np.bincount(code, minlength=len(texts) + 1)[:-1].tolist(), strict=True)))
        if len(self.texts) > 2 * MOST:
            self.texts = None

    def _narrow(self, array: pa.Array, dialect: Dialect) -> None:
        """Keep the types that all texts of a piece may have."""
        import pyarrow.compute as pc

        if not len(array):
            return
        if "number" in self.alive:
            values = self._parsed(array, dialect)
            if values is None:
                self._stray(array)
                self.alive -= {"number", "integer"}
            else:
                self.numbers += len(array)
                self.alive &= {"number", "integer"}
                whole = bool((np.isfinite(values) & (values == np.rint(values))).all()) and \
                    not pc.any(pc.match_substring(array, self.marks(dialect)[0])).as_py()
                self.codes |= whole and bool(pc.any(pc.match_substring_regex(array, r"^[-+]?0\d+$")).as_py())
                self.alive -= set() if whole else {"integer"}
                self._sizes(values, whole)
                return
        elif not self.alive:
            return
        different = array.dictionary_encode().dictionary
        for form in sorted(self.alive & FORMATS.keys()):
            if not pc.all(pc.match_substring_regex(different, f"^(?:{FORMATS[form]})$")).as_py():
                self.alive.discard(form)
                continue
            try:
                stamps = forms.dates(different, form)
            except ValueError:
                self.alive.discard(form)
                continue
            self.midnight &= bool(pc.all(pc.equal(stamps, pc.floor_temporal(stamps, unit="day"))).as_py())
        if "duration" in self.alive:
            fits = pc.all(pc.match_substring_regex(different, f"^(?:{forms.LENGTH.pattern})$")).as_py()
            try:
                self.alive -= set() if fits and len(forms.lengths(different)) else {"duration"}
            except ValueError:
                self.alive.discard("duration")

    def _parsed(self, array: pa.Array, dialect: Dialect) -> np.ndarray | None:
        """Return texts as numbers, and keep the marks that they may be written with; None where they are none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.readings is None:
            self.readings = dialect.readings
        if not pc.all(pc.match_substring_regex(array, forms.NUMERIC)).as_py():  # a failed cast is slow
            self.readings = {}
            return None
        plain = not pc.any(pc.match_substring_regex(array, r"[^0-9+-]")).as_py()
        self.marked |= not plain
        found = {}
        for decimal, ways in self.readings.items():
            while ways and decimal not in found:
                try:
                    found[decimal] = forms.floats(forms.parsed(array, ways[0]))
                except pa.ArrowInvalid:
                    ways.pop(0)  # those after it read all that it reads
        return found.get(self.marks(dialect)[0])

    def marks(self, dialect: Dialect) -> Marks:
        """Return what parts decimals and thousands: what all numbers may be written with, the dialect's first."""
        alive = {decimal: ways[0] for decimal, ways in (self.readings or {}).items() if ways}
        if not self.marked:
            return dialect.marks
        decimal, thousands = alive.get(dialect.decimal) or next(iter(alive.values()), dialect.marks)
        return decimal, thousands or (dialect.thousands if dialect.thousands != decimal else "")

    def _stray(self, array: pa.Array) -> None:
        """Remember the first text that is no number, and how many are."""
        import pyarrow.compute as pc

        number = pc.match_substring_regex(array, forms.NUMERIC)
        other = array.filter(pc.invert(number))
        self.numbers += len(array) - len(other)
        self.stray = self.stray or (other[0].as_py() if len(other) else "")

    def _sizes(self, values: np.ndarray, whole: bool) -> None:
        if not self.halves and not whole:
            self.halves = bool((values != np.rint(values)).any())
        self.big |= bool(whole and np.abs(values).max(initial=0) > EXACT)
        if self._size < FIRST and not self.halves:
            self._first.append(values[: FIRST - self._size])
            self._size += len(self._first[-1])

    # --------------------------------------------------------------------------------------- conclusion

    @property
    def differ(self) -> bool:
        """Return whether whole numbers all differ, as identifiers do: very many, or nearly as many as there can be."""
        first = np.concatenate(self._first) if self._first else np.empty(0)
        if self.halves or len(first) <= FEW or len(np.unique(first)) < len(first):
            return False
        return len(first) > MOST or bool(np.ptp(first) <= 2 * len(first))

    def conclude(self, said: str = "", category: bool = False, typed: bool = False,
                 dialect: Dialect | None = None) -> Form | str:
        """Return the form, or why the column is left out.

        Parameters
        ----------
        said
            The type that the user names, '' for none.
        category
            Whether it is to be a category.
        typed
            Whether its file says that it is text: numbers in it are names then.
        dialect
            Of text, None where the reference has none.
        """
        marks = self.marks(dialect) if dialect and self.readings else None
        if self.kinds & set(STRANGE.values()):
            return f"it holds {' and '.join(sorted(self.kinds & set(STRANGE.values())))}, neither numbers nor text"
        if not self.held and not self._tokens():
            return "it is missing in all rows"
        found = self._said(said) if said else "category" if category else self.lean(typed)
        if not said and not category and INDEX.fullmatch(self.name) and found in ("integer", "number", "") \
                and not self.halves:
            return "it is an index that pandas wrote"
        if isinstance(found, Form):
            return found
        if found in ("integer", "number") and not said:
            if self.big and not self.halves and self.integers:
                if self.texts is None or len(self.texts) > MOST:
                    return "whole numbers beyond 2^53, which are not exact: identifiers, or give it as text"
                return self._category(typed)
            if self.differ:
                return "all its values differ: an identifier"
            binary = self.texts is not None and self.held and {*self.texts} - GAPS <= {"0", "1"}
            return Form(self.name, found, gaps=GAPS | self.na, marks=marks, spelling=("0", "1") if binary else None)
        if found == "category" and not said and not category and self.texts and \
                len(self.texts) == self.held > FEW:
            return "all its values differ: an identifier"
        if found == "category":
            if self.texts is None or len(self.texts) > MOST:
                return self._many()
            return self._category(typed)
        return Form(self.name, found, gaps=GAPS | self.na, marks=marks)

    @property
    def mixed(self) -> bool:
        """Return whether a text stands among what are numbers otherwise."""
        return bool(self.stray) and 10 * self.numbers >= 9 * min(self.held, MOST)

    @property
    def integers(self) -> bool:
        """Return whether numbers were written as whole ones."""
        return "integer" in self.kinds or ("text" in self.kinds and "integer" in self.alive)

    def lean(self, typed: bool) -> str | Form:
        """Return the type that the values have, or the form where it takes more than a type."""
        kinds = self.kinds
        if kinds == {"boolean"}:
            return self._boolean() or "category"
        if "text" not in kinds:
            if kinds <= {"integer", "number"}:
                whole = kinds == {"integer"} or (not self.halves and self.held < self.rows)
                return "integer" if whole else "number"
            if kinds <= {"date", "datetime"}:
                return "date" if self.midnight else "datetime"
            return "duration" if kinds == {"duration"} else "category"
        boolean = self._boolean()
        if boolean is not None:
            return boolean
        if not self.held or kinds - {"text", "integer", "number", "nothing"}:
            return "category"
        if "number" in self.alive and not self.codes and (
                not typed or self.texts is None or kinds & {"integer", "number"}):
            whole = "integer" in self.alive and "number" not in kinds
            return "integer" if whole or (self.held < self.rows and not self.halves) else "number"
        days = sorted(self.alive & FORMATS.keys(), key=len)
        if len(days) == 1:
            return Form(self.name, "date" if self.midnight else "datetime", days[0], GAPS | self.na)
        return "duration" if "duration" in self.alive else "category"

    def _said(self, said: str) -> str | Form:
        if said == "boolean":
            return self._boolean() or Form(self.name, "boolean", spelling=("False", "True"))
        if said in ("date", "datetime"):
            days = sorted(self.alive & FORMATS.keys(), key=len)
            return Form(self.name, said, days[0] if days else "", GAPS | self.na)
        if "%" in said:
            return Form(self.name, "datetime" if re.search(r"%[HIMSfpXcT]", said) else "date", said, GAPS | self.na)
        return said

    def _boolean(self) -> Form | None:
        """Return the form of a column of one spelling of true and false, whatever its capitals."""
        held = {text: n for text, n in (self.texts or {}).items() if text not in GAPS}
        low = {text.lower() for text in held}
        family = next(((no, yes) for yes, no in forms.TRUE.items() if low and low <= {yes, no}), None)
        if family is None:
            return None
        shown = []
        for word in family:
            same = [text for text in held if text.lower() == word]
            like = next(iter(held))
            cased = word.upper() if like.isupper() and len(like) > 1 else \
                word.capitalize() if like[0].isupper() else word
            shown.append(max(same, key=lambda text: held[text]) if same else cased)
        return Form(self.name, "boolean", gaps=frozenset(MISSING) | self.na, spelling=(shown[0], shown[1]))

    def _tokens(self) -> dict[str, int]:
        return {text: n for text, n in (self.texts or {}).items() if text in GAPS}

    def _category(self, typed: bool) -> Form:
        texts = self.texts or Counter()
        # a file of types says itself what is missing; in text, a word that is frequent is a word
        kept = {text for text in MISSING if text in texts and (typed or texts[text] >= FREQUENT * self.rows)}
        whole = not any(forms.HALVES.fullmatch(text) for text in texts)
        full = sum(texts.values()) == self.rows
        null = next(iter(kept)) if len(kept) == 1 and full and not typed else ""
        return Form(self.name, "category", gaps=(frozenset(MISSING) - kept) | self.na, whole=whole, null=null)

    def _many(self) -> str:
        if self.stray and self.numbers:
            return (f"it holds '{self.stray[:40]}' among numbers; give --na '{self.stray[:40]}', or "
                    f"--types {self.name}=category")
        days = self.alive & FORMATS.keys()
        if len(days) > 1:
            one = sorted(days)[0]
            return f"its days and months cannot be told apart; give its format, such as --types '{self.name}={one}'"
        return f"it has more than {MOST} categories: names, identifiers or prose"


def kind_of(kind: pa.DataType) -> str:
    """Return what values of an Arrow type are, in one word."""
    import pyarrow as pa

    t = pa.types
    if t.is_null(kind):
        return "nothing"
    if t.is_boolean(kind):
        return "boolean"
    if t.is_string(kind):
        return "text"
    if t.is_integer(kind) or (t.is_decimal(kind) and kind.scale <= 0):
        return "integer"
    if t.is_floating(kind) or t.is_decimal(kind):
        return "number"
    if t.is_date(kind) or t.is_timestamp(kind):
        return "date" if t.is_date(kind) else "datetime"
    if t.is_duration(kind) or t.is_time(kind):
        return "duration"
    return STRANGE.get(re.split(r"[<\[]", str(kind))[0], "structures")


def checked(types: dict[str, str], names: list[str], where: str) -> None:
    """Refuse types of columns that are not there, and types that there are not.

    Raises
    ------
    InputError
        Naming the nearest.
    """
    for name, said in types.items():
        if name not in names:
            raise InputError(f"--types: {where} has no column '{name}'{nearest(name, names)}")
        if said not in TYPES and "%" not in said:
            raise InputError(f"--types: '{said}' is no type{nearest(said, TYPES)}, or a date's format such as %d.%m.%Y")
