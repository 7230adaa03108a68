"""Known changes of known data, and the names that are right for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from collapse.calibration import Bands, stage
from collapse.data import Column, Rows, Schema
from collapse.frame import Frame
from collapse.metrics import measure_all

METRICS = ("spread", "tails", "regions", "drift", "labels", "association", "atoms")
#: Rows of the reference and of the other real rows, draws behind the bands, replicates of a node.
REFERENCE, REAL, DRAWS, REPLICATES = 5_000, 10_000, 200, 5
GENERATIONS = 10

Maker = Callable[[np.random.Generator, int], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Case:
    """A change of a reality, and the names that are right for it at 400 and at 4,000 rows."""

    name: str
    real: str
    changed: Maker
    small: tuple[str, ...]
    large: tuple[str, ...]


def normal(rng: np.random.Generator, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Independent normal columns."""
    return {"x": scale * rng.normal(size=(n, d)) + shift}


def cut(rng: np.random.Generator, n: int, d: int) -> dict[str, np.ndarray]:
    """Normal columns without what lies beyond two standard deviations."""
    from scipy.special import ndtr, ndtri

    return {"x": ndtri(rng.uniform(ndtr(-2), ndtr(2), (n, d)))}


def heavy(rng: np.random.Generator, n: int, d: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Student's t on three degrees of freedom."""
    return {"x": scale * rng.standard_t(3, (n, d))}


def ring(rng: np.random.Generator, n: int, noise: float = 0.1) -> dict[str, np.ndarray]:
    """A ring of radius 1."""
    angle = rng.uniform(0, 2 * np.pi, n)
    return {"x": np.stack([np.cos(angle), np.sin(angle)], axis=1) + noise * rng.normal(size=(n, 2))}


def blob(rng: np.random.Generator, n: int, noise: float = 0.1) -> dict[str, np.ndarray]:
    """A normal of the ring's covariance."""
    return {"x": np.sqrt(0.5 + noise**2) * rng.normal(size=(n, 2))}


def modes(rng: np.random.Generator, n: int, d: int, alive: tuple[int, ...] = tuple(range(8)), spread: float = 0.15,
          labelled: bool = False) -> dict[str, np.ndarray]:
    """Eight modes on a ring in the first two of d columns, of which some are alive."""
    which = rng.choice(alive, n)
    centers = np.zeros((8, max(d, 2)))
    centers[:, 0], centers[:, 1] = np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)
    if d == 1:
        centers = np.arange(8.0)[:, None]
    x = centers[which] + spread * rng.normal(size=(n, d))
    return {"x": x, "y": which} if labelled else {"x": x}


def minor(rng: np.random.Generator, n: int, d: int, share: float = 0.03, outer: bool = False) -> dict[str, np.ndarray]:
    """Two large modes and, between them (or beyond), a small one of 3 %."""
    u = rng.random(n)
    side = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    x = 0.3 * rng.normal(size=(n, d))
    x[:, 0] = 3 * side + rng.normal(size=n)
    small = u < share
    x[small, 0] = (8.0 if outer else 0.0) + 0.2 * rng.normal(size=small.sum())
    return {"x": x}


def classes(rng: np.random.Generator, n: int, d: int, shuffled: bool = False) -> dict[str, np.ndarray]:
    """Four labelled classes a few standard deviations apart."""
    y = rng.integers(0, 4, n)
    x = rng.normal(size=(n, d))
    x[:, 0] += 3.0 * y
    return {"x": x, "y": rng.permutation(y) if shuffled else y}


def table(rng: np.random.Generator, n: int, scale: float = 1.0, shift: float = 0.0, keep: float = 1.0,
          shuffled: bool = False) -> dict[str, np.ndarray]:
    """Numbers of several kinds with atoms, and a category that they depend on."""
    k = rng.choice(6, n, p=_shares(keep))
    fare = np.round(np.exp(1.5 + 0.5 * rng.normal(size=n) * scale + 0.15 * k) * 2) / 2
    tip = np.where(rng.random(n) < 0.5, 0.0, np.round(0.2 * fare, 2))
    x = np.stack([fare + shift, tip, rng.normal(size=n) * scale], axis=1)
    return {"x": x, "c": rng.permutation(k) if shuffled else k}


def gaps(rng: np.random.Generator, n: int, shift: float = 0.0, share: float = 0.1) -> dict[str, np.ndarray]:
    """A normal column beside one far from zero of which a share is missing."""
    z = 50 + 10 * rng.normal(size=n) + shift
    return {"x": np.stack([rng.normal(size=n), np.where(rng.random(n) < share, np.nan, z)], axis=1)}


def money(rng: np.random.Generator, n: int, most: float = 1.0, atom: float = 0.3) -> dict[str, np.ndarray]:
    """A log-normal column, cut at its quantile ``most``, with an atom at 0."""
    from scipy.special import ndtri

    x = np.exp(3 + ndtri(rng.uniform(0, most, n)))
    return {"x": np.where(rng.random(n) < atom, 0.0, x)[:, None]}


def joined(rng: np.random.Generator, n: int, swapped: bool = False) -> dict[str, np.ndarray]:
    """Two modes, each with its category, which may change places."""
    c = rng.integers(0, 2, n)
    return {"x": (4.0 * c + rng.normal(size=n))[:, None], "c": 1 - c if swapped else c}


def pair(rng: np.random.Generator, n: int, rho: float = 0.8, copied: float = 0.0) -> dict[str, np.ndarray]:
    """Two columns that correlate; one row may fill a share of all."""
    x = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n)
    x[: round(copied * n)] = x[-1]
    return {"x": x}


def kinds(rng: np.random.Generator, n: int, alive: tuple[int, ...] = tuple(range(8))) -> dict[str, np.ndarray]:
    """Eight categories, of which some are alive."""
    share = np.array([0.2, 0.18, 0.15, 0.13, 0.12, 0.1, 0.07, 0.05])[list(alive)]
    return {"y": np.array(alive)[rng.choice(len(alive), n, p=share / share.sum())], "x": np.empty((n, 0))}


def _shares(keep: float) -> np.ndarray:
    shares = np.array([0.4, 0.3, 0.2, 0.06 * keep, 0.03 * keep, 0.01 * keep])
    return shares / shares.sum()


def cases(d: int) -> Iterator[Case]:
    """Yield the cases in ``d`` dimensions; those of two or more columns only where there are as many."""
    at = partial
    same = (("healthy",), ("healthy",))
    n = f"normal-{d}"
    yield Case("fresh", n, at(normal, d=d), *same)
    for scale in (1.5, 2.0, 5.0):
        yield Case(f"scale {scale:g}", n, at(normal, d=d, scale=scale), ("distorted",), ("distorted",))
    yield Case("scale 0.9", n, at(normal, d=d, scale=0.9), ("early", "healthy"), ("early",))
    yield Case("scale 0.3", n, at(normal, d=d, scale=0.3), ("late",), ("late",))
    for shift in (0.3, 0.5, 3.0):
        yield Case(f"shift {shift:g}", n, at(normal, d=d, shift=shift), ("drifted",), ("drifted",))
    yield Case("shift 3, scale 0.3", n, at(normal, d=d, shift=3.0, scale=0.3), ("late",), ("late",))
    yield Case("cut at 2 sd", n, at(cut, d=d), ("early",), ("early",))
    yield Case("t3", n, at(heavy, d=d), ("distorted",), ("distorted",))
    yield Case("t3, variance 1", n, at(heavy, d=d, scale=3**-0.5), ("distorted", "early"), ("distorted",))
    yield Case("point", n, at(normal, d=d, scale=0.0), ("late",), ("late",))
    m = f"modes-{d}"
    yield Case("fresh modes", m, at(modes, d=d), *same)
    yield Case("1 of 8 modes lost", m, at(modes, d=d, alive=(0, 1, 2, 3, 4, 5, 6)), ("early",), ("early",))
    yield Case("5 of 8 modes lost", m, at(modes, d=d, alive=(1, 4, 6)), ("late",), ("late",))
    yield Case("5 of 8 modes lost, side by side", m, at(modes, d=d, alive=(0, 1, 2)), ("late",), ("late",))
    yield Case("modes moved", m, lambda rng, n: {"x": modes(rng, n, d)["x"] + 2.3}, ("drifted",), ("drifted",))
    yield Case("inner 3 % mode lost", f"minor-{d}", at(minor, d=d, share=0.0), ("early", "healthy"), ("early",))
    yield Case("outer 3 % mode lost", f"outer-{d}", at(minor, d=d, share=0.0), ("early", "healthy"), ("early",))
    if d == 2:
        yield Case("ring to blob", "ring", blob, ("distorted",), ("distorted",))
        yield Case("thin ring to blob", "thin", at(blob, noise=0.03), ("distorted",), ("distorted",))
        yield Case("fresh ring", "ring", ring, *same)
    c = f"classes-{d}"
    yield Case("labels shuffled", c, at(classes, d=d, shuffled=True), ("distorted",), ("distorted",))
    yield Case("fresh classes", c, at(classes, d=d), *same)
    if d == 2:
        yield Case("fresh with gaps", "gaps", gaps, *same)
        for by in (10.0, 30.0, 100.0):
            yield Case(f"beside gaps, moved by {by:g}", "gaps", at(gaps, shift=by), ("drifted",), ("drifted",))
        for share in (0.0, 0.3):
            yield Case(f"{share:.0%} missing for 10 %", "gaps", at(gaps, share=share), ("drifted",), ("drifted",))
        yield Case("fresh pair", "pair", pair, *same)
        yield Case("association turned about", "pair", at(pair, rho=-0.8), ("distorted",), ("distorted",))
        yield Case("one row for 10 %", "pair", at(pair, copied=0.1), ("distorted", "early"), ("distorted", "early"))
        yield Case("one row for 60 %", "pair", at(pair, copied=0.6), ("late", "early"), ("late", "early"))
    if d == 1:
        yield Case("fresh money", "money", money, *same)
        yield Case("upper 5 % of money cut", "money", at(money, most=0.95), ("early",), ("early",))
        yield Case("atom gone", "money", at(money, atom=0.0), ("early", "drifted"), ("early", "drifted"))
        yield Case("categories swapped", "joined", at(joined, swapped=True), ("distorted",), ("distorted",))
        yield Case("fresh categories", "kinds", kinds, *same)
        yield Case("5 of 8 categories gone", "kinds", at(kinds, alive=(1, 4, 6)), ("late",), ("late",))
        yield Case("commonest category gone", "kinds", at(kinds, alive=(1, 2, 3, 4, 5, 6, 7)), ("early",), ("early",))
        yield Case("1 of 8 categories gone", "kinds", at(kinds, alive=(0, 1, 2, 3, 4, 5, 6)), ("early",), ("early",))
    if d == 3:
        yield Case("fresh table", "table", table, *same)
        yield Case("table shifted", "table", at(table, shift=2.5), ("drifted",), ("drifted",))
        yield Case("rare categories gone", "table", at(table, keep=0.05), ("early",), ("early",))
        yield Case("category shuffled", "table", at(table, shuffled=True), ("distorted",), ("distorted",))


def reality(name: str) -> Maker:
    """Return what makes real rows of a case."""
    kind, _, d = name.partition("-")
    made: dict[str, Maker] = {
        "gaps": gaps, "money": money, "pair": pair, "joined": joined, "kinds": kinds,
        "ring": ring, "thin": partial(ring, noise=0.03), "table": table,
        **({"normal": partial(normal, d=int(d)), "modes": partial(modes, d=int(d)), "minor": partial(minor, d=int(d)),
            "outer": partial(minor, d=int(d), outer=True), "classes": partial(classes, d=int(d))} if d else {})}
    return made[kind]


def rows(make: Maker, rng: np.random.Generator, n: int, replicates: int = 1, gaps: bool = False) -> Rows:
    """Return rows of one kind: number columns x0 …, and a label y or a category c where it makes them."""
    made = [make(rng, n) for _ in range(replicates)]
    x = np.stack([one["x"] for one in made])
    columns = [Column(f"x{i}", "number", missing=gaps and i == 1) for i in range(x.shape[2])]
    values = {f"x{i}": x[:, :, i] for i in range(x.shape[2])}
    for name, label in (("y", True), ("c", False)):
        if name in made[0]:
            size = 8 if name == "y" else 6
            role = "label" if label else "feature"
            columns.append(Column(name, "category", tuple(str(i) for i in range(size)), role=role))
            values[name] = np.stack([one[name] for one in made]).astype(np.int32)
    return Rows(Schema(tuple(columns)), values)


def setting(name: str, n: int) -> tuple[Frame, Bands]:
    """Return frame and bands of a reality for samples of ``n`` rows."""
    make = reality(name)
    rng = np.random.default_rng([7, n, len(name)])
    gap = name == "gaps"
    frame = Frame.freeze(rows(make, rng, REFERENCE, 1, gap), rows(make, rng, REAL, 1, gap), (), n, METRICS)
    kept: dict[str, list] = {"kind": [], "metric": [], "feature": [], "value": []}
    for _ in range(DRAWS // 10):
        for m in measure_all(rows(make, rng, n, 10, gap), None, frame):
            if not m.feature:
                kept["kind"] += ["real"] * 10
                kept["metric"] += [m.metric] * 10
                kept["feature"] += [""] * 10
                kept["value"] += list(m.values)
    return frame, Bands(kept)


def said(make: Maker, frame: Frame, bands: Bands, n: int, seed: int):
    """Return the verdict on five replicates of ``n`` rows."""
    sample = rows(make, np.random.default_rng([11, seed]), n, REPLICATES, bool(frame.schema.gaps))
    found = measure_all(sample, None, frame)
    values = {m.metric: m.values for m in found if not m.feature}
    return stage(values, bands, GENERATIONS, "real")[0], values
