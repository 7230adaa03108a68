"""What makes a function a Prefect task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE


def _is_io(task_: Any, run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), OSError)


#: Where the results of flows go, which keep none: a flow without a place asks the server for one in every run.
NOWHERE = Path(os.devnull)
#: Work that has one result: DVC is the memoiser, so Prefect caches nothing and retries nothing.
work = task(cache_policy=NO_CACHE, persist_result=False)
#: Putting finished outputs in place, which a passing fault of the file system may break; safe to repeat.
io = task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=1, retry_condition_fn=_is_io)
