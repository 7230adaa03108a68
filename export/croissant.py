"""Croissant 1.1 JSON-LD: a file and a record set for each part, every column's type, and where it all comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapse import __version__
from collapse.data import Column, Schema
from collapse.lineage.merkle import merkle
from collapse.parquet import part_note, stored_name
from collapse.storage import file_hash
from collapse_lab.export import Told
from collapse_lab.export.prov import NAMESPACE

if TYPE_CHECKING:
    import mlcroissant as mlc

#: What Croissant 1.1 adds to the context that the library begins with, and W3C PROV.
CONTEXT = {"arrayShape": "cr:arrayShape", "containedIn": "cr:containedIn", "isArray": "cr:isArray",
           "description": {"@container": "@language"}, "name": {"@container": "@language"},
           "prov": "http://www.w3.org/ns/prov#", "collapse": NAMESPACE}
CITE = f"@software{{collapse, title = {{Collapse: a laboratory for model collapse}}, version = {{{__version__}}}}}"
LICENCE = "unknown: the study states none"
WARNING = ("Whoever trains on rows that models made, generation after generation, loses rare cases first and spread "
           "next, without a sign in the rows themselves. Do not use them as if they were measured.")


def render(told: Sequence[Told], target: str, out: Path) -> str:
    """Return the description of a node's pool, or of every node's fresh sample in a study, as Croissant JSON-LD.

    Part files are named relative to ``out``, with the hash of their bytes.
    """
    import mlcroissant as mlc

    context = mlc.Context(rdf=mlc.Rdf(context={**mlc.Rdf().context, **CONTEXT}),
                          conforms_to="http://mlcommons.org/croissant/1.1")
    nodes = {one.node.name: one for one in told}
    if target in nodes:
        whole = [nodes[target]]
        paths = [nodes[target].files.pool / f"{part['origin']}.parquet" for part in nodes[target].parts]
    else:
        whole = [one for one in told if not one.halted]
        paths = [one.files.sample_part for one in whole]
    notes = {path: part_note(path) for path in paths}
    metadata = mlc.Metadata(
        ctx=context, name=target, cite_as=CITE, license=[LICENCE], **_about(target, whole, list(notes.values())),
        distribution=[_file(context, path, note, nodes, out) for path, note in notes.items()],
        record_sets=[_records(context, path, note, nodes) for path, note in notes.items()])
    return json.dumps(metadata.to_json(), indent=1, ensure_ascii=False) + "\n"


def _about(target: str, whole: Sequence[Told], notes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what is said of the whole: what it is, how it came about, what it must not be used for."""
    study, synthetic = whole[0].study, any(note["kind"] == "synthetic" for note in notes)
    last = whole[-1]
    if target == study.name:
        what = f"The fresh samples of every node of the study {study.name}, generations 0 to {study.generations}"
        version = merkle({one.node.name: one.sha256 for one in whole})
        parents: list[str] = []
    else:
        what = (f"The training set that follows generation {last.node.generation} of the study {study.name}, kept by "
                f"the regime {last.regime}")
        version, parents = last.sha256, [last.node.parent] if last.node.parent else []
    made = last.makeup
    if target != study.name and made is not None and made.real_share is not None:
        what += f": {100 * made.real_share:.3g} % of its rows are real, at most {made.depth[1]} models lie behind a row"
    source = json.dumps(last.manifest["source"], sort_keys=True)
    extra: dict[str, Any] = {
        "rai:hasSyntheticData": synthetic,
        "prov:wasGeneratedBy": {"@id": f"{NAMESPACE}study/{study.name}" if target == study.name else _maker(last)}}
    if parents:
        extra["prov:wasDerivedFrom"] = {"@id": f"{NAMESPACE}{parents[0]}/pool"}
    inputs = sorted({text for one in whole for text in one.manifest["real_inputs"]})
    return {
        "description": f"{what}. Study: {study.title}", "version": f"1.0.0+{version[:16]}",
        "keywords": ["model collapse", "synthetic" if synthetic else "real"], "extra_properties": extra,
        "data_collection": f"Generation 0 is drawn from the source {source}"
                           + (", later ones are sampled from models that were trained on the generation before"
                              if synthetic else "") + (f"; reality also comes in by: {'; '.join(inputs)}" if inputs
                                                       else "") + ".",
        "data_collection_type": ["Synthetic", "Experiments"] if synthetic else ["Experiments"],
        **({"data_biases": ["Rare cases and spread are lost from generation to generation (model collapse)."],
            "data_limitations": [WARNING],
            "machine_annotation_tools": sorted({str(one.model["kind"]) for one in whole if one.model})}
           if synthetic else {}),
        "data_use_cases": ["Studying model collapse"]}


def _maker(one: Told) -> str:
    return f"{NAMESPACE}{'real' if one.node.parent is None else 'generation'}@{one.node.name}"


def _file(context: mlc.Context, path: Path, note: dict[str, Any], nodes: dict[str, Told], out: Path) -> mlc.FileObject:
    import mlcroissant as mlc

    origin = nodes[note["origin"]]
    extra = {"prov:wasGeneratedBy": {"@id": _maker(origin)}, "collapse:kind": note["kind"],
             "collapse:generation": note["generation"]}
    if origin.node.parent is not None:
        extra["prov:wasDerivedFrom"] = {"@id": f"{NAMESPACE}{note['origin']}/model"}
    return mlc.FileObject(
        ctx=context, id=path.name, name=path.name, description=_says(note), sha256=file_hash(path),
        encoding_formats=[mlc.EncodingFormat.PARQUET], content_size=f"{path.stat().st_size} B",
        content_url=Path(os.path.relpath(path, out)).as_posix(), extra_properties=extra)


def _says(note: dict[str, Any]) -> str:
    rows = f"{sum(note['counts'])} rows"
    return f"{rows} of real data" if note["kind"] == "real" else (
        f"{rows} that the model of {note['origin']} made, generation {note['generation']}")


def _records(context: mlc.Context, path: Path, note: dict[str, Any], nodes: dict[str, Told]) -> mlc.RecordSet:
    import mlcroissant as mlc

    columns = Schema.parse(note["schema"]).columns
    fields = [_field(context, path, stored_name(column), *_type(column)) for column in columns]
    # Of a text, what one reads lies beside its tokens.
    fields += [_field(context, path, column.name, mlc.DataType.TEXT, ()) for column in columns if column.kind == "text"]
    if len(note["counts"]) > 1:
        fields.insert(0, _field(context, path, "replicate", mlc.DataType.INT16, ()))
    return mlc.RecordSet(ctx=context, id=path.stem, name=path.stem, description=_says(note), fields=fields)


def _field(context: mlc.Context, path: Path, name: str, kind: Any, shape: tuple[int, ...]) -> mlc.Field:
    import mlcroissant as mlc

    array = {"is_array": True, "array_shape": ",".join(str(size) for size in shape)} if shape else {}
    source = mlc.Source(ctx=context, file_object=path.name, extract=mlc.Extract(ctx=context, column=name))
    return mlc.Field(ctx=context, id=f"{path.stem}/{name}", name=name, data_types=[kind], source=source, **array)


def _type(column: Column) -> tuple[Any, tuple[int, ...]]:
    """Return the type of a column's values at rest, and the shape of an array of them."""
    import mlcroissant as mlc

    if column.kind in ("image", "text"):
        return {"image": mlc.DataType.FLOAT32, "text": mlc.DataType.INT32}[column.kind], column.shape
    kinds = {"integer": mlc.DataType.INT64, "date": mlc.DataType.DATE, "datetime": mlc.DataType.DATETIME,
             "boolean": mlc.DataType.BOOL}
    return kinds.get(column.type, mlc.DataType.FLOAT64 if column.kind == "number" else mlc.DataType.TEXT), ()
