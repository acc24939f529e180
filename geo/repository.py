"""Rows of tenants, hazard and evacuation to nouns and back: with its siblings the only caller of geo/sql."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import shapely
from psycopg.types.json import Jsonb
from shapely.geometry.base import BaseGeometry

from core.errors import NotFound
from core.ids import new_id
from geo.closing import Override
from geo.evacuation import Route
from geo.exposure import Exposed, cents_text
from geo.hazard import ArrivalZone, Hazard, check_zones
from geo.hazard_field import HazardField
from geo.orders import OfficialOrder
from geo.repository_books import Portfolio
from store import queries
from store.pool import AsyncConnection

_SQL = queries.load("geo")


class NoTenant(NotFound):
    """There is no tenant of this slug."""


class NoFootprint(NotFound):
    """There is no such footprint."""


class NoHazardEvent(NotFound):
    """There is no such hazard event."""


async def tenant_of(conn: AsyncConnection, slug: str) -> UUID:
    """The tenant's id; raises NoTenant."""
    row = await (await conn.execute(_SQL["tenant_of_slug"], {"slug": slug})).fetchone()
    if row is None:
        raise NoTenant(slug=slug)
    found: UUID = row[0]
    return found


# -------------------------------------------------------------------- hazard events and footprints
@dataclass(frozen=True, slots=True)
class Footprint:
    """A footprint's row, read back."""

    footprint_id: UUID
    hazard_event_id: UUID
    tenant_id: UUID | None
    version: int
    valid_at: datetime
    hazard: Hazard


@dataclass(frozen=True, slots=True)
class EventState:
    """Where an event's footprints stand."""

    tenant_id: UUID | None
    peril: str
    ended_at: datetime | None
    version: int  #: of the newest footprint; 0: none yet
    valid_at: datetime | None  #: of the newest footprint


@dataclass(frozen=True, slots=True)
class EventTold:
    """An event as an operator lists it."""

    code: str
    tenant: str | None  #: none: public
    peril: str
    name: str
    started_at: datetime
    ended_at: datetime | None
    version: int  #: of the newest footprint; 0: none yet
    valid_at: datetime | None  #: of the newest footprint


async def save_hazard_event(
    conn: AsyncConnection, *, tenant_id: UUID | None, code: str, peril: str, name: str, started_at: datetime
) -> UUID:
    """The id of the event of this code, made if it is not there."""
    row = await (
        await conn.execute(
            _SQL["save_hazard_event"],
            {
                "hazard_event_id": new_id(), "tenant_id": tenant_id, "code": code, "peril": peril, "name": name,
                "started_at": started_at,
            },
        )
    ).fetchone()  # fmt: skip
    assert row is not None
    found: UUID = row[0]
    return found


async def lock_event(conn: AsyncConnection, hazard_event_id: UUID) -> EventState:
    """Holds the event until the transaction ends; raises NoHazardEvent."""
    row = await (await conn.execute(_SQL["lock_hazard_event"], {"hazard_event_id": hazard_event_id})).fetchone()
    if row is None:
        raise NoHazardEvent(hazard_event_id=str(hazard_event_id))
    return EventState(*row)


async def event_of_code(conn: AsyncConnection, code: str, tenant_id: UUID | None) -> UUID:
    """The id of a tenant's event, or of a public one; raises NoHazardEvent."""
    row = await (await conn.execute(_SQL["hazard_event_of_code"], {"code": code, "tenant_id": tenant_id})).fetchone()
    if row is None:
        raise NoHazardEvent(code=code)
    found: UUID = row[0]
    return found


async def hazard_events(conn: AsyncConnection, slug: str | None, *, ended_too: bool) -> list[EventTold]:
    """Events of a tenant, or of all and the public ones, the oldest first."""
    rows = await conn.execute(_SQL["hazard_events"], {"slug": slug, "all": ended_too})
    return [EventTold(*row) for row in await rows.fetchall()]


async def end_event(conn: AsyncConnection, hazard_event_id: UUID, ended_at: datetime) -> bool:
    """Marks the event as over; False where it had not begun by then."""
    values = {"hazard_event_id": hazard_event_id, "ended_at": ended_at}
    return (await conn.execute(_SQL["end_hazard_event"], values)).rowcount == 1


async def known_places(conn: AsyncConnection, tenant_id: UUID | None) -> tuple[float, float, float, float] | None:
    """(west, south, east, north) of what an event can concern, or None where nothing is known."""
    row = await (await conn.execute(_SQL["known_places"], {"tenant_id": tenant_id})).fetchone()
    if row is None or row[0] is None or row[1] is None:
        return None
    west, south, east, north = row
    return west, south, east, north


async def save_footprint(
    conn: AsyncConnection,
    *,
    hazard_event_id: UUID,
    tenant_id: UUID | None,
    version: int,
    valid_at: datetime,
    made_how: str,
    geometry: BaseGeometry,
    zones: Sequence[ArrivalZone],
    field: HazardField | None = None,
) -> UUID:
    """Stores one version; returns its id."""
    footprint_id = new_id()
    await conn.execute(
        _SQL["save_footprint"],
        {
            "footprint_id": footprint_id, "hazard_event_id": hazard_event_id, "tenant_id": tenant_id,
            "version": version, "valid_at": valid_at, "made_how": made_how, "geometry": shapely.to_wkb(geometry),
            "zones": Jsonb([zone.as_json() for zone in zones]),
            "field": Jsonb(field.as_json() if field else {}), "field_grid": field.blob() if field else None,
        },
    )  # fmt: skip
    return footprint_id


async def footprint(conn: AsyncConnection, footprint_id: UUID) -> Footprint:
    """One footprint version; raises NoFootprint."""
    row = await (await conn.execute(_SQL["footprint"], {"footprint_id": footprint_id})).fetchone()
    if row is None:
        raise NoFootprint(footprint_id=str(footprint_id))
    found_id, event_id, tenant_id, version, valid_at, geometry, zones, peril = row
    hazard = Hazard(geometry=shapely.from_wkb(bytes(geometry)), zones=check_zones(zones), peril=peril)
    return Footprint(found_id, event_id, tenant_id, version, valid_at, hazard)


async def save_assessment(
    conn: AsyncConnection, portfolio: Portfolio, footprint_id: UUID, exposed: Exposed, *, n_top: int, now: datetime
) -> UUID | None:
    """Stores an assessment with its top locations; None where this pair was assessed before."""
    told: dict[str, dict[str, Any]] = {}
    for currency in sorted(exposed.tiv_cents.keys() | exposed.unknown_tiv_cents.keys()):
        told[currency] = {
            "exposed_tiv": cents_text(exposed.tiv_cents.get(currency, 0)),
            "unknown_tiv": cents_text(exposed.unknown_tiv_cents.get(currency, 0)),
        }
    row = await (
        await conn.execute(
            _SQL["save_assessment"],
            {
                "assessment_id": new_id(), "tenant_id": portfolio.tenant_id, "portfolio_id": portfolio.portfolio_id,
                "footprint_id": footprint_id, "n_locations": len(exposed.rows), "n_policies": exposed.n_policies,
                "exposed_tiv": Decimal(exposed.tiv_cents.get(portfolio.currency, 0)).scaleb(-2),
                "n_unknown": exposed.n_unknown,
                "unknown_tiv": Decimal(exposed.unknown_tiv_cents.get(portfolio.currency, 0)).scaleb(-2),
                "currency": portfolio.currency, "by_currency": Jsonb(told), "computed_at": now,
            },
        )
    ).fetchone()  # fmt: skip
    if row is None:
        return None
    assessment_id: UUID = row[0]
    top = exposed.top(n_top)
    await conn.execute(
        _SQL["save_assessment_locations"],
        {
            "assessment_id": assessment_id,
            "tenant_id": portfolio.tenant_id,
            "location_ids": top["location_id"].tolist(),
            "cents": top["tiv_cents"].tolist(),
        },
    )
    return assessment_id


# -------------------------------------------------------------------- roads, safe zones, people
async def save_network(
    conn: AsyncConnection,
    *,
    tenant_id: UUID | None,
    code: str,
    sha256: bytes,
    file: str,
    n_nodes: int,
    n_edges: int,
    extract_date: date | None,
) -> tuple[UUID, int, bool]:
    """(id, version, whether it is new): the same file under the same code stays the version it was."""
    names = {"code": code, "tenant_id": tenant_id}
    row = await (await conn.execute(_SQL["newest_network_of_code"], names)).fetchone()
    if row is not None and bytes(row[2]) == sha256:
        return row[0], row[1], False
    row = await (
        await conn.execute(
            _SQL["save_road_network"],
            {
                **names, "road_network_id": new_id(), "sha256": sha256, "file": file, "extract_date": extract_date,
                "n_nodes": n_nodes, "n_edges": n_edges,
            },
        )
    ).fetchone()  # fmt: skip
    assert row is not None
    return row[0], row[1], True


async def network_for(conn: AsyncConnection, tenant_id: UUID) -> tuple[UUID, str, bytes] | None:
    """(id, file name, SHA-256) of the network that a tenant's plans use."""
    row = await (await conn.execute(_SQL["network_for_tenant"], {"tenant_id": tenant_id})).fetchone()
    return (row[0], row[1], bytes(row[2])) if row else None


async def save_safe_zones(conn: AsyncConnection, tenant_id: UUID | None, zones: Sequence[dict[str, Any]]) -> None:
    """Saves zones given as code, names, lon, lat, seats, accessible_seats; a known code is renewed."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            _SQL["save_safe_zone"],
            [
                {**zone, "names": Jsonb(zone["names"]), "safe_zone_id": new_id(), "tenant_id": tenant_id}
                for zone in zones
            ],
        )


async def save_policyholders(conn: AsyncConnection, people: Sequence[dict[str, Any]]) -> None:
    """Saves people with their household and contact points (keys: the columns' names; `contacts` a list)."""
    async with conn.cursor() as cursor:
        await cursor.executemany(_SQL["save_policyholder"], people)
        await cursor.executemany(_SQL["save_household"], people)
        await cursor.executemany(
            _SQL["save_contact_point"],
            [
                {**contact, "address": Jsonb(contact["address"]), **{k: p[k] for k in ("tenant_id", "policyholder_id")}}
                for p in people
                for contact in p["contacts"]
            ],
        )


async def tenants_with_households(conn: AsyncConnection, tenant_id: UUID | None) -> list[UUID]:
    """The tenant, or every tenant, that has households."""
    rows = await (await conn.execute(_SQL["tenants_with_households"], {"tenant_id": tenant_id})).fetchall()
    return [row[0] for row in rows]


# -------------------------------------------------------------------- plans
@dataclass(frozen=True, slots=True)
class Told:
    """What a household was last told."""

    status: str
    safe_zone_id: UUID | None
    travel_s: float | None
    leave_by: datetime | None
    reason: str = ""
    roads: list[int] | None = None  #: codes of geo.directions; none: it has no way, or was stored before they were


async def told_routes(conn: AsyncConnection, tenant_id: UUID, hazard_event_id: UUID, version: int) -> dict[UUID, Told]:
    """Household -> what it was last told about this event before this footprint version."""
    found = await conn.execute(
        _SQL["told_routes"], {"tenant_id": tenant_id, "hazard_event_id": hazard_event_id, "version": version}
    )
    return {row[0]: Told(*row[1:]) for row in await found.fetchall()}


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One household's route, ready to be stored."""

    household_id: UUID
    safe_zone_id: UUID | None
    leave_by: datetime | None
    last_way_out: datetime | None
    changed: bool
    route: Route
    roads: list[int]  #: codes of geo.directions; empty: no way
    first_share: float | None = None
    last_share: float | None = None


async def save_plan(
    conn: AsyncConnection,
    *,
    footprint_id: UUID,
    road_network_id: UUID,
    tenant_id: UUID,
    counts: dict[str, int],
    margins: dict[str, float],
    closed_edges: BaseGeometry,
    now: datetime,
    routes: Sequence[RouteRow],
    again: bool = False,
) -> UUID | None:
    """Stores a plan with every household's route; None where this plan was made before.

    With `again` it takes the place of the plan that was made before. The rows of households whose route has not
    changed stay as they are, so that the next comparison is with what they were told.
    """
    values = {
        "evacuation_plan_id": new_id(), "footprint_id": footprint_id, "road_network_id": road_network_id,
        "tenant_id": tenant_id, "counts": Jsonb(counts), "margins": Jsonb(margins),
        "closed_edges": shapely.to_wkb(closed_edges), "computed_at": now,
    }  # fmt: skip
    row = await (await conn.execute(_SQL["plan_again"], values)).fetchone() if again else None
    if row is not None:
        routes = [r for r in routes if r.changed]
        gone = [r.household_id for r in routes]
        await conn.execute(_SQL["forget_routes"], {"evacuation_plan_id": row[0], "household_ids": gone})
    else:
        row = await (await conn.execute(_SQL["save_plan"], values)).fetchone()
    if row is None:
        return None
    plan_id: UUID = row[0]
    ends = np.cumsum([len(r.roads) for r in routes]).tolist()
    await conn.execute(
        _SQL["save_routes"],
        {
            "evacuation_plan_id": plan_id,
            "tenant_id": tenant_id,
            "household_id": [r.household_id for r in routes],
            "status": [r.route.status.value for r in routes],
            "safe_zone_id": [r.safe_zone_id for r in routes],
            "travel_s": [_number(r.route.travel_s) for r in routes],
            "distance_m": [_number(r.route.distance_m) for r in routes],
            "leave_by": [r.leave_by for r in routes],
            "last_way_out": [r.last_way_out for r in routes],
            "inside_m": [r.route.inside_m for r in routes],
            "reason": [r.route.reason for r in routes],
            "geometry": [
                None if r.route.points is None else shapely.to_wkb(shapely.LineString(r.route.points)) for r in routes
            ],
            "changed": [r.changed for r in routes],
            "changed_at": now,
            "roads": [code for r in routes for code in r.roads],
            "first": [end - len(r.roads) + 1 for end, r in zip(ends, routes, strict=True)],
            "n": [len(r.roads) for r in routes],
            "first_share": [r.first_share for r in routes],
            "last_share": [r.last_share for r in routes],
        },
    )
    return plan_id


# -------------------------------------------------------------------- what operators and authorities say
async def open_footprints(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> list[UUID]:
    """The newest footprint of every open event that concerns a tenant."""
    rows = await (await conn.execute(_SQL["open_footprints"], {"tenant_id": tenant_id, "now": now})).fetchall()
    return [row[0] for row in rows]


async def overrides_for(conn: AsyncConnection, tenant_id: UUID, road_network_id: UUID) -> list[Override]:
    """Standing overrides of a network's roads."""
    names = {"tenant_id": tenant_id, "road_network_id": road_network_id}
    rows = await (await conn.execute(_SQL["standing_overrides"], names)).fetchall()
    return [Override(roads=np.array(r[0], dtype=np.int32), opened=r[1] == "open", by=r[2], reason=r[3]) for r in rows]


async def orders_for(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> list[OfficialOrder]:
    """Official orders that stand."""
    rows = await (await conn.execute(_SQL["standing_orders"], {"tenant_id": tenant_id, "now": now})).fetchall()
    return [
        OfficialOrder(official_order_id=r[0], kind=r[1], area=shapely.from_wkb(bytes(r[2])), authority=r[3],
                      issued_at=r[4], expires_at=r[5])
        for r in rows
    ]  # fmt: skip


async def add_override(conn: AsyncConnection, **columns: Any) -> None:
    """Stores an override (keys: the columns' names)."""
    await conn.execute(_SQL["add_override"], columns)


async def withdraw_override(conn: AsyncConnection, road_override_id: UUID, by: UUID, now: datetime) -> bool:
    """Takes an override back; False where there is none that stands."""
    names = {"road_override_id": road_override_id, "withdrawn_by": by, "withdrawn_at": now}
    return (await conn.execute(_SQL["withdraw_override"], names)).rowcount > 0


async def add_order(conn: AsyncConnection, area: BaseGeometry, **columns: Any) -> None:
    """Stores an official order (keys: the columns' names)."""
    await conn.execute(_SQL["add_order"], {**columns, "area": shapely.to_wkb(area)})


async def withdraw_order(conn: AsyncConnection, official_order_id: UUID, by: UUID, now: datetime) -> bool:
    """Takes an order back; False where there is none that stands."""
    names = {"official_order_id": official_order_id, "withdrawn_by": by, "withdrawn_at": now}
    return (await conn.execute(_SQL["withdraw_order"], names)).rowcount > 0


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@asynccontextmanager
async def transaction(conn: AsyncConnection) -> AsyncIterator[None]:
    """One transaction, or a savepoint within the caller's."""
    async with conn.transaction():
        yield
