"""Sentences on stages: a branch reaches or avoids one, warns of the late one, or is mostly at one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from collapse.claims.records import SIGNS, Records
from collapse.claims.statements.base import Finding, Statement, rounded, unless_cut
from collapse.verdict import within

#: The stages at or beyond each one: a branch that is late has been early. Distortion and drift are ways of their own.
BEYOND = {"early": ("early", "late"), "late": ("late",), "distorted": ("distorted",), "drifted": ("drifted",)}


@dataclass(frozen=True)
class Reaches(Statement):
    """A branch reaches (or avoids) a stage, or one beyond it, by a generation."""

    branch: str
    stage: str
    by: int
    avoids: bool = False

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the stages of the nodes."""
        cells = {g: c for g, c in records.cells_of(self.branch).items() if g <= self.by}
        hits = [g for g, cell in cells.items() if cell["node"] in BEYOND[self.stage]]
        if hits:
            cell = cells[hits[0]]
            alone = _share([s in BEYOND[self.stage] for s in cell["replicates"]])
            text = (f"{self.branch} is {within(cell['node'])} first at generation {hits[0]}, as are {alone} replicates "
                    f"judged alone; it is so at {len(hits)} of {len(cells)} generations.")
            return Finding("fails" if self.avoids else "holds", text, hits[0])
        if not cells:
            return Finding("undecided", f"{self.branch} has no judged generation up to {self.by}.")
        text = f"{self.branch} is not {within(self.stage)} at any of {len(cells)} generations up to {max(cells)}."
        if unseen := records.unseen(self.branch, self.stage):
            return Finding("blind", f"{text[:-1]}, and {unseen}.", max(cells))
        verdict, text = unless_cut(np.array(list(cells)), self.by, "holds" if self.avoids else "fails", text)
        return Finding(verdict, text, max(cells))


@dataclass(frozen=True)
class Warns(Statement):
    """A branch is early at a generation before the first at which it is late."""

    branch: str

    def judge(self, records: Records) -> Finding:
        """Return holds if early comes first; undecided if late never comes."""
        cells = records.cells_of(self.branch)
        first = {stage: next((g for g, c in cells.items() if c["node"] == stage), None) for stage in ("early", "late")}
        early, late = first["early"], first["late"]
        if late is None:
            warned = f" nor {within('early')}" if early is None else f"; {within('early')} from generation {early}"
            return Finding("undecided", f"{self.branch} is never {within('late')}{warned}: there was nothing to warn "
                           f"of.", early)
        if early is not None and early < late:
            ahead = f"{late - early} generation{'s' if late - early > 1 else ''}"
            text = (f"{self.branch} is {within('early')} at generation {early}, {ahead} before it is {within('late')}, "
                    f"at generation {late}.")
            return Finding("holds", text, early)
        return Finding("fails", f"{self.branch} is {within('late')} at generation {late} without having been "
                       f"{within('early')} before.", late)


@dataclass(frozen=True)
class Share(Statement):
    """At least a share of a branch's cells (replicate × generation) are at one stage."""

    branch: str
    stage: str
    percent: float

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the counted cells."""
        hits = [s == self.stage for cell in records.cells_of(self.branch).values() for s in cell["replicates"]]
        if not hits:
            return Finding("undecided", f"{self.branch} has no judged cell.")
        share = 100 * sum(hits) / len(hits)
        text = (f"{_share(hits)} cells of {self.branch} ({share:.1f} %), replicates of a generation each judged alone, "
                f"are {within(self.stage)}; the claim asks for {self.percent:g} %.")
        last, cell = max(records.cells_of(self.branch).items())
        if len(cell["replicates"]) > 1 and share >= self.percent and cell["node"] != self.stage:
            text += (f" All together, by which smaller losses show, they are {within(cell['node'])} at generation "
                     f"{last}.")
        asked = tuple(SIGNS) if self.stage == "healthy" else (self.stage,)
        none = len(hits) if self.stage == "healthy" else 0  # what is counted where nothing can be seen
        if sum(hits) == none and (unseen := records.unseen(self.branch, *asked)):
            return Finding("blind", f"{text[:-1]}, and {unseen}.", None, rounded(share / 100))
        return Finding("holds" if share >= self.percent else "fails", text, None, rounded(share / 100))


def _share(hits: Sequence[bool]) -> str:
    return f"{sum(hits)} of {len(hits)}"
