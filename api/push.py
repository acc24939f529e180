"""Which push services a phone may name. The address comes from a client and is called by us, so it is an allow-list."""

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import InvalidInput


class BadPushKeys(InvalidInput):
    """keys: a P-256 point of 65 bytes and a secret of 16 bytes are needed, in base64url."""


class PushServiceNotAllowed(InvalidInput):
    """endpoint: this push service is not on the installation's list (TOCSIN_DELIVER__WEBPUSH_HOSTS)."""


def check_endpoint(endpoint: str, hosts: Sequence[str]) -> None:
    """Raises PushServiceNotAllowed unless it is https, on the standard port, at a listed host or below one."""
    try:
        parts = urlsplit(endpoint)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise PushServiceNotAllowed from None
    plain = parts.scheme == "https" and port in (None, 443) and parts.username is None and parts.password is None
    listed = any(host == allowed or host.endswith("." + allowed) for allowed in hosts)
    if not plain or not listed or not endpoint.isascii() or not endpoint.isprintable():
        raise PushServiceNotAllowed


def check_keys(p256dh: str, auth: str) -> None:
    """Raises BadPushKeys unless a message can be encrypted for these (RFC 8291 section 3)."""
    try:
        point, secret = (base64.urlsafe_b64decode(one + "=" * (-len(one) % 4)) for one in (p256dh, auth))
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except (ValueError, binascii.Error):
        raise BadPushKeys from None
    if len(point) != 65 or len(secret) != 16:
        raise BadPushKeys
