"""All that is asked of Great Expectations below its documented interface: what an upgrade breaks, breaks here."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import great_expectations as gx

#: What is called here, by module: names without which nothing works.
CALLED = {"great_expectations.data_context.types.base": ("ProgressBarsConfig",)}


def quiet() -> None:
    """Silence Great Expectations' own log; one of its modules sets a level of its own."""
    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(name).setLevel(logging.ERROR)


@cache
def batch_definition() -> Any:
    """Return where every frame goes in: one context and one data source per process, no bars and no telemetry."""
    from great_expectations.data_context.types.base import ProgressBarsConfig

    quiet()
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")
