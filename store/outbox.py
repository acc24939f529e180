"""Work that passes between rooms: published with the fact, claimed under a lease, done once.

- `publish` writes one row for each consumer that subscribes (core.events.SUBSCRIPTIONS) in the fact's own transaction.
- `claim` leases rows to a worker: never two of one ordering key at once, the oldest first, in a short transaction.
- The effect of a piece of work and its completion are one transaction, begun by `hold`: work done twice rolls back.
- A consumer may take the younger work of its key along (`take_along`): one transaction for a whole queue.
- Leases, retries and dead letters read the wall clock of the database, never a scenario's.
- `sequence` gives browsers' stream its ids, after commit: there and only there reading by `id > last` misses nothing.

Within one ordering key, facts that were committed one after the other are handled in that order. Facts of one key that
commit at the same moment have no order.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from core import events
from core.errors import Conflict, InvalidInput, Unavailable
from core.events import SUBSCRIPTIONS, Event
from core.ids import new_id
from core.log import get_logger
from store import queries
from store.pool import DATABASE_AWAY, AsyncConnection, Connection, Pool

log = get_logger("outbox")

#: After this many attempts work becomes a dead letter, which operators see and may revive.
MAX_ATTEMPTS = 8
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 300.0
_POLL_S = 1.0
_MAX_ERROR_CHARS = 2000

_SQL = queries.load("store")

_EVENT_TYPES: dict[str, type[Any]] = {
    each.kind: each
    for each in vars(events).values()
    if isinstance(each, type) and each.__module__ == events.__name__ and hasattr(each, "kind")
}


class LeaseLost(Conflict):
    """Another worker has this work now; whatever was done for it here must be rolled back."""


class UnknownEvent(InvalidInput):
    """There is no event of this kind."""


#: How many of the oldest rows a claim looks at before it looks at every ordering key.
_WINDOW = 500


class BadEvent(InvalidInput):
    """An event's payload does not fit its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One row of the outbox, leased."""

    outbox_id: int
    consumer: str
    kind: str
    ordering_key: str
    tenant_id: UUID | None
    payload: dict[str, Any]
    attempts: int  #: this one included; with `claimed_by` it is the fencing token
    claimed_by: str


Handler = Callable[[AsyncConnection, Work], Awaitable[None]]


def encode(event: Event) -> dict[str, Any]:
    """An event's fields as JSON values: times ISO 8601, UUIDs as text."""
    built: dict[str, Any] = msgspec.to_builtins(event)
    return built


def decode(work: Work) -> Event:
    """The event of a piece of work; raises UnknownEvent, BadEvent."""
    kind = _EVENT_TYPES.get(work.kind)
    if kind is None:
        raise UnknownEvent(kind=work.kind)
    try:
        event: Event = msgspec.convert(work.payload, kind)
    except msgspec.ValidationError as error:
        raise BadEvent(kind=work.kind, reason=str(error), outbox_id=work.outbox_id) from error
    return event


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Work that was tried in vain, and why."""

    outbox_id: int
    consumer: str
    kind: str
    payload: dict[str, Any]
    published_at: datetime
    dead_at: datetime
    last_error: str | None


async def publish(conn: AsyncConnection, event: Event, *, ordering_key: str, tenant_id: UUID | None = None) -> None:
    """Tells every subscriber, in the transaction that `conn` is in. No tenant: public, told to every tenant."""
    await conn.execute(_SQL["publish"], _published(event, ordering_key, tenant_id))


def publish_sync(conn: Connection, event: Event, *, ordering_key: str, tenant_id: UUID | None = None) -> None:
    """`publish` on a blocking connection."""
    conn.execute(_SQL["publish"], _published(event, ordering_key, tenant_id))


def _published(event: Event, ordering_key: str, tenant_id: UUID | None) -> dict[str, Any]:
    consumers = SUBSCRIPTIONS.get(event.kind)
    if consumers is None:
        raise UnknownEvent(kind=event.kind)
    return {
        "consumers": list(consumers),
        "kind": event.kind,
        "ordering_key": ordering_key,
        "tenant_id": tenant_id,
        "payload": Jsonb(encode(event)),
    }


async def claim(conn: AsyncConnection, consumer: str, *, worker: str, limit: int, lease_s: float) -> list[Work]:
    """Leases up to `limit` rows to `worker` for `lease_s` seconds, at most one of each ordering key, oldest first.

    In its own short transaction: until it ends, nobody else can claim for this consumer.
    """
    async with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SQL["claim_lock"], {"consumer": consumer})
        await cursor.execute(_SQL["bury"], {"consumer": consumer, "max_attempts": MAX_ATTEMPTS})
        for dead in await cursor.fetchall():
            log.error("dead letter", consumer=consumer, outbox_id=dead["outbox_id"], kind=dead["kind"])
        values = {"consumer": consumer, "worker": worker, "limit": limit, "lease_s": float(lease_s), "window": _WINDOW}
        await cursor.execute(_SQL["claim"], values)
        found = await cursor.fetchall()
        if not found:
            await cursor.execute(_SQL["more_than"], values)
            more = await cursor.fetchone()
            if more is not None and more["exists"]:
                await cursor.execute(_SQL["claim_by_key"], values)
                found = await cursor.fetchall()
        return sorted((Work(**row) for row in found), key=lambda work: work.outbox_id)


async def hold(conn: AsyncConnection, work: Work) -> None:
    """Begins the transaction's work: locks the row if the lease is still ours; raises LeaseLost."""
    found = await conn.execute(
        _SQL["hold"], {"outbox_id": work.outbox_id, "worker": work.claimed_by, "attempts": work.attempts}
    )
    if found.rowcount != 1:
        raise LeaseLost(outbox_id=work.outbox_id, worker=work.claimed_by)


async def complete(conn: AsyncConnection, ids: Sequence[int]) -> None:
    """The work is done, in the transaction of its effect; raises LeaseLost if another worker completed any of it."""
    done = await conn.execute(_SQL["complete"], {"ids": list(ids)})
    if done.rowcount != len(set(ids)):
        raise LeaseLost(outbox_ids=list(ids), completed=done.rowcount)


async def take_along(conn: AsyncConnection, work: Work, *, limit: int = 200) -> list[Work]:
    """The younger work of the same key and kind, completed in the transaction that holds `work`, oldest first.

    For a consumer to whom many facts are one: behind a slow machine its queue then costs one round, not one for each.
    After a failed attempt nothing is taken along, so that bad work fails by itself and takes nothing with it.
    """
    if work.attempts > 1:
        return []
    values = {
        "consumer": work.consumer,
        "ordering_key": work.ordering_key,
        "kind": work.kind,
        "outbox_id": work.outbox_id,
        "limit": limit,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SQL["take_along"], values)
        found = [Work(**row, claimed_by=work.claimed_by) for row in await cursor.fetchall()]
    return sorted(found, key=lambda one: one.outbox_id)


async def fail(
    conn: AsyncConnection,
    work: Work,
    error: BaseException | str,
    *,
    counts: bool = True,
    max_attempts: int = MAX_ATTEMPTS,
) -> bool:
    """Puts the work off, or makes it a dead letter after its last attempt; says whether it did.

    `counts=False` puts it off without using up an attempt: a part that it needs was away. A dead letter no longer holds
    up younger work of its ordering key.
    """
    told = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    delay = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2 ** (work.attempts - 1))
    cursor = await conn.execute(
        _SQL["fail"],
        {
            "outbox_id": work.outbox_id,
            "worker": work.claimed_by,
            "attempts": work.attempts,
            "error": told.replace("\x00", "")[:_MAX_ERROR_CHARS],
            "counts": counts,
            "max_attempts": max_attempts,
            "retry_after_s": delay * random.uniform(0.8, 1.2),  # noqa: S311  spreads retries, guards nothing
        },
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def dead_letters(conn: AsyncConnection, consumer: str | None = None) -> list[DeadLetter]:
    """Work that was given up, of one consumer or of all, the oldest first."""
    rows = await conn.execute(_SQL["dead_letters"], {"consumer": consumer})
    return [DeadLetter(*row) for row in await rows.fetchall()]


async def revive(conn: AsyncConnection, outbox_id: int) -> bool:
    """Gives a dead letter all its attempts again; False if there is no such dead letter."""
    return (await conn.execute(_SQL["revive"], {"outbox_id": outbox_id})).rowcount == 1


async def sequence(conn: AsyncConnection, *, limit: int = 1000) -> int:
    """Moves up to `limit` committed rows of consumer `stream` to `stream_event`; returns how many.

    Ids rise by one without a gap and become visible in order, whoever runs this and however many do.
    """
    async with conn.transaction():
        await conn.execute(_SQL["sequence_lock"])
        row = await (await conn.execute(_SQL["sequence"], {"limit": limit})).fetchone()
    return int(row[0]) if row else 0


async def run(
    pool: Pool,
    consumer: str,
    handler: Handler,
    stop: asyncio.Event,
    *,
    worker: str | None = None,
    limit: int = 10,
    lease_s: float = 60.0,
) -> None:
    """Claims and handles until `stop` is set: each piece of work and its completion are one transaction.

    The handler gets that transaction's connection and must do all its database work on it. It has four fifths of
    `lease_s`; what it raises puts the work off (`Unavailable`: without using up an attempt). Polls every second and
    listens for NOTIFY. While the database is away it waits and tries again.
    """
    worker = worker or f"{consumer}:{new_id()}"
    async with _doorbell(pool, consumer) as rung:
        away = False
        while not stop.is_set():
            rung.clear()
            try:
                async with pool.connection() as conn:
                    works = await claim(conn, consumer, worker=worker, limit=limit, lease_s=lease_s)
                    if works:
                        await _handle_all(conn, works, handler, stop, lease_s=lease_s)
                if away:
                    log.info("database is back", consumer=consumer)
                    away = False
            except DATABASE_AWAY as error:
                works = []
                if not away:
                    log.warning("database is away", consumer=consumer, error=str(error).strip().splitlines()[:1])
                    away = True
                await _wait_any([stop], timeout=_POLL_S)
            if not works and not away:
                await _wait_any([stop, rung], timeout=_POLL_S)


async def _handle_all(
    conn: AsyncConnection, works: list[Work], handler: Handler, stop: asyncio.Event, *, lease_s: float
) -> None:
    leased_at = time.monotonic()
    for i, work in enumerate(works):
        rest = [each.outbox_id for each in works[i:]]
        if stop.is_set():
            await conn.execute(_SQL["release"], {"ids": rest, "worker": work.claimed_by})
            return
        if i and time.monotonic() - leased_at > 0.1 * lease_s:
            leased_at = time.monotonic()
            await conn.execute(_SQL["extend"], {"ids": rest, "worker": work.claimed_by, "lease_s": float(lease_s)})
        await _handle(conn, work, handler, lease_s=lease_s)


async def _handle(conn: AsyncConnection, work: Work, handler: Handler, *, lease_s: float) -> None:
    try:
        async with asyncio.timeout(0.8 * lease_s), conn.transaction():
            await hold(conn, work)
            await handler(conn, work)
            await complete(conn, [work.outbox_id])
    except LeaseLost:
        log.warning("lease lost", consumer=work.consumer, outbox_id=work.outbox_id)
    except Exception as error:  # this loop is a door: whatever a handler raises is put off and told, never lost
        if conn.broken or conn.closed:
            raise  # the database went away; the lease brings the work back
        dead = await fail(conn, work, error, counts=not isinstance(error, Unavailable))
        say = log.error if dead else log.warning
        say(
            "dead letter" if dead else "put off",
            consumer=work.consumer,
            outbox_id=work.outbox_id,
            kind=work.kind,
            attempts=work.attempts,
            error=f"{type(error).__name__}: {error}",
        )


@contextlib.asynccontextmanager
async def _doorbell(pool: Pool, consumer: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set when somebody published for this consumer."""
    rung = asyncio.Event()
    # A connection of its own: one that listens cannot be lent out.
    conninfo = pool.conninfo
    assert isinstance(conninfo, str)

    async def listen() -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as conn:
                    await conn.execute("LISTEN tocsin_outbox")
                    rung.set()  # what was published before LISTEN
                    async for notice in conn.notifies():
                        if notice.payload == consumer:
                            rung.set()
            except psycopg.Error:
                await asyncio.sleep(_POLL_S)  # the loop polls meanwhile

    task = asyncio.create_task(listen())
    try:
        yield rung
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _wait_any(signals: Sequence[asyncio.Event], *, timeout: float) -> None:
    tasks = [asyncio.create_task(signal.wait()) for signal in signals]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
