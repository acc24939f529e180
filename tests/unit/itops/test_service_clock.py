"""The clock faults reported against other tools (GLPI, Zammad, frappe, osTicket), each as a case."""

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from itops.service_clock import (
    USER_REASONS,
    VENDOR_REASONS,
    BadEvents,
    Clock,
    Event,
    Targets,
    breach_probability,
    clock,
    pauses_of,
)
from itops.sla import WorkingCalendar

SHANGHAI = ZoneInfo("Asia/Shanghai")
NINE_TO_FIVE = ((time(9), time(17)),)
OFFICE = WorkingCalendar(version="office-1", zone=SHANGHAI, week=dict.fromkeys(range(5), NINE_TO_FIVE))
TARGETS = Targets(
    version="gold-3",
    response={"1": timedelta(minutes=30), "3": timedelta(hours=2)},
    restoration={"1": timedelta(hours=4), "3": timedelta(hours=16)},
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def run(
    events: list[Event],
    which: str = "restoration",
    now: str = "2023-03-31 12:00",
    calendar: WorkingCalendar = OFFICE,
    reasons: frozenset[str] = USER_REASONS,
) -> Clock:
    return clock(events, which, calendar=calendar, targets=TARGETS, now=at(now), reasons=reasons)


def opened(when: str = "2023-03-03 16:30", priority: str = "1") -> Event:
    return Event(at=at(when), kind="opened", priority=priority)


def pause(begin: str, end: str, reason: str = "customer unavailable") -> list[Event]:
    return [Event(at=at(begin), kind="paused", reason=reason), Event(at=at(end), kind="resumed")]


def test_a_pause_over_a_weekend_counts_working_time() -> None:
    """glpi #10594: counted 24x7. Fri 16:45 to Mon 09:30 is 45 working minutes."""
    found = run([opened(), *pause("2023-03-03 16:45", "2023-03-06 09:30")])
    assert found.due == at("2023-03-06 13:15")


def test_a_priority_change_keeps_the_pause() -> None:
    """glpi #15605, #6902: the pause was lost when the target changed."""
    events = [
        opened(priority="3"),
        *pause("2023-03-06 10:00", "2023-03-06 11:15"),
        Event(at=at("2023-03-06 11:20"), kind="priority", priority="1"),
    ]
    assert run(events).due == at("2023-03-06 13:45")


def test_the_due_time_is_inside_opening_hours() -> None:
    """glpi #9082."""
    due = run([opened("2023-03-03 16:59")]).due.astimezone(SHANGHAI)
    assert time(9) <= due.time() <= time(17)
    assert due == at("2023-03-06 12:59")


def test_created_out_of_hours_still_has_a_duration() -> None:
    """glpi #687: zero duration."""
    found = run([opened("2023-03-04 22:00"), Event(at=at("2023-03-06 11:00"), kind="restored")])
    assert found.elapsed == timedelta(hours=2)


def test_escalation_is_never_negative_whatever_the_zone() -> None:
    """glpi #15429: with another time zone the escalation was negative."""
    events = [Event(at=at("2023-03-06 10:00").astimezone(UTC), kind="opened", priority="1")]
    early = clock(events, "restoration", calendar=OFFICE, targets=TARGETS, now=at("2023-03-06 10:00"))
    assert early.elapsed == timedelta(0)
    later = clock(events, "restoration", calendar=OFFICE, targets=TARGETS, now=at("2023-03-06 13:40").astimezone(UTC))
    assert later.escalations(timedelta(hours=4)) == (50, 75, 90)


def test_a_change_of_status_alone_does_not_move_the_due_time() -> None:
    """glpi #17186."""
    more = [
        opened(),
        Event(at=at("2023-03-06 09:10"), kind="responded"),
        Event(at=at("2023-03-06 09:20"), kind="noted"),
    ]
    assert run(more).due == run([opened()]).due


def test_a_later_update_does_not_override_the_first_response() -> None:
    """zammad #5177, #3140: an update moved the first response; an answered ticket still escalated."""
    events = [
        opened("2023-03-06 09:00"),
        Event(at=at("2023-03-06 09:20"), kind="responded"),
        Event(at=at("2023-03-06 15:00"), kind="responded"),
    ]
    found = run(events, "response")
    assert (found.stopped, found.breached) == (at("2023-03-06 09:20"), False)
    assert found.escalations(timedelta(minutes=30)) == (50,)


def test_the_fields_are_there_before_any_reopening() -> None:
    """zammad #4516, #2579: computed only at a reopening. Restored too late is breached at once."""
    found = run([opened("2023-03-06 09:00"), Event(at=at("2023-03-06 13:01"), kind="restored")])
    assert found.breached
    assert found.due == at("2023-03-06 13:00")


def test_a_reminder_is_not_due_at_midnight() -> None:
    """zammad #4432."""
    assert run([opened("2023-03-05 00:00")]).due.astimezone(SHANGHAI).time() == time(13)


def test_a_make_up_saturday_is_worked_and_the_holiday_is_not() -> None:
    """zammad #390 (an official feed was wrong): the calendar is versioned data. Labour Day 2023 in China."""
    china = WorkingCalendar(
        version="cn-2023",
        zone=SHANGHAI,
        week=OFFICE.week,
        holidays=frozenset({date(2023, 5, 1), date(2023, 5, 2), date(2023, 5, 3)}),
        extra={date(2023, 5, 6): NINE_TO_FIVE},
    )
    found = run([opened("2023-05-05 16:00")], now="2023-05-31 12:00", calendar=china)
    assert (found.due, found.calendar_version) == (at("2023-05-06 12:00"), "cn-2023")
    assert run([opened("2023-04-28 16:00")], now="2023-05-31 12:00", calendar=china).due == at("2023-05-04 12:00")


def test_hold_time_goes_to_the_clock() -> None:
    """frappe #2449: hold time was added to the creation."""
    found = run([opened("2023-03-06 09:00"), *pause("2023-03-06 10:00", "2023-03-06 16:00")], now="2023-03-06 16:30")
    assert (found.elapsed, found.due) == (timedelta(hours=1, minutes=30), at("2023-03-07 11:00"))


def test_lunch_stands() -> None:
    """frappe #2212."""
    lunch = WorkingCalendar(
        version="lunch-1",
        zone=SHANGHAI,
        week=dict.fromkeys(range(5), ((time(9), time(12)), (time(13), time(17)))),
    )
    assert run([opened("2023-03-06 10:00")], calendar=lunch).due == at("2023-03-06 15:00")


def test_business_hours_are_not_round_the_clock() -> None:
    """osTicket #1168, #2131, #4969."""
    assert run([opened("2023-03-06 15:00")]).due == at("2023-03-07 11:00")


def test_a_wait_for_a_part_stops_the_engineers_clock_and_not_the_customers() -> None:
    events = [opened("2023-03-06 09:00"), *pause("2023-03-06 10:00", "2023-03-06 12:00", "part")]
    assert run(events).due == at("2023-03-06 13:00")
    assert run(events, reasons=USER_REASONS | VENDOR_REASONS).due == at("2023-03-06 15:00")


def test_a_rejected_restoration_runs_on_with_the_time_between_left_out() -> None:
    events = [
        opened("2023-03-06 09:00"),
        Event(at=at("2023-03-06 11:00"), kind="restored"),
        Event(at=at("2023-03-06 14:00"), kind="rejected"),
        Event(at=at("2023-03-06 16:30"), kind="restored"),
    ]
    found = run(events)
    assert (found.elapsed, found.breached) == (timedelta(hours=4, minutes=30), True)


def test_it_is_a_function_of_what_was_known() -> None:
    """Computed for an earlier moment, later events change nothing; computed twice, it is the same."""
    events = [opened("2023-03-06 09:00"), *pause("2023-03-06 10:00", "2023-03-06 12:00")]
    before = run(events[:1], now="2023-03-06 09:30")
    assert run(events, now="2023-03-06 09:30") == before
    assert run(events) == run(list(events))


def test_a_pause_needs_a_coded_reason_and_events_their_order() -> None:
    with pytest.raises(BadEvents, match="coded reason"):
        pauses_of([opened(), *pause("2023-03-06 10:00", "2023-03-06 11:00", "lunch")], at("2023-03-07 10:00"))
    with pytest.raises(BadEvents):
        run([*pause("2023-03-06 10:00", "2023-03-06 11:00")])
    with pytest.raises(BadEvents):
        run([opened("2023-03-06 09:00"), Event(at=at("2023-03-05 09:00"), kind="restored")])


def test_breach_probability_over_kinds() -> None:
    assert breach_probability([0.1, 0.4], [0.75, 0.25]) == pytest.approx(0.175)
    with pytest.raises(BadEvents):
        breach_probability([0.1], [0.9])


def test_the_table_of_reported_faults_names_each_test() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "methods" / "itops.md").read_text(encoding="utf-8")
    table = page.split("## 9. Clock faults", 1)[1]
    named = re.findall(r"^\|.*`(test_\w+)` \|$", table, re.MULTILINE)
    own = Path(__file__).read_text(encoding="utf-8")
    assert len(named) >= 13
    assert [name for name in named if f"def {name}(" not in own] == []
