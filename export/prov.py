"""W3C PROV-JSON: parts, pools and models are entities, the making of a node is an activity, this software the agent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapse import __version__
from collapse.storage import file_hash
from collapse_lab.export import Told

if TYPE_CHECKING:
    from prov.model import ProvDocument

#: What names in a document stand for.
NAMESPACE = "urn:collapse-lab:"


def render(told: Sequence[Told], target: str, out: Path) -> str:
    """Return the provenance of nodes as PROV-JSON."""
    from prov.model import ProvDocument

    document = ProvDocument()
    document.add_namespace("collapse", NAMESPACE)
    document.agent("collapse:software", {"prov:type": document.valid_qualified_name("prov:SoftwareAgent"),
                                         "prov:label": f"collapse {__version__}", "collapse:version": __version__})
    known: set[str] = set()
    for one in told:
        _node(document, one, known)
    return json.dumps(json.loads(document.serialize(format="json")), indent=1, sort_keys=True) + "\n"


def _node(document: ProvDocument, one: Told, known: set[str]) -> None:
    """Add a node: what it used, what it made, and what that was derived from."""
    manifest, name, first = one.manifest, one.node.name, one.node.parent is None
    activity, pool = f"collapse:{'real' if first else 'generation'}@{name}", f"collapse:{name}/pool"
    document.activity(activity, other_attributes=_plain({
        "study": one.node.study, "branch": one.node.branch, "generation": one.node.generation, "regime": one.regime,
        "seed": "/".join(manifest["seed"]), "halted": json.dumps(manifest["halted"]) if one.halted else None}))
    document.association(activity, "collapse:software")
    made = one.makeup
    document.collection(pool, _plain({
        "generation": one.node.generation, "rows": one.rows, "sha256": one.sha256, "study": one.node.study,
        "drawn": manifest["draw"]["rows"] * manifest["replicates"] if "draw" in manifest else None,
        **({} if made is None else {"realShare": made.real_share, "depth": made.depth[0],
                                    "effectiveShare": made.effective})}))
    if first:
        source = f"collapse:source/{manifest['source']['kind']}"
        if source not in known:
            known.add(source)
            document.entity(source, _plain({"specification": json.dumps(manifest["source"], sort_keys=True)}))
    else:
        source = f"collapse:{one.node.parent}/pool"
    document.usage(activity, source)
    document.generation(pool, activity)
    document.derivation(pool, source, activity)
    model = None
    if not first and not one.halted:
        model = f"collapse:{name}/model"
        document.entity(model, _plain({"kind": manifest["model"]["kind"], "contentHash": manifest["weights"],
                                       "specification": json.dumps(manifest["model"], sort_keys=True)}))
        document.generation(model, activity)
        document.derivation(model, source, activity)
    if not one.halted:
        note = one.note
        sample = _part(document, known, {
            "origin": name, "kind": note["kind"], "generation": note["generation"], "rows": sum(note["counts"]),
            "content": note["content"], "file": file_hash(one.files.sample_part)}, activity, model or source)
        if not first:
            document.derivation(pool, sample, activity)
    real = f"collapse:source/{manifest['source']['kind']}"
    for part in one.parts:
        # A part met here first holds some rows of a sample, or fresh ones of the source.
        above = real if part["kind"] == "real" else f"collapse:{part['origin']}/model"
        document.membership(pool, _part(document, known, part, activity, above))


def _part(document: ProvDocument, known: set[str], part: dict[str, Any], activity: str, above: str) -> str:
    """Return the name of a part, which is added when it is met first: made by ``activity`` out of ``above``."""
    name = f"collapse:part/{part['origin']}/{part['content'][:16]}"
    if name not in known:
        known.add(name)
        document.entity(name, _plain({
            "origin": part["origin"], "kind": part["kind"], "generation": part["generation"], "rows": part["rows"],
            "contentHash": part["content"], "sha256": part.get("file")}))
        document.generation(name, activity)
        document.derivation(name, above, activity)
    return name


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return attributes in the namespace of this laboratory, without those that are unknown."""
    return {f"collapse:{key}": value for key, value in values.items() if value is not None}
