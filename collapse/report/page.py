"""One study's page: a single HTML file that opens offline, and the tables and summaries beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from collapse import verdict
from collapse.claims.answers import DEFINITIONS, Answer
from collapse.claims.published import Published
from collapse.report import drawing, phase, pictures, tables, texts
from collapse.report.collect import COLUMNS, FAMILIES, BranchView, Collected, NodeView
from collapse.report.opening import opening
from collapse.storage import write_text
from collapse.verdict import MEANINGS, SHOWN, staged, within

#: Metrics that get a chart of their own, and series that the explorer offers.
CHARTS, EXPLORED = 6, 150

#: What each stage means, the healthy first.
STAGES = {name: MEANINGS[name] for name in ("healthy", "early", "late", "distorted", "drifted")}
#: An answer to a definition of collapse, as a mark; and branches up to which their answers stand side by side.
MARKS = {"holds": "●", "does not hold": "○", "undecided": "?", "not measurable here": "–"}
FEW = 7
#: What summary.json says of a branch's last generation: means and medians, each with its 95 % interval.
ENDS = ("mean", "low", "high", "median", "lower", "upper")
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
    template = environment.from_string(_asset("page.html"))
    phases = phase.diagrams(collected) if collected.study.sweeps else []
    drawn = {"phases": phases, "stages": [SHOWN[name] for name in phase.STAGES]} if phases else {}
    opened, strips = opening(collected), _strips(collected)
    return template.render(
        c=collected, study=collected.study, opening=opened, strip_of={s["branch"].name: s["cells"] for s in strips},
        question=question(collected), finding=finding(collected),
        summary=[_summary(collected, branch) for branch in collected.branches], headline=collected.headline,
        definitions=DEFINITIONS, measures=_measures(collected), marks=MARKS, few=FEW,
        stages=STAGES, strips=strips, columns=_columns(collected), albums=pictures.albums(collected),
        marginals=tables.marginals(collected), groups=tables.group_maps(collected), least=tables.LEAST_ROWS,
        texts=texts.figures(collected), tokens=texts.budget(collected),
        gates=_gates(collected), lines=_lines(collected), drawing=Markup(drawing.lineage(collected)),
        about=_about(collected),
        legend=collected.branches, safe=Markup, tally=_tally(collected),
        data=Markup(_script({**_curves(collected), **drawn})), phases=phases,
        css=Markup(_asset("page.css")),
        js=Markup(_asset("page.js") + (_asset("phase.js") if phases else "")), plotly=Markup(get_plotlyjs()))


def write(collected: Collected, folder: Path) -> None:
    """Write index.html, metrics.parquet, summary.json and claims.json as new files in ``folder``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "index.html", render(collected))
    write_text(folder / "summary.json", _json(summary(collected)))
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


def _asset(name: str) -> str:
    return files("collapse.report").joinpath(name).read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------------- words


def number(value: float | None) -> str:
    """Return three significant digits, a true minus, and a dash for nothing."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"
    return text.replace("-", "−")


def percent(part: float | None) -> str:
    """Return a share in per cent, or a dash."""
    return "–" if part is None else f"{number(100 * part)} %"


def span(row: dict[str, float] | None) -> str:
    """Return 'median [lower, upper]'; without an interval, the value alone."""
    if row is None:
        return "–"
    if not np.isfinite(row["low"]):
        return number(row["median"])
    return f"{number(row['median'])} [{number(row['lower'])}, {number(row['upper'])}]"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def question(collected: Collected) -> str:
    """Return what the study asks."""
    study = collected.study
    kinds = dict.fromkeys(branch.regime["kind"] for branch in collected.branches)
    ways = f"under {_and(list(kinds))}" if len(kinds) > 1 else f"under {next(iter(kinds))}"
    return (f"What becomes of {study.source.kind} data when a {study.model.kind} model learns, for {study.generations} "
            f"generations {ways}, from what earlier models made?")


def finding(collected: Collected) -> str:
    """Return the result in one paragraph: who reached which stage when, and where the tails ended."""
    swept = {name for sweep in collected.study.sweeps.values() for name in sweep.cells}
    alone = [branch for branch in collected.branches if branch.name not in swept]
    ill = sorted((b for b in alone if b.ill is not None), key=lambda b: b.ill or 0)
    well = [b.name for b in alone if b.judged and b.ill is None and not b.halted]
    sentences = [_course(branch) for branch in ill]
    if well:
        sentences.append(f"{_and(well)} stayed healthy throughout.")
    sentences += [f"{b.name} was {'healthy until it was ' if b.ill is None else ''}halted by {b.halted}."
                  for b in alone if b.halted]
    sentences += [_tallied(collected, sweep) for sweep in collected.study.sweeps.values()]
    sentences += _extremes(collected)
    sentences += _worst_group(collected)
    text = " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)
    return text or "No generation was judged."


def _tallied(collected: Collected, sweep: Any) -> str:
    """Return how many branches of a sweep ended at which stage, in one sentence."""
    ends = [branch.final.stage if branch.final else "halted" for branch in collected.branches
            if branch.name in sweep.cells]
    counts = [f"{ends.count(stage)} {'is' if ends.count(stage) == 1 else 'are'} {within(stage)}"
              for stage in (*STAGES, "halted") if stage in ends]
    return f"of the {len(ends)} branches of {sweep.template}, {_and(counts)} at the end."


def _course(branch: BranchView) -> str:
    """Return how a branch that did not stay healthy went, in one sentence."""
    reached = {stage: branch.reached(stage) for stage in ("early", "late", "distorted", "drifted")}
    early, late = reached["early"], reached["late"]
    steps = []
    if early is not None and (late is None or early < late):
        steps.append((early, f"lost some of its tails or spread at generation {early}"))
    if late is not None:
        steps.append((late, f"lost most of its spread or modes at generation {late}"))
    if reached["distorted"] is not None:
        steps.append((reached["distorted"], f"was distorted at generation {reached['distorted']}"))
    if reached["drifted"] is not None and early is None and late is None:
        steps.append((reached["drifted"], f"had drifted at generation {reached['drifted']}"))
    steps.sort()
    if branch.well_again is not None:
        steps.append((branch.last, f"was healthy again from generation {branch.well_again}"))
    return f"{branch.name} {_and([text for _, text in steps])}."


def _extremes(collected: Collected) -> list[str]:
    if not collected.headline:
        return []
    metric = collected.headline[0]
    ends = [(row, b) for b in collected.branches if (row := collected.final(b, metric)) is not None]
    if len(ends) < 2:
        return []
    ends.sort(key=lambda end: end[0]["median"])
    (low, least), (high, most) = ends[0], ends[-1]
    return [f"at the end the median {metric} is {number(low['median'])} under {least.name} and "
            f"{number(high['median'])} under {most.name}."]


def _worst_group(collected: Collected) -> list[str]:
    """Return which group has the least of its real share left at the end of a branch, and what it has under control."""
    c = collected.curves
    c = c[(c.metric == "group_share") & (c.feature != "")]
    ends = {b.name: c[(c.branch == b.name) & (c.generation == b.last)].set_index("feature")["median"]
            for b in collected.branches}
    controls = [b.name for b in collected.branches if b.regime["kind"] == "control" and len(ends[b.name])]
    others = {name: end for name, end in ends.items() if len(end) and name not in controls}
    if not others:
        return []
    low, group, name = min((float(end.min()), str(end.idxmin()), name) for name, end in others.items())
    beside = f", and {number(ends[controls[0]].get(group))} under {controls[0]}" if controls else ""
    return [f"of its groups, {group} has the least of its real share left: {number(low)} under {name}{beside}."]


# --------------------------------------------------------------------------------------------- tables


def _summary(collected: Collected, branch: BranchView) -> dict[str, Any]:
    final = branch.final
    return {
        "branch": branch, "stage": final.stage if final else "halted",
        "generation": final.generation if final else None,
        "tails": collected.tails_left(branch), "early": branch.reached("early", "late"),
        "late": branch.reached("late"),
        "distorted": branch.reached("distorted"), "drifted": branch.reached("drifted"),
        "amount": final.amount if final else "", "beside": final.beside if final else (),
        "back": branch.well_again,
        "ends": [collected.final(branch, metric) for metric in collected.headline],
        "real_share": None if final is None or final.real_share is None else 100 * final.real_share,
        "halted": branch.halted,
    }


def summary(collected: Collected) -> dict[str, Any]:
    """Return the study's result as plain data, for summary.json."""
    branches = {}
    for branch in collected.branches:
        row = _summary(collected, branch)
        ends = {}
        for metric, end in zip(collected.headline, row["ends"], strict=True):
            ends[metric] = None if end is None else {key: _round(end[key]) for key in ENDS}
        branches[branch.name] = {
            "regime": branch.regime, "from": branch.from_, "at": branch.at, "stage": row["stage"],
            "judged_to": row["generation"],
            "early_at": branch.reached("early"), "first_loss_at": row["early"], "tails_left_at": row["tails"],
            "late_at": row["late"],
            "amount": row["amount"], "beside": list(row["beside"]),
            "distorted_at": row["distorted"], "drifted_at": row["drifted"],
            "halted_by": row["halted"] or None, "final": ends,
            "real_share": None if row["real_share"] is None else _round(row["real_share"] / 100),
        }
    study = collected.study
    return {"study": study.name, "title": study.title, "seed": study.seed, "rows": study.rows,
            "generations": study.generations, "replicates": study.replicates,
            "opening": None if (opened := opening(collected)) is None else opened.plain(),
            "finding": finding(collected),
            "branches": branches, "blind": {name: list(where) for name, where in collected.blind.items()},
            "claims": _tally(collected), "definitions": collected.definitions.plain(),
            "survey": collected.survey.plain(),
            "factors": None if collected.factors is None else collected.factors.plain(),
            "ladder": None if collected.ladder is None else [_rounded(rung) for rung in collected.ladder[0]],
            "grid": None if collected.grid is None else collected.grid.plain(),
            "published": [{"series": item.series, "source": item.source, "points": [_rounded(p) for p in item.points]}
                          for item in collected.published]}


def _measures(collected: Collected) -> dict[str, str]:
    """Return which metrics each definition rests on."""
    answers = collected.definitions.answers.values()
    return {key: ", ".join(dict.fromkeys(a[key].metric or "" for a in answers if a[key].metric)) for key in DEFINITIONS}


def _profile(collected: Collected) -> list[str]:
    """Return the answers to the definitions of collapse as lines for a terminal: of many branches, how many of each."""
    found = collected.definitions
    if len(collected.branches) <= FEW:
        rows = [("definition of collapse", *found.answers)]
        rows += [(name, *(_answered(answers[key]) for answers in found.answers.values()))
                 for key, name in DEFINITIONS.items()]
    else:
        rows = [("definition of collapse, branches", *MARKS)]
        rows += [(name, *(str(found.tally(key)[verdict] or "–") for verdict in MARKS))
                 for key, name in DEFINITIONS.items()]
    return _table(rows)


def _answered(answer: Answer) -> str:
    if answer.estimate is None:
        return f"{MARKS[answer.verdict]} {answer.verdict}" if answer.verdict == "undecided" else MARKS[answer.verdict]
    low = "−∞" if answer.low is None else number(answer.low)
    high = "∞" if answer.high is None else number(answer.high)
    return f"{MARKS[answer.verdict]} {number(answer.estimate)} [{low}, {high}]"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows, the first the head, in columns as wide as they need."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("─" * width for width in widths), *lines[1:]]


def _rounded(item: Any) -> dict[str, Any]:
    return {key: _round(value) if isinstance(value, float) else value for key, value in asdict(item).items()}


def _tally(collected: Collected) -> dict[str, int]:
    verdicts = [claim["verdict"] for claim in collected.claims]
    return {verdict: verdicts.count(verdict) for verdict in ("holds", "fails", "undecided", "blind")}


def text_summary(collected: Collected) -> str:
    """Return the result as a short table for a terminal."""
    head = ("branch", "regime", "stage", "first loss", "late", *collected.headline)
    rows = [head]
    for branch in collected.branches:
        s = _summary(collected, branch)
        stage = SHOWN[s["stage"]] + (f": {s['amount']}" if s["amount"] else "")
        rows.append((branch.name, branch.rule, stage,
                     *(str(s[k]) if s[k] else "–" for k in ("early", "late")), *map(span, s["ends"])))
    profile = [*_profile(collected), f"({', '.join(f'{mark} {verdict}' for verdict, mark in MARKS.items())}; 90 % "
               "intervals of what real data alone gives)"]
    told = [collected.definitions.sentence(b.name) for b in collected.branches if len(collected.branches) <= FEW]
    claims = [f"{claim['verdict']:9}  {claim['holm'] if claim['p'] is not None else '–':9}  {claim['claim']}"
              for claim in collected.claims]
    if claims:
        claims = ["Claims: the verdict, and what remains after Holm's correction over all (–: no test).", *claims]
    grid, notes = [], []
    if collected.grid is not None:
        count = len(collected.grid.cells)
        grid = [f"{collected.grid.held(name)} of {count} cells  {name}" for name in collected.grid.readings]
    for metric, blind in collected.blind.items():
        where = "" if len(blind) == len(collected.branches) else f" in {', '.join(blind)}"
        notes.append(f"blind: no loss of {metric} can leave its band{where}; fits to real data differ too much")
    for item in collected.published:
        last = next((p for p in reversed(item.points) if p.measured is not None), item.points[-1])
        notes.append(f"{item.series} at generation {last.generation}: {number(last.measured)}, published "
                     f"{number(last.published)}")
    opened = opening(collected)
    first = [] if opened is None else [text for text in (opened.sentence, opened.first, opened.unmet) if text]
    title = [collected.study.title, *first]
    # no two of five values and fewer have an interval of 95 % between them (collapse.claims.intervals.median_interval)
    span_ = "95 % interval" if collected.study.measured >= 6 else "the least and the greatest"
    ends = [f"At the last generation: median over replicates [{span_}].", *_table(rows)]
    return "\n\n".join("\n".join(block) for block in (title, ends, profile, told, claims, grid, notes)
                       if block) + "\n"


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


# --------------------------------------------------------------------------------------------- curves


def _ordered(collected: Collected) -> list[tuple[str, str]]:
    """Return every (metric, feature): what decides the stage, what is gated, then each family's first, second, …"""
    table = collected.table[["metric", "feature"]].drop_duplicates()
    table = table[~table.metric.isin([texts.SHARE, texts.REFERENCE])]  # bins are no curves
    pairs = sorted((str(m), str(f)) for m, f in table.itertuples(index=False))
    first = [*collected.headline, *staged({m for m, _ in pairs}), *collected.gates]
    seen: dict[str, list[str]] = {}
    for metric, _ in pairs:
        kin = seen.setdefault(_family(collected, metric), [])
        if metric not in kin:
            kin.append(metric)

    accompanied = _beside(collected)

    def rank(pair: tuple[str, str]) -> tuple[Any, ...]:
        metric, feature = pair
        head = 0 if not feature and metric in collected.headline else 1 if pair in accompanied else 2
        family = _family(collected, metric)
        place = first.index(metric) if metric in first else len(first)
        return (head, feature != "", metric.endswith("_step"), place, seen[family].index(metric),
                FAMILIES.index(family), metric, feature)

    return sorted(pairs, key=rank)


def _beside(collected: Collected) -> set[tuple[str, str]]:
    """Return every (metric, feature) beside which a law or a published figure stands."""
    return {(metric, feature) for _, metric, feature in collected.laws} | {
        (item.series.metric, item.series.feature) for item in collected.study.published}


def _family(collected: Collected, metric: str) -> str:
    fact = collected.facts.get(metric.removesuffix("_step"))
    return fact.family if fact else FAMILIES[-1]


def _curves(collected: Collected) -> dict[str, Any]:
    """Return what the charts draw. One entry per metric and feature; the first ``charts`` have their own chart."""
    pairs = _ordered(collected)
    accompanied = _beside(collected)
    charts = sum(pair in accompanied or (pair[1] == "" and not pair[0].endswith("_step"))
                 for pair in pairs[: CHARTS + len(accompanied)])
    return {
        "branches": [{"name": b.name, "colour": b.colour, "dash": b.dash} for b in collected.branches],
        "charts": charts,
        "curves": [_curve(collected, metric, feature) for metric, feature in pairs[:EXPLORED]],
        "left_out": max(0, len(pairs) - EXPLORED),
        "nodes": _records(collected),
    }


def _records(collected: Collected) -> dict[str, Any]:
    """Return manifests and metrics of all nodes, for what is shown of one on demand.

    Manifests share most of their parts, so each stands once; ``manifests`` refers to ``parts`` by number.
    """
    parts: dict[str, int] = {}
    manifests = {}
    for node in collected.nodes.values():
        numbers = [parts.setdefault(json.dumps(part, sort_keys=True), len(parts)) for part in
                   node.manifest.get("parts", [])]
        manifests[node.name] = {**node.manifest, "parts": numbers}
    whole = collected.table[collected.table.feature == ""]
    medians = whole.groupby(["node", "metric"], observed=True).value.median()
    names = sorted(whole.metric.unique())
    table = {node: [_round(medians.get((node, name), np.nan)) for name in names] for node in collected.nodes}
    return {"parts": [json.loads(part) for part in parts], "manifests": manifests, "metrics": names, "medians": table}


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


def _curve(collected: Collected, metric: str, feature: str) -> dict[str, Any]:
    rows = collected.curves
    rows = rows[(rows.metric == metric) & (rows.feature == feature)]
    fact = collected.facts.get(metric) or collected.facts.get(metric.removesuffix("_step"))
    series = {}
    for branch in collected.branches:
        own = rows[rows.branch == branch.name]
        if len(own):
            series[branch.name] = {"x": own.generation.tolist(), **{k: [_round(v) for v in own[k]]
                                                                      for k in ("mean", "low", "high", "median")}}
    means = rows["mean"].to_numpy()
    means = means[np.isfinite(means)]
    band = next((found for b in collected.branches if (found := collected.band(b.name, metric, feature))), None)
    return {
        "metric": metric, "feature": feature, "series": series,
        "meaning": fact.meaning[:1].upper() + fact.meaning[1:] if fact else "",
        # A quantity that runs over more than a factor of 50 is read on a log axis.
        "log": bool(len(means) and means.min() > 0 and means.max() / means.min() > 50),
        "band": None if band is None else [_round(band.low), _round(band.high)],
        "laws": {b.name: {"x": sorted(law), "y": [_round(law[g]) for g in sorted(law)]}
                 for b in collected.branches
                 if (law := collected.laws.get((b.name, metric, feature)))},
        "published": {item.series.branch: _printed(item, collected.study.branches[item.series.branch].last)
                      for item in collected.study.published
                      if (item.series.metric, item.series.feature) == (metric, feature)},
    }


def _printed(item: Published, last: int) -> dict[str, list[Any]]:
    """Return the published points as far as the branch runs: one far beyond would squeeze the curves."""
    kept = [generation for generation in item.values if generation <= last]
    return {"x": kept, "y": [_round(item.values[generation]) for generation in kept]}


def _round(value: float) -> float | None:
    """Return 6 significant digits; JSON has no infinity."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
