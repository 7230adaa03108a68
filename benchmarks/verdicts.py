"""Does a stage mean what it says: known changes of known data, judged by bands from real draws. Only when named.

Each case is a change whose right name is known: wider, narrower, shifted, cut, heavier, filled in, a mode gone, labels
shuffled, a point. Printed: the share of seeds that get a right name, and what else was said.
Words: --seeds=N (40), --rows=400,4000, --only=NAME, --dims=2.
"""

from __future__ import annotations

import sys
from collections import Counter

from collapse.calibration import Bands
from collapse.frame import Frame
from tests.worlds.changes import cases, said, setting


def main() -> None:
    """Print the table."""
    words = dict(word.split("=", 1) for word in sys.argv if "=" in word)
    seeds, only = int(words.get("--seeds", 40)), words.get("--only")
    sizes = [int(n) for n in words.get("--rows", "400,4000").split(",")]
    for d in [int(x) for x in words.get("--dims", "1,2,3,15").split(",")]:
        for n in sizes:
            kept: dict[str, tuple[Frame, Bands]] = {}
            for case in cases(d):
                if only and only not in case.name:
                    continue
                if case.real not in kept:
                    kept[case.real] = setting(case.real, n)
                frame, bands = kept[case.real]
                found = [said(case.changed, frame, bands, n, seed)[0] for seed in range(seeds)]
                counted = Counter(v.stage for v in found)
                right = case.small if n < 4000 else case.large
                share = sum(counted[s] for s in right) / seeds
                first = next((v for v in found if v.stage not in right), found[0])
                flag = "" if share >= 0.95 else "  <<<"
                print(f"{d:3d} {n:5d} {case.name:32s} {share:6.1%} {dict(counted)} {first.sentence} "
                      f"[{', '.join(f'{s.metric} {s.value:.3g}' for s in first.signs[:3])}] "
                      f"beside {first.beside}{flag}", flush=True)
