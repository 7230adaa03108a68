"""Warm processes that run nodes: forked from one that imported everything; they die with the run."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import active_children, forkserver, get_context
from typing import Any

from collapse_lab.engine.server import RUN, die_with_parent, until_it_answers
from collapse_lab.flows import prefect_door

_held = ExitStack()


@dataclass(frozen=True)
class Outcome:
    """How a piece of work ended: ``error`` is one line (None: well), ``trace`` the traceback for --debug.

    After what ``ends`` the run, every other node would fail in the same way. ``degenerate``: no fit was possible.
    """

    error: str | None
    trace: str
    seconds: float
    ends: bool = False
    degenerate: bool = False


def _begin(url: str) -> None:
    from tqdm import tqdm

    from collapse_lab.engine.parent_death import BORN_IN

    die_with_parent(BORN_IN)
    # Progress bars would share a lock between processes, which a killed one leaves behind.
    tqdm.set_lock(threading.RLock())
    import collapse_lab.engine.preload  # noqa: F401  there already, where it could be imported before the fork

    prefect_door.serve_by(url)  # Prefect was imported before there was a server
    _settle(url)


def _settle(url: str) -> None:
    """Enter, once and for the life of the process, what a flow run would set up and take down each time."""
    from collapse_lab.flows._run import no_heartbeat

    logging.getLogger("prefect.task_runs").setLevel(logging.WARNING)  # the UI shows states without a log of them
    logging.raiseExceptions = False  # that a server is gone is the parent's to say, in a line of its own
    _held.enter_context(no_heartbeat())
    until_it_answers(url)  # on a busy machine the server may come up last
    _held.enter_context(prefect_door.client())


def _warm() -> None:
    """Do nothing: the first call starts the process."""


def _work(kind: str, key: str, parent: str | None) -> Outcome:
    import traceback

    from prefect.client.orchestration import get_client

    from collapse.errors import Degenerate, InputError, NodeError, storage
    from collapse_lab.flows._run import create, find
    from collapse_lab.tasks import events

    events.belong(parent)
    begin = time.perf_counter()
    flow, words = find(kind), parameters(kind, key)
    try:
        run = create(get_client(sync_client=True), flow, key, words)  # the client that is held
        prefect_door.run(flow, run, words)
    except (InputError, NodeError) as error:
        prefect_door.send_logs()  # a failed node may be the last of a run, which then kills this process
        return Outcome(str(error), traceback.format_exc(), time.perf_counter() - begin,
                       degenerate=isinstance(error, Degenerate))
    except Exception as error:  # a worker reports whatever ended a node; the parent goes on with other branches
        fault = storage(error)
        text = fault or " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Outcome(text, traceback.format_exc(), time.perf_counter() - begin, ends=fault is not None)
    return Outcome(None, "", time.perf_counter() - begin)


def parameters(kind: str, key: str) -> dict[str, Any]:
    """Return the parameters of a flow run: a generation is judged in the run that makes it."""
    if kind == "generation":
        return {"node": key, "judge": True}
    return {{"real": "node", "check": "node", "calibrate": "key", "report": "study"}[kind]: key}


def warm() -> None:
    """Start the process that workers fork from: it takes seconds to import what they need."""
    context = get_context("forkserver")  # it has one thread, so that forking it is safe
    context.set_forkserver_preload(["collapse_lab.engine.parent_death", "collapse_lab.engine.preload"])
    os.environ[RUN] = str(os.getpid())
    # Born deaf to Ctrl-C: the parent decides how a run ends.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, before)


class Workers:
    """``count`` warm processes."""

    def __init__(self, count: int, url: str):
        self.count = count
        #: The flow run of the `collapse repro` that these processes serve, once there is one.
        self.parent: str | None = None
        warm()
        self.pool = ProcessPoolExecutor(count, get_context("forkserver"), _begin, (url,))
        before = active_children()
        self.warm = [self.pool.submit(_warm) for _ in range(count)]
        self._processes = [process for process in active_children() if process not in before]

    def ready(self) -> None:
        """Wait until every process has what it needs."""
        wait(self.warm)

    def submit(self, kind: str, key: str) -> Future[Outcome]:
        """Run a flow in the next free process."""
        return self.pool.submit(_work, kind, key, self.parent)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes at once, whatever they do: an unfinished node leaves nothing in place."""
        for process in self._processes:
            process.kill()  # the pool itself would wait for their work
        self.pool.shutdown(wait=True, cancel_futures=True)
