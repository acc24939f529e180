"""A household's route as the running server answers it, in a plan of 100,000 households.

    python benchmarks/served_route.py NETWORK.roads POSTGRES_URL [--households 100000] [--requests 1000]

On a fresh database of the server under POSTGRES_URL (a superuser's) the network, households, safe zones and hazard of
benchmarks/evacuation.py are stored, `geo.plan` makes the plan, and the real application is started under uvicorn on the
loopback address as a process of its own. One client asks over one connection that stays open, signed in by a key, for
routes of households drawn with a fixed seed: GeoJSON, encoded polyline and turns, then GPX. Printed: wall time at the
client, and the server process's processor time a request, each p50 and p95 (processor time is read from the system, in
blocks of 20 requests, since it is counted in hundredths of a second). The database is dropped at the end.
"""

import argparse
import asyncio
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
from evacuation import world

from api import auth
from core.ids import new_id
from core.settings import Settings
from geo import assess, imports, plan, repository
from geo.network import open_file
from store.migrate import migrate
from store.pool import connect_worker_async, worker_pool

_BLOCK = 20  # requests, between two looks at the server's processor time


async def prepare(url: str, home: Path, network_file: Path, n: int) -> tuple[str, list[str]]:
    """(key, households with a way): stores the world and makes its plan."""
    network = open_file(network_file)
    homes, zones, hazard = world(network, n)
    conn = await connect_worker_async(url)
    tenant = new_id()
    await conn.execute("INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, 'city', 'City')", [tenant])
    await imports.import_roads(conn, network, home=home, code="roads", tenant_id=None)
    places = [
        {"code": f"z{k}", "names": {"en": f"School {k}"}, "lon": float(x), "lat": float(y), "seats": 0,
         "accessible_seats": 0}
        for k, (x, y) in enumerate(zip(zones.lon, zones.lat, strict=True))
    ]  # fmt: skip
    await repository.save_safe_zones(conn, None, places)
    people = [
        imports.Person(code=f"p{k}", name=f"p{k}", language="en", lon=float(x), lat=float(y))
        for k, (x, y) in enumerate(zip(homes.lon, homes.lat, strict=True))
    ]
    now = datetime.now(UTC)
    for first in range(0, n, 5000):
        await imports.import_people(conn, people[first : first + 5000], tenant_id=tenant)
    event = await repository.save_hazard_event(
        conn, tenant_id=None, code="flood", peril="flood", name="Flood", started_at=now
    )
    footprint, _ = await assess.publish_footprint(conn, event, hazard.geometry, (), valid_at=now, made_how="benchmark")
    begin = time.perf_counter()
    await plan.plan_footprint(conn, footprint, home=home, now=now)
    print(f"plan of {n:,} households made and stored in {time.perf_counter() - begin:.0f} s", flush=True)
    await conn.execute("ANALYZE")
    found = await conn.execute("SELECT household_id::text FROM household_route WHERE status = 'clear'")
    ids = sorted(row[0] for row in await found.fetchall())
    await conn.close()
    async with worker_pool(Settings(database_url=url, mode="exercise"), size=1) as pool:
        return await auth.create_key(pool, name="benchmark", tenant="city", roles=["operator"]), ids


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(port: int, pid: int, key: str, paths: list[str]) -> dict[str, Any]:
    """Milliseconds a request, after a fifth of the requests to warm up."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    wall, cpu, size = [], [], []
    headers = {"Authorization": f"Bearer {key}"}
    warm = len(paths) // 5
    for k, path in enumerate(paths):
        if k >= warm and (k - warm) % _BLOCK == 0:
            before = cpu_s(pid)
        begin = time.perf_counter()
        client.request("GET", path, headers=headers)
        answer = client.getresponse()
        body = answer.read()
        wall.append(time.perf_counter() - begin)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
        size.append(len(body))
        if k >= warm and (k - warm) % _BLOCK == _BLOCK - 1:
            cpu.append((cpu_s(pid) - before) / _BLOCK)
    told: dict[str, Any] = {"requests": len(paths) - warm, "bytes_median": int(np.median(size))}
    for name, taken in (("wall_ms", wall[warm:]), ("server_processor_ms", cpu)):
        p50, p95 = np.percentile(np.array(taken) * 1e3, [50, 95])
        told[name] = {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "mean": round(np.mean(taken) * 1e3, 2)}
    return told


def serve(url: str, home: Path) -> tuple[subprocess.Popen[bytes], int]:
    """(process, port) of the server, once it answers."""
    port = 20000 + os.getpid() % 20000
    environment = os.environ | {
        "TOCSIN_DATABASE_URL": url, "TOCSIN_HOME": str(home), "TOCSIN_MODE": "exercise",
        "TOCSIN_API__PORT": str(port), "TOCSIN_API__HOST": "127.0.0.1",
    }  # fmt: skip
    program = "from core.settings import load_settings; from api.app import serve; serve(load_settings())"
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(300):
        try:
            http.client.HTTPConnection("127.0.0.1", port).request("GET", "/v1/health")
            return process, port
        except OSError:
            time.sleep(0.2)
    process.terminate()
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("postgres", help="a superuser's URL; a database is made there and dropped again")
    parser.add_argument("--households", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=1000)
    given = parser.parse_args()
    name = f"tocsin_route_{uuid4().hex[:12]}"
    folder = Path(tempfile.mkdtemp())
    with psycopg.connect(given.postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        url = psycopg.conninfo.make_conninfo(given.postgres, dbname=name)
        process = None
        try:
            migrate(url, exercise=True, name="benchmark")
            key, ids = asyncio.run(prepare(url, folder, given.network, given.households))
            process, port = serve(url, folder)
            some = np.random.default_rng(1).choice(ids, given.requests)
            for kind in ("", "/gpx"):
                paths = [f"/v1/evacuation-plans/latest/routes/{one}{kind}" for one in some]
                print(
                    json.dumps({"route": kind or "json with turns", **ask(port, process.pid, key, paths)}), flush=True
                )
        finally:
            if process is not None:
                process.terminate()
                process.wait()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
