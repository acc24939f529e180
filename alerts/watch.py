"""New readings to warnings: the outbox consumer `watch`, and the timers beside it.

One transaction for each batch, or for all batches that wait: the states of the rules it touches, every decision with
its reason, new versions of warnings with the people they are for, and the events that tell the others. The decisions
themselves are made by `alerts.lifecycle`, from the readings' own times of arrival, so a batch that is handled twice,
late or in pieces gives the same warnings.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from alerts import event_repository, repository, rule_repository
from alerts.level import Level
from alerts.lifecycle import Decision, LifecycleState, Message, advance
from alerts.repeat import repeat_due
from alerts.rule import Reading
from alerts.rule_repository import LiveRule
from alerts.speak import Speaker
from alerts.voice import Member, group_says
from alerts.watch_events import watch_events
from core.clock import Clock, ScenarioClock
from core.errors import Unavailable
from core.events import AssessmentMade, HazardEnded, ObservationsStored
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
    work = _Watch(Speaker(conn, auto_release_people), clock=clock)
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
    # A group is looked at whole or, where another worker holds one of its rules, not at all.
    here = Counter(one.group_key for one in rules if one.state.open)
    whole = [one for one in rules if one.group_key is None or here[one.group_key] >= (one.n_open or 0)]
    speaker = Speaker(conn, auto_release_people)
    decisions = await _Watch(speaker, clock=clock).advance(whole, now, now)
    decisions += await watch_events(speaker, now)
    await repeat_due(conn, now)
    return decisions


@dataclass(slots=True)
class _Standing:
    """One rule of this round: where it stands now, and the warning it speaks through."""

    live: LiveRule
    state: LifecycleState
    warning_id: UUID | None


@dataclass(slots=True)
class _Watch:
    """One transaction's worth of watching gauges."""

    speaker: Speaker
    clock: Clock
    standing: dict[UUID, _Standing] = field(default_factory=dict)

    @property
    def conn(self) -> AsyncConnection:
        return self.speaker.conn

    async def advance(self, rules: Sequence[LiveRule], until: datetime, now: datetime) -> list[Decision]:
        since: dict[int, datetime] = {}
        for live in rules:
            start = min(live.state.evaluated_until or until, until) - live.rule.lookback
            datastream_id = live.rule.datastream_id
            since[datastream_id] = min(since.get(datastream_id, start), start)
        readings = await rule_repository.readings_since(self.conn, since) if since else {}
        outlooks = await self._outlooks(rules, until)
        self.standing = {live.rule.rule_id: _Standing(live, live.state, live.warning_id) for live in rules}
        everything: list[Decision] = []
        for live in rules:
            stream = live.rule.datastream_id
            everything += await self._advance_rule(live, readings[stream], outlooks.get(stream, []), until, now)
        for one in self.standing.values():
            if one.warning_id in self.speaker.woken and one.state.open:
                one.state = replace(one.state, renew_at=now)
        await rule_repository.save_states(
            self.conn,
            [
                (rule_id, one.state, one.warning_id)
                for rule_id, one in self.standing.items()
                if one.state != one.live.state or one.warning_id != one.live.warning_id
            ],
            now,
        )
        here = {one.warning_id for one in self.standing.values()}
        if self.speaker.woken - here:
            await rule_repository.wake(self.conn, self.speaker.woken - here, now)
        self.speaker.woken.clear()
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
    ) -> list[Decision]:
        me = self.standing[live.rule.rule_id]
        everything: list[Decision] = []
        finished = False
        while not finished:
            me.state, decisions, finished = advance(
                live.rule, me.state, readings, until, now=None if _held(self.clock) else now, outlooks=outlooks
            )
            for decision in decisions:
                if decision.message is None:
                    await self.speaker.record(live, decision, me.warning_id, None)
                    if me.state.open:
                        await self.speaker.tell_changed(live.rule.tenant_id, me.warning_id)
                    continue
                await self._speak(me, decision)
            everything += decisions
        return everything

    async def _speak(self, me: _Standing, decision: Decision) -> None:
        """Says what this rule's group has to say of it, through the warning that the group shares."""
        live = me.live
        group = [me]
        if live.group_key is not None:
            group += [
                one
                for one in self.standing.values()
                if one is not me and one.live.group_key == live.group_key and one.state.open
            ]
        members = [
            Member(
                rule_id=one.live.rule.rule_id,
                before=decision.before if one is me else one.state.level,
                after=decision.after if one is me else one.state.level,
                opened_at=one.state.opened_at,
                held=one is not me and await self.speaker.held_back(one.live, one.state.level, decision.at),
            )
            for one in group
        ]
        if decision.message is Message.FIRST or me.warning_id is None:
            shared = [one.warning_id for one in group if one is not me and one.warning_id is not None]
            me.warning_id = shared[0] if shared else new_id()
        newest, newest_level = None, Level.NONE
        if len(group) > 1:
            newest, newest_level = await repository.newest_sent(self.conn, me.warning_id)
        if (
            newest is not None
            and decision.message is Message.RENEW
            and await event_repository.kept_out_in_vain(
                self.conn, live.rule.peril, warning_id=me.warning_id, now=decision.at
            )
        ):
            newest = None  # somebody hears nothing as bad any more, and has not heard us: that does not wait
        said = group_says(
            decision,
            mine=live.rule.rule_id,
            members=members,
            newest_sent=newest,
            newest_level=newest_level,
            renew_after=live.rule.renew_before,
        )
        lead = self.standing[said.lead]
        if lead is not me and said.message is Message.ALL_CLEAR:
            lead = me
        live_until, wake_at = await self.speaker.speak(
            live, decision, me.warning_id, said=said, own_state=me.state, lead=lead.live, state=lead.state
        )
        for one in group:
            if one.state.open:
                one.state = replace(one.state, live_until=live_until)
        if me.state.open and wake_at is not None:
            me.state = replace(me.state, renew_at=wake_at)


async def run(pool: Pool, stop: asyncio.Event, *, auto_release_people: int = 500, tick_s: float = TICK_S) -> None:
    """Watches until `stop`: batches as they are stored, and timers every `tick_s` seconds of wall time."""

    forecasts = LiveForecasts()

    async def handle(conn: AsyncConnection, work: outbox.Work) -> None:
        clock = await read_clock(conn)
        if isinstance(outbox.decode(work), AssessmentMade | HazardEnded):
            # what a footprint touches is known, or that it is over: nobody need wait for the next look of the timers
            await watch_events(Speaker(conn, auto_release_people), clock.now())
            return
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
