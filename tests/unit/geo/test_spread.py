"""Ways changed for the sake of clearance: what is simulated is what households are told, and it keeps every promise."""

import csv
import heapq
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from geo._spreading import move_some
from geo.closing import closures
from geo.evacuate import Done, Job, evacuate, read_hazard, write
from geo.evacuation import Margins
from geo.network import WALKING_M_S, Road, RoadNetwork, build, open_file
from geo.sweep import Graph
from geo.traffic import Demand, departures

D = 0.001
N = 160


def town(rng: np.random.Generator) -> RoadNetwork:
    """A grid of narrow streets, some of them one-way, so that the nearest safe zones' roads are crowded."""
    roads = []
    for k in range(7):
        for points in ([(x, k) for x in range(7)], [(k, y) for y in range(7)]):
            for a, b in pairwise(points):
                roads.append(
                    Road(
                        points=[(x * D, 10 + y * D) for x, y in (a, b)], speed_kmh=float(rng.integers(20, 60)),
                        capacity_per_h=float(rng.choice([60, 120, 240])), oneway=bool(rng.random() < 0.05),
                    )
                )  # fmt: skip
    return build(roads)


def ring(x: float, y: float, r: float) -> dict[str, Any]:
    shape: dict[str, Any] = json.loads(
        shapely.to_geojson(shapely.box((x - r) * D, 10 + (y - r) * D, (x + r) * D, 10 + (y + r) * D))
    )
    return shape


def world(folder: Path, seed: int, **more: Any) -> Job:
    """Files of a town whose middle floods, and of people who are to leave it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    (folder / "town.roads").write_bytes(town(rng).to_bytes())
    x, y = rng.uniform(2, 4, 2).tolist()
    features = [
        {"type": "Feature", "properties": {"arrival_min": m}, "geometry": ring(x, y, r)}
        for m, r in ((0, 0.3), (9, 0.7), (25, 1.2))
    ]
    zones = [
        {"type": "Feature", "properties": {"id": name, "seats": 400},
         "geometry": {"type": "Point", "coordinates": [zx * D, 10 + zy * D]}}
        for name, zx, zy in (("sw", 0.2, 0), ("ne", 6, 5.7), ("se", 5.6, 0))
    ]  # fmt: skip
    for name, some in (("h", features), ("z", zones)):
        (folder / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": some}))
    at = rng.uniform(0.2, 5.8, (N, 2))
    rows = [f"h{k},{lon * D},{10 + lat * D},{rng.integers(1, 5)},car" for k, (lon, lat) in enumerate(at)]
    (folder / "h.csv").write_text("\n".join(["id,lon,lat,people,mode", *rows]) + "\n")
    given = {
        "roads": folder / "town.roads", "hazards": [folder / "h.geojson"], "weights": [],
        "safe_zones": folder / "z.geojson", "households": folder / "h.csv", "mode": None, "seats": False,
        "overrides": None, "margins": Margins(notice_s=0.0), "demand": Demand(mobilisation_min=10),
        "longer_share": 0.1,
    }  # fmt: skip
    return Job(**{**given, **more})


def told(job: Job, folder: Path) -> tuple[Done, dict[str, dict[str, str]], dict[str, Any], dict[str, Any]]:
    """(what was made, households.csv by id, routes.geojson by id, plan.json)."""
    done = evacuate(job)
    write(done, folder, routes=True)
    with (folder / "households.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    lines = {f["properties"]["id"]: f for f in json.loads((folder / "routes.geojson").read_text())["features"]}
    return done, rows, lines, json.loads((folder / "plan.json").read_text())


def simulated(network: RoadNetwork, rows: dict[str, Any], lines: dict[str, Any], demand: Demand) -> list[float]:
    """When everybody arrives, from the files and the network alone, with plain lists."""
    who = [key for key in rows if key in lines]
    free: dict[int, float] = {}
    heap, ways = [], []
    for i, (key, leaves) in enumerate(zip(who, departures(len(who), demand), strict=True)):
        given = lines[key]["properties"]
        ways.append((given["roads"], given["last_share"]))
        seconds = network.road_length_m[given["roads"][0] >> 1] / network.road_speed_m_s[given["roads"][0] >> 1]
        heap.append((leaves + seconds * given["first_share"], i, 0))
    heapq.heapify(heap)
    arrival = []
    while heap:
        now, i, k = heapq.heappop(heap)
        roads, last = ways[i]
        if k == len(roads) - 1:
            arrival.append(now)
            continue
        out = max(now, free.get(roads[k], 0.0))
        free[roads[k]] = out + demand.vehicles / network.road_capacity_per_h[roads[k] >> 1] * 3600.0
        road = roads[k + 1] >> 1
        share = last if k + 1 == len(roads) - 1 else 1.0
        heapq.heappush(heap, (out + share * network.road_length_m[road] / network.road_speed_m_s[road], i, k + 1))
    return sorted(arrival)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), seats=st.booleans())
def test_what_is_simulated_is_what_the_files_say(tmp_path_factory: Any, seed: int, seats: bool) -> None:
    folder = tmp_path_factory.mktemp("w")
    job = world(folder, seed, seats=seats)
    plain, *_ = told(world(folder, seed, seats=seats, demand=None), folder / "plain")
    done, rows, lines, plan = told(job, folder / "spread")
    network, graph, c, before = open_file(job.roads), done.plan.trees[0].graph, done.plan.columns, plain.plan.columns
    # 1. the clearance that is told is that of the ways that are told
    assert job.demand is not None
    arrival = simulated(network, rows, lines, job.demand)
    clear = plan["clearance"]["spread"]
    assert plan["clearance"]["households_driving"] == len(arrival)
    for share, name in ((0.9, "t90_min"), (1.0, "t100_min")):
        assert clear[name] == pytest.approx(arrival[int(np.ceil(share * len(arrival))) - 1] / 60.0, abs=0.051)
    # 2. times, metres and lines belong to the roads, and no clear line meets the water
    hazard, _ = read_hazard(job.hazards[0])
    closed = closures(network, hazard)
    n_other = 0
    for i, key in enumerate(rows):
        row = rows[key]
        if row["status"] != "clear":
            continue
        given = lines[key]["properties"]
        codes = np.array(given["roads"])
        length = network.road_length_m[codes >> 1]
        seconds = length / network.road_speed_m_s[codes >> 1]
        share = np.ones(len(codes))
        share[-1] = given["last_share"]
        share[0] = given["first_share"] if len(codes) > 1 else given["last_share"] - 1 + given["first_share"]
        walk_m = done.plan.doors.distance_m[i, c.candidate[i]] + done.plan.trees[0].sources.access_m[c.source[i]]
        late_start = done.plan.margins.change_road_s if c.candidate[i] else 0.0
        total = (share * seconds).sum() + walk_m / WALKING_M_S + late_start
        assert float(row["travel_s"]) == pytest.approx(total, abs=0.051)
        assert float(row["distance_m"]) == pytest.approx((share * length).sum() + walk_m, abs=0.051)
        line = shapely.LineString(lines[key]["geometry"]["coordinates"])
        assert not line.intersects(hazard.geometry)
        assert not closed.closed()[codes[1:-1] >> 1].any()
        drawn = np.asarray(line.coords)
        steps = np.diff(np.column_stack(network.plane.forward(drawn[:, 0], drawn[:, 1])), axis=0)
        assert np.hypot(*steps.T).sum() == pytest.approx(float(row["distance_m"]), rel=0.005, abs=1.0)
        # 3. the leave-by of the way that is told is the last moment at which it can be driven to its end
        by = float(row["route_leave_by_s"]) if row["route_leave_by_s"] else np.inf
        assert by >= 0.0
        if by < np.inf:
            assert arrives(done, graph, i, by - 1e-6)
            assert not arrives(done, graph, i, by + 0.11)
        else:
            assert arrives(done, graph, i, 1e7)
        if row["leave_by_s"]:
            assert by <= float(row["leave_by_s"]) + 1e-6
        n_other += "so that all are out sooner" in row["reason"]
    # 4. nobody leaves sooner for it, nothing else changes, and the ways are within what they may become longer
    assert n_other == clear["households_on_another_way"]
    if not seats:
        assert (c.status == before.status).all()
        assert (c.leave_by_s >= before.leave_by_s).all()
        assert (c.last_way_out_s == before.last_way_out_s).all()
        moved = np.array(["so that all" in reason for reason in c.reason])
        assert (c.travel_s[~moved] == before.travel_s[~moved])[np.isfinite(c.travel_s[~moved])].all()
    assert np.nanmean(c.travel_s) <= 1.1 * np.nanmean(before.travel_s) + 1e-6
    assert clear["mean_travel_s"] == pytest.approx(plan["travel_s"]["mean"], abs=0.051)
    if seats:
        assert plan["seats"]["person_s"] <= 1.1 * plan["seats"]["bound_person_s"] + 1e-6


def arrives(done: Done, graph: Graph, i: int, leave_s: float) -> bool:
    """Whether the told way of household i can be driven to its end when begun then: step by step."""
    plan, c = done.plan, done.plan.columns
    trees = plan.trees[c.tree[i]]
    now = leave_s + float(c.begin_s[i])
    if leave_s > plan.reached_s[i] or now > c.begin_close_s[i]:
        return False
    if c.direct[i]:
        return bool(leave_s + c.travel_s[i] <= trees.sources.close_s[c.source[i]])
    way = plan.ways(np.array([i]))[0]
    for e in way[1:-1]:
        now += float(graph.seconds[e])
        if now > trees.close_s[e]:
            return False
    return bool(now + trees.source_s[c.source[i]] <= trees.sources.close_s[c.source[i]])


def test_a_crowded_town_is_out_sooner_and_twice_the_same_way(tmp_path: Path) -> None:
    job = world(tmp_path, 3)
    _, _, _, plan = told(job, tmp_path / "one")
    told(job, tmp_path / "two")
    for name in ("households.csv", "routes.geojson", "plan.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert plan["clearance"]["times_sooner_at_100_percent"] > 1.3
    assert plan["clearance"]["spread"]["households_on_another_way"] > 10
    assert plan["clearance"]["spread"]["longer_share_allowed"] == 0.1
    free = told(world(tmp_path, 3, longer_share=0.0), tmp_path / "none")[3]["clearance"]
    assert free["spread"]["households_on_another_way"] == 0
    assert free["times_sooner_at_100_percent"] == 1.0
    with pytest.raises(InvalidInput, match="longer_share: 2 is not within"):
        told(world(tmp_path, 3, longer_share=2.0), tmp_path / "bad")


def test_a_town_without_queues_keeps_its_fastest_ways(tmp_path: Path) -> None:
    demand = Demand(mobilisation_min=2000)
    plain, *_ = told(world(tmp_path, 4, demand=None), tmp_path / "plain")
    done, _, _, plan = told(world(tmp_path, 4, demand=demand), tmp_path / "spread")
    assert plan["clearance"]["spread"]["households_on_another_way"] == 0
    assert np.array_equal(done.plan.columns.travel_s, plain.plan.columns.travel_s, equal_nan=True)
    assert (tmp_path / "plain" / "households.csv").read_bytes() == (tmp_path / "spread" / "households.csv").read_bytes()


def moves(longer: list[float], budget: float, most: list[float], back: bool = False) -> list[bool]:
    """Three ways over edge 0, each with one of its own (1, 2, 3) to go over to."""
    old, new = np.array([4, 0, 5] * 3, dtype=np.int32), np.array([4, 1, 5, 4, 2, 5, 4, 3, 5], dtype=np.int32)
    start = np.array([0, 3, 6, 9])
    queued = np.array([3, 0, 0, 0, 3, 0])
    moved: list[bool] = move_some(
        np.argsort(longer, kind="stable"), old, start, new, start, np.array(longer), np.ones((3, 1)),
        np.array([budget]), queued, np.array(most), back,
    ).tolist()  # fmt: skip
    return moved


def test_those_go_first_whom_it_costs_least_and_only_while_there_are_too_many() -> None:
    wide = [9.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    assert moves([5, 2, 9], 99, wide) == [False, False, False]
    assert moves([5, 2, 9], 99, [1.0, *wide[1:]]) == [True, True, False]
    assert moves([5, 2, 9], 6, [1.0, *wide[1:]]) == [False, True, False]  # 2 are spent, and 4 are not enough for 5
    assert moves([5, 2, 9], 99, [1.0, 9.0, 0.0, 9.0, 9.0, 9.0]) == [True, False, True]  # no room on the second's
    assert moves([5, 2, 9], 99, [9.0] * 6, back=True) == [True, True, True]
    # an edge that both ways use is no reason to go, however many queue there
    assert moves([5, 2, 9], 99, [9.0, 9.0, 9.0, 9.0, 1.0, 9.0]) == [False, False, False]
