"""When roads close: their lines against the polygons of a hazard, and bridges by their approaches."""

from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geo.crs import BoolArray, FloatArray
from geo.exposure import IntArray
from geo.hazard import WATER_PERILS, Hazard, inside
from geo.network import RoadNetwork


@dataclass(frozen=True)
class Closures:
    """When each road closes and how much of it is inside the hazard now."""

    close_s: FloatArray  #: (n_roads,) seconds after valid_at; 0: closed in the present footprint; inf: stays open
    inside_m: FloatArray  #: (n_roads,) metres inside the hazard at `now_s`; 0 on a bridge that stands above it

    def closed(self, now_s: float = 0.0) -> BoolArray:
        """(n_roads,) True where the road is closed at `now_s`."""
        return self.close_s <= now_s


def closures(network: RoadNetwork, hazard: Hazard, now_s: float = 0.0) -> Closures:
    """When each road closes: it meets the footprint (0) or a zone (its arrival). Roads are tested as lines.

    `now_s` (seconds after valid_at) is the moment for which the metres inside are measured.

    Over water a bridge stays open while at least two of its abutments can be reached: see `_bridges`.
    """
    close: FloatArray = np.full(network.n_roads, np.inf)
    inside_m = np.zeros(network.n_roads)
    node_close: FloatArray = np.full(network.n_nodes, np.inf)
    for arrival_min, geometry in hazard.layers():
        if geometry.is_empty:
            continue
        arrival_s = arrival_min * 60.0
        parts = shapely.get_parts(geometry)
        hit = np.unique(network.tree.query(parts, predicate="intersects")[1])
        close[hit] = np.minimum(close[hit], arrival_s)
        wet = inside(geometry, network.node_lon, network.node_lat)
        node_close[wet] = np.minimum(node_close[wet], arrival_s)
    shut = np.flatnonzero(close <= now_s)
    if len(shut):
        inside_m[shut] = _inside_m(network, shut, hazard.present(now_s))
    if hazard.peril in WATER_PERILS and network.road_bridge.any():
        bridge_close = _bridges(network, close, node_close)
        bridges = network.road_bridge
        close[bridges] = bridge_close[bridges]
        inside_m[bridges & (close > now_s)] = 0.0
        # a bridge that closed with its approaches has its whole length to cross
        lost = bridges & (close <= now_s)
        inside_m[lost] = network.road_length_m[lost]
    return Closures(close, inside_m)


def _inside_m(network: RoadNetwork, roads: IntArray, geometry: BaseGeometry) -> FloatArray:
    """Metres of some roads inside a geometry; a touching road has at least a metre, so that it is never free."""
    lines = network.lines[roads]
    shapely.prepare(geometry)
    whole = shapely.contains_properly(geometry, lines)
    share = np.ones(len(roads))
    cut = ~whole
    share[cut] = shapely.length(shapely.intersection(lines[cut], geometry)) / shapely.length(lines[cut])
    length = network.road_length_m[roads]
    return np.minimum(np.maximum(share * length, 1.0), length)


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
    result = close.copy()
    second: dict[int, float] = {}
    last = np.flatnonzero(np.append(of[1:] != of[:-1], True)) if len(of) else np.zeros(0, dtype=int)
    for i in last:
        second[int(of[i])] = float(reach[i - 1]) if i > 0 and of[i - 1] == of[i] else float(reach[i])
    for road in bridge:
        result[road] = second.get(int(component[network.road_a[road]]), np.inf)
    return result
