"""Stored readings to warnings, on a real database."""

import asyncio
import random
from datetime import timedelta
from importlib import util
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from shapely.geometry import Polygon, box

from alerts import cap, repository, watch
from ingest.cap import structure


def _load() -> ModuleType:
    spec = util.spec_from_file_location("alerts_conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    import sys

    sys.modules["alerts_conftest"] = module
    spec.loader.exec_module(module)
    return module


helpers = _load()
at = helpers.at
RISE = [(0.0, 2.0), (10.0, 3.2), (20.0, 4.1), (30.0, 6.2)]


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_a_flood_is_warned_of_at_the_official_levels_and_ends_with_an_all_clear(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic_ceiling=helpers.level("red"))
        for reading in RISE:
            await valley.see(reading)
        for minute in range(40, 91, 10):
            await valley.see((minute, 2.0))

    go(story())
    assert valley.warnings() == [
        (1, "yellow", "superseded", "level_reached"),
        (2, "orange", "superseded", "escalated"),
        (3, "red", "superseded", "escalated"),
        (4, "none", "released", "all_clear"),
    ]
    rows = valley.rows("SELECT * FROM warning ORDER BY version")
    assert [row["msg_type"] for row in rows] == ["Alert", "Update", "Update", "Update"]
    assert [len(row["references_"]) for row in rows] == [0, 1, 2, 3]
    assert [row["sent_at"] for row in rows] == [at(10), at(20), at(30), at(70)]
    assert {(row["status"], row["exercise"]) for row in rows} == {("Exercise", True)}
    # three people live inside, one of them out of reach, who speaks a language without texts
    assert {(row["n_people"], row["n_unreachable"]) for row in rows} == {(3, 1)}
    released = valley.rows("SELECT * FROM decision WHERE reason = 'released_automatically' ORDER BY at LIMIT 1")
    assert released[0]["detail"]["languages_missing"] == {"ta": 1}
    kinds = valley.rows("SELECT consumer, kind, count(*) AS n FROM outbox GROUP BY 1, 2 ORDER BY 1, 2")
    assert {(row["consumer"], row["kind"]) for row in kinds} >= {
        ("deliver", "warning_released"),
        ("stream", "warning_changed"),
    }
    assert next(row["n"] for row in kinds if row["consumer"] == "deliver") == 4

    async def messages() -> list[bytes]:
        async with valley.worker() as conn:
            return [
                cap.to_xml(cap.of_alert((await repository.read_warning(conn, row["warning_id"], row["version"])).alert))
                for row in rows
            ]

    assert all(structure.check(document) == [] for document in go(messages()))


def test_above_the_ceiling_a_draft_waits_and_says_why(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        for reading in RISE:
            await valley.see(reading)

    go(story())
    assert [(level, state) for _, level, state, _ in valley.warnings()] == [
        ("yellow", "released"),
        ("orange", "superseded"),
        ("red", "draft"),
    ]
    last = valley.rows("SELECT * FROM warning ORDER BY version DESC LIMIT 1")[0]
    assert (last["approvals_needed"], last["released_at"]) == (2, None)
    assert "draft_above_ceiling" in valley.reasons()


def test_too_many_people_wait_for_people(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        await valley.see(*RISE[:2], limit=2)

    go(story())
    assert valley.warnings()[-1][2] == "draft"
    assert "draft_audience_too_large" in valley.reasons()


def test_ten_times_the_usual_audience_is_held(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(usual_people=4)
        for i in range(60):
            valley.add_person(80.01 + i / 1000, 7.05)
        await valley.see(*RISE[:2])

    go(story())
    row = valley.rows("SELECT * FROM warning")[0]
    assert (row["state"], row["held"], row["n_people"]) == ("draft", "draft_audience_unusual", 63)


@pytest.mark.parametrize(
    ("area", "reason"),
    [
        (None, "held_area_missing"),
        (Polygon(), "held_area_empty"),
        (box(-180, -90, 180, 90), "held_area_too_large"),
        (box(70, 0, 90, 20), "held_area_too_large"),
        (Polygon([(80, 7), (80.1, 7.1), (80.1, 7), (80, 7.1)]), "held_area_invalid"),
    ],
)
def test_an_area_that_is_not_right_warns_nobody(valley: Any, area: Any, reason: str) -> None:
    async def story() -> None:
        await valley.save_rule(area)
        await valley.see(*RISE[:2])

    go(story())
    row = valley.rows("SELECT * FROM warning")[0]
    assert (row["state"], row["held"], row["n_people"]) == ("draft", reason, 0)
    assert valley.rows("SELECT * FROM warning_recipient") == []
    assert reason in valley.reasons()
    assert valley.rows("SELECT detail FROM decision WHERE reason = %s", reason)[0]["detail"]["operator"] is True


def test_the_same_batch_again_changes_nothing(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        event = valley.store(*RISE)
        await valley.watch(event)
        before = (valley.warnings(), valley.reasons(), valley.rows("SELECT count(*) AS n FROM outbox"))
        for _ in range(3):
            await valley.watch(event)
        assert (valley.warnings(), valley.reasons(), valley.rows("SELECT count(*) AS n FROM outbox")) == before

    go(story())


def test_silence_is_held_by_the_clock_and_never_clears(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        await valley.see(*RISE[:2])
        for minute in range(11, 60 * 30, 7):
            await valley.tick(minute)

    go(story())
    state = valley.rows("SELECT state FROM rule_state")[0]["state"]
    assert (state["phase"], state["level"]) == ("stale", "yellow")
    assert "held_on_silence" in valley.reasons()
    assert valley.reasons().count("renewed") >= 8
    assert not {"all_clear", "expired_unrenewed"} & set(valley.reasons())
    latest = valley.rows("SELECT * FROM warning ORDER BY version DESC LIMIT 1")[0]
    assert "unknown" in latest["texts"]["en"]["description"]


def test_what_is_out_is_renewed_while_a_higher_draft_waits(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        await valley.see(*RISE[:3])
        for minute in range(30, 60 * 12, 10):
            await valley.see((minute, 4.1))
            await valley.tick(minute)

    go(story())
    # the yellow that people have is never without a successor, the orange still waits
    yellow = valley.rows("SELECT * FROM warning WHERE level = 'yellow' ORDER BY version")
    assert len(yellow) >= 4
    for one, following in pairwise(yellow):
        assert following["sent_at"] < one["expires_at"]
    assert valley.warnings()[-1][1:3] == ("orange", "draft")
    assert "expired_unrenewed" not in valley.reasons()


def test_drafts_that_nobody_released_lapse_without_an_all_clear(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic=False)
        await valley.see(*RISE[:2])
        await valley.see(*[(minute, 2.0) for minute in range(20, 61, 10)])

    go(story())
    assert valley.warnings() == [(1, "yellow", "ended", "level_reached")]
    assert "draft_lapsed" in valley.reasons()
    assert valley.rows("SELECT * FROM outbox WHERE consumer = 'deliver'") == []


def test_a_lower_level_after_an_unreleased_draft_is_the_first_alert(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        await valley.see((0, 2.0), (10, 6.2))
        await valley.see(*[(minute, 3.3) for minute in range(20, 61, 10)])

    go(story())
    rows = valley.rows("SELECT version, level, state, msg_type, references_ FROM warning ORDER BY version")
    assert [(row["level"], row["state"], row["msg_type"]) for row in rows] == [
        ("red", "superseded", "Alert"),
        ("yellow", "released", "Alert"),
    ]


@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_a_replay_at_full_speed_issues_at_the_arrivals_however_it_is_batched(valley: Any, pieces: int) -> None:
    """All readings are stored before watch sees the first batch: what it decides must not look ahead."""
    values = [2.0, 3.2, 4.1, 6.2, 5.0, 3.9, 3.5, 3.3, 3.1, 2.0, 2.0, 2.0, 2.0, 2.0, 3.5, 2.0]
    readings = [(10.0 * i, value) for i, value in enumerate(values)]

    async def story() -> None:
        await valley.save_rule(automatic_ceiling=helpers.level("red"))
        whole = valley.store(*readings)
        step = -(-len(readings) // pieces)
        for i in range(0, len(readings), step):
            until = at(readings[min(i + step, len(readings)) - 1][0])
            event = type(whole)(
                datastream_ids=whole.datastream_ids, observed_from=at(0), observed_until=until, received_until=until
            )
            await valley.watch(event, clock=helpers.held_clock(160))

    go(story())
    issued = [
        (row["sent_at"], row["level"])
        for row in valley.rows("SELECT sent_at, level FROM warning ORDER BY sent_at, version")
    ]
    assert issued == [
        (at(10), "yellow"),
        (at(20), "orange"),
        (at(30), "red"),
        (at(70), "orange"),
        (at(90), "yellow"),
        (at(120), "none"),
        (at(140), "yellow"),
    ]

    async def first() -> list[dict[str, Any]]:
        async with valley.worker() as conn:
            return await repository.first_warnings(conn, valley.tenant_id)

    assert [(row["station"], row["level"], row["issued_at"]) for row in go(first())] == [
        ("kitulgala", "yellow", at(10)),
        ("kitulgala", "orange", at(20)),
        ("kitulgala", "red", at(30)),
    ]


def test_a_correction_and_a_suspect_value_from_the_database(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        await valley.see((0, 2.0))
        await valley.see((10, 9.0), quality=3)
        assert valley.warnings() == []
        # the value is corrected: the spike was never there
        valley.conn.execute(
            "INSERT INTO observation_revision (datastream_id, observed_at, revision, flags_version, value, quality, tests, received_at)"
            " VALUES (%s, %s, 1, 0, 2.1, 1, 0, %s)",
            [valley.datastream_id, at(10), at(15)],
        )
        await valley.see((20, 2.2))

    go(story())
    assert valley.reasons() == ["awaiting_confirmation", "not_confirmed"]


def test_rules_are_versioned_and_saved_once(valley: Any) -> None:
    async def story() -> list[int]:
        versions = []
        for hysteresis in (0.2, 0.2, 0.3):
            await valley.save_rule(hysteresis=hysteresis)
            versions.append(valley.rows("SELECT max(version) AS v FROM rule")[0]["v"])
        return versions

    assert go(story()) == [1, 1, 2]


def test_the_priority_follows_the_footprint(valley: Any) -> None:
    valley.conn.execute(
        "INSERT INTO hazard_event (hazard_event_id, code, peril, name, started_at) VALUES (gen_random_uuid(), 'f', 'flood', 'f', %s)",
        [at(-60)],
    )
    zones = [{"arrival_min": 60, "intensity": 1, "unit": "m", "geometry": box(80.1, 7, 80.17, 7.1).__geo_interface__}]
    valley.conn.execute(
        "INSERT INTO footprint (footprint_id, hazard_event_id, version, valid_at, made_how, geometry, zones)"
        " SELECT gen_random_uuid(), hazard_event_id, 1, %s, 'test', %s, %s FROM hazard_event",
        [at(-30), box(80.0, 7.0, 80.1, 7.1).wkb, Jsonb(zones)],
    )

    async def story() -> None:
        await valley.save_rule()
        await valley.see(*RISE[:2])

    go(story())
    ranks = {row["policyholder_id"]: row["priority"] for row in valley.rows("SELECT * FROM warning_recipient")}
    assert ranks[valley.people[0]] < ranks[valley.people[1]] < ranks[valley.people[2]]


def test_two_watchers_on_many_batches_make_one_story(valley: Any) -> None:
    chance = random.Random(3)

    async def story() -> None:
        await valley.save_rule()
        events = [valley.store((10.0 * i, value)) for i, value in enumerate([2.0, 3.2, 4.1, 6.2, 6.0, 6.1])]
        work = events * 3
        chance.shuffle(work)
        clock = helpers.FixedClock(at(55))
        for i in range(0, len(work), 2):
            await asyncio.gather(*(valley.watch(one, clock=clock) for one in work[i : i + 2]))

    go(story())
    rows = valley.rows("SELECT * FROM warning ORDER BY version")
    assert len({row["warning_id"] for row in rows}) == 1
    assert rows[-1]["level"] == "red"
    assert len([row for row in rows if row["state"] in ("draft",)]) == 1


def test_the_process_takes_batches_from_the_outbox_and_lets_time_pass(valley: Any) -> None:
    """Through the outbox as it runs: the same row handed out twice, and a gauge that falls silent."""
    from store import outbox
    from store.pool import role_pool

    valley.conn.execute(
        "INSERT INTO scenario_clock (wall_start, scenario_start, speed) VALUES (now(), %s, 3600)", [at(11)]
    )

    async def story() -> None:
        await valley.save_rule()
        for _ in range(2):
            event = valley.store(*RISE[:2])
            async with valley.worker() as conn:
                await outbox.publish(conn, event, ordering_key="ingest")
        stop = asyncio.Event()
        async with role_pool(valley.url, "tocsin_worker", size=3) as pool:
            task = asyncio.create_task(watch.run(pool, stop, tick_s=0.2))
            for _ in range(200):
                await asyncio.sleep(0.1)
                if "held_on_silence" in valley.reasons():
                    break
            stop.set()
            await task

    go(story())
    assert valley.reasons().count("level_reached") == 1
    assert "held_on_silence" in valley.reasons()
    assert valley.rows("SELECT * FROM outbox WHERE consumer = 'watch'") == []
    assert valley.rows("SELECT state FROM rule_state")[0]["state"]["phase"] == "stale"


def test_the_lookback_covers_the_dwell() -> None:
    rule = helpers.level_rule(
        tenant_id=helpers.UUID(int=1),
        code="x",
        datastream_id=1,
        thresholds={"alert": 1.0},
        clear_dwell=timedelta(hours=6),
    )
    assert rule.lookback > timedelta(hours=6)
