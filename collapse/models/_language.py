"""What language models share: the data that they take, and what their fits say of held-out text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collapse.data import Schema
from collapse.errors import InputError
from collapse.metrics.base import Fact, Measurement

#: Facts of every language model.
PERPLEXITIES: dict[str, Fact] = {
    "fit_perplexity": Fact(
        "fit", 1.0, "above",
        "perplexity of the fitted model on held-out real text, per token: exp of the mean −log p; 1.0: it knows every "
        "next token, the size of the vocabulary: it knows nothing",
        "Jelinek et al. 1977, J Acoust Soc Am 62:S63; Shumailov et al. 2024, Nature 631", low=1.0),
    "fit_word_perplexity": Fact(
        "fit", 1.0, "above",
        "perplexity of the fitted model on held-out real text per word (between white space), which does not depend on "
        "the tokeniser; 1.0: it knows every next word",
        "Mielke 2019, Can you compare perplexity across different segmentations?", low=1.0),
}


def only_text(schema: Schema, kind: str) -> None:
    """Refuse data that is not one text column (InputError)."""
    others = [column.name for column in schema.columns if column.kind != "text"]
    if len(schema.texts) != 1 or others:
        held = f"{', '.join(others)} is none" if others else f"there are {len(schema.texts)}"
        raise InputError(f"{kind} models one column of text, and {held}; take source kind text, pydoc or wikitext")


def perplexities(loss: np.ndarray, schema: Schema, reference: np.ndarray) -> Iterator[Measurement]:
    """Yield the perplexities, per token and per word, of mean losses (R,) in nats a token on ``reference`` (n, L)."""
    words = sum(len(text.split()) for text in schema.texts[0].decode(reference))
    yield Measurement("fit_perplexity", "", np.exp(loss))
    yield Measurement("fit_word_perplexity", "", np.exp(loss * reference.size / max(1, words)))
