"""What left its band, in one word: healthy, early or late collapse, distorted, drifted. For nodes and for snapshots.

Each metric says in its :class:`~collapse.metrics.base.Fact` what a value below and above its band is a sign of. From
all signs of the whole the stage is the first of these that holds:

1. ``late``, material loss: a measure of spread, or of modes, lies below its band and below ``late`` (a half) of what
   control keeps. A variance counts only where the central range (of eight tenths) has lost as much, and that range only
   where the variance has: of heavy-tailed data the tails carry the variance, and the bulk may stand. So does the
   Simpson diversity only where the effective number of categories has. Modes count only where no measure of spread is
   above: what is spread wider thins out everywhere. Nor do deserted neighbourhoods where associations have turned
   about.
2. ``distorted``, gain: more tails or more spread than control, by a greater factor than the bulk has lost (modes count
   as above). Where modes are gone, what is left counts for more: a gain that twice the lost share explains
   (value · (1 − 2 lost) inside the band, the factor at least a half) is none.
3. ``early``, loss beyond chance while the bulk stands: tails, rare categories, small groups, a small mode, or a little
   spread.
4. ``distorted``, change: associations or labels no longer mean what they did, or the shape is another.
5. ``drifted``: location or shares moved, shape kept. Where something has moved, what is measured of the sample moved
   back must leave its band by half as much again: the place itself is uncertain.
6. ``healthy``: none of these.

Loss of the bulk is asked first because it drags all else with it; gain before loss at the edge, because a mean over
regions hides neither; change after loss, because a loop that loses its tails also blurs its labels, and the loss is
what to act on. What else holds stands ``beside``. Where the whole shows nothing its parts (a column, a group, a region)
are asked in the same order; a part is never late, but one that has lost more than the late share of its spread or modes
is said first, and outranks more tails or another shape: what is narrower has no more tails. What is no number is below
its band, and nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collapse.metrics.base import Fact, Role

#: Every stage, the gravest first.
STAGES = ("late", "distorted", "early", "drifted", "healthy")
#: How each is shown to people.
SHOWN = {"healthy": "healthy", "early": "early collapse", "late": "late collapse", "distorted": "distorted",
         "drifted": "drifted", "halted": "halted", "real": "real"}
#: What each means, in a few words.
MEANINGS = {
    "healthy": "inside the bands of real data",
    "early": "tails, something rare or a little spread is lost beyond chance; the bulk stands",
    "late": "spread or modes are below half of what is kept without recursion",
    "distorted": "more tails or spread than real, or associations and labels that mean something else",
    "drifted": "moved, shape kept",
}
#: Share of what control keeps below which loss of spread or modes is material.
LATE = 0.5
#: The metrics that decide the stage of a node, as a whole; of a snapshot all that are signs do, and their parts.
STAGED = ("variance_ratio", "total_variance_ratio", "central_ratio", "entropy_power", "effective_categories",
          "simpson_ratio", "effective_tokens", "regions_alive", "categories_alive", "modes_alive", "effective_classes",
          "tail_kept", "tail_beyond", "rare_alive", "token_alive", "group_share", "group_alive", "association_ratio",
          "correlation_shift", "cramer_shift", "ratio_shift", "label_agreement", "atom_share", "mean_shift",
          "rank_shift", "category_tv", "value_tv", "missing_shift")
#: The metrics that stand for a study's tails and for its bulk, the first that was measured.
TAILS = ("tail_kept", "token_alive", "rare_alive")
BULK = ("variance_ratio", "entropy_power", "effective_categories", "simpson_ratio", "effective_tokens", "modes_alive")
#: What few rows can carry away (a variance by the tails; the Simpson diversity of a column that is nearly one value),
#: and what tells whether they did: it counts as lost no more than that. Nor does the range of the bulk than a variance.
CENTRAL = "central_ratio"
STANDS = {"variance_ratio": CENTRAL, "total_variance_ratio": CENTRAL, "simpson_ratio": "effective_categories",
          CENTRAL: "total_variance_ratio"}
#: Where this is negative associations have turned about: rows then stand elsewhere, and what they left is no lost mode.
TURNED = "association_ratio"
#: What is measured of the sample moved back.
PLACED = ("tail_kept", "regions_alive", "modes_alive", "label_agreement", "group_tails", "shape_distance")
#: What stands for a role in a sentence.
_NOUNS = {"spread lost": "spread", "modes lost": "modes", "tails lost": "tails"}
RARE = {"rare_alive": "rare categories", "token_alive": "rare tokens", "rare_token_ratio": "rare tokens",
        "group_share": "smallest group", "group_alive": "groups", "group_tails": "tails within groups",
        "group_spread": "spread within a group",
        "categories_alive": "categories", "effective_categories": "diversity", "simpson_ratio": "diversity",
        "effective_tokens": "diversity of words"}
_LOSSES = ("spread lost", "modes lost", "tails lost")
#: By stage, the roles of what carries it.
CARRIES: Mapping[str, tuple[str, ...]] = {"late": ("spread lost", "modes lost"), "early": _LOSSES,
                                          "distorted": ("gained", "changed"), "drifted": ("moved",), "healthy": ()}


@dataclass(frozen=True)
class Sign:
    """A value that left its band: what it was held against, and what it speaks of."""

    metric: str
    feature: str
    value: float
    low: float
    high: float
    center: float
    role: Role
    score: float = 0.0

    @property
    def side(self) -> str:
        """Return 'above' or 'below'; what is no number is below."""
        return "above" if self.value > self.high else "below"

    @property
    def kept(self) -> float | None:
        """Return the share of what control keeps; None where the metric is no such share (or control keeps nothing)."""
        ratio = self.metric in _facts() and _facts()[self.metric].ideal == 1 and self.center > 0
        if not ratio:
            return None
        return self.value / self.center if np.isfinite(self.value) else 0.0 if not self.value > 0 else np.inf


@dataclass(frozen=True)
class Verdict:
    """A stage, how much of it, what it rests on, and what else holds.

    Attributes
    ----------
    stage
        One of :data:`STAGES`.
    kept
        The least share of control's spread, modes or tails that is left, where something is lost; of a gain the
        greatest multiple of control's; None otherwise. 1.0: as much as control keeps, 0.0: nothing.
    signs
        What carries the stage, the most telling first.
    beside
        What else holds, in the order of the rule.
    parts
        Of columns, groups and regions what says the same, the clearest first.
    whose
        Whose spread the amount is a share of, in words.
    """

    stage: str
    kept: float | None
    signs: tuple[Sign, ...]
    beside: tuple[str, ...]
    parts: tuple[Sign, ...] = ()
    whose: str = "control's"
    #: What has moved where no column is named.
    it: str = "it"
    #: The share of values that a column lacks, and that it lacked in the reference, where one is known.
    gaps: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """Return it in words, such as 'late collapse: 2 % of control's spread'."""
        return f"{SHOWN[self.stage]}{': ' if self.amount else ''}{self.amount}"

    @property
    def amount(self) -> str:
        """Return how much of it, in words; '' where there is nothing to say."""
        if not self.signs:
            return ""
        sign = self.signs[0]
        if sign.role == "moved":
            told = sorted((part for part in self.parts if part.metric in _PLACES), key=lambda s: _ORDER.index(s.metric))
            return _moved(told[0] if told else sign, self.it, self.gaps)
        named = sign.feature or (self.parts[0].feature if self.parts else "")
        where = f"{' in' if sign.feature else ', most in'} {_PARTS.get(named, named)}" if named else ""
        if sign.role in _NOUNS and sign.kept is not None:
            return f"{percent(sign.kept)} of {self.whose} {RARE.get(sign.metric, _NOUNS[sign.role])}{where}"
        if sign.role == "gained" and sign.kept is not None and np.isfinite(sign.kept):
            noun = RARE.get(sign.metric, "tails" if sign.metric.startswith("tail") else "spread")
            return f"{sign.kept:.3g} × {self.whose} {noun}{where}"
        if sign.metric == "tail_beyond":
            return f"{percent(sign.value)} of rows beyond anything real{where}"
        words = {"gained": "more spread than real", "changed": "associations or labels changed"}
        if sign.metric == "shape_distance":
            return "another shape"
        if sign.metric == "atom_share":
            return f"{percent(sign.value)} of {'values' if sign.feature else 'rows'} are one and the same{where}"
        return words.get(sign.role, f"{RARE.get(sign.metric, 'something')} lost") + where


#: Parts of the data in words.
_PARTS = {"stratum": "the sparsest tenth"}
#: What says how far a column moved, and in which words.
_PLACES = {"mean_shift": "{} moved by {:.2g} sd", "category_tv": "{} moved in {:.0%} of rows",
           "missing_shift": "{} is missing in {:.0%} more or fewer rows",
           "rank_shift": "{} moved: {:.0%} of pairs are on one side",
           "value_tv": "{} moved: its frequent values hold {:.0%} more or fewer rows"}
_ORDER = tuple(_PLACES)


def _moved(sign: Sign, it: str, gaps: Mapping[str, tuple[float, float]]) -> str:
    """Return which column moved, ``it`` where none is named, and how far."""
    if sign.metric == "missing_shift" and (sign.feature or it) in gaps:
        now, before = gaps[sign.feature or it]
        return f"{sign.feature or it} is missing in {percent(now)} of rows, {percent(before)} in the reference"
    value = (1 + sign.value) / 2 if sign.metric == "rank_shift" else sign.value  # the chance of being on that side
    return _PLACES.get(sign.metric, "{} moved").format(sign.feature or it, value).replace("%", " %")


def percent(share: float) -> str:
    """Return a share in per cent with no false precision: 81 %, 2 %, 0.3 %, 0 %; nearly all is not all: 99.6 %."""
    value = 100 * max(share, 0.0)
    if 99.5 <= value < 100:
        return f"{min(value, 99.9):.1f} %"
    return f"{value:.0f} %" if value >= 1 or value < 0.005 else f"{value:.1g} %"


def within(stage: str) -> str:
    """Return what follows 'is': in late collapse, distorted, healthy."""
    return f"in {SHOWN[stage]}" if stage in ("early", "late") else SHOWN.get(stage, stage)


@cache
def _facts() -> Mapping[str, Fact]:
    from collapse.metrics import facts

    return facts()


def role(metric: str, feature: str, side: str) -> Role:
    """Return what a value on ``side`` of its band ('below', 'above') is a sign of; '' if of nothing."""
    fact = _facts().get(metric)
    if fact is None:
        return ""
    below, above = fact.parts.get(feature, (fact.below, fact.above))
    return below if side == "below" else above


def staged(names: Collection[str]) -> tuple[str, ...]:
    """Return those of ``names`` that decide the stage of a node."""
    return tuple(name for name in STAGED if name in names)


# ---------------------------------------------------------------------------------------- the rule


def decide(names: Sequence[str], values: np.ndarray, low: np.ndarray, high: np.ndarray, center: np.ndarray,
           late: float = LATE) -> np.ndarray:
    """Return the stage of each of many cells by the metrics of the whole.

    Parameters
    ----------
    names
        Of M metrics.
    values
        (M, …).
    low, high, center
        Of their bands, (M,): the center is what control keeps.
    late
        Share of that below which a loss of the bulk is material.

    Returns
    -------
    numpy.ndarray
        Places in :data:`STAGES`, (…).
    """
    held = _holds(names, np.asarray(values, dtype=float), low, high, center, late)
    return np.select([held["late"], held["gained"], held["lost"], held["changed"], held["moved"]],
                     [STAGES.index(s) for s in ("late", "distorted", "early", "distorted", "drifted")],
                     STAGES.index("healthy"))


def losses(names: Sequence[str], values: np.ndarray, low: np.ndarray, high: np.ndarray,
           center: np.ndarray) -> np.ndarray:
    """Return where anything is lost beyond chance, whatever the stage: values (M, …) -> (…)."""
    return _holds(names, np.asarray(values, dtype=float), low, high, center, LATE)["lost"]


def left_of(values: np.ndarray | np.float64, center: np.ndarray | np.float64) -> np.ndarray:
    """Return the share of ``center`` that is left, 0.0 to 1.0; of what is no number nothing is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = np.where(center > 0, values / center, 1.0)
    return np.where(np.isnan(kept), 0.0, np.clip(kept, 0.0, 1.0))


def standing(values: Mapping[str, float], center: Callable[[str], float | None]) -> dict[str, float]:
    """Return the share of control's that is left of each metric that tells whether the bulk stands, where measured.

    ``center`` returns what control has of a metric, None where that is not known.
    """
    found = {name: center(name) for name in set(STANDS.values()) & set(values)}
    return {name: float(left_of(np.float64(values[name]), np.float64(own))) for name, own in found.items()
            if own is not None}


def _holds(names: Sequence[str], values: np.ndarray, low: np.ndarray, high: np.ndarray, center: np.ndarray,
           late: float, stands: Mapping[str, float] | None = None) -> dict[str, np.ndarray]:
    names, shape = list(names), values.shape[1:]
    column = (slice(None),) + (None,) * len(shape)
    low, high, center = (np.asarray(x, dtype=float)[column] for x in (low, high, center))
    below, above = ~(values >= low), values > high
    sides = [(role(name, "", "below"), role(name, "", "above")) for name in names]
    moved = np.zeros(shape, dtype=bool)
    for place, (under, over) in enumerate(sides):
        moved |= (below[place] if under == "moved" else False) | (above[place] if over == "moved" else False)
    for place in (p for p, name in enumerate(names) if name in PLACED):
        below[place] &= ~moved | ~(values[place] >= low[place] - (center[place] - low[place]) / 2)
        above[place] &= ~moved | (values[place] > high[place] + (high[place] - center[place]) / 2)

    if {TURNED, "regions_alive"} <= set(names):
        turned = below[names.index(TURNED)] & (values[names.index(TURNED)] < 0)
        below[names.index("regions_alive")] &= ~turned

    def any_of(*roles: str) -> np.ndarray:
        found = np.zeros(shape, dtype=bool)
        for place, (under, over) in enumerate(sides):
            found |= (below[place] if under in roles else False) | (above[place] if over in roles else False)
        return found

    def standing(name: str) -> np.ndarray | float:
        """What is left of a metric that tells whether the bulk stands; 0.0 where it was not measured."""
        if stands is not None:
            return stands.get(name, 0.0)
        return left_of(values[names.index(name)], center[names.index(name)]) if name in names else 0.0

    def left(wanted: str) -> np.ndarray:
        """The least share of what control keeps, among what is lost."""
        found = np.ones(shape)
        for place, (under, _) in enumerate(sides):
            if under == wanted and _facts()[names[place]].ideal == 1:
                kept = np.where(below[place], left_of(values[place], center[place]), 1.0)
                found = np.minimum(found, np.maximum(kept, standing(STANDS.get(names[place], ""))))
        return found

    modes = left("modes lost")
    explained = np.clip(1 - 2 * (1 - modes), 0.5, 1.0)
    gains = {place: above[place] & (values[place] * explained > high[place])
             for place, (_, over) in enumerate(sides) if over == "gained"}
    nothing = np.zeros(shape, dtype=bool)
    wider = np.logical_or.reduce([nothing, *(g for p, g in gains.items() if sides[p][0] == "spread lost")])
    more, most = np.logical_or.reduce([nothing, *gains.values()]), np.zeros(shape)
    for place, gain in gains.items():
        ratio = _facts()[names[place]].ideal == 1 and bool((center[place] > 0).all())
        with np.errstate(divide="ignore", invalid="ignore"):
            times = values[place] / (center[place] if ratio else high[place])
        most = np.maximum(most, np.where(gain, np.where(np.isnan(times), np.inf, times), 0.0))
    spread = left("spread lost")
    least = np.where(wider, spread, np.minimum(spread, modes))
    return {"late": (spread < late) | ((modes < late) & ~wider),
            "gained": more & (most * least >= 1), "more": more, "lost": any_of(*_LOSSES),
            "changed": any_of("changed"), "moved": any_of("moved")}


def verdict(signs: Sequence[Sign], late: float = LATE, stands: Mapping[str, float] | None = None) -> Verdict:
    """Return the verdict on what left its bands: of one node, or of one snapshot with its parts.

    ``stands`` is what is left of the metrics that tell whether the bulk stands (:func:`standing`), by name.
    """
    signs = _sure(signs)
    whole, parts = ([sign for sign in signs if bool(sign.feature) == part] for part in (False, True))
    found = _with_parts(_verdict(whole, late, stands or {}), parts, late)
    if found.stage in ("healthy", "drifted") and parts:
        own = _verdict(parts, 0.0, {})  # a part is never late
        if found.stage == "healthy":
            return own
        if own.stage not in ("healthy", "drifted"):
            return replace(own, beside=tuple(dict.fromkeys((*own.beside, "drifted"))))
    roles = {sign.role for sign in found.signs}
    return replace(found, parts=tuple(sorted((sign for sign in parts if sign.role in roles),
                                             key=lambda sign: -abs(sign.score))))


def _with_parts(found: Verdict, parts: Sequence[Sign], late: float) -> Verdict:
    """Return a verdict on the whole in the light of its parts, of which some may have lost more than the late share.

    What is narrower cannot have more tails, nor is a cap another shape: such a loss comes first, and is said first.
    """
    deep = sorted((sign for sign in parts if sign.role in ("spread lost", "modes lost") and sign.metric not in STANDS
                   and sign.kept is not None and sign.kept < late), key=lambda sign: sign.kept or 0.0)
    if found.stage == "early" and deep:
        signs = (*deep, *found.signs)
        return replace(found, kept=min(sign.kept for sign in signs if sign.kept is not None), signs=signs)
    if found.stage != "distorted" or any(sign.role == "gained" and not sign.metric.startswith("tail")
                                         for sign in found.signs):
        return found
    capped = [sign for sign in parts if sign.role in _LOSSES] if all(
        sign.metric == "atom_share" for sign in found.signs) else []
    if not deep and not capped:
        return found
    carried = tuple(deep or capped)
    return Verdict("early", carried[0].kept, carried, tuple(dict.fromkeys(("distorted", *found.beside))))


def _sure(signs: Sequence[Sign]) -> list[Sign]:
    """Return the signs less those that the uncertain place of a sample that has moved may explain."""
    if not any(sign.role == "moved" for sign in signs):
        return list(signs)
    return [sign for sign in signs if sign.metric not in PLACED
            or not (sign.low - (sign.center - sign.low) / 2 <= sign.value
                    <= sign.high + (sign.high - sign.center) / 2)]


def _verdict(signs: Sequence[Sign], late: float, stands: Mapping[str, float]) -> Verdict:
    if not signs:
        return Verdict("healthy", None, (), ())
    names = [sign.metric for sign in signs]
    low, high, center = (np.array([getattr(sign, name) for sign in signs]) for name in ("low", "high", "center"))
    values = np.array([sign.value for sign in signs])
    held = _parts(signs) if any(sign.feature for sign in signs) else \
        _holds(names, values, low, high, center, late, stands)
    order = [("late", "late"), ("gained", "distorted"), ("lost", "early"), ("more", "distorted"),
             ("changed", "distorted"), ("moved", "drifted")]
    holding = [(key, stage) for key, stage in order if held[key]]
    if not holding:
        return Verdict("healthy", None, (), ())
    key, stage = holding[0]
    roles = {"late": ("spread lost", "modes lost"), "gained": ("gained",), "lost": _LOSSES, "more": ("gained",),
             "changed": ("changed",), "moved": ("moved",)}[key]
    carried = [sign for sign in signs if sign.role in roles]
    if key in ("late", "lost"):  # of an early collapse what few rows have carried away, or the middle, says the least
        carried.sort(key=lambda sign: (stage == "early" and sign.metric in STANDS,
                                       np.inf if sign.kept is None else sign.kept))
    elif key == "gained":
        carried.sort(key=lambda sign: -(sign.kept or 0.0))
    elif key == "changed":  # the plainest first
        carried.sort(key=lambda sign: sign.metric != "atom_share")
    others = [s for k, s in holding[1:] if s != stage and not (k == "lost" and stage == "late")]
    return Verdict(stage, carried[0].kept if key in ("late", "lost", "gained") else None, tuple(carried),
                   tuple(dict.fromkeys(others)))


def _parts(signs: Sequence[Sign]) -> dict[str, bool]:
    roles = {sign.role for sign in signs}
    return {"late": False, "gained": "gained" in roles, "more": "gained" in roles, "lost": bool(roles & set(_LOSSES)),
            "changed": "changed" in roles, "moved": "moved" in roles}
