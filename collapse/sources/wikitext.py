"""WikiText-2: articles of the English Wikipedia, with their official division."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar, Literal

from collapse.errors import InputError
from collapse.sources._corpus import Corpus, read

PARTS = ("train", "valid", "test")
FOLDER = "wikitext-2"
URL = "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip"
HASH = "md5:542ccefacc6c27f945fb54453812b3cd"
#: The heading of an article stands between blank lines; those of its sections have more signs.
_ARTICLE = re.compile(r"(?m)(?:^[^\S\n]*\n|\A)(?=^[^\S\n]*= (?!= ).*[^=\s] = ?[^\S\n]*\n[^\S\n]*\n)")


class Wikitext(Corpus):
    """WikiText-2 (Merity et al. 2016, arXiv 1609.07843): 2.05 M words to train on, articles as documents.

    The bank is ``train``, the reference is the part called ``held_out``; the third part is not used. The text is read
    from ``wikitext-2/{train,valid,test}.txt`` in the folder that COLLAPSE_DATA_DIR names; with ``download`` it is
    fetched once into the user's cache, and its checksum compared.
    """

    kind: ClassVar[str] = "wikitext"

    held_out: Literal["valid", "test"] = "test"
    download: bool = False

    def files(self) -> tuple[Path, ...]:
        folder = os.environ.get("COLLAPSE_DATA_DIR")
        if folder:
            found = tuple(Path(folder) / FOLDER / f"{part}.txt" for part in ("train", self.held_out))
            missing = next((path for path in found if not path.is_file()), None)
            if missing is None:
                return found
        if self.download:
            return self._fetched()
        where = f"{folder}/{FOLDER} lacks {missing.name}" if folder and missing else "COLLAPSE_DATA_DIR is not set"
        raise InputError(f"source: wikitext is not there: {where}; set it to a folder that holds {FOLDER}/train.txt "
                         f"and {self.held_out}.txt, or write download: true")

    def _fetched(self) -> tuple[Path, ...]:
        import pooch

        unzip = pooch.Unzip(members=[f"wikitext-2/wiki.{part}.tokens" for part in PARTS], extract_dir="wikitext-2-v1")
        try:
            paths = pooch.retrieve(URL, HASH, path=pooch.os_cache("collapse-lab"), processor=unzip, progressbar=False)
        except (OSError, ValueError) as error:
            raise InputError(f"source.download: {URL} cannot be fetched ({str(error).splitlines()[0][:120]}); put the "
                             f"files into COLLAPSE_DATA_DIR/{FOLDER}") from None
        by_part = {Path(path).name.split(".")[1]: Path(path) for path in paths}
        return by_part["train"], by_part[self.held_out]

    def official(self) -> tuple[list[str], list[str]]:
        train, held = (articles(read(path)) for path in self.files())
        return train, held


def articles(text: str) -> list[str]:
    """Return the articles of a part, each with its heading."""
    return [article for article in _ARTICLE.split(text) if article.strip()]
