"""Laws: how often the truth is rejected at 20 replicates, and at how many each wrong form is told apart.

The table goes into docs/laws.md. Settings are those of the claims of the studies in `paper/`, at the looks of each law
alone. `--runs 0` makes the table alone; runs of the reservoir, which draws replicate by replicate, take minutes each.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from collapse import laws, loop
from collapse.laws.base import Judgement, Law
from collapse.study.experiment import Branch
from collapse.study.parse import Study, read_study
from tests.worlds.project import ROOT

#: Data that does not come with the project.
ABSENT = ("dogs",)
#: Runs at :data:`FEW` replicates each.
RUNS, FEW = 20_000, 20
#: Replicates that are simulated at once, times generations.
AT_ONCE = 600_000
PAGE = ROOT / "docs/laws.md"


def claimed() -> Iterator[tuple[Study, Branch, Law]]:
    """Yield every law that a study of `paper/` claims, with its branch."""
    text = (ROOT / "paper/params.yaml").read_text(encoding="utf-8")
    for name in re.search(r"studies: \[(.*)\]", text)[1].split(", "):  # type: ignore[index]
        if name not in ABSENT:
            study = read_study(ROOT, name)
            for _, said, law in laws.claims(study):
                branch = study.branches[said.branch]
                if hasattr(law, "first"):  # in memory the first pool is as large as the others
                    law = type(law)(**{**law.model_dump(), "first": branch.rows})
                yield study, branch, law


def paths(study: Study, branch: Branch, replicates: int, seed: int, free: bool = False) -> dict[Any, np.ndarray]:
    """Return what the fits of a branch say of themselves."""
    return loop.run(study.source, branch.model, branch.regime, branch.rows, branch.last, replicates, seed=seed,
                    name=study.name, rows_free=free).paths


def rejected(study: Study, branch: Branch, law: Law, runs: int) -> int:
    """Return how many of ``runs`` runs of :data:`FEW` replicates reject the law, which is true of them."""
    free = branch.regime.rows_free and branch.model.kind in ("gaussian", "categorical")
    t = np.arange(1, branch.last + 1)
    values, slack = law(t), law.slack(t)
    found, done, seed = 0, 0, 0
    while done < runs:
        seed += 1
        chunk = max(1, min(runs - done, AT_ONCE // branch.last // FEW))
        whole = paths(study, branch, chunk * FEW, 1000 + seed, free)
        for k in range(chunk):
            some = {key: path[k * FEW : (k + 1) * FEW] for key, path in whole.items()}
            pivot = law.pivot(some)
            found += bool(np.abs(pivot.z(values, slack)).max() > pivot.critical(len(pivot.estimate)))
        done += chunk
    return found


def row(study: Study, branch: Branch, law: Law, found: Judgement) -> str:
    """Return a line of the table."""
    def told(mutants: Any) -> str:
        ranked = sorted(mutants, key=lambda m: m.needed or np.inf)
        return ", ".join(f"{m.name}: {f'{m.needed:,}' if m.needed else 'never'}" for m in ranked) or "–"

    name = f"`{law.kind}`" + (f" [{law.feature}]" if law.feature else "")
    where = f"`{study.name}`, {branch.name}"
    return f"| {name} | {where} | {study.replicates:,} | {told(found.mutants)} | {told(found.neighbours)} |"


def table() -> str:
    """Return the table of replicates at which every wrong form is told apart."""
    lines = ["| law | study, branch | its replicates | wrong forms: replicates that tell them apart | neighbours |",
             "|---|---|---|---|---|"]
    for study, branch, law in claimed():
        begin = time.perf_counter()
        found = law.judge(paths(study, branch, study.replicates, study.seed))
        lines.append(row(study, branch, law, found))
        print(f"  {law.kind:36} {study.name}, {branch.name}: {found.verdict}, {time.perf_counter() - begin:.1f} s",
              flush=True)
    return "\n".join(lines)


def main() -> None:
    words = sys.argv[1:]
    runs = int(words[words.index("--runs") + 1]) if "--runs" in words else RUNS
    before, opening, rest = re.split(r"(<!-- apart: .*? -->\n)", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + opening + table() + rest[rest.index("\n<!-- end -->"):], encoding="utf-8")
    seen: set[tuple[Any, ...]] = set()
    for study, branch, law in claimed():
        key = law.kind, law.digest
        if key in seen:
            continue
        seen.add(key)
        if not runs:
            break
        begin = time.perf_counter()
        count = rejected(study, branch, law, runs)
        print(f"  {law.kind:36} {study.name}, {branch.name}: {count} of {runs:,} runs of {FEW} reject the truth, "
              f"{100 * count / runs:.3f} % (at most 0.1), {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
