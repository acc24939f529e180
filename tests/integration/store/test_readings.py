"""Readings, rollups and housekeeping come out the same on both engines."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from core.clock import FixedClock
from core.ids import new_id
from store import maintain
from store.clock import NotAnExercise, end_scenario, hold_scenario, read_clock, start_scenario
from store.dialect import dialect_of
from store.maintain import AlreadyMaintained, RetentionBlocked, sizes_and_health
from store.pool import connect_worker
from store.rollup import mark_dirty, run_rollup

Connection = psycopg.Connection[tuple[Any, ...]]
T0 = datetime(2025, 11, 27, 0, 0, tzinfo=UTC)
COLUMNS = "datastream_id, hour, n, n_suspect, n_failed, n_missing, n_used, lowest, highest, total"


@pytest.fixture
def owner(postgres_url: str) -> Iterator[Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("SET TIME ZONE 'UTC'")
        yield conn


@pytest.fixture
def live_owner(live_postgres_url: str) -> Iterator[Connection]:
    with psycopg.connect(live_postgres_url, autocommit=True) as conn:
        conn.execute("SET TIME ZONE 'UTC'")
        yield conn


def us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def store(conn: Connection, rows: list[tuple[int, datetime, float | None, int]]) -> None:
    with conn.transaction():
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO observation VALUES (%s, %s, %s, %s, 0, now())", rows)
        mark_dirty(conn, [row[0] for row in rows], [us(row[1]) for row in rows])


def revise(
    conn: Connection, datastream: int, at: datetime, revision: int, flags: int, value: float | None, quality: int
) -> None:
    with conn.transaction():
        conn.execute(
            "INSERT INTO observation_revision VALUES (%s, %s, %s, %s, %s, %s, 0, now())",
            [datastream, at, revision, flags, value, quality],
        )
        mark_dirty(conn, [datastream], [us(at)])


def expected_rollup(conn: Connection) -> list[tuple[Any, ...]]:
    """The slow, plain way: every current reading in Python."""
    hours: dict[tuple[int, datetime], list[tuple[float | None, int]]] = {}
    for datastream, at, value, quality in conn.execute(
        "SELECT datastream_id, observed_at, value, quality FROM observation_current"
    ):
        hours.setdefault((datastream, at.replace(minute=0, second=0, microsecond=0)), []).append((value, quality))
    rows = []
    for (datastream, hour), readings in sorted(hours.items()):
        used = [v for v, q in readings if v is not None and q in (1, 2, 3)]
        rows.append(
            (
                datastream,
                hour,
                len(readings),
                sum(q == 3 for _, q in readings),
                sum(q == 4 for _, q in readings),
                sum(v is None for v, _ in readings),
                len(used),
                min(used, default=None),
                max(used, default=None),
                sum(used) if used else None,
            )
        )
    return rows


def rollup(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(f"SELECT {COLUMNS} FROM observation_rollup ORDER BY datastream_id, hour").fetchall()


def assert_exact(conn: Connection) -> None:
    got, wanted = rollup(conn), expected_rollup(conn)
    assert [row[:-1] for row in got] == [row[:-1] for row in wanted]
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine[-1] == (None if theirs[-1] is None else pytest.approx(theirs[-1]))


def test_current_is_the_newest_revision_with_its_newest_flags(worker: Connection) -> None:
    store(worker, [(1, T0, 1.0, 1), (1, T0 + timedelta(minutes=10), 2.0, 1)])
    revise(worker, 1, T0, 0, 1, 1.0, 3)  # a final flag of the first value
    current = "SELECT value, quality, revision, flags_version FROM observation_current WHERE observed_at = %s"
    assert worker.execute(current, [T0]).fetchall() == [(1.0, 3, 0, 1)]
    revise(worker, 1, T0, 1, 0, None, 9)  # a correction that takes the value away
    assert worker.execute(current, [T0]).fetchall() == [(None, 9, 1, 0)]
    revise(worker, 1, T0, 0, 2, 1.0, 4)  # flags of a value that is corrected by now change nothing
    assert worker.execute(current, [T0]).fetchall() == [(None, 9, 1, 0)]
    assert worker.execute(current, [T0 + timedelta(minutes=10)]).fetchall() == [(2.0, 1, 0, 0)]


def test_readings_are_insert_only(worker: Connection) -> None:
    store(worker, [(1, T0, 1.0, 1)])
    for statement in (
        "UPDATE observation SET value = 2",
        "DELETE FROM observation",
        "DELETE FROM observation_revision",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute(statement)


@pytest.mark.parametrize("quality", [0, 5, -1])
def test_a_quality_that_is_no_flag_is_refused(worker: Connection, quality: int) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        store(worker, [(1, T0, 1.0, quality)])


def test_rollup_is_exact_through_late_rows_corrections_and_flags(owner: Connection, worker: Connection) -> None:
    rng = np.random.default_rng(7)
    rows: list[tuple[int, datetime, float | None, int]] = [
        (
            datastream,
            T0 + timedelta(minutes=10 * i, seconds=int(rng.integers(0, 600))),
            None if rng.random() < 0.05 else float(rng.normal()),
            int(rng.choice([1, 1, 1, 2, 3, 4])),
        )
        for datastream in (1, 2, 3)
        for i in range(60)
    ]
    store(worker, rows[:-20])
    assert run_rollup(owner) > 0
    assert_exact(worker)
    store(worker, rows[-20:])  # late and out of order
    for datastream, at, value, _ in rows[5:25:4]:
        revise(worker, datastream, at, 1, 0, (value or 0) + 100, 1)
    run_rollup(owner)
    assert_exact(worker)
    at = rows[5][1].replace(minute=59, second=59, microsecond=5)
    store(worker, [(rows[5][0], at, 999.0, 1)])  # a late row into an hour that holds a correction
    run_rollup(owner)
    assert_exact(worker)
    assert run_rollup(owner) == 0


def test_rollup_of_hours_before_1970(owner: Connection, worker: Connection) -> None:
    at = datetime(1969, 12, 31, 23, 30, tzinfo=UTC)
    store(worker, [(1, at, 1.0, 3)])
    run_rollup(owner)
    assert worker.execute("SELECT hour, n_suspect FROM observation_rollup").fetchall() == [(at.replace(minute=0), 1)]


def test_marks_that_were_not_committed_do_not_count(owner: Connection, worker: Connection, postgres_url: str) -> None:
    store(worker, [(1, T0, 1.0, 1)])
    with connect_worker(postgres_url) as slow, slow.transaction():
        slow.execute("INSERT INTO observation VALUES (1, %s, 5, 1, 0, now())", [T0 + timedelta(minutes=1)])
        mark_dirty(slow, [1], [us(T0)])
        run_rollup(owner)  # must neither wait for the open batch nor take its mark away
        assert worker.execute("SELECT n FROM observation_rollup").fetchall() == [(1,)]
    run_rollup(owner)
    assert_exact(worker)


def test_no_reading_is_refused_for_its_date_and_the_default_partition_is_emptied(
    owner: Connection, worker: Connection, postgres_url: str
) -> None:
    days = [datetime(1970, 1, 1, 0, 5, tzinfo=UTC), T0, T0 + timedelta(days=1), datetime(2087, 2, 3, tzinfo=UTC)]
    rows: list[tuple[int, datetime, float | None, int]] = [(1, at, float(i), 1) for i, at in enumerate(days)]
    store(worker, rows)
    revise(worker, 1, T0, 1, 0, 7.0, 1)
    plain = dialect_of(owner).engine == "plain"
    health = sizes_and_health(owner)
    assert [table.n_default for table in health.readings] == ([4, 1] if plain else [0, 0])
    assert any("default partition" in problem for problem in health.problems) == plain
    done = maintain.maintain(postgres_url)
    assert done.hours_rolled_up == 4
    health = sizes_and_health(worker)
    assert [table.n_default for table in health.readings] == [0, 0]
    assert health.problems == []
    assert worker.execute("SELECT observed_at, value FROM observation ORDER BY 1").fetchall() == [
        (at, value) for _, at, value, _ in rows
    ]
    # What moved keeps its key.
    with pytest.raises(psycopg.errors.UniqueViolation):
        store(worker, rows[:1])
    assert maintain.maintain(postgres_url).partitions_made == 0


def test_in_a_live_database_a_wrong_clock_buys_no_partition(live_owner: Connection, live_postgres_url: str) -> None:
    if dialect_of(live_owner).engine != "plain":
        pytest.skip("chunks make themselves")
    now = datetime.now(UTC)
    with connect_worker(live_postgres_url) as worker:
        store(worker, [(1, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=i), 1.0, 3) for i in range(300)])
        store(worker, [(1, now - timedelta(days=30), 1.0, 1), (1, now + timedelta(days=4000), 1.0, 3)])
    before = sizes_and_health(live_owner).readings[0]
    maintain.maintain(live_postgres_url)
    after = sizes_and_health(live_owner).readings[0]
    assert before.n_default == 302
    assert after.n_default == 301
    assert after.n_pieces < before.n_pieces + 30


def test_the_worker_may_ask_for_partitions_but_not_for_thousands(worker: Connection) -> None:
    day = T0.date()
    made = maintain.ensure_partitions(worker, [day, day, day + timedelta(days=1)])
    assert made == (4 if dialect_of(worker).engine == "plain" else 0)
    assert maintain.ensure_partitions(worker, [day]) == 0
    if dialect_of(worker).engine == "plain":
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            maintain.ensure_partitions(worker, [day + timedelta(days=i) for i in range(1001)])


def test_making_a_partition_does_not_wait_for_writers_of_other_days(worker: Connection, postgres_url: str) -> None:
    maintain.ensure_partitions(worker, [T0.date()])
    with connect_worker(postgres_url) as other, other.transaction():
        other.execute("INSERT INTO observation VALUES (1, %s, 1, 1, 0, now())", [T0])
        worker.execute("SET statement_timeout = '2s'")
        maintain.ensure_partitions(worker, [T0.date() + timedelta(days=1)])


def test_retention_drops_whole_days_and_keeps_rollups(live_owner: Connection, live_postgres_url: str) -> None:
    now = datetime.now(UTC).replace(minute=30)
    days = [now - timedelta(days=i) for i in (0, 1, 9, 10, 11, 12)]
    with connect_worker(live_postgres_url) as worker:
        maintain.ensure_partitions(worker, [at.date() for at in days])
        store(worker, [(1, at, 1.0, 1) for at in days])
        revise(worker, 1, days[-1], 1, 0, 3.0, 1)
        done = maintain.maintain(live_postgres_url, retention=timedelta(days=10))
        assert len(done.dropped) >= 3
        kept = worker.execute("SELECT observed_at FROM observation ORDER BY 1 DESC").fetchall()
        # A day goes when all of it is past: the one that retention ends in stays.
        assert kept == [(at,) for at in days[:4]]
        assert worker.execute("SELECT count(*), sum(total) FROM observation_rollup").fetchone() == (6, 8.0)
        assert worker.execute("SELECT count(*) FROM observation_revision").fetchone() == (0,)
    assert maintain.maintain(live_postgres_url, retention=timedelta(days=10)).dropped == []


def test_retention_gives_way_to_readers(live_owner: Connection, live_postgres_url: str) -> None:
    dialect = dialect_of(live_owner)
    if dialect.engine != "plain":
        pytest.skip("TimescaleDB's own job")
    old = datetime.now(UTC) - timedelta(days=20)
    with connect_worker(live_postgres_url) as worker:
        maintain.ensure_partitions(worker, [old.date()])
        with worker.transaction():
            worker.execute("SELECT count(*) FROM observation")
            # Days ahead are not made either while the default partition is being read, which stops nothing else.
            assert maintain.make_partitions(live_owner, dialect, FixedClock(datetime.now(UTC))) == 0
            with pytest.raises(RetentionBlocked):
                maintain.maintain(live_postgres_url, retention=timedelta(days=10))
        # A run that died between detaching and dropping leaves a table behind, which the next run drops.
        piece = f"observation_{old:%Y%m%d}"
        live_owner.execute(f"ALTER TABLE observation DETACH PARTITION {piece}")
        assert piece in maintain.maintain(live_postgres_url, retention=timedelta(days=10)).dropped


def test_an_exercise_keeps_everything(owner: Connection, worker: Connection, postgres_url: str) -> None:
    store(worker, [(1, T0 - timedelta(days=4000), 1.0, 1)])
    assert maintain.maintain(postgres_url, retention=timedelta(days=1)).dropped == []
    assert worker.execute("SELECT count(*) FROM observation").fetchone() == (1,)


def test_live_policies_on_timescale(live_owner: Connection, owner: Connection) -> None:
    if dialect_of(live_owner).engine != "timescale":
        pytest.skip("plain PostgreSQL has no policies")
    jobs = (
        "SELECT hypertable_name, proc_name FROM timescaledb_information.jobs"
        " WHERE hypertable_name LIKE 'observation%' ORDER BY 1, 2"
    )
    assert live_owner.execute(jobs).fetchall() == [
        ("observation", "policy_compression"),
        ("observation", "policy_retention"),
        ("observation_revision", "policy_compression"),
        ("observation_revision", "policy_retention"),
    ]
    assert owner.execute(jobs).fetchall() == []


def test_late_rows_reach_columnstore(owner: Connection, worker: Connection) -> None:
    if dialect_of(owner).engine != "timescale":
        pytest.skip("plain PostgreSQL has no columnstore")
    store(worker, [(d, T0 + timedelta(minutes=10 * i), float(i), 1) for d in range(20) for i in range(100)])
    for (chunk,) in owner.execute("SELECT show_chunks('observation')").fetchall():
        owner.execute("CALL convert_to_columnstore(%s::regclass)", [chunk])
    assert sizes_and_health(owner).readings[0].n_compressed == 1
    store(worker, [(3, T0 + timedelta(minutes=5), 77.0, 1)])
    worker.execute(
        "INSERT INTO observation SELECT 3, %s, 1, 1, 0, now() ON CONFLICT DO NOTHING", [T0 + timedelta(minutes=10)]
    )
    assert worker.execute("SELECT count(*), max(value) FROM observation WHERE datastream_id = 3").fetchone() == (
        101,
        99,
    )
    revise(worker, 3, T0, 1, 0, -5.0, 1)
    run_rollup(owner)
    assert_exact(worker)


def test_one_housekeeper_at_a_time(owner: Connection, postgres_url: str) -> None:
    owner.execute("SELECT pg_advisory_lock(7463, 3)")
    with pytest.raises(AlreadyMaintained):
        maintain.maintain(postgres_url)


def test_the_loop_rolls_up_and_outlives_the_loss_of_its_database(worker: Connection, postgres_url: str) -> None:
    stop = threading.Event()
    loop = threading.Thread(target=maintain.run, args=(postgres_url, stop), kwargs={"rollup_every_s": 0.05})
    loop.start()
    try:
        for i in range(3):
            store(worker, [(1, T0 + timedelta(hours=i), float(i), 1)])
            worker_pid = worker.info.backend_pid
            with psycopg.connect(postgres_url, autocommit=True) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
                    [worker_pid],
                )
            for _ in range(200):
                if len(rollup(worker)) == i + 1:
                    break
                time.sleep(0.05)
            assert len(rollup(worker)) == i + 1
    finally:
        stop.set()
        loop.join(timeout=10)
    assert not loop.is_alive()


def test_what_passed_through_is_pruned(owner: Connection, worker: Connection) -> None:
    tenant, principal = new_id(), new_id()
    worker.execute("INSERT INTO tenant VALUES (%s, 't', 'T')", [tenant])
    worker.execute("INSERT INTO principal VALUES (%s, %s, 'p', 'P', 'x', '{admin}')", [principal, tenant])
    for days, name in ((-8, b"old"), (0, b"new")):
        at = datetime.now(UTC) + timedelta(days=days, minutes=5)
        worker.execute("INSERT INTO ingest_ledger VALUES ('s', %s, 1, %s, %s)", [name.decode(), at, at])
        worker.execute("INSERT INTO stream_event VALUES (%s, NULL, 'k', '{}', %s)", [days + 10, at])
        worker.execute("INSERT INTO session VALUES (%s, %s, %s, %s, %s)", [name, principal, tenant, at, at])
        worker.execute("INSERT INTO idempotency VALUES (%s, %s, '', 200, '', %s)", [tenant, name.decode(), at])
    pruned = maintain.prune(owner)
    assert pruned == {"ledger": 1, "stream": 1, "sessions": 1, "idempotency": 1, "forecasts": 0}
    assert worker.execute("SELECT message_id FROM ingest_ledger").fetchall() == [("new",)]


def test_old_forecasts_go_in_a_live_database(live_postgres_url: str) -> None:
    _forget_forecasts(live_postgres_url, 1)


def test_old_forecasts_stay_in_an_exercise_database(postgres_url: str) -> None:
    _forget_forecasts(postgres_url, 0)


def _forget_forecasts(url: str, n: int) -> None:
    station = new_id()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET ROLE tocsin_worker")
        conn.execute("INSERT INTO station (station_id, code, name) VALUES (%s, 's', 'S')", [station])
        conn.execute("INSERT INTO datastream (station_id, quantity, unit) VALUES (%s, 'level', 'm')", [station])
        for days in (1, 40):
            at = datetime.now(UTC) - timedelta(days=days)
            conn.execute(
                "INSERT INTO forecast SELECT datastream_id, NULL, %s, %s, 'm', 1, '{1}', '{1}', '{1}', '{0.5}', '{1}'"
                " FROM datastream",
                [at, at],
            )
        conn.execute("RESET ROLE")
        assert maintain.prune(conn)["forecasts"] == n


def test_health_counts_work_that_waits(owner: Connection, worker: Connection) -> None:
    worker.execute(
        "INSERT INTO outbox (consumer, kind, ordering_key, payload, published_at, dead_at) VALUES"
        " ('watch', 'k', 'o', '{}', now() - interval '1 hour', NULL), ('deliver', 'k', 'o', '{}', now(), now())"
    )
    # The owner too, although forced row-level security hides these rows from one without superuser rights.
    for conn in (owner, worker):
        health = sizes_and_health(conn, clock=FixedClock(datetime.now(UTC)))
        assert health.outbox_waiting == {"watch": 1}
        assert health.outbox_oldest_s["watch"] == pytest.approx(3600, abs=60)
        assert health.dead_letters == {"deliver": 1}
        assert len(health.problems) == 2
    assert owner.execute("SELECT current_user = session_user").fetchone() == (True,)


def test_scenario_clock(worker: Connection) -> None:
    assert abs(read_clock(worker).now() - datetime.now(UTC)) < timedelta(minutes=1)
    start_scenario(worker, at=T0, speed=60, wall=datetime.now(UTC) - timedelta(minutes=1))
    assert abs(read_clock(worker).now() - (T0 + timedelta(hours=1))) < timedelta(minutes=30)
    start_scenario(worker, at=T0, speed=60, held=True)
    assert read_clock(worker).now() == T0
    hold_scenario(worker, T0 + timedelta(hours=2))
    hold_scenario(worker, T0 + timedelta(hours=1))
    assert read_clock(worker).now() == T0 + timedelta(hours=2)
    end_scenario(worker)
    assert abs(read_clock(worker).now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_live_database_has_no_scenario(live_postgres_url: str) -> None:
    with connect_worker(live_postgres_url) as worker:
        with pytest.raises(NotAnExercise):
            start_scenario(worker, at=T0, speed=60)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute("UPDATE installation SET exercise = true")
