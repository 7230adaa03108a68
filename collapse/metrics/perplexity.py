"""How likely sampled text is under a model of real text, and what becomes of the unlikely."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.frame import LEVEL, Frame
from collapse.frame import counts as occurrences
from collapse.metrics._corpus import BINS, frozen
from collapse.metrics.base import Fact, Measurement, Metric

_SOURCE = "Shumailov et al. 2024, Nature 631 (language study)"


class Perplexity(Metric):
    """Perplexity of sampled blocks under a frozen scorer: a Kneser–Ney trigram model of real text, fitted once.

    The scorer is the same for all nodes, branches and kinds of model; it is fitted to the rows of the bank (10,000 at
    most), and is not the model of generation 1, which other settings would change. Rows of the bank itself, such as
    those of generation 0, are likelier than other real text: it has seen them.
    """

    kind = "perplexity"
    facts: ClassVar[dict[str, Fact]] = {
        "sample_perplexity": Fact(
            "fidelity", 1.0, "either",
            "median perplexity of sampled blocks under a trigram model of real text over that of held-out real blocks; "
            "1.0: as likely as real text, below: dull, above: unlikely",
            _SOURCE, below="tails lost", above="moved"),
        "perplexity_tail": Fact(
            "tails", 1.0, "either",
            "share of sampled blocks beyond the 5 % quantile (low: very likely) or the 95 % quantile (high: very "
            "unlikely) of held-out real blocks, over 5 %; 1.0: as many as in real text, 0.0: none",
            _SOURCE, parts={"low": ("", "tails lost"), "high": ("tails lost", "moved")}),
        "perplexity_share": Fact(
            "fidelity", 0.0, "either",
            "share of sampled blocks with a perplexity from the named value to the next, under the same trigram model; "
            "0.0: none, 1.0: all",
            _SOURCE, high=1.0),
        "reference_share": Fact(
            "fidelity", 0.0, "either",
            "the same of held-out real blocks, the same for all nodes: what perplexity_share is held against; 0.0: "
            "none, 1.0: all",
            _SOURCE, high=1.0),
    }

    def applies(self, schema: Schema) -> bool:
        return bool(schema.texts)

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        text = frozen(frame)
        found = text.perplexity(text.tokens(sample))  # (R, n)
        yield Measurement("sample_perplexity", "", np.median(found, axis=1) / np.median(text.usual))
        low, high = np.quantile(text.usual, [LEVEL, 1 - LEVEL])
        yield Measurement("perplexity_tail", "low", (found < low).mean(axis=1) / LEVEL)
        yield Measurement("perplexity_tail", "high", (found > high).mean(axis=1) / LEVEL)
        shares = occurrences(np.searchsorted(text.edges, found, side="right"), BINS) / sample.n
        real = occurrences(np.searchsorted(text.edges, text.usual[None], side="right"), BINS)[0] / len(text.usual)
        for place, edge in enumerate([0.0, *text.edges]):
            yield Measurement("perplexity_share", f"{edge:.4g}", shares[:, place])
            yield Measurement("reference_share", f"{edge:.4g}", np.full(len(shares), real[place]))
