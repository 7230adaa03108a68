"""What was stale when DVC last looked, good for as long as nothing that it looked at has changed.

To ask DVC takes an object for every output of every stage, 13 ms a node; to see that no file has another time or size
takes a hundredth of that. Files are looked at before DVC is, and what DVC had read before that must not have changed
since: a change in between makes the note useless, never wrong.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from collapse_lab.engine.checkout import HOME, replace

NOTE = HOME / "scan.json"
#: Another form of the note, or another way to look.
FORM = 1
#: What decides which stages there are, wherever it lies.
NAMED = ("dvc.yaml", "dvc.lock", ".dvcignore", ".gitignore", "params.yaml")
#: Nanoseconds in which a file may be written twice and keep its times.
TICK = 50_000_000


@dataclass
class Pipeline:
    """The stages of a repository, in the order in which `dvc repro` would run them, and what each depends on."""

    order: list[str]
    upstream: dict[str, set[str]]

    def select(self, stages: Iterable[str]) -> list[str]:
        """Return ``stages`` and all they depend on, in plan order."""
        wanted: set[str] = set()
        queue = list(stages)
        while queue:
            name = queue.pop()
            if name not in wanted:
                wanted.add(name)
                queue.extend(self.upstream[name])
        return [name for name in self.order if name in wanted]


@dataclass
class Scan(Pipeline):
    """What a look at ``seen`` stages found: those that are ``stale``."""

    seen: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)

    @staticmethod
    def read() -> Scan | None:
        """Return what was noted last; None if there is nothing, or anything it rests on has changed."""
        try:
            note = json.loads(NOTE.read_text(encoding="utf-8"))
            if note["state"] != _state(note["paths"])[0]:
                return None
            return Scan(note["order"], {name: set(above) for name, above in note["upstream"].items()},
                        set(note["seen"]), set(note["stale"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, paths: list[str], before: str) -> None:
        """Note what was found, and the state of all it rests on from before the look."""
        note = {"state": before, "paths": paths, "order": self.order, "seen": sorted(self.seen),
                "stale": sorted(self.stale), "upstream": {name: sorted(above) for name, above in self.upstream.items()}}
        with suppress(OSError):  # a checkout that cannot be written to is looked at anew each time
            HOME.mkdir(parents=True, exist_ok=True)
            replace(NOTE, json.dumps(note))


def settled(paths: Iterable[str]) -> str | None:
    """Return the state of files and folders, and of whatever names stages, once any change to come will show in it.

    A file may be written twice within a tick of the clock and keep its times: what was just written is waited for.
    None where a clock goes wrong.
    """
    for _ in range(2):
        found, newest, begun = _state(paths)
        if newest < begun - TICK:
            return found
        time.sleep(TICK / 1e9)
    return None


def changed_since(paths: Iterable[str], moment: int) -> Iterator[str]:
    """Yield those of ``paths``, and of whatever names stages, that changed after ``moment`` or just before it."""
    for path, found in _stats([*paths, *_named()]):
        if found is not None and found.st_ctime_ns >= moment - TICK:
            yield os.path.abspath(path)


def _state(paths: Iterable[str]) -> tuple[str, int, int]:
    """Return a digest of DVC's settings and of each file's path, times, size and inode; the newest time, and now."""
    digest = blake2b(digest_size=20)
    settings = sorted((key, value) for key, value in os.environ.items() if key.startswith("DVC_"))
    digest.update(json.dumps([FORM, version("dvc"), os.getcwd(), settings]).encode())
    newest, begun = 0, time.time_ns()
    for path, found in _stats([*paths, *_named()]):
        stamp: tuple[int, ...] = ()
        if found is not None:
            stamp = found.st_mode, found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino
            newest = max(newest, found.st_ctime_ns)
        digest.update(f"{path}\0{stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), newest, begun


def _stats(paths: Iterable[str]) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield every file, those of folders too, and what the system tells of it: None where there is nothing."""
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            yield path, None
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _stats(os.path.join(path, name) for name in sorted(os.listdir(path)))
        else:
            yield path, found


def _named() -> Iterator[str]:
    """Yield every file that names stages or hides them; not from folders that .dvcignore names, nor from data/."""
    ignored = {".git", ".dvc", "__pycache__", "data"}
    with suppress(OSError, UnicodeDecodeError):
        ignored |= {line.strip() for line in Path(".dvcignore").read_text(encoding="utf-8").splitlines()}
    for folder, inside, files in os.walk("."):
        inside[:] = sorted(name for name in inside if name not in ignored)
        yield from (os.path.join(folder, name) for name in sorted(files) if name in NAMED or name.endswith(".dvc"))
