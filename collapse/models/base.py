"""What every generative model offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np

from collapse.data import Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.metrics.base import Fact, Measurement
from collapse.pool import Pool
from collapse.rng import Rng
from collapse.spec import Spec
from collapse.summary import Summary

#: A fitted model: named arrays whose first axis is the replicate. Stored as safetensors.
Parameters = dict[str, np.ndarray]


class Model(Spec):
    """A generative model. The object holds its settings; what it learns is returned by :meth:`fit`.

    A subclass sets ``kind`` to the name of its file and defines :meth:`check`, :meth:`sample` and :meth:`fit`; or,
    where sufficient statistics exist, names them in ``summary`` and defines :meth:`summarise` and :meth:`solve` instead
    of :meth:`fit`. A pool is then fitted part by part from what was stored when each part was written.
    """

    #: Fits that a study's calibration makes unless it says otherwise: many where a fit is cheap.
    calibration: ClassVar[int] = 200
    #: The sufficient statistics that the model fits from; None: it needs the rows.
    summary: ClassVar[str | None] = None
    #: Whether rows may count differently in training (regime ``weighted``).
    weighs: ClassVar[bool] = False
    #: Whether numbers may be missing. (A missing category is a category.)
    gaps: ClassVar[bool] = False
    #: What :meth:`statistics` yields.
    facts: ClassVar[dict[str, Fact]] = {}

    @property
    def program(self) -> str | None:
        """Return the user's file or folder that the model calls, relative to the project; None: it calls none."""
        return None

    @property
    def continues(self) -> bool:
        """Return whether a fit starts from what the generation before learned."""
        return False

    @property
    def inherits(self) -> bool:
        """Return whether a fit is given what the generation before learned: to start from it, or to hand it on."""
        return self.continues

    def follows(self, other: Model) -> bool:
        """Return whether a fit may be given what ``other`` learned."""
        return type(other) is type(self)

    def check_parent(self, other: Model, stem: str) -> None:
        """Refuse a fork from branch ``stem`` whose model, ``other``, has nothing to give to one that inherits.

        Raises
        ------
        InputError
            One line that begins with the setting that asks for it.
        """
        if not self.follows(other):
            raise InputError(f"init is continue, and '{stem}' has a model of another kind or shape; give both one "
                             f"shape, or take init: fresh")

    @property
    def prompted(self) -> bool:
        """Return whether sampling begins with real rows: then :meth:`answer` is called, and not :meth:`sample`."""
        return False

    def check(self, schema: Schema, n: int) -> None:
        """Refuse data that the model cannot fit: ``n`` rows per replicate of ``schema``. A subclass adds to this.

        Raises
        ------
        InputError
            One line that says what the model needs.
        """
        if schema.gaps and not self.gaps:
            names = ", ".join(column.name for column in schema.gaps)
            raise InputError(f"{self.kind} cannot take missing numbers, and {names} may be missing; write "
                             f"source.missing: drop, drop the column, or take model kind copula")

    def learn(self, pool: Pool, rng: Rng, parent: Parameters | None = None) -> Parameters:
        """Fit R independent models to the R replicates of ``pool``: from its summaries, or else from its rows.

        ``parent`` is what the generation before learned, for a model that :attr:`inherits`; None at generation 1.

        Raises
        ------
        NodeError
            If the fit fails (singular covariance, NaN loss).
        """
        pool = pool.training
        if self.summary and pool.even and self._solves():
            return self.solve(pool.summary(self), rng)
        return self.fit(pool.rows(), rng)

    def _solves(self) -> bool:
        """Return whether fitting from statistics is what :meth:`fit` does: a subclass may change ``fit`` alone."""
        line = type(self).__mro__
        return next(i for i, c in enumerate(line) if "solve" in vars(c)) <= \
            next(i for i, c in enumerate(line) if "fit" in vars(c))

    def fit(self, rows: Rows, rng: Rng) -> Parameters:
        """Fit R independent models to the R replicates of ``rows``.

        Raises
        ------
        NodeError
            If the fit fails.
        """
        return self.solve(self.summarise(rows), rng)

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        """Draw ``n`` rows from each of the R fitted models."""
        raise NotImplementedError(type(self).__name__)

    def answer(self, parameters: Parameters, prompts: Rows, n: int, rng: Rng) -> Rows:
        """Draw ``n`` rows from each of the R fitted models, each after the beginning of a row of ``prompts``."""
        raise NotImplementedError(type(self).__name__)

    def make(self, parameters: Parameters, schema: Schema, n: int, rng: Rng, real: Callable[[], Rows]) -> Rows:
        """Draw ``n`` rows from each of the R fitted models; ``real`` returns real rows for prompts.

        Raises
        ------
        NodeError
            If the model made another number of rows.
        """
        rows = self.answer(parameters, real(), n, rng) if self.prompted else self.sample(parameters, schema, n, rng)
        if rows.n != n:
            raise NodeError(f"model {self.kind} made {rows.n} rows a replicate where {n} were asked")
        return rows

    # ------------------------------------------------------------------------- sufficient statistics

    def summarise(self, rows: Rows) -> Summary:
        """Return the sufficient statistics of rows (R, n, …); each array's first axis is the replicate."""
        raise NotImplementedError(type(self).__name__)

    def add(self, a: Summary, b: Summary) -> Summary:
        """Return the statistics of the rows of ``a`` and ``b`` together."""
        return {name: value + b[name] for name, value in a.items()}

    def weigh(self, a: Summary, weight: float) -> Summary:
        """Return the statistics when every row counts ``weight`` times."""
        return {name: value * weight for name, value in a.items()}

    def solve(self, summary: Summary, rng: Rng) -> Parameters:
        """Return the R models that fit the statistics.

        Raises
        ------
        NodeError
            If the fit fails.
        """
        raise NotImplementedError(type(self).__name__)

    def draw(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Summary:
        """Draw the statistics of ``n`` sampled rows from their own law, without the rows."""
        raise NotImplementedError(type(self).__name__)

    # ----------------------------------------------------------------------------------- what it knows

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        """Yield what the R fitted models say of themselves, against the truth: the quantities that laws speak of.

        Parameters
        ----------
        truth
            What is known of reality: ``mean`` (d,), ``covariance`` (d, d), ``shares.COLUMN`` (k,), ``weights`` (d,).
        n
            Rows of a generation.
        """
        return iter(())

    def inspect(self, parameters: Parameters, sample: Rows, reference: Rows, rng: Rng) -> Iterator[Measurement]:
        """Yield what the R fitted models say of rows: of their own raw sample, and of real ones never trained on."""
        return iter(())
