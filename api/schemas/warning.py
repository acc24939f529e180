"""Warnings, their versions, decisions, approvals and deliveries."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from api.schemas.common import Area, In, Level, Out

State = Literal["draft", "released", "superseded", "rejected", "ended"]
DeliveryState = Literal["queued", "claimed", "accepted", "delivered", "failed", "uncertain", "stopped"]


class WarningText(Out):
    """What people read, in one language."""

    headline: str
    description: str
    instruction: str
    sms: str = Field(default="", description="What a text message says; empty: the headline stands in.")
    say: str = Field(default="", description="What a call says.")
    timezone: str = Field(default="", description="That its times are told in.")


class WarningSummary(Out):
    """The newest version of a warning."""

    warning_id: UUID
    version: int
    level: Level
    all_clear: bool
    state: State
    status: str = Field(description="CAP status: Actual, Exercise, Test, Draft or System.")
    msg_type: Literal["Alert", "Update", "Cancel"]
    reason: str = Field(description="The named reason of the decision that made this version.")
    identifier: str
    sender: str
    area_desc: dict[str, str]
    texts: dict[str, WarningText] = Field(description="By language.")
    n_people: int = Field(description="Audience when it was drafted.")
    n_approvals: int
    n_approvals_needed: int = Field(description="0: released by the system, below the automatic ceiling.")
    n_unreachable: int = Field(description="Of the audience, people whom no channel reaches.")
    held: str | None = Field(description="Why a draft cannot be released at all, such as a missing area; none: it can.")
    event: str
    station_code: str | None
    station_name: str | None
    sent_at: datetime
    onset_at: datetime | None
    expires_at: datetime
    drafted_at: datetime
    released_at: datetime | None
    exercise: bool


class WarningPage(Out):
    """Warnings, newest first."""

    as_of: datetime
    items: list[WarningSummary]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; none: this was the last.")


class ApprovalOut(Out):
    """Who approved which content."""

    principal_id: UUID
    display_name: str
    content_sha256: str
    approved_at: datetime


class DeliveryCount(Out):
    """Deliveries of one version on one channel in one state."""

    channel: str
    state: DeliveryState
    n: int
    n_in_doubt: int = Field(
        description="Of them, messages with an attempt of which nobody knows whether it arrived: where the provider "
        "honours no keys, whoever it was for may have been told more than once."
    )


class Audience(Out):
    """People a version is for, as an approval binds them. Channel `none`: inside, and no channel reaches them."""

    by_channel: dict[str, int]
    by_language: dict[str, int]


class WarningVersion(WarningSummary):
    """One immutable version."""

    content_sha256: str = Field(description="Hex. An approval names it, so that nobody approves what changed since.")
    references: list[str]
    area: Area | None = Field(description="None: nobody can be warned by it; see `held`.")
    audience: Audience
    approvals: list[ApprovalOut]
    deliveries: list[DeliveryCount]
    receipts: dict[str, int] = Field(description="Kind of receipt -> count.")
    cap_url: str | None = Field(description="Of the CAP message; none for what was not released.")


class DecisionOut(Out):
    """One decision of the lifecycle, and why."""

    at: datetime
    reason: str
    level_before: str | None
    level_after: str | None
    version: int | None
    detail: dict[str, Any]


class WarningOut(Out):
    """A warning with its whole history, newest version first."""

    warning_id: UUID
    as_of: datetime
    versions: list[WarningVersion]
    decisions: list[DecisionOut]


class Approve(In):
    """Approval of exactly this content."""

    content_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="As shown in the version one has read.")


class Approved(Out):
    """What the approval led to."""

    warning_id: UUID
    version: int
    state: State
    n_approvals: int
    n_approvals_needed: int
    released: bool
    n_left_out: int = Field(description="People who hear something worse by now, and are not told of this.")


class Reject(In):
    """Why it is not sent."""

    reason: str = Field(min_length=1, max_length=2000)


class Rejected(Out):
    """The draft was rejected."""

    warning_id: UUID
    version: int
    state: State


class Pause(In):
    """What to stop, or to send again. Scope `all` takes an operator, the others an approver."""

    scope: Literal["tenant", "warning", "all"] = Field(
        default="tenant", description="`tenant`: one's own organisation."
    )
    warning_id: UUID | None = Field(default=None, description="For scope `warning`.")

    @model_validator(mode="after")
    def _names_its_warning(self) -> "Pause":
        if (self.scope == "warning") != (self.warning_id is not None):
            raise ValueError("warning_id goes with scope 'warning', and only with it")
        return self


class SendingState(Out):
    """Whether sending is stopped."""

    scope: str
    paused: bool
    paused_at: datetime | None
    resume_asked_by: UUID | None = Field(description="The first of the two people that resuming needs.")
    needs_second_person: bool


class CancelDrafted(Out):
    """Sending is stopped, and a Cancel waits for another person's approval."""

    warning_id: UUID
    version: int
    state: Literal["draft"] = "draft"
