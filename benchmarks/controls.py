"""How often healthy generations are called healthy: control runs of studies, which calibrated nothing.

COLLAPSE_STUDIES names them, "digits adult" by default; one whose data is not at hand is passed over.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import numpy as np

from collapse import loop
from collapse.calibration import Bands, stage
from collapse.errors import InputError
from collapse.floor import floor
from collapse.metrics import measure_all
from collapse.pool import Part
from collapse.rng import Rng
from collapse.study.parse import Study, read_study
from tests.worlds.project import ROOT

#: Control runs, unless a study's size makes that long: about so many rows are measured in all. Of a model that is dear
#: to fit, whose studies calibrate with fewer than 200 fits, fewer.
RUNS, ROWS, CHEAP = 40, 3_000_000, 200


def main() -> None:
    os.chdir(ROOT)
    for name in os.environ.get("COLLAPSE_STUDIES", "digits adult").split():
        study = read_study(ROOT, name)
        try:
            parts = loop.split(study.source, study.rows, study.replicates, loop.address(study, 0))
        except InputError as error:
            print(f"  {name:8} passed over: {error}")
            continue
        controls(study, parts)


def controls(study: Study, parts: loop.Split) -> None:
    """Print how many cells (generation × replicate) of fresh control runs are healthy."""
    frame = loop.freeze(study, parts.reference, parts.bank)
    real = loop.real_data(study, Part.of(parts.first, study.real, 0, synthetic=False), parts.bank)
    schema, n, replicates = parts.reference.schema, study.rows, study.replicates
    rng = loop.address(study, 0).at("calibration")
    bands = Bands(floor(study.model, real, schema, n, n, study.calibration, frame, rng).to_pandas())
    most = RUNS * min(study.model.calibration, CHEAP) // CHEAP
    runs = max(4, min(most, ROWS // (n * replicates * study.generations)))
    begin = time.perf_counter()
    nodes: Counter[str] = Counter()
    cells: Counter[str] = Counter()
    for run in range(runs):
        for generation in range(1, study.generations + 1):
            own = Rng("controls", run, generation)
            fitted = study.model.fit(real.draw(n, replicates, own.at("real")), own.at("fit"))
            sample = study.model.make(fitted, schema, n, own.at("sample"), lambda: parts.first)
            values = {m.metric: np.asarray(m.values) for m in measure_all(sample, None, frame) if m.feature == ""}
            node, alone = stage(values, bands, study.generations)
            nodes[node.stage] += 1
            cells.update(alone)
    healthy, total = cells["healthy"], sum(cells.values())
    print(f"  {study.name:8} {runs} control runs × {study.generations} generations × {replicates} replicates, "
          f"{time.perf_counter() - begin:.0f} s")
    others = dict(cells - Counter(healthy=healthy))
    print(f"  {'':8} healthy cells  {healthy} of {total} ({100 * healthy / total:.2f} %)   others {others}")
    print(f"  {'':8} healthy nodes  {nodes['healthy']} of {sum(nodes.values())}", flush=True)


if __name__ == "__main__":
    main()
