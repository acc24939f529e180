"""A tenant's fits in the store, taken by its quotes; and alarms of devices in force, found by the loop."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from core.ids import new_id
from core.settings import Settings
from ingest.batch import Message
from ingest.station import Station
from itops import bind, issuing, prevent, repository
from itops.fit_use import FitUse
from itops.underwrite import price_inputs, price_request, same
from store.pool import app_pool, connect_worker_async, tenant_transaction, worker_pool
from tests.integration.ingest.conftest import Bench
from tests.integration.itops.test_underwrite import FLEET, INCIDENTS, NOW, request, run
from tests.unit.itops.test_quote_fits import repair_fit, systems_fit
from tocsin.cli import app

pytestmark = pytest.mark.sql


def uses() -> list[FitUse]:
    fleet = FitUse(
        kind="fleet", device_class="server", unit="site", same_record=False, source="store", document=systems_fit()
    )
    repair = FitUse(
        kind="repair", device_class=None, unit=None, same_record=False, source="store", document=repair_fit()
    )
    return [fleet, repair]


def test_a_quote_takes_the_tenants_fits_and_comes_out_again(
    postgres_url: str, make_tenant: Callable[[str], UUID]
) -> None:
    tenant, other = make_tenant("t"), make_tenant("other")

    async def body() -> tuple[list[bool], list[FitUse], list[FitUse], list[FitUse], Any]:
        async with await connect_worker_async(postgres_url) as conn:
            kept = [await issuing.store_fit(conn, use, slug="t", now=NOW) for use in [*uses(), uses()[0]]]
            found = await repository.fitted_models(conn, tenant_id=tenant, as_of=date(2026, 1, 15))
            early = await repository.fitted_models(conn, tenant_id=tenant, as_of=date(2025, 1, 1))
            theirs = await repository.fitted_models(conn, tenant_id=other, as_of=date(2026, 1, 15))
            priced = price_request(request(), FLEET, INCIDENTS, found)
            stored = await issuing.issue_quote(conn, priced, tenant_id=tenant, now=NOW)
            again = await issuing.rerun_quote(conn, stored.quote_id)
            return kept, found, early, theirs, again

    kept, found, early, theirs, again = run(body())
    assert kept == [True, True, False]  # the same document again is the same fit
    assert [use.kind for use in found] == ["fleet", "repair"]
    assert early == theirs == []
    assert [(fit["kind"], fit["source"]) for fit in again.result["fits"]] == [("fleet", "store"), ("repair", "store")]
    assert same(price_inputs(again.submission).result(), again.result)


def test_a_fit_is_seen_by_its_tenant_only(
    postgres_url: str, settings: Settings, make_tenant: Callable[[str], UUID]
) -> None:
    tenant, other = make_tenant("t"), make_tenant("other")

    async def body() -> list[int]:
        async with await connect_worker_async(postgres_url) as conn:
            await issuing.store_fit(conn, uses()[0], slug="t", now=NOW)
        pool = app_pool(settings)
        await pool.open()
        out = []
        try:
            for one in (tenant, other):
                async with tenant_transaction(pool, one) as conn:
                    (n,) = await (await conn.execute("SELECT count(*) FROM fitted_model")).fetchone() or (0,)
                    out.append(n)
        finally:
            await pool.close()
        return out

    assert run(body()) == [1, 0]


def test_the_commands_keep_and_take_fits(postgres_url: str, tmp_path: Path, make_tenant: Callable[[str], UUID]) -> None:
    make_tenant("t")
    (tmp_path / "e.csv").write_text("system,started\nA,2024-02-03 10:00\nA,2025-02-03 10:00\nB,2025-05-05 10:00\n")
    (tmp_path / "x.csv").write_text("system,nodes,node_years\nA,10,40\nB,10,40\n")
    (tmp_path / "fleet.csv").write_text(FLEET)
    (tmp_path / "incidents.csv").write_text(INCIDENTS)
    (tmp_path / "s.json").write_text(json.dumps(request()))
    cli = CliRunner(env={"TOCSIN_HOME": str(tmp_path / "home"), "TOCSIN_DATABASE_URL": postgres_url})
    fit = ["fleet", "fit", "--events", str(tmp_path / "e.csv"), "--exposure", str(tmp_path / "x.csv"), "--out",
           str(tmp_path / "m.json"), "--store"]  # fmt: skip
    assert "--tenant" in cli.invoke(app, fit).output
    told = cli.invoke(app, [*fit, "--tenant", "t", "--device-class", "server", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["stored"] is True
    quoted = cli.invoke(app, ["quote", str(tmp_path / "s.json"), "--json", "--tenant", "t", "--store"])
    assert quoted.exit_code == 0, quoted.output
    result = json.loads(quoted.stdout)
    assert [(f["kind"], f["source"], f["n_unknown"]) for f in result["fits"]] == [("fleet", "store", 2)]
    again = cli.invoke(app, ["quote", "rerun", result["quote_id"], "--json"])
    assert json.loads(again.stdout)["premium"] == result["premium"]


DISKS = "asset_id,device_class,commissioned_on\na,server,2022-01-01\nsn-17,disk,2023-01-01\nsn-18,disk,2023-01-01\n"


def test_an_alarm_of_a_device_in_force_becomes_an_order_by_itself(postgres_url: str, settings: Settings) -> None:
    """What ingest keeps is found by the loop of the jobs process; nobody asks for it."""
    now = datetime.now(UTC)
    bench = Bench(postgres_url)
    bench.register(*[Station(code=code, name=code) for code in ("sn-17", "sn-18")], tenant="lk")

    def reading(code: str, value: float, ago_s: float) -> Message:
        at = now.timestamp() - ago_s
        body = json.dumps({"id": f"{code}-{ago_s}", "t": at, "v": value}).encode()
        return Message(f"tocsin/v1/lk/obs/{code}/smart_197", body, round(at * 1_000_000))

    bench.accept(reading("sn-17", 0, 600), reading("sn-18", 0, 600), flush=True)
    today = now.date()
    asked = request() | {
        "exposure_window": {"from": str(today - timedelta(days=800)), "to": str(today - timedelta(days=40))},
        "as_of": str(today - timedelta(days=30)),
        "policy_period": {
            "from": str(today - timedelta(days=10)), "to": str(today + timedelta(days=355)),
        },
    }  # fmt: skip
    asked["covers"][0]["affected_share"] = {"server": 0.3, "disk": 0.1}
    opened = f"{today - timedelta(days=400)} 10:00"
    incidents = f"asset_id,opened,restored\na,{opened},{opened[:-5]}18:00\n"
    ((tenant_id,),) = bench.rows("SELECT tenant_id FROM tenant WHERE slug = 'lk'")
    priced = price_request(asked, DISKS, incidents)

    async def store() -> UUID:
        async with await connect_worker_async(postgres_url) as conn:
            stored = await issuing.issue_quote(conn, priced, tenant_id=tenant_id, now=now - timedelta(days=29))
            return stored.quote_id

    async def bound(quote_id: UUID) -> None:
        async with await connect_worker_async(postgres_url) as conn, conn.transaction():
            before = now - timedelta(days=20)
            for name in ("Ann", "Bob"):
                person = bind.Person(principal_id=new_id(), name=name)
                await bind.act(conn, quote_id, action="approve", person=person, reason="seen", now=before)
            person = bind.Person(principal_id=new_id(), name="Cid")
            await bind.act(conn, quote_id, action="bind", person=person, reason="agreed", now=before, option="as_asked")

    async def look() -> int:
        pool = worker_pool(settings)
        await pool.open()
        try:
            return await prevent.look(pool)
        finally:
            await pool.close()

    async def orders(quote_id: UUID) -> list[dict[str, Any]]:
        async with await connect_worker_async(postgres_url) as conn:
            return await repository.work_orders_of(conn, quote_id)

    quote_id = run(store())
    bench.accept(reading("sn-17", 150, 300), flush=True)
    assert run(look()) == 0  # a quote that is not bound covers nobody
    run(bound(quote_id))
    assert run(look()) == 1
    assert run(look()) == 0  # the same alarm again is the same order
    (order,) = run(orders(quote_id))
    assert (order["asset_id"], order["signal"], order["action"], order["origin"]) == (
        "sn-17", "smart_197", "replace", "in_force",
    )  # fmt: skip
    assert order["premium_after"] < order["premium_before"]
    bench.accept(reading("sn-18", 9, 100), flush=True)
    assert run(look()) == 1
    assert len(run(orders(quote_id))) == 2

    async def close(of: dict[str, Any], state: str) -> None:
        async with await connect_worker_async(postgres_url) as conn, conn.transaction():
            await bind.close_order(
                conn,
                quote_id,
                of["work_order_id"],
                state=state,
                by="Ann",
                evidence="seen",
                now=now - timedelta(seconds=80),
            )

    # Done: what was read before the work is answered, what is read after it is a new alarm and a new order.
    open_orders = {item["asset_id"]: item for item in run(orders(quote_id))}
    run(close(open_orders["sn-17"], "done"))
    run(close(open_orders["sn-18"], "cancelled"))
    assert run(look()) == 0
    bench.accept(reading("sn-17", 0, 70), flush=True)  # the new disk is well: zero is a reading, and no alarm
    assert run(look()) == 0
    bench.accept(reading("sn-17", 130, 60), reading("sn-18", 9, 60), flush=True)
    assert run(look()) == 1  # of the cancelled one no worse was read
    assert run(look()) == 0
    bench.accept(reading("sn-18", 150, 50), flush=True)
    assert run(look()) == 1  # a worse reading than the one that was waved away
    told = [(o["asset_id"], o["state"], o["value"]) for o in run(orders(quote_id))]
    assert sorted(told) == [
        ("sn-17", "done", 150.0), ("sn-17", "open", 130.0), ("sn-18", "cancelled", 9.0), ("sn-18", "open", 150.0),
    ]  # fmt: skip


def test_the_loop_ends_when_it_is_told_to(postgres_url: str, settings: Settings) -> None:
    async def body() -> None:
        pool, stop = worker_pool(settings), asyncio.Event()
        await pool.open()
        try:
            task = asyncio.create_task(prevent.run(pool, stop, period_s=0.01))
            await asyncio.sleep(0.2)
            stop.set()
            await asyncio.wait_for(task, 10)
        finally:
            await pool.close()

    run(body())
