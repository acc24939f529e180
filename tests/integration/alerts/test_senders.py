"""Several senders over one outbox: what is planned in a burst is claimed in order, and `tocsin deliver --processes`."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from alerts import delivery_repository
from store import queries
from store.pool import connect_worker, role_pool
from store.queries import id_array
from tests.integration.alerts.test_deliver import KEY, ROOT, free_port, released

pytestmark = pytest.mark.sql


def test_a_claim_reads_in_order_of_risk_whatever_the_statistics_say(valley: Any) -> None:
    """Right after a burst the statistics know of no row; a claim that trusts them sorts all that is due."""
    asyncio.run(released(valley))
    sql = queries.load("alerts")
    values = {"worker": "w", "limit": 24, "lease_s": 30.0, "now": valley.at(12), "leaves": []}

    async def story() -> str:
        async with role_pool(valley.url, "tocsin_worker", size=1) as pool, pool.connection() as conn:
            async with conn.transaction(force_rollback=True):
                await conn.execute(sql["claim_in_order"])
                rows = await (await conn.execute("EXPLAIN " + sql["claim_deliveries"], values)).fetchall()
            return "\n".join(row[0] for row in rows)

    plan = asyncio.run(story())
    assert "delivery_due" in plan
    assert "Sort" not in plan


def test_a_sender_leaves_what_another_one_speaks_to(valley: Any) -> None:
    asyncio.run(released(valley))

    async def story() -> tuple[int, int]:
        async with role_pool(valley.url, "tocsin_worker", size=1) as pool, pool.connection() as conn:
            asked: dict[str, Any] = {"limit": 50, "lease_s": 30.0, "now": valley.at(12)}
            none = await delivery_repository.claim_deliveries(conn, worker="a", leaves=["fake"], **asked)
            some = await delivery_repository.claim_deliveries(conn, worker="b", leaves=["siren"], **asked)
            return len(none), len(some)

    none, some = asyncio.run(story())
    assert none == 0
    assert some > 0


N_MANY = 10_000


def many_people(valley: Any) -> dict[str, Any]:
    """A version to many people, all of them claimed a batch at a time, in tables whose statistics know of no row."""
    valley.conn.execute("ANALYZE")
    sent = asyncio.run(released(valley))
    values = {"id": sent["warning_id"], "tenant": valley.tenant_id, "n": N_MANY}
    for statement in (
        "INSERT INTO policyholder (policyholder_id, tenant_id, name)"
        " SELECT gen_random_uuid(), %(tenant)s, 'many' FROM generate_series(1, %(n)s)",
        "INSERT INTO contact_point (contact_point_id, tenant_id, policyholder_id, channel, address, consent_at)"
        " SELECT gen_random_uuid(), tenant_id, policyholder_id, 'web_push', '{}', now() FROM policyholder"
        " WHERE policyholder.name = 'many'",
        "INSERT INTO warning_recipient (tenant_id, warning_id, version, policyholder_id, channel, contact_point_id,"
        " language, priority) SELECT tenant_id, %(id)s, 1, policyholder_id, channel, contact_point_id, 'en', 100"
        " FROM contact_point JOIN policyholder USING (tenant_id, policyholder_id) WHERE policyholder.name = 'many'",
        "INSERT INTO delivery (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel,"
        " provider, exercise, state, available_at, queued_at, claimed_by)"
        " SELECT gen_random_uuid(), tenant_id, %(id)s, 1, policyholder_id, contact_point_id, channel, 'fake', exercise,"
        " 'claimed', now(), now(), 'w' FROM contact_point JOIN policyholder USING (tenant_id, policyholder_id),"
        " installation WHERE policyholder.name = 'many'",
    ):
        valley.conn.execute(statement, values)
    return sent


def rows_read(valley: Any, name: str, values: dict[str, Any]) -> float:
    """The most rows that any node of the plan of this statement looked at."""
    explain = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + queries.load("alerts")[name]
    with connect_worker(valley.url) as conn:
        ((plan,),) = conn.execute(explain.encode(), values).fetchall()

    def most(node: dict[str, Any]) -> float:
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
        here = (node["Actual Rows"] + removed) * node["Actual Loops"]
        return float(max([here, *(most(one) for one in node.get("Plans", ()))]))

    return most(plan[0]["Plan"])


def test_the_last_look_before_a_send_reads_what_was_claimed_and_not_the_whole_version(valley: Any) -> None:
    many_people(valley)
    claimed = [
        row["delivery_id"] for row in valley.rows("SELECT delivery_id FROM delivery WHERE claimed_by = 'w' LIMIT 24")
    ]
    values = {"delivery_ids": id_array(claimed), "worker": "w", "now": valley.at(12)}
    assert rows_read(valley, "still_wanted", values) <= 48


def test_what_was_claimed_is_held_back_once_it_is_over_or_replaced_and_is_nobody_elses(valley: Any) -> None:
    asyncio.run(released(valley))

    async def story() -> list[int]:
        async with role_pool(valley.url, "tocsin_worker", size=1) as pool, pool.connection() as conn:
            asked: dict[str, Any] = {"limit": 50, "lease_s": 30.0, "now": valley.at(12)}
            claimed = [one.delivery_id for one in await delivery_repository.claim_deliveries(conn, worker="w", **asked)]
            assert len(claimed) == 3
            mark = [delivery_repository.Settled(delivery_id=claimed[0], state="failed")]
            assert not await delivery_repository.settle_deliveries(conn, mark, worker="other", now=valley.at(12))
            assert [row["state"] for row in valley.rows("SELECT state FROM delivery")] == ["claimed"] * 3
            found = []
            for worker, minute in (("w", 12), ("other", 12), ("w", 24 * 60)):
                wanted = await delivery_repository.still_wanted(conn, claimed, worker, valley.at(minute))
                found.append(len(wanted))
            valley.conn.execute("UPDATE warning SET state = 'superseded'")
            found.append(len(await delivery_repository.still_wanted(conn, claimed, "w", valley.at(12))))
            return found

    assert asyncio.run(story()) == [3, 0, 0, 0]


def test_finding_whom_the_hazard_reaches_first_does_not_compare_all_with_all(valley: Any) -> None:
    sent = many_people(valley)
    values = {"warning_id": sent["warning_id"], "version": 1, "n_people": 600}
    assert rows_read(valley, "first_recipients", values) <= 2 * N_MANY


def senders_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [one for one in psutil.Process(process.pid).children() if "deliver" in one.cmdline()]
    return []


def wait_for(condition: Any, what: str, within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_two_processes_send_and_one_that_is_killed_is_started_again(valley: Any, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
        "TOCSIN_DATABASE_URL": valley.url,
        "TOCSIN_MODE": "exercise",
        "TOCSIN_HOME": str(tmp_path),
        "TOCSIN_SECRET_KEY": KEY,
        "TOCSIN_DELIVER__FAKE_URL": f"http://127.0.0.1:{free_port()}",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", "deliver", "--processes", "2"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        beat = tmp_path / "run" / "deliver-2.beat"
        wait_for(beat.exists, "the second sender never began")
        (first,) = senders_of(process)
        first.kill()
        wait_for(lambda: [one.pid for one in senders_of(process)] not in ([], [first.pid]), "it was not started again")
        (second,) = senders_of(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        wait_for(lambda: not second.is_running() or second.status() == psutil.STATUS_ZOMBIE, "a sender was left behind")
    finally:
        process.kill()
        process.wait()
