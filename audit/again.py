"""What a node must be, made again and compared: its manifest, generation 0, the regime's pool; if asked, a replay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse import loop
from collapse.errors import InputError
from collapse.manifest import MANIFEST, drawing
from collapse.parquet import FORMAT, content_hash, part_note, read_part
from collapse.pool import Part
from collapse_lab.audit.visit import Fault, Visit, short, written
from collapse_lab.tasks.node_run import CLASSIFIER, WEIGHTS


def described(visit: Visit) -> None:
    """Compare all that a manifest says before any part with what study, parent and model say now."""
    turn, manifest, fault = visit.turn, visit.manifest, visit.fault
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
            fault(path, f"{key} is not {of.get(key, 'what the study says')}: {short(manifest[key])}, not "
                        f"{short(said.get(key))}")


def generation_0(visit: Visit, parts: Mapping[str, Path]) -> None:
    """Draw generation 0 again from its source, and compare first pool, bank and reference."""
    study, files, manifest = visit.study, visit.files, visit.manifest
    checked, fault = visit.checked, visit.fault
    try:
        again = loop.split(study.source, study.rows, study.replicates, loop.address(study, 0))
    except InputError as error:
        fault(files.folder, f"cannot be drawn again from its source ({error})")
        return
    if manifest.get("seen") != study.rows:
        fault(files.pool / MANIFEST, f"seen is {short(manifest.get('seen'))}, not {study.rows}")
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
            digest = hashlib.sha256(written(true).encode()).hexdigest()
            visit.exactly(folder, {MANIFEST: digest})
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
            held = visit.reader.content(path, note)
            said = json.loads(about.read_text(encoding="utf-8"))
        except Exception as error:
            fault(path, str(error).splitlines()[0].removeprefix(f"{path}: ")[:160])
            continue
        if held != content:
            fault(path, f"holds other rows than the source gives the {name}")
        true = {"content": held, "file": visit.reader.digests(path)[0], "node": study.real, "rows": rows.n,
                "study": study.name, **({"classifier": said.get("classifier")} if "classifier" in said else {})}
        if about.read_text(encoding="utf-8") != written(true):
            fault(about, f"does not say what the {name} is")
        if note["content"] != held:
            fault(path, "its values are not those that were written: content hash differs")
        beside = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in again.files.items()} \
            if name == "bank" else {CLASSIFIER: said["classifier"]} if "classifier" in said else {}
        visit.exactly(folder, {path.name: None, MANIFEST: None, **beside})
        checked.bytes += path.stat().st_size


def pool(visit: Visit) -> None:
    """Make the pool again that the regime allows, and compare."""
    turn, manifest, checked, fault = visit.turn, visit.manifest, visit.checked, visit.fault
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
        expected = {part.origin: _expected(part) for part in allowed.parts}
        drawn = {part.origin: int(part.counts.sum()) for part in allowed.training.parts}
        draw = drawing(allowed).get("draw")
    except Exception as error:  # what lies upstream is damaged, which has been said where it lies
        fault(path, f"the pool that {turn.branch.regime.kind} allows cannot be made again "
                    f"({str(error).splitlines()[0][:120]})")
        return
    if manifest.get("seen") != allowed.seen:
        fault(path, f"seen is {short(manifest.get('seen'))}, and {regime.kind} has seen {allowed.seen}")
    if manifest.get("draw") != draw:
        fault(path, f"draw is not the one that {regime.kind} makes: {short(manifest.get('draw'))}, not "
                    f"{short(draw)}")
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
            fault(path, f"weighs {origin} by {short(entry.get('weight', 1.0))}, and {kind} by {weight:g}")
    if list(told) != list(expected) and set(told) == set(expected):
        fault(path, "has its parts in another order")
    for origin, entry in told.items():
        wants = turn.branch.model.summary
        if set(entry) - {"content", "drawn", "file", "generation", "kind", "origin", "rows", "weight", "summaries"}:
            fault(path, f"says more of {origin} than a manifest does")
        if set(entry.get("summaries") or {}) - ({wants} if wants else set()):
            fault(path, f"has a summary of {origin} that {turn.branch.model.kind} does not make")


def _expected(part: Part) -> tuple[int, str, float]:
    content = part.hashes[0] if part.hashes else None
    if content is None and part.path is not None:
        content = part_note(part.path)["content"]
    if content is None:
        content = content_hash(part.schema, part.counts, part.values)
    return int(part.counts.sum()), content, part.weight


def replay(visit: Visit) -> list[Fault]:
    """Train and sample a node again from its parent, and compare what comes out; nothing is put in place."""
    study, node, files, turn = visit.study, visit.node, visit.files, visit.turn
    manifest = json.loads((files.pool / MANIFEST).read_text(encoding="utf-8"))
    if "halted" in manifest:
        return []
    turn.parameters = turn.branch.model.learn(turn.pool, turn.rng.at("fit"), turn.start)
    if loop.digest(turn.parameters) != manifest.get("weights"):
        return [Fault(node.name, str(files.model / WEIGHTS),
                      "training again from the parent gives another model")]
    rows = turn.branch.model.make(turn.parameters, turn.real.first.schema, loop.sample_rows(turn.branch, study),
                                  turn.rng.at("sample"), turn.real.first.rows)
    part = Part.of(rows, node.name, node.generation, synthetic=True)
    if content_hash(part.schema, part.counts, part.values) != part_note(files.sample_part)["content"]:
        return [Fault(node.name, str(files.sample_part), "sampling again from the model gives other rows")]
    return []
