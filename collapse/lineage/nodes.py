"""The nodes of studies, and the way from each back to real data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collapse.errors import InputError
from collapse.study.experiment import Experiment


@dataclass(frozen=True)
class Node:
    """One generation of one branch of one study; generation 0 has no branch and no parent."""

    name: str
    study: str
    branch: str | None
    generation: int
    parent: str | None


def nodes_of(study: Experiment) -> dict[str, Node]:
    """Return every node of ``study``, parents before children, whatever the order of branches in the file.

    Raises
    ------
    InputError
        If two nodes would bear one name.
    """
    found = {study.real: Node(study.real, study.name, None, 0, None)}
    for branch in sorted(study.branches.values(), key=lambda b: (b.first, b.name)):
        for generation in range(branch.first, branch.last + 1):
            name = study.node(branch.name, generation)
            parent = study.node(branch.name, generation - 1)
            if name in found:
                raise InputError(f"{study.path}: two nodes would be called '{name}'; rename branch '{branch.name}'")
            found[name] = Node(name, study.name, branch.name, generation, parent)
    return found


def all_nodes(studies: Mapping[str, Experiment]) -> dict[str, Node]:
    """Return the nodes of all studies."""
    found: dict[str, Node] = {}
    for study in studies.values():
        for name, node in nodes_of(study).items():
            if name in found:
                raise InputError(f"{study.path}: node '{name}' also belongs to study '{found[name].study}'; rename one")
            found[name] = node
    return found


def ancestors(known: Mapping[str, Node], name: str) -> list[Node]:
    """Return the way from ``name`` (included) back to generation 0."""
    way = [known[name]]
    while way[-1].parent is not None:
        way.append(known[way[-1].parent])
    return way
