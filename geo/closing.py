"""When roads close: their lines against the polygons of a hazard, bridges by their approaches, underpasses first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geo.crs import BoolArray, FloatArray
from geo.exposure import IntArray
from geo.hazard import WATER_PERILS, Hazard, inside
from geo.network import Int32Array, RoadNetwork

#: Water this near to an underpass runs into it.
UNDERPASS_REACH_M = 30.0


#: Every road, bridges over water among them: what burns or shakes beside a flood, and is in the hazard's ground too.
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialLayer:
    """Ground where the hazard closes some roads only: shallow water, or shaking that bridges do not stand; or where
    another peril than the hazard's closes all."""

    arrival_min: float
    geometry: BaseGeometry
    only: str  #: "underpass", "bridge", or ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An operator's word on some roads, which wins over what is computed."""

    roads: Int32Array  #: indices into the network's roads
    opened: bool  #: True: open for the whole plan; False: closed now
    by: str
    reason: str


@dataclass(frozen=True)
class Closures:
    """When each road closes and how much of it is inside the hazard now."""

    close_s: FloatArray  #: (n_roads,) seconds after valid_at; 0: closed in the present footprint; inf: stays open
    inside_m: FloatArray  #: (n_roads,) metres inside the hazard at `now_s`; 0 on a bridge that stands above it
    barred: BoolArray  #: (n_roads,) closed by an operator: not even crossed by those who must cross the hazard
    whole: BoolArray  #: (n_roads,) closes as one piece (bridges over water, underpasses, overrides)

    def closed(self, now_s: float = 0.0) -> BoolArray:
        """(n_roads,) True where the road is closed at `now_s`."""
        return self.close_s <= now_s


def closures(
    network: RoadNetwork,
    hazard: Hazard,
    now_s: float = 0.0,
    *,
    partial: Sequence[PartialLayer] = (),
    overrides: Sequence[Override] = (),
) -> Closures:
    """When each road closes: it meets the footprint (0) or a zone (its arrival). Roads are tested as lines.

    `now_s` (seconds after valid_at) is the moment for which the metres inside are measured.

    Over water a bridge stays open while at least two of its abutments can be reached: see `_bridges`. An underpass
    (a tunnel, or a road on a layer below 0) closes as soon as water is within UNDERPASS_REACH_M of it.
    """
    close: FloatArray = np.full(network.n_roads, np.inf)
    inside_m = np.zeros(network.n_roads)
    node_close: FloatArray = np.full(network.n_nodes, np.inf)
    water = hazard.peril in WATER_PERILS
    under = (network.road_tunnel | (network.road_layer < 0)) & ~network.road_bridge
    whole = (network.road_bridge | under) if water else np.zeros(network.n_roads, dtype=bool)
    for arrival_min, geometry in hazard.layers():
        if geometry.is_empty:
            continue
        arrival_s = arrival_min * 60.0
        parts = shapely.get_parts(geometry)
        hit = np.unique(network.tree.query(parts, predicate="intersects")[1])
        close[hit] = np.minimum(close[hit], arrival_s)
        if water:
            wet = inside(geometry, network.node_lon, network.node_lat)
            node_close[wet] = np.minimum(node_close[wet], arrival_s)
            _lower(close, _near(network, under, geometry), arrival_s)
    shut = np.flatnonzero(close <= now_s)
    if len(shut):
        inside_m[shut] = _inside_m(network, shut, hazard.present(now_s))
    for layer in partial:
        if layer.only == ALL:
            continue
        if layer.only == "underpass":
            _lower(close, _near(network, under, layer.geometry), layer.arrival_min * 60.0)
        else:
            hit = np.unique(network.tree.query(shapely.get_parts(layer.geometry), predicate="intersects")[1])
            _lower(close, hit[network.road_bridge[hit]], layer.arrival_min * 60.0)
            whole = whole | network.road_bridge
    if water and network.road_bridge.any():
        bridge_close = _bridges(network, close, node_close)
        bridges = network.road_bridge
        close[bridges] = bridge_close[bridges]
        inside_m[bridges & (close > now_s)] = 0.0
        # a bridge that closed with its approaches has its whole length to cross
        lost = bridges & (close <= now_s)
        inside_m[lost] = network.road_length_m[lost]
    for layer in partial:
        if layer.only == ALL:
            hit = np.unique(network.tree.query(shapely.get_parts(layer.geometry), predicate="intersects")[1])
            _lower(close, hit, layer.arrival_min * 60.0)
    lost = whole & (close <= now_s) & (inside_m == 0.0)  # closed by what is near or below it: all of it is to cross
    inside_m[lost] = network.road_length_m[lost]
    return _overridden(Closures(close, inside_m, np.zeros(network.n_roads, dtype=bool), whole), overrides)


def _lower(close: FloatArray, roads: IntArray, arrival_s: float) -> None:
    close[roads] = np.minimum(close[roads], arrival_s)


def opened(network: RoadNetwork, overrides: Sequence[Override]) -> RoadNetwork:
    """The network with those emergency exits open to cars that an operator opens and none closes; else as it is."""
    car = network.road_car.copy()
    for override in overrides:
        exits = override.roads[network.road_emergency[override.roads]]
        car[exits] = override.opened
    return network if np.array_equal(car, network.road_car) else replace(network, road_car=car)


def _overridden(closed: Closures, overrides: Sequence[Override]) -> Closures:
    if not overrides:
        return closed
    close, inside_m = closed.close_s.copy(), closed.inside_m.copy()
    barred, whole = closed.barred.copy(), closed.whole.copy()
    for override in overrides:
        at = override.roads
        close[at] = np.inf if override.opened else 0.0
        barred[at] = not override.opened
        inside_m[at] = 0.0
        whole[at] = True
    return replace(closed, close_s=close, inside_m=inside_m, barred=barred, whole=whole)


def _near(network: RoadNetwork, of: BoolArray, geometry: BaseGeometry) -> IntArray:
    """Roads among `of` within UNDERPASS_REACH_M of a geometry."""
    index = np.flatnonzero(of)
    if not len(index):
        return index

    def to_plane(xy: FloatArray) -> FloatArray:
        return np.column_stack(network.plane.forward(xy[:, 0], xy[:, 1]))

    ground = shapely.transform(geometry, to_plane)
    shapely.prepare(ground)
    lines = shapely.transform(network.lines[index], to_plane)
    near: IntArray = index[shapely.dwithin(ground, lines, UNDERPASS_REACH_M)]
    return near


def _inside_m(network: RoadNetwork, roads: IntArray, geometry: BaseGeometry) -> FloatArray:
    """Metres of some roads inside a geometry; a touching road has at least a metre, so that it is never free."""
    lines = network.lines[roads]
    shapely.prepare(geometry)
    share = np.ones(len(roads))
    cut = ~shapely.contains_properly(geometry, lines)
    share[cut] = shapely.length(shapely.intersection(lines[cut], geometry)) / shapely.length(lines[cut])
    length = network.road_length_m[roads]
    return np.minimum(np.maximum(share * length, 1.0), length)


class Stretches:
    """The part of each road that a hazard reaches, layer by layer, for the stretches at doors and safe zones.

    A layer's part is the hull along the road of what lies inside: between two ponds nobody is told that it is dry.
    """

    def __init__(self, network: RoadNetwork, hazard: Hazard, closed: Closures, roads: Int32Array, now_s: float) -> None:
        self.network, self.closed, self.now_s = network, closed, now_s
        self.roads = np.unique(roads[roads >= 0])
        self.roads = self.roads[(closed.close_s[self.roads] < np.inf) & ~closed.whole[self.roads]]
        self.at: npt.NDArray[np.int64] = np.full(network.n_roads, -1, dtype=np.int64)
        self.at[self.roads] = np.arange(len(self.roads))
        self.layers = [
            (arrival_min * 60.0, *self._extent(geometry))
            for arrival_min, geometry in hazard.layers()
            if not geometry.is_empty and len(self.roads)
        ]

    def _extent(self, geometry: BaseGeometry) -> tuple[FloatArray, FloatArray]:
        """(lo, hi) per road, as fractions along it; lo 2 and hi -1 where the geometry does not meet it."""
        lines = self.network.lines[self.roads]
        lo, hi = np.full(len(lines), 2.0), np.full(len(lines), -1.0)
        shapely.prepare(geometry)
        whole = shapely.contains_properly(geometry, lines)
        lo[whole], hi[whole] = 0.0, 1.0
        part = np.flatnonzero(~whole & shapely.intersects(geometry, lines))
        if len(part):
            cut = shapely.intersection(lines[part], geometry)
            xy, of = shapely.get_coordinates(cut, return_index=True)
            along = shapely.line_locate_point(lines[part][of], shapely.points(xy), normalized=True)
            np.minimum.at(lo, part[of], along)
            np.maximum.at(hi, part[of], along)
        return lo, hi

    def of(self, road: Int32Array, lo: FloatArray, hi: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(close_s, inside_m) of stretches of roads, as fractions along them.

        close_s counts from now and is -1 where the stretch is closed; inside_m are metres inside the hazard now.
        """
        known = road >= 0
        safe = np.maximum(road, 0)
        close: FloatArray = np.where(known, np.inf, -1.0)
        inside_m = np.zeros(road.shape)
        length = self.network.road_length_m[safe]
        whole = known & self.closed.whole[safe]
        close = np.where(whole, self.closed.close_s[safe], close)
        inside_m = np.where(
            whole & (close <= self.now_s), np.minimum(self.closed.inside_m[safe], (hi - lo) * length), inside_m
        )
        place = self.at[safe]
        rows = np.nonzero(known & (place >= 0))
        if len(rows[0]):
            k, a, b = place[rows], lo[rows], hi[rows]
            when, wet = np.full(len(k), np.inf), np.zeros(len(k))
            for arrival_s, begin, end in self.layers:
                meets = (end[k] >= a - 1e-12) & (begin[k] <= b + 1e-12)
                when[meets] = np.minimum(when[meets], arrival_s)
                if arrival_s <= self.now_s:
                    wet = np.maximum(wet, np.where(meets, np.minimum(end[k], b) - np.maximum(begin[k], a), 0.0))
            close[rows] = when
            metres = np.minimum(wet * length[rows], self.closed.inside_m[safe[rows]])
            inside_m[rows] = np.where(when <= self.now_s, np.maximum(metres, 0.0), 0.0)
        return np.where(close <= self.now_s, -1.0, close - self.now_s), inside_m


def line_arrival(hazard: Hazard, lon1: FloatArray, lat1: FloatArray, lon2: FloatArray, lat2: FloatArray) -> FloatArray:
    """Seconds after valid_at at which the hazard first meets each straight way; inf: never. Any shape."""
    when: FloatArray = np.full(lon1.shape, np.inf)
    west, east = np.minimum(lon1, lon2), np.maximum(lon1, lon2)
    south, north = np.minimum(lat1, lat2), np.maximum(lat1, lat2)
    for arrival_min, geometry in reversed(hazard.layers()):
        if geometry.is_empty:
            continue
        x0, y0, x1, y1 = geometry.bounds
        near = np.nonzero((east >= x0) & (west <= x1) & (north >= y0) & (south <= y1))
        if not len(near[0]):
            continue
        ends = np.stack([np.column_stack([lon1[near], lat1[near]]), np.column_stack([lon2[near], lat2[near]])], axis=1)
        shapely.prepare(geometry)
        meets = shapely.intersects(geometry, shapely.linestrings(ends))
        when[tuple(index[meets] for index in near)] = arrival_min * 60.0
    return when


def _bridges(network: RoadNetwork, close: FloatArray, node_close: FloatArray) -> FloatArray:
    """(n_roads,) closing times of bridges over water; other roads keep `close`.

    A bridge is all bridge roads that hang together. Its abutments are its nodes where other roads begin, and its loose
    ends. An abutment closes when the water is at it or when the last of its approaches closes. The bridge is of use as
    long as it can be entered at one abutment and left at another, so it closes with the last but one of them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    bridge = np.flatnonzero(network.road_bridge)
    other = np.flatnonzero(~network.road_bridge)
    n = network.n_nodes
    approach: FloatArray = np.full(n, -np.inf)  # when the last approach of a node closes; -inf: it has none
    np.maximum.at(approach, network.road_a[other], close[other])
    np.maximum.at(approach, network.road_b[other], close[other])
    ends = np.concatenate([network.road_a[bridge], network.road_b[bridge]])
    n_bridge_ends = np.bincount(ends, minlength=n)
    graph = coo_array((np.ones(len(bridge)), (network.road_a[bridge], network.road_b[bridge])), shape=(n, n))
    _, component = connected_components(graph.tocsr(), directed=False)
    has_approach = np.isfinite(approach) | (approach == np.inf)
    abutment = np.unique(ends)
    abutment = abutment[has_approach[abutment] | (n_bridge_ends[abutment] == 1)]
    reach = np.where(has_approach[abutment], np.minimum(approach[abutment], node_close[abutment]), node_close[abutment])
    # last but one within each bridge: sort by bridge, then by closing time, and take the second largest
    order = np.lexsort((reach, component[abutment]))
    of, reach = component[abutment][order], reach[order]
    second: FloatArray = np.full(n, np.inf)
    last = np.flatnonzero(np.append(of[1:] != of[:-1], True)) if len(of) else np.zeros(0, dtype=int)
    before = np.maximum(last - 1, 0)
    pair = (last > 0) & (of[before] == of[last]) if len(of) else np.zeros(0, dtype=bool)
    if len(of):
        second[of[last]] = np.where(pair, reach[before], reach[last])
    result = close.copy()
    result[bridge] = second[component[network.road_a[bridge]]]
    return result
