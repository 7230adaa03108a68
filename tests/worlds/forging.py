"""Forged projects: one mutation each of what a node keeps, and whether an audit says so."""

from __future__ import annotations

import copy
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.worlds.project import Project

COUNT, SEED = 2000, 6

#: Every regime, a fork, a halted branch, a quarantined sample, statistics beside parts, and a floor of a branch's own.
STUDIES = {
    "tiny": """\
title: Images of every regime
seed: 5
source: {kind: digits}
model: {kind: gmm, pca: 5}
rows: 60
generations: 2
replicates: 2
calibration: 10
measure: {only: [spread]}
branches:
  replace:    {regime: replace}
  accumulate: {regime: accumulate}
  subsample:  {regime: subsample}
  anchor:     {regime: anchor, real: 0.1}
  redraw:     {regime: redraw, real: 0.1}
  refresh:    {regime: refresh, real: 0.1}
  rescue:     {from: replace, at: 1, regime: window, k: 2}
gates: {}
""",
    "flat": """\
title: Numbers without end
seed: 4
source: {kind: gaussian}
model: {kind: gaussian}
rows: 50
generations: 2
replicates: 2
calibration: 10
branches:
  control:    {regime: control}
  accumulate: {regime: accumulate}
  weighted:   {regime: weighted, real: 0.5}
  halted:     {regime: replace, gates: {variance_ratio: {min: 1000, action: halt}}}
  suspect:    {regime: accumulate, gates: {variance_ratio: {min: 1000, action: quarantine}}}
  many:       {regime: replace, rows: 80}
gates: {}
""",
    "words": """\
title: Words
seed: 3
source: {kind: pydoc, vocabulary: 300, block: 16}
model: {kind: ngram}
rows: 40
generations: 1
replicates: 2
calibration: 10
measure: {only: [perplexity, vocabulary]}
branches:
  accumulate: {regime: accumulate}
gates: {}
""",
}


@dataclass(frozen=True)
class Mutation:
    """What was done to which files of a node, and whether dvc.lock was made to fit."""

    kind: str
    node: str
    places: tuple[str, ...]
    rewritten: bool
    detail: str = ""


@dataclass
class Tally:
    """How many of each kind were found, and those that were not, with what the audit said instead."""

    tried: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


class Forger:
    """Mutates the studies of the project in the working directory, one thing at a time, and audits what it touched."""

    def __init__(self, studies: dict[str, Any], seed: int):
        from collapse_lab.audit.auditor import Auditor

        self.studies = studies
        self.draw = random.Random(seed)
        self.first = Auditor(studies)
        self.lock = self.first.lock.stages
        self.nodes = list(self.first.nodes.values())

    def clean(self) -> list[str]:
        """Return what the audit says of the untouched studies."""
        return [fault.line for node in self.nodes for fault in self._auditor(self.lock).node(node).faults]

    def _auditor(self, lock: dict[str, Any]) -> Any:
        """Return an auditor that knows the hashes of files which were not touched."""
        from collapse_lab.audit.auditor import Auditor

        auditor = Auditor(self.studies)
        auditor.reader._digests, auditor.reader._contents = self.first.reader._digests, self.first.reader._contents
        auditor.lock.stages = lock
        return auditor

    def files(self, node: Any) -> list[Path]:
        """Return every file that is a node's own, and the noise floor that it is judged by."""
        from collapse.lineage.layout import RECORDS, Files

        files = Files.of(node)
        floor = files.calibration(self.studies[node.study].floor(node.branch))
        return [*sorted(p for p in files.folder.rglob("*") if p.is_file()),
                *sorted((RECORDS / node.study).glob(f"{node.name}.*")), floor]

    def once(self) -> tuple[Mutation, str]:
        """Mutate one thing, audit its node, put it back; return the mutation and '' or what the audit said instead."""
        node = self.draw.choice(self.nodes)
        kinds = ("flip", "truncate", "swap", "edit", "edit", "edit", "delete", "add", "rows", "relabel")
        kind = self.draw.choice(kinds)
        with getattr(self, f"_{kind}")(node) as (places, detail):
            rewritten = self.draw.random() < 0.5
            lock = self._fitted(places) if rewritten else self.lock
            mutation = Mutation(kind, node.name, tuple(map(str, places)), rewritten, detail)
            return mutation, self._asked(node, mutation, lock)

    def _asked(self, node: Any, mutation: Mutation, lock: dict[str, Any]) -> str:
        from collapse.errors import InputError

        try:
            faults = self._auditor(lock).node(node).faults
        except InputError as error:  # what cannot be audited at all is said so, with its place
            named = all(place in str(error) or Path(place).parent.as_posix() in str(error) for place in mutation.places)
            return "" if named else str(error)
        named = {fault.place for fault in faults}
        edit = mutation.kind in ("edit", "rows", "relabel")
        if faults and (set(mutation.places) <= named or (edit and any(mutation.node in place for place in named))):
            return ""
        return "; ".join(fault.line for fault in faults[:3]) or "nothing"

    def _fitted(self, places: list[Path]) -> dict[str, Any]:
        """Return dvc.lock with the entries of the outputs that hold ``places`` rewritten to what lies there now."""
        auditor, lock = self._auditor(self.lock), copy.deepcopy(self.lock)
        for stage in lock["stages"].values() if "stages" in lock else lock.values():
            for out in stage.get("outs", []):
                path = Path(out["path"])
                if path.exists() and any(path == place or path in place.parents for place in places):
                    out["md5"] = auditor.lock.hash(path)
        return lock

    # ------------------------------------------------------------------------------------ mutations

    @contextmanager
    def _written(self, *pairs: tuple[Path, bytes | None]) -> Iterator[None]:
        """Have other bytes (None: nothing) in place of some files; the old files come back as they were."""
        kept = []
        try:
            for number, (path, data) in enumerate(pairs):
                aside = Path("data") / f".kept.{number}"
                if path.exists():
                    os.rename(path, aside)
                    kept.append((aside, path))
                else:
                    kept.append((None, path))
                if data is not None:
                    path.write_bytes(data)
            yield
        finally:
            for before, path in kept:
                path.unlink(missing_ok=True)
                if before is not None:
                    os.rename(before, path)

    @contextmanager
    def _flip(self, node: Any) -> Iterator[tuple[list[Path], str]]:
        path = self.draw.choice(self.files(node))
        data = bytearray(path.read_bytes())
        at, by = self.draw.randrange(len(data)), self.draw.randrange(1, 256)
        data[at] ^= by
        with self._written((path, bytes(data))):
            yield [path], f"byte {at} of {len(data)} xor {by}"

    @contextmanager
    def _truncate(self, node: Any) -> Iterator[tuple[list[Path], str]]:
        path = self.draw.choice(self.files(node))
        data = path.read_bytes()
        left = self.draw.choice((0, len(data) - 1, self.draw.randrange(len(data))))
        with self._written((path, data[:left])):
            yield [path], f"{left} of {len(data)} bytes left"

    @contextmanager
    def _delete(self, node: Any) -> Iterator[tuple[list[Path], str]]:
        path = self.draw.choice(self.files(node))
        with self._written((path, None)):
            yield [path], ""

    @contextmanager
    def _add(self, node: Any) -> Iterator[tuple[list[Path], str]]:
        like = self.draw.choice(self.files(node)[:-1])
        name = self.draw.choice((f"extra{like.suffix}", f"_{like.name}", f"{like.name}.bak", "notes.txt"))
        records = like.parent.name == node.study
        path = like.with_name(f"{node.name}.{name}" if records else name)
        with self._written((path, like.read_bytes() if self.draw.random() < 0.5 else b"x")):
            yield [path], ""

    @contextmanager
    def _swap(self, node: Any) -> Iterator[tuple[list[Path], str]]:
        """Exchange two files of one kind: two parts of a pool, or a file with that of another node."""
        own = self.files(node)[:-1]
        pairs = [(a, b) for a in own for b in own
                 if a < b and a.suffix == b.suffix and a.suffix != ".json" and a.read_bytes() != b.read_bytes()]
        if not pairs or self.draw.random() < 0.3:
            with self._foreign(node) as found:
                yield found
            return
        one, other = self.draw.choice(pairs)
        with self._written((one, other.read_bytes()), (other, one.read_bytes())):
            yield [one, other], "with each other"

    @contextmanager
    def _foreign(self, node: Any) -> Iterator[tuple[list[Path], str]]:
        """Put another node's file in the place of one of this node's."""
        path = self.draw.choice(self.files(node)[:-1])
        others = [file for other in self.nodes if other is not node for file in self.files(other)
                  if file.parent.name == path.parent.name and file.name.split(".")[1:] == path.name.split(".")[1:]
                  and file.read_bytes() != path.read_bytes()]
        if not others:
            with self._flip(node) as found:
                yield found
            return
        other = self.draw.choice(others)
        with self._written((path, other.read_bytes())):
            yield [path], f"for {other}"

    @contextmanager
    def _edit(self, node: Any, only: Callable[[tuple[Any, ...]], bool] | None = None
              ) -> Iterator[tuple[list[Path], str]]:
        """Change, drop or add a field anywhere in the manifest."""
        from collapse.lineage.layout import Files

        path = Files.of(node).pool / "_manifest.json"
        manifest = json.loads(path.read_text())
        ways = [way for way in fields(manifest) if only is None or only(way)]
        if not ways:
            with self._flip(node) as found:
                yield found
            return
        way = self.draw.choice(ways)
        inner = manifest
        for key in way[:-1]:
            inner = inner[key]
        what = "change" if only else self.draw.choice(("change", "change", "change", "drop", "add"))
        if what == "drop":
            del inner[way[-1]]
        elif what == "add" and isinstance(inner, dict):
            inner["note"] = "harmless"
        else:
            inner[way[-1]] = self._other(inner[way[-1]])
        with self._written((path, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())):
            yield [path], f"{what} {'.'.join(map(str, way))}"

    def _rows(self, node: Any) -> Any:
        """Forge a row count."""
        return self._edit(node, lambda way: way[-1] in ("rows", "seen", "replicates"))

    def _relabel(self, node: Any) -> Any:
        """Call a part by another kind, generation or origin."""
        return self._edit(node, lambda way: way[0] == "parts" and way[-1] in ("kind", "generation", "origin"))

    def _other(self, old: Any) -> Any:
        """Return another value, mostly of the same type."""
        if self.draw.random() < 0.1:
            return self.draw.choice([x for x in (None, -1, "../x", [], {}, True, 1e300) if x != old])
        if isinstance(old, bool):
            return not old
        if isinstance(old, int | float):
            return old + self.draw.choice((1, -1, 10))
        if isinstance(old, str):
            return {"real": "synthetic", "synthetic": "real"}.get(old) or (old[:-1] if len(old) > 1 and
                                                                           self.draw.random() < 0.5 else f"{old}x")
        return "x" if old is None else type(old)() if old else "x"


def fields(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every field, those that hold others included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*way, key)
        yield from fields(item, (*way, key))


def forge(count: int, seed: int, say: Callable[[str], None] = print) -> Tally:
    """Try ``count`` mutations in the working directory's project, which must be clean, and leave it as it was."""
    from collapse.study.files import read_params
    from collapse.study.parse import read_studies

    forger, tally = Forger(read_studies(Path(), read_params(Path())), seed), Tally()
    tally.missed += [f"a false alarm: {line}" for line in forger.clean()]
    for number in range(count):
        mutation, instead = forger.once()
        tally.tried[mutation.kind] += 1
        tally.found[mutation.kind] += not instead
        if instead:
            tally.missed.append(f"{mutation}: {instead}")
        if number % 200 == 199:
            say(f"  {number + 1} tried, {sum(tally.found.values())} found")
    tally.missed += [f"a false alarm: {line}" for line in forger.clean()]
    return tally


def make(folder: Path) -> Project:
    """Return the project with all studies, run."""
    project = Project.make(folder / "p", STUDIES["tiny"])
    for name, text in STUDIES.items():
        project.study(text, name)
    (project.root / "params.yaml").write_text(f"studies: [{', '.join(STUDIES)}]\nmachine: {{workers: 2}}\n")
    project.run("collapse", "plan")
    project.run("collapse", "repro", timeout=3000)
    return project
