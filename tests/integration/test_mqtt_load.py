"""The load generator delivers each message, and again what a broken connection left unacknowledged."""

import shutil
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from benchmarks.mqtt_load import Publisher
from tocsin import broker as brokers

pytestmark = pytest.mark.skipif(
    not (shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")), reason="mosquitto is not installed"
)


def test_every_message_arrives_and_is_acknowledged(tmp_path: Path) -> None:
    running = brokers.start(tmp_path / "broker")
    got: set[bytes] = set()
    ready = threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="reader", protocol=mqtt.MQTTv5)
    client.username_pw_set(running.username, running.password)
    client.on_connect = lambda c, *_: c.subscribe("load/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, _u, m: got.add(m.payload)
    client.connect(running.host, running.port)
    client.loop_start()
    publisher = Publisher(running.host, running.port, username=running.username, password=running.password, window=500)
    try:
        assert ready.wait(10)
        acked: list[int] = []

        def messages() -> object:
            for n in range(3000):
                if n == 1500:  # cut the connection in the middle
                    assert publisher._socket is not None
                    publisher._socket.shutdown(2)
                yield f"load/{n % 7}", str(n).encode()

        load = publisher.publish(messages(), on_acked=acked.append)  # type: ignore[arg-type]
        assert load.n_messages == 3000
        assert load.n_reconnects == 1
        assert sorted(set(acked)) == list(range(3000))
        deadline = time.monotonic() + 20
        while len(got) < 3000 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(got) == 3000
    finally:
        publisher.close()
        client.loop_stop()
        client.disconnect()
        running.stop()
