"""What a study makes: its data, model, branches, gates and measurements, strict and frozen.

A study file is parsed once, in :mod:`collapse.study.reading`. Everything that shapes bytes takes these objects and no
others; what a study *asks* of what was made, its claims and definitions, is parsed in :mod:`collapse.study.parse`,
which nothing that makes a node imports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from collapse.models.base import Model
from collapse.regimes.base import Regime
from collapse.sources.base import Source
from collapse.spec import Spec
from collapse.study.predicate import Predicate
from collapse.study.sweep import Sweep

Action = Literal["record", "halt", "quarantine"]


def budget(key: str, written: Collection[str]) -> str:
    """Return ``key``, or what stands in its place: rows are written as ``tokens`` where that is the budget."""
    return "tokens" if key == "rows" and "tokens" in written else key


class Gate(Spec):
    """A threshold that the median over replicates of a metric must keep; ``control`` is the calibrated band."""

    kind = "gate"
    metric: str
    min: float | Literal["control"] | None = None
    max: float | Literal["control"] | None = None
    action: Action = "record"


class Tail(Spec):
    """A region whose mass matters, with its weight in ``tail_ratio``."""

    kind = "tail"
    where: str
    weight: float = 1.0

    @cached_property
    def condition(self) -> Predicate:
        """Return the parsed condition."""
        return Predicate.parse(self.where)


@dataclass(frozen=True)
class Branch:
    """One branch of a study: a regime from generation ``first`` to ``last``, with what it overrides."""

    name: str
    regime: Regime
    from_: str | None
    at: int
    last: int
    model: Model
    rows: int
    seed: int
    gates: tuple[Gate, ...]
    #: The keys that the study file gives for this branch, by itself or by a sweep.
    keys: frozenset[str]
    #: Of a branch that a sweep made: the template, the keys that it gives, and the name of the shared calibration.
    template: str = ""
    given: frozenset[str] = frozenset()
    shared: str = ""

    def written(self, key: str) -> str | None:
        """Return where the study file has ``key`` of this branch; None: nowhere, or it is part of the name."""
        key = budget(key, self.keys)
        if self.template:
            return f"branches.{self.template}.{key}" if key in self.given else None
        return f"branches.{self.name}.{key}" if key in self.keys else None

    @property
    def floor(self) -> str:
        """Return the name of a calibration of its own; branches of a sweep that differ in nothing else share one."""
        return self.shared or self.name

    @property
    def own_floor(self) -> bool:
        """Return whether the study's calibration does not speak for this branch."""
        return bool(self.keys & {"model", "rows"})

    @property
    def first(self) -> int:
        """Return the branch's first generation."""
        return self.at + 1


@dataclass(frozen=True)
class Experiment:
    """What a study makes."""

    name: str
    path: Path
    title: str
    seed: int
    source: Source
    model: Model
    rows: int
    generations: int
    replicates: int
    branches: dict[str, Branch]
    gates: tuple[Gate, ...]
    tails: tuple[Tail, ...]
    #: Groupings by the columns that they cross.
    groups: tuple[tuple[str, ...], ...]
    calibration: int
    #: The metrics that are measured, by file; None: all that apply.
    metrics: tuple[str, ...] | None
    #: Replicates whose samples are measured; what the fits say of themselves is recorded for all.
    measured: int
    #: Nodes whose samples are left out of training, and why.
    withdrawn: Mapping[str, str]
    #: Share of what control keeps below which a loss of spread or modes is material; None: as usual.
    late: float | None
    keys: frozenset[str]
    #: What templates became, by their names.
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)

    @property
    def real(self) -> str:
        """Return the name of generation 0."""
        return f"{self.name}-real"

    def node(self, branch: str, generation: int) -> str:
        """Return the node of ``generation`` on ``branch``; before a fork, the node it stems from."""
        if generation == 0:
            return self.real
        item = self.branches[branch]
        if generation <= item.at and item.from_ is not None:
            return self.node(item.from_, generation)
        width = max(2, len(str(max(b.last for b in self.branches.values()))))
        return f"{self.name}-{branch}-{generation:0{width}d}"

    def floor(self, branch: str | None) -> str:
        """Return the name of the calibration that judges ``branch``."""
        own = None if branch is None else self.branches[branch]
        return f"calibration-{own.floor}" if own is not None and own.own_floor else "calibration"
