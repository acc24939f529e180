"""The public half of the key that web push is signed with, as browsers want it."""

import base64

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from core.errors import InvalidInput
from core.settings import Settings

#: Order of the curve P-256, the only one web push uses (RFC 8292 section 2).
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class BadVapidKey(InvalidInput):
    """TOCSIN_DELIVER__WEBPUSH_VAPID_PRIVATE_KEY: a P-256 key is needed, as PEM or as 32 bytes in base64url."""


def public_key(settings: Settings) -> str | None:
    """Base64url of the uncompressed point; None where web push is off. Raises BadVapidKey."""
    secret = settings.deliver.webpush_vapid_private_key
    if secret is None:
        return None
    text = secret.get_secret_value().strip()
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_private_key(text.encode(), password=None)
            if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
                raise BadVapidKey
        else:
            number = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if not 0 < number < _P256_ORDER:
                raise BadVapidKey
            key = ec.derive_private_key(number, ec.SECP256R1())
    except (ValueError, TypeError):
        raise BadVapidKey from None
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()
