"""Training sets: the parts that nodes made, a pool of them, a draw from it, and what a generation sees of reality."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from collapse.data import Rows, Schema
from collapse.errors import NodeError
from collapse.rng import Rng
from collapse.summary import Summariser, Summary, read_summary, summary_path


@dataclass(frozen=True, eq=False)
class Part:
    """Rows that one node made: flat columns (N, …) sorted by replicate, ``counts`` (R,) rows of each.

    A part on disk is read when its values are asked for; ``path`` is then the file it came from. Every row counts
    ``weight`` times in training. A part may know its sufficient statistics without its rows being read
    (:attr:`summaries`, by the name that a model gives them), or have no rows at all: then ``redraw(n)`` makes one of n.
    """

    origin: str
    synthetic: bool
    generation: int
    schema: Schema
    counts: np.ndarray
    load: Callable[[], dict[str, np.ndarray]] = field(repr=False)
    model: str = ""
    path: Path | None = None
    hashes: tuple[str, str] | None = None  # content, file
    weight: float = 1.0
    summaries: dict[str, Summary] = field(default_factory=dict, repr=False)
    #: Hashes of the summaries that lie beside ``path``.
    stored: dict[str, str] = field(default_factory=dict, repr=False)
    redraw: Callable[[int], Part] | None = field(default=None, repr=False)
    #: The same rows, unflattened, where they are in memory anyway.
    whole: Rows | None = field(default=None, repr=False)

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Return the flat columns."""
        return self.load()

    @staticmethod
    def of(rows: Rows, origin: str, generation: int, synthetic: bool, model: str = "") -> Part:
        """Return the part that holds ``rows``."""
        def flat() -> dict[str, np.ndarray]:
            return {name: array.reshape(-1, *array.shape[2:]) for name, array in rows.values.items()}

        counts = np.full(rows.replicates, rows.n)
        return Part(origin, synthetic, generation, rows.schema, counts, flat, model, whole=rows)

    @property
    def n(self) -> float:
        """Return the mean number of rows of a replicate."""
        return float(self.counts.mean())

    @property
    def replicates(self) -> int:
        """Return R."""
        return len(self.counts)

    @cached_property
    def replicate(self) -> np.ndarray:
        """Return the replicate of each row, (N,)."""
        return np.repeat(np.arange(len(self.counts), dtype=np.int16), self.counts)

    @cached_property
    def even(self) -> bool:
        """Return whether every replicate has as many rows."""
        return bool((self.counts == self.counts[0]).all())

    def rows(self) -> Rows:
        """Return the rows as arrays (R, n, …); all replicates must have as many."""
        if self.whole is not None:
            return self.whole
        assert self.even
        shape = (len(self.counts), int(self.counts[0]))
        return Rows(self.schema, {name: a.reshape(*shape, *a.shape[1:]) for name, a in self.values.items()})

    def summary(self, model: Summariser) -> Summary:
        """Return the sufficient statistics that ``model`` fits from, each row counted once; read or made once."""
        name = model.summary or ""
        if name not in self.summaries:
            beside = None if self.path is None or name not in self.stored else summary_path(self.path, name)
            self.summaries[name] = read_summary(beside) if beside else model.summarise(self.rows())
        return self.summaries[name]

    def weighted(self, weight: float) -> Part:
        """Return the part with every row counted ``weight`` times."""
        return replace(self, weight=weight)

    def keep(self, index: np.ndarray, counts: np.ndarray) -> Part:
        """Return the part with the flat rows ``index`` only (sorted by replicate), ``counts`` of each."""
        return replace(self, counts=counts, load=lambda: {k: v[index] for k, v in self.values.items()}, path=None,
                       hashes=None, summaries={}, stored={}, whole=None)

    def take(self, index: np.ndarray) -> Part:
        """Return the rows ``index`` (R, m) of each replicate of an even part."""
        start = np.arange(self.replicates)[:, None] * int(self.counts[0])
        return self.keep((start + index).ravel(), np.full(self.replicates, index.shape[1]))

    def head(self, n: int) -> Part:
        """Return the first ``n`` rows of each replicate of an even part."""
        if self.redraw is not None:
            return self.redraw(n)
        return self if n == self.n else self.take(np.broadcast_to(np.arange(n), (self.replicates, n)))


@dataclass(frozen=True)
class Draw:
    """A uniform draw of ``rows`` rows of each replicate without replacement, at an address of randomness.

    Which rows they are follows from the address and the parts: a manifest need only say ``index``, their hash.
    """

    rows: int
    address: tuple[str, ...]
    index: str = ""

    def of(self, total: int, replicates: int) -> np.ndarray:
        """Return which of ``total`` rows are drawn, ascending, (R, rows).

        Raises
        ------
        NodeError
            If they are not those that were drawn first.
        """
        index = np.sort(Rng(*self.address).choice(total, self.rows, replicates), axis=1)
        if self.index and self.hash(index) != self.index:
            raise NodeError("the draw that its manifest names cannot be made again; run 'collapse audit'")
        return index

    @staticmethod
    def hash(index: np.ndarray) -> str:
        """Return the SHA-256 of drawn rows (R, rows)."""
        return hashlib.sha256(np.ascontiguousarray(index, dtype="<i8").data).hexdigest()


@dataclass(frozen=True, eq=False)
class Pool:
    """Parts, oldest first, and how many rows per replicate they were drawn from.

    A model is trained on all of their rows, or on those of ``draw``: :attr:`training`.
    """

    parts: tuple[Part, ...]
    seen: int = 0
    draw: Draw | None = None
    #: Summaries of all parts, and of all but the last, by name: a part costs one addition, however many there are.
    totals: dict[str, Summary] = field(default_factory=dict, repr=False)
    before: dict[str, Summary] = field(default_factory=dict, repr=False)

    def __add__(self, part: Part) -> Pool:
        return Pool((*self.parts, part), self.seen + int(part.n), before=self.totals)

    @property
    def n(self) -> int:
        """Return the rows of a replicate, drawn or not."""
        return round(sum(part.n for part in self.parts))

    @cached_property
    def drawn(self) -> np.ndarray:
        """Return which rows are trained on, of all parts one after the other, (R, rows)."""
        assert self.draw is not None
        return self.draw.of(self.n, self.parts[0].replicates)

    @cached_property
    def training(self) -> Pool:
        """Return the training set: this pool, or its parts cut down to the rows that are drawn."""
        if self.draw is None:
            return self
        parts = [part if len(rows) == part.counts.sum() else part.keep(rows, counts)
                 for part, rows, counts in self.taken]
        return Pool(tuple(part for part in parts if part.counts.any()), self.seen)

    @property
    def taken(self) -> list[tuple[Part, np.ndarray, np.ndarray]]:
        """Return each part with its flat rows that are drawn, and how many of each replicate, (R,)."""
        return split(self.parts, self.drawn)

    @property
    def even(self) -> bool:
        """Return whether within each part every replicate has as many rows."""
        return all(part.even for part in self.parts)

    def summary(self, model: Summariser) -> Summary:
        """Return the sufficient statistics of all rows, weights counted; the parts must be even."""
        name = model.summary or ""
        if name not in self.totals:
            total = self.before.get(name)
            for part in self.parts if total is None else self.parts[-1:]:
                own = part.summary(model)
                own = own if part.weight == 1 else model.weigh(own, part.weight)
                total = own if total is None else model.add(total, own)
            assert total is not None
            self.totals[name] = total
        return self.totals[name]

    @staticmethod
    def of(*parts: Part) -> Pool:
        """Return the pool that holds ``parts`` whole; empty parts are left out."""
        kept = tuple(part for part in parts if part.counts.any())
        return Pool(kept, int(sum(part.n for part in kept)))

    def rows(self) -> Rows:
        """Return the rows that are trained on, replicate by replicate: (R, n, …)."""
        if self.draw is not None:
            return self.training.rows()
        if self.even:
            rows = Rows.concat([part.rows() for part in self.parts])
            if any(part.weight != 1 for part in self.parts):
                weights = [np.full(int(part.counts[0]), part.weight) for part in self.parts]
                rows = replace(rows, weights=np.concatenate(weights))
            return rows
        order = np.argsort(np.concatenate([part.replicate for part in self.parts]), kind="stable")
        first = self.parts[0]
        values = {}
        for name in first.values:
            flat = np.concatenate([part.values[name] for part in self.parts])[order]
            values[name] = flat.reshape(first.replicates, -1, *flat.shape[1:])
        return Rows(first.schema, values)

    def without(self, origin: str, rows: int) -> Pool:
        """Return the pool without the sample of ``rows`` rows that ``origin`` made, as if it had never been seen.

        A draw is made anew from what is left. Replicates that have more rows left than others are thinned.
        """
        kept = Pool.of(*(part for part in self.parts if part.origin != origin))
        seen = max(kept.seen, self.seen - rows)
        if self.draw is not None:
            draw = Draw(min(self.draw.rows, kept.n), self.draw.address)
            return Pool(kept.parts, seen, draw if kept.parts else None)
        return Pool(kept.parts, seen)._even(Rng("pool", "without", origin))

    def _even(self, rng: Rng) -> Pool:
        """Return the pool with as many rows in every replicate, the fewest that one has, drawn at random."""
        totals = np.array(sum(part.counts for part in self.parts))
        if not self.parts or (totals == totals[0]).all():
            return self
        least = int(totals.min())
        chosen = [np.sort(g.permutation(total)[:least]) for g, total in zip(rng.each(len(totals)), totals, strict=True)]
        kept = Pool.of(*(part.keep(*rows) for part, *rows in split(self.parts, np.array(chosen))))
        return replace(kept, seen=self.seen)


def split(parts: Sequence[Part], index: np.ndarray) -> list[tuple[Part, np.ndarray, np.ndarray]]:
    """Return each part with its flat rows among ``index`` (R, m), and how many of each replicate, (R,).

    ``index`` counts a replicate's rows through all parts, one after the other, and ascends.
    """
    found, before = [], np.zeros((len(index), 1), dtype=np.int64)
    for part in parts:
        after = before + part.counts[:, None]
        here = (index >= before) & (index < after)
        start = np.cumsum(part.counts) - part.counts
        found.append((part, (index - before + start[:, None])[here], here.sum(axis=1)))
        before = after
    return found


@dataclass(frozen=True, eq=False)
class RealData:
    """What a generation may see of reality: the first pool, and fresh rows from the bank or the source.

    ``draw(n, replicates, rng)`` returns fresh real rows. On a finite source they come from the bank
    without replacement within a generation, anew per (generation, replicate): they repeat later.
    """

    origin: str
    first: Part
    draw: Callable[[int, int, Rng], Rows]
    exact: bool

    def fresh(self, n: int, rng: Rng) -> Part:
        """Return ``n`` fresh real rows for each replicate."""
        rows = self.draw(n, self.first.replicates, rng)
        return Part.of(rows, self.origin, 0, synthetic=False)

    @staticmethod
    def from_bank(origin: str, first: Part, bank: Rows) -> RealData:
        """Return the real data of a finite source."""

        def draw(n: int, replicates: int, rng: Rng) -> Rows:
            return bank.take(rng.choice(bank.n, n, replicates))

        return RealData(origin, first, draw, exact=False)
