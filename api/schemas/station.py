"""Stations, their latest readings and their series."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.schemas.common import Feature, FeatureCollection, Out, Point, ShownLevel

Phase = Literal["normal", "pending", "active", "stale", "clearing", "cleared", "expired"]


class Reading(Out):
    """The newest reading of one quantity."""

    quantity: str
    unit: str
    value: float | None = Field(description="None: the device said that it has no value.")
    quality: int = Field(description="QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing.")
    observed_at: datetime
    received_at: datetime


class StationProperties(Out):
    """What is known of a station now."""

    station_id: UUID
    code: str
    name: str
    river: str | None
    state: Literal["unknown", "online", "silent"]
    state_since: datetime | None
    level: ShownLevel = Field(
        description="`unknown` where the station is silent, has no rule or no usable reading: never read it as safe."
    )
    held_level: ShownLevel | None = Field(
        description="The level that a silent station's warning is held at; none where nothing is held."
    )
    phase: Phase | None = Field(description="Where the rule's lifecycle stands; none: no rule watches this station.")
    held: bool = Field(description="A warning stands because the station fell silent while it was up.")
    latest: list[Reading]
    thresholds: dict[str, float] = Field(description="Level -> the rule's threshold in the quantity's stored unit.")
    threshold_quantity: str | None = Field(description="Which quantity the thresholds are of.")


class StationFeature(Feature[Point, StationProperties]):
    """A station."""


class StationCollection(FeatureCollection[StationFeature]):
    """Every station one may see."""


class ObservationOut(Out):
    """One reading of a series."""

    observed_at: datetime
    received_at: datetime
    value: float | None
    quality: int


class ForecastStep(Out):
    """What is forecast for one instant: the middle, and the range that holds nine of ten outcomes."""

    at: datetime
    low: float
    middle: float
    high: float


class ForecastOut(Out):
    """The newest forecast of a series, calibrated on what came after earlier ones."""

    made_at: datetime = Field(description="observed_at of the newest reading that it knows.")
    model: str
    degraded: bool = Field(description="True where it is over 90 minutes old: the gauge has been silent since.")
    steps: list[ForecastStep]


class ObservationSeries(Out):
    """A station's readings of one quantity, oldest first."""

    station_id: UUID
    quantity: str
    unit: str
    as_of: datetime
    items: list[ObservationOut]
    truncated: bool = Field(description="True where `limit` cut off older readings.")
    forecast: ForecastOut | None = Field(
        default=None, description="None where none was made within three hours: then what comes is unknown."
    )
