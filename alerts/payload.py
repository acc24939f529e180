"""What a message carries to a phone: everything needed to act, within what push services take.

A phone in a flood may have no network a minute later, so level, instruction, route, leave-by and the nearest safe
zones travel inside the message; a link is only for more.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import asin, cos, radians, sin, sqrt
from typing import Any
from uuid import UUID

import shapely
from shapely.geometry.base import BaseGeometry

from alerts.alert import Alert, Text
from geo.directions import polyline
from geo.evacuation import Status
from geo.orders import STAY, OfficialOrder

#: Most bytes of an encrypted web push body (RFC 8030 asks services for 4,096; some count overhead).
MAX_PUSH_BYTES = 3990
#: What aes128gcm adds in one record (RFC 8188): header 21 + key 65, delimiter 1, tag 16.
PUSH_OVERHEAD_BYTES = 103

#: Longer names of authorities are cut in messages.
_AUTHORITY_CHARS = 80
_EARTH_M = 6_371_008.8  # mean radius, IUGG


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeZone:
    """A place to go to; names by language."""

    names: Mapping[str, str]
    lon: float
    lat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """A household's route, as last computed; none of it is needed for a warning to be sent."""

    status: str
    leave_by: datetime | None
    line: BaseGeometry | None


def under(order: OfficialOrder, way_out: WayOut, now: datetime) -> WayOut:
    """The way out as it may be told under an order, whatever it was computed from (as `geo.orders.under`).

    Ordered to stay, none is drawn. Ordered to leave, a way that has a time is begun now.
    """
    if order.kind == STAY:
        return WayOut(status=Status.SHELTER_IN_PLACE.value, leave_by=None, line=None)
    return replace(way_out, leave_by=now) if way_out.line is not None or way_out.leave_by is not None else way_out


def order(said: OfficialOrder) -> dict[str, Any]:
    """An official order as JSON values."""
    return {"kind": said.kind, "authority": said.authority[:_AUTHORITY_CHARS], "issued": said.issued_at.isoformat(),
            "expires": said.expires_at.isoformat()}  # fmt: skip


def distance_m(lon_a: float, lat_a: float, lon_b: float, lat_b: float) -> float:
    """Great-circle distance, haversine."""
    half_lat, half_lon = radians(lat_b - lat_a) / 2, radians(lon_b - lon_a) / 2
    chord = sin(half_lat) ** 2 + cos(radians(lat_a)) * cos(radians(lat_b)) * sin(half_lon) ** 2
    return 2 * _EARTH_M * asin(sqrt(min(1.0, chord)))


def nearest(zones: Sequence[SafeZone], home: tuple[float, float] | None, n: int = 3) -> list[SafeZone]:
    """The n safe zones nearest to a home, nearest first; none when the home is not known."""
    if home is None:
        return []
    return sorted(zones, key=lambda one: distance_m(*home, one.lon, one.lat))[:n]


def build(
    alert: Alert,
    text: Text,
    *,
    language: str,
    delivery_id: UUID,
    url: str,
    way_out: WayOut | None,
    safe_zones: Sequence[SafeZone],
) -> dict[str, Any]:
    """The message as JSON values; times are ISO 8601 UTC."""
    return {
        "id": str(delivery_id),
        "warning_id": str(alert.warning_id),
        "version": alert.version,
        "exercise": alert.exercise,
        "level": alert.level.word,
        "all_clear": alert.all_clear,
        "cancelled": alert.msg_type == "Cancel",
        "language": language,
        "headline": text.headline,
        "instruction": text.instruction,
        "description": text.description,
        "sent": alert.sent_at.isoformat(),
        "expires": alert.expires_at.isoformat(),
        "steps": [],
        "route": route(way_out) if way_out is not None else None,
        "safe_zones": shown_zones(safe_zones, language),
        "url": url,
    }


def route(way_out: WayOut) -> dict[str, Any]:
    """A way out as JSON values, drawn in full."""
    return {
        "status": way_out.status,
        "leave_by": way_out.leave_by.isoformat() if way_out.leave_by else None,
        "polyline": _line(way_out.line, 0.0),
    }


def shown_zones(zones: Sequence[SafeZone], language: str) -> list[dict[str, Any]]:
    """Safe zones as JSON values, named in this language where they have such a name."""
    return [
        {
            "name": zone.names.get(language) or zone.names.get("en") or next(iter(zone.names.values()), ""),
            "lon": round(zone.lon, 5),
            "lat": round(zone.lat, 5),
        }
        for zone in zones
    ]


def _line(line: BaseGeometry | None, tolerance: float) -> str | None:
    if line is None or line.is_empty:
        return None
    simple = line.simplify(tolerance) if tolerance else line
    return polyline(shapely.get_coordinates(simple))


#: How coarse a line may be drawn before words make room for it, in degrees (100 m), and at the very last (500 m).
_COARSER_DEG = (0.0, 1e-5, 5e-5, 2e-4, 1e-3)
_COARSEST_DEG = 5e-3
_SHORT_DESCRIPTION = 300


def to_push(payload: Mapping[str, Any], line: BaseGeometry | None, limit: int) -> bytes:
    """The payload as UTF-8 JSON of at most `limit` bytes: the route is drawn coarser, then the description makes room
    for it, and only then the route is left out, and at last steps against loss; level, headline, instruction, leave-by,
    safe zones and link always stay.
    """
    told = dict(payload)
    route = dict(told["route"]) if told.get("route") else None
    description = str(told["description"])
    lines: dict[float | None, str | None] = {None: None}
    shorter = (None, _SHORT_DESCRIPTION, 0)
    ways: list[tuple[float | None, int | None]] = []
    if route is not None and line is not None:
        ways += [(one, length) for length in shorter for one in _COARSER_DEG]
        ways.append((_COARSEST_DEG, 0))
    for tolerance, length in [*ways, *((None, length) for length in shorter)]:
        if tolerance is not None and tolerance not in lines:
            lines[tolerance] = _line(line, tolerance)
        if route is not None:
            told["route"] = {**route, "polyline": lines[tolerance]}
        told["description"] = description[:length]
        body = _json(told)
        if len(body) <= limit:
            return body
    told["instruction"] = str(told["instruction"])[:400]
    body = _json(told)
    if len(body) <= limit:
        return body
    told["safe_zones"], told["steps"] = told["safe_zones"][:1], []
    body = _json(told)
    if len(body) > limit:
        raise ValueError(f"the message has {len(body)} bytes; {limit} is the most")
    return body


def _json(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
