"""Every read, as the console and the phone use it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import h3
import pytest
from psycopg.types.json import Jsonb

from core.ids import new_id
from tests.integration.api.world import CHEAP, NOW, PASSWORD, Console, Sync, World, insert, square


def test_ui_config_health_and_ready_need_nobody(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as anyone:
            config = (await anyone.get("/v1/ui-config")).json()
            assert config["exercise"] is True
            assert config["basemap"] == {"kind": "bundled", "url": None}
            west, south, east, north = config["bounds"]
            assert west <= world.lon <= east
            assert south <= 6.9 <= north
            assert (await anyone.get("/v1/health")).json()["status"] == "ok"
            ready = await anyone.get("/v1/ready")
            assert ready.status_code == 200, ready.text
            assert ready.json()["parts"]["database"]["ok"] is True

    console(body)


def test_overview_tells_the_newest_assessment_and_the_live_warnings(console: Any, world: World, other: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            told = (await client.get("/v1/overview")).json()
        assert told["exposed_tiv"] == "1250.00"
        assert told["currency"] == "LKR"
        assert (told["n_locations"], told["n_policies"]) == (2, 1)
        assert (told["unknown_tiv"], told["n_unknown"]) == ("77.00", 1)
        assert told["source"]["footprint_version"] == 2
        assert told["source"]["hazard_event"] == "Kelani flood"
        assert (told["n_warnings_live"], told["n_drafts_waiting"], told["n_people_warned"]) == (1, 1, 1)
        assert told["n_answers"] == {"safe": 0, "help": 1, "damage": 0, "unanswered": 1}
        assert told["n_help_open"] == 1
        assert told["n_stations"] == {"online": 1, "silent": 1, "unknown": 0}
        assert told["sending_paused"] is False
        assert [(one["feed"], one["state"], one["n_stations"]) for one in told["feeds"]] == [("stations", "down", 2)]

    console(body)


def test_overview_without_an_assessment_is_unknown_and_not_zero(
    console: Any, make_tenant: Callable[[str], Any], worker: Sync
) -> None:
    tenant = make_tenant("empty")
    insert(
        worker, "principal", principal_id=new_id(), tenant_id=tenant, login="insurer@empty", display_name="x",
        password_hash=CHEAP.hash(PASSWORD), roles=["insurer"],
    )  # fmt: skip

    async def body(app: Console) -> None:
        async with app.as_role(World("empty", tenant, 0.0), "insurer") as client:
            told = (await client.get("/v1/overview")).json()
            assert (await client.get("/v1/evacuation-plans/latest")).status_code == 404
            zones = (await client.get("/v1/safe-zones")).json()
        for name in ("source", "exposed_tiv", "currency", "n_locations", "n_policies", "unknown_tiv", "n_unknown"):
            assert told[name] is None, name
        assert told["messages_stored"] is None
        assert zones["features"] == []

    console(body)


def test_overview_does_not_add_currencies(console: Any, world: World, worker: Sync) -> None:
    second = new_id()
    insert(
        worker, "portfolio", portfolio_id=second, tenant_id=world.tenant_id, name="Second", currency="USD",
        source_sha256=b"\3" * 32,
    )  # fmt: skip
    insert(
        worker, "assessment", assessment_id=new_id(), tenant_id=world.tenant_id, portfolio_id=second,
        footprint_id=world.ids["footprint"], n_locations=1, n_policies=1, exposed_tiv=9, n_unknown=0, unknown_tiv=0,
        currency="USD", computed_at=NOW,
    )  # fmt: skip

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            told = (await client.get("/v1/overview")).json()
            listed = (await client.get("/v1/assessments/latest")).json()["items"]
        assert told["exposed_tiv"] is None
        assert told["currency"] is None
        assert told["exposed_by_currency"] == {"LKR": "1250.00", "USD": "9.00"}
        assert told["source"]["n_portfolios"] == 2
        assert {one["currency"]: one["exposed_tiv"] for one in listed} == {"LKR": "1250.00", "USD": "9.00"}

    console(body)


def test_overview_sums_over_every_open_event(console: Any, world: World, worker: Sync) -> None:
    ids = {name: new_id() for name in ("open", "over")}
    for i, (name, ended_at) in enumerate((("open", None), ("over", NOW - timedelta(hours=1)))):
        insert(
            worker, "hazard_event", hazard_event_id=ids[name], tenant_id=world.tenant_id, code=name, peril="quake",
            name=name, started_at=NOW - timedelta(hours=2), ended_at=ended_at,
        )  # fmt: skip
        footprint = new_id()
        insert(
            worker, "footprint", footprint_id=footprint, tenant_id=world.tenant_id, hazard_event_id=ids[name], version=7,
            valid_at=NOW + timedelta(minutes=1 + i), made_how="test", geometry=square(world.lon, 6.9, 0.01), zones=[],
        )  # fmt: skip
        insert(
            worker, "assessment", assessment_id=new_id(), tenant_id=world.tenant_id, portfolio_id=world.ids["portfolio"],
            footprint_id=footprint, n_locations=2, n_policies=1, exposed_tiv=100 + 900 * i, n_unknown=0, unknown_tiv=0,
            currency="LKR", computed_at=NOW + timedelta(minutes=5),
        )  # fmt: skip

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            told = (await client.get("/v1/overview")).json()
        assert told["exposed_tiv"] == "1350.00"  # what is over is not among them, though it was assessed last
        assert told["source"]["n_events"] == 2
        assert told["source"]["hazard_event"] == "open"
        assert told["source"]["n_portfolios"] == 1

    console(body)


def test_a_silent_station_is_unknown_and_held(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "partner") as client:
            told = (await client.get("/v1/stations")).json()
        by_name = {one["properties"]["name"]: one for one in told["features"]}
        live, dead = by_name["station"], by_name["dead_station"]
        assert live["geometry"] == {"type": "Point", "coordinates": [world.lon, 6.9]}
        assert live["properties"]["level"] == "red"
        assert live["properties"]["held"] is False
        assert live["properties"]["thresholds"] == {"yellow": 3.0, "red": 5.0}
        assert live["properties"]["threshold_quantity"] == "level"
        assert live["properties"]["latest"][0]["value"] == 2.0
        assert dead["properties"]["level"] == "unknown"
        assert dead["properties"]["held"] is True
        assert dead["properties"]["held_level"] == "orange"
        assert dead["properties"]["phase"] == "stale"

    console(body)


def test_observations_are_the_newest_in_the_span_oldest_first(console: Any, world: World) -> None:
    path = f"/v1/stations/{world.ids['station']}/observations"

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            everything = (await client.get(path)).json()
            assert [one["value"] for one in everything["items"]] == [6.0, 5.0, 4.0, 3.0, 2.0]
            assert everything["unit"] == "m"
            assert everything["truncated"] is False
            two = (await client.get(path, params={"limit": 2})).json()
            assert [one["value"] for one in two["items"]] == [3.0, 2.0]
            assert two["truncated"] is True
            span = {"from": (NOW - timedelta(minutes=30)).isoformat(), "to": NOW.isoformat()}
            some = (await client.get(path, params=span)).json()
            assert [one["value"] for one in some["items"]] == [5.0, 4.0, 3.0]
            naive = await client.get(path, params={"from": "2026-07-01T00:00:00"})
            assert naive.status_code == 422
            assert "from" in naive.json()["detail"]
            assert (await client.get(path, params={"quantity": "rain"})).status_code == 404

    console(body)


def test_footprints_are_the_newest_version_with_their_zones(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "partner") as client:
            (one,) = (await client.get("/v1/footprints/latest")).json()["features"]
        assert one["properties"]["version"] == 2
        assert one["geometry"]["type"] == "MultiPolygon"
        ring = one["geometry"]["coordinates"][0][0]
        assert {tuple(point) for point in ring} == {
            (round(world.lon + x, 6), round(6.9 + y, 6)) for x in (-0.01, 0.01) for y in (-0.01, 0.01)
        }
        (zone,) = one["properties"]["zones"]
        assert zone["arrival_min"] == 60
        assert zone["geometry"]["type"] == "MultiPolygon"

    console(body)


@pytest.mark.parametrize("resolution", [0, 4, 7, 9])
def test_cells_are_the_parents_that_h3_itself_gives(console: Any, world: World, resolution: int) -> None:
    expected: dict[str, float] = {}
    for lon, tiv in ((world.lon, 1000.0), (world.lon + 0.001, 250.0)):
        cell = h3.latlng_to_cell(6.9, lon, 9)
        parent = h3.cell_to_parent(cell, resolution)
        expected[parent] = expected.get(parent, 0.0) + tiv

    async def body(app: Console) -> None:
        async with app.as_role(world, "underwriter") as client:
            told = (await client.get("/v1/exposure/cells", params={"resolution": resolution})).json()
        assert {one["properties"]["cell"]: one["properties"]["tiv"] for one in told["features"]} == expected
        assert told["n_unmapped"] == 1
        assert told["unmapped_tiv_by_currency"] == {"LKR": "77.00"}
        ring = told["features"][0]["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]

    console(body)


def test_locations_in_a_box_largest_first(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            everywhere = (await client.get("/v1/locations")).json()
            assert [one["properties"]["tiv"] for one in everywhere["features"]] == ["1000.00", "250.00"]
            assert everywhere["features"][0]["properties"]["exposed_tiv"] == "1000.00"
            assert everywhere["features"][1]["properties"]["exposed_tiv"] is None
            first = (await client.get("/v1/locations", params={"limit": 1})).json()
            assert (len(first["features"]), first["truncated"]) == (1, True)
            box = f"{world.lon - 0.0005},6.8,{world.lon + 0.0005},7"
            (inside,) = (await client.get("/v1/locations", params={"bbox": box})).json()["features"]
            assert inside["properties"]["loc_number"] == "L1"
            around = f"{world.lon + 0.0005},6.8,{world.lon - 0.0005},7"
            (outside,) = (await client.get("/v1/locations", params={"bbox": around})).json()["features"]
            assert outside["properties"]["loc_number"] == "L2"
            for wrong in ("1,2,3", "a,b,c,d", "0,9,1,2", "nan,0,1,1"):
                answer = await client.get("/v1/locations", params={"bbox": wrong})
                assert answer.status_code == 422, wrong
                assert "bbox" in answer.json()["detail"]

    console(body)


def test_plan_routes_and_safe_zones(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "operator") as client:
            plan = (await client.get("/v1/evacuation-plans/latest")).json()
            routes = (await client.get("/v1/evacuation-plans/latest/routes")).json()
            zones = (await client.get("/v1/safe-zones")).json()
        assert plan["counts"] == {"clear": 1}
        assert plan["closed_roads"]["coordinates"] == [[[world.lon, 6.9], [world.lon, 6.91]]]
        (route,) = routes["features"]
        assert route["geometry"]["type"] == "LineString"
        assert route["properties"]["safe_zone_names"] == {"en": "School", "zh": "学校"}
        assert datetime.fromisoformat(route["properties"]["leave_by"]) == NOW + timedelta(minutes=40)
        (zone,) = zones["features"]
        assert zone["properties"]["n_people"] == 3

    console(body)


def test_warnings_list_pages_and_states(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "approver") as client:
            page = (await client.get("/v1/warnings", params={"limit": 1})).json()
            rest = (await client.get("/v1/warnings", params={"limit": 1, "cursor": page["next_cursor"]})).json()
            assert {page["items"][0]["warning_id"], rest["items"][0]["warning_id"]} == {
                str(world.ids["warning"]),
                str(world.ids["draft"]),
            }
            assert rest["next_cursor"] is None
            (draft,) = (await client.get("/v1/warnings", params={"state": "draft"})).json()["items"]
            assert draft["warning_id"] == str(world.ids["draft"])
            assert draft["station_name"] == "dead_station"
            assert draft["texts"]["zh"]["headline"] == "立即撤离"
            assert draft["n_approvals_needed"] == 2
            for bad in ("x", "AAAA", "🎈"):
                assert (await client.get("/v1/warnings", params={"cursor": bad})).status_code == 422

    console(body)


def test_a_warning_shows_versions_decisions_and_deliveries(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "approver") as client:
            told = (await client.get(f"/v1/warnings/{world.ids['warning']}")).json()
        (version,) = told["versions"]
        assert version["content_sha256"] == "09" * 32
        assert version["cap_url"] == f"/v1/warnings/{world.ids['warning']}/1/cap.xml"
        assert version["deliveries"] == [{"channel": "fake", "state": "accepted", "n": 1, "n_in_doubt": 0}]
        assert version["audience"] == {"by_language": {"en": 1, "zh": 1}, "by_channel": {"fake": 2}}
        assert version["area"]["type"] == "MultiPolygon"
        assert [one["reason"] for one in told["decisions"]] == ["level_reached"]

    console(body)


def test_answers_and_quotes(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            (answer,) = (await client.get("/v1/answers", params={"kind": "help"})).json()["items"]
            assert (answer["name"], answer["lon"]) == ("neighbour acme", world.lon)
            assert (await client.get("/v1/answers", params={"kind": "safe"})).json()["items"] == []
        async with app.as_role(world, "underwriter") as client:
            (listed,) = (await client.get("/v1/quotes")).json()["items"]
            assert listed["premium"] == "1234.56"
            whole = (await client.get(f"/v1/quotes/{listed['quote_id']}")).json()
            assert whole["submission"] == {"insured": "acme"}

    console(body)


def test_the_scenario_clock_is_what_is_told(console: Any, world: World, worker: Sync) -> None:
    then = NOW + timedelta(hours=7)
    worker.execute("INSERT INTO scenario_clock VALUES (true, true, %s, %s, 60, %s)", [NOW, NOW, then])

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            told = (await client.get("/v1/overview")).json()
        assert datetime.fromisoformat(told["as_of"]) == then
        assert told["n_warnings_live"] == 0  # expired on that clock

    console(body)


# ---------------------------------------------------------------- the phone
def test_the_phone_sees_its_own_warning_route_and_zones(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            told = (await phone.get("/v1/public/now")).json()
        assert (told["state"], told["state_reason"]) == ("warning", "")
        assert told["exercise"] is True
        (warning,) = told["warnings"]
        assert (warning["headline"], warning["language"]) == ("Leave now", "en")
        assert warning["delivery_id"] == str(world.ids["delivery"])
        assert told["route"]["safe_zone"]["names"]["zh"] == "学校"
        assert told["route"]["footprint"]["type"] == "MultiPolygon"
        (zone,) = told["safe_zones"]
        assert zone["distance_m"] == pytest.approx(5560, rel=0.01)
        async with app.phone(world, "neighbour") as phone:
            told = (await phone.get("/v1/public/now")).json()
        assert told["warnings"][0]["headline"] == "立即撤离"
        assert told["warnings"][0]["answered"] == "help"
        assert told["route"] is None

    console(body)


def test_a_language_chosen_on_the_phone_wins_over_the_stored_one(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            for given in ({"params": {"language": "zh"}}, {"headers": {"Accept-Language": "zh"}}):
                told = (await phone.get("/v1/public/now", **given)).json()  # type: ignore[arg-type]
                assert told["warnings"][0]["headline"] == "立即撤离"
                assert told["language"] == "en"
            for unchosen in ("zh-CN,zh;q=0.9", "zh-CN", "xx"):
                told = (await phone.get("/v1/public/now", headers={"Accept-Language": unchosen})).json()
                assert told["warnings"][0]["headline"] == "Leave now"

    console(body)


def test_the_token_may_stand_in_the_query(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as phone:
            assert (await phone.get("/v1/public/now", params={"t": app.token(world)})).status_code == 200

    console(body)


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ("", "cannot_tell", "being_checked"),
        ("UPDATE rule_state SET state = %(calm)s", "cannot_tell", "silent_station"),
        (
            "UPDATE rule_state SET state = %(calm)s; UPDATE station SET state = 'online'",
            "no_warning",
            "",
        ),
        (
            "UPDATE rule_state SET state = %(old)s; UPDATE station SET state = 'online'",
            "cannot_tell",
            "not_checked",
        ),
        (
            "DELETE FROM rule_state; UPDATE station SET state = 'online'",
            "cannot_tell",
            "not_checked",
        ),
        ("UPDATE rule SET area = NULL", "cannot_tell", "not_watched"),
        (
            "UPDATE rule_state SET state = %(expired)s; UPDATE station SET state = 'online'",
            "cannot_tell",
            "expired",
        ),
    ],
)
def test_we_cannot_tell_is_never_no_warning(
    console: Any, world: World, worker: Sync, change: str, state: str, reason: str
) -> None:
    worker.execute("UPDATE warning SET state = 'ended'")

    def stands(phase: str, level: str, at: datetime) -> Jsonb:
        return Jsonb({"phase": phase, "level": level, "evaluated_until": at.isoformat()})

    given = {
        "calm": stands("normal", "none", NOW),
        "old": stands("normal", "none", NOW - timedelta(hours=3)),
        "expired": stands("expired", "red", NOW),
    }
    for statement in change.split("; "):
        if statement:
            worker.execute(statement, given)

    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            told = (await phone.get("/v1/public/now")).json()
        assert (told["state"], told["state_reason"]) == (state, reason)

    console(body)
