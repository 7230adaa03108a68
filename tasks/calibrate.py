"""The noise floor of every metric: independent fits to real data, never judged."""

from __future__ import annotations

from pathlib import Path

from collapse import loop
from collapse.errors import InputError, nearest
from collapse.floor import floor
from collapse.lineage.layout import DATA, Files
from collapse.pool import Part
from collapse.storage import put, staging
from collapse.study.experiment import Experiment
from collapse.study.files import read_params
from collapse.study.reading import read_experiment
from collapse_lab.tasks._work import work
from collapse_lab.tasks.node_run import frozen


def find(key: str) -> tuple[Experiment, str | None]:
    """Return the study and branch (None: the study's own model and rows) that a calibration is for."""
    known = {}
    for name in read_params(Path()).studies:
        study = read_experiment(Path(), name)
        known[name] = (study, None)
        known |= {f"{name}-{b.floor}": (study, b.name) for b in study.branches.values() if b.own_floor}
    if key not in known:
        raise InputError(f"'{key}' is not a calibration of the studies in params.yaml{nearest(key, known)}")
    return known[key]


@work(name="calibrate")
def calibrate(key: str) -> None:
    """Fit to independent draws of real rows, measure, and put the noise floor in place."""
    import pyarrow.parquet as pq

    study, branch = find(key)
    _, bank, frame = frozen(study.name)
    model, rows = study.model, study.rows
    if branch is not None:
        model, rows = study.branches[branch].model, study.branches[branch].rows
    # Only the schema of this part is used: floor() draws its own rows.
    first = Part.of(frame.reference, study.real, 0, synthetic=False)
    real = loop.real_data(study, first, bank)
    rng = loop.address(study, 0).at("calibration")
    table = floor(model, real, frame.reference.schema, rows, study.rows, study.calibration, frame, rng)
    files = Files(study.real, study.name)
    with staging(DATA, f"calibrate-{key}") as stage:
        pq.write_table(table, stage / "floor.parquet", compression="zstd")
        put(stage / "floor.parquet", files.calibration(study.floor(branch)))
