"""A dataset card: README.md with the YAML header of the Hugging Face hub."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collapse.verdict import SHOWN
from collapse_lab.export import Told

#: Sizes as the hub names them: below how many rows.
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
         (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))
WARNING = """\
> **Warning.** {what} A model that is trained on such rows learns what an earlier model kept:
> rare cases go first, then the spread, and nothing in the rows shows it. Do not use them in place of measured data, do
> not mix them into a training set without saying so, and keep this card and `_manifest.json` beside them."""


def render(told: Sequence[Told], target: str, out: Path) -> str:
    """Return the card of a node's pool, or of a study; it belongs beside the parts (of a study: into ``data/``)."""
    from huggingface_hub import DatasetCard, DatasetCardData

    nodes = {one.node.name: one for one in told}
    whole = [nodes[target]] if target in nodes else [one for one in told if not one.halted]
    rows = sum(one.rows for one in whole)
    synthetic = any(part["kind"] == "synthetic" for one in whole for part in one.parts)
    data = DatasetCardData(
        license="unknown", pretty_name=_line(f"{whole[0].study.title}: {target}"),
        size_categories=[next((name for most, name in SIZES if rows < most), "n>1B")],
        tags=["model-collapse", *(["synthetic"] if synthetic else []), "collapse-lab"],
        configs=[_config(one, target in nodes) for one in whole if one.parts])
    body = _node(nodes[target]) if target in nodes else _study(whole, target)
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}")).rstrip() + "\n"


def _config(one: Told, alone: bool) -> dict[str, Any]:
    files = [f"{part['origin']}.parquet" for part in one.parts]
    where = "" if alone else f"{one.node.name}/pool/"
    return {"config_name": "default" if alone else one.node.name,
            "data_files": [{"split": "train", "path": [where + file for file in files]}]}


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _safe(text: Any) -> str:
    """Return text from data in one line, with nothing in it that Markdown or HTML would take for its own."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(_line(text), quote=False))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g} %"


def _node(one: Told) -> str:
    made, manifest, name = one.makeup, one.manifest, one.node.name
    assert made is not None
    title = f"# {_safe(name)}\n\nA training set of the study “{_safe(one.study.title)}”."
    if one.halted:
        end = manifest["halted"]
        return f"{title}\n\nIt is empty: the branch ended before it ({_safe(end['gate'])} at {_safe(end['node'])}).\n"
    mean, most = made.depth
    parts = [[f"`{part['origin']}.parquet`", part["kind"], part["generation"], f"{part['rows']:,}",
              f"{made.depths[part['origin']][1]:.2g}", f"`{part['file']}`"] for part in one.parts]
    return "\n\n".join([
        title,
        *([_warning(made.real_share)] if made.synthetic else []),
        "## What it is made of",
        _table(["figure", "value"], [
            ["rows", f"{one.rows:,}"],
            *([["trained on", f"{made.real + made.synthetic:,} rows, drawn at random; what follows speaks of these"]]
              if "draw" in manifest else []),
            ["real", _share(made.real_share)],
            ["synthetic depth, mean (most)", f"{mean:.2g} ({most}): how many models stand between a row and reality"],
            ["real diversity that is expected to be left", _share(made.effective)],
            ["replicates", f"{manifest['replicates']}: independent lineages, column `replicate`"],
            ["reality also comes in by", _safe("; ".join(manifest["real_inputs"]) or "nothing else")]]),
        _table(["part", "kind", "generation", "rows", "depth", "SHA-256"], parts),
        "## How it was made",
        _table(["", ""], [
            ["generation", one.node.generation], ["branch, regime", _safe(f"{one.node.branch or '–'}, {one.regime}")],
            ["model", _spec(one.model)], ["source of generation 0", _spec(manifest["source"])],
            ["parent", _safe(one.node.parent or "–")], ["seed", _safe(" / ".join(manifest["seed"]))]]),
        f"Stage of collapse of its newest sample: **{SHOWN[one.stage]}**.",
        "## Gates", _gates(one),
        _verify(name, f"Its manifest has the SHA-256 `{one.sha256}`."),
    ]) + "\n"


def _study(whole: Sequence[Told], target: str) -> str:
    study = whole[0].study
    rows = [[_safe(one.node.name), one.node.generation, _safe(one.regime), f"{one.rows:,}",
             _share(one.makeup.real_share if one.makeup else None),
             f"{one.makeup.depth[0]:.2g}" if one.makeup else "–", SHOWN[one.stage]] for one in whole]
    return "\n\n".join([
        f"# {_safe(target)}\n\n{_safe(study.title)}.",
        _warning(None),
        "## What it is made of",
        "Each node is the training set of the next generation. Depth: how many models stand between a row and reality.",
        _table(["node", "generation", "regime", "rows", "real", "depth", "stage of its sample"], rows),
        f"Model: {_spec(study.model.spec())}. Source of generation 0: {_spec(study.source.spec())}.",
        _verify(target, ""),
    ]) + "\n"


def _warning(share: float | None) -> str:
    rows = "Rows here" if share is None else f"{_share(1 - share)} of these rows"
    return WARNING.format(what=f"{rows} were made by models.")


def _spec(spec: dict[str, Any] | None) -> str:
    if spec is None:
        return "–"
    settings = [f"{key} {value}" for key, value in sorted(spec.items())
                if key not in ("kind", "digest") and value is not None]
    return _safe(f"{spec['kind']}" + (f" ({', '.join(settings)})" if settings else ""))


def _gates(one: Told) -> str:
    def limit(gate: dict[str, Any]) -> str:
        ends = [f"{word} {gate[key]:g}" for key, word in (("min", "at least"), ("max", "at most"))
                if gate[key] is not None]
        return " and ".join(ends)

    return _table(["gate", "must be", "is", "holds"], [
        [_safe(gate["gate"]), limit(gate), "–" if gate["observed"] is None else f"{gate['observed']:.4g}",
         "yes" if gate["success"] else f"**no** ({gate['action']})"] for gate in one.validation["gates"]])


def _verify(name: str, more: str) -> str:
    text = f"""## Verify

```
collapse audit {name}
collapse audit FOLDER        # of a copy of the pool, in a checkout of the study
collapse audit --rows FILE   # which node, model and replicate made each row
```

The first walks back to real data and computes every hash again. {more}"""
    return text.rstrip()
