"""Rows of books, their locations and policies to nouns and back."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from core.errors import Conflict
from core.ids import derived_id
from geo.exposure import Book
from geo.oed import LocationRow, PolicyRow
from geo.oed_lines import copy_lines
from store import queries
from store.pool import AsyncConnection

_SQL = queries.load("geo")


class StillNeeded(Conflict):
    """The new file leaves out locations or policies that policyholders hang on."""


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A book's row."""

    portfolio_id: UUID
    tenant_id: UUID
    name: str
    currency: str
    source_sha256: bytes
    imported_at: datetime
    flood_curves: dict[str, Any] = field(default_factory=dict)  #: as geo.flood_choice writes it


async def portfolios(conn: AsyncConnection, tenant_id: UUID | None) -> list[Portfolio]:
    """Portfolios of a tenant, or of all tenants."""
    rows = await (await conn.execute(_SQL["portfolios"], {"tenant_id": tenant_id})).fetchall()
    return [Portfolio(*row) for row in rows]


class LocationImport:
    """The locations of one file on their way into a book, inside one transaction."""

    def __init__(self, conn: AsyncConnection, tenant_id: UUID, name: str) -> None:
        self.conn, self.tenant_id, self.name = conn, tenant_id, name
        self.portfolio_id: UUID
        self.new = False  #: the book was not there: nothing can be in it that the file lacks
        self.accounts: dict[str, None] = {}
        self.currencies: Counter[str] = Counter()

    async def begin(self) -> tuple[UUID, bytes | None]:
        """Makes room; the portfolio's id, and the hash of the file it was made from if it is there already."""
        await self.conn.execute(_SQL["make_location_import"])
        await self.conn.execute(_SQL["make_location_chunk"])
        await self.conn.execute(_SQL["make_policy_import"])
        found = await self.conn.execute(_SQL["lock_portfolio"], {"tenant_id": self.tenant_id, "name": self.name})
        row = await found.fetchone()
        if row is None:
            self.new = True
            self.portfolio_id = derived_id("portfolio", self.tenant_id, self.name)
            await self.conn.execute(
                _SQL["make_portfolio"],
                {"portfolio_id": self.portfolio_id, "tenant_id": self.tenant_id, "name": self.name},
            )
            return self.portfolio_id, None
        self.portfolio_id = row[0]
        return row[0], bytes(row[1])

    async def add(self, rows: Sequence[LocationRow]) -> None:
        """Moves a chunk of good rows into the book; what the file lacks is taken out by `finish`."""
        if not rows:
            return
        self.accounts.update(dict.fromkeys(row.acc_number for row in rows))
        self.currencies.update(row.currency for row in rows)
        lines = await asyncio.to_thread(copy_lines, rows)
        async with self.conn.cursor().copy(_SQL["copy_location_chunk"]) as copy:
            await copy.write(lines)
        await self.conn.execute(
            _SQL["save_locations"],
            {"tenant_id": self.tenant_id, "portfolio_id": self.portfolio_id},
        )
        if not self.new:
            await self.conn.execute(_SQL["note_chunk"])
        await self.conn.execute(_SQL["empty_chunk"])

    async def finish(
        self,
        portfolio_id: UUID,
        policies: Sequence[PolicyRow] | None,
        currency: str | None,
        sha256: bytes,
        flood_curves: dict[str, Any],
    ) -> dict[str, Any]:
        """Takes out of the book what was not added, and completes it; raises StillNeeded.

        Without an account file each account is one policy that carries the account's number.
        """
        conn = self.conn
        if currency is None:
            currency = min(self.currencies, key=lambda c: (-self.currencies[c], c)) if self.currencies else "XXX"
        if policies is None:
            policies = [PolicyRow(acc, acc, "", None, None) for acc in sorted(self.accounts)]
        async with conn.cursor().copy(_SQL["copy_policy_import"]) as copy:
            for p in policies:
                policy_id = derived_id("policy", portfolio_id, p.acc_number, p.pol_number)
                await copy.write_row((policy_id, p.acc_number, p.pol_number, p.perils, p.inception, p.expiry))
        names = {"tenant_id": self.tenant_id, "portfolio_id": portfolio_id}
        await conn.execute(
            _SQL["save_portfolio"],
            {
                **names, "name": self.name, "currency": currency, "source_sha256": sha256,
                "flood_curves": Jsonb(flood_curves),
            },
        )  # fmt: skip
        removed = 0
        try:
            if not self.new:
                await conn.execute(_SQL["analyze_location_import"])
                removed = (await conn.execute(_SQL["remove_absent_locations"], names)).rowcount
                await conn.execute(_SQL["remove_absent_policies"], names)
            await conn.execute(_SQL["save_policies"], names)
        except psycopg.errors.ForeignKeyViolation as error:
            raise StillNeeded(portfolio=self.name) from error
        stored = await (await conn.execute(_SQL["stored_tiv"], names)).fetchall()
        return {"currency": currency, "n_policies": len(policies), "n_removed": removed, "stored": stored}


async def load_book(conn: AsyncConnection, portfolio_id: UUID) -> Book:
    """A portfolio's locations as columns."""
    names = {"portfolio_id": portfolio_id}
    accounts = await (await conn.execute(_SQL["book_accounts"], names)).fetchall()
    currencies: dict[str, int] = {}
    chunks: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    whole: list[np.ndarray[Any, np.dtype[np.int64]]] = []
    async with conn.cursor(name="book", binary=True) as cursor:
        await cursor.execute(_SQL["book_rows"], names)
        while rows := await cursor.fetchmany(50_000):
            place = [(np.nan if r[1] is None else r[1], np.nan if r[2] is None else r[2]) for r in rows]
            chunks.append(np.array(place, dtype=np.float64))
            whole.append(
                np.array(
                    [(r[0], r[3], currencies.setdefault(r[4], len(currencies)), *r[5:]) for r in rows], dtype=np.int64
                )
            )
    place_ = np.concatenate(chunks) if chunks else np.zeros((0, 2))
    numbers = np.concatenate(whole) if whole else np.zeros((0, 7), dtype=np.int64)
    return Book.from_columns(
        {
            "location_id": numbers[:, 0], "lon": place_[:, 0], "lat": place_[:, 1], "account": numbers[:, 1],
            "currency": numbers[:, 2], "building_cents": numbers[:, 3], "other_cents": numbers[:, 4],
            "contents_cents": numbers[:, 5], "bi_cents": numbers[:, 6],
        },
        accounts=tuple(a for a, _ in accounts),
        currencies=tuple(currencies),
        policies_of_account=[n for _, n in accounts],
    )  # fmt: skip


async def location_ids(
    conn: AsyncConnection, portfolio_id: UUID, accounts: Sequence[str]
) -> dict[tuple[str, str], int]:
    """(account, location number) -> location_id."""
    found = await conn.execute(
        _SQL["locations_of_accounts"], {"portfolio_id": portfolio_id, "accounts": list(accounts)}
    )
    return {(acc, loc): location_id for acc, loc, location_id in await found.fetchall()}


async def policy_ids(conn: AsyncConnection, portfolio_id: UUID, accounts: Sequence[str]) -> dict[str, UUID]:
    """Account -> its first policy."""
    found = await conn.execute(_SQL["policies_of_accounts"], {"portfolio_id": portfolio_id, "accounts": list(accounts)})
    return dict(await found.fetchall())
