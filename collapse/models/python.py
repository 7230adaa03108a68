"""Any Python object with `fit` and `sample` as a generative model."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from collapse.data import Rows, Schema
from collapse.errors import Degenerate, InputError, NodeError
from collapse.models import _programs
from collapse.models._exchange import frame, from_table
from collapse.models.base import Model, Parameters
from collapse.rng import Rng

#: Names by which `sample` and constructors take a seed.
SEEDED = ("random_state", "seed")
#: Seeds are below this, as NumPy's are.
SEEDS = 2**31


class Python(Model):
    """An object of class ``object`` ('module:Class', from the project's folder or installed), made with ``with``.

    It has `fit(X)` and `sample(n)`, as scikit-learn's mixtures and densities have. With ``rows: matrix`` X is (n, d),
    the numeric features, and so is what `sample` returns (alone, or first in a tuple). Labelled data takes an object
    for each class, and classes are drawn by their shares. With ``rows: frame`` both are pandas frames of all columns,
    the label among them, and what comes back is checked as a program's file is.

    Each replicate has an object of its own. A seed is handed over as `random_state` or `seed`, where the constructor or
    `sample` has that, or is set as an attribute of that name; NumPy's and Python's global generators are seeded
    for the length of the call, and put back.

    What an object has learned is its attributes. Where all of them are arrays, numbers, texts, or lists and mappings of
    these, they are stored, and set on a fresh object for sampling. Where one is not (a tree, say), nothing is pickled:
    the training rows and the seed are stored instead, and a fresh object is fitted again for sampling.
    """

    kind: ClassVar[str] = "python"
    gaps: ClassVar[bool] = True
    calibration: ClassVar[int] = 30

    object: str
    with_: dict[str, Any] = Field(default={}, alias="with")
    rows: Literal["matrix", "frame"] = "matrix"
    watch: str | None = None

    @field_validator("object")
    @classmethod
    def _named(cls, value: str) -> str:
        module, _, name = value.partition(":")
        if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
            raise ValueError(f"must be 'module:Class', such as sklearn.neighbors:KernelDensity (it is {value!r})")
        return value

    @property
    def program(self) -> str | None:
        """Return the file of the project that defines the class, its package, or ``watch``; None: it is installed."""
        if self.watch is not None:
            return _programs.watched([], self.watch, self.kind)
        top = self.object.partition(":")[0].partition(".")[0]
        for place in (Path(f"{top}.py"), Path(top)):
            if place.exists() and top not in ("collapse", "collapse_lab"):
                return place.as_posix()
        return None

    def spec(self) -> dict[str, Any]:
        path = self.program
        version = None if path else _version(self.object.partition(".")[0].partition(":")[0])
        return {"kind": self.kind, **self.model_dump(mode="json", by_alias=True),
                "program": {"content": _programs.content(path) if path else None, "version": version}}

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        made = self._make(0)
        for name in ("fit", "sample"):
            if not callable(getattr(made, name, None)):
                raise InputError(f"python: {self.object} has no method '{name}'; it needs fit(X) and sample(n)")
        if self.rows == "frame":
            held = [column.name for column in schema.columns if column.kind in ("image", "text")]
            if held:
                raise InputError(f"python: a frame cannot hold {', '.join(held)}; write rows: matrix, or take "
                                 f"kind command")
            return
        other = [column.name for column in (*schema.categorical, *schema.texts)]
        if other or not schema.width:
            raise InputError(f"python: a matrix holds numbers only, not {', '.join(other) or 'labels'}; write "
                             f"rows: frame")
        if schema.gaps:
            names = ", ".join(column.name for column in schema.gaps)
            raise InputError(f"python: a matrix cannot lack numbers, and {names} may be missing; write rows: frame, or "
                             f"source.missing: drop")

    # ------------------------------------------------------------------------------------ fit, sample

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        found: Parameters = {}
        matrix = rows.matrix() if self.rows == "matrix" else None
        shares = []
        for r in range(rows.replicates):
            if matrix is None:
                found |= self._learned(f"{r}/all/", rows.replicate(r), rng.seed(r) % SEEDS, r)
                continue
            label = rows.label[r] if rows.label is not None else np.zeros(rows.n, dtype=int)
            classes = len(rows.schema.label.categories) if rows.schema.label else 1
            count = np.bincount(label, minlength=classes)
            shares.append(count / count.sum())
            for k in np.flatnonzero(count):
                seed = rng.at("class", int(k)).seed(r) % SEEDS
                found |= self._learned(f"{r}/{k}/", matrix[r][label == k], seed, r)
        if shares:
            found["shares"] = np.stack(shares)  # (R, classes)
        found["replicates"] = np.arange(rows.replicates)
        return found

    def _learned(self, prefix: str, data: np.ndarray | Rows, seed: int, r: int) -> Parameters:
        """Return what one object learned: its attributes if they are plain, or else what it takes to fit it again."""
        made = self._fitted(data, seed, r)
        arrays: dict[str, np.ndarray] = {}
        try:
            text = json.dumps(_plain(vars(made), arrays), sort_keys=True, allow_nan=True)
        except TypeError:
            stored = {"x": data} if isinstance(data, np.ndarray) else {k: v[0] for k, v in data.values.items()}
            return {f"{prefix}seed": np.array([seed]), **{f"{prefix}again/{k}": v for k, v in stored.items()}}
        return {f"{prefix}state": np.frombuffer(text.encode(), dtype=np.uint8),
                **{f"{prefix}array/{name}": array for name, array in arrays.items()}}

    def _fitted(self, data: np.ndarray | Rows, seed: int, r: int) -> Any:
        made, given = self._make(seed), data if isinstance(data, np.ndarray) else frame(data)
        with _seeded(seed):
            try:
                made.fit(given)
            except Exception as error:  # whatever a stranger's code raises ends this node and no other
                kind = Degenerate if isinstance(error, Degenerate) else NodeError  # only the code knows
                raise kind(f"fit of replicate {r}: {self.object} raised {_said(error)}") from error
        return made

    def _restored(self, parameters: Parameters, prefix: str, schema: Schema, r: int) -> Any:
        """Return a fresh object in the state that was learned."""
        own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
        if "state" in own:
            made = self._make(0)
            arrays = {name.removeprefix("array/"): value for name, value in own.items() if name.startswith("array/")}
            vars(made).update(_full(json.loads(own["state"].tobytes()), arrays))
            return made
        stored = {name.removeprefix("again/"): value for name, value in own.items() if name.startswith("again/")}
        data = stored["x"] if self.rows == "matrix" else Rows(schema, {k: stored[k][None] for k in schema.names})
        return self._fitted(data, int(own["seed"][0]), r)

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        replicates = len(parameters["replicates"])
        if self.rows == "frame":
            drawn = [self._frame_of(self._restored(parameters, f"{r}/all/", schema, r), schema, n, rng, r)
                     for r in range(replicates)]
            return Rows(schema, {name: np.concatenate([rows[name] for rows in drawn]) for name in schema.names})
        x = np.empty((replicates, n, schema.width))
        shares = parameters["shares"]
        label = np.zeros((replicates, n), dtype=np.int32)
        for r, generator in enumerate(rng.at("label").each(replicates)):
            label[r] = generator.choice(shares.shape[1], n, p=shares[r])
            for k in np.unique(label[r]):
                made = self._restored(parameters, f"{r}/{k}/", schema, r)
                here = label[r] == k
                x[r, here] = self._matrix_of(made, (int(here.sum()), schema.width), rng.at("class", int(k)), r)
        return Rows.assemble(schema, x, {schema.label.name: label} if schema.label else {})

    def _matrix_of(self, made: Any, shape: tuple[int, int], rng: Rng, r: int) -> np.ndarray:
        found = self._drawn(made, shape[0], rng, r)
        try:
            x = np.asarray(found[0] if isinstance(found, tuple) else found, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise NodeError(f"sample of replicate {r}: {self.object} returned no matrix of numbers ({error})") from None
        if x.ndim == 1 and shape[1] == 1:
            x = x[:, None]
        if x.shape != shape:
            raise NodeError(f"sample of replicate {r}: {self.object} returned shape {x.shape}, and {shape} was "
                            f"asked for")
        if not np.isfinite(x).all():
            raise NodeError(f"sample of replicate {r}: {self.object} returned {int((~np.isfinite(x)).sum())} values "
                            f"that are NaN or infinite")
        return x

    def _frame_of(self, made: Any, schema: Schema, n: int, rng: Rng, r: int) -> Rows:
        import pandas as pd
        import pyarrow as pa

        found = self._drawn(made, n, rng, r)
        if not isinstance(found, pd.DataFrame):
            raise NodeError(f"sample of replicate {r}: {self.object} returned {type(found).__name__}, not a frame")
        try:
            return from_table(pa.Table.from_pandas(found, preserve_index=False), schema, n)
        except (NodeError, pa.ArrowException) as error:
            raise NodeError(f"sample of replicate {r}: {self.object}: {_said(error)}") from None

    def _drawn(self, made: Any, n: int, rng: Rng, r: int) -> Any:
        seed = rng.seed(r) % SEEDS
        taken = {name: seed for name in SEEDED if name in _parameters(made.sample)}
        for name in SEEDED:
            if name in vars(made):
                setattr(made, name, seed)
        with _seeded(seed):
            try:
                return made.sample(n, **taken)
            except Exception as error:
                raise NodeError(f"sample of replicate {r}: {self.object} raised {_said(error)}") from error

    def _make(self, seed: int) -> Any:
        """Return a fresh object; its constructor is handed ``seed`` if it takes one and the study gives none."""
        cls = _find(self.object)
        known = _parameters(cls)
        taken = {name: seed for name in SEEDED if name in known and name not in self.with_}
        try:
            return cls(**self.with_, **taken)
        except (TypeError, ValueError) as error:
            raise InputError(f"python: {self.object} cannot be made with {self.with_}: {_said(error)}") from None


# ------------------------------------------------------------------------------------- other people's code


@cache
def _find(name: str) -> type:
    """Return the class 'module:Class'; the project's folder is looked in first."""
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # importing runs a stranger's code
        raise InputError(f"python: {module} cannot be imported ({_said(error)}); it must lie in the project's folder "
                         f"or be installed") from None
    if not isinstance(found, type):
        raise InputError(f"python: {module} has no class '{attribute}'")
    return found


def _parameters(function: Any) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()


@cache
def _version(top: str) -> str | None:
    """Return name and version of the distribution that an installed module came with."""
    from importlib.metadata import packages_distributions, version

    for name in packages_distributions().get(top, []):
        return f"{name} {version(name)}"
    return None


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, which other people's code may draw from, and put them back."""
    before, plain = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
        random.setstate(plain)


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, NodeError) else f"{type(error).__name__}: {text}"


# --------------------------------------------------------------------------------------- what is stored


def _plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return ``value`` as JSON, its arrays moved to ``arrays``.

    Raises
    ------
    TypeError
        If it holds anything else than arrays, numbers, texts, lists, tuples and mappings from text.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        name = f"{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name, "shape": list(value.shape)}
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"scalar": value.item(), "type": value.dtype.str}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_plain(item, arrays) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _plain(item, arrays) for key, item in value.items()}}
    raise TypeError(type(value).__name__)


def _full(found: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return what :func:`_plain` was given."""
    if isinstance(found, dict) and "array" in found and "shape" in found:
        return arrays[found["array"]].reshape(found["shape"]).copy()
    kind, held = next(iter(found.items()))
    if kind == "scalar":
        return np.dtype(found["type"]).type(held)
    if kind == "dict":
        return {key: _full(item, arrays) for key, item in held.items()}
    if kind in ("list", "tuple"):
        items = [_full(item, arrays) for item in held]
        return items if kind == "list" else tuple(items)
    return held

