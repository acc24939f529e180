"""Official orders and routes: what an authority says goes before what we compute."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import shapely
from shapely.geometry.base import BaseGeometry

from geo.evacuation import Route, Status

#: How the reason of a route under an order begins; what follows until the first semicolon names the order.
ORDER_WORDS = "official order of "
#: The kinds of orders.
STAY, EVACUATE = "stay", "evacuate"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialOrder:
    """An authority's order for the people of an area."""

    official_order_id: UUID
    kind: str  #: "evacuate" or "stay"
    area: BaseGeometry
    authority: str
    issued_at: datetime
    expires_at: datetime


def governing(orders: Sequence[OfficialOrder], lon: float, lat: float, now: datetime) -> OfficialOrder | None:
    """The order that holds at a place: the newest that has been issued, has not expired, and whose area it is in."""
    holds = [o for o in orders if o.issued_at <= now < o.expires_at and shapely.intersects_xy(o.area, lon, lat)]
    return max(holds, key=lambda o: (o.issued_at, str(o.official_order_id)), default=None)


def under(order: OfficialOrder | None, route: Route) -> Route:
    """The route as it may be told under an order.

    Ordered to stay, nobody is shown a way out. Ordered to leave, nobody is told to wait until our leave-by or to stay:
    a way that we know is begun now, and where we know none, that is said beside the order.
    """
    if order is None:
        return route
    if order.kind == STAY:
        told = f"{ORDER_WORDS}{order.authority}: stay where you are"
        return Route(Status.SHELTER_IN_PLACE, told)
    told = f"{ORDER_WORDS}{order.authority}: leave now"
    if route.zone < 0:
        why = f"we know no way by road ({route.reason})" if route.reason else "we know no way by road"
        return replace(route, reason=f"{told}; {why}: follow the authority or call for help")
    return replace(route, reason=f"{told}; {route.reason}" if route.reason else told, leave_by_s=0.0)
