"""Evacuation plans, routes and safe zones."""

from typing import Annotated

from fastapi import Query

from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.common import MultiLineString, Point
from api.schemas.evacuation import (
    PlanOut,
    RouteCollection,
    RouteFeature,
    RouteProperties,
    SafeZoneCollection,
    SafeZoneFeature,
    SafeZoneProperties,
)
from api.schemas.responses import READ, READ_ONE
from api.show import line_json, multiline_coordinates, rfc3339
from core.errors import NotFound

router = noun("evacuation")


@router.get("/evacuation-plans/latest", responses=READ_ONE)
async def latest_plan(ctx: Annotated[Context, needs("read", "evacuation-plan")]) -> PlanOut:
    """The newest plan; 404 while there is none."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        row = await repository.latest_plan(conn, now=now)
    if row is None:
        raise NotFound
    closed = MultiLineString(coordinates=multiline_coordinates(row.pop("closed_edges")))
    return PlanOut(**row, closed_roads=closed, as_of=now)


@router.get("/evacuation-plans/latest/routes", responses=READ)
async def latest_routes(
    ctx: Annotated[Context, needs("read", "evacuation-plan")], limit: Annotated[int, Query(ge=1, le=5000)] = 500
) -> RouteCollection:
    """Routes of the newest plan: those without a clear way first, then by leave-by."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.latest_routes(conn, now=now, limit=limit + 1)
    return RouteCollection(
        as_of=rfc3339(now),
        truncated=len(rows) > limit,
        features=[
            RouteFeature(
                id=str(row["household_id"]),
                geometry=line_json(row.pop("geometry")),
                properties=RouteProperties(**row),
            )
            for row in rows[:limit]
        ],
    )


@router.get("/safe-zones", responses=READ)
async def safe_zones(ctx: Annotated[Context, needs("read", "safe-zone")]) -> SafeZoneCollection:
    """Places to go to, with how many the newest plan sends there."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.safe_zones(conn, now=now)
    return SafeZoneCollection(
        as_of=rfc3339(now),
        features=[
            SafeZoneFeature(
                id=str(row["safe_zone_id"]),
                geometry=Point(coordinates=[row.pop("lon"), row.pop("lat")]),
                properties=SafeZoneProperties(**row),
            )
            for row in rows
        ],
    )
