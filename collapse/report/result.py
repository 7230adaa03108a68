"""A study's result: of each branch its end, of the whole plain data, and a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from collapse.claims.answers import DEFINITIONS, Answer
from collapse.report.collect import BranchView, Collected
from collapse.report.finding import finding
from collapse.report.numbers import number, six_digits, span
from collapse.report.opening import opening
from collapse.verdict import SHOWN

#: An answer to a definition of collapse, as a mark; and branches up to which their answers stand side by side.
MARKS = {"holds": "●", "does not hold": "○", "undecided": "?", "not measurable here": "–"}
FEW = 7
#: What summary.json says of a branch's last generation: means and medians, each with its 95 % interval.
ENDS = ("mean", "low", "high", "median", "lower", "upper")


def outcome(collected: Collected, branch: BranchView) -> dict[str, Any]:
    """Return how a branch ended, and when it reached which stage."""
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
        row = outcome(collected, branch)
        ends = {}
        for metric, end in zip(collected.headline, row["ends"], strict=True):
            ends[metric] = None if end is None else {key: six_digits(end[key]) for key in ENDS}
        branches[branch.name] = {
            "regime": branch.regime, "from": branch.from_, "at": branch.at, "stage": row["stage"],
            "judged_to": row["generation"],
            "early_at": branch.reached("early"), "first_loss_at": row["early"], "tails_left_at": row["tails"],
            "late_at": row["late"],
            "amount": row["amount"], "beside": list(row["beside"]),
            "distorted_at": row["distorted"], "drifted_at": row["drifted"],
            "halted_by": row["halted"] or None, "final": ends,
            "real_share": None if row["real_share"] is None else six_digits(row["real_share"] / 100),
        }
    study = collected.study
    return {"study": study.name, "title": study.title, "seed": study.seed, "rows": study.rows,
            "generations": study.generations, "replicates": study.replicates,
            "opening": None if (opened := opening(collected)) is None else opened.plain(),
            "finding": finding(collected),
            "branches": branches, "blind": {name: list(where) for name, where in collected.blind.items()},
            "claims": tally(collected), "definitions": collected.definitions.plain(),
            "survey": collected.survey.plain(),
            "factors": None if collected.factors is None else collected.factors.plain(),
            "ladder": None if collected.ladder is None else [_rounded(rung) for rung in collected.ladder[0]],
            "grid": None if collected.grid is None else collected.grid.plain(),
            "published": [{"series": item.series, "source": item.source, "points": [_rounded(p) for p in item.points]}
                          for item in collected.published]}


def _rounded(item: Any) -> dict[str, Any]:
    return {key: six_digits(value) if isinstance(value, float) else value for key, value in asdict(item).items()}


def tally(collected: Collected) -> dict[str, int]:
    """Return how many claims have each verdict."""
    verdicts = [claim["verdict"] for claim in collected.claims]
    return {verdict: verdicts.count(verdict) for verdict in ("holds", "fails", "undecided", "blind")}


def text_summary(collected: Collected) -> str:
    """Return the result as a short table for a terminal."""
    head = ("branch", "regime", "stage", "first loss", "late", *collected.headline)
    rows = [head]
    for branch in collected.branches:
        s = outcome(collected, branch)
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
