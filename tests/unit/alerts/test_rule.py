"""Readings against a rule: what is reached, what waits, what is given up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from alerts.level import Level, UnknownLevel, level_of_severity, level_of_stage
from alerts.rule import BadRule, LevelRule, Reading, definition, evaluate, from_definition, level_rule

T0 = datetime(2025, 11, 28, 6, tzinfo=UTC)
TENANT = UUID(int=1)


def rule(**more: object) -> LevelRule:
    given: dict[str, object] = {"hysteresis": 0.2, "clear_dwell": timedelta(minutes=30)} | more
    return level_rule(
        tenant_id=TENANT,
        code="kitulgala",
        datastream_id=7,
        thresholds={"alert": 3.0, "minor": 4.0, "major": 6.0},
        **given,
    )


def reading(minute: float, value: float | None, quality: int = 1, late_min: float = 0, **more: int) -> Reading:
    at = T0 + timedelta(minutes=minute)
    return Reading(observed_at=at, received_at=at + timedelta(minutes=late_min), value=value, quality=quality, **more)


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


def test_official_stages_are_levels() -> None:
    assert rule().thresholds == {Level.YELLOW: 3.0, Level.ORANGE: 4.0, Level.RED: 6.0}
    assert level_of_stage("II") is Level.ORANGE
    assert level_of_severity("Extreme") is Level.RED
    assert level_of_severity("Unknown") is None
    with pytest.raises(UnknownLevel):
        level_of_severity("Terrible")


def test_the_first_good_reading_at_a_level_confirms_it_at_once() -> None:
    found = evaluate(rule(), [reading(0, 2.0), reading(10, 4.0)], at(10))
    assert found.reached == {Level.YELLOW: at(10), Level.ORANGE: at(10)}


def test_a_suspect_reading_confirms_only_with_its_neighbour() -> None:
    alone = [reading(0, 2.0), reading(10, 6.5, quality=3)]
    found = evaluate(rule(), alone, at(10))
    assert found.reached == {}
    assert found.waiting is Level.RED
    assert Level.RED in evaluate(rule(), [*alone, reading(20, 6.1)], at(20)).reached
    assert Level.RED in evaluate(rule(), [*alone, reading(20, 6.6, quality=3)], at(20)).reached
    # a stuck sensor repeats itself: that confirms nothing
    assert evaluate(rule(), [*alone, reading(20, 6.5, quality=3)], at(20)).reached == {}


@pytest.mark.parametrize("quality", [4, 9])
def test_failed_and_missing_readings_say_nothing(quality: int) -> None:
    found = evaluate(rule(), [reading(0, 2.0), reading(10, 9.0, quality=quality)], at(10))
    assert found.reached == {}
    assert found.waiting is Level.NONE
    assert found.newest_at == at(0)


def test_order_and_repetition_make_no_difference() -> None:
    readings = [reading(0, 2.0), reading(10, 4.5), reading(20, 3.1), reading(30, 2.5, quality=3)]
    assert evaluate(rule(), readings, at(30)) == evaluate(rule(), [*reversed(readings), *readings], at(30))


def test_a_correction_counts_from_when_it_came() -> None:
    wrong, right = reading(10, 6.5), replace(reading(10, 2.5, late_min=15), revision=1)
    assert Level.RED in evaluate(rule(), [wrong, right], at(20)).reached
    assert evaluate(rule(), [wrong, right], at(25)).reached == {}


def test_readings_that_come_too_late_do_not_raise() -> None:
    found = evaluate(rule(), [reading(0, 6.5, late_min=31), reading(30, 2.0)], at(31))
    assert found.reached == {}
    assert found.too_late[Level.RED] == at(0)
    assert Level.RED in evaluate(rule(), [reading(0, 6.5, late_min=29), reading(25, 2.0)], at(29)).reached


def test_a_clock_that_runs_ahead_or_is_unset_counts_from_arrival() -> None:
    ahead = Reading(observed_at=at(500), received_at=at(5), value=6.5, quality=3)
    unset = Reading(observed_at=datetime(1970, 1, 1, tzinfo=UTC), received_at=at(10), value=6.6, quality=3)
    assert evaluate(rule(), [ahead, unset], at(10)).reached[Level.RED] == at(10)


def test_giving_up_needs_readings_below_for_the_dwell() -> None:
    falling = [reading(0, 4.1), *(reading(minute, 3.7) for minute in (10, 20, 30, 40))]
    assert not evaluate(rule(), falling[:4], at(30)).gives_up(Level.ORANGE)
    assert evaluate(rule(), falling, at(40)).gives_up(Level.ORANGE)
    # between threshold and threshold less hysteresis nothing is given up
    assert not evaluate(rule(), [reading(minute, 3.85) for minute in (0, 10, 20, 30, 40)], at(40)).gives_up(
        Level.ORANGE
    )
    # time without readings is no evidence
    assert not evaluate(rule(), falling[:3], at(60)).gives_up(Level.ORANGE)


def test_a_silence_or_a_suspect_high_value_breaks_the_run() -> None:
    gap = [reading(0, 4.1), reading(10, 3.0), reading(50, 3.0)]
    assert not evaluate(rule(), gap, at(50)).gives_up(Level.ORANGE)
    spiked = [reading(0, 3.0), reading(10, 3.0), reading(20, 4.5, quality=3), reading(30, 3.0), reading(40, 3.0)]
    assert evaluate(rule(), spiked, at(40)).below_since[Level.ORANGE] == at(30)
    low_suspects = [reading(0, 4.1), *(reading(minute, 1.0, quality=3) for minute in (10, 20, 30, 40, 50))]
    assert not evaluate(rule(), low_suspects, at(50)).gives_up(Level.ORANGE)


def test_k_of_n_and_raise_dwell() -> None:
    two_of_three = rule(k=2, n=3)
    assert evaluate(two_of_three, [reading(0, 2.0), reading(10, 3.5)], at(10)).reached == {}
    assert Level.YELLOW in evaluate(two_of_three, [reading(0, 3.5), reading(10, 2.0), reading(20, 3.5)], at(20)).reached
    patient = rule(raise_dwell=timedelta(minutes=15))
    assert evaluate(patient, [reading(0, 3.5), reading(10, 3.5)], at(10)).waiting is Level.YELLOW
    assert Level.YELLOW in evaluate(patient, [reading(0, 3.5), reading(10, 3.5), reading(20, 3.5)], at(20)).reached


def test_silence_is_three_intervals_without_a_usable_reading() -> None:
    known = [reading(0, 2.0), reading(25, None, quality=9)]
    assert not evaluate(rule(), known, at(30)).silent
    assert evaluate(rule(), known, at(31)).silent


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"hysteresis": -1.0}, "hysteresis"),
        ({"k": 3, "n": 2}, "k and n"),
        ({"interval": timedelta(0)}, "interval"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"quantity": "love"}, "love"),
    ],
)
def test_a_wrong_rule_names_the_field(more: dict[str, object], named: str) -> None:
    with pytest.raises(Exception, match=named):
        rule(**more)


def test_thresholds_must_rise_and_be_named_once() -> None:
    with pytest.raises(BadRule, match="rise"):
        level_rule(tenant_id=TENANT, code="x", datastream_id=1, thresholds={"alert": 5.0, "minor": 4.0})
    with pytest.raises(BadRule, match="twice"):
        level_rule(tenant_id=TENANT, code="x", datastream_id=1, thresholds={"alert": 5.0, "yellow": 4.0})


def test_the_definition_round_trips_and_refuses_what_it_does_not_know() -> None:
    one = rule(
        k=2, n=3, automatic=True, automatic_ceiling=Level.RED, timezone="Asia/Colombo", place={"en": "Kitulgala"}
    )
    told = definition(one)
    keys = {"rule_id": one.rule_id, "version": 1, "tenant_id": TENANT, "code": "kitulgala", "datastream_id": 7}
    assert from_definition(definition=told, **keys) == one
    with pytest.raises(BadRule, match="unknown"):
        from_definition(definition=told | {"hysterisis": 1}, **keys)
    with pytest.raises(BadRule, match="cannot be read"):
        from_definition(definition=told | {"thresholds": {"yellow": "high"}}, **keys)
