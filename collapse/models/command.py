"""Any program as a generative model: it learns from a file, and writes a sample to one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.models import _programs
from collapse.models._exchange import Form, read, write
from collapse.models.base import Model, Parameters
from collapse.rng import Rng

#: Seconds that a program has to say its version, and characters of it that are kept.
VERSION_SECONDS, VERSION_WIDTH = 60, 200
#: Seeds are below this: R takes no more.
SEEDS = 2**31

Words = Annotated[list[str], Field(min_length=1)]


class Command(Model):
    """Two commands, ``fit`` and ``sample``, given as lists of arguments; no shell reads them.

    They run in the project's folder, once for every replicate. In them stand

    * in ``fit`` ``{data}``, the training rows, a file; ``{out}``, an empty folder for what is learned; ``{seed}``;
    * in ``sample`` ``{model}``, a folder with those files; ``{rows}``, how many; ``{seed}``; ``{out}``, a file.

    Files are Parquet or, by ``format``, CSV, with the study's columns. A seed is a whole number below 2^31, another for
    each replicate, generation and purpose. What was learned is kept file by file, as bytes, with the node. A command
    that fails, takes longer than ``timeout`` seconds, or writes anything but the asked rows of the study's columns,
    fails the node, with the last lines of its log.

    ``version`` is a command whose output is recorded with the model. ``watch`` is a file or folder of the project on
    which the model depends: by default the file that the commands name, or the folder that holds all of several. When
    it changes, everything that the model made is made again.
    """

    kind: ClassVar[str] = "command"
    gaps: ClassVar[bool] = True
    calibration: ClassVar[int] = 30

    fit_: Words = Field(alias="fit")
    sample_: Words = Field(alias="sample")
    version: Words | None = None
    format: Form = "parquet"
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 600
    watch: str | None = None

    @property
    def program(self) -> str | None:
        """Return the file or folder of the project that the commands are made of.

        Raises
        ------
        InputError
            If several files have no folder of their own, or ``watch`` is not there.
        """
        return _programs.watched(_programs.project_files([*self.fit_, *self.sample_]), self.watch, self.kind)

    def spec(self) -> dict[str, Any]:
        path = self.program
        found = _programs.content(path) if path else None
        said = _version(tuple(self.version), found) if self.version else None
        return {"kind": self.kind, **self.model_dump(mode="json", by_alias=True), "program": {"content": found,
                                                                                            "version": said}}

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        _programs.check(self.fit_, f"{self.kind}.fit", ("data", "seed", "out"), ("data", "out"))
        _programs.check(self.sample_, f"{self.kind}.sample", ("model", "rows", "seed", "out"),
                       ("model", "rows", "seed", "out"))
        blocks = [column.name for column in schema.columns if column.kind in ("image", "text")]
        if blocks and self.format == "csv":
            raise InputError(f"command: CSV cannot hold {', '.join(blocks)}; write format: parquet")
        if self.version:
            _programs.check(self.version, f"{self.kind}.version", (), ())
            try:
                self.spec()
            except NodeError as error:
                raise InputError(str(error)) from None

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        found: Parameters = {}
        for r in range(rows.replicates):
            with _scratch() as scratch:
                data, out = scratch / f"data.{self.format}", scratch / "model"
                write(rows.replicate(r), data, self.format)
                out.mkdir()
                words = _programs.filled(self.fit_, {"data": data, "seed": rng.seed(r) % SEEDS, "out": out})
                log = _programs.run(words, scratch / "log", self.timeout, f"fit of replicate {r}")
                files = pack(out)
                if not files:
                    raise NodeError(f"fit of replicate {r}: wrote nothing to {{out}}{_programs.shown(log)}")
                found |= {f"{r}/{name}": content for name, content in files.items()}
        return found

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        drawn = []
        for r in range(1 + max(int(name.partition("/")[0]) for name in parameters)):
            with _scratch() as scratch:
                model, out = scratch / "model", scratch / f"sample.{self.format}"
                unpack({name.partition("/")[2]: content for name, content in parameters.items()
                        if name.startswith(f"{r}/")}, model)
                words = _programs.filled(self.sample_, {"model": model, "rows": n, "seed": rng.seed(r) % SEEDS,
                                                       "out": out})
                log = _programs.run(words, scratch / "log", self.timeout, f"sample of replicate {r}")
                try:
                    drawn.append(read(out, schema, n, self.format))
                except NodeError as error:
                    raise NodeError(f"sample of replicate {r}: {error}{_programs.shown(log)}") from None
        return Rows(schema, {name: np.concatenate([rows[name] for rows in drawn]) for name in schema.names})


@contextmanager
def _scratch() -> Iterator[Path]:
    with TemporaryDirectory(prefix="collapse-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@cache
def _version(words: tuple[str, ...], content: str | None) -> str:
    """Return what a program says of its version; asked once per process and content of the program."""
    with _scratch() as scratch:
        text = _programs.run(words, scratch / "log", VERSION_SECONDS, "command.version")
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())[:VERSION_WIDTH]


# ------------------------------------------------------------------------------- what a program learned


def pack(folder: Path) -> dict[str, np.ndarray]:
    """Return every file below ``folder`` as bytes, by its path there, in the order of the paths.

    Raises
    ------
    NodeError
        If there is anything but plain files and folders, or a name that is not UTF-8.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            continue
        shown = name.encode("utf-8", "replace").decode()
        if not stat.S_ISREG(mode):
            kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
            raise NodeError(f"fit wrote {shown}, which is {kind}; only plain files are kept")
        if shown != name or not name.isprintable():
            raise NodeError(f"fit wrote a file whose name is not printable UTF-8 ({shown!r}); name it otherwise")
        found[name] = np.fromfile(path, dtype=np.uint8)
    return found


def unpack(files: dict[str, np.ndarray], folder: Path) -> None:
    """Write the files of :func:`pack` into ``folder``, which must be new.

    Raises
    ------
    NodeError
        If a path would leave it: the weights were not written by :func:`pack`.
    """
    folder.mkdir()
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
            raise NodeError(f"the stored model has a file '{name}' outside its folder; make the node again")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        np.ascontiguousarray(content, dtype=np.uint8).tofile(target)
