"""The documentation that ships inside every Python: real text that is always there."""

from __future__ import annotations

import ast
import json
import os
import sys
import sysconfig
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import ClassVar

from collapse.errors import InputError
from collapse.sources._corpus import Corpus
from collapse.spec import digest
from collapse.storage import put, staging, write_text

#: Folders of the standard library that document nothing, or that some builds leave out.
SKIPPED = {"test", "tests", "idle_test", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages",
           "__pycache__", "ensurepip", "__phello__"}
#: The language reference, which holds its topics as a dictionary of texts.
TOPICS = "pydoc_data/topics.py"


class Pydoc(Corpus):
    """The docstrings of Python's standard library and the topics of its language reference, each a document.

    About 2 MB in 7,000 documents; read with :mod:`ast`, nothing is imported or run. Equal documents count once. Another
    version of Python has another text: its hash stands in the manifest of generation 0.
    """

    kind: ClassVar[str] = "pydoc"

    def files(self) -> tuple[Path, ...]:
        root = Path(sysconfig.get_path("stdlib"))
        found: list[Path] = []
        for folder, inner, names in os.walk(root):
            inner[:] = sorted(set(inner) - SKIPPED)
            found += [Path(folder, name) for name in sorted(names) if name.endswith(".py")]
        if not found:
            raise InputError(f"source: pydoc: {root} holds no Python source; take another source")
        return tuple(found)

    def documents(self) -> list[str]:
        return list(_documents(self.files()))


@cache
def _documents(files: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the documents of ``files``: parsing takes seconds, so they are kept in the user's cache, with a hash."""
    import pooch

    what = digest([sys.version, [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]])
    kept = pooch.os_cache("collapse-lab") / "pydoc" / f"{what}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found["sha256"] == digest(found["documents"]):
            return tuple(found["documents"])
    documents = _parsed(files)
    with suppress(OSError, UnicodeError), staging(kept.parent, what) as folder:
        write_text(folder / kept.name, json.dumps({"sha256": digest(documents), "documents": documents}))
        put(folder / kept.name, kept)
    return documents


def _parsed(files: tuple[Path, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for path in files:
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # a template, or kept as an example of what does not parse
        texts = _topics(tree) if path.as_posix().endswith(TOPICS) else _docstrings(tree)
        found |= dict.fromkeys(text for text in texts if text.strip())
    return tuple(found)


def _docstrings(tree: ast.Module) -> list[str]:
    """Return every docstring, in the order of the file. Only statements are walked: expressions hold none."""
    found, left = [], [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found += [text] if (text := ast.get_docstring(node)) else []
        inner = [one for field in ("body", "handlers", "orelse", "finalbody") for one in getattr(node, field, ())]
        left += reversed(inner)
    return found


def _topics(tree: ast.Module) -> list[str]:
    tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    return [value for table in tables for item in table.values if isinstance(value := _text(item), str)]


def _text(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None
