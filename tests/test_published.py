"""Published figures in a study file: what is read, and what is refused in one line."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from collapse.claims.published import Published
from collapse.claims.records import Records
from collapse.errors import InputError

BRANCHES = {"replace": SimpleNamespace(first=1, last=3), "rescue": SimpleNamespace(first=3, last=5)}
ITEM = {"series": "mean replace.fit_encoder_std", "values": {3: 0.5, 1: 0.8}, "source": "a paper"}


def parse(*items):
    return Published.parse(list(items), "studies/mine.yaml: published", BRANCHES, ["fit_encoder_std"])


def test_values_stand_in_the_order_of_generations_beside_the_measured_ones():
    (found,) = parse(ITEM)
    assert list(found.values) == [1, 3] and str(found.series) == "mean replace.fit_encoder_std"
    measured = np.random.default_rng(1).normal(0.9, 0.1, (3, 6)) * np.array([1, 0.7, 0.5])[:, None]
    rows = [("replace", t + 1, r, "fit_encoder_std", "", v) for (t, r), v in np.ndenumerate(measured)]
    table = pd.DataFrame(rows, columns=["branch", "generation", "replicate", "metric", "feature", "value"])
    beside = found.beside(Records(table, {}, {}))
    low, high = stats.t.interval(0.95, 5, measured[2].mean(), stats.sem(measured[2]))
    last = beside.points[-1]
    assert (last.generation, last.published) == (3, 0.5)
    assert (last.measured, last.low, last.high) == pytest.approx((measured[2].mean(), low, high))
    assert beside.kept[-1] == pytest.approx((0.5 / 0.8, measured[2].mean() / measured[0].mean()))


def test_the_interval_of_a_median_is_that_of_order_statistics():
    (found,) = parse(ITEM | {"series": "replace.fit_encoder_std", "values": {1: 1}})
    rows = [("replace", 1, r, "fit_encoder_std", "", float(r)) for r in range(6)]
    table = pd.DataFrame(rows, columns=["branch", "generation", "replicate", "metric", "feature", "value"])
    (point,) = found.beside(Records(table, {}, {})).points
    assert (point.measured, point.low, point.high) == (2.5, 0.0, 5.0)


def test_one_replicate_has_no_interval_and_what_was_not_measured_is_none():
    (found,) = parse(ITEM | {"values": {1: 0.0, 2050: 0.01}})
    table = pd.DataFrame([("replace", 1, 0, "fit_encoder_std", "", 0.9)],
                         columns=["branch", "generation", "replicate", "metric", "feature", "value"])
    beside = found.beside(Records(table, {}, {}))
    assert [(p.measured, p.low, p.high) for p in beside.points] == [(0.9, None, None), (None, None, None)]
    assert beside.kept == ((None, 1.0), (None, None))  # nothing is a share of zero


@pytest.mark.parametrize(("items", "words"), [
    ([7], "published[0] must be a mapping, such as {series:"),
    ([{"series": "replace.fit_encoder_std", "values": {1: 1}}], "published[0].source is missing"),
    ([ITEM | {"value": 1}], "published[0].value is not a key; did you mean 'values'?"),
    ([ITEM | {"series": "replace.fit_encoder_sd"}], "did you mean 'fit_encoder_std'?"),
    ([ITEM | {"series": "replaced.fit_encoder_std"}], "'replaced' is not a branch; did you mean 'replace'?"),
    ([ITEM | {"series": "replace.fit_encoder_std falls"}], "'falls' is one word too many; the series could end"),
    ([ITEM | {"series": "replace"}], "is not BRANCH.METRIC"),
    ([ITEM | {"source": 5}], "published[0].source must be text"),
    ([ITEM | {"values": {}}], "published[0].values must map generations to numbers"),
    ([ITEM | {"values": [0.688, 0.443]}], "published[0].values must map generations to numbers"),
    ([ITEM | {"values": {0: 0.7}}], "0 is no generation of 'replace', which begins at 1"),
    ([ITEM | {"values": {True: 0.7}}], "True is no generation"),
    ([ITEM | {"series": "rescue.fit_encoder_std"}], "1 is no generation of 'rescue', which begins at 3"),
    ([ITEM | {"values": {1: "high"}}], "published[0].values.1 must be a number (it is 'high')"),
    ([ITEM | {"values": {1: float("nan")}}], "must be a number"),
    ([ITEM, ITEM], "published[1] is a second list of mean replace.fit_encoder_std"),
])
def test_what_is_wrong_is_said_in_one_line(items, words):
    with pytest.raises(InputError) as caught:
        parse(*items)
    assert words in str(caught.value) and str(caught.value).startswith("studies/mine.yaml: published[")
    assert "\n" not in str(caught.value)


def test_a_list_is_wanted():
    with pytest.raises(InputError, match=r"published must be a list, such as \[\{series"):
        Published.parse({"series": 1}, "studies/mine.yaml: published", BRANCHES, [])
