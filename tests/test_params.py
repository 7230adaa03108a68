"""Strict parsing: every mistake is one line that names the file, the key and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from collapse.errors import InputError
from collapse.study.files import read_params, read_yaml
from collapse.study.parse import parse_study, read_study

PATH = Path("studies/mine.yaml")
GOOD = {
    "title": "t", "seed": 1, "source": {"kind": "gaussian"}, "model": {"kind": "gaussian", "ddof": 0}, "rows": 50,
    "generations": 4, "replicates": 2, "gates": {"tail_ratio": {"min": "control"}},
    "branches": {"replace": {"regime": "replace"}, "keep": {"regime": "redraw", "real": 0.1}},
}


def changed(path: str, value) -> dict:
    """GOOD with the dotted ``path`` set to ``value``; a value of ... deletes the key."""
    import copy

    data = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    place = data
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return data


def test_a_good_study_is_frozen():
    study = parse_study(GOOD, "mine", PATH)
    assert study.branches["keep"].regime.real == 0.1
    assert study.model.ddof == 0
    with pytest.raises(Exception, match="frozen"):
        study.model.ddof = 1


def test_a_branch_overrides_the_model_key_by_key():
    study = parse_study(changed("branches.ml", {"regime": "replace", "model": {"ddof": 1}, "rows": 20}), "mine", PATH)
    assert (study.branches["ml"].model.ddof, study.branches["ml"].rows) == (1, 20)
    assert study.branches["replace"].model.ddof == 0


@pytest.mark.parametrize(("path", "value", "message"), [
    ("sead", 3, "sead is not a key; did you mean 'seed'?"),
    ("seed", ..., "seed is missing; add a line such as 'seed: 1'"),
    ("gates", ..., "gates is missing; add a line such as 'gates: {}'"),
    ("seed", "one", "seed must be a whole number (it is 'one')"),
    ("rows", -5, "rows must be at least 1 (it is -5)"),
    ("rows", 1.5, "rows must be a whole number (it is 1.5)"),
    ("rows", True, "rows must be a whole number (it is True)"),
    ("replicates", 0, "replicates must be from 1 to 32767 (it is 0)"),
    ("source.kind", "gausian", "source.kind: 'gausian' is not one of the sources; did you mean 'gaussian'?"),
    ("model.kind", "gpt", "model.kind: 'gpt' is not one of the models"),
    ("model.dof", 1, "model.dof is not a key; did you mean 'ddof'?"),
    ("model.ddof", 2, "model.ddof"),
    ("source", "gaussian", "source must name its kind"),
    ("branches.keep.reel", 0.1, "branches.keep.reel is not a key; did you mean 'real'?"),
    ("branches.keep.real", 1.5, "branches.keep.real: input should be less than 1 (it is 1.5)"),
    ("branches.keep.real", -0.1, "branches.keep.real: input should be greater than 0"),
    ("branches.keep.real", 0.001, "which rounds to 0"),
    ("branches.keep.real", ..., "branches.keep.real is missing"),
    ("branches.keep.regime", "redrow", "branches.keep.regime: 'redrow' is not one of the regimes; did you mean"),
    ("branches.keep.at", 2, "branches.keep needs both from (a branch) and at (a generation), or neither"),
    ("branches.fork", {"from": "replace", "at": 9, "regime": "replace"}, "branches.fork.at is 9, past the end"),
    ("branches.fork", {"from": "replase", "at": 2, "regime": "replace"}, "'replase' is not a branch; did you mean"),
    ("branches.fork", {"from": "fork", "at": 2, "regime": "replace"}, "leads back to itself"),
    ("branches.keep.source", {"kind": "digits"}, "cannot differ between branches"),
    ("branches.keep.model", {"deep": 3}, "branches.keep.model.deep is not a key"),
    ("branches.a/b", {"regime": "replace"}, "cannot be a name"),
    ("branches.../x", {"regime": "replace"}, "cannot be a name"),
    ("branches.real", {"regime": "replace"}, "cannot be a name"),
    ("branches.no", {"regime": "replace"}, "cannot be a name"),
    ("branches.Upper", {"regime": "replace"}, "cannot be a name"),
    ("branches", {}, "branches must map names to regimes"),
    ("branches.replace", "replace", "branches.replace must name its regime"),
    ("gates.tail_ration", {"min": 0.5}, "gates.tail_ration is not a metric; did you mean 'tail_ratio'?"),
    ("gates.tail_ratio", {}, "gates.tail_ratio has no threshold"),
    ("gates.tail_ratio", {"min": "kontrol"}, "gates.tail_ratio.min"),
    ("gates.tail_ratio", {"min": 2.0, "max": 1.0}, "gates.tail_ratio.min is above its max"),
    ("gates.tail_ratio", {"min": 1.0, "action": "stop"}, "gates.tail_ratio.action"),
    ("tails", [{"where": "x >"}], "tails[0].where"),
    ("tails", [{"where": "x > 1", "weight": 0}], "tails[0].weight must be above 0"),
    ("claims", "replace collapses", "claims must be a list"),
    ("claims", ["replace.tail_ratoi falls"], "tail_ratoi"),
    ("calibration", 3, "calibration must be at least 10"),
])
def test_mistakes(path, value, message):
    data = changed(path, value) if not path.startswith("branches.../") else changed("branches", {
        **GOOD["branches"], "../x": value})
    with pytest.raises(InputError) as error:
        parse_study(data, "mine", PATH)
    text = str(error.value)
    assert text.startswith("studies/mine.yaml: ")
    assert message in text
    assert "\n" not in text


def test_yaml_mistakes(tmp_path):
    def read(text: str):
        (tmp_path / "x.yaml").write_text(text)
        return read_yaml(tmp_path / "x.yaml")

    with pytest.raises(InputError, match="line 2: 'a' is given twice"):
        read("a: 1\na: 2\n")
    with pytest.raises(InputError, match="line 3: not valid YAML"):
        read("a: 1\nb: [1,\n")
    with pytest.raises(InputError, match="must hold a mapping"):
        read("- 1\n")
    with pytest.raises(InputError, match="must hold a mapping"):
        read("")


def test_params_mistakes(tmp_path):
    def read(text: str):
        (tmp_path / "params.yaml").write_text(text)
        return read_params(tmp_path)

    with pytest.raises(InputError, match="no such file"):
        read_params(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="studies must be a list of names"):
        read("studies: digits\n")
    with pytest.raises(InputError, match="studies names one study twice"):
        read("studies: [a, a]\n")
    with pytest.raises(InputError, match="cannot be a name"):
        read("studies: [../a]\n")
    with pytest.raises(InputError, match=r"machine.workers must be at least 1"):
        read("studies: [a]\nmachine: {workers: 0}\n")
    with pytest.raises(InputError, match=r"machine\.worker is not a key; did you mean 'workers'"):
        read("studies: [a]\nmachine: {worker: 1}\n")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/digits.yaml").write_text("")
    with pytest.raises(InputError, match="no such study; did you mean 'digits'"):
        read_study(tmp_path, "digit")


def test_a_model_of_another_package_joins_by_entry_point(monkeypatch):
    from collapse import registry
    from collapse.models.gaussian import Gaussian

    class Point:
        name = "theirs"
        module = "theirs.models"

        def load(self):
            return type("Theirs", (Gaussian,), {"kind": "theirs", "__module__": "theirs"})

    find, names = registry.find.__wrapped__, registry.names.__wrapped__
    monkeypatch.setattr(registry, "_entry_points", lambda group: {"theirs": Point()} if group == "models" else {})
    monkeypatch.setattr(registry, "find", find)
    monkeypatch.setattr(registry, "names", names)
    study = parse_study(changed("model", {"kind": "theirs", "ddof": 1}), "mine", PATH)
    assert study.model.spec() == {"kind": "theirs", "ddof": 1, "variance": None}
    assert registry.module("models", "theirs") == "theirs.models"
    assert registry.foreign() == {"theirs.models"}
