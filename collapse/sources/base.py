"""What every source of real data offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from collapse.data import Rows
from collapse.rng import Rng
from collapse.spec import Spec


@dataclass(frozen=True, eq=False)
class Division:
    """A finite source divided by itself: rows to train on, rows held out, both with R = 1.

    ``found`` says what was found, for the manifest of generation 0; ``files`` are kept beside the bank, name → text.
    """

    bank: Rows
    reference: Rows
    found: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


class Source(Spec):
    """Real data. A *finite* source has all its rows; an infinite one draws new rows for ever.

    A subclass sets ``finite`` and defines :meth:`load` (finite) or :meth:`draw` (infinite).
    """

    finite: ClassVar[bool] = True
    #: Whether the schema is read off the data: it then stands in every manifest.
    inferred: ClassVar[bool] = False

    #: What of reality the source hands to every later generation, for the manifest's ``real_inputs``.
    real_inputs: ClassVar[tuple[str, ...]] = ()

    @property
    def unit(self) -> str:
        """Return what a row is, in the plural."""
        return "rows"

    def budget(self, rows: int) -> str:
        """Return a number of rows in the words of a study file."""
        return f"rows: {rows}"

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

    def divide(self, held_out: float, rng: Rng) -> Division | None:
        """Return a finite source's own division (by document, say); None: rows are held out at random, by class.

        ``held_out`` is the share to hold out where the source has no official division.

        Raises
        ------
        InputError
            If the data is missing, empty or unusable.
        """
        return None

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        """Return ``n`` independent rows for each of R replicates of an infinite source."""
        raise NotImplementedError(type(self).__name__)

    def truth(self) -> dict[str, np.ndarray]:
        """Return what is known of reality without sampling it: ``mean`` (d,), ``covariance`` (d, d), ``shares.COLUMN``.

        A source that does not know is judged against its reference.
        """
        return {}
