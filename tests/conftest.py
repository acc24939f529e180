"""What every test may use.

Databases: `postgres_url` (an exercise database) and `live_postgres_url` are fresh for each test, copied from a migrated
template; the URL is the owner's. The server is a private embedded PostgreSQL, or the one under TOCSIN_TEST_POSTGRES_URL
(a superuser's URL). Where TOCSIN_TEST_TIMESCALE_URL is set, tests under tests/integration run once more on that.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it are skipped, with this reason, where it is absent."""
    folder = Path(os.environ.get("TOCSIN_TEST_DATA", "../shared/data"))
    if not folder.is_absolute():
        folder = ROOT / folder
    if not folder.is_dir():
        pytest.skip("real data is absent: set TOCSIN_TEST_DATA to its folder")
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sql_server" in metafunc.fixturenames:
        engines = ["postgres"]
        folder = ROOT / "tests" / "integration"
        if os.environ.get("TOCSIN_TEST_TIMESCALE_URL") and metafunc.definition.path.is_relative_to(folder):
            engines.append("timescale")
        metafunc.parametrize("sql_server", engines, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses a database server is `sql`, so that the round on another engine leaves no room out."""
    for item in items:
        if "sql_server" in getattr(item, "fixturenames", ()):
            item.add_marker("sql")


@dataclass
class SqlServer:
    """A server that tests make databases on."""

    admin_url: str
    templates: dict[bool, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(self.admin_url, dbname=database)

    def execute(self, *statements: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)

    def create(self, prefix: str = "t", *, template: str = "template0") -> str:
        name = f"tocsin_{prefix}_{uuid4().hex[:16]}"
        self.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        self.made.append(name)
        return name

    def migrated(self, *, exercise: bool) -> str:
        """A fresh migrated database."""
        from store.migrate import migrate

        if exercise not in self.templates:
            template = self.create("template")
            migrate(self.url(template), exercise=exercise, name="test")
            self.templates[exercise] = template
        return self.create(template=self.templates[exercise])

    def drop(self, name: str) -> None:
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self.made.remove(name)


@pytest.fixture(scope="session")
def sql_server(request: pytest.FixtureRequest) -> Iterator[SqlServer]:
    """The server of this round; its databases go when the session ends."""
    if request.param == "timescale":
        server, stop = SqlServer(os.environ["TOCSIN_TEST_TIMESCALE_URL"]), None
    elif url := os.environ.get("TOCSIN_TEST_POSTGRES_URL"):
        server, stop = SqlServer(url), None
    else:
        server, stop = _embedded_server()
    try:
        yield server
    finally:
        if stop is None:
            for name in reversed(server.made.copy()):
                server.drop(name)
        else:
            stop()


def _embedded_server() -> tuple[SqlServer, Any]:
    from store import embedded

    _sweep()
    home = Path(tempfile.mkdtemp(prefix="tocsin-test-"))
    home.chmod(0o755)  # as root the server runs as another account, which must be able to reach it
    fast = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}
    running = embedded.start(home, conf=fast, durable=False)

    def stop() -> None:
        running.stop()
        shutil.rmtree(home, ignore_errors=True)

    return SqlServer(running.superuser_url()), stop


def _sweep() -> None:
    """Ends the servers of test runs that were killed: those whose lock is free although they started a while ago."""
    from core.errors import TocsinError
    from store import embedded

    for lock in Path(tempfile.gettempdir()).glob("tocsin-test-*/postgres/lock"):
        home = lock.parent.parent
        try:
            if time.time() - lock.stat().st_mtime > 600:
                embedded.stop_left_behind(home)  # refused while its run is alive
                shutil.rmtree(home, ignore_errors=True)
        except (TocsinError, OSError):
            continue


@pytest.fixture
def postgres_url(sql_server: SqlServer) -> Iterator[str]:
    """Owner's URL of a fresh exercise database."""
    name = sql_server.migrated(exercise=True)
    yield sql_server.url(name)
    sql_server.drop(name)


@pytest.fixture
def live_postgres_url(sql_server: SqlServer) -> Iterator[str]:
    """Owner's URL of a fresh live database."""
    name = sql_server.migrated(exercise=False)
    yield sql_server.url(name)
    sql_server.drop(name)


@pytest.fixture
def empty_postgres_url(sql_server: SqlServer) -> Iterator[str]:
    """Owner's URL of a database that nobody has migrated."""
    name = sql_server.create("empty")
    yield sql_server.url(name)
    sql_server.drop(name)
