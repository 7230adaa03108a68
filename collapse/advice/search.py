"""How much real data keeps a condition, and for how long: a search with intervals from paired replicates.

**Condition.** ``METRIC op NUMBER``, to horizon H, is asked of one of three (:class:`Of`):

- a *share* q of lineages: each keeps it or does not, and keeps it if it is met at every generation 1 … H. Lineage r
  has a worst margin M_r, the least over t ≤ H of sign·(X_rt − c), and it is kept where the (1 − q)-quantile
  of M over an infinity of lineages is not below 0: where P(M ≥ 0) ≥ q;
- the *median* or the *mean* over lineages: it must meet the condition at every generation. Its margin is the least over
  t ≤ H of sign·(E[X_t] − c), or of that of the median. Most lineages may break a condition that their mean keeps.

**Knob.** What is searched are whole numbers x (real rows of n, rows, parts of a window), on the scale log(1 + x), on
which margins bend least. The answer is the first whole number at or above the crossing of 0, interpolated. A knob that
is ``peaked`` has a best place in between: it is looked at up to the best point seen.

**Interval.** Of a share: the ends are where confidence limits of the quantile cross 0, which are order statistics of
M, interpolated (Nyblom 1992, Stat Probab Lett 14:129). At the true crossing each of them errs with 5 %, whatever the
distribution. Of median and mean: points are paired, replicate r has the same random numbers at every x. So replicates
are drawn with replacement, all points together, and what a draw errs by is taken off what was measured (the basic
bootstrap; Davison & Hinkley 1997, section 5.2): that makes a draw of the margins, made monotone in x (isotonic
regression; Barlow et al. 1972), which has a crossing of its own. The answer is the median of them. The least of
H noisy means lies below the least of their expectations: :func:`worst` takes that off too. Deviations are widened by
√(R/(R − 1)) and the t quantile over the normal one.

**Search.** All knobs go forward in rounds, so that one call of the simulator serves all. A gap between two points that
holds the crossing or an end of its interval is halved until it is a third of the interval or :data:`PRECISION`: from
there on more points would tell nothing that the replicates know.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from collapse.errors import InputError, nearest
from collapse.rng import Rng

#: Of every interval.
LEVEL = 0.9
#: Draws of the bootstrap.
DRAWS = 2000
#: A gap of log(1 + x) that is not divided any more: 5 % of x.
PRECISION = 0.05
#: The same beside the best place of a peaked knob that nowhere keeps the condition.
PEAK = 0.2
#: Standard errors within which a mean is taken to be level with the least.
LEVELLED = 2.0
#: Standard errors by which a mean must lie below later ones to show that they rise again.
RISING = 3.0
#: Share of the last generation's noise from which on noise has settled.
SETTLED = 0.9
#: Rounds after which a search ends, whatever it knows.
ROUNDS = 8
#: Of a gap, the least share that a crossing lies above its lower end, which was seen not to keep the condition.
ABOVE = 1e-3

_OPS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}
_KEEP = re.compile(r"\s*(?P<metric>[^\s\[\]<>=!]+)(?:\[(?P<feature>.+)\])?\s*(?P<op>[<>=!]+)\s*(?P<bound>\S+)\s*")

#: A knob's name and its setting.
Point = tuple[str, int]
#: What a simulator returns: the metric's values (R, T) at each point; NaN where a run has broken down.
Simulate = Callable[[Sequence[Point]], Mapping[Point, np.ndarray]]


@dataclass(frozen=True)
class Keep:
    """What must be kept: ``metric[feature] op bound``."""

    metric: str
    feature: str
    op: str
    bound: float

    @staticmethod
    def parse(text: str, metrics: Collection[str]) -> Keep:
        """Return the condition in ``text``.

        Raises
        ------
        InputError
            If it is not ``METRIC op NUMBER`` or ``METRIC[FEATURE] op NUMBER``, or there is no such metric.
        """
        match = _KEEP.fullmatch(text)
        try:
            bound = float(match["bound"]) if match else np.nan
        except ValueError:
            bound = np.nan
        if match is None or match["op"] not in _OPS or not np.isfinite(bound):
            raise InputError(f"keep: cannot read '{text}'; write METRIC op NUMBER, such as 'tail_ratio >= 0.8'; "
                             f"op is one of {', '.join(_OPS)}")
        if match["metric"] not in metrics:
            raise InputError(f"keep: '{match['metric']}' is not a metric{nearest(match['metric'], metrics)}")
        return Keep(match["metric"], match["feature"] or "", match["op"], bound)

    @property
    def series(self) -> str:
        """Return metric and feature as claims write them."""
        return f"{self.metric}[{self.feature}]" if self.feature else self.metric

    @property
    def text(self) -> str:
        """Return the condition, single-spaced."""
        return f"{self.series} {self.op} {self.bound:g}"

    @property
    def sign(self) -> int:
        """Return 1 if more is better, −1 if less is."""
        return 1 if self.op in (">=", ">") else -1

    def met(self, values: np.ndarray) -> np.ndarray:
        """Return where values meet the condition; what is no number does not."""
        return _OPS[self.op](values, self.bound)

    def margins(self, values: np.ndarray) -> np.ndarray:
        """Return signed distances to the bound, below 0 where it is broken; finite, far below where it is no number."""
        values = np.asarray(values, dtype=float)
        found = self.sign * (values - self.bound)
        found = np.where((found == 0) & ~self.met(values), -np.finfo(float).tiny, found)  # > and < break at the bound
        known = found[np.isfinite(found)]
        far = 10 * (np.abs(known).max(initial=0.0) + abs(self.bound) + 1)
        return np.nan_to_num(found, nan=-far, neginf=-far, posinf=far)


@dataclass(frozen=True)
class Of:
    """Of whom a condition is asked: of a ``share`` of lineages, or (None) of their median or mean, by ``name``."""

    name: str
    share: float | None = None

    @staticmethod
    def parse(text: str) -> Of:
        """Return what ``text`` names: a number strictly between 0 and 1, ``median`` or ``mean``.

        Raises
        ------
        InputError
            If it is none of these.
        """
        if text in ("median", "mean"):
            return Of(text)
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if not 0 < share < 1:
            raise InputError(f"of: '{text}' is no share of lineages; write a number between 0 and 1, such as 0.9 for "
                             f"nine of ten, or median, or mean")
        return Of(f"{share:g}", share)

    @property
    def text(self) -> str:
        """Return of whom, in words."""
        return f"the {self.name} over lineages" if self.share is None else f"{100 * self.share:.6g} % of lineages"

    @property
    def needed(self) -> int:
        """Return the fewest replicates that can tell, at :data:`LEVEL`: for a share, those that give it two limits."""
        if self.share is None:
            return 2
        return max(2, math.ceil(math.log((1 - LEVEL) / 2) / math.log(max(self.share, 1 - self.share))))

    def asked(self, keep: Keep) -> Keep:
        """Return what a closed form must meet: the share of lineages that have kept it so far, or the condition."""
        return keep if self.share is None else Keep("kept", "", ">=", self.share)

    def shown(self, value: float) -> str:
        """Return a value of :attr:`Found.tried` in few digits."""
        return f"{value:.3g}" if self.share is None else f"{100 * value:.3g} %"


@dataclass(frozen=True)
class Knob:
    """What is searched: whole numbers ``low`` to ``high``; ``first`` are looked at first, both ends among them."""

    name: str
    low: int
    high: int
    first: tuple[int, ...]
    peaked: bool = False


@dataclass(frozen=True)
class Found:
    """The least setting of a knob that keeps the condition, with its interval; None: none does.

    ``low`` and ``high`` are the ends of the 90 % interval; ``high`` None: perhaps none does. ``tried``: by setting the
    share of lineages that keep it, or the median or mean that is worst up to the horizon. ``best`` is the setting at
    which that is best. ``exact``: by a law.
    """

    least: int | None
    low: int | None
    high: int | None
    best: int
    tried: Mapping[int, float]
    exact: bool = False


@dataclass(frozen=True)
class Left:
    """The first generation at which a condition breaks, with its 90 % interval; None: later than the horizon.

    ``value`` is the share of lineages that keep it to the horizon, or the median or mean that is worst up to there.
    """

    breaks: int | None
    low: int | None
    high: int | None
    value: float
    exact: bool = False


# ------------------------------------------------------------------------------------------- intervals


def weights(replicates: int) -> np.ndarray:
    """Return how often each replicate is drawn, over R, in each bootstrap draw: (:data:`DRAWS`, R)."""
    return Rng("planner", "bootstrap").generator(replicates).multinomial(
        replicates, np.full(replicates, 1 / replicates), DRAWS) / replicates


def widening(replicates: int) -> float:
    """Return by what bootstrap deviations of a mean of R values are too small: √(R/(R − 1)) · t/z."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + LEVEL) / 2
    return float(np.sqrt(replicates / (replicates - 1)) * stdtrit(replicates - 1, tail) / ndtri(tail))


def noise(values: np.ndarray, centre: str = "mean") -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (or median) over replicates and bootstrap draws of its noise: (R, …) -> (…), (B, …)."""
    replicates, flat = len(values), values.reshape(len(values), -1)
    if centre == "mean":
        found, drawn = flat.mean(axis=0), weights(replicates) @ flat
    else:
        found, drawn = np.median(flat, axis=0), _medians(flat)
    off = widening(replicates) * (drawn - found)
    return found.reshape(values.shape[1:]), off.reshape(len(drawn), *values.shape[1:])


def _medians(values: np.ndarray) -> np.ndarray:
    """Return the median of each bootstrap draw of the replicates: (R, L) -> (B, L)."""
    replicates = len(values)
    times = np.rint(weights(replicates) * replicates).astype(np.int32)
    found = np.empty((len(times), values.shape[1]))
    for column, order in enumerate(np.argsort(values, axis=0).T):
        ranks, line = 2 * np.cumsum(times[:, order], axis=1), values[order, column]
        found[:, column] = (line[(ranks >= replicates).argmax(axis=1)] + line[(ranks > replicates).argmax(axis=1)]) / 2
    return found


def limits(worst_of: np.ndarray, share: float) -> np.ndarray:
    """Return lower limit, estimate and upper limit of what a share of lineages reaches: M (R, …) -> (3, …).

    The estimate is not below 0 where at least that share of the M are not. A limit is an order statistic of M,
    interpolated between two so that each errs with (1 − LEVEL)/2. Infinite where R is too few to have it.
    """
    ordered = np.sort(worst_of, axis=0)
    edge = np.full((1, *ordered.shape[1:]), np.inf)
    ordered = np.concatenate([-edge, ordered, edge])  # the r-th of R at r
    found = []
    for below, weight in _ranks(len(worst_of), share):
        one, other = ordered[below], ordered[below + 1]
        found.append(one if weight == 0 else other if weight == 1 else (1 - weight) * one + weight * other)
    return np.stack(found)


@lru_cache
def _ranks(replicates: int, share: float) -> tuple[tuple[int, float], ...]:
    """Return rank below and weight of the rank above for lower limit, estimate and upper limit of a quantile.

    The r-th of R values lies above the p-quantile, p = 1 − q, with probability F(r − 1), F of Binomial(R, p). Between
    the r-th and the next the gaps on both sides of the quantile are exponential, of rates r/p and (R − r)/(1 − p).
    """
    from scipy.special import bdtr

    p = 1 - share
    plain = math.floor(replicates * p + 1e-9)  # so many may break it
    ends = []
    for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        chance = np.append(0.0, bdtr(np.arange(replicates + 1), replicates, p))  # of the r-th, r = 0 … R + 1
        r = min(int(np.searchsorted(chance, level, side="right")) - 1, replicates)
        passed = (level - chance[r]) / (chance[r + 1] - chance[r])
        near, far = r / p, (replicates - r) / (1 - p)
        ends.append((r, float(far * passed / (near * (1 - passed) + far * passed))) if 0 < r < replicates else
                    (r, 0.0 if r == 0 else 1.0))
    return ends[0], (plain, 1.0), ends[1]


def kept(values: np.ndarray, keep: Keep) -> np.ndarray:
    """Return the worst margin of each lineage so far: (R, T) -> (R, T), not rising; below 0: it has broken."""
    return np.minimum.accumulate(keep.margins(values), axis=1)


def worst(mean: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Return draws (B,) of the least of T expectations, from their means (T,) and the noise of these (B, T).

    The least of noisy means lies below the least of their expectations, by more the more of them are level. Where the
    means fall after the first (which no setting of a knob can change), their least is the last of their non-increasing
    fit to the generations at which the noise has settled, for mean and noise of a loop settle together; what that fit
    pools is taken to be level, and the error that the same estimate has of such means is taken off. Where they clearly
    rise again, means that are not told apart from the least are taken to be level with it.
    """
    tail = mean[1:]
    if len(tail):
        spread = off[:, 1:].std(axis=0)
        unsettled = np.flatnonzero(spread < SETTLED * spread[-1])
        since = unsettled[-1] + 2 if len(unsettled) else 1
        level, late = -monotone(-mean[None, since:])[0], off[:, since:]
        block = late[:, level == level[-1]].mean(axis=1, keepdims=True)  # (B, 1)
        apart = np.maximum((off[:, 1:] - block).std(axis=0), 1e-300)
        if ((tail - level[-1]) / apart).min() > -RISING:
            return np.minimum(mean[0] + off[:, 0], 2 * level[-1] - _last(level + late))
    least = int(mean.argmin())
    apart = (off - off[:, least, None]).std(axis=0)
    level = np.where(mean - mean[least] <= LEVELLED * apart, mean[least], mean)
    return 2 * mean[least] - (level + off).min(axis=1)


def _last(margins: np.ndarray) -> np.ndarray:
    """Return the last of the non-increasing fit to each row: (B, T) -> (B,)."""
    return (np.cumsum(margins[:, ::-1], axis=1) / np.arange(1, margins.shape[1] + 1)).min(axis=1)


def interval(drawn: np.ndarray) -> tuple[float, float, float]:
    """Return median and 90 % interval of draws (B,), which may be infinite."""
    ordered, count = np.sort(drawn), len(drawn)
    middle, low, high = (ordered[min(int(q * count), count - 1)] for q in (0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(middle), float(low), float(high)


def monotone(values: np.ndarray) -> np.ndarray:
    """Return the least-squares non-decreasing fit to each row: (B, K) -> (B, K), by the min–max formula."""
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    count = values.shape[1]
    fitted = np.empty_like(values)
    best = np.full(len(values), -np.inf)
    for k in range(count):
        ends = np.arange(k, count)
        # max over i ≤ k of min over j ≥ k of the mean of i … j
        for i in range(k + 1):
            mean = (sums[:, ends + 1] - sums[:, i, None]) / (ends + 1 - i)
            best = np.maximum(best, mean.min(axis=1))
        fitted[:, k] = best
        best = np.full(len(values), -np.inf)
    return fitted


def crossing(places: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Return where margins (B, K) at ``places`` (K,) first reach 0: (B,); ∞ where they never do."""
    reached = margins >= 0
    first = reached.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(margins))
    high, low = margins[rows, first], margins[rows, before]
    with np.errstate(invalid="ignore"):
        share = np.where(first > 0, -low / np.where(high > low, high - low, 1.0), 0.0)
    # the setting below did not keep it; where its margin has no number, nothing is known of what lies between
    share = np.where(first > 0, np.maximum(np.nan_to_num(share, nan=1.0), ABOVE), 0.0)
    found = places[before] + share * (places[first] - places[before])
    return np.where(reached.any(axis=1), found, np.inf)


def left(values: np.ndarray, keep: Keep, of: Of) -> Left:
    """Return when a condition breaks on a run (R, T), with its interval over replicates.

    For a share it is the first generation to which fewer lineages than that have kept it.
    """
    if of.share is not None:
        lasting = kept(values, keep)
        drawn = limits(lasting, of.share)  # (3, T), not rising
        broken, value = drawn < 0, float((lasting[:, -1] >= 0).mean())
    else:
        mean, off = noise(keep.margins(values), of.name)
        drawn = np.stack([worst(mean[:t], off[:, :t]) for t in range(1, len(mean) + 1)], axis=1)  # (B, T)
        falling = -monotone(-drawn)
        broken = falling < 0 if keep.op in (">=", "<=") else falling <= 0
        value = float(_centre(values, of)[mean.argmin()])
    ends = interval(np.where(broken.any(axis=1), 1.0 + broken.argmax(axis=1), np.inf))
    breaks, low, high = (int(end) if np.isfinite(end) else None for end in ends)
    return Left(breaks, low, high, value)


def _centre(values: np.ndarray, of: Of) -> np.ndarray:
    """Return the mean or median over replicates: (R, T) -> (T,)."""
    return np.median(values, axis=0) if of.name == "median" else values.mean(axis=0)


# ---------------------------------------------------------------------------------------------- search


@dataclass
class _State:
    """A knob while it is searched: the values (R, T) at the points looked at, and what they say."""

    knob: Knob
    keep: Keep
    of: Of
    certain: Mapping[int, bool]
    values: dict[int, np.ndarray] = field(default_factory=dict)
    ends: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    precision: float = PRECISION
    drawn: dict[int, np.ndarray] = field(default_factory=dict)

    def wanted(self) -> list[int]:
        """Return the settings to look at next; none: the search is over."""
        if not self.values:
            return sorted(set(self.knob.first))
        estimate, low, high = self._judge()
        places = np.log1p(sorted(self.values))
        width = max((min(high, places[-1]) - min(low, places[-1])) / 3, self.precision)
        gaps = {int(np.searchsorted(places, end)) for end in (estimate, low, high) if places[0] < end < np.inf}
        if self.knob.peaked and np.isinf(estimate):  # the best place may lie between two settings
            best, width = int(np.searchsorted(places, np.log1p(self.found().best))), PEAK
            gaps |= {k for k in (best, best + 1) if 0 < k < len(places)}
        found = set()
        for k in gaps:
            below, above = np.rint(np.expm1(places[k - 1 : k + 1])).astype(int)
            if above - below > 1 and places[k] - places[k - 1] > width:
                middle = round(float(np.expm1((places[k] + places[k - 1]) / 2)))
                found.add(int(np.clip(middle, below + 1, above - 1)))
        return sorted(found)

    def _judge(self) -> tuple[float, float, float]:
        """Return the crossing and the ends of its interval, on the scale log(1 + x)."""
        settings = sorted(self.values)
        if self.of.share is not None:
            drawn = limits(np.stack([kept(self.values[x], self.keep)[:, -1] for x in settings], axis=1), self.of.share)
            middle = drawn[1]
        else:
            drawn = np.stack([self._worst(x) for x in settings], axis=1)  # (B, K)
            middle = np.median(drawn, axis=0)
        for k, x in enumerate(settings):  # what a law says of a setting stands
            if x in self.certain:
                drawn[:, k] = np.maximum(drawn[:, k], 0) if self.certain[x] else np.minimum(drawn[:, k], -ABOVE)
        last = int(middle.argmax()) + 1 if self.knob.peaked else len(settings)
        drawn = drawn[:, :last]
        if self.of.share is None:  # a knob at its low end is the branch without real data, and needs no other to hold
            drawn, least = monotone(drawn), drawn[:, 0]
            drawn[:, 0] = np.maximum(drawn[:, 0], least)
        self.ends = interval(crossing(np.log1p(settings[:last]), drawn))
        return self.ends

    def _worst(self, x: int) -> np.ndarray:
        """Return draws (B,) of the margin at a setting, made once."""
        if x not in self.drawn:
            self.drawn[x] = worst(*noise(self.keep.margins(self.values[x]), self.of.name))
        return self.drawn[x]

    def found(self) -> Found:
        """Return the answer."""
        tried: dict[int, float] = {}
        score: dict[int, tuple[float, float]] = {}
        for x in sorted(self.values):
            if self.of.share is not None:
                lasting = kept(self.values[x], self.keep)[:, -1]
                tried[x] = float((lasting >= 0).mean())
                score[x] = tried[x], float(limits(lasting, self.of.share)[1])
            else:
                whole = _centre(self.values[x], self.of)
                margins = self.keep.margins(whole)
                tried[x] = float(whole[margins.argmin()])
                score[x] = float(margins.min()), 0.0
        best = max(score, key=lambda x: (*score[x], -x))
        least, low, high = map(_whole, self.ends)
        return Found(least, low, high, best, tried)


def _whole(place: float) -> int | None:
    """Return the first whole number at or above a place on the scale log(1 + x); None for ∞."""
    return int(np.ceil(np.expm1(place) - 1e-6)) if np.isfinite(place) else None


def search(knobs: Iterable[Knob], simulate: Simulate, keep: Keep, of: Of, *, rounds: int = ROUNDS,
           precision: float = PRECISION, certain: Mapping[Point, bool] | None = None,
           told: Callable[[int, Mapping[str, Found], int], None] | None = None) -> dict[str, Found]:
    """Return for each knob the least setting that keeps the condition, with its 90 % interval.

    Parameters
    ----------
    simulate
        Called once a round, with all points that are new to it.
    rounds
        After so many the answer is given as it stands.
    precision
        A gap of log(1 + x) that is not divided any more.
    certain
        By point whether the condition is kept there, where a law knows.
    told
        Called before each round with its number, what is known so far, and how many points are new.
    """
    known = certain or {}
    states = {knob.name: _State(knob, keep, of, {x: held for (name, x), held in known.items() if name == knob.name},
                                precision=precision) for knob in knobs}
    for number in range(1, rounds + 1):
        wanted = [(name, x) for name, state in states.items() for x in state.wanted()]
        if not wanted:
            break
        if told is not None:
            told(number, {name: state.found() for name, state in states.items() if state.values}, len(wanted))
        for (name, x), values in simulate(wanted).items():
            states[name].values[x] = values
    else:
        for state in states.values():
            state._judge()
    return {name: state.found() for name, state in states.items()}


def by_law(knob: Knob, form: Callable[[int], np.ndarray], keep: Keep) -> Found:
    """Return the least setting by a closed form, exact: ``form`` gives what must meet ``keep`` (T,) at a setting.

    A coarse walk finds the first of at most 64 places that keeps the condition, and halving the setting itself.
    """
    margins: dict[int, float] = {}
    tried: dict[int, float] = {}

    def held(x: int) -> bool:
        values = form(x)
        found = keep.margins(values)
        margins[x], tried[x] = float(found.min()), float(values[found.argmin()])
        return bool(keep.met(values).all())

    walk = np.unique(np.rint(np.expm1(np.linspace(np.log1p(knob.low), np.log1p(knob.high), 64))).astype(int)).tolist()
    below: int | None = None
    least: int | None = None
    for x in walk:
        if held(x):
            least = x
            break
        below = x
    while least is not None and below is not None and least - below > 1:
        middle = (least + below) // 2
        if held(middle):
            least = middle
        else:
            below = middle
    return Found(least, least, least, max(margins, key=lambda x: (margins[x], -x)), tried, exact=True)
