"""What DVC recorded of a node, in dvc.lock and in its cache, held against what lies there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from collapse.errors import InputError
from collapse.lineage.layout import DATA, RECORDS, Files
from collapse_lab.audit.reader import Reader
from collapse_lab.audit.visit import RECORD, Visit

LOCK = Path("dvc.lock")
#: Where DVC keeps what it tracked, by hash: a folder's listing names the file that differs.
CACHE = Path(".dvc/cache/files/md5")
#: The name of a folder's listing there.
NAME_OF_OBJECT = re.compile(r"[0-9a-f]{32}\.dir")


class Lock:
    """The stages of dvc.lock."""

    def __init__(self, reader: Reader):
        self._reader = reader

    @cached_property
    def stages(self) -> dict[str, Any]:
        """Return the stages of dvc.lock."""
        import yaml

        if not LOCK.exists():
            raise InputError(f"{LOCK}: not there; run 'collapse repro', or 'git checkout {LOCK}'")
        try:
            reader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(LOCK.read_text(encoding="utf-8"))
            return reader.get_single_data()["stages"]
        except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
            raise InputError(f"{LOCK}: cannot be read; run 'git checkout {LOCK}'") from None

    def absent(self, files: Files) -> InputError:
        """Return the error that says what to do about a node whose pool is not here."""
        stage = f"{'real' if files.node.endswith('-real') else 'generation'}@{files.node}"
        if stage in self.stages:
            return InputError(f"{files.pool}: dvc.lock has {files.node}, and its data is not here; run 'dvc pull', or "
                              f"'dvc checkout' if the cache has it")
        return InputError(f"{files.pool}: has not been made; run 'collapse repro'")

    def compare(self, visit: Visit) -> None:
        """Compare what lies there with what dvc.lock recorded, as made by one stage and as read by others."""
        study, node, files, fault = visit.study, visit.node, visit.files, visit.fault
        first = node.parent is None
        own = node.branch if node.branch and study.branches[node.branch].own_floor else None
        stages = {
            f"{'real' if first else 'generation'}@{node.name}":
                [files.pool, files.sample, *([files.bank, files.reference] if first else [files.model]),
                 *(files.record(ending) for ending in ("parquet", "samples.parquet", "json"))],
            f"check@{node.name}": [files.record("validation.json"), files.record("verdict.json")],
            f"calibrate@{node.study}{f'-{own}' if own else ''}":
                [files.calibration(study.floor(node.branch))],
        }
        named: set[Path] = set()

        def say(path: Path, what: str) -> None:
            if path not in named:
                named.add(path)
                fault(path, what)

        for stage, made in stages.items():
            if stage not in self.stages:
                say(LOCK, f"has no record of {stage}; run 'collapse repro'")
                continue
            told = _told(self.stages[stage], "outs")
            if set(told) != {str(path) for path in made}:
                say(LOCK, f"names other outputs of {stage} than it has: edited")
            for path in made:
                if not path.exists():
                    say(path, f"is missing, and dvc.lock has it; run 'dvc pull' or 'dvc checkout {path}'")
                elif str(path) in told:
                    for place in self._differing(path, told[str(path)]):
                        say(place, "is not what dvc.lock recorded: changed")
            for name, known in _told(self.stages[stage], "deps").items():
                path = Path(name)
                if path.parts[0] == str(DATA) and ".." not in path.parts and path.exists():
                    for place in self._differing(path, known):
                        say(place, f"is not what {stage} was made from, says dvc.lock: changed")
        records = _told(self.stages.get(f"report@{node.study}", {}), "deps").get(str(RECORDS / node.study), "")
        listing = self._listing(records) or {}
        for ending in RECORD:
            path = files.record(ending)
            if path.is_file() and listing.get(path.name, self.hash(path)) != self.hash(path):
                say(path, "is not what the study's report was made from, says dvc.lock: changed")

    def _differing(self, path: Path, known: str) -> list[Path]:
        """Return what of a file or folder is not as DVC recorded it: the very files, where that can be told."""
        if self.hash(path) == known:
            return []
        if path.is_file():
            return [path]
        there = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        listing = self._listing(known)
        if listing is None:
            return [path] if len(there) != 1 else list(there.values())
        return [path / name for name in sorted({*listing, *there})
                if name not in there or listing.get(name) != self._reader.digests(there[name])[1]] or [path]

    def _listing(self, known: str) -> dict[str, str] | None:
        """Return the MD5 of each file of a folder as DVC recorded it, if DVC's cache still holds that record."""
        if not known.endswith(".dir") or not NAME_OF_OBJECT.fullmatch(known):
            return None
        try:
            text = (CACHE / known[:2] / known[2:]).read_bytes()
        except OSError:
            return None
        if hashlib.md5(text, usedforsecurity=False).hexdigest() != known.removesuffix(".dir"):
            return None
        return {item["relpath"]: item["md5"] for item in json.loads(text)}

    def hash(self, path: Path) -> str:
        """Return DVC's hash of a file or folder."""
        if path.is_file():
            return self._reader.digests(path)[1]
        files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        listing = [{"md5": self._reader.digests(path / name)[1], "relpath": name} for name in files]
        return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _told(stage: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return the paths that a stage of dvc.lock names under ``key``, with their hashes."""
    return {str(item["path"]): str(item.get("md5", "")) for item in stage.get(key) or []}
