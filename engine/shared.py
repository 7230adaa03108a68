"""The process that runs the stages of one `dvc repro`: see :mod:`collapse_lab.flows._handover`, the stages' side."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import NoReturn

from collapse_lab.flows import prefect_door
from collapse_lab.flows._handover import BEGUN, GRACE, user

#: Seconds without work before it ends.
IDLE = 60.0
#: Most bytes of a request: words, folder and environment.
MOST = 2**20


def serve(place: Path, repro: int) -> None:
    """Run stages as they are asked for, until the `dvc repro` that it serves ends, or a minute without work.

    ``repro`` is its process; those of later askers are served as long as they live, too.
    """
    from collapse_lab.engine.server import Served

    link = socket.socket(socket.AF_UNIX)
    with Served() as served:
        import collapse_lab.engine.preload  # noqa: F401  while the server comes up

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
    if user(asker) != os.getuid():
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
        from collapse_lab.engine.server import die_with_parent

        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for place, fd in enumerate(fds, 1):
            os.dup2(fd, place)
        os.chdir(str(request["folder"]))
        os.environ.clear()
        os.environ.update(request["environment"])  # type: ignore[arg-type]
        sys.argv[1:] = request["words"]  # type: ignore[assignment]
        from collapse_lab.flows._run import find, main

        prefect_door.serve_by(url)
        try:
            main(find(str(request["kind"])))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        prefect_door.send_logs()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
