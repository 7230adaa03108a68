"""N-grams of tokens: counted, smoothed, scored and drawn from, in sorted arrays.

An n-gram is one integer: its tokens, the oldest in the highest bits, so that n-grams of one context are neighbours. A
position before the first token of a row is filled with a token of its own, :attr:`Packing.start`, which is never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collapse.errors import InputError

#: Bits that a packed n-gram may take; the sign stays free.
BITS = 63
#: Contexts up to which a table says where they are.
DENSE = 2**17


@dataclass(frozen=True)
class Packing:
    """How ``order`` tokens of a vocabulary of ``size`` share an integer."""

    size: int
    order: int

    def __post_init__(self) -> None:
        if self.bits * self.order > BITS:
            raise InputError(f"n-grams of {self.order} tokens out of {self.size:,} do not fit into {BITS} bits; take "
                             f"an order of {BITS // self.bits} or less, or a smaller vocabulary")

    @property
    def start(self) -> int:
        """Return the token that stands before the first one of a row."""
        return self.size

    @property
    def bits(self) -> int:
        """Return the bits of one token."""
        return int(self.size).bit_length()

    def mask(self, order: int) -> int:
        """Return what keeps the newest ``order`` tokens."""
        return (1 << self.bits * order) - 1

    def pack(self, tokens: np.ndarray, padded: bool = True) -> np.ndarray:
        """Return the n-gram that ends at each position of ``tokens`` (n, L): (n, L) int64.

        Not ``padded``: only whole ones, (n, L − order + 1).
        """
        n, length = tokens.shape
        before = self.order - 1 if padded else 0
        wide = np.full((n, length + before), self.start, dtype=np.int64)
        wide[:, before:] = tokens
        ends = wide.shape[1] - self.order + 1
        out = np.zeros((n, max(ends, 0)), dtype=np.int64)
        for place in range(self.order if ends > 0 else 0):
            out <<= self.bits
            out |= wide[:, place : place + ends]
        return out


@dataclass(frozen=True, eq=False)
class Counts:
    """Different n-grams, packed and sorted, and how often each occurs."""

    keys: np.ndarray
    counts: np.ndarray

    @staticmethod
    def of(packed: np.ndarray) -> Counts:
        """Count n-grams of any shape."""
        keys, counts = np.unique(packed.ravel(), return_counts=True)
        return Counts(keys, counts.astype(np.int32))

    def __add__(self, other: Counts) -> Counts:
        keys = np.concatenate([self.keys, other.keys])
        counts = np.concatenate([self.counts, other.counts])
        order = np.argsort(keys, kind="stable")  # two sorted runs: merged, not sorted
        return Counts(*_grouped(keys[order], counts[order]))


def _grouped(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different ones of sorted ``keys`` and the sums of their ``values``."""
    if not len(keys):
        return keys, values
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(values, first, dtype=values.dtype)


@dataclass(frozen=True, eq=False)
class Level:
    """The n-grams of one order, smoothed: p(w|h) = excess(w|h) + back(h) · p(w|h'), h' is h without its oldest token.

    ``excess`` is 0 for what was never seen, ``back`` 1 for a context that never was.
    """

    keys: np.ndarray  # (N,) n-grams, sorted
    shares: np.ndarray  # (N,) p(w|h)
    contexts: np.ndarray  # (C,) sorted
    back: np.ndarray  # (C,)
    starts: np.ndarray  # (C + 1,) where the n-grams of a context begin
    steps: np.ndarray  # (N + 1,) running sum of the excess that is drawn from, from 0
    mass: np.ndarray  # (C,) Σ_w p(w|h)^(1/τ)
    largest: int  # no context is above it

    @cached_property
    def _table(self) -> np.ndarray | None:
        """Return the place of every possible context, −1 where there is none, if they are few."""
        if self.largest >= DENSE:
            return None
        table = np.full(self.largest + 1, -1)
        table[self.contexts] = np.arange(len(self.contexts))
        return table

    def context(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of contexts, and whether they are there."""
        if self._table is None:
            return find(self.contexts, keys)
        place = self._table[keys]
        return np.maximum(place, 0), place >= 0


def find(known: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of ``keys`` in the sorted ``known``, and whether they are there.

    Few keys, and sorted ones, are found fastest by bisection, which misses the processor's caches where they are many
    and out of order: those are hashed, in a third of the time.
    """
    if len(keys) < len(known) // 4 or not (keys[1:] < keys[:-1]).any():
        place = np.searchsorted(known, keys)
        place[place == len(known)] = 0
        return place, known[place] == keys
    from pandas import Index  # it takes a third of a second, and every command asks what metrics mean

    place = Index(known).get_indexer(keys)
    return np.maximum(place, 0), place >= 0


class Smoothed:
    """An interpolated n-gram model; its lowest order is the uniform distribution, so that no token has probability 0.

    Parameters
    ----------
    counts
        N-grams of the highest order.
    rule
        ``kneser-ney``: interpolated, one discount per order (Kneser & Ney 1995, ICASSP; Chen & Goodman 1999, Comput
        Speech Lang 13:359), D = (n₁ + ½)/(n₁ + 2n₂ + 1): Ney's estimate, with half an n-gram added so that it exists
        for any text. Lower orders count in how many contexts an n-gram stands; at the start of a row, where there is
        one context, how often.
        ``witten-bell``: the lower order has weight T/(T + C), with T different tokens after a context and C in all
        (Witten & Bell 1991, IEEE Trans Inf Theory 37:1085, method C). Lower orders count occurrences.
    temperature
        τ > 0: what is drawn follows p^(1/τ), normalised for each context; 1 draws from the fit itself.
    """

    def __init__(self, counts: Counts, packing: Packing, rule: str, temperature: float = 1.0):
        self.packing, self.rule, self.power = packing, rule, 1 / temperature
        tables = [counts]
        for order in range(packing.order - 1, 0, -1):
            tables.append(self._lower(tables[-1], order))
        self.levels: list[Level] = []
        for order, table in enumerate(reversed(tables), 1):
            self.levels.append(self._level(table, order))

    def _lower(self, table: Counts, order: int) -> Counts:
        """Return the n-grams of ``order`` out of those one longer."""
        keys = table.keys & self.packing.mask(order)
        values = table.counts
        if self.rule == "kneser-ney":
            # Only starts stand before a start: the number of contexts would say nothing.
            begins = keys >> self.packing.bits * (order - 1) == self.packing.start
            values = np.where(begins, values, 1)
        index = np.argsort(keys, kind="stable")
        return Counts(*_grouped(keys[index], values[index]))

    def _level(self, table: Counts, order: int) -> Level:
        counts, contexts = table.counts.astype(float), table.keys >> self.packing.bits
        starts = np.flatnonzero(np.concatenate([[True], contexts[1:] != contexts[:-1]]))
        kinds = np.diff(np.append(starts, len(contexts)))
        total = np.add.reduceat(counts, starts)
        if self.rule == "kneser-ney":
            once, twice = int((table.counts == 1).sum()), int((table.counts == 2).sum())
            discount = (once + 0.5) / (once + 2 * twice + 1)
            back = discount * kinds / total
            excess = (counts - discount) / np.repeat(total, kinds)
        else:
            back = kinds / (total + kinds)
            excess = counts / np.repeat(total + kinds, kinds)
        lower, mass = self._below(table.keys, contexts[starts], order)
        rest = np.repeat(back, kinds) * lower
        shares = excess + rest
        if self.power != 1:
            # p^(1/τ) of what was not seen is back^(1/τ) · p'^(1/τ): again a mixture with the lower order, whose sum is
            # known. What p^(1/τ) of the seen is above that is the excess.
            excess = shares**self.power - rest**self.power
            mass = np.add.reduceat(excess, starts) + back**self.power * mass
            excess = excess / np.repeat(mass, kinds)
        steps = np.concatenate([[0.0], np.cumsum(excess)])
        return Level(table.keys, shares, contexts[starts], back, np.append(starts, len(shares)), steps, mass,
                     self.packing.mask(order - 1))

    def _below(self, keys: np.ndarray, contexts: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower order's p(w|h') of n-grams and Σ p^(1/τ) of contexts. Suffixes of the seen were seen."""
        size = self.packing.size
        if order == 1:
            return np.full(len(keys), 1 / size), np.full(len(contexts), size ** (1 - self.power))
        below = self.levels[-1]
        shares = below.shares[find(below.keys, keys & self.packing.mask(order - 1))[0]]
        return shares, below.mass[find(below.contexts, contexts & self.packing.mask(order - 2))[0]]

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Return p of each token of rows (n, L) given those before it, by the fit itself (τ = 1): (n, L)."""
        keys, place = np.unique(self.packing.pack(tokens), return_inverse=True)
        return self._shares(keys)[place].reshape(tokens.shape)

    def loss(self, counts: Counts) -> float:
        """Return the mean −log p, in nats a token, of counted n-grams."""
        return float(-(np.log(self._shares(counts.keys)) @ counts.counts) / counts.counts.sum())

    def _shares(self, packed: np.ndarray) -> np.ndarray:
        """Return p of the newest token of n-grams. Sorted ones are found several times faster."""
        weight, left = np.ones(len(packed)), np.arange(len(packed))
        for order in range(self.packing.order, 0, -1):
            level, keys = self.levels[order - 1], packed[left] & self.packing.mask(order)
            place, there = find(level.keys, keys)
            weight[left[there]] *= level.shares[place[there]]
            left = left[~there]
            place, there = find(level.contexts, keys[~there] >> self.packing.bits)
            weight[left[there]] *= level.back[place[there]]
        weight[left] /= self.packing.size
        return weight

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        """Return rows of tokens (n, L) int32, one for each of ``uniform`` (n, L) from [0, 1)."""
        n, length = uniform.shape
        history = np.full(n, self._history_of_starts, dtype=np.int64)
        out = np.empty((length, n), dtype=np.int32)
        for position in range(length):
            out[position] = self._next(history, uniform[:, position].copy())
            history = (history << self.packing.bits | out[position]) & self.packing.mask(self.packing.order - 1)
        return np.ascontiguousarray(out.T)

    @property
    def _history_of_starts(self) -> int:
        return sum(self.packing.start << self.packing.bits * place for place in range(self.packing.order - 1))

    def _next(self, history: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Return the next token after each history: from the excess of the highest order, or else the one below it."""
        found, left = np.empty(len(history), dtype=np.int64), np.arange(len(history))
        for order in range(self.packing.order, 0, -1):
            level = self.levels[order - 1]
            context, known = level.context(history[left] & self.packing.mask(order - 1))
            begin, end = level.steps[level.starts[context]], level.steps[level.starts[context + 1]]
            own = np.where(known, end - begin, 0.0)
            u = uniform[left]
            take = u < own
            place = np.searchsorted(level.steps, begin[take] + u[take], side="right") - 1
            # A sum may round up to the next context's.
            place = np.minimum(place, level.starts[context[take] + 1] - 1)
            found[left[take]] = level.keys[place] & self.packing.mask(1)
            left, own = left[~take], own[~take]
            uniform[left] = (uniform[left] - own) / (1 - own)  # what is left of it is uniform again
        found[left] = np.minimum(uniform[left] * self.packing.size, self.packing.size - 1).astype(np.int64)
        return found.astype(np.int32)


#: Odd 64-bit multipliers: 2⁶⁴ over the golden ratio, and one of its multiples.
_MIX, _FINISH = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


def hashed(tokens: np.ndarray, order: int) -> np.ndarray:
    """Return a 64-bit hash of each whole n-gram of ``tokens`` (…, L): (…, L − order + 1), of any order and vocabulary.

    Two of a million different n-grams share one with probability 3e-8.
    """
    ends = tokens.shape[-1] - order + 1
    out = np.zeros((*tokens.shape[:-1], max(ends, 0)), dtype=np.uint64)
    for place in range(order if ends > 0 else 0):
        out = (out ^ tokens[..., place : place + ends].astype(np.uint64)) * _MIX
        out ^= out >> np.uint64(29)
    out *= _FINISH
    return out ^ out >> np.uint64(32)


def different(values: np.ndarray) -> np.ndarray:
    """Return how many different values there are along the last axis."""
    ranked = np.sort(values, axis=-1)
    return (ranked[..., 1:] != ranked[..., :-1]).sum(axis=-1) + (values.shape[-1] > 0)
