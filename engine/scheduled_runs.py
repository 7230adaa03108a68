"""What comes next, in the Prefect UI: flow runs that wait, made one by one while others run already.

A flow run that waits stands for one to come, and is deleted when that begins as a flow run of its own. Prefect expects
a run at the moment of its creation, or when it is scheduled for, and counts from there for good: of one that was made
ahead and then run, it would say "1m 16s late" (its lists) or look for it on another day (its dashboard).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from collapse_lab.engine.workers import parameters
from collapse_lab.flows._run import create, find

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

#: Seconds between two of them: the server has others to serve.
PAUSE = 0.05
#: How many wait at a time. A run that is stopped deletes them one by one, and nobody waits long for that.
AHEAD = 100


@dataclass(frozen=True)
class Coming:
    """A flow run to come: the flow's kind and its key."""

    kind: str
    key: str


class ScheduledRuns:
    """Creates flow runs that wait, and deletes those whose units have begun, in a thread of its own."""

    def __init__(self, coming: Iterable[Coming]):
        self._coming = list(coming)
        self._made: dict[tuple[str, str], UUID] = {}
        self._begun: set[tuple[str, str]] = set()
        self._over: deque[UUID] = deque()
        self._lock, self._ended = threading.Lock(), threading.Event()
        # A context is a copy: the settings that hold here hold there.
        self._thread = threading.Thread(target=copy_context().run, args=(self._announce,), daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def begun(self, kind: str, key: str) -> None:
        """Note that a unit has begun: it waits no longer, and is never announced after this."""
        with self._lock:
            self._begun.add((kind, key))
            run = self._made.pop((kind, key), None)
            if run is not None:
                self._over.append(run)

    def _announce(self) -> None:
        from prefect.client.orchestration import get_client

        with suppress(Exception), get_client(sync_client=True) as client:  # a dead server is noticed elsewhere
            for item in self._coming:
                while not self._ended.wait(PAUSE):
                    self._clear(client)
                    if len(self._made) < AHEAD:
                        break
                if self._ended.is_set():
                    return
                name = item.kind, item.key
                if name in self._begun:
                    continue
                run = create(client, find(item.kind), item.key, parameters(item.kind, item.key), waits=True)
                with self._lock:
                    if name in self._begun:  # it began while this was made
                        self._over.append(run.id)
                    else:
                        self._made[name] = run.id
            while not self._ended.wait(PAUSE):
                self._clear(client)

    def _clear(self, client: SyncPrefectClient) -> None:
        from prefect.exceptions import ObjectNotFound

        while self._over:
            with suppress(ObjectNotFound):  # somebody has deleted it in the UI
                client.delete_flow_run(self._over[0])
            self._over.popleft()

    def end(self) -> None:
        """Stop, and delete the flow runs that still wait."""
        from prefect.client.orchestration import get_client

        self._ended.set()
        self._thread.join(timeout=5)
        with get_client(sync_client=True) as client:
            for run in (*self._over, *self._made.values()):
                with suppress(Exception):  # the server may be gone; its history is not the record
                    client.delete_flow_run(run)
        self._over.clear()
        self._made.clear()
