"""The directed graph of a network for one mode of travel, and sweeps over it from the safe zones backwards."""

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geo.crs import BoolArray, FloatArray
from geo.network import WALKING_M_S, Int32Array, RoadNetwork

Int64Array = npt.NDArray[np.int64]


class Graph:
    """Edges of a network for one mode: the roads that it may use, in both directions or in one.

    Edges that end at one node are numbered one after the other, and neighbouring nodes follow each other along a
    curve that fills the plane: what a sweep looks at together lies together in memory.
    """

    def __init__(self, network: RoadNetwork, on_foot: bool) -> None:
        self.network, self.on_foot = network, on_foot
        if on_foot:
            along = back = np.flatnonzero(network.road_foot)
        else:
            along = np.flatnonzero(network.road_car)
            back = np.flatnonzero(network.road_car & ~network.road_oneway)
        road = np.concatenate([along, back]).astype(np.int32)
        ahead = np.arange(len(road)) < len(along)
        place = _place(network.node_lon, network.node_lat)
        order = np.argsort(place[np.where(ahead, network.road_b[road], network.road_a[road])], kind="stable")
        self.edge_road: Int32Array = road[order]
        self.forward: BoolArray = ahead[order]
        a, b = network.road_a[self.edge_road], network.road_b[self.edge_road]
        self.tail: Int32Array = np.where(self.forward, a, b).astype(np.int32)
        self.head: Int32Array = np.where(self.forward, b, a).astype(np.int32)
        #: (2 * n_roads,) the edge of 2 * road (along its shape) and 2 * road + 1 (against it); -1: not for this mode
        self.edge_of: Int32Array = np.full(2 * network.n_roads, -1, dtype=np.int32)
        self.edge_of[2 * self.edge_road + ~self.forward] = np.arange(len(self.edge_road))
        self.reverse: Int32Array = self.edge_of[2 * self.edge_road + self.forward]
        n = network.n_nodes
        first_in: Int32Array = np.full(n, 0, dtype=np.int32)
        group = np.flatnonzero(np.diff(self.head, prepend=-1))
        first_in[self.head[group]] = group
        #: (n_edges,) the edges that end where this one starts: a range of numbers
        self.enter_start: Int32Array = first_in[self.tail]
        self.enter_end: Int32Array = (self.enter_start + np.bincount(self.head, minlength=n)[self.tail]).astype(
            np.int32
        )
        n_out = np.bincount(self.tail, minlength=n)
        self.no_turn: BoolArray = n_out[self.head] > 1
        self.private: BoolArray = (
            np.zeros(len(self.tail), dtype=bool) if on_foot else network.road_private[self.edge_road].copy()
        )
        first = self.edge_of[network.ban_from] if not on_foot else np.zeros(0, dtype=np.int32)
        then = self.edge_of[network.ban_to] if not on_foot else np.zeros(0, dtype=np.int32)
        known = (first >= 0) & (then >= 0)
        order = np.argsort(first[known], kind="stable")
        self.ban_start: Int64Array = _csr(first[known], len(self.tail))
        self.ban_to: Int32Array = np.ascontiguousarray(then[known][order], dtype=np.int32)
        has_ban = np.diff(self.ban_start) > 0
        #: (n_edges,) 1: no turning round at its end, 2: private, 4: it has turn bans
        self.flags: npt.NDArray[np.uint8] = (self.no_turn * 1 + self.private * 2 + has_ban * 4).astype(np.uint8)
        self.length_m: FloatArray = network.road_length_m[self.edge_road]

    @cached_property
    def out_edge(self) -> Int32Array:
        """Edges by tail; `out_start` is their CSR."""
        return np.argsort(self.tail, kind="stable").astype(np.int32)

    @cached_property
    def out_start(self) -> Int64Array:
        return _csr(self.tail, self.network.n_nodes)

    @cached_property
    def seconds(self) -> FloatArray:
        """(n_edges,) free-flow travel time; on foot by the slope where both heights are known."""
        if not self.on_foot:
            return self.length_m / self.network.road_speed_m_s[self.edge_road]
        rise = self.network.node_height_m[self.head] - self.network.node_height_m[self.tail]
        return self.length_m / walking_m_s(rise / self.length_m)


def _csr(of: npt.NDArray[np.int32], n: int) -> Int64Array:
    return np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n))]).astype(np.int64)


def _place(lon: FloatArray, lat: FloatArray) -> Int64Array:
    """(n,) places along a Z-order curve (Morton 1966) over the bounds of some points, 16 bits a side; ties by index."""
    place: Int64Array = np.zeros(len(lon), dtype=np.int64)
    for shift, value in ((0, lon), (1, lat)):
        wide = max(float(np.ptp(value)), 1e-12) if len(value) else 1.0
        cell = ((value - value.min()) / wide * 65535.0).astype(np.int64) if len(value) else place
        for bit in range(16):
            place |= (cell >> bit & 1) << (2 * bit + shift)
    rank: Int64Array = np.empty(len(lon), dtype=np.int64)
    rank[np.argsort(place, kind="stable")] = np.arange(len(lon))
    return rank


def walking_m_s(slope: FloatArray) -> FloatArray:
    """Speed on foot by slope (rise over run; NaN is level): Tobler (1993), scaled to WALKING_M_S on the level.

    W = 6 exp(-3.5 |S + 0.05|) km/h; slopes beyond 1 count as 1.
    """
    level = np.where(np.isnan(slope), 0.0, np.clip(slope, -1.0, 1.0))
    speed: FloatArray = WALKING_M_S * np.exp(-3.5 * np.abs(level + 0.05)) / np.exp(-3.5 * 0.05)
    return speed


@lru_cache(maxsize=8)
def graph_of(network: RoadNetwork, on_foot: bool) -> Graph:
    """The graph of a mode, kept."""
    return Graph(network, on_foot)


#: A part of the network counts as no island when it has this share of the nodes of the largest part.
_MAIN_SHARE = 0.1


@lru_cache(maxsize=8)
def leads_on(network: RoadNetwork, on_foot: bool, *, towards: bool = False) -> BoolArray:
    """(n_roads,) True where a dry road leads on into the main network; with `towards`, where the main network leads to.

    The main network is the largest strongly connected part and every other that has a tenth of its nodes: what is
    left are islands, and pieces that a map draws without the join they have on the ground.
    """
    graph = graph_of(network, on_foot)
    found: BoolArray = np.zeros(network.n_roads, dtype=bool)
    if not len(graph.tail):
        return found
    n = network.n_nodes
    start, end = (graph.tail, graph.head) if towards else (graph.head, graph.tail)
    ones = np.ones(len(start), dtype=np.int8)
    _, part = connected_components(csr_array((ones, (start, end)), shape=(n, n)), connection="strong")
    used = np.zeros(n, dtype=bool)
    used[start] = used[end] = True
    size = np.bincount(part[used], minlength=int(part.max()) + 1)
    main = np.flatnonzero(used & (size[part] >= _MAIN_SHARE * size.max()))
    # one node more, from which a single search begins in all of the main network at once
    tails, heads = np.append(start, np.full(len(main), n)), np.append(end, main)
    whole = csr_array((np.ones(len(tails), dtype=np.int8), (tails, heads)), shape=(n + 1, n + 1))
    reached = np.zeros(n + 1, dtype=bool)
    reached[breadth_first_order(whole, n, directed=True, return_predecessors=False)] = True
    found[graph.edge_road[reached[start]]] = True
    return found


class Sources(NamedTuple):
    """Where ways end: an edge, how far along it, and which safe zone stands there."""

    edge: Int32Array
    zone: Int32Array
    share: FloatArray  #: of the edge that is travelled
    access_m: FloatArray  #: on foot from the road into the zone
    close_s: FloatArray  #: when that stretch or the zone closes; inf: never; below 0: closed now


class Tree(NamedTuple):
    """What a sweep gives each edge: the way on from its end."""

    late_s: FloatArray  #: latest moment at the end of the edge; -inf: no way
    time_s: FloatArray  #: travel time from there; inf: no way
    next_edge: Int32Array  #: -1: no way
    source: Int32Array  #: index into Sources where a way that enters this edge ends in it; else -1
    order: Int32Array  #: edges with a way, each after its next_edge


def run_sweep(
    graph: Graph,
    seconds: FloatArray,
    close_s: FloatArray,
    source_edge: Int32Array,
    source_s: FloatArray,
    source_late_s: FloatArray,
) -> Tree:
    """`geo._compiled.sweep`: the latest safe departure under closing times, `late_s` inf where nothing ever closes.

    Of ways that never close it takes the shortest: they are counted back from a horizon beyond every closing time.
    """
    from geo._compiled import sweep

    finite = [a[np.isfinite(a)] for a in (close_s, source_late_s)]
    last = max([float(a.max()) for a in finite if len(a)] + [0.0])
    horizon = last + 1e8
    late = np.where(source_late_s == np.inf, horizon - source_s, source_late_s)
    n = max(len(seconds), 1)
    sample = seconds[:: max(n // 1000, 1)]
    typical = float(np.median(sample)) if len(sample) else 1.0
    tree = Tree(
        *sweep(
            graph.enter_start, graph.enter_end, graph.reverse, graph.flags, graph.ban_start, graph.ban_to,
            np.ascontiguousarray(seconds, dtype=np.float64), np.ascontiguousarray(close_s, dtype=np.float64),
            source_edge.astype(np.int32), source_s.astype(np.float64), late.astype(np.float64),
            max(typical, 1e-3) / (2.0 * n**0.5), 1 << int(np.ceil(np.log2(32.0 * n**0.5))),
        )
    )  # fmt: skip
    return tree._replace(late_s=np.where(tree.late_s > last, np.inf, tree.late_s))
