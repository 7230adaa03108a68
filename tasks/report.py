"""One study's page, tables and verdicts."""

from __future__ import annotations

from pathlib import Path

from collapse.lineage.layout import DATA, RECORDS, REPORTS
from collapse.lineage.nodes import nodes_of
from collapse.report.collect import Collected, collect
from collapse.report.page import write
from collapse.report.result import text_summary
from collapse.storage import put, staging, write_text
from collapse.study.parse import Study, read_study
from collapse_lab.tasks._work import work


def gather(study: Study) -> Collected:
    """Return the study's records, read once."""
    return collect(study, nodes_of(study), RECORDS / study.name)


@work(name="report")
def report(study: str) -> str:
    """Put a study's page in place and return its summary in words."""
    collected = gather(read_study(Path(), study))
    text = text_summary(collected)
    with staging(DATA, f"report-{study}") as stage:
        write(collected, stage / study)
        write_text(stage / study / "summary.txt", text)
        put(stage / study, REPORTS / study)
    return text
