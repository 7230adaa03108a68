"""From gates that hold or fail to one word: pass, halt or quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class GateLike(Protocol):
    """What a gate says: the metric, its bounds (a number, 'control' or None) and what a failure does."""

    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def min(self) -> float | str | None: ...  # noqa: D102
    @property
    def max(self) -> float | str | None: ...  # noqa: D102
    @property
    def action(self) -> str: ...  # noqa: D102


def outcome(gates: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the verdict on judged ``gates``: the severest action among those that fail.

    ``halt`` before ``quarantine`` before ``pass``; a failing gate with action ``record`` passes. ``gates`` names
    the failing gates that ask for the outcome; ``node`` is for the caller to fill in.
    """
    failing = [gate for gate in gates if not gate["success"]]
    for action in ("halt", "quarantine"):
        names = sorted({gate["gate"] for gate in failing if gate["action"] == action})
        if names:
            return {"outcome": action, "gates": names, "node": None}
    return {"outcome": "pass", "gates": [], "node": None}
