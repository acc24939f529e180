"""The ingest process against a real broker and database: nothing lost, nothing twice, whatever dies."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.mqtt_load import Publisher
from ingest.station import Station
from tests.faults import IngestProcess, TcpProxy
from tests.integration.ingest.conftest import START_S, Bench
from tocsin import broker as brokers

N_STATIONS = 20


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[brokers.Broker]:
    made = brokers.start(tmp_path / "broker")
    yield made
    made.stop()


@pytest.fixture
def gauges(postgres_url: str) -> Bench:
    made = Bench(postgres_url)
    made.register(*[Station(code=f"g{i}", name=f"g{i}", interval_s=1.0) for i in range(N_STATIONS)])
    return made


@pytest.fixture
def start(gauges: Bench, broker: brokers.Broker, tmp_path: Path) -> Iterator[Callable[..., IngestProcess]]:
    begun: list[IngestProcess] = []

    def make(**options: object) -> IngestProcess:
        process = IngestProcess(
            **{"url": gauges.url, "broker": broker, "home": tmp_path / "home", **options}  # type: ignore[arg-type]
        )
        begun.append(process)
        process.start()
        return process

    yield make
    for process in begun:
        process.end()


def message(i: int) -> tuple[str, bytes]:
    """The i-th reading of the load: a second after the other, from station to station."""
    body = {"id": f"m{i}", "t": START_S + i, "v": round(1.0 + (i % 13) * 0.01, 2)}
    return f"tocsin/v1/lk/obs/g{i % N_STATIONS}/level", json.dumps(body).encode()


def publisher(broker: brokers.Broker, port: int | None = None) -> Publisher:
    return Publisher("127.0.0.1", port or broker.port, username=broker.username, password=broker.password)


def wait_until(done: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def n_stored(bench: Bench) -> int:
    return int(bench.rows("SELECT count(*) FROM observation")[0][0])


def assert_exactly(bench: Bench, n: int) -> None:
    """The readings of messages 0 to n - 1 and no other, each once."""
    wait_until(lambda: n_stored(bench) >= n)
    rows = bench.rows("SELECT extract(epoch FROM observed_at)::bigint, value FROM observation ORDER BY 1")
    assert [row[0] for row in rows] == [START_S + i for i in range(n)]
    assert [row[1] for row in rows] == [round(1.0 + (i % 13) * 0.01, 2) for i in range(n)]
    assert bench.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_messages_become_rows_and_the_process_ends_cleanly(
    gauges: Bench, broker: brokers.Broker, start: Callable[..., IngestProcess]
) -> None:
    process = start()
    with_publisher = publisher(broker)
    with_publisher.publish(map(message, range(3000)))
    assert_exactly(gauges, 3000)
    wait_until(lambda: gauges.rows("SELECT count(*) FROM latest_observation") == [(N_STATIONS,)])
    # under load: what was published before and while it ends is there in the end
    loading = threading.Thread(target=lambda: with_publisher.publish(map(message, range(3000, 9000)), rate_per_s=6000))
    loading.start()
    time.sleep(0.4)
    code, seconds = process.stop()
    loading.join()
    assert code == 0
    assert seconds < 15
    process.start()
    assert_exactly(gauges, 9000)
    with_publisher.close()


def test_kill_9_of_the_worker_loses_and_doubles_nothing(
    gauges: Bench, broker: brokers.Broker, start: Callable[..., IngestProcess]
) -> None:
    process = start()
    n = 12_000
    with_publisher = publisher(broker)
    loading = threading.Thread(target=lambda: with_publisher.publish(map(message, range(n)), rate_per_s=3000))
    loading.start()
    for _ in range(3):
        time.sleep(0.7)
        process.kill()
        process.start()
    loading.join()
    assert_exactly(gauges, n)


def test_a_cut_connection_to_the_broker_loses_and_doubles_nothing(
    gauges: Bench, broker: brokers.Broker, start: Callable[..., IngestProcess]
) -> None:
    n = 8000
    with TcpProxy("127.0.0.1", broker.port) as proxy:
        process = start(broker_port=proxy.port)
        with_publisher = publisher(broker)
        loading = threading.Thread(target=lambda: with_publisher.publish(map(message, range(n)), rate_per_s=2000))
        loading.start()
        for cut in range(1, 4):
            time.sleep(0.3)
            proxy.cut()
            wait_until(lambda n=cut: process.log.read_text().count("the session goes on") >= n)  # type: ignore[misc]
        loading.join()
        assert_exactly(gauges, n)
        assert proxy.n_connections >= 4
        assert process.log.read_text().count("the session goes on") >= 3


def db_proxy(url: str) -> tuple[TcpProxy, str]:
    told = psycopg.conninfo.conninfo_to_dict(url)
    proxy = TcpProxy(str(told["host"]), int(told["port"] or 5432))
    return proxy, psycopg.conninfo.make_conninfo(url, host="127.0.0.1", port=proxy.port)


def test_while_the_database_is_away_messages_go_to_the_spool_and_are_acknowledged(
    gauges: Bench, broker: brokers.Broker, start: Callable[..., IngestProcess], tmp_path: Path
) -> None:
    proxy, url = db_proxy(gauges.url)
    with proxy:
        process = start(url=url)
        with_publisher = publisher(broker)
        with_publisher.publish(map(message, range(1000)))
        assert_exactly(gauges, 1000)
        proxy.go_away()
        with_publisher.publish(map(message, range(1000, 25_000)), rate_per_s=6000)
        spool = tmp_path / "home" / "spool"
        wait_until(lambda: sum(f.stat().st_size for f in spool.glob("*.spool")) > 24_000 * 60)
        assert n_stored(gauges) == 1000
        assert process.rss_mib() < 512
        # what is spooled outlives the process
        process.kill()
        process.start(wait=True)
        with_publisher.publish(map(message, range(25_000, 26_000)))
        proxy.come_back()
        assert_exactly(gauges, 26_000)
        wait_until(lambda: not list(spool.glob("*.spool")))


def test_a_database_that_comes_and_goes_loses_and_doubles_nothing(
    gauges: Bench, broker: brokers.Broker, start: Callable[..., IngestProcess]
) -> None:
    proxy, url = db_proxy(gauges.url)
    n = 10_000
    with proxy:
        start(url=url)
        with_publisher = publisher(broker)
        loading = threading.Thread(target=lambda: with_publisher.publish(map(message, range(n)), rate_per_s=2500))
        loading.start()
        for _ in range(4):
            time.sleep(0.8)
            proxy.cut()
        loading.join()
        assert_exactly(gauges, n)


def test_a_full_spool_stops_acknowledging_and_loses_nothing(
    gauges: Bench, broker: brokers.Broker, start: Callable[..., IngestProcess]
) -> None:
    proxy, url = db_proxy(gauges.url)
    n = 30_000
    with proxy:
        process = start(url=url, TOCSIN_INGEST__SPOOL_MAX_BYTES=str(1024**2))
        proxy.go_away()
        publisher(broker).publish(map(message, range(n)))
        wait_until(lambda: "nothing more is acknowledged" in process.log.read_text())
        assert process.rss_mib() < 512
        proxy.come_back()
        assert_exactly(gauges, n)


def test_poison_among_good_messages_goes_to_quarantine_and_stops_nobody(
    gauges: Bench, broker: brokers.Broker, start: Callable[..., IngestProcess]
) -> None:
    poisons = [
        b'{"v":NaN,"t":1763942400}',
        b'{"v":' + b"[" * 20_000,
        b'{"v":1,"v":2,"t":1763942400}',
        b'{"v":1,"t":1763942400,"id":"\xff\xfe"}',
        b"\x00\x01\x02",
        b"[]",
        b'[{"n":"level","v":true}]',
        b'{"v":1e999,"t":1763942400}',
        b'{"v":1,"t":9e15}',
        b"{" + b" " * 60_000 + b"}",
    ]
    start()
    good = 3000
    load = []
    for i in range(good):
        load.append(message(i))
        if i % 10 == 0:
            load.append((message(i)[0], poisons[i // 10 % len(poisons)]))
    publisher(broker).publish(load)
    wait_until(lambda: n_stored(gauges) == good)
    wait_until(lambda: gauges.rows("SELECT coalesce(sum(n_seen), 0)::int FROM quarantine") == [(300,)])
    reasons = {row[0] for row in gauges.rows("SELECT DISTINCT reason FROM quarantine")}
    assert {"not_finite", "too_deep", "duplicate_key", "bad_utf8", "bad_json", "bad_senml", "bad_time"} <= reasons


def test_a_broker_that_knows_only_mqtt_3_1_1_is_spoken_to_in_that(gauges: Bench, tmp_path: Path) -> None:
    broker = brokers.start(tmp_path / "amqtt", mosquitto=None)
    assert broker.kind == "amqtt"
    process = IngestProcess(url=gauges.url, broker=broker, home=tmp_path / "home")
    try:
        process.start()
        publisher(broker).publish(map(message, range(500)), rate_per_s=500)
        assert_exactly(gauges, 500)
        assert process.stop()[0] == 0
    finally:
        process.end()
        broker.stop()


def test_without_a_broker_setting_it_says_so_and_ends(gauges: Bench, tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
    done = subprocess.run(
        [sys.executable, "-m", "tocsin", "ingest"],
        env={**env, "TOCSIN_DATABASE_URL": gauges.url, "TOCSIN_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "TOCSIN_MQTT__HOST" in done.stderr.strip().splitlines()[-1]


def test_a_broker_that_is_not_there_yet_is_waited_for(gauges: Bench, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "broker").mkdir()
    broker: brokers.Broker | None = None
    fake = brokers.Broker(kind="none", host="127.0.0.1", port=port, username="x", password="x", process=None)  # type: ignore[arg-type]
    process = IngestProcess(url=gauges.url, broker=fake, home=tmp_path / "home")
    try:
        process.start(wait=False)
        wait_until(lambda: "waiting for the message broker" in process.log.read_text())
        code, _ = process.stop()
        assert code == 0
    finally:
        process.end()
        if broker is not None:
            broker.stop()
