"""`tocsin evacuate` from files to files, seats against brute force, and the points that separate a tool from a toy."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from geo.closing import Override, PartialLayer, closures, opened
from geo.evacuate import Done, Job, evacuate, read_hazard, read_overrides, write
from geo.evacuation import Forecast, Households, Margins, SafeZones, Status
from geo.hazard import ArrivalZone, BadFootprint, Hazard
from geo.imports import BadFile
from geo.network import BadNetwork, Road, RoadNetwork, build, open_file, to_geojson
from geo.roadfiles import read_extract
from geo.routing import plan_routes
from geo.seats import min_cost_flow, whole_households

D = 0.001
NO_HAZARD = Hazard(geometry=shapely.MultiPolygon())


def at(x: float, y: float) -> list[float]:
    return [x * D, 10 + y * D]


def line(*points: tuple[float, float], **more: Any) -> Road:
    return Road(points=[(x * D, 10 + y * D) for x, y in points], speed_kmh=36.0, **more)


def grid(n: int) -> RoadNetwork:
    roads = [line(*[(x, y) for x in range(n)]) for y in range(n)]
    return build(roads + [line(*[(x, y) for y in range(n)]) for x in range(n)])


def box(x0: float, y0: float, x1: float, y1: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(x0 * D, 10 + y0 * D, x1 * D, 10 + y1 * D)])


def feature(geometry: Any, **given: Any) -> dict[str, Any]:
    told = json.loads(shapely.to_geojson(geometry)) if isinstance(geometry, shapely.Geometry) else geometry
    return {"type": "Feature", "properties": given, "geometry": told}


def point(x: float, y: float, **given: Any) -> dict[str, Any]:
    return feature({"type": "Point", "coordinates": at(x, y)}, **given)


def run(
    folder: Path, network: RoadNetwork, hazards: list[list[dict[str, Any]]], zones: list[dict[str, Any]],
    homes: list[tuple[Any, ...]], *, seats: bool = False, weights: list[float] | None = None,
    header: str = "id,lon,lat,people,mode,needs", margins: Margins | None = None,
    tell: Callable[[str], None] = lambda _: None, overrides: Path | None = None,
) -> Done:  # fmt: skip
    (folder / "town.roads").write_bytes(network.to_bytes())
    paths = []
    for k, features in enumerate(hazards):
        paths.append(folder / f"h{k}.geojson")
        paths[-1].write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (folder / "z.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": zones}))
    rows = [",".join(str(v) for v in (h[0], *at(h[1], h[2]), *h[3:], *("",) * (6 - len(h)))) for h in homes]
    (folder / "h.csv").write_text("\n".join([header, *rows]) + "\n")
    job = Job(
        roads=folder / "town.roads", hazards=paths, weights=weights or [], safe_zones=folder / "z.geojson",
        households=folder / "h.csv", mode=None, seats=seats, overrides=overrides,
        margins=margins or Margins(notice_s=0.0),
    )  # fmt: skip
    return evacuate(job, tell)


def table(done: Done, folder: Path) -> dict[str, dict[str, str]]:
    write(done, folder / "out", routes=True)
    with (folder / "out" / "households.csv").open() as file:
        return {row["id"]: row for row in csv.DictReader(file)}


# ---------------------------------------------------------------- the command
def test_a_run_writes_every_household_with_a_status_and_a_line(tmp_path: Path) -> None:
    done = run(
        tmp_path, grid(6),
        [[feature(box(2.2, 2.2, 2.8, 3.4), arrival_min=0), feature(box(3.6, -1, 4.2, 9), arrival_min=30)]],
        [point(0, 0, id="west", seats=9), point(5, 5, id="east", seats=9)],
        [("a", 1, 1, 2, "car"), ("b", 5, 1, 1, "foot"), ("in", 2.5, 3.0), ("far", 90, 90)],
    )  # fmt: skip
    rows = table(done, tmp_path)
    assert {k: r["status"] for k, r in rows.items()} == {
        "a": "clear", "b": "clear", "in": "through-hazard", "far": "off-network",
    }  # fmt: skip
    assert rows["a"]["safe_zone"] == "west"
    assert rows["a"]["leave_by_s"] == ""
    assert float(rows["b"]["travel_s"]) == pytest.approx(4 * D * 110_600 / 1.2, rel=0.01)
    assert float(rows["in"]["inside_m"]) > 0
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert sum(plan["counts"].values()) == 4
    lines = json.loads((tmp_path / "out" / "routes.geojson").read_text())["features"]
    assert {f["properties"]["id"] for f in lines} == {"a", "b", "in"}
    first = (tmp_path / "out" / "households.csv").read_bytes()
    write(done, tmp_path / "again", routes=False)
    assert (tmp_path / "again" / "households.csv").read_bytes() == first


def test_leave_by_is_the_last_way_out_and_the_shown_route_has_its_own(tmp_path: Path) -> None:
    network = build([line((0, 0), (6, 0)), line((0, 0), (0, 9), (6, 9), (6, 0))])
    hazards = [feature(box(3, -1, 4, 1), arrival_min=20), feature(box(3, 8, 4, 10), arrival_min=60)]
    rows = table(run(tmp_path, network, [hazards], [point(6, 0, id="z", seats=1)], [("a", 0, 0)]), tmp_path)
    short, long = (d * D / 10 for d in (6 * 109_640, 18 * 110_600 + 6 * 109_640))
    assert float(rows["a"]["travel_s"]) == pytest.approx(short, rel=0.01)
    # a road must have been left when it closes: the short one counts whole
    assert float(rows["a"]["route_leave_by_s"]) == pytest.approx(1200 - short, rel=0.01)
    assert float(rows["a"]["leave_by_s"]) == pytest.approx(3600 - long, rel=0.01)


def test_a_forecast_ensemble_gives_a_leave_by_with_its_probability(tmp_path: Path) -> None:
    network = build([line((0, 0), (6, 0))])
    members = [[feature(box(3, -1, 4, 1), arrival_min=m)] for m in (20, 40, 60)]
    args = (network, members, [point(6, 0, id="z", seats=1)], [("a", 0.5, 0)])
    careful = table(run(tmp_path, *args, weights=[0.1, 0.4, 0.5]), tmp_path)["a"]
    bold = table(run(tmp_path, *args, weights=[0.1, 0.4, 0.5], margins=Margins(notice_s=0.0, quantile=0.9)), tmp_path)[
        "a"
    ]
    travel = float(careful["travel_s"])
    assert float(careful["leave_by_s"]) == pytest.approx(1200 - travel, abs=1)
    assert float(careful["leave_by_probability"]) == pytest.approx(1.0)
    assert float(bold["leave_by_s"]) == pytest.approx(2400 - travel, abs=1)
    assert float(bold["leave_by_probability"]) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("geometry", "given", "reason"),
    [
        ({"type": "Polygon", "coordinates": [[[0, 10], [1, 11], [1, 10], [0, 11], [0, 10]]]}, {}, "Self-intersection"),
        ({"type": "Polygon", "coordinates": [[[-179, 0], [179, 0], [179, 1], [-179, 0]]]}, {}, "antimeridian"),
        ({"type": "Polygon", "coordinates": [[[181, 0], [182, 0], [182, 1], [181, 0]]]}, {}, "beyond 180"),
        ({"type": "Point", "coordinates": [0, 10]}, {}, "a Polygon or a MultiPolygon"),
        (None, {}, "no geometry"),
        ("box", {"arrival_min": "soon"}, "arrival_min: 'soon' is not a number"),
        ("box", {"arrival_min": -5}, "arrival_min: -5 is not within"),
        ("box", {"peril": "dragon"}, "peril: 'dragon' is not one of"),
        ("box", {"depth_m": -0.2}, "depth_m: -0.2 is negative"),
        ("box", {"arrival_min": float("nan")}, "arrival_min: nan is not a finite number"),
    ],
)
def test_a_bad_hazard_is_one_clear_line(tmp_path: Path, geometry: Any, given: dict[str, Any], reason: str) -> None:
    path = tmp_path / "h.geojson"
    told = json.loads(shapely.to_geojson(box(0, 0, 1, 1))) if geometry == "box" else geometry
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature(told, **given)]}))
    with pytest.raises(BadFootprint, match=reason) as caught:
        read_hazard(path)
    assert "h.geojson: features[0]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_odd_documents_are_one_line_and_a_quiet_forecast_is_of_the_others_peril(tmp_path: Path) -> None:
    path = tmp_path / "h.geojson"
    square = json.loads(shapely.to_geojson(box(0, 0, 1, 1)))
    for document, reason in (({"features": 5}, "h.geojson: features: it is not a list"),
                             ({"features": [{"properties": "p", "geometry": square}]}, r"features\[0\].properties: it")):  # fmt: skip
        path.write_text(json.dumps(document))
        with pytest.raises(BadFootprint, match=reason):
            read_hazard(path)
    fire, zone = [feature(box(1.2, -1, 1.8, 3), peril="fire")], [point(0, 0, id="z")]
    done = run(tmp_path, grid(3), [fire, []], zone, [("a", 2, 1)], weights=[1.0, 99.0])
    assert done.summary["counts"]["clear"] == 1
    with pytest.raises(InvalidInput, match=r"of one peril, but h1\.geojson is flood, h0"):
        run(tmp_path, grid(3), [fire, [feature(box(0, 0, 1, 1))]], zone, [("a", 2, 1)], weights=[1.0, 1.0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "o.csv: the header lacks way, action, by"),
        (b"\xff\xfe", "o.csv: it is not a CSV file in UTF-8"),
        (b"way,action,by\n5\n", "line 2.action: '' is neither open nor close"),
        (b"way,action,by\nfive,close,me\n", "line 2.way: 'five' is not a number"),
        (b"way,action,by\n7,close, \n", "line 2.by: it is empty"),
        (b"way,action,by\n8,close,me\n", "line 2.way: the network has no way 8"),
        (b"way,action,by\n0,close,me\n", "line 2.way: the network has no way 0"),
    ],
)
def test_a_bad_file_of_overrides_is_one_line(tmp_path: Path, text: bytes, reason: str) -> None:
    network = build([line((0, 0), (1, 0), osm_id=7), line((1, 0), (2, 0))])
    (tmp_path / "o.csv").write_bytes(text)
    with pytest.raises(InvalidInput, match=reason):
        read_overrides(tmp_path / "o.csv", network)


def test_a_hazard_with_a_hole_keeps_the_dry_island_in_it(tmp_path: Path) -> None:
    ring = shapely.difference(box(0.5, 0.5, 4.5, 4.5), box(1.5, 1.5, 3.5, 3.5))
    rows = table(run(tmp_path, grid(6), [[feature(ring)]], [point(0, 0, id="z", seats=1)],
                     [("island", 2.5, 2), ("wet", 1, 1.2)]), tmp_path)  # fmt: skip
    assert rows["island"]["status"] == "cut-off"
    assert rows["wet"]["status"] == "through-hazard"


def test_extracts_and_households_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(BadNetwork, match=r"none.geojson: there are no roads"):
        read_extract(tmp_path / "none.geojson")
    with pytest.raises(BadNetwork, match="no such file"):
        read_extract(tmp_path / "gone.pbf")
    (tmp_path / "broken.osm.pbf").write_bytes(b"this is not a pbf")
    with pytest.raises(BadNetwork, match=r"broken.osm.pbf: it cannot be read"):
        read_extract(tmp_path / "broken.osm.pbf")
    osmium = pytest.importorskip("osmium")
    with osmium.SimpleWriter(str(tmp_path / "lakes.osm.pbf")) as writer:
        for k in range(2):
            writer.add_node(osmium.osm.mutable.Node(id=k + 1, location=(0.01 * k, 10.0)))
        writer.add_way(osmium.osm.mutable.Way(id=1, nodes=[1, 2], tags={"natural": "shingle"}))
    with pytest.raises(BadNetwork, match=r"lakes.osm.pbf: there are no roads"):
        read_extract(tmp_path / "lakes.osm.pbf")
    (tmp_path / "cut.roads").write_bytes(grid(3).to_bytes()[:-8])
    with pytest.raises(BadNetwork, match="it is cut"):
        open_file(tmp_path / "cut.roads")
    done = run(tmp_path, grid(3), [[]], [point(0, 0, id="z", seats=1)], [("a", 1, 1), ("bad", 1, 1, 0)])
    assert [r.field for r in done.refused] == ["people"]
    assert done.summary["households_refused"][0]["line"] == 3
    # nobody is dropped: a household whose row cannot be used stands in the file with the reason, and is counted
    rows = table(done, tmp_path)
    assert rows["bad"]["status"] == "off-network"
    assert rows["bad"]["reason"] == "line 3: people: 0 is less than one"
    assert rows["bad"]["safe_zone"] == rows["bad"]["leave_by_s"] == ""
    assert sum(done.summary["counts"].values()) == done.summary["households"] == 2
    with pytest.raises(BadFile, match="no safe zones"):
        run(tmp_path, grid(3), [[]], [], [("a", 1, 1)])
    twice = run(tmp_path, grid(3), [[]], [point(0, 0, id="z", seats=1)], [("a", 1, 1), ("a", 1, 2)])
    assert [(r.line, r.reason) for r in twice.refused] == [(3, "'a' is there twice")]
    assert list(table(twice, tmp_path)) == ["a"]


def test_seats_may_be_left_out_where_none_are_given_and_are_asked_for_where_they_are(tmp_path: Path) -> None:
    done = run(tmp_path, grid(3), [[]], [point(0, 0, id="z")], [("a", 1, 1)])
    assert table(done, tmp_path)["a"]["status"] == "clear"
    with pytest.raises(BadFile, match=r"features\[0\].seats: it is missing"):
        run(tmp_path, grid(3), [[]], [point(0, 0, id="z", seats="")], [("a", 1, 1)], seats=True)
    with pytest.raises(BadFile, match=r"features\[0\].seats: -2 is negative"):
        run(tmp_path, grid(3), [[]], [point(0, 0, id="z", seats=-2)], [("a", 1, 1)])


def test_weights_that_do_not_sum_to_one_are_told_and_taken_as_shares(tmp_path: Path) -> None:
    told: list[str] = []
    later = [feature(box(0.2, -1, 0.8, 3), arrival_min=20)]
    done = run(
        tmp_path, grid(3), [later, []], [point(0, 0, id="z", seats=9)], [("a", 2, 1)], weights=[3.0, 1.0],
        tell=told.append,
    )  # fmt: skip
    assert any("the weights sum to 4, not 1" in line for line in told)
    assert float(table(done, tmp_path)["a"]["leave_by_probability"]) == pytest.approx(1.0)


def test_the_network_file_is_mapped_and_equal(tmp_path: Path) -> None:
    network = grid(4)
    (tmp_path / "a.roads").write_bytes(network.to_bytes())
    again = open_file(tmp_path / "a.roads")
    assert again.to_bytes() == network.to_bytes()
    assert not again.shape_lon.flags.owndata
    assert not again.shape_lon.flags.writeable
    (tmp_path / "b.geojson").write_text(json.dumps(to_geojson(network)))
    assert read_extract(tmp_path / "b.geojson").to_bytes() == network.to_bytes()


# ---------------------------------------------------------------- closing
def test_an_underpass_closes_before_the_roads_around_it_and_shallow_water_closes_it_alone() -> None:
    network = build([line((0, 0), (4, 0)), line((4, 0), (5, 0), tunnel=True), line((5, 0), (9, 0))])
    beside = Hazard(geometry=box(4.4, 0.1, 4.6, 1))  # 11 m from the underpass, on no road
    assert closures(network, beside).closed().tolist() == [False, True, False]
    # a layer below the ground is an underpass without the word, a bridge of a deeper layer is none
    below = build([line((0, 0), (4, 0)), line((4, 0), (5, 0), layer=-1), line((5, 0), (9, 0))])
    assert closures(below, beside).closed().tolist() == [False, True, False]
    above = build([line((0, 0), (4, 0)), line((4, 0), (5, 0), layer=-1, bridge=True), line((5, 0), (9, 0))])
    assert not closures(above, beside).closed().any()
    fire = Hazard(geometry=beside.geometry, peril="wildfire")
    assert not closures(network, fire).closed().any()
    shallow = PartialLayer(arrival_min=0, geometry=box(3, -1, 6, 1), only="underpass")
    assert closures(network, NO_HAZARD, partial=[shallow]).closed().tolist() == [False, True, False]


def test_depth_and_shaking_decide_what_closes(tmp_path: Path) -> None:
    path = tmp_path / "h.geojson"
    shapes = [feature(box(0, 0, 1, 1), depth_m=0.1), feature(box(0, 0, 1, 1), depth_m=0.5)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": shapes}))
    hazard, partial = read_hazard(path)
    assert [p.only for p in partial] == ["underpass"]
    assert not hazard.geometry.is_empty
    path.write_text(json.dumps(feature(box(0, 0, 1, 1), peril="quake", pga_g=0.4) | {"type": "Feature"}))
    path.write_text(json.dumps({"features": [feature(box(4, -1, 6, 1), peril="quake", pga_g=0.4)]}))
    hazard, partial = read_hazard(path)
    network = build([line((0, 0), (4.5, 0)), line((4.5, 0), (5.5, 0), bridge=True), line((5.5, 0), (9, 0))])
    assert closures(network, hazard, partial=partial).closed().tolist() == [False, True, False]


def test_fire_beside_a_flood_closes_the_bridge_that_the_water_leaves_open(tmp_path: Path) -> None:
    network = build([line((0, 0), (4.5, 0)), line((4.5, 0), (5.5, 0), bridge=True), line((5.5, 0), (9, 0))])
    water, fire = box(4.6, -1, 5.4, 1), box(4.9, -1, 5.1, 1)
    path = tmp_path / "h.geojson"

    def closing(*features: dict[str, Any]) -> list[float]:
        path.write_text(json.dumps({"features": list(features)}))
        hazard, partial = read_hazard(path)
        return closures(network, hazard, partial=partial).close_s.tolist()

    never = [np.inf] * 3
    assert closing(feature(water)) == never
    assert closing(feature(water), feature(fire, peril="fire")) == [np.inf, 0.0, np.inf]
    assert closing(feature(water), feature(fire, peril="fire", arrival_min=20)) == [np.inf, 1200.0, np.inf]
    assert closing(feature(fire, peril="fire"), feature(box(20, 20, 21, 21), peril="other")) == [np.inf, 0.0, np.inf]


def test_a_file_of_households_that_cannot_be_used_still_gives_seats_and_clearance(tmp_path: Path) -> None:
    done = run(tmp_path, grid(3), [[]], [point(0, 0, id="z", seats=1)], [("bad", 1, 1, "two")], seats=True)
    assert done.summary["counts"]["off-network"] == done.summary["households"] == 1
    assert done.summary["seats"]["people_seated"] == 0


def test_an_emergency_exit_is_open_where_an_order_opens_it(tmp_path: Path) -> None:
    network = build([
        line((0, 0), (0, 20), (9, 20), (9, 0)),
        line((0, 0), (9, 0), car=False, emergency=True, osm_id=7),
    ])  # fmt: skip
    (tmp_path / "town.roads").write_bytes(network.to_bytes())

    def travel_m(*orders: str) -> float:
        told = tmp_path / "orders.csv"
        told.write_text("way,action,by,reason\n" + "".join(f"7,{one},duty officer,order\n" for one in orders))
        overrides = read_overrides(told, network) if orders else []
        zones = SafeZones(np.array([9 * D]), np.array([10.0]))
        homes = Households(np.array([0.0]), np.array([10.0]), np.array([False]))
        plan = plan_routes(network, NO_HAZARD, zones, homes, overrides=overrides)
        return float(plan.routes[0].distance_m)

    assert opened(network, []) is network
    around = travel_m()
    assert travel_m("open") < 0.25 * around
    assert travel_m("open", "close") == around
    orders = tmp_path / "orders.csv"
    orders.write_text("way,action,by,reason\n7,open,duty officer,order\n")
    done = run(
        tmp_path, network, [[feature(box(50, 50, 51, 51))]], [point(9, 0, id="z", seats=1)],
        [("h", 0, 0, 1, "car")], overrides=orders,
    )  # fmt: skip
    assert float(table(done, tmp_path)["h"]["distance_m"]) < 0.25 * around


def test_an_operator_wins_over_the_hazard_and_a_barred_road_is_not_crossed() -> None:
    network = build([line((0, 0), (9, 0))])
    lon, lat = np.array([0.0]), np.array([10.0])
    homes = Households(lon, lat, np.array([False]))
    zones = SafeZones(np.array([9 * D]), np.array([10.0]))
    road = np.array([0], dtype=np.int32)
    wet = Hazard(geometry=box(4, -1, 5, 1))

    def status(hazard: Hazard, *overrides: Override) -> Status:
        return plan_routes(network, hazard, zones, homes, overrides=overrides).routes[0].status

    assert status(wet) is Status.CUT_OFF
    assert status(wet, Override(roads=road, opened=True, by="duty officer", reason="seen dry")) is Status.CLEAR
    assert status(NO_HAZARD, Override(roads=road, opened=False, by="duty officer", reason="")) is Status.CUT_OFF
    # who stands in the water is told to cross what is left of it, but not over a road that somebody has closed
    around = Hazard(geometry=box(-1, -1, 1, 1))
    assert status(around) is Status.THROUGH_HAZARD
    shut = Override(roads=road, opened=False, by="duty officer", reason="the bridge is gone")
    assert status(around, shut) is Status.SHELTER_IN_PLACE
    network = build([line((0, 0), (4, 0)), line((4, 0), (9, 0))])
    assert status(around) is Status.THROUGH_HAZARD
    further = Override(roads=np.array([1], dtype=np.int32), opened=False, by="duty officer", reason="")
    assert status(around, further) is Status.SHELTER_IN_PLACE
    assert status(around, shut) is Status.SHELTER_IN_PLACE
    network = build([line((0, 0), (4, 0)), line((4, 0), (7, 0)), line((7, 0), (9, 0))])
    assert status(around, further) is Status.SHELTER_IN_PLACE


def test_private_ways_are_left_and_never_entered_and_motorways_have_no_doors() -> None:
    private = line((0, 0), (3, 0), private=True)
    network = build([line((0, 0), (0, 3), (3, 3), (3, 0)), private, line((0, -3), (0, 0)), line((3, 0), (6, 0)),
                     line((2, 4.2), (2, 9), kind="motorway", foot=False)])  # fmt: skip

    def route(x: float, y: float) -> Any:
        homes = Households(np.array([x * D]), np.array([10 + y * D]), np.array([False]))
        zones = SafeZones(np.array([6 * D]), np.array([10.0]))
        return plan_routes(network, NO_HAZARD, zones, homes, margins=Margins(max_detour_m=0)).routes[0]

    assert route(0, -2).distance_m == pytest.approx(14 * D * 110_300, rel=0.01)  # round the private road
    assert route(1, 0.1).distance_m == pytest.approx(5.1 * D * 110_000, rel=0.02)  # out of it
    assert route(2, 4.3).distance_m < 14 * D * 110_600  # next to the motorway: on the street below


# ---------------------------------------------------------------- islands of the network
def _islands() -> RoadNetwork:
    """A town of 6 by 6 streets, a path beside it that joins nothing, and one far away."""
    streets = [line(*[(x, y) for x in range(6)]) for y in range(6)] + [
        line(*[(x, y) for y in range(6)]) for x in range(6)
    ]
    return build([*streets, line((8, 0), (8, 1)), line((40, 0), (40, 1))])


@pytest.mark.parametrize("on_foot", [True, False])
def test_a_house_starts_on_the_nearest_road_that_leads_on_and_an_islander_is_told_so(on_foot: bool) -> None:
    network = _islands()
    x = np.array([6.6, 5.9, 8.0, 40.0, 9.7])  # between, near both, on the island, on the far one, beyond the island
    homes = Households(x * D, np.full(5, 10 + 0.5 * D), np.full(5, on_foot))
    zones = SafeZones(np.array([0.0]), np.array([10.0]))
    plan = plan_routes(network, Hazard(geometry=box(0.1, 90, 0.2, 91)), zones, homes)
    status = [r.status for r in plan.routes]
    assert status == [Status.CLEAR, Status.CLEAR, Status.CUT_OFF, Status.CUT_OFF, Status.CLEAR]
    assert plan.routes[2].reason == plan.routes[3].reason
    assert "island of the network" in plan.routes[2].reason
    assert plan.doors.distance_m[4, 0] == pytest.approx(4.7 * D * 109_640, rel=0.01)  # past the island, to the town
    assert plan.doors.road[2, 0] == network.n_roads - 2
    small = plan_routes(network, NO_HAZARD, zones, homes, margins=Margins(max_snap_m=200.0)).routes
    assert [r.status for r in small][4] is Status.CUT_OFF  # the town is too far: the island's road is all there is
    assert "island of the network" in small[4].reason


def test_a_safe_zone_on_an_island_takes_its_islanders_and_one_beside_it_is_joined_to_the_town() -> None:
    homes = Households(np.array([1.0, 8.0]) * D, np.full(2, 10 + 0.5 * D), np.zeros(2, dtype=bool))

    def status(zone_x: float) -> list[Status]:
        zones = SafeZones(np.array([zone_x * D]), np.array([10 + 0.8 * D]))
        return [r.status for r in plan_routes(_islands(), NO_HAZARD, zones, homes).routes]

    assert status(8.0) == [Status.CUT_OFF, Status.CLEAR]
    assert status(6.3) == [Status.CLEAR, Status.CUT_OFF]
    assert status(9.6) == [Status.CLEAR, Status.CLEAR]  # at no road: by the town's and by the island's


# ---------------------------------------------------------------- properties of plans
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_larger_or_earlier_hazard_never_shortens_a_route_nor_delays_its_leave_by(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = grid(7)
    homes = Households(rng.uniform(0, 6, 25) * D, 10 + rng.uniform(0, 6, 25) * D, rng.random(25) < 0.3)
    zones = SafeZones(np.array([0.0, 6 * D]), np.array([10.0, 10 + 6 * D]))
    x, y = rng.uniform(1.2, 4.8, 2)
    minutes = np.sort(rng.uniform(1, 12, 3))

    def hazard(grown: float, sooner: float) -> Hazard:
        layers = [box(x - r - grown, y - r - grown, x + r + grown, y + r + grown) for r in (0.1, 0.6, 0.9)]
        later = [
            ArrivalZone(arrival_min=float(m) * sooner, geometry=g)
            for m, g in zip(minutes, layers[1:] + layers[2:], strict=False)
        ]
        return Hazard(geometry=layers[0], zones=tuple(later))

    careful = Margins(notice_s=0.0)
    small = plan_routes(network, hazard(0.0, 1.0), zones, homes, margins=careful)
    large = plan_routes(network, hazard(0.25, 0.8), zones, homes, margins=careful)
    for a, b in zip(small.routes, large.routes, strict=True):
        if a.status is b.status is Status.CLEAR:
            assert b.travel_s >= a.travel_s - 1e-6
            assert b.last_way_out_s <= a.last_way_out_s + 1e-6
        if a.status is Status.CLEAR:
            assert a.leave_by_s >= 0
            assert a.last_way_out_s >= a.leave_by_s - 1e-6
            assert a.points is not None
            assert not shapely.LineString(a.points).intersects(hazard(0.0, 1.0).geometry)
    assert sum(small.counts().values()) == 25


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_household_has_one_status_and_no_line_of_the_clear_meets_a_closed_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = grid(6)
    n = 30
    homes = Households(rng.uniform(-0.5, 8, n) * D, 10 + rng.uniform(0, 5, n) * D, rng.random(n) < 0.4)
    zones = SafeZones(np.array([0.0, 5 * D]), np.array([10.0, 10 + 5 * D]))
    x, y = rng.uniform(0.5, 4.0, 2).tolist()
    r = float(rng.uniform(0.2, 1.6))
    hazard = Hazard(
        geometry=box(x, y, x + r, y + r),
        zones=(
            ArrivalZone(arrival_min=float(rng.uniform(1, 9)), geometry=box(x - 0.4, y - 0.4, x + r + 1, y + r + 1)),
        ),
    )
    plan = plan_routes(network, hazard, zones, homes, margins=Margins(notice_s=0.0, max_snap_m=300.0))
    closed = plan.closures.closed(0.0)
    assert len(plan.routes) == n == sum(plan.counts().values())
    for i, route in enumerate(plan.routes):
        assert (route.points is not None) == (route.status in (Status.CLEAR, Status.THROUGH_HAZARD))
        if route.status is not Status.CLEAR:
            assert route.reason
            continue
        assert 0.0 <= route.leave_by_s <= route.last_way_out_s + 1e-6
        assert route.points is not None
        # between the roads at both ends, which may be used in the part that is dry, no closed road is driven
        graph = plan.trees[plan.columns.tree[i]].graph
        assert not closed[graph.edge_road[list(route.edges[1:-1])]].any()
        assert not shapely.LineString(route.points).intersects(hazard.geometry)


def test_a_household_stands_in_exactly_one_status_under_an_ensemble() -> None:
    homes = Households(np.linspace(0, 5, 30) * D, np.full(30, 10 + 1.5 * D), np.zeros(30, dtype=bool))
    zones = SafeZones(np.array([0.0]), np.array([10.0]))
    members = [Forecast(hazard=Hazard(geometry=box(x, -1, x + 0.5, 9)), weight=w) for x, w in ((2.2, 0.3), (3.2, 0.7))]
    plan = plan_routes(grid(6), members, zones, homes)
    assert sum(plan.counts().values()) == 30
    assert plan.counts()["clear"] > 5


# ---------------------------------------------------------------- seats
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_seats_equal_brute_force_where_households_are_single(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    cost = rng.integers(1, 50, (n, m)).astype(float)
    cost[rng.random((n, m)) < 0.2] = np.inf
    seats = rng.integers(0, 3, m)
    flow = min_cost_flow(cost, np.ones(n, dtype=np.int64), seats)
    best = (-1, 0.0)
    for choice in itertools.product(range(-1, m), repeat=n):
        taken = [c for c in choice if c >= 0]
        if any(taken.count(z) > seats[z] for z in range(m)):
            continue
        total = sum(cost[i, z] for i, z in enumerate(choice) if z >= 0)
        if np.isfinite(total) and (len(taken), -total) > best:
            best = (len(taken), -total)
    assert (flow.n_seated, -flow.cost_s) == best
    zone = whole_households(cost, np.ones(n, dtype=np.int64), seats, np.arange(n), flow)
    assert (zone >= 0).sum() == best[0]
    assert sum(cost[i, z] for i, z in enumerate(zone) if z >= 0) == pytest.approx(-best[1])


def test_households_stay_together_and_near_the_fractional_bound() -> None:
    rng = np.random.default_rng(3)
    n, m = 2000, 12
    place, centre = rng.uniform(0, 1, (n, 2)), rng.uniform(0, 1, (m, 2))
    cost = 60 + 900 * np.hypot(*(place[:, None, :] - centre[None, :, :]).transpose(2, 0, 1))
    people = rng.integers(1, 6, n)
    share = rng.dirichlet(np.ones(m))
    seats = np.ceil(share * people.sum() * 1.05).astype(np.int64)
    flow = min_cost_flow(cost, people, seats)
    zone = whole_households(cost, people, seats, np.arange(n), flow)
    used = np.bincount(zone[zone >= 0], weights=people[zone >= 0], minlength=m)
    assert (used <= seats).all()
    assert people[zone >= 0].sum() == flow.n_seated == people.sum()
    assert (cost[np.arange(n), zone] * people).sum() <= 1.01 * flow.cost_s


def test_seats_are_given_out_accessible_ones_apart_and_the_rest_is_listed(tmp_path: Path) -> None:
    zones = [point(0, 0, id="near", seats=3, accessible_seats=1), point(5, 5, id="far", seats=2)]
    homes = [("a", 1, 0, 2, "car"), ("b", 2, 0, 2, "car"), ("w", 1, 1, 1, "car", "wheelchair"),
             ("v", 1, 2, 1, "car", "wheelchair"), ("c", 3, 0, 1, "foot")]  # fmt: skip
    done = run(tmp_path, grid(6), [[]], zones, homes, seats=True)
    rows = table(done, tmp_path)
    assert {rows["a"]["safe_zone"], rows["b"]["safe_zone"]} == {"near", "far"}
    assert [rows["w"]["safe_zone"], rows["v"]["status"], rows["c"]["status"]] == ["near", "no-seat", "no-seat"]
    assert done.summary["seats"]["people_without"] == 2
    assert done.summary["seats"]["used_accessible"] == {"near": 1, "far": 0}
    assert done.summary["counts"]["no-seat"] == 2
    with pytest.raises(InvalidInput, match=r"margins\.travel"):
        Margins(travel=0.5)


# ---------------------------------------------------------------- real extracts
def test_a_real_extract_has_turn_bans_bridges_and_its_date(shared_data: Path) -> None:
    network = read_extract(shared_data / "evac" / "liechtenstein" / "liechtenstein.osm.pbf")
    assert network.about["extract_date"] == "2015-07-27"
    assert network.road_bridge.sum() > 100
    assert len(network.barrier_start) > 5
    assert network.about["n_turn_rules_used"] == 2
    paradise = read_extract(shared_data / "evac" / "paradise_camp_fire" / "camp_road_graph_8000.graphml")
    assert (paradise.n_nodes, paradise.n_edges) == (2483, 5520)
