"""Forecasts know nothing of the future, hold a fall that no river makes, and are scored by the published rules."""

import csv
import importlib.util
import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.forecast_selection import seen_at
from ingest.forecast import verify as verb
from ingest.forecast.calibration import table_at
from ingest.forecast.gauge import HOUR_S, Gauge
from ingest.forecast.models import CHOSEN, HORIZONS_H, MODELS, TAUS, Forecast, Forecaster, ar_path, damped_hours
from ingest.forecast.score import bootstrap_csi, figures, outcomes
from tocsin.cli import app

RIVERS = {"Upper": "North", "Lower": "North", "Alone": "South"}


def flood(seed: int, hours: int = 96) -> verb.Series:
    """Three gauges with a flood wave each, irregular steps, noise and now and then a wrong low value."""
    rng = random.Random(seed)
    series: verb.Series = {}
    for k, name in enumerate(RIVERS):
        t, out = rng.random() * HOUR_S, []
        while t < hours * HOUR_S:
            wave = 4.0 * np.exp(-(((t / HOUR_S - 50 - 4 * k) / 9.0) ** 2))
            level = 1.0 + wave + rng.gauss(0, 0.02)
            out.append((t, level - 2.0 if rng.random() < 0.02 else level))
            t += HOUR_S * rng.choice([0.01, 0.5, 1.0, 1.0, 1.0, 2.0])
        series[name] = out
    return series


STATIONS = {n: verb.Station(n, b, {"alert": 2.0, "minor": 3.0, "major": 4.5}) for n, b in RIVERS.items()}


def cut(series: verb.Series, at: float) -> verb.Series:
    return {n: kept for n, r in series.items() if (kept := [x for x in r if x[0] <= at])}


def told(series: verb.Series) -> tuple[list[verb.WarningRow], dict[str, list[Forecast]]]:
    """All rows, and each station's forecasts."""
    made: dict[str, list[Forecast]] = {}
    run = verb.forecast(STATIONS, series, 6.0, seen=lambda name, one: made.setdefault(name, []).append(one))
    return list(run.rows()), made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cutting_the_record_changes_no_earlier_row(seed: int) -> None:
    """Also where gauges share their times and where some speak for the first time after the cut."""
    series = flood(seed)
    if seed == 3:
        series = {
            n: [(round(t / 1800) * 1800.0 + 1e-3 * k, v) for k, (t, v) in enumerate(r)] for n, r in series.items()
        }
        shared = [t for t, _ in series["Upper"]]
        series["Lower"] = [(t, 1.0 + 0.9 * v) for t, v in series["Upper"]]
        series["Alone"] = series["Alone"][len(series["Alone"]) // 2 :]
        assert shared == [t for t, _ in series["Lower"]]
    rows, forecasts = told(series)
    rng = random.Random(seed)
    for at in [rng.uniform(24, 90) * HOUR_S for _ in range(2)] + [series["Upper"][30][0]]:
        part_rows, part = told(cut(series, at))
        assert part_rows == [r for r in rows if r.time_s <= at]
        for name, made in part.items():
            for one, other in zip(made, forecasts[name], strict=False):
                np.testing.assert_array_equal(one.quantiles, other.quantiles)


def test_gauges_that_are_yet_to_speak_count_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What many gauges move together is shared among those that have spoken: else the file's end would be seen."""
    monkeypatch.setattr("ingest.forecast.models.POOL_STEP_PER_H", 0.02)  # as if three gauges were many
    series = flood(4)
    series["Alone"] = [one for one in series["Alone"] if one[0] > 60 * HOUR_S]
    rows, _ = told(series)
    part, _ = told(cut(series, 55 * HOUR_S))
    assert part == rows[: len(part)]


def test_a_later_value_does_change_later_rows() -> None:
    """The test above could not fail if the readings did not matter."""
    series = flood(1)
    other = {n: [(t, v + (0.5 if t > 40 * HOUR_S else 0.0)) for t, v in r] for n, r in series.items()}
    assert told(series)[0] != told(other)[0]


@pytest.mark.parametrize("seed", [5])
def test_the_running_sums_are_those_of_the_whole_record(seed: int) -> None:
    """Error, coverage and CRPS, from all forecasts kept and the whole series at once."""
    series = flood(seed)
    made: dict[str, list[Forecast]] = {}
    run = verb.forecast(STATIONS, series, 6.0, seen=lambda name, one: made.setdefault(name, []).append(one))
    scored = {str(row["model"]): row for row in verb.verify(run, STATIONS, series, 6.0, range(len(MODELS)), draws=2)}
    for k, hours in enumerate(HORIZONS_H):
        error, cover, loss = [], [], []
        for name, readings in series.items():
            for one, seen in zip(made[name], seen_at(readings, hours), strict=True):
                if np.isnan(seen) or one.time_s < readings[0][0] + 24 * HOUR_S:
                    continue
                rows = one.quantiles[:, k]
                error.append(np.abs(one.paths[:, k] - seen))
                cover.append((rows[:, 0] <= seen) & (seen <= rows[:, -1]))
                pinball = np.where(seen >= rows, TAUS * (seen - rows), (1 - TAUS) * (rows - seen))
                loss.append(2 * pinball.mean(axis=1))
        for m in range(len(MODELS)):
            row = scored[MODELS[m]]["horizons"][k]  # type: ignore[index]
            assert row["forecasts"] == len(error)
            assert (row["mae_m"], row["coverage_90"], row["crps_m"]) == pytest.approx(
                (np.mean(error, axis=0)[m], np.mean(cover, axis=0)[m], np.mean(loss, axis=0)[m])
            )


@pytest.mark.parametrize("seed", [7, 8])
def test_the_chance_is_the_quantiles_read_backwards(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quantiles = np.sort(rng.normal(2.0, 1.0, (4, len(HORIZONS_H), len(TAUS))), axis=2)
    quantiles[1, :, 4:9] = quantiles[1, :, 4:5]  # equal quantiles: a step
    one = Forecast(0.0, quantiles[:, :, 9], quantiles, quantiles[0, :, 9])
    within = np.asarray(HORIZONS_H) <= 6.0
    for level in (-9.0, 0.3, 2.0, 3.1, 9.0, float(quantiles[2, 3, 7]), float(quantiles[0, 0, -1])):
        expected = [
            max(1.0 - float(np.interp(level, row, TAUS, left=0.0, right=1.0)) for row in rows[within])
            for rows in quantiles
        ]
        assert one.chances(level, within) == pytest.approx(expected)


def test_a_fall_that_no_river_makes_is_held_until_confirmed() -> None:
    gauge = Gauge()
    for k in range(8):
        gauge.add(k * HOUR_S, 3.0 + 0.3 * k)
    held = gauge.add(7.1 * HOUR_S, 2.0)
    assert held.held
    assert held.level_m == pytest.approx(5.1)
    back = gauge.add(7.2 * HOUR_S, 5.15)
    assert not back.held
    assert 2.0 not in gauge.levels
    gauge.add(7.3 * HOUR_S, 2.0)
    confirmed = gauge.add(8.3 * HOUR_S, 1.9)
    assert not confirmed.held
    assert confirmed.level_m == 1.9


def test_a_fall_across_a_gap_is_believed_at_once() -> None:
    gauge = Gauge()
    gauge.add(0.0, 9.5)
    assert gauge.add(20 * HOUR_S, 3.0).level_m == 3.0


def test_damped_trend_is_the_published_sum() -> None:
    """Gardner and McKenzie (1985): the forecast h steps ahead adds slope times phi + phi**2 + ... + phi**h."""
    assert damped_hours(np.array([1.0, 3.0, 6.0])) == pytest.approx(
        [sum(0.8**k for k in range(1, h + 1)) for h in (1, 3, 6)]
    )


def test_ar_recovers_its_own_process() -> None:
    rng = np.random.default_rng(4)
    steps = [0.2, 0.1, 0.05]
    for _ in range(600):
        steps.append(0.6 * steps[-1] - 0.2 * steps[-2] + 0.1 * steps[-3] + rng.normal(0, 0.05))
    path = ar_path(np.cumsum(steps), 0.0, np.array([1.0]))
    assert path is not None
    assert path[0] == pytest.approx(0.6 * steps[-1] - 0.2 * steps[-2] + 0.1 * steps[-3], abs=0.03)


def test_quantiles_are_ordered_and_cover_what_they_say() -> None:
    """Online calibration brings a wrong beginning to the promised coverage (Gibbs and Candes 2021, prop. 4.1)."""
    rng = np.random.default_rng(5)
    level, inside, total, last = 2.0, 0, 0, None
    forecaster = Forecaster(HORIZONS_H, table_at(HORIZONS_H) * 0.1)
    for k in range(900):
        level += rng.normal(0, 0.1)
        made = forecaster.step(k * HOUR_S, level, [])
        assert (np.diff(made.quantiles, axis=2) >= 0).all()
        if last is not None and k > 300:
            low, high = last.quantiles[MODELS.index("persistence"), HORIZONS_H.index(1.0), [0, -1]]
            inside += low <= level <= high
            total += 1
        last = made
    assert TAUS[-1] - TAUS[0] == pytest.approx(0.9)
    assert 0.85 <= inside / total <= 0.95


def test_neighbours_learn_the_travel_time() -> None:
    """A gauge that repeats its upstream neighbour two hours later is forecast better with it than without it."""
    rng = np.random.default_rng(6)
    wave = np.cumsum(np.convolve(rng.normal(0, 0.1, 700), np.ones(4) / 4, "same"))
    table = table_at(HORIZONS_H)
    upper, lower = Forecaster(HORIZONS_H, table), Forecaster(HORIZONS_H, table)
    errors = []
    k2 = HORIZONS_H.index(2.0)
    for k in range(2, 690):
        upper.step(k * HOUR_S, float(wave[k]), [])
        made = lower.step(k * HOUR_S + 1.0, float(wave[k - 2]), [upper])
        if k > 200:
            errors.append(np.abs(made.paths[:, k2] - wave[k]))
    mean = dict(zip(MODELS, np.mean(errors, axis=0), strict=True))
    assert mean["neighbours"] < 0.85 * mean["damped_trend"]


def _scorer(shared_data: Path) -> ModuleType:
    path = shared_data.parent / "tools" / "score_warnings.py"
    if not path.is_file():
        pytest.skip("the independent scorer is absent")
    spec = importlib.util.spec_from_file_location("score_warnings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scores_equal_the_independent_scorer(shared_data: Path) -> None:
    scorer = _scorer(shared_data)
    rng = random.Random(9)
    for seed in range(12):
        series = flood(seed)
        warned = {
            (n, k): sorted(t for t, v in series[n] if v < m and rng.random() < 0.3)
            for n, s in STATIONS.items()
            for k, m in s.levels_m.items()
        }
        theirs = scorer.score_model(
            {key: [(t, 1) for t in times] for key, times in warned.items()},
            {n: dict(s.levels_m) for n, s in STATIONS.items()}, RIVERS, series, 6.0,
        )  # fmt: skip
        ours = [
            o
            for n, s in STATIONS.items()
            for k, m in s.levels_m.items()
            for o in outcomes(s.basin, [t for t, _ in series[n]], [v for _, v in series[n]], m, warned[n, k], 6.0)
        ]
        assert sorted((o.block, o.kind, o.lead_h) for o in ours) == sorted(theirs)


def test_ratios_without_a_denominator_are_unknown() -> None:
    nothing = figures([])
    assert (nothing.pod, nothing.far, nothing.csi, nothing.median_lead_h) == (None, None, None, None)
    assert np.isnan(bootstrap_csi({"m": []}, 10)["m"]).all()


def _files(folder: Path) -> list[str]:
    levels, stations = folder / "L.csv", folder / "S.csv"
    lines = [f"{n},{verb.stamp(1.7e9 + t)},{v:.3f}" for n, r in flood(2).items() for t, v in r]
    levels.write_text("\n".join(["station_name,time_utc,water_level_m", *lines]))
    heads = [f"{n},{b},2.0,3.0,0" for n, b in RIVERS.items()]
    stations.write_text("\n".join(["station_name,basin,alert_m,minor_flood_m,major_flood_m", *heads]))
    return ["verify", "--levels", str(levels), "--stations", str(stations)]


def test_the_command_prints_one_document_and_writes_the_warnings(tmp_path: Path) -> None:
    out = tmp_path / "W.csv"
    result = CliRunner().invoke(app, [*_files(tmp_path), "--json", "--warnings-out", str(out)])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {row["model"] for row in document["models"]} == set(MODELS)
    assert [row["model"] for row in document["models"] if row["chosen"]] == [CHOSEN]
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert {r["model"] for r in rows} == (set(MODELS) - {CHOSEN}) | {"chosen"}
    assert {r["level"] for r in rows} == {"alert", "minor"}


@pytest.mark.parametrize(
    ("more", "word"),
    [(["--horizon", "13h"], "--horizon"), (["--horizon", "soon"], "--horizon"), (["--model", "oracle"], "--model")],
)
def test_a_bad_option_is_named(tmp_path: Path, more: list[str], word: str) -> None:
    result = CliRunner().invoke(app, [*_files(tmp_path), *more])
    assert result.exit_code != 0
    assert word in str(result.exception)


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("L.csv", "station_name,time_utc\nUpper,2025-01-01T00:00:00Z", "water_level_m"),
        ("L.csv", "station_name,time_utc,water_level_m\nUpper,yesterday,1", "time_utc"),
        ("L.csv", "station_name,time_utc,water_level_m\nUpper,2025-01-01T00:00:00Z,nan", "water_level_m"),
        ("L.csv", "station_name,time_utc,water_level_m\nUpper,0001-01-01T00:00:00+14:00,1", "time_utc"),
        ("L.csv", "station_name,time_utc,water_level_m\nUpper,9999-12-31T23:59:59-12:00,1", "time_utc"),
        ("L.csv", "station_name,time_utc,water_level_m\nElse,2025-01-01T00:00:00Z,1", "no reading"),
        ("S.csv", "station_name,alert_m,minor_flood_m,major_flood_m\nUpper,high,2,3", "alert_m"),
        ("S.csv", "station_name,alert_m,minor_flood_m,major_flood_m\nUpper,1,2,3\nUpper,1,2,3", "twice"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, file: str, text: str, word: str) -> None:
    arguments = _files(tmp_path)
    (tmp_path / file).write_text(text)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert word in str(result.exception)
    assert file in str(result.exception)


def test_a_row_without_a_level_is_a_silent_gauge(tmp_path: Path) -> None:
    """Told, and left out: not a level of zero, and no reason to refuse the record."""
    stations, levels, said = tmp_path / "s.csv", tmp_path / "l.csv", list[str]()
    stations.write_text("station_name,alert_m,minor_flood_m,major_flood_m\nA,1,2,\n")
    levels.write_text(
        "station_name,time_utc,water_level_m\nA,2025-11-23T05:00:00Z,0.5\nA,2025-11-23T06:00:00Z,\nA,2025-11-23T07:00:00Z, \n"
        "A,2025-11-23T08:00:00Z,0.7\n"
    )
    series = verb.read_levels(levels, verb.read_stations(stations), said.append)
    assert [value for _, value in series["A"]] == [0.5, 0.7]
    assert said == ["l.csv: 2 rows have no level: the gauge is silent there"]


def test_a_level_below_the_datum_is_a_level_and_strangers_are_told_of(tmp_path: Path) -> None:
    stations, levels, said = tmp_path / "s.csv", tmp_path / "l.csv", list[str]()
    stations.write_text("station_name,alert_m,minor_flood_m,major_flood_m\nA,-38,-37.5,0\nB,1,2,3\n")
    rows = [f"{name},2025-11-2{day}T00:00:00+05:30,{-40 + day}" for name in ("A", "C", "D") for day in range(4)]
    levels.write_text("\n".join(["station_name,time_utc,water_level_m", *rows]))
    known = verb.read_stations(stations)
    assert known["A"].levels_m == {"alert": -38.0, "minor": -37.5}
    series = verb.read_levels(levels, known, said.append)
    assert list(series) == ["A"]
    assert said == [
        "l.csv: 2 stations are not in the stations file and are left out: 'C', ...",
        "l.csv: 1 stations of the stations file have no reading: 'B', ...",
    ]


def test_the_same_record_in_any_writing_scores_the_same(tmp_path: Path) -> None:
    """Unordered rows, rows twice, another offset, and another datum change no score."""
    series = {n: [(float(round(t)), round(v, 3)) for t, v in r] for n, r in flood(2, hours=72).items()}
    zone = timezone(timedelta(hours=5, minutes=30))
    lines = [
        f"{n},{datetime.fromtimestamp(1.7e9 + t, zone).isoformat()},{v - 40:.3f}"
        for n, r in series.items()
        for t, v in r
    ]
    random.Random(1).shuffle(lines)
    plain, other = tmp_path / "p.csv", tmp_path / "o.csv"
    head = "station_name,time_utc,water_level_m"
    plain.write_text("\n".join([head, *(f"{n},{verb.stamp(1.7e9 + t)},{v}" for n, r in series.items() for t, v in r)]))
    other.write_text("\n".join([head, *lines, *lines[::7]]))
    low = {n: verb.Station(n, s.basin, {k: m - 40 for k, m in s.levels_m.items()}) for n, s in STATIONS.items()}
    scores = []
    for path, stations in ((plain, STATIONS), (other, low)):
        read = verb.read_levels(path, stations)
        rows = verb.verify(verb.forecast(stations, read, 6.0), stations, read, 6.0, range(len(MODELS)), draws=10)
        scores.append({str(r["model"]): (r["hits"], r["false"], r["crossings"], r["median_lead_h"]) for r in rows})
    assert scores[0] == scores[1]
    assert scores[0][CHOSEN][2]
