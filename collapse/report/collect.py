"""A study's records, read once: measurements, stages, verdicts, samples, bands and claims."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from collapse import calibration
from collapse import laws as closed_forms
from collapse.claims import attribution
from collapse.claims.answers import Profile
from collapse.claims.definitions import profile
from collapse.claims.grid import JudgedGrid
from collapse.claims.judge import evaluate
from collapse.claims.lead_time import Survey, survey
from collapse.claims.published import Beside
from collapse.claims.records import BandsLike, Records, band_of
from collapse.errors import InputError
from collapse.manifest import trained_rows
from collapse.metrics.base import Fact
from collapse.parquet import read_part
from collapse.pool import Part
from collapse.verdict import BULK, TAILS, role, staged

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COLUMNS = ("node", "branch", "regime", "generation", "replicate", "metric", "feature", "value")
#: Branches are drawn in these colours (Okabe and Ito 2008), control in grey; then again, dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "#7d8590"
FAMILIES = ("tails", "spread", "modes", "drift", "fidelity", "labels", "groups", "fit")


class Place(Protocol):
    """A node of the child → parent map, as :mod:`collapse.lineage` describes it."""

    name: str
    branch: str | None
    generation: int
    parent: str | None


@dataclass(frozen=True)
class NodeView:
    """One node, as the page shows it. ``stage`` is '' for a halted node; ``real_share`` is of its pool's rows."""

    name: str
    branch: str | None
    generation: int
    parent: str | None
    stage: str
    replicates: tuple[str, ...]
    outcome: str
    cause: str
    halted: str
    gates: tuple[dict[str, Any], ...]
    rows: int
    real_share: float | None
    manifest: dict[str, Any]
    manifest_sha256: str
    #: Why its sample was withdrawn; '' if it was not.
    withdrawn: str = ""
    #: How much of its stage, in words and as a share of control's, what it rests on, and what else holds.
    amount: str = ""
    kept: float | None = None
    by: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def left_out(self) -> bool:
        """Return whether its children are trained without its own sample."""
        return self.outcome == "quarantine"


@dataclass(frozen=True)
class BranchView:
    """One branch: how it is drawn and how it went. Generations are None where the stage was not reached."""

    name: str
    regime: dict[str, Any]
    from_: str | None
    at: int
    first: int
    last: int
    colour: str
    dash: str
    nodes: tuple[NodeView, ...]

    @property
    def rule(self) -> str:
        """Return the regime and its settings in words."""
        settings = ", ".join(
            f"{key} {_plain(value)}" for key, value in self.regime.items() if key != "kind" and value is not None)
        return f"{self.regime['kind']} ({settings})" if settings else str(self.regime["kind"])

    @cached_property
    def judged(self) -> tuple[NodeView, ...]:
        """Return the nodes that have a stage."""
        return tuple(node for node in self.nodes if node.stage)

    def reached(self, *stages: str) -> int | None:
        """Return the first generation at one of ``stages``."""
        return next((node.generation for node in self.judged if node.stage in stages), None)

    @property
    def ill(self) -> int | None:
        """Return the first generation that is not healthy."""
        return self.reached("early", "late", "distorted", "drifted")

    @property
    def well_again(self) -> int | None:
        """Return the generation from which a branch that was not healthy is so to its end."""
        bad = [node.generation for node in self.judged if node.stage != "healthy"]
        return next((n.generation for n in self.judged if n.generation > bad[-1]), None) if bad else None

    @property
    def halted(self) -> str:
        """Return which gate at which node halted the branch, or nothing."""
        return next((node.halted for node in self.nodes if node.halted), "")

    @property
    def final(self) -> NodeView | None:
        """Return the last node that was judged."""
        return self.judged[-1] if self.judged else None


@dataclass(frozen=True)
class Collected:
    """All that a page shows. ``curves`` holds one row per (branch, metric, feature, generation)."""

    study: Any
    facts: Mapping[str, Fact]
    table: pd.DataFrame
    curves: pd.DataFrame
    real: NodeView
    branches: tuple[BranchView, ...]
    samples: dict[str, Part]
    floors: dict[str, pd.DataFrame]
    bands: Mapping[str, BandsLike]
    cells: int
    laws: Mapping[tuple[str, str, str], Mapping[int, float]]
    claims: list[dict[str, Any]]
    survey: Survey
    definitions: Profile
    factors: attribution.Attribution | None = None
    ladder: tuple[tuple[attribution.Rung, ...], int] | None = None
    grid: JudgedGrid | None = None
    published: tuple[Beside, ...] = ()

    @cached_property
    def nodes(self) -> dict[str, NodeView]:
        """Return every node by name, generation 0 first."""
        return {n.name: n for n in (self.real, *(n for b in self.branches for n in b.nodes))}

    @cached_property
    def headline(self) -> tuple[str, ...]:
        """Return the metric of the tails and the metric of the spread that stand for the study."""
        whole = _whole(self.table)
        return tuple(next(name for name in names if name in whole) for names in (TAILS, BULK) if whole & set(names))

    @cached_property
    def blind(self) -> dict[str, tuple[str, ...]]:
        """Return by metric of loss the branches in which it cannot leave its band below, which reaches down to 0."""
        names, found = staged(_whole(self.table)), {}
        for name in (n for n in names if role(n, "", "below")):
            bands = {b.name: band_of(self.bands, b.name, name, "", self.study.measured, len(names) * b.last)
                     for b in self.branches}
            found[name] = tuple(branch for branch, band in bands.items() if band is not None and band.low <= 0)
        return {name: branches for name, branches in found.items() if branches}

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """Return every gate's name, in order of appearance."""
        return tuple(dict.fromkeys(gate["gate"] for node in self.nodes.values() for gate in node.gates))

    def final(self, branch: BranchView, metric: str) -> dict[str, float] | None:
        """Return mean, low, high and median of ``metric`` at the branch's last measured generation."""
        c = self.curves
        rows = c[(c.branch == branch.name) & (c.metric == metric) & (c.feature == "") & (c.generation >= branch.first)]
        if rows.empty:
            return None
        return {str(key): value for key, value in rows.sort_values("generation").iloc[-1].to_dict().items()}

    def tails_left(self, branch: BranchView) -> int | None:
        """Return the first generation at which the median of the tails is below its band, whatever else is."""
        metric = next((name for name in self.headline if name in TAILS), None)
        band = metric and self.band(branch.name, metric)
        if not band:
            return branch.reached("early")
        c = self.curves
        rows = c[(c.branch == branch.name) & (c.metric == metric) & (c.feature == "") & (c.generation >= branch.first)]
        out = rows.generation[rows["median"] < band.low]
        return int(out.min()) if len(out) else None

    def band(self, branch: str, metric: str, feature: str = "") -> Any:
        """Return the control band of the median over replicates, or None."""
        return band_of(self.bands, branch, metric, feature, self.study.measured, self.cells)


def collect(study: Any, nodes: Mapping[str, Place], records: Path, bands: Mapping[str, BandsLike] | None = None, *,
            cells: int | None = None, facts: Mapping[str, Fact] | None = None,
            laws: Mapping[tuple[str, str, str], Mapping[int, float]] | None = None) -> Collected:
    """Read the records of ``study``.

    Parameters
    ----------
    study
        The study: name, title, seed, rows, generations, replicates, branches, claims.
    nodes
        The study's nodes by name, parents before children (:func:`collapse.lineage.nodes`).
    records
        The folder ``data/records/STUDY``.
    bands
        By branch, its calibrated bands; by default those of the calibration that lies beside the records.
    cells
        How many looks share the bands' 1 %; by default the generations times the metrics that decide the stage.
    facts
        What each metric means; the built-in metrics by default.
    laws
        By (branch, metric, feature), the value at each generation, for the dashed curves; by default the laws that
        the study claims.

    Raises
    ------
    InputError
        If a node has no record yet.
    """
    if facts is None:
        from collapse.metrics import facts as known

        facts = known()
    own = {name: node for name, node in nodes.items() if name.startswith(f"{study.name}-")}
    regimes = {name: branch.regime.spec() for name, branch in study.branches.items()}
    views, tables, samples = {}, [], {}
    for name, place in own.items():
        view, record = _node(place, records)
        views[name] = view
        regime = regimes[place.branch]["kind"] if place.branch else "real"
        tables.append(({"node": name, "branch": place.branch or "real", "regime": regime}, place.generation, record))
        part = records / f"{name}.samples.parquet"
        if part.exists() and not view.halted:
            samples[name] = read_part(part)
    table = _tidy(tables)
    views = _continued(views)
    branches = _branches(study, regimes, views)
    stages = {b.name: {n.generation: {"node": n.stage, "replicates": n.replicates} for n in b.judged} for b in branches}
    floors = _floors(records)
    if bands is None:
        bands = {name: calibration.Bands(floors[study.floor(name)]) for name in study.branches}
    if cells is None:
        cells = max(1, len(staged(_whole(table))) * study.generations)
    judges = closed_forms.judges(study) | attribution.judges(study)
    claims = evaluate(study.claims, table, stages, bands, cells, judges, facts)
    read = Records(table, stages, bands, cells, facts=facts)
    real = next(view for view in views.values() if view.branch is None)
    floor_of = {name: floors[study.floor(name)] for name in study.branches if study.floor(name) in floors}
    controls = [name for name in study.branches if regimes[name]["kind"] == "control"]
    return Collected(
        study=study, facts=facts, table=table, curves=curves(table, branches), real=real, branches=branches,
        samples=samples, floors=floors, bands=bands, cells=cells,
        laws=closed_forms.curves(study) if laws is None else laws, claims=claims,
        survey=survey(table, floor_of, study.branches, facts, controls, late=study.late),
        definitions=profile(study, table, floors, _coordinates(samples)),
        factors=None if study.factors is None else attribution.factorial_of(study, table),
        ladder=None if study.ladder is None else attribution.ladder_of(study, table),
        grid=None if study.grid is None else study.grid.judge(read),
        published=tuple(item.beside(read) for item in study.published))


# --------------------------------------------------------------------------------------------- nodes


def _node(place: Place, records: Path) -> tuple[NodeView, pa.Table]:
    import pyarrow.parquet as pq

    path = records / f"{place.name}.parquet"
    for needed in (path, records / f"{place.name}.validation.json", records / f"{place.name}.verdict.json"):
        if not needed.exists():
            raise InputError(f"{needed}: missing; run 'collapse repro' so that every node has its records")
    # Not mapped into memory and not read by its dictionary: records are small, and files stay closed behind us.
    record = pq.ParquetFile(path).read()
    note = json.loads(record.schema.metadata[b"collapse"])
    validation = json.loads((records / f"{place.name}.validation.json").read_text(encoding="utf-8"))
    verdict = json.loads((records / f"{place.name}.verdict.json").read_text(encoding="utf-8"))
    manifest = note["manifest"]
    halted = manifest.get("halted")
    parts = manifest.get("parts", [])
    rows = sum(map(trained_rows, parts))
    real = sum(trained_rows(part) for part in parts if part["kind"] == "real")
    stage = {} if halted else validation.get("stage") or {}
    view = NodeView(
        place.name, place.branch, place.generation, place.parent, stage.get("node", ""),
        tuple(stage.get("replicates", ())), verdict["outcome"], verdict.get("node") or "",
        f"{halted['gate']} at {halted['node']}" if halted else "", tuple(validation.get("gates", ())), rows,
        real / rows if rows else None, manifest, note["manifest_sha256"], validation.get("withdrawn", ""),
        stage.get("amount", ""), stage.get("kept"), tuple(stage.get("by", ())), tuple(stage.get("beside", ())))
    return view, record


def _continued(views: dict[str, NodeView]) -> dict[str, NodeView]:
    """Return the nodes with their share of real rows as the record that the data came with has it."""
    start = next(view for view in views.values() if view.branch is None)
    share = start.manifest.get("provenance", {}).get("says", {}).get("real_share", 1.0)
    return {name: replace(view, real_share=None if view.real_share is None else share * view.real_share)
            for name, view in views.items()}


def _tidy(records: Sequence[tuple[dict[str, str], int, pa.Table]]) -> pd.DataFrame:
    """Return all measurements in one order: the same records give the same table.

    Of each node come the texts that all its rows share, its generation, and its record.
    """
    import pandas as pd

    # Millions of rows: texts are told apart once a node, rows are sorted by their codes, and nodes by their names.
    records = sorted((item for item in records if len(item[2])), key=lambda item: item[0]["node"])
    encoded = [{key: table[key].combine_chunks().dictionary_encode() for key in ("metric", "feature")}
               for _, _, table in records]
    found: dict[str, set[str]] = {key: {texts[key] for texts, _, _ in records} for key in ("node", "branch", "regime")}
    found |= {key: set().union(*(column[key].dictionary.to_pylist() for column in encoded)) for key in encoded[0]}
    names = {key: pd.Index(sorted(texts)) for key, texts in found.items()}
    places = {key: {text: place for place, text in enumerate(texts)} for key, texts in names.items()}
    columns: dict[str, list[np.ndarray]] = {key: [] for key in COLUMNS}
    for (texts, generation, table), column in zip(records, encoded, strict=True):
        codes = {key: np.array([places[key][text] for text in items.dictionary.to_pylist()],
                               "int32")[items.indices.to_numpy()] for key, items in column.items()}
        replicate = table["replicate"].to_numpy().astype("int16")
        order = np.lexsort((codes["feature"], codes["metric"], replicate))
        same = {**{key: places[key][text] for key, text in texts.items()}, "generation": generation}
        for key, value in same.items():
            columns[key].append(np.full(len(table), value, "int32"))
        for key, rows in {**codes, "replicate": replicate, "value": table["value"].to_numpy()}.items():
            columns[key].append(rows[order])
    joined = {key: np.concatenate(pieces) for key, pieces in columns.items()}
    return pd.DataFrame({key: pd.Categorical.from_codes(joined[key], names[key]) if key in names else joined[key]
                         for key in COLUMNS}, copy=False)


def _branches(study: Any, regimes: Mapping[str, dict[str, Any]],
              views: Mapping[str, NodeView]) -> tuple[BranchView, ...]:
    found, drawn = [], 0
    for name, branch in study.branches.items():
        colour, dash = GREY, "solid"
        if regimes[name]["kind"] != "control":
            colour, dash = COLOURS[drawn % len(COLOURS)], ("solid", "dash", "dot")[drawn // len(COLOURS) % 3]
            drawn += 1
        nodes = sorted((v for v in views.values() if v.branch == name), key=lambda v: v.generation)
        found.append(BranchView(name, regimes[name], branch.from_, branch.at or 0, branch.first, branch.last, colour,
                                dash, tuple(nodes)))
    return tuple(found)


def _floors(records: Path) -> dict[str, pd.DataFrame]:
    import pandas as pd

    return {path.stem: pd.read_parquet(path) for path in sorted(records.glob("calibration*.parquet"))}


def _coordinates(samples: Mapping[str, Part]) -> int:
    """Return how many numbers a row has, at least one; of studies without samples nothing is known."""
    return max(1, next((part.schema.width for part in samples.values()), 1))


def _whole(table: pd.DataFrame) -> set[str]:
    """Return the metrics that speak of the whole sample."""
    return set(table.metric[table.feature == ""].unique())


# -------------------------------------------------------------------------------------------- curves


def curves(table: pd.DataFrame, branches: Sequence[BranchView]) -> pd.DataFrame:
    """Return mean, median and their 95 % intervals over replicates, by branch, metric, feature and generation.

    ``low`` and ``high`` are of the mean (Student's t), ``lower`` and ``upper`` of the median: exact order statistics,
    the least and the greatest of fewer than six replicates. A branch begins at the point it stems from: generation 0,
    or the point of the branch it left.
    """
    import pandas as pd
    from scipy.special import stdtrit

    keys = ["branch", "metric", "feature", "generation"]
    groups = table.groupby(keys, observed=True).value
    stats = groups.agg(mean="mean", median="median", spread="std", count="count").reset_index()
    ranked = table.sort_values([*keys, "value"], kind="stable", na_position="last").value.to_numpy()
    sizes = groups.size().to_numpy()
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    ends = np.array([ranks(int(n)) for n in range(int(sizes.max(initial=0)) + 1)])[stats["count"]]  # (groups, 2)
    stats["lower"], stats["upper"] = (np.where(stats["count"] > 0, ranked[starts + at], np.nan) for at in ends.T)
    half = stdtrit(np.maximum(stats["count"] - 1, 1), 0.975) * stats.spread / np.sqrt(stats["count"])
    stats = stats.assign(low=stats["mean"] - half, high=stats["mean"] + half).drop(columns="spread")
    pieces = [stats[stats.branch != "real"]]
    for branch in branches:
        stem = stats[(stats.branch == (branch.from_ or "real")) & (stats.generation == branch.first - 1)]
        pieces.append(stem.assign(branch=branch.name))
    return pd.concat(pieces, ignore_index=True).sort_values(keys, kind="stable", ignore_index=True)


def ranks(count: int) -> tuple[int, int]:
    """Return the places of the order statistics that hold the median of ``count`` values in 95 % of cases or more."""
    from scipy.special import bdtr

    inner = [k for k in range(1, count // 2 + 1) if bdtr(k - 1, count, 0.5) <= 0.025]
    k = inner[-1] if inner else 1
    return k - 1, max(count - k, 0)


def _plain(value: Any) -> str:
    if isinstance(value, dict):  # a regime within a regime
        return " ".join(_plain(inner) if key == "regime" else f"{key} {_plain(inner)}" for key, inner in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
