"""One branch written once and run over a grid of settings: a template becomes named branches when a study is parsed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from collapse.errors import InputError, nearest

#: Letters for the keys that are swept most; others go by their names.
SHORT = {"rows": "n", "real": "r", "seed": "s"}
#: Keys of a branch that can be swept, beside its regime's own settings and `model.KEY`.
KEYS = ("rows", "seed")
#: Regimes that keep a share of real rows: at a share of 0 they are `replace`.
KEEPING = ("anchor", "redraw", "refresh")
#: Keys that a calibration depends on.
FLOOR = ("rows",)
MOST = 400


@dataclass(frozen=True)
class Sweep:
    """The branches that a template became: what was swept, and each branch's place in it."""

    template: str
    over: Mapping[str, tuple[Any, ...]]
    cells: Mapping[str, tuple[Any, ...]]

    @property
    def keys(self) -> tuple[str, ...]:
        """Return what was swept, in the order of the study file."""
        return tuple(self.over)


@dataclass(frozen=True)
class Cell:
    """One branch of a sweep, as if the study file had it: its body, and the name of the calibration that it shares."""

    name: str
    body: dict[str, Any]
    floor: str


def expand(name: str, body: Mapping[str, Any], where: str, settings: Collection[str]) -> tuple[Sweep, list[Cell]]:
    """Return a template's sweep and its branches; ``settings`` are those of its regime.

    A branch's name holds its values, exactly: `keep-n300-r010` has 300 rows and a real share of 0.10, and no other
    values have that name. So values may be added to a list, and the branches that were there stay as they are.

    Raises
    ------
    InputError
        If a key cannot be swept, stands in the template as well, or lists a value twice.
    """
    over = body["sweep"]
    if not isinstance(over, dict) or not over:
        raise InputError(f"{where} must map keys to lists, such as {{rows: [100, 300], real: [0, 0.1]}}")
    known = (*KEYS, *settings)
    for key, values in over.items():
        plain = isinstance(key, str) and (key in known or re.fullmatch(r"model\.\w+", key))
        if not plain:
            raise InputError(f"{where}.{key} cannot be swept{nearest(str(key), (*known, 'model.KEY'))}")
        if key in body or (key.startswith("model.") and key[6:] in (body.get("model") or {})):
            raise InputError(f"{where}.{key}: the branch has a {key} of its own; take one of them out")
        if not isinstance(values, list) or not values:
            raise InputError(f"{where}.{key} must be a list of values, such as [100, 300]")
        for value in values:
            if not isinstance(value, bool | int | float | str):
                raise InputError(f"{where}.{key}: {value!r} cannot be swept; list numbers or words")
    count = 1
    for values in over.values():
        count *= len(values)
    if count > MOST:
        raise InputError(f"{where} makes {count} branches, more than {MOST}; list fewer values")
    sweep: dict[str, tuple[Any, ...]] = {}
    cells = []
    for values in product(*over.values()):
        cell = dict(zip(over, values, strict=True))
        made = "-".join([name, *(label(key, value, f"{where}.{key}") for key, value in cell.items())])
        if made in sweep:
            raise InputError(f"{where} makes two branches '{made}'; list each value once")
        sweep[made] = values
        floor = "-".join([name, *(label(key, value, where) for key, value in cell.items()
                                  if key in FLOOR or key.startswith("model."))])
        cells.append(Cell(made, _filled(body, cell), floor))
    return Sweep(name, {key: tuple(values) for key, values in over.items()}, sweep), cells


def _filled(body: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of one branch."""
    made = {key: value for key, value in body.items() if key != "sweep"}
    for key, value in cell.items():
        if key.startswith("model."):
            made["model"] = {**made.get("model", {}), key[6:]: value}
        elif key == "real" and value == 0 and not isinstance(value, bool | str) and made["regime"] in KEEPING:
            made["regime"] = "replace"
        else:
            made[key] = value
    return made


def label(key: str, value: Any, where: str) -> str:
    """Return a key with its value as a part of a name: no two values of a key have the same.

    Raises
    ------
    InputError
        If a word has other letters than a name may have.
    """
    if isinstance(value, bool):
        text = str(value).lower()
    elif key == "real" and not isinstance(value, str):
        whole, _, rest = f"{value:.12f}".partition(".")
        text = whole + rest.rstrip("0").ljust(2, "0")
    elif isinstance(value, str):
        text = value
    else:
        text = repr(value).replace("+", "").replace(".", "p").replace("-", "m")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text):
        raise InputError(f"{where}: {value!r} cannot be part of a name; use lower-case letters, digits and hyphens")
    short = SHORT.get(key, key.removeprefix("model.").replace("_", "-").lower())
    return f"{short}{'' if text[0].isdigit() else '-'}{text}"
