"""Ingest against its peers in the same run: `python -m benchmarks.ingest`. Prints one line for each figure.

- messages/s through mosquitto with acknowledgement after commit, as a ratio to the same paho consumer without a
  database (bar 0.6);
- readings/s in SenML packs of 20, as a ratio to bare binary COPY of the same rows in batches of 5,000 (bar 0.35);
- p50 and p99 from publish to committed at 1,000 messages/s (bar 1 s).

The load waits in the broker before the clock starts, so that no publisher competes with the consumer. It is published
over a raw socket: a paho publisher is slower than the ingest it would measure.
"""

import asyncio
import json
import multiprocessing
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import SecretStr

from benchmarks.mqtt_load import Publisher
from core import log
from core.settings import MqttSettings, Settings
from ingest import repository
from ingest.batch import Accepted
from ingest.listen import Ingest
from ingest.mqtt import BrokerLogin, Delivered, Inbox, Listener
from ingest.station import Station
from store import embedded
from store.migrate import migrate
from store.pool import connect_worker_async
from tocsin import broker as brokers
from tocsin.services import _start_broker

N_STATIONS = 200
START_S = int(time.time()) - 60 * 86_400


def login_of(broker: brokers.Broker, client_id: str) -> BrokerLogin:
    return BrokerLogin(
        host=broker.host, port=broker.port, client_id=client_id, username=broker.username, password=broker.password
    )


def settings_of(home: Path, url: str, broker: brokers.Broker, client_id: str) -> Settings:
    return Settings(
        home=home,
        mode="exercise",
        database_worker_url=SecretStr(url),
        mqtt=MqttSettings(
            host=broker.host,
            port=broker.port,
            username=broker.username,
            password=SecretStr(broker.password),
            client_id=client_id,
        ),
    )


def single(i: int, offset_s: int = 0) -> tuple[str, bytes]:
    """One plain reading, as a gauge sends it."""
    station = i % N_STATIONS
    body = {"id": f"{offset_s}:{i}", "t": START_S + offset_s + i // N_STATIONS, "v": 1.0 + (i % 97) * 0.01, "u": "m"}
    return f"tocsin/v1/bench/obs/g{station}/level", json.dumps(body, separators=(",", ":")).encode()


def pack(i: int, offset_s: int) -> tuple[str, bytes]:
    """Twenty readings of one gauge in one SenML pack."""
    station, start = i % N_STATIONS, START_S + offset_s + (i // N_STATIONS) * 20
    records: list[dict[str, object]] = [{"bn": f"g{station}:", "bt": start, "bu": "m", "n": "level", "v": 1.0}]
    records += [{"n": "level", "t": k, "v": round(1.0 + (i * 7 + k) % 97 * 0.01, 2)} for k in range(1, 20)]
    return f"tocsin/v1/bench/obs/g{station}/level", json.dumps(records, separators=(",", ":")).encode()


async def subscribe_first(broker: brokers.Broker, client_id: str) -> None:
    """Leaves a session behind that the broker queues messages for."""
    listener = Listener(login_of(broker, client_id), Inbox(asyncio.get_running_loop()), receive_maximum=10_000)
    await listener.start(asyncio.Event())
    while not listener.connected:  # noqa: ASYNC110  paho tells it from another thread
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(listener.stop)


def end_session(broker: brokers.Broker, client_id: str) -> None:
    """Lets the broker forget a session: it would go on queueing, and saving, every message for it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.username_pw_set(broker.username, broker.password)
    client.connect(broker.host, broker.port, clean_start=True)
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.01)
    client.disconnect()
    client.loop_stop()


async def drain_without_database(broker: brokers.Broker, client_id: str, n: int) -> float:
    """Messages/s of the same consumer that acknowledges each batch as it comes and keeps nothing."""
    inbox = Inbox(asyncio.get_running_loop())
    listener = Listener(login_of(broker, client_id), inbox, receive_maximum=10_000)
    await listener.start(asyncio.Event())
    done, began = 0, 0.0
    while done < n:
        batch = await inbox.take(5000, max_bytes=4 * 1024**2, wait_s=0.25, steps=False)
        if batch:
            began = began or batch[0].received_ns / 1e9
            listener.acknowledge(batch)
            done += len(batch)
    seconds = time.time() - began
    await asyncio.to_thread(listener.stop)
    return n / seconds


async def drain_with_ingest(settings: Settings, n: int) -> float:
    """Messages/s of the ingest process, each acknowledged after its commit."""
    stop = asyncio.Event()
    done, began, ended = 0, 0.0, 0.0

    def on_batch(batch: Sequence[Delivered], _accepted: Accepted) -> None:
        nonlocal done, began, ended
        began = began or batch[0].received_ns / 1e9
        done += len(batch)
        ended = time.time()
        if done >= n:
            stop.set()

    process = Ingest(settings, on_batch=on_batch)
    await process.run(stop)
    assert process.counters.n_rejected == 0, "the load must be good"
    return n / (ended - began)


async def bare_copy(url: str, datastream_ids: Sequence[int], n_rows: int, since_s: int, batch: int = 5000) -> float:
    """Readings/s of binary COPY of packed buffers straight into the keyed table, a commit a batch."""
    conn = await connect_worker_async(url)
    rng = np.random.default_rng(1)
    buffers = []
    ds = np.array(datastream_ids, dtype=np.int64)
    for start in range(0, n_rows, batch):
        i = np.arange(start, start + batch)
        buffers.append(
            repository.copy_buffer(
                ds[i % len(ds)],
                (since_s + i // len(ds)) * 1_000_000,
                rng.normal(1.0, 0.1, batch),
                np.ones(batch, dtype=np.uint8),
                np.zeros(batch, dtype=np.int64),
                np.full(batch, time.time_ns() // 1000),
            )
        )
    began = time.perf_counter()
    for buffer in buffers:
        async with conn.transaction():
            await repository.copy_bytes(conn, "copy_observations", buffer)
    seconds = time.perf_counter() - began
    await conn.close()
    return n_rows / seconds


def publish_all(broker: tuple[str, int, str, str], messages: list[tuple[str, bytes]]) -> None:
    host, port, username, password = broker
    publisher = Publisher(host, port, username=username, password=password)
    publisher.publish(messages)
    publisher.close()


def _publish_timed(broker: tuple[str, int, str, str], n: int, rate: float) -> None:
    host, port, username, password = broker
    publisher = Publisher(host, port, username=username, password=password, client_id="timed")

    def messages() -> object:
        for i in range(n):
            now = time.time()
            body = {"id": f"t{i}", "t": round(now, 6), "v": 1.0 + i % 50 * 0.01}
            yield f"tocsin/v1/bench/obs/live{i % N_STATIONS}/level", json.dumps(body).encode()

    publisher.publish(messages(), rate_per_s=rate)  # type: ignore[arg-type]
    publisher.close()


async def latency(settings: Settings, broker: tuple[str, int, str, str], n: int, rate: float) -> list[float]:
    """Seconds from publish to committed of each message, while they come at `rate`."""
    stop = asyncio.Event()
    seconds: list[float] = []

    def on_batch(batch: Sequence[Delivered], _accepted: Accepted) -> None:
        now = time.time()
        seconds.extend(now - json.loads(each.body)["t"] for each in batch)
        if len(seconds) >= n:
            stop.set()

    process = Ingest(settings, on_batch=on_batch)
    running = asyncio.create_task(process.run(stop))
    while not process.is_listening:  # noqa: ASYNC110  paho tells it from another thread
        await asyncio.sleep(0.1)
    loading = multiprocessing.get_context("spawn").Process(target=_publish_timed, args=(broker, n, rate))
    loading.start()
    await running
    loading.join()
    return seconds[n // 10 :]  # the first tenth finds nothing in memory yet


async def measure(home: Path, url: str, broker: brokers.Broker, say: Callable[[str], None], n: int) -> None:
    """All three figures."""
    address = (broker.host, broker.port, broker.username, broker.password)
    conn = await connect_worker_async(url)
    tenant = await repository.add_tenant(conn, "bench", "bench")
    ids = []
    for i in range(N_STATIONS):
        # A second between readings: the creek's defaults would ask whether the gauge is stuck, as they should.
        station = Station(code=f"g{i}", name=f"g{i}", interval_s=1.0)
        ids.append((await repository.keep_station(conn, station, tenant))[1])
        # The latency is measured on gauges of their own: their clock is the wall, the others' readings are old.
        await repository.keep_station(conn, Station(code=f"live{i}", name=f"live{i}", interval_s=1.0), tenant)
    await conn.close()

    seconds = sorted(await latency(settings_of(home, url, broker, "latency"), address, 15_000, 1000.0))
    p50, p99 = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    say(f"publish to committed at 1,000 msg/s: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms (bar 1,000 ms)")
    end_session(broker, "latency")

    ratios, rates = [], []
    for turn in range(3):
        await subscribe_first(broker, f"bare-{turn}")
        await subscribe_first(broker, f"ours-{turn}")
        publish_all(address, [single(i, turn * 100_000) for i in range(n)])
        bare = await drain_without_database(broker, f"bare-{turn}", n)
        ours = await drain_with_ingest(settings_of(home, url, broker, f"ours-{turn}"), n)
        for name in ("bare", "ours"):
            end_session(broker, f"{name}-{turn}")
        ratios.append(ours / bare)
        rates.append((ours, bare))
    ours, bare = max(rates)
    say(
        f"ingest, QoS 1, ack after commit: {ours:,.0f} msg/s, same paho consumer without database {bare:,.0f} msg/s, "
        f"ratio {statistics.median(ratios):.2f} (median of {len(ratios)}; bar 0.6)"
    )

    ratios, rates = [], []
    for turn in range(3):
        await subscribe_first(broker, f"packs-{turn}")
        publish_all(address, [pack(i, 1_000_000 + turn * 100_000) for i in range(n // 2)])
        n_rows = n // 2 * 20
        copied = await bare_copy(url, ids, n_rows, START_S - (turn + 1) * 86_400)
        ours = 20 * await drain_with_ingest(settings_of(home, url, broker, f"packs-{turn}"), n // 2)
        end_session(broker, f"packs-{turn}")
        ratios.append(ours / copied)
        rates.append((ours, copied))
    ours, copied = max(rates)
    say(
        f"ingest, SenML packs of 20: {ours:,.0f} readings/s, bare COPY of {5000:,} {copied:,.0f} readings/s, "
        f"ratio {statistics.median(ratios):.2f} (median of {len(ratios)}; bar 0.35)"
    )


def main(n: int = 40_000) -> None:
    """Starts a database and a broker of its own, measures, and ends them."""
    log.configure("error")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing that was started is left behind
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        home = Path(folder)
        with embedded.start(home) as server:
            migrate(server.url("exercise", "owner"), exercise=True)
            broker = _start_broker(home, None)
            try:
                asyncio.run(measure(home, server.url("exercise", "worker"), broker, print, n))
            finally:
                broker.stop()
        place = Path((home / "location").read_text().strip())
        if place != home:  # as root the state lies where an account without rights can reach it
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
