"""Bands keep their promise, stages their precedence, and collapse is found."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from collapse.calibration import Band, Bands, _medians, _moments, bent, interval, stage
from collapse.data import Rows
from collapse.floor import floor
from collapse.frame import Frame
from collapse.metrics.labels import Labels
from collapse.metrics.spread import Spread
from collapse.metrics.tails import Tails
from collapse.models.base import Model as Base
from collapse.models.gaussian import Gaussian as Model
from collapse.models.gaussian import root
from collapse.pool import Part, RealData
from collapse.rng import Rng
from collapse.sources.digits import Digits
from collapse.sources.gaussian import Gaussian as Source
from collapse.verdict import STAGED
from collapse.verdict import staged as judged

ROWS = 100


# ----------------------------------------------------------------------------------------------- bands

DRAWS = {
    "normal": lambda rng, shape: rng.normal(shape),
    "chi2": lambda rng, shape: stats.chi2.ppf(rng.uniform(shape), 8),
    "lognormal": lambda rng, shape: np.exp(0.5 * rng.normal(shape)),
    "minus lognormal": lambda rng, shape: -np.exp(0.5 * rng.normal(shape)),
    "counts": lambda rng, shape: stats.poisson.ppf(rng.uniform(shape), 6),
}


@pytest.mark.parametrize("replicates", [1, 5, 40])
@pytest.mark.parametrize("name", list(DRAWS))
def test_a_band_misses_as_often_as_it_says(name: str, replicates: int) -> None:
    """1,000 calibrations of 200 fits, each with 1 fresh median, at 1 % two-sided."""
    draw, trials = DRAWS[name], 1000
    fits = draw(Rng("bands", name, "fits"), (trials, 200))
    fresh = np.median(draw(Rng("bands", name, "fresh", replicates), (trials, replicates)), axis=1)
    sides = [interval(fits[i], replicates, 0.01).side(fresh[i]) for i in range(trials)]
    missed = sum(side != "inside" for side in sides)
    # not above 1 % beyond chance; and not so wide that it never misses (a single value also has the observed range,
    # and a count is a band's edge or a whole step from it)
    assert missed <= stats.binom.ppf(0.999, trials, 0.01)
    assert missed >= (0 if replicates == 1 or name == "counts" else 1)


@pytest.mark.parametrize("replicates", [2, 3, 20, 51])
def test_the_median_is_drawn_as_a_plain_bootstrap_draws_it(replicates: int) -> None:
    values = DRAWS["lognormal"](Rng("bootstrap"), (150,))
    plain = np.median(values[Rng("bootstrap", replicates).integers(150, (100_000, replicates))], axis=1)
    center, spread, skew = _moments(_medians(np.sort(values), replicates), 150)
    assert center == pytest.approx(plain.mean(), abs=0.02 * spread)
    assert spread == pytest.approx(plain.std() * np.sqrt(150 / 149), rel=0.03)
    assert skew == pytest.approx(stats.skew(plain), abs=0.1)


def test_more_replicates_than_fits_are_judged_as_if_they_were_as_many() -> None:
    values = Rng("few").normal((60,))
    assert interval(values, 61, 0.01) == interval(values, 500, 0.01) == interval(values, 60, 0.01)


def test_ignoring_skewness_would_break_the_promise() -> None:
    """The mutant: symmetric t bands on log-normal values miss far more than 1 %, all on one side."""
    fits = DRAWS["lognormal"](Rng("bands", "lognormal", "fits"), (2000, 200))
    fresh = DRAWS["lognormal"](Rng("bands", "lognormal", "fresh", 1), (2000, 1))[:, 0]
    high = fits.mean(axis=1) + stats.t.isf(0.005, 199) * fits.std(axis=1, ddof=1) * np.sqrt(1 + 1 / 200)
    assert (fresh > high).mean() > 0.01


@pytest.mark.parametrize("skew", [-2.0, -0.5, 0.3, 3.0])
def test_bent_quantiles_have_the_moments_they_claim(skew: float) -> None:
    x = np.array([bent(q, skew) for q in stats.norm.ppf((np.arange(50_000) + 0.5) / 50_000)])
    assert np.mean(x) == pytest.approx(0, abs=0.01)
    assert np.std(x) == pytest.approx(1, abs=0.03)
    assert stats.skew(x) == pytest.approx(skew, rel=0.12)
    assert bent(1.7, 0.0) == 1.7 == pytest.approx(bent(1.7, 2e-4), abs=1e-3)


def test_a_normal_band_is_the_textbook_prediction_interval() -> None:
    values = stats.norm.ppf((np.arange(400) + 0.5) / 400)  # no skewness at all
    band = interval(values, 400, 0.05)  # and with R = f none by construction
    half = stats.t.isf(0.025, 399 / 20) * np.sqrt(np.pi / 2 / 400) * np.sqrt(2)  # var of a median: π/2 that of a mean
    assert (band.low, band.high) == (pytest.approx(-half, rel=0.02), pytest.approx(half, rel=0.02))


def shifted(q: float, skew: float) -> float:
    """The quantile of a standardised log-normal of ``skew``, mirrored where that is negative; its σ by root finding."""
    from scipy.optimize import brentq

    def skewness(sigma: float) -> float:
        return (np.exp(sigma**2) + 2) * np.sqrt(np.expm1(sigma**2))

    if skew == 0:
        return q
    sigma, sign = brentq(lambda sigma: skewness(sigma) - abs(skew), 1e-6, 3, xtol=1e-14), np.sign(skew)
    law = stats.lognorm(sigma)
    return sign * (np.exp(sign * q * sigma) - law.mean()) / law.std()


@pytest.mark.parametrize("replicates", [1, 4])
@pytest.mark.parametrize("fits", [3, 12, 29, 30, 300])
def test_a_band_is_that_of_its_formula(fits: int, replicates: int) -> None:
    """Howe's tolerance factor below 30 fits, else Student's; moments by scipy, of fits or of drawn medians."""
    values, alpha = np.sort(np.exp(0.3 * Rng("formula", fits).normal((fits,)))), 1e-5
    count = min(replicates, fits)
    drawn = _medians(values, count)
    centre = drawn.mean()
    spread = drawn.std() * np.sqrt(fits / (fits - 1))
    skew = stats.skew(drawn, bias=False) if count == 1 else stats.skew(drawn) * (drawn.std() / spread) ** 3
    freedom = (fits - 1) / np.sqrt(count)
    if fits < 30:
        q = stats.norm.isf(alpha / 2) * np.sqrt(freedom / stats.chi2.ppf(0.05, freedom))
    else:
        q = stats.t.isf(alpha / 2, freedom)
    # the standard error of a skewness (Joanes & Gill 1998), and the third moment of a median less its centre
    error = np.sqrt(6 * fits * (fits - 1) / ((fits - 2) * (fits + 1) * (fits + 3)) / count)
    share = count / fits
    least, most = sorted((skew + sign * error) * (1 - share**2) / (1 + share) ** 1.5 for sign in (-1, 1))
    width = spread * np.sqrt(1 + share)
    band = interval(values[::-1], replicates, alpha)
    assert (band.center, band.fits) == (pytest.approx(centre, rel=1e-12), fits)
    assert band.low == pytest.approx(min(centre + width * shifted(-q, least), drawn[0]), rel=1e-6)
    assert band.high == pytest.approx(max(centre + width * shifted(q, most), drawn[-1]), rel=1e-6)
    assert ("tolerance" in band.method) == (fits < 30)


def test_three_fits_are_the_fewest_that_have_a_band() -> None:
    values = np.array([1.0, 2.0, 4.0])
    assert np.isinf(interval(values[:2], 1, 0.01).high) and np.isfinite(interval(values, 1, 0.01).high)


def test_few_fits_say_so_and_are_wider() -> None:
    values = Rng("few").normal((200,))
    few, many = interval(values[:12], 1, 0.01), interval(values, 1, 0.01)
    assert "tolerance interval" in few.method and "12 fits" in few.method
    assert "prediction interval" in many.method
    assert few.high - few.low > 1.3 * (many.high - many.low)
    none = interval(values[:2], 1, 0.01)
    assert none.side(1e9) == "inside" and "no band" in none.method


def test_edges() -> None:
    assert interval(np.full(50, 0.1), 5, 0.01).side(float(np.mean([0.1] * 5))) == "inside"
    assert interval(np.full(50, 1.0), 5, 0.01).side(0.98) == "below"
    assert Band(0, 1, 0.5, 9, "").side(float("nan")) == "below"
    values = np.append(np.zeros(199), 1.0) + 1e-3 * Rng("spike").normal((200,))
    assert interval(values, 1, 0.5).high >= values.max()


def test_a_metric_of_few_values() -> None:
    """modes_alive, 0.9 in some fits: inside where the median of R is 0.9 more often than the level, else below."""
    def side(lost: int, replicates: int, alpha: float) -> str:
        return interval(np.repeat([0.9, 1.0], [lost, 200 - lost]), replicates, alpha).side(0.9)

    for lost, replicates in [(1, 1), (10, 5), (20, 5), (40, 20)]:
        # P(median of R is 0.9) by the binomial, against the one side of the level
        chance = stats.binom.sf(replicates // 2, replicates, lost / 200)
        assert side(lost, replicates, min(0.5, chance)) == "inside"
    assert side(1, 5, 0.001) == side(1, 51, 0.001) == "below"  # 10 (1/200)³ and less
    assert interval(np.repeat([0.9, 1.0], [1, 199]), 51, 0.001).side(1.0) == "inside"


def test_more_cells_widen_and_more_replicates_narrow() -> None:
    table = {"kind": np.full(300, "model"), "metric": np.full(300, "m"), "feature": np.full(300, ""),
             "value": Rng("cells").normal((300,))}
    bands = Bands(table)
    made = {(r, c): bands.band("m", replicates=r, cells=c) for r in (2, 20) for c in (1, 50)}
    width = {key: band.high - band.low for key, band in made.items()}
    assert width[2, 1] < width[2, 50] and width[20, 1] < width[2, 1]
    with pytest.raises(KeyError):
        bands.band("m", kind="real")


# ---------------------------------------------------------------------------------------------- stages


def staged(**centres: float) -> tuple[str, list[str]]:
    names = ("tail_kept", "variance_ratio", "modes_alive")
    table = {"kind": [], "metric": [], "feature": [], "value": []}
    for name in names:
        table["kind"] += ["model"] * 100
        table["metric"] += [name] * 100
        table["feature"] += [""] * 100
        table["value"] += list(1 + 0.01 * Rng("stage", name).normal((100,)))
    found, alone = stage({name: np.array([1.0, centres.get(name, 1.0)]) for name in names}, Bands(table), 10)
    return found.stage, alone


@pytest.mark.parametrize(("centres", "expected"), [
    ({}, "healthy"),
    ({"tail_kept": 0.5}, "early"),
    ({"variance_ratio": 0.3}, "late"),
    ({"variance_ratio": 0.8}, "early"),
    ({"modes_alive": 0.3}, "late"),
    ({"tail_kept": 0.5, "variance_ratio": 0.3}, "late"),
    ({"tail_kept": 1.5}, "distorted"),
    ({"variance_ratio": 1.5}, "distorted"),
    ({"tail_kept": 0.5, "variance_ratio": 1.5}, "distorted"),
    ({"tail_kept": 1.5, "modes_alive": 0.3}, "late"),
    ({"tail_kept": float("nan")}, "early"),
    ({"modes_alive": 1.5}, "healthy"),
])
def test_precedence(centres: dict[str, float], expected: str) -> None:
    # the node is judged by the median of the two, which lies half way
    half = {name: 2 * value - 1 for name, value in centres.items()}
    assert staged(**half)[0] == expected
    assert staged(**centres)[1] == ["healthy", expected]


def test_what_is_not_measured_or_not_calibrated_is_passed_over() -> None:
    table = {"kind": ["model"] * 200, "metric": ["tail_kept"] * 100 + ["modes_alive"] * 100, "feature": [""] * 200,
             "value": 1 + 0.01 * Rng("passed over").normal((200,))}
    low, level = np.array([0.5, 0.5]), np.array([1.0, 1.0])
    found, alone = stage({"tail_kept": low, "variance_ratio": 0 * low}, Bands(table), 10)
    assert found.stage == "early" and alone == ["early", "early"] and [s.metric for s in found.signs] == ["tail_kept"]
    assert stage({"tail_kept": level, "w9": low}, Bands(table), 10)[1] == ["healthy", "healthy"]
    assert stage({"variance_ratio": low}, Bands(table), 10)[1] == ["healthy", "healthy"]
    assert stage({}, Bands(table), 10)[1] == []


# --------------------------------------------------------------------------------- controls and collapse


def line() -> tuple[Frame, RealData]:
    source = Source()
    rng = Rng("calibration", "line")
    frame = Frame.freeze(source.draw(1000, 1, rng.at("ref")), source.draw(10_000, 1, rng.at("real")), (), ROWS)
    first = Part.of(source.draw(ROWS, 1, rng.at("first")), "line-real", 0, synthetic=False)
    return frame, RealData("line-real", first, source.draw, exact=True)


@pytest.fixture(scope="module")
def calibrated() -> tuple[Frame, Bands, pa.Table]:
    frame, real = line()
    table = floor(Model(), real, frame.schema, ROWS, ROWS, 200, frame, Rng(1, "line", "calibration"))
    return frame, Bands(table), table


def measured(sample: Rows, frame: Frame) -> dict[str, np.ndarray]:
    metrics = [Spread(), Tails(), *([Labels()] if frame.schema.label else [])]
    found = {m.metric: m.values for metric in metrics for m in metric.measure(sample, frame) if m.feature == ""}
    return {name: found[name] for name in judged(found)}


def alarms(values: dict[str, np.ndarray], bands: Bands, generations: int, replicates: int) -> np.ndarray:
    """Whether each node of each run (runs, generations) is anything but healthy."""
    shaped = {name: v.reshape(-1, generations, replicates) for name, v in values.items()}
    runs = len(next(iter(shaped.values())))
    return np.array([[stage({k: v[i, g] for k, v in shaped.items()}, bands, generations)[0].stage != "healthy"
                      for g in range(generations)] for i in range(runs)])


def test_the_table_holds_both_kinds_and_every_fit(calibrated: tuple) -> None:
    table = calibrated[2]
    assert table.column_names == ["kind", "replicate", "metric", "feature", "value"]
    assert table.schema.field("replicate").type == pa.int32()
    frame = table.to_pandas()
    assert set(frame["kind"]) == {"model", "real"}
    fits = frame.groupby(["kind", "metric", "feature"])["replicate"].agg(["nunique", "min"]).reset_index()
    step = fits["metric"].str.endswith("_step")
    assert step.any() and (fits["nunique"] == 200 - step).all()  # before the first fit there is none
    assert (fits["min"] == step).all()
    ratio = frame[frame["metric"] == "variance_ratio"]
    model, real = (ratio[ratio["kind"] == kind]["value"] for kind in ("model", "real"))
    # fitting and sampling again adds the noise of a second draw
    assert model.var() / real.var() == pytest.approx(2, rel=0.5)
    assert not np.array_equal(model.to_numpy(), real.to_numpy())


def test_a_shorter_calibration_is_the_beginning_of_a_longer_one(calibrated: tuple) -> None:
    frame, real = line()
    short = floor(Model(), real, frame.schema, ROWS, ROWS, 128, frame, Rng(1, "line", "calibration")).to_pandas()
    full = calibrated[2].to_pandas()
    keys = ["kind", "metric", "feature", "replicate"]
    both = short.merge(full[full["replicate"] < 128], on=keys, how="outer", suffixes=("", "_full"))
    assert len(both) == len(short)
    assert (both["value"] == both["value_full"]).all()


def test_a_step_is_what_a_control_takes(calibrated: tuple) -> None:
    """The means of n rows sampled from two fits to n rows each differ by a variance of 4/n, of real rows by 2/n."""
    frame = calibrated[2].to_pandas()
    found = frame[frame["metric"] == "mean_shift_step"].groupby("kind")["value"].agg(lambda v: np.mean(v**2))
    assert found["model"] == pytest.approx(4 / ROWS, rel=0.3)
    assert found["real"] == pytest.approx(2 / ROWS, rel=0.3)
    bands = calibrated[1]
    assert 0 < bands.band("w1_step", replicates=5, cells=20).high < 1


def test_fits_of_one_chunk_each_take_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, real = line()
    monkeypatch.setattr("collapse.floor.CHUNK", 1)
    table = floor(Model(), real, frame.schema, ROWS, ROWS, 4, frame, Rng(1, "line", "calibration")).to_pandas()
    assert table[(table["metric"] == "w1_step") & (table["kind"] == "model")]["replicate"].tolist() == [1, 2, 3]
    one = floor(Model(), real, frame.schema, ROWS, ROWS, 1, frame, Rng(1, "line", "calibration")).to_pandas()
    assert "w1" in set(one["metric"]) and "w1_step" not in set(one["metric"])


@pytest.mark.parametrize(("replicates", "generations"), [(1, 5), (5, 2)])
def test_controls_on_a_line_raise_few_alarms(calibrated: tuple, replicates: int, generations: int) -> None:
    """300 control runs: 1 % family-wise is promised; 3.3 % is 4 standard errors above it."""
    frame, bands, _ = calibrated
    runs = 300
    total = runs * generations * replicates
    pools = Source().draw(ROWS, total, Rng("judged", replicates, "pool"))
    model = Model()
    sample = model.sample(model.fit(pools, Rng("fit")), frame.schema, ROWS, Rng("judged", replicates, "sample"))
    bad = alarms(measured(sample, frame), bands, generations, replicates)
    assert bad.any(axis=1).mean() <= 0.033
    assert bad.mean() <= 0.01


def test_the_median_sees_the_tails_go_where_the_mean_does_not(calibrated: tuple) -> None:
    """10 studies of 50 replicates, replace: a few inflate and hold the mean up while most lose their tails."""
    frame, bands, _ = calibrated
    model, rng = Model(ddof=1), Rng("inflation")
    rows = Source().draw(ROWS, 500, rng.at("pool"))
    for t in range(1, 101):
        rows = model.sample(model.fit(rows, rng.at(t, "fit")), frame.schema, ROWS, rng.at(t, "sample"))
    tails = measured(rows, frame)["tail_kept"].reshape(10, 50)
    band = bands.band("tail_kept", replicates=50, cells=300)
    assert (tails.mean(axis=1) > np.median(tails, axis=1)).all()  # few inflate, most collapse
    assert (np.median(tails, axis=1) < band.low).sum() >= 6


def test_replace_is_found(calibrated: tuple) -> None:
    """Power: the fully synthetic loop at n = 100 is found in most of 20 studies of 10 replicates by t = 60."""
    frame, bands, _ = calibrated
    model, rng = Model(ddof=0), Rng("power")
    rows, stages = Source().draw(ROWS, 200, rng.at("pool")), {}
    for t in range(1, 61):
        rows = model.sample(model.fit(rows, rng.at(t, "fit")), frame.schema, ROWS, rng.at(t, "sample"))
        if t in (1, 60):
            values = {name: v.reshape(20, 10) for name, v in measured(rows, frame).items()}
            stages[t] = [stage({k: v[i] for k, v in values.items()}, bands, 60)[0].stage for i in range(20)]
    assert stages[1].count("healthy") >= 19
    # the typical variance is then 0.30 of the true one: material in most studies, and a loss in all
    assert stages[60].count("late") >= 10 and stages[60].count("late") + stages[60].count("early") >= 17


def class_gaussians(rows: Rows, n: int, rng: Rng) -> Rows:
    """A Gaussian per digit (mean, covariance), drawn with the labels' own shares; one fit per replicate."""
    images, labels = [], []
    for r, generator in enumerate(rng.each(rows.replicates)):
        x, y = rows["image"][r].reshape(rows.n, -1), rows["label"][r]
        said = generator.choice(y, n)
        out = np.empty((n, x.shape[1]))
        for c in np.unique(said):
            own = x[y == c]
            noise = generator.standard_normal(((said == c).sum(), x.shape[1]))
            covariance = np.cov(own.T) if len(own) > 1 else 0  # a class may be down to one row
            out[said == c] = own.mean(axis=0) + noise @ root(covariance + 1e-6 * np.eye(x.shape[1])).T
        images.append(out.reshape(n, 8, 8))
        labels.append(said)
    return Rows(rows.schema, {"image": np.stack(images), "label": np.stack(labels).astype(np.int32)})


class ClassGaussians(Base):
    """The same as a model, for :func:`floor`."""

    kind = "class-gaussians"

    def fit(self, rows: Rows, rng: Rng) -> dict:
        return {"rows": rows, "rng": rng}

    def sample(self, parameters: dict, schema: object, n: int, rng: Rng) -> Rows:
        return class_gaussians(parameters["rows"], n, rng)


def test_digits_controls_are_healthy_and_replace_is_not() -> None:
    rows, rng = Digits().load(), Rng("calibration", "digits")
    order = rng.at("split").choice(rows.n, rows.n, 1)
    reference, bank = rows.take(order[:, :540]), rows.take(order[:, 540:])
    frame = Frame.freeze(reference, bank, (), 300)
    real = RealData.from_bank("digits-real", Part.of(bank.head(300), "digits-real", 0, synthetic=False), bank)
    bands = Bands(floor(ClassGaussians(), real, rows.schema, 300, 300, 60, frame, rng.at("calibration")))
    some = {"variance_ratio", "entropy_power", "regions_alive", "modes_alive", "effective_classes", "tail_kept",
            "label_agreement", "mean_shift"}
    assert some <= set(judged(bands.metrics())) <= set(STAGED)
    controls = class_gaussians(real.draw(300, 120, rng.at("pool")), 300, rng.at("control"))
    bad = alarms(measured(controls, frame), bands, 8, 5)  # 3 runs of 8 generations of 5 replicates
    assert bad.mean() <= 0.05
    sample = real.draw(300, 5, rng.at("first"))
    for t in range(12):
        sample = class_gaussians(sample, 300, rng.at("replace", t))
    node, each = stage(measured(sample, frame), bands, 8)
    assert node.stage in ("early", "late") and node.kept < 0.6
    assert all(one in ("early", "late") for one in each)
