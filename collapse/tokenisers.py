"""Tokenisers: made once, at generation 0, from real text alone, and the same for every generation and branch.

A tokeniser is the vocabulary, what each token stands for, and the JSON of the library `tokenizers`, from which the same
object can be loaded anywhere. Later generations handle tokens and need no encoding: two encodings of one text differ
in length, and a budget of tokens would not be exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collapse.errors import InputError
from collapse.storage import file_hash

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Stands between documents; what `words` and `characters` make of what they do not know.
END, UNKNOWN, NO_CHARACTER = "<|end|>", "<unk>", "\ufffd"
KINDS = ("bpe", "characters", "words")
#: Tokens of a byte-level vocabulary without merges.
BYTES = 256


@dataclass(frozen=True, eq=False)
class Tokeniser:
    """What cuts text into tokens. ``pieces`` are the bytes of each token, ``end`` the token between documents."""

    library: Tokenizer
    pieces: tuple[bytes, ...]
    end: int
    about: str

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Return each token's bytes read as Latin-1: what a column's ``categories`` hold."""
        return tuple(piece.decode("latin-1") for piece in self.pieces)

    @property
    def json(self) -> str:
        """Return the library's own description, from which the tokeniser can be loaded."""
        return self.library.to_str(pretty=False) + "\n"

    def encode(self, documents: Sequence[str]) -> np.ndarray:
        """Return the tokens of all documents, one after the other, an :attr:`end` after each."""
        end = np.array([self.end], dtype=np.int32)
        found = []
        for start in range(0, len(documents), 1000):
            for one in self.library.encode_batch_fast(list(documents[start : start + 1000]), add_special_tokens=False):
                found += [np.array(one.ids, dtype=np.int32), end]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int32)


def make(kind: str, documents: Sequence[str], size: int | None) -> Tokeniser:
    """Return the tokeniser of ``kind`` for real ``documents``.

    Parameters
    ----------
    kind
        ``bpe`` (byte-level byte-pair encoding: Sennrich et al. 2016, ACL; Radford et al. 2019), ``characters``,
        ``words``, or the folder or name of a ready-made one.
    size
        Most tokens of the vocabulary; None: all words or characters, 4,096 for ``bpe``.

    Raises
    ------
    InputError
        If the vocabulary cannot be made.
    """
    if kind == "bpe":
        return _bpe(documents, 4096 if size is None else size)
    if kind == "characters":
        return _characters(documents, size)
    if kind == "words":
        return _words(documents, size)
    return ready_made(kind)


def _bpe(documents: Sequence[str], size: int) -> Tokeniser:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if size <= BYTES + 1:
        raise InputError(f"source.vocabulary: bpe needs more than {BYTES + 1} tokens, one for each byte and one for "
                         f"the end of a document (it is {size})")
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    library.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False))
    library.encode_special_tokens = True  # what looks like the end of a document in a text is text
    return _finished(library, library.get_vocab()[END], "byte-level BPE")


def _characters(documents: Sequence[str], size: int | None) -> Tokeniser:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    pieces = (END, NO_CHARACTER, *sorted(set().union(*map(set, documents)) - {NO_CHARACTER}))
    if size is not None and len(pieces) > size:
        raise InputError(f"source.vocabulary: the text has {len(pieces) - 2} characters, and with one for the unknown "
                         f"and the end of a document more than {size}; leave vocabulary out, or take tokeniser bpe")
    codes = {token: code for code, token in enumerate(pieces)}
    library = Tokenizer(models.WordLevel(codes, unk_token=NO_CHARACTER))
    library.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    library.decoder = decoders.Fuse()
    return Tokeniser(library, tuple(p.encode() for p in pieces), 0, f"characters, {len(pieces)} tokens")


def _words(documents: Sequence[str], size: int | None) -> Tokeniser:
    """Return whole words, split at white space; the most frequent ``size``. A line's end is a word."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(document.replace("\n", " \n ").split(" "))
    special = (END, UNKNOWN, "\n")
    ranked = sorted((word for word in counts if word.strip() and word not in special),
                    key=lambda word: (-counts[word], word))
    names = (*special, *ranked[: None if size is None else max(0, size - len(special))])
    library = Tokenizer(models.WordLevel({word: code for code, word in enumerate(names)}, unk_token=UNKNOWN))
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"),
                                                     pre_tokenizers.Split("\n", "isolated")])
    pieces = tuple(b"\n" if word == "\n" else f"{word} ".encode() for word in names)
    return Tokeniser(library, pieces, 0, f"words, {len(names)} tokens")


def ready_made(name: str) -> Tokeniser:
    """Return the tokeniser of a pretrained model: a folder that holds tokenizer.json, or a name to download."""
    folder = Path(name)
    if folder.is_dir() and not (folder / "tokenizer.json").is_file():
        raise InputError(f"source.tokeniser: {name} holds no tokenizer.json; save the tokeniser there in that form")
    if not folder.is_dir() and (folder.is_absolute() or name.startswith(".") or name.count("/") > 1):
        raise InputError(f"source.tokeniser: {name} is not a folder; give {', '.join(KINDS)}, or the folder or name of "
                         f"a pretrained tokeniser")
    from transformers import AutoTokenizer

    try:
        with quiet():
            loaded = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        library = loaded.backend_tokenizer
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"source.tokeniser: '{name}' is none of {', '.join(KINDS)} and cannot be loaded "
                         f"({str(error).splitlines()[0][:120]}); give a local folder") from None
    if loaded.eos_token_id is None:
        raise InputError(f"source.tokeniser: {name} names no end of text (eos_token); take another one")
    library.no_truncation()
    library.no_padding()
    library.encode_special_tokens = True
    hashed = f", sha256 {file_hash(folder / 'tokenizer.json')[:12]}" if folder.is_dir() else ""
    return _finished(library, loaded.eos_token_id, f"ready-made ({folder.name}{hashed})")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the advice, retries and progress bars of the libraries of pretrained models off the screen."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as library

    before, bars, hub_before = library.get_verbosity(), library.is_progress_bar_enabled(), hub.get_verbosity()
    library.set_verbosity_error()
    library.disable_progress_bar()
    hub.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(before)
        hub.set_verbosity(hub_before)
        if bars:
            library.enable_progress_bar()


def _finished(library: Tokenizer, end: int, kind: str) -> Tokeniser:
    vocabulary: dict[str, int] = library.get_vocab(with_added_tokens=True)
    special = {code: token.content for code, token in library.get_added_tokens_decoder().items()}
    pieces = [b""] * (1 + max(vocabulary.values()))
    for token, code in vocabulary.items():
        pieces[code] = special[code].encode() if code in special else _bytes(token)
    return Tokeniser(library, tuple(pieces), end, f"{kind}, {len(pieces)} tokens")


def _bytes(token: str) -> bytes:
    """Return what a token of a byte-level or a SentencePiece vocabulary stands for."""
    table = byte_level()
    if all(character in table for character in token):
        return bytes(table[character] for character in token)
    if len(token) == 6 and token.startswith("<0x"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


@cache
def byte_level() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for (Radford et al. 2019).

    Printable bytes stand for themselves; the others are numbered from U+0100 on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {**{chr(byte): byte for byte in plain}, **{chr(256 + i): byte for i, byte in enumerate(rest)}}
