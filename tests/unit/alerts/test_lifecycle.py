"""The life of one warning, decision by decision."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from alerts.level import Level
from alerts.lifecycle import (
    Decision,
    LifecycleState,
    Message,
    Phase,
    Reason,
    advance,
    cancel,
    from_json,
    rehearse,
    to_json,
)
from alerts.rule import LevelRule, Reading, level_rule

T0 = datetime(2025, 11, 28, 6, tzinfo=UTC)
START = LifecycleState(evaluated_until=T0 - timedelta(minutes=1))


def rule(**more: object) -> LevelRule:
    given: dict[str, object] = {"hysteresis": 0.2, "clear_dwell": timedelta(minutes=30)} | more
    return level_rule(
        tenant_id=UUID(int=1),
        code="kitulgala",
        datastream_id=7,
        thresholds={"alert": 3.0, "minor": 4.0, "major": 6.0},
        **given,
    )


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


def reading(minute: float, value: float | None, quality: int = 1, late_min: float = 0) -> Reading:
    return Reading(observed_at=at(minute), received_at=at(minute + late_min), value=value, quality=quality)


def every_ten(*values: float, start: float = 0) -> list[Reading]:
    return [reading(start + 10 * index, value) for index, value in enumerate(values)]


def told(decisions: list[Decision]) -> list[tuple[str, float, str]]:
    return [(one.reason.value, (one.at - T0).total_seconds() / 60, one.after.word) for one in decisions]


def said(decisions: list[Decision]) -> list[tuple[Message | None, str]]:
    return [(one.message, one.after.word) for one in decisions if one.message]


def test_a_flood_from_first_word_to_all_clear() -> None:
    readings = every_ten(2.0, 3.1, 4.2, 6.3, 5.9, 5.7, 5.7, 5.7, 5.7, 2.0, 2.0, 2.0, 2.0)
    state, decisions = rehearse(rule(), START, readings, at(120))
    assert told(decisions) == [
        ("level_reached", 10, "yellow"),
        ("escalated", 20, "orange"),
        ("escalated", 30, "red"),
        ("clearing_started", 50, "red"),
        ("de_escalated", 80, "orange"),
        ("clearing_started", 90, "orange"),
        ("all_clear", 120, "none"),
    ]
    assert state.phase is Phase.CLEARED


def test_silence_holds_for_ever() -> None:
    state, decisions = rehearse(rule(), START, every_ten(2.0, 6.3), at(60 * 48))
    assert state.phase is Phase.STALE
    assert state.level is Level.RED
    assert Reason.HELD_ON_SILENCE in [one.reason for one in decisions]
    assert Message.ALL_CLEAR not in [one.message for one in decisions]
    # it keeps being renewed before it expires
    assert [one.reason for one in decisions].count(Reason.RENEWED) >= 15
    assert Reason.EXPIRED_UNRENEWED not in [one.reason for one in decisions]


def test_silence_while_clearing_does_not_clear() -> None:
    readings = every_ten(2.0, 6.3, 2.0, 2.0)
    state, decisions = rehearse(rule(), START, readings, at(600))
    assert state.phase is Phase.STALE
    assert state.level is Level.RED
    state, decisions = rehearse(rule(), state, [*readings, *every_ten(2.0, 2.0, 2.0, 2.0, start=610)], at(640))
    assert decisions[0].reason is Reason.SILENCE_ENDED
    assert decisions[-1].reason is Reason.ALL_CLEAR


def test_a_spike_waits_and_is_dropped() -> None:
    readings = [reading(0, 2.0), reading(10, 9.0, quality=3), reading(20, 2.1)]
    state, decisions = rehearse(rule(), START, readings, at(20))
    assert [one.reason for one in decisions] == [Reason.AWAITING_CONFIRMATION, Reason.NOT_CONFIRMED]
    assert state.phase is Phase.NORMAL
    readings[2] = reading(20, 8.8)
    _, decisions = rehearse(rule(), START, readings, at(20))
    assert [one.reason for one in decisions] == [Reason.AWAITING_CONFIRMATION, Reason.LEVEL_REACHED]


def test_late_data_are_reported_once_and_raise_nothing() -> None:
    readings = [*every_ten(2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0), reading(5, 6.5, late_min=45)]
    state, decisions = rehearse(rule(), START, readings, at(70))
    assert [one.reason for one in decisions] == [Reason.TOO_LATE_TO_RAISE]
    assert decisions[0].operator
    assert state.level is Level.NONE


def test_after_an_all_clear_old_readings_raise_nothing_and_new_ones_open_a_new_warning() -> None:
    readings = every_ten(6.3, 2.0, 2.0, 2.0, 2.0)
    state, _ = rehearse(rule(), START, readings, at(40))
    assert state.phase is Phase.CLEARED
    again, decisions = rehearse(rule(), state, [*readings, reading(35, 6.4, late_min=10)], at(46))
    assert not [one for one in decisions if one.message]
    _, decisions = rehearse(rule(), again, [*readings, reading(50, 3.2)], at(50))
    assert said(decisions) == [(Message.FIRST, "yellow")]


def test_a_warning_that_ran_out_is_an_operator_alarm_not_an_all_clear() -> None:
    state, _ = rehearse(rule(), START, every_ten(6.3), at(0))
    # nobody looked for a day: the clock on the wall is far past its expiry
    late = at(60 * 24)
    state, decisions, finished = advance(rule(), state, every_ten(6.3), late, now=late)
    assert [one.reason for one in decisions] == [Reason.EXPIRED_UNRENEWED, Reason.RENEWED_AFTER_EXPIRY]
    assert all(one.operator for one in decisions)
    assert not finished
    assert state.level is Level.RED
    # a renewal that waits for people does not ring the alarm again
    state, decisions, finished = advance(rule(), state, every_ten(6.3), late, now=late)
    assert (decisions, finished) == ([], True)


def test_a_live_decision_is_never_dated_back() -> None:
    now = at(55)
    _, decisions, _ = advance(rule(), START, every_ten(2.0, 3.5), at(10), now=now)
    assert [one.at for one in decisions] == [now]


def test_cancel_is_not_an_all_clear_and_old_readings_do_not_raise_it_again() -> None:
    state, _ = rehearse(rule(), START, every_ten(6.3), at(0))
    state, decision = cancel(state, at(1))
    assert decision is not None
    assert decision.message is Message.CANCEL
    state, decisions = rehearse(rule(), state, every_ten(6.3), at(5))
    assert decisions == []
    assert cancel(state, at(6)) == (state, None)


@pytest.mark.parametrize("seed", range(5))
def test_batches_order_and_repetition_make_no_difference(seed: int) -> None:
    chance = random.Random(seed)
    readings = [
        reading(
            10 * i + chance.random(), chance.uniform(1, 7), chance.choice([1, 1, 1, 3, 4]), chance.choice([0, 0, 5, 40])
        )
        for i in range(60)
        if chance.random() > 0.2
    ]
    end = at(700)
    whole, expected = rehearse(rule(), START, readings, end)
    state, got = START, []
    for minute in sorted(chance.uniform(0, 650) for _ in range(15)):
        known = [one for one in readings if one.received_at <= at(minute)]
        chance.shuffle(known)
        state, made = rehearse(rule(), state, [*known, *known[:5]], at(minute))
        got += made
    state, made = rehearse(rule(), state, readings, end)
    assert got + made == expected
    assert state == whole


def test_state_round_trips() -> None:
    state, _ = rehearse(rule(), START, every_ten(2.0, 6.3), at(100))
    assert from_json(to_json(state)) == state
    assert from_json({}) == LifecycleState()


def test_a_rule_that_lost_its_level_lowers_the_warning() -> None:
    state, _ = rehearse(rule(), START, every_ten(6.3), at(0))
    without_red = replace(rule(), thresholds={Level.YELLOW: 3.0, Level.ORANGE: 4.0})
    state, decisions = rehearse(without_red, state, every_ten(6.3), at(5))
    assert said(decisions) == [(Message.LOWER, "orange")]
