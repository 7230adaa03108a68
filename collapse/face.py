"""What a program calls: a loop in memory, a series of data sets judged, advice by laws, the definitions of collapse.

Nothing is written and no server is started. Whatever takes many networks or is to be recorded is a study in a project:
the command ``collapse repro``. What was made is named by its *kind*, as in a study file, by a mapping with ``kind`` and
settings, or is an object of :mod:`collapse.sources`, :mod:`collapse.models`, :mod:`collapse.regimes`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse import loop
from collapse.errors import InputError
from collapse.loop import Run
from collapse.spec import Spec
from collapse.study.keys import part
from collapse.verdict import LATE

if TYPE_CHECKING:
    from collapse.advice.search import Found
    from collapse.claims.answers import Profile, Settings
    from collapse.reader.dialect import Options
    from collapse.watch.series import SnapshotSeries

#: A kind by its name, with settings, or made.
Kind = str | Mapping[str, Any] | Spec
#: A table (with an Arrow stream), or where one lies: what it is is found out when it is read.
Data = Any


def run(source: Kind, model: Kind, regime: Kind, rows: int, generations: int, replicates: int = 1, *, seed: int = 0,
        rows_free: bool = False, record: Collection[str] | None = None) -> Run:
    """Run a loop in memory: R lineages of ``generations`` fits, the first to real data, each to what its regime makes.

    Parameters
    ----------
    rows
        Rows of each generation.
    rows_free
        Draw sufficient statistics in place of rows, where the model has them: a million replicates in seconds.
    record
        Metrics to keep; all that the model says of itself by default.

    Returns
    -------
    Run
        ``found["fit_variance"]`` is the path (R, T) of a metric; column 0 is the fit to real data.

    Raises
    ------
    InputError
        If a kind or setting is unknown, or they do not go together.
    NodeError
        If a fit fails.

    Examples
    --------
    The expected variance of a normal that learns from ten rows of itself falls as (1 − 1/n)^t (Shumailov et al. 2024):

    >>> import collapse
    >>> found = collapse.run("gaussian", {"kind": "gaussian", "ddof": 0}, "replace", rows=10, generations=20,
    ...                      replicates=50_000, rows_free=True)
    >>> found["fit_variance"].shape
    (50000, 20)
    >>> [round(float(mean), 2) for mean in found["fit_variance"].mean(axis=0)[[0, 9, 19]]]
    [0.9, 0.35, 0.12]
    >>> [round(0.9**t, 2) for t in (1, 10, 20)]
    [0.9, 0.35, 0.12]
    """
    return loop.run(_made("sources", source), _made("models", model), _made("regimes", regime), rows, generations,
                    replicates, seed=seed, rows_free=rows_free, record=record)


def survey(reference: Data, snapshots: Sequence[Data] | Mapping[str, Data], *, groups: Sequence[Sequence[str]] = (),
           drop: Sequence[str] = (), rate: float = 0.01, late: float = LATE, options: Options | None = None,
           strict: bool = False) -> SnapshotSeries:
    """Hold a series of data sets against real data: what the command ``collapse watch`` does.

    (The name ``collapse.watch`` is that of the package.)

    Parameters
    ----------
    reference, snapshots
        Tables (of pandas, Polars, Arrow: whatever has an Arrow stream), or paths of files and folders; a mapping names
        them. The last snapshot is the newest.
    groups
        Groupings by category columns.
    drop
        Columns that are not looked at.
    rate
        Chance of any false alarm, over all snapshots.
    late
        Share of what real rows show below which a loss of spread or modes is material.
    options
        How files are written, where it is not to be found out (:class:`collapse.reader.dialect.Options`).
    strict
        Refuse columns that would be left out.

    Returns
    -------
    SnapshotSeries
        In a notebook it shows itself as a table.
        ``seen[i].judged.verdict`` is 'healthy', 'early', 'late', 'distorted' or 'drifted', ``.amount`` how much of it;
        ``code`` is the exit code of the newest.

    Raises
    ------
    InputError
        If something cannot be read, has other columns, or the reference is too small for the rate.

    Examples
    --------
    >>> import collapse, numpy as np, pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> def people(n, sd=12.0):
    ...     return pd.DataFrame({"age": rng.normal(40, sd, n), "height": rng.normal(172, 9, n)})
    >>> found = collapse.survey(people(6_000), {"monday": people(800), "tuesday": people(800, sd=5.0)})
    >>> [(one.name, one.judged.verdict) for one in found.seen]
    [('monday', 'healthy'), ('tuesday', 'late')]
    """
    from collapse.reader import layouts
    from collapse.watch import series

    named = dict(snapshots) if isinstance(snapshots, Mapping) else \
        {str(one) if isinstance(one, str | Path) else f"snapshot {i + 1}": one for i, one in enumerate(snapshots)}
    with tempfile.TemporaryDirectory() as folder:
        def held(name: str, data: Any) -> layouts.Snapshot:
            if isinstance(data, str | Path):
                return replace(layouts.whole(Path(data)), name=name)
            path = Path(folder) / f"{len(list(Path(folder).iterdir()))}.parquet"
            _write(name, data, path)
            return layouts.Snapshot(name, (path,), "table")

        real = held("reference", reference)
        return series.survey(real, [held(name, data) for name, data in named.items()], rate,
                             tuple(tuple(names) for names in groups), drop, late=late, options=options, strict=strict)


def _write(name: str, data: Any, path: Path) -> None:
    """Write a table that lies in memory as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if hasattr(data, "reset_index"):
        data = data.reset_index(drop=True)  # an index is no data
    try:
        pq.write_table(pa.table(data), path)
    except (TypeError, ValueError, pa.ArrowException) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{name}: {type(data).__name__} is no table that Arrow can read ({why}); give one of pandas, "
                         f"Polars or Arrow, or a path") from None


def recommend(source: Kind, model: Kind, rows: int, keep: str, horizon: int, *,
              of: str = "0.9") -> dict[str, Found]:
    """Return the least real data that keeps a condition to a horizon, way by way, by laws or lineages drawn from them.

    Ways that no law covers are left out: the command ``collapse recommend`` simulates those, for a study.

    Parameters
    ----------
    keep
        The condition: a metric, ``>=`` or ``<=``, and a number: 'fit_variance >= 0.8'.
    of
        The share of lineages that must keep it, 'median' or 'mean'.

    Returns
    -------
    dict
        By way (:data:`collapse.advice.options.OPTIONS`) the ``least`` setting (None: none does) and its 90 % interval:
        rows of ``rows`` that are real, weights in hundredths, rows of a generation, generations of a window.

    Raises
    ------
    InputError
        If a kind, ``keep`` or ``of`` is wrong, or no law knows anything of it.

    Examples
    --------
    Of twenty rows, how many must be the same real ones, for nine lineages of ten to keep half of their variance? And
    does a window of generations do, without any?

    >>> import collapse
    >>> found = collapse.recommend("gaussian", "gaussian", 20, "fit_variance >= 0.5", horizon=10)
    >>> found["anchor"].least, found["window"].least
    (17, None)
    """
    from collapse.advice import options as advice
    from collapse.advice.condition import Keep, Of
    from collapse.metrics import facts
    from collapse.study.parse import parse_study

    if horizon < 1:
        raise InputError(f"horizon must be at least 1 (it is {horizon})")
    text = {"title": "asked", "seed": 0, "source": _made("sources", source).spec(),
            "model": _made("models", model).spec(), "rows": rows, "generations": horizon, "replicates": 1, "gates": {},
            "branches": {"replace": {"regime": "replace"}}}
    study = parse_study(text, "asked", Path("asked"))
    wanted, whose = Keep.parse(keep, facts()), Of.parse(of)
    ways, _ = advice.options(study, horizon, None)
    ends = advice.ends(study, wanted, horizon, whose)
    found = {}
    for name, way in ways.items():
        known = advice.by_law(study, way, wanted, horizon, whose, ends)
        if known is not None:
            found[name] = known[0]
        elif advice.drawable_option(study, way, wanted, whose):
            found[name] = advice.by_lineages(study, way, wanted, horizon, whose, ends)[0]
    if not found:
        raise InputError(f"no law knows how {wanted.metric} goes under model {study.model.kind}; simulate a study")
    return found


def profile(runs: Mapping[str, Run], settings: Settings | None = None) -> Profile:
    """Answer each of the eight definitions of collapse for each run (Schaeffer et al. 2025, arXiv 2503.03150).

    Parameters
    ----------
    runs
        By name, from :func:`run`; one under ``control`` says what no loop loses.
    settings
        What counts as material.

    Returns
    -------
    Profile
        ``answers[name][definition]`` has ``verdict`` ('holds': it has collapsed by that definition), ``estimate``, its
        90 % interval and a ``sentence``.

    Examples
    --------
    >>> import collapse
    >>> runs = {name: collapse.run("gaussian", "gaussian", name, rows=10, generations=20, replicates=4_000,
    ...                            rows_free=True) for name in ("control", "replace", "accumulate")}
    >>> found = collapse.profile(runs)
    >>> [(name, found.answers[name]["divergence"].verdict) for name in ("replace", "accumulate")]
    [('replace', 'holds'), ('accumulate', 'does not hold')]
    """
    import pandas as pd

    from collapse.claims import definitions
    from collapse.claims.answers import Settings

    tables = []
    for name, one in runs.items():
        for (metric, feature), path in one.paths.items():
            replicate, generation = np.indices(path.shape)
            tables.append(pd.DataFrame({"branch": name, "generation": generation.ravel() + 1, "feature": feature,
                                        "replicate": replicate.ravel(), "metric": metric, "value": path.ravel()}))
    study = _Runs({name: _Branch(one) for name, one in runs.items()}, settings or Settings())
    return definitions.profile(study, pd.concat(tables, ignore_index=True))


@dataclass(frozen=True)
class _Branch:
    """A run as definitions see it."""

    run: Run
    from_: None = None
    at: int = 0
    first: int = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)

    @property
    def last(self) -> int:
        return next(iter(self.run.paths.values())).shape[1]


@dataclass(frozen=True)
class _Runs:
    """Runs as a study."""

    branches: Mapping[str, _Branch]
    definitions: Settings

    @property
    def rows(self) -> int:
        return next(iter(self.branches.values())).run.rows

    def floor(self, name: str) -> str:
        return "calibration"


def _made(group: str, given: Kind) -> Any:
    """Return what is given as an object of a group."""
    if isinstance(given, Spec):
        return given
    body = {"kind": given} if isinstance(given, str) else dict(given)
    return part(Path("collapse"), group.removesuffix("s"), group, body)
