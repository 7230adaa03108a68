"""What the stages of one `dvc repro` share: a Prefect server, and a process that has imported all they need.

Each stage of DVC is a command of its own, which would start a server and import for seconds. The first therefore
starts a process beside it; this one and the later ones hand it their work over a socket and wait. It forks for each
stage, ends with the `dvc repro` that it serves, or after a minute without work, and nothing depends on its being there:
where it cannot be started, a stage does its own work.

The socket lies in a folder that only this user can open, and both sides ask the kernel who the other is. Its name has
the hash of `lineage.yaml`, which names the digest of all code: a process with other code is never asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

#: Seconds to wait for the process to come up, for a stage to end that was told to, and without work before it ends.
START, GRACE, IDLE = 90.0, 10.0, 60.0
LOG = Path(".dvc/tmp/collapse/shared.log")
BEGUN, STOP = b"go", b"stop"
#: Most bytes of a request: words, folder and environment.
MOST = 2**20
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish"})


# ------------------------------------------------------------------------------------------ a stage's side


def hand_over(kind: str) -> None:
    """Under DVC, have the shared process run this stage, and exit as it did; otherwise return, to run it here."""
    if "DVC_STAGE" not in os.environ or "--debug" in sys.argv or sys.platform != "linux":
        return
    try:
        place = _place()
        # one that is there may be about to end, and take up nothing any more
        begun = _asked(_connect(place), kind) or _asked(_start(place), kind)
    except OSError:
        return
    except KeyboardInterrupt:
        print("stopped; what is finished is kept", file=sys.stderr)
        sys.exit(130)
    if begun is not None:
        sys.exit(_ended(begun))


def _place() -> Path:
    """Return where the socket of this project and its code lies.

    Raises
    ------
    OSError
        If the folder is not this user's alone, or there is no map.
    """
    folder = Path(tempfile.gettempdir()) / f"collapse-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077 or not folder.is_dir() or folder.is_symlink():
        raise PermissionError(f"{folder} is not this user's alone")
    text = f"{Path.cwd()}\n{sys.executable}\n".encode() + Path("lineage.yaml").read_bytes()
    return folder / f"{hashlib.sha256(text).hexdigest()[:24]}.socket"


def _connect(place: Path) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(place))
    except OSError:
        link.close()
        return None
    if _user(link) != os.getuid():
        link.close()
        return None
    return link


def _user(link: socket.socket) -> int:
    """Return whose process is at the other end."""
    return struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]


def _start(place: Path) -> socket.socket | None:
    """Start the shared process and return a connection to it; None if it does not come up."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    with open(LOG, "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "flows.shared", str(place), str(_repro())], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        if link := _connect(place):
            return link
        time.sleep(0.05)
    return None


def _repro() -> int:
    """Return the process of `dvc repro`: the nearest above that is no shell."""
    number = os.getppid()
    with contextlib.suppress(OSError, IndexError, ValueError):
        while Path(f"/proc/{number}/comm").read_text().strip() in _SHELLS:
            number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    return number


def _asked(link: socket.socket | None, kind: str) -> socket.socket | None:
    """Have a stage run with this process's output, and return the connection if it has begun."""
    if link is None:
        return None
    body = json.dumps({"kind": kind, "words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ),
                       "repro": _repro()}).encode()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        socket.send_fds(link, [struct.pack("I", len(body))], [1, 2])
        link.sendall(body)
        if link.recv(len(BEGUN)) == BEGUN:
            return link
    except OSError:
        pass
    link.close()
    return None


def _ended(link: socket.socket) -> int:
    """Wait for a stage that has begun, and return its exit code."""
    try:
        return _code(link)
    except KeyboardInterrupt:
        link.sendall(STOP)
        link.settimeout(GRACE)
        with contextlib.suppress(OSError, KeyboardInterrupt):
            _code(link)
        return 130


def _code(link: socket.socket) -> int:
    said = link.recv(4)
    return struct.unpack("i", said)[0] if len(said) == 4 else 1


# -------------------------------------------------------------------------------------- the shared process


def serve(place: Path, repro: int) -> None:
    """Run stages as they are asked for, until the `dvc repro` that it serves ends, or a minute without work.

    ``repro`` is its process; those of later askers are served as long as they live, too.
    """
    from flows.server import Served

    link = socket.socket(socket.AF_UNIX)
    with Served() as served:
        import flows.warm  # noqa: F401  while the server comes up

        served.ready()
        place.unlink(missing_ok=True)
        before = os.umask(0o177)
        link.bind(str(place))
        os.umask(before)
        link.listen()
        own = place.stat().st_ino
        try:
            _loop(link, {repro}, served.url)
        finally:
            with contextlib.suppress(OSError):
                if place.stat().st_ino == own:  # not that of a later one
                    place.unlink()
            link.close()  # whoever waits to be taken up asks elsewhere


def _loop(link: socket.socket, repros: set[int], url: str) -> None:
    running: dict[int, socket.socket] = {}  # by process
    told: set[int] = set()
    last = time.monotonic()
    try:
        while any(map(_lives, repros)) and (running or time.monotonic() - last < IDLE):
            ready = select.select([link, *(one for n, one in running.items() if n not in told)], [], [],
                                  0.02 if running else 1.0)[0]
            for one in ready:
                if one is link:
                    asker, _ = link.accept()
                    if number := _begin(asker, link, url, repros):
                        running[number] = asker
                else:  # it says stop, or it is gone
                    number = next(n for n, asker in running.items() if asker is one)
                    os.kill(number, signal.SIGINT)
                    told.add(number)
            while running:
                number, status = os.waitpid(-1, os.WNOHANG)
                if not number:
                    break
                if number in running:
                    with contextlib.suppress(OSError), running.pop(number) as asker:
                        asker.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
                last = time.monotonic()
    finally:
        for number in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _begin(asker: socket.socket, link: socket.socket, url: str, repros: set[int]) -> int:
    """Fork for what is asked, and return the process's number; 0 if it was not asked by this user, or not wholly."""
    if _user(asker) != os.getuid():
        asker.close()
        return 0
    asker.settimeout(GRACE)
    fds: list[int] = []
    try:
        head, fds, _, _ = socket.recv_fds(asker, 4, 2)
        size = struct.unpack("I", head)[0]
        body = b""
        while len(body) < size <= MOST:
            piece = asker.recv(size - len(body))
            if not piece:
                break
            body += piece
        request = json.loads(body)
        repros.add(int(request["repro"]))
        asker.sendall(BEGUN)
    except (OSError, ValueError, KeyError, struct.error):
        request = None
    if request is None:
        asker.close()
        for fd in fds:
            os.close(fd)
        return 0
    asker.settimeout(None)
    number = os.fork()
    if number:
        for fd in fds:
            os.close(fd)
        return number
    link.close()
    asker.close()
    _run(request, fds, url)


def _run(request: dict[str, object], fds: list[int], url: str) -> NoReturn:
    """Be the stage that was asked for, in a process of its own."""
    code = 1
    try:
        from flows.server import die_with_parent

        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for place, fd in enumerate(fds, 1):
            os.dup2(fd, place)
        os.chdir(str(request["folder"]))
        os.environ.clear()
        os.environ.update(request["environment"])  # type: ignore[arg-type]
        os.environ["PREFECT_API_URL"] = url
        sys.argv[1:] = request["words"]  # type: ignore[assignment]
        from prefect.context import refresh_global_settings_context
        from prefect.logging.handlers import APILogWorker

        from flows.run import find, main

        refresh_global_settings_context()
        try:
            main(find(str(request["kind"])))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        APILogWorker.drain_all(timeout=5)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
