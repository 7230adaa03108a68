"""Errors that are the user's to mend: one line that says what, where and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Choices that one line can hold.
MANY = 16


class InputError(Exception):
    """Bad input. Its text is one line: where, what is wrong, what to do. Exit code 2."""


class NodeError(Exception):
    """A node that could not be made (a fit that failed, say). Its text is one line. Exit code 1."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest of ``names``, or the choices, or nothing."""
    names = sorted(names)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
    return f"; choose from {shown}" if names else ""
