"""Whether text is copied: long word groups that stand in real text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.metrics.base import Fact, Measurement, Metric
from collapse.metrics.corpus import COPIED, frozen
from collapse.metrics.frame import Frame
from collapse.metrics.ngrams import find, hashed


class Memorisation(Metric):
    """Sampled word groups that stand in real text. Held-out real text has some too: formulas, licences, lists."""

    kind = "memorisation"
    facts: ClassVar[dict[str, Fact]] = {
        "copied_8grams": Fact(
            "fidelity", 0.0, "either",
            f"share of the groups of {COPIED} tokens of the sample that stand in the real text that models are trained "
            "on (10,000 blocks of the bank at most); 0.0: none, 1.0: all is copied",
            "Carlini et al. 2023, ICLR (Quantifying memorization)"),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.texts) and schema.texts[0].shape[0] >= COPIED

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        text = frozen(frame)
        groups = [np.sort(hashed(part, COPIED), axis=None) for part in text.tokens(sample)]  # sorted: found faster
        yield Measurement("copied_8grams", "", np.array([find(text.known, part)[1].mean() for part in groups]))
