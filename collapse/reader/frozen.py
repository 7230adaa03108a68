"""A reference's way of being read, frozen: a dialect and a form for each column, for every snapshot after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from collapse.errors import InputError, nearest
from collapse.reader import layouts, pieces
from collapse.reader.dialect import Dialect, Options, sniff
from collapse.reader.evidence import INDEX, Evidence, checked
from collapse.reader.forms import Form
from collapse.reader.layouts import Snapshot
from collapse.reader.pieces import listed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reader:
    """How data sets like a reference are read.

    Attributes
    ----------
    dialect
        Of CSV files; None where the reference has none: then each file's is found out.
    forms
        By column that is read.
    left_out
        Columns that are not, and why.
    told
        One line for each thing that was found out and that a user should know.
    """

    dialect: Dialect | None
    forms: dict[str, Form]
    left_out: dict[str, str]
    told: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    drop: tuple[str, ...] = ()

    @staticmethod
    def of(data: Snapshot, options: Options | None = None, categories: Sequence[str] = (),
           drop: Sequence[str] = ()) -> Reader:
        """Return the reader that a reference asks for; ``categories`` are so, whatever they hold.

        Raises
        ------
        InputError
            If a file is not readable, or a column that an option names is not there.
        """
        options = options or Options()
        first = next((path for path in data.files if layouts.form(path) == "csv"), None)
        dialect = sniff(first, options) if first else None
        names = pieces.header(data, data.files[0], dialect, options)
        for path in data.files[1:]:
            other = pieces.header(data, path, dialect, options)
            if set(other) != set(names):
                parts = [f"{verb} {listed(which)}" for verb, which in (
                    ("lacks", [n for n in names if n not in other]), ("has", [n for n in other if n not in names]))
                    if which]
                raise InputError(f"{path}: {' and '.join(parts)}, unlike {data.files[0]}; give files of the "
                                 f"same columns")
        for option, wanted in (("groups", categories), ("drop", drop)):
            for name in wanted:
                if name not in names:
                    raise InputError(f"{option}: {data.name} has no column '{name}'{nearest(name, map(str, names))}")
        checked(dict(options.types), names, data.name)
        kept = [name for name in names if name not in drop]
        seen = {name: Evidence(name, options.na) for name in kept}
        for table in pieces.pieces(data, kept, dialect, options):
            for name in kept:
                seen[name].look(table[name], dialect or Dialect())
        forms, left_out = {}, {}
        keys = data.keys.get(data.files[0], {})
        typed = first is None
        for name in kept:
            found = seen[name].conclude(options.types.get(name, ""), name in categories, typed and name not in keys,
                                        dialect)
            if isinstance(found, str):
                left_out[name] = found
            else:
                forms[name] = found
        told = [*_told(first, dialect, forms)] if first and dialect else []
        told += [f"{name}: read as text, for '{seen[name].stray[:40]}' stands among its numbers"
                 for name, form in forms.items() if form.type == "category" and seen[name].mixed]
        return Reader(dialect, forms, left_out, tuple(told), options, tuple(drop))

    def admit(self, data: Snapshot) -> None:
        """Refuse a snapshot that has other columns, by what its files say of themselves.

        Raises
        ------
        InputError
            Naming every column that is absent or new.
        """
        known = {*self.forms, *self.left_out, *self.drop}
        for path in data.files:
            names = pieces.header(data, path, self.dialect, self.options)
            lost = [name for name in self.forms if name not in names]
            more = [name for name in names if name not in known and not INDEX.fullmatch(name)]
            if not lost and not more:
                continue
            self._dialect(path, names)
            parts = ([f"lacks {listed(lost)}"] if lost else []) + ([f"has {listed(more)} beside"] if more else [])
            raise InputError(f"{path}: {' and '.join(parts)}, unlike the reference; give the same columns, or "
                             f"drop {' and '.join(lost + more)}")

    def _dialect(self, path: Path, names: list[str]) -> None:
        """Refuse a CSV file whose fields are parted by something else than the reference's."""
        if layouts.form(path) != "csv" or self.dialect is None or len(names) > 1:
            return
        other = sniff(path, Options(encoding=self.options.encoding)).separator
        if other != self.dialect.separator:
            raise InputError(f"{path}: its fields are parted by {other!r}, the reference's by "
                             f"{self.dialect.separator!r}; write both alike")

    def frames(self, data: Snapshot, names: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the rows in pieces: numbers as float64 (NaN: missing), categories as texts.

        Raises
        ------
        InputError
            If a file is not readable, or a column is of another type.
        """
        import pandas as pd

        names = list(self.forms) if names is None else list(names)
        dialect = self.dialect or next((sniff(path, self.options) for path in data.files
                                        if layouts.form(path) == "csv"), Dialect())
        numbers = frozenset(name for name in names if self.forms[name].type in ("number", "integer")
                            and (self.forms[name].marks or dialect.marks)[0] == dialect.decimal)
        for table in pieces.pieces(data, names, self.dialect, self.options, numbers):
            yield pd.DataFrame({name: self.forms[name].read(table[name], dialect, data.name) for name in names},
                               copy=False)


def _told(path: Path, dialect: Dialect, forms: dict[str, Form]) -> Iterator[str]:
    """Yield what was found out of a file that is no plain CSV, in a line; another for each unusual format of dates."""
    parts = [dialect.told] if dialect.told else []
    for place, what, plain in ((0, "decimals", "."), (1, "thousands", "")):
        found: dict[str, list[str]] = {}
        for name, form in forms.items():
            if form.marks and form.marks[place] != plain:
                found.setdefault(form.marks[place], []).append(name)
        parts += [f"{what} by {mark!r} in {listed(names, 3)}" for mark, names in found.items()]
    if parts:
        yield f"{path}: {', '.join(parts)}"
    for name, form in forms.items():
        if form.format:
            yield f"{name}: dates written {form.format}"
