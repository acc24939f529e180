"""A database for one command: the configured one, the embedded one that runs, or the embedded one started for it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from core.errors import Conflict, InvalidInput
from core.settings import Settings
from ingest import repository
from store import embedded
from store.cluster import NotRunning
from store.migrate import migrate
from store.pool import AsyncConnection, connect_worker_async, worker_url

Mode = Literal["live", "exercise"]


class NothingStored(InvalidInput):
    """This home has no database yet: run `tocsin up`, `tocsin demo` or `tocsin replay` first."""


@asynccontextmanager
async def command_connection(
    settings: Settings,
    mode: Mode | None,
    *,
    create: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[AsyncConnection]:
    """A worker's connection for as long as one command runs.

    Without `mode` it is the one that the environment names; where it names none, the live one, or the exercise one if
    the live one is empty (`say` tells). `create`: where this home has no database yet, one is made.
    """
    if settings.database_url is not None or settings.database_worker_url is not None:
        conn = await connect_worker_async(worker_url(settings))
        try:
            yield conn
        finally:
            await conn.close()
        return
    home = settings.home.resolve()
    if not create and not (home / "database.json").exists():
        raise NothingStored(home=str(home))
    own: embedded.EmbeddedServer | None = None
    try:
        server = embedded.attach(home)
    except NotRunning:
        say("starting the embedded PostgreSQL")
        server = own = embedded.start(home)
    try:
        named: Mode | None = mode or (settings.mode if "mode" in settings.model_fields_set else None)
        for one in (named,) if named is not None else ("live", "exercise"):
            migrate(server.url(one, "owner"), exercise=one == "exercise")
            conn = await connect_worker_async(server.url(one, "worker"))
            try:
                if named is None and one == "live" and not (await repository.fetch(conn, "has_observations"))[0][0]:
                    continue
                say(f"database: {one}")
                yield conn
                return
            finally:
                await conn.close()
        raise Conflict("no database could be chosen")
    finally:
        if own is not None:
            own.stop()
