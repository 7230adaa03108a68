"""One turn of the loop on disk: what a node reads, and where it puts what it makes."""

from __future__ import annotations

import json
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from collapse import loop
from collapse.data import Rows
from collapse.errors import InputError, NodeError, nearest
from collapse.frame import Frame
from collapse.lineage import imported
from collapse.lineage.layout import Files
from collapse.lineage.nodes import Node, all_nodes
from collapse.manifest import MANIFEST, read_manifest, read_pool, training_pool
from collapse.metrics._classifier import Classifier
from collapse.models.base import Parameters
from collapse.parquet import part_note, read_part
from collapse.pool import Pool, RealData
from collapse.rng import Rng
from collapse.storage import file_hash, put
from collapse.study.experiment import Branch, Experiment
from collapse.study.files import read_params
from collapse.study.reading import read_experiment

#: What a node learned, in its folder ``model``.
WEIGHTS = "weights.safetensors"
#: The classifier of real images, in the folder of the reference.
CLASSIFIER = "classifier.safetensors"


@cache
def _read(project: Path, study: str, text: str) -> Experiment:
    """Return a study; kept while this process lives and its file says ``text``."""
    return read_experiment(project, study)


def _text(study: str) -> str:
    path = Path("studies") / f"{study}.yaml"
    return path.read_text(encoding="utf-8") if path.exists() else ""  # an absent one is refused where it is read


@cache
def _frozen(study: str, text: str, manifest: str) -> tuple[Experiment, Rows | None, Frame]:
    """Return study, bank and frame; kept while this process lives and the study and its real node stay the same."""
    loaded = _read(Path.cwd(), study, text)
    files = Files(loaded.real, study)
    reference = read_part(files.reference / "reference.parquet").rows()
    bank = files.bank / "bank.parquet"
    rows = read_part(bank).rows() if bank.exists() else None
    learned = files.reference / CLASSIFIER
    return loaded, rows, loop.freeze(loaded, reference, rows, Classifier.load(learned) if learned.exists() else None)


def frozen(study: str) -> tuple[Experiment, Rows | None, Frame]:
    """Return a study with its bank (None: infinite) and its frame, read once per process."""
    manifest = Files(f"{study}-real", study).pool / MANIFEST
    return _frozen(study, _text(study), file_hash(manifest))


@lru_cache(4)
def _known(project: Path, studies: tuple[tuple[str, str], ...]) -> tuple[dict[str, Experiment], dict[str, Node]]:
    """Return studies by name, and all their nodes; kept as long as their files say the same."""
    found = {study: _read(project, study, text) for study, text in studies}
    return found, all_nodes(found)


def find(name: str) -> tuple[Experiment, Node]:
    """Return a node and its study.

    Raises
    ------
    InputError
        If it is none of the studies in params.yaml; the message offers the nearest name.
    """
    listed = read_params(Path()).studies
    near = [study for study in listed if name.startswith(f"{study}-")] or listed
    studies, known = _known(Path.cwd(), tuple((study, _text(study)) for study in near))
    if name not in known:
        raise InputError(f"'{name}' is not a node of the studies in params.yaml{nearest(name, known)}")
    return studies[known[name].study], known[name]


def verdict(files: Files) -> dict[str, Any]:
    """Return the verdict of a node."""
    return json.loads(files.record("verdict.json").read_text())


class NodeRun:
    """A node while it is being made. Nothing is read before it is asked for."""

    def __init__(self, study: Experiment, node: Node, stage: Path):
        self.study = study
        self.node = node
        self.files = Files.of(node)
        self.parent = Files(node.parent or "", node.study)
        #: A folder of this process's own: outputs are made here and put in place when all are whole.
        self.stage = stage
        self.parameters: Parameters = {}
        self.rows: Rows | None = None
        self.manifest: dict[str, Any] = {}

    @property
    def branch(self) -> Branch:
        """Return the branch that the node lies on."""
        return self.study.branches[self.node.branch or ""]

    @property
    def rng(self) -> Rng:
        """Return the randomness of this generation, the same for every branch."""
        return loop.address(self.study, self.node.generation, self.branch.seed)

    @cached_property
    def frame(self) -> Frame:
        """Return the study's frozen frame."""
        return frozen(self.study.name)[2]

    @cached_property
    def real(self) -> RealData:
        """Return what the regime may see of reality."""
        files = Files(self.study.real, self.study.name)
        first = read_pool(files.pool).parts[0]
        return loop.real_data(self.study, first, frozen(self.study.name)[1])

    @cached_property
    def halted(self) -> dict[str, Any] | None:
        """Return which gate of which node ended this branch, or None."""
        found = verdict(self.parent)
        if found["outcome"] == "halt":
            return {"gate": ", ".join(found["gates"]), "node": found["node"]}
        if found["outcome"] == "quarantine" and not self.pool.parts:
            return {"gate": ", ".join(found["gates"]) + " (quarantine left nothing to train on)", "node": found["node"]}
        return None

    @cached_property
    def pool(self) -> Pool:
        """Return the training set: the parent's pool, without the parent's own sample if that is quarantined."""
        return training_pool(self.parent.pool, verdict(self.parent)["outcome"] == "quarantine")

    @property
    def start(self) -> Parameters | None:
        """Return what the parent learned, where the model is given it; at generation 1 there is nothing to give."""
        if not self.branch.model.inherits or self.parent.node == self.study.real:
            return None
        from safetensors.numpy import load_file

        learned = load_file(self.parent.model / WEIGHTS)
        # the parent's pool, on which this node depends, names its weights: no others are taken up
        if loop.digest(learned) != (said := read_manifest(self.parent.pool)["weights"]):
            raise NodeError(f"{self.parent.model / WEIGHTS}: is not what {self.parent.node} learned ({said[:12]} …); "
                            f"remove it and run 'collapse repro' again")
        return learned

    @cached_property
    def previous(self) -> Rows:
        """Return the parent's raw sample, for d(t, t−1); where the pool has it whole, it is read once for both."""
        path = self.parent.sample_part
        content = part_note(path)["content"]
        same = (part for part in self.pool.parts if part.hashes is not None and part.hashes[0] == content)
        return (next(same, None) or read_part(path)).rows()

    def describe(self) -> dict[str, Any]:
        """Return what the manifest says before any part is known: deterministic, no time, host, path or run."""
        parent = None
        if self.node.parent is not None:
            parent = {"node": self.node.parent, "manifest": file_hash(self.parent.pool / MANIFEST)}
        about = {
            "branch": self.node.branch,
            "fresh": "resampled" if self.study.source.finite else "exact",
            "generation": self.node.generation,
            "node": self.node.name,
            "parent": parent,
            "replicates": self.study.replicates,
            "source": self.study.source.spec(),
            "study": self.study.name,
        }
        if self.study.source.inferred:
            about["schema"] = self.frame.schema.plain()
        if self.node.branch is None:
            brought = imported.of(self.study.source)
            about |= {"provenance": brought} if brought else {}
            return {**about, "real_inputs": list(self.study.source.real_inputs), "rows": self.study.rows,
                    "seed": list(loop.address(self.study, 0).address)}
        branch = self.branch
        return {
            **about,
            "model": {**branch.model.spec(), "digest": branch.model.digest},
            "real_inputs": loop.real_inputs(self.study, branch.regime, branch),
            "regime": {**branch.regime.spec(), **branch.regime.stated(branch.rows)},
            "rows": branch.rows,
            "seed": list(self.rng.address),
            "weights": loop.digest(self.parameters) if self.parameters else None,
        }

    def publish(self, folders: tuple[str, ...]) -> None:
        """Put every staged output in place; the pool comes last, so that a pool means a whole node."""
        for record in sorted(self.stage.glob("records/*")):
            put(record, self.files.record(record.name.removeprefix(f"{self.node.name}.")))
        for name in (*folders, "pool"):
            if (self.stage / name).exists():  # else an attempt before this one moved it
                put(self.stage / name, self.files.folder / name)

    def staged_record(self, ending: str) -> Path:
        """Return where a record is staged."""
        folder = self.stage / "records"
        folder.mkdir(exist_ok=True)
        return folder / f"{self.node.name}.{ending}"


def whole(files: Files) -> bool:
    """Return whether every part of a node's pool lies there as its manifest says."""
    try:
        manifest = read_manifest(files.pool)
        return all(file_hash(files.pool / f"{p['origin']}.parquet") == p["file"] for p in manifest["parts"])
    except (OSError, ValueError, KeyError):
        return False


