"""What comes next, in the Prefect UI: flow runs that wait, made one by one while others run already."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.run import create, find
from flows.workers import parameters

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

#: Seconds between two of them: the server has others to serve.
PAUSE = 0.05
#: How many wait at a time. A run that is stopped deletes them one by one, and nobody waits long for that.
AHEAD = 100


@dataclass(frozen=True)
class Coming:
    """A flow run to come: the flow's kind and its key."""

    kind: str
    key: str


class Announcer:
    """Creates flow runs in a thread of its own; one that is needed before it is there is created by its worker."""

    def __init__(self, coming: Iterable[Coming]):
        self._coming = list(coming)
        self._made: dict[tuple[str, str], FlowRun] = {}
        self._taken: set[tuple[str, str]] = set()
        self._lock, self._ended = threading.Lock(), threading.Event()
        # A context is a copy: the settings that hold here hold there.
        self._thread = threading.Thread(target=copy_context().run, args=(self._create,), daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def take(self, kind: str, key: str) -> FlowRun | None:
        """Return the flow run that waits for a unit, if it is there yet; it is never made after this."""
        with self._lock:
            self._taken.add((kind, key))
            return self._made.pop((kind, key), None)

    def _create(self) -> None:
        from prefect.client.orchestration import get_client

        with suppress(Exception), get_client(sync_client=True) as client:  # a dead server is noticed elsewhere
            for item in self._coming:
                while not self._ended.wait(PAUSE) and len(self._made) >= AHEAD:
                    pass
                if self._ended.is_set():
                    return
                name = item.kind, item.key
                if name in self._taken:
                    continue
                run = create(client, find(item.kind), item.key, parameters(item.kind, item.key), waits=True)
                with self._lock:
                    begun = name in self._taken
                    if not begun:
                        self._made[name] = run
                if begun:  # it began while this was made
                    client.delete_flow_run(run.id)

    def end(self) -> None:
        """Stop, and delete the flow runs that were not needed."""
        from prefect.client.orchestration import get_client

        self._ended.set()
        self._thread.join(timeout=5)
        with get_client(sync_client=True) as client:
            for run in self._made.values():
                with suppress(Exception):  # the server may be gone; its history is not the record
                    client.delete_flow_run(run.id)
        self._made.clear()
