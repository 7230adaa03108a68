"""What the raw sample must be as a table: the frozen columns, all rows, no gaps but those frozen.

The expectations judge the counts of :mod:`collapse_lab.tasks.expectations.counts`: one row per column of the table.
"""

from __future__ import annotations

import great_expectations.expectations as gxe

from collapse_lab.tasks.expectations.sentences import SAID


class ExpectSchemaToHold(gxe.ExpectColumnSumToBeBetween):
    """The columns of the table are those frozen at generation 0, in order and in type."""

    column: str = "strange"
    max_value: float = 0
    description: str = SAID["ExpectSchemaToHold"]


class ExpectRowsToBeComplete(gxe.ExpectColumnMinToBeBetween):
    """Every column has exactly the rows that the study asks for; an absent column has none."""

    column: str = "rows"
    description: str = SAID["ExpectRowsToBeComplete"]


class ExpectCategoriesToBeKnown(gxe.ExpectColumnSumToBeBetween):
    """No value lies outside the categories, and no token outside the vocabulary, frozen at generation 0."""

    column: str = "unknown"
    max_value: float = 0
    description: str = SAID["ExpectCategoriesToBeKnown"]


class ExpectValuesToBeUsable(gxe.ExpectColumnSumToBeBetween):
    """No value is NaN or infinite, and none is null but in a column that may lack values."""

    column: str = "unusable"
    max_value: float = 0
    description: str = SAID["ExpectValuesToBeUsable"]
