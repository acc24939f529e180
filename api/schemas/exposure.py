"""Numbers of a book, its locations, and its accumulation by H3 cell."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
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


class LossOut(Out):
    """A loss as a distribution over samples."""

    mean: float
    mean_se: float = Field(description="Standard error of the mean: of sampling, not of the model.")
    sd: float
    p5: float
    p50: float
    p95: float


class UnknownOut(Out):
    """Insured value of which no loss can be told."""

    n_items: int
    tiv: float
    code: str | None = Field(None, description="The reason as a code, for translation; null: only its text is known.")
    facts: dict[str, str] = Field(default_factory=dict, description="What the reason names: occupancy, curves, ...")


class ReconciledOut(Out):
    """TIV of one currency: in = the parts, to the cent."""

    tiv_in: Decimal
    parts: dict[str, Decimal]
    difference: Decimal


class ChangeOut(Out):
    """What changed in a loss since an earlier footprint version."""

    mean: float
    p50: float
    p95: float


class DifferenceOut(Out):
    """Against the newest earlier footprint version whose loss is known."""

    version: int
    exposed_tiv: float
    gul: ChangeOut | None
    il: ChangeOut | None
    ri: ChangeOut | None


class LocationLoss(Out):
    """A location with a mean loss; the largest ones, and a sample of the others."""

    location_id: int
    acc_number: str
    loc_number: str
    lon: float | None
    lat: float | None
    rank: int
    sampled: bool = Field(description="One of a sample that stands for the others, not one of the largest.")
    intensity: float
    ground_up: float
    gross: float | None
    net: float | None


class PolicyLoss(Out):
    """A policy layer, for claims triage."""

    rank: int
    acc_number: str
    pol_number: str
    layer_number: str
    mean_gross: float
    sd_gross: float
    mean_net: float
    chance: float = Field(description="Share of samples in which it pays.")


class LossEstimateOut(Out):
    """The loss of an assessment. Null is unknown, never zero."""

    problem: str | None = Field(description="Why the loss is unknown; null where it is known.")
    problem_code: str | None = Field(None, description="The problem as a code, for translation, where it has one.")
    currency: str
    computed_at: datetime
    ground_up: LossOut | None
    gross: LossOut | None
    net: LossOut | None
    net_of: str | None = Field(description="What net is net of: reinsurance, or nothing where none was given.")
    sd_by_source: dict[str, dict[str, float]] = Field(
        description="Standard deviation of gul, il and ri with one source of uncertainty at a time."
    )
    unit: str | None
    curves: list[str]
    unknown: dict[str, UnknownOut] = Field(description="Insured value without a loss, by reason.")
    reconciliation: dict[str, ReconciledOut]
    difference: DifferenceOut | None
    assumptions: dict[str, Any]
    reports: dict[str, Any] | None = Field(
        None,
        description="What the tenant's policyholders reported of water in their homes, and what became of it in the "
        "footprint's depths; null: nobody reported any.",
    )


class AssessmentLosses(Out):
    """The loss of an assessment with its largest locations and policies."""

    assessment_id: UUID
    portfolio_name: str
    footprint_version: int
    hazard_event: HazardEventOut
    exposed_tiv: Decimal
    currency: str
    loss: LossEstimateOut | None = Field(description="Null: not computed yet.")
    locations: list[LocationLoss]
    policies: list[PolicyLoss]


class LatestLosses(Out):
    """Losses of the newest footprint of every open hazard event, portfolio by portfolio."""

    as_of: datetime
    items: list[AssessmentLosses]


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
    """What the exposure numbers rest on: the newest of the events that are summed."""

    hazard_event: str
    n_events: int = Field(
        description="Open events that the numbers sum over; what two of them touch is counted for each."
    )
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
