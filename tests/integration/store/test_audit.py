"""The audit chain: grows without gaps, shows every change."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from core.settings import Settings
from store import audit
from store.audit import AuditBroken, AuditHead, BadDetail
from store.pool import app_pool, connect_worker_async, tenant_transaction

Connection = psycopg.Connection[tuple[Any, ...]]


def grow(url: str, tenant_id: UUID, n: int = 5) -> AuditHead:
    async def go() -> AuditHead:
        head = AuditHead(0, audit.GENESIS)
        async with await connect_worker_async(url) as conn:
            for i in range(n):
                head = await audit.append(
                    conn, tenant_id, "ann", "warning.release", f"warning/{i}", {"i": i, "x": 0.1 * i}
                )
        return head

    return asyncio.run(go())


def verify(url: str, tenant_id: UUID, head: AuditHead | None = None) -> AuditHead:
    async def go() -> AuditHead:
        async with await connect_worker_async(url) as conn:
            return await audit.verify(conn, tenant_id, head=head)

    return asyncio.run(go())


def test_a_chain_holds_and_tenants_have_their_own(postgres_url: str, make_tenant: Callable[[str], UUID]) -> None:
    one, other = make_tenant("one"), make_tenant("other")
    assert verify(postgres_url, one) == AuditHead(0, audit.GENESIS)
    first = grow(postgres_url, one, 3)
    assert verify(postgres_url, one) == first
    assert verify(postgres_url, other).seq == 0
    assert grow(postgres_url, other, 1).seq == 1
    assert verify(postgres_url, one, head=first).seq == 3
    assert verify(postgres_url, one, head=AuditHead(0, audit.GENESIS)).seq == 3


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        ("UPDATE audit SET detail = '{\"i\": 99}' WHERE seq = 3", "changed"),
        ("UPDATE audit SET actor = 'eve' WHERE seq = 1", "changed"),
        ("UPDATE audit SET at = at + interval '1 microsecond' WHERE seq = 5", "changed"),
        ("DELETE FROM audit WHERE seq = 2", "missing"),
        ("UPDATE audit SET prev_hash = row_hash WHERE seq = 4", "follow"),
        ("UPDATE audit SET seq = seq + 10 WHERE seq = 5", "missing"),
    ],
)
def test_every_change_shows(postgres_url: str, make_tenant: Callable[[str], UUID], tamper: str, reason: str) -> None:
    tenant_id = make_tenant("one")
    grow(postgres_url, tenant_id)
    with psycopg.connect(postgres_url) as admin:  # not even the worker may; a superuser can
        admin.execute(tamper)
    with pytest.raises(AuditBroken, match=reason):
        verify(postgres_url, tenant_id)


def test_a_cut_end_shows_against_a_head_kept_elsewhere(postgres_url: str, make_tenant: Callable[[str], UUID]) -> None:
    tenant_id = make_tenant("one")
    head = grow(postgres_url, tenant_id)
    with psycopg.connect(postgres_url) as admin:
        admin.execute("DELETE FROM audit WHERE seq = 5")
    assert verify(postgres_url, tenant_id).seq == 4
    with pytest.raises(AuditBroken, match="head"):
        verify(postgres_url, tenant_id, head=head)


def test_appends_at_once_make_one_chain(postgres_url: str, make_tenant: Callable[[str], UUID]) -> None:
    tenant_id = make_tenant("one")

    async def some(name: str) -> None:
        async with await connect_worker_async(postgres_url) as conn:
            for _ in range(10):
                await audit.append(conn, tenant_id, name, "a", "o")

    async def go() -> None:
        await asyncio.gather(*(some(f"w{i}") for i in range(5)))

    asyncio.run(go())
    assert verify(postgres_url, tenant_id).seq == 50


def test_people_append_for_their_tenant_and_change_nothing(
    settings: Settings, postgres_url: str, worker: Connection, make_tenant: Callable[[str], UUID]
) -> None:
    mine, theirs = make_tenant("mine"), make_tenant("theirs")

    async def go() -> None:
        pool = app_pool(settings)
        await pool.open()
        try:
            async with tenant_transaction(pool, mine) as conn:
                await audit.append(conn, mine, "ann", "a", "o")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                async with tenant_transaction(pool, mine) as conn:
                    await audit.append(conn, theirs, "ann", "a", "o")
        finally:
            await pool.close()

    asyncio.run(go())
    assert verify(postgres_url, mine).seq == 1
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute(statement)


@pytest.mark.parametrize(
    "detail",
    [
        {"big": 1e22, "small": 1e-7, "whole": 100.0, "negative": -0.0, "long": 2**70, "third": 1 / 3},
        {"text": 'ü 中文 \U0001f30a \\ " / \n', "nested": {"z": [1, None, True, {"a": []}], "a": 1}},
        {"é": 1, "e\u0301": 2, "Z": 3, "a": 4},
        {1: "a", 10: "b", 2: "c"},
        {},
    ],
)
def test_details_hash_alike_before_and_after_the_database(
    postgres_url: str, make_tenant: Callable[[str], UUID], detail: dict[str, Any]
) -> None:
    tenant_id = make_tenant("one")

    async def go() -> None:
        async with await connect_worker_async(postgres_url) as conn:
            head = await audit.append(conn, tenant_id, "ann", "a", "o", detail)
            assert await audit.verify(conn, tenant_id) == head

    asyncio.run(go())


@pytest.mark.parametrize("detail", [{"x": float("nan")}, {"x": "a\x00b"}, {"x": "\ud800"}, {"x": object()}])
def test_a_detail_that_is_no_json_is_named(
    postgres_url: str, make_tenant: Callable[[str], UUID], detail: dict[str, Any]
) -> None:
    tenant_id = make_tenant("one")

    async def go() -> None:
        async with await connect_worker_async(postgres_url) as conn:
            with pytest.raises(BadDetail):
                await audit.append(conn, tenant_id, "ann", "a", "o", detail)

    asyncio.run(go())
    assert verify(postgres_url, tenant_id).seq == 0


def test_a_deed_that_rolls_back_leaves_no_row(postgres_url: str, make_tenant: Callable[[str], UUID]) -> None:
    tenant_id = make_tenant("one")

    async def go() -> None:
        async with await connect_worker_async(postgres_url) as conn, conn.transaction():
            await audit.append(conn, tenant_id, "ann", "a", "o")
            raise psycopg.Rollback

    asyncio.run(go())
    assert verify(postgres_url, tenant_id).seq == 0
