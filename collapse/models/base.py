"""What every generative model offers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.rng import Rng
from collapse.spec import Spec

#: A fitted model: named arrays whose first axis is the replicate. Stored as safetensors.
Parameters = dict[str, np.ndarray]


class Model(Spec):
    """A generative model. The object holds its settings; what it learns is returned by :meth:`fit`.

    A subclass sets ``kind`` to the name of its file and defines the three methods below.
    """

    #: Fits that a study's calibration makes unless it says otherwise: many where a fit is cheap.
    calibration: ClassVar[int] = 200

    def check(self, schema: Schema, n: int) -> None:
        """Refuse data that the model cannot fit: ``n`` rows per replicate of ``schema``.

        Raises
        ------
        InputError
            One line that says what the model needs.
        """

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        """Fit R independent models to the R replicates of ``rows``.

        Raises
        ------
        NodeError
            If the fit fails (singular covariance, NaN loss).
        """
        raise NotImplementedError(type(self).__name__)

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        """Draw ``n`` rows from each of the R fitted models."""
        raise NotImplementedError(type(self).__name__)
