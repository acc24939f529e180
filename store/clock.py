"""The one clock as the database keeps it: a scenario clock in an exercise database, else the wall.

The scenario's row can stand only in an exercise database (a foreign key sees to it), so a live one has no clock but
the wall's. Read it once per transaction: a replay moves it. Each function takes a blocking connection, or an asyncio
one and is then awaited.
"""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, overload

import psycopg

from core.clock import Clock, ScenarioClock, WallClock
from core.errors import InvalidInput, NotPermitted
from store.pool import AsyncConnection, Connection

_READ = "SELECT wall_start, scenario_start, speed, held_at FROM scenario_clock"
_START = """
INSERT INTO scenario_clock (wall_start, scenario_start, speed, held_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (only_row) DO UPDATE SET wall_start = excluded.wall_start, scenario_start = excluded.scenario_start,
    speed = excluded.speed, held_at = excluded.held_at
"""
_HOLD = "UPDATE scenario_clock SET held_at = greatest(held_at, %s)"
_END = "DELETE FROM scenario_clock"


class BadScenario(InvalidInput):
    """A scenario starts at an aware time and runs at a speed above 0."""


class NotAnExercise(NotPermitted):
    """Only an exercise database has a scenario clock."""


@overload
def read_clock(conn: Connection) -> Clock: ...
@overload
def read_clock(conn: AsyncConnection) -> Awaitable[Clock]: ...
def read_clock(conn: Connection | AsyncConnection) -> Clock | Awaitable[Clock]:
    """What time rules, expiry, lateness and leave-by read."""
    if isinstance(conn, psycopg.Connection):
        return _clock(conn.execute(_READ).fetchone())
    return _read_clock_async(conn)


@overload
def start_scenario(
    conn: Connection, *, at: datetime, speed: float, held: bool = False, wall: datetime | None = None
) -> None: ...
@overload
def start_scenario(
    conn: AsyncConnection, *, at: datetime, speed: float, held: bool = False, wall: datetime | None = None
) -> Awaitable[None]: ...
def start_scenario(
    conn: Connection | AsyncConnection, *, at: datetime, speed: float, held: bool = False, wall: datetime | None = None
) -> Awaitable[None] | None:
    """Starts the scenario at `at`, `speed` times as fast as the wall from `wall` (now) on, in place of one before.

    `held` makes it stand still until `hold_scenario` moves it, as a replay at full speed does. Raises BadScenario,
    NotAnExercise.
    """
    if at.tzinfo is None or not 0 < speed < float("inf"):
        raise BadScenario(at=at.isoformat(), speed=speed)
    return _execute(conn, _START, [wall or datetime.now(UTC), at, speed, at if held else None])


@overload
def hold_scenario(conn: Connection, at: datetime) -> None: ...
@overload
def hold_scenario(conn: AsyncConnection, at: datetime) -> Awaitable[None]: ...
def hold_scenario(conn: Connection | AsyncConnection, at: datetime) -> Awaitable[None] | None:
    """The clock stands at `at`, or where it stood if that is later: time never goes back."""
    if at.tzinfo is None:
        raise BadScenario(at=at.isoformat())
    return _execute(conn, _HOLD, [at])


@overload
def end_scenario(conn: Connection) -> None: ...
@overload
def end_scenario(conn: AsyncConnection) -> Awaitable[None]: ...
def end_scenario(conn: Connection | AsyncConnection) -> Awaitable[None] | None:
    """The wall again."""
    return _execute(conn, _END, [])


def _execute(conn: Connection | AsyncConnection, query: str, params: list[Any]) -> Awaitable[None] | None:
    if not isinstance(conn, psycopg.Connection):
        return _execute_async(conn, query, params)
    try:
        conn.execute(query, params)
    except psycopg.errors.ForeignKeyViolation as error:
        raise NotAnExercise from error
    return None


async def _execute_async(conn: AsyncConnection, query: str, params: list[Any]) -> None:
    try:
        await conn.execute(query, params)
    except psycopg.errors.ForeignKeyViolation as error:
        raise NotAnExercise from error


async def _read_clock_async(conn: AsyncConnection) -> Clock:
    return _clock(await (await conn.execute(_READ)).fetchone())


def _clock(row: tuple[Any, ...] | None) -> Clock:
    if row is None:
        return WallClock()
    wall_start, scenario_start, speed, held_at = row
    return ScenarioClock(wall_start=wall_start, scenario_start=scenario_start, speed=speed, held_at=held_at)
