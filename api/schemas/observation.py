"""Readings in, over HTTP."""

from pydantic import Field

from api.schemas.common import Out


class PayloadProblem(Out):
    """A reading that was quarantined, and why."""

    reason: str = Field(examples=["conflict"])
    detail: str


class ObservationsAccepted(Out):
    """What was committed."""

    n_stored: int = Field(description="New readings.")
    n_duplicate: int = Field(description="Already known; nothing changed.")
    n_corrected: int = Field(description="Values that replaced an earlier one.")
    n_quarantined: int
    problems: list[PayloadProblem]
