"""The ground floor: units, ids, clocks, money, settings."""

import io
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from core import ids, log
from core.clock import ScenarioClock
from core.errors import InvalidInput
from core.money import CurrencyMismatch, Money
from core.settings import BadSettings, load_settings
from core.units import UnknownUnit, to_stored


def test_feet_become_metres_exactly() -> None:
    assert to_stored("level", 10.0, "ft") == pytest.approx(3.048, abs=1e-12)


def test_fahrenheit_has_an_offset() -> None:
    assert to_stored("temperature", 212.0, "degF") == pytest.approx(100.0)


def test_unknown_unit_names_what_is_known() -> None:
    with pytest.raises(UnknownUnit) as caught:
        to_stored("level", 1.0, "fathom")
    assert "fathom" in str(caught.value)
    assert isinstance(caught.value, InvalidInput)


def test_new_ids_are_version_7_and_rise() -> None:
    first, second = ids.new_id(), ids.new_id()
    assert first.version == 7
    assert first.int >> 80 <= second.int >> 80
    assert first != second


def test_derived_ids_repeat() -> None:
    assert ids.derived_id("a", 1) == ids.derived_id("a", 1)
    assert ids.derived_id("a", "b") != ids.derived_id("ab")


def test_scenario_clock_runs_at_its_speed_and_stands_when_held() -> None:
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    scenario = datetime(2025, 6, 1, tzinfo=UTC)
    clock = ScenarioClock(wall_start=wall, scenario_start=scenario, speed=60.0)
    assert clock.at(wall + timedelta(seconds=10)) == scenario + timedelta(minutes=10)
    held = ScenarioClock(wall_start=wall, scenario_start=scenario, speed=60.0, held_at=scenario)
    assert held.at(wall + timedelta(days=1)) == scenario


def test_money_keeps_currencies_apart_and_rounds_like_an_invoice() -> None:
    assert Money(Decimal("0.125"), "EUR").rounded() == Money(Decimal("0.13"), "EUR")
    assert Money(Decimal("1.5"), "JPY").rounded() == Money(Decimal("2"), "JPY")
    with pytest.raises(CurrencyMismatch):
        Money(Decimal(1), "EUR") + Money(Decimal(1), "USD")


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_MQTT__PORT", "seventy")
    with pytest.raises(BadSettings, match="TOCSIN_MQTT__PORT"):
        load_settings()


def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_DATABSE_URL", "x")
    with pytest.raises(BadSettings, match="did you mean TOCSIN_DATABASE_URL"):
        load_settings()


def test_a_log_line_goes_to_standard_error_as_it_is_when_written(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    log.configure("info")
    logger = log.get_logger("test")
    logger.info("one")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    logger.info("two")
    assert "two" in second.getvalue()
