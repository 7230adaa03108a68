"""Recording beside a run, and the server under many writers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from collapse_lab.engine.recorder import Recorder


class Kept:
    """What a recorder asks of a ledger, with a note of what was stored when, and while what was read."""

    def __init__(self, upstream: dict[str, set[str]]):
        self.guard = threading.RLock()
        self.upstream = upstream
        self.stored: list[str] = []
        self.written: list[str] = []
        self.changed: set[str] = set()
        self.fails = ""

    def moved(self, names):
        return self.changed & set(names)

    def store(self, name):
        if name == self.fails:
            raise OSError(28, "No space left on device")
        self.stored.append(name)

    def write(self):
        self.written = list(self.stored)


@pytest.fixture
def kept():
    return Kept({"a": set(), "b": {"a"}, "c": {"b"}, "d": set()})


def until(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_nothing_is_stored_that_a_running_flow_reads_or_writes(kept):
    recorder = Recorder(kept, print)
    recorder.reading("b", ["b"])
    recorder.add(["a", "d"])
    recorder.start()
    assert until(lambda: kept.stored == ["d"])
    time.sleep(0.5)
    assert kept.stored == ["d"]
    recorder.read("b")
    recorder.reading("c", ["c"])  # it reads b, not a
    recorder.add(["b"])
    assert until(lambda: kept.stored == ["d", "a"])
    assert not kept.written
    recorder.finish()
    assert kept.stored == kept.written == ["d", "a", "b"]


def test_what_was_changed_is_left_stale_and_said(kept):
    said = []
    recorder = Recorder(kept, said.append)
    kept.changed = {"a"}
    recorder.add(["a", "d"])
    recorder.finish()
    assert kept.written == ["d"]
    assert len(said) == 1 and said[0].startswith("a: what it depends on was changed")


def test_a_full_disk_ends_the_run_and_what_was_stored_is_written(kept):
    recorder = Recorder(kept, print)
    kept.fails = "d"
    recorder.add(["a", "d"])
    recorder.start()
    with pytest.raises(OSError, match="No space left"):
        until(lambda: recorder.watch() is not None)
    with pytest.raises(OSError, match="No space left"):
        recorder.finish()
    assert kept.written == ["a"]
    kept.fails = ""
    recorder.finish()
    assert kept.written == ["a", "d"]


def test_the_server_refuses_no_writer(prefect_api):
    """Of stock Prefect on SQLite, a tenth of these and more is refused."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from collapse_lab.flows._run import create

    @flow(name="report")
    def report(study: str) -> None:
        """Stand for a report."""

    def write(place: int) -> None:
        with temporary_settings({PREFECT_API_URL: prefect_api, PREFECT_CLIENT_MAX_RETRIES: 0}), \
                get_client(sync_client=True) as client:
            for turn in range(10):
                create(client, report, f"many-{place}-{turn}", {"study": "many"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))


def test_a_run_that_waits_is_not_called_late(prefect_api, monkeypatch):
    """Prefect counts from when a run was created; of one that waits it does not, nor of the one that it stood for."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.flow_engine import run_flow
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from collapse_lab.engine import scheduled_runs
    from collapse_lab.flows._run import create

    @flow(name="report", persist_result=False)
    def report(study: str) -> str:
        """Stand for a report."""
        return study

    monkeypatch.setattr(scheduled_runs, "find", lambda kind: report)
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:

        def runs(key: str):
            named = FlowRunFilter(name=FlowRunFilterName(any_=[f"report-{key}"]))
            return client.read_flow_runs(flow_run_filter=named, sort=FlowRunSort.ID_DESC, limit=9)

        def late(key: str) -> float:
            return max(run.estimated_start_time_delta.total_seconds() for run in runs(key))

        create(client, report, "plain", {"study": "plain"})
        ahead = scheduled_runs.ScheduledRuns(
            [scheduled_runs.Coming("report", key) for key in ("begun", "first", "second")])
        ahead.begun("report", "begun")
        ahead.start()
        until(lambda: runs("second"))
        time.sleep(1.5)  # Prefect's pages show what is above a minute, its API everything
        assert late("plain") > 1  # as this test would see it
        assert [run.state_name for key in ("begun", "first", "second") for run in runs(key)] == ["Waiting"] * 2
        assert late("first") == late("second") == 0

        ahead.begun("report", "first")
        made = create(client, report, "first", {"study": "first"})
        assert run_flow(report, flow_run=made, parameters={"study": "first"}) == "first"
        until(lambda: len(runs("first")) == 1)
        assert [(run.id, run.state_name) for run in runs("first")] == [(made.id, "Completed")] and late("first") < 1
        done = runs("first")[0]
        assert done.expected_start_time <= done.start_time  # the dashboard looks for a run where it was expected
        ahead.end()
        assert not runs("second")


def test_an_empty_database_is_made_once_and_copied(tmp_path, monkeypatch):
    import sqlite3

    import pooch
    import prefect
    from prefect.server.database import dependencies

    from collapse_lab.engine.prefect_server import found

    class Database:
        made = 0

        async def create_db(self):
            Database.made += 1
            with sqlite3.connect(tmp_path / "first.db") as base:
                base.execute("CREATE TABLE flow (id TEXT)")

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(dependencies, "provide_database_interface", Database)
    found(tmp_path / "first.db")
    found(tmp_path / "second.db")
    assert Database.made == 1
    for name in "first.db", "second.db":
        assert sqlite3.connect(tmp_path / name).execute("SELECT name FROM sqlite_master").fetchall() == [("flow",)]
    (tmp_path / "second.db").write_bytes(b"history")
    found(tmp_path / "second.db")
    assert (tmp_path / "second.db").read_bytes() == b"history"  # a project keeps its own
    kept = tmp_path / "cache/collapse-lab" / f"prefect-{prefect.__version__}.db"
    assert list(kept.parent.glob("*.db")) == [kept]

    kept.unlink()
    (tmp_path / "first.db").unlink()
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "first.db" / name)  # a cache that cannot be
    found(tmp_path / "first.db")
    assert Database.made == 2 and (tmp_path / "first.db").stat().st_size
