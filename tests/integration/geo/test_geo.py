"""A file of locations to an assessment, and a footprint to everybody's way out, on a real database."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import shapely

from core.settings import Settings
from geo import assess, imports, plan, repository, repository_books
from geo.assess import OlderThanTheLast
from geo.hazard import BadFootprint
from geo.imports import Person, RowsRefused
from geo.network import Road, build
from geo.repository_books import StillNeeded
from store import outbox
from store.pool import AsyncConnection, connect_worker_async

Worker = psycopg.Connection[tuple[Any, ...]]
T0 = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = (
    "PortNumber,AccNumber,LocNumber,CountryCode,Latitude,Longitude,LocPerilsCovered,BuildingTIV,ContentsTIV,"
    "LocCurrency,Roof"
)
D = 0.001


def with_conn(url: str, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        conn = await connect_worker_async(url)
        try:
            return await work(conn)
        finally:
            await conn.close()

    return asyncio.run(run())


def book_file(folder: Path, *rows: str, name: str = "loc.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


GOOD = (
    "1,A1,1,ZZ,10.0,20.0,ORF,1000.10,0.05,EUR,tile",
    "1,A1,2,ZZ,10.002,20.002,ORF,2000,,EUR,",
    "1,A2,1,ZZ,,,ORF,500.5,0,EUR,",
    "1,A3,1,ZZ,10.001,20.001,ORF,70,0,USD,",
)


def box(x0: float, y0: float, x1: float, y1: float) -> shapely.Polygon:
    return shapely.box(20 + x0 * D, 10 + y0 * D, 20 + x1 * D, 10 + y1 * D)


def test_a_book_is_imported_to_the_cent_and_again_without_change(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], tmp_path: Path
) -> None:
    tenant = make_tenant("one")
    path = book_file(tmp_path, *GOOD)

    async def work(conn: AsyncConnection) -> Any:
        return await imports.import_oed(conn, path, tenant_id=tenant, portfolio="Book")

    first = with_conn(postgres_url, work)
    assert not first.unchanged
    assert first.reconciliation.mapped == {"EUR": 300015, "USD": 7000}
    assert first.reconciliation.unknown == {"EUR": 50050}
    assert set(first.reconciliation.difference().values()) == {0}
    ids = worker.execute("SELECT acc_number, loc_number, location_id FROM location ORDER BY 1, 2").fetchall()
    assert worker.execute("SELECT oed FROM location WHERE loc_number = '1' AND acc_number = 'A1'").fetchone() == (
        {"PortNumber": "1", "Roof": "tile"},
    )
    second = with_conn(postgres_url, work)
    assert second.unchanged
    assert worker.execute("SELECT acc_number, loc_number, location_id FROM location ORDER BY 1, 2").fetchall() == ids
    assert worker.execute("SELECT count(*) FROM policy").fetchone() == (3,)


def test_a_bad_row_imports_nothing_and_keeps_the_book_that_was_there(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], tmp_path: Path
) -> None:
    tenant = make_tenant("one")
    good = book_file(tmp_path, *GOOD)
    bad = book_file(tmp_path, *GOOD[:2], "1,A9,1,ZZ,10,20,ORF,minus,0,EUR,", name="bad.csv")

    async def work(conn: AsyncConnection) -> None:
        await imports.import_oed(conn, good, tenant_id=tenant, portfolio="Book")
        with pytest.raises(RowsRefused, match="line 4: BuildingTIV: 'minus' is not a number"):
            await imports.import_oed(conn, bad, tenant_id=tenant, portfolio="Book")

    with_conn(postgres_url, work)
    assert worker.execute("SELECT count(*), sum(building_tiv) FROM location").fetchone()[0] == 4  # type: ignore[index]

    async def skipping(conn: AsyncConnection) -> Any:
        return await imports.import_oed(conn, bad, tenant_id=tenant, portfolio="Book", skip_bad=True)

    report = with_conn(postgres_url, skipping)
    assert [str(row) for row in report.refused] == ["line 4: BuildingTIV: 'minus' is not a number"]
    assert report.n_removed == 2
    assert worker.execute("SELECT count(*) FROM location").fetchone() == (2,)


def test_a_file_without_an_insured_policyholder_is_refused(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], tmp_path: Path
) -> None:
    tenant = make_tenant("one")
    path = book_file(tmp_path, *GOOD)
    less = book_file(tmp_path, GOOD[1], name="less.csv")

    async def work(conn: AsyncConnection) -> None:
        report = await imports.import_oed(conn, path, tenant_id=tenant, portfolio="Book")
        person = Person(code="P1", name="Ann", language="en", lon=20, lat=10, account="A1", location="1")
        await imports.import_people(conn, [person], tenant_id=tenant, portfolio_id=report.portfolio_id)
        with pytest.raises(StillNeeded):
            await imports.import_oed(conn, less, tenant_id=tenant, portfolio="Book")

    with_conn(postgres_url, work)
    assert worker.execute("SELECT count(*) FROM location").fetchone() == (4,)


async def publish(conn: AsyncConnection, tenant: UUID | None, geometry: Any, at: datetime = T0, zones: Any = ()) -> Any:
    event = await repository.save_hazard_event(
        conn, tenant_id=tenant, code="flood", peril="flood", name="Flood", started_at=T0
    )
    return await assess.publish_footprint(conn, event, geometry, zones, valid_at=at, made_how="test")


def test_a_public_footprint_is_assessed_for_every_tenant_and_a_private_one_for_its_own(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], tmp_path: Path
) -> None:
    one, two = make_tenant("one"), make_tenant("two")
    path = book_file(tmp_path, *GOOD)

    async def work(conn: AsyncConnection) -> tuple[int, int, int]:
        for tenant in (one, two):
            await imports.import_oed(conn, path, tenant_id=tenant, portfolio="Book")
        public, version = await publish(conn, None, box(-0.5, -0.5, 1.5, 1.5))
        assert version == 1
        made = await assess.assess_footprint(conn, public, now=T0)
        again = await assess.assess_footprint(conn, public, now=T0)
        private, _ = await publish(conn, one, box(-0.5, -0.5, 1.5, 1.5))
        own = await assess.assess_footprint(conn, private, now=T0)
        return len(made), len(again), len(own)

    assert with_conn(postgres_url, work) == (2, 0, 1)
    rows = worker.execute(
        "SELECT n_locations, n_policies, exposed_tiv::text, n_unknown, unknown_tiv::text, currency, by_currency"
        " FROM assessment WHERE tenant_id = %s",
        [two],
    ).fetchall()
    assert rows == [
        (
            2, 2, "1000.15", 1, "500.50", "EUR",
            {
                "EUR": {"exposed_tiv": "1000.15", "unknown_tiv": "500.50"},
                "USD": {"exposed_tiv": "70.00", "unknown_tiv": "0.00"},
            },
        )
    ]  # fmt: skip
    top = worker.execute(
        "SELECT rank, exposed_tiv::text, acc_number FROM assessment_location JOIN location USING (location_id)"
        " WHERE assessment_location.tenant_id = %s ORDER BY rank",
        [two],
    ).fetchall()
    assert top == [(1, "1000.15", "A1"), (2, "70.00", "A3")]


def test_the_book_in_memory_is_renewed_when_the_portfolio_is(
    postgres_url: str, make_tenant: Callable[[str], UUID], tmp_path: Path
) -> None:
    tenant = make_tenant("one")

    async def work(conn: AsyncConnection) -> list[int]:
        shelf, sizes = assess.BookShelf(), []
        for rows in (GOOD, GOOD[:1]):
            path = book_file(tmp_path, *rows)
            await imports.import_oed(conn, path, tenant_id=tenant, portfolio="Book")
            (portfolio,) = await repository_books.portfolios(conn, tenant)
            async with conn.transaction():
                sizes.append(len(await shelf.book(conn, portfolio)))
                assert await shelf.book(conn, portfolio) is await shelf.book(conn, portfolio)
        return sizes

    assert with_conn(postgres_url, work) == [4, 1]


def test_footprints_that_would_mislead_are_refused(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID]
) -> None:
    tenant = make_tenant("one")
    worker.execute(
        "INSERT INTO station (station_id, tenant_id, code, name, lon, lat)"
        " VALUES (gen_random_uuid(), %s, 'S', 'S', 20, 10)",
        [tenant],
    )

    async def work(conn: AsyncConnection) -> None:
        with pytest.raises(BadFootprint, match="swapped"):
            await publish(conn, tenant, shapely.box(9.99, 19.99, 10.01, 20.01))
        with pytest.raises(BadFootprint, match="empty"):
            await publish(conn, tenant, shapely.Polygon())
        with pytest.raises(BadFootprint, match="valid_at"):
            await publish(conn, tenant, box(0, 0, 1, 1), at=datetime(2026, 6, 1))  # noqa: DTZ001
        _, first = await publish(conn, tenant, box(0, 0, 1, 1), at=T0 + timedelta(hours=1))
        with pytest.raises(OlderThanTheLast):
            await publish(conn, tenant, box(0, 0, 1, 1), at=T0)
        _, second = await publish(conn, tenant, box(0, 0, 1, 1), at=T0 + timedelta(hours=1))
        assert (first, second) == (1, 2)

    with_conn(postgres_url, work)
    assert worker.execute("SELECT count(*) FROM footprint").fetchone() == (2,)
    kinds = worker.execute("SELECT DISTINCT consumer FROM outbox WHERE kind = 'footprint_published' ORDER BY 1")
    assert [row[0] for row in kinds] == ["assess", "plan", "stream"]


def test_an_event_is_ended_once_and_not_before_what_is_drawn_of_it(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID]
) -> None:
    tenant = make_tenant("one")
    drawn, later = T0 + timedelta(hours=1), T0 + timedelta(hours=2)

    async def work(conn: AsyncConnection) -> None:
        with pytest.raises(repository.NoHazardEvent):
            await repository.event_of_code(conn, "flood", tenant)
        await publish(conn, tenant, box(0, 0, 1, 1), at=drawn)
        await publish(conn, None, box(0, 0, 1, 1), at=drawn)
        event = await repository.event_of_code(conn, "flood", tenant)
        with pytest.raises(assess.EndsTooEarly, match="footprint_valid_at"):
            await assess.end_event(conn, event, at=T0 + timedelta(minutes=59), by="Ann", now=later)
        quiet = await repository.save_hazard_event(
            conn, tenant_id=tenant, code="quiet", peril="flood", name="Quiet", started_at=drawn
        )
        with pytest.raises(assess.EndsTooEarly):
            await assess.end_event(conn, quiet, at=T0, by="Ann", now=later)
        await assess.end_event(conn, event, at=later, by="Ann", now=later)
        with pytest.raises(assess.EventOver):
            await assess.end_event(conn, event, at=later, by="Ann", now=later)
        with pytest.raises(assess.EventOver):
            await publish(conn, tenant, box(0, 0, 1, 1), at=later + timedelta(minutes=1))
        on = await repository.hazard_events(conn, None, ended_too=False)
        assert [(one.code, one.tenant, one.version) for one in on] == [("flood", None, 1), ("quiet", "one", 0)]
        mine = await repository.hazard_events(conn, "one", ended_too=True)
        assert [(one.code, one.ended_at) for one in mine] == [("flood", later), ("quiet", None)]

    with_conn(postgres_url, work)
    told = worker.execute("SELECT consumer FROM outbox WHERE kind = 'hazard_ended' ORDER BY 1").fetchall()
    assert [row[0] for row in told] == ["stream", "watch"]
    kept = worker.execute("SELECT actor, action FROM audit WHERE tenant_id = %s", [tenant]).fetchall()
    assert kept == [("Ann", "hazard.end")]


def test_events_are_listed_and_ended_by_command(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID]
) -> None:
    tenant = make_tenant("one")
    with_conn(postgres_url, lambda conn: publish(conn, tenant, box(0, 0, 1, 1)))

    def tocsin(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "tocsin", "hazards", *arguments],
            env={"PATH": "/usr/bin:/bin", "TOCSIN_DATABASE_URL": postgres_url, "TOCSIN_MODE": "exercise"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    listed = tocsin("list")
    assert listed.stdout == "flood  one  flood  since 2026-06-01 00:00  footprint 1 of 2026-06-01 00:00\n", (
        listed.stderr
    )
    for code, wrong, field in (
        (2, ["flood", "--tenant", "one", "--by", "Ann", "--at", "noon"], "--at"),
        (2, ["flood", "--tenant", "one", "--by", "Ann", "--at", "2026-06-01T01:00"], "--at"),
        (2, ["flood", "--tenant", "one", "--by", "Ann", "--at", "2999-06-01T01:00Z"], "--at"),
        (2, ["flood", "--tenant", "one", "--by", " "], "--by"),
        (3, ["flood", "--by", "Ann"], "flood"),  # a tenant's event is not the public one
        (5, ["flood", "--tenant", "one", "--by", "Ann", "--at", "2026-05-31T01:00Z"], "before"),
    ):
        refused = tocsin("end", *wrong)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (code, 1), refused.stderr
        assert field in refused.stderr
    assert worker.execute("SELECT count(*) FROM hazard_event WHERE ended_at IS NOT NULL").fetchone() == (0,)
    assert tocsin("list", "--tenant", "nobody").returncode == 3
    ended = tocsin("end", "flood", "--tenant", "one", "--by", "Ann", "--at", "2026-06-01T02:00Z")
    assert ended.stdout == "flood  over since 2026-06-01T02:00:00+00:00\n", ended.stderr
    assert tocsin("list", "--json").stdout == "[]\n"
    assert '"ended_at": "2026-06-01T02:00:00+00:00"' in tocsin("list", "--all", "--json").stdout


def test_a_footprint_becomes_a_plan_and_only_what_changed_is_marked(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], tmp_path: Path, settings: Settings
) -> None:
    tenant = make_tenant("one")
    road = [(20 + x * D, 10.0) for x in range(8)]
    network = build(
        [
            Road(points=road, speed_kmh=36),
            Road(points=[(20.0, 10 + y * D) for y in range(6)], speed_kmh=36),
        ]
    )
    zones = [
        {"code": "E", "names": {"en": "East"}, "lon": 20 + 7 * D, "lat": 10.0, "seats": 10, "accessible_seats": 0},
        {"code": "N", "names": {"en": "North"}, "lon": 20.0, "lat": 10 + 5 * D, "seats": 10, "accessible_seats": 0},
    ]
    people = [
        Person(code="near", name="A", language="en", lon=20 + 4.5 * D, lat=10.0),
        Person(code="corner", name="B", language="zh", lon=20.0, lat=10 + 1 * D),
        Person(code="far", name="C", language="en", lon=20.5, lat=10.0),
    ]
    coming = [{"arrival_min": 60, "geometry": shapely.to_geojson(box(5, -1, 6, 1))}]

    async def work(conn: AsyncConnection) -> None:
        await imports.import_roads(conn, network, home=tmp_path, code="r", tenant_id=None)
        _, version, new = await imports.import_roads(conn, network, home=tmp_path, code="r", tenant_id=None)
        assert (version, new) == (1, False)
        await repository.save_safe_zones(conn, None, zones)
        await imports.import_people(conn, people, tenant_id=tenant)
        first, _ = await publish(conn, tenant, box(20, 20, 21, 21), zones=coming)
        assert len(await plan.plan_footprint(conn, first, home=tmp_path, now=T0)) == 1
        assert await plan.plan_footprint(conn, first, home=tmp_path, now=T0) == []
        later = T0 + timedelta(minutes=60)
        second, _ = await publish(conn, tenant, box(5, -1, 6, 1), at=later)
        await plan.plan_footprint(conn, second, home=tmp_path, now=later)

    with_conn(postgres_url, work)
    rows = worker.execute(
        "SELECT f.version, ph.name, r.status, z.code, r.leave_by, r.changed, r.reason <> '', r.geometry IS NOT NULL"
        " FROM household_route r JOIN evacuation_plan p USING (evacuation_plan_id)"
        " JOIN footprint f USING (footprint_id)"
        " JOIN household h USING (household_id) JOIN policyholder ph USING (policyholder_id)"
        " LEFT JOIN safe_zone z USING (safe_zone_id) ORDER BY 1, 2"
    ).fetchall()
    leave_by = rows[0][4]
    # 2.5 steps of about 110 m at 10 m/s, a quarter more for the margin, before the road closes after an hour
    assert timedelta(minutes=59) < leave_by - T0 < timedelta(minutes=60)
    assert rows == [
        (1, "A", "clear", "E", leave_by, True, False, True),
        (1, "B", "clear", "N", None, True, False, True),
        (1, "C", "off-network", None, None, True, True, False),
        (2, "A", "clear", "N", None, True, False, True),
        (2, "B", "clear", "N", None, False, False, True),
        (2, "C", "off-network", None, None, False, True, False),
    ]
    counts = worker.execute(
        "SELECT counts, margins->>'travel' FROM evacuation_plan JOIN footprint USING (footprint_id) ORDER BY version"
    ).fetchall()
    assert counts[1][0]["changed"] == 1
    assert sum(v for k, v in counts[1][0].items() if k != "changed") == 3
    assert counts[0][1] == "1.25"


def test_workers_take_footprints_from_the_outbox(
    postgres_url: str, worker: Worker, make_tenant: Callable[[str], UUID], tmp_path: Path, settings: Settings
) -> None:
    from store.pool import worker_pool

    tenant = make_tenant("one")
    path = book_file(tmp_path, *GOOD)

    async def work() -> None:
        async with worker_pool(settings) as pool:
            stop = asyncio.Event()
            loop = asyncio.create_task(outbox.run(pool, "assess", assess.handle, stop))
            planner = asyncio.create_task(outbox.run(pool, "plan", plan.handler(tmp_path), stop))
            async with pool.connection() as conn:
                await imports.import_oed(conn, path, tenant_id=tenant, portfolio="Book")
                await publish(conn, tenant, box(-1, -1, 3, 3))
            for _ in range(100):
                await asyncio.sleep(0.1)
                if worker.execute("SELECT count(*) FROM outbox WHERE consumer IN ('assess', 'plan')").fetchone() == (
                    0,
                ):
                    break
            stop.set()
            await asyncio.gather(loop, planner)

    asyncio.run(work())
    assert worker.execute("SELECT n_locations FROM assessment").fetchall() == [(3,)]
    assert worker.execute("SELECT last_error FROM outbox WHERE last_error IS NOT NULL").fetchall() == []
