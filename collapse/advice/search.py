"""How much real data keeps a condition, and for how long: a search with intervals from paired replicates.

**Knob.** What is searched are whole numbers x (real rows of n, rows, parts of a window), on the scale log(1 + x), on
which margins bend least. The answer is the first whole number at or above the crossing of 0, interpolated. A knob that
is ``peaked`` has a best place in between: it is looked at up to the best point seen.

**Search.** All knobs go forward in rounds, so that one call of the simulator serves all. A gap between two points that
holds the crossing or an end of its interval is halved until it is a third of the interval or :data:`PRECISION`: from
there on more points would tell nothing that the replicates know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from collapse.advice.condition import Keep, Of, kept
from collapse.advice.intervals import ABOVE, crossing, interval, limits, monotone, noise, worst

#: A gap of log(1 + x) that is not divided any more: 5 % of x.
PRECISION = 0.05
#: The same beside the best place of a peaked knob that nowhere keeps the condition.
PEAK = 0.2
#: Rounds after which a search ends, whatever it knows.
ROUNDS = 8
#: A knob's name and its setting.
Point = tuple[str, int]
#: What a simulator returns: the metric's values (R, T) at each point; NaN where a run has broken down.
Simulate = Callable[[Sequence[Point]], Mapping[Point, np.ndarray]]


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
