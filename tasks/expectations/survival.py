"""What a generation must keep: tails, spread, modes."""

from __future__ import annotations

import great_expectations.expectations as gxe

from collapse_lab.tasks.expectations.sentences import SAID


class ExpectTailsToSurvive(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of a tail metric stays within its bounds.

    Of ``tail_ratio``, 1.0: the sample has as much mass in the frozen tail regions as the reference;
    0.0: the tails are gone; above 1: they are inflated.
    """

    column: str = "tail_ratio"
    description: str = SAID["ExpectTailsToSurvive"]


class ExpectSpreadToSurvive(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of a spread metric stays within its bounds.

    Of ``variance_ratio``, 1.0: the sample varies as much as the reference; 0.0: it has
    collapsed in some direction.
    """

    column: str = "variance_ratio"
    description: str = SAID["ExpectSpreadToSurvive"]


class ExpectModesToSurvive(gxe.ExpectColumnMedianToBeBetween):
    """The median over replicates of a modes metric stays within its bounds.

    Of ``modes_alive``, 1.0: the sample still shows every class of the reference; 0.0: it shows none.
    """

    column: str = "modes_alive"
    description: str = SAID["ExpectModesToSurvive"]
