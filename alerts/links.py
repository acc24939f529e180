"""Signed links: a policyholder sees and answers a warning without signing in.

A token is `payload.signature`, both base64url: the payload names tenant, policyholder, warning and expiry, the
signature is HMAC-SHA256 under a key derived for this one purpose, so that it opens nothing else.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from core.errors import InvalidInput
from core.settings import Settings

_PURPOSE = b"tocsin signed link v1"
_MAX_TOKEN = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a signed link lets its holder see and answer."""

    tenant_id: UUID
    policyholder_id: UUID
    warning_id: UUID | None  #: none: the person's page as such
    expires_at: datetime


class WeakKey(InvalidInput):
    """TOCSIN_SECRET_KEY signs links: it needs at least 16 bytes."""


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
    told = [
        link.tenant_id.hex,
        link.policyholder_id.hex,
        link.warning_id.hex if link.warning_id else "",
        int(link.expires_at.timestamp()),
    ]
    payload = json.dumps(told, separators=(",", ":")).encode()
    return f"{_encode(payload)}.{_encode(hmac.new(_key(key), payload, hashlib.sha256).digest())}"


def read_link(token: str, *, key: bytes, now: datetime | None = None) -> Link | None:
    """What a token stands for; None when it was not signed with this key or its time is over.

    A link's life is counted on the wall, as all security is, never on a scenario's clock; `now` is for tests.
    """
    if len(token) > _MAX_TOKEN or not token.isascii():
        return None
    body, _, signature = token.partition(".")
    try:
        payload = _decode(body)
        expected = hmac.new(_key(key), payload, hashlib.sha256).digest()
        # compared as text: base64 has several spellings of the same bytes, and only ours is a token
        if not hmac.compare_digest(_encode(expected), signature) or _encode(payload) != body:
            return None
        tenant, person, warning, expires = json.loads(payload)
        link = Link(
            tenant_id=UUID(tenant),
            policyholder_id=UUID(person),
            warning_id=UUID(warning) if warning else None,
            expires_at=datetime.fromtimestamp(expires, UTC),
        )
    except (ValueError, TypeError):
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
