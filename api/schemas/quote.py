"""Quotes."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import Field

from api.schemas.common import In, Out


class QuoteSummary(Out):
    """A stored quote."""

    quote_id: UUID
    premium: Decimal
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


class QuoteRequest(In):
    """A submission: the fleet, its incidents, and the terms asked for."""

    submission: dict[str, Any] = Field(
        description="As `tocsin quote` reads it; docs/methods/itops.md lists its fields."
    )
    fleet_csv: str = Field(min_length=1, description="The fleet table, CSV text.")
    incidents_csv: str = Field(min_length=1, description="The incident table, CSV text.")
