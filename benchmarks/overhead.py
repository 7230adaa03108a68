"""What a node costs all in: 5 branches × 20 generations of a 1-D Gaussian, beside the same loop in bare NumPy.

All in: flow run, tasks, validation, Parquet, manifest, DVC record, report. The start-up (server, warm processes) and
the calibration of the noise floor stand apart. Words: --nodes=100,500 (a multiple of 100 each): does it cost more a
node where there are more of them?
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.worlds.project import Project

GENERATIONS, ROWS = 20, 1000
REGIMES = ("{regime: replace}", "{regime: accumulate}", "{regime: window, k: 3}", "{regime: anchor, real: 0.1}",
           "{regime: control}")


def study(nodes: int) -> str:
    """Return a study of so many nodes: the five regimes, as often as it takes."""
    branches = (f"  b{i:03d}: {REGIMES[i % len(REGIMES)]}" for i in range(nodes // GENERATIONS))
    return STUDY + "".join(f"{branch}\n" for branch in branches)


STUDY = f"""\
title: Overhead
seed: 1
source: {{kind: gaussian}}
model: {{kind: gaussian}}
rows: {ROWS}
generations: {GENERATIONS}
replicates: 1
calibration: 200
gates:
  tail_ratio: {{min: control}}
  variance_ratio: {{min: control}}
branches:
"""


def bare() -> float:
    """Return the seconds of the same fits and samples in a plain loop."""
    begin = time.perf_counter()
    for _ in REGIMES:
        x = np.random.default_rng(1).standard_normal(ROWS)
        for t in range(GENERATIONS):
            x = x.mean() + x.std(ddof=1) * np.random.default_rng(t).standard_normal(ROWS)
    return time.perf_counter() - begin


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv if "=" in word)
    for nodes in map(int, words.get("--nodes", "100").split(",")):
        measure(nodes)
    print(f"  100 turns of the loop in bare NumPy {bare():8.4f} s")


def measure(nodes: int) -> None:
    """Make a study of so many nodes from nothing, and ask for it again."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project.make(Path(folder) / "p", study(nodes), name="overhead", workers=2)
        begin = time.perf_counter()
        out = project.run("collapse", "repro", timeout=3600).stderr
        total = time.perf_counter() - begin
        begin = time.perf_counter()
        project.run("collapse", "repro")
        again = time.perf_counter() - begin
        begin = time.perf_counter()
        project.run("collapse", "status")
        status = time.perf_counter() - begin
        begin = time.perf_counter()
        project.run("collapse", "audit", "overhead-b000-10")
        audit = time.perf_counter() - begin
    start = float(re.search(r"ready after ([\d.]+) s", out)[1])
    floor = float(re.search(r"calibrate  (\d+) s gone", out)[1])
    rest = total - start - floor
    print(f"  start-up (server, warm processes)  {start:6.1f} s")
    print(f"  generation 0 and 200 calibrations  {floor:6.1f} s")
    print(f"  {nodes} nodes, all in               {rest:6.1f} s   {rest / nodes:.3f} s per node")
    print(f"  a second run, nothing to do        {again:6.1f} s")
    print(f"  the state of every node            {status:6.1f} s")
    print(f"  audit of the tenth generation      {audit:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
