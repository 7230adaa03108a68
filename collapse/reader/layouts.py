"""Data sets as they lie: files, folders, partitions, and what a file is by its first bytes or its ending."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from collapse.errors import InputError

#: What a file's ending says that it is.
ENDINGS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json",
           ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".txt": "text", ".md": "text"}
#: Endings of compressed files, and what Arrow calls the compression.
PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd", ".lz4": "lz4"}
#: The first bytes of files that say themselves what they are.
MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}
#: A folder of a partitioned table.
PARTITION = re.compile(r"([^=/]+)=(.*)")
#: How Hive writes that a partition's value is missing.
HIVE_NOTHING = "__HIVE_DEFAULT_PARTITION__"
#: What to give in place of what was not found.
KINDS = "Parquet, CSV, JSON lines, Arrow or text"


@dataclass(frozen=True)
class Snapshot:
    """One data set: a file, or a folder whose files make one.

    Attributes
    ----------
    keys
        By file the columns that its folders name (``country=DE``), with their values.
    stamps
        By file its size and time when it was found: a file that changes while it is read is no data set.
    """

    name: str
    files: tuple[Path, ...]
    kind: str
    keys: Mapping[Path, Mapping[str, str | None]] = field(default_factory=dict)
    stamps: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    def unchanged(self, path: Path) -> None:
        """Refuse a file that is not what was found.

        Raises
        ------
        InputError
            If its size or time has changed since.
        """
        if path in self.stamps and stamp(path) != self.stamps[path]:
            raise InputError(f"{path}: changed while it was read; run it again when the file is complete")


def stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and time."""
    try:
        found = path.stat()
    except OSError:
        return (-1, 0)
    return found.st_size, found.st_mtime_ns


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return what sorts ``snap-9`` before ``snap-10``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def find(words: Iterable[str]) -> list[Snapshot]:
    """Return the snapshots that files, patterns and folders name, in natural order, each once.

    Each file in a folder is a snapshot, and so is each folder in it, of all its files. A folder of partitions
    (``country=DE``) is one snapshot.

    Raises
    ------
    InputError
        If a word names nothing, or a file has an ending that is not known.
    """
    found: dict[Path, Snapshot] = {}
    for word in words:
        paths = [Path(name) for name in glob.glob(word, recursive=True)] if glob.has_magic(word) else [Path(word)]
        if not paths or not all(path.exists() for path in paths):
            raise InputError(f"{word}: no file, folder or pattern with a file; give {KINDS} files")
        for path in paths:
            inside = _visible(path) if path.is_dir() and not glob.has_magic(word) else [path]
            if not inside:
                raise InputError(f"{word}: the folder is empty; give one with {KINDS} files")
            parted = [one for one in inside if one != path and one.is_dir() and PARTITION.fullmatch(one.name)]
            for one in [path] if parted else inside:
                found[one] = whole(one)
    return sorted(found.values(), key=lambda one: natural(one.name))


def whole(path: Path) -> Snapshot:
    """Return one data set: a file, or a folder with all its files, at any depth.

    Raises
    ------
    InputError
        If it is not there, holds nothing, or holds what is no table or text, or both; if its partitions differ.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give {KINDS}")
    files = tuple(sorted(_deep(path), key=lambda one: natural(str(one)))) if path.is_dir() else (path,)
    if not files:
        raise InputError(f"{path}: the folder is empty; give one with {KINDS} files")
    kinds = {"text" if form(file) == "text" else "table": file for file in files}
    if len(kinds) > 1:
        raise InputError(f"{path}: holds tables ({kinds['table'].name}) and text ({kinds['text'].name}); keep one kind")
    keys = {file: _keys(file, path) for file in files} if path.is_dir() else {}
    for file in files:
        if keys and list(keys[file]) != list(keys[files[0]]):
            raise InputError(f"{file}: lies in other partitions ({', '.join(keys[file]) or 'none'}) than {files[0]} "
                             f"({', '.join(keys[files[0]]) or 'none'}); give files of one layout")
    return Snapshot(str(path), files, next(iter(kinds)), keys, {file: stamp(file) for file in files})


def form(path: Path) -> str:
    """Return what a file is: parquet, csv, json, arrow or text.

    Raises
    ------
    InputError
        If neither its first bytes nor its ending say so.
    """
    found = magic(path) or ENDINGS.get(ending(path))
    if found is None or (found == "text" and packed(path)):
        last = "".join(path.suffixes[-2:]) if packed(path) else path.suffix
        raise InputError(f"{path}: unknown ending '{last}'; give one of {', '.join(ENDINGS)}, tables also as "
                         f"{', '.join(PACKED)}")
    return found


def magic(path: Path) -> str | None:
    """Return what a file says of itself."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError:
        return None
    return next((kind for start, kind in MAGIC.items() if head.startswith(start)), None)


def ending(path: Path) -> str:
    """Return the ending that says what is in a file, whatever it was packed with."""
    return (Path(path.stem) if packed(path) else path).suffix.lower()


def packed(path: Path) -> str | None:
    """Return how a file is compressed, None if it is not."""
    return PACKED.get(path.suffix.lower())


def _keys(file: Path, root: Path) -> dict[str, str | None]:
    """Return the columns that the folders between a data set and its file name."""
    found: dict[str, str | None] = {}
    for part in file.relative_to(root).parts[:-1]:
        match = PARTITION.fullmatch(part)
        if match:
            found[unquote(match[1])] = None if match[2] == HIVE_NOTHING else unquote(match[2])
    return found


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name[0] not in "._"]


def _deep(folder: Path) -> Iterator[Path]:
    for path in _visible(folder):
        yield from _deep(path) if path.is_dir() else [path]
