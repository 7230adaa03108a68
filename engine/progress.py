"""What a person sees of a run: every branch, its generations, its stage, and the time left."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collapse.lineage.layout import Files
from collapse.lineage.nodes import all_nodes
from collapse.study.parse import Study
from collapse.verdict import SHOWN

if TYPE_CHECKING:
    from collapse_lab.engine.repro import Unit

COLOURS = {"healthy": "green", "early": "yellow", "late": "red", "distorted": "magenta", "halted": "bright_black"}
MARK = "━"


class Progress:
    """A live table on a terminal; a line per node elsewhere."""

    def __init__(self, studies: dict[str, Study], workers: int):
        self.workers = workers
        self.console = Console(stderr=True, highlight=False)
        self.nodes = all_nodes(studies)
        self.studies = studies
        self.stages: dict[str, str | None] = {}
        self.active: dict[str, str] = {}
        self.wanted: set[str] = set()
        self.done = 0
        self.count = 0
        self.begin = time.monotonic()
        self.live: Live | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live is not None:
            self.live.update(self._draw(), refresh=True)
            self.live.stop()

    def total(self, keys: Iterable[str]) -> None:
        """Begin to draw: ``keys`` are the units that may run."""
        keys = list(keys)
        self.wanted = set(keys)
        self.count = len(keys)
        self.begin = time.monotonic()
        if self.console.is_terminal:
            self.live = Live(self._draw(), console=self.console, refresh_per_second=4)
            self.live.start()

    def say(self, text: str) -> None:
        """Print one line above the table."""
        self.console.print(Text(text))

    def started(self, key: str, kind: str) -> None:
        """Note that a unit runs."""
        self.active[f"{kind}@{key}"] = key
        self.tick()

    def finished(self, key: str, kind: str, stage: str | None) -> None:
        """Note that a unit is whole; ``stage`` is its node's."""
        self.active.pop(f"{kind}@{key}", None)
        self.done += 1
        if stage is not None:
            self.stages[key] = stage
        if self.live is None and self.count:
            self.say(f"[{self.done}/{self.count}] {key}  {SHOWN[stage] if stage else kind}  {self._left()}")
        self.tick()

    def failed(self, name: str, error: str) -> None:
        """Print why a unit failed."""
        self.console.print(Text(f"{name} failed: {error}", style="red"))

    def tick(self) -> None:
        """Draw again."""
        if self.live is not None:
            self.live.update(self._draw())

    def _left(self) -> str:
        elapsed = time.monotonic() - self.begin
        if not self.done or self.done >= self.count:
            return f"{_clock(elapsed)} gone"
        return f"{_clock(elapsed)} gone, about {_clock(elapsed / self.done * (self.count - self.done))} left"

    def _draw(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for study in self.studies.values():
            for branch in study.branches.values():
                names = [study.node(branch.name, g) for g in range(branch.first, branch.last + 1)]
                if not self.wanted.intersection(names):
                    continue
                bar = Text()
                last = None
                for name in names:
                    stage = self.stages.get(name)
                    last = stage or last
                    running = name in self.active.values()
                    style = COLOURS.get(stage or "", "white" if name in self.stages else "bright_black")
                    bar.append("╸" if running else MARK, style="bold cyan" if running else style)
                whole = sum(name in self.stages for name in names)
                table.add_row(Text(f"{study.name} {branch.name}"), bar, Text(f"{whole}/{len(names)}"),
                              Text(SHOWN.get(last or "", ""), style=COLOURS.get(last or "", "")))
        active = ", ".join(sorted(set(self.active.values())))
        return Group(table, Text(f"{self.done}/{self.count} · {self._left()}" + (f" · {active}" if active else ""),
                                 style="dim"))

    def summary(self, units: Mapping[str, Unit]) -> None:
        """Print what a run came to: what failed, what halted, and how to go on."""
        failed = [unit for unit in units.values() if unit.state == "failed"]
        skipped = sum(unit.state == "skipped" for unit in units.values())
        for unit in failed:
            self.failed(unit.name, unit.error)
        text = f"{self.done} done in {_clock(time.monotonic() - self.begin)}"
        if failed:
            text += f", {len(failed)} failed, {skipped} not reached; run it again to go on from here"
        self.say(text)
        for study in self.studies.values():
            for branch in study.branches.values():
                self._halted(study, branch.name)

    def _halted(self, study: Study, branch: str) -> None:
        """Print which gate of which node ended a branch, if one did."""
        item = study.branches[branch]
        record = Files(study.node(branch, item.last), study.name).record("verdict.json")
        if record.exists():
            verdict = json.loads(record.read_text(encoding="utf-8"))
            if verdict["outcome"] == "halt":
                self.console.print(Text(f"{study.name} {branch}: halted by {', '.join(verdict['gates'])} at "
                                        f"{verdict['node']}", style="yellow"))


def _clock(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
