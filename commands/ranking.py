"""`collapse ranking`: print which metric warns first, over all studies whose reports are there."""

from __future__ import annotations

import json
from pathlib import Path

from collapse.errors import InputError
from collapse_lab.commands._options import Debug


def ranking(debug: Debug = False) -> None:
    """Print which metric warns first, over all studies whose reports are there."""
    print(table())


def table() -> str:
    """Return which metric warns first, over all studies whose reports are there, as a table.

    Raises
    ------
    InputError
        If no study has a report in which anything was in late collapse.
    """
    from collapse.claims import lead_time
    from collapse.lineage.layout import REPORTS
    from collapse.study.files import read_params

    surveys = {}
    for name in read_params(Path()).studies:
        path = REPORTS / name / "summary.json"
        if path.exists():
            surveys[name] = lead_time.Survey.parse(json.loads(path.read_text(encoding="utf-8"))["survey"])
    standings = lead_time.ranking(surveys)
    if not standings:
        raise InputError(f"{REPORTS}: no report yet in which a branch was in late collapse; run 'collapse repro'")
    lines = [f"{'metric':22} {'score':>5}  {'studies':>7}  first, or not told apart from the first, in"]
    lines += [f"{s.metric:22} {s.score:5.2f}  {len(s.studies):7}  {', '.join(s.first) or '–'}" for s in standings]
    note = ("Lead times: generations between leaving the control band and late collapse, at one false-alarm rate.\n"
            "Score: mean place in the studies' rankings; 0: first in each, 1: last in each.")
    return "\n".join([note, "", *lines])
