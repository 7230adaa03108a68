"""How much of a generation of an autoencoder is torch's own training and sampling, all else being overhead.

The shipped studies' own models, rows, replicates and gates; the node is made as a worker makes it, in a process that
counts, with a server of its own. A study whose data is not at hand is passed over.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STUDIES, NODE, LEAST = ("digits-vae", "keep10", "mnist"), "replace-03", 85
#: Least and most times that the node is made, and the seconds after which the least are enough. The first warms up.
LOOKS, ENOUGH = (4, 21), 60


def main() -> None:
    import yaml

    from collapse import loop
    from collapse.errors import InputError
    from collapse.study.parse import read_study
    from tests.worlds.project import ROOT, Project

    for study in STUDIES:
        wanted = read_study(ROOT, study)
        try:
            loop.split(wanted.source, wanted.rows, wanted.replicates, loop.address(wanted, 0))
        except InputError as error:
            print(f"  {study} passed over: {error}")
            continue
        shipped = yaml.safe_load((ROOT / "studies" / f"{study}.yaml").read_text())
        kept = {key: shipped[key] for key in ("title", "seed", "source", "model", "rows", "replicates", "gates")}
        short = kept | {"generations": 3, "calibration": 10, "branches": {"replace": {"regime": "replace"}}}
        with tempfile.TemporaryDirectory() as folder:
            project = Project.make(Path(folder) / "p", yaml.safe_dump(short), name=study, workers=2)
            project.run("collapse", "repro", timeout=900)
            done = subprocess.run([sys.executable, __file__, f"{study}-{NODE}"], cwd=project.root, check=False,
                                  capture_output=True, text=True, env=project.environment())
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            print(done.stdout, end="", flush=True)


def node(name: str) -> None:
    """Make one node again and again in this process, as a worker does, and print the medians."""
    from prefect.context import SyncClientContext
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from collapse.models._neural import Neural
    from collapse.models.vae import VAE
    from collapse_lab.engine.server import Served
    from collapse_lab.engine.workers import _work, parameters
    from collapse_lab.flows._run import create, find, no_heartbeat

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
    kind, begin = "generation", time.monotonic()
    with Served() as served, temporary_settings({PREFECT_API_URL: served.url}), no_heartbeat():
        served.ready()
        with SyncClientContext.get_or_create() as held:
            while len(rounds) < LOOKS[0] or (len(rounds) < LOOKS[1] and time.monotonic() - begin < ENOUGH):
                run = create(held.client, find(kind), name, parameters(kind, name))  # the parent does this ahead
                spent.clear()
                done = _work(kind, name, run, None)
                if done.error:
                    raise SystemExit(done.trace)
                rounds.append((sum(spent), done.seconds))
    inside, whole = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
    shares = sorted(100 * a / b for a, b in rounds[1:])
    print(f"  {name:18s} {whole:6.2f} s, of which torch {inside:6.2f} s: {statistics.median(shares):.1f} % "
          f"({shares[0]:.1f} to {shares[-1]:.1f} in {len(shares)} runs; at least {LEAST} %)")


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    import collapse_lab.engine.preload  # noqa: F401  first, as in a worker: it settles threads and CPU features before NumPy is imported

    node(sys.argv[1])
