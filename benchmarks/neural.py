"""How much of a generation of an autoencoder is torch's own training and sampling, all else being overhead."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STUDY = """\
title: The share of torch
seed: 1
source: {kind: digits}
model: {kind: vae, latent: 8, sigma: 0.2, steps: 600, lr: 0.003}
rows: 400
generations: 3
replicates: 5
calibration: 10
branches:
  replace: {regime: replace}
gates:
  tail_ratio: {min: control}
"""
NODE, LEAST = "neural-replace-03", 85


def main() -> None:
    from benchmarks.project import Project

    with tempfile.TemporaryDirectory() as folder:
        project = Project.make(Path(folder) / "p", STUDY, name="neural", workers=2)
        project.run("collapse", "repro", timeout=900)
        done = subprocess.run([sys.executable, __file__, NODE], cwd=project.root, capture_output=True, text=True,
                              env=project.environment(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120"),
                              check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        print(done.stdout, end="")


def node(name: str) -> None:
    """Make one node again, three times in this process, and print the best share: the first run only warms up."""
    from prefect.context import SyncClientContext

    from collapse.models.vae import VAE
    from collapse.neural import Neural
    from flows.generation import generation
    from flows.run import no_heartbeat

    spent: list[float] = []

    def timed(function: Any) -> Any:
        def inner(*words: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*words)
            finally:
                spent.append(time.perf_counter() - begin)
        return inner

    Neural._train, VAE.generate = timed(Neural._train), timed(VAE.generate)  # type: ignore[method-assign]
    rounds = []
    with no_heartbeat(), SyncClientContext.get_or_create():  # as in a worker
        for _ in range(4):
            spent.clear()
            begin = time.perf_counter()
            generation(name, judge=True)
            rounds.append((sum(spent), time.perf_counter() - begin))
    inside, whole = max(rounds[1:], key=lambda pair: pair[0] / pair[1])
    print(f"  one generation, 5 replicates × 600 steps  {whole:.2f} s, of which torch {inside:.2f} s: "
          f"{100 * inside / whole:.0f} % (at least {LEAST} %)")


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    node(sys.argv[1])
