"""How a flow is run as a command: quietly, without waiting for heartbeats, with one-line errors."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from collapse.errors import InputError, NodeError, storage
from collapse_lab.flows import prefect_door

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

#: Kinds of flows whose key is a node.
NODES = frozenset({"real", "generation", "check"})
#: For when a flow run that waits is scheduled: longer than a run takes, or Prefect would call it late.
LATEST = timedelta(days=30)


@contextmanager
def no_heartbeat() -> Iterator[None]:
    """Run flows without a heartbeat: a synchronous flow would wait for its thread, a second at every end."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def command(function: Callable[..., Any], *arguments: Any, makes: bool = True) -> int:
    """Call ``function`` and return the exit code: 2 for bad input, 1 for a node that failed, both in one line.

    ``makes``: it makes what is worth keeping when it is stopped.
    """
    stopped = "stopped; what is finished is kept" if makes else "stopped"
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
        print(stopped, file=sys.stderr)
        return 130
    except BaseException as error:
        if not prefect_door.told_to_end(error):
            raise
        print(stopped, file=sys.stderr)
        return 143
    return 0


def _warn(text: str) -> None:
    print(text, file=sys.stderr)


def find(kind: str) -> Flow[Any, Any]:
    """Return the flow of a kind of stage."""
    return getattr(importlib.import_module(f"collapse_lab.flows.{kind}"), kind)  # type: ignore[no-any-return]


def labels(node: str) -> list[str]:
    """Return the tags of a node's run: study, branch and regime."""
    from collapse_lab.tasks.node_run import find as place_of

    study, place = place_of(node)
    if place.branch is None:
        return [study.name, "real"]
    return list(dict.fromkeys([study.name, place.branch, study.branches[place.branch].regime.kind]))


def create(client: SyncPrefectClient, flow: Flow[Any, Any], key: str, parameters: dict[str, Any],
           waits: bool = False) -> FlowRun:
    """Create a flow run with the name and the tags that the UI shows; one that ``waits`` stands for a run to come.

    Tags that Prefect's context sets are handed on to the tasks, and each of them then asks the server whether its tags
    have a limit, for which it takes SQLite's only write lock: half a node's time, and up to a minute if it is refused.
    """
    from prefect.states import Pending, Scheduled

    node = flow.name in NODES
    state = Scheduled(scheduled_time=datetime.now(UTC) + LATEST, name="Waiting") if waits else Pending()
    return client.create_flow_run(flow, name=key if node else f"{flow.name}-{key}", state=state,
                                  tags=labels(key) if node else [key], parameters=parameters)


def main(flow: Flow[Any, Any]) -> None:
    """Run a stage of dvc.yaml: the flow, for what the command's first word names.

    What follows (the digest of the stage's code, what is withdrawn) is there for DVC, which runs a stage again whose
    command has changed.
    """

    def call() -> None:
        from collapse_lab.tasks.events import collected

        words = [word for word in sys.argv[1:] if word != "--debug"]
        if not words:
            raise InputError(f"{flow.name}: names no stage; 'dvc repro' and 'collapse repro' call it")
        given = {next(iter(inspect.signature(flow.fn).parameters)): words[0]}
        # Under `dvc repro` every stage is a process: one asks a silent collector, and warns.
        with no_heartbeat(), prefect_door.client() as context, collected(_warn, once=True):
            prefect_door.run(flow, create(context.client, flow, words[0], given), given)

    sys.exit(command(call))
