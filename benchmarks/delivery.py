"""Delivery: how soon everybody has their message, how fast a push is encrypted, and what a claim of the outbox costs.

    python -m benchmarks.delivery [--people 10000] [--processes 1 2] [--part hand-over|correction|push|outbox]

Each figure has a peer in the same run: the bare HTTP client that hands over the same messages without a database, the
push library called in a loop without a process pool, and a claim of as many rows that have a key each.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil
import psycopg
from shapely.geometry import box

ZONES = 4  #: minutes until the water arrives differ between them


def provider(port: int, pipe: Pipe) -> None:
    """A provider in a process of its own: honours keys, keeps everything in memory, and tells it at the end."""
    import uvicorn

    seen: dict[str, tuple[float, int, int, int]] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        key = next((value.decode() for name, value in scope["headers"] if name == b"idempotency-key"), "")
        if scope["path"] == "/report":
            answer = json.dumps(list(seen.values())).encode()
        elif scope["path"] == "/count":
            answer = str(len(seen)).encode()
        else:
            told = json.loads(body)
            to = told["to"]
            seen.setdefault(
                key, (time.time(), int(to.get("zone", 0)), int(to.get("n", -1)), int(told.get("version") or 0))
            )
            answer = b"{}"
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(answer)).encode())]}
        )
        await send({"type": "http.response.body", "body": answer})

    pipe.send("starting")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", access_log=False)


@contextlib.contextmanager
def served() -> Any:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=provider, args=(port, theirs), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{url}/report")
            break
        time.sleep(0.1)
    try:
        yield url, process.pid
    finally:
        process.terminate()
        process.join()
        ours.close()


@contextlib.contextmanager
def sending(database: str, provider_url: str, home: Path, processes: int) -> Any:
    """`tocsin deliver`, ready to send; gives its process id."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
        "TOCSIN_DATABASE_URL": database,
        "TOCSIN_MODE": "exercise",
        "TOCSIN_HOME": str(home),
        "TOCSIN_SECRET_KEY": "k" * 40,
        "TOCSIN_DELIVER__FAKE_URL": provider_url,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", "deliver", "--processes", str(processes)], env=environment
    )
    try:
        with psycopg.connect(database, autocommit=True) as conn:
            for _ in range(600):
                listening = conn.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN tocsin_outbox'"
                ).fetchone()
                if listening is not None and listening[0] >= processes:
                    break
                time.sleep(0.1)
        time.sleep(1.0)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process and its descendants, also those that ended, have used."""
    total = 0.0
    top = psutil.Process(pid)
    for one in [top, *top.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            used = one.cpu_times()
            total += used.user + used.system
            if one is top:
                total += used.children_user + used.children_system
    return total


# ---------------------------------------------------------------- everybody handed over


def hand_over(
    database: str, server_pid: int, n_people: int, processes: int, *, correct: bool = False
) -> dict[str, Any]:
    """Releases one red warning to `n_people` in four zones; seconds from the reading until the provider has each.

    `tocsin deliver` sends, as the product starts it. With `correct` one person takes the warning back when half is out,
    which stops the rest, and another approves it a moment later; what is begun after the stop, who is told that it is
    taken back, and how soon, is counted.
    """
    from pydantic import SecretStr

    from alerts import rule_repository
    from alerts.level import Level
    from alerts.rule import level_rule
    from alerts.watch import watch_batch
    from core.clock import FixedClock
    from core.events import ObservationsStored
    from core.ids import new_id
    from core.settings import Settings
    from store.pool import worker_pool

    now = datetime.now(UTC).replace(microsecond=0)
    tenant, station, event_id = new_id(), new_id(), new_id()
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, 'bench', 'Bench')", [tenant])
        conn.execute(
            "INSERT INTO station (station_id, code, name, lon, lat) VALUES (%s, 's', 'S', 80.1, 7.05)", [station]
        )
        row = conn.execute(
            "INSERT INTO datastream (station_id, quantity, unit, interval_s) VALUES (%s, 'level', 'm', 600)"
            " RETURNING datastream_id",
            [station],
        ).fetchone()
        assert row is not None
        stream = row[0]
        zones = []
        for zone in range(ZONES):
            area = {
                "type": "Polygon",
                "coordinates": [[list(p) for p in box(80.0, 7 + zone, 80.2, 7.9 + zone).exterior.coords]],
            }
            zones.append({"arrival_min": 30 * (zone + 1), "intensity": 1.0, "unit": "m", "geometry": area})
        conn.execute(
            "INSERT INTO hazard_event (hazard_event_id, code, peril, name, started_at) VALUES"
            " (%s, 'f', 'flood', 'f', %s)",
            [event_id, now - timedelta(hours=1)],
        )
        from psycopg.types.json import Jsonb

        conn.execute(
            "INSERT INTO footprint (footprint_id, hazard_event_id, version, valid_at, made_how, geometry, zones)"
            " VALUES (%s, %s, 1, %s, 'bench', %s, %s)",
            [new_id(), event_id, now - timedelta(minutes=5), box(0, 0, 0.1, 0.1).wkb, Jsonb(zones)],
        )
        people = [(new_id(), n % ZONES) for n in range(n_people)]
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO policyholder (policyholder_id, tenant_id, name) VALUES (%s, %s, 'P')",
                [(person, tenant) for person, _ in people],
            )
            cursor.executemany(
                "INSERT INTO household (household_id, tenant_id, policyholder_id, lon, lat)"
                " VALUES (%s, %s, %s, 80.1, %s)",
                [(new_id(), tenant, person, 7.5 + zone) for person, zone in people],
            )
            cursor.executemany(
                "INSERT INTO contact_point (contact_point_id, tenant_id, policyholder_id, channel, address, consent_at)"
                " VALUES (%s, %s, %s, 'web_push', %s, %s)",
                [
                    (new_id(), tenant, person, Jsonb({"zone": zone, "n": n}), now)
                    for n, (person, zone) in enumerate(people)
                ],
            )
        conn.execute("ANALYZE")

    with (
        served() as (url, provider_pid),
        tempfile.TemporaryDirectory() as home,
        sending(database, url, Path(home), processes) as sender_pid,
    ):
        settings = Settings(database_url=SecretStr(database), mode="exercise", home=Path(home))

        async def story() -> tuple[float, float, dict[str, float]]:
            rule = level_rule(
                tenant_id=tenant,
                code="bench",
                datastream_id=stream,
                thresholds={"alert": 3.0, "minor": 4.0, "major": 6.0},
                automatic=True,
                max_area_km2=1e9,
                automatic_ceiling=Level.RED,
            )
            async with worker_pool(settings, size=2) as pool:
                async with pool.connection() as conn, conn.transaction():
                    await rule_repository.save_rule(
                        conn, rule, area=box(80.0, 7.0, 80.2, 11.0), area_desc={"en": "Valley"},
                        effective_from=now - timedelta(hours=1),
                    )  # fmt: skip
                for minute, value in ((-20, 2.0), (-10, 6.5), (0, 6.5)):
                    at = now + timedelta(minutes=minute)
                    async with pool.connection() as conn:
                        await conn.execute(
                            "INSERT INTO observation (datastream_id, observed_at, value, quality, tests, received_at)"
                            " VALUES (%s, %s, %s, 1, 0, %s)",
                            [stream, at, value, at],
                        )
                began = time.time()
                async with pool.connection() as conn, conn.transaction():
                    event = ObservationsStored(
                        datastream_ids=[stream], observed_from=now - timedelta(minutes=20), observed_until=now,
                        received_until=now,
                    )  # fmt: skip
                    await watch_batch(conn, event, clock=FixedClock(now), auto_release_people=10**9)
            released = time.time()
            pids = {"senders": sender_pid, "database": server_pid, "provider": provider_pid}
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            if correct:
                return began, 0.0, await corrected(url, n_people, tenant, database, settings)
            async with httpx.AsyncClient() as client:
                while int((await client.get(f"{url}/count")).text) < n_people:
                    await asyncio.sleep(0.25)
                    if time.time() - began > 600:
                        break
            return began, released, {name: cpu_s(pid) - before[name] for name, pid in pids.items()}

        began, released, cpu = asyncio.run(story())
        got = sorted(httpx.get(f"{url}/report").json())
        if correct:
            warned = {n: at for at, _, n, version in got if version == 1}
            back = {n: at for at, _, n, version in got if version > 1}
            late = [at - cpu["stopped"] for at in warned.values() if at > cpu["stopped"]]
            return {
                "people": n_people,
                "sender_processes": processes,
                "warned": len(warned),
                "of_them_after_the_stop": len(late),
                "last_after_the_stop_s": round(max(late, default=0.0), 3),
                "taken_back": len(back),
                "exactly_those_who_were_warned": set(back) == set(warned),
                "first_taken_back_s": round(min(back.values()) - cpu["approved"], 2),
                "all_taken_back_s": round(max(back.values()) - cpu["approved"], 2),
                "load": round(os.getloadavg()[0], 1),
            }
        bare, bare_cpu = asyncio.run(bare_posts(url, min(n_people, 3000)))
    first_of = {zone: min(at for at, z, *_ in got if z == zone) for zone in range(ZONES)}
    last_of = {zone: max(at for at, z, *_ in got if z == zone) for zone in range(ZONES)}
    in_order = []
    for zone in range(ZONES - 1):
        below = sorted(at for at, z, *_ in got if z > zone)
        in_order.append(last_of[zone] <= below[len(below) // 10])
    total = got[-1][0] - began
    return {
        "people": n_people,
        "sender_processes": processes,
        "handed_over": len(got),
        "decision_to_release_s": round(released - began, 2),
        "first_s": round(got[0][0] - began, 2),
        "all_s": round(total, 2),
        "per_s": round(len(got) / (got[-1][0] - got[0][0])),
        "bare_client_per_s": round(bare),
        "ratio_to_bare_client": round(len(got) / (got[-1][0] - got[0][0]) / bare, 2),
        "cpu_ms_a_message": {name: round(1000 * used / len(got), 2) for name, used in cpu.items()},
        "bare_client_cpu_ms_a_message": round(1000 / bare_cpu, 2),
        "worst_zone_before_a_tenth_of_the_others": in_order,
        "zone_spans_s": {z: [round(first_of[z] - began, 2), round(last_of[z] - began, 2)] for z in range(ZONES)},
        "load": round(os.getloadavg()[0], 1),
    }


async def corrected(url: str, n_people: int, tenant: Any, database: str, settings: Any) -> dict[str, float]:
    """Takes the warning back when half is out, and has it approved half a second later; when each was committed."""
    from psycopg.rows import dict_row

    from alerts import release
    from core.ids import new_id
    from store.pool import role_pool, tenant_transaction

    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as conn:
        people = [new_id(), new_id()]
        for who in people:
            conn.execute(
                "INSERT INTO principal (principal_id, tenant_id, login, display_name, password_hash, roles)"
                " VALUES (%s, %s, %s, 'A', '', '{approver}')",
                [who, tenant, str(who)],
            )
        async with httpx.AsyncClient() as client:
            while int((await client.get(f"{url}/count")).text) < n_people // 2:  # noqa: ASYNC110  another process counts
                await asyncio.sleep(0.05)
        async with role_pool(database, "tocsin_app", size=1) as pool:
            (row,) = conn.execute("SELECT * FROM warning").fetchall()
            now = datetime.now(UTC)
            async with tenant_transaction(pool, tenant) as app:
                version = await release.draft_cancel(
                    app, principal_id=people[0], warning_id=row["warning_id"], why="an error", now=now
                )
            stopped = time.time()
            await asyncio.sleep(0.5)
            async with httpx.AsyncClient() as client:
                n_warned = int((await client.get(f"{url}/count")).text)
            (draft,) = conn.execute("SELECT * FROM warning WHERE version = %s", [version]).fetchall()
            async with tenant_transaction(pool, tenant) as app:
                await release.approve(
                    app, principal_id=people[1], warning_id=row["warning_id"], version=version,
                    content_sha256=bytes(draft["content_sha256"]), now=now,
                )  # fmt: skip
            approved = time.time()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        await asyncio.sleep(0.3)
        with psycopg.connect(database, autocommit=True) as conn:
            left = conn.execute(
                "SELECT count(*) FILTER (WHERE state IN ('accepted', 'delivered')), count(*) FROM delivery"
                " WHERE version = %s",
                [version],
            ).fetchone()
        # the first people are planned ahead of the others: all have to be there
        if left is not None and left[1] >= n_warned and left[0] == left[1]:
            break
    return {"stopped": stopped, "approved": approved}


async def bare_posts(url: str, n: int) -> tuple[float, float]:
    """The same HTTP client and as many at once, without a database: messages a second, and a CPU-second."""
    body = {"to": {"zone": 0}, "payload": {"headline": "x" * 600}}
    async with aiohttp.ClientSession() as client:
        gate = asyncio.Semaphore(48)

        async def one(i: int) -> None:
            async with gate, client.post(f"{url}/send", json=body, headers={"Idempotency-Key": f"bare-{i}"}) as got:
                await got.read()

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one(i) for i in range(n)))
        return n / (time.perf_counter() - began), n / (time.process_time() - cpu)


# ---------------------------------------------------------------- push


def push(n: int = 1500) -> dict[str, Any]:
    """Encryptions a second of CPU: the pool against the library in a plain loop, and what the sending path keeps."""
    import base64

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from alerts.channels.webpush import Encrypter, _encrypt

    point = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    keys = {"p256dh": base64.urlsafe_b64encode(point).decode(), "auth": base64.urlsafe_b64encode(bytes(16)).decode()}
    subscription = {"endpoint": "https://push.example.org/x", "keys": keys}
    plain = b"x" * 3000

    cpu = time.process_time()
    for _ in range(n):
        _encrypt(subscription, plain)
    library = n / (time.process_time() - cpu)

    async def pooled() -> tuple[float, float, float]:
        encrypter = Encrypter(1)
        await encrypter.encrypt(subscription, plain)  # the process is there
        assert encrypter._pool is not None
        (pid,) = encrypter._pool._processes
        gate = asyncio.Semaphore(64)

        async def one() -> None:
            async with gate:
                await encrypter.encrypt(subscription, plain)

        def used(which: int | str) -> float:
            fields = Path(f"/proc/{which}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        there, here, wall = used(pid), time.process_time(), time.perf_counter()
        await asyncio.gather(*(one() for _ in range(n)))
        there, here, wall = used(pid) - there, time.process_time() - here, time.perf_counter() - wall
        await encrypter.close()
        return n / there, n / wall, here / n

    per_cpu_s, per_wall_s, own_s = asyncio.run(pooled())
    return {
        "n": n,
        "library_per_cpu_s": round(library),
        "pool_per_cpu_s": round(per_cpu_s),
        "pool_per_wall_s": round(per_wall_s),
        "ratio": round(per_cpu_s / library, 2),
        "sending_path_cpu_ms_a_push": round(own_s * 1000, 3),
        "of_encryption": round(own_s * library, 3),
        "load": round(os.getloadavg()[0], 1),
    }


# ---------------------------------------------------------------- outbox

#: What a claim did before: every due row asks whether an older one of its key exists.
EVERY_ROW = """
WITH due AS (
    SELECT o.outbox_id FROM outbox AS o
    WHERE o.consumer = 'bench' AND o.dead_at IS NULL AND o.available_at <= clock_timestamp()
      AND (o.lease_until IS NULL OR o.lease_until < clock_timestamp())
      AND NOT EXISTS (
          SELECT FROM outbox AS other
          WHERE other.consumer = o.consumer AND other.ordering_key = o.ordering_key AND other.dead_at IS NULL
            AND other.outbox_id <> o.outbox_id
            AND (other.outbox_id < o.outbox_id OR other.lease_until >= clock_timestamp()))
    ORDER BY o.outbox_id LIMIT 10 FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox AS o SET attempts = attempts FROM due WHERE o.outbox_id = due.outbox_id RETURNING o.outbox_id
"""


def claims(database: str, n: int = 5000, tries: int = 20) -> dict[str, Any]:
    """Milliseconds of one claim with `n` rows waiting: one key, a key each, and one key as it was before."""
    from store import outbox
    from store.pool import connect_worker_async

    def fill(one_key: bool) -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("DELETE FROM outbox")
            conn.execute(
                "INSERT INTO outbox (consumer, kind, ordering_key, payload) SELECT 'bench', 'warning_released',"
                " CASE WHEN %s THEN 'one' ELSE n::text END, '{}' FROM generate_series(1, %s) AS n",
                [one_key, n],
            )
            conn.execute("VACUUM ANALYZE outbox")

    async def ours() -> float:
        times = []
        async with await connect_worker_async(database) as conn:
            for _ in range(tries):
                began = time.perf_counter()
                works = await outbox.claim(conn, "bench", worker="w", limit=10, lease_s=60)
                times.append(time.perf_counter() - began)
                await outbox.complete(conn, [work.outbox_id for work in works])
        return statistics.median(times) * 1000

    async def before() -> float:
        times = []
        async with await connect_worker_async(database) as conn:
            for _ in range(tries):
                began = time.perf_counter()
                await conn.execute(EVERY_ROW)
                times.append(time.perf_counter() - began)
        return statistics.median(times) * 1000

    fill(False)
    each = asyncio.run(ours())
    fill(True)
    every_row = asyncio.run(before())
    one = asyncio.run(ours())
    return {
        "rows_waiting": n,
        "claim_ms_one_key": round(one, 2),
        "claim_ms_a_key_each": round(each, 2),
        "ratio_to_a_key_each": round(one / each, 2),
        "every_row_asks_ms": round(every_row, 2),
        "times_faster_than_every_row_asking": round(every_row / one, 1),
        "load": round(os.getloadavg()[0], 1),
    }


@contextlib.contextmanager
def database() -> Any:
    """A fresh exercise database in an embedded PostgreSQL that keeps its promises."""
    from store import embedded
    from store.migrate import migrate

    home = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
    home.chmod(0o755)
    running = embedded.start(home)
    try:
        url = running.superuser_url()
        migrate(url, exercise=True, name="bench")
        yield url, server_pid(home)
    finally:
        running.stop()


def server_pid(home: Path) -> int:
    """The database server below a home: what its pid file says."""
    (file,) = home.rglob("postmaster.pid")
    return int(file.read_text().splitlines()[0])


def empty(url: str) -> None:
    """No people, no warnings, as before."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("TRUNCATE tenant, station, hazard_event, outbox CASCADE")
        conn.execute("VACUUM ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--part", choices=["hand-over", "correction", "push", "outbox"], default=None)
    asked = parser.parse_args()
    told: dict[str, Any] = {}
    if asked.part in (None, "push"):
        told["push"] = push()
    if asked.part != "push":
        with database() as (url, pid):
            if asked.part in (None, "outbox"):
                told["outbox"] = claims(url)
                with psycopg.connect(url, autocommit=True) as conn:
                    conn.execute("DELETE FROM outbox")
            if asked.part in (None, "correction"):
                told["correction"] = hand_over(url, pid, asked.people, max(asked.processes), correct=True)
                empty(url)
            if asked.part in (None, "hand-over"):
                told["hand_over"] = []
                for processes in asked.processes:
                    told["hand_over"].append(hand_over(url, pid, asked.people, processes))
                    empty(url)
    json.dump(told, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
