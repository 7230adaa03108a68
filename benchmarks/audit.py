"""What an audit costs: CPU seconds per byte of Parquet beside `hashlib.sha256`, and its memory on a pool of 5 GB.

Everything but the project is the audit's own code: a generation that accumulates, its parts written by the laboratory
and its manifest by the pool's writer. CPU time, not wall time, so that another core is no help.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS, COLUMNS, PARTS = 4_000_000, 8, 20


def make(folder: Path, parts: int, rows: int = ROWS) -> list[Path]:
    """Write a pool of ``parts`` distinct parts of standard normal numbers, 245 MB each by default."""
    from collapse.data import Column, Schema
    from collapse.manifest import write_pool
    from collapse.pool import Part, Pool

    schema = Schema(tuple(Column(f"x{i}", "number") for i in range(COLUMNS)))

    def part(number: int) -> Part:
        def load() -> dict[str, np.ndarray]:
            draw = np.random.default_rng(number)
            return {column.name: draw.standard_normal(rows) for column in schema.columns}

        return Part(f"big-{number:02d}", number > 0, number, schema, np.array([rows]), load)

    # One after another, so that making them needs the memory of one.
    paths = []
    for number in range(parts):
        write_pool(Pool.of(part(number)), folder / str(number), {"study": "big"})
        paths.append(folder / str(number) / f"big-{number:02d}.parquet")
    return paths


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """Return the CPU seconds of a call, the system's for it included; all threads count."""
    before = os.times()
    work(*arguments)
    after = os.times()
    return after.user + after.system - before.user - before.system


def read(path: Path) -> None:
    """Read a file, and decode it, as an audit does: what anyone pays who looks at it."""
    import pyarrow.parquet as pq

    from collapse.parquet import BATCH, BUFFER

    with open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(BUFFER))
        while file.readinto(buffer):
            pass
    with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as parquet:
        for name in parquet.schema_arrow.names:
            for _ in parquet.iter_batches(BATCH // 8, columns=[name], use_threads=False):
                pass


def sha256(path: Path) -> None:
    """Hash a file as the standard library does."""
    with open(path, "rb") as file:
        hashlib.file_digest(file, "sha256")


def verify(paths: list[Path]) -> None:
    """Verify parts as an audit does: both hashes of the bytes, the content hash from the values, what the file says."""
    from collapse_lab.audit.reader import Reader
    from collapse_lab.audit.stored import part
    from collapse_lab.audit.visit import Checked, Visit

    reader = Reader()
    for path in paths:
        checked = Checked(path.stem, 0, None, json.loads((path.parent / "_manifest.json").read_text()))
        part(Visit(None, None, None, checked, reader, {}), path, checked.manifest["parts"][0])
        # there is no study here, and nothing else is wrong
        assert all("is no node" in fault.what for fault in checked.faults), checked.faults


def memory(folder: Path) -> None:
    """Print the peak memory in MiB before and after verifying the pool in ``folder`` (in a process of its own)."""
    import pyarrow.parquet  # noqa: F401

    from collapse_lab.audit.stored import part  # noqa: F401

    def peak() -> float:  # ru_maxrss would count what the parent held before it started this process
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

    before = peak()
    verify(sorted(folder.glob("*/*.parquet")))
    print(json.dumps([before, peak()]))


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        paths = make(folder, PARTS)
        size = sum(path.stat().st_size for path in paths) / 1e6
        one, mega = paths[0], paths[0].stat().st_size / 1e6
        rounds = [[seconds(work, argument) for work, argument in
                   ((sha256, one), (read, one), (lambda path: verify([path]), one))] for _ in range(3)]
        hashing, reading, auditing = (min(times) for times in zip(*rounds, strict=True))
        begin = time.perf_counter()
        command = [sys.executable, "-c", f"from benchmarks.audit import memory, Path; memory(Path({str(folder)!r}))"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        before, peak = json.loads(done.stdout)
        print(f"  hashlib.sha256 alone                 {mega / hashing:7.0f} MB/s of CPU time")
        print(f"  reading and decoding                 {mega / reading:7.0f} MB/s")
        print(f"  an audit in all                      {mega / auditing:7.0f} MB/s, {auditing / hashing:.1f} times "
              f"SHA-256")
        print(f"  an audit beyond reading              {mega / (auditing - reading):7.0f} MB/s, "
              f"{(auditing - reading) / hashing:.1f} times SHA-256")
        print(f"  memory on {size / 1000:.1f} GB in {PARTS} parts       {peak:7.0f} MiB, {peak - before:.0f} more than "
              f"the imports; {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
