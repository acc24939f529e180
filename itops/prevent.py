"""Alarms of devices under cover become work orders by themselves: the loop beside ingest."""

import asyncio

from core.errors import TocsinError
from core.log import get_logger
from itops import bind, repository
from itops.underwrite import load_book
from store.clock import read_clock
from store.pool import Pool

log = get_logger("prevent")

#: How often the newest telemetry is looked at, seconds. An alarm of a disk tells of weeks, not of minutes.
PERIOD_S = 20.0


async def look(pool: Pool) -> int:
    """Opens the work orders that the newest readings of devices in force ask for; how many are new.

    One transaction for each quote, so that one that cannot be priced holds up no other.
    """
    signals = {name: float(item["order"][0][0]) for name, item in load_book()[0].alarms["signals"].items()}
    async with pool.connection() as conn:
        now = (await read_clock(conn)).now()
        found = await repository.in_force_with_alarms(
            conn, signals=list(signals), least=list(signals.values()), until=now
        )
    n = 0
    for quote_id in found:
        try:
            async with pool.connection() as conn, conn.transaction():
                n += await bind.watch_alarms(conn, quote_id, now=now)
        except TocsinError as error:
            log.error("quote_not_watched", quote_id=str(quote_id), error=str(error))
    if n:
        log.info("work_orders_opened", n=n, quotes=len(found))
    return n


async def run(pool: Pool, stop: asyncio.Event, *, period_s: float = PERIOD_S) -> None:
    """Looks again and again until `stop` is set; a database that is away is waited for."""
    away = False
    while not stop.is_set():
        try:
            await look(pool)
            away = False
        except repository.DATABASE_AWAY as error:
            if not away:
                log.error("database_away", error=str(error))
            away = True
        try:
            await asyncio.wait_for(stop.wait(), period_s)
        except TimeoutError:
            continue
