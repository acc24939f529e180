"""What a plan must do and must never do, on small towns."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.closing import closures
from geo.evacuation import Households, Margins, NoSafeZones, Route, SafeZones, Status
from geo.hazard import ArrivalZone, Hazard
from geo.network import Road, RoadNetwork, build
from geo.routing import plan_routes
from geo.sweep import graph_of

EMPTY = shapely.MultiPolygon()
D = 0.001  # degrees: one step of the grids below, about 111 m at the equator


# ---------------------------------------------------------------- plans on small towns
def line(*points: tuple[float, float], speed: float = 36.0, **more: object) -> Road:
    """A road through grid points; 36 km/h is 10 m/s."""
    return Road(points=[(x * D, y * D + 10) for x, y in points], speed_kmh=speed, **more)  # type: ignore[arg-type]


def grid(nx: int, ny: int) -> RoadNetwork:
    roads = [line(*[(x, y) for x in range(nx)]) for y in range(ny)]
    roads += [line(*[(x, y) for y in range(ny)]) for x in range(nx)]
    return build(roads)


def box(x0: float, y0: float, x1: float, y1: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(x0 * D, y0 * D + 10, x1 * D, y1 * D + 10)])


def at(*points: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    xy = np.array(points, dtype=float).reshape(-1, 2)
    return xy[:, 0] * D, xy[:, 1] * D + 10


def solve(
    network: RoadNetwork, hazard: Hazard, zones: list, homes: list, *, foot: bool = False, now_s: float = 0.0,
    margins: Margins | None = None,
) -> list[Route]:  # fmt: skip
    lon, lat = at(*homes)
    households = Households(lon, lat, np.full(len(lon), foot))
    plan = plan_routes(network, hazard, SafeZones(*at(*zones)), households, now_s=now_s, margins=margins)
    assert sum(plan.counts().values()) == len(homes)
    assert set(plan.counts()) == {s.value for s in Status}
    return list(plan.routes)


def metres(steps: float) -> float:
    return steps * D * 110_600  # near enough at 10 degrees: both axes within 2 %


def test_a_dry_town_goes_to_the_nearest_zone_and_nothing_closes() -> None:
    (route,) = solve(grid(5, 5), Hazard(geometry=EMPTY), [(4, 4), (0, 4)], [(1, 0)])
    assert route.status is Status.CLEAR
    assert route.zone == 1
    assert route.leave_by_s == np.inf
    assert route.distance_m == pytest.approx(metres(5), rel=0.02)
    assert route.travel_s == pytest.approx(route.distance_m / 10.0, rel=1e-6)


def test_a_river_thinner_than_the_distance_between_vertices_closes_the_road() -> None:
    network = build([line((0, 0), (10, 0)), line((0, 1), (10, 1)), line((10, 0), (10, 1))])
    river = box(4.99, -1, 5.01, 0.5)
    closed = closures(network, Hazard(geometry=river))
    assert closed.closed().tolist() == [True, False, False]
    assert closed.inside_m[0] == pytest.approx(metres(0.02), rel=0.1)


def test_a_bridge_over_the_flood_stays_open_and_closes_with_its_approach() -> None:
    def network(approach_y: float) -> RoadNetwork:
        return build(
            [
                line((0, 0), (4, 0)),
                line((4, 0), (5, 0), bridge=True),
                line((5, 0), (6, 0), bridge=True),
                line((6, 0), (10, approach_y)),
            ]
        )

    river = Hazard(geometry=box(4.2, -1, 5.8, 1))
    assert not closures(network(0), river).closed().any()
    assert closures(network(0), Hazard(geometry=river.geometry, peril="wildfire")).closed().tolist() == [
        False, True, True, False,
    ]  # fmt: skip
    wide = Hazard(geometry=box(3.5, -1, 5.8, 1))  # over the western approach
    assert closures(network(0), wide).closed().tolist() == [True, True, True, False]
    # and in time: the bridge closes when the approach is forecast to
    later = Hazard(geometry=river.geometry, zones=(ArrivalZone(arrival_min=30, geometry=box(3.5, -1, 4.1, 1)),))
    assert closures(network(0), later).close_s.tolist() == [1800.0, 1800.0, 1800.0, np.inf]


def test_a_bridge_with_two_approaches_at_one_end_stays_open_by_the_other() -> None:
    network = build(
        [
            line((0, 0), (4, 0)),
            line((4, 0), (6, 0), bridge=True),
            line((6, 0), (10, 0)),
            line((4, 3), (4, 0)),
        ]
    )
    closed = closures(network, Hazard(geometry=box(1, -1, 2, 1))).closed()
    assert closed.tolist() == [True, False, False, False]


def test_people_inside_get_a_flagged_way_out_with_the_least_hazard_in_it() -> None:
    (route,) = solve(grid(6, 6), Hazard(geometry=box(-1, -1, 2.5, 6)), [(5, 0)], [(2.2, 3)])
    assert route.status is Status.THROUGH_HAZARD
    assert route.inside_m == pytest.approx(metres(0.3), rel=0.05)
    assert route.distance_m == pytest.approx(metres(5.8), rel=0.05)
    assert route.leave_by_s == 0.0
    assert "inside the hazard" in route.reason
    (far,) = solve(grid(20, 3), Hazard(geometry=box(-1, -1, 12.5, 6)), [(19, 0)], [(2.2, 1)])
    assert far.status is Status.SHELTER_IN_PLACE
    assert "500 m" in far.reason


def test_the_way_out_has_the_least_hazard_in_it_and_not_the_least_time() -> None:
    # west: 2 steps inside and 2 dry ones; east: 1 step inside and a long way round
    network = build([line((-2, 0), (2, 0)), line((2, 0), (3, 0), (3, 9), (-2, 9), (-2, 0))])
    (route,) = solve(network, Hazard(geometry=box(0, -1, 2.9, 1)), [(-2, 0)], [(1.99, 0)])
    assert route.inside_m == pytest.approx(metres(0.91), rel=0.05)
    assert route.distance_m == pytest.approx(metres(24), rel=0.05)


def test_cut_off_off_network_and_no_road_are_named() -> None:
    network = build([line((0, 0), (3, 0)), line((20, 0), (21, 0))])
    ring = Hazard(geometry=box(1, -1, 2, 1))
    cut, away, island = solve(network, ring, [(3, 0)], [(0, 0), (0, 12), (20.5, 0)])
    assert cut.status is Status.CUT_OFF
    assert "stay" in cut.reason
    assert away.status is Status.OFF_NETWORK
    assert "1000 m" in away.reason
    assert island.status is Status.CUT_OFF
    assert "no road leads" in island.reason


def test_cut_off_where_the_hazard_is_forecast_to_come_crosses_now_if_it_is_short() -> None:
    network = build([line((0, 0), (9, 0))])
    river = box(4, -1, 5, 1)
    coming = (ArrivalZone(arrival_min=60, geometry=box(-1, -1, 4, 1)),)
    (route,) = solve(network, Hazard(geometry=river, zones=coming), [(9, 0)], [(1, 0)])
    assert route.status is Status.THROUGH_HAZARD
    assert route.inside_m == pytest.approx(metres(1), rel=0.05)


def test_a_safe_zone_under_the_forecast_is_not_offered_while_another_remains() -> None:
    hazard = Hazard(geometry=box(-9, -9, -8, -8), zones=(ArrivalZone(arrival_min=600, geometry=box(3.5, 3.5, 5, 5)),))
    (route,) = solve(grid(5, 5), hazard, [(4, 4), (0, 4)], [(3, 3)])
    assert route.zone == 1
    (only,) = solve(grid(5, 5), hazard, [(4, 4)], [(3, 3)])
    assert only.zone == 0
    assert only.leave_by_s < 600 * 60 - only.travel_s + 1e-6


def test_leave_by_goes_with_the_route_that_is_shown() -> None:
    # the short road closes in 40 min; the long one stays open
    network = build([line((0, 0), (6, 0)), line((0, 0), (0, 2), (6, 2), (6, 0))])
    hazard = Hazard(geometry=box(50, 50, 51, 51), zones=(ArrivalZone(arrival_min=40, geometry=box(3, -1, 4, 1)),))
    (route,) = solve(network, hazard, [(6, 0)], [(0, 0)])
    assert route.distance_m == pytest.approx(metres(6), rel=0.02)
    assert route.leave_by_s == pytest.approx(2400 - route.travel_s, abs=1e-6)
    assert route.last_way_out_s == np.inf
    # too little notice for the short road: the long one is shown, and it never closes
    (careful,) = solve(network, hazard, [(6, 0)], [(0, 0)], margins=Margins(notice_s=3600))
    assert careful.distance_m == pytest.approx(metres(10), rel=0.02)
    assert careful.leave_by_s == np.inf
    # a shorter road still that is closed now changes nothing of this
    closed_now = build(
        [line((0, 0), (6, 0)), line((0, 0), (0, 2), (6, 2), (6, 0)), line((0, 0), (3, -0.1), (6, 0), speed=90)]
    )
    pond = Hazard(
        geometry=box(2.9, -0.2, 3.1, -0.05), zones=(ArrivalZone(arrival_min=120, geometry=box(3.5, -0.1, 4, 1)),)
    )
    (same,) = solve(closed_now, pond, [(6, 0)], [(0, 0)])
    assert same.leave_by_s == pytest.approx(7200 - route.travel_s, abs=1.0)
    # 39 min later only the long road can still be driven to its end
    (late,) = solve(network, hazard, [(6, 0)], [(0, 0)], now_s=39 * 60)
    assert late.distance_m == pytest.approx(metres(10), rel=0.02)


def test_the_margin_on_travel_times_counts_along_the_whole_way() -> None:
    network = build([line((0, 0), (2, 0)), line((2, 0), (4, 0)), line((4, 0), (6, 0)), line((4, 0), (4, 1))])
    for closes, driven in ((2.5, 4.0), (4.5, 5.9)):  # the road in the middle; the one that the safe zone stands on
        zones = (ArrivalZone(arrival_min=60, geometry=box(closes, -0.2, closes + 0.2, 0.2)),)
        hazard = Hazard(geometry=box(50, 50, 51, 51), zones=zones)
        for margin in (1.0, 1.5):
            careful = Margins(notice_s=0.0, travel=margin)
            (route,) = solve(network, hazard, [(5.9, 0)], [(0, 0)], margins=careful)
            latest = 3600.0 - margin * driven * D * 109_640 / 10.0
            assert route.leave_by_s == pytest.approx(latest, abs=1.0)
            assert route.last_way_out_s == pytest.approx(latest, abs=1.0)
            # the part of the road at its own door counts as well
            (near,) = solve(network, hazard, [(5.9, 0)], [(1, 0)], margins=careful)
            assert near.leave_by_s == pytest.approx(latest + margin * D * 109_640 / 10.0, abs=1.0)


def test_a_safe_zone_beside_its_road_closes_when_the_hazard_is_there() -> None:
    zones = (ArrivalZone(arrival_min=60, geometry=box(3.9, 0.8, 4.1, 1.2)),)  # over the safe zone and no road
    network = build([line((0, 0), (6, 0))])
    (route,) = solve(network, Hazard(geometry=EMPTY, zones=zones), [(4, 1)], [(0, 0)])
    assert route.leave_by_s == pytest.approx(3600.0 - route.travel_s, abs=1.0)
    drowned = Hazard(geometry=zones[0].geometry)
    (none,) = solve(network, drowned, [(4, 1)], [(0, 0)])
    assert none.status is Status.CUT_OFF


def test_one_way_streets_bind_cars_and_not_walkers() -> None:
    network = build([line((5, 0), (0, 0), oneway=True), line((0, 0), (0, 1), (5, 1), (5, 0), oneway=True)])
    (car,) = solve(network, Hazard(geometry=EMPTY), [(5, 0)], [(0, 0)])
    (walker,) = solve(network, Hazard(geometry=EMPTY), [(5, 0)], [(0, 0)], foot=True)
    assert car.distance_m == pytest.approx(metres(7), rel=0.02)
    assert walker.distance_m == pytest.approx(metres(5), rel=0.02)
    assert walker.travel_s == pytest.approx(walker.distance_m / 1.2, rel=1e-6)


def test_parallel_roads_are_not_summed() -> None:
    network = build([line((0, 0), (4, 0)), line((0, 0), (2, 1), (4, 0))])
    (route,) = solve(network, Hazard(geometry=EMPTY), [(4, 0)], [(0, 0)])
    assert route.distance_m == pytest.approx(metres(4), rel=0.02)
    assert route.travel_s == pytest.approx(route.distance_m / 10.0, rel=1e-6)  # a csr matrix adds doubled entries up
    # the same in the middle of a way
    longer = build([line((-2, 0), (0, 0)), line((0, 0), (4, 0)), line((0, 0), (2, 1), (4, 0)), line((4, 0), (6, 0))])
    (through,) = solve(longer, Hazard(geometry=EMPTY), [(6, 0)], [(-2, 0)])
    assert through.travel_s == pytest.approx(through.distance_m / 10.0, rel=1e-6)
    assert through.distance_m == pytest.approx(metres(8), rel=0.02)


def test_walkers_climb_slowly_and_keep_off_motorways() -> None:
    roads = [line((0, 0), (4, 0)), line((0, 0), (0, 1), (4, 1), (4, 0), kind="motorway", foot=False)]
    level = build(roads, heights={})
    key = {x: (round(x * D * 1e7), round(10 * 1e7)) for x in (0, 4)}
    hill = build(roads, heights={key[0]: 0.0, key[4]: 40.0})
    times = {}
    for name, network, way in (("level", level, (0, 4)), ("up", hill, (0, 4)), ("down", hill, (4, 0))):
        for foot in (False, True):
            (route,) = solve(network, Hazard(geometry=EMPTY), [(way[1], 0)], [(way[0], 0)], foot=foot)
            times[name, foot] = route.travel_s
    assert times["up", True] > 1.25 * times["level", True]  # a slope of about 9 %
    assert times["up", False] == times["down", False] == times["level", False]
    roads.append(line((0, -1), (0, 0)))
    (walker,) = solve(build(roads), Hazard(geometry=box(1, -0.5, 2, 0.5)), [(4, 0)], [(0, -1)], foot=True)
    (driver,) = solve(build(roads), Hazard(geometry=box(1, -0.5, 2, 0.5)), [(4, 0)], [(0, -1)])
    assert walker.status is Status.CUT_OFF
    assert driver.status is Status.CLEAR


def test_a_dry_door_on_a_road_that_is_closed_further_on_leaves_the_other_way() -> None:
    network = build([line((0, 0), (10, 0)), line((0, 0), (0, 3))])
    (route,) = solve(network, Hazard(geometry=box(8, -1, 9, 1)), [(0, 3)], [(3, 0)])
    assert route.status is Status.CLEAR
    assert route.distance_m == pytest.approx(metres(6), rel=0.02)


def test_without_safe_zones_the_caller_is_told_and_with_drowned_ones_the_people_are() -> None:
    with pytest.raises(NoSafeZones):
        solve(grid(3, 3), Hazard(geometry=EMPTY), [], [(1, 1)])
    inside, outside = solve(grid(3, 3), Hazard(geometry=box(-1, -1, 1.5, 9)), [(0, 0)], [(1, 1), (2, 2)])
    assert inside.status is Status.SHELTER_IN_PLACE
    assert outside.status is Status.CUT_OFF
    assert "no safe zone is left" in inside.reason


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_clear_route_meets_the_hazard_and_a_larger_hazard_never_helps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = grid(8, 8)
    x, y = rng.uniform(0, 7, 2)
    small = box(x - 1, y - 1, x + 1, y + 1)
    large = shapely.MultiPolygon([shapely.box(*shapely.buffer(small, 0.8 * D).bounds)])
    homes = [tuple(p) for p in rng.uniform(0, 7, (12, 2))]
    margins = Margins(notice_s=0.0)
    first = solve(network, Hazard(geometry=small), [(0, 0), (7, 7)], homes, margins=margins)
    second = solve(network, Hazard(geometry=large), [(0, 0), (7, 7)], homes, margins=margins)
    for a, b in zip(first, second, strict=True):
        if a.status is Status.CLEAR:
            assert a.points is not None
            assert not shapely.LineString(a.points).crosses(small)
        if a.status is b.status is Status.CLEAR:
            assert b.travel_s >= a.travel_s - 1e-6


def test_the_same_inputs_give_the_same_routes() -> None:
    hazard = Hazard(geometry=box(2, 2, 4, 4), zones=(ArrivalZone(arrival_min=20, geometry=box(1, 1, 5, 5)),))
    homes = [(x + 0.5, y) for x in range(6) for y in range(7)]
    one = solve(grid(7, 7), hazard, [(0, 0), (6, 6), (0, 6)], homes)
    two = solve(grid(7, 7), hazard, [(0, 0), (6, 6), (0, 6)], homes)
    assert [(r.status, r.edges, r.zone, r.leave_by_s) for r in one] == [
        (r.status, r.edges, r.zone, r.leave_by_s) for r in two
    ]


def test_routes_are_connected_from_the_door_to_the_zone() -> None:
    network = grid(6, 6)
    for route, home in zip(
        solve(network, Hazard(geometry=box(2, 2, 3, 3)), [(5, 5)], [(0.3, 0), (1, 4.6), (4.7, 0.02)]),
        [(0.3, 0), (1, 4.6), (4.7, 0.02)],
        strict=True,
    ):
        assert route.points is not None
        assert np.allclose(route.points[0], np.array(at(home)).ravel())
        assert np.allclose(route.points[-1], np.array(at((5, 5))).ravel())
        steps = np.abs(np.diff(route.points, axis=0)).max(axis=1)
        assert steps.max() <= D * 1.001
        graph = graph_of(network, False)
        for e, f in zip(route.edges[:-1], route.edges[1:], strict=True):
            assert graph.head[e] == graph.tail[f]
