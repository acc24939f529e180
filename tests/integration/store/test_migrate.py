"""The schema builds on both engines, once, and refuses what it should."""

import threading
from pathlib import Path

import psycopg
import pytest

from store.migrate import DatabaseTooNew, DatabaseUnreachable, WrongInstallation, migrate

VERSIONS = Path(__file__).resolve().parents[3] / "store" / "migrations" / "versions"


def test_builds_once_and_then_changes_nothing(empty_postgres_url: str) -> None:
    first = migrate(empty_postgres_url, exercise=True, name="drill")
    assert first.before is None
    again = migrate(empty_postgres_url, exercise=True, name="drill")
    assert again.before == again.after == first.after
    with psycopg.connect(empty_postgres_url) as conn:
        assert conn.execute("SELECT exercise, name, engine FROM installation").fetchall() == [
            (True, "drill", first.engine)
        ]


def test_fresh_database_is_an_exercise(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as conn:
        assert conn.execute("SELECT exercise FROM installation").fetchone() == (True,)


def test_live_database_is_not(live_postgres_url: str) -> None:
    with psycopg.connect(live_postgres_url) as conn:
        assert conn.execute("SELECT exercise FROM installation").fetchone() == (False,)


def test_live_and_exercise_never_change_places(postgres_url: str, live_postgres_url: str) -> None:
    with pytest.raises(WrongInstallation, match="database_is='exercise'"):
        migrate(postgres_url, exercise=False)
    with pytest.raises(WrongInstallation, match="database_is='live'"):
        migrate(live_postgres_url, exercise=True)


def test_a_newer_database_is_left_alone(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseTooNew) as caught:
        migrate(postgres_url, exercise=True)
    assert "\n" not in str(caught.value)
    assert "9999" in str(caught.value)


def test_two_migrators_at_once_make_one_schema(empty_postgres_url: str) -> None:
    results: list[object] = []

    def one() -> None:
        try:
            results.append(migrate(empty_postgres_url, exercise=True).before)
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One found the database empty, the others found the finished schema.
    newest = max(path.stem[:4] for path in VERSIONS.glob("[0-9]*.py"))
    assert sorted(results, key=str) == [newest] * 3 + [None]


def test_a_failed_migration_leaves_an_empty_database(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url) as conn:
        conn.execute("CREATE TABLE warning (in_the_way int)")
    with pytest.raises(Exception, match="warning"):
        migrate(empty_postgres_url, exercise=True)
    with psycopg.connect(empty_postgres_url) as conn:
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert ("tenant",) not in tables
    assert ("installation",) not in tables


def test_an_unreachable_database_is_one_line() -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        migrate("postgresql://nobody@127.0.0.1:1/none", exercise=True)
    assert "\n" not in str(caught.value)
