"""What a feed's answer brings, into rows: readings by the one door, events with versions, bulletins judged."""

import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import shapely
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from core.events import FootprintPublished, HazardEnded
from core.ids import derived_id, new_id
from ingest import gridded, repository
from ingest.accept import Acceptor
from ingest.batch import Message
from ingest.cap.judge import Feed, Judgement, Known, SourcePolicy
from ingest.cap.judge import content_sha256 as content_of
from ingest.cap.meaning import Finding, Weight, shapes
from ingest.cap.message import CapArea
from ingest.feeds import FeedRow
from ingest.station import PUBLIC, Station, segment
from ingest.weather import (
    atcf,
    capfeed,
    dmc,
    firms,
    hubeau,
    nws,
    qweather,
    sensorthings,
    shakemap,
    usgs_quake,
    usgs_water,
)  # fmt: skip
from ingest.weather.items import BadFeed, HazardSeen, Measured, Official, Zone
from store import outbox
from store.pool import AsyncConnection

#: Fetches a further document that an answer leads to, under the rules of the one client.
Fetch = Callable[[str], Awaitable[bytes]]

#: Messages fetched for one answer of an index; the rest comes with the next one.
MAX_MESSAGES = 200
_READERS = {"usgs_water": usgs_water.parse, "hubeau": hubeau.parse, "dmc": dmc.parse}


@dataclass(slots=True)
class Taken:
    """What an answer brought."""

    n_readings: int = 0
    n_bulletins: int = 0
    n_events: int = 0
    n_footprints: int = 0
    n_signals: int = 0
    n_grids: int = 0
    amiss: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = [
            f"{n} {what}"
            for n, what in (
                (self.n_readings, "readings"), (self.n_bulletins, "bulletins"), (self.n_events, "events"),
                (self.n_footprints, "footprints"), (self.n_signals, "signals"),
                (self.n_grids, "fields"),
            )
            if n
        ]  # fmt: skip
        return (", ".join(told) or "nothing new") + (
            f"; {len(self.amiss)} amiss: {self.amiss[0]}" if self.amiss else ""
        )


class Taker:
    """Keeps what feeds bring; one for a process."""

    def __init__(self, acceptor: Acceptor, *, policies: Mapping[str, SourcePolicy] | None = None) -> None:
        self._acceptor = acceptor
        self._policies = dict(policies or {})

    async def take(self, conn: AsyncConnection, feed: FeedRow, body: bytes, *, now: datetime, fetch: Fetch) -> Taken:
        """Keeps what this answer brings; raises BadFeed for one that is not the feed's."""
        taken = Taken()
        kind = feed.kind
        if kind == "cap":
            await self._cap(conn, feed, body, now, fetch, taken)
        elif kind == "nws":
            zones = nws.zones(Path(feed.options["zones"]).read_bytes()) if feed.options.get("zones") else {}
            found, taken.amiss = nws.parse(body, zones)
            await self._officials(conn, feed, found, now, taken)
        elif kind == "qweather":
            await self._officials(conn, feed, qweather.parse(body, _district(feed.options)), now, taken)
        elif kind in _READERS:
            await self.readings(conn, feed, _READERS[kind](body), now, taken)
        elif kind == "sensorthings":
            known = {
                str(key): sensorthings.Datastream(**value)
                for key, value in (feed.options.get("datastreams") or {}).items()
            }
            await self.readings(conn, feed, sensorthings.parse(body, known), now, taken)
        elif kind == "usgs_quake":
            window = timedelta(hours=float(feed.options.get("window_h", 24)))
            await self._quakes(conn, feed, usgs_quake.parse(body), now, window, taken)
        elif kind == "shakemap":
            contours = feed.options.get("contours")
            if not contours:
                raise BadFeed("A ShakeMap feed needs the option contours.", feed=feed.code)
            seen = shakemap.parse(body, await fetch(str(contours)))
            if not seen.facts["scenario"] or feed.options.get("scenarios"):
                await self._event(conn, feed, seen, taken, inside=float(feed.options.get("mmi", 6.0)))
        elif kind == "atcf":
            await self._event(conn, feed, track_seen(atcf.parse(body)), taken, inside=34.0)
        elif kind == "firms":
            for seen in fires_seen(firms.parse(body)):
                await self._event(conn, feed, seen, taken, inside=0.0)
        elif kind == "grid":
            taken.n_grids = await gridded.keep(conn, feed, await gridded.read(body, feed.options), now)
        elif kind == "news":
            words = [str(one) for one in feed.options.get("words") or ("flood", "storm", "quake", "fire")]
            for one in capfeed.news(body, feed.url, source=feed.name, words=words):
                taken.n_signals += await repository.execute(
                    conn,
                    "keep_signal",
                    {"feed_id": feed.feed_id, "tenant_id": feed.tenant_id, "link": one.link, "title": one.title,
                     "source": one.source, "said_at": one.said_at, "seen_at": now, "weight": one.weight},
                )  # fmt: skip
        return taken

    # ------------------------------------------------------------------ readings
    async def readings(
        self, conn: AsyncConnection, feed: FeedRow, found: Iterable[Measured], now: datetime, taken: Taken
    ) -> None:
        """Keeps readings through `accept`; stations that are met first are registered."""
        readings = list(found)
        tenant = str(feed.options.get("tenant") or PUBLIC)
        tenant_id = await repository.tenant_id(conn, tenant)
        wanted = {(tenant, segment(one.code)) for one in readings}
        known = await repository.find_sites(conn, sorted(wanted))
        for one in {one.code: one for one in readings}.values():
            if (tenant, segment(one.code)) not in known and one.code:
                station = Station(
                    code=one.code, name=one.name or one.code, lon=one.lon, lat=one.lat, river=one.river,
                    quantity=one.quantity, interval_s=feed.interval_s,
                )  # fmt: skip
                await repository.keep_station(conn, station, tenant_id)
        messages = [
            Message(
                f"tocsin/v1/{tenant}/obs/{segment(one.code)}/{one.quantity}",
                json.dumps({"t": one.observed_at.timestamp(), "v": one.value, "u": one.unit}).encode(),
                round(now.timestamp() * 1e6),
            )
            for one in readings
        ]
        for i in range(0, len(messages), 2000):
            accepted = await self._acceptor.accept(conn, messages[i : i + 2000])
            taken.n_readings += accepted.outcomes["new"] + accepted.outcomes["correction"]
            taken.amiss += [one.detail for one in accepted.rejected[:5]]
        await self._acceptor.latest.flush(conn)

    # ------------------------------------------------------------------ bulletins
    async def _feed(self, conn: AsyncConnection, now: datetime) -> Feed:
        """The judge, with all that came before."""
        judge = Feed(policies=self._policies)
        for row in await repository.fetch(conn, "known_bulletins", {"now": now}):
            sender, identifier, sha, sent, status, msg_type, refs, told, ended = row
            me = judge.known.setdefault((sender, identifier), Known())
            me.content_sha256, me.sent, me.status = bytes(sha), sent, status
            me.refers_to = tuple((one.split(",")[0], one.split(",")[1]) for one in refs if one.count(",") == 2)
            me.live = told and not ended
            if msg_type not in ("Update", "Cancel") or status != "Actual":
                continue
            for other in me.refers_to:
                if other[0] != sender and sender not in self._policies.get(other[0], SourcePolicy()).delegates:
                    continue
                entry = judge.known.setdefault(other, Known())
                if msg_type == "Cancel":
                    entry.cancelled_by = (sender, identifier)
                elif told:
                    entry.replaced_by = (sender, identifier)
        return judge

    async def _cap(
        self, conn: AsyncConnection, feed: FeedRow, body: bytes, now: datetime, fetch: Fetch, taken: Taken
    ) -> None:
        judge = await self._feed(conn, now)
        if (
            b"urn:oasis:names:tc:emergency:cap:1" in body[:4096]
            and b"alert" in body[:1024]
            and b"<feed" not in body[:4096]
        ):
            await self._keep(conn, feed, judge.judge(body, now), body, feed.url, None, now, taken)
            return
        entries = capfeed.entries(body, feed.url)
        links = [one.link for one in entries]
        seen = {row[0] for row in await repository.fetch(conn, "seen_links", {"feed_id": feed.feed_id, "links": links})}
        # Oldest first, so that an alert comes before its updates where the index says when.
        todo = [one for one in reversed(entries) if one.link not in seen][:MAX_MESSAGES]
        for one in todo:
            try:
                document = await fetch(one.link)
            except (OSError, TimeoutError, BadFeed) as error:
                taken.amiss.append(f"{one.link}: {error}"[:200])
                continue
            await self._keep(conn, feed, judge.judge(document, now), document, one.link, None, now, taken)

    async def document(
        self, conn: AsyncConnection, feed: FeedRow, raw: bytes, link: str, now: datetime, taken: Taken
    ) -> None:
        """Judges and keeps one CAP document."""
        judge = await self._feed(conn, now)
        await self._keep(conn, feed, judge.judge(raw, now), raw, link, None, now, taken)

    async def _officials(
        self, conn: AsyncConnection, feed: FeedRow, found: Sequence[Official], now: datetime, taken: Taken
    ) -> None:
        judge = await self._feed(conn, now)
        for one in found:
            findings = [Finding(Weight.WARN, text) for text in one.amiss]
            before = judge.known.get((one.message.sender, one.message.identifier))
            if before is not None and before.content_sha256 == content_of(one.message):
                continue  # such feeds show what is in force again and again
            await self._keep(
                conn, feed, judge.judge_message(one.message, now, findings), one.raw, feed.url, one.colour, now, taken
            )

    async def _keep(
        self, conn: AsyncConnection, feed: FeedRow, judged: Judgement, raw: bytes, link: str, colour: str | None,
        now: datetime, taken: Taken,
    ) -> None:  # fmt: skip
        message = judged.message
        info = message.info[0] if message is not None and message.info else None
        every = [area for one in message.info for area in one.area] if message is not None else []
        expires = [one.expires for one in message.info if one.expires is not None] if message is not None else []
        bulletin_id = new_id()
        params: dict[str, Any] = {
            "bulletin_id": bulletin_id,
            "feed_id": feed.feed_id,
            "tenant_id": feed.tenant_id,
            "seen_at": now,
            "raw_sha256": hashlib.sha256(raw).digest(),
            "raw": raw[: 2 * 1024 * 1024],
            "link": link,
            "verdict": judged.verdict.value,
            "reasons": [one.replace("\0", "") for one in judged.reasons],
            "would_notify": judged.would_notify,
            "sender": message.sender if message else None,
            "identifier": message.identifier if message else None,
            "sent_at": message.sent if message else None,
            "status": message.status if message else None,
            "msg_type": message.msg_type if message else None,
            "references_": list(message.references) if message else [],
            "content_sha256": content_of(message) if message else None,
            "event": info.event if info else None,
            "severity": info.severity if info else None,
            "headline": info.headline if info else None,
            "languages": sorted({one.language for one in message.info}) if message else [],
            "colour": colour,
            "onset_at": info.onset if info else None,
            "expires_at": max(expires, default=None, key=lambda one: one.timestamp()),
            "area": _wkb([shape for area in every for shape in shapes(area)]),
            "geocodes": json.dumps(sorted({code for area in every for code in area.geocodes})),
        }
        async with conn.transaction():
            if not await repository.fetch(conn, "keep_bulletin", params):
                return
            taken.n_bulletins += 1
            if judged.retracts:
                await repository.execute(
                    conn,
                    "end_bulletins",
                    {
                        "by": bulletin_id,
                        "senders": [one[0] for one in judged.retracts],
                        "identifiers": [one[1] for one in judged.retracts],
                    },
                )

    # ------------------------------------------------------------------ events
    async def _quakes(
        self,
        conn: AsyncConnection,
        feed: FeedRow,
        found: list[HazardSeen],
        now: datetime,
        window: timedelta,
        taken: Taken,
    ) -> None:
        since = now - window - timedelta(days=30)
        rows = await repository.fetch(conn, "known_events", {"feed_id": feed.feed_id, "since": since})
        by_event: dict[UUID, list[tuple[Any, ...]]] = {}
        for row in rows:
            by_event.setdefault(row[1], []).append(row)
        before = [
            HazardSeen(
                code=rows[0][4], aliases=frozenset(row[0] for row in rows), peril=rows[0][6], name=rows[0][5],
                started_at=rows[0][7], updated_at=max(row[2] for row in rows), deleted=all(row[3] for row in rows),
            )
            for rows in by_event.values()
        ]  # fmt: skip
        for one in usgs_quake.changes(before, found, window=window):
            await self._event(conn, feed, one, taken, inside=0.0)

    async def _event(
        self, conn: AsyncConnection, feed: FeedRow, seen: HazardSeen, taken: Taken, *, inside: float
    ) -> None:
        """Keeps an event, and a footprint version where it has zones; an older telling changes nothing."""
        rows = await repository.fetch(
            conn, "known_events", {"feed_id": feed.feed_id, "since": seen.started_at - timedelta(days=400)}
        )
        known = {row[0]: row for row in rows}
        met = [known[alias] for alias in seen.aliases | {seen.code} if alias in known]
        if met and max(row[2] for row in met) >= seen.updated_at:
            return
        # One event whatever it is called now: its id is that of the first name it was known by.
        event_id = met[0][1] if met else derived_id("hazard_event", feed.feed_id, seen.code)
        code = met[0][4] if met else f"{feed.code}:{seen.code}"
        facts: dict[str, Any] = dict(seen.facts)
        if seen.zones:
            facts["zones"] = [
                {"intensity": z.intensity, "unit": z.unit, "geometry": json.loads(shapely.to_geojson(z.geometry))}
                for z in seen.zones
            ]
        async with conn.transaction():
            await repository.execute(
                conn,
                "keep_event",
                {"hazard_event_id": event_id, "tenant_id": feed.tenant_id, "code": code, "peril": seen.peril,
                 "name": seen.name, "started_at": seen.started_at,
                 "ended_at": seen.updated_at if seen.deleted else None},
            )  # fmt: skip
            for alias in {seen.code, *seen.aliases, *(row[0] for row in met)}:
                await repository.execute(
                    conn,
                    "keep_alias",
                    {"alias": alias, "feed_id": feed.feed_id, "hazard_event_id": event_id, "tenant_id": feed.tenant_id,
                     "updated_at": seen.updated_at, "deleted": seen.deleted, "facts": json.dumps(facts)},
                )  # fmt: skip
            taken.n_events += 1
            if seen.deleted:
                await outbox.publish(
                    conn,
                    HazardEnded(hazard_event_id=event_id),
                    ordering_key=f"hazard:{event_id}",
                    tenant_id=feed.tenant_id,
                )
            area = [zone.geometry for zone in seen.zones if zone.intensity >= inside]
            geometry = _wkb(area)
            if geometry is None:
                return
            footprint_id = new_id()
            await repository.execute(
                conn,
                "add_footprint",
                {"footprint_id": footprint_id, "hazard_event_id": event_id, "tenant_id": feed.tenant_id,
                 "valid_at": seen.updated_at, "made_how": f"feed {feed.code} ({feed.kind})", "geometry": geometry,
                 "zones": "[]"},  # nothing is still to come: intensities stand in the facts
            )  # fmt: skip
            await outbox.publish(
                conn,
                FootprintPublished(footprint_id=footprint_id),
                ordering_key=f"hazard:{event_id}",
                tenant_id=feed.tenant_id,
            )
            taken.n_footprints += 1


_WORLD = box(-180, -90, 180, 90)


def _wkb(placed: Sequence[BaseGeometry]) -> bytes | None:
    """A multipolygon within [-180, 180], cut at the antimeridian; none where there is no area."""
    parts: list[BaseGeometry] = []
    for one in placed:
        whole = one if one.is_valid else shapely.make_valid(one)
        for turn in (-360.0, 0.0, 360.0):
            moved = whole if turn == 0 else translate(whole, xoff=turn)
            inside = moved.intersection(_WORLD)
            parts += [
                p for p in getattr(inside, "geoms", [inside]) if isinstance(p, Polygon | MultiPolygon) and p.area > 0
            ]
    if not parts:
        return None
    union = shapely.union_all(parts)
    polygons = [p for p in getattr(union, "geoms", [union]) if isinstance(p, Polygon)]
    wkb: bytes = shapely.to_wkb(MultiPolygon(polygons))
    return wkb


def _district(options: Mapping[str, Any]) -> CapArea | None:
    if "lon" not in options or "lat" not in options:
        return None
    circle = (float(options["lon"]), float(options["lat"]), float(options.get("radius_km", 30.0)))
    return CapArea(area_desc=str(options.get("area_desc") or ""), circles=(circle,))


def track_seen(fixes: Sequence[atcf.Fix]) -> HazardSeen:
    """A cyclone with its winds at the newest fix, by quadrant: 34, 50 and 64 knots."""
    observed = [one for one in fixes if one.lead_h == 0]
    if not observed:
        raise BadFeed("A track without a fix.")
    last = observed[-1]
    zones = tuple(
        Zone(intensity=float(knots), unit="kn", geometry=_quadrants(last.lon, last.lat, radii))
        for knots, radii in sorted(last.radii_nmi.items())
        if any(radii)
    )
    first = observed[0]
    name = next((one.name for one in reversed(observed) if one.name), f"{last.basin}{last.number:02d}")
    code = f"{first.basin}{first.number:02d}{first.issued_at.year}"
    return HazardSeen(
        code=code, peril="wind", name=name, started_at=first.issued_at, updated_at=last.valid_at, zones=zones,
        facts={"wind_kn": last.wind_kn, "pressure_hpa": last.pressure_hpa, "stage": last.stage},
    )  # fmt: skip


def _quadrants(lon: float, lat: float, radii: Sequence[float | None]) -> Polygon:
    """Quarter circles NE, SE, SW, NW of radii in nautical miles (one minute of latitude each)."""
    corners: list[tuple[float, float]] = []
    for k, radius in enumerate(radii):
        reach = (radius or 0.0) / 60.0
        for step in range(16):
            bearing = math.radians(90.0 * k + 90.0 * step / 15)
            north, east = reach * math.cos(bearing), reach * math.sin(bearing)
            corners.append((lon + east / max(0.05, math.cos(math.radians(lat))), lat + north))
    made = Polygon(corners)
    return made if made.is_valid else made.buffer(0)


def fires_seen(fires: Sequence[firms.Fire]) -> list[HazardSeen]:
    """Fires of nominal confidence or more as one event a day: pixels as large as they were scanned."""
    by_day: dict[str, list[firms.Fire]] = {}
    for one in fires:
        if one.confidence != "low":
            by_day.setdefault(f"{one.seen_at:%Y-%m-%d}", []).append(one)
    found = []
    for day, seen in sorted(by_day.items()):
        pixels = [
            box(
                one.lon - (one.scan_km or 1.0) / 222.64 / max(0.05, _cos(one.lat)),
                one.lat - (one.track_km or 1.0) / 222.64,
                one.lon + (one.scan_km or 1.0) / 222.64 / max(0.05, _cos(one.lat)),
                one.lat + (one.track_km or 1.0) / 222.64,
            )
            for one in seen
        ]
        area = shapely.union_all(pixels)
        found.append(
            HazardSeen(
                code=day, peril="fire", name=f"Fires of {day}", started_at=min(one.seen_at for one in seen),
                updated_at=max(one.seen_at for one in seen), facts={"n_pixels": len(seen)},
                zones=(Zone(intensity=1.0, unit="burning", geometry=area),),
            )
        )  # fmt: skip
    return found


def _cos(lat: float) -> float:
    return math.cos(math.radians(lat))
