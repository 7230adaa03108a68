"""Text of your own: a file, a folder or a pattern of UTF-8 files."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from collapse.errors import InputError
from collapse.sources._corpus import Corpus, read


class Text(Corpus):
    """UTF-8 text. Each file is a document; a single file is cut at blank lines, or at ``separator``.

    Parameters
    ----------
    path
        A file, a folder (every file in it, at any depth, but hidden ones) or a pattern (``articles/*.txt``, ``**`` for
        any depth), from the working directory or else from the folder in the environment variable COLLAPSE_DATA_DIR.
    separator
        What stands between the documents of a file.
    """

    kind: ClassVar[str] = "text"

    path: Annotated[str, Field(min_length=1)]
    separator: Annotated[str, Field(min_length=1)] | None = None

    def files(self) -> tuple[Path, ...]:
        folder = os.environ.get("COLLAPSE_DATA_DIR")
        for place in (Path(self.path), *([Path(folder) / self.path] if folder else [])):
            if place.is_file():
                return (place,)
            pattern = f"{glob.escape(str(place))}/**/*" if place.is_dir() else str(place)
            found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
            found = [path for path in found if path.is_file()]
            if found:
                return tuple(found)
        where = f"in COLLAPSE_DATA_DIR, {folder}" if folder else "in COLLAPSE_DATA_DIR, which is not set"
        raise InputError(f"source.path: {self.path} is no file, folder or pattern with a file (looked in the working "
                         f"directory and {where}); give the path of UTF-8 text")

    def documents(self) -> list[str]:
        files = self.files()
        texts = [read(path) for path in files]
        if self.separator is not None:
            texts = [piece for text in texts for piece in text.split(self.separator)]
        elif len(files) == 1:
            texts = re.split(r"\n[^\S\n]*\n\s*", texts[0])
        texts = [text for text in texts if text.strip()]
        if not texts:
            raise InputError(f"source.path: {self.path} holds no text; give a file with some")
        return texts
