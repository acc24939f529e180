"""A rule that listens to forecasts: when a level is expected, when it no longer is, and what the lifecycle makes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from alerts.level import Level
from alerts.lifecycle import LifecycleState, Message, Phase, Reason, rehearse
from alerts.rule import BadRule, LevelRule, Reading, definition, evaluate, from_definition, level_rule
from ingest.forecast.outlook import Outlook, outlook

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


def made_rule(**more: Any) -> LevelRule:
    given = {"forecast_within": timedelta(hours=6), "clear_dwell": timedelta(minutes=30)} | more
    return level_rule(tenant_id=UUID(int=1), code="r", datastream_id=1, thresholds={"yellow": 3.0, "red": 6.0}, **given)


def read(minute: float, value: float) -> Reading:
    return Reading(observed_at=at(minute), received_at=at(minute), value=value, quality=1)


def told(minute: float, value: float, top: float, *, reach: float = 0.0, spread: float = 1.0) -> Outlook:
    return outlook(
        made_at=at(minute),
        known_at=at(minute),
        model="regional_trend",
        value=value,
        horizons_h=(1.0, 6.0, 12.0),
        path=(value, top, top + 5),
        reach=(value, max(value, reach), 99.0),
        taus=(0.05, 0.5, 0.95),
        quantiles=(value - 0.1, value, value + 0.1, top - spread, top, top + spread, 90.0, 95.0, 99.0),
    )


def test_a_level_within_the_span_is_expected_and_one_beyond_is_not() -> None:
    found = evaluate(made_rule(), [read(0, 2.0)], at(1), [told(0, 2.0, 3.4)])
    assert dict(found.expected) == {Level.YELLOW: at(0)}
    assert not found.reached
    assert not evaluate(made_rule(forecast_within=None), [read(0, 2.0)], at(1), [told(0, 2.0, 9.0)]).expected


def test_a_forecast_not_known_yet_or_no_longer_fresh_expects_nothing() -> None:
    assert not evaluate(made_rule(), [read(0, 2.0)], at(-1), [told(0, 2.0, 9.0)]).expected
    assert evaluate(made_rule(), [read(0, 2.0)], at(30), [told(0, 2.0, 9.0)]).expected
    assert not evaluate(made_rule(), [read(0, 2.0)], at(31), [told(0, 2.0, 9.0)]).expected


def test_a_forecast_that_grows_old_without_a_reading_gives_nothing_up() -> None:
    rule = made_rule(clear_dwell=timedelta(0))
    last = [read(10, 2.0), read(30, 2.0)]
    old = evaluate(rule, last, at(45), [told(10, 2.0, 3.4)])
    assert not old.expected  # too old to raise anything
    assert not old.silent
    assert not old.gives_up(Level.YELLOW)
    newer = evaluate(rule, [*last, read(45, 2.0)], at(45), [told(10, 2.0, 3.4)])
    assert newer.gives_up(Level.YELLOW)  # a reading after the forecast's time says what the water does


def test_a_lower_level_is_not_given_up_while_a_higher_one_is_expected() -> None:
    rule = made_rule(clear_dwell=timedelta(0))
    # the water stood over yellow when red was forecast: yellow was measured then, and is not what the forecast speaks of
    found = evaluate(rule, [read(0, 3.2), read(10, 2.0)], at(10), [told(0, 3.2, 6.5)])
    assert dict(found.foreseen) == {Level.RED: at(0)}
    assert not found.gives_up(Level.YELLOW)
    assert evaluate(rule, [read(0, 3.2), read(10, 2.0)], at(10), [told(0, 3.2, 5.0)]).gives_up(Level.YELLOW)


def test_k_of_n_forecasts_agree_the_newest_among_them() -> None:
    rule = made_rule(k=2, n=3)
    once = [told(0, 2.0, 2.5), told(10, 2.0, 3.5)]
    assert not evaluate(rule, [], at(10), once).expected
    assert evaluate(rule, [], at(20), [*once, told(20, 2.0, 3.5)]).expected
    gone = [told(0, 2.0, 3.5), told(10, 2.0, 3.5), told(370, 2.0, 2.0), told(380, 2.0, 2.0)]
    assert not evaluate(rule, [], at(380), gone).expected


def test_cost_over_loss_asks_for_its_chance_and_stands_down_to_half_of_it() -> None:
    # top 3.0, spread 1.0: the chance of 3.0 is one half, of 3.5 about 0.28
    calm, likely = told(0, 2.0, 2.0), told(0, 2.0, 3.0)
    assert likely.chance(3.0, 6.0) == pytest.approx(0.5)
    assert evaluate(made_rule(cost_loss=0.5), [], at(1), [likely]).expected
    assert not evaluate(made_rule(cost_loss=0.6), [], at(1), [likely]).expected
    # outside the outermost quantiles the chance is theirs: never 0, never 1
    assert calm.chance(99.0, 6.0) == pytest.approx(0.05)
    later = told(400, 2.0, 2.5)  # about 0.28: less than the chance it began at, more than half of it
    assert evaluate(made_rule(cost_loss=0.5), [], at(400), [told(50, 2.0, 3.0), later]).expected
    assert not evaluate(made_rule(cost_loss=0.5), [], at(400), [later]).expected


def test_order_and_repetition_of_forecasts_make_no_difference() -> None:
    many = [told(10 * k, 2.0, 2.2 + 0.2 * k) for k in range(8)]
    rule = made_rule(k=2, n=3)
    for shuffled in (many[::-1], many[4:] + many[:4]):
        assert evaluate(rule, [], at(70), shuffled).expected == evaluate(rule, [], at(70), many).expected


def test_a_forecast_warns_the_water_confirms_and_low_water_ends_it() -> None:
    rule = made_rule()
    readings = [read(0, 2.0), read(10, 2.4), read(20, 3.1)] + [read(30 + 10 * k, 1.5) for k in range(8)]
    outlooks = [told(0, 2.0, 3.2), told(10, 2.4, 3.4), told(20, 3.1, 3.3)]
    outlooks += [told(30 + 10 * k, 1.5, 1.4) for k in range(8)]
    state, made = rehearse(rule, LifecycleState(evaluated_until=at(-1)), readings, at(120), outlooks=outlooks)
    said = [(one.reason, one.message, one.at) for one in made if one.message is not None]
    assert said == [
        (Reason.FORECAST_REACHED, Message.FIRST, at(0)),
        (Reason.ALL_CLEAR, Message.ALL_CLEAR, at(60)),
    ]
    assert state.phase is Phase.CLEARED


def test_low_water_does_not_end_a_warning_while_more_is_forecast() -> None:
    readings = [read(10 * k, 2.0) for k in range(13)]
    outlooks = [told(10 * k, 2.0, 3.5) for k in range(13)]
    state, made = rehearse(made_rule(), LifecycleState(evaluated_until=at(-1)), readings, at(120), outlooks=outlooks)
    assert [one.reason for one in made] == [Reason.FORECAST_REACHED]
    assert state.phase is Phase.ACTIVE


def test_the_silence_of_a_gauge_holds_what_was_forecast() -> None:
    state, made = rehearse(
        made_rule(), LifecycleState(evaluated_until=at(-1)), [read(0, 2.0)], at(170), outlooks=[told(0, 2.0, 7.0)]
    )
    assert state.phase is Phase.STALE
    assert state.level is Level.RED
    assert [one.reason for one in made] == [Reason.FORECAST_REACHED, Reason.HELD_ON_SILENCE]


def test_the_definition_keeps_it_and_leaves_older_definitions_as_they_were() -> None:
    rule = made_rule(cost_loss=0.3)
    keys = {"rule_id": rule.rule_id, "version": 1, "tenant_id": rule.tenant_id, "code": "r", "datastream_id": 1}
    assert from_definition(definition=definition(rule), **keys) == rule  # type: ignore[arg-type]
    plain = definition(made_rule(forecast_within=None))
    assert not {"forecast_within_s", "cost_loss"} & set(plain)


@pytest.mark.parametrize(
    "more",
    [
        {"forecast_within": timedelta(minutes=10)},
        {"forecast_within": timedelta(hours=13)},
        {"quantity": "rain"},
        {"forecast_within": None, "cost_loss": 0.5},
        {"cost_loss": 0.0},
        {"cost_loss": float("nan")},
    ],
)
def test_wrong_settings_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(BadRule):
        made_rule(**more)
