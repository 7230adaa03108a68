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
import fcntl
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Seconds to wait for the process to come up, and for a stage to end that was told to.
START, GRACE = 90.0, 10.0
LOG = Path(".dvc/tmp/collapse/shared.log")
#: What a run of `collapse repro` holds, and whose process it names.
HELD = Path(".dvc/tmp/collapse/lock")
BEGUN, STOP = b"go", b"stop"
#: The module that is the process; nothing of it is imported here.
SERVER = "collapse_lab.engine.shared"
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish"})


def hand_over(kind: str) -> None:
    """Under DVC, have the shared process run this stage, and exit as it did; otherwise return, to run it here."""
    if "DVC_STAGE" not in os.environ or "--debug" in sys.argv or sys.platform != "linux":
        return
    if not _held():
        number = HELD.read_text(encoding="utf-8").strip() or "unknown"
        print(f"error: another run holds this checkout (process {number}); wait for it, or stop it", file=sys.stderr)
        sys.exit(2)
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


def _held() -> bool:
    """Hold this checkout beside other stages of DVC until this process ends; False: `collapse repro` holds it."""
    HELD.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(HELD, os.O_RDWR | os.O_CREAT)  # never closed: the lock is the process's
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return False
    return True


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
    if user(link) != os.getuid():
        link.close()
        return None
    return link


def user(link: socket.socket) -> int:
    """Return whose process is at the other end."""
    return struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]


def _start(place: Path) -> socket.socket | None:
    """Start the shared process and return a connection to it; None if it does not come up."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    with open(LOG, "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", SERVER, str(place), str(_repro())], env=environment,
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
