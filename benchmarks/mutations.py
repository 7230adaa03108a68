"""Damage and forge one thing at a time in clean studies, and ask the audit where: 2,000 mutations, or --count N.

Byte flips, truncations, swaps, deletions, additions, edits of any field of a manifest, forged row counts and relabels,
of every kind of file of every kind of node; half of them with the entry of dvc.lock rewritten to fit. Only the node
that was touched is audited each time. A mutation is found if the audit names the very file (an edited manifest: its
node).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from tests.worlds.forging import COUNT, SEED, forge, make


def main() -> None:
    count = int(sys.argv[sys.argv.index("--count") + 1]) if "--count" in sys.argv else COUNT
    with tempfile.TemporaryDirectory() as folder:
        project = make(Path(folder))
        before = Path.cwd()
        os.chdir(project.root)
        begin = time.perf_counter()
        try:
            tally = forge(count, SEED, lambda text: print(text, flush=True))
        finally:
            os.chdir(before)
    for line in tally.missed:
        print(f"  MISSED: {line}")
    kinds = ", ".join(f"{kind} {tally.found[kind]}/{tried}" for kind, tried in sorted(tally.tried.items()))
    print(f"  {sum(tally.found.values())} of {sum(tally.tried.values())} mutations found with their place ({kinds}); "
          f"{(time.perf_counter() - begin) / max(1, count) * 1000:.0f} ms each")
    if tally.missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
