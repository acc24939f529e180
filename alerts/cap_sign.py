"""Signs our CAP messages: XML-DSig, enveloped, over the whole document, with SHA-256."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lxml import etree
from signxml.signer import XMLSigner

from core.errors import InvalidInput
from ingest.cap.structure import parse


class BadSigningKey(InvalidInput):
    """The key for CAP messages cannot be used."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    certificate: x509.Certificate

    def sign(self, document: bytes) -> bytes:
        """The document with its signature as the last child of `alert`."""
        algorithm = "ecdsa-sha256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "rsa-sha256"
        signer = XMLSigner(signature_algorithm=algorithm, digest_algorithm="sha256")
        signed = signer.sign(parse(document), key=self.key, cert=[self.certificate])
        out: bytes = etree.tostring(signed, xml_declaration=True, encoding="UTF-8")
        return out


def leaving(document: bytes, signer: Signer | None) -> bytes:
    """The document as it leaves us: signed, where there is a key."""
    return signer.sign(document) if signer is not None else document


def read_signer(key: Path | None, certificate: Path | None) -> Signer | None:
    """The signer that the settings name; none where they name none: then messages go out unsigned.

    Raises BadSigningKey naming the setting.
    """
    if key is None and certificate is None:
        return None
    if key is None or certificate is None:
        raise BadSigningKey("TOCSIN_CAP__SIGNING_KEY and TOCSIN_CAP__SIGNING_CERTIFICATE come together.")
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadSigningKey(f"TOCSIN_CAP__SIGNING_KEY: {key}: {error}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise BadSigningKey(f"TOCSIN_CAP__SIGNING_KEY: {key}: an EC or RSA key is wanted")
    try:
        made = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise BadSigningKey(f"TOCSIN_CAP__SIGNING_CERTIFICATE: {certificate}: {error}") from error
    if made.public_key() != private.public_key():
        raise BadSigningKey("TOCSIN_CAP__SIGNING_CERTIFICATE is of another key.", certificate=str(certificate))
    return Signer(private, made)
