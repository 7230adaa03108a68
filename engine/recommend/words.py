"""An advice in words: one table of options, one of today's branches."""

from __future__ import annotations

import numpy as np

from collapse.advice.options import ALL, SHARES, Cost, Option
from collapse.advice.search import Found
from collapse_lab.engine.recommend.answer import Advice, Today


def words(answer: Advice) -> str:
    """Return the answer in words: the options, today's branches, what is left out and where the study is."""
    keep, study, of = answer.keep, answer.study, answer.of
    head = (f"{study.name}: keep {keep.text} to generation {answer.horizon} in {of.text} "
            f"({study.model.kind}, {study.rows} rows a generation)")
    value = "kept by" if of.share is not None else "worst"
    rows = [["option", "least that keeps it", "90 % interval", value, "real rows", "synthetic", "compute", "storage",
             "how"]]
    for line in answer.lines:
        option, found = line.option, line.found
        shown = found.best if found.least is None else min((x for x in found.tried if x >= found.least),
                                                           default=found.best)
        rows.append([option.name, setting_of(option, found.least) if found.least is not None else
                     f"none; best {setting_of(option, found.best)}", "exact" if found.exact else span_of(option, found),
                     of.shown(found.tried[shown]), *_columns(line.cost), line.how])
    if answer.accumulate is not None:
        rows.append([ALL, *_kept(answer.accumulate, answer)])
    out = [head, "", *_table(rows), ""]
    rows = [["today's branch", "breaks at generation", "90 % interval", value, "real rows", "synthetic", "compute",
             "storage", "how"]]
    for item in answer.today:
        rows.append([item.name, *_kept(item, answer, today=True)])
    if answer.today:
        out += [*_table(rows), ""]
    shares = [line for line in answer.lines if line.option.name in SHARES]
    if shares and all(line.found.least is None for line in shares):
        best = max(shares, key=lambda line: of.asked(keep).margins(np.array([line.found.tried[line.found.best]]))[0])
        there = of.shown(best.found.tried[best.found.best])
        setting = setting_of(best.option, best.found.best)
        out.append(f"no share of real data keeps it; best is {best.option.name} {setting} "
                   + (f"({keep.series} {there} at worst)" if of.share is None else f"(kept by {there} of lineages)"))
    laws = {line.how: line.source for line in answer.lines if line.source}
    laws |= {item.how: item.source for item in (answer.accumulate, *answer.today) if item and item.source}
    out += [f"by law: {name}, {source}" for name, source in laws.items()]
    out += [f"left out: {name}, for {why}" for name, why in answer.without.items()]
    if any(item.left.breaks == 1 for item in (answer.accumulate, *answer.today) if item):
        out.append("it breaks at generation 1, the fit to real rows alone: no share of real data can mend that"
                   + ("; more rows of the study may" if keep.sign > 0 else ""))
    if of.name == "mean":
        out.append("most lineages may break what their mean keeps: --of 0.9 asks for nine of ten of them")
    if answer.broke:
        out.append(f"broke down: {', '.join(answer.broke)}: the rows of one of {answer.replicates} lineages, or "
                   f"more, admitted no fit; from there on all of them count as breaking the condition")
    if answer.advice:
        out.append(f"study: studies/{answer.advice}.yaml, {answer.replicates} replicates; collapse audit "
                   f"{answer.advice} verifies it")
    return "\n".join(out)


def _kept(item: Today, answer: Advice, *, today: bool = False) -> list[str]:
    left = item.left
    never = f"> {answer.horizon}"
    first = never if left.breaks is None else str(left.breaks)
    if not today:
        first = f"keeps it to {answer.horizon}" if left.breaks is None else f"breaks at {left.breaks}"
    span = "exact" if left.exact else f"[{left.low or never}, {left.high or never}]"
    return [first, span, answer.of.shown(left.value), *_columns(item.cost), item.how]


def setting_of(option: Option, x: int | None) -> str:
    """Return a setting of an option in words: a share with its rows, a number of parts, none."""
    if x is None:
        return "none"
    if option.key != "real":
        return f"{x:,} " + ("rows" if option.key == "rows" else "part" if x == 1 else "parts")
    value = option.value(x) if x else 0
    return f"{value:.3g}" + ("" if option.name == "weighted" or not x else f" ({x:,} rows)")


def span_of(option: Option, found: Found) -> str:
    """Return the interval of the least setting that keeps the condition."""
    ends = ["none" if x is None else f"{option.value(x):.3g}" for x in (found.low, found.high)]
    return f"[{ends[0]}, {ends[1]}]"


def _columns(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["", "", "", ""]
    return [f"{cost.real:,}", f"{cost.synthetic:,}", "–" if cost.seconds is None else f"{cost.seconds:.2g} s",
            ("" if cost.measured else "~") + _size(cost.bytes)]


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = range(3, 8)
    return ["  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
