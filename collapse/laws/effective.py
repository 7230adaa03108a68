"""The effective share of real data, from part sizes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.laws.categorical import accumulate_simpson, replace_simpson

__all__ = ["accumulate_simpson", "heterozygosity", "replace_simpson"]


def heterozygosity(pools: Sequence[Mapping[str, float]], made: Mapping[str, int],
                   drawn: Mapping[int, int] | None = None) -> np.ndarray:
    """Return E[H_t]/H_0 of each pool: the expected diversity that it still has of reality. 1.0: all, 0.0: none.

    H = 1 − Σp² of the shares of a model fitted to the pool; two of its draws differ unless they trace back to one real
    row. Rows are independent draws from the model that made them: (1 − 1/n)^t under replace, ∏(1 − 1/(n j²)) under
    accumulate, and what lies between for any other rule that takes whole parts.

    Parameters
    ----------
    pools
        Training sets in order; each maps its parts to their rows. A part that was cut down has the rows it has there.
    made
        For each synthetic part the index of the pool whose model made it; a part that is not named is real.
    drawn
        For the index of each pool from which a training set is drawn, uniformly and without replacement: its rows.
    """
    from functools import cache

    drawn = drawn or {}

    @cache
    def between(a: str, b: str) -> float:
        """Return the chance that different rows of two parts differ."""
        if a == b or made.get(a, -1) == made.get(b, -1):
            return within(made[a]) if a in made else 1.0
        younger, older = (a, b) if made.get(a, -1) > made.get(b, -1) else (b, a)
        pool = pools[made[younger]]  # of which the younger row is a draw
        return sum(rows * differ(part, older, rows) for part, rows in pool.items()) / sum(pool.values())

    def differ(a: str, b: str, rows: float) -> float:
        return between(a, b) * (1 - 1 / rows if a == b else 1.0)

    @cache
    def within(index: int) -> float:
        """Return the chance that two draws of the model of a pool differ."""
        pool = pools[index]
        total = sum(pool.values())
        pairs = sum(m * n * differ(a, b, m) for a, m in pool.items() for b, n in pool.items())
        if index not in drawn or drawn[index] >= total:
            return pairs / total**2
        # two draws of the model are one row of the training set, or else two rows of the pool
        return (1 - 1 / drawn[index]) * pairs / (total * (total - 1))

    return np.array([within(i) for i in range(len(pools))])
