"""What a CAP 1.2 message is (OASIS, Common Alerting Protocol Version 1.2, 1 July 2010), and what can be wrong with one.

Names are the standard's in Python's spelling. Places are (lon, lat) here; CAP writes `lat,lon`.
"""

from dataclasses import dataclass, field
from datetime import datetime

from core.errors import InvalidInput

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
NAMESPACE_1_1 = "urn:oasis:names:tc:emergency:cap:1.1"
DSIG = "http://www.w3.org/2000/09/xmldsig#"


class BadCap(InvalidInput):
    """This is not a CAP 1.2 message."""


class CapRefused(BadCap):
    """This document is not read at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapArea:
    """An area; rings are closed and (lon, lat), circles (lon, lat, radius in km)."""

    area_desc: str
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    circles: tuple[tuple[float, float, float], ...] = ()
    geocodes: tuple[tuple[str, str], ...] = ()
    altitude: str | None = None
    ceiling: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapResource:
    """A file that belongs to the message."""

    resource_desc: str
    mime_type: str
    size: int | None = None
    uri: str | None = None
    deref_uri: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapInfo:
    """What is said, in one language."""

    category: tuple[str, ...]
    event: str
    urgency: str
    severity: str
    certainty: str
    language: str = "en-US"  #: the standard's default
    response_type: tuple[str, ...] = ()
    audience: str | None = None
    event_code: tuple[tuple[str, str], ...] = ()
    effective: datetime | None = None
    onset: datetime | None = None
    expires: datetime | None = None
    sender_name: str | None = None
    headline: str | None = None
    description: str | None = None
    instruction: str | None = None
    web: str | None = None
    contact: str | None = None
    parameter: tuple[tuple[str, str], ...] = ()
    resource: tuple[CapResource, ...] = ()
    area: tuple[CapArea, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CapMessage:
    """One CAP message; names as in the standard, in Python's spelling."""

    identifier: str
    sender: str
    sent: datetime
    status: str
    msg_type: str
    scope: str
    source: str | None = None
    restriction: str | None = None
    addresses: str | None = None
    code: tuple[str, ...] = ()
    note: str | None = None
    references: tuple[str, ...] = ()
    incidents: str | None = None
    info: tuple[CapInfo, ...] = field(default_factory=tuple)
