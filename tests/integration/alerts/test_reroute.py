"""A way out that changes is told by itself: to those whose way changed, once, and to nobody else."""

import asyncio
import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from psycopg.types.json import Jsonb

from alerts import deliver, reroute
from alerts.channels import Outcome, Outgoing, Result
from alerts.dispatch import PUSH_WINDOW
from alerts.message import catalogues, spoken_text, text_message
from alerts.payload import MAX_PUSH_BYTES, PUSH_OVERHEAD_BYTES, to_push
from core.clock import FixedClock
from core.events import PlanMade, WarningReleased
from core.ids import new_id
from geo import assess, imports, plan, repository
from geo.directions import course_of, polyline
from geo.network import Road, build, load
from store import outbox
from store.pool import role_pool

pytestmark = pytest.mark.sql


class Recorder:
    """A channel that keeps what it is given."""

    provider, honours_keys = "fake", True

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        self.sent.append(message)
        return Outcome(result=Result.ACCEPTED, provider_ref="ref")


class Story:
    """Person 0 has two safe zones to go to, person 1 one that no flood reaches. Minutes are the scenario's."""

    def __init__(self, valley: Any, home: Path) -> None:
        self.valley, self.home, self.fake = valley, home, Recorder()

    def stands_at(self, minute: float) -> None:
        self.valley.conn.execute("DELETE FROM scenario_clock")
        self.valley.conn.execute(
            "INSERT INTO scenario_clock (wall_start, scenario_start, speed, held_at) VALUES (now(), %s, 1, %s)",
            [self.valley.at(0), self.valley.at(minute)],
        )

    async def begin(self, **seats: int) -> None:
        roads = [
            Road(points=[(80.04, 7.05), (80.05, 7.05), (80.07, 7.05), (80.09, 7.05)], speed_kmh=36),
            Road(points=[(80.04, 7.05), (80.04, 7.10)], speed_kmh=36),
            Road(points=[(80.14, 7.08), (80.18, 7.08)], speed_kmh=36),
        ]
        zones = [
            {"code": code, "names": {"en": name}, "lon": lon, "lat": lat, "seats": seats.get(code, 50),
             "accessible_seats": 0}
            for code, name, lon, lat in (("E", "East hall", 80.09, 7.05), ("N", "North school", 80.04, 7.10),
                                         ("W", "Temple", 80.18, 7.08))
        ]  # fmt: skip
        async with self.valley.worker() as conn:
            await imports.import_roads(conn, build(roads), home=self.home, code="r", tenant_id=None)
            await repository.save_safe_zones(conn, None, zones)

    async def footprint(self, minute: float, area: Any) -> int:
        """Publishes it, makes its plan, and lets the consumer work; gives how many messages became due."""
        self.stands_at(minute)
        async with self.valley.worker() as conn:
            event = await repository.save_hazard_event(
                conn, tenant_id=None, code="flood", peril="flood", name="Flood", started_at=self.valley.at(-60)
            )
            footprint, _ = await assess.publish_footprint(
                conn, event, area, (), valid_at=self.valley.at(minute), made_how="test"
            )
            await plan.plan_footprint(conn, footprint, home=self.home, now=self.valley.at(minute))
        return await self.consume()

    async def consume(self) -> int:
        before = len(self.deliveries())
        async with role_pool(self.valley.url, "tocsin_worker", size=4) as pool, pool.connection() as conn:
            for work in await outbox.claim(conn, "reroute", worker="w", limit=10, lease_s=30):
                async with conn.transaction():
                    await reroute.handle(conn, work)
                    await conn.execute("DELETE FROM outbox WHERE outbox_id = %s", [work.outbox_id])
        return len(self.deliveries()) - before

    async def warn(self, minute: float = 10) -> None:
        await self.valley.save_rule(automatic_ceiling=self.valley.level("red"))
        await self.valley.see((minute - 10, 2.0), (minute, 3.5))
        row = self.valley.rows("SELECT * FROM warning WHERE state = 'released'")[0]
        async with self.valley.worker() as conn:
            event = WarningReleased(warning_id=row["warning_id"], version=row["version"])
            await deliver.plan(conn, event, clock=FixedClock(self.valley.at(minute)))

    async def send(self, minute: float) -> list[Outgoing]:
        self.stands_at(minute)
        self.fake.sent.clear()
        async with role_pool(self.valley.url, "tocsin_worker", size=4) as pool:
            one = deliver.Sender(
                pool=pool, channels={"fake": self.fake}, key=b"k" * 40, public_url="http://here", home=self.home
            )
            while await one.send_due("w"):
                pass
        return list(self.fake.sent)

    def deliveries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.valley.rows("SELECT * FROM delivery ORDER BY queued_at, policyholder_id")
        return found


FAR = shapely.box(80.3, 7.3, 80.31, 7.31)
EAST = shapely.box(80.07, 7.04, 80.08, 7.06)


def test_a_changed_way_is_pushed_once_to_those_whose_way_changed_and_to_nobody_else(
    valley: Any, tmp_path: Path
) -> None:
    async def run() -> None:
        story = Story(valley, tmp_path)
        await story.begin()
        assert await story.footprint(5, FAR) == 0  # nobody was told anything yet: no warning, no message
        await story.warn()
        first = await story.send(11)
        assert len(first) == 3
        by_person = {message.address["to"]: message for message in first}
        push = by_person[f"web_push:{valley.people[0]}"]
        assert "changed" not in push.text.instruction
        assert next(zone["name"] for zone in push.payload["safe_zones"]) == "East hall"
        before = push.payload["route"]["polyline"]

        # the next version of the footprint closes the road east: one message, to one person, with the new way
        assert await story.footprint(14, EAST) == 1
        (message,) = await story.send(15)
        assert message.address["to"] == f"web_push:{valley.people[0]}"
        assert message.text.instruction.startswith("EXERCISE: Your way out has changed. Get ready to leave.")
        assert message.payload["instruction"] == message.text.instruction
        assert message.payload["route"]["polyline"] != before
        assert message.line is not None
        assert message.line.coords[-1] == pytest.approx((80.04, 7.10))
        assert message.payload["as_of"] == valley.at(15).isoformat()
        assert message.payload["version"] == push.payload["version"]
        row = story.deliveries()[-1]
        assert (row["revision"], row["state"], row["channel"]) == (1, "accepted", "web_push")

        # the same again changes nothing: not the same event, and not the next version that leaves the ways as they are
        plan_id = valley.rows("SELECT evacuation_plan_id FROM evacuation_plan ORDER BY computed_at DESC LIMIT 1")[0]
        async with valley.worker() as conn:
            event = PlanMade(evacuation_plan_id=plan_id["evacuation_plan_id"])
            assert await reroute.tell_changed(conn, event, clock=FixedClock(valley.at(16))) == 0
        assert await story.footprint(18, EAST) == 0
        assert await story.send(19) == []

    asyncio.run(run())


def shown_to(valley: Any, person: Any) -> list[dict[str, Any]]:
    """What a person's messages carried, oldest first."""
    return [
        row["shown"]
        for row in valley.rows("SELECT shown FROM delivery WHERE policyholder_id = %s ORDER BY revision", person)
    ]


@pytest.mark.parametrize("stored", [True, False])
def test_what_was_shown_to_whom_on_which_version_is_kept_and_can_be_made_again(
    valley: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """Also in a book of so many households that the plan keeps roads and no lines: the push carries the line."""
    if not stored:
        monkeypatch.setattr(plan, "MAX_STORED_LINES", 0)

    async def run() -> None:
        story = Story(valley, tmp_path)
        await story.begin()
        await story.footprint(5, FAR)
        lines = valley.rows("SELECT geometry FROM household_route WHERE roads <> '{}'")
        assert all((row["geometry"] is not None) == stored for row in lines)
        await story.warn()
        first = {message.address["to"]: message for message in await story.send(11)}
        push = first[f"web_push:{valley.people[0]}"]
        before = shown_to(valley, valley.people[0])
        assert len(before) == 1
        # a plan that is made again writes the rows of changed ways anew: what was shown stays as it was
        await story.footprint(14, EAST)
        (second,) = await story.send(15)
        after = shown_to(valley, valley.people[0])
        assert after[0] == before[0]
        assert [one["footprint_version"] for one in after] == [1, 2]
        assert after[0]["roads"] != after[1]["roads"]
        assert after[0]["safe_zone_id"] != after[1]["safe_zone_id"]
        assert [one["at"] for one in after] == [valley.at(minute).isoformat() for minute in (11, 15)]
        (kept,) = valley.rows("SELECT file, sha256 FROM road_network")
        network = load(tmp_path / "roads" / kept["file"], bytes(kept["sha256"]))
        zones = {str(z["safe_zone_id"]): z for z in valley.rows("SELECT safe_zone_id, lon, lat FROM safe_zone")}
        (house,) = valley.rows("SELECT lon, lat FROM household WHERE policyholder_id = %s", valley.people[0])
        for told, message in zip(after, (push, second), strict=True):
            assert told["network_sha256"] == bytes(kept["sha256"]).hex()
            assert told["status"] == message.payload["route"]["status"]
            assert told["leave_by"] == message.payload["route"]["leave_by"]
            zone = zones[told["safe_zone_id"]]
            course = course_of(
                network, told["roads"], told["first_share"], told["last_share"], (house["lon"], house["lat"]),
                (zone["lon"], zone["lat"]),
            )  # fmt: skip
            assert message.payload["route"]["polyline"] == polyline(course.points)
            body = to_push(message.payload, message.line, MAX_PUSH_BYTES - PUSH_OVERHEAD_BYTES)
            assert json.loads(body)["route"]["polyline"]
        # the same footprint planned afresh is the same way: what was shown can be made again from what is kept
        chosen = {str(row["evacuation_plan_id"]): row["roads"] for row in valley.rows(
            "SELECT evacuation_plan_id, roads FROM household_route JOIN household USING (household_id)"
            " WHERE policyholder_id = %s", valley.people[0])}  # fmt: skip
        assert [chosen[one["evacuation_plan_id"]] for one in after] == [one["roads"] for one in after]
        async with valley.worker() as conn:
            (newest,) = valley.rows("SELECT footprint_id FROM footprint ORDER BY version DESC LIMIT 1")
            valley.conn.execute("UPDATE household_route SET roads = '{}', status = 'cut-off'")
            await plan.plan_footprint(
                conn, newest["footprint_id"], home=tmp_path, now=valley.at(14), only=valley.tenant_id
            )
        again = valley.rows(
            "SELECT r.roads FROM household_route r JOIN evacuation_plan p USING (evacuation_plan_id)"
            " JOIN household h USING (household_id) JOIN footprint f USING (footprint_id)"
            " WHERE h.policyholder_id = %s AND f.version = 2", valley.people[0],
        )  # fmt: skip
        assert again[0]["roads"] == after[1]["roads"]
        assert shown_to(valley, valley.people[0]) == after

    asyncio.run(run())


def test_a_message_goes_without_its_line_where_the_roads_are_gone(
    valley: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MAX_STORED_LINES", 0)

    async def run() -> None:
        story = Story(valley, tmp_path)
        await story.begin()
        await story.footprint(5, FAR)
        await story.warn()
        story.home = tmp_path / "elsewhere"
        sent = await story.send(11)
        assert len(sent) == 3
        assert all(message.line is None for message in sent)
        assert [m.payload["route"]["status"] for m in sent].count("clear") >= 1

    asyncio.run(run())


def test_a_message_that_still_waits_carries_the_new_way_instead_of_a_second_one(valley: Any, tmp_path: Path) -> None:
    async def run() -> None:
        story = Story(valley, tmp_path)
        await story.begin()
        await story.footprint(5, FAR)
        await story.warn()
        assert await story.footprint(12, EAST) == 0
        sent = await story.send(13)
        assert len(sent) == 3
        (push,) = [one for one in sent if one.address["to"] == f"web_push:{valley.people[0]}"]
        assert push.line is not None
        assert push.line.coords[-1] == pytest.approx((80.04, 7.10))

    asyncio.run(run())


def test_a_push_beyond_the_cap_waits_until_the_window_has_room(valley: Any, tmp_path: Path) -> None:
    async def run() -> None:
        story = Story(valley, tmp_path)
        await story.begin(E=0, N=0, W=0)  # seats unknown: nobody stays where they were told for the seat's sake
        await story.footprint(5, FAR)
        await story.warn()
        await story.send(11)
        for minute, area in ((12, EAST), (13, FAR)):
            # opened again, and closed again: each time another way
            assert await story.footprint(minute, area) == 1
            assert len(await story.send(minute + 0.5)) == 1
        assert await story.footprint(14, EAST) == 1
        assert await story.send(14.5) == []
        row = valley.rows(
            "SELECT revision, extract(epoch FROM available_at - clock_timestamp())::float8 AS wait_s FROM delivery"
            " WHERE state = 'queued' ORDER BY revision DESC"
        )[0]
        # three pushes at minutes 10, 12 and 13: the first leaves the window at minute 20
        assert row["revision"] == 3
        assert row["wait_s"] == pytest.approx((PUSH_WINDOW - timedelta(minutes=4)).total_seconds(), abs=30)
        # while it waits nothing is added: it will carry the newest way
        assert await story.footprint(15, FAR) == 0

    asyncio.run(run())


def test_who_is_safe_hears_no_more_of_ways_out(valley: Any, tmp_path: Path) -> None:
    async def run() -> None:
        story = Story(valley, tmp_path)
        await story.begin()
        await story.footprint(5, FAR)
        await story.warn()
        await story.send(11)
        valley.conn.execute(
            "INSERT INTO answer (answer_id, tenant_id, policyholder_id, kind, detail, idempotency_key, answered_at)"
            " VALUES (%s, %s, %s, 'safe', '{}', 'k', %s)",
            [new_id(), valley.tenant_id, valley.people[0], valley.at(12)],
        )
        assert await story.footprint(14, EAST) == 0

    asyncio.run(run())


@pytest.mark.parametrize("of_another_tenant", [False, True])
def test_arrivals_fill_a_safe_zone_and_the_others_get_another_way(
    valley: Any, tmp_path: Path, of_another_tenant: bool
) -> None:
    """A public safe zone has the same seats for everybody: people of another tenant take them too."""

    def stranger() -> Any:
        tenant, person = new_id(), new_id()
        valley.conn.execute("INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, 'other', 'Other')", [tenant])
        valley.conn.execute(
            "INSERT INTO policyholder (policyholder_id, tenant_id, name, language) VALUES (%s, %s, 'x', 'en')",
            [person, tenant],
        )
        return person

    async def run() -> None:
        story = Story(valley, tmp_path)
        await story.begin(E=4, N=50, W=50)
        await story.footprint(5, FAR)
        await story.warn()
        await story.send(11)
        zones = {row["code"]: row["safe_zone_id"] for row in valley.rows("SELECT code, safe_zone_id FROM safe_zone")}

        async def arrive(people: int, minute: float, of: Any = None) -> int:
            """Somebody whom nobody planned for says that they are safe in the east hall."""
            person = of or valley.add_person(80.5, 7.05, channels=())
            tenant = valley.rows("SELECT tenant_id FROM policyholder WHERE policyholder_id = %s", person)[0][
                "tenant_id"
            ]
            answer = new_id()
            valley.conn.execute(
                "INSERT INTO answer (answer_id, tenant_id, policyholder_id, kind, detail, idempotency_key, answered_at)"
                " VALUES (%s, %s, %s, 'safe', %s, %s, %s)",
                [answer, tenant, person, Jsonb({"safe_zone_id": str(zones["E"]), "people": people}),
                 str(answer), valley.at(minute)],
            )  # fmt: skip
            story.stands_at(minute)
            work = outbox.Work(
                outbox_id=1, consumer="plan", kind="answer_given", ordering_key="a", tenant_id=tenant,
                payload={"answer_id": str(answer)}, attempts=1, claimed_by="w",
            )  # fmt: skip
            async with valley.worker() as conn:
                await plan.handler(tmp_path)(conn, work)
            for due in valley.rows("SELECT tenant_id FROM outbox WHERE kind = 'ruling_changed'"):
                assert due["tenant_id"] == valley.tenant_id
                ruled = dataclasses.replace(
                    work, kind="ruling_changed", tenant_id=due["tenant_id"],
                    payload={"tenant_id": str(due["tenant_id"])},
                )  # fmt: skip
                async with valley.worker() as conn:
                    await plan.handler(tmp_path)(conn, ruled)
            valley.conn.execute("DELETE FROM outbox WHERE kind = 'ruling_changed'")
            return await story.consume()

        def way() -> Any:
            return valley.rows(
                "SELECT z.code, r.status FROM household_route r JOIN household h USING (household_id)"
                " JOIN evacuation_plan p USING (evacuation_plan_id) LEFT JOIN safe_zone z USING (safe_zone_id)"
                " WHERE h.policyholder_id = %s ORDER BY p.computed_at DESC, r.changed_at DESC NULLS LAST LIMIT 1",
                valley.people[0],
            )[0]

        assert way()["code"] == "E"
        # three of four seats are taken: the last one is still there for the one person who was sent
        assert await arrive(3, 12) == 0
        assert way()["code"] == "E"
        # the fourth goes too: the hall is full, and whoever was on the way there is sent north, and told
        assert await arrive(1, 13, stranger() if of_another_tenant else None) == 1
        assert way() == {"code": "N", "status": "clear"}
        (message,) = await story.send(14)
        assert message.line is not None
        assert message.line.coords[-1] == pytest.approx((80.04, 7.10))

    asyncio.run(run())


def test_text_messages_and_calls_name_the_authority_and_a_stay_order_leaves_no_word_to_leave(outgoing: Any) -> None:
    from alerts.alert import Text
    from alerts.message import catalogue, ordered, rerouted

    said = Text(
        headline="EXERCISE: Flood red: leave now. Kitulgala", description="EXERCISE: Kelani Mutual warns of flood.",
        instruction="EXERCISE: Leave now. Follow your route.", sms="EXERCISE: Flood RED. LEAVE NOW by your route.",
        say="EXERCISE: Flood red: leave now. Press 1.", timezone="UTC",
    )  # fmt: skip
    route = {"route": {"status": "clear", "leave_by": "2026-06-01T10:00:00+00:00"}, "all_clear": False}
    order = {"kind": "evacuate", "authority": "Kegalle DMC"}
    leave = ordered(said, order, "en", exercise=True)
    assert leave.sms == "EXERCISE: Official order of Kegalle DMC: leave now. Flood RED. LEAVE NOW by your route."
    told = {**route, "official_order": order}
    assert text_message(leave, told, "en") == [leave.sms]  # our own minute does not stand beside an order
    assert spoken_text(leave, told, "en").startswith("EXERCISE: Official order of Kegalle DMC: leave now.")
    stay = ordered(said, {**order, "kind": "stay"}, "en", exercise=True)
    for part in (stay.headline, stay.instruction, stay.sms, stay.say):
        assert part.startswith("EXERCISE: Official order of Kegalle DMC: stay where you are.")
        assert "leave now" not in part.lower()
    assert "warns of flood" in stay.sms
    changed = rerouted(said, "en", exercise=True)
    assert text_message(changed, route, "en")[0] == (
        "EXERCISE: Your way out has changed. Flood RED. LEAVE NOW by your route. Leave by 10:00."
    )
    for language in catalogues():
        words = catalogue(language)
        assert set(words["order"]) == {"evacuate", "stay"}
        assert all("{authority}" in text for text in words["order"].values())
        assert words["rerouted"]
    assert json.loads(json.dumps(ordered(said, order, "zh", exercise=False).sms)).startswith(
        "Kegalle DMC官方命令：立即撤离。"
    )
