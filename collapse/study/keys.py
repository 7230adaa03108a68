"""Checks of what stands under a key of a study file; a refusal names the file, the key and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from collapse import registry
from collapse.errors import InputError, nearest
from collapse.manifest import NAME
from collapse.spec import Spec

#: Not names: generation 0, and what one reader or another of YAML takes for a boolean or nothing.
RESERVED = frozenset({"real", "true", "false", "yes", "no", "on", "off", "y", "n", "null", "none"})


def part(path: Path, where: str, group: str, raw: Any) -> Any:
    """Return what a mapping with ``kind`` describes, of a group ('models', say).

    Raises
    ------
    InputError
        Naming ``path``, the key in it (below ``where``) and the remedy.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        raise InputError(f"{path}: {where} must name its kind, such as {{kind: {registry.names(group)[0]}}}")
    cls = find_kind(path, f"{where}.kind", group, raw["kind"])
    body = {key: value for key, value in raw.items() if key != "kind"}
    check_keys(path, f"{where}.", body, [field.alias or name for name, field in cls.model_fields.items()])
    return build(path, where, cls, body)


def find_kind(path: Path, where: str, group: str, name: str) -> Any:
    """Return the class of a kind of a group."""
    try:
        return registry.find(group, name)
    except InputError as error:
        raise InputError(f"{path}: {where}: {error}") from None


def build(path: Path, where: str, cls: type[Spec], body: dict[str, Any]) -> Any:
    """Return the object of ``cls`` that a mapping describes."""
    try:
        return cls(**body)
    except ValidationError as error:
        first = error.errors()[0]
        inner = ("function-", "literal", "float")  # pydantic's own steps into a union
        key = ".".join(str(part) for part in first["loc"] if not str(part).startswith(inner))
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise InputError(f"{path}: {where}.{key} is missing; '{cls.kind}' needs it") from None
        given = "" if first["type"] == "value_error" else f" (it is {first['input']!r})"
        dotted = f"{where}.{key}" if key else where
        raise InputError(f"{path}: {dotted}: {text[:1].lower()}{text[1:]}{given}") from None
    except InputError as error:
        raise InputError(f"{path}: {where}: {error}") from None


def check_keys(path: Path, where: str, body: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a mapping that has a key beside ``keys``."""
    keys = list(keys)
    for key in body:
        if key not in keys:
            raise InputError(f"{path}: {where}{key} is not a key{nearest(key, keys)}")


def check_whole(path: Path, where: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse what is no whole number from ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{path}: {where} must be a whole number (it is {value!r})")
    if value < low or (high is not None and value > high):
        bound = f"from {low} to {high}" if high is not None else f"at least {low}"
        raise InputError(f"{path}: {where} must be {bound} (it is {value})")


def check_name(path: Path, where: str, name: Any) -> None:
    """Refuse what cannot be the name of a study or branch."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise InputError(f"{path}: {where}: {name!r} cannot be a name; use lower-case letters, digits and hyphens, "
                         f"beginning with a letter, and not 'real' or a YAML boolean")
