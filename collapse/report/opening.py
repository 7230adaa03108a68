"""What the page opens with: one sentence, one picture and a number for each of three branches, and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch
from typing import Any

import numpy as np

from collapse.claims.statements.band import Leaves, Stays
from collapse.claims.statements.base import Statement
from collapse.claims.statements.change import Keeps, LevelsOff, Trend
from collapse.claims.statements.compare import Compare
from collapse.claims.statements.stage import Reaches, Share, Warns
from collapse.report.collect import BranchView, Collected
from collapse.report.pictures import first_painter
from collapse.verdict import BULK, RARE, SHOWN, STAGES, percent, role, staged, within

#: Regimes that keep or bring some real data, and the words for usual shares of it.
PARTLY = ("redraw", "anchor", "refresh", "weighted")
SHARES = {Fraction(1, 10): "a tenth", Fraction(1, 5): "a fifth", Fraction(1, 4): "a quarter", Fraction(1, 2): "half"}
#: What is lost, in plain words, by the role of the metric that shows it; and failed claims that are told one by one.
LOST = {"spread lost": "variety", "modes lost": "modes", "tails lost": "tails"}
TOLD = 2
#: Share of what real rows show below which the first fit is told to lose it, and what that is by its metric.
FIRST = 0.7
NOUNS = {"association_ratio": "associations"}
#: Share of what control keeps below which a median is told though it may be chance.
NEARLY = 0.9
_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Way:
    """One branch at its end: how it was trained, what became of it, and the number that shows it.

    ``kept`` is the median over replicates, as a share of what the same model keeps of real data without recursion
    (1.0: as much, 0.0: nothing), ``low`` and ``high`` the bounds of its 95 % interval; all NaN where none was measured.
    """

    branch: BranchView
    label: str
    how: str
    fate: str
    kept: float
    low: float
    high: float
    picture: str

    @property
    def measured(self) -> bool:
        """Return whether there is a number."""
        return bool(np.isfinite(self.kept))

    @property
    def grown(self) -> bool:
        """Return whether the number tells of a gain, as a multiple."""
        return self.branch.final is not None and self.branch.final.stage == "distorted" and self.kept > 1


@dataclass(frozen=True)
class Opening:
    """The first screen. ``kind`` is that of the picture ('' where none is kept); ``noun`` what the numbers are of.

    ``first`` says what the first fit to real data loses by itself, which no stage counts; '' where that is little.
    """

    sentence: str
    unmet: str
    ways: tuple[Way, ...]
    real: str
    kind: str
    noun: str
    metric: str
    first: str = ""

    def stages(self, strips: Mapping[str, Sequence[Mapping[str, Any] | None]]) -> set[str]:
        """Return the stages that occur in the strips of the branches shown."""
        return {cell["stage"] for way in self.ways for cell in strips[way.branch.name] if cell}

    def plain(self) -> dict[str, Any]:
        """Return the words and numbers as plain data; None for what is not measured."""
        ends = {way.branch.name: {key: round(value, 6) if np.isfinite(value := getattr(way, key)) else None
                                  for key in ("kept", "low", "high")} for way in self.ways}
        words = {key: getattr(self, key) for key in ("sentence", "first", "unmet", "metric")}
        return {**words, "kept": ends}


def opening(collected: Collected) -> Opening | None:
    """Return what the page opens with; None where no branch but controls and sweeps was judged."""
    branches = _chosen(collected)
    if not branches:
        return None
    metric, noun = _measure(collected, branches)
    real = collected.samples.get(collected.real.name)
    painter = first_painter(real) if real is not None else None
    ways = []
    for branch in branches:
        kept, low, high = _kept(collected, branch, metric)
        last = next((node for node in reversed(branch.nodes) if node.name in collected.samples), None)
        drawn = painter.paint(collected.samples[last.name]) if painter is not None and last is not None else ""
        how, label = _how(collected, branch)
        fate = _fate(branch, kept, noun, metric, _blind(collected, branch))
        ways.append(Way(branch, label, how, fate, kept, low, high, drawn))
    shown = painter.paint(real) if painter is not None and real is not None else ""
    return Opening(_sentence(ways), unmet(collected), tuple(ways), shown, painter.kind if painter is not None else "",
                   noun, metric, first_fit(collected, branches))


def first_fit(collected: Collected, branches: Sequence[BranchView]) -> str:
    """Return in one sentence what a single fit to real data keeps of it where that is little; '' where it is most."""
    kept: dict[str, float] = {}
    for metric in staged(set(collected.table.metric[collected.table.feature == ""].unique())):
        fact, band = collected.facts[metric], collected.band(branches[0].name, metric)
        noun = NOUNS.get(metric) or RARE.get(metric) or LOST.get(role(metric, "", "below"))
        if fact.ideal == 1 and noun and band is not None and band.center < FIRST:
            kept[noun] = min(kept.get(noun, 1.0), max(0.0, float(band.center)))
    if not kept:
        return ""
    parts = [f"{percent(share)} of the {noun}" for noun, share in kept.items()]
    said = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"One fit to real data by itself keeps only {said}; stages count what is lost beyond that."


def _chosen(collected: Collected) -> list[BranchView]:
    """Return three branches at the most: replace, accumulate, one that keeps some real data; else the first others."""
    swept = {name for sweep in collected.study.sweeps.values() for name in sweep.cells}
    free = [b for b in collected.branches if b.name not in swept and b.judged and b.regime["kind"] != "control"]
    wanted = (("replace",), ("accumulate",), PARTLY)
    own = sorted(free, key=lambda b: bool(b.from_) or _overrides(collected, b))  # forks and other models last
    found = [next((b for b in own if b.regime["kind"] in kinds), None) for kinds in wanted]
    chosen = [b for b in found if b is not None]
    return [*chosen, *(b for b in own if b not in chosen)][:3]


def _overrides(collected: Collected, branch: BranchView) -> bool:
    return collected.study.floor(branch.name) != "calibration"


def _measure(collected: Collected, branches: list[BranchView]) -> tuple[str, str]:
    """Return the metric that the gravest end rests on, if it is a share of control's, and what it is of."""
    found = []
    for end in (branch.final for branch in branches):
        if end is not None and end.kept is not None and end.by:
            found.append((STAGES.index(end.stage), -end.kept if end.stage == "distorted" else end.kept, end))
    if not found:
        names = staged(set(collected.table.metric[collected.table.feature == ""].unique()))
        return next((name for name in BULK if name in names), ""), LOST["spread lost"]
    end = min(found, key=lambda item: item[:2])[2]
    metric, gained = end.by[0], "tails" if end.by[0].startswith("tail") else "spread"
    lost = "" if end.stage == "distorted" else role(metric, "", "below")
    return metric, RARE.get(metric, LOST.get(lost, gained))


def _kept(collected: Collected, branch: BranchView, metric: str) -> tuple[float, float, float]:
    row, band = collected.final(branch, metric), collected.band(branch.name, metric)
    if row is None or band is None or not band.center > 0:
        return np.nan, np.nan, np.nan
    return row["median"] / band.center, row["lower"] / band.center, row["upper"] / band.center


# --------------------------------------------------------------------------------------------- words


def _how(collected: Collected, branch: BranchView) -> tuple[str, str]:
    """Return how a branch is trained, to follow 'the model', and as a label."""
    kind, real = branch.regime["kind"], branch.regime.get("real")
    if branch.from_ or _overrides(collected, branch):
        return f"under {branch.name}", branch.rule + (f", from {branch.from_} at {branch.at}" if branch.from_ else "")
    if kind in ("anchor", "redraw") and real:
        part = _part(real)
        return f"with {part} of real data in every training set", f"its own output and {part} of real data"
    if kind == "refresh" and real:
        return f"with {_part(real)} fresh real data each time", f"{_part(real)} fresh real data each time"
    return {
        "replace": ("trained on nothing but its own newest output", "nothing but its own newest output"),
        "accumulate": ("trained on everything so far, real data included", "everything so far, real data included"),
        "subsample": ("trained on a draw from everything so far", "a draw from everything so far"),
        "window": (f"trained on the newest {branch.regime.get('k')} generations",
                   f"the newest {branch.regime.get('k')} generations"),
    }.get(kind, (f"under {branch.name}", branch.rule))


def _part(real: Any) -> str:
    share = Fraction(real).limit_denominator(1000) if isinstance(real, int | float) else None
    return str(real) if share is None else SHARES.get(share, percent(float(share)))


def _blind(collected: Collected, branch: BranchView) -> bool:
    """Return whether no loss of the tails, or none of the bulk, could leave its band."""
    return any(branch.name in collected.blind.get(metric, ()) for metric in collected.headline)


def _fate(branch: BranchView, kept: float, noun: str, metric: str, blind: bool) -> str:
    """Return what became of a branch, to follow 'it'.

    ``kept`` of ``noun`` is what ``metric`` says; ``blind``: some loss could not have been seen.
    """
    final = branch.final
    assert final is not None
    if branch.halted:
        return f"was halted at generation {final.generation} by a gate"
    if final.stage == "healthy":
        if blind and np.isfinite(kept) and kept < NEARLY:
            return f"kept {percent(kept)} of its {noun}, which may be chance"
        return "showed no loss that could be told from chance" if blind else "lost nothing beyond chance"
    if final.stage in ("early", "late") and np.isfinite(kept) and kept < 1 and (metric in final.by or not final.by):
        return f"kept {'only ' if final.stage == 'late' else ''}{percent(kept)} of its {noun}"
    if final.stage == "distorted" and kept > 1 and (metric in final.by or not final.by):
        return f"grew to {kept:.3g} × its {noun}"
    amount = f" ({final.amount})" if final.amount and final.stage != "drifted" else ""
    return {"distorted": f"was distorted{amount}", "drifted": "drifted away, its shape kept"}.get(
        final.stage, f"ended {within(final.stage)}{amount}")


def _sentence(ways: list[Way]) -> str:
    first, *rest = ways
    last = first.branch.last
    when = f"after {_count(last)} generation{'s' if last > 1 else ''}"
    lead = f"{first.how[:1].upper()}{first.how[1:]}, the model {first.fate} {when}"
    if first.branch.halted:
        lead = lead.removesuffix(f" {when}")
    more = []
    for way in rest:
        other = "" if way.branch.last == last else f" after {_count(way.branch.last)}"
        more.append(f"{way.how}, it {way.fate}{other}")
    return "; ".join([lead, *more]) + "."


def _count(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else f"{number:,}"


# -------------------------------------------------------------------------------------------- claims


def unmet(collected: Collected) -> str:
    """Return in one sentence how many of the study's claims hold and what those say that fail; '' without claims."""
    claims = collected.claims
    if not claims:
        return ""
    count = {word: sum(c["verdict"] == word for c in claims) for word in ("holds", "fails", "undecided", "blind")}
    if count["holds"] == len(claims):
        return f"{'The one claim holds' if len(claims) == 1 else f'All {_count(len(claims))} claims hold'}."
    parts = [f"Of {_count(len(claims))} claims {_verb(count['holds'], 'hold')}"]
    failed = [(claim, found) for claim, found in zip(collected.study.claims, claims, strict=True)
              if found["verdict"] == "fails"]
    if failed:
        said = [_failed(claim.statement, claim.text, found, collected) for claim, found in failed[:TOLD]]
        more = f", and {_count(len(failed) - TOLD)} more" if len(failed) > TOLD else ""
        parts.append(f"{_verb(len(failed), 'fail')}, for {' and '.join(said)}{more}")
    if unsettled := count["undecided"] + count["blind"]:
        known = collected.study.measured
        parts.append(f"{_verb(unsettled, 'stay')} open with {_count(known)} lineage{'s' if known > 1 else ''}")
    if len(claims) == 1:
        return "The one claim " + parts[1].removeprefix("one ") + "."
    return "; ".join(parts) + "."


def _verb(number: int, verb: str) -> str:
    return f"{_count(number) if number else 'none'} {verb}{'s' if number < 2 else ''}"


def _subject(series: Any, collected: Collected) -> str:
    """Return what a series is of, in plain words and by name."""
    fact = collected.facts.get(series.metric)
    noun = LOST.get(fact.below, "") if fact is not None and fact.below else ""
    name = series.metric + (f"[{series.feature}]" if series.feature else "")
    return f"{'the ' + noun + ' (' + name + ')' if noun else name} under {series.branch}"


@singledispatch
def _failed(statement: Statement, text: str, found: dict[str, Any], collected: Collected) -> str:
    return f"it is not so that {text}"


@_failed.register
def _(statement: Leaves, text: str, found: dict[str, Any], collected: Collected) -> str:
    verb = {"below": "never fell below", "above": "never rose above"}.get(statement.side, "never left")
    return f"{_subject(statement.series, collected)} {verb} what real data alone gives"


@_failed.register
def _(statement: Stays, text: str, found: dict[str, Any], collected: Collected) -> str:
    return f"{_subject(statement.series, collected)} did leave what real data alone gives"


@_failed.register
def _(statement: Trend, text: str, found: dict[str, Any], collected: Collected) -> str:
    return f"{_subject(statement.series, collected)} did not {statement.direction.rstrip('s')}"


@_failed.register(Keeps)
@_failed.register(LevelsOff)
def _(statement: Keeps | LevelsOff, text: str, found: dict[str, Any], collected: Collected) -> str:
    return f"{_subject(statement.series, collected)} changed by more than was claimed"


@_failed.register
def _(statement: Reaches, text: str, found: dict[str, Any], collected: Collected) -> str:
    return f"{statement.branch} {'was' if statement.avoids else 'never was'} {within(statement.stage)}"


@_failed.register
def _(statement: Warns, text: str, found: dict[str, Any], collected: Collected) -> str:
    return f"{statement.branch} gave no warning before {SHOWN['late']}"


@_failed.register
def _(statement: Compare, text: str, found: dict[str, Any], collected: Collected) -> str:
    than = "above" if statement.sign == ">" else "below"
    right = statement.right if isinstance(statement.right, int | float) else f"that under {statement.right.branch}"
    beyond = f" by {abs(statement.margin):g}" if statement.margin else ""
    return f"{_subject(statement.left, collected)} did not end {than} {right}{beyond}"


@_failed.register
def _(statement: Share, text: str, found: dict[str, Any], collected: Collected) -> str:
    return (f"{statement.branch} was {within(statement.stage)} in {percent(found['estimate'])} of its cells, not "
            f"{statement.percent:g} %")
