"""Do the planner's 90 % intervals cover the truth, and does it agree with the Gaussian's steady states?

Asked of nine of ten lineages, and in fewer cases of their mean and median. Truth: the condition's bound is what a
brute-force run of thousands of replicates (or an exact law of means, where one covers the case) finds at a known
setting, so that setting is the least that keeps it. `python -m benchmarks recommend 0 20` runs the first twenty cases.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from collapse import loop
from collapse.advice import options as advice
from collapse.advice import search
from collapse.advice.condition import Keep, Of, kept
from collapse.advice.search import Point
from collapse.data import Column, Rows, Schema
from collapse.loop import run
from collapse.metrics import measure_all
from collapse.models.base import Model
from collapse.pool import Part, Pool
from collapse.rng import Rng
from collapse.sources.base import Division, Source
from collapse.study.experiment import Branch
from collapse.study.parse import Study, parse_study

#: Replicates of a search, and of the truth: of a mean, and of a share of lineages.
FEW, MANY, TAIL = 60, 2000, 6000
SCALE = float(os.environ.get("COLLAPSE_BENCH_SCALE", "1"))
#: Coverage that is asked for.
BAND = (0.85, 0.95)
#: Share of a case's rows beyond the outer twentieths of reality that its fit holds, over a tenth: the name of a series.
TAILS = "tails of the fit"
#: Metrics of samples, with replicates of the truth: each row is drawn and measured.
SAMPLED, SOME = ("tail_ratio", "rare_alive"), 1000

NINE, MEDIAN, MEAN = Of("0.9", 0.9), Of("median"), Of("mean")


class Bank(Source):
    """A small table that is all there is: log-normal numbers, or a heavy-tailed column beside a category."""

    kind = "gaussian"  # the study's words; the rows are these
    rows: int
    mixed: bool = False

    @cached_property
    def whole(self) -> Division:
        """Return the same bank and reference whoever asks: the truth is of one data set, as an answer is."""
        draw = Rng("bank", self.rows, int(self.mixed)).generator("rows")
        x = np.exp(draw.normal(0, 0.8, (1, self.rows + 400, 1)))
        columns, codes = [Column("x", "number")], {}
        if self.mixed:
            x = draw.standard_t(4, x.shape)
            columns.append(Column("c", "category", tuple("abcde")))
            codes = {"c": draw.choice(5, x.shape[:2], p=[0.5, 0.25, 0.15, 0.07, 0.03]).astype(np.int32)}
        every = Rows.assemble(Schema(tuple(columns)), x, codes)
        return Division(every.take(np.arange(self.rows)[None]),
                        every.take(np.arange(self.rows, self.rows + 400)[None]))

    def divide(self, held_out: float, rng: Rng) -> Division:
        return self.whole


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
    of: Of = NINE
    #: Rows of a finite source; 0: the source is without end.
    bank: int = 0
    mixed: bool = False

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
        made = parse_study(data, "case", Path("studies/case.yaml"))
        return replace(made, source=Bank(rows=self.bank, mixed=self.mixed)) if self.bank else made


GAUSSIAN, BIASED, UNBIASED = {"kind": "gaussian"}, {"kind": "gaussian", "ddof": 0}, {"kind": "gaussian", "ddof": 1}
ZIPF, SHARES = {"kind": "zipf", "categories": 60}, {"kind": "categorical"}
LINEAR, FITTED = {"kind": "regression", "dim": 4}, {"kind": "regression"}
KERNEL = {"kind": "kde", "bandwidth": 0.3}
BLOB, MIXTURE = {"kind": "gaussian"}, {"kind": "gmm", "components": 2, "max_iter": 20}
PLANE, JOINT = {"kind": "gaussian", "dim": 3}, {"kind": "copula"}


def cases() -> list[Case]:
    """Return the cases: of nine of ten lineages, with skewed ones and finite sources, then of means and medians."""
    found = []
    skewed, few = {"kind": "gaussian", "ddof": 1}, {"kind": "copula"}
    for option, shares in (("anchor", (0.15, 0.4)), ("redraw", (0.1, 0.3)), ("refresh", (0.06, 0.2)),
                           ("weighted", (0.06, 0.2))):
        for share in shares:
            found += [
                Case("gaussian ddof 0", GAUSSIAN, BIASED, 100, 15, option, share, "fit_variance"),
                Case("gaussian ddof 1", GAUSSIAN, UNBIASED, 200, 20, option, share, "fit_error2", "<="),
                Case("gaussian ddof 1", GAUSSIAN, UNBIASED, 60, 12, option, share, TAILS),
                Case("categorical", ZIPF, SHARES, 200, 15, option, share, "fit_simpson"),
                Case("regression", LINEAR, FITTED, 100, 12, option, share, "fit_error2", "<="),
                # few rows and no bias: a log-normal variance, whose mean is where no lineage is
                Case("skewed, 24 rows", GAUSSIAN, skewed, 24, 25, option, share, "fit_variance"),
                Case("bank of 300", GAUSSIAN, skewed, 50, 15, option, share, "fit_variance", bank=300),
            ]
        found.append(Case("kde", GAUSSIAN, KERNEL, 80, 12, option, shares[1], "fit_variance", "<="))
        found.append(Case("bank of 150, kde", GAUSSIAN, KERNEL, 40, 10, option, shares[1], "fit_variance", "<=",
                          bank=150))
    found += [Case("gmm", BLOB, MIXTURE, 120, 10, option, share, "fit_component_std", ">=", "2")
              for option, share in (("anchor", 0.4), ("redraw", 0.3), ("refresh", 0.2))]
    found += [Case("gaussian ddof 0", GAUSSIAN, BIASED, 50, 15, "rows", 2.5, "fit_variance"),
              Case("skewed, 24 rows", GAUSSIAN, skewed, 24, 25, "rows", 4.0, "fit_variance"),
              Case("bank of 300", GAUSSIAN, skewed, 50, 15, "rows", 3.0, "fit_variance", bank=300)]
    for option, share in (("anchor", 0.3), ("redraw", 0.2), ("refresh", 0.15)):
        found += [Case("gaussian ddof 0", GAUSSIAN, BIASED, 200, 12, option, share, "tail_ratio"),
                  Case("copula", PLANE, JOINT, 40, 10, option, share, "tail_ratio"),
                  Case("bank of 300, mixed", GAUSSIAN, few, 60, 8, option, share, "tail_ratio", bank=300, mixed=True)]
    for of in (MEAN, MEDIAN):
        for option, share in (("anchor", 0.3), ("redraw", 0.2), ("refresh", 0.1), ("weighted", 0.1)):
            found += [Case("gaussian ddof 0", GAUSSIAN, BIASED, 100, 15, option, share, "fit_variance", of=of),
                      Case("skewed, 24 rows", GAUSSIAN, skewed, 24, 25, option, share, "fit_error2", "<=", of=of),
                      Case("categorical", ZIPF, SHARES, 200, 15, option, share, "fit_simpson", of=of)]
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
        options, _ = advice.options(study, case.horizon, case.bank or None)
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
            type(self.study.model).draw is not Model.draw and not self.case.bank and \
            self.study.source.kind in ("gaussian", "zipf")
        found = run(self.study.source, self.study.model, branch.regime, branch.rows, self.case.horizon, replicates,
                    seed=5, name=name, rows_free=free)
        return series(self.case)(found.paths)

    def truth(self) -> tuple[Keep, float]:
        """Return the condition that the setting just keeps, and when replace breaks it, by brute force."""
        case, share = self.case, self.case.of.share
        metric = "fit_variance" if case.metric == TAILS else case.metric
        blank = Keep(metric, case.feature, case.op, 0.0)
        if share is not None:
            many = round((SOME if case.sampled else TAIL) * SCALE)
            worst = kept(self.values(self.setting, many, "truth"), blank)[:, -1]
            # at a tie every interval is asked for the very value
            keep = replace(blank, bound=float(blank.sign * np.quantile(worst, 1 - share, method="inverted_cdf")))
            lasting = kept(self.values(self.option.knob.low, many, "truth-none"), keep) >= 0
            broken = lasting.mean(axis=0) < share
        else:
            centre = np.mean if case.of.name == "mean" else np.median
            known = advice.law(self.study, self.option.branch(self.study, self.setting), blank, case.horizon, case.of)
            middle = known.values if known else centre(self.values(self.setting, round(MANY * SCALE), "truth"), axis=0)
            keep = replace(blank, bound=float(middle.min() if case.op == ">=" else middle.max()))
            broken = ~keep.met(centre(self.values(self.option.knob.low, round(MANY * SCALE), "truth-none"), axis=0))
        return keep, 1.0 + int(broken.argmax()) if broken.any() else np.inf

    def simulator(self, name: str) -> search.Simulate:
        """Return a simulator at an address of its own."""
        def simulate(points: Sequence[Point]) -> dict[Point, np.ndarray]:
            return {(knob, x): self.values(x, FEW, name) for knob, x in points}

        return simulate


@dataclass(frozen=True)
class Hit:
    """Of one search: whose condition, whether the interval holds the setting, and replace's end, and is open above."""

    of: str
    setting: bool
    breaks: bool
    opened: bool
    kind: str


def coverage(repeats: int, chosen: slice) -> list[Hit]:
    """Return what became of each search of the cases."""
    hits = []
    for number, case in list(enumerate(cases()))[chosen]:
        begin = time.process_time()
        lab = Laboratory.of(case)
        keep, when = lab.truth()
        here, looked = [], []
        for again in range(repeats):
            name = f"case-{number}-{again}"
            found = search.search([lab.option.knob], lab.simulator(name), keep, case.of)[case.option]
            low, high = (np.inf if x is None else x for x in (found.low, found.high))
            here.append((low <= lab.setting <= high, lab.setting < low, found.least, low, high))
            looked.append(len(found.tried))
            left = search.left(lab.values(lab.option.knob.low, FEW, name), keep, case.of)
            ends = [np.inf if x is None else x for x in (left.low, left.high)]
            kind = "finite" if case.bank else "skewed" if case.name.startswith("skewed") else \
                "samples" if case.sampled else "fits"
            hits.append(Hit(case.of.name, here[-1][0], ends[0] <= when <= ends[1], bool(np.isinf(high)), kind))
        print(f"  {number:3} {case.of.name:6} {case.name:18} {case.option:9} {case.metric:17} n={case.rows:<4} truth "
              f"{lab.setting:4}   covered {sum(one[0] for one in here)}/{repeats} ({sum(one[1] for one in here)} above)"
              f"   first {here[0][2]} [{here[0][3]:g}, {here[0][4]:g}]   {np.mean(looked):.0f} settings, "
              f"{time.process_time() - begin:.0f} s", flush=True)
    return hits


def told(hits: Sequence[Hit]) -> None:
    """Print the shares of intervals that hold the truth."""
    groups = {f"of {of}": [hit for hit in hits if hit.of == of] for of in dict.fromkeys(hit.of for hit in hits)}
    groups |= {f"of 0.9, {kind}": [hit for hit in hits if hit.of == "0.9" and hit.kind == kind]
               for kind in dict.fromkeys(hit.kind for hit in hits)}
    for name, here in groups.items():
        if here:
            held, opened, breaks = (100 * np.mean([getattr(hit, key) for hit in here])
                                    for key in ("setting", "opened", "breaks"))
            print(f"  {name}: {held:.1f} % of {len(here)} intervals hold the setting (asked: {100 * BAND[0]:g} to "
                  f"{100 * BAND[1]:g} %), {opened:.0f} % have an open end; {breaks:.1f} % hold the generation at which "
                  f"replace breaks (whole numbers: at least 85 %)", flush=True)


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
                found = advice.law(study, option.branch(study, x), keep, 2000, MEAN)
                assert found is not None
                return found.values

            least = search.by_law(option.knob, form, keep).least
            wrong += least != m
            print(f"  {name:8} n={n:<4} α={alpha:<5g} steady state {limit:.4f}: least α that keeps it "
                  f"{least / n if least is not None else None}", flush=True)
    return wrong


def main() -> None:
    begin, words = time.process_time(), [word for word in sys.argv[1:] if word.isdigit()]
    wrong = steady()
    print(f"  steady states: {wrong} of 10 answers differ")
    repeats = max(1, round(3 * SCALE))
    told(coverage(repeats, slice(*map(int, words)) if words else slice(None)))
    print(f"  {time.process_time() - begin:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    sys.exit(main())
