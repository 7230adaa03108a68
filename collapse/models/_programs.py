"""Programs of other people: argument lists and never a shell, a time limit, a log, and no process left behind."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from collapse.errors import InputError, NodeError, nearest
from collapse.models import _guard

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)  # what programs print is wanted wherever somebody listens, and nowhere else

#: What every program finds in its environment: neither locale, time zone nor hashing decide a sample.
SETTLED = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0"}
#: Lines and characters of a log that an error shows.
LINES, WIDTH = 6, 160
#: Bytes of a log that are looked at from its end.
TAIL = 1 << 16
#: Seconds beyond the limit that the guard has to clear up.
GRACE = 10


def run(words: Sequence[str], log: Path, timeout: float, what: str) -> str:
    """Run ``words`` in the working directory with its output in ``log``; return the end of the log.

    ``words[0]`` is found on the PATH, or is a path. Whatever the program started is gone afterwards, also where
    this process is killed while it runs.

    Raises
    ------
    NodeError
        If it cannot be started, exits with another code than 0, or takes longer than ``timeout`` seconds; the message
        begins with ``what`` and ends with the last lines of the log.
    """
    begin = time.monotonic()
    command = [sys.executable, "-I", "-S", _guard.__file__, str(float(timeout)), *words]
    with open(log, "xb") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out,
                                   env={**os.environ, **SETTLED})
    try:
        code = process.wait(timeout + GRACE)
    except subprocess.TimeoutExpired:
        code = _guard.EXPIRED
    finally:
        assert process.stdin is not None
        process.stdin.close()  # the guard kills whatever still runs
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    text = tail(log)
    for line in text.splitlines():
        logger.info("%s: %s", what, line)
    seconds = time.monotonic() - begin
    if code == _guard.EXPIRED and seconds >= timeout:
        raise NodeError(f"{what}: '{words[0]}' had not ended after {timeout:g} s and was killed; raise model.timeout"
                        f"{shown(text)}")
    if code != 0:
        ended = f"was ended by signal {code - 128}" if code > 128 else f"exited with {code}"
        raise NodeError(f"{what}: '{words[0]}' {ended} after {seconds:.1f} s{shown(text)}")
    return text


def tail(log: Path) -> str:
    """Return the end of a log, without control characters but for the ends of lines."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        text = file.read().decode("utf-8", "replace")
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]  # progress bars
    return "\n".join("".join(c if c.isprintable() else " " for c in line).rstrip() for line in lines).strip("\n")


def shown(text: str) -> str:
    """Return the last lines of a log as the end of a one-line error."""
    lines = [" ".join(line.split())[:WIDTH] for line in text.splitlines() if line.strip()][-LINES:]
    return "; its log ends: " + " | ".join(lines) if lines else "; it wrote no log"


# -------------------------------------------------------------------------------------- argument lists


def check(words: Sequence[str], where: str, known: Sequence[str], needed: Sequence[str]) -> None:
    """Refuse an argument list that cannot run here: ``known`` placeholders may stand in it, ``needed`` ones must.

    Raises
    ------
    InputError
        Naming ``where`` and the remedy.
    """
    if not words:
        raise InputError(f"{where} is empty; name a program, such as [Rscript, model/fit.R, \"{{data}}\"]")
    for word in words:
        alone = re.fullmatch(r"\{(\w+)\}", word)
        if alone and alone[1] not in known:
            raise InputError(f"{where}: '{word}' is not a placeholder{nearest(alone[1], known)}")
        if "\0" in word:
            raise InputError(f"{where}: an argument holds a zero byte, which no program can take; take it out")
    for name in needed:
        if not any(f"{{{name}}}" in word for word in words):
            raise InputError(f"{where} lacks the placeholder {{{name}}}; the program must be told")
    if shutil.which(words[0]) is None:
        raise InputError(f"{where}: '{words[0]}' is not a program that can be run here; install it, or give its path "
                         f"from the project's folder (executable files only)")


def filled(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Return ``words`` with ``{name}`` replaced where ``name`` is in ``values``; other braces stay as they are."""
    return [re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), word) for word in words]


def project_files(words: Sequence[str]) -> list[Path]:
    """Return the files of the working directory that an argument list names, relative to it."""
    here = Path.cwd().resolve()
    found = []
    for word in words:
        if not word or word.startswith("-") or "\n" in word or len(word) > 4096:
            continue
        place = Path(word) if Path(word).is_absolute() else here / word
        if place.is_file() and place.absolute().is_relative_to(here):
            found.append(place.absolute().relative_to(here))
    return found


def watched(files: Sequence[Path], watch: str | None, where: str) -> str | None:
    """Return the one path in the project on whose content a model depends: a file, or a folder with all that is in it.

    ``watch`` if it is given; else the file that is named, or the folder that holds all of several.

    Raises
    ------
    InputError
        If ``watch`` is not there or is no part of the project, or several files have no folder of their own.
    """
    if watch is not None:
        place = Path(watch)
        if not place.exists():
            raise InputError(f"{where}.watch: {watch} is not there; give a file or folder of the project")
        if not place.resolve().is_relative_to(Path.cwd().resolve()) or place.resolve() == Path.cwd().resolve():
            raise InputError(f"{where}.watch: {watch} is not inside the project; give one of its files or folders")
        if place.parts[0] in ("data", "reports"):
            raise InputError(f"{where}.watch: {watch} is where nodes are written; keep programs elsewhere")
        return place.as_posix()
    files = sorted(set(files))
    if len(files) < 2:
        return files[0].as_posix() if files else None

    common = os.path.commonpath([file.parent.as_posix() for file in files])
    if common in ("", "."):
        raise InputError(f"{where} names {files[0]} and {files[1]}, which share no folder below the project's; move "
                         f"them into one, such as programs/, or write watch: FOLDER")
    return Path(common).as_posix()


def content(path: str) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names; caches of bytecode are left out."""
    from collapse.spec import digest
    from collapse.storage import file_hash

    place = Path(path)
    if place.is_file():
        return file_hash(place)
    files = sorted(file for file in place.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return digest({file.relative_to(place).as_posix(): file_hash(file) for file in files})
