"""A rule may raise a level by how fast the water rises; one jump is a sensor, not a river."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from alerts.level import Level
from alerts.lifecycle import LifecycleState, Reason, rehearse
from alerts.rule import BadRule, LevelRule, Reading, definition, evaluate, from_definition, level_rule

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


def made_rule(**more: Any) -> LevelRule:
    given = {"rise_per_h": {Level.ORANGE: 2.0}, "clear_dwell": timedelta(minutes=30)} | more
    return level_rule(
        tenant_id=UUID(int=1), code="r", datastream_id=1, thresholds={"yellow": 5.0, "orange": 6.0}, **given
    )


def read(minute: float, value: float, quality: int = 1) -> Reading:
    return Reading(observed_at=at(minute), received_at=at(minute), value=value, quality=quality)


def test_two_readings_in_a_row_that_rise_fast_raise_the_level() -> None:
    # 2.4 m/h from minute 20 on: over half an hour that is seen twice by minute 50
    rise = [read(10 * k, 1.0) for k in range(3)] + [read(30 + 10 * k, 1.4 + 0.4 * k) for k in range(4)]
    found = evaluate(made_rule(), rise, at(60))
    assert dict(found.rising) == {Level.ORANGE: at(60)}
    assert not evaluate(made_rule(), rise[:5], at(40)).rising


def test_one_jump_and_suspect_values_do_not() -> None:
    flat = [read(10 * k, 1.0) for k in range(4)]
    assert not evaluate(made_rule(), [*flat, read(40, 4.0)], at(40)).rising
    assert not evaluate(made_rule(), [*flat, read(40, 4.0), read(50, 1.0)], at(50)).rising
    assert not evaluate(made_rule(), [*flat, read(40, 3.0, 3), read(50, 4.0, 3)], at(50)).rising
    assert not evaluate(made_rule(), [read(0, 1.0), read(5, 2.0), read(10, 3.0)], at(10)).rising, "too short a span"


def test_it_holds_for_the_dwell_and_then_is_given_up() -> None:
    rise = [read(10 * k, 1.0) for k in range(3)] + [read(30 + 10 * k, 1.4 + 0.4 * k) for k in range(4)]
    rise += [read(70 + 10 * k, 2.6) for k in range(10)]
    _, made = rehearse(made_rule(), LifecycleState(evaluated_until=at(-1)), rise, at(170))
    said = [(one.reason, one.after) for one in made if one.message is not None]
    assert said == [(Reason.RISING_FAST, Level.ORANGE), (Reason.ALL_CLEAR, Level.NONE)]
    raised, cleared = (one.at for one in made if one.message is not None)
    assert raised <= at(60)
    assert cleared - at(60) >= timedelta(minutes=30)


def test_the_definition_keeps_it() -> None:
    rule = made_rule(rise_window=timedelta(minutes=20))
    keys: dict[str, Any] = {"rule_id": rule.rule_id, "version": 1, "tenant_id": rule.tenant_id, "code": "r"}
    assert from_definition(definition=definition(rule), datastream_id=1, **keys) == rule
    assert not {"rise_per_h", "rise_window_s", "independent"} & set(definition(made_rule(rise_per_h={})))


@pytest.mark.parametrize(
    "more", [{"rise_per_h": {Level.RED: 1.0}}, {"rise_per_h": {Level.ORANGE: 0.0}}, {"rise_window": timedelta(0)}]
)
def test_wrong_settings_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(BadRule):
        made_rule(**more)
