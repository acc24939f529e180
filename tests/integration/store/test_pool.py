"""A pooled connection that the server has ended is not handed out."""

import asyncio

import psycopg
import pytest

from store.pool import role_pool

pytestmark = pytest.mark.sql


def test_a_connection_that_the_server_ended_is_replaced_before_it_is_lent(postgres_url: str) -> None:
    async def pid(pool: object) -> int:
        async with pool.connection() as conn:  # type: ignore[attr-defined]
            row = await (await conn.execute("SELECT pg_backend_pid()")).fetchone()
            return int(row[0])

    async def body() -> None:
        async with role_pool(postgres_url, "tocsin_worker", size=1) as pool:
            first = await pid(pool)
            assert await pid(pool) == first
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [first])
                for _ in range(100):
                    found = other.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [first]).fetchone()
                    if found == (0,):
                        break
                    await asyncio.sleep(0.02)
            assert await pid(pool) != first

    asyncio.run(body())
