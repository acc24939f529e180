"""Quotes in the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from store import queries
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
