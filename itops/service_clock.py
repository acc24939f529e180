"""A service level rebuilt from an incident's events: pauses with a reason, changes of target, reopening."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from core.errors import InvalidInput
from itops.sla import Span, WorkingCalendar, due_at, working_time

#: Reasons that stop the customer's clock. A wait for a vendor or a part does not: it stops the engineer's (OLA).
USER_REASONS = frozenset({"customer unavailable", "site access", "awaiting approval", "force majeure"})
VENDOR_REASONS = frozenset({"vendor", "part"})


class BadEvents(InvalidInput):
    """Events of an incident must be in order of time, begin with the opening, and pause only with a known reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an incident."""

    at: datetime  #: aware
    kind: str  #: opened, responded, paused, resumed, restored, rejected (the customer says: not restored), priority
    reason: str = ""  #: of a pause
    priority: str = ""  #: from this event on


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Response and restoration targets by priority."""

    version: str
    response: Mapping[str, timedelta]
    restoration: Mapping[str, timedelta]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One clock of an incident as of a moment."""

    due: datetime  #: UTC; with the pauses known so far
    elapsed: timedelta  #: working time that counted
    stopped: datetime | None  #: None: still running, or standing in a pause
    breached: bool
    calendar_version: str
    targets_version: str

    def escalations(self, target: timedelta) -> tuple[int, ...]:
        """Which of 50, 75, 90 and 100 % of the target have passed."""
        return tuple(step for step in (50, 75, 90, 100) if self.elapsed * 100 >= target * step)


def pauses_of(events: Sequence[Event], now: datetime, reasons: frozenset[str] = USER_REASONS) -> list[Span]:
    """The pauses for these reasons, one that runs on being closed at `now`. Raises BadEvents."""
    out, since = list[Span](), None
    for each in events:
        if each.kind == "paused":
            if each.reason not in USER_REASONS | VENDOR_REASONS:
                raise BadEvents("A pause needs a coded reason", reason=each.reason, at=each.at.isoformat())
            if since is not None:
                out.append((since, each.at))
            since = each.at if each.reason in reasons else None
        elif each.kind in ("resumed", "restored") and since is not None:
            out.append((since, each.at))
            since = None
    if since is not None and now > since:
        out.append((since, now))
    return out


def clock(
    events: Sequence[Event],
    which: str,
    *,
    calendar: WorkingCalendar,
    targets: Targets,
    now: datetime,
    reasons: frozenset[str] = USER_REASONS,
) -> Clock:
    """The `response` or `restoration` clock: a pure function of events, calendar version and target version.

    Nothing is edited in place: compute it again at any time and it says the same. The target is that of the last known
    priority, counted from the opening, and pauses already taken stay (a change of priority loses none). Restoration
    stops the clock, closing does not; a rejection starts it again and the time between restoration and rejection does
    not count. Events after `now` are not known. Raises BadEvents.
    """
    known = [each for each in events if each.at <= now]
    if not known or known[0].kind != "opened" or any(b.at < a.at for a, b in pairwise(known)):
        raise BadEvents(n_events=len(known))
    if which not in ("response", "restoration"):
        raise BadEvents("A clock is one of response, restoration", which=which)
    priority = [each.priority for each in known if each.priority]
    table = targets.response if which == "response" else targets.restoration
    if not priority or priority[-1] not in table:
        raise BadEvents("No target for this priority", priority=priority[-1] if priority else "")
    target, opened = table[priority[-1]], known[0].at
    stands, stopped = pauses_of(known, now, reasons), None
    for each in known:
        if which == "response":
            # The first answer, by whatever event: restoration without an answer is one. Later updates do not move it.
            if each.kind in ("responded", "restored") and stopped is None:
                stopped = each.at
        elif each.kind == "restored" and stopped is None:
            stopped = each.at
        elif each.kind == "rejected" and stopped is not None:
            stands.append((stopped, each.at))
            stopped = None
    elapsed = working_time(opened, stopped or now, calendar, stands)
    return Clock(
        due=due_at(opened, target, calendar, stands),
        elapsed=elapsed,
        stopped=stopped,
        breached=elapsed > target,
        calendar_version=calendar.version,
        targets_version=targets.version,
    )


def breach_probability(
    survival_at_target: Sequence[float], share: Sequence[float]
) -> float:  #: of kinds of incidents, and how often each comes
    """P(a ticket misses its target) over kinds of incidents: sum of share x P(D > target | kind). Raises BadEvents."""
    if len(survival_at_target) != len(share) or not share or abs(sum(share) - 1.0) > 1e-9:
        raise BadEvents("Shares of kinds of incidents must sum to 1", shares=str(list(share)))
    return float(sum(s * p for s, p in zip(share, survival_at_target, strict=True)))
