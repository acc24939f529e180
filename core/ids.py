"""Identifiers: time-ordered for new things, derived for things that must come out the same twice."""

import os
import time
from uuid import UUID, uuid5

#: Root of every derived identifier, so that ours never meet another system's.
TOCSIN_NAMESPACE = UUID("6f1d0f5e-6a52-5c0e-9f3b-746f6373696e")


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then chance."""
    ms = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    value = (ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 68 & 0xFFF) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    return UUID(int=value)


def derived_id(*parts: object) -> UUID:
    """The same UUID (version 5) for the same parts, on every machine and every run."""
    return uuid5(TOCSIN_NAMESPACE, "\x1f".join(str(part) for part in parts))
