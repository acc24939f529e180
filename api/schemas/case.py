"""Calls for help as work, notices, and avoided losses."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field

from api.schemas.common import In, Out

CaseState = Literal["open", "assigned", "contacted", "handed_over", "closed"]


class CaseOut(Out):
    """One call for help."""

    answer_id: UUID
    policyholder_id: UUID
    name: str
    language: str
    warning_id: UUID | None
    detail: dict[str, Any]
    priority: int = Field(description="Points for need, level, way out, people and special needs; higher is first.")
    state: CaseState
    answered_at: datetime
    assigned_to: str | None = Field(description="Display name.")
    assigned_at: datetime | None
    contacted_at: datetime | None
    time_to_contact_s: float | None = Field(description="From the call until the person was reached; none: not yet.")
    handed_to: str | None
    handed_at: datetime | None
    closed_at: datetime | None
    note: str
    lon: float | None
    lat: float | None
    needs: list[str]
    route_status: str | None
    safe_since: bool = Field(description="The person has said that they are safe since.")

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        told = {name: value for name, value in row.items() if name != "level"}
        reached = row["contacted_at"]
        return cls(
            **told, time_to_contact_s=None if reached is None else (reached - row["answered_at"]).total_seconds()
        )


class CasePage(Out):
    """The work list: open first, the most urgent first."""

    as_of: datetime
    items: list[CaseOut]


class CaseAct(In):
    """What was done."""

    act: Literal["assign", "contact", "hand_over", "close"]
    handed_to: str | None = Field(default=None, max_length=200, description="For hand_over: the responders.")
    note: str = Field(default="", max_length=2000)


class NoticeOut(Out):
    """Something that the operator must see."""

    notice_id: UUID
    kind: str
    subject: str
    detail: dict[str, Any]
    at: datetime
    seen_at: datetime | None
    seen_by: str | None


class NoticeSeen(Out):
    """It was seen."""

    notice_id: UUID
    seen_at: datetime


class AvoidedLoss(Out):
    """What one step saved in one warning; an estimate."""

    warning_id: UUID
    step: str
    n_done: int
    n_known: int = Field(description="Of them, those whose saving could be estimated.")
    avoided_loss: Decimal | None
    currency: str | None
