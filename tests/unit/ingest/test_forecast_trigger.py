"""A warning by forecast stands until the water is there or its horizon is over; the region stretches a gauge's rise."""

import numpy as np
import pytest

from ingest.forecast.calibration import table_at
from ingest.forecast.gauge import HOUR_S, State
from ingest.forecast.models import (
    CHOSEN,
    HORIZONS_H,
    MODELS,
    REGION_RANGE,
    Forecaster,
    Pool,
    guarded_path,
    lift,
    regional_path,
)
from ingest.forecast.prophet import baseline
from ingest.forecast.trigger import Trigger


def test_a_warning_stands_for_its_horizon_after_the_last_reading_that_spoke_for_it() -> None:
    trigger = Trigger(3.0, 6.0)
    assert not trigger.step(0.0, 2.0, 2.9, 2.9)
    assert trigger.step(1 * HOUR_S, 2.1, 3.0, 3.5)
    assert trigger.step(2 * HOUR_S, 2.2, 2.8, 2.9)  # no support, but its horizon is not over
    assert trigger.step(3 * HOUR_S, 2.2, 2.8, 3.1)  # it could still come to it: supported anew
    assert trigger.step(8.9 * HOUR_S, 2.2, 2.2, 2.2)
    assert not trigger.step(9 * HOUR_S, 2.2, 2.2, 2.2)
    assert not trigger.step(10 * HOUR_S, 2.2, 2.2, 4.0), "what could be does not raise a warning"


def test_the_water_at_the_level_ends_the_forecast_of_it() -> None:
    trigger = Trigger(3.0, 6.0)
    assert trigger.step(0.0, 2.5, 3.2, 4.0)
    assert not trigger.step(HOUR_S, 3.0, 3.6, 4.0)
    assert not trigger.step(2 * HOUR_S, 2.9, 2.7, 2.8), "the crest is past"


def test_the_region_stretches_a_rise_and_never_a_fall() -> None:
    at = np.array([6.0])
    rising = State(0.0, 2.0, 0.1, 0.1, 0.1, 0.01, False)
    falling = State(0.0, 2.0, -0.1, -0.1, -0.1, 0.01, False)
    alone = regional_path(rising, None, at)
    assert regional_path(rising, 1.0, at) > alone > regional_path(rising, -0.5, at) > 2.0
    assert regional_path(falling, 2.0, at) == pytest.approx(guarded_path(falling, at))
    assert (lift(-9.0), lift(None), lift(9.0)) == (REGION_RANGE[0], 1.0, REGION_RANGE[1])


def test_neighbours_that_rise_make_the_path_higher() -> None:
    table = table_at(HORIZONS_H)
    tops = {}
    for other_rises in (False, True):
        here, other = Forecaster(HORIZONS_H, table), Forecaster(HORIZONS_H, table)
        made = None
        for k in range(30):
            other.step(k * HOUR_S, 1.0 + (0.3 * max(0, k - 24) if other_rises else 0.0), [])
            made = here.step(k * HOUR_S + 1, 1.0 + 0.1 * max(0, k - 25), [other])
        assert made is not None
        tops[other_rises] = made.paths[MODELS.index("regional_trend"), -1]
    assert tops[True] > tops[False] + 0.01


def test_what_one_gauge_learns_widens_the_others() -> None:
    """Pooled conformal scores: errors at one gauge move the quantiles of all."""
    table = table_at(HORIZONS_H)
    pool = Pool(len(MODELS), table)
    first, second = Forecaster(HORIZONS_H, table, pool), Forecaster(HORIZONS_H, table, pool)
    alone = Forecaster(HORIZONS_H, table)
    level = 1.0
    for k in range(60):
        level += 0.8 if k > 30 and k % 6 == 0 else 0.0
        first.step(k * HOUR_S, level, [])
        pooled = second.step(k * HOUR_S + 1, 1.0, [])
        lone = alone.step(k * HOUR_S + 1, 1.0, [])
    highest = [float(one.quantiles[0, HORIZONS_H.index(1.0), -1]) for one in (pooled, lone)]
    assert highest[0] > highest[1]


def test_the_lean_forecaster_says_what_the_whole_one_says() -> None:
    rng = np.random.default_rng(8)
    table = table_at(HORIZONS_H)
    whole = [Forecaster(HORIZONS_H, table) for _ in range(2)]
    lean = [Forecaster(HORIZONS_H, table, only_chosen=True) for _ in range(2)]
    chosen = MODELS.index(CHOSEN)
    level = np.array([1.0, 2.0])
    for k in range(80):
        level = level + rng.normal(0.02, 0.1, 2)
        for one in range(2):
            told = [pair[one].step(k * HOUR_S + one, float(level[one]), [pair[1 - one]]) for pair in (whole, lean)]
            np.testing.assert_allclose(told[1].paths[0], told[0].paths[chosen])
            np.testing.assert_allclose(told[1].quantiles[0], told[0].quantiles[chosen])
            np.testing.assert_allclose(told[1].reach, told[0].reach)


def test_prophet_gives_a_daily_pattern_and_its_range() -> None:
    pytest.importorskip("prophet")
    rng = np.random.default_rng(3)
    times = np.arange(0, 6 * 24, 1.0) * HOUR_S
    values = 2.0 + 0.5 * np.sin(times / HOUR_S / 24 * 2 * np.pi) + rng.normal(0, 0.02, len(times))
    fitted = baseline(list(times), list(values))
    assert fitted is not None
    ahead = times[-1] + np.arange(1, 25) * HOUR_S
    expected, low, high = fitted.at(ahead)
    truth = 2.0 + 0.5 * np.sin(ahead / HOUR_S / 24 * 2 * np.pi)
    assert np.abs(expected - truth).mean() < 0.15
    assert ((low <= truth) & (truth <= high)).mean() > 0.8
    assert baseline(list(times[:5]), list(values[:5])) is None
