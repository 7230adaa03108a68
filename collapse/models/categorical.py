"""Category shares, re-estimated by counting: drift without selection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, nearest
from collapse.metrics.base import Fact, Measurement
from collapse.models.base import Model, Parameters
from collapse.rng import Rng
from collapse.summary import Summary

_DRIFT = "Wright 1931, Genetics 16:97; Shumailov et al. 2024, Nature 631"
#: Expected counts around which categories are watched, and from which they are common.
COUNTS, COMMON = (1, 2, 5, 10, 20), 50


class Categorical(Model):
    """A multinomial for each category column (and the label), independent of each other.

    ``temperature`` τ sharpens (below 1) or flattens (above 1) what is sampled, p ∝ p^(1/τ); 1 samples
    what was counted, which is Wright–Fisher drift: E[Σ p(1 − p)] falls by (1 − 1/n) a generation.
    ``smoothing`` adds so many rows to every category of the frozen vocabulary before counting, so a
    lost category comes back: the list of names is then a real input. ``favour`` multiplies the weight of the named
    categories in what is sampled: a planted bias.

    Sufficient statistics ``counts``: one array (R, categories) per column.
    """

    kind: ClassVar[str] = "categorical"
    summary: ClassVar[str | None] = "counts"
    weighs: ClassVar[bool] = True
    facts: ClassVar[dict[str, Fact]] = {
        "fit_simpson": Fact("fit", 1.0, "below", "Simpson diversity 1 − Σp² of the fitted shares, mean over "
                            "columns; 0.0: one category has taken over; near 1: many are as common",
                            "Simpson 1949, Nature 163:688", high=1.0),
        "fit_survivors": Fact("fit", 1.0, "below", "categories with a fitted share above 0; 1.0: one has taken over, "
                              "all of the vocabulary: none is lost", _DRIFT),
        "fit_top_share": Fact("fit", 0.0, "above", "largest fitted share; 1.0: one category has taken over", _DRIFT,
                              high=1.0),
        "fit_share": Fact("fit", 0.0, "either", "fitted share of the named category; 0.0: extinct, 1.0: it has taken "
                          "over; unbiased re-estimation keeps its mean", _DRIFT, high=1.0),
        "fit_extinct": Fact("fit", 0.0, "above", "share of a band of categories that are extinct (c=5: those expected "
                            "about 5 times in the true rows, 'common': 50 times or more); 0.0: none, 1.0: all", _DRIFT,
                            high=1.0),
        "fit_bias": Fact("fit", 0.0, "either", "fitted less true share of the named category; 0.0: unbiased, above: "
                         "favoured, below: suppressed", "Pan et al. 2024, arXiv 2402.14830", low=-1.0, high=1.0),
    }
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    smoothing: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    favour: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        return (f"smoothing to the frozen vocabulary ({self.smoothing:g})",) if self.smoothing else ()

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        if schema.numeric:
            raise InputError(f"categorical models categories only, and {', '.join(c.name for c in schema.numeric)} "
                             f"holds numbers; leave it out, or take model kind gaussian, kde or gmm")
        names = [name for column in schema.columns for name in column.categories]
        for name in self.favour:
            if name not in names:
                raise InputError(f"categorical.favour: '{name}' is not a category{nearest(name, names)}")
        if n < 1:
            raise InputError("categorical needs a row or more, and has none; raise rows")

    def summarise(self, rows: Rows) -> Summary:
        return {f"counts.{column.name}": counts(rows[column.name], len(column.categories))
                for column in rows.schema.columns}

    def solve(self, summary: Summary, rng: Rng) -> Parameters:
        found = {}
        for name, count in summary.items():
            smooth = count + self.smoothing
            found[f"shares.{name.removeprefix('counts.')}"] = smooth / smooth.sum(axis=1, keepdims=True)
        return found

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        codes = {}
        for column in schema.columns:
            p = parameters[f"shares.{column.name}"]
            uniform = rng.at("column", column.name).uniform((len(p), n))
            codes[column.name] = draw(self._sampled(p, column), uniform)
        return Rows.assemble(schema, None, codes)

    def draw(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Summary:
        found = {}
        for column in schema.columns:
            p = self._sampled(parameters[f"shares.{column.name}"], column)
            p = p / p.sum(axis=1, keepdims=True)
            found[f"counts.{column.name}"] = rng.at("column", column.name).multinomial(n, p).astype(float)
        return found

    def _sampled(self, p: np.ndarray, column: Column) -> np.ndarray:
        """Return the weights that are sampled from, (R, k)."""
        weights = self._tempered(p)
        if self.favour:
            weights = weights * np.array([self.favour.get(name, 1.0) for name in column.categories])
        return weights

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        columns = [column for column in schema.columns if column.role == "feature"]
        whole: dict[str, list[np.ndarray]] = {"fit_simpson": [], "fit_survivors": [], "fit_top_share": []}
        for column in columns:
            p = parameters[f"shares.{column.name}"]
            found = {"fit_simpson": 1 - np.vecdot(p, p), "fit_survivors": (p > 0).sum(axis=1).astype(float),
                     "fit_top_share": p.max(axis=1)}
            for metric, values in found.items():
                whole[metric].append(values)
                if len(columns) > 1:
                    yield Measurement(metric, column.name, values)
            true = truth.get(f"shares.{column.name}")
            if true is not None:
                yield from _by_category(p, true, n, column, f"{column.name}:" if len(columns) > 1 else "")
        for metric, parts in whole.items():
            if parts:
                yield Measurement(metric, "", np.mean(parts, axis=0))

    def _tempered(self, p: np.ndarray) -> np.ndarray:
        """Return weights ∝ p^(1/τ); scaled by the largest share, so that a small τ does not underflow."""
        return p if self.temperature == 1 else (p / p.max(axis=1, keepdims=True)) ** (1 / self.temperature)


def watched(true: np.ndarray, n: int) -> list[int]:
    """Return the categories that are recorded by name: the three most frequent, and one near each of :data:`COUNTS`."""
    near = [int(np.abs(np.log(n * true.clip(1e-300) / count)).argmin()) for count in COUNTS]
    return list(dict.fromkeys([*np.argsort(-true, kind="stable")[:3].tolist(), *near]))


def bands(true: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Return the bands of categories by true expected count, as masks (k,); empty ones are left out."""
    expected = n * true
    found = {f"c={c}": (expected >= c / np.sqrt(2)) & (expected < c * np.sqrt(2)) for c in COUNTS}
    found["common"] = expected >= COMMON
    return {name: mask for name, mask in found.items() if mask.any()}


def _by_category(p: np.ndarray, true: np.ndarray, n: int, column: Column, prefix: str) -> Iterator[Measurement]:
    for code in watched(true, n):
        name = f"{prefix}{column.categories[code]}"
        yield Measurement("fit_share", name, p[:, code].copy())
        yield Measurement("fit_bias", name, p[:, code] - true[code])
    for name, mask in bands(true, n).items():
        yield Measurement("fit_extinct", prefix + name, (p[:, mask] == 0).mean(axis=1))


def counts(codes: np.ndarray, categories: int) -> np.ndarray:
    """Return how often each category occurs: codes (R, n) -> (R, categories)."""
    replicates = len(codes)
    flat = codes + (np.arange(replicates, dtype=np.int64) * categories)[:, None]
    return np.bincount(flat.ravel(), minlength=replicates * categories).reshape(replicates, categories).astype(float)


def shares(codes: np.ndarray, categories: int) -> np.ndarray:
    """Return the share of each category: codes (R, n) -> (R, categories), rows that sum to 1."""
    return counts(codes, categories) / codes.shape[1]


def draw(weights: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return codes (R, n) drawn by inverse CDF from ``weights`` (R, k), which need not sum to 1.

    The rows are exchangeable, so a regime may keep the first few. A weight of 0 is never drawn.
    """
    cdf = np.cumsum(weights, axis=1)
    cdf /= cdf[:, -1:]  # the last step is 1 exactly, so that no draw falls beyond it
    codes = np.empty(uniform.shape, dtype=np.int32)
    for r, steps in enumerate(cdf):
        codes[r] = np.searchsorted(steps, uniform[r], side="right")
    return codes
