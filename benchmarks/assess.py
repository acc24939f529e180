"""Times a book's way in and a footprint's way to money in a database of its own:

    python -m benchmarks.assess [--parts import,assess] [--locations 1000000] [--book 100000]

- import: an OED file with as many locations, from the file to the committed book with its reconciliation;
- assess: a new footprint version over a book that was imported, to losses that are stored and told to the streams; the
  first version after a start, and the next ones with the book resident.

Each figure is wall seconds and processor seconds of this process and of the database server, with the machine's load
beside it: on a machine that others use the processor seconds are what can be compared.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import shapely

from benchmarks.loss_terms import write_book
from core import log
from core.ids import new_id
from geo import assess, assess_loss, imports, repository
from geo._compiled_loss import warm_up
from geo.hazard_field import PolygonField
from store import embedded
from store.migrate import migrate
from store.pool import AsyncConnection, connect_worker_async

T0 = datetime(2026, 6, 1, tzinfo=UTC)


def server_cpu_s(pid: int) -> float:
    """Processor seconds of a PostgreSQL server: its processes, and those it has seen end."""
    top = psutil.Process(pid)
    total = 0.0
    for process in (top, *top.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system + (used.children_user + used.children_system if process == top else 0.0)
    return total


@contextmanager
def timed(server_pid: int, name: str, **more: Any) -> Iterator[dict[str, Any]]:
    """Prints what the block took."""
    load, wall, own, theirs = os.getloadavg()[0], time.perf_counter(), time.process_time(), server_cpu_s(server_pid)
    told: dict[str, Any] = {}
    yield told
    own, theirs = time.process_time() - own, server_cpu_s(server_pid) - theirs
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    told |= {
        "what": name, "wall_s": round(time.perf_counter() - wall, 2), "cpu_s": round(own + theirs, 2),
        "cpu_client_s": round(own, 2), "cpu_server_s": round(theirs, 2), "load": [round(load, 1),
        round(os.getloadavg()[0], 1)], **more,
        "peak_rss_mib": peak_mib,
    }  # fmt: skip
    print(json.dumps(told), flush=True)


async def tenant_of(conn: AsyncConnection, slug: str) -> UUID:
    tenant = new_id()
    await conn.execute("INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, %s, %s)", [tenant, slug, slug])
    return tenant


async def import_part(url: str, pid: int, folder: Path, n: int) -> None:
    files = write_book(folder, n)
    async with await connect_worker_async(url) as conn:
        tenant = await tenant_of(conn, "import")
        for name, accounts in (("first", None), ("the same again", None), ("with accounts", files["account"])):
            with timed(pid, f"import {n:,} locations, {name}", mib=files["location"].stat().st_size >> 20):
                report = await imports.import_oed(
                    conn, files["location"], tenant_id=tenant, portfolio="Book", accounts=accounts
                )
            assert report.reconciliation.n_mapped == n
            assert not any(report.reconciliation.difference().values())


async def assess_part(url: str, pid: int, folder: Path, n: int) -> None:
    files = write_book(folder, n)
    async with await connect_worker_async(url) as conn:
        tenant = await tenant_of(conn, "assess")
        await imports.import_oed(
            conn, files["location"], tenant_id=tenant, portfolio="Book", accounts=files["account"],
            ri_info=files["ri_info"], ri_scope=files["ri_scope"],
        )  # fmt: skip
        event = await repository.save_hazard_event(
            conn, tenant_id=tenant, code="storm", peril="cyclone", name="Storm", started_at=T0
        )
        shelf, books = assess_loss.FileShelf(), assess.BookShelf()
        with timed(pid, f"books of {n:,} locations into memory, which the running system does after an import"):
            warm_up()
            await shelf.fill(conn)
        # three sizes of hit, each of them over the same resident book
        for number, east in enumerate((-89.9, -89.0, -89.0, -86.0)):
            area = shapely.box(-90.1, 29.9, east, 40.1)
            field = PolygonField.make([(area, 45.0 + number)], "m/s")
            at = T0 + timedelta(minutes=number)
            with timed(pid, f"footprint version {number + 1} over {n:,} locations to stored losses") as told:
                footprint, _ = await assess.publish_footprint(
                    conn, event, area, valid_at=at, made_how="benchmark", field=field
                )
                (made,) = await assess.assess_footprint(conn, footprint, now=at, shelf=books)
                outcome = await assess_loss.estimate_assessment(conn, made, now=at, shelf=shelf, by_source=False)
                told["n_hit"] = outcome.result.get("n_hit")
                told["n_samples"] = outcome.result["assumptions"]["n_samples"]
            assert not outcome.problem
            with timed(pid, "  and its parts by source, after it"):
                await assess_loss.estimate_assessment(conn, made, now=at, shelf=shelf)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parts", default="import,assess")
    parser.add_argument("--locations", type=int, default=1_000_000)
    parser.add_argument("--book", type=int, default=100_000)
    given = parser.parse_args()
    log.configure("error")
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        with embedded.start(home) as server:
            migrate(server.url("exercise", "owner"), exercise=True)
            url = server.url("exercise", "worker")
            pid = server.pid
            parts = given.parts.split(",")
            if "import" in parts:
                asyncio.run(import_part(url, pid, Path(folder), given.locations))
            if "assess" in parts:
                asyncio.run(assess_part(url, pid, Path(folder), given.book))
        place = Path((home / "location").read_text().strip())
        if place != home:  # as root the state lies where an account without rights can reach it
            shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
