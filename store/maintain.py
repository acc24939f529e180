"""The database's own housekeeping: partitions ahead, rollups, retention, and what an operator should know.

Reads the one clock: in an exercise database "today" is the scenario's, and nothing is dropped there. Runs as the owner,
one at a time (an advisory lock), and as often as you like: process `tocsin jobs` calls `run`.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from core.clock import Clock
from core.errors import Conflict
from core.log import get_logger
from store import queries
from store.clock import read_clock
from store.dialect import RETENTION, ReadingTable, RetentionBlocked, StoreDialect, dialect_of
from store.rollup import run_rollup

log = get_logger("maintain")

_SQL = queries.load("store")
_LOCK = (7463, 3)

#: Partitions are made this many days before and after today.
DAYS_BEHIND = 3
DAYS_AHEAD = 7
#: Days of the default partition that get a partition of their own in one run.
_DAYS_A_RUN = 200
#: How long what passes through is kept, in wall-clock time: it is not part of any scenario.
LEDGER_KEPT = timedelta(days=7)
STREAM_KEPT = timedelta(days=2)
IDEMPOTENCY_KEPT = timedelta(days=2)
#: Long enough to look back on a flood; longer than any rule looks back. Kept for ever in an exercise database.
FORECASTS_KEPT = timedelta(days=30)


class AlreadyMaintained(Conflict):
    """Another process is at this database's housekeeping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What one run did."""

    partitions_made: int
    hours_rolled_up: int
    dropped: list[str]
    rows_pruned: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Sizes, backlogs and what is wrong."""

    engine: str
    exercise: bool
    database_bytes: int
    readings: list[ReadingTable]
    rollup_backlog: int  #: batches whose hours wait to be computed
    outbox_waiting: dict[str, int]  #: consumer -> rows
    outbox_oldest_s: dict[str, float]  #: consumer -> age of its oldest row that is due
    dead_letters: dict[str, int]  #: consumer -> rows
    problems: list[str] = field(default_factory=list)  #: each one sentence; none: all is well


def maintain(url: str, *, retention: timedelta = RETENTION) -> Maintained:
    """One run of everything that is due, as the owner at `url`; raises AlreadyMaintained, RetentionBlocked last."""
    with psycopg.connect(url, autocommit=True) as conn:
        if conn.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK).fetchone() != (True,):
            raise AlreadyMaintained
        dialect = dialect_of(conn)
        clock = read_clock(conn)
        made = make_partitions(conn, dialect, clock)
        hours = run_rollup(conn)
        pruned = prune(conn)
        return Maintained(
            partitions_made=made,
            hours_rolled_up=hours,
            rows_pruned=pruned,
            dropped=drop_old_readings(conn, dialect, clock, retention=retention),
        )


def run(url: str, stop: threading.Event, *, rollup_every_s: float = 5.0, all_every_s: float = 300.0) -> None:
    """Housekeeping until `stop` is set: rollups often, everything else now and then, as the owner at `url`.

    While the database is away, or another housekeeper is at it, waits and tries again; says so once.
    """
    told: str | None = None
    all_at = time.monotonic()
    while not stop.is_set():
        try:
            if time.monotonic() >= all_at:
                maintain(url)
                all_at = time.monotonic() + all_every_s
            else:
                with psycopg.connect(url, autocommit=True) as conn:
                    run_rollup(conn)
            if told is not None:
                log.info("housekeeping goes on")
                told = None
        except (psycopg.OperationalError, AlreadyMaintained, RetentionBlocked) as error:
            reason = type(error).__name__
            if reason != told:
                log.warning("housekeeping waits", reason=reason, error=str(error).strip().splitlines()[:1])
                told = reason
            if isinstance(error, RetentionBlocked):
                all_at = time.monotonic() + all_every_s  # all but the last step was done
        stop.wait(rollup_every_s)


def make_partitions(conn: psycopg.Connection[Any], dialect: StoreDialect, clock: Clock) -> int:
    """Makes partitions around today and for days that readings fell into the default partition for.

    In a live database a day counts only if it lies between retention and `DAYS_AHEAD`: devices with a wrong clock send
    any date, and each must not buy a partition. Their readings stay in the default partition.
    """
    today = clock.now().astimezone(UTC).date()
    around = {today + timedelta(days=i) for i in range(-DAYS_BEHIND, DAYS_AHEAD + 1)}
    exercise = _is_exercise(conn)
    stray = dialect.default_days(
        conn,
        since=None if exercise else today - RETENTION,
        until=None if exercise else today + timedelta(days=DAYS_AHEAD),
        limit=_DAYS_A_RUN,
    )
    made = dialect.make_pieces(conn, sorted({*around, *stray}))
    if stray:
        log.info("default partition emptied", days=len(stray), first=str(stray[0]), last=str(stray[-1]))
    return made


def ensure_partitions(conn: psycopg.Connection[Any], days: Sequence[date]) -> int:
    """Partitions for days that readings are about to arrive for, as a replay knows; the worker may call it too."""
    row = conn.execute("SELECT ensure_reading_partitions(%s::date[])", [list(days)]).fetchone()
    assert row is not None
    return int(row[0])


def drop_old_readings(
    conn: psycopg.Connection[Any], dialect: StoreDialect, clock: Clock, *, retention: timedelta = RETENTION
) -> list[str]:
    """Drops whole days of readings older than `retention`; none in an exercise database. Rollups stay.

    Raises RetentionBlocked when a long read holds a day; it goes on the next run.
    """
    if _is_exercise(conn):
        return []
    dropped = dialect.drop_older(conn, clock.now() - retention)
    if dropped:
        log.info("readings past retention dropped", pieces=len(dropped))
    return dropped


def prune(conn: psycopg.Connection[Any], *, now: datetime | None = None) -> dict[str, int]:
    """Deletes what only passed through: ledger, stream events, sessions that ended, idempotency keys."""
    now = now or datetime.now(UTC)
    limits = {
        "prune_ledger": now - LEDGER_KEPT,
        "prune_stream": now - STREAM_KEPT,
        "prune_sessions": now,
        "prune_idempotency": now - IDEMPOTENCY_KEPT,
        "prune_forecasts": datetime.min.replace(tzinfo=UTC) if _is_exercise(conn) else now - FORECASTS_KEPT,
    }
    pruned: dict[str, int] = {}
    for name, before in limits.items():
        with conn.transaction():
            # Row-level security is forced, also on the owner: the worker's role sees every tenant.
            conn.execute("SET LOCAL ROLE tocsin_worker")
            pruned[name.removeprefix("prune_")] = conn.execute(_SQL[name], {"before": before}).rowcount
    return pruned


def sizes_and_health(conn: psycopg.Connection[Any], *, clock: Clock | None = None) -> Health:
    """What /metrics, `tocsin doctor` and operators show; on the owner's or a worker's connection."""
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        # Row-level security is forced, also on the owner, who would count nothing.
        conn.execute("SET LOCAL ROLE tocsin_worker")
        dialect = dialect_of(conn)
        today = (clock or read_clock(conn)).now()
        readings = dialect.reading_tables(conn)
        row = cursor.execute(_SQL["health"]).fetchone()
    assert row is not None
    health = Health(
        engine=dialect.engine,
        exercise=_is_exercise(conn),
        database_bytes=row["database_bytes"],
        readings=readings,
        rollup_backlog=row["rollup_backlog"],
        outbox_waiting=row["outbox_waiting"] or {},
        outbox_oldest_s=row["outbox_oldest_s"] or {},
        dead_letters=row["dead_letters"] or {},
    )
    health.problems.extend(_problems(health, today))
    return health


def _problems(health: Health, today: datetime) -> list[str]:
    told = []
    for table in health.readings:
        if table.n_default:
            told.append(
                f"{table.n_default} rows of {table.name} lie in the default partition: housekeeping is behind, or"
                " devices have wrong clocks."
            )
        if health.engine == "plain" and (table.newest_end is None or table.newest_end <= today + timedelta(days=1)):
            told.append(f"{table.name} has no partition for tomorrow: housekeeping does not run.")
    if health.rollup_backlog > 10_000:
        told.append(f"{health.rollup_backlog} batches wait for their hourly rollup.")
    told += [f"{n} dead letters for {consumer}." for consumer, n in health.dead_letters.items()]
    told += [
        f"The oldest work for {consumer} has waited {age:.0f} s."
        for consumer, age in health.outbox_oldest_s.items()
        if age > 300
    ]
    return told


def _is_exercise(conn: psycopg.Connection[Any]) -> bool:
    row = conn.execute("SELECT exercise FROM installation").fetchone()
    return bool(row and row[0])


__all__ = [
    "AlreadyMaintained",
    "Health",
    "Maintained",
    "RetentionBlocked",
    "drop_old_readings",
    "ensure_partitions",
    "maintain",
    "make_partitions",
    "prune",
    "run",
    "sizes_and_health",
]
