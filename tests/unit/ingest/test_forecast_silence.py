"""A gauge that falls silent leaves a forecast that water can follow, that widens with its age, and that ends."""

import random
from pathlib import Path

import numpy as np
import pytest

from ingest.forecast import verify as verb
from ingest.forecast.calibration import table_at
from ingest.forecast.gauge import HOUR_S
from ingest.forecast.models import (
    HORIZONS_H,
    MIDDLE,
    QUIET_REACH,
    REACH,
    RECORD_MARGIN,
    Forecast,
    Forecaster,
    Pool,
    damped_hours,
)
from ingest.forecast.outlook import WITHHELD_AFTER

Readings = list[tuple[float, float]]


def lean(pool: Pool | None = None) -> Forecaster:
    return Forecaster(HORIZONS_H, table_at(HORIZONS_H), pool, only_chosen=True)


def moved(readings: Readings, hours: float) -> tuple[float, float]:
    """The largest rise and fall between any two readings at most this far apart."""
    times, levels = (np.array(c) for c in zip(*readings, strict=True))
    change = levels[None, :] - levels[:, None]
    apart = times[None, :] - times[:, None]
    change = change[(apart >= 0) & (apart <= hours * HOUR_S)]
    return float(change.max()), float(-change.min())


def assert_within_reason(told: Forecast, forecaster: Forecaster, quiet_m: float) -> None:
    """The laws, from the believed readings alone; `quiet_m` is the error's scale in water that stands, at each hour."""
    believed = list(zip(forecaster.gauge.times, forecaster.gauge.levels, strict=True))
    level = believed[-1][1]
    rows, path = told.quantiles[0], told.paths[0]
    assert (np.diff(rows, axis=1) >= -1e-9).all(), "quantiles in order"
    assert (np.diff(rows[:, -1] - rows[:, 0]) >= -1e-9).all(), "never narrower at a longer horizon"
    room = 0.0
    for k, hours in enumerate(HORIZONS_H):
        rise, fall = moved(believed, hours)
        quiet = 0.01 + quiet_m + 0.005 * hours
        up = max(path[k] - level, rise, QUIET_REACH * quiet / 2)
        down = max(level - path[k], fall, QUIET_REACH * quiet / 2)
        assert level - down - 1e-9 <= rows[k, MIDDLE] <= level + up + 1e-9, (
            "the middle stays where water has been known to go"
        )
        most = max(up, RECORD_MARGIN * rise, QUIET_REACH * quiet, told.reach[k] - level)
        room = max(room, level + most - rows[k, MIDDLE])
        assert rows[k, -1] <= rows[k, MIDDLE] + room + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_no_quantile_leaves_what_the_water_can_do(seed: int) -> None:
    """Whatever comes: steps of 5 minutes to 2 hours, waves, spikes, a stuck sensor, a datum far below zero."""
    rng = random.Random(seed)
    pool = Pool(1, table_at(HORIZONS_H))
    gauges = [lean(pool) for _ in range(3)]
    step_s, datum = rng.choice([300.0, 600.0, HOUR_S]), rng.choice([-40.0, 0.0, 80.0])
    time_s = 0.0
    for k in range(240):
        time_s += step_s * rng.choice([1.0, 1.0, 1.0, 2.0])
        wave = rng.choice([0.0, 6.0]) * np.exp(-(((k - 120) / 30.0) ** 2)) if k % 7 == 0 else 0.0
        wave += 4.0 * np.exp(-(((k - 120) / 25.0) ** 2))
        for n, one in enumerate(gauges):
            level = datum + n + wave + (rng.gauss(0, 0.02) if k < 180 else 0.0)
            near = [g for g in gauges if g is not one]
            told = one.step(time_s + n, level, near)
            if k % 12 and k < 225:
                continue
            day = [v for t, v in zip(one.gauge.times, one.gauge.levels, strict=True) if t >= time_s + n - 24 * HOUR_S]
            assert_within_reason(told, one, float(np.mean(np.abs(np.diff(day)))) if len(day) > 2 else 0.02)


def test_what_is_read_six_times_as_often_is_not_six_times_as_sure() -> None:
    """Overlapping outcomes are not independent: read every ten minutes, a wave leaves about the widths of hourly ones."""
    widths = {}
    for minutes in (10, 60):
        pool = Pool(1, table_at(HORIZONS_H))
        gauges = [lean(pool) for _ in range(6)]
        told = None
        for k in range(int(48 * 60 / minutes)):
            hour = k * minutes / 60.0
            for n, one in enumerate(gauges):
                told = one.step(hour * HOUR_S + n, 1.0 + 3.0 / (1.0 + np.exp(-(hour - 30.0) / 2.0)), [])
        assert told is not None
        scores = gauges[0].scores[0] + pool.shift[0]
        widths[minutes] = scores[:, -1] - scores[:, 0]
    assert (widths[10] < 1.5 * widths[60]).all()


def test_many_gauges_move_the_shared_part_no_faster_than_some() -> None:
    """A hundred gauges that all rise would else swing the quantiles of all before the first outcome could stop it."""
    shifts = {}
    for n_gauges in (24, 96):
        pool = Pool(1, table_at(HORIZONS_H))
        gauges = [lean(pool) for _ in range(n_gauges)]
        for k in range(30):
            for n, one in enumerate(gauges):
                one.step(k * HOUR_S + n, 1.0 + 0.02 * k**2, [])
        shifts[n_gauges] = float(np.abs(pool.shift).max())
    assert shifts[96] < 1.1 * shifts[24]


def _ditwah(shared_data: Path) -> verb.Series:
    folder = shared_data / "warning" / "floods"
    stations = verb.read_stations(folder / "ditwah2025_lk_stations_dev.csv")
    return verb.read_levels(folder / "ditwah2025_lk_levels_dev.csv", stations)


def _every_ten_minutes(readings: Readings, first: float, last: float) -> Readings:
    times, levels = (np.array(c) for c in zip(*readings, strict=True))
    at = np.arange(max(first, times[0]), min(last, times[-1]), 600.0)
    return list(zip(at.tolist(), np.interp(at, times, levels).tolist(), strict=True))


@pytest.mark.parametrize("age_h", [0.0, 1.0, 2.0, 3.0])
def test_a_real_gauge_cut_in_the_middle_of_its_rise(shared_data: Path, age_h: float) -> None:
    """Ditwah's gauges read every ten minutes, the fastest riser dead halfway up, its neighbours going on.

    What is told for each hour ahead of an aged forecast is at least as wide as a fresh one was for as many hours ahead,
    and the middle rises by no more than twice the real flood of that gauge.
    """
    series = _ditwah(shared_data)
    rise = {name: moved(readings, 12.0)[0] for name, readings in series.items()}
    chosen = sorted(rise, key=lambda name: -rise[name])[:6]
    dead, readings = chosen[0], series[chosen[0]]
    top_s = max(readings, key=lambda one: one[1])[0]
    low = min(v for t, v in readings if t >= top_s - 24 * HOUR_S)
    cut = min(t for t, v in readings if t > top_s - 24 * HOUR_S and v >= low + (readings_top(readings) - low) / 2)
    pool = Pool(1, table_at(HORIZONS_H))
    gauges = {name: lean(pool) for name in chosen}
    events = sorted(
        (t, name, v)
        for name in chosen
        for t, v in _every_ten_minutes(series[name], cut - 36 * HOUR_S, cut + age_h * HOUR_S)
        if name != dead or t <= cut
    )
    told = None
    for t, name, v in events:
        made = gauges[name].step(t, v, [g for other, g in gauges.items() if other != name])
        if name == dead:
            told = made
    assert told is not None
    assert age_h * HOUR_S <= WITHHELD_AFTER.total_seconds()
    rows, level = told.quantiles[0], gauges[dead].gauge.levels[-1]
    flood = readings_top(readings) - low
    assert rows[:, MIDDLE].max() - level <= 2 * flood
    assert rows[:, -1].max() - level <= max(RECORD_MARGIN * flood, told.reach[-1] - level) + flood
    width = rows[:, -1] - rows[:, 0]
    lead = np.array([h for h in HORIZONS_H if h + age_h <= HORIZONS_H[-1]])
    aged = np.interp(lead + age_h, HORIZONS_H, width)
    assert (aged >= np.interp(lead, HORIZONS_H, width) - 1e-9).all()
    if age_h:
        assert aged[0] > width[0]


def readings_top(readings: Readings) -> float:
    return max(v for _, v in readings)


def test_the_reach_is_that_of_the_steepest_slope_doubled() -> None:
    one = lean()
    told = one.step(0.0, 1.0, [])
    for k in range(1, 8):
        told = one.step(k * HOUR_S, 1.0 + 0.5 * k, [])
    assert told.reach - 4.5 == pytest.approx(REACH * 0.5 * damped_hours(np.array(HORIZONS_H)))
