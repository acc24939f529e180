"""How people get out: which roads a hazard closes and when, and every household's way to a safe zone.

One reverse sweep gives each node of the road network its nearest safe zone over the roads that are open now; a second
gives its latest safe departure under the forecast closing times. People inside the hazard get the way out that spends
the least time in it, or shelter-in-place with the reason; nobody is left without a status. Method and what it leaves
out: docs/methods/evacuation.md.

Times are seconds. `now_s` is how long after the footprint's valid_at the plan is made: forecast arrivals count from
valid_at, departures from now.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely.ops import substring

from core.errors import InvalidInput
from geo.closing import Closures, closures
from geo.crs import BoolArray, FloatArray
from geo.hazard import Hazard, inside
from geo.network import WALKING_M_S, Int32Array, RoadNetwork, snap

#: One second inside the hazard weighs as much as this many outside: more than any route takes, so inside comes first.
_INSIDE_WEIGHT = 1e6
#: Flooded or burning ground is crossed at walking pace at best.
INSIDE_SPEED_M_S = 1.4


class NoSafeZones(InvalidInput):
    """There is no safe zone to go to."""


class Status(StrEnum):
    """Exactly one for each household; the words of household_route.status."""

    CLEAR = "clear"
    THROUGH_HAZARD = "through-hazard"
    SHELTER_IN_PLACE = "shelter-in-place"
    CUT_OFF = "cut-off"
    OFF_NETWORK = "off-network"
    NO_SEAT = "no-seat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How careful a plan is. Shown with it."""

    travel: float = 1.0  #: travel times are multiplied by this in every comparison with a closing time
    notice_s: float = 1800.0  #: a route that closes sooner gives way to one that stays open longer, if there is one
    max_inside_m: float = 500.0  #: nobody is sent across more hazard than this: shelter-in-place instead
    max_snap_m: float = 1000.0  #: farther from any road is off the network
    max_detour_m: float = 250.0  #: how far an open road may be, in a straight line, from a door whose road is closed


@dataclass(frozen=True)
class SafeZones:
    """Where people are safe, as columns."""

    lon: FloatArray  #: (n,)
    lat: FloatArray


@dataclass(frozen=True)
class Households:
    """Where people start, as columns."""

    lon: FloatArray  #: (n,)
    lat: FloatArray
    on_foot: BoolArray  #: (n,) True: they have no car


class Tree(NamedTuple):
    """What a sweep gives each node."""

    late_s: FloatArray  #: latest safe departure of the way; -inf: no way
    time_s: FloatArray  #: travel time of the way; inf: no way
    next_edge: Int32Array  #: its first edge; -1 at a safe zone
    zone: Int32Array  #: its safe zone; -1: none


@dataclass(frozen=True)
class Route:
    """One household's outcome."""

    status: Status
    reason: str = ""
    zone: int = -1  #: index into SafeZones
    travel_s: float = np.nan
    distance_m: float = np.nan
    leave_by_s: float = np.inf  #: seconds from now by which this route must be begun; inf: it stays open
    last_way_out_s: float = np.inf  #: seconds from now at which the last way by any road closes
    inside_m: float = 0.0
    edges: tuple[int, ...] = ()  #: the first and the last are used in part
    points: FloatArray | None = None  #: (k, 2) lon, lat from the door to the safe zone


# -------------------------------------------------------------------- sweeps
class Graph(NamedTuple):
    """Edges of a network grouped by their head, for the sweeps backwards from the safe zones."""

    in_start: npt.NDArray[np.int64]
    in_edge: Int32Array
    tail: Int32Array
    head: Int32Array
    edge_road: Int32Array


@lru_cache(maxsize=8)
def graph_of(network: RoadNetwork, on_foot: bool) -> Graph:
    """The directed graph; on foot every road can be walked both ways."""
    if on_foot and network.road_oneway.any():
        road = np.concatenate([np.arange(network.n_roads)] * 2).astype(np.int32)
        tail = np.concatenate([network.road_a, network.road_b])
        head = np.concatenate([network.road_b, network.road_a])
    else:
        road, tail, head = network.edge_road, network.edge_tail, network.edge_head
    in_edge = np.argsort(head, kind="stable").astype(np.int32)
    in_start = np.concatenate([[0], np.cumsum(np.bincount(head, minlength=network.n_nodes))]).astype(np.int64)
    return Graph(in_start, in_edge, tail, head, road)


def run_sweep(
    graph: Graph,
    seconds: FloatArray,
    close_s: FloatArray,
    node: Int32Array,
    zone: Int32Array,
    access_s: FloatArray,
    late_s: FloatArray,
) -> Tree:
    """`geo._compiled.sweep` with its arguments in the types it was compiled for."""
    from geo._compiled import sweep

    return Tree(
        *sweep(
            graph.in_start, graph.in_edge, graph.tail, np.ascontiguousarray(seconds, dtype=np.float64),
            np.ascontiguousarray(close_s, dtype=np.float64), node.astype(np.int32), zone.astype(np.int32),
            access_s.astype(np.float64), late_s.astype(np.float64),
        )
    )  # fmt: skip


@dataclass(frozen=True)
class _ModeTrees:
    """The sweeps of one mode of travel."""

    graph: Graph
    seconds: FloatArray  #: (n_edges,)
    close_s: FloatArray  #: (n_edges,) from now
    fastest: Tree
    slack_s: FloatArray  #: (n_nodes,) latest departure along the fastest tree
    latest: Tree
    risky: Tree  #: time_s is seconds inside * _INSIDE_WEIGHT + seconds


@dataclass(frozen=True)
class Plan:
    """Everything about one footprint on one network."""

    routes: tuple[Route, ...]  #: in the order of the households
    closures: Closures
    now_s: float
    zone_close_s: FloatArray  #: (n_zones,) when each safe zone is reached by the hazard, seconds after valid_at
    zone_on_network: BoolArray

    def counts(self) -> dict[str, int]:
        """Households by status, every status named."""
        return {status.value: sum(r.status is status for r in self.routes) for status in Status}


def plan_routes(
    network: RoadNetwork,
    hazard: Hazard,
    zones: SafeZones,
    households: Households,
    *,
    now_s: float = 0.0,
    margins: Margins | None = None,
    with_points: bool = True,
) -> Plan:
    """Every household's way out of a hazard.

    A safe zone that the hazard has reached, or is forecast to reach, is not offered as long as another remains.
    Raises NoSafeZones when none was given; when all are under the hazard or off the roads, everyone is told so.
    """
    margins = margins or Margins()
    if not len(zones.lon):
        raise NoSafeZones()
    closed = closures(network, hazard, now_s)
    zone_close = arrival_at(hazard, zones.lon, zones.lat)
    at_zone = _nearest_nodes(network, zones, margins.max_snap_m)
    offered = (zone_close == np.inf) & (at_zone.node >= 0)
    if not offered.any():
        offered = (zone_close > now_s) & (at_zone.node >= 0)
    planner = _Planner(network, hazard, closed, zones, at_zone, offered, zone_close, households, now_s, margins)
    routes = tuple(planner.route(i, with_points) for i in range(len(households.lon)))
    return Plan(routes, closed, now_s, zone_close, at_zone.node >= 0)


def arrival_at(hazard: Hazard, lon: FloatArray, lat: FloatArray) -> FloatArray:
    """(n,) seconds after valid_at at which the hazard is at each place: 0 inside now, inf never."""
    when: FloatArray = np.full(len(lon), np.inf)
    for arrival_min, geometry in reversed(hazard.layers()):
        when[inside(geometry, lon, lat)] = arrival_min * 60.0
    return when


class _ZoneNodes(NamedTuple):
    node: Int32Array  #: -1 where the zone is too far from the network
    access_m: FloatArray


def _nearest_nodes(network: RoadNetwork, zones: SafeZones, max_m: float) -> _ZoneNodes:
    from scipy.spatial import cKDTree

    x, y = network.plane.forward(network.node_lon, network.node_lat)
    zx, zy = network.plane.forward(zones.lon, zones.lat)
    away, node = cKDTree(np.column_stack([x, y])).query(np.column_stack([zx, zy]))
    return _ZoneNodes(np.where(away <= max_m, node, -1).astype(np.int32), np.asarray(away, dtype=float))


class _Start(NamedTuple):
    """One way of setting off along the road at the door."""

    node: int  #: node it leads to
    edge: int
    share: float  #: of the edge that is travelled
    close_s: float  #: when that stretch closes, from now; below 0: closed
    inside_m: float  #: metres of that stretch inside the hazard


class _Planner:
    """What one plan needs. The sweeps of a mode are made when its first household asks."""

    def __init__(
        self,
        network: RoadNetwork,
        hazard: Hazard,
        closed: Closures,
        zones: SafeZones,
        at_zone: _ZoneNodes,
        offered: BoolArray,
        zone_close: FloatArray,
        households: Households,
        now_s: float,
        margins: Margins,
    ) -> None:
        self.network, self.hazard, self.closed, self.zones, self.at_zone = network, hazard, closed, zones, at_zone
        self.offered, self.zone_close, self.now_s, self.margins = offered, zone_close, now_s, margins
        self.households = households
        self.shut = closed.closed(now_s)
        self.present = hazard.present(now_s)
        self.reached = arrival_at(hazard, households.lon, households.lat)
        self.snapped = snap(network, households.lon, households.lat, max_m=margins.max_snap_m)
        self.other = self._other_roads()
        self.modes: dict[bool, _ModeTrees] = {}

    def _other_roads(self) -> dict[int, tuple[int, float, float, float, float]]:
        """For dry doors on a closed road: an open road near by, where the straight way to it is dry too."""
        road = self.snapped.road
        stuck = np.flatnonzero((road >= 0) & self.shut[np.maximum(road, 0)] & (self.reached > self.now_s))
        if not len(stuck) or self.shut.all():
            return {}
        lon, lat = self.households.lon[stuck], self.households.lat[stuck]
        near = snap(self.network, lon, lat, max_m=self.margins.max_detour_m, usable=~self.shut)
        ends = np.stack([np.column_stack([lon, lat]), np.column_stack([near.lon, near.lat])], axis=1)
        wet = shapely.intersects(shapely.linestrings(ends), self.present)
        return {
            int(stuck[k]): (
                int(near.road[k]), float(near.fraction[k]), float(near.distance_m[k]), float(near.lon[k]),
                float(near.lat[k]),
            )
            for k in np.flatnonzero((near.road >= 0) & ~wet)
        }  # fmt: skip

    def trees(self, on_foot: bool) -> _ModeTrees:
        """The three sweeps of a mode."""
        if on_foot not in self.modes:
            self.modes[on_foot] = self._make_trees(on_foot)
        return self.modes[on_foot]

    def _make_trees(self, on_foot: bool) -> _ModeTrees:
        from geo._compiled import tree_slack

        graph = graph_of(self.network, on_foot)
        road = graph.edge_road
        speed = WALKING_M_S if on_foot else self.network.road_speed_m_s[road]
        seconds = self.network.road_length_m[road] / speed
        slow = seconds * self.margins.travel
        close = np.where(self.shut, -1.0, self.closed.close_s - self.now_s)[road]
        zone = np.flatnonzero(self.offered).astype(np.int32)
        node, access_s = self.at_zone.node[zone], self.at_zone.access_m[zone] / WALKING_M_S
        late = self.zone_close[zone] - self.now_s - access_s * self.margins.travel
        forever = np.full(len(zone), np.inf)
        open_now = np.where(close < 0.0, -1.0, np.inf)
        fastest = run_sweep(graph, seconds, open_now, node, zone, access_s, forever)
        latest = run_sweep(graph, slow, close, node, zone, access_s * self.margins.travel, late)
        order = np.argsort(fastest.time_s, kind="stable")
        order = order[np.isfinite(fastest.time_s[order])].astype(np.int64)
        end_late = np.full(self.network.n_nodes, -np.inf)
        at = fastest.zone >= 0
        late_of_zone = np.full(len(self.zone_close), np.inf)
        late_of_zone[zone] = late
        end_late[at] = late_of_zone[fastest.zone[at]]
        slack = tree_slack(order, fastest.next_edge, graph.head, slow, np.where(close < 0.0, -1.0, close), end_late)
        inside_s = self.closed.inside_m[road] / INSIDE_SPEED_M_S
        share_out = 1.0 - self.closed.inside_m[road] / self.network.road_length_m[road]
        cost = inside_s * _INSIDE_WEIGHT + inside_s + seconds * share_out
        risky = run_sweep(graph, cost, np.full(len(cost), np.inf), node, zone, access_s, forever)
        return _ModeTrees(graph, seconds, close, fastest, slack, latest, risky)

    # ---------------------------------------------------------------- one household
    def route(self, i: int, with_points: bool) -> Route:
        """The outcome of household i: exactly one status, always a reason where it is not clear."""
        if self.snapped.road[i] < 0:
            return Route(Status.OFF_NETWORK, f"no road within {self.margins.max_snap_m:.0f} m")
        if not self.offered.any():
            return Route(self._no_way_status(i), "no safe zone is left: all are reached by the hazard or off the roads")
        door = (
            int(self.snapped.road[i]), float(self.snapped.fraction[i]), float(self.snapped.distance_m[i]),
            float(self.snapped.lon[i]), float(self.snapped.lat[i]),
        )  # fmt: skip
        if self.reached[i] <= self.now_s:
            return self._way_through(i, door, with_points, outside=False)
        found = self._clear_way(i, door, with_points)
        if found is None and i in self.other:
            found = self._clear_way(i, self.other[i], with_points)
        return found or self._way_through(i, door, with_points, outside=True)

    def _no_way_status(self, i: int) -> Status:
        return Status.SHELTER_IN_PLACE if self.reached[i] <= self.now_s else Status.CUT_OFF

    def _starts(self, door: tuple[int, float, float, float, float], trees: _ModeTrees) -> list[_Start]:
        """Both ways along the road at the door, or the one way that may be driven."""
        road, fraction = door[0], door[1]
        n_roads = self.network.n_roads
        both_ways = len(trees.graph.tail) == 2 * n_roads
        back = n_roads + road if both_ways else int(self.network.backward_edge[road])
        starts = [(int(self.network.road_b[road]), road, 1.0 - fraction, fraction, 1.0)]
        if back >= 0:
            starts.append((int(self.network.road_a[road]), back, fraction, 0.0, fraction))
        return [_Start(*way[:3], *self._stretch(road, *way[3:])) for way in starts]

    def _stretch(self, road: int, first: float, last: float) -> tuple[float, float]:
        """When a stretch of a road closes, from now, and its metres inside. A closed road may be dry at the door."""
        close_s = float(self.closed.close_s[road])
        if close_s == np.inf:
            return np.inf, 0.0
        length = float(self.network.road_length_m[road])
        if self.network.road_bridge[road]:
            return (-1.0, (last - first) * length) if self.shut[road] else (close_s - self.now_s, 0.0)
        stretch = substring(self.network.lines[road], first, last, normalized=True)
        for arrival_min, geometry in self.hazard.layers():
            if shapely.intersects(geometry, stretch):
                arrival = arrival_min * 60.0 - self.now_s
                if arrival > 0.0:
                    return arrival, 0.0
                wet = shapely.length(shapely.intersection(stretch, self.present)) / self.network.lines[road].length
                return -1.0, float(wet) * length
        return np.inf, 0.0

    def _clear_way(self, i: int, door: tuple[int, float, float, float, float], with_points: bool) -> Route | None:
        """A way over open roads that can be finished when begun now, or None."""
        trees = self.trees(bool(self.households.on_foot[i]))
        access_s = door[2] / WALKING_M_S
        margin = self.margins.travel
        own_s = float(self.reached[i]) - self.now_s
        best_fast: tuple[float, float, _Start] | None = None
        best_late: tuple[float, float, _Start] | None = None
        for start in self._starts(door, trees):
            if start.close_s < 0.0:
                continue
            partial = start.share * float(trees.seconds[start.edge]) + access_s
            travel = partial + float(trees.fastest.time_s[start.node])
            if np.isfinite(travel):
                slack = min(float(trees.slack_s[start.node]), start.close_s) - partial * margin
                if best_fast is None or travel < best_fast[0]:
                    best_fast = (travel, min(slack, own_s), start)
            late = min(float(trees.latest.late_s[start.node]), start.close_s) - partial * margin
            time = partial + float(trees.latest.time_s[start.node]) / margin
            if np.isfinite(time) and (best_late is None or (-late, time) < (-best_late[0], best_late[1])):
                best_late = (late, time, start)
        last_way_out = min(best_late[0], own_s) if best_late else -np.inf
        if last_way_out < 0.0:
            return None
        # last_way_out >= 0 means that the latest tree leads out, over roads that are open now, so the fastest does too
        assert best_fast is not None
        assert best_late is not None
        if best_fast[1] >= min(self.margins.notice_s, last_way_out):
            travel, leave_by, start, tree = *best_fast, trees.fastest
        else:
            travel, leave_by, start, tree = best_late[1], last_way_out, best_late[2], trees.latest
        edges = self._edges(tree, trees.graph, start)
        return Route(
            Status.CLEAR,
            "",
            int(tree.zone[start.node]),
            travel,
            self._distance(edges, start, door, int(tree.zone[start.node]), trees.graph),
            leave_by,
            last_way_out,
            0.0,
            edges,
            self._points(i, door, edges, start, int(tree.zone[start.node]), trees.graph) if with_points else None,
        )

    def _way_through(
        self, i: int, door: tuple[int, float, float, float, float], with_points: bool, *, outside: bool
    ) -> Route:
        """The way out with the least time inside the hazard, where it is short enough to be advised."""
        trees = self.trees(bool(self.households.on_foot[i]))
        graph, risky = trees.graph, trees.risky
        starts = [s for s in self._starts(door, trees) if np.isfinite(risky.time_s[s.node])]
        due = float(self.reached[i]) - self.now_s
        if not starts:
            return Route(self._no_way_status(i), "no road leads from here to a safe zone")
        cost = [self._risk(s, trees) + float(risky.time_s[s.node]) for s in starts]
        start = starts[int(np.argmin(cost))]
        edges = self._edges(risky, graph, start)
        rest = graph.edge_road[list(edges[1:])]
        inside_m = start.inside_m + float(self.closed.inside_m[rest].sum())
        if not outside:
            inside_m += door[2]
        told = f"{inside_m:.0f} m"
        if outside and due == np.inf:
            return Route(
                Status.CUT_OFF,
                "every road out is closed or closes too soon; this place itself is not forecast to be reached: stay",
            )
        if inside_m > self.margins.max_inside_m:
            limit = f"more than the {self.margins.max_inside_m:.0f} m that may be advised"
            if outside:
                minutes = f"{due / 60.0:.0f} min"
                return Route(
                    Status.CUT_OFF,
                    f"the shortest way out crosses {told} of the hazard, {limit}; it is forecast here in {minutes}: "
                    "call for help",
                )
            return Route(
                Status.SHELTER_IN_PLACE, f"the shortest way out crosses {told} of the hazard, {limit}: go up and call"
            )
        zone = int(risky.zone[start.node])
        dry_share = start.share - start.inside_m / float(self.network.road_length_m[door[0]])
        seconds = start.inside_m / INSIDE_SPEED_M_S + float(trees.seconds[start.edge]) * dry_share
        wet = self.closed.inside_m[rest]
        dry = trees.seconds[list(edges[1:])] * (1.0 - wet / self.network.road_length_m[rest])
        seconds += float((wet / INSIDE_SPEED_M_S + dry).sum())
        travel = seconds + (door[2] + float(self.at_zone.access_m[zone])) / WALKING_M_S
        where = "every dry road out is closed or closes too soon" if outside else "it starts inside the hazard"
        return Route(
            Status.THROUGH_HAZARD,
            f"{where}: {told} of it to cross",
            zone,
            travel,
            self._distance(edges, start, door, zone, graph),
            0.0,
            0.0,
            inside_m,
            edges,
            self._points(i, door, edges, start, zone, graph) if with_points else None,
        )

    def _risk(self, start: _Start, trees: _ModeTrees) -> float:
        """What the stretch at the door adds to the cost of the sweep through the hazard."""
        inside_s = start.inside_m / INSIDE_SPEED_M_S
        return inside_s * (_INSIDE_WEIGHT + 1.0) + start.share * float(trees.seconds[start.edge])

    def _edges(self, tree: Tree, graph: Graph, start: _Start) -> tuple[int, ...]:
        edges, node = [start.edge], start.node
        while (edge := int(tree.next_edge[node])) >= 0:
            edges.append(edge)
            node = int(graph.head[edge])
        return tuple(edges)

    def _distance(
        self,
        edges: tuple[int, ...],
        start: _Start,
        door: tuple[int, float, float, float, float],
        zone: int,
        graph: Graph,
    ) -> float:
        length = self.network.road_length_m[graph.edge_road[list(edges)]]
        on_roads = float(length[0]) * start.share + float(length[1:].sum())
        return on_roads + door[2] + float(self.at_zone.access_m[zone])

    def _points(
        self, i: int, door: tuple[int, float, float, float, float], edges: tuple[int, ...], start: _Start, zone: int,
        graph: Graph,
    ) -> FloatArray:  # fmt: skip
        """(k, 2) lon, lat from the door along the roads into the safe zone."""
        pieces = [np.array([[self.households.lon[i], self.households.lat[i]], [door[3], door[4]]])]
        for k, edge in enumerate(edges):
            road = int(graph.edge_road[edge])
            forward = edge < self.network.n_roads
            if k == 0:
                ends = (door[1], 1.0) if forward else (0.0, door[1])
                stretch = substring(self.network.plane_lines[road], *ends, normalized=True)
                x, y = shapely.get_coordinates(stretch).T
                shape = np.column_stack(self.network.plane.inverse(x, y))
            else:
                shape = self.network.shape(road)
            pieces.append((shape if forward else shape[::-1])[1:])
        pieces.append(np.array([[self.zones.lon[zone], self.zones.lat[zone]]]))
        points = np.concatenate(pieces)
        keep = np.append(True, (np.abs(np.diff(points, axis=0)) > 1e-9).any(axis=1))
        result: FloatArray = points[keep]
        return result
