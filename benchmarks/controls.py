"""How often healthy generations are called healthy: control runs that calibrated nothing.

Of the study `digits`, or of the one named: STUDY=digits-gmm python -m benchmarks controls.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import numpy as np

from benchmarks.project import ROOT
from collapse import loop
from collapse.calibration import Bands, floor, stage
from collapse.metrics import measure_all
from collapse.params import read_study
from collapse.pool import Part
from collapse.rng import Rng

#: Control runs of a model that is fitted in no time, whose studies calibrate with 200 fits; of a dear one fewer.
RUNS, CHEAP = 40, 200


def main() -> None:
    os.chdir(ROOT)
    study = read_study(ROOT, os.environ.get("STUDY", "digits"))
    runs = max(5, RUNS * min(study.model.calibration, CHEAP) // CHEAP)
    parts = loop.split(study.source, study.rows, study.replicates, loop.address(study, 0))
    frame = loop.freeze(study, parts.reference, parts.bank)
    real = loop.real_data(study, Part.of(parts.first, study.real, 0, synthetic=False), parts.bank)
    schema, n, replicates = parts.reference.schema, study.rows, study.replicates
    rng = loop.address(study, 0).at("calibration")
    bands = Bands(floor(study.model, real, schema, n, n, study.calibration, frame, rng).to_pandas())
    begin = time.perf_counter()
    nodes: Counter[str] = Counter()
    cells: Counter[str] = Counter()
    for run in range(runs):
        for generation in range(1, study.generations + 1):
            own = Rng("controls", run, generation)
            fitted = study.model.fit(real.draw(n, replicates, own.at("real")), own.at("fit"))
            sample = study.model.sample(fitted, schema, n, own.at("sample"))
            values = {m.metric: np.asarray(m.values) for m in measure_all(sample, None, frame) if m.feature == ""}
            node, alone = stage(values, bands, study.generations)
            nodes[node] += 1
            cells.update(alone)
    healthy, total = cells["healthy"], sum(cells.values())
    print(f"  {study.name}: {runs} control runs × {study.generations} generations × {replicates} replicates, "
          f"{time.perf_counter() - begin:.0f} s")
    others = dict(cells - Counter(healthy=healthy))
    print(f"  healthy cells  {healthy} of {total} ({100 * healthy / total:.2f} %)   others {others}")
    print(f"  healthy nodes  {nodes['healthy']} of {sum(nodes.values())}")


if __name__ == "__main__":
    main()
