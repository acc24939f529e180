"""Hourly rollups that are exact: every hour that a batch touched is computed anew from current readings.

The batch says in its own transaction which hours it touched (`mark_dirty`), so no hour is missed whatever dies. On
TimescaleDB a continuous aggregate holds hours of first readings and is refreshed for the dirty ones; hours that hold a
revision are computed as on plain PostgreSQL. Both engines answer the same through view `observation_rollup`.
"""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, overload

import numpy as np
import psycopg
from numpy.typing import ArrayLike

from store import queries
from store.dialect import dialect_of
from store.pool import AsyncConnection, Connection

_SQL = queries.load("store")
_HOUR_US = 3_600_000_000
#: Batches whose hours are computed in one transaction.
_BATCHES = 100


@overload
def mark_dirty(conn: Connection, datastream_ids: ArrayLike, observed_us: ArrayLike) -> None: ...
@overload
def mark_dirty(conn: AsyncConnection, datastream_ids: ArrayLike, observed_us: ArrayLike) -> Awaitable[None]: ...
def mark_dirty(
    conn: Connection | AsyncConnection, datastream_ids: ArrayLike, observed_us: ArrayLike
) -> Awaitable[None] | None:
    """Says, in the transaction that stores these readings or revisions of them, that their hours must be computed.

    datastream_ids, observed_us : (n,) int64; the second in microseconds since 1970 UTC. Awaited on an asyncio
    connection.
    """
    params = _dirty(datastream_ids, observed_us)
    if isinstance(conn, psycopg.Connection):
        if params["hours"]:
            conn.execute(_SQL["mark_dirty"], params)
        return None
    return _mark_dirty_async(conn, params)


async def _mark_dirty_async(conn: AsyncConnection, params: dict[str, list[int]]) -> None:
    if params["hours"]:
        await conn.execute(_SQL["mark_dirty"], params)


def _dirty(datastream_ids: ArrayLike, observed_us: ArrayLike) -> dict[str, list[int]]:
    """Distinct datastreams and hours, these counted from 1970."""
    hours = np.asarray(observed_us, dtype=np.int64) // _HOUR_US  # floors, also before 1970
    pairs = np.unique(np.stack([np.asarray(datastream_ids, dtype=np.int64), hours]), axis=1)
    return {"datastream_ids": pairs[0].tolist(), "hours": pairs[1].tolist()}


def run_rollup(conn: psycopg.Connection[Any]) -> int:
    """Computes every dirty hour; returns how many (datastream, hour) it looked at.

    `conn` is the owner's, in autocommit. One at a time: a second caller waits for the first one's current transaction.
    """
    dialect = dialect_of(conn)
    n_done = 0
    while True:
        batches = conn.execute(_SQL["dirty_batches"], {"limit": _BATCHES}).fetchall()
        if not batches:
            return n_done
        ids = [row[0] for row in batches]
        # Before the marks go: if this process dies in between, the hours are refreshed once more, never once too few.
        dialect.refresh_rollup(conn, _hours(batches))
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(7463, 2)")
            taken = conn.execute(_SQL["take_dirty"], {"ids": ids}).fetchall()
            # A statement of its own: its snapshot is younger than the marks, so it sees the readings they stand for.
            pairs = sorted({pair for row in taken for pair in zip(row[0], row[1], strict=True)})
            conn.execute(
                _SQL["recompute_rollup"],
                {
                    "datastream_ids": [pair[0] for pair in pairs],
                    "hours": [pair[1] for pair in pairs],
                    "every_hour": dialect.engine == "plain",
                },
            )
        n_done += len(pairs)


def _hours(batches: Sequence[tuple[Any, ...]]) -> list[datetime]:
    return sorted({hour for _, hours in batches for hour in hours})
