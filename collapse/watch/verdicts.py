"""A series of data sets held against a reference, without a model: healthy, early, late, distorted or drifted.

**Bands.** The rows of the reference are divided once: a sixth freezes the frame, a sixth counts what real rows show in
it, and the rest, the *bank*, plays the snapshot. K times as many rows as the snapshot has are drawn from the bank
without replacement and measured. Frame and draw are disjoint parts of one sample, as frame and snapshot are; only that
draws share one bank of b rows. For a mean, a fresh snapshot of m rows differs from the bank's mean by σ²(1/m + 1/b), a
draw by σ²(1/m − 1/b): every band is therefore wider than the draws' by √((b + m)/(b − m)), and m is at most b/3.

**One alarm rate for everything.** Each cell (metric × feature, group or region) becomes a normal score: what it is off
its mean in units of its spread, less the skewness (:func:`collapse.calibration.bent`). The greatest score over all
cells of a draw is the max statistic; a draw's own score leaves it out of mean and spread. Its tail beyond the 90 %
quantile is taken as exponential, which a maximum of nearly normal scores does not exceed, and carried to the wanted
level by the exact prediction interval of an exponential (F on 2 and 2k degrees of freedom), at most a factor
:data:`FURTHEST` beyond the draws. The level is Šidák's share of the rate for each snapshot. A tenth of it goes to *new
support*: rows beyond the least and greatest of all N reference rows, where P(k of n beyond) = (n/(N+n))^k whatever the
distribution (Wilks 1941, Ann Math Stat 12:91), categories that the reference lacks (Good 1953, Biometrika 40:237), and
to what is *gone*: a category or a group with hardly a tenth of its share left, counted over all rows (hypergeometric),
and the values of an edge beyond which none is left, by Wilks' law; where the column has moved they have gone along.

**The verdict** is that of :mod:`collapse.verdict`, by what each cell that left its band is a sign of; what a cell is
held against as kept is the center of its band. Rows with new categories are set aside, and the rest is judged again:
what is healthy then has drifted. Of a text, what only the words of the reference would explain is no loss where others
have come in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from collapse.calibration import bent
from collapse.data import Rows, Schema
from collapse.errors import InputError
from collapse.frame import LEVEL, Frame, counts
from collapse.metrics import facts
from collapse.metrics._atoms import least
from collapse.metrics._partition import Partition, check_grouping
from collapse.metrics.regions import ALIVE, EXPECTED
from collapse.rng import Rng
from collapse.verdict import LATE, Sign, Verdict, percent, role, standing, verdict

#: The verdicts (:data:`collapse.verdict.STAGES`) and the exit code of each.
VERDICTS = {"late": 4, "distorted": 5, "early": 3, "drifted": 6, "healthy": 0}
#: Chance that any of all healthy snapshots is called anything else.
RATE = 0.01
#: Draws from the bank, the share of them that shapes the tail, and how far beyond them the tail is carried.
DRAWS, TAIL, FURTHEST = 200, 0.1, 20
#: The most draws: more would take hours.
MOST = 20_000
#: Most measured rows of a snapshot (blocks of text), and the share of the bank that they may be.
ROWS, BLOCKS, SHARE = 10_000, 2_000, 1 / 4
#: The fewest rows that a table's snapshot is measured at.
LEAST = 60
#: How often the error of the bank's own mean counts: once keeps the rate over all references, twice over most.
TWICE = 2
#: Reference rows that freeze the frame, and those that count in it, at most.
FRAME, COUNT = 5_000, 10_000
#: Snapshots whose rows differ by less than this factor are measured at one size, the smallest's.
ALIKE = 1.25
#: Share of the rate for new support.
SUPPORT = 0.1
#: What is asked of whole columns, each at an equal part of that: what is new, what is gone, which groups and edges are.
QUESTIONS = 4
#: What does not depend on how categories are called: new ones are counted as what they are.
NAMELESS = ("variance_ratio", "total_variance_ratio", "central_ratio", "entropy_power", "effective_categories",
            "simpson_ratio", "mean_shift", "rank_shift", "missing_shift")
#: What is measured. Copies are left out: a snapshot may hold rows of the reference; so is what only one model can tell.
TABLES = ("association", "atoms", "drift", "groups", "regions", "spread", "tails")
TEXTS = ("diversity", "perplexity", "repetition", "vocabulary")
#: Share of the draws that must differ from the most frequent value of a cell, for it to have a band.
SELDOM = 0.05
#: Times a neighbourhood's share of the rows that chance may desert though no draw showed it.
DESERTED = 1 / 3
#: Part of the least atom that chance may show though no draw did: any atom at all then leaves its band.
FINE = 6
#: Values that say that a column was rounded, and powers of ten, from its standard deviation down, that are tried.
FEWEST_STEPS, DIGITS = 5, 6
#: Types whose values are written as numbers.
NUMERIC = ("", "integer")
#: A score beyond all normal ones.
BEYOND = 37.0
#: Snapshots that a trend takes, the confidence of its interval, and the metrics that get one.
LEAST_TREND, CONFIDENCE = 4, 0.95
TRENDS = ("tail_kept", "variance_ratio", "entropy_power", "regions_alive", "effective_categories", "simpson_ratio",
          "association_ratio", "mean_shift", "category_tv", "effective_tokens", "token_alive", "rare_token_ratio",
          "sample_perplexity")

Key = tuple[str, str]


class Bank(Protocol):
    """What plays the snapshot: ``n`` rows, from which any number can be drawn."""

    @property
    def n(self) -> int:
        """Return how many there are."""
        ...

    def draw(self, m: int, rng: Rng) -> Rows:
        """Return ``m`` of the rows, R = 1."""
        ...


@dataclass(frozen=True, eq=False)
class RowBank:
    """A bank of independent rows, R = 1."""

    rows: Rows

    @property
    def n(self) -> int:
        """Return how many there are."""
        return self.rows.n

    def draw(self, m: int, rng: Rng) -> Rows:
        """Return ``m`` of the rows, drawn without replacement."""
        return self.rows.take(rng.generator().permutation(self.n)[None, :m])


# ---------------------------------------------------------------------------------------------- bands


@dataclass(frozen=True, eq=False)
class Limits:
    """What healthy snapshots of one size show: one band for each of C cells, all at one level.

    Attributes
    ----------
    keys
        (metric, feature) of each cell.
    center, scale, skew
        Of the draws, (C,); ``scale`` is that of a fresh snapshot; ``skew`` (2, C), the smaller for the low side.
    maxima
        The max statistic of each draw, (K,), sorted.
    judged
        Whether the low and the high side of each cell are signs, (2, C).
    """

    keys: tuple[Key, ...]
    center: np.ndarray
    scale: np.ndarray
    skew: np.ndarray
    maxima: np.ndarray
    judged: np.ndarray

    @staticmethod
    def of(found: Sequence[dict[Key, float]], widen: float, grain: Mapping[Key, float] | None = None) -> Limits:
        """Return the bands from what K draws showed; a cell that hardly varied, or was not always there, has none.

        ``grain``: by cell the least spread that it is known to have, whatever the draws showed.
        """
        keys = [key for key in found[0] if all(key in one for one in found) and any(_sides(key))]
        values = np.array([[one[key] for key in keys] for one in found])  # (K, C)
        least = np.array([(grain or {}).get(key, 0.0) for key in keys])
        spread = np.maximum(values.std(axis=0, ddof=1), least)
        varies = np.isfinite(values).all(axis=0) & (spread > 1e-9 * np.maximum(1, np.abs(values).max(axis=0)))
        # of what is nearly always the same, nobody knows how often it is not
        varies &= (np.array([_usual(column) for column in values.T]) <= 1 - SELDOM) | (least > 0)
        keys = [key for key, kept in zip(keys, varies, strict=True) if kept]
        values, spread, k = values[:, varies], spread[varies], len(values)
        center = values.mean(axis=0)
        gap = (values - center) / spread
        error = np.sqrt(6 * k * (k - 1) / ((k - 2) * (k + 1) * (k + 3)))
        skews = _careful(_moments(gap, k)[2], error)
        # each draw as the others see it: one far out would hide in a spread and a skewness of its own making
        mean, scale, skew = _moments(gap, k - 1, without=True)
        scale = np.maximum(scale, (least[varies] / spread))
        judged = np.array([_sides(key) for key in keys], dtype=bool).reshape(-1, 2).T
        outer = (gap - mean) / (scale * np.sqrt(1 + 1 / (k - 1)))
        scores = _signs(_scores(outer, _careful(skew, error)), judged)
        maxima = np.sort(scores.max(axis=1)) if keys else np.zeros(k)
        return Limits(tuple(keys), center, spread * np.sqrt(1 + 1 / k) * widen, skews, maxima, judged)

    def limit(self, level: float) -> float:
        """Return what the max statistic of a healthy snapshot exceeds with probability ``level``."""
        count = max(3, round(TAIL * len(self.maxima)))
        share = count / len(self.maxima)
        start = float(self.maxima[-count - 1])
        if level >= share:
            return float(np.quantile(self.maxima, 1 - level, method="higher"))
        mean = float((self.maxima[-count:] - start).mean())
        return start + count * mean * ((share / level) ** (1 / count) - 1)

    def scores(self, values: dict[Key, float]) -> np.ndarray:
        """Return the normal score of every cell, (C,), negative below; a value that is no number is far below."""
        x = np.array([values.get(key, np.nan) for key in self.keys])
        return np.where(np.isfinite(x), _scores((x - self.center) / self.scale, self.skew), -BEYOND)

    def band(self, place: int, limit: float) -> tuple[float, float]:
        """Return the band of a cell for scores up to ``limit``; a side that is no sign is open."""
        low, high = (self.center[place] + self.scale[place] * bent(sign * limit, float(self.skew[side, place]))
                     for side, sign in ((0, -1), (1, 1)))
        return (float(low) if self.judged[0, place] else -np.inf), (float(high) if self.judged[1, place] else np.inf)


def _careful(skew: np.ndarray, error: float) -> np.ndarray:
    """Return the skewness of the low and of the high side, (2, …): a standard error longer, and no side a short one."""
    return np.stack([np.minimum(skew - error, 0), np.maximum(skew + error, 0)])


def _usual(values: np.ndarray) -> float:
    """Return the share of the most frequent value."""
    return float(np.unique(values, return_counts=True)[1].max()) / len(values)


def _moments(gap: np.ndarray, k: int, without: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and skewness of K draws (K, C), (C,); or of all draws but each one, (K, C)."""
    one, two, three = (np.sum(gap**power, axis=0) - (gap**power if without else 0) for power in (1, 2, 3))
    mean = one / k
    square = np.maximum(two / k - mean**2, 1e-12)
    cube = three / k - 3 * mean * two / k + 2 * mean**3
    return mean, np.sqrt(square * k / (k - 1)), cube / square**1.5 * np.sqrt(k * (k - 1)) / (k - 2)


def _sides(key: Key) -> tuple[bool, bool]:
    return bool(role(*key, "below")), bool(role(*key, "above"))


def _signs(scores: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Return the size of scores (…, C) on the sides that are signs, 0 on the others."""
    return np.where(scores < 0, np.where(judged[0], -scores, 0), np.where(judged[1], scores, 0))


def _scores(x: np.ndarray, skews: np.ndarray) -> np.ndarray:
    """Return the normal scores whose :func:`bent` is ``x`` (…, C): by the smaller skewness below, the larger above."""
    skew = np.where(x < 0, skews[0], skews[1])
    plain = np.abs(skew) < 1e-4
    s = np.where(plain, 1.0, skew)
    square = s * s / 2
    root = np.cbrt(1 + square + np.sqrt(square * (2 + square)))
    omega = root + 1 / root - 1
    sigma, sign = np.sqrt(np.log(omega)), np.sign(s)
    inside = sign * x * np.sqrt(omega - 1)
    known = np.log1p(np.maximum(inside, -1 + 1e-12))
    bended = np.where(inside > -1, sign * (known + sigma**2 / 2) / sigma, -sign * BEYOND)
    return np.clip(np.where(plain, x, bended), -BEYOND, BEYOND)


# ------------------------------------------------------------------------------------------ the watch


@dataclass(frozen=True)
class Support:
    """What a whole snapshot has that the reference lacks, or the reverse, of one column.

    ``rows`` of new values, or of the reference's that are gone, which chance gives with probability ``p``. ``lost`` is
    the share of the reference that lived in what is gone; 0.0: nothing is. ``edge``: it is the low or the high one.
    ``instead``: the one category in whose place new ones stand.
    """

    column: str
    what: str
    rows: int
    p: float
    lost: float = 0.0
    edge: str = ""
    instead: str = ""

    @property
    def text(self) -> str:
        """Return it in words."""
        if self.lost:
            return f"{self.column} has lost {self.what} ({percent(self.lost)} of the reference)"
        if self.what.startswith("moved"):
            return f"{self.column} has {self.what}, beyond {self.rows:,} of the reference's rows"
        return f"{self.column} has {self.what} ({self.rows:,} rows)"


@dataclass(frozen=True, eq=False)
class Judged:
    """What a watch says of one snapshot.

    Attributes
    ----------
    verdict, amount, beside
        The stage, how much of it in words, and what else holds.
    signs
        What left its band: what carries the verdict, then the rest, the largest exceedance first.
    shape
        The same of the snapshot without its rows of new categories; None where there are none.
    values, scores
        Of every cell, with its band at the level of this watch.
    """

    verdict: str
    amount: str
    beside: tuple[str, ...]
    measured: int
    signs: tuple[Sign, ...]
    support: tuple[Support, ...]
    shape: tuple[Sign, ...] | None
    values: dict[Key, float]
    scores: dict[Key, float]
    bands: dict[Key, tuple[float, float]]
    limit: float


@dataclass(frozen=True, eq=False)
class Watch:
    """A frozen reference that snapshots are held against.

    Attributes
    ----------
    frame, bank
        What is frozen, and what plays the snapshot.
    level
        Chance that one healthy snapshot is called anything else.
    draws
        K.
    late
        Share of what real rows show below which a loss of spread or modes is material.
    """

    frame: Frame
    bank: Bank
    level: float
    draws: int
    late: float = LATE
    #: What so few rows cannot show, in words.
    few: str = ""
    #: Of each grouping, reference rows by group.
    members: tuple[np.ndarray, ...] = ()
    _kept: dict[int, Limits] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(rows: Rows, rate: float = RATE, snapshots: int = 1, groups: tuple[tuple[str, ...], ...] = (),
           late: float = LATE) -> Watch:
        """Return the watch over independent reference ``rows`` (R = 1), for ``snapshots`` at one false-alarm ``rate``.

        Raises
        ------
        InputError
            If there are too few rows for the rate, or a grouping that the data does not have.
        """
        level = share(rate, snapshots)
        few = enough(rows.n, level, 2 * sum(c.kind == "number" for c in rows.schema.columns) +
                     len(rows.schema.categorical), rate, snapshots, least=LEAST * round(1.5 / SHARE))
        order = Rng("watch", "split", rows.n).generator().permutation(rows.n)
        first, second = min(rows.n // 6, FRAME), min(rows.n // 6, COUNT)
        parts = [rows.take(part[None]) for part in np.split(order, [first, first + second])]
        for names in groups:
            try:
                check_grouping(names, parts[0])
            except InputError as error:
                raise InputError(f"groups: {error}") from None
        made = Watch.held(parts[0], parts[1], RowBank(parts[2]), level, groups, late)
        return replace(made, few=few, members=tuple(_members(partition, rows) for partition in made.frame.partitions))

    @staticmethod
    def held(reference: Rows, real: Rows, bank: Bank, level: float, groups: tuple[tuple[str, ...], ...] = (),
             late: float = LATE) -> Watch:
        """Return the watch over a reference that is divided already."""
        chosen = TEXTS if reference.schema.texts else TABLES
        frame = Frame.freeze(reference, real, (), 0, chosen, groups)
        draws = max(DRAWS, int(np.ceil(1 / (FURTHEST * level))))
        if draws > MOST:
            raise InputError(f"snapshots: so many at this rate take {draws:,} draws from the reference, and {MOST:,} "
                             f"are the most; plan for fewer, or raise the rate")
        return Watch(frame, bank, level, draws, late)

    @property
    def most(self) -> int:
        """Return the most rows of a snapshot that are measured."""
        return min(BLOCKS if self.frame.schema.texts else ROWS, int(self.bank.n * SHARE))

    def sizes(self, rows: Sequence[int]) -> list[int]:
        """Return at how many rows each snapshot of so many ``rows`` is measured: sizes that are alike become one."""
        capped = [min(n, self.most) for n in rows]
        found: dict[int, int] = {}
        for n in sorted(set(capped)):
            last = next(reversed(found.values())) if found else 0
            found[n] = last if last and n <= ALIKE * last else n
        return [found[n] for n in capped]

    # ------------------------------------------------------------------------------------- calibration

    def bands(self, m: int) -> Limits:
        """Return the bands of snapshots of ``m`` rows."""
        if m not in self._kept:
            found = [self.measure(self.bank.draw(m, Rng("watch", "draw", m, k))) for k in range(self.draws)]
            widen = float(np.sqrt((self.bank.n + TWICE * m) / (self.bank.n - m)))
            grain = {("regions_alive", ""): DESERTED * EXPECTED / m,
                     **{("atom_share", name): least(m) / FINE for name in ("", *self.frame.names)}}
            self._kept[m] = Limits.of(found, widen, grain)
        return self._kept[m]

    def measure(self, rows: Rows) -> dict[Key, float]:
        """Return every cell of ``rows`` (R = 1)."""
        from collapse.metrics import measure_all

        found = measure_all(rows, None, self.frame)
        return {(m.metric, m.feature): float(np.asarray(m.values)[0]) + 0.0 for m in found}  # no −0

    # ------------------------------------------------------------------------------------------ verdict

    def judge(self, rows: Rows, m: int, support: Sequence[Support] = ()) -> Judged:
        """Return the verdict on a snapshot.

        Parameters
        ----------
        rows
            Rows of it at random, R = 1: at least ``m``, more where there are more.
        support
            What whole columns show that the reference lacks; only what chance gives too seldom counts.
        """
        rows, rounded = self._unrounded(rows)
        sample = rows.head(min(m, rows.n))
        bands = self.bands(m)
        limit = bands.limit(self.level * (1 - SUPPORT))
        values = self.measure(sample)
        scores = bands.scores(values)
        signs = self._borne(_left(bands, values, scores, limit), sample, bands, limit, support)
        support = (*support, *rounded, *self._deserted(rows), *self._edges(rows, sample))
        support = tuple(sorted((s for s in support if s.p < self.level * SUPPORT), key=lambda s: s.p))
        fresh = [s for s in support if not s.lost]
        shape = self._known(rows, m, signs, fresh) if fresh else None
        told = _with_lost(signs if shape is None else shape, support, rows.schema)
        if shape is None:
            signs = told
        else:  # new categories are as rare as can be: of what they bring with them only the move is meant
            kept = {(sign.metric, sign.feature) for sign in shape}
            signs = tuple(sign for sign in signs if sign.role == "moved" or (sign.metric, sign.feature) in kept)
        told = _without_exchange(told) if self.frame.schema.texts else told
        centers = {metric: float(center) for (metric, feature), center in zip(bands.keys, bands.center, strict=True)
                   if not feature}
        whole = {metric: value for (metric, feature), value in values.items() if not feature}
        found = verdict(told, self.late, standing(whole, lambda name: centers.get(name, 1.0)))
        stage, beside = found.stage, found.beside
        if fresh and stage == "healthy":
            stage, beside = "drifted", ()
        elif fresh and stage != "drifted":
            beside = tuple(dict.fromkeys((*beside, "drifted")))
        carries = set(found.signs)
        signs = tuple(sorted(signs, key=lambda sign: sign not in carries))
        named = dict(zip(bands.keys, map(float, scores), strict=True))
        own = {key: bands.band(place, limit) for place, key in enumerate(bands.keys)}
        missing, real = self.frame.view(sample).missing, self.frame.view(self.frame.real).missing
        gaps = {name: (float(share[0]), float(real[name][0])) for name, share in missing.items()}
        found = replace(found, whose="the reference's", it=self._only(found), gaps=gaps)
        gone = sorted((s for s in support if s.lost), key=lambda s: bool(s.edge))  # a category says more than an edge
        amount = found.amount
        # nothing says it more plainly, but for the edge of a column that has lost most of its spread
        deep = stage == "early" and found.signs[0].feature and found.signs[0].role != "tails lost"
        if gone and stage == "early" and not (deep and gone[0].edge):
            amount = gone[0].text + (f", and {len(gone) - 1} more" if gone[1:] else "")
        return Judged(stage, amount, beside, sample.n, signs, support, shape, values, named, own, limit)

    def _unrounded(self, rows: Rows) -> tuple[Rows, list[Support]]:
        """Return rows whose rounded numbers are spread evenly over what was rounded to each, and which those are.

        What repeats only because it was rounded has as much spread as before, and the distances between neighbours,
        which measures of spread and modes go by, say nothing of it.
        """
        if not isinstance(self.bank, RowBank):
            return rows, []
        values, found = dict(rows.values), []
        for place, (_, name) in enumerate(self.frame.number_columns):
            x, real = rows[name], self.bank.rows[name]
            step, own = (0.0, 0.0) if self.frame.atoms[place] else _grid(x[~np.isnan(x)], real[~np.isnan(real)])
            if step:
                spread = x + step * (Rng("watch", "rounded", name).generator().random(x.shape) - 0.5)
                values[name] = np.rint(spread / own) * own if own else spread
                found.append(Support(name, f"only multiples of {step:g}", rows.n, 0.0))
        return (replace(rows, values=values), found) if found else (rows, [])

    def _borne(self, signs: tuple[Sign, ...], sample: Rows, bands: Limits, limit: float,
               support: Sequence[Support]) -> tuple[Sign, ...]:
        """Return the signs less what a few rows say that lie beyond all of the bank, where chance gives so many.

        Of heavy tails no draw from the bank shows what the next sample's greatest value makes of a variance.
        """
        odd = [sign for sign in signs if sign.role in ("gained", "changed", "moved")]
        known = {s.column for s in support if s.p < self.level * SUPPORT}
        if not odd or not isinstance(self.bank, RowBank):
            return signs
        held = dict(sample.values)
        for _, name in self.frame.number_columns:
            if name not in known:  # a missing value stays one
                held[name] = np.clip(sample[name], np.nanmin(self.bank.rows[name]), np.nanmax(self.bank.rows[name]))
        if all(held[name] is values or np.array_equal(held[name], values, equal_nan=True)
               for name, values in sample.values.items() if name in self.frame.names):
            return signs
        values = self.measure(replace(sample, values=held))
        left = {(sign.metric, sign.feature) for sign in _left(bands, values, bands.scores(values), limit)}
        return tuple(sign for sign in signs if sign not in odd or (sign.metric, sign.feature) in left)

    def _deserted(self, rows: Rows) -> list[Support]:
        """Return the groups of several columns of which hardly a row is left; of one column they are its categories."""
        tests, found = sum(map(len, self.members)), []
        for partition, held in zip(self.frame.partitions, self.members, strict=False):
            if len(partition.columns) > 1:
                found += [gone(" × ".join(partition.columns), name, int(before), int(left), rows.n, int(held.sum()))
                          for name, before, left in zip(partition.names, held, _members(partition, rows), strict=False)
                          if before and left <= ALIVE * before / held.sum() * rows.n]
        return [replace(s, p=min(1.0, QUESTIONS * tests * s.p)) for s in found]

    def _only(self, found: Verdict) -> str:
        """Return the one column that what carries a verdict can be of."""
        schema, metric = self.frame.schema, found.signs[0].metric if found.signs else ""
        of = {"missing_shift": [c.name for c in schema.columns if c.missing],
              "category_tv": [c.name for c in schema.columns if c.kind == "category"]}.get(metric, self.frame.names)
        return of[0] if len(of) == 1 else "it"

    def _edges(self, rows: Rows, sample: Rows) -> list[Support]:
        """Return the edges of number columns that no row reaches any more, or that all rows have moved away from."""
        if not isinstance(self.bank, RowBank):
            return []
        found, columns = [], self.frame.number_columns
        own, now, shift = self.bank.rows.matrix()[0], rows.matrix()[0], self.frame.view(sample).shift
        for at, name in columns:
            x, real = (values[~np.isnan(values)] for values in (now[:, at], own[:, at]))
            if not len(x):
                continue
            by = 0.0 if shift is None else float(shift[0, at])
            for side, beyond in (("low", int((real < x.min()).sum())), ("high", int((real > x.max()).sum()))):
                p = support("", "", beyond, len(real), len(x)).p
                if not by:
                    what = f"its {'least' if side == 'low' else 'greatest'} values"
                    lost = np.unique(real[real < x.min()] if side == "low" else real[real > x.max()])
                    if len(lost) == 1 < beyond and self.frame.schema[name].type in NUMERIC:
                        what = f"the value {lost[0]:g}"
                    found.append(Support(name, what, beyond, p, beyond / len(real), side))
                elif (side == "low") == (by > 0):
                    found.append(Support(name, f"moved {'up' if by > 0 else 'down'}", beyond, p))
        return [replace(s, p=min(1.0, 2 * QUESTIONS * len(columns) * s.p)) for s in found if s.rows]

    def _known(self, rows: Rows, m: int, signs: tuple[Sign, ...],
               fresh: Sequence[Support]) -> tuple[Sign, ...] | None:
        """Return the signs of a snapshot without its rows of new categories; None where there are none of them.

        New ones in the place of a single category are read as that. Where new ones are most of the rows, those of all
        its ``signs`` that need no names.
        """
        kept, renamed = np.ones(rows.n, dtype=bool), False
        for item in fresh:
            if item.instead:
                column, codes = rows.schema[item.column], rows[item.column]
                codes = np.where(codes == column.new, column.categories.index(item.instead), codes)
                rows, renamed = replace(rows, values={**rows.values, item.column: codes}), True
        for column in rows.schema.columns:
            if column.new is not None:
                kept &= rows[column.name][0] != column.new
        if kept.all() and not renamed:
            return None
        if kept.sum() < m // 2:
            numbers = {column.name for column in rows.schema.numeric}
            return tuple(sign for sign in signs if (sign.feature.partition(":")[0] in numbers if sign.feature else
                                                    sign.metric in NAMELESS))
        rest = rows.take(np.flatnonzero(kept)[None])
        size = min(m, rest.n)
        bands = self.bands(size)
        values = self.measure(rest.head(size))
        return _left(bands, values, bands.scores(values), bands.limit(self.level * (1 - SUPPORT)))


def _grid(x: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Return the step to whose multiples all of ``x`` are rounded and most real values are not, and the real ones' own.

    Steps are 1, 2, 2.5 and 5 times powers of ten, at most 1.5 standard deviations of real values; 0.0: there is none.
    """
    spread = float(real.std()) if len(real) else 0.0
    if len(np.unique(x)) < FEWEST_STEPS or not spread > 0:
        return 0.0, 0.0
    power = int(np.floor(np.log10(spread))) + 1
    steps = [digit * 10.0**p for p in range(power, power - DIGITS, -1) for digit in (5, 2.5, 2, 1)]
    steps = [step for step in steps if step <= 1.5 * spread]
    step, own = (next((step for step in steps if _multiples(values, step).all()), 0.0) for values in (x, real))
    return (step, own) if step and _multiples(real, step).mean() < 1 / 2 else (0.0, 0.0)


def _multiples(x: np.ndarray, step: float) -> np.ndarray:
    """Return which values are whole multiples of ``step``, but for rounding."""
    return np.abs(x / step - np.rint(x / step)) < 1e-6


def _members(partition: Partition, rows: Rows) -> np.ndarray:
    """Return the rows of each group, (G,)."""
    size = len(partition.names)
    return counts(partition.codes(rows), size + 1)[0, :size]


def _left(bands: Limits, values: dict[Key, float], scores: np.ndarray, limit: float) -> tuple[Sign, ...]:
    """Return the cells that left their bands, the largest exceedance first."""
    size = _signs(scores, bands.judged)
    found = []
    for place in np.argsort(-size, kind="stable"):
        if size[place] <= limit:
            break
        metric, feature = key = bands.keys[place]
        low, high = bands.band(int(place), limit)
        side = "below" if scores[place] < 0 else "above"
        found.append(Sign(metric, feature, values.get(key, float("nan")), low, high, float(bands.center[place]),
                          role(metric, feature, side), float(scores[place])))
    return tuple(found)


def _with_lost(signs: Sequence[Sign], support: Sequence[Support], schema: Schema) -> tuple[Sign, ...]:
    """Return signs with what whole columns have lost, edges as tails, the rest as modes: counted over all rows."""
    lost: dict[str, float] = {}
    seen = {(sign.metric, sign.feature) for sign in signs}
    edges = []
    for item in support:
        if item.edge and ("tail_kept", f"{item.column}:{item.edge}") not in seen:
            edges.append(Sign("tail_kept", f"{item.column}:{item.edge}", max(0.0, 1 - item.lost / LEVEL), 1.0, np.inf,
                              1.0, "tails lost", -BEYOND))
        elif item.lost and not item.edge:
            lost[item.column] = lost.get(item.column, 0.0) + item.lost
    signs = (*signs, *edges)
    if not lost:
        return signs
    columns = [column.name for column in schema.categorical]
    kept = 1 - sum(lost.values()) / len({*columns, *lost})
    rest = [sign for sign in signs if sign.metric != "categories_alive"]
    parts = [Sign("categories_alive", name, 1 - share, 1.0, np.inf, 1.0, "modes lost", -BEYOND)
             for name, share in lost.items()]
    return (*rest, Sign("categories_alive", "", kept, 1.0, np.inf, 1.0, "modes lost", -BEYOND), *parts)


def _without_exchange(signs: tuple[Sign, ...]) -> tuple[Sign, ...]:
    """Return the signs of a text less those that a change of subject explains.

    Words of the reference are missing, and rare ones are used more, where others have come in their place: the text is
    less likely than real text, and as varied by its own measure. A text that has collapsed is dull, or poor.
    """
    known = facts()
    own = [sign for sign in signs if not known[sign.metric].anchored]
    unlikely = any(sign.role == "moved" for sign in own)
    return tuple(own) if unlikely and all(sign.role == "moved" for sign in own) else signs


# --------------------------------------------------------------------------------------- rate and rows


def share(rate: float, snapshots: int) -> float:
    """Return Šidák's level of each of so many ``snapshots``."""
    return float(-np.expm1(np.log1p(-rate) / snapshots))


def needed(level: float, regions: int) -> int:
    """Return the reference rows that a level takes.

    So many that a snapshot of a quarter of the bank shows the total loss of one tail: that none of m rows is in
    a region of 5 % must be rarer than the level over all regions, m = ln(level/regions)/ln 0.95.
    """
    return int(np.ceil(np.log(level / max(1, regions)) / np.log1p(-LEVEL))) * round(1.5 / SHARE)


def enough(n: int, level: float, regions: int, rate: float, snapshots: int, unit: str = "rows",
           least: int | None = None) -> str:
    """Refuse a reference of ``n`` rows that is too small; return what cannot be seen by it, '' if all can.

    ``least``: rows that are taken all the same, though the loss of a whole tail would not be beyond chance.

    Raises
    ------
    InputError
        Saying how many rows it takes.
    """
    need = needed(level, regions)
    many = f" over {snapshots} snapshots" if snapshots > 1 else ""
    if least is not None and least <= n < need:
        return (f"the reference has {n:,} {unit}: at a false-alarm rate of {rate:g}{many} the loss of spread or modes "
                f"can be seen by them, that of a tail from {need:,} on")
    if least is not None and n < min(least, need):
        raise InputError(f"the reference has {n:,} {unit}, and a verdict takes {least:,}; give more {unit}")
    if n < need:
        raise InputError(f"the reference has {n:,} {unit}, and a false-alarm rate of {rate:g}{many} takes {need:,}: "
                         f"with fewer not even the loss of a whole tail is beyond chance; give more {unit}, or raise "
                         f"the rate")
    return ""


# ----------------------------------------------------------------------------------------- the series


def support(column: str, what: str, rows: int, n: int, real: int, singles: int = 0) -> Support:
    """Return new support of a column: ``rows`` of a snapshot of ``n`` that nothing in ``real`` reference rows is like.

    ``singles``: reference values that occur once (Good–Turing: their share is the mass of what has not been seen); 0
    for the range of numbers, where the law is exact.
    """
    from scipy import special

    return Support(column, what, rows, float(special.betainc(rows, singles + 1, n / (n + real))) if rows else 1.0)


def gone(column: str, what: str, rows: int, left: int, n: int, real: int) -> Support:
    """Return what is left of a part of a column: ``left`` rows of a snapshot of ``n``, ``rows`` of ``real``.

    If both are draws of one reality, which of the rows + left rows lie in the snapshot is chance (hypergeometric,
    Fisher 1935); rows that hang together, as a text's do, are none.
    """
    from scipy import stats

    p = float(stats.hypergeom.cdf(left, n + real, rows + left, n))
    return Support(column, what, rows, p, rows / real)


def step(now: Judged, before: Judged) -> list[dict[str, Any]]:
    """Return the cells that changed most since the snapshot ``before``: change over the noise of two snapshots."""
    found = []
    for key, score in now.scores.items():
        if key in before.scores and any(_sides(key)):
            change = (score - before.scores[key]) / np.sqrt(2)
            found.append({"metric": key[0], "feature": key[1], "from": before.values[key], "to": now.values[key],
                          "score": float(change), "unusual": bool(abs(change) > now.limit)})
    return sorted(found, key=lambda item: -abs(item["score"]))


def trends(series: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return Theil and Sen's slope a snapshot of each headline metric, its 95 % interval, and Kendall's p of a trend.

    Fewer than four snapshots have none.
    """
    from scipy import stats

    found = []
    for metric in TRENDS:
        y = np.array([one.values.get((metric, ""), np.nan) for one in series])
        if len(y) < LEAST_TREND or not np.isfinite(y).all():
            continue
        slope, _, low, high = stats.theilslopes(y, np.arange(len(y)), CONFIDENCE)
        p = stats.kendalltau(np.arange(len(y)), y).pvalue if np.ptp(y) > 0 else 1.0
        found.append({"metric": metric, "slope": float(slope), "low": float(low), "high": float(high), "p": float(p),
                      "falls": bool(high < 0), "rises": bool(low > 0)})
    return found
