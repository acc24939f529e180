"""Forecasts of incident volume: the error measure, the rule of choice, and the real logs."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from itops import staffing, volume
from itops.volume import BadVolume, Daily, compare, mase, poisson_regression, seasonal_naive
from tocsin.cli import app

MONDAY = date(2023, 1, 2)


def weekly(n_weeks: int, rng: np.random.Generator, growth: float = 0.0) -> Daily:
    shape = np.array([60, 55, 50, 45, 40, 8, 5.0])
    mean = np.tile(shape, n_weeks) * np.exp(growth * np.arange(7 * n_weeks))
    return Daily(first=MONDAY, counts=rng.poisson(mean).astype(np.float64))


def test_mase_of_the_naive_forecast_on_its_own_terms() -> None:
    """Errors 2 and 4 over seasonal steps 3, 3, 3 and 5."""
    history = np.array([10.0, 20, 13, 17, 16, 22])
    assert mase(np.array([12.0, 16.0]), np.array([10.0, 20.0]), history, season=2) == pytest.approx(3.0 / 3.5)
    with pytest.raises(BadVolume):
        mase(np.ones(2), np.ones(2), np.tile([1.0, 2.0], 5), season=2)


def test_regression_finds_the_week_and_beats_last_week() -> None:
    rng = np.random.default_rng(1)
    series = weekly(40, rng)
    made = poisson_regression(series, 39 * 7, 7)
    assert made == pytest.approx([60, 55, 50, 45, 40, 8, 5], rel=0.15)
    found = compare(series, staffing.models(prophet=False, country=None))
    assert found.chosen == "poisson-regression"
    assert found.mean("poisson-regression") < found.mean("seasonal-naive")
    assert len(found.origins) == volume.N_ORIGINS


def test_a_model_that_does_not_beat_both_is_not_used() -> None:
    series = weekly(40, np.random.default_rng(2))

    def wild(known: Daily, n: int, horizon: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.full(horizon, 500.0)

    contestants = {"seasonal-naive": seasonal_naive, "poisson-regression": poisson_regression, "prophet": wild}
    assert compare(series, contestants).chosen == "poisson-regression"


def test_forecasts_see_nothing_after_their_origin() -> None:
    series = weekly(20, np.random.default_rng(3))
    later = Daily(first=MONDAY, counts=np.concatenate([series.counts[:100], np.full(40, 999.0)]))
    for model in (seasonal_naive, poisson_regression):
        assert model(later, 100, 14) == pytest.approx(model(series, 100, 14))


def test_holidays_and_make_up_days_are_told_apart() -> None:
    series = weekly(60, np.random.default_rng(4))
    off = frozenset(MONDAY + timedelta(days=7 * k) for k in range(4, 60, 5))
    worked = frozenset(MONDAY + timedelta(days=7 * k + 5) for k in range(4, 60, 5))
    counts = series.counts.copy()
    for day in off:
        counts[(day - MONDAY).days] = 4.0
    for day in worked:
        counts[(day - MONDAY).days] = 50.0
    known = Daily(first=MONDAY, counts=counts, holidays=off, make_up_days=worked)
    k = (max(off) - MONDAY).days
    made = poisson_regression(known, k, 7)
    assert made[0] < 15
    assert made[5] > 25


def test_too_few_incidents_leave_the_simplest() -> None:
    found = compare(Daily(first=MONDAY, counts=np.tile([1.0, 0, 0, 0, 0, 0, 0], 20)), staffing.models(
        prophet=True, country=None))  # fmt: skip
    assert (found.chosen, found.mase) == ("seasonal-naive", {})
    assert "too few" in found.reason


def test_staffing_grows_with_the_forecast() -> None:
    few, many = volume.engineers_by_day(np.array([10.0, 200.0]), 30.0, 8.0, 15.0, 0.9)
    assert few < many
    assert many >= 200 * 30 / 480


def test_prophet_is_one_of_the_models_and_never_negative() -> None:
    pytest.importorskip("prophet")
    series = weekly(12, np.random.default_rng(6))
    made = staffing.prophet_forecast()(series, 11 * 7, 7)
    assert np.all(made >= 0)
    assert np.mean(made[:5]) > 2 * np.mean(made[5:])


@pytest.mark.long
def test_the_real_log_is_planned_and_prophet_stands_in_the_table(shared_data: Path) -> None:
    pytest.importorskip("prophet")
    log = str(shared_data / "itops/bpic2014_incidents.csv.gz")
    found = CliRunner().invoke(app, ["staff", "--incidents", log, "--as-of", "2014-01-14", "--json"])
    assert found.exit_code == 0, found.output
    plan = json.loads(found.stdout)
    table = {row["model"]: row["mase_mean"] for row in plan["table"]}
    assert set(table) == {"seasonal-naive", "poisson-regression", "prophet"}
    assert plan["chosen"] == min(table, key=lambda name: table[name])
    # The figures on the page are these.
    page = (Path(__file__).resolve().parents[3] / "docs/methods/itops-experience.md").read_text(encoding="utf-8")
    said = "{:.1f} seasonal-naive, {:.1f} Poisson, {:.1f} Prophet".format(
        *(table[name] for name in ("seasonal-naive", "poisson-regression", "prophet"))
    )
    assert said in " ".join(page.split())
    assert len(plan["forecast"]) == 14
    assert all(row["expected"] >= 0 for row in plan["forecast"])


def test_a_bad_time_is_named(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("opened,site\n2023-01-01 10:00,a\nyesterday,b\n")
    found = CliRunner().invoke(app, ["staff", "--incidents", str(tmp_path / "i.csv")])
    assert found.exit_code != 0
    assert "line 3, opened" in str(found.exception)
