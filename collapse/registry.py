"""Lookup of sources, models, regimes and metrics by name.

A file in ``collapse/models`` is a model of that name; another package joins with an entry point in
the group ``collapse.models`` (likewise sources, regimes and metrics). Files are imported when asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, get_args, get_type_hints

from collapse.errors import InputError, nearest

#: Folders of this package whose files are kinds.
GROUPS = ("sources", "models", "regimes", "metrics")
#: By group, the class that its kinds extend, and what each must define itself: one of every tuple.
CONTRACTS: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "sources": ("Source", (("load", "divide", "draw"),)),
    "models": ("Model", (("sample", "answer", "make"), ("fit", "solve", "learn"))),
    "regimes": ("Regime", (("next_pool",),)),
    "metrics": ("Metric", (("measure", "against", "step"),)),
}
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
        return _sound(group, points[name].load())
    if name not in names(group):
        raise InputError(f"'{name}' is not one of the {group}{nearest(name, names(group))}")
    module = _imported(group, name)
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__ and getattr(value, "kind", None) == name:
            return _sound(group, value)
    raise InputError(f"collapse/{group}/{name}.py defines no class of kind '{name}'")


def _imported(group: str, name: str) -> ModuleType:
    """Return the module of a kind of this package, or say which file cannot be read and why."""
    try:
        return importlib.import_module(f"collapse.{group}.{name}")
    except SyntaxError as error:
        raise InputError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except ImportError as error:
        raise InputError(f"collapse/{group}/{name}.py cannot be imported: {error}") from error


def _sound(group: str, found: type[Any]) -> type[Any]:
    """Return a class that does what its contract asks, or say what it lacks, before anything is made of it."""
    base, asked = CONTRACTS[group]
    contract = getattr(importlib.import_module(f"collapse.{group}.{CONTRACT}"), base)
    where = f"{found.__module__.replace('.', '/')}.py: {found.__name__}"
    if not issubclass(found, contract):
        raise InputError(f"{where} is no {base}; it must extend collapse.{group}.{CONTRACT}.{base}")
    for one_of in asked:
        if all(getattr(found, method) is getattr(contract, method) for method in one_of):
            raise InputError(f"{where} must define {' or '.join(one_of)}")
    for metric, fact in getattr(found, "facts", {}).items():
        hints = get_type_hints(type(fact))
        for key in ("family", "collapse", "below", "above"):
            if getattr(fact, key) not in get_args(hints[key]):
                raise InputError(f"{where}: {metric} has {key} '{getattr(fact, key)}'"
                                 f"{nearest(getattr(fact, key), filter(None, get_args(hints[key])))}")
    return found


def module(group: str, name: str) -> str:
    """Return the module that defines ``name``, this package's or another's."""
    point = _entry_points(group).get(name)
    return point.module if point is not None else f"collapse.{group}.{name}"


def foreign() -> set[str]:
    """Return the modules of other packages that bring kinds."""
    return {point.module for group in GROUPS for point in _entry_points(group).values()}
