"""Conditions on rows, as study files write them: ``label == 8 and size > 2.5``. Parsed, never evaluated."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from collapse.data import NOTHING, Column, Rows, Schema
from collapse.errors import InputError, nearest

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}
_CLAUSE = re.compile(
    r"""\s*(?P<column>[^\s<>=!'"\[\]]+)\s*
        (?P<op>==|!=|<=|>=|<|>|\bin\b)\s*
        (?P<value>\[[^\[\]]*\]|'[^']*'|"[^"]*"|[^\s<>=!'"\[\],]+)\s*""",
    re.VERBOSE,
)
#: In what unit dates and times are numbers.
_UNITS: dict[str, Literal["D", "us"]] = {"date": "D", "datetime": "us"}
_AND = re.compile(r"and\s+")


@dataclass(frozen=True)
class Clause:
    """``column op value``; several values belong to ``in`` and mean any of them."""

    column: str
    op: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.column} {self.op} " + (f"[{', '.join(self.values)}]" if self.op == "in" else self.values[0])

    def operands(self, schema: Schema, where: str) -> list[float]:
        """Return the values as numbers, categories as codes.

        Raises
        ------
        InputError
            If the column, the category or the comparison does not exist.
        """
        if self.column not in schema.names:
            raise InputError(f"{where}: '{self.column}' is not a column{nearest(self.column, schema.names)}")
        column = schema[self.column]
        if column.kind in ("image", "text"):
            article = "an image" if column.kind == "image" else "a text"
            raise InputError(f"{where}: '{self.column}' is {article}; compare a number or a category")
        if column.kind == "category" and self.op not in ("==", "!=", "in"):
            raise InputError(f"{where}: '{self.column}' is a category; compare it with ==, != or in, not {self.op}")
        return [self._operand(column, value, where) for value in self.values]

    def _operand(self, column: Column, value: str, where: str) -> float:
        if column.kind == "category":
            if value in column.categories:
                return column.categories.index(value)
            hint = nearest(value, column.categories)
            raise InputError(f"{where}: '{value}' is not a category of '{column.name}'{hint}")
        if column.missing and value == NOTHING and self.op in ("==", "!="):
            return np.nan
        try:
            if column.type in _UNITS:
                return float(np.datetime64(value, _UNITS[column.type]).astype(np.int64))
            return float(value)
        except ValueError:
            noun = column.type if column.type in _UNITS else "number"
            text = f"{where}: '{value}' is not a {noun}, and '{column.name}' is a column of {noun}s"
            raise InputError(text) from None


@dataclass(frozen=True)
class Predicate:
    """One or more clauses, all of which must hold. ``text`` is its normal form and its name in records."""

    clauses: tuple[Clause, ...]

    @property
    def text(self) -> str:
        """Return the condition as one would write it, single-spaced."""
        return " and ".join(map(str, self.clauses))

    @staticmethod
    def parse(text: str, schema: Schema | None = None, where: str = "where") -> Predicate:
        """Return the condition in ``text``, checked against ``schema`` when there is one.

        ``where`` opens the message of an error: the file and key that the text came from.

        Raises
        ------
        InputError
            If the text is not ``COLUMN OP VALUE [and …]``, or does not fit the schema.
        """
        clauses, position = [], 0
        while True:
            match = _CLAUSE.match(text, position)
            if match is None:
                rest = text[position:].strip() or "the end"
                raise InputError(f"{where}: cannot read '{text}' at '{rest}'; write COLUMN OP VALUE [and …], "
                                 f"where OP is {' '.join(_COMPARE)} or in [a, b]")
            clauses.append(_clause(match, text, where))
            if match.end() == len(text):
                break
            joint = _AND.match(text, match.end())
            if joint is None:
                raise InputError(f"{where}: cannot read '{text}' at '{text[match.end():]}'; join conditions with 'and'")
            position = joint.end()
        condition = Predicate(tuple(clauses))
        if schema is not None:
            condition.check(schema, where)
        return condition

    def check(self, schema: Schema, where: str = "where") -> None:
        """Refuse columns, categories and comparisons that ``schema`` does not have (InputError)."""
        for clause in self.clauses:
            clause.operands(schema, where)

    def mask(self, rows: Rows) -> np.ndarray:
        """Return which rows fulfil the condition, (R, n)."""
        mask = np.ones((rows.replicates, rows.n), dtype=bool)
        for clause in self.clauses:
            operands = clause.operands(rows.schema, self.text)
            values = rows[clause.column]
            if clause.op == "in":
                mask &= np.isin(values, operands)
            elif np.isnan(operands[0]):
                mask &= np.isnan(values) == (clause.op == "==")
            else:
                mask &= _COMPARE[clause.op](values, operands[0])
        return mask


def _clause(match: re.Match[str], text: str, where: str) -> Clause:
    op, value = match["op"], match["value"]
    listed = value.startswith("[")
    if listed != (op == "in"):
        ops = " ".join(_COMPARE)
        raise InputError(f"{where}: cannot read '{text}': a list [a, b] goes with 'in', one value with {ops}")
    values = tuple(item.strip().strip("'\"") for item in value.strip("[]").split(","))
    if not all(values):
        raise InputError(f"{where}: '{text}' compares with nothing; write a number or a name")
    return Clause(match["column"], op, values)
