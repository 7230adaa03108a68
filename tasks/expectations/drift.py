"""How far a generation may be from the real data."""

from __future__ import annotations

import great_expectations.expectations as gxe

from collapse_lab.tasks.expectations.sentences import SAID


class ExpectDriftToStaySmall(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of a distance stays within its bounds.

    Of a distance to the truth, 0.0: the sample is distributed like the reference.
    """

    column: str = "sliced_w2"
    description: str = SAID["ExpectDriftToStaySmall"]


class ExpectStepToStaySmall(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of a distance to the *previous* generation stays within its bounds.

    0.0: nothing moved since. A loop that stands still far from the real data takes small steps too.
    """

    column: str = "sliced_w2_step"
    description: str = SAID["ExpectStepToStaySmall"]


class ExpectMeasureToStayInBand(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of any other metric stays within its bounds."""

    description: str = SAID["ExpectMeasureToStayInBand"]


class ExpectEveryReplicateToBeMeasured(gxe.ExpectColumnValuesToNotBeNull):
    """Every replicate has a value: a median that skips NaN would hide a lineage that broke down."""

    description: str = SAID["ExpectEveryReplicateToBeMeasured"]
