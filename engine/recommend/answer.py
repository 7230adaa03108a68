"""What an advice says: of each option, of today's branches, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from collapse.advice import intervals
from collapse.advice.condition import Keep, Of
from collapse.advice.options import Cost, Option
from collapse.advice.search import Found, Left
from collapse.study.parse import Study


@dataclass(frozen=True)
class Line:
    """One option: what was found of it, how that is known (a law, or 'simulated'), and its cost at the least setting.

    ``source`` is the law's.
    """

    option: Option
    found: Found
    how: str
    source: str
    cost: Cost | None


@dataclass(frozen=True)
class Today:
    """One branch: when it breaks the condition, how that is known (a law's name, 'records' or 'simulated'), its cost.

    ``source`` is the law's.
    """

    name: str
    left: Left
    how: str
    cost: Cost
    source: str = ""


@dataclass(frozen=True)
class Advice:
    """The answer. ``advice`` is the study that was written, '' if laws sufficed; ``without``: options left out, why.

    ``broke``: nodes at which the rows of a generation admitted no fit any more.
    """

    study: Study
    keep: Keep
    of: Of
    horizon: int
    lines: tuple[Line, ...]
    accumulate: Today | None
    today: tuple[Today, ...]
    without: Mapping[str, str]
    advice: str
    replicates: int
    broke: tuple[str, ...]

    @property
    def reachable(self) -> bool:
        """Return whether anything that was tried keeps the condition to the horizon."""
        return any(line.found.least is not None for line in self.lines) or \
            (self.accumulate is not None and self.accumulate.left.breaks is None)

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON; null: none, or later than the horizon."""
        def value(line: Line, x: int | None) -> float | None:
            return None if x is None else line.option.value(x) if x > 0 else 0.0

        return {
            "study": self.study.name, "keep": self.keep.text, "of": self.of.share or self.of.name,
            "horizon": self.horizon, "level": intervals.LEVEL,
            "reachable": self.reachable, "advice": self.advice or None, "replicates": self.replicates,
            "broke": list(self.broke), "options": {line.option.name: {
                "key": line.option.key, "least": value(line, line.found.least), "low": value(line, line.found.low),
                "high": value(line, line.found.high), "best": value(line, line.found.best),
                "at_best": line.found.tried[line.found.best], "exact": line.found.exact,
                "how": line.how, "source": line.source or None,
                "tried": {f"{value(line, x):g}": found for x, found in line.found.tried.items()},
                "cost": line.cost and asdict(line.cost)} for line in self.lines},
            "accumulate": self.accumulate and _today(self.accumulate),
            "today": {item.name: _today(item) for item in self.today},
            "without": dict(self.without),
        }


def _today(item: Today) -> dict[str, Any]:
    left = item.left
    return {"breaks": left.breaks, "low": left.low, "high": left.high, "value": left.value, "how": item.how,
            "exact": left.exact, "source": item.source or None, "cost": asdict(item.cost)}
