"""A kernel density estimate: a training row drawn at random, plus normal noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import field_validator

from collapse.data import Rows, Schema
from collapse.errors import InputError
from collapse.metrics.base import Fact, Measurement
from collapse.models.base import Model, Parameters
from collapse.models.categorical import draw
from collapse.rng import Rng


class KDE(Model):
    """A normal kernel of standard deviation ``bandwidth`` around every training row.

    ``bandwidth`` is a number in the units of the data, the same for all numeric features and all
    generations, or a rule that each training set is measured with anew: ``scott`` is
    s_j·n^(−1/(d+4)), ``silverman`` s_j·(n(d+2)/4)^(−1/(d+4)), with s_j the standard deviation of
    feature j. Label and categories stay with the row that was drawn, so the joint distribution is kept.

    With a fixed h, replace gives E[v_t] = (1 − 1/n)(E[v_{t−1}] + h²): variance can *grow*.
    Sources: Scott 1992; Silverman 1986, section 4.3.2.
    """

    kind: ClassVar[str] = "kde"
    weighs: ClassVar[bool] = True
    facts: ClassVar[dict[str, Fact]] = {
        "fit_mean": Fact("fit", 0.0, "either", "fitted mean less the true one, in true standard deviations; 0.0: right",
                         "Silverman 1986", low=-np.inf),
        "fit_variance": Fact("fit", 1.0, "below", "fitted over true variance; 1.0: right, 0.0: collapsed to a point, "
                             "above 1.0: spread out", "Silverman 1986, section 3.3"),
    }
    bandwidth: float | Literal["scott", "silverman"] = "scott"

    @field_validator("bandwidth", mode="before")
    @classmethod
    def _positive(cls, value: object) -> object:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value in ("scott", "silverman") or (number and 0 < value < np.inf):  # type: ignore[operator]
            return value
        raise ValueError(f"must be a number above 0, in the units of the data, or scott or silverman (it is {value!r})")

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        if schema.width == 0:
            raise InputError("kde needs a numeric feature or an image, and there is none; take model kind categorical")
        if n < 2 and isinstance(self.bandwidth, str):
            raise InputError(f"kde needs 2 rows or more to choose its bandwidth, and has {n}; raise rows")

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        x = rows.matrix().astype(np.float64, copy=False)  # (R, n, d)
        codes = {f"codes.{c.name}": rows[c.name] for c in rows.schema.columns if c.kind == "category"}
        found = {"rows": x, "bandwidth": self._widths(x), **codes}
        if rows.weights is not None:
            found["weights"] = np.broadcast_to(rows.weights / rows.weights.sum(), x.shape[:2]).copy()
        return found

    def _widths(self, x: np.ndarray) -> np.ndarray:
        """Return the kernel's standard deviation per replicate and feature: (R, n, d) -> (R, d)."""
        replicates, n, d = x.shape
        if not isinstance(self.bandwidth, str):
            return np.full((replicates, d), float(self.bandwidth))
        effective = n if self.bandwidth == "scott" else n * (d + 2) / 4
        return x.std(axis=1, ddof=1) * effective ** (-1 / (d + 4))

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        training = parameters["rows"]
        replicates, available, d = training.shape
        if "weights" in parameters:
            index = draw(parameters["weights"], rng.at("row").uniform((replicates, n)))
        else:
            index = rng.at("row").integers(available, (replicates, n))
        lineage = np.arange(replicates)[:, None]
        x = rng.at("noise").normal((replicates, n, d))
        x *= parameters["bandwidth"][:, None]
        x += training[lineage, index]
        names = [column.name for column in schema.columns if column.kind == "category"]
        return Rows.assemble(schema, x, {name: parameters[f"codes.{name}"][lineage, index] for name in names})

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        if "covariance" not in truth or parameters["rows"].shape[2] != len(truth["mean"]):
            return
        x, true = parameters["rows"], np.diagonal(truth["covariance"])
        if not (true > 0).all():
            return  # constant columns have no scale to compare with
        weights = parameters.get("weights", np.full(x.shape[:2], 1 / x.shape[1]))[:, :, None]
        mean = (weights * x).sum(axis=1)  # (R, d)
        variance = (weights * np.square(x - mean[:, None])).sum(axis=1) + np.square(parameters["bandwidth"])
        yield Measurement("fit_variance", "", (variance / true).mean(axis=1))
        if x.shape[2] == 1:
            yield Measurement("fit_mean", "", (mean[:, 0] - truth["mean"][0]) / np.sqrt(true[0]))
