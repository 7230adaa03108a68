"""How far a generation may be from the real data."""

from __future__ import annotations

import great_expectations.expectations as gxe


class ExpectDriftToStaySmall(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of a distance stays within its bounds.

    Of a distance to the truth, 0.0: the sample is distributed like the reference.
    """

    column: str = "sliced_w2"
    description: str = "The drift stays small: the sample is close to the real data"


class ExpectStepToStaySmall(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of a distance to the *previous* generation stays within its bounds.

    0.0: nothing moved since. A loop that stands still far from the real data takes small steps too.
    """

    column: str = "sliced_w2_step"
    description: str = "The step stays small: the sample is close to the previous generation's"


class ExpectMeasureToStayInBand(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of any other metric stays within its bounds."""

    description: str = "The measure stays in its band"


class ExpectEveryReplicateToBeMeasured(gxe.ExpectColumnValuesToNotBeNull):
    """Every replicate has a value: a median that skips NaN would hide a lineage that broke down."""

    description: str = "Every replicate has been measured"
