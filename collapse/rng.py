"""Addressed randomness: every draw has an address, and nothing else decides its value.

The address is (seed, study, generation, purpose) and the replicate. The name of the branch is not
part of it, so branches share random numbers and are compared by paired differences. Neither the
number of replicates nor the number of workers changes the draws of a replicate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

#: Replicates per generator in batched draws. Part of every address: changing it changes all draws.
BLOCK = 64


class Rng:
    """Random numbers at one address. Each draw method is called once per address: use :meth:`at`.

    Batched methods fill arrays of shape ``(R, ...)`` block by block, so that the first replicates
    of a longer run are the replicates of a shorter one.
    """

    __slots__ = ("address",)

    def __init__(self, *address: int | str):
        self.address = tuple(str(part) for part in address)

    def __repr__(self) -> str:
        return f"Rng({'/'.join(self.address)})"

    def at(self, *purpose: int | str) -> Rng:
        """Return the generator of a more precise address."""
        return Rng(*self.address, *purpose)

    def generator(self, *index: int | str) -> np.random.Generator:
        """Return the NumPy generator at this address (and ``index``)."""
        text = "\x1f".join((*self.address, *map(str, index)))
        key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def each(self, replicates: int) -> Iterator[np.random.Generator]:
        """Yield one generator per replicate, for models that loop over replicates."""
        for replicate in range(replicates):
            yield self.generator("replicate", replicate)

    def seed(self, replicate: int) -> int:
        """Return a 32-bit seed for a library that takes one (scikit-learn)."""
        return int(self.generator("replicate", replicate).integers(2**32))

    def _blocks(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, np.random.Generator]]:
        for block, start in enumerate(range(0, shape[0], BLOCK)):
            yield slice(start, min(start + BLOCK, shape[0])), self.generator("block", block)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return standard normal draws of ``shape`` (R, ...)."""
        out = np.empty(shape)
        for rows, generator in self._blocks(shape):
            generator.standard_normal(out=out[rows])
        return out

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return uniform draws from [0, 1) of ``shape`` (R, ...)."""
        out = np.empty(shape)
        for rows, generator in self._blocks(shape):
            generator.random(out=out[rows])
        return out

    def integers(self, high: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return uniform integers from [0, high) of ``shape`` (R, ...)."""
        out = np.empty(shape, dtype=np.int64)
        for rows, generator in self._blocks(shape):
            out[rows] = generator.integers(high, size=out[rows].shape)
        return out

    def choice(self, population: int, size: int, replicates: int) -> np.ndarray:
        """Return (R, size) indices drawn without replacement from ``range(population)``, in random order."""
        return np.stack([g.permutation(population)[:size] for g in self.each(replicates)])
