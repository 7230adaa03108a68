"""Run every benchmark, or those named: python -m benchmarks [NAME …]."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

#: Run only when named.
LONG = ("soak", "mutations", "mutants", "verdicts", "first_generation")


def main() -> None:
    here = str(Path(__file__).parent)
    known = [m.name for m in pkgutil.iter_modules([here]) if m.name != "__main__"]
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        for name in known:
            about = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
            print(f"  {name:12s} {about.splitlines()[0]}{' Only when named.' if name in LONG else ''}")
        return
    named = [word for word in sys.argv[1:] if word[0].isalpha()]  # the rest are a benchmark's own: --kills 20
    wanted = named or [name for name in known if name not in LONG]
    if strange := [name for name in wanted if name not in known]:
        sys.exit(f"'{strange[0]}' is not a benchmark; choose from {', '.join(known)}")
    for name in wanted:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {module.__doc__.splitlines()[0]}", flush=True)
        module.main()


if __name__ == "__main__":
    main()
