"""Builds and moves the schema: Alembic with plain SQL files, forward only.

A file `NAME.sql` is the same on both engines; where they differ there are `NAME.timescale.sql` and `NAME.plain.sql`.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql

from core.errors import Conflict, InvalidInput, NotPermitted, Unavailable
from store.dialect import Engine, StoreDialect, best_dialect, dialect_of

#: Whoever migrates holds this lock (pg_locks shows it as an advisory lock with this number).
_MIGRATION_LOCK = 0x746F6373696E  # "tocsin"
#: How long a migrator waits for another one before it gives up.
_WAIT_FOR_OTHER_MIGRATOR = "120s"
#: How long a statement of a migration waits for a table lock: it must never queue everybody behind itself.
_LOCK_TIMEOUT = "5s"
_ROLES = ("tocsin_worker", "tocsin_app")


class DatabaseTooNew(Conflict):
    """This database was made by a newer Tocsin; install that version or a newer one."""


class WrongInstallation(Conflict):
    """A live database cannot become an exercise database, nor the other way round."""


class ServerTooOld(InvalidInput):
    """Tocsin needs PostgreSQL 15 or newer."""


class RolesMissing(NotPermitted):
    """Roles tocsin_worker and tocsin_app are missing or not granted, and this login may neither make nor grant them."""


class MigrationBusy(Unavailable):
    """Another process is migrating this database, or holds a table that a migration needs."""


class DatabaseUnreachable(Unavailable):
    """The database does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What `migrate` found and left."""

    engine: Engine
    before: str | None  #: schema version it found; none: an empty database
    after: str


def migrate(url: str, *, exercise: bool, name: str = "tocsin") -> Migrated:
    """Brings the database at the owner's `url` to this release's schema; does nothing if it is there already.

    Raises DatabaseTooNew, WrongInstallation, ServerTooOld, RolesMissing, MigrationBusy, DatabaseUnreachable; in each
    case the database is as it was before the migration that failed.
    """
    try:
        conn = psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(f"The database does not answer: {str(error).strip().splitlines()[0]}") from error
    with conn:
        _check_server(conn)
        _ensure_roles(conn)
        conn.execute(sql.SQL("SET lock_timeout = {}").format(_WAIT_FOR_OTHER_MIGRATOR))
        try:
            conn.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationBusy from error
        conn.execute(sql.SQL("SET lock_timeout = {}").format(_LOCK_TIMEOUT))
        try:
            return _migrate_locked(conn, url, exercise=exercise, name=name)
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationBusy from error
        finally:
            if not conn.closed:
                conn.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATION_LOCK])


def _migrate_locked(conn: psycopg.Connection[Any], url: str, *, exercise: bool, name: str) -> Migrated:
    scripts = ScriptDirectory.from_config(_config())
    known = [script.revision for script in scripts.walk_revisions()]  # newest first
    before = _version(conn)
    if before is not None and before not in known:
        raise DatabaseTooNew(database_version=before, known_up_to=known[0])
    dialect = best_dialect(conn) if before is None else dialect_of(conn)
    if before is not None:
        _check_installation(conn, exercise=exercise)
    if before != known[0]:
        dialect.prepare(conn)
        _upgrade(url, dialect, exercise=exercise, name=name)
    _check_installation(conn, exercise=exercise)
    dialect.apply_policies(conn, exercise=exercise)
    today = datetime.now(UTC).date()
    dialect.make_pieces(conn, [today + timedelta(days=i) for i in range(-1, 3)])  # housekeeping makes the rest
    return Migrated(engine=dialect.engine, before=before, after=known[0])


def _upgrade(url: str, dialect: StoreDialect, *, exercise: bool, name: str) -> None:
    config = _config()
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, options=f"-c lock_timeout={_LOCK_TIMEOUT} -c timezone=UTC"),
        poolclass=sqlalchemy.pool.NullPool,
    )
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        config.attributes["dialect"] = dialect
        # The first migration writes the installation row in its own transaction: a database is never without it.
        config.attributes["installation"] = {"exercise": exercise, "name": name, "engine": dialect.engine}
        command.upgrade(config, "head")


def run_sql(name: str) -> None:
    """Called by a version script: runs the SQL file of this name, in the engine's variant if it has one."""
    config = context.config
    dialect: StoreDialect = config.attributes["dialect"]
    folder = resources.files("store") / "migrations" / "sql"
    for candidate in (f"{name}.{dialect.engine}.sql", f"{name}.sql"):
        if (folder / candidate).is_file():
            text = (folder / candidate).read_text(encoding="utf-8")
            break
    else:
        raise FileNotFoundError(name)
    raw: psycopg.Connection[Any] = config.attributes["connection"].connection.dbapi_connection
    # psycopg sends a text without parameters as one simple query, so that the file runs as it stands.
    raw.execute(text)


def write_installation() -> None:
    """Called by the first version script: says once and for all what this database is for."""
    row = context.config.attributes["installation"]
    raw: psycopg.Connection[Any] = context.config.attributes["connection"].connection.dbapi_connection
    raw.execute(
        "INSERT INTO installation (exercise, name, engine) VALUES (%(exercise)s, %(name)s, %(engine)s)",
        row,
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _version(conn: psycopg.Connection[Any]) -> str | None:
    if conn.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,):
        return None
    row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _check_server(conn: psycopg.Connection[Any]) -> None:
    if conn.info.server_version < 150000:
        raise ServerTooOld(server_version=conn.info.parameter_status("server_version"))


def _check_installation(conn: psycopg.Connection[Any], *, exercise: bool) -> None:
    row = conn.execute("SELECT exercise FROM installation").fetchone()
    assert row is not None
    if row[0] is not exercise:
        raise WrongInstallation(
            database_is="exercise" if row[0] else "live", asked_for="exercise" if exercise else "live"
        )


def _ensure_roles(conn: psycopg.Connection[Any]) -> None:
    """Makes the two group roles and lets the owner become either. Roles belong to the whole cluster."""
    member = "SET" if conn.info.server_version >= 160000 else "MEMBER"
    for attempt in range(5):
        try:
            for role in _ROLES:
                if conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
                    conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
                if conn.execute("SELECT pg_has_role(%s, %s)", [role, member]).fetchone() != (True,):
                    conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
            return
        except psycopg.errors.InsufficientPrivilege as error:
            raise RolesMissing(user=conn.info.user, needed=", ".join(_ROLES)) from error
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation, psycopg.errors.InternalError_):
            # Another database of this cluster is being migrated at the same moment.
            if attempt == 4:
                raise
            time.sleep(0.05 * (attempt + 1))
