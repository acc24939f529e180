"""Stored values as the wire shows them: geometry to GeoJSON, cells to rings, rule states to levels. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, cast

import h3
import shapely
from shapely.geometry.base import BaseGeometry

from api.schemas.common import Area, Line, LineString, MultiLineString, MultiPolygon, Polygon, ShownLevel
from api.schemas.hazard import Zone
from api.schemas.station import ForecastOut, ForecastStep, Phase
from core.errors import InvalidInput
from ingest.forecast.outlook import DEGRADED_AFTER

#: Decimals of a degree on the wire: 1e-6 degrees is 0.11 m.
_DIGITS: Final = 6


def rfc3339(at: datetime) -> str:
    """A UTC time as text, to the second, with Z."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# ---------------------------------------------------------------- geometry
def _rings(polygon: Any) -> list[list[list[float]]]:
    return [
        [[round(x, _DIGITS), round(y, _DIGITS)] for x, y, *_ in ring.coords]
        for ring in (polygon.exterior, *polygon.interiors)
    ]


def _points(line: Any) -> list[list[float]]:
    return [[round(x, _DIGITS), round(y, _DIGITS)] for x, y, *_ in line.coords]


def _from_wkb(wkb: bytes | memoryview) -> BaseGeometry:
    return cast(BaseGeometry, shapely.from_wkb(bytes(wkb)))


def area_json(wkb: bytes | memoryview | None) -> Area | None:
    """A polygon or multipolygon from WKB; None for none or an empty one."""
    if wkb is None:
        return None
    shape = _from_wkb(wkb)
    if shape.is_empty:
        return None
    if shape.geom_type == "Polygon":
        return Polygon(coordinates=_rings(shape))
    parts = [part for part in cast(Any, shape).geoms if part.geom_type == "Polygon"]
    return MultiPolygon(coordinates=[_rings(part) for part in parts])


def line_json(wkb: bytes | memoryview | None) -> Line | None:
    """A line from WKB; None for none or an empty one."""
    if wkb is None:
        return None
    shape = _from_wkb(wkb)
    if shape.is_empty:
        return None
    if shape.geom_type == "LineString":
        return LineString(coordinates=_points(shape))
    return MultiLineString(coordinates=[_points(part) for part in cast(Any, shape).geoms])


def multiline_coordinates(wkb: bytes | memoryview) -> list[list[list[float]]]:
    """Coordinates of a (multi)line from WKB, one list a line."""
    shape = line_json(wkb)
    if shape is None:
        return []
    return [shape.coordinates] if isinstance(shape, LineString) else shape.coordinates


def zones_json(zones: Sequence[Mapping[str, Any]]) -> list[Zone]:
    """Arrival zones as stored in footprint.zones, soonest first; one without a geometry is left out."""
    shown = [
        Zone(
            arrival_min=zone.get("arrival_min"),
            intensity=zone.get("intensity"),
            unit=zone.get("unit"),
            geometry=zone["geometry"],
        )
        for zone in zones
        if zone.get("geometry")
    ]
    return sorted(shown, key=lambda zone: float("inf") if zone.arrival_min is None else zone.arrival_min)


def parse_bbox(text: str | None) -> tuple[float, float, float, float] | None:
    """(west, south, east, north) of `w,s,e,n`; raises InvalidInput naming what is wrong with it."""
    if text is None:
        return None
    parts = text.split(",")
    try:
        west, south, east, north = (float(part) for part in parts)
    except ValueError:
        raise InvalidInput("bbox: four numbers are needed, west,south,east,north.") from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise InvalidInput("bbox: west and east lie within -180..180, south <= north within -90..90.")
    return west, south, east, north


def cell_text(cell: int) -> str:
    """An H3 cell as its usual text."""
    return cast(str, h3.int_to_str(cell))


def cell_ring(cell: str) -> list[list[float]]:
    """The closed boundary of an H3 cell, [lon, lat]; a cell across the antimeridian goes past 180 in one piece."""
    ring = [[lon, lat] for lat, lon in h3.cell_to_boundary(cell)]
    lons = [lon for lon, _ in ring]
    if max(lons) - min(lons) > 180:
        ring = [[lon + 360 if lon < 0 else lon, lat] for lon, lat in ring]
    ring = [[round(lon, _DIGITS), round(lat, _DIGITS)] for lon, lat in ring]
    return [*ring, ring[0]]


# ---------------------------------------------------------------- levels
@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A station's level as it may be shown."""

    level: ShownLevel
    held_level: ShownLevel | None
    phase: Phase | None
    held: bool
    thresholds: dict[str, float]
    quantity: str | None


_ORDER: Final = {"none": 0, "blue": 1, "yellow": 2, "orange": 3, "red": 4}


def shown_level(state: str, rules: Sequence[Mapping[str, Any]], *, has_reading: bool) -> Shown:
    """What a station's level is shown as; with several rules, the one that stands highest.

    A station that is silent, that no rule has judged, or that was never heard has no level we could vouch for: it is
    `unknown`. A warning that stands while its station is silent is `held`, with the level it stands at.
    """
    if not rules:
        return Shown(level="unknown", held_level=None, phase=None, held=False, thresholds={}, quantity=None)
    top = max(rules, key=lambda rule: (_ORDER.get(rule["level"] or "none", 0), rule["phase"] == "stale"))
    phase = cast(Phase | None, top["phase"])
    stands = cast(ShownLevel, top["level"] or "none")
    silent = state != "online" or phase == "stale" or not has_reading
    held = silent and stands != "none"
    level: ShownLevel = "unknown" if silent or phase is None else stands
    return Shown(
        level=level,
        held_level=stands if held else None,
        phase=phase,
        held=held,
        thresholds={str(name): float(value) for name, value in (top["thresholds"] or {}).items()},
        quantity=top["quantity"],
    )


# ---------------------------------------------------------------- what a phone may say
@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A rule whose area holds a person's home."""

    phase: str | None  #: none: never judged
    level: str | None
    evaluated_until: datetime | None
    station_state: str
    interval_s: float


#: A rule that nobody has judged for this many of its intervals is not being watched.
_UNCHECKED_INTERVALS: Final = 6
_UNCHECKED_AT_LEAST_S: Final = 900.0

PhoneState = Literal["warning", "all_clear", "no_warning", "cannot_tell"]
PhoneReason = Literal["", "silent_station", "not_watched", "no_place", "not_checked", "being_checked", "expired"]


def phone_state(
    *, n_warnings: int, n_all_clear: int, home_known: bool, watches: Sequence[Watch], now: datetime
) -> tuple[PhoneState, PhoneReason]:
    """(state, reason) of one person's page. Only where every watch over the home is awake is it `no_warning`."""
    if n_warnings:
        return "warning", ""
    if not home_known:
        return "cannot_tell", "no_place"
    if not watches:
        return "cannot_tell", "not_watched"
    if any(one.phase == "expired" for one in watches):
        return "cannot_tell", "expired"
    if any(one.level not in (None, "none") for one in watches):
        return "cannot_tell", "being_checked"
    if any(one.station_state != "online" or one.phase == "stale" for one in watches):
        return "cannot_tell", "silent_station"
    for one in watches:
        allowed_s = max(_UNCHECKED_INTERVALS * one.interval_s, _UNCHECKED_AT_LEAST_S)
        if one.evaluated_until is None or (now - one.evaluated_until).total_seconds() > allowed_s:
            return "cannot_tell", "not_checked"
    return ("all_clear", "") if n_all_clear else ("no_warning", "")


# ---------------------------------------------------------------- texts and places
def covers(area: bytes | memoryview | None, place: BaseGeometry | None) -> bool:
    """Whether a polygon holds the place or touches it; False where either is not known."""
    if area is None or place is None:
        return False
    return bool(shapely.intersects(_from_wkb(area), place))


def in_language(texts: Mapping[str, Any], language: str) -> tuple[str, Any]:
    """(language, text): the one asked for, else its base language, else English, else the first; else ("", None)."""
    for wanted in (language, language.split("-")[0], "en", *sorted(texts)):
        if wanted in texts:
            return wanted, texts[wanted]
    return "", None


def hint(channel: str, address: Mapping[str, Any]) -> str:
    """Enough of an address for its owner to know it, and no more."""
    if channel == "email":
        name, _, domain = str(address.get("address") or address.get("email") or "").partition("@")
        return f"{name[:1]}…@{domain}" if domain else "…"
    if channel in ("sms", "voice"):
        number = str(address.get("number") or address.get("phone") or "")
        return f"…{number[-2:]}" if len(number) > 4 else "…"
    return ""


def forecast_steps(row: Mapping[str, Any], now: datetime) -> ForecastOut:
    """A stored forecast as a page draws it: the outermost quantiles and the middle one at each horizon."""
    taus = row["taus"]
    middle = min(range(len(taus)), key=lambda k: abs(taus[k] - 0.5))
    steps = []
    for k, horizon_h in enumerate(row["horizons_h"]):
        told = row["quantiles"][k * len(taus) : (k + 1) * len(taus)]
        at = row["made_at"] + timedelta(hours=horizon_h)
        steps.append(ForecastStep(at=at, low=told[0], middle=told[middle], high=told[-1]))
    degraded = now - row["made_at"] > DEGRADED_AFTER
    return ForecastOut(made_at=row["made_at"], model=row["model"], degraded=degraded, steps=steps)
