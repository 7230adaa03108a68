"""What the frame knows of text, frozen on real blocks: how often tokens occur, and how likely a block is."""

from __future__ import annotations

from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from collapse.data import Column, Rows
from collapse.frame import LEVEL, Frame, counts, presence
from collapse.metrics._ngrams import Counts, Packing, Smoothed, hashed

#: Order of the frozen scorer, or less where the vocabulary is so large that so many tokens do not fit.
ORDER = 3
#: Expected counts around which rare tokens are watched, and from which they are common.
EXPECTED, COMMON = (1, 2, 5, 10, 20), 50
#: Bins of the perplexity of blocks.
BINS = 32
#: Tokens of an n-gram that is looked for in real text.
COPIED = 8


class FrozenText:
    """The text column of a frame. *Real* are the reference and the other real rows (10,000 at most) together."""

    def __init__(self, frame: Frame):
        self.column: Column = frame.schema.texts[0]
        self.size = len(self.column.categories)
        self.reference: np.ndarray = frame.reference[self.column.name][0]  # (n, L)
        self.other: np.ndarray = frame.real[self.column.name][0]

    def tokens(self, rows: Rows) -> np.ndarray:
        """Return the tokens of rows, (R, n, L)."""
        return rows[self.column.name]

    def counts(self, tokens: np.ndarray) -> np.ndarray:
        """Return how often each token of the vocabulary occurs, (R, n, L) -> (R, V)."""
        return counts(tokens.reshape(len(tokens), -1), self.size)

    # ------------------------------------------------------------------------------------------ tokens

    @cached_property
    def rare(self) -> tuple[np.ndarray, float]:
        """Return which tokens are rare, (V,), and their mass: the rarest of the reference, 5 % of it together.

        As everywhere, their mass is counted on the other real rows.
        """
        share = self.counts(self.reference[None])[0] / self.reference.size
        order = np.argsort(share, kind="stable")
        members = np.zeros(self.size, dtype=bool)
        members[order] = np.cumsum(share[order]) <= LEVEL
        return members, float(members[self.other].mean())

    @cached_property
    def _real(self) -> np.ndarray:
        return np.concatenate([self.reference, self.other])

    @property
    def blocks(self) -> int:
        """Return how many real blocks there are."""
        return len(self.reference) + len(self.other)

    @cached_property
    def shares(self) -> np.ndarray:
        """Return the share of each token in real text, (V,)."""
        return self.counts(self._real[None])[0] / self._real.size

    @cached_property
    def _held_by(self) -> np.ndarray:
        """Return how many real blocks hold each token, (V,): tokens come in bursts, blocks are what is drawn."""
        found = np.zeros(self.size, dtype=np.int64)
        for block in np.array_split(self._real, max(1, len(self._real) // 4096)):
            ranked = np.sort(block, axis=1)
            new = np.concatenate([np.ones((len(ranked), 1), dtype=bool), ranked[:, 1:] != ranked[:, :-1]], axis=1)
            found += np.bincount(ranked[new], minlength=self.size)
        return found

    def expected(self, n: int) -> np.ndarray:
        """Return the chance that each token is among ``n`` fresh real blocks, (V,)."""
        return presence(self._held_by, self.blocks, n)

    def bands(self, tokens: int) -> dict[str, np.ndarray]:
        """Return the bands of tokens by expected count in so many real ones, as masks (V,); empty ones are left out."""
        expected = tokens * self.shares
        found = {f"c={c}": (expected >= c / np.sqrt(2)) & (expected < c * np.sqrt(2)) for c in EXPECTED}
        found["common"] = expected >= COMMON
        return {name: mask for name, mask in found.items() if mask.any()}

    # ---------------------------------------------------------------------------------------- likelihood

    @cached_property
    def scorer(self) -> Smoothed:
        """Return a Kneser–Ney trigram model of the other real rows: the same judge for all nodes and models."""
        order = ORDER
        while order * int(self.size).bit_length() > 63:
            order -= 1
        packing = Packing(self.size, order)
        return Smoothed(Counts.of(packing.pack(self.other)), packing, "kneser-ney")

    def perplexity(self, tokens: np.ndarray) -> np.ndarray:
        """Return the perplexity of each block under the scorer, (R, n, L) -> (R, n)."""
        return np.stack([np.exp(-np.log(self.scorer.probabilities(part)).mean(axis=1)) for part in tokens])

    @cached_property
    def usual(self) -> np.ndarray:
        """Return the perplexity of each reference block, sorted."""
        return np.sort(self.perplexity(self.reference[None])[0])

    @cached_property
    def edges(self) -> np.ndarray:
        """Return the inner edges of the bins of perplexity: even in its logarithm, beyond real blocks on both sides."""
        low, high = np.quantile(self.usual, [0.005, 0.995])
        return np.geomspace(max(1.0, low / 6), max(2 * high, min(20 * high, 4.0 * self.size)), BINS - 1)

    @cached_property
    def known(self) -> np.ndarray:
        """Return the hashes of all n-grams of :data:`COPIED` tokens of the other real rows, sorted."""
        return np.unique(hashed(self.other, COPIED))


_FROZEN: WeakKeyDictionary[Frame, FrozenText] = WeakKeyDictionary()


def frozen(frame: Frame) -> FrozenText:
    """Return what a frame knows of its text; kept as long as the frame lives."""
    if frame not in _FROZEN:
        _FROZEN[frame] = FrozenText(frame)
    return _FROZEN[frame]
