"""Whose CAP document this is, as far as its XML signature shows it.

Only what was signed is read afterwards: `verify` gives back the tree that the signature covers, and that has to be the
whole message (signature wrapping: McIntosh and Austel 2005). A signature whose algorithm proves nothing today, or whose
key nobody gave us, is as good as none; one that speaks against its own content holds the message back.
"""

import base64
import hashlib
import re
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from lxml import etree
from signxml.exceptions import InvalidInput, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from ingest.cap.meaning import Finding, Weight
from ingest.cap.message import DSIG

_OLD = re.compile(r"#(?:rsa-sha1|dsa-sha1|hmac-sha1|ecdsa-sha1|rsa-md5|md5|hmac-md5|sha1)$")
_NCNAME = re.compile(r"[A-Za-z_][\w.-]*")
_C14N = frozenset(
    {
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
        "http://www.w3.org/2006/12/xml-c14n11",
        "http://www.w3.org/2006/12/xml-c14n11#WithComments",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
    }
)
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturePolicy:
    """What is asked of one source's signatures."""

    #: ignore: not looked at; check: a wrong one holds the message; require: without a good one of a known key, refused
    signature: Literal["ignore", "check", "require"] = "check"
    certificates: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """What is left to read of a document, and what its signature says about it."""

    root: etree._Element
    findings: tuple[Finding, ...] = ()
    certificate: x509.Certificate | None = None  #: of the source, where its key signed this


def _tag(name: str) -> str:
    return f"{{{DSIG}}}{name}"


def verify(root: etree._Element, policy: SignaturePolicy) -> Verified:
    """The part of a document that may be read under its source's policy, with findings; never raises for a document."""
    bare = deepcopy(root)
    signatures = list(bare.iter(_tag("Signature")))
    for one in signatures:
        _take_out(one)
    bad = Weight.REJECT if policy.signature == "require" else Weight.HOLD
    none_is = Weight.REJECT if policy.signature == "require" else Weight.WARN
    if policy.signature == "ignore":
        return Verified(bare)
    if not signatures:
        missing = (Finding(none_is, "not signed, though this source signs"),)
        return Verified(bare, missing if policy.signature == "require" or policy.certificates else ())
    if len(signatures) > 1:
        return Verified(bare, (Finding(Weight.REJECT, f"{len(signatures)} signatures: only one is read"),))
    signature = root.find(f".//{_tag('Signature')}")
    assert signature is not None
    if signature.getparent() is not root:
        return Verified(bare, (Finding(Weight.REJECT, "the signature is not a child of the message"),))
    try:
        return _verify(root, bare, signature, policy, bad, none_is)
    except _Refuse as refused:
        return Verified(bare, (Finding(refused.weight, str(refused)),))


class _Refuse(Exception):
    def __init__(self, weight: Weight, reason: str) -> None:
        super().__init__(reason)
        self.weight = weight


def _take_out(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is None:
        return
    before, tail = element.getprevious(), element.tail or ""
    if before is not None:
        before.tail = (before.tail or "") + tail
    else:
        parent.text = (parent.text or "") + tail
    parent.remove(element)


def _verify(
    root: etree._Element,
    bare: etree._Element,
    signature: etree._Element,
    policy: SignaturePolicy,
    bad: Weight,
    none_is: Weight,
) -> Verified:
    references = signature.findall(f"{_tag('SignedInfo')}/{_tag('Reference')}")
    if len(references) != 1 or signature.find(f".//{_tag('Manifest')}") is not None:
        raise _Refuse(Weight.REJECT, f"the signature has {len(references)} references; one to the message is read")
    uri = references[0].get("URI", "")
    ids = {value for name, value in root.attrib.items() if etree.QName(name).localname.lower() == "id"}
    if uri not in ("", "#xpointer(/)") and not (uri.startswith("#") and uri[1:] in ids):
        raise _Refuse(Weight.REJECT, f"the signature covers {uri[:60]!r}, not this message")
    for element in signature.iter():
        own = element.get("Id") if isinstance(element.tag, str) else None
        if own is not None and not _NCNAME.fullmatch(own):
            # An Id that XML does not allow stops every verifier: the signature shows nothing.
            raise _Refuse(none_is, f"the signature's Id {own[:40]!r} is not a name; the signature is not counted")
    transforms = [one.get("Algorithm", "") for one in references[0].iter(_tag("Transform"))]
    strange = [one for one in transforms if one != _ENVELOPED and one not in _C14N]
    if strange:
        raise _Refuse(Weight.REJECT, f"the signature transforms the message by {strange[0][:80]!r}")
    methods = [
        one.get("Algorithm", "")
        for one in signature.iter(_tag("SignatureMethod"), _tag("DigestMethod"))
        if isinstance(one.tag, str)
    ]
    old = [one for one in methods if _OLD.search(one)]
    if old:
        if not _old_digest_holds(bare, signature):
            raise _Refuse(bad, "the content is not what was signed")
        raise _Refuse(none_is, f"signed with {old[0].rpartition('#')[2]}, which proves nothing; taken as unsigned")
    return _check_by_keys(root, signature, policy, bad, none_is)


def _old_digest_holds(bare: etree._Element, signature: etree._Element) -> bool:
    method = signature.find(f".//{_tag('DigestMethod')}")
    told = signature.findtext(f".//{_tag('DigestValue')}") or ""
    name = (method.get("Algorithm", "") if method is not None else "").rpartition("#")[2]
    if name not in ("sha1", "sha256"):
        return True  # not even looked at: the signature counts for nothing
    try:
        wanted = base64.b64decode("".join(told.split()), validate=True)
    except ValueError:
        return False
    return any(
        hashlib.new(name, etree.tostring(bare, method="c14n", with_comments=comments), usedforsecurity=False).digest()
        == wanted
        for comments in (False, True)
    )


def _check_by_keys(
    root: etree._Element,
    signature: etree._Element,
    policy: SignaturePolicy,
    bad: Weight,
    none_is: Weight,
) -> Verified:
    bare_of_space = _without_indentation(root)
    for tree, amiss in ((root, ()), (bare_of_space, (Finding(Weight.WARN, _INDENTED),))):
        for certificate in policy.certificates:
            signed = _signed(tree, certificate)
            if signed is not None:
                return Verified(_whole(signed, root), amiss, certificate)
    # Not by a key we know. Whether it is at least sound is told by the key that it brings along.
    embedded = _embedded(signature)
    for tree, amiss in ((root, ()), (bare_of_space, (Finding(Weight.WARN, _INDENTED),))):
        signed = _signed(tree, embedded)
        if signed is None:
            continue
        if policy.certificates or policy.signature == "require":
            raise _Refuse(Weight.REJECT, "signed with a key that is not this source's")
        unknown = Finding(none_is, "signed with a key that this source is not known by")
        return Verified(_whole(signed, root), (unknown, *amiss))
    raise _Refuse(bad, "the signature does not fit the content")


_INDENTED = "the signature fits without the indentation, which was put in after signing"


def _without_indentation(root: etree._Element) -> etree._Element:
    """The document as it was before somebody indented it: without text that is white space between elements."""
    plain = deepcopy(root)
    for element in plain.iter():
        if len(element) and not (element.text or "").strip():
            element.text = None
        if element is not plain and not (element.tail or "").strip():
            element.tail = None
    return plain


def _whole(signed: etree._Element, root: etree._Element) -> etree._Element:
    if signed.tag != root.tag:
        raise _Refuse(Weight.REJECT, "the signature covers a part of the message")
    for one in list(signed.iter(_tag("Signature"))):
        _take_out(one)
    return signed


def _embedded(signature: etree._Element) -> x509.Certificate | None:
    text = signature.findtext(f".//{_tag('X509Certificate')}")
    if text is None:
        return None
    try:
        return x509.load_der_x509_certificate(base64.b64decode("".join(text.split())))
    except ValueError:
        return None


def _signed(root: etree._Element, certificate: x509.Certificate | None) -> etree._Element | None:
    """The signed tree under this certificate's key, or under the key in the document; None where it does not hold."""
    more: dict[str, Any] = {}
    if certificate is not None:
        # Whether the certificate was in its time is the policy's question, not the signature's.
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        more = {"x509_cert": certificate, "verification_time": begin + (end - begin) / 2}
    time: datetime | None = more.pop("verification_time", None)
    config = SignatureConfiguration(
        require_x509=certificate is not None,
        location="./",
        expect_references=1,
        verification_time=time or datetime(2000, 1, 1, tzinfo=UTC),
        ignore_ambiguous_key_info=True,
    )
    try:
        result = XMLVerifier().verify(deepcopy(root), expect_config=config, **more)
    except (
        SignXMLException, InvalidInput, InvalidSignature, UnsupportedAlgorithm,
        ValueError, TypeError, KeyError, AttributeError, etree.LxmlError,
    ):  # fmt: skip
        return None
    found = result.signed_xml if not isinstance(result, list) else None
    return found
