"""The drill in an exercise database: loaded twice alike, refused in a live one, and its peak planned for everybody."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from geo import assess, plan
from store.pool import connect_worker_async
from tocsin.drill import play
from tocsin.drill.load import Loaded, NotAnExercise, load
from tocsin.drill.world import World, build


@pytest.fixture(scope="module")
def world() -> World:
    return build(1)


def loaded(url: str, world: World, home: Path) -> Loaded:
    async def run() -> Loaded:
        conn = await connect_worker_async(url)
        try:
            return await load(conn, world, home=home)
        finally:
            await conn.close()

    return asyncio.run(run())


def count(worker: psycopg.Connection[tuple[Any, ...]], table: str) -> int:
    row = worker.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


TABLES = {
    "tenant": 1, "station": 17, "datastream": 17, "rule": 12, "location": 20_000, "policyholder": 500, "household": 500,
    "contact_point": 500, "safe_zone": 8, "road_network": 1, "hazard_event": 1, "portfolio": 1,
}  # fmt: skip


def test_the_world_is_loaded_and_loading_it_again_changes_nothing(
    postgres_url: str, worker: psycopg.Connection[tuple[Any, ...]], world: World, tmp_path: Path
) -> None:
    first = loaded(postgres_url, world, tmp_path)
    assert {table: count(worker, table) for table in TABLES} == TABLES
    second = loaded(postgres_url, world, tmp_path)
    assert {table: count(worker, table) for table in TABLES} == TABLES
    assert second.book.unchanged
    assert (first.tenant_id, first.hazard_event_id, first.datastreams) == (
        second.tenant_id, second.hazard_event_id, second.datastreams,
    )  # fmt: skip
    unlinked = worker.execute("SELECT count(*) FROM policyholder WHERE location_id IS NULL OR policy_id IS NULL")
    assert unlinked.fetchone() == (0,)
    assert worker.execute("SELECT DISTINCT channel FROM contact_point").fetchall() == [("fake",)]


def test_a_live_database_refuses_it(live_postgres_url: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(NotAnExercise):
        loaded(live_postgres_url, world, tmp_path)


def test_every_footprint_is_assessed_and_planned_and_few_are_told_twice(
    postgres_url: str, worker: psycopg.Connection[tuple[Any, ...]], world: World, tmp_path: Path
) -> None:
    async def run() -> None:
        conn = await connect_worker_async(postgres_url)
        try:
            found = await load(conn, world, home=tmp_path)
            for at, footprint in play.footprints(world):
                footprint_id, _ = await assess.publish_footprint(
                    conn, found.hazard_event_id, footprint.geometry, footprint.zones, valid_at=at,
                    made_how=footprint.made_how,
                )  # fmt: skip
                now = at + timedelta(minutes=2)
                assert len(await assess.assess_footprint(conn, footprint_id, now=now)) == 1
                assert len(await plan.plan_footprint(conn, footprint_id, home=tmp_path, now=now)) == 1
        finally:
            await conn.close()

    asyncio.run(run())
    exposed = [
        float(row[0])
        for row in worker.execute(
            "SELECT exposed_tiv FROM assessment JOIN footprint USING (footprint_id) ORDER BY version"
        )
    ]
    top = exposed.index(max(exposed))
    assert 0 < top < len(exposed) - 1
    assert exposed[-1] < 0.1 * max(exposed)
    plans = [row[0] for row in worker.execute("SELECT counts FROM evacuation_plan ORDER BY computed_at")]
    assert all(sum(v for k, v in c.items() if k != "changed") == 500 for c in plans)
    assert plans[0]["changed"] == 500  # the first plan is news to everybody
    assert all(c["changed"] < 400 for c in plans[1:])
    assert any(c["changed"] < 50 for c in plans[1:])
    # before the peak somebody must leave by a minute that can still be kept
    dated = worker.execute("SELECT count(*) FROM household_route WHERE status = 'clear' AND leave_by IS NOT NULL")
    assert dated.fetchone()[0] > 20  # type: ignore[index]
    early = worker.execute(
        "SELECT count(*) FROM household_route r JOIN evacuation_plan p USING (evacuation_plan_id)"
        " WHERE r.status = 'clear' AND (r.leave_by < p.computed_at OR r.leave_by > r.last_way_out)"
    )
    assert early.fetchone() == (0,)
    print(plans)
