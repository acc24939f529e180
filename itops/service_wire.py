"""The service calendar of a submission, as it is sent and as it is counted by."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field

from itops.service_hours import ServiceCalendar
from itops.sla import WorkingCalendar
from itops.wire import STRICT, Day, Reading, Text

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_SHAPE = 'is not a span of one day such as "08:00-18:00"; the day ends at 24:00, and a span over midnight is two'

_DAYS_ZH: Final = "一二三四五六日"

Spans = tuple[tuple[time, time], ...]


class ServiceCalendarIn(BaseModel):
    """The hours in which a service is due."""

    model_config = STRICT

    name: Text
    time_zone: str | None = None
    week: dict[str, list[str]] = Field(default_factory=dict)
    holidays: list[Day] = Field(default_factory=list)
    working_days: dict[str, list[str]] = Field(default_factory=dict)
    incidents_by_hour: Annotated[list[Reading], Field(min_length=24, max_length=24)] | None = None
    incidents_by_weekday: Annotated[list[Reading], Field(min_length=7, max_length=7)] | None = None


def service_calendar(
    wire: ServiceCalendarIn, zone: ZoneInfo, problems: list[tuple[str, str]], at: str = "service_calendar"
) -> ServiceCalendar | None:
    """The calendar, in `zone` where it names none; None, with every wrong field in `problems`, where it is not one."""
    n = len(problems)
    if wire.time_zone is not None:
        try:
            zone = ZoneInfo(wire.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append((f"{at}.time_zone", f"{wire.time_zone!r} is not a time zone of the IANA database"))
    week: dict[int, Spans] = {}
    for name, spans in wire.week.items():
        if name not in WEEKDAYS:
            problems.append((f"{at}.week.{name}", f"is not a day; days are {', '.join(WEEKDAYS)}"))
            continue
        hours = _spans(spans, f"{at}.week.{name}", problems)
        if hours:
            week[WEEKDAYS.index(name)] = hours
    holidays = frozenset(wire.holidays)
    extra: dict[date, Spans] = {}
    for text, spans in wire.working_days.items():
        try:
            day = date.fromisoformat(text)
        except ValueError:
            problems.append((f"{at}.working_days.{text}", "is not a day of the form YYYY-MM-DD"))
            continue
        if day in holidays:
            problems.append((f"{at}.working_days.{text}", "is among the holidays too"))
        extra[day] = _spans(spans, f"{at}.working_days.{text}", problems)
    if not week and not any(extra.values()) and len(problems) == n:
        problems.append((f"{at}.week", "has no service hours: leave service_calendar out for round the clock"))
    patterns = {"incidents_by_hour": wire.incidents_by_hour, "incidents_by_weekday": wire.incidents_by_weekday}
    for name, weights in patterns.items():
        if weights is not None and not sum(weights) > 0:
            problems.append((f"{at}.{name}", "are all zero: some incidents begin at some time"))
    if len(problems) > n:
        return None
    return ServiceCalendar(
        name=wire.name,
        calendar=WorkingCalendar(version="", zone=zone, week=week, holidays=holidays, extra=extra),
        by_hour=None if wire.incidents_by_hour is None else tuple(wire.incidents_by_hour),
        by_weekday=None if wire.incidents_by_weekday is None else tuple(wire.incidents_by_weekday),
    )


def _spans(texts: Sequence[str], at: str, problems: list[tuple[str, str]]) -> Spans:
    out: list[tuple[time, time]] = []
    ended = -1
    for index, text in enumerate(texts):
        match = _SPAN.fullmatch(text)
        if match is None:
            problems.append((f"{at}.{index}", f"{text!r} {_SHAPE}"))
            continue
        begin, end = (int(match[k]) * 60 + int(match[k + 1]) for k in (1, 3))
        if end > 1440:
            problems.append((f"{at}.{index}", f"{text!r} {_SHAPE}"))
        elif end <= begin:
            problems.append((f"{at}.{index}", f"{text!r} ends before it begins; a span over midnight is two"))
        elif begin <= ended:
            problems.append((f"{at}.{index}", f"{text!r} does not begin after the end of the span before it"))
        else:
            # In a calendar 00:00 as an end is the end of the day.
            out.append((time(begin // 60, begin % 60), time(end % 1440 // 60, end % 60)))
        ended = max(ended, end)
    return tuple(out)


def plain_calendar(service: ServiceCalendar) -> dict[str, Any]:
    """The calendar in plain JSON values, one spelling for one meaning; it is a submission's calendar again."""
    calendar = service.calendar
    out: dict[str, Any] = {
        "name": service.name,
        "time_zone": calendar.zone.key,
        "week": {WEEKDAYS[day]: _texts(spans) for day, spans in sorted(calendar.week.items())},
    }
    if calendar.holidays:
        out["holidays"] = [day.isoformat() for day in sorted(calendar.holidays)]
    if calendar.extra:
        out["working_days"] = {day.isoformat(): _texts(spans) for day, spans in sorted(calendar.extra.items())}
    if service.by_hour is not None:
        out["incidents_by_hour"] = list(service.by_hour)
    if service.by_weekday is not None:
        out["incidents_by_weekday"] = list(service.by_weekday)
    return out


def _texts(spans: Spans) -> list[str]:
    return [f"{a:%H:%M}-{'24:00' if b == time(0) else f'{b:%H:%M}'}" for a, b in spans]


def version_of(plain: Mapping[str, Any]) -> str:
    """The calendar's version: the beginning of the SHA-256 of its spelling."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def described(service: ServiceCalendar, language: str = "en") -> str:
    """The calendar in one line: `monday to friday 08:00-18:00 (Asia/Shanghai)`."""
    calendar = service.calendar
    days: list[tuple[int, int, list[str]]] = []
    for day, spans in sorted(calendar.week.items()):
        texts = _texts(spans)
        if days and days[-1][1] == day - 1 and days[-1][2] == texts:
            days[-1] = (days[-1][0], day, texts)
        else:
            days.append((day, day, texts))
    n_off, n_own = len(calendar.holidays), len(calendar.extra)
    if language == "zh":
        told = [
            f"周{_DAYS_ZH[a]}{f'至周{_DAYS_ZH[b]}' if b > a else ''}{'、'.join(texts)}" for a, b, texts in days
        ]  # fmt: skip
        told += [f"节假日{n_off}天"] if n_off else []
        told += [f"调休及特别工作日{n_own}天"] if n_own else []
        return f"{'；'.join(told)}（{calendar.zone.key}）"
    told = [f"{WEEKDAYS[a]}{f' to {WEEKDAYS[b]}' if b > a else ''} {', '.join(texts)}" for a, b, texts in days]
    told += [f"holidays on {n_off} days"] if n_off else []
    told += [f"hours of their own on {n_own} days"] if n_own else []
    return f"{'; '.join(told)} ({calendar.zone.key})"
