"""What the tests of ingest share: a database with registered stations, and batches given to it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
import pytest

from ingest import repository
from ingest.accept import Acceptor
from ingest.batch import Accepted, Message
from ingest.station import Station
from store.pool import AsyncConnection, connect_worker_async

T = TypeVar("T")

#: Monday 2025-11-24T00:00:00Z
START_S = 1_763_942_400


@dataclass
class Bench:
    """Runs async work against one database from tests that are not async."""

    url: str
    acceptor: Acceptor = field(default_factory=lambda: Acceptor(exercise=True))

    def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async def main() -> T:
            conn = await connect_worker_async(self.url)
            try:
                return await work(conn)
            finally:
                await conn.close()

        return asyncio.run(main())

    def register(self, *stations: Station, tenant: str = "lk") -> None:
        async def work(conn: AsyncConnection) -> None:
            tenant_id = await repository.add_tenant(conn, tenant, tenant)
            for station in stations:
                await repository.keep_station(conn, station, tenant_id)

        self.run(work)

    def accept(self, *messages: Message, flush: bool = False) -> Accepted:
        async def work(conn: AsyncConnection) -> Accepted:
            accepted = await self.acceptor.accept(conn, messages)
            if flush:
                await self.acceptor.latest.flush(conn)
            return accepted

        return self.run(work)

    def rows(self, query: str, params: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as conn:
            return conn.execute(query.encode(), list(params)).fetchall()

    def current(self) -> list[tuple[str, int, float | None, int, int]]:
        """(station, seconds since 1970, value, quality, revision) of all that is stored, by station and time."""
        return self.rows(
            "SELECT s.code, extract(epoch FROM o.observed_at)::bigint, o.value, o.quality::int, o.revision::int"
            " FROM observation_current o JOIN datastream USING (datastream_id) JOIN station s USING (station_id)"
            " ORDER BY 1, 2"
        )


@pytest.fixture
def bench(postgres_url: str) -> Bench:
    """An exercise database with two gauges of tenant lk."""
    made = Bench(postgres_url)
    made.register(Station(code="Hanwella", name="Hanwella"), Station(code="Nagalagam Street", name="Nagalagam Street"))
    return made


def plain(
    station: str, t: float, v: float | None, *, received: float | None = None, quantity: str = "level", **more: object
) -> Message:
    """A plain message that arrives 5 s after it was measured."""
    segment = station.replace(" ", "_")
    body = json.dumps({"station": station, "t": t, "v": v, **more}).encode()
    arrival = t + 5 if received is None else received
    return Message(f"tocsin/v1/lk/obs/{segment}/{quantity}", body, round(arrival * 1_000_000))
