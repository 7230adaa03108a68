"""What every worker needs, imported once: processes that fork from one that has this begin in milliseconds."""

from __future__ import annotations

import gc

import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401

import flows.calibrate
import flows.generation
import flows.real
import flows.report  # noqa: F401
from tasks import events, expectations

expectations.warm()
events.warm()
gc.freeze()  # what lives as long as the process is never looked through, and so stays shared
