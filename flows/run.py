"""How a flow is run as a command: quietly, without waiting for heartbeats, with one-line errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from collapse.errors import InputError, NodeError, storage


@contextmanager
def no_heartbeat() -> Iterator[None]:
    """Run flows without a heartbeat: a synchronous flow would wait for its thread, a second at every end."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def command(function: Callable[..., Any], *arguments: Any) -> int:
    """Call ``function`` and return the exit code: 2 for bad input, 1 for a node that failed, both in one line."""
    debug = "--debug" in sys.argv
    try:
        function(*arguments)
    except (InputError, NodeError) as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except Exception as error:
        if debug:
            raise
        text = storage(error) or " ".join(f"{type(error).__name__}: {error}".split())[:300] + " (--debug shows where)"
        print(f"error: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is finished is kept", file=sys.stderr)
        return 130
    except BaseException as error:
        # Prefect raises this inside a flow when the process is told to end.
        if type(error).__name__ != "TerminationSignal":
            raise
        print("stopped; what is finished is kept", file=sys.stderr)
        return 143
    return 0


def _warn(text: str) -> None:
    print(text, file=sys.stderr)


def main(flow: Callable[..., Any], labels: Callable[..., list[str]] | None = None) -> None:
    """Run a stage of dvc.yaml: the flow, with the command line's words as its parameters and ``labels`` as its tags."""

    def call() -> None:
        from prefect import tags

        from tasks.events import collected

        words = [word for word in sys.argv[1:] if word != "--debug"]
        # Under `dvc repro` every stage is a process: one asks a silent collector, and warns.
        with no_heartbeat(), tags(*(labels(*words) if labels else [])), collected(_warn, once=True):
            flow(*words)

    sys.exit(command(call))
