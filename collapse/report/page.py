"""One study's page: a single HTML file that opens offline, and the tables and summaries beside it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from collapse import verdict
from collapse.claims.answers import DEFINITIONS
from collapse.report import drawing, phase, pictures, result, tables, texts
from collapse.report.collect import COLUMNS, Collected, NodeView
from collapse.report.curves import curves
from collapse.report.finding import STAGES, finding, question
from collapse.report.numbers import number, percent, span
from collapse.report.opening import opening
from collapse.storage import write_text
from collapse.verdict import SHOWN, within

#: What each word of a gate's action does.
ACTIONS = {"record": "recorded", "halt": "halts the branch", "quarantine": "leaves the sample out"}


def render(collected: Collected) -> str:
    """Return the page. It asks for nothing over the network, and equal records give equal bytes."""
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, span=span, percent=percent, share=verdict.percent, shown=SHOWN.get,
                               tight=lambda text: text.replace(" %", "\u00a0%").replace(" ×", "\u00a0×"))
    template = environment.from_string(asset("page.html"))
    phases = phase.diagrams(collected) if collected.study.sweeps else []
    drawn = {"phases": phases, "stages": [SHOWN[name] for name in phase.STAGES]} if phases else {}
    opened, strips = opening(collected), _strips(collected)
    return template.render(
        c=collected, study=collected.study, opening=opened, strip_of={s["branch"].name: s["cells"] for s in strips},
        question=question(collected), finding=finding(collected),
        summary=[result.outcome(collected, branch) for branch in collected.branches], headline=collected.headline,
        definitions=DEFINITIONS, measures=_measures(collected), marks=result.MARKS, few=result.FEW,
        stages=STAGES, strips=strips, columns=_columns(collected), albums=pictures.albums(collected),
        marginals=tables.marginals(collected), groups=tables.group_maps(collected), least=tables.LEAST_ROWS,
        texts=texts.figures(collected), tokens=texts.budget(collected),
        gates=_gates(collected), lines=_lines(collected), drawing=Markup(drawing.lineage(collected)),
        about=_about(collected),
        legend=collected.branches, safe=Markup, tally=result.tally(collected),
        data=Markup(_script({**curves(collected), **drawn})), phases=phases,
        css=Markup(asset("page.css")),
        js=Markup(asset("page.js") + (asset("phase.js") if phases else "")), plotly=Markup(get_plotlyjs()))


def write(collected: Collected, folder: Path) -> None:
    """Write index.html, metrics.parquet, summary.json and claims.json as new files in ``folder``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "index.html", render(collected))
    write_text(folder / "summary.json", _json(result.summary(collected)))
    write_text(folder / "claims.json", _json(collected.claims))
    plain = collected.table[list(COLUMNS)]
    texts = [key for key in COLUMNS if plain[key].dtype == "category"]
    table = pa.Table.from_pandas(plain, preserve_index=False).replace_schema_metadata(None)
    for key in texts:
        place = table.schema.get_field_index(key)
        table = table.set_column(place, key, table.column(key).cast(pa.string()))
    pq.write_table(table, folder / "metrics.parquet", compression="zstd")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _script(value: Any) -> str:
    """Return JSON that cannot end the script element that holds it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def asset(name: str) -> str:
    """Return the text of a file that lies beside this code."""
    return files("collapse.report").joinpath(name).read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------------- tables


def _measures(collected: Collected) -> dict[str, str]:
    """Return which metrics each definition rests on."""
    answers = collected.definitions.answers.values()
    return {key: ", ".join(dict.fromkeys(a[key].metric or "" for a in answers if a[key].metric)) for key in DEFINITIONS}


def _columns(collected: Collected) -> list[int]:
    return list(range(1, max(branch.last for branch in collected.branches) + 1))


def _strips(collected: Collected) -> list[dict[str, Any]]:
    """Return the heat strip: per branch, one cell per generation, None where the branch has no node."""
    strips = []
    for branch in collected.branches:
        nodes = {node.generation: node for node in branch.nodes}
        cells = [_cell(nodes[g]) if g in nodes else None for g in _columns(collected)]
        strips.append({"branch": branch, "cells": cells})
    return strips


def _cell(node: NodeView) -> dict[str, Any]:
    stage = node.stage or "halted"
    counts = [(name, node.replicates.count(name)) for name in STAGES]
    shares = [{"stage": name, "percent": round(100 * n / len(node.replicates), 2)} for name, n in counts if n]
    words = ", ".join(f"{n} {within(name)}" for name, n in counts if n)
    title = drawing.describe(node) + (f". Replicates: {words}" if words else "")
    return {"stage": stage, "letter": {"healthy": "", "halted": "×"}.get(stage, stage[0].upper()), "title": title,
            "shares": shares, "words": SHOWN[stage] + (f" ({words})" if words else "")}


def _gates(collected: Collected) -> list[dict[str, Any]]:
    """Return the matrix of gates: per gate, and branch, the outcome at every generation."""
    rows = []
    for gate in collected.gates:
        cells, sample = [], None
        for branch in collected.branches:
            marks = []
            for node in branch.nodes:
                found = next((g for g in node.gates if g["gate"] == gate), None)
                sample = sample or found
                if found is not None and not node.halted:
                    marks.append(_gate_mark(node, found))
            cells.append({"branch": branch, "marks": marks, "failed": sum(not m["success"] for m in marks),
                          "first": next((m for m in marks if not m["success"]), None)})
        found = sample or next(g for g in collected.real.gates if g["gate"] == gate)
        real = next((g for g in collected.real.gates if g["gate"] == gate), None)
        rows.append({"gate": gate, "description": found.get("description", ""), "action": ACTIONS[found["action"]],
                     "threshold": found.get("threshold", ""), "cells": cells,
                     "real": real and _gate_mark(collected.real, real)})
    return rows


def _gate_mark(node: NodeView, gate: dict[str, Any]) -> dict[str, Any]:
    low, high = gate.get("min"), gate.get("max")
    allowed = " and ".join(f"{word} {number(v)}" for word, v in (("at least", low), ("at most", high)) if v is not None)
    observed = number(gate.get("observed"))
    verdict = "passes" if gate["success"] else "fails"
    return {"success": gate["success"], "generation": node.generation, "observed": observed, "allowed": allowed,
            "title": f"generation {node.generation}: {observed} {verdict}; {allowed}"}


def _about(collected: Collected) -> dict[str, Any]:
    fresh = sorted({str(n.manifest["fresh"]) for n in collected.nodes.values() if "fresh" in n.manifest})
    inputs: dict[str, list[str]] = {b.name: b.nodes[0].manifest.get("real_inputs", []) for b in collected.branches}
    fits = {}
    for name, floor in collected.floors.items():
        fits[name] = int(floor[floor.kind == "model"].replicate.nunique())
    measured = set(collected.table.metric.unique())
    methods = []
    if collected.headline:
        found = (collected.band(b.name, collected.headline[0]) for b in collected.branches)
        methods = sorted({str(band.method) for band in found if band is not None})
    return {"fresh": fresh, "inputs": inputs, "fits": fits, "methods": methods,
            "digest": collected.real.manifest_sha256,
            "metrics": [(name, fact) for name, fact in sorted(collected.facts.items())
                        if name in measured and not name.endswith("_step")],
            "steps": any(name.endswith("_step") for name in measured)}


def _lines(collected: Collected) -> list[dict[str, Any]]:
    """Return the nodes by branch as the page lists them, generation 0 first."""
    shown = set()
    for branch in collected.branches:
        if branch.nodes and any(node.name in collected.samples for node in branch.nodes):
            shown.add(branch.name)

    def line(node: NodeView) -> dict[str, Any]:
        stage = "real" if node.branch is None else node.stage or "halted"
        return {"node": node, "stage": stage, "letter": drawing.LETTERS.get(stage, "×"),
                "share": drawing.share(node), "hash": node.manifest_sha256[:12],
                "samples": node.branch if node.branch in shown and node.name in collected.samples else None,
                "note": f"withdrawn: {node.withdrawn}" if node.withdrawn else f"halted by {node.halted}" if node.halted
                else "" if node.outcome == "pass" else node.outcome}

    return [{"branch": None, "nodes": [line(collected.real)]},
            *({"branch": branch, "nodes": [line(node) for node in branch.nodes]} for branch in collected.branches)]
