"""One process leads, on however many machines; where it is cut off another takes over, and it leads no more."""

import asyncio
import contextlib

import psycopg
import pytest

from store.lead import lead
from store.pool import role_pool

pytestmark = pytest.mark.sql


async def _until(condition: object, within_s: float = 20.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  tasks and another session change it
            await asyncio.sleep(0.02)


def test_one_leads_and_another_takes_over(postgres_url: str) -> None:
    leading = {"a": False, "b": False}
    both_at_once: list[bool] = []

    async def story() -> None:
        stops = {name: asyncio.Event() for name in leading}

        def told(name: str, now: bool) -> None:
            leading[name] = now
            both_at_once.append(all(leading.values()))

        async with role_pool(postgres_url, "tocsin_worker", size=1) as pool:
            tasks = [
                asyncio.create_task(lead(pool, "x", stops[name], lambda now, name=name: told(name, now), every_s=0.1))
                for name in leading
            ]
            other = asyncio.create_task(lead(pool, "y", stops["a"], lambda now: None, every_s=0.1))
            await _until(lambda: any(leading.values()))
            await asyncio.sleep(0.5)
            assert sum(leading.values()) == 1
            first = next(name for name, now in leading.items() if now)
            second = "b" if first == "a" else "a"
            # its session is ended from outside, as where its machine is cut off
            with psycopg.connect(postgres_url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid"
                    " WHERE l.locktype = 'advisory' AND a.datname = current_database() AND l.granted"
                )
            await _until(lambda: not leading[first] or leading[second])
            await _until(lambda: sum(leading.values()) == 1)
            stops[next(name for name, now in leading.items() if now)].set()
            await _until(lambda: sum(leading.values()) == 1 and not all(s.is_set() for s in stops.values()))
            for stop in stops.values():
                stop.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, other)
        assert not any(leading.values())

    asyncio.run(story())
