"""OpenLineage events, built from manifests and records: what a stage read, what it made, and what was asserted of it.

A job is a stage of dvc.yaml (``generation@digits-replace-03``), a dataset a node's folder (``digits-replace-03/pool``),
both in the namespace ``collapse``: no host and no path of this machine. Importing this module imports the client.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attr
from openlineage.client import event_v2 as ol
from openlineage.client import facet_v2 as facets
from openlineage.client.serde import Serde

from collapse import __version__
from collapse.lineage.layout import REPORTS, Files
from collapse.lineage.merkle import merkle
from collapse.lineage.nodes import Node, nodes_of
from collapse.manifest import MANIFEST, read_manifest, trained_rows
from collapse.storage import file_hash
from collapse.study.parse import Study, read_study
from collapse_lab.tasks.calibrate import find as calibration
from collapse_lab.tasks.node_run import find

NAMESPACE = "collapse"
#: Who says so: a URI that names this version.
PRODUCER = f"urn:collapse-lab:{__version__}"
#: The job that is the parent of every stage of one `collapse repro`.
REPRO = "repro"
Sets = tuple[list[ol.InputDataset], list[ol.OutputDataset]]


@attr.define
class CollapseProvenance(facets.DatasetFacet):
    """Our own facet: what a dataset is made of.

    ``realShare`` is the share of real rows (1.0: all); ``contentHash`` covers values, not file bytes: of a part its
    content hash, of a pool the Merkle root of its parts' hashes by origin, of a model the digest of its weights.
    """

    node: str
    study: str
    branch: str | None
    generation: int
    regime: dict[str, Any] | None
    realShare: float | None
    contentHash: str | None
    replicates: int
    realInputs: list[str]
    halted: dict[str, Any] | None = None

    @staticmethod
    def _get_schema() -> str:
        return "urn:collapse-lab:facets:provenance:1"


def event(state: str, stage: str, run: str, time: str, sets: Sets = ((), ()), *,  # type: ignore[assignment]
          parent: tuple[str, str] | None = None, error: str = "") -> ol.RunEvent:
    """Return one event of a stage's run.

    Parameters
    ----------
    state
        START, COMPLETE, FAIL or ABORT.
    run, time
        A UUID, and an ISO 8601 time.
    sets
        What the stage reads and makes: :func:`datasets`.
    parent
        Run and job that this run belongs to.
    error
        One line: why it failed.
    """
    about: dict[str, Any] = {"processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet(
        version=__version__, name="collapse", producer=PRODUCER)}
    if parent is not None:
        above = facets.parent_run
        about["parent"] = above.ParentRunFacet(run=above.Run(runId=parent[0]), producer=PRODUCER,
                                               job=above.Job(namespace=NAMESPACE, name=parent[1]))
    if error:
        about["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(
            message=error, programmingLanguage="python", producer=PRODUCER)
    kind = facets.job_type_job.JobTypeJobFacet(processingType="BATCH", integration="COLLAPSE",
                                               jobType="DAG" if stage == REPRO else "TASK", producer=PRODUCER)
    return ol.RunEvent(eventType=ol.RunState(state), eventTime=time, producer=PRODUCER,
                       run=ol.Run(runId=run, facets=about), inputs=list(sets[0]), outputs=list(sets[1]),
                       job=ol.Job(namespace=NAMESPACE, name=stage, facets={"jobType": kind}))


def line(told: ol.RunEvent) -> str:
    """Return an event as one line of JSON."""
    return Serde.to_json(told)


# ------------------------------------------------------------------------------------ what stages read and make


@dataclass(frozen=True)
class Place:
    """Where a stage stands: its study, its node (None: it has none) and its branch."""

    study: Study
    node: Node | None
    branch: str | None

    @property
    def files(self) -> Files:
        """Return the files of the stage's node, or else of generation 0."""
        return Files(self.node.name if self.node else self.study.real, self.study.name)


def place(stage: str) -> Place:
    """Return where a stage stands.

    Raises
    ------
    InputError
        If there is no such stage.
    """
    kind, _, key = stage.partition("@")
    if kind == "report":
        return Place(read_study(Path(), key), None, None)
    if kind == "calibrate":
        study, branch = calibration(key)
        return Place(study, None, branch)
    study, node = find(key)
    return Place(study, node, node.branch)


def datasets(stage: str, at: Place, *, made: bool) -> Sets:
    """Return what a stage reads and makes; with what is known of it (rows, schema, metrics …) once it is ``made``.

    Raises
    ------
    OSError, ValueError, KeyError
        If what should be there is not.
    """
    return {"real": _real, "generation": _generation, "check": _check, "calibrate": _calibrate, "report": _report}[
        stage.partition("@")[0]](at, made)


def _real(at: Place, made: bool) -> Sets:
    study = at.study
    files, source = at.files, [_input(_source(study))]
    outputs = [_pool(files, ["source"], made), _sample(files, made), _rows(files.reference / "reference.parquet", made)]
    if study.source.finite:
        outputs.append(_rows(files.bank / "bank.parquet", made))
    return source, outputs


def _generation(at: Place, made: bool) -> Sets:
    study, files, parent = at.study, at.files, at.node.parent if at.node else None
    regime = study.branches[at.branch or ""].regime
    sources = [f"{parent}/pool"]
    if type(regime).fresh:
        sources.append(_bank(study))
    elif hasattr(regime, "real") and parent != study.real:
        sources.append(f"{study.real}/pool")
    above = _versioned(Files(parent or "", study.name).pool / MANIFEST) if made else {}
    inputs = [_input(sources[0], above), *(_input(name) for name in sources[1:])]
    return inputs, [_pool(files, sources, made), _sample(files, made), _model(files, made)]


def _check(at: Place, made: bool) -> Sets:
    sample = _input(f"{at.files.node}/sample")
    if made:
        sample.inputFacets = {"dataQualityAssertions": _assertions(at.files.record("validation.json"))}
    return [sample, _input(f"{at.study.name}/{at.study.floor(at.branch)}")], []


def _calibrate(at: Place, made: bool) -> Sets:
    study, floor = at.study, at.study.floor(at.branch)
    known = _file_facets([at.files.calibration(floor)]) if made else ({}, {})
    return [_input(_bank(study)), _input(f"{study.real}/reference")], [_output(f"{study.name}/{floor}", *known)]


def _report(at: Place, made: bool) -> Sets:
    study = at.study.name
    page = {"version": _version(file_hash(REPORTS / study / "summary.json"))} if made else {}
    return [_input(f"{node}/sample") for node in nodes_of(at.study)], [_output(f"{study}/report", page)]


# ------------------------------------------------------------------------------------------------ datasets


def _input(name: str, about: dict[str, Any] | None = None) -> ol.InputDataset:
    return ol.InputDataset(NAMESPACE, name, facets=about or {})


def _output(name: str, about: dict[str, Any] | None = None, counts: dict[str, Any] | None = None) -> ol.OutputDataset:
    return ol.OutputDataset(NAMESPACE, name, facets=about or {}, outputFacets=counts or {})


def _source(study: Study) -> str:
    return f"source/{study.source.kind}"


def _bank(study: Study) -> str:
    """Return where fresh real rows come from: the bank, or an infinite source itself."""
    return f"{study.real}/bank" if study.source.finite else _source(study)


def _pool(files: Files, sources: Sequence[str], made: bool) -> ol.OutputDataset:
    name = f"{files.node}/pool"
    if not made:
        return _output(name)
    manifest = read_manifest(files.pool)
    parts = manifest["parts"]
    about, counts = _file_facets([files.pool / f"{part['origin']}.parquet" for part in parts])
    real = sum(trained_rows(part) for part in parts if part["kind"] == "real")
    rows = sum(map(trained_rows, parts))
    root = merkle({part["origin"]: part["content"] for part in parts}) if parts else None
    about |= _versioned(files.pool / MANIFEST)
    about |= {"collapse_provenance": _provenance(manifest, real / rows if rows else None, root)}
    if manifest["parent"] is not None:
        about["lineage"] = facets.lineage.LineageDatasetFacet(producer=PRODUCER, inputs=[
            facets.lineage.LineageDatasetInput(NAMESPACE, name, "DATASET") for name in sources])
    return _output(name, about, counts)


def _sample(files: Files, made: bool) -> ol.OutputDataset:
    name, path = f"{files.node}/sample", files.sample_part
    if not made or not path.exists():  # a halted node has none
        return _output(name)
    import pyarrow.parquet as pq

    manifest = read_manifest(files.pool)
    about, counts = _file_facets([path])
    found = pq.read_metadata(path)
    content = json.loads(found.metadata[b"collapse"])["content"]
    metrics = json.loads(files.record("json").read_text(encoding="utf-8"))
    quality = facets.data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(
        rowCount=found.num_rows, bytes=path.stat().st_size, fileCount=1, columnMetrics=_columns(found),
        producer=PRODUCER)
    about |= {
        "version": _version(content),
        "collapse_provenance": _provenance(manifest, 1.0 if manifest["parent"] is None else 0.0, content),
        "dataQualityMetrics": quality.with_additional_properties(collapseMetrics=metrics),
    }
    return _output(name, about, counts)


def _model(files: Files, made: bool) -> ol.OutputDataset:
    name = f"{files.node}/model"
    if not made:
        return _output(name)
    manifest = read_manifest(files.pool)
    about = {
        "datasetType": facets.dataset_type_dataset.DatasetTypeDatasetFacet(
            datasetType="MODEL", subType=(manifest["model"] or {}).get("kind"), producer=PRODUCER),
        "collapse_provenance": _provenance(manifest, None, manifest["weights"]),
    }
    if manifest["weights"]:
        about["version"] = _version(manifest["weights"])
    return _output(name, about)


def _rows(path: Path, made: bool) -> ol.OutputDataset:
    name = f"{path.parent.parent.name}/{path.stem}"
    return _output(name, *_file_facets([path])) if made else _output(name)


def _provenance(manifest: dict[str, Any], share: float | None, content: str | None) -> CollapseProvenance:
    return CollapseProvenance(
        node=manifest["node"], study=manifest["study"], branch=manifest["branch"], generation=manifest["generation"],
        regime=manifest.get("regime"), realShare=share, contentHash=content, replicates=manifest["replicates"],
        realInputs=manifest["real_inputs"], halted=manifest.get("halted"), producer=PRODUCER)


def _file_facets(paths: Sequence[Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of Parquet files, and how many rows and bytes they hold; nothing is read but their ends."""
    import pyarrow.parquet as pq

    counts = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    ends = [pq.read_metadata(path) for path in paths]
    known = {"outputStatistics": counts(rowCount=sum(end.num_rows for end in ends), fileCount=len(paths),
                                        size=sum(path.stat().st_size for path in paths), producer=PRODUCER)}
    about: dict[str, Any] = {"storage": facets.storage_dataset.StorageDatasetFacet(
        storageLayer="file", fileFormat="parquet", producer=PRODUCER)}
    if ends:
        schema = facets.schema_dataset
        about["schema"] = schema.SchemaDatasetFacet(producer=PRODUCER, fields=[
            schema.SchemaDatasetFacetFields(name=column.name, type=_type(column.type), ordinal_position=place)
            for place, column in enumerate(ends[0].schema.to_arrow_schema(), 1)])
    return about, known


def _type(kind: Any) -> str:
    """Return an Arrow type in words, of a dictionary that of its values."""
    import pyarrow as pa

    return f"category of {kind.value_type}" if pa.types.is_dictionary(kind) else str(kind)


def _columns(found: Any) -> dict[str, Any]:
    """Return what a Parquet file's own statistics say of its flat columns."""
    column = facets.data_quality_metrics_dataset.ColumnMetrics
    known = {}
    for place in range(found.num_columns):
        name = found.schema.column(place).path
        every = [found.row_group(group).column(place).statistics for group in range(found.num_row_groups)]
        if "." in name or not every or not all(every):
            continue
        ends = [one for one in every if one.has_min_max and isinstance(one.min, int | float)]
        known[name] = column(
            nullCount=sum(one.null_count for one in every) if all(one.has_null_count for one in every) else None,
            count=float(sum(one.num_values for one in every)),
            min=float(min(one.min for one in ends)) if ends else None,
            max=float(max(one.max for one in ends)) if ends else None)
    return known


def _versioned(path: Path) -> dict[str, Any]:
    return {"version": _version(file_hash(path))}


def _version(text: str) -> Any:
    return facets.dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=text, producer=PRODUCER)


def _assertions(validation: Path) -> Any:
    """Return the gates of a node as assertions; a gate that only records is a warning."""
    quality = facets.data_quality_assertions_dataset
    found = json.loads(validation.read_text(encoding="utf-8"))

    def text(value: Any) -> str | None:
        return None if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)

    return quality.DataQualityAssertionsDatasetFacet(producer=PRODUCER, assertions=[
        quality.Assertion(assertion=gate["expectation"], success=gate["success"], name=gate["gate"],
                          severity="warn" if gate["action"] == "record" else "error", description=gate["description"],
                          expected=f"{text(gate['min']) or '-inf'} to {text(gate['max']) or 'inf'}",
                          actual=text(gate["observed"]), params={"action": gate["action"]})
        for gate in found["gates"]])
