"""Forecasts are stored with each batch and warn before the water; rules come from files and are tried beforehand."""

import asyncio
import contextlib
import json
from datetime import timedelta
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from alerts import rule_repository, watch
from alerts.dry_run import dry_run
from alerts.rulebook import Site, Sites, read_json
from core.clock import FixedClock
from ingest.forecast.live import LiveForecasts
from store import outbox
from store.pool import role_pool

pytestmark = pytest.mark.sql


def _load() -> ModuleType:
    spec = util.spec_from_file_location("alerts_conftest_f", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    import sys

    sys.modules["alerts_conftest_f"] = module
    spec.loader.exec_module(module)
    return module


helpers = _load()
at = helpers.at


@pytest.fixture
def valley(postgres_url: str) -> Any:
    made = helpers.make_valley(postgres_url)
    yield made
    made.conn.close()


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


#: Quiet for two hours, then 0.25 m in ten minutes up to 6.5 m, then down again.
RISE = (
    [(10.0 * k, 1.5) for k in range(13)]
    + [(130.0 + 10 * k, 1.75 + 0.25 * k) for k in range(20)]
    + [(330.0 + 10 * k, max(1.5, 6.3 - 0.2 * k)) for k in range(34)]
)


async def play(valley: Any, readings: list[tuple[float, float]], forecasts: LiveForecasts | None) -> list[Any]:
    made = []
    for reading in readings:
        event = valley.store(reading)
        async with valley.worker() as conn:
            made += await watch.watch_batch(
                conn,
                event,
                clock=FixedClock(event.received_until),
                auto_release_people=500,
                forecasts=forecasts,
            )
    return made


def test_red_is_warned_of_before_the_water_and_ends_with_an_all_clear(valley: Any) -> None:
    async def story() -> list[Any]:
        await valley.save_rule(automatic_ceiling=helpers.level("red"), forecast_within=timedelta(hours=3), k=2, n=3)
        return await play(valley, RISE, LiveForecasts())

    decisions = go(story())
    red = valley.rows("SELECT * FROM warning WHERE level = 'red' ORDER BY version")[0]
    there = next(minute for minute, value in RISE if value >= 6.0)
    assert red["reason"] in ("forecast_reached", "forecast_escalated")
    assert red["sent_at"] <= at(there - 60)
    assert [row[1:] for row in valley.warnings()][-1] == ("none", "released", "all_clear")
    assert valley.rows("SELECT count(*) AS n FROM warning WHERE reason = 'all_clear'")[0]["n"] == 1
    assert {one.reason.value for one in decisions} >= {"all_clear"}
    stored = valley.rows("SELECT * FROM forecast ORDER BY made_at")
    assert len(stored) == len(RISE)
    assert stored[-1]["model"] == "regional_trend"


def test_a_warning_on_a_forecast_says_so(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic_ceiling=helpers.level("red"), forecast_within=timedelta(hours=3), k=2, n=3)
        await play(valley, RISE[:50], LiveForecasts())

    go(story())
    rows = valley.rows("SELECT * FROM warning WHERE level <> 'none' ORDER BY version")
    expected = [row for row in rows if row["reason"].startswith("forecast_")]
    assert expected
    for row in expected:
        assert "rests on a forecast" in row["texts"]["en"]["description"]
        assert "依据预报" in row["texts"]["zh"]["description"]
        assert "forecast" in row["texts"]["en"]["say"]
        assert (row["certainty"], row["onset_at"]) == ("Likely", None)
    measured = [row for row in rows if row["sent_at"] > at(next(m for m, v in RISE if v >= 6.0))]
    assert measured
    assert not [row for row in measured if "forecast" in row["texts"]["en"]["description"] or row["certainty"]]


def test_without_forecasts_in_the_rule_the_levels_are_measured(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic_ceiling=helpers.level("red"))
        await play(valley, RISE[:33], LiveForecasts())

    go(story())
    reds = valley.rows("SELECT * FROM warning WHERE level = 'red'")
    assert reds[0]["sent_at"] >= at(next(minute for minute, value in RISE if value >= 6.0))


def test_a_batch_that_is_handled_twice_changes_nothing(valley: Any) -> None:
    async def story() -> tuple[int, int]:
        await valley.save_rule(automatic_ceiling=helpers.level("red"), forecast_within=timedelta(hours=3))
        forecasts = LiveForecasts()
        await play(valley, RISE[:25], forecasts)
        before = valley.rows("SELECT (SELECT count(*) FROM forecast) AS f, (SELECT count(*) FROM decision) AS d")[0]
        await play(valley, RISE[20:25], forecasts)
        await play(valley, RISE[20:25], LiveForecasts())  # another process, which has to learn again
        after = valley.rows("SELECT (SELECT count(*) FROM forecast) AS f, (SELECT count(*) FROM decision) AS d")[0]
        return before, after

    before, after = go(story())
    assert before == after


def test_a_queue_of_batches_is_judged_in_one_round(valley: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a slow machine a warning waits for one transaction, not for one for each batch before it."""
    rounds: list[int] = []
    batch = watch.watch_batch

    async def story() -> None:
        stop = asyncio.Event()

        async def counted(conn: Any, event: Any, **more: Any) -> Any:
            rounds.append(len(event.datastream_ids))
            stop.set()
            return await batch(conn, event, **more | {"clock": FixedClock(event.received_until)})

        monkeypatch.setattr(watch, "watch_batch", counted)
        await valley.save_rule(automatic_ceiling=helpers.level("red"), forecast_within=timedelta(hours=3), k=2, n=3)
        async with valley.worker() as conn:
            for reading in RISE[:32]:
                await outbox.publish(conn, valley.store(reading), ordering_key="readings:public")
        async with role_pool(valley.url, "tocsin_worker", size=3) as pool:
            await asyncio.wait_for(watch.run(pool, stop, tick_s=60), 30)

    go(story())
    assert rounds == [1]
    assert valley.rows("SELECT count(*) AS n FROM outbox WHERE consumer = 'watch'")[0]["n"] == 0
    # the story is that of one batch after another: every forecast, and yellow before red if only by its own version
    assert len(valley.rows("SELECT * FROM forecast")) == 32
    levels = [row["level"] for row in valley.rows("SELECT level FROM warning ORDER BY version")]
    assert levels[-1] == "red"


def test_a_forecast_survives_a_transaction_that_was_rolled_back(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(forecast_within=timedelta(hours=3))
        forecasts = LiveForecasts()
        await play(valley, RISE[:5], forecasts)
        event = valley.store(RISE[5])
        with contextlib.suppress(RuntimeError):
            async with valley.worker() as conn:
                assert await forecasts.forecast(conn, event.datastream_ids, event.received_until)
                raise RuntimeError
        await play(valley, RISE[5:7], forecasts)

    go(story())
    assert len(valley.rows("SELECT * FROM forecast")) == 7


def test_a_tenant_sees_the_forecasts_of_its_own_and_of_public_stations(valley: Any) -> None:
    async def seen() -> int:
        async with valley.app() as conn:
            row = await (await conn.execute("SELECT count(*) FROM forecast")).fetchone()
            return int(row[0])

    go(play(valley, RISE[:3], LiveForecasts()))
    assert go(seen()) == 3
    other = helpers.UUID(int=99)
    valley.conn.execute("INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, 'other', 'Other')", [other])
    for tenant_id, n in ((valley.tenant_id, 3), (other, 0)):
        valley.conn.execute(
            "INSERT INTO forecast SELECT datastream_id, %s, made_at + interval '1 day', known_at, model, value,"
            " horizons_h, path, reach, taus, quantiles FROM forecast WHERE tenant_id IS NULL",
            [tenant_id],
        )
        assert go(seen()) == 3 + n
        valley.conn.execute("DELETE FROM forecast WHERE tenant_id IS NOT NULL")


def test_a_rule_file_is_tried_on_the_last_days_and_then_brought_in(valley: Any) -> None:
    rule = {
        "code": "k",
        "station": "kitulgala",
        "thresholds": {"alert": 3.0, "minor": 4.0, "major": 6.0},
        "forecast_within_s": 10_800,
        "k": 2,
        "n": 3,
        "radius_km": 5,
    }

    async def story() -> Any:
        valley.store(*RISE)
        async with valley.worker() as conn:
            sites = Sites([Site(**row) for row in await rule_repository.rule_sites(conn, valley.tenant_id)])
            text = json.dumps({"rules": [rule]})
            entries = read_json(text, tenant_id=valley.tenant_id, sites=sites, name="r.json")
            (first,) = await dry_run(conn, entries, now=at(670), days=1.0)
            nothing = valley.rows("SELECT count(*) AS n FROM rule")[0]["n"]
            await rule_repository.save_rule(
                conn, entries[0].rule, area=entries[0].area, area_desc={"en": "x"}, effective_from=at(600)
            )
        async with valley.worker() as conn:
            higher = {**rule, "thresholds": {"alert": 9.0}}
            changed = read_json(json.dumps({"rules": [higher]}), tenant_id=valley.tenant_id, sites=sites, name="r.json")
            (second,) = await dry_run(conn, changed, now=at(670), days=1.0)
            listed = await rule_repository.list_rules(conn, "kelani", at(670))
        return first, nothing, second, listed

    first, nothing, second, listed = go(story())
    assert nothing == 0
    assert first.new.n_warnings == 1
    assert first.new.by_level.keys() >= {"red"}
    assert first.new.n_false == 0
    assert first.standing is None
    assert first.new.first_at is not None
    assert first.new.first_at < at(next(minute for minute, value in RISE if value >= 3.0))
    # 9 m never came: that warning by forecast would have been a false one
    assert (second.new.n_warnings, second.new.n_false) == (1, 1)
    assert second.standing is not None
    assert second.standing.n_warnings == 1
    assert [row["code"] for row in listed] == ["k"]
    assert valley.rows("SELECT count(*) AS n FROM warning")[0]["n"] == 0


@pytest.mark.parametrize(("gateway", "reason"), [("g1", "draft_single_cause"), ("g2", "released_automatically")])
def test_one_cause_does_not_warn_by_itself(valley: Any, gateway: str, reason: str) -> None:
    """Two gauges behind one gateway rise together: nothing goes out without people; behind two, it does."""

    async def story() -> None:
        await valley.save_rule(automatic_ceiling=helpers.level("red"), independent=2)
        valley.conn.execute(
            "UPDATE station SET basin = 'Kelani', gateway_group = 'g1', power_group = 'p1', vendor = 'v1'"
        )
        other, stream = helpers.UUID(int=7), 0
        valley.conn.execute(
            "INSERT INTO station (station_id, code, name, basin, gateway_group, power_group, vendor)"
            " VALUES (%s, 'norwood', 'Norwood', 'Kelani', %s, 'p2', 'v2')",
            [other, gateway],
        )
        stream = valley.conn.execute(
            "INSERT INTO datastream (station_id, quantity, unit) VALUES (%s, 'level', 'm') RETURNING datastream_id",
            [other],
        ).fetchone()[0]
        rule = helpers.level_rule(
            tenant_id=valley.tenant_id,
            code="norwood",
            datastream_id=stream,
            thresholds={"alert": 2.0, "minor": 2.5},
            group="upstream",  # it warns by itself, although its area is the same
        )
        async with valley.worker() as conn:
            await rule_repository.save_rule(conn, rule, area=helpers.AREA, area_desc={"en": "N"}, effective_from=at(-1))
        own = valley.datastream_id
        valley.datastream_id = stream
        await valley.see((0.0, 3.0))
        valley.datastream_id = own
        await valley.see((1.0, 4.5))

    go(story())
    rows = valley.rows("SELECT reason FROM decision WHERE rule_id = %s", valley.rule.rule_id)
    assert sorted(row["reason"] for row in rows) == sorted(["level_reached", reason])  # both at one instant
