"""The noise floor of every metric, from independent fits to real data."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from collapse_lab.flows._handover import hand_over

    hand_over("calibrate")

from prefect import flow

from collapse_lab.tasks._work import NOWHERE
from collapse_lab.tasks.calibrate import calibrate as measure_floor
from collapse_lab.tasks.events import recorded


@flow(persist_result=False, result_storage=NOWHERE, name="calibrate")
def calibrate(key: str) -> None:
    """Calibrate a study (`STUDY`), or a branch of it that overrides model or rows (`STUDY-BRANCH`)."""
    with recorded(f"calibrate@{key}"):
        measure_floor(key)


if __name__ == "__main__":
    from collapse_lab.flows._run import main

    main(calibrate)
