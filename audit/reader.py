"""Hashes of files, and of the values of parts: each file is read once, whatever links to it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from collapse.parquet import stored_content

#: Bytes that are hashed at once.
BLOCK = 1 << 18


class Reader:
    """Knows the hashes of what it has read."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, ...], tuple[str, str]] = {}
        self._contents: dict[tuple[int, ...], str] = {}

    def digests(self, path: Path) -> tuple[str, str]:
        """Return SHA-256 and MD5 (DVC's) of a file's bytes."""
        key = _identity(path)
        if key not in self._digests:
            sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            buffer = memoryview(bytearray(BLOCK))
            with open(path, "rb", buffering=0) as file:
                while size := file.readinto(buffer):
                    sha.update(buffer[:size])
                    md5.update(buffer[:size])
            self._digests[key] = sha.hexdigest(), md5.hexdigest()
        return self._digests[key]

    def content(self, path: Path, note: dict[str, Any]) -> str:
        """Return the content hash of a part, from its values."""
        from collapse.data import Schema

        key = _identity(path)
        if key not in self._contents:
            self._contents[key] = stored_content(path, Schema.parse(note["schema"]), np.array(note["counts"]))
        return self._contents[key]


def _identity(path: Path) -> tuple[int, ...]:
    """Return what tells files apart, whatever name they are opened by."""
    state = os.stat(path)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
