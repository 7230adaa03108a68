"""The eight definitions of model collapse that are in use, each answered for every branch.

Whether "accumulating avoids collapse" hangs on what collapse is called: Schaeffer, Kazdan, Arulandu & Koyejo 2025
(arXiv 2503.03150) count eight definitions in the literature, named here as they name them, and ask for a profile of all
in place of one word. They give them in words; the numbers that decide here are this project's own and stated below.

**Population risk** is the held-out loss of the fitted model where it has one, else its distance (or its sample's) to
the truth: the first of :data:`collapse.claims.readings.RISKS` that is recorded. Risks are means over replicates,
because the definitions speak of expected risk, and are compared as factors: a loss −log p as perplexity (for rows of
numbers per coordinate), a distance as it is. **What is kept** (variance, modes, tails, plausible rows) is compared
replicate by replicate, and the median decides: under recursion a few lineages inflate while most collapse, and their
mean stays where it was.

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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse.calibration import interval as prediction
from collapse.claims.answers import (
    ALONE,
    LEVEL,
    Answer,
    Profile,
    Ratio,
    Settings,
    Verdict,
    counted,
    ends_of,
    number,
    side_of,
)
from collapse.claims.gain import ratio
from collapse.claims.intervals import mean_interval, median_interval
from collapse.claims.readings import MEANS, MODES, PLAUSIBLE, RISKS, SPREADS, TAILS, Reading, Readings
from collapse.claims.scaling import RUNGS, exponents
from collapse.verdict import LATE

if TYPE_CHECKING:
    import pandas as pd

#: Of a first half's pace, what is left at most of a trend that levels off, and at least of one that has no end.
OFF, ON = 1 / 3, 2 / 3
#: Generations that two halves need.
GENERATIONS = 6
#: Factors beyond which an increase is catastrophic: of a perplexity, which has a floor above 0, and of a distance.
CATASTROPHIC = {"loss": 2.0, "distance": 10.0}


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
    records = Readings.of(study, table, floors or {}, coordinates)
    laws = dict(exponents(records))
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


@dataclass(frozen=True, eq=False)
class _Case:
    """One branch: the definitions are its methods."""

    records: Readings
    branch: str
    settings: Settings
    last: int

    @staticmethod
    def of(records: Readings, branch: str) -> _Case:
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
        return self._answer(verdict, reading, factor, side_of(verdict, "beyond", "below", limit))

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
        found = Ratio(estimate, low, high, against, int(here.sum()))
        # Fieller's ends lie beyond OFF or ON just where the differences above do
        share, least, most = ratio(after[here], before[here], LEVEL)
        pace = "after a first half whose own rise is not told from none" if np.isinf(least) else \
            f"at {number(share)} [{number(least)}, {number(most)}] of the pace of the first half"
        end = {"holds": "it goes on", "undecided": "whether it levels off is open",
               "does not hold": "it levels off" if level else f"less than {self.settings.margin:g}"}[verdict]
        text = (f"From generation {rows.index[-1] - span} to {rows.index[-1]} the {reading.words} changes by "
                f"{number(estimate)} times that of {against}, {found.span(LEVEL)}, {pace}: {end}.")
        return Answer(verdict, text, reading.metric, *ends_of(found), against, found.replicates, int(rows.index[0]),
                      int(rows.index[-1]))

    def _risk(self) -> tuple[Reading, Ratio] | Answer:
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
                return reading, Ratio(value, low, high, against, len(both))
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
            answers.append(self._answer(verdict, reading, share, side_of(verdict, "below", "above", limit), level))
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

    def _share(self, reading: Reading, level: float) -> Ratio | Answer:
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
                return Ratio(*found, against, int(told.sum()))
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

    def _beside(self, reading: Reading, values: np.ndarray, level: float) -> tuple[Reading, Ratio] | None:
        """Return the value over those of independent fits to real data, of which the interval leaves out few."""
        fits = self.records.floor(self.branch).get(reading.metric)
        if fits is None or not len(values) or not np.isfinite(fits).all():
            return None
        band, here = prediction(fits, len(values), 1 - level), float(np.median(values))
        against = f"{len(fits)} fits to real data"
        value, low, high = (float(np.exp(here - x)) if reading.kind == "loss" else here / x if x > 0 else np.inf
                            for x in (band.center, band.high, band.low))
        return reading, Ratio(value, low, high, against, len(values))

    def _answer(self, verdict: Verdict, reading: Reading, found: Ratio, rule: str, level: float = LEVEL) -> Answer:
        text = (f"At generation {self.last} the {reading.words} is {number(found.estimate)} times that of "
                f"{found.against}, {found.span(level)}: {rule}.")
        return Answer(verdict, text, reading.metric, *ends_of(found), found.against, found.replicates, self.last,
                      self.last)

    def _few(self, reading: Reading, count: int) -> Answer:
        why = "nothing to hold it against: no control of the same model and rows" if \
            self.records.base(self.branch, reading.metric)[0] is None else "too few for an interval"
        return self._undecided(reading, f"At generation {self.last} the {reading.words} has {counted(count)} and "
                               f"no calibration: {why}.")

    def _undecided(self, reading: Reading, why: str) -> Answer:
        return Answer("undecided", why, reading.metric, last=self.last)


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
