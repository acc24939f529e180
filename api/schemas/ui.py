"""What a page needs before anyone has signed in, and whether the process works."""

from typing import Literal

from pydantic import Field

from api.schemas.common import Out


class Basemap(Out):
    """Which map lies under the data."""

    kind: Literal["bundled", "pmtiles", "style"]
    url: str | None = Field(default=None, description="Of the PMTiles file or the style; none for the bundled one.")


class UiConfig(Out):
    """Settings of the pages; public."""

    installation_name: str
    exercise: bool = Field(description="True: nothing here is real, and no live channel can be reached.")
    version: str
    basemap: Basemap
    attribution: str
    bounds: list[float] | None = Field(description="[west, south, east, north] to show first; none: the world.")
    languages: list[str]
    vapid_public_key: str | None = Field(description="Base64url, for pushManager.subscribe; none: web push is off.")


class Health(Out):
    """The process lives."""

    status: Literal["ok"] = "ok"
    version: str


class PartState(Out):
    """One thing that the process needs."""

    ok: bool
    detail: str = ""


class Ready(Out):
    """Whether requests can be served. Status 503 where `ready` is false."""

    ready: bool
    parts: dict[str, PartState]
