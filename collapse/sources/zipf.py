"""Words with Zipf's frequencies, or categories with shares of your own."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.rng import Rng
from collapse.sources.base import Source

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Zipf(Source):
    """One category column ``word``: the k-th of ``categories`` words has a share ∝ k^−``exponent``.

    ``exponent`` 0 makes all words equal, 1 is Zipf's law. ``shares`` replaces the law by any positive
    numbers, which are normalised. ``counts`` is a CSV file of names and whole numbers (a census), by path or in
    COLLAPSE_DATA_DIR; where it is not there, the law with ``categories`` stands in, and the manifest says so.
    Source: Zipf 1949, "Human Behavior and the Principle of Least Effort".
    """

    kind: ClassVar[str] = "zipf"
    finite: ClassVar[bool] = False

    categories: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    exponent: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    shares: Annotated[list[Positive], Field(min_length=2)] | None = None

    counts: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _lengths(self) -> Zipf:
        if self.counts is not None and self.shares is not None:
            raise ValueError("counts and shares both give the shares; drop one")
        if self.shares is not None and self.categories not in (None, len(self.shares)):
            raise ValueError(f"shares has {len(self.shares)} entries, but categories is {self.categories}; "
                             f"drop categories")
        return self

    def files(self) -> tuple[Path, ...]:
        found = self._census
        return () if found is None else (found,)

    @property
    def _census(self) -> Path | None:
        """Return the file of counts if it is there."""
        if self.counts is None:
            return None
        folder = os.environ.get("COLLAPSE_DATA_DIR")
        places = [Path(self.counts)] + ([Path(folder) / self.counts] if folder else [])
        return next((place for place in places if place.is_file()), None)

    @cached_property
    def _table(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return names and shares, the most frequent first where they are counted."""
        census = self._census
        if census is not None:
            names, counted = _read_counts(census)
            return names, counted / counted.sum()
        shares = np.arange(1, (self.categories or 100) + 1, dtype=float) ** -self.exponent
        if self.shares is not None:
            shares = np.array(self.shares, dtype=float)
        width = max(3, len(str(len(shares))))
        return tuple(f"w{k:0{width}d}" for k in range(1, len(shares) + 1)), shares / shares.sum()

    @property
    def probabilities(self) -> np.ndarray:
        """Return the true share of each word; they sum to 1."""
        return self._table[1]

    @property
    def words(self) -> tuple[str, ...]:
        """Return the name of each word."""
        return self._table[0]

    @property
    def real_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return the frozen vocabulary: a word once extinct keeps its name and its place in every metric."""
        origin = "" if self.counts is None else f" of {self.counts}" if self._census else \
            f", Zipf's law in place of {self.counts}, which is not there"
        return (f"category set of word ({len(self.probabilities)}{origin})",)

    def truth(self) -> dict[str, np.ndarray]:
        return {"shares.word": self.probabilities}

    def draw(self, n: int, replicates: int, rng: Rng) -> Rows:
        words, shares = self._table
        codes = inverse_cdf(shares, rng.at("word").uniform((replicates, n)))
        return Rows.assemble(Schema((Column("word", "category", words),)), None, {"word": codes})


def _read_counts(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names and counts of a CSV file: its first text column and its first column of whole numbers."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InputError(f"source.counts: {path.name} cannot be read as CSV ({str(error).splitlines()[0]}); give names "
                         f"and counts") from None
    numbers = [name for name in frame.columns if frame[name].dtype.kind in "iuf"]
    texts = [name for name in frame.columns if name not in numbers]
    if not numbers or not texts or len(frame) < 2:
        raise InputError(f"source.counts: {path.name} must have a column of names, one of counts, and two rows or more")
    counted = frame[numbers[0]].to_numpy(dtype=float)
    if not (np.isfinite(counted).all() and (counted > 0).all()):
        raise InputError(f"source.counts: {path.name} has {int((~(counted > 0)).sum())} counts in '{numbers[0]}' that "
                         f"are not above 0; leave those rows out")
    names = frame[texts[0]].astype(str)
    if names.duplicated().any():
        raise InputError(f"source.counts: {path.name} names '{names[names.duplicated()].iloc[0]}' twice; "
                         f"add the counts up")
    order = np.argsort(-counted, kind="stable")
    return tuple(names.to_numpy()[order].tolist()), counted[order]


def inverse_cdf(shares: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return the codes that ``uniform`` draws from [0, 1) select; a share of 0 is never selected."""
    cdf = np.cumsum(shares)
    cdf /= cdf[-1]  # the last step is 1 exactly, so that no draw falls beyond it
    return np.searchsorted(cdf, uniform, side="right").astype(np.int32)
