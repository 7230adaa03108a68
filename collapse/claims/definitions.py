"""The eight definitions of model collapse that are in use, each answered for every branch.

Whether "accumulating avoids collapse" hangs on what collapse is called: Schaeffer, Kazdan, Arulandu & Koyejo 2025
(arXiv 2503.03150) count eight definitions in the literature, named here as they name them, and ask for a profile of all
in place of one word. They give them in words; the numbers that decide here are this project's own and stated below.

**Population risk** is the held-out loss of the fitted model where it has one, else its distance (or its sample's) to
the truth: the first of :data:`RISKS` that is recorded. Risks are means over replicates, because the definitions speak
of expected risk, and are compared as factors: a loss −log p as perplexity (for rows of numbers per coordinate), a
distance as it is. **What is kept** (variance, modes, tails, plausible rows) is compared replicate by replicate, and the
median decides: under recursion a few lineages inflate while most collapse, and their mean stays where it was.

Everything is held against the control branch of the same model and rows at the same generation, paired by replicate;
without one against the lineage's own generation 1, the fit to real data, if it had as many rows; where there is
neither, or replicates are too few for an interval, against independent fits to real data (the calibration).

=============  ==========================================  =========================================================
key            holds if                                    does not hold if
=============  ==========================================  =========================================================
catastrophic   risk is beyond a factor (2 of a             it is below that factor
               perplexity, 10 of a distance, or as set)
increase       risk is above that of real data             it is less than a margin (10 %) above it
divergence     risk rises over the last half of the        it rises by less than the margin there, or at less than a
               generations, at more than two thirds of     third of the pace of the first half, as claims have it
               its pace over the first
scaling        the exponent of risk in rows loses more     it keeps more than that
               than the margin of what it is for control,
               over 3 numbers of rows or more
variance       less than half is kept; or more than the    all but the margin is kept; or it has levelled off above
               margin is lost and it goes on falling, at   half
               more than a third of its first pace
modes          more than the margin is lost (modes still   all but the margin is kept
               alive; rows clearly of one mode)
tails          more than the margin of tail mass is lost   all but the margin is kept
hallucination  more than the margin of plausible rows is   all but the margin is kept
               lost
=============  ==========================================  =========================================================

Each verdict asks for an interval wholly on its side: that something was not found is never "does not hold", but
"undecided". Intervals are of 90 %, so that either side is wrong in one case of twenty; a median has its exact
order-statistic interval (5 replicates are the least), a mean Student's t, a ratio of means Fieller's. A definition that
looks at k metrics looks at each with an error of a k-th. Over definitions and branches nothing is corrected. No finite
run proves what is asymptotic: *divergence* and *variance* speak of the pace over the generations that were run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from collapse.calibration import interval as prediction
from collapse.claims.gain import ratio
from collapse.claims.intervals import mean_interval, median_interval
from collapse.errors import InputError, nearest
from collapse.verdict import LATE

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["holds", "does not hold", "undecided", "not measurable here"]
VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "undecided", "not measurable here")
#: By key, what Schaeffer et al. 2025 call it.
DEFINITIONS: dict[str, str] = {
    "catastrophic": "Catastrophic increase of population risk",
    "increase": "Any increase of population risk",
    "divergence": "Asymptotically diverging population risk",
    "scaling": "Change in scaling law",
    "variance": "Collapsing variance",
    "modes": "Entanglement of real data modes",
    "tails": "Disappearance of real tail data",
    "hallucination": "Appearance of hallucinated data",
}
#: Two-sided level of an interval.
LEVEL = 0.90
#: Of a first half's pace, what is left at most of a trend that levels off, and at least of one that has no end.
OFF, ON = 1 / 3, 2 / 3
#: Generations that two halves need, and numbers of rows that a scaling law needs.
GENERATIONS, RUNGS = 6, 3
#: Replicates that an interval of a mean needs, and of a median.
MEANS, MEDIANS = 2, 5
#: Factors beyond which an increase is catastrophic: of a perplexity, which has a floor above 0, and of a distance.
CATASTROPHIC = {"loss": 2.0, "distance": 10.0}

ALONE = "One generation is a fit to real data: nothing has been handed on yet."


@dataclass(frozen=True)
class Settings:
    """What a study may set: the factor of a catastrophic increase (None: by the kind of risk), and the margin."""

    catastrophic: float | None = None
    margin: float = 0.1

    @staticmethod
    def parse(raw: Any, where: str) -> Settings:
        """Return what a study file's ``definitions`` says.

        Raises
        ------
        InputError
            If it is no mapping of these two keys to numbers in their range.
        """
        if not isinstance(raw, dict):
            raise InputError(f"{where} must be a mapping, such as {{catastrophic: 10, margin: 0.1}}")
        ranges = {"catastrophic": (1.0, np.inf), "margin": (0.0, 1.0)}
        for key, value in raw.items():
            if key not in ranges:
                raise InputError(f"{where}.{key} is not a key{nearest(str(key), ranges)}")
            low, high = ranges[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
                span = f"above {low:g}" if high == np.inf else f"above {low:g} and below {high:g}"
                raise InputError(f"{where}.{key} must be a number {span} (it is {value!r})")
        return Settings(**{key: float(value) for key, value in raw.items()})


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


def _rest(values: np.ndarray) -> np.ndarray:
    return 1 - values


@dataclass(frozen=True)
class Reading:
    """A metric, what it stands for, and the form in which it is compared: 0.0 nothing (kept), or no risk."""

    metric: str
    words: str
    form: Callable[[np.ndarray], np.ndarray] = _as_it_is
    kind: str = "distance"


#: What stands for population risk, the first that is recorded. A loss is −log p; a distance is 0 at the truth.
RISKS = (
    Reading("fit_perplexity", "perplexity of held-out text", np.log, "loss"),
    Reading("fit_elbo_real", "perplexity of held-out rows per coordinate", np.negative, "loss"),
    Reading("fit_w2", "squared 2-Wasserstein distance of the fit to the truth"),
    Reading("fit_error2", "squared error of the fit"),
    Reading("energy_distance", "squared energy distance to real data", np.square),
    Reading("sliced_w2", "squared sliced 2-Wasserstein distance to real data", np.square),
    Reading("frechet_distance", "squared Fréchet distance to real data"),
    Reading("kl_bins", "Kullback–Leibler divergence from real data"),
    Reading("category_tv", "squared total variation from real data", np.square),
)
SPREADS = (
    Reading("fit_variance", "variance of the fit"),
    Reading("variance_ratio", "variance"),
    Reading("total_variance_ratio", "total variance"),
    Reading("entropy_power", "entropy power"),
    Reading("effective_categories", "effective number of categories"),
    Reading("effective_tokens", "effective number of tokens"),
    Reading("simpson_ratio", "diversity"),
)
TAILS = (
    Reading("tail_kept", "tail mass"),
    Reading("tail_ratio", "tail mass"),
    Reading("token_alive", "share of rare tokens that are alive"),
    Reading("rare_alive", "share of rare categories that are alive"),
)
#: Of each of these the first that is recorded is looked at.
MODES = (
    (Reading("classes_alive", "share of classes that are alive"),
     Reading("modes_alive", "share of modes that are alive"),
     Reading("effective_classes", "effective number of classes")),
    (Reading("entanglement", "clearness of modes", _rest),),
)
PLAUSIBLE = (
    (Reading("learned_precision", "share of rows that look real"),
     Reading("precision", "share of rows that look real")),
    (Reading("impossible_pairs", "share of rows without impossible pairs", _rest),),
    (Reading("range_violations", "share of rows within the real range", _rest),),
    (Reading("classifier_agreement", "share of labels that mean what they did"),
     Reading("label_agreement", "share of labels that mean what they did")),
    (Reading("sample_perplexity", "likeliness of the text under a model of real text", np.reciprocal),),
)


@dataclass(frozen=True)
class Answer:
    """What one definition comes to on one branch.

    ``estimate`` with its 90 % interval is a factor or a share (1.0: as ``against`` has it), of a divergence the rise
    over the last half in risks of ``against``. An end that is None has no bound. ``first`` and ``last`` are the
    generations.
    """

    verdict: Verdict
    sentence: str
    metric: str | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    against: str | None = None
    replicates: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class Profile:
    """The answers by branch and definition."""

    answers: Mapping[str, Mapping[str, Answer]]
    settings: Settings

    def count(self, branch: str, verdict: Verdict) -> int:
        """Return how many definitions have ``verdict`` on a branch."""
        return sum(answer.verdict == verdict for answer in self.answers[branch].values())

    def tally(self, key: str) -> dict[str, int]:
        """Return on how many branches a definition has each verdict."""
        found = [answers[key].verdict for answers in self.answers.values()]
        return {verdict: found.count(verdict) for verdict in VERDICTS}

    def sentence(self, branch: str) -> str:
        """Return what a branch's answers come to, in plain words."""
        words = {"holds": ("holds", "hold"), "does not hold": ("does not hold", "do not hold"),
                 "undecided": ("is undecided", "are undecided"),
                 "not measurable here": ("cannot be measured here", "cannot be measured here")}
        parts: list[str] = []
        for verdict, (one, many) in words.items():
            count = self.count(branch, verdict)  # type: ignore[arg-type]
            if count:
                named = [SHORT[key] for key, answer in self.answers[branch].items() if answer.verdict == verdict]
                listed = f" ({', '.join(named)})" if verdict in ("holds", "undecided") else ""
                of = f" of {len(DEFINITIONS)} definitions of collapse" if not parts else ""
                parts.append(f"{count}{of} {one if count == 1 else many}{listed}")
        return f"Under {branch}, {', '.join(parts)}."

    def plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"level": LEVEL, "settings": asdict(self.settings), "names": DEFINITIONS, "branches": {
            branch: {key: asdict(answer) for key, answer in answers.items()}
            for branch, answers in self.answers.items()}}


#: Definitions in a word or two.
SHORT = {"catastrophic": "catastrophic risk", "increase": "any rise of risk", "divergence": "diverging risk",
         "scaling": "scaling law", "variance": "variance", "modes": "modes", "tails": "tails",
         "hallucination": "hallucination"}


def profile(study: Any, table: pd.DataFrame, floors: Mapping[str, Any] | None = None, coordinates: int = 1) -> Profile:
    """Answer every definition for every branch of ``study``.

    Parameters
    ----------
    study
        The study: rows, branches (regime, model, rows, from_, first, last), floor(branch) and definitions.
    table
        Tidy measurements: branch, generation, replicate, metric, feature, value.
    floors
        Calibration tables by name, ``study.floor(branch)``: columns kind, metric, feature, value.
    coordinates
        Numbers in a row, by which a log-likelihood of rows is divided.
    """
    records = _Records.of(study, table, floors or {}, coordinates)
    laws = dict(_ladders(records))
    answers = {}
    for name in study.branches:
        case = _Case.of(records, name)
        found = {
            "catastrophic": case.catastrophic(), "increase": case.increase(), "divergence": case.divergence(),
            "scaling": laws.get(name) or Answer(
                "not measurable here", f"A scaling law needs {RUNGS} or more numbers of rows, for {name}’s rule and "
                "for control, and a distance as risk."),
            "variance": case.variance(),
            "modes": case.kept(MODES, "modes"), "tails": case.kept((TAILS,), "tails"),
            "hallucination": case.kept(PLAUSIBLE, "plausible rows"),
        }
        # what is not shown to rise above real data's risk at all is not shown to diverge
        if found["divergence"].verdict == "holds" and found["increase"].verdict != "holds":
            text = found["divergence"].sentence.removesuffix("it goes on.") + "that it lies above at all is open."
            found["divergence"] = replace(found["divergence"], verdict="undecided", sentence=text)
        answers[name] = {key: case.cut(answer) for key, answer in found.items()}
    return Profile(answers, study.definitions)


# ------------------------------------------------------------------------------------------- records


_READ = {reading.metric: reading for reading in (*RISKS, *SPREADS, *TAILS, *(r for group in (*MODES, *PLAUSIBLE)
                                                                            for r in group))}


@dataclass(frozen=True, eq=False)
class _Records:
    """What is read of a study: by branch and metric, generations (rows) by replicates (columns), in its form."""

    study: Any
    series: Mapping[tuple[str, str], pd.DataFrame]
    floors: Mapping[str, Mapping[str, np.ndarray]]
    last: Mapping[str, int]

    @staticmethod
    def of(study: Any, table: pd.DataFrame, floors: Mapping[str, Any], coordinates: int) -> _Records:
        whole = table[(table.feature == "") & table.metric.isin(list(_READ)) & (table.generation > 0)]
        series = {}

        def formed(metric: str, values: Any) -> Any:
            with np.errstate(divide="ignore", invalid="ignore"):
                return _READ[metric].form(values) / (coordinates if metric == "fit_elbo_real" else 1)

        for (branch, metric), rows in whole.groupby(["branch", "metric"], observed=True):
            wide = rows.pivot(index="generation", columns="replicate", values="value").sort_index()
            series[str(branch), str(metric)] = formed(str(metric), wide)
        known: dict[str, dict[str, np.ndarray]] = {}
        for name, floor in floors.items():
            kind, metrics, feature, values = (np.asarray(floor[key]) for key in ("kind", "metric", "feature", "value"))
            fits = (kind == "model") & (feature == "")
            known[name] = {metric: formed(metric, values[fits & (metrics == metric)].astype(float))
                           for metric in _READ if (fits & (metrics == metric)).any()}
        ends = table[table.generation > 0].groupby("branch", observed=True).generation.max()
        return _Records(study, series, known, {str(name): int(last) for name, last in ends.items()})

    def first(self, readings: tuple[Reading, ...], branch: str) -> Reading | None:
        """Return the first reading of ``branch`` at its last generation that is comparable, or else the first."""
        found = [r for r in readings if (branch, r.metric) in self.series
                 and self.last[branch] in self.series[branch, r.metric].index]
        return next((r for r in found if self._comparable(r, branch)), found[0] if found else None)

    def _comparable(self, reading: Reading, branch: str) -> bool:
        """Return whether there are fits to real data, or real data alone in replicates enough for an interval."""
        enough = self.series[branch, reading.metric].shape[1] >= (MEANS if reading in RISKS else MEDIANS)
        return reading.metric in self.floor(branch) or (enough and self.base(branch, reading.metric)[0] is not None)

    def floor(self, branch: str) -> Mapping[str, np.ndarray]:
        """Return what independent fits to real data show, by metric, in its form."""
        return self.floors.get(self.study.floor(branch), {})

    def alike(self, one: str, other: str) -> bool:
        """Return whether two branches have the same model and rows."""
        a, b = self.study.branches[one], self.study.branches[other]
        return bool(a.rows == b.rows and a.model.spec() == b.model.spec())

    def control(self, branch: str, metric: str, generation: int) -> tuple[pd.Series, str] | None:
        """Return the control branch of the same model and rows at ``generation``, by replicate, and its name."""
        for name, item in self.study.branches.items():
            if name != branch and item.regime.kind == "control" and self.alike(name, branch):
                rows = self.series.get((name, metric))
                if rows is not None and generation in rows.index:
                    return rows.T[generation], f"{name} at generation {generation}"
        return None

    def base(self, branch: str, metric: str) -> tuple[pd.Series | None, str]:
        """Return what real data alone gives, by replicate, and its name."""
        control = self.control(branch, metric, self.last[branch])
        if control is not None:
            return control
        branches, stem = self.study.branches, branch
        while branches[stem].from_ is not None:
            stem = branches[stem].from_
        rows, start = self.series.get((stem, metric)), branches[stem].first
        # the first pool has the study's rows, whatever the branch's are
        if rows is None or start not in rows.index or branches[branch].rows != self.study.rows \
                or not self.alike(stem, branch):
            return None, ""
        return rows.loc[start], f"generation {start}" if stem == branch else f"{stem} at generation {start}"


@dataclass(frozen=True)
class _Ratio:
    """A factor or a share with its interval, what it was held against, and over how many replicates."""

    estimate: float
    low: float
    high: float
    against: str
    replicates: int

    def span(self, level: float) -> str:
        """Return the interval in words."""
        if np.isinf(self.low) and np.isinf(self.high):
            return f"without a bound over {_replicates(self.replicates)}"
        return (f"{100 * level:.3g} % interval [{_n(self.low)}, {_n(self.high)}] over "
                f"{_replicates(self.replicates)}")


# --------------------------------------------------------------------------------------- definitions


@dataclass(frozen=True, eq=False)
class _Case:
    """One branch: the definitions are its methods."""

    records: _Records
    branch: str
    settings: Settings
    last: int

    @staticmethod
    def of(records: _Records, branch: str) -> _Case:
        return _Case(records, branch, records.study.definitions, records.last.get(branch, 0))

    def cut(self, answer: Answer) -> Answer:
        """Return the answer; of a branch that was halted, that something did not happen so far says nothing."""
        ends = self.records.study.branches[self.branch].last
        if answer.verdict != "does not hold" or self.last >= ends:
            return answer
        return replace(answer, verdict="undecided", sentence=f"{answer.sentence} It does not hold so far, but the "
                       f"branch was halted, and what would be by generation {ends} is not known.")

    # ---------------------------------------------------------------------------------- population risk

    def catastrophic(self) -> Answer:
        """Catastrophic increase: population risk is beyond a factor of that of real data alone."""
        found = self._risk()
        if isinstance(found, Answer):
            return found
        reading, factor = found
        limit = self.settings.catastrophic or CATASTROPHIC[reading.kind]
        verdict: Verdict = "holds" if factor.low > limit else "does not hold" if factor.high < limit else "undecided"
        return self._answer(verdict, reading, factor, _side(verdict, "beyond", "below", limit))

    def increase(self) -> Answer:
        """Any increase: population risk is above that of real data alone."""
        found = self._risk()
        if isinstance(found, Answer):
            return found
        reading, factor = found
        limit = 1 + self.settings.margin
        verdict: Verdict = "holds" if factor.low > 1 else "does not hold" if factor.high < limit else "undecided"
        return self._answer(verdict, reading, factor, {
            "holds": "above 1", "does not hold": f"below {limit:g}",
            "undecided": f"neither above 1 nor below {limit:g}"}[verdict])

    def divergence(self) -> Answer:
        """Asymptotic divergence: population risk goes on rising."""
        reading = self._reading(RISKS, "population risk")
        if isinstance(reading, Answer):
            return reading
        rows = self.records.series[self.branch, reading.metric].dropna(axis="columns")
        base, against = self.records.base(self.branch, reading.metric)
        halves = _halves(rows)
        if halves is None or base is None or rows.shape[1] < MEANS:
            why = f"two halves need {GENERATIONS} generations" if halves is None else "nothing here is comparable" \
                if base is None else "one replicate gives no interval"
            return self._undecided(reading, f"Over {len(rows)} generations: {why}.")
        both = rows.columns[base[rows.columns].notna()]
        before, after, span = halves
        here = rows.columns.isin(both)
        rise = after[here] * span
        if reading.kind == "loss":
            estimate, low, high = (float(np.expm1(x)) for x in mean_interval(rise, LEVEL))
        else:
            estimate, low, high = ratio(rise, base[both].to_numpy(), LEVEL)
        level = mean_interval(before[here], LEVEL)[1] > 0 and mean_interval((after - OFF * before)[here], LEVEL)[2] < 0
        verdict: Verdict = "does not hold" if high < self.settings.margin or level else \
            "holds" if low > 0 and mean_interval((after - ON * before)[here], LEVEL)[1] > 0 else "undecided"
        found = _Ratio(estimate, low, high, against, int(here.sum()))
        # Fieller's ends lie beyond OFF or ON just where the differences above do
        share, least, most = ratio(after[here], before[here], LEVEL)
        pace = "after a first half whose own rise is not told from none" if np.isinf(least) else \
            f"at {_n(share)} [{_n(least)}, {_n(most)}] of the pace of the first half"
        end = {"holds": "it goes on", "undecided": "whether it levels off is open",
               "does not hold": "it levels off" if level else f"less than {self.settings.margin:g}"}[verdict]
        text = (f"From generation {rows.index[-1] - span} to {rows.index[-1]} the {reading.words} changes by "
                f"{_n(estimate)} times that of {against}, {found.span(LEVEL)}, {pace}: {end}.")
        return Answer(verdict, text, reading.metric, *_ends(found), against, found.replicates, int(rows.index[0]),
                      int(rows.index[-1]))

    def _risk(self) -> tuple[Reading, _Ratio] | Answer:
        """Return the reading and the factor by which the mean risk is above that of real data."""
        reading = self._reading(RISKS, "population risk")
        if isinstance(reading, Answer):
            return reading
        end = self.records.series[self.branch, reading.metric].loc[self.last].dropna()
        base, against = self.records.base(self.branch, reading.metric)
        if base is not None:
            both = end.index.intersection(base.dropna().index)
            if len(both) >= MEANS:
                above, below = end[both].to_numpy(), base[both].to_numpy()
                value, low, high = np.exp(mean_interval(above - below, LEVEL)) if reading.kind == "loss" else \
                    ratio(above, below, LEVEL)
                return reading, _Ratio(value, low, high, against, len(both))
        return self._beside(reading, end.to_numpy(), LEVEL) or self._few(reading, len(end))

    # ------------------------------------------------------------------------------------- what is kept

    def kept(self, groups: tuple[tuple[Reading, ...], ...], what: str) -> Answer:
        """Modes, tails and plausible rows: more than the margin of what real data alone keeps is lost.

        One look at each group; it holds if any look shows a loss, each with its part of the error.
        """
        readings = [found for group in groups if (found := self.records.first(group, self.branch))]
        if not readings or self.last == 1:
            return self._reading(tuple(r for group in groups for r in group), what)  # type: ignore[return-value]
        level, limit = 1 - (1 - LEVEL) / len(readings), 1 - self.settings.margin
        answers = []
        for reading in readings:
            share = self._share(reading, level)
            if isinstance(share, Answer):
                answers.append(share)
                continue
            verdict: Verdict = "holds" if share.high < limit else "does not hold" if share.low > limit else "undecided"
            answers.append(self._answer(verdict, reading, share, _side(verdict, "below", "above", limit), level))
        return min(answers, key=lambda a: (["holds", "undecided", "does not hold"].index(a.verdict),
                                           np.inf if a.estimate is None else a.estimate))

    def variance(self) -> Answer:
        """Collapsing variance: less than half is kept, or it goes on falling towards none."""
        reading = self._reading(SPREADS, "spread")
        if isinstance(reading, Answer):
            return reading
        share = self._share(reading, LEVEL)
        if isinstance(share, Answer):
            return share
        limit = 1 - self.settings.margin
        if share.low > limit:
            return self._answer("does not hold", reading, share, f"above {limit:g}")
        if share.high < LATE:
            return self._answer("holds", reading, share, "less than half is kept")
        rows = self.records.series[self.branch, reading.metric].dropna(axis="columns")
        halves = _halves(rows.clip(lower=np.finfo(float).tiny).transform(np.log))
        if halves is not None:
            before, after, _ = halves
            falls, goes_on, off = (mean_interval(x, LEVEL) for x in (before, after, after - OFF * before))
            if share.high < limit and goes_on[2] < 0 and off[2] < 0:
                return self._answer("holds", reading, share, f"below {limit:g}, and it goes on falling")
            if share.low > LATE and falls[2] < 0 < off[1]:
                return self._answer("does not hold", reading, share, "it has levelled off above half")
        return self._answer("undecided", reading, share, f"neither below half nor above {limit:g}, and no trend that "
                            f"goes on or levels off")

    def _share(self, reading: Reading, level: float) -> _Ratio | Answer:
        """Return the median over replicates of what is kept, over what real data alone keeps."""
        end = self.records.series[self.branch, reading.metric].loc[self.last].dropna()
        base, against = self.records.base(self.branch, reading.metric)
        if base is not None:
            both = end.index.intersection(base.dropna().index)
            above, below = end[both].to_numpy(), base[both].to_numpy()
            told = (above != 0) | (below != 0)  # 0 of 0 says nothing
            with np.errstate(divide="ignore"):
                found = median_interval(above[told] / below[told], level) if told.any() else (np.nan,) * 3
            if not np.isnan(found[1]):
                return _Ratio(*found, against, int(told.sum()))
        beside = self._beside(reading, end.to_numpy(), level)
        return beside[1] if beside else self._few(reading, len(end))

    # ------------------------------------------------------------------------------------------- common

    def _reading(self, readings: tuple[Reading, ...], what: str) -> Reading | Answer:
        """Return what is read of this branch, or why nothing is."""
        if not self.last:
            return Answer("undecided", f"{self.branch} has no measured generation.")
        found = self.records.first(readings, self.branch)
        if found is None:
            return Answer("not measurable here", f"Nothing that is recorded of {self.branch} measures {what}.")
        if self.last == 1:
            return self._undecided(found, ALONE)
        return found

    def _beside(self, reading: Reading, values: np.ndarray, level: float) -> tuple[Reading, _Ratio] | None:
        """Return the value over those of independent fits to real data, of which the interval leaves out few."""
        fits = self.records.floor(self.branch).get(reading.metric)
        if fits is None or not len(values) or not np.isfinite(fits).all():
            return None
        band, here = prediction(fits, len(values), 1 - level), float(np.median(values))
        against = f"{len(fits)} fits to real data"
        value, low, high = (float(np.exp(here - x)) if reading.kind == "loss" else here / x if x > 0 else np.inf
                            for x in (band.center, band.high, band.low))
        return reading, _Ratio(value, low, high, against, len(values))

    def _answer(self, verdict: Verdict, reading: Reading, found: _Ratio, rule: str, level: float = LEVEL) -> Answer:
        text = (f"At generation {self.last} the {reading.words} is {_n(found.estimate)} times that of {found.against}, "
                f"{found.span(level)}: {rule}.")
        return Answer(verdict, text, reading.metric, *_ends(found), found.against, found.replicates, self.last,
                      self.last)

    def _few(self, reading: Reading, count: int) -> Answer:
        why = "nothing to hold it against: no control of the same model and rows" if \
            self.records.base(self.branch, reading.metric)[0] is None else "too few for an interval"
        return self._undecided(reading, f"At generation {self.last} the {reading.words} has {_replicates(count)} and "
                               f"no calibration: {why}.")

    def _undecided(self, reading: Reading, why: str) -> Answer:
        return Answer("undecided", why, reading.metric, last=self.last)


# ------------------------------------------------------------------------------------------- scaling


def _ladders(records: _Records) -> Iterator[tuple[str, Answer]]:
    """Yield for branches that differ in rows alone what becomes of the exponent of risk in rows.

    Generation 1 tells nothing of it: all branches begin with the study's first pool, whatever their rows.
    """
    ladders: dict[str, list[str]] = {}
    for name, branch in records.study.branches.items():
        if branch.from_ is None and branch.regime.kind != "control" and name in records.last:
            ladders.setdefault(f"{branch.regime.spec()} {branch.model.spec()}", []).append(name)
    for names in ladders.values():
        rows = {name: records.study.branches[name].rows for name in names}
        readings = {records.first(RISKS, name) for name in names}
        if len(set(rows.values())) < RUNGS or len(readings) != 1 or None in readings:
            continue
        reading = readings.pop()
        if reading is None or reading.kind == "loss":  # whose floor, the entropy of the data, is not known
            continue
        answer = _exponent(records, reading, rows)
        if answer is not None:
            yield from ((name, answer) for name in names)


def _exponent(records: _Records, reading: Reading, rows: Mapping[str, int]) -> Answer | None:
    """Return what is left of the exponent that risk has in rows for control; None without a control of each."""
    end = min(records.last[name] for name in rows)
    controls = [records.control(name, reading.metric, end) for name in rows]
    if None in controls:
        return None
    sizes = np.log(list(rows.values()))
    sizes = sizes - sizes.mean()

    import pandas as pd

    def slopes(found: list[pd.Series]) -> pd.Series:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(pd.concat(found, axis=1))  # (R, rungs)
        return -(logs @ sizes) / (sizes @ sizes)

    ladder = f"{len(set(rows.values()))} numbers of rows from {min(rows.values()):,} to {max(rows.values()):,}"
    if end < 2:
        return Answer("undecided", ALONE, reading.metric)
    last = slopes([records.series[name, reading.metric].T[end] for name in rows])
    first = slopes([found[0] for found in controls if found is not None])
    both = pd.concat([first, last], axis=1).replace([np.inf, -np.inf], np.nan).dropna().to_numpy()  # (R, 2)
    if len(both) < MEANS:
        return Answer("undecided", f"Over {ladder} one replicate or none has a risk at each: no interval.",
                      reading.metric, last=end)
    found = _Ratio(*ratio(both[:, 1], both[:, 0], LEVEL), f"control at generation {end}", len(both))
    limit = 1 - records.study.definitions.margin
    verdict: Verdict = "holds" if found.high < limit else "does not hold" if found.low > limit else "undecided"
    text = (f"Over {ladder} at generation {end} the {reading.words} falls with an exponent of {_n(both[:, 0].mean())} "
            f"for control and {_n(both[:, 1].mean())} here: {_n(found.estimate)} of it is left, {found.span(LEVEL)}: "
            f"{_side(verdict, 'below', 'above', limit)}.")
    return Answer(verdict, text, reading.metric, *_ends(found), found.against, found.replicates, end, end)


# -------------------------------------------------------------------------------------------- common


def _halves(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Return each replicate's slope per generation over the first and the last half, (R,), and the span of the last.

    Of an odd number of generations both halves have the middle one.
    """
    if len(rows) < GENERATIONS:
        return None
    half = (len(rows) + 1) // 2

    def slope(part: pd.DataFrame) -> np.ndarray:
        time = part.index.to_numpy(float) - part.index.to_numpy(float).mean()
        return time @ part.to_numpy() / (time @ time)  # (T,) @ (T, R) -> (R,)

    return slope(rows.iloc[:half]), slope(rows.iloc[-half:]), int(rows.index[-1] - rows.index[-half])


def _side(verdict: Verdict, held: str, failed: str, limit: float) -> str:
    """Return on which side of ``limit`` an interval lies."""
    return f"{dict(zip(VERDICTS, (held, failed, 'on both sides of'), strict=False))[verdict]} {limit:g}"


def _ends(found: _Ratio) -> tuple[float | None, float | None, float | None]:
    """Return estimate, low and high to 6 significant digits; None for what JSON has no number for."""
    return tuple(float(f"{x:.6g}") if np.isfinite(x) else None  # type: ignore[return-value]
                 for x in (found.estimate, found.low, found.high))


def _n(value: float) -> str:
    return "∞" if np.isposinf(value) else "−∞" if np.isneginf(value) else f"{value:.3g}".replace("-", "−")


def _replicates(count: int) -> str:
    return "one replicate" if count == 1 else f"{count:,} replicates"
