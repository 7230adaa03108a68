"""What a study asks and what it found, in words: who reached which stage when, and where the tails ended."""

from __future__ import annotations

from typing import Any

from collapse.report.collect import BranchView, Collected
from collapse.report.numbers import number
from collapse.verdict import MEANINGS, within

#: What each stage means, the healthy first.
STAGES = {name: MEANINGS[name] for name in ("healthy", "early", "late", "distorted", "drifted")}


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


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
