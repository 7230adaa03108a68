"""Generation 0: real data split into reference, bank and first pool."""

from __future__ import annotations

import json

from collapse import loop
from collapse.manifest import MANIFEST, write_pool
from collapse.parquet import write_part
from collapse.pool import Part, Pool
from collapse.storage import file_hash, sync, write_text
from collapse_lab.tasks._work import work
from collapse_lab.tasks.node_run import CLASSIFIER, NodeRun


@work(name="split")
def split(turn: NodeRun) -> None:
    """Read the source, split it, and stage the folders of generation 0."""
    study = turn.study
    parts = loop.split(study.source, study.rows, study.replicates, loop.address(study, 0))
    turn.rows = parts.first
    turn.frame = loop.freeze(study, parts.reference, parts.bank)
    turn.manifest = {**turn.describe(), **({"found": parts.found} if parts.found else {})}
    first = Part.of(parts.first, study.real, 0, synthetic=False)
    sample = turn.stage / "sample"
    sample.mkdir()
    write_part(first, sample / f"{study.real}.parquet", study.name)
    write_pool(Pool.of(first), turn.stage / "pool", turn.manifest, (sample,))
    for name, rows in (("reference", parts.reference), ("bank", parts.bank)):
        folder = turn.stage / name
        folder.mkdir()
        note = {"node": study.real, "rows": rows.n if rows is not None else None, "study": study.name}
        if rows is not None:
            content, file = write_part(Part.of(rows, study.real, 0, synthetic=False), folder / f"{name}.parquet",
                                       study.name)
            note |= {"content": content, "file": file}
        else:
            note |= {"source": study.source.spec(), "fresh": "exact"}
        if name == "reference" and turn.frame.classifier is not None:
            turn.frame.classifier.save(folder / CLASSIFIER)
            sync(folder / CLASSIFIER)
            note["classifier"] = file_hash(folder / CLASSIFIER)
        write_text(folder / MANIFEST, json.dumps(note, indent=1, sort_keys=True) + "\n")
    for name, text in parts.files.items():
        write_text(turn.stage / "bank" / name, text)
