"""Finished stages go into DVC's cache and lock while others are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from collapse_lab.engine.ledger import Ledger

#: Seconds between looks for something to store.
PAUSE = 0.2
#: Seconds between two writings of dvc.lock.
WRITE_EVERY = 60.0


class Recorder:
    """Stores finished stages in a thread of its own, one at a time.

    Storing replaces a stage's files by links to DVC's cache: none is stored while a running flow may read it, which is
    what :meth:`reading` says.
    """

    def __init__(self, ledger: Ledger, say: Callable[[str], None]):
        self._ledger = ledger
        self._say = say
        self._waiting: dict[str, None] = {}  # in the order in which they were finished
        self._busy: dict[str, set[str]] = {}
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, stages: Iterable[str]) -> None:
        """Take finished stages."""
        with self._ledger.guard:
            self._waiting.update(dict.fromkeys(stages))

    def reading(self, unit: str, stages: Iterable[str]) -> None:
        """Note that a unit begins: its flow reads what its stages depend on, and writes what they make."""
        with self._ledger.guard:
            self._busy[unit] = {name for stage in stages for name in (stage, *self._ledger.upstream[stage])}

    def read(self, unit: str) -> None:
        """Note that a unit has ended."""
        with self._ledger.guard:
            self._busy.pop(unit, None)

    def watch(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """End the thread, and record all that is left: no flow runs any more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._busy.clear()
        try:
            self._store()
        finally:
            self._ledger.write()  # what was stored, even if no more can be

    def _run(self) -> None:
        last = time.monotonic()
        try:
            while not self._ended.wait(PAUSE):
                self._store()
                if time.monotonic() - last > WRITE_EVERY:
                    self._ledger.write()
                    last = time.monotonic()
        except BaseException as error:  # the run ends with it, in its own thread
            self._error = error

    def _free(self, name: str) -> bool:
        return not any(name in busy for busy in self._busy.values())

    def _store(self) -> None:
        """Store whatever nothing reads now."""
        with self._ledger.guard:
            names = [name for name in self._waiting if self._free(name)]
        moved = self._ledger.moved(names) if names else set()
        for name in names:
            if self._ended.is_set() and threading.current_thread() is self._thread:
                return
            with self._ledger.guard:
                if not self._free(name):
                    continue  # a flow that reads it has begun since
                if name in moved:
                    self._say(f"{name}: what it depends on was changed while it ran; run again to bring it up to date")
                else:
                    self._ledger.store(name)
                del self._waiting[name]
            time.sleep(0.001)  # a lock is not handed over: without this, whoever waits for it waits for all
