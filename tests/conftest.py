"""Shared fixtures: a small project in a folder of its own, and one real Prefect server for the session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import collapse_lab.flows  # noqa: F401  settles threads and CPU features before NumPy is imported
from tests.worlds.project import ROOT, Project

TINY = """\
title: A tiny Gaussian
seed: 3
source: {kind: gaussian}
model: {kind: gaussian, ddof: 0}
rows: 40
generations: 3
replicates: 2
calibration: 30
branches:
  replace: {regime: replace}
  accumulate: {regime: accumulate}
gates:
  tail_ratio: {min: 0.0}
"""


#: Files that run the pipeline for real; they begin first, so that two processes end at about the same time.
LONGEST = ("test_faults.py", "test_repro.py", "test_standards.py", "test_withdraw.py", "test_audit.py", "test_watch.py",
           "test_command.py", "test_page.py", "test_sweep.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; what is within them stays as it is."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server on loopback, with a database of its own."""
    from collapse_lab.engine import server

    home = tmp_path_factory.mktemp("prefect")
    before = Path.cwd()
    shutil.copy(ROOT / "prefect.toml", home)
    os.chdir(home)
    try:
        port = server.free_port()
        process = server.start(port)
    finally:
        os.chdir(before)
    url = f"http://127.0.0.1:{port}/api"
    server.wait(process, url)
    yield url
    server.stop(process)


@pytest.fixture
def project(tmp_path: Path, prefect_api: str) -> Project:
    """A fresh project with the tiny study, planned and committed."""
    return Project.make(tmp_path / "p", TINY, prefect_api)
