"""Listens to the broker: messages wait, unacknowledged, until the caller has kept them.

MQTT 5 with a session that outlives this process (stable client id, no clean start), at most two batches in flight, and
manual acknowledgement. paho's thread does nothing but put messages in the inbox. Brokers that know only MQTT 3.1.1 are
spoken to in that.
"""

import asyncio
import contextlib
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from core.errors import Unavailable
from core.log import get_logger

log = get_logger("mqtt")

#: Observations of every tenant.
TOPIC = "tocsin/v1/+/obs/#"

_ENDS_STEP = b'"end":true'


class BrokerUnavailable(Unavailable):
    """The message broker does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLogin:
    """Where the broker is and who we are to it."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = None
    tls_ca: str | None = None
    session_expiry_s: int = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message that waits for its acknowledgement."""

    mid: int
    connection: int  #: which connection brought it: on another one its id means something else
    topic: str
    body: bytes
    received_ns: int  #: wall time


class Inbox:
    """Messages between paho's thread and the asyncio loop that keeps them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: deque[Delivered] = deque()
        self._arrived = asyncio.Event()
        self._rung = False

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Delivered) -> None:
        """Called by paho's thread."""
        self._messages.append(message)
        if not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: this process is ending
                self._loop.call_soon_threadsafe(self._arrived.set)

    def drop_before(self, connection: int) -> int:
        """Forgets what older connections brought: the broker delivers it again on the new one."""
        n = 0
        while self._messages and self._messages[0].connection < connection:
            self._messages.popleft()
            n += 1
        return n

    async def take(self, n: int, *, max_bytes: int, wait_s: float, steps: bool) -> list[Delivered]:
        """Up to `n` messages, as soon as there are so many or `wait_s` after the first came.

        `steps`: a message that ends a replay's step ends the batch too.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        batch: list[Delivered] = []
        n_bytes = 0
        while True:
            while self._messages and len(batch) < n and n_bytes < max_bytes:
                message = self._messages.popleft()
                batch.append(message)
                n_bytes += len(message.body)
                if steps and message.body.startswith(b'{"replay"') and _ENDS_STEP in message.body[:96]:
                    return batch
            if len(batch) >= n or n_bytes >= max_bytes:
                return batch
            left = deadline - loop.time()
            if left <= 0:
                return batch
            self._arrived.clear()
            self._rung = False
            if self._messages:
                continue
            # Once something is there, sleeping in a few pieces beats being woken for every message.
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return batch
            if wait_s > 0.02:
                await asyncio.sleep(min(0.01, max(0.0, deadline - loop.time())))


class Listener:
    """One subscription that survives restarts of both ends."""

    def __init__(self, login: BrokerLogin, inbox: Inbox, *, receive_maximum: int) -> None:
        self._login = login
        self._inbox = inbox
        self._receive_maximum = min(65_535, receive_maximum)
        self._client: paho.Client | None = None
        self._version: Literal[4, 5] = 5
        self._lock = threading.Lock()
        self.connection = 0
        self.connected = False
        self.disconnected_at = time.monotonic()
        self.n_received = 0
        self._told_refusal = False

    async def start(self, stop: asyncio.Event) -> bool:
        """Finds out what the broker speaks and begins; waits for one that is not there. False: stopped meanwhile."""
        told = False
        while not stop.is_set():
            try:
                self._version = await asyncio.to_thread(speaks, self._login)
                break
            except BrokerUnavailable as error:
                if not told:
                    log.warning("waiting for the message broker", why=str(error))
                    told = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.5)
        if stop.is_set():
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        login = self._login
        options: dict[str, Any] = {"clean_session": False} if self._version == 4 else {}
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id,
            protocol=paho.MQTTv5 if self._version == 5 else paho.MQTTv311,
            manual_ack=True,
            **options,
        )
        if login.username is not None:
            client.username_pw_set(login.username, login.password)
        if login.tls_ca is not None:
            client.tls_set(ca_certs=login.tls_ca, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        self._client = client
        if self._version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = login.session_expiry_s
            properties.ReceiveMaximum = self._receive_maximum
            client.connect_async(login.host, login.port, keepalive=30, clean_start=False, properties=properties)
        else:
            client.connect_async(login.host, login.port, keepalive=30)
        client.loop_start()

    def _on_connect(self, client: paho.Client, _data: object, flags: Any, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            if not self._told_refusal:
                log.error("the message broker refuses us", why=str(reason))
                self._told_refusal = True
            return
        self._told_refusal = False
        self.connection += 1
        if flags.session_present:
            n = self._inbox.drop_before(self.connection) if self._version == 5 else 0
            log.info("connected to the broker; the session goes on", again=n)
        else:
            if self._version == 5:
                client.subscribe(TOPIC, options=SubscribeOptions(qos=1, retainHandling=2))
            else:
                client.subscribe(TOPIC, qos=1)
            log.info("connected to the broker; a new session")
        self.connected = True

    def _on_disconnect(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if self.connected:
            self.disconnected_at = time.monotonic()
            log.warning("the connection to the broker is gone", why=str(reason))
        self.connected = False

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.n_received += 1
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "?"
        self._inbox.put(Delivered(message.mid, self.connection, topic, bytes(message.payload), time.time_ns()))

    def acknowledge(self, messages: Sequence[Delivered]) -> None:
        """Tells the broker that these are kept. Those that an older connection brought come again."""
        client, now = self._client, self.connection
        if client is None:
            return
        for message in messages:
            if message.connection == now:
                client.ack(message.mid, 1)

    def stop(self) -> None:
        """Says goodbye; what is not acknowledged stays with the broker."""
        if self._client is not None:
            # Acknowledgements go out through paho's own queue: let it empty before the goodbye.
            deadline = time.monotonic() + 2.0
            while self.connected and self._client.want_write() and time.monotonic() < deadline:
                time.sleep(0.01)
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None


def speaks(login: BrokerLogin) -> Literal[4, 5]:
    """The newest MQTT version that the broker takes; raises BrokerUnavailable.

    One CONNECT of version 5 (MQTT 5, section 3.1) under a name of its own. A broker of version 3.1.1 refuses it, hangs
    up or says nothing; it is then asked in its own version.
    """
    if login.tls_ca is not None:
        return 5  # only brokers of our own choosing are reached by TLS
    answer = _answer(login, 5)
    # CONNACK of version 5 has a property length after its reason code, so it is at least three bytes long.
    if len(answer) >= 5 and answer[0] == 0x20 and answer[1] >= 3 and answer[3] != 0x84:
        return 5
    answer = _answer(login, 4)
    if len(answer) >= 4 and answer[0] == 0x20:
        return 4
    raise BrokerUnavailable("What listens there does not answer as a message broker.", host=login.host, port=login.port)


def _answer(login: BrokerLogin, version: Literal[4, 5]) -> bytes:
    """What the broker says to a CONNECT of this version; nothing where it hangs up or is silent for 2 s."""

    def text(value: str) -> bytes:
        raw = value.encode()
        return len(raw).to_bytes(2, "big") + raw

    flags = 0x02 | (0x80 if login.username is not None else 0) | (0x40 if login.password is not None else 0)
    body = text("MQTT") + bytes([version, flags]) + (10).to_bytes(2, "big") + (b"\0" if version == 5 else b"")
    body += text(f"probe-{secrets.token_hex(4)}")
    body += b"" if login.username is None else text(login.username)
    body += b"" if login.password is None else text(login.password)
    try:
        conn = socket.create_connection((login.host, login.port), timeout=3)
    except OSError as error:
        raise BrokerUnavailable(host=login.host, port=login.port, why=str(error)) from error
    with conn:
        conn.settimeout(2)
        try:
            conn.sendall(bytes([0x10]) + _length(len(body)) + body)
            answer = conn.recv(64)
        except OSError:
            return b""
        with contextlib.suppress(OSError):
            conn.sendall(bytes([0xE0, 0]))
    return answer


def _length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(out)
