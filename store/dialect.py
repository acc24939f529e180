"""The two engines, and the only five points where they differ.

TimescaleDB in production; plain PostgreSQL (15 or newer) everywhere else. One schema, one set of queries. The five
points are: how a table of readings is cut by time, columnstore, retention, the hourly rollup, and sizes and health.
The SQL files of a migration carry the first and part of the fourth as `*.timescale.sql` and `*.plain.sql`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, Protocol

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from core.errors import Conflict, Unavailable

Engine = Literal["timescale", "plain"]

#: Tables of readings: cut by `observed_at`, one piece a day.
READING_TABLES = ("observation", "observation_revision")

#: Chunks older than this become columnstore. Bulk corrections of compressed rows are slow, so it lies well past the
#: window in which late readings and final flags arrive.
COLUMNSTORE_AFTER = timedelta(days=3)

#: How long single readings are kept in a live database; hourly rollups are kept for good.
RETENTION = timedelta(days=400)


class UnknownEngine(Conflict):
    """This database has no readings schema of ours: run `tocsin migrate`."""


class RetentionBlocked(Unavailable):
    """A day that is past retention could not be detached because readers hold it; it is tried again next time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingTable:
    """Size of one table of readings."""

    name: str
    n_pieces: int  #: partitions (without the default one) or chunks
    n_bytes: int  #: with indexes and TOAST
    n_compressed: int  #: chunks in columnstore; always 0 on plain PostgreSQL
    newest_end: datetime | None  #: end of the newest piece: beyond it readings fall into the default partition
    n_default: int  #: rows in the default partition; always 0 on TimescaleDB


class StoreDialect(Protocol):
    """What an engine must answer. Connections are the owner's, in autocommit."""

    engine: Engine

    def prepare(self, conn: psycopg.Connection[Any]) -> None:
        """Before the first migration."""
        ...

    def apply_policies(self, conn: psycopg.Connection[Any], *, exercise: bool) -> None:
        """Columnstore and retention, after migrations; does nothing the second time."""
        ...

    def make_pieces(self, conn: psycopg.Connection[Any], days: Sequence[date]) -> int:
        """Makes the pieces of these days in every table of readings; returns how many were made.

        Stops early, without an error, when readers hold the default partition: until the next call its days fall there.
        """
        ...

    def drop_older(self, conn: psycopg.Connection[Any], before: datetime) -> list[str]:
        """Drops pieces that lie wholly before `before`; returns their names."""
        ...

    def refresh_rollup(self, conn: psycopg.Connection[Any], hours: Sequence[datetime]) -> None:
        """Brings the engine's own rollup of these hours up to date, where it has one."""
        ...

    def default_days(
        self, conn: psycopg.Connection[Any], *, since: date | None, until: date | None, limit: int
    ) -> list[date]:
        """Days, both ends included, whose rows lie in a default partition; oldest first."""
        ...

    def reading_tables(self, conn: psycopg.Connection[Any]) -> list[ReadingTable]:
        """Sizes."""
        ...


class PlainDialect:
    """Plain PostgreSQL: daily range partitions and a default partition that should stay empty."""

    engine: Engine = "plain"

    def prepare(self, conn: psycopg.Connection[Any]) -> None:
        return

    def apply_policies(self, conn: psycopg.Connection[Any], *, exercise: bool) -> None:
        return

    def make_pieces(self, conn: psycopg.Connection[Any], days: Sequence[date]) -> int:
        row = conn.execute("SELECT ensure_reading_partitions(%s::date[])", [list(days)]).fetchone()
        assert row is not None
        return int(row[0])

    def drop_older(self, conn: psycopg.Connection[Any], before: datetime) -> list[str]:
        # DETACH CONCURRENTLY is refused where a default partition exists, and losing the default partition would mean
        # losing readings. A plain DETACH needs the strong lock for milliseconds only: it gives up quickly and is tried
        # again on the next run. The unlink, which takes long, happens after it, without any lock on the parent.
        dropped: list[str] = []
        for table in READING_TABLES:
            for name, end in self._partitions(conn, table):
                if end > before:
                    continue
                try:
                    with conn.transaction():
                        conn.execute("SET LOCAL lock_timeout = '1s'")
                        conn.execute(
                            sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(
                                sql.Identifier(table), sql.Identifier(name)
                            )
                        )
                except psycopg.errors.LockNotAvailable as error:
                    raise RetentionBlocked(partition=name) from error
                conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
                dropped.append(name)
            for name in self._detached(conn, table):
                conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
                dropped.append(name)
        return dropped

    def refresh_rollup(self, conn: psycopg.Connection[Any], hours: Sequence[datetime]) -> None:
        return

    def default_days(
        self, conn: psycopg.Connection[Any], *, since: date | None, until: date | None, limit: int
    ) -> list[date]:
        days: set[date] = set()
        for table in READING_TABLES:
            days.update(
                row[0]
                for row in conn.execute(
                    sql.SQL(
                        "SELECT DISTINCT day FROM"
                        " (SELECT (observed_at AT TIME ZONE 'UTC')::date AS day FROM {}) AS stray"
                        " WHERE day BETWEEN coalesce(%s, '-infinity'::date) AND coalesce(%s, 'infinity'::date)"
                        " ORDER BY day LIMIT %s"
                    ).format(sql.Identifier(f"{table}_default")),
                    [since, until, limit],
                )
            )
        return sorted(days)[:limit]

    def reading_tables(self, conn: psycopg.Connection[Any]) -> list[ReadingTable]:
        tables = []
        for table in READING_TABLES:
            ends = [end for _, end in self._partitions(conn, table)]
            with conn.cursor(row_factory=dict_row) as cursor:
                size = cursor.execute(
                    "SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint AS n_bytes"
                    " FROM pg_inherits WHERE inhparent = %s::regclass",
                    [table],
                ).fetchone()
                # A default partition should hold nothing; counting stops early so that a full one stays cheap to watch.
                n_default = cursor.execute(
                    sql.SQL("SELECT count(*) AS n FROM (SELECT FROM {} LIMIT 1000000) AS few").format(
                        sql.Identifier(f"{table}_default")
                    )
                ).fetchone()
            assert size is not None
            assert n_default is not None
            tables.append(
                ReadingTable(
                    name=table,
                    n_pieces=len(ends),
                    n_bytes=size["n_bytes"],
                    n_compressed=0,
                    newest_end=max(ends, default=None),
                    n_default=n_default["n"],
                )
            )
        return tables

    def _partitions(self, conn: psycopg.Connection[Any], table: str) -> list[tuple[str, datetime]]:
        """(name, end) of each daily partition, oldest first; the name carries the day."""
        rows = conn.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = %s::regclass AND c.relname ~ '_[0-9]{8}$' ORDER BY right(c.relname, 8)",
            [table],
        )
        return [(name, _end_of_day(name[-8:])) for (name,) in rows]

    def _detached(self, conn: psycopg.Connection[Any], table: str) -> list[str]:
        """Partitions that an interrupted run detached and did not drop."""
        rows = conn.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind = 'r' AND NOT c.relispartition"
            " AND c.relname ~ ('^' || %s || '_[0-9]{8}$')",
            [table],
        )
        return [name for (name,) in rows]


class TimescaleDialect:
    """TimescaleDB: hypertables, columnstore, its retention policy, a continuous aggregate."""

    engine: Engine = "timescale"

    def prepare(self, conn: psycopg.Connection[Any]) -> None:
        conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")

    def apply_policies(self, conn: psycopg.Connection[Any], *, exercise: bool) -> None:
        # Policies act on wall-clock time. An exercise database replays the past, which a policy would compress under
        # the writer's feet or drop, so it gets none.
        if exercise:
            return
        for table in READING_TABLES:
            conn.execute(
                "CALL add_columnstore_policy(%s, after => %s::interval, if_not_exists => true)",
                [table, COLUMNSTORE_AFTER],
            )
            conn.execute("SELECT add_retention_policy(%s, %s::interval, if_not_exists => true)", [table, RETENTION])

    def make_pieces(self, conn: psycopg.Connection[Any], days: Sequence[date]) -> int:
        return 0

    def drop_older(self, conn: psycopg.Connection[Any], before: datetime) -> list[str]:
        dropped: list[str] = []
        for table in READING_TABLES:
            dropped += [row[0] for row in conn.execute("SELECT drop_chunks(%s, older_than => %s)", [table, before])]
        return dropped

    def refresh_rollup(self, conn: psycopg.Connection[Any], hours: Sequence[datetime]) -> None:
        for start, end in _runs(hours):
            conn.execute("CALL refresh_continuous_aggregate('observation_rollup_raw', %s, %s)", [start, end])

    def default_days(
        self, conn: psycopg.Connection[Any], *, since: date | None, until: date | None, limit: int
    ) -> list[date]:
        return []

    def reading_tables(self, conn: psycopg.Connection[Any]) -> list[ReadingTable]:
        tables = []
        for table in READING_TABLES:
            size = conn.execute("SELECT total_bytes FROM hypertable_detailed_size(%s)", [table]).fetchone()
            chunks = conn.execute(
                "SELECT count(*), count(*) FILTER (WHERE is_compressed), max(range_end)"
                " FROM timescaledb_information.chunks WHERE hypertable_name = %s",
                [table],
            ).fetchone()
            assert chunks is not None
            tables.append(
                ReadingTable(
                    name=table,
                    n_pieces=chunks[0],
                    n_bytes=int(size[0] or 0) if size else 0,
                    n_compressed=chunks[1],
                    newest_end=chunks[2],
                    n_default=0,
                )
            )
        return tables


def _end_of_day(day: str) -> datetime:
    start = datetime.combine(date(int(day[:4]), int(day[4:6]), int(day[6:])), time(), UTC)
    return start + timedelta(days=1)


def _runs(hours: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """Hours merged into half-open spans of hours that follow each other."""
    spans: list[tuple[datetime, datetime]] = []
    hour = timedelta(hours=1)
    for start in sorted(set(hours)):
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], start + hour)
        else:
            spans.append((start, start + hour))
    return spans


_DIALECTS: dict[str, StoreDialect] = {"plain": PlainDialect(), "timescale": TimescaleDialect()}


def best_dialect(conn: psycopg.Connection[Any]) -> StoreDialect:
    """For a database that is still empty: TimescaleDB where the server has loaded it."""
    # Its loader defines this setting as the server starts. shared_preload_libraries would say the same, but only to a
    # superuser, which the owner of a deployed database is not.
    loaded = conn.execute(
        "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
        " AND current_setting('timescaledb.disable_load', true) IS NOT NULL"
    ).fetchone()
    return _DIALECTS["timescale" if loaded and loaded[0] else "plain"]


def dialect_of(conn: psycopg.Connection[Any]) -> StoreDialect:
    """The engine this database was built for; raises UnknownEngine."""
    try:
        row = conn.execute("SELECT engine FROM installation").fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise UnknownEngine from error
    if row is None:
        raise UnknownEngine
    return _DIALECTS[row[0]]
