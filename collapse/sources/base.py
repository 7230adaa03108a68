"""What every source of real data offers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from collapse.data import Rows
from collapse.rng import Rng
from collapse.spec import Spec


class Source(Spec):
    """Real data. A *finite* source has all its rows; an infinite one draws new rows for ever.

    A subclass sets ``finite`` and defines :meth:`load` (finite) or :meth:`draw` (infinite).
    """

    finite: ClassVar[bool] = True
    #: Whether the schema is read off the data: it then stands in every manifest.
    inferred: ClassVar[bool] = False

    #: What of reality the source hands to every later generation, for the manifest's ``real_inputs``.
    real_inputs: ClassVar[tuple[str, ...]] = ()

    def files(self) -> tuple[Path, ...]:
        """Return the files that the data is read from; their content is part of the plan.

        Raises
        ------
        InputError
            If one is missing.
        """
        return ()

    def load(self) -> Rows:
        """Return every row of a finite source, with R = 1.

        Raises
        ------
        InputError
            If the data is missing, empty or unusable.
        """
        raise NotImplementedError(type(self).__name__)

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        """Return ``n`` independent rows for each of R replicates of an infinite source."""
        raise NotImplementedError(type(self).__name__)

    def truth(self) -> dict[str, np.ndarray]:
        """Return what is known of reality without sampling it: ``mean`` (d,), ``covariance`` (d, d), ``shares.COLUMN``.

        A source that does not know is judged against its reference.
        """
        return {}
