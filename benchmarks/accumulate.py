"""Accumulate over 50 and 100 generations: time and bytes of the DVC cache must grow linearly."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.worlds.project import Project

STUDY = """title: Accumulate
seed: 1
source: {source}
model: {model}
rows: 200
generations: {generations}
replicates: 20
measure: {{only: [spread]}}
branches:
  accumulate: {{regime: accumulate}}
gates: {{}}
calibration: 10
"""
CASES = {
    "gaussian": ("{kind: gaussian}", "{kind: gaussian}"),
    "categorical": ("{kind: zipf, categories: 50}", "{kind: categorical}"),
    "regression": ("{kind: regression, dim: 5}", "{kind: regression, noise: 1.0}"),
}


def measured(name: str, generations: int, folder: Path) -> tuple[float, int]:
    """Return the seconds of a cold `collapse repro`, start included, and the bytes of the DVC cache."""
    source, model = CASES[name]
    project = Project.make(folder, STUDY.format(source=source, model=model, generations=generations), workers=2)
    begin = time.perf_counter()
    project.run("collapse", "repro")
    seconds = time.perf_counter() - begin
    cache = sum(file.stat().st_size for file in (folder / ".dvc" / "cache").rglob("*") if file.is_file())
    return seconds, cache


def main() -> None:
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            short = measured(name, 50, Path(folder) / "short")
            long = measured(name, 100, Path(folder) / "long")
        print(f"  {name:12} T = 50: {short[0]:.1f} s, {short[1] / 1e6:.2f} MB; T = 100: {long[0]:.1f} s, "
              f"{long[1] / 1e6:.2f} MB; ratios "
              f"{long[0] / short[0]:.2f} and {long[1] / short[1]:.2f} (at most 2.4)", flush=True)


if __name__ == "__main__":
    main()
