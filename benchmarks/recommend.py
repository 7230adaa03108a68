"""Do the planner's 90 % intervals cover the truth, and does it agree with the Gaussian's steady states?

Truth: the condition's bound is what a brute-force run of thousands of replicates (or an exact law, where one covers
the case) finds at a known setting, so that setting is the least that keeps it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collapse import advice, loop, planner
from collapse.loop import run
from collapse.metrics import measure_all
from collapse.models.base import Model
from collapse.params import Branch, Study, parse_study
from collapse.planner import Keep, Point
from collapse.pool import Part, Pool
from collapse.rng import Rng

#: Replicates of a search, and of the truth.
FEW, MANY = 60, 2000
SCALE = float(os.environ.get("COLLAPSE_BENCH_SCALE", "1"))
#: Coverage that is asked for.
BAND = (0.85, 0.95)
#: Share of a case's rows beyond the outer twentieths of reality that its fit holds, over a tenth: the name of a series.
TAILS = "tails of the fit"
#: Metrics of samples, with replicates of the truth: each row is drawn and measured.
SAMPLED, SOME = ("tail_ratio", "rare_alive"), 1000

Series = Callable[[Mapping[tuple[str, str], np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One question: data, model, rows, an option, and the setting at which the condition is just kept."""

    name: str
    source: Mapping[str, Any]
    model: Mapping[str, Any]
    rows: int
    horizon: int
    option: str
    share: float
    metric: str
    op: str = ">="
    feature: str = ""

    @property
    def sampled(self) -> bool:
        """Return whether the metric is one of samples, not of fits."""
        return self.metric in SAMPLED

    @property
    def study(self) -> Study:
        """Return the case as a study."""
        data = {"title": self.name, "seed": 1, "source": dict(self.source), "model": dict(self.model),
                "rows": self.rows, "generations": self.horizon, "replicates": FEW,
                "branches": {"replace": {"regime": "replace"}}, "gates": {},
                "measure": {"only": ["tails"]} if self.sampled else {}}
        return parse_study(data, "case", Path("studies/case.yaml"))


GAUSSIAN, BIASED, UNBIASED = {"kind": "gaussian"}, {"kind": "gaussian", "ddof": 0}, {"kind": "gaussian", "ddof": 1}
ZIPF, SHARES = {"kind": "zipf", "categories": 60}, {"kind": "categorical"}
LINEAR, FITTED = {"kind": "regression", "dim": 4}, {"kind": "regression"}
KERNEL = {"kind": "kde", "bandwidth": 0.3}
BLOB, MIXTURE = {"kind": "gaussian"}, {"kind": "gmm", "components": 2, "max_iter": 20}
PLANE, JOINT = {"kind": "gaussian", "dim": 3}, {"kind": "copula"}


def cases() -> list[Case]:
    """Return the cases."""
    found = []
    for option, shares in (("anchor", (0.15, 0.4)), ("redraw", (0.1, 0.3)), ("refresh", (0.06, 0.2)),
                           ("weighted", (0.06, 0.2))):
        for share in shares:
            found += [
                Case("gaussian ddof 0", GAUSSIAN, BIASED, 100, 15, option, share, "fit_variance"),
                Case("gaussian ddof 1", GAUSSIAN, UNBIASED, 200, 20, option, share, "fit_error2", "<="),
                Case("gaussian ddof 1", GAUSSIAN, UNBIASED, 60, 12, option, share, TAILS),
                Case("categorical", ZIPF, SHARES, 200, 15, option, share, "fit_simpson"),
                Case("categorical", ZIPF, SHARES, 120, 20, option, share, "fit_survivors"),
                Case("regression", LINEAR, FITTED, 100, 12, option, share, "fit_error2", "<="),
            ]
        found.append(Case("kde", GAUSSIAN, KERNEL, 80, 12, option, shares[1], "fit_variance", "<="))
    found += [Case("gmm", BLOB, MIXTURE, 120, 10, option, share, "fit_component_std", ">=", "2")
              for option, share in (("anchor", 0.4), ("redraw", 0.3), ("refresh", 0.2))]
    found += [Case("gaussian ddof 0", GAUSSIAN, BIASED, 50, 15, "rows", 2.5, "fit_variance"),
              Case("categorical", ZIPF, SHARES, 100, 15, "rows", 3.0, "fit_survivors")]
    for option, share in (("anchor", 0.3), ("redraw", 0.2), ("refresh", 0.15)):
        found += [Case("gaussian ddof 0", GAUSSIAN, BIASED, 50, 30, option, share, "tail_ratio"),
                  Case("copula", PLANE, JOINT, 40, 10, option, share, "tail_ratio"),
                  Case("gmm", BLOB, MIXTURE, 40, 20, option, share, "tail_ratio"),
                  Case("categorical", ZIPF, SHARES, 100, 15, option, share, "rare_alive")]
    return found


def sampled(study: Study, branch: Branch, horizon: int, replicates: int, metric: str, name: str) -> np.ndarray:
    """Return a metric (R, T) of a branch's samples, each measured as a node's is."""
    parts = loop.split(study.source, branch.rows, replicates, Rng(5, name, 0))
    same = loop.split(study.source, branch.rows, 1, Rng(5, "reference", 0))  # of the truth and of every search
    frame, first = loop.freeze(study, same.reference, same.bank), Part.of(parts.first, "real", 0, synthetic=False)
    real, pool, fit = loop.real_data(study, first, parts.bank), Pool.of(first), {}
    found = np.empty((horizon, replicates))
    for t in range(1, horizon + 1):
        here = Rng(5, name, t)
        fit = study.model.learn(pool, here.at("fit"), fit if t > 1 else None)
        rows = study.model.make(fit, parts.reference.schema, branch.rows, here.at("sample"), first.rows)
        found[t - 1] = next(m.values for m in measure_all(rows, None, frame) if (m.metric, m.feature) == (metric, ""))
        pool = branch.regime.next_pool(pool, Part.of(rows, f"run-{t:04d}", t, synthetic=True), real, here.at("regime"))
    return found.T


def series(case: Case) -> Series:
    """Return what reads the condition's values (R, T) from the paths of a run."""
    if case.metric != TAILS:
        return lambda paths: paths[case.metric, case.feature]
    from scipy.special import ndtr, ndtri

    edge = ndtri(0.95)

    def tails(paths: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
        mean, width = paths["fit_mean", ""], np.sqrt(paths["fit_variance", ""])
        with np.errstate(divide="ignore"):
            return (ndtr((-edge - mean) / width) + ndtr((mean - edge) / width)) / 0.1

    return tails


@dataclass
class Laboratory:
    """The loop in memory, as a planner's simulator."""

    case: Case
    study: Study
    option: advice.Option

    @staticmethod
    def of(case: Case) -> Laboratory:
        """Return the laboratory of a case."""
        study = case.study
        options, _ = advice.options(study, case.horizon, None)
        return Laboratory(case, study, options[case.option])

    @property
    def setting(self) -> int:
        """Return the setting at which the condition is just kept."""
        return round(self.case.share * self.case.rows) if self.option.unit != 1 / advice.HUNDRED else \
            round(advice.HUNDRED * self.case.share)

    def values(self, x: int, replicates: int, name: str) -> np.ndarray:
        """Return the condition's values (R, T) at a setting."""
        branch = self.option.branch(self.study, x)
        if self.case.sampled:
            return sampled(self.study, branch, self.case.horizon, replicates, self.case.metric, name)
        free = branch.regime.rows_free and self.study.model.summary is not None and \
            type(self.study.model).draw is not Model.draw and self.study.source.kind in ("gaussian", "zipf")
        found = run(self.study.source, self.study.model, branch.regime, branch.rows, self.case.horizon, replicates,
                    seed=5, name=name, rows_free=free)
        return series(self.case)(found.paths)

    def truth(self) -> tuple[Keep, np.ndarray]:
        """Return the condition that the setting just keeps, and the means (T,) under replace by brute force."""
        case = self.case
        if case.metric != TAILS:
            blank = Keep(case.metric, case.feature, case.op, 0.0)
            known = None if case.option == "rows" else advice.law(self.study, self.option.branch(
                self.study, self.setting), blank, case.horizon)
        else:
            blank, known = Keep("fit_variance", "", case.op, 0.0), None
        # Nothing real holds the variance where rows are searched: its mean takes more replicates to know.
        many = round((SOME if case.sampled else 10 * MANY if case.option == "rows" else MANY) * SCALE)
        mean = known.values if known else self.values(self.setting, many, "truth").mean(axis=0)
        worst = mean.min() if case.op == ">=" else mean.max()
        keep = Keep(blank.metric, blank.feature, case.op, float(worst))
        return keep, self.values(self.option.knob.low, many, "truth-none").mean(axis=0)

    def simulator(self, name: str) -> planner.Simulate:
        """Return a simulator at an address of its own."""
        def simulate(points: Sequence[Point]) -> dict[Point, np.ndarray]:
            return {(knob, x): self.values(x, FEW, name) for knob, x in points}

        return simulate


def coverage(repeats: int) -> tuple[float, float, float]:
    """Return how often intervals of settings, and of the generation at which replace breaks, hold the truth.

    The third is the share of the former whose upper end is open.
    """
    hits, breaks, opened = [], [], []
    for number, case in enumerate(cases()):
        begin = time.process_time()
        lab = Laboratory.of(case)
        keep, mean = lab.truth()
        broken = ~keep.met(mean)
        when = 1 + int(broken.argmax()) if broken.any() else np.inf
        here, looked = [], []
        for again in range(repeats):
            name = f"case-{number}-{again}"
            found = planner.search([lab.option.knob], lab.simulator(name), keep)[case.option]
            low, high = (np.inf if x is None else x for x in (found.low, found.high))
            here.append((low <= lab.setting <= high, lab.setting < low, found.least, low, high))
            looked.append(len(found.tried))
            left = planner.left(lab.values(lab.option.knob.low, FEW, name), keep)
            ends = [np.inf if x is None else x for x in (left.low, left.high)]
            breaks.append(ends[0] <= when <= ends[1])
        hits += [one[0] for one in here]
        opened += [np.isinf(one[4]) for one in here]
        print(f"  {case.name:16} {case.option:9} {case.metric:18} n={case.rows:<4} truth {lab.setting:4}   covered "
              f"{sum(one[0] for one in here)}/{repeats} ({sum(one[1] for one in here)} above)   first {here[0][2]} "
              f"[{here[0][3]:g}, {here[0][4]:g}]   "
              f"{np.mean(looked):.0f} settings, {time.process_time() - begin:.0f} s", flush=True)
    return float(np.mean(hits)), float(np.mean(breaks)), float(np.mean(opened))


def steady() -> int:
    """Print how the planner's answers compare with the steady states of THEORY; return how many differ."""
    wrong = 0
    for n, m in ((20, 2), (20, 5), (50, 5), (100, 10), (200, 60)):
        alpha = m / n
        d = 1 - alpha + alpha * n * (2 - alpha)
        s = 1 - 1 / m
        limits = {"refresh": 1 - 1 / d, "anchor": s * (1 - (1 - alpha) / d)}
        study = Case("steady", GAUSSIAN, BIASED, n, 2000, "refresh", alpha, "fit_variance").study
        options, _ = advice.options(study, 2000, None)
        for name, limit in limits.items():
            keep = Keep("fit_variance", "", ">=", limit - 1e-9)
            option = options[name]

            def form(x: int, option: advice.Option = option, study: Study = study, keep: Keep = keep) -> np.ndarray:
                found = advice.law(study, option.branch(study, x), keep, 2000)
                assert found is not None
                return found.values

            least = planner.by_law(option.knob, form, keep).least
            wrong += least != m
            print(f"  {name:8} n={n:<4} α={alpha:<5g} steady state {limit:.4f}: least α that keeps it "
                  f"{least / n if least is not None else None}", flush=True)
    return wrong


def main() -> None:
    begin = time.process_time()
    wrong = steady()
    repeats = max(1, round(3 * SCALE))
    share, when, opened = coverage(repeats)
    print(f"  steady states: {wrong} of 10 answers differ")
    count = len(cases())
    print(f"  coverage of settings by 90 % intervals: {100 * share:.1f} % of {repeats * count} in {count} cases "
          f"(asked: {100 * BAND[0]:g} to {100 * BAND[1]:g} %); {100 * opened:.0f} % have an open end")
    print(f"  coverage of the generation at which replace breaks: {100 * when:.1f} % (whole numbers: at least 85 %)")
    print(f"  {time.process_time() - begin:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    sys.exit(main())
