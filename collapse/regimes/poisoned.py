"""Another regime, with poison planted in one generation: what an audit must trace and a withdrawal take out."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, ValidationError, field_validator

from collapse import registry
from collapse.data import Schema
from collapse.errors import InputError, nearest
from collapse.pool import Part, Pool, RealData
from collapse.regimes.base import Regime
from collapse.rng import Rng

if TYPE_CHECKING:
    from collapse.models.base import Model


class Poisoned(Regime):
    """Hand the regime ``of`` every sample as it is, but that of generation ``when`` with false categories.

    A ``share`` of its rows (of those that hold ``was``, where that is given), drawn anew for each replicate, say
    ``becomes`` in ``column`` (the label, if left out). The raw sample stays as the model made it, and so do its
    measurements. The inner regime draws the random numbers that it would draw alone: up to ``when`` a branch is the
    same as without poison. ``of`` is a regime's name, or a mapping with its settings: ``{regime: anchor, real: 0.1}``.
    """

    kind: ClassVar[str] = "poisoned"

    of: str | dict[str, Any]
    when: Annotated[int, Field(ge=1)]
    share: Annotated[float, Field(gt=0, le=1)]
    becomes: str | int
    was: str | int | None = None
    column: str | None = None

    @field_validator("of")
    @classmethod
    def _wraps_another(cls, of: Any) -> Any:
        _inner(of)
        return of

    @cached_property
    def inner(self) -> Regime:
        """Return the regime that is handed the samples."""
        return _inner(self.of)

    @property
    def fresh(self) -> bool:  # type: ignore[override]
        return self.inner.fresh

    @property
    def real(self) -> Any:
        """Return the inner regime's share of real rows; it lacks the attribute where that has none."""
        return self.inner.real  # type: ignore[attr-defined]

    def check(self, model: Model, rows: int) -> None:
        self.inner.check(model, rows)

    def admits(self, schema: Schema) -> None:
        """Refuse data without the column or categories that are named."""
        known = {c.name: c for c in schema.columns if c.kind == "category"}
        name = self.column or (schema.label.name if schema.label else "")
        if name not in known:
            raise InputError(f"column: the data has no category column '{name}'{nearest(name, known)}" if name else
                             f"column is missing, and the data has no label{nearest('', known)}")
        for key, value in (("becomes", self.becomes), ("was", self.was)):
            if value is not None and str(value) not in known[name].categories:
                raise InputError(f"{key}: '{value}' is no category of '{name}'"
                                 f"{nearest(str(value), known[name].categories)}")

    def next_pool(self, pool: Pool, sample: Part, real: RealData, rng: Rng) -> Pool:
        if sample.generation == self.when:
            sample = self.poison(sample, rng.at("poison"))
        return self.inner.next_pool(pool, sample, real, rng)

    def poison(self, sample: Part, rng: Rng) -> Part:
        """Return the sample with false categories."""
        self.admits(sample.schema)
        name = self.column or sample.schema.label.name  # type: ignore[union-attr]
        categories = sample.schema[name].categories
        codes = sample.rows()[name].copy()  # (R, n)
        meant = np.ones(codes.shape, bool) if self.was is None else codes == categories.index(str(self.was))
        order = np.where(meant, rng.uniform(codes.shape), 2.0).argsort(axis=1).argsort(axis=1)  # place among the meant
        chosen = meant & (order < np.rint(self.share * meant.sum(axis=1, keepdims=True)))
        codes[chosen] = categories.index(str(self.becomes))
        values = {**sample.values, name: codes.reshape(-1)}
        return replace(sample, load=lambda: values, path=None, hashes=None, summaries={}, stored={}, whole=None)

    @property
    def kinds(self) -> tuple[str, ...]:
        return (self.kind, *self.inner.kinds)

    def stated(self, rows: int) -> dict[str, Any]:
        return self.inner.stated(rows)

    def real_rows(self, rows: int) -> int:
        return self.inner.real_rows(rows)


def _inner(of: Any) -> Regime:
    body = {"regime": of} if isinstance(of, str) else dict(of)
    name = body.pop("regime", None)
    if not isinstance(name, str) or name == Poisoned.kind:
        raise ValueError("name a regime other than poisoned, such as accumulate or {regime: anchor, real: 0.1}")
    try:
        return registry.find("regimes", name)(**body)
    except InputError as error:
        raise ValueError(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
