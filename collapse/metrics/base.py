"""What every metric offers, and how a measurement looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from collapse.data import Rows, Schema

if TYPE_CHECKING:
    from collapse.frame import Frame


#: What a value outside its band speaks of (:mod:`collapse.verdict`): loss of the bulk (spread, modes) or at its edge
#: (tails), gain of either, a change of meaning or shape, a change of place; '' is no sign.
Role = Literal["", "spread lost", "modes lost", "tails lost", "gained", "changed", "moved"]


@dataclass(frozen=True)
class Fact:
    """What a metric's values mean.

    ``family`` groups metrics; ``ideal`` is the value of a perfect generator; ``collapse`` is the side on
    which collapse lies; ``meaning`` says what both ends mean, in one line; ``source`` cites the definition. ``below``
    and ``above`` say what a value on that side of its band is a sign of. A metric with a role must not depend on where
    the sample lies, unless it is the place that it speaks of.
    """

    family: Literal["spread", "modes", "drift", "tails", "fidelity", "labels", "groups", "fit"]
    ideal: float
    collapse: Literal["below", "above", "either"]
    meaning: str
    source: str
    #: Whether d(t, t−1) is measured too, under the name NAME_step.
    step: bool = False
    below: Role = ""
    above: Role = ""
    #: Of what is held against the words of the reference: a change of subject lowers it without any loss.
    anchored: bool = False
    #: The roles of a part that speaks of something else than the whole.
    parts: Mapping[str, tuple[Role, Role]] = field(default_factory=dict, hash=False)
    #: The least and greatest value that it can take at all: a band that reaches as far sees nothing on that side.
    low: float = 0.0
    high: float = np.inf


@dataclass(frozen=True)
class Measurement:
    """Values (R,) of one metric; ``feature`` names the column, class or region, or is '' for the whole."""

    metric: str
    feature: str
    values: np.ndarray


class Metric:
    """One idea, one file, one or several named metrics (the keys of ``facts``)."""

    kind: ClassVar[str]
    facts: ClassVar[dict[str, Fact]]
    #: Whether :meth:`against` compares with the training set, which must then be read.
    trained: ClassVar[bool] = False

    def applies(self, schema: Schema) -> bool:
        """Return whether this idea has a meaning for such rows."""
        return True

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        """Measure a raw fresh sample (R, n, …) against the frozen reference."""
        raise NotImplementedError(type(self).__name__)

    def against(self, sample: Rows, training: Rows, frame: Frame) -> Iterator[Measurement]:
        """Measure a sample against what its model was trained on (R, m, …)."""
        return iter(())

    def step(self, sample: Rows, previous: Rows, frame: Frame) -> Iterator[Measurement]:
        """Measure d(t, t−1) for the metrics whose fact says ``step``; names end in ``_step``."""
        return iter(())
