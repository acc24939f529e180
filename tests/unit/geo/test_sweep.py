"""The sweeps over edges against brute force: distance, turn bans, latest departure, snapping."""

import heapq
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from geo._compiled import add_up, earliest_arrival, follow, sweep
from geo.network import Road, RoadNetwork, build
from geo.snapping import snap
from geo.sweep import Graph, run_sweep, walking_m_s

D = 0.001


def random_network(rng: np.random.Generator, n: int, m: int, *, bans: int = 0) -> RoadNetwork:
    """A network of straight roads between random places, some one-way, some private, with random turn bans."""
    places = [(float(x), 10.0 + float(y)) for x, y in rng.uniform(0.01, 0.1, (n, 2))]
    roads = []
    for _ in range(m):
        a, b = rng.choice(n, 2, replace=False)
        roads.append(
            Road(
                points=[places[a], places[b]],
                speed_kmh=float(rng.integers(20, 90)),
                oneway=bool(rng.random() < 0.3),
                private=bool(rng.random() < 0.1),
                keys=[int(a), int(b)],
            )
        )
    network = build(roads)
    graph = Graph(network, False)
    pairs = [
        (int(e), int(f))
        for e in range(len(graph.tail))
        for f in np.flatnonzero(graph.tail == graph.head[e])
        if rng.random() < 0.2
    ][:bans]
    code = 2 * graph.edge_road + ~graph.forward
    return replace(
        network,
        ban_from=np.array([code[e] for e, _ in pairs], dtype=np.int32),
        ban_to=np.array([code[f] for _, f in pairs], dtype=np.int32),
    )


def allowed(graph: Graph, e: int, f: int) -> bool:
    """Whether f may follow e: read from the network, not from the compiled lists."""
    if graph.head[e] != graph.tail[f] or (graph.private[f] and not graph.private[e]):
        return False
    same_road = graph.edge_road[e] == graph.edge_road[f] and graph.forward[e] != graph.forward[f]
    if same_road and int((graph.tail == graph.head[e]).sum()) > 1:
        return False
    code = 2 * graph.edge_road + ~graph.forward
    network = graph.network
    return not bool(((network.ban_from == code[e]) & (network.ban_to == code[f])).any())


def twin(graph: Graph, seconds: np.ndarray, close: np.ndarray, sources: dict[int, tuple[float, float]]) -> np.ndarray:
    """C by going over all pairs of edges until nothing changes: the plain twin of the compiled sweep."""
    n = len(seconds)
    pairs = [(e, f) for e in range(n) for f in range(n) if allowed(graph, e, f)]
    late = np.full(n, -np.inf)
    while True:
        before = late.copy()
        for e, f in pairs:
            on = sources[f][1] if f in sources else -np.inf
            if close[f] >= 0:
                on = max(on, min(late[f], close[f]) - seconds[f])
            late[e] = max(late[e], on)
        if (before == late).all():
            return late


def forward(
    graph: Graph, seconds: np.ndarray, close: np.ndarray, sources: dict[int, tuple[float, float]], start: int,
    depart: float,
) -> float:  # fmt: skip
    """Earliest arrival at a safe zone from the end of edge `start` at `depart`; inf where it is not reached."""
    best, heap, reached = {start: depart}, [(depart, start)], np.inf
    while heap:
        now, e = heapq.heappop(heap)
        if now > best[e]:
            continue
        for f in range(len(seconds)):
            if not allowed(graph, e, f):
                continue
            if f in sources and now <= sources[f][1]:
                reached = min(reached, now + sources[f][0])
            then = now + seconds[f]
            if close[f] >= 0 and then <= close[f] and then < best.get(f, np.inf):
                best[f] = then
                heapq.heappush(heap, (then, f))
    return reached


def world(seed: int, n: int, *, closing: bool) -> tuple:
    rng = np.random.default_rng(seed)
    graph = Graph(random_network(rng, n, max(2, int(n * rng.uniform(1, 2.5))), bans=6), False)
    m = len(graph.tail)
    seconds = rng.integers(1, 30, m).astype(float)
    close = np.where(rng.random(m) < 0.4, np.inf, rng.integers(-20, 120, m).astype(float))
    if not closing:
        close = np.where(close < 0, -1.0, np.inf)
    edges = rng.choice(m, size=min(m, 3), replace=False).astype(np.int32)
    edges = edges[close[edges] >= 0]
    source_s = np.floor(rng.random(len(edges)) * seconds[edges])
    zone = np.where(rng.random(len(edges)) < 0.5, np.inf, rng.integers(0, 150, len(edges)).astype(float))
    late = np.minimum(zone, close[edges]) - source_s if closing else np.full(len(edges), np.inf)
    return graph, seconds, close, edges, source_s, late


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 10))
def test_latest_departure_equals_forward_search_from_every_edge(seed: int, n: int) -> None:
    graph, seconds, close, edges, source_s, late = world(seed, n, closing=True)
    tree = run_sweep(graph, seconds, close, edges, source_s, late)
    sources = {int(e): (float(s), float(by)) for e, s, by in zip(edges, source_s, late, strict=True)}
    assert np.array_equal(tree.late_s, twin(graph, seconds, close, sources))
    for e in range(len(seconds)):
        if tree.late_s[e] == -np.inf:
            assert forward(graph, seconds, close, sources, e, -1e6) == np.inf
        elif tree.late_s[e] == np.inf:
            assert forward(graph, seconds, close, sources, e, 1e7) < np.inf
        else:
            assert forward(graph, seconds, close, sources, e, tree.late_s[e]) < np.inf
            assert forward(graph, seconds, close, sources, e, tree.late_s[e] + 1e-3) == np.inf


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 12))
def test_fastest_with_turn_bans_equals_forward_search_and_its_way_adds_up(seed: int, n: int) -> None:
    graph, seconds, close, edges, source_s, late = world(seed, n, closing=False)
    tree = run_sweep(graph, seconds, close, edges, source_s, late)
    sources = {int(e): (float(s), np.inf) for e, s in zip(edges, source_s, strict=True)}
    total, end = add_up(tree.order, tree.next_edge, tree.source, seconds, source_s)
    for e in range(len(seconds)):
        expected = forward(graph, seconds, close, sources, e, 0.0)
        assert tree.time_s[e] == pytest.approx(expected)
        if np.isfinite(expected):
            assert total[e] == pytest.approx(expected)
            way = follow(tree.next_edge, tree.source, np.array([e], dtype=np.int32))[0]
            assert all(allowed(graph, a, b) for a, b in pairwise(way))
            assert all(close[f] >= 0 for f in way[1:])
            assert edges[end[e]] == way[-1]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 10))
def test_the_search_for_one_household_equals_forward_search(seed: int, n: int) -> None:
    graph, seconds, close, edges, source_s, late = world(seed, n, closing=True)
    open_now = np.where(close < 0, -1.0, np.inf)
    lower = run_sweep(graph, seconds, open_now, edges, source_s, np.where(late > -np.inf, np.inf, -np.inf))
    sources = {int(e): (float(s), float(by)) for e, s, by in zip(edges, source_s, late, strict=True)}
    source_of = np.full(len(seconds), -1, dtype=np.int32)
    source_of[edges] = np.arange(len(edges))
    n = len(seconds)
    ways, start, ends, travels = earliest_arrival(
        graph.out_start, graph.out_edge, graph.head, graph.reverse, graph.no_turn, graph.private, graph.ban_start,
        graph.ban_to, seconds, close, 1.0, lower.time_s, source_of, source_s, late, np.arange(n + 1),
        np.arange(n, dtype=np.int32), np.full(n, 5.0),
    )  # fmt: skip
    for e in range(n):
        expected = forward(graph, seconds, close, sources, e, 5.0)
        assert travels[e] == pytest.approx(expected)
        assert (ends[e] >= 0) == np.isfinite(expected)
        assert start[e + 1] == start[e] or ways[start[e]] == e


def test_a_turn_ban_is_kept_where_a_node_sweep_would_break_it() -> None:
    # a crossroads where turning left from the south is banned: round the block instead
    def road(*points: tuple[float, float], osm_id: int = 0) -> Road:
        return Road(points=[(x * D, 10 + y * D) for x, y in points], speed_kmh=36, osm_id=osm_id)

    roads = [road((1, 0), (1, 1)), road((1, 1), (0, 1)), road((1, 1), (1, 2)), road((1, 2), (0, 2)),
             road((0, 2), (0, 1))]  # fmt: skip
    network = build(roads)
    # the safe zone is at the west end of road 1: one arrives along it, or stands at its other end already
    graph = Graph(network, False)
    at = graph.edge_of  # of 2 * road along its shape, + 1 against it
    target, never = at[[2, 3]].astype(np.int32), np.full(2, np.inf)
    whole = network.road_length_m / 10
    seconds = whole[graph.edge_road]
    source_s = np.array([whole[1], 0.0])
    free = run_sweep(graph, seconds, np.full(10, np.inf), target, source_s, never)
    banned = replace(network, ban_from=np.array([0], dtype=np.int32), ban_to=np.array([2], dtype=np.int32))
    kept = run_sweep(Graph(banned, False), seconds, np.full(10, np.inf), target, source_s, never)
    assert free.next_edge[at[0]] == at[2]
    assert free.time_s[at[0]] == pytest.approx(whole[1])
    assert kept.next_edge[at[0]] == at[4]
    assert kept.time_s[at[0]] == pytest.approx(whole[2] + whole[3] + whole[4])


@pytest.mark.parametrize(("width_s", "n_buckets"), [(1e-3, 16), (7.0, 16), (1e6, 16), (0.5, 4096)])
def test_the_calendar_changes_nothing_but_the_time_it_takes(width_s: float, n_buckets: int) -> None:
    # crowded buckets, a ring that is too short, and ties: the order is that of one heap
    for seed in range(20):
        graph, seconds, close, edges, source_s, late = world(seed, 40, closing=bool(seed % 2))
        seconds = np.round(seconds / 10.0) * 10.0
        late = np.where(late == np.inf, 1e5, late)
        given = (
            graph.enter_start, graph.enter_end, graph.reverse, graph.flags, graph.ban_start, graph.ban_to, seconds,
            close, edges, source_s, late,
        )  # fmt: skip
        heap = sweep(*given, 1e-9, 1)  # everything is beyond a ring of one bucket
        ring = sweep(*given, width_s, n_buckets)
        assert all(np.array_equal(a, b) for a, b in zip(heap, ring, strict=True))


def test_a_large_grid_equals_scipy() -> None:
    roads = [Road(points=[(x * D, 10 + y * D) for x in range(120)], speed_kmh=36) for y in range(120)]
    roads += [Road(points=[(x * D, 10 + y * D) for y in range(120)], speed_kmh=36) for x in range(120)]
    network = build(roads)
    graph = Graph(network, False)
    rng = np.random.default_rng(1)
    seconds = graph.seconds * rng.uniform(1, 3, len(graph.tail))
    close = np.where(rng.random(len(seconds)) < 0.2, -1.0, np.inf)
    sources = np.array([5, 9000, 40000], dtype=np.int32)
    close[sources] = np.inf
    # a safe zone at the end of an edge is reached along it, or stands at the start of the way back
    edges = np.concatenate([sources, graph.reverse[sources]])
    source_s = np.concatenate([seconds[sources], np.zeros(3)])
    tree = run_sweep(graph, seconds, close, edges, source_s, np.full(6, np.inf))
    usable = close > 0
    matrix = csr_array((seconds[usable], (graph.head[usable], graph.tail[usable])), shape=(network.n_nodes,) * 2)
    expected = dijkstra(matrix, indices=graph.head[sources], min_only=True)
    assert np.isfinite(expected).sum() > 10000
    best = np.full(network.n_nodes, np.inf)
    np.minimum.at(best, graph.head, tree.time_s)
    assert np.allclose(best, expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_snapping_equals_the_least_distance_to_every_road(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 12, 15)
    lon, lat = rng.uniform(0.0, 0.11, 40), 10 + rng.uniform(0.0, 0.11, 40)
    found = snap(network, lon, lat, max_m=3000, n_roads=3, others_m=1500)
    x, y = network.plane.forward(lon, lat)
    away = shapely.distance(shapely.points(x, y)[:, None], network.plane_lines[None, :])
    for i in range(len(lon)):
        order = np.sort(away[i])
        if order[0] > 3000:
            assert found.road[i, 0] == -1
            continue
        assert found.distance_m[i, 0] == pytest.approx(order[0], abs=1e-6)
        for k in (1, 2):
            if order[k] <= 1500:
                assert found.distance_m[i, k] == pytest.approx(order[k], abs=1e-6)
            else:
                assert found.road[i, k] == -1
        r = found.road[i, 0]
        along = shapely.line_locate_point(network.plane_lines[r], shapely.Point(x[i], y[i]), normalized=True)
        assert found.fraction[i, 0] == pytest.approx(along, abs=1e-6)


def test_nobody_is_snapped_across_a_river_and_the_side_is_known() -> None:
    near, far = [(0.0, 10.0), (5 * D, 10.0)], [(0.0, 10 - 2 * D), (5 * D, 10 - 2 * D)]
    river = [(0.0, 10 - 0.2 * D), (5 * D, 10 - 0.2 * D)]
    roads = [Road(points=near, speed_kmh=36), Road(points=far, speed_kmh=36)]
    lon, lat = np.array([2 * D]), np.array([10 - 0.5 * D])
    assert snap(build(roads), lon, lat, max_m=500).road[0, 0] == 0
    found = snap(build(roads, barriers=[river]), lon, lat, max_m=500)
    assert found.road[0, 0] == 1
    assert found.left[0, 0]
    none = snap(build(roads[:1], barriers=[river]), lon, lat, max_m=500)
    assert none.road[0, 0] == -1


def test_many_streets_across_the_river_do_not_hide_the_one_on_this_side() -> None:
    across = [Road(points=[(0.0, 10 - k * 0.1 * D), (5 * D, 10 - k * 0.1 * D)], speed_kmh=36) for k in range(3, 33)]
    here = Road(points=[(0.0, 10 + 4 * D), (5 * D, 10 + 4 * D)], speed_kmh=36)
    river = [(-D, 10 - 0.2 * D), (6 * D, 10 - 0.2 * D)]
    network = build([*across, here], barriers=[river])
    found = snap(network, np.array([2 * D, 2 * D]), np.array([10.0, 10 + 3.9 * D]), max_m=500)
    assert found.road[:, 0].tolist() == [30, 30]
    assert found.distance_m[0, 0] == pytest.approx(4 * D * 110_600, rel=0.01)
    assert snap(network, np.array([2 * D]), np.array([10.0]), max_m=400).road[0, 0] == -1


def test_walking_speed_follows_the_slope() -> None:
    assert walking_m_s(np.array([0.0, np.nan])) == pytest.approx([1.2, 1.2])
    # Tobler (1993): 6 exp(-3.5 |S + 0.05|) km/h; 3.557 / 5.036 of the level's speed at +10 %, 1.193 at -5 %
    assert walking_m_s(np.array([0.10, -0.05])) / 1.2 == pytest.approx([0.70469, 1.19125], rel=1e-4)
