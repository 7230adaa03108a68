"""The code that shapes bytes: which modules a stage rests on, and a digest of each without comments and docstrings.

A stage rests on the modules of its tasks, on those of the kinds that a study names (models, sources, regimes, metrics)
and on all that these import, however deep, also inside functions (grimp reads the syntax and runs nothing). What is
imported for types alone shapes no bytes. Kinds that another package brings are read there, in the same way.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from collapse import registry
from collapse.errors import InputError
from collapse.spec import digest

#: Changes with the law of a digest: what was kept under another is not used.
VERSION = 1
#: Packages that every stage is made of.
OWN = ("collapse", "collapse_lab.tasks")
#: By stage, the modules that make its outputs.
ROOTS: Mapping[str, tuple[str, ...]] = {
    stage: tuple(f"collapse_lab.tasks.{name}" for name in names) for stage, names in {
        "real": ("split", "measure", "publish"),
        "calibrate": ("calibrate",),
        "generation": ("fit", "sample", "pool", "measure", "publish", "halted_node"),
        "check": ("check",),
        "report": ("report",),
    }.items()
}
#: Tokens that say where lines and blocks end, whatever they are written with.
_SHAPE = {tokenize.NEWLINE: "\n", tokenize.INDENT: "\t", tokenize.DEDENT: "\r"}
_PASSED = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
#: Where a string begins and ends that Python 3.12 and later cut into tokens, and earlier ones do not.
_OPEN = {value for name in ("FSTRING_START", "TSTRING_START") if (value := getattr(tokenize, name, None)) is not None}
_CLOSE = {value for name in ("FSTRING_END", "TSTRING_END") if (value := getattr(tokenize, name, None)) is not None}


class Code:
    """The modules of this project, and of packages that bring kinds: what imports what, and a digest of each.

    To read all syntax takes a second or two, so what was found is kept in the user's cache, under the hash of all files
    as they are; without a place to write to, it is found anew.
    """

    def __init__(self) -> None:
        packages = sorted({*OWN, *(place.partition(".")[0] for place in registry.foreign())})
        self._packages = packages
        #: By module, its file.
        self.files = dict(item for package in packages for item in _modules(package))
        self._raw = {name: _raw(path) for name, path in self.files.items()}
        self._place = user_cache_path("collapse-lab") / f"code-{digest([VERSION, ROOTS, self._raw])[:32]}.json"
        self._found: dict[str, dict[str, Any]] = _load(self._place)
        self._new = False

    @cached_property
    def _graph(self) -> Any:
        import grimp

        return grimp.build_graph(*self._packages, cache_dir=None, exclude_type_checking_imports=True)

    def rests_on(self, stage: str, kinds: Iterable[tuple[str, str]]) -> list[str]:
        """Return the modules that a stage rests on, in order.

        Parameters
        ----------
        stage
            One of :data:`ROOTS`.
        kinds
            Group and name of each kind that the stage calls: ('models', 'gmm'), ('metrics', 'tails').
        """
        roots = sorted({*ROOTS[stage], *(registry.module(*kind) for kind in kinds)})
        key = " ".join(roots)
        if key not in self._found["closures"]:
            self._found["closures"][key] = sorted(self._closure(roots))
            self._new = True
        return self._found["closures"][key]

    def _closure(self, roots: Iterable[str]) -> set[str]:
        """Return modules with all that they import and the packages that hold them: importing a module runs these."""
        found: set[str] = set()
        queue = list(roots)
        while queue:
            name = queue.pop()
            if name not in found and name in self._graph.modules and name in self.files:
                found.add(name)
                queue += [name.rpartition(".")[0], *self._graph.find_modules_directly_imported_by(name)]
        return found

    def digest(self, module: str) -> str:
        """Return the digest of a module, and of what its folder holds beside code if it is a package."""
        if module not in self._found["modules"]:
            beside = self._raw[module][1:]
            self._found["modules"][module] = digest([_body(self.files[module].read_bytes()), *beside])[:16]
            self._new = True
        return str(self._found["modules"][module])

    def keep(self) -> None:
        """Keep what was found for the next time, where that can be written."""
        if self._new:
            with suppress(OSError):
                self._place.parent.mkdir(parents=True, exist_ok=True)
                temporary = self._place.with_suffix(f".{os.getpid()}")
                temporary.write_text(json.dumps(self._found), encoding="utf-8")
                temporary.replace(self._place)
            self._new = False


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    """Yield the modules of an installed package with their files; nothing is imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"the package {package} has no files of code, so nothing can tell when it changes")
    if not spec.submodule_search_locations:
        yield package, Path(spec.origin)
        return
    for top in map(Path, spec.submodule_search_locations):
        yield from walk(package, top)


def walk(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the modules of a package that lies in ``folder``, with their files."""
    for path in sorted(folder.rglob("*.py")):
        parts = (package, *path.relative_to(folder).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _raw(path: Path) -> list[str]:
    """Return the hash of a file as it is; of a package, also those of pages, styles and tables beside its code."""
    beside = [file for file in path.parent.iterdir() if file.is_file() and file.suffix not in (".py", ".pyc")] \
        if path.name == "__init__.py" else []
    return [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in (path, *sorted(beside))]


def _load(place: Path) -> dict[str, dict[str, Any]]:
    with suppress(OSError, ValueError):
        found = json.loads(place.read_text(encoding="utf-8"))
        if isinstance(found, dict) and set(found) == {"closures", "modules"}:
            return found
    return {"closures": {}, "modules": {}}


@lru_cache(1000)
def _body(text: bytes) -> str:
    return hashlib.sha256(tokens(text).encode()).hexdigest()


def tokens(text: bytes) -> str:
    """Return Python code as its tokens: two texts that differ in comments, docstrings or layout alone are one.

    Every supported version of Python gives the same text.
    """
    found: list[str] = []
    lines = io.StringIO(text.decode("utf-8")).readlines()
    deep, start = 0, (0, 0)
    for token in tokenize.generate_tokens(iter([*lines, ""]).__next__):
        if token.type in _OPEN:
            deep, start = deep + 1, token.start if not deep else start
        elif token.type in _CLOSE:
            deep -= 1
            if not deep:
                found.append(_between(lines, start, token.end))
        elif deep or token.type in _PASSED:
            continue
        elif token.type in _SHAPE:
            # a line of one string is a docstring, of whatever it stands under
            if token.type == tokenize.NEWLINE and found and _alone(found):
                found.pop()
                continue
            found.append(_SHAPE[token.type])
        else:
            found.append(token.string)
    return " ".join(found)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from one place to another: (line, column), lines from 1."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1]:end[1]]
    return "".join([lines[start[0] - 1][start[1]:], *lines[start[0]:end[0] - 1], lines[end[0] - 1][:end[1]]])


def _alone(found: list[str]) -> bool:
    """Return whether the last line so far is one plain string."""
    last = found[-1].lstrip("rRuUbB")
    return last.startswith(("'", '"')) and (len(found) == 1 or found[-2] in _SHAPE.values())
