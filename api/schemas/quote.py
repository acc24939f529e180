"""Quotes."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.common import In, Out


class QuoteSummary(Out):
    """A stored quote."""

    quote_id: UUID
    insured: str | None = Field(description="None for quotes of an earlier model that did not say.")
    decision: str | None = Field(description="quote, refer or decline; none for quotes of an earlier model.")
    bound: bool
    premium: Decimal = Field(description="The technical premium.")
    commercial_premium: Decimal | None
    currency: str
    as_of: date
    exposure_from: date
    exposure_to: date
    model_version: str
    inputs_sha256: str
    issued_at: datetime


class QuotePage(Out):
    """Quotes, newest first."""

    items: list[QuoteSummary]
    next_cursor: str | None


class QuoteOut(QuoteSummary):
    """A stored quote with all that it was made from."""

    submission: dict[str, Any] = Field(description="All inputs, so that it can be computed again.")
    result: dict[str, Any]


class QuotePreview(Out):
    """A price that nobody stored."""

    result: dict[str, Any]


class QuoteStress(Out):
    """A quote under the stress scenarios."""

    quote_id: UUID
    result: dict[str, Any]


class QuoteRerun(Out):
    """A stored quote computed again."""

    quote_id: UUID
    same: bool = Field(description="To the cent. Where it is not, the answer is a conflict instead.")
    premium: Decimal
    inputs_sha256: str


class QuoteActionOut(Out):
    """What somebody did with a quote."""

    action: str
    option_name: str | None
    premium: Decimal | None
    reason: str
    acted_by: str
    acted_at: datetime


class QuoteActions(Out):
    """What was done with a quote, oldest first."""

    items: list[QuoteActionOut]


class QuoteAct(In):
    """One thing to do with a quote, and why."""

    reason: str = Field(min_length=1, max_length=2000)


class QuoteBind(QuoteAct):
    """Which of the quote's options is bound, and why."""

    option: str = Field(min_length=1, max_length=200, description="The name of one of the quote's options.")


class WorkOrderOut(Out):
    """Preventive work on one device."""

    work_order_id: UUID
    asset_id: str
    signal: str
    value: float
    action: str
    hazard_before: float
    hazard_after: float
    premium_before: Decimal
    premium_after: Decimal
    origin: str
    state: str
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    evidence: str | None


class WorkOrders(Out):
    """Work orders of a quote, oldest first."""

    items: list[WorkOrderOut]


class WorkOrderClose(In):
    """How an order ended, and what shows it."""

    state: Literal["done", "cancelled"]
    evidence: str = Field(min_length=1, max_length=2000)


class QuoteRequest(In):
    """A submission: the fleet, its incidents, and the terms asked for."""

    submission: dict[str, Any] = Field(
        description="As `tocsin quote` reads it; docs/methods/itops.md lists its fields."
    )
    fleet_csv: str = Field(min_length=1, description="The fleet table, CSV text.")
    incidents_csv: str = Field(min_length=1, description="The incident table, CSV text.")
