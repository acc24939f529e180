"""Failure rates by age: against scipy's fits, likelihoods written out, and what records must be refused."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from itops.hazard import BadRecord, NoConvergence, fit_piecewise, fit_power_law, fit_weibull, records


def simulated(n: int, seed: int, shape: float = 1.4, scale: float = 900.0) -> tuple[np.ndarray, ...]:
    """Units that enter at a random age, alive, and are watched for up to a year of 365 days."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=n), rng.random(n) < 0.3]).astype(float)
    relative = np.exp(x @ np.array([0.5, -0.8]))
    start = np.where(rng.random(n) < 0.2, 0.0, rng.uniform(0, 1500, n))
    # T | T > start by inverting the cumulative hazard.
    life = scale * ((start / scale) ** shape + rng.exponential(size=n) / relative) ** (1 / shape)
    stop = np.minimum(life, start + rng.uniform(100, 365, n))
    return start, stop, life <= stop, x


def test_without_truncation_it_is_scipys_censored_fit() -> None:
    rng = np.random.default_rng(3)
    life = stats.weibull_min.rvs(0.8, scale=500, size=400, random_state=rng)
    stop, failed = np.minimum(life, 600.0), life <= 600.0
    fit = fit_weibull(records(np.zeros(400), stop, failed))
    shape, _, scale = stats.weibull_min.fit(stats.CensoredData.right_censored(stop, ~failed), floc=0)
    assert fit.shape == pytest.approx(shape, rel=1e-4)
    assert fit.scale == pytest.approx(scale, rel=1e-4)


def test_left_truncation_and_covariates_against_the_likelihood_written_out() -> None:
    start, stop, failed, x = simulated(600, 11)

    def cost(p: np.ndarray) -> float:
        scale = np.exp(p[1] - (x @ p[2:]) / np.exp(p[0]))
        law = stats.weibull_min(np.exp(p[0]), scale=scale)
        return -float(np.sum(np.where(failed, law.logpdf(stop), law.logsf(stop)) - law.logsf(start)))

    found = optimize.minimize(cost, [0.0, 6.0, 0.0, 0.0], method="BFGS", options={"gtol": 1e-6})
    fit = fit_weibull(records(start, stop, failed, covariates=x))
    assert np.log(fit.shape) == pytest.approx(found.x[0], abs=1e-4)
    assert np.log(fit.scale) == pytest.approx(found.x[1], abs=1e-4)
    assert fit.coefficient == pytest.approx(found.x[2:], abs=1e-4)
    assert fit.log_likelihood == pytest.approx(-found.fun, abs=1e-6)
    step = 1e-4
    eye = np.eye(4) * step
    centre = found.x
    hessian = np.array(
        [
            [
                (
                    cost(centre + a + b) - cost(centre + a - b) - cost(centre - a + b) + cost(centre - a - b)
                ) / (4 * step * step)
                for b in eye
            ]
            for a in eye
        ]
    )  # fmt: skip
    assert fit.covariance == pytest.approx(np.linalg.inv(hessian), rel=2e-3, abs=2e-5)


def test_ignoring_left_truncation_would_bias_the_shape() -> None:
    start, stop, failed, x = simulated(20_000, 5)
    honest = fit_weibull(records(start, stop, failed, covariates=x))
    naive = fit_weibull(records(np.zeros(len(start)), stop, failed, covariates=x))
    assert honest.shape == pytest.approx(1.4, abs=4 * math.sqrt(honest.covariance[0, 0]) * 1.4)
    assert honest.scale == pytest.approx(900, rel=4 * math.sqrt(honest.covariance[1, 1]))
    assert honest.coefficient == pytest.approx([0.5, -0.8], abs=0.12)
    assert abs(naive.shape - 1.4) > 5 * abs(honest.shape - 1.4)


def test_a_weight_is_so_many_units_and_a_spell_may_be_cut_anywhere() -> None:
    start, stop, failed, x = simulated(500, 2)
    once = fit_weibull(records(start, stop, failed, covariates=x, weight=np.where(failed, 1.0, 2.0)))
    again = np.concatenate([np.arange(500), np.flatnonzero(~failed)])
    twice = fit_weibull(records(start[again], stop[again], failed[again], covariates=x[again]))
    assert (once.shape, once.scale) == pytest.approx((twice.shape, twice.scale), rel=1e-8)
    middle = (start + stop) / 2
    cut = fit_weibull(
        records(
            np.concatenate([start, middle]),
            np.concatenate([middle, stop]),
            np.concatenate([np.zeros(500, dtype=bool), failed]),
            covariates=np.vstack([x, x]),
        )
    )
    whole = fit_weibull(records(start, stop, failed, covariates=x))
    assert (cut.shape, cut.scale) == pytest.approx((whole.shape, whole.scale), rel=1e-8)
    assert cut.coefficient == pytest.approx(whole.coefficient, rel=1e-6)


def test_piecewise_without_covariates_is_failures_over_exposure() -> None:
    data = records(
        np.array([0.0, 50.0, 0.0, 100.0]), np.array([150.0, 100.0, 100.0, 300.0]), np.array([True, True, False, True])
    )
    fit = fit_piecewise(data, np.array([0.0, 100.0, 200.0, 400.0, 500.0]))
    assert fit.exposure == pytest.approx([250.0, 150.0, 100.0, 0.0])
    assert fit.n_failures == pytest.approx([1.0, 1.0, 1.0, 0.0])
    assert fit.rate[:3] == pytest.approx([1 / 250, 1 / 150, 1 / 100])
    assert math.isnan(fit.rate[3])


def test_piecewise_with_covariates_against_the_likelihood_written_out() -> None:
    start, stop, failed, x = simulated(800, 17)
    edges = np.array([0.0, 400.0, 900.0, 3000.0])
    fit = fit_piecewise(records(start, stop, failed, covariates=x), edges)
    inside = np.maximum(np.minimum(stop[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1]), 0)
    died = failed[:, None] & (stop[:, None] > edges[:-1]) & (stop[:, None] <= edges[1:])

    def cost(p: np.ndarray) -> float:
        log_rate = p[:3] + (x @ p[3:])[:, None]
        return -float(np.sum(died * log_rate) - np.sum(inside * np.exp(log_rate)))

    found = optimize.minimize(cost, [-7.0, -7.0, -7.0, 0.0, 0.0], method="BFGS", options={"gtol": 1e-7})
    assert np.log(fit.rate) == pytest.approx(found.x[:3], abs=1e-4)
    assert fit.coefficient == pytest.approx(found.x[3:], abs=1e-4)
    assert fit.log_likelihood == pytest.approx(-found.fun, abs=1e-5)


def test_power_law_of_one_unit_in_closed_form() -> None:
    """Crow (1974): a unit watched from new to T has beta = m / sum(log(T / t)), eta = T / m^(1 / beta)."""
    ages, end = np.array([55.0, 166.0, 205.0, 341.0, 488.0, 567.0, 731.0, 1308.0, 2050.0, 2453.0]), 3000.0
    fit = fit_power_law(np.array([0.0]), np.array([end]), ages)
    beta = len(ages) / np.sum(np.log(end / ages))
    assert fit.shape == pytest.approx(beta, rel=1e-9)
    assert fit.scale == pytest.approx(end / len(ages) ** (1 / beta), rel=1e-9)
    assert fit.expected(0, end) == pytest.approx(len(ages))


def test_power_law_of_many_truncated_units() -> None:
    rng = np.random.default_rng(4)
    start, stop = rng.uniform(0, 500, 400), rng.uniform(600, 2000, 400)
    total = (stop / 300) ** 1.3 - (start / 300) ** 1.3
    n = rng.poisson(total)
    ages = 300 * (np.repeat((start / 300) ** 1.3, n) + rng.random(n.sum()) * np.repeat(total, n)) ** (1 / 1.3)
    fit = fit_power_law(start, stop, ages)
    assert fit.shape == pytest.approx(1.3, abs=0.06)
    assert sum(fit.expected(a, b) for a, b in zip(start, stop, strict=True)) == pytest.approx(len(ages))


@pytest.mark.parametrize(
    ("field", "row", "value", "reason"),
    [
        ("start", 1, -1.0, "not negative"),
        ("stop", 2, 5.0, "after start"),
        ("stop", 0, math.nan, "after start"),
        ("weight", 1, 0.0, "positive"),
        ("covariates", 2, math.nan, "blank is unknown, not zero"),
    ],
)
def test_bad_records_are_named(field: str, row: int, value: float, reason: str) -> None:
    columns = {
        "start": np.array([0.0, 1.0, 5.0]), "stop": np.array([2.0, 3.0, 9.0]), "weight": np.ones(3),
        "covariates": np.array([[1.0], [2.0], [3.0]]),
    }  # fmt: skip
    columns[field][row] = value
    with pytest.raises(BadRecord, match=reason) as caught:
        records(columns["start"], columns["stop"], np.array([True, False, True]), weight=columns["weight"],
                covariates=columns["covariates"])  # fmt: skip
    assert caught.value.facts["row"] == row


def test_no_failure_and_a_constant_covariate_are_refused() -> None:
    with pytest.raises(BadRecord, match="Without a single failure"):
        records(np.zeros(2), np.ones(2), np.array([False, False]))
    with pytest.raises(BadRecord, match="same in every record"):
        fit_weibull(records(np.zeros(2), np.array([1.0, 2.0]), np.array([True, True]), covariates=np.ones((2, 1))))


def test_a_covariate_that_separates_has_no_estimate() -> None:
    x = np.repeat([0.0, 1.0], 50)[:, None]
    rng = np.random.default_rng(1)
    data = records(np.zeros(100), rng.uniform(1, 2, 100), x[:, 0] == 1, covariates=x)
    with pytest.raises(NoConvergence):
        fit_weibull(data)
    with pytest.raises(NoConvergence):
        fit_piecewise(data, np.array([0.0, 1.5, 2.0]))
