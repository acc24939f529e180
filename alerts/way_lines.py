"""The line of a way out at the moment a message is composed.

A plan of few households keeps every line; one of many keeps the roads of each way, and the line is drawn from them
here, for those who are told and for nobody else. A message without its line is better than none: where the roads'
file is gone, that is said in the log and the message goes without.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from alerts.payload import WayOut
from core.log import get_logger
from geo import directions
from geo import network as roads
from geo.orders import OfficialOrder

log = get_logger("way_lines")


def line_of(route: Mapping[str, Any], home: Path | None) -> BaseGeometry | None:
    """The line of a stored way (a row of `routes_of`); `home` is TOCSIN_HOME, where road networks lie in `roads/`."""
    if route["geometry"] is not None:
        return shapely.from_wkb(bytes(route["geometry"]))
    if not route["roads"] or route["safe_zone_id"] is None or home is None:
        return None
    try:
        network = roads.load(home / "roads" / route["file"], bytes(route["sha256"]))
    except roads.BadNetwork as error:
        log.error("a message goes without the line of its way", reason=str(error))
        return None
    course = directions.course_of(
        network, route["roads"], route["first_share"], route["last_share"], (route["lon"], route["lat"]),
        (route["zone_lon"], route["zone_lat"]),
    )  # fmt: skip
    return shapely.LineString(course.points)


def shown_as(route: Mapping[str, Any], way_out: WayOut, order: OfficialOrder | None, now: datetime) -> str:
    """What is kept of the way that a message carries, as JSON: the plan's row may be written anew, this is not.

    With the network's file (by its hash) the roads give the line again.
    """
    drawn = way_out.line is not None
    return json.dumps(
        {
            "at": now.isoformat(),
            "evacuation_plan_id": str(route["evacuation_plan_id"]),
            "footprint_version": route["footprint_version"],
            "planned_at": route["computed_at"].isoformat(),
            "network_sha256": bytes(route["sha256"]).hex(),
            "status": way_out.status,
            "leave_by": way_out.leave_by.isoformat() if way_out.leave_by else None,
            "safe_zone_id": str(route["safe_zone_id"]) if drawn and route["safe_zone_id"] else None,
            "roads": list(route["roads"] or ()) if drawn else [],
            "first_share": route["first_share"] if drawn else None,
            "last_share": route["last_share"] if drawn else None,
            "official_order_id": str(order.official_order_id) if order is not None else None,
        }
    )
