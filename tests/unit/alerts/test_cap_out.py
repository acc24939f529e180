"""What we send: valid and signed in every state, equal when it comes back, and taken by our own judge as it should be."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree
from shapely.geometry import MultiPolygon, box

from alerts import cap
from alerts.alert import Alert, Text, reference
from alerts.broadcast import MAX_BYTES, payload_of, topic_of
from alerts.cap_feed import FeedEntry, atom_feed
from alerts.cap_sign import BadSigningKey, Signer, read_signer
from alerts.level import Level
from alerts.repository import StoredWarning
from alerts.rulebook import circle
from ingest.cap.judge import Feed, SourcePolicy, Verdict
from ingest.cap.read import from_xml
from ingest.cap.signature import SignaturePolicy
from ingest.weather.capfeed import entries

SENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENDER = "warnings@example.org"


def version(n: int, references: tuple[str, ...] = (), **more: object) -> Alert:
    given: dict[str, object] = {
        "msg_type": "Update" if references else "Alert", "level": Level.ORANGE, "all_clear": False, "reason": "level_reached",
        "area": box(80.1, 6.9, 80.3, 7.0), **more,
    }  # fmt: skip
    return Alert(
        warning_id=UUID(int=5), version=n, tenant_id=UUID(int=1), rule_id=UUID(int=2), exercise=False, status="Actual",
        identifier=f"tocsin.5.{n}", sender=SENDER, sent_at=SENT + timedelta(minutes=n), expires_at=SENT + timedelta(hours=6),
        area_desc={"en": "Kelani valley", "zh": "凯拉尼河谷", "ar": "وادي"}, references=references,
        texts={
            "en": Text(headline="Flood orange: act", description="The river rises & rises.", instruction="Go."),
            "zh": Text(headline="洪水橙色预警", description="水位上涨", instruction="请撤离"),
            "ar": Text(headline="فيضان", description="ارتفاع", instruction="اذهب"),
        },
        **given,  # type: ignore[arg-type]
    )  # fmt: skip


def life() -> list[Alert]:
    """A warning's whole life, and one that was an error."""
    refs: list[str] = []
    told = []
    for n, more in enumerate(
        (
            {
                "level": Level.YELLOW,
                "certainty": "Likely",
                "stage": {"en": "Alert level", "si": "අවදි"},
                "incident": "flood:1",
            },
            {"level": Level.YELLOW, "severity": "Severe", "authority": "Disaster Management Centre", "incident": "a b"},
            {"level": Level.RED, "reason": "escalated", "area": MultiPolygon([box(80, 6, 81, 7), box(82, 6, 83, 7)])},
            {
                "level": Level.ORANGE,
                "reason": "de_escalated",
                "area": MultiPolygon([circle(80.2, 6.95, 12.5), box(82, 6, 83, 7)]),
            },
            {"reason": "renewed"},
            {"all_clear": True, "reason": "all_clear", "level": Level.YELLOW},
        ),
        start=1,
    ):
        one = version(n, tuple(refs), **more)
        told.append(one)
        refs.append(reference(SENDER, one.identifier, one.sent_at))
    return told


ERROR = version(
    9, (reference(SENDER, "tocsin.5.1", SENT + timedelta(minutes=1)),), msg_type="Cancel", reason="issued_in_error"
)


def make(kind: str = "ec") -> Signer:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "warnings.example.org")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(9)
        .not_valid_before(SENT - timedelta(days=1)).not_valid_after(SENT + timedelta(days=365)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return Signer(key, made)


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make()


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_every_state_is_valid_signed_and_equal_when_it_comes_back(kind: str, shared_data: Path) -> None:
    xsd = etree.XMLSchema(etree.parse(str(shared_data / "warning/cap/cap12.xsd")))
    signer = make(kind)
    for one in (*life(), ERROR):
        document = signer.sign(cap.to_xml(cap.of_alert(one)))
        assert xsd.validate(etree.fromstring(document)), xsd.error_log
        assert from_xml(document) == cap.of_alert(one)
        assert [info.language for info in from_xml(document).info] == ["ar", "en-US", "zh-CN"]


def test_a_receiver_that_knows_our_key_takes_the_whole_life(signer: Signer) -> None:
    policy = SourcePolicy(signature=SignaturePolicy(signature="require", certificates=(signer.certificate,)))
    feed = Feed(policies={SENDER: policy})
    for n, one in enumerate(life(), start=1):
        judged = feed.judge(signer.sign(cap.to_xml(cap.of_alert(one))), one.sent_at)
        assert (judged.verdict, judged.would_notify) == (Verdict.ACCEPT, True), judged.reasons
        assert len(judged.message.references) == n - 1 if judged.message else False  # the whole chain
        assert judged.retracts == (() if n == 1 else ((SENDER, f"tocsin.5.{n - 1}"),))
    assert life()[-1].msg_type == "Update"  # an all-clear is no Cancel
    last = cap.of_alert(life()[-1])
    assert {info.response_type for info in last.info} == {("AllClear",)}


def test_a_document_says_what_a_warning_rests_on_and_what_the_tenant_calls_it() -> None:
    first, second = (cap.of_alert(one) for one in life()[:2])
    english = next(info for info in first.info if info.language == "en-US")
    assert english.certainty == "Likely"
    assert ("tocsin:stage", "Alert level") in english.parameter
    assert {info.severity for info in first.info} == {"Moderate"}
    assert {info.severity for info in second.info} == {"Severe"}  # the tenant's own table
    assert (second.source, second.incidents) == ("Disaster Management Centre", '"a b"')
    assert cap.of_alert(life()[2]).info[0].certainty == "Observed"


def test_a_cancel_is_for_errors_and_says_so(signer: Signer) -> None:
    message = cap.of_alert(ERROR)
    assert message.note == "Issued in error."
    feed = Feed()
    feed.judge(cap.to_xml(cap.of_alert(life()[0])), SENT)
    judged = feed.judge(cap.to_xml(message), SENT + timedelta(minutes=9))
    assert (judged.verdict, judged.would_notify, judged.retracts) == (Verdict.ACCEPT, False, ((SENDER, "tocsin.5.1"),))


def test_the_key_of_the_settings(tmp_path: Path, signer: Signer) -> None:
    assert read_signer(None, None) is None
    key, made, other = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "other.pem"
    key.write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made.write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    other.write_bytes(make().certificate.public_bytes(Encoding.PEM))
    assert read_signer(key, made) is not None
    for one, two, named in (
        (key, None, "together"),
        (key, other, "another key"),
        (made, made, "SIGNING_KEY"),
        (key, tmp_path / "x", "SIGNING_CERTIFICATE"),
    ):
        with pytest.raises(BadSigningKey, match=named):
            read_signer(one, two)


def test_the_atom_feed_is_read_by_our_own_reader() -> None:
    told = [
        FeedEntry(
            identifier=f"tocsin.5.{n}",
            title="Flood <orange>",
            link=f"https://t.example/v1/warnings/5/{n}/cap.xml",
            updated_at=SENT,
        )
        for n in (2, 1)
    ]
    found = entries(atom_feed(told, base="https://t.example", now=SENT), "https://t.example/")
    assert [one.link for one in found] == [one.link for one in told]
    assert found[0].title == "Flood <orange>"
    assert entries(atom_feed([], base="https://t.example", now=SENT), "https://t.example/") == []


def stored(alert: Alert) -> StoredWarning:
    return StoredWarning(
        alert=alert, state="released", n_people=1, n_unreachable=0, content_sha256=b"", approvals_needed=0, held=None,
        drafted_by=None, released_at=SENT, tenant_name="T",
    )  # fmt: skip


def test_what_is_retained_is_emptied_by_the_end(signer: Signer) -> None:
    topics = {topic_of("lk", stored(one)) for one in (*life(), ERROR)}
    assert topics == {f"tocsin/v1/lk/alert/flood/{UUID(int=5)}"}
    for one in (*life(), ERROR):
        body, keep_s = payload_of(stored(one), public_url="https://t.example", now=one.sent_at, signer=signer)
        if one.all_clear or one.msg_type == "Cancel":
            assert (body, keep_s) == (b"", None)
            continue
        told = json.loads(body)
        assert len(body) <= MAX_BYTES
        assert keep_s == (one.expires_at - one.sent_at).total_seconds()
        assert told["link"] == f"https://t.example/v1/warnings/{UUID(int=5)}/{one.version}/cap.xml"
        if "cap" in told:
            assert from_xml(told["cap"].encode()) == cap.of_alert(one, sender_name="T")
    over, _ = payload_of(stored(life()[0]), public_url="x", now=SENT + timedelta(hours=7), signer=None)
    assert over == b""
    large = version(1, area=MultiPolygon([box(80 + i / 100, 6, 80.005 + i / 100, 7) for i in range(90)]))
    body, _ = payload_of(stored(large), public_url="x", now=SENT, signer=None)
    assert "cap" not in json.loads(body)
    assert len(body) <= MAX_BYTES
