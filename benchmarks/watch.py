"""The watch: false alarms on clean snapshots, lead on collapsing lineages, drift called drift, power on contamination.

COLLAPSE_WATCH scales how many snapshots and lineages there are (1: 924 clean snapshots).
"""

from __future__ import annotations

import time

from tests.worlds.watched import ENOUGH, SCALE, Words, clean, clean_text, drift, leads, mixed, numeric, power


def main() -> None:
    begin = time.process_time()
    snapshots, references = max(8, round(84 * SCALE)), max(1, round(3 * SCALE))
    words = Words()
    total = clean("numeric", numeric, list(ENOUGH), snapshots, references)
    total += clean("mixed", mixed, list(ENOUGH), snapshots, references)
    total += clean_text(words, (100, 1_000, 10_000), snapshots, references)
    alarms = total.total() - total["healthy"]
    print(f"  clean    all      {alarms} alarms of {total.total()}: {100 * alarms / total.total():.2f} % (stated 1 %, "
          f"at most 2 %)", flush=True)
    drift(max(10, round(100 * SCALE)))
    power(max(5, round(30 * SCALE)))
    leads(words, max(3, round(9 * SCALE)))
    print(f"  {time.process_time() - begin:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
