"""Sentences that are judged elsewhere: by a law, or by what knows the study's factors and ladder."""

from __future__ import annotations

from dataclasses import dataclass

from collapse.claims.records import Records
from collapse.claims.statements.base import Finding, Statement

#: The sentences on a design, and the key of the study file that each needs.
DESIGNS = {"sources compound": "factors", "capacity cuts both ways": "ladder"}


@dataclass(frozen=True)
class Law(Statement):
    """A branch follows a closed form of :mod:`collapse.laws`, judged on that law's own pivot."""

    law: str
    branch: str
    feature: str = ""

    def judge(self, records: Records) -> Finding:
        """Return the verdict of the law's own judge, and what more it says."""
        if self.law not in records.laws:
            return Finding("undecided", f"the law {self.law} was not judged.")
        verdict, evidence, *more = records.laws[self.law](records, self.branch, self.feature)
        return Finding(verdict, evidence, law=more[0] if more else None)


@dataclass(frozen=True)
class Design(Statement):
    """A sentence on the study's factorial or ladder (:func:`collapse.claims.attribution.judges`)."""

    text: str

    def judge(self, records: Records) -> Finding:
        """Return the verdict of the design's own judge."""
        if self.text not in records.laws:
            return Finding("undecided", "the study's design was not judged.")
        try:
            return records.laws[self.text](records)  # type: ignore[return-value]
        except KeyError as error:
            return Finding("undecided", f"there is no record of {error.args[0]}.")
