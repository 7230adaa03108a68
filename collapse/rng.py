"""Addressed randomness: every draw has an address, and nothing else decides its value.

The address is (seed, study, generation, purpose) and the replicate. The name of the branch is not
part of it, so branches share random numbers and are compared by paired differences. Neither the
number of replicates nor the number of workers changes the draws of a replicate.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np

#: A generator of a batched draw makes at least this many replicates, and at least this many numbers.
#: Part of every address: changing them changes all draws.
BLOCK, NUMBERS = 64, 2**14


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
        return np.random.Generator(np.random.SFC64(int.from_bytes(hashlib.sha256(text.encode()).digest())))

    def each(self, replicates: int) -> Iterator[np.random.Generator]:
        """Yield one generator per replicate, for models that loop over replicates."""
        for replicate in range(replicates):
            yield self.generator("replicate", replicate)

    def seed(self, replicate: int) -> int:
        """Return a 32-bit seed for a library that takes one (scikit-learn)."""
        return int(self.generator("replicate", replicate).integers(2**32))

    def _blocks(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, np.random.Generator]]:
        size = max(BLOCK, NUMBERS // max(1, math.prod(shape[1:])))  # whatever R is
        for block, start in enumerate(range(0, shape[0], size)):
            yield slice(start, min(start + size, shape[0])), self.generator("block", block)

    def normal(self, shape: tuple[int, ...], mean: np.ndarray | None = None,
               std: np.ndarray | None = None) -> np.ndarray:
        """Return normal draws of ``shape`` (R, ...): standard, or with ``mean`` and ``std`` (R, ...), broadcast."""
        out = np.empty(shape)
        for rows, generator in self._blocks(shape):
            block = out[rows]
            generator.standard_normal(out=block)
            if std is not None:  # here the block is still in the cache
                block *= std[rows]
            if mean is not None:
                block += mean[rows]
        return out

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return uniform draws from [0, 1) of ``shape`` (R, ...)."""
        out = np.empty(shape)
        for rows, generator in self._blocks(shape):
            generator.random(out=out[rows])
        return out

    def chisquare(self, freedom: float, shape: tuple[int, ...]) -> np.ndarray:
        """Return χ² draws on ``freedom`` > 0 degrees of freedom, of ``shape`` (R, ...)."""
        out = np.empty(shape)
        for rows, generator in self._blocks(shape):
            generator.standard_gamma(freedom / 2, out=out[rows])
        out *= 2
        return out

    def multinomial(self, n: int, shares: np.ndarray) -> np.ndarray:
        """Return the counts (R, k) of ``n`` draws from each row of ``shares`` (R, k), which sum to 1."""
        out = np.empty(shares.shape, dtype=np.int64)
        for rows, generator in self._blocks(shares.shape):
            out[rows] = generator.multinomial(n, shares[rows])
        return out

    def integers(self, high: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return uniform integers from [0, high) of ``shape`` (R, ...)."""
        out = np.empty(shape, dtype=np.int64)
        for rows, generator in self._blocks(shape):
            out[rows] = generator.integers(high, size=out[rows].shape)
        return out

    def choice(self, population: int, size: int, replicates: int) -> np.ndarray:
        """Return (R, size) indices drawn without replacement from ``range(population)``, in random order."""
        out = np.empty((replicates, size), dtype=np.int64)
        for rows, generator in self._blocks((replicates, population)):
            keys = generator.random((rows.stop - rows.start, population))
            index = np.argpartition(keys, size - 1, axis=1)[:, :size] if 0 < size < population else \
                np.broadcast_to(np.arange(size), (len(keys), size))
            order = np.argsort(np.take_along_axis(keys, index, axis=1), axis=1)
            out[rows] = np.take_along_axis(index, order, axis=1)
        return out
