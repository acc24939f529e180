"""Who is warned, whether that can be right, and how many people must agree before it goes out.

The disasters of mass warning were areas that were missing, empty or far too large (LA 2025: a polygon that did not
upload became a county of ten million). So nothing here has a default: an area that is not right warns nobody, and the
operator is told why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from alerts.level import Level
from alerts.lifecycle import Reason
from alerts.rule import SpeakingRule

#: Ten times the usual audience is more likely a mistake in the area than a flood.
UNUSUAL_FACTOR = 10
#: ... but not below this many people, where ten times is still a village.
UNUSUAL_FLOOR = 50

_WGS84 = Geod(ellps="WGS84")

#: Mass warnings that one tenant may send in an hour without people; a storm of them is more likely a fault.
MASS_PER_HOUR = 2
#: From this audience on a warning counts as one of them.
MASS_PEOPLE = 100

#: Held for one of these, a draft cannot be released by anybody: it must be drawn again.
UNRELEASABLE = frozenset(
    {Reason.HELD_AREA_MISSING, Reason.HELD_AREA_EMPTY, Reason.HELD_AREA_INVALID, Reason.HELD_AREA_TOO_LARGE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How a version may go out: by itself (0), by one person, or by two."""

    approvals_needed: int
    reason: Reason
    held: Reason | None = None  #: why the draft is held back; some reasons bar release altogether


def area_of(wkb: bytes | None) -> tuple[BaseGeometry | None, Reason | None]:
    """The area of a rule and, where it cannot be read, why."""
    if wkb is None:
        return None, Reason.HELD_AREA_MISSING
    try:
        return shapely.from_wkb(bytes(wkb)), None
    except ShapelyError:
        return None, Reason.HELD_AREA_INVALID


def area_km2(area: BaseGeometry) -> float:
    """Area on the WGS84 ellipsoid (Karney 2013 by pyproj), square kilometres.

    `orient` first: a ring given clockwise would count as the rest of the world.
    """
    total = 0.0
    for polygon in getattr(area, "geoms", [area]):
        square_m, _ = _WGS84.geometry_area_perimeter(shapely.orient_polygons(polygon))
        total += abs(square_m)
    return total / 1e6


def hold_reason(area: BaseGeometry | None, max_area_km2: float) -> Reason | None:
    """Why nobody may be warned on this area, or None where it is sound."""
    if area is None:
        return Reason.HELD_AREA_MISSING
    if area.is_empty:
        return Reason.HELD_AREA_EMPTY
    if area.geom_type not in ("Polygon", "MultiPolygon") or not area.is_valid:
        return Reason.HELD_AREA_INVALID
    west, south, east, north = area.bounds
    if not np.isfinite([west, south, east, north]).all() or west < -180 or east > 180 or south < -90 or north > 90:
        return Reason.HELD_AREA_INVALID
    if east - west > 180 or area_km2(area) > max_area_km2:
        return Reason.HELD_AREA_TOO_LARGE
    return None


def inside(area: BaseGeometry, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) True where the point lies in the area or on its edge; `lon`, `lat` in degrees, EPSG:4326."""
    shapely.prepare(area)
    found: NDArray[np.bool_] = shapely.intersects_xy(area, lon, lat)
    return found


def release(
    rule: SpeakingRule,
    *,
    level: Level,
    n_people: int,
    held: Reason | None,
    usual: float | None,
    auto_release_people: int,
    n_mass_lately: int = 0,
) -> Release:
    """How a drafted version may go out.

    Level 0 (all-clear) counts as below every ceiling. `usual` is the audience that is normal for this rule, None when
    nobody knows yet. `n_mass_lately` counts the tenant's other warnings to MASS_PEOPLE or more that went out by
    themselves within the hour; an all-clear is never held for it.
    """
    if held is not None:
        return Release(approvals_needed=2, reason=held, held=held)
    if usual is not None and n_people > max(UNUSUAL_FACTOR * usual, UNUSUAL_FLOOR):
        return Release(approvals_needed=2, reason=Reason.DRAFT_AUDIENCE_UNUSUAL, held=Reason.DRAFT_AUDIENCE_UNUSUAL)
    if n_people > auto_release_people:
        return Release(approvals_needed=2, reason=Reason.DRAFT_AUDIENCE_TOO_LARGE)
    if level > Level.NONE and n_people >= MASS_PEOPLE and n_mass_lately >= MASS_PER_HOUR:
        return Release(approvals_needed=2, reason=Reason.DRAFT_TENANT_CAP, held=Reason.DRAFT_TENANT_CAP)
    if level > rule.automatic_ceiling:
        return Release(approvals_needed=2, reason=Reason.DRAFT_ABOVE_CEILING)
    if not rule.automatic:
        return Release(approvals_needed=1, reason=Reason.DRAFT_NOT_AUTOMATIC)
    return Release(approvals_needed=0, reason=Reason.RELEASED_AUTOMATICALLY)


#: Minutes until the water is there, up to which an earlier arrival is a higher priority.
_ZONE_HORIZON_MIN = 600.0


def priorities(
    level: Level,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    now_inside: BaseGeometry | None,
    zones: Sequence[tuple[float, BaseGeometry]],
) -> NDArray[np.int32]:
    """(n,) who is told first: a lower number goes before a higher one.

    The worse level goes first; within it the people the hazard already reaches, then by the minutes until it arrives
    (`zones`: minutes, polygon), then the others. Without a footprint everybody of a level is equal.
    """
    rank = np.full(lon.shape, 99, dtype=np.int32)
    for minutes, zone in sorted(zones, key=lambda one: -one[0]):
        rank[inside(zone, lon, lat)] = 10 + round(80 * min(max(minutes, 0.0), _ZONE_HORIZON_MIN) / _ZONE_HORIZON_MIN)
    if now_inside is not None and not now_inside.is_empty:
        rank[inside(now_inside, lon, lat)] = 0
    base = (int(Level.RED) - int(level)) * 100 if level > Level.NONE else 500
    return base + rank
