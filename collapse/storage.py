"""Files that are whole or not there: written under a new name, flushed, put in place; and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` and flush it to disk. ``path`` must be new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flush a file that a library wrote, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush(path: Path) -> None:
    """Flush a file, or a folder and all it holds, to disk."""
    if path.is_dir():
        for item in path.iterdir():
            _flush(item)
    sync(path)


def _make(folder: Path) -> None:
    """Make a folder and those above it, each name flushed to disk."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


@contextmanager
def staging(data: Path, name: str) -> Iterator[Path]:
    """Yield a new folder beside the outputs, removed at the end: outputs are made here, then put in place."""
    folder = data / ".tmp" / f"{name}.{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(source: Path, target: Path) -> None:
    """Move a finished file or folder to ``target``, in place of what is there; nothing is opened for writing.

    All of it is on disk before it gets its name, and the name before this returns: what a power cut leaves is whole.
    From another file system it is copied first to a name beside ``target``.
    """
    _flush(source)
    _make(target.parent)
    if os.stat(source).st_dev == os.stat(target.parent).st_dev:
        _name(source, target)
        return
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copytree(source, beside) if source.is_dir() else shutil.copyfile(source, beside)
        _flush(beside)
        _name(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True) if beside.is_dir() else beside.unlink(missing_ok=True)
    shutil.rmtree(source) if source.is_dir() else source.unlink()


def _name(source: Path, target: Path) -> None:
    """Give ``source`` the name ``target``, in one file system. A folder gives way to a folder alone."""
    if target.is_dir() and not source.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.is_dir():
        old = source.with_name(f"{source.name}.old")
        os.rename(target, old)
        os.rename(source, target)
        sync(target.parent)
        shutil.rmtree(old)
    else:
        os.replace(source, target)
        sync(target.parent)
