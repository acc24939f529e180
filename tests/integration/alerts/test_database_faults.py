"""The campaign with the database stopped as well: everybody is told once, and nobody is missed."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from store import embedded
from store.migrate import migrate
from tests.integration.alerts.conftest import make_valley
from tests.integration.alerts.test_deliver import KEY, RATES, ROOT, SENDER, fake_provider

__all__ = ["fake_provider"]


@pytest.fixture
def server() -> Iterator[Any]:
    """A database server of its own, which keeps its promises over a crash, to be stopped at will."""
    home = Path(tempfile.mkdtemp(prefix="tocsin-crash-"))
    home.chmod(0o755)
    # a backend that is killed loses no page that was written: only the first set-up goes without fsync
    running = embedded.start(home, durable=False)
    try:
        yield running
    finally:
        running.stop()


def crash(running: Any) -> None:
    """Ends a backend by SIGKILL: the server throws all others out and recovers from its log.

    One that still recovers from the last time is waited for: what was under way then may have been sent meanwhile.
    """
    deadline = time.monotonic() + 120
    while True:
        try:
            with psycopg.connect(running.superuser_url(), autocommit=True) as conn:
                row = conn.execute("SELECT pg_backend_pid()").fetchone()
                assert row is not None
                os.kill(row[0], signal.SIGKILL)
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the database does not come back"
            time.sleep(0.2)


def campaign(
    running: Any, provider: str, tmp_path: Path, *, n_people: int, n_kills: int, n_stops: int
) -> dict[str, Any]:
    url = running.superuser_url()
    migrate(url, exercise=True, name="crash")
    valley = make_valley(url)
    chance = random.Random(11)
    for _ in range(n_people):
        valley.add_person(
            chance.uniform(80.01, 80.19), chance.uniform(7.01, 7.09), channels=("web_push", "email", "webhook")
        )
    httpx.put(
        f"{provider}/faults", json={"rates": RATES, "honour_keys": True, "slow_s": 0.2, "hang_s": 1.5}
    ).raise_for_status()

    async def release_it() -> None:
        await valley.save_rule(automatic_ceiling=valley.level("red"))
        await valley.see((0.0, 2.0), (10.0, 6.5), limit=10**6)

    valley.conn.execute(
        "INSERT INTO scenario_clock (wall_start, scenario_start, speed) VALUES (now(), %s, 1)", [valley.at(10)]
    )
    asyncio.run(release_it())
    valley.conn.close()
    expected = n_people * 3 + 3
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
        "TOCSIN_DATABASE_URL": url,
        "TOCSIN_MODE": "exercise",
        "TOCSIN_HOME": str(tmp_path),
        "TOCSIN_SECRET_KEY": KEY,
        "TOCSIN_DELIVER__FAKE_URL": provider,
    }

    def start(part: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", SENDER, "keyed", str(part)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
        )

    def attempts() -> int:
        return int(httpx.get(f"{provider}/ledger").json()["attempts"])

    faults = ["kill"] * n_kills + ["stop"] * n_stops
    chance.shuffle(faults)
    done = {"kill": 0, "stop": 0}
    processes, began = [start(1), start(2)], time.monotonic()
    try:
        while time.monotonic() - began < 1500:
            if faults:
                before, deadline = attempts(), time.monotonic() + 30
                while time.monotonic() < deadline and attempts() <= before:
                    time.sleep(0.02)  # it is broken while it sends
                time.sleep(chance.uniform(0.0, 0.2))
                kind = faults.pop()
                if kind == "stop":
                    crash(running)
                else:
                    which = chance.randrange(2)
                    processes[which].send_signal(signal.SIGKILL)
                    processes[which].wait()
                    processes[which] = start(which + 1)
                done[kind] += 1
                continue
            with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as conn:
                row = conn.execute(
                    "SELECT count(*) FILTER (WHERE state IN ('accepted', 'delivered')), count(*) FROM delivery"
                ).fetchone()
                if row == (expected, expected):
                    break
            time.sleep(0.3)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    ledger = httpx.get(f"{provider}/ledger").json()
    with psycopg.connect(url, autocommit=True) as conn:
        planned = {str(row[0]) for row in conn.execute("SELECT delivery_id FROM delivery").fetchall()}
    sent = set()
    after = 0
    while page := httpx.get(f"{provider}/sent?after={after}").json()["sent"]:
        sent |= {one["key"] for one in page}
        after = page[-1]["seq"]
    return {
        "expected": expected,
        "planned": len(planned),
        "missed": len(planned - sent),
        "unknown": len(sent - planned),
        "duplicates": ledger["duplicates"],
        "attempts": ledger["attempts"],
        "done": done,
        "took_s": round(time.monotonic() - began, 1),
    }


@pytest.mark.long
def test_nobody_is_missed_while_the_database_crashes(server: Any, fake_provider: str, tmp_path: Path) -> None:
    got = campaign(server, fake_provider, tmp_path, n_people=30, n_kills=1, n_stops=2)
    print(json.dumps(got))
    assert (got["planned"], got["missed"], got["duplicates"], got["unknown"]) == (got["expected"], 0, 0, 0)
    assert got["done"] == {"kill": 1, "stop": 2}


@pytest.mark.long
def test_two_thousand_people_fifty_kills_and_five_crashes_of_the_database(
    server: Any, fake_provider: str, tmp_path: Path
) -> None:
    got = campaign(server, fake_provider, tmp_path, n_people=2000, n_kills=50, n_stops=5)
    print(json.dumps(got))
    assert (got["planned"], got["missed"], got["duplicates"], got["unknown"]) == (got["expected"], 0, 0, 0)
