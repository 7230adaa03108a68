"""Every stale node, warm and in parallel, then recorded in DVC: the same result as `dvc repro`."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NoReturn

from collapse.errors import InputError, NodeError, nearest, storage
from collapse.lineage.layout import RECORDS, Files
from collapse.lineage.nodes import Node, all_nodes
from collapse.lineage.plan import check_current
from collapse.study.files import read_params
from collapse.study.parse import Study, read_studies
from collapse_lab.engine.checkout import exclusive, heal, sweep
from collapse_lab.engine.journal import Journal
from collapse_lab.engine.ledger import Ledger
from collapse_lab.engine.progress import Progress
from collapse_lab.engine.recorder import Recorder
from collapse_lab.engine.scan import Pipeline, Scan
from collapse_lab.engine.scheduled_runs import Coming, ScheduledRuns
from collapse_lab.engine.server import Served
from collapse_lab.engine.workers import Outcome, Workers, warm
from collapse_lab.flows import STARTED, plan


@dataclass
class Unit:
    """What one flow run does: a node with its check, a calibration, a report, or the plan."""

    kind: str
    key: str
    stages: list[str]
    upstream: set[str] = field(default_factory=set)
    state: str = "waiting"  # waiting, clean, running, done, failed, skipped
    error: str = ""
    #: Whether it failed since its training rows admit no fit.
    degenerate: bool = False
    #: What the stages depended on when the unit was started.
    prints: dict[str, str] = field(default_factory=dict)
    #: The stages that its flow run covers.
    ran: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return what the unit is called in messages."""
        return self.key if self.kind in {"real", "generation", "check"} else f"{self.kind} {self.key}".strip()

    @property
    def settled(self) -> bool:
        """Return whether units downstream may go on."""
        return self.state in {"clean", "done"}


def units(ledger: Pipeline, selected: Iterable[str]) -> dict[str, Unit]:
    """Return the units of the selected stages, in plan order."""
    found: dict[str, Unit] = {}
    home: dict[str, str] = {}
    selected = list(selected)
    for stage in selected:
        kind, _, key = stage.partition("@")
        # Generation 0 is checked by a run of its own: its band comes from the calibration, which needs it.
        merged = kind == "generation" or (kind == "check" and f"generation@{key}" in selected)
        name = key if merged else stage
        home[stage] = name
        if name not in found:
            found[name] = Unit(kind, key, [])
        found[name].stages.append(stage)
    for name, unit in found.items():
        unit.kind = unit.stages[0].partition("@")[0]
        unit.upstream = {home[u] for stage in unit.stages for u in ledger.upstream[stage]} - {name}
    return found


class Repro:
    """One run of `collapse repro`."""

    def __init__(self, ledger: Ledger, work: dict[str, Unit], known: dict[str, Node], progress: Progress):
        self.ledger = ledger
        self.units = work
        self.known = known
        self.progress = progress
        self.running: dict[Future[Outcome], str] = {}
        self.recorder = Recorder(ledger, progress.say)
        self.scheduled: ScheduledRuns | None = None
        self.traces: list[str] = []
        self.apart = ExitStack()
        self.stopped = False
        #: Whatever most others wait for first: long branches are not left to the end, equal ones go on side by side.
        heights = _heights(work)
        self.order = sorted(work, key=lambda name: -heights[name])
        self.waiting: list[Unit] = []

    def stop(self, *_: object) -> None:
        """End the run at the next safe place (a signal's handler)."""
        self.stopped = True
        raise KeyboardInterrupt

    # ------------------------------------------------------------------------------ what to do

    def settle(self, unit: Unit) -> str | None:
        """Decide a unit whose upstream is settled; return the flow to run for it, or None."""
        taken = False
        for place, stage in enumerate(unit.stages):
            if not self.ledger.changed(stage):
                continue
            if not self._whole(unit, stage):
                unit.ran = unit.stages[place:]
                return stage.partition("@")[0]
            taken = True
        unit.state = "done" if taken else "clean"
        return None

    def _whole(self, unit: Unit, stage: str) -> bool:
        """Take a stage that was finished before, by a run cut short or in DVC's cache, without running it."""
        unit.prints[stage] = self.ledger.fingerprint(stage)
        if not (self.ledger.was_finished(stage, unit.prints[stage]) and self._sound(unit)):
            if not self.ledger.restore(stage, unit.prints[stage]):
                return False
            self.ledger.journal.finished(stage, unit.prints[stage])
        self.recorder.add([stage])
        return True

    def _sound(self, unit: Unit) -> bool:
        from collapse_lab.tasks.node_run import whole

        return unit.key not in self.known or whole(Files.of(self.known[unit.key]))

    # ----------------------------------------------------------------------------------- running

    def go(self, workers: Workers, served: Served) -> None:
        """Run until every unit is settled, failed or skipped.

        Raises
        ------
        NodeError
            If nothing can go on: the server or a worker is gone, or the disk takes no more.
        """
        self.waiting = [self.units[name] for name in self.order if self.units[name].state == "waiting"]
        while True:
            if served.process is not None and served.gone():
                self._part(served)
            if self.stopped:  # libraries have been seen to swallow the interrupt itself
                raise KeyboardInterrupt
            for unit, flow in self._settle_all():
                self._start(unit, flow, workers)
            if not self.running:
                break
            done, _ = wait(self.running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                if outcome.error is not None and not outcome.ends and served.gone():
                    self._part(served)
                name = self.running.pop(future)
                self.recorder.read(name)
                if outcome.ends:
                    raise NodeError(f"{name}: {outcome.error}")
                self._finish(name, outcome)
            self.recorder.watch()
            self.progress.tick()

    def _part(self, served: Served) -> NoReturn:
        """End the run since the server is gone, without Prefect trying for a minute to tell it so."""
        self.retry(0)
        raise NodeError(served.farewell)

    def retry(self, times: int) -> None:
        """Have Prefect ask a server that does not answer so many times more, until the run ends."""
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        self.apart.enter_context(temporary_settings({PREFECT_CLIENT_MAX_RETRIES: times}))

    @property
    def failure(self) -> str:
        """Return which units failed, in one line; nothing if none did."""
        failed = [unit.name for unit in self.units.values() if unit.state == "failed"]
        return f"failed: {', '.join(failed)}" if failed else ""

    def _settle_all(self) -> list[tuple[Unit, str]]:
        """Return the units to start now, at most as many as there are free processes."""
        ready: list[tuple[Unit, str]] = []
        again = True
        while again:
            again = False
            for unit in self.waiting:
                if len(self.running) + len(ready) >= self.progress.workers:
                    break
                if unit.state != "waiting" or any(u is unit for u, _ in ready):
                    continue
                above = [self.units[name] for name in unit.upstream]
                if any(u.state in {"failed", "skipped"} for u in above):
                    unit.state, again = "skipped", True
                    continue
                if not all(u.settled for u in above):
                    continue
                flow = self.settle(unit)
                if flow is None:
                    again = True
                    self._note(unit)
                elif flow == "plan":
                    self._plan(unit)
                    again = True
                else:
                    ready.append((unit, flow))
            self.waiting = [unit for unit in self.waiting if unit.state == "waiting"]
        return ready

    def _plan(self, unit: Unit) -> None:
        """Take note of the plan, which was checked before anything was made."""
        self._finish(unit.stages[0], Outcome(None, "", 0.0))

    def _start(self, unit: Unit, flow: str, workers: Workers) -> None:
        unit.state = "running"
        self.progress.started(unit.key, unit.kind)
        name = unit.key if unit.kind == "generation" else unit.stages[0]
        if self.scheduled is not None:
            self.scheduled.begun(flow, unit.key)
        self.recorder.reading(name, unit.stages)
        self.running[workers.submit(flow, unit.key)] = name

    def _finish(self, name: str, outcome: Outcome) -> None:
        unit = self.units[name]
        if outcome.error is not None:
            unit.state, unit.error, unit.degenerate = "failed", outcome.error, outcome.degenerate
            self.ledger.journal.failed(unit.ran[0], outcome.error)
            self.traces.append(outcome.trace)
            self.progress.failed(unit.name, outcome.error)
            return
        unit.state = "done"
        for stage in unit.ran:
            if stage in unit.prints:  # a check that ran with its node is cheap to make again after a crash
                self.ledger.journal.finished(stage, unit.prints[stage])
        self._note(unit)
        self.recorder.add(unit.ran)

    def drain(self) -> None:
        """Take what was finished but not yet noticed when the run was stopped; what failed then is tried again."""
        for future, name in self.running.items():
            done = future.done() and not future.cancelled() and future.exception() is None
            if done and future.result().error is None:
                self._finish(name, future.result())
        self.running.clear()

    def _note(self, unit: Unit) -> None:
        node = self.known.get(unit.key)
        if node is None or unit.kind in {"calibrate", "real", "report"}:
            self.progress.finished(unit.key, unit.kind, None)
            return
        try:
            found = json.loads(Files.of(node).record("validation.json").read_text())
            stage = (found["stage"] or {"node": "halted"})["node"]
        except (OSError, ValueError, KeyError):
            stage = None
        self.progress.finished(unit.key, unit.kind, stage)

    # ------------------------------------------------------------------------------ Prefect's side

    def coming(self, stale: set[str]) -> list[Coming]:
        """Return the flow runs of all units that may have to run."""
        return [Coming(self.units[name].kind, self.units[name].key) for name in self.order
                if name in stale and self.units[name].kind != "plan"]


def _heights(work: dict[str, Unit]) -> dict[str, int]:
    """Return for each unit how many others stand on it in the longest chain."""
    found = dict.fromkeys(work, 0)
    for name in reversed(list(TopologicalSorter({name: unit.upstream for name, unit in work.items()}).static_order())):
        for above in work[name].upstream:
            found[above] = max(found[above], found[name] + 1)
    return found


def downstream(work: dict[str, Unit], names: Iterable[str]) -> set[str]:
    """Return ``names`` and all that depends on them."""
    found = set(names)
    grew = True
    while grew:
        more = {name for name, unit in work.items() if name not in found and unit.upstream & found}
        grew = bool(more)
        found |= more
    return found


def look(studies: dict[str, Study], study: str | None = None,
         branch: str | None = None) -> tuple[Ledger | None, Scan, dict[str, Unit]]:
    """Return which of the chosen stages are stale, as noted or by asking DVC, which takes a ledger; and their units.

    Raises
    ------
    InputError
        If the study or branch does not exist, or dvc.yaml is unsound.
    """
    noted = Scan.read()
    if noted is not None:
        names = chosen(noted, studies, study, branch)
        if noted.seen.issuperset(names):
            return None, noted, units(noted, names)
    ledger = Ledger()
    names = chosen(ledger, studies, study, branch)
    return ledger, ledger.scan(names), units(ledger, names)


def chosen(
    ledger: Pipeline, studies: dict[str, Study], study: str | None, branch: str | None
) -> list[str]:
    """Return the stages to bring up to date.

    Raises
    ------
    InputError
        If the study or branch does not exist.
    """
    if study is None and branch is not None and len(studies) == 1:
        study = next(iter(studies))
    if branch is not None and study is None:
        raise InputError("--branch needs --study: several studies are listed in params.yaml")
    if study is None:
        return list(ledger.order)
    if study not in studies:
        raise InputError(f"params.yaml: '{study}' is not in studies{nearest(study, studies)}")
    if branch is None:
        return ledger.select([f"report@{study}"])
    if branch not in studies[study].branches:
        raise InputError(f"studies/{study}.yaml: '{branch}' is not a branch"
                         f"{nearest(branch, studies[study].branches)}")
    last = studies[study].branches[branch].last
    return ledger.select([f"check@{studies[study].node(branch, last)}"])


def repro(study: str | None = None, branch: str | None = None, workers: int | None = None,
          debug: bool = False) -> list[Unit]:
    """Bring every stale node up to date and record it in DVC; return what failed.

    Raises
    ------
    InputError
        If a study is wrong, the map is stale, or another run holds this checkout. Nothing is changed.
    NodeError
        If the server cannot be reached.
    """
    params = read_params(Path())
    studies = read_studies(Path(), params)
    check_current(Path(), studies)
    with exclusive(), ExitStack() as held:
        notes = heal()
        count = workers or params.machine.workers

        @cache
        def start() -> tuple[Served, Workers]:
            warm()
            served = held.enter_context(Served())
            return served, held.enter_context(Workers(count, served.url))

        # In a fresh checkout everything is stale: server and workers start while DVC looks.
        if not RECORDS.exists():
            start()
        with Progress(studies, count) as progress:
            for note in notes:
                progress.say(note)
            ledger, scan, work = look(studies, study, branch)
            stale = {name for name, unit in work.items() if scan.stale.intersection(unit.stages)}
            if not stale:
                progress.say(f"nothing to do: {len(work)} nodes, calibrations and reports are up to date")
                Journal().close()
                return []
            ledger = ledger or Ledger()
            progress.say("starting the Prefect server and the workers ...")
            return _repro(ledger, work, stale, progress, start, debug)


def _repro(ledger: Ledger, work: dict[str, Unit], stale: set[str], progress: Progress,
           start: Callable[[], tuple[Served, Workers]], debug: bool) -> list[Unit]:
    plan.check()  # before anything is made: an unsound study changes nothing
    stale = downstream(work, stale)
    for name, unit in work.items():
        if name not in stale:
            unit.state = "clean"
    ledger.open()
    run = Repro(ledger, work, all_nodes(progress.studies), progress)
    _served(run, stale, *start())
    failed = [unit for unit in work.values() if unit.state == "failed"]
    if not failed:
        ledger.journal.close()
        ledger.scan(stage for unit in work.values() for stage in unit.stages)  # for the next run, which need not ask
    progress.summary(work)
    if debug:
        for trace in run.traces:
            progress.say(trace)
    return failed


def _served(run: Repro, stale: set[str], served: Served, workers: Workers) -> None:
    """Run with a server and warm workers, and record what is finished however the run ends."""
    from prefect import flow
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    from collapse_lab.flows._run import no_heartbeat
    from collapse_lab.tasks.events import collected, recorded

    progress = run.progress
    served.ready()
    # The parent has nothing to log, and its log would outlive the server.
    settings = {PREFECT_API_URL: served.url, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), run.apart, no_heartbeat(), collected(progress.say):
        workers.ready()
        progress.say(f"Prefect UI: {served.ui} (ready after {time.monotonic() - STARTED:.1f} s)")
        run.scheduled = ScheduledRuns(run.coming(stale))
        run.scheduled.start()
        run.recorder.start()
        progress.total([unit.key for name, unit in run.units.items() if name in stale])

        @flow(persist_result=False, name="repro", flow_run_name="repro", log_prints=False)
        def whole_run() -> None:
            with recorded("repro") as told:
                workers.parent = told.id
                run.go(workers, served)
                told.error = run.failure
            run.retry(1)  # of a server that dies now the end would be told for two minutes

        before = {number: signal.signal(number, run.stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            whole_run()
        except BrokenProcessPool:
            raise NodeError("a worker was killed, by the system if memory ran out (fewer workers need less: --workers "
                            "1); what is finished is kept: run it again to go on") from None
        except Exception as error:
            if isinstance(error, (InputError, NodeError)) or storage(error) or not served.gone():
                raise
            raise NodeError(served.farewell) from error  # Prefect could not report the end of the run
        finally:
            for number in before:
                signal.signal(number, signal.SIG_IGN)  # what follows takes seconds and must be whole
            workers.close()  # before anything is recorded: no process writes any more
            sweep()
            run.drain()
            run.recorder.finish()
            if not served.gone():
                run.scheduled.end()
            for number, handler in before.items():
                signal.signal(number, handler)
