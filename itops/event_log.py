"""Reads a ServiceNow-style audit log and rebuilds each incident's clocks from its events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from itops.records import Refusals, read_time
from itops.severity import FloatArray
from itops.sla import Span, WorkingCalendar, around_the_clock, working_time
from itops.table import read_rows

#: States in which the customer's clock stands, and those in which only the engineer's does.
USER_STATES = frozenset({"Awaiting User Info", "Awaiting Evidence"})
VENDOR_STATES = frozenset({"Awaiting Vendor", "Awaiting Problem"})
RESOLVED_STATES = frozenset({"Resolved", "Closed"})
COLUMNS = (
    "number",
    "incident_state",
    "made_sla",
    "opened_at",
    "sys_updated_at",
    "priority",
    "resolved_at",
    "closed_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One incident as its log tells it."""

    number: str
    priority: str  #: the last one
    opened: datetime
    restored: datetime | None  #: when it was resolved for the last time; None: the log never says so
    closed: datetime | None  #: paperwork
    user_pauses: tuple[Span, ...]
    vendor_pauses: tuple[Span, ...]
    flag: bool  #: the last made_sla: the tool's own verdict
    bad_state: bool  #: a state that the tool itself calls invalid stands in the log


def read_log(text: str, *, zone_of: "WorkingCalendar | None" = None, table: str = "incidents") -> list[Logged]:
    """Incidents in order of their number. A state holds until the next event; '?' is missing.

    Times are local and stay so: where a calendar is given they are read in its zone, else in UTC, so that a naive log
    has no clock change. Raises BadTable naming line and field.
    """
    zone = (zone_of or around_the_clock()).zone
    found = read_rows(text, table=table, required=COLUMNS, optional=())
    bad = Refusals(table)
    by_number = dict[str, list[tuple[datetime, dict[str, str], datetime, datetime | None, datetime | None]]]()
    for row in found.rows:
        cells = row.cells
        at, opened = read_time(bad, row, "sys_updated_at"), read_time(bad, row, "opened_at")
        ends = [read_time(bad, row, c) if cells[c] not in ("", "?") else None for c in ("resolved_at", "closed_at")]
        if cells["made_sla"].lower() not in ("true", "false"):
            bad.add(row, "made_sla", "must be true or false")
        if at is None or opened is None:
            continue
        by_number.setdefault(cells["number"], []).append((at, cells, opened, ends[0], ends[1]))
    bad.finish()
    out = []
    for number, rows in sorted(by_number.items()):
        rows.sort(key=lambda each: each[0])
        pauses: dict[frozenset[str], list[Span]] = {USER_STATES: [], VENDOR_STATES: []}
        for k, (at, cells, *_) in enumerate(rows):
            until = rows[k + 1][0] if k + 1 < len(rows) else None
            for states, spans in pauses.items():
                if cells["incident_state"] in states and until is not None and until > at:
                    spans.append((at.replace(tzinfo=zone), until.replace(tzinfo=zone)))
        _, last, opened, restored, closed = rows[-1]
        out.append(
            Logged(
                number=number,
                priority=last["priority"],
                opened=opened.replace(tzinfo=zone),
                restored=restored.replace(tzinfo=zone) if restored else None,
                closed=closed.replace(tzinfo=zone) if closed else None,
                user_pauses=tuple(pauses[USER_STATES]),
                vendor_pauses=tuple(pauses[VENDOR_STATES]),
                flag=last["made_sla"].lower() == "true",
                bad_state=any(cells["incident_state"] == "-100" for _, cells, *_ in rows),
            )
        )
    return out


def elapsed_h(
    incidents: Sequence[Logged], calendar: WorkingCalendar, *, to: str = "restored", pauses: str = "user"
) -> FloatArray:
    """(n,) hours of each clock: to `restored` or `closed`, without `none`, `user` or `all` pauses; nan: no end."""
    out = np.full(len(incidents), np.nan)
    for i, each in enumerate(incidents):
        end = each.restored if to == "restored" else each.closed
        if end is None or end < each.opened:
            continue
        stands = {"none": (), "user": each.user_pauses, "all": each.user_pauses + each.vendor_pauses}
        out[i] = working_time(each.opened, end, calendar, stands[pauses]) / timedelta(hours=1)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well one clock with the target that suits it best repeats the tool's flag."""

    target_h: float
    n: int
    share: float  #: of incidents on which clock and flag agree
    n_flag_made_clock_missed: int
    n_flag_missed_clock_made: int


def best_target(hours: FloatArray, made: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Agreement:
    """The target, among the clock's own values, at which `hours <= target` agrees most often with the flag."""
    known = np.isfinite(hours)
    h, flag = hours[known], made[known]
    order = np.argsort(h, kind="stable")
    h, flag = h[order], flag[order]
    right = np.cumsum(flag) + (np.count_nonzero(~flag) - np.cumsum(~flag))
    # A target may only stand after the last of equal values.
    whole = np.append(h[1:] > h[:-1], True)
    k = int(np.argmax(np.where(whole, right, -1)))
    met = h <= h[k]
    return Agreement(
        target_h=float(h[k]),
        n=len(h),
        share=float(np.mean(met == flag)),
        n_flag_made_clock_missed=int(np.count_nonzero(flag & ~met)),
        n_flag_missed_clock_made=int(np.count_nonzero(~flag & met)),
    )
