"""Collapse: the science of recursive training. Imports no orchestrator.

``run`` a loop in memory, ``survey`` data sets against real data, ``recommend`` how much real data to keep, ``profile``
loops by the definitions of collapse; see :mod:`collapse.face`. They are imported when they are asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collapse.face import profile, recommend, run, survey

__version__ = "0.1.0"
__all__ = ["profile", "recommend", "run", "survey"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # by name: whatever rests on this package does not rest on all that its face calls
        return getattr(importlib.import_module("collapse.face"), name)
    raise AttributeError(f"module 'collapse' has no attribute '{name}'")
