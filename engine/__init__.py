"""What makes a whole study: staleness and records in DVC, a Prefect server, warm workers, progress."""

from __future__ import annotations

import collapse_lab.flows  # noqa: F401  settles threads and CPU features before NumPy is imported
