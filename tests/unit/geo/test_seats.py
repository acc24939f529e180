"""Seats against linear programming, and what people do who find a safe zone full against a plain twin."""

import heapq

import numpy as np
import pytest
import shapely
from scipy.optimize import linprog

from geo import seats as seating
from geo.drive_on import drive_on
from geo.evacuation import Households, Margins, Plan, SafeZones, Seats
from geo.hazard import Hazard
from geo.network import Road, build
from geo.planner import Planner
from geo.routing import plan_routes
from geo.seats import entrance_per_h, less_crowded, min_cost_flow, whole_households
from geo.traffic import Demand, departures

D = 0.001
DRY = Hazard(geometry=shapely.MultiPolygon())


def least(cost_s: np.ndarray, people: np.ndarray, seats: np.ndarray) -> tuple[int, float]:
    """(most people seated, their least total time) by linear programming (HiGHS)."""
    n, m = cost_s.shape
    ok = np.isfinite(cost_s).ravel() & np.tile(seats > 0, n)
    of_group = np.kron(np.eye(n), np.ones(m))
    of_zone = np.kron(np.ones(n), np.eye(m))
    limits = {"A_ub": np.vstack([of_group, of_zone]), "b_ub": np.concatenate([people, seats])}
    bounds = [(0, None) if one else (0, 0) for one in ok]
    most = linprog(-np.ones(n * m), **limits, bounds=bounds).fun
    price = np.where(ok, np.round(np.where(np.isfinite(cost_s), cost_s, 0.0), 1).ravel(), 0.0)
    found = linprog(price, **limits, A_eq=np.ones((1, n * m)), b_eq=[-most], bounds=bounds)
    return round(-most), float(found.fun)


@pytest.mark.parametrize("seed", range(8))
def test_a_flow_over_the_nearest_safe_zones_is_an_optimum_over_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = 30, 14
    cost = np.round(rng.uniform(60, 3000, (n, m)), 1)
    cost[:, :3] = np.round(
        cost[:, :3] / 20, 1
    )  # three that everybody is near to and few fit into: most go beyond their nearest six
    cost[rng.random((n, m)) < 0.15] = np.inf
    people = rng.integers(1, 30, n).astype(np.int64)
    seats = rng.integers(0, 30, m).astype(np.int64)
    seats[3:9] //= 6
    seats = (seats * rng.uniform(0.6, 1.6) * people.sum() / seats.sum()).astype(np.int64)
    flow = min_cost_flow(cost, people, seats)
    n_seated, total = least(cost, people, seats)
    assert flow.n_seated == n_seated
    assert flow.cost_s == pytest.approx(total, abs=0.5)
    assert (flow.people.sum(axis=0) <= seats).all()
    assert (flow.people.sum(axis=1) <= people).all()


def test_pairs_that_were_left_out_are_found_missing() -> None:
    """One group, its six nearest safe zones full: without pricing the pairs left out it would stay outside."""
    cost = np.array([[10.0, 20, 30, 40, 50, 60, 70, 80]])
    seats = np.array([0, 1, 1, 1, 1, 1, 0, 5], dtype=np.int64)
    people = np.array([8], dtype=np.int64)
    nearest_six = np.argsort(np.where(seats > 0, cost, np.inf), axis=1)[:, : seating._NEAREST]
    assert 7 in nearest_six
    flow = min_cost_flow(np.hstack([cost[:, :7], [[75.0, 76.0, 80.0]]]), people, np.append(seats[:7], [1, 1, 5]))
    assert flow.n_seated == 8
    assert flow.people[0].tolist() == [0, 1, 1, 1, 1, 1, 0, 1, 1, 1]


def test_those_the_hazard_reaches_are_seated_first() -> None:
    cost = np.array([[10.0], [500.0]])
    flow = min_cost_flow(cost, np.array([3, 3]), np.array([4]), np.array([False, True]))
    assert flow.people.ravel().tolist() == [1, 3]


def test_a_threatened_household_whose_place_is_split_goes_before_others() -> None:
    """The flow gives its two people a seat in each of two safe zones: whole, it must still come before the unthreatened."""
    cost, people = np.array([[100.0, 200.0], [150.0, 160.0], [90.0, 95.0]]), np.array([2, 3, 4])
    seats, first = np.array([5, 3]), np.array([True, False, False])
    flow = min_cost_flow(cost, people, seats, first)
    split = flow._replace(people=np.array([[1, 1], [0, 2], [4, 0]]))
    for given in (flow, split):
        zone = whole_households(cost, people, seats, np.arange(3), given, first)
        assert zone[0] >= 0
        taken = np.bincount(zone[zone >= 0], weights=people[zone >= 0], minlength=2)
        assert (taken <= seats).all()
    assert whole_households(cost, people, seats, np.arange(3), split)[0] < 0  # what a place of no rank would do


def test_households_are_kept_together_and_nobody_sits_twice() -> None:
    rng = np.random.default_rng(3)
    n, m = 400, 9
    cost, people = rng.uniform(60, 3000, (n, m)), rng.integers(1, 7, n).astype(np.int64)
    seats = np.full(m, people.sum() // m + 3, dtype=np.int64)
    group = rng.integers(0, 40, n)
    total = np.bincount(group, weights=people, minlength=40).astype(np.int64)
    mean = np.zeros((40, m))
    np.add.at(mean, group, cost * people[:, None])
    flow = min_cost_flow(mean / total[:, None], total, seats)
    zone = whole_households(cost, people, seats, group, flow)
    taken = np.bincount(zone[zone >= 0], weights=people[zone >= 0], minlength=m)
    assert (taken <= seats).all()
    assert people[zone >= 0].sum() >= flow.n_seated - 3  # the last seats may be too few for a whole household


def test_less_crowded_gives_up_no_more_travel_than_it_may() -> None:
    # two safe zones at the same distance for half the people; the nearer one of the others has a narrow entrance
    cost = np.array([[100.0, 101.0]] * 20)
    people = np.full(20, 10, dtype=np.int64)
    seats, per_h = np.array([200, 200]), np.array([10.0, 100.0])
    first, allowed = np.zeros(20, dtype=bool), np.ones((20, 2), dtype=bool)
    flow = min_cost_flow(cost, people, seats)
    assert flow.people.sum(axis=0).tolist() == [200, 0]  # 20 hours
    limit = less_crowded(cost, people, seats, first, allowed, flow, per_h, 0.02)
    cut = min_cost_flow(cost, people, limit)
    assert cut.n_seated == 200
    assert cut.cost_s <= 1.02 * flow.cost_s
    assert (cut.people.sum(axis=0) / per_h).max() < 2.1  # the least is 200 / 110
    kept = less_crowded(cost, people, seats, first, allowed, flow, per_h, 0.0005)
    assert min_cost_flow(cost, people, kept).cost_s <= 1.0005 * flow.cost_s


def road(*points: tuple[float, float], capacity: float = 600.0) -> Road:
    return Road(points=[(x * D, 10 + y * D) for x, y in points], speed_kmh=36, capacity_per_h=capacity)


def planned(roads: list[Road], homes: list[tuple[float, float]], zones: list[tuple[float, float]]) -> Plan:
    at, to = np.array(homes), np.array(zones)
    return plan_routes(
        build(roads), DRY, SafeZones(to[:, 0] * D, 10 + to[:, 1] * D),
        Households(at[:, 0] * D, 10 + at[:, 1] * D, np.zeros(len(at), dtype=bool)),
        margins=Margins(notice_s=0.0, max_detour_m=0.0),
    )  # fmt: skip


def test_what_leads_into_a_safe_zone_is_its_narrowest_cut() -> None:
    roads = [
        road((0, 0), (20, 0), capacity=900),
        road((20, 0), (21, 0), (22, 0), capacity=150),  # a spur off a wide road, cut by a yard that leads nowhere
        road((21, 0), (21, 1), capacity=400),
        road((20, 0), (20, 20), capacity=700),
    ]
    plan = planned(roads, [(1, 0)], [(22, 0), (20, 0)])
    planner = Planner(plan.network, (_forecast(),), plan.zones, plan.households, plan.doors, 0.0, plan.margins, ())
    per_h = entrance_per_h(planner, plan.trees, np.array([0, 1]))
    assert per_h[0] == 150.0


def _forecast() -> object:
    from geo.evacuation import Forecast

    return Forecast(hazard=DRY)


def twin(plan: Plan, people: list[int], seats: list[int], demand: Demand) -> list[float]:
    """Queues and full safe zones in plain Python, on ways that networkx-like search finds afresh for each leg."""
    graph, src, c = plan.trees[0].graph, plan.trees[0].sources, plan.columns
    per_s = plan.network.road_capacity_per_h[graph.edge_road] / 3600.0

    def leg(edge: int, zone: int) -> tuple[float, list[int], float]:
        """(seconds from the end of the edge, edges, share of the last) to a safe zone, by Dijkstra."""
        ends = {int(e): float(s) for e, s, z in zip(src.edge, src.share, src.zone, strict=True) if z == zone}
        heap: list[tuple[float, int, list[int], bool]] = [(0.0, edge, [], False)]
        seen = set()
        while heap:
            so_far, at, path, done = heapq.heappop(heap)
            if done:
                return so_far, path, ends[path[-1]]
            if at in seen:
                continue
            seen.add(at)
            for f in range(len(graph.tail)):
                if graph.tail[f] != graph.head[at] or (graph.reverse[at] == f and graph.no_turn[at]):
                    continue
                if f in ends:
                    heapq.heappush(heap, (so_far + ends[f] * graph.seconds[f], f, [*path, f], True))
                heapq.heappush(heap, (so_far + graph.seconds[f], f, [*path, f], False))
        return np.inf, [], 0.0

    n = len(people)
    left, free, arrival = list(seats), [0.0] * len(graph.tail), [np.nan] * n
    tried: list[set[int]] = [set() for _ in range(n)]
    zone = [int(z) for z in c.zone]
    state: list[tuple[int, list[int], float]] = []
    heap: list[tuple[float, int]] = []
    for i, leaves in enumerate(departures(n, demand)):
        edge = int(c.begin[i])
        _, path, share = leg(edge, zone[i])
        if c.direct[i]:  # it stands on the household's own road
            path, share = [], float(src.share[c.source[i]])
        state.append((edge, path, share))
        heapq.heappush(heap, (float(leaves + graph.seconds[edge] * c.share[i]), i))
    while heap:
        now, i = heapq.heappop(heap)
        edge, path, share = state[i]
        if path:
            out = max(now, free[edge])
            free[edge] = out + demand.vehicles / per_s[edge]
            nxt = path[0]
            state[i] = (nxt, path[1:], share)
            heapq.heappush(heap, (out + graph.seconds[nxt] * (share if len(path) == 1 else 1.0), i))
            continue
        if left[zone[i]] >= people[i]:
            left[zone[i]] -= people[i]
            arrival[i] = now
            continue
        tried[i].add(zone[i])
        options = []
        for other in range(len(seats)):
            if other in tried[i] or left[other] < people[i]:
                continue
            for onto, first in ((edge, (1 - share) * graph.seconds[edge]), (int(graph.reverse[edge]), 0.0)):
                if onto < 0:
                    continue
                first = first if onto == edge else share * graph.seconds[onto]
                far, way, last = leg(onto, other)
                options.append((first + far, other, onto, way, last, first))
        options = [one for one in options if np.isfinite(one[0])]
        if options:
            _, zone[i], onto, way, last, first = min(options, key=lambda one: one[0])
            state[i] = (onto, way, last)
            heapq.heappush(heap, (now + first, i))
    return arrival


def test_who_finds_a_safe_zone_full_drives_on_to_the_next_with_seats() -> None:
    roads = [
        road((0, 0), (4, 0)), road((4, 0), (4, 6), capacity=200), road((4, 0), (12, 0), capacity=300),
        road((12, 0), (12, 6)), road((4, 6), (12, 6)), road((0, 0), (0, 6)), road((0, 6), (4, 6)),
    ]  # fmt: skip
    rng = np.random.default_rng(1)
    homes = [(float(x), 0.0) for x in rng.uniform(0.3, 3.6, 30)]
    plan = planned(roads, homes, [(3.7, 0.0), (4.0, 5.0), (11.5, 0.0), (12.0, 4.0)])
    people, seats = [int(p) for p in rng.integers(1, 5, 30)], [12, 20, 25, 9]
    demand = Demand(vehicles=1.3, mobilisation_min=5.0)
    found = drive_on(plan, np.arange(30), np.array(people), np.array(seats), demand)
    expected = twin(plan, people, seats, demand)
    assert found.household_s == pytest.approx(expected, nan_ok=True)
    seated = np.isfinite(found.household_s)
    assert 12 < np.array(people)[seated].sum() <= sum(seats)
    assert not seated.all()  # more people than seats: somebody never arrives
    everyone = drive_on(plan, np.arange(30), np.array(people), np.array([200, 1, 1, 1]), demand)
    assert np.isfinite(everyone.household_s).all()
    assert everyone.at(1.0) < found.at(1.0)  # type: ignore[operator]


def test_an_arrived_household_keeps_its_way_and_a_told_one_its_safe_zone() -> None:
    roads = [road((0, 0), (10, 0))]
    homes = [(4.9, 0.0), (4.9, 0.0), (4.9, 0.0)]
    given = planned(roads, homes, [(0.0, 0.0), (10.0, 0.0)])
    assert given.columns.zone.tolist() == [0, 0, 0]

    def seated(**more: object) -> list[int]:
        seats = Seats(
            seats=np.array([2, 3]), accessible_seats=np.zeros(2, dtype=np.int64), people=np.ones(3, dtype=np.int64),
            accessible=np.zeros(3, dtype=bool), **more,  # type: ignore[arg-type]
        )  # fmt: skip
        plan = plan_routes(
            given.network, DRY, given.zones, given.households, margins=given.margins, doors=given.doors, seats=seats
        )
        zones: list[int] = plan.columns.zone.tolist()
        return zones

    assert sorted(seated()) == [0, 0, 1]
    # it was told the far one, which is 22 s farther: it stays with it
    assert seated(stays=np.array([-1, 1, -1])) == [0, 1, 0]
    # who has arrived takes none of the two seats again
    assert seated(arrived=np.array([True, False, False])) == [0, 0, 0]
