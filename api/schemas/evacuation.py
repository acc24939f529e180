"""Plans, routes and safe zones."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.schemas.common import Feature, FeatureCollection, Line, MultiLineString, Out, Point

RouteStatus = Literal["clear", "through-hazard", "shelter-in-place", "cut-off", "off-network", "no-seat"]


class PlanOut(Out):
    """The newest evacuation plan of an open hazard event."""

    evacuation_plan_id: UUID
    footprint_id: UUID
    footprint_version: int
    hazard_event: str
    counts: dict[str, int] = Field(description="Households by route status.")
    closed_roads: MultiLineString
    computed_at: datetime
    as_of: datetime


class RouteProperties(Out):
    """One household's way out."""

    household_id: UUID
    status: RouteStatus
    safe_zone_id: UUID | None
    safe_zone_names: dict[str, str] | None
    travel_s: float | None
    distance_m: float | None
    leave_by: datetime | None = Field(description="By when this route must be begun; none: nothing on it closes.")
    last_way_out: datetime | None = Field(description="When the last way by any road closes; none: never.")
    inside_m: float = Field(description="Metres of the way inside the hazard.")
    reason: str
    changed: bool = Field(description="It differs from what the household was last told: a message is due.")


class RouteFeature(Feature[Line, RouteProperties]):
    """A route; `geometry` is null where there is none."""


class RouteCollection(FeatureCollection[RouteFeature]):
    """Routes of the newest plan, the most pressing first."""


class SafeZoneProperties(Out):
    """A place to go to."""

    safe_zone_id: UUID
    code: str
    names: dict[str, str]
    seats: int
    accessible_seats: int
    opens_at: datetime | None
    n_households: int | None = Field(
        description="Sent here by the newest plan and not arrived yet, here or elsewhere; null: no plan yet."
    )
    n_people: int | None = Field(description="People in those households; null: no plan yet.")
    n_arrived: int = Field(description="People who said that they are safe there, in the last three days.")


class SafeZoneFeature(Feature[Point, SafeZoneProperties]):
    """A safe zone."""


class SafeZoneCollection(FeatureCollection[SafeZoneFeature]):
    """Safe zones one may see."""
