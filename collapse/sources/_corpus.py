"""What every source of text offers: documents, divided by document, cut into blocks of one length in tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from collapse import tokenisers
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.rng import Rng
from collapse.sources.base import Division, Source
from collapse.spec import digest

#: The column of a block.
TEXT = "text"


class Corpus(Source):
    """Documents of text. A row is a block of ``block`` tokens, so that rows × block is an exact budget of tokens.

    Documents are held out whole, then tokenised, joined with an end-of-document token after each, cut, and shuffled
    block by block; what does not fill the last block is left out. The tokeniser is made from the bank alone.

    Parameters
    ----------
    block
        Tokens of a row.
    tokeniser
        ``bpe`` (byte-level), ``characters``, ``words``, or the folder or name of a pretrained one.
    vocabulary
        Most tokens; by default 4,096 for ``bpe``, and all words or characters of the bank.
    unknown
        Whether a character that ``characters`` does not know is refused, or replaced by U+FFFD. (``bpe`` knows every
        byte, ``words`` writes <unk>.)
    """

    block: Annotated[int, Field(ge=4, le=65536)] = 64
    tokeniser: Annotated[str, Field(min_length=1)] = "bpe"
    vocabulary: Annotated[int, Field(ge=4)] | None = None
    unknown: Literal["refuse", "replace"] = "refuse"

    @property
    def real_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return what of reality later generations get: the tokeniser."""
        if self.tokeniser in tokenisers.KINDS:
            return (f"tokeniser {self.tokeniser} and its vocabulary, made from the bank",)
        return (f"tokeniser {Path(self.tokeniser).name}, made from other real text",)

    @property
    def unit(self) -> str:
        return f"blocks of {self.block} tokens"

    def budget(self, rows: int) -> str:
        return f"rows: {rows} (tokens: {rows * self.block})"

    # ------------------------------------------------------------------------------ what a source defines

    def documents(self) -> list[str]:
        """Return every document, in an order of its own."""
        raise NotImplementedError(type(self).__name__)

    def official(self) -> tuple[list[str], list[str]] | None:
        """Return the documents to train on and those held out, where the source has a division of its own."""
        return None

    # ------------------------------------------------------------------------------------------ division

    def divide(self, held_out: float, rng: Rng) -> Division:
        official = self.official()
        bank, reference = self._divided(held_out, rng) if official is None else official
        tokeniser = tokenisers.make(self.tokeniser, bank, self.vocabulary)
        if self.tokeniser == "characters" and self.unknown == "refuse":
            self._refuse_unknown(bank, reference)
        schema = Schema((Column(TEXT, "text", tokeniser.vocabulary, (self.block,), end=tokeniser.end),))
        rows, tokens = [], []
        for documents, what in ((bank, "the text to train on"), (reference, "the text held out")):
            stream = tokeniser.encode(documents)
            blocks = len(stream) // self.block
            if blocks == 0:
                raise InputError(f"source.block: {what} has {len(stream):,} tokens, less than a block of {self.block}; "
                                 f"lower block, or use more text")
            cut = stream[: blocks * self.block].reshape(1, blocks, self.block)
            rows.append(Rows(schema, {TEXT: cut[:, rng.generator(what).permutation(blocks)]}))
            tokens.append(blocks * self.block)
        found: dict[str, Any] = {
            "documents": {"bank": len(bank), "reference": len(reference)},
            "tokens": {"bank": tokens[0], "reference": tokens[1]},
            "text": digest([bank, reference]),
            "tokeniser": tokeniser.about,
            "tokeniser_sha256": hashlib.sha256(tokeniser.json.encode()).hexdigest(),
        }
        return Division(rows[0], rows[1], found, {"tokeniser.json": tokeniser.json})

    def _divided(self, held_out: float, rng: Rng) -> tuple[list[str], list[str]]:
        """Hold out whole documents, drawn at random, until they hold that share of all characters."""
        documents = self.documents()
        if len(documents) < 2:
            raise InputError(f"source: {self.kind} has {len(documents)} document{'' if documents else 's'}, and some "
                             f"are held out whole; use more text, or cut it with source.separator")
        order = rng.generator().permutation(len(documents))
        length = np.array([len(document) for document in documents])
        before = np.concatenate([[0], np.cumsum(length[order])[:-1]])
        held = np.zeros(len(documents), dtype=bool)
        held[order[before < held_out * length.sum()]] = True
        held[order[-1]] = False  # of two documents one is left
        return ([d for d, out in zip(documents, held, strict=True) if not out],
                [d for d, out in zip(documents, held, strict=True) if out])

    def _refuse_unknown(self, bank: Sequence[str], reference: Sequence[str]) -> None:
        known = set().union(*map(set, bank))
        for number, document in enumerate(reference, 1):
            odd = set(document) - known
            if odd:
                character = min(odd, key=document.index)
                raise InputError(f"source.tokeniser: characters knows the {len(known)} characters of the text to train "
                                 f"on, and held-out document {number} has {character!r} (U+{ord(character):04X}); take "
                                 f"tokeniser bpe, or write unknown: replace")


def read(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte-order mark.

    Raises
    ------
    InputError
        If it is not UTF-8: the file and the byte.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"source.path: {path} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}; "
                         f"convert the file") from None
