"""Hazard events and their footprints."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from api.schemas.common import Area, Feature, FeatureCollection, Out


class HazardEventOut(Out):
    """What is happening."""

    hazard_event_id: UUID
    code: str
    peril: str
    name: str
    started_at: datetime
    ended_at: datetime | None


class Zone(Out):
    """An area that the hazard is forecast to reach."""

    arrival_min: float | None = Field(description="Minutes after `valid_at`.")
    intensity: float | None
    unit: str | None
    geometry: Area


class FootprintProperties(Out):
    """One version of a hazard's footprint."""

    footprint_id: UUID
    version: int
    valid_at: datetime
    made_how: str
    created_at: datetime
    zones: list[Zone]
    hazard_event: HazardEventOut


class FootprintFeature(Feature[Area, FootprintProperties]):
    """A footprint: where the hazard is now; `zones` say where it is still to come."""


class FootprintCollection(FeatureCollection[FootprintFeature]):
    """The newest footprint of every open hazard event."""
