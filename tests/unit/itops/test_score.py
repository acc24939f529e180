"""Scores of forecasts against closed forms, brute force and what they must say of a right forecast."""

import numpy as np
import pytest
from scipy import stats

from itops.score import (
    BadScore,
    actual_to_expected,
    crps_counts,
    crps_draws,
    gini,
    kupiec,
    poisson_deviance,
    randomised_pit,
    tenths,
)


def test_the_band_of_a_ratio_is_that_of_the_count() -> None:
    found = actual_to_expected("x", 12, 10.0)
    assert (found.ratio, found.low, found.high) == (1.2, 0.5, 1.5)
    assert found.inside
    wide = actual_to_expected("x", 16, 10.0, cv2=0.25)
    assert wide.high == stats.nbinom.ppf(0.95, 4, 4 / 14) / 10
    assert wide.inside
    assert not actual_to_expected("x", 16, 10.0).inside
    nothing = actual_to_expected("x", 1, 0.0)
    assert np.isnan(nothing.ratio)
    assert not nothing.inside


def test_tenths_split_units_at_their_edges() -> None:
    found = tenths(np.array([8.0, 2.0]), np.array([6.0, 4.0]), np.array([1.0, 9.0]))
    assert (found[0].n_actual, found[0].expected, found[0].share_of_actual) == (8.0, 6.0, 0.8)
    assert sum(each.n_actual for each in found) == pytest.approx(10.0)
    # The second unit's edges lie inside it: each ninth of it is a tenth of the exposure.
    assert found[5].expected == pytest.approx(4.0 / 9)
    assert found[0].lift == pytest.approx(8.0)


def test_gini_is_the_lorenz_area_and_does_not_see_the_order_of_the_file() -> None:
    a, e, w = np.array([0.0, 1.0, 3.0]), np.array([1.0, 2.0, 3.0]), np.ones(3)
    # Points (1/3, 0), (2/3, 1/4), (1, 1): twice the area under the curve is (0 + 1/4 + 1/4 + 1) / 3.
    assert gini(a, e, w) == pytest.approx(1 - (0.25 + 1.25) / 3)
    assert gini(a[::-1], e[::-1], w) == pytest.approx(gini(a, e, w))
    assert gini(np.array([5.0, 0.0]), np.ones(2), np.ones(2)) == pytest.approx(0.0)
    assert gini(a, 4.0 - e, w) == pytest.approx(-gini(a, e, w))


@pytest.mark.parametrize("cv2", [0.0, 0.4])
def test_crps_of_counts_is_that_of_its_draws(cv2: float) -> None:
    rng = np.random.default_rng(3)
    rate = 7.0 if cv2 == 0 else rng.gamma(1 / cv2, cv2 * 7.0, 300_000)
    draws = rng.poisson(rate, 300_000).astype(np.float64)
    found = crps_counts(np.array([11.0]), np.array([7.0]), np.array([cv2]))[0]
    assert found == pytest.approx(crps_draws(11.0, draws), rel=0.01)


def test_crps_of_draws_against_the_double_sum() -> None:
    x = np.array([1.0, 4.0, 2.0])
    brute = np.mean(np.abs(x - 3)) - np.mean(np.abs(x[:, None] - x[None, :])) / 2
    assert crps_draws(3.0, x) == pytest.approx(brute)


def test_pit_is_uniform_where_the_forecast_is_right_and_not_where_it_is_wrong() -> None:
    rng = np.random.default_rng(4)
    mean = rng.uniform(0.1, 20.0, 5000)
    cv2 = np.where(rng.random(5000) < 0.5, 0.0, 0.3)
    n = rng.poisson(mean * np.where(cv2 > 0, rng.gamma(1 / 0.3, 0.3, 5000), 1.0)).astype(np.float64)
    assert stats.kstest(randomised_pit(n, mean, cv2, rng), "uniform").pvalue > 0.01
    assert stats.kstest(randomised_pit(n, mean * 1.3, cv2, rng), "uniform").pvalue < 1e-6


def test_kupiec_of_a_year_of_exceedances() -> None:
    """Kupiec's example in common use: 255 days, level 99 %; fewer than 7 exceedances do not reject at 5 %."""
    six = np.arange(255) < 6
    assert kupiec(six, 0.99).p_value > 0.05
    assert kupiec(np.arange(255) < 7, 0.99).p_value < 0.05
    exact = -2 * (249 * np.log(0.99) + 6 * np.log(0.01)) + 2 * (249 * np.log(249 / 255) + 6 * np.log(6 / 255))
    assert kupiec(six, 0.99).statistic == pytest.approx(exact)
    assert kupiec(np.zeros(100, dtype=bool), 0.99).statistic == pytest.approx(-200 * np.log(0.99))


def test_deviance_and_what_cannot_be_scored() -> None:
    assert poisson_deviance(np.array([2.0, 0.0]), np.array([1.0, 0.5])) == pytest.approx(2 * (2 * np.log(2) - 1) + 1)
    assert poisson_deviance(np.array([1.0]), np.array([0.0])) == np.inf
    with pytest.raises(BadScore):
        gini(np.zeros(2), np.ones(2), np.ones(2))
    with pytest.raises(BadScore):
        tenths(np.array([1.0]), np.array([np.nan]), np.array([1.0]))
    with pytest.raises(BadScore):
        kupiec(np.zeros(0, dtype=bool), 0.99)
