"""HTTP to addresses that others gave us: the one client of the product (ingest/outbound.py)."""

from ingest.outbound import (
    FAILURES,
    AddressRefused,
    BrokenOff,
    NotReached,
    Outbound,
    Response,
    host_allowed,
    is_public,
)

__all__ = [
    "FAILURES",
    "AddressRefused",
    "BrokenOff",
    "NotReached",
    "Outbound",
    "Response",
    "host_allowed",
    "is_public",
]
