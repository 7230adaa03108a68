"""The names of the definitions of collapse, what a study may set of them, and what an answer to one says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from collapse.errors import InputError, nearest

Verdict = Literal["holds", "does not hold", "undecided", "not measurable here"]
VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "undecided", "not measurable here")
#: By key, what Schaeffer et al. 2025 call it.
DEFINITIONS: dict[str, str] = {
    "catastrophic": "Catastrophic increase of population risk",
    "increase": "Any increase of population risk",
    "divergence": "Asymptotically diverging population risk",
    "scaling": "Change in scaling law",
    "variance": "Collapsing variance",
    "modes": "Entanglement of real data modes",
    "tails": "Disappearance of real tail data",
    "hallucination": "Appearance of hallucinated data",
}
#: Definitions in a word or two.
SHORT = {"catastrophic": "catastrophic risk", "increase": "any rise of risk", "divergence": "diverging risk",
         "scaling": "scaling law", "variance": "variance", "modes": "modes", "tails": "tails",
         "hallucination": "hallucination"}
#: Two-sided level of an interval.
LEVEL = 0.90
ALONE = "One generation is a fit to real data: nothing has been handed on yet."


@dataclass(frozen=True)
class Settings:
    """What a study may set: the factor of a catastrophic increase (None: by the kind of risk), and the margin."""

    catastrophic: float | None = None
    margin: float = 0.1

    @staticmethod
    def parse(raw: Any, where: str) -> Settings:
        """Return what a study file's ``definitions`` says.

        Raises
        ------
        InputError
            If it is no mapping of these two keys to numbers in their range.
        """
        if not isinstance(raw, dict):
            raise InputError(f"{where} must be a mapping, such as {{catastrophic: 10, margin: 0.1}}")
        ranges = {"catastrophic": (1.0, np.inf), "margin": (0.0, 1.0)}
        for key, value in raw.items():
            if key not in ranges:
                raise InputError(f"{where}.{key} is not a key{nearest(str(key), ranges)}")
            low, high = ranges[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
                span = f"above {low:g}" if high == np.inf else f"above {low:g} and below {high:g}"
                raise InputError(f"{where}.{key} must be a number {span} (it is {value!r})")
        return Settings(**{key: float(value) for key, value in raw.items()})


@dataclass(frozen=True)
class Answer:
    """What one definition comes to on one branch.

    ``estimate`` with its 90 % interval is a factor or a share (1.0: as ``against`` has it), of a divergence the rise
    over the last half in risks of ``against``. An end that is None has no bound. ``first`` and ``last`` are the
    generations.
    """

    verdict: Verdict
    sentence: str
    metric: str | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    against: str | None = None
    replicates: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class Profile:
    """The answers by branch and definition."""

    answers: Mapping[str, Mapping[str, Answer]]
    settings: Settings

    def count(self, branch: str, verdict: Verdict) -> int:
        """Return how many definitions have ``verdict`` on a branch."""
        return sum(answer.verdict == verdict for answer in self.answers[branch].values())

    def tally(self, key: str) -> dict[str, int]:
        """Return on how many branches a definition has each verdict."""
        found = [answers[key].verdict for answers in self.answers.values()]
        return {verdict: found.count(verdict) for verdict in VERDICTS}

    def sentence(self, branch: str) -> str:
        """Return what a branch's answers come to, in plain words."""
        words = {"holds": ("holds", "hold"), "does not hold": ("does not hold", "do not hold"),
                 "undecided": ("is undecided", "are undecided"),
                 "not measurable here": ("cannot be measured here", "cannot be measured here")}
        parts: list[str] = []
        for verdict, (one, many) in words.items():
            count = self.count(branch, verdict)  # type: ignore[arg-type]
            if count:
                named = [SHORT[key] for key, answer in self.answers[branch].items() if answer.verdict == verdict]
                listed = f" ({', '.join(named)})" if verdict in ("holds", "undecided") else ""
                of = f" of {len(DEFINITIONS)} definitions of collapse" if not parts else ""
                parts.append(f"{count}{of} {one if count == 1 else many}{listed}")
        return f"Under {branch}, {', '.join(parts)}."

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"level": LEVEL, "settings": asdict(self.settings), "names": DEFINITIONS, "branches": {
            branch: {key: asdict(answer) for key, answer in answers.items()}
            for branch, answers in self.answers.items()}}


@dataclass(frozen=True)
class Ratio:
    """A factor or a share with its interval, what it was held against, and over how many replicates."""

    estimate: float
    low: float
    high: float
    against: str
    replicates: int

    def span(self, level: float) -> str:
        """Return the interval in words."""
        if np.isinf(self.low) and np.isinf(self.high):
            return f"without a bound over {counted(self.replicates)}"
        return (f"{100 * level:.3g} % interval [{number(self.low)}, {number(self.high)}] over "
                f"{counted(self.replicates)}")


def side_of(verdict: Verdict, held: str, failed: str, limit: float) -> str:
    """Return on which side of ``limit`` an interval lies."""
    return f"{dict(zip(VERDICTS, (held, failed, 'on both sides of'), strict=False))[verdict]} {limit:g}"


def ends_of(found: Ratio) -> tuple[float | None, float | None, float | None]:
    """Return estimate, low and high to 6 significant digits; None for what JSON has no number for."""
    return tuple(float(f"{x:.6g}") if np.isfinite(x) else None  # type: ignore[return-value]
                 for x in (found.estimate, found.low, found.high))


def number(value: float) -> str:
    """Return three significant digits, a true minus and ∞."""
    return "∞" if np.isposinf(value) else "−∞" if np.isneginf(value) else f"{value:.3g}".replace("-", "−")


def counted(count: int) -> str:
    """Return how many replicates, in words."""
    return "one replicate" if count == 1 else f"{count:,} replicates"
