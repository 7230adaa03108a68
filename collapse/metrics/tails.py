"""What has become of the tails: their mass, and the rare rows and categories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from collapse.data import Rows
from collapse.frame import CLEAR, Frame, across
from collapse.metrics.base import Fact, Measurement, Metric

_FAMILIES = {"side": "tail_sides", "stratum": "tail_stratum", "rare": "tail_rare"}
_RATIO = "P_sample / P_reference, unclipped; 1.0: the mass is kept, 0.0: it is gone, 2.0: it has doubled"


class Tails(Metric):
    """Mass of the frozen tail regions, and coverage of what is rare.

    ``tail_ratio`` (and ``tail_kept``) has one row per region: ``COLUMN:low`` and ``:high`` (5 % of the reference each),
    ``stratum`` (the 10 % of lowest density), ``rare:COLUMN`` (the rarest categories, together at most 5 %) and the
    study's own regions by their text. The whole is their weighted mean: sides, stratum and rare
    categories weigh 1 together as a family, each own region what the study says.

    ``rare_coverage`` counts a rare reference row as covered when its nearest-neighbour ball (k = 5) holds a sample row
    *that is about as sparse itself*: its own distance to the 5th reference neighbour is 0.85 of the ball's radius or
    more. Without that clause it is blind, since outliers own huge balls: shrinking every digit to 0.7 of its distance
    from the class mean left plain coverage at 1.01 ± 0.02 of real rows' (k = 1, 2, 3: 1.00 to 1.01). With it the
    same shrinkage by 0.9, 0.7, 0.5, 0.3 gives 0.86, 0.54, 0.30, 0.09 (control 1.00 ± 0.07; 16 splits of the data).
    """

    kind = "tails"
    facts: ClassVar[dict[str, Fact]] = {
        "tail_ratio": Fact(
            "tails", 1.0, "below",
            f"weighted mean over frozen tail regions of {_RATIO}",
            "Shumailov et al. 2024, Nature 631; Bohacek & Farid 2023",
        ),
        "tail_kept": Fact(
            "tails", 1.0, "below",
            "tail_ratio, region by region the nearer to 1 of the sample as it lies and moved back to where the "
            "reference lies, if it has clearly moved: tails of the shape alone; 1.0: kept, 0.0: gone, 2.0: doubled",
            "Shumailov et al. 2024, Nature 631; Bohacek & Farid 2023",
            below="tails lost", above="gained",
        ),
        "tail_beyond": Fact(
            "tails", 0.0, "above",
            "share of rows with a coordinate beyond the least and greatest of all real rows by four standard errors of "
            "the place, both as the sample lies and moved back; 0.0: none, 1.0: all",
            "Wilks 1941, Ann Math Stat 12:91",
            above="gained", high=1.0,
        ),
        "tail_sides": Fact(
            "tails", 1.0, "below",
            f"mean over lower and upper 5 % tails of each coordinate of {_RATIO}",
            "Shumailov et al. 2024, Nature 631",
        ),
        "tail_stratum": Fact(
            "tails", 1.0, "below",
            f"the 10 % of lowest density by distance to the 5th neighbour: {_RATIO}",
            "Loftsgaarden & Quesenberry 1965, Ann Math Stat 36:1049",
        ),
        "tail_rare": Fact(
            "tails", 1.0, "below",
            f"mean over columns, of the rarest categories: {_RATIO}",
            "Shumailov et al. 2024, Nature 631",
        ),
        "rare_coverage": Fact(
            "tails", 1.0, "below",
            "share of the rare reference rows (10 % of lowest density) with a sample row about as sparse in their "
            "5-nearest-neighbour ball, over what as many fresh real rows reach; 1.0: as covered as by real rows, "
            "0.0: none",
            "after Naeem et al. 2020, ICML",
        ),
        "rare_alive": Fact(
            "tails", 1.0, "below",
            "rare categories of the reference that the sample still has, over what as many fresh real rows have; "
            "1.0: as many as in real rows, 0.0: none",
            "after Good & Toulmin 1956, Biometrika 43:45",
            below="tails lost",
        ),
    }

    def measure(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        regions, masses = frame.regions, frame.masses(sample)  # (regions, R)
        if regions:
            ratios = masses / np.array([region.mass for region in regions])[:, None]
            families = [region.family for region in regions]
            members = np.array([1.0 if f == "named" else families.count(f) for f in families])
            weights = np.array([region.weight for region in regions]) / members
            yield Measurement("tail_ratio", "", across(ratios, weights))
            for region, ratio in zip(regions, ratios, strict=True):
                yield Measurement("tail_ratio", region.name, ratio)
            for family, metric in _FAMILIES.items():
                if family in families:
                    chosen = [f == family for f in families]
                    yield Measurement(metric, "", across(ratios[chosen]))
        view = frame.view(sample)
        if regions:
            if view.placed is not view:  # of each region the likelier reading: what is lost or gained is so in both
                back = frame.masses(sample, placed=True) / np.array([region.mass for region in regions])[:, None]
                ratios = np.where(np.abs(back - 1) < np.abs(ratios - 1), back, ratios)
            yield Measurement("tail_kept", "", across(ratios, weights))
            for region, ratio in zip(regions, ratios, strict=True):
                yield Measurement("tail_kept", region.name, ratio)
        if frame.names:
            margin = CLEAR * frame.error(view)[:, None]  # (R, 1, p)
            beyond = np.logical_and(*((x < frame.ranges[0] - margin) | (x > frame.ranges[1] + margin)  # NaN: neither
                                      for x in (view.coordinates, view.placed.coordinates)))
            yield Measurement("tail_beyond", "", beyond.any(axis=2).mean(axis=1))
        if frame.space.axes.shape[1] and len(frame.balls.rare):
            covered = view.near.rare.mean(axis=1)
            expected = frame.expected_coverage(view.near.depth.shape[1])
            if expected > 0:
                yield Measurement("rare_coverage", "", covered / expected)
        yield from self._alive(sample, frame)

    def _alive(self, sample: Rows, frame: Frame) -> Iterator[Measurement]:
        found: dict[str, np.ndarray] = {}
        for name, members in frame.rare.items():
            share = frame.shares[name]
            present = frame.view(sample).shares(frame.schema[name])[:, members & (share > 0)] > 0
            expected = frame.expected_alive(name, sample.n)
            if expected:
                found[name] = present.sum(axis=1) / expected
        if found:
            yield Measurement("rare_alive", "", across(found.values()))
        if len(found) > 1:
            yield from (Measurement("rare_alive", name, values) for name, values in found.items())
