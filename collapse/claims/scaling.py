"""The definition of a changed scaling law: what becomes of the exponent that risk has in the number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from collapse.claims.answers import ALONE, LEVEL, Answer, Ratio, Verdict, ends_of, number, side_of
from collapse.claims.gain import ratio
from collapse.claims.readings import MEANS, RISKS, Reading, Readings

if TYPE_CHECKING:
    import pandas as pd

#: Numbers of rows that a scaling law needs.
RUNGS = 3


def exponents(records: Readings) -> Iterator[tuple[str, Answer]]:
    """Yield for branches that differ in rows alone what becomes of the exponent of risk in rows.

    Generation 1 tells nothing of it: all branches begin with the study's first pool, whatever their rows.
    """
    ladders: dict[str, list[str]] = {}
    for name, branch in records.study.branches.items():
        if branch.from_ is None and branch.regime.kind != "control" and name in records.last:
            ladders.setdefault(f"{branch.regime.spec()} {branch.model.spec()}", []).append(name)
    for names in ladders.values():
        rows = {name: records.study.branches[name].rows for name in names}
        readings = {records.first(RISKS, name) for name in names}
        if len(set(rows.values())) < RUNGS or len(readings) != 1 or None in readings:
            continue
        reading = readings.pop()
        if reading is None or reading.kind == "loss":  # whose floor, the entropy of the data, is not known
            continue
        answer = _exponent(records, reading, rows)
        if answer is not None:
            yield from ((name, answer) for name in names)


def _exponent(records: Readings, reading: Reading, rows: Mapping[str, int]) -> Answer | None:
    """Return what is left of the exponent that risk has in rows for control; None without a control of each."""
    end = min(records.last[name] for name in rows)
    controls = [records.control(name, reading.metric, end) for name in rows]
    if None in controls:
        return None
    sizes = np.log(list(rows.values()))
    sizes = sizes - sizes.mean()

    import pandas as pd

    def slopes(found: list[pd.Series]) -> pd.Series:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(pd.concat(found, axis=1))  # (R, rungs)
        return -(logs @ sizes) / (sizes @ sizes)

    ladder = f"{len(set(rows.values()))} numbers of rows from {min(rows.values()):,} to {max(rows.values()):,}"
    if end < 2:
        return Answer("undecided", ALONE, reading.metric)
    last = slopes([records.series[name, reading.metric].T[end] for name in rows])
    first = slopes([found[0] for found in controls if found is not None])
    both = pd.concat([first, last], axis=1).replace([np.inf, -np.inf], np.nan).dropna().to_numpy()  # (R, 2)
    if len(both) < MEANS:
        return Answer("undecided", f"Over {ladder} one replicate or none has a risk at each: no interval.",
                      reading.metric, last=end)
    found = Ratio(*ratio(both[:, 1], both[:, 0], LEVEL), f"control at generation {end}", len(both))
    limit = 1 - records.study.definitions.margin
    verdict: Verdict = "holds" if found.high < limit else "does not hold" if found.low > limit else "undecided"
    text = (f"Over {ladder} at generation {end} the {reading.words} falls with an exponent of "
            f"{number(both[:, 0].mean())} for control and {number(both[:, 1].mean())} here: {number(found.estimate)} "
            f"of it is left, {found.span(LEVEL)}: {side_of(verdict, 'below', 'above', limit)}.")
    return Answer(verdict, text, reading.metric, *ends_of(found), found.against, found.replicates, end, end)
