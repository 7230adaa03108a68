"""Which tokens are still used: the rare ones, and the vocabulary as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import LEAST, Frame
from collapse.metrics._corpus import COMMON, frozen
from collapse.metrics.base import Fact, Measurement, Metric


class Vocabulary(Metric):
    """Tokens that live on, by how common they are in real text. Bands are frozen on real blocks."""

    kind = "vocabulary"
    facts: ClassVar[dict[str, Fact]] = {
        "rare_token_ratio": Fact(
            "tails", 1.0, "below",
            "mass of the rarest tokens (5 % of the reference together) over theirs in real text, unclipped; 1.0: kept, "
            "0.0: gone, 2.0: doubled",
            "Shumailov et al. 2024, Nature 631", below="tails lost", above="gained", anchored=True),
        "token_alive": Fact(
            "tails", 1.0, "below",
            "tokens of a band that the sample still has, over what as many fresh real blocks have; c=5: those expected "
            "about 5 times, common: 50 times or more; the whole is all below that. 1.0: as many as in real text, 0.0: "
            "none",
            "after Good & Toulmin 1956, Biometrika 43:45", below="tails lost", above="gained", anchored=True),
        "vocabulary_coverage": Fact(
            "spread", 1.0, "below",
            "different tokens of the sample over those of as many fresh real blocks; 1.0: as many, 0.0: none",
            "after Guo et al. 2024, NAACL Findings (linguistic diversity under recursive training)",
            below="spread lost", above="gained", anchored=True),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.texts)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        text = frozen(frame)
        m = min(sample.n, text.blocks)  # more blocks than are at hand would have tokens that nobody has counted
        tokens = text.tokens(sample)[:, :m]
        found = text.counts(tokens)  # (R, V)
        members, mass = text.rare
        if mass >= LEAST:
            yield Measurement("rare_token_ratio", "", found[:, members].sum(axis=1) / tokens[0].size / mass)
        alive, expected = found > 0, text.expected(m)
        yield Measurement("vocabulary_coverage", "", alive.sum(axis=1) / expected.sum())
        few = (text.shares > 0) & (text.shares * tokens[0].size < COMMON)
        if expected[few].sum() > 0:
            yield Measurement("token_alive", "", _ratio(alive, expected, few))
        for name, mask in text.bands(tokens[0].size).items():
            yield Measurement("token_alive", name, _ratio(alive, expected, mask))


def _ratio(alive: np.ndarray, expected: np.ndarray, members: np.ndarray) -> np.ndarray:
    return alive[:, members].sum(axis=1) / expected[members].sum()
