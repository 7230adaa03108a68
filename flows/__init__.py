"""Prefect flows, one per file; the stages of dvc.yaml are run as `python -m collapse_lab.flows.NAME`.

Importing this package settles the process before any number is computed: no telemetry, one thread for
linear algebra, and one set of CPU instructions, so that two machines with one kind of CPU make the same bytes.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
import time

#: When this process began its work, for the start-up time that a run prints.
STARTED = time.monotonic()

_SETTINGS = {
    # Nothing leaves this machine.
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Runs are followed in the UI, which gets every line; a terminal gets one line of our own for what went wrong.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO" if "--debug" in sys.argv else "CRITICAL",
    # Results must not depend on how many cores there are: parallelism is over branches.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # One order of sums on a GPU too.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
if platform.machine() in {"x86_64", "AMD64"}:
    # Kernels for AVX-512 round otherwise than those for AVX2.
    _SETTINGS |= {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2",  # ignored on AMD, where torch rounds otherwise than on Intel
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    }

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

# Imports make hundreds of thousands of objects that stay; looking through them every 700 costs a sixth of the start.
gc.set_threshold(100_000, 20, 100)
