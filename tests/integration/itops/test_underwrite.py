"""A quote in the database: stored once, unchangeable, told to the stream, computed again to the cent."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from core.ids import new_id
from core.settings import Settings
from itops import issuing, underwrite
from itops.inputs import hash_inputs
from itops.issuing import UnknownQuote
from itops.repository import StoredQuote
from itops.underwrite import OtherModel, Priced, QuoteDiffers
from store.pool import app_pool, connect_worker_async, tenant_transaction

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 20, 12, 0, tzinfo=UTC)
Worker = psycopg.Connection[tuple[Any, ...]]


def request() -> dict[str, Any]:
    return {
        "insured": "Example Hosting",
        "fleet": "fleet.csv",
        "incidents": "incidents.csv",
        "exposure_window": {"from": "2024-01-01", "to": "2026-01-01"},
        "as_of": "2026-01-15",
        "policy_period": {"from": "2026-02-01", "to": "2027-02-01"},
        "currency": "EUR",
        "covers": [
            {
                "cover": "business_interruption", "revenue_per_hour": 1234.56, "affected_share": {"server": 0.3},
                "waiting_period_h": 4, "indemnity_period_h": 72, "limit": 50000,
            }
        ],
        "expenses": {"acquisition": 0.15, "administration": 0.10, "profit": 0.05},
    }  # fmt: skip


FLEET = (
    "asset_id,device_class,commissioned_on,value,colour\na,server,2022-01-01,1000.50,red\nb,server,2022-01-01,,blue\n"
)
INCIDENTS = "asset_id,opened,restored\na,2024-05-01 10:00,2024-05-01 18:00\nb,2025-12-01 10:00,\n"


def priced() -> Priced:
    return underwrite.price_request(request(), FLEET, INCIDENTS)


async def issue(url: str, tenant_id: UUID) -> StoredQuote:
    async with await connect_worker_async(url) as conn:
        return await issuing.issue_quote(conn, priced(), tenant_id=tenant_id, now=NOW)


async def rerun(url: str, quote_id: UUID) -> StoredQuote:
    async with await connect_worker_async(url) as conn:
        return await issuing.rerun_quote(conn, quote_id)


def run(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def test_a_quote_is_stored_with_its_inputs_and_told(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID]
) -> None:
    tenant_id = make_tenant("acme")
    stored = run(issue(postgres_url, tenant_id))
    here = priced()
    assert stored.premium == here.quote.premium.amount
    assert stored.inputs_sha256 == here.quote.inputs_sha256
    assert stored.issued_at == NOW
    assert stored.result == here.result()
    # What lies in the database is enough for the hash, after jsonb has had its way with it.
    assert hash_inputs(stored.submission) == stored.inputs_sha256
    told = worker.execute("SELECT kind, tenant_id, payload FROM outbox").fetchall()
    assert told == [("quote_issued", tenant_id, {"quote_id": str(stored.quote_id)})]


def test_the_same_inputs_are_the_same_quote(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID]
) -> None:
    tenant_id = make_tenant("acme")
    first, second = run(issue(postgres_url, tenant_id)), run(issue(postgres_url, tenant_id))
    assert first == second
    other = run(issue(postgres_url, make_tenant("other")))
    assert other.quote_id != first.quote_id
    assert worker.execute("SELECT count(*) FROM outbox").fetchone() == (2,)


def test_a_stored_quote_cannot_be_changed_or_removed(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID]
) -> None:
    run(issue(postgres_url, make_tenant("acme")))
    for statement in ("UPDATE quote SET premium = 1", "DELETE FROM quote"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute(statement)


def test_people_issue_and_see_only_their_own(
    postgres_url: str, settings: Settings, make_tenant: Callable[[str], UUID]
) -> None:
    mine, theirs = make_tenant("mine"), make_tenant("theirs")

    async def walk() -> None:
        pool = app_pool(settings)
        await pool.open()
        try:
            async with tenant_transaction(pool, mine) as conn:
                stored = await issuing.issue_quote(conn, priced(), tenant_id=mine, now=NOW)
            async with tenant_transaction(pool, mine) as conn:
                assert (await issuing.rerun_quote(conn, stored.quote_id)).premium == stored.premium
            async with tenant_transaction(pool, theirs) as conn:
                with pytest.raises(UnknownQuote):
                    await issuing.rerun_quote(conn, stored.quote_id)
        finally:
            await pool.close()

    run(walk())


def test_a_rerun_repeats_the_quote_and_sees_a_difference(
    postgres_url: str, make_tenant: Callable[[str], UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = run(issue(postgres_url, make_tenant("acme")))
    assert run(rerun(postgres_url, stored.quote_id)) == stored
    with pytest.raises(UnknownQuote):
        run(rerun(postgres_url, new_id()))
    monkeypatch.setattr("itops.pricing.exact", lambda amount: Decimal(repr(round(amount, 6))) + Decimal("0.01"))
    with pytest.raises(QuoteDiffers):
        run(rerun(postgres_url, stored.quote_id))
    monkeypatch.setattr("itops.underwrite.MODEL_VERSION", "itops-next")
    monkeypatch.setattr("itops.underwrite.SUPPORTED", ("itops-next",))
    with pytest.raises(OtherModel, match="itops-next"):
        run(rerun(postgres_url, stored.quote_id))


def test_store_and_rerun_from_the_shell(postgres_url: str, tmp_path: Path, make_tenant: Callable[[str], UUID]) -> None:
    make_tenant("acme")
    (tmp_path / "fleet.csv").write_text(FLEET)
    (tmp_path / "incidents.csv").write_text(INCIDENTS)
    (tmp_path / "s.json").write_text(json.dumps(request()))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
    environment |= {
        "TOCSIN_DATABASE_URL": postgres_url,
        "TOCSIN_HOME": str(tmp_path / "var"),
        "OPENBLAS_NUM_THREADS": "2",
    }

    def tocsin(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tocsin", "quote", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = tocsin(str(tmp_path / "s.json"), "--store", "--tenant", "acme", "--json")
    assert done.returncode == 0, done.stderr
    quote = json.loads(done.stdout)
    again = tocsin("rerun", quote["quote_id"], "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == quote
    lost = tocsin(str(tmp_path / "s.json"), "--store", "--tenant", "nobody")
    assert lost.returncode == 3
    assert "'nobody'" in lost.stderr
    nameless = tocsin(str(tmp_path / "s.json"), "--store")
    assert nameless.returncode == 2
    assert "--tenant" in nameless.stderr
