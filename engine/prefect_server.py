"""`prefect server start`, with SQLite's write lock taken where a transaction begins, and in turn.

Prefect begins most transactions without it and asks for it at their first write. If another has written since, SQLite
refuses at once, the server answers 503, and the client tries again after 2, 4, 8 … seconds, six times in all: on a busy
server some nodes waited a minute, and one in a thousand failed. Whoever waits for SQLite itself looks every 100 ms;
transactions of this process wait in a line of their own, which hands over at once.

An empty database of Prefect takes some ten seconds of migrations: it is made once for each version of Prefect, kept in
the user's cache, and copied into every project.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from weakref import WeakKeyDictionary

from collapse_lab.flows import prefect_door

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


def found(database: Path) -> None:
    """Have an empty database of Prefect at ``database``, unless one is there: a copy of the kept one, if it can be."""
    import pooch
    import prefect

    from collapse.storage import put, staging

    if database.exists():
        return
    kept = pooch.os_cache("collapse-lab") / f"prefect-{prefect.__version__}.db"
    if kept.exists():
        with staging(database.parent, "database") as folder, suppress(OSError):
            # A link never takes the place of a database that another server made and opened meanwhile. Where that
            # fails, the server makes one as ever.
            os.link(shutil.copyfile(kept, folder / database.name), database)
        return

    prefect_door.make_database()
    # Without a cache every project makes its own.
    with suppress(OSError, sqlite3.Error), staging(kept.parent, "database") as folder, \
            closing(sqlite3.connect(database)) as made:
        made.execute("VACUUM INTO ?", (str(folder / kept.name),))
        put(folder / kept.name, kept)


def main() -> None:
    """Serve; the words of the command line are those of `prefect server start`."""
    prefect_door.begin_with_lock(_turn)
    found(Path(os.environ["PREFECT_API_DATABASE_CONNECTION_URL"].partition(":///")[2]))

    from prefect.cli import app

    sys.argv[1:1] = ["server", "start"]
    app()


if __name__ == "__main__":
    main()
