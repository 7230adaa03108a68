"""How much real data keeps a condition, and how many generations are left: by a law, or by a study of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from collapse.advice import intervals, search
from collapse.advice import options as advice
from collapse.advice.condition import Keep, Of
from collapse.advice.options import ALL, NONE, Cost, Covered, Ground, Option
from collapse.advice.search import Found, Left
from collapse.errors import InputError, nearest
from collapse.lineage.layout import Files
from collapse.metrics import facts
from collapse.study.experiment import Branch
from collapse.study.files import read_params
from collapse.study.parse import Study, read_study
from collapse_lab.engine.recommend.answer import Advice, Line, Today
from collapse_lab.engine.recommend.book import FEWEST, LARGEST, MOST, Book, branch_text, measured, recorded, say, teller

#: The exit code where nothing that was tried keeps the condition.
UNREACHABLE = 3


def recommend(name: str, condition: str, horizon: int, *, of: str = "0.9", simulate: bool = False,
              only: Sequence[str] = (), replicates: int | None = None, workers: int | None = None,
              debug: bool = False) -> Advice:
    """Return what keeps a condition to a horizon, for the data and model of a study.

    Parameters
    ----------
    of
        A share of lineages that must keep it, 'median' or 'mean' (:class:`collapse.advice.condition.Of`).
    simulate
        Simulate where a law would do.
    only
        Options to look at; all of :data:`collapse.advice.options.OPTIONS` by default.

    Raises
    ------
    InputError
        If study, condition, horizon or options are wrong; nothing is then written.
    """
    if horizon < 1:
        raise InputError(f"--horizon must be at least 1 (it is {horizon})")
    whose = Of.parse(of)
    if replicates is not None and replicates < whose.needed:
        why = "for one has no interval" if whose.share is None else \
            f"for fewer cannot tell at {100 * intervals.LEVEL:g} % whether {whose.text} keep it"
        raise InputError(f"--replicates must be at least {whose.needed}, {why} (it is {replicates})")
    if replicates is not None and replicates > LARGEST:
        raise InputError(f"--replicates must be at most {LARGEST} (it is {replicates})")
    for word in only:
        if word not in advice.OPTIONS:
            raise InputError(f"--option: '{word}' is not an option{nearest(word, advice.OPTIONS)}")
    study = read_study(Path(), name)
    keep = Keep.parse(condition, facts())
    ground = Ground(study)
    options, without = advice.options(study, horizon, ground.bank)
    chosen = {key: option for key, option in options.items() if not only or key in only}
    without = {key: why for key, why in without.items() if not only or key in only}
    enough = 2 if whose.share is None else -(-2 * whose.needed // 10) * 10
    count = replicates or min(max(int(np.clip(study.measured, FEWEST, MOST)), enough), LARGEST)
    book = Book(study, keep, whose, horizon, count, chosen, debug, workers)

    loops = _loops(study, horizon)
    if not only or ALL in only:
        loops[""] = advice.plain(study, ALL, {"regime": ALL})
    whole = cache(lambda: _whole(name))
    ends = advice.ends(study, keep, horizon, whose)
    lines, today = ({}, {}) if simulate else _by_law(book, loops, ground, ends)
    if len(lines) < len(chosen) or len(today) < len(loops):
        ground.check(keep)
        if not simulate:
            more, others = _drawn(book, {key: option for key, option in chosen.items() if key not in lines},
                                  {key: branch for key, branch in loops.items() if key not in today}, ground, ends)
            lines, today = lines | more, today | others
        asked = [option for key, option in chosen.items() if key not in lines]
        for key in [key for key in loops if key in study.branches and key not in today]:
            if asked and branch_text(study, key, loops[key])[0] in (NONE, ALL):
                continue  # options look at the same branch: it is judged with them, by the same replicates
            if (item := _on_record(key, loops[key], keep, whose, horizon, count, ground, whole)) is not None:
                today[key] = item
        # options that are named are looked at alone: today's branches then stand beside them where that costs nothing
        missing = {key: branch for key, branch in loops.items() if key not in today and not (only and key)}
        more, others = _simulated(book, asked, missing, ground, {} if simulate else ends)
        lines, today = lines | more, today | others
    return Advice(study, keep, whose, horizon, tuple(lines[key] for key in chosen), today.get(""),
                  tuple(today[key] for key in loops if key in today and key), without, book.name if book.made else "",
                  count, book.broke)


def _loops(study: Study, horizon: int) -> dict[str, Branch]:
    """Return the study's loops: branches before the horizon that are neither control, nor swept, nor stem from such."""
    def ours(branch: Branch) -> bool:
        stem = study.branches[branch.from_] if branch.from_ else None
        return branch.regime.kind != "control" and not branch.template and branch.at < horizon and \
            (stem is None or ours(stem))

    found = {key: branch for key, branch in study.branches.items() if ours(branch)}
    return found or {NONE: advice.plain(study, NONE, {"regime": NONE})}


def _by_law(book: Book, loops: Mapping[str, Branch], ground: Ground,
            ends: Mapping[str, bool]) -> tuple[dict[str, Line], dict[str, Today]]:
    """Return what exact laws say of options and branches: those that they cover.

    Where no real data keeps the condition, that is the least of every option.
    """
    study, keep, horizon, of = book.study, book.keep, book.horizon, book.of

    def of_branch(branch: Branch) -> Covered | None:
        return advice.law(study, branch, keep, horizon, of)

    lines = {}
    for key, option in book.options.items():
        known = advice.by_law(study, option, keep, horizon, of, ends)
        if known is not None:
            found, law = known
            lines[key] = Line(option, found, law.law, law.source, _cost(book, option, found, ground))
    today = {key: Today(key, _exactly(law, of.asked(keep)), law.law,
                        advice.cost(study, branch, horizon, ground.schema), law.source)
             for key, branch in loops.items() if (law := of_branch(branch)) is not None}
    return lines, today


def _drawn(book: Book, options: Mapping[str, Option], loops: Mapping[str, Branch], ground: Ground,
           ends: Mapping[str, bool]) -> tuple[dict[str, Line], dict[str, Today]]:
    """Return what lineages drawn from their law say of options and branches: those whose law can be drawn."""
    study, keep, horizon, of = book.study, book.keep, book.horizon, book.of
    source = "exact but for their number: the statistics of samples have a law of their own (collapse.loop.run)"

    lines = {}
    for option in options.values():
        if advice.drawable_option(study, option, keep, of):
            say(f"{option.name}: drawing lineages from their law")
            found, values = advice.by_lineages(study, option, keep, horizon, of, ends)
            lines[option.name] = Line(option, found, _lineages(values), source, _cost(book, option, found, ground))
    today = {}
    for key, branch in loops.items():
        if advice.drawable(study, branch, keep, of):
            series = advice.drawn(study, branch, keep, horizon, of, advice.held(study, branch))
            today[key] = Today(key, search.left(series, keep, of), _lineages(series),
                               advice.cost(study, branch, horizon, ground.schema), source)
    return lines, today


def _lineages(values: np.ndarray) -> str:
    return f"{len(values):,} lineages drawn"


def _simulated(book: Book, options: Sequence[Option], loops: Mapping[str, Branch], ground: Ground,
               ends: Mapping[str, bool]) -> tuple[dict[str, Line], dict[str, Today]]:
    """Return what the study of the advice says of options and branches, made as far as it is not."""
    if not options and not loops:
        return {}, {}
    if book.of.needed > LARGEST:
        raise InputError(f"--of: {book.of.name} takes {book.of.needed:,} replicates to be told, and a study holds "
                         f"{LARGEST:,}; ask for a share nearer to 0.5")
    study, names = book.study, {}
    book.take_up()
    for key, branch in loops.items():
        names[key], book.bodies[names[key]] = branch_text(study, key, branch)
        while branch.from_:
            branch = study.branches[branch.from_]
            name, body = branch_text(study, branch.name, branch)
            book.bodies.setdefault(name, body)
    found = {}
    if options:
        found = search.search([option.knob for option in options], book.simulate, book.keep, book.of,
                               certain=advice.certain(options, ends), told=teller(book))
    else:
        book.run(first=True)
    lines = {option.name: Line(option, found[option.name], "simulated", "",
                               _cost(book, option, found[option.name], ground)) for option in options}
    return lines, {key: Today(key, search.left(book.values(name), book.keep, book.of), "simulated",
                              book.cost(loops[key], name, ground)) for key, name in names.items()}


def _exactly(form: Covered, keep: Keep) -> Left:
    """Return when a law breaks what it must meet."""
    broken = ~keep.met(form.values)
    breaks = int(broken.argmax()) + 1 if broken.any() else None
    return Left(breaks, breaks, breaks, float(form.values[keep.margins(form.values).argmin()]), exact=True)


def _on_record(name: str, branch: Branch, keep: Keep, of: Of, horizon: int, replicates: int, ground: Ground,
               whole: Callable[[], set[str]]) -> Today | None:
    """Return when a branch breaks by the study's own records, where they are whole, of enough replicates, and tell."""
    study, last = ground.study, min(horizon, branch.last)
    count = study.replicates if keep.metric.startswith("fit_") else study.measured
    if count < replicates or not Files(study.node(name, last), study.name).record("parquet").exists():
        return None
    values = recorded(study, name, keep, last, count)
    nodes = [study.node(name, t) for t in range(1, last + 1)]
    if np.isnan(values).all() or study.name not in read_params(Path()).studies or not whole().issuperset(nodes):
        return None
    left = search.left(values, keep, of)
    if last < horizon and left.high is None:  # it may break after the last generation on record
        return None
    known = measured(nodes, study.replicates) if last == horizon else ()
    return Today(name, left, "records", advice.cost(study, branch, horizon, ground.schema, *known))


def _whole(study: str) -> set[str]:
    """Return the nodes of a study that are up to date; of a large project it takes DVC many seconds to tell."""
    from collapse_lab.engine.status import status

    return {state.node for state in status(study) if state.state == "whole"}


def _cost(book: Book, option: Option, found: Found, ground: Ground) -> Cost | None:
    """Return the cost at the least setting; measured at the nearest setting from there on that was simulated."""
    if found.least is None:
        return None
    branch = option.branch(book.study, found.least)
    near = [x for x in sorted(found.tried) if x >= found.least and x in book.settings.get(option.name, ())]
    return book.cost(branch, option.branch_name(near[0]) if near else "", ground)
