"""A draft that is approved late: held against what its rule stands at, and against what each person hears by now."""

import asyncio
from typing import Any

import pytest
from shapely.geometry import box

from alerts import dispatch, release, silences
from alerts.level import Level
from core.clock import FixedClock
from core.events import WarningReleased
from tests.integration.alerts.conftest import AREA, at
from tests.integration.alerts.test_voice import at_gauge, second_gauge

pytestmark = pytest.mark.sql

WEST = box(79.9, 7.0, 80.07, 7.1)  # holds one of the two whom a channel reaches


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def waiting(valley: Any) -> dict[str, Any]:
    """An orange draft that two people must release."""
    await valley.save_rule()
    await valley.see((0.0, 4.5))
    (row,) = valley.rows("SELECT * FROM warning WHERE state = 'draft'")
    return dict(row)


async def worse(valley: Any, area: Any) -> int:
    """Red of the same hazard by another gauge, out by itself."""
    stream = await second_gauge(valley, area=area, automatic_ceiling=Level.RED)
    await at_gauge(valley, stream, (5.0, 6.5))
    return stream


async def approve(valley: Any, row: dict[str, Any], minute: float = 11.0) -> Any:
    for who in valley.approvers:
        async with valley.app() as conn:
            done = await release.approve(
                conn,
                principal_id=who,
                warning_id=row["warning_id"],
                version=row["version"],
                content_sha256=bytes(row["content_sha256"]),
                now=at(minute),
            )
    return done


async def told(valley: Any, row: dict[str, Any]) -> set[Any]:
    async with valley.worker() as conn:
        event = WarningReleased(warning_id=row["warning_id"], version=row["version"])
        await dispatch.plan(conn, event, clock=FixedClock(at(12)))
    rows = valley.rows("SELECT policyholder_id FROM delivery WHERE warning_id = %s", row["warning_id"])
    return {one["policyholder_id"] for one in rows}


def test_whoever_hears_worse_by_now_is_left_out_with_the_reason(valley: Any) -> None:
    async def story() -> None:
        row = await waiting(valley)
        stream = await worse(valley, WEST)
        done = await approve(valley, row)
        assert (done.released, done.n_left_out) == (True, 1)
        assert await told(valley, row) == {valley.people[1]}  # the first hears red
        (kept,) = valley.rows(
            "SELECT * FROM decision WHERE reason = 'inhibited_by_higher' AND detail ->> 'at' = 'approval'"
        )
        assert kept["detail"]["n_kept_out"] == 1
        assert list(kept["detail"]["by_warning"].values()) == [1]
        # what was approved is what it was: the approval still holds for it
        (approved,) = valley.rows(
            "SELECT count(DISTINCT policyholder_id) AS n FROM warning_recipient WHERE warning_id = %s",
            row["warning_id"],
        )
        assert approved["n"] == 3
        # the worse one ends: what stands for the first person is drafted for them too
        for minute in (12, 22, 32, 42, 52):
            await at_gauge(valley, stream, (minute, 1.0))
        await valley.tick(53.0)
        newest = valley.rows(
            "SELECT version, level, state FROM warning WHERE warning_id = %s ORDER BY version DESC LIMIT 1",
            row["warning_id"],
        )
        assert (newest[0]["level"], newest[0]["state"]) == ("orange", "draft")
        assert newest[0]["version"] > row["version"]

    go(story())


def test_where_all_hear_worse_the_warning_stands_and_speaks_when_that_ends(valley: Any) -> None:
    async def story() -> None:
        row = await waiting(valley)
        stream = await worse(valley, AREA.buffer(0.01))
        done = await approve(valley, row)
        assert (done.released, done.n_left_out) == (True, 3)
        assert await told(valley, row) == set()
        for minute in (12, 22, 32, 42, 52):
            await at_gauge(valley, stream, (minute, 1.0))
        await valley.tick(53.0)
        # the end of the worse one is no all-clear for those whom this one now speaks to
        ended = valley.rows("SELECT warning_id, version FROM warning WHERE all_clear")
        assert ended
        for one in ended:
            assert not await told(valley, one)
        newest = valley.rows(
            "SELECT version, level, state FROM warning WHERE warning_id = %s ORDER BY version DESC LIMIT 1",
            row["warning_id"],
        )
        assert newest[0]["level"] == "orange"
        assert newest[0]["version"] > row["version"]

    go(story())


def test_a_draft_that_says_more_than_its_rule_does_now_is_refused(valley: Any) -> None:
    """The lowering itself was held back by a silence, so the draft is still the newest version."""

    async def story() -> None:
        row = await waiting(valley)
        async with valley.worker() as conn:
            await silences.make(
                conn,
                principal_id=valley.approvers[0],
                tenant_id=valley.tenant_id,
                rule_code="kitulgala",
                up_to=Level.ORANGE,
                ends_at=at(300),
                reason="the gauge is being cleaned",
                now=at(1),
            )
        for minute in (10, 20, 30, 40, 50):
            await valley.see((minute, 3.3))  # yellow is what it is now
        assert len(valley.warnings()) == 1
        with pytest.raises(release.BasisChanged, match="says orange, and its rules stand at yellow"):
            await approve(valley, row, 51.0)

    go(story())


def test_an_end_is_not_told_while_its_rule_stands_again(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic=False)
        await valley.see((0.0, 3.5))
        (first,) = valley.rows("SELECT * FROM warning WHERE state = 'draft'")
        async with valley.app() as conn:
            await release.approve(
                conn,
                principal_id=valley.approvers[0],
                warning_id=first["warning_id"],
                version=1,
                content_sha256=bytes(first["content_sha256"]),
                now=at(1),
            )
        for minute in (10, 20, 30, 40, 50):
            await valley.see((minute, 1.0))
        (over,) = valley.rows("SELECT * FROM warning WHERE state = 'draft'")
        assert over["all_clear"]
        valley.conn.execute("UPDATE rule_state SET state = jsonb_set(state, '{level}', '\"yellow\"')")
        with pytest.raises(release.BasisChanged, match="says that it is over, and its rules stand at yellow"):
            await approve(valley, dict(over), 52.0)
        valley.conn.execute("UPDATE rule_state SET state = jsonb_set(state, '{level}', '\"none\"')")
        async with valley.app() as conn:
            done = await release.approve(
                conn,
                principal_id=valley.approvers[1],
                warning_id=over["warning_id"],
                version=over["version"],
                content_sha256=bytes(over["content_sha256"]),
                now=at(53),
            )
        assert done.released

    go(story())
