"""One study's page."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from flows.shared import hand_over

    hand_over("report")

import json
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from collapse import onset
from collapse.errors import InputError, nearest
from collapse.experiment import read_params
from collapse.layout import REPORTS
from collapse.onset import Survey
from tasks import NOWHERE
from tasks.events import recorded
from tasks.report import report as write_page


@flow(persist_result=False, result_storage=NOWHERE, name="report")
def report(study: str) -> None:
    """Write reports/STUDY: the page, the tidy measurements, the summary and the verdicts on its claims."""
    with recorded(f"report@{study}"):
        text = write_page(study)
    create_markdown_artifact(f"```\n{text}```\n", key=f"report-{study}", description=f"What study {study} found")


def show(study: str | None) -> bool:
    """Print what the studies found and where their pages are; return whether no claim failed.

    Raises
    ------
    InputError
        If a study has no report yet.
    """
    names = read_params(Path()).studies
    if study is not None and study not in names:
        raise InputError(f"params.yaml: '{study}' is not in studies{nearest(study, names)}")
    sound = True
    for name in [study] if study else names:
        folder = REPORTS / name
        if not (folder / "summary.txt").exists():
            raise InputError(f"{folder}: no report yet; run 'collapse repro --study {name}'")
        print((folder / "summary.txt").read_text(encoding="utf-8"))
        print(f"page: {folder / 'index.html'}\n")
        claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        sound &= all(claim["verdict"] != "fails" for claim in claims)
    return sound


def ranking() -> str:
    """Return which metric warns first, over all studies whose reports are there, as a table.

    Raises
    ------
    InputError
        If no study has a report in which anything was in late collapse.
    """
    surveys = {}
    for name in read_params(Path()).studies:
        path = REPORTS / name / "summary.json"
        if path.exists():
            surveys[name] = Survey.parse(json.loads(path.read_text(encoding="utf-8"))["survey"])
    standings = onset.ranking(surveys)
    if not standings:
        raise InputError(f"{REPORTS}: no report yet in which a branch was in late collapse; run 'collapse repro'")
    lines = [f"{'metric':22} {'score':>5}  {'studies':>7}  first, or not told apart from the first, in"]
    lines += [f"{s.metric:22} {s.score:5.2f}  {len(s.studies):7}  {', '.join(s.first) or '–'}" for s in standings]
    note = ("Lead times: generations between leaving the control band and late collapse, at one false-alarm rate.\n"
            "Score: mean place in the studies' rankings; 0: first in each, 1: last in each.")
    return "\n".join([note, "", *lines])


if __name__ == "__main__":
    from flows.run import main

    main(report)
