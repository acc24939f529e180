"""Feeds of others, and how old what they brought is."""

from datetime import datetime

from pydantic import Field

from api.schemas.common import Out


class FeedOut(Out):
    """One feed that is on."""

    code: str
    kind: str
    name: str
    state: str = Field(description="up, down, or unknown before the first answer.")
    since: datetime | None
    answered_at: datetime | None = Field(description="The last good answer: what is shown is as old as this.")
    age_s: float | None
    stale: bool = Field(description="Older than three intervals, or never answered.")
    n_failures: int = Field(description="In a row. From three on the feed is `down` and asked less and less often.")
    due_at: datetime | None = Field(description="When it is asked next; none: at once, or it speaks first.")
    detail: str
