"""What a training set is made of.

* **Share**: rows by kind.
* **Synthetic depth**: of a real row 0; of a row that a model made 1 + the mean (and the greatest) depth of the rows
  that it was trained on. How many models stand between a row and reality.
* **Effective share**: the expected diversity E[H]/H_0 that is left of reality, from part sizes alone
  (:func:`collapse.laws.effective.heterozygosity`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse.laws.effective import heterozygosity
from collapse.manifest import trained_rows


@dataclass(frozen=True)
class Makeup:
    """What the rows of a pool that are trained on are. ``depths``: by part, (rows, mean depth, greatest depth)."""

    real: int
    synthetic: int
    depths: Mapping[str, tuple[int, float, int]]
    effective: float | None

    @property
    def real_share(self) -> float | None:
        """Return the share of real rows: 1.0 all real, 0.0 none; None of an empty pool."""
        total = self.real + self.synthetic
        return self.real / total if total else None

    @property
    def depth(self) -> tuple[float, int]:
        """Return mean and greatest depth over rows; (0.0, 0) if all are real."""
        rows = sum(count for count, _, _ in self.depths.values())
        if not rows:
            return 0.0, 0
        return (sum(count * mean for count, mean, _ in self.depths.values()) / rows,
                max(greatest for count, _, greatest in self.depths.values() if count))


def makeup(manifests: Sequence[Mapping[str, Any]], trained: Sequence[Sequence[Mapping[str, Any]]]) -> list[Makeup]:
    """Return what each pool on the way from generation 0 is made of.

    Parameters
    ----------
    manifests
        Of the nodes from generation 0 on.
    trained
        For each of them, the parts that its model was trained on: its parent's pool, less what was in quarantine.

    Data that came with a record of its own (:mod:`collapse.lineage.imported`) counts as real, and at a depth, as
    that says.
    """
    depth: dict[str, tuple[float, int]] = {}
    made: dict[str, int] = {}
    pools: list[dict[str, float]] = []
    found = []
    share, base = _brought(manifests[0])
    budgets: dict[int, int] = {}
    for place, (manifest, parts) in enumerate(zip(manifests, trained, strict=True)):
        rows = sum(map(trained_rows, parts))
        if rows:
            below = [(n, *_depth(part, depth, base)) for part in parts if (n := trained_rows(part))]
            depth[manifest["node"]] = (1 + sum(n * mean for n, mean, _ in below) / rows, 1 + max(d for *_, d in below))
            made[manifest["node"]] = place - 1
        replicates = manifest["replicates"]
        pools.append({_key(part): part["rows"] / replicates for part in manifest["parts"]})
        if "draw" in manifest:
            budgets[place] = manifest["draw"]["rows"]
        here = {part["origin"]: (trained_rows(part), *_depth(part, depth, base)) for part in manifest["parts"]}
        real = round(share * sum(trained_rows(part) for part in manifest["parts"] if part["kind"] == "real"))
        found.append((real, sum(map(trained_rows, manifest["parts"])) - real, here))
    whole = all(pools)
    shares = heterozygosity(pools, made, budgets) if whole else np.full(len(pools), np.nan)
    return [Makeup(real, synthetic, here, float(share) if whole else None)
            for (real, synthetic, here), share in zip(found, shares, strict=True)]


def _depth(part: Mapping[str, Any], known: Mapping[str, tuple[float, int]],
           base: tuple[float, int]) -> tuple[float, int]:
    return base if part["kind"] == "real" else known.get(part["origin"], (float("nan"), 0))


def _brought(manifest: Mapping[str, Any]) -> tuple[float, tuple[float, int]]:
    """Return the real share and the depth of the rows that generation 0 began with, as their own record has them."""
    says = manifest.get("provenance", {}).get("says", {})
    depth = says.get("depth", 0)
    return says.get("real_share", 1.0), (float(depth), math.ceil(depth))


def _key(part: Mapping[str, Any]) -> str:
    """Return what tells parts apart: fresh real rows of two generations come from one node and are not one part."""
    return part["content"] if part["kind"] == "real" else part["origin"]
