"""What the definitions of collapse are read from: metrics by what they stand for, and what each is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Replicates that an interval of a mean needs, and of a median.
MEANS, MEDIANS = 2, 5


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


def _rest(values: np.ndarray) -> np.ndarray:
    return 1 - values


@dataclass(frozen=True)
class Reading:
    """A metric, what it stands for, and the form in which it is compared: 0.0 nothing (kept), or no risk."""

    metric: str
    words: str
    form: Callable[[np.ndarray], np.ndarray] = _as_it_is
    kind: str = "distance"


#: What stands for population risk, the first that is recorded. A loss is −log p; a distance is 0 at the truth.
RISKS = (
    Reading("fit_perplexity", "perplexity of held-out text", np.log, "loss"),
    Reading("fit_elbo_real", "perplexity of held-out rows per coordinate", np.negative, "loss"),
    Reading("fit_w2", "squared 2-Wasserstein distance of the fit to the truth"),
    Reading("fit_error2", "squared error of the fit"),
    Reading("energy_distance", "squared energy distance to real data", np.square),
    Reading("sliced_w2", "squared sliced 2-Wasserstein distance to real data", np.square),
    Reading("frechet_distance", "squared Fréchet distance to real data"),
    Reading("kl_bins", "Kullback–Leibler divergence from real data"),
    Reading("category_tv", "squared total variation from real data", np.square),
)
SPREADS = (
    Reading("fit_variance", "variance of the fit"),
    Reading("variance_ratio", "variance"),
    Reading("total_variance_ratio", "total variance"),
    Reading("entropy_power", "entropy power"),
    Reading("effective_categories", "effective number of categories"),
    Reading("effective_tokens", "effective number of tokens"),
    Reading("simpson_ratio", "diversity"),
)
TAILS = (
    Reading("tail_kept", "tail mass"),
    Reading("tail_ratio", "tail mass"),
    Reading("token_alive", "share of rare tokens that are alive"),
    Reading("rare_alive", "share of rare categories that are alive"),
)
#: Of each of these the first that is recorded is looked at.
MODES = (
    (Reading("classes_alive", "share of classes that are alive"),
     Reading("modes_alive", "share of modes that are alive"),
     Reading("effective_classes", "effective number of classes")),
    (Reading("entanglement", "clearness of modes", _rest),),
)
PLAUSIBLE = (
    (Reading("learned_precision", "share of rows that look real"),
     Reading("precision", "share of rows that look real")),
    (Reading("impossible_pairs", "share of rows without impossible pairs", _rest),),
    (Reading("range_violations", "share of rows within the real range", _rest),),
    (Reading("classifier_agreement", "share of labels that mean what they did"),
     Reading("label_agreement", "share of labels that mean what they did")),
    (Reading("sample_perplexity", "likeliness of the text under a model of real text", np.reciprocal),),
)
_READ = {reading.metric: reading for reading in (*RISKS, *SPREADS, *TAILS, *(r for group in (*MODES, *PLAUSIBLE)
                                                                            for r in group))}


@dataclass(frozen=True, eq=False)
class Readings:
    """What is read of a study: by branch and metric, generations (rows) by replicates (columns), in its form."""

    study: Any
    series: Mapping[tuple[str, str], pd.DataFrame]
    floors: Mapping[str, Mapping[str, np.ndarray]]
    last: Mapping[str, int]

    @staticmethod
    def of(study: Any, table: pd.DataFrame, floors: Mapping[str, Any], coordinates: int) -> Readings:
        whole = table[(table.feature == "") & table.metric.isin(list(_READ)) & (table.generation > 0)]
        series = {}

        def formed(metric: str, values: Any) -> Any:
            with np.errstate(divide="ignore", invalid="ignore"):
                return _READ[metric].form(values) / (coordinates if metric == "fit_elbo_real" else 1)

        for (branch, metric), rows in whole.groupby(["branch", "metric"], observed=True):
            wide = rows.pivot(index="generation", columns="replicate", values="value").sort_index()
            series[str(branch), str(metric)] = formed(str(metric), wide)
        known: dict[str, dict[str, np.ndarray]] = {}
        for name, floor in floors.items():
            kind, metrics, feature, values = (np.asarray(floor[key]) for key in ("kind", "metric", "feature", "value"))
            fits = (kind == "model") & (feature == "")
            known[name] = {metric: formed(metric, values[fits & (metrics == metric)].astype(float))
                           for metric in _READ if (fits & (metrics == metric)).any()}
        ends = table[table.generation > 0].groupby("branch", observed=True).generation.max()
        return Readings(study, series, known, {str(name): int(last) for name, last in ends.items()})

    def first(self, readings: tuple[Reading, ...], branch: str) -> Reading | None:
        """Return the first reading of ``branch`` at its last generation that is comparable, or else the first."""
        found = [r for r in readings if (branch, r.metric) in self.series
                 and self.last[branch] in self.series[branch, r.metric].index]
        return next((r for r in found if self._comparable(r, branch)), found[0] if found else None)

    def _comparable(self, reading: Reading, branch: str) -> bool:
        """Return whether there are fits to real data, or real data alone in replicates enough for an interval."""
        enough = self.series[branch, reading.metric].shape[1] >= (MEANS if reading in RISKS else MEDIANS)
        return reading.metric in self.floor(branch) or (enough and self.base(branch, reading.metric)[0] is not None)

    def floor(self, branch: str) -> Mapping[str, np.ndarray]:
        """Return what independent fits to real data show, by metric, in its form."""
        return self.floors.get(self.study.floor(branch), {})

    def alike(self, one: str, other: str) -> bool:
        """Return whether two branches have the same model and rows."""
        a, b = self.study.branches[one], self.study.branches[other]
        return bool(a.rows == b.rows and a.model.spec() == b.model.spec())

    def control(self, branch: str, metric: str, generation: int) -> tuple[pd.Series, str] | None:
        """Return the control branch of the same model and rows at ``generation``, by replicate, and its name."""
        for name, item in self.study.branches.items():
            if name != branch and item.regime.kind == "control" and self.alike(name, branch):
                rows = self.series.get((name, metric))
                if rows is not None and generation in rows.index:
                    return rows.T[generation], f"{name} at generation {generation}"
        return None

    def base(self, branch: str, metric: str) -> tuple[pd.Series | None, str]:
        """Return what real data alone gives, by replicate, and its name."""
        control = self.control(branch, metric, self.last[branch])
        if control is not None:
            return control
        branches, stem = self.study.branches, branch
        while branches[stem].from_ is not None:
            stem = branches[stem].from_
        rows, start = self.series.get((stem, metric)), branches[stem].first
        # the first pool has the study's rows, whatever the branch's are
        if rows is None or start not in rows.index or branches[branch].rows != self.study.rows \
                or not self.alike(stem, branch):
            return None, ""
        return rows.loc[start], f"generation {start}" if stem == branch else f"{stem} at generation {start}"
