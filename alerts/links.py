"""Signed links: a policyholder sees and answers a warning without signing in.

A token is `payload.signature`, both base64url and 93 characters together, so that it fits a text message: the payload
names tenant, policyholder, warning and expiry in 52 bytes, the signature is the first 128 bits of HMAC-SHA256 (RFC 2104
section 5 allows half) under a key derived for this one purpose, so that it opens nothing else.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

from core.errors import InvalidInput
from core.settings import Settings

_PURPOSE = b"tocsin signed link v2"
_MAX_TOKEN = 128
_PAYLOAD = struct.Struct(">16s16s16sI")
_SIGNATURE_BYTES = 16
_NO_WARNING = bytes(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a signed link lets its holder see and answer."""

    tenant_id: UUID
    policyholder_id: UUID
    warning_id: UUID | None  #: none: the person's page as such
    expires_at: datetime


class WeakKey(InvalidInput):
    """TOCSIN_SECRET_KEY signs links: it needs at least 16 bytes."""


@cache
def _key(secret: bytes) -> bytes:
    if len(secret) < 16:
        raise WeakKey
    return hmac.new(secret, _PURPOSE, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign_link(link: Link, *, key: bytes) -> str:
    """The token of a link."""
    payload = _PAYLOAD.pack(
        link.tenant_id.bytes,
        link.policyholder_id.bytes,
        link.warning_id.bytes if link.warning_id else _NO_WARNING,
        int(link.expires_at.timestamp()),
    )
    return f"{_encode(payload)}.{_encode(_signature(payload, key))}"


def _signature(payload: bytes, key: bytes) -> bytes:
    return hmac.new(_key(key), payload, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def read_link(token: str, *, key: bytes, now: datetime | None = None) -> Link | None:
    """What a token stands for; None when it was not signed with this key or its time is over.

    A link's life is counted on the wall, as all security is, never on a scenario's clock; `now` is for tests.
    """
    if len(token) > _MAX_TOKEN or not token.isascii():
        return None
    body, _, signature = token.partition(".")
    try:
        payload = _decode(body)
        expected = _signature(payload, key)
        # compared as text: base64 has several spellings of the same bytes, and only ours is a token
        if not hmac.compare_digest(_encode(expected), signature) or _encode(payload) != body:
            return None
        tenant, person, warning, expires = _PAYLOAD.unpack(payload)
        link = Link(
            tenant_id=UUID(bytes=tenant),
            policyholder_id=UUID(bytes=person),
            warning_id=UUID(bytes=warning) if warning != _NO_WARNING else None,
            expires_at=datetime.fromtimestamp(expires, UTC),
        )
    except (ValueError, struct.error):
        return None
    return link if (now or datetime.now(UTC)) < link.expires_at else None


def secret_key(settings: Settings) -> bytes:
    """The installation's key: the setting, else the one kept under `home`, made on first use (mode 0600).

    Processes that start together agree: the first to create the file wins.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    file = settings.home / "secret.key"
    settings.home.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        made = file.with_name(f"secret.key.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_urlsafe(48).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(made, file)
        made.unlink()
    return file.read_bytes().strip()


def page_url(public_url: str, token: str) -> str:
    """The address of a policyholder's page: the token stands after `#`, so that no server or proxy logs it."""
    return f"{public_url.rstrip('/')}/me#t={token}"
