"""Judges the claims of a study (:mod:`collapse.claims.statements`) on its records, one by one and all together.

Claims that are judged by a test have a p-value: the chance, were they false, of data that speak as clearly for them.
Over those of a study Holm's correction says which would still hold if all of them were to be right together in 95 %
of studies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapse.claims.records import BandsLike, Judge, Records
from collapse.claims.statements.base import Statement, rounded
from collapse.stats import holm

if TYPE_CHECKING:
    import pandas as pd

    from collapse.metrics.base import Fact

#: Chance that any claim of a study holds by accident after Holm's correction.
FAMILY = 0.05


@dataclass(frozen=True)
class Claim:
    """A sentence, where it comes from, the branch that it speaks of first, and what it states."""

    text: str
    source: str
    branch: str
    statement: Statement


def evaluate(claims: Sequence[Claim], table: pd.DataFrame, stages: Mapping[str, Mapping[int, Mapping[str, Any]]],
             bands: Mapping[str, BandsLike], cells: int = 1, laws: Mapping[str, Judge] | None = None,
             facts: Mapping[str, Fact] | None = None) -> list[dict[str, Any]]:
    """Judge every claim.

    Parameters
    ----------
    claims
        What :func:`collapse.claims.grammar.parse_claims` returned.
    table
        Tidy measurements: branch, generation, replicate, metric, feature, value.
    stages
        By branch and generation: ``{"node": stage, "replicates": [stage, …]}``.
    bands
        By branch: its calibrated bands.
    cells
        How many looks share the 1 % of a band: generations × gated metrics of one branch run.
    laws
        By name: a judge that takes the records, the branch and the feature ('' for the whole) and returns verdict and
        evidence, and as a third item, if it has more to say, a mapping of plain data (its mutants, say). By sentence: a
        design's judge, which takes the records and returns a :class:`Finding`.
    facts
        What each metric means, for what it can be at all: without it no claim is blind.

    Returns
    -------
    list of dict
        ``claim``, ``source``, ``branch``, ``verdict`` (holds, fails, undecided or blind), ``evidence`` (one sentence),
        the ``generation``, ``estimate``, ``low`` and ``high`` that it rests on, null where there is none; ``p``, null
        where no test was made, ``p_holm``, the same after Holm's correction over all claims that have one, and
        ``holm``, the verdict that remains: what holds, but for p_holm > 5 %, is undecided; ``law`` only where a judge
        returned more.
    """
    records = Records(table, stages, bands, cells, laws or {}, facts or {})
    findings = [claim.statement.judge(records) for claim in claims]
    tested = [i for i, found in enumerate(findings) if found.p is not None]
    raised = dict(zip(tested, holm([findings[i].p or 0.0 for i in tested]).tolist(), strict=True))
    results = []
    for i, (claim, found) in enumerate(zip(claims, findings, strict=True)):
        gone = found.verdict == "holds" and raised.get(i, 0.0) > FAMILY
        results.append({
            "claim": claim.text, "source": claim.source, "branch": claim.branch, "verdict": found.verdict,
            "evidence": found.evidence[:1].upper() + found.evidence[1:] if found.evidence else "",
            "generation": found.generation, "estimate": found.estimate, "low": found.low, "high": found.high,
            "p": None if found.p is None else rounded(found.p), "p_holm": rounded(raised[i]) if i in raised else None,
            "holm": "undecided" if gone else found.verdict,
            **({} if found.law is None else {"law": dict(found.law)}),
        })
    return results
