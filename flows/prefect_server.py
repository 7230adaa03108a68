"""`prefect server start`, with SQLite's write lock taken where a transaction begins.

Prefect begins most transactions without it and asks for it at their first write. If another has written since, SQLite
refuses at once, the server answers 503, and the client tries again after 2, 4, 8 … seconds, six times in all: on a busy
server some nodes waited a minute, and one in a thousand failed. Taken at the beginning, the lock is waited for.
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from typing import Any


def main() -> None:
    """Serve; the words of the command line are those of `prefect server start`."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    def begin_transaction(self: AioSqliteConfiguration, session: Any,
                          with_for_update: bool = False) -> AbstractAsyncContextManager[Any]:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[method-assign]

    from prefect.cli import app

    sys.argv[1:1] = ["server", "start"]
    app()


if __name__ == "__main__":
    main()
