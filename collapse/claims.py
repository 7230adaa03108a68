"""Executable claims: one sentence in a study file, judged on the study's records.

A claim is one of these sentences, word for word (``[…]`` may be left out, ``a|b`` is a choice)::

    SERIES leaves the control band [below|above] [by generation N]
    SERIES stays inside the control band [until generation N]
    SERIES < SERIES|NUMBER [at generation N]        likewise >; SERIES + NUMBER or SERIES - NUMBER on the right
    SERIES falls|rises|levels off [until generation N] [at P %]      P % is the interval's, 95 if left out
    SERIES does not fall|rise [until generation N] [at P %]
    SERIES amplifies|keeps|corrects its bias [around NUMBER] [from generation M] [until generation N]
    BRANCH reaches|avoids early|late|distorted [by generation N]
    BRANCH warns before late
    BRANCH is STAGE in [at least] P % of cells
    sources compound
    capacity cuts both ways

    SERIES = [median] BRANCH.METRIC or BRANCH.METRIC[FEATURE]

N left out means the branch's last generation, M its first. A law is claimed by a mapping: ``{law: NAME, branch: BRANCH,
feature: FEATURE, source: …}``, of which ``feature`` and ``source`` may be left out. What a verdict means:

- A *band* claim is judged on the median over replicates (``median`` may be said) against the calibrated control band,
  whose level is family-wise: 1 % over ``cells`` looks together.
- A *comparison* and a *trend* are judged on paired differences and on each replicate's least-squares
  slope, with a 95 % interval over replicates (Student's t; for ``median`` the exact order-statistic
  interval). A claim holds, or fails, only if the interval lies wholly on one side; otherwise it is undecided. That a
  series *does not* fall or rise holds wherever the interval does not show that it does.
- A series *levels off* if its slope over the last half of the generations is less than a third of that over the first
  half, paired by replicate; of one that had no slope nothing is said.
- A *bias* claim is judged on the loop gain (:mod:`collapse.gain`): the mean over replicates less the truth, and by what
  factor that changes per generation from M to N (geometric mean), with its 95 % interval. *Amplifies*: the interval is
  wholly above 1. *Corrects*: wholly below 1. *Keeps*: it holds 1 and lies within [0.9, 1.1]. An interval that holds 1
  decides neither of the first two, one that does not hold it refutes the third. The truth is the metric's
  ideal, or the number after ``around`` where that depends on the data. Without a bias at M it is undecided.
- *Sources compound* and *capacity cuts both ways* are of a study's ``factors`` and ``ladder``
  (:mod:`collapse.attribution`): with all sources of error on, the distance grows by more than what they do alone; both
  the least and the greatest capacity end farther off than the best between them. Paired differences, 95 % intervals.
- A *stage* claim is counted, cell by cell: a cell is one replicate at one generation.
- What the records cannot tell (a halted branch, one replicate, no calibration) is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from collapse.gain import loop_gain
from collapse.verdict import within

if TYPE_CHECKING:
    import pandas as pd

#: The stages at or beyond each one: a branch that is late has been early. Distortion is a way of its own.
BEYOND = {"early": ("early", "late"), "late": ("late",), "distorted": ("distorted",)}

Verdict = Literal["holds", "fails", "undecided"]
#: What judges a law: of the records, the branch and the feature, verdict, evidence and, if it has any, more data.
Judge = Callable[..., tuple[Any, ...]]


class Span(Protocol):
    """A branch as a claim sees it: its generations."""

    first: int
    last: int


class Bands(Protocol):
    """The calibrated bands of one branch (:mod:`collapse.calibration`)."""

    def band(self, metric: str, feature: str = "", kind: str = "model", replicates: int = 1, cells: int = 1) -> Any:
        """Return the band of the median of ``replicates``, 1 % family-wise over ``cells``: low, high; or KeyError."""


def band_of(bands: Mapping[str, Bands], branch: str, metric: str, feature: str, replicates: int, cells: int) -> Any:
    """Return the band of a branch's metric, or None where nothing was calibrated."""
    if branch not in bands:
        return None
    try:
        return bands[branch].band(metric, feature, replicates=replicates, cells=cells)
    except KeyError:  # a class that no fit made has no floor
        return None


# ----------------------------------------------------------------------------------------- intervals


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean and t interval of R values, by default of 95 %; the interval of one value is NaN."""
    from scipy.special import stdtrit

    values = np.asarray(values, dtype=float)
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    half = float(stdtrit(count - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return median and exact interval of at least ``level`` from order statistics; NaN of too few values.

    The full range of R values covers the median in 1 − 2·2^−R of cases: 6 values are the least for 95 %.
    """
    from scipy.special import bdtr

    values = np.sort(np.asarray(values, dtype=float))
    count = len(values)
    ranks = [k for k in range(1, count // 2 + 1) if bdtr(k - 1, count, 0.5) <= (1 - level) / 2]
    if not ranks:
        return float(np.median(values)), np.nan, np.nan
    return float(np.median(values)), float(values[ranks[-1] - 1]), float(values[count - ranks[-1]])


# ----------------------------------------------------------------------------------- what is judged


@dataclass(frozen=True)
class Records:
    """What a study measured, as claims read it."""

    table: pd.DataFrame
    stages: Mapping[str, Mapping[int, Mapping[str, Any]]]
    bands: Mapping[str, Bands]
    cells: int = 1
    laws: Mapping[str, Judge] = field(default_factory=dict)

    def series(self, series: Series) -> pd.DataFrame:
        """Return generations (rows) by replicates (columns)."""
        t = self.table
        rows = t[(t.branch == series.branch) & (t.metric == series.metric) & (t.feature == series.feature)]
        return rows.pivot(index="generation", columns="replicate", values="value").sort_index()

    def cells_of(self, branch: str) -> dict[int, Mapping[str, Any]]:
        """Return the stages of ``branch`` by generation; a halted generation has none."""
        return {g: cell for g, cell in sorted(self.stages.get(branch, {}).items()) if g > 0 and cell}


@dataclass(frozen=True)
class Finding:
    """A verdict with its one sentence of evidence, the number and interval that it rests on, and a law's own data."""

    verdict: Verdict
    evidence: str
    generation: int | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    law: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Series:
    """One metric of one branch over generations and replicates."""

    branch: str
    metric: str
    feature: str = ""
    median: bool = False

    def __str__(self) -> str:
        feature = f"[{self.feature}]" if self.feature else ""
        return f"{'median ' if self.median else ''}{self.branch}.{self.metric}{feature}"

    @property
    def centre(self) -> str:
        """Return what stands for the replicates."""
        return "median" if self.median else "mean"

    def interval(self, values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
        """Return centre, low and high over replicates."""
        return (median_interval if self.median else mean_interval)(values, level)


class Statement:
    """What a claim says, parsed."""

    def judge(self, records: Records) -> Finding:
        """Return the verdict on ``records``."""
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class Leaves(Statement):
    """The median over replicates is outside the control band at some generation up to ``by``."""

    series: Series
    side: Literal["below", "above", "either"]
    by: int

    def judge(self, records: Records) -> Finding:
        """Return holds if the median leaves the band; fails if it was measured throughout and never did."""
        track = _against_band(self.series, self.by, records)
        if isinstance(track, Finding):
            return track
        generations, medians, band = track.generations, track.medians, track.band
        out = {"below": medians < band.low, "above": medians > band.high,
               "either": (medians < band.low) | (medians > band.high)}[self.side]
        side = "outside" if self.side == "either" else self.side
        span = f"the control band {_span(band.low, band.high)}"
        if out.any():
            first = int(np.argmax(out))
            back = generations[first:][~out[first:]]
            after = ("stays there" if not len(back) else f"is back at generation {_list(back)}") \
                if first + 1 < len(out) else "is the last one judged"
            text = (f"The median over {track.replicates} is {side} {span} first at generation {generations[first]} "
                    f"({_n(medians[first])}) and {after}")
            text += "." if first + 1 == len(out) else f"; at generation {generations[-1]} it is {_n(medians[-1])}."
            return Finding("holds", text, int(generations[first]), _r(medians[first]), _r(band.low), _r(band.high))
        worst = int(np.argmax(medians)) if self.side == "above" else int(np.argmin(medians))
        text = (f"The median over {track.replicates} is never {side} {span} up to generation {generations[-1]}; "
                f"the nearest is {_n(medians[worst])} at generation {generations[worst]}.")
        verdict, text = _unless_cut(generations, self.by, "fails", text)
        return Finding(verdict, text, int(generations[worst]), _r(medians[worst]), _r(band.low), _r(band.high))


@dataclass(frozen=True)
class Stays(Statement):
    """The median over replicates is inside the control band at every generation up to ``by``."""

    series: Series
    by: int

    def judge(self, records: Records) -> Finding:
        """Return fails if the median leaves the band; holds if it was measured throughout and never did."""
        track = _against_band(self.series, self.by, records)
        if isinstance(track, Finding):
            return track
        generations, medians, band = track.generations, track.medians, track.band
        low, high = _r(band.low), _r(band.high)
        span = f"the control band {_span(band.low, band.high)}"
        out = (medians < band.low) | (medians > band.high)
        if out.any():
            first = int(np.argmax(out))
            text = (f"The median over {track.replicates} is outside {span} first at generation {generations[first]} "
                    f"({_n(medians[first])}), at {int(out.sum())} of {len(out)} generations in all.")
            return Finding("fails", text, int(generations[first]), _r(medians[first]), low, high)
        text = (f"The median over {track.replicates} runs from {_n(medians.min())} to {_n(medians.max())} and is "
                f"inside {span} at all of {len(medians)} generations.")
        verdict, text = _unless_cut(generations, self.by, "holds", text)
        return Finding(verdict, text, int(generations[-1]), _r(medians[-1]), low, high)


@dataclass(frozen=True)
class Compare(Statement):
    """A series is below (or above) a number, or another series plus ``margin`` by paired differences."""

    left: Series
    sign: Literal["<", ">"]
    right: Series | float
    at: int
    margin: float = 0.0

    def judge(self, records: Records) -> Finding:
        """Return holds if the interval of the (paired) difference lies wholly on the claimed side of 0."""
        sides = [self.left, self.right] if isinstance(self.right, Series) else [self.left]
        columns = []
        for side in sides:
            rows = records.series(side)
            if self.at not in rows.index:
                return Finding("undecided", f"{side} has no measurement at generation {self.at}.", self.at)
            columns.append(rows.loc[self.at].dropna())
        if isinstance(self.right, Series):
            both = columns[0].index.intersection(columns[1].index)  # paired by replicate
            values, zero = (columns[0][both] - columns[1][both]).to_numpy(), self.margin
            centre = f"The {self.left.centre} paired difference {self.left} − {self.right}"
        else:
            values, zero = columns[0].to_numpy(), self.right
            centre = f"The {self.left.centre} of {self.left.branch}.{self.left.metric}"
        return _sided(self.left, values, self.sign, zero, f"{centre} at generation {self.at}", self.at)


@dataclass(frozen=True)
class Trend(Statement):
    """A series falls, rises or levels off: the least-squares slope of each replicate, over replicates."""

    series: Series
    direction: Literal["falls", "rises", "levels off"]
    first: int
    until: int
    level: float = 0.95
    denied: bool = False

    def judge(self, records: Records) -> Finding:
        """Return holds if the interval of the slopes lies wholly on the claimed side of 0; denied, if it does not."""
        rows = records.series(self.series).dropna(axis="columns")
        rows = rows[(rows.index >= self.first) & (rows.index <= self.until)]
        if len(rows) < 2 or rows.index[-1] < self.until:
            return Finding("undecided", f"{self.series} is not measured from generation {self.first} to {self.until}.")
        if self.direction == "levels off":
            return self._levels_off(rows)
        what = f"The {self.series.centre} slope per generation from {rows.index[0]} to {rows.index[-1]}"
        found = _sided(self.series, _slopes(rows), "<" if self.direction == "falls" else ">", 0.0, what, None,
                       self.level)
        start, end = (self.series.interval(rows.iloc[i].to_numpy())[0] for i in (0, -1))
        verdict = found.verdict
        if self.denied and found.low is not None:
            verdict = "fails" if verdict == "holds" else "holds"
        return Finding(verdict, f"{found.evidence[:-1]}; it goes from {_n(start)} to {_n(end)}.",
                       int(rows.index[-1]), found.estimate, found.low, found.high)

    def _levels_off(self, rows: pd.DataFrame) -> Finding:
        """Compare the slope over the last half with that over the first; of an odd number both have the middle one."""
        if len(rows) < 4:
            return Finding("undecided", f"{self.series} has {len(rows)} generations, and two halves need 4.")
        half, (start, end) = (len(rows) + 1) // 2, (rows.index[0], rows.index[-1])
        first, last = _slopes(rows.iloc[:half]), _slopes(rows.iloc[-half:])
        before, low, high = self.series.interval(first, self.level)
        told = (f"The {self.series.centre} slope per generation is {_n(before)} {_span(low, high)} from {start} to "
                f"{rows.index[half - 1]}")
        if not (low > 0 or high < 0):
            return Finding("undecided", f"{told}: there is no trend that could level off.", int(end))
        what = f"{told}; from {rows.index[-half]} to {end} what it has above a third of that, in the same direction,"
        return _sided(self.series, np.sign(before) * (last - first / 3), "<", 0.0, what, int(end), self.level)


def _slopes(rows: pd.DataFrame) -> np.ndarray:
    """Return the least-squares slope (R,) of each replicate's column over the generations."""
    time = rows.index.to_numpy(float) - rows.index.to_numpy(float).mean()
    return time @ rows.to_numpy() / (time @ time)  # type: ignore[no-any-return]  # (T,) @ (T, R) -> (R,)


@dataclass(frozen=True)
class Bias(Statement):
    """A loop amplifies, keeps or corrects the bias of a series: its gain from one generation to another."""

    series: Series
    verb: Literal["amplifies", "keeps", "corrects"]
    truth: float
    first: int
    until: int

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the interval of the geometric mean gain over replicates."""
        rows = records.series(self.series).dropna(axis="columns")
        rows = rows[(rows.index >= self.first) & (rows.index <= self.until)]
        if len(rows) < 2 or rows.index[0] > self.first or rows.index[-1] < self.until:
            return Finding("undecided", f"{self.series} is not measured from generation {self.first} to {self.until}.")
        count = rows.shape[1]
        if count < 2:
            return Finding("undecided", f"one replicate of {self.series} gives no interval.", self.until)
        gain = loop_gain(rows.to_numpy(), self.truth, rows.index.to_numpy())
        start = f"{_n(gain.bias[0])} {_span(gain.bias_low[0], gain.bias_high[0])}"
        if not gain.bounded:
            text = (f"The bias of {self.series} against {self.truth:g} is {start} at generation {self.first} over "
                    f"{count} replicates: there is none to speak of.")
            return Finding("undecided", text, self.until, _r(gain.estimate))
        text = (f"The loop gain of {self.series} per generation from {self.first} to {self.until} is "
                f"{gain.estimate:.4g}, 95 % interval [{gain.low:.4g}, {gain.high:.4g}] over {count} replicates; its "
                f"bias against {self.truth:g} goes from {start} to {_n(gain.bias[-1])} "
                f"{_span(gain.bias_low[-1], gain.bias_high[-1])}.")
        # that it is kept to a tenth does not refute a gain just beside 1
        verdict: Verdict = "holds" if gain.verdict == self.verb else \
            "fails" if gain.verdict in ("amplifies", "corrects") else "undecided"
        return Finding(verdict, text, self.until, _r(gain.estimate), _r(gain.low), _r(gain.high))


@dataclass(frozen=True)
class Reaches(Statement):
    """A branch reaches (or avoids) a stage, or one beyond it, by a generation."""

    branch: str
    stage: str
    by: int
    avoids: bool = False

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the stages of the nodes."""
        cells = {g: c for g, c in records.cells_of(self.branch).items() if g <= self.by}
        hits = [g for g, cell in cells.items() if cell["node"] in BEYOND[self.stage]]
        if hits:
            cell = cells[hits[0]]
            alone = _share([s in BEYOND[self.stage] for s in cell["replicates"]])
            text = (f"{self.branch} is {within(cell['node'])} first at generation {hits[0]}, as are {alone} replicates "
                    f"judged alone; it is so at {len(hits)} of {len(cells)} generations.")
            return Finding("fails" if self.avoids else "holds", text, hits[0])
        if not cells:
            return Finding("undecided", f"{self.branch} has no judged generation up to {self.by}.")
        text = f"{self.branch} is not {within(self.stage)} at any of {len(cells)} generations up to {max(cells)}."
        verdict, text = _unless_cut(np.array(list(cells)), self.by, "holds" if self.avoids else "fails", text)
        return Finding(verdict, text, max(cells))


@dataclass(frozen=True)
class Warns(Statement):
    """A branch is early at a generation before the first at which it is late."""

    branch: str

    def judge(self, records: Records) -> Finding:
        """Return holds if early comes first; undecided if late never comes."""
        cells = records.cells_of(self.branch)
        first = {stage: next((g for g, c in cells.items() if c["node"] == stage), None) for stage in ("early", "late")}
        early, late = first["early"], first["late"]
        if late is None:
            warned = f" nor {within('early')}" if early is None else f"; {within('early')} from generation {early}"
            return Finding("undecided", f"{self.branch} is never {within('late')}{warned}: there was nothing to warn "
                           f"of.", early)
        if early is not None and early < late:
            ahead = f"{late - early} generation{'s' if late - early > 1 else ''}"
            text = (f"{self.branch} is {within('early')} at generation {early}, {ahead} before it is {within('late')}, "
                    f"at generation {late}.")
            return Finding("holds", text, early)
        return Finding("fails", f"{self.branch} is {within('late')} at generation {late} without having been "
                       f"{within('early')} before.", late)


@dataclass(frozen=True)
class Share(Statement):
    """At least a share of a branch's cells (replicate × generation) are at one stage."""

    branch: str
    stage: str
    percent: float

    def judge(self, records: Records) -> Finding:
        """Return the verdict from the counted cells."""
        hits = [s == self.stage for cell in records.cells_of(self.branch).values() for s in cell["replicates"]]
        if not hits:
            return Finding("undecided", f"{self.branch} has no judged cell.")
        share = 100 * sum(hits) / len(hits)
        text = (f"{_share(hits)} cells of {self.branch} ({share:.1f} %) are {within(self.stage)}; the claim asks for "
                f"{self.percent:g} %.")
        return Finding("holds" if share >= self.percent else "fails", text, None, _r(share / 100))


@dataclass(frozen=True)
class Law(Statement):
    """A branch follows a closed form of :mod:`collapse.laws`, judged on that law's own pivot."""

    law: str
    branch: str
    feature: str = ""

    def judge(self, records: Records) -> Finding:
        """Return the verdict of the law's own judge, and what more it says."""
        if self.law not in records.laws:
            return Finding("undecided", f"the law {self.law} was not judged.")
        verdict, evidence, *more = records.laws[self.law](records, self.branch, self.feature)
        return Finding(verdict, evidence, law=more[0] if more else None)


@dataclass(frozen=True)
class Design(Statement):
    """A sentence on the study's factorial or ladder (:func:`collapse.attribution.judges`)."""

    text: str

    def judge(self, records: Records) -> Finding:
        """Return the verdict of the design's own judge."""
        if self.text not in records.laws:
            return Finding("undecided", "the study's design was not judged.")
        try:
            verdict, evidence, *rest = records.laws[self.text](records)
        except KeyError as error:
            return Finding("undecided", f"there is no record of {error.args[0]}.")
        found = rest[0] if rest else None
        return Finding(verdict, evidence) if found is None else \
            Finding(verdict, evidence, None, _r(found.value), _r(found.low), _r(found.high))


#: The sentences on a design, and the key of the study file that each needs.
DESIGNS = {"sources compound": "factors", "capacity cuts both ways": "ladder"}


@dataclass(frozen=True)
class Claim:
    """A sentence, where it comes from, the branch that it speaks of first, and what it states."""

    text: str
    source: str
    branch: str
    statement: Statement


# ------------------------------------------------------------------------------------------ judging


@dataclass(frozen=True, eq=False)
class _Track:
    """Generations (T,), medians over replicates (T,) and the band that they are held against."""

    generations: np.ndarray
    medians: np.ndarray
    band: Any
    replicates: str


def _against_band(series: Series, by: int, records: Records) -> _Track | Finding:
    rows = records.series(series).dropna()
    rows = rows[rows.index <= by]
    if rows.empty:
        return Finding("undecided", f"{series} has no measurement up to generation {by}.")
    count = rows.shape[1]
    band = band_of(records.bands, series.branch, series.metric, series.feature, count, records.cells)
    if band is None:
        return Finding("undecided", f"{series} has no calibrated band.")
    medians = np.median(rows.to_numpy(), axis=1)  # (T, R) -> (T,)
    return _Track(rows.index.to_numpy(), medians, band, f"{count} replicates" if count > 1 else "one replicate")


def _sided(series: Series, values: np.ndarray, sign: str, zero: float, what: str, generation: int | None,
           level: float = 0.95) -> Finding:
    """Judge 'the centre of ``values`` is below (above) ``zero``' by its interval over replicates."""
    estimate, low, high = series.interval(values, level)
    if np.isnan(low):
        few = "one replicate gives" if len(values) == 1 else f"{len(values)} replicates give"
        text = f"{what} is {_n(estimate)}; {few} no interval."
        return Finding("undecided", text, generation, _r(estimate))
    below, above = (high < zero, low >= zero) if sign == "<" else (low > zero, high <= zero)
    verdict: Verdict = "holds" if below else "fails" if above else "undecided"
    against = "" if zero == 0 else f", against {zero:g}"
    text = (f"{what} is {_n(estimate)}, {100 * level:g} % interval {_span(low, high)} over {len(values)} "
            f"replicates{against}.")
    return Finding(verdict, text, generation, _r(estimate), _r(low), _r(high))


def _unless_cut(generations: np.ndarray, by: int, verdict: Verdict, text: str) -> tuple[Verdict, str]:
    """Return ``verdict``, or undecided where the branch was halted before the claim's generation."""
    if generations[-1] >= by:
        return verdict, text
    return "undecided", f"{text[:-1]}, and nothing is measured between there and generation {by}."


def _n(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _span(low: float, high: float) -> str:
    return f"[{_n(low)}, {_n(high)}]"


def _r(value: float) -> float | None:
    """Round to 6 significant digits; None for what JSON has no number for."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _list(generations: np.ndarray) -> str:
    return ", ".join(str(g) for g in generations[:4]) + ("…" if len(generations) > 4 else "")


def _share(hits: Sequence[bool]) -> str:
    return f"{sum(hits)} of {len(hits)}"


def evaluate(claims: Sequence[Claim], table: pd.DataFrame, stages: Mapping[str, Mapping[int, Mapping[str, Any]]],
             bands: Mapping[str, Bands], cells: int = 1,
             laws: Mapping[str, Judge] | None = None) -> list[dict[str, Any]]:
    """Judge every claim.

    Parameters
    ----------
    claims
        What :func:`collapse.sentences.parse_claims` returned.
    table
        Tidy measurements: branch, generation, replicate, metric, feature, value.
    stages
        By branch and generation: ``{"node": stage, "replicates": [stage, …]}``.
    bands
        By branch: its calibrated bands.
    cells
        How many looks share the 1 % of a band: generations × gated metrics of one branch run.
    laws
        By name: a judge that takes the records, the branch and the feature ('' for the whole) and returns verdict and
        evidence, and as a third item, if it has more to say, a mapping of plain data (its mutants, say).

    Returns
    -------
    list of dict
        ``claim``, ``source``, ``branch``, ``verdict`` (holds, fails or undecided), ``evidence`` (one sentence) and
        the ``generation``, ``estimate``, ``low`` and ``high`` that it rests on, null where there is none; ``law``
        only where a judge returned more.
    """
    records = Records(table, stages, bands, cells, laws or {})
    results = []
    for claim in claims:
        found = claim.statement.judge(records)
        results.append({
            "claim": claim.text, "source": claim.source, "branch": claim.branch, "verdict": found.verdict,
            "evidence": found.evidence[:1].upper() + found.evidence[1:] if found.evidence else "",
            "generation": found.generation, "estimate": found.estimate, "low": found.low, "high": found.high,
            **({} if found.law is None else {"law": dict(found.law)}),
        })
    return results
