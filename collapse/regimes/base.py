"""What every regime offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from collapse.data import Schema
from collapse.errors import InputError
from collapse.pool import Part, Pool, RealData
from collapse.rng import Rng
from collapse.spec import Spec

if TYPE_CHECKING:
    from collapse.models.base import Model

#: A share of real rows, strictly between none and all.
Share = Annotated[float, Field(gt=0, lt=1)]


class Regime(Spec):
    """A rule that makes the next training set from the last one, a fresh sample and real data."""

    #: Whether the rule draws fresh real rows, which a finite source must be large enough for.
    fresh: ClassVar[bool] = False
    #: Whether the rule takes parts as they come, so that their statistics will do without their rows.
    rows_free: ClassVar[bool] = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the regimes whose code shapes its pools: itself, and those that it lays itself over."""
        return (self.kind,)

    def check(self, model: Model, rows: int) -> None:
        """Refuse settings that ``model`` or the branch's ``rows`` cannot carry.

        Raises
        ------
        InputError
            The setting, what is wrong with it, and the remedy.
        """

    def admits(self, schema: Schema) -> None:
        """Refuse data that lacks what the settings name.

        Raises
        ------
        InputError
            The setting, what is wrong with it, and the remedy.
        """

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        """Return the training set of the next generation; ``sample`` has the branch's rows."""
        raise NotImplementedError(type(self).__name__)

    def stated(self, rows: int) -> dict[str, Any]:
        """Return what follows from the settings for a branch of ``rows`` rows, for the manifest."""
        return {}

    def real_rows(self, rows: int) -> int:
        """Return how many fresh real rows each generation and replicate takes."""
        return 0


class Mixed(Regime):
    """A rule that keeps ``real``·rows real rows in every training set; the rest is synthetic."""

    real: Share

    def check(self, model: Model, rows: int) -> None:
        kept = round(self.real * rows)
        if not 0 < kept < rows:
            raise InputError(f"real is {self.real:g} of {rows} rows, which rounds to {kept}; keep at least one real "
                             f"and one synthetic row")
