"""The log of OpenLineage events, and the copy that a collector gets where the user has configured one.

Every event is one line in ``.openlineage/events.jsonl``. A collector is found as the OpenLineage client finds it
(``OPENLINEAGE_URL``, ``OPENLINEAGE__TRANSPORT__…``, ``OPENLINEAGE_CONFIG``, ``openlineage.yml``); the events of a run
are sent from a thread that follows the log, so that no node waits. ``OPENLINEAGE_DISABLED=true`` switches all off.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapse.storage import put, staging, write_text

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import RunEvent

    from collapse_lab.tasks.openlineage import Place

HOME = Path(".openlineage")
LOG = HOME / "events.jsonl"
#: The group of processes whose collector did not answer: the stages of one `dvc repro` ask once and warn once.
SILENT = HOME / "silent"
#: Seconds that the end of a run waits for a collector, all events together.
PATIENCE = 3.0
#: Seconds between looks at the log.
LOOK = 0.2
#: Characters of an error that an event holds.
LONGEST = 300


@dataclass
class RunEvents:
    """A run of a stage while it goes on; ``error`` makes it a failed one though nothing was raised."""

    id: str
    stage: str
    parent: RunEvents | None = None
    error: str = ""
    #: Where the stage stands, looked up once.
    place: Place | None = None


#: What the runs of this process belong to: the `collapse repro` that a warm worker serves.
_above: RunEvents | None = None
_warned = False


def enabled() -> bool:
    """Return whether events are wanted."""
    return os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() != "true"


def warm() -> None:
    """Import the client now, so that no node waits for it."""
    if enabled():
        import collapse_lab.tasks.openlineage  # noqa: F401


def belong(run: str | None) -> None:
    """Have the runs of this process belong to the `collapse repro` whose run this is."""
    global _above
    _above = RunEvents(run, "repro") if run else None


@contextmanager
def recorded(stage: str, within: RunEvents | None = None) -> Iterator[RunEvents]:
    """Log that a stage starts, and that it is complete, has failed or was stopped; what is raised goes on.

    Parameters
    ----------
    stage
        As dvc.yaml calls it. Its run is that of the Prefect flow around, which must be there.
    within
        The run, in the same flow run, that this one is a part of.
    """
    run = RunEvents(_flow_run(), stage, _above)
    if within is not None:
        run = RunEvents(str(uuid.uuid5(uuid.UUID(within.id), stage)), stage, within, place=within.place)
    _log("START", run)
    try:
        yield run
    except Exception as error:
        run.error = " ".join(str(error).split()) or type(error).__name__
        _log("FAIL", run)
        raise
    except BaseException:
        _log("ABORT", run)
        raise
    _log("FAIL" if run.error else "COMPLETE", run)


def _flow_run() -> str:
    from prefect.runtime import flow_run

    return str(flow_run.id or uuid.uuid4())


def _log(state: str, run: RunEvents) -> None:
    global _warned
    if not enabled():
        return
    try:
        write(_line(state, run))
    except Exception as error:  # a log never fails what it tells of
        if not _warned:
            print(f"warning: {LOG}: no event of {run.stage} ({' '.join(str(error).split())[:LONGEST]})",
                  file=sys.stderr)
        _warned = True


def _line(state: str, run: RunEvents) -> str:
    from collapse_lab.tasks import openlineage

    sets: Any = ((), ())
    if run.stage != openlineage.REPRO:
        try:
            run.place = run.place or openlineage.place(run.stage)
            sets = openlineage.datasets(run.stage, run.place, made=state == "COMPLETE")
        except Exception:
            if state == "COMPLETE":
                raise
    if state in {"FAIL", "ABORT"}:
        sets = (sets[0], ())
    parent = (run.parent.id, run.parent.stage) if run.parent else None
    return openlineage.line(openlineage.event(state, run.stage, run.id, datetime.now(UTC).isoformat(), sets,
                                              parent=parent, error=run.error[:LONGEST]))


def write(text: str) -> None:
    """Append one line to the log: one write, so that lines of several processes stay whole.

    Raises
    ------
    OSError
        If it cannot be written, or not whole.
    """
    HOME.mkdir(exist_ok=True)
    line = text.encode() + b"\n"
    handle = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(handle, line) < len(line):
            raise OSError("no space left")
    finally:
        os.close(handle)


def parse(text: str) -> RunEvent:
    """Return the event that a line of the log holds.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it holds none.
    """
    from openlineage.client import event_v2 as ol

    body = json.loads(text)
    run, job = body["run"], body["job"]
    return ol.RunEvent(
        eventType=ol.RunState(body["eventType"]), eventTime=body["eventTime"], producer=body["producer"],
        run=ol.Run(run["runId"], run.get("facets", {})),
        job=ol.Job(job["namespace"], job["name"], job.get("facets", {})),
        inputs=[ol.InputDataset(d["namespace"], d["name"], d.get("inputFacets", {}), facets=d.get("facets", {}))
                for d in body.get("inputs", [])],
        outputs=[ol.OutputDataset(d["namespace"], d["name"], d.get("outputFacets", {}), facets=d.get("facets", {}))
                 for d in body.get("outputs", [])])


# ------------------------------------------------------------------------------------------------ collectors


def client() -> OpenLineageClient | None:
    """Return a client for the collector that the user has configured, or None."""
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.noop import NoopConfig, NoopTransport

    if not os.environ.get("OPENLINEAGE_CLIENT_LOGGING"):
        for name in ("openlineage", "urllib3"):  # one line of our own says it, and says it once
            logging.getLogger(name).setLevel(logging.CRITICAL)
    settled = OpenLineageClient(transport=NoopTransport(NoopConfig())).config.transport or {}
    if not settled.get("type") and not os.environ.get("OPENLINEAGE_URL"):
        return None
    # The client would add the address of the git remote, which may hold a token.
    return OpenLineageClient(config={"facets": {"source_code_location": {"disabled": True}}})


@contextmanager
def collected(say: Callable[[str], None], once: bool = False) -> Iterator[None]:
    """Send a copy of every event that is logged meanwhile to the collector, if there is one.

    Parameters
    ----------
    say
        Called with one line if the collector does not answer: at most once.
    once
        This process is one of many of a run: if another has found the collector silent, do not ask it again.
    """
    if not enabled() or (once and _silent()):
        yield
        return
    sender = _Sender(say, once)
    sender.thread.start()
    try:
        yield
    finally:
        sender.close()


class _Sender:
    def __init__(self, say: Callable[[str], None], once: bool):
        self.say, self.once = say, once
        self.place = LOG.stat().st_size if LOG.exists() else 0
        self.ending = threading.Event()
        self.sent = 0
        self.warned = False
        self.thread = threading.Thread(target=self._follow, name="openlineage", daemon=True)

    def _follow(self) -> None:
        try:
            collector = client()
            if collector is None:
                return
            last = False
            while not last:
                last = self.ending.wait(LOOK)  # what was logged before the end is read after it
                for line in self._lines():
                    collector.emit(parse(line))
                    self.sent += 1
            collector.close(PATIENCE)
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            mute = isinstance(error, OSError) and getattr(error, "response", None) is None
            self._warn("does not answer" if mute else f"takes no events ({text[:LONGEST]})")

    def _lines(self) -> list[str]:
        try:
            with open(LOG, "rb") as file:
                file.seek(self.place)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.place += len(whole)
        return [line for line in whole.decode("utf-8", "replace").splitlines() if line]

    def close(self) -> None:
        self.ending.set()
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            self._warn("does not answer")

    def _warn(self, what: str) -> None:
        if self.warned:
            return
        self.warned = True
        self.say(f"the OpenLineage collector {what}; {LOG} has all")
        if self.once:
            with suppress(OSError), staging(HOME, "silent") as stage:
                write_text(stage / "silent", f"{os.getpgid(0)}\n")
                put(stage / "silent", SILENT)


def _silent() -> bool:
    try:
        return SILENT.read_text(encoding="utf-8").strip() == str(os.getpgid(0))
    except OSError:
        return False
