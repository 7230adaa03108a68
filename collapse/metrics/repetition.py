"""Whether the text repeats itself: within a block, and from block to block."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import Frame
from collapse.metrics._corpus import frozen
from collapse.metrics._ngrams import different, hashed
from collapse.metrics.base import Fact, Measurement, Metric

#: Blocks that are compared pair by pair, and blocks that are compressed.
PAIRS, COMPRESSED = 8, 400


class Repetition(Metric):
    """Repeated word groups, self-BLEU and compressibility."""

    kind = "repetition"
    facts: ClassVar[dict[str, Fact]] = {
        "repeated_4grams": Fact(
            "spread", 0.0, "above",
            "share of the groups of 4 tokens of a block that stood in it before, mean over blocks; 0.0: none, 1.0: the "
            "block is one loop",
            "Welleck et al. 2020, ICLR (seq-rep-4)", below="gained", above="spread lost", high=1.0),
        "self_bleu": Fact(
            "spread", 0.0, "above",
            f"BLEU of a block against the others, mean over {PAIRS} blocks, words split at white space; 0.0: no block "
            "is like another, 1.0: all are alike",
            "Zhu et al. 2018, SIGIR (Texygen); Post 2018 (sacrebleu)", below="gained", above="spread lost", high=1.0),
        "compression_ratio": Fact(
            "spread", 1.0, "below",
            f"compressed over plain bytes (zlib, the first {COMPRESSED} blocks) over the same of real text; 1.0: as "
            "dense as real text, 0.0: one phrase over and over",
            "after Shaib et al. 2024, arXiv 2403.00553", below="spread lost", above="gained"),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.texts)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        text = frozen(frame)
        tokens = text.tokens(sample)
        if tokens.shape[2] > 4:
            groups = hashed(tokens, 4)
            yield Measurement("repeated_4grams", "", 1 - different(groups).mean(axis=1) / groups.shape[2])
        m = min(COMPRESSED, sample.n, len(text.other))
        texts = [text.column.decode(part[:m]) for part in tokens]
        dense = density(text.column.decode(text.other[:m]))
        yield Measurement("compression_ratio", "", np.array([density(t) for t in texts]) / dense)
        if m > 1:
            yield Measurement("self_bleu", "", np.array([self_bleu(t[:PAIRS]) for t in texts]))


def density(texts: Sequence[str]) -> float:
    """Return compressed over plain bytes."""
    plain = "\n".join(texts).encode()
    return len(zlib.compress(plain, 6)) / max(1, len(plain))


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean sentence BLEU (0 to 1) of each text against all others."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(tokenize="none", effective_order=True)
    words = [" ".join(text.split()) for text in texts]
    scores = [bleu.sentence_score(one, [*words[:i], *words[i + 1 :]]).score for i, one in enumerate(words)]
    return float(np.mean(scores)) / 100
