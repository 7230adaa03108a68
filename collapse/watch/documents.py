"""Text as it lies: documents, cut into blocks of tokens by the tokeniser of a reference."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.reader.dialect import unreadable
from collapse.reader.layouts import Snapshot
from collapse.rng import Rng
from collapse.verdict import LATE
from collapse.watch.verdicts import BLOCKS, COUNT, FRAME, Support, Watch, enough, share

if TYPE_CHECKING:
    from collapse.tokenisers import Tokeniser

#: Characters of text that are kept, bytes of a piece of it, and the fewest documents that are drawn from.
TEXT, BYTES, LEAST = 2**24, 2**16, 20
#: Tokens of a block, and of the vocabulary.
BLOCK, VOCABULARY = 64, 4096


@dataclass(frozen=True, eq=False)
class DocumentBank:
    """A bank of whole documents, as tokens: what is drawn is documents, cut into blocks of one length.

    Tokens come in bursts, and documents have subjects: single blocks would vary less than new text does.
    """

    documents: list[np.ndarray]
    schema: Schema

    @cached_property
    def n(self) -> int:
        """Return how many blocks they make."""
        return sum(map(len, self.documents)) // BLOCK

    def draw(self, m: int, rng: Rng) -> Rows:
        """Return ``m`` blocks of documents in random order."""
        return cut(self.documents, self.schema, m, rng)


def cut(documents: list[np.ndarray], schema: Schema, m: int, rng: Rng) -> Rows:
    """Return at most ``m`` blocks (R = 1) of ``documents`` in random order, joined and cut."""
    held, size = [], 0
    for place in rng.generator().permutation(len(documents)):
        held.append(documents[place])
        size += len(documents[place])
        if size >= m * BLOCK:
            break
    tokens = np.concatenate(held)[: min(m, size // BLOCK) * BLOCK].reshape(1, -1, BLOCK)
    return Rows(schema, {schema.columns[0].name: tokens})


@dataclass(frozen=True, eq=False)
class Text:
    """A reference text: its documents, divided, and the tokeniser that was made from those of the frame."""

    bank: DocumentBank
    reference: Rows
    real: Rows
    tokeniser: Tokeniser
    n: int
    frozen: list[np.ndarray]
    left_out: dict[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @staticmethod
    def read(reference: Snapshot, groups: Sequence[str] = (), drop: Sequence[str] = ()) -> Text:
        """Return the reference; text has no columns, and so neither ``groups`` nor ``drop``.

        Raises
        ------
        InputError
            If a file is not UTF-8 or there is no text.
        """
        if groups or drop:
            raise InputError(f"{'groups' if groups else 'drop'}: {reference.name} is text, and has no columns; "
                             f"leave it out")
        return Text.of(documents(reference), reference.name)

    @staticmethod
    def of(texts: list[str], where: str) -> Text:
        """Return the reference that ``texts``, one a document, make."""
        from collapse import tokenisers

        texts = list(dict.fromkeys(texts))
        if len(texts) < LEAST:
            raise InputError(f"{where}: has {len(texts)} documents, and whole ones are drawn; give at least {LEAST}, a "
                             f"file, a line or a paragraph each")
        order = Rng("watch", "documents", len(texts)).generator().permutation(len(texts))
        ends = np.cumsum([len(texts[place]) for place in order])
        ends = ends / ends[-1]
        parts = [[texts[place] for place in part] for part in np.split(order, np.searchsorted(ends, [1 / 6, 1 / 3]))]
        # from the frame's documents alone: to it the bank's are as new as a snapshot's
        tokeniser = tokenisers.make("bpe", parts[0] + parts[1], VOCABULARY)
        schema = Schema((Column("text", "text", tokeniser.vocabulary, (BLOCK,), end=tokeniser.end),))
        own, other, bank = ([tokeniser.encode([text]) for text in part] for part in parts)
        rng = Rng("watch", "cut")
        made = DocumentBank(bank, schema)
        rows = [cut(part, schema, most, rng.at(name))
                for part, most, name in ((own, FRAME, "reference"), (other, COUNT, "real"))]
        return Text(made, rows[0], rows[1], tokeniser, rows[0].n + rows[1].n + made.n, own + other)

    @property
    def schema(self) -> Schema:
        """Return the schema of a block."""
        return self.bank.schema

    def watch(self, rate: float, snapshots: int, groups: tuple[tuple[str, ...], ...], late: float = LATE) -> Watch:
        """Return the watch over this reference."""
        level = share(rate, snapshots)
        enough(self.n, level, 1, rate, snapshots, f"blocks of {BLOCK} tokens")
        return Watch.held(self.reference, self.real, self.bank, level, late=late)

    def admit(self, snapshot: Snapshot) -> None:
        """Refuse nothing: any text is text."""

    @cached_property
    def _own(self) -> set[bytes]:
        """Return the documents of the frame, as tokens: what a snapshot has of them is set aside, for it is known."""
        return {document.tobytes() for document in self.frozen}

    def read_as(self, snapshot: Snapshot, m: int = BLOCKS) -> tuple[Rows, int, list[Support]]:
        """Return blocks of a snapshot at random, how many its text makes, and no new support.

        Raises
        ------
        InputError
            If it is not UTF-8, or too short for one block.
        """
        return self.blocks(documents(snapshot), snapshot.name, m)

    def blocks(self, texts: list[str], where: str, m: int = BLOCKS) -> tuple[Rows, int, list[Support]]:
        """Return what :meth:`read_as` does, of documents."""
        tokens = [self.tokeniser.encode([text]) for text in _once(texts)]
        fresh = [document for document in tokens if document.tobytes() not in self._own]
        n, tokens = sum(map(len, tokens)) // BLOCK, fresh if len(fresh) >= LEAST else tokens
        if not n or sum(map(len, tokens)) < BLOCK:
            raise InputError(f"{where}: has {sum(map(len, tokens))} tokens, less than a block of {BLOCK}; give more "
                             f"text")
        return cut(tokens, self.schema, m, Rng("watch", "snapshot")), n, []


def _once(texts: list[str]) -> list[str]:
    """Return each document once, unless most are copies: then that is what the text is.

    Real collections hold some documents twice, and a bootstrap of one does; word groups would all seem to repeat.
    """
    different = list(dict.fromkeys(texts))
    return different if 2 * len(different) >= len(texts) else texts


def documents(data: Snapshot) -> list[str]:
    """Return the documents of text files: what blank lines part, or lines where there are few of those.

    Of more than 16 MB of text a fixed random part is kept, in pieces of 64 KB.

    Raises
    ------
    InputError
        If a file is not UTF-8 (the file and the byte), or there is no text.
    """
    texts: list[str] = []
    total = sum(path.stat().st_size for path in data.files)
    for path in data.files:
        for text in _stretches(path, total):
            parts = [part for part in re.split(r"\n[^\S\n]*\n\s*", text) if part.strip()]
            texts += parts if len(parts) >= LEAST or len(data.files) >= LEAST else \
                [line for line in text.split("\n") if line.strip()]
    if not texts:
        raise InputError(f"{data.name}: holds no text; give files with some")
    return texts


def _stretches(path: Path, total: int) -> Iterator[str]:
    """Yield the text of a file, or stretches of it at random where all files have more than is kept."""
    size = path.stat().st_size
    decoder = codecs.getincrementaldecoder("utf-8")()
    part = min(1.0, TEXT / max(total, 1))
    count = max(1, -(-size // BYTES))
    chosen = set(Rng("watch", "text", size).generator().permutation(count)[: max(1, round(part * count))].tolist())
    held, place = [], 0
    try:
        with open(path, "rb") as file:
            for number in range(count):
                piece = file.read(BYTES)
                text = decoder.decode(piece, final=number == count - 1)
                if part >= 1:
                    held.append(text)
                elif number in chosen:
                    yield text[text.find("\n") + 1 : text.rfind("\n") + 1] or text
                place += len(piece)
    except UnicodeDecodeError as error:
        byte = place - (len(error.object) - len(piece)) + error.start
        raise InputError(f"{path}: is not UTF-8: byte {byte} is 0x{error.object[error.start]:02x}; convert the file") \
            from None
    except OSError as error:
        raise unreadable(path, "text", error) from None
    if held:
        yield "".join(held).removeprefix("\ufeff").replace("\r\n", "\n")
