"""How much of real digits each candidate for the first study keeps in its first generation. Only when named.

Control alone: 20 independent fits to fresh real rows, held against as many real rows as they are. The rule is in
docs/decisions.md: tails, spread and recall within [0.7, 1.3], the worst of the three nearest to real rows.
Words: --fits=N (20), --only=TEXT.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from collapse import loop, registry
from collapse.floor import floor
from collapse.frame import Frame
from collapse.pool import Part, RealData
from collapse.rng import Rng
from collapse.sources.digits import Digits

#: What the rule looks at, and the least and the most of it that may be left.
METRICS, LEAST, MOST = ("tail_ratio", "variance_ratio", "recall"), 0.7, 1.3
CANDIDATES = [
    *({"kind": "gmm", "pca": pca, "components": k} for pca in (None, 16, 24, 32) for k in (1, 2, 3)),
    *({"kind": "gmm", "pca": 16, "covariance": c, "components": k} for c in ("tied", "diag") for k in (3, 5)),
    # beside them, and no candidates: they hand on their training rows
    {"kind": "kde", "bandwidth": "scott"}, {"kind": "kde", "bandwidth": 0.1}, {"kind": "kde", "bandwidth": 0.05},
    *({"kind": "vae", "latent": z, "sigma": s, "steps": steps, "batch": 96, "lr": 0.0045, "output": out}
      for z, steps in ((8, 400), (16, 800)) for s in (0.1, 0.2) for out in ("mean", "draw")),
    *({"kind": "flow", "width": w, "steps": steps, "lr": 0.003, "solver_steps": 8}
      for w, steps in ((128, 600), (256, 600), (256, 1200))),
]


def kept(spec: dict[str, object], rows: int, fits: int) -> tuple[dict[str, float], float]:
    """Return by metric what the first generation keeps of what real rows show, and the seconds of a fit."""
    source = Digits()
    settings = {key: value for key, value in spec.items() if value is not None and key != "kind"}
    model = registry.find("models", str(spec["kind"]))(**settings)
    rng = Rng("benchmark", "first-generation")
    split = loop.split(source, rows, 1, rng)
    frame = Frame.freeze(split.reference, split.bank, (), rows, ("tails", "spread", "fidelity"))
    assert split.bank is not None
    real = RealData.from_bank("real", Part.of(split.first, "real", 0, synthetic=False), split.bank)
    start = time.perf_counter()
    table = floor(model, real, split.first.schema, rows, rows, fits, frame, rng.at("fits")).to_pandas()
    seconds = (time.perf_counter() - start) / fits
    whole = table[(table.feature == "") & table.metric.isin(METRICS)]
    medians = whole.groupby(["kind", "metric"]).value.median()
    return {name: float(medians["model", name] / medians["real", name]) for name in METRICS}, seconds


def main() -> None:
    """Print a line for each candidate, the best admitted last."""
    words = dict(word.split("=", 1) for word in sys.argv if "=" in word)
    fits, only = int(words.get("--fits", 20)), words.get("--only", "")
    admitted: list[tuple[float, str]] = []
    for spec in CANDIDATES:
        name = ", ".join(str(v) if k == "kind" else f"{k} {v}" for k, v in spec.items() if v is not None)
        if only not in name:
            continue
        found, seconds = kept(spec, 400, fits)
        worst = max(abs(np.log(max(value, 1e-9))) for value in found.values())
        if spec["kind"] != "kde" and all(LEAST <= value <= MOST for value in found.values()):
            admitted.append((float(worst), name))
        print(f"{name:70s} " + "  ".join(f"{key} {value:.2f}" for key, value in found.items())
              + f"  {seconds:6.2f} s  {'admitted' if admitted and admitted[-1][1] == name else ''}", flush=True)
    for worst, name in sorted(admitted, reverse=True):
        print(f"within a factor of {np.exp(worst):.2f}: {name}")
