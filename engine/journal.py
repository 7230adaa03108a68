"""The journal of a run: which stages are whole, noted and flushed before DVC knows it, and which failed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from collapse.storage import sync
from collapse_lab.engine.checkout import BACKUP, HOME, LOCK, replace

JOURNAL = HOME / "journal.jsonl"


def _journal() -> str:
    """Return the journal, whose end a power cut may have left as anything."""
    return JOURNAL.read_text(encoding="utf-8", errors="replace") if JOURNAL.exists() else ""


def failures() -> dict[str, str]:
    """Return why stages failed in the last run, those that have been made since left out."""
    found: dict[str, str] = {}
    lines = _journal().splitlines()
    for line in lines:
        with suppress(ValueError):  # the last line may be cut short
            entry = json.loads(line)
            if "failed" in entry:
                found[entry["stage"]] = entry["failed"]
            elif "stage" in entry:
                found.pop(entry["stage"], None)
    return found


class Journal:
    """What a run has finished, and the order of dvc.lock from before it."""

    def __init__(self) -> None:
        #: By stage, the hash of all that it depended on when it was made.
        self.made: dict[str, str] = {}
        #: The stages of dvc.lock before the run, in order.
        self.base: list[str] = []

    def open(self, stages: Iterable[str]) -> None:
        """Begin a run: keep a copy of dvc.lock, whose stages these are, or take up the run that was cut short."""
        HOME.mkdir(parents=True, exist_ok=True)
        begun, text = False, _journal()
        for line in text.splitlines():
            with suppress(ValueError, KeyError, TypeError):  # the last line may be cut short
                entry = json.loads(line)
                if "base" in entry:
                    self.base, begun = entry["base"], True
                else:
                    self.made[entry["stage"]] = entry["fingerprint"]
        if begun:
            if not text.endswith("\n"):  # what follows must not be read as part of the line that was cut short
                self._note(None)
            return
        JOURNAL.unlink(missing_ok=True)
        self.base = list(stages)
        if LOCK.exists():
            replace(BACKUP, LOCK.read_text(encoding="utf-8"))
        else:
            BACKUP.unlink(missing_ok=True)
        self._note({"base": self.base})
        sync(HOME)

    def finished(self, name: str, fingerprint: str) -> None:
        """Note that a stage's outputs are whole, before DVC knows it."""
        self.made[name] = fingerprint
        self._note({"stage": name, "fingerprint": fingerprint})

    def failed(self, name: str, error: str) -> None:
        """Note why a stage could not be made, until it is."""
        self._note({"stage": name, "failed": error})

    def close(self) -> None:
        """End a run that recorded all it made."""
        JOURNAL.unlink(missing_ok=True)
        BACKUP.unlink(missing_ok=True)

    def _note(self, entry: dict[str, Any] | None) -> None:
        with open(JOURNAL, "a", encoding="utf-8") as file:
            file.write("\n" if entry is None else json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
