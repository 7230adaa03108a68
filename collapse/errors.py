"""Errors that are the user's to mend: one line that says what, where and what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

#: Choices that one line can hold.
MANY = 16


class InputError(Exception):
    """Bad input. Its text is one line: where, what is wrong, what to do. Exit code 2."""


class NodeError(Exception):
    """A node that could not be made (a fit that failed, say). Its text is one line. Exit code 1."""


class Degenerate(NodeError):
    """Training rows that admit no fit: where they are a model's own, its loop has broken down. Exit code 1."""


#: What the system says of a disk that takes no more, and of a place that takes nothing.
FULL, CLOSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (errno.EROFS, errno.EACCES, errno.EPERM)
#: The same in the words of libraries that keep no number.
FULL_WORDS, CLOSED_WORDS = ("No space left on device", "disk is full", "Disk quota exceeded", "File too large"), \
    ("Read-only file system", "Permission denied", "readonly database")


def storage(error: BaseException | None) -> str | None:
    """Return one line if an error, or one that it came from, is a full or closed disk: what, where, what to do."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        number, text = getattr(error, "errno", None), str(error)
        place = getattr(error, "filename", None) or "a file"
        if number in FULL or any(word in text for word in FULL_WORDS):
            return f"the disk is full: {place} cannot be written; make room and run it again: what is finished is kept"
        if number in CLOSED or any(word in text for word in CLOSED_WORDS):
            return (f"{place} cannot be written: the folder, or its disk, is read-only for this user; make it writable "
                    f"and run it again: what is finished is kept")
        error = error.__cause__ or error.__context__
    return None


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest of ``names``, or the choices, or nothing."""
    names = sorted(names)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
    return f"; choose from {shown}" if names else ""
