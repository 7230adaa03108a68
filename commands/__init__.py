"""The `collapse` command: a file a command, each a thin layer over flows, engine and audit."""

from __future__ import annotations

import collapse_lab.flows  # noqa: F401  settles threads and CPU features before NumPy is imported
