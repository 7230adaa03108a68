"""Series of known data sets for a watch: clean, shifted, and from loops."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from collapse.data import Column, Rows, Schema
from collapse.models.base import Model
from collapse.models.copula import Copula
from collapse.models.gaussian import Gaussian as GaussianModel
from collapse.models.gmm import GMM
from collapse.models.ngram import Ngram
from collapse.rng import Rng
from collapse.sources.gaussian import Gaussian
from collapse.sources.mixture import Mixture
from collapse.sources.pydoc import Pydoc
from collapse.watch.documents import Text
from collapse.watch.verdicts import Judged, Watch

#: Sizes of the categories of the made table, as in the census; the last is the label.
SIZES = (9, 16, 7, 15, 6, 5, 2, 42, 2)
SCALE = float(os.environ.get("COLLAPSE_WATCH", "1"))
#: Rows of the reference for snapshots of so many rows.
ENOUGH = {100: 3_000, 1_000: 9_000, 10_000: 60_000, 100_000: 60_000}
#: Generations after which a lineage that keeps its tails is left.
LONGEST = 150

Draw = Callable[[int, str], Rows]


def numeric(n: int, address: str) -> Rows:
    """Return rows of four correlated normal numbers."""
    return Gaussian(dim=4, covariance=COVARIANCE).draw(n, 1, Rng("bench", "watch", address))


COVARIANCE = [[1.0 if i == j else 0.4 for j in range(4)] for i in range(4)]


def mixed(n: int, address: str) -> Rows:
    """Return rows of the made table of 15 columns, with fixed cuts: independent draws, unlike benchmarks.tables."""
    from scipy.special import ndtri

    rng = Rng("bench", "watch", address)
    z = 0.7 * rng.at("factor").normal((1, n, 1)) + 0.7 * rng.at("own").normal((1, n, 15))
    x = [z[..., 0], np.rint(40 + 12 * z[..., 1]), *(np.where(z[..., j] > 1.2, np.rint(1000 * z[..., j]), 0.0)
                                                    for j in (2, 3)),
         np.where(rng.at("gap").uniform((1, n)) < 0.1, np.nan, z[..., 4]), np.exp(z[..., 5])]
    columns = [Column(f"n{j}", "number", type="integer" if j in (1, 2, 3) else "", missing=j == 4) for j in range(6)]
    values = {f"n{j}": column for j, column in enumerate(x)}
    for j, size in enumerate(SIZES):
        share = np.arange(1, size + 1) ** -1.0
        cuts = 0.7 * np.sqrt(2) * ndtri(np.cumsum(share / share.sum())[:-1])
        columns.append(Column(f"c{j}", "category", tuple(map(str, range(size)))))
        values[f"c{j}"] = np.searchsorted(cuts, z[..., 6 + j]).astype(np.int32)
    return Rows(Schema(tuple(columns)), values)


class Words:
    """Endless text: an n-gram model of Python's own documentation is the truth."""

    def __init__(self) -> None:
        parts = Pydoc(vocabulary=2048).divide(0.1, Rng("bench", "watch", "pydoc"))
        assert parts is not None
        self.schema, self.model = parts.bank.schema, Ngram(order=3)
        self.truth = self.model.fit(parts.bank, Rng("bench", "fit"))

    def documents(self, n: int, address: str) -> list[str]:
        """Return ``n`` fresh documents."""
        return self.texts(self.model.sample(self.truth, self.schema, n, Rng("bench", "watch", address)))

    def texts(self, rows: Rows) -> list[str]:
        column = rows.schema.texts[0]
        return column.decode(rows[column.name][0])


def bootstrap(rows: Rows, n: int, address: str) -> Rows:
    """Return ``n`` of ``rows`` with replacement."""
    return rows.take(Rng("bench", "bootstrap", address).integers(rows.n, (1, n)))


def clean(kind: str, draw: Draw, sizes: Sequence[int], snapshots: int, references: int) -> Counter[str]:
    """Return the verdicts on clean snapshots, fresh ones and bootstraps of other rows of the source by turns."""
    found: Counter[str] = Counter()
    for size in sizes:
        here: Counter[str] = Counter()
        for r in range(references):
            watch = Watch.of(draw(ENOUGH[size], f"{kind}-{size}-reference-{r}"))
            other = draw(max(40_000, size), f"{kind}-{size}-other-{r}")
            for s in range(snapshots // references):
                name = f"{kind}-{size}-{r}-{s}"
                rows = draw(size, name) if s % 2 else bootstrap(other, size, name)
                here[watch.judge(rows, watch.sizes([size])[0]).verdict] += 1
        print(f"  clean    {kind:8} {size:7,} rows  {here.total() - here['healthy']:2} alarms of {here.total():4} "
              f"(at most 2 %)   {dict(here)}", flush=True)
        found += here
    return found


def clean_text(words: Words, sizes: Sequence[int], snapshots: int, references: int) -> Counter[str]:
    """Return the verdicts on clean texts of so many documents."""
    found: Counter[str] = Counter()
    for size in sizes:
        here: Counter[str] = Counter()
        for r in range(references):
            real = Text.of(words.documents(max(3_000, 9 * min(size, 1_000)), f"text-{size}-reference-{r}"), "reference")
            watch = real.watch(0.01, 1, ())
            other = words.documents(max(6_000, size), f"text-{size}-other-{r}")
            for s in range(snapshots // references):
                name = f"text-{size}-{r}-{s}"
                again = Rng("bench", "bootstrap", name).integers(len(other), (1, size))[0]
                texts = words.documents(size, name) if s % 2 else [other[i] for i in again]
                rows, _, _ = real.blocks(texts, name)
                here[watch.judge(rows, watch.sizes([rows.n])[0]).verdict] += 1
        print(f"  clean    {'text':8} {size:7,} docs  {here.total() - here['healthy']:2} alarms of {here.total():4} "
              f"(at most 2 %)   {dict(here)}", flush=True)
        found += here
    return found


def lead(name: str, model: Model, first: Callable[[int], Rows], judge: Callable[[Rows], Judged], lineages: int,
         halved: Callable[[Judged], bool]) -> list[int]:
    """Return by how many generations the warning came before the tail mass halved, in each replace lineage.

    Tails that have not halved after the longest lineage count as halved then; no warning at all counts as −1.
    """
    leads, kinds = [], Counter[str]()
    for lineage in range(lineages):
        rows, warned = first(lineage), 0
        for t in range(1, LONGEST + 1):
            at = Rng("bench", "lead", name, lineage, t)
            rows = model.sample(model.fit(rows, at.at("fit")), rows.schema, rows.n, at.at("sample"))
            judged = judge(rows)
            if not warned and judged.verdict != "healthy":
                warned = t
                kinds[judged.verdict] += 1
            if halved(judged) or t == LONGEST:
                leads.append(t - warned if warned else -1)
                break
    print(f"  lead     {name:8} median {np.median(leads):4.0f} generations before the tail mass halves (at least 2)   "
          f"{sorted(leads)}   first warning {dict(kinds)}", flush=True)
    return leads


def halves(judged: Judged) -> bool:
    """Return whether tail mass has halved."""
    mass = ("tail_ratio", "rare_token_ratio", "token_alive")
    return min(judged.values.get((metric, ""), 1.0) for metric in mass) <= 0.5


def leads(words: Words, lineages: int, rows: int = 300) -> dict[str, list[int]]:
    """Return the leads of every kind of model."""
    mixture = Mixture(components=3, radius=3.0, std=1.0, labelled=False)
    cases: dict[str, tuple[Model, Draw]] = {
        "gaussian": (GaussianModel(), numeric),
        "gmm": (GMM(components=3), lambda n, a: mixture.draw(n, 1, Rng("bench", "watch", a))),
        "copula": (Copula(), mixed)}
    found = {}
    for name, (model, draw) in cases.items():
        watch = Watch.of(draw(9 * rows, f"lead-{name}"))
        found[name] = lead(name, model, lambda i, d=draw, k=name: d(rows, f"lead-{k}-{i}"),
                           lambda r, w=watch: w.judge(r, w.sizes([r.n])[0]), lineages, halves)
    real = Text.of(words.documents(5_000, "lead-text"), "reference")
    watch = real.watch(0.01, 1, ())

    def judge(rows: Rows) -> Judged:
        blocks = real.blocks(words.texts(rows), "lineage")[0]
        return watch.judge(blocks, watch.sizes([blocks.n])[0])

    found["ngram"] = lead("ngram", words.model, lambda i: words.model.sample(
        words.truth, words.schema, 600, Rng("bench", "lead-text", i)), judge, lineages, halves)
    return found


def shifted(rows: Rows, by: float, columns: Sequence[str]) -> Rows:
    """Return rows with columns moved by so many standard deviations of a standard normal (or 12 years of one)."""
    move = {name: by * (12 if rows.schema[name].type else 1) for name in columns}
    return Rows(rows.schema, {name: array + np.rint(move[name]) if rows.schema[name].type and name in move
                              else array + move.get(name, 0) if name in move else array
                              for name, array in rows.values.items()})


def drift(cases: int, rows: int = 1000) -> Counter[str]:
    """Return the verdicts on sources that moved by 0.3 to 2 standard deviations and are healthy."""
    found: Counter[str] = Counter()
    for kind, draw, columns in (("numeric", numeric, ("x1", "x2", "x3", "x4")), ("mixed", mixed, ("n0", "n1", "n4"))):
        watch, here = Watch.of(draw(9 * rows, f"drift-{kind}")), Counter[str]()
        for i in range(cases):
            rng = Rng("bench", "drift", kind, i).generator()
            moved = rng.choice(columns, rng.integers(1, len(columns) + 1), replace=False)
            sample = shifted(draw(rows, f"drift-{kind}-{i}"), rng.choice([-1, 1]) * rng.uniform(0.3, 2), moved)
            here[watch.judge(sample, watch.sizes([rows])[0]).verdict] += 1
        print(f"  drift    {kind:8} {100 * here['drifted'] / here.total():5.1f} % called drifted (at least 95 %)   "
              f"{dict(here)}", flush=True)
        found += here
    return found


def power(snapshots: int, rows: int = 1000) -> dict[tuple[str, float], float]:
    """Return how often a snapshot with so much of it from a collapsed model is called anything but healthy."""
    found = {}
    for kind, draw, model in (("numeric", numeric, GaussianModel()), ("mixed", mixed, Copula())):
        watch = Watch.of(draw(9 * rows, f"power-{kind}"))
        for share in (0.1, 0.3, 0.5):
            here: Counter[str] = Counter()
            for i in range(snapshots):
                at = Rng("bench", "power", kind, i)
                bad = draw(100, f"power-{kind}-{i}-seed")
                for t in range(30):  # a lineage of 100 rows: collapsed
                    bad = model.sample(model.fit(bad, at.at("fit", t)), bad.schema, 100, at.at("sample", t))
                many = round(share * rows)
                bad = model.sample(model.fit(bad, at.at("last")), bad.schema, many, at.at("bad"))
                both = Rows.concat([draw(rows - many, f"power-{kind}-{i}"), bad])
                both = both.take(at.generator("order").permutation(rows)[None])
                here[watch.judge(both, watch.sizes([rows])[0]).verdict] += 1
            found[kind, share] = 1 - here["healthy"] / here.total()
            print(f"  power    {kind:8} {share:4.0%} collapsed rows of {rows:,}: {found[kind, share]:4.0%} found   "
                  f"{dict(here)}", flush=True)
    return found
