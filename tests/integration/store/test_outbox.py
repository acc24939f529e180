"""Work is done once, in order, and never lost."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from core.errors import Unavailable
from core.events import FootprintPublished, ObservationsStored, WarningChanged, WarningReleased
from core.ids import new_id
from core.settings import Settings
from store import outbox
from store.outbox import LeaseLost, Work
from store.pool import AsyncConnection, Pool, app_pool, connect_worker_async, tenant_transaction, worker_pool

SyncConnection = psycopg.Connection[tuple[Any, ...]]


@asynccontextmanager
async def opened(pool: Pool) -> AsyncIterator[Pool]:
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


def publish(conn: SyncConnection, key: str, n: int = 1) -> None:
    for _ in range(n):
        outbox.publish_sync(conn, WarningReleased(warning_id=new_id(), version=1), ordering_key=key)


def on_worker(url: str, check: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    async def go() -> None:
        async with await connect_worker_async(url) as conn:
            await check(conn)

    asyncio.run(go())


async def claim(conn: AsyncConnection, worker: str = "w", limit: int = 10, lease_s: float = 60) -> list[Work]:
    return await outbox.claim(conn, "deliver", worker=worker, limit=limit, lease_s=lease_s)


def test_every_subscriber_gets_a_row_and_the_event_comes_back(postgres_url: str, worker: SyncConnection) -> None:
    event = FootprintPublished(footprint_id=new_id())
    outbox.publish_sync(worker, event, ordering_key="footprint")

    async def check(conn: AsyncConnection) -> None:
        for consumer in ("assess", "plan"):
            (work,) = await outbox.claim(conn, consumer, worker="w", limit=10, lease_s=60)
            assert outbox.decode(work) == event

    on_worker(postgres_url, check)


def test_times_come_back_aware(postgres_url: str, worker: SyncConnection) -> None:
    now = worker.execute("SELECT now()").fetchone()
    assert now is not None
    event = ObservationsStored(
        datastream_ids=[1, 2], observed_from=now[0], observed_until=now[0], received_until=now[0]
    )
    outbox.publish_sync(worker, event, ordering_key="ingest")

    async def check(conn: AsyncConnection) -> None:
        (work,) = await outbox.claim(conn, "watch", worker="w", limit=1, lease_s=60)
        assert outbox.decode(work) == event

    on_worker(postgres_url, check)


def test_a_fact_that_rolls_back_was_never_told(postgres_url: str, worker: SyncConnection) -> None:
    with worker.transaction():
        publish(worker, "k")
        raise psycopg.Rollback
    assert worker.execute("SELECT count(*) FROM outbox WHERE consumer = 'deliver'").fetchone() == (0,)


def test_one_of_a_key_at_a_time_and_in_order(postgres_url: str, worker: SyncConnection) -> None:
    publish(worker, "a", 3)
    publish(worker, "b", 1)

    async def check(conn: AsyncConnection) -> None:
        first = await claim(conn)
        assert [work.ordering_key for work in first] == ["a", "b"]
        assert await claim(conn, "other") == []
        await outbox.complete(conn, [first[0].outbox_id])
        (second,) = await claim(conn, "other")
        assert second.ordering_key == "a"
        assert second.outbox_id > first[0].outbox_id

    on_worker(postgres_url, check)


def test_thousands_behind_one_key_hide_no_other_and_cost_nothing(postgres_url: str, worker: SyncConnection) -> None:
    """More rows of one key than a claim looks at, the first of them leased: the other key is found all the same."""
    worker.execute(
        "INSERT INTO outbox (consumer, kind, ordering_key, payload) SELECT 'deliver', 'warning_released', 'long', '{}'"
        " FROM generate_series(1, %s)",
        [outbox._WINDOW + 200],
    )
    publish(worker, "short", 2)

    async def check(conn: AsyncConnection) -> None:
        first = await claim(conn)
        assert [work.ordering_key for work in first] == ["long"]
        second = await claim(conn, "v")
        assert [work.ordering_key for work in second] == ["short"]
        assert await claim(conn, "u") == []  # both keys are leased
        await outbox.complete(conn, [work.outbox_id for work in first + second])
        again = await claim(conn)
        assert [work.ordering_key for work in again] == ["long"]
        assert again[0].outbox_id == first[0].outbox_id + 1

    on_worker(postgres_url, check)


def test_an_older_row_that_commits_late_waits_for_its_key(postgres_url: str, worker: SyncConnection) -> None:
    """Ids are taken before commit, so the younger row can be at work when the older one appears."""
    with psycopg.connect(postgres_url) as slow:
        publish(slow, "a")
        publish(worker, "a")

        async def check(conn: AsyncConnection) -> None:
            (younger,) = await claim(conn)
            slow.commit()
            assert await claim(conn, "other") == []
            await outbox.complete(conn, [younger.outbox_id])
            (older,) = await claim(conn, "other")
            assert older.outbox_id < younger.outbox_id

        on_worker(postgres_url, check)


def test_a_claim_waits_for_another_that_has_not_committed(postgres_url: str, worker: SyncConnection) -> None:
    """Neither could see the other's lease, and each might take a row of the same key."""
    with psycopg.connect(postgres_url) as slow:
        publish(slow, "a")
        publish(worker, "a")

        async def check(conn: AsyncConnection) -> None:
            async with await connect_worker_async(postgres_url) as other:
                async with conn.transaction():
                    assert len(await claim(conn)) == 1
                    slow.commit()
                    second = asyncio.create_task(claim(other, "other"))
                    await asyncio.sleep(0.2)
                    assert not second.done()
                assert await second == []

        on_worker(postgres_url, check)


def test_many_claimers_never_share_a_key(postgres_url: str, worker: SyncConnection) -> None:
    for i in range(60):
        publish(worker, f"k{i % 3}")
    at_work: set[str] = set()
    done: list[tuple[str, int]] = []

    async def claimer(name: str) -> None:
        async with await connect_worker_async(postgres_url) as conn:
            idle = 0
            while idle < 20:
                works = await claim(conn, name, limit=2)
                idle = 0 if works else idle + 1
                for work in works:
                    assert work.ordering_key not in at_work
                    at_work.add(work.ordering_key)
                await asyncio.sleep(0.001)
                for work in works:
                    done.append((work.ordering_key, work.outbox_id))
                    at_work.remove(work.ordering_key)
                await outbox.complete(conn, [work.outbox_id for work in works])

    async def go() -> None:
        await asyncio.gather(*(claimer(f"w{i}") for i in range(6)))

    asyncio.run(go())
    assert len(done) == 60
    for key in ("k0", "k1", "k2"):
        ids = [outbox_id for k, outbox_id in done if k == key]
        assert ids == sorted(ids)


def test_a_lease_that_runs_out_fences_its_worker_off(postgres_url: str, worker: SyncConnection) -> None:
    publish(worker, "a")

    async def check(conn: AsyncConnection) -> None:
        (stale,) = await claim(conn, "slow", lease_s=0.05)
        await asyncio.sleep(0.1)
        (fresh,) = await claim(conn, "quick")
        assert fresh.attempts == 2
        with pytest.raises(LeaseLost):
            await outbox.hold(conn, stale)
        await outbox.complete(conn, [fresh.outbox_id])
        with pytest.raises(LeaseLost):
            await outbox.complete(conn, [stale.outbox_id])

    on_worker(postgres_url, check)


def test_work_that_is_held_is_not_claimed_even_when_its_lease_is_over(
    postgres_url: str, worker: SyncConnection
) -> None:
    publish(worker, "a")

    async def check(conn: AsyncConnection) -> None:
        (work,) = await claim(conn, "slow", lease_s=0.05)
        async with conn.transaction():
            await outbox.hold(conn, work)
            await asyncio.sleep(0.1)
            async with await connect_worker_async(postgres_url) as other:
                assert await claim(other, "quick") == []
            await outbox.complete(conn, [work.outbox_id])

    on_worker(postgres_url, check)


def test_dead_letter_after_the_last_attempt_lets_its_key_go_on(postgres_url: str, worker: SyncConnection) -> None:
    publish(worker, "a", 2)

    async def check(conn: AsyncConnection) -> None:
        for attempt in range(1, outbox.MAX_ATTEMPTS + 1):
            worker.execute("UPDATE outbox SET available_at = now()")
            (work,) = await claim(conn)
            assert work.attempts == attempt
            dead = await outbox.fail(conn, work, ValueError("poison\x00"))
            assert dead == (attempt == outbox.MAX_ATTEMPTS)
            if not dead:
                assert await claim(conn) == []  # its key waits with it: order is kept
        (younger,) = await claim(conn)
        assert younger.outbox_id != work.outbox_id
        assert worker.execute("SELECT last_error FROM outbox WHERE dead_at IS NOT NULL").fetchone() == (
            "ValueError: poison",
        )
        (letter,) = await outbox.dead_letters(conn)
        assert (letter.outbox_id, letter.last_error) == (work.outbox_id, "ValueError: poison")
        assert await outbox.dead_letters(conn, "nobody") == []
        env = {"PATH": "/usr/bin:/bin", "TOCSIN_DATABASE_URL": postgres_url, "TOCSIN_MODE": "exercise"}

        def tocsin(*arguments: str) -> "subprocess.CompletedProcess[str]":
            command = [sys.executable, "-m", "tocsin", "dead-letters", *arguments]
            return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

        listed = tocsin("list")
        assert listed.stdout.startswith(f"{work.outbox_id}  {work.consumer}  {work.kind}  given up "), listed.stderr
        assert listed.stdout.endswith("ValueError: poison\n")
        slip = tocsin("list", "--consumer", "delivery")
        assert (slip.returncode, "--consumer: 'delivery' is none of" in slip.stderr) == (2, True), slip.stderr
        revived = tocsin("revive", str(work.outbox_id))
        assert revived.stdout == f"{work.outbox_id}  waits for its worker again\n", revived.stderr
        again = tocsin("revive", str(work.outbox_id))
        assert (again.returncode, again.stderr.count("\n")) == (3, 1), again.stderr
        assert tocsin("list", "--json").stdout == "[]\n"
        assert not await outbox.revive(conn, work.outbox_id)

    on_worker(postgres_url, check)


def test_work_that_kills_its_worker_ends_as_a_dead_letter(postgres_url: str, worker: SyncConnection) -> None:
    publish(worker, "a")

    async def check(conn: AsyncConnection) -> None:
        for _ in range(outbox.MAX_ATTEMPTS):
            assert len(await claim(conn, lease_s=0.01)) == 1
            await asyncio.sleep(0.02)
        assert await claim(conn) == []
        assert worker.execute("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL").fetchone() == (1,)

    on_worker(postgres_url, check)


def test_a_part_that_is_away_uses_up_no_attempt(postgres_url: str, worker: SyncConnection) -> None:
    publish(worker, "a")

    async def check(conn: AsyncConnection) -> None:
        for _ in range(outbox.MAX_ATTEMPTS + 3):
            worker.execute("UPDATE outbox SET available_at = now()")
            (work,) = await claim(conn)
            assert work.attempts == 1
            assert not await outbox.fail(conn, work, "provider is away", counts=False)

    on_worker(postgres_url, check)


def test_what_waits_behind_one_key_is_taken_along_in_its_transaction(postgres_url: str, worker: SyncConnection) -> None:
    publish(worker, "a", 4)
    publish(worker, "b", 1)
    ids = [row[0] for row in worker.execute("SELECT outbox_id FROM outbox WHERE consumer = 'deliver' ORDER BY 1")]

    def left() -> list[int]:
        rows = worker.execute("SELECT outbox_id FROM outbox WHERE consumer = 'deliver' ORDER BY 1").fetchall()
        return [row[0] for row in rows]

    async def check(conn: AsyncConnection) -> None:
        head = (await claim(conn))[0]
        async with conn.transaction(force_rollback=True):
            assert [one.outbox_id for one in await outbox.take_along(conn, head)] == ids[1:4]
            async with await connect_worker_async(postgres_url) as other:
                # while it lasts, nobody else gets any of them
                assert await claim(other, "other") == []
        assert left() == ids  # it was rolled back, so everything is still there
        async with conn.transaction():
            assert [one.outbox_id for one in await outbox.take_along(conn, head, limit=1)] == ids[1:2]
        worker.execute("UPDATE outbox SET attempts = 1 WHERE outbox_id = %s", [ids[2]])
        async with conn.transaction():
            # one that failed before keeps its place and is tried by itself
            assert await outbox.take_along(conn, head) == []
        worker.execute("UPDATE outbox SET attempts = 0 WHERE outbox_id = %s", [ids[2]])
        await outbox.fail(conn, head, ValueError("bad"))
        worker.execute("UPDATE outbox SET available_at = now()")
        again = next(one for one in await claim(conn) if one.ordering_key == "a")
        assert (again.outbox_id, again.attempts) == (ids[0], 2)
        assert await outbox.take_along(conn, again) == []
        assert left() == [ids[0], *ids[2:]]

    on_worker(postgres_url, check)


def test_run_handles_what_is_published_while_it_runs(settings: Settings, worker: SyncConnection) -> None:
    seen: list[UUID] = []
    stop = asyncio.Event()
    failed_once: set[int] = set()

    async def handler(conn: AsyncConnection, work: Work) -> None:
        event = outbox.decode(work)
        assert isinstance(event, WarningReleased)
        await conn.execute(
            "INSERT INTO quarantine VALUES (%s, %s, '', '', '', '', now(), now())",
            [event.warning_id, str(work.outbox_id).encode()],
        )
        if event.version == 2 and work.outbox_id not in failed_once:
            failed_once.add(work.outbox_id)
            raise Unavailable("away for a moment")
        seen.append(event.warning_id)
        if len(seen) == 11:
            stop.set()

    async def go() -> None:
        async with opened(worker_pool(settings)) as pool:
            running = asyncio.create_task(outbox.run(pool, "deliver", handler, stop))
            for i in range(10):
                publish(worker, f"k{i % 2}")
                await asyncio.sleep(0.01)
            outbox.publish_sync(worker, WarningReleased(warning_id=new_id(), version=2), ordering_key="k0")
            await asyncio.wait_for(running, timeout=15)

    asyncio.run(go())
    assert len(set(seen)) == 11
    assert worker.execute("SELECT count(*) FROM outbox WHERE consumer = 'deliver'").fetchone() == (0,)
    # The failed attempt's own write rolled back with it.
    assert worker.execute("SELECT count(*) FROM quarantine").fetchone() == (11,)


def test_run_survives_the_loss_of_its_connections(
    settings: Settings, postgres_url: str, worker: SyncConnection
) -> None:
    stop = asyncio.Event()
    seen: list[int] = []

    async def handler(conn: AsyncConnection, work: Work) -> None:
        seen.append(work.outbox_id)
        if len(seen) == 1:
            with psycopg.connect(postgres_url, autocommit=True) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
                    [worker.info.backend_pid],
                )
            await conn.execute("SELECT 1")
        stop.set()

    async def go() -> None:
        async with opened(worker_pool(settings)) as pool:
            publish(worker, "a")
            await asyncio.wait_for(outbox.run(pool, "deliver", handler, stop, lease_s=2.0), timeout=20)

    asyncio.run(go())
    assert seen == [seen[0]] * 2
    assert worker.execute("SELECT count(*) FROM outbox WHERE consumer = 'deliver'").fetchone() == (0,)


def test_kill_between_effect_and_commit_leaves_the_effect_exactly_once(
    settings: Settings, postgres_url: str, worker: SyncConnection
) -> None:
    n = 30
    for i in range(n):
        publish(worker, f"k{i % 4}")
    program = textwrap.dedent(
        """
        import asyncio, os, random, signal, sys
        from pydantic import SecretStr
        from core.settings import Settings
        from store import outbox
        from store.pool import worker_pool

        async def handler(conn, work):
            await conn.execute("INSERT INTO quarantine VALUES (gen_random_uuid(), %s, '', '', '', '', now(), now())",
                               [os.urandom(8) + str(work.outbox_id).encode()])
            perhaps_die()

        def perhaps_die():
            if random.random() < 0.12:
                os.kill(os.getpid(), signal.SIGKILL)

        complete = outbox.complete

        async def complete_or_die(conn, ids):
            perhaps_die()
            await complete(conn, ids)
            perhaps_die()

        outbox.complete = complete_or_die

        async def main():
            pool = worker_pool(Settings(database_url=SecretStr(sys.argv[1])))
            await pool.open()
            await outbox.run(pool, "deliver", handler, asyncio.Event(), lease_s=0.3, limit=3)

        asyncio.run(main())
        """
    )
    kills = 0
    for _ in range(60):
        child = subprocess.Popen([sys.executable, "-c", program, postgres_url], env={**os.environ, "PYTHONPATH": "."})
        try:
            for _ in range(200):
                left = worker.execute(
                    "SELECT count(*) FROM outbox WHERE consumer = 'deliver' AND dead_at IS NULL"
                ).fetchone()
                if left == (0,) or child.poll() is not None:
                    break
                import time

                time.sleep(0.05)
        finally:
            child.kill()
            kills += child.wait() == -signal.SIGKILL
        worker.execute("UPDATE outbox SET attempts = 1 WHERE attempts > 4")  # this test is not about dead letters
        if left == (0,):
            break
    effects = worker.execute("SELECT count(*), count(DISTINCT substr(fingerprint, 9)) FROM quarantine").fetchone()
    assert effects == (n, n)
    assert kills > 1


def test_sequencer_gives_ids_without_a_gap_in_commit_order(postgres_url: str, worker: SyncConnection) -> None:
    def told(conn: SyncConnection, version: int) -> None:
        outbox.publish_sync(conn, WarningChanged(warning_id=new_id(), version=version), ordering_key="w")

    with psycopg.connect(postgres_url) as slow:
        told(slow, 1)  # takes its outbox id first, commits last
        told(worker, 2)

        async def check(conn: AsyncConnection) -> None:
            assert await outbox.sequence(conn) == 1
            slow.commit()
            assert await outbox.sequence(conn) == 1
            assert await outbox.sequence(conn) == 0

        on_worker(postgres_url, check)
    rows = worker.execute("SELECT stream_id, payload->>'version' FROM stream_event ORDER BY stream_id").fetchall()
    assert rows == [(1, "2"), (2, "1")]


def test_a_sequencer_waits_for_another_that_has_not_committed(postgres_url: str, worker: SyncConnection) -> None:
    for version in (1, 2):
        outbox.publish_sync(worker, WarningChanged(warning_id=new_id(), version=version), ordering_key="w")

    async def check(conn: AsyncConnection) -> None:
        async with await connect_worker_async(postgres_url) as other:
            async with conn.transaction():
                assert await outbox.sequence(conn, limit=1) == 1
                second = asyncio.create_task(outbox.sequence(other))
                await asyncio.sleep(0.2)
                assert not second.done()
            assert await second == 1

    on_worker(postgres_url, check)
    rows = worker.execute("SELECT stream_id, payload->>'version' FROM stream_event ORDER BY stream_id").fetchall()
    assert rows == [(1, "1"), (2, "2")]


def test_many_sequencers_leave_no_gap_and_a_reader_misses_nothing(postgres_url: str, worker: SyncConnection) -> None:
    n = 400
    for i in range(n):
        outbox.publish_sync(worker, WarningChanged(warning_id=new_id(), version=i), ordering_key="w")
    read: list[int] = []

    async def sequencer() -> None:
        async with await connect_worker_async(postgres_url) as conn:
            while await outbox.sequence(conn, limit=7):
                pass

    async def reader() -> None:
        async with await connect_worker_async(postgres_url) as conn:
            while len(read) < n:
                rows = await conn.execute(
                    "SELECT stream_id FROM stream_event WHERE stream_id > %s ORDER BY stream_id",
                    [read[-1] if read else 0],
                )
                read.extend([row[0] for row in await rows.fetchall()])
                await asyncio.sleep(0.001)

    async def go() -> None:
        await asyncio.wait_for(asyncio.gather(reader(), *(sequencer() for _ in range(5))), timeout=30)

    asyncio.run(go())
    assert read == list(range(1, n + 1))


def test_ids_go_on_after_the_stream_was_pruned(postgres_url: str, worker: SyncConnection) -> None:
    async def check(conn: AsyncConnection) -> None:
        for _ in range(2):
            outbox.publish_sync(worker, WarningChanged(warning_id=new_id(), version=1), ordering_key="w")
            await outbox.sequence(conn)
            await conn.execute("DELETE FROM stream_event")
        outbox.publish_sync(worker, WarningChanged(warning_id=new_id(), version=1), ordering_key="w")
        await outbox.sequence(conn)
        assert worker.execute("SELECT stream_id FROM stream_event").fetchall() == [(3,)]

    on_worker(postgres_url, check)


def test_people_publish_for_their_own_tenant_only_and_cannot_read(
    settings: Settings, worker: SyncConnection, make_tenant: Callable[[str], UUID]
) -> None:
    mine, theirs = make_tenant("mine"), make_tenant("theirs")
    event = WarningReleased(warning_id=new_id(), version=1)

    async def go() -> None:
        async with opened(app_pool(settings)) as pool:
            async with tenant_transaction(pool, mine) as conn:
                await outbox.publish(conn, event, ordering_key="w", tenant_id=mine)
            for other in (theirs, None):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    async with tenant_transaction(pool, mine) as conn:
                        await outbox.publish(conn, event, ordering_key="w", tenant_id=other)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                async with tenant_transaction(pool, mine) as conn:
                    await conn.execute("SELECT * FROM outbox")

    asyncio.run(go())
    assert worker.execute("SELECT DISTINCT tenant_id FROM outbox").fetchall() == [(mine,)]
