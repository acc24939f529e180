"""One route in full, the roads of the map, and what operators and authorities say of both."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import numpy as np
import shapely
from fastapi import Query
from starlette.responses import Response

from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.common import LineString
from api.schemas.responses import ACT, READ, READ_ONE, problems
from api.schemas.wayout import (
    OrderIn,
    OrderOut,
    OverrideIn,
    OverrideOut,
    RoadCollection,
    RoadFeature,
    RoadProperties,
    RouteDetail,
    RouteDetailProperties,
    TurnOut,
    Withdrawn,
)
from api.show import area_json, line_json, parse_bbox, rfc3339
from core.errors import InvalidInput, NotFound
from geo import directions, overrule
from geo import network as roads
from geo.evacuation import Status
from geo.orders import ORDER_WORDS, STAY, OfficialOrder, governing
from geo.tags import CLASSES

router = noun("evacuation")

Language = Annotated[str | None, Query(max_length=35, description="Of names and texts; else the household's own.")]
#: Higher than this a map freezes.
_MAX_ROADS = 20_000
_DIGITS = 6


class NoSuchRoute(NotFound):
    """There is no route of this household: no plan was made, or the household is not yours."""


def _network(ctx: Context, row: repository.Row) -> roads.RoadNetwork:
    return roads.load(ctx.settings.home / "roads" / row["file"], bytes(row["sha256"]))


def _detail(ctx: Context, row: repository.Row, language: str | None) -> tuple[RouteDetail, Any, list[directions.Turn]]:
    """(the route, its points or None, its turns)."""
    spoken = language or row["language"]
    points, steps, shown = None, [], line_json(row["geometry"])
    if row["roads"] and row["safe_zone_id"] is not None:
        network = _network(ctx, row)
        course = directions.course_of(
            network, row["roads"], row["first_share"], row["last_share"], (row["lon"], row["lat"]),
            (row["zone_lon"], row["zone_lat"]),
        )  # fmt: skip
        points = course.points
        steps = directions.turns(network, row["roads"], course, row["safe_zone_names"] or {}, spoken)
        # numbers of our own, hundreds of them: they are not checked once more
        shown = LineString.model_construct(type="LineString", coordinates=np.round(points, _DIGITS).tolist())
    elif isinstance(shown, LineString):
        points = np.array(shown.coordinates)
    made = RouteDetail(
        id=str(row["household_id"]),
        geometry=shown,
        properties=RouteDetailProperties(
            **{k: row[k] for k in RouteDetailProperties.model_fields if k in row and k != "language"},
            issued_at=row["computed_at"],
            map_date=row["extract_date"],
            language=spoken,
            polyline="" if points is None else directions.polyline(points),
            turns=[
                TurnOut(kind=t.kind, name=t.name, text=t.text, distance_m=t.distance_m, lon=t.lon, lat=t.lat)
                for t in steps
            ],
            disclaimer=directions.disclaimer(spoken),
        ),
    )
    return made, points, steps


async def _row(ctx: Context, household_id: UUID | None, policyholder_id: UUID | None) -> repository.Row:
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        row = await repository.route_detail(conn, household_id=household_id, policyholder_id=policyholder_id, now=now)
        standing = await repository.official_orders(conn, now=now) if row is not None and row["has_orders"] else []
    if row is None:
        raise NoSuchRoute
    orders = [OfficialOrder(**{**one, "area": shapely.from_wkb(bytes(one["area"]))}) for one in standing]
    return _ordered(row, governing(orders, row["lon"], row["lat"], now), now)


def _ordered(row: repository.Row, order: OfficialOrder | None, now: datetime) -> repository.Row:
    """The route as it may be told under an order, also before the plan that follows from the order is made."""
    if order is None or row["reason"].startswith(f"{ORDER_WORDS}{order.authority}: "):
        return row
    if order.kind == STAY:
        none = dict.fromkeys(
            ("travel_s", "distance_m", "leave_by", "last_way_out", "roads", "geometry", "safe_zone_id",
             "safe_zone_names", "zone_lon", "zone_lat")
        )  # fmt: skip
        told = f"{ORDER_WORDS}{order.authority}: stay where you are"
        return {**row, **none, "inside_m": 0.0, "status": Status.SHELTER_IN_PLACE.value, "reason": told}
    told = f"{ORDER_WORDS}{order.authority}: leave now"
    return {
        **row,
        "reason": f"{told}; {row['reason']}" if row["reason"] else told,
        "leave_by": None if row["safe_zone_id"] is None else now,
    }


def _gpx(ctx: Context, row: repository.Row, language: str | None) -> Response:
    made, points, steps = _detail(ctx, row, language)
    if points is None:
        raise NoSuchRoute
    told = made.properties
    note = f"{told.disclaimer} {told.reason}".strip()
    name = next(iter((told.safe_zone_names or {"": "Route"}).values()))
    if told.language in (told.safe_zone_names or {}):
        name = (told.safe_zone_names or {})[told.language]
    text = directions.gpx(points, steps, name=name, note=note, made_at=rfc3339(told.issued_at))
    return Response(text, media_type="application/gpx+xml")


def _written(made: RouteDetail) -> Response:
    """The route as JSON, written once: what a handler returns as a model is checked and written a second time."""
    return Response(made.model_dump_json(by_alias=True), media_type="application/json")


@router.get("/evacuation-plans/latest/routes/{household_id}", responses=READ_ONE, response_model=RouteDetail)
async def household_route(
    household_id: UUID, ctx: Annotated[Context, needs("read", "evacuation-plan")], language: Language = None
) -> Response:
    """One household's way out as GeoJSON, with encoded polyline and turns in its language."""
    return _written(_detail(ctx, await _row(ctx, household_id, None), language)[0])


@router.get("/evacuation-plans/latest/routes/{household_id}/gpx", responses=READ_ONE, response_class=Response)
async def household_route_gpx(
    household_id: UUID, ctx: Annotated[Context, needs("read", "evacuation-plan")], language: Language = None
) -> Response:
    """The same as GPX 1.1."""
    return _gpx(ctx, await _row(ctx, household_id, None), language)


@router.get("/public/route", responses=problems(401, 404), response_model=RouteDetail)
async def public_route(
    ctx: Annotated[Context, needs("read", "own-situation")],
    t: Annotated[str | None, Query(max_length=2000, description="Signed link token, instead of Bearer.")] = None,
    language: Language = None,
) -> Response:
    """This household's way out, with its turns."""
    return _written(_detail(ctx, await _row(ctx, None, ctx.policyholder_id), language)[0])


@router.get("/public/route/gpx", responses=problems(401, 404), response_class=Response)
async def public_route_gpx(
    ctx: Annotated[Context, needs("read", "own-situation")],
    t: Annotated[str | None, Query(max_length=2000, description="Signed link token, instead of Bearer.")] = None,
    language: Language = None,
) -> Response:
    """The same as GPX 1.1."""
    return _gpx(ctx, await _row(ctx, None, ctx.policyholder_id), language)


@router.get("/roads", responses=READ_ONE)
async def road_layer(
    ctx: Annotated[Context, needs("read", "road")],
    bbox: Annotated[str | None, Query(description="west,south,east,north; else the whole network.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MAX_ROADS)] = _MAX_ROADS,
    language: Annotated[str, Query(max_length=35)] = "en",
) -> RoadCollection:
    """Roads and rivers of the network in use, for the map; the larger roads first where there are too many."""
    box = parse_bbox(bbox)
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        row = await repository.shown_network(conn)
    if row is None:
        raise overrule.NoNetwork
    network = _network(ctx, row)
    some = np.arange(network.n_roads)
    first, last = network.shape_start[:-1], network.shape_start[1:]
    if box is not None:
        west, south, east, north = box
        x0, x1 = (f.reduceat(network.shape_lon, first) for f in (np.minimum, np.maximum))
        y0, y1 = (f.reduceat(network.shape_lat, first) for f in (np.minimum, np.maximum))
        some = np.flatnonzero((x1 >= west) & (x0 <= east) & (y1 >= south) & (y0 <= north))
    some = some[np.argsort(network.road_class[some], kind="stable")]
    features = []
    for r in some[:limit].tolist():
        line = np.column_stack([network.shape_lon[first[r] : last[r]], network.shape_lat[first[r] : last[r]]])
        features.append(
            RoadFeature(
                id=f"road-{r}",
                geometry=LineString(coordinates=np.round(line, 5).tolist()),
                properties=RoadProperties(
                    kind=CLASSES[int(network.road_class[r])],
                    name=network.name(r, language),
                    bridge=bool(network.road_bridge[r]),
                    tunnel=bool(network.road_tunnel[r]),
                ),
            )
        )
    for k in range(len(network.barrier_start) - 1):
        a, b = int(network.barrier_start[k]), int(network.barrier_start[k + 1])
        river = np.column_stack([network.barrier_lon[a:b], network.barrier_lat[a:b]])
        if box is not None and not ((river >= box[:2]) & (river <= box[2:])).all(axis=1).any():
            continue
        features.append(
            RoadFeature(
                id=f"river-{k}",
                geometry=LineString(coordinates=np.round(river, 5).tolist()),
                properties=RoadProperties(kind="river", name="", bridge=False, tunnel=False),
            )
        )
    return RoadCollection(
        as_of=rfc3339(now),
        features=features,
        truncated=len(some) > limit,
        attribution=str(network.about.get("attribution") or ""),
        map_date=row["extract_date"],
    )


@router.get("/road-overrides", responses=READ)
async def road_overrides(ctx: Annotated[Context, needs("read", "road-override")]) -> list[OverrideOut]:
    """What operators said of roads, newest first."""
    async with ctx.transaction() as conn:
        return [OverrideOut(**row) for row in await repository.road_overrides(conn)]


@router.post("/road-overrides", status_code=201, responses=ACT, response_model=OverrideOut)
async def override_road(body: OverrideIn, ctx: Annotated[Context, needs("make", "road-override")]) -> Response:
    """Opens or closes a road; plans are made again, and only those whose route it changes are to be told."""
    if (body.lon is None) != (body.lat is None):
        raise InvalidInput("lon: give lon and lat together.")

    async def act(conn: repository.Connection) -> OverrideOut:
        now = await repository.now(conn)
        place = None if body.lon is None or body.lat is None else (body.lon, body.lat)
        made, some = await overrule.override_road(
            conn, tenant_id=ctx.tenant_id, principal_id=ctx.principal_id, home=ctx.settings.home, action=body.action,
            reason=body.reason, now=now, way=body.way, place=place,
        )  # fmt: skip
        return OverrideOut(
            road_override_id=made, roads=some, action=body.action, reason=body.reason, made_by=ctx.principal_id,
            made_at=now,
        )  # fmt: skip

    return await ctx.once(act, status=201)


@router.post("/road-overrides/{road_override_id}/withdraw", responses=ACT, response_model=Withdrawn)
async def withdraw_override(
    road_override_id: UUID, ctx: Annotated[Context, needs("make", "road-override")]
) -> Response:
    """Takes an override back: the road is again what is computed."""

    async def act(conn: repository.Connection) -> Withdrawn:
        await overrule.withdraw_override(
            conn, tenant_id=ctx.tenant_id, principal_id=ctx.principal_id, road_override_id=road_override_id,
            now=await repository.now(conn),
        )  # fmt: skip
        return Withdrawn()

    return await ctx.once(act)


@router.get("/official-orders", responses=READ)
async def official_orders(ctx: Annotated[Context, needs("read", "official-order")]) -> list[OrderOut]:
    """Official orders that stand, newest first."""
    async with ctx.transaction() as conn:
        rows = await repository.official_orders(conn, now=await repository.now(conn))
    return [OrderOut(**{**row, "area": area_json(row["area"])}) for row in rows]


@router.post("/official-orders", status_code=201, responses=ACT, response_model=OrderOut)
async def issue_order(body: OrderIn, ctx: Annotated[Context, needs("make", "official-order")]) -> Response:
    """Keeps an authority's order; it goes before every route of ours, and plans are made again with it."""

    async def act(conn: repository.Connection) -> OrderOut:
        made = await overrule.issue_order(
            conn, tenant_id=ctx.tenant_id, principal_id=ctx.principal_id, kind=body.kind, area=body.area,
            authority=body.authority, issued_at=body.issued_at, expires_at=body.expires_at,
            now=await repository.now(conn),
        )  # fmt: skip
        return OrderOut(
            official_order_id=made, kind=body.kind, area=None, authority=body.authority, issued_at=body.issued_at,
            expires_at=body.expires_at,
        )  # fmt: skip

    return await ctx.once(act, status=201)


@router.post("/official-orders/{official_order_id}/withdraw", responses=ACT, response_model=Withdrawn)
async def withdraw_order(official_order_id: UUID, ctx: Annotated[Context, needs("make", "official-order")]) -> Response:
    """Takes an official order back."""

    async def act(conn: repository.Connection) -> Withdrawn:
        await overrule.withdraw_order(
            conn, tenant_id=ctx.tenant_id, principal_id=ctx.principal_id, official_order_id=official_order_id,
            now=await repository.now(conn),
        )  # fmt: skip
        return Withdrawn()

    return await ctx.once(act)
