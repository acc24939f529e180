"""The seats of safe zones, who has taken one, and the households that need one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np

from geo.crs import FloatArray
from geo.evacuation import ACCESSIBLE_NEEDS, SafeZones, Seats
from store import queries
from store.pool import AsyncConnection

_SQL = queries.load("geo")
_rows, _row, _do = queries.runners(_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSeats:
    """A safe zone and what it holds."""

    safe_zone_id: UUID
    lon: float
    lat: float
    seats: int  #: all of them, the accessible ones among them
    accessible_seats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """People who said that they are safe at a safe zone."""

    household_id: UUID | None
    safe_zone_id: UUID
    people: int
    accessible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A household as it is planned for."""

    household_id: UUID
    lon: float
    lat: float
    mode: str
    people: int
    needs: list[str]


async def zones_with_seats(conn: AsyncConnection, tenant_id: UUID) -> list[ZoneSeats]:
    """The tenant's and the public safe zones."""
    return [ZoneSeats(**row) for row in await _rows(conn, "seats_of_safe_zones", {"tenant_id": tenant_id})]


async def arrivals(conn: AsyncConnection, now: datetime) -> list[Arrival]:
    """Who is at a safe zone by their own word."""
    return [Arrival(**row) for row in await _rows(conn, "arrivals", {"now": now})]


async def homes_of(conn: AsyncConnection, tenant_id: UUID) -> list[Home]:
    """A tenant's households."""
    return [Home(**row) for row in await _rows(conn, "households_of_tenant", {"tenant_id": tenant_id})]


async def overfull(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> bool:
    """Whether arrivals took seats that the tenant's newest plan still promises to others."""
    row = await _row(conn, "overfull", {"tenant_id": tenant_id, "now": now})
    return bool(row and row["exists"])


async def others_at_zone(conn: AsyncConnection, answer_id: UUID) -> list[UUID]:
    """The other tenants with households where an answer tells of an arrival at a public safe zone; else none."""
    return [row["tenant_id"] for row in await _rows(conn, "others_at_zone", {"answer_id": answer_id})]


def places(zones: Sequence[ZoneSeats]) -> SafeZones:
    """Where the safe zones are, as columns."""
    lon: FloatArray = np.array([z.lon for z in zones], dtype=float)
    return SafeZones(lon, np.array([z.lat for z in zones], dtype=float))


def seats_left(
    zones: Sequence[ZoneSeats], homes: Sequence[Home], came: Sequence[Arrival], told_zone: dict[UUID, UUID | None]
) -> Seats | None:
    """What is still to be seated, and where; None where no safe zone names any seats: how many there are is not known.

    Whoever has arrived sits where they are, planned or not. Where no safe zone names accessible seats, those who need
    one share the others. `told_zone` is what each household was last told: it stays there unless that costs much.
    """
    if not any(z.seats for z in zones):
        return None
    index = {z.safe_zone_id: k for k, z in enumerate(zones)}
    accessible = np.array([z.accessible_seats for z in zones], dtype=np.int64)
    ordinary = np.array([z.seats for z in zones], dtype=np.int64) - accessible
    apart = bool(accessible.any())
    for one in came:
        if one.safe_zone_id in index:
            room = accessible if one.accessible and apart else ordinary
            room[index[one.safe_zone_id]] -= one.people
    accessible, ordinary = np.maximum(accessible, 0), np.maximum(ordinary, 0)
    there = {one.household_id for one in came}
    return Seats(
        seats=ordinary + accessible,
        accessible_seats=accessible,
        people=np.array([h.people for h in homes], dtype=np.int64),
        accessible=np.array([apart and bool(ACCESSIBLE_NEEDS & set(h.needs)) for h in homes], dtype=bool),
        arrived=np.array([h.household_id in there for h in homes], dtype=bool),
        stays=np.array([index.get(told_zone.get(h.household_id) or UUID(int=0), -1) for h in homes], dtype=np.int64),
    )
