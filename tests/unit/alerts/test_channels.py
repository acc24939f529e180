"""Channels against servers of our own on loopback: what goes over the wire, and what each answer means."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import http_ece
import httpx
import pytest
import uvicorn
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from shapely.geometry import LineString, box

from alerts import cap, payload
from alerts.alert import Alert, Text
from alerts.channels import Outgoing, Result
from alerts.channels.answers import outcome_of_error, outcome_of_status, retry_after_s
from alerts.channels.email import EmailChannel, compose, one_line
from alerts.channels.fake import FakeChannel
from alerts.channels.outbound import AddressRefused, BrokenOff, NotReached, Outbound, host_allowed, is_public
from alerts.channels.phone import SmsChannel, VoiceChannel
from alerts.channels.webhook import WebhookChannel, verify
from alerts.channels.webpush import WebPushChannel, topic
from alerts.deliver import settle
from alerts.fake_provider import FakeProvider, Faults
from alerts.level import Level
from ingest.cap import structure

SENT = datetime(2025, 11, 28, 6, 30, tzinfo=UTC)
KEY = "0190f0a0-0000-5000-8000-000000000001"


def outgoing(**more: Any) -> Outgoing:
    alert = Alert(
        warning_id=UUID(int=5),
        version=1,
        tenant_id=UUID(int=1),
        rule_id=None,
        exercise=True,
        status="Exercise",
        msg_type="Alert",
        level=Level.RED,
        all_clear=False,
        reason="level_reached",
        identifier="tocsin.5.1",
        sender="a@b",
        sent_at=SENT,
        expires_at=SENT + timedelta(hours=6),
        area=box(80.1, 6.9, 80.3, 7.0),
        area_desc={"en": "valley"},
        texts={"en": Text(headline="Leave\r\nBcc: all@example.org", description="快走 now", instruction="Go.")},
    )
    line = LineString([(80.1, 6.9), (80.3, 7.0)])
    told = payload.build(
        alert,
        alert.texts["en"],
        language="en",
        delivery_id=UUID(KEY),
        url="http://here/now#t=x",
        way_out=payload.WayOut(status="clear", leave_by=SENT, line=line),
        safe_zones=[],
    )
    base = Outgoing(
        channel="web_push",
        address={"to": "x"},
        exercise=True,
        warning_id=alert.warning_id,
        level=Level.RED,
        language="en",
        text=alert.texts["en"],
        sent_at=SENT,
        ttl_s=600,
        payload=told,
        line=line,
        cap_xml=cap.to_xml(cap.of_alert(alert)),
        url="http://here/now#t=x",
    )
    return replace(base, **more)


class Partner:
    """A small HTTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.clients: list[Any] = []
        self.status = 201
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b"ok"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.clients.append(scope["client"])
        self.got.append((scope["path"], {k.decode(): v.decode() for k, v in scope["headers"]}, body))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


def go(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


# ---------------------------------------------------------------- web push


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Browser:
    """A subscription whose keys we hold, so that we can read what only the browser could."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.auth = b"0123456789abcdef"
        point = self.private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.keys = {"p256dh": _b64(point), "auth": _b64(self.auth)}

    def read(self, body: bytes) -> Any:
        return json.loads(http_ece.decrypt(body, private_key=self.private, auth_secret=self.auth, version="aes128gcm"))


def vapid_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return _b64(key.private_numbers().private_value.to_bytes(32, "big"))


def push_channel(outbound: Outbound, hosts: list[str] | None = None) -> WebPushChannel:
    return WebPushChannel(outbound, private_key=vapid_key(), subject="mailto:a@b.org", hosts=hosts or ["127.0.0.1"])


def test_a_push_can_be_read_by_its_browser_alone_and_carries_the_way_out() -> None:
    async def story() -> None:
        partner, browser = Partner(), Browser()
        async with serving(partner) as url:
            outbound = Outbound(allow_private=True)
            address = {"endpoint": f"{url}/push/abc", "keys": browser.keys}
            outcome = await push_channel(outbound).send(outgoing(address=address), KEY)
            await outbound.close()
        assert outcome.result is Result.ACCEPTED
        path, headers, body = partner.got[0]
        assert path == "/push/abc"
        assert (headers["ttl"], headers["urgency"]) == ("600", "high")
        assert headers["topic"] == topic(str(UUID(int=5)))
        assert len(headers["topic"]) == 32
        assert headers["content-encoding"] == "aes128gcm"
        scheme, _, rest = headers["authorization"].partition(" ")
        assert scheme == "vapid"
        token = rest.partition("t=")[2].partition(",")[0]
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert claims["aud"] == url
        assert claims["sub"] == "mailto:a@b.org"
        assert 0 < claims["exp"] - time.time() <= 24 * 3600
        told = browser.read(body)
        assert told["id"] == KEY
        assert told["route"]["polyline"]
        assert told["instruction"] == "Go."
        assert b"Go." not in body

    go(story)


def test_a_push_is_at_most_3990_bytes_on_the_wire() -> None:
    async def story() -> None:
        partner, browser = Partner(), Browser()
        line = LineString([(80 + i / 10000, 7 + (i * 7919 % 997) / 1e6) for i in range(5000)])
        async with serving(partner) as url:
            outbound = Outbound(allow_private=True)
            address = {"endpoint": f"{url}/p", "keys": browser.keys}
            message = outgoing(address=address, line=line)
            assert (await push_channel(outbound).send(message, KEY)).result is Result.ACCEPTED
            await outbound.close()
        assert 900 < len(partner.got[0][2]) <= 3990
        assert browser.read(partner.got[0][2])["route"]["polyline"]

    go(story)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (404, Result.GONE),
        (410, Result.GONE),
        (429, Result.RETRY),
        (500, Result.RETRY),
        (413, Result.REFUSED),
        (302, Result.REFUSED),
    ],
)
def test_what_a_push_services_answer_means(status: int, result: Result) -> None:
    async def story() -> None:
        partner, browser = Partner(), Browser()
        partner.status, partner.headers = status, [(b"retry-after", b"7"), (b"location", b"http://127.0.0.1:1/")]
        async with serving(partner) as url:
            outbound = Outbound(allow_private=True)
            outcome = await push_channel(outbound).send(
                outgoing(address={"endpoint": f"{url}/p", "keys": browser.keys}), KEY
            )
            await outbound.close()
        assert outcome.result is result
        assert len(partner.got) == 1  # no redirect is followed
        assert outcome.retry_after_s == (7.0 if status in (429, 500) else None)

    go(story)


def test_push_goes_only_to_services_on_the_list() -> None:
    async def story() -> None:
        outbound, browser = Outbound(), Browser()
        channel = push_channel(outbound, ["push.example.org"])
        for endpoint in (
            "https://evil.org/x",
            "https://push.example.org.evil.org/x",
            "https://evilpush.example.org/x",
            "http://push.example.org@evil.org/",
            "",
            "file:///etc/passwd",
        ):
            outcome = await channel.send(outgoing(address={"endpoint": endpoint, "keys": browser.keys}), KEY)
            assert outcome.result is Result.REFUSED, endpoint
        outcome = await channel.send(
            outgoing(address={"endpoint": "https://push.example.org/x", "keys": {"p256dh": "x", "auth": "y"}}), KEY
        )
        assert outcome.result is Result.REFUSED
        await outbound.close()

    go(story)
    assert host_allowed("db5.notify.windows.com", ["notify.windows.com"])
    assert not host_allowed("xnotify.windows.com", ["notify.windows.com"])


# ---------------------------------------------------------------- addresses we were given


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "172.16.0.1", "0.0.0.0", "::1", "fe80::1", "fc00::1", "::ffff:10.0.0.1",
     "64:ff9b::a00:1", "2002:a00:1::", "224.0.0.1", "255.255.255.255", "100.64.0.1", "fe80::1%eth0"],
)  # fmt: skip
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")


def test_outbound_speaks_only_https_to_public_addresses() -> None:
    async def story() -> None:
        partner = Partner()
        async with serving(partner) as url:
            outbound = Outbound()
            port = url.rpartition(":")[2]
            for bad in (
                url,
                f"https://127.0.0.1:{port}/",
                f"https://localhost:{port}/",
                f"https://[::1]:{port}/",
                "https://user:pw@example.org/",
                "ftp://x/",
                "https:///x",
                "https://x:99999/",
            ):
                with pytest.raises((AddressRefused, NotReached)):
                    await outbound.post(bad, b"", {})
            await outbound.close()
        assert partner.got == []

    go(story)


def names(monkeypatch: pytest.MonkeyPatch, answers: Callable[[str], list[str]]) -> list[str]:
    """Makes the running loop resolve names as told; gives the list of names that were asked."""
    asked: list[str] = []

    async def lookup(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answers(host)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)
    return asked


def test_a_name_is_resolved_once_and_that_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers publicly first and privately after gains nothing: a connection is made to what was checked,
    and kept under the name.
    """

    async def story() -> None:
        partner = Partner()
        async with serving(partner) as url:
            asked = names(monkeypatch, lambda _: ["127.0.0.1"] if len(asked) == 1 else ["203.0.113.9"])
            outbound = Outbound(allow_private=True)
            port = url.rpartition(":")[2]
            for _ in range(3):
                await outbound.post(f"http://rebind.example.org:{port}/x?y=1", b"", {})
            await outbound.close()
        assert asked == ["rebind.example.org"]
        assert [path for path, _, _ in partner.got] == ["/x"] * 3
        assert {headers["host"] for _, headers, _ in partner.got} == {f"rebind.example.org:{port}"}

    go(story)


def test_two_names_behind_one_address_never_share_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        partner = Partner()
        async with serving(partner) as url:
            names(monkeypatch, lambda _: ["127.0.0.1"])
            outbound = Outbound(allow_private=True)
            port = url.rpartition(":")[2]
            for name in ("one.example.org", "two.example.org", "one.example.org"):
                await outbound.post(f"http://{name}:{port}/", b"", {})
            await outbound.close()
        first, second, third = partner.clients
        assert first == third != second

    go(story)


def test_no_socket_is_opened_to_a_private_address_whatever_led_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard behind the guard: the check of names is switched off, and still nothing is connected."""
    from ingest import outbound as module

    async def unchecked(*_: Any, **__: Any) -> list[str]:
        return ["127.0.0.1"]

    async def story() -> None:
        partner = Partner()
        async with serving(partner) as url:
            monkeypatch.setattr(module, "public_addresses", unchecked)
            outbound = Outbound()
            with pytest.raises(AddressRefused):
                await outbound.get(f"http://x.example.org:{url.rpartition(':')[2]}/", {}, max_bytes=9, plain_http=True)
            await outbound.close()
        assert partner.got == []

    go(story)


def test_who_cannot_prove_their_name_is_not_spoken_to() -> None:
    """A certificate that nobody we trust has signed: nothing is sent, so it may be tried again."""

    async def story() -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "cert.pem"), Path(folder, "key.pem")
            files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
            files[1].write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
            got: list[bytes] = []

            async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                got.append(await reader.read(100))
                writer.close()

            server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
            port = server.sockets[0].getsockname()[1]
            outbound = Outbound(allow_private=True)
            with pytest.raises(NotReached):
                await outbound.post(f"https://localhost:{port}/", b"secret", {})
            await outbound.close()
            server.close()
        assert b"secret" not in b"".join(got)

    go(story)


@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://good.example\\@127.0.0.1/",
        "https://127.0.0.1#@good.example/",
        "https://good.example:443:80/",
    ],
)
def test_addresses_in_odd_spellings_reach_nothing(url: str) -> None:
    async def story() -> None:
        outbound = Outbound()
        with pytest.raises((AddressRefused, NotReached)):
            await outbound.post(url, b"", {}, total_s=2)
        await outbound.close()

    go(story)


def test_a_connection_cut_after_the_request_is_in_doubt_and_one_that_never_was_is_not() -> None:
    async def story() -> None:
        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(cut, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        outbound = Outbound(allow_private=True)
        with pytest.raises(BrokenOff) as doubt:
            await outbound.post(f"http://127.0.0.1:{port}/", b"x", {})
        server.close()
        await server.wait_closed()
        with pytest.raises(NotReached) as none:
            await outbound.post(f"http://127.0.0.1:{port}/", b"x", {})
        await outbound.close()
        assert outcome_of_error(doubt.value).result is Result.UNCERTAIN
        assert outcome_of_error(none.value).result is Result.RETRY

    go(story)


def test_who_takes_too_long_is_in_doubt_and_the_others_are_not_kept_waiting() -> None:
    async def story() -> None:
        async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read(-1)

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        outbound = Outbound(allow_private=True)
        began = time.monotonic()
        with pytest.raises(BrokenOff):
            await outbound.post(f"http://127.0.0.1:{port}/", b"x", {}, total_s=0.3)
        assert time.monotonic() - began < 2
        await outbound.close()
        server.close()

    go(story)


def test_a_large_answer_is_cut() -> None:
    async def story() -> None:
        partner = Partner()
        partner.body = b"x" * 1_000_000
        async with serving(partner) as url:
            outbound = Outbound(allow_private=True)
            assert len((await outbound.post(url, b"", {})).body) == 64 * 1024
            await outbound.close()

    go(story)


# ---------------------------------------------------------------- webhook


def test_a_webhook_is_signed_and_repeats_its_key() -> None:
    async def story() -> None:
        partner, secret = Partner(), b"s" * 32
        async with serving(partner) as url:
            outbound = Outbound(allow_private=True)
            channel = WebhookChannel(outbound, secret=secret)
            for _ in range(2):
                assert (await channel.send(outgoing(address={"url": f"{url}/hook"}), KEY)).result is Result.ACCEPTED
            await outbound.close()
        assert {headers["idempotency-key"] for _, headers, _ in partner.got} == {KEY}
        _, headers, body = partner.got[0]
        given = {"timestamp": headers["x-tocsin-timestamp"], "body": body, "signed": headers["x-tocsin-signature"]}
        now = float(given["timestamp"])
        assert verify(secret, now=now, **given)
        assert not verify(secret, now=now + 301, **given)
        assert not verify(b"x" * 32, now=now, **given)
        assert not verify(secret, now=now, **{**given, "body": body + b" "})
        assert not verify(secret, now=now, **{**given, "timestamp": str(int(now) + 1)})
        assert not verify(secret, now=now, **{**given, "timestamp": "soon"})
        assert structure.check(json.loads(body)["cap"].encode()) == []
        assert secret.decode() not in str(partner.got)

    go(story)


# ---------------------------------------------------------------- e-mail


class Mailbox:
    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # aiosmtpd's name
        self.mails.append(envelope)
        return self.answer


@contextlib.contextmanager
def smtp_server(mailbox: Mailbox) -> Any:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def test_an_email_has_no_way_to_grow_headers_and_keeps_its_id() -> None:
    mailbox = Mailbox()
    with smtp_server(mailbox) as port:
        channel = EmailChannel(host="127.0.0.1", port=port, sender="warnings@example.org", starttls=False)
        for _ in range(2):
            outcome = asyncio.run(channel.send(outgoing(address={"email": "a@example.org"}), KEY))
            assert outcome.result is Result.ACCEPTED
        mailbox.answer = "451 later"
        assert asyncio.run(channel.send(outgoing(address={"email": "a@example.org"}), KEY)).result is Result.RETRY
        mailbox.answer = "554 never"
        assert asyncio.run(channel.send(outgoing(address={"email": "a@example.org"}), KEY)).result is Result.REFUSED
    assert [one.rcpt_tos for one in mailbox.mails[:2]] == [["a@example.org"]] * 2
    text = mailbox.mails[0].content.decode()
    assert text.lower().count(f"message-id: <{KEY}@example.org>".lower()) == 1
    assert "\nBcc:" not in text
    assert "Subject: Leave Bcc: all@example.org" in text


def test_addresses_that_are_not_and_a_server_that_is_away() -> None:
    channel = EmailChannel(host="127.0.0.1", port=1, sender="w@example.org", starttls=False)
    for bad in ("", "a", "a@b\r\nBcc: c@d", "a@b,c@d", "a b@c", "<a@b>"):
        assert asyncio.run(channel.send(outgoing(address={"email": bad}), KEY)).result is Result.REFUSED
    assert asyncio.run(channel.send(outgoing(address={"email": "a@b.org"}), KEY)).result is Result.RETRY


def test_headers_are_one_line() -> None:
    assert one_line("a\r\nb\u2028c\x00d") == "a b c d"
    mail = compose(outgoing(), to="a@b.org", sender="x\r\nBcc: y@z <w@example.org>", idempotency_key=KEY)
    assert mail["Bcc"] is None


# ---------------------------------------------------------------- answers and the fake provider


def test_retry_after_is_read_in_both_forms_and_bounded() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_s({"retry-after": "12"}) == 12
    assert retry_after_s({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, now) == 30
    assert retry_after_s({"retry-after": "100000"}) == 300
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"retry-after": "-5"}) == 0
    assert outcome_of_status(204, {}).result is Result.ACCEPTED


def test_the_fake_provider_keeps_its_ledger_and_its_faults(tmp_path: Any) -> None:
    async def story() -> None:
        provider = FakeProvider(tmp_path / "ledger.sqlite", seed=1)
        async with serving(provider) as url:
            fake = FakeChannel(url, timeout_s=0.5)

            async def send(fault: str | None, key: str = KEY, *, honour: bool = True) -> Result:
                rates = {fault: 1.0} if fault else {}
                provider.faults.set({"rates": rates, "honour_keys": honour, "hang_s": 0.8, "slow_s": 0.01})
                return (await fake.send(outgoing(), key)).result

            assert await send("timeout") is Result.UNCERTAIN
            assert await send("500") is Result.RETRY
            assert await send("429") is Result.RETRY
            assert provider.ledger.summary()["sent"] == 0
            assert await send("reset") is Result.UNCERTAIN
            assert provider.ledger.summary()["sent"] == 1  # taken, though the answer broke
            assert await send(None) is Result.ACCEPTED
            assert await send("slow") is Result.ACCEPTED
            assert provider.ledger.summary() == {"sent": 1, "keys": 1, "duplicates": 0, "attempts": 6}
            assert await send("timeout_after", "other") is Result.UNCERTAIN
            assert await send(None, "other", honour=False) is Result.ACCEPTED
            assert provider.ledger.summary()["duplicates"] == 1
            async with httpx.AsyncClient() as client:
                assert (await client.put(f"{url}/faults", json={"rates": {"flood": 1}})).status_code == 422
                assert (await client.put(f"{url}/faults", json={"rates": {"500": 0.7, "429": 0.7}})).status_code == 422
                assert (await client.get(f"{url}/sent?after=1")).json()["sent"][0]["key"] == "other"
                assert (await client.post(f"{url}/send", content=b"x" * 300_000)).status_code == 413
                assert (await client.post(f"{url}/send", content=b"[]")).status_code == 422
                assert (await client.get(f"{url}/nowhere")).status_code == 404
            await fake.close()
            # nobody there: surely not accepted
            assert (await FakeChannel("http://127.0.0.1:1").send(outgoing(), KEY)).result is Result.RETRY
        provider.ledger.close()
        again = FakeProvider(tmp_path / "ledger.sqlite")
        assert again.ledger.summary()["sent"] == 3
        again.ledger.close()

    go(story)
    assert Faults().rates == {}


@pytest.mark.parametrize(
    ("result", "keyed", "level", "attempts", "state"),
    [
        (Result.ACCEPTED, True, Level.RED, 1, "accepted"),
        (Result.REFUSED, True, Level.RED, 1, "failed"),
        (Result.GONE, True, Level.RED, 1, "failed"),
        (Result.RETRY, False, Level.BLUE, 1, "queued"),
        (Result.RETRY, True, Level.RED, 30, "failed"),
        (Result.UNCERTAIN, True, Level.BLUE, 1, "uncertain"),
        (Result.UNCERTAIN, False, Level.RED, 1, "uncertain"),
        (Result.UNCERTAIN, False, Level.BLUE, 1, "uncertain"),
        (Result.UNCERTAIN, True, Level.RED, 30, "uncertain"),
    ],
)
def test_what_becomes_of_an_attempt(result: Result, keyed: bool, level: Level, attempts: int, state: str) -> None:
    from alerts.channels import Outcome

    got, wait_s = settle(Outcome(result=result), attempts=attempts, keyed=keyed, level=level)
    assert got == state
    tried_again = (
        result in (Result.RETRY, Result.UNCERTAIN)
        and attempts < 30
        and (keyed or level is Level.RED or result is Result.RETRY)
    )
    assert (wait_s < 120) == (tried_again or result is Result.ACCEPTED)


# ---------------------------------------------------------------- text messages and calls


def test_a_text_message_says_its_parts_and_repeats_its_key() -> None:
    text = Text(
        headline="h", description="d", instruction="i", sms="甲保险12:00：洪水红色预警。立即撤离。", timezone="UTC"
    )

    async def story() -> None:
        partner = Partner()
        outbound = Outbound(allow_private=True)
        async with serving(partner) as url:
            channel = SmsChannel(outbound, url=f"{url}/send", token="secret", sender="Tocsin", honours_keys=True)
            message = outgoing(channel="sms", language="zh", text=text, address={"phone": "+86 138-0013-8000"})
            assert (await channel.send(message, KEY)).result is Result.ACCEPTED
            partner.status = 410
            assert (await channel.send(message, KEY)).result is Result.REFUSED  # the gateway's address, not the phone's
            partner.status = 503
            assert (await channel.send(message, KEY)).result is Result.RETRY
            voice = VoiceChannel(outbound, url=f"{url}/call", token="secret", honours_keys=False)
            partner.status = 202
            assert (await voice.send(message, KEY)).result is Result.ACCEPTED
            for bad in ("", "110", "+0123456789", "+86; DROP", "tel:+8613800138000"):
                outcome = await channel.send(outgoing(channel="sms", address={"phone": bad}), KEY)
                assert outcome.result is Result.REFUSED
        await outbound.close()
        told = json.loads(partner.got[0][2])
        assert told["to"] == "+8613800138000"
        assert told["text"].startswith("甲保险12:00：洪水红色预警。立即撤离。")
        assert (told["alphabet"], told["parts"], told["reference"]) == ("ucs2", 1, KEY)
        assert "http" not in told["text"]
        assert partner.got[0][1]["idempotency-key"] == KEY
        assert partner.got[0][1]["authorization"] == "Bearer secret"
        call = json.loads(partner.got[3][2])
        assert call["keys"] == {"1": "safe", "2": "help"}
        assert call["language"] == "zh"
        assert len(partner.got) == 4  # bad numbers were not handed to anybody

    go(story)


def test_a_text_message_in_gsm7_carries_the_link() -> None:
    async def story() -> None:
        partner = Partner()
        outbound = Outbound(allow_private=True)
        async with serving(partner) as url:
            channel = SmsChannel(outbound, url=url, token="", sender="T", honours_keys=False)
            text = Text(
                headline="h", description="d", instruction="i", sms="Flood RED, Kelani. LEAVE NOW.", timezone="UTC"
            )
            await channel.send(outgoing(channel="sms", text=text, address={"phone": "+14155550100"}), KEY)
        await outbound.close()
        told = json.loads(partner.got[0][2])
        assert told["text"].endswith("http://here/now#t=x")
        assert "Leave by 06:30" in told["text"]

    go(story)


# ---------------------------------------------------------------- the processes that encrypt


def test_encryption_goes_on_in_a_new_process_when_one_dies() -> None:
    import os
    import signal

    from alerts.channels.webpush import Encrypter

    browser = Browser()

    async def story() -> None:
        encrypter = Encrypter(1)
        sub = {"endpoint": "https://push.example.org/x", "keys": browser.keys}
        first = await encrypter.encrypt(sub, b'"one"')
        assert browser.read(first) == "one"
        assert encrypter._pool is not None
        (pid,) = encrypter._pool._processes
        assert pid != os.getpid()  # not on the sending path
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.5)  # until the pool has noticed
        with pytest.raises(BrokenProcessPool):
            await encrypter.encrypt(sub, b"two")
        assert browser.read(await encrypter.encrypt(sub, b'"three"')) == "three"
        await encrypter.close()

    go(story)
