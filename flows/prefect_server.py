"""`prefect server start`, with SQLite's write lock taken where a transaction begins, and in turn.

Prefect begins most transactions without it and asks for it at their first write. If another has written since, SQLite
refuses at once, the server answers 503, and the client tries again after 2, 4, 8 … seconds, six times in all: on a busy
server some nodes waited a minute, and one in a thousand failed. Whoever waits for SQLite itself looks every 100 ms;
transactions of this process wait in a line of their own, which hands over at once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

#: Seconds in the line before SQLite is asked all the same: one transaction may have been begun inside another.
PATIENCE = 10.0

_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    """Wait for the transactions before this one."""
    line = _lines.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    mine = False
    with suppress(TimeoutError):
        mine = await asyncio.wait_for(line.acquire(), PATIENCE)
    try:
        yield
    finally:
        if mine:
            line.release()


def main() -> None:
    """Serve; the words of the command line are those of `prefect server start`."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    @asynccontextmanager
    async def begin_transaction(self: AioSqliteConfiguration, session: Any,
                                with_for_update: bool = False) -> AsyncIterator[Any]:
        async with _turn(), begin(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[method-assign, assignment]

    from prefect.cli import app

    sys.argv[1:1] = ["server", "start"]
    app()


if __name__ == "__main__":
    main()
