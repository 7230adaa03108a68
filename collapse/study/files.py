"""The files of a project that users write, read as they are: params.yaml, and YAML without a key given twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from collapse.errors import InputError, nearest
from collapse.study.keys import check_keys, check_name, check_whole

#: The list of studies, in the project's folder.
PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class Machine:
    """Settings of this machine; none of them changes a result."""

    workers: int = 2


@dataclass(frozen=True)
class Params:
    """params.yaml: the studies to rebuild and the machine's settings."""

    studies: tuple[str, ...]
    machine: Machine


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises
    ------
    InputError
        If the file is missing, not YAML, repeats a key, or holds no mapping.
    """
    return _yaml(_text(path), path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


@cache
def _yaml(text: str, path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        name = (re.search(r'duplicate key "([^"]*)"', str(error.problem)) or ["", "a key"])[1]
        raise InputError(f"{path}: line {line}: '{name}' is given twice; rename one of them") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}: line {line}: not valid YAML ({error.problem})") from None
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold a mapping of keys to values")
    return data


def read_params(root: Path) -> Params:
    """Return params.yaml of the project in ``root``."""
    path = PARAMS
    if not (root / path).exists():
        raise InputError(f"{path}: no such file in {root.resolve()}; run this in the project's folder")
    data = _yaml(_text(root / path), path)
    check_keys(path, "", data, ("studies", "machine"))
    studies = data.get("studies")
    if not isinstance(studies, list) or not studies or not all(isinstance(name, str) for name in studies):
        raise InputError(f"{path}: studies must be a list of names, such as [digits]")
    for name in studies:
        check_name(path, "studies", name)
    if len(set(studies)) < len(studies):
        raise InputError(f"{path}: studies names one study twice")
    machine = data.get("machine", {})
    if not isinstance(machine, dict):
        raise InputError(f"{path}: machine must be a mapping, such as {{workers: 2}}")
    check_keys(path, "machine.", machine, ("workers",))
    workers = machine.get("workers", 2)
    check_whole(path, "machine.workers", workers, 1)
    return Params(tuple(studies), Machine(workers))


def study_data(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Return where the study ``name`` of the project in ``root`` is written, and what is written there.

    Raises
    ------
    InputError
        If there is none, or it is no mapping in YAML.
    """
    path = Path("studies") / f"{name}.yaml"
    if not (root / path).exists():
        known = [p.stem for p in (root / "studies").glob("*.yaml")]
        raise InputError(f"{path}: no such study{nearest(name, known)}")
    return path, _yaml(_text(root / path), path)
