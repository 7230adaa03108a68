"""Gates judged by the real Great Expectations, against medians and counts computed here."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collapse.data import Column, Rows, Schema
from collapse.parquet import write_part
from collapse.pool import Part
from collapse_lab.audit import gates as audit_gates
from collapse_lab.tasks.expectations import build_docs, judge, outcome

R, N = 4, 30
SCHEMA = Schema((
    Column("x", "number"),
    Column("ink", "image", shape=(3, 2)),
    Column("kind", "category", ("a", "b", "c"), role="label"),
))
MEASURED = pd.DataFrame({
    "tail_ratio": [0.9, 0.8, 0.7, 1.0],
    "variance_ratio": [1.1, 1.0, 0.9, 1.2],
    "sliced_w2": [0.1, 0.2, 5.0, 0.2],
})


@dataclass(frozen=True)
class Gate:
    metric: str
    min: object = None
    max: object = None
    action: str = "record"


def rows(replicates=R, n=N):
    rng = np.random.default_rng(5)
    return Rows(SCHEMA, {
        "x": rng.normal(size=(replicates, n)),
        "ink": rng.random((replicates, n, 3, 2)).astype(np.float32),
        "kind": rng.integers(0, 3, (replicates, n)).astype(np.int32),
    })


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "toy-replace-01.parquet"
    write_part(Part.of(rows(), "toy-replace-01", 1, synthetic=True), path, "toy")
    return path


def judged(sample, *gates, measured=MEASURED, thresholds=None, **keys):
    """Judge by Great Expectations, and see that the auditor's arithmetic says the same, to the letter."""
    limits = {gate.metric: (gate.min, gate.max) for gate in gates} if thresholds is None else thresholds
    validation = judge(gates, measured, sample, limits, **keys)
    again = audit_gates.judge(gates, measured, sample, limits, **keys)
    assert json.dumps(again) == json.dumps(validation)
    return validation, {gate["gate"]: gate for gate in validation["gates"]}


def rewritten(sample, tmp_path, change):
    """Return a part whose table ``change`` has altered, its provenance kept."""
    table = pq.read_table(sample)
    path = tmp_path / "changed.parquet"
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)
    return path


# --------------------------------------------------------------------------------------------- metrics


def test_a_gate_compares_the_median_over_replicates(sample):
    median = np.median(MEASURED["tail_ratio"])
    validation, gates = judged(sample, Gate("tail_ratio", min=median - 1e-9))
    assert validation["success"] and gates["tail_ratio"]["observed"] == pytest.approx(median)
    validation, gates = judged(sample, Gate("tail_ratio", min=median + 1e-9))
    assert not validation["success"] and not gates["tail_ratio"]["success"]
    validation, gates = judged(sample, Gate("sliced_w2", max=0.19))
    assert not gates["sliced_w2"]["success"], "the median is 0.2"
    validation, gates = judged(sample, Gate("sliced_w2", max=0.21))
    assert gates["sliced_w2"]["success"], "the mean is 1.4"


def test_one_inflated_replicate_does_not_hide_the_others(sample):
    measured = MEASURED.assign(tail_ratio=[0.1, 0.2, 0.1, 40.0])
    _, gates = judged(sample, Gate("tail_ratio", min=0.8), measured=measured)
    assert not gates["tail_ratio"]["success"] and gates["tail_ratio"]["observed"] == pytest.approx(0.15)


def test_control_without_a_calibration_says_what_to_do():
    from collapse.calibration import Bands
    from collapse.errors import InputError
    from collapse_lab.tasks.judging import _limits

    table = {"kind": ["model"] * 3, "metric": ["w1_step"] * 3, "feature": [""] * 3, "value": [1.0, 2.0, 3.0]}
    study = SimpleNamespace(path="studies/toy.yaml", replicates=1, measured=1)
    assert _limits(Gate("w1_step", max="control"), Bands(table), "model", study, 5, 1)[1] > 3
    assert _limits(Gate("modes_alive", min=0.5), Bands(table), "model", study, 5, 1) == (0.5, None)
    words = r"^studies/toy\.yaml: gates\.modes_alive asks for 'control', but .* has no 'modes_alive'; give a number"
    with pytest.raises(InputError, match=words) as e:
        _limits(Gate("modes_alive", min="control"), Bands(table), "model", study, 5, 1)
    assert "\n" not in str(e.value)



TYPED = Schema((
    Column("age", "number", type="integer", missing=True), Column("pay", "number"),
    Column("born", "number", type="date"),
    Column("ok", "category", ("False", "True", "(missing)"), type="boolean", missing=True),
    Column("town", "category", ("x", "(missing)"), missing=True),
))


def test_gaps_are_allowed_where_they_were_frozen_and_types_are_native(tmp_path):
    n = 20
    values = {"age": np.where(np.arange(n) < 3, np.nan, np.arange(n)), "pay": np.arange(n) / 3,
              "born": np.arange(n) * 1.0,
              "ok": np.arange(n) % 3, "town": np.arange(n) % 2}
    sample = Rows(TYPED, {c.name: values[c.name][None].astype(float if c.kind == "number" else np.int32)
                          for c in TYPED.columns})
    path = tmp_path / "t-replace-01.parquet"
    write_part(Part.of(sample, "t-replace-01", 1, synthetic=True), path, "t")
    one = {"measured": MEASURED.head(1), "schema": TYPED, "rows": n}
    validation, _ = judged(path, **one)
    assert validation["success"], validation
    strict = Schema(tuple(replace(c, missing=c.name != "age" and c.missing) for c in TYPED.columns))
    _, gates = judged(path, measured=MEASURED.head(1), schema=strict, rows=n)
    assert not gates["nulls"]["success"] and gates["nulls"]["observed"] == 3
    assert gates["schema"]["success"]
    empty = rewritten(path, tmp_path, lambda t: t.set_column(1, "pay", pa.array([None, *values["pay"][1:]])))
    assert not judged(empty, **one)[1]["nulls"]["success"]  # pay had none
    nan = rewritten(path, tmp_path, lambda t: t.set_column(1, "pay", pa.array([np.nan, *values["pay"][1:]])))
    assert not judged(nan, **one)[1]["nulls"]["success"]
    text = rewritten(path, tmp_path, lambda t: t.set_column(0, "age", t["age"].cast(pa.float64())))
    assert not judged(text, **one)[1]["schema"]["success"]


def test_expectations_speak_of_the_family(sample):
    measured = MEASURED.assign(modes_alive=1.0, sliced_w2_step=0.1, precision=0.8)
    _, gates = judged(sample, *(Gate(metric, min=0.0) for metric in measured), measured=measured)
    said = {metric: gates[metric]["expectation"] for metric in measured}
    assert said == {
        "tail_ratio": "ExpectTailsToSurvive",
        "variance_ratio": "ExpectSpreadToSurvive",
        "modes_alive": "ExpectModesToSurvive",
        "sliced_w2": "ExpectDriftToStaySmall",
        "sliced_w2_step": "ExpectStepToStaySmall",
        "precision": "ExpectMeasureToStayInBand",
    }
    assert "tails survive" in gates["tail_ratio"]["description"]


def test_class_data_names_a_true_metric():
    from collapse.metrics import facts
    from collapse_lab.tasks.expectations import drift, survival

    for kind in (survival.ExpectTailsToSurvive, survival.ExpectSpreadToSurvive, survival.ExpectModesToSurvive,
                 drift.ExpectDriftToStaySmall, drift.ExpectStepToStaySmall):
        assert kind.__fields__["column"].default in facts()


@pytest.mark.parametrize("value", [np.nan, None])
def test_one_unmeasured_replicate_fails_the_gate(sample, value):
    measured = MEASURED.assign(tail_ratio=[0.9, value, 0.9, 0.9])
    validation, gates = judged(sample, Gate("tail_ratio", min=0.5, action="halt"), measured=measured)
    assert validation["outcome"] == "halt"
    assert gates["tail_ratio"]["expectation"] == "ExpectEveryReplicateToBeMeasured"
    assert gates["tail_ratio"]["observed"] == 1.0


def test_an_absent_metric_fails_the_gate(sample):
    _, gates = judged(sample, Gate("mmd", max=9.0))
    assert not gates["mmd"]["success"] and gates["mmd"]["observed"] == R


def test_infinity_is_no_json_number_and_breaks_a_maximum(sample):
    measured = MEASURED.assign(sliced_w2=np.inf)
    validation, gates = judged(sample, Gate("sliced_w2", max=5.0), measured=measured)
    assert not gates["sliced_w2"]["success"] and gates["sliced_w2"]["observed"] is None
    json.dumps(validation, allow_nan=False)


def test_control_is_resolved_by_the_caller(sample):
    gate = Gate("tail_ratio", min="control")
    _, gates = judged(sample, gate, thresholds={"tail_ratio": (0.81, None)})
    assert gates["tail_ratio"] | {"description": "", "observed": 0} == {
        "gate": "tail_ratio", "expectation": "ExpectTailsToSurvive", "description": "", "success": True,
        "action": "record", "observed": 0, "min": 0.81, "max": None, "threshold": "control",
    }


@pytest.mark.parametrize("thresholds", [{}, {"tail_ratio": (None, 2.0)}, {"tail_ratio": (np.nan, None)}])
def test_a_control_band_that_is_missing_fails(sample, thresholds):
    _, gates = judged(sample, Gate("tail_ratio", min="control", max=2.0), thresholds=thresholds)
    assert not gates["tail_ratio"]["success"]


# ---------------------------------------------------------------------------------------------- sample


def test_a_whole_sample_passes(sample):
    validation, gates = judged(sample, schema=SCHEMA, rows=N)
    assert validation["success"] and validation["outcome"] == "pass"
    assert sorted(gates) == ["categories", "nulls", "rows", "schema"]
    assert gates["rows"]["observed"] == R * N


def test_a_single_replicate_has_no_replicate_column(tmp_path):
    path = tmp_path / "one.parquet"
    write_part(Part.of(rows(1), "one", 1, synthetic=True), path, "toy")
    validation, _ = judged(path, measured=MEASURED.head(1), schema=SCHEMA, rows=N)
    assert validation["success"]


def _with(table, name, array):
    return table.set_column(table.column_names.index(name), name, array)


def _pixels(table):
    pixels = table["ink"].combine_chunks().to_numpy_ndarray().copy()
    pixels[0, 0, 0] = np.nan
    return _with(table, "ink", pa.FixedShapeTensorArray.from_numpy_ndarray(pixels))


def _strange(table):
    values = table["kind"].combine_chunks()
    names = values.to_pylist()
    names[3] = "z"
    return _with(table, "kind", pa.array(names).dictionary_encode())


def _unlabelled(table):
    return _with(table, "kind", pa.array([None, *table["kind"].to_pylist()[1:]]).dictionary_encode())


FAULTS = {
    "a column is gone": (lambda t: t.drop_columns(["x"]), {"schema", "rows"}),
    "a column more": (lambda t: t.append_column("y", t["x"]), {"schema"}),
    "another order": (lambda t: t.select(["replicate", "ink", "x", "kind"]), {"schema"}),
    "another type": (lambda t: _with(t, "x", t["x"].cast(pa.float32())), {"schema"}),
    "another picture": (
        lambda t: _with(t, "ink", pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((R * N, 2, 3), np.float32))),
        {"schema"},
    ),
    "a row is gone": (lambda t: t.slice(1), {"rows"}),
    "a row more": (lambda t: pa.concat_tables([t, t.slice(0, 1)]), {"rows"}),
    "a strange category": (_strange, {"categories"}),
    "NaN": (lambda t: _with(t, "x", pa.array([float("nan"), *t["x"].to_pylist()[1:]])), {"nulls"}),
    "infinity": (lambda t: _with(t, "x", pa.array([float("inf"), *t["x"].to_pylist()[1:]])), {"nulls"}),
    "null": (lambda t: _with(t, "x", pa.array([None, *t["x"].to_pylist()[1:]])), {"nulls"}),
    "no label": (_unlabelled, {"nulls"}),
    "a bad pixel": (_pixels, {"nulls"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_sample_halts(sample, tmp_path, fault):
    change, expected = FAULTS[fault]
    validation, gates = judged(rewritten(sample, tmp_path, change), schema=SCHEMA, rows=N)
    assert {name for name, gate in gates.items() if not gate["success"]} == expected
    assert validation["outcome"] == "halt"


def test_faults_are_counted(sample, tmp_path):
    bad = rewritten(sample, tmp_path, lambda t: _with(t, "x", pa.array([None, float("nan"), *t["x"].to_pylist()[2:]])))
    _, gates = judged(bad, schema=SCHEMA, rows=N)
    assert gates["nulls"]["observed"] == 2


def test_categories_of_generation_0_are_the_measure(sample):
    fewer = Schema((*SCHEMA.columns[:2], replace(SCHEMA["kind"], categories=("a", "b"))))
    _, gates = judged(sample, schema=fewer, rows=N)
    assert gates["categories"]["observed"] == (rows()["kind"] == 2).sum() > 0


# --------------------------------------------------------------------------------------------- verdict


@pytest.mark.parametrize(("actions", "expected"), [
    ([], ("pass", [])),
    (["record"], ("pass", [])),
    (["record", "quarantine"], ("quarantine", ["g1"])),
    (["quarantine", "halt", "record"], ("halt", ["g1"])),
    (["halt", "halt"], ("halt", ["g0", "g1"])),
])
def test_the_severest_action_decides(actions, expected):
    failing = [{"gate": f"g{i}", "success": False, "action": action} for i, action in enumerate(actions)]
    holding = [{"gate": "held", "success": True, "action": "halt"}]
    verdict = outcome([*holding, *failing])
    assert (verdict["outcome"], verdict["gates"]) == expected


# ----------------------------------------------------------------------------------- bytes and imports

SCRIPT = """
import json, pathlib, sys
import pandas as pd
import collapse_lab.tasks
assert "great_expectations" not in sys.modules
from collapse_lab.tasks.expectations import judge
assert "great_expectations" not in sys.modules
from types import SimpleNamespace as Gate
gates = [Gate(metric=m, min=0.5, max=None, action="halt") for m in ("variance_ratio", "tail_ratio", "sliced_w2")]
measured = pd.read_json(sys.argv[2])
thresholds = {gate.metric: (0.5, None) for gate in gates}
print(json.dumps(judge(gates, measured, pathlib.Path(sys.argv[1]), thresholds)))
"""


def test_equal_input_gives_equal_text_in_any_process(sample, tmp_path):
    gates = [Gate(metric, min=0.5, action="halt") for metric in ("tail_ratio", "sliced_w2", "variance_ratio")]
    here = [json.dumps(judge(gates, MEASURED, sample, {g.metric: (0.5, None) for g in gates})) for _ in range(2)]
    table = tmp_path / "measured.json"
    table.write_text(MEASURED.to_json(double_precision=15))
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    there = subprocess.run([sys.executable, "-c", SCRIPT, str(sample), str(table)], capture_output=True, text=True,
                           env=environment, cwd=os.getcwd())
    assert there.returncode == 0, there.stderr
    assert here == [there.stdout.strip()] * 2
    assert there.stderr == "" and there.stdout.count("\n") == 1, "quiet but for the answer"


def test_one_data_source_serves_every_node(sample):
    from great_expectations.data_context.data_context.context_factory import project_manager

    for bound in (0.1, 0.2, 0.3):
        judged(sample, Gate("tail_ratio", min=bound))
    assert len(project_manager.get_datasources()) == 1


# ------------------------------------------------------------------------------------------- data docs


def test_data_docs_open_without_a_network(sample, tmp_path):
    nodes = []
    for generation, bound in enumerate((0.5, 0.95), start=1):
        validation, _ = judged(sample, Gate("tail_ratio", min=bound, action="quarantine"))
        nodes.append({"node": f"toy-replace-0{generation}", **validation})
    nodes.append({"node": "toy-replace-03", "outcome": "halt", "success": False, "gates": []})
    index = build_docs(nodes, tmp_path / "docs", "Toy")
    text = index.read_text()
    assert text.index("toy-replace-01") < text.index("toy-replace-02") < text.index("toy-replace-03")
    pages = list((tmp_path / "docs").rglob("*.html"))
    assert len(pages) == 4
    for page in pages:
        assert "http" not in page.read_text() and "<script" not in page.read_text()
    second = next(page for page in pages if page.stem == "toy-replace-02").read_text()
    assert "The tails survive" in second and "at least 0.95" in second and "0.85" in second
    after, _ = judged(sample, Gate("tail_ratio", min=0.5))
    assert after["success"]
    assert not (tmp_path / "docs/.tmp").exists()
    assert {p.relative_to(tmp_path / "docs").parts[0] for p in pages} == {"index.html", "nodes"}
