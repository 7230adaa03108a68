"""Run a program and leave nothing of it behind: `python -I -S guard.py LIMIT PROGRAM ARGUMENT…`.

It ends with the program's exit code. When its standard input closes, because whoever started it died or gave up, or
after LIMIT seconds, it kills the program with all that the program started, and ends with 124. It imports little: its
start costs 15 ms.
"""

import contextlib
import os
import select
import signal
import sys
import time

#: Exit codes: the time was up; the program could not be started.
EXPIRED, ABSENT = 124, 127


def main(limit: float, words: list[str]) -> int:
    """Run ``words`` for ``limit`` seconds at most and return the exit code (128 + n after signal n)."""
    adopt()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler of its own, or nothing is woken
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # how a run ends is for whoever started it to say
    nothing = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    try:
        child = os.posix_spawnp(words[0], words, os.environ, file_actions=nothing, setpgroup=0,
                                setsigdef=[signal.SIGINT, signal.SIGTERM])
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", flush=True)
        return ABSENT
    deadline = time.monotonic() + limit
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        left = deadline - time.monotonic()
        if done or left <= 0:
            break
        ready = select.select([0, woken], [], [], left)[0]
        if woken in ready:
            os.read(woken, 512)
        if 0 in ready and not os.read(0, 1):
            break
    sweep(child)
    if not done:
        return EXPIRED
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def adopt() -> None:
    """Become the parent of whatever loses its own below here (Linux), so that no daemon escapes."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def sweep(child: int) -> None:
    """Kill the program's group, then whatever else is left below this process."""
    with contextlib.suppress(OSError):  # all of it may have ended
        os.killpg(child, signal.SIGKILL)
    children = f"/proc/self/task/{os.getpid()}/children"
    for _ in range(1000):  # those of the killed are adopted, and seen in the next round
        with contextlib.suppress(OSError), open(children, encoding="ascii") as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
