"""Quotes in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from itops.fit_use import FLEET_VERSION, REPAIR_VERSION, FitUse
from store import queries
from store.pool import DATABASE_AWAY as DATABASE_AWAY
from store.pool import AsyncConnection

_SQL = queries.load("itops")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuote:
    """A quote as it was issued."""

    quote_id: UUID
    tenant_id: UUID
    inputs_sha256: str
    submission: Mapping[str, Any]  #: the canonical inputs, tables and priors included
    result: Mapping[str, Any]
    model_version: str
    premium: Decimal
    currency: str
    issued_at: datetime


async def insert_quote(
    conn: AsyncConnection,
    *,
    quote_id: UUID,
    tenant_id: UUID,
    inputs_sha256: str,
    inputs: Mapping[str, Any],
    result: Mapping[str, Any],
    as_of: date,
    exposure_from: date,
    exposure_to: date,
    model_version: str,
    premium: Decimal,
    currency: str,
    issued_at: datetime,
) -> bool:
    """Stores a quote; false where the tenant already has one of these inputs and this model."""
    cursor = await conn.execute(
        _SQL["insert_quote"],
        {
            "quote_id": quote_id,
            "tenant_id": tenant_id,
            "inputs_sha256": inputs_sha256,
            "submission": Jsonb(inputs),
            "result": Jsonb(result),
            "as_of": as_of,
            "exposure_from": exposure_from,
            "exposure_to": exposure_to,
            "model_version": model_version,
            "premium": premium,
            "currency": currency,
            "issued_at": issued_at,
        },
    )
    return await cursor.fetchone() is not None


async def find_quote(conn: AsyncConnection, quote_id: UUID) -> StoredQuote | None:
    """The quote of this id, as far as the connection's role may see it."""
    async with conn.cursor(row_factory=class_row(StoredQuote)) as cursor:
        await cursor.execute(_SQL["find_quote"], {"quote_id": quote_id})
        return await cursor.fetchone()


async def find_quote_by_inputs(
    conn: AsyncConnection, tenant_id: UUID, inputs_sha256: str, model_version: str
) -> StoredQuote | None:
    """The tenant's quote of these inputs under this model."""
    async with conn.cursor(row_factory=class_row(StoredQuote)) as cursor:
        await cursor.execute(
            _SQL["find_quote_by_inputs"],
            {"tenant_id": tenant_id, "inputs_sha256": inputs_sha256, "model_version": model_version},
        )
        return await cursor.fetchone()


async def find_tenant(conn: AsyncConnection, slug: str) -> UUID | None:
    """The tenant of this slug."""
    row = await (await conn.execute(_SQL["find_tenant"], {"slug": slug})).fetchone()
    return None if row is None else row[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteAction:
    """What somebody did with a quote."""

    action: str  #: refer, approve, decline, bind
    option_name: str | None
    premium: Decimal | None
    reason: str
    principal_id: UUID
    acted_by: str
    acted_at: datetime


async def lock_quote(conn: AsyncConnection, quote_id: UUID) -> None:
    """Waits until nobody else acts on this quote; until the transaction ends."""
    await conn.execute(_SQL["lock_quote"], {"quote_id": str(quote_id)})


async def add_action(
    conn: AsyncConnection, *, action_id: UUID, tenant_id: UUID, quote_id: UUID, action: QuoteAction
) -> bool:
    """Keeps an action; false where it was done before (bound once, one voice a person)."""
    params = {
        "action_id": action_id,
        "tenant_id": tenant_id,
        "quote_id": quote_id,
        "action": action.action,
        "option_name": action.option_name,
        "premium": action.premium,
        "reason": action.reason,
        "principal_id": action.principal_id,
        "acted_by": action.acted_by,
        "acted_at": action.acted_at,
    }
    return await (await conn.execute(_SQL["add_quote_action"], params)).fetchone() is not None


async def actions_of(conn: AsyncConnection, quote_id: UUID) -> list[QuoteAction]:
    """What was done with a quote, oldest first."""
    async with conn.cursor(row_factory=class_row(QuoteAction)) as cursor:
        await cursor.execute(_SQL["quote_actions"], {"quote_id": quote_id})
        return await cursor.fetchall()


async def add_work_order(conn: AsyncConnection, params: Mapping[str, Any]) -> bool:
    """Keeps a work order; false where it is there already."""
    return await (await conn.execute(_SQL["add_work_order"], params)).fetchone() is not None


async def work_orders_of(conn: AsyncConnection, quote_id: UUID) -> list[dict[str, Any]]:
    """The work orders of a quote, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SQL["work_orders"], {"quote_id": quote_id})
        return await cursor.fetchall()


async def close_work_order(
    conn: AsyncConnection,
    *,
    quote_id: UUID,
    work_order_id: UUID,
    state: str,
    closed_at: datetime,
    closed_by: str,
    evidence: str,
) -> bool:
    """Closes an open order; false where there is none."""
    params = {
        "quote_id": quote_id,
        "work_order_id": work_order_id,
        "state": state,
        "closed_at": closed_at,
        "closed_by": closed_by,
        "evidence": evidence,
    }
    return await (await conn.execute(_SQL["close_work_order"], params)).fetchone() is not None


async def telemetry_of(
    conn: AsyncConnection, *, tenant_id: UUID, asset_ids: Sequence[str], signals: Sequence[str], until: datetime
) -> list[tuple[str, str, float, datetime]]:
    """(asset_id, signal, value, observed_at) of the newest readings of a fleet's devices."""
    params = {"tenant_id": tenant_id, "asset_ids": list(asset_ids), "signals": list(signals), "until": until}
    return await (await conn.execute(_SQL["telemetry_of"], params)).fetchall()


async def add_fitted_model(conn: AsyncConnection, *, fitted_model_id: UUID, tenant_id: UUID, use: FitUse,
                           stored_at: datetime) -> bool:  # fmt: skip
    """Keeps a fit; false where the tenant has it for this class already."""
    params = {
        "fitted_model_id": fitted_model_id,
        "tenant_id": tenant_id,
        "kind": use.kind,
        "device_class": use.device_class,
        "unit": use.unit,
        "same_record": use.same_record,
        "model_version": use.version,
        "document_sha256": use.sha256,
        "document": Jsonb(use.document),
        "as_of": use.as_of,
        "stored_at": stored_at,
    }
    return await (await conn.execute(_SQL["add_fitted_model"], params)).fetchone() is not None


async def fitted_models(conn: AsyncConnection, *, tenant_id: UUID, as_of: date) -> list[FitUse]:
    """The tenant's newest fits of each kind and class that were known on a day, in versions that are read here."""
    params = {"tenant_id": tenant_id, "as_of": as_of, "versions": [FLEET_VERSION, REPAIR_VERSION]}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SQL["fitted_models"], params)
        return [FitUse(**row, source="store") for row in await cursor.fetchall()]


async def in_force_with_alarms(
    conn: AsyncConnection, *, signals: Sequence[str], least: Sequence[float], until: datetime
) -> list[UUID]:
    """Quotes in force with an alarm that nothing answers yet: a signal at its least value that asks for work."""
    params = {"signals": list(signals), "least": list(least), "until": until, "today": until.date()}
    return [row[0] for row in await (await conn.execute(_SQL["in_force_with_alarms"], params)).fetchall()]
