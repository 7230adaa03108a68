"""Lookup of sources, models, regimes and metrics by name.

A file in ``collapse/models`` is a model of that name; another package joins with an entry point in
the group ``collapse.models`` (likewise sources, regimes and metrics). Files are imported when asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from collapse.errors import InputError, nearest

#: Folders of this package whose files are kinds.
GROUPS = ("sources", "models", "regimes", "metrics")
#: The file of a folder that says what its kinds must be able to do. Names that begin with `_` are helpers.
CONTRACT = "base"


@cache
def names(group: str) -> tuple[str, ...]:
    """Return every name in ``group`` ('models', say), built in or from entry points."""
    package = importlib.import_module(f"collapse.{group}")
    own = [m.name for m in pkgutil.iter_modules(package.__path__) if m.name != CONTRACT and not m.name.startswith("_")]
    return tuple(sorted({*own, *_entry_points(group)}))


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"collapse.{group}")}


@cache
def find(group: str, name: str) -> type[Any]:
    """Return the class called ``name`` in ``group``.

    Raises
    ------
    InputError
        If there is none; the message offers the nearest name.
    """
    points = _entry_points(group)
    if name in points:
        return points[name].load()
    if name not in names(group):
        raise InputError(f"'{name}' is not one of the {group}{nearest(name, names(group))}")
    module = importlib.import_module(f"collapse.{group}.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__ and getattr(value, "kind", None) == name:
            return value
    raise InputError(f"collapse/{group}/{name}.py defines no class of kind '{name}'")


def module(group: str, name: str) -> str:
    """Return the module that defines ``name``, this package's or another's."""
    point = _entry_points(group).get(name)
    return point.module if point is not None else f"collapse.{group}.{name}"


def foreign() -> set[str]:
    """Return the modules of other packages that bring kinds."""
    return {point.module for group in GROUPS for point in _entry_points(group).values()}
