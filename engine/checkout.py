"""This checkout, held by one run at a time, and mended where a killed one left it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collapse.errors import InputError
from collapse.storage import sync

#: DVC's record of the pipeline.
LOCK = Path("dvc.lock")
#: What runs keep of themselves, and the copy of dvc.lock from before the run.
HOME = Path(".dvc/tmp/collapse")
BACKUP = HOME / "dvc.lock"


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold this checkout: two runs of one checkout must not meet.

    Raises
    ------
    InputError
        If another run holds it; the message says which process.
    """
    if not Path(".dvc").is_dir():
        raise InputError(f"{Path.cwd()} is not a DVC repository; run this in the project's folder, or 'dvc init' first")
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            number = file.read().strip()
            who = f"process {number}" if number and Path(f"/proc/{number}").exists() else "a stage of 'dvc repro'"
            raise InputError(f"another run holds this checkout ({who}); wait for it, or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def heal() -> list[str]:
    """Mend what a killed process left: an unreadable or orphaned DVC lock, a truncated dvc.lock.

    Call it while holding :func:`exclusive`. Returns what was done, in words.
    """
    done = []
    rwlock = Path(".dvc/tmp/rwlock")
    if rwlock.exists() and not _sound_rwlock(rwlock):
        rwlock.unlink()
        done.append("removed a DVC lock that a killed process left")
    if _idle(rwlock):  # what DVC leaves beside an output if it is killed while it tries its links
        for folder in ("data/*", "data/records/*", "data/*/*", "reports", "reports/*"):
            for left in Path().glob(f"{folder}/.*.tmp"):
                left.unlink(missing_ok=True)
    if BACKUP.exists():
        before, now = _keys(BACKUP), _keys(LOCK)
        if before is not None and (now is None or not set(before) <= set(now)):
            replace(LOCK, BACKUP.read_text(encoding="utf-8"))
            done.append("restored dvc.lock from the copy made before the last run")
    sweep()
    return done


def sweep() -> None:
    """Remove outputs in the making of processes that are gone."""
    for left in Path("data/.tmp").glob("*.*"):
        if not Path(f"/proc/{left.name.rsplit('.', 1)[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _sound_rwlock(path: Path) -> bool:
    """Return whether DVC's lock can be read and names no process that is gone."""
    try:
        held = json.loads(path.read_text())
        infos = [*held.get("write", {}).values(), *(i for infos in held.get("read", {}).values() for i in infos)]
        return all(Path(f"/proc/{info['pid']}").exists() for info in infos)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _idle(path: Path) -> bool:
    """Return whether no DVC command holds this repository."""
    try:
        return not any(json.loads(path.read_text()).values())
    except FileNotFoundError:
        return True
    except (ValueError, AttributeError):
        return False


def _keys(path: Path) -> list[str] | None:
    """Return the stages in a lock file, in order; None if it cannot be read; [] if it is not there."""
    import yaml

    if not path.exists():
        return []
    try:  # libyaml needs a tenth of the time that DVC's own reader does
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(path.read_text(encoding="utf-8"))
        return list(loader.get_single_data().get("stages", {}))
    except (yaml.YAMLError, AttributeError, TypeError, UnicodeDecodeError):  # the file is damaged
        return None


def replace(path: Path, text: str) -> None:
    """Write a text in place of a file, flushed to disk before it gets the name."""
    temporary = HOME / f"{path.name}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
