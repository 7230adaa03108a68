"""Tables: what a copula's fit and sample cost, and measuring; 15 mixed columns, and 64 numbers.

The real census stands beside the made one where COLLAPSE_DATA_DIR has adult/adult.csv.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.frame import Frame
from collapse.metrics import measure_all
from collapse.models.copula import Copula
from collapse.rng import Rng
from collapse.sources.table import Table
from tests.worlds.watched import SIZES

REPEATS = 3


def mixed(n: int, replicates: int = 1, address: str = "made") -> Rows:
    """Return 15 columns with one factor behind them: 6 numbers, with whole ones, atoms and gaps, and 9 categories."""
    rng = Rng("bench", "tables", address)
    z = 0.7 * rng.at("factor").normal((replicates, n, 1)) + 0.7 * rng.at("own").normal((replicates, n, 15))
    columns: list[Column] = []
    values: dict[str, np.ndarray] = {}
    for j in range(6):
        x = z[..., j]
        if j == 1:
            x = np.rint(40 + 12 * x)
        if j in (2, 3):
            x = np.where(x > 1.2, np.rint(1000 * x), 0.0)
        if j == 4:
            x = np.where(rng.at("gap").uniform(x.shape) < 0.1, np.nan, x)
        columns.append(Column(f"n{j}", "number", type="integer" if j in (1, 2, 3) else "", missing=j == 4))
        values[f"n{j}"] = x
    for j, size in enumerate(SIZES):
        share = np.arange(1, size + 1) ** -1.0
        cuts = np.quantile(z[0, :, 6 + j], np.cumsum(share / share.sum())[:-1])
        columns.append(Column(f"c{j}", "category", tuple(map(str, range(size))), role="label" if j == 8 else "feature"))
        values[f"c{j}"] = np.searchsorted(cuts, z[..., 6 + j]).astype(np.int32)
    return Rows(Schema(tuple(columns)), values)


def numbers(n: int, d: int, address: str) -> Rows:
    schema = Schema(tuple(Column(f"x{j}", "number") for j in range(d)))
    return Rows.assemble(schema, Rng("bench", address).normal((1, n, d)), {})


def census() -> Rows | None:
    """Return the real census, or None where it is not at hand."""
    try:
        return Table(path="adult/adult.csv", label="income", drop=["split"], na=["?"]).load()
    except InputError:
        return None


def best(work: Callable[[], object]) -> float:
    """Return the seconds of the quickest of three runs."""
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def copula(name: str, rows: Rows) -> None:
    model = Copula()
    for n, most in ((2_000, 0.1), (30_000, 1.5)):
        train = rows.take(Rng("bench", n).choice(rows.n, n, 1))
        seconds = best(lambda t=train, n=n: model.sample(model.fit(t, Rng(1)), t.schema, n, Rng(2)))
        print(f"  copula   {name:8} fit and sample {n:6,} rows   {seconds:6.3f} s (at most {most})", flush=True)


def metrics(name: str, frame: Frame, sample: Rows, before: Rows) -> None:
    def measure() -> None:
        # a new object has no view yet, as in a new generation
        measure_all(sample.map(lambda a: a), before.map(lambda a: a), frame)

    measure()
    print(f"  measure  {name:8} {sample.n:6,} rows × {len(sample.schema.columns)}      {best(measure):6.3f} s "
          f"a replicate, step included (at most 2)", flush=True)


def main() -> None:
    made, real = mixed(60_000), census()
    copula("made", made)
    if real is not None:
        copula("census", real)
    groups = (("c4", "c6"), ("c3",))
    frame = Frame.freeze(mixed(15_000, address="reference"), mixed(30_000, address="bank"), (), 50_000, None, groups)
    metrics("made", frame, mixed(50_000, address="sample"), mixed(50_000, address="before"))
    if real is not None:
        order = Rng("bench", "split").choice(real.n, real.n, 1)
        reference, bank = real.take(order[:, :14_652]), real.take(order[:, 14_652:])
        parameters = Copula().fit(bank, Rng(1))
        sample, before = (Copula().sample(parameters, real.schema, 50_000, Rng(s)) for s in (2, 3))
        frame = Frame.freeze(reference, bank, (), 50_000, None, (("sex", "race"), ("occupation",)))
        metrics("census", frame, sample, before)
    wide = Frame.freeze(numbers(5000, 64, "reference"), numbers(10_000, 64, "bank"), (), 10_000)
    metrics("numbers", wide, numbers(10_000, 64, "sample"), numbers(10_000, 64, "before"))


if __name__ == "__main__":
    main()
