"""Who has fallen silent: a state of its own, never taken for calm.

A station is silent when two of its intervals and 30 s have passed since it was last heard, whatever its clock says. If
all of a tenant's stations go at once, or the broker is gone, that is one alarm and not one a station.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core.events import FeedStateChanged, StationStateChanged
from core.log import get_logger
from ingest import repository
from store import outbox
from store.pool import AsyncConnection

log = get_logger("silence")

INTERVALS = 2.0
GRACE_S = 30.0

#: Fewer stations than this that go at once are so many stations, not a feed.
_FEED_STATIONS = 3

BROKER = "broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one look at the clock changed."""

    silent: list[str]
    online: list[str]
    feeds: dict[str, str]  #: feed -> up or down


async def check(conn: AsyncConnection, now: datetime, *, broker_up: bool = True) -> Changes:
    """Moves stations between online and silent as of `now` (the one clock), and tells of it, in one transaction."""
    params = {"now": now, "intervals": INTERVALS, "grace_s": GRACE_S}
    feeds: dict[str, str] = {}
    async with repository.errors_as_kinds(), conn.transaction():
        online = await repository.fetch(conn, "heard_again", params)
        silent = await repository.fetch(conn, "fallen_silent", params)
        if not online and not silent and broker_up == await _feed_is_up(conn, BROKER):
            return Changes(silent=[], online=[], feeds={})
        left = {row[0]: row[1] for row in await repository.fetch(conn, "still_online")}
        if await _set_feed(conn, BROKER, None, up=broker_up, now=now, n=sum(left.values()), detail="message broker"):
            feeds[BROKER] = "up" if broker_up else "down"
        by_tenant: dict[UUID | None, list[tuple[UUID, str]]] = defaultdict(list)
        for station_id, tenant_id, code in silent:
            by_tenant[tenant_id].append((station_id, code))
        told: list[tuple[UUID, UUID | None]] = [(row[0], row[1]) for row in online]
        for tenant_id, stations in by_tenant.items():
            feed = f"stations:{tenant_id or 'public'}"
            together = len(stations) >= _FEED_STATIONS and left.get(tenant_id, 0) == 0
            if together and await _set_feed(
                conn, feed, tenant_id, up=False, now=now, n=len(stations), detail="all stations fell silent"
            ):
                feeds[feed] = "down"
            if broker_up and not together:
                told += [(station_id, tenant_id) for station_id, _ in stations]
        for tenant_id in {row[1] for row in online}:
            feed = f"stations:{tenant_id or 'public'}"
            if await _set_feed(conn, feed, tenant_id, up=True, now=now, n=left.get(tenant_id, 0), detail="heard again"):
                feeds[feed] = "up"
        for station_id, tenant_id in told:
            event = StationStateChanged(station_id=station_id)
            await outbox.publish(conn, event, ordering_key=f"station:{station_id}", tenant_id=tenant_id)
    for feed, state in feeds.items():
        (log.error if state == "down" else log.info)("a feed changed", feed=feed, state=state)
    if silent:
        log.warning("stations are silent", n=len(silent), some=[row[2] for row in silent[:5]])
    return Changes(silent=[row[2] for row in silent], online=[row[2] for row in online], feeds=feeds)


async def _feed_is_up(conn: AsyncConnection, feed: str) -> bool:
    rows = await repository.fetch(conn, "feed_state", {"feed": feed})
    return not rows or rows[0][0] == "up"


async def _set_feed(
    conn: AsyncConnection, feed: str, tenant_id: UUID | None, *, up: bool, now: datetime, n: int, detail: str
) -> bool:
    """Whether the feed changed; a feed that was never down is up."""
    if await _feed_is_up(conn, feed) == up:
        return False
    state = "up" if up else "down"
    await repository.execute(
        conn,
        "keep_feed_state",
        {"feed": feed, "tenant_id": tenant_id, "state": state, "since": now, "n_stations": n, "detail": detail},
    )
    event = FeedStateChanged(feed=feed, state=state)
    await outbox.publish(conn, event, ordering_key=f"feed:{feed}", tenant_id=tenant_id)
    return True
