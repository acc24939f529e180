"""A device's SMART values through the broker and the ingest process, to a work order on the quote that covers it."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.mqtt_load import Publisher
from ingest.station import Station
from itops import bind, issuing, repository, underwrite
from store.pool import connect_worker_async
from tests.faults import IngestProcess
from tests.integration.ingest.conftest import Bench
from tests.integration.itops.test_underwrite import request, run
from tocsin import broker as brokers

pytestmark = pytest.mark.sql

FLEET = "asset_id,device_class,commissioned_on\na,server,2022-01-01\nsn-17,disk,2023-01-01\nsn-18,disk,2023-01-01\n"
INCIDENTS = "asset_id,opened,restored\na,2024-05-01 10:00,2024-05-01 18:00\n"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[brokers.Broker]:
    made = brokers.start(tmp_path / "broker")
    yield made
    made.stop()


def test_smart_values_become_work_orders(postgres_url: str, broker: brokers.Broker, tmp_path: Path) -> None:
    bench = Bench(postgres_url)
    bench.register(*[Station(code=code, name=code) for code in ("sn-17", "sn-18")], tenant="lk")
    process = IngestProcess(url=postgres_url, broker=broker, home=tmp_path / "home")
    process.start()
    now = datetime.now(UTC)
    try:
        sender = Publisher("127.0.0.1", broker.port, username=broker.username, password=broker.password)
        sent = [
            ("sn-17", "smart_197", {"id": "1", "t": now.timestamp() - 60, "v": 150}),
            ("sn-17", "smart_5", {"id": "2", "t": now.timestamp() - 60, "v": 0}),
            ("sn-18", "smart_197", {"id": "3", "t": now.timestamp() - 60, "v": 0}),
            ("sn-18", "smart_5", {"id": "5", "t": now.timestamp() - 60, "v": None}),  # not reported: not zero
            ("sn-18", "inlet_temperature", {"id": "4", "t": now.timestamp() - 60, "v": 104, "u": "degF"}),
        ]
        sender.publish([(f"tocsin/v1/lk/obs/{code}/{name}", json.dumps(body).encode()) for code, name, body in sent])
        sender.close()
        deadline = time.monotonic() + 120
        with psycopg.connect(postgres_url, autocommit=True) as conn:
            while time.monotonic() < deadline:
                (n,) = conn.execute("SELECT count(*) FROM latest_observation").fetchone() or (0,)
                if n == 5:
                    break
                time.sleep(0.2)
            assert n == 5, (conn.execute("SELECT reason FROM quarantine").fetchall(), process.log.read_text()[-3000:])
            stored_values = {
                (code, quantity): value
                for code, quantity, value in conn.execute(
                    "SELECT s.code, d.quantity, l.value FROM latest_observation AS l JOIN datastream AS d USING (datastream_id)"
                    " JOIN station AS s USING (station_id)"
                )
            }
            assert stored_values["sn-18", "smart_5"] is None
            assert stored_values["sn-17", "smart_5"] == 0.0
            row = conn.execute("SELECT tenant_id FROM tenant WHERE slug = 'lk'").fetchone()
            assert row is not None
    finally:
        process.end()

    asked = request() | {"policy_period": {"from": "2199-01-01", "to": "2200-01-01"}}
    asked["covers"][0]["affected_share"] = {"server": 0.3, "disk": 0.1}

    async def body() -> tuple[int, int, list[dict[str, Any]]]:
        async with await connect_worker_async(postgres_url) as conn:
            priced = underwrite.price_request(asked, FLEET, INCIDENTS)
            stored = await issuing.issue_quote(conn, priced, tenant_id=row[0], now=now)
            async with conn.transaction():
                first = await bind.watch_alarms(conn, stored.quote_id, now=now)
            async with conn.transaction():
                second = await bind.watch_alarms(conn, stored.quote_id, now=now)
            return first, second, await repository.work_orders_of(conn, stored.quote_id)

    first, second, orders = run(body())
    assert (first, second) == (2, 0)  # reading the same telemetry twice opens nothing twice
    assert [(o["asset_id"], o["signal"], o["action"], o["origin"]) for o in orders] == [
        ("sn-17", "smart_197", "replace", "in_force"),
        ("sn-18", "inlet_temperature", "inspect", "in_force"),
    ]
    assert orders[1]["value"] == pytest.approx(40.0)  # degrees Fahrenheit were turned once, on the way in
    assert orders[0]["premium_after"] < orders[0]["premium_before"]
