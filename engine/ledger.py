"""DVC's record of the pipeline: what is stale, and how finished nodes are written down.

DVC decides what is stale. This module asks it stage by stage, and records many finished stages at once with the
content and the order that `dvc repro` would have given dvc.lock. The calls below DVC's documented API are pinned
by constraints.txt and held to `dvc repro` by a test that compares the lock byte for byte.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from collapse.errors import InputError
from collapse.storage import sync

LOCK = Path("dvc.lock")
HOME = Path(".dvc/tmp/collapse")
JOURNAL = HOME / "journal.jsonl"
BACKUP = HOME / "dvc.lock"
#: How DVC begins a lock.
HEAD = "schema: '2.0'\nstages:\n"
#: What YAML takes as it stands for text: a word that is no truth value, a short command of such words, a hash in hex.
_WORD = re.compile(r"(?!(?i:true|false|null|yes|no|on|off|y|n)$)[A-Za-z][A-Za-z0-9_./@+-]{0,119}", re.ASCII)
_COMMAND = re.compile(r"(?=.{3,68}$)[A-Za-z][A-Za-z0-9_./@+-]*( -?[A-Za-z0-9_./@+]+[A-Za-z0-9_./@+-]*)+", re.ASCII)
_HASH = re.compile(r"(?!0b)(?=[0-9a-f]*[a-df])[0-9a-f]{32}(\.dir)?", re.ASCII)
#: The first line of an entry of a lock, and a line that lies in none.
_ENTRY, _OUTSIDE = re.compile(r"^  ([\w@.-]+):\n", re.MULTILINE), re.compile(r"^(?!    )(?=.)", re.MULTILINE)
#: Seconds to wait for another DVC command.
PATIENCE = 120.0
#: Path, time and size of each file of a dependency.
Stamp = tuple[tuple[str, int, int], ...]


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
            raise InputError(f"another run holds this checkout (process {file.read().strip() or 'unknown'}); wait for "
                             f"it, or stop it") from None
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
            _replace(LOCK, BACKUP.read_text(encoding="utf-8"))
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


def _replace(path: Path, text: str) -> None:
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


def _journal() -> str:
    """Return the journal, whose end a power cut may have left as anything."""
    return JOURNAL.read_text(encoding="utf-8", errors="replace") if JOURNAL.exists() else ""


def failures() -> dict[str, str]:
    """Return why stages failed in the last run, those that have been made since left out."""
    found: dict[str, str] = {}
    lines = _journal().splitlines()
    for line in lines:
        with suppress(ValueError):  # the last line may be cut short
            entry = json.loads(line)
            if "failed" in entry:
                found[entry["stage"]] = entry["failed"]
            elif "stage" in entry:
                found.pop(entry["stage"], None)
    return found


class Ledger:
    """The stages of dvc.yaml in the order in which `dvc repro` would run them."""

    def __init__(self) -> None:
        import logging

        from dvc.exceptions import DvcException, NotDvcRepoError
        from dvc.repo import Repo
        from dvc.repo.reproduce import get_active_graph, plan_repro

        logging.getLogger("dvc").setLevel(logging.ERROR)
        try:
            self.repo = Repo()
            self.graph = get_active_graph(self.repo.index.graph)
        except NotDvcRepoError:
            raise InputError(f"{Path.cwd()} is not a DVC repository; run this in the project's folder") from None
        except DvcException as error:
            raise InputError(f"dvc.yaml: {' '.join(str(error).split())}") from None
        self.order = [stage.addressing for stage in plan_repro(self.graph)]
        self.stages = {stage.addressing: stage for stage in self.graph}
        self.upstream = {s.addressing: {u.addressing for u in self.graph.successors(s)} for s in self.graph}
        self.given = self._stamps()
        self.journal: dict[str, str] = {}
        self.base: list[str] = []
        #: The text of dvc.lock as written last, and its entries.
        self.written: tuple[str, dict[str, str]] = ("", {})
        #: Entries of stages that DVC's cache holds and dvc.lock does not yet.
        self.entries: dict[str, Any] = {}
        #: Held by whichever thread calls DVC, which knows nothing of threads.
        self.guard = threading.RLock()
        _parse_once(self.stages.values())
        self.repo.state.set_link = partial(_set_link, self.repo.state)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold DVC's lock, waiting for another DVC command to end, and empty DVC's staging area afterwards."""
        with self.guard, self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from dvc.lock import LockError

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.repo.lock.lock()
                break
            except LockError:
                if time.monotonic() > deadline:
                    raise InputError(f"a DVC command has held this repository for {PATIENCE:.0f} s; wait for it to "
                                     f"end, then run this again") from None
                time.sleep(0.2)
        try:
            yield
        finally:
            _empty_staging()
            self.repo.lock.unlock()

    # ---------------------------------------------------------------------------------- staleness

    def select(self, stages: Iterable[str]) -> list[str]:
        """Return ``stages`` and all they depend on, in plan order."""
        wanted: set[str] = set()
        queue = list(stages)
        while queue:
            name = queue.pop()
            if name not in wanted:
                wanted.add(name)
                queue.extend(self.upstream[name])
        return [name for name in self.order if name in wanted]

    def changed(self, name: str) -> bool:
        """Return whether a stage is stale, judged by what lies on disk now."""
        return bool(self.stale([name]))

    def stale(self, names: Iterable[str]) -> set[str]:
        """Return which stages are stale, judged by what lies on disk now, where each file and folder is looked at once.

        `Stage.changed` without its file locks, which cost as much again: this run holds the checkout.
        """
        from dvc.dependency.param import ParamsDependency

        seen: dict[tuple[Any, ...], bool] = {}

        def differs(item: Any) -> bool:
            if isinstance(item, ParamsDependency):
                return bool(item.status())
            key = type(item), item.fs_path, item.hash_info
            if key not in seen:
                seen[key] = bool(item.status())
            return seen[key]

        def other(stage: Any) -> bool:
            if not all(out.hash_info for out in stage.outs):  # never recorded: there is nothing to hash it against
                return True
            # `plan` runs every time that anything else does; by itself it is stale only for what it lacks
            own = stage.cmd_changed if stage.always_changed else stage.changed_stage()
            return own or any(differs(item) for item in (*stage.deps, *stage.outs))

        with self._held():
            return {name for name in names if other(self.stages[name])}

    def fingerprint(self, name: str) -> str:
        """Return the hash of all that a stage depends on, as it is now: DVC's key of a run in its cache."""
        from dvc.stage.serialize import to_single_stage_lockfile

        stage = self.stages[name]
        with self._held(), _as_recorded(stage):
            stage.save_deps()
            outs, stage.outs = stage.outs, []
            entry = to_single_stage_lockfile(stage)
        return _run_key({**entry, "outs": [{"path": path} for path in sorted(out.def_path for out in outs)]})

    def restore(self, name: str, fingerprint: str) -> bool:
        """Bring back a stage that has run before with the same inputs, if DVC's cache still holds what it made.

        What lies in its place and is not in the cache, changed by hand, is removed, as `dvc repro` does.
        """
        from dvc.exceptions import ConfirmRemoveError
        from dvc.stage.cache import RunCacheNotFoundError

        folder = self._run_folder(fingerprint)
        if not folder.is_dir() or not any(folder.iterdir()):  # a run that could not write it may have left it empty
            return False
        stage = self.stages[name]
        with self._held(), _as_recorded(stage):
            try:
                try:
                    self.repo.stage_cache.restore(stage)
                except ConfirmRemoveError:
                    stage.remove_outs(force=True)
                    self.repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                return False
        return True

    def _run_folder(self, key: str) -> Path:
        return Path(self.repo.stage_cache.cache_dir) / key[:2] / key

    def _remember(self, entry: dict[str, Any]) -> None:
        """Add a run to DVC's cache of runs, as `dvc repro` does, in JSON (which is YAML): ruamel is far slower."""
        from dvc.stage.cache import _get_cache_hash

        entry = _plain(entry)
        folder = self._run_folder(_run_key(entry))
        target = folder / _get_cache_hash(entry)
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = HOME / f"run.{os.getpid()}"
            temporary.write_text(json.dumps(entry) + "\n", encoding="utf-8")
            os.replace(temporary, target)

    # ------------------------------------------------------------------------------------ journal

    def open(self) -> None:
        """Begin a run: keep a copy of dvc.lock, or take up the journal of the run that was cut short."""
        HOME.mkdir(parents=True, exist_ok=True)
        begun, text = False, _journal()
        for line in text.splitlines():
            with suppress(ValueError, KeyError, TypeError):  # the last line may be cut short
                entry = json.loads(line)
                if "base" in entry:
                    self.base, begun = entry["base"], True
                else:
                    self.journal[entry["stage"]] = entry["fingerprint"]
        if begun:
            if not text.endswith("\n"):  # what follows must not be read as part of the line that was cut short
                self._note(None)
            return
        JOURNAL.unlink(missing_ok=True)
        self.base = list(_blocks(LOCK, self.written))
        if LOCK.exists():
            _replace(BACKUP, LOCK.read_text(encoding="utf-8"))
        else:
            BACKUP.unlink(missing_ok=True)
        self._note({"base": self.base})
        sync(HOME)

    def finished(self, name: str, fingerprint: str) -> None:
        """Note that a stage's outputs are whole, before DVC knows it."""
        self.journal[name] = fingerprint
        self._note({"stage": name, "fingerprint": fingerprint})

    def failed(self, name: str, error: str) -> None:
        """Note why a stage could not be made, until it is."""
        self._note({"stage": name, "failed": error})

    def was_finished(self, name: str, fingerprint: str) -> bool:
        """Return whether a run that was cut short had finished this stage with the same inputs."""
        return self.journal.get(name) == fingerprint and all(
            Path(str(out.fs_path)).exists() for out in self.stages[name].outs
        )

    def _note(self, entry: dict[str, Any] | None) -> None:
        with open(JOURNAL, "a", encoding="utf-8") as file:
            file.write("\n" if entry is None else json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """End a run that recorded all it made."""
        JOURNAL.unlink(missing_ok=True)
        BACKUP.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------- record

    def moved(self, names: Iterable[str]) -> set[str]:
        """Return the stages whose code or study is no longer what they ran with: they stay stale."""
        now = self._stamps()
        return {name for name in names if self._given(name, now) != self._given(name, self.given)}

    def store(self, name: str) -> None:
        """Put what a finished stage made into DVC's cache, for :meth:`write` to say so in dvc.lock."""
        from dvc.stage.serialize import to_lockfile

        stage = self.stages[name]
        with self._held():
            stage.save_deps()
            for out in stage.outs:
                out.ignore = _ignored  # else git's index is read for every output
                out.add()  # what `save` and `commit` do, which look through every output twice
            entry = to_lockfile(stage)
            self._remember(entry[stage.name])
            self.entries |= entry

    def write(self) -> None:
        """Write all that was stored into dvc.lock, atomically.

        Existing entries keep their place; new ones follow in plan order, as if `dvc repro` had run them.
        """
        if not self.entries:
            return
        with self._held():
            stages = _blocks(LOCK, self.written) | {key: _block(key, entry) for key, entry in self.entries.items()}
            base = [key for key in self.base if key in stages]
            rest = [key for key in self.order if key in stages and key not in set(base)]
            other = [key for key in stages if key not in {*base, *rest}]
            ordered = {key: stages[key] for key in (*base, *other, *rest)}
            text = HEAD + "".join(ordered.values())
            os.sync()  # DVC flushes nothing: what it stored must be on disk before its lock says so
            _replace(LOCK, text)
            self.written, self.entries = (text, ordered), {}
            with self.repo.scm_context(quiet=True) as context:
                context.track_file(str(LOCK))

    def _given(self, name: str, stamps: dict[str, Stamp]) -> list[Stamp]:
        """Return the state of what a stage depends on and no stage makes: code, studies, parameters."""
        return [stamps[path] for dep in self.stages[name].deps if (path := str(dep.fs_path)) in stamps]

    @cached_property
    def _sources(self) -> list[str]:
        """What is given: every dependency that is no output, nor above or below one."""
        made = {str(out.fs_path) for stage in self.graph for out in stage.outs}
        folders = {folder for path in made for folder in _above(path)}
        given = {str(dep.fs_path) for stage in self.graph for dep in stage.deps} - made - folders
        return sorted(path for path in given if not made.intersection(_above(path)))

    def _stamps(self) -> dict[str, Stamp]:
        """Return size and time of every file that is given."""
        return {path: tuple(sorted(_files(path))) for path in self._sources}

    @property
    def clean(self) -> bool:
        """Return whether `dvc status` has nothing to say."""
        return not self.repo.status()


def _above(path: str) -> Iterator[str]:
    """Yield every folder that a path lies in."""
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def _files(path: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, time and size of a file, or of every file of a folder."""
    if not os.path.isdir(path):
        with suppress(FileNotFoundError):
            state = os.stat(path)
            yield path, state.st_mtime_ns, state.st_size
        return
    for entry in os.scandir(path):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _files(entry.path)
        elif entry.is_file():
            state = entry.stat()
            yield entry.path, state.st_mtime_ns, state.st_size


def _parse_once(stages: Iterable[Any]) -> None:
    """Have DVC parse a file of parameters once as long as it stays the same, instead of for every stage: 20 ms each."""
    from dvc.dependency.param import ParamsDependency

    parsed: dict[tuple[Any, ...], dict[str, Any]] = {}

    def reader(dep: Any) -> Callable[..., dict[str, Any]]:
        read = dep.read_params

        def read_params(flatten: bool = True) -> dict[str, Any]:
            try:
                state = os.stat(dep.fs_path)
            except OSError:
                return read(flatten)  # it says what is wrong
            key = (dep.fs_path, state.st_mtime_ns, state.st_size, state.st_ino, *dep.params, flatten)
            if key not in parsed:
                parsed[key] = read(flatten)
            return dict(parsed[key])

        return read_params

    for stage in stages:
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                dep.read_params = reader(dep)


@contextmanager
def _as_recorded(stage: Any) -> Iterator[None]:
    """Leave a stage as dvc.lock has it: DVC's own reading of the present overwrites what it remembers."""
    outs = stage.outs
    kept = [(dep, dict(vars(dep))) for dep in stage.deps]
    try:
        yield
    finally:
        stage.outs = outs
        for dep, state in kept:
            vars(dep).clear()
            vars(dep).update(state)


def _block(key: str, entry: Any) -> str:
    """Return the text of one entry as DVC writes it.

    DVC's dumper needs some 10 ms for an entry, this a tenth. Files and hashes are words and numbers, which stand in it
    as they are; parameters can be anything, are left to the dumper, and are the same for all nodes of a branch.
    """
    entry = _plain(entry)
    lines = [f"  {key}:"]
    for name, value in entry.items():
        if name == "cmd" and isinstance(value, str) and _COMMAND.fullmatch(value):
            lines.append(f"    cmd: {value}")
        elif name in ("deps", "outs") and value and all(map(_simple, value)):
            for item in value:
                fields = [f"{field}:{_gap(field, held)}{held}" for field, held in item.items()]
                lines += [f"    {name}:"] if item is value[0] else []
                lines += [f"    - {fields[0]}", *(f"      {field}" for field in fields[1:])]
        elif name == "params" and (text := _as_json({name: value})):
            lines.append(_dumped(text).rstrip("\n"))
        else:
            return _whole_block(key, entry)
    return "\n".join(lines) + "\n" if _WORD.fullmatch(key) else _whole_block(key, entry)


def _gap(field: str, held: Any) -> str:
    """Return what stands before a value: the dumper begins a new line where it would pass column 80."""
    return " \n        " if len(field) + len(str(held)) > 72 else " "


def _simple(item: Any) -> bool:
    """Return whether a dependency or output is made of nothing but words and whole numbers."""
    return isinstance(item, dict) and list(item)[:1] == ["path"] and all(
        type(held) is int or (isinstance(held, str) and bool(_HASH.fullmatch(held) or _WORD.fullmatch(held)))
        for held in item.values())


def _as_json(value: Any) -> str:
    """Return a value as JSON if it comes back the same, or else nothing."""
    try:
        text = json.dumps(value)
        return text if json.loads(text) == value else ""
    except (TypeError, ValueError):
        return ""


@lru_cache(maxsize=256)
def _dumped(text: str) -> str:
    """Return part of an entry, given as JSON, as DVC writes it."""
    return _whole_block("x", json.loads(text)).removeprefix("  x:\n")


def _whole_block(key: str, entry: dict[str, Any]) -> str:
    from dvc.utils.serialize._yaml import dumps_yaml

    return dumps_yaml({"schema": "2.0", "stages": {key: entry}}).removeprefix(HEAD)


def _blocks(path: Path, written: tuple[str, dict[str, str]]) -> dict[str, str]:
    """Return the text of every entry of a dvc.lock, by its key; ``written`` is what was written last, and of what."""
    from dvc.utils.serialize import load_yaml

    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    if text == written[0]:
        return written[1]
    head, *parts = _ENTRY.split(text)
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    if head == HEAD and all(body.startswith("    ") and not _OUTSIDE.search(body) for body in found.values()):
        return {key: f"  {key}:\n{body}" for key, body in found.items()}
    stages = load_yaml(str(path)).get("stages", {})  # written by another hand: read it whole
    return {key: _whole_block(key, _plain(entry)) for key, entry in stages.items()}


def _ignored() -> None:
    """Do nothing: .gitignore names data/ and reports/ as a whole."""


def _set_link(state: Any, path: str, inode: int, mtime: str) -> None:
    """Note a link as DVC does, but for a database opened and closed each time, a third of a record."""
    state.links[os.path.relpath(path, state.root_dir)] = (inode, mtime)


def _run_key(entry: dict[str, Any]) -> str:
    """Return DVC's key of a run: its command, dependencies and parameters, and the names of what it makes."""
    from dvc.stage.cache import _get_cache_hash

    return _get_cache_hash(_plain(entry), key=True)


def _empty_staging() -> None:
    """Empty the file system in memory where DVC stages every directory that it looks at.

    DVC never does, and its look-ups there take time in proportion to all that was ever staged: a hundred nodes would
    cost ten times as much each as ten.
    """
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()


def _plain(value: Any) -> Any:
    """Return dicts and lists alone, in their order, which is what DVC's dumper writes."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


