"""A watch as a portable suite: Great Expectations' own core expectations and numbers, to run without this project."""

from __future__ import annotations

from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
from scipy.stats import entropy

from collapse.calibration import interval
from collapse.data import NEW, NOTHING, WHOLE
from collapse.rng import Rng
from collapse.watch.verdicts import TWICE, Watch
from collapse_lab.tasks.expectations.door import quiet

#: Quantiles that must stay: the lower tail, the quarters, the upper tail.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Share that a partition keeps for categories that the reference lacks.
HOLDOUT = 1e-4


def portable(watch: Watch, m: int, rate: float) -> dict[str, Any]:
    """Return a suite for tables of ``m`` rows or more, as plain data for JSON: ``ExpectationSuite(**data)`` reads it.

    Means, standard deviations, quantiles and gaps of number columns, distances and rare shares of category columns, and
    the set of columns. Thresholds are the bands of draws from the bank, at one false-alarm ``rate`` over all of them.
    Dates are left out: core expectations take no means of them.
    """
    quiet()
    schema = watch.frame.schema
    numbers = [c for c in schema.columns if c.kind == "number" and c.type not in WHOLE - {"integer"}]
    categories = [c for c in schema.columns if c.kind == "category"]
    truth = {c.name: watch.frame.shares[c.name] for c in categories}
    truth = {name: (1 - HOLDOUT) * share / share.sum() for name, share in truth.items()}
    found: dict[tuple[str, str], list[float]] = {}
    for k in range(watch.draws):
        rows = watch.bank.draw(m, Rng("watch", "suite", m, k))
        for column in numbers:
            x = rows[column.name][0]
            present = x[~np.isnan(x)]
            row = {"mean": present.mean(), "std": present.std(ddof=1), "missing": np.isnan(x).mean()}
            levels = np.quantile(present, QUANTILES, method="nearest")
            row |= {f"q{q:g}": value for q, value in zip(QUANTILES, levels, strict=True)}
            for what, value in row.items():
                found.setdefault((column.name, what), []).append(float(value))
        for column in categories:
            share = np.bincount(rows[column.name][0], minlength=len(column.categories)) / m
            found.setdefault((column.name, "kl"), []).append(_distance(share, truth[column.name]))
    widen = np.sqrt((watch.bank.n + TWICE * m) / (watch.bank.n - m))
    bands = {}
    for key, values in found.items():
        band = interval(np.array(values), 1, rate / len(found))
        bands[key] = (band.center - widen * (band.center - band.low), band.center + widen * (band.high - band.center))
    expectations: list[Any] = [gxe.ExpectTableColumnsToMatchSet(column_set=list(schema.names), exact_match=False)]
    for column in numbers:
        expectations += _of_number(column.name, column.missing, {what: bands[column.name, what] for what in
                                   ("mean", "std", "missing", *(f"q{q:g}" for q in QUANTILES))})
    for column in categories:
        shares = dict(zip(column.categories, truth[column.name], strict=True))
        names = [name for name, share in shares.items() if share > 0 and name not in (NEW, NOTHING)]
        weights = [float(shares[name]) for name in names]
        if len(names) > 1 and not _numeric(names):
            expectations.append(gxe.ExpectColumnKLDivergenceToBeLessThan(
                column=column.name, threshold=float(max(bands[column.name, "kl"][1], 1e-6)),
                tail_weight_holdout=HOLDOUT,
                partition_object={"values": names, "weights": [w / sum(weights) for w in weights]}))
    suite = gx.ExpectationSuite(name="collapse-watch", expectations=expectations, meta={
        "made_by": "collapse watch", "for_rows": m, "false_alarm_rate": rate,
        "note": f"thresholds hold for snapshots of {m} rows or more; categories are compared as text"})
    data = suite.to_json_dict()
    for item in data["expectations"]:
        item.pop("id", None)
    data.pop("id", None)
    return data


def _numeric(names: list[str]) -> bool:
    """Return whether a table holds these as numbers, so that texts would not be found in it."""
    return all(name.lstrip("-").replace(".", "", 1).isdigit() for name in names) or set(names) <= {"True", "False"}


def _distance(share: np.ndarray, truth: np.ndarray) -> float:
    """Return the divergence of shares from the truth as Great Expectations takes it."""
    spare = truth == 0
    q = np.where(spare, HOLDOUT / max(1, spare.sum()), truth)
    return float(entropy(share, q))


def _of_number(name: str, gaps: bool, bands: dict[str, tuple[float, float]]) -> list[Any]:
    low, high = zip(*(bands[f"q{q:g}"] for q in QUANTILES), strict=True)
    made = [
        gxe.ExpectColumnMeanToBeBetween(column=name, min_value=bands["mean"][0], max_value=bands["mean"][1]),
        gxe.ExpectColumnStdevToBeBetween(column=name, min_value=max(0.0, bands["std"][0]), max_value=bands["std"][1]),
        gxe.ExpectColumnQuantileValuesToBeBetween(column=name, quantile_ranges={
            "quantiles": list(QUANTILES), "value_ranges": [list(pair) for pair in zip(low, high, strict=True)]}),
    ]
    most = min(1.0, max(0.0, bands["missing"][1])) if gaps else 0.0
    made.append(gxe.ExpectColumnValuesToNotBeNull(column=name, mostly=1.0 - most))
    return made
