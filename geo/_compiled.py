"""The two sweeps over a road graph, compiled. Each has a plain twin in tests/unit/geo/test_evacuation.py.

Edges are grouped by their head (`in_start`, `in_edge`), because both sweeps run from the safe zones backwards. Equal
times are settled by the lower zone and then the lower edge, so that the same inputs give the same routes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]


@njit(cache=True)
def _before(l1: float, d1: float, n1: int, l2: float, d2: float, n2: int) -> bool:
    """Heap order: later departure first, then shorter time, then lower node."""
    if l1 != l2:
        return l1 > l2
    if d1 != d2:
        return d1 < d2
    return n1 < n2


@njit(cache=True)
def _push(
    late: FloatArray, time: FloatArray, node: Int32Array, size: int, late_: float, time_: float, node_: int
) -> int:
    i = size
    while i > 0:
        parent = (i - 1) // 4
        if not _before(late_, time_, node_, late[parent], time[parent], node[parent]):
            break
        late[i], time[i], node[i] = late[parent], time[parent], node[parent]
        i = parent
    late[i], time[i], node[i] = late_, time_, node_
    return size + 1


@njit(cache=True)
def _pop(late: FloatArray, time: FloatArray, node: Int32Array, size: int) -> int:
    """Removes the first entry (the caller has read it); returns the new size."""
    size -= 1
    late_, time_, node_ = late[size], time[size], node[size]
    i = 0
    while True:
        child = 4 * i + 1
        if child >= size:
            break
        best = child
        for other in range(child + 1, min(child + 4, size)):
            if _before(late[other], time[other], node[other], late[best], time[best], node[best]):
                best = other
        if not _before(late[best], time[best], node[best], late_, time_, node_):
            break
        late[i], time[i], node[i] = late[best], time[best], node[best]
        i = best
    if size > 0:
        late[i], time[i], node[i] = late_, time_, node_
    return size


@njit(cache=True)
def sweep(
    in_start: IntArray,
    in_edge: Int32Array,
    tail: Int32Array,
    seconds: FloatArray,
    close_s: FloatArray,
    source_node: Int32Array,
    source_zone: Int32Array,
    source_s: FloatArray,
    source_late_s: FloatArray,
) -> Any:
    """Latest safe departure of every node, and among equal ones the shortest time to a safe zone.

    Parameters
    ----------
    in_start, in_edge : edges by head, as a CSR: in_edge[in_start[v]:in_start[v + 1]] end at v
    tail : (n_edges,) node where an edge starts
    seconds : (n_edges,) travel time, >= 0
    close_s : (n_edges,) when the edge closes; it must be left by then. inf: never; below 0: closed now
    source_node, source_zone, source_s, source_late_s : where the sweep starts: a node, its safe zone, the time from
        the node into the zone, and the latest moment to be at the node

    Returns
    -------
    late_s : (n_nodes,) L(u) = max over edges u->v of min(L(v), close) - seconds; -inf where there is no way
    time_s : (n_nodes,) travel time of that way; inf where there is none
    next_edge : (n_nodes,) first edge of that way; -1 at a source and where there is none
    zone : (n_nodes,) safe zone it ends in; -1 where there is none

    Notes
    -----
    With every close_s and source_late_s infinite this is the multi-source shortest path of Dijkstra (1959). With
    closing times it is label-setting as well, because L never rises along an edge backwards: the reverse of the
    earliest arrival problem of Cooke & Halsey (1966) with roads that close and never reopen. Where L is infinite the
    time is the shortest; where it is finite, L is exact and the time is that of the way the sweep found.
    """
    n = len(in_start) - 1
    late = np.full(n, -np.inf)
    time = np.full(n, np.inf)
    next_edge = np.full(n, -1, dtype=np.int32)
    zone = np.full(n, -1, dtype=np.int32)
    done = np.zeros(n, dtype=np.bool_)
    room = len(tail) + len(source_node) + 1
    heap_late, heap_time, heap_node = np.empty(room), np.empty(room), np.empty(room, dtype=np.int32)
    size = 0
    for i in range(len(source_node)):
        u = source_node[i]
        better = source_late_s[i] > late[u] or (source_late_s[i] == late[u] and source_s[i] < time[u])
        if source_late_s[i] == -np.inf or not better:
            continue
        late[u], time[u], zone[u] = source_late_s[i], source_s[i], source_zone[i]
        size = _push(heap_late, heap_time, heap_node, size, late[u], time[u], u)
    while size > 0:
        v, l_v, t_v = heap_node[0], heap_late[0], heap_time[0]
        size = _pop(heap_late, heap_time, heap_node, size)
        if done[v] or l_v != late[v] or t_v != time[v]:
            continue
        done[v] = True
        for k in range(in_start[v], in_start[v + 1]):
            e = in_edge[k]
            if close_s[e] < 0.0:
                continue
            u = tail[e]
            if done[u]:
                continue
            l_u = min(l_v, close_s[e]) - seconds[e]
            t_u = t_v + seconds[e]
            if l_u == -np.inf:
                continue
            if l_u > late[u] or (l_u == late[u] and t_u < time[u]):
                late[u], time[u] = l_u, t_u
                next_edge[u], zone[u] = e, zone[v]
                size = _push(heap_late, heap_time, heap_node, size, l_u, t_u, u)
            elif (
                l_u == late[u]
                and t_u == time[u]
                and next_edge[u] >= 0
                and (zone[v] < zone[u] or (zone[v] == zone[u] and e < next_edge[u]))
            ):
                next_edge[u], zone[u] = e, zone[v]
    return late, time, next_edge, zone


@njit(cache=True)
def tree_slack(
    order: IntArray, next_edge: Int32Array, head: Int32Array, seconds: FloatArray, close_s: FloatArray,
    source_late_s: FloatArray,
) -> Any:  # fmt: skip
    """(n_nodes,) the latest departure along a fixed tree: when the way in `next_edge` can last be started.

    `order` lists the reachable nodes, nearest to the safe zone first. `source_late_s` (n_nodes,) is the latest moment
    to be at a node where the tree ends, and is read only there.
    """
    slack = np.full(len(next_edge), -np.inf)
    for i in range(len(order)):
        u = order[i]
        e = next_edge[u]
        if e < 0:
            slack[u] = source_late_s[u]
        else:
            slack[u] = min(slack[head[e]], close_s[e]) - seconds[e]
    return slack


def warmup() -> None:
    """Compiles (or loads from the cache) everything here, so that the first footprint does not wait for it."""
    f, i64, i32 = np.zeros(1), np.zeros(2, dtype=np.int64), np.zeros(1, dtype=np.int32)
    i64[1] = 1
    late, _, next_edge, _ = sweep(i64, i32, i32, f, f, i32, i32, f, f)
    tree_slack(i64[:1], next_edge, i32, f, f, late)
