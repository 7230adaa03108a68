"""What every worker needs, imported once: processes that fork from one that has this begin in milliseconds."""

from __future__ import annotations

import gc

import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401

import collapse_lab.flows.calibrate
import collapse_lab.flows.generation
import collapse_lab.flows.real
import collapse_lab.flows.report  # noqa: F401
from collapse_lab.tasks import events, expectations

expectations.warm()
events.warm()
gc.freeze()  # what lives as long as the process is never looked through, and so stays shared
