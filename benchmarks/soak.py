"""Kill runs at random moments, resume, and compare with an undisturbed run: 200 kills, or --kills N (--seed S).

Each kill is drawn from a seed: when (after so many lines of progress, and a fraction of a second), and what: the whole
run at once, its parent alone, a worker, or the server. After some, the writes that had not been flushed are dropped.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.worlds.killing import KILLS, SEED, soak


def main() -> None:
    kills, seed = (int(sys.argv[sys.argv.index(f"--{name}") + 1]) if f"--{name}" in sys.argv else default
                   for name, default in (("kills", KILLS), ("seed", SEED)))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = soak(Path(folder), kills, seed)
    print(f"  {tally.kills} kills in {(time.monotonic() - begin) / 60:.0f} min; what: "
          f"{', '.join(f'{name} {count}' for name, count in tally.what.most_common())}; when: "
          f"{', '.join(f'{name} {count}' for name, count in tally.when.most_common())}; un-flushed writes dropped "
          f"after {tally.dropped}")
    print(f"  {tally.whole} projects, {tally.whole} with the lock of the undisturbed run and a clean audit"
          if not tally.wrong else "\n".join(f"  WRONG: {line}" for line in tally.wrong))
    if tally.wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
