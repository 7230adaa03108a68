"""Walk a dataset back to real data and verify every step: hashes, the chain, the regime's arithmetic, DVC's record.

Nothing is believed that can be computed again. A regime is a function of the parent's pool, the sample and addressed
random numbers, so the pool that it allows is made again and compared part by part; generation 0 is drawn again from
its source. Only training and sampling are taken at their word, unless they are replayed (:meth:`Auditor.replay`).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from collapse import lineage, loop
from collapse.errors import InputError, NodeError
from collapse.layout import Files
from collapse.lineage import Node
from collapse.params import Study
from collapse.pool import (
    FORMAT,
    MANIFEST,
    Part,
    content_hash,
    part_note,
    read_part,
    stored_content,
    summary_path,
)
from collapse.provenance import Makeup, makeup
from tasks.turn import CLASSIFIER, WEIGHTS, Turn

LOCK = Path("dvc.lock")
#: Bytes that are hashed at once.
BLOCK = 1 << 20


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


class _Broken(Exception):
    """A node of which nothing more can be said after a fault."""


class Auditor:
    """Verifies nodes of the project in the working directory; each file is read once, whatever links to it."""

    def __init__(self, studies: dict[str, Study]):
        self.studies = studies
        self.nodes = lineage.all_nodes(studies)
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
        way = [self.node(node) for node in reversed(lineage.ancestors(self.nodes, name))]
        if all(checked.manifest and "parts" in checked.manifest for checked in way):
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
        self._recorded(node, files, checked, fault)
        turn = Turn(study, node, Path(tempfile.gettempdir()))
        if node.parent is not None:
            self._model(turn, manifest, checked, fault)
        self._described(turn, manifest, fault)
        parts = self._parts(files, manifest, checked, fault)
        self._notes(files, manifest, checked, fault)
        if node.parent is None:
            self._generation_0(study, files, manifest, parts, checked, fault)
        elif "halted" not in manifest:
            self._pool(turn, manifest, parts, checked, fault)

    def _manifest(self, files: Files, fault: Callable[..., None]) -> dict[str, Any]:
        path = files.pool / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            stage = f"{'real' if files.node.endswith('-real') else 'generation'}@{files.node}"
            if stage in self.lock:
                raise InputError(f"{files.pool}: dvc.lock has {files.node}, and its data is not here; run 'dvc pull', "
                                 f"or 'dvc checkout' if the cache has it") from None
            raise InputError(f"{files.pool}: has not been made; run 'collapse repro'") from None
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
        return manifest

    def _described(self, turn: Turn, manifest: dict[str, Any], fault: Callable[..., None]) -> None:
        """Compare all that a manifest says before any part with what study, parent and model say now."""
        path, first = turn.files.pool / MANIFEST, turn.node.parent is None
        try:
            said, halted = {**turn.describe(), "format": FORMAT}, None if first else turn.halted
        except (OSError, ValueError, KeyError, InputError) as error:
            fault(path, f"cannot be compared with its parent ({error})", end=True)
        said = json.loads(json.dumps(said))
        if manifest.get("halted") != halted:
            fault(path, "halted is not what the parent's verdict says")
        elsewhere = {"parts", "seen", "halted", *(("found",) if first else ())}  # held against what is made again
        for key in sorted({*said, *manifest} - elsewhere):
            if key not in said:
                fault(path, f"says '{key}', which no manifest has")
            elif key not in manifest:
                fault(path, f"says nothing of {key}")
            elif manifest[key] != said.get(key):
                of = {"parent": "of the parent that lies there", "weights": "of the model that lies there"}
                fault(path, f"{key} is not {of.get(key, 'what the study says')}: {_short(manifest[key])}, not "
                            f"{_short(said.get(key))}")

    def _model(self, turn: Turn, manifest: dict[str, Any], checked: Checked, fault: Callable[..., None]) -> None:
        folder = turn.files.model
        if "halted" in manifest:
            return
        weights, about = folder / WEIGHTS, folder / "model.json"
        try:
            from safetensors.numpy import load_file

            turn.parameters = load_file(weights)
        except Exception as error:  # safetensors raises an error of its own for a damaged file
            fault(weights, f"cannot be read ({str(error).splitlines()[0][:100]})")
            return
        for file in sorted(folder.iterdir()):
            checked.leaves[str(file)] = self.digests(file)[0]
        try:
            said = json.loads(about.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            fault(about, f"cannot be read ({error})")
            return
        if said != {"model": manifest.get("model"), "node": turn.node.name, "weights": manifest.get("weights")}:
            fault(about, "does not say what the manifest says")

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

    def _pool(self, turn: Turn, manifest: dict[str, Any], parts: dict[str, Path], checked: Checked,
              fault: Callable[..., None]) -> None:
        """Make the pool again that the regime allows, and compare."""
        path = turn.files.pool / MANIFEST
        try:
            before = turn.pool
            checked.trained = [{"origin": p.origin, "rows": int(p.counts.sum()),
                                "kind": "synthetic" if p.synthetic else "real"} for p in before.parts]
            sample = read_part(turn.files.sample_part)
            regime, rng = turn.branch.regime, turn.rng.at("regime")
            allowed = regime.next_pool(before, sample.head(turn.branch.rows), turn.real, rng)
            expected = {part.origin: self._expected(part) for part in allowed.parts}
        except Exception as error:  # what lies upstream is damaged, which has been said where it lies
            fault(path, f"the pool that {turn.branch.regime.kind} allows cannot be made again "
                        f"({str(error).splitlines()[0][:120]})")
            return
        if manifest.get("seen") != allowed.seen:
            fault(path, f"seen is {_short(manifest.get('seen'))}, and {regime.kind} has seen {allowed.seen}")
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
            if entry.get("weight", 1.0) != weight:
                fault(path, f"weighs {origin} by {_short(entry.get('weight', 1.0))}, and {kind} by {weight:g}")
        if list(told) != list(expected) and set(told) == set(expected):
            fault(path, "has its parts in another order")
        for origin, entry in told.items():
            wants = turn.branch.model.summary
            if set(entry) - {"content", "file", "generation", "kind", "origin", "rows", "weight", "summaries"}:
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
                if path.exists():
                    fault(path, "the source is infinite and has no bank: added")
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
            if said.get("file") != self.digests(path)[0] or said.get("content") != held or said.get("rows") != rows.n:
                fault(about, f"does not say what the {name} is")
            beside = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in again.files.items()} \
                if name == "bank" else {CLASSIFIER: said["classifier"]} if "classifier" in said else {}
            for file in sorted(folder.iterdir()):
                checked.leaves[str(file)] = self.digests(file)[0]
                if file.name not in (path.name, MANIFEST, *beside):
                    fault(file, "does not belong here: added")
            for extra, known in beside.items():
                if not (folder / extra).is_file():
                    fault(folder / extra, "is missing")
                elif self.digests(folder / extra)[0] != known:
                    fault(folder / extra, "is not what generation 0 made: changed")
            checked.bytes += path.stat().st_size

    def _notes(self, files: Files, manifest: dict[str, Any], checked: Checked, fault: Callable[..., None]) -> None:
        """Verify that the measurements carry this manifest."""
        import pyarrow.parquet as pq

        path = files.record("parquet")
        try:
            note = json.loads((pq.read_schema(path).metadata or {})[b"collapse"])
        except Exception as error:
            fault(path, f"cannot be read ({(str(error).splitlines() or ['damaged'])[0][:100]})")
            return
        if note.get("manifest") != manifest or note.get("manifest_sha256") != self.digests(files.pool / MANIFEST)[0]:
            fault(path, "was measured of another manifest than the one that lies there")
        for ending in ("parquet", "json", "samples.parquet", "verdict.json", "validation.json"):
            record = files.record(ending)
            if record.is_file():
                checked.leaves[str(record)] = self.digests(record)[0]
            else:
                fault(record, "is missing")

    # --------------------------------------------------------------------------------------------- DVC

    def _recorded(self, node: Node, files: Files, checked: Checked, fault: Callable[..., None]) -> None:
        """Compare what lies there with what dvc.lock recorded."""
        stage = f"{'real' if node.parent is None else 'generation'}@{node.name}"
        for name in (stage, f"check@{node.name}"):
            if name not in self.lock:
                fault(LOCK, f"has no record of {name}; run 'collapse repro'")
                continue
            for out in self.lock[name].get("outs", []):
                path = Path(out["path"])
                if not path.exists():
                    fault(path, f"is missing, and dvc.lock has it; run 'dvc pull' or 'dvc checkout {path}'")
                elif self._dvc(path) != out.get("md5"):
                    fault(path, "is not what dvc.lock recorded: changed")

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
        turn = Turn(study, node, Path(tempfile.gettempdir()))
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


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 40 else f"{text[:37]}…"
