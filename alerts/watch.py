"""New readings to warnings: the outbox consumer `watch`, and the timers beside it.

One transaction for each batch, or for all batches that wait: the states of the rules it touches, every decision with
its reason, new versions of warnings with the people they are for, and the events that tell the others. The decisions
themselves are made by `alerts.lifecycle`, from the readings' own times of arrival, so a batch that is handled twice,
late or in pieces gives the same warnings.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from alerts import notices, repository, rule_repository
from alerts.alert import UNREACHABLE, Alert, Recipient, content_sha256, reference
from alerts.audience import MASS_PEOPLE, Release, hold_reason, inside, priorities, release
from alerts.level import LEVELS, Level
from alerts.lifecycle import Decision, LifecycleState, Message, Phase, Reason, advance
from alerts.message import Facts, language_with_texts, missing_languages, render_all
from alerts.quorum import independent_count
from alerts.repository import StoredWarning
from alerts.rule import Reading
from alerts.rule_repository import LiveRule
from core.clock import Clock, ScenarioClock
from core.errors import Unavailable
from core.events import ObservationsStored, WarningChanged, WarningReleased
from core.ids import new_id
from core.log import get_logger
from ingest import repository as forecast_rows
from ingest.forecast.live import LiveForecasts
from ingest.forecast.outlook import Outlook
from store import outbox
from store.clock import read_clock
from store.pool import AsyncConnection, Pool

log = get_logger("watch")

#: How often timers (silence, renewal, expiry) are looked at, wall time.
TICK_S = 2.0


def _held(clock: Clock) -> bool:
    """True in a replay at full speed: then arrivals are the clock, and no timer of ours may run ahead of them."""
    return isinstance(clock, ScenarioClock) and clock.held_at is not None


async def watch_batch(
    conn: AsyncConnection,
    event: ObservationsStored,
    *,
    clock: Clock,
    auto_release_people: int,
    forecasts: LiveForecasts | None = None,
) -> list[Decision]:
    """Forecasts from a stored batch and judges it, in the transaction of `conn`; gives the decisions it made."""
    if forecasts is not None:
        await forecasts.forecast(conn, event.datastream_ids, event.received_until)
    now = event.received_until if _held(clock) else max(clock.now(), event.received_until)
    rules = await rule_repository.live_rules(conn, event.datastream_ids, event.received_until)
    work = _Watch(conn, clock=clock, auto_release_people=auto_release_people)
    decisions = await work.advance(rules, event.received_until, now)
    if _held(clock):
        decisions += await tick(conn, event.received_until, clock=clock, auto_release_people=auto_release_people)
    return decisions


def together(events: Sequence[ObservationsStored]) -> ObservationsStored:
    """Several batches of one tenant as one: what is decided goes by the readings' arrivals, not by their batches."""
    return ObservationsStored(
        datastream_ids=sorted({one for event in events for one in event.datastream_ids}),
        observed_from=min(event.observed_from for event in events),
        observed_until=max(event.observed_until for event in events),
        received_until=max(event.received_until for event in events),
    )


async def tick(conn: AsyncConnection, now: datetime, *, clock: Clock, auto_release_people: int) -> list[Decision]:
    """Lets time pass to `now` for every warning that is open or awaits confirmation: silence, renewal, expiry."""
    rules = await rule_repository.open_rules(conn, now)
    work = _Watch(conn, clock=clock, auto_release_people=auto_release_people)
    return await work.advance(rules, now, now)


@dataclass(slots=True)
class _Watch:
    """One transaction's worth of watching."""

    conn: AsyncConnection
    clock: Clock
    auto_release_people: int
    exercise: bool | None = None

    async def advance(self, rules: Sequence[LiveRule], until: datetime, now: datetime) -> list[Decision]:
        since: dict[int, datetime] = {}
        for live in rules:
            start = min(live.state.evaluated_until or until, until) - live.rule.lookback
            datastream_id = live.rule.datastream_id
            since[datastream_id] = min(since.get(datastream_id, start), start)
        readings = await rule_repository.readings_since(self.conn, since) if since else {}
        outlooks = await self._outlooks(rules, until)
        everything: list[Decision] = []
        states: list[tuple[UUID, LifecycleState, UUID | None]] = []
        for live in rules:
            state, warning_id, made = await self._advance_rule(
                live, readings[live.rule.datastream_id], outlooks.get(live.rule.datastream_id, []), until, now
            )
            everything += made
            if state != live.state or warning_id != live.warning_id:
                states.append((live.rule.rule_id, state, warning_id))
        await rule_repository.save_states(self.conn, states, now)
        return everything

    async def _outlooks(self, rules: Sequence[LiveRule], until: datetime) -> dict[int, list[Outlook]]:
        """The forecasts that these rules look at."""
        since: dict[int, datetime] = {}
        for live in rules:
            if live.rule.forecast_within is None:
                continue
            start = min(live.state.evaluated_until or until, until) - live.rule.outlook_lookback
            since[live.rule.datastream_id] = min(since.get(live.rule.datastream_id, start), start)
        return await forecast_rows.outlooks_since(self.conn, since) if since else {}

    async def _advance_rule(
        self, live: LiveRule, readings: list[Reading], outlooks: list[Outlook], until: datetime, now: datetime
    ) -> tuple[LifecycleState, UUID | None, list[Decision]]:
        state, warning_id = live.state, live.warning_id
        everything: list[Decision] = []
        finished = False
        while not finished:
            state, decisions, finished = advance(
                live.rule, state, readings, until, now=None if _held(self.clock) else now, outlooks=outlooks
            )
            for decision in decisions:
                if decision.message is None:
                    await self._record(live, decision, warning_id, None)
                    if state.open:
                        await self._tell_changed(live.rule.tenant_id, warning_id)
                    continue
                warning_id, live_until = await self._speak(live, decision, warning_id, state)
                if state.open:
                    state = replace(state, live_until=live_until)
            everything += decisions
        return state, warning_id, everything

    async def _record(self, live: LiveRule, decision: Decision, warning_id: UUID | None, version: int | None) -> None:
        await rule_repository.save_decision(
            self.conn,
            tenant_id=live.rule.tenant_id,
            rule_id=live.rule.rule_id,
            decision=decision,
            warning_id=warning_id,
            version=version,
        )
        if decision.operator:
            log.warning("operator", rule=live.rule.code, reason=decision.reason.value, at=decision.at.isoformat())

    async def _tell_changed(self, tenant_id: UUID, warning_id: UUID | None, version: int | None = None) -> None:
        if warning_id is None:
            return
        if version is None:
            versions = await repository.lock_warning(self.conn, warning_id)
            if not versions:
                return
            version = versions[-1].alert.version
        await outbox.publish(
            self.conn,
            WarningChanged(warning_id=warning_id, version=version),
            ordering_key=f"warning:{warning_id}",
            tenant_id=tenant_id,
        )

    async def _speak(
        self, live: LiveRule, decision: Decision, warning_id: UUID | None, state: LifecycleState
    ) -> tuple[UUID | None, datetime | None]:
        """Drafts what a decision says, releases it where it may; the warning, and until when something is out."""
        if decision.message is Message.FIRST or warning_id is None:
            warning_id = new_id()
        chain = await repository.lock_warning(self.conn, warning_id)
        out = [one for one in chain if one.released_at is not None]
        if decision.message is Message.ALL_CLEAR and not out:
            # Nobody was told, so there is nothing to take back: the drafts lapse.
            await repository.close_drafts(self.conn, warning_id, "ended")
            await self._record(live, decision, warning_id, None)
            await self._record(live, replace(decision, reason=Reason.DRAFT_LAPSED, message=None), warning_id, None)
            await self._tell_changed(live.rule.tenant_id, warning_id)
            return warning_id, None
        live_until = out[-1].alert.expires_at if out else None
        last = out[-1] if out else None
        if decision.message is Message.RENEW and last is not None and Level.NONE < last.alert.level < decision.after:
            # What is out must not lapse while a higher level waits for people: it is renewed by itself, if it may be.
            lower = replace(decision, after=last.alert.level)
            renewed = await self._draft(live, lower, warning_id, state, only_if_automatic=True)
            live_until = renewed or live_until
        released_until = await self._draft(live, decision, warning_id, state)
        return warning_id, released_until or live_until

    async def _draft(
        self,
        live: LiveRule,
        decision: Decision,
        warning_id: UUID,
        state: LifecycleState,
        *,
        only_if_automatic: bool = False,
    ) -> datetime | None:
        """Keeps a new version; its expiry where it was released at once, else None."""
        rule, conn = live.rule, self.conn
        chain = await repository.lock_warning(conn, warning_id)
        if self.exercise is None:
            self.exercise = await repository.is_exercise(conn)
        out = [one for one in chain if one.released_at is not None]
        held = live.area_fault or hold_reason(live.area, rule.max_area_km2)
        area = live.area if held is None else None
        people = await self._audience(live, decision, area, warning_id if out else None)
        usual: float | None = rule.usual_people
        if usual is None:
            usual = await repository.usual_people(conn, rule.rule_id, warning_id)
        n_people = len({one.policyholder_id for one in people})
        n_mass = 0
        if n_people >= MASS_PEOPLE:
            hour = decision.at - timedelta(hours=1)
            n_mass = await repository.mass_lately(conn, rule.tenant_id, hour, warning_id, MASS_PEOPLE)
        verdict = release(
            rule,
            level=decision.after,
            n_people=n_people,
            held=held,
            usual=usual,
            auto_release_people=self.auto_release_people,
            n_mass_lately=n_mass,
        )
        if not verdict.approvals_needed and decision.message in (Message.FIRST, Message.RAISE):
            verdict = await self._quorum(live, decision, verdict)
        if only_if_automatic and verdict.approvals_needed:
            return None
        alert = self._alert(live, decision, warning_id, state, chain, out, live.area if _storable(live.area) else None)
        n_unreachable = len({one.policyholder_id for one in people if one.channel == UNREACHABLE})
        released = verdict.approvals_needed == 0
        await repository.add_warning(
            conn,
            alert,
            people,
            state="released" if released else "draft",
            n_people=n_people,
            n_unreachable=n_unreachable,
            content_sha256=content_sha256(alert, people),
            approvals_needed=verdict.approvals_needed,
            held=verdict.held,
        )
        await repository.supersede(conn, warning_id, alert.version, released=released)
        await self._record(live, decision, warning_id, alert.version)
        await self._record(
            live, self._release_decision(live, decision, verdict, people, n_unreachable), warning_id, alert.version
        )
        await self._tell_changed(rule.tenant_id, warning_id, alert.version)
        if verdict.held is not None:
            await notices.tell(
                conn,
                rule.tenant_id,
                "draft_held",
                f"{warning_id} {verdict.held.value}",
                now=decision.at,
                detail={"held": verdict.held.value, "n_people": n_people, "rule": rule.code},
            )
        if not released:
            return None
        await outbox.publish(
            conn,
            WarningReleased(warning_id=warning_id, version=alert.version),
            ordering_key=f"warning:{warning_id}",
            tenant_id=rule.tenant_id,
        )
        return alert.expires_at

    async def _quorum(self, live: LiveRule, decision: Decision, verdict: Release) -> Release:
        """The verdict, or two people where too few independent stations agree: one cause must not warn by itself.

        A station agrees that holds a warning at most one level lower.
        """
        rule = live.rule
        if rule.independent <= 1:
            return verdict
        agreeing = [one for one in LEVELS if one >= max(Level.BLUE, decision.after - 1)]
        own, others = await rule_repository.agreeing_stations(
            self.conn, rule.tenant_id, rule.datastream_id, agreeing, decision.at
        )
        if independent_count(own, others) >= rule.independent:
            return verdict
        return Release(approvals_needed=2, reason=Reason.DRAFT_SINGLE_CAUSE)

    def _release_decision(
        self,
        live: LiveRule,
        decision: Decision,
        verdict: Release,
        people: Sequence[Recipient],
        n_unreachable: int,
    ) -> Decision:
        languages = {one.policyholder_id: one.language for one in people}
        missing = missing_languages(languages.values(), _default_language(live), _reviewers(live))
        detail: dict[str, Any] = {
            "n_people": len(languages),
            "n_unreachable": n_unreachable,
            "approvals_needed": verdict.approvals_needed,
        }
        if missing:
            detail["languages_missing"] = missing
        if verdict.held:
            detail["held"] = verdict.held.value
        return replace(
            decision, reason=verdict.reason, message=None, operator=verdict.approvals_needed > 0, detail=detail
        )

    async def _audience(
        self, live: LiveRule, decision: Decision, area: BaseGeometry | None, told_by: UUID | None
    ) -> list[Recipient]:
        """Everybody inside the area, and everybody who was told before: whoever got v gets v + 1."""
        conn, tenant_id = self.conn, live.rule.tenant_id
        if area is None:
            return []
        near = await repository.people_in_box(conn, tenant_id, area)
        hit = inside(area, near.lon, near.lat) if near.ids else np.zeros(0, dtype=bool)
        ids = {one for one, is_in in zip(near.ids, hit, strict=True) if is_in}
        if told_by is not None:
            ids |= await repository.people_told(conn, told_by)
        people = await repository.people_by_id(conn, tenant_id, sorted(ids))
        footprints = await repository.footprints_near(conn, tenant_id, decision.at)
        reached = shapely.union_all([one for one, _ in footprints]) if footprints else None
        zones = [zone for _, more in footprints for zone in more]
        ranks = priorities(decision.after, np.nan_to_num(people.lon), np.nan_to_num(people.lat), reached, zones)
        channels = await repository.channels_of(conn, tenant_id, people.ids)
        return sorted(
            Recipient(
                policyholder_id=person,
                channel=channel,
                contact_point_id=contact_point_id,
                language=language,
                priority=int(rank),
            )
            for person, language, rank in zip(people.ids, people.languages, ranks, strict=True)
            for channel, contact_point_id in channels.get(person, [(UNREACHABLE, None)])
        )

    def _alert(
        self,
        live: LiveRule,
        decision: Decision,
        warning_id: UUID,
        state: LifecycleState,
        chain: Sequence[StoredWarning],
        out: Sequence[StoredWarning],
        area: BaseGeometry | None,
    ) -> Alert:
        rule = live.rule
        version = chain[-1].alert.version + 1 if chain else 1
        exercise = bool(self.exercise)
        default = _default_language(live)
        expires_at = decision.at + rule.expires_after
        names = {default: live.station_name, **rule.place}
        assert decision.message is not None
        facts = Facts(
            message=decision.message,
            level=decision.after,
            event=rule.peril,
            quantity=rule.quantity,
            value=decision.value,
            threshold=rule.thresholds.get(decision.after),
            reading_at=decision.reading_at,
            issued_at=decision.at,
            expires_at=expires_at,
            silent=state.phase is Phase.STALE,
            timezone=rule.timezone or live.tenant_settings.get("timezone") or "UTC",
            place=names,
            area=live.area_desc or names,
            source=rule.source or {default: live.tenant_name},
            exercise=exercise,
        )
        sender = live.tenant_settings.get("cap_sender") or f"tocsin:{live.tenant_slug}"
        return Alert(
            warning_id=warning_id,
            version=version,
            tenant_id=rule.tenant_id,
            rule_id=rule.rule_id,
            exercise=exercise,
            status="Exercise" if exercise else "Actual",
            msg_type="Update" if out else "Alert",
            level=decision.after,
            all_clear=decision.message is Message.ALL_CLEAR,
            reason=decision.reason.value,
            identifier=f"tocsin.{warning_id}.{version}",
            sender=sender,
            sent_at=decision.at,
            onset_at=decision.reading_at if decision.message is Message.FIRST else None,
            expires_at=expires_at,
            area=area,
            area_desc=dict(facts.area),
            texts=render_all(facts, default, _reviewers(live)),
            references=tuple(reference(one.alert.sender, one.alert.identifier, one.alert.sent_at) for one in out),
            event=rule.peril,
            hazard_event_id=rule.hazard_event_id,
        )


def _storable(area: BaseGeometry | None) -> bool:
    return area is not None and not area.is_empty


def _default_language(live: LiveRule) -> str:
    return language_with_texts(str(live.tenant_settings.get("language") or "en"), "en", _reviewers(live))[0]


def _reviewers(live: LiveRule) -> Mapping[str, str]:
    """Who answers for a language at this tenant, beyond the catalogues that are reviewed for all."""
    named = live.tenant_settings.get("language_reviewers")
    return {one: str(name) for one, name in named.items() if name} if isinstance(named, dict) else {}


async def run(pool: Pool, stop: asyncio.Event, *, auto_release_people: int = 500, tick_s: float = TICK_S) -> None:
    """Watches until `stop`: batches as they are stored, and timers every `tick_s` seconds of wall time."""

    forecasts = LiveForecasts()

    async def handle(conn: AsyncConnection, work: outbox.Work) -> None:
        clock = await read_clock(conn)
        # A warning must not wait behind batches that are older than its own and say nothing new. A replay at full speed
        # goes batch by batch: there nobody waits.
        more = [] if _held(clock) else await outbox.take_along(conn, work)
        events = [one for one in map(outbox.decode, [work, *more]) if isinstance(one, ObservationsStored)]
        assert len(events) == 1 + len(more)
        await watch_batch(
            conn,
            together(events),
            clock=clock,
            auto_release_people=auto_release_people,
            forecasts=forecasts,
        )

    await asyncio.gather(
        outbox.run(pool, "watch", handle, stop, limit=50),
        _tick_until(pool, stop, auto_release_people=auto_release_people, tick_s=tick_s),
    )


async def _tick_until(pool: Pool, stop: asyncio.Event, *, auto_release_people: int, tick_s: float) -> None:
    away = False
    while not stop.is_set():
        try:
            async with pool.connection() as conn, conn.transaction():
                clock = await read_clock(conn)
                if not _held(clock):
                    await tick(conn, clock.now(), clock=clock, auto_release_people=auto_release_people)
            away = False
        except repository.DATABASE_AWAY as error:
            if not away:
                log.warning("database is away", error=str(error).strip().splitlines()[:1])
            away = True
        except Unavailable as error:
            log.warning("put off", error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), tick_s)
