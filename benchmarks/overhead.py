"""What a node costs all in: 5 branches × 20 generations of a 1-D Gaussian, beside the same loop in bare NumPy.

All in: flow run, tasks, validation, Parquet, manifest, DVC record, report. The start-up (server, warm processes) and
the calibration of the noise floor stand apart.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.worlds.project import Project

BRANCHES, GENERATIONS, ROWS = 5, 20, 1000

STUDY = f"""\
title: Overhead
seed: 1
source: {{kind: gaussian}}
model: {{kind: gaussian}}
rows: {ROWS}
generations: {GENERATIONS}
replicates: 1
calibration: 200
branches:
  replace: {{regime: replace}}
  accumulate: {{regime: accumulate}}
  window: {{regime: window, k: 3}}
  anchor: {{regime: anchor, real: 0.1}}
  control: {{regime: control}}
gates:
  tail_ratio: {{min: control}}
  variance_ratio: {{min: control}}
"""


def bare() -> float:
    """Return the seconds of the same fits and samples in a plain loop."""
    begin = time.perf_counter()
    for _ in range(BRANCHES):
        x = np.random.default_rng(1).standard_normal(ROWS)
        for t in range(GENERATIONS):
            x = x.mean() + x.std(ddof=1) * np.random.default_rng(t).standard_normal(ROWS)
    return time.perf_counter() - begin


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Project.make(Path(folder) / "p", STUDY, name="overhead", workers=2)
        begin = time.perf_counter()
        out = project.run("collapse", "repro", timeout=600).stderr
        total = time.perf_counter() - begin
        begin = time.perf_counter()
        project.run("collapse", "repro")
        again = time.perf_counter() - begin
    nodes = BRANCHES * GENERATIONS
    start = float(re.search(r"ready after ([\d.]+) s", out)[1])
    floor = float(re.search(r"calibrate  (\d+) s gone", out)[1])
    rest = total - start - floor
    print(f"  start-up (server, warm processes)  {start:6.1f} s")
    print(f"  generation 0 and 200 calibrations  {floor:6.1f} s")
    print(f"  {nodes} nodes, all in               {rest:6.1f} s   {rest / nodes:.3f} s per node")
    print(f"  a second run, nothing to do        {again:6.1f} s")
    print(f"  the same loop in bare NumPy        {bare():9.4f} s")


if __name__ == "__main__":
    main()
