"""Connections and whose rights they carry.

Workers act as role `tocsin_worker`, people are served as `tocsin_app`. A login of its own for each is best (settings
`database_worker_url`, `database_app_url`); with the owner's URL alone the connection gives up the owner's rights by
SET ROLE before anyone uses it. Needs a session connection: no pooler in transaction mode.
"""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from core.errors import InvalidInput, Unavailable
from core.settings import Settings

Role = Literal["tocsin_worker", "tocsin_app"]
Connection = psycopg.Connection[tuple[Any, ...]]
AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[AsyncConnection]

#: A request that serves a person must not hold a connection for longer; workers have their own limits.
_APP_STATEMENT_TIMEOUT = "30s"
_APP_IDLE_IN_TRANSACTION_TIMEOUT = "60s"
_CONNECT_TIMEOUT_S = 10


#: What a database that went away raises; a loop waits it out.
DATABASE_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


class NoDatabase(InvalidInput):
    """No database is configured: set TOCSIN_DATABASE_URL, or start with `tocsin up`, which brings its own."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""


def worker_url(settings: Settings) -> str:
    """Where workers connect; raises NoDatabase."""
    secret = settings.database_worker_url or settings.database_url
    if secret is None:
        raise NoDatabase
    return secret.get_secret_value()


def app_url(settings: Settings) -> str:
    """Where the API connects; raises NoDatabase."""
    secret = settings.database_app_url or settings.database_url
    if secret is None:
        raise NoDatabase
    return secret.get_secret_value()


def connect_worker(url: str) -> Connection:
    """A connection of one's own as `tocsin_worker`, in autocommit: open transactions with `conn.transaction()`.

    Raises DatabaseUnavailable.
    """
    try:
        conn: Connection = psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(_one_line(error)) from error
    try:
        conn.execute(_session_setup("tocsin_worker"))
    except BaseException:
        conn.close()
        raise
    return conn


async def connect_worker_async(url: str) -> AsyncConnection:
    """`connect_worker` for asyncio."""
    try:
        conn: AsyncConnection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(_one_line(error)) from error
    try:
        await conn.execute(_session_setup("tocsin_worker"))
    except BaseException:
        await conn.close()
        raise
    return conn


def worker_pool(settings: Settings, *, size: int = 4) -> Pool:
    """A pool, not yet open, of `tocsin_worker` connections in autocommit."""
    return role_pool(worker_url(settings), "tocsin_worker", size=size)


def app_pool(settings: Settings) -> Pool:
    """A pool, not yet open, of `tocsin_app` connections: take them by `tenant_transaction`."""
    return role_pool(app_url(settings), "tocsin_app", size=settings.api.pool_size)


def role_pool(url: str, role: Role, *, size: int) -> Pool:
    """A pool, not yet open, whose connections act as `role`."""

    async def configure(conn: AsyncConnection) -> None:
        await conn.execute(_session_setup(role))

    return AsyncConnectionPool(
        url,
        connection_class=psycopg.AsyncConnection[tuple[Any, ...]],
        kwargs={"autocommit": True, "connect_timeout": _CONNECT_TIMEOUT_S},
        min_size=min(2, size),
        max_size=size,
        timeout=_CONNECT_TIMEOUT_S,
        configure=configure,
        check=_still_there,
        name=role,
        open=False,
    )


async def _still_there(conn: AsyncConnection) -> None:
    """Raises OperationalError where the server has ended this connection.

    After a restart of the server every pooled connection is dead, and the caller must not notice. Its socket is then
    readable (the end of the stream), as it is when the server has something to say; only then a round trip asks.
    """
    waiting = select.poll()
    waiting.register(conn.fileno(), select.POLLIN)
    if waiting.poll(0):
        await AsyncConnectionPool.check_connection(conn)


@asynccontextmanager
async def lent_connection(pool: Pool) -> AsyncIterator[AsyncConnection]:
    """A connection of the pool in autocommit; raises DatabaseUnavailable, also where the server goes meanwhile."""
    try:
        async with pool.connection() as conn:
            yield conn
    except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnavailable(_one_line(error)) from error


@asynccontextmanager
async def tenant_transaction(pool: Pool, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees one tenant's rows and the public ones; raises DatabaseUnavailable."""
    try:
        conn = await pool.getconn()
    except (PoolTimeout, psycopg.OperationalError) as error:
        raise DatabaseUnavailable(_one_line(error)) from error
    try:
        async with conn.transaction():
            await conn.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant_id)])
            yield conn
    finally:
        await pool.putconn(conn)


def _session_setup(role: Role) -> sql.Composed:
    setup = [sql.SQL("SET ROLE {}").format(sql.Identifier(role)), sql.SQL("SET TIME ZONE 'UTC'")]
    if role == "tocsin_app":
        setup += [
            sql.SQL("SET statement_timeout = {}").format(_APP_STATEMENT_TIMEOUT),
            sql.SQL("SET idle_in_transaction_session_timeout = {}").format(_APP_IDLE_IN_TRANSACTION_TIMEOUT),
        ]
    return sql.SQL("; ").join(setup)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"The database does not answer: {lines[0] if lines else type(error).__name__}"
