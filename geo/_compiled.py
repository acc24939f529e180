"""The sweeps over the edges of a road graph, compiled. Plain twins: tests/unit/geo/test_sweep.py.

States are directed edges, so that turn bans hold and nobody turns round in the road. Edges are grouped by their head
(`in_start`, `in_edge`), because sweeps run from the safe zones backwards. Equal times are settled by the lower edge, so
that the same inputs give the same routes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


@njit(cache=True)
def push(key: FloatArray, item: Int32Array, size: int, key_: float, item_: int) -> int:
    """Adds an entry to a heap with four children a node, ordered by key and then item; returns the new size."""
    i = size
    while i > 0:
        parent = (i - 1) >> 2
        if key_ > key[parent] or (key_ == key[parent] and item_ >= item[parent]):
            break
        key[i], item[i] = key[parent], item[parent]
        i = parent
    key[i], item[i] = key_, item_
    return size + 1


@njit(cache=True)
def pop(key: FloatArray, item: Int32Array, size: int) -> int:
    """Removes the first entry (the caller has read it); returns the new size."""
    size -= 1
    key_, item_ = key[size], item[size]
    i = 0
    while True:
        child = 4 * i + 1
        if child >= size:
            break
        best = child
        for other in range(child + 1, min(child + 4, size)):
            if key[other] < key[best] or (key[other] == key[best] and item[other] < item[best]):
                best = other
        if key_ < key[best] or (key_ == key[best] and item_ <= item[best]):
            break
        key[i], item[i] = key[best], item[best]
        i = best
    if size > 0:
        key[i], item[i] = key_, item_
    return size


@njit(cache=True)
def is_banned(ban_start: IntArray, ban_to: Int32Array, first: int, then: int) -> bool:
    """Whether edge `then` may not follow edge `first`."""
    for k in range(ban_start[first], ban_start[first + 1]):  # noqa: SIM110 a generator does not compile
        if ban_to[k] == then:
            return True
    return False


@njit(cache=True)
def sweep(
    in_start: IntArray, in_edge: Int32Array, in_reverse: Int32Array, in_flags: ByteArray, tail: Int32Array,
    private: BoolArray, ban_start: IntArray, ban_to: Int32Array, seconds: FloatArray, close_s: FloatArray,
    source_edge: Int32Array, source_s: FloatArray, source_late_s: FloatArray,
) -> Any:  # fmt: skip
    """Latest safe departure from the end of every edge, over the turns that are allowed there.

    Parameters
    ----------
    in_start, in_edge : edges by head, as a CSR: in_edge[in_start[v]:in_start[v + 1]] end at v
    in_reverse : (n_edges,) of each in_edge the same road the other way; -1 on a one-way road
    in_flags : (n_edges,) of each in_edge: 1: no turning round at its end, 2: it is private, 4: it has turn bans
    tail : (n_edges,) nodes where an edge starts
    private : (n_edges,) may not be entered from an edge that is not private
    ban_start, ban_to : turn bans by first edge, as a CSR
    seconds : (n_edges,) travel time, >= 0
    close_s : (n_edges,) when the edge closes; it must be left by then. inf: never; below 0: closed now
    source_edge, source_s, source_late_s : safe zones: the edge one stands at, the time from its start into the zone,
        and the latest moment to be at its start

    Returns
    -------
    late_s : (n_edges,) C(e) = max over allowed f after e of L(f), where L(f) = min(C(f), close(f)) - seconds(f) or
        source_late_s; -inf where there is no way
    time_s : (n_edges,) travel time of that way from the end of e
    next_edge : (n_edges,) f; -1: none
    source : (n_edges,) where the way that starts with this edge ends in it: the index of the source; else -1
    order : (n_done,) edges with a way, each after its next_edge

    Notes
    -----
    Label-setting, because L never rises along an edge backwards: the reverse of the earliest arrival of Cooke & Halsey
    (1966) on roads that close and never reopen; with nothing closing it is Dijkstra (1959). An edge is finished by the
    first edge taken off the heap that may follow it, so each is pushed at most once, and one whose start nobody waits
    at any more is not pushed at all.
    """
    n = len(tail)
    late = np.full(n, -np.inf)  # C
    time = np.full(n, np.inf)
    label = np.full(n, -np.inf)  # L
    label_time = np.full(n, np.inf)
    next_edge = np.full(n, -1, dtype=np.int32)
    source = np.full(n, -1, dtype=np.int32)
    served = np.zeros(n, dtype=np.bool_)  # by place in in_edge
    done = np.zeros(n, dtype=np.bool_)
    order = np.empty(n, dtype=np.int32)
    n_done = 0
    waiting = np.empty(len(in_start) - 1, dtype=np.int32)
    for v in range(len(waiting)):
        waiting[v] = in_start[v + 1] - in_start[v]
    heap_key, heap_edge = np.empty(n + len(source_edge) + 1), np.empty(n + len(source_edge) + 1, dtype=np.int32)
    size = 0
    for i in range(len(source_edge)):
        f = source_edge[i]
        if source_late_s[i] == -np.inf:
            continue
        if source_late_s[i] > label[f] or (source_late_s[i] == label[f] and source_s[i] < label_time[f]):
            label[f], label_time[f], source[f] = source_late_s[i], source_s[i], i
            size = push(heap_key, heap_edge, size, -label[f], f)
    while size > 0:
        f, l_f = heap_edge[0], -heap_key[0]
        size = pop(heap_key, heap_edge, size)
        if done[f] or l_f != label[f]:
            continue
        done[f] = True
        v = tail[f]
        if waiting[v] == 0:
            continue
        t_f = label_time[f]
        for k in range(in_start[v], in_start[v + 1]):
            if served[k]:
                continue
            flags = in_flags[k]
            if in_reverse[k] == f and flags & 1:
                continue
            if private[f] and not flags & 2:
                continue
            e = in_edge[k]
            if flags & 4 and is_banned(ban_start, ban_to, e, f):
                continue
            served[k] = True
            waiting[v] -= 1
            late[e], time[e], next_edge[e] = l_f, t_f, f
            order[n_done] = e
            n_done += 1
            if close_s[e] < 0.0 or done[e]:
                continue
            l_e = min(l_f, close_s[e]) - seconds[e]
            t_e = t_f + seconds[e]
            if l_e > label[e] or (l_e == label[e] and t_e < label_time[e]):
                label[e], label_time[e], source[e] = l_e, t_e, -1
                if waiting[tail[e]] > 0:
                    size = push(heap_key, heap_edge, size, -l_e, e)
    return late, time, next_edge, source, order[:n_done].copy()


@njit(cache=True)
def add_up(
    order: Int32Array, next_edge: Int32Array, source: Int32Array, value: FloatArray, source_value: FloatArray
) -> Any:
    """(total, end): the sum of `value` over the way from the end of each edge, and the source that it ends in."""
    total = np.full(len(next_edge), np.nan)
    end = np.full(len(next_edge), -1, dtype=np.int32)
    for i in range(len(order)):
        e = order[i]
        f = next_edge[e]
        if source[f] >= 0:
            total[e], end[e] = source_value[source[f]], source[f]
        else:
            total[e], end[e] = value[f] + total[f], end[f]
    return total, end


@njit(cache=True)
def slack(
    order: Int32Array, next_edge: Int32Array, source: Int32Array, seconds: FloatArray, close_s: FloatArray,
    source_late_s: FloatArray,
) -> Any:  # fmt: skip
    """(n_edges,) the latest moment at the end of each edge at which its way can still be driven to the end."""
    late = np.full(len(next_edge), -np.inf)
    for i in range(len(order)):
        e = order[i]
        f = next_edge[e]
        if source[f] >= 0:
            late[e] = source_late_s[source[f]]
        else:
            late[e] = min(late[f], close_s[f]) - seconds[f]
    return late


@njit(cache=True)
def earliest_arrival(
    out_start: IntArray, out_edge: Int32Array, head: Int32Array, reverse: Int32Array, no_turn: BoolArray,
    private: BoolArray, ban_start: IntArray, ban_to: Int32Array, seconds: FloatArray, close_s: FloatArray,
    margin: float, at_least_s: FloatArray, source_of: Int32Array, source_s: FloatArray, source_late_s: FloatArray,
    begin_edge: Int32Array, begin_s: FloatArray,
) -> Any:  # fmt: skip
    """(edges, source, travel_s) of the fastest way that can be finished when begun now; no edges where there is none.

    A* over edges. `begin_edge`, `begin_s`: edges that are being finished and the free-flow time until their end.
    `at_least_s` (n_edges,) is a lower bound of the free-flow time from the end of an edge: the fastest way over roads
    that are open now. Times are `margin` longer in every comparison with a closing time. `source_of` (n_edges,) is the
    source at an edge, or -1.
    """
    n = len(head)
    best = np.full(n, np.inf)
    came = np.full(n, -1, dtype=np.int32)
    done = np.zeros(n, dtype=np.bool_)
    room = len(out_edge) * 4 + len(begin_edge) + 16
    heap_key, heap_edge = np.empty(room), np.empty(room, dtype=np.int32)
    size = 0
    goal_s, goal_edge, goal = np.inf, -1, -1
    for i in range(len(begin_edge)):
        e = begin_edge[i]
        if begin_s[i] < best[e] and np.isfinite(at_least_s[e]):
            best[e] = begin_s[i]
            came[e] = -1
            size = push(heap_key, heap_edge, size, begin_s[i] + at_least_s[e], e)
    while size > 0 and heap_key[0] < goal_s:
        e, key = heap_edge[0], heap_key[0]
        size = pop(heap_key, heap_edge, size)
        if done[e] or key > best[e] + at_least_s[e]:
            continue
        done[e] = True
        for k in range(out_start[head[e]], out_start[head[e] + 1]):
            f = out_edge[k]
            if (reverse[e] == f and no_turn[e]) or (private[f] and not private[e]):
                continue
            if ban_start[e + 1] > ban_start[e] and is_banned(ban_start, ban_to, e, f):
                continue
            i = source_of[f]
            if i >= 0 and best[e] * margin <= source_late_s[i] and best[e] + source_s[i] < goal_s:
                goal_s, goal_edge, goal = best[e] + source_s[i], e, i
            if close_s[f] < 0.0:
                continue
            then = best[e] + seconds[f]
            if then < best[f] and then * margin <= close_s[f] and np.isfinite(at_least_s[f]) and size < room:
                best[f] = then
                came[f] = e
                size = push(heap_key, heap_edge, size, then + at_least_s[f], f)
    count = 0
    e = goal_edge
    while e >= 0:
        count += 1
        e = came[e]
    edges = np.empty(count, dtype=np.int32)
    e = goal_edge
    for i in range(count):
        edges[count - 1 - i] = e
        e = came[e]
    return edges, goal, goal_s


@njit(cache=True)
def follow(next_edge: Int32Array, source: Int32Array, first: Int32Array) -> Any:
    """(edges, start): the ways of some edges along a tree, flat; each ends with the edge of its source."""
    start = np.zeros(len(first) + 1, dtype=np.int64)
    edges = np.empty(0, dtype=np.int32)
    for turn in range(2):
        for i in range(len(first)):
            count = 0
            e = first[i]
            while e >= 0:
                if turn == 1:
                    edges[start[i] + count] = e
                count += 1
                if count > 1 and source[e] >= 0:
                    break
                e = next_edge[e]
            if turn == 0:
                start[i + 1] = start[i] + count
        if turn == 0:
            edges = np.empty(start[-1], dtype=np.int32)
    return edges, start


@njit(cache=True)
def lines_of(
    edges: Int32Array, start: IntArray, first_fraction: FloatArray, last_fraction: FloatArray, edge_road: Int32Array,
    forward: BoolArray, shape_start: IntArray, shape_lon: FloatArray, shape_lat: FloatArray,
) -> Any:  # fmt: skip
    """(points, start): the flat (k, 2) lon, lat of ways, each from `first_fraction` along its first edge's travel to
    `last_fraction` along its last edge's."""
    n = len(start) - 1
    begin = np.zeros(n + 1, dtype=np.int64)
    for i in range(n):
        count = 0
        for k in range(start[i], start[i + 1]):
            r = edge_road[edges[k]]
            count += shape_start[r + 1] - shape_start[r] + 1
        begin[i + 1] = begin[i] + count
    points = np.empty((begin[n], 2))
    actual = np.zeros(n + 1, dtype=np.int64)
    at = 0
    for i in range(n):
        actual[i] = at
        for k in range(start[i], start[i + 1]):
            e = edges[k]
            r = edge_road[e]
            lo = first_fraction[i] if k == start[i] else 0.0
            hi = last_fraction[i] if k == start[i + 1] - 1 else 1.0
            first, count = shape_start[r], shape_start[r + 1] - shape_start[r]
            stretch = 1.0 / np.cos(np.radians(shape_lat[first]))
            total = 0.0
            for j in range(count - 1):
                a = first + j if forward[e] else first + count - 1 - j
                b = a + 1 if forward[e] else a - 1
                total += np.hypot((shape_lon[b] - shape_lon[a]) / stretch, shape_lat[b] - shape_lat[a])
            done = 0.0
            for j in range(count - 1):
                a = first + j if forward[e] else first + count - 1 - j
                b = a + 1 if forward[e] else a - 1
                step = np.hypot((shape_lon[b] - shape_lon[a]) / stretch, shape_lat[b] - shape_lat[a])
                p = done / total if total > 0.0 else 0.0
                q = (done + step) / total if total > 0.0 else 1.0
                if j == count - 2:
                    q = 1.0
                done += step
                if q < lo or p > hi or step == 0.0:
                    continue
                for x in range(2):
                    want = max(lo, p) if x == 0 else min(hi, q)
                    t = (want - p) / (q - p) if q > p else 0.0
                    lon = shape_lon[a] + t * (shape_lon[b] - shape_lon[a])
                    lat = shape_lat[a] + t * (shape_lat[b] - shape_lat[a])
                    if at == actual[i] or abs(points[at - 1, 0] - lon) > 1e-10 or abs(points[at - 1, 1] - lat) > 1e-10:
                        points[at, 0], points[at, 1] = lon, lat
                        at += 1
        actual[i + 1] = at
    return points[:at].copy(), actual


def warmup() -> None:
    """Compiles (or loads from the cache) the sweeps, so that the first footprint does not wait for it."""
    f, i64, i32 = np.zeros(1), np.array([0, 1]), np.zeros(1, dtype=np.int32)
    off, bans = np.zeros(1, dtype=bool), np.zeros(2, dtype=np.int64)
    _, _, after, source, order = sweep(i64, i32, i32, off.view(np.uint8), i32, off, bans, i32[:0], f, f, i32, f, f)
    add_up(order, after, source, f, f)
    slack(order, after, source, f, f, f)
    edges, start = follow(after, source, i32)
    lines_of(edges, start, f, f, i32, off, i64 * 2, np.zeros(2), np.zeros(2))
