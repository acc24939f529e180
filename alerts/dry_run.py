"""What a rule would have said of the last days, and what the rule that stands said: before it goes live."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts import rule_repository
from alerts.lifecycle import Decision, LifecycleState, Message, rehearse
from alerts.rule import LevelRule, Reading
from alerts.rulebook import RuleEntry
from ingest.forecast.live import LiveForecasts
from ingest.forecast.outlook import Outlook
from store.pool import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One rule's story."""

    n_warnings: int
    by_level: Mapping[str, int]  #: messages that raised or first gave a level
    reasons: Mapping[str, int]
    first_at: datetime | None
    hours_warned: float
    n_false: int  #: warnings that ended without any reading at their highest level


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A rule of a file beside the one that stands."""

    code: str
    station: str
    n_readings: int
    new: Rehearsal
    standing: Rehearsal | None
    decisions: Sequence[Decision]


async def dry_run(conn: AsyncConnection, entries: Sequence[RuleEntry], *, now: datetime, days: float) -> list[DryRun]:
    """Rehearses each rule of a gauge on the readings of the last `days`; nothing is written and nobody is told."""
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
    return done


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
