"""The API's reads, and what sign-in and idempotency keep. The only caller of api/sql; rows come back as dicts."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from api.identity import Throttle
from core.errors import InvalidInput, NotFound, Unavailable
from core.settings import Settings
from ingest.forecast.outlook import WITHHELD_AFTER
from store import outbox, queries
from store.clock import read_clock
from store.pool import AsyncConnection, Pool, connect_worker_async, tenant_transaction, worker_url

Connection = AsyncConnection
Row = dict[str, Any]
#: What a failed statement or a lost connection raises.
DatabaseError: Final = psycopg.Error

__all__ = ["Connection", "DatabaseError", "Pool", "Row", "tenant_transaction"]


class NotMigrated(Unavailable):
    """The database has no Tocsin schema yet: run `tocsin migrate`."""


class NoInstallation(Unavailable):
    """The database does not say yet whether it is for exercises: run `tocsin up` or `tocsin demo`."""


class BadTenant(InvalidInput):
    """tenant: lower case letters, digits, - and _ are allowed, 63 at most, and it starts with a letter or digit."""


def is_away(error: BaseException) -> bool:
    """True where the database does not answer or asks to try again, rather than refusing what was asked."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


@cache
def _sql() -> Mapping[str, str]:
    return queries.load("api")


async def _all(conn: Connection, name: str, /, **given: Any) -> list[Row]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_sql()[name], given)
        return await cursor.fetchall()


async def _one(conn: Connection, name: str, /, **given: Any) -> Row | None:
    rows = await _all(conn, name, **given)
    return rows[0] if rows else None


async def _do(conn: Connection, name: str, /, **given: Any) -> int:
    return (await conn.execute(_sql()[name], given)).rowcount


async def now(conn: Connection) -> datetime:
    """What time it is on the installation's clock."""
    return (await read_clock(conn)).now()


async def ping(conn: Connection) -> None:
    """Raises where the database does not answer."""
    await conn.execute("SELECT 1")


# ---------------------------------------------------------------- sign-in
async def installation(conn: Connection) -> Row:
    """{exercise, name}; raises NotMigrated, NoInstallation."""
    try:
        row = await _one(conn, "installation")
    except psycopg.errors.UndefinedTable:
        raise NotMigrated from None
    if row is None:
        raise NoInstallation
    return row


async def count_try(conn: Connection, subject: bytes, throttle: Throttle) -> float | None:
    """Counts a try; None where it may go ahead, else how many seconds the subject has to wait."""
    counted = await _one(
        conn,
        "count_try",
        subject=subject,
        n_free=throttle.n_free,
        window_s=throttle.window.total_seconds(),
        first_wait_s=throttle.first_wait.total_seconds(),
        longest_wait_s=throttle.longest_wait.total_seconds(),
    )
    if counted is not None:
        return None
    wait = await _one(conn, "wait_of", subject=subject)
    return float(wait["wait_s"]) if wait else 1.0


async def forget_tries(conn: Connection, *, account: bytes, address: bytes) -> None:
    """A right password: the account's count starts anew, its address gets this try back."""
    await _do(conn, "forget_account_tries", account=account)
    await _do(conn, "return_address_try", address=address)
    await _do(conn, "sweep_tries")


async def find_principal(conn: Connection, login: str) -> Row | None:
    return await _one(conn, "find_principal", login=login)


async def open_session(
    conn: Connection, *, token_sha256: bytes, principal_id: UUID, tenant_id: UUID, hours: float
) -> datetime:
    """Keeps a session and gives when it ends; clears away those that have ended."""
    await _do(conn, "sweep_sessions")
    row = await _one(
        conn,
        "open_session",
        token_sha256=token_sha256,
        principal_id=principal_id,
        tenant_id=tenant_id,
        hours=hours,
    )
    assert row is not None
    expires_at: datetime = row["expires_at"]
    return expires_at


async def find_session(conn: Connection, token_sha256: bytes) -> Row | None:
    return await _one(conn, "find_session", token_sha256=token_sha256)


async def close_session(conn: Connection, token_sha256: bytes) -> None:
    await _do(conn, "close_session", token_sha256=token_sha256)


async def update_password(conn: Connection, principal_id: UUID, password_hash: str) -> None:
    await _do(conn, "update_password", principal_id=principal_id, password_hash=password_hash)


async def find_api_key(conn: Connection, key_sha256: bytes) -> Row | None:
    return await _one(conn, "find_api_key", key_sha256=key_sha256)


async def ensure_tenant(conn: Connection, tenant_id: UUID, slug: str) -> UUID:
    """The tenant of this slug, made where it does not exist; raises BadTenant."""
    try:
        row = await _one(conn, "ensure_tenant", tenant_id=tenant_id, slug=slug)
    except psycopg.errors.CheckViolation:
        raise BadTenant(tenant=slug) from None
    assert row is not None
    found: UUID = row["tenant_id"]
    return found


async def insert_principal(conn: Connection, **account: Any) -> bool:
    """Keeps an account; False where the login is taken."""
    return await _one(conn, "insert_principal", **account) is not None


async def insert_api_key(conn: Connection, **key: Any) -> bool:
    """Keeps a key's hash; False where the tenant has a key of this name."""
    return await _one(conn, "insert_api_key", **key) is not None


async def find_tenant(conn: Connection, tenant_id: UUID) -> Row:
    row = await _one(conn, "find_tenant", tenant_id=tenant_id)
    if row is None:
        raise NotFound
    return row


async def policyholder_exists(conn: Connection, policyholder_id: UUID) -> bool:
    return await _one(conn, "policyholder_exists", policyholder_id=policyholder_id) is not None


# ---------------------------------------------------------------- idempotency
async def hold_key(conn: Connection, tenant_id: UUID, key: str) -> bool:
    """Whether this transaction now holds the key; it lets go at its end."""
    row = await _one(conn, "hold_key", key=f"{tenant_id} {key}")
    return bool(row and row["held"])


async def find_idempotent(conn: Connection, tenant_id: UUID, key: str) -> Row | None:
    return await _one(conn, "find_idempotent", tenant_id=tenant_id, key=key)


async def insert_idempotent(
    conn: Connection, *, tenant_id: UUID, key: str, body_sha256: bytes, status: int, body: bytes
) -> None:
    await _do(
        conn, "insert_idempotent", tenant_id=tenant_id, key=key, body_sha256=body_sha256, status=status, body=body
    )


# ---------------------------------------------------------------- the situation
async def bounds(conn: Connection, *, exercise: bool) -> list[float] | None:
    """[west, south, east, north] of the places anyone may know; None where there are none."""
    row = await _one(conn, "bounds", exercise=exercise)
    if row is None or row["west"] is None:
        return None
    return [row["west"], row["south"], row["east"], row["north"]]


async def stations(conn: Connection, *, now: datetime) -> list[Row]:
    return await _all(conn, "stations", now=now)


async def find_datastream(conn: Connection, station_id: UUID, quantity: str) -> Row | None:
    return await _one(conn, "find_datastream", station_id=station_id, quantity=quantity)


async def observations(
    conn: Connection, *, datastream_id: int, since: datetime | None, until: datetime | None, limit: int
) -> list[Row]:
    """Newest first."""
    return await _all(conn, "observations", datastream_id=datastream_id, since=since, until=until, limit=limit)


async def latest_forecast(conn: Connection, *, datastream_id: int, now: datetime) -> Row | None:
    """The newest forecast that is not stale."""
    return await _one(conn, "latest_forecast", datastream_id=datastream_id, now=now, withheld_after=WITHHELD_AFTER)


async def latest_footprints(conn: Connection, *, now: datetime) -> list[Row]:
    return await _all(conn, "latest_footprints", now=now)


async def latest_assessments(conn: Connection, *, now: datetime) -> list[Row]:
    return await _all(conn, "latest_assessments", now=now)


async def latest_losses(conn: Connection, *, now: datetime, limit: int) -> list[Row]:
    return await _all(conn, "latest_losses", now=now, limit=limit)


async def overview(conn: Connection, *, now: datetime) -> Row:
    row = await _one(conn, "overview", now=now)
    assert row is not None
    return row


async def exposure_cells(conn: Connection, resolution: int) -> tuple[list[Row], Row]:
    """(cells, what is in no cell)."""
    rows = await _all(conn, "exposure_cells", resolution=resolution)
    unmapped = [row for row in rows if row["cell"] is None]
    return [row for row in rows if row["cell"] is not None], (
        unmapped[0] if unmapped else {"n_locations": 0, "tiv_by_currency": {}}
    )


async def locations(conn: Connection, *, box: tuple[float, float, float, float] | None, limit: int) -> list[Row]:
    west, south, east, north = box or (None, None, None, None)
    return await _all(conn, "locations", west=west, south=south, east=east, north=north, limit=limit)


async def latest_plan(conn: Connection, *, now: datetime) -> Row | None:
    return await _one(conn, "latest_plan", now=now)


async def latest_routes(conn: Connection, *, now: datetime, limit: int) -> list[Row]:
    return await _all(conn, "latest_routes", now=now, limit=limit)


async def safe_zones(conn: Connection, *, now: datetime) -> list[Row]:
    return await _all(conn, "safe_zones", now=now)


async def route_detail(
    conn: Connection, *, household_id: UUID | None, policyholder_id: UUID | None, now: datetime
) -> Row | None:
    return await _one(conn, "route_detail", household_id=household_id, policyholder_id=policyholder_id, now=now)


async def shown_network(conn: Connection) -> Row | None:
    return await _one(conn, "shown_network")


async def road_overrides(conn: Connection) -> list[Row]:
    return await _all(conn, "road_overrides")


async def official_orders(conn: Connection, *, now: datetime) -> list[Row]:
    return await _all(conn, "official_orders", now=now)


# ---------------------------------------------------------------- warnings, answers, quotes
Before = tuple[datetime, UUID] | None


async def warnings(conn: Connection, *, state: str | None, before: Before, limit: int) -> list[Row]:
    at, key = before or (None, None)
    return await _all(conn, "warnings", state=state, before_at=at, before_id=key, limit=limit)


async def warning(conn: Connection, warning_id: UUID) -> tuple[list[Row], list[Row]]:
    """(versions, decisions), newest first."""
    versions = await _all(conn, "warning_versions", warning_id=warning_id)
    return versions, await _all(conn, "warning_decisions", warning_id=warning_id) if versions else []


async def feeds(conn: Connection, *, now: datetime) -> list[Row]:
    return await _all(conn, "feeds", now=now)


async def cap_feed(conn: Connection, *, now: datetime, limit: int) -> list[Row]:
    return await _all(conn, "cap_feed", now=now, limit=limit)


async def pauses(conn: Connection) -> list[Row]:
    return await _all(conn, "pauses")


async def answers(conn: Connection, *, kind: str | None, open_only: bool, before: Before, limit: int) -> list[Row]:
    at, key = before or (None, None)
    return await _all(conn, "answers", kind=kind, open_only=open_only, before_at=at, before_id=key, limit=limit)


async def display_name(conn: Connection, principal_id: UUID) -> str:
    """What an account calls itself; "?" for one that is gone."""
    row = await _one(conn, "display_name", principal_id=principal_id)
    return str(row["display_name"]) if row else "?"


async def quotes(conn: Connection, *, before: Before, limit: int) -> list[Row]:
    at, key = before or (None, None)
    return await _all(conn, "quotes", before_at=at, before_id=key, limit=limit)


async def find_quote(conn: Connection, quote_id: UUID) -> Row | None:
    return await _one(conn, "find_quote", quote_id=quote_id)


# ---------------------------------------------------------------- one policyholder's phone
async def person(conn: Connection, policyholder_id: UUID) -> Row:
    row = await _one(conn, "person", policyholder_id=policyholder_id)
    if row is None:
        raise NotFound
    return row


async def person_warnings(conn: Connection, policyholder_id: UUID, *, now: datetime) -> list[Row]:
    return await _all(conn, "person_warnings", policyholder_id=policyholder_id, now=now)


async def person_rules(conn: Connection, *, now: datetime) -> list[Row]:
    return await _all(conn, "person_rules", now=now)


async def person_route(conn: Connection, household_id: UUID, *, now: datetime) -> Row | None:
    return await _one(conn, "person_route", household_id=household_id, now=now)


async def nearest_safe_zones(conn: Connection, *, lon: float, lat: float) -> list[Row]:
    return await _all(conn, "nearest_safe_zones", lon=lon, lat=lat)


async def person_channels(conn: Connection, policyholder_id: UUID) -> list[Row]:
    return await _all(conn, "person_channels", policyholder_id=policyholder_id)


async def is_paused(conn: Connection) -> bool:
    row = await _one(conn, "is_paused")
    return bool(row and row["paused"])


async def delivery_exists(conn: Connection, *, delivery_id: UUID, policyholder_id: UUID) -> bool:
    return await _one(conn, "delivery_of", delivery_id=delivery_id, policyholder_id=policyholder_id) is not None


async def insert_receipt(conn: Connection, *, delivery_id: UUID, tenant_id: UUID, kind: str, at: datetime) -> None:
    await _do(conn, "insert_receipt", delivery_id=delivery_id, tenant_id=tenant_id, kind=kind, at=at)


async def push_endpoints(conn: Connection, *, policyholder_id: UUID, endpoint: str) -> Row:
    row = await _one(conn, "push_endpoints", policyholder_id=policyholder_id, endpoint=endpoint)
    assert row is not None
    return row


async def upsert_push(
    conn: Connection,
    *,
    contact_point_id: UUID,
    tenant_id: UUID,
    policyholder_id: UUID,
    address: Mapping[str, Any],
    at: datetime,
) -> None:
    await _do(
        conn,
        "withdraw_push",
        policyholder_id=policyholder_id,
        endpoint=address["endpoint"],
        address=Jsonb(address),
        at=at,
    )
    await _do(
        conn,
        "upsert_push",
        contact_point_id=contact_point_id,
        tenant_id=tenant_id,
        policyholder_id=policyholder_id,
        address=Jsonb(address),
        at=at,
    )


# ---------------------------------------------------------------- the stream
@asynccontextmanager
async def listener(settings: Settings) -> AsyncIterator[Connection]:
    """A connection of one's own, as tocsin_worker, that hears of new events; what it locks ends with it."""
    conn = await connect_worker_async(worker_url(settings))
    try:
        await conn.execute("LISTEN tocsin_outbox")
        await conn.execute("LISTEN tocsin_stream")
        yield conn
    finally:
        await conn.close()


async def take_sequencer(conn: Connection) -> bool:
    """Whether this connection is the one that numbers events, from now until it closes."""
    row = await _one(conn, "take_sequencer")
    return bool(row and row["taken"])


async def sequence(conn: Connection) -> int:
    """Numbers what is waiting; how many."""
    return await outbox.sequence(conn)


async def stream_edges(conn: Connection) -> tuple[int, int]:
    """(oldest id kept, newest id given); (newest + 1, newest) where none is kept."""
    row = await _one(conn, "stream_edges")
    assert row is not None
    return int(row["oldest"]), int(row["newest"])


async def stream_after(conn: Connection, after: int, *, limit: int) -> list[Row]:
    return await _all(conn, "stream_after", after=after, limit=limit)


async def replay(conn: Connection, *, after: int, until: int, kinds: Sequence[str], limit: int) -> list[Row]:
    return await _all(conn, "replay", after=after, until=until, kinds=list(kinds), limit=limit)


async def wait_notified(conn: Connection, timeout_s: float) -> None:
    """Returns when somebody published, or after the time."""
    async for _ in conn.notifies(timeout=timeout_s, stop_after=1):
        return
