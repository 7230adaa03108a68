"""What lies in a node's folder, by itself: the manifest's form, bytes and values of parts and model, nothing added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse import loop
from collapse.errors import InputError, NodeError
from collapse.lineage.layout import RECORDS, Files
from collapse.lineage.nodes import Node
from collapse.manifest import MANIFEST, NAME
from collapse.parquet import FORMAT, part_note
from collapse.summary import summary_path
from collapse_lab.audit.lock import Lock
from collapse_lab.audit.visit import RECORD, Visit, short, written
from collapse_lab.tasks.node_run import WEIGHTS


def read(visit: Visit, lock: Lock) -> dict[str, Any]:
    """Return the manifest that lies there, whose form is verified; what it says is compared elsewhere."""
    files, fault = visit.files, visit.fault
    path = files.pool / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise lock.absent(files) from None
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
                fault(path, f"names a part {short(name)}, which is no name", end=True)
    return manifest


def alone(visit: Visit) -> None:
    """Verify that nothing lies beside a node's folders and records."""
    files, fault = visit.files, visit.fault
    first = files.node.endswith("-real")
    folders = {"pool", "sample", *(("bank", "reference") if first else ("model",))}
    for item in sorted(files.folder.iterdir()):
        if item.name not in folders and item.name != ".gitignore":  # DVC may write one
            fault(item, "does not belong here: added")
    own = {files.record(ending).name for ending in RECORD}
    for item in sorted((RECORDS / files.study).glob(f"{files.node}.*")):
        if item.name not in own:
            fault(item, "does not belong here: added")


def model(visit: Visit) -> None:
    """Verify the folder of the model, or of a node below a halt; the weights are kept for what is made again."""
    turn, manifest, fault = visit.turn, visit.manifest, visit.fault
    folder = turn.files.model
    if "halted" in manifest:
        note = written({"halted": manifest["halted"], "node": turn.node.name})
        for place in (folder, turn.files.sample):
            visit.exactly(place, {"halted.json": hashlib.sha256(note.encode()).hexdigest()})
        return
    weights, about = folder / WEIGHTS, folder / "model.json"
    said = written({"model": manifest.get("model"), "node": turn.node.name, "weights": manifest.get("weights")})
    known = {WEIGHTS: None, about.name: hashlib.sha256(said.encode()).hexdigest()}
    tokeniser = Files(turn.study.real, turn.study.name).bank / "tokeniser.json"
    if tokeniser.is_file():
        known[tokeniser.name] = visit.reader.digests(tokeniser)[0]
    visit.exactly(folder, known)
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


def parts(visit: Visit) -> dict[str, Path]:
    """Verify every part of the pool and of the raw sample: bytes, values, and what the file says of itself."""
    files, manifest, checked, fault = visit.files, visit.manifest, visit.checked, visit.fault
    listed = {MANIFEST}
    there: dict[str, Path] = {}
    for entry in manifest["parts"]:
        path = files.pool / f"{entry['origin']}.parquet"
        listed.add(path.name)
        if path.name in {p.name for p in there.values()}:
            fault(path, "is listed twice")
        if not part(visit, path, entry):
            continue
        there[entry["origin"]] = path
        checked.bytes += path.stat().st_size
        checked.leaves[str(path)] = visit.reader.digests(path)[0]
        for name, known in (entry.get("summaries") or {}).items():
            beside = summary_path(path, name)
            listed.add(beside.name)
            if not beside.is_file():
                fault(beside, "is missing")
            elif visit.reader.digests(beside)[0] != known:
                fault(beside, "is not the file that the manifest names: changed")
    for name in sorted({file.name for file in files.pool.iterdir()} - listed):
        fault(files.pool / name, "is not in the manifest: added")
    if files.sample.is_dir() and "halted" not in manifest:
        for file in sorted(files.sample.iterdir()):
            if file.name != files.sample_part.name:
                fault(file, "does not belong here: added")
        _sample(visit)
    elif "halted" not in manifest:
        fault(files.sample, "is missing")
    return there


def part(visit: Visit, path: Path, entry: Mapping[str, Any]) -> bool:
    """Verify one part; return whether it can be read."""
    manifest, fault = visit.manifest, visit.fault
    if not path.is_file():
        fault(path, "is missing")
        return False
    if visit.reader.digests(path)[0] != entry["file"]:
        fault(path, "is not the file that the manifest names: changed")
    try:
        note = part_note(path)
        values = visit.reader.content(path, note)
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
            fault(path, f"the manifest says {key} {short(told)}, the file {short(own)}")
    origin = visit.nodes.get(entry["origin"])
    if origin is None:
        fault(path, f"'{entry['origin']}' is no node of the study")
    elif (entry["kind"] == "real") != (origin.generation == 0):
        fault(path, f"is called {entry['kind']}, and {origin.name} is generation {origin.generation}")
    elif entry["generation"] != origin.generation:
        fault(path, f"is called generation {entry['generation']}, and {origin.name} is {origin.generation}")
    elif note.get("model") != (_weights(origin) if origin.generation else ""):
        fault(path, f"names another model than that of {origin.name}")
    return True


def _weights(node: Node) -> Any:
    try:
        return json.loads((Files.of(node).pool / MANIFEST).read_text(encoding="utf-8")).get("weights")
    except (OSError, ValueError):
        return None


def _sample(visit: Visit) -> None:
    files, manifest, checked, fault = visit.files, visit.manifest, visit.checked, visit.fault
    path = files.sample_part
    if not path.is_file():
        fault(path, "is missing")
        return
    try:
        note = part_note(path)
        if visit.reader.content(path, note) != note["content"]:
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
            fault(path, f"the manifest says {key} {short(told)}, the file {short(own)}")
    checked.leaves[str(path)] = visit.reader.digests(path)[0]


def _plain_header(path: Path) -> bool:
    """Return whether the header of a safetensors file is the shortest JSON, padded: nothing was slipped in."""
    with open(path, "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little")).decode("utf-8")
    plain = json.dumps(json.loads(header), separators=(",", ":"), ensure_ascii=False)
    return header.rstrip(" ") == plain
