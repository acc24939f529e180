"""What people can reach: their tenant's rows and the public ones, through views where readings are concerned."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from core.ids import new_id
from core.settings import Settings
from store import maintain
from store.dialect import dialect_of
from store.pool import app_pool, tenant_transaction

Connection = psycopg.Connection[tuple[Any, ...]]

#: Relations that people may read although they hold nobody's rows: what this database is for, and its time.
OF_NOBODY = {"public.installation", "public.scenario_clock"}
VIEWS = {"public.tenant_observation", "public.tenant_latest_observation", "public.tenant_observation_rollup"}


@pytest.fixture
def owner(postgres_url: str) -> Iterator[Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def app(postgres_url: str) -> Iterator[Connection]:
    with psycopg.connect(postgres_url) as conn:
        conn.execute("SET ROLE tocsin_app")
        conn.commit()
        yield conn


def as_tenant(conn: Connection, tenant_id: UUID) -> None:
    conn.rollback()
    conn.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant_id)])


@pytest.fixture
def two_tenants(worker: Connection, make_tenant: Callable[[str], UUID]) -> tuple[UUID, UUID]:
    """Two tenants and the public, each with a station and readings whose value says whose they are."""
    mine, theirs = make_tenant("mine"), make_tenant("theirs")
    for tenant_id, value in ((mine, 1.0), (theirs, 2.0), (None, 3.0)):
        station = new_id()
        worker.execute(
            "INSERT INTO station (station_id, tenant_id, code, name) VALUES (%s, %s, 's', 'S')", [station, tenant_id]
        )
        row = worker.execute(
            "INSERT INTO datastream (station_id, tenant_id, quantity, unit) VALUES (%s, %s, 'level', 'm')"
            " RETURNING datastream_id",
            [station, tenant_id],
        ).fetchone()
        assert row is not None
        worker.execute("INSERT INTO observation VALUES (%s, now(), %s, 1, 0, now())", [row[0], value])
        worker.execute("INSERT INTO latest_observation VALUES (%s, now(), %s, 1, now())", [row[0], value])
        worker.execute(
            "INSERT INTO observation_rollup_hour VALUES (%s, now(), 1, 0, 0, 0, 1, %s, %s, %s)", [row[0], *[value] * 3]
        )
    return mine, theirs


def relations(conn: Connection) -> list[tuple[str, str, bool, bool, bool, bool, int, bool]]:
    """Everything stored: name, kind, whether people can read and write it, row-level security, whether it is forced,
    its policies, and whether it is a security barrier."""
    return conn.execute(
        """
        SELECT n.nspname || '.' || c.relname, c.relkind::text,
               has_table_privilege('tocsin_app', c.oid, 'SELECT')
                   OR has_any_column_privilege('tocsin_app', c.oid, 'SELECT'),
               has_table_privilege('tocsin_app', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                   OR has_any_column_privilege('tocsin_app', c.oid, 'INSERT, UPDATE'),
               c.relrowsecurity, c.relforcerowsecurity,
               (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)::int,
               coalesce('security_barrier=true' = ANY (c.reloptions), false)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND (n.nspname = 'public' OR n.nspname IN ('_timescaledb_internal'))
          AND NOT EXISTS (SELECT FROM pg_depend d  -- an extension's own
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        """
    ).fetchall()


def leaks(conn: Connection) -> list[str]:
    """Every relation that people can reach without anything that keeps tenants apart."""
    found = []
    for name, kind, reads, writes, secured, forced, policies, barrier in relations(conn):
        if not (reads or writes):
            continue
        if name in OF_NOBODY and not writes:
            continue
        if kind == "v":
            if name not in VIEWS or writes or not barrier:
                found.append(name)
        elif not (secured and forced and policies):
            found.append(name)
    return found


def unprotected_tenant_tables(conn: Connection) -> list[str]:
    """Tables with a tenant's column on which row-level security is not forced or has no policy."""
    with_tenant = {
        row[0]
        for row in conn.execute(
            "SELECT n.nspname || '.' || c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attname = 'tenant_id' AND c.relkind IN ('r', 'p')"
            " AND n.nspname = 'public'"
        )
    }
    assert len(with_tenant) > 25
    return [
        name
        for name, _, _, _, secured, forced, policies, _ in relations(conn)
        if name in with_tenant and not (secured and forced and policies)
    ]


def make_pieces_of_every_kind(owner: Connection) -> None:
    """Partitions or chunks, columnstore chunks, and what a continuous aggregate materialises."""
    dialect = dialect_of(owner)
    owner.execute(
        "INSERT INTO observation_revision SELECT datastream_id, observed_at, 1, 0, 9, 1, 0, now() FROM observation"
    )
    owner.execute(
        "INSERT INTO rollup_dirty (datastream_ids, hours)"
        " SELECT ARRAY[datastream_id], ARRAY[date_trunc('hour', observed_at)] FROM observation"
    )
    maintain.run_rollup(owner)
    if dialect.engine == "timescale":
        for (chunk,) in owner.execute("SELECT show_chunks('observation')").fetchall():
            owner.execute("CALL convert_to_columnstore(%s::regclass)", [chunk])


@pytest.mark.usefixtures("two_tenants")
def test_people_reach_no_base_relation_of_readings_and_no_open_table(owner: Connection) -> None:
    make_pieces_of_every_kind(owner)
    named = {name for name, *_ in relations(owner)}
    pieces = [name for name in named if "chunk" in name or "observation_2" in name]
    assert pieces, "the walk must have seen partitions or chunks"
    if dialect_of(owner).engine == "timescale":
        assert any("compress" in name for name in named)
        assert any("materialized_hypertable" in name for name in named)
    assert leaks(owner) == []
    assert unprotected_tenant_tables(owner) == []


@pytest.mark.parametrize(
    "hole",
    [
        "GRANT SELECT ON observation TO tocsin_app",
        "GRANT SELECT (source) ON ingest_ledger TO tocsin_app",
        "GRANT SELECT ON latest_observation TO tocsin_app",
        "GRANT SELECT ON observation_current TO PUBLIC",
        "GRANT SELECT ON observation_rollup TO tocsin_app",
        "GRANT INSERT ON installation TO tocsin_app",
        "ALTER TABLE warning NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE warning DISABLE ROW LEVEL SECURITY",
        "DO $$ DECLARE p text; BEGIN FOR p IN SELECT polname FROM pg_policy WHERE polrelid = 'quote'::regclass LOOP"
        " EXECUTE format('DROP POLICY %I ON quote', p); END LOOP; END $$",
        "GRANT SELECT ON quarantine TO tocsin_app",
        "ALTER VIEW tenant_observation SET (security_barrier = false)",
    ],
)
def test_the_walk_finds_each_kind_of_hole(owner: Connection, hole: str) -> None:
    owner.execute(hole)
    assert len(leaks(owner)) >= 1


@pytest.mark.usefixtures("two_tenants")
def test_the_walk_finds_an_open_chunk_or_partition(owner: Connection) -> None:
    piece = next(name for name, *_ in relations(owner) if "_chunk" in name or "observation_2" in name)
    owner.execute(sql.SQL("GRANT SELECT ON {} TO tocsin_app").format(sql.Identifier(*piece.split("."))))
    assert leaks(owner) == [piece]


def test_the_walk_finds_a_new_table_without_policies(owner: Connection) -> None:
    owner.execute("CREATE TABLE forgotten (tenant_id uuid)")
    assert unprotected_tenant_tables(owner) == ["public.forgotten"]


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_views_show_own_and_public_readings_only(app: Connection, two_tenants: tuple[UUID, UUID], view: str) -> None:
    column = "mean" if "rollup" in view else "value"
    query = f"SELECT {column} FROM {view} ORDER BY 1"
    for tenant_id, values in zip(two_tenants, ([1.0, 3.0], [2.0, 3.0]), strict=True):
        as_tenant(app, tenant_id)
        assert [row[0] for row in app.execute(query).fetchall()] == values
    as_tenant(app, new_id())
    assert app.execute(query).fetchall() == [(3.0,)]


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_a_function_in_the_condition_sees_no_foreign_row(
    app: Connection, owner: Connection, two_tenants: tuple[UUID, UUID], view: str
) -> None:
    """Without security_barrier the planner may run a cheap condition before the tenant's."""
    own = {
        row[0]
        for row in owner.execute(
            "SELECT datastream_id FROM datastream WHERE tenant_id IS NULL OR tenant_id = %s", [two_tenants[0]]
        )
    }
    owner.execute(
        "CREATE FUNCTION leak(bigint) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS"
        " $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
    )
    seen: set[int] = set()
    app.add_notice_handler(lambda notice: seen.add(int(notice.message_primary or "0")))
    as_tenant(app, two_tenants[0])
    app.execute("SET LOCAL enable_nestloop = off")  # with it the tenant's datastreams may lead by chance
    app.execute(f"SELECT * FROM {view} WHERE leak(datastream_id)").fetchall()
    assert seen == own


@pytest.mark.parametrize("relation", [*sorted(VIEWS), "warning", "quote", "tenant", "policyholder", "audit"])
def test_without_a_tenant_everything_fails_closed(
    app: Connection, worker: Connection, two_tenants: tuple[UUID, UUID], relation: str
) -> None:
    worker.execute(
        "INSERT INTO quote SELECT gen_random_uuid(), %s, '', '{}', '{}', '2025-01-02', '2024-01-01', '2025-01-01',"
        " 'm', 1, 'EUR', now()",
        [two_tenants[0]],
    )
    query = f"SELECT * FROM {relation}"
    app.rollback()
    if relation in ("quote", "tenant") or relation in VIEWS:  # these hold rows
        with pytest.raises(psycopg.Error, match=r"app\.tenant"):
            app.execute(query)
    app.rollback()
    as_tenant(app, two_tenants[0])
    app.execute(query)
    app.commit()
    # The setting ended with its transaction: PostgreSQL leaves an empty text behind, which is no tenant either.
    with contextlib.suppress(psycopg.errors.InvalidTextRepresentation):
        assert app.execute(query).fetchall() == []


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_without_a_tenant_not_even_public_readings(
    app: Connection, worker: Connection, two_tenants: tuple[UUID, UUID], view: str
) -> None:
    """Not even where no row would be compared with a tenant."""
    worker.execute(
        "DELETE FROM latest_observation AS l USING datastream AS d"
        " WHERE d.datastream_id = l.datastream_id AND d.tenant_id IS NOT NULL"
    )
    worker.execute("DELETE FROM datastream WHERE tenant_id IS NOT NULL")
    worker.execute("DELETE FROM station WHERE tenant_id IS NOT NULL")
    with pytest.raises(psycopg.errors.UndefinedObject, match=r"app\.tenant"):
        app.execute(f"SELECT * FROM {view}")
    as_tenant(app, two_tenants[0])
    assert len(app.execute(f"SELECT * FROM {view}").fetchall()) == 1
    app.commit()
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):  # the setting is an empty text now
        app.execute(f"SELECT * FROM {view}")


def test_a_tenant_writes_for_itself_only(app: Connection, two_tenants: tuple[UUID, UUID]) -> None:
    mine, theirs = two_tenants
    insert = (
        "INSERT INTO quote VALUES (gen_random_uuid(), %s, '', '{}', '{}', '2025-01-02', '2024-01-01', '2025-01-01',"
        " 'm', 1, 'EUR', now())"
    )
    as_tenant(app, mine)
    app.execute(insert, [mine])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(insert, [theirs])
    for statement in (
        "UPDATE installation SET exercise = false",
        "INSERT INTO station (station_id, tenant_id, code, name) VALUES (gen_random_uuid(), NULL, 'x', 'x')",
        "DELETE FROM warning",
        "SELECT password_hash FROM principal",
        "SELECT * FROM observation_current",
        "SELECT ensure_reading_partitions(ARRAY[]::date[])",
    ):
        as_tenant(app, mine)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(statement)


def test_one_tenant_cannot_stop_anothers_sending(app: Connection, two_tenants: tuple[UUID, UUID]) -> None:
    mine, theirs = two_tenants
    insert = (
        "INSERT INTO sending_pause (scope, tenant_id, paused_by, paused_at) VALUES (%s, %s, gen_random_uuid(), now())"
    )
    as_tenant(app, mine)
    app.execute(insert, [f"tenant:{mine}", mine])
    for scope, tenant_id in (("all", mine), (f"tenant:{theirs}", mine), (f"tenant:{theirs}", theirs), ("all", None)):
        as_tenant(app, mine)
        with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.InsufficientPrivilege)):
            app.execute(insert, [scope, tenant_id])


def test_keys_do_not_cross_tenants(worker: Connection, two_tenants: tuple[UUID, UUID]) -> None:
    mine, theirs = two_tenants
    principal = new_id()
    worker.execute("INSERT INTO principal VALUES (%s, %s, 'p', 'P', 'x', '{admin}')", [principal, mine])
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        worker.execute("INSERT INTO session VALUES ('x', %s, %s, now(), now())", [principal, theirs])


def test_sign_in_lookups_answer_for_one_exact_key(
    app: Connection, worker: Connection, two_tenants: tuple[UUID, UUID]
) -> None:
    mine, theirs = two_tenants
    ids = {}
    for tenant_id, login in ((mine, "ann"), (theirs, "bob")):
        ids[login] = new_id()
        worker.execute(
            "INSERT INTO principal VALUES (%s, %s, %s, 'X', 'hash', '{insurer}')", [ids[login], tenant_id, login]
        )
        worker.execute(
            "INSERT INTO session VALUES (%s, %s, %s, now(), now() + interval '1 hour')",
            [login.encode(), ids[login], tenant_id],
        )
    worker.execute("INSERT INTO session VALUES ('over', %s, %s, now(), now() - interval '1 s')", [ids["ann"], mine])
    worker.execute("INSERT INTO api_key VALUES (%s, %s, 'k', 'key', '{partner}', now(), NULL)", [new_id(), mine])
    worker.execute("INSERT INTO api_key VALUES (%s, %s, 'r', 'revoked', '{partner}', now(), now())", [new_id(), mine])

    def found(function: str, key: str | bytes) -> list[tuple[Any, ...]]:
        return app.execute(f"SELECT tenant_id FROM {function}(%s)", [key]).fetchall()

    assert found("find_principal", "ann") == [(mine,)]
    assert found("find_principal", "bob") == [(theirs,)]
    assert found("find_principal", "%") == []
    assert found("find_session", b"ann") == [(mine,)]
    assert found("find_session", b"over") == []
    assert found("find_api_key", b"key") == [(mine,)]
    assert found("find_api_key", b"revoked") == []
    worker.execute("UPDATE principal SET disabled_at = now() WHERE login = 'ann'")
    assert found("find_session", b"ann") == []


def test_nobody_else_runs_the_sign_in_lookups(owner: Connection) -> None:
    rights = owner.execute(
        "SELECT p.proname, has_function_privilege('tocsin_app', p.oid, 'EXECUTE'),"
        " EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0), r.rolname, p.prosecdef, p.proconfig::text"
        " FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.proname LIKE 'find\\_%' ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in rights] == ["find_api_key", "find_principal", "find_session"]
    for _, people, public, belongs_to, definer, config in rights:
        assert (people, public, belongs_to, definer) == (True, False, "tocsin_worker", True)
        assert "search_path" in config  # a definer's function must not look names up in the caller's path


def test_functions_with_anothers_rights_are_closed_and_pinned(owner: Connection) -> None:
    """Whoever may call one acts as its owner: nobody by default, and never by names from the caller's search path."""
    rows = owner.execute(
        "SELECT p.proname, p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0),"
        " coalesce(p.proconfig::text, '') FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = 'public' AND p.prosecdef AND NOT EXISTS (SELECT FROM pg_depend d"
        " WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')"
    ).fetchall()
    assert len(rows) >= 3
    for name, public, config in rows:
        assert not public, name
        assert "search_path" in config, name


def test_pool_gives_each_transaction_its_tenant_and_leaves_none_behind(
    settings: Settings, two_tenants: tuple[UUID, UUID]
) -> None:
    async def go() -> None:
        pool = app_pool(settings.model_copy(update={"api": settings.api.model_copy(update={"pool_size": 1})}))
        await pool.open()
        try:
            for tenant_id, slug in zip(two_tenants, ("mine", "theirs"), strict=True):
                async with tenant_transaction(pool, tenant_id) as conn:
                    assert await (await conn.execute("SELECT slug FROM tenant")).fetchall() == [(slug,)]
            with pytest.raises(psycopg.Error):
                async with pool.connection() as conn:
                    await conn.execute("SELECT slug FROM tenant")
            with pytest.raises(ValueError, match="rolls back"):
                async with tenant_transaction(pool, two_tenants[0]) as conn:
                    raise ValueError("rolls back")
            async with tenant_transaction(pool, two_tenants[1]) as conn:
                assert await (await conn.execute("SELECT current_user, slug FROM tenant")).fetchall() == [
                    ("tocsin_app", "theirs")
                ]
        finally:
            await pool.close()

    asyncio.run(go())


def test_exercise_reaches_no_live_channel(worker: Connection, two_tenants: tuple[UUID, UUID]) -> None:
    """By constraint, whatever the sender thinks."""
    tenant_id = two_tenants[0]
    warning_insert = (
        "INSERT INTO warning (warning_id, version, tenant_id, exercise, status, msg_type, level, reason, state,"
        " identifier, sender, sent_at, expires_at, area, area_desc, texts, n_people, content_sha256, drafted_at,"
        " approvals_needed)"
        " VALUES (%s, 1, %s, %s, %s, 'Alert', 'red', 'r', 'draft', %s, 's', now(), now(), '', '{}', '{}', 1, '', now(),"
        " 2)"
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation):  # a live warning
        worker.execute(warning_insert, [new_id(), tenant_id, False, "Actual", "a"])
    with pytest.raises(psycopg.errors.CheckViolation):  # an exercise that says it is real
        worker.execute(warning_insert, [new_id(), tenant_id, True, "Actual", "b"])
    warning_id, holder, contact = new_id(), new_id(), new_id()
    worker.execute(warning_insert, [warning_id, tenant_id, True, "Exercise", "c"])
    worker.execute(
        "INSERT INTO policyholder (policyholder_id, tenant_id, name) VALUES (%s, %s, 'n')", [holder, tenant_id]
    )
    worker.execute(
        "INSERT INTO contact_point VALUES (%s, %s, %s, 'email', '{}', 1, now(), NULL)", [contact, tenant_id, holder]
    )
    delivery = (
        "INSERT INTO delivery (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel,"
        " provider, exercise, available_at, queued_at)"
        " VALUES (gen_random_uuid(), %s, %s, 1, %s, %s, 'email', %s, %s, now(), now())"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        worker.execute(delivery, [tenant_id, warning_id, holder, contact, "smtp", True])
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        worker.execute(delivery, [tenant_id, warning_id, holder, contact, "smtp", False])
    worker.execute(delivery, [tenant_id, warning_id, holder, contact, "fake", True])
