"""One of several processes, on however many machines, does what must be done once: whoever holds the lock.

The lock belongs to a session of the database (PostgreSQL: session-level advisory locks), so it is free again as soon as
its holder dies or loses the database; another one then takes over by itself. Who lost the database leads no more.
"""

import asyncio
import contextlib
from collections.abc import Callable

import psycopg

from core.log import get_logger
from store import queries
from store.pool import Pool

log = get_logger("lead")

_SQL = queries.load("store")
#: How often who leads makes sure of it, and who does not tries.
EVERY_S = 1.0


async def lead(
    pool: Pool, role: str, stop: asyncio.Event, changed: Callable[[bool], None], *, every_s: float = EVERY_S
) -> None:
    """Tries to lead in `role` until `stop` is set; `changed` is told each time that begins or ends."""
    conninfo = pool.conninfo  # a connection of its own: one that holds a lock cannot be lent out
    assert isinstance(conninfo, str)
    leads = False

    def set_to(now: bool) -> None:
        nonlocal leads
        if now != leads:
            leads = now
            log.info("leads" if now else "leads no more", role=role)
            changed(now)

    while not stop.is_set():
        try:
            async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as conn:
                while not stop.is_set():
                    row = await (
                        await conn.execute(_SQL["try_lead" if not leads else "still_here"], {"role": role})
                    ).fetchone()
                    set_to(bool(row and row[0]))
                    await _pause(stop, every_s)
        except psycopg.Error:
            set_to(False)
            await _pause(stop, every_s)
    set_to(False)


async def _pause(stop: asyncio.Event, for_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), for_s)
