"""Feeds that speak first: WIS2 notifications, Sparkplug B and SensorThings over MQTT, from brokers of others.

Messages wait in a bounded queue; what does not fit is dropped and counted, and the hole that this leaves makes a
Sparkplug node give birth again. A WIS2 notification counts once, its data by their hash, from hosts of an allow-list.
"""

import asyncio
import contextlib
import hashlib
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from core.clock import Clock
from core.errors import InvalidInput
from core.ids import new_id
from core.log import get_logger
from core.units import QUANTITIES
from ingest import repository
from ingest.feeds import FeedRow
from ingest.outbound import AddressRefused, checked
from ingest.take import Fetch, Taken, Taker
from ingest.weather import sensorthings, sparkplug, wis2
from ingest.weather.items import Measured
from store.pool import AsyncConnection, Pool

log = get_logger("feeds")

#: kind -> topics where the feed's option `topics` names none
TOPICS: Mapping[str, tuple[str, ...]] = {
    "wis2": wis2.TOPICS,
    "sparkplug": ("spBv1.0/#",),
    "sensorthings_mqtt": ("v1.1/Datastreams/+/Observations", "v1.1/Observations"),
}
#: kinds whose broker may be our own, at a private address: sensors, not others' warnings
OWN = frozenset({"sparkplug", "sensorthings_mqtt"})
_QUEUE = 10_000
_REMEMBERED = 50_000
_MAX_BYTES = 64 * 1024
_KEEP_EVERY_S = 5.0
_DIALS_S = 10.0


class Ear:
    """Understands the messages of one feed, in order."""

    def __init__(self, feed: FeedRow, taker: Taker, fetch: Fetch) -> None:
        self.feed = feed
        self._taker, self._fetch = taker, fetch
        self._nodes = sparkplug.Nodes()
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def hear(self, conn: AsyncConnection, topic: str, body: bytes, now: datetime) -> tuple[Taken, str | None]:
        """What a message brought, and the topic on which a rebirth has to be asked for; raises BadFeed."""
        taken = Taken()
        if self.feed.kind == "sparkplug":
            return taken, await self._sparkplug(conn, topic, body, now, taken)
        if self.feed.kind == "sensorthings_mqtt":
            known = {
                str(key): sensorthings.Datastream(**value)
                for key, value in (self.feed.options.get("datastreams") or {}).items()
            }
            await self._taker.readings(conn, self.feed, sensorthings.parse(body, known, topic=topic), now, taken)
            return taken, None
        await self._wis2(conn, body, now, taken)
        return taken, None

    async def _sparkplug(
        self, conn: AsyncConnection, topic: str, body: bytes, now: datetime, taken: Taken
    ) -> str | None:
        told = sparkplug.Topic.parse(topic)
        heard = self._nodes.hear(told, sparkplug.decode(body))
        units: Mapping[str, str] = self.feed.options.get("units") or {}
        names: Mapping[str, str] = self.feed.options.get("quantities") or {}
        readings = []
        for metric in heard.metrics:
            quantity = names.get(metric.name or "", metric.name or "")
            if quantity not in QUANTITIES or metric.at is None or isinstance(metric.value, bool | str):
                continue
            readings.append(
                Measured(
                    code=told.device or told.node, quantity=quantity, observed_at=metric.at,
                    unit=units.get(quantity, QUANTITIES[quantity].unit), value=metric.value,
                    note="historical" if metric.historical else "",
                )
            )  # fmt: skip
        await self._taker.readings(conn, self.feed, readings, now, taken)
        if heard.rebirth is None:
            return None
        log.warning("a Sparkplug node is asked for a rebirth", node=told.node, why=heard.rebirth)
        return f"spBv1.0/{told.group}/NCMD/{told.node}"

    async def _wis2(self, conn: AsyncConnection, body: bytes, now: datetime, taken: Taken) -> None:
        note = wis2.parse(body)
        if note.id in self._seen:
            return
        self._seen[note.id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if note.rel == "deletion":
            return  # data that were taken stay; a CAP message is withdrawn by a Cancel
        hosts = [str(one).lower() for one in self.feed.options.get("hosts") or ()]
        data = note.content
        if data is None:
            data = await self._fetch(wis2.allowed(note.href, hosts))
        await self._taker.document(conn, self.feed, wis2.checked(note, data), note.href, now, taken)


def rebirth(now: datetime) -> bytes:
    """The command that asks a node for its birth: `Node Control/Rebirth` = true (Sparkplug 3.0, 6.4.13)."""
    name = b"Node Control/Rebirth"
    metric = bytes([0x0A, len(name)]) + name + bytes([0x20, 11, 0x70, 1])
    ms, stamp = int(now.timestamp() * 1000), bytearray([0x08])
    while ms >= 0x80:
        stamp.append(ms & 0x7F | 0x80)
        ms >>= 7
    stamp.append(ms)
    return bytes(stamp) + bytes([0x12, len(metric)]) + metric


class Dialler(paho.Client):
    """A client that connects to the addresses that were checked, and to no private one unless the feed says so."""

    def __init__(self, *, allow_private: bool, **more: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **more)
        self._private_too = allow_private
        self.refused: str | None = None  #: why the last connection was not even tried

    def _create_socket_connection(self) -> socket.socket:
        # the library's own place to make the connection; TLS and its name follow from the host as before
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        try:
            addresses = checked(self._host, [str(one[4][0]) for one in found], allow_private=self._private_too)
        except AddressRefused as error:
            self.refused = error.message
            raise ConnectionRefusedError(error.message) from error
        self.refused = None
        failed: OSError | None = None
        for address in addresses:
            try:
                return socket.create_connection((address, self._port), timeout=self._connect_timeout)
            except OSError as error:
                failed = error
        raise failed or OSError("the name has no address")


async def listen(
    pool: Pool, ear: Ear, stop: asyncio.Event, *, clock: Clock, allow_private: bool = False
) -> None:  # fmt: skip
    """Hears one feed's broker until `stop` is set; one log line when it goes and one when it is back.

    A broker at a private address is heard where the feed's option `private` says that it is one of our own.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_QUEUE)
    dropped = 0

    def put(topic: str, body: bytes) -> None:
        nonlocal dropped
        try:
            queue.put_nowait((topic, body))
        except asyncio.QueueFull:
            dropped += 1

    own = ear.feed.options.get("private") is True and ear.feed.kind in OWN
    client = _client(
        ear.feed,
        lambda topic, body: loop.call_soon_threadsafe(put, topic, body),
        allow_private=allow_private or own,
    )
    kept = Kept(ear.feed)
    try:
        while not stop.is_set():
            await kept.look(pool, client.is_connected(), clock.now(), why=client.refused)
            try:
                topic, body = await asyncio.wait_for(queue.get(), 1.0)
            except TimeoutError:
                continue
            if dropped:
                log.error("messages of a feed were dropped", feed=ear.feed.code, n=dropped)
                dropped = 0
            now = clock.now()
            kept.heard_at = now
            async with pool.connection() as conn:
                await conn.set_autocommit(True)
                try:
                    _, asked = await ear.hear(conn, topic, body, now)
                    if asked is not None:
                        client.publish(asked, rebirth(now), qos=0)
                except (InvalidInput, OSError) as error:
                    await _set_aside(conn, topic, body, str(error), now)
                finally:
                    await conn.set_autocommit(False)
    finally:
        client.disconnect()
        client.loop_stop()


class Kept:
    """How a feed that speaks first does, kept beside it: when that changes, and every few seconds while it speaks."""

    def __init__(self, feed: FeedRow) -> None:
        self.heard_at: datetime | None = None
        self._feed = feed
        self._state: str | None = None
        self._told_at: datetime | None = None

    async def look(self, pool: Pool, connected: bool, now: datetime, *, why: str | None = None) -> None:
        """Writes the state of the connection, and when something was last heard, where there is news."""
        state = "up" if connected else "down"
        if not connected and self._state is None:
            if self._told_at is None:
                self._told_at = now  # it is just being dialled
            if (now - self._told_at).total_seconds() < _DIALS_S:
                return
        fresh = self.heard_at is not None and (now - (self._told_at or now)).total_seconds() >= _KEEP_EVERY_S
        if state == self._state and not fresh:
            return
        async with pool.connection() as conn:
            await repository.execute(
                conn,
                "keep_heard",
                {
                    "feed_id": self._feed.feed_id, "state": state, "now": now, "answered_at": self.heard_at,
                    "detail": "connected" if connected else why or "its broker does not answer",
                },
            )  # fmt: skip
        self._state, self._told_at, self.heard_at = state, now, None


async def _set_aside(conn: AsyncConnection, topic: str, body: bytes, why: str, now: datetime) -> None:
    kept = body[:_MAX_BYTES]
    with contextlib.suppress(repository.AlreadyStored):
        await repository.execute(
            conn,
            "set_aside",
            {
                "quarantine_id": new_id(),
                "fingerprint": hashlib.sha256(b"\0".join((topic.encode(), b"feed", kept))).digest(),
                "topic": topic[:500], "payload": kept, "detail": why[:500], "now": now,
            },
        )  # fmt: skip


def _client(feed: FeedRow, put: Callable[[str, bytes], Any], *, allow_private: bool) -> Dialler:
    parts = urlsplit(feed.url)
    client = Dialler(allow_private=allow_private, client_id=f"tocsin-{feed.code}"[:60], clean_session=False)
    if feed.options.get("username"):
        client.username_pw_set(str(feed.options["username"]), feed.options.get("password"))
    if parts.scheme == "mqtts":
        client.tls_set(tls_version=ssl.PROTOCOL_TLS_CLIENT)
    topics = [(str(one), 1) for one in feed.options.get("topics") or TOPICS[feed.kind]]
    state = {"away": False}

    def connected(_client: paho.Client, _data: object, _flags: Any, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            return
        client.subscribe(topics)
        if state["away"]:
            log.info("a feed is back", feed=feed.code)
        state["away"] = False

    def gone(*_: Any) -> None:
        if not state["away"]:
            log.error("a feed went", feed=feed.code)
        state["away"] = True

    client.on_connect, client.on_disconnect = connected, gone
    client.on_message = lambda _c, _d, message: (
        put(message.topic, bytes(message.payload)) if len(message.payload) <= _MAX_BYTES else None
    )
    client.reconnect_delay_set(min_delay=1, max_delay=60)
    client.connect_async(parts.hostname or "", parts.port or (8883 if parts.scheme == "mqtts" else 1883), keepalive=30)
    client.loop_start()
    return client
