"""Closed forms of recursive training, by name, and how a study's claims are judged by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from collapse.errors import InputError, nearest

if TYPE_CHECKING:
    from collapse.laws.base import Law
    from collapse.study.parse import Study


@cache
def _laws() -> dict[str, type[Law]]:
    from importlib import import_module
    from pkgutil import iter_modules

    from collapse.laws.base import Law

    found = {}
    for _, name, _ in iter_modules(__path__):
        for item in vars(import_module(f"collapse.laws.{name}")).values():
            if isinstance(item, type) and issubclass(item, Law) and "kind" in vars(item):
                found[item.kind] = item
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Return the names of all laws that a claim can name."""
    return tuple(_laws())


def find(name: str) -> type[Law]:
    """Return the law called ``name``.

    Raises
    ------
    InputError
        If there is none.
    """
    known = _laws()
    if name not in known:
        raise InputError(f"'{name}' is not a law{nearest(name, known)}")
    return known[name]


def claims(study: Study) -> Iterator[tuple[int, Any, Law]]:
    """Yield the place, the statement and the law of every claim that names one."""
    from collapse.claims.statements.referred import Law as Statement

    for index, claim in enumerate(study.claims):
        said = claim.statement
        if not isinstance(said, Statement):
            continue
        where = f"{study.path}: claims[{index}]"
        try:
            yield index, said, find(said.law).of(study, study.branches[said.branch], said.feature)
        except ValidationError as error:
            text = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InputError(f"{where}: the law {said.law}: {text[:1].lower()}{text[1:]}") from None
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def check(study: Study) -> None:
    """Refuse a claim whose law does not describe its branch.

    Raises
    ------
    InputError
        Naming the claim, what the law speaks of, and the remedy.
    """
    for _ in claims(study):
        pass


def curves(study: Study) -> dict[tuple[str, str, str], dict[int, float]]:
    """Return the laws that a study claims, drawn: by (branch, metric, feature) the value at each generation."""
    found = {}
    for _, said, law in claims(study):
        t = np.arange(1, study.branches[said.branch].last + 1)
        for metric, values in law.lines(t).items():
            found[said.branch, metric, law.feature] = dict(zip(t.tolist(), values.tolist(), strict=True))
    return found


def judges(study: Study) -> dict[str, Callable[..., Any]]:
    """Return a judge for every law that the study claims (:func:`collapse.claims.judge.evaluate`).

    One level, :data:`collapse.laws.base.LEVEL`, is shared by all looks of all its law claims.
    """
    claimed = {(said.law, said.branch, said.feature): law for _, said, law in claims(study)}
    looks = sum(study.branches[branch].last + 1 for _, branch, _ in claimed)

    def judge(name: str) -> Callable[..., Any]:
        def of(records: Any, branch: str, feature: str) -> tuple[str, str, dict[str, Any]] | tuple[str, str]:
            law, item = claimed[name, branch, feature], study.branches[branch]
            paths = Recorded(records.table, branch)
            try:
                found = law.judge(paths, looks, last=item.last)
            except KeyError as error:
                return "undecided", f"Branch {branch} has no record of {error.args[0]} to its last generation."
            return found.verdict, found.sentence, found.plain()
        return of

    return {name: judge(name) for name, _, _ in claimed}


class Recorded(Mapping[tuple[str, str], np.ndarray]):
    """Paths (R, T) of one branch by (metric, feature), from a study's tidy records."""

    def __init__(self, table: Any, branch: str) -> None:
        self._table = table[(table.branch == branch) & (table.generation > 0)]

    def __getitem__(self, key: tuple[str, str]) -> np.ndarray:
        metric, feature = key
        own = self._table[(self._table.metric == metric) & (self._table.feature == feature)]
        if own.empty:
            raise KeyError(f"{metric}[{feature}]" if feature else metric)
        return own.pivot(index="replicate", columns="generation", values="value").to_numpy()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        pairs = self._table[["metric", "feature"]].drop_duplicates()
        return iter(list(pairs.itertuples(index=False, name=None)))

    def __len__(self) -> int:
        return len(list(iter(self)))
