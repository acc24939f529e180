"""Service-level clocks: a pure function of times, pauses and a calendar version; nothing is ever edited in place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.errors import InvalidInput

#: Further than this into the future no target is looked for: a calendar without working time would never end.
_HORIZON = timedelta(days=3700)

Span = tuple[datetime, datetime]


class BadCalendar(InvalidInput):
    """A calendar's hours must run forward within a day, and not overlap."""


class BadClock(InvalidInput):
    """A service-level clock needs aware times, and pauses that end after they begin."""


class NeverDue(InvalidInput):
    """The target is not reached within ten years of this calendar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCalendar:
    """When a service-level clock runs, by the local time of a place.

    A working day outside the week's pattern (a make-up day, as before Chinese holidays) stands in `extra`, with the
    hours it is worked; a day off in `holidays`. `extra` wins over `holidays`, both over the week.
    """

    version: str
    zone: ZoneInfo
    week: Mapping[int, tuple[tuple[time, time], ...]]  #: Monday 0 ... Sunday 6; an absent day is not worked
    holidays: frozenset[date] = frozenset()
    extra: Mapping[date, tuple[tuple[time, time], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for spans in (*self.week.values(), *self.extra.values()):
            edges = [edge for span in spans for edge in span]
            # 00:00 as an end means the end of the day.
            ends = [edge if index % 2 == 0 or edge != time(0) else time.max for index, edge in enumerate(edges)]
            if any(a >= b for a, b in zip(ends[::2], ends[1::2], strict=True)) or ends != sorted(ends):
                raise BadCalendar(version=self.version, hours=str(spans))

    def hours_of(self, day: date) -> tuple[tuple[time, time], ...]:
        """The hours worked on a day, local time."""
        if day in self.extra:
            return self.extra[day]
        return () if day in self.holidays else self.week.get(day.weekday(), ())

    def spans_of(self, day: date) -> list[Span]:
        """The same in UTC. A day on which the clocks change has an hour more or less where it is worked."""
        spans = []
        for begin, end in self.hours_of(day):
            after = day if end != time(0) else day + timedelta(days=1)
            first = datetime.combine(day, begin, self.zone).astimezone(UTC)
            last = datetime.combine(after, end, self.zone).astimezone(UTC)
            if last > first:
                spans.append((first, last))
        return spans


def around_the_clock(version: str = "24x7") -> WorkingCalendar:
    """A clock that never stands."""
    return WorkingCalendar(version=version, zone=ZoneInfo("UTC"), week={day: ((time(0), time(0)),) for day in range(7)})


def working_time(begin: datetime, end: datetime, calendar: WorkingCalendar, pauses: Sequence[Span] = ()) -> timedelta:
    """Working time between two moments that no pause covers; overlapping pauses count once. Raises BadClock."""
    _check(begin, pauses)
    total = timedelta(0)
    for first, last in _running(begin, end, calendar, pauses):
        total += last - first
    return total


def due_at(opened: datetime, target: timedelta, calendar: WorkingCalendar, pauses: Sequence[Span] = ()) -> datetime:
    """The moment at which `target` of unpaused working time has run since `opened`, in UTC.

    A target of 0 is due at once. A pause moves it by the working time it covers and by no more. Raises BadClock,
    NeverDue.
    """
    _check(opened, pauses)
    left = target
    if left <= timedelta(0):
        return opened.astimezone(UTC)
    for first, last in _running(opened, opened + _HORIZON, calendar, pauses):
        if last - first >= left:
            return first + left
        left -= last - first
    raise NeverDue(opened=opened.isoformat(), target_h=target / timedelta(hours=1), calendar=calendar.version)


def _check(begin: datetime, pauses: Sequence[Span]) -> None:
    if begin.tzinfo is None or any(a.tzinfo is None or b.tzinfo is None for a, b in pauses):
        raise BadClock("A service-level clock needs aware times")
    if any(b < a for a, b in pauses):
        raise BadClock("A pause ends before it begins")


def _running(begin: datetime, end: datetime, calendar: WorkingCalendar, pauses: Sequence[Span]) -> Iterator[Span]:
    """Spans in [begin, end) in which the clock runs, in order, day by day."""
    begin, end, stands = begin.astimezone(UTC), end.astimezone(UTC), _merged(pauses)
    # A day before and after: local days begin and end at other moments than those of UTC.
    day = begin.date() - timedelta(days=1)
    while day <= end.date() + timedelta(days=1):
        for first, last in calendar.spans_of(day):
            at, until = max(first, begin), min(last, end)
            for pause_from, pause_to in stands:
                if at >= until or pause_from >= until:
                    break
                if pause_to <= at:
                    continue
                if pause_from > at:
                    yield at, pause_from
                at = pause_to
            if at < until:
                yield at, until
        day += timedelta(days=1)


def _merged(pauses: Sequence[Span]) -> list[Span]:
    """Pauses in UTC, in order, overlapping ones joined."""
    out: list[Span] = []
    for first, last in sorted((a.astimezone(UTC), b.astimezone(UTC)) for a, b in pauses):
        if out and first <= out[-1][1]:
            out[-1] = (out[-1][0], max(last, out[-1][1]))
        elif last > first:
            out.append((first, last))
    return out
