"""One study's page."""

from __future__ import annotations

if __name__ == "__main__":  # before anything dear is imported
    from collapse_lab.flows._handover import hand_over

    hand_over("report")


from prefect import flow
from prefect.artifacts import create_markdown_artifact

from collapse_lab.tasks._work import NOWHERE
from collapse_lab.tasks.events import recorded
from collapse_lab.tasks.report import report as write_page


@flow(persist_result=False, result_storage=NOWHERE, name="report")
def report(study: str) -> None:
    """Write reports/STUDY: the page, the tidy measurements, the summary and the verdicts on its claims."""
    with recorded(f"report@{study}"):
        text = write_page(study)
    create_markdown_artifact(f"```\n{text}```\n", key=f"report-{study}", description=f"What study {study} found")


if __name__ == "__main__":
    from collapse_lab.flows._run import main

    main(report)
