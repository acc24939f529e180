"""What providers of text messages, calls and mail tell us."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.schemas.common import In, Out

#: Channels whose providers report; see alerts/channels.
ReportingChannel = Literal["sms", "voice", "email", "webhook"]


class ProviderStatusIn(In):
    """What became of one message."""

    reference: UUID = Field(description="Ours: the `reference` of the message, or its Idempotency-Key.")
    status: Literal["delivered", "failed", "under_way"]
    reason: str = Field(default="", max_length=300, description="Why it failed, in the provider's words.")


class ProviderStatusKept(Out):
    """The report was kept, once."""

    reference: UUID
    state: str = Field(description="The state of the message now; what arrived stays delivered.")
    new: bool = Field(description="False: this was known, or says nothing new.")


class ProviderReplyIn(In):
    """What somebody pressed in a call, or wrote back."""

    reply_id: str = Field(min_length=1, max_length=150, description="The provider's own id: the same one counts once.")
    reference: UUID | None = Field(default=None, description="Of the message it is about, where the provider knows it.")
    from_number: str | None = Field(default=None, max_length=40, description="E.164; needed without a reference.")
    key: str | None = Field(default=None, max_length=8, description="The key pressed: 1 safe, 2 help.")
    text: str = Field(default="", max_length=2000)
    at: datetime | None = Field(default=None, description="When, by the provider; for its own records.")


class ProviderReplyKept(Out):
    """What it was taken for."""

    meaning: Literal["safe", "help"] | None = Field(description="None: not understood; the operator is told.")
    answer_id: UUID | None
