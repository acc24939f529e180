"""A damage answer is a reading of the home: kept once, replaced when corrected, its tenant's own, used by the next version."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from alerts import damage_answers
from alerts.answer import Answer, give_answer
from alerts.damage_report import DEPTH_M, WEIGHT
from core.errors import Conflict
from core.ids import new_id
from geo import assess, assess_loss, imports, repository
from geo.hazard_field import PolygonField
from store.pool import AsyncConnection, connect_worker, connect_worker_async, role_pool, tenant_transaction
from tests.integration.geo.test_geo import T0, box, with_conn

pytestmark = pytest.mark.sql

LOCATIONS = (
    "PortNumber,AccNumber,LocNumber,CountryCode,Latitude,Longitude,OccupancyCode,LocPerilsCovered,BuildingTIV,ContentsTIV,"
    "BITIV,LocCurrency\n"
    "1,A1,1,LK,10.0,20.0,1050,OO1,100000,50000,0,EUR\n"
    "1,A2,1,LK,10.0005,20.0005,1050,OO1,70000,0,0,EUR\n"
)


def person(conn: Any, tenant: UUID, *, lon: float | None = 20.0, lat: float = 10.0) -> UUID:
    who = new_id()
    conn.execute("INSERT INTO policyholder (policyholder_id, tenant_id, name) VALUES (%s, %s, 'P')", [who, tenant])
    if lon is not None:
        conn.execute(
            "INSERT INTO household (household_id, tenant_id, policyholder_id, lon, lat) VALUES (%s, %s, %s, %s, %s)",
            [new_id(), tenant, who, lon, lat],
        )
    return who


def tell(url: str, tenant: UUID, who: UUID, key: str, detail: dict[str, Any], minute: float = 0.0) -> Answer:
    """As the phone's page does: with the rights of the API, of its tenant."""

    async def work() -> Answer:
        async with role_pool(url, "tocsin_app", size=1) as pool, tenant_transaction(pool, tenant) as conn:
            return await give_answer(
                conn, tenant_id=tenant, policyholder_id=who, warning_id=None, kind="damage", detail=detail,
                idempotency_key=key, now=T0 + timedelta(minutes=minute),
            )  # fmt: skip

    return asyncio.run(work())


def rows(worker: Any, what: str = "revision, value, error, weight, floor_m, lon, lat") -> list[Any]:
    return worker.execute(f"SELECT {what} FROM reported_observation ORDER BY revision").fetchall()


def test_a_told_depth_is_one_reading_with_its_error_and_a_correction_replaces_it(
    postgres_url: str, make_tenant: Callable[[str], UUID]
) -> None:
    with connect_worker(postgres_url) as worker:
        tenant = make_tenant("one")
        who = person(worker, tenant)
        first = tell(postgres_url, tenant, who, "a", {"depth": "waist", "damaged_share": 0.5})
        again = tell(postgres_url, tenant, who, "a", {"depth": "waist", "damaged_share": 0.5})
        assert (first.new, again.new) == (True, False)
        middle, half = DEPTH_M["waist"]
        assert rows(worker) == [(0, middle, pytest.approx(half / 3**0.5), WEIGHT, 0.3, 20.0, 10.0)]
        assert rows(worker, "answer_id, policyholder_id, quantity, unit") == [
            (first.answer_id, who, "depth_inside", "m")
        ]
        for key, detail in (("b", {}), ("c", {"depth": "ocean"}), ("d", {"damaged_share": 0.2})):
            tell(postgres_url, tenant, who, key, detail, 1)  # nothing is known of the depth: no row
        assert len(rows(worker)) == 1
        tell(postgres_url, tenant, who, "e", {"depth": "ankle", "damaged_share": 0.1}, 2)
        assert [row[:2] for row in rows(worker)] == [(0, 0.95), (1, 0.10)]  # both are kept, the newest stands
        with pytest.raises(Conflict):
            tell(postgres_url, tenant, who, "a", {"depth": "knee"})
        homeless = person(worker, tenant, lon=None)
        tell(postgres_url, tenant, homeless, "f", {"depth": "knee"}, 3)
        assert len(rows(worker)) == 2  # a depth nowhere is no reading

        async def learn(conn: AsyncConnection) -> damage_answers.Learned:
            return await damage_answers.learn(conn)

        learned = with_conn(postgres_url, learn)
        assert (learned.n_with_depth, learned.n_with_share) == (2, 1)  # the corrected one is no second sample


def test_a_told_first_floor_is_used_in_its_unit(
    postgres_url: str, make_tenant: Callable[[str], UUID], tmp_path: Path
) -> None:
    with connect_worker(postgres_url) as worker:
        tenant = make_tenant("one")
        (tmp_path / "loc.csv").write_text(LOCATIONS)

        async def work(conn: AsyncConnection) -> None:
            await imports.import_oed(conn, tmp_path / "loc.csv", tenant_id=tenant, portfolio="Book")

        with_conn(postgres_url, work)
        who = person(worker, tenant)
        worker.execute(
            "UPDATE location SET oed = %s WHERE acc_number = 'A1'",
            [Jsonb({"FirstFloorHeight": 3, "FirstFloorHeightUnit": 1})],
        )
        worker.execute(
            "UPDATE policyholder SET location_id = (SELECT location_id FROM location WHERE acc_number = 'A1')"
            " WHERE policyholder_id = %s",
            [who],
        )
        tell(postgres_url, tenant, who, "a", {"depth": "knee"})
        assert rows(worker, "floor_m, floor_error_m") == [(pytest.approx(0.9144), 0.03)]


def test_two_answers_at_once_are_two_revisions(postgres_url: str, make_tenant: Callable[[str], UUID]) -> None:
    with connect_worker(postgres_url) as worker:
        tenant = make_tenant("one")
        who = person(worker, tenant)

        async def both() -> None:
            async def one(key: str) -> None:
                conn = await connect_worker_async(postgres_url)
                try:
                    async with conn.transaction():
                        await give_answer(
                            conn, tenant_id=tenant, policyholder_id=who, warning_id=None, kind="damage",
                            detail={"depth": "knee"}, idempotency_key=key, now=T0,
                        )  # fmt: skip
                        await asyncio.sleep(0.2)
                finally:
                    await conn.close()

            await asyncio.gather(*(one(str(n)) for n in range(4)))

        asyncio.run(both())
        assert [row[0] for row in rows(worker, "revision")] == [0, 1, 2, 3]


def test_the_next_version_is_read_in_the_light_of_what_its_own_tenants_people_told(
    postgres_url: str, make_tenant: Callable[[str], UUID], tmp_path: Path
) -> None:
    """From the phone's answer to the loss: more water told, more loss; another tenant's answers change nothing."""
    (tmp_path / "loc.csv").write_text(LOCATIONS)
    with connect_worker(postgres_url) as worker:
        one, other = make_tenant("one"), make_tenant("other")
        mine, theirs = person(worker, one), person(worker, other)

        async def version(conn: AsyncConnection, minute: int) -> dict[UUID, Any]:
            event = await repository.save_hazard_event(
                conn, tenant_id=None, code="flood", peril="flood", name="Flood", started_at=T0
            )
            area = box(-1, -1, 2, 2)
            at = T0 + timedelta(minutes=minute)
            footprint, _ = await assess.publish_footprint(
                conn, event, area, valid_at=at, made_how="test", field=PolygonField.make([(area, 0.5)], "m")
            )
            found = {}
            for made in await assess.assess_footprint(conn, footprint, now=at):
                outcome = await assess_loss.estimate_assessment(conn, made, now=at)
                row = await (
                    await conn.execute("SELECT tenant_id FROM assessment WHERE assessment_id = %s", [made])
                ).fetchone()
                assert row is not None
                found[row[0]] = outcome.result
            return found

        async def before(conn: AsyncConnection) -> dict[UUID, Any]:
            for tenant in (one, other):
                await imports.import_oed(conn, tmp_path / "loc.csv", tenant_id=tenant, portfolio="Book")
            return await version(conn, 10)

        told = with_conn(postgres_url, before)
        assert "reports" not in told[one]
        tell(postgres_url, one, mine, "a", {"depth": "higher"}, 15)
        tell(postgres_url, one, mine, "late", {"depth": "none"}, 500)  # said after the next version's time
        after = with_conn(postgres_url, lambda conn: version(conn, 20))
        assert after[one]["reports"]["n_used"] == 1
        gain = after[one]["losses"]["gul"]["mean"] / told[one]["losses"]["gul"]["mean"]
        assert 1.02 < gain < 3
        assert after[one]["difference"]["gul"]["mean"] > 0
        assert "reports" not in after[other]
        assert after[other]["losses"] == told[other]["losses"]
        # corrected: less water than the footprint says
        tell(postgres_url, one, mine, "b", {"depth": "ankle"}, 25)
        worker.execute(
            "DELETE FROM reported_observation WHERE answer_id = (SELECT answer_id FROM answer WHERE idempotency_key = 'late')"
        )
        corrected = with_conn(postgres_url, lambda conn: version(conn, 30))
        assert corrected[one]["losses"]["gul"]["mean"] < told[one]["losses"]["gul"]["mean"]
        # the other tenant's people say the opposite: nothing of it reaches ours
        tell(postgres_url, other, theirs, "c", {"depth": "higher"}, 35)
        last = with_conn(postgres_url, lambda conn: version(conn, 40))
        assert last[one]["losses"] == corrected[one]["losses"]
        assert last[other]["losses"]["gul"]["mean"] > told[other]["losses"]["gul"]["mean"]


def test_nobody_reads_or_writes_another_tenants_reports(postgres_url: str, make_tenant: Callable[[str], UUID]) -> None:
    with connect_worker(postgres_url) as worker:
        one, other = make_tenant("one"), make_tenant("other")
        who = person(worker, one)
        tell(postgres_url, one, who, "a", {"depth": "knee"})

        async def look(tenant: UUID) -> int:
            async with role_pool(postgres_url, "tocsin_app", size=1) as pool, tenant_transaction(pool, tenant) as conn:
                row = await (await conn.execute("SELECT count(*) FROM reported_observation")).fetchone()
                assert row is not None
                return int(row[0])

        async def forge() -> None:
            async with role_pool(postgres_url, "tocsin_app", size=1) as pool, tenant_transaction(pool, other) as conn:
                await conn.execute(
                    "INSERT INTO reported_observation SELECT answer_id, %s, policyholder_id, warning_id, 7, quantity, unit,"
                    " 9, error, weight, floor_m, floor_error_m, lon, lat, observed_at FROM (SELECT %s::uuid AS answer_id,"
                    " %s::uuid AS policyholder_id, NULL::uuid AS warning_id, 'depth_inside' AS quantity, 'm' AS unit,"
                    " 0.1 AS error, 0.2 AS weight, 0.3 AS floor_m, 0.1 AS floor_error_m, 1.0 AS lon, 1.0 AS lat, now()"
                    " AS observed_at) AS x",
                    [one, new_id(), who],
                )

        assert (asyncio.run(look(one)), asyncio.run(look(other))) == (1, 0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            asyncio.run(forge())
