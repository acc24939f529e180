"""Rows of books' files and of losses to nouns and back: the only caller of geo/sql/loss.sql."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb

from core.errors import NotFound
from geo.chance import KeyArray, keys_of
from geo.hazard_field import HazardField, from_json
from geo.reported import Reports
from geo.repository import NoFootprint
from geo.terms import FloatArray, IntArray
from store import queries
from store.pool import AsyncConnection

_SQL = queries.load("geo")


class NoAssessment(NotFound):
    """There is no such assessment."""


async def save_files(
    conn: AsyncConnection, tenant_id: UUID, portfolio_id: UUID, files: Mapping[str, tuple[str, bytes]]
) -> None:
    """The files of a book by kind, in place of all that it had; (name, Parquet)."""
    names = {"portfolio_id": portfolio_id, "tenant_id": tenant_id}
    await conn.execute(_SQL["remove_portfolio_files"], {**names, "kinds": list(files)})
    for kind, (name, content) in files.items():
        await conn.execute(_SQL["save_portfolio_file"], {**names, "kind": kind, "name": name, "content": content})


async def files_of(conn: AsyncConnection, portfolio_id: UUID) -> dict[str, tuple[str, bytes]]:
    """Kind -> (name, Parquet)."""
    rows = await (await conn.execute(_SQL["portfolio_files"], {"portfolio_id": portfolio_id})).fetchall()
    return {kind: (name, bytes(content)) for kind, name, content in rows}


@dataclass(frozen=True)
class StoredPlaces:
    """A book's locations as the database places them, sorted by key."""

    key: KeyArray
    location_id: IntArray
    lon: FloatArray
    lat: FloatArray


async def places_of(conn: AsyncConnection, portfolio_id: UUID) -> StoredPlaces:
    """Where the locations of a book stand; NaN where that is unknown."""
    ids: list[int] = []
    accounts: list[str] = []
    numbers: list[str] = []
    where: list[tuple[float, float]] = []
    # a cursor of the server lives in a transaction, be it only for its reading
    async with conn.transaction(), conn.cursor(name="book_places") as cursor:
        await cursor.execute(_SQL["book_places"], {"portfolio_id": portfolio_id})
        while rows := await cursor.fetchmany(50_000):
            ids += [r[0] for r in rows]
            accounts += [r[1] for r in rows]
            numbers += [r[2] for r in rows]
            where += [(np.nan if r[3] is None else r[3], np.nan if r[4] is None else r[4]) for r in rows]
    key = keys_of(accounts, numbers)
    order = np.argsort(key)
    at = np.array(where, dtype=np.float64).reshape(-1, 2)[order]
    return StoredPlaces(key[order], np.array(ids, dtype=np.int64)[order], at[:, 0], at[:, 1])


@dataclass(frozen=True)
class Assessed:
    """What an assessment is of."""

    assessment_id: UUID
    tenant_id: UUID
    portfolio_id: UUID
    exposed_tiv: float
    footprint_id: UUID
    version: int
    field: HazardField | None
    hazard_event_id: UUID
    code: str
    peril: str
    started_at: datetime
    valid_at: datetime  #: of the footprint version


async def assessed(conn: AsyncConnection, assessment_id: UUID) -> Assessed:
    """The assessment; raises NoAssessment."""
    row = await (await conn.execute(_SQL["assessed"], {"assessment_id": assessment_id})).fetchone()
    if row is None:
        raise NoAssessment(assessment_id=str(assessment_id))
    field, grid = row[6], row[7]
    made = from_json(field, None if grid is None else bytes(grid)) if field else None
    return Assessed(row[0], row[1], row[2], row[3], row[4], row[5], made, row[8], row[9], row[10], row[11], row[12])


async def reports_of(conn: AsyncConnection, of: Assessed, *, limit: int) -> Reports:
    """What this tenant's people told of the water in their homes, until the footprint's time; the newest at most."""
    names = {"tenant_id": of.tenant_id, "since": of.started_at, "until": of.valid_at, "limit": limit}
    rows = await (await conn.execute(_SQL["reports_of"], names)).fetchall()
    columns = np.array(rows, dtype=float).reshape(-1, 7).T
    return Reports(*columns)


async def loss_before(conn: AsyncConnection, of: Assessed) -> dict[str, Any] | None:
    """The loss of an earlier version, for the difference; None where there is none that is known."""
    names = {"hazard_event_id": of.hazard_event_id, "portfolio_id": of.portfolio_id, "version": of.version}
    row = await (await conn.execute(_SQL["loss_before"], names)).fetchone()
    if row is None or row[3] or row[4] is None:
        return None
    return {"version": row[0], "exposed_tiv": row[1], "currency": row[2], "losses": row[4]}


async def loss_without_sources(conn: AsyncConnection, assessment_id: UUID) -> dict[str, Any] | None:
    """The assumptions (n_samples, seed) of a loss that lacks its parts by source; None where none is due."""
    row = await (await conn.execute(_SQL["loss_without_sources"], {"assessment_id": assessment_id})).fetchone()
    return dict(row[0]) if row else None


async def save_loss(
    conn: AsyncConnection,
    of: Assessed,
    *,
    currency: str,
    problem: str,
    result: Mapping[str, Any],
    locations: Sequence[tuple[int, bool, float, float, float, float]],
    policies: Sequence[Mapping[str, Any]],
    now: datetime,
) -> None:
    """Stores the loss of an assessment, in place of one that was there.

    locations : (location_id, sampled, intensity, mean ground-up, gross, net), largest first
    """
    names = {"assessment_id": of.assessment_id, "tenant_id": of.tenant_id}
    losses = result.get("losses") or {}
    await conn.execute(
        _SQL["save_loss"],
        {
            **names, "currency": currency, "problem": problem, "result": Jsonb(dict(result)), "computed_at": now,
            **{f"mean_{p}": (losses.get(p) or {}).get("mean") for p in ("gul", "il", "ri")},
        },
    )  # fmt: skip
    await conn.execute(_SQL["remove_location_losses"], names)
    await conn.execute(
        _SQL["save_location_losses"],
        {
            **names, "location_ids": [r[0] for r in locations], "ranks": list(range(1, len(locations) + 1)),
            "sampled": [r[1] for r in locations], "intensity": [r[2] for r in locations],
            "gul": [r[3] for r in locations], "il": [r[4] for r in locations], "ri": [r[5] for r in locations],
        },
    )  # fmt: skip
    await conn.execute(_SQL["remove_policy_losses"], names)
    async with conn.cursor() as cursor:
        await cursor.executemany(_SQL["save_policy_loss"], [{**names, **policy} for policy in policies])


async def footprint_of_version(
    conn: AsyncConnection, code: str, tenant_id: UUID | None, version: int | None
) -> tuple[UUID, int]:
    """(footprint id, version) of an event of the tenant's or a public one; the newest without a version."""
    names = {"code": code, "tenant_id": tenant_id, "version": version}
    row = await (await conn.execute(_SQL["footprint_of_version"], names)).fetchone()
    if row is None:
        raise NoFootprint(event=code, version=version)
    return row[0], row[1]


async def assessment_of(conn: AsyncConnection, footprint_id: UUID, portfolio_id: UUID) -> UUID | None:
    """The assessment of a footprint against a book."""
    names = {"footprint_id": footprint_id, "portfolio_id": portfolio_id}
    row = await (await conn.execute(_SQL["assessment_of"], names)).fetchone()
    return row[0] if row else None
