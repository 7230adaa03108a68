"""One question asked of every cell of a grid: which settings does an answer hold for, and which not.

A published figure without its settings can be read in several ways and looked for in many places. A grid states each
reading once, as a sentence with names in braces, and judges it in all cells: nothing is picked afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from collapse.claims.grammar import parse_claims
from collapse.claims.judge import Claim
from collapse.claims.records import Records
from collapse.claims.statements.base import Finding
from collapse.errors import InputError, nearest

if TYPE_CHECKING:
    from collapse.claims.records import Span

EXAMPLE = "{over: {latent: [2, 8]}, readings: {as published: 'keep-{latent}.tstr_accuracy > 0.875'}}"


@dataclass(frozen=True)
class Grid:
    """Cells, the product of what ``over`` lists, and readings: by name, one parsed claim for every cell."""

    over: Mapping[str, tuple[str, ...]]
    readings: Mapping[str, tuple[Claim, ...]]
    source: str

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """Return the settings of every cell, in the order in which claims stand."""
        return list(product(*self.over.values()))

    @staticmethod
    def parse(raw: Any, where: str, branches: Mapping[str, Span], metrics: Collection[str]) -> Grid:
        """Return the grid that a study file describes.

        Raises
        ------
        InputError
            If a cell's sentence is no claim, names no setting, or names one that ``over`` lacks.
        """
        keys = ("over", "readings", "source")
        if not isinstance(raw, dict):
            raise InputError(f"{where} must be a mapping, such as {EXAMPLE}")
        for key in raw:
            if key not in keys:
                raise InputError(f"{where}.{key} is not a key{nearest(key, keys)}")
        over, readings, source = raw.get("over"), raw.get("readings"), raw.get("source", "")
        if not isinstance(over, dict) or not over or not all(isinstance(v, list) and v for v in over.values()):
            raise InputError(f"{where}.over must map settings to lists, such as {{latent: [2, 8]}}")
        if not isinstance(readings, dict) or not readings or not all(isinstance(v, str) for v in readings.values()):
            raise InputError(f"{where}.readings must map names to sentences, such as {EXAMPLE}")
        if not isinstance(source, str):
            raise InputError(f"{where}.source must be text")
        settings = {str(name): tuple(str(value) for value in values) for name, values in over.items()}
        found = {}
        for name, sentence in readings.items():
            for used in re.findall(r"\{(.*?)\}", sentence):
                if used not in settings:
                    raise InputError(f"{where}.readings.{name}: '{used}' is not a setting of over"
                                     f"{nearest(used, settings)}")
            texts = [_filled(sentence, dict(zip(settings, cell, strict=True))) for cell in product(*settings.values())]
            if len(set(texts)) < len(texts):
                raise InputError(f"{where}.readings.{name} says the same in two cells; name all of over in it")
            found[str(name)] = tuple(parse_claims([text], f"{where}.readings.{name}", branches, metrics)[0]
                                     for text in texts)
        return Grid(settings, found, source)

    def judge(self, records: Records) -> JudgedGrid:
        """Return what every reading comes to in every cell."""
        return JudgedGrid(tuple(self.over), tuple(self.cells), self.source, {
            name: tuple(claim.statement.judge(records) for claim in claims) for name, claims in self.readings.items()})


@dataclass(frozen=True)
class JudgedGrid:
    """A grid with its findings: by reading, one for every cell."""

    settings: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    source: str
    readings: Mapping[str, tuple[Finding, ...]]

    def held(self, reading: str) -> int:
        """Return in how many cells a reading holds."""
        return sum(found.verdict == "holds" for found in self.readings[reading])

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"source": self.source, "readings": {
            name: [{"cell": dict(zip(self.settings, cell, strict=True)), "verdict": found.verdict,
                    "evidence": found.evidence, "estimate": found.estimate, "low": found.low, "high": found.high}
                   for cell, found in zip(self.cells, findings, strict=True)]
            for name, findings in self.readings.items()}}


def _filled(sentence: str, settings: Mapping[str, str]) -> str:
    """Return the sentence with ``{name}`` replaced; text in a study file is never a format string."""
    for name, value in settings.items():
        sentence = sentence.replace(f"{{{name}}}", value)
    return sentence
