"""Numbers of a book, its locations, and its accumulation by H3 cell."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.schemas.common import Feature, FeatureCollection, Out, Point, Polygon
from api.schemas.hazard import HazardEventOut


class TopLocation(Out):
    """A location among those with most value exposed."""

    rank: int
    location_id: int
    loc_number: str
    acc_number: str
    exposed_tiv: Decimal
    lon: float | None
    lat: float | None


class AssessmentOut(Out):
    """A footprint laid over a portfolio."""

    assessment_id: UUID
    portfolio_id: UUID
    portfolio_name: str
    footprint_id: UUID
    footprint_version: int
    footprint_valid_at: datetime
    hazard_event: HazardEventOut
    n_locations: int
    n_policies: int
    exposed_tiv: Decimal
    n_unknown: int = Field(description="Locations that could not be placed: they may be inside as well.")
    unknown_tiv: Decimal
    currency: str
    computed_at: datetime
    top: list[TopLocation]


class Assessments(Out):
    """The assessments of the newest footprint of every open hazard event."""

    as_of: datetime
    items: list[AssessmentOut]


class AnswerCounts(Out):
    """People by their newest answer to the warnings that stand."""

    safe: int
    help: int
    damage: int
    unanswered: int = Field(description="Warned, and not yet heard from.")


class StationCounts(Out):
    online: int
    silent: int
    unknown: int


class NumberSource(Out):
    """What the exposure numbers rest on."""

    hazard_event: str
    ended_at: datetime | None = Field(description="Of the hazard event: past where the numbers are history.")
    footprint_version: int
    valid_at: datetime
    computed_at: datetime
    n_portfolios: int


class FeedOut(Out):
    """What brings readings in: the broker, or the tenant's stations as a whole."""

    feed: Literal["broker", "stations"]
    state: Literal["up", "down"]
    since: datetime
    n_stations: int
    detail: str


class Overview(Out):
    """The console's numbers. Null means unknown, never zero."""

    as_of: datetime = Field(description="The installation's clock.")
    source: NumberSource | None = Field(description="The newest assessment; none: there is none yet.")
    exposed_tiv: Decimal | None
    currency: str | None = Field(description="None where there is no assessment, or portfolios differ in currency.")
    exposed_by_currency: dict[str, Decimal] = Field(description="Every currency that locations inside are insured in.")
    n_locations: int | None
    n_policies: int | None
    unknown_tiv: Decimal | None
    n_unknown: int | None
    n_warnings_live: int
    n_drafts_waiting: int
    n_people_warned: int
    n_answers: AnswerCounts
    n_help_open: int = Field(description="Calls for help that nobody has marked as handled.")
    n_stations: StationCounts
    messages_stored: int | None = Field(description="Readings stored; null where the count is not known.")
    feeds: list[FeedOut] = Field(description="Where one is down, what its stations say is not known.")
    sending_paused: bool


class CellProperties(Out):
    """What is insured inside one H3 cell."""

    cell: str
    n_locations: int
    tiv: float | None = Field(description="For the map's colours; none where currencies differ. See tiv_by_currency.")
    currency: str | None
    tiv_by_currency: dict[str, Decimal]


class CellFeature(Feature[Polygon, CellProperties]):
    """An H3 cell."""


class CellCollection(FeatureCollection[CellFeature]):
    """The book by H3 cell."""

    resolution: int
    n_unmapped: int = Field(description="Locations without a place: in no cell.")
    unmapped_tiv_by_currency: dict[str, Decimal]


class LocationProperties(Out):
    """One insured location."""

    location_id: int
    portfolio_id: UUID
    acc_number: str
    loc_number: str
    tiv: Decimal
    currency: str
    exposed_tiv: Decimal | None = Field(description="In the newest assessment, where listed there.")
    occupancy_code: int | None
    construction_code: int | None


class LocationFeature(Feature[Point, LocationProperties]):
    """An insured location."""


class LocationCollection(FeatureCollection[LocationFeature]):
    """Insured locations, largest value first."""

    order: Literal["tiv_descending"] = "tiv_descending"
