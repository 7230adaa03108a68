"""Whether text is copied: long word groups that stand in real text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import REAL_ROWS, Frame, thinned
from collapse.metrics._corpus import COPIED, frozen
from collapse.metrics._ngrams import find, hashed
from collapse.metrics.base import Fact, Measurement, Metric

_SOURCE = "Carlini et al. 2023, ICLR (Quantifying memorization)"


class Memorisation(Metric):
    """Sampled word groups that stand in real text, or in the training set.

    Held-out real text has some too: formulas, licences, lists. Of a training set 10,000 blocks are looked at, at most.
    """

    kind = "memorisation"
    trained: ClassVar[bool] = True
    facts: ClassVar[dict[str, Fact]] = {
        "copied_8grams": Fact(
            "fidelity", 0.0, "either",
            f"share of the groups of {COPIED} tokens of the sample that stand in the real text of the bank (10,000 "
            "blocks at most); 0.0: none, 1.0: all is copied",
            _SOURCE, high=1.0),
        "learned_8grams": Fact(
            "fidelity", 0.0, "above",
            f"share of the groups of {COPIED} tokens of the sample that stand in the training set of its model (10,000 "
            "blocks at most); 0.0: none, 1.0: the model repeats what it was given",
            _SOURCE, high=1.0),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.texts) and schema.texts[0].shape[0] >= COPIED

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        text = frozen(frame)
        shares = [_share(text.known, tokens) for tokens in text.tokens(sample)]
        yield Measurement("copied_8grams", "", np.array(shares))

    def against(self, sample: Rows, training: Rows, frame: Frame) -> Iterator[Measurement]:
        text = frozen(frame)
        seen = text.tokens(training)[:, thinned(training.n, REAL_ROWS)]
        shares = [_share(np.sort(hashed(own, COPIED), axis=None), tokens)
                  for own, tokens in zip(seen, text.tokens(sample), strict=True)]
        yield Measurement("learned_8grams", "", np.array(shares))


def _share(known: np.ndarray, tokens: np.ndarray) -> float:
    """Return the share of the word groups of ``tokens`` (n, L) whose hash is in the sorted ``known``."""
    return float(find(known, np.sort(hashed(tokens, COPIED), axis=None))[1].mean())  # sorted: found faster
