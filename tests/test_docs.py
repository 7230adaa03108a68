"""The documentation is true: what can be generated is, and examples run.

`python tests/test_docs.py` writes the generated blocks anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from collapse import loop, registry
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.lineage.plan import render
from collapse.metrics import facts
from collapse.pool import Part, Pool, RealData
from collapse.rng import Rng
from collapse.study.files import read_yaml
from collapse.study.parse import parse_study, read_study

ROOT = Path(__file__).parents[1]
MEASURING, STUDIES = ROOT / "docs/measuring.md", ROOT / "docs/studies.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"

#: A sound study, and one mistake of each kind: what is written in it in place of what stands there.
DIGITS = """\
title: Handwritten digits
seed: 7
source: {kind: digits}
model: {kind: gmm, pca: 16}
rows: 400
generations: 10
replicates: 5
branches:
  control:   {regime: control}
  replace:   {regime: replace}
  subsample: {regime: subsample}
  redraw10:  {regime: redraw, real: 0.1}
  rescue:    {from: replace, at: 5, regime: accumulate}
gates:
  tail_ratio: {min: control}
claims:
  - replace.tail_ratio leaves the control band below by generation 10
"""
REDRAW, GMM, FORK = "{regime: redraw, real: 0.1}", "{kind: gmm, pca: 16}", "{from: replace, at: 5, regime: accumulate}"
GATE, CLAIM = "tail_ratio: {min: control}", "replace.tail_ratio leaves the control band below by generation 10"
MISTAKES = [
    ("rows: 400", "row: 400"),
    ("rows: 400", 'rows: "400"'),
    ("replicates: 5\n", ""),
    ("generations: 10", "generations: 0"),
    ("generations: 10", "generations: 10\ngenerations: 12"),
    ("source: {kind: digits}", "source: {kind: digits"),
    ("replace:   {regime: replace}", "Replace: {regime: replace}"),
    (GMM, "{kind: gm, pca: 16}"),
    (GMM, "{kind: gmm, covariance: round}"),
    (GMM, "{kind: gmm, pca: 65}"),
    (GMM, "{kind: gaussian}"),
    (GMM, "{kind: vae, steps: 600, epochs: 60}"),
    (GMM, "{kind: vae, latent: 65}"),
    (GMM, "{kind: vae, width: 0}"),
    (GMM, "{kind: flow, conditional: false}"),
    (REDRAW, "{regime: redraw, reel: 0.1}"),
    (REDRAW, "{regime: redraw}"),
    (REDRAW, "{regime: redraw, real: 1.5}"),
    (REDRAW, "{regime: redraw, real: 0.001}"),
    ("{regime: subsample}", "{regime: subsample, replicates: 3}"),
    (FORK, "{from: replace, regime: accumulate}"),
    (FORK, "{from: replace, at: 10, regime: accumulate}"),
    (FORK, "{from: rescue, at: 5, regime: accumulate}"),
    (GATE, "tail_rato: {min: control}"),
    (GATE, "tail_ratio: {action: halt}"),
    (GATE, "tail_ratio: {min: control, action: stop}"),
    ("claims:", 'tails: [{where: "labl == 8"}]\nclaims:'),
    ("claims:", 'tails: [{where: "label == 88"}]\nclaims:'),
    ("claims:", 'tails: [{where: "label > 8"}]\nclaims:'),
    ("claims:", "groups: [labl]\nclaims:"),
    ("claims:", "groups: [image]\nclaims:"),
    ("claims:", "groups: label\nclaims:"),
    ("claims:", "calibration: 5\nclaims:"),
    (CLAIM, "replace.tail_rato leaves the control band below by generation 10"),
    (CLAIM, "replace.tail_ratio leaves the control band under by generation 10"),
    (CLAIM, "replace.tail_ratio leaves the control band below by generation 11"),
    ("rows: 400", "rows: 500"),
    ("rows: 400", "rows: 2000"),
    ("source: {kind: digits}", "source: {kind: table, path: people.csv, label: income}"),
]


# ---------------------------------------------------------------------------------------- generated


def metrics_table() -> str:
    """The table of all metrics; a step is a remark on the metric that it belongs to."""
    lines = ["| metric | family | ideal | collapse | step | meaning | source |", "|---|---|---|---|---|---|---|"]
    order = ["tails", "spread", "modes", "drift", "fidelity", "labels", "groups", "fit"]
    known = [(name, fact) for name, fact in facts().items() if not name.endswith("_step")]
    for name, fact in sorted(known, key=lambda item: order.index(item[1].family)):
        cells = (f"`{name}`", fact.family, f"{fact.ideal:g}", fact.collapse, "yes" if fact.step else "",
                 fact.meaning.replace("|", "\\|"), fact.source)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mistake(old: str, new: str) -> str:
    """What `collapse plan` says of :data:`DIGITS` with ``new`` for ``old``, written in the working directory."""
    assert old in DIGITS
    Path("studies").mkdir(exist_ok=True)
    Path("studies/digits.yaml").write_text(DIGITS.replace(old, new, 1), encoding="utf-8")
    try:
        study = read_study(Path(), "digits")
        render({"digits": study})
        loop.check_study(study)
    except InputError as error:
        return f"error: {error}"
    raise AssertionError(f"{new!r} is no mistake")


def mistakes_block() -> str:
    """Every mistake as it is written, and its error."""
    items = []
    for old, new in MISTAKES:
        written = new.removesuffix("\nclaims:").replace("\n", " and ") or f"no {old.split(':')[0]}"
        items.append(f"# {written}\n{mistake(old, new)}")
    return "```\n" + "\n".join(items) + "\n```"


def block(path: Path, name: str) -> str:
    """The generated block ``name`` of a document."""
    found = re.search(rf"<!-- {name}: .*? -->\n(.*?)\n<!-- end -->", path.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{path.name} has no block '{name}'"
    return found[1]


def test_the_table_of_metrics_is_that_of_the_code():
    assert block(MEASURING, "metrics") == metrics_table(), "run: python tests/test_docs.py"
    named = set(re.findall(r"^\| `(\w+)` \|", block(MEASURING, "metrics"), re.MULTILINE))
    steps = set(re.findall(r"^\| `(\w+)` (?:\|[^|]*){3}\| yes \|", block(MEASURING, "metrics"), re.MULTILINE))
    assert named | {f"{name}_step" for name in steps} == set(facts())


def test_the_study_with_the_mistakes_is_sound_without_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="is no mistake"):
        mistake("seed: 7", "seed: 8")


def test_the_errors_are_those_of_the_code(tmp_path, monkeypatch):
    monkeypatch.delenv("COLLAPSE_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert block(STUDIES, "mistakes") == mistakes_block(), "run: python tests/test_docs.py"


# ------------------------------------------------------------------------------- kinds and settings


def section(title: str) -> str:
    """A section of the document on studies, its subsections included."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", STUDIES.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


@pytest.mark.parametrize("group", ["sources", "models", "regimes"])
def test_studies_names_every_kind_with_all_its_settings(group):
    text = section(group.capitalize())
    tabled = text.split("### ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", tabled, re.MULTILINE))
    assert set(rows) == set(registry.names(group))
    for kind, row in rows.items():
        where = text if "[below]" in row or kind in {"vae", "flow"} else row  # these have a table of their own
        for name, field in registry.find(group, kind).model_fields.items():
            assert f"`{name}`" in where, f"{kind}: {name}"
            if isinstance(field.default, int | float) and not isinstance(field.default, bool) and where is row:
                shown = re.search(rf"`{name}` \(`?([\d.e-]+)", row)
                assert shown and float(shown[1]) == field.default, f"{kind}: {name}"


def test_studies_names_the_defaults_of_neural_models():
    from collapse.models._neural import STEPS, Neural

    text = section("Models").split("### Neural models")[1].split("### ")[0]
    for name, field in Neural.model_fields.items():
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            row, = re.findall(rf"^\| (`.*`{name}`.*|`{name}`.*)$", text, re.MULTILINE)[-1:]
            assert re.search(rf"(?<![\d.]){field.default}(?![\d])", row), name
    assert f"| `steps` | {STEPS} |" in text


def test_studies_names_every_key():
    from collapse.study.branches import OVERRIDES
    from collapse.study.experiment import Gate
    from collapse.study.reading import MANDATORY, OPTIONAL

    for key in MANDATORY:
        assert f"| `{key}` | mandatory |" in section("The study")
    for key in OPTIONAL:
        assert f"| `{key}` | optional |" in section("The study")
    named = re.findall(r"^\| `(\w+)` \|", section("Branches"), re.MULTILINE)
    assert named == list(OVERRIDES)
    for action in Gate.model_fields["action"].annotation.__args__:
        assert f"| `{action}` |" in section("Gates")


def test_the_claims_of_the_grammar_can_be_parsed(tmp_path):
    """Every sentence of the table, choices taken and brackets filled in, is a claim; so is the shorter one."""
    from collapse.claims.grammar import parse_claims

    (tmp_path / "digits.yaml").write_text(DIGITS)
    known = parse_study(read_yaml(tmp_path / "digits.yaml"), "digits", Path("studies/digits.yaml"))
    sentences = re.findall(r"^\| `([A-Z].*?)`", section("Claims"), re.MULTILINE)
    assert len(sentences) == 12

    for sentence in sentences:
        for chosen in (re.sub(r" \[[^]]*\]", "", sentence), sentence.replace("[", "").replace("]", "")):
            text = re.sub(r"SERIES\\\|NUMBER", "0.5", chosen)
            text = re.sub(r"(\w+)(\\\|\w+)+", r"\1", text).replace("SERIES", "replace.tail_ratio")
            taken = {"MARGIN": "5 %", "NUMBER": "0.5", "BRANCH": "replace", "STAGE": "early", " N": " 8", " M": " 2",
                     " P ": " 95 "}
            for word, value in taken.items():
                text = text.replace(word, value)
            assert parse_claims([text], "docs", known.branches, facts())


# ------------------------------------------------------------------------------------- contributing


def example(name: str, language: str = "python") -> str:
    """The example of the file ``name`` in the guide for contributors."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    found = re.search(rf"`{re.escape(name)}`\n\n```{language}\n(.*?)```", text, re.DOTALL)
    assert found, name
    return found[1]


def made(name: str, kind: str):
    """The class that an example defines, made without settings."""
    scope: dict = {"__name__": "example"}
    exec(compile(example(name), name, "exec"), scope)  # our own guide
    return next(v for v in scope.values() if isinstance(v, type) and v.__dict__.get("kind") == kind)()


def numbers(n: int) -> Rows:
    return Rows.assemble(Schema((Column("x", "number"),)), Rng(1, "docs").at("x").normal((2, n, 1)), {})


def test_the_example_of_a_model():
    model, rows = made("collapse/models/bootstrap.py", "bootstrap"), numbers(50)
    drawn = model.sample(model.fit(rows, Rng(2)), rows.schema, 80, Rng(3))
    assert drawn["x"].shape == (2, 80)
    assert all(np.isin(drawn["x"][r], rows["x"][r]).all() for r in range(2))


def test_the_example_of_a_regime():
    first, sample = (Part.of(numbers(20), name, g, bool(g)) for g, name in enumerate(("s-real", "s-a-01")))
    real = RealData("s-real", first, None, exact=True)
    pool = made("collapse/regimes/beside.py", "beside").next_pool(Pool.of(sample), sample, real, Rng(1))
    assert [part.origin for part in pool.parts] == ["s-real", "s-a-01"]


def test_the_example_of_a_metric():
    from collapse.frame import Frame

    reference, sample = numbers(300).replicate(0), numbers(100)
    frame = Frame.freeze(reference, reference, (), 100)
    found, = made("collapse/metrics/range.py", "range").measure(sample.map(lambda x: 3 * x), frame)
    assert found.metric == "range_ratio"
    expected = 3 * np.ptp(sample["x"], axis=1) / np.ptp(reference["x"])
    np.testing.assert_allclose(found.values, expected)


def test_the_example_of_a_source():
    x = made("collapse/sources/uniform.py", "uniform").draw(1000, 2, Rng(1))["x"]
    assert x.shape == (2, 1000)
    assert abs(x.mean() - 0.5) < 4 / np.sqrt(12 * 2000)


def test_the_example_of_a_study(tmp_path):
    (tmp_path / "narrow.yaml").write_text(example("studies/narrow.yaml", "yaml").replace("uniform", "gaussian"))
    study = parse_study(read_yaml(tmp_path / "narrow.yaml"), "narrow", Path("studies/narrow.yaml"))
    loop.check_study(study)
    assert list(study.branches) == ["replace", "accumulate"]


# -------------------------------------------------------------------------------------------- links


DOCUMENTS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md",
             *(f"docs/{name}.md" for name in ("studies", "measuring", "architecture", "decisions", "standards", "watch",
                                              "yours", "tutorial", "lineage", "laws", "recommend"))]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_between_documents_lead_somewhere(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not re.search(r"^(?:[A-Z]{4,}|.*\b(?:TODO|TBD|FIXME)\b.*)$", text, re.MULTILINE)  # a place left to fill in
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*\.md|)(?:#([\w-]+))?\)", text):
        document = (ROOT / path).parent / target if target else ROOT / path
        assert document.exists(), target
        titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in slugs, f"{target}#{anchor}"


def write() -> None:
    """Write the generated blocks anew."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.pop("COLLAPSE_DATA_DIR", None)
        blocks = [(MEASURING, "metrics", metrics_table()), (STUDIES, "mistakes", mistakes_block())]
    for path, name, body in blocks:
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(block(path, name), body), encoding="utf-8")


if __name__ == "__main__":
    write()
