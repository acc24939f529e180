"""Queues and equilibrium against plain twins and hand-made answers."""

import heapq

import numpy as np
import pytest
import shapely

from core.errors import InvalidInput
from geo._traffic import point_queue
from geo.clearance import clearance
from geo.evacuation import Households, Margins, Plan, SafeZones
from geo.hazard import Hazard
from geo.network import Road, build
from geo.routing import plan_routes
from geo.spread import Spread, spread_out
from geo.traffic import Demand, capacity_per_h, departures, equilibrium, outward, planned_ways, simulate, who_drives

D = 0.001


def twin(
    ways: list[list[int]], departs: np.ndarray, vehicles: float, seconds: np.ndarray, per_s: np.ndarray,
    close: np.ndarray,
) -> tuple[list[float], list[bool]]:  # fmt: skip
    """The queues with plain lists and heapq: whole edges. Also who leaves an edge that has closed, the first aside."""
    free = [0.0] * len(seconds)
    heap = [(departs[i] + seconds[w[0]], i, 0) for i, w in enumerate(ways)]
    heapq.heapify(heap)
    arrival, late = [0.0] * len(ways), [False] * len(ways)
    while heap:
        now, i, k = heapq.heappop(heap)
        if k == len(ways[i]) - 1:
            arrival[i] = now
            continue
        e = ways[i][k]
        out = max(now, free[e])
        free[e] = out + vehicles / per_s[e]
        late[i] = late[i] or (k > 0 and out > close[e])
        heapq.heappush(heap, (out + seconds[ways[i][k + 1]], i, k + 1))
    return arrival, late


def test_the_queues_equal_their_plain_twin() -> None:
    rng = np.random.default_rng(2)
    ways = [rng.choice(12, int(rng.integers(1, 8)), replace=False).tolist() for _ in range(300)]
    seconds, per_s, departs = rng.uniform(5, 60, 12), rng.uniform(0.05, 0.5, 12), rng.uniform(0, 600, 300)
    start = np.concatenate([[0], np.cumsum([len(w) for w in ways])]).astype(np.int64)
    one = np.ones(300)
    close = np.where(rng.random(12) < 0.5, np.inf, rng.uniform(500, 3000, 12))
    flat = np.concatenate(ways).astype(np.int32)
    found, overtaken = point_queue(flat, start, one, one, departs, 1.3 * one, seconds, per_s, close)
    expected, late = twin(ways, departs, 1.3, seconds, per_s, close)
    assert found == pytest.approx(expected)
    assert overtaken.tolist() == late
    assert 0 < sum(late) < 300


def test_a_bottleneck_lets_out_what_its_capacity_says() -> None:
    n = 500
    start = np.arange(n + 1, dtype=np.int64) * 2
    edges = np.tile(np.array([0, 1], dtype=np.int32), n)
    one = np.ones(n)
    never = np.full(2, np.inf)
    found, overtaken = point_queue(
        edges, start, one, one, np.zeros(n), one, np.array([60.0, 10.0]), np.array([0.25, 9.0]), never
    )
    assert not overtaken.any()
    assert found.max() == pytest.approx(60 + (n - 1) / 0.25 + 10)  # the last waits for all before it
    assert np.sort(found)[0] == pytest.approx(70)


def test_departures_follow_the_rayleigh_curve() -> None:
    times = departures(10_000, Demand(mobilisation_min=60))
    assert (times <= 3600).mean() == pytest.approx(0.9, abs=1e-3)
    assert np.median(times) == pytest.approx(3600 * np.sqrt(np.log(2) / np.log(10)), rel=1e-3)
    with pytest.raises(InvalidInput, match="shadow_share"):
        Demand(shadow_share=1.5)


def test_equilibrium_uses_both_of_two_roads_and_is_sooner_than_nearest_and_fastest() -> None:
    def road(*points: tuple[float, float], capacity: float = 5000.0) -> Road:
        return Road(points=[(x * D, 10 + y * D) for x, y in points], speed_kmh=36, capacity_per_h=capacity)

    network = build(
        [
            road((0, 0), (2, 0)),
            road((2, 0), (9, 0), capacity=300),
            road((2, 0), (2, 1), (9, 1), (9, 0), capacity=300),
            road((9, 0), (12, 0)),
        ]
    )
    n = 600
    homes = Households(np.linspace(0.1, 1.9, n) * D, np.full(n, 10.0), np.zeros(n, dtype=bool))
    zones = SafeZones(np.array([11 * D]), np.array([10.0]))
    plan = plan_routes(network, Hazard(geometry=shapely.MultiPolygon()), zones, homes, margins=Margins(notice_s=0.0))
    demand = Demand(vehicles=1.0, mobilisation_min=10)
    rows = np.arange(n)
    ways, gap = equilibrium(plan, rows, demand)
    detour = plan.trees[0].graph.edge_of[2 * 2]
    long = sum(detour in ways.edges[ways.start[i] : ways.start[i + 1]] for i in range(n))
    assert 0.4 * n < long <= 0.5 * n  # the same capacity, a little longer: BPR gives it a little less
    assert gap < 0.02
    trees = plan.trees[0]
    alone = simulate(trees, planned_ways(plan, rows), demand)
    spread = simulate(trees, ways, demand)
    assert alone.at(1.0) > 1.7 * spread.at(1.0)  # type: ignore[operator]
    told = clearance(spreaded(plan, demand), plan)
    assert told["times_sooner_at_100_percent"] > 1.7
    assert told["band"]["capacity_80_percent"]["t100_min"] > told["spread"]["t100_min"]
    half = clearance(spreaded(plan, Demand(shadow_share=0.5)), plan)
    assert half["households_driving"] == pytest.approx(n / 2, abs=2)


def spreaded(plan: Plan, demand: Demand, longer_share: float = 1.0) -> Spread:
    nobody = np.zeros(len(plan.households.lon), dtype=bool)
    return spread_out(plan, who_drives(plan, nobody, demand), demand, longer_share)


def test_contraflow_is_a_scenario_that_moves_lanes_outwards() -> None:
    def road(*points: tuple[float, float], capacity: float = 5000.0, osm_id: int = 0) -> Road:
        return Road(
            points=[(x * D, 10 + y * D) for x, y in points], speed_kmh=36, capacity_per_h=capacity, osm_id=osm_id
        )

    network = build([road((0, 0), (2, 0)), road((9, 0), (2, 0), capacity=300, osm_id=7), road((9, 0), (12, 0))])
    n = 300
    homes = Households(np.linspace(0.1, 1.9, n) * D, np.full(n, 10.0), np.zeros(n, dtype=bool))
    zones = SafeZones(np.array([11 * D]), np.array([10.0]))
    plan = plan_routes(network, Hazard(geometry=shapely.MultiPolygon()), zones, homes, margins=Margins(notice_s=0.0))
    demand = Demand(vehicles=1.0, mobilisation_min=1)
    told = clearance(spreaded(plan, demand), plan, np.array([1], dtype=np.int32))
    # one road out of 300 an hour takes an hour; with nine tenths of the other direction's lanes 60 / 1.9 min
    assert told["spread"]["t100_min"] == pytest.approx(60, rel=0.05)
    assert told["contraflow"]["t100_min"] == pytest.approx(60 / 1.9, rel=0.1)
    graph = plan.trees[0].graph
    turned = Demand(contraflow=(3,))  # the road runs from the safe zone to the homes: outwards is against its shape
    assert capacity_per_h(graph, turned)[graph.edge_of[3]] == pytest.approx(570)
    assert capacity_per_h(graph, turned)[graph.edge_of[2]] == pytest.approx(30)
    assert outward(plan.trees[0], planned_ways(plan, np.arange(n)), np.array([1], dtype=np.int32)) == (3,)
