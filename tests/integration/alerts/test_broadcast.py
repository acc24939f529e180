"""Warnings for partners' machines over a real broker: retained while they are out, emptied by the all-clear."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import SecretStr

from alerts import broadcast
from alerts.level import level
from core.settings import MqttSettings
from ingest.cap.read import from_xml
from store import outbox
from store.clock import start_scenario
from store.pool import role_pool
from tocsin import broker as brokers

HAS_MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
pytestmark = [pytest.mark.sql, pytest.mark.skipif(not HAS_MOSQUITTO, reason="mosquitto is not installed")]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[brokers.Broker]:
    made = brokers.start(tmp_path / "broker", mosquitto="mosquitto")
    yield made
    made.stop()


def retained(broker: brokers.Broker, seconds: float = 1.0) -> dict[str, dict[str, Any]]:
    """What a partner's machine that comes now is told."""
    found: dict[str, dict[str, Any]] = {}
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(broker.username, broker.password)
    client.on_connect = lambda *_: client.subscribe("tocsin/v1/+/alert/#", qos=1)
    client.on_message = lambda _c, _d, said: found.update({said.topic: json.loads(said.payload)})
    client.connect(broker.host, broker.port)
    client.loop_start()
    time.sleep(seconds)
    client.disconnect()
    client.loop_stop()
    return found


@pytest.fixture
def spread(valley: Any, broker: brokers.Broker) -> Iterator[Callable[[], None]]:
    """Runs the consumer `broadcast` until it has no work left."""
    settings = MqttSettings(
        host=broker.host, port=broker.port, username=broker.username, password=SecretStr(broker.password)
    )
    broadcaster = broadcast.Broadcaster(settings)
    tell = broadcast.handler(broadcaster.publish, public_url="https://warn.example.org/", signer=None)

    async def work() -> None:
        stop = asyncio.Event()
        async with role_pool(valley.url, "tocsin_worker", size=2) as pool:
            task = asyncio.create_task(outbox.run(pool, "broadcast", tell, stop))
            deadline = time.monotonic() + 15
            left = "SELECT count(*) AS n FROM outbox WHERE consumer = 'broadcast'"
            while valley.rows(left)[0]["n"]:
                assert time.monotonic() < deadline, "the broker was not told in time"
                await asyncio.sleep(0.05)
            stop.set()
            await task

    yield lambda: asyncio.run(work())
    broadcaster.close()


def test_a_warning_is_retained_while_it_is_out_and_emptied_by_its_all_clear(
    valley: Any, broker: brokers.Broker, spread: Callable[[], None]
) -> None:
    async def rise(*minutes_and_levels: tuple[float, float]) -> None:
        if valley.rule is None:
            await valley.save_rule(automatic_ceiling=level("red"))
        for reading in minutes_and_levels:
            await valley.see(reading)

    start_scenario(valley.conn, at=valley.at(10), speed=1.0)  # this clock says what is still valid
    asyncio.run(rise((0.0, 2.0), (10.0, 3.2)))
    spread()
    ((topic, told),) = retained(broker).items()
    (first,) = valley.rows("SELECT * FROM warning")
    assert topic == f"tocsin/v1/kelani/alert/flood/{first['warning_id']}"
    assert (told["version"], told["level"], told["status"]) == (1, "yellow", "Exercise")
    assert told["link"] == f"https://warn.example.org/v1/warnings/{first['warning_id']}/1/cap.xml"
    assert from_xml(told["cap"].encode()).identifier == told["id"]

    asyncio.run(rise((20.0, 4.1), (30.0, 6.2)))
    spread()
    ((again, told),) = retained(broker).items()
    assert (again, told["version"], told["level"]) == (topic, 3, "red")  # one topic through the whole life

    asyncio.run(rise(*((minute, 2.0) for minute in range(40, 91, 10))))
    assert valley.warnings()[-1][3] == "all_clear"
    spread()
    assert retained(broker) == {}


def test_a_broker_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "_WAIT_S", 0.2)
    port = brokers.free_port()
    sender = broadcast.Broadcaster(MqttSettings(host="127.0.0.1", port=port))
    try:
        with pytest.raises(broadcast.BrokerSilent):
            sender.publish("tocsin/v1/kelani/alert/flood/x", b"{}", None)
    finally:
        sender.close()
