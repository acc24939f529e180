"""One route in full, the roads of the map, and what operators and authorities say."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.common import Area, Feature, FeatureCollection, In, Line, Out
from api.schemas.evacuation import RouteStatus


class TurnOut(Out):
    """One line of directions."""

    kind: str = Field(description="depart, straight, slight-left, left, ..., u-turn, arrive.")
    name: str = Field(description="The road's name; empty where it has none.")
    text: str
    distance_m: float = Field(description="Until the next turn.")
    lon: float
    lat: float


class RouteDetailProperties(Out):
    """One household's way out in full."""

    household_id: UUID
    status: RouteStatus
    safe_zone_id: UUID | None
    safe_zone_names: dict[str, str] | None
    travel_s: float | None
    distance_m: float | None
    leave_by: datetime | None = Field(description="By when this route must be begun; none: nothing on it closes.")
    last_way_out: datetime | None
    inside_m: float
    reason: str
    changed: bool = Field(description="It differs from what the household was last told: a message is due.")
    issued_at: datetime = Field(description="When it was computed.")
    footprint_version: int
    map_date: date | None = Field(description="Of the extract the roads are from.")
    language: str
    polyline: str = Field(description="Encoded polyline, five decimals; empty where there is no way.")
    turns: list[TurnOut]
    disclaimer: str


class RouteDetail(Feature[Line, RouteDetailProperties]):
    """A route; `geometry` is null where there is none."""


class RoadProperties(Out):
    """A stretch of road, or a river."""

    kind: str = Field(description="OpenStreetMap's highway class, or `river`.")
    name: str
    bridge: bool
    tunnel: bool


class RoadFeature(Feature[Line, RoadProperties]):
    """A road or a river."""


class RoadCollection(FeatureCollection[RoadFeature]):
    """Roads and rivers in a box, the larger roads first."""

    attribution: str = Field(description="To be shown with the map.")
    map_date: date | None


class OverrideIn(In):
    """Open or close a road: an OpenStreetMap way, or the road nearest to a place."""

    action: Literal["open", "close"]
    reason: str = Field(min_length=3, max_length=500)
    way: int | None = Field(default=None, ge=1)
    lon: float | None = Field(default=None, ge=-180, le=180)
    lat: float | None = Field(default=None, ge=-90, le=90)


class OverrideOut(Out):
    """An operator's word on some roads; plans are made again with it."""

    road_override_id: UUID
    roads: list[int]
    action: Literal["open", "close"]
    reason: str
    made_by: UUID
    made_at: datetime


class OrderIn(In):
    """An authority's order for an area."""

    kind: Literal["evacuate", "stay"]
    area: dict[str, Any] = Field(description="GeoJSON Polygon or MultiPolygon.")
    authority: str = Field(min_length=2, max_length=200, pattern="^[^;]*$")
    issued_at: datetime
    expires_at: datetime


class OrderOut(Out):
    """An official order that stands; it goes before every route of ours."""

    official_order_id: UUID
    kind: Literal["evacuate", "stay"]
    area: Area | None
    authority: str
    issued_at: datetime
    expires_at: datetime


class Withdrawn(Out):
    """It was taken back."""

    withdrawn: Literal[True] = True
