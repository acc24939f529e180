"""Footprints that meet exposure and bulletins of authorities, to warnings: level-triggered, so that order, repetition
and lost notifications make no difference.

Each look reads what is known now, compares it with where each rule stands, and says what follows (`alerts.event_rule`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import shapely
from shapely.geometry import MultiPolygon, shape
from shapely.geometry.base import BaseGeometry

from alerts import event_repository, notices, rule_repository
from alerts.audience import area_of
from alerts.event_repository import EventStanding, LiveEventRule
from alerts.event_rule import FOOTPRINT, Exposure, Sight, exposure_level, next_event
from alerts.level import Level, level
from alerts.lifecycle import Decision, LifecycleState, Message, Reason
from alerts.rule_repository import Subject
from alerts.speak import Speaker
from alerts.voice import Said
from core.ids import new_id
from ingest.cap.message import BadCap, CapMessage
from ingest.cap.read import from_tree
from ingest.cap.structure import parse
from store.queries import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One event as it is known now."""

    subject: str
    sight: Sight
    area: BaseGeometry | None
    area_fault: Reason | None
    area_desc: Mapping[str, str]
    name: str
    authority: str | None = None
    bulletin_id: UUID | None = None
    unknown_severity: bool = False


async def watch_events(speaker: Speaker, now: datetime) -> list[Decision]:
    """Looks at every event that rules without a gauge are about; gives the decisions made."""
    decisions: list[Decision] = []
    for live in await event_repository.event_rules(speaker.conn, now):
        if not await event_repository.lock_event_rule(speaker.conn, live.rule.rule_id):
            continue
        standing = await event_repository.event_states(speaker.conn, live.rule.rule_id)
        if live.rule.kind == FOOTPRINT:
            seen = sights_of_footprints(live, await event_repository.footprints_met(speaker.conn, live.rule, now))
        else:
            known = [one.bulletin_id for one in standing.values() if one.bulletin_id is not None]
            rows = await event_repository.bulletins_seen(speaker.conn, live.rule, known, now)
            seen = sights_of_bulletins(live, rows, standing)
        for one in seen:
            decisions += await _follow(speaker, live, one, standing.get(one.subject), now)
        if speaker.woken:
            await rule_repository.wake(speaker.conn, speaker.woken, now)
            speaker.woken.clear()
    return decisions


async def _follow(
    speaker: Speaker, live: LiveEventRule, seen: Seen, standing: EventStanding | None, now: datetime
) -> list[Decision]:
    rule = live.rule
    was = standing or EventStanding(
        subject=seen.subject, bulletin_id=seen.bulletin_id, state=LifecycleState(), warning_id=None
    )
    own = Subject(
        rule=rule,
        area=seen.area,
        area_fault=seen.area_fault,
        area_desc=seen.area_desc,
        tenant_slug=live.tenant_slug,
        tenant_name=live.tenant_name,
        tenant_settings=live.tenant_settings,
        station_name=seen.name,
        scheme=live.scheme,
        authority=seen.authority,
        incident=f"event:{seen.subject}",
    )
    if seen.unknown_severity and not was.state.open:
        # nobody may assume how bad it is: a person looks, once for each bulletin
        subject = f"{rule.rule_id} {seen.bulletin_id}"
        detail = {"rule": rule.code, "authority": seen.authority}
        if not await notices.tell(speaker.conn, rule.tenant_id, "severity_unknown", subject, now=now, detail=detail):
            return []
        unknown = Decision(
            reason=Reason.SEVERITY_UNKNOWN,
            at=now,
            before=Level.NONE,
            after=Level.NONE,
            operator=True,
            detail=dict(seen.sight.detail or {}),
        )
        await speaker.record(own, unknown, None, None)
        return [unknown]
    state, warning_id = was.state, was.warning_id
    made: list[Decision] = []
    for _ in range(8):  # the longest chain is an expiry, a change and a hold
        state, decision = next_event(rule, state, seen.sight, now)
        if decision is None:
            break
        made.append(decision)
        if decision.message is None:
            await speaker.record(own, decision, warning_id, None)
            await speaker.tell_changed(rule.tenant_id, warning_id)
            continue
        if decision.message is Message.FIRST or warning_id is None:
            warning_id = new_id()
        said = Said(message=decision.message, level=decision.after, lead=rule.rule_id)
        live_until, wake_at = await speaker.speak(
            own, decision, warning_id, said=said, own_state=state, lead=own, state=state
        )
        if state.open:
            state = replace(state, live_until=live_until, renew_at=wake_at or state.renew_at)
    else:
        raise AssertionError(f"an event does not come to rest: {[one.reason for one in made]}")
    after = EventStanding(
        subject=seen.subject, bulletin_id=seen.bulletin_id or was.bulletin_id, state=state, warning_id=warning_id
    )
    if after != was and (made or standing is not None):
        await event_repository.save_event_state(speaker.conn, rule, after, now)
    return made


def sights_of_footprints(live: LiveEventRule, rows: list[Row]) -> Iterator[Seen]:
    """One sight an event: the worst of the tenant's portfolios, each by its own currency."""
    by_event: dict[UUID, list[Row]] = {}
    for row in rows:
        by_event.setdefault(row["hazard_event_id"], []).append(row)
    for event_id, mine in by_event.items():
        levels = [
            (
                exposure_level(
                    live.rule,
                    Exposure(
                        n_policies=row["n_policies"],
                        insured_value=Decimal(row["exposed_tiv"]),
                        n_unknown=row["n_unknown"],
                        unknown_value=Decimal(row["unknown_tiv"]),
                    ),
                ),
                Decimal(row["exposed_tiv"]),
                row["portfolio"],
                row,
            )
            for row in mine
        ]
        worst, _, _, row = max(levels, key=lambda one: one[:3])
        area, fault = _reach(row)
        detail: dict[str, Any] = {
            "footprint_version": row["version"],
            "portfolio": row["portfolio"],
            "n_policies": row["n_policies"],
            "insured_value": str(row["exposed_tiv"]),
            "currency": row["currency"],
            "n_unknown": row["n_unknown"],
            "unknown_value": str(row["unknown_tiv"]),
        }
        yield Seen(
            subject=str(event_id),
            sight=Sight(
                level=worst,
                at=max(one["computed_at"] for one in mine),
                over=row["ended_at"] is not None,
                detail=detail,
            ),
            area=area,
            area_fault=fault,
            area_desc={"en": row["name"]},
            name=row["name"],
        )


def _reach(row: Row) -> tuple[BaseGeometry | None, Reason | None]:
    """Where the hazard is, and where it is forecast to come."""
    area, fault = area_of(row["geometry"])
    if area is None or fault is not None:
        return area, fault
    coming = [shape(zone["geometry"]) for zone in row["zones"]]
    both = shapely.union_all([area, *coming]) if coming else area
    parts = [one for one in getattr(both, "geoms", [both]) if one.geom_type == "Polygon" and not one.is_empty]
    return MultiPolygon(parts) if len(parts) > 1 else parts[0] if parts else area, None


def sights_of_bulletins(live: LiveEventRule, rows: list[Row], standing: Mapping[str, EventStanding]) -> Iterator[Seen]:
    """One sight a chain: its newest message. A chain's name is that of the first bulletin that a rule spoke of."""
    by_id = {row["bulletin_id"]: row for row in rows}
    subject_of = {one.bulletin_id: one.subject for one in standing.values() if one.bulletin_id is not None}
    for subject, one in standing.items():
        row = by_id.get(one.bulletin_id) if one.bulletin_id is not None else None
        hops = 0
        while row is not None and row["ended_by"] in by_id and hops < 100:
            row, hops = by_id[row["ended_by"]], hops + 1
        if row is not None:
            yield _seen(live, row, subject)
    spoken = set(subject_of)
    for row in rows:
        if not row["would_notify"] or row["ended_by"] is not None or row["bulletin_id"] in spoken:
            continue
        if any(_chain_of(before, by_id) & spoken for before in row["replaces"]):
            continue  # the newest of a chain that is followed already
        yield _seen(live, row, str(row["bulletin_id"]))


def _chain_of(bulletin_id: UUID, by_id: Mapping[UUID, Row]) -> set[UUID]:
    """A bulletin and what it replaced."""
    found: set[UUID] = set()
    left = [bulletin_id]
    while left:
        one = left.pop()
        if one in found:
            continue
        found.add(one)
        left += by_id[one]["replaces"] if one in by_id else []
    return found


def _seen(live: LiveEventRule, row: Row, subject: str) -> Seen:
    message = _message(row)
    info = message.info[0] if message is not None and message.info else None
    over = row["msg_type"] == "Cancel" or (info is not None and "AllClear" in info.response_type)
    worst: Level | None
    if row["colour"] is not None:
        worst = level(row["colour"])
    else:
        worst = live.scheme.level_of_severity(row["severity"] or "Unknown")
    named = level(worst.word) if worst is not None else Level.NONE
    authority = (info.sender_name if info is not None else None) or row["sender"]
    area, fault = area_of(row["area"])
    languages = {one.language.split("-")[0].lower(): one for one in (message.info if message is not None else ())}
    desc = {
        language: "; ".join(place.area_desc for place in one.area)[:300]
        for language, one in languages.items()
        if one.area
    }
    return Seen(
        subject=subject,
        sight=Sight(
            level=Level.NONE if named < live.rule.at_least else named,
            at=row["sent_at"],
            over=over,
            until=row["expires_at"],
            detail={
                "authority": authority,
                "sender": row["sender"],
                "identifier": row["identifier"],
                "headline": (row["headline"] or "")[:300],
                **({"expires": row["expires_at"].isoformat()} if row["expires_at"] is not None else {}),
            },
        ),
        area=area,
        area_fault=fault,
        area_desc=desc or {"en": row["headline"] or row["event"] or authority},
        name=row["headline"] or row["event"] or authority,
        authority=authority,
        bulletin_id=row["bulletin_id"],
        unknown_severity=worst is None and not over,
    )


def _message(row: Row) -> CapMessage | None:
    """The bulletin as CAP, where it came as CAP."""
    try:
        return from_tree(parse(bytes(row["raw"])))
    except BadCap:
        return None
