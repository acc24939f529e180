"""What an operator says of a road, and an authority of an area: kept, audited, and plans made again."""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from core.errors import InvalidInput, NotFound
from core.events import RulingChanged
from core.ids import new_id
from geo import network as roads
from geo import repository
from geo.hazard import check_polygon, from_geojson
from geo.snapping import snap
from store import audit, outbox
from store.pool import AsyncConnection

#: A road is meant by a place this near to it.
_REACH_M = 100.0


class NoNetwork(NotFound):
    """There is no road network: import one."""


class NoRoadHere(InvalidInput):
    """lon, lat: no road is within 100 m of this place."""


class NoWay(InvalidInput):
    """way: the road network has no way of this number."""


class NoSuchRuling(NotFound):
    """There is no such override or order, or it was taken back."""


async def override_road(
    conn: AsyncConnection, *, tenant_id: UUID, principal_id: UUID, home: Path, action: str, reason: str, now: datetime,
    way: int | None = None, place: tuple[float, float] | None = None,
) -> tuple[UUID, list[int]]:  # fmt: skip
    """(id, roads): opens or closes the roads of an OpenStreetMap way, or the road nearest to a place (lon, lat).

    It stands until it is taken back, or until another network is imported. Raises NoNetwork, NoWay, NoRoadHere.
    """
    found = await repository.network_for(conn, tenant_id)
    if found is None:
        raise NoNetwork
    network_id, file, sha256 = found
    network = roads.load(home / "roads" / file, sha256)
    if way is not None:
        some = np.flatnonzero(network.road_osm_id == way).tolist() if way > 0 else []
        if not some:
            raise NoWay(way=way)
    elif place is not None:
        usable = np.ones(network.n_roads, dtype=bool)
        near = snap(network, np.array([place[0]]), np.array([place[1]]), max_m=_REACH_M, usable=usable)
        if near.road[0, 0] < 0:
            raise NoRoadHere(lon=place[0], lat=place[1])
        some = [int(near.road[0, 0])]
    else:
        raise InvalidInput("way: give a way, or lon and lat.")
    override_id = new_id()
    await repository.add_override(
        conn, road_override_id=override_id, tenant_id=tenant_id, road_network_id=network_id, roads=some, action=action,
        reason=reason, made_by=principal_id, made_at=now,
    )  # fmt: skip
    detail = {"roads": some, "way": way, "reason": reason}
    await _ruled(conn, tenant_id, principal_id, f"{action} road", f"road_override {override_id}", detail, now)
    return override_id, some


async def withdraw_override(
    conn: AsyncConnection, *, tenant_id: UUID, principal_id: UUID, road_override_id: UUID, now: datetime
) -> None:
    """Takes an override back: the road is what is computed again. Raises NoSuchRuling."""
    if not await repository.withdraw_override(conn, road_override_id, principal_id, now):
        raise NoSuchRuling
    await _ruled(conn, tenant_id, principal_id, "withdraw", f"road_override {road_override_id}", {}, now)


async def issue_order(
    conn: AsyncConnection, *, tenant_id: UUID, principal_id: UUID, kind: str, area: dict[str, Any], authority: str,
    issued_at: datetime, expires_at: datetime, now: datetime,
) -> UUID:  # fmt: skip
    """Keeps an authority's order, as GeoJSON polygon; raises BadFootprint, InvalidInput."""
    if expires_at <= max(issued_at, now):
        raise InvalidInput("expires_at: it lies in the past, or before issued_at.")
    geometry = check_polygon(from_geojson(area, field="area"), field="area")
    order_id = new_id()
    await repository.add_order(
        conn, geometry, official_order_id=order_id, tenant_id=tenant_id, kind=kind, authority=authority,
        issued_at=issued_at, expires_at=expires_at, made_by=principal_id,
    )  # fmt: skip
    detail = {"kind": kind, "authority": authority, "expires_at": expires_at.isoformat()}
    await _ruled(conn, tenant_id, principal_id, "issue order", f"official_order {order_id}", detail, now)
    return order_id


async def withdraw_order(
    conn: AsyncConnection, *, tenant_id: UUID, principal_id: UUID, official_order_id: UUID, now: datetime
) -> None:
    """Takes an order back. Raises NoSuchRuling."""
    if not await repository.withdraw_order(conn, official_order_id, principal_id, now):
        raise NoSuchRuling
    await _ruled(conn, tenant_id, principal_id, "withdraw", f"official_order {official_order_id}", {}, now)


async def _ruled(
    conn: AsyncConnection, tenant_id: UUID, principal_id: UUID, action: str, what: str, detail: dict[str, Any],
    now: datetime,
) -> None:  # fmt: skip
    event = RulingChanged(tenant_id=tenant_id)
    await outbox.publish(conn, event, ordering_key=f"ruling:{tenant_id}", tenant_id=tenant_id)
    await audit.append(conn, tenant_id, f"principal:{principal_id}", action, what, detail, at=now)
