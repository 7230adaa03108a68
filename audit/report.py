"""One dataset's lineage, walked back to real data and verified; and one root hash, signed, for a study."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collapse.errors import InputError, nearest
from collapse.lineage import imported
from collapse.lineage.layout import DATA
from collapse.lineage.merkle import merkle, public_text, read_public, signing_key, verify
from collapse.lineage.nodes import nodes_of
from collapse.lineage.plan import check_current
from collapse.lineage.withdrawal import RECORD, Mark, links, marks, read_record
from collapse.parquet import part_note, stored_content
from collapse.storage import put, staging, write_text
from collapse.study.files import read_params
from collapse.study.parse import read_studies
from collapse_lab.audit.auditor import Auditor
from collapse_lab.audit.visit import Checked, Fault, leaves

SEALS = Path("seals")


@dataclass
class Report:
    """What an audit found: nodes from generation 0 on, faults, and how far they can be trusted."""

    target: str
    nodes: list[Checked]
    faults: list[Fault] = field(default_factory=list)
    authority: str = "self-consistent, unauthenticated"
    root: str = ""
    replayed: list[str] = field(default_factory=list)
    withdrawn: list[Mark] = field(default_factory=list)
    #: The node, where only one was asked for.
    alone: str = ""

    @property
    def sound(self) -> bool:
        """Return whether everything verifies."""
        return not self.faults

    @property
    def tainted(self) -> list[Mark]:
        """Return what descends from something withdrawn, or is it and stands for itself."""
        return [mark for mark in self.withdrawn if not mark.left_out or mark.node == self.alone]

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"target": self.target, "verified": self.sound, "authority": self.authority if self.sound else "",
                "root": self.root, "replayed": self.replayed,
                "faults": [{"node": f.node, "place": f.place, "what": f.what} for f in self.faults],
                "withdrawn": [vars(mark) for mark in self.withdrawn],
                "nodes": [_plain(node) for node in self.nodes]}


def _plain(node: Checked) -> dict[str, Any]:
    made = node.makeup
    return {"node": node.name, "generation": node.generation, "parent": node.parent,
            **({"provenance": node.manifest["provenance"]} if "provenance" in node.manifest else {}),
            "regime": (node.manifest.get("regime") or {}).get("kind", "real"),
            "manifest_sha256": next((v for k, v in node.leaves.items() if k.endswith("_manifest.json")), ""),
            "faults": len(node.faults), "real_inputs": node.manifest.get("real_inputs", []),
            **({} if made is None else {
                "real_rows": made.real, "synthetic_rows": made.synthetic, "real_share": made.real_share,
                "depth_mean": made.depth[0], "depth_max": made.depth[1], "effective_share": made.effective,
                "parts": [{"origin": origin, "rows": rows, "depth_mean": mean, "depth_max": most}
                          for origin, (rows, mean, most) in made.depths.items()]})}


def audit(target: str | None, *, root: str = "", signed_by: str = "", replay: int = 0) -> Report:
    """Verify a node, a file or a study (all studies if left out), and return what was found.

    Raises
    ------
    InputError
        If ``target`` is not from here, its data is absent, or root and key cannot be used.
    """
    if root and not re.fullmatch("[0-9a-fA-F]{64}", root):
        raise InputError(f"--root: '{root[:80]}' is no root: give the 64 hexadecimal digits of 'collapse seal'")
    studies = read_studies(Path(), read_params(Path()))
    check_current(Path(), studies)
    auditor = Auditor(studies)
    faults: list[Fault] = []
    path = Path(target) if target else None
    if path is not None and target not in studies and target not in auditor.nodes and path.exists():
        name, faults = _file(path, auditor)
        names = [name]
    else:
        names = _names(target, studies, auditor)
    way: dict[str, Checked] = {}
    for name in names:
        for checked in auditor.way(name):
            way[checked.name] = checked
    place = {name: i for i, name in enumerate(auditor.nodes)}
    found = sorted(way.values(), key=lambda c: place[c.name])
    report = Report(target or "all studies", found, faults + [f for c in found for f in c.faults])
    report.alone = names[0] if len(names) == 1 else ""
    if record := read_record():
        there = links([auditor.nodes[c.name] for c in found], studies)
        report.withdrawn = marks(record, there, auditor.nodes)
    whole = {auditor.nodes[c.name].study for c in found}
    if len(whole) == 1 and (only := next(iter(whole))) and len(found) == len(nodes_of(studies[only])):
        report.root = merkle(leaves(found))
    if root or signed_by:
        _authenticate(report, next(iter(whole)), root, signed_by, studies, auditor)
    if replay:
        made = [c.name for c in found if c.parent is not None and "halted" not in c.manifest]
        report.replayed = sorted(random.SystemRandom().sample(made, min(replay, len(made))))
        for name in report.replayed:
            report.faults += auditor.replay(name)
    return report


def _names(target: str | None, studies: dict[str, Any], auditor: Auditor) -> list[str]:
    if target is None or target in studies:
        return [name for name, node in auditor.nodes.items() if target in (None, node.study)]
    if target not in auditor.nodes:
        raise InputError(f"'{target}' is neither a node nor a study of params.yaml, nor a file"
                         f"{nearest(target, [*studies, *auditor.nodes])}")
    return [target]


def _file(path: Path, auditor: Auditor) -> tuple[str, list[Fault]]:
    """Return the node that a Parquet file, or the pool in a folder, comes from, and what does not verify about it."""
    if path.is_dir():
        parts = sorted(path.glob("*.parquet"))
        if not parts:
            raise InputError(f"{path}: holds no Parquet part; give a node's pool, a part, or a node's name")
        about = path / "_manifest.json"
        if not about.is_file():
            raise InputError(f"{path}: has no _manifest.json; give one of its parts, or a node's name")
        try:
            node = json.loads(about.read_text(encoding="utf-8"))["node"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{about}: is no manifest of this laboratory") from None
        home = DATA / str(node) / "pool"
        if node not in auditor.nodes:
            raise InputError(f"{path}: comes from '{node}', which is no node of this project"
                             f"{nearest(str(node), auditor.nodes)}")
        wrong = []
        if home.is_dir():
            for file in sorted({p.name for p in path.iterdir()} | {p.name for p in home.iterdir()}):
                there, own = path / file, home / file
                read = auditor.reader.digests
                if not there.exists() or not own.exists() or read(there) != read(own):
                    wrong.append(Fault(node, str(there), f"is not the file of {home}"))
        return node, wrong
    note = part_note(path)
    from collapse.data import Schema

    origin, wrong = note["origin"], []
    if stored_content(path, Schema.parse(note["schema"]), _counts(note)) != note["content"]:
        wrong.append(Fault(origin, str(path), "its values are not those that were written: content hash differs"))
    home = path.parent.parent
    if path.parent.name == "pool" and home.name in auditor.nodes:
        return home.name, wrong
    if origin not in auditor.nodes:
        raise InputError(f"{path}: was made by '{origin}', which is no node of this project"
                         f"{nearest(str(origin), auditor.nodes)}")
    known = _known(origin, auditor)
    if note["content"] not in known:
        wrong.append(Fault(origin, str(path), f"is not among the parts of {origin} that lie here"))
    return origin, wrong


def _known(origin: str, auditor: Auditor) -> set[str]:
    """Return the content hashes of every part of a node that lies in this project."""
    study = auditor.nodes[origin].study
    found = set()
    for name, node in auditor.nodes.items():
        if node.study == study:
            for path in (DATA / name).glob(f"*/{origin}.parquet"):
                found.add(part_note(path)["content"])
    for name in ("bank", "reference"):
        path = DATA / origin / name / f"{name}.parquet"
        if path.exists():
            found.add(part_note(path)["content"])
    return found


def _counts(note: dict[str, Any]) -> Any:
    import numpy as np

    return np.array(note["counts"])


# ----------------------------------------------------------------------------------------------- roots


def seal(study: str, key: Path | None) -> tuple[str, str]:
    """Write the root of a study, signed if a key is given, to seals/STUDY.json; return root and public key.

    Raises
    ------
    InputError
        If the study does not verify: what is wrong is not sealed.
    """
    report = audit(study)
    if report.target not in read_params(Path()).studies:
        raise InputError(f"'{study}' is not a study{nearest(study, read_params(Path()).studies)}")
    if report.faults:
        raise InputError(f"{study} does not verify, and is not sealed: {report.faults[0].line}"
                         f"{f' (and {len(report.faults) - 1} more)' if len(report.faults) > 1 else ''}")
    body = {"study": study, "root": report.root, "nodes": len(report.nodes)}
    public = ""
    if key is not None:
        private = signing_key(key)
        public = public_text(private)
        body |= {"public_key": public, "signature": private.sign(_message(study, report.root)).hex()}
    with staging(DATA, f"seal-{study}") as stage:
        write_text(stage / "seal.json", json.dumps(body, indent=1, sort_keys=True) + "\n")
        put(stage / "seal.json", SEALS / f"{study}.json")
    return report.root, public


def _message(study: str, root: str) -> bytes:
    return f"collapse seal 1\n{study}\n{root}\n".encode()


def _authenticate(report: Report, study: str, root: str, signed_by: str, studies: dict[str, Any],
                  auditor: Auditor) -> None:
    """Compare the study's root with one that is known from elsewhere, or that a key has signed."""
    now = report.root
    if not now:
        whole = [auditor.node(node) for node in nodes_of(studies[study]).values()]
        now = report.root = merkle(leaves(whole))
    if root and root.lower() != now:
        report.faults.append(Fault(study, "--root", f"the root of {study} is {now}, not {root}: something was changed"))
    if signed_by:
        public, path = read_public(signed_by), SEALS / f"{study}.json"
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            sealed, signature = str(body["root"]), str(body["signature"])
        except FileNotFoundError:
            raise InputError(f"{path}: not there; run 'collapse seal {study} --key FILE'") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{path}: holds no signature; run 'collapse seal {study} --key FILE'") from None
        if not verify(public, signature, _message(study, sealed)):
            report.faults.append(Fault(study, str(path), "was not signed by that key"))
        elif sealed != now:
            report.faults.append(Fault(study, str(path), f"the root of {study} is {now}, and {sealed} was signed: "
                                                         f"something was changed"))
    report.authority = "authenticated by " + " and by ".join(
        word for word, used in (("its root", root), ("a signature", signed_by)) if used)


# ------------------------------------------------------------------------------------------------ rows


def rows(path: Path) -> list[dict[str, Any]]:
    """Return for every run of rows of a part which node, model and replicate made it, first to last row.

    Raises
    ------
    InputError
        If the file is not from this laboratory.
    """
    note, start, found = part_note(path), 0, []
    for replicate, count in enumerate(note["counts"]):
        if count:
            found.append({"first": start, "last": start + count - 1, "replicate": replicate, "node": note["origin"],
                          "kind": note["kind"], "generation": note["generation"], "model": note["model"],
                          "study": note["study"]})
        start += count
    return found


# ------------------------------------------------------------------------------------------------ text


def tree(report: Report) -> str:
    """Return the audit as a tree, from the target back to real data."""
    children: dict[str | None, list[Checked]] = {}
    for node in report.nodes:
        children.setdefault(node.parent, []).append(node)
    lines: list[str] = []

    def walk(node: Checked, indent: str, branch: str) -> None:
        lines.append(f"{indent}{branch}{_line(node)}")
        inner = indent + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        lines.extend(f"{inner}   ✕ {fault.line}" for fault in node.faults)
        if brought := node.manifest.get("provenance"):
            lines.append(f"{inner}   {imported.line(brought)}")
        lines.extend(f"{inner}   {mark.line}" for mark in report.withdrawn if mark.node == node.name)
        following = children.get(node.name, [])
        if len(following) == 1:  # a chain stays in its column
            walk(following[0], inner, "")
        else:
            for place, child in enumerate(following):
                walk(child, inner, "└─ " if place == len(following) - 1 else "├─ ")

    for start in children.get(None, []):
        walk(start, "", "")
    others = [fault for fault in report.faults if not any(fault in node.faults for node in report.nodes)]
    lines.extend(f"✕ {fault.line}" for fault in others)
    return "\n".join(lines)


def _line(node: Checked) -> str:
    mark = "✓" if not node.faults else "✕"
    made = node.makeup
    if "halted" in node.manifest:
        return f"{mark} {node.name}  halted by {node.manifest['halted'].get('gate', '')}"
    if made is None or made.real_share is None:
        return f"{mark} {node.name}"
    mean, most = made.depth
    depth = "" if not most else f", depth {mean:.2g} (at most {most})"
    effective = "" if made.effective is None else f", {100 * made.effective:.1f} % of real diversity expected"
    rows = f"{made.real + made.synthetic:,} rows, {100 * made.real_share:.3g} % real"
    return f"{mark} {node.name}  {rows}{depth}{effective}"


def verdict(report: Report) -> str:
    """Return the result in one line."""
    count = f"{len(report.nodes)} node{'s' * (len(report.nodes) != 1)}"
    size = sum(node.bytes for node in report.nodes)
    replayed = f"; trained again and equal: {', '.join(report.replayed)}" if report.replayed and report.sound else ""
    inputs = sorted({text for node in report.nodes for text in node.manifest.get("real_inputs", [])})
    real = f"\nReality also comes in by: {'; '.join(inputs)}." if inputs else ""
    if report.sound:
        root = f"\nroot {report.root}" if report.root else ""
        return f"{count}, {size / 1e6:.3g} MB of parts: {report.authority}{replayed}.{real}{root}{_tainted(report)}"
    faults = f"{len(report.faults)} thing{'s do' if len(report.faults) > 1 else ' does'} not verify"
    return f"{count}: {faults}. First: {report.faults[0].line}{_tainted(report)}"


def _tainted(report: Report) -> str:
    """Return how many nodes descend from something withdrawn, in a line of its own."""
    names = {mark.node for mark in report.tainted}
    return f"\n⚠ withdrawn, or descends from what was: {len(names)} of them; {RECORD} says why" if names else ""
