"""Released warnings to people: one delivery a version, person and channel; sent, then marked.

The outbox consumer `deliver` plans: the id of each delivery is derived from warning, version, person and channel, and
is the idempotency key that the provider sees on every attempt. The sender claims what is due under a lease, worst
first, sends, and marks. A sender that dies in between leaves its claim; when the lease ends the same key is sent again,
which a provider that honours keys delivers once. For one that does not, a message that may have gone out is marked
`uncertain`: sent again for red, shown for the rest.

An exercise reaches no live channel, in three places: the database refuses the row, the sender refuses the message, and
a process for exercises has no live channel to begin with.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from os import getpid
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from alerts import cap, delivery_repository, fence, links, notices, payload, repository, steps
from alerts.cap_sign import Signer, leaving, read_signer
from alerts.channels import Arrived, Channel, Outcome, Outgoing, Result
from alerts.channels.configured import Channels, channels_from
from alerts.delivery_repository import DueDelivery, Settled
from alerts.dispatch import FAKE, SIREN, delivery_id, plan, provider_of
from alerts.level import Level
from alerts.message import ordered, rerouted
from alerts.payload import SafeZone, WayOut
from alerts.prevention import Home
from alerts.repository import StoredWarning
from alerts.siren import ANSWER_WITHIN_S
from alerts.steps import Flood
from alerts.way_lines import line_of, shown_as
from core.clock import Clock, ScenarioClock
from core.errors import InvalidInput
from core.events import WarningReleased
from core.log import get_logger
from core.settings import Settings
from geo.orders import STAY, OfficialOrder, governing
from geo.repository import orders_for
from store import outbox
from store.clock import read_clock
from store.lead import lead
from store.pool import AsyncConnection, Pool

__all__ = ["Channels", "Sender", "channels_from", "delivery_id", "plan", "provider_of", "run", "settle"]

log = get_logger("deliver")

LEASE_S = 30.0
BATCH = 12
#: Planned and sent before the rest of a larger audience is.
FIRST_PEOPLE = 600
MAX_ATTEMPTS = 30
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0
_POLL_S = 0.25
_MARK_TOGETHER_S = 0.1
#: A claim waits so long for room for more: each costs ten round trips, however many it takes.
_CLAIM_TOGETHER_S = 0.1
_LINK_DAYS = 14
_NEVER_AGAIN_S = 100 * 365 * 86_400.0
_TEND_S = 2.0
#: Footprints and safe zones are read again after this.
_FRESH_S = 10.0


class WrongInstallation(InvalidInput):
    """This process and this database are not for the same purpose: one is for exercises, the other is live."""


# ---------------------------------------------------------------- sending

Sent = tuple[DueDelivery, Outcome, Settled]


@dataclass(slots=True, kw_only=True)
class Sender:
    """Claims, sends and marks. One to a process; it keeps what it has read of immutable versions."""

    pool: Pool
    channels: Mapping[str, Channel]
    key: bytes  #: signs links
    signer: Signer | None = None  #: signs CAP documents; none: they go out unsigned
    public_url: str
    home: Path | None = None  #: where road networks lie; none: ways that are kept as roads go without their line
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{getpid()}")
    lease_s: float = LEASE_S
    leaves: Sequence[str] = ()  #: providers that another process speaks to
    rung: asyncio.Event = field(default_factory=asyncio.Event)
    _warnings: dict[tuple[UUID, int], tuple[StoredWarning, bytes]] = field(default_factory=dict)
    _floods: dict[UUID, tuple[float, list[Flood]]] = field(default_factory=dict)
    _zones: dict[UUID, tuple[float, list[SafeZone]]] = field(default_factory=dict)

    async def loop(self, stop: asyncio.Event, at_once: int) -> None:
        """Sends until `stop` is set, at most `at_once` messages at a time; what was begun is finished first.

        One claim at a time, for as many as there is room: what is claimed is under way before the next claim is made,
        so a message overtakes only the few that are being sent, however busy this process is. Room for half of all is
        waited for a moment, room for a batch as long as it takes: those that hang hold nobody else up.
        """
        sending: set[asyncio.Task[None]] = set()
        room, much_room = asyncio.Event(), asyncio.Event()
        sent: asyncio.Queue[Sent | None] = asyncio.Queue()

        async def send(one: DueDelivery, message: Outgoing) -> None:
            sent.put_nowait(await self._send(one, message))

        def ended(task: asyncio.Task[None]) -> None:
            sending.discard(task)
            if len(sending) <= at_once - min(BATCH, at_once):
                room.set()
            if len(sending) <= at_once // 2:
                much_room.set()

        marking = asyncio.create_task(self._mark_as_they_come(sent))
        away = False
        try:
            while not stop.is_set():
                n_claimed = 0
                try:
                    n_claimed, ready = await self._claim(self.name, at_once - len(sending))
                    away = False
                    for one, message in ready:
                        task = asyncio.create_task(send(one, message))
                        sending.add(task)
                        task.add_done_callback(ended)
                except repository.DATABASE_AWAY as error:
                    if not away:
                        log.warning("database is away", error=str(error).strip().splitlines()[:1])
                    away = True
                if n_claimed == 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.rung.wait(), _POLL_S)
                    self.rung.clear()
                else:
                    if len(sending) > at_once // 2:
                        much_room.clear()
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(much_room.wait(), _CLAIM_TOGETHER_S)
                    if len(sending) > at_once - min(BATCH, at_once):
                        room.clear()
                        await room.wait()
        finally:
            if sending:
                await asyncio.wait(sending)
            sent.put_nowait(None)
            await marking

    async def send_due(self, worker: str, limit: int = BATCH) -> int:
        """One round: claims a batch, sends it and marks it; gives how many were claimed."""
        n_claimed, ready = await self._claim(worker, limit)
        if ready:
            await self._mark(await asyncio.gather(*(self._send(one, message) for one, message in ready)), worker)
        return n_claimed

    async def _claim(self, worker: str, limit: int) -> tuple[int, list[tuple[DueDelivery, Outgoing]]]:
        """How many were claimed, and what is to be sent of them, worst first."""
        async with self.pool.connection() as conn:
            clock = await read_clock(conn)
            claimed = await delivery_repository.claim_deliveries(
                conn, worker=worker, limit=limit, lease_s=self.lease_s, now=clock.now(), leaves=self.leaves
            )
            if not claimed:
                return 0, []
            ready = [(one, await self._outgoing(conn, one, clock)) for one in claimed if self._may_send(one)]
            await self._with_routes(conn, ready, clock.now())
            # Reading took a moment; a stop that was committed meanwhile holds.
            wanted = await delivery_repository.still_wanted(
                conn, [one.delivery_id for one in claimed], worker, clock.now()
            )
            await delivery_repository.give_back(
                conn, [one.delivery_id for one in claimed if one.delivery_id not in wanted], worker
            )
            refused = [self._refusal(one) for one in claimed if one.delivery_id in wanted and not self._may_send(one)]
            if refused:
                await delivery_repository.settle_deliveries(conn, refused, worker=worker, now=clock.now())
        return len(claimed), [(one, out) for one, out in ready if one.delivery_id in wanted]

    async def _mark_as_they_come(self, sent: "asyncio.Queue[Sent | None]") -> None:
        """Marks what was sent until None comes, the answers of a tenth of a second in one statement.

        While the database is away, what was accepted waits to be marked: that stays true. Of the rest the lease ends,
        and the same key is sent again.
        """
        over, kept = False, list[Sent]()
        while not over:
            together: list[Sent | None] = [] if kept else [await sent.get()]
            await asyncio.sleep(_POLL_S if kept else _MARK_TOGETHER_S)
            while not sent.empty():
                together.append(sent.get_nowait())
            over = None in together
            marks = kept + [one for one in together if one is not None]
            try:
                if marks:
                    await self._mark(marks, self.name)
                kept = []
            except repository.DATABASE_AWAY as error:
                kept = [one for one in marks if one[2].state == "accepted"]
                log.warning("database is away", marks_waiting=len(kept), error=str(error).strip().splitlines()[:1])

    def _may_send(self, one: DueDelivery) -> bool:
        if one.exercise and one.provider != FAKE:
            return False  # the sender's own guard: the database should have refused this row
        channel = self.channels.get(one.provider)
        if channel is None:
            return False
        in_doubt = one.in_doubt > 0 and not channel.honours_keys
        return not in_doubt or self._level_of(one) is Level.RED

    def _level_of(self, one: DueDelivery) -> Level:
        kept = self._warnings.get((one.warning_id, one.version))
        # priorities are a hundred a level, the worst first (alerts.audience.priorities)
        return kept[0].alert.level if kept else (Level.RED if one.priority < 100 else Level.NONE)

    def _refusal(self, one: DueDelivery) -> Settled:
        """The end of a delivery that this process must not or cannot send."""
        if one.exercise and one.provider != FAKE:
            log.error("an exercise was about to reach a live channel", provider=one.provider, key=str(one.delivery_id))
            state, error = "failed", "an exercise reaches no live channel"
        elif one.provider not in self.channels:
            state, error = "failed", f"the channel {one.provider} is off"
        else:
            state, error = "uncertain", "its sender died while sending, and the provider does not honour keys"
        return Settled(delivery_id=one.delivery_id, state=state, error=error, retry_after_s=_NEVER_AGAIN_S)

    async def _send(self, one: DueDelivery, message: Outgoing) -> Sent:
        channel = self.channels[one.provider]
        try:
            outcome = await channel.send(message, str(one.delivery_id))
        except Exception as error:  # a fault of ours must not take the others of this batch with it
            log.error("a channel raised", provider=one.provider, error=f"{type(error).__name__}: {error}")
            outcome = Outcome(result=Result.UNCERTAIN, error=f"{type(error).__name__}: {error}")
        state, wait_s = settle(outcome, attempts=one.attempts, keyed=channel.honours_keys, level=message.level)
        settled = Settled(
            delivery_id=one.delivery_id,
            state=state,
            provider_ref=outcome.provider_ref,
            error=outcome.error,
            retry_after_s=wait_s,
            shown=message.shown,
            doubted=outcome.result is Result.UNCERTAIN,
        )
        return one, outcome, settled

    async def _mark(self, sent: Sequence[Sent], worker: str) -> None:
        async with self.pool.connection() as conn, conn.transaction():
            now = (await read_clock(conn)).now()
            kept = await delivery_repository.settle_deliveries(
                conn, [one for _, _, one in sent], worker=worker, now=now
            )
            gone = [one.contact_point_id for one, outcome, _ in sent if outcome.result is Result.GONE]
            if gone:
                await delivery_repository.withdraw_contact_points(conn, gone, now)
        for one, _, settled in sent:
            if one.delivery_id not in kept:
                log.warning("lease lost while sending", key=str(one.delivery_id), state=settled.state)

    # ------------------------------------------------------------ what is said

    async def _outgoing(self, conn: AsyncConnection, one: DueDelivery, clock: Clock) -> Outgoing:
        warning, document = await self._warning(conn, one.warning_id, one.version)
        alert = warning.alert
        tenant = warning.tenant_settings or {}
        language = alert.language_for(one.language, str(tenant.get("language") or "en"))
        token = links.sign_link(
            links.Link(
                tenant_id=one.tenant_id,
                policyholder_id=one.policyholder_id,
                warning_id=one.warning_id,
                # whole days of wall time, so that a message sent again carries the same link
                expires_at=datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
                + timedelta(days=_LINK_DAYS),
            ),
            key=self.key,
        )
        url = links.page_url(self.public_url, token)
        text = alert.texts[language]
        if one.revision > 0:
            text = rerouted(text, language, exercise=one.exercise)
        told = payload.build(
            alert,
            text,
            language=language,
            delivery_id=one.delivery_id,
            url=url,
            way_out=None,
            safe_zones=[],
        )
        return Outgoing(
            channel=one.channel,
            address=one.address,
            exercise=one.exercise,
            warning_id=one.warning_id,
            level=alert.level,
            language=language,
            text=text,
            sent_at=alert.sent_at,
            ttl_s=_ttl_s(alert.expires_at, clock),
            payload=told,
            line=None,
            cap_xml=document,
            url=url,
        )

    async def _warning(self, conn: AsyncConnection, warning_id: UUID, version: int) -> tuple[StoredWarning, bytes]:
        kept = self._warnings.get((warning_id, version))
        if kept is None:
            warning = await repository.read_warning(conn, warning_id, version)
            document = cap.to_xml(cap.of_alert(warning.alert, sender_name=warning.tenant_name))
            kept = (warning, leaving(document, self.signer))  # a version is signed once, not for each person
            if len(self._warnings) > 1000:
                self._warnings.clear()
            self._warnings[warning_id, version] = kept
        return kept

    async def _with_routes(
        self, conn: AsyncConnection, ready: list[tuple[DueDelivery, Outgoing]], now: datetime
    ) -> None:
        """Puts each household's way out and nearest safe zones into its message, one query a tenant."""
        by_tenant: dict[UUID, list[UUID]] = {}
        for one, _ in ready:
            by_tenant.setdefault(one.tenant_id, []).append(one.policyholder_id)
        for tenant_id, people in by_tenant.items():
            routes = await delivery_repository.routes_of(conn, tenant_id, people)
            homes = await delivery_repository.homes_of(conn, tenant_id, people)
            zones = await self._safe_zones(conn, tenant_id)
            # read with every batch: the plan that follows from an order may not be made yet
            orders = await orders_for(conn, tenant_id, now)
            floods = await self._known_floods(conn, tenant_id, now)
            dwellings = await steps.homes_of(conn, tenant_id, people, now, floods)
            for index, (one, message) in enumerate(ready):
                if one.tenant_id == tenant_id:
                    route, home = routes.get(one.policyholder_id), homes.get(one.policyholder_id)
                    order = governing(orders, *home, now) if home is not None else None
                    near, dwelling = payload.nearest(zones, home), dwellings.get(one.policyholder_id)
                    ready[index] = (one, _at_home(message, route, near, order, dwelling, now, self.home))

    async def _known_floods(self, conn: AsyncConnection, tenant_id: UUID, now: datetime) -> list[Flood]:
        kept = self._floods.get(tenant_id)
        if kept is None or kept[0] < time.monotonic() - _FRESH_S:
            kept = self._floods[tenant_id] = (time.monotonic(), await steps.read_floods(conn, tenant_id, now))
        return kept[1]

    async def _safe_zones(self, conn: AsyncConnection, tenant_id: UUID) -> list[SafeZone]:
        kept = self._zones.get(tenant_id)
        if kept is None or kept[0] < time.monotonic() - _FRESH_S:
            rows = await delivery_repository.safe_zones(conn, tenant_id)
            found = [SafeZone(names=row["names"], lon=row["lon"], lat=row["lat"]) for row in rows]
            kept = self._zones[tenant_id] = (time.monotonic(), found)
        return kept[1]


def _at_home(
    message: Outgoing, route: Mapping[str, Any] | None, zones: list[SafeZone], order: OfficialOrder | None,
    dwelling: Home | None, now: datetime, home: Path | None,
) -> Outgoing:  # fmt: skip
    """The message with this household's way out, as it may be told under the official order that holds there, and with
    what it can do against loss.
    """
    told = {**message.payload, "as_of": now.isoformat()}
    text, line, shown = message.text, None, None
    over = told["all_clear"] or told["cancelled"]
    if route is not None and not over:
        line = line_of(route, home)
        way_out = WayOut(status=route["status"], leave_by=route["leave_by"], line=line)
        if order is not None:
            way_out = payload.under(order, way_out, now)
            line = way_out.line
        told["route"] = payload.route(way_out)
        shown = shown_as(route, way_out, order, now)
    if dwelling is not None and not over:
        told["steps"] = steps.told_steps(dwelling, message.language)
    if order is not None and not over:
        told["official_order"] = payload.order(order)
        zones = [] if order.kind == STAY else zones
        text = ordered(text, told["official_order"], message.language, exercise=message.exercise)
        told |= {"headline": text.headline, "instruction": text.instruction}
    told["safe_zones"] = payload.shown_zones(zones, message.language)
    return replace(message, text=text, payload=told, line=line, shown=shown)


def _ttl_s(expires_at: datetime, clock: Clock) -> int:
    """Seconds on the wall until expiry: a scenario that runs sixty times as fast is over sixty times as soon."""
    left_s = (expires_at - clock.now()).total_seconds()
    speed = clock.speed if isinstance(clock, ScenarioClock) else 1.0
    return max(0, int(left_s / speed))


def settle(outcome: Outcome, *, attempts: int, keyed: bool, level: Level) -> tuple[str, float]:
    """The state of a delivery after an attempt, and seconds until it is due again.

    What may have been accepted is sent again where the provider honours keys, and for red also where it does not: a
    second alarm is better than none. Waits double, with jitter, up to a minute.
    """
    if outcome.result is Result.ACCEPTED:
        return "accepted", 0.0
    if outcome.result in (Result.REFUSED, Result.GONE):
        return "failed", _NEVER_AGAIN_S
    in_doubt = outcome.result is Result.UNCERTAIN
    if in_doubt and not keyed and level is not Level.RED:
        return "uncertain", _NEVER_AGAIN_S
    if attempts >= MAX_ATTEMPTS:
        return ("uncertain" if in_doubt else "failed"), _NEVER_AGAIN_S
    wait = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(attempts - 1, 10))
    wait *= random.uniform(0.7, 1.3)  # noqa: S311  spreads retries, guards nothing
    return ("uncertain" if in_doubt else "queued"), max(wait, outcome.retry_after_s or 0.0)


async def check_purpose(conn: AsyncConnection, settings: Settings) -> None:
    """Raises WrongInstallation when the database is for exercises and the process is live, or the other way round."""
    exercise = await repository.is_exercise(conn)
    if exercise != (settings.mode == "exercise"):
        raise WrongInstallation(database="exercise" if exercise else "live", process=settings.mode)


async def run(
    pool: Pool,
    settings: Settings,
    stop: asyncio.Event,
    *,
    channels: Channels | None = None,
    lease_s: float = LEASE_S,
) -> None:
    """Plans and sends until `stop`. The pool needs `settings.deliver.workers` + 2 connections.

    Of several processes over one database, on however many machines, one alone speaks to sirens, whose commands are
    numbered, and does what time alone makes due: whichever leads (store/lead.py).
    """
    async with pool.connection() as conn, conn.transaction():
        await check_purpose(conn, settings)
        await fence.check(conn, settings.home, now=(await read_clock(conn)).now(), starting=True)
    made = channels or channels_from(settings)
    sender = Sender(
        pool=pool,
        channels=made.by_provider,
        key=links.secret_key(settings),
        signer=read_signer(settings.cap.signing_key, settings.cap.signing_certificate),
        public_url=settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}",
        home=settings.home,
        lease_s=lease_s,
        leaves=(SIREN,),  # until this process leads
    )

    async def handle(conn: AsyncConnection, work: outbox.Work) -> None:
        event = outbox.decode(work)
        assert isinstance(event, WarningReleased)
        clock = await read_clock(conn)
        # Ten thousand rows take a second: whom the hazard reaches first is not kept waiting for them. The whole plan
        # finds these made.
        async with pool.connection() as ahead, ahead.transaction():
            escalate_s = settings.deliver.escalate_s
            n_ahead = await plan(ahead, event, clock=clock, escalate_s=escalate_s, first_people=FIRST_PEOPLE)
        if n_ahead:
            sender.rung.set()
        n_planned = n_ahead + await plan(conn, event, clock=clock, escalate_s=settings.deliver.escalate_s)
        log.info("planned", warning_id=str(event.warning_id), version=event.version, deliveries=n_planned)
        sender.rung.set()

    leads = asyncio.Event()

    def changed(now: bool) -> None:
        sender.leaves = () if now else (SIREN,)
        if now:
            leads.set()
            sender.rung.set()
        else:
            leads.clear()

    heard = [one.arrived for one in made.by_provider.values() if isinstance(one, Hears)]
    try:
        await asyncio.gather(
            outbox.run(pool, "deliver", handle, stop),
            sender.loop(stop, settings.deliver.workers * BATCH),
            *(_keep_arrivals(pool, queue, stop) for queue in heard),
            lead(pool, "deliver", stop, changed),
            _tend(pool, settings, stop, leads),
        )
    finally:
        await made.close()


@runtime_checkable
class Hears(Protocol):
    """A channel that learns afterwards what became of a message."""

    arrived: asyncio.Queue[Arrived]


async def _keep_arrivals(pool: Pool, queue: asyncio.Queue[Arrived], stop: asyncio.Event) -> None:
    """Writes the answers of the far end: obeyed is `delivered`, anything else is for the operator."""
    while not stop.is_set():
        try:
            one = await asyncio.wait_for(queue.get(), _POLL_S)
        except TimeoutError:
            continue
        try:
            async with pool.connection() as conn, conn.transaction():
                now = (await read_clock(conn)).now()
                if one.obeyed:
                    await delivery_repository.keep_delivered(conn, UUID(one.key), now)
                else:
                    await notices.tell(conn, None, "siren_refused", one.key, now=now, detail={"reason": one.reason})
        except repository.DATABASE_AWAY:
            queue.put_nowait(one)
            await asyncio.sleep(_POLL_S)


async def _tend(pool: Pool, settings: Settings, stop: asyncio.Event, leads: asyncio.Event) -> None:
    """What time alone makes due: rungs that nobody needs any more, sirens that did not answer, the fence's mark."""
    while not stop.is_set():
        if not leads.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leads.wait(), _TEND_S)
            continue
        try:
            async with pool.connection() as conn, conn.transaction():
                now = (await read_clock(conn)).now()
                await delivery_repository.stop_needless(conn)
                await fence.check(conn, settings.home, now=now)
                for row in await delivery_repository.silent_sirens(conn, now):
                    log.error("a siren did not answer", key=str(row["delivery_id"]), device=row["device"])
                    await notices.tell(
                        conn,
                        row["tenant_id"],
                        "siren_silent",
                        str(row["delivery_id"]),
                        now=now,
                        detail={"device": row["device"], "within_s": ANSWER_WITHIN_S},
                    )
        except repository.DATABASE_AWAY:
            pass  # the sending loops say so
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _TEND_S)
