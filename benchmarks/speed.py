"""1,000 replicates × 100 generations × n = 1,000 in memory, against hand-written NumPy of the same arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from collapse import loop
from collapse.registry import find

R, T, N, K, D = 1_000, 100, 1_000, 100, 10
REPEATS = 3
#: What of each model's fits is kept.
RECORD = {"gaussian": "fit_variance", "categorical": "fit_simpson", "regression": "fit_error2"}
#: Generations of one repeat of the slower models, and replicates of the plain Python loop; both are scaled up.
SHORT, FEW = 20, 20


def library(source: dict, model: dict, generations: int, *, rows_free: bool = False, replicates: int = R) -> np.ndarray:
    """Return the last fitted quantity of one replace branch, through the library's own classes."""
    def make(group, body):
        body = dict(body)
        return find(group, body.pop("kind"))(**body)

    run = loop.run(make("sources", source), make("models", model), make("regimes", {"kind": "replace"}), N, generations,
                   replicates, rows_free=rows_free, record=[RECORD[model["kind"]]])
    return next(iter(run.paths.values()))[:, -1]


def gaussian(generations: int, replicates: int = R) -> np.ndarray:
    rng = np.random.Generator(np.random.SFC64(1))
    x = rng.standard_normal((replicates, N))
    for t in range(generations):
        mean, std = x.mean(axis=1), x.std(axis=1, ddof=1)
        if t < generations - 1:
            x = rng.standard_normal((replicates, N))
            x *= std[:, None]
            x += mean[:, None]
    return std**2


def categorical(generations: int, replicates: int = R) -> np.ndarray:
    rng = np.random.Generator(np.random.SFC64(1))
    p = np.arange(1, K + 1, dtype=float) ** -1
    p = np.broadcast_to(p / p.sum(), (replicates, K))
    offset = np.arange(replicates)[:, None] * K
    for _ in range(generations):
        cdf = np.cumsum(p, axis=1)
        cdf /= cdf[:, -1:]
        u = rng.random((replicates, N))
        codes = np.empty((replicates, N), dtype=np.int64)
        for r in range(replicates):  # NumPy has no batched searchsorted
            codes[r] = cdf[r].searchsorted(u[r], side="right")
        p = np.bincount((codes + offset).ravel(), minlength=replicates * K).reshape(replicates, K) / N
    return 1 - (p * p).sum(axis=1)


def regression(generations: int, replicates: int = R) -> np.ndarray:
    rng = np.random.Generator(np.random.SFC64(1))
    w = np.broadcast_to(np.full(D, D**-0.5), (replicates, D))
    for _ in range(generations):
        x = rng.standard_normal((replicates, N, D))
        y = (x @ w[:, :, None])[:, :, 0] + rng.standard_normal((replicates, N))
        xt = x.transpose(0, 2, 1)
        w = np.linalg.solve(xt @ x, xt @ y[:, :, None])[:, :, 0]
    return np.square(w - D**-0.5).sum(axis=1)


def timed(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main() -> None:
    cases = {
        "gaussian": ({"kind": "gaussian"}, {"kind": "gaussian"}, gaussian, T),
        "categorical": ({"kind": "zipf", "categories": K}, {"kind": "categorical"}, categorical, SHORT),
        "regression": ({"kind": "regression", "dim": D}, {"kind": "regression", "noise": 1.0}, regression, SHORT),
    }
    for name, (source, model, hand, turns) in cases.items():
        library(source, model, 2)  # import and warm up
        ours, theirs = [], []
        for _ in range(REPEATS):
            ours.append(timed(lambda s=source, m=model, t=turns: library(s, m, t)) * T / turns)
            theirs.append(timed(lambda h=hand, t=turns: h(t)) * T / turns)
        ratio = float(np.median(np.divide(ours, theirs)))
        plain = timed(lambda h=hand, t=turns: [h(t, 1) for _ in range(FEW)]) * R / FEW * T / turns
        print(f"  {name:12} library {np.median(ours):6.2f} s, NumPy {np.median(theirs):6.2f} s, ratio {ratio:.2f} "
              f"(at most 1.3), one replicate at a time {plain:6.1f} s")
    free = timed(lambda: library({"kind": "gaussian"}, {"kind": "gaussian"}, T, rows_free=True, replicates=10**6))
    print(f"  rows-free    1,000,000 replicates × {T} generations in {free:.1f} s (at most 10)")


if __name__ == "__main__":
    main()
