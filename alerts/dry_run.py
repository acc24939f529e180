"""What a rule would have said of the last days, and what the rule that stands said: before it goes live."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from alerts import event_repository, rule_repository
from alerts.event_repository import EventStanding, LiveEventRule
from alerts.event_rule import FOOTPRINT, EventRule, next_event
from alerts.lifecycle import Decision, LifecycleState, Message, rehearse
from alerts.rule import LevelRule, Reading
from alerts.rulebook import RuleEntry
from alerts.scheme import LevelScheme, read_scheme
from alerts.watch_events import Seen, sights_of_bulletins, sights_of_footprints
from ingest.forecast.live import LiveForecasts
from ingest.forecast.outlook import Outlook
from store.pool import AsyncConnection
from store.queries import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One rule's story."""

    n_warnings: int
    by_level: Mapping[str, int]  #: messages that raised or first gave a level
    reasons: Mapping[str, int]
    first_at: datetime | None
    hours_warned: float
    n_false: int | None  #: warnings that ended without any reading at their highest level; none: no gauge could say


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A rule of a file beside the one that stands."""

    code: str
    station: str
    n_readings: int  #: readings, or footprint versions or bulletins that the rule would have looked at
    new: Rehearsal
    standing: Rehearsal | None
    decisions: Sequence[Decision]


async def dry_run(conn: AsyncConnection, entries: Sequence[RuleEntry], *, now: datetime, days: float) -> list[DryRun]:
    """Rehearses each rule on what came in the last `days`; nothing is written and nobody is told.

    A rule of a gauge on its readings, one without on the footprints and their assessments, or the bulletins.
    """
    start = now - timedelta(days=days)
    rules = [(entry.rule, entry.site) for entry in entries if isinstance(entry.rule, LevelRule)]
    streams = sorted({rule.datastream_id for rule, _ in rules})
    longest = max((rule.lookback for rule, _ in rules), default=timedelta(0))
    readings = await rule_repository.readings_since(conn, dict.fromkeys(streams, start - longest)) if streams else {}
    outlooks: dict[int, list[Outlook]] = {}
    if any(rule.forecast_within is not None for rule, _ in rules):
        outlooks = await LiveForecasts(memory=now - start + timedelta(hours=72)).rehearse(conn, streams, now)
    done = []
    for rule, site in rules:
        stream = rule.datastream_id
        known = [one for one in readings.get(stream, []) if one.received_at <= now]
        state = LifecycleState(evaluated_until=start)
        told = outlooks.get(stream, [])
        _, decisions = rehearse(rule, state, known, now, outlooks=told)
        standing = await rule_repository.standing_rule(conn, rule.rule_id, now)
        before = None
        if standing is not None and standing.datastream_id == stream:
            before = _rehearsal(standing, rehearse(standing, state, known, now, outlooks=told)[1], known, now)
        done.append(
            DryRun(
                code=rule.code,
                station=site.code if site is not None else "",
                n_readings=sum(one.at >= start for one in known),
                new=_rehearsal(rule, decisions, known, now),
                standing=before,
                decisions=decisions,
            )
        )
    return done + [
        await _dry_run_of_events(conn, entry.rule, start, now) for entry in entries if isinstance(entry.rule, EventRule)
    ]


async def _dry_run_of_events(conn: AsyncConnection, rule: EventRule, start: datetime, now: datetime) -> DryRun:
    """The rule on what was known of events, at the times at which it was known."""
    row = await rule_repository.newest_scheme(conn, rule.tenant_id, now)
    scheme = read_scheme(row["told"], row["version"]) if row is not None else LevelScheme()
    standing = {one.rule.rule_id: one.rule for one in await event_repository.event_rules(conn, now)}.get(rule.rule_id)

    async def story(one: EventRule) -> tuple[int, list[Decision]]:
        rows = await event_repository.sights_before(conn, one, start, now)
        live = LiveEventRule(rule=one, tenant_slug="", tenant_name="", tenant_settings={}, scheme=scheme)
        # a footprint is assessed against several books: one look at it is one
        seen = {row.get("footprint_id") or row["bulletin_id"] for row in rows if row["known_at"] >= start}
        return len(seen), rehearse_events(live, rows, start, now)

    n_seen, decisions = await story(rule)
    before = _told((await story(standing))[1], now) if standing is not None else None
    return DryRun(
        code=rule.code, station="", n_readings=n_seen, new=_told(decisions, now), standing=before, decisions=decisions
    )


def rehearse_events(live: LiveEventRule, rows: Sequence[Row], start: datetime, until: datetime) -> list[Decision]:
    """The decisions of a rule without a gauge on what was known when, had each of its messages gone out. Pure.

    It looks whenever something becomes known or runs out, as the timers do in the running system.
    """
    rule = live.rule
    states: dict[str, EventStanding] = {}
    decisions: list[Decision] = []
    due = sorted(
        {max(row["known_at"], start) for row in rows} | {row["ended_at"] for row in rows if row.get("ended_at")}
    )
    heapq.heapify(due)
    done: datetime | None = None
    while due:
        at = heapq.heappop(due)
        if at > until or at < start or at == done:
            continue
        done = at
        known = [row for row in rows if row["known_at"] <= at]
        for seen in _sights(live, known, states, at):
            if seen.unknown_severity:
                continue  # a person would look; nobody is told
            was = states.get(seen.subject)
            state = was.state if was is not None else LifecycleState()
            while True:
                state, decision = next_event(rule, state, seen.sight, at)
                if decision is None:
                    break
                decisions.append(decision)
                if decision.message not in (None, Message.ALL_CLEAR):
                    state = replace(state, live_until=seen.sight.until or at + rule.expires_after)
            states[seen.subject] = EventStanding(
                subject=seen.subject, bulletin_id=seen.bulletin_id, state=state, warning_id=None
            )
            stale_at = seen.sight.at + rule.expires_after + timedelta(seconds=1)
            for later in (state.renew_at, state.live_until, stale_at):
                if state.open and later is not None and at < later <= until:
                    heapq.heappush(due, later)
    return decisions


def _sights(
    live: LiveEventRule, known: Sequence[Row], states: Mapping[str, EventStanding], at: datetime
) -> Iterable[Seen]:
    """What was known at a time, as the running system would have read it then."""
    if live.rule.kind == FOOTPRINT:
        newest: dict[UUID, int] = {}
        for row in known:
            newest[row["hazard_event_id"]] = max(newest.get(row["hazard_event_id"], 0), row["version"])
        then = [
            row | {"ended_at": row["ended_at"] if row["ended_at"] is not None and row["ended_at"] <= at else None}
            for row in known
            if row["version"] == newest[row["hazard_event_id"]]
        ]
        return list(sights_of_footprints(live, then))
    ids = {row["bulletin_id"] for row in known}
    then = [
        row
        | {
            "ended_by": row["ended_by"] if row["ended_by"] in ids else None,
            "replaces": [one for one in row["replaces"] if one in ids],
        }
        for row in known
    ]
    return list(sights_of_bulletins(live, then, states))


def _told(decisions: Sequence[Decision], now: datetime) -> Rehearsal:
    """A story without a gauge: whether its warnings came true, nothing here can say."""
    raised = [one for one in decisions if one.message in (Message.FIRST, Message.RAISE)]
    opened: list[datetime] = []
    hours = 0.0
    for one in decisions:
        if one.message is Message.FIRST:
            opened.append(one.at)
        elif one.message is Message.ALL_CLEAR and opened:
            hours += (one.at - opened.pop(0)).total_seconds() / 3600.0
    hours += sum((now - one).total_seconds() / 3600.0 for one in opened)
    return Rehearsal(
        n_warnings=sum(one.message is Message.FIRST for one in decisions),
        by_level=dict(Counter(one.after.word for one in raised)),
        reasons=dict(Counter(one.reason.value for one in decisions)),
        first_at=min((one.at for one in raised), default=None),
        hours_warned=hours,
        n_false=None,
    )


def _rehearsal(rule: LevelRule, decisions: Sequence[Decision], readings: Sequence[Reading], now: datetime) -> Rehearsal:
    raised = [one for one in decisions if one.message in (Message.FIRST, Message.RAISE)]
    hours, n_false = 0.0, 0
    opened: datetime | None = None
    highest = None
    for one in [*decisions, None]:
        if one is not None and one.message is Message.FIRST:
            opened, highest = one.at, one.after
        elif one is not None and one.message is Message.RAISE:
            highest = one.after
        elif opened is not None and (one is None or one.message is Message.ALL_CLEAR):
            end = now if one is None else one.at
            hours += (end - opened).total_seconds() / 3600.0
            assert highest is not None
            until = end + (rule.forecast_within or timedelta(0))
            there = any(
                r.usable
                and r.value is not None
                and r.value >= rule.thresholds[highest]
                and opened <= r.received_at <= until
                for r in readings
            )
            # one that still stands may yet come true
            n_false += one is not None and not there
            opened = None
    return Rehearsal(
        n_warnings=sum(one.message is Message.FIRST for one in decisions),
        by_level=dict(Counter(one.after.word for one in raised)),
        reasons=dict(Counter(one.reason.value for one in decisions)),
        first_at=raised[0].at if raised else None,
        hours_warned=hours,
        n_false=n_false,
    )
