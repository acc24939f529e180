"""Service-level clocks: daylight saving, make-up days, pauses, and what other tools were reported to get wrong."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itops.sla import BadCalendar, BadClock, NeverDue, WorkingCalendar, around_the_clock, due_at, working_time

NINE_TO_FIVE = ((time(9), time(17)),)
BERLIN = ZoneInfo("Europe/Berlin")
SHANGHAI = ZoneInfo("Asia/Shanghai")


def calendar(zone: ZoneInfo = SHANGHAI, **more: object) -> WorkingCalendar:
    return WorkingCalendar(version="t", zone=zone, week=dict.fromkeys(range(5), NINE_TO_FIVE), **more)  # type: ignore[arg-type]


def at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def test_a_night_with_a_clock_change_is_an_hour_shorter_or_longer() -> None:
    night = WorkingCalendar(version="t", zone=BERLIN, week={day: ((time(0), time(6)),) for day in range(7)})
    spring, autumn = at("2024-03-31 00:00", BERLIN), at("2024-10-27 00:00", BERLIN)
    assert working_time(spring, spring + timedelta(hours=12), night) == timedelta(hours=5)
    assert working_time(autumn, autumn + timedelta(hours=12), night) == timedelta(hours=7)


def test_a_day_in_hours_is_not_a_working_day() -> None:
    """A 24-hour target in an 8-hour calendar is three business days, and the clock stands over the weekend."""
    assert due_at(at("2023-03-02 09:00"), timedelta(hours=24), calendar()) == at("2023-03-06 17:00")


def test_a_pause_over_a_weekend_takes_working_time_only() -> None:
    """glpi 10594: such a pause was counted around the clock."""
    pause = (at("2023-03-03 16:00"), at("2023-03-06 10:00"))
    assert due_at(at("2023-03-03 15:00"), timedelta(hours=4), calendar(), [pause]) == at("2023-03-06 13:00")


def test_opened_out_of_hours_starts_with_the_next_working_hour() -> None:
    """glpi 687 and 9082: no duration at all, or due outside opening hours."""
    assert due_at(at("2023-03-04 22:00"), timedelta(hours=1), calendar()) == at("2023-03-06 10:00")
    assert working_time(at("2023-03-04 22:00"), at("2023-03-06 09:30"), calendar()) == timedelta(minutes=30)


def test_a_holiday_is_off_and_a_make_up_day_is_worked() -> None:
    """Spring Festival 2024: 10-17 February off, Sunday 4 February and Sunday 18 February worked."""
    holidays = frozenset(date(2024, 2, 10) + timedelta(days=k) for k in range(8))
    extra = {date(2024, 2, 4): NINE_TO_FIVE, date(2024, 2, 18): NINE_TO_FIVE}
    made = calendar(holidays=holidays, extra=extra)
    assert due_at(at("2024-02-09 16:00"), timedelta(hours=3), made) == at("2024-02-18 11:00")
    assert due_at(at("2024-02-02 16:00"), timedelta(hours=3), made) == at("2024-02-04 11:00")


def test_overlapping_pauses_count_once_and_one_before_the_start_not_at_all() -> None:
    pauses = [
        (at("2023-03-06 11:00"), at("2023-03-06 12:00")),
        (at("2023-03-06 10:00"), at("2023-03-06 11:30")),
        (at("2023-03-06 07:00"), at("2023-03-06 09:00")),
    ]
    assert due_at(at("2023-03-06 09:00"), timedelta(hours=4), calendar(), pauses) == at("2023-03-06 15:00")


def test_a_target_of_nothing_is_due_at_once_and_one_never_reached_is_an_error() -> None:
    opened = at("2023-03-04 22:00")
    assert due_at(opened, timedelta(0), calendar()) == opened
    never = WorkingCalendar(version="t", zone=SHANGHAI, week={})
    with pytest.raises(NeverDue):
        due_at(opened, timedelta(hours=1), never)


def test_naive_times_and_backward_pauses_and_hours_are_refused() -> None:
    with pytest.raises(BadClock, match="aware"):
        due_at(datetime(2023, 3, 4), timedelta(hours=1), calendar())  # noqa: DTZ001
    with pytest.raises(BadClock, match="before it begins"):
        due_at(at("2023-03-04 22:00"), timedelta(1), calendar(), [(at("2023-03-05 10:00"), at("2023-03-05 09:00"))])
    for hours in (((time(17), time(9)),), ((time(9), time(13)), (time(12), time(17)))):
        with pytest.raises(BadCalendar):
            WorkingCalendar(version="t", zone=SHANGHAI, week={0: hours})


moments = st.datetimes(datetime(2023, 1, 1), datetime(2024, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


@given(
    opened=moments,
    hours=st.floats(0.01, 60),
    breaks=st.lists(st.tuples(moments, st.floats(0, 100)), max_size=5),
    zone=st.sampled_from([SHANGHAI, BERLIN, ZoneInfo("America/St_Johns")]),
)
@settings(max_examples=60, deadline=None)
def test_exactly_the_target_has_run_when_it_is_due(
    opened: datetime, hours: float, breaks: list[tuple[datetime, float]], zone: ZoneInfo
) -> None:
    pauses = [(begin, begin + timedelta(hours=length)) for begin, length in breaks]
    target = timedelta(hours=hours)
    due = due_at(opened, target, calendar(zone), pauses)
    assert working_time(opened, due, calendar(zone), pauses) == target
    assert working_time(opened, due, around_the_clock()) == due - opened
    # No pause makes anything due earlier.
    assert due >= due_at(opened, target, calendar(zone))


def test_a_new_priority_keeps_the_pauses_already_taken() -> None:
    """glpi 15605 and 6902: the pause was lost when the target changed; here it is an argument of both."""
    pause = (at("2023-03-06 10:00"), at("2023-03-06 11:15"))
    before = due_at(at("2023-03-06 09:00"), timedelta(hours=8), calendar(), [pause])
    after = due_at(at("2023-03-06 09:00"), timedelta(hours=4), calendar(), [pause])
    assert before == at("2023-03-07 10:15")
    assert after == at("2023-03-06 14:15")


def test_hold_time_stops_the_clock_and_does_not_move_the_start() -> None:
    """frappe 2449: hold time was added to the creation; a hold out of hours then bought working time."""
    hold = (at("2023-03-06 17:00"), at("2023-03-07 09:00"))
    assert due_at(at("2023-03-06 16:00"), timedelta(hours=4), calendar(), [hold]) == at("2023-03-07 12:00")


def test_lunch_stands_every_day() -> None:
    """frappe 2212: a pause at lunch is two spans of the calendar, not a pause in the log."""
    hours = ((time(9), time(12)), (time(13), time(17)))
    made = WorkingCalendar(version="t", zone=SHANGHAI, week=dict.fromkeys(range(5), hours))
    assert due_at(at("2023-03-06 11:30"), timedelta(hours=1), made) == at("2023-03-06 13:30")
    assert working_time(at("2023-03-06 09:00"), at("2023-03-07 09:00"), made) == timedelta(hours=7)


def test_the_zone_of_the_reader_does_not_move_the_target() -> None:
    """glpi 15429: a time zone gave negative escalation. The same moment in three zones is due at the same moment."""
    opened = at("2023-03-03 16:30")
    due = {due_at(opened.astimezone(zone), timedelta(hours=4), calendar()) for zone in (SHANGHAI, BERLIN, UTC)}
    assert due == {at("2023-03-06 12:30")}
    assert due.pop() > opened
