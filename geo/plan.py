"""One footprint to every household's way out, and who of them must be told because it changed."""

import asyncio
import dataclasses
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import shapely

from core.errors import InvalidInput
from core.events import AnswerGiven, FootprintPublished, PlanMade, RulingChanged
from core.log import get_logger
from geo import network as roads
from geo import repository, repository_seats
from geo.directions import codes_of
from geo.evacuation import Households, Margins, Plan, Route, Status
from geo.orders import ORDER_WORDS, governing, under
from geo.repository import Footprint, RouteRow, Told
from geo.repository_seats import ZoneSeats
from geo.routing import plan_routes
from store import outbox
from store.clock import read_clock
from store.outbox import Handler, Work
from store.pool import AsyncConnection

log = get_logger("plan")

#: Above this many households lines are not stored: a route is then made on request from the same inputs.
MAX_STORED_LINES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PushThresholds:
    """How far a route must move from what the household was last told before it is told again."""

    leave_by: timedelta = timedelta(minutes=10)
    travel_s: float = 120.0
    travel_share: float = 0.15


#: What plans in the running system are made with: a quarter more time than free flow.
MARGINS = Margins(travel=1.25)
THRESHOLDS = PushThresholds()


def has_changed(
    told: Told | None, route: RouteRow, thresholds: PushThresholds = THRESHOLDS, closed: Set[int] = frozenset()
) -> bool:
    """Whether a household must be told: status or safe zone differ, leave-by or travel time moved far enough, or the
    way it was told is over.

    It is compared with what the household was last told, not with the last plan, so that many small steps add up.
    `closed` are roads that are closed now: a way over one of them is over, however little longer the new one takes.
    An authority's order that came or went is always told.
    """
    if told is None or told.status != route.route.status.value or told.safe_zone_id != route.safe_zone_id:
        return True
    if _ordered(told.reason) != _ordered(route.route.reason):
        return True
    if told.status == Status.CLEAR and told.roads and told.roads != route.roads:
        inner = {code >> 1 for code in told.roads[1:-1]}
        if not closed.isdisjoint(inner):
            return True
    if (told.leave_by is None) != (route.leave_by is None):
        return True
    if (
        told.leave_by is not None
        and route.leave_by is not None
        and route.route.leave_by_s > 0.0
        and abs(told.leave_by - route.leave_by) >= thresholds.leave_by
    ):
        return True
    before, after = told.travel_s, route.route.travel_s
    if before is None or not np.isfinite(after):
        return before is not None or bool(np.isfinite(after))
    return abs(after - before) > max(thresholds.travel_s, thresholds.travel_share * before)


def _ordered(reason: str) -> str:
    """The order that a reason tells of; empty: none."""
    return reason.split(";")[0] if reason.startswith(ORDER_WORDS) else ""


async def plan_footprint(
    conn: AsyncConnection,
    footprint_id: UUID,
    *,
    home: Path,
    now: datetime,
    margins: Margins = MARGINS,
    only: UUID | None = None,
) -> list[UUID]:
    """Makes the plans of a footprint: one for each tenant that it concerns and that has households.

    `home` is TOCSIN_HOME, where road networks lie in `roads/`. Returns the ids of the plans it made. With `only` the
    plan of that tenant is made, and again if it was made before.
    """
    made: list[UUID] = []
    async with repository.transaction(conn):
        footprint = await repository.footprint(conn, footprint_id)
        for tenant_id in await repository.tenants_with_households(conn, only or footprint.tenant_id):
            plan_id = await _plan_tenant(
                conn, footprint, tenant_id, home=home, now=now, margins=margins, again=only is not None
            )
            if plan_id is not None:
                made.append(plan_id)
                await outbox.publish(
                    conn, PlanMade(evacuation_plan_id=plan_id), ordering_key=f"plan:{tenant_id}", tenant_id=tenant_id
                )
    return made


async def plan_again(conn: AsyncConnection, tenant_id: UUID, *, home: Path, now: datetime) -> list[UUID]:
    """Makes a tenant's standing plans again, because an operator or an authority said something."""
    made: list[UUID] = []
    async with repository.transaction(conn):
        for footprint_id in await repository.open_footprints(conn, tenant_id, now):
            made += await plan_footprint(conn, footprint_id, home=home, now=now, only=tenant_id)
    return made


async def _plan_tenant(
    conn: AsyncConnection,
    footprint: Footprint,
    tenant_id: UUID,
    *,
    home: Path,
    now: datetime,
    margins: Margins,
    again: bool,
) -> UUID | None:
    found = await repository.network_for(conn, tenant_id)
    zones = await repository_seats.zones_with_seats(conn, tenant_id)
    if found is None or not zones:
        lacking = "road network" if found is None else "safe zone"
        log.error("no plan can be made", tenant=str(tenant_id), reason=f"there is no {lacking}: import one")
        return None
    network_id, file, sha256 = found
    network = roads.load(home / "roads" / file, sha256)
    people = await repository_seats.homes_of(conn, tenant_id)
    households = Households(
        np.array([p.lon for p in people], dtype=float),
        np.array([p.lat for p in people], dtype=float),
        np.array([p.mode == "foot" for p in people], dtype=bool),
    )
    told = await repository.told_routes(
        conn, tenant_id, footprint.hazard_event_id, footprint.version + (1 if again else 0)
    )
    came = await repository_seats.arrivals(conn, now)
    there = {one.household_id for one in came}
    seats = repository_seats.seats_left(zones, people, came, {key: one.safe_zone_id for key, one in told.items()})
    now_s = max((now - footprint.valid_at).total_seconds(), 0.0)
    overrides = await repository.overrides_for(conn, tenant_id, network_id)
    orders = await repository.orders_for(conn, tenant_id, now)
    plan = await asyncio.to_thread(
        plan_routes,
        network,
        footprint.hazard,
        repository_seats.places(zones),
        households,
        now_s=now_s,
        margins=margins,
        with_points=len(people) <= MAX_STORED_LINES,
        overrides=overrides,
        seats=seats,
    )
    closed = frozenset(np.flatnonzero(plan.closures.closed(now_s)).tolist())
    rows = []
    for i, (household, way) in enumerate(zip(people, plan.routes, strict=True)):
        order = governing(orders, household.lon, household.lat, now)
        row = _row(household.household_id, under(order, way), zones, now)
        if row.safe_zone_id is not None:
            graph = plan.trees[plan.columns.tree[i]].graph
            source = int(plan.columns.source[i])
            row = dataclasses.replace(
                row,
                roads=codes_of(graph.edge_road, graph.forward, way.edges),
                first_share=float(plan.columns.share[i]),
                last_share=float(plan.trees[plan.columns.tree[i]].sources.share[source]),
            )
        # who has arrived needs no other way
        changed = household.household_id not in there and has_changed(
            told.get(household.household_id), row, closed=closed
        )
        rows.append(dataclasses.replace(row, changed=changed))
    counts = plan.counts() | {"changed": sum(row.changed for row in rows)}
    log.info(
        "planned",
        tenant=str(tenant_id),
        version=footprint.version,
        **{k.replace("-", "_"): v for k, v in counts.items()},
    )
    return await repository.save_plan(
        conn,
        footprint_id=footprint.footprint_id,
        road_network_id=network_id,
        tenant_id=tenant_id,
        counts=counts,
        margins=dataclasses.asdict(margins),
        closed_edges=_closed_lines(network, plan),
        now=now,
        routes=rows,
        again=again,
    )


def _row(household_id: UUID, route: Route, zones: list[ZoneSeats], now: datetime) -> RouteRow:
    return RouteRow(
        household_id=household_id,
        safe_zone_id=zones[route.zone].safe_zone_id if route.zone >= 0 else None,
        leave_by=_moment(now, route.leave_by_s) if route.zone >= 0 else None,
        last_way_out=_moment(now, route.last_way_out_s) if route.zone >= 0 else None,
        changed=True,
        route=route,
        roads=[],
    )


def _moment(now: datetime, seconds: float) -> datetime | None:
    """Whole seconds, rounded down: a leave-by is never later than it may be."""
    return None if not np.isfinite(seconds) else now + timedelta(seconds=int(seconds // 1))


def _closed_lines(network: roads.RoadNetwork, plan: Plan) -> shapely.MultiLineString:
    return shapely.MultiLineString(network.lines[plan.closures.closed(plan.now_s)].tolist())


def handler(home: Path) -> Handler:
    """Handler of the outbox consumer `plan`."""

    async def handle(conn: AsyncConnection, work: Work) -> None:
        event = outbox.decode(work)
        clock = await read_clock(conn)
        if isinstance(event, RulingChanged):
            await plan_again(conn, event.tenant_id, home=home, now=clock.now())
            return
        if isinstance(event, AnswerGiven):
            # an arrival counts where it takes a seat that the plan still promises to somebody else
            tenant_id = work.tenant_id
            if tenant_id is not None and await repository_seats.overfull(conn, tenant_id, clock.now()):
                await plan_again(conn, tenant_id, home=home, now=clock.now())
            # a public safe zone has the same seats for every tenant: those who promise them too plan in their own turn
            for other in await repository_seats.others_at_zone(conn, event.answer_id):
                if await repository_seats.overfull(conn, other, clock.now()):
                    await outbox.publish(
                        conn, RulingChanged(tenant_id=other), ordering_key=f"ruling:{other}", tenant_id=other
                    )
            return
        if not isinstance(event, FootprintPublished):
            raise InvalidInput("The plan consumer takes footprints, rulings and answers only.", kind=work.kind)
        await plan_footprint(conn, event.footprint_id, home=home, now=clock.now())

    return handle
