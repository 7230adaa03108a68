"""All that is asked of DVC below its documented interface, in one file: what an upgrade breaks, breaks here.

DVC offers `Repo`, its stages and their `status`; to ask stage by stage and to record many stages at once takes the
calls in this file. `tests/test_doors.py` says in one line which of them an upgrade has taken away, and tests compare
the lock with that of `dvc repro`, byte for byte.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from collapse.errors import InputError

#: How DVC begins a lock.
HEAD = "schema: '2.0'\nstages:\n"
#: What is called here, by module: names without which nothing works.
CALLED = {
    "dvc.dependency.param": ("ParamsDependency",),
    "dvc.exceptions": ("ConfirmRemoveError", "DvcException", "NotDvcRepoError"),
    "dvc.lock": ("LockError",),
    "dvc.repo": ("Repo",),
    "dvc.repo.reproduce": ("get_active_graph", "plan_repro"),
    "dvc.stage.cache": ("RunCacheNotFoundError", "_get_cache_hash"),
    "dvc.stage.serialize": ("to_lockfile", "to_single_stage_lockfile"),
    "dvc.utils.serialize": ("load_yaml",),
    "dvc.utils.serialize._yaml": ("dumps_yaml",),
    "fsspec.implementations.memory": ("MemoryFileSystem",),
}


def opened() -> tuple[Any, Any, list[Any]]:
    """Return the repository of this folder, the graph of its stages, and them in the order of `dvc repro`.

    Raises
    ------
    InputError
        If there is none, or its dvc.yaml is unsound.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.repo.reproduce import get_active_graph, plan_repro

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        repo = Repo()
        graph = get_active_graph(repo.index.graph)
    except NotDvcRepoError:
        raise InputError(f"{Path.cwd()} is not a DVC repository; run this in the project's folder") from None
    except DvcException as error:
        raise InputError(f"dvc.yaml: {' '.join(str(error).split())}") from None
    _parse_once(graph)
    repo.state.set_link = partial(_set_link, repo.state)
    return repo, graph, plan_repro(graph)


@contextmanager
def locked(repo: Any, patience: float) -> Iterator[None]:
    """Hold DVC's lock, waiting ``patience`` seconds for another command of DVC; empty its staging area afterwards.

    Raises
    ------
    InputError
        If the other command does not end.
    """
    from dvc.lock import LockError

    deadline = time.monotonic() + patience
    while True:
        try:
            repo.lock.lock()
            break
        except LockError:
            if time.monotonic() > deadline:
                raise InputError(f"a DVC command has held this repository for {patience:.0f} s; wait for it to "
                                 f"end, then run this again") from None
            time.sleep(0.2)
    try:
        yield
    finally:
        _empty_staging()
        repo.lock.unlock()


# ------------------------------------------------------------------------------------------ staleness


def stale(stages: Iterable[Any]) -> Iterator[Any]:
    """Yield those of ``stages`` that are stale by what lies on disk now; each file and folder is looked at once.

    `Stage.changed` without its file locks, which cost as much again.
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

    for place, stage in enumerate(stages):
        if place % 64 == 0:
            _empty_staging()
        # never recorded: there is nothing to hash it against. `plan` runs every time that anything else does; by itself
        # it is stale only for what it lacks
        if not all(out.hash_info for out in stage.outs) or \
                (stage.cmd_changed if stage.always_changed else stage.changed_stage()) or \
                any(differs(item) for item in (*stage.deps, *stage.outs)):
            yield stage


def looked_at(repo: Any, stages: Iterable[Any]) -> tuple[list[str], list[str]] | None:
    """Return what decides which of ``stages`` are stale, beside the files that name stages: settings and data.

    Settings and variables are read when the repository is opened, data when it is asked. None where that cannot be
    said: something lies on another machine, or a stage reads variables of its own.
    """
    stages = list(stages)
    defining, paths = {os.path.abspath(path) for path in repo.config.files.values()}, set()
    for file in {stage.dvcfile for stage in stages}:
        contents = getattr(file, "contents", {})
        definitions = contents.get("stages", {}).values()
        if any(isinstance(word, str) for one in definitions for word in (one.get("do") or one).get("vars", ())):
            return None
        words = [word for word in contents.get("vars", ()) if isinstance(word, str)]
        defining |= {os.path.join(os.path.dirname(file.path), word.partition(":")[0]) for word in words}
    seen: set[Any] = set()
    for item in (item for stage in stages for item in (*stage.deps, *stage.outs)):
        if item.protocol != "local":
            return None
        paths.add(item.fs_path)
        if item.use_cache and item.hash_info and item.hash_info not in seen:
            seen.add(item.hash_info)
            paths |= set(_objects(item.cache, item.hash_info.value))
    return sorted(defining), sorted(paths)


def _objects(cache: Any, name: str) -> Iterator[str]:
    """Yield where a cache holds an object, and the files of a folder."""
    path = cache.oid_to_path(name)
    yield path
    if name.endswith(".dir"):
        with suppress(OSError, ValueError, KeyError, TypeError), open(path, encoding="utf-8") as file:
            for entry in json.load(file):
                yield cache.oid_to_path(entry["md5"])


def fingerprint(stage: Any) -> str:
    """Return the hash of all that a stage depends on, as it is now: DVC's key of a run in its cache."""
    from dvc.stage.serialize import to_single_stage_lockfile

    with _as_recorded(stage):
        stage.save_deps()
        outs, stage.outs = stage.outs, []
        entry = to_single_stage_lockfile(stage)
    return run_key({**entry, "outs": [{"path": path} for path in sorted(out.def_path for out in outs)]})


def restored(repo: Any, stage: Any) -> bool:
    """Bring back what a stage made from DVC's cache of runs; return whether it was there.

    What lies in its place and is not in the cache, changed by hand, is removed, as `dvc repro` does.
    """
    from dvc.exceptions import ConfirmRemoveError
    from dvc.stage.cache import RunCacheNotFoundError

    with _as_recorded(stage):
        try:
            try:
                repo.stage_cache.restore(stage)
            except ConfirmRemoveError:
                stage.remove_outs(force=True)
                repo.stage_cache.restore(stage)
        except RunCacheNotFoundError:
            return False
    return True


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


# --------------------------------------------------------------------------------------------- records


def stored(stage: Any) -> dict[str, Any]:
    """Put what a finished stage made into DVC's cache, and return its entries of dvc.lock, by key."""
    from dvc.stage.serialize import to_lockfile

    stage.save_deps()
    for out in stage.outs:
        out.ignore = _ignored  # else git's index is read for every output
        out.add()  # what `save` and `commit` do, which look through every output twice
    stage.cmd_changed = False
    return dict(to_lockfile(stage))


def run_key(entry: dict[str, Any]) -> str:
    """Return DVC's key of a run: its command, dependencies and parameters, and the names of what it makes."""
    from dvc.stage.cache import _get_cache_hash

    return _get_cache_hash(plain(entry), key=True)


def run_folder(repo: Any, key: str) -> Path:
    """Return where DVC's cache of runs holds those of a key."""
    return Path(repo.stage_cache.cache_dir) / key[:2] / key


def run_name(entry: dict[str, Any]) -> str:
    """Return DVC's name of a run in its cache, with what it made."""
    from dvc.stage.cache import _get_cache_hash

    return _get_cache_hash(plain(entry))


def text_of(key: str, entry: dict[str, Any]) -> str:
    """Return one entry of a lock as DVC writes it."""
    from dvc.utils.serialize._yaml import dumps_yaml

    return dumps_yaml({"schema": "2.0", "stages": {key: plain(entry)}}).removeprefix(HEAD)


def entries(path: Path) -> dict[str, Any]:
    """Return the entries of a lock that another hand has written."""
    from dvc.utils.serialize import load_yaml

    return dict(load_yaml(str(path)).get("stages", {}))


def track(repo: Any, path: Path) -> None:
    """Tell git of a file, where DVC is set to."""
    with repo.scm_context(quiet=True) as context:
        context.track_file(str(path))


def plain(value: Any) -> Any:
    """Return dicts and lists alone, in their order, which is what DVC's dumper writes."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _ignored() -> None:
    """Do nothing: .gitignore names data/ and reports/ as a whole."""


def _set_link(state: Any, path: str, inode: int, mtime: str) -> None:
    """Note a link as DVC does, but for a database opened and closed each time, a third of a record."""
    state.links[os.path.relpath(path, state.root_dir)] = (inode, mtime)


def _empty_staging() -> None:
    """Empty the file system in memory where DVC stages every directory that it looks at.

    DVC never does, and its look-ups there take time in proportion to all that was ever staged: a hundred nodes would
    cost ten times as much each as ten.
    """
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
