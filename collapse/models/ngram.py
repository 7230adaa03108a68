"""A smoothed n-gram language model: counted, interpolated, drawn from token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import InputError
from collapse.metrics._ngrams import Counts, Packing, Smoothed
from collapse.metrics.base import Fact, Measurement
from collapse.models._language import PERPLEXITIES, only_text, perplexities
from collapse.models.base import Model, Parameters
from collapse.rng import Rng
from collapse.summary import Summary

#: N-grams of all replicates together up to which every replicate stays ready to draw from: some 200 MB.
KEPT = 2_000_000


class Ngram(Model):
    """The ``order`` − 1 tokens before a token decide its distribution; shorter contexts smooth it.

    Sampling is unprompted, a block at a time. ``temperature`` τ sharpens (below 1) or flattens what is drawn; what the
    fit says of real text is at τ = 1. Smoothing keeps every token of the vocabulary possible, which is a real input.

    Sufficient statistics ``ngrams``: the packed n-grams of all replicates, one after the other, ``counts`` of each, and
    ``sizes`` (R,), how many belong to each replicate.
    """

    kind: ClassVar[str] = "ngram"
    calibration: ClassVar[int] = 30
    summary: ClassVar[str | None] = "ngrams"
    facts: ClassVar[dict[str, Fact]] = PERPLEXITIES

    order: Annotated[int, Field(ge=1, le=16)] = 3
    smoothing: Literal["kneser-ney", "witten-bell"] = "kneser-ney"
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        return ("smoothing over the frozen vocabulary of tokens",)

    def check(self, schema: Schema, n: int) -> None:
        only_text(schema, self.kind)
        try:
            self._packing(schema)
        except InputError as error:
            raise InputError(f"ngram: model.order: {error}") from None

    def _packing(self, schema: Schema) -> Packing:
        return Packing(len(schema.texts[0].categories), self.order)

    # ------------------------------------------------------------------------------------------- fit

    def summarise(self, rows: Rows) -> Summary:
        packing = self._packing(rows.schema)
        return _joined([Counts.of(packing.pack(tokens)) for tokens in rows[rows.schema.texts[0].name]])

    def add(self, a: Summary, b: Summary) -> Summary:
        return _joined([x + y for x, y in zip(_each(a), _each(b), strict=True)])

    def weigh(self, a: Summary, weight: float) -> Summary:
        raise NotImplementedError("counts of contexts have no weights")

    def solve(self, summary: Summary, rng: Rng) -> Parameters:
        return Counted(summary)

    def _smoothed(self, parameters: Parameters, schema: Schema, r: int) -> Smoothed:
        """Return the model of replicate ``r``; those of small texts are all kept, of large ones the newest."""
        counted = parameters if isinstance(parameters, Counted) else Counted(parameters)
        if r not in counted.ready:
            if len(counted["keys"]) > KEPT:
                counted.ready.clear()
            counted.ready[r] = Smoothed(_each(counted)[r], self._packing(schema), self.smoothing, self.temperature)
        return counted.ready[r]

    # ---------------------------------------------------------------------------------------- sample

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        column = schema.texts[0]
        uniform = rng.at("token").uniform((len(parameters["sizes"]), n, column.shape[0]))
        tokens = [self._smoothed(parameters, schema, r).draw(u) for r, u in enumerate(uniform)]
        return Rows.assemble(schema, None, {column.name: np.stack(tokens)})

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        column = schema.texts[0]
        reference = truth[f"text.{column.name}"]
        held_out = Counts.of(self._packing(schema).pack(reference))
        # From the last on: it is the one that sampling left in place.
        loss = np.array([self._smoothed(parameters, schema, r).loss(held_out)
                         for r in reversed(range(len(parameters["sizes"])))])[::-1]
        yield from perplexities(loss, schema, reference)


class Counted(dict[str, np.ndarray]):
    """Fitted counts, and the replicates that are ready to draw from."""

    def __init__(self, summary: Mapping[str, np.ndarray]):
        super().__init__(summary)
        self.ready: dict[int, Smoothed] = {}


def _joined(parts: list[Counts]) -> Summary:
    return {"keys": np.concatenate([part.keys for part in parts]),
            "counts": np.concatenate([part.counts for part in parts]),
            "sizes": np.array([len(part.keys) for part in parts])}


def _each(summary: Mapping[str, np.ndarray]) -> list[Counts]:
    ends = np.cumsum(summary["sizes"])
    return [Counts(summary["keys"][end - size : end], summary["counts"][end - size : end])
            for size, end in zip(summary["sizes"], ends, strict=True)]
