"""What runs and datasets tell others (OpenLineage, PROV, Croissant, dataset cards), read by the standards' own code."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import TINY

from collapse import registry
from collapse.errors import InputError
from collapse.lineage import code
from collapse_lab.tasks import events
from tests.worlds.project import ROOT, Project

TITLE = "Odd | <b>title</b> [x](y) `code`"
STUDY = TINY.replace("title: A tiny Gaussian", f"title: '{TITLE}'").replace("generations: 3", "generations: 2").replace(
    "  accumulate: {regime: accumulate}\n",
    "  accumulate: {regime: accumulate}\n  subsample: {regime: subsample}\n  refresh: {regime: refresh, real: 0.5}\n"
    "  ended: {regime: replace, gates: {tail_ratio: {min: 1000, action: halt}}}\n"
    "  broken: {regime: replace, model: {kind: broken}}\n")
PICTURES = """\
title: Pictures
seed: 5
source: {kind: digits}
model: {kind: gmm, pca: 5}
rows: 60
generations: 1
replicates: 1
calibration: 10
measure: {only: [spread]}
branches:
  anchor: {regime: anchor, real: 0.1}
gates: {}
"""
BROKEN = (ROOT / "tests/test_repro.py").read_text(encoding="utf-8").split("BROKEN = '''\n")[1].split("'''\n")[0]


class Collector:
    """A collector on loopback that keeps what it is sent."""

    def __init__(self, status: int = 201):
        self.received: list[dict] = []
        kept = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                kept.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class Done:
    """Two real runs: one with a collector and a branch that fails, one that mends it, with a collector that is mute."""

    def __init__(self, root: Path, api: str):
        self.project = project = Project.make(root, TINY, api)
        (root / "collapse/models/broken.py").write_text(BROKEN)
        (root / "break").touch()
        project.study(STUDY)
        project.study(PICTURES, "pictures")
        (root / "params.yaml").write_text("studies: [tiny, pictures]\nmachine: {workers: 1}\n")
        project.run("collapse", "plan")
        project.commit()
        collector = Collector()
        self.failed = project.run("collapse", "repro", ok=False, OPENLINEAGE_URL=collector.url)
        collector.server.shutdown()
        self.received = collector.received
        self.first = self.log()
        (root / "break").unlink()
        self.mended = project.run("collapse", "repro", OPENLINEAGE_URL=collector.url)
        self.second = self.log()[len(self.first):]

    def log(self) -> list[str]:
        return (self.project.root / events.LOG).read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def done(tmp_path_factory, prefect_api):
    """A project after real runs. Tests that use it must not change it."""
    return Done(tmp_path_factory.mktemp("standards") / "p", prefect_api)


@pytest.fixture
def here(done, monkeypatch):
    """The project as the working directory, and its model that breaks among the models."""
    import collapse.models

    also = str(done.project.root / "collapse/models")
    monkeypatch.setattr(collapse.models, "__path__", [*collapse.models.__path__, also])
    root = done.project.root  # whose code the map was written for
    monkeypatch.setattr(code, "_modules", lambda package: code.walk(package, root / package.replace(".", "/")))
    monkeypatch.chdir(done.project.root)
    registry.names.cache_clear()
    yield done
    registry.names.cache_clear()
    registry.find.cache_clear()


def told(lines: list[str]) -> dict[str, dict]:
    """Return the events by job and state."""
    return {f"{e['job']['name']} {e['eventType']}": e for e in map(json.loads, lines)}


# ------------------------------------------------------------------------------------------------ events


def test_every_run_starts_and_ends(done):
    assert done.failed.returncode == 1
    found = Counter((e["job"]["name"], e["eventType"]) for e in map(json.loads, done.first))
    nodes = [f"tiny-{b}-{g:02d}" for b in ("replace", "accumulate", "subsample", "refresh", "ended") for g in (1, 2)]
    nodes += ["tiny-broken-01", "pictures-anchor-01"]
    stages = [f"{kind}@{node}" for node in nodes for kind in ("generation", "check")]
    stages += [f"{kind}@{study}-real" for study in ("tiny", "pictures") for kind in ("real", "check")]
    stages += ["calibrate@tiny", "calibrate@tiny-broken", "calibrate@pictures", "report@pictures"]
    assert {(stage, state) for stage in stages for state in ("START", "COMPLETE")} | {
        ("generation@tiny-broken-02", "START"), ("generation@tiny-broken-02", "FAIL"), ("repro", "START"),
        ("repro", "FAIL")} == set(found)
    assert set(found.values()) == {1}


def test_events_are_what_the_client_knows_and_stay_equal(done):
    from collapse_lab.tasks import openlineage

    for line in done.first + done.second:
        assert json.loads(openlineage.line(events.parse(line))) == json.loads(line)


def test_a_run_belongs_to_the_run_of_prefect_and_to_repro(done, prefect_api):
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    found = told(done.first)
    node, check, repro = (found[f"{name} COMPLETE"]["run"] for name in (
        "generation@tiny-replace-02", "check@tiny-replace-02", "generation@tiny-replace-01"))
    assert check["facets"]["parent"]["run"]["runId"] == node["runId"] != repro["runId"]
    assert node["facets"]["parent"]["job"]["name"] == "repro"
    assert node["facets"]["parent"]["run"]["runId"] == found["repro START"]["run"]["runId"]
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        assert client.read_flow_run(node["runId"]).name == "tiny-replace-02"
        assert client.read_flow_run(found["repro START"]["run"]["runId"]).name == "repro"


def test_events_say_what_was_read_made_and_asserted(done):
    found = told(done.first)
    event = found["generation@tiny-accumulate-02 COMPLETE"]
    assert [d["name"] for d in event["inputs"]] == ["tiny-accumulate-01/pool"]
    pool, sample, model = event["outputs"]
    assert [d["name"].split("/")[1] for d in event["outputs"]] == ["pool", "sample", "model"]
    root = done.project.root / "data/tiny-accumulate-02"
    manifest = json.loads((root / "pool/_manifest.json").read_text())
    assert event["inputs"][0]["facets"]["version"]["datasetVersion"] == manifest["parent"]["manifest"]
    assert pool["outputFacets"]["outputStatistics"]["rowCount"] == 240
    assert [field["name"] for field in pool["facets"]["schema"]["fields"]] == ["replicate", "x"]
    made = pool["facets"]["collapse_provenance"]
    assert (made["generation"], made["regime"]) == (2, {"kind": "accumulate"})
    assert made["realShare"] == pytest.approx(1 / 3)
    assert pool["facets"]["lineage"]["inputs"][0]["name"] == "tiny-accumulate-01/pool"
    assert sample["facets"]["version"]["datasetVersion"] == manifest["parts"][-1]["content"]
    quality = sample["facets"]["dataQualityMetrics"]
    record = json.loads((done.project.root / "data/records/tiny/tiny-accumulate-02.json").read_text())
    assert quality["collapseMetrics"] == record and quality["columnMetrics"]["x"]["nullCount"] == 0
    assert model["facets"]["version"]["datasetVersion"] == manifest["weights"]
    judged = found["check@tiny-accumulate-02 COMPLETE"]["inputs"][0]["inputFacets"]["dataQualityAssertions"]
    assert {gate["name"]: gate["success"] for gate in judged["assertions"]} == dict.fromkeys(
        ("schema", "rows", "categories", "nulls", "tail_ratio"), True)
    assert [d["name"] for d in found["generation@tiny-refresh-02 COMPLETE"]["inputs"]] == [
        "tiny-refresh-01/pool", "source/gaussian"]
    pictures = found["real@pictures-real COMPLETE"]["outputs"][0]["facets"]["schema"]["fields"]
    assert "image" in {field["name"] for field in pictures}


def test_a_failure_is_told_in_one_line(done):
    found = told(done.first)
    failed = found["generation@tiny-broken-02 FAIL"]
    message = failed["run"]["facets"]["errorMessage"]["message"]
    assert message.startswith("the second fit is broken") and "\n" not in message
    assert [d["name"] for d in failed["inputs"]] == ["tiny-broken-01/pool"] and failed["outputs"] == []
    assert found["repro FAIL"]["run"]["facets"]["errorMessage"]["message"] == "failed: tiny-broken-02"


def test_a_collector_gets_every_event(done):
    kept = sorted((e["run"]["runId"], e["eventType"]) for e in map(json.loads, done.first))
    assert sorted((e["run"]["runId"], e["eventType"]) for e in done.received) == kept
    # the address of a git remote may hold a token
    assert not any("sourceCodeLocation" in e["job"]["facets"] for e in done.received)


def test_a_collector_that_does_not_answer_is_one_line(done):
    assert done.mended.returncode == 0
    assert done.mended.stderr.count("the OpenLineage collector does not answer; .openlineage/events.jsonl has all") == 1
    assert "Traceback" not in done.mended.stderr and "Retry" not in done.mended.stderr
    assert "generation@tiny-broken-02 COMPLETE" in told(done.second)


def test_git_and_dvc_stay_clean(here):
    here.project.run("collapse", "export", "tiny-replace-01", "--to", "card")
    assert here.project.fresh
    changed = here.project.run("git", "status", "--short").stdout.split("\n")
    assert [line for line in changed if line and "dvc.lock" not in line] == [" D break"]


def test_lines_of_several_processes_stay_whole(tmp_path):
    script = ("import sys\nfrom collapse_lab.tasks.events import write\n"
              "for i in range(100): write(sys.argv[1] * 60_000)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    at_once = [subprocess.Popen([sys.executable, "-c", script, letter], cwd=tmp_path, env=environment)
               for letter in "ab"]
    assert [process.wait() for process in at_once] == [0, 0]
    lines = (tmp_path / events.LOG).read_text().splitlines()
    assert Counter(lines) == {letter * 60_000: 100 for letter in "ab"}


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working directory; events of the parent's own are not counted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)
    levels = {name: logging.getLogger(name).level for name in ("openlineage", "urllib3")}
    yield monkeypatch
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_events_can_be_switched_off(empty):
    empty.setenv("OPENLINEAGE_DISABLED", "true")
    with events.collected(pytest.fail), events.recorded("repro"):
        pass
    assert not events.HOME.exists()


def test_nothing_is_sent_unless_a_collector_is_configured(empty):
    assert events.client() is None
    Path("openlineage.yml").write_text("transport: {type: http, url: http://127.0.0.1:9}\n")
    assert events.client().transport.kind == "http"
    Path("openlineage.yml").unlink()
    empty.setenv("OPENLINEAGE__TRANSPORT__TYPE", "http")
    empty.setenv("OPENLINEAGE__TRANSPORT__URL", "http://127.0.0.1:9")
    assert events.client().transport.kind == "http"


def test_the_stages_of_one_run_ask_a_silent_collector_once(empty):
    empty.setenv("OPENLINEAGE__TRANSPORT__TYPE", "http")
    empty.setenv("OPENLINEAGE__TRANSPORT__URL", "http://127.0.0.1:9")
    empty.setenv("OPENLINEAGE__TRANSPORT__RETRY", '{"total": 0}')
    said: list[str] = []
    for _ in range(2):
        with events.collected(said.append, once=True), events.recorded("repro"):
            pass
    assert len(said) == 1 and len(events.LOG.read_text().splitlines()) == 4


def test_a_collector_that_refuses_is_quoted(empty):
    collector = Collector(403)
    empty.setenv("OPENLINEAGE_URL", collector.url)
    said: list[str] = []
    with events.collected(said.append), events.recorded("repro"):
        pass
    collector.server.shutdown()
    assert len(said) == 1 and "takes no events (HTTPError: 403" in said[0]


def test_a_log_that_cannot_be_written_stops_nothing(empty, capsys):
    empty.setattr(events, "_warned", False)
    Path(".openlineage").write_text("a file")
    for _ in range(2):
        with events.recorded("repro"):
            pass
    assert len(capsys.readouterr().err.splitlines()) == 1


# ----------------------------------------------------------------------------------------------- exports


def export(*arguments):
    from collapse_lab.export.write import export as write

    return write(*arguments)


@pytest.mark.parametrize("form", ["prov", "croissant", "card", "openlineage"])
@pytest.mark.parametrize("target", ["tiny-accumulate-02", "tiny-real", "tiny-ended-02", "tiny", "pictures"])
def test_exports_are_the_same_bytes_twice(here, tmp_path, form, target):
    before = export(target, form, tmp_path / "a").read_bytes()
    assert before == export(target, form, tmp_path / "b").read_bytes().replace(b"/b/", b"/a/")
    assert [path.name for path in (tmp_path / "a").iterdir()] == [(tmp_path / "a").iterdir().__next__().name]


def test_prov_is_read_again_and_leads_back_to_generation_0(here, tmp_path):
    from prov.model import ProvDerivation, ProvDocument, ProvGeneration

    path = export("tiny", "prov", tmp_path)
    document = ProvDocument.deserialize(path)
    assert document == ProvDocument.deserialize(content=document.serialize())
    above: dict[str, set[str]] = {}
    for record in document.get_records(ProvDerivation):
        made, used = (str(value) for _, value in record.formal_attributes[:2])
        above.setdefault(made, set()).add(used)
    made_by = {str(r.formal_attributes[0][1]) for r in document.get_records(ProvGeneration)}
    entities = {str(e.identifier): e for e in document.get_records() if str(e.get_type()) == "prov:Entity"}
    assert set(entities) - made_by == {"collapse:source/gaussian"}
    for name in set(entities) - {"collapse:source/gaussian"}:
        reached, following = set(), {name}
        while following:
            reached |= following
            following = {u for f in following for u in above.get(f, ())} - reached
        assert "collapse:source/gaussian" in reached, name
    part = json.loads((here.project.root / "data/tiny-subsample-02/pool/_manifest.json").read_text())["parts"][0]
    told = entities[f"collapse:part/{part['origin']}/{part['content'][:16]}"]
    values = {str(key): value for key, value in told.attributes}
    assert values["collapse:sha256"] == part["file"] and values["collapse:rows"] == part["rows"]


@pytest.mark.parametrize(("target", "records"), [
    ("tiny-accumulate-02", 3), ("tiny-real", 1), ("tiny", 12), ("pictures-anchor-01", 2)])
def test_croissant_is_accepted_and_its_records_load(here, tmp_path, target, records):
    import mlcroissant as mlc

    path = export(target, "croissant", tmp_path)
    found = mlc.Dataset(path)
    issues = found.metadata.ctx.issues
    assert not issues.errors
    assert all("datePublished" in str(warning) for warning in issues.warnings)
    assert len(found.metadata.record_sets) == records
    for record_set in found.metadata.record_sets:
        row = next(iter(found.records(record_set.id)))
        assert {key.split("/")[1] for key in row} == {field.name for field in record_set.fields}
    plain = json.loads(path.read_text())
    assert plain["rai:hasSyntheticData"] is (target != "tiny-real")
    if target == "tiny-accumulate-02":
        assert plain["prov:wasDerivedFrom"] == {"@id": "urn:collapse-lab:tiny-accumulate-01/pool"}
        assert "generation 2" in plain["description"]


@pytest.mark.parametrize("form", ["prov", "croissant"])
def test_another_project_can_continue_what_was_exported(here, tmp_path, form):
    from collapse.lineage import imported

    path = export("tiny-accumulate-02", form, tmp_path)
    pool = here.project.root / "data/tiny-accumulate-02/pool"
    for name, share, depth in (("tiny-real", 1.0, 0), ("tiny-accumulate-02", 0.0, 2)):
        kept = imported.vouch(path, pool / f"{name}.parquet")
        assert (kept["kind"], kept["verified"]) == (form, "sha256")
        assert (kept["says"]["real_share"], kept["says"]["depth"]) == (share, depth)


def test_the_card_is_read_by_the_hub_and_escapes_what_it_shows(here, tmp_path):
    from huggingface_hub import DatasetCard

    path = export("tiny-accumulate-02", "card", tmp_path)
    card = DatasetCard.load(path)
    assert card.data.license == "unknown" and card.data.size_categories == ["n<1K"]
    assert {"synthetic", "model-collapse"} <= set(card.data.tags)
    assert card.data.configs[0]["data_files"][0]["path"] == [
        "tiny-real.parquet", "tiny-accumulate-01.parquet", "tiny-accumulate-02.parquet"]
    assert card.data.pretty_name == f"{TITLE}: tiny-accumulate-02"
    assert "<b>" not in card.text and "Odd \\| &lt;b&gt;title&lt;/b&gt; \\[x\\](y) \\`code\\`" in card.text
    assert "66.7 % of these rows were made by models" in card.text and "| real | 33.3 % |" in card.text
    assert yaml.safe_load(path.read_text().split("---")[1])["configs"][0]["config_name"] == "default"
    real = export("tiny-real", "card", tmp_path / "real").read_text()
    assert "Warning" not in real and "synthetic\n" not in real.split("---")[1]
    ended = export("tiny-ended-02", "card", tmp_path / "ended").read_text()
    assert "It is empty: the branch ended before it (tail\\_ratio at tiny-ended-01)." in ended
    whole = DatasetCard.load(export("tiny", "card", tmp_path / "study"))
    assert len(whole.data.configs) == 12


def test_events_told_again_say_what_the_runs_said(here, tmp_path):
    again = told(export("tiny-accumulate-02", "openlineage", tmp_path).read_text().splitlines())
    assert len(again) == 12
    for name, event in again.items():
        then = told(here.first)[name]
        assert (event["inputs"], event["outputs"]) == (then["inputs"], then["outputs"])
        assert event["eventTime"] == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize(("target", "form", "words"), [
    ("tiny-replace-2", "prov", "is neither a node nor a study of params.yaml; did you mean 'tiny-replace-02'?"),
    ("tiny", "croisant", "--to: 'croisant' is no format; did you mean 'croissant'?"),
])
def test_what_cannot_be_exported_is_one_line(here, target, form, words):
    with pytest.raises(InputError) as caught:
        export(target, form)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_absent_or_damaged_data_is_not_exported(here, tmp_path, monkeypatch):
    shutil.copytree(here.project.root, tmp_path / "p", symlinks=True, ignore=shutil.ignore_patterns("cache", ".git"))
    monkeypatch.chdir(tmp_path / "p")
    part = Path("data/tiny-replace-02/pool/tiny-replace-02.parquet")
    data = part.read_bytes()
    part.unlink()
    with pytest.raises(InputError, match="run 'dvc pull'"):
        export("tiny-replace-02", "card")
    part.write_bytes(data[:-1] + b"x")
    with pytest.raises(InputError, match="is not what its manifest says; 'collapse audit tiny-replace-02'"):
        export("tiny-replace-02", "croissant")
    shutil.rmtree("data/tiny-replace-02/pool")
    with pytest.raises(InputError, match="its data is not here; run 'dvc pull'"):
        export("tiny-replace-02", "prov")
    Path("taken").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        export("tiny-replace-01", "prov", Path("taken"))
