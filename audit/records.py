"""A node's records held against each other: measurements, medians, verdict, and rows to show."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from collapse.manifest import MANIFEST
from collapse.parquet import content_hash, head, part_note, write_part
from collapse.pool import Part
from collapse_lab.audit import gates
from collapse_lab.audit.visit import RECORD, Visit, written
from collapse_lab.tasks.expectations.verdict import outcome
from collapse_lab.tasks.judging import inherited, judge
from collapse_lab.tasks.records import SHOWN, medians

#: A sample of more bytes is not judged again: that takes all its rows at once.
JUDGED = 64 << 20


def agree(visit: Visit) -> None:
    """Verify that the measurements carry this manifest, and what was made from them."""
    import pyarrow.parquet as pq

    files, checked, fault = visit.files, visit.checked, visit.fault
    path = files.record("parquet")
    _judged(visit)
    try:
        note = json.loads((pq.read_schema(path).metadata or {})[b"collapse"])
    except Exception as error:
        fault(path, f"cannot be read ({(str(error).splitlines() or ['damaged'])[0][:100]})")
        return
    if note.get("manifest_sha256") != visit.reader.digests(files.pool / MANIFEST)[0]:
        fault(path, "was measured of another manifest than the one that lies there")
    for ending in RECORD:
        record = files.record(ending)
        if record.is_file():
            checked.leaves[str(record)] = visit.reader.digests(record)[0]
        else:
            fault(record, "is missing")


def _judged(visit: Visit) -> None:
    """Verify what can be computed again from the measurements and the sample: medians, verdict, rows to show."""
    import pyarrow.parquet as pq

    turn, files, manifest, fault = visit.turn, visit.files, visit.manifest, visit.fault
    told: dict[str, Any] = {}
    for ending in ("json", "validation.json", "verdict.json"):
        path = files.record(ending)
        try:
            text = path.read_text(encoding="utf-8")
            told[ending] = json.loads(text)
        except (OSError, ValueError) as error:
            fault(path, "is missing" if not path.exists() else f"cannot be read ({str(error)[:100]})")
            continue
        if text != written(told[ending]):
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
            true = [json.loads(written(body)) for body in
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
        elif problem := _other_than_shown(visit, path):
            fault(path, problem)

    for check, ending in ((held, "parquet"), (judged, "validation.json"), (shown, "samples.parquet")):
        try:
            check()
        except Exception as error:  # Arrow raises many kinds for a damaged file, and an edited one may say anything
            text = (str(error).splitlines() or [type(error).__name__])[0]
            fault(files.record(ending), f"cannot be held against the other records ({text[:100]})")


def _other_than_shown(visit: Visit, path: Path) -> str:
    """Return how the rows that the page shows differ from the first ones of the sample; '' if they do not."""
    import pyarrow.parquet as pq

    files, manifest = visit.files, visit.manifest
    first = head(files.sample_part, SHOWN)
    again = Part.of(first, files.node, manifest["generation"], manifest["branch"] is not None)
    content = content_hash(again.schema, again.counts, again.values)
    if visit.reader.content(path, part_note(path)) != content:
        return f"does not hold the first {first.n} rows of the sample"
    writers = [pq.read_metadata(file).created_by for file in (path, files.sample_part)]
    with tempfile.TemporaryDirectory() as folder:
        write_part(again, Path(folder) / "again", str(manifest["study"]))
        ours = pq.read_metadata(Path(folder) / "again").created_by
        equal = (Path(folder) / "again").read_bytes() == path.read_bytes()
    # Another version of the library may write equal rows in other bytes.
    return "" if equal or (writers[0] == writers[1] != ours) else "is not as this laboratory writes it: edited"
