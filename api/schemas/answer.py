"""What people answered."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.common import Out

AnswerKind = Literal["safe", "help", "damage"]


class AnswerOut(Out):
    """One answer of one person."""

    answer_id: UUID
    policyholder_id: UUID
    name: str
    language: str
    warning_id: UUID | None
    kind: AnswerKind
    detail: dict[str, Any]
    lon: float | None
    lat: float | None
    answered_at: datetime
    handled_at: datetime | None
    handled_by: str | None = Field(description="Display name.")


class AnswerPage(Out):
    """Answers, newest first."""

    as_of: datetime
    items: list[AnswerOut]
    next_cursor: str | None


class Handled(Out):
    """The answer is taken care of."""

    answer_id: UUID
    handled_at: datetime
    handled_by: str
