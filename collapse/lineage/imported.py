"""Records that came with data from elsewhere: verified as far as they go, kept in short, and continued.

Three kinds are read, by the standard library alone: a manifest of this laboratory (``_manifest.json``, which names
every part with its hashes), Croissant (JSON-LD; MLCommons 2024), and PROV-JSON (W3C 2013).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from collapse.errors import InputError
from collapse.parquet import FORMAT, part_note, stored_content
from collapse.storage import file_hash

NOTHING = "no hash of this file in the record"
#: Bytes of a record, and characters of a text that is kept from it.
LARGEST, LONGEST = 64 << 20, 200
#: Attributes that hold a hash, by their local name; the last three may hold either kind.
HASHES = ("sha256", "md5", "checksum", "checksumvalue", "digest")
#: XML Schema's types of numbers, which PROV-JSON writes as text.
NUMBERS = ("int", "integer", "long", "short", "decimal", "double", "float")
#: What a record may say of how its data was made, by local name → the key that it is kept by.
LINEAGE = {"realshare": "real_share", "syntheticdepth": "depth", "depth": "depth", "generation": "generation",
           "kind": "kind", "node": "node", "study": "study"}


@dataclass(frozen=True)
class Entry:
    """What a record says of one file: the names it goes by, its hashes by algorithm, and more about it."""

    names: frozenset[str]
    hashes: Mapping[str, str]
    says: Mapping[str, Any]


def of(source: Any) -> dict[str, Any] | None:
    """Return what the record that came with a source vouches for; None of a source without one."""
    return vouch(source.record(), source.locate()) if getattr(source, "provenance", None) else None


def vouch(record: Path, data: Path) -> dict[str, Any]:
    """Hold the record against the file, and return what the manifest of generation 0 keeps of it.

    Returns
    -------
    dict
        ``kind`` (collapse, croissant or prov), ``record`` and ``file``, their SHA-256; ``verified``, by which hashes
        the record knows the file, or that it has none; and ``says``, in short. There ``real_share`` (1.0: all real)
        and ``depth`` (how many models stand between it and reality, at most) are given where the record says so.

    Raises
    ------
    InputError
        If the record is none of the three kinds, or its hash of the file is wrong.
    """
    body = _read(record)
    if _is_manifest(body):
        kind, verified, says = "collapse", *_own(body, record, data)
    elif "@context" in body and _local(body.get("@type")) == "dataset":
        kind, verified, says = "croissant", *_matched(list(_croissant(body)), _about(body), record, data)
    elif isinstance(body.get("entity"), dict) or isinstance(body.get("bundle"), dict):
        kind, verified, says = "prov", *_matched(list(_prov(body)), {}, record, data)
    else:
        raise InputError(f"source.provenance: {record} is neither a _manifest.json of this laboratory, nor Croissant "
                         f"JSON-LD, nor PROV-JSON")
    return {"kind": kind, "record": file_hash(record), "file": file_hash(data), "verified": verified, "says": says}


def line(kept: Mapping[str, Any]) -> str:
    """Return in one line what :func:`vouch` found."""
    says = kept["says"]
    facts = [f"{key.replace('_', ' ')} {value}" for key, value in says.items()
             if isinstance(value, str | int) and not isinstance(value, bool) and key != "depth"]
    if "real_share" in says:
        facts.append(f"{100 * says['real_share']:.3g} % real")
    if says.get("depth"):
        facts.append(f"depth at most {says['depth']:g}")
    how = NOTHING if kept["verified"] == NOTHING else f"verified by its {kept['verified']}"
    return f"brought in with a {kept['kind']} record ({how}): {', '.join(facts) or 'which says no more'}"


def _read(record: Path) -> dict[str, Any]:
    try:
        if record.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST >> 20} MiB")
        body = json.loads(record.read_text(encoding="utf-8-sig"), parse_constant=_no_number)
        if not isinstance(body, dict):
            raise ValueError("not a mapping")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"source.provenance: {record} cannot be read as JSON ({str(error)[:80]})") from None
    return body


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


# --------------------------------------------------------------------------------------- our own


def _is_manifest(body: Mapping[str, Any]) -> bool:
    parts = isinstance(body.get("parts"), list) or {"content", "file"} <= set(body)  # a pool's, or the bank's
    return isinstance(body.get("node"), str) and parts


def _own(body: dict[str, Any], record: Path, data: Path) -> tuple[str, dict[str, Any]]:
    """Find the file among the parts of a manifest, by its bytes or else by its values."""
    if isinstance(body.get("format"), int) and body["format"] > FORMAT:
        raise InputError(f"source.provenance: {record} has format {body['format']}, newer than the {FORMAT} that this "
                         f"version knows; update collapse")
    parts = body.get("parts", [{"origin": body["node"], "kind": "real", "generation": 0, "content": body.get("content"),
                                "file": body.get("file")}])
    if not all(isinstance(p, dict) and {"origin", "kind", "generation", "content", "file"} <= set(p)
               and p["kind"] in ("real", "synthetic") and isinstance(p["generation"], int) for p in parts):
        raise InputError(f"source.provenance: {record} has parts that no manifest has; take the one that came with "
                         f"the data")
    digest, content = file_hash(data), _content(data)
    found = next((p for p in parts if p["file"] == digest), None)
    verified = "sha256" if found else "content hash"
    if found and content is not None:
        if content != found["content"]:
            raise InputError(f"source.provenance: {data} holds other values than {record} says (content hash)")
        verified = "sha256 and content hash"
    found = found or next((p for p in parts if content is not None and p["content"] == content), None)
    if found is None:
        raise _wrong(record, data, digest)
    before = body.get("provenance")
    base = before["says"] if isinstance(before, dict) and isinstance(before.get("says"), dict) else {}
    says = {"node": str(body["node"]), "study": str(body.get("study", "")), "made_by": str(found["origin"]),
            "generation": found["generation"],
            "real_share": float(base.get("real_share", 1.0)) if found["kind"] == "real" else 0.0,
            "depth": found["generation"] + base.get("depth", 0)}
    if isinstance(before, dict):
        says["before"] = before
    return verified, says


def _content(data: Path) -> str | None:
    """Return the content hash of a part of this laboratory, from its values; None of another file."""
    import numpy as np

    from collapse.data import Schema

    try:
        note = part_note(data)
        return stored_content(data, Schema.parse(note["schema"]), np.array(note["counts"]))
    except (InputError, KeyError, TypeError, ValueError):
        return None


def _wrong(record: Path, data: Path, digest: str) -> InputError:
    return InputError(f"source.provenance: {data} is not the file that {record} names (its sha256 is {digest[:16]}…): "
                      f"one of the two was changed; take both from where they came")


# ----------------------------------------------------------------------------------------- others'


def _matched(entries: list[Entry], about: dict[str, Any], record: Path, data: Path) -> tuple[str, dict[str, Any]]:
    """Find the file among the entries by its hash; an entry that names it with another hash is refused."""
    with open(data, "rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    own = {"sha256": file_hash(data), "md5": md5}
    named = [entry for entry in entries if data.name in entry.names]
    found = next((e for e in (*named, *entries) if any(own[k] == v for k, v in e.hashes.items())), None)
    if any(own[k] != v for entry in named for k, v in entry.hashes.items()):
        raise _wrong(record, data, own["sha256"])
    right = [] if found is None else sorted((k for k, v in found.hashes.items() if own[k] == v), reverse=True)
    verified = " and ".join(right) or NOTHING
    chosen = found or next(iter(named), None)
    says = about | (dict(chosen.says) if chosen else {})
    share, depth = says.get("real_share"), says.get("depth", says.get("generation"))
    for key in ("real_share", "depth"):
        says.pop(key, None)
    if share is None:
        share = {"real": 1.0, "synthetic": 0.0}.get(str(says.get("kind")))
    if depth is None and says.get("kind") == "real":
        depth = 0  # a zero is what some writers leave out
    if isinstance(share, int | float) and 0 <= share <= 1:
        says["real_share"] = float(share)
    if isinstance(depth, int | float) and 0 <= depth < float("inf"):
        says["depth"] = depth
    return verified, says


def _local(name: Any) -> str:
    """Return a name without its prefix or namespace, in lower case, bare of - and _."""
    text = name[0] if isinstance(name, list) and name else name
    return str(text).replace("#", ":").replace("/", ":").rsplit(":", 1)[-1].lower().replace("-", "").replace("_", "")


def _scalars(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a JSON object by local name; PROV's typed values and single lists are unwrapped."""
    found: dict[str, Any] = {}
    for key, value in body.items():
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            typed = str(value.get("type", "")).rpartition(":")[2] in NUMBERS
            value = value.get("$", value.get("@value", value.get("name", value.get("@id"))))
            value = _number(value) if typed else value
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            found.setdefault(_local(key), value[:LONGEST] if isinstance(value, str) else value)
    return found


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _hashes(plain: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in HASHES:
        text = str(plain.get(key, "")).lower().removeprefix("sha256:").removeprefix("md5:")
        if len(text) in (64, 32) and set(text) <= set("0123456789abcdef"):
            found.setdefault("sha256" if len(text) == 64 else "md5", text)
    return found


def _lineage(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {kept: plain[key] for key, kept in LINEAGE.items() if key in plain}


def _file_name(text: Any) -> str:
    return PurePosixPath(unquote(urlsplit(str(text)).path)).name


def _about(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a Croissant record says of the data set."""
    plain = _scalars(body)
    kept = ("name", "version", "license", "url", "creator", "datepublished")
    mixed = any(_local(key) == "hassyntheticdata" and value is True for key, value in body.items())
    return {key: str(plain[key]) for key in kept if key in plain} | _lineage(plain) | (
        {"synthetic": "some of the data set, it does not say how much"} if mixed and "realshare" not in plain else {})


def _croissant(body: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the files of a Croissant record."""
    for key, files in body.items():
        if _local(key) == "distribution":
            for item in files if isinstance(files, list) else [files]:
                if isinstance(item, dict):
                    plain = _scalars(item)
                    names = {_file_name(plain.get(k, "")) for k in ("contenturl", "name", "@id")}
                    yield Entry(frozenset(names - {""}), _hashes(plain), _lineage(plain))


def _prov(body: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entities of a PROV record, those of its bundles too, with what is said of where they came from."""
    relations = {"wasGeneratedBy": ("entity", "activity", "generated_by"),
                 "wasAttributedTo": ("entity", "agent", "attributed_to"),
                 "wasDerivedFrom": ("generatedentity", "usedentity", "derived_from")}
    said: dict[str, dict[str, Any]] = {}
    for relation, (subject, thing, kept) in relations.items():
        for items in _mapping(body.get(relation)).values():
            for item in items if isinstance(items, list) else [items]:
                plain = _scalars(item) if isinstance(item, dict) else {}
                if subject in plain and thing in plain:
                    said.setdefault(str(plain[subject]), {}).setdefault(kept, str(plain[thing]))
    for name, items in _mapping(body.get("entity")).items():
        for item in items if isinstance(items, list) else [items]:
            plain = _scalars(item) if isinstance(item, dict) else {}
            names = {_file_name(str(name).rsplit(":", 1)[-1]),
                     *(_file_name(plain.get(k, "")) for k in ("label", "location", "atlocation"))}
            yield Entry(frozenset(names - {""}), _hashes(plain),
                        {"entity": str(name)[:LONGEST], **_lineage(plain), **said.get(str(name), {})})
    for bundle in _mapping(body.get("bundle")).values():
        if isinstance(bundle, dict):
            yield from _prov(bundle)
