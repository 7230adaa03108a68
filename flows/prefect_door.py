"""All that is asked of Prefect below its documented interface, in one file: what an upgrade breaks, breaks here.

`tests/test_doors.py` says in one line which of these names an upgrade has taken away.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun

#: What is called here, by module: names without which nothing works.
CALLED = {
    "prefect.context": ("SyncClientContext", "refresh_global_settings_context"),
    "prefect.exceptions": ("TerminationSignal",),
    "prefect.flow_engine": ("run_flow",),
    "prefect.logging.handlers": ("APILogWorker",),
    "prefect.server.database.configurations": ("AioSqliteConfiguration",),
    "prefect.server.database.dependencies": ("provide_database_interface",),
}


def run(flow: Flow[Any, Any], flow_run: FlowRun, parameters: dict[str, Any]) -> None:
    """Run a flow as a flow run that was created beforehand, with the name and the tags that the UI shows."""
    from prefect.flow_engine import run_flow

    run_flow(flow, flow_run=flow_run, parameters=parameters)


def client() -> AbstractContextManager[Any]:
    """Return a context whose ``client`` serves every run in it: one for each would read certificates, 40 ms each."""
    from prefect.context import SyncClientContext

    return SyncClientContext.get_or_create()


def serve_by(url: str) -> None:
    """Have this process, which has imported Prefect already, talk to the server at ``url``."""
    from prefect.context import refresh_global_settings_context

    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


def send_logs() -> None:
    """Send what was logged so far: a process that is about to end may never do it."""
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=5)


def told_to_end(error: BaseException) -> bool:
    """Return whether an error is what Prefect raises inside a flow when the process is told to end."""
    return type(error).__name__ == "TerminationSignal"  # by name: nothing of Prefect is imported for this


def make_database() -> None:
    """Make an empty database where the settings say: some ten seconds of migrations."""
    from prefect.server.database.dependencies import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


def begin_with_lock(line: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Have each transaction of a server in this process wait in ``line``, and take SQLite's write lock as it begins."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    @asynccontextmanager
    async def begin_transaction(self: AioSqliteConfiguration, session: Any,
                                with_for_update: bool = False) -> AsyncIterator[Any]:
        async with line(), begin(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[method-assign, assignment]
