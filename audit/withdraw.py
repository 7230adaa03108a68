"""Something was found tainted: what descends from it, a record of it that audits report, and a rebuild without it."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path

from collapse.data import Schema
from collapse.errors import InputError, nearest
from collapse.lineage.layout import DATA, Files
from collapse.lineage.nodes import Node, all_nodes
from collapse.lineage.withdrawal import (
    RECORD,
    Link,
    Search,
    Trace,
    Withdrawal,
    closure,
    copies,
    links,
    own_content,
    read_record,
    render,
    spans,
    spans_text,
)
from collapse.parquet import part_note, stored_content
from collapse.storage import put, staging, write_text
from collapse.study.files import read_params
from collapse.study.parse import Study, parse_study, read_studies


@dataclass(frozen=True)
class Found:
    """A withdrawal and what descends from it now. ``earlier``: it stands in the record already."""

    item: Withdrawal
    place: Node
    study: Study
    nodes: dict[str, Node]
    links: list[Link]
    trace: Trace
    twins: list[str]
    earlier: Withdrawal | None
    excluded: bool


def withdraw(target: str, why: str, rows: str = "all", exclude: bool = False) -> str:
    """Record that a node's sample, a study's source, or rows of a part are withdrawn; return what that means, in words.

    With ``exclude`` the study file says so too, and the next `collapse repro` leaves the sample out of training.

    Raises
    ------
    InputError
        If there is no such data, or it cannot be left out.
    """
    if not why.strip():
        raise InputError("--why: say why it is withdrawn; audits report it")
    record = read_record()
    found = trace(target, " ".join(why.split()), rows, record)
    text = []
    if found.earlier is not None:
        earlier = found.earlier
        text.append(f"{earlier.target} ({_rows(earlier)}) was withdrawn on {earlier.date}: {earlier.why}; now "
                    f"{_count(found.trace.nodes, 'node')} hold it or descend from it")
    else:
        text += [tree(found), "", rebuild(found)]
    if exclude:
        text.append(leave_out(found))
    if found.earlier is None:
        with staging(DATA, "withdraw") as stage:
            write_text(stage / RECORD.name, render([*record, found.item]))
            put(stage / RECORD.name, RECORD)
        text.append(f"{RECORD} has it now: commit it, and 'collapse audit' reports what descends from it.")
    return "\n".join(text)


def trace(target: str, why: str, rows: str, record: list[Withdrawal]) -> Found:
    """Return what descends from ``target``."""
    studies = read_studies(Path(), read_params(Path()))
    nodes = all_nodes(studies)
    place, content, size = _resolve(target, studies, nodes)
    chosen = spans(rows)
    if chosen and chosen[-1][1] >= size:
        raise InputError(f"--rows: {target} has {size} rows, 0 to {size - 1}; {spans_text(chosen)} goes beyond them")
    item = Withdrawal(place.name, content, chosen, why, datetime.date.today().isoformat(), ())
    there = links([node for node in nodes.values() if node.study == place.study], studies)
    found = closure(there, Search(item, nodes))
    item = Withdrawal(item.target, content, chosen, why, item.date, tuple(found.nodes))
    away = {link.name for link in there if link.left_out}
    twins = [] if place.generation == 0 else [
        node.name for node in nodes.values() if node.name not in {place.name, *away} and node.study == place.study
        and node.generation == place.generation and own_content(node) == own_content(place) != ""]
    earlier = next((one for one in record if one.key == item.key), None)
    study = studies[place.study]
    return Found(item, place, study, nodes, there, found, twins, earlier, place.name in study.withdrawn)


def _resolve(target: str, studies: dict[str, Study], nodes: dict[str, Node]) -> tuple[Node, str, int]:
    """Return the node that made the target's rows, the part's content hash, and how many rows it has."""
    if target in studies or target in nodes:
        place = nodes[studies[target].real if target in studies else target]
        files = Files.of(place)
        paths = [p for p in (files.pool / f"{place.name}.parquet", files.sample_part) if p.exists()]
        if not paths:
            raise InputError(f"{files.pool}: has not been made, or is not here; run 'collapse repro' or 'dvc pull'")
        note = part_note(paths[0])
        return place, note["content"], sum(note["counts"])
    path = Path(target)
    if not path.exists():
        raise InputError(f"'{target}' is neither a node nor a study of params.yaml, nor a file"
                         f"{nearest(target, [*studies, *nodes])}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a node, a study, or one Parquet part")
    import numpy as np

    note = part_note(path)
    if note["origin"] not in nodes:
        raise InputError(f"{path}: was made by '{note['origin']}', which is no node of this project"
                         f"{nearest(str(note['origin']), nodes)}")
    if stored_content(path, Schema.parse(note["schema"]), np.array(note["counts"])) != note["content"]:
        raise InputError(f"{path}: its values are not those that were written; see 'collapse audit {path}'")
    place = nodes[note["origin"]]
    if note["content"] not in {part_note(copy)["content"] for copy in copies(place, nodes.values())}:
        raise InputError(f"{path}: is not among the parts of {place.name} that lie here; see 'collapse audit {path}'")
    return place, note["content"], sum(note["counts"])


# ------------------------------------------------------------------------------------------ in words


def tree(found: Found) -> str:
    """Return what descends from the withdrawn rows, a node a line."""
    item, every = found.item, frozenset(range(found.study.replicates))
    what = "the source, all real rows" if found.place.generation == 0 and not item.rows else _rows(item)
    lines = [f"{item.target}, {what}: withdrawn, {item.why}"]
    table = [("node", "model", "rows of its pool", "replicates")]
    for link in found.links:
        replicates = found.trace.replicates(link.name)
        if replicates:
            pool = found.trace.pool(link.name)
            rows, total = sum(sum(r.values()) for r in pool.values()), sum(sum(p.counts) for p in link.parts)
            left = ", left out of training" if link.left_out and link.name == item.target else ""
            table.append((link.name, "descends" if found.trace.models[link.name] else "–",
                          f"{rows:,} of {total:,}{left}",
                          "all" if replicates == every else ", ".join(map(str, sorted(replicates)))))
    if len(table) == 1:
        return f"{lines[0]}\nNo training set that lies here holds it, and no model was trained on it."
    widths = [max(len(row[i]) for row in table) for i in range(4)]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    models = sum(bool(replicates) for replicates in found.trace.models.values())
    lines.append(f"{_count(found.trace.nodes, 'node')} of {len(found.links)} in {found.study.name}: "
                 f"{models} model{'s' * (models != 1)} descend{'s' * (models == 1)} from it.")
    if found.twins:
        lines.append(f"The same rows were made by {', '.join(found.twins)}, since branches share their random numbers: "
                     f"withdraw {'it' if len(found.twins) == 1 else 'them'} too.")
    return "\n".join(lines)


def rebuild(found: Found) -> str:
    """Return what a rebuild without the withdrawn rows would run."""
    own = [node for node in found.nodes.values() if node.study == found.study.name]
    path = found.study.path
    if found.place.generation == 0:
        return (f"Real rows cannot be left out by collapse: take them out of the source's data, then run 'collapse "
                f"plan' and 'collapse repro': all {len(own)} nodes of {found.study.name} are made again.")
    below = descendants(found.place, own)
    if found.excluded and any(link.left_out for link in found.links if link.name == found.place.name):
        return f"It is left out already: {path} has it under withdrawn."
    part = f"Only the whole part of {found.place.name} can be left out. " if found.item.rows else ""
    made = f", and generation@ and check@ of {_names(below)}" if below else ""
    stages = 2 + 2 * len(below)
    rest = len(own) - len(below)
    return (f"{part}Without it, 'collapse repro' runs {stages} stages: check@{found.place.name}{made}, and "
            f"report@{found.study.name}; {rest} of {len(own)} nodes stay untouched.")


def descendants(place: Node, nodes: list[Node]) -> list[str]:
    """Return the nodes below ``place``; ``nodes`` has parents before children."""
    below = {place.name}
    for node in nodes:
        if node.parent in below:
            below.add(node.name)
    return [node.name for node in nodes if node.name in below - {place.name}]


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _rows(item: Withdrawal) -> str:
    return f"rows {spans_text(item.rows)} of part {item.content[:12]}" if item.rows else \
        f"all rows of part {item.content[:12]}"


def _count(names: list[str], noun: str) -> str:
    return f"{len(names)} {noun}{'s' * (len(names) != 1)}"


# ----------------------------------------------------------------------------------------- exclusion


def leave_out(found: Found) -> str:
    """Write the entry under ``withdrawn`` into the study file, which keeps every other byte; return what to do next."""
    name, path = found.place.name, found.study.path
    if found.place.generation == 0:
        raise InputError(f"{name}: real rows cannot be left out by collapse; take them out of the source's data, then "
                         f"run 'collapse plan' and 'collapse repro'")
    if found.excluded:
        return f"{path} has it under withdrawn already."
    text = path.read_text(encoding="utf-8")
    entry = f"{name}: {json.dumps(found.item.why, ensure_ascii=False)}\n"
    text = _with_entry(text, entry, path)
    parse_study(_parsed(text), found.study.name, path)  # before anything is put in place
    with staging(DATA, "withdraw-study") as stage:
        write_text(stage / path.name, text)
        put(stage / path.name, path)
    return f"{path} leaves it out now: run 'collapse plan', then 'collapse repro'."


def _with_entry(text: str, entry: str, path: Path) -> str:
    """Return the study's text with one more entry under ``withdrawn``, which ruamel.yaml finds."""
    from ruamel.yaml import YAML

    held = YAML().load(text).get("withdrawn")
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    if held is None:
        return "".join([*lines, "withdrawn:\n", f"  {entry}"])
    if not held or held.fa.flow_style():
        raise InputError(f"{path}: withdrawn is written in braces; write it one node a line, then run this again")
    line, column = held.lc.line, held.lc.col
    return "".join([*lines[:line], " " * column + entry, *lines[line:]])


def _parsed(text: str) -> dict:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)
