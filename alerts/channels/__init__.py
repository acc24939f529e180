"""Ways to reach a person: a file for each kind of provider, behind one Protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from shapely.geometry.base import BaseGeometry

from alerts.alert import Text
from alerts.level import Level


class Result(StrEnum):
    """How one attempt ended."""

    ACCEPTED = "accepted"  #: the provider has it; that it reached the person is another thing
    RETRY = "retry"  #: it surely was not accepted
    UNCERTAIN = "uncertain"  #: it may have been: the answer did not come
    REFUSED = "refused"  #: it never will be
    GONE = "gone"  #: neither will anything else to this address


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended, and what the provider said."""

    result: Result
    provider_ref: str | None = None
    error: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to one person on one channel."""

    channel: str
    address: Mapping[str, Any]
    exercise: bool
    warning_id: UUID
    level: Level
    language: str
    text: Text
    sent_at: datetime
    ttl_s: int  #: seconds of wall time for which it is worth delivering
    payload: Mapping[str, Any]  #: see alerts/payload.py
    line: BaseGeometry | None  #: the route, for drawing it coarser
    cap_xml: bytes
    url: str
    shown: str | None = None  #: JSON: the way out that it carries, as it is kept (alerts/way_lines.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What the far end itself said about a message, after it was accepted."""

    key: str  #: idempotency key: the delivery's id
    obeyed: bool
    reason: str


class Channel(Protocol):
    """One kind of provider."""

    provider: str
    honours_keys: bool  #: sending the same key twice delivers once

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        """Hands one message over. Never raises for what a provider does; every failure is an outcome."""
        ...
