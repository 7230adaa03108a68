"""Where everything lies: the files of a node, by its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collapse.lineage.nodes import Node

DATA = Path("data")
RECORDS = DATA / "records"
REPORTS = Path("reports")


@dataclass(frozen=True)
class Files:
    """The files of one node, relative to the project."""

    node: str
    study: str

    @staticmethod
    def of(node: Node) -> Files:
        """Return the files of ``node``."""
        return Files(node.name, node.study)

    @property
    def folder(self) -> Path:
        """Return the node's own folder."""
        return DATA / self.node

    @property
    def pool(self) -> Path:
        """Return the training set of the next generation."""
        return self.folder / "pool"

    @property
    def sample(self) -> Path:
        """Return the folder of the raw fresh sample."""
        return self.folder / "sample"

    @property
    def sample_part(self) -> Path:
        """Return the raw fresh sample."""
        return self.sample / f"{self.node}.parquet"

    @property
    def model(self) -> Path:
        """Return the folder of the fitted model."""
        return self.folder / "model"

    @property
    def bank(self) -> Path:
        """Return the folder of the bank (generation 0)."""
        return self.folder / "bank"

    @property
    def reference(self) -> Path:
        """Return the folder of the held-out reference (generation 0)."""
        return self.folder / "reference"

    def record(self, ending: str) -> Path:
        """Return a record of the node: 'parquet', 'json', 'samples.parquet', 'validation.json' or 'verdict.json'."""
        return RECORDS / self.study / f"{self.node}.{ending}"

    def calibration(self, floor: str) -> Path:
        """Return the noise floor ``floor`` of the node's study."""
        return RECORDS / self.study / f"{floor}.parquet"
