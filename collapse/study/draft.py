"""A first study of a file that nobody has looked at: what is in it, and a commented study of it."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse import loop
from collapse.data import Rows
from collapse.errors import InputError
from collapse.frame import Frame
from collapse.metrics import measure_all
from collapse.metrics._partition import LEAST_ROWS
from collapse.reader import layouts
from collapse.reader.dialect import Dialect, sniff
from collapse.rng import Rng
from collapse.sources.table import KINDS, Table

if TYPE_CHECKING:
    import pandas as pd

#: Rows of a training set: what a study of minutes can carry.
MOST_ROWS = 2000
#: Categories beyond which text is a name or an identifier rather than a property.
MANY = 200
#: Names that a class often has.
LABELS = ("label", "class", "target", "outcome", "y")
#: Groups that are measured, and categories that one of them may have.
GROUPINGS, WIDEST = 3, 8
#: Rare categories that are watched one by one, and the share below which they are rare.
RARE, SHARE = 4, 0.03
#: Texts that mean a missing value where they stand among others.
GAPS = ("?", "N/A", "n/a", "-", "None", "NULL")


@dataclass
class FileSurvey:
    """What a file holds, and what was assumed in reading it.

    Attributes
    ----------
    table
        The source that the study takes.
    rows
        What it reads.
    assumed
        One line for each choice.
    """

    table: Table
    rows: Rows
    assumed: list[str] = field(default_factory=list)


def survey(path: str, label: str | None = None) -> FileSurvey:
    """Look at a CSV or Parquet file: its separator, gaps, types, and columns that nothing can be learned from.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or leaves no column.
    """
    assumed: list[str] = []
    settings: dict[str, Any] = {"path": path}
    place = Table(path=path).locate()
    written = sniff(place) if layouts.magic(place) is None and layouts.ENDINGS.get(layouts.ending(place)) in \
        (None, "csv", "text") else Dialect()
    for key, what in (("separator", "fields are separated by"), ("encoding", "it is encoded in"),
                      ("decimal", "decimals stand after")):
        found = getattr(written, key)
        if found != getattr(Dialect(), key) and (key != "decimal" or found != written.separator):
            settings[key] = found
            assumed.append(f"{what} {settings[key]!r}")
    looked = _Looked(**settings)
    frame = looked.frame()
    words = [word for word in GAPS if _stands_for_missing(frame, word)]
    if words:
        settings["na"] = words
        assumed.append(f"{', '.join(map(repr, words))} means a missing value")
        looked = _Looked(**settings)
        frame = looked.frame()
    if label is None:
        label = next((name for name in frame.columns if name.lower() in LABELS and
                      2 <= frame[name].nunique() <= 20 and not frame[name].isna().any()), None)
        if label is not None:
            assumed.append(f"'{label}' is the class that every row belongs to")
    drop, kept = {}, []
    for name in frame.columns:
        why = "a name that this laboratory uses itself" if name == "replicate" else looked.useless(name, frame[name])
        if why and name == label:
            raise InputError(f"{path}: column '{name}' cannot be the label: it is {why}; name another, or none")
        if why:
            drop[name] = why
            assumed.append(f"'{name}' is left out: {why}")
        else:
            kept.append(name)
    if not [name for name in kept if name != label]:
        raise InputError(f"{path}: no column is left to learn; it needs one with several values that is no identifier")
    if drop:
        settings["drop"] = list(drop)
    if label is not None:
        settings["label"] = label
    table = Table(**settings)
    return FileSurvey(table, table.load(), assumed)


class _Looked(Table):
    """A table that is looked at column by column."""

    kind = "survey"

    def frame(self) -> pd.DataFrame:
        """Return the file as pandas reads it."""
        return self._read()

    def useless(self, name: str, series: pd.Series) -> str:
        """Return why nothing can be learned from a column; '' if something can."""
        held = series.dropna()
        if not len(held):
            return "it is empty"
        if series.dtype == object and not isinstance(held.iloc[0], (str, bool, int, float, datetime.date)):
            return "it holds neither numbers nor text"
        if held.nunique() == 1 and len(held) == len(series):
            return "it has one value"
        try:
            kind = self._type(name, series)
            self._column(name, series)
        except InputError as error:
            return str(error).split("; ")[0].partition(f"'{name}' ")[2] or str(error)
        if kind == "category" and (held.nunique() > MANY or held.nunique() > 0.5 * len(held)):
            return f"an identifier or free text, with {held.nunique()} values in {len(held)} rows"
        if kind == "integer" and held.nunique() == len(held) and \
                (held.is_monotonic_increasing or re.search(r"(^|_)(id|key|nr|no|index)$", name.lower())):
            return "an identifier: every row has a number of its own"
        return ""


def _stands_for_missing(frame: pd.DataFrame, word: str) -> bool:
    """Return whether a text column holds ``word`` among other values."""
    return any(word in held for name in frame.select_dtypes(["object", "string"]).columns
               for held in [[value for value in frame[name] if isinstance(value, str)]])


# ------------------------------------------------------------------------------------------ the study


#: Metric → why it is a gate; those that the data has are written.
GATES = {
    "tail_ratio": "rare things are still there",
    "variance_ratio": "numbers are as spread out as they were",
    "entropy_power": "so is everything else",
    "association_ratio": "columns still go together",
    "group_share": "no group fades",
}


def study(found: FileSurvey, name: str, size: int | None = None, generations: int = 10) -> str:
    """Return the text of a commented study file for what was found, and add to ``found.assumed`` what it chooses.

    ``size`` is the number of rows of a training set, by default as many as the file and a study of minutes carry.

    Raises
    ------
    InputError
        If the file has too few rows to hold some out, or for training sets of ``size``.
    """
    rows, schema = found.rows, found.rows.schema
    held = round(loop.HELD_OUT * rows.n)
    bank = rows.n - held
    most = bank // 3
    if size is not None and not 2 <= size <= most:
        raise InputError(f"rows: {size} is not possible with {rows.n} usable rows; choose 2 to {most}")
    size = size or _round(min(MOST_ROWS, most))
    if held < loop.LEAST_REFERENCE or most < 30:
        need = max(round(loop.LEAST_REFERENCE / loop.HELD_OUT) + 1, 135)
        raise InputError(f"{found.table.path}: has {rows.n} usable rows, and {need} are needed to hold some out "
                         f"and draw fresh ones; use more data")
    kinds = {kind: [c.name for c in schema.columns if c.role == "feature" and (c.type or c.kind) == kind]
             for kind in (*KINDS, "category", "boolean")}
    shown = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
    gaps = [column.name for column in schema.columns if column.missing]
    groups, tails = _groups(rows, held), _tails(rows, held)
    found.assumed += [
        f"{rows.n} rows: {held} are held out as the reference, {bank} are the bank; a training set has {size}, so that "
        f"fresh ones can be drawn every generation",
        "model copula, which takes numbers, categories and gaps; your own generator goes there instead (docs/yours.md)",
        *([f"groups by {', '.join(groups)}"] if groups else []),
        *([f"rare regions: {', '.join(where for where, _ in tails)}"] if tails else []),
    ]
    measured = _measured(found, size, tuple((group,) for group in groups))
    gates = [f"{metric + ':':<18} {{min: control}}        # {why}"
             for metric, why in GATES.items() if metric in measured]
    lines = [
        f"# Written by `collapse init` from {found.table.path}; all of it is yours to change. Keys: docs/studies.md",
        f"title: {_quoted(f'What becomes of {Path(found.table.path).name} when models learn from models')}",
        "seed: 1                    # another seed, other random numbers",
        "source:                    # real data: a file of another content is another plan",
        "  kind: table",
        *(f"  {key}: {_value(value)}" for key, value in found.table.model_dump(exclude_defaults=True).items()),
        f"  # {rows.n} rows. {shown}" + (f". May be missing: {', '.join(gaps)}" if gaps else ""),
        "model: {kind: copula}      # or kde, gmm, vae …; kind: command runs a program of yours (docs/yours.md)",
        f"rows: {size}".ljust(27) + f"# of every training set and sample; control takes at most a third of {bank}",
        f"generations: {generations}",
        "replicates: 5              # independent lineages, for intervals",
        "branches:",
        "  control:    {regime: control}                          # fresh real rows every time: the floor",
        "  replace:    {regime: replace}                          # only what the last model made",
        "  accumulate: {regime: accumulate}                       # everything so far",
        "  keep10:     {regime: redraw, real: 0.1}                # a tenth of the first rows, drawn anew",
        "  refresh10:  {regime: refresh, real: 0.1}               # a tenth of fresh real rows",
        f"  rescue:     {{from: replace, at: {generations // 2}, regime: accumulate}} # what if one stops replacing?",
        "gates:                       # the median over replicates must stay in what fits to real data show",
        *(f"  {gate}" for gate in gates),
    ]
    if tails:
        lines += ["tails:                       # rare regions, each with the share of reference rows that it has",
                  *(f"  - {{where: {_quoted(where)}}}".ljust(58) + f" # {share:.1%}" for where, share in tails)]
    if groups:
        lines.append(f"groups: [{', '.join(f'[{_quoted(g)}]' for g in groups)}]" if len(groups) > 1 else
                     f"groups: [{_quoted(groups[0])}]")
    lines += ["claims:                      # sentences to be judged; one that fails is a finding",
              "  - control is healthy in at least 95 % of cells",
              f"  - replace.tail_ratio leaves the control band below by generation {generations}"]
    return "\n".join(lines) + "\n"


def _measured(found: FileSurvey, size: int, groups: tuple[tuple[str, ...], ...]) -> set[str]:
    """Return the metrics that this data has."""
    parts = loop.split(found.table, size, 1, Rng("survey"))
    assert parts.bank is not None
    frame = Frame.freeze(parts.reference, parts.bank, (), size, None, groups)
    return {item.metric for item in measure_all(parts.first, None, frame) if item.feature == ""}


def _round(n: int) -> int:
    """Return ``n`` rounded down to two digits."""
    step = 10 ** max(0, len(str(n)) - 2)
    return n // step * step


def _groups(rows: Rows, held: int) -> list[str]:
    """Return category columns whose every category is large enough to be measured, those of fewest categories first."""
    found = []
    for column in rows.schema.columns:
        if column.kind != "category":
            continue
        count = np.bincount(rows[column.name][0], minlength=len(column.categories))
        if 2 <= len(count) <= WIDEST and count.min() / rows.n * held >= LEAST_ROWS:
            found.append((len(count), column.name))
    return [name for _, name in sorted(found)[:GROUPINGS]]


def _tails(rows: Rows, held: int) -> list[tuple[str, float]]:
    """Return the rarest categories that the reference will surely have, as conditions with their shares."""
    found = []
    for column in rows.schema.columns:
        if column.kind != "category" or not re.fullmatch(r"[\w.-]+", column.name):
            continue
        count = np.bincount(rows[column.name][0], minlength=len(column.categories))
        for name, share in zip(column.categories, count / rows.n, strict=True):
            plain = re.fullmatch(r"[\w.() /&+-]+", name)
            if plain and share < SHARE and share * held >= LEAST_ROWS / 2:
                value = name if re.fullmatch(r"[\w.()-]+", name) else f"'{name}'"
                found.append((f"{column.name} == {value}", float(share)))
    return sorted(found, key=lambda item: item[1])[:RARE]


def _quoted(text: str) -> str:
    """Return a text as YAML: plain where it is a plain word, or else as JSON, which YAML reads alike."""
    return text if re.fullmatch(r"[A-Za-z][\w.-]*", text) and text.lower() not in \
        {"true", "false", "yes", "no", "on", "off", "y", "n", "null"} else json.dumps(text, ensure_ascii=False)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_quoted(str(item)) for item in value)}]"
    return _quoted(str(value))


def listed(text: str, name: str) -> str:
    """Return params.yaml with one study more; comments and layout stay as they are."""
    import io

    from ruamel.yaml import YAML

    round_trip = YAML()
    round_trip.preserve_quotes = True
    round_trip.width = 4096
    data = round_trip.load(text)
    data["studies"].append(name)
    out = io.StringIO()
    round_trip.dump(data, out)
    return out.getvalue()
