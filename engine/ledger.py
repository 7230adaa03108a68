"""DVC's record of the pipeline: what is stale, and how finished nodes are written down.

DVC decides what is stale. This module asks it stage by stage (:mod:`collapse_lab.engine.dvc_door`), and records many
finished stages at once with the content and the order that `dvc repro` would have given dvc.lock.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from collapse_lab.engine import dvc_door
from collapse_lab.engine.checkout import HOME, LOCK, replace
from collapse_lab.engine.journal import Journal
from collapse_lab.engine.scan import Pipeline, Scan, changed_since, settled

#: The first line of an entry of a lock, and a line that lies in none.
_ENTRY, _OUTSIDE = re.compile(r"^  ([\w@.-]+):\n", re.MULTILINE), re.compile(r"^(?!    )(?=.)", re.MULTILINE)
#: Seconds to wait for another DVC command.
PATIENCE = 120.0
#: Path, time and size of each file of a dependency.
Stamp = tuple[tuple[str, int, int], ...]


class Ledger(Pipeline):
    """The stages of dvc.yaml, as DVC reads them.

    Raises
    ------
    InputError
        If there is no repository, or dvc.yaml is unsound.
    """

    def __init__(self) -> None:
        self.begun = time.time_ns()
        self.repo, self.graph, order = dvc_door.opened()
        super().__init__([stage.addressing for stage in order],
                         {s.addressing: {u.addressing for u in self.graph.successors(s)} for s in self.graph})
        self.stages = {stage.addressing: stage for stage in self.graph}
        self.given = self._stamps()
        self.journal = Journal()
        #: The text of dvc.lock as written last, and its entries.
        self.written: tuple[str, dict[str, str]] = ("", {})
        #: Entries of stages that DVC's cache holds and dvc.lock does not yet.
        self.entries: dict[str, Any] = {}
        #: Held by whichever thread calls DVC, which knows nothing of threads.
        self.guard = threading.RLock()

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.guard, dvc_door.locked(self.repo, PATIENCE):
            yield

    # ---------------------------------------------------------------------------------- staleness

    def changed(self, name: str) -> bool:
        """Return whether a stage is stale, judged by what lies on disk now."""
        return bool(self.stale([name]))

    def stale(self, names: Iterable[str]) -> set[str]:
        """Return which stages are stale, judged by what lies on disk now, where each file and folder is looked at once.

        No file is locked: this run holds the checkout.
        """
        with self._held():
            return {stage.addressing for stage in dvc_door.stale(self.stages[name] for name in names)}

    def scan(self, names: Iterable[str]) -> Scan:
        """Return which of ``names`` are stale, and note it for :meth:`Scan.read`, if it can be seen to stay so.

        Nothing is noted where a file that says what stages there are has changed since this ledger was read from them.
        """
        names = list(names)
        looked = dvc_door.looked_at(self.repo, (self.stages[name] for name in names))
        before = None if looked is None else settled([*looked[0], *looked[1]])
        found = Scan(self.order, self.upstream, set(names), self.stale(names))
        if looked is not None and before is not None and not self._read_again(looked[0]):
            found.write([*looked[0], *looked[1]], before)
        return found

    def _read_again(self, defining: Iterable[str]) -> bool:
        """Return whether DVC would now read other stages than this ledger has; its own dvc.lock is what it has."""
        own = bool(self.written[0]) and LOCK.read_text(encoding="utf-8") == self.written[0]
        lock = os.path.abspath(LOCK)
        return any(path != lock or not own for path in changed_since(defining, self.begun))

    def fingerprint(self, name: str) -> str:
        """Return the hash of all that a stage depends on, as it is now: DVC's key of a run in its cache."""
        with self._held():
            return dvc_door.fingerprint(self.stages[name])

    def restore(self, name: str, fingerprint: str) -> bool:
        """Bring back a stage that has run before with the same inputs, if DVC's cache still holds what it made."""
        folder = dvc_door.run_folder(self.repo, fingerprint)
        if not folder.is_dir() or not any(folder.iterdir()):  # a run that could not write it may have left it empty
            return False
        with self._held():
            return dvc_door.restored(self.repo, self.stages[name])

    def was_finished(self, name: str, fingerprint: str) -> bool:
        """Return whether a run that was cut short had finished this stage with the same inputs."""
        return self.journal.made.get(name) == fingerprint and all(
            Path(str(out.fs_path)).exists() for out in self.stages[name].outs
        )

    def _remember(self, entry: dict[str, Any]) -> None:
        """Add a run to DVC's cache of runs, as `dvc repro` does, in JSON (which is YAML): ruamel is far slower."""
        entry = dvc_door.plain(entry)
        folder = dvc_door.run_folder(self.repo, dvc_door.run_key(entry))
        target = folder / dvc_door.run_name(entry)
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = HOME / f"run.{os.getpid()}"
            temporary.write_text(json.dumps(entry) + "\n", encoding="utf-8")
            os.replace(temporary, target)

    # ------------------------------------------------------------------------------------- record

    def open(self) -> None:
        """Begin a run: keep a copy of dvc.lock, or take up the journal of the run that was cut short."""
        self.journal.open(_blocks(LOCK, self.written))

    def moved(self, names: Iterable[str]) -> set[str]:
        """Return the stages whose code or study is no longer what they ran with: they stay stale."""
        now = self._stamps()
        return {name for name in names if self._given(name, now) != self._given(name, self.given)}

    def store(self, name: str) -> None:
        """Put what a finished stage made into DVC's cache, for :meth:`write` to say so in dvc.lock."""
        stage = self.stages[name]
        with self._held():
            entry = dvc_door.stored(stage)
            self._remember(entry[stage.name])
            self.entries |= entry

    def write(self) -> None:
        """Write all that was stored into dvc.lock, atomically.

        Existing entries keep their place; new ones follow in plan order, as if `dvc repro` had run them.
        """
        if not self.entries:
            return
        with self._held():
            new = {key: dvc_door.text_of(key, entry) for key, entry in self.entries.items()}
            stages = _blocks(LOCK, self.written) | new
            base = [key for key in self.journal.base if key in stages]
            rest = [key for key in self.order if key in stages and key not in set(base)]
            other = [key for key in stages if key not in {*base, *rest}]
            ordered = {key: stages[key] for key in (*base, *other, *rest)}
            text = dvc_door.HEAD + "".join(ordered.values())
            os.sync()  # DVC flushes nothing: what it stored must be on disk before its lock says so
            replace(LOCK, text)
            self.written, self.entries = (text, ordered), {}
            dvc_door.track(self.repo, LOCK)

    def _given(self, name: str, stamps: dict[str, Stamp]) -> list[Stamp]:
        """Return the state of what a stage depends on and no stage makes: code, studies, parameters."""
        return [stamps[path] for dep in self.stages[name].deps if (path := str(dep.fs_path)) in stamps]

    @cached_property
    def _sources(self) -> list[str]:
        """What is given: every dependency that is no output, nor above or below one."""
        made = {str(out.fs_path) for stage in self.graph for out in stage.outs}
        folders = {folder for path in made for folder in _above(path)}
        given = {str(dep.fs_path) for stage in self.graph for dep in stage.deps} - made - folders
        return sorted(path for path in given if not made.intersection(_above(path)))

    def _stamps(self) -> dict[str, Stamp]:
        """Return size and time of every file that is given."""
        return {path: tuple(sorted(_files(path))) for path in self._sources}


def _above(path: str) -> Iterator[str]:
    """Yield every folder that a path lies in."""
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def _files(path: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, time and size of a file, or of every file of a folder."""
    if not os.path.isdir(path):
        with suppress(FileNotFoundError):
            state = os.stat(path)
            yield path, state.st_mtime_ns, state.st_size
        return
    for entry in os.scandir(path):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _files(entry.path)
        elif entry.is_file():
            state = entry.stat()
            yield entry.path, state.st_mtime_ns, state.st_size


def _blocks(path: Path, written: tuple[str, dict[str, str]]) -> dict[str, str]:
    """Return the text of every entry of a dvc.lock, by its key; ``written`` is what was written last, and of what."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    if text == written[0]:
        return written[1]
    head, *parts = _ENTRY.split(text)
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    if head == dvc_door.HEAD and all(body.startswith("    ") and not _OUTSIDE.search(body) for body in found.values()):
        return {key: f"  {key}:\n{body}" for key, body in found.items()}
    return {key: dvc_door.text_of(key, entry) for key, entry in dvc_door.entries(path).items()}  # another hand's
