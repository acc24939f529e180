"""The facts that travel between rooms as rows: what happened, never what to do.

An event is published in the transaction of its own fact (store.outbox). It names rows by key; a consumer reads them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationsStored:
    """A batch of readings was committed."""

    kind: ClassVar[str] = "observations_stored"
    datastream_ids: list[int]
    observed_from: datetime  #: oldest observed_at in the batch whose clock was not suspect
    observed_until: datetime  #: newest, likewise
    received_until: datetime  #: newest received_at: the scenario's "now" for this batch


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintPublished:
    """A hazard event has a new footprint version."""

    kind: ClassVar[str] = "footprint_published"
    footprint_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardEnded:
    """A hazard event is over, or a feed took it back."""

    kind: ClassVar[str] = "hazard_ended"
    hazard_event_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentMade:
    """A footprint was laid over a portfolio."""

    kind: ClassVar[str] = "assessment_made"
    assessment_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class LossEstimated:
    """The loss of an assessment was computed, or why it is unknown."""

    kind: ClassVar[str] = "loss_estimated"
    assessment_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade:
    """Routes were computed for a footprint."""

    kind: ClassVar[str] = "plan_made"
    evacuation_plan_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RulingChanged:
    """An operator opened or closed a road, an authority's order came or went, or others took the seats of a public safe
    zone: plans are made again."""

    kind: ClassVar[str] = "ruling_changed"
    tenant_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StationStateChanged:
    """A station fell silent, came back, or changed its level."""

    kind: ClassVar[str] = "station_state_changed"
    station_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStateChanged:
    """All of a tenant's stations, or the message broker, went or came back: one alarm for all of them."""

    kind: ClassVar[str] = "feed_state_changed"
    feed: str
    state: str  #: up or down


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningChanged:
    """A warning has a new version or a new state (drafted, approved, released, cancelled, ended)."""

    kind: ClassVar[str] = "warning_changed"
    warning_id: UUID
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningReleased:
    """A warning version may now be sent: deliveries are due."""

    kind: ClassVar[str] = "warning_released"
    warning_id: UUID
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGiven:
    """A policyholder answered: safe, help or damage."""

    kind: ClassVar[str] = "answer_given"
    answer_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteIssued:
    """A quote was stored."""

    kind: ClassVar[str] = "quote_issued"
    quote_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorNoticed:
    """Something that the operator on duty must see."""

    kind: ClassVar[str] = "operator_noticed"
    notice_id: UUID


Event = (
    ObservationsStored
    | FootprintPublished
    | HazardEnded
    | AssessmentMade
    | LossEstimated
    | PlanMade
    | RulingChanged
    | StationStateChanged
    | FeedStateChanged
    | WarningChanged
    | WarningReleased
    | AnswerGiven
    | QuoteIssued
    | OperatorNoticed
)

#: Who gets a row for each kind of event. `stream` is the browsers' stream; see store.outbox.
SUBSCRIPTIONS: dict[str, tuple[str, ...]] = {
    "observations_stored": ("watch", "stream"),
    "footprint_published": ("assess", "plan", "stream"),
    "hazard_ended": ("watch", "stream"),
    "assessment_made": ("loss", "watch", "stream"),
    "loss_estimated": ("loss_sources", "stream"),
    "plan_made": ("reroute", "stream"),
    "ruling_changed": ("plan",),
    "station_state_changed": ("stream",),
    "feed_state_changed": ("stream",),
    "warning_changed": ("stream",),
    "warning_released": ("deliver", "broadcast"),
    "answer_given": ("plan", "stream"),
    "quote_issued": ("stream",),
    "operator_noticed": ("stream",),
}
