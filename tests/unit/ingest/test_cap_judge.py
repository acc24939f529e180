"""Other people's CAP messages end in the verdict written beside them, and those that must alert nobody alert nobody."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import XMLSigner
from typer.testing import CliRunner

from ingest.cap.files import BadSources, read_policies
from ingest.cap.judge import Feed, Judgement, SourcePolicy, Verdict
from ingest.cap.message import DSIG, NAMESPACE
from ingest.cap.signature import SignaturePolicy
from tocsin.cli import app

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SQUARE = "7.0,80.0 7.0,80.5 7.5,80.5 7.5,80.0 7.0,80.0"


def doc(*, infos: str | None = None, area: str | None = None, **given: str | None) -> str:
    """A sound CAP message, with the named elements changed; None leaves one out."""
    top = {
        "identifier": "a-1", "sender": "warn@met.example", "sent": "2026-03-01T11:00:00+00:00", "status": "Actual",
        "msgType": "Alert", "source": None, "scope": "Public", "restriction": None, "addresses": None, "code": None,
        "note": None, "references": None, "incidents": None,
    }  # fmt: skip
    inner = {
        "language": "en", "category": "Met", "event": "Flood", "responseType": None, "urgency": "Immediate",
        "severity": "Severe", "certainty": "Observed", "effective": None, "onset": None,
        "expires": "2026-03-01T18:00:00+00:00", "senderName": None, "headline": "Flood", "description": "Water rises.",
        "instruction": "Go up.", "web": None,
    }  # fmt: skip
    for name, text in given.items():
        (top if name in top else inner)[name] = text
    if area is None:
        area = f"<areaDesc>Valley</areaDesc><polygon>{SQUARE}</polygon>"
    body = "".join(f"<{k}>{v}</{k}>" for k, v in inner.items() if v is not None)
    if infos is None:
        infos = f"<info>{body}{f'<area>{area}</area>' if area else ''}</info>"
    head = "".join(f"<{k}>{v}</{k}>" for k, v in top.items() if v is not None)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<alert xmlns="{NAMESPACE}">{head}{infos}</alert>'


def polygon(text: str) -> str:
    return doc(area=f"<areaDesc>x</areaDesc><polygon>{text}</polygon>")


def circle(text: str) -> str:
    return doc(area=f"<areaDesc>x</areaDesc><circle>{text}</circle>")


def with_doctype(dtd: str) -> str:
    return doc().replace("<alert", f"{dtd}<alert", 1)


ACC, WRN, STO, CON, REJ = Verdict.ACCEPT, Verdict.WARNINGS, Verdict.STORE_ONLY, Verdict.CONFLICT, Verdict.REJECT
INFO = doc()[doc().index("<info>") : doc().index("</alert>")]
BOMB = "<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)
)

#: name -> (document, verdict, whether anybody would be told)
ONE: dict[str, tuple[str | bytes, Verdict, bool]] = {
    "sound": (doc(), ACC, True),
    "no language is en-US": (doc(language=None), ACC, True),
    "an empty language is en-US": (doc(language=""), ACC, True),
    "prefix instead of default namespace": (
        doc().replace("<", "<c:").replace("<c:/", "</c:").replace("<c:?", "<?").replace("xmlns=", "xmlns:c="), ACC, True),
    "byte order mark": (b"\xef\xbb\xbf" + doc().encode(), ACC, True),
    "UTF-16 with mark": (doc(headline="洪水").replace("UTF-8", "UTF-16").encode("utf-16"), ACC, True),
    "UTF-16 big-endian": (doc().replace("UTF-8", "UTF-16BE").encode("utf-16-be"), ACC, True),
    "latin-1": (doc(headline="Überflutung").replace("UTF-8", "ISO-8859-1").encode("latin-1"), ACC, True),
    "CDATA": (doc(headline="<![CDATA[Flood & storm]]>"), ACC, True),
    "two languages, two lives": (
        doc(infos=INFO + INFO.replace(">en<", ">si<").replace("T18:", "T11:30:").replace(":30:00:00", ":30:00")), WRN, True),
    "languages disagree": (doc(infos=INFO + INFO.replace(">en<", ">si<").replace("Severe", "Minor")), WRN, True),
    "offset of five and a half hours": (doc(sent="2026-03-01T16:30:00+05:30"), ACC, True),
    "24:00:00": (doc(expires="2026-03-01T24:00:00+00:00"), ACC, True),
    "a circle": (circle("7.2,80.1 12.5"), ACC, True),
    "an arctic town": (circle("78.2,15.6 20"), ACC, True),
    "the northernmost settlement": (polygon("79.5,-86.5 79.5,-85.0 80.3,-85.0 80.3,-86.5 79.5,-86.5"), ACC, True),
    "a river called Test": (doc(headline="Test Valley: river levels are high", event="River Test"), ACC, True),
    # ---- looks real, and a duty officer would not send it on
    "Actual, and its headline says TEST": (doc(headline="TEST: this is a message"), STO, False),
    "Actual, and it says so in words": (doc(headline="This is only a test of the system"), STO, False),
    "Actual, a monthly test": (doc(event="Required Monthly Test"), STO, False),
    "Sri Lanka with its axes swapped": (polygon("80.0,7.0 80.0,7.1 80.2,7.1 80.2,7.0 80.0,7.0"), STO, False),
    "the same a little further west": (polygon("79.6,6.4 79.6,7.1 79.9,7.1 79.9,6.4 79.6,6.4"), STO, False),
    "a bow tie of two equal halves": (polygon("7.0,80.0 7.1,80.2 7.1,80.0 7.0,80.2 7.0,80.0"), STO, False),
    # ---- not parsed at all
    "DOCTYPE": (with_doctype("<!DOCTYPE alert>"), REJ, False),
    "doctype in small letters": (with_doctype("<!doctype alert>"), REJ, False),
    "billion laughs": (with_doctype(BOMB + "]>"), REJ, False),
    "external entity": (with_doctype("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"), REJ, False),
    "parameter entity": (with_doctype("<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://127.0.0.1/x'>%x;]>"), REJ, False),
    "DOCTYPE in UTF-16BE without a mark": (
        with_doctype("<!DOCTYPE alert>").replace("UTF-8", "UTF-16BE").encode("utf-16-be"), REJ, False),
    "DOCTYPE in UTF-16LE without a mark": (
        with_doctype("<!DOCTYPE alert>").replace("UTF-8", "UTF-16LE").encode("utf-16-le"), REJ, False),
    "EBCDIC": (doc().replace("UTF-8", "cp037").encode("cp037"), REJ, False),
    "UTF-7": (doc().replace("UTF-8", "UTF-7").encode(), REJ, False),
    "UTF-32": (doc().replace("UTF-8", "UTF-32").encode("utf-32"), REJ, False),
    "not the encoding it declares": (doc(headline="Überflutung").encode("latin-1"), REJ, False),
    "an unknown entity": (doc(headline="&flood;"), REJ, False),
    "empty": (b"", REJ, False),
    "spaces": (b" \n " * 50, REJ, False),
    "JSON": (b'{"alert": 1}', REJ, False),
    "cut off": (doc()[: len(doc()) // 2], REJ, False),
    "too large": (doc(description="x" * 3_000_000), REJ, False),
    "deep": (doc(infos="<info>" * 5000 + "</info>" * 5000), REJ, False),
    "deep inside a signature": (
        doc().replace("</alert>", f'<Signature xmlns="{DSIG}">{"<x>" * 200}{"</x>" * 200}</Signature></alert>'), REJ, False),
    "a NUL character": (doc(headline="a&#0;b"), REJ, False),
    # ---- structure
    "XInclude": (doc(infos='<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>'), REJ, False),
    "another namespace": (doc().replace("cap:1.2", "cap:9.9"), REJ, False),
    "no namespace": (doc().replace(f' xmlns="{NAMESPACE}"', ""), REJ, False),
    "two identifiers": (doc().replace("<sender>", "<identifier>a-2</identifier><sender>"), REJ, False),
    "out of order": (doc().replace("<status>Actual</status>", "").replace("</scope>", "</scope><status>Actual</status>"), REJ, False),
    "status in small letters": (doc(status="actual"), REJ, False),
    "padded status": (doc(status=" Actual "), REJ, False),
    "no status": (doc(status=None), REJ, False),
    "unknown severity": (doc(severity="Apocalyptic"), REJ, False),
    "a time without offset": (doc(sent="2026-03-01T11:00:00"), REJ, False),
    "a time with Z": (doc(sent="2026-03-01T11:00:00Z"), REJ, False),
    "a leap second": (doc(sent="2026-03-01T11:00:60+00:00"), REJ, False),
    "the 30th of February": (doc(expires="2026-02-30T11:00:00+00:00"), REJ, False),
    "a foreign attribute": (doc().replace("<info>", '<info onload="x()">'), REJ, False),
    # ---- meaning: refused
    "an open polygon": (polygon("7.0,80.0 7.0,80.5 7.5,80.5 7.5,80.0"), REJ, False),
    "three places": (polygon("7.0,80.0 7.0,80.5 7.0,80.0"), REJ, False),
    "lat and lon swapped": (polygon("-122.5,38.0 -122.5,38.5 -122.0,38.5 -122.0,38.0 -122.5,38.0"), REJ, False),
    "not numbers": (polygon("7.0,80.0 nan,80.5 7.5,80.5 7.0,80.0"), REJ, False),
    "Arabic-Indic digits": (polygon("٧.0,80.0 7.0,80.5 7.5,80.5 ٧.0,80.0"), REJ, False),
    "a polygon without an area": (polygon("7.0,80.0 7.0,80.5 7.0,80.7 7.0,80.0"), REJ, False),
    "a polygon along a slanting line": (polygon("7.0,80.0 7.1,80.1 7.2,80.2 7.0,80.0"), REJ, False),
    "a severity of somebody else's": (
        doc().replace("<severity>", '<severity xmlns="https://example.org/x">'), REJ, False),
    "two statuses": (doc().replace("<status>", "<status>Exercise</status><status>"), REJ, False),
    "an info below an area": (doc(area=f"<areaDesc>x</areaDesc><polygon>{SQUARE}</polygon>{INFO}"), REJ, False),
    "a hundred thousand places": (polygon(" ".join(f"7.{i:05d},80.0" for i in range(99_999)) + " 7.00000,80.0"), REJ, False),
    "a polygon of one place": (polygon("7.0,80.0 7.0,80.0 7.0,80.0 7.0,80.0"), REJ, False),
    "a space after the comma": (polygon("7.0, 80.0 7.0, 80.5 7.5, 80.5 7.0, 80.0"), REJ, False),
    "off the earth": (polygon("7.0,190.0 7.0,191 7.5,191 7.0,190.0"), REJ, False),
    "a negative radius": (circle("7.0,80.0 -5"), REJ, False),
    "a circle without radius": (circle("7.0,80.0"), REJ, False),
    "an endless radius": (circle("7.0,80.0 1e9"), REJ, False),
    "Update without references": (doc(msgType="Update"), REJ, False),
    "Cancel without references": (doc(msgType="Cancel", infos=""), REJ, False),
    "a reference of two parts": (doc(msgType="Update", references="warn@met.example,a-0"), REJ, False),
    "a reference without offset": (doc(msgType="Update", references="warn@met.example,a-0,2026-03-01T10:00:00"), REJ, False),
    "refers to itself": (doc(msgType="Update", references="warn@met.example,a-1,2026-03-01T11:00:00+00:00"), REJ, False),
    "refers to the future": (doc(msgType="Update", references="warn@met.example,a-0,2026-03-01T11:30:00+00:00"), REJ, False),
    "Private without addresses": (doc(scope="Private"), REJ, False),
    "Restricted without restriction": (doc(scope="Restricted"), REJ, False),
    "expires before it was sent": (doc(expires="2026-03-01T10:00:00+00:00"), REJ, False),
    "expires before it takes effect": (doc(effective="2026-03-01T19:00:00+00:00"), REJ, False),
    "an empty identifier": (doc(identifier=" "), REJ, False),
    "a comma in the sender": (doc(sender="warn@met.example,x"), REJ, False),
    "a hidden character in the sender": (doc(sender="warn@\u200bmet.example"), REJ, False),
    # ---- meaning: kept, and nobody is told
    "Test": (doc(status="Test"), STO, False),
    "Exercise": (doc(status="Exercise"), STO, False),
    "Draft": (doc(status="Draft"), STO, False),
    "System": (doc(status="System"), STO, False),
    "Private": (doc(scope="Private", addresses="a@example.org"), STO, False),
    "Restricted": (doc(scope="Restricted", restriction="hydrologists"), STO, False),
    "Ack": (doc(msgType="Ack", references="b@x.example,b-1,2026-03-01T10:00:00+00:00", infos=""), STO, False),
    "Error": (doc(msgType="Error", note="bad", references="b@x.example,b-1,2026-03-01T10:00:00+00:00", infos=""), STO, False),
    "expired": (doc(sent="2026-02-28T11:00:00+00:00", expires="2026-02-28T18:00:00+00:00"), STO, False),
    "from tomorrow": (doc(sent="2026-03-02T12:00:00+00:00", expires="2026-03-02T18:00:00+00:00"), STO, False),
    "no expiry": (doc(expires=None), STO, False),
    "no info": (doc(infos=""), STO, False),
    "no area": (doc(area=""), STO, False),
    "an area in words": (doc(area="<areaDesc>Everywhere</areaDesc>"), STO, False),
    "the world": (polygon("-90,-180 -90,180 90,180 90,-180 -90,-180"), STO, False),
    "half the world": (polygon("-60,-100 -60,100 70,100 70,-100 -60,-100"), STO, False),
    "a circle of the world": (circle("7.0,80.0 20000"), STO, False),
    "swapped, but on the earth": (polygon("80.0,7.0 80.5,7.0 80.5,7.5 80.1,7.5 80.0,7.0").replace("80.0,", "80.2,"), STO, False),
    "Antarctica for Canada": (polygon("-75.5,45.0 -75.5,45.5 -75.0,45.5 -75.5,45.0"), STO, False),
    "around the pole": (polygon("80,-180 80,-90 80,0 80,90 80,180 80,-180"), STO, False),
    "a bow tie": (polygon("7.0,80.0 7.6,80.5 7.0,80.5 7.5,80.1 7.0,80.0"), STO, False),
    "an unset place": (circle("0,0 10"), STO, False),
    "parts that agree only when swapped": (
        doc(area="<areaDesc>x</areaDesc><polygon>7.0,40.0 7.0,40.5 7.5,40.5 7.0,40.0</polygon><circle>40.2,7.2 5</circle>"), STO, False),
    "Cancel of what never came": (
        doc(msgType="Cancel", infos="", references="warn@met.example,a-0,2026-03-01T10:00:00+00:00"), STO, False),
    # ---- meaning: taken, and said
    "across the antimeridian": (polygon("-17,179 -17,-179 -16,-179 -16,179 -17,179"), WRN, True),
    "a circle without extent": (circle("7.0,80.0 0"), WRN, True),
    "codes alone": (
        doc(area="<areaDesc>x</areaDesc><geocode><valueName>UGC</valueName><value>AKZ185</value></geocode>"), WRN, True),
    "expires before the onset": (doc(onset="2026-03-02T00:00:00+00:00"), WRN, True),
    "HTML in text": (doc(description="&lt;script&gt;alert(1)&lt;/script&gt; water"), WRN, True),
    "text that turns around": (doc(instruction="do not \u202eetaucave"), WRN, True),
    "a C1 control": (doc(headline="Flood\u0085now"), WRN, True),
    "a comment inside a value": (doc(status="Act<!-- x -->ual"), WRN, True),
    "a link that runs": (doc(web="javascript:alert(1)"), WRN, True),
    "Update of what has not come": (
        doc(msgType="Update", references="warn@met.example,a-0,2026-03-01T10:00:00+00:00"), WRN, True),
    "UTF-8 declared as latin-1": (doc(headline="Überflutung").replace("UTF-8", "ISO-8859-1").encode("utf-8"), WRN, True),
    "a life of a year": (doc(expires="2027-03-01T10:00:00+00:00"), WRN, True),
    "the last second of the calendar": (doc(expires="9999-12-31T23:59:59-14:00"), WRN, True),
    "CAP 1.1 with Z": (doc(sent="2026-03-01T11:00:00Z").replace("cap:1.2", "cap:1.1"), WRN, True),
}  # fmt: skip


def judge(*documents: str | bytes, feed: Feed | None = None, now: datetime = NOW) -> list[Judgement]:
    feed = feed or Feed()
    return [feed.judge(one if isinstance(one, bytes) else one.encode(), now) for one in documents]


@pytest.mark.parametrize("name", ONE)
def test_each_document_ends_in_its_verdict(name: str) -> None:
    document, verdict, told = ONE[name]
    began = time.process_time()
    (got,) = judge(document)
    assert time.process_time() - began < 1.0
    assert (got.verdict, got.would_notify) == (verdict, told), got.reasons
    assert got.reasons or verdict is ACC


def test_there_are_enough_hostile_documents() -> None:
    assert sum(1 for _, verdict, _ in ONE.values() if verdict is not ACC) >= 80


def test_structure_refuses_what_the_schema_refuses(shared_data: Path) -> None:
    xsd = etree.XMLSchema(etree.parse(str(shared_data / "warning/cap/cap12.xsd")))
    for name, (document, verdict, _) in ONE.items():
        raw = document if isinstance(document, bytes) else document.encode()
        if "DOCTYPE" in name or "cap:1.1" in str(document):
            continue
        try:
            root = etree.fromstring(raw, etree.XMLParser(resolve_entities=False, no_network=True))
        except (etree.XMLSyntaxError, ValueError):
            assert verdict is REJ, name
            continue
        if not xsd.validate(root):
            assert verdict is REJ, name


def test_what_says_utf16_and_is_utf8_is_read_with_a_warning() -> None:
    """Programs that write a string and declare how they hold it; an XML parser would refuse what people can read."""
    got = Feed().judge(doc().replace("UTF-8", "UTF-16").encode(), NOW)
    assert (got.verdict, got.would_notify) == (WRN, True)
    assert got.reasons == ("declared as UTF-16 but written in UTF-8",)


def test_many_points_and_many_messages_are_judged_in_a_second() -> None:
    def points(n: int) -> str:
        return polygon(
            " ".join(f"{7 + i * 1e-6:.6f},{80 + (i % 2) * 1e-3:.4f}" for i in range(n)) + " 7.000000,80.0000"
        )

    def infos(n: int) -> str:
        return doc(infos="".join(INFO.replace(">en<", f">x-{i % 9}<") for i in range(n)))

    for text in (points(19_000), points(80_000), infos(600), infos(2500)):
        assert len(text) < 2 * 1024 * 1024
        began = time.process_time()
        judge(text)
        assert time.process_time() - began < 1.0


# ---------------------------------------------------------------- several messages

REF = "warn@met.example,a-1,2026-03-01T11:00:00+00:00"


def update(identifier: str = "a-2", references: str = REF, at: str = "11:30", **more: Any) -> str:
    return doc(msgType="Update", identifier=identifier, references=references, sent=f"2026-03-01T{at}:00+00:00", **more)


def cancel(references: str = REF, at: str = "11:40", **more: Any) -> str:
    given = {"identifier": "a-9", "infos": "", **more}
    return doc(msgType="Cancel", references=references, sent=f"2026-03-01T{at}:00+00:00", **given)


def verdicts(*documents: str | bytes, **more: Any) -> list[tuple[Verdict, bool]]:
    return [(one.verdict, one.would_notify) for one in judge(*documents, **more)]


def test_the_same_message_tells_people_once() -> None:
    again = doc().replace("><", ">\n <")
    assert verdicts(doc(), again, doc().encode("utf-16").replace(b"U\0T\0F\0-\08\0", b"u\0t\0f\0-\x001\x006\0")) == [
        (ACC, True), (STO, False), (STO, False)]  # fmt: skip


def test_another_content_under_the_same_name_is_a_conflict_and_the_first_stands() -> None:
    first, second, third = judge(doc(), doc(severity="Minor"), doc())
    assert (second.verdict, second.would_notify) == (CON, False)
    assert third.verdict is STO
    assert first.would_notify


def test_the_same_name_of_another_sender_is_another_message() -> None:
    assert verdicts(doc(), doc(sender="b@met.example")) == [(ACC, True), (WRN, True)]


def test_update_and_cancel_in_order() -> None:
    alert, changed, withdrawn = judge(
        doc(), update(), cancel(references=f"{REF} {REF.replace('a-1', 'a-2').replace('11:00', '11:30')}")
    )
    assert changed.retracts == (("warn@met.example", "a-1"),)
    assert withdrawn.retracts == (("warn@met.example", "a-2"),)
    assert (alert.verdict, changed.verdict, withdrawn.verdict) == (ACC, ACC, ACC)
    assert [one.would_notify for one in (alert, changed, withdrawn)] == [True, True, False]


def test_an_alert_after_its_update_is_history() -> None:
    assert verdicts(update(), doc()) == [(WRN, True), (STO, False)]


def test_a_cancel_before_its_alert_keeps_it_silent() -> None:
    assert verdicts(cancel(), doc(), update()) == [(STO, False), (STO, False), (STO, False)]


def test_an_older_update_does_not_replace_a_newer_one() -> None:
    newer, older = update("a-3", at="11:50"), update("a-2", at="11:30")
    assert verdicts(doc(), newer, older) == [(ACC, True), (ACC, True), (STO, False)]


def test_only_the_sender_or_its_delegate_may_change_or_cancel() -> None:
    other = {"sender": "foe@met.example"}
    assert verdicts(doc(), update(**other), cancel(**other)) == [(ACC, True), (REJ, False), (REJ, False)]
    # a forged cancel that comes first must not silence what comes later
    assert verdicts(cancel(**other), doc()) == [(STO, False), (ACC, True)]
    delegated = Feed(policies={"warn@met.example": SourcePolicy(delegates=frozenset({"foe@met.example"}))})
    assert verdicts(doc(), update(**other), feed=delegated)[1][1]


def test_a_reference_cycle_is_refused() -> None:
    first = update("b-1", references="warn@met.example,b-2,2026-03-01T11:30:00+00:00", at="11:30")
    second = update("b-2", references="warn@met.example,b-1,2026-03-01T11:30:00+00:00", at="11:30")
    assert verdicts(first, second) == [(WRN, True), (REJ, False)]


def test_a_test_takes_nothing_from_the_public() -> None:
    got = judge(doc(), cancel(status="Test", identifier="t"), update("e", status="Exercise"), cancel())
    assert [one.verdict for one in got] == [ACC, STO, STO, ACC]
    assert got[1].retracts == got[2].retracts == ()
    assert got[3].retracts == (("warn@met.example", "a-1"),)


def test_nothing_follows_a_cancel() -> None:
    assert verdicts(doc(), cancel(), update(at="11:50")) == [(ACC, True), (ACC, False), (STO, False)]


def test_a_cancel_with_a_full_info_tells_nobody_anything_new() -> None:
    got = judge(doc(), cancel(infos=None), cancel(infos=None, identifier="a-10", references=REF.replace("a-1", "a-0")))
    assert not any(one.would_notify for one in got[1:])


# ---------------------------------------------------------------- signatures


def certificate(name: str = "met.example") -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(7).not_valid_before(NOW - timedelta(days=30)).not_valid_after(NOW + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return key, made


@pytest.fixture(scope="module")
def ours() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    return certificate()


def signed(document: str, key: ec.EllipticCurvePrivateKey, made: x509.Certificate) -> bytes:
    root = etree.fromstring(document.encode())
    return etree.tostring(XMLSigner(signature_algorithm="ecdsa-sha256").sign(root, key=key, cert=[made]))


def require(made: x509.Certificate) -> Feed:
    policy = SignaturePolicy(signature="require", certificates=(made,))
    return Feed(policies={"warn@met.example": SourcePolicy(signature=policy)})


Made = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def test_a_source_that_signs_is_believed_by_its_key_alone(ours: Made) -> None:
    good = signed(doc(), *ours)
    assert verdicts(good, feed=require(ours[1])) == [(ACC, True)]
    assert verdicts(doc(), feed=require(ours[1])) == [(REJ, False)]
    assert verdicts(signed(doc(), *certificate()), feed=require(ours[1])) == [(REJ, False)]
    assert verdicts(good) == [(WRN, True)]  # sound, by a key nobody told us of


TAMPER: dict[str, Callable[[bytes], bytes]] = {
    "severity": lambda raw: raw.replace(b"Severe", b"Extreme"),
    "place": lambda raw: raw.replace(b"80.5", b"80.6"),
    "signature value": lambda raw: raw.replace(b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA"),
    "one more area": lambda raw: raw.replace(b"</info>", b"<area><areaDesc>y</areaDesc></area></info>"),
}


@pytest.mark.parametrize("how", TAMPER)
def test_what_was_changed_after_signing_tells_nobody(how: str, ours: Made) -> None:
    bad = TAMPER[how](signed(doc(), *ours))
    assert verdicts(bad) == [(STO, False)]
    assert verdicts(bad, feed=require(ours[1])) == [(REJ, False)]


def test_indentation_after_signing_is_told_apart_from_a_change(ours: Made) -> None:
    root = etree.fromstring(signed(doc(), *ours))
    etree.indent(root)
    assert verdicts(etree.tostring(root), feed=require(ours[1])) == [(WRN, True)]


def test_a_signed_message_wrapped_in_another_is_refused(ours: Made) -> None:
    good = etree.fromstring(signed(doc(), *ours))
    evil = etree.fromstring(doc(severity="Extreme", identifier="evil").encode())
    signature = good.find(f"{{{DSIG}}}Signature")
    assert signature is not None
    wrapped = etree.fromstring(etree.tostring(signature))
    holder = etree.SubElement(wrapped, f"{{{DSIG}}}Object")
    good.remove(signature)
    holder.append(good)
    evil.append(wrapped)
    for feed in (Feed(), require(ours[1])):
        ((verdict, told),) = verdicts(etree.tostring(evil), feed=feed)
        assert not told
        assert verdict in (STO, REJ)
    # and by reference to an Id that is not the message's
    elsewhere = etree.tostring(evil).replace(b'URI=""', b'URI="#inner"')
    assert verdicts(elsewhere) == [(REJ, False)]


def test_two_signatures_and_strange_transforms_are_refused(ours: Made) -> None:
    once = signed(doc(), *ours)
    root = etree.fromstring(once)
    signature = root.find(f"{{{DSIG}}}Signature")
    assert signature is not None
    root.append(etree.fromstring(etree.tostring(signature)))
    assert verdicts(etree.tostring(root)) == [(REJ, False)]
    xslt = once.replace(
        b"http://www.w3.org/2000/09/xmldsig#enveloped-signature", b"http://www.w3.org/TR/1999/REC-xslt-19991116"
    )
    assert verdicts(xslt) == [(REJ, False)]


def test_an_id_that_is_no_name_makes_the_signature_count_for_nothing(ours: Made) -> None:
    odd = signed(doc(), *ours).replace(b"<ds:Signature ", b'<ds:Signature Id="NAADS Signature" ')
    assert verdicts(odd) == [(WRN, True)]
    assert verdicts(odd, feed=require(ours[1])) == [(REJ, False)]


def test_a_certificate_out_of_its_time_holds_the_message(ours: Made) -> None:
    late = doc(sent="2026-05-01T11:00:00+00:00", expires="2026-05-01T18:00:00+00:00")
    got = judge(signed(late, *ours), feed=require(ours[1]), now=datetime(2026, 5, 1, 12, tzinfo=UTC))
    assert (got[0].verdict, got[0].would_notify) == (STO, False)


# ---------------------------------------------------------------- policies and the command


def test_policies_are_read_from_a_file(tmp_path: Path, ours: Made) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "met.pem").write_bytes(ours[1].public_bytes(Encoding.PEM))
    file = tmp_path / "sources.json"
    file.write_text(json.dumps({
        "warn@met.example": {"signature": "require", "certificates": ["met.pem"]},
        "z@met.example": {"lenient": True, "region": [79, 5, 82, 10]},
    }))  # fmt: skip
    feed = Feed(policies=read_policies(file))
    assert verdicts(doc(), signed(doc(), *ours), feed=feed) == [(REJ, False), (ACC, True)]
    z = {"sender": "z@met.example"}
    assert verdicts(doc(sent="2026-03-01T11:00:00Z", status=" Actual", **z), feed=feed) == [(WRN, True)]
    away = doc(identifier="q", area="<areaDesc>x</areaDesc><circle>50,7 5</circle>", **z)
    assert verdicts(away, feed=feed) == [(STO, False)]
    for wrong, named in (
        ('{"x": {"signature": "perhaps"}}', "x.signature"),
        ('{"x": {"signature": "require"}}', "require"),
        ('{"x": {"certificates": ["none.pem"]}}', "none.pem"),
        ("[", "JSON"),
    ):
        file.write_text(wrong)
        with pytest.raises(BadSources, match=named):
            read_policies(file)


def test_the_command_judges_files_as_one_feed(tmp_path: Path) -> None:
    names = []
    for n, text in enumerate((doc(), doc(), doc(severity="Minor"), "<x/>")):
        names.append(str(tmp_path / f"{n}.xml"))
        Path(names[-1]).write_text(text)
    run = CliRunner().invoke(app, ["cap", "check", *names, "--now", "2026-03-01T12:00:00Z", "--json"])
    told = json.loads(run.stdout)
    assert [set(one) for one in told] == [{"file", "verdict", "reasons", "would_notify"}] * 4
    assert [one["file"] for one in told] == names
    assert [one["verdict"] for one in told] == ["accept", "store-only", "conflict", "reject"]
    assert run.exit_code == 1
    later = CliRunner().invoke(app, ["cap", "check", names[0], "--now", "2026-03-02T12:00:00Z", "--json"])
    assert json.loads(later.stdout)[0]["would_notify"] is False
    assert later.exit_code == 0
    wrong = CliRunner().invoke(app, ["cap", "check", names[0], "--now", "yesterday"])
    assert "--now" in str(wrong.exception)


#: sample -> (instant, verdict, told)
SAMPLES = {
    "australia.cap": ("2011-10-05T13:30:00+00:00", WRN, True),  # markup in its description
    "canada.cap": ("2012-05-02T23:30:00+00:00", WRN, True),  # its references have not come
    "earthquake.cap": ("2010-08-31T06:00:00+00:00", WRN, True),  # CAP 1.1, a circle of no radius
    "earthquake_signed.cap": ("2011-09-06T18:00:00+00:00", WRN, True),  # CAP 1.1, RSA-SHA1
    "no_optional_fields.cap": ("2010-08-31T06:00:00+00:00", STO, False),  # no info
    "wcatwc-warning.cap": ("2011-09-02T12:00:00+00:00", WRN, True),  # codes alone, refers to itself under another name
    "weather.cap": (None, STO, False),  # expired
    "wis2box_cap_example.xml": ("2024-05-19T14:00:00+00:00", WRN, True),  # indented after it was signed
    "wis2box_sc_example.xml": ("2024-05-19T14:00:00+00:00", WRN, True),
}


def test_every_sample_ends_in_its_verdict(shared_data: Path) -> None:
    folder = shared_data / "warning" / "cap"
    files = {one.name for one in folder.iterdir() if one.suffix in (".cap", ".xml")}
    assert files == set(SAMPLES)
    for name, (at, verdict, told) in SAMPLES.items():
        now = datetime.fromisoformat(at) if at else NOW
        (got,) = judge((folder / name).read_bytes(), now=now)
        assert (got.verdict, got.would_notify) == (verdict, told), (name, got.reasons)
        assert judge((folder / name).read_bytes())[0].would_notify is False, name  # by now all of them are over
