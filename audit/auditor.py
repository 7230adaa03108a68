"""Walk a dataset back to real data and verify every step: hashes, the chain, the regime's arithmetic, DVC's record.

Nothing is believed that can be computed again. A regime is a function of the parent's pool, the sample and addressed
random numbers, so the pool that it allows is made again and compared part by part; generation 0 is drawn again from
its source. Only training and sampling are taken at their word, unless they are replayed (:meth:`Auditor.replay`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from collapse import loop
from collapse.errors import InputError, NodeError
from collapse.lineage.layout import DATA, RECORDS, Files
from collapse.lineage.makeup import Makeup, makeup
from collapse.lineage.nodes import Node, all_nodes, ancestors
from collapse.pool import (
    FORMAT,
    MANIFEST,
    NAME,
    Part,
    content_hash,
    drawing,
    head,
    part_note,
    read_part,
    stored_content,
    summary_path,
    write_part,
)
from collapse.study.parse import Study
from collapse_lab.audit import gates
from collapse_lab.tasks.expectations.verdict import outcome
from collapse_lab.tasks.judging import inherited, judge
from collapse_lab.tasks.node_run import CLASSIFIER, WEIGHTS, NodeRun
from collapse_lab.tasks.records import SHOWN, medians

LOCK = Path("dvc.lock")
#: Where DVC keeps what it tracked, by hash: a folder's listing names the file that differs.
CACHE = Path(".dvc/cache/files/md5")
#: The name of a folder's listing there.
NAME_OF_OBJECT = re.compile(r"[0-9a-f]{32}\.dir")
#: The records of a node.
RECORD = ("parquet", "json", "samples.parquet", "verdict.json", "validation.json")
#: A sample of more bytes is not judged again: that takes all its rows at once.
JUDGED = 64 << 20
#: Bytes that are hashed at once.
BLOCK = 1 << 18


@dataclass(frozen=True)
class Fault:
    """One thing that does not verify: where (a file, mostly) and what."""

    node: str
    place: str
    what: str

    @property
    def line(self) -> str:
        """Return it in one line."""
        return f"{self.place}: {self.what}"


@dataclass
class Checked:
    """A node as it was found. ``leaves`` are the hashes that a root covers, by path."""

    name: str
    generation: int
    parent: str | None
    manifest: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    leaves: dict[str, str] = field(default_factory=dict)
    trained: list[dict[str, Any]] = field(default_factory=list)
    makeup: Makeup | None = None
    bytes: int = 0

    @property
    def edited(self) -> bool:
        """Return whether the manifest itself does not verify."""
        return any(fault.place.endswith(MANIFEST) for fault in self.faults)


class _Broken(Exception):
    """A node of which nothing more can be said after a fault."""


class Auditor:
    """Verifies nodes of the project in the working directory; each file is read once, whatever links to it."""

    def __init__(self, studies: dict[str, Study]):
        self.studies = studies
        self.nodes = all_nodes(studies)
        self.found: dict[str, Checked] = {}
        self._digests: dict[tuple[int, ...], tuple[str, str]] = {}
        self._contents: dict[tuple[int, ...], str] = {}

    @cached_property
    def lock(self) -> dict[str, Any]:
        """Return the stages of dvc.lock."""
        import yaml

        if not LOCK.exists():
            raise InputError(f"{LOCK}: not there; run 'collapse repro', or 'git checkout {LOCK}'")
        try:
            reader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(LOCK.read_text(encoding="utf-8"))
            return reader.get_single_data()["stages"]
        except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
            raise InputError(f"{LOCK}: cannot be read; run 'git checkout {LOCK}'") from None

    # --------------------------------------------------------------------------------------- hashing

    def digests(self, path: Path) -> tuple[str, str]:
        """Return SHA-256 and MD5 (DVC's) of a file's bytes."""
        key = _identity(path)
        if key not in self._digests:
            sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            buffer = memoryview(bytearray(BLOCK))
            with open(path, "rb", buffering=0) as file:
                while size := file.readinto(buffer):
                    sha.update(buffer[:size])
                    md5.update(buffer[:size])
            self._digests[key] = sha.hexdigest(), md5.hexdigest()
        return self._digests[key]

    def content(self, path: Path, note: dict[str, Any]) -> str:
        """Return the content hash of a part, from its values."""
        from collapse.data import Schema

        key = _identity(path)
        if key not in self._contents:
            self._contents[key] = stored_content(path, Schema.parse(note["schema"]), np.array(note["counts"]))
        return self._contents[key]

    # ----------------------------------------------------------------------------------------- walking

    def way(self, name: str) -> list[Checked]:
        """Verify a node and all it stems from, generation 0 first."""
        way = [self.node(node) for node in reversed(ancestors(self.nodes, name))]
        # A manifest that was edited may say anything, and then nothing is said of what it is made of.
        if all(checked.manifest.get("parts") is not None and not checked.edited for checked in way):
            made = makeup([checked.manifest for checked in way], [checked.trained for checked in way])
            for checked, found in zip(way, made, strict=True):
                checked.makeup = found
        return way

    def node(self, node: Node) -> Checked:
        """Verify one node against its parent, its study and DVC's record."""
        if node.name not in self.found:
            checked = self.found[node.name] = Checked(node.name, node.generation, node.parent)
            with suppress(_Broken):
                self._node(node, checked)
        return self.found[node.name]

    def _node(self, node: Node, checked: Checked) -> None:
        study, files = self.studies[node.study], Files.of(node)

        def fault(place: Path | str, what: str, *, end: bool = False) -> None:
            checked.faults.append(Fault(node.name, str(place), what))
            if end:
                raise _Broken

        manifest = self._manifest(files, fault)
        checked.manifest = manifest
        checked.leaves[str(files.pool / MANIFEST)] = self.digests(files.pool / MANIFEST)[0]
        self._alone(files, fault)
        self._recorded(node, files, fault)
        turn = NodeRun(study, node, Path(tempfile.gettempdir()))
        if node.parent is not None:
            self._model(turn, manifest, checked, fault)
        self._described(turn, manifest, fault)
        parts = self._parts(files, manifest, checked, fault)
        self._notes(turn, manifest, checked, fault)
        if node.parent is None:
            self._generation_0(study, files, manifest, parts, checked, fault)
        elif "halted" not in manifest:
            self._pool(turn, manifest, parts, checked, fault)

    def _manifest(self, files: Files, fault: Callable[..., None]) -> dict[str, Any]:
        path = files.pool / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise self.absent(files) from None
        except (OSError, UnicodeDecodeError) as error:
            fault(path, f"cannot be read ({error})", end=True)
        try:
            manifest = json.loads(text)
            if not isinstance(manifest, dict):
                raise ValueError("not a mapping")
        except ValueError as error:
            fault(path, f"is no manifest ({error})", end=True)
        version = manifest.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise InputError(f"{path}: has format {version}, newer than the {FORMAT} that this version knows; update "
                             f"collapse")
        if json.dumps(manifest, indent=1, sort_keys=True) + "\n" != text:
            fault(path, "is not as this laboratory writes it: edited")
        if not isinstance(manifest.get("parts"), list) or not all(
                isinstance(p, dict) and {"content", "file", "generation", "kind", "origin", "rows"} <= set(p)
                and isinstance(p["rows"], int) and isinstance(p["origin"], str) for p in manifest["parts"]):
            fault(path, "has no list of parts", end=True)
        for entry in manifest["parts"]:  # these become paths
            for name in (entry["origin"], *(entry.get("summaries") or {})):
                if not NAME.fullmatch(name):
                    fault(path, f"names a part {_short(name)}, which is no name", end=True)
        return manifest

    def absent(self, files: Files) -> InputError:
        """Return the error that says what to do about a node whose pool is not here."""
        stage = f"{'real' if files.node.endswith('-real') else 'generation'}@{files.node}"
        if stage in self.lock:
            return InputError(f"{files.pool}: dvc.lock has {files.node}, and its data is not here; run 'dvc pull', or "
                              f"'dvc checkout' if the cache has it")
        return InputError(f"{files.pool}: has not been made; run 'collapse repro'")

    def _described(self, turn: NodeRun, manifest: dict[str, Any], fault: Callable[..., None]) -> None:
        """Compare all that a manifest says before any part with what study, parent and model say now."""
        path, first = turn.files.pool / MANIFEST, turn.node.parent is None
        try:
            said, halted = {**turn.describe(), "format": FORMAT}, None if first else turn.halted
        except (OSError, ValueError, KeyError, InputError) as error:
            fault(path, f"cannot be compared with its parent ({error})", end=True)
        said = json.loads(json.dumps(said))
        if manifest.get("halted") != halted:
            fault(path, "halted is not what the parent's verdict says")
        # held against what is made again
        elsewhere = {"parts", "seen", "halted", "draw", *(("found",) if first else ())}
        for key in sorted({*said, *manifest} - elsewhere):
            if key not in said:
                fault(path, f"says '{key}', which no manifest has")
            elif key not in manifest:
                fault(path, f"says nothing of {key}")
            elif manifest[key] != said.get(key):
                of = {"parent": "of the parent that lies there", "weights": "of the model that lies there"}
                fault(path, f"{key} is not {of.get(key, 'what the study says')}: {_short(manifest[key])}, not "
                            f"{_short(said.get(key))}")

    def _model(self, turn: NodeRun, manifest: dict[str, Any], checked: Checked, fault: Callable[..., None]) -> None:
        folder = turn.files.model
        if "halted" in manifest:
            note = _text({"halted": manifest["halted"], "node": turn.node.name})
            for place in (folder, turn.files.sample):
                self._exactly(place, {"halted.json": hashlib.sha256(note.encode()).hexdigest()}, checked, fault)
            return
        weights, about = folder / WEIGHTS, folder / "model.json"
        said = _text({"model": manifest.get("model"), "node": turn.node.name, "weights": manifest.get("weights")})
        known = {WEIGHTS: None, about.name: hashlib.sha256(said.encode()).hexdigest()}
        tokeniser = Files(turn.study.real, turn.study.name).bank / "tokeniser.json"
        if tokeniser.is_file():
            known[tokeniser.name] = self.digests(tokeniser)[0]
        self._exactly(folder, known, checked, fault)
        if not weights.is_file():
            return
        try:
            from safetensors.numpy import load_file

            turn.parameters = load_file(weights)
        except Exception as error:  # safetensors raises an error of its own for a damaged file
            fault(weights, f"cannot be read ({str(error).splitlines()[0][:100]})")
            return
        if loop.digest(turn.parameters) != manifest.get("weights"):
            fault(weights, "is not the model that the manifest names")
        if not _plain_header(weights):
            fault(weights, "is not as this laboratory writes it: edited")

    def _exactly(self, folder: Path, known: Mapping[str, str | None], checked: Checked,
                 fault: Callable[..., None]) -> None:
        """Verify that a folder holds the files of ``known`` alone, with their hashes where these are given."""
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.name not in known:
                fault(file, "does not belong here: added")
            elif file.is_file():
                checked.leaves[str(file)] = self.digests(file)[0]
        for name, digest in known.items():
            file = folder / name
            if not file.is_file():
                fault(file, "is missing")
            elif digest not in (None, self.digests(file)[0]):
                fault(file, "is not what this laboratory writes there: changed")

    def _alone(self, files: Files, fault: Callable[..., None]) -> None:
        """Verify that nothing lies beside a node's folders and records."""
        first = files.node.endswith("-real")
        folders = {"pool", "sample", *(("bank", "reference") if first else ("model",))}
        for item in sorted(files.folder.iterdir()):
            if item.name not in folders and item.name != ".gitignore":  # DVC may write one
                fault(item, "does not belong here: added")
        own = {files.record(ending).name for ending in RECORD}
        for item in sorted((RECORDS / files.study).glob(f"{files.node}.*")):
            if item.name not in own:
                fault(item, "does not belong here: added")

    def _parts(self, files: Files, manifest: dict[str, Any], checked: Checked,
               fault: Callable[..., None]) -> dict[str, Path]:
        """Verify every part of the pool and of the raw sample: bytes, values, and what the file says of itself."""
        listed = {MANIFEST}
        parts = {}
        for entry in manifest["parts"]:
            path = files.pool / f"{entry['origin']}.parquet"
            listed.add(path.name)
            if path.name in {p.name for p in parts.values()}:
                fault(path, "is listed twice")
            if not self._part(path, entry, manifest, fault):
                continue
            parts[entry["origin"]] = path
            checked.bytes += path.stat().st_size
            checked.leaves[str(path)] = self.digests(path)[0]
            for name, known in (entry.get("summaries") or {}).items():
                beside = summary_path(path, name)
                listed.add(beside.name)
                if not beside.is_file():
                    fault(beside, "is missing")
                elif self.digests(beside)[0] != known:
                    fault(beside, "is not the file that the manifest names: changed")
        there = {file.name for file in files.pool.iterdir()}
        for name in sorted(there - listed):
            fault(files.pool / name, "is not in the manifest: added")
        if files.sample.is_dir() and "halted" not in manifest:
            for file in sorted(files.sample.iterdir()):
                if file.name != files.sample_part.name:
                    fault(file, "does not belong here: added")
            self._sample(files, manifest, checked, fault)
        elif "halted" not in manifest:
            fault(files.sample, "is missing")
        return parts

    def _part(self, path: Path, entry: dict[str, Any], manifest: dict[str, Any], fault: Callable[..., None]) -> bool:
        """Verify one part; return whether it can be read."""
        if not path.is_file():
            fault(path, "is missing")
            return False
        if self.digests(path)[0] != entry["file"]:
            fault(path, "is not the file that the manifest names: changed")
        try:
            note = part_note(path)
            values = self.content(path, note)
        except (InputError, NodeError) as error:
            fault(path, str(error).removeprefix(f"{path}: "))
            return False
        except Exception as error:  # Arrow raises many kinds for a damaged file
            fault(path, f"cannot be read ({(str(error).splitlines() or [type(error).__name__])[0][:120]})")
            return False
        if values != note.get("content"):
            fault(path, "its values are not those that were written: content hash differs")
        for key, told, own in (
            ("content hash", entry["content"], note.get("content")), ("origin", entry["origin"], note.get("origin")),
            ("kind", entry["kind"], note.get("kind")), ("generation", entry["generation"], note.get("generation")),
            ("rows", entry["rows"], sum(note.get("counts", []))), ("study", manifest.get("study"), note.get("study")),
        ):
            if told != own:
                fault(path, f"the manifest says {key} {_short(told)}, the file {_short(own)}")
        origin = self.nodes.get(entry["origin"])
        if origin is None:
            fault(path, f"'{entry['origin']}' is no node of the study")
        elif (entry["kind"] == "real") != (origin.generation == 0):
            fault(path, f"is called {entry['kind']}, and {origin.name} is generation {origin.generation}")
        elif entry["generation"] != origin.generation:
            fault(path, f"is called generation {entry['generation']}, and {origin.name} is {origin.generation}")
        elif note.get("model") != (self._weights(origin) if origin.generation else ""):
            fault(path, f"names another model than that of {origin.name}")
        return True

    def _weights(self, node: Node) -> Any:
        try:
            return json.loads((Files.of(node).pool / MANIFEST).read_text(encoding="utf-8")).get("weights")
        except (OSError, ValueError):
            return None

    def _sample(self, files: Files, manifest: dict[str, Any], checked: Checked, fault: Callable[..., None]) -> None:
        path = files.sample_part
        if not path.is_file():
            fault(path, "is missing")
            return
        try:
            note = part_note(path)
            if self.content(path, note) != note["content"]:
                fault(path, "its values are not those that were written: content hash differs")
        except Exception as error:
            fault(path, str(error).splitlines()[0].removeprefix(f"{path}: ")[:160])
            return
        synthetic = manifest.get("branch") is not None
        for key, told, own in (("origin", files.node, note.get("origin")),
                               ("kind", "synthetic" if synthetic else "real", note.get("kind")),
                               ("generation", manifest.get("generation"), note.get("generation")),
                               ("model", manifest.get("weights") if synthetic else "", note.get("model"))):
            if told != own:
                fault(path, f"the manifest says {key} {_short(told)}, the file {_short(own)}")
        checked.leaves[str(path)] = self.digests(path)[0]

    def _pool(self, turn: NodeRun, manifest: dict[str, Any], parts: dict[str, Path], checked: Checked,
              fault: Callable[..., None]) -> None:
        """Make the pool again that the regime allows, and compare."""
        path = turn.files.pool / MANIFEST
        try:
            before = turn.pool
            checked.trained = [{"origin": p.origin, "rows": int(p.counts.sum()),
                                "kind": "synthetic" if p.synthetic else "real"} for p in before.training.parts]
            sample = read_part(turn.files.sample_part)
            regime, rng = turn.branch.regime, turn.rng.at("regime")
            # Parts that are handed on whole are never loaded, nor is reality where the regime does without.
            real: Any = turn.real if regime.fresh or hasattr(regime, "real") else None
            allowed = regime.next_pool(before, sample.head(turn.branch.rows), real, rng)
            expected = {part.origin: self._expected(part) for part in allowed.parts}
            drawn = {part.origin: int(part.counts.sum()) for part in allowed.training.parts}
            draw = drawing(allowed).get("draw")
        except Exception as error:  # what lies upstream is damaged, which has been said where it lies
            fault(path, f"the pool that {turn.branch.regime.kind} allows cannot be made again "
                        f"({str(error).splitlines()[0][:120]})")
            return
        if manifest.get("seen") != allowed.seen:
            fault(path, f"seen is {_short(manifest.get('seen'))}, and {regime.kind} has seen {allowed.seen}")
        if manifest.get("draw") != draw:
            fault(path, f"draw is not the one that {regime.kind} makes: {_short(manifest.get('draw'))}, not "
                        f"{_short(draw)}")
        told = {entry["origin"]: entry for entry in manifest["parts"]}
        kind = turn.branch.regime.kind
        for origin in expected:
            if origin not in told:
                fault(path, f"lacks {origin}, which {kind} keeps")
        for origin, entry in told.items():
            if origin not in expected:
                fault(path, f"holds {origin}, which {kind} does not keep")
                continue
            rows, content, weight = expected[origin]
            if entry["rows"] != rows:
                fault(path, f"says {entry['rows']} rows of {origin}, and {kind} keeps {rows}")
            if entry["content"] != content:
                fault(turn.files.pool / f"{origin}.parquet", f"holds other rows of {origin} than {kind} keeps")
            if entry.get("drawn") != (None if draw is None else drawn.get(origin, 0)):
                fault(path, f"says {entry.get('drawn')} rows of {origin} are drawn, and {kind} draws "
                            f"{drawn.get(origin, 0) if draw else 'none'}")
            if entry.get("weight", 1.0) != weight:
                fault(path, f"weighs {origin} by {_short(entry.get('weight', 1.0))}, and {kind} by {weight:g}")
        if list(told) != list(expected) and set(told) == set(expected):
            fault(path, "has its parts in another order")
        for origin, entry in told.items():
            wants = turn.branch.model.summary
            if set(entry) - {"content", "drawn", "file", "generation", "kind", "origin", "rows", "weight", "summaries"}:
                fault(path, f"says more of {origin} than a manifest does")
            if set(entry.get("summaries") or {}) - ({wants} if wants else set()):
                fault(path, f"has a summary of {origin} that {turn.branch.model.kind} does not make")

    def _expected(self, part: Part) -> tuple[int, str, float]:
        content = part.hashes[0] if part.hashes else None
        if content is None and part.path is not None:
            content = part_note(part.path)["content"]
        if content is None:
            content = content_hash(part.schema, part.counts, part.values)
        return int(part.counts.sum()), content, part.weight

    def _generation_0(self, study: Study, files: Files, manifest: dict[str, Any], parts: dict[str, Path],
                      checked: Checked, fault: Callable[..., None]) -> None:
        """Draw generation 0 again from its source, and compare first pool, bank and reference."""
        try:
            again = loop.split(study.source, study.rows, study.replicates, loop.address(study, 0))
        except InputError as error:
            fault(files.folder, f"cannot be drawn again from its source ({error})")
            return
        if manifest.get("seen") != study.rows:
            fault(files.pool / MANIFEST, f"seen is {_short(manifest.get('seen'))}, not {study.rows}")
        if manifest.get("found", {}) != json.loads(json.dumps(again.found)):
            fault(files.pool / MANIFEST, "found is not what dividing the source finds")
        if [entry["origin"] for entry in manifest["parts"]] != [study.real]:
            fault(files.pool / MANIFEST, f"must hold {study.real} alone")
        for name, rows, folder in (("first pool", again.first, files.pool), ("bank", again.bank, files.bank),
                                   ("reference", again.reference, files.reference)):
            path = folder / (f"{study.real}.parquet" if name == "first pool" else f"{name}.parquet")
            about = folder / MANIFEST
            if rows is None:
                true = {"fresh": "exact", "node": study.real, "rows": None, "source": study.source.spec(),
                        "study": study.name}
                digest = hashlib.sha256(_text(true).encode()).hexdigest()
                self._exactly(folder, {MANIFEST: digest}, checked, fault)
                continue
            part = Part.of(rows, study.real, 0, synthetic=False)
            content = content_hash(part.schema, part.counts, part.values)
            if name == "first pool":
                if parts.get(study.real) and manifest["parts"][0]["content"] != content:
                    fault(path, "holds other rows than the source gives")
                continue
            if not path.is_file():
                fault(path, "is missing")
                continue
            try:
                note = part_note(path)
                held = self.content(path, note)
                said = json.loads(about.read_text(encoding="utf-8"))
            except Exception as error:
                fault(path, str(error).splitlines()[0].removeprefix(f"{path}: ")[:160])
                continue
            if held != content:
                fault(path, f"holds other rows than the source gives the {name}")
            true = {"content": held, "file": self.digests(path)[0], "node": study.real, "rows": rows.n,
                    "study": study.name, **({"classifier": said.get("classifier")} if "classifier" in said else {})}
            if about.read_text(encoding="utf-8") != _text(true):
                fault(about, f"does not say what the {name} is")
            if note["content"] != held:
                fault(path, "its values are not those that were written: content hash differs")
            beside = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in again.files.items()} \
                if name == "bank" else {CLASSIFIER: said["classifier"]} if "classifier" in said else {}
            self._exactly(folder, {path.name: None, MANIFEST: None, **beside}, checked, fault)
            checked.bytes += path.stat().st_size

    def _notes(self, turn: NodeRun, manifest: dict[str, Any], checked: Checked, fault: Callable[..., None]) -> None:
        """Verify that the measurements carry this manifest."""
        import pyarrow.parquet as pq

        files = turn.files
        path = files.record("parquet")
        self._judged(turn, manifest, fault)
        try:
            note = json.loads((pq.read_schema(path).metadata or {})[b"collapse"])
        except Exception as error:
            fault(path, f"cannot be read ({(str(error).splitlines() or ['damaged'])[0][:100]})")
            return
        if note.get("manifest_sha256") != self.digests(files.pool / MANIFEST)[0]:
            fault(path, "was measured of another manifest than the one that lies there")
        for ending in RECORD:
            record = files.record(ending)
            if record.is_file():
                checked.leaves[str(record)] = self.digests(record)[0]
            else:
                fault(record, "is missing")

    def _judged(self, turn: NodeRun, manifest: dict[str, Any], fault: Callable[..., None]) -> None:
        """Verify what can be computed again from the measurements and the sample: medians, verdict, rows to show."""
        import pyarrow.parquet as pq

        files = turn.files
        told: dict[str, Any] = {}
        for ending in ("json", "validation.json", "verdict.json"):
            path = files.record(ending)
            try:
                text = path.read_text(encoding="utf-8")
                told[ending] = json.loads(text)
            except (OSError, ValueError) as error:
                fault(path, "is missing" if not path.exists() else f"cannot be read ({str(error)[:100]})")
                continue
            if text != _text(told[ending]):
                fault(path, "is not as this laboratory writes it: edited")
        halted = manifest.get("halted")

        def held() -> None:
            if "json" in told and told["json"] != medians(pq.read_table(files.record("parquet"))):
                fault(files.record("json"), "does not hold the medians of the measurements")

        def judged() -> None:
            if halted is None and files.sample_part.stat().st_size > JUDGED:
                true = [{"node": files.node, "outcome": outcome(told["validation.json"]["gates"])["outcome"]}]
                same = [{key: told["validation.json"][key] for key in true[0]}]
            else:
                true = [json.loads(_text(body)) for body in
                        (inherited(files.node, halted) if halted else
                         judge(turn.study, turn.node.branch, files, gates.judge))]
                same = [told.get("validation.json"), told.get("verdict.json")]
            for ending, one, other in zip(("validation.json", "verdict.json"), same, true, strict=False):
                if one is not None and one != other:
                    fault(files.record(ending), "is not what judging the node again gives")

        def shown() -> None:
            path = files.record("samples.parquet")
            if halted is not None:
                note = json.loads((pq.read_schema(path).metadata or {})[b"collapse"])
                if note.get("manifest") != manifest or pq.read_metadata(path).num_rows:
                    fault(path, "is not that of a node below a halt")
            elif problem := self._other_than_shown(path, files, manifest):
                fault(path, problem)

        for check, ending in ((held, "parquet"), (judged, "validation.json"), (shown, "samples.parquet")):
            try:
                check()
            except Exception as error:  # Arrow raises many kinds for a damaged file, and an edited one may say anything
                text = (str(error).splitlines() or [type(error).__name__])[0]
                fault(files.record(ending), f"cannot be held against the other records ({text[:100]})")

    def _other_than_shown(self, path: Path, files: Files, manifest: dict[str, Any]) -> str:
        """Return how the rows that the page shows differ from the first ones of the sample; '' if they do not."""
        import pyarrow.parquet as pq

        first = head(files.sample_part, SHOWN)
        again = Part.of(first, files.node, manifest["generation"], manifest["branch"] is not None)
        content = content_hash(again.schema, again.counts, again.values)
        if self.content(path, part_note(path)) != content:
            return f"does not hold the first {first.n} rows of the sample"
        writers = [pq.read_metadata(file).created_by for file in (path, files.sample_part)]
        with tempfile.TemporaryDirectory() as folder:
            write_part(again, Path(folder) / "again", str(manifest["study"]))
            ours = pq.read_metadata(Path(folder) / "again").created_by
            equal = (Path(folder) / "again").read_bytes() == path.read_bytes()
        # Another version of the library may write equal rows in other bytes.
        return "" if equal or (writers[0] == writers[1] != ours) else "is not as this laboratory writes it: edited"

    # --------------------------------------------------------------------------------------------- DVC

    def _recorded(self, node: Node, files: Files, fault: Callable[..., None]) -> None:
        """Compare what lies there with what dvc.lock recorded, as made by one stage and as read by others."""
        first = node.parent is None
        own = node.branch if node.branch and self.studies[node.study].branches[node.branch].own_floor else None
        stages = {
            f"{'real' if first else 'generation'}@{node.name}":
                [files.pool, files.sample, *([files.bank, files.reference] if first else [files.model]),
                 *(files.record(ending) for ending in ("parquet", "samples.parquet", "json"))],
            f"check@{node.name}": [files.record("validation.json"), files.record("verdict.json")],
            f"calibrate@{node.study}{f'-{own}' if own else ''}":
                [files.calibration(self.studies[node.study].floor(node.branch))],
        }
        named: set[Path] = set()

        def say(path: Path, what: str) -> None:
            if path not in named:
                named.add(path)
                fault(path, what)

        for stage, made in stages.items():
            if stage not in self.lock:
                say(LOCK, f"has no record of {stage}; run 'collapse repro'")
                continue
            told = _told(self.lock[stage], "outs")
            if set(told) != {str(path) for path in made}:
                say(LOCK, f"names other outputs of {stage} than it has: edited")
            for path in made:
                if not path.exists():
                    say(path, f"is missing, and dvc.lock has it; run 'dvc pull' or 'dvc checkout {path}'")
                elif str(path) in told:
                    for place in self._differing(path, told[str(path)]):
                        say(place, "is not what dvc.lock recorded: changed")
            for name, known in _told(self.lock[stage], "deps").items():
                path = Path(name)
                if path.parts[0] == str(DATA) and ".." not in path.parts and path.exists():
                    for place in self._differing(path, known):
                        say(place, f"is not what {stage} was made from, says dvc.lock: changed")
        records = _told(self.lock.get(f"report@{node.study}", {}), "deps").get(str(RECORDS / node.study), "")
        listing = self._listing(records) or {}
        for ending in RECORD:
            path = files.record(ending)
            if path.is_file() and listing.get(path.name, self.digests(path)[1]) != self.digests(path)[1]:
                say(path, "is not what the study's report was made from, says dvc.lock: changed")

    def _differing(self, path: Path, known: str) -> list[Path]:
        """Return what of a file or folder is not as DVC recorded it: the very files, where that can be told."""
        if self._dvc(path) == known:
            return []
        if path.is_file():
            return [path]
        there = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        listing = self._listing(known)
        if listing is None:
            return [path] if len(there) != 1 else list(there.values())
        return [path / name for name in sorted({*listing, *there})
                if name not in there or listing.get(name) != self.digests(there[name])[1]] or [path]

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

    def _dvc(self, path: Path) -> str:
        """Return DVC's hash of a file or folder."""
        if path.is_file():
            return self.digests(path)[1]
        files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        listing = [{"md5": self.digests(path / name)[1], "relpath": name} for name in files]
        return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"

    # ------------------------------------------------------------------------------------------ replay

    def replay(self, name: str) -> list[Fault]:
        """Train and sample a node again from its parent, and compare what comes out; nothing is put in place."""
        node = self.nodes[name]
        study, files = self.studies[node.study], Files.of(node)
        turn = NodeRun(study, node, Path(tempfile.gettempdir()))
        manifest = json.loads((files.pool / MANIFEST).read_text(encoding="utf-8"))
        if "halted" in manifest:
            return []
        turn.parameters = turn.branch.model.learn(turn.pool, turn.rng.at("fit"), turn.start)
        if loop.digest(turn.parameters) != manifest.get("weights"):
            return [Fault(name, str(files.model / WEIGHTS),
                          "training again from the parent gives another model")]
        rows = turn.branch.model.make(turn.parameters, turn.real.first.schema, loop.sample_rows(turn.branch, study),
                                      turn.rng.at("sample"), turn.real.first.rows)
        part = Part.of(rows, name, node.generation, synthetic=True)
        if content_hash(part.schema, part.counts, part.values) != part_note(files.sample_part)["content"]:
            return [Fault(name, str(files.sample_part), "sampling again from the model gives other rows")]
        return []


def leaves(found: list[Checked]) -> dict[str, str]:
    """Return everything that a root covers, by path."""
    return {path: value for checked in found for path, value in checked.leaves.items()}


def _identity(path: Path) -> tuple[int, ...]:
    """Return what tells files apart, whatever name they are opened by."""
    state = os.stat(path)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _text(value: Any) -> str:
    """Return JSON as this laboratory writes it."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _told(stage: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return the paths that a stage of dvc.lock names under ``key``, with their hashes."""
    return {str(item["path"]): str(item.get("md5", "")) for item in stage.get(key) or []}


def _plain_header(path: Path) -> bool:
    """Return whether the header of a safetensors file is the shortest JSON, padded: nothing was slipped in."""
    with open(path, "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little")).decode("utf-8")
    plain = json.dumps(json.loads(header), separators=(",", ":"), ensure_ascii=False)
    return header.rstrip(" ") == plain


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 40 else f"{text[:37]}…"
