"""The Prefect server of a run: the configured one, the project's own that already serves, or one for the run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

from collapse.errors import NodeError

HOME = Path(".prefect")
#: Where a server of this project leaves its address while it serves.
ADDRESS = HOME / "server.json"
START_SECONDS = 180
#: Where a run says to the process that its workers fork from who it is.
RUN = "COLLAPSE_RUN"


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel end this process when its parent dies, so that no orphan writes later (Linux).

    It ends at once if the parent is not ``parent``, a process id: it died before this process could be tied to it.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url: str) -> bool:
    """Return whether a Prefect API answers at ``url``."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False


def own() -> str | None:
    """Return the address of this project's server, if one serves now."""
    try:
        url = json.loads(ADDRESS.read_text())["api"]
    except (OSError, ValueError, KeyError):
        return None
    return url if answers(url) else None


def configured() -> str | None:
    """Return the server that the user's Prefect settings name, if any."""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def start(port: int, events: bool = False) -> subprocess.Popen[bytes]:
    """Start a server with its UI on loopback, its history in the project's ``.prefect/``.

    ``events`` keeps the feed of events as well, and has automations act on them. Runs, tasks, logs and artifacts do not
    need it, and storing it makes SQLite refuse some requests, for each of which a client then waits two seconds.
    """
    HOME.mkdir(exist_ok=True)
    database = f"sqlite+aiosqlite:///{(HOME / 'server.db').resolve()}"
    environment = {**os.environ, "PREFECT_API_DATABASE_CONNECTION_URL": database, "PREFECT_SERVER_UI_ENABLED": "true",
                   "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
                   "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": str(events).lower(),
                   "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": str(events).lower()}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "collapse_lab.engine.prefect_server", "--host", "127.0.0.1", "--port", str(port)]
    with open(HOME / "server.log", "ab") as log:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                preexec_fn=partial(die_with_parent, os.getpid()), start_new_session=True)


def wait(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            raise NodeError(f"the Prefect server did not start; see {HOME / 'server.log'}, or set PREFECT_API_URL to "
                            f"a server of yours")
        time.sleep(0.1)


def until_it_answers(url: str) -> None:
    """Wait until a server that another process starts answers, as long as that process would."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(url) and time.monotonic() < deadline:
        time.sleep(0.2)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and what it started."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()


def publish(url: str) -> None:
    """Leave the address of this project's server for later commands."""
    from collapse.storage import put, staging, write_text

    with staging(HOME, "address") as folder:
        write_text(folder / "server.json", json.dumps({"api": url}) + "\n")
        put(folder / "server.json", ADDRESS)


class Served:
    """A server for the length of a run: found, or started here and ended with it. It is ready some seconds later."""

    def __init__(self, events: bool = False) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        found = configured() or own()
        if found is None:
            port = free_port()
            found = f"http://127.0.0.1:{port}/api"
            self.process = start(port, events)
        self.url = found

    @property
    def ui(self) -> str:
        """Return the address to open in a browser."""
        return self.url.removesuffix("/api")

    def gone(self) -> bool:
        """Return whether the server has ended, or, if it is another's, does not answer for some seconds."""
        if self.process is not None:
            return self.process.poll() is not None
        for _ in range(3):
            if answers(self.url):
                return False
            time.sleep(1)
        return True

    @property
    def farewell(self) -> str:
        """Return what to say when the server is gone."""
        log = f" (its log: {HOME / 'server.log'})" if self.process is not None else ""
        return (f"the Prefect server at {self.ui} ended in the middle of the run{log}; what is finished is kept: run "
                f"it again to go on")

    def ready(self) -> None:
        """Wait until the server answers."""
        if self.process is not None:
            wait(self.process, self.url)
        elif not answers(self.url):
            raise NodeError(f"the Prefect server at {self.url} does not answer; start it, or unset PREFECT_API_URL")

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        """End the server if it was started here."""
        if self.process is not None:
            stop(self.process)


def ui(port: int = 4200) -> None:
    """Serve the Prefect UI on loopback until interrupted, with this project's history."""
    url = own()
    if url:
        print(f"already serving: {url.removesuffix('/api')}")
        return
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    process = start(port, events=True)
    try:
        wait(process, url)
        publish(url)
        print(f"Prefect UI: {url.removesuffix('/api')}  (Ctrl-C ends it; 'collapse repro' in another terminal uses it)",
              flush=True)
        process.wait()
    finally:
        stop(process)
        ADDRESS.unlink(missing_ok=True)
