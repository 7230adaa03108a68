"""How much real data keeps a condition, and for how long: a search with intervals from paired replicates.

**Condition.** ``METRIC op NUMBER`` is kept to horizon H if the mean over replicates meets it at every generation
1 … H. On an infinity of replicates that is a statement about the loop; its *margin* is the least over t ≤ H of the
signed distance sign·(E[X_t] − c), and the condition is kept where the margin is not below 0.

**Knob.** What is searched are whole numbers x (real rows of n, rows, parts of a window), on the scale log(1 + x), on
which margins bend least. The margin is taken to grow with x, so the mean margins of the points looked at are made
monotone (isotonic regression; Barlow et al. 1972), and the answer is the first whole number at or above the crossing of
0, interpolated. A knob that is ``peaked`` has a best place in between: it is monotone up to the best point seen.

**Interval.** Points are paired: replicate r has the same random numbers at every x. So replicates are drawn with
replacement, all points together, and what a draw errs by is taken off what was measured (the basic bootstrap; Davison
& Hinkley 1997, section 5.2): that makes a draw of the margins, which has a crossing of its own. The answer is the
median of the crossings. The least of H noisy means lies below the least of their expectations: :func:`worst` takes
that off too. Deviations are widened by √(R/(R − 1)) and the t quantile over the normal one.

**Search.** All knobs go forward in rounds, so that one call of the simulator serves all. A gap between two points that
holds the crossing or an end of its interval is halved until it is a third of the interval or :data:`PRECISION`: from
there on more points would tell nothing that the replicates know.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
            raise InputError(f"--keep: cannot read '{text}'; write METRIC op NUMBER, such as 'tail_ratio >= 0.8'; "
                             f"op is one of {', '.join(_OPS)}")
        if match["metric"] not in metrics:
            raise InputError(f"--keep: '{match['metric']}' is not a metric{nearest(match['metric'], metrics)}")
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
        found = self.sign * (np.asarray(values, dtype=float) - self.bound)
        known = found[np.isfinite(found)]
        far = 10 * (np.abs(known).max(initial=0.0) + abs(self.bound) + 1)
        return np.nan_to_num(found, nan=-far, neginf=-far, posinf=far)


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
    replicate mean that is worst up to the horizon. ``best`` is the setting whose worst is best. ``exact``: by a law.
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

    ``worst`` is the worst mean value up to the horizon.
    """

    breaks: int | None
    low: int | None
    high: int | None
    worst: float
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


def noise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over replicates and bootstrap draws of its noise: (R, …) -> (…), (B, …)."""
    replicates = len(values)
    mean = values.mean(axis=0)
    drawn = (weights(replicates) @ values.reshape(replicates, -1)).reshape(DRAWS, *mean.shape)
    return mean, widening(replicates) * (drawn - mean)


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
    """Return where non-decreasing margins (B, K) at ``places`` (K,) first reach 0: (B,); ∞ where they never do."""
    reached = margins >= 0
    first = reached.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(margins))
    high, low = margins[rows, first], margins[rows, before]
    share = np.where(first > 0, -low / np.where(high > low, high - low, 1.0), 0.0)
    found = places[before] + share * (places[first] - places[before])
    return np.where(reached.any(axis=1), found, np.inf)


def left(values: np.ndarray, keep: Keep) -> Left:
    """Return when a condition breaks on a run (R, T), with its interval over paired replicates."""
    mean, off = noise(keep.margins(values))
    last = len(mean)
    drawn = np.stack([worst(mean[:t], off[:, :t]) for t in range(1, last + 1)], axis=1)  # (B, T)
    falling = -monotone(-drawn)
    broken = falling < 0 if keep.op in (">=", "<=") else falling <= 0
    ends = interval(np.where(broken.any(axis=1), 1.0 + broken.argmax(axis=1), np.inf))
    breaks, low, high = (int(end) if np.isfinite(end) else None for end in ends)
    return Left(breaks, low, high, float(values.mean(axis=0)[mean.argmin()]))


# ---------------------------------------------------------------------------------------------- search


@dataclass
class _State:
    """A knob while it is searched: the values (R, T) at the points looked at, and what they say."""

    knob: Knob
    keep: Keep
    values: dict[int, np.ndarray] = field(default_factory=dict)
    ends: tuple[float, float, float] = (np.inf, np.inf, np.inf)

    def wanted(self) -> list[int]:
        """Return the settings to look at next; none: the search is over."""
        if not self.values:
            return sorted(set(self.knob.first))
        estimate, low, high = self._judge()
        places = np.log1p(sorted(self.values))
        width = max((min(high, places[-1]) - min(low, places[-1])) / 3, PRECISION)
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
        mean, off = noise(np.stack([self.keep.margins(self.values[x]) for x in settings], axis=1))  # (K, T), (B, K, T)
        drawn = np.stack([worst(mean[k], off[:, k]) for k in range(len(settings))], axis=1)  # (B, K)
        last = int(np.median(drawn, axis=0).argmax()) + 1 if self.knob.peaked else len(settings)
        self.ends = interval(crossing(np.log1p(settings[:last]), monotone(drawn[:, :last])))
        return self.ends

    def found(self) -> Found:
        """Return the answer."""
        whole = {x: self.values[x].mean(axis=0) for x in sorted(self.values)}
        margins = {x: self.keep.margins(v) for x, v in whole.items()}
        tried = {x: float(v[np.argmin(margins[x])]) for x, v in whole.items()}
        best = max(margins, key=lambda x: (margins[x].min(), -x))
        least, low, high = map(_whole, self.ends)
        return Found(least, low, high, best, tried)


def _whole(place: float) -> int | None:
    """Return the first whole number at or above a place on the scale log(1 + x); None for ∞."""
    return int(np.ceil(np.expm1(place) - 1e-6)) if np.isfinite(place) else None


def search(knobs: Iterable[Knob], simulate: Simulate, keep: Keep, rounds: int = ROUNDS,
           told: Callable[[int, Mapping[str, Found], int], None] | None = None) -> dict[str, Found]:
    """Return for each knob the least setting that keeps the condition, with its 90 % interval.

    Parameters
    ----------
    simulate
        Called once a round, with all points that are new to it.
    rounds
        After so many the answer is given as it stands.
    told
        Called before each round with its number, what is known so far, and how many points are new.
    """
    states = {knob.name: _State(knob, keep) for knob in knobs}
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
    """Return the least setting by a closed form, exact: ``form`` gives the means (T,) at a setting.

    A coarse walk finds the first of at most 64 places that keeps the condition, and halving the setting itself.
    """
    margins: dict[int, float] = {}
    tried: dict[int, float] = {}

    def kept(x: int) -> bool:
        values = form(x)
        found = keep.margins(values)
        margins[x], tried[x] = float(found.min()), float(values[found.argmin()])
        return bool(keep.met(values).all())

    walk = np.unique(np.rint(np.expm1(np.linspace(np.log1p(knob.low), np.log1p(knob.high), 64))).astype(int)).tolist()
    below: int | None = None
    least: int | None = None
    for x in walk:
        if kept(x):
            least = x
            break
        below = x
    while least is not None and below is not None and least - below > 1:
        middle = (least + below) // 2
        if kept(middle):
            least = middle
        else:
            below = middle
    return Found(least, least, least, max(margins, key=lambda x: (margins[x], -x)), tried, exact=True)
