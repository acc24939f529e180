"""One route in full, the map's roads, operators' and authorities' word, and the plan that follows from it."""

import time
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from geo import plan
from store.pool import connect_worker_async
from tests.integration.api.world import NOW, Console, Sync, World, square

pytestmark = pytest.mark.sql


def test_a_route_in_full_with_turns_in_the_households_language(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        path = f"/v1/evacuation-plans/latest/routes/{world.ids['person_household']}"
        async with app.as_role(world, "operator") as client:
            told = (await client.get(path)).json()
            chinese = (await client.get(path, params={"language": "zh"})).json()
            gpx = await client.get(f"{path}/gpx")
        line = told["geometry"]["coordinates"]
        assert line == [[79.9, 6.9], [79.9, 6.94], [79.91, 6.94], [79.91, 6.95], [79.9, 6.95]]
        properties = told["properties"]
        assert properties["polyline"] == encoded(line)
        assert [t["text"] for t in properties["turns"]] == [
            "Head north on Main Street", "Turn right into School Lane", "You have arrived: School",
        ]  # fmt: skip
        assert next(t["text"] for t in chinese["properties"]["turns"]) == "沿主街向北行进"
        assert chinese["properties"]["turns"][-1]["text"] == "您已到达：学校"
        assert properties["turns"][0]["distance_m"] == pytest.approx(4424, rel=0.01)
        assert "official order" in properties["disclaimer"]
        assert gpx.headers["content-type"].startswith("application/gpx+xml")
        root = ElementTree.fromstring(gpx.text)
        space = "{http://www.topografix.com/GPX/1/1}"
        assert len(root.findall(f"{space}trk/{space}trkseg/{space}trkpt")) == len(line)
        async with app.phone(world) as phone:
            own = (await phone.get("/v1/public/route")).json()
            assert own["geometry"]["coordinates"] == line
            assert (await phone.get("/v1/public/route/gpx")).status_code == 200
        async with app.phone(world, "neighbour") as phone:
            assert (await phone.get("/v1/public/route")).status_code == 404

    console(body)


def encoded(line: list[list[float]]) -> str:
    """A second, plain writing of the encoded polyline."""
    out, last = "", [0, 0]
    for lon, lat in line:
        for k, value in enumerate((round(lat * 1e5), round(lon * 1e5))):
            n = value - last[k]
            n = ~(n << 1) if n < 0 else n << 1
            last[k] = value
            while n >= 32:
                out += chr((32 | (n & 31)) + 63)
                n >>= 5
            out += chr(n + 63)
    return out


def test_a_route_with_client_and_sign_in_takes_less_than_ten_milliseconds_of_processor(
    console: Any, world: World
) -> None:
    async def body(app: Console) -> None:
        path = f"/v1/evacuation-plans/latest/routes/{world.ids['person_household']}"
        async with app.as_role(world, "operator") as client:
            await client.get(path)
            took = []
            for _ in range(30):
                start = time.process_time()
                assert (await client.get(path)).status_code == 200
                took.append(time.process_time() - start)
        # processor time of this process: client, sign-in and server together; the least is what the work takes. The
        # handler's own share is measured by benchmarks/route.py
        assert min(took) < 0.010
        print(f"route on request: {1000 * sorted(took)[15]:.1f} ms of processor, client and sign-in with it")

    console(body)


def test_the_maps_roads_and_rivers(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "partner") as client:
            everything = (await client.get("/v1/roads")).json()
            near = (await client.get("/v1/roads", params={"bbox": "79.89,6.89,79.96,6.96", "limit": 1})).json()
            wrong = await client.get("/v1/roads", params={"bbox": "1,2,3"})
        assert len(everything["features"]) == 5
        assert not everything["truncated"]
        assert near["truncated"]
        kinds = [f["properties"]["kind"] for f in near["features"]]
        assert len(kinds) == 2
        assert kinds[1] == "river"
        assert near["features"][0]["properties"]["name"] == "Main Street"
        assert wrong.status_code == 422
        assert "bbox" in wrong.text

    console(body)


def again(url: str, app: Console, world: World) -> Any:
    async def work() -> None:
        conn = await connect_worker_async(url)
        try:
            await plan.plan_again(conn, world.tenant_id, home=app.settings.home, now=NOW + timedelta(minutes=1))
        finally:
            await conn.close()

    return work()


def routes_of(worker: Sync, world: World) -> dict[str, tuple[Any, ...]]:
    rows = worker.execute(
        "SELECT r.household_id::text, r.status, r.changed, r.reason, r.roads FROM household_route r"
        " JOIN evacuation_plan p USING (evacuation_plan_id) WHERE r.tenant_id = %s",
        [world.tenant_id],
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def test_an_operator_closes_a_road_and_an_authoritys_order_goes_before_our_route(
    console: Any, world: World, worker: Sync, postgres_url: str
) -> None:
    home = str(world.ids["person_household"])
    worker.execute("DELETE FROM official_order")
    worker.execute("DELETE FROM road_override")
    worker.execute("UPDATE footprint SET geometry = %s, zones = '[]'", [square(70.0, 6.9, 0.01)])
    worker.commit()
    before = worker.execute("SELECT count(*) FROM audit").fetchone()

    async def body(app: Console) -> None:
        async with app.as_role(world, "operator") as client:
            await again(postgres_url, app, world)
            first = routes_of(worker, world)
            worker.commit()
            assert first[home][0] == "clear"
            await again(postgres_url, app, world)
            unchanged = routes_of(worker, world)
            worker.commit()
            assert unchanged == first  # nobody is told twice of the same way

            answer = await client.post(
                "/v1/road-overrides", json={"action": "close", "reason": "a tree", "lon": 79.9, "lat": 6.92}
            )
            assert answer.status_code == 201, answer.text
            assert answer.json()["roads"] == [0]
            await again(postgres_url, app, world)
            closed = routes_of(worker, world)
            worker.commit()
            assert closed[home][0] in ("cut-off", "shelter-in-place")
            assert closed[home][1]
            override = answer.json()["road_override_id"]
            assert (await client.post(f"/v1/road-overrides/{override}/withdraw")).status_code == 200
            assert (await client.post(f"/v1/road-overrides/{override}/withdraw")).status_code == 404
            far = {"action": "close", "reason": "a tree", "lon": 10.0, "lat": 50.0}
            refused = await client.post("/v1/road-overrides", json=far)
            assert refused.status_code == 422
            assert "no road is within 100 m" in refused.text

            area = {
                "type": "Polygon",
                "coordinates": [[[79.8, 6.8], [80.0, 6.8], [80.0, 7.0], [79.8, 7.0], [79.8, 6.8]]],
            }
            given = {
                "kind": "stay", "area": area, "authority": "Fire Service", "issued_at": NOW.isoformat(),
                "expires_at": (NOW + timedelta(hours=3)).isoformat(),
            }  # fmt: skip
            order = await client.post("/v1/official-orders", json=given)
            assert order.status_code == 201, order.text
            path = f"/v1/evacuation-plans/latest/routes/{home}"
            before_plan = (await client.get(path)).json()  # the plan does not know of the order yet
            assert before_plan["properties"]["status"] == "shelter-in-place"
            assert before_plan["properties"]["reason"] == "official order of Fire Service: stay where you are"
            assert before_plan["geometry"] is None
            assert not before_plan["properties"]["polyline"]
            assert (await client.get(f"{path}/gpx")).status_code == 404
            await again(postgres_url, app, world)
            stay = routes_of(worker, world)
            worker.commit()
            assert stay[home][:3] == ("shelter-in-place", True, "official order of Fire Service: stay where you are")
            (standing,) = (await client.get("/v1/official-orders")).json()
            assert standing["area"]["type"] == "MultiPolygon"
            assert (
                await client.post(f"/v1/official-orders/{standing['official_order_id']}/withdraw")
            ).status_code == 200
            await again(postgres_url, app, world)
            back = routes_of(worker, world)
            worker.commit()
            assert back[home][0] == "clear"
            assert back[home][1]
            bow = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
            bad = await client.post("/v1/official-orders", json={**given, "area": bow})
            assert bad.status_code == 422
            assert "Self-intersection" in bad.text

    console(body)
    after = worker.execute("SELECT count(*) FROM audit").fetchone()
    assert after is not None
    assert before is not None
    assert after[0] - before[0] == 4
    row = worker.execute("SELECT count(*) FROM outbox WHERE kind = 'ruling_changed' AND consumer = 'plan'").fetchone()
    assert row == (4,)


def test_arrivals_fill_a_safe_zone(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            said = {"kind": "safe", "detail": {"safe_zone_id": str(world.ids["zone"])}, "idempotency_key": "arrived-1"}
            assert (await phone.post("/v1/public/answers", json=said)).status_code == 201
        async with app.as_role(world, "operator") as client:
            (zone,) = (await client.get("/v1/safe-zones")).json()["features"]
        assert zone["properties"]["n_arrived"] == 3  # the household's people
        assert zone["properties"]["n_people"] == 0  # and nobody is on the way any more

    console(body)
