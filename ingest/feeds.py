"""Feeds as they stand in the database: added, turned on and off, listed; and how each kind is asked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from core.errors import InvalidInput, NotFound
from core.ids import new_id
from ingest import repository
from ingest.weather.capfeed import Listed
from store.pool import AsyncConnection

#: kind -> (what it brings, seconds between two questions where nothing else is said)
KINDS: Mapping[str, tuple[str, float]] = {
    "cap": ("CAP messages behind an Atom or RSS index", 120.0),
    "nws": ("NWS alerts as GeoJSON; option zones: GeoJSON file of zone polygons", 60.0),
    "qweather": ("Chinese four-colour warnings; options area_desc, lon, lat, radius_km", 120.0),
    "usgs_quake": ("USGS earthquakes (summary GeoJSON); option window_h", 60.0),
    "shakemap": ("USGS ShakeMap info.json; option contours: address of cont_mmi.json, mmi", 120.0),
    "usgs_water": ("USGS water levels and flows (NWIS JSON)", 300.0),
    "hubeau": ("Hub'Eau observations_tr", 300.0),
    "dmc": ("DMC bulletin of Sri Lanka", 900.0),
    "sensorthings": ("OGC SensorThings observations; option datastreams", 300.0),
    "atcf": ("ATCF track of a tropical cyclone", 900.0),
    "grid": ("gridded forecasts (GRIB, netCDF; extra gridded); options variables, bbox", 3600.0),
    "firms": ("NASA FIRMS active fires (CSV)", 900.0),
    "wis2": ("WIS2 notifications of CAP over MQTT; options hosts (allow-list), topics, username, password", 60.0),
    "sparkplug": ("Sparkplug B over MQTT; options private, units, quantities, topics, username, password", 60.0),
    "sensorthings_mqtt": ("SensorThings over MQTT; options private, datastreams, topics, username, password", 60.0),
    "news": ("news in RSS, as hints; option words", 900.0),
}

#: kinds that speak first: see ingest/subscribe.py
LISTENED = frozenset({"wis2", "sparkplug", "sensorthings_mqtt"})


class BadFeedRow(InvalidInput):
    """This feed cannot be added."""


class NoSuchFeed(NotFound):
    """There is no feed of this code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRow:
    """One feed and how it does."""

    feed_id: UUID
    tenant_id: UUID | None
    code: str
    kind: str
    name: str
    url: str
    options: Mapping[str, Any]
    enabled: bool
    interval_s: float
    etag: str | None
    last_modified: str | None
    state: str
    since: datetime | None
    tried_at: datetime | None
    answered_at: datetime | None
    n_failures: int
    detail: str
    n_bulletins: int = 0

    def age_s(self, now: datetime) -> float | None:
        """Seconds since the last good answer; none: never."""
        return None if self.answered_at is None else (now - self.answered_at).total_seconds()

    def as_json(self, now: datetime) -> dict[str, Any]:
        """What `tocsin feeds list --json` says of it."""
        return {
            "code": self.code,
            "kind": self.kind,
            "name": self.name,
            "url": self.url,
            "enabled": self.enabled,
            "interval_s": self.interval_s,
            "state": self.state if self.enabled else "off",
            "since": self.since.isoformat() if self.since else None,
            "answered_at": self.answered_at.isoformat() if self.answered_at else None,
            "age_s": self.age_s(now),
            "stale": self.enabled and ((age := self.age_s(now)) is None or age > 3 * self.interval_s),
            "n_failures": self.n_failures,
            "n_bulletins": self.n_bulletins,
            "detail": self.detail,
        }


async def add(
    conn: AsyncConnection,
    *,
    code: str,
    kind: str,
    url: str,
    name: str = "",
    options: Mapping[str, Any] | None = None,
    interval_s: float | None = None,
    tenant_id: UUID | None = None,
) -> bool:
    """Adds a feed, off, or renews a known one; whether it is new. Raises BadFeedRow."""
    if kind not in KINDS:
        raise BadFeedRow("This kind of feed is not known.", kind=kind, known=sorted(KINDS))
    parts = urlsplit(url)
    schemes = ("mqtt", "mqtts") if kind in LISTENED else ("http", "https")
    if parts.scheme not in schemes or not parts.hostname or parts.username:
        raise BadFeedRow(
            f"The address of such a feed begins with {schemes[0]}:// or {schemes[1]}://.", code=code, url=url[:120]
        )
    rows = await repository.fetch(
        conn,
        "keep_feed",
        {
            "feed_id": new_id(), "tenant_id": tenant_id, "code": code, "kind": kind, "name": name or code, "url": url,
            "options": json.dumps(dict(options or {})), "interval_s": interval_s or KINDS[kind][1],
        },
    )  # fmt: skip
    return bool(rows[0][0])


async def import_list(conn: AsyncConnection, listed: Sequence[Listed]) -> tuple[int, int]:
    """Adds the feeds of a list, all or none, none turned on; (new, renewed)."""
    new = 0
    async with conn.transaction():
        for one in listed:
            options = {"form": one.form, "country": one.country, "language": one.language, "plain_http": True}
            new += await add(conn, code=one.code, kind="cap", url=one.url, name=one.name, options=options)
    return new, len(listed) - new


async def turn(conn: AsyncConnection, code: str, *, on: bool) -> None:
    """Turns a feed on or off; raises NoSuchFeed."""
    if await repository.execute(conn, "turn_feed", {"code": code, "enabled": on}) == 0:
        raise NoSuchFeed(code=code)


async def find(conn: AsyncConnection, code: str | None = None) -> list[FeedRow]:
    """All feeds, or the one of this code, by code."""
    return [FeedRow(**_named(row)) for row in await repository.fetch(conn, "list_feeds", {"code": code})]


async def enabled(conn: AsyncConnection) -> list[FeedRow]:
    """The feeds that are on, by code; what they brought is not counted."""
    return [FeedRow(**_named(row)) for row in await repository.fetch(conn, "enabled_feeds", {})]


async def due(conn: AsyncConnection, now: datetime, *, limit: int) -> list[FeedRow]:
    """Feeds that are on and whose time has come, the longest waiting first."""
    rows = await repository.fetch(conn, "due_feeds", {"now": now, "limit": limit, "listened": sorted(LISTENED)})
    return [FeedRow(**_named(row)) for row in rows]


_COLUMNS = (
    "feed_id", "tenant_id", "code", "kind", "name", "url", "options", "enabled", "interval_s", "etag", "last_modified",
    "state", "since", "tried_at", "answered_at", "n_failures", "detail", "n_bulletins",
)  # fmt: skip


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS, row, strict=True))
