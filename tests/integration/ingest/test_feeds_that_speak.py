"""Feeds that speak first, against a real broker: heard once turned on, without a restart, and no longer once off."""

import asyncio
import base64
import hashlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest import feeds, poll, subscribe
from ingest.accept import Acceptor
from ingest.outbound import Outbound
from ingest.take import Taker
from store.pool import AsyncConnection, connect_worker_async, role_pool
from tocsin import broker as brokers

HAS_MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
pytestmark = [pytest.mark.sql, pytest.mark.skipif(not HAS_MOSQUITTO, reason="mosquitto is not installed")]

TOPIC = "cache/a/wis2/int-example/data/core/weather/advisories-warnings"


def document(identifier: str) -> bytes:
    return f"""<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>{identifier}</identifier>
<sender>s@met.example</sender><sent>2026-03-01T11:00:00+00:00</sent><status>Actual</status><msgType>Alert</msgType>
<scope>Public</scope><info><category>Met</category><event>Flood</event><urgency>Immediate</urgency>
<severity>Severe</severity><certainty>Observed</certainty><area><areaDesc>x</areaDesc>
<polygon>7,80 7,81 8,81 8,80 7,80</polygon></area></info></alert>""".encode()


def note(n: int, identifier: str) -> bytes:
    """A notification that carries its data."""
    data = document(identifier)
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    return json.dumps({
        "id": f"31e9d66a-cd83-4174-9429-b932f1abe1{n:02d}", "type": "Feature", "geometry": None,
        "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"],
        "links": [{"rel": "canonical", "href": f"https://cache.example/{identifier}"}],
        "properties": {
            "data_id": identifier, "pubtime": "2026-03-01T11:00:00Z", "datetime": None,
            "integrity": {"method": "sha512", "value": digest},
            "content": {"encoding": "base64", "value": base64.b64encode(data).decode(), "size": len(data)},
        },
    }).encode()  # fmt: skip


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[brokers.Broker]:
    made = brokers.start(tmp_path / "broker", mosquitto="mosquitto")
    yield made
    made.stop()


@pytest.fixture
def say(broker: brokers.Broker) -> Iterator[Callable[[bytes], None]]:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(broker.username, broker.password)
    client.connect(broker.host, broker.port)
    client.loop_start()

    def publish(body: bytes) -> None:
        client.publish(TOPIC, body, qos=1).wait_for_publish(5)

    yield publish
    client.disconnect()
    client.loop_stop()


@asynccontextmanager
async def asking(url: str, *, private: bool = True) -> AsyncIterator[AsyncConnection]:
    """The process `feeds` at work, and a connection beside it."""
    stop, outbound = asyncio.Event(), Outbound(allow_private=private)
    async with role_pool(url, "tocsin_worker", size=2) as pool:
        task = asyncio.create_task(poll.run(pool, outbound, Taker(Acceptor(exercise=True)), stop))
        conn = await connect_worker_async(url)
        try:
            yield conn
        finally:
            await conn.close()
            stop.set()
            await asyncio.wait_for(task, 10)
            await outbound.close()


async def until(done: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not await done():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.05)


def test_a_feed_turned_on_later_is_heard_and_one_turned_off_is_not(
    postgres_url: str, broker: brokers.Broker, say: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "_LOOK_IDLE_S", 0.1)
    monkeypatch.setattr(poll, "_LOOK_EVERY_S", 0.1)

    async def story() -> list[Any]:
        async with asking(postgres_url) as conn:
            await conn.set_autocommit(True)

            async def kept() -> list[Any]:
                rows = await (await conn.execute("SELECT identifier FROM bulletin ORDER BY seen_at")).fetchall()
                return [row[0] for row in rows]

            async def is_(state: str) -> bool:
                return (await feeds.find(conn, "wis2"))[0].state == state

            await asyncio.sleep(0.3)  # it runs with nothing to hear
            options = {"username": broker.username, "password": broker.password, "hosts": ["cache.example"]}
            url = f"mqtt://{broker.host}:{broker.port}"
            await feeds.add(conn, code="wis2", kind="wis2", url=url, options=options | {"topics": ["nothing/here"]})
            await feeds.turn(conn, "wis2", on=True)
            await until(lambda: is_("up"))
            await asyncio.to_thread(say, note(1, "unheard"))

            # changed while on: the listener takes the new topics
            await feeds.add(conn, code="wis2", kind="wis2", url=url, options=options)

            async def heard(n: int, identifier: str) -> bool:
                await asyncio.to_thread(say, note(n, identifier))
                return identifier in await kept()

            await until(lambda: heard(2, "a1"))
            row = (await feeds.find(conn, "wis2"))[0]
            assert row.since is not None

            await feeds.turn(conn, "wis2", on=False)
            await asyncio.sleep(2.0)  # a listener ends within a second
            await asyncio.to_thread(say, note(3, "too-late"))
            await asyncio.sleep(0.5)
            return await kept()

    assert asyncio.run(story()) == ["a1"]


def test_the_state_and_age_of_a_feed_that_speaks_are_kept(
    postgres_url: str, broker: brokers.Broker, say: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "_LOOK_IDLE_S", 0.1)
    monkeypatch.setattr("ingest.subscribe._KEEP_EVERY_S", 0.1)

    async def story() -> None:
        async with asking(postgres_url) as conn:
            await conn.set_autocommit(True)
            options = {"username": broker.username, "password": broker.password, "hosts": ["cache.example"]}
            await feeds.add(
                conn, code="wis2", kind="wis2", url=f"mqtt://{broker.host}:{broker.port}", options=options
            )  # fmt: skip
            await feeds.turn(conn, "wis2", on=True)

            async def is_(state: str) -> bool:
                return (await feeds.find(conn, "wis2"))[0].state == state

            await until(lambda: is_("up"))
            assert (await feeds.find(conn, "wis2"))[0].answered_at is None  # connected, and nothing said yet
            await asyncio.to_thread(say, note(1, "a1"))

            async def answered() -> bool:
                return (await feeds.find(conn, "wis2"))[0].answered_at is not None

            await until(answered)
            await asyncio.to_thread(broker.stop)
            await until(lambda: is_("down"))

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "options", "state"),
    [
        ("wis2", {"hosts": ["cache.example"]}, "down"),
        ("wis2", {"hosts": ["cache.example"], "private": True}, "down"),  # others' warnings never come from inside
        ("sparkplug", {}, "down"),
        ("sparkplug", {"private": True}, "up"),
    ],
)
def test_a_broker_at_a_private_address_is_heard_only_where_it_is_our_own(
    postgres_url: str, broker: brokers.Broker, monkeypatch: pytest.MonkeyPatch, kind: str, options: Any, state: str
) -> None:
    monkeypatch.setattr(poll, "_LOOK_IDLE_S", 0.1)
    monkeypatch.setattr(subscribe, "_DIALS_S", 0.5)

    async def story() -> str:
        async with asking(postgres_url, private=False) as conn:
            await conn.set_autocommit(True)
            url = f"mqtt://localhost:{broker.port}"
            told = options | {"username": broker.username, "password": broker.password}
            await feeds.add(conn, code="one", kind=kind, url=url, options=told)
            await feeds.turn(conn, "one", on=True)

            async def settled() -> bool:
                return (await feeds.find(conn, "one"))[0].state == state

            await until(settled)
            return (await feeds.find(conn, "one"))[0].detail

    detail = asyncio.run(story())
    assert ("private" in detail) is (state == "down")
