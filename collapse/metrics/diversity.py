"""How varied the text is: its tokens, and its word groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame
from collapse.metrics._corpus import FrozenText, frozen
from collapse.metrics._ngrams import different, hashed
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.spread import entropy

#: Tokens of a segment in which types are counted.
SEGMENT = 1000
#: Ranks over which Zipf's exponent is fitted have this many tokens or more in real text, on average.
LEAST_COUNT = 5


class Diversity(Metric):
    """Diversity over that of equally many real blocks: the first m of both, m the smaller of n and the real blocks."""

    kind = "diversity"
    facts: ClassVar[dict[str, Fact]] = {
        "effective_tokens": Fact(
            "spread", 1.0, "below",
            "effective number of tokens exp(H) over that of as much real text (Hill number of order 1); 1.0: as many, "
            "0.5: half as many, 0.0: one of very many",
            "Hill 1973, Ecology 54:427; Shannon 1948", below="spread lost", above="gained"),
        "type_token_ratio": Fact(
            "spread", 1.0, "below",
            f"different tokens in segments of {SEGMENT:,} tokens over those in real segments; 1.0: as many, 0.0: one "
            "token",
            "Johnson 1944, Psychol Monogr 56:1 (mean segmental type–token ratio)",
            below="spread lost", above="gained"),
        **{f"distinct_{k}": Fact(
            "spread", 1.0, "below",
            f"different {name} of the sample over those of as much real text; 1.0: as many, 0.0: none but one",
            "Li et al. 2016, NAACL (distinct-n)",
            below="spread lost", above="gained") for k, name in ((1, "tokens"), (2, "pairs of tokens"),
                                                                (3, "triples of tokens"))},
        "zipf_exponent": Fact(
            "spread", 1.0, "above",
            "minus the slope of log frequency on log rank, over the ranks that are common in real text (least squares "
            "at even steps of log rank); about 1.0 in natural text, 0.0: all as common, above: the most common gain",
            "Zipf 1949, Human Behavior and the Principle of Least Effort", below="gained", above="spread lost",
            low=-np.inf),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.texts)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        text = frozen(frame)
        m = min(sample.n, len(text.other))
        tokens, real = text.tokens(sample)[:, :m], text.other[None, :m]
        yield Measurement("effective_tokens", "", np.exp(_entropy(tokens, text) - _entropy(real, text)))
        yield Measurement("type_token_ratio", "", segmental(tokens) / segmental(real))
        for k in (1, 2, 3):
            yield Measurement(f"distinct_{k}", "", _distinct(tokens, k) / _distinct(real, k))
        yield Measurement("zipf_exponent", "", zipf_exponent(text.counts(tokens), text.counts(real)[0]))


def _entropy(tokens: np.ndarray, text: FrozenText) -> np.ndarray:
    return entropy(text.counts(tokens) / tokens[0].size)


def segmental(tokens: np.ndarray) -> np.ndarray:
    """Return the mean share of different tokens in segments of 1,000 (or of all, if fewer): (R, n, L) -> (R,)."""
    flat = tokens.reshape(len(tokens), -1)
    length = min(SEGMENT, flat.shape[1])
    segments = flat[:, : flat.shape[1] // length * length].reshape(len(flat), -1, length)
    return different(segments).mean(axis=1) / length


def _distinct(tokens: np.ndarray, k: int) -> np.ndarray:
    return np.array([different(hashed(part, k).ravel()) for part in tokens], dtype=float)


def zipf_exponent(counts: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return minus the slope of log count on log rank, at even steps of log rank: counts (R, V), real (V,) -> (R,)."""
    last = max(10, int((real >= LEAST_COUNT).sum()))
    rank = np.unique(np.geomspace(1, min(last, counts.shape[1]), 40).round().astype(int))
    ranked = -np.sort(-counts, axis=1)[:, rank - 1]
    x = np.log(rank) - np.log(rank).mean()
    return -(np.log(ranked + 0.5) @ x) / (x @ x)  # half a token: a rank may be empty
